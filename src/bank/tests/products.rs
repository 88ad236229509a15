//! Funds whose price moves and rounds, loans and their instalments, and a bank that only a
//! configuration adds. Sequences on all four products: `money`.

use super::{Answer, Desk, Fields, NOW, OPENING, banks_with, willing, write};
use crate::bank::{BankSet, LedgerAccount};
use crate::config::{BankProducts, Config};
use crate::shard::{IssuerId, Now};
use proptest::prelude::*;
use tapswitch_protocol::Dialect;

const DAY_MS: u64 = 86_400_000;
/// The day of [`NOW`] in China, since 1 January 2026.
const TODAY: u64 = (NOW.wall_ms + 8 * 3_600_000) / DAY_MS - 20_454;
const TIME: &str = "0704093015";
const FUND: &str = "6216260000000000001";
const LOAN: &str = "6225880000000001";
const DAY_MAX: u64 = 150_000;

/// Every debit card has a fund, every credit card a loan of seven instalments.
fn settings() -> BankProducts {
    BankProducts {
        fund_share_ppm: 1_000_000,
        fund_nav: 12_347,
        fund_nav_daily_gain: 3,
        fund_redemption_day_minor_max: DAY_MAX,
        loan_share_ppm: 1_000_000,
        loan_instalments: (7, 7),
        ..BankProducts::NONE
    }
}

struct Counter {
    desk: Desk,
    pan: &'static str,
    stan: usize,
}

impl Counter {
    fn new(pan: &'static str) -> Self {
        Self { desk: Desk::with(&willing(), settings()), pan, stan: 0 }
    }

    fn issuer(&self) -> u8 {
        u8::from(self.pan == LOAN)
    }

    /// Days pass.
    fn wait(&mut self, days: u64) {
        let wall_ms = self.desk.now.wall_ms + days * DAY_MS;
        self.desk.now = Now { wall_ms, ..self.desk.now };
    }

    fn ask(&mut self, mti: u16, de3: &str, amount: u64, more: &[(u8, String)]) -> Answer {
        self.stan += 1;
        let text = |text: String| text.into_bytes();
        let mut fields: Fields = vec![
            (2, text(self.pan.to_owned())),
            (3, text(de3.to_owned())),
            (4, text(format!("{amount:012}"))),
            (7, text(TIME.to_owned())),
            (11, text(format!("{:06}", self.stan))),
            (37, text(format!("{:012}", self.stan))),
            (49, text("156".to_owned())),
        ];
        fields.extend(more.iter().map(|(field, value)| (*field, text(value.clone()))));
        fields.sort_by_key(|(field, _)| *field);
        let dialect = Dialect::iso87_ascii();
        let (_, message) = self.desk.hand(self.issuer(), 1, &write(dialect, mti, &fields));
        let answer = Answer::read(dialect, message.bytes());
        self.desk.pool.give(message);
        self.desk.check_books();
        answer
    }

    fn code(&mut self, mti: u16, de3: &str, amount: u64, more: &[(u8, String)]) -> String {
        self.ask(mti, de3, amount, more).code().to_owned()
    }

    fn purchase(&mut self, amount: u64) -> String {
        self.code(200, "000000", amount, &[])
    }

    /// DE 90 of the message that was sent as number `stan`.
    fn original(mti: u16, stan: usize) -> (u8, String) {
        (90, format!("{mti:04}{stan:06}{TIME}{:022}", 0))
    }

    fn balance(&mut self) -> i64 {
        let answer = self.ask(200, "300000", 0, &[]);
        let text = answer.text(54);
        let amount: i64 = text[8..].parse().unwrap();
        if &text[7..8] == "D" { -amount } else { amount }
    }

    fn due_minor(&self) -> Vec<i128> {
        let (_, ledger) = self.desk.banks.ledgers()[usize::from(self.issuer())];
        ledger.books.due_minor()[..8].to_vec()
    }
}

/// The units of one account, counted by the texts of `fund` and the settings alone.
struct Model {
    units: i128,
    /// Since 1 January 2026.
    day: u64,
    redeemed: (u64, u64),
}

impl Model {
    fn price(day: u64) -> i128 {
        12_347 + 3 * i128::from(day)
    }

    fn up(amount: u64, day: u64) -> i128 {
        let (exact, price) = (i128::from(amount) * 1_000_000, Self::price(day));
        exact / price + i128::from(exact % price > 0)
    }

    fn down(amount: u64, day: u64) -> i128 {
        i128::from(amount) * 1_000_000 / Self::price(day)
    }

    fn worth(&self) -> i64 {
        (self.units * Self::price(self.day)).div_euclid(1_000_000) as i64
    }

    fn redeemed_today(&self) -> u64 {
        if self.redeemed.0 == self.day { self.redeemed.1 } else { 0 }
    }

    fn take(&mut self, amount: u64) {
        self.units -= Self::up(amount, self.day);
        self.redeemed = (self.day, self.redeemed_today() + amount);
    }

    /// Of an amount taken on `day` only `left` is to stay taken.
    fn give_back(&mut self, amount: u64, left: u64, day: u64) {
        self.units += Self::up(amount, day) - Self::up(left, day);
        if self.redeemed.0 == day {
            self.redeemed.1 = self.redeemed.1.saturating_sub(amount - left);
        }
    }

    fn expected(&self, amount: u64) -> &'static str {
        if self.worth() < amount as i64 {
            "51"
        } else if self.redeemed_today() + amount > DAY_MAX {
            "61"
        } else {
            "00"
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Purchase(u64),
    Hold(u64),
    Advice(u64),
    Refund(u64),
    Wait(u64),
    Reverse(prop::sample::Index),
    ReversePart(prop::sample::Index, prop::sample::Index),
    Void(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let amount = || 1..50_000u64;
    let of = any::<prop::sample::Index>;
    prop_oneof![
        5 => amount().prop_map(Step::Purchase),
        2 => amount().prop_map(Step::Hold),
        1 => amount().prop_map(Step::Advice),
        1 => amount().prop_map(Step::Refund),
        2 => (1..40u64).prop_map(Step::Wait),
        3 => of().prop_map(Step::Reverse),
        2 => (of(), of()).prop_map(|(of, left)| Step::ReversePart(of, left)),
        2 => of().prop_map(Step::Void),
    ]
}

/// What stands: its MTI and number, what is left of it, and the day of its price.
type Standing = (u16, usize, u64, u64);

fn apply(step: Step, counter: &mut Counter, model: &mut Model, standing: &mut Vec<Standing>) {
    let mut ask = |counter: &mut Counter, mti: u16, de3: &str, amount, expected: &str| {
        assert_eq!(counter.code(mti, de3, amount, &[]), expected, "{mti} {amount}");
        let done = expected == "00";
        if done {
            standing.push((mti, counter.stan, amount, model.day));
        }
        done
    };
    match step {
        Step::Wait(days) => {
            counter.wait(days);
            model.day += days;
        }
        Step::Purchase(amount) => {
            if ask(counter, 200, "000000", amount, model.expected(amount)) {
                model.take(amount);
            }
        }
        Step::Hold(amount) => {
            if ask(counter, 100, "030000", amount, model.expected(amount)) {
                model.take(amount);
            }
        }
        Step::Advice(amount) => {
            ask(counter, 220, "000000", amount, "00");
            model.take(amount);
        }
        Step::Refund(amount) => {
            assert_eq!(counter.code(220, "200000", amount, &[]), "00");
            model.units += Model::down(amount, model.day);
        }
        Step::Reverse(of) | Step::ReversePart(of, _) | Step::Void(of) => {
            if standing.is_empty() {
                return;
            }
            let at = of.index(standing.len());
            let way = match step {
                Step::ReversePart(_, left) => {
                    let amount = usize::try_from(standing[at].2).unwrap();
                    Way { left: left.index(amount) as u64, ..REVERSAL }
                }
                Step::Void(_) => Way { mti: 200, de3: "200000", left: 0 },
                _ => REVERSAL,
            };
            take_back(way, at, counter, model, standing);
        }
    }
}

/// How something is taken back, and what is left of it.
struct Way {
    mti: u16,
    de3: &'static str,
    left: u64,
}

const REVERSAL: Way = Way { mti: 420, de3: "000000", left: 0 };

fn take_back(
    way: Way,
    at: usize,
    counter: &mut Counter,
    model: &mut Model,
    standing: &mut Vec<Standing>,
) {
    let Way { mti, de3, left } = way;
    let (sent, stan, amount, day) = standing[at];
    let mut more = vec![Counter::original(sent, stan)];
    if left > 0 {
        more.push((95, format!("{left:012}{:030}", 0)));
    }
    assert_eq!(counter.code(mti, de3, amount, &more), "00", "{mti} of {sent}");
    model.give_back(amount, left, day);
    if left > 0 {
        standing[at].2 = left;
    } else {
        standing.swap_remove(at);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn units_come_back_at_the_price_at_which_they_went(
        steps in prop::collection::vec(step(), 1..100),
    ) {
        let mut counter = Counter::new(FUND);
        let bought = Model::down(OPENING.unsigned_abs(), TODAY);
        let mut model = Model { units: bought, day: TODAY, redeemed: (0, 0) };
        let mut standing = Vec::new();
        // The units are bought at the first transaction, at that day's price.
        assert_eq!(counter.purchase(1), "00");
        model.take(1);
        for step in steps {
            apply(step, &mut counter, &mut model, &mut standing);
            assert_eq!(counter.balance(), model.worth(), "{step:?}");
        }
        // All that is undone leaves the customer no more than what was there, and no less.
        while !standing.is_empty() {
            take_back(REVERSAL, 0, &mut counter, &mut model, &mut standing);
        }
        assert_eq!(counter.balance(), model.worth());
    }
}

#[test]
fn a_fund_pays_up_to_its_daily_limit_and_its_units() {
    let mut counter = Counter::new(FUND);
    let before = counter.balance();
    assert!((OPENING - 1..=OPENING).contains(&before), "{before}");
    assert_eq!(counter.code(220, "200000", 100_000, &[]), "00", "a refund");
    assert_eq!(counter.purchase(149_999), "00");
    assert_eq!(counter.purchase(2), "61", "the day's limit");
    assert_eq!(counter.purchase(60_000), "51", "units first");
    assert_eq!(counter.code(100, "030000", 1, &[]), "00");
    assert_eq!(counter.purchase(1), "61");
    counter.wait(1);
    assert_eq!(counter.purchase(2), "00", "another day");
    let (stan, left) = (counter.stan, counter.balance());
    assert_eq!(counter.purchase(u64::try_from(left).unwrap() + 1), "51");
    assert_eq!(counter.code(420, "000000", 2, &[Counter::original(200, stan)]), "00");
    // Rounded up when they went and back the same: not a fen more or less than the units are worth.
    assert!((left + 2..=left + 3).contains(&counter.balance()));
}

/// A completion takes the place of its hold in the day's limit.
#[test]
fn a_completion_is_not_counted_beside_its_hold() {
    let mut counter = Counter::new(FUND);
    counter.code(220, "200000", 400_000, &[]);
    let approval = counter.ask(100, "030000", 140_000, &[]).text(38).to_owned();
    assert_eq!(counter.purchase(10_001), "61");
    assert_eq!(counter.code(200, "000000", 150_000, &[(38, approval)]), "00");
    assert_eq!(counter.purchase(1), "61");
    counter.wait(1);
    let approval = counter.ask(100, "030000", 100_000, &[]).text(38).to_owned();
    counter.wait(1);
    assert_eq!(counter.purchase(DAY_MAX), "00");
    let completion = |amount| (200, "000000", amount, [(38, approval.clone())]);
    let (mti, de3, amount, more) = completion(100_001);
    assert_eq!(counter.code(mti, de3, amount, &more), "61", "more than yesterday's hold");
    let (mti, de3, amount, more) = completion(100_000);
    assert_eq!(counter.code(mti, de3, amount, &more), "00", "promised yesterday");
}

#[test]
fn a_loan_is_owed_in_instalments_until_it_is_undone() {
    let mut counter = Counter::new(LOAN);
    counter.desk.banks.keep_statement();
    assert_eq!(counter.balance(), OPENING);
    assert_eq!(counter.purchase(10_003), "00");
    assert_eq!(counter.balance(), OPENING - 10_003);
    assert_eq!(counter.due_minor(), [1_429, 1_429, 1_429, 1_429, 1_429, 1_429, 1_429, 0]);
    let instalments = |counter: &Counter| -> Vec<(String, u64)> {
        let entries = counter.desk.banks.statement().transactions;
        let of_first = entries[0].instalments.iter();
        of_first.map(|it| (it.due.clone(), it.amount_minor)).collect()
    };
    let plan = instalments(&counter);
    assert_eq!((plan.len(), plan[0].0.as_str(), plan[6].0.as_str()), (7, "0804", "0204"));
    assert_eq!(plan.iter().map(|(_, amount)| amount).sum::<u64>(), 10_003);
    assert_eq!(counter.purchase(OPENING.unsigned_abs() - 10_002), "51", "over the line");
    let part = [Counter::original(200, 2), (95, format!("{:012}{:030}", 10, 0))];
    assert_eq!(counter.code(420, "000000", 10_003, &part), "00");
    assert_eq!(counter.due_minor(), [2, 2, 2, 1, 1, 1, 1, 0]);
    assert_eq!(instalments(&counter).iter().map(|(_, amount)| amount).sum::<u64>(), 10);
    assert_eq!(counter.code(200, "200000", 10, &[Counter::original(200, 2)]), "00", "a void");
    assert_eq!(counter.due_minor(), [0; 8]);
    assert!(instalments(&counter).is_empty());
    assert_eq!(counter.balance(), OPENING);
}

/// The ledger file names both sides of every ledger account.
#[test]
fn the_statement_has_the_trial_balance() {
    let mut counter = Counter::new(FUND);
    assert_eq!(counter.purchase(500), "00");
    let totals = &counter.desk.banks.statement().banks[0];
    assert_eq!((totals.imbalance.as_deref(), totals.trial_balance.len()), (None, 8));
    let sides = totals.trial_balance.values();
    let (debits, credits) = sides.fold((0, 0), |(debits, credits), sides| {
        (debits + sides.debit_minor, credits + sides.credit_minor)
    });
    assert_eq!(debits, credits);
    let settled = totals.trial_balance[LedgerAccount::AcquirerSettlement.name()];
    assert_eq!((settled.debit_minor, settled.credit_minor), (0, 500));
    let owed = totals.opening_minor - totals.closing_minor + totals.revalued_minor;
    assert_eq!(owed, 500);
}

/// The shipped shares give each card the same product at every run, and every product some cards.
#[test]
fn products_are_drawn_by_the_seed() {
    let products = Config::embedded().bank.products;
    let touched = |prefix: &str, issuer: u8, digits: usize| {
        let mut desk = Desk::with(&willing(), products);
        desk.banks = banks_with(42, &willing(), 2_048, products);
        for card in 0..2_000 {
            let pan = format!("{prefix}{card:0width$}", width = digits - prefix.len());
            let number = format!("{card:06}");
            let fields = [(2, pan.as_str()), (3, "000000"), (4, "1"), (7, TIME), (11, &number)];
            let fields = fields.map(|(field, text)| (field, text.as_bytes().to_vec()));
            assert_eq!(
                desk.ask(issuer, &write(Dialect::cups(), 200, &fields.to_vec())).code(),
                "00"
            );
        }
        desk.check_books();
        let books = desk.banks.ledgers()[usize::from(issuer)].1.books;
        LedgerAccount::ALL.map(|account| books.balance_minor(account))
    };
    for (prefix, issuer, digits, other, ordinary) in [
        ("621626", 0, 19, LedgerAccount::FundShares, LedgerAccount::CustomerDeposits),
        ("622588", 1, 16, LedgerAccount::LoansToCustomers, LedgerAccount::CreditReceivables),
    ] {
        let balances = touched(prefix, issuer, digits);
        assert_eq!(balances, touched(prefix, issuer, digits));
        let (few, many) = (balances[other as usize].abs(), balances[ordinary as usize].abs());
        // 3 % of 2,000, within five standard deviations.
        assert!(few * 100 > many && few * 18 < many, "{few} {many}");
    }
}

/// An issuer beyond the shipped ones needs a line of the IIN table and no code.
#[test]
fn a_table_adds_a_bank() {
    let folder = std::env::temp_dir().join(format!("tapswitch-iins-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let shipped = include_str!("../../../tuning/profiles/iins_cn.csv");
    let own = "99990,MYBANK,debit,19\n99991,MYBANK,credit,16\n99992,WEBANK,debit,19\n";
    std::fs::write(folder.join("iins.csv"), format!("{shipped}\n{own}")).unwrap();
    let text = "[switch]\niin_file = \"iins.csv\"\n[issuer.MYBANK]\ndelay_median_us = 0\n\
                delay_p99_us = 0\nsilence_ppm = 0\nlate_ppm = 0\nunknown_card_ppm = 0\n\
                expired_ppm = 0\nwrong_pin_ppm = 0\ndo_not_honor_ppm = 0\n\
                insufficient_funds_ppm = 0\n";
    let file = folder.join("switch.toml");
    let config = Config::parse(&file.display().to_string(), text);
    std::fs::remove_dir_all(&folder).unwrap();
    let config = config.unwrap();
    let names: Vec<&str> = config.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
    assert_eq!((names.len(), &names[20..]), (22, &["MYBANK", "WEBANK"][..]));
    let dialect = Dialect::cups();
    let mut banks = BankSet::serving(&config, vec![dialect], |_, _| true);
    for (pan, code) in
        [("9999000000000000001", "00"), ("9999100000000001", "00"), ("9999200000000000001", "14")]
    {
        let fields = [(2, pan), (3, "000000"), (4, "1"), (7, TIME), (11, "000001")];
        let fields = fields.map(|(field, text)| (field, text.as_bytes().to_vec())).to_vec();
        let (_, answer) =
            banks.answer_bytes(NOW, (IssuerId(20), dialect), &write(dialect, 200, &fields));
        assert_eq!(Answer::read(dialect, answer).code(), code);
    }
}

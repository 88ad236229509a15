//! The books under any sequence of requests, and every balance against a model that knows only
//! what was asked and answered.

use super::{Answer, Desk, Fields, OPENING, willing, write};
use crate::bank::LedgerAccount;
use crate::config::BankProducts;
use proptest::prelude::*;
use tapswitch_protocol::Dialect;

const CARDS: usize = 3;
const TIME: &str = "0704093015";

/// One step. Earlier steps are named by an index into those that made a transaction.
#[derive(Clone, Copy, Debug)]
enum Step {
    Purchase { card: usize, amount: u64 },
    Hold { card: usize, amount: u64 },
    Advice { card: usize, amount: u64 },
    Refund { card: usize, amount: u64 },
    Complete { of: prop::sample::Index, amount: u64, advice: bool },
    Void { of: prop::sample::Index },
    Reverse { of: prop::sample::Index, advice: bool },
    Repeat { of: prop::sample::Index },
    ReverseUnknown { card: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let card = || 0..CARDS;
    let amount = || 1..60_000u64;
    let of = any::<prop::sample::Index>;
    prop_oneof![
        4 => (card(), amount()).prop_map(|(card, amount)| Step::Purchase { card, amount }),
        2 => (card(), amount()).prop_map(|(card, amount)| Step::Hold { card, amount }),
        1 => (card(), amount()).prop_map(|(card, amount)| Step::Advice { card, amount }),
        1 => (card(), amount()).prop_map(|(card, amount)| Step::Refund { card, amount }),
        2 => (of(), amount(), any::<bool>())
            .prop_map(|(of, amount, advice)| Step::Complete { of, amount, advice }),
        2 => of().prop_map(|of| Step::Void { of }),
        3 => (of(), any::<bool>()).prop_map(|(of, advice)| Step::Reverse { of, advice }),
        2 => of().prop_map(|of| Step::Repeat { of }),
        1 => card().prop_map(|card| Step::ReverseUnknown { card }),
    ]
}

/// What stands behind the cards. The fund's price is such that nothing is rounded: see `products`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Product {
    Deposit,
    Credit,
    Fund,
    Loan,
}

fn product() -> impl Strategy<Value = Product> {
    prop::sample::select(Product::ALL.to_vec())
}

impl Product {
    const ALL: [Self; 4] = [Self::Deposit, Self::Credit, Self::Fund, Self::Loan];

    fn settings(self) -> BankProducts {
        let all_if = |is_so: bool| if is_so { 1_000_000 } else { 0 };
        BankProducts {
            fund_share_ppm: all_if(self == Self::Fund),
            fund_redemption_day_minor_max: 999_999_999_999,
            loan_share_ppm: all_if(self == Self::Loan),
            loan_instalments: (1, 36),
            ..BankProducts::NONE
        }
    }

    fn issuer(self) -> u8 {
        u8::from(matches!(self, Self::Credit | Self::Loan))
    }

    fn pan(self, card: usize) -> String {
        match self {
            Self::Deposit | Self::Fund => format!("621626{card:013}"),
            Self::Credit | Self::Loan => format!("622588{card:010}"),
        }
    }

    fn account(self) -> LedgerAccount {
        match self {
            Self::Deposit => LedgerAccount::CustomerDeposits,
            Self::Credit => LedgerAccount::CreditReceivables,
            Self::Fund => LedgerAccount::FundShares,
            Self::Loan => LedgerAccount::LoansToCustomers,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Done,
    Declined,
    Voided,
    Reversed,
    Completed,
}

/// A transaction as its sender remembers it.
#[derive(Clone, Debug)]
struct Sent {
    mti: u16,
    fields: Fields,
    card: usize,
    stan: usize,
    amount: u64,
    /// What it added to the available amount.
    effect: i64,
    standing: Standing,
    approval: Option<Vec<u8>>,
    /// What it voided.
    voided: Option<usize>,
    code: String,
}

struct World {
    desk: Desk,
    sent: Vec<Sent>,
    available: [i64; CARDS],
    stan: usize,
    product: Product,
}

impl World {
    fn fields(&mut self, card: usize, de3: &str, amount: u64) -> Fields {
        self.stan += 1;
        vec![
            (2, self.product.pan(card).into_bytes()),
            (3, de3.as_bytes().to_vec()),
            (4, amount.to_string().into_bytes()),
            (7, TIME.as_bytes().to_vec()),
            (11, self.stan.to_string().into_bytes()),
            (37, format!("{:012}", self.stan).into_bytes()),
        ]
    }

    fn ask(&mut self, mti: u16, fields: &Fields) -> Answer {
        self.desk.ask(self.product.issuer(), &write(Dialect::cups(), mti, fields))
    }

    /// Sends a new transaction that adds `effect` when it is approved.
    fn send(&mut self, mti: u16, fields: Fields, card: usize, effect: i64) -> bool {
        let answer = self.ask(mti, &fields);
        let done = answer.code() == "00";
        if done {
            self.available[card] += effect;
        }
        let amount = str::from_utf8(&fields[2].1).unwrap().parse().unwrap();
        self.sent.push(Sent {
            mti,
            fields,
            card,
            stan: self.stan,
            amount,
            effect,
            standing: if done { Standing::Done } else { Standing::Declined },
            approval: answer.get(38).map(<[u8]>::to_vec),
            voided: None,
            code: answer.code().to_owned(),
        });
        done
    }

    fn naming(&mut self, de3: &str, sent: &Sent) -> Fields {
        let mut fields = self.fields(sent.card, de3, sent.amount);
        let name = format!("{:04}{:06}{TIME}{:022}", sent.mti, sent.stan, 0);
        fields.push((90, name.into_bytes()));
        fields
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Purchase { card, amount } => {
                let covered = self.available[card] >= amount as i64;
                let fields = self.fields(card, "000000", amount);
                assert_eq!(self.send(200, fields, card, -(amount as i64)), covered);
            }
            Step::Hold { card, amount } => {
                let covered = self.available[card] >= amount as i64;
                let fields = self.fields(card, "030000", amount);
                assert_eq!(self.send(100, fields, card, -(amount as i64)), covered);
            }
            Step::Advice { card, amount } => {
                let fields = self.fields(card, "000000", amount);
                assert!(self.send(220, fields, card, -(amount as i64)));
            }
            Step::Refund { card, amount } => {
                let fields = self.fields(card, "200000", amount);
                assert!(self.send(220, fields, card, amount as i64));
            }
            Step::ReverseUnknown { card } => {
                let mut fields = self.fields(card, "000000", 1);
                fields.push((90, format!("0200999999{TIME}{:022}", 0).into_bytes()));
                assert_eq!(self.ask(400, &fields).code(), "25");
            }
            Step::Complete { of, amount, advice } => self.complete(of, amount, advice),
            Step::Void { of } => self.void(of),
            Step::Reverse { of, advice } => self.reverse(of, advice),
            Step::Repeat { of } => self.repeat(of),
        }
    }

    fn complete(&mut self, of: prop::sample::Index, amount: u64, advice: bool) {
        let holds: Vec<_> = (0..self.sent.len())
            .filter(|&at| self.sent[at].mti == 100 && self.sent[at].approval.is_some())
            .collect();
        if holds.is_empty() {
            return;
        }
        let at = *of.get(&holds);
        let hold = self.sent[at].clone();
        let stands = hold.standing == Standing::Done;
        let released = if stands { hold.amount as i64 } else { 0 };
        let covered = self.available[hold.card] + released >= amount as i64;
        let mut fields = self.fields(hold.card, "000000", amount);
        fields.push((38, hold.approval.clone().unwrap()));
        let mti = if advice { 220 } else { 200 };
        // The hold comes back only if this is approved.
        let done = self.send(mti, fields, hold.card, released - amount as i64);
        assert_eq!(done, advice || (stands && covered));
        if done && stands {
            self.sent[at].standing = Standing::Completed;
        }
        if let Some(completion) = self.sent.last_mut() {
            // Undoing it gives back the debit, not the hold.
            completion.effect = -(amount as i64);
        }
    }

    fn void(&mut self, of: prop::sample::Index) {
        let debits: Vec<_> = (0..self.sent.len()).filter(|&at| self.sent[at].effect < 0).collect();
        let debits: Vec<_> =
            debits.into_iter().filter(|&at| self.sent[at].voided.is_none()).collect();
        if debits.is_empty() {
            return;
        }
        let at = *of.get(&debits);
        let original = self.sent[at].clone();
        let fields = self.naming("200000", &original);
        let done = self.send(200, fields, original.card, original.amount as i64);
        assert_eq!(done, original.standing == Standing::Done);
        if done {
            self.sent[at].standing = Standing::Voided;
        }
        self.sent.last_mut().unwrap().voided = Some(at);
    }

    fn reverse(&mut self, of: prop::sample::Index, advice: bool) {
        if self.sent.is_empty() {
            return;
        }
        let at = of.index(self.sent.len());
        let original = self.sent[at].clone();
        let fields = self.naming("000000", &original);
        let answer = self.ask(if advice { 420 } else { 400 }, &fields);
        let refused = original.standing == Standing::Completed && !advice;
        assert_eq!(answer.code(), if refused { "12" } else { "00" });
        if original.standing == Standing::Voided {
            self.sent[at].standing = Standing::Reversed;
        }
        if original.standing != Standing::Done {
            return;
        }
        self.sent[at].standing = Standing::Reversed;
        match original.voided.map(|voided| &mut self.sent[voided].standing) {
            Some(standing) if *standing != Standing::Voided => {}
            Some(standing) => {
                *standing = Standing::Done;
                self.available[original.card] -= original.effect;
            }
            None => self.available[original.card] -= original.effect,
        }
    }

    fn repeat(&mut self, of: prop::sample::Index) {
        if self.sent.is_empty() {
            return;
        }
        let sent = of.get(&self.sent).clone();
        let answer = self.ask(sent.mti, &sent.fields);
        if matches!(sent.standing, Standing::Voided | Standing::Reversed) {
            assert_eq!(answer.code(), "12");
        } else {
            assert_eq!((answer.code(), answer.get(38)), (&sent.code[..], sent.approval.as_deref()));
        }
    }

    fn check(&mut self) {
        for card in 0..CARDS {
            let mut fields = self.fields(card, "300000", 0);
            fields.remove(2);
            let answer = self.ask(200, &fields);
            let text = answer.text(54);
            let amount: i64 = text[8..].parse().unwrap();
            let seen = if &text[7..8] == "D" { -amount } else { amount };
            assert_eq!(seen, self.available[card], "card {card}");
        }
        self.desk.check_books();
        self.check_ledger_account();
    }

    /// What the customers of the product have, or owe, is what its ledger account says.
    fn check_ledger_account(&self) {
        let (_, ledger) = self.desk.banks.ledgers()[usize::from(self.product.issuer())];
        let balance = |account| ledger.books.balance_minor(account);
        let customers: i128 = self.available.iter().copied().map(i128::from).sum();
        let opened: i128 = i128::from(OPENING) * CARDS as i128;
        let of_accounts = match self.product {
            // Accounts that were never touched are not in the books, and have what they had.
            Product::Deposit | Product::Fund => {
                customers - opened + i128::from(OPENING) * i128::from(ledger.accounts)
            }
            Product::Credit | Product::Loan => customers - opened,
        };
        assert_eq!(-balance(self.product.account()), of_accounts, "{:?}", self.product);
        assert_eq!(-balance(LedgerAccount::PreAuthorized), ledger.held_minor);
        let trial: i128 = LedgerAccount::ALL.into_iter().map(balance).sum();
        assert_eq!(trial, 0);
        let other = |account: &LedgerAccount| {
            Product::ALL.iter().any(|it| *it != self.product && it.account() == *account)
        };
        assert!(LedgerAccount::ALL.into_iter().filter(other).all(|account| balance(account) == 0));
        if self.product == Product::Loan {
            let due: i128 = ledger.books.due_minor().iter().sum();
            assert_eq!(due, balance(LedgerAccount::LoansToCustomers) - ledger.held_minor);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_books_and_every_balance_are_right(
        steps in prop::collection::vec(step(), 1..120), product in product(),
    ) {
        let mut world = World {
            desk: Desk::with(&willing(), product.settings()),
            sent: Vec::new(),
            available: [OPENING; CARDS],
            stan: 0,
            product,
        };
        for step in steps {
            world.apply(step);
            world.check();
        }
    }
}

/// The switch tells of a partial reversal by DE 95, in the dialect that has it.
#[test]
fn a_partial_reversal_gives_back_the_rest_once() {
    let dialect = Dialect::iso87_ascii();
    let mut desk = Desk::new(&willing());
    let text = |text: &str| text.as_bytes().to_vec();
    let mut ask = |mti, de3: &str, stan: &str, more: &[(u8, &str)]| {
        let mut fields: Fields = vec![
            (2, text("6216260000000000001")),
            (3, text(de3)),
            (4, text("000000010000")),
            (7, text("0704093015")),
            (11, text(stan)),
            (37, text("000000000001")),
            (49, text("156")),
        ];
        fields.extend(more.iter().map(|(field, value)| (*field, text(value))));
        fields.sort_by_key(|(field, _)| *field);
        let (_, message) = desk.hand(0, 1, &write(dialect, mti, &fields));
        let answer = Answer::read(dialect, message.bytes());
        desk.pool.give(message);
        desk.check_books();
        let totals = desk.banks.ledgers()[0].1;
        let held = totals.held_minor;
        (answer.code().to_owned(), totals.opening_minor - totals.closing_minor, held)
    };
    let said = |code: &str, gone, held| (code.to_owned(), gone, held);
    let original = |mti: &str, stan: &str| format!("{mti}{stan}0704093015{}", "0".repeat(22));
    let left = |amount: u64| format!("{amount:012}{}", "0".repeat(30));
    assert_eq!(ask(200, "000000", "000001", &[]), said("00", 10_000, 0));
    let of_first = original("0200", "000001");
    for mti in [420, 421] {
        let part = [(90, &of_first[..]), (95, &left(4_000))];
        assert_eq!(ask(mti, "000000", "000002", &part), said("00", 4_000, 0), "a repeat too");
    }
    let more = [(90, &of_first[..]), (95, &left(4_001))];
    assert_eq!(ask(400, "000000", "000003", &more), said("13", 4_000, 0));
    assert_eq!(ask(420, "000000", "000004", &[(90, &of_first)]), said("00", 0, 0), "the rest");
    assert_eq!(ask(100, "030000", "000005", &[]), said("00", 10_000, 10_000));
    let of_hold = original("0100", "000005");
    let part = [(90, &of_hold[..]), (95, &left(3_000))];
    assert_eq!(ask(420, "030000", "000006", &part), said("00", 3_000, 3_000));
}

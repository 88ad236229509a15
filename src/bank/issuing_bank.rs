//! One bank: what it answers to a request, and what it does to the account.
//!
//! Money moves once for each (PAN, STAN, time): a repeat is answered the same without money, a
//! different request under the same key with 94. A reversal undoes its original once; when the
//! original is not known it leaves a tombstone, so that the original is declined if it comes after
//! all. A bank that outlives the switch knows a transaction also under other trace numbers, by card,
//! DE 37, 41, 42, 3 and class (and a request by DE 4): it is the same one, forwarded again by a switch
//! that had forgotten it.
//!
//! Not here: bytes, and how each kind of transaction moves money (`movements`).

use super::accounts::{Accounts, BALANCE_MINOR_MAX, Opening};
use super::behaviour::{Behaviour, CardDraw, Declinable, Seed, Timing, TransactionDraw};
use super::books::Books;
use super::fund::{Day, Valuation};
use super::ledger::{Flows, Ledger};
use super::loan::{Instalment, Plan};
use super::movements::{self, Done};
use super::pan_key::PanKey;
use super::products::{AccountKind, Products};
use super::recent::{Deed, Recent, RecentTable, State};
use super::request::{BankRequest, Operation};
use super::till::Till;
use crate::config::{BankBehaviour, BankConfig, BankProducts};
use crate::shard::IssuerId;
use tapswitch_protocol::ResponseCode;

/// What the banks of one shard have in common.
pub(super) struct Shared {
    pub(super) seed: Seed,
    pub(super) products: Products,
    pub(super) recent: RecentTable,
}

/// What a bank decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) code: ResponseCode,
    /// The authorization identification response of an approval that has one.
    pub(super) approval: Option<u32>,
    /// What a balance inquiry is told.
    pub(super) balance_minor: Option<i64>,
    /// What a chip that sent its cryptogram is told.
    pub(super) cryptogram: Option<u64>,
}

impl Verdict {
    pub(super) const fn new(code: ResponseCode) -> Self {
        Self { code, approval: None, balance_minor: None, cryptogram: None }
    }

    const fn approved(approval: Option<u32>) -> Self {
        Self { approval, ..Self::new(ResponseCode::APPROVED) }
    }
}

/// What is drawn for a request's card and transaction.
pub(super) struct Draws {
    card: CardDraw,
    transaction: TransactionDraw,
}

impl Draws {
    #[inline]
    pub(super) fn new(seed: &Seed, request: &BankRequest) -> Self {
        let pan = &request.key.pan;
        Self { card: seed.card(pan), transaction: seed.transaction(pan, &request.reference.rrn) }
    }

    /// Bits for table places.
    #[inline]
    pub(super) fn hash(&self) -> u64 {
        self.card.hash()
    }
}

/// One issuer's bank, as far as one shard's cards go.
pub(super) struct IssuingBank {
    pub(super) name: String,
    id: IssuerId,
    accounts: Accounts,
    behaviour: Behaviour,
    openings: Openings,
    products: BankProducts,
    books: Books,
    pub(super) flows: Flows,
}

/// Opening balances and credit lines, from and to.
#[derive(Clone, Copy)]
struct Openings {
    balance_minor: (u64, u64),
    credit_line_minor: (u64, u64),
    loan_line_minor: (u64, u64),
}

impl Openings {
    #[inline]
    fn of(&self, kind: AccountKind, card: &CardDraw) -> i64 {
        let range = match kind {
            AccountKind::Deposit | AccountKind::Fund => self.balance_minor,
            AccountKind::Credit => self.credit_line_minor,
            AccountKind::Loan => self.loan_line_minor,
        };
        i64::try_from(card.between(range)).unwrap_or(i64::MAX).min(BALANCE_MINOR_MAX)
    }
}

impl IssuingBank {
    pub(super) fn new(
        name: &str,
        id: IssuerId,
        config: &BankConfig,
        behaviour: &BankBehaviour,
    ) -> Self {
        Self {
            name: name.to_owned(),
            id,
            accounts: Accounts::new(config.accounts_max, config.products.fund_share_ppm > 0),
            behaviour: Behaviour::new(behaviour),
            openings: Openings {
                balance_minor: config.balance_minor,
                credit_line_minor: config.credit_line_minor,
                loan_line_minor: config.products.loan_line_minor,
            },
            products: config.products,
            books: Books::default(),
            flows: Flows::default(),
        }
    }

    /// Decides a request, moves the money, and says when the answer leaves.
    #[inline]
    pub(super) fn decide(
        &mut self,
        shared: &mut Shared,
        request: &BankRequest,
        draws: &Draws,
        today: Day,
    ) -> (Verdict, Timing) {
        let mut verdict = self.verdict(shared, request, draws, today);
        let discrepancy = self.books.discrepancy(self.accounts.sums());
        assert!(discrepancy.is_none(), "Invariant: the books balance, not so {discrepancy:?}");
        verdict.cryptogram = request.cryptogram.map(|cryptogram| {
            shared.seed.response_cryptogram(&request.key.pan, cryptogram, verdict.code)
        });
        let timing = if request.operation.is_request() {
            self.behaviour.request_timing(&draws.transaction)
        } else {
            self.behaviour.advice_timing(&draws.transaction)
        };
        match timing {
            Timing::After { .. } => {}
            Timing::Late => self.flows.late += 1,
            Timing::Silent => self.flows.silent += 1,
        }
        (verdict, timing)
    }

    /// Reads the place in the index of accounts that a request will need.
    #[inline]
    pub(super) fn look_at_place(&self, draws: &Draws) -> u64 {
        self.accounts.look_at_place(draws.hash())
    }

    /// Reads the account itself.
    #[inline]
    pub(super) fn look_at_account(&self, request: &BankRequest, draws: &Draws) -> usize {
        self.accounts.look_at_account(request.key.pan, draws.hash())
    }

    /// How late a late answer is.
    pub(super) fn late_ns(&self) -> u64 {
        self.behaviour.late_ns()
    }

    /// Counts a request that is refused.
    #[inline]
    pub(super) fn decline(&mut self, code: ResponseCode) -> Verdict {
        self.flows.decline(code);
        Verdict::new(code)
    }

    #[inline]
    fn verdict(
        &mut self,
        shared: &mut Shared,
        request: &BankRequest,
        draws: &Draws,
        today: Day,
    ) -> Verdict {
        let card = shared.products.of(&request.pan).filter(|product| product.issuer == self.id);
        let kind = card.map(|product| AccountKind::of(product.kind, &self.products, &draws.card));
        if let Operation::Reversal { advice } = request.operation {
            return self.reverse(&mut shared.recent, request, (draws, kind, today), advice);
        }
        if request.operation == Operation::Notice {
            return Verdict::approved(None);
        }
        let Some(kind) = kind else { return self.decline(ResponseCode::INVALID_CARD) };
        if self.behaviour.is_unknown(&draws.card) {
            return self.decline(ResponseCode::INVALID_CARD);
        }
        if matches!(request.operation, Operation::Balance | Operation::Verification) {
            return self.inquire(request, (draws, kind, today));
        }
        if let Some(row) = seen_before(&shared.recent, request, draws.hash()) {
            return self.repeat(&row, request);
        }
        if let Some(code) = self.drawn_decline(request, draws) {
            return self.record_decline(&mut shared.recent, request, draws, code);
        }
        let opening = self.openings.of(kind, &draws.card);
        let Some(mut till) = self.open_till(request, (draws, kind, today), opening) else {
            return self.decline(ResponseCode::SYSTEM_MALFUNCTION);
        };
        match movements::apply(&mut till, &mut shared.recent, request, draws.hash()) {
            Ok(done) => self.record(&mut shared.recent, request, draws, done),
            Err(code) => self.record_decline(&mut shared.recent, request, draws, code),
        }
    }

    /// The account of a request, opened with `opening` when this is its first transaction; `None` when it
    /// would be one too many.
    #[inline]
    fn open_till(
        &mut self,
        request: &BankRequest,
        (draws, kind, today): (&Draws, AccountKind, Day),
        opening: i64,
    ) -> Option<Till<'_>> {
        let Self { accounts, flows, books, products, .. } = self;
        let mut opened = None;
        let open = || {
            let valuation = Valuation::on(today, products);
            let units = match kind {
                AccountKind::Fund => valuation.units_bought(opening.unsigned_abs()),
                AccountKind::Deposit | AccountKind::Credit | AccountKind::Loan => 0,
            };
            opened = Some((opening, units));
            Opening { available: opening, units }
        };
        let account = accounts.touch(request.key.pan, draws.hash(), kind, open).ok()?;
        let instalments = draws.card.instalments(products.loan_instalments);
        let mut till = Till { account, flows, books, products, instalments, today };
        if let Some(opened) = opened {
            till.open(opened);
        }
        Some(till)
    }

    /// The account of a card that was touched before.
    fn till(
        &mut self,
        pan: PanKey,
        (draws, kind, today): (&Draws, Option<AccountKind>, Day),
    ) -> Option<Till<'_>> {
        let Self { accounts, flows, books, products, .. } = self;
        let account = accounts.get(pan, draws.hash(), kind?)?;
        let instalments = draws.card.instalments(products.loan_instalments);
        Some(Till { account, flows, books, products, instalments, today })
    }

    /// The decline that is drawn for new requests.
    #[inline]
    fn drawn_decline(&self, request: &BankRequest, draws: &Draws) -> Option<ResponseCode> {
        let amount = match request.operation {
            // The money of a completion was promised by its hold.
            Operation::Debit if request.approval.is_some() => return None,
            Operation::Debit | Operation::Hold => true,
            Operation::Balance | Operation::Verification => false,
            Operation::DebitAdvice
            | Operation::Refund
            | Operation::Void
            | Operation::Notice
            | Operation::Reversal { .. } => return None,
        };
        let declinable = Declinable { pin: request.has_pin, amount };
        self.behaviour.decline(&draws.transaction, declinable)
    }

    /// A balance inquiry or an account verification: nothing is stored.
    fn inquire(
        &mut self,
        request: &BankRequest,
        (draws, kind, today): (&Draws, AccountKind, Day),
    ) -> Verdict {
        if let Some(code) = self.drawn_decline(request, draws) {
            return self.decline(code);
        }
        self.flows.inquiries += 1;
        let opening = self.openings.of(kind, &draws.card);
        let valuation = Valuation::on(today, &self.products);
        let account = self.accounts.get(request.key.pan, draws.hash(), kind);
        let available = match account {
            Some(mut account) => match account.fund() {
                Some(fund) => valuation.worth(fund.units),
                None => account.available(),
            },
            None if kind == AccountKind::Fund => {
                valuation.worth(valuation.units_bought(opening.unsigned_abs()))
            }
            None => opening,
        };
        let balance_minor = (request.operation == Operation::Balance).then_some(available);
        Verdict { balance_minor, ..Verdict::approved(None) }
    }

    /// A request whose key was seen before.
    fn repeat(&mut self, row: &Recent, request: &BankRequest) -> Verdict {
        let gone = matches!(row.state, State::Tombstone | State::Voided | State::Reversed);
        if gone {
            return self.decline(ResponseCode::INVALID_TRANSACTION);
        }
        if row.amount != request.amount || !is_deed_of(row.deed, request.operation) {
            return self.decline(ResponseCode::DUPLICATE);
        }
        self.flows.repeats += 1;
        let approval =
            (row.state != State::Declined && shows_approval(request)).then_some(row.approval);
        Verdict { approval, ..Verdict::new(row.code) }
    }

    /// Remembers what was done and answers it.
    #[inline]
    fn record(
        &mut self,
        recent: &mut RecentTable,
        request: &BankRequest,
        draws: &Draws,
        done: Done,
    ) -> Verdict {
        let hash = draws.hash();
        // A completion goes on under the approval code of its pre-authorization.
        let approval = request.approval.unwrap_or_else(|| draws.transaction.approval());
        let row = Recent {
            amount: request.amount,
            approval,
            original: done.original,
            day: done.day,
            ..Recent::new(request.key, done.deed, State::Approved, ResponseCode::APPROVED)
        };
        if let Some(newest) = self.accounts.newest(request.key.pan, hash) {
            *newest = recent.insert(row, &request.reference, hash, *newest);
        }
        Verdict::approved(shows_approval(request).then_some(approval))
    }

    /// Remembers that a request was declined, so that its repeat is too.
    fn record_decline(
        &mut self,
        recent: &mut RecentTable,
        request: &BankRequest,
        draws: &Draws,
        code: ResponseCode,
    ) -> Verdict {
        let row = Recent {
            amount: request.amount,
            ..Recent::new(request.key, deed_of(request.operation), State::Declined, code)
        };
        recent.insert(row, &request.reference, draws.hash(), 0);
        self.decline(code)
    }

    /// Undoes the original, once.
    fn reverse(
        &mut self,
        recent: &mut RecentTable,
        request: &BankRequest,
        of_card: (&Draws, Option<AccountKind>, Day),
        advice: bool,
    ) -> Verdict {
        let refusal = |code| if advice { ResponseCode::APPROVED } else { code };
        // Without DE 90 a reversal repeats the trace number and time of its original.
        let key = request.original.unwrap_or(request.key);
        let hash = of_card.0.hash();
        let named = (key.pan, &request.reference);
        let found = recent.find(key, hash).or_else(|| recent.find_named(named, hash, stood));
        let Some((reference, row)) = found else {
            self.flows.reversals_unmatched += 1;
            let code = refusal(ResponseCode::ORIGINAL_NOT_FOUND);
            let tombstone = Recent::new(key, Deed::Debit, State::Tombstone, code);
            recent.insert(tombstone, &request.reference, hash, 0);
            return self.acknowledge(code);
        };
        let row = *row;
        match row.state {
            State::Tombstone => {
                self.flows.repeats += 1;
                self.acknowledge(refusal(ResponseCode::ORIGINAL_NOT_FOUND))
            }
            State::Reversed => {
                self.flows.repeats += 1;
                Verdict::approved(None)
            }
            State::Declined => Verdict::approved(None),
            State::Completed => self.acknowledge(refusal(ResponseCode::INVALID_TRANSACTION)),
            State::Voided => {
                // Nothing to give back; but the void's own reversal must not take it again.
                set_state(recent, reference, State::Reversed);
                Verdict::approved(None)
            }
            State::Approved if request.left.is_some() => {
                let left = request.left.unwrap_or_default();
                self.reduce(recent, (reference, &row), (of_card, left), refusal)
            }
            State::Approved => {
                if let Some(mut till) = self.till(key.pan, of_card) {
                    movements::undo(&mut till, recent, &row);
                }
                set_state(recent, reference, State::Reversed);
                Verdict::approved(None)
            }
        }
    }

    /// A partial reversal: `left` stands. What it says is absolute, so a repeat changes nothing.
    fn reduce(
        &mut self,
        recent: &mut RecentTable,
        (reference, row): (u32, &Recent),
        (of_card, left): ((&Draws, Option<AccountKind>, Day), u64),
        refusal: impl Fn(ResponseCode) -> ResponseCode,
    ) -> Verdict {
        if left >= row.amount || !matches!(row.deed, Deed::Debit | Deed::Hold) {
            if left == row.amount {
                self.flows.repeats += 1;
                return Verdict::approved(None);
            }
            return self.acknowledge(refusal(ResponseCode::INVALID_AMOUNT));
        }
        if let Some(mut till) = self.till(row.key.pan, of_card) {
            movements::reduce(&mut till, row, left);
        }
        if let Some(row) = recent.get(reference) {
            row.amount = left;
        }
        Verdict::approved(None)
    }

    fn acknowledge(&mut self, code: ResponseCode) -> Verdict {
        if code.is_approval() { Verdict::new(code) } else { self.decline(code) }
    }

    /// The books, added up from the accounts.
    pub(super) fn ledger(&self, shared: &Shared) -> Ledger {
        let mut ledger = Ledger::new(self.flows, self.books);
        for (pan, available, held) in self.accounts.iter() {
            if let Some((kind, card)) = self.behind(shared, &pan) {
                ledger.add_account(kind, self.openings.of(kind, &card), (available, held));
            }
        }
        ledger.set_units(self.accounts.units());
        ledger
    }

    /// How what a transaction did is owed: nothing of it unless it is a loan's purchase that stands.
    pub(super) fn instalments(&self, shared: &Shared, recent: &Recent) -> Vec<Instalment> {
        match self.behind(shared, &recent.key.pan) {
            Some((AccountKind::Loan, card))
                if recent.deed == Deed::Debit && recent.state == State::Approved =>
            {
                let count = card.instalments(self.products.loan_instalments);
                Plan::new(recent.amount, count).instalments(recent.key.time)
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// What stands behind a card, and what was drawn for it.
    fn behind(&self, shared: &Shared, pan: &PanKey) -> Option<(AccountKind, CardDraw)> {
        let card = shared.seed.card(pan);
        let product = shared.products.of(&pan.pan()?)?;
        Some((AccountKind::of(product.kind, &self.products, &card), card))
    }
}

/// The row of a request that was decided before: by its trace, or under other numbers. What was
/// declined under other numbers is judged anew: nothing came of it. So is an advice of what a switch
/// approved under its own DE 38 after the request was reversed: the same purchase, another deed.
#[inline]
fn seen_before(recent: &RecentTable, request: &BankRequest, hash: u64) -> Option<Recent> {
    let is_advice = request.operation == Operation::DebitAdvice;
    let approved_elsewhere = request.approval.filter(|_| is_advice);
    let same = |row: &Recent| {
        let of_it = row.amount == request.amount && is_deed_of(row.deed, request.operation);
        let is_undone = matches!(row.state, State::Tombstone | State::Reversed);
        let is_other = is_undone && approved_elsewhere.is_some_and(|code| code != row.approval);
        !is_other && (row.state == State::Tombstone || stood(row) && of_it)
    };
    let named = (request.key.pan, &request.reference);
    let found = recent.find(request.key, hash).or_else(|| recent.find_named(named, hash, same));
    found.map(|(_, row)| *row)
}

/// Whether there was anything to undo, or it was undone before it came.
fn stood(row: &Recent) -> bool {
    row.state != State::Declined
}

fn set_state(recent: &mut RecentTable, reference: u32, state: State) {
    if let Some(row) = recent.get(reference) {
        row.state = state;
    }
}

/// Answers that carry DE 38: new debits and holds (public CUPS message tables).
#[inline]
fn shows_approval(request: &BankRequest) -> bool {
    match request.operation {
        Operation::Debit => request.approval.is_none(),
        Operation::Hold => true,
        Operation::DebitAdvice
        | Operation::Refund
        | Operation::Void
        | Operation::Balance
        | Operation::Verification
        | Operation::Notice
        | Operation::Reversal { .. } => false,
    }
}

fn deed_of(operation: Operation) -> Deed {
    match operation {
        Operation::Hold => Deed::Hold,
        Operation::Refund => Deed::Refund,
        Operation::Void => Deed::VoidOfDebit,
        Operation::Debit
        | Operation::DebitAdvice
        | Operation::Balance
        | Operation::Verification
        | Operation::Notice
        | Operation::Reversal { .. } => Deed::Debit,
    }
}

/// Whether an operation of this kind does such a deed.
fn is_deed_of(deed: Deed, operation: Operation) -> bool {
    deed == deed_of(operation) || (operation == Operation::Void && deed == Deed::VoidOfHold)
}

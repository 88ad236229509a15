//! One bank's books: what it owed before, what moved, what it owes now.
//!
//! Invariants, to the minor unit:
//!
//! - `opening − approved − held + reversed + refunded − reinstated + revalued = closing`
//! - `holds − holds ended = held`
//!
//! The flows are counted as money moves; opening, held and closing are added up from the accounts,
//! so an equation fails when a movement was booked wrongly, twice, or not at all. The double-entry books
//! (`books`) are compared with the accounts likewise, each kind with its ledger account.
//!
//! Not here: balances of single accounts.

use super::accounts::Sums;
use super::books::{Books, LedgerAccount};
use super::products::AccountKind;
use core::fmt;
use tapswitch_protocol::ResponseCode;

/// How many, and how much in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How much.
    pub amount_minor: i128,
}

impl Tally {
    #[inline]
    pub(super) fn add(&mut self, amount_minor: u64) {
        self.count += 1;
        self.amount_minor += i128::from(amount_minor);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.amount_minor += other.amount_minor;
    }
}

/// Codes that a bank declines with.
pub const DECLINE_CODES: [ResponseCode; 14] = [
    ResponseCode::INSUFFICIENT_FUNDS,
    ResponseCode::AMOUNT_LIMIT,
    ResponseCode::DO_NOT_HONOR,
    ResponseCode::WRONG_PIN,
    ResponseCode::EXPIRED_CARD,
    ResponseCode::INVALID_CARD,
    ResponseCode::INVALID_TRANSACTION,
    ResponseCode::INVALID_AMOUNT,
    ResponseCode::NO_SUCH_ISSUER,
    ResponseCode::ORIGINAL_NOT_FOUND,
    ResponseCode::FORMAT_ERROR,
    ResponseCode::NOT_PERMITTED,
    ResponseCode::DUPLICATE,
    ResponseCode::SYSTEM_MALFUNCTION,
];

/// Everything that a bank counts while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    /// Debits: purchases, cash, completions, offline purchases.
    pub approved: Tally,
    /// Holds placed by pre-authorizations.
    pub holds: Tally,
    /// Holds that ended: completed, cancelled, reversed.
    pub holds_ended: Tally,
    /// Credits by refund.
    pub refunded: Tally,
    /// Debits given back by reversal or void.
    pub reversed: Tally,
    /// Debits done again because what gave them back (a void, a refund) was itself reversed.
    pub reinstated: Tally,
    /// By how much units of funds were revalued: what they gained less what rounding left, in minor units.
    pub revalued_minor: i128,
    /// Balance inquiries and account verifications answered.
    pub inquiries: u64,
    /// Requests that were seen before and answered the same, without money.
    pub repeats: u64,
    /// Reversals whose original was not known.
    pub reversals_unmatched: u64,
    /// Requests processed and never answered.
    pub silent: u64,
    /// Requests answered late.
    pub late: u64,
    /// Requests declined, in the order of [`DECLINE_CODES`].
    declined: [u64; DECLINE_CODES.len()],
}

impl Flows {
    /// How many were declined with `code`.
    #[must_use]
    pub fn declined(&self, code: ResponseCode) -> u64 {
        let place = DECLINE_CODES.iter().position(|&known| known == code);
        place.and_then(|place| self.declined.get(place)).copied().unwrap_or(0)
    }

    #[inline]
    pub(super) fn decline(&mut self, code: ResponseCode) {
        let place = DECLINE_CODES.iter().position(|&known| known == code);
        if let Some(count) = place.and_then(|place| self.declined.get_mut(place)) {
            *count += 1;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.approved.merge(&other.approved);
        self.holds.merge(&other.holds);
        self.holds_ended.merge(&other.holds_ended);
        self.refunded.merge(&other.refunded);
        self.reversed.merge(&other.reversed);
        self.reinstated.merge(&other.reinstated);
        self.revalued_minor += other.revalued_minor;
        self.inquiries += other.inquiries;
        self.repeats += other.repeats;
        self.reversals_unmatched += other.reversals_unmatched;
        self.silent += other.silent;
        self.late += other.late;
        for (count, more) in self.declined.iter_mut().zip(other.declined) {
            *count += more;
        }
    }
}

/// One bank's books over the accounts that were touched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Accounts touched.
    pub accounts: u64,
    /// What they held at first: balances and credit lines.
    pub opening_minor: i128,
    /// What moved.
    pub flows: Flows,
    /// What holds keep back now.
    pub held_minor: i128,
    /// What is available now.
    pub closing_minor: i128,
    /// The double-entry books.
    pub books: Books,
    /// What they must agree with, added up from the accounts.
    customers: Sums,
    /// Units of the fund, likewise.
    units: i128,
}

/// The books do not balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerError {
    /// Which sum is wrong.
    pub sum: LedgerSum,
    /// What the flows lead to.
    pub expected_minor: i128,
    /// What the accounts add up to.
    pub found_minor: i128,
}

/// A sum over the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerSum {
    /// What is available.
    Closing,
    /// What holds keep back.
    Held,
    /// What customers have with a ledger account of this name.
    Books(&'static str),
    /// Units of the fund.
    FundUnits,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sum, expected_minor, found_minor } = self;
        let what = match sum {
            LedgerSum::Closing => "available",
            LedgerSum::Held => "held",
            LedgerSum::Books(account) => account,
            LedgerSum::FundUnits => "units of the fund",
        };
        write!(f, "{what}: accounts add up to {found_minor}, movements to {expected_minor}")
    }
}

impl std::error::Error for LedgerError {}

impl Ledger {
    /// Books whose accounts are still to be added.
    pub(super) fn new(flows: Flows, books: Books) -> Self {
        Self { flows, books, ..Self::default() }
    }

    /// Checks the invariants of the module's text.
    ///
    /// # Errors
    /// Both sides of the first equation that does not hold.
    pub fn check(&self) -> Result<(), LedgerError> {
        let flows = &self.flows;
        let given = flows.reversed.amount_minor + flows.refunded.amount_minor;
        let taken = flows.approved.amount_minor + flows.reinstated.amount_minor;
        let held = flows.holds.amount_minor - flows.holds_ended.amount_minor;
        let closing = self.opening_minor + given - taken - held + flows.revalued_minor;
        let sums = [
            (LedgerSum::Held, held, self.held_minor),
            (LedgerSum::Closing, closing, self.closing_minor),
            (LedgerSum::FundUnits, self.books.units, self.units),
        ];
        for (sum, expected_minor, found_minor) in sums {
            if expected_minor != found_minor {
                return Err(LedgerError { sum, expected_minor, found_minor });
            }
        }
        match self.books.discrepancy(&self.customers) {
            None => Ok(()),
            Some((name, found_minor, expected_minor)) => {
                Err(LedgerError { sum: LedgerSum::Books(name), expected_minor, found_minor })
            }
        }
    }

    /// By how much the accounts went down for acquirers: what a fund's units gained is not theirs.
    #[must_use]
    pub fn debited_minor(&self) -> i128 {
        self.opening_minor - self.closing_minor + self.flows.revalued_minor
    }

    /// What the bank owes to acquirers, and has promised them, by its double-entry books.
    #[must_use]
    pub fn owed_minor(&self) -> i128 {
        let to_acquirers = [LedgerAccount::AcquirerSettlement, LedgerAccount::PreAuthorized];
        -to_acquirers.map(|account| self.books.balance_minor(account)).iter().sum::<i128>()
    }

    /// Adds an account that was touched; `opened` is what it held at first.
    pub(super) fn add_account(&mut self, kind: AccountKind, opened: i64, (now, held): (i64, u64)) {
        let (opened, now, held) = (i128::from(opened), i128::from(now), i128::from(held));
        self.accounts += 1;
        self.opening_minor += opened;
        self.held_minor += held;
        self.closing_minor += now;
        self.customers.add(kind, if kind.has_line() { now - opened } else { now }, held);
    }

    /// Sets the units of the fund, added up from the accounts.
    pub(super) fn set_units(&mut self, units: i128) {
        self.units = units;
    }

    /// Adds another shard's books of the same bank.
    pub fn merge(&mut self, other: &Self) {
        self.accounts += other.accounts;
        self.opening_minor += other.opening_minor;
        self.flows.merge(&other.flows);
        self.held_minor += other.held_minor;
        self.closing_minor += other.closing_minor;
        self.books.merge(&other.books);
        self.customers.merge(&other.customers);
        self.units += other.units;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(amount_minor: u64) -> Tally {
        Tally { count: 1, amount_minor: i128::from(amount_minor) }
    }

    fn balanced() -> Ledger {
        let flows = Flows {
            approved: tally(100),
            holds: tally(40),
            holds_ended: tally(30),
            refunded: tally(7),
            reversed: tally(50),
            reinstated: tally(2),
            ..Flows::default()
        };
        let mut books = Books::default();
        books.post(LedgerAccount::OpeningAssets, LedgerAccount::CustomerDeposits, 1_000);
        books.post(LedgerAccount::CustomerDeposits, LedgerAccount::AcquirerSettlement, 45);
        books.post(LedgerAccount::CustomerDeposits, LedgerAccount::PreAuthorized, 10);
        let mut ledger = Ledger::new(flows, books);
        ledger.add_account(AccountKind::Deposit, 1_000, (945, 10));
        ledger
    }

    #[test]
    fn books_balance_and_every_flow_matters() {
        let ledger = balanced();
        assert_eq!(ledger.check(), Ok(()));
        assert_eq!((ledger.debited_minor(), ledger.owed_minor()), (55, 55));
        let wrong: [fn(&mut Ledger); 13] = [
            |ledger| ledger.held_minor += 1,
            |ledger| ledger.opening_minor += 1,
            |ledger| ledger.closing_minor += 1,
            |ledger| ledger.flows.approved.add(1),
            |ledger| ledger.flows.holds.add(1),
            |ledger| ledger.flows.holds_ended.add(1),
            |ledger| ledger.flows.refunded.add(1),
            |ledger| ledger.flows.reversed.add(1),
            |ledger| ledger.flows.reinstated.add(1),
            |ledger| ledger.flows.revalued_minor += 1,
            |ledger| ledger.books.units += 1,
            |ledger| ledger.books.post(LedgerAccount::FundShares, LedgerAccount::FundResult, 1),
            |ledger| ledger.customers.add(AccountKind::Loan, 1, 0),
        ];
        for change in wrong {
            let mut ledger = balanced();
            change(&mut ledger);
            assert!(ledger.check().is_err());
        }
    }

    #[test]
    fn merged_books_balance() {
        let mut ledger = balanced();
        let mut other = balanced();
        other.flows.decline(ResponseCode::INSUFFICIENT_FUNDS);
        ledger.merge(&other);
        assert_eq!(ledger.check(), Ok(()));
        assert_eq!((ledger.accounts, ledger.flows.approved.count), (2, 2));
        assert_eq!(ledger.flows.declined(ResponseCode::INSUFFICIENT_FUNDS), 1);
        assert_eq!(ledger.flows.declined(ResponseCode::COUNT_LIMIT), 0);
    }
}

//! Double-entry books of one bank: every movement is one amount on the debit side of one ledger account
//! and on the credit side of another.
//!
//! Invariants, after every movement and checked then, at the cost of some additions:
//!
//! - debits and credits over all ledger accounts are equal;
//! - what customers' accounts add up to, by kind, is the balance of their ledger account, and what they
//!   hold is the balance of `pre_authorized`;
//! - the instalments of all due months are what customers owe on loans.
//!
//! The sums over customers' accounts are kept by `accounts`, not from what is posted here: a movement that
//! reaches only one of the two is found at once.
//!
//! Not here: how many of each kind of transaction there were (`ledger`).

use super::accounts::Sums;
use super::loan::Plan;
use super::products::AccountKind;
use crate::limits::INSTALMENTS_MAX;
use serde::Serialize;

/// A ledger account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerAccount {
    /// Owed to customers: balances of debit and prepaid cards.
    CustomerDeposits,
    /// Owed by customers: what is drawn on credit cards.
    CreditReceivables,
    /// Owed to customers: units of the fund, at what they are worth.
    FundShares,
    /// Owed by customers: what is drawn on consumer loans.
    LoansToCustomers,
    /// Promised to acquirers by pre-authorizations.
    PreAuthorized,
    /// Owed to acquirers.
    AcquirerSettlement,
    /// What the units of the fund gained (a debit), and what rounding left (a credit).
    FundResult,
    /// What balances and units were bought with before the first transaction.
    OpeningAssets,
}

impl LedgerAccount {
    /// All of them, in the order of [`Books::trial`].
    pub const ALL: [Self; 8] = [
        Self::CustomerDeposits,
        Self::CreditReceivables,
        Self::FundShares,
        Self::LoansToCustomers,
        Self::PreAuthorized,
        Self::AcquirerSettlement,
        Self::FundResult,
        Self::OpeningAssets,
    ];

    /// How the ledger file calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CustomerDeposits => "customer_deposits",
            Self::CreditReceivables => "credit_receivables",
            Self::FundShares => "fund_shares",
            Self::LoansToCustomers => "loans_to_customers",
            Self::PreAuthorized => "pre_authorized",
            Self::AcquirerSettlement => "acquirer_settlement",
            Self::FundResult => "fund_result",
            Self::OpeningAssets => "opening_assets",
        }
    }

    pub(super) const fn of(kind: AccountKind) -> Self {
        match kind {
            AccountKind::Deposit => Self::CustomerDeposits,
            AccountKind::Credit => Self::CreditReceivables,
            AccountKind::Fund => Self::FundShares,
            AccountKind::Loan => Self::LoansToCustomers,
        }
    }
}

/// Both sides of a ledger account, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// Debits.
    pub debit_minor: i128,
    /// Credits.
    pub credit_minor: i128,
}

impl Sides {
    const fn balance(&self) -> i128 {
        self.debit_minor - self.credit_minor
    }
}

/// The books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    sides: [Sides; LedgerAccount::ALL.len()],
    /// What customers owe on loans, by how many months after the purchase it is due.
    due_minor: [i128; INSTALMENTS_MAX],
    /// The same in one sum.
    due_total_minor: i128,
    /// Units of the fund that customers have, in ten-thousandths.
    pub(super) units: i128,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            sides: [Sides::default(); LedgerAccount::ALL.len()],
            due_minor: [0; INSTALMENTS_MAX],
            due_total_minor: 0,
            units: 0,
        }
    }
}

impl Books {
    /// One movement.
    #[inline]
    pub(super) fn post(&mut self, debit: LedgerAccount, credit: LedgerAccount, amount: u64) {
        self.sides[debit as usize].debit_minor += i128::from(amount);
        self.sides[credit as usize].credit_minor += i128::from(amount);
    }

    /// The instalments of a plan are owed from now on, or not any more.
    #[inline]
    pub(super) fn owe(&mut self, plan: Plan, is_owed: bool) {
        for (due, amount) in self.due_minor.iter_mut().zip(plan.amounts()) {
            let amount = if is_owed { i128::from(amount) } else { -i128::from(amount) };
            *due += amount;
            self.due_total_minor += amount;
        }
    }

    /// Both sides of a ledger account.
    #[must_use]
    pub fn sides(&self, account: LedgerAccount) -> Sides {
        self.sides[account as usize]
    }

    /// The balance of a ledger account: debits less credits.
    #[must_use]
    pub fn balance_minor(&self, account: LedgerAccount) -> i128 {
        self.sides[account as usize].balance()
    }

    /// The trial balance: every ledger account with both its sides.
    pub fn trial(&self) -> impl Iterator<Item = (LedgerAccount, Sides)> {
        LedgerAccount::ALL.into_iter().zip(self.sides)
    }

    /// What customers owe on loans, by months after the purchase, from the first.
    #[must_use]
    pub fn due_minor(&self) -> &[i128] {
        &self.due_minor
    }

    /// The first invariant of the module's text that does not hold: how it is called, what it should be,
    /// and what it is.
    #[inline]
    pub(super) fn discrepancy(&self, customers: &Sums) -> Option<(&'static str, i128, i128)> {
        let sum = self.sides.iter().map(Sides::balance).sum();
        let balance = |account| self.balance_minor(account);
        let of_kind = |kind: AccountKind| {
            let account = LedgerAccount::of(kind);
            (account.name(), -customers.available[kind.place()], balance(account))
        };
        let held: i128 = customers.held.iter().sum();
        let loans = AccountKind::Loan.place();
        let owed = -customers.available[loans] - customers.held[loans];
        let [a, b, c, d] = AccountKind::ALL.map(of_kind);
        let pre_authorized = -balance(LedgerAccount::PreAuthorized);
        [
            ("trial balance", 0, sum),
            a,
            b,
            c,
            d,
            ("pre_authorized", held, pre_authorized),
            ("instalments", owed, self.due_total_minor),
        ]
        .into_iter()
        .find(|(_, expected, found)| expected != found)
    }

    /// Adds another shard's books of the same bank.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sides, more) in self.sides.iter_mut().zip(other.sides) {
            sides.debit_minor += more.debit_minor;
            sides.credit_minor += more.credit_minor;
        }
        for (due, more) in self.due_minor.iter_mut().zip(other.due_minor) {
            *due += more;
        }
        self.due_total_minor += other.due_total_minor;
        self.units += other.units;
    }
}

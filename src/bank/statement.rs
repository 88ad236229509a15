//! What the banks of one process did, transaction by transaction, as the ledger file shows it: to
//! be compared with what acquirers were answered.
//!
//! Entries are the transactions that moved or hold money, oldest first, as far back as the banks
//! remember. Declines and reversals of what never came are in the totals only. A card is shown
//! masked. Not here: writing files.

use super::books::Sides;
use super::ledger::{Ledger, Tally};
use super::loan::Instalment;
use super::recent::{Deed, Recent, State};
use serde::Serialize;
use std::collections::BTreeMap;
use tapswitch_protocol::Pan;

/// The whole of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Statement {
    /// Each bank's books.
    pub banks: Vec<BankTotals>,
    /// Transactions that moved or hold money, oldest first.
    pub transactions: Vec<StatementEntry>,
    /// What switches said about their sessions, by listener; empty where there is none.
    pub sessions: Vec<SessionTotals>,
}

/// What switches said about their sessions at one bank, and the bank to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SessionTotals {
    /// The bank, or the route to it.
    pub name: String,
    /// DE 70 001.
    pub sign_ons: u64,
    /// DE 70 002.
    pub sign_offs: u64,
    /// DE 70 301.
    pub echoes: u64,
    /// Messages on connections that had not signed on. They are served all the same.
    pub without_sign_on: u64,
    /// The bank's own sign-ons that the switch granted.
    pub granted: u64,
}

impl SessionTotals {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// One bank's books.
#[derive(Clone, Debug, Serialize)]
pub struct BankTotals {
    /// The bank.
    pub name: String,
    /// Why its books do not balance; `None`: they do.
    pub imbalance: Option<String>,
    /// Accounts touched.
    pub accounts: u64,
    /// What they held at first, in minor units.
    pub opening_minor: i128,
    /// What is available now.
    pub closing_minor: i128,
    /// What holds keep back now.
    pub held_minor: i128,
    /// By how much units of funds were revalued.
    pub revalued_minor: i128,
    /// The trial balance: debits and credits of each ledger account.
    pub trial_balance: BTreeMap<&'static str, Sides>,
    /// What customers owe on loans, by months after the purchase, from the first.
    pub instalments_due_minor: Vec<i128>,
    /// Debits.
    pub approved: Total,
    /// Debits given back.
    pub reversed: Total,
    /// Debits done again.
    pub reinstated: Total,
    /// Credits by refund.
    pub refunded: Total,
    /// Holds placed.
    pub holds: Total,
    /// Holds that ended.
    pub holds_ended: Total,
    /// Requests seen before and answered the same.
    pub repeats: u64,
    /// Reversals whose original had not come.
    pub reversals_unmatched: u64,
    /// Requests processed and never answered.
    pub silent: u64,
    /// Requests answered late.
    pub late: u64,
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// How much, in minor units.
    pub amount_minor: i128,
}

impl From<Tally> for Total {
    fn from(tally: Tally) -> Self {
        Self { count: tally.count, amount_minor: tally.amount_minor }
    }
}

impl BankTotals {
    pub(super) fn new(name: &str, ledger: &Ledger) -> Self {
        let (flows, books) = (&ledger.flows, &ledger.books);
        Self {
            name: name.to_owned(),
            imbalance: ledger.check().err().map(|error| error.to_string()),
            accounts: ledger.accounts,
            opening_minor: ledger.opening_minor,
            closing_minor: ledger.closing_minor,
            held_minor: ledger.held_minor,
            revalued_minor: flows.revalued_minor,
            trial_balance: books.trial().map(|(it, sides)| (it.name(), sides)).collect(),
            instalments_due_minor: books.due_minor().to_vec(),
            approved: flows.approved.into(),
            reversed: flows.reversed.into(),
            reinstated: flows.reinstated.into(),
            refunded: flows.refunded.into(),
            holds: flows.holds.into(),
            holds_ended: flows.holds_ended.into(),
            repeats: flows.repeats,
            reversals_unmatched: flows.reversals_unmatched,
            silent: flows.silent,
            late: flows.late,
        }
    }
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StatementEntry {
    /// The bank.
    pub bank: String,
    /// DE 37.
    pub rrn: String,
    /// DE 11 that the switch gave it.
    pub stan: String,
    /// DE 7 that the switch gave it.
    pub sent: String,
    /// The card, masked.
    pub card: String,
    /// In minor units.
    pub amount_minor: u64,
    /// `debit`, `hold`, `refund`, `void_of_debit` or `void_of_hold`.
    pub kind: &'static str,
    /// `standing`: done and not undone since; `voided`, `reversed`, `completed`.
    pub state: &'static str,
    /// How a loan's purchase that stands is owed; of others nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instalments: Vec<Instalment>,
}

impl StatementEntry {
    /// `None` for what moved nothing.
    pub(super) fn new(bank: &str, pan: &Pan, recent: &Recent, rrn: &[u8; 12]) -> Option<Self> {
        let state = match recent.state {
            State::Approved => "standing",
            State::Voided => "voided",
            State::Reversed => "reversed",
            State::Completed => "completed",
            State::Declined | State::Tombstone => return None,
        };
        let kind = match recent.deed {
            Deed::Debit => "debit",
            Deed::Hold => "hold",
            Deed::Refund => "refund",
            Deed::VoidOfDebit => "void_of_debit",
            Deed::VoidOfHold => "void_of_hold",
        };
        Some(Self {
            bank: bank.to_owned(),
            rrn: String::from_utf8_lossy(rrn).into_owned(),
            stan: format!("{:06}", recent.key.stan),
            sent: format!("{:010}", recent.key.time),
            card: pan.masked().to_string(),
            amount_minor: recent.amount,
            kind,
            state,
            instalments: Vec::new(),
        })
    }
}

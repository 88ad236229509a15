//! How each kind of transaction moves money on an account.
//!
//! A completion releases the holds that its approval code names (a pre-authorization and what
//! increased it under the same code) and debits what it says; they do not come back when the
//! completion is reversed.
//!
//! Not here: repeats, draws, finding the account, and what a movement writes (`till`).

use super::accounts::Account;
use super::fund::Day;
use super::recent::{Deed, Recent, RecentTable, State, TraceKey};
use super::request::{BankRequest, Operation};
use super::till::{Back, Till};
use tapswitch_protocol::ResponseCode;

/// What was done for a request.
pub(super) struct Done {
    pub(super) deed: Deed,
    /// Reference of the row that it undid.
    pub(super) original: u32,
    /// The day at whose price units of a fund went.
    pub(super) day: Day,
}

impl Done {
    const fn new(deed: Deed, day: Day) -> Self {
        Self { deed, original: 0, day }
    }
}

/// Moves the money of a request, or says why not.
#[inline]
pub(super) fn apply(
    till: &mut Till<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    card_hash: u64,
) -> Result<Done, ResponseCode> {
    till.revalue();
    match request.operation {
        Operation::Debit => debit(till, recent, request),
        Operation::DebitAdvice => debit_advice(till, recent, request),
        Operation::Hold => hold(till, request),
        Operation::Refund => refund(till, request),
        Operation::Void => void(till, recent, request, card_hash),
        Operation::Balance
        | Operation::Verification
        | Operation::Notice
        | Operation::Reversal { .. } => Err(ResponseCode::INVALID_TRANSACTION),
    }
}

/// Purchase, cash, or the online completion of a hold.
#[inline]
fn debit(
    till: &mut Till<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
) -> Result<Done, ResponseCode> {
    let mut held = (0, 0);
    if let Some(approval) = request.approval {
        find_hold(&till.account, recent, request.key, approval)
            .ok_or(ResponseCode::ORIGINAL_NOT_FOUND)?;
        let newest = till.account.newest();
        let of_today = |row: &Recent| is_hold(row) && row.day == till.today;
        held.0 = recent.sum_approvals(request.key.pan, newest, approval, is_hold);
        held.1 = recent.sum_approvals(request.key.pan, newest, approval, of_today);
    }
    till.covers(request.amount, held)?;
    complete_all(till, recent, request);
    till.pay(request.amount);
    Ok(Done::new(Deed::Debit, till.today))
}

/// A purchase or completion that has happened: taken even below zero.
fn debit_advice(
    till: &mut Till<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
) -> Result<Done, ResponseCode> {
    if !till.account.has_room_below(request.amount) {
        return Err(ResponseCode::INVALID_AMOUNT);
    }
    till.pay(request.amount);
    complete_all(till, recent, request);
    Ok(Done::new(Deed::Debit, till.today))
}

/// Pre-authorization.
#[inline]
fn hold(till: &mut Till<'_>, request: &BankRequest) -> Result<Done, ResponseCode> {
    till.covers(request.amount, (0, 0))?;
    till.hold(request.amount, till.today);
    Ok(Done::new(Deed::Hold, till.today))
}

/// Refund.
fn refund(till: &mut Till<'_>, request: &BankRequest) -> Result<Done, ResponseCode> {
    if !till.refund(request.amount) {
        return Err(ResponseCode::INVALID_AMOUNT);
    }
    Ok(Done::new(Deed::Refund, till.today))
}

/// Void of a debit or a hold, found by DE 90 or else by DE 38.
fn void(
    till: &mut Till<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    card_hash: u64,
) -> Result<Done, ResponseCode> {
    let named = request.original.and_then(|key| recent.find(key, card_hash));
    let found = named.or_else(|| {
        let of_money = |row: &Recent| matches!(row.deed, Deed::Debit | Deed::Hold);
        let newest = till.account.newest();
        recent.find_approval(request.key.pan, newest, request.approval?, of_money)
    });
    let (reference, row) = found.ok_or(ResponseCode::ORIGINAL_NOT_FOUND)?;
    let deed = match (row.state, row.deed) {
        (State::Approved, Deed::Debit) => Deed::VoidOfDebit,
        (State::Approved, Deed::Hold) => Deed::VoidOfHold,
        (State::Tombstone, _) => return Err(ResponseCode::ORIGINAL_NOT_FOUND),
        (State::Approved, Deed::Refund | Deed::VoidOfDebit | Deed::VoidOfHold)
        | (State::Declined | State::Voided | State::Reversed | State::Completed, _) => {
            return Err(ResponseCode::INVALID_TRANSACTION);
        }
    };
    if row.amount != request.amount {
        return Err(ResponseCode::INVALID_AMOUNT);
    }
    let day = row.day;
    let back = Back::all(request.amount, day);
    if deed == Deed::VoidOfHold {
        till.end_hold(back)
    } else {
        till.give_back(back)
    }
    if let Some(row) = recent.get(reference) {
        row.state = State::Voided;
    }
    Ok(Done { deed, original: reference, day })
}

/// Undoes `row`, which stands. What a void gave back is taken again, unless its original was
/// reversed as well meanwhile: then it stays given back.
pub(super) fn undo(till: &mut Till<'_>, recent: &mut RecentTable, row: &Recent) {
    let of_same_card = |original: &&mut Recent| original.key.pan == row.key.pan;
    if let Some(original) = recent.get(row.original).filter(of_same_card) {
        if original.state != State::Voided {
            return;
        }
        original.state = State::Approved;
    }
    let (amount, day) = (row.amount, row.day);
    till.revalue();
    match row.deed {
        Deed::Debit => till.give_back(Back::all(amount, day)),
        Deed::Hold => till.end_hold(Back::all(amount, day)),
        Deed::Refund => till.take_refund(amount, day),
        Deed::VoidOfDebit => till.pay_again(amount, day),
        Deed::VoidOfHold => till.hold(amount, day),
    }
}

/// Of `row`, a debit or a hold that stands, only `left` is to stand.
pub(super) fn reduce(till: &mut Till<'_>, row: &Recent, left: u64) {
    let back = Back { amount: row.amount, left, day: row.day };
    till.revalue();
    if row.deed == Deed::Hold { till.end_hold(back) } else { till.give_back(back) }
}

/// The hold that an approval code names: its reference and amount.
fn find_hold(
    account: &Account<'_>,
    recent: &RecentTable,
    key: TraceKey,
    approval: u32,
) -> Option<(u32, u64)> {
    let hold = recent.find_approval(key.pan, account.newest(), approval, is_hold);
    hold.map(|(reference, row)| (reference, row.amount))
}

fn is_hold(row: &Recent) -> bool {
    row.deed == Deed::Hold
}

/// Ends the hold that a completion names, and what increased it.
fn complete_all(till: &mut Till<'_>, recent: &mut RecentTable, request: &BankRequest) {
    let Some(approval) = request.approval else { return };
    while let Some((reference, _)) = find_hold(&till.account, recent, request.key, approval) {
        complete(till, recent, reference);
    }
}

/// Ends a hold whose completion came.
fn complete(till: &mut Till<'_>, recent: &mut RecentTable, reference: u32) {
    if let Some(row) = recent.get(reference) {
        row.state = State::Completed;
        till.end_hold(Back::all(row.amount, row.day));
    }
}

//! How each kind of transaction moves money on an account.
//!
//! A completion releases the holds that its approval code names (a pre-authorization and what
//! increased it under the same code) and debits what it says; they do not come back when the
//! completion is reversed. Every movement is counted in the flows that the ledger is made of.
//!
//! Not here: repeats, draws, and finding the account.

use super::accounts::Account;
use super::ledger::Flows;
use super::recent::{Deed, Recent, RecentTable, State, TraceKey};
use super::request::{BankRequest, Operation};
use tapswitch_protocol::ResponseCode;

/// What was done for a request.
pub(super) struct Done {
    pub(super) deed: Deed,
    /// Reference of the row that it undid.
    pub(super) original: u32,
}

impl Done {
    const fn new(deed: Deed) -> Self {
        Self { deed, original: 0 }
    }
}

/// Moves the money of a request, or says why not.
#[inline]
pub(super) fn apply(
    account: Account<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    card_hash: u64,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    match request.operation {
        Operation::Debit => debit(account, recent, request, flows),
        Operation::DebitAdvice => debit_advice(account, recent, request, flows),
        Operation::Hold => hold(account, request, flows),
        Operation::Refund => refund(account, request, flows),
        Operation::Void => void(account, recent, request, card_hash, flows),
        Operation::Balance
        | Operation::Verification
        | Operation::Notice
        | Operation::Reversal { .. } => Err(ResponseCode::INVALID_TRANSACTION),
    }
}

/// Purchase, cash, or the online completion of a hold.
#[inline]
fn debit(
    mut account: Account<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    let mut held = 0;
    if let Some(approval) = request.approval {
        find_hold(&account, recent, request.key, approval)
            .ok_or(ResponseCode::ORIGINAL_NOT_FOUND)?;
        held = recent.sum_approvals(request.key.pan, account.newest(), approval, is_hold);
    }
    let available = account.available().saturating_add_unsigned(held);
    if !covers(available, request.amount) {
        return Err(ResponseCode::INSUFFICIENT_FUNDS);
    }
    complete_all(&mut account, recent, request, flows);
    account.take_back(request.amount);
    flows.approved.add(request.amount);
    Ok(Done::new(Deed::Debit))
}

/// A purchase or completion that has happened: taken even below zero.
fn debit_advice(
    mut account: Account<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    if !account.debit(request.amount) {
        return Err(ResponseCode::INVALID_AMOUNT);
    }
    flows.approved.add(request.amount);
    complete_all(&mut account, recent, request, flows);
    Ok(Done::new(Deed::Debit))
}

/// Pre-authorization.
#[inline]
fn hold(
    mut account: Account<'_>,
    request: &BankRequest,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    if !covers(account.available(), request.amount) {
        return Err(ResponseCode::INSUFFICIENT_FUNDS);
    }
    account.take_back(request.amount);
    account.hold(request.amount);
    flows.holds.add(request.amount);
    Ok(Done::new(Deed::Hold))
}

/// Refund.
fn refund(
    mut account: Account<'_>,
    request: &BankRequest,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    if !account.credit(request.amount) {
        return Err(ResponseCode::INVALID_AMOUNT);
    }
    flows.refunded.add(request.amount);
    Ok(Done::new(Deed::Refund))
}

/// Void of a debit or a hold, found by DE 90 or else by DE 38.
fn void(
    mut account: Account<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    card_hash: u64,
    flows: &mut Flows,
) -> Result<Done, ResponseCode> {
    let named = request.original.and_then(|key| recent.find(key, card_hash));
    let found = named.or_else(|| {
        let of_money = |row: &Recent| matches!(row.deed, Deed::Debit | Deed::Hold);
        let newest = account.newest();
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
    account.give_back(request.amount);
    if deed == Deed::VoidOfHold {
        account.release(request.amount);
        flows.holds_ended.add(request.amount);
    } else {
        flows.reversed.add(request.amount);
    }
    if let Some(row) = recent.get(reference) {
        row.state = State::Voided;
    }
    Ok(Done { deed, original: reference })
}

/// Undoes `row`, which stands. What a void gave back is taken again, unless its original was
/// reversed as well meanwhile: then it stays given back.
pub(super) fn undo(
    mut account: Account<'_>,
    recent: &mut RecentTable,
    row: &Recent,
    flows: &mut Flows,
) {
    let of_same_card = |original: &&mut Recent| original.key.pan == row.key.pan;
    if let Some(original) = recent.get(row.original).filter(of_same_card) {
        if original.state != State::Voided {
            return;
        }
        original.state = State::Approved;
    }
    match row.deed {
        Deed::Debit => {
            account.give_back(row.amount);
            flows.reversed.add(row.amount);
        }
        Deed::Hold => {
            account.give_back(row.amount);
            account.release(row.amount);
            flows.holds_ended.add(row.amount);
        }
        Deed::Refund | Deed::VoidOfDebit => {
            account.take_back(row.amount);
            flows.reinstated.add(row.amount);
        }
        Deed::VoidOfHold => {
            account.take_back(row.amount);
            account.hold(row.amount);
            flows.holds.add(row.amount);
        }
    }
}

/// Of `row`, a debit or a hold that stands, only `left` is to stand.
pub(super) fn reduce(mut account: Account<'_>, row: &Recent, left: u64, flows: &mut Flows) {
    let less = row.amount - left;
    account.give_back(less);
    if row.deed == Deed::Hold {
        account.release(less);
        flows.holds_ended.add(less);
    } else {
        flows.reversed.add(less);
    }
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
fn complete_all(
    account: &mut Account<'_>,
    recent: &mut RecentTable,
    request: &BankRequest,
    flows: &mut Flows,
) {
    let Some(approval) = request.approval else { return };
    while let Some((reference, _)) = find_hold(account, recent, request.key, approval) {
        complete(account, recent, reference, flows);
    }
}

/// Ends a hold whose completion came.
fn complete(
    account: &mut Account<'_>,
    recent: &mut RecentTable,
    reference: u32,
    flows: &mut Flows,
) {
    if let Some(row) = recent.get(reference) {
        row.state = State::Completed;
        account.give_back(row.amount);
        account.release(row.amount);
        flows.holds_ended.add(row.amount);
    }
}

#[inline]
fn covers(available: i64, amount: u64) -> bool {
    u64::try_from(available).is_ok_and(|available| available >= amount)
}

//! Intake: what a message is, and whether it may be taken here and now. The first half, staging,
//! reads and hashes; it changes nothing that decides, so a batch can be staged ahead.

use super::duplicate::DuplicateKey;
use super::identity::{CardKey, ConnectionId, ShardId};
use super::own_answer::Reason;
use super::totals::Sort;
use super::wallet::Tap;
use crate::config::AcquirerConfig;
use crate::limits::STAGED_MAX;
use tapswitch_protocol::{
    AmountMinor, FieldTable, FormatError, Function, MessageView, Mti, MtiClass, Origin, Pan,
    PanError, ProcessingCode, TokenData,
};

/// DE 49 of CNY.
const CNY: &[u8] = b"156";

/// A staged message, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staged(pub(super) u8);

/// What staging found out about one message.
pub(super) struct StagedRequest {
    pub(super) table: FieldTable,
    pub(super) connection: ConnectionId,
    pub(super) error: Option<FormatError>,
    /// Cleared when the request is decided: sensitive data die with the batch.
    pub(super) pan: Result<Pan, PanError>,
    pub(super) card: CardKey,
    pub(super) owner: ShardId,
    pub(super) key: DuplicateKey,
    pub(super) fingerprint: u64,
    /// Known from before, where the message has no DE 63 any more; `None`: it says so itself.
    pub(super) token_data: Option<TokenData>,
    /// The token that it was paid with, if it is one of this switch.
    pub(super) tap: Option<Tap>,
}

/// The messages staged and not yet decided; slots are reused in turn.
pub(super) struct StagedRequests {
    slots: Vec<Option<Box<StagedRequest>>>,
    next: u8,
}

impl StagedRequests {
    pub(super) fn new() -> Self {
        let slot = || StagedRequest {
            table: FieldTable::default(),
            connection: ConnectionId::default(),
            error: None,
            pan: Err(PanError::Missing),
            card: CardKey([0; 16]),
            owner: ShardId(0),
            key: DuplicateKey([0; 16]),
            fingerprint: 0,
            token_data: None,
            tap: None,
        };
        Self { slots: (0..STAGED_MAX).map(|_| Some(Box::new(slot()))).collect(), next: 0 }
    }

    /// The slot for the next message. It overwrites the one staged `STAGED_MAX` messages ago.
    #[inline]
    pub(super) fn next(&mut self) -> (Staged, Option<&mut StagedRequest>) {
        let place = self.next;
        self.next = (self.next + 1) % STAGED_MAX as u8;
        let slot = self.slots.get_mut(usize::from(place)).and_then(Option::as_deref_mut);
        (Staged(place), slot)
    }

    #[inline]
    pub(super) fn take(&mut self, staged: Staged) -> Option<Box<StagedRequest>> {
        self.slots.get_mut(usize::from(staged.0))?.take()
    }

    /// The message staged next after this one, if there is one.
    #[inline]
    pub(super) fn after(&self, staged: Staged) -> Option<&StagedRequest> {
        let place = (staged.0 + 1) % STAGED_MAX as u8;
        let is_staged = place != self.next;
        self.slots.get(usize::from(place)).filter(|_| is_staged)?.as_deref()
    }

    #[inline]
    pub(super) fn give(&mut self, staged: Staged, mut request: Box<StagedRequest>) {
        request.pan = Err(PanError::Missing);
        if let Some(slot) = self.slots.get_mut(usize::from(staged.0)) {
            *slot = Some(request);
        }
    }
}

/// What the switch does with a type of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// 0100, 0200: decided, forwarded, answered by the issuer.
    Request,
    /// 0120, 0220: accepted, stored, forwarded.
    Advice,
    /// 0620: accepted, stored, forwarded, counted nowhere.
    Notice,
    /// 0400, 0420.
    Reversal,
    /// 0500, 0520.
    Reconciliation,
    /// 0800, 0820.
    NetworkManagement,
}

impl Kind {
    /// Of a type that expects a response; `None` when it is not served to acquirers.
    #[inline]
    pub(super) const fn of(mti: Mti) -> Option<Self> {
        if mti.version() != 0 || !matches!(mti.origin(), Origin::Acquirer | Origin::AcquirerRepeat)
        {
            return None;
        }
        match (mti.class(), mti.function()) {
            (MtiClass::Authorization | MtiClass::Financial, Function::Request) => {
                Some(Self::Request)
            }
            (MtiClass::Authorization | MtiClass::Financial, Function::Advice) => Some(Self::Advice),
            (MtiClass::Administrative, Function::Advice) => Some(Self::Notice),
            (MtiClass::Reversal, Function::Request | Function::Advice) => Some(Self::Reversal),
            (MtiClass::Reconciliation, Function::Request | Function::Advice) => {
                Some(Self::Reconciliation)
            }
            (MtiClass::NetworkManagement, Function::Request | Function::Advice) => {
                Some(Self::NetworkManagement)
            }
            _ => None,
        }
    }
}

/// What every transaction states.
#[derive(Clone, Copy)]
pub(super) struct Transaction {
    pub(super) processing: ProcessingCode,
    pub(super) amount: AmountMinor,
    /// DE 18, 0 when absent.
    pub(super) mcc: u16,
    /// First two digits of DE 22, 0 when absent.
    pub(super) entry_mode: u8,
    /// DE 25, 0 when absent.
    pub(super) condition: u8,
    /// A PIN came with it: DE 52, or DE 22 says so.
    pub(super) pin: bool,
}

impl Transaction {
    /// Whether it takes back an earlier one.
    pub(super) const fn is_void(&self) -> bool {
        self.processing.transaction_type() == ProcessingCode::REFUND_OR_VOID
    }

    /// Whether it turns an earlier pre-authorization into money: DE 25 06 on a purchase.
    pub(super) const fn is_completion(&self, mti: Mti) -> bool {
        matches!(mti.class(), MtiClass::Financial)
            && self.condition == 6
            && self.processing.transaction_type() == ProcessingCode::PURCHASE
    }

    /// Whether it opens a hold that is completed later.
    pub(super) const fn opens_hold(&self, mti: Mti) -> bool {
        matches!(mti.class(), MtiClass::Authorization)
            && self.processing.transaction_type() == ProcessingCode::PRE_AUTHORIZATION
    }

    /// What it is in the totals, which are in CNY: other currencies are not in them. A refund is an
    /// advice; a request of that processing code takes back a debit.
    pub(super) fn sort(&self, view: &MessageView<'_>) -> Sort {
        if self.processing.moves_no_money() {
            return Sort::Inquiry;
        }
        if view.raw(49).is_some_and(|currency| currency != CNY) {
            return Sort::None;
        }
        let is_authorization = view.mti().class() == MtiClass::Authorization;
        let is_advice = view.mti().function() == Function::Advice;
        match self.processing.transaction_type() {
            ProcessingCode::REFUND_OR_VOID if is_authorization => Sort::None,
            ProcessingCode::REFUND_OR_VOID if is_advice => Sort::Credit,
            ProcessingCode::REFUND_OR_VOID => Sort::Debit,
            _ if is_authorization => Sort::Authorization,
            // ISO 8583: 20 to 29 credit the card, 40 to 49 move between accounts.
            21..=29 => Sort::Credit,
            40..=49 => Sort::Transfer,
            _ => Sort::Debit,
        }
    }

    /// Whether it may count against the card's limits. Not: inquiries and voids.
    pub(super) const fn counts(&self) -> bool {
        !self.processing.moves_no_money() && !self.is_void()
    }
}

/// The PAN, where it must be there and well-formed.
#[inline]
pub(super) fn check_pan(pan: Result<Pan, PanError>) -> Result<Pan, Reason> {
    match pan {
        Ok(pan) => Ok(pan),
        Err(PanError::Missing | PanError::Conflict) => Err(Reason::Format(2)),
        Err(PanError::Length) => Err(Reason::InvalidCard),
    }
}

/// The mandatory data elements besides the PAN: DE 3, DE 7 where it names the transaction, and
/// DE 4 unless no money moves.
#[inline]
pub(super) fn check_transaction(
    view: &MessageView<'_>,
    profile: &AcquirerConfig,
) -> Result<Transaction, Reason> {
    let processing = view.processing_code().ok_or(Reason::Format(3))?;
    let amount = match view.amount() {
        Some(amount) => amount,
        None if processing.moves_no_money() => AmountMinor(0),
        None => return Err(Reason::Format(4)),
    };
    if amount.0 == 0 && !processing.moves_no_money() {
        return Err(Reason::InvalidAmount);
    }
    if profile.duplicate_key.has(7) && !view.has(7) {
        return Err(Reason::Format(7));
    }
    let small = |field: u8| view.number(field).unwrap_or_default();
    Ok(Transaction {
        processing,
        amount,
        mcc: u16::try_from(small(18)).unwrap_or_default(),
        entry_mode: u8::try_from(small(22) / 10).unwrap_or_default(),
        condition: u8::try_from(small(25)).unwrap_or_default(),
        pin: view.has(52) || small(22) % 10 == 1,
    })
}

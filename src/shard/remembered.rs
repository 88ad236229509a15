//! What an answer added to its request, as bytes for the duplicate memory: field number, wire
//! length, wire form. DE 39 is not among them; it is kept beside, so that it can change.

use super::duplicate::{OriginalRecord, OriginalState};
use super::totals::Sort;
use super::velocity::Reservation;
use super::{CardKey, IssuerId};
use crate::limits::REMEMBERED_BYTES_MAX;
use tapswitch_protocol::usage::UsageReader;
use tapswitch_protocol::{FieldSet, MessageView, ResponseCode, WireField};

/// Most fields that an answer adds.
const FIELDS_MAX: usize = 20;
/// Remembered first; others as far as they fit.
const FIRST: FieldSet = FieldSet::of(&[4, 15, 38, 44, 54, 55]);

/// A PIN block enciphered with SM4, in DE 63.
const PIN_USAGE: [u8; 2] = *b"SM";

/// The record of a request that was declined before it was forwarded, or of a reversal or advice:
/// there is nothing to undo.
pub(super) fn declined(card: CardKey, code: ResponseCode) -> OriginalRecord {
    OriginalRecord {
        state: OriginalState::Declined,
        response_code: *code.bytes(),
        issuer: IssuerId(0),
        card,
        amount_minor: 0,
        issuer_stan: 0,
        issuer_transmission_time: 0,
        reservation: Reservation::default(),
        sort: Sort::None,
        voids: None,
    }
}

/// Encoded additions.
pub(super) struct Additions {
    bytes: [u8; REMEMBERED_BYTES_MAX],
    used: usize,
    /// Whether some did not fit.
    pub(super) is_cut: bool,
}

impl Additions {
    pub(super) const fn none() -> Self {
        Self { bytes: [0; REMEMBERED_BYTES_MAX], used: 0, is_cut: false }
    }

    /// The fields of `set` that `answer` has.
    pub(super) fn of(answer: &MessageView<'_>, set: FieldSet) -> Self {
        let mut additions = Self::none();
        let set = set.and(answer.present()).without(39);
        for field in set.and(FIRST).into_iter().chain(set.minus(FIRST)) {
            let wire = answer.wire(field).unwrap_or_default();
            let is_kept = may_be_kept(answer, field) && additions.add(field, wire).is_some();
            additions.is_cut |= !is_kept;
        }
        additions
    }

    /// One more; `None` when it does not fit.
    pub(super) fn add(&mut self, field: u8, wire: &[u8]) -> Option<()> {
        let length = u8::try_from(wire.len()).ok()?;
        let room = self.bytes.get_mut(self.used..self.used + 2 + wire.len())?;
        let (head, tail) = room.split_at_mut(2);
        head.copy_from_slice(&[field, length]);
        tail.copy_from_slice(wire);
        self.used += 2 + wire.len();
        Some(())
    }

    /// Encoded additions again.
    pub(super) fn restore(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.used = bytes.len();
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

/// Whether an element may outlive its message: made of usages, it may be a PIN block, or be anything
/// where they cannot be told apart.
fn may_be_kept(answer: &MessageView<'_>, field: u8) -> bool {
    if !answer.dialect().usages.has(field) {
        return true;
    }
    let mut usages = UsageReader::new(answer.raw(field).unwrap_or_default());
    usages.all(|usage| usage.is_ok_and(|usage| usage.name != PIN_USAGE))
}

/// The additions of a remembered answer, DE 39 with them, ascending.
pub(super) struct Decoded<'a> {
    fields: [WireField<'a>; FIELDS_MAX],
    used: usize,
}

impl<'a> Decoded<'a> {
    pub(super) fn new(code: &'a ResponseCode, mut bytes: &'a [u8]) -> Self {
        let mut decoded = Self { fields: [WireField { field: 0, wire: &[] }; FIELDS_MAX], used: 0 };
        decoded.push(WireField { field: 39, wire: code.bytes() });
        while let Some((&[field, length], rest)) = bytes.split_first_chunk() {
            let Some((wire, rest)) = rest.split_at_checked(usize::from(length)) else { break };
            decoded.push(WireField { field, wire });
            bytes = rest;
        }
        if let Some(used) = decoded.fields.get_mut(..decoded.used) {
            used.sort_unstable_by_key(|field| field.field);
        }
        decoded
    }

    fn push(&mut self, field: WireField<'a>) {
        if let Some(slot) = self.fields.get_mut(self.used) {
            *slot = field;
            self.used += 1;
        }
    }

    pub(super) fn fields(&self) -> &[WireField<'a>] {
        self.fields.get(..self.used).unwrap_or_default()
    }
}

//! What is kept of a completed request, so that reversals and voids find it.

use crate::shard::velocity::{RESERVATION_BYTES, Reservation};
use crate::shard::{CardKey, IssuerId};

/// How a completed request ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum OriginalState {
    /// It was not approved.
    #[default]
    Declined,
    /// It was approved and stands.
    Approved,
    /// It was approved, or may have been, and has been taken back.
    Reversed,
}

impl OriginalState {
    /// By their numbers.
    const ALL: [Self; 3] = [Self::Declined, Self::Approved, Self::Reversed];

    /// By its number.
    pub(in crate::shard) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A completed request.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginalRecord {
    /// How it ended.
    pub state: OriginalState,
    /// DE 39 of its answer; also of the answer that a repeat gets.
    pub response_code: [u8; 2],
    /// Where it was forwarded to.
    pub issuer: IssuerId,
    /// Its card.
    pub card: CardKey,
    /// What was approved.
    pub amount_minor: u64,
    /// DE 11 on the issuer's side.
    pub issuer_stan: u32,
    /// DE 7 on the issuer's side.
    pub issuer_transmission_time: u32,
    /// What is still counted against the card's limits.
    pub reservation: Reservation,
}

const _: () = assert!(size_of::<OriginalRecord>() <= 72);

/// Bytes of a record in the log.
pub(super) const ORIGINAL_BYTES: usize = 36 + RESERVATION_BYTES;

/// The encoded record, taken apart from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    #[inline]
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("Invariant: a record has its bytes");
        self.0 = rest;
        *head
    }
}

impl OriginalRecord {
    #[inline]
    pub(super) fn encode(&self, out: &mut [u8; ORIGINAL_BYTES]) {
        out[0] = self.state as u8;
        out[1..3].copy_from_slice(&self.response_code);
        out[3] = self.issuer.0;
        out[4..20].copy_from_slice(&self.card.0);
        out[20..28].copy_from_slice(&self.amount_minor.to_le_bytes());
        out[28..32].copy_from_slice(&self.issuer_stan.to_le_bytes());
        out[32..36].copy_from_slice(&self.issuer_transmission_time.to_le_bytes());
        out[36..].copy_from_slice(&self.reservation.to_bytes());
    }

    #[inline]
    pub(super) fn decode(bytes: &[u8; ORIGINAL_BYTES]) -> Self {
        let mut reader = Reader(bytes);
        let [state] = reader.take();
        Self {
            state: OriginalState::ALL[usize::from(state)],
            response_code: reader.take(),
            issuer: IssuerId(reader.take::<1>()[0]),
            card: CardKey(reader.take()),
            amount_minor: u64::from_le_bytes(reader.take()),
            issuer_stan: u32::from_le_bytes(reader.take()),
            issuer_transmission_time: u32::from_le_bytes(reader.take()),
            reservation: Reservation::from_bytes(&reader.take()),
        }
    }
}

//! What is kept of a completed request that moved money, or may have, so that reversals and voids
//! find it.

use super::originals::OriginalKey;
use crate::limits::{ISSUERS_MAX, STANS};
use crate::shard::totals::{Entry, Sort};
use crate::shard::velocity::{RESERVATION_BYTES, Reservation};
use crate::shard::{AcquirerId, CardKey, IssuerId};
use tapswitch_protocol::ResponseCode;

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
    /// By its number.
    pub(in crate::shard) const fn from_number(number: u8) -> Option<Self> {
        if number > Self::Reversed as u8 { None } else { Some(Self::of(number)) }
    }

    /// By its number; what is no number of one is the first.
    #[inline]
    pub(super) const fn of(number: u8) -> Self {
        match number {
            1 => Self::Approved,
            2 => Self::Reversed,
            _ => Self::Declined,
        }
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
    /// What a reversal of it is in the totals.
    pub sort: Sort,
    /// Of an approved void that reserves nothing itself: what it took back, and what stands again when
    /// it is reversed.
    pub voids: Option<OriginalKey>,
}

const _: () = assert!(size_of::<OriginalRecord>() <= 88);

const CARD: usize = 0;
const CODE: usize = CARD + 16;
const AMOUNT: usize = CODE + 2;
/// DE 4 has twelve digits: 40 bits.
const AMOUNT_BYTES: usize = 5;
const LEG: usize = AMOUNT + AMOUNT_BYTES;
/// The state of an approved void that has its original's key in place of a reservation.
const VOID: u8 = 3;
/// State 2 bits, issuer 6, DE 11 20, DE 7 26, sort 2.
const LEG_BYTES: usize = 7;
const RESERVATION: usize = LEG + LEG_BYTES;

const _: () = assert!(ISSUERS_MAX <= 1 << 6 && STANS <= 1 << 20);

/// Bytes of a record. The reservation keeps an amount of its own, because limits may count another
/// currency (DE 6) than the one that was approved.
pub(in crate::shard) const ORIGINAL_BYTES: usize = RESERVATION + RESERVATION_BYTES;

/// Of the first byte of a code, which is a character: its approval was answered more than once. Of
/// this life only: it is not copied with the record.
const ANSWERED_AGAIN: u8 = 0x80;

/// Notes in a stored record that its approval was handed out more than once.
pub(super) fn mark_answered_again(record: &mut [u8; ORIGINAL_BYTES]) {
    record[CODE] |= ANSWERED_AGAIN;
}

/// Whether it is so marked.
pub(super) fn is_answered_again(record: &[u8; ORIGINAL_BYTES]) -> bool {
    record[CODE] & ANSWERED_AGAIN != 0
}

/// Bits of second, minute, hour, day and month, from the lowest.
const TIME_BITS: [u32; 5] = [6, 6, 5, 5, 4];

/// MMDDhhmmss in 26 bits.
#[inline]
fn pack_time(mut time: u32) -> u64 {
    let (mut packed, mut shift) = (0, 0);
    for bits in TIME_BITS {
        assert!(time % 100 < 1 << bits, "Invariant: DE 7 is a date and a time");
        packed |= u64::from(time % 100) << shift;
        time /= 100;
        shift += bits;
    }
    packed
}

/// What [`pack_time`] packed.
#[inline]
fn unpack_time(mut packed: u64) -> u32 {
    let (mut time, mut digits) = (0, 1_u64);
    for bits in TIME_BITS {
        time += (packed & ((1 << bits) - 1)) * digits;
        packed >>= bits;
        digits *= 100;
    }
    // Ten digits that begin with a month.
    time as u32
}

impl OriginalRecord {
    /// What it adds to the totals that so much of it is taken back.
    pub(in crate::shard) fn taken_back(
        &self,
        acquirer: AcquirerId,
        amount_minor: u64,
    ) -> Option<Entry> {
        (self.sort != Sort::None).then_some(Entry {
            acquirer,
            issuer: self.issuer,
            sort: self.sort,
            is_reversal: true,
            amount_minor,
        })
    }

    /// Whether a void took it back, not a reversal of its own: repeats get its approval on.
    pub(in crate::shard) fn is_voided(&self) -> bool {
        self.state == OriginalState::Reversed && ResponseCode::new(self.response_code).is_approval()
    }

    /// How it ended, as a number, and what goes with it: its reservation, or what it took back.
    #[inline]
    pub(in crate::shard) fn end(&self) -> (u8, [u8; RESERVATION_BYTES]) {
        match self.voids {
            Some(OriginalKey(key)) if self.state == OriginalState::Approved => {
                let mut bytes = [0; RESERVATION_BYTES];
                bytes[..key.len()].copy_from_slice(&key);
                (VOID, bytes)
            }
            _ => (self.state as u8, self.reservation.to_bytes()),
        }
    }

    /// The same record with the end that [`OriginalRecord::end`] told; `None`: there is none such.
    #[inline]
    pub(in crate::shard) fn with_end(
        self,
        state: u8,
        bytes: &[u8; RESERVATION_BYTES],
    ) -> Option<Self> {
        if state == VOID {
            let voids = bytes.first_chunk().map(|key| OriginalKey(*key));
            return Some(Self { state: OriginalState::Approved, voids, ..self });
        }
        let state = OriginalState::from_number(state)?;
        Some(Self { state, reservation: Reservation::from_bytes(bytes), ..self })
    }

    #[inline]
    pub(in crate::shard) fn encode(&self, out: &mut [u8; ORIGINAL_BYTES]) {
        assert!(self.amount_minor < 1 << 40, "Invariant: an amount has twelve digits");
        assert!(
            usize::from(self.issuer.0) < ISSUERS_MAX,
            "Invariant: an issuer is a configured one"
        );
        out[CARD..CODE].copy_from_slice(&self.card.0);
        out[CODE..AMOUNT].copy_from_slice(&self.response_code);
        out[AMOUNT..LEG].copy_from_slice(&self.amount_minor.to_le_bytes()[..AMOUNT_BYTES]);
        let (state, end) = self.end();
        let leg = u64::from(state)
            | u64::from(self.issuer.0) << 2
            | u64::from(self.issuer_stan) << 8
            | pack_time(self.issuer_transmission_time) << 28
            | (self.sort.of_original() as u64) << 54;
        out[LEG..RESERVATION].copy_from_slice(&leg.to_le_bytes()[..LEG_BYTES]);
        out[RESERVATION..].copy_from_slice(&end);
    }

    #[inline]
    pub(in crate::shard) fn decode(bytes: &[u8; ORIGINAL_BYTES]) -> Self {
        let leg = number(&bytes[LEG..RESERVATION]);
        let mut end = [0; RESERVATION_BYTES];
        end.copy_from_slice(&bytes[RESERVATION..]);
        let state = leg as u8 & 0x3;
        let (mut card, mut response_code) = ([0; 16], [0; 2]);
        card.copy_from_slice(&bytes[CARD..CODE]);
        response_code.copy_from_slice(&bytes[CODE..AMOUNT]);
        response_code[0] &= !ANSWERED_AGAIN;
        let record = Self {
            state: OriginalState::Declined,
            response_code,
            issuer: IssuerId((leg >> 2) as u8 & 0x3F),
            card: CardKey(card),
            amount_minor: number(&bytes[AMOUNT..LEG]),
            issuer_stan: (leg >> 8) as u32 & 0xF_FFFF,
            issuer_transmission_time: unpack_time(leg >> 28),
            // Of an original that an older version wrote: none.
            sort: Sort::from_number((leg >> 54) as u8 & 0x3).unwrap_or_default(),
            reservation: Reservation::default(),
            voids: None,
        };
        // Two bits are always some state.
        record.clone().with_end(state, &end).unwrap_or(record)
    }
}

/// Little-endian, of at most eight bytes.
#[inline]
fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_is_what_it_was(
            state in 0..3u8,
            response_code in [0..0x80u8, 0..0x80u8],
            issuer in 0..ISSUERS_MAX as u8,
            card in any::<[u8; 16]>(),
            amount_minor in 0..=999_999_999_999u64,
            issuer_stan in 0..STANS,
            (month, day, hour) in (1..=12u32, 1..=31u32, 0..24u32),
            sort in 0..4u8,
            voids in any::<Option<[u8; 12]>>(),
            (minute, second) in (0..60u32, 0..60u32),
        ) {
            let record = OriginalRecord {
                state: OriginalState::of(state),
                response_code,
                issuer: IssuerId(issuer),
                card: CardKey(card),
                amount_minor,
                issuer_stan,
                issuer_transmission_time:
                    (((month * 100 + day) * 100 + hour) * 100 + minute) * 100 + second,
                reservation: Reservation::default(),
                sort: Sort::from_number(sort).unwrap(),
                voids: voids.filter(|_| state == 1).map(OriginalKey),
            };
            let mut bytes = [0; ORIGINAL_BYTES];
            record.encode(&mut bytes);
            prop_assert!(OriginalRecord::decode(&bytes) == record);
        }
    }
}

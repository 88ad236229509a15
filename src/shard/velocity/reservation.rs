//! Proof that a transaction is counted, and what its release needs to know.
//!
//! Not here: which window that is. It follows from the moment and the shape of each counter, so it
//! need not be kept.

/// The bit beside the counters' that says that the transaction was approved.
const POSTED: u8 = 1 << 7;
/// The bit above the moment that says that only an amount is counted, not one more transaction.
const AMOUNT_ONLY: u64 = 1 << 47;
const AT_MS_MAX: u64 = AMOUNT_ONLY - 1;
/// Largest amount: 48 bits.
pub(super) const AMOUNT_MINOR_MAX: u64 = (1 << 48) - 1;

/// Proof that a transaction is counted, and where. The default is a reservation of nothing.
///
/// It is a plain value, because a pending request and its original's record both keep it. Of all
/// copies of one reservation exactly one may be given to [`Velocity::release`], once; after
/// [`Velocity::post`] and [`Velocity::release_part`] only the one that they return counts.
///
/// [`Velocity::post`]: super::Velocity::post
/// [`Velocity::release`]: super::Velocity::release
/// [`Velocity::release_part`]: super::Velocity::release_part
#[must_use = "a reservation that is neither kept nor released stays counted against the card"]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// The counters that count it, the first in the lowest bit, and [`POSTED`].
    bits: u8,
    /// Of the counter that a PIN sets back, at the posting.
    generation: u8,
    amount_only: bool,
    at_ms: u64,
    amount_minor: u64,
}

/// Bytes of a reservation in a log.
pub(in crate::shard) const RESERVATION_BYTES: usize = 14;

impl Reservation {
    pub(super) fn new(counters: u8, at_ms: u64, amount_minor: u64) -> Self {
        Self {
            bits: counters & !POSTED,
            generation: 0,
            amount_only: false,
            at_ms: at_ms.min(AT_MS_MAX),
            amount_minor: amount_minor.min(AMOUNT_MINOR_MAX),
        }
    }

    /// Of the same counters, at another moment, without counting one more transaction.
    pub(super) fn more(self, at_ms: u64, amount_minor: u64) -> Self {
        Self { amount_only: true, ..Self::new(self.counters(), at_ms, amount_minor) }
    }

    /// Whether no counter counts it: releasing it changes nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters() == 0
    }

    /// What of the amount is still counted.
    #[inline]
    #[must_use]
    pub fn amount_minor(&self) -> u64 {
        self.amount_minor
    }

    #[inline]
    pub(super) fn counters(&self) -> u8 {
        self.bits & !POSTED
    }

    #[inline]
    pub(super) fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// Transactions that it counts: one, or none.
    #[inline]
    pub(super) fn transactions(&self) -> u64 {
        u64::from(!self.amount_only)
    }

    /// The generation at its posting; `None` while it is pending.
    #[inline]
    pub(super) fn posted(&self) -> Option<u8> {
        (self.bits & POSTED != 0).then_some(self.generation)
    }

    #[inline]
    pub(super) fn set_posted(&mut self, generation: u8) {
        self.bits |= POSTED;
        self.generation = generation;
    }

    #[inline]
    pub(super) fn with_amount(self, amount_minor: u64) -> Self {
        Self { amount_minor, ..self }
    }

    #[inline]
    pub(super) fn with_counters(self, counters: u8) -> Self {
        if counters == 0 {
            return Self::default();
        }
        Self { bits: self.bits & POSTED | counters & !POSTED, ..self }
    }

    /// As it was before its posting: it can be held once more, in the windows in which it was held.
    pub(in crate::shard) fn unposted(self) -> Self {
        Self { bits: self.bits & !POSTED, generation: 0, ..self }
    }

    /// As bytes, for a log.
    #[inline]
    pub(in crate::shard) fn to_bytes(self) -> [u8; RESERVATION_BYTES] {
        let mut bytes = [0; RESERVATION_BYTES];
        bytes[0] = self.bits;
        bytes[1] = self.generation;
        let at = self.at_ms | if self.amount_only { AMOUNT_ONLY } else { 0 };
        bytes[2..8].copy_from_slice(&at.to_le_bytes()[..6]);
        bytes[8..].copy_from_slice(&self.amount_minor.to_le_bytes()[..6]);
        bytes
    }

    /// What [`Reservation::to_bytes`] wrote.
    #[inline]
    pub(in crate::shard) fn from_bytes(bytes: &[u8; RESERVATION_BYTES]) -> Self {
        let six = |from: usize| {
            let mut wide = [0; 8];
            wide[..6].copy_from_slice(&bytes[from..from + 6]);
            u64::from_le_bytes(wide)
        };
        let at = six(2);
        Self {
            bits: bytes[0],
            generation: bytes[1],
            amount_only: at & AMOUNT_ONLY != 0,
            at_ms: at & AT_MS_MAX,
            amount_minor: six(8),
        }
    }
}

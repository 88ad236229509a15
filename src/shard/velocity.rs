//! Velocity limits: how often and with how much money a card may pay in a window of time.
//!
//! A transaction is reserved with every rule that counts it, or with none, before it is forwarded.
//! Then one of three things happens to its [`Reservation`]: it is *posted*, which needs no call (it
//! simply stays counted until its sub-windows have rolled out); it is [released](Velocity::release)
//! whole (decline, time-out, link loss, reversal); or part of its amount is
//! [released](Velocity::release_part) (partial approval, partial reversal). Windows round against
//! the card: in no true window can a limit be passed. A release goes to the sub-windows where the
//! reservation was made, or nowhere when those have rolled out.
//!
//! A card takes one 64-byte line of a table that never grows; a line where nothing counts any more
//! is given to another card when that needs one. A card that finds no line is refused, never
//! unlimited.
//!
//! Not here: which response code a refusal becomes; whose card it is; a clock.

mod prefetch;
mod rules;
mod table;

pub(in crate::shard) use prefetch::prefetch;
pub use rules::words_needed;

use crate::config::VelocityConfig;
use crate::limits::VELOCITY_RULES_MAX;
use crate::shard::CardKey;
use rules::Rules;
use table::Table;

/// What the rules need to know of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VelocityTransaction {
    /// DE 4 in the currency of the limits. With amount zero only counts are limited.
    pub amount_minor: u64,
    /// DE 18; 0 when absent.
    pub mcc: u16,
    /// First two digits of DE 22.
    pub entry_mode: u8,
    /// First two digits of DE 3.
    pub transaction_type: u8,
}

/// Which half of a rule refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `amount_minor_max`.
    Amount,
    /// `count_max`.
    Count,
}

/// Why a transaction was not reserved. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It would exceed a limit.
    Limit {
        /// The first rule, in the order of the configuration, that refuses.
        rule: u8,
        /// Its amount (looked at first) or its count.
        by: LimitKind,
    },
    /// There is no line left in which to count this card.
    TableFull,
}

/// Proof that a transaction is counted, and where: give it to [`Velocity::release`], or keep it and
/// the transaction stays counted. The default is a reservation of nothing.
///
/// Clones exist because a pending request and its original's record both keep it; of all clones
/// exactly one may be released, and after a partial release only the one given to it counts.
#[must_use = "a reservation that is neither kept nor released stays counted against the card"]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// The rules that count it, the first in the lowest bit.
    rules: u8,
    /// For each of them, the number of the sub-window.
    numbers: [u32; VELOCITY_RULES_MAX],
    amount_minor: u64,
}

const _: () = assert!(size_of::<Reservation>() <= 40);

/// Bytes of a reservation in a log.
pub(in crate::shard) const RESERVATION_BYTES: usize = 1 + 4 * VELOCITY_RULES_MAX + 8;

impl Reservation {
    /// Whether no rule counts it: releasing it changes nothing.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// What of the amount is still reserved.
    #[inline]
    #[must_use]
    pub fn amount_minor(&self) -> u64 {
        self.amount_minor
    }

    /// As bytes, for a log.
    #[inline]
    pub(in crate::shard) fn to_bytes(&self) -> [u8; RESERVATION_BYTES] {
        let mut bytes = [0; RESERVATION_BYTES];
        bytes[0] = self.rules;
        let (numbers, amount) = bytes[1..].split_at_mut(4 * VELOCITY_RULES_MAX);
        for (out, number) in numbers.as_chunks_mut().0.iter_mut().zip(self.numbers) {
            *out = number.to_le_bytes();
        }
        amount.copy_from_slice(&self.amount_minor.to_le_bytes());
        bytes
    }

    /// What [`Reservation::to_bytes`] wrote.
    #[inline]
    pub(in crate::shard) fn from_bytes(bytes: &[u8; RESERVATION_BYTES]) -> Self {
        let (numbers, amount) = bytes[1..].split_at(4 * VELOCITY_RULES_MAX);
        let mut this = Self { rules: bytes[0], ..Self::default() };
        for (number, part) in this.numbers.iter_mut().zip(numbers.as_chunks().0) {
            *number = u32::from_le_bytes(*part);
        }
        this.amount_minor = amount.first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
        this
    }
}

/// The limits of one shard's cards.
pub struct Velocity {
    rules: Rules,
    table: Table,
}

impl Velocity {
    /// Lines for this shard's cards; `lines` is a power of two. No page of them is touched yet.
    #[must_use]
    pub fn new(config: &VelocityConfig, lines: usize) -> Self {
        Self { rules: Rules::new(&config.rules), table: Table::new(lines) }
    }

    /// Asks the processor to fetch the card's line. Changes nothing.
    #[inline]
    pub fn prefetch(&self, card: CardKey) {
        self.table.prefetch(card);
    }

    /// Shim.
    pub fn judge(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<Reservation, Refusal> {
        let r = self.reserve(wall_ms, card, t)?;
        if !r.is_empty()
            && let Some(place) = self.table.find(card)
        {
            self.rules.release(self.table.words_mut(place), &r);
        }
        Ok(r)
    }
    /// Shim.
    pub fn judge_advice(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<(Reservation, Option<Refusal>), Refusal> {
        match self.judge(wall_ms, card, t) {
            Ok(r) => Ok((r, None)),
            Err(Refusal::TableFull) => Err(Refusal::TableFull),
            Err(e) => {
                let rules = self.rules.counting(t);
                let mut zero = self.rules.fresh();
                let r = self.rules.reserve(&mut zero, rules, 0)?;
                Ok((Reservation { amount_minor: t.amount_minor, ..r }, Some(e)))
            }
        }
    }
    /// Shim.
    pub fn state_hash(&self) -> u64 {
        0
    }
    /// Shim.
    pub fn hold(&mut self, wall_ms: u64, card: CardKey, r: &Reservation) {
        self.rules.advance(wall_ms);
        if r.is_empty() {
            return;
        }
        let place = match self.table.find(card) {
            Some(place) => place,
            None => {
                let fresh = self.rules.fresh();
                let rules = &self.rules;
                let place = self.table.claim(card, |words| rules.is_over(words)).expect("shim");
                *self.table.words_mut(place) = fresh;
                place
            }
        };
        self.rules.hold(self.table.words_mut(place), r);
    }
    /// Shim.
    pub fn post(
        &mut self,
        _: u64,
        card: CardKey,
        r: &Reservation,
        amount_minor: u64,
        _: bool,
    ) -> Reservation {
        let mut r = *r;
        let less = r.amount_minor - amount_minor.min(r.amount_minor);
        self.part(card, &mut r, less);
        r
    }
    /// Shim.
    pub fn release_part(
        &mut self,
        _: u64,
        card: CardKey,
        r: &Reservation,
        less: u64,
    ) -> Reservation {
        let mut r = *r;
        self.part(card, &mut r, less);
        r
    }

    /// Counts a transaction with every rule that it falls under, if it exceeds none of them.
    ///
    /// # Errors
    /// [`Refusal::Limit`] when it would exceed one, [`Refusal::TableFull`] when the card cannot be
    /// counted at all. Nothing is counted then.
    #[inline]
    pub fn reserve(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<Reservation, Refusal> {
        let Self { rules, table } = self;
        rules.advance(wall_ms);
        let counting = rules.counting(t);
        if counting == 0 {
            return Ok(Reservation::default());
        }
        let held = table.find(card);
        let mut words = held.map_or_else(|| rules.fresh(), |place| *table.words(place));
        let reservation = rules.reserve(&mut words, counting, t.amount_minor)?;
        let place = match held {
            Some(place) => place,
            None => table.claim(card, |words| rules.is_over(words)).ok_or(Refusal::TableFull)?,
        };
        *table.words_mut(place) = words;
        Ok(reservation)
    }

    /// Takes a reservation back whole, where it still counts.
    #[inline]
    pub fn release(&mut self, _: u64, card: CardKey, reservation: &Reservation) {
        if !reservation.is_empty()
            && let Some(place) = self.table.find(card)
        {
            self.rules.release(self.table.words_mut(place), reservation);
        }
    }

    /// Takes part of a reservation's amount back, where it still counts; the transaction stays
    /// counted as one. More than is reserved takes back all of the amount.
    #[inline]
    fn part(&mut self, card: CardKey, reservation: &mut Reservation, amount_minor: u64) {
        let amount_minor = amount_minor.min(reservation.amount_minor);
        if !reservation.is_empty()
            && let Some(place) = self.table.find(card)
        {
            self.rules.release_amount(self.table.words_mut(place), reservation, amount_minor);
        }
        reservation.amount_minor -= amount_minor;
    }

    /// Lines that hold a card; some of them may count nothing any more and wait to be given to
    /// another.
    #[must_use]
    pub fn occupied(&self) -> usize {
        self.table.occupied()
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.table.lines()
    }

    /// Checks every line; takes as long as reading the whole table.
    pub fn assert_invariants(&self) {
        self.table.assert_invariants(|words| self.rules.assert_invariants(words));
    }
}

//! Velocity limits: how often and with how much money a card may pay in a window of time.
//!
//! *Counters* say what is counted, *limits* how much of it is allowed. A transaction is
//! [judged](Velocity::judge), which counts nothing, and then [held](Velocity::hold): counted by every
//! counter that means it. Then its [`Reservation`] is [posted](Velocity::post) (approval, perhaps of
//! a smaller amount) or [released](Velocity::release) (decline, time-out, link loss, reversal); what
//! is posted can still be released, whole once or in [parts](Velocity::release_part). Windows round
//! against the card: in no true window can a limit be passed. A release goes to the window where the
//! reservation was made, or nowhere when that has rolled out.
//!
//! Holding, posting and releasing are all that changes what is counted, and are determined by their
//! arguments: played again in the same order, they count the same.
//!
//! Some cards have a second book (`audit`), which their lines are compared with while the switch serves.
//!
//! A card takes one line of a table that never grows; a line where nothing counts any more is given
//! to another card when that needs one. A card that finds no line is refused, never unlimited.
//!
//! Not here: which response code a refusal becomes; whose card it is; a clock.

mod audit;
mod audited;
mod capture;
mod conditions;
mod counters;
pub mod escrow;
mod layout;
mod limits;
mod occupancy;
mod prefetch;
mod reservation;
mod snapshot;
mod table;
mod window;
mod word;

pub use capture::SnapshotGivenUp;
pub use counters::{line_words, words_needed};
pub use layout::{Layout, LayoutCounter};
pub(in crate::shard) use prefetch::prefetch;
pub(in crate::shard) use reservation::RESERVATION_BYTES;
pub use reservation::Reservation;
pub use snapshot::LoadError;
pub use table::{PassedTable, make_ready};
pub(in crate::shard) use window::month_of_day;

use crate::config::{QrCode, QrLevel, TransactionKind, VelocityConfig};
use crate::limits::{VELOCITY_LOOKED_AT_ONCE, VELOCITY_WORDS_MAX};
use crate::shard::CardKey;
use audit::Audit;
use counters::Counters;
pub(in crate::shard) use layout::Translation;
use limits::{Limits, Meant};
use occupancy::Occupancy;
use table::Table;
use tapswitch_protocol::ResponseCode;

/// What counters and limits need to know of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VelocityTransaction {
    /// The amount in the currency of the limits.
    pub amount_minor: u64,
    /// First nine digits of the PAN.
    pub iin: u32,
    /// DE 49; 0 when absent.
    pub currency: u16,
    /// DE 18; 0 when absent.
    pub mcc: u16,
    /// First two digits of DE 22.
    pub entry_mode: u8,
    /// First two digits of DE 3.
    pub transaction_type: u8,
    /// What sort of transaction it is.
    pub kind: TransactionKind,
    /// Whether a PIN came with it.
    pub pin_present: bool,
    /// What is known of the code that was read; `None` when none was.
    pub qr: Option<QrPayment>,
}

/// A payment by QR or bar code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QrPayment {
    /// What sort of code; `None` when that is not known.
    pub code: Option<QrCode>,
    /// How well its requestor knows the payer; the lowest unless something better is known.
    pub level: QrLevel,
}

/// Which half of a limit refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `amount_minor_max`.
    Amount,
    /// `count_max`.
    Count,
}

/// Why a transaction is refused. Nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It would exceed a limit.
    Limit {
        /// The first limit, in the order of the configuration, that refuses.
        limit: u8,
        /// Its amount (looked at first) or its count.
        by: LimitKind,
    },
    /// There is no line left in which to count this card.
    TableFull,
}

/// A change of counters, which a running switch cannot take over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("counter `{name}` is new, gone or changed: counters change with a restart only")]
pub struct NewCounter {
    /// The first counter that differs.
    pub name: String,
}

/// What the limits say of a transaction.
#[derive(Clone, Copy)]
struct Assessed {
    /// The counters that count it, as a mask.
    counters: u8,
    has_line: bool,
    refusal: Option<Refusal>,
}

/// The limits of one shard's cards.
pub struct Velocity {
    counters: Counters,
    limits: Limits,
    table: Table,
    layout: Layout,
    occupancy: Occupancy,
    audit: Audit,
    /// By limit.
    refusals: Vec<u64>,
    /// The counters that a PIN sets back, as a mask.
    reset_by_pin: u8,
}

impl Velocity {
    /// Lines for this shard's cards, a multiple of `VELOCITY_GROUP_LINES`.
    #[must_use]
    pub fn new(config: &VelocityConfig, lines: usize) -> Self {
        Self::with_table(config, lines, None)
    }

    /// The same, with the lines that another process passed, if they fit.
    #[must_use]
    pub fn with_table(config: &VelocityConfig, lines: usize, passed: Option<PassedTable>) -> Self {
        let counters = Counters::new(&config.counters);
        let limits = Limits::new(config);
        let line_words = line_words(config.words_used());
        Self {
            table: Table::new((lines, line_words), config.table, passed),
            layout: Layout::new(lines, config),
            occupancy: Occupancy::default(),
            audit: Audit::new(&config.counters, lines),
            refusals: vec![0; limits.len()],
            reset_by_pin: counters.reset_by_pin(),
            counters,
            limits,
        }
    }

    /// Asks the processor to fetch the card's line. Changes nothing.
    #[inline]
    pub fn prefetch(&self, card: CardKey) {
        self.table.prefetch(card);
    }

    /// Looks for the card's line once [`Velocity::prefetch`] has had time, and asks for what else is
    /// needed to find it. Changes nothing that is counted.
    #[inline]
    pub fn prefetch_again(&mut self, card: CardKey) {
        self.table.prefetch_again(card);
    }

    /// Whether a transaction stays within all limits that mean it, and what is then to be
    /// [held](Velocity::hold) before anything else is judged. Counts nothing.
    ///
    /// # Errors
    /// [`Refusal::Limit`] when it would exceed one, [`Refusal::TableFull`] when the card could not
    /// be counted at all.
    #[inline]
    pub fn judge(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<Reservation, Refusal> {
        let meant = self.limits.meant(t);
        let assessed = self.assess(wall_ms, card, t, meant);
        match assessed.refusal {
            None => self.countable(card, t, assessed),
            Some(refusal) => Err(refusal),
        }
    }

    /// For what has happened already: what is to be held whatever the limits say, and the first
    /// limit that it passes. Counts nothing.
    ///
    /// # Errors
    /// [`Refusal::TableFull`] when the card could not be counted at all.
    #[inline]
    pub fn judge_advice(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<(Reservation, Option<Refusal>), Refusal> {
        let meant = self.limits.meant(t);
        let assessed = self.assess(wall_ms, card, t, meant);
        self.countable(card, t, assessed).map(|reservation| (reservation, assessed.refusal))
    }

    /// Whether the switch may approve it itself: all limits that mean it, those of stand-in too. Counts
    /// nothing.
    ///
    /// # Errors
    /// As [`Velocity::judge`].
    pub fn judge_stand_in(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
    ) -> Result<Reservation, Refusal> {
        let meant = self.limits.meant_standing_in(t);
        let assessed = self.assess(wall_ms, card, t, meant);
        match assessed.refusal {
            None => self.countable(card, t, assessed),
            Some(refusal) => Err(refusal),
        }
    }

    /// Whether a limit of stand-in means this transaction.
    #[must_use]
    pub fn stands_in(&self, t: &VelocityTransaction, limit: u8) -> bool {
        self.limits.meant_standing_in(t).has_limit(limit)
    }

    #[inline]
    fn assess(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        t: &VelocityTransaction,
        meant: Meant,
    ) -> Assessed {
        self.counters.advance(wall_ms);
        let Self { counters, limits, table, .. } = self;
        let place = if meant.counters() == 0 { None } else { table.find_and_remember(card) };
        let words = place.map_or(counters.fresh().as_slice(), |place| table.words(place));
        let refusal = limits.judge(counters, words, meant, t.amount_minor).err();
        if let Some(Refusal::Limit { limit, .. }) = refusal {
            self.count_refusal(limit);
        }
        Assessed { counters: meant.counters(), has_line: place.is_some(), refusal }
    }

    /// What is to be held, provided that there is a line for it.
    #[inline]
    fn countable(
        &self,
        card: CardKey,
        t: &VelocityTransaction,
        assessed: Assessed,
    ) -> Result<Reservation, Refusal> {
        if assessed.counters == 0 {
            return Ok(Reservation::default());
        }
        let has_line = assessed.has_line || self.has_claim(card);
        let reservation =
            Reservation::new(assessed.counters, self.counters.now_ms(), t.amount_minor);
        if has_line { Ok(reservation) } else { Err(Refusal::TableFull) }
    }

    fn has_claim(&self, card: CardKey) -> bool {
        self.table.has_claim(card, |words| self.counters.is_over(words))
    }

    /// Counts what was judged. Where there is no line for the card, which a judgement at the same
    /// moment excludes, nothing is counted and the answer is `false`.
    #[inline]
    pub fn hold(&mut self, wall_ms: u64, card: CardKey, reservation: &Reservation) -> bool {
        self.counters.advance(wall_ms);
        if reservation.is_empty() {
            return true;
        }
        let found = self.table.find(card);
        let Some(place) = found.or_else(|| self.claim(card)) else { return false };
        self.counters.hold(self.table.words_mut(place), reservation);
        if self.audit.has(card.words()) {
            self.audited(card, |audit, now_ms, key| audit.hold(now_ms, key, reservation));
        }
        true
    }

    /// A line for a card that has none, in which nothing is counted yet.
    #[cold]
    fn claim(&mut self, card: CardKey) -> Option<usize> {
        let Self { counters, table, .. } = self;
        let place = table.claim(card, |words| counters.is_over(words))?;
        let words = table.words_mut(place);
        words.copy_from_slice(&counters.fresh()[..words.len()]);
        Some(place)
    }

    /// A transaction was approved for `amount_minor` (what was reserved, or less: a partial
    /// approval). `pin`: the approval was given to a PIN, which sets back the counters that say so.
    /// Returns what to keep for a later release.
    #[inline]
    pub fn post(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        reservation: &Reservation,
        amount_minor: u64,
        pin: bool,
    ) -> Reservation {
        self.counters.advance(wall_ms);
        let amount_minor = amount_minor.min(reservation.amount_minor());
        let resets = pin && self.reset_by_pin != 0;
        // To counters that no PIN sets back, posted is as good as pending.
        let changes = amount_minor < reservation.amount_minor() && !reservation.is_empty()
            || reservation.counters() & self.reset_by_pin != 0;
        if !resets && !changes {
            return *reservation;
        }
        let mut posted = reservation.with_amount(amount_minor);
        if let Some(place) = self.table.find(card) {
            let words = self.table.words_mut(place);
            if !reservation.is_empty() {
                posted = self.counters.post(words, reservation, amount_minor);
            }
            if resets {
                self.counters.reset(words);
            }
            if self.audit.has(card.words()) {
                self.audited(card, |audit, now_ms, key| {
                    audit.post(now_ms, key, reservation, amount_minor);
                    if resets {
                        audit.reset(now_ms, key);
                    }
                });
            }
        }
        posted
    }

    /// Takes a reservation back whole, pending or posted, where it still counts.
    #[inline]
    pub fn release(&mut self, wall_ms: u64, card: CardKey, reservation: &Reservation) {
        self.take_back(wall_ms, card, reservation, (true, reservation.amount_minor()));
    }

    /// Takes part of a reservation's amount back, where it still counts; the transaction stays
    /// counted as one. More than is reserved takes back all of the amount. Returns what is left.
    #[inline]
    pub fn release_part(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        reservation: &Reservation,
        amount_minor: u64,
    ) -> Reservation {
        let amount_minor = amount_minor.min(reservation.amount_minor());
        self.take_back(wall_ms, card, reservation, (false, amount_minor));
        reservation.with_amount(reservation.amount_minor() - amount_minor)
    }

    #[inline]
    fn take_back(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        reservation: &Reservation,
        (whole, amount_minor): (bool, u64),
    ) {
        self.counters.advance(wall_ms);
        if !reservation.is_empty()
            && let Some(place) = self.table.find(card)
        {
            let transactions = if whole { reservation.transactions() } else { 0 };
            let words = self.table.words_mut(place);
            self.counters.take_back(words, reservation, transactions, amount_minor);
            if self.audit.has(card.words()) {
                let what = (transactions, amount_minor);
                self.audited(card, |audit, now_ms, key| {
                    audit.take_back(now_ms, key, reservation, what);
                });
            }
        }
    }

    /// For a completion above its pre-authorization: what is to be held besides, counted in the
    /// windows of now by the same counters, without counting one more transaction. It is held,
    /// posted and released like any other; limits are not asked.
    ///
    /// # Errors
    /// [`Refusal::TableFull`] when the card could not be counted at all.
    pub fn more(
        &mut self,
        wall_ms: u64,
        card: CardKey,
        reservation: &Reservation,
        amount_minor: u64,
    ) -> Result<Reservation, Refusal> {
        self.counters.advance(wall_ms);
        if reservation.is_empty() || amount_minor == 0 {
            return Ok(Reservation::default());
        }
        if self.table.find(card).is_none() && !self.has_claim(card) {
            return Err(Refusal::TableFull);
        }
        Ok(reservation.more(self.counters.now_ms(), amount_minor))
    }

    /// Name of a limit, and the code that it answers with if it has its own.
    #[must_use]
    pub fn limit(&self, index: u8) -> Option<(&str, Option<ResponseCode>)> {
        self.limits.name_and_code(index)
    }

    /// A limit that is judged elsewhere refused.
    pub(in crate::shard) fn count_refusal(&mut self, limit: u8) {
        if let Some(count) = self.refusals.get_mut(usize::from(limit)) {
            *count += 1;
        }
    }

    /// How often each limit refused, in the order of the configuration.
    #[must_use]
    pub fn refusals(&self) -> &[u64] {
        &self.refusals
    }

    /// Lines that hold a card; some of them may count nothing any more and wait to be given to
    /// another.
    #[must_use]
    pub fn occupied(&self) -> usize {
        self.table.occupied()
    }

    /// Whether another process filled the lines.
    pub(in crate::shard) fn is_passed(&self) -> bool {
        self.table.is_passed()
    }

    /// Whether another process can be passed the lines.
    pub(in crate::shard) fn is_shared(&self) -> bool {
        self.table.is_shared()
    }

    /// Gives the lines up for another process; what is left is of no use.
    pub(in crate::shard) fn pass(&mut self) -> Option<PassedTable> {
        self.table.pass()
    }

    /// A batch is over: a little housekeeping, always about the same amount.
    pub fn on_batch_end(&mut self, wall_ms: u64) {
        self.counters.advance(wall_ms);
        let Self { counters, table, occupancy, .. } = self;
        let (lines, claims) = (table.lines(), table.claims());
        occupancy.look(VELOCITY_LOOKED_AT_ONCE, (lines, claims), |place| {
            table.is_held(place) && !counters.is_over(table.words(place))
        });
        table.tidy();
        if let Some(key) = self.audit.on_batch_end() {
            self.assert_audited(CardKey::of_words(key));
        }
    }

    /// Lines that still count something: never less than there are, and a little more while lines
    /// fall free.
    #[must_use]
    pub fn occupancy(&self) -> usize {
        self.occupancy.lines(self.table.occupied(), self.table.claims())
    }

    /// Whether four fifths of the lines count something: soon cards will be refused.
    #[must_use]
    pub fn is_nearly_full(&self) -> bool {
        self.occupancy() * 5 >= self.lines() * 4
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.table.lines()
    }

    /// What the words of a line mean.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// To this layout from another one.
    pub(in crate::shard) fn translation(&self, from: &Layout) -> Translation {
        Translation::new(from, &self.layout)
    }

    /// Exchanges limits, conditions and codes; what is counted stays.
    ///
    /// # Errors
    /// The first counter that is not as it was, which needs another table: a restart.
    pub fn on_config(&mut self, config: &VelocityConfig) -> Result<(), NewCounter> {
        let layout = Layout::new(self.lines(), config);
        if layout != self.layout {
            let same = layout.all().zip(self.layout.all());
            let first = same.take_while(|(new, old)| new == old).count();
            let named = layout.all().nth(first).or_else(|| self.layout.all().nth(first));
            let name = named.map_or_else(String::new, |counter| counter.name.clone());
            return Err(NewCounter { name });
        }
        let limits = Limits::new(config);
        let refusals = limits.names().map(|name| {
            let before = self.limits.names().position(|other| other == name);
            before.and_then(|place| self.refusals.get(place)).copied().unwrap_or_default()
        });
        self.refusals = refusals.collect();
        self.limits = limits;
        Ok(())
    }

    /// A number for everything that is counted now, wherever in the table it lies: equal for equal
    /// contents. Takes as long as reading the whole table.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut sum = 0u64;
        self.table.for_each(|key, words| {
            if !self.counters.is_over(words) {
                sum = sum.wrapping_add(digest(key, &self.counters.rolled(words)));
            }
        });
        sum
    }

    /// Checks every line; takes as long as reading the whole table.
    pub fn assert_invariants(&self) {
        self.table.assert_invariants(|words| self.counters.assert_invariants(words));
    }
}

/// Mixes a card's key and words.
fn digest(key: [u64; 2], words: &[u64; VELOCITY_WORDS_MAX]) -> u64 {
    key.iter().chain(words).fold(0, |state: u64, &word| {
        // Multiply and fold, after wyhash.
        let product = u128::from(state ^ word ^ 0x9E37_79B9_7F4A_7C15)
            * u128::from(state.rotate_left(32) ^ 0xD1B5_4A32_D192_ED03);
        (product as u64) ^ (product >> 64) as u64
    })
}

#[cfg(test)]
mod tests;

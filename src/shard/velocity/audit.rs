//! A second book on some cards: what their reservations add up to, kept beside the table and compared
//! with it, while the switch serves.
//!
//! It is told what was held, posted and released, and never reads what the table made of that: it has its
//! own arithmetic, its own calendar, and its own places (a ring of parts by their numbers, where the table
//! moves words). Amounts held and amounts given back are added up apart, so that neither can hide in the
//! other. After each change, and card by card at a slow pace, the line must say the same; a difference is a
//! broken invariant, and ends the process before what it decided has left.
//!
//! The sample is drawn by key, one card of [`VELOCITY_AUDITED_ONE_OF`] (in a debug build all). When there
//! are more of them than there is room, those go of which nothing counts any more, and then every second.
//!
//! Not here: the lines (`table`), and what is done about a difference.

use super::reservation::Reservation;
use crate::config::{VelocityCounter, VelocityWindow};
use crate::limits::{
    VELOCITY_AUDITED_MAX, VELOCITY_AUDITED_MIN, VELOCITY_AUDITED_ONE_OF, VELOCITY_BATCHES_PER_AUDIT,
};

const DAY_MS: u64 = 86_400_000;
/// No more than this can be counted, or summed up, in one part of a window.
const TRANSACTIONS_LAST: u64 = 65_534;
const MINOR_LAST: u64 = (1 << 48) - 1;
/// The same where a PIN sets the counter back, and how often it can do so.
const RESETTABLE_MINOR_LAST: u64 = (1 << 28) - 1;
const GENERATION_LAST: u8 = 0xFE;
/// No place.
const NONE: u32 = u32::MAX;

/// What one counter has counted of one card in one part of its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    minor_held: u64,
    minor_back: u64,
    /// Of what is held, posted and not set back; kept where a PIN sets it back.
    minor_posted: u64,
    transactions_held: u32,
    transactions_back: u32,
    /// Number of the part.
    part: u32,
    generation: u8,
    /// More was counted than can be.
    is_stuck: bool,
}

/// What a line says of one part of one counter, and what this book says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Transactions, unless only amounts are summed up.
    pub(super) transactions: u64,
    /// Minor units that are pending or posted.
    pub(super) minor: u64,
    /// Of these, posted, where a PIN sets the counter back.
    pub(super) minor_posted: u64,
    /// How often one did.
    pub(super) generation: u8,
    /// More was counted than can be.
    pub(super) is_stuck: bool,
}

/// The line of a card does not say what its reservations add up to. Says nothing of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "velocity{{audit_failed}}: counter {counter} of a card, part {part} of its window: \
     the line says {line:?}, what was held and released adds up to {book:?}"
)]
pub(super) struct Difference {
    counter: usize,
    part: u32,
    line: Sums,
    book: Option<Sums>,
}

impl Row {
    /// Nothing where less than nothing is left.
    fn sums(&self) -> Option<Sums> {
        if self.is_stuck {
            return Some(Sums { is_stuck: true, ..Sums::default() });
        }
        let transactions = self.transactions_held.checked_sub(self.transactions_back)?;
        let minor = self.minor_held.checked_sub(self.minor_back)?;
        let is_part = self.minor_posted <= minor;
        is_part.then_some(Sums {
            transactions: u64::from(transactions),
            minor,
            minor_posted: self.minor_posted,
            generation: self.generation,
            is_stuck: false,
        })
    }

    fn counts_nothing(&self) -> bool {
        self.sums() == Some(Sums::default())
    }
}

/// A counter as this book sees it.
#[derive(Clone, Copy)]
struct Column {
    window: VelocityWindow,
    resets: bool,
    /// Parts that count at a time.
    kept: usize,
    /// Its rows of a card begin here.
    first: usize,
}

impl Column {
    fn now(&self, now_ms: u64) -> u32 {
        part_of(self.window, now_ms)
    }

    fn is_open(&self, part: u32, now: u32) -> bool {
        u64::from(part) + self.kept as u64 > u64::from(now)
    }

    fn place(&self, part: u32) -> usize {
        self.first + part as usize % self.kept
    }
}

/// The second book of one shard.
pub(super) struct Audit {
    columns: Vec<Column>,
    rows_per_card: usize,
    now_ms: u64,
    /// Cards whose draw is below are in the sample.
    below: u64,
    cards_max: usize,
    cards: Vec<[u64; 2]>,
    /// `rows_per_card` of each card.
    rows: Vec<Row>,
    /// Places of cards by key, twice as many as there can be cards.
    index: Vec<u32>,
    /// Batches until the next card is looked at, and which that is.
    batches: u32,
    next: usize,
    audited: u64,
}

impl Audit {
    /// For a table of so many lines. Allocates all that it will ever use.
    pub(super) fn new(counters: &[VelocityCounter], lines: usize) -> Self {
        let mut columns = Vec::with_capacity(counters.len());
        let mut rows_per_card = 0;
        for counter in counters {
            let kept = match counter.window {
                VelocityWindow::Rolling { sub_windows, .. } => usize::from(sub_windows.max(1)) + 1,
                _ => 1,
            };
            let (window, resets) = (counter.window, counter.resets_on_pin);
            columns.push(Column { window, resets, kept, first: rows_per_card });
            rows_per_card += kept;
        }
        // Twice as many as are in the sample when every line is taken.
        let wanted = 2 * (lines as u64 / VELOCITY_AUDITED_ONE_OF) as usize;
        let cards_max = wanted.clamp(VELOCITY_AUDITED_MIN.min(lines), VELOCITY_AUDITED_MAX);
        let cards_max = if columns.is_empty() { 0 } else { cards_max };
        let one_of = if cfg!(debug_assertions) { 1 } else { VELOCITY_AUDITED_ONE_OF };
        Self {
            columns,
            rows_per_card,
            now_ms: 0,
            below: if cards_max == 0 { 0 } else { u64::MAX / one_of },
            cards_max,
            cards: Vec::with_capacity(cards_max),
            rows: Vec::with_capacity(cards_max * rows_per_card),
            index: vec![NONE; (2 * cards_max).next_power_of_two()],
            batches: VELOCITY_BATCHES_PER_AUDIT,
            next: 0,
            audited: 0,
        }
    }

    /// Draws one card of so many from now on, of those that are not known yet. Not after anything was
    /// counted.
    pub(super) fn draw_one_of(&mut self, cards: u64) {
        if self.cards_max > 0 {
            self.below = u64::MAX / cards.max(1);
        }
    }

    /// No card has a second book any more.
    #[cold]
    pub(super) fn end(&mut self) {
        self.below = 0;
        self.keep(|_, _| false);
    }

    /// Whether the card is in the sample.
    #[inline]
    pub(super) fn has(&self, key: [u64; 2]) -> bool {
        draw(key) < self.below
    }

    /// Whether the card has a second book.
    pub(super) fn knows(&self, key: [u64; 2]) -> bool {
        self.find(key).is_some()
    }

    /// Times that a card's line was compared since this was asked last.
    pub(super) fn take_audited(&mut self) -> u64 {
        core::mem::take(&mut self.audited)
    }

    /// A reservation is counted.
    pub(super) fn hold(&mut self, now_ms: u64, key: [u64; 2], reservation: &Reservation) {
        let (transactions, minor) = (reservation.transactions(), reservation.amount_minor());
        self.each(now_ms, key, reservation, |column, row| {
            let Some(before) = row.sums() else { return };
            let (transactions, most) = match column.resets {
                false => (transactions, MINOR_LAST),
                true => (0, RESETTABLE_MINOR_LAST),
            };
            if before.minor + minor > most || before.transactions + transactions > TRANSACTIONS_LAST
            {
                row.is_stuck = true;
                return;
            }
            row.minor_held += minor;
            // Fewer than 2^16 stand; in all a card would need centuries for 2^32 in one part.
            row.transactions_held = row.transactions_held.saturating_add(transactions as u32);
        });
    }

    /// A pending reservation is posted with so much of its amount.
    pub(super) fn post(
        &mut self,
        now_ms: u64,
        key: [u64; 2],
        reservation: &Reservation,
        minor: u64,
    ) {
        let less = reservation.amount_minor().saturating_sub(minor);
        self.each(now_ms, key, reservation, |column, row| {
            row.minor_back += less;
            if column.resets {
                row.minor_posted += minor;
            }
        });
    }

    /// A PIN set counters back: what is posted counts no more.
    pub(super) fn reset(&mut self, now_ms: u64, key: [u64; 2]) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(card) = self.find(key) else { return };
        let first = card * self.rows_per_card;
        for column in self.columns.iter().filter(|column| column.resets) {
            let now = column.now(self.now_ms);
            let from = first + column.first;
            let rows = self.rows.get_mut(from..from + column.kept).unwrap_or_default();
            for row in rows.iter_mut().filter(|row| column.is_open(row.part, now)) {
                if row.minor_posted > 0 && row.generation < GENERATION_LAST && !row.is_stuck {
                    row.minor_back += row.minor_posted;
                    row.minor_posted = 0;
                    row.generation += 1;
                }
            }
        }
    }

    /// So many transactions and so much of a reservation are taken back.
    pub(super) fn take_back(
        &mut self,
        now_ms: u64,
        key: [u64; 2],
        reservation: &Reservation,
        (transactions, minor): (u64, u64),
    ) {
        let posted = reservation.posted();
        self.each(now_ms, key, reservation, |column, row| {
            match posted {
                _ if !column.resets => row.transactions_back += transactions as u32,
                // A PIN has taken it back already.
                Some(generation) if generation != row.generation => return,
                Some(_) => row.minor_posted = row.minor_posted.saturating_sub(minor),
                None => {}
            }
            row.minor_back += minor;
        });
    }

    /// Calls `change` with the row of each counter that counts a reservation and whose part is open.
    fn each(
        &mut self,
        now_ms: u64,
        key: [u64; 2],
        reservation: &Reservation,
        change: impl Fn(&Column, &mut Row),
    ) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(first) = self.find_or_add(key).map(|card| card * self.rows_per_card) else {
            return;
        };
        for (bit, column) in self.columns.iter().enumerate() {
            let now = column.now(self.now_ms);
            let part = column.now(reservation.at_ms()).min(now);
            let is_counted = reservation.counters() >> bit & 1 != 0;
            if !is_counted || !column.is_open(part, now) {
                continue;
            }
            let Some(row) = self.rows.get_mut(first + column.place(part)) else { continue };
            if row.part != part {
                *row = Row { part, ..Row::default() };
            }
            if !row.is_stuck {
                change(column, row);
            }
        }
    }

    /// What a snapshot says of a card is where its book begins.
    pub(super) fn begin(
        &mut self,
        now_ms: u64,
        key: [u64; 2],
        sums: impl Fn(usize, usize) -> Sums,
    ) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(first) = self.find_or_add(key).map(|card| card * self.rows_per_card) else {
            return;
        };
        for (counter, column) in self.columns.iter().enumerate() {
            let now = column.now(self.now_ms);
            for age in 0..column.kept.min(now as usize + 1) {
                let (part, sums) = (now - age as u32, sums(counter, age));
                let Some(row) = self.rows.get_mut(first + column.place(part)) else { continue };
                *row = Row {
                    part,
                    minor_held: sums.minor,
                    minor_posted: sums.minor_posted,
                    // Of a line: 16 bits.
                    transactions_held: sums.transactions as u32,
                    generation: sums.generation,
                    is_stuck: sums.is_stuck,
                    ..Row::default()
                };
            }
        }
    }

    /// Compares a card's line, counter by counter and part by part, the newest of age 0.
    pub(super) fn compare(
        &mut self,
        now_ms: u64,
        key: [u64; 2],
        sums: impl Fn(usize, usize) -> Sums,
    ) -> Result<(), Difference> {
        self.now_ms = self.now_ms.max(now_ms);
        self.audited += 1;
        let card = self.find(key);
        for (counter, column) in self.columns.iter().enumerate() {
            let now = column.now(self.now_ms);
            for age in 0..column.kept.min(now as usize + 1) {
                let part = now - age as u32;
                let place = |card| card * self.rows_per_card + column.place(part);
                let row = card.and_then(|card| self.rows.get(place(card)));
                let row = row.copied().filter(|row| row.part == part).unwrap_or_default();
                let (line, book) = (sums(counter, age), row.sums());
                if book != Some(line) {
                    return Err(Difference { counter, part, line, book });
                }
            }
        }
        Ok(())
    }

    /// The card whose turn it is to be looked at, if it is time for one.
    #[inline]
    pub(super) fn on_batch_end(&mut self) -> Option<[u64; 2]> {
        self.batches -= 1;
        if self.batches > 0 {
            return None;
        }
        self.batches = VELOCITY_BATCHES_PER_AUDIT;
        self.next = if self.next + 1 < self.cards.len() { self.next + 1 } else { 0 };
        self.cards.get(self.next).copied()
    }

    fn find(&self, key: [u64; 2]) -> Option<usize> {
        self.probe(key).ok().map(|place| place as usize)
    }

    /// The place of a card, or that in the index where it would stand.
    fn probe(&self, key: [u64; 2]) -> Result<u32, usize> {
        let mask = self.index.len() - 1;
        // The draw's high bits are alike in all that are in the sample.
        let mut at = draw(key) as usize & mask;
        loop {
            match self.index.get(at) {
                Some(&place) if place != NONE => {
                    if self.cards.get(place as usize) == Some(&key) {
                        return Ok(place);
                    }
                }
                _ => return Err(at),
            }
            at = (at + 1) & mask;
        }
    }

    fn find_or_add(&mut self, key: [u64; 2]) -> Option<usize> {
        if let Some(card) = self.find(key) {
            return Some(card);
        }
        if self.cards.len() == self.cards_max {
            self.make_room();
        }
        if !self.has(key) {
            return None;
        }
        let at = self.probe(key).err()?;
        let place = self.cards.len();
        // Fewer than `VELOCITY_AUDITED_MAX`.
        *self.index.get_mut(at)? = place as u32;
        self.cards.push(key);
        self.rows.resize((place + 1) * self.rows_per_card, Row::default());
        Some(place)
    }

    /// Lets go of cards of which nothing counts any more; where a quarter is not free then, of every
    /// second card too.
    #[cold]
    fn make_room(&mut self) {
        self.keep(|_, counts| counts);
        while self.cards.len() > self.cards_max / 4 * 3 && self.below > 1 {
            self.below /= 2;
            let below = self.below;
            self.keep(|key, _| draw(key) < below);
        }
    }

    fn keep(&mut self, stays: impl Fn([u64; 2], bool) -> bool) {
        let Self { columns, rows, cards, rows_per_card, now_ms, .. } = self;
        let mut kept = 0;
        for place in 0..cards.len() {
            let from = place * *rows_per_card;
            let own = rows.get(from..from + *rows_per_card).unwrap_or_default();
            let counts = columns.iter().any(|column| {
                let now = column.now(*now_ms);
                let own = own.get(column.first..column.first + column.kept).unwrap_or_default();
                own.iter().any(|row| column.is_open(row.part, now) && !row.counts_nothing())
            });
            let Some(&key) = cards.get(place) else { break };
            if stays(key, counts) {
                cards.swap(kept, place);
                rows.copy_within(from..from + *rows_per_card, kept * *rows_per_card);
                kept += 1;
            }
        }
        cards.truncate(kept);
        rows.truncate(kept * *rows_per_card);
        self.index.fill(NONE);
        for place in 0..self.cards.len() {
            if let Some(&key) = self.cards.get(place)
                && let Err(at) = self.probe(key)
                && let Some(slot) = self.index.get_mut(at)
            {
                *slot = place as u32;
            }
        }
    }
}

/// A number for each card, spread evenly: drawn from both halves of its key, of which placement and
/// table each use one.
#[inline]
fn draw([low, high]: [u64; 2]) -> u64 {
    let product = u128::from(low ^ 0x9E37_79B9_7F4A_7C15) * u128::from(high | 1);
    (product as u64) ^ (product >> 64) as u64
}

/// Number of the part of a window that a moment lies in, counted from 1970 on.
fn part_of(window: VelocityWindow, at_ms: u64) -> u32 {
    let local_ms = |minutes: i32| at_ms.saturating_add_signed(i64::from(minutes) * 60_000);
    let number = match window {
        VelocityWindow::Day { zone_offset_minutes } => local_ms(zone_offset_minutes) / DAY_MS,
        VelocityWindow::Month { zone_offset_minutes } => {
            month_of(local_ms(zone_offset_minutes) / DAY_MS)
        }
        VelocityWindow::Fixed { window_s } => at_ms / (u64::from(window_s) * 1_000),
        VelocityWindow::Rolling { window_s, sub_windows } => {
            at_ms / (u64::from(window_s) * 1_000).div_ceil(u64::from(sub_windows.max(1)))
        }
    };
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Months since January 1970 of a day since the first of them, year by year and month by month.
fn month_of(mut day: u64) -> u64 {
    const FOUR_CENTURIES_DAYS: u64 = 146_097;
    let mut year = 1_970 + day / FOUR_CENTURIES_DAYS * 400;
    day %= FOUR_CENTURIES_DAYS;
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    loop {
        let days = if is_leap(year) { 366 } else { 365 };
        if day < days {
            break;
        }
        day -= days;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = (year - 1_970) * 12;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    month
}

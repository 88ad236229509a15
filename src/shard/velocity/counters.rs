//! Counters as a line holds them: where each one's words lie, which part of its window is now, and
//! what holding, posting and releasing does to them.
//!
//! Counters of one shape (the same window) share a stamp, the number of their newest part, and roll
//! together. Words of a line: first the stamps (32 bits, two a word), then shape by shape, counter by
//! counter, the parts, newest first. A rolling window of length W in k parts of length L = W/k counts
//! k + 1 of them: any real interval of length W touches at most that many, so what is counted is
//! never less than what any such interval holds.
//!
//! Not here: which card a line belongs to; what is allowed.

use super::audit::Sums;
use super::reservation::Reservation;
use super::window::Parts;
use super::word::{self, Meaning, STUCK};
use crate::config::{VelocityCounter, VelocityWindow};
use crate::limits::{
    CARD_KEY_BYTES, VELOCITY_COUNTERS_MAX, VELOCITY_LINE_WORDS, VELOCITY_WORDS_MAX,
};

/// Words of a line that `counters` need, the card's key not among them.
#[must_use]
pub fn words_needed(counters: &[VelocityCounter]) -> usize {
    let parts: usize = counters.iter().map(|counter| counter.window.parts_counted()).sum();
    shapes_of(counters).len().div_ceil(2) + parts
}

/// Words of the smallest line with room for `words` and a card key.
#[must_use]
pub fn line_words(words: usize) -> usize {
    let [_, _, most] = VELOCITY_LINE_WORDS;
    let fits = |size: &usize| words + CARD_KEY_BYTES / 8 <= *size;
    VELOCITY_LINE_WORDS.into_iter().find(fits).unwrap_or(most)
}

/// The different windows, in the order in which they first appear.
fn shapes_of(counters: &[VelocityCounter]) -> Vec<VelocityWindow> {
    let mut shapes = Vec::new();
    for counter in counters {
        if !shapes.contains(&counter.window) {
            shapes.push(counter.window);
        }
    }
    shapes
}

/// Counters whose windows are the same.
#[derive(Clone, Copy)]
struct Shape {
    parts: Parts,
    /// Parts that are counted.
    kept: usize,
    stamp_word: usize,
    stamp_shift: u32,
    /// First word of the first counter.
    first: usize,
    counters: usize,
    /// Number of the part that is now, and since when.
    current: u32,
    begins_ms: u64,
}

/// One counter, laid out.
#[derive(Clone, Copy)]
struct Counter {
    /// Place of its shape, and a copy of it: each transaction saves a look-up.
    shape_at: usize,
    shape: Shape,
    /// First word.
    first: usize,
    meaning: Meaning,
}

/// What a counter holds for one card.
pub(super) enum Counted {
    /// So many transactions, so much money.
    Sum { count: u64, amount_minor: u64 },
    /// More than can be held.
    Stuck,
}

/// All counters of a card.
pub(super) struct Counters {
    shapes: Vec<Shape>,
    counters: Vec<Counter>,
    /// Words in use.
    words: usize,
    /// A line in which nothing is counted yet: its newest parts are those of now, so that a
    /// reservation of an earlier line of the same card cannot be taken back from it.
    fresh: [u64; VELOCITY_WORDS_MAX],
    /// Never goes back.
    now_ms: u64,
    /// When the next part of any shape begins.
    next_ms: u64,
}

impl Counters {
    pub(super) fn new(configured: &[VelocityCounter]) -> Self {
        assert!(
            configured.len() <= VELOCITY_COUNTERS_MAX,
            "Invariant: counters are within their limit"
        );
        let words = words_needed(configured);
        assert!(words <= VELOCITY_WORDS_MAX, "Invariant: counters fit a line");
        let windows = shapes_of(configured);
        let mut first = windows.len().div_ceil(2);
        let mut shapes = Vec::with_capacity(windows.len());
        let mut counters: Vec<Option<Counter>> = vec![None; configured.len()];
        for (index, &window) in windows.iter().enumerate() {
            let kept = window.parts_counted();
            let same = configured.iter().filter(|counter| counter.window == window);
            let shape = Shape {
                parts: Parts::of(window),
                kept,
                stamp_word: index / 2,
                stamp_shift: (index % 2) as u32 * 32,
                first,
                counters: same.count(),
                current: 0,
                begins_ms: 0,
            };
            for (slot, _) in counters.iter_mut().zip(configured).filter(|(_, c)| c.window == window)
            {
                *slot = Some(Counter { shape_at: index, shape, first, meaning: Meaning::Plain });
                first += kept;
            }
            shapes.push(shape);
        }
        let mut counters: Vec<Counter> = counters.into_iter().flatten().collect();
        for (counter, configured) in counters.iter_mut().zip(configured) {
            if configured.resets_on_pin {
                counter.meaning = Meaning::Resettable;
            }
        }
        Self { shapes, counters, words, fresh: [0; VELOCITY_WORDS_MAX], now_ms: 0, next_ms: 0 }
    }

    /// Moves on to the parts of `wall_ms`. Time that goes back stands still instead.
    #[inline]
    pub(super) fn advance(&mut self, wall_ms: u64) {
        self.now_ms = self.now_ms.max(wall_ms);
        if wall_ms >= self.next_ms {
            self.enter_parts(wall_ms);
        }
    }

    #[cold]
    fn enter_parts(&mut self, wall_ms: u64) {
        self.next_ms = u64::MAX;
        for shape in &mut self.shapes {
            let part = shape.parts.part(wall_ms);
            shape.current = part.number;
            shape.begins_ms = part.begins_ms;
            shape.set_stamp(&mut self.fresh);
            self.next_ms = self.next_ms.min(part.ends_ms);
        }
        for counter in &mut self.counters {
            counter.shape = self.shapes[counter.shape_at];
        }
    }

    #[inline]
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// The words of a card that had no line.
    #[inline]
    pub(super) fn fresh(&self) -> &[u64; VELOCITY_WORDS_MAX] {
        &self.fresh
    }

    /// What a counter holds now.
    #[inline]
    pub(super) fn counted(&self, words: &[u64], index: usize) -> Counted {
        let (mut count, mut amount_minor) = (0, 0);
        let Some(counter) = self.counters.get(index) else {
            return Counted::Sum { count, amount_minor };
        };
        let live = counter.shape.live(words);
        for &word in &words[counter.first..counter.first + live] {
            if word == STUCK {
                return Counted::Stuck;
            }
            let (transactions, sum) = counter.meaning.read(word);
            count += transactions;
            amount_minor += sum;
        }
        Counted::Sum { count, amount_minor }
    }

    /// What a word of rolled words holds: that of a counter's part so many before the newest.
    pub(super) fn sums(&self, words: &[u64], index: usize, age: usize) -> Sums {
        let Some(counter) = self.counters.get(index) else { return Sums::default() };
        let word = words.get(counter.first + age).copied().unwrap_or_default();
        counter.meaning.sums(word)
    }

    /// Counts a reservation that is pending.
    #[inline]
    pub(super) fn hold(&self, words: &mut [u64], reservation: &Reservation) {
        let (transactions, amount) = (reservation.transactions(), reservation.amount_minor());
        self.each_counted(words, reservation, |counter, word| {
            *word = counter.meaning.add(*word, transactions, amount);
        });
    }

    /// A pending reservation becomes a posted one, of `amount_minor`, which is not more.
    #[inline]
    pub(super) fn post(
        &self,
        words: &mut [u64],
        reservation: &Reservation,
        amount_minor: u64,
    ) -> Reservation {
        let less = reservation.amount_minor() - amount_minor;
        let mut posted = reservation.with_amount(amount_minor);
        posted.set_posted(0);
        self.each_counted(words, reservation, |counter, word| {
            if less > 0 {
                *word = counter.meaning.take_back(*word, 0, less, None);
            }
            if counter.meaning == Meaning::Resettable {
                let (after, generation) = word::post(*word, amount_minor);
                *word = after;
                posted.set_posted(generation);
            }
        });
        posted
    }

    /// Takes back a reservation's count, or not, and an amount, where they still count.
    #[inline]
    pub(super) fn take_back(
        &self,
        words: &mut [u64],
        reservation: &Reservation,
        transactions: u64,
        amount_minor: u64,
    ) {
        let posted = reservation.posted();
        self.each_counted(words, reservation, |counter, word| {
            *word = counter.meaning.take_back(*word, transactions, amount_minor, posted);
        });
    }

    /// A PIN sets counters back.
    #[inline]
    pub(super) fn reset(&self, words: &mut [u64]) {
        for counter in &self.counters {
            if counter.meaning == Meaning::Resettable {
                let shape = &counter.shape;
                shape.roll(words);
                for word in &mut words[counter.first..counter.first + shape.kept] {
                    *word = word::reset(*word);
                }
            }
        }
    }

    /// The counters that a PIN sets back, as a mask.
    pub(super) fn reset_by_pin(&self) -> u8 {
        let counters = self.counters.iter().enumerate();
        let reset = counters.filter(|(_, counter)| counter.meaning == Meaning::Resettable);
        reset.fold(0, |mask, (place, _)| mask | 1 << place)
    }

    /// Calls `change` with every word in which a reservation is counted, those left out that have
    /// rolled out.
    #[inline]
    fn each_counted(
        &self,
        words: &mut [u64],
        reservation: &Reservation,
        mut change: impl FnMut(&Counter, &mut u64),
    ) {
        let mut left = reservation.counters();
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(counter) = self.counters.get(index) else { return };
            let shape = &counter.shape;
            shape.roll(words);
            let age = shape.age(reservation.at_ms());
            if age < shape.kept {
                change(counter, &mut words[counter.first + age]);
            }
        }
    }

    /// Whether nothing in `words` counts any more. A word whose sums are zero but whose generation is
    /// not still counts: a posted reservation may know that generation.
    #[inline]
    pub(super) fn is_over(&self, words: &[u64]) -> bool {
        self.shapes.iter().all(|shape| {
            let live = shape.live(words);
            (0..shape.counters).all(|counter| {
                let first = shape.first + counter * shape.kept;
                words[first..first + live].iter().all(|&word| word == 0)
            })
        })
    }

    /// Whether no part in `words` is in the future.
    pub(super) fn has_come(&self, words: &[u64]) -> bool {
        self.shapes.iter().all(|shape| shape.stamp(words) <= shape.current)
    }

    /// The words as of now: what has rolled out is zero.
    pub(super) fn rolled(&self, words: &[u64]) -> [u64; VELOCITY_WORDS_MAX] {
        let mut now = [0; VELOCITY_WORDS_MAX];
        now[..words.len()].copy_from_slice(words);
        self.shapes.iter().for_each(|shape| shape.roll(&mut now));
        now
    }

    /// The words of one counter, and its stamp's place, for another layout.
    pub(super) fn place(&self, index: usize) -> Option<Placed> {
        let counter = self.counters.get(index)?;
        let shape = &counter.shape;
        Some(Placed {
            first: counter.first,
            kept: shape.kept,
            stamp_word: shape.stamp_word,
            stamp_shift: shape.stamp_shift,
        })
    }

    pub(super) fn assert_invariants(&self, words: &[u64]) {
        for shape in &self.shapes {
            assert!(
                shape.stamp(words) <= shape.current,
                "Invariant: the newest part is not in the future"
            );
        }
        for counter in &self.counters {
            let kept = &words[counter.first..counter.first + counter.shape.kept];
            assert!(
                kept.iter().all(|&word| word::is_sound(counter.meaning, word)),
                "Invariant: what is posted is a part of all"
            );
        }
        assert!(
            words[self.words..].iter().all(|&word| word == 0),
            "Invariant: the rest of a line is zero"
        );
    }
}

/// Where a counter lies in a line.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) first: usize,
    pub(super) kept: usize,
    stamp_word: usize,
    stamp_shift: u32,
}

impl Placed {
    #[inline]
    pub(super) fn stamp(&self, words: &[u64]) -> u32 {
        (words[self.stamp_word] >> self.stamp_shift) as u32
    }

    #[inline]
    pub(super) fn set_stamp(&self, words: &mut [u64], stamp: u32) {
        let other = words[self.stamp_word] & !(u64::from(u32::MAX) << self.stamp_shift);
        words[self.stamp_word] = other | u64::from(stamp) << self.stamp_shift;
    }
}

impl Shape {
    /// How many parts ago a moment was, in the current one at the latest.
    #[inline]
    fn age(&self, at_ms: u64) -> usize {
        if at_ms >= self.begins_ms { 0 } else { self.age_of_past(at_ms) }
    }

    #[cold]
    fn age_of_past(&self, at_ms: u64) -> usize {
        (self.current - self.parts.part(at_ms).number.min(self.current)) as usize
    }

    /// Number of the newest part in `words`.
    #[inline]
    fn stamp(&self, words: &[u64]) -> u32 {
        (words[self.stamp_word] >> self.stamp_shift) as u32
    }

    /// How many of a counter's words have not rolled out.
    #[inline]
    fn live(&self, words: &[u64]) -> usize {
        self.kept.saturating_sub(self.rolled_out(words))
    }

    #[inline]
    fn rolled_out(&self, words: &[u64]) -> usize {
        let stamp = self.stamp(words);
        assert!(stamp <= self.current, "Invariant: the newest part is not in the future");
        (self.current - stamp) as usize
    }

    /// Makes the part that is now the newest one in `words`.
    #[inline]
    fn roll(&self, words: &mut [u64]) {
        let rolled = self.rolled_out(words);
        if rolled > 0 {
            self.roll_by(words, rolled);
        }
    }

    #[cold]
    fn roll_by(&self, words: &mut [u64], rolled: usize) {
        let stay = self.kept.saturating_sub(rolled);
        for counter in 0..self.counters {
            let first = self.first + counter * self.kept;
            let parts = &mut words[first..first + self.kept];
            parts.copy_within(..stay, self.kept - stay);
            parts[..self.kept - stay].fill(0);
        }
        self.set_stamp(words);
    }

    #[inline]
    fn set_stamp(&self, words: &mut [u64]) {
        let other = words[self.stamp_word] & !(u64::from(u32::MAX) << self.stamp_shift);
        words[self.stamp_word] = other | u64::from(self.current) << self.stamp_shift;
    }
}

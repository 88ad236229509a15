//! The rules as the table counts them: where each one's sub-windows lie in a line's words, which
//! transactions it counts, and which sub-window is now.
//!
//! Words of a line: first the numbers of the newest sub-windows (32 bits, two rules a word), then the
//! sub-windows of each rule in turn, newest first (count in the upper 16 bits, sum in the lower 48).
//! A rolling window of length W in k sub-windows of length L = W/k counts k + 1 of them: any real
//! interval of length W touches at most that many, so what is counted is never less than what any
//! such interval holds.
//!
//! Not here: which card a line belongs to.

use super::table::Words;
use super::{LimitKind, Refusal, Reservation, VelocityTransaction};
use crate::config::VelocityRule;
use crate::limits::{
    MCC_MAX, VELOCITY_AMOUNT_MINOR_MAX, VELOCITY_COUNT_MAX, VELOCITY_RULES_MAX,
    VELOCITY_SUB_WINDOW_MS_MIN, VELOCITY_WORDS,
};

/// One transaction in the count of a sub-window.
const ONE: u64 = 1 << SUM_BITS;
const SUM_BITS: u32 = 48;
const SUM_MASK: u64 = ONE - 1;

/// Words that a line needs for `rules`; a configuration is refused when they are more than
/// [`VELOCITY_WORDS`].
#[must_use]
pub fn words_needed(rules: &[VelocityRule]) -> usize {
    let sub_windows = rules.iter().map(VelocityRule::sub_windows_counted).sum::<usize>();
    rules.len().div_ceil(2) + sub_windows
}

/// One rule, laid out.
struct Rule {
    count_max: u64,
    amount_minor_max: u64,
    /// What a transaction adds to the count: [`ONE`], or 0 when the count has no limit.
    count_unit: u64,
    /// What of an amount is added to the sum: all bits, or none when the sum has no limit.
    amount_mask: u64,
    stamp_word: usize,
    stamp_shift: u32,
    /// First word of its sub-windows.
    first: usize,
    sub_windows: usize,
    sub_window_ms: u64,
    /// Number of the sub-window that is now.
    current: u32,
}

/// All rules. A set of rules is a bit mask, the first rule in the lowest bit.
pub(super) struct Rules {
    rules: Vec<Rule>,
    /// The rules that count transactions with this MCC, entry mode, transaction type.
    by_mcc: Box<[u8]>,
    by_entry_mode: [u8; 256],
    by_transaction_type: [u8; 256],
    /// The rules that count transactions of any MCC: for codes that are none.
    any_mcc: u8,
    /// The rules that count a transaction whose amount is zero.
    limits_count: u8,
    /// A line in which nothing is counted yet: its newest sub-windows are those of now, so that a
    /// reservation of an earlier line of the same card cannot be taken back from it.
    fresh: Words,
    /// When the next sub-window of any rule begins.
    next_ms: u64,
}

impl Rules {
    pub(super) fn new(rules: &[VelocityRule]) -> Self {
        assert!(rules.len() <= VELOCITY_RULES_MAX, "Invariant: rules are within their limit");
        assert!(words_needed(rules) <= VELOCITY_WORDS, "Invariant: rules fit a line");
        let mut first = rules.len().div_ceil(2);
        let mut laid_out = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            laid_out.push(Rule::new(rule, index, first));
            first += rule.sub_windows_counted();
        }
        let mut this = Self {
            by_mcc: vec![0; usize::from(MCC_MAX) + 1].into_boxed_slice(),
            by_entry_mode: [0; 256],
            by_transaction_type: [0; 256],
            any_mcc: 0,
            limits_count: 0,
            fresh: Words::default(),
            next_ms: 0,
            rules: laid_out,
        };
        for (index, rule) in rules.iter().enumerate() {
            let bit = 1u8 << index;
            let mccs = rule.when.mccs.iter().map(|&mcc| usize::from(mcc));
            accept(&mut this.by_mcc, bit, mccs);
            let entry_modes = rule.when.entry_modes.iter().map(|&mode| usize::from(mode));
            accept(&mut this.by_entry_mode, bit, entry_modes);
            let types = rule.when.transaction_types.iter().map(|&code| usize::from(code));
            accept(&mut this.by_transaction_type, bit, types);
            if rule.when.mccs.is_empty() {
                this.any_mcc |= bit;
            }
            if rule.count_max.is_some() {
                this.limits_count |= bit;
            }
        }
        this
    }

    /// The rules that count this transaction.
    #[inline]
    pub(super) fn counting(&self, t: &VelocityTransaction) -> u8 {
        let by_mcc = self.by_mcc.get(usize::from(t.mcc)).copied().unwrap_or(self.any_mcc);
        let by_amount = if t.amount_minor == 0 { self.limits_count } else { u8::MAX };
        by_mcc
            & self.by_entry_mode[usize::from(t.entry_mode)]
            & self.by_transaction_type[usize::from(t.transaction_type)]
            & by_amount
    }

    /// Moves on to the sub-windows of `wall_ms`. Time that goes back stands still instead.
    #[inline]
    pub(super) fn advance(&mut self, wall_ms: u64) {
        if wall_ms >= self.next_ms {
            self.enter_sub_windows(wall_ms);
        }
    }

    #[cold]
    fn enter_sub_windows(&mut self, wall_ms: u64) {
        self.next_ms = u64::MAX;
        for rule in &mut self.rules {
            let number = wall_ms / rule.sub_window_ms;
            // Beyond the year 2106 windows would stop rolling: against the card, never for it.
            rule.current = u32::try_from(number).unwrap_or(u32::MAX);
            rule.set_stamp(&mut self.fresh);
            self.next_ms = self.next_ms.min((number + 1).saturating_mul(rule.sub_window_ms));
        }
    }

    /// The words of a card that had no line.
    #[inline]
    pub(super) fn fresh(&self) -> Words {
        self.fresh
    }

    /// Adds a transaction to the newest sub-windows of the rules in `counting`, in `words`.
    ///
    /// # Errors
    /// The first rule that it would exceed; `words` are then to be thrown away.
    #[inline]
    pub(super) fn reserve(
        &self,
        words: &mut Words,
        counting: u8,
        amount_minor: u64,
    ) -> Result<Reservation, Refusal> {
        let mut reservation = Reservation { rules: counting, numbers: [0; 4], amount_minor };
        for (index, rule) in each(&self.rules, counting) {
            rule.roll(words);
            let newest = rule
                .add(words, amount_minor)
                .map_err(|by| Refusal::Limit { rule: index as u8, by })?;
            words[rule.first] = newest;
            reservation.numbers[index] = rule.current;
        }
        Ok(reservation)
    }

    pub(super) fn hold(&self, words: &mut Words, reservation: &Reservation) {
        for (index, rule) in each(&self.rules, reservation.rules) {
            rule.roll(words);
            let stamp = rule.stamp(words);
            let back = (stamp - reservation.numbers[index]) as usize;
            words[rule.first + back] +=
                rule.count_unit + (reservation.amount_minor & rule.amount_mask);
        }
    }

    /// Takes a reservation back from the sub-windows where it still counts.
    #[inline]
    pub(super) fn release(&self, words: &mut Words, reservation: &Reservation) {
        for (index, rule) in each(&self.rules, reservation.rules) {
            let amount = reservation.amount_minor & rule.amount_mask;
            rule.take_back(words, reservation.numbers[index], rule.count_unit, amount);
        }
    }

    /// Takes part of a reservation's amount back, where it still counts.
    #[inline]
    pub(super) fn release_amount(
        &self,
        words: &mut Words,
        reservation: &Reservation,
        amount_minor: u64,
    ) {
        for (index, rule) in each(&self.rules, reservation.rules) {
            let amount = amount_minor & rule.amount_mask;
            rule.take_back(words, reservation.numbers[index], 0, amount);
        }
    }

    /// Whether nothing in `words` counts any more.
    #[inline]
    pub(super) fn is_over(&self, words: &Words) -> bool {
        self.rules.iter().all(|rule| {
            let rolled = (rule.current - rule.stamp(words)) as usize;
            rolled >= rule.sub_windows
                || words[rule.first..][..rule.sub_windows - rolled].iter().all(|&word| word == 0)
        })
    }

    pub(super) fn assert_invariants(&self, words: &Words) {
        let mut used = self.rules.len().div_ceil(2);
        for rule in &self.rules {
            assert!(
                rule.stamp(words) <= rule.current,
                "Invariant: the newest sub-window is not in the future"
            );
            let kept = &words[rule.first..][..rule.sub_windows];
            let (count, sum) = kept.iter().fold((0, 0), |(count, sum), word| {
                (count + (word >> SUM_BITS), sum + (word & SUM_MASK))
            });
            assert!(count <= rule.count_max, "Invariant: a count is within its limit");
            assert!(sum <= rule.amount_minor_max, "Invariant: a sum is within its limit");
            used += rule.sub_windows;
        }
        assert!(
            words[used..].iter().all(|&word| word == 0),
            "Invariant: the rest of a line is zero"
        );
    }
}

impl Rule {
    fn new(rule: &VelocityRule, index: usize, first: usize) -> Self {
        let window_ms = u64::from(rule.window_s) * 1_000;
        let parts = u64::from(rule.sub_windows.max(1));
        // Rounded up, so that `parts` of them are never shorter than the window.
        let sub_window_ms = window_ms.div_ceil(parts);
        assert!(
            sub_window_ms >= VELOCITY_SUB_WINDOW_MS_MIN,
            "Invariant: sub-windows are not shorter than their limit"
        );
        let count_max = rule.count_max.map_or(0, u64::from);
        let amount_minor_max = rule.amount_minor_max.unwrap_or(0);
        assert!(count_max <= VELOCITY_COUNT_MAX, "Invariant: counts fit 16 bits");
        assert!(amount_minor_max <= VELOCITY_AMOUNT_MINOR_MAX, "Invariant: sums fit 48 bits");
        Self {
            count_max,
            amount_minor_max,
            count_unit: if rule.count_max.is_some() { ONE } else { 0 },
            amount_mask: if rule.amount_minor_max.is_some() { u64::MAX } else { 0 },
            stamp_word: index / 2,
            stamp_shift: (index % 2) as u32 * 32,
            first,
            sub_windows: rule.sub_windows_counted(),
            sub_window_ms,
            current: 0,
        }
    }

    /// Number of the newest sub-window in `words`.
    #[inline]
    fn stamp(&self, words: &Words) -> u32 {
        (words[self.stamp_word] >> self.stamp_shift) as u32
    }

    /// Makes the sub-window that is now the newest one in `words`.
    #[inline]
    fn roll(&self, words: &mut Words) {
        let stamp = self.stamp(words);
        if stamp == self.current {
            return;
        }
        assert!(stamp < self.current, "Invariant: the newest sub-window is not in the future");
        let rolled = (self.current - stamp) as usize;
        let windows = &mut words[self.first..][..self.sub_windows];
        let kept = self.sub_windows.saturating_sub(rolled);
        windows.copy_within(..kept, self.sub_windows - kept);
        windows[..self.sub_windows - kept].fill(0);
        self.set_stamp(words);
    }

    #[inline]
    fn set_stamp(&self, words: &mut Words) {
        let other = words[self.stamp_word] & !(u64::from(u32::MAX) << self.stamp_shift);
        words[self.stamp_word] = other | u64::from(self.current) << self.stamp_shift;
    }

    /// The newest sub-window with a transaction added.
    #[inline]
    fn add(&self, words: &Words, amount_minor: u64) -> Result<u64, LimitKind> {
        let windows = &words[self.first..][..self.sub_windows];
        let (mut count, mut sum) = (0, 0);
        for word in windows {
            count += word >> SUM_BITS;
            sum += word & SUM_MASK;
        }
        let amount_minor = amount_minor & self.amount_mask;
        // The differences cannot wrap even for an amount of 64 bits, nor where a limit was lowered
        // below what is counted already.
        if amount_minor > self.amount_minor_max.saturating_sub(sum) {
            return Err(LimitKind::Amount);
        }
        if self.count_unit != 0 && count >= self.count_max {
            return Err(LimitKind::Count);
        }
        // Count and sum are within their limits, and those within their bits.
        Ok(windows[0] + self.count_unit + amount_minor)
    }

    /// Takes back from the sub-window `number` if it is still kept.
    #[inline]
    fn take_back(&self, words: &mut Words, number: u32, count_unit: u64, amount_minor: u64) {
        let stamp = self.stamp(words);
        assert!(number <= stamp, "Invariant: no reservation is newer than its card's line");
        let windows = &mut words[self.first..][..self.sub_windows];
        if let Some(word) = windows.get_mut((stamp - number) as usize) {
            assert!(
                *word >> SUM_BITS >= count_unit >> SUM_BITS,
                "Invariant: only a reserved transaction is released"
            );
            assert!(
                *word & SUM_MASK >= amount_minor,
                "Invariant: only a reserved amount is released"
            );
            *word -= count_unit + amount_minor;
        }
    }
}

/// The rules of a mask, with their places.
#[inline]
fn each(rules: &[Rule], mask: u8) -> impl Iterator<Item = (usize, &Rule)> {
    let mut left = mask;
    core::iter::from_fn(move || {
        let index = left.trailing_zeros() as usize;
        left &= left.wrapping_sub(1);
        rules.get(index).map(|rule| (index, rule))
    })
}

/// Adds a rule to the masks of the listed values, or of all when none is listed.
fn accept(masks: &mut [u8], rule: u8, listed: impl ExactSizeIterator<Item = usize>) {
    if listed.len() == 0 {
        masks.iter_mut().for_each(|mask| *mask |= rule);
    }
    for value in listed {
        let mask = masks.get_mut(value).expect("Invariant: an MCC has four digits");
        *mask |= rule;
    }
}

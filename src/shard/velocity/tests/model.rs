//! Random transactions against a naive model that keeps every one of them with its true time.

use super::*;
use crate::config::PinPresence;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CARDS: u64 = 6;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Advance {
        ms: u64,
    },
    Reserve {
        card: u64,
        t: VelocityTransaction,
        /// Counted whatever the limits say.
        advice: bool,
    },
    /// Of the transaction that `pick` chooses among those that still count.
    Post {
        pick: usize,
        less: u64,
        pin: bool,
    },
    Release {
        pick: usize,
    },
    ReleasePart {
        pick: usize,
        amount_minor: u64,
    },
    /// A completion above its hold.
    More {
        pick: usize,
        amount_minor: u64,
    },
    /// A snapshot begins, unless one is under way.
    Cut,
}

/// One transaction as the model remembers it.
struct Kept {
    card: u64,
    at_ms: u64,
    counted_by: Vec<usize>,
    transactions: u64,
    amount_minor: u64,
    is_posted: bool,
    /// A PIN has taken it back from the counter that says so.
    is_set_back: bool,
    reservation: Reservation,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        6 => 0..2_000u64,
        3 => 0..20_000u64,
        1 => 0..200_000u64,
        1 => 0..100_000_000u64,
    ];
    let transaction =
        (0..120u64, 0..2u16, 0..2u8, any::<bool>()).prop_map(|(amount, mcc, mode, pin_present)| {
            VelocityTransaction {
                amount_minor: amount.saturating_sub(10),
                mcc: 4111 + mcc,
                entry_mode: 5 + 2 * mode,
                pin_present,
                ..purchase(0)
            }
        });
    let step = prop_oneof![
        4 => advance.prop_map(|ms| Step::Advance { ms }),
        8 => (0..CARDS, transaction, prop::bool::weighted(0.1))
            .prop_map(|(card, t, advice)| Step::Reserve { card, t, advice }),
        3 => (any::<usize>(), prop_oneof![3 => Just(0), 1 => 0..60u64], any::<bool>())
            .prop_map(|(pick, less, pin)| Step::Post { pick, less, pin }),
        2 => any::<usize>().prop_map(|pick| Step::Release { pick }),
        1 => (any::<usize>(), 0..60u64)
            .prop_map(|(pick, amount_minor)| Step::ReleasePart { pick, amount_minor }),
        1 => (any::<usize>(), 0..30u64)
            .prop_map(|(pick, amount_minor)| Step::More { pick, amount_minor }),
        1 => Just(Step::Cut),
    ];
    prop::collection::vec(step, 1..160)
}

fn conditions() -> impl Strategy<Value = VelocityCondition> {
    (0..4u8).prop_map(|kind| VelocityCondition {
        mccs: if kind == 1 { vec![4111] } else { Vec::new() },
        entry_modes: if kind == 2 { vec![7] } else { Vec::new() },
        pin: (kind == 3).then_some(PinPresence::Absent),
        ..VelocityCondition::default()
    })
}

/// Counters of every kind of window, at most one that a PIN sets back, and limits of any of them.
pub(super) fn configs() -> impl Strategy<Value = VelocityConfig> {
    let window = prop_oneof![
        2 => (3..40u32).prop_map(|window_s| VelocityWindow::Fixed { window_s }),
        4 => (5..40u32, 1..5u8)
            .prop_map(|(window_s, sub_windows)| VelocityWindow::Rolling { window_s, sub_windows }),
        1 => (-100..600i32).prop_map(|minutes| VelocityWindow::Day { zone_offset_minutes: minutes }),
        1 => (-100..600i32).prop_map(|minutes| VelocityWindow::Month { zone_offset_minutes: minutes }),
    ];
    let counter = (window, conditions())
        .prop_map(|(window, when)| VelocityCounter { when, ..counter(window) });
    let bounds = prop_oneof![
        (1..6u32).prop_map(|count| (Some(count), None)),
        (50..400u64).prop_map(|amount| (None, Some(amount))),
        (1..6u32, 50..400u64).prop_map(|(count, amount)| (Some(count), Some(amount))),
    ];
    let limit = (prop::option::weighted(0.9, 0..8usize), bounds, conditions());
    (
        prop::collection::vec(counter, 1..6),
        prop::option::of(0..6usize),
        prop::collection::vec(limit, 1..6),
    )
        .prop_map(|(mut counters, reset, raw)| {
            if let Some(counter) = reset.and_then(|place| counters.get_mut(place)) {
                counter.resets_on_pin = true;
            }
            let limits = raw.into_iter().map(|(place, (count, amount), when)| {
                let place = place.map(|place| place % counters.len());
                // Only amounts can be judged by themselves, or where a PIN sets them back.
                let counts = place.is_some_and(|place| !counters[place].resets_on_pin);
                let (count, amount) = if counts { (count, amount) } else { (None, amount) };
                let amount = if count.is_none() { amount.or(Some(90)) } else { amount };
                VelocityLimit { when, ..limit_of(place, count, amount) }
            });
            let limits = limits.collect();
            config(256, counters, limits)
        })
        .prop_filter("must fit a line", |config| config.words_used() <= VELOCITY_WORDS_MAX)
}

fn limit_of(place: Option<usize>, count: Option<u32>, amount: Option<u64>) -> VelocityLimit {
    limit(place, count, amount)
}

fn is_meant(when: &VelocityCondition, t: &VelocityTransaction) -> bool {
    (when.mccs.is_empty() || when.mccs.contains(&t.mcc))
        && (when.entry_modes.is_empty() || when.entry_modes.contains(&t.entry_mode))
        && when.pin.is_none_or(|pin| (pin == PinPresence::Present) == t.pin_present)
}

/// Number of the part of a window that a moment lies in.
fn part(window: VelocityWindow, at_ms: u64) -> u64 {
    let local = |minutes: i32| (at_ms as i64 + i64::from(minutes) * 60_000).max(0) as u64;
    match window {
        VelocityWindow::Day { zone_offset_minutes } => local(zone_offset_minutes) / 86_400_000,
        VelocityWindow::Month { zone_offset_minutes } => {
            // Month by month from 1970 on.
            let (mut day, mut month) = (local(zone_offset_minutes) / 86_400_000, 0u64);
            loop {
                let year = 1_970 + month / 12;
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let february = if leap { 29 } else { 28 };
                let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
                let length = lengths[(month % 12) as usize];
                if day < length {
                    return month;
                }
                day -= length;
                month += 1;
            }
        }
        VelocityWindow::Fixed { window_s } => at_ms / (u64::from(window_s) * 1_000),
        VelocityWindow::Rolling { window_s, sub_windows } => {
            at_ms / (u64::from(window_s) * 1_000).div_ceil(u64::from(sub_windows))
        }
    }
}

/// Whether a counter still counts a transaction of `at_ms` at `now_ms`.
fn is_kept(window: VelocityWindow, at_ms: u64, now_ms: u64) -> bool {
    let more = match window {
        VelocityWindow::Rolling { sub_windows, .. } => u64::from(sub_windows),
        _ => 0,
    };
    part(window, at_ms) + more >= part(window, now_ms)
}

/// Transactions that are reserved or posted, by the order in which they were made.
struct Model {
    config: VelocityConfig,
    kept: BTreeMap<u64, Kept>,
    next: u64,
    /// Whether anything was ever counted that no limit was asked about.
    has_excess: bool,
}

impl Model {
    /// Count and sum that a counter sees for a card.
    fn counted(&self, index: usize, card: u64, now_ms: u64) -> (u64, u64) {
        let counter = &self.config.counters[index];
        let resets = counter.resets_on_pin;
        self.kept
            .values()
            .filter(|kept| kept.card == card && kept.counted_by.contains(&index))
            .filter(|kept| is_kept(counter.window, kept.at_ms, now_ms))
            .filter(|kept| !(resets && kept.is_set_back))
            .fold((0, 0), |(count, sum), kept| {
                let transactions = if resets { 0 } else { kept.transactions };
                (count + transactions, sum + kept.amount_minor)
            })
    }

    fn counted_by(&self, t: &VelocityTransaction) -> Vec<usize> {
        let counters = self.config.counters.iter().enumerate();
        counters.filter(|(_, counter)| is_meant(&counter.when, t)).map(|(place, _)| place).collect()
    }

    /// The refusal of a transaction, if any.
    fn judge(&self, card: u64, t: &VelocityTransaction, now_ms: u64) -> Option<Refusal> {
        let counted_by = self.counted_by(t);
        for (index, limit) in self.config.limits.iter().enumerate() {
            let (count, sum) = match limit.counter {
                None => (0, 0),
                Some(counter) if !counted_by.contains(&counter) => continue,
                Some(counter) => self.counted(counter, card, now_ms),
            };
            let refused = |by| Some(Refusal::Limit { limit: index as u8, by });
            if !is_meant(&limit.when, t) {
                continue;
            }
            // An excess, counted without asking, stops amounts only.
            let amount = t.amount_minor;
            if limit.amount_minor_max.is_some_and(|max| amount > 0 && sum + amount > max) {
                return refused(LimitKind::Amount);
            }
            if limit.count_max.is_some_and(|max| count + 1 > u64::from(max)) {
                return refused(LimitKind::Count);
            }
        }
        None
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.insert(self.next, kept);
        self.next += 1;
    }

    fn post(&mut self, pick: u64, amount_minor: u64, pin: bool, now_ms: u64) {
        let resets = self.config.counters.iter().position(|counter| counter.resets_on_pin);
        let Some(kept) = self.kept.get_mut(&pick) else { return };
        kept.amount_minor = amount_minor;
        kept.is_posted = true;
        let card = kept.card;
        if let Some(index) = resets
            && pin
        {
            let window = self.config.counters[index].window;
            for kept in self.kept.values_mut() {
                if kept.card == card && kept.is_posted && is_kept(window, kept.at_ms, now_ms) {
                    kept.is_set_back = true;
                }
            }
        }
    }

    /// In no real interval of a rolling window's length may a limit on all that a counter counts be
    /// passed; nor in a window that does not roll.
    fn assert_true_windows(&self, card: u64, now_ms: u64) {
        for limit in &self.config.limits {
            let Some(index) = limit.counter else { continue };
            let counter = &self.config.counters[index];
            if limit.when != VelocityCondition::default() || counter.resets_on_pin {
                continue;
            }
            let is_inside = |kept: &Kept| match counter.window {
                VelocityWindow::Rolling { window_s, .. } => {
                    kept.at_ms + u64::from(window_s) * 1_000 >= now_ms
                }
                window => part(window, kept.at_ms) == part(window, now_ms),
            };
            let inside = self.kept.values().filter(|kept| {
                kept.card == card && kept.counted_by.contains(&index) && is_inside(kept)
            });
            let (count, sum) =
                inside.fold((0, 0), |(count, sum), kept| (count + 1, sum + kept.amount_minor));
            assert!(limit.count_max.is_none_or(|max| count <= max), "{limit:?}: {count}");
            assert!(limit.amount_minor_max.is_none_or(|max| sum <= max), "{limit:?}: {sum}");
        }
    }

    fn pick(&self, pick: usize) -> Option<u64> {
        self.kept.keys().nth(pick % self.kept.len().max(1)).copied()
    }
}

/// The table, its model, and a second table that is only told what to count.
struct Play {
    velocity: Velocity,
    replica: Velocity,
    model: Model,
    now_ms: u64,
    cut: Option<Cut>,
}

/// A snapshot under way: what was counted when it began, and where it is loaded into.
struct Cut {
    at_ms: u64,
    state_hash: u64,
    loaded: Velocity,
}

impl Play {
    fn new(config: VelocityConfig, now_ms: u64) -> Self {
        let (velocity, replica) = (made(&config), made(&config));
        let model = Model { config, kept: BTreeMap::new(), next: 0, has_excess: false };
        Self { velocity, replica, model, now_ms, cut: None }
    }

    fn reserve(&mut self, number: u64, t: VelocityTransaction, advice: bool) {
        let (now_ms, key) = (self.now_ms, card(number));
        let expected = self.model.judge(number, &t, now_ms);
        let judged = self.velocity.judge_advice(now_ms, key, &t);
        if judged == Err(Refusal::TableFull) {
            assert!(self.velocity.lines() < CARDS as usize, "there is room for all");
            return;
        }
        let (reservation, refusal) = judged.unwrap();
        assert_eq!(refusal, expected, "{t:?} at {now_ms}");
        let strict = self.velocity.judge(now_ms, key, &t);
        assert_eq!(strict, refusal.map_or(Ok(reservation), Err));
        if refusal.is_some() && !advice {
            return;
        }
        self.model.has_excess |= refusal.is_some();
        assert!(self.velocity.hold(now_ms, key, &reservation));
        self.replica.hold(now_ms, key, &reservation);
        let counted_by = self.model.counted_by(&t);
        assert_eq!(reservation.is_empty(), counted_by.is_empty());
        self.model.keep(Kept {
            card: number,
            at_ms: now_ms,
            counted_by,
            transactions: 1,
            amount_minor: t.amount_minor,
            is_posted: false,
            is_set_back: false,
            reservation,
        });
        if !self.model.has_excess {
            self.model.assert_true_windows(number, now_ms);
        }
    }

    /// Posts, releases, or counts more of a transaction.
    fn follow_up(&mut self, pick: usize, step: &Step) {
        let (now_ms, Some(pick)) = (self.now_ms, self.model.pick(pick)) else { return };
        let Some(kept) = self.model.kept.get_mut(&pick) else { return };
        let (key, held) = (card(kept.card), kept.reservation);
        let both = [&mut self.velocity, &mut self.replica];
        match *step {
            Step::Post { less, pin, .. } if !kept.is_posted => {
                let amount = kept.amount_minor.saturating_sub(less);
                let posted = both.map(|table| table.post(now_ms, key, &held, amount, pin));
                assert_eq!(posted[0], posted[1]);
                kept.reservation = posted[0];
                self.model.post(pick, amount, pin, now_ms);
            }
            Step::Release { .. } => {
                both.into_iter().for_each(|table| table.release(now_ms, key, &held));
                self.model.kept.remove(&pick);
            }
            Step::ReleasePart { amount_minor, .. } => {
                let left = both.map(|table| table.release_part(now_ms, key, &held, amount_minor));
                kept.reservation = left[0];
                kept.amount_minor = kept.amount_minor.saturating_sub(amount_minor);
                assert_eq!(left[0], left[1]);
                let is_counted = !held.is_empty();
                assert!(!is_counted || left[0].amount_minor() == kept.amount_minor);
            }
            Step::More { amount_minor, .. } => {
                let Ok(more) = self.velocity.more(now_ms, key, &held, amount_minor) else { return };
                if more.is_empty() {
                    return;
                }
                assert!(self.velocity.hold(now_ms, key, &more));
                self.replica.hold(now_ms, key, &more);
                self.model.has_excess = true;
                let kept = Kept {
                    card: kept.card,
                    at_ms: now_ms,
                    counted_by: kept.counted_by.clone(),
                    transactions: 0,
                    amount_minor,
                    is_posted: false,
                    is_set_back: false,
                    reservation: more,
                };
                self.model.keep(kept);
            }
            _ => {}
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Advance { ms } => self.now_ms += ms,
            Step::Reserve { card, t, advice } => self.reserve(card, t, advice),
            Step::Cut => self.begin_cut(),
            Step::Post { pick, .. }
            | Step::Release { pick }
            | Step::ReleasePart { pick, .. }
            | Step::More { pick, .. } => self.follow_up(pick, step),
        }
    }

    fn begin_cut(&mut self) {
        if self.cut.is_none() {
            self.velocity.counters.advance(self.now_ms);
            self.velocity.snapshot_begin();
            let state_hash = self.velocity.state_hash();
            let mut loaded = made(&self.model.config);
            loaded.advance(self.now_ms);
            self.cut = Some(Cut { at_ms: self.now_ms, state_hash, loaded });
        }
    }

    /// A little of the snapshot, between any two steps.
    fn read_cut(&mut self) {
        let Some(mut cut) = self.cut.take() else { return };
        let mut out = Vec::new();
        let is_more = self.velocity.snapshot_next(&mut out, 24).unwrap();
        cut.loaded.snapshot_load(&out).unwrap();
        if is_more {
            self.cut = Some(cut);
            return;
        }
        cut.loaded.counters.advance(cut.at_ms);
        cut.loaded.assert_invariants();
        assert_eq!(cut.loaded.state_hash(), cut.state_hash, "the cut is as it was");
    }

    fn assert_counts(&mut self) {
        for number in 0..CARDS {
            for index in 0..self.model.config.counters.len() {
                let expected = self.model.counted(index, number, self.now_ms);
                let counted = self.velocity.counted(self.now_ms, card(number), index);
                assert_eq!(counted, Some(expected), "card {number}, counter {index}");
            }
        }
    }
}

/// Plays the steps on all and compares every outcome. Of the intervals that hold a transaction and
/// those before it, the one that ends with it is the fullest, so looking at that one each time
/// looks at all.
pub(super) fn play(config: VelocityConfig, start_ms: u64, steps: &[Step]) {
    let mut play = Play::new(config, start_ms);
    for step in steps {
        play.step(step);
        play.assert_counts();
        play.read_cut();
    }
    while play.cut.is_some() {
        play.read_cut();
    }
    play.velocity.assert_invariants();
    // The replica has not seen the last moments, in which nothing was counted.
    play.replica.counters.advance(play.now_ms);
    assert_eq!(play.velocity.state_hash(), play.replica.state_hash());
}

/// About 120,000 steps, in a release build 2.4 million.
const CASES: u32 = if cfg!(debug_assertions) { 1_500 } else { 30_000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// With one group of four lines for six cards, so that lines are given away and run out too.
    #[test]
    fn every_outcome_is_the_models(
        config in configs(),
        roomy in any::<bool>(),
        in_1970 in any::<bool>(),
        steps in steps(),
    ) {
        let start_ms = if in_1970 { 0 } else { START_MS };
        let lines = if roomy { 256 } else { 4 };
        play(VelocityConfig { lines, ..config }, start_ms, &steps);
    }
}

//! Random transactions against naive models that keep every one of them with its true time.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const CARDS: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Advance {
        ms: u64,
    },
    Reserve {
        card: u64,
        t: VelocityTransaction,
    },
    /// Of the reservation that `pick` chooses among those not yet released.
    Release {
        pick: usize,
    },
    ReleasePart {
        pick: usize,
        amount_minor: u64,
    },
}

/// One transaction as the models remember it.
struct Kept {
    card: u64,
    at_ms: u64,
    counted_by: Vec<usize>,
    amount_minor: u64,
    reservation: Reservation,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let advance = prop_oneof![
        6 => 0..2_000u64,
        3 => 0..20_000u64,
        1 => 0..200_000u64,
    ];
    let transaction = (0..120u64, 0..2u16, 0..2u8, 0..2u8).prop_map(|(amount, mcc, mode, kind)| {
        VelocityTransaction {
            amount_minor: amount.saturating_sub(10),
            mcc: 4111 + mcc,
            entry_mode: 5 + 2 * mode,
            transaction_type: kind,
        }
    });
    let step = prop_oneof![
        4 => advance.prop_map(|ms| Step::Advance { ms }),
        8 => (0..CARDS, transaction).prop_map(|(card, t)| Step::Reserve { card, t }),
        3 => any::<usize>().prop_map(|pick| Step::Release { pick }),
        1 => (any::<usize>(), 0..60u64)
            .prop_map(|(pick, amount_minor)| Step::ReleasePart { pick, amount_minor }),
    ];
    prop::collection::vec(step, 1..160)
}

fn rules() -> impl Strategy<Value = Vec<VelocityRule>> {
    let limits = prop_oneof![
        (1..6u32).prop_map(|count| (Some(count), None)),
        (50..400u64).prop_map(|amount| (None, Some(amount))),
        (1..6u32, 50..400u64).prop_map(|(count, amount)| (Some(count), Some(amount))),
    ];
    let when = (0..3u8).prop_map(|kind| VelocityCondition {
        mccs: if kind == 1 { vec![4111] } else { Vec::new() },
        entry_modes: if kind == 2 { vec![7] } else { Vec::new() },
        transaction_types: if kind == 2 { vec![0] } else { Vec::new() },
    });
    let rule = (limits, when, 3..40u32, 0..4u8).prop_map(|(limits, when, window_s, parts)| {
        let (count_max, amount_minor_max) = limits;
        VelocityRule { when, window_s, ..rule(count_max, amount_minor_max, parts) }
    });
    prop::collection::vec(rule, 1..5).prop_filter("must fit a line", |rules| {
        words_needed(rules) <= crate::limits::VELOCITY_WORDS
    })
}

fn falls_under(rule: &VelocityRule, t: &VelocityTransaction) -> bool {
    let when = &rule.when;
    (when.mccs.is_empty() || when.mccs.contains(&t.mcc))
        && (when.entry_modes.is_empty() || when.entry_modes.contains(&t.entry_mode))
        && (when.transaction_types.is_empty()
            || when.transaction_types.contains(&t.transaction_type))
        && (rule.count_max.is_some() || t.amount_minor > 0)
}

fn sub_window(rule: &VelocityRule, at_ms: u64) -> u64 {
    let parts = u64::from(rule.sub_windows.max(1));
    at_ms / (u64::from(rule.window_s) * 1_000).div_ceil(parts)
}

/// Whether a rule still counts a transaction of `at_ms` at `now_ms`.
fn is_kept(rule: &VelocityRule, at_ms: u64, now_ms: u64) -> bool {
    sub_window(rule, at_ms) + u64::from(rule.sub_windows) >= sub_window(rule, now_ms)
}

/// Transactions that are reserved or posted, by the order in which they were made.
#[derive(Default)]
struct Model {
    rules: Vec<VelocityRule>,
    kept: BTreeMap<u64, Kept>,
    next: u64,
}

impl Model {
    /// Count and sum that a rule sees for a card.
    fn counted(&self, index: usize, card: u64, now_ms: u64) -> (u64, u64) {
        let rule = &self.rules[index];
        self.kept
            .values()
            .filter(|kept| kept.card == card && kept.counted_by.contains(&index))
            .filter(|kept| is_kept(rule, kept.at_ms, now_ms))
            .fold((0, 0), |(count, sum), kept| (count + 1, sum + kept.amount_minor))
    }

    /// Whether anything of a card counts: then it holds a line.
    fn holds_line(&self, card: u64, now_ms: u64) -> bool {
        self.kept.values().any(|kept| {
            kept.card == card
                && kept.counted_by.iter().any(|&index| {
                    let rule = &self.rules[index];
                    let counts = rule.count_max.is_some() || kept.amount_minor > 0;
                    counts && is_kept(rule, kept.at_ms, now_ms)
                })
        })
    }

    /// What must happen to a transaction: the rules that count it, or the refusal.
    fn judge(
        &self,
        card: u64,
        t: &VelocityTransaction,
        now_ms: u64,
        lines: usize,
    ) -> Result<Vec<usize>, Refusal> {
        let mut counted_by = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            if !falls_under(rule, t) {
                continue;
            }
            let (count, sum) = self.counted(index, card, now_ms);
            let limit = |by| Err(Refusal::Limit { rule: index as u8, by });
            if rule.amount_minor_max.is_some_and(|max| sum + t.amount_minor > max) {
                return limit(LimitKind::Amount);
            }
            if rule.count_max.is_some_and(|max| count + 1 > u64::from(max)) {
                return limit(LimitKind::Count);
            }
            counted_by.push(index);
        }
        let others = (0..CARDS).filter(|&other| other != card);
        let taken = others.filter(|&other| self.holds_line(other, now_ms)).count();
        if !counted_by.is_empty() && taken >= lines {
            return Err(Refusal::TableFull);
        }
        Ok(counted_by)
    }

    /// In no real interval of a rolling window's length may a limit be passed; nor in a calendar
    /// window.
    fn assert_true_windows(&self, card: u64, now_ms: u64) {
        for (index, rule) in self.rules.iter().enumerate() {
            let window_ms = u64::from(rule.window_s) * 1_000;
            let from_ms = match rule.sub_windows {
                0 => now_ms - now_ms % window_ms,
                _ => now_ms.saturating_sub(window_ms),
            };
            let inside = self.kept.values().filter(|kept| {
                kept.card == card && kept.counted_by.contains(&index) && kept.at_ms >= from_ms
            });
            let (count, sum) =
                inside.fold((0, 0), |(count, sum), kept| (count + 1, sum + kept.amount_minor));
            assert!(rule.count_max.is_none_or(|max| count <= max), "{rule:?}: {count}");
            assert!(rule.amount_minor_max.is_none_or(|max| sum <= max), "{rule:?}: {sum}");
        }
    }

    fn pick(&self, pick: usize) -> Option<u64> {
        self.kept.keys().nth(pick % self.kept.len().max(1)).copied()
    }
}

/// Plays the steps on both and compares every outcome. Of the intervals that hold a transaction and
/// those before it, the one that ends with it is the fullest, so looking at that one each time
/// looks at all.
fn play(rules: Vec<VelocityRule>, lines: usize, start_ms: u64, steps: &[Step]) {
    let config = VelocityConfig { lines, rules: rules.clone() };
    let mut velocity = Velocity::new(&config, lines);
    let mut model = Model { rules, ..Model::default() };
    let mut now_ms = start_ms;
    for step in steps {
        match *step {
            Step::Advance { ms } => now_ms += ms,
            Step::Reserve { card: number, t } => {
                let expected = model.judge(number, &t, now_ms, lines);
                let made = velocity.reserve(now_ms, card(number), &t);
                assert_eq!(made.as_ref().err(), expected.as_ref().err(), "{t:?} at {now_ms}");
                let (Ok(reservation), Ok(counted_by)) = (made, expected) else { continue };
                assert_eq!(reservation.is_empty(), counted_by.is_empty());
                let (card, amount_minor) = (number, t.amount_minor);
                let kept = Kept { card, at_ms: now_ms, counted_by, amount_minor, reservation };
                model.kept.insert(model.next, kept);
                model.next += 1;
                model.assert_true_windows(number, now_ms);
            }
            Step::Release { pick } => {
                if let Some(kept) = model.pick(pick).and_then(|pick| model.kept.remove(&pick)) {
                    velocity.release(card(kept.card), &kept.reservation);
                }
            }
            Step::ReleasePart { pick, amount_minor } => {
                if let Some(kept) = model.pick(pick).and_then(|pick| model.kept.get_mut(&pick)) {
                    velocity.release_part(card(kept.card), &mut kept.reservation, amount_minor);
                    kept.amount_minor = kept.amount_minor.saturating_sub(amount_minor);
                }
            }
        }
    }
    velocity.assert_invariants();
}

/// About 2.5 million steps in a release build.
const CASES: u32 = if cfg!(debug_assertions) { 400 } else { 30_000 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    /// With one group of four lines for six cards, so that lines are given away and run out too.
    #[test]
    fn every_outcome_is_the_models(
        rules in rules(),
        roomy in any::<bool>(),
        in_1970 in any::<bool>(),
        steps in steps(),
    ) {
        let start_ms = if in_1970 { 0 } else { START_MS };
        play(rules, if roomy { 256 } else { 4 }, start_ms, &steps);
    }
}

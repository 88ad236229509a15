//! The wheel by example, and against an ordered map of all deadlines.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What `due` gives when nothing is.
const NOTHING: [u32; 0] = [];

const SECOND_NS: u64 = 1_000_000_000;
const SPAN_NS: u64 = SLOTS as u64 * TICK_NS;

fn due(deadlines: &mut Deadlines, now_ns: u64) -> Vec<u32> {
    core::iter::from_fn(|| deadlines.pop_due(now_ns)).collect()
}

#[test]
fn a_deadline_fires_once_and_neither_early_nor_a_tick_late() {
    for at_ns in [1, TICK_NS - 1, TICK_NS, TICK_NS + 1, 8 * SECOND_NS, 25 * SECOND_NS + 7] {
        let mut deadlines = Deadlines::new(1);
        deadlines.set(0, at_ns);
        let next_ns = deadlines.next_deadline().unwrap();
        assert!((at_ns..at_ns + TICK_NS).contains(&next_ns));
        assert_eq!(due(&mut deadlines, at_ns - 1), NOTHING);
        assert_eq!(due(&mut deadlines, next_ns), [0]);
        assert_eq!(due(&mut deadlines, at_ns + SPAN_NS), NOTHING);
        assert_eq!(deadlines.next_deadline(), None);
    }
}

#[test]
fn the_past_fires_at_once() {
    let mut deadlines = Deadlines::new(3);
    let now_ns = 1_000 * SECOND_NS + 1;
    assert_eq!(due(&mut deadlines, now_ns), NOTHING);
    for (id, at_ns) in [(0, now_ns), (1, 0), (2, now_ns - TICK_NS)] {
        deadlines.set(id, at_ns);
    }
    assert!(deadlines.next_deadline().unwrap() <= now_ns);
    assert_eq!(due(&mut deadlines, now_ns), [0, 1, 2]);
}

#[test]
fn a_deadline_is_replaced_and_cancelled() {
    let mut deadlines = Deadlines::new(4);
    for id in 0..4 {
        deadlines.set(id, SECOND_NS);
    }
    deadlines.set(1, 2 * SECOND_NS);
    deadlines.cancel(0);
    deadlines.cancel(0);
    assert_eq!(deadlines.len(), 3);
    assert_eq!(due(&mut deadlines, SECOND_NS + TICK_NS), [2, 3]);
    deadlines.set(2, 3 * SECOND_NS);
    deadlines.cancel(2);
    assert_eq!(due(&mut deadlines, 9 * SECOND_NS), [1]);
    assert!(deadlines.is_empty());
}

#[test]
fn deadlines_beyond_the_span_wait_their_time() {
    let mut deadlines = Deadlines::new(3);
    // Before the clock is known, and after.
    for start_ns in [0, 5_000_000 * SECOND_NS] {
        deadlines.set(0, start_ns + 3 * SPAN_NS + 5);
        deadlines.set(1, start_ns + 40 * SECOND_NS);
        deadlines.set(2, start_ns + 5);
        let mut fired = Vec::new();
        let mut now_ns = start_ns;
        let mut wakes = 0;
        while let Some(next_ns) = deadlines.next_deadline() {
            now_ns = now_ns.max(next_ns);
            fired.extend(due(&mut deadlines, now_ns).into_iter().map(|id| (id, now_ns)));
            wakes += 1;
        }
        let ids: Vec<u32> = fired.iter().map(|&(id, _)| id).collect();
        assert_eq!(ids, [2, 1, 0]);
        for ((_, at_ns), due_ns) in fired.iter().zip([5, 40 * SECOND_NS, 3 * SPAN_NS + 5]) {
            assert!((start_ns + due_ns..start_ns + due_ns + TICK_NS).contains(at_ns));
        }
        assert!(wakes <= 8, "{wakes}");
    }
}

#[test]
fn after_a_stop_everything_fires_once_and_in_order() {
    let mut deadlines = Deadlines::new(10_000);
    // Every 7.3 ms, set in a scrambled order.
    for step in 0..10_000u32 {
        let id = step * 7_919 % 10_000;
        deadlines.set(id, u64::from(id) * 7_300_000);
    }
    assert_eq!(due(&mut deadlines, 0), [0]);
    let rest: Vec<u32> = (1..10_000).collect();
    assert_eq!(due(&mut deadlines, 100 * SECOND_NS), rest);
}

#[derive(Clone, Debug)]
enum Step {
    /// From now on, in nanoseconds; negative: past.
    Set {
        id: u32,
        from_now_ns: i64,
    },
    Cancel {
        id: u32,
    },
    Advance {
        ns: u64,
    },
    /// To what the wheel says is next.
    Sleep,
}

const IDS: u32 = 40;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tick = TICK_NS as i64;
    let span = SPAN_NS as i64;
    let from_now =
        prop_oneof![-tick..3 * tick, 0..span, (span - 2 * tick)..(span + 2 * tick), 0..5 * span,];
    let ahead = prop_oneof![4 => 0..2 * TICK_NS, 2 => 0..SECOND_NS, 1 => 0..3 * SPAN_NS];
    let step = prop_oneof![
        6 => (0..IDS, from_now).prop_map(|(id, from_now_ns)| Step::Set { id, from_now_ns }),
        2 => (0..IDS).prop_map(|id| Step::Cancel { id }),
        3 => ahead.prop_map(|ns| Step::Advance { ns }),
        2 => Just(Step::Sleep),
    ];
    prop::collection::vec(step, 1..200)
}

/// What fires must be due; what has been due for a tick must fire; in the order of ticks.
fn expire(deadlines: &mut Deadlines, model: &mut BTreeMap<u32, (u64, u64)>, now_ns: u64) {
    let mut last_tick = 0;
    while let Some(id) = deadlines.pop_due(now_ns) {
        let (at_ns, set_ns) = model.remove(&id).expect("fires once, and only what is set");
        assert!(at_ns <= now_ns);
        // Those that were past when they were set fire first, whichever tick they name.
        let tick = if at_ns <= set_ns { 0 } else { at_ns.div_ceil(TICK_NS) };
        assert!(tick >= last_tick);
        last_tick = tick;
    }
    for (&at_ns, &set_ns) in model.values().map(|(at_ns, set_ns)| (at_ns, set_ns)) {
        assert!(at_ns > set_ns, "what was past has fired");
        assert!(at_ns + TICK_NS > now_ns, "what was due for a tick has fired");
    }
}

fn play(start_ns: u64, steps: &[Step]) {
    let mut deadlines = Deadlines::new(IDS as usize);
    let mut model = BTreeMap::new();
    let mut now_ns = start_ns;
    expire(&mut deadlines, &mut model, now_ns);
    for step in steps {
        match *step {
            Step::Set { id, from_now_ns } => {
                let at_ns = now_ns.saturating_add_signed(from_now_ns);
                deadlines.set(id, at_ns);
                model.insert(id, (at_ns, now_ns));
            }
            Step::Cancel { id } => {
                deadlines.cancel(id);
                model.remove(&id);
            }
            Step::Advance { ns } => {
                now_ns += ns;
                expire(&mut deadlines, &mut model, now_ns);
            }
            Step::Sleep => {
                let Some(next_ns) = deadlines.next_deadline() else { continue };
                let first = model.values().map(|&(at_ns, _)| at_ns).min();
                assert!(next_ns < first.unwrap() + TICK_NS || next_ns <= now_ns);
                now_ns = now_ns.max(next_ns);
                expire(&mut deadlines, &mut model, now_ns);
            }
        }
        assert_eq!(deadlines.len(), model.len());
        assert_eq!(deadlines.next_deadline().is_some(), !model.is_empty());
    }
    // Sleeping from deadline to deadline reaches the end of all of them.
    let ids: BTreeSet<u32> = model.keys().copied().collect();
    let mut wakes = 0;
    while let Some(next_ns) = deadlines.next_deadline() {
        now_ns = now_ns.max(next_ns);
        expire(&mut deadlines, &mut model, now_ns);
        wakes += 1;
    }
    assert!(model.is_empty() && wakes <= 10 * ids.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 400 } else { 20_000 }))]

    #[test]
    fn every_deadline_fires_once_and_in_time(boot in any::<bool>(), steps in steps()) {
        play(if boot { 0 } else { 86_400_000 * SECOND_NS + 123 }, &steps);
    }
}

//! The last things that an operator should know of: alarms, refused changes, peers that misbehave. A
//! fixed number; the oldest go first. They name no card.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Kept at most.
const NOTABLES_MAX: usize = 256;
/// One that comes again within this is counted with the one before.
const SAME_WITHIN_MS: u64 = 60_000;

/// Something that an operator should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notable {
    /// UTC milliseconds of the first time.
    pub wall_ms: u64,
    /// UTC milliseconds of the last time.
    pub last_ms: u64,
    /// How often.
    pub times: u64,
    /// As `what{why}`.
    pub name: String,
    /// In one sentence, of the last time.
    pub text: String,
}

/// The last of them.
#[derive(Default)]
pub struct Notables(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    last: VecDeque<Notable>,
    times: BTreeMap<String, u64>,
}

impl Notables {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, seen so many times.
    pub fn add(&self, wall_ms: u64, name: &str, times: u64, text: String) {
        let mut kept = self.kept();
        *kept.times.entry(name.to_owned()).or_default() += times;
        let recent = |it: &&mut Notable| {
            it.name == name && wall_ms.saturating_sub(it.last_ms) < SAME_WITHIN_MS
        };
        if let Some(same) = kept.last.iter_mut().rev().find(recent) {
            same.times += times;
            same.last_ms = wall_ms;
            same.text = text;
            return;
        }
        if kept.last.len() == NOTABLES_MAX {
            kept.last.pop_front();
        }
        let name = name.to_owned();
        kept.last.push_back(Notable { wall_ms, last_ms: wall_ms, times, name, text });
    }

    /// The oldest first.
    #[must_use]
    pub fn last(&self) -> Vec<Notable> {
        self.kept().last.iter().cloned().collect()
    }

    /// How often each name was seen since the start.
    #[must_use]
    pub fn times(&self) -> BTreeMap<String, u64> {
        self.kept().times.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let notables = Notables::default();
        for second in 0..300 {
            notables.add(second * 1_000, &format!("n{second}"), 1, "text".to_owned());
        }
        let last = notables.last();
        assert_eq!((last.len(), last[0].name.as_str()), (256, "n44"));
        assert_eq!(notables.times().len(), 300);
    }

    #[test]
    fn what_comes_again_within_a_minute_is_one() {
        let notables = Notables::default();
        for (wall_ms, times) in [(0, 1), (59_999, 2), (119_998, 1), (179_998, 5)] {
            notables.add(wall_ms, "a", times, format!("at {wall_ms}"));
        }
        let last = notables.last();
        assert_eq!(last.len(), 2);
        let first = &last[0];
        let seen = (first.wall_ms, first.last_ms, first.times, first.text.as_str());
        assert_eq!(seen, (0, 119_998, 4, "at 119998"));
        assert_eq!(notables.times()["a"], 9);
    }
}

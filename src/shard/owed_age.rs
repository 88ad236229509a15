//! Since when the oldest message is owed, to the minute, without looking through them: they are
//! counted by the minute in which they became owed.
//!
//! Not here: the messages (`saf`). After a restart, one from a snapshot is as old as the snapshot.

/// Minutes told apart; what is older is counted together.
const MINUTES: u32 = 64;

/// How many messages became owed in which minute.
pub(super) struct OwedAges {
    minutes: [Minute; MINUTES as usize],
    /// Of minutes whose place was needed for a later one.
    older: u32,
    /// The first of those minutes.
    older_since: u32,
}

#[derive(Clone, Copy, Default)]
struct Minute {
    minute: u32,
    count: u32,
}

impl OwedAges {
    pub(super) fn new() -> Self {
        Self { minutes: [Minute::default(); MINUTES as usize], older: 0, older_since: 0 }
    }

    /// A message became owed in this minute since 1970.
    pub(super) fn add(&mut self, minute: u32) {
        let place = &mut self.minutes[(minute % MINUTES) as usize];
        if place.minute > minute {
            return self.add_older(minute, 1);
        }
        let before = core::mem::replace(place, Minute { minute, count: 1 });
        if before.minute == minute {
            place.count += before.count;
        } else if before.count > 0 {
            self.add_older(before.minute, before.count);
        }
    }

    fn add_older(&mut self, minute: u32, count: u32) {
        self.older_since = if self.older == 0 { minute } else { self.older_since.min(minute) };
        self.older += count;
    }

    /// It is owed no more.
    pub(super) fn remove(&mut self, minute: u32) {
        let place = &mut self.minutes[(minute % MINUTES) as usize];
        let count = if place.minute == minute { &mut place.count } else { &mut self.older };
        assert!(*count > 0, "Invariant: what is removed was added");
        *count -= 1;
    }

    /// The minute since which at least one has been owed.
    pub(super) fn oldest(&self) -> Option<u32> {
        let counted = self.minutes.iter().filter(|place| place.count > 0);
        let older = (self.older > 0).then_some(self.older_since);
        counted.map(|place| place.minute).chain(older).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_is_known_to_the_minute_for_an_hour() {
        let mut ages = OwedAges::new();
        assert_eq!(ages.oldest(), None);
        for minute in [1_000, 1_000, 1_030, 1_063] {
            ages.add(minute);
        }
        assert_eq!(ages.oldest(), Some(1_000));
        ages.remove(1_000);
        ages.remove(1_000);
        assert_eq!(ages.oldest(), Some(1_030));
        // Its place goes to another minute.
        ages.add(1_094);
        assert_eq!(ages.oldest(), Some(1_030));
        ages.remove(1_030);
        assert_eq!(ages.oldest(), Some(1_063));
    }

    proptest! {
        /// Never later than the truth, and the truth while nothing is older than the minutes told
        /// apart.
        #[test]
        fn it_is_as_old_as_a_list_says(steps in prop::collection::vec((0u32..40, any::<bool>(), any::<prop::sample::Index>()), 1..200)) {
            let (mut ages, mut list, mut minute) = (OwedAges::new(), Vec::new(), 1_000);
            for (later, removes, which) in steps {
                minute += later;
                if removes && !list.is_empty() {
                    ages.remove(list.swap_remove(which.index(list.len())));
                } else {
                    ages.add(minute);
                    list.push(minute);
                }
                let oldest = list.iter().min().copied();
                prop_assert_eq!(ages.oldest().is_some(), oldest.is_some());
                prop_assert!(ages.oldest() <= oldest);
                if oldest.is_some_and(|oldest| minute - oldest < MINUTES) && ages.older == 0 {
                    prop_assert_eq!(ages.oldest(), oldest);
                }
            }
        }
    }
}

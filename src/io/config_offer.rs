//! A configuration on its way to running shards: offered once to all, taken by each between two
//! batches.
//!
//! Not here: whether it may be taken at all (`config::reload`), and what it changes (the decider).

use crate::shard::Configured;
use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The newest offer, and which one each shard has taken.
#[derive(Debug)]
pub(crate) struct Offers {
    /// Number of the newest, so that looking for one costs a shard one load.
    epoch: AtomicU64,
    newest: Mutex<Newest>,
    taken: Vec<CachePadded<AtomicU64>>,
}

#[derive(Debug)]
struct Newest {
    offer: Arc<Configured>,
    /// Names of all limits that this process ever had, by their numbers.
    names: Vec<String>,
}

impl Newest {
    fn offer(&mut self, epoch: u64, configured: Configured) {
        let mut limit_numbers = Vec::with_capacity(configured.velocity.limits.len());
        for limit in &configured.velocity.limits {
            let known = self.names.iter().position(|name| *name == limit.name);
            let number = known.unwrap_or(self.names.len());
            if known.is_none() && number < usize::from(u8::MAX) {
                self.names.push(limit.name.clone());
            }
            // Beyond that a name is not known to the log any more.
            limit_numbers.push(u8::try_from(number).unwrap_or(u8::MAX));
        }
        self.offer = Arc::new(Configured { epoch, limit_numbers, ..configured });
    }
}

impl Offers {
    /// Nothing is offered yet; the first will be this.
    pub(crate) fn new(shards: usize, configured: Configured) -> Self {
        let mut newest = Newest { offer: Arc::default(), names: Vec::new() };
        newest.offer(0, configured);
        Self {
            epoch: AtomicU64::new(0),
            newest: Mutex::new(newest),
            taken: (0..shards).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
        }
    }

    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers the first configuration, with the number after `epoch`, that of processes before.
    pub(crate) fn begin_after(&self, epoch: u64) {
        let mut newest = self.newest();
        let configured = Configured::clone(&newest.offer);
        newest.offer(epoch + 1, configured);
        self.epoch.store(epoch + 1, Ordering::Release);
    }

    /// Offers another one; returns its number. `name` is first told the names of limits by their
    /// numbers. Wake the shards afterwards.
    pub(crate) fn offer(&self, configured: Configured, name: impl FnOnce(&[String])) -> u64 {
        let mut newest = self.newest();
        let epoch = newest.offer.epoch + 1;
        newest.offer(epoch, configured);
        name(&newest.names);
        self.epoch.store(epoch, Ordering::Release);
        epoch
    }

    /// For a shard: what it has not taken yet.
    #[inline]
    pub(crate) fn take(&self, shard: usize) -> Option<Arc<Configured>> {
        let taken = self.taken.get(shard)?;
        // Only the shard itself writes it.
        if taken.load(Ordering::Relaxed) == self.epoch.load(Ordering::Acquire) {
            return None;
        }
        let offer = Arc::clone(&self.newest().offer);
        taken.store(offer.epoch, Ordering::Release);
        Some(offer)
    }

    /// The number that every shard has taken, or a later one.
    pub(crate) fn taken_by_all(&self) -> u64 {
        let taken = self.taken.iter().map(|taken| taken.load(Ordering::Acquire));
        taken.min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{VelocityCondition, VelocityConfig, VelocityLimit};

    fn limits(names: &[&str]) -> Configured {
        let limit = |name: &&str| VelocityLimit {
            name: (*name).to_owned(),
            counter: None,
            scope_counter: None,
            count_max: None,
            amount_minor_max: Some(1),
            when: VelocityCondition::default(),
            code: None,
        };
        let limits = names.iter().map(limit).collect();
        let velocity = VelocityConfig { limits, ..VelocityConfig::default() };
        Configured { velocity, ..Configured::default() }
    }

    #[test]
    fn each_shard_takes_the_newest_offer_once() {
        let offers = Offers::new(2, limits(&["a", "b"]));
        assert!(offers.take(0).is_none(), "nothing is offered before the start");
        offers.begin_after(7);
        let first = offers.take(0).unwrap();
        assert_eq!((first.epoch, &first.limit_numbers[..]), (8, &[0, 1][..]));
        assert!(offers.take(0).is_none());
        assert_eq!(offers.taken_by_all(), 0, "the other has not");
        let mut told = Vec::new();
        let epoch = offers.offer(limits(&["c", "b"]), |names| told.extend_from_slice(names));
        assert_eq!((epoch, told.join(" ").as_str()), (9, "a b c"));
        for shard in 0..2 {
            let offer = offers.take(shard).unwrap();
            assert_eq!((offer.epoch, &offer.limit_numbers[..]), (9, &[2, 1][..]));
        }
        assert_eq!(offers.taken_by_all(), 9);
        assert!(offers.take(2).is_none(), "no such shard");
    }
}

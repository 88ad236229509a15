//! Times counted by how long they were, in a fixed number of buckets: cheap to count, to copy and to
//! add up, and of the same bounds everywhere.
//!
//! Not here: exact quantiles (`switch_time`).

/// Upper bounds of the buckets in microseconds, each included; what is longer is in one more.
pub const TIME_BOUNDS_US: [u64; 19] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

const BOUNDS: usize = TIME_BOUNDS_US.len();

/// Where to begin to look for a time of so many bits: no bound before is as long as any of them.
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least_ns = 1_u64 << (bits - 1);
        let mut place = 0;
        while place < BOUNDS && TIME_BOUNDS_US[place] * 1_000 < least_ns {
            place += 1;
        }
        first[bits] = place as u8;
        bits += 1;
    }
    first
};

/// The bucket of a time. Bounds are at least doubled from one to the next: two are looked at, at most.
#[inline]
pub(super) fn bucket_of(ns: u64) -> usize {
    let bits = (u64::BITS - ns.leading_zeros()) as usize;
    let mut place = FIRST.get(bits).map_or(BOUNDS, |place| usize::from(*place));
    while TIME_BOUNDS_US.get(place).is_some_and(|bound_us| bound_us * 1_000 < ns) {
        place += 1;
    }
    place
}

/// How many times there were of each length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeBuckets {
    counts: [u64; BOUNDS + 1],
    sum_ns: u64,
}

impl TimeBuckets {
    /// One more, of this length.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.record_many(ns, 1);
    }

    /// `count` more, of this length.
    pub fn record_many(&mut self, ns: u64, count: u64) {
        self.record_in(bucket_of(ns), ns, count);
    }

    /// The same, of a time whose bucket is known.
    #[inline]
    pub(super) fn record_in(&mut self, place: usize, ns: u64, count: u64) {
        if let Some(bucket) = self.counts.get_mut(place) {
            *bucket += count;
        }
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(count));
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    #[must_use]
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Upper bound in microseconds, and how many are in its bucket and in none below it; no bound for
    /// the longest.
    pub fn iter(&self) -> impl Iterator<Item = (Option<u64>, u64)> + '_ {
        let bounds = TIME_BOUNDS_US.into_iter().map(Some).chain([None]);
        bounds.zip(self.counts)
    }

    /// The bound under which this part of all times is; none when that is beyond the last bound, or
    /// there were no times.
    #[must_use]
    pub fn quantile_us(&self, part: f64) -> Option<u64> {
        let all = self.count();
        let wanted = (all as f64 * part).ceil().max(1.0) as u64;
        let mut below = 0;
        self.iter().find_map(|(bound, count)| {
            below += count;
            (all > 0 && below >= wanted).then_some(bound)
        })?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_under_the_first_bound_that_it_does_not_pass() {
        let mut times = TimeBuckets::default();
        for ns in [0, 10_000, 10_001, 10_000_000_000, 10_000_000_001, u64::MAX] {
            times.record(ns);
        }
        let counted: Vec<_> = times.iter().filter(|(_, count)| *count > 0).collect();
        let last = Some(10_000_000);
        assert_eq!(counted, [(Some(10), 2), (Some(20), 1), (last, 1), (None, 2)]);
        assert_eq!((times.count(), times.sum_ns()), (6, u64::MAX));
    }

    #[test]
    fn a_bucket_is_found_from_the_bits_of_a_time() {
        let near = |ns: u64| [ns.saturating_sub(1), ns, ns.saturating_add(1)];
        let bounds = TIME_BOUNDS_US.into_iter().map(|us| us * 1_000);
        let powers = (0..64).map(|bits| 1_u64 << bits);
        for ns in bounds.chain(powers).chain([u64::MAX]).flat_map(near) {
            let searched = TIME_BOUNDS_US.partition_point(|bound_us| bound_us * 1_000 < ns);
            assert_eq!(bucket_of(ns), searched, "{ns}");
        }
    }

    #[test]
    fn times_of_two_shards_are_added_up() {
        let (mut one, mut other) = (TimeBuckets::default(), TimeBuckets::default());
        one.record_many(1_500_000, 98);
        other.record(40_000_000);
        other.record(20_000_000_000);
        one.merge(&other);
        assert_eq!(one.count(), 100);
        assert_eq!(one.sum_ns(), 98 * 1_500_000 + 40_000_000 + 20_000_000_000);
        let quantiles = [0.0, 0.5, 0.98, 0.99, 1.0].map(|part| one.quantile_us(part));
        assert_eq!(quantiles, [Some(2_000), Some(2_000), Some(2_000), Some(50_000), None]);
        assert_eq!(TimeBuckets::default().quantile_us(0.5), None);
    }
}

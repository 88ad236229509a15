//! One stream of numbers per concern: a draw more in one of them changes nothing in the others.

/// SplitMix64: small, fast, and the same everywhere.
#[derive(Clone, Debug)]
pub(super) struct Stream(u64);

impl Stream {
    pub(super) fn new(seed: u64, salt: &str) -> Self {
        let salted = salt.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29)
        });
        let mut stream = Self(salted);
        stream.next();
        stream
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// From 0 on, `bound` excluded; 0 for a bound of 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Both ends included.
    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Whether something of this rate, in parts of a million, happens now.
    pub(super) fn happens(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.below(1_000_000) < u64::from(ppm)
    }

    /// Exponential with this mean: times between things that have nothing to do with each other.
    pub(super) fn exponential(&mut self, mean: u64) -> u64 {
        // 53 bits, never 0.
        let uniform = ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        (-(uniform.ln()) * mean as f64) as u64
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// The streams of a run.
pub(super) struct Streams {
    pub(super) network: Stream,
    pub(super) disk: Stream,
    pub(super) issuer: Stream,
    pub(super) link: Stream,
    pub(super) workload: Stream,
    pub(super) acquirer: Stream,
    pub(super) schedule: Stream,
    pub(super) clock: Stream,
    pub(super) trouble: Stream,
    pub(super) layout: Stream,
    pub(super) drain: Stream,
    pub(super) rules: Stream,
    pub(super) gone: Stream,
}

impl Streams {
    pub(super) fn new(seed: u64) -> Self {
        let stream = |salt| Stream::new(seed, salt);
        Self {
            network: stream("network"),
            disk: stream("disk"),
            issuer: stream("issuer"),
            link: stream("link"),
            workload: stream("workload"),
            acquirer: stream("acquirer"),
            schedule: stream("schedule"),
            clock: stream("clock"),
            trouble: stream("trouble"),
            layout: stream("layout"),
            drain: stream("drain"),
            rules: stream("rules"),
            gone: stream("gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_apart_and_repeat_themselves() {
        let mut one = Stream::new(1, "network");
        let mut again = Stream::new(1, "network");
        let mut other = Stream::new(1, "disk");
        let first: Vec<u64> = (0..8).map(|_| one.next()).collect();
        assert_eq!(first, (0..8).map(|_| again.next()).collect::<Vec<_>>());
        assert_ne!(first, (0..8).map(|_| other.next()).collect::<Vec<_>>());
        assert!((0..1_000).all(|_| (3..=5).contains(&one.between(3, 5))));
        let mean = (0..10_000).map(|_| one.exponential(1_000)).sum::<u64>() / 10_000;
        assert!((900..1_100).contains(&mean), "{mean}");
    }
}

//! A keyed bijection of `0..size`, in no memory: a Feistel network over the next even number of
//! bits, walked along its cycles until it comes back into the range (Black and Rogaway, "Ciphers
//! with Arbitrary Finite Domains", 2002). It scatters ranks; it hides nothing.

const ROUNDS: usize = 4;

/// A bijection of `0..size` chosen by a seed.
#[derive(Clone, Debug)]
pub(crate) struct Permutation {
    size: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The bijection of this seed. `size` is at least 1 and below 2^62.
    pub(crate) fn new(size: u64, seed: u64) -> Self {
        assert!(size >= 1, "Invariant: a permutation has something to permute");
        assert!(size < 1 << 62, "Invariant: a permutation's size leaves room for its halves");
        let bits = u64::BITS - (size - 1).leading_zeros();
        let mut state = seed;
        let keys = std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            scramble(state)
        });
        // Less than 2^(2 * half_bits) / 4 elements would walk long; this is at most 4 on average.
        Self { size, half_bits: bits.div_ceil(2).max(1), keys }
    }

    /// Where `element`, which is in `0..size`, goes.
    #[inline]
    pub(crate) fn apply(&self, element: u64) -> u64 {
        assert!(element < self.size, "Invariant: only elements of the range are permuted");
        let mut element = self.once(element);
        while element >= self.size {
            element = self.once(element);
        }
        element
    }

    #[inline]
    fn once(&self, element: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (element >> self.half_bits, element & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (scramble(right ^ key) & mask));
        }
        left << self.half_bits | right
    }
}

/// The finishing steps of `SplitMix64`: every input bit reaches every output bit.
#[inline]
pub(crate) const fn scramble(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_reached_once() {
        for size in [1u64, 2, 3, 16, 17, 1000, 65_537] {
            let permutation = Permutation::new(size, 7);
            let mut reached: Vec<u64> = (0..size).map(|rank| permutation.apply(rank)).collect();
            reached.sort_unstable();
            assert!(reached.iter().copied().eq(0..size), "size {size}");
        }
    }

    #[test]
    fn the_seed_chooses_it() {
        let order = |seed| {
            let permutation = Permutation::new(1000, seed);
            (0..1000).map(|rank| permutation.apply(rank)).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert!(order(1).iter().copied().ne(0..1000), "it moves something");
    }
}

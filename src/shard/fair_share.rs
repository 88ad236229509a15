//! Fair shares of a thing that several acquirers use at once: an issuer's window, the table of pending
//! requests. One acquirer that floods a slow issuer cannot take it away from the others.
//!
//! The rule. As long as at most half of the places are in use, everybody is admitted. Beyond that, an
//! acquirer is refused that has its share already:
//!
//! ```text
//! share = (places - kept back) / acquirers that are there      at least one
//! ```
//!
//! There is who has something under way or has asked within the last second or two, also in vain: who
//! is refused is not forgotten. A sixteenth of the places is kept back while an acquirer of the
//! configuration is not there: it finds one free when it comes, whoever floods. An acquirer that is the
//! only one configured has all places.
//!
//! Not here: whether there is a place at all, and what a refusal is answered.

use super::identity::AcquirerId;
use crate::limits::ACQUIRERS_MAX;

/// Who asked is remembered by periods of so many nanoseconds, a power of two: about a second.
const PERIOD_BITS: u32 = 30;
/// This part of the places is kept back for acquirers that may come.
const KEPT_BACK: u32 = 16;

// A set of acquirers is the bits of one word.
const _: () = assert!(ACQUIRERS_MAX <= u64::BITS as usize);

/// Who uses how much of it.
pub(super) struct FairShare {
    /// Places of each acquirer.
    held: Box<[u32]>,
    total: u32,
    /// Acquirers that have any.
    holders: u64,
    /// Acquirers that asked in this period, and in the one before.
    asked: [u64; 2],
    period: u64,
}

impl FairShare {
    /// Among so many acquirers.
    pub(super) fn new(acquirers: usize) -> Self {
        let held = vec![0; acquirers.min(ACQUIRERS_MAX)].into_boxed_slice();
        Self { held, total: 0, holders: 0, asked: [0; 2], period: 0 }
    }

    /// An acquirer asks for one of so many places: whether it may have it, if there is one.
    #[inline]
    pub(super) fn admits(&mut self, acquirer: AcquirerId, places: u32, now_ns: u64) -> bool {
        self.on_asked(acquirer, now_ns);
        self.total <= places / 2 || self.is_within_share(acquirer, places)
    }

    /// An acquirer asks, perhaps in vain: it is there.
    #[inline]
    pub(super) fn on_asked(&mut self, acquirer: AcquirerId, now_ns: u64) {
        let period = now_ns >> PERIOD_BITS;
        if period != self.period {
            let before = if period == self.period + 1 { self.asked[0] } else { 0 };
            self.asked = [0, before];
            self.period = period;
        }
        self.asked[0] |= bit(acquirer);
    }

    fn is_within_share(&self, acquirer: AcquirerId, places: u32) -> bool {
        let Some(&held) = self.held.get(usize::from(acquirer.0)) else { return true };
        let there = (self.holders | self.asked[0] | self.asked[1]).count_ones();
        let all_are_there = there as usize >= self.held.len();
        let kept_back = if all_are_there { 0 } else { places / KEPT_BACK };
        held < ((places - kept_back) / there.max(1)).max(1)
    }

    /// The acquirer takes a place.
    #[inline]
    pub(super) fn take(&mut self, acquirer: AcquirerId) {
        if let Some(held) = self.held.get_mut(usize::from(acquirer.0)) {
            *held += 1;
            self.total += 1;
            self.holders |= bit(acquirer);
        }
    }

    /// It gives one back.
    #[inline]
    pub(super) fn give(&mut self, acquirer: AcquirerId) {
        if let Some(held) = self.held.get_mut(usize::from(acquirer.0)) {
            assert!(*held > 0, "Invariant: a place is given back once, by who took it");
            *held -= 1;
            self.total -= 1;
            if *held == 0 {
                self.holders &= !bit(acquirer);
            }
        }
    }
}

#[inline]
fn bit(acquirer: AcquirerId) -> u64 {
    1 << (u32::from(acquirer.0) % u64::BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FLOOD: AcquirerId = AcquirerId(0);
    const OTHER: AcquirerId = AcquirerId(1);
    const SECOND_NS: u64 = 1_000_000_000;

    /// Asks and takes until it is refused, or nothing is left. Tells how many it got.
    fn fill(shares: &mut FairShare, acquirer: AcquirerId, places: u32, now_ns: u64) -> u32 {
        let mut got = 0;
        while shares.total < places && shares.admits(acquirer, places, now_ns) {
            shares.take(acquirer);
            got += 1;
        }
        got
    }

    #[test]
    fn the_only_acquirer_has_everything() {
        for places in [1, 2, 3, 16, 100] {
            assert_eq!(fill(&mut FairShare::new(1), FLOOD, places, 0), places);
        }
    }

    #[test]
    fn who_comes_late_finds_a_place_and_then_half_of_them() {
        let mut shares = FairShare::new(2);
        assert_eq!(fill(&mut shares, FLOOD, 160, 0), 150, "a sixteenth is kept back");
        assert_eq!(fill(&mut shares, OTHER, 160, 0), 10);
        // What the flood gives back it does not get again before it has less than half.
        for _ in 0..70 {
            shares.give(FLOOD);
            assert!(!shares.admits(FLOOD, 160, 0));
            assert!(shares.admits(OTHER, 160, 0));
            shares.take(OTHER);
        }
        assert_eq!((shares.held[0], shares.held[1]), (80, 80));
        shares.give(FLOOD);
        assert!(shares.admits(FLOOD, 160, 0));
    }

    #[test]
    fn who_asks_in_vain_is_not_forgotten() {
        let mut shares = FairShare::new(3);
        // So few places that none is kept back.
        assert_eq!(fill(&mut shares, FLOOD, 8, 0), 8);
        assert!(shares.admits(OTHER, 8, 0), "it has less than its share, but nothing is free");
        shares.give(FLOOD);
        assert!(!shares.admits(FLOOD, 8, 0), "what is free is for the other");
        // One that has not asked for long is not there.
        assert!(!shares.admits(FLOOD, 8, SECOND_NS));
        assert!(shares.admits(FLOOD, 8, 4 * SECOND_NS));
    }

    #[test]
    fn up_to_half_everybody_is_admitted() {
        let mut shares = FairShare::new(2);
        shares.take(OTHER);
        assert_eq!(fill(&mut shares, FLOOD, 100, 0), 50);
    }

    proptest! {
        /// Whatever was taken and given back: nobody gets more than a share while others are there,
        /// and one who holds nothing is never refused because of its share.
        #[test]
        fn shares_hold(
            places in 1_u32..200,
            acquirers in 1_usize..6,
            steps in prop::collection::vec((0_u8..6, any::<bool>(), 0_u64..SECOND_NS), 1..400),
        ) {
            let mut shares = FairShare::new(acquirers);
            let mut held = vec![0_u32; acquirers];
            let mut now_ns = 0;
            for (acquirer, takes, after_ns) in steps {
                let place = usize::from(acquirer) % acquirers;
                let acquirer = AcquirerId(place as u8);
                now_ns += after_ns;
                let total: u32 = held.iter().sum();
                if takes {
                    let admitted = shares.admits(acquirer, places, now_ns);
                    prop_assert!(admitted || held[place] > 0);
                    let holders = held.iter().enumerate();
                    let there = holders.filter(|&(at, &count)| count > 0 || at == place).count();
                    if admitted && total > places / 2 {
                        prop_assert!(held[place] < (places / there as u32).max(1));
                    }
                    if admitted && total < places {
                        shares.take(acquirer);
                        held[place] += 1;
                    }
                } else if held[place] > 0 {
                    shares.give(acquirer);
                    held[place] -= 1;
                }
                prop_assert_eq!(shares.total, held.iter().sum::<u32>());
                let holders = held.iter().filter(|&&count| count > 0).count();
                prop_assert_eq!(shares.holders.count_ones() as usize, holders);
            }
        }
    }
}

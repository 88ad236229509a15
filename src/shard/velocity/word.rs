//! One word of a line: what one counter has counted in one part of its window.
//!
//! Most counters keep a count (upper 16 bits) and a sum (lower 48). One that a PIN sets back keeps a
//! generation (upper 8), the sum of what is posted (28) and the sum of all (28), because a PIN sets
//! back what is posted and leaves what is still under way.
//!
//! A word that would overflow becomes *stuck*: all ones. It declines until its part of the window
//! has rolled out, and nothing is taken back from it: against the card, never for it.

use super::audit::Sums;

/// The word that has overflowed.
pub(super) const STUCK: u64 = u64::MAX;

const SUM_BITS: u32 = 48;
const SUM_MASK: u64 = (1 << SUM_BITS) - 1;
/// One less than a stuck word's.
const COUNT_LAST: u64 = 0xFFFE;

const HALF_BITS: u32 = 28;
const HALF_MASK: u64 = (1 << HALF_BITS) - 1;
const GENERATION_SHIFT: u32 = 2 * HALF_BITS;
/// One less than a stuck word's. At this one nothing is set back any more.
const GENERATION_LAST: u64 = 0xFE;

/// What a word holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Count and sum.
    Plain,
    /// Generation, posted sum, whole sum.
    Resettable,
}

impl Meaning {
    /// Count and sum of a word that is not stuck.
    #[inline]
    pub(super) fn read(self, word: u64) -> (u64, u64) {
        match self {
            Self::Plain => (word >> SUM_BITS, word & SUM_MASK),
            Self::Resettable => (0, word & HALF_MASK),
        }
    }

    /// Everything that a word holds.
    pub(super) fn sums(self, word: u64) -> Sums {
        if word == STUCK {
            return Sums { is_stuck: true, ..Sums::default() };
        }
        let (transactions, minor) = self.read(word);
        let (minor_posted, generation) = match self {
            Self::Plain => (0, 0),
            Self::Resettable => (posted_sum(word), generation_of(word)),
        };
        Sums { transactions, minor, minor_posted, generation, is_stuck: false }
    }

    /// The word with a pending transaction added.
    #[inline]
    pub(super) fn add(self, word: u64, transactions: u64, amount_minor: u64) -> u64 {
        if word == STUCK {
            return STUCK;
        }
        match self {
            Self::Plain => {
                let count = (word >> SUM_BITS) + transactions;
                // Both are 48 bits, so the sum cannot wrap.
                let sum = (word & SUM_MASK) + amount_minor;
                if count > COUNT_LAST || sum > SUM_MASK {
                    return STUCK;
                }
                count << SUM_BITS | sum
            }
            Self::Resettable => {
                if (word & HALF_MASK) + amount_minor > HALF_MASK {
                    return STUCK;
                }
                word + amount_minor
            }
        }
    }

    /// The word without what a transaction had added; `posted` is its generation if it was posted.
    #[inline]
    pub(super) fn take_back(
        self,
        word: u64,
        transactions: u64,
        amount_minor: u64,
        posted: Option<u8>,
    ) -> u64 {
        if word == STUCK {
            return STUCK;
        }
        match self {
            Self::Plain => {
                assert!(
                    word >> SUM_BITS >= transactions,
                    "Invariant: only a counted transaction is released"
                );
                assert!(
                    word & SUM_MASK >= amount_minor,
                    "Invariant: only a counted amount is released"
                );
                word - (transactions << SUM_BITS | amount_minor)
            }
            Self::Resettable => match posted {
                // A PIN has taken it back already.
                Some(generation) if generation != generation_of(word) => word,
                Some(_) => {
                    assert!(
                        posted_sum(word) >= amount_minor,
                        "Invariant: only a posted amount is released as posted"
                    );
                    word - (amount_minor << HALF_BITS | amount_minor)
                }
                None => {
                    assert!(
                        (word & HALF_MASK) - posted_sum(word) >= amount_minor,
                        "Invariant: only a pending amount is released as pending"
                    );
                    word - amount_minor
                }
            },
        }
    }
}

/// A resettable word after a pending amount in it was posted, and the generation of the posting.
#[inline]
pub(super) fn post(word: u64, amount_minor: u64) -> (u64, u8) {
    if word == STUCK {
        return (STUCK, generation_of(word));
    }
    assert!(
        (word & HALF_MASK) - posted_sum(word) >= amount_minor,
        "Invariant: only a pending amount is posted"
    );
    (word + (amount_minor << HALF_BITS), generation_of(word))
}

/// A resettable word after a PIN.
#[inline]
pub(super) fn reset(word: u64) -> u64 {
    let (posted, generation) = (posted_sum(word), u64::from(generation_of(word)));
    if word == STUCK || posted == 0 || generation >= GENERATION_LAST {
        return word;
    }
    (generation + 1) << GENERATION_SHIFT | ((word & HALF_MASK) - posted)
}

#[inline]
fn generation_of(word: u64) -> u8 {
    (word >> GENERATION_SHIFT) as u8
}

#[inline]
fn posted_sum(word: u64) -> u64 {
    word >> HALF_BITS & HALF_MASK
}

/// Whether the parts of a word fit each other.
pub(super) fn is_sound(meaning: Meaning, word: u64) -> bool {
    match meaning {
        _ if word == STUCK => true,
        Meaning::Plain => word >> SUM_BITS <= COUNT_LAST,
        Meaning::Resettable => {
            posted_sum(word) <= word & HALF_MASK
                && u64::from(generation_of(word)) <= GENERATION_LAST
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_overflows_sticks_and_gives_nothing_back() {
        for (meaning, most) in [(Meaning::Plain, SUM_MASK), (Meaning::Resettable, HALF_MASK)] {
            let full = meaning.add(0, 1, most);
            assert_ne!(full, STUCK);
            assert_eq!(meaning.read(full).1, most);
            let stuck = meaning.add(full, 1, 1);
            assert_eq!(stuck, STUCK);
            assert_eq!(meaning.take_back(stuck, 1, most, None), STUCK);
            assert_eq!(meaning.add(stuck, 1, 0), STUCK);
        }
        let counted =
            (0..COUNT_LAST).fold(0, |word, _| Meaning::Plain.add(word, 1, SUM_MASK / COUNT_LAST));
        assert_eq!(Meaning::Plain.read(counted).0, COUNT_LAST);
        assert_eq!(Meaning::Plain.add(counted, 1, 0), STUCK);
        assert_eq!((post(STUCK, 7).0, reset(STUCK)), (STUCK, STUCK));
    }

    #[test]
    fn a_reset_takes_what_is_posted_and_leaves_what_is_pending() {
        let meaning = Meaning::Resettable;
        let word = meaning.add(meaning.add(0, 1, 300), 1, 50);
        let (word, first) = post(word, 300);
        let after = reset(word);
        assert_eq!(meaning.read(after), (0, 50));
        assert_eq!(meaning.take_back(after, 1, 300, Some(first)), after, "taken back already");
        let (posted, second) = post(after, 50);
        assert_ne!(first, second);
        assert_eq!(meaning.read(meaning.take_back(posted, 1, 20, Some(second))), (0, 30));
        assert_eq!(reset(after), after, "nothing is posted");
    }

    #[test]
    fn generations_end_against_the_card() {
        let meaning = Meaning::Resettable;
        let mut word = 0;
        for _ in 0..GENERATION_LAST {
            word = reset(post(meaning.add(word, 1, 1), 1).0);
            assert_eq!(meaning.read(word).1, 0);
        }
        let (word, _) = post(meaning.add(word, 1, 1), 1);
        assert_eq!(reset(word), word);
        assert_ne!(meaning.add(word, 1, HALF_MASK - 1), STUCK);
        assert!(is_sound(meaning, word));
    }
}

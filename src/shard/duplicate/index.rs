//! Where a remembered request is, by its key: open addressing with linear probing over words of 32
//! bits of hash and 32 bits of place.
//!
//! It is never more than half full, never grows, and leaves no tombstones: whatever follows a
//! removed entry moves back. Whether the place holds the very key is the caller's to check.

use crate::memory::prefault;
use crate::shard::velocity::prefetch;

const EMPTY: u64 = 0;
/// In a place: a request in flight, and its pending id in the other bits.
const IN_FLIGHT: u32 = 1 << 31;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In flight, by its pending id.
    InFlight(u32),
    /// Answered, by its place in the log.
    Answered(u32),
}

impl Place {
    #[inline]
    fn encode(self) -> u32 {
        match self {
            Self::InFlight(pending) => pending | IN_FLIGHT,
            // One more, so that no word is all zeros.
            Self::Answered(at) => at + 1,
        }
    }

    #[inline]
    fn decode(word: u64) -> Self {
        let bits = word as u32;
        if bits & IN_FLIGHT != 0 {
            Self::InFlight(bits & !IN_FLIGHT)
        } else {
            Self::Answered(bits - 1)
        }
    }
}

pub(super) struct Index {
    slots: Box<[u64]>,
    used: usize,
}

impl Index {
    pub(super) fn new(slots: usize) -> Self {
        assert!(slots > 1 && u32::try_from(slots).is_ok(), "Invariant: slots are 32 bits");
        let mut slots = vec![EMPTY; slots].into_boxed_slice();
        prefault(&mut slots);
        Self { slots, used: 0 }
    }

    #[inline]
    pub(super) fn prefetch(&self, hash: u32) {
        prefetch(&self.slots[self.home(hash)]);
    }

    /// The slot of the entry that `is_it` knows, or the slot where it would be put.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(Place) -> bool) -> Result<usize, usize> {
        let mut slot = self.home(hash);
        loop {
            let word = self.slots[slot];
            if word == EMPTY {
                return Err(slot);
            }
            if (word >> 32) as u32 == hash && is_it(Place::decode(word)) {
                return Ok(slot);
            }
            slot = self.after(slot);
        }
    }

    #[inline]
    pub(super) fn place(&self, slot: usize) -> Place {
        Place::decode(self.slots[slot])
    }

    /// Puts an entry into the empty slot that [`Index::find`] gave.
    #[inline]
    pub(super) fn insert(&mut self, slot: usize, hash: u32, place: Place) {
        assert!(self.slots[slot] == EMPTY, "Invariant: an entry is put into an empty slot");
        self.used += 1;
        assert!(self.used * 2 <= self.slots.len(), "Invariant: the index is at most half full");
        self.set(slot, hash, place);
    }

    /// Says where an entry is now.
    #[inline]
    pub(super) fn set(&mut self, slot: usize, hash: u32, place: Place) {
        self.slots[slot] = (u64::from(hash) << 32) | u64::from(place.encode());
    }

    /// Removes an entry and moves back those that would not be found past the gap.
    #[inline]
    pub(super) fn remove(&mut self, slot: usize) {
        assert!(self.slots[slot] != EMPTY, "Invariant: what is removed is there");
        self.used -= 1;
        let (mut gap, mut slot) = (slot, slot);
        loop {
            slot = self.after(slot);
            let word = self.slots[slot];
            if word == EMPTY {
                break;
            }
            // How far the entry is from its home, and from the gap, going forward.
            if self.steps(self.home((word >> 32) as u32), slot) >= self.steps(gap, slot) {
                self.slots[gap] = word;
                gap = slot;
            }
        }
        self.slots[gap] = EMPTY;
    }

    #[inline]
    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        if slot + 1 == self.slots.len() { 0 } else { slot + 1 }
    }

    #[inline]
    fn steps(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    /// Every entry's hash and place, after checking that it is found where it is.
    pub(super) fn assert_invariants(&self) -> impl Iterator<Item = (u32, Place)> {
        let words = self.slots.iter().filter(|&&word| word != EMPTY);
        assert_eq!(words.clone().count(), self.used, "Invariant: used slots are counted");
        words.map(|&word| {
            let (hash, place) = ((word >> 32) as u32, Place::decode(word));
            let found = self.find(hash, |other| other == place);
            assert!(found.is_ok(), "Invariant: no empty slot comes before an entry");
            (hash, place)
        })
    }
}

//! What is counted for each request of late, so that it can be given back: a ring of fixed size. The
//! oldest is forgotten for a new one, and what it counted then stays counted until its window ends.

use super::ScopeHold;
use super::places::{PLACE_BYTES, Places};
use crate::shard::duplicate::DuplicateKey;

/// By the key of the request.
pub(super) struct Holds {
    places: Places,
    holds: Vec<ScopeHold>,
    /// Where the next one goes: the oldest is there, or nothing.
    next: usize,
}

/// Memory of one.
pub(super) const HOLD_BYTES: usize = PLACE_BYTES + size_of::<ScopeHold>();

impl Holds {
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        Self { places: Places::new(count), holds: vec![ScopeHold::default(); count], next: 0 }
    }

    #[inline]
    pub(super) fn find(&self, key: &DuplicateKey) -> Option<&ScopeHold> {
        self.holds.get(self.places.find(&key.0)? as usize)
    }

    /// From now on this is what is counted for a request; one that counts nothing is forgotten.
    pub(super) fn set(&mut self, key: &DuplicateKey, hold: ScopeHold) {
        match self.places.find(&key.0) {
            Some(place) if hold.is_empty() => self.places.free(place),
            Some(place) => self.holds[place as usize] = hold,
            None if hold.is_empty() => {}
            None => {
                let place = self.next as u32;
                self.places.free(place);
                self.places.put(key.0, place);
                self.holds[self.next] = hold;
                self.next = (self.next + 1) % self.holds.len();
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.holds.len()
    }

    pub(super) fn at(&self, place: u32) -> Option<(DuplicateKey, &ScopeHold)> {
        let key = self.places.key(place)?;
        Some((DuplicateKey(key), self.holds.get(place as usize)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(amount_minor: u64) -> ScopeHold {
        ScopeHold { counters: 1, amount_minor, ..ScopeHold::default() }
    }

    #[test]
    fn the_oldest_is_forgotten() {
        let mut holds = Holds::new(3);
        let key = |number: u8| DuplicateKey([number; 16]);
        for number in 1..=3 {
            holds.set(&key(number), hold(number.into()));
        }
        holds.set(&key(2), ScopeHold::default());
        holds.set(&key(3), hold(33));
        holds.set(&key(4), hold(4));
        let left = |holds: &Holds| -> Vec<u64> {
            let found = (1..=6).filter_map(|number| holds.find(&key(number)));
            found.map(|hold| hold.amount_minor).collect()
        };
        assert_eq!(left(&holds), [33, 4]);
        holds.set(&key(5), hold(5));
        holds.set(&key(6), hold(6));
        assert_eq!(left(&holds), [4, 5, 6]);
    }
}

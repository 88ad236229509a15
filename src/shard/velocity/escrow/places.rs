//! Where a key of 128 bits is kept: a map to places of a table of fixed size, by chains.
//!
//! Keys are keyed digests, so nobody outside can choose which of them share a chain. Not here: what
//! lies at a place, and which place a new key gets.

const NONE: u32 = u32::MAX;
/// In `next`: nothing is here.
const FREE: u32 = u32::MAX - 1;

/// Which key is at which place.
pub(super) struct Places {
    keys: Vec<[u8; 16]>,
    next: Vec<u32>,
    buckets: Vec<u32>,
}

/// Memory of one place.
pub(super) const PLACE_BYTES: usize = 16 + 4 + 8;

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            keys: vec![[0; 16]; count],
            next: vec![FREE; count],
            buckets: vec![NONE; count.next_power_of_two().max(1)],
        }
    }

    pub(super) fn count(&self) -> usize {
        self.keys.len()
    }

    #[inline]
    fn bucket(&self, key: &[u8; 16]) -> usize {
        let [.., a, b, c, d] = *key;
        // The number of buckets is a power of two.
        u32::from_le_bytes([a, b, c, d]) as usize & (self.buckets.len() - 1)
    }

    #[inline]
    pub(super) fn find(&self, key: &[u8; 16]) -> Option<u32> {
        let mut place = self.buckets.get(self.bucket(key)).copied()?;
        while let Some(own) = self.keys.get(place as usize) {
            if own == key {
                return Some(place);
            }
            place = self.next.get(place as usize).copied()?;
        }
        None
    }

    /// The key at a place, if there is one.
    pub(super) fn key(&self, place: u32) -> Option<[u8; 16]> {
        let held = self.next.get(place as usize).is_some_and(|&next| next != FREE);
        if held { self.keys.get(place as usize).copied() } else { None }
    }

    /// Puts a key, which is nowhere yet, at a free place.
    pub(super) fn put(&mut self, key: [u8; 16], place: u32) {
        assert!(self.key(place).is_none(), "Invariant: a place has one key");
        let bucket = self.bucket(&key);
        self.next[place as usize] = core::mem::replace(&mut self.buckets[bucket], place);
        self.keys[place as usize] = key;
    }

    /// Frees a place.
    pub(super) fn free(&mut self, place: u32) {
        let Some(key) = self.key(place) else { return };
        let bucket = self.bucket(&key);
        let after = core::mem::replace(&mut self.next[place as usize], FREE);
        let mut at = self.buckets[bucket];
        if at == place {
            self.buckets[bucket] = after;
            return;
        }
        while let Some(next) = self.next.get_mut(at as usize) {
            if *next == place {
                *next = after;
                return;
            }
            at = *next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn keys_are_found_where_they_were_put(
            steps in prop::collection::vec((any::<bool>(), 0..40u8, 0..16u32), 1..300),
        ) {
            let mut places = Places::new(16);
            let mut model = BTreeMap::new();
            for (put, key, place) in steps {
                let key = [key % 3, key, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, key % 3, 0, 0, 0];
                let taken = model.values().any(|&other| other == place);
                if put && !taken && !model.contains_key(&key) {
                    places.put(key, place);
                    model.insert(key, place);
                } else if !put {
                    places.free(place);
                    model.retain(|_, other| *other != place);
                }
                for key in 0..40 {
                    let key = [key % 3, key, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, key % 3, 0, 0, 0];
                    prop_assert_eq!(places.find(&key), model.get(&key).copied());
                }
            }
        }
    }
}

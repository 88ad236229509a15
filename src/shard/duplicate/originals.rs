//! Originals, one after another in a ring of entries of one size, with an index of their own; the
//! oldest goes first. They outlast the answers: a reversal comes later than a repeat.
//!
//! An entry has twelve of the sixteen bytes of its key: 96 bits of a keyed digest, which no peer can
//! choose and of which two requests share none.
//!
//! Not here: what an original is (`original`), and whether a request needs one.

use super::index::{Index, Place};
use super::key::DuplicateKey;
use super::original::{ORIGINAL_BYTES, OriginalRecord, is_answered_again, mark_answered_again};
use super::scan::within;
use crate::memory::prefault;
use crate::shard::velocity::prefetch;

/// What names an original: the greater part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OriginalKey(pub [u8; 12]);

impl OriginalKey {
    /// Of no request that is known.
    pub const UNKNOWN: Self = Self([0; 12]);

    /// Of the request with this key.
    #[inline]
    #[must_use]
    pub fn of(key: &DuplicateKey) -> Self {
        let [_, _, _, _, image @ ..] = key.0;
        Self(image)
    }

    /// The same as the request's own.
    #[inline]
    pub(super) fn hash(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }
}

const KEY_BYTES: usize = 12;
/// Bytes of an original in the ring.
pub(super) const ENTRY_BYTES: usize = KEY_BYTES + ORIGINAL_BYTES;
/// Bytes of the index for each: it is at most half full.
const INDEX_BYTES: usize = 2 * 8;

/// Evictions between asking for an entry's slot of the index, or for its key, and needing it.
const SLOTS_AHEAD: u64 = 4;
/// See [`SLOTS_AHEAD`].
const KEYS_AHEAD: u64 = 12;

/// A key and a record.
type Entry = [u8; ENTRY_BYTES];

pub(super) struct Originals {
    index: Index,
    entries: Box<[Entry]>,
    /// Number of the oldest entry, and of the next one: all that ever were are counted.
    first: u64,
    next: u64,
    live: usize,
    evictions: u64,
}

impl Originals {
    /// How many fit into so many bytes.
    pub(super) const fn count_in(bytes: usize) -> usize {
        bytes / (ENTRY_BYTES + INDEX_BYTES)
    }

    /// Bytes that so many take.
    pub(super) const fn bytes_for(count: u64) -> u64 {
        count * (ENTRY_BYTES + INDEX_BYTES) as u64
    }

    pub(super) fn new(bytes: usize) -> Self {
        let count = Self::count_in(bytes).max(1);
        let mut entries = vec![[0; ENTRY_BYTES]; count].into_boxed_slice();
        prefault(&mut entries);
        Self { index: Index::new(2 * count), entries, first: 0, next: 0, live: 0, evictions: 0 }
    }

    #[inline]
    pub(super) fn prefetch(&self, key: OriginalKey) {
        self.index.prefetch(key.hash());
    }

    /// Where the original with this key is.
    #[inline]
    pub(super) fn find(&self, key: OriginalKey) -> Option<u32> {
        let slot = self.slot(key).ok()?;
        match self.index.place(slot) {
            Place::Answered(at) => Some(at),
            Place::InFlight(_) => None,
        }
    }

    #[inline]
    pub(super) fn record(&self, at: u32) -> OriginalRecord {
        let bytes = self.entries[at as usize].last_chunk();
        OriginalRecord::decode(bytes.expect("Invariant: an entry ends with its record"))
    }

    #[inline]
    pub(super) fn set_record(&mut self, at: u32, record: &OriginalRecord) {
        if let Some(out) = self.entries[at as usize].last_chunk_mut() {
            record.encode(out);
        }
    }

    /// Its approval is handed out once more.
    pub(super) fn mark_answered_again(&mut self, at: u32) {
        if let Some(record) = self.entries[at as usize].last_chunk_mut() {
            mark_answered_again(record);
        }
    }

    /// Whether its approval was handed out more than once.
    pub(super) fn is_answered_again(&self, at: u32) -> bool {
        self.entries[at as usize].last_chunk().is_some_and(is_answered_again)
    }

    /// Adds an original, or changes the one with this key where it is.
    #[inline]
    pub(super) fn put(&mut self, key: OriginalKey, record: &OriginalRecord) {
        if let Some(at) = self.find(key) {
            return self.set_record(at, record);
        }
        if self.next - self.first == self.entries.len() as u64 {
            self.evict_oldest();
        }
        let at = self.place_of(self.next);
        self.entries[at as usize][..KEY_BYTES].copy_from_slice(&key.0);
        self.set_record(at, record);
        // The entry just added is not in the index yet.
        if let Err(slot) = self.slot(key) {
            self.index.insert(slot, key.hash(), Place::Answered(at));
            self.live += 1;
        }
        self.next += 1;
    }

    /// Forgets one; its bytes are used again when its turn comes.
    pub(super) fn remove(&mut self, key: OriginalKey) {
        if let Ok(slot) = self.slot(key) {
            self.index.remove(slot);
            self.live -= 1;
        }
    }

    /// Originals that are remembered.
    pub(super) fn len(&self) -> usize {
        self.live
    }

    /// Those that were given up to make room.
    pub(super) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Numbers of the oldest entry and of the next one.
    pub(super) fn span(&self) -> (u64, u64) {
        (self.first, self.next)
    }

    /// The next entry at or after `number` and before `until` that is still remembered; `number`
    /// moves past what was looked at, as long as `budget` allows.
    pub(super) fn next_live(
        &self,
        number: &mut u64,
        until: u64,
        budget: &mut usize,
    ) -> Option<(OriginalKey, OriginalRecord)> {
        *number = (*number).max(self.first);
        while *number < until.min(self.next) && within(budget, ENTRY_BYTES) {
            let at = self.place_of(*number);
            *number += 1;
            let key = self.key(at);
            if self.find(key) == Some(at) {
                return Some((key, self.record(at)));
            }
        }
        None
    }

    #[inline]
    fn evict_oldest(&mut self) {
        let at = self.place_of(self.first);
        let hash = self.key(at).hash();
        // One that was removed is not in the index any more.
        if let Ok(slot) = self.index.find(hash, |place| place == Place::Answered(at)) {
            self.index.remove(slot);
            self.live -= 1;
            self.evictions += 1;
        }
        self.first += 1;
        // The slots of the next to go are fetched some evictions ahead, their keys before that.
        let soon = self.place_of(self.first + SLOTS_AHEAD);
        self.index.prefetch(self.key(soon).hash());
        prefetch(&self.entries[self.place_of(self.first + KEYS_AHEAD) as usize]);
    }

    #[inline]
    fn slot(&self, key: OriginalKey) -> Result<usize, usize> {
        self.index.find(key.hash(), |place| match place {
            Place::Answered(at) => self.key(at) == key,
            Place::InFlight(_) => false,
        })
    }

    #[inline]
    fn key(&self, at: u32) -> OriginalKey {
        let key = self.entries[at as usize].first_chunk();
        OriginalKey(*key.expect("Invariant: an entry begins with its key"))
    }

    #[inline]
    fn place_of(&self, number: u64) -> u32 {
        (number % self.entries.len() as u64) as u32
    }

    pub(super) fn assert_invariants(&self) {
        let held = self.next - self.first;
        assert!(held <= self.entries.len() as u64, "Invariant: the ring holds its entries");
        let mut live = 0;
        for (hash, place) in self.index.assert_invariants() {
            let Place::Answered(at) = place else {
                panic!("Invariant: an original is in flight nowhere");
            };
            let count = self.entries.len() as u64;
            let age = (u64::from(at) + count - self.first % count) % count;
            assert!(age < held, "Invariant: an original is in the ring");
            assert_eq!(self.key(at).hash(), hash, "Invariant: the index and its keys agree");
            live += 1;
        }
        assert_eq!(live, self.live, "Invariant: originals are counted");
    }
}

//! Remembers the requests that are in flight and the latest ones that were answered, so that a
//! repeat gets the same answer again and a reversal finds its original.
//!
//! Bounded in bytes, all taken at the start. Answers lie in a ring of bytes, of which the oldest are
//! given up (and counted) to make room; of an answer only what it adds to its request is kept.
//! Originals, which only requests that moved money have (or may have moved it), lie in a ring of
//! their own with a bound of its own, so that they last longer. Requests in flight are never given
//! up.
//!
//! Not here: what is done about a repeat; how an answer is put together again; deadlines.

mod index;
mod key;
mod log;
mod original;
mod originals;
mod scan;

pub use key::{DuplicateHasher, DuplicateKey};
pub(in crate::shard) use original::ORIGINAL_BYTES;
pub use original::{OriginalRecord, OriginalState};
pub use originals::OriginalKey;
pub use scan::{Cursor, ScanEntry, StoredAnswer};

use crate::limits::{DUPLICATES_BYTES_MAX, ORIGINALS_BYTES_MIN, REMEMBERED_BYTES_MAX};
use index::{Index, Place};
use log::{ENTRY_BYTES_MAX, Log, entry_bytes};
use originals::Originals;

/// Bytes that a usual answer adds: DE 38, 39, 15 and a few tags.
const ANSWER_BYTES_USUAL: usize = 26;
/// Bytes that each request that may be in flight takes: its key and fingerprint.
const FLIGHT_BYTES: usize = size_of::<Flight>();
/// Bytes of the index for each entry: it is at most half full.
const INDEX_BYTES: usize = 2 * 8;

/// Key (two words) and fingerprint of a request in flight; a key of zeros is none.
type Flight = [u64; 3];

/// What is known of a key.
#[derive(Clone, PartialEq, Eq)]
pub enum Remembered<'a> {
    /// It is being answered.
    InFlight {
        /// By this pending entry.
        pending: u32,
        /// What it asks.
        fingerprint: u64,
    },
    /// It was answered.
    Answered(Answered<'a>),
}

/// An answered request.
#[derive(Clone, PartialEq, Eq)]
pub struct Answered<'a> {
    /// What it asks; `None` when its answer is forgotten and only its original is remembered.
    pub fingerprint: Option<u64>,
    /// How it ended.
    pub state: OriginalState,
    /// DE 39 of its answer, and of the answer that a repeat gets.
    pub response_code: [u8; 2],
    /// What became of it, unless it moved no money, or that has been forgotten.
    pub original: Option<OriginalRecord>,
    /// What the answer adds to the request, besides DE 39.
    pub answer: &'a [u8],
}

/// How much a memory may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateRoom {
    /// Bytes of answers and requests in flight.
    pub answers_bytes: usize,
    /// Bytes of originals.
    pub originals_bytes: usize,
    /// Requests in flight at most; they get their share of `answers_bytes` first.
    pub pending_max: usize,
}

/// Requests in flight and answered, by key.
pub struct DuplicateMemory {
    index: Index,
    log: Log,
    originals: Originals,
    flights: Box<[Flight]>,
    in_flight: usize,
    answered: usize,
    evictions: u64,
}

/// How the bytes are divided.
struct Division {
    log_bytes: usize,
    index_slots: usize,
}

impl Division {
    fn of(bytes: usize, pending_max: usize) -> Self {
        let shortest = entry_bytes(0);
        let rest = bytes.saturating_sub(pending_max * (FLIGHT_BYTES + INDEX_BYTES));
        let log_bytes = rest / (shortest + INDEX_BYTES) * shortest;
        let index_slots = 2 * (log_bytes / shortest + pending_max);
        Self { log_bytes, index_slots }
    }
}

impl DuplicateMemory {
    /// Takes all the bytes that it may have.
    #[must_use]
    pub fn new(room: DuplicateRoom) -> Self {
        let DuplicateRoom { answers_bytes, originals_bytes, pending_max } = room;
        assert!(
            (Self::bytes_min(pending_max)..=DUPLICATES_BYTES_MAX).contains(&answers_bytes),
            "Invariant: the bytes of the duplicate memory are within their limits"
        );
        assert!(
            (ORIGINALS_BYTES_MIN..=DUPLICATES_BYTES_MAX).contains(&originals_bytes),
            "Invariant: the bytes of originals are within their limits"
        );
        let Division { log_bytes, index_slots } = Division::of(answers_bytes, pending_max);
        Self {
            index: Index::new(index_slots),
            log: Log::new(log_bytes),
            originals: Originals::new(originals_bytes),
            flights: vec![Flight::default(); pending_max].into_boxed_slice(),
            in_flight: 0,
            answered: 0,
            evictions: 0,
        }
    }

    /// Fewest bytes that hold `pending_max` requests in flight and a few answered ones; a
    /// configuration is refused with less.
    #[must_use]
    pub const fn bytes_min(pending_max: usize) -> usize {
        pending_max * (FLIGHT_BYTES + INDEX_BYTES) + 8 * ENTRY_BYTES_MAX
    }

    /// For how long usual requests at this rate are remembered.
    #[must_use]
    pub fn seconds_covered(bytes: usize, pending_max: usize, per_second: f64) -> f64 {
        let entries = Division::of(bytes, pending_max).log_bytes / entry_bytes(ANSWER_BYTES_USUAL);
        entries as f64 / per_second
    }

    /// Asks the processor to fetch where the key would be. Changes nothing.
    #[inline]
    pub fn prefetch(&self, key: &DuplicateKey) {
        self.index.prefetch(key.hash());
        self.originals.prefetch(OriginalKey::of(key));
    }

    /// Fewest bytes that remember so many usual requests: what [`DuplicateMemory::seconds_covered`]
    /// reckons, the other way round.
    #[must_use]
    pub fn bytes_for(answers: u64, pending_max: usize) -> u64 {
        let shortest = entry_bytes(0) as u64;
        let log_bytes = answers * entry_bytes(ANSWER_BYTES_USUAL) as u64;
        let flights = (pending_max * (FLIGHT_BYTES + INDEX_BYTES)) as u64;
        let all = log_bytes.div_ceil(shortest) * (shortest + INDEX_BYTES as u64) + flights;
        all.max(Self::bytes_min(pending_max) as u64)
    }

    /// Originals that so many bytes remember.
    #[must_use]
    pub const fn originals_in(bytes: usize) -> u64 {
        Originals::count_in(bytes) as u64
    }

    /// Bytes that so many originals take.
    #[must_use]
    pub const fn originals_bytes_for(originals: u64) -> u64 {
        Originals::bytes_for(originals)
    }

    /// What is known of a key.
    #[inline]
    #[must_use]
    pub fn lookup(&self, key: &DuplicateKey) -> Option<Remembered<'_>> {
        let original = || {
            let at = self.originals.find(OriginalKey::of(key))?;
            Some(self.originals.record(at))
        };
        let Ok(slot) = self.find(key) else {
            return original().map(|original| {
                Remembered::Answered(Answered {
                    fingerprint: None,
                    state: original.state,
                    response_code: original.response_code,
                    original: Some(original),
                    answer: &[],
                })
            });
        };
        Some(match self.index.place(slot) {
            Place::InFlight(pending) => {
                let [.., fingerprint] = self.flights[pending as usize];
                Remembered::InFlight { pending, fingerprint }
            }
            Place::Answered(at) => {
                let state = self.log.state(at);
                Remembered::Answered(Answered {
                    fingerprint: Some(self.log.fingerprint(at)),
                    state,
                    response_code: self.log.response_code(at),
                    original: if state == OriginalState::Declined { None } else { original() },
                    answer: self.log.answer(at),
                })
            }
        })
    }

    /// A request goes in flight under a pending id that carries no other. False, and nothing is
    /// changed, when the key is remembered already.
    #[inline]
    #[must_use]
    pub fn begin(&mut self, key: &DuplicateKey, fingerprint: u64, pending: u32) -> bool {
        let Err(slot) = self.find(key) else { return false };
        if self.originals.find(OriginalKey::of(key)).is_some() {
            return false;
        }
        let flight = &mut self.flights[pending as usize];
        assert!(flight[..2] == [0, 0], "Invariant: a pending entry carries one request");
        let [low, high] = halves(key);
        *flight = [low, high, fingerprint];
        self.in_flight += 1;
        self.index.insert(slot, key.hash(), Place::InFlight(pending));
        true
    }

    /// A request in flight is answered.
    #[inline]
    pub fn finish(&mut self, key: &DuplicateKey, record: &OriginalRecord, answer: &[u8]) {
        let flight = self.find(key).ok().map(|slot| self.index.place(slot));
        let Some(Place::InFlight(pending)) = flight else {
            panic!("Invariant: a request is in flight until it is answered");
        };
        let [.., fingerprint] = self.flights[pending as usize];
        self.remember(key, fingerprint, record, answer);
    }

    /// A request is answered, whether it was in flight or not. A former answer to the same key is
    /// forgotten.
    #[inline]
    pub fn remember(
        &mut self,
        key: &DuplicateKey,
        fingerprint: u64,
        record: &OriginalRecord,
        answer: &[u8],
    ) {
        let (state, response_code) = (record.state, record.response_code);
        self.originals.prefetch(OriginalKey::of(key));
        self.append_answer(&StoredAnswer { key: *key, fingerprint, state, response_code, answer });
        if state == OriginalState::Declined {
            // Rarely there; a decline after an approval under the same key takes its place.
            self.originals.remove(OriginalKey::of(key));
        } else {
            self.originals.put(OriginalKey::of(key), record);
        }
    }

    #[inline]
    fn append_answer(&mut self, stored: &StoredAnswer<'_>) {
        let (key, answer) = (&stored.key, stored.answer);
        assert!(answer.len() <= REMEMBERED_BYTES_MAX, "Invariant: an answer adds few bytes");
        while !self.log.has_room(answer.len()) {
            self.evict_oldest();
        }
        let at = Place::Answered(self.log.append(stored));
        // The entry just added is not in the index yet, so this finds the former one, if any.
        match self.find(key) {
            Ok(slot) => {
                match self.index.place(slot) {
                    Place::InFlight(pending) => {
                        self.land(pending);
                        self.answered += 1;
                    }
                    Place::Answered(_) => {}
                }
                self.index.set(slot, key.hash(), at);
            }
            Err(slot) => {
                self.answered += 1;
                self.index.insert(slot, key.hash(), at);
            }
        }
    }

    /// A request in flight is forgotten, as if it had never come; other keys stay as they are.
    #[inline]
    pub fn forget(&mut self, key: &DuplicateKey) {
        if let Ok(slot) = self.find(key)
            && let Place::InFlight(pending) = self.index.place(slot)
        {
            self.land(pending);
            self.index.remove(slot);
        }
    }

    /// The stored original of an answered request, to be changed; its answer may be forgotten.
    #[inline]
    pub fn original_mut(&mut self, key: &DuplicateKey) -> Option<StoredOriginal<'_>> {
        let original = self.originals.find(OriginalKey::of(key))?;
        let answer = match self.find(key).map(|slot| self.index.place(slot)) {
            Ok(Place::Answered(at)) => Some(at),
            Ok(Place::InFlight(_)) | Err(_) => None,
        };
        Some(StoredOriginal { memory: self, original, answer })
    }

    /// An approval is handed out once more: that one copy of it finds nobody no longer means that
    /// nobody got it. Known until the original is changed or forgotten, and by this process only.
    pub fn mark_answered_again(&mut self, key: &DuplicateKey) {
        if let Some(at) = self.originals.find(OriginalKey::of(key)) {
            self.originals.mark_answered_again(at);
        }
    }

    /// Whether an approval was handed out more than once.
    #[must_use]
    pub fn is_answered_again(&self, key: &DuplicateKey) -> bool {
        let original = self.originals.find(OriginalKey::of(key));
        original.is_some_and(|at| self.originals.is_answered_again(at))
    }

    /// The same by the part of the key that names it.
    pub fn original_by(&mut self, key: OriginalKey) -> Option<StoredOriginal<'_>> {
        let original = self.originals.find(key)?;
        let is_it = |place| match place {
            Place::Answered(at) => OriginalKey::of(&self.log.key(at)) == key,
            Place::InFlight(_) => false,
        };
        let answer = match self.index.find(key.hash(), is_it).map(|slot| self.index.place(slot)) {
            Ok(Place::Answered(at)) => Some(at),
            Ok(Place::InFlight(_)) | Err(_) => None,
        };
        Some(StoredOriginal { memory: self, original, answer })
    }

    /// Whether an entry of the log is the one that a look-up finds: a later answer to its key takes
    /// its place.
    fn is_current(&self, at: u32) -> bool {
        let hash = self.log.key(at).hash();
        self.index.find(hash, |place| place == Place::Answered(at)).is_ok()
    }

    /// Answered requests that were given up to make room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// Answered requests that are remembered.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.answered
    }

    /// Originals that are remembered.
    #[must_use]
    pub fn originals(&self) -> usize {
        self.originals.len()
    }

    /// Originals that were given up to make room.
    #[must_use]
    pub fn original_evictions(&self) -> u64 {
        self.originals.evictions()
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[inline]
    fn find(&self, key: &DuplicateKey) -> Result<usize, usize> {
        self.index.find(key.hash(), |place| match place {
            Place::InFlight(pending) => self.flights[pending as usize][..2] == halves(key),
            Place::Answered(at) => self.log.key(at) == *key,
        })
    }

    #[inline]
    fn land(&mut self, pending: u32) {
        self.flights[pending as usize] = Flight::default();
        self.in_flight -= 1;
    }

    #[inline]
    fn evict_oldest(&mut self) {
        let oldest = self.log.oldest();
        let (at, key) = oldest.expect("Invariant: an empty log has room for any entry");
        // An entry that a later answer to its key replaced is not in the index any more.
        if let Ok(slot) = self.index.find(key.hash(), |place| place == Place::Answered(at)) {
            self.index.remove(slot);
            self.answered -= 1;
            self.evictions += 1;
        }
        self.log.drop_oldest();
        if let Some((_, next)) = self.log.oldest() {
            self.index.prefetch(next.hash());
        }
    }

    /// Checks every entry; takes as long as reading the whole memory.
    pub fn assert_invariants(&self) {
        self.originals.assert_invariants();
        let (mut answered, mut in_flight) = (0, 0);
        let mut places: Vec<u32> = self.log.places().collect();
        places.sort_unstable();
        for (hash, place) in self.index.assert_invariants() {
            let key = match place {
                Place::InFlight(pending) => {
                    in_flight += 1;
                    let [low, high, _] = self.flights[pending as usize];
                    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
                }
                Place::Answered(at) => {
                    answered += 1;
                    assert!(
                        places.binary_search(&at).is_ok(),
                        "Invariant: an answered request is in the log"
                    );
                    self.log.key(at).0
                }
            };
            assert_eq!(DuplicateKey(key).hash(), hash, "Invariant: the index and its keys agree");
        }
        assert_eq!(answered, self.answered, "Invariant: answered requests are counted");
        assert_eq!(in_flight, self.in_flight, "Invariant: requests in flight are counted");
        let flights = self.flights.iter().filter(|flight| flight[..2] != [0, 0]).count();
        assert_eq!(flights, in_flight, "Invariant: every request in flight is in the index");
    }
}

/// An original in the memory.
pub struct StoredOriginal<'a> {
    memory: &'a mut DuplicateMemory,
    original: u32,
    answer: Option<u32>,
}

impl StoredOriginal<'_> {
    /// As it is.
    #[inline]
    #[must_use]
    pub fn record(&self) -> OriginalRecord {
        self.memory.originals.record(self.original)
    }

    /// As it shall be. With its response code the answer that a repeat gets is changed too.
    #[inline]
    pub fn set_record(&mut self, record: &OriginalRecord) {
        assert!(
            record.state != OriginalState::Declined,
            "Invariant: what has moved money is never a decline"
        );
        self.memory.originals.set_record(self.original, record);
        if let Some(at) = self.answer {
            self.memory.log.set_end(at, record.state, record.response_code);
        }
    }
}

#[inline]
fn halves(key: &DuplicateKey) -> [u64; 2] {
    let number = u128::from_le_bytes(key.0);
    [number as u64, (number >> 64) as u64]
}

#[cfg(test)]
mod tests;

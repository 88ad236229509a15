//! Reading all that is remembered in small steps, while the shard goes on; and one number that says
//! whether two memories hold the same.
//!
//! Every entry has its key and its whole contents, so it does not matter when in between it is read:
//! whatever happens to it later is told again by whoever reads both. Entries added after the scan
//! began are not part of it; those that are given up before their turn are left out.
//!
//! Not here: requests in flight (they are their pending entries); where a scan is written to.

use super::original::{OriginalRecord, OriginalState};
use super::originals::OriginalKey;
use super::{DuplicateKey, DuplicateMemory, ENTRY_BYTES_MAX};
use crate::shard::CardKey;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
pub struct Cursor {
    answer: u64,
    answers_until: u64,
    original: u64,
    originals_until: u64,
}

/// One entry of the memory.
#[derive(Clone, PartialEq, Eq)]
pub enum ScanEntry<'a> {
    /// An answer.
    Answer(StoredAnswer<'a>),
    /// An original.
    Original(OriginalKey, OriginalRecord),
}

/// An answer as it is remembered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoredAnswer<'a> {
    /// Of its request.
    pub key: DuplicateKey,
    /// What the request asks.
    pub fingerprint: u64,
    /// How it ended.
    pub state: OriginalState,
    /// DE 39.
    pub response_code: [u8; 2],
    /// What the answer adds besides.
    pub answer: &'a [u8],
}

/// Takes bytes of a budget; the first entry is always within.
pub(super) fn within(budget: &mut usize, bytes: usize) -> bool {
    let is_within = *budget > 0;
    *budget = budget.saturating_sub(bytes);
    is_within
}

impl DuplicateMemory {
    /// A scan of what is remembered now.
    #[must_use]
    pub fn scan_begin(&self) -> Cursor {
        let (answer, answers_until) = self.log.span();
        let (original, originals_until) = self.originals.span();
        Cursor { answer, answers_until, original, originals_until }
    }

    /// Visits the next entries, answers first and the oldest of each first: about `bytes_max` bytes
    /// of them, at least one. False when there are no more.
    pub fn scan_next(
        &self,
        cursor: &mut Cursor,
        bytes_max: usize,
        visit: &mut impl FnMut(ScanEntry<'_>),
    ) -> bool {
        let mut budget = bytes_max.max(1);
        while let Some(at) = self.log.next_place(&mut cursor.answer, cursor.answers_until) {
            if self.is_current(at) {
                visit(ScanEntry::Answer(self.log.stored(at)));
            }
            within(&mut budget, ENTRY_BYTES_MAX.min(self.log.bytes_of(at)));
            if budget == 0 {
                return true;
            }
        }
        let until = cursor.originals_until;
        let number = &mut cursor.original;
        while let Some((key, record)) = self.originals.next_live(number, until, &mut budget) {
            visit(ScanEntry::Original(key, record));
        }
        budget == 0
    }

    /// The card of an answered request whose original is remembered.
    #[must_use]
    pub fn card_of(&self, key: &DuplicateKey) -> Option<CardKey> {
        let at = self.originals.find(OriginalKey::of(key))?;
        Some(self.originals.record(at).card)
    }

    /// Puts an answer back that a scan visited; what was put back before is older.
    pub fn restore_answer(&mut self, stored: &StoredAnswer<'_>) {
        self.append_answer(stored);
    }

    /// Puts an original back that a scan visited; what was put back before is older.
    pub fn restore_original(&mut self, key: OriginalKey, record: &OriginalRecord) {
        self.originals.put(key, record);
    }

    /// A number drawn from all answers and originals, whatever the order and the places: equal for
    /// memories that hold the same. Takes as long as reading the whole memory.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        let mut sum = 0_u64;
        let mut cursor = self.scan_begin();
        while self.scan_next(&mut cursor, usize::MAX, &mut |entry| {
            sum = sum.wrapping_add(entry.digest());
        }) {}
        sum
    }
}

impl ScanEntry<'_> {
    fn digest(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        match self {
            Self::Answer(stored) => {
                hasher.write(&stored.key.0);
                hasher.write_u64(stored.fingerprint);
                hasher.write_u8(stored.state as u8);
                hasher.write(&stored.response_code);
                hasher.write(stored.answer);
            }
            Self::Original(key, record) => {
                let mut bytes = [0; super::original::ORIGINAL_BYTES];
                record.encode(&mut bytes);
                hasher.write(&key.0);
                hasher.write(&bytes);
            }
        }
        hasher.finish()
    }
}

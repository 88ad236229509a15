//! Answered requests, one after another in a ring of bytes; the oldest goes first.
//!
//! An entry is never split: one that does not fit before the end begins again at the start, and
//! what is left over before the end stays unused for that round.
//!
//! Invariant: entries lie at `head..tail`, or, when wrapped, at `head..end` and `0..tail`.

use super::key::DuplicateKey;
use super::original::{ORIGINAL_BYTES, OriginalRecord};
use crate::limits::REMEMBERED_BYTES_MAX;
use crate::memory::prefault;
use crate::shard::velocity::prefetch;

/// Entries begin at multiples of this; places count in it.
const UNIT: usize = 8;

const KEY: usize = 0;
const FINGERPRINT: usize = KEY + 16;
const RECORD: usize = FINGERPRINT + 8;
const ANSWER_LENGTH: usize = RECORD + ORIGINAL_BYTES;
const ANSWER: usize = ANSWER_LENGTH + 1;

/// Bytes of an entry whose answer adds `answer` bytes.
pub(super) const fn entry_bytes(answer: usize) -> usize {
    (ANSWER + answer).next_multiple_of(UNIT)
}

/// Bytes of the longest entry.
pub(super) const ENTRY_BYTES_MAX: usize = entry_bytes(REMEMBERED_BYTES_MAX);

pub(super) struct Log {
    bytes: Box<[u8]>,
    head: usize,
    tail: usize,
    /// Where entries stop before the ring begins again; only while wrapped.
    end: Option<usize>,
}

impl Log {
    pub(super) fn new(bytes: usize) -> Self {
        assert!(bytes >= ENTRY_BYTES_MAX, "Invariant: the log holds its longest entry");
        let mut bytes = vec![0; bytes / UNIT * UNIT].into_boxed_slice();
        prefault(&mut bytes);
        Self { bytes, head: 0, tail: 0, end: None }
    }

    /// Place and key of the oldest entry.
    #[inline]
    pub(super) fn oldest(&self) -> Option<(u32, DuplicateKey)> {
        let is_empty = self.head == self.tail && self.end.is_none();
        let at = (self.head / UNIT) as u32;
        if is_empty { None } else { Some((at, self.key(at))) }
    }

    /// Forgets the oldest entry.
    #[inline]
    pub(super) fn drop_oldest(&mut self) {
        assert!(self.oldest().is_some(), "Invariant: what is dropped is there");
        self.head += entry_bytes(usize::from(self.bytes[self.head + ANSWER_LENGTH]));
        if self.end == Some(self.head) {
            self.head = 0;
            self.end = None;
        }
        if self.end.is_none() && self.head == self.tail {
            self.head = 0;
            self.tail = 0;
        }
        if let Some(byte) = self.bytes.get(self.head) {
            prefetch(byte);
        }
    }

    /// Whether an entry with such an answer fits without dropping the oldest.
    #[inline]
    pub(super) fn has_room(&mut self, answer: usize) -> bool {
        let needed = entry_bytes(answer);
        if self.end.is_none() && self.bytes.len() - self.tail < needed {
            self.end = Some(self.tail);
            self.tail = 0;
        }
        let limit = if self.end.is_some() { self.head } else { self.bytes.len() };
        limit - self.tail >= needed
    }

    /// Adds an entry, for which there is room.
    #[inline]
    pub(super) fn append(
        &mut self,
        key: &DuplicateKey,
        fingerprint: u64,
        record: &OriginalRecord,
        answer: &[u8],
    ) -> u32 {
        assert!(self.has_room(answer.len()), "Invariant: room is made before an entry is added");
        let at = self.tail;
        self.tail += entry_bytes(answer.len());
        let entry = &mut self.bytes[at..self.tail];
        entry[KEY..FINGERPRINT].copy_from_slice(&key.0);
        entry[FINGERPRINT..RECORD].copy_from_slice(&fingerprint.to_le_bytes());
        if let Some(out) = entry[RECORD..].first_chunk_mut() {
            record.encode(out);
        }
        // At most `REMEMBERED_BYTES_MAX`, or there would have been no room.
        entry[ANSWER_LENGTH] = answer.len() as u8;
        entry[ANSWER..ANSWER + answer.len()].copy_from_slice(answer);
        (at / UNIT) as u32
    }

    #[inline]
    pub(super) fn key(&self, at: u32) -> DuplicateKey {
        DuplicateKey(*self.part(at, KEY))
    }

    #[inline]
    pub(super) fn fingerprint(&self, at: u32) -> u64 {
        u64::from_le_bytes(*self.part(at, FINGERPRINT))
    }

    #[inline]
    pub(super) fn record(&self, at: u32) -> OriginalRecord {
        OriginalRecord::decode(self.part(at, RECORD))
    }

    #[inline]
    pub(super) fn set_record(&mut self, at: u32, record: &OriginalRecord) {
        let start = at as usize * UNIT + RECORD;
        if let Some(out) = self.bytes[start..].first_chunk_mut() {
            record.encode(out);
        }
    }

    #[inline]
    pub(super) fn answer(&self, at: u32) -> &[u8] {
        let [length] = *self.part(at, ANSWER_LENGTH);
        &self.bytes[at as usize * UNIT + ANSWER..][..usize::from(length)]
    }

    #[inline]
    fn part<const N: usize>(&self, at: u32, offset: usize) -> &[u8; N] {
        let part = self.bytes[at as usize * UNIT + offset..].first_chunk();
        part.expect("Invariant: an entry is not split")
    }

    /// Places of all entries, the oldest first.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        let (mut at, mut end) = (self.head, self.end);
        core::iter::from_fn(move || {
            if end == Some(at) {
                (at, end) = (0, None);
            }
            if at == self.tail && end.is_none() {
                return None;
            }
            let place = (at / UNIT) as u32;
            at += entry_bytes(self.answer(place).len());
            Some(place)
        })
    }
}

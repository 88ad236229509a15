//! Answers, one after another in a ring of bytes; the oldest goes first.
//!
//! An entry is never split: one that does not fit before the end begins again at the start, and
//! what is left over before the end stays unused for that round.
//!
//! Invariant: entries lie at `head..tail`, or, when wrapped, at `head..end` and `0..tail`.
//!
//! A position counts bytes since the start of the first lap, so it never goes back.

use super::key::DuplicateKey;
use super::original::OriginalState;
use super::scan::StoredAnswer;
use crate::limits::REMEMBERED_BYTES_MAX;
use crate::memory::prefault;
use crate::shard::velocity::prefetch;

/// Entries begin at multiples of this; places count in it.
const UNIT: usize = 8;

const KEY: usize = 0;
const FINGERPRINT: usize = KEY + 16;
const STATE: usize = FINGERPRINT + 8;
const CODE: usize = STATE + 1;
const ANSWER_LENGTH: usize = CODE + 2;
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
    /// Laps that the tail has finished.
    laps: u64,
}

impl Log {
    pub(super) fn new(bytes: usize) -> Self {
        assert!(bytes >= ENTRY_BYTES_MAX, "Invariant: the log holds its longest entry");
        let mut bytes = vec![0; bytes / UNIT * UNIT].into_boxed_slice();
        prefault(&mut bytes);
        Self { bytes, head: 0, tail: 0, end: None, laps: 0 }
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
            self.laps += 1;
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
            self.laps += 1;
        }
        let limit = if self.end.is_some() { self.head } else { self.bytes.len() };
        limit - self.tail >= needed
    }

    /// Adds an entry, for which there is room.
    #[inline]
    pub(super) fn append(&mut self, stored: &StoredAnswer<'_>) -> u32 {
        let answer = stored.answer;
        assert!(self.has_room(answer.len()), "Invariant: room is made before an entry is added");
        let at = self.tail;
        self.tail += entry_bytes(answer.len());
        let entry = &mut self.bytes[at..self.tail];
        entry[KEY..FINGERPRINT].copy_from_slice(&stored.key.0);
        entry[FINGERPRINT..STATE].copy_from_slice(&stored.fingerprint.to_le_bytes());
        entry[STATE] = stored.state as u8;
        entry[CODE..ANSWER_LENGTH].copy_from_slice(&stored.response_code);
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
    pub(super) fn state(&self, at: u32) -> OriginalState {
        let [state] = *self.part(at, STATE);
        OriginalState::of(state)
    }

    #[inline]
    pub(super) fn response_code(&self, at: u32) -> [u8; 2] {
        *self.part(at, CODE)
    }

    /// How its request ended, and the code that a repeat gets, are otherwise now.
    #[inline]
    pub(super) fn set_end(&mut self, at: u32, state: OriginalState, response_code: [u8; 2]) {
        let start = at as usize * UNIT;
        self.bytes[start + STATE] = state as u8;
        self.bytes[start + CODE..start + ANSWER_LENGTH].copy_from_slice(&response_code);
    }

    /// All of an entry.
    pub(super) fn stored(&self, at: u32) -> StoredAnswer<'_> {
        StoredAnswer {
            key: self.key(at),
            fingerprint: self.fingerprint(at),
            state: self.state(at),
            response_code: self.response_code(at),
            answer: self.answer(at),
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

    /// Bytes of an entry.
    pub(super) fn bytes_of(&self, at: u32) -> usize {
        entry_bytes(self.answer(at).len())
    }

    /// Positions of the oldest entry and of the next one.
    pub(super) fn span(&self) -> (u64, u64) {
        let lap_bytes = self.bytes.len() as u64;
        let head_lap = if self.end.is_some() { self.laps - 1 } else { self.laps };
        let head = head_lap * lap_bytes + self.head as u64;
        (head, self.laps * lap_bytes + self.tail as u64)
    }

    /// The place of the entry at `position`, or of the oldest one when that is gone, if it is
    /// before `until`; `position` moves past it.
    pub(super) fn next_place(&self, position: &mut u64, until: u64) -> Option<u32> {
        let lap_bytes = self.bytes.len() as u64;
        let (head, tail) = self.span();
        *position = (*position).max(head);
        let before_tail = *position < self.laps * lap_bytes;
        if before_tail && self.end.is_some_and(|end| *position % lap_bytes == end as u64) {
            *position = self.laps * lap_bytes;
        }
        if *position >= until.min(tail) {
            return None;
        }
        let place = ((*position % lap_bytes) / UNIT as u64) as u32;
        *position += self.bytes_of(place) as u64;
        Some(place)
    }

    /// Places of all entries, the oldest first.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        let (mut position, until) = self.span();
        core::iter::from_fn(move || self.next_place(&mut position, until))
    }
}

//! An exact cut of the table while it goes on changing: groups are read one after the other, and
//! what a group was is put aside before its first change after the cut, unless it was read already.
//!
//! Not here: where the pieces go.

use crate::limits::VELOCITY_GROUP_LINES;
use core::mem;

/// Bytes put aside at most; a cut that needs more is given up.
const ASIDE_BYTES_MAX: usize = 16 << 20;
/// A cut with more put aside than this must be hurried on.
const ASIDE_BYTES_MANY: usize = ASIDE_BYTES_MAX / 4;
/// Bytes of the table that may be read for each byte that may be written.
const READ_PER_WRITTEN: usize = 2;
/// Words of the map of changed groups that are cleared at once, after a cut was given up.
const CLEARED_AT_ONCE: usize = 512;

/// How far a cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// Groups below this one have been read.
    Reading(usize),
    /// There was more to put aside than there is room for.
    GivenUp,
}

/// One cut at a time.
pub(super) struct Capture {
    state: State,
    /// A bit for each group that was put aside and not read yet.
    changed: Vec<u64>,
    /// From this word of `changed` on a cut that was given up may have left bits.
    dirty_from: usize,
    /// Pieces of groups as they were, and how many of their bytes were read.
    aside: Vec<u8>,
    aside_read: usize,
    groups: usize,
}

/// The cut was given up: more changed meanwhile than could be put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot was given up: more changed meanwhile than could be put aside")]
pub struct SnapshotGivenUp;

impl Capture {
    pub(super) fn new(groups: usize) -> Self {
        Self {
            state: State::Idle,
            changed: Vec::new(),
            dirty_from: usize::MAX,
            aside: Vec::new(),
            aside_read: 0,
            groups,
        }
    }

    /// Makes the cut here.
    pub(super) fn begin(&mut self) {
        if self.changed.is_empty() {
            // Zeroed pages of the kernel: no time is spent here.
            self.changed = vec![0; self.groups.div_ceil(64)];
        }
        while self.clear_some() {}
        self.aside.clear();
        self.aside_read = 0;
        self.state = State::Reading(0);
    }

    pub(super) fn give_up(&mut self) {
        if let State::Reading(next) = mem::replace(&mut self.state, State::Idle) {
            self.dirty_from = next / 64;
        }
        self.aside = Vec::new();
        self.aside_read = 0;
    }

    /// Whether much is put aside and not read.
    pub(super) fn is_behind(&self) -> bool {
        self.aside.len() > ASIDE_BYTES_MANY
    }

    /// Clears some of what a cut that was given up left; false when nothing is left of it.
    pub(super) fn clear_some(&mut self) -> bool {
        let Some(dirty) = self.changed.get_mut(self.dirty_from..) else { return false };
        let some = dirty.len().min(CLEARED_AT_ONCE);
        dirty[..some].fill(0);
        self.dirty_from = if some == dirty.len() { usize::MAX } else { self.dirty_from + some };
        self.dirty_from != usize::MAX
    }

    /// Whether this group must be put aside before it changes.
    #[inline]
    pub(super) fn wants(&self, group: usize) -> bool {
        match self.state {
            State::Idle | State::GivenUp => false,
            State::Reading(next) => {
                let word = self.changed.get(group / 64).copied().unwrap_or_default();
                group >= next && word >> (group % 64) & 1 == 0
            }
        }
    }

    /// Puts a group aside that is wanted.
    #[cold]
    pub(super) fn put_aside(&mut self, group: usize, lines: &[u64], line_words: usize) {
        if self.aside.len() + piece_bytes(lines.len()) > ASIDE_BYTES_MAX {
            self.give_up();
            self.state = State::GivenUp;
            return;
        }
        if let Some(word) = self.changed.get_mut(group / 64) {
            *word |= 1 << (group % 64);
        }
        write_piece(&mut self.aside, group, lines, line_words);
    }

    /// Appends pieces of at most about `bytes_max`, first what was put aside; false when this was
    /// the last.
    pub(super) fn next<'t>(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
        group_of: impl Fn(usize) -> &'t [u64],
        line_words: usize,
    ) -> Result<bool, SnapshotGivenUp> {
        let State::Reading(mut next) = self.state else { return Err(SnapshotGivenUp) };
        let end = out.len() + bytes_max;
        self.read_aside(out, bytes_max, line_words);
        // Groups without cards cost time and no bytes.
        let group_bytes = VELOCITY_GROUP_LINES * line_words * size_of::<u64>();
        let mut visits = (READ_PER_WRITTEN * bytes_max / group_bytes).max(1);
        while next < self.groups && out.len() < end && visits > 0 {
            let (word, bit) = (next / 64, next % 64);
            let changed = self.changed.get_mut(word);
            if let Some(changed) = changed
                && *changed >> bit & 1 != 0
            {
                *changed &= !(1 << bit);
            } else {
                write_piece(out, next, group_of(next), line_words);
            }
            next += 1;
            visits -= 1;
        }
        let is_more = next < self.groups || !self.aside.is_empty();
        self.state = if is_more { State::Reading(next) } else { State::Idle };
        Ok(is_more)
    }

    /// Whole pieces of what was put aside.
    fn read_aside(&mut self, out: &mut Vec<u8>, bytes_max: usize, line_words: usize) {
        let all = self.aside.get(self.aside_read..).unwrap_or_default();
        let mut rest = all;
        while all.len() - rest.len() < bytes_max && read_piece(&mut rest, line_words).is_some() {}
        let read = all.len() - rest.len();
        out.extend_from_slice(all.get(..read).unwrap_or_default());
        self.aside_read += read;
        if self.aside_read == self.aside.len() {
            self.aside.clear();
            self.aside_read = 0;
        }
    }
}

/// A piece is the group's number (32 bits), which lines follow (8 bits), and those lines. Lines
/// without a card are left out, groups without any too.
fn write_piece(out: &mut Vec<u8>, group: usize, lines: &[u64], line_words: usize) {
    let is_held = |line: &[u64]| line.iter().take(2).any(|&word| word != 0);
    let places = || lines.chunks_exact(line_words).enumerate();
    let held = places().filter(|(_, line)| is_held(line)).fold(0u8, |held, (at, _)| held | 1 << at);
    if held == 0 {
        return;
    }
    // A table has fewer than 2^30 groups.
    out.extend_from_slice(&(group as u32).to_le_bytes());
    out.push(held);
    if held.count_ones() as usize * line_words == lines.len() {
        write_words(out, lines);
    } else {
        let held = places().filter(|(at, _)| held & 1 << at != 0);
        held.for_each(|(_, line)| write_words(out, line));
    }
}

/// All words at once: word by word took most of a snapshot's time.
fn write_words(out: &mut Vec<u8>, words: &[u64]) {
    let at = out.len();
    out.resize(at + size_of_val(words), 0);
    let places = out.get_mut(at..).unwrap_or_default().as_chunks_mut().0;
    places.iter_mut().zip(words).for_each(|(place, word)| *place = word.to_le_bytes());
}

/// At most.
fn piece_bytes(group_words: usize) -> usize {
    5 + group_words * 8
}

/// One piece as it was read.
pub(super) struct Piece<'a> {
    pub(super) group: usize,
    held: u8,
    bytes: &'a [u8],
    line_bytes: usize,
}

impl Piece<'_> {
    /// Whether all its lines are among the first `lines` of a group.
    pub(super) fn is_within(&self, lines: usize) -> bool {
        usize::from(self.held) >> lines == 0
    }

    /// The lines with their places in the group.
    pub(super) fn lines(&self, mut visit: impl FnMut(usize, &[u8])) {
        let places = (0..8).filter(|place| self.held & 1 << place != 0);
        places.zip(self.bytes.chunks_exact(self.line_bytes)).for_each(|(at, line)| visit(at, line));
    }
}

/// Takes the next piece off `bytes`; `None` when they are not whole pieces.
pub(super) fn read_piece<'a>(bytes: &mut &'a [u8], line_words: usize) -> Option<Piece<'a>> {
    let (group, rest) = bytes.split_first_chunk()?;
    let (&held, rest) = rest.split_first()?;
    let line_bytes = line_words * 8;
    let (lines, rest) = rest.split_at_checked(held.count_ones() as usize * line_bytes)?;
    *bytes = rest;
    Some(Piece { group: u32::from_le_bytes(*group) as usize, held, bytes: lines, line_bytes })
}

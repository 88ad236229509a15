//! Reads a shard's journal group by group, oldest first, and knows where it ends: at its tail, or
//! at damage.
//!
//! Not here: what is done with the tail (`recovery`).

use super::disk::{Access, Disk, DiskFile, read_full};
use super::error::{JournalError, Trying};
use super::groups::Position;
use super::layout::{BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader, Stamp};
use super::survey::{Listed, look_through, segment_path, survey};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much is read at once, unless a group is larger.
const READ_BYTES: usize = 1 << 20;

/// A segment whose first block was lost.
const LOST_HEADER: &str = "its header is not as it was written, but there are groups after it";

/// The records of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'r> {
    /// LSN of the first of them.
    pub first_lsn: u64,
    /// How many.
    pub count: u32,
    /// Their bytes, as they were appended.
    pub records: &'r [u8],
}

/// Where a journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    /// Where the next group goes; `None`: into a segment to come.
    pub(super) position: Option<Position>,
    pub(super) last_lsn: u64,
    /// Check of the last group.
    pub(super) chain: u32,
    /// Bytes after it that a crash left of a commit.
    pub(super) torn_bytes: u64,
    /// Segments after it, with nothing in them.
    pub(super) unused: Vec<u64>,
}

/// A segment that is being read.
struct Open {
    file: Box<dyn DiskFile>,
    length: u64,
}

/// A stretch of the file in memory.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    start: u64,
    filled: usize,
}

impl Window {
    /// So many bytes from there, or fewer at the file's end.
    fn get(&mut self, file: &dyn DiskFile, offset: u64, length: usize) -> io::Result<&[u8]> {
        let from = offset.wrapping_sub(self.start) as usize;
        if offset < self.start || from.saturating_add(length) > self.filled {
            let wanted = READ_BYTES.min(file.length()? as usize).max(length);
            if wanted > self.bytes.len() {
                self.bytes.resize(wanted, 0);
            }
            self.filled = read_full(file, &mut self.bytes, offset)?;
            self.start = offset;
            return Ok(&self.bytes[..length.min(self.filled)]);
        }
        Ok(&self.bytes[from..from + length])
    }

    fn forget(&mut self) {
        (self.start, self.filled) = (0, 0);
    }
}

/// What stands at a place.
enum Found {
    Group(GroupHeader, u32),
    /// Nothing valid.
    Nothing,
}

/// Reads groups until the tail.
pub struct GroupReader {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    stamp: Stamp,
    segments: Vec<Listed>,
    /// Which of them is read; `None`: there is none to read.
    current: Option<usize>,
    open: Option<Open>,
    window: Window,
    offset: u64,
    /// The first LSN that is wanted.
    from_lsn: u64,
    next_lsn: u64,
    chain: u32,
    tail: Option<Tail>,
    groups: u64,
    /// Where damage was seen once: segment and offset.
    doubted: Option<(u64, u64)>,
}

impl GroupReader {
    /// From the group with record `from_lsn` on, or from the oldest that there is.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: &Path,
        stamp: Stamp,
        from_lsn: Option<u64>,
    ) -> Result<Self, JournalError> {
        let segments = survey(&*disk, folder, &stamp)?;
        let mut reader = Self {
            disk,
            folder: folder.to_owned(),
            stamp,
            current: None,
            open: None,
            window: Window::default(),
            offset: BLOCK_BYTES as u64,
            from_lsn: from_lsn.unwrap_or(0),
            next_lsn: 1,
            chain: 0,
            segments,
            tail: None,
            groups: 0,
            doubted: None,
        };
        let begun = || reader.segments.iter().enumerate().filter(|(_, it)| it.header.is_some());
        let oldest = begun().next();
        let start = match from_lsn {
            None => oldest,
            Some(lsn) => begun().rfind(|(_, it)| it.header.is_some_and(|it| it.first_lsn <= lsn)),
        };
        match (start, oldest) {
            (Some((index, &listed)), _) => reader.enter(index, listed),
            (None, Some((index, &oldest))) => return Err(reader.too_late(index, oldest)?),
            // The headers of all of them may be lost.
            (None, None) => reader.refuse_if_anything_follows(None)?,
        }
        Ok(reader)
    }

    /// The next group; `None` at the tail. Groups that begin before the LSN asked for and reach it
    /// come whole.
    ///
    /// # Errors
    /// Something that was durable is damaged or missing, or cannot be read.
    #[expect(clippy::should_implement_trait, reason = "lends its buffer")]
    pub fn next(&mut self) -> Result<Option<Group<'_>>, JournalError> {
        while self.tail.is_none() {
            match self.look()? {
                Found::Group(header, check) => {
                    let at = self.offset;
                    self.offset += header.padded_bytes();
                    self.next_lsn += u64::from(header.records);
                    self.chain = check;
                    self.groups += 1;
                    if self.next_lsn > self.from_lsn {
                        return self.lend(header, at).map(Some);
                    }
                }
                Found::Nothing => self.leave()?,
            }
        }
        Ok(None)
    }

    /// LSN of the last record read.
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.next_lsn - 1
    }

    /// Groups read.
    #[must_use]
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// Bytes of a commit that a crash left behind the last group; 0 before that is reached.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.tail.as_ref().map_or(0, |tail| tail.torn_bytes)
    }

    pub(super) fn segments(&self) -> &[Listed] {
        &self.segments
    }

    /// Reads what is left, and tells where it ends.
    pub(super) fn into_tail(mut self) -> Result<Tail, JournalError> {
        while self.next()?.is_some() {}
        Ok(self.tail.expect("Invariant: nothing comes after the tail only"))
    }

    fn enter(&mut self, index: usize, listed: Listed) {
        self.current = Some(index);
        self.open = None;
        self.window.forget();
        self.offset = BLOCK_BYTES as u64;
        if let Some(header) = listed.header {
            self.next_lsn = header.first_lsn;
            self.chain = header.chain;
        }
    }

    fn damaged(&self, segment: u64, offset: u64, what: impl Into<String>) -> JournalError {
        let file = segment_path(&self.folder, segment);
        JournalError::Damaged { file, offset, what: what.into() }
    }

    /// The oldest segment that was begun begins after the first LSN that is wanted: those before it
    /// are missing, or have lost their headers.
    fn too_late(&self, index: usize, oldest: Listed) -> Result<JournalError, JournalError> {
        for before in &self.segments[..index] {
            if self.has_groups(before.number)? {
                return Ok(self.damaged(before.number, 0, LOST_HEADER));
            }
        }
        let first = oldest.header.map_or(0, |header| header.first_lsn);
        let what = format!("it begins at LSN {first}, and those before it are missing");
        Ok(self.damaged(oldest.number, 0, what))
    }

    fn listed(&self) -> Option<Listed> {
        self.segments.get(self.current?).copied()
    }

    fn open_current(&mut self, number: u64) -> Result<(), JournalError> {
        if self.open.is_none() {
            let path = segment_path(&self.folder, number);
            let file = self.disk.open(&path, Access::Read).trying("open", &path)?;
            let length = file.length().trying("ask the length of", &path)?;
            self.open = Some(Open { file, length });
        }
        Ok(())
    }

    /// What stands at the present place.
    fn look(&mut self) -> Result<Found, JournalError> {
        let Some(Listed { number, .. }) = self.listed() else { return Ok(Found::Nothing) };
        self.open_current(number)?;
        self.look_there(number).trying("read", &segment_path(&self.folder, number))
    }

    fn look_there(&mut self, number: u64) -> io::Result<Found> {
        let Some(Open { file, length }) = &self.open else { return Ok(Found::Nothing) };
        let room = length.saturating_sub(self.offset);
        let block = self.window.get(&**file, self.offset, GROUP_HEADER_BYTES)?;
        let Some(header) = GroupHeader::read(&self.stamp, block) else { return Ok(Found::Nothing) };
        let continues = header.segment == number
            && header.first_lsn == self.next_lsn
            && header.chain == self.chain
            && header.records > 0
            && header.padded_bytes() <= room;
        if !continues {
            return Ok(Found::Nothing);
        }
        let group = self.window.get(&**file, self.offset, header.padded_bytes() as usize)?;
        Ok(header.check_of(group).map_or(Found::Nothing, |check| Found::Group(header, check)))
    }

    fn lend(&mut self, header: GroupHeader, at: u64) -> Result<Group<'_>, JournalError> {
        let Some(Open { file, .. }) = &self.open else {
            unreachable!("Invariant: a group was just read from it")
        };
        let bytes = GROUP_HEADER_BYTES + header.payload_bytes as usize;
        let group = self.window.get(&**file, at, bytes).trying("read", &self.folder)?;
        let records = group.get(GROUP_HEADER_BYTES..).unwrap_or_default();
        Ok(Group { first_lsn: header.first_lsn, count: header.records, records })
    }

    /// Nothing valid here: on to the next segment if that continues, else this is the tail, or
    /// damage.
    fn leave(&mut self) -> Result<(), JournalError> {
        let Some((current, listed)) = self.current.zip(self.listed()) else {
            self.tail = Some(Tail {
                position: None,
                last_lsn: 0,
                chain: 0,
                torn_bytes: 0,
                unused: self.segments.iter().map(|listed| listed.number).collect(),
            });
            return Ok(());
        };
        let next = self.segments.get(current + 1).copied();
        let continues = next.filter(|next| {
            let follows = |header: super::layout::SegmentHeader| {
                header.first_lsn == self.next_lsn && header.chain == self.chain
            };
            next.number == listed.number + 1 && next.header.is_some_and(follows)
        });
        match continues {
            Some(next) => {
                self.enter(current + 1, next);
                Ok(())
            }
            None => self.end_at(current, listed),
        }
    }

    fn end_at(&mut self, current: usize, listed: Listed) -> Result<(), JournalError> {
        match self.judge(current, listed) {
            // A running process may have written the place, and what follows it, since the place
            // was looked at.
            Err(JournalError::Damaged { .. })
                if self.doubted != Some((listed.number, self.offset)) =>
            {
                self.doubted = Some((listed.number, self.offset));
                self.window.forget();
                self.segments = survey(&*self.disk, &self.folder, &self.stamp)?;
                let again = self.segments.iter().position(|it| it.number == listed.number);
                self.current = again.or(self.current);
                Ok(())
            }
            Err(error) => Err(error),
            Ok(tail) => {
                self.tail = Some(tail);
                Ok(())
            }
        }
    }

    /// The tail, or why it is none.
    fn judge(&self, current: usize, listed: Listed) -> Result<Tail, JournalError> {
        let Some(Open { file, length }) = &self.open else {
            unreachable!("Invariant: the place was looked at")
        };
        let from = self.offset;
        let path = segment_path(&self.folder, listed.number);
        let rest = look_through(&**file, &self.stamp, listed.number, from, self.next_lsn);
        let rest = rest.trying("read", &path)?;
        if let Some(valid_at) = rest.valid_group_at {
            let lsn = self.next_lsn;
            let what = format!("record {lsn} is not as it was written, but offset {valid_at} is");
            return Err(self.damaged(listed.number, from, what));
        }
        self.refuse_if_anything_follows(Some((current, rest.used_to > from)))?;
        let bytes = listed.header.map_or(*length, |header| header.bytes);
        Ok(Tail {
            position: Some(Position { segment: listed.number, offset: from, bytes }),
            last_lsn: self.next_lsn - 1,
            chain: self.chain,
            torn_bytes: rest.used_to.saturating_sub(from),
            unused: self.segments[current + 1..].iter().map(|listed| listed.number).collect(),
        })
    }

    /// Looks for anything valid in the segments after the present one. `after`: which one that is,
    /// and whether it has bytes at the present place.
    fn refuse_if_anything_follows(&self, after: Option<(usize, bool)>) -> Result<(), JournalError> {
        let from = after.map_or(0, |(current, _)| current + 1);
        for (index, later) in self.segments.iter().enumerate().skip(from) {
            if later.header.is_none() && !self.has_groups(later.number)? {
                continue;
            }
            let lsn = self.next_lsn;
            let later_name = super::layout::file_name(later.number, super::layout::SEGMENT_ENDING);
            let current = after.and_then(|(current, has_bytes)| {
                let number = self.segments.get(current)?.number;
                Some((number, has_bytes || index > current + 1 || later.header.is_some()))
            });
            return Err(match current {
                Some((number, _)) if self.is_missing(number + 1) => {
                    let what = format!("it is missing, and {later_name} is there");
                    self.damaged(number + 1, 0, what)
                }
                Some((number, true)) => {
                    let what = format!("record {lsn} is missing, and {later_name} has later ones");
                    self.damaged(number, self.offset, what)
                }
                Some((_, false)) | None => self.damaged(later.number, 0, LOST_HEADER),
            });
        }
        Ok(())
    }

    fn is_missing(&self, number: u64) -> bool {
        self.segments.iter().all(|listed| listed.number != number)
    }

    fn has_groups(&self, number: u64) -> Result<bool, JournalError> {
        let path = segment_path(&self.folder, number);
        let file = self.disk.open(&path, Access::Read).trying("open", &path)?;
        let rest = look_through(&*file, &self.stamp, number, 0, self.next_lsn);
        Ok(rest.trying("read", &path)?.valid_group_at.is_some())
    }
}

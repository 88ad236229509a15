//! What a shard left behind: its snapshots, newest first, the groups after one of them, and the
//! place where it goes on.
//!
//! ```text
//!   next_snapshot()  ── damaged? the one before ──▶ groups(replay_from_lsn) ──▶ resume(reader)
//! ```
//!
//! Not here: what records mean.

use super::aligned::AlignedBuffer;
use super::disk::{Access, Disk, write_full};
use super::error::{JournalError, Trying};
use super::group_reader::{GroupReader, Tail};
use super::groups::Start;
use super::layout::{
    SNAPSHOT_ENDING, SnapshotMark, Stamp, UNFINISHED_ENDING, file_name, number_of,
};
use super::snapshot::SnapshotReader;
use super::survey::segment_path;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros written at once.
const ZERO_BYTES: usize = 1 << 20;

/// A shard's folder while it is read.
pub struct Recovery {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    stamp: Stamp,
    /// Oldest first: the next to try is the last.
    untried: Vec<u64>,
    used: Option<SnapshotMark>,
    rejected: Vec<JournalError>,
}

/// Where a shard's journal goes on.
#[derive(Debug)]
pub struct Resume {
    pub(super) start: Start,
    pub(super) folder: PathBuf,
    /// Number of the next segment.
    pub(super) next_segment: u64,
    pub(super) snapshot: Option<SnapshotMark>,
    has_older_snapshot: bool,
    torn_bytes: u64,
}

impl Resume {
    /// LSN of the last record that is durable.
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.start.last_lsn
    }

    /// Whether the shard was recovered from its own snapshot, and has one before that.
    pub(crate) fn has_two_snapshots(&self) -> bool {
        self.snapshot.is_some() && self.has_older_snapshot
    }

    /// Bytes that a crash left of a commit, and that were cut.
    #[must_use]
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }
}

impl Recovery {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        stamp: Stamp,
    ) -> Result<Self, JournalError> {
        // What is read now must be durable: the kernel may know more than the disk.
        disk.sync_folder(&folder).trying("sync", &folder)?;
        let names = disk.list(&folder).trying("list", &folder)?;
        let mut untried: Vec<u64> =
            names.iter().filter_map(|name| number_of(name, SNAPSHOT_ENDING)).collect();
        untried.sort_unstable();
        Ok(Self { disk, folder, stamp, untried, used: None, rejected: Vec::new() })
    }

    /// The newest snapshot that was not tried yet. When reading it meets damage, ask again: there
    /// is one before it, and the journal reaches back to that.
    ///
    /// # Errors
    /// A snapshot is foreign or cannot be read. Damaged ones are passed over, see
    /// [`Recovery::rejected`].
    pub fn next_snapshot(&mut self) -> Result<Option<SnapshotReader>, JournalError> {
        self.used = None;
        while let Some(lsn) = self.untried.pop() {
            match SnapshotReader::open(&*self.disk, &self.folder, &self.stamp, lsn) {
                Ok(reader) => {
                    self.used = Some(reader.mark());
                    return Ok(Some(reader));
                }
                Err(damaged @ JournalError::Damaged { .. }) => self.rejected.push(damaged),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// How many snapshots were not tried yet.
    pub(crate) fn snapshots(&self) -> usize {
        self.untried.len()
    }

    /// Whether all that was ever recorded is there, so that no snapshot is needed.
    pub(crate) fn has_first_record(&self) -> bool {
        self.groups(1).is_ok()
    }

    /// Snapshots whose first blocks are damaged already: an alarm each.
    #[must_use]
    pub fn rejected(&self) -> &[JournalError] {
        &self.rejected
    }

    /// The groups that hold the records from `from_lsn` on.
    ///
    /// # Errors
    /// Segments are missing, foreign, damaged or cannot be read.
    pub fn groups(&self, from_lsn: u64) -> Result<GroupReader, JournalError> {
        GroupReader::new(Arc::clone(&self.disk), &self.folder, self.stamp, Some(from_lsn))
    }

    /// After the last group was read: cuts the torn tail, deletes what was only prepared, and tells
    /// where to go on.
    ///
    /// # Errors
    /// Groups are left that are damaged, the journal ends before the snapshot that was read last,
    /// or the file system refuses.
    pub fn resume(self, groups: GroupReader) -> Result<Resume, JournalError> {
        let tail = groups.into_tail()?;
        if let Some(mark) = self.used.filter(|mark| mark.lsn > tail.last_lsn) {
            let (lsn, end) = (mark.lsn, tail.last_lsn);
            let what = format!("it reaches LSN {lsn}, and the journal ends at {end}");
            let file = self.folder.join(file_name(lsn, SNAPSHOT_ENDING));
            return Err(JournalError::Damaged { file, offset: 0, what });
        }
        self.cut(&tail)?;
        self.remove_leftovers(&tail)?;
        let start = Start {
            stamp: self.stamp,
            position: tail.position,
            last_lsn: tail.last_lsn,
            chain: tail.chain,
        };
        Ok(Resume {
            start,
            folder: self.folder,
            next_segment: tail.position.map_or(1, |position| position.segment + 1),
            has_older_snapshot: !self.untried.is_empty(),
            snapshot: self.used,
            torn_bytes: tail.torn_bytes,
        })
    }

    fn cut(&self, tail: &Tail) -> Result<(), JournalError> {
        let Some(position) = tail.position.filter(|_| tail.torn_bytes > 0) else { return Ok(()) };
        let path = segment_path(&self.folder, position.segment);
        let file = self.disk.open(&path, Access::ReadWrite).trying("open", &path)?;
        let zeros = AlignedBuffer::new(ZERO_BYTES);
        let end = position.offset + tail.torn_bytes;
        let mut offset = position.offset;
        while offset < end {
            let bytes = (end - offset).min(zeros.len() as u64);
            write_full(&*file, &zeros[..bytes as usize], offset).trying("cut", &path)?;
            offset += bytes;
        }
        file.sync().trying("sync", &path)
    }

    fn remove_leftovers(&self, tail: &Tail) -> Result<(), JournalError> {
        // Newest first: no gap is left when a crash comes in between.
        for &number in tail.unused.iter().rev() {
            self.remove(&segment_path(&self.folder, number))?;
        }
        let names = self.disk.list(&self.folder).trying("list", &self.folder)?;
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED_ENDING)) {
            self.remove(&self.folder.join(name))?;
        }
        self.disk.sync_folder(&self.folder).trying("sync", &self.folder)
    }

    fn remove(&self, path: &Path) -> Result<(), JournalError> {
        self.disk.remove(path).trying("remove", path)
    }
}

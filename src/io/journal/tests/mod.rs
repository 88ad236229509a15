//! The journal on disks that fail: torn writes, flipped bits, errors, crashes at every system call.

mod crashes;
mod damage;
mod disk;
mod fail_stop;
mod generations;
mod live;
mod snapshots;

use super::aligned::AlignedBuffer;
use super::disk::{Access, Disk, write_full};
use super::error::JournalError;
use super::group_reader::GroupReader;
use super::groups::{Commit, Groups, ReadySegment};
use super::layout::Stamp;
use super::recovery::{Recovery, Resume};
use super::stock::prepare;
use super::survey::segment_path;
use disk::TestDisk;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const STAMP: Stamp = Stamp { directory: [7; 16], key_check: [9; 8], shard: 0 };
/// A few groups fill a segment.
const SEGMENT_BYTES: u64 = 32 << 10;
const BUFFER_BYTES: usize = 8 << 10;

fn folder() -> PathBuf {
    PathBuf::from("/d/shard-00")
}

/// A shard that appends and commits on a test disk, without threads.
struct Rig {
    disk: Arc<TestDisk>,
    groups: Groups,
    next_segment: u64,
    /// The bytes of all records, and where in them each LSN's call ends.
    written: Vec<u8>,
    calls: Vec<(u64, usize)>,
}

impl Rig {
    fn new() -> Self {
        let disk = Arc::new(TestDisk::new());
        disk.create_folder(&folder()).unwrap();
        Self::recovered(disk, Vec::new(), Vec::new()).unwrap()
    }

    /// Recovers and checks what was recovered against what was written.
    fn recovered(
        disk: Arc<TestDisk>,
        mut written: Vec<u8>,
        mut calls: Vec<(u64, usize)>,
    ) -> Result<Self, JournalError> {
        let (resume, records) = recover(&disk)?;
        let last = resume.last_lsn();
        let at = match last {
            0 => 0,
            _ => calls.iter().find(|(lsn, _)| *lsn == last).expect("a call is never split").1,
        };
        assert_eq!(records, written[..at], "what is recovered is what was appended");
        written.truncate(at);
        calls.retain(|(lsn, _)| *lsn <= last);
        let groups = Groups::new(&resume.start, BUFFER_BYTES);
        Ok(Self { disk, groups, next_segment: resume.next_segment, written, calls })
    }

    fn append(&mut self, records: &[u8], count: u32) {
        if !self.groups.has_room(records.len(), || true) {
            self.commit().unwrap();
        }
        let lsn = self.groups.append(records, count);
        self.written.extend_from_slice(records);
        self.calls.push((lsn, self.written.len()));
    }

    /// Commits what waits, as the device does it.
    fn commit(&mut self) -> io::Result<()> {
        let number = self.next_segment;
        let mut begins = false;
        let commit = self.groups.seal(|| {
            begins = true;
            Some(ReadySegment { number, bytes: SEGMENT_BYTES })
        });
        let Some(Commit { header, group, bytes, segment, offset }) = commit else { return Ok(()) };
        if begins {
            self.next_segment += 1;
            let zeros = AlignedBuffer::new(4_096);
            prepare(&*self.disk, &folder(), number, SEGMENT_BYTES, &zeros)?;
        }
        let file = self.disk.open(&segment_path(&folder(), segment), Access::ReadWrite)?;
        if let Some(block) = &header {
            write_full(&*file, block, 0)?;
            file.sync()?;
        }
        write_full(&*file, &group[..bytes], offset)?;
        file.sync()?;
        self.groups.on_durable(group, header);
        Ok(())
    }

    /// Groups of 1 to 3 records each until so many segments are begun.
    fn fill(&mut self, segments: u64) {
        let mut round = 0_u32;
        while self.next_segment <= segments || self.groups.segment_room() > SEGMENT_BYTES / 2 {
            round += 1;
            let record: Vec<u8> = (0..700).map(|at| (at as u32 * 31 + round * 7) as u8).collect();
            for _ in 0..=round % 3 {
                self.append(&record[..(100 + 150 * (round as usize % 4))], 1);
            }
            self.commit().unwrap();
        }
    }
}

/// What a start finds: where to go on, and the bytes of all records.
fn recover(disk: &Arc<TestDisk>) -> Result<(Resume, Vec<u8>), JournalError> {
    let recovery = Recovery::new(Arc::clone(disk) as Arc<dyn Disk>, folder(), STAMP)?;
    let mut groups = recovery.groups(1)?;
    let records = read_all(&mut groups)?;
    Ok((recovery.resume(groups)?, records))
}

fn read_all(groups: &mut GroupReader) -> Result<Vec<u8>, JournalError> {
    let (mut records, mut lsn) = (Vec::new(), 1);
    while let Some(group) = groups.next()? {
        assert_eq!(group.first_lsn, lsn, "no record is left out");
        lsn += u64::from(group.count);
        records.extend_from_slice(group.records);
    }
    Ok(records)
}

/// Real files for the length of a test.
pub(super) struct TempFolder(PathBuf);

impl TempFolder {
    pub(super) fn new(name: &str) -> Self {
        let folder = Self::of(name, std::process::id());
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Where that of a process is.
    fn of(name: &str, process: u32) -> PathBuf {
        std::env::temp_dir().join(format!("tapswitch-journal-{name}-{process}"))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

//! Which segments a shard's folder has, by their headers; and whether anything valid follows a
//! place, which tells a torn tail from damage.
//!
//! A group is written only when the one before it is durable. So whatever is valid after a bad
//! place proves that the place was durable once: that is damage. With nothing valid after it, it
//! is the commit that a crash interrupted, which nobody was told of.

use super::disk::{Access, Disk, DiskFile, read_full};
use super::error::{JournalError, Trying};
use super::layout::{
    BLOCK_BYTES, GroupHeader, NotOurs, SEGMENT_ENDING, SegmentHeader, Stamp, file_name, number_of,
};
use std::io;
use std::path::{Path, PathBuf};

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) number: u64,
    /// `None`: not begun, or damaged.
    pub(super) header: Option<SegmentHeader>,
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(file_name(number, SEGMENT_ENDING))
}

/// The segments of a folder, oldest first.
pub(super) fn survey(
    disk: &dyn Disk,
    folder: &Path,
    stamp: &Stamp,
) -> Result<Vec<Listed>, JournalError> {
    let names = disk.list(folder).trying("list", folder)?;
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| number_of(name, SEGMENT_ENDING)).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| look_at(disk, folder, stamp, number)).collect()
}

fn look_at(
    disk: &dyn Disk,
    folder: &Path,
    stamp: &Stamp,
    number: u64,
) -> Result<Listed, JournalError> {
    let path = segment_path(folder, number);
    let file = disk.open(&path, Access::Read).trying("open", &path)?;
    // What is read now must be durable: the page cache may hold more than the disk.
    file.sync().trying("sync", &path)?;
    let mut block = vec![0; BLOCK_BYTES];
    read_full(&*file, &mut block, 0).trying("read", &path)?;
    let header = match SegmentHeader::read(stamp, &block) {
        Ok(header) if header.number == number => Some(header),
        Ok(header) => {
            let what = format!("it is segment {} under another name", header.number);
            return Err(JournalError::Foreign { file: path, what });
        }
        Err(NotOurs::Foreign(what)) => return Err(JournalError::Foreign { file: path, what }),
        Err(NotOurs::Invalid) => None,
    };
    if let Some(header) = header {
        let length = file.length().trying("ask the length of", &path)?;
        if length != header.bytes {
            let what = format!("it has {length} bytes, and was made with {}", header.bytes);
            return Err(JournalError::Damaged { file: path, offset: length, what });
        }
    }
    Ok(Listed { number, header })
}

/// What is in the rest of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// A valid group of that LSN or a higher one begins here.
    pub(super) valid_group_at: Option<u64>,
    /// Where the last block ends that is not all zeros; 0 when all are.
    pub(super) used_to: u64,
}

/// Looks through a segment from `from`, a block's start, for groups from `lsn` on.
pub(super) fn look_through(
    file: &dyn DiskFile,
    stamp: &Stamp,
    segment: u64,
    from: u64,
    lsn: u64,
) -> io::Result<Rest> {
    let mut rest = Rest::default();
    let left = file.length()?.saturating_sub(from).next_multiple_of(BLOCK_BYTES as u64);
    // One more block: a read that does not fill it is the last.
    let mut chunk = vec![0; READ_BYTES.min(left as usize + BLOCK_BYTES)];
    let mut offset = from;
    loop {
        let read = read_full(file, &mut chunk, offset)?;
        for block in chunk[..read].chunks(BLOCK_BYTES) {
            if *block != ZEROS[..block.len()] {
                rest.used_to = offset + BLOCK_BYTES as u64;
                let header = GroupHeader::read(stamp, block);
                let wanted = header.filter(|it| it.segment == segment && it.first_lsn >= lsn);
                if let Some(header) = wanted
                    && rest.valid_group_at.is_none()
                    && is_whole(file, &header, offset)?
                {
                    rest.valid_group_at = Some(offset);
                }
            }
            offset += BLOCK_BYTES as u64;
        }
        if read < chunk.len() {
            return Ok(rest);
        }
    }
}

fn is_whole(file: &dyn DiskFile, header: &GroupHeader, offset: u64) -> io::Result<bool> {
    if header.padded_bytes() > file.length()?.saturating_sub(offset) {
        return Ok(false);
    }
    let mut group = vec![0; header.padded_bytes() as usize];
    let read = read_full(file, &mut group, offset)?;
    Ok(header.check_of(&group[..read]).is_some())
}

//! What may be deleted: snapshots besides the two newest, and the segments that neither needs.
//!
//! Oldest first, so that a crash in between leaves a journal without a gap.

use super::disk::{Access, Disk, read_full};
use super::layout::{
    BLOCK_BYTES, SEGMENT_ENDING, SNAPSHOT_ENDING, SegmentHeader, SnapshotMark, Stamp, file_name,
    number_of,
};
use std::io;
use std::path::Path;

/// Deletes what the `newest` snapshot makes needless. `before` is the good one before it; without
/// one nothing of the journal is deleted.
pub(super) fn retain(
    disk: &dyn Disk,
    folder: &Path,
    stamp: &Stamp,
    newest: SnapshotMark,
    before: Option<SnapshotMark>,
) -> io::Result<()> {
    let names = disk.list(folder)?;
    let mut snapshots: Vec<u64> =
        names.iter().filter_map(|name| number_of(name, SNAPSHOT_ENDING)).collect();
    snapshots.sort_unstable();
    let kept = |lsn: u64| lsn == newest.lsn || before.is_some_and(|before| lsn == before.lsn);
    for lsn in snapshots.into_iter().filter(|lsn| !kept(*lsn)) {
        disk.remove(&folder.join(file_name(lsn, SNAPSHOT_ENDING)))?;
    }
    if let Some(before) = before {
        remove_segments(
            disk,
            folder,
            stamp,
            &names,
            before.replay_from_lsn.min(newest.replay_from_lsn),
        )?;
    }
    disk.sync_folder(folder)
}

/// A segment ends where the next begins: it goes when the next begins early enough.
fn remove_segments(
    disk: &dyn Disk,
    folder: &Path,
    stamp: &Stamp,
    names: &[String],
    replay_from_lsn: u64,
) -> io::Result<()> {
    let mut numbers: Vec<u64> =
        names.iter().filter_map(|name| number_of(name, SEGMENT_ENDING)).collect();
    numbers.sort_unstable();
    let mut block = vec![0; BLOCK_BYTES];
    for pair in numbers.windows(2) {
        let next = disk.open(&folder.join(file_name(pair[1], SEGMENT_ENDING)), Access::Read)?;
        read_full(&*next, &mut block, 0)?;
        match SegmentHeader::read(stamp, &block) {
            Ok(header) if header.first_lsn <= replay_from_lsn => {
                disk.remove(&folder.join(file_name(pair[0], SEGMENT_ENDING)))?;
            }
            // Lies ready and was not begun, or begins too late: what is before it is needed.
            Ok(_) | Err(_) => break,
        }
    }
    Ok(())
}

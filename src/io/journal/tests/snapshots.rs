//! Rows F7 and F8: a crash at any system call of a snapshot leaves the old or the new one; a
//! damaged one is passed over for the one before.

use super::*;
use crate::io::journal::layout::{CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkKind, SnapshotMark};
use crate::io::journal::retention::retain;
use crate::io::journal::snapshot::{SnapshotFile, SnapshotReader};

fn mark(lsn: u64) -> SnapshotMark {
    SnapshotMark { lsn, replay_from_lsn: lsn + 1 }
}

/// A snapshot whose contents tell its LSN.
fn write(disk: &TestDisk, mark: SnapshotMark, before: Option<SnapshotMark>) -> io::Result<()> {
    let mut file = SnapshotFile::create(disk, &folder(), &STAMP, mark)?;
    let mut chunk = AlignedBuffer::new(CHUNK_BYTES);
    chunk[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + 4].copy_from_slice(b"head");
    file.append(ChunkKind::Header, &mut chunk, 4)?;
    for length in [5_000, 9_000, 1] {
        chunk[CHUNK_HEADER_BYTES..].fill(mark.lsn as u8);
        file.append(ChunkKind::Data, &mut chunk, length)?;
    }
    file.finish(disk)?;
    retain(disk, &folder(), &STAMP, mark, before)
}

fn read(mut reader: SnapshotReader) -> Result<u64, JournalError> {
    assert_eq!(reader.header(), b"head");
    let lsn = reader.mark().lsn;
    let mut lengths = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        assert!(chunk.iter().all(|&byte| byte == lsn as u8));
        lengths.push(chunk.len());
    }
    assert_eq!(lengths, [5_000, 9_000, 1]);
    assert!(reader.next_chunk()?.is_none());
    Ok(lsn)
}

/// As a start does it: the newest that can be read to its end.
fn newest(disk: &Arc<TestDisk>) -> Option<(u64, Resume)> {
    let mut recovery = Recovery::new(Arc::clone(disk) as Arc<dyn Disk>, folder(), STAMP).unwrap();
    while let Some(reader) = recovery.next_snapshot().unwrap() {
        let from = reader.mark().replay_from_lsn;
        if let Ok(lsn) = read(reader) {
            let mut groups = recovery.groups(from).unwrap();
            while groups.next().unwrap().is_some() {}
            return Some((lsn, recovery.resume(groups).unwrap()));
        }
    }
    None
}

#[test]
fn a_crash_at_any_system_call_leaves_the_old_or_the_new_snapshot() {
    let mut rig = Rig::new();
    rig.fill(3);
    write(&rig.disk, mark(3), None).unwrap();
    write(&rig.disk, mark(9), Some(mark(3))).unwrap();
    rig.disk.sync_folder(&folder()).unwrap();
    let last = rig.groups.last_lsn();
    let calls = rig.disk.calls();
    let whole = rig.disk.copy();
    write(&whole, mark(last), Some(mark(9))).unwrap();
    let needed = whole.calls() - calls;
    let mut seen = [0, 0];
    for call in 0..=needed {
        for seed in 0..20 {
            let disk = rig.disk.copy();
            disk.crash_at(calls + call);
            let done = write(&disk, mark(last), Some(mark(9)));
            assert!(done.is_err());
            let survivor = Arc::new(disk.survivor(seed));
            let (lsn, resume) = newest(&survivor).expect("never neither");
            assert!(lsn == 9 || lsn == last, "{lsn}");
            assert_eq!(resume.last_lsn(), last, "the journal reaches back to it");
            seen[usize::from(lsn == last)] += 1;
            let left = survivor.list(&folder()).unwrap();
            assert!(left.iter().all(|name| !name.ends_with(".unfinished")), "{left:?}");
        }
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}

#[test]
fn a_damaged_snapshot_is_passed_over_for_the_one_before() {
    let mut rig = Rig::new();
    rig.fill(2);
    write(&rig.disk, mark(2), None).unwrap();
    write(&rig.disk, mark(5), Some(mark(2))).unwrap();
    assert_eq!(newest(&rig.disk).unwrap().0, 5);
    let path = folder().join("00000000000000000005.snapshot");
    let bytes = rig.disk.contents(&path);
    let used = bytes.len() - 4_096 + CHUNK_HEADER_BYTES;
    let mut refused = 0;
    for at in (0..60).chain((4_096..used).step_by(61)) {
        let disk = Arc::new(rig.disk.copy());
        disk.put(&path, at, &[bytes[at] ^ 0x10]);
        match newest(&disk).unwrap().0 {
            2 => refused += 1,
            // Padding is not covered, and not used.
            lsn => assert!(lsn == 5 && bytes[at] == 0, "byte {at}"),
        }
    }
    assert!(refused > 200, "{refused}");
    let short = Arc::new(rig.disk.copy());
    let file = short.create(&path).unwrap();
    write_full(&*file, &bytes[..bytes.len() - 4_096], 0).unwrap();
    assert_eq!(newest(&short).unwrap().0, 2, "it has no end");
}

#[test]
fn two_snapshots_are_kept_and_the_segments_that_they_need() {
    let mut rig = Rig::new();
    rig.fill(4);
    let names = |disk: &TestDisk| {
        let mut names = disk.list(&folder()).unwrap();
        names.sort_unstable();
        names.iter().map(|name| name.trim_start_matches('0').to_owned()).collect::<Vec<_>>()
    };
    let mut before = None;
    for lsn in [1, 2, rig.groups.last_lsn() - 1, rig.groups.last_lsn()] {
        write(&rig.disk, mark(lsn), before).unwrap();
        before = Some(mark(lsn));
        assert_eq!(newest(&rig.disk).unwrap().0, lsn);
    }
    let last = rig.groups.last_lsn();
    let expected =
        ["4.journal".to_owned(), format!("{}.snapshot", last - 1), format!("{last}.snapshot")];
    assert_eq!(names(&rig.disk), expected);
}

#[test]
fn a_snapshot_beyond_the_journal_is_damage() {
    let mut rig = Rig::new();
    rig.fill(1);
    write(&rig.disk, mark(rig.groups.last_lsn() + 1), None).unwrap();
    let disk = Arc::clone(&rig.disk) as Arc<dyn Disk>;
    let mut recovery = Recovery::new(disk, folder(), STAMP).unwrap();
    recovery.next_snapshot().unwrap().unwrap();
    let groups = recovery.groups(1).unwrap();
    let error = recovery.resume(groups).unwrap_err();
    assert!(error.to_string().contains("the journal ends at"), "{error}");
}

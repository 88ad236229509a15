//! Rows F2 and F9: damage before the tail refuses, and names segment and offset; so do files of
//! another directory, shard, version or key.

use super::*;
use crate::io::journal::layout::{BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHeader};

/// Where each group begins and ends (without its padding), by segment.
fn places(disk: &TestDisk, segment: u64) -> Vec<(usize, usize)> {
    let bytes = disk.contents(&segment_path(&folder(), segment));
    let mut places = Vec::new();
    let mut at = BLOCK_BYTES;
    while let Some(header) = bytes.get(at..).and_then(|rest| GroupHeader::read(&STAMP, rest)) {
        places.push((at, at + GROUP_HEADER_BYTES + header.payload_bytes as usize));
        at += header.padded_bytes() as usize;
    }
    places
}

#[test]
fn a_flipped_bit_before_the_tail_refuses_with_segment_and_offset() {
    let mut rig = Rig::new();
    rig.fill(3);
    let (_, all) = recover(&rig.disk).unwrap();
    for segment in 1..=3 {
        let path = segment_path(&folder(), segment);
        let places = places(&rig.disk, segment);
        assert!(places.len() > 2);
        let headers = (0..72).map(|at| (0, at));
        let groups = places.iter().flat_map(|&(from, to)| {
            let payload = (from + GROUP_HEADER_BYTES..to).step_by(97);
            (from..from + GROUP_HEADER_BYTES)
                .chain(payload)
                .chain([to - 1])
                .map(move |at| (from, at))
        });
        for (from, at) in headers.chain(groups) {
            let disk = Arc::new(rig.disk.copy());
            let flipped = disk.contents(&path)[at] ^ (1 << (at % 8));
            disk.put(&path, at, &[flipped]);
            let last = segment == 3 && places.last().unwrap().0 == from;
            match recover(&disk) {
                // What nobody can tell from a commit that a crash interrupted.
                Ok((resume, records)) => {
                    assert!(last, "segment {segment}, byte {at}");
                    assert!(resume.torn_bytes() > 0 && all.starts_with(&records));
                }
                Err(JournalError::Damaged { file, offset, .. }) => {
                    assert!(!last);
                    assert_eq!((file, offset as usize), (path.clone(), from), "byte {at}");
                }
                Err(error) => panic!("segment {segment}, byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn bits_flipped_where_nothing_is_written_harm_nothing() {
    let mut rig = Rig::new();
    rig.fill(2);
    let (_, all) = recover(&rig.disk).unwrap();
    let path = segment_path(&folder(), 1);
    let end = places(&rig.disk, 1).last().unwrap().1;
    for at in (end..SEGMENT_BYTES as usize).step_by(301).chain(100..200) {
        let disk = Arc::new(rig.disk.copy());
        disk.put(&path, at, &[1]);
        assert_eq!(recover(&disk).unwrap().1, all, "byte {at}");
    }
}

#[test]
fn missing_and_short_segments_are_damage() {
    let mut rig = Rig::new();
    rig.fill(3);
    let damaged = |disk: TestDisk| match recover(&Arc::new(disk)) {
        Err(JournalError::Damaged { file, what, .. }) => (file, what),
        other => panic!("{:?}", other.map(|(resume, _)| resume)),
    };
    for (gone, named, said) in
        [(1, 2, "those before it are missing"), (2, 2, "00000000000000000003.journal is there")]
    {
        let disk = rig.disk.copy();
        disk.remove(&segment_path(&folder(), gone)).unwrap();
        let (file, what) = damaged(disk);
        assert_eq!(file, segment_path(&folder(), named));
        assert!(what.contains(said), "{what}");
    }
    let disk = rig.disk.copy();
    let zeros = vec![0; SEGMENT_BYTES as usize];
    disk.put(&segment_path(&folder(), 2), 0, &zeros);
    let (file, what) = damaged(disk);
    assert_eq!(file, segment_path(&folder(), 1), "{what}");
    assert!(what.contains("3.journal has later ones"), "{what}");
}

#[test]
fn files_of_others_are_refused() {
    let mut rig = Rig::new();
    rig.fill(2);
    let others = [
        (Stamp { directory: [8; 16], ..STAMP }, "another data directory"),
        (Stamp { key_check: [8; 8], ..STAMP }, "another card key"),
        (Stamp { shard: 1, ..STAMP }, "written by shard 0"),
    ];
    for (stamp, said) in others {
        let disk = Arc::clone(&rig.disk) as Arc<dyn Disk>;
        let error = GroupReader::new(disk, &folder(), stamp, None).err().unwrap();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.exit_code(), 65);
    }
    let path = segment_path(&folder(), 1);
    let mut block = rig.disk.contents(&path)[..BLOCK_BYTES].to_vec();
    block[8] = 2;
    let check = crc32c::crc32c(&block[..68]).to_le_bytes();
    block[68..72].copy_from_slice(&check);
    rig.disk.put(&path, 0, &block);
    let error = recover(&rig.disk).err().unwrap();
    assert!(error.to_string().contains("format version 2"), "{error}");
    let renamed = rig.disk.copy();
    renamed.rename(&segment_path(&folder(), 2), &segment_path(&folder(), 1)).unwrap();
    let error = recover(&Arc::new(renamed)).err().unwrap();
    assert!(error.to_string().contains("segment 2 under another name"), "{error}");
}

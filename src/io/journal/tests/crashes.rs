//! Rows F1 and F13: after a crash anywhere, what is recovered is a prefix of what was appended,
//! holds all that was durable, and is the same when it is recovered again.

use super::*;
use disk::Draw;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Records of so many bytes together.
    Append(usize, u32),
    Commit,
    /// A commit that is interrupted after so many system calls.
    CrashInCommit(u64, u64),
    /// Between two commits.
    Crash(u64),
    /// During recovery, after so many system calls.
    CrashInRecovery(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..900_usize, 1..4_u32).prop_map(|(bytes, count)| Step::Append(bytes, count)),
        4 => Just(Step::Commit),
        2 => (0..24_u64, any::<u64>()).prop_map(|(calls, seed)| Step::CrashInCommit(calls, seed)),
        1 => any::<u64>().prop_map(Step::Crash),
        1 => (0..8_u64, any::<u64>()).prop_map(|(calls, seed)| Step::CrashInRecovery(calls, seed)),
    ]
}

fn restart(rig: Rig, seed: u64) -> Rig {
    let durable = rig.groups.durable_lsn();
    let disk = Arc::new(rig.disk.survivor(seed));
    let rig = Rig::recovered(disk, rig.written, rig.calls).unwrap();
    assert!(rig.groups.durable_lsn() >= durable, "what was durable is recovered");
    let (again, records) = recover(&rig.disk).unwrap();
    assert_eq!((again.last_lsn(), again.torn_bytes()), (rig.groups.last_lsn(), 0));
    assert_eq!(records, rig.written);
    rig
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_recovered_is_a_prefix_with_all_that_was_durable(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut rig = Rig::new();
        let mut draw = Draw(1);
        for step in steps {
            match step {
                Step::Append(bytes, count) => {
                    let records: Vec<u8> = (0..bytes).map(|_| draw.below(256) as u8).collect();
                    rig.append(&records, count);
                }
                Step::Commit => rig.commit().unwrap(),
                Step::CrashInCommit(calls, seed) => {
                    rig.disk.crash_at(rig.disk.calls() + calls);
                    let _ = rig.commit();
                    rig = restart(rig, seed);
                }
                Step::Crash(seed) => rig = restart(rig, seed),
                Step::CrashInRecovery(calls, seed) => {
                    rig.disk = Arc::new(rig.disk.survivor(seed));
                    rig.disk.crash_at(calls);
                    let _ = recover(&rig.disk);
                    rig = restart(rig, seed ^ 1);
                }
            }
        }
        restart(rig, 5);
    }
}

/// Row F4: a disk that is full while a segment is prepared keeps nothing of it.
#[test]
fn a_full_disk_leaves_no_part_of_a_segment() {
    let mut rig = Rig::new();
    rig.fill(1);
    let (calls, zeros) = (rig.disk.calls(), AlignedBuffer::new(4_096));
    for call in 1..=calls {
        let disk = Arc::new(rig.disk.copy());
        disk.fail_at(calls + call, io::ErrorKind::StorageFull);
        if prepare(&*disk, &folder(), 2, SEGMENT_BYTES, &zeros).is_ok() {
            assert!(call > 10, "a segment takes as many writes");
            return;
        }
        let names = disk.list(&folder()).unwrap();
        assert!(names.iter().all(|name| !name.ends_with(".unfinished")), "{names:?}");
        assert_eq!(recover(&disk).unwrap().1, rig.written);
    }
    panic!("it never succeeded");
}

/// Row F1: a group of eleven sectors, of which any first or last ones reached the disk.
#[test]
fn a_commit_torn_at_any_sector_is_cut() {
    let mut rig = Rig::new();
    rig.fill(2);
    let durable = rig.groups.last_lsn();
    let before = rig.disk.copy();
    rig.append(&[0xa5; 5_000], 3);
    rig.commit().unwrap();
    let path = segment_path(&folder(), 2);
    let (old, new) = (before.contents(&path), rig.disk.contents(&path));
    let start = old.iter().zip(&new).position(|(old, new)| old != new).unwrap() / 4_096 * 4_096;
    let sectors: Vec<_> = (start..start + 8_192).step_by(512).collect();
    for torn in 0..=sectors.len() {
        for (written, whole) in [(&sectors[..torn], torn >= 10), (&sectors[torn..], torn == 0)] {
            let disk = Arc::new(before.copy());
            written.iter().for_each(|&at| disk.put(&path, at, &new[at..at + 512]));
            let (resume, _) = recover(&disk).unwrap();
            assert_eq!(resume.last_lsn(), if whole { durable + 3 } else { durable });
            let nothing =
                whole || written.iter().all(|&at| new[at..at + 512].iter().all(|&b| b == 0));
            assert_eq!(resume.torn_bytes() == 0, nothing, "{torn}");
            let after = disk.contents(&path);
            if !whole {
                assert_eq!(after, old, "the torn bytes are zeros again");
            }
        }
    }
}

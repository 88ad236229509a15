//! Another layout: a crash at any system call leaves the generation before it or the new one, whole.

use super::*;
use crate::io::journal::DataDirectory;

const KEY_CHECK: [u8; 8] = [5; 8];
/// What each shard of the layout before left.
const LEFT: [&[u8]; 2] = [&[7; 9_000], &[8; 5]];

fn open(disk: &Arc<TestDisk>, root: &Path) -> Result<DataDirectory, JournalError> {
    let disk = Arc::clone(disk) as Arc<dyn Disk>;
    DataDirectory::open_on(disk, root, (2, b"before"), KEY_CHECK)
}

/// As a start with another layout does it.
fn carry(disk: &Arc<TestDisk>, root: &Path) -> Result<(), JournalError> {
    let next = open(disk, root)?.next_generation(1, b"now")?;
    for (shard, left) in (0..).zip(LEFT) {
        let mut writer = next.begin_carried(shard)?;
        writer.header(&[shard as u8])?;
        writer.append(left)?;
        writer.finish()?;
    }
    assert_eq!(carried(&next)?, LEFT.map(<[u8]>::to_vec));
    next.recover(0)?;
    next.complete()
}

fn carried(directory: &DataDirectory) -> Result<Vec<Vec<u8>>, JournalError> {
    let mut all = Vec::new();
    for (shard, mut reader) in (0..).zip(directory.carried()?) {
        assert_eq!(reader.header(), [shard]);
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            bytes.extend_from_slice(chunk);
        }
        all.push(bytes);
    }
    Ok(all)
}

#[test]
fn a_crash_at_any_system_call_leaves_one_generation_whole() {
    let temp = TempFolder::new("generations");
    let disk = Arc::new(TestDisk::new());
    let before = *open(&disk, temp.path()).unwrap().identity();
    let calls = disk.calls();
    let whole = Arc::new(disk.copy());
    carry(&whole, temp.path()).unwrap();
    let needed = whole.calls() - calls;
    let mut seen = [0, 0];
    for call in 1..=needed {
        for seed in 0..10 {
            let crashed = Arc::new(disk.copy());
            crashed.crash_at(calls + call);
            let _ = carry(&crashed, temp.path());
            let survivor = Arc::new(crashed.survivor(seed));
            let found = open(&survivor, temp.path()).unwrap();
            let is_new = found.layout() == b"now";
            seen[usize::from(is_new)] += 1;
            if is_new {
                assert_eq!(carried(&found).unwrap(), LEFT.map(<[u8]>::to_vec));
                assert_eq!(found.identity().shards, 1);
            } else {
                assert!(found.layout() == b"before" && *found.identity() == before);
                drop(found);
                carry(&survivor, temp.path()).unwrap();
            }
            let names = survivor.list(temp.path()).unwrap();
            assert_eq!(names, ["generation-0002"], "one is left, call {call}");
        }
    }
    assert!(seen[0] > 20 && seen[1] > 20, "{seen:?}");
}

#[test]
fn what_was_carried_over_is_needed_until_it_is_removed_and_then_missed() {
    let temp = TempFolder::new("carried");
    let disk = Arc::new(TestDisk::new());
    carry(&disk, temp.path()).unwrap();
    let directory = open(&disk, temp.path()).unwrap();
    directory.remove_carried().unwrap();
    directory.remove_carried().unwrap();
    // Whoever asks for it has no snapshot of its own: it would begin with nothing.
    assert!(matches!(directory.carried(), Err(JournalError::Io { .. })));
}

#[test]
fn a_layout_is_damaged_or_as_it_was() {
    let temp = TempFolder::new("layout");
    let disk = Arc::new(TestDisk::new());
    carry(&disk, temp.path()).unwrap();
    let path = temp.path().join("generation-0002/identity");
    let bytes = disk.contents(&path);
    for at in (0..44).chain(4_096..4_096 + 15) {
        let damaged = Arc::new(disk.copy());
        damaged.put(&path, at, &[bytes[at] ^ 0x20]);
        let error = open(&damaged, temp.path()).err().unwrap();
        let told = matches!(error, JournalError::Damaged { .. } | JournalError::Foreign { .. });
        assert!(told, "{at}: {error}");
    }
    let elsewhere = Arc::new(disk.copy());
    elsewhere.rename(&path, &temp.path().join("identity")).unwrap();
    let error = open(&elsewhere, temp.path()).err().unwrap();
    assert!(error.to_string().contains("outside of any generation"), "{error}");
}

//! Scans while the memory goes on, and what is put back from them.

use super::*;
use std::collections::BTreeMap;

/// A memory that holds what a scan of another visits.
fn copy_of(memory: &DuplicateMemory, bytes_max: usize) -> DuplicateMemory {
    let mut copy = DuplicateMemory::new(ROOM);
    let mut cursor = memory.scan_begin();
    let mut steps = 0;
    loop {
        steps += 1;
        let more = memory.scan_next(&mut cursor, bytes_max, &mut |entry| match entry {
            ScanEntry::Answer(stored) => copy.restore_answer(&stored),
            ScanEntry::Original(key, record) => copy.restore_original(key, &record),
        });
        if !more {
            break;
        }
    }
    assert!(bytes_max > 1_000 || steps > 2, "it goes in small steps: {steps}");
    copy
}

#[test]
fn what_a_scan_puts_back_is_the_same_memory() {
    for total in [60_u32, 61, 200] {
        let mut memory = memory();
        for number in 0..total {
            let record = if number % 3 == 0 { declined(number) } else { record(number) };
            let answer = vec![number as u8; (number * 37 % 161) as usize];
            // Every tenth key is answered twice: the former entry is passed over.
            let name = u64::from(number - number % 10 / 9);
            memory.remember(&key(name), u64::from(number), &record, &answer);
        }
        assert!(memory.evictions() > 0 && memory.original_evictions() > 0);
        for bytes_max in [1, 300, usize::MAX] {
            let copy = copy_of(&memory, bytes_max);
            copy.assert_invariants();
            assert_eq!(copy.state_hash(), memory.state_hash(), "{total} {bytes_max}");
            assert_eq!(copy.entries(), memory.entries());
            assert_eq!(copy.originals(), memory.originals());
            for number in 0..u64::from(total) {
                assert!(copy.lookup(&key(number)) == memory.lookup(&key(number)), "{number}");
            }
        }
    }
}

#[test]
fn the_hash_tells_any_difference_and_no_order() {
    let hash = |fill: &dyn Fn(&mut DuplicateMemory)| {
        let mut memory = memory();
        fill(&mut memory);
        memory.state_hash()
    };
    let one = hash(&|memory| {
        memory.remember(&key(1), 1, &record(1), b"a");
        memory.remember(&key(2), 2, &declined(2), b"b");
        assert!(memory.begin(&key(3), 3, 0));
    });
    let other_order = hash(&|memory| {
        assert!(memory.begin(&key(3), 3, 5));
        memory.remember(&key(2), 2, &declined(2), b"b");
        memory.remember(&key(1), 1, &record(1), b"a");
    });
    assert_eq!(one, other_order);
    let without_second = hash(&|memory| {
        memory.remember(&key(1), 1, &record(1), b"a");
    });
    let reversed = hash(&|memory| {
        memory.remember(&key(1), 1, &record(1), b"a");
        memory.remember(&key(2), 2, &declined(2), b"b");
        assert!(memory.begin(&key(3), 3, 0));
        let reversed = OriginalRecord { state: OriginalState::Reversed, ..record(1) };
        memory.original_mut(&key(1)).unwrap().set_record(&reversed);
    });
    assert!(one != without_second && one != reversed && without_second != reversed);
}

/// Between the steps of a scan entries come and the oldest go: all that was there at its beginning
/// and still is when its turn comes is visited, once, and nothing that came later.
#[test]
fn a_scan_goes_on_while_entries_come_and_go() {
    for added_per_step in [0_u64, 1, 2, 3, 7, 40] {
        let mut memory = memory();
        let mut next = 0;
        let mut add = |memory: &mut DuplicateMemory| {
            let answer = vec![1; (next * 53 % 161) as usize];
            memory.remember(&key(next), next, &record(next as u32 % 60), &answer);
            next += 1;
            next
        };
        let mut began = 0;
        for _ in 0..100 {
            began = add(&mut memory);
        }
        let is_answered =
            |memory: &DuplicateMemory, number| answered(memory, &key(number)).is_some();
        let there: Vec<u64> = (0..began).filter(|n| is_answered(&memory, *n)).collect();
        let names: BTreeMap<DuplicateKey, u64> = (0..5_000).map(|n| (key(n), n)).collect();
        let (mut answers, mut originals) = (Vec::new(), 0);
        let mut cursor = memory.scan_begin();
        while memory.scan_next(&mut cursor, 100, &mut |entry| match entry {
            ScanEntry::Answer(stored) => answers.push(names[&stored.key]),
            ScanEntry::Original(..) => originals += 1,
        }) {
            for _ in 0..added_per_step {
                add(&mut memory);
            }
        }
        assert!(answers.is_sorted() && answers.iter().all(|number| there.contains(number)));
        for number in there {
            let missed = !answers.contains(&number) && is_answered(&memory, number);
            assert!(!missed, "{number} with {added_per_step} a step");
        }
        if added_per_step == 0 {
            assert_eq!((answers.len(), originals), (memory.entries(), memory.originals()));
        }
        memory.assert_invariants();
    }
}

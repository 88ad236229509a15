//! The memory by example; `model` has it by random requests.

mod index;
mod keys;
mod model;
mod scans;

use super::*;
use crate::shard::totals::Sort;
use crate::shard::velocity::Reservation;
use crate::shard::{CardKey, IssuerId};

const PENDING_MAX: usize = 8;

/// Room for about ten answers and as many originals.
const ROOM: DuplicateRoom = DuplicateRoom {
    answers_bytes: DuplicateMemory::bytes_min(PENDING_MAX),
    originals_bytes: ORIGINALS_BYTES_MIN,
    pending_max: PENDING_MAX,
};

fn memory() -> DuplicateMemory {
    DuplicateMemory::new(ROOM)
}

fn key(number: u64) -> DuplicateKey {
    DuplicateHasher::new([9; 16]).key_of_parts(
        crate::shard::AcquirerId(1),
        2,
        &[(11, &number.to_le_bytes())],
    )
}

fn record(number: u32) -> OriginalRecord {
    OriginalRecord {
        state: OriginalState::Approved,
        response_code: *b"00",
        issuer: IssuerId((number % 64) as u8),
        card: CardKey([number as u8; 16]),
        amount_minor: u64::from(number) << 16,
        issuer_stan: number,
        issuer_transmission_time: 1_231_235_900 + number % 60,
        reservation: Reservation::default(),
        sort: Sort::Debit,
        voids: None,
    }
}

/// What is known of a key whose answer is remembered.
fn answered<'a>(memory: &'a DuplicateMemory, key: &DuplicateKey) -> Option<Answered<'a>> {
    match memory.lookup(key)? {
        Remembered::Answered(answered) => answered.fingerprint.is_some().then_some(answered),
        Remembered::InFlight { .. } => None,
    }
}

fn declined(number: u32) -> OriginalRecord {
    OriginalRecord { state: OriginalState::Declined, ..record(number) }
}

#[test]
fn a_request_is_in_flight_and_then_answered() {
    let mut memory = memory();
    assert!(memory.lookup(&key(1)).is_none());
    assert!(memory.begin(&key(1), 77, 3));
    assert!(memory.lookup(&key(1)) == Some(Remembered::InFlight { pending: 3, fingerprint: 77 }));
    assert!(!memory.begin(&key(1), 78, 4), "one request a key");
    assert_eq!((memory.in_flight(), memory.entries()), (1, 0));

    memory.finish(&key(1), &record(5), b"auth01");
    let seen = answered(&memory, &key(1)).unwrap();
    assert_eq!((seen.fingerprint, seen.answer), (Some(77), &b"auth01"[..]));
    assert!(seen.original == Some(record(5)));
    assert!(!memory.begin(&key(1), 77, 3));
    assert_eq!((memory.in_flight(), memory.entries()), (0, 1));
    // The pending id is free again.
    assert!(memory.begin(&key(2), 1, 3));
    memory.forget(&key(2));
    assert!(memory.lookup(&key(2)).is_none());
    memory.forget(&key(1));
    assert!(answered(&memory, &key(1)).is_some(), "an answer is not forgotten");
    memory.assert_invariants();
}

#[test]
fn the_oldest_answers_go_first_and_are_counted() {
    let mut memory = memory();
    let mut total = 0;
    while memory.evictions() == 0 {
        memory.remember(&key(total), total, &record(1), &[0; 20]);
        total += 1;
    }
    let kept = memory.entries() as u64;
    assert_eq!(kept + memory.evictions(), total);
    assert!(kept >= 8, "{kept}");
    for _ in 0..1_000 {
        memory.remember(&key(total), total, &record(1), &[0; 20]);
        total += 1;
        let oldest = (0..total).find(|&number| answered(&memory, &key(number)).is_some());
        assert_eq!(oldest, Some(memory.evictions()));
        assert!((oldest.unwrap()..total).all(|number| {
            answered(&memory, &key(number)).is_some_and(|seen| seen.fingerprint == Some(number))
        }));
    }
    assert!(memory.entries() as u64 >= kept - 1);
    memory.assert_invariants();
}

#[test]
fn what_is_in_flight_stays_while_the_log_goes_round() {
    let mut memory = memory();
    for pending in 0..PENDING_MAX as u32 {
        assert!(memory.begin(&key(u64::from(pending)), 1_000 + u64::from(pending), pending));
    }
    for number in 100..10_000 {
        memory.remember(&key(number), number, &record(2), &vec![1; (number % 161) as usize]);
    }
    memory.assert_invariants();
    assert_eq!(memory.in_flight(), PENDING_MAX);
    for pending in 0..PENDING_MAX as u32 {
        let flight = Remembered::InFlight { pending, fingerprint: 1_000 + u64::from(pending) };
        assert!(memory.lookup(&key(u64::from(pending))) == Some(flight));
        memory.finish(&key(u64::from(pending)), &record(pending), &[7; 10]);
        assert!(
            answered(&memory, &key(u64::from(pending))).unwrap().original == Some(record(pending))
        );
    }
    memory.assert_invariants();
}

#[test]
fn a_reversed_original_answers_otherwise() {
    let mut memory = memory();
    assert!(memory.original_mut(&key(1)).is_none());
    assert!(memory.begin(&key(1), 5, 0));
    assert!(memory.original_mut(&key(1)).is_none(), "the pending entry has it");
    memory.finish(&key(1), &record(4), b"auth01");
    memory.remember(&key(2), 6, &record(6), b"auth02");

    let mut stored = memory.original_mut(&key(1)).unwrap();
    let mut changed = stored.record();
    assert!(changed == record(4));
    changed.state = OriginalState::Reversed;
    changed.response_code = *b"98";
    changed.reservation = Reservation::default();
    stored.set_record(&changed);

    let seen = answered(&memory, &key(1)).unwrap();
    assert!(seen.original == Some(changed));
    assert_eq!((seen.fingerprint, seen.answer), (Some(5), &b"auth01"[..]));
    assert!(answered(&memory, &key(2)).unwrap().original == Some(record(6)));
    memory.assert_invariants();
}

#[test]
fn a_later_answer_to_a_key_takes_the_place_of_the_former() {
    let mut memory = memory();
    memory.remember(&key(1), 1, &record(1), b"tombstone");
    memory.remember(&key(1), 2, &record(2), b"answer");
    assert_eq!(memory.entries(), 1);
    let seen = answered(&memory, &key(1)).unwrap();
    assert_eq!((seen.fingerprint, seen.answer), (Some(2), &b"answer"[..]));
    // When the former is reached it is no eviction, and the later one stays.
    let mut number = 10;
    while memory.evictions() == 0 {
        assert!(answered(&memory, &key(1)).is_some());
        memory.remember(&key(number), number, &record(3), &[]);
        number += 1;
    }
    assert!(answered(&memory, &key(1)).is_none());
    assert!(answered(&memory, &key(10)).is_some());
    memory.assert_invariants();
}

#[test]
fn the_bytes_are_the_bytes_asked_for() {
    for (bytes, pending_max) in [(64 << 20, 262_144), (1 << 20, 1_000), (100_000, 1)] {
        let room = DuplicateRoom { answers_bytes: bytes, pending_max, ..ROOM };
        let memory = DuplicateMemory::new(room);
        let Division { log_bytes, index_slots } = Division::of(bytes, pending_max);
        let flights = size_of_val(&*memory.flights);
        let total = log_bytes + index_slots * 8 + flights;
        assert!(total <= bytes && total + 200 > bytes, "{total} of {bytes}");
    }
    // 64 MiB with the most pending requests: 36 MiB of log.
    let covered = DuplicateMemory::seconds_covered(64 << 20, 262_144, 1_000.0);
    assert!((670.0..680.0).contains(&covered), "{covered}");
    assert_eq!(DuplicateMemory::seconds_covered(1_000, 262_144, 1_000.0), 0.0);
    for (answers, pending_max) in [(1_000, 1), (300_000, 65_536), (36_000_000, 262_144)] {
        let bytes = DuplicateMemory::bytes_for(answers, pending_max) as usize;
        let remembered = |bytes| DuplicateMemory::seconds_covered(bytes, pending_max, 1.0) as u64;
        assert_eq!(remembered(bytes), answers);
        assert!(remembered(bytes - entry_bytes(0) - INDEX_BYTES) < answers, "and no fewer bytes");
    }
}

#[test]
#[should_panic(expected = "Invariant: the bytes of the duplicate memory are within their limits")]
fn less_than_the_fewest_bytes_are_no_memory() {
    let answers_bytes = DuplicateMemory::bytes_min(100) - 1;
    let _ = DuplicateMemory::new(DuplicateRoom { answers_bytes, pending_max: 100, ..ROOM });
}

#[test]
fn an_original_outlasts_its_answer() {
    let originals_bytes = 1 << 20;
    let mut memory = DuplicateMemory::new(DuplicateRoom { originals_bytes, ..ROOM });
    memory.remember(&key(1), 5, &record(4), b"auth01");
    memory.remember(&key(2), 6, &declined(4), b"no");
    assert!(answered(&memory, &key(2)).unwrap().original.is_none(), "a decline has none");
    let mut number = 10;
    while answered(&memory, &key(2)).is_some() {
        memory.remember(&key(number), number, &declined(3), &[]);
        number += 1;
    }
    assert!(memory.lookup(&key(2)).is_none());
    let only_original = |original: &OriginalRecord| {
        Some(Remembered::Answered(Answered {
            fingerprint: None,
            state: original.state,
            response_code: original.response_code,
            original: Some(original.clone()),
            answer: &[],
        }))
    };
    assert!(memory.lookup(&key(1)) == only_original(&record(4)));
    assert!(!memory.begin(&key(1), 5, 0), "it is never forwarded again");
    let reversed = OriginalRecord { state: OriginalState::Reversed, ..record(4) };
    memory.original_mut(&key(1)).unwrap().set_record(&reversed);
    assert!(memory.lookup(&key(1)) == only_original(&reversed));
    assert_eq!((memory.originals(), memory.original_evictions()), (1, 0));
    memory.assert_invariants();
}

#[test]
fn an_answer_may_outlast_its_original() {
    let mut memory = DuplicateMemory::new(DuplicateRoom { answers_bytes: 1 << 16, ..ROOM });
    let originals = DuplicateMemory::originals_in(ROOM.originals_bytes);
    assert!(originals >= 8 && DuplicateMemory::originals_bytes_for(originals) <= 1_024);
    for number in 0..=originals {
        memory.remember(&key(number), number, &record(7), b"auth");
    }
    assert_eq!((memory.original_evictions(), memory.originals() as u64), (1, originals));
    let seen = answered(&memory, &key(0)).unwrap();
    assert!(seen.original.is_none() && seen.state == OriginalState::Approved);
    assert!(memory.original_mut(&key(0)).is_none());
    assert!(answered(&memory, &key(1)).unwrap().original.is_some());
    memory.assert_invariants();
}

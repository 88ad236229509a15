//! Random requests against a map of what is known and a queue of what was answered, by age.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const KEYS: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Begin { number: u64, fingerprint: u64 },
    Finish { number: u64, answer: Vec<u8> },
    Remember { number: u64, fingerprint: u64, answer: Vec<u8> },
    Forget { number: u64 },
    Reverse { number: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer = || prop::collection::vec(any::<u8>(), 0..=REMEMBERED_BYTES_MAX);
    let step = prop_oneof![
        4 => (0..KEYS, any::<u64>())
            .prop_map(|(number, fingerprint)| Step::Begin { number, fingerprint }),
        4 => (0..KEYS, answer()).prop_map(|(number, answer)| Step::Finish { number, answer }),
        2 => (0..KEYS, any::<u64>(), answer()).prop_map(|(number, fingerprint, answer)| {
            Step::Remember { number, fingerprint, answer }
        }),
        1 => (0..KEYS).prop_map(|number| Step::Forget { number }),
        1 => (0..KEYS).prop_map(|number| Step::Reverse { number }),
    ];
    prop::collection::vec(step, 1..250)
}

#[derive(Clone)]
enum Known {
    InFlight { pending: u32, fingerprint: u64 },
    Answered { fingerprint: u64, record: OriginalRecord, answer: Vec<u8>, serial: u32 },
}

#[derive(Default)]
struct Model {
    known: BTreeMap<u64, Known>,
    originals: BTreeMap<u64, (u32, OriginalRecord)>,
    /// Key and serial of every original put there, the oldest first.
    ring: VecDeque<(u64, u32)>,
    /// Key, serial and bytes of everything answered and not yet given up, the oldest first.
    log: VecDeque<(u64, u32, usize)>,
    serial: u32,
    evictions: u64,
    /// Serial of the answer that the latest one replaced. Room is made before it is replaced, so
    /// giving it up for that still counts.
    replaced: Option<u32>,
}

impl Model {
    fn free_pending(&self) -> Option<u32> {
        (0..PENDING_MAX as u32).find(|&id| {
            !self
                .known
                .values()
                .any(|known| matches!(known, Known::InFlight { pending, .. } if *pending == id))
        })
    }

    fn answer(&mut self, number: u64, fingerprint: u64, answer: Vec<u8>) -> OriginalRecord {
        self.serial += 1;
        let serial = self.serial;
        // A third moves no money.
        let record = if serial.is_multiple_of(3) { declined(serial) } else { record(serial) };
        self.put_original(number, &record);
        self.log.push_back((number, serial, entry_bytes(answer.len())));
        let known = Known::Answered { fingerprint, record: record.clone(), answer, serial };
        self.replaced = match self.known.insert(number, known) {
            Some(Known::Answered { serial, .. }) => Some(serial),
            Some(Known::InFlight { .. }) | None => None,
        };
        record
    }

    fn put_original(&mut self, number: u64, record: &OriginalRecord) {
        if record.state == OriginalState::Declined {
            self.originals.remove(&number);
        } else if let Some((_, known)) = self.originals.get_mut(&number) {
            *known = record.clone();
        } else {
            if self.ring.len() as u64 == DuplicateMemory::originals_in(ROOM.originals_bytes)
                && let Some((number, serial)) = self.ring.pop_front()
                && self.originals.get(&number).is_some_and(|(of, _)| *of == serial)
            {
                self.originals.remove(&number);
            }
            self.ring.push_back((number, self.serial));
            self.originals.insert(number, (self.serial, record.clone()));
        }
    }

    /// Gives up the oldest until what is left is what the memory has; it must be what it has.
    fn follow(&mut self, memory: &DuplicateMemory, log_bytes: usize) {
        let places = memory.log.places().count();
        while self.log.len() > places {
            // No sooner than needed: an entry and what is lost at the end of the ring.
            let bytes: usize = self.log.iter().map(|(_, _, bytes)| bytes).sum();
            assert!(bytes + ENTRY_BYTES_MAX > log_bytes, "{bytes} of {log_bytes}");
            let Some((number, oldest, _)) = self.log.pop_front() else { continue };
            if let Some(Known::Answered { serial, .. }) = self.known.get(&number)
                && *serial == oldest
            {
                self.known.remove(&number);
                self.evictions += 1;
            } else if self.replaced == Some(oldest) {
                self.evictions += 1;
            }
        }
    }

    fn assert_same(&self, memory: &DuplicateMemory) {
        for number in 0..KEYS {
            let seen = memory.lookup(&key(number));
            let original = self.originals.get(&number).map(|(_, record)| record.clone());
            let without_answer = original.clone().map(|original| {
                let (state, response_code) = (original.state, original.response_code);
                let (fingerprint, answer, original) = (None, &[][..], Some(original));
                let parts = Answered { fingerprint, state, response_code, original, answer };
                Remembered::Answered(parts)
            });
            let with_answer = self.known.get(&number).map(|known| match known {
                Known::InFlight { pending, fingerprint } => {
                    Remembered::InFlight { pending: *pending, fingerprint: *fingerprint }
                }
                Known::Answered { fingerprint, record, answer, .. } => {
                    let (state, response_code) = (record.state, record.response_code);
                    let (fingerprint, original) = (Some(*fingerprint), original.clone());
                    let parts = Answered { fingerprint, state, response_code, original, answer };
                    Remembered::Answered(parts)
                }
            });
            let expected = with_answer.or(without_answer);
            assert!(seen == expected, "{number}");
        }
        assert_eq!(memory.evictions(), self.evictions);
        assert_eq!(memory.entries() + memory.in_flight(), self.known.len());
        assert_eq!(memory.originals(), self.originals.len());
    }
}

fn play(steps: Vec<Step>) {
    let mut memory = memory();
    let log_bytes = Division::of(DuplicateMemory::bytes_min(PENDING_MAX), PENDING_MAX).log_bytes;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Begin { number, fingerprint } => {
                let Some(pending) = model.free_pending() else { continue };
                let is_new =
                    !model.known.contains_key(&number) && !model.originals.contains_key(&number);
                assert_eq!(memory.begin(&key(number), fingerprint, pending), is_new);
                if is_new {
                    model.known.insert(number, Known::InFlight { pending, fingerprint });
                }
            }
            Step::Finish { number, answer } => {
                if let Some(Known::InFlight { fingerprint, .. }) = model.known.get(&number) {
                    let record = model.answer(number, *fingerprint, answer.clone());
                    memory.finish(&key(number), &record, &answer);
                }
            }
            Step::Remember { number, fingerprint, answer } => {
                let record = model.answer(number, fingerprint, answer.clone());
                memory.remember(&key(number), fingerprint, &record, &answer);
            }
            Step::Forget { number } => {
                memory.forget(&key(number));
                if let Some(Known::InFlight { .. }) = model.known.get(&number) {
                    model.known.remove(&number);
                }
            }
            Step::Reverse { number } => {
                let stored = memory.original_mut(&key(number));
                let Some((_, original)) = model.originals.get_mut(&number) else {
                    assert!(stored.is_none());
                    continue;
                };
                original.state = OriginalState::Reversed;
                original.response_code = *b"91";
                stored.unwrap().set_record(original);
                if let Some(Known::Answered { record, .. }) = model.known.get_mut(&number) {
                    *record = original.clone();
                }
            }
        }
        model.follow(&memory, log_bytes);
        model.assert_same(&memory);
    }
    memory.assert_invariants();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 150 } else { 10_000 }))]

    #[test]
    fn the_memory_knows_what_the_model_knows(steps in steps()) {
        play(steps);
    }
}

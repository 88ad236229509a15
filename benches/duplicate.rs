//! What remembering a request costs: its key and fingerprint from a CUPS message, and its way
//! through the duplicate memory.
//!
//! `a request` is everything that one new request does there: it is looked up, begun, finished with
//! an answer of 20 bytes and an original, and what was the oldest of each is given up; 1,024 others are in flight. `small`
//! is a memory that fits the cache, `default` the 64 MiB of the default configuration, already full.
//! `a repeat` is the look-up of one of the answered ones, at random.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;
use tapswitch::shard::duplicate::{
    DuplicateHasher, DuplicateKey, DuplicateMemory, DuplicateRoom, OriginalRecord, OriginalState,
};
use tapswitch::shard::totals::Sort;
use tapswitch::shard::velocity::Reservation;
use tapswitch::shard::{AcquirerId, CardKey, IssuerId};
use tapswitch_protocol::{Dialect, FieldSet, FieldTable, MessageWriter, Mti};

const IN_FLIGHT: usize = 1_024;
/// Data elements that name a request in the CUPS profile.
const CUPS: FieldSet = FieldSet::of(&[7, 11, 32, 33]);

/// Keys as a digest makes them, spread over all bits; what the digest itself costs is measured apart.
fn key(number: u64) -> DuplicateKey {
    let spread = u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    DuplicateKey((spread ^ (spread >> 64)).to_le_bytes())
}

fn record() -> OriginalRecord {
    OriginalRecord {
        state: OriginalState::Approved,
        response_code: *b"00",
        issuer: IssuerId(3),
        card: CardKey([5; 16]),
        amount_minor: 12_500,
        issuer_stan: 123_456,
        issuer_transmission_time: 101_120_000,
        reservation: Reservation::default(),
        sort: Sort::Debit,
        voids: None,
    }
}

/// A memory with requests coming and going, in the order in which they came.
struct Traffic {
    memory: DuplicateMemory,
    record: OriginalRecord,
    next: u64,
    flights: VecDeque<DuplicateKey>,
}

impl Traffic {
    fn new(bytes: usize, pending_max: usize) -> Self {
        let mut this = Self {
            memory: DuplicateMemory::new(DuplicateRoom {
                answers_bytes: bytes,
                originals_bytes: 2 * bytes,
                pending_max,
            }),
            record: record(),
            next: 0,
            flights: VecDeque::with_capacity(IN_FLIGHT + 1),
        };
        while this.memory.evictions().min(this.memory.original_evictions()) < 10_000 {
            this.request();
        }
        this
    }

    fn request(&mut self) {
        let key = key(self.next);
        self.memory.prefetch(&key);
        if self.flights.len() == IN_FLIGHT
            && let Some(oldest) = self.flights.pop_front()
        {
            self.memory.finish(&oldest, &self.record, black_box(&[b'0'; 20]));
        }
        assert!(self.memory.lookup(&key).is_none());
        let pending = self.next % IN_FLIGHT as u64;
        assert!(self.memory.begin(&key, self.next, pending as u32));
        self.flights.push_back(key);
        self.next += 1;
    }
}

fn memory(c: &mut Criterion) {
    let mut group = c.benchmark_group("duplicate");
    for (name, bytes, pending_max) in [("small", 1 << 20, 1_024), ("default", 64 << 20, 262_144)] {
        let mut traffic = Traffic::new(bytes, pending_max);
        group.bench_function(BenchmarkId::new("a request", name), |b| {
            b.iter(|| traffic.request());
        });
        let remembered = traffic.memory.entries() as u64;
        let mut state = 1u64;
        group.bench_function(BenchmarkId::new("a repeat", name), |b| {
            b.iter(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let age = IN_FLIGHT as u64 + 1 + (state >> 33) % remembered;
                let seen = traffic.memory.lookup(&key(traffic.next - age));
                assert!(black_box(seen).is_some());
            });
        });
    }
    group.finish();
}

fn digests(c: &mut Criterion) {
    let mut bytes = [0; 512];
    let dialect = Dialect::cups();
    let contents: [(u8, &[u8]); 7] = [
        (2, b"6216261000000000018"),
        (3, b"000000"),
        (4, b"000000012500"),
        (7, b"0101120000"),
        (11, b"123456"),
        (32, b"48020000"),
        (33, b"48020000"),
    ];
    let mut writer =
        MessageWriter::new(dialect, Mti::FINANCIAL_REQUEST, &mut bytes).expect("there is room");
    for (field, content) in contents {
        writer.put(field, content).expect("the dialect has these fields");
    }
    let written = writer.finish().expect("there is room");
    let mut table = FieldTable::default();
    let view = dialect.parse(&bytes[..written], &mut table).expect("what was written parses");
    let hasher = DuplicateHasher::new([1; 16]);
    c.bench_function("duplicate/key", |b| {
        b.iter(|| hasher.key(AcquirerId(0), 2, CUPS, black_box(&view)));
    });
    c.bench_function("duplicate/fingerprint", |b| {
        let card = CardKey([7; 16]);
        b.iter(|| hasher.fingerprint(Some(&card), black_box(&view)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = memory, digests
}
criterion_main!(benches);

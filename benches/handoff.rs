//! What handing a message over a ring costs: between a shard and its banks on one thread
//! (`bank.threads = 0`), between two threads, and with the bank's own work.
//!
//! Here the ring's queue is chosen: `crossbeam_queue::ArrayQueue`. On one thread it takes about
//! 50 ns there and back, `rtrb` about 12, `std::sync::mpsc` about 53; between two busy threads in
//! batches of 16 `rtrb` is about a third faster. `rtrb` would save a bank transaction 40 ns of some
//! 800 that go through a bank here and some 5,000 that it costs end to end; for that its two ends
//! would be owned by one side each, where now both threads, or one that is both, share the ring by
//! reference and anybody may look at its lengths. When a transaction costs 1 µs, choose again.

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_queue::ArrayQueue;
use rtrb::RingBuffer;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use tapswitch::bank::{BankRing, BankSet, BufferPool, Lane};
use tapswitch::config::{BankBehaviour, BankConfig, BankProducts, CardKind, IinRow, IssuerConfig};
use tapswitch::limits::BANK_RING_SLOTS;
use tapswitch::shard::{AcquirerId, IssuerId, Now};
use tapswitch_protocol::{Dialect, FieldTable};

/// As large as a bank's message: a pointer, a length, two identifiers.
type Message = [u64; 2];

/// How many are handed over at once: about what one read brings on a busy link.
const BATCH: usize = 16;
/// How many messages one measurement streams.
const BLOCK: usize = 4_096;

/// Waits a little; gives the core away when the other thread seems to be without one.
fn pause(waits: &mut u32) {
    *waits += 1;
    if waits.is_multiple_of(4_096) { thread::yield_now() } else { spin_loop() }
}

/// Streams from this thread to another. `push` sends at most so many and says how many it sent;
/// `pop` says how many it took.
fn stream(
    bencher: &mut Bencher<'_>,
    mut push: impl FnMut(usize) -> usize,
    mut pop: impl FnMut() -> usize + Send,
) {
    let taken = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut total, mut waits) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                match pop() {
                    0 => pause(&mut waits),
                    count => {
                        total += count as u64;
                        taken.store(total, Ordering::Release);
                    }
                }
            }
        });
        let mut total = 0;
        bencher.iter(|| {
            let (mut left, mut waits) = (BLOCK, 0);
            while left > 0 {
                match push(left) {
                    0 => pause(&mut waits),
                    count => left -= count,
                }
            }
            total += BLOCK as u64;
            while taken.load(Ordering::Acquire) < total {
                pause(&mut waits);
            }
        });
        stop.store(true, Ordering::Relaxed);
    });
}

/// Two threads, one direction, the receiver busy.
fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handoff/two-threads");
    group.throughput(Throughput::Elements(BLOCK as u64));
    for batch in [1, BATCH] {
        group.bench_function(BenchmarkId::new("ArrayQueue", batch), |bencher| {
            let queue = ArrayQueue::<Message>::new(BANK_RING_SLOTS);
            stream(
                bencher,
                |left| (0..left.min(batch)).take_while(|_| queue.push([7, 7]).is_ok()).count(),
                || (0..batch).map_while(|_| queue.pop().map(black_box)).count(),
            );
        });
    }
    group.bench_function(BenchmarkId::new("rtrb", 1), |bencher| {
        let (mut producer, mut consumer) = RingBuffer::<Message>::new(BANK_RING_SLOTS);
        stream(
            bencher,
            |_| usize::from(producer.push([7, 7]).is_ok()),
            || usize::from(consumer.pop().map(black_box).is_ok()),
        );
    });
    group.bench_function(BenchmarkId::new("rtrb", BATCH), |bencher| {
        let (mut producer, mut consumer) = RingBuffer::<Message>::new(BANK_RING_SLOTS);
        stream(
            bencher,
            |left| {
                let count = left.min(BATCH).min(producer.slots());
                producer
                    .write_chunk_uninit(count)
                    .map_or(0, |chunk| chunk.fill_from_iter((0..count).map(|_| [7, 7])))
            },
            || {
                let count = BATCH.min(consumer.slots());
                consumer
                    .read_chunk(count)
                    .map_or(0, |chunk| chunk.into_iter().map(black_box).count())
            },
        );
    });
    group.bench_function(BenchmarkId::new("std-mpsc", 1), |bencher| {
        let (sender, receiver) = sync_channel::<Message>(BANK_RING_SLOTS);
        stream(
            bencher,
            move |_| usize::from(sender.try_send([7, 7]).is_ok()),
            move || usize::from(receiver.try_recv().map(black_box).is_ok()),
        );
    });
    group.finish();
}

/// One thread that is both ends, as by default: 16 messages there, then 16 back.
fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handoff/one-thread-there-and-back");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("ArrayQueue", |bencher| {
        let there = ArrayQueue::<Message>::new(BANK_RING_SLOTS);
        let back = ArrayQueue::<Message>::new(BANK_RING_SLOTS);
        bencher.iter(|| {
            (0..BATCH).for_each(|_| assert!(there.push(black_box([7, 7])).is_ok()));
            while let Some(message) = there.pop() {
                assert!(back.push(message).is_ok());
            }
            while let Some(message) = back.pop() {
                black_box(message);
            }
        });
    });
    group.bench_function("rtrb", |bencher| {
        let (mut send, mut receive) = RingBuffer::<Message>::new(BANK_RING_SLOTS);
        let (mut send_back, mut receive_back) = RingBuffer::<Message>::new(BANK_RING_SLOTS);
        bencher.iter(|| {
            (0..BATCH).for_each(|_| assert!(send.push(black_box([7, 7])).is_ok()));
            while let Ok(message) = receive.pop() {
                assert!(send_back.push(message).is_ok());
            }
            while let Ok(message) = receive_back.pop() {
                black_box(message);
            }
        });
    });
    group.bench_function("std-mpsc", |bencher| {
        let (send, receive) = sync_channel::<Message>(BANK_RING_SLOTS);
        let (send_back, receive_back) = sync_channel::<Message>(BANK_RING_SLOTS);
        bencher.iter(|| {
            (0..BATCH).for_each(|_| assert!(send.try_send(black_box([7, 7])).is_ok()));
            while let Ok(message) = receive.try_recv() {
                assert!(send_back.try_send(message).is_ok());
            }
            while let Ok(message) = receive_back.try_recv() {
                black_box(message);
            }
        });
    });
    // What a batch pays to know that nobody sleeps.
    group.bench_function("must_wake", |bencher| {
        let lane = Lane::default();
        bencher.iter(|| black_box(&lane).must_wake());
    });
    group.finish();
}

/// Twenty banks that answer at once and decline nothing by chance.
fn banks() -> BankSet {
    let behaviour = BankBehaviour {
        delay_median_us: 0,
        delay_p99_us: 0,
        insufficient_funds_ppm: 0,
        expired_ppm: 0,
        wrong_pin_ppm: 0,
        do_not_honor_ppm: 0,
        unknown_card_ppm: 0,
        silence_ppm: 0,
        late_ppm: 0,
        late_ms: 0,
    };
    let issuers: Vec<_> = (0..20)
        .map(|number| IssuerConfig {
            name: format!("B{number}"),
            in_flight_max: 1_000,
            saf_rate: 1_000,
            marks_repeats: None,
            link: None,
            failover: None,
            intent_first: false,
        })
        .collect();
    let iins: Vec<_> = (0..20)
        .map(|number| IinRow {
            prefix: 621_600 + u32::from(number),
            digits: 6,
            issuer: IssuerId(number),
            kind: CardKind::Debit,
            pan_digits: 19,
        })
        .collect();
    let config = BankConfig {
        threads: 0,
        cores: Vec::new(),
        seed: 1,
        accounts_max: 1 << 20,
        balance_minor: (1_000_000_000, 2_000_000_000),
        credit_line_minor: (1, 1),
        products: BankProducts::NONE,
        behaviour: vec![behaviour; issuers.len()],
    };
    BankSet::of(&config, &issuers, &iins, vec![Dialect::cups()])
}

/// A phone's purchase, to be changed in place: each time another card, trace number and reference.
struct Purchases {
    bytes: Vec<u8>,
    pan: std::ops::Range<usize>,
    track_pan: std::ops::Range<usize>,
    stan: std::ops::Range<usize>,
    rrn: std::ops::Range<usize>,
    sent: u64,
    cards: u64,
}

fn write_digits(out: &mut [u8], mut number: u64) {
    for byte in out.iter_mut().rev() {
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl Purchases {
    fn new(cards: u64) -> Self {
        let lines = include_str!("../src/bank/tests/cups_requests.txt");
        let line = lines.lines().find_map(|line| line.strip_prefix("c-0200-nfc-nopin "));
        let hex = line.expect("the vector is there").as_bytes();
        let byte = |pair: &[u8]| {
            let text = std::str::from_utf8(pair).expect("hexadecimal");
            u8::from_str_radix(text, 16).expect("hexadecimal")
        };
        let bytes: Vec<u8> = hex.chunks(2).map(byte).collect();
        let mut table = FieldTable::default();
        let view = Dialect::cups().parse(&bytes, &mut table).expect("a vector");
        let range = |field| view.range(field).expect("a field of the vector");
        let (pan, track, stan, rrn) = (range(2), range(35), range(11), range(37));
        let track_pan = track.start..track.start + pan.len();
        Self { pan, track_pan, stan, rrn, bytes, sent: 0, cards }
    }

    /// The next purchase, and whose card it is.
    fn next(&mut self) -> (IssuerId, &[u8]) {
        self.sent += 1;
        let card = self.sent.wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.cards;
        let issuer = card % 20;
        let pan = 6_216_000_000_000_000_000 + issuer * 10_000_000_000_000 + card;
        for range in [self.pan.clone(), self.track_pan.clone()] {
            write_digits(&mut self.bytes[range], pan);
        }
        write_digits(&mut self.bytes[self.stan.clone()], self.sent % 1_000_000);
        write_digits(&mut self.bytes[self.rrn.clone()], self.sent);
        (IssuerId(issuer as u8), &self.bytes)
    }
}

/// A purchase with chip data there, decided, and back: copying it onto the ring, decoding,
/// account, books, encoding, and taking the buffer back. Preparing the request is measured alone.
fn through_a_bank(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handoff/through-a-bank");
    group.throughput(Throughput::Elements(BATCH as u64));
    for cards in [1_000u64, 10_000_000] {
        // Made once: a sample must not begin with tables that the kernel has yet to commit.
        let (mut banks, ring) = (banks(), BankRing::new());
        let mut pool = BufferPool::new(BATCH);
        let mut purchases = Purchases::new(cards);
        let mut there_and_back = || {
            for _ in 0..BATCH {
                let (issuer, bytes) = purchases.next();
                let sent = ring.try_send(&mut pool, issuer, AcquirerId(0), bytes);
                assert!(sent.is_ok(), "there is a buffer");
            }
            let now = Now { mono_ns: purchases.sent, wall_ms: 0 };
            assert_eq!(banks.poll(now, &ring, BATCH), BATCH);
            while let Some(message) = ring.from_bank.receive() {
                black_box(message.bytes());
                pool.give(message);
            }
        };
        (0..2_000).for_each(|_| there_and_back());
        group.bench_function(BenchmarkId::new("purchase", cards), |bencher| {
            bencher.iter(&mut there_and_back);
        });
        let approved: u64 =
            banks.ledgers().iter().map(|(_, ledger)| ledger.flows.approved.count).sum();
        // A trace number comes again after a million purchases and may meet its old card.
        assert!(approved * 100 >= purchases.sent * 99, "{approved} of {}", purchases.sent);
    }
    group.bench_function("the-request-alone", |bencher| {
        let mut purchases = Purchases::new(10_000_000);
        bencher.iter(|| {
            for _ in 0..BATCH {
                black_box(purchases.next());
            }
        });
    });
    group.finish();
}

criterion_group!(handoff, one_thread, two_threads, through_a_bank);
criterion_main!(handoff);

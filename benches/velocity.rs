//! What the limits of a card cost a transaction.
//!
//! `in cache` is a merchant's regulars: 1,000 cards that come again and again. `out of cache` is a
//! wallet: ten million cards at random in a table of 16 million lines (1 GiB), each of which costs a
//! miss of the cache and of the address translation; in the switch the lines of a batch are
//! prefetched while its messages are parsed, which `prefetched` stands for. A step is one
//! transaction reserved with three rules and released again, so that the table stays as it is.

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use tapswitch::config::{VelocityCondition, VelocityConfig, VelocityRule};
use tapswitch::shard::CardKey;
use tapswitch::shard::card_cipher::CardCipher;
use tapswitch::shard::velocity::{Velocity, VelocityTransaction};
use tapswitch_protocol::Pan;

/// 2026-01-01 00:00 UTC.
const NOW_MS: u64 = 1_767_225_600_000;
const BATCH: usize = 16;
const PURCHASE: VelocityTransaction =
    VelocityTransaction { amount_minor: 12_500, mcc: 5_411, entry_mode: 7, transaction_type: 0 };

fn rule(count_max: u32, amount_minor_max: u64, window_s: u32, sub_windows: u8) -> VelocityRule {
    VelocityRule {
        name: format!("{window_s} s"),
        when: VelocityCondition::default(),
        count_max: Some(count_max),
        amount_minor_max: Some(amount_minor_max),
        window_s,
        sub_windows,
    }
}

/// A day and a month by the calendar and a rolling hour: they fill a line.
fn velocity(lines: usize) -> Velocity {
    let rules = vec![
        rule(200, 5_000_000, 86_400, 0),
        rule(2_000, 50_000_000, 30 * 86_400, 0),
        rule(30, 1_000_000, 3_600, 1),
    ];
    Velocity::new(&VelocityConfig { lines, rules }, lines)
}

fn card(cipher: &CardCipher, number: u64) -> CardKey {
    let pan = Pan::from_digits(format!("6216261{number:012}").as_bytes());
    cipher.key(&pan.expect("19 digits are a PAN"))
}

/// Every card has paid once, so that its line is there.
fn used(velocity: &mut Velocity, cards: impl Iterator<Item = CardKey>) {
    for card in cards {
        let paid = velocity.reserve(NOW_MS, card, &PURCHASE);
        assert!(paid.is_ok(), "the table has room");
    }
}

fn step(velocity: &mut Velocity, card: CardKey) {
    let reservation = velocity.reserve(NOW_MS, card, black_box(&PURCHASE));
    if let Ok(reservation) = black_box(reservation) {
        velocity.release(card, &reservation);
    }
}

fn in_cache(c: &mut Criterion) {
    let cipher = CardCipher::new(&[1; 32]);
    let cards: Vec<CardKey> = (0..1_000).map(|number| card(&cipher, number)).collect();
    let mut velocity = velocity(1 << 16);
    used(&mut velocity, cards.iter().copied());
    let mut turn = 0;
    c.bench_function("velocity/in cache", |b| {
        b.iter(|| {
            turn = (turn + 1) % cards.len();
            step(&mut velocity, cards[turn]);
        });
    });
}

fn out_of_cache(c: &mut Criterion) {
    let population = 10_000_000;
    let cipher = CardCipher::new(&[1; 32]);
    let mut velocity = velocity(1 << 24);
    used(&mut velocity, (0..population).map(|number| card(&cipher, number)));
    // A million visits, by a full-period generator modulo 2^64: no card soon again.
    let mut state = 1u64;
    let visits: Vec<CardKey> = (0..1 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            card(&cipher, (state >> 33) % population)
        })
        .collect();
    let mut batches = visits.chunks_exact(BATCH).cycle();
    let mut group = c.benchmark_group("velocity/out of cache");
    group.throughput(Throughput::Elements(BATCH as u64));
    for prefetched in [false, true] {
        let name = if prefetched { "prefetched" } else { "alone" };
        group.bench_function(BenchmarkId::new(name, format!("batch of {BATCH}")), |b| {
            b.iter_batched(
                || batches.next().unwrap_or_default(),
                |batch| {
                    if prefetched {
                        batch.iter().for_each(|&card| velocity.prefetch(card));
                    }
                    batch.iter().for_each(|&card| step(&mut velocity, card));
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The card key: AES-256 of the packed PAN.
fn card_key(c: &mut Criterion) {
    let cipher = CardCipher::new(&[1; 32]);
    let pan = Pan::from_digits(b"6216261000000000018").expect("19 digits are a PAN");
    c.bench_function("velocity/card key", |b| b.iter(|| cipher.key(black_box(&pan)).0));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = in_cache, out_of_cache, card_key
}
criterion_main!(benches);

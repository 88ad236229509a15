//! What the limits of a card cost a transaction.
//!
//! `in cache` is a merchant's regulars: 1,000 cards that come again and again. `resident` is a wallet's
//! nation: cards at random in a table that no cache holds, each of which costs a miss of the cache and
//! of the address translation; in the switch the lines of a batch are prefetched while its messages
//! are parsed, and looked at once more a message ahead, which `prefetched` stands for. A step is what a transaction that is approved and reversed
//! costs: judged and held, posted, released; the table stays as it is. `reserved` is the first of them
//! alone: judged and held.
//!
//! The tables of `resident` are small by default. For a nation's, 16 GB each, one at a time:
//!
//! ```sh
//! VELOCITY_CARDS=200000000 cargo bench --bench velocity -- 'resident/64'
//! VELOCITY_CARDS=450000000 VELOCITY_PERCENT=90 cargo bench --bench velocity -- 'resident/32'
//! ```
//!
//! With `VELOCITY_TABLE=shared` they lie in memory that another process can be given.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};
use tapswitch::config::{
    Config, TransactionKind, VelocityCondition, VelocityConfig, VelocityCounter, VelocityLimit,
    VelocityScope, VelocityWindow,
};
use tapswitch::memory::TableMemory;
use tapswitch::shard::CardKey;
use tapswitch::shard::card_cipher::CardCipher;
use tapswitch::shard::velocity::{Velocity, VelocityTransaction};
use tapswitch_protocol::Pan;

/// 2026-01-01 00:00 UTC.
const NOW_MS: u64 = 1_767_225_600_000;
const BATCH: usize = 32;
/// Cards that a second look is ahead of the decision: four of these take as long as one in the switch,
/// which looks at the next message's card.
const AHEAD: usize = 4;
/// Cards of a `resident` table, and how full it is, unless the environment says otherwise.
const CARDS: u64 = 2_000_000;
const PERCENT: u64 = 80;
/// A tap at a gate: two counters and four limits of the shipped profile.
const TAP: VelocityTransaction = VelocityTransaction {
    amount_minor: 400,
    iin: 622_848_000,
    currency: 156,
    mcc: 4_111,
    entry_mode: 7,
    transaction_type: 0,
    kind: TransactionKind::Purchase,
    pin_present: false,
    qr: None,
};

/// The shipped counters and limits; limits so wide that none is reached.
fn shipped() -> VelocityConfig {
    let mut config = Config::embedded().velocity;
    for limit in &mut config.limits {
        limit.count_max = limit.count_max.map(|_| 60_000);
        limit.amount_minor_max = limit.amount_minor_max.map(|_| 1 << 27);
    }
    config
}

/// One amount a day: a line is half a cache line.
fn one_counter() -> VelocityConfig {
    let when = VelocityCondition::default();
    let day = VelocityCounter {
        name: "day".to_owned(),
        scope: VelocityScope::Card,
        window: VelocityWindow::Day { zone_offset_minutes: 480 },
        resets_on_pin: false,
        when: when.clone(),
    };
    let daily = VelocityLimit {
        name: "daily".to_owned(),
        counter: Some(0),
        scope_counter: None,
        count_max: Some(60_000),
        amount_minor_max: Some(1 << 40),
        when,
        code: None,
    };
    VelocityConfig {
        lines: 0,
        counters: vec![day],
        limits: vec![daily],
        ..VelocityConfig::default()
    }
}

fn card(cipher: &CardCipher, number: u64) -> CardKey {
    let pan = Pan::from_digits(format!("6216261{number:012}").as_bytes());
    cipher.key(&pan.expect("19 digits are a PAN"))
}

/// Spread as a cipher does, but quickly: a nation has to be enrolled first.
fn spread(number: u64) -> CardKey {
    let mix = |seed: u64| {
        // SplitMix64.
        let mixed = number.wrapping_add(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    };
    let key = u128::from(mix(1)) | u128::from(mix(1 << 40)) << 64;
    CardKey(key.to_le_bytes())
}

/// What is done to a card.
type Visit = fn(&mut Velocity, CardKey);

/// Counts a transaction, and posts and releases another.
#[inline]
fn step(velocity: &mut Velocity, card: CardKey) {
    if let Ok(reservation) = velocity.judge(NOW_MS, card, black_box(&TAP)) {
        velocity.hold(NOW_MS, card, &reservation);
        let posted = velocity.post(NOW_MS, card, &reservation, TAP.amount_minor, false);
        velocity.release(NOW_MS, card, black_box(&posted));
    }
}

/// Counts a transaction.
#[inline]
fn reserve(velocity: &mut Velocity, card: CardKey) {
    if let Ok(reservation) = velocity.judge(NOW_MS, card, black_box(&TAP)) {
        velocity.hold(NOW_MS, card, black_box(&reservation));
    }
}

fn in_cache(c: &mut Criterion) {
    let cipher = CardCipher::new(&[1; 32]);
    let cards: Vec<CardKey> = (0..1_000).map(|number| card(&cipher, number)).collect();
    let mut velocity = Velocity::new(&shipped(), 1 << 16);
    enrol(&mut velocity, cards.iter().copied());
    let mut turn = 0;
    c.bench_function("velocity/in cache", |b| {
        b.iter(|| {
            turn = (turn + 1) % cards.len();
            step(&mut velocity, cards[turn]);
        });
    });
}

/// Every card has paid once, so that its line is there.
fn enrol(velocity: &mut Velocity, cards: impl Iterator<Item = CardKey>) {
    for card in cards {
        let paid = velocity.judge(NOW_MS, card, &TAP).expect("the table has room");
        assert!(velocity.hold(NOW_MS, card, &paid), "the table has room");
    }
}

/// Tables that are four fifths full, or as full as the environment says.
fn resident(c: &mut Criterion) {
    for (name, config) in [("64 bytes", shipped()), ("32 bytes", one_counter())] {
        let mut group = c.benchmark_group(format!("velocity/resident/{name}"));
        group.throughput(Throughput::Elements(BATCH as u64));
        let mut table: Option<(Velocity, u64)> = None;
        let mut state = 1u64;
        let ways: [(&str, bool, Visit); 3] =
            [("alone", false, step), ("prefetched", true, step), ("reserved", true, reserve)];
        for (way, prefetched, visit) in ways {
            let id = BenchmarkId::new(way, format!("batch of {BATCH}"));
            group.bench_function(id, |b| {
                let (velocity, cards) = table.get_or_insert_with(|| nation(name, &config));
                b.iter(|| {
                    let batch: [CardKey; BATCH] = core::array::from_fn(|_| {
                        // A full-period generator modulo 2^64: no card soon again.
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        spread(((u128::from(state) * u128::from(*cards)) >> 64) as u64)
                    });
                    if !prefetched {
                        return batch.iter().for_each(|&card| visit(velocity, card));
                    }
                    batch.iter().for_each(|&card| velocity.prefetch(card));
                    let (soon, late) = batch.split_at(AHEAD);
                    soon.iter().for_each(|&card| velocity.prefetch_again(card));
                    for (&card, &next) in batch.iter().zip(late) {
                        velocity.prefetch_again(next);
                        visit(velocity, card);
                    }
                    batch[BATCH - AHEAD..].iter().for_each(|&card| visit(velocity, card));
                });
            });
        }
        group.finish();
    }
}

/// A table with all its cards, and how long they took.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn nation(name: &str, config: &VelocityConfig) -> (Velocity, u64) {
    let wanted = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let cards: u64 = wanted("VELOCITY_CARDS").unwrap_or(CARDS);
    let percent: u64 = wanted("VELOCITY_PERCENT").unwrap_or(PERCENT).clamp(1, 95);
    let lines = (cards * 100).div_ceil(percent).next_multiple_of(4) as usize;
    let shared = std::env::var("VELOCITY_TABLE").is_ok_and(|table| table == "shared");
    let table = if shared { TableMemory::Shared } else { TableMemory::Private };
    let config = &VelocityConfig { table, ..config.clone() };
    let start = Instant::now();
    let mut velocity = Velocity::new(config, lines);
    let made = start.elapsed();
    let start = Instant::now();
    let numbers: Vec<u64> = (0..BATCH as u64).collect();
    for first in (0..cards).step_by(BATCH) {
        let batch = numbers.iter().map(|number| first + number).filter(|&number| number < cards);
        batch.clone().for_each(|number| velocity.prefetch(spread(number)));
        enrol(&mut velocity, batch.map(spread));
    }
    let enrolled = start.elapsed();
    let bytes = lines * config.line_bytes();
    // A table for people; what goes wrong with it changes nothing.
    let _ = writeln!(
        std::io::stderr(),
        "{name}: {lines} lines, {bytes} bytes, made in {made:.2?}; {cards} cards enrolled in \
         {enrolled:.2?}",
    );
    (velocity, cards)
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
    targets = in_cache, resident, card_key
}
criterion_main!(benches);

//! What the limits of a card cost a transaction.
//!
//! `in cache` is a merchant's regulars: 1,000 cards that come again and again. `resident` is a wallet's
//! nation: cards at random in a table that no cache holds, each of which costs a miss of the cache and
//! of the address translation; in the switch the lines of a batch are prefetched while its messages
//! are parsed, and looked at once more a message ahead, which `prefetched` stands for. A step is what a transaction that is approved and reversed
//! costs: judged and held, posted, released; the table stays as it is. `reserved` is the first of them
//! alone: judged and held. `operations` is what a shard does: a card is reserved or, a quarter of a
//! million cards later, posted, each looked up for itself. `touched` is what they stand on: cards made
//! and their lines fetched; `cards` is what making them costs.
//!
//! `books` is what second books cost: one card in 1,024 has one, or none has.
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
use std::collections::VecDeque;
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
use tapswitch::shard::velocity::{Reservation, Velocity, VelocityTransaction};
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
/// Reservations under way in `operations`; a power of two.
const UNDER_WAY: usize = 1 << 18;
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

/// Cards at random.
struct Draw {
    state: u64,
    cards: u64,
}

impl Draw {
    #[inline]
    fn number(&mut self) -> u64 {
        // A full-period generator modulo 2^64: no card soon again.
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        ((u128::from(self.state) * u128::from(self.cards)) >> 64) as u64
    }

    #[inline]
    fn batch(&mut self) -> [CardKey; BATCH] {
        core::array::from_fn(|_| spread(self.number()))
    }
}

/// A batch's lines are asked for, and asked for again a little before each card's turn.
#[inline]
fn prefetched(
    velocity: &mut Velocity,
    batch: &[CardKey; BATCH],
    mut visit: impl FnMut(&mut Velocity, usize),
) {
    batch.iter().for_each(|&card| velocity.prefetch(card));
    batch[..AHEAD].iter().for_each(|&card| velocity.prefetch_again(card));
    for turn in 0..BATCH {
        if let Some(&next) = batch.get(turn + AHEAD) {
            velocity.prefetch_again(next);
        }
        visit(velocity, turn);
    }
}

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
        let mut table: Option<(Velocity, Draw)> = None;
        let mut made = || nation(name, &config);
        let mut bench = |way: &str, run: &mut dyn FnMut(&mut Velocity, &mut Draw)| {
            group.bench_function(BenchmarkId::new(way, format!("batch of {BATCH}")), |b| {
                let (velocity, draw) = table.get_or_insert_with(&mut made);
                b.iter(|| run(velocity, draw));
            });
        };
        bench("cards", &mut |_, draw| {
            black_box(draw.batch());
        });
        bench("touched", &mut |velocity, draw| prefetched(velocity, &draw.batch(), |_, _| ()));
        bench("alone", &mut |velocity, draw| {
            draw.batch().iter().for_each(|&card| step(velocity, card));
        });
        let ways: [(&str, Visit); 2] = [("prefetched", step), ("reserved", reserve)];
        for (way, visit) in ways {
            bench(way, &mut |velocity, draw| {
                let batch = draw.batch();
                prefetched(velocity, &batch, |velocity, turn| visit(velocity, batch[turn]));
            });
        }
        let mut under_way = UnderWay::default();
        bench("operations", &mut |velocity, draw| under_way.batch(velocity, draw));
        group.finish();
    }
}

/// Reservations that wait for their bank.
#[derive(Default)]
struct UnderWay {
    reservations: VecDeque<(u64, Reservation)>,
}

impl UnderWay {
    /// Half of a batch is reserved, the other half posted, alternately.
    #[inline]
    fn batch(&mut self, velocity: &mut Velocity, draw: &mut Draw) {
        while self.reservations.len() < UNDER_WAY {
            let number = draw.number();
            self.reserve(velocity, number, spread(number));
        }
        let numbers: [u64; BATCH] = core::array::from_fn(|turn| match turn % 2 {
            0 => draw.number(),
            _ => self.reservations[turn / 2].0,
        });
        let batch = numbers.map(spread);
        prefetched(velocity, &batch, |velocity, turn| match turn % 2 {
            0 => self.reserve(velocity, numbers[turn], batch[turn]),
            _ => self.post(velocity, batch[turn]),
        });
    }

    #[inline]
    fn reserve(&mut self, velocity: &mut Velocity, number: u64, card: CardKey) {
        let reservation = velocity.judge(NOW_MS, card, black_box(&TAP)).expect("limits are wide");
        velocity.hold(NOW_MS, card, &reservation);
        self.reservations.push_back((number, reservation));
    }

    #[inline]
    fn post(&mut self, velocity: &mut Velocity, card: CardKey) {
        if let Some((_, reservation)) = self.reservations.pop_front() {
            let _ = black_box(velocity.post(NOW_MS, card, &reservation, TAP.amount_minor, false));
        }
    }
}

/// The same cards with second books and without.
fn books(c: &mut Criterion) {
    const CARDS: u64 = 100_000;
    let mut group = c.benchmark_group("velocity/books");
    for (name, one_of) in [("none", u64::MAX), ("one of 1,024", 1_024)] {
        let mut velocity = Velocity::new(&shipped(), 1 << 17);
        velocity.audit_one_of(one_of);
        enrol(&mut velocity, (0..CARDS).map(spread));
        let mut draw = Draw { state: 1, cards: CARDS };
        group.bench_function(name, |b| {
            b.iter(|| {
                let batch = draw.batch();
                prefetched(&mut velocity, &batch, |velocity, turn| step(velocity, batch[turn]));
            });
        });
    }
    group.finish();
}

/// A table with all its cards, and how long they took.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn nation(name: &str, config: &VelocityConfig) -> (Velocity, Draw) {
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
    (velocity, Draw { state: 1, cards })
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
    targets = in_cache, resident, books, card_key
}
criterion_main!(benches);

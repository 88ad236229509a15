//! What a token costs before its card is known: its line found, and what it says read. Tokens are drawn at
//! random from a table that no cache holds, four fifths full, in batches whose lines are prefetched, as the
//! switch does it; `tokens` is what drawing them costs.
//!
//! The table is small by default. For a nation's tokens, and its cards beside them, 18 GB in all:
//!
//! ```sh
//! WALLET_TOKENS=200000000 WALLET_CARDS=100000000 cargo bench --bench wallet
//! ```

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};
use tapswitch::config::Config;
use tapswitch::shard::CardKey;
use tapswitch::shard::velocity::Velocity;
use tapswitch::shard::wallet::{Month, TokenEntry, TokenState, Vault};
use tapswitch_protocol::TokenRequestor;

const BATCH: usize = 32;
/// Unless the environment says otherwise.
const TOKENS: u64 = 2_000_000;

/// SplitMix64: as good as a keyed hash for places, and as fast as drawing should be.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// The number of a token, and its hash.
fn token(number: u64) -> (u64, u64) {
    let token = 6_288_880_100_000_000_000 + number * 10;
    (token, mix(token))
}

fn entry(number: u64) -> Option<TokenEntry> {
    let card = u128::from(mix(number / 2)) << 64 | u128::from(mix(!(number / 2)));
    Some(TokenEntry {
        token: token(number).0,
        card: CardKey(card.to_le_bytes()),
        requestor: TokenRequestor::from_number(12_345_678)?,
        assurance: 20,
        expiry: Month::from_yymm(b"3012")?,
        card_expiry: Month::from_yymm(b"3012")?,
        sequence: Some(1),
        state: TokenState::Active,
        is_denied: false,
        counter: 0,
        seen: 0,
    })
}

fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// A table with all its tokens, and one for cards beside it if it is asked for.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn nation(tokens: u64) -> (Vault, Option<Velocity>) {
    let start = Instant::now();
    let cards = wanted("WALLET_CARDS").map(|cards| {
        let lines = (cards as usize * 5 / 4).next_multiple_of(4);
        Velocity::new(&Config::embedded().velocity, lines)
    });
    let mut vault = Vault::new(tokens as usize);
    let made = start.elapsed();
    let now = Month::of(1_795_348_800_000);
    let start = Instant::now();
    for number in 0..tokens {
        // Far enough ahead for its line to have come.
        vault.prefetch(token(number + BATCH as u64).1);
        let put = entry(number).map(|entry| vault.put(&entry, token(number).1, now));
        assert!(put.is_some_and(|put| put.is_ok()), "the table has room");
    }
    let enrolled = start.elapsed();
    let mut out = std::io::stderr();
    // A table for people; what goes wrong with it changes nothing.
    let _ = writeln!(
        out,
        "{tokens} tokens, {} bytes, cards' lines {}: made in {made:.2?}, enrolled in {enrolled:.2?}",
        vault.bytes(),
        cards.as_ref().map_or(0, Velocity::lines),
    );
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let resident = status.lines().find(|line| line.starts_with("VmRSS"));
        let _ = writeln!(out, "{}", resident.unwrap_or_default());
    }
    (vault, cards)
}

fn resident(c: &mut Criterion) {
    let tokens = wanted("WALLET_TOKENS").unwrap_or(TOKENS);
    let mut group = c.benchmark_group("wallet/resident");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut state = 1u64;
    let mut draw = move || {
        core::array::from_fn::<_, BATCH, _>(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            token(((u128::from(state) * u128::from(tokens)) >> 64) as u64)
        })
    };
    let id = |name: &str| BenchmarkId::new(name, format!("batch of {BATCH}"));
    group.bench_function(id("tokens"), |b| b.iter(|| black_box(draw())));
    let (vault, _cards) = nation(tokens);
    for (name, is_prefetched) in [("alone", false), ("prefetched", true)] {
        group.bench_function(id(name), |b| {
            b.iter(|| {
                let batch = draw();
                if is_prefetched {
                    batch.iter().for_each(|(_, hash)| vault.prefetch(*hash));
                }
                let found = batch.iter().filter(|(token, hash)| {
                    let entry = vault.find(*token, *hash).and_then(|place| vault.line(place));
                    entry.is_some_and(|entry| entry.state == TokenState::Active)
                });
                assert_eq!(found.count(), BATCH, "all of them are there");
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = resident
}
criterion_main!(benches);

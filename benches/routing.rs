//! What finding a card's issuer costs: random cards, of which half begin like a Chinese bank card,
//! in the table that ships (560 prefixes of 20 banks).

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;
use tapswitch::config::{CardKind, IinRow};
use tapswitch::shard::IssuerId;
use tapswitch::shard::routing::Routing;
use tapswitch_protocol::Pan;

/// Prefixes and lengths of the shipped table; who the issuers are does not matter here.
fn rows() -> Vec<IinRow> {
    let text = include_str!("../tuning/profiles/iins_cn.csv");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .enumerate()
        .map(|(place, line)| {
            let mut parts = line.split(',');
            let prefix = parts.next().unwrap_or_default();
            IinRow {
                prefix: prefix.parse().expect("a prefix is a number"),
                digits: prefix.len() as u8,
                issuer: IssuerId((place % 20) as u8),
                kind: CardKind::Debit,
                pan_digits: parts.nth(2).and_then(|n| n.parse().ok()).expect("a length"),
            }
        })
        .collect()
}

fn random_cards(c: &mut Criterion) {
    let rows = rows();
    let routing = Routing::new(&rows);
    let mut state = 7u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % below
    };
    let pans: Vec<Pan> = (0..4_096)
        .map(|turn| {
            let row = &rows[draw(rows.len() as u64) as usize];
            let known = u64::from(row.prefix) * 10u64.pow(9 - u32::from(row.digits));
            let nine = if turn % 2 == 0 { known } else { draw(1_000_000_000) };
            let digits = format!("{nine:09}{:07}", draw(10_000_000));
            Pan::from_digits(digits.as_bytes()).expect("16 digits are a PAN")
        })
        .collect();
    assert!(pans.iter().filter(|pan| routing.route(pan).is_some()).count() > 2_000);
    let mut turn = 0;
    c.bench_function("routing/random cards", |b| {
        b.iter(|| {
            turn = (turn + 1) % pans.len();
            routing.route(black_box(&pans[turn]))
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = random_cards
}
criterion_main!(benches);

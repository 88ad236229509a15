//! Snapshots: an exact cut while the table changes, and what becomes of it elsewhere.

use super::*;

/// A table with some cards that count different things.
fn busy(config: &VelocityConfig, cards: u64) -> Velocity {
    let mut velocity = made(config);
    for number in 0..cards {
        let t = purchase(1 + number % 50);
        assert!(velocity.reserve(START_MS + number, card(number), &t).is_ok());
    }
    velocity
}

fn all(velocity: &mut Velocity, bytes_max: usize) -> Vec<Vec<u8>> {
    velocity.snapshot_begin();
    let mut pieces = Vec::new();
    loop {
        let mut out = Vec::new();
        let is_more = velocity.snapshot_next(&mut out, bytes_max).unwrap();
        pieces.push(out);
        if !is_more {
            return pieces;
        }
    }
}

fn wide(lines: usize) -> VelocityConfig {
    VelocityConfig { lines, ..rules(&[(Some(60_000), None, 0), (None, Some(1 << 40), 3)]) }
}

#[test]
fn what_is_written_is_the_table_as_it_was_when_the_cut_was_made() {
    let config = wide(1 << 12);
    let mut velocity = busy(&config, 3_000);
    let mut held = Vec::new();
    for number in 0..500 {
        let t = purchase(7);
        held.push((number, velocity.reserve(START_MS + 5_000, card(number), &t).unwrap()));
    }
    let at_the_cut = velocity.state_hash();
    velocity.snapshot_begin();
    let (mut loaded, mut bytes, mut number) = (made(&config), 0, 5_000);
    loop {
        let mut out = Vec::new();
        let is_more = velocity.snapshot_next(&mut out, 1_000).unwrap();
        assert!(out.len() < 1_000 + 400, "{}", out.len());
        bytes += out.len();
        loaded.snapshot_load(&out).unwrap();
        // Meanwhile cards come, among them many that move others, and go.
        for _ in 0..5 {
            let _ = velocity.reserve(START_MS + 6_000, card(number % 6_000), &purchase(3));
            number += 7;
        }
        if let Some((card_number, reservation)) = held.pop() {
            velocity.release(START_MS + 6_000, card(card_number), &reservation);
        }
        if !is_more {
            break;
        }
    }
    assert!(bytes > 3_000 * 64, "{bytes}");
    loaded.counters.advance(START_MS + 6_000);
    loaded.assert_invariants();
    assert_eq!(loaded.state_hash(), at_the_cut);
    assert_eq!(loaded.occupied(), 3_000);
    assert_ne!(velocity.state_hash(), at_the_cut);
    assert!(velocity.snapshot_next(&mut Vec::new(), 1_000).is_err(), "there is none under way");
    // The next cut begins afresh.
    let again: usize = all(&mut velocity, 1 << 20).iter().map(Vec::len).sum();
    assert!(again > bytes);
}

#[test]
fn a_snapshot_that_cannot_keep_up_is_given_up_and_says_so() {
    // Lines of 128 bytes: 200,000 cards are more than can be put aside.
    let wide = rules(&[(Some(60_000), None, 12)]);
    let config = VelocityConfig { lines: 1 << 18, ..wide };
    let mut velocity = busy(&config, 150_000);
    velocity.snapshot_begin();
    for number in 0..150_000 {
        let _ = velocity.reserve(START_MS + HOUR_MS / 24, card(number), &purchase(1));
    }
    assert_eq!(velocity.snapshot_next(&mut Vec::new(), 100), Err(SnapshotGivenUp));
    // Another one begins while what the first has left is still there.
    let at_the_cut = velocity.state_hash();
    let mut loaded = made(&config);
    for pieces in all(&mut velocity, 1 << 16) {
        loaded.snapshot_load(&pieces).unwrap();
    }
    loaded.counters.advance(START_MS + HOUR_MS / 24);
    assert_eq!(loaded.state_hash(), at_the_cut);
}

#[test]
fn another_number_of_shards_takes_its_own_cards() {
    let config = wide(1 << 10);
    let mut velocity = busy(&config, 700);
    let pieces = all(&mut velocity, 777);
    let from = velocity.layout().clone();
    let mut sum = 0u64;
    for shard in 0..3 {
        let mut part = made(&wide(400));
        for pieces in &pieces {
            let keep = |card: CardKey| card.words()[0] % 3 == shard;
            part.snapshot_import(START_MS + 1_000, &from, pieces, keep).unwrap();
        }
        part.assert_invariants();
        sum = sum.wrapping_add(part.state_hash());
    }
    velocity.counters.advance(START_MS + 1_000);
    assert_eq!(sum, velocity.state_hash(), "every card is on one of them");
    let mut tiny = made(&wide(64));
    let full =
        pieces.iter().map(|pieces| tiny.snapshot_import(START_MS + 1_000, &from, pieces, |_| true));
    assert_eq!(full.reduce(Result::and), Some(Err(LoadError::Full)));
}

#[test]
fn counters_are_carried_over_by_name() {
    let mut config = rules(&[(Some(9), None, 0), (None, Some(500), 3)]);
    config.counters[0].name = "count".into();
    config.counters[1].name = "sum".into();
    let mut velocity = made(&config);
    let held = velocity.reserve(START_MS, card(1), &purchase(40)).unwrap();
    let stale = velocity.reserve(START_MS, card(2), &purchase(60)).unwrap();
    velocity.release(START_MS, card(2), &stale);
    let pieces = all(&mut velocity, 1 << 20).concat();
    let from = velocity.layout().clone();

    let mut other = rules(&[(None, Some(500), 3), (Some(9), None, 2)]);
    other.counters[0].name = "sum".into();
    other.counters[1].name = "new".into();
    let mut after = made(&other);
    after.snapshot_import(START_MS + 1, &from, &pieces, |_| true).unwrap();
    assert_eq!(after.occupied(), 1, "a card that counts nothing is left behind");
    assert_eq!(after.counted(START_MS + 1, card(1), 0), Some((1, 40)));
    assert_eq!(after.counted(START_MS + 1, card(1), 1), Some((0, 0)));
    let held = after.translation(&from).reservation(&held);
    after.release(START_MS + 1, card(1), &held);
    assert_eq!(after.counted(START_MS + 1, card(1), 0), Some((0, 0)));
    // Two hours later nothing of it counts, and nothing is taken over.
    let mut late = made(&other);
    late.snapshot_import(START_MS + 2 * HOUR_MS, &from, &pieces, |_| true).unwrap();
    assert_eq!(late.occupied(), 0);
}

#[test]
fn damaged_pieces_are_refused() {
    let config = wide(256);
    let mut velocity = busy(&config, 100);
    let pieces = all(&mut velocity, 1 << 20).concat();
    let from = velocity.layout().clone();
    let damaged = |bytes: &[u8]| {
        let mut load = made(&config);
        let mut import = made(&config);
        let loaded = load.snapshot_load(bytes);
        let imported = import.snapshot_import(START_MS + HOUR_MS, &from, bytes, |_| true);
        (loaded.is_err(), imported.is_err())
    };
    assert_eq!(damaged(&pieces), (false, false));
    assert_eq!(damaged(&pieces[..pieces.len() - 1]), (true, true));
    assert_eq!(damaged(&pieces[..3]), (true, true));
    let mut far = pieces.clone();
    far[3] = 0xFF;
    assert!(damaged(&far).0, "no such group");
    let mut future = pieces;
    // The first stamp of the first line: key, then stamps.
    future[5 + 16 + 3] = 0xFF;
    assert!(damaged(&future).1, "a time that has not come");
}

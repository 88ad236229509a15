//! The table filled up, emptied by time, and attacked.

use super::*;
use crate::limits::VELOCITY_PROBE_MAX;

#[test]
fn nineteen_lines_of_twenty_are_taken_without_a_refusal() {
    let lines = 1 << 16;
    let mut velocity = made(&VelocityConfig { lines, ..rules(&[(Some(1), None, 0)]) });
    let cards = lines as u64 * 95 / 100;
    for number in 0..cards {
        assert!(velocity.reserve(START_MS, card(number), &purchase(1)).is_ok(), "{number}");
    }
    assert_eq!(velocity.occupied() as u64, cards);
    velocity.assert_invariants();
    for number in 0..cards {
        let again = velocity.reserve(START_MS, card(number), &purchase(1));
        assert_eq!(again, refused(0, LimitKind::Count), "moved lines keep what they count");
    }
    // An hour later as many other cards take over the same lines.
    for number in cards..2 * cards {
        let later = velocity.reserve(START_MS + HOUR_MS, card(number), &purchase(1));
        assert!(later.is_ok(), "{number}");
    }
    velocity.assert_invariants();
}

#[test]
fn a_full_table_refuses_new_cards_until_time_frees_lines() {
    let lines = 64;
    let mut velocity = made(&VelocityConfig { lines, ..rules(&[(Some(3), None, 1)]) });
    let mut held = Vec::new();
    for number in 0..1_000 {
        match velocity.reserve(START_MS, card(number), &purchase(1)) {
            Ok(reservation) => held.push((number, reservation)),
            Err(refusal) => assert_eq!(refusal, Refusal::TableFull),
        }
    }
    assert_eq!((held.len(), velocity.occupied()), (lines, lines), "every line is found in the end");
    velocity.assert_invariants();
    assert_eq!(
        velocity.reserve(START_MS + 2 * HOUR_MS - 1, card(5_000), &purchase(1)),
        Err(Refusal::TableFull)
    );
    // The cards that are there go on, and a release frees a line for a new card.
    let (kept, _) = held[0];
    assert!(velocity.reserve(START_MS, card(kept), &purchase(1)).is_ok());
    let (gone, reservation) = held.pop().unwrap();
    velocity.release(START_MS, card(gone), &reservation);
    // Not every card reaches that line: in a full table few chains of moves lead there.
    let mut others = 6_000..6_100;
    assert!(others.any(|other| velocity.reserve(START_MS, card(other), &purchase(1)).is_ok()));
    assert_eq!(velocity.reserve(START_MS, card(gone), &purchase(1)), Err(Refusal::TableFull));
    for number in 7_000..7_000 + lines as u64 / 2 {
        assert!(velocity.reserve(START_MS + 5 * HOUR_MS, card(number), &purchase(1)).is_ok());
    }
    velocity.assert_invariants();
    // What was reserved in lines that others have now is released nowhere.
    for (number, reservation) in &held {
        velocity.release(START_MS, card(*number), reservation);
    }
    velocity.assert_invariants();
}

#[test]
fn cards_that_collide_are_refused_and_nobody_searches_further() {
    let lines = 1 << 12;
    let mut velocity = made(&VelocityConfig { lines, ..rules(&[(Some(1), None, 0)]) });
    // All in the same two groups: only somebody with the process's key could make such PANs.
    let colliding = |number: u64| {
        let mut key = [7; 16];
        key[..8].copy_from_slice(&(number + 1).to_le_bytes());
        CardKey(key)
    };
    let taken = (0..1_000)
        .filter(|&number| velocity.reserve(START_MS, colliding(number), &purchase(1)).is_ok())
        .count();
    assert_eq!(taken, VELOCITY_PROBE_MAX);
    velocity.assert_invariants();
    assert!(velocity.reserve(START_MS, card(1), &purchase(1)).is_ok());
}

#[test]
fn an_old_reservation_never_reaches_a_new_line_of_the_same_card() {
    let mut config = rules(&[(Some(1), None, 0), (Some(1), None, 0)]);
    config.counters[0].when.mccs = vec![4111];
    config.lines = crate::limits::VELOCITY_GROUP_LINES;
    // Also where sub-windows have small numbers, as in a world that begins in 1970.
    for start_ms in [0, START_MS] {
        let mut velocity = made(&config);
        let tap = VelocityTransaction { mcc: 4111, ..purchase(1) };
        let old = velocity.reserve(start_ms, card(0), &tap).unwrap();
        for number in 1..=config.lines as u64 {
            let later = velocity.reserve(start_ms + HOUR_MS, card(number), &purchase(1));
            assert!(later.is_ok());
        }
        assert!(velocity.reserve(start_ms + 2 * HOUR_MS, card(0), &purchase(1)).is_ok());
        velocity.release(start_ms + 2 * HOUR_MS, card(0), &old);
        velocity.assert_invariants();
    }
}

#[test]
fn any_number_of_groups_is_a_table() {
    for lines in [4, 8, 12, 16, 1 << 10, 1_500] {
        let mut velocity = made(&VelocityConfig { lines, ..rules(&[(Some(1), None, 0)]) });
        assert_eq!(velocity.lines(), lines);
        let taken = (0..32 * lines as u64)
            .filter(|&number| velocity.reserve(START_MS, card(number), &purchase(1)).is_ok())
            .count();
        assert!(taken * 10 >= lines * 9, "{taken} of {lines}");
        velocity.assert_invariants();
    }
}

#[test]
fn lines_of_every_size_hold_their_counters() {
    for (parts, bytes) in [(0, 32), (4, 64), (12, 128)] {
        let config = VelocityConfig { lines: 1_000, ..rules(&[(Some(2), Some(100), parts)]) };
        assert_eq!(config.line_bytes(), bytes);
        let mut velocity = made(&config);
        for number in 0..700 {
            assert!(velocity.reserve(START_MS, card(number), &purchase(60)).is_ok(), "{number}");
        }
        velocity.assert_invariants();
        for number in 0..700 {
            let again = velocity.reserve(START_MS, card(number), &purchase(60));
            assert_eq!(again, refused(0, LimitKind::Amount));
            assert_eq!(velocity.counted(START_MS, card(number), 0), Some((1, 60)));
        }
    }
}

#[test]
fn occupancy_is_what_still_counts() {
    let lines = 1_000;
    let mut velocity = made(&VelocityConfig { lines, ..rules(&[(Some(3), None, 1)]) });
    let rounds = lines.div_ceil(VELOCITY_LOOKED_AT_ONCE);
    let mut held = Vec::new();
    for number in 0..800 {
        assert!(!velocity.is_nearly_full());
        held.push(velocity.reserve(START_MS, card(number), &purchase(1)).unwrap());
        velocity.on_batch_end(START_MS);
        assert_eq!(velocity.occupancy(), velocity.occupied(), "nothing has fallen free");
    }
    assert!(velocity.is_nearly_full());
    for number in 0..100 {
        velocity.release(START_MS, card(number), &held[number as usize]);
    }
    assert!((700..=800).contains(&velocity.occupancy()));
    (0..2 * rounds).for_each(|_| velocity.on_batch_end(START_MS));
    assert_eq!((velocity.occupancy(), velocity.occupied()), (700, 800));
    assert!(!velocity.is_nearly_full());
    (0..2 * rounds).for_each(|_| velocity.on_batch_end(START_MS + 2 * HOUR_MS));
    assert_eq!(velocity.occupancy(), 0);
    velocity.assert_invariants();
}

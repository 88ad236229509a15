//! The second book: it finds what a line should not say, and goes on over restarts and when there are
//! more cards than room. That it agrees with every outcome is what `model` tries.

use super::*;
use crate::limits::{VELOCITY_AUDITED_MIN, VELOCITY_AUDITED_ONE_OF, VELOCITY_BATCHES_PER_AUDIT};
use crate::memory::TableMemory;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A fixed window, a rolling one, and one that a PIN sets back.
fn config(lines: usize) -> VelocityConfig {
    let limits =
        [(Some(60_000), Some(1 << 40), 0), (Some(60_000), None, 3), (None, Some(1 << 27), 0)];
    let mut config = VelocityConfig { lines, ..rules(&limits) };
    config.counters[2].resets_on_pin = true;
    config
}

/// A card with something of every sort in every word.
fn busy() -> Velocity {
    let mut velocity = made(&config(256));
    for hour in 0..4 {
        let at_ms = START_MS + hour * HOUR_MS / 3;
        let first = velocity.reserve(at_ms, card(1), &purchase(50)).unwrap();
        let _ = velocity.reserve(at_ms, card(1), &purchase(9)).unwrap();
        let _ = velocity.post(at_ms, card(1), &first, 40, false);
    }
    velocity
}

fn words_of(velocity: &mut Velocity, number: u64) -> &mut [u64] {
    let place = velocity.table.find(card(number)).unwrap();
    velocity.table.words_mut(place)
}

fn message(panicked: &(dyn std::any::Any + Send)) -> &str {
    panicked.downcast_ref::<String>().unwrap()
}

#[test]
fn a_bit_that_flips_in_a_line_is_found_whichever_it_is() {
    // The stamps say which part is the newest: what they say is what words mean.
    let stamps = 1;
    let words = config(1).words_used();
    for word in stamps..words {
        for bit in 0..64 {
            let mut velocity = busy();
            words_of(&mut velocity, 1)[word] ^= 1 << bit;
            let difference = velocity.compare(card(1)).unwrap_err().to_string();
            assert!(difference.starts_with("velocity{audit_failed}: counter "), "{difference}");
            assert!(velocity.compare(card(2)).is_ok(), "others are as they were");
        }
    }
}

#[test]
fn what_is_found_ends_the_process_with_the_next_change_of_the_card() {
    let mut velocity = busy();
    // One minor unit less than was held: a limit that lets pass too much.
    words_of(&mut velocity, 1)[1] -= 1;
    let other = velocity.reserve(START_MS + HOUR_MS + 1, card(2), &purchase(1));
    assert!(other.is_ok());
    let next = AssertUnwindSafe(|| velocity.reserve(START_MS + HOUR_MS + 1, card(1), &purchase(1)));
    let panicked = catch_unwind(next).unwrap_err();
    assert!(message(&*panicked).starts_with("Invariant: velocity{audit_failed}"));
}

#[test]
fn what_nobody_changes_is_looked_at_card_by_card() {
    let mut velocity = made(&config(256));
    for number in 0..40 {
        assert!(velocity.reserve(START_MS, card(number), &purchase(7)).is_ok());
    }
    velocity.take_audited();
    let rounds = 40 * VELOCITY_BATCHES_PER_AUDIT;
    (0..rounds).for_each(|_| velocity.on_batch_end(START_MS));
    assert_eq!(velocity.take_audited(), 40);
    words_of(&mut velocity, 17)[1] += 1;
    let look = AssertUnwindSafe(|| (0..rounds).for_each(|_| velocity.on_batch_end(START_MS)));
    let panicked = catch_unwind(look).unwrap_err();
    assert!(message(&*panicked).contains("adds up to"), "{}", message(&*panicked));
}

#[test]
fn a_line_that_is_lost_is_found() {
    let mut velocity = busy();
    words_of(&mut velocity, 1).fill(0);
    velocity.table.claim(card(9), |_| true).unwrap();
    let place = velocity.table.find(card(9)).unwrap();
    if velocity.table.find(card(1)).is_some() {
        assert_ne!(velocity.table.find(card(1)), Some(place));
    }
    assert!(velocity.compare(card(1)).is_err());
}

#[test]
fn a_snapshot_is_where_the_book_begins_after_a_restart() {
    let mut first = busy();
    let at_ms = START_MS + HOUR_MS;
    let held = first.reserve(at_ms, card(1), &purchase(30)).unwrap();
    let posted = first.post(at_ms, card(1), &held, 30, true);
    let mut pieces = Vec::new();
    first.snapshot_begin();
    while first.snapshot_next(&mut pieces, 1_000).unwrap() {}
    // Its own layout, and another one that has two of the three counters.
    let mut other = config(512);
    other.counters.swap(0, 2);
    other.counters.truncate(2);
    other.limits.clear();
    for is_same in [true, false] {
        let own = if is_same { first_config() } else { other.clone() };
        let mut second = made(&own);
        second.advance(at_ms);
        match is_same {
            true => second.snapshot_load(&pieces).unwrap(),
            false => second.snapshot_import(at_ms, first.layout(), &pieces, |_| true).unwrap(),
        }
        assert!(second.compare(card(1)).is_ok());
        let translation = second.translation(first.layout());
        let posted = if is_same { posted } else { translation.reservation(&posted) };
        second.release(at_ms + 1, card(1), &posted);
        let next = second.reserve(at_ms + 2, card(1), &purchase(5)).unwrap();
        second.release(at_ms + HOUR_MS, card(1), &next);
        words_of(&mut second, 1)[1] ^= 1 << 7;
        assert!(second.compare(card(1)).is_err(), "same: {is_same}");
    }
}

fn first_config() -> VelocityConfig {
    config(256)
}

#[test]
fn lines_of_a_time_that_has_not_come_end_the_book_and_nothing_else() {
    let mut first = busy();
    let mut pieces = Vec::new();
    first.snapshot_begin();
    while first.snapshot_next(&mut pieces, 1_000).unwrap() {}
    let mut second = made(&first_config());
    second.snapshot_load(&pieces).unwrap();
    assert!(second.reserve(START_MS + 2 * HOUR_MS, card(1), &purchase(5)).is_ok());
    assert_eq!(second.take_audited(), 0);
}

#[test]
fn more_cards_than_there_is_room_for_are_drawn_again_and_still_compared() {
    let lines = 1 << 12;
    let mut velocity = made(&config(lines));
    for number in 0..3_000 {
        let held = velocity.reserve(START_MS, card(number), &purchase(7)).unwrap();
        if number % 3 == 0 {
            velocity.release(START_MS, card(number), &held);
        }
    }
    let sampled = |velocity: &Velocity| {
        let has = |&number: &u64| velocity.audit.has(card(number).words());
        (0..3_000).filter(has).collect::<Vec<_>>()
    };
    let drawn = sampled(&velocity);
    assert!((50..=2 * VELOCITY_AUDITED_MIN).contains(&drawn.len()), "{}", drawn.len());
    for &number in &drawn {
        assert!(velocity.compare(card(number)).is_ok());
        if number % 3 != 0 {
            words_of(&mut velocity, number)[1] ^= 1;
            assert!(velocity.compare(card(number)).is_err());
            words_of(&mut velocity, number)[1] ^= 1;
        }
    }
    // A day later nothing of them counts: others take their places and none is drawn out.
    for number in 3_000..3_000 + drawn.len() as u64 {
        assert!(velocity.reserve(START_MS + 24 * HOUR_MS, card(number), &purchase(7)).is_ok());
    }
    assert_eq!(sampled(&velocity), drawn);
}

#[test]
fn one_card_of_a_thousand_is_drawn() {
    let mut velocity = made(&config(1 << 12));
    velocity.audit_one_of(VELOCITY_AUDITED_ONE_OF);
    let drawn = (0..200_000).filter(|&number| velocity.audit.has(card(number).words())).count();
    assert!((140..260).contains(&drawn), "{drawn}");
}

/// Lines of a process before come without a book: it begins with the first change.
#[test]
fn lines_that_another_process_passed_are_where_their_books_begin() {
    let config = VelocityConfig { table: TableMemory::Shared, ..config(256) };
    let mut first = made(&config);
    let held = first.reserve(START_MS, card(1), &purchase(50)).unwrap();
    let taken = first.reserve(START_MS, card(1), &purchase(9)).unwrap();
    let table = first.pass();
    assert!(table.is_some());
    let mut second = Velocity::with_table(&config, config.lines, table);
    second.audit_one_of(1);
    assert!(second.is_passed());
    let posted = second.post(START_MS, card(1), &held, 40, false);
    let _ = second.take_audited();
    second.release(START_MS, card(1), &taken);
    second.release(START_MS, card(1), &posted);
    let _ = second.reserve(START_MS, card(1), &purchase(1)).unwrap();
    let _ = second.reserve(START_MS, card(2), &purchase(1)).unwrap();
    assert!(second.take_audited() >= 3, "compared as ever");
    words_of(&mut second, 1)[1] -= 1;
    let found = catch_unwind(AssertUnwindSafe(|| second.reserve(START_MS, card(1), &purchase(1))));
    assert!(message(&*found.unwrap_err()).contains("velocity{audit_failed}"));
}

//! What the shard notes for the outcome log.

use super::fixture::{Request, World, config, connection, issuer_answer, pan};
use crate::config::OutcomesConfig;
use crate::limits::OUTCOMES_MAX;
use crate::shard::outcome::{NO_ISSUER, OUTCOME_BYTES, Outcome};
use crate::shard::{Counter, IssuerId, Now};
use tapswitch_protocol::Dialect;

fn world() -> World {
    let mut config = config(1);
    config.outcomes = Some(OutcomesConfig { dir: "unused".into(), bytes_max: 1 << 20 });
    World::new(&config)
}

/// Ends the batch so many nanoseconds later, and takes what was noted.
fn taken(world: &mut World, after_ns: u64) -> Vec<Outcome> {
    world.now = Now { mono_ns: world.now.mono_ns + after_ns, ..world.now };
    world.shard.on_batch_end(world.now);
    let mut bytes = Vec::with_capacity(OUTCOMES_MAX * OUTCOME_BYTES);
    world.shard.take_outcomes(&mut bytes);
    let (entries, rest) = bytes.as_chunks::<OUTCOME_BYTES>();
    assert!(rest.is_empty());
    for card in ["C1", "C2", "C3", "C4"] {
        let pan = pan(card).as_bytes();
        assert!(!bytes.windows(pan.len()).any(|window| window == pan), "no PAN is noted");
    }
    entries.iter().map(Outcome::decode).collect()
}

fn send(world: &mut World, request: &Request<'_>) -> Vec<u8> {
    world.request(1, &request.message(Dialect::cups())).remove(0).bytes
}

#[test]
fn an_approval_shows_its_card_its_issuer_and_both_times() {
    let mut world = world();
    let forward = send(&mut world, &Request { stan: 42, ..Request::default() });
    assert_eq!(taken(&mut world, 3_000), [], "there is no outcome yet");
    world.at_ms(5);
    world.issuer(IssuerId(0), &issuer_answer(&forward, "00", &[]));
    let [outcome] = taken(&mut world, 2_000)[..] else { panic!("one outcome") };
    assert_eq!(outcome.counter(), Some(Counter::AnsweredByIssuer));
    assert_eq!((outcome.before_ns, outcome.after_ns), (3_000, 2_000));
    assert_eq!(outcome.issuer_ns, 5_000_000 - 3_000);
    assert_eq!(outcome.card.to_string(), "622848*********0011");
    assert_eq!((outcome.amount_minor, outcome.currency), (1_000, 156));
    assert_eq!((outcome.mti, outcome.stan, &outcome.code), (200, 42, b"00"));
    assert_eq!((&outcome.rrn, &outcome.terminal), (b"000000000042", b"01080209"));
    assert_eq!(&outcome.merchant, b"333290054110001");
    assert_eq!((outcome.acquirer, outcome.issuer, outcome.shard), (0, 0, 0));
    assert_eq!((outcome.issuer_stan, outcome.transmission_time), (1, 1_122_120_000));
    assert_eq!(outcome.wall_ms, world.now.wall_ms);
}

#[test]
fn each_way_that_a_request_can_go_has_its_entry() {
    let mut world = world();
    let mut whats = Vec::new();
    let mut note = |world: &mut World| {
        for outcome in taken(world, 1_000) {
            let code = String::from_utf8(outcome.code.to_vec()).unwrap();
            let what = outcome.counter().unwrap().name();
            let known = format!("{what} {} {}", code.trim_matches('\0'), outcome.detail);
            whats.push(known);
            assert_eq!(outcome.issuer == NO_ISSUER, outcome.issuer_stan == 0);
        }
    };
    // A limit; a format error; no route.
    send(&mut world, &Request { amount: Some(20_000), ..Request::default() });
    send(&mut world, &Request { stan: 2, amount: None, ..Request::default() });
    send(&mut world, &Request { stan: 3, pan: pan("C9"), ..Request::default() });
    note(&mut world);
    // In flight, repeated, reversed, and its late answer.
    let forward = send(&mut world, &Request { stan: 4, ..Request::default() });
    world.request(1, &Request { stan: 4, ..Request::default() }.message(Dialect::cups()));
    send(&mut world, &Request { mti: 420, stan: 5, original_stan: Some(4), ..Request::default() });
    world.issuer(IssuerId(0), &issuer_answer(&forward, "00", &[]));
    note(&mut world);
    // Silence.
    send(&mut world, &Request { stan: 6, pan: pan("C2"), ..Request::default() });
    world.at_ms(8_001);
    world.tick();
    send(&mut world, &Request { stan: 6, pan: pan("C2"), ..Request::default() });
    note(&mut world);
    // An approval that nobody takes.
    let forward = send(&mut world, &Request { stan: 7, pan: pan("C3"), ..Request::default() });
    world.shard.on_connection_closed(connection(1));
    world.shard.on_connection_closed(connection(2));
    world.issuer(IssuerId(0), &issuer_answer(&forward, "00", &[]));
    world.at_ms(19_000);
    world.tick();
    note(&mut world);
    assert_eq!(
        whats,
        [
            "refused{amount_limit} 61 1",
            "refused{format} 30 4",
            "refused{no_route} 15 0",
            "duplicate{absorbed}  0",
            "reversal{in_flight} 98 0",
            "reversal{in_flight} 00 0",
            "issuer{late} 00 0",
            "issuer{time_out} 98 0",
            "duplicate{replayed} 98 0",
            "answered{issuer} 00 0",
            "undeliverable{waits}  0",
            "undeliverable{reversed}  0",
        ]
    );
}

#[test]
fn a_reversal_names_its_original_and_a_late_answer_its_leg() {
    let mut world = world();
    let forward = send(&mut world, &Request { stan: 4, ..Request::default() });
    send(&mut world, &Request { mti: 420, stan: 5, original_stan: Some(4), ..Request::default() });
    world.issuer(IssuerId(0), &issuer_answer(&forward, "00", &[]));
    let [request, reversal, late] = taken(&mut world, 1_000)[..] else { panic!("three entries") };
    assert_eq!((request.stan, reversal.stan, late.stan), (4, 5, 0));
    assert_eq!((reversal.original_stan, reversal.mti), (4, 420));
    assert_eq!(late.issuer_stan, request.issuer_stan);
    assert_eq!(late.issuer_transmission_time, request.issuer_transmission_time);
    assert!([request.rrn, reversal.rrn].iter().all(|rrn| *rrn == late.rrn));
    assert!([request.card, reversal.card].iter().all(|card| *card == late.card));
}

#[test]
fn entries_beyond_the_buffer_are_dropped_and_counted() {
    let mut world = world();
    let more = 10;
    for stan in 0..OUTCOMES_MAX as u32 + more {
        send(&mut world, &Request { stan: stan + 1, pan: pan("C9"), ..Request::default() });
    }
    assert_eq!(world.shard.counters().value(Counter::OutcomeDropped), u64::from(more));
    world.shard.on_batch_end(world.now);
    // Taken in parts, in order, and only whole ones.
    let mut expected = 0;
    loop {
        let mut part = Vec::with_capacity(100 * OUTCOME_BYTES + 17);
        world.shard.take_outcomes(&mut part);
        let entries = part.as_chunks::<OUTCOME_BYTES>().0;
        for entry in entries {
            expected += 1;
            assert_eq!(Outcome::decode(entry).stan, expected);
        }
        if entries.len() < 100 {
            break;
        }
    }
    assert_eq!(expected, OUTCOMES_MAX as u32);
}

#[test]
fn without_a_log_nothing_is_noted() {
    let mut world = World::new(&config(1));
    send(&mut world, &Request { pan: pan("C9"), ..Request::default() });
    assert_eq!(taken(&mut world, 1), []);
    assert_eq!(world.shard.counters().value(Counter::OutcomeDropped), 0);
}

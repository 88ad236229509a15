//! Rows of the fault catalogue that a shard alone proves and no other module here has: contents that are
//! not its own to judge, a clock that is set back, tables and disks that are full.

use super::fixture::{Request, World, config, issuer_answer, pan, with_view};
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::{Counter, IssuerId};
use tapswitch_protocol::Dialect;

/// Bytes of a frame around a message: four digits of length and the header.
const CUPS_FRAME_BYTES: usize = 50;

fn ask(world: &mut World, request: &Request<'_>) -> Vec<String> {
    let done = world.request(1, &request.message(Dialect::cups()));
    done.into_iter().map(|done| done.text).collect()
}

fn approve(world: &mut World) -> Vec<String> {
    let (issuer, _, forwarded) = world.forwarded.last().unwrap();
    let (issuer, answer) = (*issuer, issuer_answer(forwarded, "00", &[]));
    world.issuer(issuer, &answer).into_iter().map(|done| done.text).collect()
}

/// A18, A19: chip data that are no TLV, and text that would move a cursor, are the issuer's to judge.
#[test]
fn a18_a19_what_no_rule_reads_reaches_the_issuer_byte_for_byte() {
    let mut world = World::new(&config(1));
    let opaque: &[(u8, &[u8])] = &[
        (43, b"\n\x1b[2J%n%s\0\r\x07 and blanks to the end      "),
        (48, b"\0\x01\xff'; drop\n"),
        (55, b"\x9F\x26\xFF\x00no TLV"),
    ];
    assert_eq!(ask(&mut world, &Request { extra: opaque, ..Request::default() }), ["I0 0200"]);
    with_view(&world.forwarded[0].2, |view| {
        for (field, value) in opaque {
            assert_eq!(view.raw(*field), Some(*value), "DE {field}");
        }
    });
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
}

/// A24: a legal message as long as a frame may be, and its answer.
#[test]
fn a24_the_longest_message_with_every_large_field_is_served() {
    let mut world = World::new(&config(1));
    let long = vec![b'7'; 600];
    let with_rest = |rest: usize| {
        let extra: &[(u8, &[u8])] = &[
            (43, &long[..40]),
            (48, &long[..512]),
            (57, &long[..100]),
            (60, &long[..100]),
            (61, &long[..200]),
            (62, &long[..200]),
            (63, &long[..512]),
            (121, &long[..100]),
            (123, &long[..rest]),
        ];
        Request { extra, ..Request::default() }.message(Dialect::cups())
    };
    let room = FRAME_BYTES_MAX - CUPS_FRAME_BYTES - with_rest(0).len();
    let longest = with_rest(room);
    assert_eq!(longest.len() + CUPS_FRAME_BYTES, FRAME_BYTES_MAX);
    let done = world.request(1, &longest);
    assert_eq!(done[0].text, "I0 0200");
    with_view(&done[0].bytes, |view| assert_eq!(view.raw(123), Some(&long[..room])));
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
}

/// E4: deadlines follow the clock that nobody sets.
#[test]
fn e4_a_wall_clock_that_is_set_back_moves_no_deadline_and_no_window() {
    let mut world = World::new(&config(1));
    assert_eq!(
        ask(&mut world, &Request { amount: Some(6_000), ..Request::default() }),
        ["I0 0200"]
    );
    world.now.wall_ms -= 3_600_000;
    world.now.mono_ns += 7_999_000_000;
    assert!(world.tick().is_empty(), "not a moment before its time");
    let more = Request { stan: 2, amount: Some(4_001), ..Request::default() };
    assert_eq!(ask(&mut world, &more), ["A1 0210 61"], "the same day still");
    world.now.mono_ns += 2_000_000;
    let done: Vec<String> = world.tick().into_iter().map(|done| done.text).collect();
    assert_eq!(done, ["A1 0210 98", "I0 0420"]);
    assert_eq!(ask(&mut world, &Request { stan: 3, ..more }), ["I0 0200"], "it counts no more");
}

/// E8: a card that cannot be counted is never unlimited.
#[test]
fn e8_a_card_without_a_line_is_answered_96_and_those_that_have_one_go_on() {
    let mut config = config(1);
    config.velocity.lines = 4;
    let mut world = World::new(&config);
    let card = |number: u32| format!("62284800000000{number:05}");
    let buy = |world: &mut World, number: u32, stan: u32| {
        let pan = card(number);
        ask(world, &Request { pan: &pan, stan, amount: Some(100), ..Request::default() })
    };
    for number in 0..4 {
        assert_eq!(buy(&mut world, number, number + 1), ["I0 0200"]);
        assert_eq!(approve(&mut world), ["A1 0210 00"]);
    }
    for number in 4..20 {
        assert_eq!(buy(&mut world, number, number + 1), ["A1 0210 96"]);
    }
    assert_eq!(world.shard.counters().value(Counter::RefusedVelocityFull), 16);
    assert_eq!(buy(&mut world, 0, 100), ["I0 0200"]);
    world.at_ms(86_400_000);
    assert_eq!(buy(&mut world, 5, 101), ["I0 0200"], "another day: lines are free");
}

/// F4: nothing new is taken that could not be recorded; what was taken is finished.
#[test]
fn f4_while_the_disk_is_full_what_is_new_is_answered_96_and_the_rest_is_finished() {
    let mut world = World::new(&config(1));
    let first = Request::default();
    assert_eq!(ask(&mut world, &first), ["I0 0200"]);
    world.shard.on_journal_full(true);
    assert_eq!(approve(&mut world), ["A1 0210 00"]);
    assert_eq!(ask(&mut world, &first), ["A1 0210 00"], "a repeat has its answer");
    let second = Request { stan: 2, pan: pan("C2"), ..Request::default() };
    assert_eq!(ask(&mut world, &second), ["A1 0210 96"]);
    let advice = Request { mti: 220, stan: 3, ..Request::default() };
    assert_eq!(ask(&mut world, &advice), ["A1 0230 96"], "its acquirer keeps it");
    let reversal = Request { mti: 420, stan: 4, original_stan: Some(1), ..Request::default() };
    assert_eq!(ask(&mut world, &reversal), ["A1 0430 96"], "and this");
    assert_eq!(world.shard.counters().value(Counter::RefusedJournalFull), 3);
    world.shard.on_journal_full(false);
    assert_eq!(ask(&mut world, &Request { mti: 421, ..reversal }), ["A1 0430 00", "I0 0420"]);
    let done = world.issuer(IssuerId(0), b"02");
    assert!(done.is_empty());
    assert_eq!(ask(&mut world, &Request { stan: 5, ..second }), ["I0 0200"]);
}

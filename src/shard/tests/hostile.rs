//! Inputs that must not hurt: what an acquirer or an issuer may send by mistake or on purpose.

use super::fixture::{Request, World, config, connection, cups_header, issuer_answer, with_view};
use crate::shard::{Counter, IssuerId};
use tapswitch_protocol::{Dialect, Framing};

fn world() -> World {
    World::new(&config(1))
}

fn texts(done: Vec<super::fixture::Done>) -> Vec<String> {
    done.into_iter().map(|done| done.text).collect()
}

fn de44(world: &mut World, request: &Request<'_>) -> (String, Option<Vec<u8>>) {
    let done = world.request(1, &request.message(Dialect::cups()));
    assert_eq!(done.len(), 1);
    let named = with_view(&done[0].bytes, |view| view.raw(44).map(<[u8]>::to_vec));
    (done[0].text.clone(), named)
}

#[test]
fn what_is_missing_is_named() {
    let mut world = world();
    let cases: [(Request<'_>, &str); 3] = [
        (Request { pan: "", stan: 1, ..Request::default() }, "002"),
        (Request { amount: None, stan: 2, ..Request::default() }, "004"),
        (
            Request {
                stan: 3,
                extra: &[(35, b"6228480000000000029=30121010000000000")],
                ..Request::default()
            },
            "002", // DE 2 and DE 35 name different cards
        ),
    ];
    for (request, field) in cases {
        let (text, named) = de44(&mut world, &request);
        assert_eq!((text.as_str(), named.as_deref()), ("A1 0210 30", Some(field.as_bytes())));
    }
}

#[test]
fn track_two_alone_names_the_card_and_never_leaves() {
    let mut world = world();
    let track: &[u8] = b"6228480000000000011=30121010000000000";
    let request = Request { pan: "", extra: &[(35, track), (52, &[1; 8])], ..Request::default() };
    let done = world.request(1, &request.message(Dialect::cups()));
    assert_eq!(done[0].text, "I0 0200");
    let answer = issuer_answer(&done[0].bytes, "00", &[]);
    let done = world.issuer(IssuerId(0), &answer);
    assert_eq!(done[0].text, "A1 0210 00");
    with_view(&done[0].bytes, |view| {
        assert!(!view.has(2) && !view.has(35) && !view.has(52));
    });
}

#[test]
fn a_time_out_of_a_track_only_request_reverses_by_pan() {
    let mut world = world();
    let track: &[u8] = b"6228480000000000011=30121010000000000";
    let request = Request { pan: "", extra: &[(35, track)], ..Request::default() };
    world.request(1, &request.message(Dialect::cups()));
    world.at_ms(9_000);
    let done = world.tick();
    assert_eq!(done[1].text, "I0 0420");
    with_view(&done[1].bytes, |view| {
        assert_eq!(view.raw(2), Some(&b"6228480000000000011"[..]));
        assert!(!view.has(35));
    });
}

#[test]
fn an_undeliverable_approval_of_a_track_only_request_is_taken_back_by_pan() {
    let mut world = world();
    let track: &[u8] = b"6228480000000000011=30121010000000000";
    let request = Request { pan: "", extra: &[(35, track)], ..Request::default() };
    let done = world.request(1, &request.message(Dialect::cups()));
    for slot in [1, 2] {
        world.shard.on_connection_closed(connection(slot));
    }
    assert!(world.issuer(IssuerId(0), &issuer_answer(&done[0].bytes, "00", &[])).is_empty());
    world.at_ms(11_000);
    let done = world.tick();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].text, "I0 0420");
    with_view(&done[0].bytes, |view| {
        assert_eq!(view.raw(2), Some(&b"6228480000000000011"[..]));
    });
    assert_eq!(world.shard.counters().value(Counter::Undeliverable), 1);
}

/// A response as its connection would carry it.
fn framed(response: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4_096];
    let at = Framing::Cups.begin_response(&cups_header(), &mut frame).unwrap();
    frame[at..at + response.len()].copy_from_slice(response);
    Framing::Cups.finish(&mut frame, at + response.len());
    frame.truncate(at + response.len());
    frame
}

/// B1: the acquirer has the first answer; that a copy for a late repeat finds nobody says nothing.
#[test]
fn b1_an_approval_is_not_taken_back_because_a_copy_of_it_finds_nobody() {
    let message = Request::default().message(Dialect::cups());
    // Which of the two copies finds nobody?
    for first_is_lost in [false, true] {
        let mut world = world();
        let forward = world.request(1, &message).remove(0);
        let first = world.issuer(IssuerId(0), &issuer_answer(&forward.bytes, "00", &[])).remove(0);
        let copy = world.request(2, &message).remove(0);
        assert_eq!((&*first.text, &*copy.text), ("A1 0210 00", "A2 0210 00"));
        let lost = if first_is_lost { (1, first) } else { (2, copy) };
        [1, 2].into_iter().for_each(|slot| world.shard.on_connection_closed(connection(slot)));
        let frame = framed(&lost.1.bytes);
        let World { shard, now, outbox, .. } = &mut world;
        shard.on_undeliverable(*now, connection(lost.0), &frame, outbox);
        world.at_ms(11_000);
        assert!(world.tick().is_empty(), "the approval stands");
        assert_eq!(world.shard.counters().value(Counter::UndeliverableOther), 1);
    }
}

/// B1: a copy that goes out instead of one that is known to have reached nobody is as good as that.
#[test]
fn b1_an_approval_of_which_no_copy_found_anybody_is_taken_back() {
    let mut world = world();
    let message = Request::default().message(Dialect::cups());
    let forward = world.request(1, &message).remove(0);
    [1, 2].into_iter().for_each(|slot| world.shard.on_connection_closed(connection(slot)));
    assert!(world.issuer(IssuerId(0), &issuer_answer(&forward.bytes, "00", &[])).is_empty());
    world.shard.on_connection_open(connection(3));
    let copy = world.request(3, &message).remove(0);
    assert_eq!(copy.text, "A3 0210 00");
    world.shard.on_connection_closed(connection(3));
    let frame = framed(&copy.bytes);
    let World { shard, now, outbox, .. } = &mut world;
    shard.on_undeliverable(*now, connection(3), &frame, outbox);
    world.at_ms(11_000);
    let done = world.tick();
    assert_eq!(done.iter().map(|done| &*done.text).collect::<Vec<_>>(), ["I0 0420"]);
}

#[test]
fn macs_stay_on_their_link_and_numbers_are_ours() {
    let mut world = world();
    let request = Request { stan: 123_456, extra: &[(128, b"12345678")], ..Request::default() };
    let done = world.request(1, &request.message(Dialect::cups()));
    with_view(&done[0].bytes, |view| {
        assert!(!view.has(128));
        assert_ne!(view.stan().unwrap().0, 123_456);
        assert_eq!(view.raw(37), Some(&b"000000123456"[..]));
    });
    let answer = issuer_answer(&done[0].bytes, "00", &[(128, b"87654321")]);
    let done = world.issuer(IssuerId(0), &answer);
    with_view(&done[0].bytes, |view| {
        assert!(!view.has(128));
        assert_eq!(view.stan().unwrap().0, 123_456);
        assert_eq!(view.raw(7), Some(&b"1122120000"[..]));
        assert_eq!(view.raw(38), Some(&b"A00001"[..]));
    });
}

#[test]
fn a_repeated_answer_is_the_same_bytes() {
    let mut world = world();
    let message = Request::default().message(Dialect::cups());
    let done = world.request(1, &message);
    let changes: &[(u8, &[u8])] = &[(15, b"1123"), (54, b"0002156C000000123456")];
    let answer = issuer_answer(&done[0].bytes, "00", changes);
    let first = world.issuer(IssuerId(0), &answer);
    let again = world.request(2, &message);
    assert_eq!(again[0].bytes, first[0].bytes);
}

#[test]
fn c8_c9_an_answer_that_does_not_fit_is_no_answer() {
    let changes: [&[(u8, &[u8])]; 6] = [
        &[(2, b"6228480000000000029")],
        &[(3, b"010000")],
        &[(4, b"000000001001")],
        &[(4, b"000000000999")], // less, but not a partial approval
        &[(37, b"000000000009")],
        &[(39, b"\xFF\xFF")],
    ];
    for change in changes {
        let mut world = world();
        let done = world.request(1, &Request::default().message(Dialect::cups()));
        let answer = issuer_answer(&done[0].bytes, "00", change);
        assert_eq!(texts(world.issuer(IssuerId(0), &answer)), ["A1 0210 96", "I0 0420"]);
        assert_eq!(world.shard.counters().value(Counter::MisEchoed), 1);
    }
}

/// DE 60 whose part 60.3.4 says whether a part may be approved.
pub(super) fn de60(partial: u8) -> Vec<u8> {
    let mut text = b"000006000301000000004010000000".to_vec();
    text[21] = partial;
    text
}

#[test]
fn c15_a_partial_approval_counts_in_part_where_the_acquirer_takes_it() {
    let mut world = world();
    let (takes, de60_0) = (de60(b'1'), de60(b'0'));
    let request = |stan, amount, de60: Option<&[u8]>| {
        let extra = de60.map(|de60| (60, de60));
        let extra = extra.as_slice();
        Request { stan, amount: Some(amount), extra, ..Request::default() }.message(Dialect::cups())
    };
    let done = world.request(1, &request(1, 10_000, Some(&takes)));
    let answer = issuer_answer(&done[0].bytes, "10", &[(4, b"000000006000")]);
    let done = world.issuer(IssuerId(0), &answer);
    assert_eq!(done[0].text, "A1 0210 10");
    with_view(&done[0].bytes, |view| assert_eq!(view.amount().unwrap().0, 6_000));
    assert_eq!(texts(world.request(1, &request(2, 4_001, None))), ["A1 0210 61"]);
    // Who did not say that it can is declined, and the issuer's part is given back.
    for (stan, de60) in [(3, None), (4, Some(&de60_0[..]))] {
        let message = request(stan, 4_000, de60);
        let done = world.request(1, &message);
        assert_eq!(done[0].text, "I0 0200");
        let answer = issuer_answer(&done[0].bytes, "10", &[(4, b"000000001000")]);
        let done = world.issuer(IssuerId(0), &answer);
        assert_eq!(done[0].text, "A1 0210 51");
        if stan == 3 {
            assert_eq!(done[1].text, "I0 0420");
        }
        let newest = world.shard.owed_to(IssuerId(0)).owed;
        assert_eq!(newest, stan - 2, "a reversal each, in order");
        assert_eq!(texts(world.request(1, &message)), ["A1 0210 51"], "and again");
    }
    assert_eq!(world.shard.counters().value(Counter::PartialRefused), 2);
}

#[test]
fn amounts_of_other_currencies_are_never_added() {
    let mut world = world();
    let mut ask = |stan, amount, extra: &[(u8, &[u8])]| {
        let request = Request { stan, amount: Some(amount), extra, ..Request::default() };
        texts(world.request(1, &request.message(Dialect::cups())))
    };
    assert_eq!(ask(1, 100, &[(49, b"840")]), ["A1 0210 57"]);
    assert_eq!(ask(2, 100, &[(49, b"840"), (51, b"156")]), ["A1 0210 57"], "no billing amount");
    assert_eq!(ask(3, 100, &[(6, b"000000000719"), (49, b"840"), (51, b"978")]), ["A1 0210 57"]);
    let billed: &[(u8, &[u8])] = &[(6, b"000000009000"), (49, b"840"), (51, b"156")];
    assert_eq!(ask(4, 100, billed), ["I0 0200"]);
    assert_eq!(ask(5, 1_001, &[]), ["A1 0210 61"], "90.00 of 100.00 are reserved");
    assert_eq!(ask(6, 1_000, &[]), ["I0 0200"]);
}

/// C9: an answer without DE 39.
#[test]
fn c9_an_answer_without_a_code_is_no_answer() {
    let mut world = world();
    let done = world.request(1, &Request::default().message(Dialect::cups()));
    let whole = issuer_answer(&done[0].bytes, "00", &[]);
    let mut answer = vec![0; 2_048];
    let bytes = with_view(&whole, |view| {
        tapswitch_protocol::respond(view, view.mti(), view.present().without(39), &[], &mut answer)
            .unwrap()
    });
    let answered = texts(world.issuer(IssuerId(0), &answer[..bytes]));
    assert_eq!(answered, ["A1 0210 96", "I0 0420"]);
}

/// C6: the same answer twice; C16: from another issuer; C7: to no number.
#[test]
fn c6_c7_c16_answers_from_elsewhere_reach_nobody() {
    let mut world = world();
    let done = world.request(1, &Request::default().message(Dialect::cups()));
    let answer = issuer_answer(&done[0].bytes, "00", &[]);
    assert!(world.issuer(IssuerId(1), &answer).is_empty(), "another issuer");
    let later = issuer_answer(&done[0].bytes, "00", &[(7, b"0101000000")]);
    assert!(world.issuer(IssuerId(0), &later).is_empty(), "another DE 7");
    assert!(world.issuer(IssuerId(0), b"02").is_empty());
    assert!(world.issuer(IssuerId(0), &done[0].bytes).is_empty(), "a request");
    assert_eq!(texts(world.issuer(IssuerId(0), &answer)), ["A1 0210 00"]);
    assert!(world.issuer(IssuerId(0), &answer).is_empty(), "twice");
    assert_eq!(world.shard.counters().value(Counter::Unmatched), 3);
    assert_eq!(world.shard.counters().value(Counter::CrossIssuer), 1);
}

#[test]
fn a_broken_answer_that_can_be_matched_is_garbled() {
    let mut world = world();
    let done = world.request(1, &Request::default().message(Dialect::cups()));
    let mut answer = issuer_answer(&done[0].bytes, "00", &[]);
    answer.push(b'x');
    assert_eq!(texts(world.issuer(IssuerId(0), &answer)), ["A1 0210 96", "I0 0420"]);
}

#[test]
fn broken_requests_are_answered_or_dropped() {
    let mut world = world();
    let whole = Request::default().message(Dialect::cups());
    let mut trailing = whole.clone();
    trailing.push(b'0');
    assert_eq!(texts(world.request(1, &trailing)), ["A1 0210 30"]);
    let mut answered = 0;
    for bytes in 0..whole.len() {
        let done = texts(world.request(1, &whole[..bytes]));
        assert!(done.is_empty() || done == ["A1 0210 30"], "{bytes}: {done:?}");
        answered += usize::from(!done.is_empty());
    }
    let counters = world.shard.counters();
    assert_eq!(counters.value(Counter::DroppedUnreadable) as usize, whole.len() - answered);
    assert_eq!(world.unanswered.len(), whole.len() - answered, "each is told that none comes");
    assert!(answered > whole.len() / 2, "DE 11 stands early");
}

#[test]
fn mutated_requests_and_answers_never_panic() {
    let mut world = world();
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 300_000 };
    for round in 0..rounds {
        let stan = (round % 999_999 + 1) as u32;
        let mut message = Request {
            stan,
            original_stan: (round % 3 == 0).then_some(stan / 2),
            ..Request::default()
        }
        .message(Dialect::cups());
        let place = next() as usize % message.len();
        match next() % 3 {
            0 => message[place] = next() as u8,
            1 => message.truncate(place),
            _ => message[place] ^= 1 << (next() % 8),
        }
        world.at_ms(round * 10);
        let done = world.request(1 + (round % 2) as u16, &message);
        for action in done.iter().filter(|done| done.text.starts_with('I')) {
            let mut answer = action.bytes.clone();
            answer[2] += 1;
            let place = next() as usize % answer.len();
            answer[place] = next() as u8;
            world.issuer(IssuerId(0), &answer);
        }
        world.tick();
    }
    let counters = world.shard.counters();
    assert!(counters.value(Counter::AnsweredBySwitch) > 1_000);
}

#[test]
fn sign_on_where_it_is_required() {
    let mut config = config(1);
    config.acquirers[0].sign_on_required = true;
    let mut world = World::new(&config);
    let network = |mti, code: &'static [u8], stan| {
        let all: &[(u8, &[u8])] = &[(70, code)];
        let request =
            Request { mti, stan, pan: "", amount: None, extra: all, ..Request::default() };
        request.message(Dialect::cups())
    };
    let buy = |stan| Request { stan, ..Request::default() }.message(Dialect::cups());
    assert_eq!(texts(world.request(1, &buy(1))), ["A1 0210 58"]);
    assert_eq!(texts(world.request(1, &network(820, b"001", 2))), ["A1 0830 00"]);
    assert_eq!(texts(world.request(1, &buy(3))), ["I0 0200"]);
    assert_eq!(texts(world.request(2, &buy(4))), ["A2 0210 58"], "each connection for itself");
    assert_eq!(texts(world.request(1, &network(800, b"301", 5))), ["A1 0810 00"]);
    assert_eq!(texts(world.request(1, &network(820, b"161", 6))), ["A1 0830 12"]);
    assert_eq!(texts(world.request(1, &network(820, b"002", 7))), ["A1 0830 00"]);
    assert_eq!(texts(world.request(1, &buy(8))), ["A1 0210 58"]);
}

#[test]
fn the_pending_table_is_bounded() {
    let mut world = world();
    let mut refused = 0;
    for stan in 1..=100u32 {
        // Inquiries, so that no limit stops them first.
        let processing = "300000";
        let request = Request { stan, processing, amount: None, ..Request::default() };
        let done = texts(world.request(1, &request.message(Dialect::cups())));
        refused += usize::from(done == ["A1 0210 96"]);
    }
    assert_eq!(refused, 40, "64 places, of which a sixteenth is for the other acquirer");
    for stan in 1..=5u32 {
        let processing = "300000";
        let request = Request { stan, processing, amount: None, ..Request::default() };
        let done = texts(world.request(101, &request.message(Dialect::iso87_ascii())));
        assert_eq!(done == ["A101 0210 96"], stan == 5);
    }
    assert_eq!(world.shard.in_flight(), 64);
}

//! Bytes in any portions, and bytes that are no messages: only lost framing ends a connection, and
//! none of it disturbs anybody else.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{GENEROUS, Setup, Switch};
use std::collections::BTreeSet;
use tapswitch_protocol::Mti;

/// One shard: what reaches it on one connection before a request on another one is taken before.
const ONE_SHARD: &str = "shards = 1";

fn switch() -> Switch {
    Setup { switch: ONE_SHARD, bank: GENEROUS, ..Setup::default() }.run()
}

/// Banks that take 50 ms.
const SOON: &str = "delay_median_us = 50_000\ndelay_p99_us = 50_000\nsilence_ppm = 0\nlate_ppm = 0";
/// Banks that take a second.
const A_SECOND_LATER: &str =
    "delay_median_us = 1_000_000\ndelay_p99_us = 1_000_000\nsilence_ppm = 0\nlate_ppm = 0";

const SPEECHES: [fn() -> Speech; 2] = [Speech::cups, Speech::iso87];

/// An inquiry moves no money and counts against no limit: every answer to it is the same but for
/// what names it.
fn inquiry(speech: Speech, number: u32) -> Message {
    let stan = format!("{number:06}");
    let fields = [
        (2, "6226019000000001"),
        (3, "300000"),
        (7, "0704093015"),
        (11, stan.as_str()),
        (12, "093015"),
        (13, "0704"),
        (18, "6011"),
        (32, "03330000"),
        (33, "03330000"),
        (37, "093000000001"),
        (41, "01080209"),
        (42, "333290054110001"),
        (49, "156"),
    ];
    Message::written(speech, Mti::FINANCIAL_REQUEST, &fields)
}

/// Between both parts another connection has its answer, so the first part was taken alone.
#[test]
fn a_request_split_at_any_byte_is_one_request() {
    for speech in SPEECHES.map(|speech| speech()) {
        let switch = switch();
        let mut client = Client::of(&switch, speech);
        let mut other = Client::of(&switch, speech);
        let whole = client.ask(&inquiry(speech, 999_999));
        assert_eq!(whole.outcome(), ("0210".into(), "00".into()));
        let bytes = inquiry(speech, 0).frame().len();
        for split in 1..bytes {
            let request = inquiry(speech, split as u32);
            let frame = request.frame();
            client.send(&frame[..split]);
            other.ask(&Message::echo_test(speech, split as u32));
            client.send(&frame[split..]);
            let answer = client.frame().unwrap();
            let expected = whole.clone().with(11, &request.text(11)).frame();
            assert_eq!(answer, expected, "split at {split}");
        }
        drop((client, other));
        let ended = switch.stop();
        // The split ones, the whole one, and one echo test for each split.
        assert_eq!(ended.counter("received"), 2 * bytes as u64 - 1);
        assert_eq!(ended.counter("answered{issuer}"), bytes as u64);
    }
}

/// Many requests in one stream, cut at many places that have nothing to do with them.
#[test]
fn a_stream_cut_anywhere_is_the_same_stream() {
    const REQUESTS: u32 = 300;
    let switch = switch();
    let client = Client::of(&switch, Speech::cups());
    let stream: Vec<u8> =
        (0..REQUESTS).flat_map(|number| inquiry(Speech::cups(), number).frame()).collect();
    let mut reader = client.reader();
    let answers = std::thread::scope(|scope| {
        let answers = scope.spawn(|| reader.answers(REQUESTS as usize));
        // Portions of 1 to 1,024 bytes, small ones more often (a linear congruential sequence).
        let (mut rest, mut state, mut portions) = (stream.as_slice(), 1_u32, 0);
        while !rest.is_empty() {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let bytes = 1 + (state >> 12) % (1 << ((state >> 27) % 11));
            let (portion, later) = rest.split_at(rest.len().min(bytes as usize));
            client.send(portion);
            (rest, portions) = (later, portions + 1);
        }
        assert!(portions > REQUESTS, "every request is cut somewhere: {portions}");
        answers.join().unwrap()
    });
    let numbers: Vec<u32> = answers.iter().map(Message::number).collect();
    assert_eq!(numbers, (0..REQUESTS).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| answer.text(39) == "00"));
    drop((client, reader));
    assert_eq!(switch.stop().counter("received"), u64::from(REQUESTS));
}

#[test]
fn a_thousand_requests_in_one_write_are_all_answered_and_the_torn_one_when_it_is_whole() {
    const REQUESTS: u32 = 1_000;
    for speech in SPEECHES.map(|speech| speech()) {
        let switch = switch();
        let client = Client::of(&switch, speech);
        let mut reader = client.reader();
        // A purchase with each of a thousand cards.
        let requests = (0..REQUESTS).map(|number| Message::purchase(speech, number, number));
        let mut bytes: Vec<u8> = requests.flat_map(|request| request.frame()).collect();
        let torn = Message::purchase(speech, REQUESTS, REQUESTS).frame();
        let (head, tail) = torn.split_at(torn.len() / 2);
        bytes.extend_from_slice(head);
        let answers = std::thread::scope(|scope| {
            let answers = scope.spawn(|| reader.answers(REQUESTS as usize));
            client.send(&bytes);
            answers.join().unwrap()
        });
        let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
        assert_eq!(numbers, (0..REQUESTS).collect());
        assert!(answers.iter().all(|answer| answer.text(39) == "00"));
        client.send(tail);
        let last = reader.answer();
        assert_eq!((last.number(), &*last.text(39)), (REQUESTS, "00"));
        client.end();
        assert!(reader.next_answer().is_none(), "one answer to each, then the end");
        drop((client, reader));
        assert_eq!(switch.stop().counter("approved"), u64::from(REQUESTS) + 1);
    }
}

/// What was whole before is answered, what comes after is not looked at, others go on.
#[test]
fn lost_framing_closes_its_connection_only() {
    let cases: [(Speech, &[u8], &str); 4] = [
        (Speech::iso87(), &[0, 0], "frame_bad{zero}"),
        (Speech::iso87(), &[0xFF, 0xFF], "frame_bad{too_long}"),
        (Speech::cups(), b"9999", "frame_bad{too_long}"),
        (Speech::cups(), b"03a4", "frame_bad{not_digits}"),
    ];
    let switch = switch();
    let mut others = SPEECHES.map(|speech| Client::of(&switch, speech()));
    for (number, (speech, bad, why)) in cases.iter().enumerate() {
        let mut client = Client::of(&switch, *speech);
        let good = |place: u32| inquiry(*speech, 10 * number as u32 + place);
        client.send(&[&good(0).frame(), *bad, &good(1).frame()].concat());
        assert_eq!(client.answer().number(), good(0).number(), "{why}");
        assert!(client.next_answer().is_none(), "{why}");
        for other in &mut others {
            let echo_test = Message::echo_test(other.speech(), number as u32);
            assert_eq!(other.ask(&echo_test).text(39), "00");
        }
    }
    drop(others);
    let ended = switch.stop();
    assert_eq!(ended.counter("frame_bad{zero}"), 1);
    assert_eq!(ended.counter("frame_bad{too_long}"), 2);
    assert_eq!(ended.counter("frame_bad{not_digits}"), 1);
    assert_eq!(ended.counter("received"), 4 + 8, "nothing behind the bad length was taken");
}

#[test]
fn idle_probes_are_never_answered() {
    let switch = switch();
    let mut client = Client::of(&switch, Speech::cups());
    client.send(b"0000");
    let first = client.ask(&inquiry(Speech::cups(), 1));
    let whole = inquiry(Speech::cups(), 2).frame();
    client.send(&[b"00000000", whole.as_slice(), b"0000"].concat());
    let second = client.answer();
    assert_eq!((first.number(), second.number()), (1, 2));
    client.send(b"0000");
    client.end();
    assert!(client.next_answer().is_none());
    drop(client);
    assert_eq!(switch.stop().counter("received"), 2);
}

/// A header of another length or with a reject code is skipped; the connection lives.
#[test]
fn frames_with_an_unusable_header_are_skipped() {
    let switch = switch();
    let mut client = Client::of(&switch, Speech::cups());
    let mut garbage = inquiry(Speech::cups(), 1);
    garbage.header[0] = 45;
    let mut rejected = inquiry(Speech::cups(), 2);
    rejected.header[41..].copy_from_slice(b"00035");
    let short = b"0005hello";
    let good = inquiry(Speech::cups(), 3).frame();
    client.send(&[&garbage.frame(), &rejected.frame(), short.as_slice(), &good].concat());
    assert_eq!(client.answer().number(), 3);
    assert_eq!(client.ask(&inquiry(Speech::cups(), 4)).number(), 4);
    drop(client);
    let ended = switch.stop();
    assert_eq!(ended.counter("dropped{header}"), 2);
    assert_eq!(ended.counter("dropped{rejected}"), 1);
    assert_eq!(ended.counter("received"), 2);
}

/// Acquirers that wait longer than any test does.
fn patient(behaviour: Option<&'static str>) -> Setup<'static> {
    Setup {
        switch: ONE_SHARD,
        acquirer: "answer_within_ms = 60_000\nanswer_margin_ms = 20_000\nretry_window_s = 60",
        behaviour,
        bank: GENEROUS,
        ..Setup::default()
    }
}

/// A response type on an acquirer's connection matches nothing, not even what is in flight, and
/// nothing waits for an answer to it.
#[test]
fn responses_from_an_acquirer_are_dropped_and_the_next_request_is_answered() {
    for speech in SPEECHES.map(|speech| speech()) {
        let switch = patient(None).run();
        let mut client = Client::of(&switch, speech);
        let as_response = |mti: u16, number| {
            let mut message = inquiry(speech, number);
            message.body[..4].copy_from_slice(format!("{mti:04}").as_bytes());
            message.frame()
        };
        let responses = [110, 210, 230, 410, 430, 810, 830].map(|mti| as_response(mti, 1));
        client.send(&responses.concat());
        assert_eq!(client.ask(&inquiry(speech, 1)).outcome(), ("0210".into(), "00".into()));
        client.end();
        assert!(client.next_answer().is_none());
        drop(client);
        assert_eq!(switch.stop().counter("dropped{response_mti}"), 7);
    }
}

/// The acquirer has said all that it will say, and still gets every answer.
#[test]
fn a_connection_half_closed_gets_all_its_answers_and_then_the_end() {
    const REQUESTS: u32 = 50;
    for speech in SPEECHES.map(|speech| speech()) {
        let switch = patient(Some(SOON)).run();
        let mut client = Client::of(&switch, speech);
        let requests = (0..REQUESTS).map(|number| Message::purchase(speech, number, number));
        client.send(&requests.flat_map(|request| request.frame()).collect::<Vec<_>>());
        client.end();
        let answers = client.answers(REQUESTS as usize);
        let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
        assert_eq!(numbers, (0..REQUESTS).collect());
        assert!(answers.iter().all(|answer| answer.text(39) == "00"));
        assert!(client.next_answer().is_none());
        drop(client);
        let ended = switch.stop();
        assert_eq!(ended.counter("approved"), u64::from(REQUESTS));
        assert_eq!(ended.counter("saf{owed}"), 0, "everything was delivered");
    }
}

/// The answer goes to the newest transmission; the connection of the first is not kept for it.
#[test]
fn a_request_repeated_in_flight_is_answered_once_where_it_was_repeated() {
    let speech = Speech::cups();
    let switch = patient(Some(A_SECOND_LATER)).run();
    let mut first = Client::of(&switch, speech);
    let mut second = Client::of(&switch, speech);
    let request = Message::purchase(speech, 1, 1);
    // An echo test's answer says that what came before it was taken.
    first.send(&request.frame());
    assert_eq!(first.ask(&Message::echo_test(speech, 2)).number(), 2);
    second.send(&request.frame());
    assert_eq!(second.ask(&Message::echo_test(speech, 3)).number(), 3);
    first.end();
    assert!(first.next_answer().is_none());
    assert_eq!(second.answer().number(), 1);
    drop((first, second));
    let ended = switch.stop();
    assert_eq!((ended.counter("duplicate{absorbed}"), ended.counter("approved")), (1, 1));
}

/// Each drips one byte a round, and in every round another connection has its answer.
#[test]
fn many_connections_that_drip_bytes_hold_nobody_up_and_take_little_memory() {
    const DRIPPING: u32 = 600;
    // Few enough that a frame is whole in time although the machine stands still for seconds.
    const ROUNDS: usize = 10;
    const BEFORE: usize = 2_000;
    let speech = Speech::cups();
    let switch = switch();
    let mut brisk = Client::of(&switch, speech);
    let mut ask = |number: usize| {
        let request = inquiry(speech, number as u32);
        assert_eq!(brisk.ask(&request).outcome(), ("0210".into(), "00".into()));
    };
    (0..BEFORE).for_each(&mut ask);
    let before_bytes = switch.resident_bytes();
    // All at once: a burst of connections is no reason to refuse one.
    let address = switch.address(speech.name());
    let clients: Vec<_> = (0..DRIPPING).map(|_| Client::connect(address, speech)).collect();
    let frames = (0..DRIPPING).map(|number| inquiry(speech, 500_000 + number).frame());
    let mut dripping: Vec<(Client, Vec<u8>)> = clients.into_iter().zip(frames).collect();
    for round in 0..ROUNDS {
        dripping.iter().for_each(|(client, frame)| client.send(&frame[round..=round]));
        ask(BEFORE + round);
    }
    // A small read buffer, a small write buffer and two tasks for each.
    let grown_bytes = switch.resident_bytes().saturating_sub(before_bytes);
    assert!(grown_bytes < u64::from(DRIPPING) * 32_768, "{grown_bytes} bytes more");
    for (client, frame) in &mut dripping {
        client.send(&frame[ROUNDS..]);
        assert_eq!(client.answer().outcome(), ("0210".into(), "00".into()));
    }
    drop((brisk, dripping));
    let answered = (BEFORE + ROUNDS) as u64 + u64::from(DRIPPING);
    assert_eq!(switch.stop().counter("answered{issuer}"), answered);
}

/// Row A22: bytes of nobody, behind good lengths or none, by connections that end when they are cut.
#[test]
fn a22_random_bytes_end_their_connection_at_most() {
    const CONNECTIONS: u32 = 120;
    let switch = switch();
    let mut others = SPEECHES.map(|speech| Client::of(&switch, speech()));
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for number in 0..CONNECTIONS {
        let speech = SPEECHES[number as usize % 2]();
        let client = Client::of(&switch, speech);
        let mut bytes = Vec::new();
        while bytes.len() < 6_000 {
            let mut message = inquiry(speech, number);
            let body = message.body.len();
            match number % 3 {
                0 => message.body = (0..body).map(|_| next() as u8).collect(),
                // A type and a bitmap that may be, and what does not fit them.
                1 => message.body[20..].fill_with(|| next() as u8),
                _ => (0..8).for_each(|_| message.body[next() as usize % body] = next() as u8),
            }
            bytes.extend(message.frame());
        }
        if number % 4 == 0 {
            bytes.fill_with(|| next() as u8);
        }
        // It may have been cut before it has sent everything.
        client.send_what_is_taken(&bytes);
        client.wait_for_any_end();
        for other in &mut others {
            let echo_test = Message::echo_test(other.speech(), number);
            assert_eq!(other.ask(&echo_test).text(39), "00");
        }
    }
    drop(others);
    let ended = switch.stop();
    assert!(ended.counter("dropped{unreadable}") > 0, "{}", ended.output);
}

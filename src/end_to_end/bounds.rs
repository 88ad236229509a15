//! What is bounded, from outside: how much a peer may leave unread, how much shards ask of each other at
//! a time, how far back an original is known. Beyond each bound something definite happens, and no money
//! is lost.

use crate::banks::{standing, until_approved};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, GENEROUS, Setup, free_ports};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::Write;
use std::net::TcpStream;
use tapswitch_protocol::Mti;

/// More than all buffers between a peer and the switch hold.
const FLOOD_BYTES_MAX: usize = 64 << 20;
/// A limit that none of these tests passes.
const UNLIMITED: &str = "[[velocity.counter]]\nname = \"day\"\nwindow = \"day\"\n\
    [[velocity.limit]]\nname = \"all\"\ncounter = \"day\"\ncount_max = 60_000\n";

fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// B6: who never reads is read no more, and closed after a while; others are served meanwhile, and what he
/// did not get is reversed.
#[test]
fn b6_a_peer_that_never_reads_is_closed_and_what_it_did_not_get_is_reversed() {
    let setup = Setup {
        switch: "shards = 1",
        acquirer: "answer_within_ms = 6_000\nanswer_margin_ms = 5_000",
        bank: GENEROUS,
        issuers: UNLIMITED,
        ..Setup::default()
    };
    let switch = setup.run();
    let address = switch.address("cups");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut deaf = TcpStream::from(socket);
    // Nothing here waits longer for the switch than any wait of a test does.
    SockRef::from(&deaf).set_write_timeout(Some(2 * crate::process::PATIENCE)).unwrap();
    let sent = std::thread::scope(|scope| {
        let flood = scope.spawn(move || {
            let (mut sent, mut number) = (0, 0);
            while sent < FLOOD_BYTES_MAX {
                number += 1;
                let frame = Message::purchase(Speech::cups(), number % 10_000, number).frame();
                if deaf.write_all(&frame).is_err() {
                    break;
                }
                sent += frame.len();
            }
            sent
        });
        let mut other = Client::of(&switch, Speech::iso87());
        // Approved, unless the machine stands still for longer than an issuer may take.
        for number in 1..=50 {
            let request = Message::purchase(Speech::iso87(), 12_000 + number, number);
            let code = other.ask(&request).text(39);
            assert!(["00", "91", "98"].contains(&&*code), "{code}");
        }
        flood.join().unwrap()
    });
    assert!(sent < FLOOD_BYTES_MAX, "it is read no more");
    // Those that nobody fetches wait for another connection until their time is over.
    let ended = switch.stop();
    assert_eq!(ended.counter("slow_consumer"), 1, "{}", ended.output);
    let reversed = ended.counter("undeliverable{reversed}");
    assert!(reversed > 0, "{}", ended.output);
    assert_eq!(ended.counter("saf{owed}"), ended.counter("saf{done}"), "{}", ended.output);
}

/// G2: the issuer answers nothing, so all that shards may ask of each other is under way, in both
/// directions at once. What is beyond is refused at once; the rest is answered, each once.
#[test]
fn g2_shards_that_have_no_room_for_each_other_refuse_at_once_and_go_on() {
    const REQUESTS: u32 = 3_000;
    let issuers =
        format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\n{UNLIMITED}", free_ports(1)[0]);
    let acquirer = "answer_within_ms = 30_000\nanswer_margin_ms = 1_000";
    let setup = Setup {
        switch: "shards = 2\nissuer_in_flight_max = 16_000",
        acquirer,
        bank: GENEROUS,
        issuers: &issuers,
        ..Setup::default()
    };
    let banks = Banks::start(&setup.text());
    let switch = setup.run();
    // One on each shard: a connection goes to the shard that has the fewest.
    let mut clients = [0, 1].map(|_| Client::of(&switch, Speech::cups()));
    let (mut approved, _) = until_approved(&mut clients[0], 900_000);
    banks.freeze();
    for (place, client) in (0..).zip(&clients) {
        let from = place * 10_000;
        (from..from + REQUESTS).for_each(|number| client.send(&purchase(number).frame()));
    }
    // A few hundred of each are beyond the credits; while the issuer is silent nothing else comes.
    let mut refused = 0;
    for client in &mut clients {
        for answer in client.answers(100) {
            assert_eq!(answer.text(39), "96");
            refused += 1;
        }
    }
    banks.thaw();
    for client in &mut clients {
        for answer in client.answers(REQUESTS as usize - 100) {
            match answer.text(39).as_str() {
                "00" => approved += 1,
                code => {
                    assert_eq!(code, "96");
                    refused += 1;
                }
            }
        }
    }
    // Every credit has come home: as much again would find room.
    let (more, _) = until_approved(&mut clients[1], 500_000);
    approved += more;
    for client in clients {
        assert!(client.rest().is_empty(), "exactly one answer to each");
    }
    let ended = switch.stop();
    assert_eq!(ended.counter("refused{no_credit}"), refused, "{}", ended.output);
    assert_eq!(standing(&banks.stop()).len(), approved);
}

/// C17: a bank answers no request, and each number that timed out is kept for its late answer: when every
/// number of a shard has come round, 91 at once.
#[test]
fn c17_a_shard_that_has_no_trace_number_left_says_91() {
    // Each has so small a part of the numbers that a test can use it up.
    const SHARDS: usize = 32;
    const NUMBERS: usize = 1_000_000 / SHARDS;
    // Fewer at once than shards may ask of each other, and than wait before a bank.
    const CLIENTS: u32 = 8;
    const EACH: u32 = 400;
    let setup = Setup {
        switch: &format!("shards = {SHARDS}\nissuer_in_flight_max = {}", NUMBERS - 1),
        acquirer: "answer_within_ms = 9_000\nanswer_margin_ms = 8_500",
        behaviour: Some(
            "delay_median_us = 0\ndelay_p99_us = 0\nsilence_ppm = 1_000_000\nlate_ppm = 0",
        ),
        bank: GENEROUS,
        issuers: UNLIMITED,
        ..Setup::default()
    };
    let switch = setup.run();
    let mut clients: Vec<Client> =
        (0..CLIENTS).map(|_| Client::of(&switch, Speech::cups())).collect();
    let (mut timed_out, mut refused) = (0, 0);
    for round in 0.. {
        for (place, client) in (0..).zip(&clients) {
            let first = (round * CLIENTS + place) * EACH;
            let numbers = first..first + EACH;
            let frames: Vec<u8> = numbers
                .flat_map(|number| Message::purchase(Speech::cups(), 1, number).frame())
                .collect();
            client.send(&frames);
        }
        for client in &mut clients {
            for answer in client.answers(EACH as usize) {
                match answer.text(39).as_str() {
                    "98" => timed_out += 1,
                    code => {
                        assert_eq!(code, "91");
                        refused += 1;
                    }
                }
            }
        }
        if refused > 0 {
            break;
        }
        // On a machine that stands still for a minute the first are free again.
        assert!(timed_out <= 4 * NUMBERS, "a number each");
    }
    assert!(timed_out > NUMBERS / 2, "{timed_out}");
    drop(clients);
    let ended = switch.stop();
    assert_eq!(ended.counter("refused{no_stan}"), refused, "{}", ended.output);
}

/// D17: the original is long forgotten: its reversal is accepted and handed to the issuer, which knows it.
#[test]
fn d17_a_reversal_of_what_is_forgotten_is_the_issuer_s_to_find() {
    const FORGOTTEN_AFTER: u32 = 600;
    let issuers =
        format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\n{UNLIMITED}", free_ports(1)[0]);
    let setup = Setup {
        shipped_tables: true,
        // A few originals only; one a second is what it is sized for.
        switch: "shards = 1\npending_max = 1_024\nduplicates_bytes = 1_048_576\n\
                 originals_bytes = 16_384\npeak_per_second = 1",
        bank: &format!("accounts_max = 16_384\n{GENEROUS}\n[velocity]\nlines = 65_536"),
        issuers: &issuers,
        ..Setup::default()
    };
    let banks = Banks::start(&setup.text());
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    let (approved, _) = until_approved(&mut client, 900_000);
    let first = purchase(1);
    assert_eq!(client.ask(&first).text(39), "00");
    for number in 2..2 + FORGOTTEN_AFTER {
        assert_eq!(client.ask(&purchase(number)).text(39), "00");
    }
    let reversal = first.reversal(Mti::REVERSAL_ADVICE, 800_001);
    for _ in 0..2 {
        assert_eq!(client.ask(&reversal).text(39), "00", "accepted, however often");
    }
    drop(client);
    let ended = switch.stop();
    assert_eq!(ended.counter("reversal{unknown}"), 1, "{}", ended.output);
    assert!(ended.counter("original{evicted}") > 0, "{}", ended.output);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (1, 1));
    let stands = standing(&banks.stop());
    assert!(!stands.contains_key(&first.text(37)), "the issuer has reversed it");
    assert_eq!(stands.len(), approved + FORGOTTEN_AFTER as usize);
}

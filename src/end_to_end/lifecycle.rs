//! How the binary starts, refuses to start, and stops.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Ended, Folder, GENEROUS, PATIENCE, Setup, Switch, run};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::net::TcpStream;
use std::path::Path;

/// Banks that take so long that whatever was just sent is in flight.
const SLOW: &str =
    "delay_median_us = 2_000_000\ndelay_p99_us = 2_000_000\nsilence_ppm = 0\nlate_ppm = 0";

/// Connections, half of them of each acquirer, and what each sends.
const CONNECTIONS: u32 = 8;
const REQUESTS: u32 = 60;

/// Whatever was sent before the signal is answered: what was taken already by its bank, the rest by
/// its bank or with "issuer unavailable".
fn stop_under_way(switch_lines: &'static str, signal: Signal) -> Ended {
    let setup =
        Setup { switch: switch_lines, behaviour: Some(SLOW), bank: GENEROUS, ..Setup::default() };
    let switch = setup.run();
    let mut clients: Vec<Client> = (0..CONNECTIONS)
        .map(|number| {
            let speech = if number % 2 == 0 { Speech::cups() } else { Speech::iso87() };
            Client::of(&switch, speech)
        })
        .collect();
    let halves: Vec<[Vec<u8>; 2]> = (0..)
        .zip(&clients)
        .map(|(number, client)| [0, REQUESTS].map(|from| purchases(client.speech(), number, from)))
        .collect();
    for (number, (client, [first, _])) in (0..).zip(clients.iter_mut().zip(&halves)) {
        client.send(first);
        // When this is answered, the purchases before it are on their way to their banks.
        let echo_test = Message::echo_test(client.speech(), 999_000 + number);
        assert_eq!(client.ask(&echo_test).number(), echo_test.number());
    }
    for (client, [_, second]) in clients.iter().zip(&halves) {
        client.send(second);
    }
    let addresses = ["cups", "iso87-ascii"].map(|dialect| switch.address(dialect));
    switch.signal(signal);
    for (number, client) in (0..).zip(&mut clients) {
        let answers: Vec<Message> = std::iter::from_fn(|| client.next_answer()).collect();
        let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
        let first = number * 1_000;
        assert_eq!(numbers, (first..first + 2 * REQUESTS).collect());
        assert_eq!(answers.len() as u32, 2 * REQUESTS, "one answer to each");
        for answer in answers {
            let taken_before = answer.number() < first + REQUESTS;
            let code = answer.text(39);
            assert!(code == "00" || code == "91" && !taken_before, "{code}");
        }
    }
    drop(clients);
    let ended = switch.end();
    ended.assert_clean();
    for address in addresses {
        assert!(TcpStream::connect_timeout(&address, PATIENCE).is_err(), "nobody listens");
    }
    ended
}

/// Purchases of one connection, one card each.
fn purchases(speech: Speech, connection: u32, from: u32) -> Vec<u8> {
    let numbers = (from..from + REQUESTS).map(|number| connection * 1_000 + number);
    numbers.flat_map(|number| Message::purchase(speech, number, number).frame()).collect()
}

fn check_books(ended: &Ended) {
    let all = u64::from(CONNECTIONS * 2 * REQUESTS);
    let approved = ended.counter("approved");
    assert!(approved >= all / 2);
    assert_eq!(approved + ended.counter("refused{draining}"), all, "{}", ended.output);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("issuer{time_out}")), (0, 0));
}

#[test]
fn sigterm_with_hundreds_of_requests_in_flight_loses_none() {
    let ended = stop_under_way("", Signal::TERM);
    assert!(ended.output.contains("stopping    SIGTERM"), "{}", ended.output);
    check_books(&ended);
}

#[test]
fn sigint_with_two_shards_and_epoll_loses_none_either() {
    let ended = stop_under_way("shards = 2\nengine = \"tokio\"", Signal::INT);
    assert!(ended.output.contains("stopping    SIGINT"), "{}", ended.output);
    assert!(ended.counter("mesh{out}") > 0);
    assert_eq!(ended.counter("mesh{out}"), ended.counter("mesh{in}"));
    check_books(&ended);
}

#[test]
fn the_first_screen_says_what_was_started_and_what_it_does_not_do() {
    let switch = Setup { switch: "shards = 2\nengine = \"tokio\"", ..Setup::default() }.run();
    assert_eq!(switch.said("engine"), "tokio (epoll), as configured");
    assert_eq!(switch.said("shards"), "2, not pinned");
    assert!(switch.said("issuers").starts_with("20 simulated banks"));
    assert!(switch.said("durability").starts_with("off"));
    assert_ne!(switch.address("cups"), switch.address("iso87-ascii"));
    switch.stop();
}

/// Somebody may be using its ports; then it says so, and nothing else.
#[test]
fn without_a_file_the_shipped_configuration_runs() {
    let ended = run(Folder::new(), &["run", "--seconds", "1"]);
    if ended.code == Some(1) {
        assert!(ended.problems.contains("the port is busy"), "{}", ended.problems);
        return;
    }
    ended.assert_clean();
    for acquirer in ["127.0.0.1:8583 cups (cups)", "127.0.0.1:8584 iso87-ascii (iso87-ascii)"] {
        assert!(ended.output.contains(acquirer), "{}", ended.output);
    }
}

fn words<const N: usize>(words: [&str; N], file: &Path) -> Vec<OsString> {
    words.iter().map(OsString::from).chain([file.as_os_str().to_owned()]).collect()
}

#[test]
fn a_busy_port_is_said_in_one_sentence_that_names_it() {
    let switch: Switch = Setup::default().run();
    let taken = switch.address("cups").to_string();
    let folder = Folder::new();
    let text = Setup::default().text().replacen("127.0.0.1:0", &taken, 1);
    let file = folder.file("switch.toml", &text);
    let second = run(folder, &words(["run", "--config"], &file));
    assert_eq!((second.code, second.output.as_str()), (Some(1), ""));
    assert_eq!(second.problems.lines().count(), 1, "{}", second.problems);
    for part in [taken.as_str(), "`cups`", "the port is busy"] {
        assert!(second.problems.contains(part), "{part}: {}", second.problems);
    }
    // The first one has not noticed.
    let mut client = Client::of(&switch, Speech::cups());
    assert_eq!(client.ask(&Message::echo_test(Speech::cups(), 1)).text(39), "00");
    drop(client);
    switch.stop();
}

#[test]
fn a_missing_configuration_is_named() {
    for command in [&["run", "--config"][..], &["demo", "--config"], &["check"]] {
        let folder = Folder::new();
        let file = folder.path("not-there.toml");
        let arguments: Vec<&OsStr> =
            command.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
        let ended = run(folder, &arguments);
        assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""), "{command:?}");
        assert!(ended.problems.contains(file.to_str().unwrap()), "{}", ended.problems);
        assert!(ended.problems.contains("cannot be read"), "{}", ended.problems);
    }
}

#[test]
fn a_wrong_key_is_named_with_file_line_and_likely_cause() {
    for command in [&["run", "--config"][..], &["demo", "--config"], &["check"]] {
        let folder = Folder::new();
        let text = Setup { acquirer: "anwser_within_ms = 5_000", ..Setup::default() }.text();
        let line = 1 + text.lines().position(|line| line.starts_with("anwser")).unwrap();
        let file = folder.file("switch.toml", &text);
        let arguments: Vec<&OsStr> =
            command.iter().map(OsStr::new).chain([file.as_os_str()]).collect();
        let ended = run(folder, &arguments);
        assert_eq!((ended.code, ended.output.as_str()), (Some(78), ""), "{command:?}");
        let place = format!("{}:{line}: acquirer.cups.anwser_within_ms: ", file.display());
        let cause = "did you mean `answer_within_ms`?";
        for part in [place.as_str(), "unknown key", cause] {
            assert!(ended.problems.contains(part), "{part}: {}", ended.problems);
        }
    }
}

#[test]
fn check_sums_up_the_configuration_that_runs() {
    let folder = Folder::new();
    let file = folder.file("switch.toml", &Setup::default().text());
    let ended = run(folder, &words(["check"], &file));
    assert_eq!((ended.code, ended.problems.as_str()), (Some(0), ""));
    assert!(ended.output.starts_with(&format!("{}: no problems\n", file.display())));
    for part in ["acquirer  cups at 127.0.0.1:0", "issuers   20, 560 IIN prefixes", "65,536 cards"]
    {
        assert!(ended.output.contains(part), "{part}: {}", ended.output);
    }
}

/// A purchase, as a person looks at it: fields by name, the card masked.
#[test]
fn decode_shows_a_message_without_its_secrets() {
    let purchase = Message::purchase(Speech::cups(), 42, 7);
    let hex: String = purchase.body.iter().map(|byte| format!("{byte:02X}")).collect();
    let pan = purchase.text(2);
    let table = run(Folder::new(), &["decode", hex.as_str()]);
    assert_eq!((table.code, table.problems.as_str()), (Some(0), ""));
    assert!(table.output.contains("0200"), "{}", table.output);
    assert!(table.output.contains("000000000100"), "{}", table.output);
    assert!(!table.output.contains(&pan), "the card is masked: {}", table.output);

    let framed: String = purchase.frame().iter().map(|byte| format!("{byte:02X}")).collect();
    let object = run(Folder::new(), &["decode", "--framed", "--json", framed.as_str()]);
    assert_eq!((object.code, object.problems.as_str()), (Some(0), ""));
    let object: serde_json::Value = serde_json::from_str(&object.output).unwrap();
    assert_eq!(object["mti"], "0200");
    assert_eq!(object["fields"]["4"], "000000000100");
    assert_ne!(object["fields"]["2"], pan.as_str());
    let shown = object["fields"]["2"].as_str().unwrap();
    assert!(shown.starts_with(&pan[..6]) && shown.ends_with(&pan[12..]), "{shown}");

    let cut = run(Folder::new(), &["decode", &hex[..hex.len() - 2]]);
    assert_ne!(cut.code, Some(0));
    assert!(cut.problems.contains("DE 49"), "{}", cut.problems);
}

/// Shards that never sleep are stopped for longer than a shard may be away, again and again: the whole
/// process stood still, and none of them is to blame.
#[test]
fn a_process_that_stood_still_blames_none_of_its_shards() {
    let lines = "shards = 2\nidle = \"spin\"\nstall_abort_ms = 2_000";
    let setup = Setup { switch: lines, bank: GENEROUS, ..Setup::default() };
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    for round in 0..3 {
        switch.signal(Signal::STOP);
        let still = rustix::thread::Timespec { tv_sec: 3, tv_nsec: 0 };
        let _ = rustix::thread::nanosleep(&still);
        switch.signal(Signal::CONT);
        let answer = client.ask(&Message::purchase(client.speech(), round, round));
        assert_eq!(answer.text(39), "00");
    }
    drop(client);
    switch.signal(Signal::TERM);
    let ended = switch.end();
    ended.assert_clean();
    assert!(!ended.problems.contains("shard{stalled}"), "{}", ended.problems);
}

/// A process that the kernel does not let run for a while: what became due meanwhile is answered when it
/// runs again, once.
#[test]
fn time_outs_that_fell_into_a_pause_are_answered_once() {
    let setup = Setup {
        acquirer: "answer_within_ms = 10_000\nanswer_margin_ms = 9_200",
        behaviour: Some(
            "delay_median_us = 0\ndelay_p99_us = 0\nsilence_ppm = 1_000_000\nlate_ppm = 0",
        ),
        bank: GENEROUS,
        ..Setup::default()
    };
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    let speech = client.speech();
    client.send(&purchases(speech, 0, 0));
    // When this is answered, the purchases before it have been forwarded.
    client.ask(&Message::echo_test(speech, 999_000));
    switch.signal(Signal::STOP);
    // Longer than the issuers have.
    let _ =
        rustix::thread::nanosleep(&rustix::thread::Timespec { tv_sec: 1, tv_nsec: 500_000_000 });
    switch.signal(Signal::CONT);
    let answers = client.answers(REQUESTS as usize);
    let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
    assert_eq!(numbers, (0..REQUESTS).collect());
    assert!(answers.iter().all(|answer| answer.text(39) == "98"));
    assert_eq!(client.ask(&Message::echo_test(speech, 999_001)).number(), 999_001, "nothing more");
    // The banks answer no reversal either.
    switch.signal(Signal::KILL);
}

//! The switch, and banks in a process of their own: links are made, lost and made again.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, Folder, GENEROUS, Setup, Switch, free_ports, run};
use serde_json::Value;
use std::collections::BTreeMap;

/// Purchases that are in flight when the banks are killed.
const IN_FLIGHT: u32 = 40;
/// Tries until a link that is being made again is up: one takes a few milliseconds, the wait
/// between two connections of the switch a few seconds at most.
const TRIES_MAX: u32 = 100_000;

/// Cards in a row whose purchases are approved when the links of all shards are up.
const CARDS_OF_ALL_SHARDS: u32 = 64;

/// CMBC, whose cards `Message::purchase` uses, is reached over TCP.
fn issuers() -> String {
    let ports = free_ports(1);
    format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\n", ports[0])
}

fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// Purchases with ever new cards and numbers, until so many in a row are approved that they are of
/// all shards. Tells how many were approved, and the next number.
pub(crate) fn until_approved(client: &mut Client, from: u32) -> (usize, u32) {
    let (mut approved, mut in_a_row) = (0, 0);
    for number in from..from + TRIES_MAX {
        match client.ask(&purchase(number)).text(39).as_str() {
            "00" => (approved, in_a_row) = (approved + 1, in_a_row + 1),
            code => {
                assert_eq!(code, "91", "only the link is waited for");
                in_a_row = 0;
            }
        }
        if in_a_row == CARDS_OF_ALL_SHARDS {
            return (approved, number + 1);
        }
    }
    panic!("the link was not made");
}

/// What stands at the banks, by reference number.
pub(crate) fn standing(ledger: &Value) -> BTreeMap<String, u64> {
    let mut standing = BTreeMap::new();
    for entry in ledger["transactions"].as_array().unwrap() {
        let rrn = entry["rrn"].as_str().unwrap().to_owned();
        if entry["state"] == "standing" {
            let before = standing.insert(rrn, entry["amount_minor"].as_u64().unwrap());
            assert_eq!(before, None, "one reference number stands twice: {entry}");
        }
    }
    standing
}

/// A figure of a bank's books; of a sum, how many.
pub(crate) fn total(ledger: &Value, bank: &str, what: &str) -> u64 {
    let banks = ledger["banks"].as_array().unwrap();
    let bank = banks.iter().find(|it| it["name"] == bank).unwrap();
    bank[what].as_u64().or_else(|| bank[what]["count"].as_u64()).unwrap()
}

/// Approved over TCP; the banks die: what is in flight is answered 98 and reversed later, what is
/// new is refused at once; they come back: approved again, and told of every reversal.
pub(crate) fn die_and_come_back(switch_lines: &str, issuers: &str) {
    let setup = Setup { switch: switch_lines, bank: GENEROUS, issuers, ..Setup::default() };
    let mut banks = Banks::start(&setup.text());
    let switch = setup.run();
    assert!(switch.said("issuers").starts_with("19 simulated banks in process"));
    let mut client = Client::of(&switch, Speech::cups());
    let (approved, _) = until_approved(&mut client, 0);
    let ledger = banks.ask_ledger();
    assert_eq!(standing(&ledger).len(), approved);
    assert!(!ledger.to_string().contains("6226019"), "cards are masked");

    // They take everything and answer nothing.
    banks.freeze();
    for number in 500_000..500_000 + IN_FLIGHT {
        client.send(&purchase(number).frame());
    }
    // A card's shard takes messages in order: when it refuses these, it has forwarded those.
    for number in 500_000..500_000 + IN_FLIGHT {
        let nothing = Message::purchase(Speech::cups(), number, number + 50_000);
        client.send(&nothing.with(4, "000000000000").frame());
    }
    for answer in client.answers(IN_FLIGHT as usize) {
        assert_eq!((answer.text(39).as_str(), answer.number() / 50_000), ("13", 11));
    }
    banks.kill();
    let mut lost: Vec<u32> = client
        .answers(IN_FLIGHT as usize)
        .iter()
        .map(|answer| {
            assert_eq!(answer.text(39), "98");
            answer.number()
        })
        .collect();
    lost.sort_unstable();
    assert_eq!(lost, (500_000..500_000 + IN_FLIGHT).collect::<Vec<_>>());
    for number in 600_000..600_010 {
        assert_eq!(client.ask(&purchase(number)).text(39), "91");
    }

    let banks = Banks::start(&setup.text());
    let (approved, next) = until_approved(&mut client, 700_000);
    // The answer to a repeat is the one before, not a second purchase.
    assert_eq!(client.ask(&purchase(next - 1)).text(39), "00");
    drop(client);
    let ended = switch.stop();
    let lost = u64::from(IN_FLIGHT);
    assert_eq!(ended.counter("issuer{link_lost}"), lost);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (lost, lost));
    assert_eq!(ended.counter("issuer{time_out}"), 0);
    let ledger = banks.stop();
    assert_eq!(standing(&ledger).len(), approved);
    // Banks that have forgotten the originals keep every reversal in mind.
    assert_eq!(total(&ledger, "CMBC", "reversals_unmatched"), lost);
    assert_eq!(total(&ledger, "CMBC", "approved"), approved as u64);
}

#[test]
fn banks_that_die_and_come_back_with_io_uring() {
    // Where io_uring is refused this is the other engine again.
    die_and_come_back("shards = 1\nengine = \"auto\"", &issuers());
}

#[test]
fn banks_that_die_and_come_back_with_epoll_and_two_shards() {
    die_and_come_back("shards = 2\nengine = \"tokio\"", &issuers());
}

#[test]
fn banks_that_die_and_come_back_with_io_uring_and_two_shards() {
    die_and_come_back("shards = 2\nengine = \"auto\"", &issuers());
}

/// The switch is killed; accounts and memory are the banks', so they live on.
#[test]
fn banks_outlive_the_switch() {
    let issuers = issuers();
    let setup = Setup { bank: GENEROUS, issuers: &issuers, ..Setup::default() };
    let banks = Banks::start(&setup.text());
    let mut expected = 0;
    for round in 0..3 {
        let switch: Switch = setup.run();
        let mut client = Client::of(&switch, Speech::cups());
        let (approved, _) = until_approved(&mut client, round * 200_000);
        expected += approved;
        drop(switch);
    }
    assert_eq!(standing(&banks.stop()).len(), expected);
}

/// A message of one dialect is not translated into the other.
#[test]
fn a_link_of_another_dialect_refuses() {
    let issuers = issuers();
    let setup = Setup { bank: GENEROUS, issuers: &issuers, ..Setup::default() };
    let banks = Banks::start(&setup.text());
    let switch = setup.run();
    let mut cups = Client::of(&switch, Speech::cups());
    let (approved, _) = until_approved(&mut cups, 0);
    let mut iso87 = Client::of(&switch, Speech::iso87());
    assert_eq!(iso87.ask(&Message::purchase(Speech::iso87(), 7, 900_000)).text(39), "91");
    drop((cups, iso87));
    let ended = switch.stop();
    assert!(ended.counter("refused{issuer_down}") >= 1);
    assert_eq!(standing(&banks.stop()).len(), approved);
}

/// Runs `tapswitch bank`, which does not start: its exit code, and what it says.
fn refused(text: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text).to_str().unwrap().to_owned();
    let ended = run(folder, &[&["bank", "--config", file.as_str()], more].concat());
    (ended.code, ended.problems)
}

#[test]
fn what_cannot_be_served_is_said() {
    let (code, problems) = refused(&Setup::default().text(), &[]);
    assert_eq!(code, Some(1), "{problems}");
    assert!(problems.contains("no issuer has `connect` or `listen`"), "{problems}");

    let text = Setup { issuers: &issuers(), ..Setup::default() }.text();
    let (code, problems) = refused(&text, &["--issuer", "ABC"]);
    assert_eq!(code, Some(1), "{problems}");
    assert!(
        problems.contains("`ABC` has neither `connect` nor `listen`; those that have: CMBC"),
        "{problems}"
    );

    let banks = Banks::start(&text);
    let (code, problems) = refused(&text, &[]);
    assert_eq!(code, Some(1), "{problems}");
    assert!(problems.contains("the port is busy"), "{problems}");
    banks.stop();
}

#[test]
fn check_says_how_an_issuer_is_reached_and_who_cannot_use_it() {
    let text = Setup { issuers: &issuers(), ..Setup::default() }.text();
    let folder = Folder::new();
    let file = folder.file("switch.toml", &text).to_str().unwrap().to_owned();
    let ended = run(folder, &["check", file.as_str()]);
    assert_eq!(ended.code, Some(0), "{}", ended.problems);
    let line = ended.output.lines().find(|line| line.contains("CMBC at 127.0.0.1:")).unwrap();
    assert!(line.ends_with(": dialect cups, framing cups"), "{line}");
    for part in ["issuer.CMBC.connect", "acquirers iso87-ascii do not", "not translated"] {
        assert!(ended.problems.contains(part), "{part}: {}", ended.problems);
    }

    let folder = Folder::new();
    let file = folder.file("switch.toml", &text).to_str().unwrap().to_owned();
    let ended = run(folder, &["demo", "--config", file.as_str()]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.problems.starts_with("issuer CMBC has `connect`"), "{}", ended.problems);
}

//! Who makes the connections of an issuer's link: the switch, the bank, or each one of a pair. In every
//! role requests are approved, the bank is killed and comes back, and its books say what was answered.

use crate::banks::{die_and_come_back, standing, total};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, GENEROUS, Setup, Switch, free_ports};
use crate::proxy::{Proxy, Way};
use rustix::thread::{Timespec, nanosleep};
use serde_json::Value;

/// Tries until links that are being made again are up, a pause after each: pauses of whoever connects grow
/// to twelve seconds.
const TRIES_MAX: u32 = 30_000;
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
/// Cards in a row whose purchases are approved when the links of all shards are up.
const CARDS_OF_ALL_SHARDS: u32 = 64;

/// CMBC, whose cards `Message::purchase` uses, connects to the switch.
fn listens(more: &str) -> String {
    format!("[issuer.CMBC]\nlisten = \"127.0.0.1:{}\"\n{more}\n", free_ports(1)[0])
}

/// Requests go to the bank by one connection, answers come from it by another.
fn pairs(more: &str) -> String {
    let [there, back] = free_ports(2)[..] else { unreachable!() };
    format!(
        "[issuer.CMBC]\nconnect = \"127.0.0.1:{there}\"\nlisten = \"127.0.0.1:{back}\"\n{more}\n"
    )
}

fn session(ledger: &Value) -> &Value {
    &ledger["sessions"][0]
}

/// Purchases with ever new cards and numbers until those of all shards are approved. Tells how many were,
/// and the next number.
fn until_approved(client: &mut Client, speech: Speech, from: u32) -> (usize, u32) {
    let (mut approved, mut in_a_row) = (0, 0);
    for number in from..from + TRIES_MAX {
        match client.ask(&Message::purchase(speech, number, number)).text(39).as_str() {
            "00" => (approved, in_a_row) = (approved + 1, in_a_row + 1),
            code => {
                assert_eq!(code, "91", "only the link is waited for");
                in_a_row = 0;
                let _ = nanosleep(&PAUSE);
            }
        }
        if in_a_row == CARDS_OF_ALL_SHARDS {
            return (approved, number + 1);
        }
    }
    panic!("the link was not made");
}

#[test]
fn a_bank_that_connects_dies_and_comes_back_with_epoll_and_two_shards() {
    die_and_come_back("shards = 2\nengine = \"tokio\"", &listens("connections = 2"));
}

#[test]
fn a_bank_that_connects_dies_and_comes_back_with_io_uring() {
    // Where io_uring is refused this is the other engine again.
    die_and_come_back("shards = 1\nengine = \"auto\"", &listens(""));
}

/// With two shards the bank cannot know whose way back it makes: numbers say it.
#[test]
fn a_bank_behind_pairs_dies_and_comes_back_with_epoll_and_two_shards() {
    die_and_come_back("shards = 2\nengine = \"tokio\"", &pairs("connections = 2"));
}

#[test]
fn a_bank_behind_a_pair_dies_and_comes_back_with_io_uring() {
    die_and_come_back("shards = 1\nengine = \"auto\"", &pairs(""));
}

/// The bank is there first, and tries until there is a switch; which is killed, and there again. Each
/// end has signed on to the other, as the dialect has it.
fn outlives_the_switch(speech: Speech, issuers: &str, connections: u64) {
    let setup = Setup { switch: "shards = 2", bank: GENEROUS, issuers, ..Setup::default() };
    let banks = Banks::start(&setup.text());
    let (mut approved, mut next) = (0, 0);
    for _ in 0..2 {
        let switch: Switch = setup.run();
        let mut client = Client::of(&switch, speech);
        let (more, number) = until_approved(&mut client, speech, next);
        (approved, next) = (approved + more, number);
        drop(switch);
    }
    let ledger = banks.stop();
    assert_eq!(standing(&ledger).len(), approved);
    assert_eq!(total(&ledger, "CMBC", "reversals_unmatched"), 0);
    let totals = session(&ledger);
    assert_eq!(totals["without_sign_on"], 0);
    assert!(totals["sign_ons"].as_u64() >= Some(connections), "{totals}");
    assert!(totals["granted"].as_u64() >= Some(connections), "{totals}");
}

#[test]
fn a_bank_that_connects_outlives_the_switch() {
    outlives_the_switch(Speech::cups(), &listens("connections = 2"), 8);
}

#[test]
fn a_bank_that_connects_speaks_the_other_dialect_too() {
    outlives_the_switch(Speech::iso87(), &listens("dialect = \"iso87-ascii\""), 4);
}

#[test]
fn a_bank_behind_pairs_outlives_the_switch() {
    outlives_the_switch(Speech::cups(), &pairs(""), 4);
}

/// A pair lives and dies as one: the way there is cut with requests on it, which are answered 98 and
/// reversed by the pair that is made anew.
#[test]
fn a_pair_of_which_one_line_is_cut_is_made_anew() {
    const REQUESTS: u32 = 20;
    let [there, back] = free_ports(2)[..] else { unreachable!() };
    let proxy = Proxy::before(there);
    let pair = |there: u16| {
        format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{there}\"\nlisten = \"127.0.0.1:{back}\"\n")
    };
    let (of_bank, of_switch) = (pair(there), pair(proxy.port));
    let setup =
        |issuers| Setup { switch: "shards = 1", bank: GENEROUS, issuers, ..Setup::default() };
    let banks = Banks::start(&setup(&of_bank).text());
    let switch = setup(&of_switch).run();
    let mut client = Client::of(&switch, Speech::cups());
    let (mut approved, next) = until_approved(&mut client, Speech::cups(), 0);

    proxy.hold_way(Way::There, true);
    for number in 500_000..500_000 + REQUESTS {
        client.send(&Message::purchase(Speech::cups(), number, number).frame());
    }
    // The card's shard takes messages in order: when it refuses this one, it has forwarded those.
    let nothing = Message::purchase(Speech::cups(), 500_000, 600_000).with(4, "000000000000");
    assert_eq!(client.ask(&nothing).text(39), "13");
    proxy.cut(proxy.made() - 1);
    for answer in client.answers(REQUESTS as usize) {
        assert_eq!(answer.text(39), "98");
    }
    proxy.hold_way(Way::There, false);
    let (more, _) = until_approved(&mut client, Speech::cups(), next);
    approved += more;
    drop(client);
    let ended = switch.stop();
    let lost = u64::from(REQUESTS);
    assert_eq!(ended.counter("issuer{link_lost}"), lost);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (lost, lost));
    assert!(ended.counter("issuer{link_up}") >= 2, "{}", ended.output);
    let ledger = banks.stop();
    assert_eq!(standing(&ledger).len(), approved);
    assert_eq!(session(&ledger)["without_sign_on"], 0);
}

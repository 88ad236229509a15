//! Issuers' links: sign-on before traffic, a group of which one is cut, sign-off, the second route.

use crate::banks::{standing, until_approved};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::one_bank::hurried;
use crate::process::{Banks, Ended, GENEROUS, Setup, Switch, free_ports};
use crate::proxy::Proxy;
use rustix::process::Signal;
use serde_json::Value;
use tapswitch_protocol::header::cups_header;
use tapswitch_protocol::{Dialect, Framing, MessageWriter, Mti};

fn purchase(number: u32) -> Message {
    Message::purchase(Speech::cups(), number, number)
}

/// CMBC, whose cards `Message::purchase` uses, behind this port.
fn issuer(port: u16, more: &str) -> String {
    format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{port}\"\n{more}\n")
}

fn text(issuers: &str) -> String {
    setup(issuers).text()
}

fn setup(issuers: &str) -> Setup<'_> {
    Setup { switch: "shards = 1", bank: GENEROUS, issuers, ..Setup::default() }
}

fn sessions<'l>(ledger: &'l Value, name: &str) -> &'l Value {
    let all = ledger["sessions"].as_array().unwrap();
    all.iter().find(|totals| totals["name"] == name).unwrap()
}

/// An issuer's 0820 with this DE 70, as a frame.
pub(crate) fn managed(order: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 256];
    let header = cups_header(b"00010344   ", b"00010000   ");
    let body_at = Framing::Cups.begin(&header, &mut frame).unwrap();
    let out = &mut frame[body_at..];
    let mut writer = MessageWriter::new(Dialect::cups(), Mti::NETWORK_ADVICE, out).unwrap();
    writer.put(7, b"1122120000").unwrap();
    writer.put(11, b"000042").unwrap();
    writer.put(70, order).unwrap();
    let bytes = body_at + writer.finish().unwrap();
    Framing::Cups.finish(&mut frame, bytes);
    frame.truncate(bytes);
    frame
}

/// Stops a switch that may have told these alarms, by when it looked, and nothing else.
fn stop(switch: Switch, alarm: &str) -> Ended {
    switch.signal(Signal::TERM);
    let ended = switch.end();
    // How long a link takes to be made is a matter of how fast the machine is.
    let is_told = |line: &str| {
        [alarm, "link{down}"].iter().any(|alarm| line.contains(&format!(" ALARM {alarm} CMBC")))
    };
    assert!(ended.code == Some(0) && ended.problems.lines().all(is_told), "{}", ended.problems);
    ended
}

/// B9 and B10 turned round, G5: nothing goes before the sign-on, at the first start of the banks and at
/// the second, and the switch signs off before it ends.
#[test]
fn a_switch_signs_on_before_traffic_and_off_before_it_ends() {
    let issuers = issuer(free_ports(1)[0], "connections = 2");
    let banks = Banks::start(&text(&issuers));
    let switch: Switch = setup(&issuers).run();
    let mut client = Client::of(&switch, Speech::cups());
    let (_, next) = until_approved(&mut client, 0);
    banks.kill();
    let banks = Banks::start(&text(&issuers));
    // Until both links carry requests again.
    let (mut approved, mut number) = (0, next);
    let mut banks = banks;
    loop {
        let (more, next) = until_approved(&mut client, number);
        (approved, number) = (approved + more, next);
        if sessions(&banks.ask_ledger(), "CMBC")["sign_ons"] == 2 {
            break;
        }
    }
    drop(client);
    let ended = switch.stop();
    assert!(ended.counter("link{signed_on}") >= 3, "{}", ended.output);
    assert_eq!(ended.counter("link{signed_off}"), 2);
    let ledger = banks.stop();
    let totals = sessions(&ledger, "CMBC");
    assert_eq!((totals["sign_ons"].as_u64(), totals["sign_offs"].as_u64()), (Some(2), Some(2)));
    assert_eq!(totals["without_sign_on"], 0);
    assert_eq!(standing(&ledger).len(), approved);
}

/// C2: of two connections one is cut under way. What was on it is answered 98 and reversed once, never
/// sent again; what was on the other is approved.
#[test]
fn a_connection_that_is_cut_takes_only_its_own_requests_with_it() {
    const REQUESTS: u32 = 40;
    let bank_port = free_ports(1)[0];
    let proxy = Proxy::before(bank_port);
    let mut banks = Banks::start(&text(&issuer(bank_port, "")));
    let issuers = issuer(proxy.port, "connections = 2");
    let switch = setup(&issuers).run();
    let mut client = Client::of(&switch, Speech::cups());
    let (mut approved, mut next) = until_approved(&mut client, 0);
    while sessions(&banks.ask_ledger(), "CMBC")["sign_ons"] != 2 {
        let (more, number) = until_approved(&mut client, next);
        (approved, next) = (approved + more, number);
    }
    // The sign-on of both is granted meanwhile: a link that is ready takes every other request.
    let (more, _) = until_approved(&mut client, next);
    approved += more;

    proxy.hold(true);
    for number in 500_000..500_000 + REQUESTS {
        client.send(&purchase(number).frame());
    }
    // A card's shard takes messages in order: when it refuses this one, it has forwarded those.
    let nothing = Message::purchase(Speech::cups(), 500_000, 600_000).with(4, "000000000000");
    assert_eq!(client.ask(&nothing).text(39), "13");
    proxy.cut(1);
    let half = REQUESTS as usize / 2;
    for answer in client.answers(half) {
        assert_eq!(answer.text(39), "98");
    }
    proxy.hold(false);
    for answer in client.answers(half) {
        assert_eq!(answer.text(39), "00");
    }
    approved += half;
    let (more, _) = until_approved(&mut client, 700_000);
    approved += more;
    drop(client);
    let ended = switch.stop();
    assert_eq!(ended.counter("issuer{link_lost}"), half as u64);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (20, 20));
    let ledger = banks.stop();
    assert_eq!(standing(&ledger).len(), approved, "each of those that were lost was reversed");
    assert_eq!(sessions(&ledger, "CMBC")["without_sign_on"], 0);
}

/// B10: the issuer signs off: refused at once; it signs on: approved again.
#[test]
fn an_issuer_that_signs_off_is_asked_no_more_until_it_signs_on() {
    let bank_port = free_ports(1)[0];
    let proxy = Proxy::before(bank_port);
    let banks = Banks::start(&text(&issuer(bank_port, "")));
    let switch_issuers = issuer(proxy.port, "");
    let setup = Setup { switch: "shards = 2", ..setup(&switch_issuers) };
    let switch = setup.run();
    let mut client = Client::of(&switch, Speech::cups());
    let (_, next) = until_approved(&mut client, 0);
    proxy.say(0, &managed(b"002"));
    // Cards of both shards, until all of many in a row are refused.
    let (mut refused, mut number) = (0, next);
    while refused < 64 {
        assert!(number < next + 100_000, "it is heard");
        refused = if client.ask(&purchase(number)).text(39) == "91" { refused + 1 } else { 0 };
        number += 1;
    }
    proxy.say(0, &managed(b"001"));
    until_approved(&mut client, number);
    drop(client);
    let ended = stop(switch, "issuer{signed_off}");
    assert_eq!(ended.counter("issuer{signed_off}"), 1);
    assert_eq!(ended.counter("link{managed}"), 2);
    assert!(ended.counter("refused{issuer_signed_off}") >= 64);
    assert_eq!(ended.counter("issuer{link_down}"), 0);
    banks.stop();
}

/// The bank's second site takes over while the first is out of reach; money is in the same books.
#[test]
fn requests_go_by_the_second_route_while_the_first_is_down() {
    let ports = free_ports(2);
    let proxy = Proxy::before(ports[0]);
    let sites = |first: u16| {
        issuer(first, "failover = \"CMBC-2\"")
            + &format!("[issuer.CMBC-2]\nconnect = \"127.0.0.1:{}\"\n", ports[1])
    };
    let banks = Banks::start(&text(&sites(ports[0])));
    let issuers = sites(proxy.port);
    let switch = setup(&issuers).run();
    let mut client = Client::of(&switch, Speech::cups());
    let (mut approved, next) = until_approved(&mut client, 0);
    while proxy.made() == 0 {
        std::thread::yield_now();
    }
    proxy.refuse(true);
    proxy.cut(0);
    let (more, next) = until_approved(&mut client, next);
    approved += more;
    let (more, _) = until_approved(&mut client, next);
    approved += more;
    drop(client);
    let ended = stop(switch, "link{down}");
    assert!(ended.counter("issuer{failed_over}") >= 64, "{}", ended.output);
    let ledger = banks.stop();
    assert_eq!(standing(&ledger).len(), approved);
    assert_eq!(sessions(&ledger, "CMBC-2")["without_sign_on"], 0);
}

/// C13: a bank that takes everything and answers nothing is asked once a second, and used again when it
/// answers. What timed out is reversed.
#[test]
fn a_bank_that_answers_nothing_is_given_up_and_taken_back() {
    let issuers = issuer(free_ports(1)[0], "breaker_timeouts = 5");
    let banks = Banks::start(&text(&issuers));
    // Only what is to run out of time is hurried.
    let acquirer = "answer_within_ms = 30_000\nanswer_margin_ms = 14_000\n\
                    transit_answer_within_ms = 20_000\ntransit_answer_margin_ms = 19_500";
    let switch = Setup { acquirer, ..setup(&issuers) }.run();
    let mut client = Client::of(&switch, Speech::cups());
    let (approved, _) = until_approved(&mut client, 0);
    banks.freeze();
    for number in 500_000..500_005 {
        client.send(&hurried(number).frame());
    }
    for answer in client.answers(5) {
        assert_eq!(answer.text(39), "98");
    }
    // Refused at once, but for one a second: on a machine that stands still the first is that one.
    let mut probes = 0;
    while client.ask(&hurried(600_000 + probes)).text(39) != "91" {
        probes += 1;
        assert!(probes < 30, "it is asked once a second");
    }
    banks.thaw();
    // A request a second is a probe; the first that is answered is the end of it.
    let (more, _) = until_approved(&mut client, 610_000);
    drop(client);
    let ended = stop(switch, "issuer{circuit_open}");
    assert_eq!(ended.counter("issuer{circuit_opened}"), 1, "{}", ended.output);
    assert_eq!(ended.counter("issuer{circuit_closed}"), 1);
    assert_eq!(ended.counter("issuer{time_out}"), 5 + u64::from(probes));
    assert_eq!(ended.counter("issuer{link_down}"), 0);
    assert_eq!(standing(&banks.stop()).len(), approved + more, "what timed out is reversed");
}

/// B8: a bank whose process hangs misses three echoes; its link is made anew.
#[test]
fn a_bank_that_hangs_misses_echoes_and_loses_its_link() {
    let issuers = issuer(free_ports(1)[0], "echo_idle_ms = 300\nbreaker_timeouts = 0");
    let mut banks = Banks::start(&text(&issuers));
    let switch = setup(&issuers).run();
    let mut client = Client::of(&switch, Speech::cups());
    let (approved, next) = until_approved(&mut client, 0);
    banks.freeze();
    client.send(&purchase(next).frame());
    assert_eq!(client.answer().text(39), "98", "long before its time is over");
    banks.thaw();
    let (more, _) = until_approved(&mut client, next + 1);
    let before = sessions(&banks.ask_ledger(), "CMBC")["echoes"].as_u64().unwrap();
    assert!(before >= 3, "{before}");
    drop(client);
    let ended = switch.stop();
    assert!(ended.counter("link{echo_missed}") >= 3, "{}", ended.output);
    assert!(ended.counter("link{echo_timeout}") >= 1);
    assert_eq!((ended.counter("issuer{time_out}"), ended.counter("issuer{link_lost}")), (0, 1));
    assert_eq!(standing(&banks.stop()).len(), approved + more);
}

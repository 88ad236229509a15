//! Acquirers that go away, come back, read slowly, sign off: rows of B.

use crate::client::Client;
use crate::links::managed;
use crate::message::{Message, Speech};
use crate::one_bank::{OneBank, assert_counted, hurried, purchase, state_of};
use crate::process::{GENEROUS, Setup};
use crate::proxy::{Proxy, Way};
use crate::proxy_script::{coalesce, cut_after, drip, half_close};
use std::collections::BTreeSet;

/// An acquirer whose transit purchases have ten seconds, of which the issuer has six: its answer is in
/// time on a machine that stands still for some of them, and yet nobody waits long for their end.
const TEN_SECONDS: &str = "answer_within_ms = 30_000\nanswer_margin_ms = 14_000\n\
    transit_answer_within_ms = 10_000\ntransit_answer_margin_ms = 4_000";

/// A world in which this request is at the bank, whose answer waits.
fn held(acquirer: &str, request: &Message) -> OneBank {
    let mut world = OneBank::start(acquirer, "");
    world.proxy.hold(true);
    let client = Client::of(&world.switch, Speech::cups());
    client.send(&request.frame());
    let rrn = request.text(37);
    world.until("the debit", |ledger| state_of(ledger, &rrn).is_some());
    client.reset();
    world
}

/// B1, D15: a reset right after the request, and no connection of this acquirer until the request's
/// time is over: the approval is undone at the bank.
#[test]
fn b1_d15_an_approval_that_nobody_fetches_is_reversed() {
    let request = hurried(1);
    let mut world = held(TEN_SECONDS, &request);
    // Its own connections are gone too, so that none is left.
    let other = Client::of(&world.switch, Speech::iso87());
    let gone = std::mem::replace(&mut world.client, other);
    assert!(gone.rest().is_empty());
    world.proxy.hold(false);
    let rrn = request.text(37);
    world.until("the reversal", |it| state_of(it, &rrn).is_some_and(|state| state == "reversed"));
    let other = Client::of(&world.switch, Speech::cups());
    assert!(std::mem::replace(&mut world.client, other).rest().is_empty(), "not its acquirer");
    assert_eq!(world.client.ask(&request).text(39), "98", "its repeat");
    world.up();
    let (ended, _) = world.stop(&[], &[]);
    let expected = [("undeliverable{reversed}", 1), ("saf{owed}", 1), ("saf{done}", 1)];
    assert_counted(&ended, &expected);
}

/// B1: a reset right after the request; another connection of the acquirer is there, and gets the
/// answer.
#[test]
fn b1_an_approval_goes_to_another_connection_of_its_acquirer() {
    let request = purchase(1);
    let mut world = held("", &request);
    world.proxy.hold(false);
    assert_eq!(world.code_of(&request), "00");
    let (ended, _) = world.stop(&[&request], &[]);
    assert_counted(&ended, &[("undeliverable{redelivered}", 1), ("saf{owed}", 0)]);
}

/// B4: the place of a connection that is gone is another acquirer's when the answer comes: none of
/// them gets it.
#[test]
fn b4_an_answer_never_reaches_whoever_took_the_place_of_its_connection() {
    let request = purchase(1);
    let mut world = held("", &request);
    let others: Vec<Client> = (0..20).map(|_| Client::of(&world.switch, Speech::iso87())).collect();
    let ask =
        |other: &Client, number| other.send(&Message::echo_test(Speech::iso87(), number).frame());
    (0..).zip(&others).for_each(|(number, other)| ask(other, number));
    world.proxy.hold(false);
    assert_eq!(world.code_of(&request), "00", "to its own acquirer");
    for (number, other) in (0..).zip(others) {
        let rest = other.rest();
        assert_eq!(rest.iter().map(Message::number).collect::<Vec<_>>(), [number]);
    }
    world.stop(&[&request], &[]);
}

/// B2, with the bank behind TCP: the acquirer has said all that it will say, and still gets all.
#[test]
fn b2_a_half_closed_connection_gets_its_answers() {
    let mut world = OneBank::start("", "");
    world.proxy.hold(true);
    let requests: Vec<Message> = (1..=30).map(purchase).collect();
    let client = Client::of(&world.switch, Speech::cups());
    let frames: Vec<u8> = requests.iter().flat_map(Message::frame).collect();
    client.send(&frames);
    client.end();
    let last = requests[29].text(37);
    world.until("all debits", |ledger| state_of(ledger, &last).is_some());
    world.proxy.hold(false);
    let answers = client.rest();
    let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
    assert_eq!((answers.len(), numbers), (30, (1..=30).collect()));
    world.stop(&requests.iter().collect::<Vec<_>>(), &[]);
}

/// B7: what goes byte by byte, both ways, and what comes all at once, are the same messages.
#[test]
fn b7_bytes_that_drip_are_whole_messages() {
    for speech in [Speech::cups(), Speech::iso87()] {
        let setup = Setup { switch: "shards = 1", bank: GENEROUS, ..Setup::default() };
        let switch = setup.run();
        let proxy = Proxy::speaking(speech, switch.address(speech.name()).port());
        proxy.script(Way::There, drip());
        proxy.script(Way::Back, drip());
        let mut client = Client::connect(proxy.address(), speech);
        let requests: Vec<Message> =
            (0..60).map(|number| Message::purchase(speech, number, number)).collect();
        let (dripped, at_once) = requests.split_at(20);
        client.send(&dripped.iter().flat_map(Message::frame).collect::<Vec<_>>());
        let mut answers = client.answers(20);
        proxy.script(Way::There, coalesce(40));
        proxy.unscript(Way::Back);
        client.send(&at_once.iter().flat_map(Message::frame).collect::<Vec<_>>());
        answers.extend(client.answers(40));
        assert!(answers.iter().all(|answer| answer.text(39) == "00"));
        let numbers: BTreeSet<u32> = answers.iter().map(Message::number).collect();
        assert_eq!(numbers, (0..60).collect());
        assert!(client.rest().is_empty());
        drop(proxy);
        let ended = switch.stop();
        assert_counted(&ended, &[("received", 60), ("approved", 60), ("saf{owed}", 0)]);
    }
}

/// A connection that is cut in the middle of a request, or of an answer: the torn request is nothing,
/// and the torn answer is had again by a repeat, without a second debit.
#[test]
fn d14_an_answer_torn_on_its_way_is_had_again() {
    let speech = Speech::cups();
    let setup = Setup { switch: "shards = 1", bank: GENEROUS, ..Setup::default() };
    let switch = setup.run();
    let proxy = Proxy::speaking(speech, switch.address(speech.name()).port());
    let request = purchase(1);

    proxy.script(Way::There, cut_after(request.frame().len() - 1));
    let torn = Client::connect(proxy.address(), speech);
    torn.send(&request.frame());
    assert!(torn.rest().is_empty(), "it was no request");

    proxy.script(Way::Back, cut_after(50));
    let torn = Client::connect(proxy.address(), speech);
    torn.send(&request.frame());
    // What came is no frame: the proxy passed fifty bytes of it.
    assert_eq!(torn.bytes_to_the_end(), 50);

    proxy.script(Way::Back, half_close());
    let mut client = Client::connect(proxy.address(), speech);
    assert_eq!(client.ask(&request).text(39), "00");
    assert!(client.next_answer().is_none(), "the proxy said so");
    drop((client, proxy));
    let ended = switch.stop();
    assert_counted(&ended, &[("received", 2), ("duplicate{replayed}", 1), ("saf{owed}", 0)]);
}

/// B10: an acquirer signs off with ten in flight: they complete, what is new is 58.
#[test]
fn b10_an_acquirer_that_signs_off_gets_what_is_in_flight() {
    let mut world = OneBank::start("", "");
    world.proxy.hold(true);
    let requests: Vec<Message> = (1..=10).map(purchase).collect();
    world.client.send(&requests.iter().flat_map(Message::frame).collect::<Vec<_>>());
    world.taken(10);
    world.client.send(&managed(b"002"));
    assert_eq!(world.client.answer().outcome(), ("0830".into(), "00".into()));
    assert_eq!(world.client.ask(&purchase(11)).text(39), "58");
    world.proxy.hold(false);
    for answer in world.client.answers(10) {
        assert_eq!(answer.text(39), "00");
    }
    world.client.send(&managed(b"001"));
    assert_eq!(world.client.answer().outcome(), ("0830".into(), "00".into()));
    assert_eq!(world.client.ask(&purchase(12)).text(39), "00");
    let last = purchase(12);
    let approved: Vec<&Message> = requests.iter().chain([&last]).collect();
    let (ended, _) = world.stop(&approved, &[]);
    assert_counted(&ended, &[("refused{not_signed_on}", 1), ("saf{owed}", 0)]);
}

/// B12: no descriptor is left for another connection: those that live go on, those that wait are
/// served when there is room again.
#[test]
fn b12_connections_wait_when_no_descriptor_is_left() {
    let speech = Speech::cups();
    let switch = Setup { switch: "shards = 1", bank: GENEROUS, ..Setup::default() }.run();
    let mut old = Client::of(&switch, speech);
    assert_eq!(old.ask(&purchase(1)).text(39), "00");
    let before = switch.limit_descriptors(0);
    let mut waiting: Vec<Client> = (0..20).map(|_| Client::of(&switch, speech)).collect();
    for client in &waiting {
        client.send(&Message::echo_test(speech, 7).frame());
    }
    for number in 2..200 {
        assert_eq!(old.ask(&purchase(number)).text(39), "00");
    }
    // Of twenty a few may have found a number that was free below the limit.
    let now = switch.descriptors();
    assert!(now < before + 20, "not all of them are served: {before}, {now}");
    switch.limit_descriptors(200);
    for client in &mut waiting {
        assert_eq!(client.answer().number(), 7);
    }
    assert_eq!(old.ask(&purchase(1)).text(39), "00");
    drop((old, waiting));
    assert_counted(&switch.stop(), &[("received", 220), ("approved", 199)]);
}

//! Repeats and reversals, with a bank behind TCP whose ledger is the judge: rows of D.

use crate::banks::{standing, total};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::one_bank::{OneBank, assert_counted, purchase, state_of};
use crate::process::{Folder, new_card_key};
use tapswitch_protocol::Mti;

const ADVICE: Mti = Mti::REVERSAL_ADVICE;

/// D3: a repeat of what never came is a request.
#[test]
fn d3_a_repeat_of_what_is_not_known_is_forwarded() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    assert_eq!(world.client.ask(&request.clone().of_type("0201")).text(39), "00");
    assert_eq!(world.client.ask(&request).text(39), "00", "the request itself, later");
    let (ended, _) = world.stop(&[&request], &[]);
    assert_counted(&ended, &[("duplicate{replayed}", 1)]);
}

/// D4: a repeat of what is not known, declined by the switch itself: what the process before may have
/// forwarded is reversed. Where nothing is kept (no data directory) nothing can be known of that.
#[test]
fn d4_a_repeat_that_is_declined_here_is_reversed_at_the_issuer() {
    let kept = Folder::new();
    let (key, data) = (new_card_key(&kept), kept.path("data"));
    let sections = format!(
        "[keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\n\
         segment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\n",
        key.display(),
        data.display(),
    );
    let mut world = OneBank::start("", &sections);
    let request = purchase(1).with(4, "000005000001");
    assert_eq!(world.client.ask(&request.clone().of_type("0201")).text(39), "61");
    // What was refused while the link was not up may have been forwarded before too.
    let lost = 1 + world.refused;
    world.until("it", |ledger| total(ledger, "CMBC", "reversals_unmatched") == lost);
    world.up();
    let (ended, _) = world.stop(&[], &[]);
    let expected = [("restart{lost}", lost), ("saf{owed}", lost), ("saf{done}", lost)];
    assert_counted(&ended, &expected);
}

/// D5: the same key with another card or amount, in flight and afterwards: 94, and the original is
/// what it was.
#[test]
fn d5_the_same_key_with_other_contents_is_94() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    let others = [
        request.clone().with(4, "000000000200"),
        request.clone().with(2, "6226019000000002"),
        request.clone().with(3, "010000"),
    ];
    world.proxy.hold(true);
    world.client.send(&request.frame());
    world.taken(1);
    for other in &others {
        assert_eq!(world.client.ask(other).text(39), "94");
    }
    world.proxy.hold(false);
    assert_eq!(world.code_of(&request), "00");
    for other in &others {
        assert_eq!(world.client.ask(other).text(39), "94");
    }
    assert_eq!(world.client.ask(&request).text(39), "00");
    let (ended, ledger) = world.stop(&[&request], &[]);
    assert_eq!(total(&ledger, "CMBC", "repeats"), 0);
    assert_counted(&ended, &[("duplicate{conflict}", 6), ("duplicate{replayed}", 1)]);
}

/// D6, D10: a reversal and its repeats, a hundred times: each is 00, the bank hears of one.
#[test]
fn d6_d10_a_reversal_a_hundred_times() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    assert_eq!(world.client.ask(&request).text(39), "00");
    let reversal = request.reversal(ADVICE, 2);
    for time in 0..100 {
        let mti = if time % 2 == 0 { "0420" } else { "0421" };
        let answer = world.client.ask(&reversal.clone().of_type(mti));
        assert_eq!(answer.outcome(), ("0430".into(), "00".into()));
    }
    // And under another number.
    assert_eq!(world.client.ask(&request.reversal(ADVICE, 3)).text(39), "00");
    world.until_reversed(&request);
    assert_eq!(world.client.ask(&request).text(39), "98", "no longer approved");
    let (ended, ledger) = world.stop(&[], &[]);
    assert_eq!(total(&ledger, "CMBC", "reversed"), 1);
    assert_counted(&ended, &[("reversal{original}", 1), ("saf{owed}", 1), ("saf{done}", 1)]);
}

/// D7, D16: the reversal comes while its original is in flight, and the approval comes behind it.
#[test]
fn d7_d16_a_reversal_overtakes_the_approval() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    world.proxy.hold(true);
    world.client.send(&request.frame());
    world.taken(1);
    world.client.send(&request.reversal(ADVICE, 2).frame());
    let mut answers: Vec<_> = world.client.answers(2).iter().map(Message::outcome).collect();
    answers.sort();
    assert_eq!(answers, [("0210".into(), "98".into()), ("0430".into(), "00".into())]);
    world.proxy.hold(false);
    world.until_reversed(&request);
    let (ended, _) = world.stop(&[], &[]);
    assert_counted(&ended, &[("reversal{in_flight}", 1), ("issuer{late}", 1), ("saf{done}", 1)]);
}

/// D16: request, answer and reversal without a pause, again and again: whoever is first, nothing
/// stands and the acquirer is never left with an approval.
#[test]
fn d16_a_reversal_races_the_approval() {
    let mut world = OneBank::start("", "");
    let requests: Vec<Message> = (1..=200).map(purchase).collect();
    for request in &requests {
        let reversal = request.reversal(ADVICE, 500_000 + request.number());
        world.client.send(&[request.frame(), reversal.frame()].concat());
        for answer in world.client.answers(2) {
            let (mti, code) = answer.outcome();
            let fits = match mti.as_str() {
                "0210" => code == "00" || code == "98",
                _ => code == "00",
            };
            assert!(fits, "{mti} {code}");
        }
    }
    world.until("all reversals", |it| {
        total(it, "CMBC", "reversed") + total(it, "CMBC", "reversals_unmatched") == 200
    });
    world.up();
    let (ended, _) = world.stop(&[], &[]);
    assert_counted(&ended, &[("saf{owed}", 200), ("saf{done}", 200)]);
}

/// D8, D9: a reversal of what never came is accepted and told to the issuer; what comes after it is
/// declined and never forwarded.
#[test]
fn d8_d9_a_reversal_comes_before_its_original() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    assert_eq!(world.client.ask(&request.reversal(ADVICE, 2)).text(39), "00");
    assert_eq!(world.client.ask(&request).text(39), "91");
    world.until("it", |ledger| total(ledger, "CMBC", "reversals_unmatched") == 1);
    world.up();
    let rrn = request.text(37);
    let (ended, ledger) = world.stop(&[], &[]);
    assert_eq!(state_of(&ledger, &rrn), None, "never forwarded");
    assert_counted(&ended, &[("reversal{unknown}", 1), ("saf{done}", 1)]);
}

/// D11: a reversal of what was declined: 00, and the issuer hears nothing.
#[test]
fn d11_a_reversal_of_what_was_declined() {
    let mut world = OneBank::start("", "");
    let request = purchase(1).with(4, "000005000001");
    assert_eq!(world.client.ask(&request).text(39), "61");
    assert_eq!(world.client.ask(&request.reversal(ADVICE, 2)).text(39), "00");
    let (ended, ledger) = world.stop(&[], &[]);
    assert_eq!(total(&ledger, "CMBC", "reversals_unmatched"), 0);
    assert_counted(&ended, &[("saf{owed}", 0), ("reversal{again}", 1)]);
}

/// D13: another acquirer's reversal of the same card and numbers touches nothing here; an operator is
/// told.
#[test]
fn d13_another_acquirer_reverses_what_is_not_its_own() {
    let other = "[acquirer.other]\nlisten = \"127.0.0.1:0\"\ndialect = \"cups\"";
    let mut world = OneBank::start("", other);
    let request = purchase(1);
    assert_eq!(world.client.ask(&request).text(39), "00");
    let mut foreign = Client::connect(world.switch.address("other (cups)"), Speech::cups());
    assert_eq!(foreign.ask(&request.reversal(ADVICE, 2)).text(39), "00");
    assert!(foreign.rest().is_empty());
    let again = world.client.ask(&request);
    assert_eq!(again.text(39), "00", "it stands here");
    let (ended, _) = world.end(&["reversal{foreign}"]);
    assert_counted(&ended, &[("reversal{foreign}", 1), ("reversal{original}", 0)]);
}

/// D18: an advice is counted and told to the issuer, above the card's limit too, and once.
#[test]
fn d18_an_advice_above_the_limit() {
    let mut world = OneBank::start("", "");
    let request = purchase(1).with(4, "000005000001").of_type("0220");
    for mti in ["0220", "0221", "0220"] {
        let answer = world.client.ask(&request.clone().of_type(mti));
        assert_eq!(answer.outcome(), ("0230".into(), "00".into()));
    }
    let rrn = request.text(37);
    world.until("the advice", |ledger| state_of(ledger, &rrn).is_some());
    world.up();
    let tried = world.tried;
    let (ended, ledger) = world.end(&[]);
    assert_eq!(standing(&ledger).len(), tried + 1);
    assert_eq!(standing(&ledger)[&rrn], 5_000_001);
    assert_counted(&ended, &[("advice{over_limit}", 1), ("saf{owed}", 1), ("saf{done}", 1)]);
}

/// D20: a request and its repeats on ten connections at once are one transaction.
#[test]
fn d20_repeats_on_many_connections_at_once() {
    let world = OneBank::start("", "");
    let request = purchase(1);
    let clients: Vec<Client> = (0..10).map(|_| Client::of(&world.switch, Speech::cups())).collect();
    world.proxy.hold(true);
    clients.iter().for_each(|client| client.send(&request.frame()));
    // Refused at once, on each: its request has been taken before.
    let echo = Message::echo_test(Speech::cups(), 700_000);
    let clients: Vec<Client> = clients
        .into_iter()
        .map(|mut client| {
            assert_eq!(client.ask(&echo).number(), 700_000);
            client
        })
        .collect();
    world.proxy.hold(false);
    let answers: Vec<Message> = clients.into_iter().flat_map(Client::rest).collect();
    assert_eq!(answers.len(), 1, "one answer, on the newest");
    assert_eq!(answers[0].text(39), "00");
    let (ended, ledger) = world.stop(&[&request], &[]);
    assert_eq!(total(&ledger, "CMBC", "repeats"), 0);
    assert_counted(&ended, &[("duplicate{absorbed}", 9)]);
}

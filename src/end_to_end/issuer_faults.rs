//! Issuers that answer wrongly: twice, to nobody, for another card, in another order, with garbage,
//! too slowly. Each is a row of C; the money must come right, and the acquirer is told once.

use crate::banks::total;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::one_bank::{OneBank, SHORT, assert_counted, hurried, purchase, state_of};
use crate::proxy::Way;
use crate::proxy_script::{
    Script, coalesce, cut_after, delay, drip, duplicate, half_close, reorder, replace, replace_next,
};
use std::time::Duration;

/// The issuer's next 0210 is another, or none.
fn next_answer(change: impl Fn(Message) -> Option<Vec<u8>> + Send + 'static) -> Script {
    replace_next(Speech::cups(), "0210", change)
}

/// C6: every answer comes twice, also those to reversals and to the sign-on.
#[test]
fn c6_every_answer_of_the_issuer_comes_twice() {
    let mut world = OneBank::start_with("", "", |proxy| proxy.script(Way::Back, duplicate()));
    world.up();
    let requests: Vec<Message> = (1..=20).map(purchase).collect();
    for request in &requests {
        assert_eq!(world.client.ask(request).outcome(), ("0210".into(), "00".into()));
    }
    let reversal = requests[0].reversal(tapswitch_protocol::Mti::REVERSAL_ADVICE, 100);
    assert_eq!(world.client.ask(&reversal).text(39), "00");
    world.until_reversed(&requests[0]);
    let tried = world.tried as u64;
    let approved: Vec<&Message> = requests[1..].iter().collect();
    let (ended, _) = world.stop(&approved, &[]);
    assert_counted(&ended, &[("approved", tried + 20), ("saf{done}", 1), ("saf{owed}", 1)]);
    let unwanted = ended.counter("issuer{late}") + ended.counter("issuer{unmatched}");
    assert!(unwanted >= 20, "{}", ended.output);
}

/// C7: an answer to a number that nobody asked for is never guessed by card or amount: the request
/// times out and is reversed.
#[test]
fn c7_an_answer_to_an_unknown_number_is_nobodys() {
    let mut world = OneBank::start(SHORT, "");
    let request = hurried(1);
    let to_another = |answer: Message| {
        let number = (answer.number() + 500_000) % 1_000_000;
        Some(answer.with(11, &format!("{number:06}")).frame())
    };
    world.proxy.script(Way::Back, next_answer(to_another));
    assert_eq!(world.client.ask(&request).text(39), "98");
    world.until_reversed(&request);
    let (ended, _) = world.stop(&[], &[]);
    let expected = [("issuer{unmatched}", 1), ("issuer{time_out}", 1), ("saf{done}", 1)];
    assert_counted(&ended, &expected);
}

type Change = fn(Message) -> Option<Vec<u8>>;

/// C8, C9: another card, a larger amount, another type of transaction, no code, a code that is none:
/// no answer at all. 96, and what the issuer may have done is undone.
#[test]
fn c8_c9_an_answer_that_does_not_fit_is_reversed() {
    let changes: [(&str, Change); 5] = [
        ("another card", |it| Some(it.with(2, "6226019000000099").frame())),
        ("a larger amount", |it| Some(it.with(4, "000000000101").frame())),
        ("another reference number", |it| Some(it.with(37, "999999999999").frame())),
        ("no code", |it| Some(it.without(39).frame())),
        ("a code that is none", |it| Some(it.with(39, "\x01 ").frame())),
    ];
    let mut world = OneBank::start("", "");
    for (number, (what, change)) in (1..).zip(changes) {
        let request = purchase(number);
        world.proxy.script(Way::Back, next_answer(change));
        assert_eq!(world.client.ask(&request).text(39), "96", "{what}");
        world.until_reversed(&request);
    }
    let (ended, _) = world.stop(&[], &[]);
    let expected = [("issuer{mis_echoed}", 5), ("saf{owed}", 5), ("saf{done}", 5)];
    assert_counted(&ended, &expected);
}

/// C10: answers in the reverse order; and, C12 in small, in one write, slowly, byte by byte. All the
/// same to every acquirer.
#[test]
fn c10_answers_in_any_order_and_any_portions() {
    let ways = [
        ("reversed", reorder(30)),
        ("in one write", coalesce(30)),
        ("slowly", delay(Duration::from_millis(2))),
        ("byte by byte", drip()),
    ];
    let mut world = OneBank::start("", "");
    let mut requests = Vec::new();
    for (round, (what, script)) in (0..).zip(ways) {
        world.proxy.script(Way::Back, script);
        let sent: Vec<Message> = (0..30).map(|place| purchase(100 * round + place)).collect();
        for request in &sent {
            world.client.send(&request.frame());
        }
        let mut answered: Vec<(u32, String, String)> = Vec::new();
        for answer in world.client.answers(30) {
            answered.push((answer.number(), answer.text(37), answer.text(39)));
        }
        answered.sort();
        let expected = sent.iter().map(|it| (it.number(), it.text(37), "00".to_owned()));
        assert_eq!(answered, expected.collect::<Vec<_>>(), "{what}");
        requests.extend(sent);
    }
    let (ended, _) = world.stop(&requests.iter().collect::<Vec<_>>(), &[]);
    let expected = [("issuer{link_down}", 0), ("saf{owed}", 0), ("issuer{unmatched}", 0)];
    assert_counted(&ended, &expected);
}

/// C11: bytes that are no frames end the link; what was on it is 98 and reversed. A whole frame of
/// garbage is nobody's answer, and ends nothing.
#[test]
fn c11_garbage_from_the_issuer() {
    let mut world = OneBank::start(SHORT, "");
    let torn = purchase(1);
    world.proxy.script(Way::Back, next_answer(|_| Some(b"what is this? 0210".to_vec())));
    assert_eq!(world.client.ask(&torn).text(39), "98");
    world.up();
    world.until_reversed(&torn);
    let whole = hurried(2);
    let garbage = |mut answer: Message| {
        answer.body.fill(b'?');
        Some(answer.frame())
    };
    world.proxy.script(Way::Back, next_answer(garbage));
    assert_eq!(world.client.ask(&whole).text(39), "98");
    world.until_reversed(&whole);
    let tried = world.tried as u64;
    let (ended, _) = world.stop(&[], &["link{down} CMBC"]);
    let expected = [("issuer{link_lost}", 1), ("issuer{time_out}", 1), ("issuer{link_down}", 1)];
    assert_counted(&ended, &expected);
    assert_counted(&ended, &[("saf{owed}", 2), ("saf{done}", 2), ("approved", tried)]);
}

/// C2, with an answer torn in its middle: it is no answer.
#[test]
fn c2_a_link_that_is_cut_within_an_answer() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    world.proxy.script(Way::Back, cut_after(60));
    assert_eq!(world.client.ask(&request).text(39), "98");
    world.up();
    world.until_reversed(&request);
    let (ended, _) = world.stop(&[], &["link{down} CMBC"]);
    let expected = [("issuer{link_lost}", 1), ("saf{owed}", 1), ("saf{done}", 1)];
    assert_counted(&ended, &expected);
}

/// C2, where the issuer only says that it says nothing more: its answer before that counts, and the
/// link is made anew.
#[test]
fn c2_a_link_that_is_half_closed() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    world.proxy.script(Way::Back, half_close());
    assert_eq!(world.client.ask(&request).text(39), "00");
    let mut last = None;
    for number in 2..1_000 {
        let request = purchase(number);
        match world.client.ask(&request).text(39).as_str() {
            "00" => {
                last = Some(request);
                break;
            }
            code => assert!(code == "91" || code == "98", "{code}"),
        }
        crate::proxy::pause(Duration::from_millis(10));
    }
    world.up();
    let (ended, _) = world.stop(&[&request, &last.expect("it is made anew")], &["link{down} CMBC"]);
    assert_eq!(ended.counter("issuer{link_down}"), 1);
    assert_eq!(ended.counter("saf{owed}"), ended.counter("issuer{link_lost}"));
    assert_eq!(ended.counter("saf{done}"), ended.counter("saf{owed}"));
}

/// C4, C5: an answer after the issuer's time, an approval or a decline, changes nothing: 98, and the
/// reversal goes all the same.
#[test]
fn c4_c5_a_late_answer_changes_nothing() {
    for code in ["00", "51"] {
        let mut world = OneBank::start(SHORT, "");
        let request = hurried(1);
        let coded = move |answer: Message| Some(answer.with(39, code).frame());
        world.proxy.hold(true);
        world.proxy.script(Way::Back, next_answer(coded));
        assert_eq!(world.client.ask(&request).text(39), "98");
        world.proxy.hold(false);
        world.until_reversed(&request);
        assert_eq!(world.client.ask(&request).text(39), "98");
        let (ended, _) = world.stop(&[], &[]);
        assert_counted(&ended, &[("issuer{late}", 1), ("saf{owed}", 1), ("saf{done}", 1)]);
    }
}

/// C3: the issuer has taken the request, and its answer is lost.
#[test]
fn c3_an_answer_that_is_lost() {
    let mut world = OneBank::start(SHORT, "");
    let request = hurried(1);
    world.proxy.script(Way::Back, next_answer(|_| None));
    assert_eq!(world.client.ask(&request).text(39), "98");
    world.until_reversed(&request);
    let (ended, _) = world.stop(&[], &[]);
    let expected = [("issuer{time_out}", 1), ("issuer{late}", 0), ("saf{done}", 1)];
    assert_counted(&ended, &expected);
}

/// C12: an issuer that is slow holds its window's worth of requests; what is beyond it is 91 at once,
/// and cards of other issuers do not feel it.
#[test]
fn c12_a_slow_issuer_takes_no_more_than_its_window() {
    const WINDOW: u32 = 10;
    let mut world = OneBank::start("", &format!("in_flight_max = {WINDOW}"));
    world.proxy.hold(true);
    let held: Vec<Message> = (1..=WINDOW).map(purchase).collect();
    for request in &held {
        world.client.send(&request.frame());
        world.taken(request.number());
    }
    for number in 100..140 {
        assert_eq!(world.client.ask(&purchase(number)).text(39), "91");
        // A card of ICBC, whose bank lives in the switch.
        let other = purchase(number + 100).with(2, "6221580000000042");
        let answer = world.client.ask(&other);
        assert_eq!((answer.number(), answer.text(39).as_str()), (number + 100, "00"));
    }
    world.proxy.hold(false);
    for answer in world.client.answers(WINDOW as usize) {
        assert_eq!(answer.text(39), "00");
    }
    let (ended, _) = world.stop(&held.iter().collect::<Vec<_>>(), &[]);
    assert_counted(&ended, &[("refused{issuer_window}", 40), ("saf{owed}", 0)]);
}

/// C14: a link that is lost again and again: each time what was on it is 98 and reversed once.
#[test]
fn c14_a_link_that_flaps() {
    const TIMES: usize = 4;
    let mut world = OneBank::start("", "");
    let mut lost = Vec::new();
    for time in 0..TIMES {
        let request = purchase(1 + time as u32);
        world.proxy.hold(true);
        world.client.send(&request.frame());
        world.taken(request.number());
        let rrn = request.text(37);
        world.until("the debit", |ledger| state_of(ledger, &rrn).is_some());
        world.proxy.cut(world.proxy.made() - 1);
        assert_eq!(world.code_of(&request), "98");
        world.proxy.hold(false);
        world.up();
        lost.push(request);
    }
    for request in &lost {
        world.until_reversed(request);
    }
    let (ended, ledger) = world.stop(&[], &["link{down} CMBC"]);
    let times = TIMES as u64;
    assert_eq!(total(&ledger, "CMBC", "reversed"), times);
    let expected = [("issuer{link_lost}", times), ("saf{owed}", times), ("saf{done}", times)];
    assert_counted(&ended, &expected);
    assert_eq!(ended.counter("link{signed_on}"), times + 1);
}

/// C15: a part is approved, to an acquirer that did not say that it can take one: 51, and the part is
/// given back.
#[test]
fn c15_a_part_is_approved_that_nobody_can_take() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    let in_part = |it: Message| Some(it.with(39, "10").with(4, "000000000040").frame());
    world.proxy.script(Way::Back, next_answer(in_part));
    assert_eq!(world.client.ask(&request).text(39), "51");
    world.until_reversed(&request);
    let (ended, _) = world.stop(&[], &[]);
    assert_counted(&ended, &[("issuer{partial}", 1), ("saf{owed}", 1), ("saf{done}", 1)]);
}

/// C18, C21: what the issuer answers to a reversal: "not found" and "nothing to do" end the debt; "not
/// now" does not, and it comes again after five seconds.
#[test]
fn c18_c21_what_an_issuer_says_to_a_reversal() {
    let mut world = OneBank::start("", "");
    for (number, code) in (1..).zip(["25", "21", "96"]) {
        let request = purchase(number);
        assert_eq!(world.client.ask(&request).text(39), "00");
        let coded = move |answer: Message| Some(answer.with(39, code).frame());
        world.proxy.script(Way::Back, replace(Speech::cups(), "0430", 1, coded));
        let reversal = request.reversal(tapswitch_protocol::Mti::REVERSAL_ADVICE, 100 + number);
        assert_eq!(world.client.ask(&reversal).text(39), "00");
        world.until_reversed(&request);
    }
    // The bank is told of the last one twice; its books show it once.
    world.until("a repeat", |ledger| total(ledger, "CMBC", "repeats") >= 1);
    world.up();
    let (ended, ledger) = world.stop(&[], &[]);
    assert_eq!(total(&ledger, "CMBC", "reversed"), 3);
    assert_counted(&ended, &[("saf{owed}", 3), ("saf{done}", 3), ("saf{retry}", 1)]);
    // And again what is not answered within five seconds.
    assert!(ended.counter("saf{resent}") >= 1, "{}", ended.output);
}

/// C16: an answer may come by another link of its issuer than the request went.
#[test]
fn c16_an_answer_comes_by_another_link_of_its_issuer() {
    use std::sync::mpsc::channel;
    let mut world = OneBank::start("", "connections = 2");
    while world.proxy.made() < 2 {
        world.up();
    }
    // Both are signed on: each takes every other request.
    for _ in 0..4 {
        world.up();
    }
    let (taken, answers) = channel();
    let keep = move |answer: Message| {
        taken.send(answer.frame()).unwrap();
        None
    };
    world.proxy.script(Way::Back, replace(Speech::cups(), "0210", 2, keep));
    let requests = [1, 2].map(purchase);
    for request in &requests {
        world.client.send(&request.frame());
        world.taken(request.number());
    }
    // Both answers by the same link: one of them is the other one's.
    for _ in 0..2 {
        world.proxy.say(0, &answers.recv_timeout(crate::process::PATIENCE).unwrap());
    }
    let mut codes: Vec<_> =
        world.client.answers(2).iter().map(|it| (it.number(), it.text(39))).collect();
    codes.sort();
    assert_eq!(codes, [(1, "00".into()), (2, "00".into())]);
    let (ended, _) = world.stop(&[&requests[0], &requests[1]], &[]);
    let expected = [("issuer{cross_issuer}", 0), ("issuer{unmatched}", 0), ("saf{owed}", 0)];
    assert_counted(&ended, &expected);
}

/// C1: an issuer without a link is refused at once while another connection's requests go on.
#[test]
fn c1_an_issuer_without_a_link_is_refused_and_others_are_served() {
    let world = OneBank::start_with("", "", |proxy| proxy.refuse(true));
    let mut client = Client::of(&world.switch, Speech::cups());
    assert_eq!(client.ask(&purchase(1)).text(39), "91");
    assert_eq!(client.ask(&purchase(2).with(2, "6221580000000042")).text(39), "00");
    assert_eq!(client.ask(&purchase(1)).text(39), "91", "its repeat is told the same");
    assert!(client.rest().is_empty());
    let (ended, _) = world.stop(&[], &["link{down} CMBC"]);
    assert_counted(&ended, &[("refused{issuer_down}", 1), ("duplicate{replayed}", 1)]);
}

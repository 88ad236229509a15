//! Seven faults in which a switch of the field, as it comes, is silent, loses messages or debits
//! twice. A row a test: what the acquirer sees, what the bank's ledger says, what was counted.

use crate::banks::total;
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::one_bank::{OneBank, SHORT, SHORT_MS, assert_counted, hurried, purchase, state_of};
use crate::proxy::Way;

/// Less than what issuers have in these tests: what comes within it has not waited for their time to end.
const WITHIN_MS: u64 = 15_000;

/// Row "the same STAN and terminal again while the first is in flight". Elsewhere the second is never
/// answered; here both are one transaction with one answer.
#[test]
fn row_1_the_same_again_while_the_first_is_in_flight() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    world.proxy.hold(true);
    world.client.send(&request.frame());
    world.taken(1);
    world.client.send(&request.frame());
    world.taken(1);
    world.proxy.hold(false);
    assert_eq!(world.code_of(&request), "00");
    let tried = world.tried as u64;
    let (ended, ledger) = world.stop(&[&request], &[]);
    assert_eq!(total(&ledger, "CMBC", "approved"), tried + 1);
    assert_eq!(total(&ledger, "CMBC", "repeats"), 0, "it was forwarded once");
    assert_counted(&ended, &[("duplicate{absorbed}", 1), ("saf{owed}", 0)]);
}

/// Row "the same STAN and terminal after completion". Elsewhere it is forwarded and approved again;
/// here it gets the same bytes, and the bank hears nothing.
#[test]
fn row_2_a_repeat_after_completion() {
    let mut world = OneBank::start("", "");
    let request = purchase(1);
    let first = world.client.ask(&request);
    assert_eq!(first.text(39), "00");
    let again = world.client.ask(&request);
    assert_eq!(again.frame(), first.frame());
    let tried = world.tried as u64;
    let (ended, ledger) = world.stop(&[&request], &[]);
    assert_eq!(total(&ledger, "CMBC", "approved"), tried + 1);
    assert_eq!(total(&ledger, "CMBC", "repeats"), 0, "it was forwarded once");
    assert_counted(&ended, &[("duplicate{replayed}", 1), ("approved", tried + 1)]);
}

/// Row "good, malformed, good in one stream". Elsewhere the connection ends and the third is lost;
/// here each has its answer.
#[test]
fn row_3_good_malformed_good_in_one_write() {
    let mut world = OneBank::start("", "");
    let [good, bad, last] = [1, 2, 3].map(purchase);
    let bad = bad.with(4, "0000000001O0");
    world.client.send(&[good.frame(), bad.frame(), last.frame()].concat());
    let mut answers: Vec<(u32, String)> =
        world.client.answers(3).iter().map(|it| (it.number(), it.text(39))).collect();
    answers.sort();
    assert_eq!(answers, [(1, "00".into()), (2, "30".into()), (3, "00".into())]);
    let (ended, _) = world.stop(&[&good, &last], &[]);
    assert_counted(&ended, &[("refused{format}", 1), ("dropped{unreadable}", 0)]);
}

/// Row "a PAN with no route". Elsewhere silence; here 15, in an ISO 8583:1987 dialect 92.
#[test]
fn row_4_no_route() {
    let world = OneBank::start("", "");
    for (speech, code) in [(Speech::cups(), "15"), (Speech::iso87(), "92")] {
        let mut client = Client::of(&world.switch, speech).within_ms(WITHIN_MS);
        let request = Message::purchase(speech, 1, 1).with(2, "6251880000000016");
        let answer = client.ask(&request);
        assert_eq!(answer.outcome(), ("0210".into(), code.into()));
        assert_eq!(answer.text(37), request.text(37));
        assert!(client.rest().is_empty());
    }
    let (ended, _) = world.stop(&[], &[]);
    assert_counted(&ended, &[("refused{no_route}", 2), ("saf{owed}", 0)]);
}

/// Row "the issuer answers after its time". Elsewhere the acquirer hears nothing and the debit
/// stands; here it is 98 in time, the late approval reaches nobody and the bank is told to undo it.
#[test]
fn row_5_the_issuer_answers_too_late() {
    let mut world = OneBank::start(SHORT, "");
    let request = hurried(1);
    world.proxy.hold(true);
    let mut client = Client::of(&world.switch, Speech::cups()).within_ms(SHORT_MS);
    assert_eq!(client.ask(&request).outcome(), ("0210".into(), "98".into()));
    world.proxy.hold(false);
    world.until_reversed(&request);
    assert_eq!(client.ask(&request).text(39), "98", "and it stays so");
    assert!(client.rest().is_empty());
    let (ended, _) = world.stop(&[], &[]);
    let expected =
        [("issuer{time_out}", 1), ("issuer{late}", 1), ("saf{owed}", 1), ("saf{done}", 1)];
    assert_counted(&ended, &expected);
}

/// Row "the issuer's link is down". Elsewhere silence; here 91 at once, and nothing is owed for what
/// never left.
#[test]
fn row_6_the_issuers_link_is_down() {
    let world = OneBank::start_with("", "", |proxy| proxy.refuse(true));
    let mut client = Client::of(&world.switch, Speech::cups()).within_ms(WITHIN_MS);
    for number in 1..=20 {
        assert_eq!(client.ask(&purchase(number)).outcome(), ("0210".into(), "91".into()));
    }
    assert!(client.rest().is_empty());
    let (ended, ledger) = world.stop(&[], &["link{down} CMBC"]);
    assert_eq!(total(&ledger, "CMBC", "accounts"), 0, "the bank saw none of them");
    let expected = [("refused{issuer_down}", 20), ("saf{owed}", 0), ("issuer{time_out}", 0)];
    assert_counted(&ended, &expected);
}

/// Row "the issuer's link is cut with one in flight", before and after the bank has taken it.
/// Elsewhere silence; here 98 long before the deadline, and one reversal on the next link.
#[test]
fn row_7_the_issuers_link_is_cut_with_one_in_flight() {
    for way in [Way::There, Way::Back] {
        let mut world = OneBank::start("", "");
        let request = purchase(1);
        world.proxy.hold_way(way, true);
        let mut client = Client::of(&world.switch, Speech::cups()).within_ms(WITHIN_MS);
        client.send(&request.frame());
        let was_forwarded = Message::purchase(Speech::cups(), 1, 2).with(4, "000000000000");
        assert_eq!(client.ask(&was_forwarded).text(39), "13");
        let rrn = request.text(37);
        if way == Way::Back {
            world.until("the debit", |ledger| state_of(ledger, &rrn).is_some());
        }
        world.proxy.cut(0);
        assert_eq!(client.answer().outcome(), ("0210".into(), "98".into()));
        assert!(client.rest().is_empty());
        world.proxy.hold_way(way, false);
        world.up();
        match way {
            Way::Back => world.until_reversed(&request),
            // The bank keeps in mind that it has been reversed, should it still come.
            Way::There => world.until("it", |it| total(it, "CMBC", "reversals_unmatched") == 1),
        }
        world.up();
        let (ended, _) = world.stop(&[], &["link{down} CMBC"]);
        let expected = [("issuer{link_lost}", 1), ("issuer{time_out}", 0), ("saf{owed}", 1)];
        assert_counted(&ended, &expected);
        assert_counted(&ended, &[("saf{done}", 1), ("issuer{late}", 0)]);
    }
}

//! Real input: every CUPS and 1987 request of the vector files, over TCP to the shipped binary,
//! against a table of what each must be answered.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Setup, Switch};
use serde_json::Value;
use tapswitch_protocol::header::CupsHeader;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The issuing bank that the card's IIN names.
    Bank,
    /// The switch.
    Switch,
}

/// Every request: its answer's MTI, DE 39, DE 44, and who gives it.
const ANSWERS: &[(&str, &str, &str, &str, By)] = &[
    // IIN 625188 belongs to none of the banks: no route. The inquiries have no DE 4, and need none.
    ("cups-test01", "0210", "15", "", By::Switch),
    // IIN 622601 is CMBC's.
    ("cups-test03", "0210", "00", "", By::Bank),
    ("cups-test05", "0210", "00", "", By::Bank),
    // Declined by draw: seed 8583, this PAN and DE 37 draw 46,801 of a million, and "do not honor"
    // is what lies from 45,000 to 54,000 (src/bank/behaviour.rs).
    ("cups-test07", "0210", "05", "", By::Bank),
    // IIN 622424: no route.
    ("cups-test10", "0210", "15", "", By::Switch),
    // IIN 621626 is SPABANK's.
    ("c-0200-nfc-nopin", "0210", "00", "", By::Bank),
    ("c-0200-nfc-pin", "0210", "00", "", By::Bank),
    ("c-0200-nfc-pin-sm4", "0210", "00", "", By::Bank),
    // Its original (DE 90) was never sent: an advice is accepted all the same.
    ("c-0420-reversal", "0430", "00", "", By::Switch),
    // A void goes to the bank, which does not know its original either.
    ("c-0200-void", "0210", "25", "", By::Bank),
    // Advices are accepted once they are stored.
    ("c-0220-refund", "0230", "00", "", By::Switch),
    ("c-0100-transit-preauth", "0110", "00", "", By::Bank),
    ("c-0220-transit-completion", "0230", "00", "", By::Switch),
    ("c-0200-transit-single", "0210", "00", "", By::Bank),
    ("c-0200-balance", "0210", "00", "", By::Bank),
    ("c-0820-001", "0830", "00", "", By::Switch),
    ("c-0820-002", "0830", "00", "", By::Switch),
    ("c-0820-301", "0830", "00", "", By::Switch),
    // Cut-off and keys: network codes that an acquirer is not served.
    ("c-0820-201", "0830", "12", "", By::Switch),
    ("c-0820-202", "0830", "12", "", By::Switch),
    ("c-0820-101", "0830", "12", "", By::Switch),
    ("c-0800-101-pin", "0810", "12", "", By::Switch),
    // Neither DE 2 nor DE 35.
    ("moov-financial_transaction_message", "0210", "30", "002", By::Switch),
    // Reversal requests, one of them a repeat, of an original that is not known.
    ("moov-iso_reversal_message", "0410", "25", "", By::Switch),
    ("moov-iso_reversal_repeat_message", "0410", "25", "", By::Switch),
    // Its DE 2 is there, and empty: below 12 digits.
    ("moov-iso_reversal_message_advice", "0430", "14", "", By::Switch),
    ("moov-network_management_message", "0810", "00", "", By::Switch),
    ("zemuldo-echo-hex", "0810", "00", "", By::Switch),
    // Network management without DE 70.
    ("jpos-ISO87APackager", "0810", "30", "070", By::Switch),
    ("jpos-ISO87A-Field64", "0810", "30", "070", By::Switch),
];

/// Sensitive data and what is of one link only never come back.
const NEVER_IN_ANSWERS: [u8; 7] = [35, 36, 45, 52, 63, 64, 128];

/// A request of the vector files.
struct Vector {
    id: String,
    request: Message,
}

fn requests() -> Vec<Vector> {
    let files = [
        (include_str!("../../protocol/tests/vectors/cups_unionpay_switch.json"), Speech::cups()),
        (include_str!("../../protocol/tests/vectors/cups_constructed.json"), Speech::cups()),
        (include_str!("../../protocol/tests/vectors/moov_iso87_ascii.json"), Speech::iso87()),
        (include_str!("../../protocol/tests/vectors/ascii_binary_bitmap.json"), Speech::iso87()),
        (include_str!("../../protocol/tests/vectors/jpos_iso87_ascii.json"), Speech::iso87()),
    ];
    let mut requests = Vec::new();
    for (file, speech) in files {
        let file: Value = serde_json::from_str(file).unwrap();
        for entry in file["vectors"].as_array().unwrap() {
            let Some(mti) = entry["expected"]["mti"].as_str() else { continue };
            if matches!(mti.as_bytes()[2], b'0' | b'2' | b'4' | b'6' | b'8') {
                requests.push(vector(entry, speech));
            }
        }
    }
    requests
}

/// The recordings are messages alone; the constructed ones are whole frames.
fn vector(entry: &Value, speech: Speech) -> Vector {
    let text = entry["hex"].as_str().unwrap();
    let pairs = (0..text.len()).step_by(2);
    let bytes: Vec<u8> =
        pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    let request = match entry["layer"].as_str().unwrap() {
        "frame" => Message::from_frame(speech, &bytes),
        _ => Message::from_body(speech, &bytes),
    };
    Vector { id: entry["id"].as_str().unwrap().to_owned(), request }
}

fn vector_named(id: &str) -> Message {
    requests().into_iter().find(|vector| vector.id == id).unwrap().request
}

/// The shipped configuration, banks and rules as they are, but prompt.
fn switch() -> Switch {
    Setup { shipped_tables: true, ..Setup::default() }.run()
}

#[test]
fn the_table_names_every_request_once() {
    let mut sent: Vec<String> = requests().into_iter().map(|vector| vector.id).collect();
    let mut stated: Vec<&str> = ANSWERS.iter().map(|row| row.0).collect();
    sent.sort_unstable();
    stated.sort_unstable();
    assert_eq!(sent, stated);
}

#[test]
fn every_request_is_answered_as_the_table_says() {
    let switch = switch();
    let mut wrong = Vec::new();
    for (number, vector) in requests().into_iter().enumerate() {
        let (time, stan) = (format!("0704{:06}", 100_000 + number), format!("7{number:05}"));
        let request = vector.request.with(7, &time).with(11, &stan);
        let mut client = Client::of(&switch, request.speech);
        let answer = client.ask(&request);
        let &(id, mti, code, field, _) = ANSWERS.iter().find(|row| row.0 == vector.id).unwrap();
        let (got_mti, got_code) = answer.outcome();
        let got = (got_mti.as_str(), got_code.as_str(), &*answer.text(44));
        if got != (mti, code, field) {
            wrong.push(format!("{id}: {got:?} instead of {:?}", (mti, code, field)));
        }
        check_echo(id, &request, &answer);
        client.end();
        assert!(client.next_answer().is_none(), "{id}: one answer, then the end");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let ended = switch.stop();
    let by = |who| ANSWERS.iter().filter(|row| row.4 == who).count() as u64;
    assert_eq!(ended.counter("received"), ANSWERS.len() as u64);
    assert_eq!(ended.counter("answered{issuer}"), by(By::Bank), "{}", ended.output);
    assert_eq!(ended.counter("answered{switch}"), by(By::Switch), "{}", ended.output);
    // The reversal of a card with a route, the refund and the completion reached their banks.
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (3, 3));
    assert_eq!(ended.counter("reversal{unknown}"), 3);
}

/// What names the transaction comes back, what must not does not, and the header turns round.
fn check_echo(id: &str, request: &Message, answer: &Message) {
    for field in [2, 3, 4, 7, 11, 32, 37, 41, 42, 49, 70] {
        if let Some(sent) = request.field(field) {
            assert_eq!(answer.field(field), Some(sent), "{id}: DE {field}");
        }
    }
    for field in NEVER_IN_ANSWERS {
        assert!(!answer.has(field), "{id}: DE {field}");
    }
    let chip = request.field(55);
    assert!(chip.is_none() || answer.field(55) != chip, "{id}: the bank's DE 55 or none");
    let (Some(sent), Some(got)) =
        (CupsHeader::new(&request.header), CupsHeader::new(&answer.header))
    else {
        return assert!(answer.header.is_empty(), "{id}");
    };
    assert_eq!(got.destination(), sent.source(), "{id}");
    assert_eq!(got.source(), sent.destination(), "{id}");
}

/// Inquiries tell a balance; approvals of money have an approval code, declines have none.
#[test]
fn banks_answers_have_what_their_kind_of_transaction_needs() {
    let switch = switch();
    let mut client = Client::of(&switch, Speech::cups());
    let inquiry = client.ask(&vector_named("cups-test03"));
    assert_eq!(inquiry.outcome(), ("0210".into(), "00".into()));
    // Account type 30 of DE 3, available amount, CNY, credit balance.
    assert!(inquiry.text(54).starts_with("0002156C"), "{}", inquiry.text(54));
    assert!(!inquiry.has(38));
    let purchase = client.ask(&vector_named("c-0200-nfc-nopin"));
    assert_eq!(purchase.outcome(), ("0210".into(), "00".into()));
    assert_eq!(purchase.text(38).len(), 6);
    assert!(!purchase.has(54));
    let void = client.ask(&vector_named("c-0200-void").with(38, "999999"));
    // DE 90 names the purchase just made.
    assert_eq!(void.outcome(), ("0210".into(), "00".into()));
    let again = client.ask(&vector_named("c-0200-void").with(11, "000131"));
    assert_eq!(again.text(39), "12", "what is void cannot be voided again: {:?}", again.outcome());
    assert!(!again.has(38));
    drop(client);
    switch.stop();
}

#[test]
fn the_same_request_gets_the_same_answer_and_another_amount_is_a_conflict() {
    let switch = switch();
    let request = vector_named("c-0200-nfc-nopin");
    // Repeats may come on any connection of their acquirer.
    let first_answer = {
        let mut client = Client::of(&switch, request.speech);
        client.send(&request.frame());
        client.frame().unwrap()
    };
    let mut client = Client::of(&switch, request.speech);
    client.send(&request.frame());
    assert_eq!(client.frame().unwrap(), first_answer, "to the byte");
    let first = Message::from_frame(request.speech, &first_answer);
    assert_eq!(first.outcome(), ("0210".into(), "00".into()));

    let other = request.clone().with(4, "000000012346");
    let refused = client.ask(&other);
    assert_eq!(refused.outcome(), ("0210".into(), "94".into()));
    assert_eq!(refused.text(4), "000000012346");
    client.send(&request.frame());
    assert_eq!(client.frame().unwrap(), first_answer, "the conflict has changed nothing");

    drop(client);
    let ended = switch.stop();
    assert_eq!(ended.counter("duplicate{replayed}"), 2);
    assert_eq!(ended.counter("duplicate{conflict}"), 1);
    assert_eq!(ended.counter("approved"), 1, "money moved once");
}

/// The recorded reversal names the recorded purchase: what the purchase took is given back, once.
#[test]
fn the_reversal_of_a_purchase_is_accepted_and_the_purchase_is_over() {
    let switch = switch();
    let (purchase, reversal) = (vector_named("c-0200-nfc-nopin"), vector_named("c-0420-reversal"));
    let inquiry = vector_named("c-0200-balance");
    let mut client = Client::of(&switch, purchase.speech);
    let balance = |client: &mut Client, stan| client.ask(&inquiry.clone().with(11, stan)).text(54);
    let before = balance(&mut client, "000901");
    assert_eq!(client.ask(&purchase).text(39), "00");
    assert_ne!(balance(&mut client, "000902"), before);
    for _ in 0..2 {
        assert_eq!(client.ask(&reversal).outcome(), ("0430".into(), "00".into()));
    }
    assert_eq!(balance(&mut client, "000903"), before);
    assert_eq!(client.ask(&purchase).outcome(), ("0210".into(), "98".into()));
    drop(client);
    let ended = switch.stop();
    assert_eq!(ended.counter("reversal{original}"), 1);
    assert_eq!((ended.counter("saf{owed}"), ended.counter("saf{done}")), (1, 1));
}

//! Messages in whole frames that are wrong inside: each gets the one answer that its fault has, or
//! none when it cannot be answered, and the connection goes on.

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{GENEROUS, Setup};
use std::collections::BTreeMap;
use tapswitch_protocol::Framing;

/// A message as bytes, which no writer would write.
struct Raw {
    mti: &'static str,
    /// On the wire: with their length prefixes.
    fields: BTreeMap<u8, String>,
    /// What stands behind the last field.
    tail: &'static str,
}

impl Raw {
    /// A purchase that would be approved.
    fn purchase(number: usize) -> Self {
        let fields = [
            (2, "166226019000000042"),
            (3, "000000"),
            (4, "000000000100"),
            (7, "0704093015"),
            (11, &format!("{number:06}")),
            (12, "093015"),
            (13, "0704"),
            (18, "5411"),
            (22, "051"),
            (25, "00"),
            (32, "0803330000"),
            (33, "0803330000"),
            (37, "093015000042"),
            (41, "01080209"),
            (42, "333290054110001"),
            (49, "156"),
        ];
        let fields = fields.map(|(field, wire)| (field, wire.to_owned()));
        Self { mti: "0200", fields: fields.into(), tail: "" }
    }

    fn put(&mut self, field: u8, wire: impl Into<String>) {
        self.fields.insert(field, wire.into());
    }

    fn body(&self, speech: Speech) -> Vec<u8> {
        let has_secondary = self.fields.keys().any(|&field| field > 64);
        let bits = self.fields.keys().copied().chain(has_secondary.then_some(1));
        let bitmap = bits.fold(0_u128, |bitmap, field| bitmap | 1 << (128 - u32::from(field)));
        let bytes = &bitmap.to_be_bytes()[..if has_secondary { 16 } else { 8 }];
        let mut body = self.mti.as_bytes().to_vec();
        match speech.framing {
            Framing::Cups => body.extend_from_slice(bytes),
            Framing::Be2 | Framing::Be2Tpdu => {
                let digits = bytes.iter().map(|byte| format!("{byte:02X}"));
                body.extend_from_slice(digits.collect::<String>().as_bytes());
            }
        }
        self.fields.values().for_each(|wire| body.extend_from_slice(wire.as_bytes()));
        body.extend_from_slice(self.tail.as_bytes());
        body
    }
}

/// MTI, DE 39, DE 44; or nothing.
type Answer = Option<(&'static str, &'static str, &'static str)>;

/// What is answered when no issuer has the card: each table of codes has its own.
const NO_ROUTE: &str = "no route";

fn format_error(field: &'static str) -> Answer {
    Some(("0210", "30", field))
}

fn code(code: &'static str) -> Answer {
    Some(("0210", code, ""))
}

type Change = fn(&mut Raw);

/// What is wrong, and what is answered.
type Row = (&'static str, Change, Answer);

fn rows() -> Vec<Row> {
    [lengths_and_classes(), cards_and_amounts(), types_and_missing_fields()].concat()
}

fn lengths_and_classes() -> Vec<Row> {
    vec![
        ("nothing", |_| {}, code("00")),
        ("a tertiary bitmap", |raw| raw.put(65, "1"), format_error("065")),
        ("LL above its maximum", |raw| raw.put(32, "12033300000000"), format_error("032")),
        ("LL that is not digits", |raw| raw.put(32, "0X03330000"), format_error("032")),
        ("LL past the end", |raw| raw.put(100, "110333"), format_error("100")),
        ("a letter in DE 4", |raw| raw.put(4, "0000000001O0"), format_error("004")),
        ("a blank in DE 12", |raw| raw.put(12, "09 015"), format_error("012")),
        ("a letter in DE 11", |raw| raw.put(11, "00000A"), None),
        ("bytes behind the last field", |raw| raw.tail = "0", format_error("")),
        ("control characters in DE 43", |raw| raw.put(43, "\n\u{1b}%n\0".repeat(8)), code("00")),
        ("DE 48 of its greatest length", |raw| raw.put(48, format!("512{:0512}", 1)), code("00")),
        ("DE 55 that is no TLV", |raw| raw.put(55, "0039F&"), code("00")),
    ]
}

fn cards_and_amounts() -> Vec<Row> {
    vec![
        ("DE 2 of 20 digits", |raw| raw.put(2, "2062260190000000000042"), format_error("002")),
        ("DE 2 of 11 digits", |raw| raw.put(2, "1162260190000"), code("14")),
        ("DE 2 with a letter", |raw| raw.put(2, "1662260190000000X2"), format_error("002")),
        ("no card at all", |raw| drop(raw.fields.remove(&2)), format_error("002")),
        (
            "DE 35 of another card",
            |raw| raw.put(35, "336226019000000043=3012101000000000"),
            format_error("002"),
        ),
        // The IIN has cards of 16 digits: what the bank says of others is the bank's.
        ("an account that the bank lacks", |raw| raw.put(2, "196226019000000000042"), code("14")),
        ("one of 12 digits", |raw| raw.put(2, "12622601900042"), code("14")),
        ("a card of no issuer", |raw| raw.put(2, "166251880000000016"), code(NO_ROUTE)),
        ("amount 0", |raw| raw.put(4, "000000000000"), code("13")),
        (
            "amount 0 of a verification",
            |raw| {
                raw.put(3, "330000");
                raw.put(4, "000000000000");
            },
            code("00"),
        ),
        ("no amount", |raw| drop(raw.fields.remove(&4)), format_error("004")),
        (
            "no amount of an inquiry",
            |raw| {
                raw.put(3, "300000");
                raw.fields.remove(&4);
            },
            code("00"),
        ),
        ("more than the limit", |raw| raw.put(4, "999999999999"), code("61")),
        ("and again", |raw| raw.put(4, "999999999999"), code("61")),
        ("but less still fits", |_| {}, code("00")),
    ]
}

fn types_and_missing_fields() -> Vec<Row> {
    vec![
        ("no DE 3", |raw| drop(raw.fields.remove(&3)), format_error("003")),
        ("no DE 11", |raw| drop(raw.fields.remove(&11)), None),
        ("MTI 0000", |raw| raw.mti = "0000", Some(("0010", "12", ""))),
        ("MTI 0300", |raw| raw.mti = "0300", Some(("0310", "12", ""))),
        ("MTI 0600, a request", |raw| raw.mti = "0600", Some(("0610", "12", ""))),
        ("MTI 0620, a notice", |raw| raw.mti = "0620", Some(("0630", "00", ""))),
        ("MTI 0980", |raw| raw.mti = "0980", Some(("0990", "12", ""))),
        ("MTI 1200, of 1993", |raw| raw.mti = "1200", Some(("1210", "12", ""))),
        ("MTI 0202, an issuer's", |raw| raw.mti = "0202", Some(("0212", "12", ""))),
        ("MTI 0203, its repeat", |raw| raw.mti = "0203", Some(("0212", "12", ""))),
        ("MTI 9999", |raw| raw.mti = "9999", None),
        ("MTI 0210, a response", |raw| raw.mti = "0210", None),
        ("MTI 02a0", |raw| raw.mti = "02a0", None),
        (
            "an unknown network code",
            |raw| {
                raw.mti = "0820";
                raw.put(70, "161");
            },
            Some(("0830", "12", "")),
        ),
        ("no network code", |raw| raw.mti = "0800", Some(("0810", "30", "070"))),
    ]
}

#[test]
fn what_is_wrong_inside_a_frame_is_answered_by_its_fault() {
    for (speech, no_route) in [(Speech::cups(), "15"), (Speech::iso87(), "92")] {
        let switch = Setup { bank: GENEROUS, ..Setup::default() }.run();
        let mut client = Client::of(&switch, speech);
        let mut wrong = Vec::new();
        let mut dropped = 0;
        for (number, (what, change, expected)) in rows().into_iter().enumerate() {
            let mut raw = Raw::purchase(number);
            change(&mut raw);
            client.send(&Message::from_body(speech, &raw.body(speech)).frame());
            let Some((mti, own, field)) = expected else {
                dropped += 1;
                continue;
            };
            // What was dropped before has had no answer, or this were it.
            let answer = client.answer();
            assert_eq!(answer.number(), number as u32, "{what}");
            let expected = (mti, if own == NO_ROUTE { no_route } else { own }, field);
            let (mti, code) = answer.outcome();
            let got = (mti.as_str(), code.as_str(), &*answer.text(44));
            if got != expected {
                wrong.push(format!("{what}: {got:?} instead of {expected:?}"));
            }
        }
        client.end();
        assert!(client.next_answer().is_none(), "nothing came besides");
        assert!(wrong.is_empty(), "{}: {wrong:#?}", speech.name());
        drop(client);
        let ended = switch.stop();
        let counted =
            ["dropped{unreadable}", "dropped{response_mti}"].map(|name| ended.counter(name));
        assert_eq!(counted.iter().sum::<u64>(), dropped, "{}", ended.output);
    }
}

/// What only one of the dialects knows, or needs.
#[test]
fn what_is_wrong_depends_on_the_dialect() {
    let switch = Setup { bank: GENEROUS, ..Setup::default() }.run();
    type Code = (&'static str, &'static str);
    // CUPS has no DE 58, and names a transaction by DE 7.
    let rows: [(Change, [Code; 2]); 2] = [
        (|raw| raw.put(58, "003abc"), [("30", "058"), ("00", "")]),
        (|raw| drop(raw.fields.remove(&7)), [("30", "007"), ("00", "")]),
    ];
    for (number, (change, expected)) in rows.into_iter().enumerate() {
        for (speech, (code, field)) in [Speech::cups(), Speech::iso87()].into_iter().zip(expected) {
            let mut raw = Raw::purchase(number);
            change(&mut raw);
            let mut client = Client::of(&switch, speech);
            let answer = client.ask(&Message::from_body(speech, &raw.body(speech)));
            let got = (answer.text(39), answer.text(44));
            assert_eq!((&*got.0, &*got.1), (code, field), "row {number}, {}", speech.name());
        }
    }
    switch.stop();
}

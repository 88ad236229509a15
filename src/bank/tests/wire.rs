//! What is on the wire: dialects, echoes, additions, damage.

use super::{Answer, Desk, Fields, NOW, OPENING, dialects, willing, write};
use crate::bank::Disposition;
use crate::config::BankBehaviour;
use crate::shard::{AcquirerId, IssuerId};
use proptest::prelude::*;
use tapswitch_protocol::{Dialect, MessageWriter, Mti};

/// The constructed CUPS requests, by name.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    let lines = include_str!("cups_requests.txt").lines().filter(|line| !line.starts_with('#'));
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    lines
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            (name, hex.as_bytes().chunks(2).map(byte).collect())
        })
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    vectors().into_iter().find(|(other, _)| *other == name).unwrap().1
}

#[test]
fn constructed_vectors_get_their_codes() {
    let mut desk = Desk::new(&willing());
    for (name, code) in [
        ("c-0200-nfc-nopin", "00"),
        ("c-0200-nfc-pin", "00"),
        ("c-0200-void", "00"),
        ("c-0420-reversal", "00"),
        ("c-0220-refund", "00"),
        ("c-0100-transit-preauth", "00"),
        ("c-0220-transit-completion", "00"),
        ("c-0200-transit-single", "00"),
        ("c-0820-001", "00"),
        ("c-0820-002", "00"),
        ("c-0820-301", "00"),
        ("c-0820-101", "12"),
    ] {
        let answer = desk.ask(0, &vector(name));
        assert_eq!(answer.code(), code, "{name}");
    }
    let balance = desk.ask(0, &vector("c-0200-balance"));
    // The second purchase is the first one again; it was voided; 23.45 came back, 1.00 is held,
    // and 14.50 and 2.00 were spent.
    let expected = OPENING + 2_345 - 100 - 1_450 - 200;
    assert_eq!(balance.text(54), format!("0002156C{expected:012}"));
    desk.check_books();
}

#[test]
fn a_response_echoes_and_adds() {
    let mut desk = Desk::new(&willing());
    let request = vector("c-0200-nfc-pin");
    let asked = Answer::read(Dialect::cups(), &request);
    let answer = desk.ask(0, &request);
    assert_eq!(answer.mti, 210);
    let fields: Vec<_> = answer.fields.iter().map(|(field, _)| *field).collect();
    assert_eq!(
        fields,
        [
            2, 3, 4, 7, 11, 12, 13, 14, 15, 18, 19, 23, 25, 32, 33, 37, 38, 39, 41, 42, 49, 53, 55,
            60
        ]
    );
    for (field, value) in &answer.fields {
        if ![15, 38, 39, 55].contains(field) {
            assert_eq!(asked.get(*field), Some(&value[..]), "DE {field}");
        }
    }
    assert_eq!(answer.text(15), "0704");
    assert!(answer.get(38).unwrap().iter().all(u8::is_ascii_alphanumeric));
    let authentication = answer.get(55).unwrap();
    assert_eq!((&authentication[..2], &authentication[10..]), (&[0x91, 10][..], &b"00"[..]));
}

#[test]
fn every_dialect_is_spoken() {
    for (acquirer, dialect) in (0..).zip(dialects()) {
        let mut desk = Desk::new(&willing());
        let text = |text: &str| text.as_bytes().to_vec();
        let fields: Fields = vec![
            (2, text("6216260000000000001")),
            (3, text("000000")),
            (4, text("2500")),
            (7, text("0704093015")),
            (11, text("77")),
            (12, text("093015")),
            (13, text("0704")),
            (41, text("TERMINAL")),
            (42, text("MERCHANT0000001")),
            (49, text("156")),
        ];
        let (disposition, message) = desk.hand(0, acquirer, &write(dialect, 200, &fields));
        assert_eq!(disposition, Disposition::Now);
        let answer = Answer::read(dialect, message.bytes());
        assert_eq!((answer.mti, answer.code()), (210, "00"), "{}", dialect.name());
        assert_eq!((answer.text(4), answer.text(15)), ("000000002500", "0704"));
        assert_eq!(answer.text(38).len(), 6);
        desk.pool.give(message);

        let mut fields = fields;
        fields.retain(|(field, _)| *field != 4);
        fields[1].1 = text("303000");
        let (_, message) = desk.hand(0, acquirer, &write(dialect, 200, &fields));
        let answer = Answer::read(dialect, message.bytes());
        assert_eq!(answer.text(54), format!("3002156C{:012}", OPENING - 2_500));
    }
}

#[test]
fn what_cannot_be_answered_is_silence() {
    let mut desk = Desk::new(&willing());
    for bytes in [&b""[..], b"02", b"02x0", b"0200", &vector("c-0200-void")[..10]] {
        let (disposition, message) = desk.hand(0, 0, bytes);
        let readable = bytes.len() >= 4 && bytes.starts_with(b"0200");
        assert_eq!(disposition == Disposition::Silent, !readable, "{bytes:?}");
        assert_eq!(message.is_silence(), !readable);
        desk.pool.give(message);
    }
    let mut response = vector("c-0200-void");
    response[2] = b'1';
    assert_eq!(desk.hand(0, 0, &response).0, Disposition::Silent);
    let mut message = desk.pool.take(IssuerId(0), AcquirerId(9), b"0200").unwrap();
    assert_eq!(desk.banks.answer(NOW, &mut message), Disposition::Silent);
}

#[test]
fn a_damaged_request_is_refused_with_what_could_be_read() {
    let mut desk = Desk::new(&willing());
    let mut request = vector("c-0200-nfc-nopin");
    // DE 4 is at 4 + 16 + 2 + 19 + 6.
    request[47] = b'x';
    let answer = desk.ask(0, &request);
    assert_eq!((answer.mti, answer.code(), answer.get(4)), (210, "30", None));
    assert_eq!((answer.text(11), answer.text(37)), ("000123", "093015000123"));
    let answer = desk.ask(7, &vector("c-0200-nfc-nopin"));
    assert_eq!(answer.code(), "15");
    for pan in [&b"62162600001"[..], b"621626000000"] {
        let fields: Fields =
            vec![(2, pan.to_vec()), (3, b"0".to_vec()), (4, b"1".to_vec()), (11, b"1".to_vec())];
        assert_eq!(desk.ask(0, &write(Dialect::cups(), 200, &fields)).code(), "14");
    }
    let mut out = [0; 100];
    let mti = Mti::from_number(200).unwrap();
    let mut writer = MessageWriter::new(Dialect::cups(), mti, &mut out).unwrap();
    writer.put(3, b"000000").unwrap();
    let bytes = writer.finish().unwrap();
    assert_eq!(desk.ask(0, &out[..bytes]).code(), "30");
    desk.check_books();
}

#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), prop::sample::select(&b"0129=D \x00\xFFSM"[..]))
            .prop_map(|(at, byte)| Damage::Set(at, byte)),
        (place(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Many damaged messages to the same banks: no panic, every answer readable, books balanced.
    #[test]
    fn damaged_messages_do_no_harm(
        rounds in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..3u8, prop::collection::vec(damage(), 0..4)),
            200,
        ),
    ) {
        let vectors = vectors();
        let mut desk = Desk::new(&BankBehaviour { wrong_pin_ppm: 100_000, ..willing() });
        for (which, acquirer, damages) in rounds {
            let mut bytes = which.get(&vectors).1.clone();
            for damage in damages {
                match damage {
                    _ if bytes.is_empty() => {}
                    Damage::Set(at, byte) => *at.get_mut(&mut bytes) = byte,
                    Damage::Flip(at, bit) => *at.get_mut(&mut bytes) ^= 1 << bit,
                    Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
                    Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len()), byte),
                }
            }
            let (disposition, message) = desk.hand(0, acquirer, &bytes);
            prop_assert_eq!(disposition == Disposition::Silent, message.is_silence());
            if !message.is_silence() {
                let dialect = dialects()[usize::from(acquirer)];
                let answer = Answer::read(dialect, message.bytes());
                prop_assert_eq!(answer.code().len(), 2);
            }
            desk.pool.give(message);
        }
        desk.check_books();
    }
}

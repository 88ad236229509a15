//! Mutated messages: whatever bytes come, the reader does not panic, agrees with the naive reader,
//! and every accessor of what it read can be called.
//!
//! `cargo test` runs 60,000 mutations in a debug build and the full million in a release build
//! (`cargo test --release -p tapswitch-protocol mutat`); the environment variable `MUTATIONS`
//! sets another number.

use crate::corpus;
use crate::naive::{self, Reading};
use crate::random::Random;
use tapswitch_protocol::describe;
use tapswitch_protocol::tlv::TlvReader;
use tapswitch_protocol::{
    Addition, Dialect, FieldTable, FrameStep, Framing, MessageView, MessageWriter, Mti, respond,
};

fn mutations() -> u64 {
    let default = if cfg!(debug_assertions) { 60_000 } else { 1_000_000 };
    std::env::var("MUTATIONS").map_or(default, |text| text.parse().expect("MUTATIONS is a number"))
}

#[test]
fn mutated_messages_never_panic_and_read_as_the_naive_reader_says() {
    let vectors = corpus::all();
    let mut random = Random::new(8583);
    let mut table = FieldTable::default();
    let (mut parsed, mut refused) = (0u64, 0u64);
    for round in 0..mutations() {
        let vector = random.pick(&vectors);
        let mut bytes = vector.message.clone();
        for _ in 0..=random.below(3) {
            mutate(&mut bytes, &mut random);
        }
        if random.below(16) == 0 {
            let other = random.pick(&vectors);
            let from = random.below(other.message.len());
            bytes.truncate(random.below(bytes.len() + 1));
            bytes.extend_from_slice(&other.message[from..]);
        }
        let expected = naive::read(vector.dialect, &bytes);
        let result = vector.dialect.parse(&bytes, &mut table);
        let error = result.err();
        match error {
            None => parsed += 1,
            Some(_) => refused += 1,
        }
        let view = table.view(vector.dialect, &bytes);
        let found = Reading {
            mti: table.mti().map(Mti::number),
            fields: view.iter().flat_map(contents).collect(),
            error,
        };
        assert_eq!(found, expected, "round {round}, {} mutated to {bytes:02X?}", vector.id);
        if let Some(view) = view {
            call_everything(&view);
        }
    }
    // A mutation that is always refused, or never, would test half of what it should.
    assert!(parsed * 20 > refused && refused * 20 > parsed, "{parsed} parsed, {refused} refused");
}

fn contents(view: &MessageView<'_>) -> Vec<(u8, Vec<u8>)> {
    let mut scratch = [0; 999];
    let text = |field| Some((field, view.text(field, &mut scratch)?.to_vec()));
    view.present().into_iter().filter_map(text).collect()
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.byte()),
        2 if !bytes.is_empty() => {
            bytes.remove(at);
        }
        3 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        4 => {
            // Somewhere in the bitmap.
            if let Some(byte) = bytes.get_mut(2 + random.below(20)) {
                *byte ^= 1 << random.below(8);
            }
        }
        5 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.byte();
            }
        }
        _ => edit_digit(bytes, at, random),
    }
}

/// Another digit for the next digit: in a length prefix that moves everything behind it.
fn edit_digit(bytes: &mut [u8], at: usize, random: &mut Random) {
    if let Some(digit) = bytes.iter_mut().skip(at).find(|byte| byte.is_ascii_digit()) {
        *digit = b'0' + random.byte() % 10;
    }
}

/// Every accessor, for every number there is.
fn call_everything(view: &MessageView<'_>) {
    let mut scratch = [0; 40];
    for field in (0..=130).chain([255]) {
        let there = view.has(field);
        assert_eq!(view.raw(field).is_some(), there);
        assert_eq!(view.wire(field).is_some(), there);
        assert_eq!(view.range(field).is_some(), there);
        assert_eq!(view.wire_range(field).is_some(), there);
        assert_eq!(view.text(field, &mut scratch).is_some(), there);
        assert_eq!(view.text(field, &mut []).is_some(), there);
        assert!(there || view.number(field).is_none());
        if let Some(raw) = view.raw(field) {
            TlvReader::new(raw).for_each(drop);
        }
    }
    let typed = (view.stan(), view.transmission_time(), view.processing_code(), view.amount());
    let named = (view.currency(), view.rrn(), view.response_code(), view.pan().is_ok());
    assert!(typed.0.is_none_or(|stan| stan.0 <= 999_999), "{typed:?} {named:?}");
    let described = describe::rows(view).map(|row| row.field).collect::<Vec<_>>();
    assert!(described.is_sorted());
    assert_eq!(describe::values(view).count(), view.present().into_iter().count());
    answer(view);
}

/// A response to whatever was read can be written and read.
fn answer(view: &MessageView<'_>) {
    let Some(mti) = view.mti().response() else { return };
    let mut out = [0; 2048];
    let addition = [Addition { field: 39, value: b"30" }];
    let echo = view.dialect().echo;
    let bytes = respond(view, mti, echo, &addition, &mut out).unwrap();
    let mut table = FieldTable::default();
    let response = view.dialect().parse(&out[..bytes], &mut table).unwrap();
    assert_eq!(response.present(), view.present().and(echo).with(39));
}

#[test]
fn mutated_streams_never_panic_and_always_move_on_or_end() {
    let vectors = corpus::all();
    let framed: Vec<_> = vectors.iter().filter_map(|vector| vector.frame.as_ref()).collect();
    let mut random = Random::new(46);
    for _ in 0..mutations() / 4 {
        let frame = random.pick(&framed);
        let mut stream = frame.bytes.clone();
        stream.extend_from_slice(&random.pick(&framed).bytes);
        for _ in 0..=random.below(3) {
            mutate(&mut stream, &mut random);
        }
        for framing in [frame.framing, Framing::Be2] {
            drain(framing, &stream);
        }
    }
}

fn drain(framing: Framing, stream: &[u8]) {
    let mut rest = stream;
    let mut out = [0; 2048];
    loop {
        let used = match framing.next(rest, 2048) {
            Err(_) => return,
            Ok(FrameStep::Incomplete { bytes_needed }) => {
                assert!(bytes_needed > rest.len() && bytes_needed <= 2048);
                return;
            }
            Ok(FrameStep::Message { header, body, bytes }) => {
                assert_eq!(framing.prefix_bytes() + header.len() + body.len(), bytes);
                assert!(framing.begin_response(header, &mut out).is_some());
                bytes
            }
            Ok(FrameStep::Probe { bytes } | FrameStep::Unusable { bytes, .. }) => bytes,
        };
        assert!(used > 0 && used <= rest.len());
        rest = &rest[used..];
    }
}

#[test]
fn random_bytes_are_read_like_the_naive_reader_does() {
    let mut random = Random::new(128);
    let mut table = FieldTable::default();
    for _ in 0..mutations() / 20 {
        let name = random.pick(&Dialect::BUILT_IN);
        let dialect = Dialect::built_in(name).unwrap();
        let mut out = [0; 64];
        let mti = Mti::from_number(u16::try_from(random.below(10_000)).unwrap()).unwrap();
        let bytes = MessageWriter::new(dialect, mti, &mut out).unwrap().finish().unwrap();
        // A true MTI, then anything, digits more often than not.
        let head = if *name == "unionpay-pos" { 2 } else { 4 };
        let mut message = out[..bytes.min(head)].to_vec();
        for _ in 0..random.below(400) {
            let digit = b'0' + random.byte() % 10;
            message.push(if random.below(3) == 0 { random.byte() } else { digit });
        }
        let expected = naive::read(dialect, &message);
        let error = dialect.parse(&message, &mut table).err();
        assert_eq!(error, expected.error, "{message:02X?}");
    }
}

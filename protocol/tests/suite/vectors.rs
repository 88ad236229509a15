//! Every vector decodes to its stated values, and is written again, from those values alone, to
//! the same bytes.

use crate::corpus::{self, Frame, Vector};
use tapswitch_protocol::header::{CupsHeader, cups_header};
use tapswitch_protocol::tlv::TlvReader;
use tapswitch_protocol::{
    Dialect, FieldSet, FieldTable, FrameStep, Framing, MessageView, MessageWriter, ResponseCode,
};

const FRAME_BYTES_MAX: usize = 4096;

#[test]
fn there_are_as_many_messages_as_were_collected() {
    let count = |dialect: &str| {
        corpus::all().iter().filter(|vector| vector.dialect.name() == dialect).count()
    };
    assert_eq!(
        [count("cups"), count("iso87-ascii"), count("unionpay-pos")],
        [8 + 33, 9 + 1 + 2, 8]
    );
}

#[test]
fn every_message_decodes_to_its_stated_values() {
    let mut table = FieldTable::default();
    for vector in corpus::all() {
        let view = match vector.dialect.parse(&vector.message, &mut table) {
            Ok(view) => view,
            Err(error) => panic!("{}: {error}", vector.id),
        };
        assert_eq!(view.mti(), vector.mti, "{}", vector.id);
        assert_eq!(view.bytes(), vector.message, "{}", vector.id);
        assert_eq!(view.dialect().name(), vector.dialect.name(), "{}", vector.id);
        let stated: Vec<u8> = vector.fields.keys().copied().collect();
        assert_eq!(view.present(), FieldSet::of(&stated), "{}", vector.id);
        assert_eq!(bitmap(view.present()), vector.bitmap, "{}", vector.id);
        for field in 0..=255 {
            check_field(&vector, &view, field);
        }
        check_typed_values(&vector, &view);
    }
}

fn check_field(vector: &Vector, view: &MessageView<'_>, field: u8) {
    let place = format!("{} DE {field}", vector.id);
    let mut scratch = [0; 999];
    let stated = vector.fields.get(&field);
    assert_eq!(view.has(field), stated.is_some(), "{place}");
    assert_eq!(view.raw(field), stated.map(|stated| stated.raw.as_slice()), "{place}");
    let text = view.text(field, &mut scratch);
    assert_eq!(text, stated.map(|stated| stated.value.as_slice()), "{place}");
    let (Some(stated), Some(wire)) = (stated, view.wire(field)) else {
        assert_eq!(view.wire(field), None, "{place}");
        assert_eq!(view.range(field), None, "{place}");
        return;
    };
    let prefix = &wire[..wire.len() - stated.raw.len()];
    assert_eq!(prefix_count(vector.dialect, prefix), stated.prefix, "{place}");
    assert_eq!(view.bytes()[view.range(field).unwrap()], stated.raw, "{place}");
    assert_eq!(&view.bytes()[view.wire_range(field).unwrap()], wire, "{place}");
    if !stated.tlv.is_empty() {
        let objects = TlvReader::new(&stated.raw).map(|object| {
            let object = object.unwrap();
            (object.tag, object.value.to_vec())
        });
        assert_eq!(objects.collect::<Vec<_>>(), stated.tlv, "{place}");
    }
}

/// What a length prefix says, read here by the plainest way there is.
fn prefix_count(dialect: &Dialect, prefix: &[u8]) -> Option<usize> {
    let text: String = if dialect.name() == "unionpay-pos" {
        prefix.iter().map(|byte| format!("{byte:02X}")).collect()
    } else {
        prefix.iter().map(|&byte| char::from(byte)).collect()
    };
    if text.is_empty() { None } else { Some(text.parse().unwrap()) }
}

fn check_typed_values(vector: &Vector, view: &MessageView<'_>) {
    let id = &vector.id;
    let text = |field: u8| {
        let stated = vector.fields.get(&field)?;
        Some(std::str::from_utf8(&stated.value).unwrap().to_owned())
    };
    let number = |field: u8| text(field).map(|text| text.parse::<u64>().unwrap());
    assert_eq!(view.stan().map(|stan| u64::from(stan.0)), number(11), "{id}");
    assert_eq!(view.transmission_time().map(|time| u64::from(time.0)), number(7), "{id}");
    assert_eq!(view.processing_code().map(|code| u64::from(code.0)), number(3), "{id}");
    assert_eq!(view.amount().map(|amount| amount.0), number(4), "{id}");
    assert_eq!(view.currency().map(|currency| u64::from(currency.0)), number(49), "{id}");
    assert_eq!(view.rrn().map(|rrn| rrn.0.to_vec()), text(37).map(String::into_bytes), "{id}");
    let code = vector.fields.get(&39).and_then(|stated| ResponseCode::from_wire(&stated.value));
    assert_eq!(view.response_code(), code, "{id}");
}

#[test]
fn the_account_is_de_2_or_the_head_of_de_35() {
    let mut table = FieldTable::default();
    for vector in corpus::cups() {
        let view = vector.dialect.parse(&vector.message, &mut table).unwrap();
        let Some(stated) = vector.fields.get(&2) else { continue };
        let pan = view.pan().unwrap_or_else(|error| panic!("{}: {error:?}", vector.id));
        assert_eq!(pan.digits(), stated.value, "{}", vector.id);
    }
}

#[test]
fn every_message_is_written_from_its_stated_values_to_the_same_bytes() {
    for vector in corpus::all() {
        let mut out = [0xAA; 2048];
        let bytes = write_stated(&vector, &mut out);
        assert_eq!(out[..bytes], vector.message, "{}", vector.id);
    }
}

fn write_stated(vector: &Vector, out: &mut [u8]) -> usize {
    let mut writer = MessageWriter::new(vector.dialect, vector.mti, out).unwrap();
    for (&field, stated) in &vector.fields {
        if let Err(error) = writer.put(field, &stated.value) {
            panic!("{}: {error}", vector.id);
        }
    }
    writer.finish().unwrap()
}

#[test]
fn every_framed_vector_is_found_in_the_stream_and_framed_again() {
    let mut framed = 0;
    for vector in corpus::all() {
        let Some(frame) = &vector.frame else { continue };
        framed += 1;
        let mut stream = frame.bytes.clone();
        stream.extend_from_slice(b"what comes next");
        let Ok(FrameStep::Message { header, body, bytes }) =
            frame.framing.next(&stream, FRAME_BYTES_MAX)
        else {
            panic!("{}", vector.id);
        };
        assert_eq!(body, vector.message, "{}", vector.id);
        assert_eq!(bytes, frame.bytes.len(), "{}", vector.id);
        assert_eq!(header.len(), frame.framing.header_bytes(), "{}", vector.id);
        let stated = stated_header(frame);
        assert_eq!(without_length(frame.framing, header), stated, "{}", vector.id);

        let mut out = [0xAA; 2048];
        let body_at = frame.framing.begin(&stated, &mut out).unwrap();
        let end = body_at + write_stated(&vector, &mut out[body_at..]);
        frame.framing.finish(&mut out, end);
        assert_eq!(out[..end], frame.bytes, "{}", vector.id);
    }
    assert_eq!(framed, 33 + 8);
}

/// The header as the vector states it. What the constructed CUPS headers do not state is constant
/// in them: version 2 with the test flag, nothing rejected.
fn stated_header(frame: &Frame) -> Vec<u8> {
    let [first, second] = frame.header.as_slice() else { panic!("two parts are stated") };
    if frame.framing == Framing::Be2Tpdu {
        return [first.as_slice(), second].concat();
    }
    let destination = first.as_slice().try_into().unwrap();
    let mut header = cups_header(destination, second.as_slice().try_into().unwrap());
    header[1] |= 0x80;
    header.to_vec()
}

/// The total length inside a CUPS header is the frame's to write: zeros stand for it.
fn without_length(framing: Framing, header: &[u8]) -> Vec<u8> {
    let mut header = header.to_vec();
    if framing == Framing::Cups {
        header[2..6].fill(b'0');
    }
    header
}

#[test]
fn the_recorded_cups_header_reads_as_stated() {
    let (bytes, expected) = corpus::cups_entry("cups-header-test09");
    let header = CupsHeader::new(&bytes).unwrap();
    let stated = |key: &str| expected["header"][key].as_str().unwrap().as_bytes().to_vec();
    assert_eq!(header.destination(), stated("destination_id"));
    assert_eq!(header.source(), stated("source_id"));
    assert!(!header.is_rejected());

    // A message of the stated total length, behind the recorded header.
    let frame = [b"0407", bytes.as_slice(), &[b'x'; 407 - 46]].concat();
    let Ok(FrameStep::Message { header, body, bytes }) =
        Framing::Cups.next(&frame, FRAME_BYTES_MAX)
    else {
        panic!("a message");
    };
    assert_eq!((header, body.len(), bytes), (&frame[4..50], 407 - 46, 411));
    let mut again = frame.clone();
    again[..4].fill(0);
    again[6..10].fill(0);
    Framing::Cups.finish(&mut again, frame.len());
    assert_eq!(again, frame);
}

#[test]
fn the_idle_probe_is_skipped() {
    let (bytes, expected) = corpus::cups_entry("cups-idle-0000");
    assert_eq!(expected["length_prefix"], 0);
    assert_eq!(Framing::Cups.next(&bytes, FRAME_BYTES_MAX), Ok(FrameStep::Probe { bytes: 4 }));
}

fn bitmap(present: FieldSet) -> String {
    let (primary, secondary) = present.to_bitmap();
    if secondary == 0 {
        format!("{primary:016X}")
    } else {
        format!("{primary:016X}{secondary:016X}")
    }
}

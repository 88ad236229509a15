//! The messages of `tests/vectors/` with their stated values. Nothing here looks at how the crate
//! reads a message: values come from the files alone.

use serde_json::Value;
use std::collections::BTreeMap;
use tapswitch_protocol::{Class, Dialect, Framing, Mti};

/// What a vector states of one data element.
pub(crate) struct Stated {
    /// As [`tapswitch_protocol::MessageWriter::put`] takes it.
    pub(crate) value: Vec<u8>,
    /// Content on the wire.
    pub(crate) raw: Vec<u8>,
    /// The count of the length prefix; `None` for a fixed field.
    pub(crate) prefix: Option<usize>,
    pub(crate) tlv: Vec<(u32, Vec<u8>)>,
}

/// A message.
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) dialect: &'static Dialect,
    pub(crate) message: Vec<u8>,
    pub(crate) mti: Mti,
    pub(crate) bitmap: String,
    pub(crate) fields: BTreeMap<u8, Stated>,
    /// The frame that the message came in, when the vector has one.
    pub(crate) frame: Option<Frame>,
}

/// A whole frame and what is stated of its header.
pub(crate) struct Frame {
    pub(crate) framing: Framing,
    pub(crate) bytes: Vec<u8>,
    /// The header's bytes: those stated, in order. For CUPS destination and source.
    pub(crate) header: Vec<Vec<u8>>,
}

const CUPS_SWITCH: &str = include_str!("../vectors/cups_unionpay_switch.json");
const CUPS_CONSTRUCTED: &str = include_str!("../vectors/cups_constructed.json");
const ISO87_ASCII: [&str; 3] = [
    include_str!("../vectors/moov_iso87_ascii.json"),
    include_str!("../vectors/ascii_binary_bitmap.json"),
    include_str!("../vectors/jpos_iso87_ascii.json"),
];
const UNIONPAY_POS: &str = include_str!("../vectors/unionpay_pos_tpdu_bcd.json");

/// Every message of the vector files.
pub(crate) fn all() -> Vec<Vector> {
    let mut vectors = cups();
    for file in ISO87_ASCII {
        vectors.extend(messages(file, Dialect::iso87_ascii(), None));
    }
    let tpdu = Some(Framing::Be2Tpdu);
    vectors.extend(messages(UNIONPAY_POS, Dialect::unionpay_pos(), tpdu));
    vectors
}

/// The CUPS messages.
pub(crate) fn cups() -> Vec<Vector> {
    let mut vectors = messages(CUPS_SWITCH, Dialect::cups(), None);
    vectors.extend(messages(CUPS_CONSTRUCTED, Dialect::cups(), Some(Framing::Cups)));
    vectors
}

/// The entries of the CUPS recordings that are not messages: a header and an idle probe.
pub(crate) fn cups_entry(id: &str) -> (Vec<u8>, Value) {
    let entry = entries(CUPS_SWITCH).into_iter().find(|entry| entry["id"] == id).unwrap();
    (hex(&entry["hex"]), entry["expected"].clone())
}

fn entries(file: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

fn messages(file: &str, dialect: &'static Dialect, framing: Option<Framing>) -> Vec<Vector> {
    let entries = entries(file).into_iter();
    let messages = entries.filter(|entry| entry["expected"].get("mti").is_some());
    messages.map(|entry| message(&entry, dialect, framing)).collect()
}

fn message(entry: &Value, dialect: &'static Dialect, framing: Option<Framing>) -> Vector {
    let expected = &entry["expected"];
    let bytes = hex(&entry["hex"]);
    let frame = framing.map(|framing| Frame {
        framing,
        bytes: whole_frame(bytes.clone(), entry["layer"].as_str().unwrap()),
        header: match framing {
            Framing::Cups => ["destination_id", "source_id"]
                .map(|key| expected["header"][key].as_str().unwrap().as_bytes().to_vec())
                .to_vec(),
            Framing::Be2 | Framing::Be2Tpdu => {
                vec![hex(&expected["tpdu"]), hex(&expected["header"])]
            }
        },
    });
    let overhead = framing.map_or(0, |framing| framing.prefix_bytes() + framing.header_bytes());
    let message = frame.as_ref().map_or(bytes.as_slice(), |frame| &frame.bytes[overhead..]);
    let fields = expected["fields"].as_object().unwrap().iter();
    Vector {
        id: entry["id"].as_str().unwrap().to_owned(),
        dialect,
        message: message.to_vec(),
        mti: Mti::from_number(expected["mti"].as_str().unwrap().parse().unwrap()).unwrap(),
        bitmap: expected["bitmap"].as_str().unwrap().to_owned(),
        fields: fields
            .map(|(number, field)| {
                let number = number.parse().unwrap();
                (number, stated(number, field, dialect))
            })
            .collect(),
        frame,
    }
}

/// The terminal recordings but one lack their two-byte length.
fn whole_frame(bytes: Vec<u8>, layer: &str) -> Vec<u8> {
    if layer.starts_with("TPDU") {
        let length = u16::try_from(bytes.len()).unwrap();
        return [&length.to_be_bytes()[..], &bytes].concat();
    }
    bytes
}

fn stated(number: u8, field: &Value, dialect: &Dialect) -> Stated {
    let is_hex = field["hex"] == true || dialect.spec(number).unwrap().class == Class::B;
    let value = if is_hex {
        hex(&field["value"])
    } else {
        let (gbk, _, unmappable) = encoding_rs::GBK.encode(field["value"].as_str().unwrap());
        assert!(!unmappable);
        gbk.into_owned()
    };
    let objects = field["tlv"].as_array().into_iter().flatten();
    Stated {
        value,
        raw: hex(&field["raw"]),
        prefix: field["len"].as_u64().map(|length| usize::try_from(length).unwrap()),
        tlv: objects
            .map(|object| {
                let tag = u32::from_str_radix(object["tag"].as_str().unwrap(), 16).unwrap();
                (tag, hex(&object["value"]))
            })
            .collect(),
    }
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

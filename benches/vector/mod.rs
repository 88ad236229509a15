//! Messages for the benches: those of the protocol crate's test vectors, by file and name.

use serde_json::Value;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/protocol/tests/vectors");

/// The bytes of a vector as its file has them (some with frame or header).
pub(crate) fn bytes(file: &str, id: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(format!("{FOLDER}/{file}.json")).expect("a vector file");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let vectors = file["vectors"].as_array().expect("vectors");
    let vector = vectors.iter().find(|vector| vector["id"] == id).expect("the vector");
    let hex = vector["hex"].as_str().expect("hex");
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

/// A chip card's balance inquiry as the UnionPay simulator sends it: 29 fields, 482 bytes.
pub(crate) fn cups_inquiry() -> Vec<u8> {
    bytes("cups_unionpay_switch", "cups-test03")
}

/// A reversal request of the 1987 edition: 17 fields, 263 bytes, hexadecimal bitmap.
pub(crate) fn iso87_reversal() -> Vec<u8> {
    bytes("moov_iso87_ascii", "moov-iso_reversal_message")
}

/// A purchase by phone at a terminal: 22 fields, 370 bytes, packed decimal.
pub(crate) fn pos_purchase() -> Vec<u8> {
    // TPDU and header are cut off.
    bytes("unionpay_pos_tpdu_bcd", "uppos-vfwz-pay_request").split_off(11)
}

//! Messages for the benches: those of the protocol crate's test vectors, by name.

use serde_json::Value;

const CUPS_SWITCH: &str = include_str!("../../protocol/tests/vectors/cups_unionpay_switch.json");
const ISO87_ASCII: &str = include_str!("../../protocol/tests/vectors/moov_iso87_ascii.json");
const UNIONPAY_POS: &str = include_str!("../../protocol/tests/vectors/unionpay_pos_tpdu_bcd.json");

/// The balance inquiry by chip of the UnionPay simulator: 29 fields, 482 bytes.
pub fn cups_inquiry() -> Vec<u8> {
    message(CUPS_SWITCH, "cups-test03")
}

/// All eight messages of the UnionPay simulator.
pub fn cups_recordings() -> Vec<Vec<u8>> {
    let ids = ["01", "02", "03", "04", "05", "06", "07", "10"];
    ids.iter().map(|id| message(CUPS_SWITCH, &format!("cups-test{id}"))).collect()
}

/// A reversal request: 17 fields, 263 bytes, hexadecimal bitmap.
pub fn iso87_reversal() -> Vec<u8> {
    message(ISO87_ASCII, "moov-iso_reversal_message")
}

/// A purchase by phone at a terminal: 22 fields, 370 bytes, packed decimal; TPDU and header cut off.
pub fn pos_purchase() -> Vec<u8> {
    message(UNIONPAY_POS, "uppos-vfwz-pay_request").split_off(11)
}

fn message(file: &str, id: &str) -> Vec<u8> {
    let file: Value = serde_json::from_str(file).expect("a vector file");
    let vectors = file["vectors"].as_array().expect("vectors");
    let vector = vectors.iter().find(|vector| vector["id"] == id).expect("the vector");
    let hex = vector["hex"].as_str().expect("hex");
    let pairs = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

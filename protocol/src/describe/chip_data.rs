//! The data objects of DE 55 (EMV book 3, annex A): their names, and what is hidden of them.

use super::masking::{Showing, shown_bytes, shown_text};
use crate::tlv::{Tlv, TlvReader};

/// A data object: the hexadecimal of its tag and length, and what may be shown of its value.
pub(super) struct Object {
    /// `None` for bytes that are not a data object.
    pub(super) tag: Option<u32>,
    pub(super) head: String,
    pub(super) text: String,
}

/// The objects of `bytes`, and what is left when they end in something else.
pub(super) fn objects(bytes: &[u8]) -> Vec<Object> {
    let mut reader = TlvReader::new(bytes);
    let mut objects = Vec::new();
    loop {
        let before = reader.rest();
        objects.push(match reader.next() {
            None => return objects,
            // Whatever it is, it may hold an account number.
            Some(Err(_)) => {
                let text = shown_bytes(before, Showing::Length { after: 0 });
                Object { tag: None, head: String::new(), text }
            }
            Some(Ok(object)) => {
                let head_bytes = before.len() - reader.rest().len() - object.value.len();
                let head = before.get(..head_bytes).unwrap_or_default();
                Object { tag: Some(object.tag), head: hex(head), text: value(object) }
            }
        });
    }
}

fn hex(bytes: &[u8]) -> String {
    shown_bytes(bytes, Showing::All)
}

/// What may be shown of an object's value.
fn value(object: Tlv<'_>) -> String {
    match object.tag {
        // The account in packed decimal, ended by F.
        0x5A => {
            let digits = hex(object.value);
            shown_text(digits.trim_end_matches('F').as_bytes(), Showing::Account)
        }
        // Track 2 in packed decimal, its separator a D.
        0x57 | 0x9F6B => shown_text(hex(object.value).as_bytes(), Showing::Track),
        0x56 => shown_bytes(object.value, Showing::Track),
        // Name, expiry, discretionary data of tracks, PIN.
        0x5F20 | 0x5F24 | 0x9F0B | 0x9F1F | 0x9F20 | 0x99 => {
            shown_bytes(object.value, Showing::Length { after: 0 })
        }
        tag if is_constructed(tag) => {
            let inner = objects(object.value);
            inner.iter().flat_map(|object| [&*object.head, &*object.text]).collect()
        }
        _ => shown_bytes(object.value, Showing::AllButCardNumbers),
    }
}

/// Bit 6 of a tag's first byte: the value is made of data objects.
fn is_constructed(tag: u32) -> bool {
    let first = tag.to_be_bytes().into_iter().find(|&byte| byte != 0);
    first.is_some_and(|byte| byte & 0x20 != 0)
}

/// What a tag is called; empty for those that payment messages do not carry.
pub(super) fn name(tag: u32) -> &'static str {
    match tag {
        0x4F => "Application identifier",
        0x50 => "Application label",
        0x56 => "Track 1 equivalent data",
        0x57 => "Track 2 equivalent data",
        0x5A => "Primary account number (PAN)",
        0x5F20 => "Cardholder name",
        0x5F24 => "Application expiration date",
        0x5F2A => "Transaction currency code",
        0x5F34 => "PAN sequence number",
        0x71 => "Issuer script template 1",
        0x72 => "Issuer script template 2",
        0x82 => "Application interchange profile",
        0x84 => "Dedicated file name",
        0x8A => "Authorization response code",
        0x91 => "Issuer authentication data",
        0x95 => "Terminal verification results",
        0x99 => "Transaction PIN data",
        0x9A => "Transaction date",
        0x9B => "Transaction status information",
        0x9C => "Transaction type",
        0x9F02 => "Amount, authorized",
        0x9F03 => "Amount, other",
        0x9F06 => "Application identifier, terminal",
        0x9F09 => "Application version number",
        0x9F10 => "Issuer application data",
        0x9F1A => "Terminal country code",
        0x9F1E => "Interface device serial number",
        0x9F26 => "Application cryptogram",
        0x9F27 => "Cryptogram information data",
        0x9F33 => "Terminal capabilities",
        0x9F34 => "Cardholder verification results",
        0x9F35 => "Terminal type",
        0x9F36 => "Application transaction counter",
        0x9F37 => "Unpredictable number",
        0x9F41 => "Transaction sequence counter",
        0x9F63 => "Card product identification",
        0x9F6B => "Track 2 data",
        0x9F6E => "Form factor indicator",
        0x9F74 => "Electronic cash issuer authorization code",
        0xDF31 => "Issuer script results",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<(Option<u32>, String, String)> {
        objects(bytes).into_iter().map(|object| (object.tag, object.head, object.text)).collect()
    }

    fn one(bytes: &[u8]) -> String {
        let [object] = &*objects(bytes) else { panic!("one object") };
        object.text.clone()
    }

    #[test]
    fn objects_keep_their_order_and_empty_values() {
        let bytes = [0x9F, 0x36, 0x02, 0x02, 0x40, 0x9F, 0x09, 0x00, 0x95, 0x81, 0x01, 0x80];
        let expected = [
            (Some(0x9F36), "9F3602".to_owned(), "0240".to_owned()),
            (Some(0x9F09), "9F0900".to_owned(), String::new()),
            (Some(0x95), "958101".to_owned(), "80".to_owned()),
        ];
        assert_eq!(texts(&bytes), expected);
        assert_eq!(name(0x9F36), "Application transaction counter");
    }

    #[test]
    fn accounts_and_tracks_are_masked_and_personal_data_hidden() {
        let account = b"\x5A\x0A\x62\x16\x26\x10\x00\x00\x00\x00\x01\x8F";
        assert_eq!(one(account), "621626*********0018");
        let track = b"\x57\x0D\x62\x16\x26\x10\x00\x00\x00\x00\x01\x8D\x30\x12\x20";
        assert_eq!(one(track), "621626*********0018*******");
        let track = b"\x56\x12B621626100018^A/B^".as_slice();
        let stars = |bytes: usize| "**".repeat(bytes);
        assert_eq!(one(track), format!("**363231363236{}30303138{}", stars(2), stars(5)));
        assert_eq!(one(b"\x5F\x24\x03\x30\x12\x31"), "[3 bytes]");
        assert_eq!(one(b"\x5F\x20\x03A/B"), "[3 bytes]");
    }

    #[test]
    fn templates_are_masked_inside() {
        let template = b"\x70\x0C\x5A\x0A\x62\x16\x26\x10\x00\x00\x00\x00\x01\x8F";
        assert_eq!(one(template), "5A0A621626*********0018");
    }

    #[test]
    fn what_is_not_an_object_is_not_shown() {
        let torn = [0x95, 0x01, 0x80, 0x5A, 0x0A, 0x62, 0x16];
        assert_eq!(texts(&torn)[1], (None, String::new(), "[4 bytes]".to_owned()));
    }
}

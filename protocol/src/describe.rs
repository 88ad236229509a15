//! A message for people: its fields as text, without what nobody may see.
//!
//! Account numbers are masked (first six, last four), in tracks and chip data too; PIN blocks, keys
//! and cardholder data are shown by their length. Bytes are upper-case hexadecimal. Serves a partly
//! read message as well: what [`crate::FieldTable::view`] gives.
//!
//! Not here: tables and JSON, which the caller makes of the rows. This module allocates.

mod chip_data;
mod masking;

use crate::field::{Class, Packing};
use crate::mti;
use crate::tlv::TlvReader;
use crate::view::MessageView;
use chip_data::{Object, objects};
use masking::{Showing, shown_bytes, shown_text};

/// Most characters of a field: three digits of length.
const CHARACTERS_MAX: usize = 999;

/// One line of a message's description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Data element.
    pub field: u8,
    /// The data object inside DE 55 that this line shows.
    pub tag: Option<u32>,
    /// What the field is called; empty when nobody knows.
    pub name: &'a str,
    /// What may be shown of its content.
    pub text: String,
    /// Whether `text` is hexadecimal.
    pub is_binary: bool,
}

/// The fields of `view` in ascending order, a line each; DE 55 has a line for each data object.
pub fn rows<'a>(view: &MessageView<'a>) -> impl Iterator<Item = Row<'a>> + use<'a> {
    let view = *view;
    view.present().into_iter().flat_map(move |field| {
        let name = view.dialect().field_name(field);
        let Some(bytes) = chip_bytes(&view, field) else {
            let (text, is_binary) = (content(&view, field), is_binary(&view, field));
            return vec![Row { field, tag: None, name, text, is_binary }];
        };
        let row = |Object { tag, text, .. }| {
            let name = if let Some(tag) = tag { chip_data::name(tag) } else { name };
            Row { field, tag, name, text, is_binary: true }
        };
        objects(&bytes).into_iter().map(row).collect()
    })
}

/// The fields of `view` in ascending order, each with its content in one piece, DE 55 too: the form
/// that a machine reads.
pub fn values<'a>(view: &MessageView<'a>) -> impl Iterator<Item = (u8, String)> + use<'a> {
    let view = *view;
    view.present().into_iter().map(move |field| {
        let Some(bytes) = chip_bytes(&view, field) else { return (field, content(&view, field)) };
        let objects = objects(&bytes);
        (field, objects.iter().flat_map(|object| [&*object.head, &*object.text]).collect())
    })
}

fn content(view: &MessageView<'_>, field: u8) -> String {
    let mut scratch = [0; CHARACTERS_MAX];
    let content = view.text(field, &mut scratch).unwrap_or_default();
    let showing = showing(view, field, content);
    if is_binary(view, field) {
        shown_bytes(content, showing)
    } else {
        shown_text(content, showing)
    }
}

fn is_binary(view: &MessageView<'_>, field: u8) -> bool {
    view.dialect().spec(field).is_some_and(|spec| spec.class == Class::B)
}

/// How much of a field may be shown.
fn showing(view: &MessageView<'_>, field: u8, content: &[u8]) -> Showing {
    match field {
        2 => Showing::Account,
        35 | 36 | 45 => Showing::Track,
        34 | 102 | 103 => Showing::AllButLongNumbers,
        // PIN block; cardholder authentication (identity, CVN2); message security code, a key.
        52 | 61 | 96 => Showing::Length { after: 0 },
        // Usage NK: a new key. Usage SM: 016 and a PIN block.
        48 if content.starts_with(b"NK") => Showing::Length { after: 2 },
        63 if content.starts_with(b"SM") => Showing::Length { after: 5 },
        // A terminal's sign-on is answered with its working keys.
        62 if view.mti().class() == mti::Class::NetworkManagement => Showing::Length { after: 0 },
        // A token is as long as an account's number, and has a check digit or not.
        63 => Showing::AllButLongNumbers,
        44 | 46..=48 | 54..=60 | 62 | 104..=127 => Showing::AllButCardNumbers,
        _ => Showing::All,
    }
}

/// The content of DE 55 when it holds data objects: as bytes, or spelled in hexadecimal by peers
/// that write text only.
fn chip_bytes(view: &MessageView<'_>, field: u8) -> Option<Vec<u8>> {
    if field != 55 || view.dialect().spec(55)?.packing != Packing::Plain {
        return None;
    }
    let content = view.raw(55)?;
    if is_binary(view, 55) {
        return Some(content.to_vec());
    }
    let bytes = from_hex(content)?;
    TlvReader::new(&bytes).all(|object| object.is_ok()).then_some(bytes)
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.is_empty() || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |pair: &[u8; 2]| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok();
    pairs.iter().map(byte).collect()
}

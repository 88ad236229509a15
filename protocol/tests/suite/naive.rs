//! The plainest reader there is: one field after another by the dialect's public table, a byte at a
//! time. What the crate's reader says of any bytes, this one says too.

use std::collections::BTreeMap;
use tapswitch_protocol::{
    BitmapEncoding, Class, Dialect, FieldSpec, FormatError, FormatReason, Packing, TextEncoding,
};

/// What a message holds, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) mti: Option<u16>,
    /// Content of the fields that can be read: characters, or bytes for class `b`.
    pub(crate) fields: BTreeMap<u8, Vec<u8>>,
    pub(crate) error: Option<FormatError>,
}

/// How the three built-in dialects write MTI and length prefixes; all else is in the public table.
#[derive(Clone, Copy)]
pub(crate) struct Encodings {
    text: TextEncoding,
    bitmap: BitmapEncoding,
}

impl Encodings {
    pub(crate) fn of(dialect: &Dialect) -> Self {
        let (text, bitmap) = match dialect.name() {
            "cups" => (TextEncoding::Ascii, BitmapEncoding::Binary),
            "iso87-ascii" => (TextEncoding::Ascii, BitmapEncoding::Hex),
            "unionpay-pos" => (TextEncoding::Bcd, BitmapEncoding::Binary),
            other => panic!("{other} is not a built-in dialect"),
        };
        Self { text, bitmap }
    }
}

/// Reads a message of at most 65,535 bytes.
pub(crate) fn read(dialect: &Dialect, bytes: &[u8]) -> Reading {
    let mut reading = Reading { mti: None, fields: BTreeMap::new(), error: None };
    let encodings = Encodings::of(dialect);
    let mut input = Input { rest: bytes };
    if let Err((field, reason)) = message(dialect, encodings, &mut input, &mut reading) {
        reading.error = reading.error.or(Some(FormatError { field, reason }));
    }
    reading
}

struct Input<'a> {
    rest: &'a [u8],
}

impl Input<'_> {
    fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        if count > self.rest.len() {
            return None;
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(taken.to_vec())
    }

    /// A number of decimal digits; packed ones fill whole bytes.
    fn number(&mut self, digits: usize, text: TextEncoding) -> Option<Option<usize>> {
        let characters: Vec<u8> = match text {
            TextEncoding::Ascii => self.take(digits)?,
            TextEncoding::Bcd => nibbles(&self.take(digits.div_ceil(2))?),
        };
        let text = String::from_utf8(characters).unwrap_or_default();
        let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        Some(if is_digits { text.parse().ok() } else { None })
    }
}

/// Nibbles as upper-case hexadecimal characters.
fn nibbles(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect()
}

fn message(
    dialect: &Dialect,
    encodings: Encodings,
    input: &mut Input<'_>,
    reading: &mut Reading,
) -> Result<(), (u8, FormatReason)> {
    let mti = input.number(4, encodings.text).ok_or((0, FormatReason::Truncated))?;
    let mti = mti.ok_or((0, FormatReason::BadMti))?;
    reading.mti = Some(u16::try_from(mti).unwrap());
    let mut bits = bitmap(encodings, input)?;
    if bits.first() == Some(&true) {
        bits.extend(bitmap(encodings, input)?);
    }
    for field in 2..=128u8 {
        if bits.get(usize::from(field) - 1) == Some(&true) {
            let spec = dialect.spec(field).ok_or((field, FormatReason::UnknownField))?;
            match content(spec, encodings, input).map_err(|reason| (field, reason))? {
                Ok(value) => {
                    reading.fields.insert(field, value);
                }
                Err(reason) => {
                    reading.error = reading.error.or(Some(FormatError { field, reason }));
                }
            }
        }
    }
    if input.rest.is_empty() { Ok(()) } else { Err((0, FormatReason::Trailing)) }
}

fn bitmap(encodings: Encodings, input: &mut Input<'_>) -> Result<Vec<bool>, (u8, FormatReason)> {
    let bytes = match encodings.bitmap {
        BitmapEncoding::Binary => input.take(8).ok_or((0, FormatReason::Truncated))?,
        BitmapEncoding::Hex => {
            let text = input.take(16).ok_or((0, FormatReason::Truncated))?;
            if !text.iter().all(u8::is_ascii_hexdigit) {
                return Err((0, FormatReason::BadBitmap));
            }
            let text = String::from_utf8(text).unwrap();
            u64::from_str_radix(&text, 16).unwrap().to_be_bytes().to_vec()
        }
    };
    Ok(bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect())
}

/// The outer error ends the message, the inner one only refuses the field.
fn content(
    spec: FieldSpec,
    encodings: Encodings,
    input: &mut Input<'_>,
) -> Result<Result<Vec<u8>, FormatReason>, FormatReason> {
    let max = usize::from(spec.length_max);
    let count = if spec.prefix_digits == 0 {
        max
    } else {
        let digits = usize::from(spec.prefix_digits);
        let count = input.number(digits, encodings.text).ok_or(FormatReason::PastEnd)?;
        count.ok_or(FormatReason::BadLength)?
    };
    let packed = spec.packing != Packing::Plain;
    let bytes = input.take(if packed { count.div_ceil(2) } else { count });
    if count > max {
        return if bytes.is_some() {
            Ok(Err(FormatReason::TooLong))
        } else {
            Err(FormatReason::TooLong)
        };
    }
    let bytes = bytes.ok_or(FormatReason::PastEnd)?;
    let mut characters = if packed { nibbles(&bytes) } else { bytes };
    if packed && count % 2 == 1 {
        characters.remove(if spec.packing == Packing::BcdRight { 0 } else { count });
    }
    let allowed = |byte: u8| match (spec.class, packed) {
        (Class::N, _) => byte.is_ascii_digit(),
        (Class::Z, false) => matches!(byte, b'0'..=b'?' | b'D'),
        (Class::Z, true) => byte.is_ascii_digit() || byte == b'D',
        (Class::An | Class::Ans | Class::B, _) => true,
    };
    if !characters.iter().all(|&byte| allowed(byte)) {
        return Ok(Err(FormatReason::BadContent));
    }
    if packed && spec.class == Class::Z {
        characters.iter_mut().filter(|byte| **byte == b'D').for_each(|byte| *byte = b'=');
    }
    Ok(Ok(characters))
}

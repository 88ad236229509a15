//! Errors of reading and writing messages. Small, `Copy`, and never holding field contents.

use crate::field::field_number;
use core::fmt;

/// Why a message is not well-formed in its dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatReason {
    /// Too short for MTI and bitmap.
    Truncated,
    /// The MTI is not four digits.
    BadMti,
    /// The bitmap is not hexadecimal where the dialect wants that.
    BadBitmap,
    /// The bitmap announces a field that the dialect does not know.
    UnknownField,
    /// A length prefix that is not digits.
    BadLength,
    /// A length above the field's maximum.
    TooLong,
    /// The field runs past the end of the message.
    PastEnd,
    /// A non-digit in a numeric field, or a character outside the track code set.
    BadContent,
    /// Bytes after the last field.
    Trailing,
}

/// A message that its dialect does not allow: which data element (0 when none is to blame) and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Data element, 1 to 128; 0 for MTI, bitmap and trailing bytes.
    pub field: u8,
    /// What is wrong with it.
    pub reason: FormatReason,
}

impl FormatError {
    /// Of the field with this index, which is its number less one.
    pub(crate) const fn at(index: usize, reason: FormatReason) -> Self {
        Self { field: field_number(index), reason }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            FormatReason::Truncated => "message ends inside its MTI or bitmap",
            FormatReason::BadMti => "MTI is not four digits",
            FormatReason::BadBitmap => "bitmap is not hexadecimal",
            FormatReason::UnknownField => "field is not in the dialect",
            FormatReason::BadLength => "length prefix is not digits",
            FormatReason::TooLong => "length is above the field's maximum",
            FormatReason::PastEnd => "field runs past the end of the message",
            FormatReason::BadContent => "content is outside the field's class",
            FormatReason::Trailing => "bytes follow the last field",
        };
        if self.field == 0 { f.write_str(reason) } else { write!(f, "DE {}: {reason}", self.field) }
    }
}

impl std::error::Error for FormatError {}

/// Why a message could not be written: always the caller's mistake or too small a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The output buffer is full.
    NoRoom,
    /// The dialect does not know this data element.
    UnknownField(u8),
    /// The value is longer than the field allows.
    TooLong(u8),
    /// The value cannot be expressed in the field (a non-digit in a packed field, a short `b`).
    BadValue(u8),
    /// Data elements must be put in ascending order.
    OutOfOrder(u8),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("output buffer is full"),
            Self::UnknownField(field) => write!(f, "DE {field} is not in the dialect"),
            Self::TooLong(field) => write!(f, "value of DE {field} is too long"),
            Self::BadValue(field) => write!(f, "value of DE {field} does not fit its class"),
            Self::OutOfOrder(field) => write!(f, "DE {field} put after a higher data element"),
        }
    }
}

impl std::error::Error for WriteError {}

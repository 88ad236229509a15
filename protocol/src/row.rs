//! A dialect's table as the walk reads it: four bytes a data element, decided once at start, so
//! that the walk does not ask again what class, packing and length mean together.

use crate::field::{Class, FieldSpec, Packing};

/// Where a field's length comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nowhere: the dialect does not know the field.
    Unknown,
    /// The table.
    Fixed,
    /// A prefix of two digits.
    Two,
    /// A prefix of three digits.
    Three,
}

impl Length {
    /// Bytes of the length prefix: a byte a digit, or two digits a byte.
    #[inline(always)]
    pub(crate) const fn prefix_bytes(self, is_ascii: bool) -> usize {
        match self {
            Self::Unknown | Self::Fixed => 0,
            Self::Two => 1 + is_ascii as usize,
            Self::Three => 2 + is_ascii as usize,
        }
    }
}

/// What is checked of a field's content, and how many bytes a count stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A character or byte each, whatever it is.
    Text,
    Bytes,
    /// A character each.
    Digits,
    Track,
    /// Two digits a byte.
    PackedLeft,
    PackedRight,
    PackedTrack,
}

impl Content {
    /// Whether two digits share a byte.
    #[inline(always)]
    pub(crate) const fn is_packed(self) -> bool {
        matches!(self, Self::PackedLeft | Self::PackedRight | Self::PackedTrack)
    }

    /// Bytes that `count` takes.
    #[inline(always)]
    pub(crate) const fn bytes(self, count: usize) -> usize {
        if self.is_packed() { count.div_ceil(2) } else { count }
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Row {
    /// Bytes of a fixed field; the largest count of a variable one.
    pub(crate) size: u16,
    pub(crate) length: Length,
    pub(crate) content: Content,
    /// Of a fixed field: whether its count is odd, so that a packed one is padded.
    fixed_is_odd: bool,
}

const _: () = assert!(size_of::<Row>() == 8);

impl Row {
    pub(crate) const UNKNOWN: Self =
        Self { size: 0, length: Length::Unknown, content: Content::Bytes, fixed_is_odd: false };

    pub(crate) const fn new(spec: FieldSpec) -> Self {
        let content = match (spec.packing, spec.class) {
            (Packing::Plain, Class::N) => Content::Digits,
            (Packing::Plain, Class::Z) => Content::Track,
            (Packing::Plain, Class::An | Class::Ans) => Content::Text,
            (Packing::Plain, Class::B) => Content::Bytes,
            (Packing::BcdLeft | Packing::BcdRight, Class::Z) => Content::PackedTrack,
            (Packing::BcdLeft, _) => Content::PackedLeft,
            (Packing::BcdRight, _) => Content::PackedRight,
        };
        let (length, size) = match spec.prefix_digits {
            0 if content.is_packed() => (Length::Fixed, spec.length_max.div_ceil(2)),
            0 => (Length::Fixed, spec.length_max),
            2 => (Length::Two, spec.length_max),
            _ => (Length::Three, spec.length_max),
        };
        Self { size, length, content, fixed_is_odd: spec.length_max % 2 == 1 }
    }

    /// The fixed count, or the largest.
    #[inline]
    pub(crate) fn count_max(self) -> usize {
        let size = usize::from(self.size);
        if self.length == Length::Fixed && self.content.is_packed() {
            size * 2 - usize::from(self.fixed_is_odd)
        } else {
            size
        }
    }

    /// Whether a packed field holds an odd number of digits. `content_at` is where its content
    /// begins: the lowest digit of the prefix is the low nibble of the byte before.
    #[inline]
    pub(crate) fn is_odd(self, bytes: &[u8], content_at: usize) -> bool {
        match self.length {
            Length::Fixed | Length::Unknown => self.fixed_is_odd,
            Length::Two | Length::Three => {
                let lowest = content_at.checked_sub(1).and_then(|at| bytes.get(at));
                lowest.is_some_and(|byte| byte % 2 == 1)
            }
        }
    }
}

//! A parsed message: accessors that cannot fail, over the offsets that the walk recorded (see
//! `walk.rs`). Nothing is copied.

use crate::dialect::{Dialect, TextEncoding};
use crate::digits;
use crate::field::{FIELDS, FieldSet};
use crate::mti::Mti;
use crate::pan::{Pan, PanError};
use crate::response_code::ResponseCode;
use crate::row::{Content, Row};
use crate::values::{AmountMinor, CurrencyCode, ProcessingCode, Rrn, Stan, TransmissionTime};
use core::ops::Range;

/// Where a field's content lies: its start in the low half, its end in the high one. Its length
/// prefix, if any, stands before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span(u32);

impl Span {
    /// A message has at most 65,535 bytes.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "parse refuses longer messages")]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self(start as u32 | (end as u32) << 16)
    }

    #[inline(always)]
    pub(crate) const fn range(self) -> Range<usize> {
        (self.0 & 0xFFFF) as usize..(self.0 >> 16) as usize
    }
}

/// The offsets of one message's fields. Reusable: parsing the next message overwrites it.
#[derive(Clone, Debug)]
pub struct FieldTable {
    pub(crate) mti: Option<Mti>,
    /// What the bitmap says is there.
    pub(crate) announced: FieldSet,
    /// What was read and is right.
    pub(crate) present: FieldSet,
    /// By field number less one. Only those of `present` mean anything.
    pub(crate) spans: [Span; FIELDS],
}

impl Default for FieldTable {
    fn default() -> Self {
        Self {
            mti: None,
            announced: FieldSet::EMPTY,
            present: FieldSet::EMPTY,
            spans: [Span::default(); FIELDS],
        }
    }
}

impl FieldTable {
    /// The MTI, when it could be read.
    #[inline]
    #[must_use]
    pub const fn mti(&self) -> Option<Mti> {
        self.mti
    }

    /// The fields that were read from `bytes`, which must be the bytes last parsed into this table
    /// (with others the accessors find other contents, or none). After a failed parse these are the
    /// fields before and after the one at fault; `None` when not even the MTI could be read.
    #[inline]
    #[must_use]
    pub fn view<'a>(&'a self, dialect: &'a Dialect, bytes: &'a [u8]) -> Option<MessageView<'a>> {
        self.mti.map(|mti| MessageView { dialect, bytes, table: self, mti })
    }
}

/// A message whose fields can be read. Borrows the bytes it was parsed from.
#[derive(Clone, Copy)]
pub struct MessageView<'a> {
    pub(crate) dialect: &'a Dialect,
    pub(crate) bytes: &'a [u8],
    pub(crate) table: &'a FieldTable,
    pub(crate) mti: Mti,
}

impl<'a> MessageView<'a> {
    /// The message type.
    #[inline]
    #[must_use]
    pub const fn mti(&self) -> Mti {
        self.mti
    }

    /// The dialect it was parsed by.
    #[inline]
    #[must_use]
    pub const fn dialect(&self) -> &'a Dialect {
        self.dialect
    }

    /// The bytes it was parsed from.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The fields that are there.
    #[inline]
    #[must_use]
    pub const fn present(&self) -> FieldSet {
        self.table.present
    }

    /// Whether `field` is there.
    #[inline]
    #[must_use]
    pub const fn has(&self, field: u8) -> bool {
        self.table.present.has(field)
    }

    /// The field's row of the dialect's table and where its content lies.
    #[inline]
    fn place(&self, field: u8) -> Option<(Row, Range<usize>)> {
        if !self.has(field) {
            return None;
        }
        let index = usize::from(field - 1);
        let (row, span) = (self.dialect.rows.get(index)?, self.table.spans.get(index)?);
        Some((*row, span.range()))
    }

    /// Content bytes as they are on the wire, without the length prefix. For packed fields these
    /// are packed; see [`MessageView::text`].
    #[inline]
    #[must_use]
    pub fn raw(&self, field: u8) -> Option<&'a [u8]> {
        self.bytes.get(self.range(field)?)
    }

    /// The whole field as it is on the wire, length prefix included.
    #[inline]
    #[must_use]
    pub fn wire(&self, field: u8) -> Option<&'a [u8]> {
        self.bytes.get(self.wire_range(field)?)
    }

    /// Where the field's content lies in [`MessageView::bytes`].
    #[inline]
    #[must_use]
    pub fn range(&self, field: u8) -> Option<Range<usize>> {
        self.place(field).map(|(_, range)| range)
    }

    /// Where the field, length prefix included, lies in [`MessageView::bytes`].
    #[inline]
    #[must_use]
    pub fn wire_range(&self, field: u8) -> Option<Range<usize>> {
        let (row, content) = self.place(field)?;
        Some(
            content.start - row.length.prefix_bytes(self.dialect.length == TextEncoding::Ascii)
                ..content.end,
        )
    }

    /// Content as characters: packed digits are unpacked into `scratch`, anything else is the wire
    /// bytes themselves. A packed separator reads as `=`. At most `scratch.len()` characters.
    #[inline]
    #[must_use]
    pub fn text<'b>(&self, field: u8, scratch: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        let (row, content) = self.place(field)?;
        if !row.content.is_packed() {
            return self.bytes.get(content);
        }
        let mut written = 0;
        for (out, nibble) in scratch.iter_mut().zip(self.nibbles(row, content)) {
            *out = digits::nibble_to_ascii(nibble);
            written += 1;
        }
        scratch.get(..written)
    }

    /// The nibbles of a packed field, without its padding.
    #[inline]
    fn nibbles(&self, row: Row, content: Range<usize>) -> impl Iterator<Item = u8> + use<'a> {
        let is_odd = row.is_odd(self.bytes, content.start);
        let raw = self.bytes.get(content).unwrap_or_default();
        let padding = usize::from(is_odd);
        let skipped = if row.content == Content::PackedRight { padding } else { 0 };
        let count = (raw.len() * 2).saturating_sub(padding);
        raw.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]).skip(skipped).take(count)
    }

    /// The number that a field of digits spells; `None` when absent, empty, or above 19 digits.
    #[inline]
    #[must_use]
    pub fn number(&self, field: u8) -> Option<u64> {
        let (row, content) = self.place(field)?;
        if !row.content.is_packed() {
            return digits::parse_u64(self.bytes.get(content)?);
        }
        if content.is_empty() {
            return None;
        }
        // 19 digits always fit.
        self.nibbles(row, content).enumerate().try_fold(0, |number, (place, nibble)| {
            (nibble <= 9 && place < 19).then_some(number * 10 + u64::from(nibble))
        })
    }

    /// A number of at most nine digits.
    #[inline]
    fn small_number(&self, field: u8) -> Option<u32> {
        self.number(field).and_then(|number| u32::try_from(number).ok())
    }

    /// DE 11.
    #[inline]
    #[must_use]
    pub fn stan(&self) -> Option<Stan> {
        self.small_number(11).map(Stan)
    }

    /// DE 7.
    #[inline]
    #[must_use]
    pub fn transmission_time(&self) -> Option<TransmissionTime> {
        self.small_number(7).map(TransmissionTime)
    }

    /// DE 3.
    #[inline]
    #[must_use]
    pub fn processing_code(&self) -> Option<ProcessingCode> {
        self.small_number(3).map(ProcessingCode)
    }

    /// DE 4.
    #[inline]
    #[must_use]
    pub fn amount(&self) -> Option<AmountMinor> {
        self.number(4).map(AmountMinor)
    }

    /// DE 49.
    #[inline]
    #[must_use]
    pub fn currency(&self) -> Option<CurrencyCode> {
        self.number(49).and_then(|number| u16::try_from(number).ok()).map(CurrencyCode)
    }

    /// DE 37.
    #[inline]
    #[must_use]
    pub fn rrn(&self) -> Option<Rrn> {
        self.raw(37).and_then(|raw| raw.try_into().ok()).map(Rrn)
    }

    /// DE 39.
    #[inline]
    #[must_use]
    pub fn response_code(&self) -> Option<ResponseCode> {
        self.raw(39).and_then(ResponseCode::from_wire)
    }

    /// The account: DE 2, or the part of DE 35 before its separator.
    ///
    /// # Errors
    /// [`PanError::Missing`] without both, [`PanError::Length`] outside 12 to 19 digits,
    /// [`PanError::Conflict`] when both are there and differ.
    #[inline]
    pub fn pan(&self) -> Result<Pan, PanError> {
        let (mut scratch, mut track_scratch) = ([0; 20], [0; 40]);
        let de2 = self.text(2, &mut scratch);
        let de35 = self.text(35, &mut track_scratch).and_then(track_pan);
        match (de2, de35) {
            (None, None) => Err(PanError::Missing),
            (Some(digits), None) | (None, Some(digits)) => Pan::from_digits(digits),
            (Some(digits), Some(track)) if digits == track => Pan::from_digits(digits),
            (Some(_), Some(_)) => Err(PanError::Conflict),
        }
    }
}

/// The PAN of track 2: what stands before the separator, `=` or `D`.
#[inline]
fn track_pan(track: &[u8]) -> Option<&[u8]> {
    let end = track.iter().position(|&byte| byte == b'=' || byte == b'D')?;
    track.get(..end)
}

//! Reading: one validating walk, then accessors that cannot fail.
//!
//! The walk records where every field lies; nothing is copied. Lengths are validated, and content
//! of the classes `n` and `z`. When a field is wrong but its extent is known, the walk goes on, so
//! that the fields after it are known too (a refusal echoes them); the first error is reported and
//! the field at fault is left out of the table.

use crate::dialect::{BitmapEncoding, Dialect, TextEncoding};
use crate::digits;
use crate::error::{FormatError, FormatReason};
use crate::field::{Class, FieldSet, FieldSpec, Packing};
use crate::mti::Mti;
use crate::pan::{Pan, PanError};
use crate::response_code::ResponseCode;
use crate::values::{AmountMinor, CurrencyCode, ProcessingCode, Rrn, Stan, TransmissionTime};

/// Where a field lies: its wire form (length prefix included) and its content.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    wire_start: u16,
    start: u16,
    end: u16,
    /// Characters, digits or bytes, by packing and class.
    count: u16,
}

/// The offsets of one message's fields. Reusable: parsing the next message overwrites it.
#[derive(Clone, Debug)]
pub struct FieldTable {
    mti: Option<Mti>,
    present: FieldSet,
    spans: [Span; 129],
}

impl Default for FieldTable {
    fn default() -> Self {
        Self { mti: None, present: FieldSet::EMPTY, spans: [Span::default(); 129] }
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
    dialect: &'a Dialect,
    bytes: &'a [u8],
    table: &'a FieldTable,
    mti: Mti,
}

impl Dialect {
    /// Parses one message (without its frame) into `table`.
    ///
    /// # Errors
    /// The first field at fault. What could be read all the same is in `table`.
    pub fn parse<'a>(
        &'a self,
        bytes: &'a [u8],
        table: &'a mut FieldTable,
    ) -> Result<MessageView<'a>, FormatError> {
        table.mti = None;
        table.present = FieldSet::EMPTY;
        let whole = |reason| FormatError { field: 0, reason };
        if bytes.len() > usize::from(u16::MAX) {
            return Err(whole(FormatReason::Trailing));
        }
        let (mti, at) = self.read_mti(bytes).map_err(whole)?;
        table.mti = Some(mti);
        let (announced, at) = self.read_bitmap(bytes, at).map_err(whole)?;
        walk(self, bytes, at, announced, table)?;
        Ok(MessageView { dialect: self, bytes, table, mti })
    }

    fn read_mti(&self, bytes: &[u8]) -> Result<(Mti, usize), FormatReason> {
        let (mti, length) = match self.mti {
            TextEncoding::Ascii => (bytes.first_chunk().map(|&b| Mti::from_ascii(b)), 4),
            TextEncoding::Bcd => (bytes.first_chunk().map(|&b| Mti::from_bcd(b)), 2),
        };
        let mti = mti.ok_or(FormatReason::Truncated)?.ok_or(FormatReason::BadMti)?;
        Ok((mti, length))
    }

    fn read_bitmap(&self, bytes: &[u8], at: usize) -> Result<(FieldSet, usize), FormatReason> {
        let (primary, mut at) = self.read_bitmap_word(bytes, at)?;
        let mut secondary = 0;
        if primary >> 63 == 1 {
            (secondary, at) = self.read_bitmap_word(bytes, at)?;
        }
        Ok((FieldSet::from_bitmap(primary, secondary).without(1), at))
    }

    fn read_bitmap_word(&self, bytes: &[u8], at: usize) -> Result<(u64, usize), FormatReason> {
        let rest = bytes.get(at..).ok_or(FormatReason::Truncated)?;
        match self.bitmap {
            BitmapEncoding::Binary => {
                let word = rest.first_chunk::<8>().ok_or(FormatReason::Truncated)?;
                Ok((u64::from_be_bytes(*word), at + 8))
            }
            BitmapEncoding::Hex => {
                let text = rest.first_chunk::<16>().ok_or(FormatReason::Truncated)?;
                let mut word = 0u64;
                for &character in text {
                    let value = digits::hex_value(character).ok_or(FormatReason::BadBitmap)?;
                    word = word << 4 | u64::from(value);
                }
                Ok((word, at + 16))
            }
        }
    }
}

#[inline]
fn walk(
    dialect: &Dialect,
    bytes: &[u8],
    mut at: usize,
    announced: FieldSet,
    table: &mut FieldTable,
) -> Result<(), FormatError> {
    let mut first_error = None;
    let mut refused = FieldSet::EMPTY;
    let ascii_lengths = dialect.length == TextEncoding::Ascii;
    for field in announced {
        let stop = |reason| FormatError { field, reason };
        let seen = |table: &mut FieldTable, refused: FieldSet| {
            // Fields from here on were not reached.
            table.present = announced.and(below(field)).minus(refused);
        };
        let Some(spec) = dialect.spec(field) else {
            seen(table, refused);
            return Err(first_error.unwrap_or(stop(FormatReason::UnknownField)));
        };
        let (prefix, count) = match read_length(&spec, bytes, at, ascii_lengths) {
            Ok(read) => read,
            Err(reason) => {
                seen(table, refused);
                return Err(first_error.unwrap_or(stop(reason)));
            }
        };
        let start = at + prefix;
        let end = start + spec.wire_bytes(count);
        let Some(content) = bytes.get(start..end) else {
            seen(table, refused);
            return Err(first_error.unwrap_or(stop(FormatReason::PastEnd)));
        };
        if count > usize::from(spec.length_max) {
            refused = refused.with(field);
            first_error = first_error.or(Some(stop(FormatReason::TooLong)));
        } else if !content_is_valid(&spec, content, count) {
            refused = refused.with(field);
            first_error = first_error.or(Some(stop(FormatReason::BadContent)));
        }
        if let Some(span) = table.spans.get_mut(usize::from(field)) {
            // The message is at most 65,535 bytes.
            *span = Span {
                wire_start: at as u16,
                start: start as u16,
                end: end as u16,
                count: count as u16,
            };
        }
        at = end;
    }
    table.present = announced.minus(refused);
    if let Some(error) = first_error {
        return Err(error);
    }
    if at != bytes.len() {
        return Err(FormatError { field: 0, reason: FormatReason::Trailing });
    }
    Ok(())
}

/// Data elements with a lower number.
fn below(field: u8) -> FieldSet {
    (1..field).fold(FieldSet::EMPTY, FieldSet::with)
}

/// Bytes of the prefix and the count it states (or the fixed length).
#[inline(always)]
fn read_length(
    spec: &FieldSpec,
    bytes: &[u8],
    at: usize,
    ascii: bool,
) -> Result<(usize, usize), FormatReason> {
    let rest = bytes.get(at..).unwrap_or_default();
    let digit = |byte: u8| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { Err(FormatReason::BadLength) } else { Ok(usize::from(digit)) }
    };
    match (spec.prefix_digits, ascii) {
        (0, _) => Ok((0, usize::from(spec.length_max))),
        (2, true) => {
            let &[a, b] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
            Ok((2, digit(a)? * 10 + digit(b)?))
        }
        (_, true) => {
            let &[a, b, c] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
            Ok((3, digit(a)? * 100 + digit(b)? * 10 + digit(c)?))
        }
        (2, false) => {
            let &[a] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
            Ok((1, two_packed(a)?))
        }
        (_, false) => {
            let &[a, b] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
            Ok((2, two_packed(a)? * 100 + two_packed(b)?))
        }
    }
}

fn two_packed(byte: u8) -> Result<usize, FormatReason> {
    let (high, low) = (byte >> 4, byte & 0x0F);
    if high > 9 || low > 9 {
        return Err(FormatReason::BadLength);
    }
    Ok(usize::from(high) * 10 + usize::from(low))
}

#[inline(always)]
fn content_is_valid(spec: &FieldSpec, content: &[u8], count: usize) -> bool {
    match (spec.packing, spec.class) {
        (Packing::Plain, Class::N) => digits::all_digits(content),
        (Packing::Plain, Class::Z) => digits::all_track(content),
        (Packing::Plain, _) => true,
        (packing, class) => packed_is_valid(content, count, packing, class),
    }
}

/// Every nibble is a digit, or in a track also the separator; the padding nibble may be anything.
fn packed_is_valid(content: &[u8], count: usize, packing: Packing, class: Class) -> bool {
    let skip = usize::from(packing == Packing::BcdRight && count % 2 == 1);
    let nibbles = content.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
    nibbles.skip(skip).take(count).all(|nibble| nibble <= 9 || (class == Class::Z && nibble == 0xD))
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

    #[inline]
    fn span(&self, field: u8) -> Option<&'a Span> {
        if self.has(field) { self.table.spans.get(usize::from(field)) } else { None }
    }

    /// Content bytes as they are on the wire, without the length prefix. For packed fields these
    /// are packed; see [`MessageView::text`].
    #[inline]
    #[must_use]
    pub fn raw(&self, field: u8) -> Option<&'a [u8]> {
        let span = self.span(field)?;
        self.bytes.get(usize::from(span.start)..usize::from(span.end))
    }

    /// The whole field as it is on the wire, length prefix included.
    #[inline]
    #[must_use]
    pub fn wire(&self, field: u8) -> Option<&'a [u8]> {
        let span = self.span(field)?;
        self.bytes.get(usize::from(span.wire_start)..usize::from(span.end))
    }

    /// Where the field's content lies in [`MessageView::bytes`].
    #[inline]
    #[must_use]
    pub fn range(&self, field: u8) -> Option<core::ops::Range<usize>> {
        self.span(field).map(|span| usize::from(span.start)..usize::from(span.end))
    }

    /// Where the field, length prefix included, lies in [`MessageView::bytes`].
    #[inline]
    #[must_use]
    pub fn wire_range(&self, field: u8) -> Option<core::ops::Range<usize>> {
        self.span(field).map(|span| usize::from(span.wire_start)..usize::from(span.end))
    }

    /// Content as characters: packed digits are unpacked into `scratch`, anything else is the wire
    /// bytes themselves. A packed separator reads as `=`. At most `scratch.len()` characters.
    #[must_use]
    pub fn text<'b>(&self, field: u8, scratch: &'b mut [u8]) -> Option<&'b [u8]>
    where
        'a: 'b,
    {
        let span = self.span(field)?;
        let raw = self.raw(field)?;
        let packing = self.dialect.spec(field)?.packing;
        if packing == Packing::Plain {
            return Some(raw);
        }
        let count = usize::from(span.count);
        let skip = usize::from(packing == Packing::BcdRight && count % 2 == 1);
        let nibbles = raw.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        let mut written = 0;
        for (out, nibble) in scratch.iter_mut().zip(nibbles.skip(skip).take(count)) {
            *out = digits::nibble_to_ascii(nibble);
            written += 1;
        }
        scratch.get(..written)
    }

    /// The number that a field of digits spells; `None` when absent, empty, or above 19 digits.
    #[inline]
    #[must_use]
    pub fn number(&self, field: u8) -> Option<u64> {
        let mut scratch = [0; 20];
        digits::parse_u64(self.text(field, &mut scratch)?)
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

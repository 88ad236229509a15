//! Writing: any message, field by field in ascending order, straight into the caller's buffer.

use crate::dialect::{BitmapEncoding, Dialect, TextEncoding};
use crate::digits;
use crate::error::WriteError;
use crate::field::FieldSet;
use crate::mti::Mti;
use crate::row::{Content, Length};
use crate::view::MessageView;

/// Writes one message. Create it, `put` fields in ascending order, then [`MessageWriter::finish`].
///
/// Values are characters (digits unpacked), or bytes for class `b`. A fixed `n` field is filled
/// with zeros on the left, a fixed text field with spaces on the right; class `b` must fit exactly.
/// What was written can be read: a value outside its field's class is refused.
pub struct MessageWriter<'d, 'o> {
    dialect: &'d Dialect,
    out: &'o mut [u8],
    bitmap_at: usize,
    /// Whether there is room for the secondary bitmap.
    has_secondary: bool,
    at: usize,
    fields: FieldSet,
    last: u8,
}

impl<'d, 'o> MessageWriter<'d, 'o> {
    /// Begins a message at the start of `out`.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`].
    #[inline]
    pub fn new(dialect: &'d Dialect, mti: Mti, out: &'o mut [u8]) -> Result<Self, WriteError> {
        Self::with_bitmaps(dialect, mti, false, out)
    }

    /// Begins a message that will have a field above 64 if `has_secondary`, and none otherwise:
    /// nothing needs to be moved later.
    #[inline]
    pub(crate) fn with_bitmaps(
        dialect: &'d Dialect,
        mti: Mti,
        has_secondary: bool,
        out: &'o mut [u8],
    ) -> Result<Self, WriteError> {
        let [a, b, c, d] = mti.to_ascii();
        let bitmap_at = match dialect.mti {
            TextEncoding::Ascii => {
                *out.first_chunk_mut().ok_or(WriteError::NoRoom)? = [a, b, c, d];
                4
            }
            TextEncoding::Bcd => {
                *out.first_chunk_mut().ok_or(WriteError::NoRoom)? =
                    [a << 4 | b & 0x0F, c << 4 | d & 0x0F];
                2
            }
        };
        let at = bitmap_at + bitmap_bytes(dialect) * (1 + usize::from(has_secondary));
        if at > out.len() {
            return Err(WriteError::NoRoom);
        }
        Ok(Self { dialect, out, bitmap_at, has_secondary, at, fields: FieldSet::EMPTY, last: 1 })
    }

    /// Puts a value.
    ///
    /// # Errors
    /// See [`WriteError`]; the message is unusable afterwards.
    #[inline]
    pub fn put(&mut self, field: u8, value: &[u8]) -> Result<(), WriteError> {
        let index = usize::from(field).wrapping_sub(1);
        let row = self.dialect.rows.get(index).filter(|row| row.length != Length::Unknown);
        let row = *row.ok_or(WriteError::UnknownField(field))?;
        self.begin(field, field)?;
        let mut count = row.count_max();
        if value.len() > count {
            return Err(WriteError::TooLong(field));
        }
        if row.length != Length::Fixed {
            count = value.len();
            self.put_length(row.length, count)?;
        }
        let out = self.take(row.content.bytes(count))?;
        let spare = count - value.len();
        let put = match row.content {
            Content::Text => put_text(out, value),
            Content::Digits => put_digits(out, value),
            Content::Bytes => put_exactly(out, value),
            Content::Track => put_exactly(out, value).filter(|()| digits::all_track(value)),
            Content::PackedLeft => put_packed(out, value, spare, digit_nibble),
            // The padding nibble of an odd count stands before its digits.
            Content::PackedRight => put_packed(out, value, spare + count % 2, digit_nibble),
            Content::PackedTrack => put_packed(out, value, spare, track_nibble),
        };
        put.ok_or(WriteError::BadValue(field))?;
        self.fields.insert(field);
        Ok(())
    }

    /// Puts a number as digits: zero-filled in a fixed field, as short as can be in a variable one.
    ///
    /// # Errors
    /// See [`WriteError`]; [`WriteError::TooLong`] when it has more digits than the field.
    #[inline]
    pub fn put_number(&mut self, field: u8, number: u64) -> Result<(), WriteError> {
        let mut text = [0; 20];
        let count = digits::digit_count(number);
        let text = text.get_mut(..count).unwrap_or_default();
        digits::write_u64(number, text);
        self.put(field, text)
    }

    /// Copies a field, bit for bit, from a message of the same dialect. Absent fields are skipped.
    ///
    /// # Errors
    /// See [`WriteError`].
    #[inline]
    pub fn copy(&mut self, field: u8, from: &MessageView<'_>) -> Result<(), WriteError> {
        let Some(wire) = from.wire(field) else { return Ok(()) };
        self.put_wire(field, wire)
    }

    /// Puts a field in its wire form, length prefix included, unchecked.
    ///
    /// # Errors
    /// See [`WriteError`].
    #[inline]
    pub fn put_wire(&mut self, field: u8, wire: &[u8]) -> Result<(), WriteError> {
        self.begin(field, field)?;
        self.take(wire.len())?.copy_from_slice(wire);
        self.fields.insert(field);
        Ok(())
    }

    /// Copies these fields, bit for bit, from a message of the same dialect: those that stand side
    /// by side in it at once. Absent fields are skipped, and so are refused ones, whose bytes stand
    /// between others.
    #[inline]
    pub(crate) fn copy_all(
        &mut self,
        fields: FieldSet,
        from: &MessageView<'_>,
    ) -> Result<(), WriteError> {
        let fields = from.present().and(fields);
        fields.try_each_run(from.table.announced, |first, last| {
            let (Some(start), Some(end)) = (from.wire_range(first), from.range(last)) else {
                return Ok(());
            };
            let wire = from.bytes().get(start.start..end.end).unwrap_or_default();
            self.begin(first, last)?;
            self.take(wire.len())?.copy_from_slice(wire);
            Ok(())
        })?;
        self.fields = self.fields.or(fields);
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// None today; a `Result` so that callers chain it with the puts.
    #[inline]
    pub fn finish(self) -> Result<usize, WriteError> {
        let (primary, secondary) = self.fields.to_bitmap();
        let bitmaps = self.out.get_mut(self.bitmap_at..).ok_or(WriteError::NoRoom)?;
        match self.dialect.bitmap {
            BitmapEncoding::Binary => put_words(
                bitmaps,
                primary.to_be_bytes(),
                self.has_secondary.then_some(secondary.to_be_bytes()),
            ),
            BitmapEncoding::Hex => put_words(
                bitmaps,
                digits::write_hex(primary),
                self.has_secondary.then(|| digits::write_hex(secondary)),
            ),
        }
        .ok_or(WriteError::NoRoom)?;
        Ok(self.at)
    }

    /// Checks the order of what is put next, the fields from `first` to `last`.
    #[inline]
    fn begin(&mut self, first: u8, last: u8) -> Result<(), WriteError> {
        if first <= self.last {
            return Err(WriteError::OutOfOrder(first));
        }
        if last > 64 && !self.has_secondary {
            self.make_room_for_secondary()?;
        }
        self.last = last;
        Ok(())
    }

    /// The secondary bitmap is there only when a field above 64 is: move what was written.
    #[cold]
    fn make_room_for_secondary(&mut self) -> Result<(), WriteError> {
        let size = bitmap_bytes(self.dialect);
        if self.at + size > self.out.len() {
            return Err(WriteError::NoRoom);
        }
        let body_at = self.bitmap_at + size;
        self.out.copy_within(body_at..self.at, body_at + size);
        self.at += size;
        self.has_secondary = true;
        Ok(())
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&mut [u8], WriteError> {
        let rest = self.out.get_mut(self.at..).ok_or(WriteError::NoRoom)?;
        let out = rest.get_mut(..bytes).ok_or(WriteError::NoRoom)?;
        self.at += bytes;
        Ok(out)
    }

    /// `count` is below 1,000.
    #[inline]
    fn put_length(&mut self, length: Length, count: usize) -> Result<(), WriteError> {
        #[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
        let digit = |scale: usize| (count / scale % 10) as u8;
        let (hundreds, tens, ones) = (digit(100), digit(10), digit(1));
        match (length, self.dialect.length) {
            (Length::Unknown | Length::Fixed, _) => {}
            (Length::Two, TextEncoding::Ascii) => {
                self.take(2)?.copy_from_slice(&[b'0' + tens, b'0' + ones]);
            }
            (Length::Three, TextEncoding::Ascii) => {
                self.take(3)?.copy_from_slice(&[b'0' + hundreds, b'0' + tens, b'0' + ones]);
            }
            (Length::Two, TextEncoding::Bcd) => self.take(1)?.copy_from_slice(&[tens << 4 | ones]),
            (Length::Three, TextEncoding::Bcd) => {
                self.take(2)?.copy_from_slice(&[hundreds, tens << 4 | ones]);
            }
        }
        Ok(())
    }
}

const fn bitmap_bytes(dialect: &Dialect) -> usize {
    match dialect.bitmap {
        BitmapEncoding::Binary => 8,
        BitmapEncoding::Hex => 16,
    }
}

#[inline]
fn put_words<const BYTES: usize>(
    out: &mut [u8],
    primary: [u8; BYTES],
    secondary: Option<[u8; BYTES]>,
) -> Option<()> {
    let (first, rest) = out.split_first_chunk_mut()?;
    *first = primary;
    if let Some(secondary) = secondary {
        *rest.first_chunk_mut()? = secondary;
    }
    Some(())
}

/// Text is filled with spaces on the right.
#[inline]
fn put_text(out: &mut [u8], value: &[u8]) -> Option<()> {
    let (text, fill) = out.split_at_mut_checked(value.len())?;
    text.copy_from_slice(value);
    if !fill.is_empty() {
        fill.fill(b' ');
    }
    Some(())
}

/// Digits are filled with zeros on the left.
#[inline]
fn put_digits(out: &mut [u8], value: &[u8]) -> Option<()> {
    let (fill, text) = out.split_at_mut_checked(out.len().checked_sub(value.len())?)?;
    text.copy_from_slice(value);
    if !fill.is_empty() {
        fill.fill(b'0');
    }
    digits::all_digits(value).then_some(())
}

#[inline]
fn put_exactly(out: &mut [u8], value: &[u8]) -> Option<()> {
    if out.len() != value.len() {
        return None;
    }
    out.copy_from_slice(value);
    Some(())
}

/// Packs characters behind `zeros` empty nibbles; an odd count leaves the last nibble empty.
#[inline]
fn put_packed(
    out: &mut [u8],
    mut value: &[u8],
    zeros: usize,
    nibble: impl Fn(u8) -> Option<u8>,
) -> Option<()> {
    let (fill, out) = out.split_at_mut_checked(zeros.div_ceil(2))?;
    if !fill.is_empty() {
        fill.fill(0);
    }
    if !zeros.is_multiple_of(2)
        && let Some((first, rest)) = value.split_first()
    {
        *fill.last_mut()? = nibble(*first)?;
        value = rest;
    }
    let (pairs, last) = value.as_chunks::<2>();
    for (byte, [high, low]) in out.iter_mut().zip(pairs) {
        *byte = nibble(*high)? << 4 | nibble(*low)?;
    }
    if let [last] = last {
        *out.last_mut()? = nibble(*last)? << 4;
    }
    Some(())
}

#[inline]
fn digit_nibble(character: u8) -> Option<u8> {
    character.is_ascii_digit().then_some(character & 0x0F)
}

#[inline]
fn track_nibble(character: u8) -> Option<u8> {
    if matches!(character, b'=' | b'D') { Some(0x0D) } else { digit_nibble(character) }
}

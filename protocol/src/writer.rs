//! Writing: any message, field by field in ascending order, straight into the caller's buffer.

use crate::dialect::{BitmapEncoding, Dialect, TextEncoding};
use crate::digits;
use crate::error::WriteError;
use crate::field::{Class, FieldSet, FieldSpec, Packing};
use crate::mti::Mti;
use crate::view::MessageView;

/// Writes one message. Create it, `put` fields in ascending order, then [`MessageWriter::finish`].
///
/// Values are characters (digits unpacked), or bytes for class `b`. A fixed `n` field is filled
/// with zeros on the left, a fixed text field with spaces on the right; class `b` must fit exactly.
pub struct MessageWriter<'d, 'o> {
    dialect: &'d Dialect,
    out: &'o mut [u8],
    bitmap_at: usize,
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
        let at = bitmap_at + bitmap_bytes(dialect);
        if at > out.len() {
            return Err(WriteError::NoRoom);
        }
        Ok(Self { dialect, out, bitmap_at, at, fields: FieldSet::EMPTY, last: 1 })
    }

    /// Puts a value.
    ///
    /// # Errors
    /// See [`WriteError`]; the message is unusable afterwards.
    #[inline]
    pub fn put(&mut self, field: u8, value: &[u8]) -> Result<(), WriteError> {
        let spec = self.begin(field)?;
        let count = if spec.prefix_digits == 0 {
            usize::from(spec.length_max)
        } else {
            self.put_length(&spec, value.len())?;
            value.len()
        };
        if value.len() > usize::from(spec.length_max) {
            return Err(WriteError::TooLong(field));
        }
        let out = self.take(spec.wire_bytes(count))?;
        match spec.packing {
            Packing::Plain => put_plain(out, value, spec.class).ok_or(WriteError::BadValue(field)),
            packing => put_packed(out, value, count, packing).ok_or(WriteError::BadValue(field)),
        }
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
        self.begin(field)?;
        self.take(wire.len())?.copy_from_slice(wire);
        Ok(())
    }

    /// Ends the message.
    ///
    /// # Errors
    /// None today; a `Result` so that callers chain it with the puts.
    #[inline]
    pub fn finish(self) -> Result<usize, WriteError> {
        let (primary, secondary) = self.fields.to_bitmap();
        let size = bitmap_bytes(self.dialect);
        let words = [primary, secondary];
        let used = if secondary == 0 { 1 } else { 2 };
        for (place, word) in words.iter().take(used).enumerate() {
            let from = self.bitmap_at + place * size;
            let out = self.out.get_mut(from..from + size).ok_or(WriteError::NoRoom)?;
            match self.dialect.bitmap {
                BitmapEncoding::Binary => out.copy_from_slice(&word.to_be_bytes()),
                BitmapEncoding::Hex => {
                    for (index, byte) in out.iter_mut().enumerate() {
                        let nibble = (word >> (60 - 4 * index)) as u8 & 0x0F;
                        *byte = if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) };
                    }
                }
            }
        }
        Ok(self.at)
    }

    #[inline]
    fn begin(&mut self, field: u8) -> Result<FieldSpec, WriteError> {
        let spec = self.dialect.spec(field).ok_or(WriteError::UnknownField(field))?;
        if field <= self.last {
            return Err(WriteError::OutOfOrder(field));
        }
        if field > 64 && self.last <= 64 {
            self.make_room_for_secondary()?;
        }
        self.last = field;
        self.fields = self.fields.with(field);
        Ok(spec)
    }

    /// The secondary bitmap is there only when a field above 64 is: move what was written.
    fn make_room_for_secondary(&mut self) -> Result<(), WriteError> {
        let size = bitmap_bytes(self.dialect);
        if self.at + size > self.out.len() {
            return Err(WriteError::NoRoom);
        }
        let body_at = self.bitmap_at + size;
        self.out.copy_within(body_at..self.at, body_at + size);
        self.at += size;
        Ok(())
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Result<&mut [u8], WriteError> {
        let from = self.at;
        let out = self.out.get_mut(from..from + bytes).ok_or(WriteError::NoRoom)?;
        self.at = from + bytes;
        Ok(out)
    }

    #[inline]
    fn put_length(&mut self, spec: &FieldSpec, count: usize) -> Result<(), WriteError> {
        // A count above the maximum is refused right after; only its low digits are written here.
        let digit = |scale: usize| (count / scale % 10) as u8;
        let (hundreds, tens, ones) = (digit(100), digit(10), digit(1));
        match (spec.prefix_digits, self.dialect.length) {
            (2, TextEncoding::Ascii) => {
                self.take(2)?.copy_from_slice(&[b'0' + tens, b'0' + ones]);
            }
            (_, TextEncoding::Ascii) => {
                self.take(3)?.copy_from_slice(&[b'0' + hundreds, b'0' + tens, b'0' + ones]);
            }
            (2, TextEncoding::Bcd) => self.take(1)?.copy_from_slice(&[tens << 4 | ones]),
            (_, TextEncoding::Bcd) => self.take(2)?.copy_from_slice(&[hundreds, tens << 4 | ones]),
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
fn put_plain(out: &mut [u8], value: &[u8], class: Class) -> Option<()> {
    let spare = out.len() - value.len();
    if spare == 0 {
        out.copy_from_slice(value);
        return Some(());
    }
    match class {
        Class::N => {
            let (fill, digits) = out.split_at_mut(spare);
            fill.fill(b'0');
            digits.copy_from_slice(value);
        }
        Class::An | Class::Ans | Class::Z => {
            let (text, fill) = out.split_at_mut(value.len());
            text.copy_from_slice(value);
            fill.fill(b' ');
        }
        Class::B => return None,
    }
    Some(())
}

/// Packs `count` digits; a shorter value is zero-filled on the left.
fn put_packed(out: &mut [u8], value: &[u8], count: usize, packing: Packing) -> Option<()> {
    out.fill(0);
    let shift = usize::from(packing == Packing::BcdRight && count % 2 == 1);
    let first = count - value.len() + shift;
    for (place, &character) in value.iter().enumerate() {
        let nibble = digits::ascii_to_nibble(character)?;
        let place = first + place;
        *out.get_mut(place / 2)? |= if place % 2 == 0 { nibble << 4 } else { nibble };
    }
    Some(())
}

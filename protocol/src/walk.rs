//! Reading: a message is measured, which records where every field lies, and then judged, which
//! checks content of the classes `n` and `z`. Two plain loops are faster than one that does both.
//!
//! When a field is wrong but its extent is known, the fields after it are read all the same (a
//! refusal echoes them); the first error is reported and the field at fault is left out of the
//! table. What only wrong messages need is out of line.

use crate::dialect::{BitmapEncoding, Dialect, TextEncoding};
use crate::digits;
use crate::error::{FormatError, FormatReason};
use crate::field::{FIELDS, FieldSet, field_number};
use crate::mti::Mti;
use crate::row::{Content, Length};
use crate::view::{FieldTable, MessageView, Span};
use core::convert::Infallible;
use core::ops::Range;

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
        let (mti, measured) = self.measured(bytes, table)?;
        let judged = judge(self, bytes, table);
        match (measured, judged) {
            (Ok(()), Ok(())) => Ok(MessageView { dialect: self, bytes, table, mti }),
            (measured, judged) => Err(first_of(measured, judged)),
        }
    }

    /// Parses a message once more whose content was found right before: only where its fields lie is
    /// looked at again.
    ///
    /// # Errors
    /// The first field whose length is at fault, which such a message does not have.
    pub fn parse_again<'a>(
        &'a self,
        bytes: &'a [u8],
        table: &'a mut FieldTable,
    ) -> Result<MessageView<'a>, FormatError> {
        let (mti, measured) = self.measured(bytes, table)?;
        measured.map(|()| MessageView { dialect: self, bytes, table, mti })
    }

    /// The MTI, and whether all fields are where their lengths say.
    ///
    /// # Errors
    /// What is wrong before the first field.
    #[inline]
    fn measured(
        &self,
        bytes: &[u8],
        table: &mut FieldTable,
    ) -> Result<(Mti, Result<(), FormatError>), FormatError> {
        table.mti = None;
        table.present = FieldSet::EMPTY;
        let whole = |reason| FormatError { field: 0, reason };
        if bytes.len() > usize::from(u16::MAX) {
            return Err(whole(FormatReason::Trailing));
        }
        let (mti, rest) = self.read_mti(bytes).map_err(whole)?;
        table.mti = Some(mti);
        let (announced, rest) = self.read_bitmap(rest).map_err(whole)?;
        let at = bytes.len() - rest.len();
        let measured = match self.length {
            TextEncoding::Ascii => measure::<true>(self, bytes, at, announced, table),
            TextEncoding::Bcd => measure::<false>(self, bytes, at, announced, table),
        };
        Ok((mti, measured))
    }

    #[inline]
    fn read_mti<'a>(&self, bytes: &'a [u8]) -> Result<(Mti, &'a [u8]), FormatReason> {
        let (mti, rest) = match self.mti {
            TextEncoding::Ascii => {
                let (digits, rest) = bytes.split_first_chunk().ok_or(FormatReason::Truncated)?;
                (Mti::from_ascii(*digits), rest)
            }
            TextEncoding::Bcd => {
                let (digits, rest) = bytes.split_first_chunk().ok_or(FormatReason::Truncated)?;
                (Mti::from_bcd(*digits), rest)
            }
        };
        Ok((mti.ok_or(FormatReason::BadMti)?, rest))
    }

    #[inline]
    fn read_bitmap<'a>(&self, rest: &'a [u8]) -> Result<(FieldSet, &'a [u8]), FormatReason> {
        let (primary, mut rest) = self.read_bitmap_word(rest)?;
        let mut secondary = 0;
        if primary >> 63 == 1 {
            (secondary, rest) = self.read_bitmap_word(rest)?;
        }
        Ok((FieldSet::from_bitmap(primary, secondary).without(1), rest))
    }

    #[inline]
    fn read_bitmap_word<'a>(&self, rest: &'a [u8]) -> Result<(u64, &'a [u8]), FormatReason> {
        match self.bitmap {
            BitmapEncoding::Binary => {
                let (word, rest) = rest.split_first_chunk().ok_or(FormatReason::Truncated)?;
                Ok((u64::from_be_bytes(*word), rest))
            }
            BitmapEncoding::Hex => {
                let (text, rest) = rest.split_first_chunk().ok_or(FormatReason::Truncated)?;
                Ok((digits::parse_hex(*text).ok_or(FormatReason::BadBitmap)?, rest))
            }
        }
    }
}

/// The error of the field that comes first; bytes behind the last field come last.
#[cold]
fn first_of(measured: Result<(), FormatError>, judged: Result<(), FormatError>) -> FormatError {
    match (measured.err(), judged.err()) {
        (Some(measured), Some(judged)) if (1..judged.field).contains(&measured.field) => measured,
        (_, Some(judged)) => judged,
        (Some(measured), None) => measured,
        (None, None) => FormatError { field: 0, reason: FormatReason::Trailing },
    }
}

/// Finds where each field lies and puts those found into the table.
///
/// # Errors
/// The first error of a length.
#[inline(never)]
fn measure<const ASCII: bool>(
    dialect: &Dialect,
    bytes: &[u8],
    mut at: usize,
    announced: FieldSet,
    table: &mut FieldTable,
) -> Result<(), FormatError> {
    let mut too_long = FieldSet::EMPTY;
    let spans = &mut table.spans;
    let stopped = announced.try_each_index(|index| {
        let row = dialect.rows[index];
        let mut content_bytes = usize::from(row.size);
        if row.length != Length::Fixed {
            let (prefix_bytes, count) =
                read_prefix::<ASCII>(row.length, bytes.get(at..).unwrap_or_default())
                    .map_err(|reason| FormatError::at(index, reason))?;
            if count > content_bytes {
                note(&mut too_long, index);
            }
            content_bytes = row.content.bytes(count);
            at += prefix_bytes;
        }
        let end = at + content_bytes;
        if end > bytes.len() {
            return Err(FormatError::at(index, FormatReason::PastEnd));
        }
        spans[index] = Span::new(at, end);
        at = end;
        Ok(())
    });
    table.announced = announced;
    table.present = announced;
    if stopped.is_ok() && too_long.is_empty() && at == bytes.len() {
        return Ok(());
    }
    Err(measured_wrong(too_long, stopped, table))
}

#[cold]
#[inline(never)]
fn note(wrong: &mut FieldSet, index: usize) {
    *wrong = wrong.with(field_number(index));
}

/// Leaves in the table what was reached and is not too long.
#[cold]
#[inline(never)]
fn measured_wrong(
    too_long: FieldSet,
    stopped: Result<(), FormatError>,
    table: &mut FieldTable,
) -> FormatError {
    if let Err(stop) = stopped {
        table.present = table.present.below(stop.field);
    }
    table.present = table.present.minus(too_long);
    match (too_long.first(), stopped) {
        (Some(field), _) => FormatError { field, reason: FormatReason::TooLong },
        (None, Err(stop)) => stop,
        (None, Ok(())) => FormatError { field: 0, reason: FormatReason::Trailing },
    }
}

/// The prefix at the start of `rest`: its bytes, and the count that it states.
#[inline(always)]
fn read_prefix<const ASCII: bool>(
    length: Length,
    rest: &[u8],
) -> Result<(usize, usize), FormatReason> {
    match (length, ASCII) {
        (Length::Unknown | Length::Fixed, _) => Err(FormatReason::UnknownField),
        (Length::Two, true) => Ok((2, ascii_count::<2>(rest)?)),
        (Length::Three, true) => Ok((3, ascii_count::<3>(rest)?)),
        (Length::Two, false) => Ok((1, packed_count::<1>(rest)?)),
        (Length::Three, false) => Ok((2, packed_count::<2>(rest)?)),
    }
}

#[inline(always)]
fn ascii_count<const DIGITS: usize>(rest: &[u8]) -> Result<usize, FormatReason> {
    let prefix: &[u8; DIGITS] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
    let digits = prefix.map(|byte| byte.wrapping_sub(b'0'));
    if digits.iter().any(|&digit| digit > 9) {
        return Err(FormatReason::BadLength);
    }
    Ok(digits.iter().fold(0, |count, &digit| count * 10 + usize::from(digit)))
}

#[inline(always)]
fn packed_count<const BYTES: usize>(rest: &[u8]) -> Result<usize, FormatReason> {
    let prefix: &[u8; BYTES] = rest.first_chunk().ok_or(FormatReason::PastEnd)?;
    if prefix.iter().any(|&byte| byte >> 4 > 9 || byte & 0x0F > 9) {
        return Err(FormatReason::BadLength);
    }
    Ok(prefix.iter().fold(0, |count, &byte| {
        count * 100 + usize::from(byte >> 4) * 10 + usize::from(byte & 0x0F)
    }))
}

/// Checks the content of the fields in the table and takes those out that are wrong.
#[inline(never)]
fn judge(dialect: &Dialect, bytes: &[u8], table: &mut FieldTable) -> Result<(), FormatError> {
    let mut wrong = FieldSet::EMPTY;
    {
        let fields = Fields { dialect, bytes, table };
        fields.judge_runs(dialect.digits, digits::all_digits, &mut wrong);
        fields.judge_runs(dialect.packed, digits::all_packed, &mut wrong);
        fields.judge_each(dialect.tracks, &mut wrong);
    }
    let Some(field) = wrong.first() else { return Ok(()) };
    table.present = table.present.minus(wrong);
    Err(FormatError { field, reason: FormatReason::BadContent })
}

/// The fields found by measuring.
struct Fields<'a> {
    dialect: &'a Dialect,
    bytes: &'a [u8],
    table: &'a FieldTable,
}

impl Fields<'_> {
    /// Fields of digits mostly stand side by side, and length prefixes are digits too: a whole run
    /// is judged at once, and its fields one by one only if that says no.
    #[inline(always)]
    fn judge_runs(&self, members: FieldSet, all: impl Fn(&[u8]) -> bool, wrong: &mut FieldSet) {
        let present = self.table.present;
        let members = present.and(members);
        let Ok::<_, Infallible>(()) = members.try_each_run(present, |first, last| {
            let run = self.span(first).start..self.span(last).end;
            if !self.bytes.get(run).is_some_and(&all) {
                self.judge_run(members.through(first, last), wrong);
            }
            Ok(())
        });
    }

    #[inline(always)]
    fn span(&self, field: u8) -> Range<usize> {
        self.table.spans[usize::from(field - 1) % FIELDS].range()
    }

    /// Out of line where it is the exception, see [`Fields::judge_runs`].
    #[cold]
    #[inline(never)]
    fn judge_run(&self, fields: FieldSet, wrong: &mut FieldSet) {
        self.judge_each(fields, wrong);
    }

    #[inline(always)]
    fn judge_each(&self, fields: FieldSet, wrong: &mut FieldSet) {
        let fields = self.table.present.and(fields);
        let Ok::<_, Infallible>(()) = fields.try_each_index(|index| {
            let (row, content) = (self.dialect.rows[index], self.table.spans[index].range());
            let is_odd = row.is_odd(self.bytes, content.start);
            if !is_valid(row.content, self.bytes.get(content).unwrap_or_default(), is_odd) {
                note(wrong, index);
            }
            Ok(())
        });
    }
}

#[inline(always)]
fn is_valid(kind: Content, content: &[u8], is_odd: bool) -> bool {
    match kind {
        Content::Text | Content::Bytes => true,
        Content::Digits => digits::all_digits(content),
        Content::Track => digits::all_track(content),
        Content::PackedLeft => digits::all_packed_left(content, is_odd),
        Content::PackedRight => digits::all_packed_right(content, is_odd),
        Content::PackedTrack => digits::all_packed_track(content, is_odd),
    }
}

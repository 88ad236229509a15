//! BER-TLV of DE 55 and of usages: read in the order it comes, empty values allowed, and written.
//!
//! Not here: what the objects mean (`chip`, `token`), and that one comes only once.

use crate::error::WriteError;

/// One data object of DE 55.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag's bytes as a number: `0x9F26`, `0x95`.
    pub tag: u32,
    /// Its value; empty in some real messages.
    pub value: &'a [u8],
}

/// Why the bytes are not BER-TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlvError {
    /// A tag, a length or a value runs past the end.
    Truncated,
    /// A tag of more than four bytes.
    Tag,
    /// A length of the indefinite form, or of more than two bytes.
    Length,
}

/// Walks the data objects of DE 55. Ends after the first error.
#[derive(Clone)]
pub struct TlvReader<'a> {
    rest: &'a [u8],
}

impl<'a> TlvReader<'a> {
    /// Over the content of DE 55.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read yet; nothing after an error.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn read(&mut self) -> Result<Tlv<'a>, TlvError> {
        let mut rest = self.rest;
        let mut next = || {
            let (&byte, tail) = rest.split_first().ok_or(TlvError::Truncated)?;
            rest = tail;
            Ok(byte)
        };
        let first = next()?;
        let mut tag = u32::from(first);
        // ISO/IEC 8825-1: five low bits set, the tag goes on while the top bit is set; EMV uses at
        // most four bytes.
        if first & 0x1F == 0x1F {
            loop {
                let byte = next()?;
                tag = tag << 8 | u32::from(byte);
                if byte & 0x80 == 0 {
                    break;
                }
                if tag > 0x00FF_FFFF {
                    return Err(TlvError::Tag);
                }
            }
        }
        let length = match next()? {
            short @ 0..=0x7F => usize::from(short),
            0x81 => usize::from(next()?),
            0x82 => usize::from(next()?) << 8 | usize::from(next()?),
            _ => return Err(TlvError::Length),
        };
        let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Truncated)?;
        self.rest = rest;
        Ok(Tlv { tag, value })
    }
}

impl<'a> Iterator for TlvReader<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let object = self.read();
        if object.is_err() {
            self.rest = &[];
        }
        Some(object)
    }
}

/// Writes data objects one after another into the caller's buffer.
pub struct TlvWriter<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> TlvWriter<'o> {
    /// From the start of `out`.
    #[must_use]
    pub const fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Puts an object, its length in as few bytes as it takes. `tag` is written without leading zero
    /// bytes: `0x9F36` is two bytes, `0x91` is one.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`] when the buffer is full, or the value longer than 65,535 bytes; nothing
    /// of the object is written then.
    pub fn put(&mut self, tag: u32, value: &[u8]) -> Result<(), WriteError> {
        let tag = tag.to_be_bytes();
        let zeros = tag.iter().take(3).take_while(|&&byte| byte == 0).count();
        let tag = tag.get(zeros..).unwrap_or_default();
        let count = u16::try_from(value.len()).map_err(|_| WriteError::NoRoom)?;
        let [high, low] = count.to_be_bytes();
        let length: &[u8] = match count {
            0..=0x7F => &[low],
            0x80..=0xFF => &[0x81, low],
            _ => &[0x82, high, low],
        };
        let end = self.at + tag.len() + length.len() + value.len();
        let mut out = self.out.get_mut(self.at..end).ok_or(WriteError::NoRoom)?;
        for part in [tag, length, value] {
            let (head, rest) = out.split_at_mut_checked(part.len()).ok_or(WriteError::NoRoom)?;
            head.copy_from_slice(part);
            out = rest;
        }
        self.at = end;
        Ok(())
    }

    /// How many bytes were written.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(bytes: &[u8]) -> Vec<Result<(u32, usize), TlvError>> {
        TlvReader::new(bytes).map(|object| object.map(|tlv| (tlv.tag, tlv.value.len()))).collect()
    }

    #[test]
    fn tags_lengths_and_empty_values() {
        let bytes = [0x9F, 0x26, 0x02, 1, 2, 0x9F, 0x09, 0x00, 0x95, 0x81, 0x01, 9];
        assert_eq!(tags(&bytes), [Ok((0x9F26, 2)), Ok((0x9F09, 0)), Ok((0x95, 1))]);
    }

    #[test]
    fn damage_ends_the_walk() {
        for bytes in [&[0x9F][..], &[0x95], &[0x95, 5, 1], &[0x95, 0x82, 1], &[0x1F, 0x81]] {
            assert_eq!(tags(bytes).last(), Some(&Err(TlvError::Truncated)));
        }
        for bytes in [&[0x95, 0x83, 0, 0, 1][..], &[0x95, 0x80, 0, 0], &[0x95, 0xFF]] {
            assert_eq!(tags(bytes), [Err(TlvError::Length)]);
        }
        assert_eq!(tags(&[0x1F, 0x81, 0x82, 0x83, 0x04, 0]), [Err(TlvError::Tag)]);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let long = [7; 300];
        let objects: [(u32, &[u8]); 5] = [
            (0x9F26, &[1; 8]),
            (0x95, &[]),
            (0xDF81_8001, &long[..127]),
            (0x71, &long[..128]),
            (0x72, &long),
        ];
        let mut out = [0; 700];
        let mut writer = TlvWriter::new(&mut out);
        for (tag, value) in objects {
            writer.put(tag, value).unwrap();
        }
        let count = writer.finish();
        let read = TlvReader::new(&out[..count]).map(Result::unwrap);
        assert!(read.map(|object| (object.tag, object.value)).eq(objects));
    }

    #[test]
    fn an_object_without_room_is_not_written() {
        let mut out = [0xAA; 6];
        let mut writer = TlvWriter::new(&mut out);
        writer.put(0x8A, b"00").unwrap();
        assert_eq!(writer.put(0x8A, b"1"), Err(WriteError::NoRoom));
        assert_eq!(writer.put(0x8A, &[0; 65_536]), Err(WriteError::NoRoom));
        assert_eq!(writer.finish(), 4);
        assert_eq!(out, [0x8A, 2, b'0', b'0', 0xAA, 0xAA]);
    }
}

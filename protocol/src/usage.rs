//! Usages, of which UnionPay makes DE 56, 63 (and others): two letters, three digits of length, data;
//! one after another.
//!
//! Not here: what is in the data (`token`, `par`).

use crate::digits;
use crate::error::WriteError;

/// One usage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Usage<'a> {
    /// Its two letters.
    pub name: [u8; 2],
    /// What follows its length.
    pub data: &'a [u8],
}

/// The bytes are no usages: a name that is not of letters and digits, a length that is no number or
/// runs past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageError;

/// Walks the usages of a data element. Ends after the first error.
#[derive(Clone)]
pub struct UsageReader<'a> {
    rest: &'a [u8],
}

impl<'a> UsageReader<'a> {
    /// Over the content of a data element.
    #[must_use]
    pub const fn new(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    fn read(&mut self) -> Option<Usage<'a>> {
        let (&[a, b, length @ ..], rest) = self.rest.split_first_chunk::<5>()?;
        let name = [a, b];
        let is_length = length.iter().all(u8::is_ascii_digit);
        if !is_length || !name.iter().all(u8::is_ascii_alphanumeric) {
            return None;
        }
        let bytes = length.iter().fold(0, |sum, digit| sum * 10 + usize::from(digit & 0x0F));
        let (data, rest) = rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(Usage { name, data })
    }
}

impl<'a> Iterator for UsageReader<'a> {
    type Item = Result<Usage<'a>, UsageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let usage = self.read();
        if usage.is_none() {
            self.rest = &[];
        }
        Some(usage.ok_or(UsageError))
    }
}

/// Most bytes of a usage's data: its length has three digits.
const DATA_BYTES_MAX: usize = 999;

/// Writes usages one after another into the caller's buffer.
pub struct UsageWriter<'o> {
    out: &'o mut [u8],
    at: usize,
}

impl<'o> UsageWriter<'o> {
    /// From the start of `out`.
    #[must_use]
    pub const fn new(out: &'o mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Puts a usage. Its name must be of letters and digits, else nobody can read it.
    ///
    /// # Errors
    /// [`WriteError::NoRoom`] when the buffer is full, or the data longer than 999 bytes; nothing of
    /// the usage is written then.
    pub fn put(&mut self, name: [u8; 2], data: &[u8]) -> Result<(), WriteError> {
        debug_assert!(name.iter().all(u8::is_ascii_alphanumeric), "a name can be read");
        if data.len() > DATA_BYTES_MAX {
            return Err(WriteError::NoRoom);
        }
        let rest = self.out.get_mut(self.at..).unwrap_or_default();
        let (head, rest) = rest.split_first_chunk_mut::<5>().ok_or(WriteError::NoRoom)?;
        rest.get_mut(..data.len()).ok_or(WriteError::NoRoom)?.copy_from_slice(data);
        let [a, b, length @ ..] = head;
        [*a, *b] = name;
        digits::write_u64(data.len() as u64, length);
        self.at += 5 + data.len();
        Ok(())
    }

    /// How many bytes were written.
    #[must_use]
    pub const fn finish(self) -> usize {
        self.at
    }
}

/// Why a usage could not be put among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplaceError {
    /// What is there is not made of usages, or has this one twice.
    Content,
    /// The output buffer is full.
    NoRoom,
}

impl From<WriteError> for ReplaceError {
    fn from(_: WriteError) -> Self {
        Self::NoRoom
    }
}

impl core::fmt::Display for ReplaceError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Content => "the data element is not made of usages, or has one twice",
            Self::NoRoom => "output buffer is full",
        })
    }
}

impl std::error::Error for ReplaceError {}

/// Writes the usages of `content` to `out`, that of this name with other data: in its place, behind the
/// others where it was not there, nowhere without data. Returns how many bytes.
pub(crate) fn replace(
    content: &[u8],
    name: [u8; 2],
    data: Option<&[u8]>,
    out: &mut [u8],
) -> Result<usize, ReplaceError> {
    let mut writer = UsageWriter::new(out);
    let mut is_there = false;
    for usage in UsageReader::new(content) {
        let usage = usage.map_err(|_| ReplaceError::Content)?;
        if usage.name != name {
            writer.put(usage.name, usage.data)?;
            continue;
        }
        if core::mem::replace(&mut is_there, true) {
            return Err(ReplaceError::Content);
        }
        if let Some(data) = data {
            writer.put(name, data)?;
        }
    }
    match data {
        Some(data) if !is_there => writer.put(name, data)?,
        _ => {}
    }
    Ok(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(content: &[u8]) -> Vec<Result<([u8; 2], usize), UsageError>> {
        UsageReader::new(content)
            .map(|usage| usage.map(|usage| (usage.name, usage.data.len())))
            .collect()
    }

    #[test]
    fn names_lengths_and_empty_data() {
        assert_eq!(usages(b"SM003\x00\xFFaTK000"), [Ok((*b"SM", 3)), Ok((*b"TK", 0))]);
        assert_eq!(usages(b""), []);
    }

    #[test]
    fn damage_ends_the_walk() {
        for content in [&b"TK"[..], b"TK00", b"TK001", b"TK0x1a", b"\x00K001a", b"TK001ab"] {
            assert_eq!(usages(content).last(), Some(&Err(UsageError)), "{content:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let mut out = [0xEE; 1_014];
        let mut writer = UsageWriter::new(&mut out);
        writer.put(*b"SM", &[0; 10]).unwrap();
        writer.put(*b"TK", &[]).unwrap();
        assert_eq!(writer.put(*b"PR", &[1; 1_000]), Err(WriteError::NoRoom));
        assert_eq!(writer.put(*b"PR", &[1; 990]), Err(WriteError::NoRoom));
        writer.put(*b"PR", &[1; 989]).unwrap();
        assert_eq!(writer.put(*b"PR", &[]), Err(WriteError::NoRoom));
        assert_eq!(writer.finish(), out.len());
        assert_eq!(usages(&out), [Ok((*b"SM", 10)), Ok((*b"TK", 0)), Ok((*b"PR", 989))]);
    }

    #[test]
    fn one_is_replaced_among_others() {
        let replaced = |content: &[u8], data: Option<&[u8]>| {
            let mut out = [0; 24];
            replace(content, *b"TK", data, &mut out).map(|bytes| out[..bytes].to_vec())
        };
        let content = b"AB001xTK002yzSM000";
        assert_eq!(replaced(content, Some(b"new")), Ok(b"AB001xTK003newSM000".to_vec()));
        assert_eq!(replaced(content, None), Ok(b"AB001xSM000".to_vec()));
        assert_eq!(replaced(b"SM000", Some(b"n")), Ok(b"SM000TK001n".to_vec()));
        assert_eq!(replaced(b"", Some(b"")), Ok(b"TK000".to_vec()));
        assert_eq!(replaced(b"", None), Ok(vec![]));
        assert_eq!(replaced(b"TK000TK000", None), Err(ReplaceError::Content));
        assert_eq!(replaced(b"SM001", Some(b"")), Err(ReplaceError::Content));
        assert_eq!(replaced(content, Some(&[0; 9])), Err(ReplaceError::NoRoom));
    }
}

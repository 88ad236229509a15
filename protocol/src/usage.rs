//! Usages, of which UnionPay makes DE 63 (and others): two letters, three digits of length, data; one
//! after another. Read only.
//!
//! Not here: what is in the data (`token`).

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
}

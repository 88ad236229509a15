//! BER-TLV of DE 55, read only: tags in the order they come, empty values allowed.

/// One data object of DE 55.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag's bytes as a number: `0x9F26`, `0x95`.
    pub tag: u32,
    /// Its value; empty in some real messages.
    pub value: &'a [u8],
}

/// The bytes are not BER-TLV: a tag or length runs past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlvError;

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

    fn read(&mut self) -> Option<Tlv<'a>> {
        let mut rest = self.rest;
        let mut next = || {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            Some(byte)
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
                    return None;
                }
            }
        }
        let length = match next()? {
            short @ 0..=0x7F => usize::from(short),
            0x81 => usize::from(next()?),
            0x82 => usize::from(next()?) << 8 | usize::from(next()?),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Tlv { tag, value })
    }
}

impl<'a> Iterator for TlvReader<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let object = self.read();
        if object.is_none() {
            self.rest = &[];
        }
        Some(object.ok_or(TlvError))
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
        for bytes in [&[0x9F][..], &[0x95], &[0x95, 5, 1], &[0x95, 0x83, 0, 0, 1], &[0x1F; 9]] {
            assert_eq!(tags(bytes).last(), Some(&Err(TlvError)));
        }
    }
}

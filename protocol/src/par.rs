//! Payment account reference, PAR: one for each account, the same for its card and all its tokens. UnionPay
//! carries it in DE 56, usage `PR`, as data object 01.
//!
//! An empty object is one that is not there; one that comes twice is a mistake; others are walked over.
//!
//! Not here: whose it is, and what is counted by it.

use crate::tlv::{TlvReader, TlvWriter};
use crate::usage::{ReplaceError, UsageReader, replace};
use crate::view::MessageView;
use core::fmt;

/// Usage of DE 56 that holds it.
const USAGE: [u8; 2] = *b"PR";
/// Its tag there.
const TAG: u32 = 0x01;
/// The data element.
const FIELD: u8 = 56;

/// Characters of a PAR: four of who gave it, 25 of the account.
pub const PAR_BYTES: usize = 29;

/// A payment account reference (EMVCo). It pays for nothing, but follows a person through all shops, so it
/// cannot be printed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Par([u8; PAR_BYTES]);

impl Par {
    /// From 29 characters; `None` unless all are digits or capital letters.
    #[must_use]
    pub fn from_ascii(text: &[u8]) -> Option<Self> {
        let text: [u8; PAR_BYTES] = text.try_into().ok()?;
        text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'Z')).then_some(Self(text))
    }

    /// Its characters.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PAR_BYTES] {
        &self.0
    }

    /// Of a message; `None` where it has no DE 56, or its dialect makes that of something else.
    ///
    /// # Errors
    /// [`ParError`]
    pub fn of(view: &MessageView<'_>) -> Result<Option<Self>, ParError> {
        match view.raw(FIELD) {
            Some(content) if view.dialect().usages.has(FIELD) => Self::read(content),
            _ => Ok(None),
        }
    }

    /// From the content of DE 56.
    ///
    /// # Errors
    /// [`ParError`]
    pub fn read(content: &[u8]) -> Result<Option<Self>, ParError> {
        let mut found = None;
        for usage in UsageReader::new(content) {
            let usage = usage.map_err(|_| ParError)?;
            if usage.name == USAGE && found.replace(usage.data).is_some() {
                return Err(ParError);
            }
        }
        let mut par = None;
        for object in TlvReader::new(found.unwrap_or_default()) {
            let object = object.map_err(|_| ParError)?;
            if object.tag == TAG && !object.value.is_empty() {
                let read = Self::from_ascii(object.value).ok_or(ParError)?;
                if par.replace(read).is_some() {
                    return Err(ParError);
                }
            }
        }
        Ok(par)
    }

    /// Writes the content of DE 56: that of `content`, which may be empty, with this PAR as its usage
    /// `PR`. Returns how many bytes.
    ///
    /// # Errors
    /// [`ReplaceError`]; the output is unusable then.
    pub fn write(&self, content: &[u8], out: &mut [u8]) -> Result<usize, ReplaceError> {
        let mut object = [0; 2 + PAR_BYTES];
        TlvWriter::new(&mut object).put(TAG, &self.0)?;
        replace(content, USAGE, Some(&object), out)
    }
}

impl fmt::Debug for Par {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Par(hidden)")
    }
}

/// DE 56 is not made of usages, or its PAR is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParError;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dialect, FieldTable, MessageWriter, Mti};
    use proptest::prelude::*;

    const TEXT: &[u8; PAR_BYTES] = b"500187NV41FE6XJ2KRCNHSU7B0C3E";

    #[test]
    fn the_layout_byte_for_byte() {
        let par = Par::from_ascii(TEXT).unwrap();
        let mut out = [0; 64];
        let bytes = par.write(b"", &mut out).unwrap();
        assert_eq!(out[..bytes], [b"PR031\x01\x1D", &TEXT[..]].concat());
        assert_eq!(Par::read(&out[..bytes]), Ok(Some(par)));
        let bytes = par.write(b"AB001xPR003\x01\x01yCD000", &mut out).unwrap();
        let expected = [b"AB001xPR031\x01\x1D", &TEXT[..], b"CD000"].concat();
        assert_eq!(out[..bytes], expected);
        assert_eq!(par.write(b"", &mut [0; 35]), Err(ReplaceError::NoRoom));
        assert_eq!(par.write(b"PR", &mut out), Err(ReplaceError::Content));
    }

    #[test]
    fn it_is_read_from_a_message_whose_dialect_has_usages_there() {
        let par = Par::from_ascii(TEXT).unwrap();
        let read = |name: &str| {
            let dialect = Dialect::built_in(name).unwrap();
            let (mut out, mut content) = ([0; 128], [0; 40]);
            let bytes = par.write(b"", &mut content).unwrap();
            let mti = Mti::from_number(100).unwrap();
            let mut writer = MessageWriter::new(dialect, mti, &mut out).unwrap();
            writer.put(56, &content[..bytes]).unwrap();
            let bytes = writer.finish().unwrap();
            let mut table = FieldTable::default();
            Par::of(&dialect.parse(&out[..bytes], &mut table).unwrap())
        };
        assert_eq!(read("cups"), Ok(Some(par)));
        assert_eq!(read("iso87-ascii"), Ok(None));
    }

    #[test]
    fn what_is_no_par_is_refused() {
        assert_eq!(Par::from_ascii(&TEXT[1..]), None);
        assert_eq!(Par::from_ascii(&TEXT.to_ascii_lowercase()), None);
        for content in
            [&b"PR003\x01\x01x"[..], b"PR000PR000", b"PR002\x01\x02", b"PR", b"\x01\x00PR000"]
        {
            assert_eq!(Par::read(content), Err(ParError), "{content:?}");
        }
        let object = [b"\x01\x1D", &TEXT[..]].concat();
        let twice = [b"PR062", &object[..], &object].concat();
        assert_eq!(Par::read(&twice), Err(ParError));
        for content in [&b""[..], b"PR000", b"PR002\x01\x00", b"AB001x", b"PR003\x02\x01x"] {
            assert_eq!(Par::read(content), Ok(None), "{content:?}");
        }
    }

    #[test]
    fn a_par_cannot_be_printed() {
        assert_eq!(format!("{:?}", Par::from_ascii(TEXT)), "Some(Par(hidden))");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(
            text in "[0-9A-Z]{29}",
            other in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let par = Par::from_ascii(text.as_bytes()).unwrap();
            let content = [format!("AB{:03}", other.len()).as_bytes(), &other].concat();
            let mut out = [0; 90];
            let bytes = par.write(&content, &mut out).unwrap();
            prop_assert_eq!(Par::read(&out[..bytes]), Ok(Some(par)));
            prop_assert!(out.starts_with(&content));
        }

        #[test]
        fn any_bytes_are_read_or_refused(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                prop::collection::vec(any::<u8>(), 0..60)
                    .prop_map(|data| [format!("PR{:03}", data.len()).as_bytes(), &data].concat()),
            ],
        ) {
            if let Ok(Some(par)) = Par::read(&content) {
                prop_assert!(content.windows(PAR_BYTES).any(|part| part == par.as_bytes()));
            }
        }
    }
}

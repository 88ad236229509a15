//! Issuer application data, tag 9F10, as UnionPay's cards and Visa's cards of format 0/1/3 lay it out:
//! a length (7, or 6 without algorithm), key index, cryptogram version, four bytes of card verification
//! results, the algorithm; then what the issuer likes.
//!
//! The layout is of recorded messages and public descriptions. Mastercard's has no length byte and is
//! refused here.

use super::{ObjectError, ObjectProblem, tag};
use core::fmt;

/// Most bytes of 9F10 (EMV Book 3, annex A).
const BYTES_MAX: usize = 32;

/// Which cipher the card says that it used. UnionPay only; 04 for SM4 is an assumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IadAlgorithm {
    /// 01.
    TripleDes,
    /// 04.
    Sm4,
    /// Another value.
    Other(u8),
}

/// Issuer application data in its parts. What is the issuer's own is not printed: nobody knows what
/// it holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IssuerApplicationData<'a> {
    /// Which of the issuer's keys the card's key was derived from.
    pub key_index: u8,
    /// Cryptogram version as it stands there: hexadecimal `0x17` is called version 17.
    pub version: u8,
    /// Card verification results: what the card decided and why.
    pub results: [u8; 4],
    /// The cipher; `None` in the form of six bytes, which has no such byte.
    pub algorithm: Option<IadAlgorithm>,
    /// The issuer's own data after that, with their length byte; often empty.
    pub discretionary: &'a [u8],
}

impl<'a> IssuerApplicationData<'a> {
    /// From the value of tag 9F10.
    ///
    /// # Errors
    /// [`ObjectError`] for tag 9F10: [`ObjectProblem::Length`] when it has more than 32 bytes or fewer
    /// than its first byte says; [`ObjectProblem::Content`] when that byte is neither 6 nor 7.
    pub fn parse(value: &'a [u8]) -> Result<Self, ObjectError> {
        let wrong = |problem| ObjectError::new(tag::ISSUER_APPLICATION_DATA, problem);
        let cut = wrong(ObjectProblem::Length);
        let &first = value.first().ok_or(wrong(ObjectProblem::Missing))?;
        if value.len() > BYTES_MAX {
            return Err(cut);
        }
        let (&[_, key_index, version, results @ ..], rest) =
            value.split_first_chunk::<7>().ok_or(cut)?;
        let (algorithm, discretionary) = match (first, rest) {
            (6, rest) => (None, rest),
            (7, [algorithm, rest @ ..]) => (Some(IadAlgorithm::from(*algorithm)), rest),
            (7, []) => return Err(cut),
            _ => return Err(wrong(ObjectProblem::Content)),
        };
        Ok(Self { key_index, version, results, algorithm, discretionary })
    }
}

impl fmt::Debug for IssuerApplicationData<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerApplicationData")
            .field("key_index", &self.key_index)
            .field("version", &self.version)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl From<u8> for IadAlgorithm {
    fn from(byte: u8) -> Self {
        match byte {
            1 => Self::TripleDes,
            4 => Self::Sm4,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_recorded_value() {
        let bytes = b"\x07\x01\x17\x03\xA0\x00\x00\x01\x0A\x01\x00\x00\x05\x00\x00\x1E\xF4\x1C\x46";
        let data = IssuerApplicationData::parse(bytes).unwrap();
        assert_eq!((data.key_index, data.version), (1, 0x17));
        assert_eq!(data.results, [0x03, 0xA0, 0, 0]);
        assert_eq!(data.algorithm, Some(IadAlgorithm::TripleDes));
        assert_eq!(data.discretionary, &bytes[8..]);
    }

    #[test]
    fn seven_bytes_with_and_six_without_an_algorithm() {
        let sm4 = IssuerApplicationData::parse(&[7, 1, 1, 3, 0, 0, 0, 4]).unwrap();
        assert_eq!((sm4.algorithm, sm4.discretionary), (Some(IadAlgorithm::Sm4), &[][..]));
        let other = IssuerApplicationData::parse(&[7, 1, 1, 3, 0, 0, 0, 9]).unwrap();
        assert_eq!(other.algorithm, Some(IadAlgorithm::Other(9)));
        let visa = IssuerApplicationData::parse(&[6, 1, 0x0A, 3, 0xA0, 0x60, 0x10]).unwrap();
        assert_eq!((visa.algorithm, visa.results), (None, [3, 0xA0, 0x60, 0x10]));
    }

    #[test]
    fn other_layouts_are_refused_by_why() {
        let problem = |bytes: &[u8]| IssuerApplicationData::parse(bytes).unwrap_err().problem;
        assert_eq!(problem(&[]), ObjectProblem::Missing);
        assert_eq!(problem(&[6, 1, 1, 3, 0, 0]), ObjectProblem::Length);
        assert_eq!(problem(&[7, 1, 1, 3, 0, 0, 0]), ObjectProblem::Length);
        assert_eq!(problem(&[7; 33]), ObjectProblem::Length);
        let mastercard = [0x16, 0x14, 0x25, 0, 2, 4, 0x40, 0, 0xDA, 0xC0];
        assert_eq!(problem(&mastercard), ObjectProblem::Content);
    }
}

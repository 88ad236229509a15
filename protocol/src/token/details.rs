//! All of a token's data (DE 63, usage `TK`), read and written: what an issuer is told of the token that
//! its card was paid by.
//!
//! | tag | what | form |
//! | --- | --- | --- |
//! | 01 | whether the token data were verified | a character |
//! | 02 | token | 12 to 19 digits |
//! | 03 | the token's expiry | four digits, YYMM |
//! | 04 | token assurance level | one or two digits |
//! | 05 | token scenario | two characters |
//! | 06 | token requestor | 1 to 11 digits, written as 11 |
//! | 08 | product | four characters |
//!
//! The layout is of open code; that values are characters is an assumption.

use super::{
    ASSURANCE, EXPIRY, FIELD, PRODUCT, REQUESTOR, REQUESTOR_DIGITS_MAX, SCENARIO, TOKEN,
    TokenDataError, TokenRequestor, USAGE, VERIFIED, number, only,
};
use crate::digits::{all_digits, write_u64};
use crate::error::WriteError;
use crate::pan::{PAN_DIGITS_MAX, Pan};
use crate::tlv::{TlvReader, TlvWriter};
use crate::usage::{ReplaceError, replace};
use crate::view::MessageView;
use core::fmt;

/// Most bytes of all objects together, each with a byte of tag and of length.
const BYTES_MAX: usize = 7 * 2 + 1 + PAN_DIGITS_MAX + 4 + 2 + 2 + REQUESTOR_DIGITS_MAX + 4;

/// A token's data. Its number and expiry cannot be printed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenDetails {
    /// Tag 01: what the network found out about the token data, a printable character.
    pub verified: Option<u8>,
    /// Tag 02: the token, which looks like a card number.
    pub token: Option<Pan>,
    /// Tag 03: the token's expiry, YYMM in digits.
    pub expiry: Option<[u8; 4]>,
    /// Tag 04: token assurance level, 0 to 99.
    pub assurance: Option<u8>,
    /// Tag 05: token scenario, two printable characters.
    pub scenario: Option<[u8; 2]>,
    /// Tag 06: who asked for the token.
    pub requestor: Option<TokenRequestor>,
    /// Tag 08: product, four printable characters.
    pub product: Option<[u8; 4]>,
}

impl TokenDetails {
    /// Of a message; nothing where it has no DE 63, or its dialect makes that of something else.
    ///
    /// # Errors
    /// [`TokenDataError`]
    pub fn of(view: &MessageView<'_>) -> Result<Self, TokenDataError> {
        match view.raw(FIELD) {
            Some(content) if view.dialect().usages.has(FIELD) => Self::read(content),
            _ => Ok(Self::default()),
        }
    }

    /// From the content of DE 63. Empty objects are not there; unknown ones are walked over.
    ///
    /// # Errors
    /// [`TokenDataError`] when it is not made of usages, its token data come twice, are not data
    /// objects, have one of those above twice or in another form.
    pub fn read(content: &[u8]) -> Result<Self, TokenDataError> {
        let mut this = Self::default();
        for object in TlvReader::new(only(content)?.unwrap_or_default()) {
            let object = object.map_err(|_| TokenDataError)?;
            if !object.value.is_empty() {
                this.take(object.tag, object.value).ok_or(TokenDataError)?;
            }
        }
        Ok(this)
    }

    /// `None` when the object is there already, or is none.
    fn take(&mut self, tag: u32, value: &[u8]) -> Option<()> {
        match tag {
            VERIFIED => {
                let [character] = characters(value)?;
                set(&mut self.verified, character)
            }
            TOKEN => set(&mut self.token, Pan::from_digits(value).ok()?),
            EXPIRY => set(&mut self.expiry, characters(value).filter(|text| all_digits(text))?),
            ASSURANCE => set(&mut self.assurance, u8::try_from(number(value, 2)?).ok()?),
            SCENARIO => set(&mut self.scenario, characters(value)?),
            REQUESTOR => set(&mut self.requestor, TokenRequestor::from_digits(value)?),
            PRODUCT => set(&mut self.product, characters(value)?),
            _ => Some(()),
        }
    }

    /// Writes the content of DE 63: that of `content`, which may be empty, with these token data in
    /// the place of its own. Other usages (a PIN block) stay as they are; without any data here there
    /// is no usage `TK`. Returns how many bytes; none means that there is to be no DE 63.
    ///
    /// # Errors
    /// [`ReplaceError`]; the output is unusable then.
    pub fn write(&self, content: &[u8], out: &mut [u8]) -> Result<usize, ReplaceError> {
        let mut objects = [0; BYTES_MAX];
        let bytes = self.objects(&mut objects)?;
        let objects = objects.get(..bytes).filter(|objects| !objects.is_empty());
        replace(content, USAGE, objects, out)
    }

    fn objects(&self, out: &mut [u8]) -> Result<usize, WriteError> {
        let mut assurance = [0; 2];
        let mut requestor = [0; REQUESTOR_DIGITS_MAX];
        write_u64(self.assurance.unwrap_or_default().into(), &mut assurance);
        write_u64(self.requestor.map_or(0, |requestor| requestor.0), &mut requestor);
        let objects: [(u32, Option<&[u8]>); 7] = [
            (VERIFIED, self.verified.as_ref().map(core::slice::from_ref)),
            (TOKEN, self.token.as_ref().map(Pan::digits)),
            (EXPIRY, self.expiry.as_ref().map(<[u8; 4]>::as_slice)),
            (ASSURANCE, self.assurance.map(|_| &assurance[..])),
            (SCENARIO, self.scenario.as_ref().map(<[u8; 2]>::as_slice)),
            (REQUESTOR, self.requestor.map(|_| &requestor[..])),
            (PRODUCT, self.product.as_ref().map(<[u8; 4]>::as_slice)),
        ];
        let mut writer = TlvWriter::new(out);
        for (tag, value) in objects {
            if let Some(value) = value {
                writer.put(tag, value)?;
            }
        }
        Ok(writer.finish())
    }
}

/// So many printable characters.
fn characters<const COUNT: usize>(value: &[u8]) -> Option<[u8; COUNT]> {
    let text: [u8; COUNT] = value.try_into().ok()?;
    text.iter().all(|byte| matches!(byte, b' '..=b'~')).then_some(text)
}

/// `None` when it was set before.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

impl fmt::Debug for TokenDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenDetails")
            .field("has_token", &self.token.is_some())
            .field("assurance", &self.assurance)
            .field("requestor", &self.requestor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::TokenData;
    use proptest::prelude::*;

    fn full() -> TokenDetails {
        TokenDetails {
            verified: Some(b'1'),
            token: Pan::from_digits(b"6235360000000000017").ok(),
            expiry: Some(*b"3012"),
            assurance: Some(2),
            scenario: Some(*b"01"),
            requestor: TokenRequestor::from_digits(b"12345678"),
            product: Some(*b"A001"),
        }
    }

    fn written(details: &TokenDetails, content: &[u8]) -> Result<Vec<u8>, ReplaceError> {
        let mut out = [0; 512];
        details.write(content, &mut out).map(|bytes| out[..bytes].to_vec())
    }

    #[test]
    fn the_layout_byte_for_byte() {
        let expected = b"TK057\x01\x011\x02\x136235360000000000017\x03\x043012\x04\x0202\x05\x0201\
            \x06\x0B00012345678\x08\x04A001";
        assert_eq!(written(&full(), b"").unwrap(), expected);
        assert_eq!(TokenDetails::read(expected), Ok(full()));
        let only = TokenDetails { verified: Some(b'0'), ..TokenDetails::default() };
        assert_eq!(written(&only, b"").unwrap(), b"TK003\x01\x010");
        assert_eq!(written(&TokenDetails::default(), b"").unwrap(), b"");
    }

    #[test]
    fn other_usages_stay_where_they_are() {
        let content = b"SM002\x00\xFFTK005\x02\x03123AB001x";
        let after = written(&full(), content).unwrap();
        assert!(after.starts_with(b"SM002\x00\xFFTK057") && after.ends_with(b"AB001x"));
        assert_eq!(written(&TokenDetails::default(), content).unwrap(), b"SM002\x00\xFFAB001x");
        assert_eq!(written(&full(), b"SM9"), Err(ReplaceError::Content));
        assert_eq!(written(&full(), b"TK000TK000"), Err(ReplaceError::Content));
        assert_eq!(full().write(b"", &mut [0; 61]), Err(ReplaceError::NoRoom));
    }

    #[test]
    fn what_is_not_token_data_is_refused() {
        let wrong: [(u8, &[u8]); 13] = [
            (1, b"12"),
            (1, b"\x01"),
            (2, b"62353600000"),
            (2, b"62353600000000000171"),
            (2, b"623536000000000001A"),
            (3, b"301"),
            (3, b"30 2"),
            (4, b"100"),
            (4, b"A"),
            (5, b"\x00\xFF"),
            (6, b"000123456789"),
            (8, b"12345"),
            (8, b"123\x7F"),
        ];
        for (tag, value) in wrong {
            let data = [&[tag, value.len() as u8], value].concat();
            let content = [format!("TK{:03}", data.len()).as_bytes(), &data].concat();
            assert_eq!(TokenDetails::read(&content), Err(TokenDataError), "{tag} {value:?}");
        }
        for content in [&b"TK006\x01\x011\x01\x011"[..], b"TK002\x01\x02", b"TK1", b"TK000TK000"] {
            assert_eq!(TokenDetails::read(content), Err(TokenDataError), "{content:?}");
        }
        let empty_and_unknown = b"TK009\x01\x00\x02\x00\x07\x01x\x01\x00";
        assert_eq!(TokenDetails::read(empty_and_unknown), Ok(TokenDetails::default()));
    }

    #[test]
    fn a_token_cannot_be_printed() {
        let printed = format!("{:?}", full());
        assert!(!printed.contains("623536") && !printed.contains("3012"), "{printed}");
    }

    fn printable<const COUNT: usize>() -> impl Strategy<Value = Option<[u8; COUNT]>> {
        proptest::option::of(proptest::array::uniform(b' '..=b'~'))
    }

    prop_compose! {
        fn any_details()(
            verified in printable::<1>(),
            token in proptest::option::of("[0-9]{12,19}"),
            expiry in proptest::option::of("[0-9]{4}"),
            assurance in proptest::option::of(0..=99u8),
            scenario in printable::<2>(),
            requestor in proptest::option::of("[0-9]{1,11}"),
            product in printable::<4>(),
        ) -> TokenDetails {
            TokenDetails {
                verified: verified.map(|[character]| character),
                token: token.and_then(|text| Pan::from_digits(text.as_bytes()).ok()),
                expiry: expiry.map(|text| text.as_bytes().try_into().unwrap()),
                assurance,
                scenario,
                requestor: requestor.and_then(|text| TokenRequestor::from_digits(text.as_bytes())),
                product,
            }
        }
    }

    proptest! {
        /// What is written reads the same, here and by who asks only for token and requestor.
        #[test]
        fn written_details_read_the_same(details in any_details()) {
            let content = written(&details, b"SM003abc").unwrap();
            prop_assert!(TokenDetails::read(&content) == Ok(details));
            let data = TokenData::read(&content).unwrap();
            prop_assert_eq!(data.requestor, details.requestor);
            let number = details.token.and_then(|pan| number(pan.digits(), PAN_DIGITS_MAX));
            prop_assert_eq!(data.token.map(crate::Token::number), number);
        }

        /// Whatever a peer writes there is read or refused, and what is read can be written.
        #[test]
        fn any_bytes_are_read_or_refused(
            data in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                prop::collection::vec((0..9u8, "[0-9]{0,21}"), 0..6).prop_map(|objects| {
                    let object = |(tag, value): (u8, String)| {
                        [&[tag, value.len() as u8], value.as_bytes()].concat()
                    };
                    objects.into_iter().flat_map(object).collect()
                }),
            ],
        ) {
            let content = [format!("TK{:03}", data.len()).as_bytes(), &data[..]].concat();
            if let Ok(details) = TokenDetails::read(&content) {
                let again = written(&details, &content).unwrap();
                prop_assert!(TokenDetails::read(&again) == Ok(details));
            }
        }
    }
}

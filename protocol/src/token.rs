//! Token data of a request that was paid by token: usage `TK` of DE 63, data objects of tag, length and
//! value. The card is in DE 2; this says by which of its tokens, and who asked for that.
//!
//! Values are characters, as in other elements of UnionPay's switch interface (an assumption: samples
//! are not published). An object that is empty is one that is not there; one that comes twice is a
//! mistake, because another reader may take the other. Objects that nobody here needs are walked over.
//!
//! [`TokenData`] is what the switch asks of a request; [`TokenDetails`] is all that there may be, read
//! and written.
//!
//! Not here: whether a token is in force, and whose it is.

mod details;

pub use details::TokenDetails;

use crate::digits::all_digits;
use crate::tlv::TlvReader;
use crate::usage::UsageReader;
use crate::view::MessageView;
use core::fmt;

/// Usage of DE 63 that holds token data.
const USAGE: [u8; 2] = *b"TK";
/// Tags in it: whether token data were verified, token, its expiry, assurance level, scenario,
/// requestor, product.
const VERIFIED: u32 = 0x01;
const TOKEN: u32 = 0x02;
const EXPIRY: u32 = 0x03;
const ASSURANCE: u32 = 0x04;
const SCENARIO: u32 = 0x05;
const REQUESTOR: u32 = 0x06;
const PRODUCT: u32 = 0x08;
/// The data element.
const FIELD: u8 = 63;

/// Most digits of a token.
pub const TOKEN_DIGITS_MAX: usize = 19;
/// Most digits of a token requestor's identification.
pub const REQUESTOR_DIGITS_MAX: usize = 11;

/// The number of a token, exactly. It cannot be printed: who has it may pay with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// From ASCII digits; `None` unless there are 1 to 19 of them.
    #[must_use]
    pub fn from_digits(ascii: &[u8]) -> Option<Self> {
        number(ascii, TOKEN_DIGITS_MAX).map(Self)
    }

    /// As a number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// From a number of at most 19 digits.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number < 10u64.pow(TOKEN_DIGITS_MAX as u32) { Some(Self(number)) } else { None }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

/// Who asked for a token: a wallet, a shop. Not secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRequestor(u64);

impl TokenRequestor {
    /// From ASCII digits; `None` unless there are 1 to 11 of them.
    #[must_use]
    pub fn from_digits(ascii: &[u8]) -> Option<Self> {
        number(ascii, REQUESTOR_DIGITS_MAX).map(Self)
    }

    /// As a number.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// From [`Self::number`]; `None` for one of more digits.
    #[must_use]
    pub const fn from_number(number: u64) -> Option<Self> {
        if number < 10u64.pow(REQUESTOR_DIGITS_MAX as u32) { Some(Self(number)) } else { None }
    }
}

impl fmt::Display for TokenRequestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:011}", self.0)
    }
}

/// DE 63 is not made of usages, or its token data are not what they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenDataError;

/// What a request says of the token that it was paid by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenData {
    /// Tag 02.
    pub token: Option<Token>,
    /// Tag 06.
    pub requestor: Option<TokenRequestor>,
}

impl TokenData {
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

    /// From the content of DE 63.
    ///
    /// # Errors
    /// [`TokenDataError`]
    pub fn read(content: &[u8]) -> Result<Self, TokenDataError> {
        let found = only(content)?.map(Self::objects).transpose()?;
        Ok(found.unwrap_or_default())
    }

    fn objects(data: &[u8]) -> Result<Self, TokenDataError> {
        let mut this = Self::default();
        for object in TlvReader::new(data) {
            let object = object.map_err(|_| TokenDataError)?;
            let is_twice = match (object.tag, object.value) {
                (_, []) => false,
                (TOKEN, digits) => {
                    let token = Token::from_digits(digits).ok_or(TokenDataError)?;
                    this.token.replace(token).is_some()
                }
                (REQUESTOR, digits) => {
                    let requestor = TokenRequestor::from_digits(digits).ok_or(TokenDataError)?;
                    this.requestor.replace(requestor).is_some()
                }
                _ => false,
            };
            if is_twice {
                return Err(TokenDataError);
            }
        }
        Ok(this)
    }
}

/// The data of the usage, which may come once.
fn only(content: &[u8]) -> Result<Option<&[u8]>, TokenDataError> {
    let mut found = None;
    for usage in UsageReader::new(content) {
        let usage = usage.map_err(|_| TokenDataError)?;
        if usage.name == USAGE && found.replace(usage.data).is_some() {
            return Err(TokenDataError);
        }
    }
    Ok(found)
}

/// A number of at most so many digits, 19 of which fit 64 bits.
fn number(ascii: &[u8], digits_max: usize) -> Option<u64> {
    let is_number = (1..=digits_max).contains(&ascii.len()) && all_digits(ascii);
    is_number.then(|| ascii.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit & 0x0F)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag, u8::try_from(value.len()).unwrap()];
        bytes.extend_from_slice(value);
        bytes
    }

    fn usage(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = format!("{name}{:03}", data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes
    }

    fn read(objects: &[(u8, &[u8])]) -> Result<(Option<u64>, Option<String>), TokenDataError> {
        let data: Vec<u8> = objects.iter().flat_map(|(tag, value)| object(*tag, value)).collect();
        let data = TokenData::read(&usage("TK", &data))?;
        let requestor = data.requestor.map(|requestor| requestor.to_string());
        Ok((data.token.map(Token::number), requestor))
    }

    #[test]
    fn tokens_and_requestors_are_exact() {
        let objects: &[(u8, &[u8])] = &[
            (1, b"1"),
            (2, b"6235360000000000017"),
            (3, b"3012"),
            (4, b"02"),
            (5, b"\x00\xFF"),
            (6, b"00012345678"),
            (8, b"0001"),
        ];
        let requestor = Some("00012345678".to_owned());
        assert_eq!(read(objects), Ok((Some(6_235_360_000_000_000_017), requestor)));
        assert_eq!(read(&[(2, &[b'9'; 19])]), Ok((Some(9_999_999_999_999_999_999), None)));
        assert_eq!(read(&[(6, b"7")]), Ok((None, Some("00000000007".to_owned()))));
        assert_eq!(read(&[(2, b""), (6, b"")]), Ok((None, None)), "empty is not there");
        assert_eq!(read(&[]), Ok((None, None)));
    }

    #[test]
    fn other_usages_stand_beside() {
        let mut content = usage("SM", &[0x02; 16]);
        assert_eq!(TokenData::read(&content), Ok(TokenData::default()));
        content.extend(usage("TK", &object(2, b"123")));
        assert_eq!(TokenData::read(&content).unwrap().token, Token::from_digits(b"123"));
        assert_eq!(TokenData::read(b""), Ok(TokenData::default()));
    }

    #[test]
    fn what_is_not_token_data_is_refused() {
        let wrong: [&[(u8, &[u8])]; 6] = [
            &[(2, b"62353600000000000171")],
            &[(2, b"623536000000000001A")],
            &[(2, b" 23")],
            &[(6, b"000123456789")],
            &[(2, b"1"), (2, b"1")],
            &[(6, b"1"), (6, b"2")],
        ];
        for objects in wrong {
            assert_eq!(read(objects), Err(TokenDataError), "{objects:?}");
        }
        for content in [&b"TK003\x02\x051"[..], b"TK004\x02\x02", b"no usages", b"TK000TK000", b"T"]
        {
            assert_eq!(TokenData::read(content), Err(TokenDataError), "{content:?}");
        }
    }

    #[test]
    fn a_token_cannot_be_printed() {
        let data = TokenData::read(b"TK005\x02\x03123").unwrap();
        assert!(!format!("{data:?}").contains('1'), "{data:?}");
    }

    proptest! {
        /// Whatever a peer writes there is read or refused, and what is read was written.
        #[test]
        fn any_bytes_are_read_or_refused(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..520),
                prop::collection::vec(any::<u8>(), 0..300).prop_map(|data| usage("TK", &data)),
                prop::collection::vec((0..9u8, "[0-9]{0,21}"), 0..6).prop_map(|objects| {
                    let each = objects.iter().flat_map(|(tag, value)| object(*tag, value.as_bytes()));
                    usage("TK", &each.collect::<Vec<_>>())
                }),
            ],
        ) {
            if let Ok(data) = TokenData::read(&content)
                && let Some(token) = data.token
            {
                let text = token.number().to_string();
                let is_there = content.windows(text.len()).any(|part| part == text.as_bytes());
                prop_assert!(is_there);
            }
        }
    }
}

//! DE 39: two characters. Unknown codes are declines and are passed through unchanged.

use core::fmt;

/// Response code, DE 39 of the 1987 edition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseCode([u8; 2]);

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        impl ResponseCode {
            $(#[doc = $meaning] pub const $name: Self = Self(*$code);)*

            /// The meaning of a code that this switch or its banks use.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)*
                    _ => "other",
                }
            }
        }
    };
}

codes! {
    APPROVED = b"00", "approved";
    DO_NOT_HONOR = b"05", "do not honor";
    PARTIAL_APPROVAL = b"10", "partial approval";
    INVALID_TRANSACTION = b"12", "invalid transaction";
    INVALID_AMOUNT = b"13", "invalid amount";
    INVALID_CARD = b"14", "invalid card number";
    NO_SUCH_ISSUER = b"15", "no such issuer";
    ORIGINAL_NOT_FOUND = b"25", "original not found";
    FORMAT_ERROR = b"30", "format error";
    INSUFFICIENT_FUNDS = b"51", "insufficient funds";
    EXPIRED_CARD = b"54", "expired card";
    WRONG_PIN = b"55", "incorrect PIN";
    NOT_PERMITTED = b"57", "not permitted to cardholder";
    RESTRICTED_CARD = b"62", "restricted card";
    NOT_PERMITTED_TERMINAL = b"58", "not permitted to terminal or not signed on";
    AMOUNT_LIMIT = b"61", "exceeds amount limit";
    ORIGINAL_AMOUNT = b"64", "original amount wrong";
    COUNT_LIMIT = b"65", "exceeds count limit";
    ISSUER_UNAVAILABLE = b"91", "issuer unavailable";
    NO_ROUTE = b"92", "no route";
    DUPLICATE = b"94", "duplicate that differs";
    RECONCILE_ERROR = b"95", "reconcile error";
    SYSTEM_MALFUNCTION = b"96", "system malfunction";
    ISSUER_TIME_OUT = b"98", "no answer from issuer";
}

impl ResponseCode {
    /// From the two bytes of DE 39.
    #[inline]
    #[must_use]
    pub const fn new(code: [u8; 2]) -> Self {
        Self(code)
    }

    /// From wire bytes; `None` unless there are exactly two letters or digits.
    #[inline]
    #[must_use]
    pub fn from_wire(bytes: &[u8]) -> Option<Self> {
        let code: [u8; 2] = bytes.try_into().ok()?;
        code.iter().all(u8::is_ascii_alphanumeric).then_some(Self(code))
    }

    /// The two bytes of DE 39.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 2] {
        &self.0
    }

    /// Whether money moves: 00, 10, 11, 16, A2, A4, A5, A6, Y1, Y3 (public UnionPay answer tables,
    /// ISO 8583:1987 for 16, EMV for Y1 and Y3).
    #[inline]
    #[must_use]
    pub const fn is_approval(self) -> bool {
        matches!(
            &self.0,
            b"00" | b"10" | b"11" | b"16" | b"A2" | b"A4" | b"A5" | b"A6" | b"Y1" | b"Y3"
        )
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.0;
        write!(f, "{}{}", char::from(a).escape_default(), char::from(b).escape_default())
    }
}

impl fmt::Debug for ResponseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseCode({self})")
    }
}

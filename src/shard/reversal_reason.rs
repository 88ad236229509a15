//! Why the switch itself reverses: the first four digits of DE 60 on UnionPay's interface (message
//! reasons of ISO 8583:1993, and UnionPay's own for a terminal's reversal, which the switch never
//! writes). What acquirers send goes on as it came.

use super::field_list;
use tapswitch_protocol::Dialect;

/// Why a reversal is made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReversalReason {
    /// Its answer did not come, or may have been lost.
    NoAnswer,
    /// Its answer does not fit it.
    Malfunction,
    /// Its approval reached nobody.
    Undeliverable,
    /// It was approved in part, which its acquirer cannot do.
    CannotComplete,
}

impl ReversalReason {
    /// The code.
    const fn digits(self) -> &'static [u8; 4] {
        match self {
            Self::NoAnswer => b"4021",
            Self::Malfunction => b"4002",
            Self::Undeliverable => b"4013",
            Self::CannotComplete => b"4007",
        }
    }

    /// Writes the code over the one of the request, in a list of elements; a request without DE 60 has
    /// none, and only one dialect has a place for it.
    pub(super) fn write(self, dialect: &Dialect, list: &mut [u8]) {
        /// Digits of the element's length, which come first.
        const LENGTH_DIGITS: usize = 3;
        if dialect.name() != Dialect::cups().name() {
            return;
        }
        if let Some(element) = field_list::wire_mut(list, 60)
            && let Some(place) = element.get_mut(LENGTH_DIGITS..LENGTH_DIGITS + 4)
        {
            place.copy_from_slice(self.digits());
        }
    }
}

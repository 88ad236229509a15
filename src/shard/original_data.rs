//! DE 90, original data elements: which earlier message this one is about.
//!
//! 42 digits: MTI 4, DE 11 6, DE 7 10, DE 32 and DE 33 right-justified in 11 each.

use tapswitch_protocol::{MessageView, Mti, Stan, TransmissionTime};

/// Digits of DE 90.
pub(super) const DIGITS: usize = 42;

/// What DE 90 says.
#[derive(Clone, Copy)]
pub(super) struct OriginalDataElements<'a> {
    pub(super) mti: Mti,
    /// DE 11 as digits.
    pub(super) stan: &'a [u8],
    /// DE 7 as digits.
    pub(super) time: &'a [u8],
}

impl<'a> OriginalDataElements<'a> {
    /// From DE 90 of a message in a dialect that writes it as characters.
    pub(super) fn read(view: &MessageView<'a>) -> Option<Self> {
        let digits = view.raw(90).filter(|digits| digits.len() == DIGITS)?;
        let mti = Mti::from_ascii(*digits.first_chunk()?)?;
        Some(Self { mti, stan: digits.get(4..10)?, time: digits.get(10..20)? })
    }
}

/// DE 90 that names the original by its numbers on the issuer leg; the institutions are those of
/// `view`'s DE 32 and 33.
pub(super) fn write(
    mti: Mti,
    stan: Stan,
    time: TransmissionTime,
    view: &MessageView<'_>,
) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut number = |at: usize, count: usize, mut value: u64| {
        let place = digits.get_mut(at..at + count).unwrap_or_default();
        for digit in place.iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
    };
    number(0, 4, u64::from(mti.number()));
    number(4, 6, u64::from(stan.0));
    number(10, 10, u64::from(time.0));
    number(20, 11, view.number(32).unwrap_or_default());
    number(31, 11, view.number(33).unwrap_or_default());
    digits
}

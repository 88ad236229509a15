//! The exact PAN, as a bank holds it: ten bytes of packed digits, not printable.

use core::fmt;
use tapswitch_protocol::Pan;

/// A PAN of 12 to 19 digits, packed and ended by `F`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct PanKey {
    /// Digits 1 to 16.
    head: u64,
    /// Digits 17 to 19 and the end.
    tail: u16,
}

impl fmt::Debug for PanKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PanKey(..)")
    }
}

impl PanKey {
    #[inline]
    pub(super) fn new(pan: &Pan) -> Self {
        let packed = u128::from_be_bytes(pan.packed());
        // 19 digits and the end are 80 bits; the other 48 are zeros.
        Self { head: (packed >> 64) as u64, tail: (packed >> 48) as u16 }
    }

    /// As [`Pan::packed`].
    #[inline]
    pub(super) fn packed(&self) -> [u8; 16] {
        (u128::from(self.head) << 64 | u128::from(self.tail) << 48).to_be_bytes()
    }

    /// The PAN again.
    pub(super) fn pan(&self) -> Option<Pan> {
        let mut digits = [0; 32];
        let nibbles = self.packed().into_iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        let mut count = 0;
        for (digit, nibble) in digits.iter_mut().zip(nibbles.take_while(|&nibble| nibble <= 9)) {
            *digit = b'0' + nibble;
            count += 1;
        }
        Pan::from_digits(digits.get(..count)?).ok()
    }

    /// A PAN of the published test range, for tests.
    #[cfg(test)]
    pub(super) fn test_pan(number: u64) -> Self {
        let text = format!("621626{number:013}");
        Self::new(&Pan::from_digits(text.as_bytes()).ok().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_keeps_its_packed_form() {
        for digits in 12..=19 {
            for digit in ["0", "9"] {
                let pan = Pan::from_digits(digit.repeat(digits).as_bytes()).ok().unwrap();
                let key = PanKey::new(&pan);
                assert_eq!(key.packed(), pan.packed());
                assert!(key.pan() == Some(pan));
            }
        }
    }
}

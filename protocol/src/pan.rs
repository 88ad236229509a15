//! The primary account number: it cannot be printed, only masked.

use core::fmt;

/// Fewest digits of a PAN that the switch takes.
pub const PAN_DIGITS_MIN: usize = 12;
/// Most digits of a PAN (ISO/IEC 7812).
pub const PAN_DIGITS_MAX: usize = 19;

/// Why a message has no usable PAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanError {
    /// Neither DE 2 nor DE 35 is there.
    Missing,
    /// Fewer than 12 or more than 19 digits.
    Length,
    /// DE 2 and DE 35 name different accounts.
    Conflict,
}

/// A primary account number of 12 to 19 digits. It has neither `Debug` nor `Display`: what is shown
/// is [`Pan::masked`]; what is stored is the card key made from [`Pan::packed`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pan {
    digits: [u8; PAN_DIGITS_MAX],
    count: u8,
}

impl Pan {
    /// From ASCII digits.
    ///
    /// # Errors
    /// [`PanError::Length`] unless there are 12 to 19 bytes, all digits.
    #[inline]
    pub fn from_digits(ascii: &[u8]) -> Result<Self, PanError> {
        let count = ascii.len();
        if count < PAN_DIGITS_MIN || !crate::digits::all_digits(ascii) {
            return Err(PanError::Length);
        }
        let mut digits = [0; PAN_DIGITS_MAX];
        digits.get_mut(..count).ok_or(PanError::Length)?.copy_from_slice(ascii);
        // At most 19.
        Ok(Self { digits, count: count as u8 })
    }

    /// The digits as ASCII.
    #[inline]
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        self.digits.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Packed decimal, one nibble a digit, ended by `F` and filled with zeros: different PANs,
    /// whatever their lengths, have different packed forms.
    #[inline]
    #[must_use]
    pub fn packed(&self) -> [u8; 16] {
        let mut padded = [b'0'; 32];
        if let Some(head) = padded.get_mut(..PAN_DIGITS_MAX) {
            head.copy_from_slice(&self.digits);
        }
        let count = usize::from(self.count);
        for (place, byte) in padded.iter_mut().enumerate().skip(count) {
            *byte = if place == count { b'?' } else { b'0' };
        }
        let mut packed = [0u8; 16];
        let (pairs, _) = padded.as_chunks::<2>();
        for (out, [high, low]) in packed.iter_mut().zip(pairs) {
            *out = (high << 4) | (low & 0x0F);
        }
        packed
    }

    /// The PAN that [`Pan::packed`] made.
    ///
    /// # Errors
    /// [`PanError::Length`] when the bytes are no packed PAN.
    pub fn from_packed(packed: &[u8; 16]) -> Result<Self, PanError> {
        let mut nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
        let mut digits = [0; PAN_DIGITS_MAX + 1];
        let mut count = 0;
        for (out, nibble) in digits.iter_mut().zip(&mut nibbles) {
            if nibble == 0x0F {
                break;
            }
            *out = b'0' + nibble;
            count += 1;
        }
        Self::from_digits(digits.get(..count).unwrap_or_default())
    }

    /// The first nine digits as a number, for routing by issuer identification number.
    #[inline]
    #[must_use]
    pub fn first_nine(&self) -> u32 {
        self.digits.iter().take(9).fold(0, |number, &digit| number * 10 + u32::from(digit - b'0'))
    }

    /// First six and last four digits, the rest as `*`: all that may be shown (PCI DSS 3.4.1).
    #[must_use]
    pub fn masked(&self) -> MaskedPan {
        let count = usize::from(self.count);
        let mut text = [b'*'; PAN_DIGITS_MAX];
        for (place, (out, &digit)) in text.iter_mut().zip(&self.digits).enumerate() {
            if place < 6 || place + 4 >= count {
                *out = digit;
            }
        }
        MaskedPan { text, count: self.count }
    }
}

/// A PAN with its middle hidden.
#[derive(Clone, Copy)]
pub struct MaskedPan {
    text: [u8; PAN_DIGITS_MAX],
    count: u8,
}

impl fmt::Display for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.iter().take(usize::from(self.count)).try_for_each(|&b| write!(f, "{}", b as char))
    }
}

impl fmt::Debug for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pan(text: &str) -> Pan {
        Pan::from_digits(text.as_bytes()).ok().unwrap()
    }

    #[test]
    fn lengths_are_checked() {
        for wrong in ["", "12345678901", "12345678901234567890", "12345678901x"] {
            assert!(Pan::from_digits(wrong.as_bytes()).is_err());
        }
        assert_eq!(pan("123456789012").digits(), b"123456789012");
    }

    #[test]
    fn packed_forms_differ_by_length() {
        assert_eq!(pan("622848000000").packed()[..8], [0x62, 0x28, 0x48, 0, 0, 0, 0xF0, 0]);
        assert_ne!(pan("622848000000").packed(), pan("6228480000000").packed());
    }

    #[test]
    fn packed_forms_are_undone() {
        for digits in ["622848000000", "6216261000000000018", "6225750000000004"] {
            let again = Pan::from_packed(&pan(digits).packed()).ok().unwrap();
            assert_eq!(again.digits(), digits.as_bytes());
        }
        for wrong in [[0; 16], [0xAA; 16], [0xFF; 16]] {
            assert!(Pan::from_packed(&wrong).is_err());
        }
    }

    #[test]
    fn masking_hides_the_middle() {
        assert_eq!(pan("6216261000000000018").masked().to_string(), "621626*********0018");
        assert_eq!(pan("622848000000").first_nine(), 622_848_000);
    }
}

//! From PAN and sequence number to the block that a card's key is derived with (EMV Book 2, A1.4).

use super::Derivation;
use crate::chip::PanSequence;
use crate::pan::{PAN_DIGITS_MAX, Pan};
use sha1::{Digest, Sha1};

/// PAN and sequence number, packed, with room for an odd count.
const PACKED_BYTES: usize = (PAN_DIGITS_MAX + 2).div_ceil(2);
/// From more digits than this option B differs from option A.
const OPTION_A_DIGITS: usize = 16;

/// The block; the right half of a card's key is derived with its complement.
pub(super) fn block(derivation: Derivation, pan: &Pan, sequence: PanSequence) -> [u8; 8] {
    let packed = packed(pan, sequence);
    let digits = pan.digits().len();
    if derivation == Derivation::B && digits > OPTION_A_DIGITS {
        let from = PACKED_BYTES - (digits + 2).div_ceil(2);
        return decimal(Sha1::digest(packed.get(from..).unwrap_or_default()).into());
    }
    packed.last_chunk().copied().unwrap_or_default()
}

/// The digits of the PAN, then two of the sequence number, right-aligned above zeros.
fn packed(pan: &Pan, sequence: PanSequence) -> [u8; PACKED_BYTES] {
    let sequence = sequence.number();
    let digits = pan.digits().iter().map(|digit| digit & 0x0F);
    let digits = digits.chain([sequence / 10, sequence % 10]).rev();
    let mut packed = [0; PACKED_BYTES];
    for (place, digit) in digits.enumerate() {
        if let Some(byte) = packed.iter_mut().nth_back(place / 2) {
            *byte |= digit << (4 * (place % 2));
        }
    }
    packed
}

/// The first 16 decimal digits of a digest; where it has fewer, its letters follow from the first on, as
/// 0 for A to 5 for F.
fn decimal(digest: [u8; 20]) -> [u8; 8] {
    let nibbles = || digest.iter().flat_map(|byte| [byte >> 4, byte & 0x0F]);
    let digits = nibbles().filter(|&nibble| nibble <= 9);
    let letters = nibbles().filter(|&nibble| nibble > 9).map(|nibble| nibble - 10);
    let mut block = [0; 8];
    for (place, digit) in digits.chain(letters).take(16).enumerate() {
        if let Some(byte) = block.get_mut(place / 2) {
            *byte |= digit << (4 - 4 * (place % 2));
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(pan: &str, sequence: u64) -> [u8; 8] {
        let pan = Pan::from_digits(pan.as_bytes()).ok().unwrap();
        block(Derivation::A, &pan, PanSequence::from_number(sequence).unwrap())
    }

    #[test]
    fn option_a_takes_the_last_16_digits() {
        assert_eq!(a("6228000100001", 1), [0x06, 0x22, 0x80, 0x00, 0x10, 0x00, 0x01, 0x01]);
        assert_eq!(a("123456789012", 99), [0x00, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x99]);
        assert_eq!(a("1234567890123456789", 0), [0x67, 0x89, 0x01, 0x23, 0x45, 0x67, 0x89, 0x00]);
    }

    #[test]
    fn option_b_differs_above_16_digits_only() {
        let pan = |text: &str| Pan::from_digits(text.as_bytes()).ok().unwrap();
        let sequence = PanSequence::default();
        for (digits, is_same) in
            [("123456789012", true), ("1234567890123456", true), ("12345678901234567", false)]
        {
            let of = |derivation| block(derivation, &pan(digits), sequence);
            assert_eq!(of(Derivation::A) == of(Derivation::B), is_same, "{}", digits.len());
        }
    }

    #[test]
    fn letters_of_a_digest_follow_its_digits() {
        let mut digest = [0xAB; 20];
        digest[3..7].copy_from_slice(&[0x12, 0x34, 0x5C, 0xD6]);
        assert_eq!(decimal(digest), [0x12, 0x34, 0x56, 0x01, 0x01, 0x01, 0x23, 0x01]);
        assert_eq!(decimal([0x98; 20]), [0x98; 8]);
        assert_eq!(decimal([0xFF; 20]), [0x55; 8]);
    }
}

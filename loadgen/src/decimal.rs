//! Decimal digits in fixed places.

/// Writes `number` as digits over the whole of `out`, zero-filled on the left. Digits that do not
/// fit are cut off on the left.
#[inline]
pub(crate) fn put(mut number: u64, out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        // A digit is below 10, so the cast keeps it.
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// `number` as `N` digits.
#[inline]
pub(crate) fn text<const N: usize>(number: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    put(number, &mut out);
    out
}

/// The Luhn check digit (ISO/IEC 7812-1, annex B) that goes after `digits`.
#[inline]
pub(crate) fn luhn(digits: &[u8]) -> u8 {
    let mut sum = 0u32;
    for (place, &byte) in digits.iter().rev().enumerate() {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        sum += match (place % 2 == 0, digit) {
            (false, _) => digit,
            (true, 5..) => 2 * digit - 9,
            (true, _) => 2 * digit,
        };
    }
    // Below 10.
    b'0' + ((10 - sum % 10) % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_their_place() {
        assert_eq!(&text::<6>(123), b"000123");
        assert_eq!(&text::<2>(123), b"23");
    }

    #[test]
    fn luhn_of_published_test_numbers() {
        for number in [&b"4111111111111111"[..], b"5555555555554444", b"378282246310005"] {
            let (check, digits) = number.split_last().unwrap();
            assert_eq!(luhn(digits), *check);
        }
    }
}

//! Decimal digits on the wire: checks and conversions, eight bytes at a time.

const HIGH_NIBBLES: u64 = 0xF0F0_F0F0_F0F0_F0F0;
const ZEROS: u64 = 0x3030_3030_3030_3030;
const SIXES: u64 = 0x0606_0606_0606_0606;

/// True when all eight bytes are `0`..=`9`.
#[inline(always)]
fn eight_are_digits(word: u64) -> bool {
    // '0'..='9' have high nibble 3, and still have it after adding 6; ':'..='?' do not.
    (word & HIGH_NIBBLES) == ZEROS && (word.wrapping_add(SIXES) & HIGH_NIBBLES) == ZEROS
}

/// True when every byte is an ASCII digit; true for none.
#[inline(always)]
pub(crate) fn all_digits(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<8>();
    for chunk in chunks {
        if !eight_are_digits(u64::from_le_bytes(*chunk)) {
            return false;
        }
    }
    rest.iter().all(u8::is_ascii_digit)
}

/// True when every byte may stand in a track: digits, `=`, and the separator's other form `D`
/// (ISO/IEC 7813 leaves `:` to `?`, which are 3A to 3F hexadecimal).
#[inline(always)]
pub(crate) fn all_track(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| matches!(byte, b'0'..=b'?' | b'D'))
}

/// The number that ASCII digits spell; `None` for a non-digit, no digits, or more than 19.
#[inline]
pub(crate) fn parse_u64(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    let mut number = 0u64;
    for &byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u64::from(digit);
    }
    Some(number)
}

/// Writes `number` as decimal digits over the whole of `out`, zero-filled on the left. Digits that
/// do not fit are cut off on the left; callers check with [`digit_count`].
#[inline]
pub(crate) fn write_u64(mut number: u64, out: &mut [u8]) {
    for byte in out.iter_mut().rev() {
        // A digit is below 10, so the cast keeps it.
        *byte = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// How many decimal digits `number` has; 1 for zero.
#[inline]
pub(crate) fn digit_count(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// The digit or track character of a packed nibble: `D` stands for `=`.
#[inline]
pub(crate) fn nibble_to_ascii(nibble: u8) -> u8 {
    match nibble & 0x0F {
        digit @ 0..=9 => b'0' + digit,
        0x0D => b'=',
        other => b'A' + (other - 10),
    }
}

/// The nibble of a digit or track character; `None` when it has none.
#[inline]
pub(crate) fn ascii_to_nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'=' => Some(0x0D),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The value of a hexadecimal character of either case.
#[inline]
pub(crate) fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place_is_judged_like_the_plain_check() {
        for length in 0..=17usize {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'7'; length];
                    text[place] = byte;
                    assert_eq!(all_digits(&text), text.iter().all(u8::is_ascii_digit));
                }
            }
        }
    }

    #[test]
    fn numbers_round_trip() {
        for number in [0u64, 9, 10, 999_999, 999_999_999_999, 1 << 40] {
            let mut out = vec![0; digit_count(number)];
            write_u64(number, &mut out);
            assert_eq!(parse_u64(&out), Some(number));
        }
        assert_eq!(parse_u64(b""), None);
        assert_eq!(parse_u64(b"12a"), None);
        assert_eq!(parse_u64(b"99999999999999999999"), None);
    }
}

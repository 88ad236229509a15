//! Decimal digits on the wire: checks and conversions, eight bytes at a time.

const HIGH_NIBBLES: u64 = 0xF0F0_F0F0_F0F0_F0F0;
const TOP_BITS: u64 = 0x8080_8080_8080_8080;
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// Every byte of a word set to `byte`.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// True when all eight bytes are `0`..=`9`.
#[inline(always)]
fn eight_are_digits(word: u64) -> bool {
    word_is_small(word ^ ZEROS)
}

/// True when all eight bytes are at most 9.
#[inline(always)]
fn word_is_small(word: u64) -> bool {
    // Adding 118 to more than 9 sets the top bit. A byte that carries into its neighbour has its
    // own top bit set, so the verdict on the word holds.
    (word | word.wrapping_add(each(0x76))) & TOP_BITS == 0
}

/// True when every byte is an ASCII digit; true for none.
#[inline(always)]
pub(crate) fn all_digits(bytes: &[u8]) -> bool {
    all_by_eights(bytes, eight_are_digits, |byte| byte.is_ascii_digit())
}

/// True when every byte may stand in a track: digits, `=`, and the separator's other form `D`
/// (ISO/IEC 7813 leaves `:` to `?`, which are 3A to 3F hexadecimal).
#[inline(always)]
pub(crate) fn all_track(bytes: &[u8]) -> bool {
    let one = |byte: u8| matches!(byte, b'0'..=b'?' | b'D');
    let eight = |word: u64| word & HIGH_NIBBLES == ZEROS || word.to_le_bytes().into_iter().all(one);
    all_by_eights(bytes, eight, one)
}

/// Judges eight bytes at a time; the last eight may overlap those before.
#[inline(always)]
fn all_by_eights(bytes: &[u8], eight: impl Fn(u64) -> bool, one: impl Fn(u8) -> bool) -> bool {
    if let Some(last) = bytes.last_chunk::<8>() {
        let (chunks, _) = bytes.as_chunks::<8>();
        return chunks.iter().all(|chunk| eight(u64::from_le_bytes(*chunk)))
            && eight(u64::from_le_bytes(*last));
    }
    if let (Some(&first), Some(&last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(first), u32::from_le_bytes(last));
        return eight(u64::from(first) | u64::from(last) << 32);
    }
    bytes.iter().all(|&byte| one(byte))
}

/// True when all sixteen nibbles are `0`..=`9`.
#[inline(always)]
fn sixteen_are_digits(word: u64) -> bool {
    // Above 9 is: bit 3 with bit 2 or bit 1.
    word & (word << 1 | word << 2) & each(0x88) == 0
}

/// True when every nibble of every byte is a digit.
#[inline(always)]
pub(crate) fn all_packed(bytes: &[u8]) -> bool {
    all_by_eights(bytes, sixteen_are_digits, |byte| sixteen_are_digits(u64::from(byte)))
}

/// True when all packed digits are digits. The low nibble of the last byte is the padding of an odd
/// count and may be anything.
#[inline(always)]
pub(crate) fn all_packed_left(bytes: &[u8], is_odd: bool) -> bool {
    match bytes.split_last() {
        Some((last, whole)) if is_odd => all_packed(whole) && last >> 4 <= 9,
        _ => all_packed(bytes),
    }
}

/// True when all packed digits are digits. The high nibble of the first byte is the padding of an
/// odd count and may be anything.
#[inline(always)]
pub(crate) fn all_packed_right(bytes: &[u8], is_odd: bool) -> bool {
    match bytes.split_first() {
        Some((first, whole)) if is_odd => first & 0x0F <= 9 && all_packed(whole),
        _ => all_packed(bytes),
    }
}

/// True when all nibbles are digits or the separator, hexadecimal D. The low nibble of the last byte
/// is the padding of an odd count and may be anything.
#[inline(always)]
pub(crate) fn all_packed_track(bytes: &[u8], is_odd: bool) -> bool {
    let one = |nibble: u8| nibble <= 9 || nibble == 0x0D;
    let two = |byte: u8| one(byte >> 4) && one(byte & 0x0F);
    match bytes.split_last() {
        Some((last, whole)) if is_odd => whole.iter().all(|&byte| two(byte)) && one(last >> 4),
        _ => bytes.iter().all(|&byte| two(byte)),
    }
}

/// The word that sixteen hexadecimal characters of either case spell.
#[inline(always)]
pub(crate) fn parse_hex(text: [u8; 16]) -> Option<u64> {
    let ([high, low], _) = text.as_chunks::<8>() else { return None };
    Some(u64::from(parse_hex_half(*high)?) << 32 | u64::from(parse_hex_half(*low)?))
}

#[inline(always)]
fn parse_hex_half(text: [u8; 8]) -> Option<u32> {
    let word = u64::from_be_bytes(text);
    // With the top bits cleared no sum below carries into the next byte. A digit becomes 0 to 9, a
    // letter 1 to 6.
    let seven_bits = word & !TOP_BITS;
    let not_digit = (seven_bits ^ ZEROS) + each(0x76);
    let letter = (seven_bits | each(0x20)) ^ each(0x60);
    let not_letter = (letter + each(0x79)) | !(letter + each(0x7F));
    if (not_digit & not_letter | word) & TOP_BITS != 0 {
        return None;
    }
    let nibbles = (word & each(0x0F)) + ((word & each(0x40)) >> 6) * 9;
    let bytes = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF;
    let pairs = (bytes | bytes >> 8) & 0x0000_FFFF_0000_FFFF;
    u32::try_from((pairs | pairs >> 16) & 0xFFFF_FFFF).ok()
}

/// The sixteen hexadecimal characters, in upper case, that spell a word.
#[inline(always)]
pub(crate) fn write_hex(word: u64) -> [u8; 16] {
    let mut text = [0; 16];
    let ([high, low], _) = text.as_chunks_mut::<8>() else { return text };
    *high = write_hex_half(word >> 32);
    *low = write_hex_half(word & 0xFFFF_FFFF);
    text
}

#[inline(always)]
fn write_hex_half(half: u64) -> [u8; 8] {
    let pairs = (half | half << 16) & 0x0000_FFFF_0000_FFFF;
    let bytes = (pairs | pairs << 8) & 0x00FF_00FF_00FF_00FF;
    let nibbles = (bytes | bytes << 4) & each(0x0F);
    let letters = ((nibbles + each(0x76)) & TOP_BITS) >> 7;
    (nibbles + ZEROS + letters * u64::from(b'A' - b'9' - 1)).to_be_bytes()
}

/// The number that ASCII digits spell; `None` for a non-digit, no digits, or more than 19.
#[inline]
pub(crate) fn parse_u64(bytes: &[u8]) -> Option<u64> {
    match bytes.len() {
        1..=8 => parse_eight(right_aligned(bytes)),
        9..=19 => {
            let (rest, last) = bytes.split_last_chunk::<8>()?;
            // Nineteen nines fit.
            Some(parse_u64_before(rest)? * 100_000_000 + parse_eight(u64::from_be_bytes(*last))?)
        }
        _ => None,
    }
}

/// What stands before the last eight digits of a long number: at most eleven.
#[inline]
fn parse_u64_before(bytes: &[u8]) -> Option<u64> {
    match bytes.split_last_chunk::<8>() {
        None | Some(([], _)) => parse_eight(right_aligned(bytes)),
        Some((rest, last)) => {
            let high = parse_eight(right_aligned(rest))?;
            Some(high * 100_000_000 + parse_eight(u64::from_be_bytes(*last))?)
        }
    }
}

/// One to eight characters as the low bytes of a word, the first one the highest; above it zeros.
#[inline(always)]
fn right_aligned(bytes: &[u8]) -> u64 {
    let bits = 8 * bytes.len() as u32;
    let text = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // The two overlap where they are the same.
        (Some(first), Some(last)) => {
            let first = u64::from(u32::from_be_bytes(*first));
            first << (bits - 32) | u64::from(u32::from_be_bytes(*last))
        }
        _ => bytes.iter().fold(0, |text, &byte| text << 8 | u64::from(byte)),
    };
    text | ZEROS.unbounded_shl(bits)
}

/// The number that eight digits spell, the first one in the highest byte.
#[inline(always)]
fn parse_eight(text: u64) -> Option<u64> {
    if !eight_are_digits(text) {
        return None;
    }
    // Neighbours become numbers of two digits, then of four, then of eight, each in the low half of
    // the two.
    let ones = text.swap_bytes() & !HIGH_NIBBLES;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte in every place of texts up to 17 long, otherwise valid, is judged as byte by byte.
    fn judged_alike(valid: u8, fast: impl Fn(&[u8]) -> bool, plain: impl Fn(u8) -> bool) {
        for length in 0..=17usize {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![valid; length];
                    text[place] = byte;
                    assert_eq!(fast(&text), plain(byte), "{byte:02X} at {place} of {length}");
                }
            }
            assert!(fast(&vec![valid; length]));
        }
    }

    fn nibbles_are(byte: u8, plain: impl Fn(u8) -> bool) -> bool {
        plain(byte >> 4) && plain(byte & 0x0F)
    }

    #[test]
    fn eight_at_a_time_judges_like_one_by_one() {
        judged_alike(b'7', all_digits, |byte| byte.is_ascii_digit());
        let track = |byte: u8| (b'0'..=b'?').contains(&byte) || byte == b'D';
        judged_alike(b'7', all_track, track);
        let digit = |nibble: u8| nibble <= 9;
        judged_alike(0x79, all_packed, |byte| nibbles_are(byte, digit));
        let packed_track = |text: &[u8]| all_packed_track(text, false);
        judged_alike(0x79, packed_track, |byte| nibbles_are(byte, |n| n <= 9 || n == 0xD));
    }

    #[test]
    fn two_wrong_bytes_are_not_taken_for_right() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let text = [b'1', first, second, b'4', b'5', b'6', b'7', b'8'];
                assert_eq!(all_digits(&text), text.iter().all(u8::is_ascii_digit));
                let packed = text.iter().all(|&byte| nibbles_are(byte, |nibble| nibble <= 9));
                assert_eq!(all_packed(&text), packed);
            }
        }
    }

    #[test]
    fn the_padding_nibble_may_be_anything() {
        for padding in 0..16 {
            assert!(all_packed_left(&[0x12, 0x30 | padding], true));
            assert!(all_packed_right(&[padding << 4 | 1, 0x23], true));
            assert!(all_packed_track(&[0x12, 0xD0 | padding], true));
        }
        assert!(!all_packed_left(&[0x12, 0xA0], true));
        assert!(!all_packed_left(&[0x12, 0x3A], false));
        assert!(!all_packed_right(&[0x0A, 0x23], true));
        assert!(!all_packed_right(&[0xA1, 0x23], false));
        assert!(!all_packed_track(&[0x12, 0xA0], true));
        assert!(!all_packed_track(&[0x12, 0xDF], false));
        assert!(all_packed_left(&[], false) && all_packed_right(&[], false));
    }

    #[test]
    fn hexadecimal_reads_both_cases_and_writes_upper() {
        let text = *b"0123456789aBcDeF";
        assert_eq!(parse_hex(text), Some(0x0123_4567_89AB_CDEF));
        assert_eq!(&write_hex(0x0123_4567_89AB_CDEF), b"0123456789ABCDEF");
        for word in [0, u64::MAX, 1, 1 << 63, 0x9A9A_0F0F_F0F0_5A5A] {
            assert_eq!(parse_hex(write_hex(word)), Some(word));
        }
        for place in 0..text.len() {
            for byte in 0..=255u8 {
                let mut text = text;
                text[place] = byte;
                assert_eq!(parse_hex(text).is_some(), byte.is_ascii_hexdigit(), "{byte:02X}");
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

    #[test]
    fn numbers_of_every_length_are_those_of_one_digit_after_the_other() {
        let one_by_one = |text: &[u8]| {
            text.iter().try_fold(0u64, |number, &byte| {
                byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0'))
            })
        };
        let digits = b"9999999999999999999 0123456789012345678 9081726354433221100";
        for text in digits.split(|&byte| byte == b' ') {
            for (from, to) in (0..19).flat_map(|from| (from + 1..=19).map(move |to| (from, to))) {
                let text = &text[from..to];
                assert_eq!(parse_u64(text), one_by_one(text));
                for at in 0..text.len() {
                    for byte in [b'/', b':', 0, 0xB0, 0xFF, b'0' ^ 0x40] {
                        let mut text = text.to_vec();
                        text[at] = byte;
                        assert_eq!(parse_u64(&text), None, "{text:?}");
                    }
                }
            }
        }
    }
}

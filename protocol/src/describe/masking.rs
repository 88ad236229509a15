//! What is hidden of a content: every function here gives text that may be shown.

use crate::pan::{PAN_DIGITS_MAX, PAN_DIGITS_MIN};
use core::fmt::Write;
use core::ops::Range;

/// Digits of an account number that stay at its start and its end (PCI DSS 3.4.1).
const SHOWN_FIRST: usize = 6;
const SHOWN_LAST: usize = 4;
/// Fewest digits of a number that is taken for a card's when nothing says that it is one.
const CARD_DIGITS_MIN: usize = 13;

/// How much of a content may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Showing {
    All,
    /// First six and last four digits.
    Account,
    /// The account, masked; of the rest only that it is there.
    Track,
    /// All but the middles of numbers as long as an account's.
    AllButLongNumbers,
    /// All but the middles of numbers that could be a card's, by length and check digit (no card's
    /// begins with 0).
    AllButCardNumbers,
    /// So many bytes at the start, and how many follow.
    Length {
        after: usize,
    },
}

/// Text; what cannot be printed as `\xHH`, what is hidden as a star.
pub(super) fn shown_text(content: &[u8], showing: Showing) -> String {
    shown(content, showing, "*", |text, byte| match byte {
        // The backslash itself is written out, so that the text means one thing only.
        b' '..=b'~' if byte != b'\\' => text.push(char::from(byte)),
        _ => push(text, format_args!("\\x{byte:02X}")),
    })
}

/// Upper-case hexadecimal; a hidden byte is two stars.
pub(super) fn shown_bytes(content: &[u8], showing: Showing) -> String {
    shown(content, showing, "**", |text, byte| push(text, format_args!("{byte:02X}")))
}

fn shown(content: &[u8], showing: Showing, star: &str, put: impl Fn(&mut String, u8)) -> String {
    let mut text = String::with_capacity(content.len() * star.len());
    if let Showing::Length { after } = showing {
        let (head, rest) = content.split_at(after.min(content.len()));
        head.iter().for_each(|&byte| put(&mut text, byte));
        push(&mut text, format_args!("[{} bytes]", rest.len()));
        return text;
    }
    for (&byte, is_hidden) in content.iter().zip(hidden(content, showing)) {
        if is_hidden { text.push_str(star) } else { put(&mut text, byte) }
    }
    text
}

fn push(text: &mut String, arguments: core::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(arguments);
}

/// Which bytes are hidden.
fn hidden(content: &[u8], showing: Showing) -> Vec<bool> {
    let mut hidden = vec![false; content.len()];
    match showing {
        Showing::All => {}
        Showing::Account => {
            let digits = next_digits(content, 0).filter(|digits| digits.len() == content.len());
            hidden.fill(true);
            if let Some(digits) = digits {
                show_ends(&mut hidden, digits);
            }
        }
        Showing::Track => {
            hidden.fill(true);
            // Track 1 begins with its format code, a letter.
            if let Some(digits) = next_digits(content, 0).filter(|digits| digits.start <= 1) {
                show_ends(&mut hidden, digits);
            }
        }
        Showing::AllButLongNumbers => {
            hide_numbers(content, &mut hidden, |digits| digits.len() >= PAN_DIGITS_MIN);
        }
        Showing::AllButCardNumbers => hide_numbers(content, &mut hidden, |digits| {
            (CARD_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&digits.len())
                && !digits.starts_with(b"0")
                && has_check_digit(digits)
        }),
        Showing::Length { .. } => hidden.fill(true),
    }
    hidden
}

fn hide_numbers(content: &[u8], hidden: &mut [bool], is_long: impl Fn(&[u8]) -> bool) {
    let mut from = 0;
    while let Some(digits) = next_digits(content, from) {
        from = digits.end;
        if content.get(digits.clone()).is_some_and(&is_long) {
            if let Some(hidden) = hidden.get_mut(digits.clone()) {
                hidden.fill(true);
            }
            show_ends(hidden, digits);
        }
    }
}

/// Shows the ends of a number, if it has the length of an account's.
fn show_ends(hidden: &mut [bool], digits: Range<usize>) {
    if (PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&digits.len()) {
        for (place, hidden) in hidden.iter_mut().enumerate() {
            let is_first = (digits.start..digits.start + SHOWN_FIRST).contains(&place);
            let is_last = (digits.end - SHOWN_LAST..digits.end).contains(&place);
            *hidden &= !(is_first || is_last);
        }
    }
}

/// Where the next digits lie, from `from` on.
fn next_digits(content: &[u8], from: usize) -> Option<Range<usize>> {
    let rest = content.get(from..)?;
    let start = from + rest.iter().position(u8::is_ascii_digit)?;
    let count = content.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    Some(start..start + count)
}

/// ISO/IEC 7812-1, annex B: the sum of the digits, every second one from the right doubled and its
/// digits added, is a multiple of ten.
fn has_check_digit(digits: &[u8]) -> bool {
    let sum = digits.iter().rev().enumerate().fold(0u32, |sum, (place, digit)| {
        let value = u32::from(digit & 0x0F);
        let doubled = if value < 5 { value * 2 } else { value * 2 - 9 };
        sum + if place % 2 == 1 { doubled } else { value }
    });
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_shows_its_ends() {
        let account = |text: &str| shown_text(text.as_bytes(), Showing::Account);
        assert_eq!(account("6216261000000000018"), "621626*********0018");
        assert_eq!(account("621626100018"), "621626**0018");
        assert_eq!(account("62162610018"), "***********");
        assert_eq!(account("62162610000000000180"), "********************");
        assert_eq!(account("621626100000000001X"), "*******************");
        assert_eq!(account(""), "");
    }

    #[test]
    fn a_track_shows_the_ends_of_its_account_and_nothing_else() {
        let track = |text: &str| shown_text(text.as_bytes(), Showing::Track);
        assert_eq!(track("6216261000000000018=30122010"), "621626*********0018*********");
        assert_eq!(track("B6216261000000000018^A/B^3012"), "*621626*********0018*********");
        assert_eq!(track("99621626100000000001830122010="), "*".repeat(30));
        assert_eq!(track("XY6216261000000000018="), "*".repeat(22));
        assert_eq!(track("THE QUICK BROWN FOX"), "*".repeat(19));
    }

    #[test]
    fn numbers_in_text_are_hidden_by_length_or_by_check_digit() {
        let long = |text: &str| shown_text(text.as_bytes(), Showing::AllButLongNumbers);
        assert_eq!(long("A 6216261000000000019 12345678901"), "A 621626*********0019 12345678901");
        assert_eq!(long("621626100000000001812"), "*********************");
        let card = |text: &str| shown_text(text.as_bytes(), Showing::AllButCardNumbers);
        assert_eq!(card("TO 6216261000000000018."), "TO 621626*********0018.");
        assert_eq!(card("TO 6216261000000000019."), "TO 6216261000000000019.");
        assert_eq!(card("00000000000000"), "00000000000000");
        assert_eq!(card("3001156C000001797100"), "3001156C000001797100");
    }

    #[test]
    fn what_cannot_be_printed_is_written_out() {
        assert_eq!(
            shown_text(b"a\\b\x00\x1F\x7F\xD6~", Showing::All),
            "a\\x5Cb\\x00\\x1F\\x7F\\xD6~"
        );
        assert_eq!(shown_bytes(b"\x01\xAB", Showing::All), "01AB");
        let number = b"\x00\x006216261000000000018\xFF";
        let stars = "**".repeat(9);
        let expected = format!("0000363231363236{stars}30303138FF");
        assert_eq!(shown_bytes(number, Showing::AllButCardNumbers), expected);
    }

    #[test]
    fn lengths_stand_for_what_is_secret() {
        let showing = Showing::Length { after: 2 };
        assert_eq!(shown_text(b"NK0123456789ABCDEF", showing), "NK[16 bytes]");
        assert_eq!(shown_text(b"N", showing), "N[0 bytes]");
        assert_eq!(shown_bytes(&[1; 8], Showing::Length { after: 0 }), "[8 bytes]");
    }
}

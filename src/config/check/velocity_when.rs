//! The conditions of a counter or a limit: which transactions it means.

use super::section::Section;
use crate::config::file::{Found, RawWhen, Word};
use crate::config::problem::{nearest_cause, quoted};
use crate::config::{PinPresence, QrCode, QrLevel, TransactionKind, VelocityCondition};
use crate::limits::VELOCITY_IIN_DIGITS;

/// Names of entry modes (first two digits of DE 22).
const ENTRY_MODES: [(&str, &[u8]); 5] = [
    ("contact", &[5, 95]),
    ("contactless", &[7, 91, 92, 98]),
    ("qr", &[3]),
    ("keyed", &[1]),
    ("stripe", &[2, 80, 90]),
];

pub(super) fn condition(section: &mut Section<'_, '_>, raw: &RawWhen) -> VelocityCondition {
    VelocityCondition {
        transaction_kinds: words(
            section,
            "transaction_kinds",
            &raw.transaction_kinds,
            &TransactionKind::NAMES,
        ),
        transaction_types: section.numbers("transaction_types", &raw.transaction_types, 0..=99),
        mccs: section.numbers("mccs", &raw.mccs, 0..=9_999),
        entry_modes: entry_modes(section, &raw.entry_modes),
        pin: raw.pin.as_ref().and_then(|_| {
            let known = [("present", PinPresence::Present), ("absent", PinPresence::Absent)];
            section.word("pin", &raw.pin, &known)
        }),
        iins: iins(section, &raw.iins),
        currencies: section.numbers("currencies", &raw.currencies, 1..=999),
        qr_code: raw.qr_code.as_ref().and_then(|_| {
            let known = [("static", QrCode::Static), ("dynamic", QrCode::Dynamic)];
            section.word("qr_code", &raw.qr_code, &known)
        }),
        qr_levels: words(
            section,
            "qr_levels",
            &raw.qr_levels,
            &[("A", QrLevel::A), ("B", QrLevel::B), ("C", QrLevel::C)],
        ),
        stand_in: raw.stand_in.as_ref().is_some_and(|found| found.value),
    }
}

/// The meanings of names; unknown ones are named and left out.
fn words<T: Copy>(
    section: &mut Section<'_, '_>,
    key: &str,
    found: &Option<Found<Vec<String>>>,
    known: &[(&str, T)],
) -> Vec<T> {
    let Some(found) = found else { return Vec::new() };
    let mut meanings = Vec::with_capacity(found.value.len());
    for word in &found.value {
        match known.iter().find(|(name, _)| name == word) {
            Some((_, meaning)) => meanings.push(*meaning),
            None => unknown(section, key, found.at, word, known.iter().map(|(name, _)| *name)),
        }
    }
    meanings
}

fn unknown<'k>(
    section: &mut Section<'_, '_>,
    key: &str,
    at: Option<usize>,
    word: &str,
    known: impl Iterator<Item = &'k str>,
) {
    let names: Vec<&str> = known.collect();
    let message = format!("unknown `{}`", quoted(word));
    section.error(at, key, message, nearest_cause(word, &names));
}

pub(super) fn entry_modes(
    section: &mut Section<'_, '_>,
    found: &Option<Found<Vec<Word>>>,
) -> Vec<u8> {
    let Some(found) = found else { return Vec::new() };
    let mut modes = Vec::new();
    for word in &found.value {
        match word {
            Word::Number(number) => {
                let one = Some(Found { value: vec![*number], at: found.at });
                modes.extend(section.numbers::<u8>("entry_modes", &one, 0..=99));
            }
            Word::Name(name) => match ENTRY_MODES.iter().find(|(known, _)| known == name) {
                Some((_, some)) => modes.extend_from_slice(some),
                None => {
                    let known = ENTRY_MODES.iter().map(|(known, _)| *known);
                    unknown(section, "entry_modes", found.at, name, known);
                }
            },
        }
    }
    modes
}

/// `622848` means all cards that begin so; `622100-622299` also those between.
fn iins(section: &mut Section<'_, '_>, found: &Option<Found<Vec<String>>>) -> Vec<(u32, u32)> {
    let Some(found) = found else { return Vec::new() };
    let mut ranges = Vec::with_capacity(found.value.len());
    for text in &found.value {
        match range(text) {
            Some((from, to)) if from <= to => ranges.push((from, to)),
            Some(_) => {
                let message = format!("`{}` ends before it begins", quoted(text));
                section.error(found.at, "iins", message, "from and to are swapped");
            }
            None => {
                let message = format!("`{}` is no prefix of a card number", quoted(text));
                let cause = "1 to 9 digits, or two of the same length as in \"622100-622299\"";
                section.error(found.at, "iins", message, cause);
            }
        }
    }
    ranges
}

/// From and to, both of nine digits and included.
fn range(text: &str) -> Option<(u32, u32)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let is_prefix = |part: &str| {
        (1..=VELOCITY_IIN_DIGITS).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_prefix(from) || !is_prefix(to) || from.len() != to.len() {
        return None;
    }
    let filled = |part: &str, fill: char| {
        let mut digits = part.to_owned();
        digits.extend(core::iter::repeat_n(fill, VELOCITY_IIN_DIGITS - part.len()));
        digits.parse().ok()
    };
    Some((filled(from, '0')?, filled(to, '9')?))
}

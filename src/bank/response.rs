//! A verdict as bytes, in the dialect of the request: its echoed fields and what the bank adds.

use super::issuing_bank::Verdict;
use super::request::approval_text;
use tapswitch_protocol::{Addition, MessageView, respond};

/// Settlement dates are of China, eight hours ahead of UTC.
const CHINA_MS: u64 = 8 * 3_600_000;
const DAY_MS: u64 = 86_400_000;
/// What an amount field can say.
const AMOUNT_MINOR_MAX: u64 = 999_999_999_999;
/// Tag and length of the issuer authentication data: a cryptogram of eight bytes, DE 39.
const ISSUER_AUTHENTICATION: [u8; 2] = [0x91, 10];

/// Fields of at most 20 bytes, put in ascending order.
struct Additions {
    values: [[u8; 20]; 5],
    fields: [(u8, u8); 5],
    count: usize,
}

impl Additions {
    #[inline]
    fn put(&mut self, view: &MessageView<'_>, field: u8, value: &[u8]) {
        if view.dialect().spec(field).is_none() {
            return;
        }
        if let (Some(out), Some(name)) =
            (self.values.get_mut(self.count), self.fields.get_mut(self.count))
            && let Some(out) = out.get_mut(..value.len())
        {
            out.copy_from_slice(value);
            // At most 20.
            *name = (field, value.len() as u8);
            self.count += 1;
        }
    }
}

/// Writes the response; `None` when the message expects none or it cannot be written.
#[inline]
pub(super) fn write(
    view: &MessageView<'_>,
    verdict: &Verdict,
    wall_ms: u64,
    out: &mut [u8],
) -> Option<usize> {
    let mti = view.mti().response()?;
    let mut added = Additions { values: [[0; 20]; 5], fields: [(0, 0); 5], count: 0 };
    if !view.has(15) {
        added.put(view, 15, &settlement_date(view, wall_ms));
    }
    if let Some(approval) = verdict.approval {
        added.put(view, 38, &approval_text(approval));
    }
    added.put(view, 39, verdict.code.bytes());
    if let Some(balance_minor) = verdict.balance_minor {
        added.put(view, 54, &balance(view, balance_minor));
    }
    if let Some(cryptogram) = verdict.cryptogram {
        let mut object = [0; 12];
        object[..2].copy_from_slice(&ISSUER_AUTHENTICATION);
        object[2..10].copy_from_slice(&cryptogram.to_be_bytes());
        object[10..].copy_from_slice(verdict.code.bytes());
        added.put(view, 55, &object);
    }
    let mut additions = [Addition { field: 0, value: &[] }; 5];
    let put = added.values.iter().zip(&added.fields).take(added.count);
    for (addition, (value, &(field, length))) in additions.iter_mut().zip(put) {
        *addition = Addition { field, value: value.get(..usize::from(length))? };
    }
    respond(view, mti, view.dialect().echo, additions.get(..added.count)?, out).ok()
}

/// MMDD: the local date of the request, or of its transmission, or today in China.
#[inline]
fn settlement_date(view: &MessageView<'_>, wall_ms: u64) -> [u8; 4] {
    let mut scratch = [0; 20];
    let local = view.text(13, &mut scratch).and_then(|text| text.first_chunk().copied());
    local.unwrap_or_else(|| {
        let sent = view.transmission_time().map(|time| time.0 / 1_000_000);
        let date = sent.unwrap_or_else(|| month_and_day(wall_ms + CHINA_MS));
        // Digits of a number below 10,000.
        [1_000, 100, 10, 1].map(|scale| b'0' + (date / scale % 10) as u8)
    })
}

/// Month and day, as the number MMDD, of a time since 1970.
pub(super) fn month_and_day(ms: u64) -> u32 {
    // Years are counted from March, so that the leap day is the last one; 719,468 days lie between
    // 0000-03-01 and 1970-01-01, 146,097 days are 400 years.
    let day_of_era = (ms / DAY_MS + 719_468) % 146_097;
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    // At most 1231.
    (month * 100 + day) as u32
}

/// DE 54: account type, amount type 02 (available), currency, sign, twelve digits.
fn balance(view: &MessageView<'_>, balance_minor: i64) -> [u8; 20] {
    let mut text = *b"0002156C000000000000";
    let mut scratch = [0; 20];
    if let Some(&[_, _, a, b, ..]) = view.text(3, &mut scratch) {
        text[..2].copy_from_slice(&[a, b]);
    }
    if balance_minor < 0 {
        text[7] = b'D';
    }
    let mut rest = balance_minor.unsigned_abs().min(AMOUNT_MINOR_MAX);
    for byte in text[8..].iter_mut().rev() {
        // Below 10.
        *byte = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        for (days, expected) in [
            (0, 101),
            (30, 131),
            (31, 201),
            (58, 228),
            (59, 301),
            (364, 1231),
            (365, 101),
            (789, 229),
            (11_016, 229),
            (19_782, 229),
            (19_783, 301),
        ] {
            assert_eq!(month_and_day(days * DAY_MS), expected, "day {days}");
            assert_eq!(month_and_day(days * DAY_MS + DAY_MS - 1), expected, "day {days}");
        }
    }
}

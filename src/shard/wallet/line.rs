//! A token's line: 32 bytes, half a cache line, so that no lookup needs more than one of them; and eight
//! more that few need.
//!
//! ```text
//! hot   token (64) · card key (128) · state (3) denied (1) sequence number (7) expiry of the card (10)
//!       expiry of the token (10) requestor (8) assurance (8) highest counter (16)
//! cold  counters below the highest that were seen (32) · the next token of the bucket (32)
//! ```
//!
//! Not here: where lines lie (`vault`).

use crate::shard::identity::CardKey;
use crate::shard::velocity::month_of_day;
use tapswitch_protocol::TokenRequestor;

/// Words of a line.
pub(super) const LINE_WORDS: usize = 4;
/// Counters below the highest that are known one by one.
const WINDOW: u16 = 32;
const MONTHS: u64 = (1 << 10) - 1;
/// January 2000, in months since January 1970.
const FIRST_MONTH: u64 = 360;
const DAY_MS: u64 = 86_400_000;
/// China is eight hours ahead of UTC.
const CHINA_MS: u64 = 8 * 3_600_000;
/// No sequence number: they have two digits.
const NO_SEQUENCE: u64 = 127;

/// A month, counted from January 2000; at most April 2085. Expiry dates have no days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(u16);

impl Month {
    /// Of `YYMM` (DE 14); `None` for what is no such month.
    #[must_use]
    pub fn from_yymm(yymm: &[u8]) -> Option<Self> {
        let digits: &[u8; 4] = yymm.try_into().ok()?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let [y, z, m, n] = digits.map(|digit| u16::from(digit - b'0'));
        let (year, month) = (10 * y + z, 10 * m + n);
        let months = year * 12 + month.checked_sub(1)?;
        (month <= 12 && u64::from(months) <= MONTHS).then_some(Self(months))
    }

    /// The month of a moment, in the time zone of China, where these cards expire.
    #[must_use]
    pub fn of(wall_ms: u64) -> Self {
        let months = month_of_day((wall_ms + CHINA_MS) / DAY_MS);
        Self(months.saturating_sub(FIRST_MONTH).min(MONTHS) as u16)
    }

    /// As `YYMM`.
    #[must_use]
    pub fn yymm(self) -> [u8; 4] {
        let (year, month) = (self.0 / 12, self.0 % 12 + 1);
        [year / 10, year % 10, month / 10, month % 10].map(|digit| b'0' + digit as u8)
    }

    /// As a number below 1,024.
    pub(crate) const fn number(self) -> u16 {
        self.0
    }

    pub(crate) fn from_number(months: u16) -> Option<Self> {
        (u64::from(months) <= MONTHS).then_some(Self(months))
    }
}

/// Where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenState {
    /// Made, and waits until its holder has proved who he is.
    Inactive = 1,
    /// May be used.
    Active = 2,
    /// May not be used for now: a lost phone.
    Suspended = 3,
    /// May never be used again.
    Deleted = 4,
}

impl TokenState {
    pub(crate) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Inactive),
            2 => Some(Self::Active),
            3 => Some(Self::Suspended),
            4 => Some(Self::Deleted),
            _ => None,
        }
    }

    /// As operators read it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }
}

/// All that is known of a token. It has no `Debug`: its number pays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its number, at most 19 digits; never 0.
    pub token: u64,
    /// The card behind it.
    pub card: CardKey,
    /// Who asked for it.
    pub requestor: TokenRequestor,
    /// How sure it is whose it is: 0 to 99.
    pub assurance: u8,
    /// Last month in which it may be used.
    pub expiry: Month,
    /// The same of the card.
    pub card_expiry: Month,
    /// Sequence number of the card, at most 99.
    pub sequence: Option<u8>,
    /// Where it stands.
    pub state: TokenState,
    /// It is on the list of those that gates let nobody in with.
    pub is_denied: bool,
    /// The highest counter of a transaction that was proved.
    pub counter: u16,
    /// Those below that were seen: bit 0 is the next lower one.
    pub seen: u32,
}

impl TokenEntry {
    /// Whether a transaction's counter was not seen before, as far as is known.
    #[must_use]
    pub fn is_fresh(&self, counter: u16) -> bool {
        match self.counter.checked_sub(counter) {
            None => true,
            Some(0) => false,
            Some(below) => below <= WINDOW && self.seen >> (below - 1) & 1 == 0,
        }
    }

    /// A transaction with this counter was proved.
    pub fn mark(&mut self, counter: u16) {
        match counter.checked_sub(self.counter) {
            Some(0) => {}
            Some(above) => {
                let above = u32::from(above);
                // The counter before is now so far below.
                let shifted = self.seen.checked_shl(above).unwrap_or(0);
                let before = 1u32.checked_shl(above - 1).unwrap_or(0);
                self.seen = shifted | before;
                self.counter = counter;
            }
            None => {
                let below = u32::from(self.counter - counter);
                self.seen |= 1u32.checked_shl(below - 1).unwrap_or(0);
            }
        }
    }

    /// As a line; `requestor` is the place of its requestor among those that the vault knows.
    pub(super) fn pack(&self, requestor: u8) -> [u64; LINE_WORDS] {
        let [low, high] = self.card.words();
        let sequence = self.sequence.map_or(NO_SEQUENCE, u64::from);
        let packed = self.state as u64
            | u64::from(self.is_denied) << 3
            | sequence << 4
            | u64::from(self.card_expiry.0) << 11
            | u64::from(self.expiry.0) << 21
            | u64::from(requestor) << 31
            | u64::from(self.assurance) << 39
            | u64::from(self.counter) << 47;
        [self.token, low, high, packed]
    }

    /// What a line says, with the window of its counters.
    pub(super) fn unpack(
        [token, low, high, packed]: [u64; LINE_WORDS],
        seen: u32,
        requestor: impl FnOnce(u8) -> Option<TokenRequestor>,
    ) -> Option<Self> {
        let sequence = packed >> 4 & 127;
        Some(Self {
            token,
            card: CardKey::of_words([low, high]),
            requestor: requestor((packed >> 31) as u8)?,
            assurance: (packed >> 39) as u8,
            expiry: Month((packed >> 21 & MONTHS) as u16),
            card_expiry: Month((packed >> 11 & MONTHS) as u16),
            sequence: (sequence != NO_SEQUENCE).then_some(sequence as u8),
            state: TokenState::from_number((packed & 7) as u8)?,
            is_denied: packed >> 3 & 1 != 0,
            counter: (packed >> 47) as u16,
            seen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entry() -> TokenEntry {
        TokenEntry {
            token: 6_288_880_000_000_000_018,
            card: CardKey([7; 16]),
            requestor: TokenRequestor::from_digits(b"00012345678").unwrap(),
            assurance: 99,
            expiry: Month::from_yymm(b"3012").unwrap(),
            card_expiry: Month::from_yymm(b"2701").unwrap(),
            sequence: Some(99),
            state: TokenState::Deleted,
            is_denied: true,
            counter: u16::MAX,
            seen: 5,
        }
    }

    #[test]
    fn a_line_says_what_was_put_into_it() {
        let entry = entry();
        let again = TokenEntry::unpack(entry.pack(255), 5, |place| {
            assert_eq!(place, 255);
            Some(entry.requestor)
        });
        assert!(again == Some(entry));
        let bare =
            TokenEntry { sequence: None, is_denied: false, assurance: 0, counter: 0, ..entry };
        assert!(TokenEntry::unpack(bare.pack(0), 5, |_| Some(entry.requestor)) == Some(bare));
        assert!(TokenEntry::unpack([1, 2, 3, 0], 0, |_| Some(entry.requestor)).is_none());
    }

    #[test]
    fn months_are_those_of_the_calendar_in_china() {
        assert_eq!(Month::from_yymm(b"0001").unwrap().number(), 0);
        assert_eq!(Month::from_yymm(b"2612").unwrap().yymm(), *b"2612");
        for wrong in [&b"2613"[..], b"2600", b"9901", b"26 1", b"261"] {
            assert!(Month::from_yymm(wrong).is_none(), "{wrong:?}");
        }
        // 2026-12-31 15:59:59 and 16:00 UTC.
        let new_year_ms = 1_798_732_800_000;
        assert_eq!(Month::of(new_year_ms - 1).yymm(), *b"2612");
        assert_eq!(Month::of(new_year_ms).yymm(), *b"2701");
        assert_eq!(Month::of(0).number(), 0, "before 2000");
        // 2024-02-29 12:00 UTC.
        assert_eq!(Month::of(1_709_208_000_000).yymm(), *b"2402");
    }

    proptest! {
        #[test]
        fn a_counter_is_fresh_once_and_for_a_while(
            counters in proptest::collection::vec(0u16..200, 1..100),
            base in prop_oneof![Just(1u16), Just(30_000), Just(65_300)],
        ) {
            let mut entry = TokenEntry { counter: 0, seen: 0, ..entry() };
            let mut seen = BTreeSet::from([0u16]);
            for counter in counters.into_iter().map(|it| it + base) {
                let highest = *seen.last().unwrap();
                let expected = counter > highest
                    || (highest - counter <= 32 && !seen.contains(&counter));
                prop_assert_eq!(entry.is_fresh(counter), expected, "{} of {:?}", counter, seen);
                if expected {
                    entry.mark(counter);
                    seen.insert(counter);
                }
            }
        }
    }
}

//! Totals for reconciliation: how many transactions of each sort, and how much money, by settlement
//! date, acquirer and issuer. A few dates are kept; what happens counts on the date that is current
//! then, a late reversal too. An issuer that has announced its cut-off is a date ahead of the others
//! until theirs comes. Only records change them (`apply`), so that they are counted once and are there
//! after a restart.
//!
//! Amounts are in CNY. Not here: when a date begins (`settlement_day`), and messages (`reconciliation`).

use super::identity::{AcquirerId, IssuerId};
use crate::limits::{ACQUIRERS_MAX, ISSUERS_MAX, SETTLEMENT_DATES};

const PARTIES: usize = ACQUIRERS_MAX + ISSUERS_MAX;
const WORDS: usize = 14;
/// Bytes of the totals of one party and date.
pub const SUMS_BYTES: usize = 8 * WORDS;
/// Bytes of an entry in a record.
pub(super) const ENTRY_BYTES: usize = 11;
/// Date, party, sums.
pub(super) const ROW_BYTES: usize = 5 + SUMS_BYTES;
/// Set in an entry's sort when it takes back.
const REVERSAL: u8 = 0x80;

/// What sort of transaction it is in the totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Sort {
    /// It is in no total.
    #[default]
    None,
    /// It takes money from the card.
    Debit,
    /// It gives money to the card.
    Credit,
    /// It moves money between accounts.
    Transfer,
    /// It holds money.
    Authorization,
    /// It moves none.
    Inquiry,
}

impl Sort {
    /// By its number.
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Debit,
            2 => Self::Credit,
            3 => Self::Transfer,
            4 => Self::Authorization,
            5 => Self::Inquiry,
            _ => return None,
        })
    }

    /// What an original of it is remembered as: only where money moved something is taken back.
    pub(super) const fn of_original(self) -> Self {
        match self {
            Self::Debit | Self::Credit | Self::Transfer => self,
            Self::None | Self::Authorization | Self::Inquiry => Self::None,
        }
    }
}

/// What one record adds to the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose transaction it is.
    pub acquirer: AcquirerId,
    /// Who answers for the card.
    pub issuer: IssuerId,
    /// What it is, or what the one was that is taken back.
    pub sort: Sort,
    /// Whether it takes one back.
    pub is_reversal: bool,
    /// DE 4, or the part of it that is taken back.
    pub amount_minor: u64,
}

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        let sort = self.sort as u8 | if self.is_reversal { REVERSAL } else { 0 };
        out[..3].copy_from_slice(&[self.acquirer.0, self.issuer.0, sort]);
        out[3..].copy_from_slice(&self.amount_minor.to_le_bytes());
        out
    }

    /// What [`Entry::encode`] wrote; `None`: it cannot be.
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (&[acquirer, issuer, sort], amount) = bytes.split_first_chunk()?;
        Some(Self {
            acquirer: AcquirerId(acquirer),
            issuer: IssuerId(issuer),
            sort: Sort::from_number(sort & !REVERSAL)?,
            is_reversal: sort & REVERSAL != 0,
            amount_minor: u64::from_le_bytes(*amount.first_chunk()?),
        })
    }

    /// What an original of it is remembered as.
    pub(super) fn sort_of_original(this: Option<&Self>) -> Sort {
        this.filter(|entry| !entry.is_reversal).map_or(Sort::None, |entry| entry.sort.of_original())
    }
}

/// Whose totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// An acquirer's.
    Acquirer(AcquirerId),
    /// An issuer's.
    Issuer(IssuerId),
}

impl Party {
    const fn place(self) -> usize {
        match self {
            Self::Acquirer(it) => it.0 as usize,
            Self::Issuer(it) => ACQUIRERS_MAX + it.0 as usize,
        }
    }
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// How much.
    pub amount_minor: u64,
}

impl Tally {
    const fn add(&mut self, amount_minor: u64) {
        self.count = self.count.saturating_add(1);
        self.amount_minor = self.amount_minor.saturating_add(amount_minor);
    }
}

/// The totals of one party and date.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Money given to cards.
    pub credits: Tally,
    /// And taken back.
    pub credits_reversed: Tally,
    /// Money taken from cards.
    pub debits: Tally,
    /// And given back.
    pub debits_reversed: Tally,
    /// Money moved between accounts.
    pub transfers: Tally,
    /// And moved back.
    pub transfers_reversed: Tally,
    /// Questions answered.
    pub inquiries: u64,
    /// Pre-authorizations approved.
    pub authorizations: u64,
}

impl Sums {
    fn enter(&mut self, entry: &Entry) {
        let tally = match (entry.sort, entry.is_reversal) {
            (Sort::Debit, false) => &mut self.debits,
            (Sort::Debit, true) => &mut self.debits_reversed,
            (Sort::Credit, false) => &mut self.credits,
            (Sort::Credit, true) => &mut self.credits_reversed,
            (Sort::Transfer, false) => &mut self.transfers,
            (Sort::Transfer, true) => &mut self.transfers_reversed,
            (Sort::Authorization, _) => return self.authorizations += 1,
            (Sort::Inquiry, _) => return self.inquiries += 1,
            (Sort::None, _) => return,
        };
        tally.add(entry.amount_minor);
    }

    fn words(&self) -> [u64; WORDS] {
        let (c, cr, d, dr) =
            (self.credits, self.credits_reversed, self.debits, self.debits_reversed);
        let (t, tr) = (self.transfers, self.transfers_reversed);
        [
            c.count,
            c.amount_minor,
            cr.count,
            cr.amount_minor,
            d.count,
            d.amount_minor,
            dr.count,
            dr.amount_minor,
            t.count,
            t.amount_minor,
            tr.count,
            tr.amount_minor,
            self.inquiries,
            self.authorizations,
        ]
    }

    fn of_words(words: [u64; WORDS]) -> Self {
        let tally = |at: usize| Tally {
            count: words.get(at).copied().unwrap_or_default(),
            amount_minor: words.get(at + 1).copied().unwrap_or_default(),
        };
        let [.., inquiries, authorizations] = words;
        Self {
            credits: tally(0),
            credits_reversed: tally(2),
            debits: tally(4),
            debits_reversed: tally(6),
            transfers: tally(8),
            transfers_reversed: tally(10),
            inquiries,
            authorizations,
        }
    }

    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        let mut words = self.words();
        for (word, other) in words.iter_mut().zip(other.words()) {
            *word = word.saturating_add(other);
        }
        *self = Self::of_words(words);
    }

    /// What cards were debited more than credited; negative: credited more.
    #[must_use]
    pub fn net_minor(&self) -> i128 {
        let amount = |tally: Tally| i128::from(tally.amount_minor);
        amount(self.debits) + amount(self.credits_reversed)
            - amount(self.credits)
            - amount(self.debits_reversed)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn encode(&self) -> [u8; SUMS_BYTES] {
        let mut out = [0; SUMS_BYTES];
        for (place, word) in out.as_chunks_mut().0.iter_mut().zip(self.words()) {
            *place = word.to_le_bytes();
        }
        out
    }

    pub(super) fn decode(bytes: &[u8; SUMS_BYTES]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self::of_words(words)
    }
}

/// The totals that a shard keeps.
#[derive(Clone)]
pub struct Totals {
    /// Settlement dates as days since 1970, newest first; 0: none yet.
    days: [u32; SETTLEMENT_DATES],
    /// The current one; 0 before the first.
    current: u32,
    /// The date that each issuer announced; of use while it is ahead of the current one.
    announced: [u32; ISSUERS_MAX],
    /// The last date of which each issuer was told, or is owed, the totals.
    told: [u32; ISSUERS_MAX],
    sums: Vec<Sums>,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            days: [0; SETTLEMENT_DATES],
            current: 0,
            announced: [0; ISSUERS_MAX],
            told: [0; ISSUERS_MAX],
            sums: vec![Sums::default(); SETTLEMENT_DATES * PARTIES],
        }
    }

    /// Becomes what another shard's, or a shard's a moment later, are. Allocates nothing.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.days = other.days;
        self.current = other.current;
        self.announced = other.announced;
        self.told = other.told;
        self.sums.copy_from_slice(&other.sums);
    }

    /// The current date; 0 before the first.
    #[inline]
    #[must_use]
    pub const fn day(&self) -> u32 {
        self.current
    }

    /// The date on which an issuer's transactions count: the current one, or the next one, which it
    /// has announced.
    #[inline]
    #[must_use]
    pub fn day_of(&self, issuer: IssuerId) -> u32 {
        let announced = self.announced.get(usize::from(issuer.0)).copied().unwrap_or_default();
        self.current.max(announced)
    }

    /// The issuers that are ahead of the current date, and their dates.
    pub fn ahead(&self) -> impl Iterator<Item = (IssuerId, u32)> {
        let announced = (0..).map(IssuerId).zip(self.announced);
        announced.filter(|(_, day)| *day > self.current)
    }

    /// The dates kept, newest first.
    pub fn days(&self) -> impl Iterator<Item = u32> {
        self.days.into_iter().filter(|&day| day != 0)
    }

    /// The totals of one party on one date; `None` when the date is not kept.
    #[must_use]
    pub fn of(&self, day: u32, party: Party) -> Option<&Sums> {
        let row = self.days.iter().position(|&kept| kept == day && day != 0)?;
        self.sums.get(row * PARTIES + party.place())
    }

    /// Adds to the current date, and to the issuer's own.
    #[inline]
    pub(super) fn enter(&mut self, entry: &Entry) {
        let of_issuer = (self.day_of(entry.issuer), Party::Issuer(entry.issuer));
        for (day, party) in [(self.current, Party::Acquirer(entry.acquirer)), of_issuer] {
            let row = self.days.iter().position(|&kept| kept == day).unwrap_or_default();
            if let Some(sums) = self.sums.get_mut(row * PARTIES + party.place()) {
                sums.enter(entry);
            }
        }
    }

    /// A later date begins.
    pub(super) fn begin(&mut self, day: u32) {
        if day > self.current {
            self.current = day;
            let _ = self.row(day);
        }
    }

    /// A later date begins for an issuer.
    pub(super) fn begin_of(&mut self, issuer: IssuerId, day: u32) {
        if let Some(announced) = self.announced.get_mut(usize::from(issuer.0))
            && day > *announced
        {
            *announced = day;
            if day > self.current {
                let _ = self.row(day);
            }
        }
    }

    /// The last date of which an issuer was told the totals; 0: none.
    pub(super) fn told(&self, issuer: IssuerId) -> u32 {
        self.told.get(usize::from(issuer.0)).copied().unwrap_or_default()
    }

    /// Every issuer that was told totals, and of which date last.
    pub(super) fn all_told(&self) -> impl Iterator<Item = (IssuerId, u32)> {
        (0..).map(IssuerId).zip(self.told).filter(|(_, day)| *day != 0)
    }

    /// An issuer is owed the totals of this date.
    pub(super) fn tell(&mut self, issuer: IssuerId, day: u32) {
        if let Some(told) = self.told.get_mut(usize::from(issuer.0)) {
            *told = day.max(*told);
        }
    }

    /// Where a date is, or is put among the others: the oldest makes room. `None`: it is older.
    fn row(&mut self, day: u32) -> Option<usize> {
        let row = self.days.iter().position(|&kept| kept <= day)?;
        if self.days.get(row) != Some(&day) {
            self.days.get_mut(row..)?.rotate_right(1);
            *self.days.get_mut(row)? = day;
            let sums = self.sums.get_mut(row * PARTIES..)?;
            sums.rotate_right(PARTIES);
            sums.get_mut(..PARTIES)?.fill(Sums::default());
        }
        Some(row)
    }

    /// Every total that is not empty, as bytes: date, party, sums; and each date once at least.
    pub(super) fn rows(&self) -> impl Iterator<Item = [u8; ROW_BYTES]> {
        self.days.iter().zip(self.sums.chunks(PARTIES)).filter(|(day, _)| **day != 0).flat_map(
            |(day, sums)| {
                let all = (0..).zip(sums).filter(|(party, it)| *party == 0 || !it.is_empty());
                all.map(|(party, sums)| {
                    let mut out = [0; ROW_BYTES];
                    out[..4].copy_from_slice(&day.to_le_bytes());
                    out[4] = party;
                    out[5..].copy_from_slice(&sums.encode());
                    out
                })
            },
        )
    }

    /// Adds what [`Totals::rows`] told of these or of another shard's.
    pub(super) fn restore(&mut self, row: &[u8; ROW_BYTES]) -> Option<()> {
        let (day, rest) = row.split_first_chunk()?;
        let (&party, sums) = rest.split_first()?;
        let day = u32::from_le_bytes(*day);
        // One that is older than all that are kept is not told any more either.
        let Some(row) = self.row(day).filter(|_| day != 0) else { return Some(()) };
        let place = Some(usize::from(party)).filter(|&party| party < PARTIES)?;
        let sums = Sums::decode(sums.first_chunk()?);
        self.sums.get_mut(row * PARTIES + place)?.add(&sums);
        Some(())
    }

    pub(super) fn state_hash(&self) -> u64 {
        let bytes = self.rows().flat_map(|row| row.into_iter());
        let both = self.ahead().chain(self.all_told());
        let ahead = both.flat_map(|(issuer, day)| (day << 8 | u32::from(issuer.0)).to_le_bytes());
        bytes.chain(ahead).fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }
}

const _: () = assert!(PARTIES <= 1 << 8);

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sort: Sort, is_reversal: bool, amount_minor: u64) -> Entry {
        let (acquirer, issuer) = (AcquirerId(1), IssuerId(2));
        Entry { acquirer, issuer, sort, is_reversal, amount_minor }
    }

    #[test]
    fn dates_are_kept_in_order_and_the_oldest_goes() {
        let mut totals = Totals::new();
        for day in 100..106 {
            totals.begin(day);
            totals.enter(&entry(Sort::Debit, false, u64::from(day)));
        }
        totals.begin(104);
        assert_eq!(totals.days().collect::<Vec<_>>(), [105, 104, 103, 102]);
        let party = Party::Acquirer(AcquirerId(1));
        assert_eq!(totals.of(103, party).unwrap().debits, Tally { count: 1, amount_minor: 103 });
        assert_eq!(totals.of(101, party), None);
        assert_eq!(totals.of(0, party), None);
        assert!(totals.of(105, Party::Issuer(IssuerId(3))).unwrap().is_empty());
    }

    #[test]
    fn an_issuer_that_is_ahead_counts_there_until_the_others_follow() {
        let mut totals = Totals::new();
        totals.begin(100);
        totals.enter(&entry(Sort::Debit, false, 1));
        totals.begin_of(IssuerId(2), 101);
        totals.enter(&entry(Sort::Debit, false, 2));
        totals.enter(&Entry { issuer: IssuerId(3), ..entry(Sort::Debit, false, 4) });
        let debits = |totals: &Totals, day: u32, party: Party| {
            totals.of(day, party).map(|sums| sums.debits.amount_minor)
        };
        let (acquirer, issuer) = (Party::Acquirer(AcquirerId(1)), Party::Issuer(IssuerId(2)));
        assert_eq!((totals.day(), totals.day_of(IssuerId(2))), (100, 101));
        assert_eq!(totals.ahead().collect::<Vec<_>>(), [(IssuerId(2), 101)]);
        assert_eq!([100, 101].map(|day| debits(&totals, day, acquirer)), [Some(7), Some(0)]);
        assert_eq!([100, 101].map(|day| debits(&totals, day, issuer)), [Some(1), Some(2)]);
        assert_eq!(debits(&totals, 100, Party::Issuer(IssuerId(3))), Some(4));
        totals.begin_of(IssuerId(2), 100);
        assert_eq!(totals.day_of(IssuerId(2)), 101, "never back");
        totals.begin(101);
        assert_eq!((totals.ahead().count(), totals.days().count()), (0, 2));
        totals.enter(&entry(Sort::Debit, false, 8));
        assert_eq!([100, 101].map(|day| debits(&totals, day, acquirer)), [Some(7), Some(8)]);
        assert_eq!([100, 101].map(|day| debits(&totals, day, issuer)), [Some(1), Some(10)]);
    }

    #[test]
    fn totals_are_put_back_as_they_were_and_those_of_several_shards_are_added() {
        let mut first = Totals::new();
        first.begin(100);
        for (sort, is_reversal) in [
            (Sort::Debit, false),
            (Sort::Debit, true),
            (Sort::Credit, false),
            (Sort::Credit, true),
            (Sort::Transfer, true),
            (Sort::Authorization, false),
            (Sort::Inquiry, false),
            (Sort::None, false),
        ] {
            let entry = entry(sort, is_reversal, 7);
            assert_eq!(Entry::decode(&entry.encode()), Some(entry));
            first.enter(&entry);
        }
        let mut second = Totals::new();
        second.begin(99);
        second.enter(&entry(Sort::Debit, false, 5));
        second.begin(101);
        let mut both = Totals::new();
        for row in first.rows().chain(second.rows()) {
            both.restore(&row).unwrap();
        }
        assert_eq!(both.days().collect::<Vec<_>>(), [101, 100, 99]);
        let party = Party::Issuer(IssuerId(2));
        assert_eq!(both.of(100, party), first.of(100, party));
        assert_eq!(both.of(99, party), second.of(99, party));
        assert_eq!(both.of(100, party).unwrap().net_minor(), 0);
        let mut again = Totals::new();
        for row in both.rows() {
            again.restore(&row).unwrap();
        }
        assert_eq!(again.state_hash(), both.state_hash());
        assert_ne!(again.state_hash(), first.state_hash());
    }
}

//! What the banks of a shard did last: found by trace number and time, or by card and approval.
//!
//! A ring by age. Rows are chained from the newest to the oldest, once by the hash of (PAN, STAN,
//! time) and once by card; a chain ends at the first reference to a row that was overwritten, so
//! nothing is ever unlinked. References are the low 32 bits of a row's sequence number, 0 for none.
//! An exact comparison of PAN, STAN and time follows every reference.
//!
//! How long a reversal finds its original, or a repeat its answer, follows from the number of rows
//! and the rate: 2,097,152 rows are 10 s at 200,000 transactions a second.
//!
//! Where a statement will be asked for, they are found by what else names a transaction too
//! (`reference`): such banks outlive the switch, which may tell them the same under other numbers.
//!
//! Not here: accounts, and what a transaction means.

use super::fund::Day;
use super::pan_key::PanKey;
use super::reference::{Reference, References};
use tapswitch_protocol::ResponseCode;

/// Rows of one shard.
pub(super) const RECENT_MAX: usize = 1 << 21;
/// How many of a card's transactions are searched for an approval.
const CARD_SEARCH_MAX: usize = 256;

/// What names a transaction at its bank: the trace number and time that the switch gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TraceKey {
    pub(super) pan: PanKey,
    /// DE 11.
    pub(super) stan: u32,
    /// DE 7 as a number.
    pub(super) time: u32,
}

impl TraceKey {
    /// Bits for the table's places: the card's are keyed, so the sender cannot choose them.
    #[inline]
    fn hash(&self, card_hash: u64) -> u64 {
        let trace = u64::from(self.stan) << 32 | u64::from(self.time);
        (card_hash ^ trace.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Debited.
    Debit,
    /// Held.
    Hold,
    /// Credited.
    Refund,
    /// A debit was credited back.
    VoidOfDebit,
    /// A hold was lifted.
    VoidOfHold,
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Done.
    Approved,
    /// Never done.
    Declined,
    /// Undone by a void, which may itself be reversed.
    Voided,
    /// Undone by a reversal, for good.
    Reversed,
    /// A hold whose completion came.
    Completed,
    /// Reversed before it came: it must not be done any more.
    Tombstone,
}

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    pub(super) key: TraceKey,
    pub(super) deed: Deed,
    pub(super) state: State,
    pub(super) code: ResponseCode,
    pub(super) amount: u64,
    /// The authorization identification response, below 36^6.
    pub(super) approval: u32,
    /// The row that this one undid.
    pub(super) original: u32,
    /// The day at whose price units of a fund went; a void has its original's.
    pub(super) day: Day,
}

impl Recent {
    #[inline]
    pub(super) fn new(key: TraceKey, deed: Deed, state: State, code: ResponseCode) -> Self {
        let (amount, approval, original) = (0, 0, 0);
        Self { key, deed, state, code, amount, approval, original, day: Day::default() }
    }
}

/// A transaction and its place in both chains.
struct Row {
    recent: Recent,
    older: u32,
    older_of_card: u32,
}

const _: () = assert!(size_of::<Row>() <= 64);

/// The beginning of a chain: its newest row in the low half; in the high half a bit, chosen by the
/// hash, for each row since the chain was last empty. Most searches end at these bits, without
/// the cache miss that looking at a row would be.
#[derive(Clone, Copy)]
struct Head(u64);

impl Head {
    #[inline]
    const fn newest(self) -> u32 {
        // The low half.
        self.0 as u32
    }

    /// Whether the chain may hold a key of this hash.
    #[inline]
    const fn may_hold(self, hash: u64) -> bool {
        self.0 & Self::bit(hash) != 0
    }

    /// One of the 32 high bits, by bits of the hash that choose no place.
    #[inline]
    const fn bit(hash: u64) -> u64 {
        1 << (32 + (hash >> 36 & 31))
    }
}

/// The ring.
pub(super) struct RecentTable {
    rows: Vec<Row>,
    rows_max: usize,
    /// [`Head`]s, as words so that a new table is zero pages of the operating system.
    heads: Box<[u64]>,
    shift: u32,
    /// Sequence number of the newest row; the first is 1.
    newest: u64,
    /// Where a statement will be asked for; otherwise none.
    references: Option<References>,
}

impl RecentTable {
    /// Room for `rows_max` transactions, a power of two. Memory is committed as it is used.
    pub(super) fn new(rows_max: usize) -> Self {
        let rows_max = rows_max.max(1).next_power_of_two();
        // At least two, so that places have a bit to be chosen by.
        let heads = rows_max.max(2);
        Self {
            rows: Vec::with_capacity(rows_max),
            rows_max,
            heads: vec![0; heads].into_boxed_slice(),
            shift: 64 - heads.trailing_zeros(),
            newest: 0,
            references: None,
        }
    }

    /// From now on the reference of each transaction is kept too.
    pub(super) fn keep_references(&mut self) {
        let rows_max = self.rows_max;
        self.references.get_or_insert_with(|| References::new(rows_max));
    }

    /// All rows, oldest first, with their reference numbers where these are kept.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Recent, &[u8; 12])> {
        let oldest = (self.newest % self.rows_max as u64) as usize;
        let oldest = if self.rows.len() < self.rows_max { 0 } else { oldest };
        let (newer, older) = (0..oldest, oldest..self.rows.len());
        older.chain(newer).filter_map(|place| {
            let references = self.references.as_ref()?;
            Some((&self.rows.get(place)?.recent, &references.get(place)?.rrn))
        })
    }

    #[inline]
    fn place(&self, sequence: u64) -> usize {
        ((sequence - 1) % self.rows_max as u64) as usize
    }

    /// The sequence number of a reference to a row that is still there.
    #[inline]
    fn resolve(&self, reference: u32) -> Option<u64> {
        // The low half is meant to be compared with the reference.
        let age = u64::from((self.newest as u32).wrapping_sub(reference));
        (reference != 0 && age < self.rows.len() as u64 && age < self.newest)
            .then(|| self.newest - age)
    }

    /// The row of a reference.
    #[inline]
    pub(super) fn get(&mut self, reference: u32) -> Option<&mut Recent> {
        let place = self.place(self.resolve(reference)?);
        self.rows.get_mut(place).map(|row| &mut row.recent)
    }

    /// Reads the place where a search for this key begins.
    #[inline]
    pub(super) fn look_at_place(&self, key: TraceKey, card_hash: u64) -> u64 {
        self.heads.get((key.hash(card_hash) >> self.shift) as usize).copied().unwrap_or(0)
    }

    /// The newest transaction with this key, and its reference.
    #[inline]
    pub(super) fn find(&self, key: TraceKey, card_hash: u64) -> Option<(u32, &Recent)> {
        let hash = key.hash(card_hash);
        let head = Head(*self.heads.get((hash >> self.shift) as usize)?);
        if !head.may_hold(hash) {
            return None;
        }
        self.walk(head.newest(), |_, row| row.older).find(|(_, recent)| recent.key == key)
    }

    /// The newest transaction of this card that is named so and is as wanted; `None` too where
    /// references are not kept.
    pub(super) fn find_named(
        &self,
        (pan, reference): (PanKey, &Reference),
        card_hash: u64,
        wanted: impl Fn(&Recent) -> bool,
    ) -> Option<(u32, &Recent)> {
        let references = self.references.as_ref()?;
        let head = references.head(reference, card_hash);
        self.walk(head, |place, _| references.older(place)).find(|&(number, row)| {
            let place = self.resolve(number).map(|sequence| self.place(sequence));
            place.is_some_and(|place| references.is((place, row), pan, reference)) && wanted(row)
        })
    }

    /// The newest approval of this card that stands and carries this approval code.
    pub(super) fn find_approval(
        &self,
        pan: PanKey,
        newest_of_card: u32,
        approval: u32,
        wanted: impl Fn(&Recent) -> bool,
    ) -> Option<(u32, &Recent)> {
        self.walk(newest_of_card, |_, row| row.older_of_card)
            .take(CARD_SEARCH_MAX)
            .take_while(|(_, row)| row.key.pan == pan)
            .find(|(_, row)| {
                row.approval == approval && row.state == State::Approved && wanted(row)
            })
    }

    /// The amounts of all that [`RecentTable::find_approval`] would find, one after another.
    pub(super) fn sum_approvals(
        &self,
        pan: PanKey,
        newest_of_card: u32,
        approval: u32,
        wanted: impl Fn(&Recent) -> bool,
    ) -> u64 {
        self.walk(newest_of_card, |_, row| row.older_of_card)
            .take(CARD_SEARCH_MAX)
            .take_while(|(_, row)| row.key.pan == pan)
            .filter(|(_, row)| {
                row.approval == approval && row.state == State::Approved && wanted(row)
            })
            .map(|(_, row)| row.amount)
            .sum()
    }

    /// A chain from `head` on, newest first.
    #[inline]
    fn walk(
        &self,
        head: u32,
        older: impl Fn(usize, &Row) -> u32,
    ) -> impl Iterator<Item = (u32, &Recent)> {
        // Each step must lead to an older row: a reference whose row was overwritten may not.
        let mut reference = head;
        let mut limit = self.newest + 1;
        core::iter::from_fn(move || {
            let sequence = self.resolve(reference).filter(|&sequence| sequence < limit)?;
            let place = self.place(sequence);
            let row = self.rows.get(place)?;
            let found = (reference, &row.recent);
            limit = sequence;
            reference = older(place, row);
            Some(found)
        })
    }

    /// Adds a transaction, by its trace and by what else names it; `newest_of_card` is the one before
    /// it. Returns its number.
    #[inline]
    pub(super) fn insert(
        &mut self,
        recent: Recent,
        named: &Reference,
        card_hash: u64,
        newest_of_card: u32,
    ) -> u32 {
        let hash = recent.key.hash(card_hash);
        let at = (hash >> self.shift) as usize;
        let head = Head(self.heads.get(at).copied().unwrap_or(0));
        let older = head.newest();
        let others = if self.resolve(older).is_some() { head.0 >> 32 << 32 } else { 0 };
        self.newest += 1;
        if self.newest as u32 == 0 {
            // 0 means none.
            self.newest += 1;
        }
        let reference = self.newest as u32;
        if let Some(head) = self.heads.get_mut(at) {
            *head = others | Head::bit(hash) | u64::from(reference);
        }
        let row = Row { recent, older, older_of_card: newest_of_card };
        let place = self.place(self.newest);
        if let Some(references) = &mut self.references {
            references.set((place, reference), named, card_hash);
        }
        match self.rows.get_mut(place) {
            Some(oldest) => *oldest = row,
            None => self.rows.push(row),
        }
        reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> TraceKey {
        TraceKey { pan: PanKey::test_pan(u64::from(number) % 3), stan: number, time: 704_093_015 }
    }

    fn row(number: u32) -> Recent {
        let row = Recent::new(key(number), Deed::Debit, State::Approved, ResponseCode::APPROVED);
        Recent { amount: u64::from(number), approval: number % 5, ..row }
    }

    fn insert(table: &mut RecentTable, row: Recent, card_hash: u64, newest_of_card: u32) -> u32 {
        table.insert(row, &Reference::default(), card_hash, newest_of_card)
    }

    /// Inserts `numbers` and checks after each that exactly the last `rows_max` are found.
    fn check_window(table: &mut RecentTable, numbers: core::ops::Range<u32>) {
        let mut newest_of_card = [0; 3];
        for number in numbers.clone() {
            let card = &mut newest_of_card[number as usize % 3];
            *card = insert(table, row(number), 9, *card);
            for older in numbers.start..=number {
                let found = table.find(key(older), 9).map(|(_, row)| row.amount);
                let live = (number - older) < table.rows_max as u32;
                assert_eq!(found, live.then_some(u64::from(older)), "{older} after {number}");
            }
        }
    }

    #[test]
    fn the_last_rows_are_found_and_no_others() {
        check_window(&mut RecentTable::new(8), 0..40);
    }

    #[test]
    fn the_rows_come_out_oldest_first_with_their_reference_numbers() {
        let mut table = RecentTable::new(8);
        table.keep_references();
        for number in 0..21 {
            let rrn = [number as u8; 12];
            table.insert(row(number), &Reference { rrn, ..Reference::default() }, 9, 0);
            let out: Vec<_> = table.iter().map(|(row, rrn)| (row.amount, rrn[11])).collect();
            let from = (number + 1).saturating_sub(8);
            let expected: Vec<_> =
                (from..=number).map(|older| (u64::from(older), older as u8)).collect();
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn the_last_rows_are_found_by_their_references_and_no_others() {
        let mut table = RecentTable::new(8);
        table.keep_references();
        let named = |number: u32| {
            let rrn = [(number / 2) as u8; 12];
            Reference { rrn, ..Reference::default() }
        };
        for number in 0..40_u32 {
            table.insert(row(number), &named(number), 9, 0);
            for older in 0..=number {
                let named = (key(older).pan, &named(older));
                let amount = u64::from(older);
                let found = table.find_named(named, 9, |row| row.amount == amount);
                assert_eq!(found.is_some(), number - older < 8, "{older} after {number}");
            }
        }
        assert!(table.find_named((key(0).pan, &named(39)), 9, |_| false).is_none());
    }

    #[test]
    fn references_wrap_around() {
        let mut table = RecentTable::new(8);
        for number in 1_000..1_008 {
            insert(&mut table, row(number), 9, 0);
        }
        // As if four thousand million transactions had passed; the next four end the round.
        table.newest = u64::from(u32::MAX) - 7;
        let mut references = Vec::new();
        for number in 0..30 {
            references.push(insert(&mut table, row(number), 9, 0));
            let found = table.find(key(number), 9).map(|(reference, row)| (reference, row.amount));
            assert_eq!(found, Some((references[number as usize], u64::from(number))));
        }
        assert!(!references.contains(&0));
        // Seven are found for sure; the place of the reference that is skipped holds an eighth.
        for number in 23..30 {
            assert!(table.find(key(number), 9).is_some());
        }
        for number in 0..20 {
            assert!(table.find(key(number), 9).is_none());
        }
    }

    #[test]
    fn a_reference_that_leads_back_ends_the_search() {
        let mut table = RecentTable::new(8);
        let mut newest = 0;
        for number in 0..4 {
            newest = insert(&mut table, row(number), 9, newest);
        }
        // As if the reference of a row overwritten four thousand million transactions ago.
        table.rows[0].older = newest;
        table.rows[0].older_of_card = newest;
        let reach = table.walk(newest, |_, row| row.older_of_card).take(100).count();
        assert_eq!(reach, 4);
    }

    #[test]
    fn an_approval_is_found_on_its_card_only() {
        let mut table = RecentTable::new(64);
        let mut newest = [0; 3];
        for number in 0..30 {
            let card = number as usize % 3;
            newest[card] = insert(&mut table, row(number), 9, newest[card]);
        }
        let of_card = |card: u32, approval| {
            let pan = key(card).pan;
            let found = table.find_approval(pan, newest[card as usize], approval, |_| true);
            found.map(|(_, row)| row.amount)
        };
        // Card 0 has 0, 3 … 27; approval 2 has 2, 7 … 27.
        assert_eq!(of_card(0, 2), Some(27));
        assert_eq!(of_card(1, 2), Some(22));
        assert_eq!(of_card(1, 99), None);
        // Another card's newest row is not followed.
        assert!(table.find_approval(key(0).pan, newest[1], 2, |_| true).is_none());
    }

    #[test]
    fn only_what_stands_is_found_by_its_approval() {
        let mut table = RecentTable::new(8);
        let first = insert(&mut table, row(5), 9, 0);
        table.get(first).unwrap().state = State::Reversed;
        assert!(table.find_approval(key(5).pan, first, 0, |_| true).is_none());
        table.get(first).unwrap().state = State::Approved;
        assert!(table.find_approval(key(5).pan, first, 0, |_| true).is_some());
        assert!(table.find_approval(key(5).pan, first, 0, |row| row.deed == Deed::Hold).is_none());
    }
}

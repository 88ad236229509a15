//! One bank's touched accounts: a fixed table, open addressing, exact PANs, 32 bytes a row.
//!
//! An account that nobody touched is not stored: its opening balance or credit line is a hash of
//! its PAN. Rows are plain words so that a new table is zero pages of the operating system,
//! committed as they are touched. Nothing is ever removed; at most `accounts_max` of twice as many
//! rows are used, so a search is short.
//!
//! Not here: what changes a balance, and why.

use super::pan_key::PanKey;
use super::recent::RECENT_MAX;
use crate::prefault::prefault;

/// New credits and debits stop here, either side of zero.
pub(super) const BALANCE_MINOR_MAX: i64 = i64::MAX / 4;
/// What DE 4 can say, and one more.
const AMOUNT_MINOR_END: i64 = 1_000_000_000_000;
// Undoing is not refused. All that can be undone, of the largest amounts and on one account, leads
// from there to twice as far at most: no balance ever overflows.
const _: () = assert!(RECENT_MAX as i64 * AMOUNT_MINOR_END < BALANCE_MINOR_MAX);

type Row = [u64; 4];
const HEAD: usize = 0;
/// Digits 17 to 19 of the PAN in the low 16 bits, the newest transaction in the high 32.
const TAIL_AND_NEWEST: usize = 1;
const AVAILABLE: usize = 2;
const HELD: usize = 3;

/// The accounts of one bank that one shard's cards have touched.
pub(super) struct Accounts {
    rows: Box<[Row]>,
    shift: u32,
    touched: usize,
    touched_max: usize,
}

/// One account, to be read and changed.
pub(super) struct Account<'a>(&'a mut Row);

/// The table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountsFull;

impl Accounts {
    /// Room for `accounts_max` accounts, which is rounded up to a power of two.
    pub(super) fn new(accounts_max: usize) -> Self {
        let slots = accounts_max.max(1).next_power_of_two() * 2;
        let mut rows = vec![[0; 4]; slots].into_boxed_slice();
        prefault(&mut rows);
        Self { rows, shift: 64 - slots.trailing_zeros(), touched: 0, touched_max: accounts_max }
    }

    /// How many accounts are stored.
    #[cfg(test)]
    pub(super) fn touched(&self) -> usize {
        self.touched
    }

    /// The row of `pan`, or the empty one where it would be.
    #[inline]
    fn find(&self, pan: PanKey, hash: u64) -> usize {
        let mask = self.rows.len() - 1;
        let mut place = (hash >> self.shift) as usize;
        loop {
            match self.rows.get(place).and_then(key) {
                Some(other) if other != pan => place = (place + 1) & mask,
                Some(_) | None => return place,
            }
        }
    }

    /// The account of `pan` if it was touched before.
    #[inline]
    pub(super) fn get(&mut self, pan: PanKey, hash: u64) -> Option<Account<'_>> {
        let place = self.find(pan, hash);
        let row = self.rows.get_mut(place)?;
        key(row)?;
        Some(Account(row))
    }

    /// The account of `pan`, opened with `opening()` when this is its first transaction.
    ///
    /// # Errors
    /// [`AccountsFull`] when it would be one too many.
    #[inline]
    pub(super) fn touch(
        &mut self,
        pan: PanKey,
        hash: u64,
        opening: impl FnOnce() -> i64,
    ) -> Result<Account<'_>, AccountsFull> {
        let place = self.find(pan, hash);
        let row = self.rows.get_mut(place).ok_or(AccountsFull)?;
        if key(row).is_none() {
            if self.touched == self.touched_max {
                return Err(AccountsFull);
            }
            self.touched += 1;
            let (head, tail) = pan.words();
            *row = [head, u64::from(tail), opening().cast_unsigned(), 0];
        }
        Ok(Account(row))
    }

    /// All accounts: PAN, available, held.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PanKey, i64, u64)> {
        self.rows
            .iter()
            .filter_map(|row| key(row).map(|pan| (pan, row[AVAILABLE].cast_signed(), row[HELD])))
    }
}

#[inline]
fn key(row: &Row) -> Option<PanKey> {
    PanKey::from_words(row[HEAD], row[TAIL_AND_NEWEST] as u16)
}

impl Account<'_> {
    /// What can be spent: below zero after advices that the bank had to take.
    #[inline]
    pub(super) fn available(&self) -> i64 {
        self.0[AVAILABLE].cast_signed()
    }

    /// What holds keep back, already taken off the available amount.
    #[inline]
    #[cfg(test)]
    pub(super) fn held(&self) -> u64 {
        self.0[HELD]
    }

    /// Adds to the available amount; `false`, and nothing done, when it would pass its bounds.
    #[inline]
    pub(super) fn credit(&mut self, amount: u64) -> bool {
        let after = self.available().saturating_add_unsigned(amount);
        self.set_available(after, after <= BALANCE_MINOR_MAX)
    }

    /// Takes off the available amount, below zero if need be, likewise.
    #[inline]
    pub(super) fn debit(&mut self, amount: u64) -> bool {
        let after = self.available().saturating_sub_unsigned(amount);
        self.set_available(after, after >= -BALANCE_MINOR_MAX)
    }

    #[inline]
    fn set_available(&mut self, after: i64, within: bool) -> bool {
        if within {
            self.0[AVAILABLE] = after.cast_unsigned();
        }
        within
    }

    /// Undoes a debit or a hold, whatever the bounds: it was within them when it was done, and what
    /// can be undone is bounded.
    #[inline]
    pub(super) fn give_back(&mut self, amount: u64) {
        self.0[AVAILABLE] = self.available().saturating_add_unsigned(amount).cast_unsigned();
    }

    /// Undoes a credit or does a debit again, likewise.
    #[inline]
    pub(super) fn take_back(&mut self, amount: u64) {
        self.0[AVAILABLE] = self.available().saturating_sub_unsigned(amount).cast_unsigned();
    }

    /// Adds to what is held.
    #[inline]
    pub(super) fn hold(&mut self, amount: u64) {
        self.0[HELD] += amount;
    }

    /// Takes off what is held.
    #[inline]
    pub(super) fn release(&mut self, amount: u64) {
        assert!(self.0[HELD] >= amount, "Invariant: a hold is released once");
        self.0[HELD] -= amount;
    }

    /// The card's newest transaction, as [`Account::set_newest`] left it; 0 for none.
    #[inline]
    pub(super) fn newest(&self) -> u32 {
        // The high half.
        (self.0[TAIL_AND_NEWEST] >> 32) as u32
    }

    /// Remembers the card's newest transaction.
    #[inline]
    pub(super) fn set_newest(&mut self, newest: u32) {
        let tail = self.0[TAIL_AND_NEWEST] & 0xFFFF;
        self.0[TAIL_AND_NEWEST] = u64::from(newest) << 32 | tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_again_and_the_table_fills() {
        let mut accounts = Accounts::new(64);
        for number in 0..64u64 {
            // Every hash is the same: the longest search there can be.
            let mut account = accounts.touch(PanKey::test_pan(number), 3 << 60, || 100).unwrap();
            assert!(account.credit(number));
            account.set_newest(number as u32 + 1);
        }
        assert_eq!(accounts.touched(), 64);
        assert!(accounts.touch(PanKey::test_pan(64), 3 << 60, || 0).is_err());
        assert!(accounts.get(PanKey::test_pan(64), 3 << 60).is_none());
        for number in 0..64u64 {
            let account = accounts.touch(PanKey::test_pan(number), 3 << 60, || 0).unwrap();
            assert_eq!(account.available(), 100 + number as i64);
            assert_eq!(account.newest(), number as u32 + 1);
        }
        assert_eq!(
            accounts.iter().map(|(_, available, _)| available).sum::<i64>(),
            64 * 100 + 63 * 32
        );
    }

    #[test]
    fn a_balance_stays_within_its_bounds() {
        let mut accounts = Accounts::new(1);
        let mut account = accounts.touch(PanKey::test_pan(1), 0, || BALANCE_MINOR_MAX).unwrap();
        assert!(!account.credit(1));
        account.give_back(5);
        assert!(account.debit(1));
        assert!(account.debit(BALANCE_MINOR_MAX.unsigned_abs() + 4));
        assert_eq!(account.available(), 0);
        assert!(account.debit(BALANCE_MINOR_MAX.unsigned_abs()));
        assert!(!account.debit(1));
        account.take_back(2);
        assert_eq!(account.available(), -BALANCE_MINOR_MAX - 2);
    }

    #[test]
    fn holds_are_kept_apart() {
        let mut accounts = Accounts::new(1);
        let mut account = accounts.touch(PanKey::test_pan(1), 0, || 10).unwrap();
        account.hold(7);
        account.release(3);
        assert_eq!((account.available(), account.held()), (10, 4));
    }
}

//! One bank's touched accounts: exact PANs, 40 bytes a row, in the order of their first touch. An account
//! whose balance is units of a fund has a second row of 32 bytes.
//!
//! An account that nobody touched is not stored: its opening balance or credit line is a hash of
//! its PAN. Rows are found through an open-addressed index of twice as many 32-bit entries as there
//! can be rows, each a row's number and as many bits of its hash as fit beside it. Nothing is ever
//! removed. The index is written when it is made, so that the kernel's page faults (two for each
//! page that is read before it is written) come before the first request; rows are committed as
//! they are touched, a page for 128 new cards.
//!
//! Sums over all accounts of a kind are kept beside them, so that books can be compared with them after
//! each movement.
//!
//! Not here: what changes a balance, and why.

use super::fund::{FundRow, Valuation};
use super::pan_key::PanKey;
use super::products::AccountKind;
use super::recent::RECENT_MAX;

/// New credits and debits stop here, either side of zero.
pub(super) const BALANCE_MINOR_MAX: i64 = i64::MAX / 4;
/// What DE 4 can say, and one more.
const AMOUNT_MINOR_END: i64 = 1_000_000_000_000;
// Undoing is not refused. All that can be undone, of the largest amounts and on one account, leads
// from there to twice as far at most: no balance ever overflows.
const _: () = assert!(RECENT_MAX as i64 * AMOUNT_MINOR_END < BALANCE_MINOR_MAX);

struct Row {
    pan: PanKey,
    /// The card's newest transaction.
    newest: u32,
    /// Its second row; [`NO_FUND`] for none.
    fund: u32,
    available: i64,
    held: u64,
}

const _: () = assert!(size_of::<Row>() == 40 && size_of::<FundRow>() == 32);

/// No second row.
const NO_FUND: u32 = u32::MAX;

/// Sums over all accounts, by [`AccountKind`], in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// What is available; of lines, less what it was at first.
    pub(super) available: [i128; AccountKind::COUNT],
    /// What is held.
    pub(super) held: [i128; AccountKind::COUNT],
}

impl Sums {
    pub(super) fn add(&mut self, kind: AccountKind, available: i128, held: i128) {
        self.available[kind.place()] += available;
        self.held[kind.place()] += held;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for kind in AccountKind::ALL {
            self.add(kind, other.available[kind.place()], other.held[kind.place()]);
        }
    }
}

/// The accounts of one bank that one shard's cards have touched.
pub(super) struct Accounts {
    rows: Vec<Row>,
    funds: Vec<FundRow>,
    sums: Sums,
    rows_max: usize,
    /// [`FREE`], or a row's number in the low bits and bits of its hash above.
    index: Box<[u32]>,
    /// How many low bits number a row.
    row_bits: u32,
    shift: u32,
}

/// One account, to be read and changed.
pub(super) struct Account<'a> {
    row: &'a mut Row,
    fund: Option<&'a mut FundRow>,
    sums: &'a mut Sums,
    kind: AccountKind,
}

/// What an account is at its first transaction.
#[derive(Clone, Copy)]
pub(super) struct Opening {
    /// Balance or line.
    pub(super) available: i64,
    /// Units of a fund.
    pub(super) units: i128,
}

/// The table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountsFull;

/// An entry of the index that has no row. No entry with a row has all its low bits set.
const FREE: u32 = u32::MAX;
/// More accounts than this cannot be numbered beside bits of their hashes.
const ACCOUNTS_MAX: usize = 1 << 28;

impl Accounts {
    /// Room for `accounts_max` accounts, any of them in funds if there are `funds`.
    pub(super) fn new(accounts_max: usize, funds: bool) -> Self {
        let rows_max = accounts_max.clamp(1, ACCOUNTS_MAX);
        let slots = rows_max.next_power_of_two() * 2;
        Self {
            rows: Vec::with_capacity(rows_max),
            funds: Vec::with_capacity(if funds { rows_max } else { 0 }),
            sums: Sums::default(),
            rows_max,
            index: vec![FREE; slots].into_boxed_slice(),
            // Numbers below `rows_max`, which is below `slots` less one.
            row_bits: slots.trailing_zeros(),
            shift: 64 - slots.trailing_zeros(),
        }
    }

    /// The bits of a hash that stand in the index beside a row's number.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        // The low half: places are taken from the high one.
        (hash as u32) << self.row_bits
    }

    /// The number of `pan`'s row, or the free place of the index where it belongs.
    #[inline]
    fn find(&self, pan: PanKey, hash: u64) -> Result<usize, usize> {
        let mask = self.index.len() - 1;
        let numbers = (1u32 << self.row_bits) - 1;
        let tag = self.tag(hash);
        let mut place = (hash >> self.shift) as usize;
        loop {
            let entry = self.index.get(place).copied().unwrap_or(FREE);
            if entry == FREE {
                return Err(place);
            }
            let number = (entry & numbers) as usize;
            if entry & !numbers == tag && self.rows.get(number).is_some_and(|row| row.pan == pan) {
                return Ok(number);
            }
            place = (place + 1) & mask;
        }
    }

    /// Reads the place of the index where a search begins.
    #[inline]
    pub(super) fn look_at_place(&self, hash: u64) -> u64 {
        self.index.get((hash >> self.shift) as usize).copied().unwrap_or(FREE).into()
    }

    /// Reads the row of `pan`.
    #[inline]
    pub(super) fn look_at_account(&self, pan: PanKey, hash: u64) -> usize {
        self.find(pan, hash).unwrap_or_else(|place| place)
    }

    /// The account of `pan` if it was touched before.
    #[inline]
    pub(super) fn get(&mut self, pan: PanKey, hash: u64, kind: AccountKind) -> Option<Account<'_>> {
        let number = self.find(pan, hash).ok()?;
        self.account(number, kind)
    }

    #[inline]
    fn account(&mut self, number: usize, kind: AccountKind) -> Option<Account<'_>> {
        let Self { rows, funds, sums, .. } = self;
        let row = rows.get_mut(number)?;
        let fund = funds.get_mut(row.fund as usize);
        Some(Account { row, fund, sums, kind })
    }

    /// Where the newest transaction of a card that was touched is noted; 0 for none.
    #[inline]
    pub(super) fn newest(&mut self, pan: PanKey, hash: u64) -> Option<&mut u32> {
        let number = self.find(pan, hash).ok()?;
        self.rows.get_mut(number).map(|row| &mut row.newest)
    }

    /// The sums over all accounts.
    #[inline]
    pub(super) fn sums(&self) -> &Sums {
        &self.sums
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
        kind: AccountKind,
        opening: impl FnOnce() -> Opening,
    ) -> Result<Account<'_>, AccountsFull> {
        let number = match self.find(pan, hash) {
            Ok(number) => number,
            Err(_) if self.rows.len() == self.rows_max => return Err(AccountsFull),
            Err(place) => {
                let number = self.rows.len();
                let Opening { available, units } = opening();
                let fund = self.open_fund(kind, units);
                self.rows.push(Row { pan, newest: 0, fund, available, held: 0 });
                if !kind.has_line() {
                    self.sums.available[kind.place()] += i128::from(available);
                }
                let tag = self.tag(hash);
                if let Some(entry) = self.index.get_mut(place) {
                    // Below ACCOUNTS_MAX.
                    *entry = tag | number as u32;
                }
                number
            }
        };
        self.account(number, kind).ok_or(AccountsFull)
    }

    /// The number of a new second row, where the account has one.
    fn open_fund(&mut self, kind: AccountKind, units: i128) -> u32 {
        if kind != AccountKind::Fund {
            return NO_FUND;
        }
        self.funds.push(FundRow::new(units));
        // Not more than rows, which are below ACCOUNTS_MAX.
        (self.funds.len() - 1) as u32
    }

    /// All accounts: PAN, available, held.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PanKey, i64, u64)> {
        self.rows.iter().map(|row| (row.pan, row.available, row.held))
    }

    /// Units of the fund over all accounts.
    pub(super) fn units(&self) -> i128 {
        self.funds.iter().map(|fund| fund.units).sum()
    }
}

impl Account<'_> {
    /// What can be spent: below zero after advices that the bank had to take.
    #[inline]
    pub(super) fn available(&self) -> i64 {
        self.row.available
    }

    /// What sort of account it is.
    #[inline]
    pub(super) fn kind(&self) -> AccountKind {
        self.kind
    }

    /// The units and what was redeemed, where it is a fund's.
    #[inline]
    pub(super) fn fund(&mut self) -> Option<&mut FundRow> {
        self.fund.as_deref_mut()
    }

    /// What is available becomes what the units are worth; returns by how much it grew.
    #[inline]
    pub(super) fn revalue(&mut self, valuation: &Valuation) -> i64 {
        let Some(fund) = self.fund.as_deref() else { return 0 };
        let worth = valuation.worth(fund.units);
        let grown = worth - self.row.available;
        self.put(worth);
        grown
    }

    #[inline]
    fn put(&mut self, available: i64) {
        let grown = i128::from(available) - i128::from(self.row.available);
        self.sums.available[self.kind.place()] += grown;
        self.row.available = available;
    }

    /// Adds to the available amount; `false`, and nothing done, when it would pass its bounds.
    #[inline]
    pub(super) fn credit(&mut self, amount: u64) -> bool {
        let after = self.available().saturating_add_unsigned(amount);
        let within = after <= BALANCE_MINOR_MAX;
        if within {
            self.put(after);
        }
        within
    }

    /// Whether so much can be taken off the available amount, below zero if need be.
    #[inline]
    pub(super) fn has_room_below(&self, amount: u64) -> bool {
        self.available().saturating_sub_unsigned(amount) >= -BALANCE_MINOR_MAX
    }

    /// Undoes a debit or a hold, whatever the bounds: it was within them when it was done, and what
    /// can be undone is bounded.
    #[inline]
    pub(super) fn give_back(&mut self, amount: u64) {
        self.put(self.available().saturating_add_unsigned(amount));
    }

    /// Undoes a credit or does a debit again, likewise.
    #[inline]
    pub(super) fn take_back(&mut self, amount: u64) {
        self.put(self.available().saturating_sub_unsigned(amount));
    }

    /// Adds to what is held.
    #[inline]
    pub(super) fn hold(&mut self, amount: u64) {
        self.row.held += amount;
        self.sums.held[self.kind.place()] += i128::from(amount);
    }

    /// Takes off what is held.
    #[inline]
    pub(super) fn release(&mut self, amount: u64) {
        assert!(self.row.held >= amount, "Invariant: a hold is released once");
        self.row.held -= amount;
        self.sums.held[self.kind.place()] -= i128::from(amount);
    }

    /// The card's newest transaction, 0 for none.
    #[inline]
    pub(super) fn newest(&self) -> u32 {
        self.row.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPOSIT: AccountKind = AccountKind::Deposit;

    fn opening(available: i64) -> Opening {
        Opening { available, units: 0 }
    }

    #[test]
    fn accounts_are_found_again_and_the_table_fills() {
        let mut accounts = Accounts::new(64, false);
        for number in 0..64u64 {
            // Every hash is the same: the longest search there can be.
            let mut account = accounts
                .touch(PanKey::test_pan(number), 3 << 60, DEPOSIT, || opening(100))
                .unwrap();
            assert!(account.credit(number));
            *accounts.newest(PanKey::test_pan(number), 3 << 60).unwrap() = number as u32 + 1;
        }
        assert!(accounts.touch(PanKey::test_pan(64), 3 << 60, DEPOSIT, || opening(0)).is_err());
        assert!(accounts.get(PanKey::test_pan(64), 3 << 60, DEPOSIT).is_none());
        for number in 0..64u64 {
            let account =
                accounts.touch(PanKey::test_pan(number), 3 << 60, DEPOSIT, || opening(0)).unwrap();
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
        let mut accounts = Accounts::new(1, false);
        let mut account =
            accounts.touch(PanKey::test_pan(1), 0, DEPOSIT, || opening(BALANCE_MINOR_MAX)).unwrap();
        assert!(!account.credit(1));
        account.give_back(5);
        account.take_back(BALANCE_MINOR_MAX.unsigned_abs() + 5);
        assert_eq!(account.available(), 0);
        assert!(account.has_room_below(BALANCE_MINOR_MAX.unsigned_abs()));
        account.take_back(BALANCE_MINOR_MAX.unsigned_abs());
        assert!(!account.has_room_below(1));
        account.take_back(2);
        assert_eq!(account.available(), -BALANCE_MINOR_MAX - 2);
    }

    #[test]
    fn holds_are_kept_apart() {
        let mut accounts = Accounts::new(1, false);
        let mut account = accounts.touch(PanKey::test_pan(1), 0, DEPOSIT, || opening(10)).unwrap();
        account.hold(7);
        account.release(3);
        assert_eq!(account.available(), 10);
        assert_eq!(accounts.iter().map(|(_, _, held)| held).sum::<u64>(), 4);
    }
}

//! What outlives a process: rows, leases and holds as records say that they are from then on, and all of
//! them one after another, for a snapshot.
//!
//! Not here: bytes of records (`shard::journal_record`).

use super::{Entity, Escrow, ScopeHold, Share, Tally};
use crate::shard::duplicate::DuplicateKey;
use crate::shard::journal_record::Change;

/// One part of a row of this shard, as it is from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopeRow {
    /// The counter, by its place among those of entities.
    pub counter: u8,
    /// Whose row.
    pub entity: Entity,
    /// Number of the part.
    pub number: u32,
    /// What it counts.
    pub share: Share,
}

/// What the owner has lent for one part, in all, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScopePool {
    /// The counter, by its place among those of entities.
    pub counter: u8,
    /// Of whose limit.
    pub entity: Entity,
    /// Number of the part.
    pub number: u32,
    /// What is lent.
    pub leased: Tally,
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct ScopeCursor {
    table: Table,
    counter: usize,
    place: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Table {
    #[default]
    Shares,
    Pools,
    Holds,
    Done,
}

impl Escrow {
    pub(in crate::shard) fn apply_row(&mut self, wall_ms: u64, row: &ScopeRow) {
        self.advance(wall_ms);
        let Some(counter) = self.counters.get_mut(usize::from(row.counter)) else { return };
        let place = counter.row(row.entity);
        assert!(place.is_some(), "Invariant: what was judged, or counted before, has a row");
        if let Some(place) = place {
            counter.shares.set(place, row.number, row.share);
        }
    }

    pub(in crate::shard) fn apply_pool(&mut self, wall_ms: u64, pool: &ScopePool) {
        self.advance(wall_ms);
        let Some(counter) = self.counters.get_mut(usize::from(pool.counter)) else { return };
        let place = counter.pools.find_or_make(pool.entity, counter.now.number);
        assert!(place.is_some(), "Invariant: what was lent has a row");
        if let Some(place) = place {
            counter.pools.set(place, pool.number, pool.leased);
        }
    }

    pub(in crate::shard) fn apply_hold(&mut self, key: &DuplicateKey, hold: ScopeHold) {
        self.holds.set(key, hold);
    }

    /// Visits some more of what is kept; false when that was all. `places` is how many are looked at.
    pub(in crate::shard) fn scan(
        &self,
        cursor: &mut ScopeCursor,
        places: u32,
        mut visit: impl FnMut(Change<'_>),
    ) -> bool {
        let (first, until) = (cursor.place, cursor.place.saturating_add(places));
        let count = match (cursor.table, self.counters.get(cursor.counter)) {
            (Table::Shares, Some(counter)) => {
                for place in first..until.min(counter.shares.count() as u32) {
                    self.visit_row(cursor.counter as u8, place, &mut visit);
                }
                counter.shares.count()
            }
            (Table::Pools, Some(counter)) => {
                for place in first..until.min(counter.pools.count() as u32) {
                    self.visit_pool(cursor.counter as u8, place, &mut visit);
                }
                counter.pools.count()
            }
            (Table::Holds, _) => {
                for place in first..until.min(self.holds.count() as u32) {
                    if let Some((key, hold)) = self.holds.at(place) {
                        visit(Change::ScopeHeld { key, hold: *hold });
                    }
                }
                self.holds.count()
            }
            (Table::Shares | Table::Pools, None) | (Table::Done, _) => 0,
        };
        cursor.place = until;
        if (until as usize) < count {
            return true;
        }
        cursor.place = 0;
        cursor.counter += 1;
        if cursor.counter >= self.counters.len() || cursor.table == Table::Holds {
            cursor.counter = 0;
            cursor.table = match cursor.table {
                Table::Shares => Table::Pools,
                Table::Pools => Table::Holds,
                Table::Holds | Table::Done => Table::Done,
            };
        }
        cursor.table != Table::Done
    }

    fn visit_row(&self, place: u8, row: u32, visit: &mut impl FnMut(Change<'_>)) {
        let Some(counter) = self.counters.get(usize::from(place)) else { return };
        let Some(entity) = counter.shares.entity(row) else { return };
        for (number, share) in counter.shares.kept(row) {
            if share != Share::default() {
                visit(Change::ScopeRow(ScopeRow { counter: place, entity, number, share }));
            }
        }
    }

    fn visit_pool(&self, place: u8, row: u32, visit: &mut impl FnMut(Change<'_>)) {
        let Some(counter) = self.counters.get(usize::from(place)) else { return };
        let Some(entity) = counter.pools.entity(row) else { return };
        for (number, leased) in counter.pools.kept(row) {
            if !leased.is_zero() {
                visit(Change::ScopePool(ScopePool { counter: place, entity, number, leased }));
            }
        }
    }

    /// A number for all that is counted, lent and held now, wherever it lies: equal for equal contents.
    /// What is lent to this shard is left out: it ends with the process.
    pub(in crate::shard) fn state_hash(&self) -> u64 {
        let (mut cursor, mut sum) = (ScopeCursor::default(), 0u64);
        let mut visit = |change: Change<'_>| {
            let words = match change {
                Change::ScopeRow(row) if self.counts(row.counter, row.number) => {
                    let used = row.share.used;
                    [
                        1,
                        word(&row.entity.0),
                        row.number.into(),
                        used.count ^ used.amount_minor << 16,
                    ]
                }
                Change::ScopePool(pool) if self.counts(pool.counter, pool.number) => {
                    let leased = pool.leased;
                    let sum = leased.count ^ leased.amount_minor << 16;
                    [2, word(&pool.entity.0), pool.number.into(), sum]
                }
                Change::ScopeHeld { key, hold } => {
                    [3, word(&key.0), hold.at_ms, hold.amount_minor << 8 | u64::from(hold.counters)]
                }
                _ => return,
            };
            if words.last() != Some(&0) {
                let mix =
                    |hash: u64, word: &u64| (hash ^ word).wrapping_mul(HASH_STEP).rotate_left(23);
                sum = sum.wrapping_add(words.iter().fold(HASH_STEP, mix));
            }
        };
        while self.scan(&mut cursor, u32::MAX, &mut visit) {}
        sum
    }

    /// Whether a part is in the window of now.
    fn counts(&self, counter: u8, number: u32) -> bool {
        let counter = self.counters.get(usize::from(counter));
        counter.is_some_and(|counter| number >= *counter.shares.numbers(counter.now.number).start())
    }
}

/// An odd number without a pattern.
const HASH_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Both halves in one: tokens of a card differ in one of them only.
fn word(key: &[u8; 16]) -> u64 {
    let number = u128::from_le_bytes(*key);
    number as u64 ^ ((number >> 64) as u64).rotate_left(32)
}

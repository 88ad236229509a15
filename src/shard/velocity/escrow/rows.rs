//! Rows: what is counted of each terminal, merchant, acquirer or token, in the parts of one counter's
//! window.
//!
//! A table of fixed size. A row where nothing counts any more is given to another when that needs one.
//! Not here: what is counted, and what a part is.

use super::Entity;
use super::places::{PLACE_BYTES, Places};
use crate::limits::ENTITIES_SWEPT_AT_ONCE;
use core::ops::RangeInclusive;

/// One counter's rows. A row holds `kept` parts, the newest of them with this number.
pub(super) struct Rows<T> {
    places: Places,
    free: Vec<u32>,
    newest: Vec<u32>,
    parts: Vec<T>,
    kept: usize,
    /// The next row to look at for one that is over.
    swept: usize,
}

/// Memory of one row.
pub(super) const fn row_bytes<T>(kept: usize) -> usize {
    PLACE_BYTES + 8 + kept * size_of::<T>()
}

impl<T: Copy + Default + PartialEq> Rows<T> {
    pub(super) fn new(count: usize, kept: usize) -> Self {
        let places = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            places: Places::new(count),
            free: (0..places).rev().collect(),
            newest: vec![0; count],
            parts: vec![T::default(); count * kept],
            kept,
            swept: 0,
        }
    }

    #[inline]
    pub(super) fn find(&self, entity: Entity) -> Option<u32> {
        self.places.find(&entity.0)
    }

    /// Number of the newest part in which anything was counted.
    #[inline]
    pub(super) fn newest(&self, place: u32) -> u32 {
        self.newest.get(place as usize).copied().unwrap_or_default()
    }

    #[inline]
    fn at(&self, place: u32, number: u32) -> usize {
        place as usize * self.kept + number as usize % self.kept
    }

    /// What is counted in the part of this number; nothing when it is not kept.
    #[inline]
    pub(super) fn part(&self, place: u32, number: u32) -> T {
        let newest = self.newest(place);
        let is_kept = number <= newest && ((newest - number) as usize) < self.kept;
        let part = if is_kept { self.parts.get(self.at(place, number)) } else { None };
        part.copied().unwrap_or_default()
    }

    /// The numbers of the window that ends with this one.
    #[inline]
    pub(super) fn numbers(&self, number: u32) -> RangeInclusive<u32> {
        number.saturating_sub(self.kept as u32 - 1)..=number
    }

    /// The parts of the window that ends with this number, which is counted last.
    #[inline]
    pub(super) fn window(&self, place: u32, number: u32) -> impl Iterator<Item = (u32, T)> {
        self.numbers(number).map(move |number| (number, self.part(place, number)))
    }

    /// All parts that are kept.
    pub(super) fn kept(&self, place: u32) -> impl Iterator<Item = (u32, T)> {
        self.window(place, self.newest(place))
    }

    /// Sets a part. One that has rolled out already stays out.
    #[inline]
    pub(super) fn set(&mut self, place: u32, number: u32, part: T) {
        let newest = self.newest(place);
        if number > newest {
            let gone = ((number - newest) as usize).min(self.kept);
            for back in 0..gone {
                let at = self.at(place, number - back as u32);
                self.parts[at] = T::default();
            }
            self.newest[place as usize] = number;
        } else if (newest - number) as usize >= self.kept {
            return;
        }
        let at = self.at(place, number);
        self.parts[at] = part;
    }

    /// Whether nothing in a row counts in the window of `current`, or later.
    fn is_over(&self, place: u32, current: u32) -> bool {
        let first = *self.numbers(current).start();
        self.kept(place).all(|(number, part)| number < first || part == T::default())
    }

    /// Whether a new row can be had, after looking at some rows for one that is over.
    #[inline]
    pub(super) fn make_room(&mut self, current: u32, spare: impl Fn(u32) -> bool) -> bool {
        !self.free.is_empty() || self.sweep(current, ENTITIES_SWEPT_AT_ONCE, spare)
    }

    #[cold]
    fn sweep(&mut self, current: u32, rows: usize, spare: impl Fn(u32) -> bool) -> bool {
        let count = self.places.count();
        for _ in 0..rows.min(count) {
            let place = self.swept as u32;
            self.swept = (self.swept + 1) % count;
            if self.places.key(place).is_some() && !spare(place) && self.is_over(place, current) {
                self.places.free(place);
                self.free.push(place);
                return true;
            }
        }
        false
    }

    /// The row of an entity, made where there is none; `None`: all rows count something.
    pub(super) fn find_or_make(&mut self, entity: Entity, current: u32) -> Option<u32> {
        if let Some(place) = self.find(entity) {
            return Some(place);
        }
        if self.free.is_empty() && !self.sweep(current, self.places.count(), |_| false) {
            return None;
        }
        let place = self.free.pop()?;
        self.places.put(entity.0, place);
        self.newest[place as usize] = current;
        let first = place as usize * self.kept;
        self.parts[first..first + self.kept].fill(T::default());
        Some(place)
    }

    pub(super) fn count(&self) -> usize {
        self.places.count()
    }

    /// Whose row it is.
    pub(super) fn entity(&self, place: u32) -> Option<Entity> {
        self.places.key(place).map(Entity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(number: u8) -> Entity {
        Entity([number; 16])
    }

    #[test]
    fn parts_roll_out_and_do_not_come_back() {
        let mut rows: Rows<u64> = Rows::new(2, 3);
        let place = rows.find_or_make(entity(1), 10).unwrap();
        rows.set(place, 10, 5);
        rows.set(place, 12, 7);
        assert_eq!(rows.window(place, 12).collect::<Vec<_>>(), [(10, 5), (11, 0), (12, 7)]);
        assert_eq!(rows.window(place, 14).map(|(_, part)| part).sum::<u64>(), 7);
        rows.set(place, 13, 1);
        rows.set(place, 10, 9);
        assert_eq!(rows.part(place, 10), 0);
        assert_eq!(rows.kept(place).collect::<Vec<_>>(), [(11, 0), (12, 7), (13, 1)]);
        rows.set(place, 99, 2);
        assert_eq!(rows.kept(place).map(|(_, part)| part).sum::<u64>(), 2);
    }

    #[test]
    fn a_row_that_counts_nothing_is_given_away_and_a_full_table_says_so() {
        let mut rows: Rows<u64> = Rows::new(2, 2);
        for number in 1..=2 {
            let place = rows.find_or_make(entity(number), 10).unwrap();
            rows.set(place, 10, 1);
        }
        assert!(!rows.make_room(11, |_| false));
        assert_eq!(rows.find_or_make(entity(3), 11), None);
        assert!(!rows.make_room(12, |_| true), "in use otherwise");
        let place = rows.find_or_make(entity(3), 12).unwrap();
        assert_eq!(rows.kept(place).map(|(_, part)| part).sum::<u64>(), 0);
        assert!(rows.find(entity(1)).is_none());
        assert!(rows.find(entity(2)).is_some());
    }
}

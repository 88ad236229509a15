//! What the words of a line mean, for whoever keeps lines longer than the process: a snapshot states
//! its layout, and another layout takes over the counters that it knows by name.

use super::Reservation;
use super::counters::{Counters, line_words, words_needed};
use crate::config::{
    VelocityCondition, VelocityConfig, VelocityCounter, VelocityScope, VelocityWindow,
};
use serde::{Deserialize, Serialize};

/// Counters in the order of their bits and words, and the lines of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Lines of the table.
    pub lines: usize,
    /// The counters.
    pub counters: Vec<LayoutCounter>,
    /// Counters of terminals, merchants, acquirers and tokens.
    #[serde(default)]
    pub scope_counters: Vec<LayoutCounter>,
    /// How many of these one such counter holds; 0 without any.
    #[serde(default)]
    pub entities: usize,
}

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCounter {
    /// By which another layout knows it.
    pub name: String,
    /// Whose transactions it counts together.
    pub scope: VelocityScope,
    /// When it begins afresh.
    pub window: VelocityWindow,
    /// Whether a PIN sets it back.
    pub resets_on_pin: bool,
}

impl LayoutCounter {
    fn of(counter: &VelocityCounter) -> Self {
        Self {
            name: counter.name.clone(),
            scope: counter.scope,
            window: counter.window,
            resets_on_pin: counter.resets_on_pin,
        }
    }

    /// As a counter that means nothing, to lay words out by.
    pub(in crate::shard) fn laid_out(&self) -> VelocityCounter {
        VelocityCounter {
            name: self.name.clone(),
            scope: self.scope,
            window: self.window,
            resets_on_pin: self.resets_on_pin,
            when: VelocityCondition::default(),
        }
    }
}

impl Layout {
    pub(in crate::shard) fn new(lines: usize, config: &VelocityConfig) -> Self {
        let of = |counters: &[VelocityCounter]| counters.iter().map(LayoutCounter::of).collect();
        Self {
            lines,
            counters: of(&config.counters),
            scope_counters: of(&config.scope_counters),
            entities: if config.scope_counters.is_empty() { 0 } else { config.entities },
        }
    }

    /// All counters: of cards, then of terminals, merchants, acquirers and tokens.
    pub(in crate::shard) fn all(&self) -> impl Iterator<Item = &LayoutCounter> {
        self.counters.iter().chain(&self.scope_counters)
    }

    /// For each counter of entities its place in another layout.
    pub(in crate::shard) fn scope_places(&self, to: &Self) -> Vec<Option<usize>> {
        let place = |counter| to.scope_counters.iter().position(|other| other == counter);
        self.scope_counters.iter().map(place).collect()
    }

    /// Eight-byte words of a line, the card's key of two words among them.
    #[must_use]
    pub fn line_words(&self) -> usize {
        line_words(words_needed(&self.configured()))
    }

    /// Whether lines of the other are lines of this one, word for word.
    #[must_use]
    pub fn has_lines_of(&self, other: &Self) -> bool {
        self.counters == other.counters
    }

    fn configured(&self) -> Vec<VelocityCounter> {
        self.counters.iter().map(LayoutCounter::laid_out).collect()
    }

    /// The place of an equal counter here.
    fn place_of(&self, counter: &LayoutCounter) -> Option<usize> {
        self.counters.iter().position(|own| own == counter)
    }
}

/// From the words and bits of one layout to those of another.
pub(in crate::shard) struct Translation {
    /// For each counter of the one layout its place in the other.
    places: Vec<Option<usize>>,
    from: Counters,
}

impl Translation {
    pub(super) fn new(from: &Layout, to: &Layout) -> Self {
        let places = from.counters.iter().map(|counter| to.place_of(counter)).collect();
        Self { places, from: Counters::new(&from.configured()) }
    }

    /// What the other layout still counts of a reservation of the one.
    pub(in crate::shard) fn reservation(&self, reservation: &Reservation) -> Reservation {
        let counted = |bit: usize| reservation.counters() & 1 << bit != 0;
        let places = self.places.iter().enumerate().filter(|(bit, _)| counted(*bit));
        let counters = places.filter_map(|(_, place)| *place).fold(0, |bits, to| bits | 1 << to);
        reservation.with_counters(counters)
    }

    /// The words of a line as the other layout has them; counters that only it has begin at nothing.
    /// False when they are of a time that has not come.
    pub(super) fn words(&self, to: &Counters, words: &[u64], out: &mut [u64]) -> bool {
        out.fill(0);
        for (place, &other) in self.places.iter().enumerate() {
            let (Some(from), Some(into)) =
                (self.from.place(place), other.and_then(|other| to.place(other)))
            else {
                continue;
            };
            let parts = &words[from.first..from.first + from.kept];
            out[into.first..into.first + into.kept].copy_from_slice(parts);
            into.set_stamp(out, from.stamp(words));
        }
        to.has_come(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str, window_s: u32) -> LayoutCounter {
        LayoutCounter {
            name: name.to_owned(),
            scope: VelocityScope::Card,
            window: VelocityWindow::Rolling { window_s, sub_windows: 2 },
            resets_on_pin: false,
        }
    }

    fn layout(counters: &[LayoutCounter]) -> Layout {
        Layout { lines: 64, counters: counters.to_vec(), scope_counters: Vec::new(), entities: 0 }
    }

    #[test]
    fn counters_are_known_by_name_and_shape() {
        let from = layout(&[counter("a", 60), counter("b", 60), counter("c", 120)]);
        let to = layout(&[counter("c", 120), counter("b", 90), counter("d", 60), counter("a", 60)]);
        let translation = Translation::new(&from, &to);
        let all = Reservation::new(0b111, 1_000, 5);
        let kept = translation.reservation(&all);
        assert_eq!((kept.counters(), kept.amount_minor(), kept.at_ms()), (0b1001, 5, 1_000));
        assert!(translation.reservation(&Reservation::new(0b010, 1, 5)).is_empty());

        // Stamps 7 and 9, parts of a, b and c.
        let words = [9 << 32 | 7, 1, 2, 3, 4, 5, 6, 10, 20, 30];
        let mut out = [u64::MAX; 14];
        let mut counters = Counters::new(&to.configured());
        assert!(!translation.words(&counters, &words, &mut out), "parts 7 and 9 have not come");
        counters.advance(1_000_000);
        assert!(translation.words(&counters, &words, &mut out));
        // Stamps of 120 s, 90 s, 60 s; parts of c, b, then d and a.
        let expected = [9, 7, 10, 20, 30, 0, 0, 0, 0, 0, 0, 1, 2, 3];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_layout_survives_its_text() {
        let mut layout = layout(&[counter("a", 60)]);
        layout.counters.push(LayoutCounter {
            window: VelocityWindow::Day { zone_offset_minutes: 480 },
            resets_on_pin: true,
            ..counter("day", 1)
        });
        let text = serde_json::to_string(&layout).unwrap();
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
    }
}

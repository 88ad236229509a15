//! Values of one section against their ranges, each mistake named with its key.

use crate::config::file::Found;
use crate::config::problem::{Problems, nearest_cause, quoted};
use crate::config::{PEERS_MAX, PeerError, PeerNet, Peers};
use core::ops::RangeInclusive;

/// A section while it is checked: where problems go, and how it is called in them.
pub(super) struct Section<'p, 't> {
    pub(super) problems: &'p mut Problems<'t>,
    pub(super) path: String,
    /// Byte offset of its name; `None` when the file does not have it.
    pub(super) at: Option<usize>,
}

impl<'p, 't> Section<'p, 't> {
    pub(super) fn new(
        problems: &'p mut Problems<'t>,
        path: impl Into<String>,
        at: Option<usize>,
    ) -> Self {
        Self { problems, path: path.into(), at }
    }

    pub(super) fn error(
        &mut self,
        at: Option<usize>,
        key: &str,
        message: impl Into<String>,
        likely_cause: impl Into<String>,
    ) {
        let path = self.key(key);
        self.problems.error(at.or(self.at), &path, message, likely_cause);
    }

    pub(super) fn warning(
        &mut self,
        at: Option<usize>,
        key: &str,
        message: impl Into<String>,
        likely_cause: impl Into<String>,
    ) {
        let path = self.key(key);
        self.problems.warning(at.or(self.at), &path, message, likely_cause);
    }

    fn key(&self, key: &str) -> String {
        if key.is_empty() { self.path.clone() } else { format!("{}.{key}", self.path) }
    }

    /// A value that must be there.
    pub(super) fn required<'f, T>(
        &mut self,
        key: &str,
        found: &'f Option<Found<T>>,
    ) -> Option<&'f Found<T>> {
        if found.is_none() {
            self.error(None, key, "is missing", "no default can be guessed for it here");
        }
        found.as_ref()
    }

    /// A number in its range; the range's start when there is no such number.
    pub(super) fn number<T: TryFrom<i64> + Default>(
        &mut self,
        key: &str,
        found: &Option<Found<i64>>,
        range: RangeInclusive<i64>,
    ) -> T {
        let value = self.required(key, found).map(|found| self.ranged(key, found, &range));
        T::try_from(value.unwrap_or(*range.start())).unwrap_or_default()
    }

    /// A number that may be missing.
    pub(super) fn number_if_any<T: TryFrom<i64> + Default>(
        &mut self,
        key: &str,
        found: &Option<Found<i64>>,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
        let value = found.as_ref().map(|found| self.ranged(key, found, &range))?;
        Some(T::try_from(value).unwrap_or_default())
    }

    fn ranged(&mut self, key: &str, found: &Found<i64>, range: &RangeInclusive<i64>) -> i64 {
        if range.contains(&found.value) {
            return found.value;
        }
        let (from, to) = (range.start(), range.end());
        let message = format!("{} is outside {from} to {to}", found.value);
        self.error(found.at, key, message, cause_of_range(key, found.value, range));
        *from
    }

    /// A number that must be a power of two.
    pub(super) fn power_of_two<T: TryFrom<i64> + Default>(
        &mut self,
        key: &str,
        found: &Option<Found<i64>>,
        range: RangeInclusive<i64>,
    ) -> T {
        if let Some(Found { value, at }) = found
            && range.contains(value)
            && value.count_ones() != 1
        {
            let above = u64::try_from(*value).unwrap_or_default().next_power_of_two();
            let cause = format!("the nearest are {} and {above}", above / 2);
            self.error(*at, key, format!("{value} is not a power of two"), cause);
        }
        self.number(key, found, range)
    }

    /// Numbers in their range; those outside are named and left out.
    pub(super) fn numbers<T: TryFrom<i64>>(
        &mut self,
        key: &str,
        found: &Option<Found<Vec<i64>>>,
        range: RangeInclusive<i64>,
    ) -> Vec<T> {
        let Some(found) = found else { return Vec::new() };
        let mut values = Vec::with_capacity(found.value.len());
        for &value in &found.value {
            match T::try_from(value) {
                Ok(number) if range.contains(&value) => values.push(number),
                _ => {
                    let (from, to) = (range.start(), range.end());
                    let message = format!("{value} is outside {from} to {to}");
                    self.error(found.at, key, message, cause_of_range(key, value, &range));
                }
            }
        }
        values
    }

    /// Addresses and networks; nothing: anybody.
    pub(super) fn peers(&mut self, key: &str, found: &Option<Found<Vec<String>>>) -> Peers {
        let Some(found) = found else { return Peers::default() };
        let mut nets = Vec::with_capacity(found.value.len());
        for text in &found.value {
            match PeerNet::parse(text) {
                Ok(net) => nets.push(net),
                Err(PeerError::Form) => {
                    let message = format!("`{}` is no IP address or network", quoted(text));
                    self.error(found.at, key, message, "as in 10.1.2.3, 10.1.0.0/16 or fd00::/8");
                }
                Err(PeerError::HostBits) => {
                    let message = format!("`{}` has bits behind its length", quoted(text));
                    let cause = "an address and its network's length; write either";
                    self.error(found.at, key, message, cause);
                }
            }
        }
        Peers::new(&nets).unwrap_or_else(|| {
            let message = format!("there are {}; at most {PEERS_MAX}", nets.len());
            self.error(found.at, key, message, "name a network that has several of them");
            Peers::default()
        })
    }

    /// Two numbers, the first not above the second.
    pub(super) fn span(
        &mut self,
        key: &str,
        found: &Option<Found<Vec<i64>>>,
        range: RangeInclusive<i64>,
    ) -> (u64, u64) {
        let Some(list) = self.required(key, found) else { return (0, 0) };
        let at = list.at;
        if list.value.len() != 2 {
            self.error(at, key, "must be two numbers: from and to", "as in [1_000, 2_000]");
        }
        let values: Vec<u64> = self.numbers(key, found, range);
        let &[from, to] = values.as_slice() else { return (0, 0) };
        if from > to {
            let message = format!("starts at {from}, above its end {to}");
            self.error(at, key, message, "from and to are swapped");
        }
        (from, to)
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(
        &mut self,
        key: &str,
        found: &Option<Found<String>>,
        known: &[(&str, T)],
    ) -> Option<T> {
        let found = self.required(key, found)?;
        let meaning = known.iter().find(|(word, _)| *word == found.value);
        if meaning.is_none() {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            let message =
                format!("unknown `{}`; known are {}", quoted(&found.value), words.join(", "));
            let near = nearest_cause(&found.value, &words);
            let cause = if near.starts_with("did") { near } else { String::new() };
            self.error(found.at, key, message, cause);
        }
        meaning.map(|(_, meaning)| meaning.clone())
    }
}

/// What commonly puts a number outside its range.
fn cause_of_range(key: &str, value: i64, range: &RangeInclusive<i64>) -> &'static str {
    let (from, to) = (*range.start(), *range.end());
    match key.rsplit('_').next() {
        _ if value < 0 && from >= 0 => "a minus sign too many",
        Some("ms") if value < from && value.saturating_mul(1_000) <= to => {
            "seconds written where milliseconds are meant"
        }
        Some("s") if value > to && value / 1_000 >= from => {
            "milliseconds written where seconds are meant"
        }
        Some("nav") if (1..=100).contains(&value) => "ten-thousandths: 1 CNY a unit is 10_000",
        Some("ppm") if value > to => "a rate is parts of a million: 1 % is 10_000",
        _ => "",
    }
}

//! Requests that wait for their response, found by trace number.
//!
//! Invariants: a request is in exactly one slot, and its trace number's entry names that slot; the
//! slots in use are linked in the order of asking, so that the oldest is at hand. When a request has
//! left, its trace number's entry remembers how, and of which second it was, until the number is
//! used again: so a second response is told from one to something never asked.

use crate::numbers::STAN_COUNT;
use crate::permutation::scramble;
use crate::transaction::Transaction;

/// No slot.
const NONE: u32 = u32::MAX;

/// A request that waits.
#[derive(Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) transaction: Transaction,
    /// The connection it was asked on.
    pub(crate) connection: u32,
    /// When it should have been sent.
    pub(crate) intended_ns: u64,
    /// When it was.
    pub(crate) written_ns: u64,
}

struct Slot {
    waiting: Option<Waiting>,
    older: u32,
    newer: u32,
}

/// What is known about a trace number: two bits say what, the other 30 which slot or which second.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry(u32);

const VALUE_MASK: u32 = (1 << 30) - 1;

/// How a request left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// With its response.
    Answered,
    /// At its deadline, or with its connection.
    GivenUp,
}

impl Entry {
    const UNUSED: Self = Self(0);

    const fn waiting(slot: u32) -> Self {
        Self(1 << 30 | slot & VALUE_MASK)
    }

    const fn left(how: Left, mark: u32) -> Self {
        let state = match how {
            Left::Answered => 2,
            Left::GivenUp => 3,
        };
        Self(state << 30 | mark)
    }

    const fn slot(self) -> Option<u32> {
        if self.0 >> 30 == 1 { Some(self.0 & VALUE_MASK) } else { None }
    }
}

/// DE 7 in 30 bits.
#[inline]
fn mark(transmission: &[u8; 10]) -> u32 {
    let number = transmission.iter().fold(0u64, |number, &byte| number * 16 + u64::from(byte & 15));
    // The low bits of a scrambled word are as good as any.
    (scramble(number) as u32) & VALUE_MASK
}

/// What a response's trace number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A request that waits, in this slot.
    Waiting(u32),
    /// A request of this second that has had its response.
    Answered,
    /// A request of this second that was given up.
    GivenUp,
    /// Nothing that was asked.
    Nothing,
}

/// The requests in flight.
pub(crate) struct InFlight {
    slots: Vec<Slot>,
    free: Vec<u32>,
    entries: Vec<Entry>,
    oldest: u32,
    newest: u32,
}

impl InFlight {
    /// Room for `window` requests.
    pub(crate) fn new(window: u32) -> Self {
        assert!(window < VALUE_MASK, "Invariant: a slot's number fits its entry");
        let slot = |_| Slot { waiting: None, older: NONE, newer: NONE };
        Self {
            slots: (0..window).map(slot).collect(),
            free: (0..window).rev().collect(),
            entries: vec![Entry::UNUSED; STAN_COUNT as usize],
            oldest: NONE,
            newest: NONE,
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether this trace number waits.
    #[inline]
    pub(crate) fn has(&self, stan: u32) -> bool {
        self.entries[stan as usize].slot().is_some()
    }

    /// Puts a request in; gives its slot, or `None` when the window is full.
    #[inline]
    pub(crate) fn insert(&mut self, waiting: Waiting) -> Option<u32> {
        let stan = waiting.transaction.stan as usize;
        assert!(self.entries[stan].slot().is_none(), "Invariant: a trace number waits once");
        let place = self.free.pop()?;
        let slot = &mut self.slots[place as usize];
        *slot = Slot { waiting: Some(waiting), older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = place,
            newest => self.slots[newest as usize].newer = place,
        }
        self.newest = place;
        self.entries[stan] = Entry::waiting(place);
        Some(place)
    }

    /// Notes when the request in this slot was written.
    #[inline]
    pub(crate) fn set_written(&mut self, place: u32, written_ns: u64) {
        if let Some(waiting) = &mut self.slots[place as usize].waiting {
            waiting.written_ns = written_ns;
        }
    }

    /// What this trace number of this second stands for.
    #[inline]
    pub(crate) fn find(&self, stan: u32, transmission: &[u8; 10]) -> Found {
        let Some(&entry) = self.entries.get(stan as usize) else { return Found::Nothing };
        if let Some(slot) = entry.slot() {
            return Found::Waiting(slot);
        }
        let mark = mark(transmission);
        if entry == Entry::left(Left::Answered, mark) {
            Found::Answered
        } else if entry == Entry::left(Left::GivenUp, mark) {
            Found::GivenUp
        } else {
            Found::Nothing
        }
    }

    /// The request in this slot.
    #[inline]
    pub(crate) fn waiting(&self, place: u32) -> Option<&Waiting> {
        self.slots.get(place as usize)?.waiting.as_ref()
    }

    /// Takes the request out of this slot.
    #[inline]
    pub(crate) fn take(&mut self, place: u32, how: Left) -> Option<Waiting> {
        let slot = &mut self.slots[place as usize];
        let waiting = slot.waiting.take()?;
        let (older, newer) = (slot.older, slot.newer);
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
        let transaction = &waiting.transaction;
        let entry = &mut self.entries[transaction.stan as usize];
        assert!(*entry == Entry::waiting(place), "Invariant: an entry names its request's slot");
        *entry = Entry::left(how, mark(&transaction.transmission));
        self.free.push(place);
        Some(waiting)
    }

    /// The request that has waited longest.
    #[inline]
    pub(crate) fn oldest(&self) -> Option<(u32, &Waiting)> {
        let waiting = self.slots.get(self.oldest as usize)?.waiting.as_ref()?;
        Some((self.oldest, waiting))
    }

    /// The requests that wait on this connection, oldest first.
    pub(crate) fn on_connection(&self, connection: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut place = self.oldest;
        while let Some(slot) = self.slots.get(place as usize) {
            if slot.waiting.as_ref().is_some_and(|waiting| waiting.connection == connection) {
                found.push(place);
            }
            place = slot.newer;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LoadDialect, LoadPlan};
    use crate::stamp::Stamp;
    use crate::transaction::TransactionSource;
    use std::net::SocketAddr;

    /// Requests with trace numbers from 1, all of one second.
    fn requests(count: u32) -> Vec<Waiting> {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        let plan = LoadPlan { cards: 100, ..LoadPlan::new(target, LoadDialect::Cups) };
        let mut source = TransactionSource::new(&plan).unwrap();
        let request = |number| Waiting {
            transaction: source.next(&Stamp::at(1), |_| false).unwrap(),
            connection: number % 2,
            intended_ns: 0,
            written_ns: 0,
        };
        (0..count).map(request).collect()
    }

    #[test]
    fn a_number_is_known_by_how_it_left() {
        let second = Stamp::at(1).transmission;
        let other = Stamp::at(2).transmission;
        let mut in_flight = InFlight::new(4);
        assert_eq!(in_flight.find(1, &second), Found::Nothing);
        let places: Vec<u32> =
            requests(3).iter().map(|request| in_flight.insert(*request).unwrap()).collect();
        assert_eq!(in_flight.find(1, &second), Found::Waiting(places[0]));
        assert!(in_flight.take(places[0], Left::Answered).is_some());
        assert!(in_flight.take(places[1], Left::GivenUp).is_some());
        assert_eq!(in_flight.find(1, &second), Found::Answered);
        assert_eq!(in_flight.find(1, &other), Found::Nothing, "asked in another second");
        assert_eq!(in_flight.find(2, &second), Found::GivenUp);
        assert_eq!(in_flight.find(1_000_000, &second), Found::Nothing);
        assert!(in_flight.take(places[0], Left::Answered).is_none(), "it has left");
        assert_eq!(in_flight.count(), 1);
    }

    #[test]
    fn the_oldest_is_at_hand_whoever_leaves() {
        let mut in_flight = InFlight::new(5);
        let places: Vec<u32> =
            requests(5).iter().map(|request| in_flight.insert(*request).unwrap()).collect();
        let oldest = |in_flight: &InFlight| {
            in_flight.oldest().map(|(place, waiting)| (place, waiting.transaction.stan))
        };
        assert!(in_flight.insert(requests(6)[5]).is_none(), "the window is full");
        assert_eq!(in_flight.on_connection(1), [places[1], places[3]]);
        // From the middle, the end, the beginning.
        for (gone, rest) in [(2, Some(1)), (4, Some(1)), (0, Some(2)), (1, Some(4)), (3, None)] {
            in_flight.take(places[gone], Left::Answered);
            assert_eq!(oldest(&in_flight).map(|(_, stan)| stan), rest);
        }
        assert_eq!(in_flight.count(), 0);
    }
}

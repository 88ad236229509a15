//! Open pre-authorizations: holds that a later completion (DE 25 06 on a purchase, the same card,
//! DE 38 and DE 42) turns into money. Kept for 30 days, on their own, because answers are remembered
//! for seconds. A completion takes the place of its hold: what it is less by is taken back from the
//! card's limits, and it is never counted beside it.
//!
//! Every place is taken by time, so that a restart makes the same table. Not here: what a limit is,
//! and issuers, which decide about the money.

use super::duplicate::DuplicateKey;
use super::identity::{CardKey, IssuerId};
use super::velocity::Reservation;
use core::ops::Range;

/// How long a hold may be completed.
const OPEN_MS: u64 = 30 * 24 * 3_600_000;
/// Places looked at for expired holds each time that one is opened.
const SWEPT_PER_OPEN: usize = 2;
/// A completion may be so many percent of its hold (UnionPay).
const COMPLETION_PERCENT_MAX: u128 = 115;
const NONE: u32 = u32::MAX;

/// What names a hold to a completion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HoldName {
    /// Its card.
    pub card: CardKey,
    /// DE 38 of its approval.
    pub approval: [u8; 6],
    /// DE 42.
    pub merchant: [u8; 15],
}

/// An approved pre-authorization.
#[derive(Clone, Copy)]
pub struct Hold {
    /// Under which its request is remembered.
    pub key: DuplicateKey,
    /// What a completion calls it.
    pub name: HoldName,
    /// What was approved.
    pub amount_minor: u64,
    /// What is counted for it.
    pub reservation: Reservation,
    /// When it was approved, UTC milliseconds.
    pub opened_ms: u64,
    /// Who holds the money; records of earlier programs do not say.
    pub issuer: Option<IssuerId>,
    /// The completion that was approved.
    pub completed_by: Option<DuplicateKey>,
}

impl Hold {
    fn is_over(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.opened_ms) > OPEN_MS
    }
}

/// Whether a completion of this amount fits a hold of that.
pub(super) fn takes(held_minor: u64, amount_minor: u64) -> bool {
    u128::from(amount_minor) * 100 <= u128::from(held_minor) * COMPLETION_PERCENT_MAX
}

struct Entry {
    hold: Hold,
    next: u32,
}

/// Memory that room for one takes, its places in lists included.
pub const HOLD_BYTES: usize = size_of::<Option<Entry>>() + 2 * size_of::<u32>();

/// All of a shard's, by card.
pub(super) struct Preauthorizations {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    buckets: Vec<u32>,
    swept: usize,
    /// No place from here on was ever taken.
    taken_below: usize,
}

impl Preauthorizations {
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            entries: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
            buckets: vec![NONE; (count as usize).next_power_of_two().max(1)],
            swept: 0,
            taken_below: 0,
        }
    }

    fn bucket(&self, card: CardKey) -> usize {
        let [_, high] = card.words();
        // The number of buckets is a power of two.
        high as usize & (self.buckets.len() - 1)
    }

    /// How many take a place.
    pub(super) fn open_count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether one more can be opened; requests in flight may each open one.
    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        self.free.len() > in_flight
    }

    /// The open ones of a card, and those completed that may be opened again.
    fn of_card(&self, card: CardKey) -> impl Iterator<Item = (u32, &Hold)> {
        let mut place = self.buckets.get(self.bucket(card)).copied().unwrap_or(NONE);
        let mut steps = self.entries.len();
        core::iter::from_fn(move || {
            steps = steps.checked_sub(1)?;
            let entry = self.entries.get(place as usize)?.as_ref()?;
            let found = (place, &entry.hold);
            place = entry.next;
            Some(found)
        })
        .filter(move |(_, hold)| hold.name.card == card)
    }

    /// The hold that a completion means: the newest open one of that name.
    pub(super) fn find(&self, name: &HoldName, now_ms: u64) -> Option<&Hold> {
        let fits = |hold: &&Hold| {
            hold.name == *name && hold.completed_by.is_none() && !hold.is_over(now_ms)
        };
        self.of_card(name.card).map(|(_, hold)| hold).find(fits)
    }

    /// All open ones of that name: a pre-authorization and its increases. What they hold together.
    pub(super) fn held_minor(&self, name: &HoldName, now_ms: u64) -> u64 {
        let of_name = |hold: &&Hold| {
            hold.name == *name && hold.completed_by.is_none() && !hold.is_over(now_ms)
        };
        let held = self.of_card(name.card).map(|(_, hold)| hold).filter(of_name);
        held.fold(0, |sum, hold| sum.saturating_add(hold.amount_minor))
    }

    /// One more that belongs to the hold of this key, and is open.
    pub(super) fn sibling(&self, card: CardKey, key: &DuplicateKey) -> Option<&Hold> {
        let name = self.of_card(card).find(|(_, hold)| hold.key == *key)?.1.name;
        let is =
            |hold: &&Hold| hold.name == name && hold.key != *key && hold.completed_by.is_none();
        self.of_card(card).map(|(_, hold)| hold).find(is)
    }

    /// A hold that this completion completed.
    pub(super) fn completed_by(&mut self, card: CardKey, by: &DuplicateKey) -> Option<&mut Hold> {
        let is = |hold: &Hold| hold.completed_by == Some(*by);
        let place = self.of_card(card).find(|(_, hold)| is(hold)).map(|(place, _)| place)?;
        self.entries.get_mut(place as usize)?.as_mut().map(|entry| &mut entry.hold)
    }

    /// Opens a hold; one of the same key is replaced. Callers keep room.
    pub(super) fn open(&mut self, now_ms: u64, hold: Hold) {
        self.sweep(now_ms);
        self.close(hold.name.card, &hold.key);
        let bucket = self.bucket(hold.name.card);
        let place = self.free.pop().expect("Invariant: room is kept for every hold");
        self.taken_below = self.taken_below.max(place as usize + 1);
        let next = core::mem::replace(&mut self.buckets[bucket], place);
        self.entries[place as usize] = Some(Entry { hold, next });
    }

    /// The hold of a request, or the one that a completion completed.
    pub(super) fn of_key(&mut self, card: CardKey, key: &DuplicateKey) -> Option<&mut Hold> {
        let is = |hold: &Hold| hold.key == *key || hold.completed_by == Some(*key);
        let place = self.of_card(card).find(|(_, hold)| is(hold)).map(|(place, _)| place)?;
        self.entries.get_mut(place as usize)?.as_mut().map(|entry| &mut entry.hold)
    }

    /// A hold is voided or reversed.
    pub(super) fn close(&mut self, card: CardKey, key: &DuplicateKey) {
        let found = self.of_card(card).find(|(_, hold)| hold.key == *key).map(|(place, _)| place);
        if let Some(place) = found {
            self.remove(place);
        }
    }

    /// Gives up what is over, a few places at a time.
    fn sweep(&mut self, now_ms: u64) {
        for _ in 0..SWEPT_PER_OPEN.min(self.entries.len()) {
            let place = self.swept;
            self.swept = (place + 1) % self.entries.len();
            let entry = self.entries.get(place).and_then(Option::as_ref);
            if entry.is_some_and(|entry| entry.hold.is_over(now_ms)) {
                self.remove(place as u32);
            }
        }
    }

    fn remove(&mut self, place: u32) {
        let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        let bucket = self.bucket(entry.hold.name.card);
        let mut at = self.buckets[bucket];
        if at == place {
            self.buckets[bucket] = entry.next;
        } else {
            while let Some(before) = self.entries.get_mut(at as usize).and_then(Option::as_mut) {
                if before.next == place {
                    before.next = entry.next;
                    break;
                }
                at = before.next;
            }
        }
        self.free.push(place);
    }

    /// Those of some places, for a snapshot.
    pub(super) fn within(&self, places: Range<usize>) -> impl Iterator<Item = &Hold> {
        let places = places.start..places.end.min(self.taken_below);
        let entries = self.entries.get(places).unwrap_or_default().iter();
        entries.filter_map(|entry| Some(&entry.as_ref()?.hold))
    }

    /// How many there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// No place from here on was ever taken.
    pub(super) fn taken_below(&self) -> usize {
        self.taken_below
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(card: u8, number: u8, opened_ms: u64) -> Hold {
        let name = HoldName {
            card: CardKey([card; 16]),
            approval: [b'0' + number; 6],
            merchant: *b"333290054110001",
        };
        let key = DuplicateKey([number; 16]);
        let reservation = Reservation::default();
        Hold {
            key,
            name,
            amount_minor: 1_000,
            reservation,
            opened_ms,
            issuer: None,
            completed_by: None,
        }
    }

    #[test]
    fn a_hold_is_found_by_its_name_while_it_is_open() {
        let mut holds = Preauthorizations::new(8);
        for number in 1..4 {
            holds.open(0, hold(1, number, 0));
        }
        let second = hold(1, 2, 0);
        assert!(holds.find(&second.name, 1).unwrap().key == second.key);
        let elsewhere = HoldName { merchant: *b"333290054110002", ..second.name };
        assert!(holds.find(&elsewhere, 1).is_none());
        assert!(holds.find(&second.name, OPEN_MS + 1).is_none(), "30 days are over");
        let completion = DuplicateKey([99; 16]);
        holds.of_key(second.name.card, &second.key).unwrap().completed_by = Some(completion);
        assert!(holds.find(&second.name, 1).is_none(), "completed once");
        let reopened = holds.of_key(second.name.card, &completion).unwrap();
        reopened.completed_by = None;
        assert!(holds.find(&second.name, 1).is_some());
        holds.close(second.name.card, &second.key);
        assert!(holds.find(&second.name, 1).is_none());
        assert!(holds.find(&hold(1, 1, 0).name, 1).is_some() && holds.within(0..8).count() == 2);
    }

    #[test]
    fn expired_holds_make_room() {
        let mut holds = Preauthorizations::new(8);
        for number in 0..8 {
            holds.open(0, hold(number, number, 0));
        }
        assert!(!holds.has_room(0));
        for place in 0..4 {
            // Time passes; every opening looks at two places.
            holds.sweep(OPEN_MS + 1 + place);
        }
        assert!(holds.has_room(7));
    }

    #[test]
    fn a_completion_may_be_fifteen_percent_more() {
        assert!(takes(1_000, 1_150) && !takes(1_000, 1_151) && takes(1_000, 0));
        assert!(!takes(1_000, u64::MAX));
    }
}

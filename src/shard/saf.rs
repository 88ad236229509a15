//! Store and forward: reversals and advices owed to issuers, in memory, bounded. What is owed is
//! sent again, unchanged, until the issuer acknowledges it.
//!
//! Order is kept per card by lanes: a card belongs to one of 65,536 lanes, and of each lane only
//! the oldest entry is under way. Not here: durability (every entry is a record first), alarms, rate
//! limits.

use super::identity::{AcquirerId, CardKey, IssuerId};
use super::journal_record::OwedId;
use super::kept::KeptRef;
use super::owed_age::OwedAges;
use crate::limits::ISSUERS_MAX;
use tapswitch_protocol::{Mti, Stan, TransmissionTime};

/// First wait before sending again; doubled each time.
const RESEND_MS_MIN: u64 = 5_000;
/// Longest wait before sending again.
const RESEND_MS_MAX: u64 = 300_000;
const LANES: usize = 65_536;
const NONE: u32 = u32::MAX;

/// A message owed to an issuer.
pub(super) struct Owed {
    /// Its number; entries of a lane are in the order of their numbers.
    pub(super) number: u64,
    pub(super) issuer: IssuerId,
    /// Whose dialect it is in.
    pub(super) acquirer: AcquirerId,
    pub(super) card: CardKey,
    pub(super) mti: Mti,
    /// Its elements, without those of the card and DE 7 and 11.
    pub(super) fields: KeptRef,
    /// Its number on the issuer leg, once sent.
    pub(super) sent: Option<(Stan, TransmissionTime)>,
    /// The minute since 1970 in which it became owed.
    pub(super) since_min: u32,
    /// How often it was sent by this process.
    pub(super) tries: u32,
    next: u32,
}

impl Owed {
    pub(super) fn new(
        number: u64,
        (issuer, acquirer): (IssuerId, AcquirerId),
        card: CardKey,
        mti: Mti,
        fields: KeptRef,
    ) -> Self {
        Self {
            number,
            issuer,
            acquirer,
            card,
            mti,
            fields,
            sent: None,
            since_min: 0,
            tries: 0,
            next: NONE,
        }
    }
}

/// All that is owed.
pub(super) struct Saf {
    entries: Vec<Option<Owed>>,
    free: Vec<u32>,
    heads: Vec<u32>,
    tails: Vec<u32>,
    next_number: u64,
    newest_place: u32,
    ages: OwedAges,
    by_issuer: [u32; ISSUERS_MAX],
}

impl Saf {
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            entries: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
            heads: vec![NONE; LANES],
            tails: vec![NONE; LANES],
            next_number: 1,
            newest_place: NONE,
            ages: OwedAges::new(),
            by_issuer: [0; ISSUERS_MAX],
        }
    }

    fn lane(card: CardKey) -> usize {
        let [_, high] = card.words();
        (high % LANES as u64) as usize
    }

    /// What the next entry will be; `None` when full.
    pub(super) fn next_id(&self) -> Option<OwedId> {
        Some(OwedId { number: self.next_number, place: *self.free.last()? })
    }

    /// Adds the newest entry, at `place` if that is free. Returns its place, and whether it is the
    /// oldest of its lane (send it now). Callers keep room: they refuse new work while
    /// [`Saf::has_room`] says no.
    pub(super) fn push(&mut self, place: u32, owed: Owed) -> Option<(u32, bool)> {
        let place = self.take_place(place)?;
        self.next_number = self.next_number.max(owed.number + 1);
        self.newest_place = place;
        self.ages.add(owed.since_min);
        if let Some(count) = self.by_issuer.get_mut(usize::from(owed.issuer.0)) {
            *count += 1;
        }
        let lane = Self::lane(owed.card);
        *self.entries.get_mut(place as usize)? = Some(owed);
        let tail = core::mem::replace(self.tails.get_mut(lane)?, place);
        match self.get_mut(tail) {
            Some(before) => {
                before.next = place;
                Some((place, false))
            }
            None => {
                *self.heads.get_mut(lane)? = place;
                Some((place, true))
            }
        }
    }

    /// `place` while the shard serves; while it recovers that may be taken.
    fn take_place(&mut self, place: u32) -> Option<u32> {
        if self.free.last() == Some(&place) {
            return self.free.pop();
        }
        let at = self.free.iter().rposition(|&free| free == place);
        match at {
            Some(at) => Some(self.free.swap_remove(at)),
            None => self.free.pop(),
        }
    }

    /// How many there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The number of the next entry.
    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The entry added last, while it is owed.
    pub(super) fn newest(&self) -> Option<&Owed> {
        let entry = self.entries.get(self.newest_place as usize)?.as_ref()?;
        (entry.number + 1 == self.next_number).then_some(entry)
    }

    /// Where an entry is.
    pub(super) fn find(&self, id: OwedId) -> Option<u32> {
        let is = |entry: &Option<Owed>| entry.as_ref().is_some_and(|owed| owed.number == id.number);
        if self.entries.get(id.place as usize).is_some_and(is) {
            return Some(id.place);
        }
        // Only an entry of an older start may lie elsewhere.
        self.entries.iter().position(is).map(|place| place as u32)
    }

    /// Whether an entry is under way or may be: the oldest of its lane.
    pub(super) fn is_oldest(&self, place: u32) -> bool {
        let owed = self.entries.get(place as usize).and_then(Option::as_ref);
        owed.is_some_and(|owed| self.heads.get(Self::lane(owed.card)) == Some(&place))
    }

    /// The entries from `place` on.
    pub(super) fn from(&self, place: u32) -> impl Iterator<Item = (u32, &Owed)> {
        let entries = self.entries.iter().enumerate().skip(place as usize);
        entries.filter_map(|(place, owed)| Some((place as u32, owed.as_ref()?)))
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Owed> {
        self.entries.get_mut(place as usize).and_then(Option::as_mut)
    }

    /// What was sent to this issuer, or was to be, and is not acknowledged: the oldest of each lane.
    /// The next try of each is as soon after it as a first one's.
    pub(super) fn places_of(&mut self, issuer: IssuerId) -> impl Iterator<Item = u32> {
        let Self { entries, heads, .. } = self;
        (0..).zip(entries).filter_map(move |(place, entry)| {
            let owed = entry.as_mut().filter(|owed| owed.issuer == issuer)?;
            if heads.get(Self::lane(owed.card)) != Some(&place) {
                return None;
            }
            owed.tries = owed.tries.min(1);
            Some(place)
        })
    }

    /// Takes out an acknowledged entry (the oldest of its lane: no other is ever under way).
    /// Returns it and the next of its lane, to be sent now.
    pub(super) fn remove(&mut self, place: u32) -> Option<(Owed, Option<u32>)> {
        let owed = self.entries.get_mut(place as usize)?.take()?;
        self.ages.remove(owed.since_min);
        if let Some(count) = self.by_issuer.get_mut(usize::from(owed.issuer.0)) {
            *count -= 1;
        }
        let lane = Self::lane(owed.card);
        let head = self.heads.get_mut(lane)?;
        assert!(*head == place, "Invariant: only the oldest entry of a lane is under way");
        *head = owed.next;
        if owed.next == NONE {
            *self.tails.get_mut(lane)? = NONE;
        }
        self.free.push(place);
        let next = (owed.next != NONE).then_some(owed.next);
        Some((owed, next))
    }

    /// How many are owed to an issuer.
    pub(super) fn owed_to(&self, issuer: IssuerId) -> u64 {
        self.by_issuer.get(usize::from(issuer.0)).copied().map_or(0, u64::from)
    }

    /// The minute since 1970 since which the oldest is owed.
    pub(super) fn oldest_min(&self) -> Option<u32> {
        self.ages.oldest()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether `more` entries fit beside those of requests in flight, each of which may yet be owed
    /// a reversal.
    pub(super) fn has_room(&self, in_flight: usize) -> bool {
        self.free.len() > in_flight
    }
}

/// How long to wait after the given number of sends: doubling, capped, spread by ±20 % so that an
/// issuer that comes back is not flooded at one moment.
pub(super) fn resend_after_ms(tries: u32, spread: u64) -> u64 {
    let wait = RESEND_MS_MIN.saturating_mul(1 << tries.saturating_sub(1).min(16));
    let wait = wait.min(RESEND_MS_MAX);
    wait * 4 / 5 + spread % (wait * 2 / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::kept::Kept;

    #[test]
    fn one_entry_of_a_card_at_a_time_in_order() {
        let mut kept = Kept::new(8);
        let mut saf = Saf::new(3);
        let mut push = |saf: &mut Saf, card: u8| {
            let fields = kept.store(&[card], &[]).unwrap();
            let id = saf.next_id()?;
            let whose = (IssuerId(0), AcquirerId(0));
            let card = CardKey([card; 16]);
            saf.push(id.place, Owed::new(id.number, whose, card, Mti::REVERSAL_ADVICE, fields))
        };
        let (first, now) = push(&mut saf, 1).unwrap();
        assert!(now);
        let (second, now) = push(&mut saf, 1).unwrap();
        assert!(!now);
        assert!(push(&mut saf, 2).unwrap().1, "another card does not wait");
        assert!(push(&mut saf, 3).is_none(), "full");
        assert!(!saf.has_room(0));
        assert_eq!(saf.remove(first).unwrap().1, Some(second));
        assert_eq!(saf.find(OwedId { number: 2, place: 0 }), Some(second), "wherever it lies");
        assert_eq!(saf.remove(second).unwrap().1, None);
        assert_eq!(saf.len(), 1);
        assert!(push(&mut saf, 1).unwrap().1);
    }

    #[test]
    fn waits_double_up_to_five_minutes() {
        assert_eq!(resend_after_ms(1, 1_000), 5_000);
        for spread in [0, 7, u64::MAX] {
            assert!((4_000..=6_000).contains(&resend_after_ms(1, spread)));
            assert!((8_000..=12_000).contains(&resend_after_ms(2, spread)));
            assert!((240_000..=360_000).contains(&resend_after_ms(40, spread)));
        }
    }
}

//! Store and forward: reversals and advices owed to issuers, in memory, bounded. What is owed is
//! sent again until the issuer acknowledges it.
//!
//! Order is kept per card and issuer by lanes: each issuer has its part of 65,536 lanes, a card one of
//! them, and of each lane only the oldest entry is under way. So nothing waits for an issuer that cannot
//! be told but what this one is owed. What an issuer refuses again and again is parked: it stays here for
//! an operator to look at, and no other entry waits for it. Not here: durability (every entry is a
//! record first), alarms, what an answer means (`acknowledgement`).

use super::identity::{AcquirerId, CardKey, IssuerId};
use super::journal_record::OwedId;
use super::kept::KeptRef;
use super::owed_age::OwedAges;
use crate::config::IssuerConfig;
use crate::limits::{PARKED_MAX, SAF_RATE_MAX};
use core::ops::Range;
use std::collections::BTreeMap;
use tapswitch_protocol::{Mti, ResponseCode, Stan, TransmissionTime};

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
    /// How often it was sent, as far as this process knows.
    pub(super) tries: u32,
    /// How often its issuer refused it, as far as this process knows.
    pub(super) refusals: u8,
    /// Given up with this code: it is not sent any more.
    pub(super) parked: Option<ResponseCode>,
    next: u32,
    /// Its neighbours among what is owed to its issuer.
    of_issuer: Links,
}

#[derive(Clone, Copy)]
struct Links {
    previous: u32,
    next: u32,
}

const UNLINKED: Links = Links { previous: NONE, next: NONE };

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
            refusals: 0,
            parked: None,
            next: NONE,
            of_issuer: UNLINKED,
        }
    }
}

/// What is owed to one issuer.
struct ToIssuer {
    /// The oldest and the newest entry that is not parked.
    head: u32,
    tail: u32,
    counts: OwedCounts,
    /// Between two messages after an outage.
    pace_ns: u64,
    /// When the next may be sent after an outage.
    next_at_ns: u64,
    /// Whether a message sent again says so in its MTI; `None`: as its dialect has it.
    marks_repeats: Option<bool>,
}

/// How many messages an issuer is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwedCounts {
    /// Sent until acknowledged.
    pub owed: u32,
    /// Refused again and again, and kept for an operator.
    pub parked: u32,
}

/// All that is owed.
pub(super) struct Saf {
    entries: Vec<Option<Owed>>,
    free: Vec<u32>,
    heads: Vec<u32>,
    tails: Vec<u32>,
    issuers: Vec<ToIssuer>,
    parked: usize,
    /// How often what is parked has changed.
    parked_changes: u64,
    next_number: u64,
    newest_place: u32,
    taken_below: u32,
    ages: OwedAges,
    /// While the shard recovers: where each entry is, by its number. Records name places of older
    /// starts, and most of what they name is gone.
    places: Option<BTreeMap<u64, u32>>,
}

impl Saf {
    pub(super) fn new(count: usize, issuers: &[IssuerConfig], shards: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let shards = u64::try_from(shards).unwrap_or(1);
        let to_issuer = |issuer: &IssuerConfig| ToIssuer {
            head: NONE,
            tail: NONE,
            counts: OwedCounts::default(),
            pace_ns: 1_000_000_000 * shards / u64::from(issuer.saf_rate.clamp(1, SAF_RATE_MAX)),
            next_at_ns: 0,
            marks_repeats: issuer.marks_repeats,
        };
        Self {
            entries: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
            heads: vec![NONE; LANES],
            tails: vec![NONE; LANES],
            // The last one is for what no issuer is known of, which is parked only.
            issuers: issuers.iter().chain(issuers.first()).map(to_issuer).collect(),
            parked: 0,
            parked_changes: 0,
            next_number: 1,
            newest_place: NONE,
            taken_below: 0,
            ages: OwedAges::new(),
            places: None,
        }
    }

    /// The shard begins to recover.
    pub(super) fn begin_recovery(&mut self) {
        let owed = self.within(0..self.taken_below);
        self.places = Some(owed.map(|(place, owed)| (owed.number, place)).collect());
    }

    /// It serves from now on: records name where entries are.
    pub(super) fn end_recovery(&mut self) {
        self.places = None;
    }

    /// Where an issuer's list is; of none, the last one.
    fn list(&self, issuer: IssuerId) -> usize {
        usize::from(issuer.0).min(self.issuers.len().saturating_sub(1))
    }

    fn lane(&self, issuer: IssuerId, card: CardKey) -> usize {
        let each = LANES / self.issuers.len().clamp(1, LANES);
        let [_, high] = card.words();
        self.list(issuer) * each + (high % each as u64) as usize
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
        self.taken_below = self.taken_below.max(place + 1);
        self.ages.add(owed.since_min);
        let (lane, issuer) = (self.lane(owed.issuer, owed.card), owed.issuer);
        if let Some(places) = &mut self.places {
            places.insert(owed.number, place);
        }
        *self.entries.get_mut(place as usize)? = Some(owed);
        self.link(place, issuer);
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

    /// Adds an entry to those of its issuer, as the newest.
    fn link(&mut self, place: u32, issuer: IssuerId) {
        let list = self.list(issuer);
        let Some(to) = self.issuers.get_mut(list) else { return };
        to.counts.owed += 1;
        let previous = core::mem::replace(&mut to.tail, place);
        if previous == NONE {
            to.head = place;
        }
        if let Some(before) = self.get_mut(previous) {
            before.of_issuer.next = place;
        }
        if let Some(owed) = self.get_mut(place) {
            owed.of_issuer = Links { previous, next: NONE };
        }
    }

    /// Takes an entry out of those of its issuer.
    fn unlink(&mut self, issuer: IssuerId, Links { previous, next }: Links) {
        match self.get_mut(previous) {
            Some(before) => before.of_issuer.next = next,
            None => self.to(issuer, |to| to.head = next),
        }
        match self.get_mut(next) {
            Some(after) => after.of_issuer.previous = previous,
            None => self.to(issuer, |to| to.tail = previous),
        }
        self.to(issuer, |to| to.counts.owed -= 1);
    }

    fn to(&mut self, issuer: IssuerId, change: impl FnOnce(&mut ToIssuer)) {
        let list = self.list(issuer);
        if let Some(to) = self.issuers.get_mut(list) {
            change(to);
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

    /// No place from here on was ever taken.
    pub(super) fn taken_below(&self) -> u32 {
        self.taken_below
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
        if let Some(places) = &self.places {
            return places.get(&id.number).copied();
        }
        // Only an entry of an older start may lie elsewhere.
        self.entries.iter().position(is).map(|place| place as u32)
    }

    /// Whether an entry is under way or may be: the oldest of its lane.
    pub(super) fn is_oldest(&self, place: u32) -> bool {
        let owed = self.entries.get(place as usize).and_then(Option::as_ref);
        owed.is_some_and(|owed| self.heads.get(self.lane(owed.issuer, owed.card)) == Some(&place))
    }

    /// The entries of some places, parked ones too.
    pub(super) fn within(&self, places: Range<u32>) -> impl Iterator<Item = (u32, &Owed)> {
        let (first, end) = (places.start, places.end.min(self.taken_below));
        let entries = self.entries.get(first as usize..end as usize).unwrap_or_default();
        (first..end).zip(entries).filter_map(|(place, owed)| Some((place, owed.as_ref()?)))
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Owed> {
        self.entries.get_mut(place as usize).and_then(Option::as_mut)
    }

    /// The issuer can be reached: what may be sent of it now, the oldest of each lane, comes one after
    /// another at the issuer's pace, each as soon again as a first one. `each` gets places and times.
    pub(super) fn catch_up(
        &mut self,
        issuer: IssuerId,
        now_ns: u64,
        mut each: impl FnMut(u32, u64),
    ) {
        let Some(to) = self.issuers.get(usize::from(issuer.0)) else { return };
        let (mut place, pace_ns) = (to.head, to.pace_ns);
        let mut at_ns = now_ns;
        while place != NONE {
            let is_oldest = self.is_oldest(place);
            let Some(owed) = self.get_mut(place) else { break };
            let next = owed.of_issuer.next;
            if is_oldest {
                owed.tries = owed.tries.min(1);
                each(place, at_ns);
                at_ns += pace_ns;
            }
            place = next;
        }
        self.to(issuer, |to| to.next_at_ns = at_ns);
    }

    /// When the entry that waited for another of its lane may be sent: now, unless its issuer is still
    /// being told what it missed.
    pub(super) fn turn_ns(&mut self, place: u32, now_ns: u64) -> u64 {
        let issuer = self.entries.get(place as usize).and_then(Option::as_ref).map(|it| it.issuer);
        let to = issuer.and_then(|issuer| self.issuers.get_mut(usize::from(issuer.0)));
        match to {
            Some(to) if to.next_at_ns > now_ns => {
                let at_ns = to.next_at_ns;
                to.next_at_ns += to.pace_ns;
                at_ns
            }
            _ => now_ns,
        }
    }

    /// Whether the issuer wants to be told that a message comes again; `None`: as its dialect has it.
    pub(super) fn marks_repeats(&self, issuer: IssuerId) -> Option<bool> {
        self.issuers.get(usize::from(issuer.0)).and_then(|to| to.marks_repeats)
    }

    /// Takes out an acknowledged entry. Returns it and, when it was the oldest of its lane, the next
    /// one, to be sent now.
    pub(super) fn remove(&mut self, place: u32) -> Option<(Owed, Option<u32>)> {
        let is_parked = self.entries.get(place as usize)?.as_ref()?.parked.is_some();
        let next = if is_parked { None } else { self.leave(place) };
        let owed = self.entries.get_mut(place as usize)?.take()?;
        if let Some(places) = &mut self.places {
            places.remove(&owed.number);
        }
        if is_parked {
            self.unpark(owed.issuer);
        }
        self.free.push(place);
        Some((owed, next))
    }

    /// Sets an entry aside, which stays here. Returns the next of its lane, to be sent now.
    pub(super) fn park(&mut self, place: u32, code: ResponseCode) -> Option<u32> {
        let owed = self.get_mut(place).filter(|owed| owed.parked.is_none())?;
        owed.parked = Some(code);
        let issuer = owed.issuer;
        self.parked += 1;
        self.parked_changes += 1;
        self.to(issuer, |to| to.counts.parked += 1);
        self.leave(place)
    }

    fn unpark(&mut self, issuer: IssuerId) {
        self.parked -= 1;
        self.parked_changes += 1;
        self.to(issuer, |to| to.counts.parked -= 1);
    }

    /// How often what is parked has changed.
    pub(super) fn parked_changes(&self) -> u64 {
        self.parked_changes
    }

    /// A parked entry is owed again, among those of its lane where its number has it. Tells whether it is
    /// the oldest of them, to be sent now; one that is under way stays so.
    pub(super) fn release(&mut self, place: u32) -> Option<bool> {
        let owed = self.get_mut(place).filter(|owed| owed.parked.is_some())?;
        (owed.parked, owed.refusals) = (None, 0);
        let (number, issuer, since_min) = (owed.number, owed.issuer, owed.since_min);
        let card = owed.card;
        let lane = self.lane(issuer, card);
        self.unpark(issuer);
        self.ages.add(since_min);
        self.link(place, issuer);
        let (mut before, mut after) = (NONE, *self.heads.get(lane)?);
        while let Some(entry) = self.get_mut(after).filter(|entry| entry.number < number) {
            (before, after) = (after, entry.next);
        }
        self.get_mut(place)?.next = after;
        match self.get_mut(before) {
            Some(entry) => entry.next = place,
            None => *self.heads.get_mut(lane)? = place,
        }
        if after == NONE {
            *self.tails.get_mut(lane)? = place;
        }
        Some(before == NONE)
    }

    /// Takes an entry out of its lane and its issuer's list. Returns the next of its lane, if it was
    /// the oldest.
    fn leave(&mut self, place: u32) -> Option<u32> {
        let owed = self.entries.get(place as usize)?.as_ref()?;
        let (lane, next) = (self.lane(owed.issuer, owed.card), owed.next);
        let (issuer, links, since_min) = (owed.issuer, owed.of_issuer, owed.since_min);
        self.unlink(issuer, links);
        self.ages.remove(since_min);
        let mut before = *self.heads.get(lane)?;
        let was_oldest = before == place;
        if was_oldest {
            *self.heads.get_mut(lane)? = next;
            before = NONE;
        } else {
            // Only where shards of another layout left several lanes in one.
            while let Some(entry) = self.get_mut(before) {
                if entry.next == place {
                    entry.next = next;
                    break;
                }
                before = entry.next;
            }
        }
        if next == NONE {
            *self.tails.get_mut(lane)? = before;
        }
        if let Some(owed) = self.get_mut(place) {
            (owed.next, owed.of_issuer) = (NONE, UNLINKED);
        }
        (was_oldest && next != NONE).then_some(next)
    }

    /// Whether one more may be set aside.
    pub(super) fn has_room_to_park(&self) -> bool {
        self.parked < PARKED_MAX
    }

    /// What is owed to one issuer.
    pub(super) fn counts(&self, issuer: IssuerId) -> OwedCounts {
        self.issuers.get(self.list(issuer)).map(|to| to.counts).unwrap_or_default()
    }

    /// The minute since 1970 since which the oldest is owed.
    pub(super) fn oldest_min(&self) -> Option<u32> {
        self.ages.oldest()
    }

    /// Messages that are sent until acknowledged; parked ones are not.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len() - self.parked
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
    use crate::shard::tests::fixture::config;

    #[test]
    fn one_entry_of_a_card_at_a_time_in_order() {
        let mut kept = Kept::new(8);
        let mut saf = Saf::new(3, &config(1).issuers, 1);
        let mut push = |saf: &mut Saf, card: u8| {
            let fields = kept.store(&[card], &[]).unwrap();
            let id = saf.next_id()?;
            let whose = (IssuerId(0), AcquirerId(0));
            let card = CardKey([card; 16]);
            saf.push(id.place, Owed::new(id.number, whose, card, Mti::REVERSAL_ADVICE, fields))
        };
        let (first, now) = push(&mut saf, 1).unwrap();
        let (second, later) = push(&mut saf, 1).unwrap();
        assert!(now && !later);
        assert!(push(&mut saf, 2).unwrap().1, "another card does not wait");
        assert!(push(&mut saf, 3).is_none(), "full");
        assert!(!saf.has_room(0));
        assert_eq!(saf.remove(first).unwrap().1, Some(second));
        assert_eq!(saf.find(OwedId { number: 2, place: 0 }), Some(second), "wherever it lies");
        assert_eq!(saf.find(OwedId { number: 1, place: first }), None);
        assert_eq!(saf.remove(second).unwrap().1, None);
        assert_eq!(saf.len(), 1);
        assert!(push(&mut saf, 1).unwrap().1);
    }

    #[test]
    fn while_it_recovers_an_entry_is_found_wherever_it_lies_and_no_more_when_it_is_done() {
        let mut kept = Kept::new(8);
        let mut saf = Saf::new(4, &config(1).issuers, 1);
        saf.begin_recovery();
        let mut push = |saf: &mut Saf, number: u64, place: u32| {
            let fields = kept.store(&[0], &[]).unwrap();
            let whose = (IssuerId(0), AcquirerId(0));
            let owed = Owed::new(number, whose, CardKey([1; 16]), Mti::REVERSAL_ADVICE, fields);
            saf.push(place, owed).unwrap().0
        };
        let first = push(&mut saf, 7, 2);
        let elsewhere = push(&mut saf, 8, 2);
        assert_eq!((first, elsewhere != 2), (2, true), "two starts gave the same place");
        for place in 0..5 {
            assert_eq!(saf.find(OwedId { number: 8, place }), Some(elsewhere));
        }
        saf.remove(elsewhere).unwrap();
        assert_eq!(saf.find(OwedId { number: 8, place: 2 }), None);
        saf.end_recovery();
        assert_eq!(saf.find(OwedId { number: 7, place: 0 }), Some(first));
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
    /// Against lists: every operation leaves the lanes, the issuers' lists and the counts as they say.
    #[test]
    fn lanes_and_issuers_lists_stay_whole_whatever_leaves() {
        let mut kept = Kept::new(64);
        let mut saf = Saf::new(64, &config(1).issuers, 1);
        let (mut lists, mut parked): ([Vec<u32>; 2], u32) = Default::default();
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for round in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let [card, issuer, act, pick, ..] = random.to_be_bytes();
            let list = &mut lists[usize::from(issuer % 2)];
            if act % 3 == 0 && !list.is_empty() {
                let place = list.remove(usize::from(pick) % list.len());
                if round % 16 == 0 && parked < 8 {
                    saf.park(place, ResponseCode::FORMAT_ERROR);
                    parked += 1;
                } else if round % 16 == 5 {
                    saf.park(place, ResponseCode::FORMAT_ERROR);
                    assert_eq!(saf.release(place), Some(saf.is_oldest(place)));
                    assert_eq!(saf.release(place), None, "once");
                    list.push(place);
                } else {
                    kept.free(saf.remove(place).unwrap().0.fields);
                }
            } else if let Some(id) = saf.next_id() {
                let fields = kept.store(&[card], &[]).unwrap();
                let whose = (IssuerId(issuer % 2), AcquirerId(0));
                let card = CardKey([card % 5; 16]);
                let owed = Owed::new(id.number, whose, card, Mti::REVERSAL_ADVICE, fields);
                list.push(saf.push(id.place, owed).unwrap().0);
            }
            for (number, list) in (0..).zip(&lists) {
                let mut seen = Vec::new();
                saf.catch_up(IssuerId(number), 0, |place, _| seen.push(place));
                let oldest: Vec<u32> =
                    list.iter().copied().filter(|&place| saf.is_oldest(place)).collect();
                assert_eq!(seen, oldest);
                assert_eq!(saf.counts(IssuerId(number)).owed as usize, list.len());
            }
            for (card, issuer) in (0..10).map(|it| (CardKey([it % 5; 16]), IssuerId(it / 5))) {
                let (mut place, mut last) = (saf.heads[saf.lane(issuer, card)], 0);
                while let Some(entry) = saf.get_mut(place) {
                    assert!(
                        entry.number > last && entry.issuer == issuer,
                        "in order, of one issuer"
                    );
                    (place, last) = (entry.next, entry.number);
                }
            }
            assert_eq!(saf.len(), lists[0].len() + lists[1].len());
        }
        let all = saf.within(0..saf.taken_below());
        assert_eq!(all.filter(|(_, owed)| owed.parked.is_some()).count(), 8);
    }
}

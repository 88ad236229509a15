//! Store and forward: reversals and advices owed to issuers, in memory, bounded. What is owed is
//! sent again, unchanged, until the issuer acknowledges it.
//!
//! Order is kept per card by lanes: a card belongs to one of 65,536 lanes, and of each lane only
//! the oldest entry is under way. Not here: durability, alarms, rate limits.

use super::identity::{AcquirerId, CardKey, IssuerId};
use super::kept::KeptRef;
use tapswitch_protocol::{Stan, TransmissionTime};

/// First wait before sending again; doubled each time.
const RESEND_MS_MIN: u64 = 5_000;
/// Longest wait before sending again.
const RESEND_MS_MAX: u64 = 300_000;
const LANES: usize = 65_536;
const NONE: u32 = u32::MAX;

/// A message owed to an issuer.
pub(super) struct Owed {
    pub(super) issuer: IssuerId,
    /// Whose dialect it is in.
    pub(super) acquirer: AcquirerId,
    pub(super) card: CardKey,
    /// The whole message; DE 7 and 11 are written when it is first sent.
    pub(super) message: KeptRef,
    /// Its number on the issuer leg, once sent.
    pub(super) sent: Option<(Stan, TransmissionTime)>,
    /// How often it was sent.
    pub(super) tries: u32,
    next: u32,
}

/// All that is owed.
pub(super) struct Saf {
    entries: Vec<Option<Owed>>,
    free: Vec<u32>,
    heads: Vec<u32>,
    tails: Vec<u32>,
}

impl Saf {
    pub(super) fn new(count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            entries: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
            heads: vec![NONE; LANES],
            tails: vec![NONE; LANES],
        }
    }

    fn lane(card: CardKey) -> usize {
        let [_, high] = card.words();
        (high % LANES as u64) as usize
    }

    /// Adds an entry. Returns its place, and whether it is the oldest of its lane (send it now).
    /// Callers keep room: they refuse new work while [`Saf::has_room`] says no.
    pub(super) fn push(
        &mut self,
        issuer: IssuerId,
        acquirer: AcquirerId,
        card: CardKey,
        message: KeptRef,
    ) -> Option<(u32, bool)> {
        let place = self.free.pop()?;
        let owed = Owed { issuer, acquirer, card, message, sent: None, tries: 0, next: NONE };
        *self.entries.get_mut(place as usize)? = Some(owed);
        let lane = Self::lane(card);
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

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Owed> {
        self.entries.get_mut(place as usize).and_then(Option::as_mut)
    }

    /// What was sent to this issuer, or was to be, and is not acknowledged. The next try of each
    /// is as soon after it as a first one's.
    pub(super) fn places_of(&mut self, issuer: IssuerId) -> impl Iterator<Item = u32> {
        (0..).zip(&mut self.entries).filter_map(move |(place, entry)| {
            let owed =
                entry.as_mut().filter(|owed| owed.issuer == issuer && owed.sent.is_some())?;
            owed.tries = owed.tries.min(1);
            Some(place)
        })
    }

    /// Takes out an acknowledged entry (the oldest of its lane: no other is ever under way).
    /// Returns it and the next of its lane, to be sent now.
    pub(super) fn remove(&mut self, place: u32) -> Option<(Owed, Option<u32>)> {
        let owed = self.entries.get_mut(place as usize)?.take()?;
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
            let message = kept.store(&[card], &[]).unwrap();
            saf.push(IssuerId(0), AcquirerId(0), CardKey([card; 16]), message)
        };
        let (first, now) = push(&mut saf, 1).unwrap();
        assert!(now);
        let (second, now) = push(&mut saf, 1).unwrap();
        assert!(!now);
        assert!(push(&mut saf, 2).unwrap().1, "another card does not wait");
        assert!(push(&mut saf, 3).is_none(), "full");
        assert!(!saf.has_room(0));
        assert_eq!(saf.remove(first).unwrap().1, Some(second));
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

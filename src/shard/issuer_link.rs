//! The issuer leg: room in each issuer's window, and this shard's own trace numbers.
//!
//! The switch writes its own DE 11 and DE 7 towards issuers. Each shard owns a sub-range of every
//! issuer's six-digit numbers, so an answer's DE 11 names the shard. A number is taken in turn; one
//! whose request timed out stays in quarantine until a late answer cannot come any more.

use super::counters::LinkGauges;
use super::fair_share::FairShare;
use super::identity::{AcquirerId, IssuerId, LinkId, Now, ShardId};
use super::links::{Links, Refused};
use crate::config::IssuerConfig;
use crate::limits::{ACQUIRERS_MAX, LINKS_MAX, PENDING_MAX, STANS};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use tapswitch_protocol::{Dialect, Stan, TransmissionTime};

/// How long after a time-out a late answer may still come.
pub(super) const QUARANTINE_MS: u64 = 60_000;
/// Numbers looked at for a free one before giving up.
const STAN_TRIES: u32 = 64;

/// Who waits for the answer with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A pending request, by its place.
    Request(u32),
    /// An owed reversal or advice, by its place.
    Owed(u32),
}

/// One number: 0 free; top bits 01 a request, with its link and its acquirer; 10 owed; 11 quarantined
/// until that second.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Holder(u32);

impl Holder {
    const FREE: Self = Self(0);
    const KIND: u32 = 0xC000_0000;
    const REQUEST: u32 = 0x4000_0000;
    const OWED: u32 = 0x8000_0000;
    /// Where a request's link stands.
    const LINK_AT: u32 = 26;
    const LINK: u32 = (LINKS_MAX as u32 - 1) << Self::LINK_AT;

    /// Where a request's acquirer stands.
    const ACQUIRER_AT: u32 = 20;
    const ACQUIRER: u32 = (ACQUIRERS_MAX as u32 - 1) << Self::ACQUIRER_AT;

    const fn request(place: u32, link: u8, acquirer: AcquirerId) -> Self {
        let acquirer = (acquirer.0 as u32) << Self::ACQUIRER_AT & Self::ACQUIRER;
        Self(Self::REQUEST | (link as u32) << Self::LINK_AT | acquirer | place)
    }

    const fn owed(place: u32) -> Self {
        Self(Self::OWED | place)
    }

    /// Whether only late answers can have this number.
    const fn is_quarantine(self) -> bool {
        self.0 & Self::KIND == Self::KIND
    }

    const fn waiting(self) -> Option<Waiting> {
        let place = self.0 & !Self::KIND;
        match self.0 & Self::KIND {
            Self::REQUEST => Some(Waiting::Request(place & !(Self::LINK | Self::ACQUIRER))),
            Self::OWED => Some(Waiting::Owed(place)),
            _ => None,
        }
    }

    /// The link that a request went on.
    const fn link(self) -> Option<u8> {
        match self.0 & Self::KIND {
            Self::REQUEST => Some(((self.0 & Self::LINK) >> Self::LINK_AT) as u8),
            _ => None,
        }
    }

    /// Whose request it is, and the link that it went on.
    const fn of_request(self) -> Option<(AcquirerId, u8)> {
        match self.link() {
            Some(link) => {
                Some((AcquirerId(((self.0 & Self::ACQUIRER) >> Self::ACQUIRER_AT) as u8), link))
            }
            None => None,
        }
    }

    /// Whether the number may be given out at `now_s` (seconds since the shard began).
    const fn is_free(self, now_s: u32) -> bool {
        self.0 == 0 || (self.0 & Self::KIND == Self::KIND && self.0 & !Self::KIND <= now_s)
    }
}

const _: () = assert!(LINKS_MAX.is_power_of_two() && ACQUIRERS_MAX.is_power_of_two());
const _: () = assert!(PENDING_MAX <= 1 << Holder::ACQUIRER_AT);
const _: () = assert!(Holder::LINK & (Holder::KIND | Holder::ACQUIRER) == 0);

struct Leg {
    holders: Vec<Holder>,
    /// The number to try next; 0, which is not used, before the first.
    next: u32,
    in_flight: u32,
    in_flight_max: u32,
    /// Whose requests they are.
    shares: FairShare,
    /// The dialect of its link; `None`: its bank is in this process and speaks all.
    dialect: Option<&'static Dialect>,
    links: Links,
    /// Whether requests wait for their records.
    intent_first: bool,
    /// Whether it is told the switch's totals.
    reconciles: bool,
    failover: Option<IssuerId>,
    /// The number of our next 0800: its answer is told from others by its MTI.
    next_management: u32,
}

/// All issuers' legs of this shard.
pub(super) struct IssuerLegs {
    legs: Vec<Leg>,
    first_stan: u32,
    /// How many numbers a shard has.
    share: u32,
    clock: TransmissionClock,
    /// Messages owed that another shard of another layout gave a number to, by it.
    adopted: BTreeMap<(u8, u32), u32>,
}

impl IssuerLegs {
    pub(super) fn new(
        issuers: &[IssuerConfig],
        acquirers: usize,
        (shard, shards): (ShardId, usize),
    ) -> Self {
        let share = STANS / u32::try_from(shards).unwrap_or(1).max(1);
        let first_stan = share * u32::from(shard.0);
        let leg = |issuer: &IssuerConfig| Leg {
            holders: vec![Holder::FREE; share as usize],
            next: 0,
            in_flight: 0,
            in_flight_max: issuer.in_flight_max,
            shares: FairShare::new(acquirers),
            reconciles: issuer.link.as_ref().is_some_and(|link| link.reconciles),
            dialect: issuer.link.as_ref().map(|link| link.dialect),
            links: Links::new(issuer),
            intent_first: issuer.intent_first,
            failover: issuer.failover,
            next_management: 1,
        };
        Self {
            legs: issuers.iter().map(leg).collect(),
            first_stan,
            share,
            clock: TransmissionClock::default(),
            adopted: BTreeMap::new(),
        }
    }

    /// How many issuers there are; at most 64.
    pub(super) fn len(&self) -> usize {
        self.legs.len()
    }

    fn leg(&mut self, issuer: IssuerId) -> Option<&mut Leg> {
        self.legs.get_mut(usize::from(issuer.0))
    }

    /// Whether the issuer takes one more request.
    #[inline]
    pub(super) fn admits(&self, issuer: IssuerId, now: Now) -> Result<(), Refused> {
        let leg = self.legs.get(usize::from(issuer.0)).ok_or(Refused::Down)?;
        leg.links.admits(now.mono_ns)?;
        if leg.in_flight < leg.in_flight_max { Ok(()) } else { Err(Refused::Full) }
    }

    /// Whether this acquirer may have one more of them under way, or is to leave what is left to
    /// others.
    #[inline]
    pub(super) fn admits_share(
        &mut self,
        issuer: IssuerId,
        acquirer: AcquirerId,
        now: Now,
    ) -> bool {
        let Some(leg) = self.leg(issuer) else { return true };
        leg.shares.admits(acquirer, leg.in_flight_max, now.mono_ns)
    }

    /// This acquirer found the window full: it has its part of what becomes free.
    #[cold]
    pub(super) fn on_asked_in_vain(&mut self, issuer: IssuerId, acquirer: AcquirerId, now: Now) {
        if let Some(leg) = self.leg(issuer) {
            leg.shares.on_asked(acquirer, now.mono_ns);
        }
    }

    /// Who takes an issuer's new requests in its place.
    #[inline]
    pub(super) fn failover(&self, issuer: IssuerId) -> Option<IssuerId> {
        self.legs.get(usize::from(issuer.0))?.failover
    }

    /// The links of an issuer.
    pub(super) fn links(&mut self, issuer: IssuerId) -> Option<&mut Links> {
        self.leg(issuer).map(|leg| &mut leg.links)
    }

    pub(super) fn link_gauges(&self) -> impl Iterator<Item = LinkGauges> {
        self.legs.iter().map(|leg| leg.links.gauges())
    }

    pub(super) fn issuers(&self) -> impl Iterator<Item = IssuerId> + use<> {
        // At most ISSUERS_MAX.
        (0..self.legs.len() as u8).map(IssuerId)
    }

    /// The dialect of an issuer's links, if it has any.
    pub(super) fn dialect(&self, issuer: IssuerId) -> Option<&'static Dialect> {
        self.legs.get(usize::from(issuer.0))?.dialect
    }

    /// The link of the request with this number; for what is owed, one that is ready.
    #[inline]
    pub(super) fn link_for(&mut self, issuer: IssuerId, stan: Stan) -> LinkId {
        let of_request = self.holder(issuer, stan).and_then(|holder| holder.link());
        let number = of_request.or_else(|| self.leg(issuer)?.links.least());
        LinkId { issuer, number: number.unwrap_or_default() }
    }

    /// The shard whose number this is.
    #[inline]
    pub(super) fn owner(&self, stan: Stan) -> u32 {
        stan.0 / self.share.max(1)
    }

    /// The number of our next 0800 to an issuer.
    pub(super) fn next_management_stan(&mut self, issuer: IssuerId) -> Option<Stan> {
        let (first, share) = (self.first_stan, self.share);
        let leg = self.leg(issuer)?;
        let place = leg.next_management;
        leg.next_management = if place + 1 < share { place + 1 } else { 1 };
        Some(Stan(first + place))
    }

    /// Requests under way at an issuer, and how many may be; `None`: there is no such issuer.
    pub(super) fn window(&self, issuer: IssuerId) -> Option<(u32, u32)> {
        let leg = self.legs.get(usize::from(issuer.0))?;
        Some((leg.in_flight, leg.in_flight_max))
    }

    /// So many requests may be under way at each issuer from now on; where more are, none is added
    /// until fewer are.
    pub(super) fn set_windows(&mut self, in_flight_max: &[u32]) {
        for (leg, &in_flight_max) in self.legs.iter_mut().zip(in_flight_max) {
            leg.in_flight_max = in_flight_max;
        }
    }

    /// Whether messages of this dialect can be handed to the issuer at all.
    #[inline]
    pub(super) fn speaks(&self, issuer: IssuerId, dialect: &Dialect) -> bool {
        let leg = self.legs.get(usize::from(issuer.0));
        let of_link = leg.and_then(|leg| leg.dialect);
        of_link.is_none_or(|of_link| of_link.name() == dialect.name())
    }

    /// Whether the issuer has no link that is ready, or has signed off.
    #[inline]
    pub(super) fn is_down(&self, issuer: IssuerId) -> bool {
        self.legs.get(usize::from(issuer.0)).is_some_and(|leg| leg.links.is_down())
    }

    /// Whether an issuer is told the switch's totals after each cut-off.
    pub(super) fn reconciles(&self, issuer: IssuerId) -> bool {
        self.legs.get(usize::from(issuer.0)).is_some_and(|leg| leg.reconciles)
    }

    /// Whether a request must not leave for this issuer before its record is durable.
    #[inline]
    pub(super) fn is_intent_first(&self, issuer: IssuerId) -> bool {
        self.legs.get(usize::from(issuer.0)).is_some_and(|leg| leg.intent_first)
    }

    /// Finds one request that is under way on a link that was lost. To be called, and the request
    /// ended, until there is none: every number is looked at once for each loss.
    pub(super) fn next_lost(&mut self, link: LinkId) -> Option<u32> {
        let leg = self.leg(link.issuer)?;
        if leg.links.in_flight(link.number) == 0 {
            return None;
        }
        let from = *leg.links.search_at(link.number)?;
        let rest = leg.holders.get(from..)?;
        let requests = rest.iter().enumerate().filter_map(|(at, holder)| match holder.waiting() {
            Some(Waiting::Request(place)) if holder.link() == Some(link.number) => {
                Some((at, place))
            }
            Some(Waiting::Request(_) | Waiting::Owed(_)) | None => None,
        });
        let (at, place) = { requests }.next()?;
        *leg.links.search_at(link.number)? = from + at + 1;
        Some(place)
    }

    /// DE 7 for a message sent now.
    #[inline]
    pub(super) fn transmission_time(&mut self, now: Now) -> TransmissionTime {
        self.clock.at(now.wall_ms)
    }

    /// Takes the next free number for a request; `None` when the next ones are all in use.
    #[inline]
    pub(super) fn take_stan(
        &mut self,
        now: Now,
        issuer: IssuerId,
        (place, acquirer): (u32, AcquirerId),
    ) -> Option<Stan> {
        self.take_by(now, issuer, |leg| {
            let link = leg.links.begin(now.mono_ns)?;
            leg.in_flight += 1;
            leg.shares.take(acquirer);
            Some(Holder::request(place, link, acquirer))
        })
    }

    /// The same for what is owed, which has no place in the window.
    pub(super) fn take_owed_stan(
        &mut self,
        now: Now,
        issuer: IssuerId,
        place: u32,
    ) -> Option<Stan> {
        self.take_by(now, issuer, |_| Some(Holder::owed(place)))
    }

    #[inline]
    fn take_by(
        &mut self,
        now: Now,
        issuer: IssuerId,
        begin: impl FnOnce(&mut Leg) -> Option<Holder>,
    ) -> Option<Stan> {
        let first = self.first_stan;
        let leg = self.leg(issuer)?;
        let count = u32::try_from(leg.holders.len()).unwrap_or(u32::MAX);
        let now_s = seconds(now);
        if leg.next == 0 {
            leg.next = first_place(now.wall_ms, count);
        }
        for _ in 0..STAN_TRIES {
            let place = leg.next;
            leg.next = if place + 1 < count { place + 1 } else { 1 };
            if leg.holders.get(place as usize)?.is_free(now_s) {
                let holder = begin(leg)?;
                *leg.holders.get_mut(place as usize)? = holder;
                return Some(Stan(first + place));
            }
        }
        None
    }

    /// DE 7 of another moment.
    pub(super) fn transmission_time_at(&self, wall_ms: u64) -> TransmissionTime {
        transmission_time(wall_ms / 1_000)
    }

    /// After a restart: numbers begin elsewhere, so that an answer to the process before meets none
    /// of ours. `epoch` grows with every start: a clock that was set back stands still over several.
    pub(super) fn begin_at(&mut self, wall_ms: u64, epoch: u64) {
        for leg in &mut self.legs {
            let count = leg.holders.len().max(2) as u64;
            // The golden part of the range for each start: those next to each other are far apart.
            let part = u128::from(epoch.wrapping_mul(0x9E37_79B9_7F4A_7C15)) * u128::from(count);
            let step = (part >> 64) as u64;
            // A prime step a millisecond; the remainder is below a million.
            leg.next = 1 + (wall_ms.wrapping_mul(7_919).wrapping_add(step) % (count - 1)) as u32;
        }
    }

    /// The number that a message owed was given before a restart, perhaps by a shard that is no
    /// more, or before it was parked: the issuer knows the message by it. False when it is taken.
    pub(super) fn retake_stan(&mut self, issuer: IssuerId, stan: Stan, place: u32) -> bool {
        match self.holder(issuer, stan) {
            // A late answer to another message that had it has another DE 7.
            Some(holder) if *holder == Holder::FREE || holder.is_quarantine() => {
                *holder = Holder::owed(place);
                true
            }
            Some(_) => false,
            None => match self.adopted.entry((issuer.0, stan.0)) {
                Entry::Vacant(entry) => {
                    entry.insert(place);
                    true
                }
                Entry::Occupied(_) => false,
            },
        }
    }

    /// Who waits for an answer with this number.
    #[inline]
    pub(super) fn waiting(&mut self, issuer: IssuerId, stan: Stan) -> Option<Waiting> {
        match self.holder(issuer, stan) {
            Some(holder) => holder.waiting(),
            None => self.adopted.get(&(issuer.0, stan.0)).copied().map(Waiting::Owed),
        }
    }

    /// Whether an answer with this number is a late one.
    pub(super) fn is_quarantined(&mut self, issuer: IssuerId, stan: Stan) -> bool {
        self.holder(issuer, stan).is_some_and(|holder| holder.is_quarantine())
    }

    /// Gives a number back after its answer came.
    #[inline]
    pub(super) fn release_stan(&mut self, issuer: IssuerId, stan: Stan) {
        self.set(issuer, stan, Holder::FREE);
    }

    /// Gives a number back after its time-out.
    pub(super) fn quarantine_stan(&mut self, now: Now, issuer: IssuerId, stan: Stan) {
        let until = seconds(Now { mono_ns: now.mono_ns + QUARANTINE_MS * 1_000_000, ..now });
        self.set(issuer, stan, Holder(Holder::KIND | until));
    }

    fn set(&mut self, issuer: IssuerId, stan: Stan, to: Holder) {
        let Some(holder) = self.holder(issuer, stan) else {
            self.adopted.remove(&(issuer.0, stan.0));
            return;
        };
        let of_request = holder.of_request();
        *holder = to;
        if let (Some((acquirer, link)), Some(leg)) = (of_request, self.leg(issuer)) {
            assert!(leg.in_flight > 0, "Invariant: a window counts every request in it once");
            leg.in_flight -= 1;
            leg.shares.give(acquirer);
            leg.links.end(link);
        }
    }

    #[inline]
    fn holder(&mut self, issuer: IssuerId, stan: Stan) -> Option<&mut Holder> {
        let place = stan.0.checked_sub(self.first_stan)?;
        self.leg(issuer)?.holders.get_mut(place as usize)
    }
}

/// Where numbers begin: so far into the range as the moment is into its second. To issuers DE 7 and
/// 11 together name a request, and DE 7 counts seconds: a switch that starts in the second in which
/// the one before it ended gives other numbers than that one did.
fn first_place(wall_ms: u64, count: u32) -> u32 {
    let offset = wall_ms % 1_000 * u64::from(count.saturating_sub(1)) / 1_000;
    1 + u32::try_from(offset).unwrap_or(0)
}

fn seconds(now: Now) -> u32 {
    // 34 years of seconds fit in the 30 bits of a holder.
    u32::try_from(now.mono_ns / 1_000_000_000).unwrap_or(u32::MAX) & !Holder::KIND
}

/// DE 7 (MMDDhhmmss, UTC), worked out once a second.
#[derive(Default)]
struct TransmissionClock {
    second: u64,
    time: Option<TransmissionTime>,
}

impl TransmissionClock {
    #[inline]
    fn at(&mut self, wall_ms: u64) -> TransmissionTime {
        let second = wall_ms / 1_000;
        match self.time {
            Some(time) if second == self.second => time,
            _ => {
                let time = transmission_time(second);
                *self = Self { second, time: Some(time) };
                time
            }
        }
    }
}

/// MMDDhhmmss of a moment given in seconds since 1970 UTC.
/// MMDD of a day since 1970.
pub(super) fn date_of(day: u64) -> u32 {
    transmission_time(86_400 * day).0 / 1_000_000
}

fn transmission_time(second: u64) -> TransmissionTime {
    let (days, in_day) = (second / 86_400, second % 86_400);
    // Days to civil date: years run from 1 March, so that the leap day ends one (era of 400 years).
    let shifted = days + 719_468;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    let number = (((month * 100 + day) * 100 + hour) * 100 + minute) * 100 + second;
    TransmissionTime(u32::try_from(number).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now { mono_ns: 0, wall_ms: 0 };
    const ISSUER: IssuerId = IssuerId(0);

    fn legs(shards: usize) -> IssuerLegs {
        let issuer = IssuerConfig {
            name: "A".into(),
            in_flight_max: 2,
            intent_first: false,
            saf_rate: 1_000,
            marks_repeats: None,
            link: None,
            failover: None,
        };
        IssuerLegs::new(&[issuer], 2, (ShardId(1), shards))
    }

    #[test]
    fn dates_are_civil() {
        let cases = [
            (0, 101_000_000),
            (951_782_399, 228_235_959),
            (951_782_400, 229_000_000),
            (1_700_000_000, 1_114_221_320),
            (4_107_542_399, 228_235_959),
            (4_107_542_400, 301_000_000),
        ];
        for (second, expected) in cases {
            assert_eq!(transmission_time(second).0, expected, "{second}");
        }
    }

    #[test]
    fn the_window_counts_requests_only() {
        let mut legs = legs(2);
        let first = legs.take_stan(NOW, ISSUER, (7, AcquirerId(1))).unwrap();
        legs.take_owed_stan(NOW, ISSUER, 9).unwrap();
        assert_eq!(legs.admits(ISSUER, NOW), Ok(()));
        legs.take_stan(NOW, ISSUER, (8, AcquirerId(0))).unwrap();
        assert_eq!(legs.admits(ISSUER, NOW), Err(Refused::Full));
        assert_eq!(legs.waiting(ISSUER, first), Some(Waiting::Request(7)));
        legs.release_stan(ISSUER, first);
        assert_eq!(legs.admits(ISSUER, NOW), Ok(()));
        assert_eq!(legs.waiting(ISSUER, first), None);
    }

    #[test]
    fn a_switch_that_starts_in_the_second_of_another_gives_other_numbers() {
        let first = |wall_ms| {
            let mut legs = legs(2);
            legs.take_owed_stan(Now { mono_ns: 5, wall_ms }, ISSUER, 0).unwrap().0
        };
        assert_eq!(first(1_700_000_000_000), 500_001);
        assert_eq!(first(1_700_000_000_400), 700_000);
        assert_eq!(first(1_700_000_000_999), 999_500);
    }

    #[test]
    fn starts_on_a_clock_that_stands_still_begin_far_apart() {
        let begins = |epoch| {
            let mut legs = legs(2);
            legs.begin_at(1_700_000_000_000, epoch);
            legs.take_owed_stan(NOW, ISSUER, 0).unwrap().0
        };
        let mut all: Vec<u32> = (1..=20).map(begins).collect();
        all.sort_unstable();
        let nearest = all.windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(nearest > Some(10_000), "{nearest:?}");
    }

    #[test]
    fn numbers_name_their_shard_and_skip_those_in_use_or_quarantine() {
        // 100,000 shards leave ten numbers each, of which the first is not used.
        let mut legs = legs(100_000);
        let take = |legs: &mut IssuerLegs, now| legs.take_owed_stan(now, ISSUER, 0);
        let taken: Vec<_> = (0..9).map(|_| take(&mut legs, NOW).unwrap().0).collect();
        assert_eq!(taken, (11..20).collect::<Vec<_>>());
        assert_eq!(take(&mut legs, NOW), None);
        legs.quarantine_stan(NOW, ISSUER, Stan(15));
        legs.release_stan(ISSUER, Stan(13));
        assert_eq!(take(&mut legs, NOW), Some(Stan(13)));
        assert_eq!(take(&mut legs, NOW), None);
        assert!(legs.is_quarantined(ISSUER, Stan(15)));
        let later = Now { mono_ns: (QUARANTINE_MS + 1_000) * 1_000_000, wall_ms: 0 };
        assert_eq!(take(&mut legs, later), Some(Stan(15)));
    }
}

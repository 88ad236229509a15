//! What a shard publishes besides its counters: how full its tables are, how its issuers are, which
//! codes it answered with, its totals for reconciliation. Copied as a whole, so that a reader sees one moment.
//!
//! Not here: what is alarming in it (`cli::alarms`), and how it is shown (`admin`).

use super::answer_codes::AnswerCodes;
use super::time_buckets::TimeBuckets;
use super::totals::Totals;
use super::{AcquirerId, Gauges, IssuerId, Published, Shard, outcome};
use crate::limits::{ACQUIRERS_MAX, ISSUERS_MAX};
use crate::named_list::named_list;

named_list! {
    /// Everything of a shard that has a level; names are those of metrics.
    Level:
    Pending "pending_requests" "requests that wait for their issuer";
    PendingRoom "pending_room" "requests that can wait for their issuers at most";
    Cards "velocity_cards" "cards that have a line of the velocity table";
    CardsCounting "velocity_counting" "cards whose line counts something now";
    CardsRoom "velocity_lines" "lines of the velocity table";
    Answers "duplicate_answers" "answers remembered for repeats";
    AnswersEvicted "duplicate_evicted" "answers forgotten for newer ones";
    Originals "originals" "originals remembered for reversals";
    OriginalsEvicted "original_evicted" "originals forgotten for newer ones";
    Holds "preauthorizations" "pre-authorizations that are open";
    HoldsRoom "preauthorizations_room" "pre-authorizations that can be open at most";
    Owed "saf_owed" "reversals and advices owed to issuers";
    OwedRoom "saf_room" "reversals and advices that can be owed at most";
    Epoch "config_epoch" "number of the configuration that is judged by";
}

const LEVELS: usize = Level::ALL.len();

/// One issuer, as a shard has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IssuerLevels {
    /// Requests under way at it.
    pub in_flight: u64,
    /// How many may be.
    pub in_flight_max: u64,
    /// Messages owed to it.
    pub owed: u64,
    /// Its link is made, or its bank is in this process.
    pub is_up: bool,
    /// How long it took to answer; its answers in time only.
    pub times: TimeBuckets,
}

/// One acquirer, as a shard has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AcquirerLevels {
    /// The switch's own part of its transactions.
    pub switch: TimeBuckets,
    /// Its issuers' part; answers in time only.
    pub issuer: TimeBuckets,
}

impl AcquirerLevels {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.switch.merge(&other.switch);
        self.issuer.merge(&other.issuer);
    }
}

/// A shard's levels at one moment.
#[derive(Clone)]
pub struct Levels {
    values: [u64; LEVELS],
    /// Answers by their codes.
    pub codes: AnswerCodes,
    /// What is counted for reconciliation.
    pub totals: Totals,
    issuers: [IssuerLevels; ISSUERS_MAX],
    /// As many as there are.
    acquirers: Vec<AcquirerLevels>,
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            values: [0; LEVELS],
            codes: AnswerCodes::default(),
            totals: Totals::new(),
            issuers: [IssuerLevels::default(); ISSUERS_MAX],
            acquirers: Vec::with_capacity(ACQUIRERS_MAX),
        }
    }
}

impl Levels {
    /// How high one is.
    #[must_use]
    pub fn value(&self, level: Level) -> u64 {
        self.values.get(level as usize).copied().unwrap_or_default()
    }

    /// One issuer.
    #[must_use]
    pub fn issuer(&self, issuer: IssuerId) -> IssuerLevels {
        self.issuers.get(usize::from(issuer.0)).copied().unwrap_or_default()
    }

    /// One acquirer.
    #[must_use]
    pub fn acquirer(&self, acquirer: AcquirerId) -> AcquirerLevels {
        self.acquirers.get(usize::from(acquirer.0)).copied().unwrap_or_default()
    }

    fn set(&mut self, level: Level, value: usize) {
        if let Some(place) = self.values.get_mut(level as usize) {
            *place = value as u64;
        }
    }
}

/// How long each issuer took to answer.
pub(super) struct IssuerTimes(Vec<TimeBuckets>);

impl IssuerTimes {
    pub(super) fn new(issuers: usize) -> Self {
        Self(vec![TimeBuckets::default(); issuers])
    }

    #[inline]
    pub(super) fn record(&mut self, issuer: IssuerId, (bucket, ns): (usize, u64)) {
        if let Some(times) = self.0.get_mut(usize::from(issuer.0)) {
            times.record_in(bucket, ns, 1);
        }
    }

    fn of(&self, issuer: IssuerId) -> TimeBuckets {
        self.0.get(usize::from(issuer.0)).copied().unwrap_or_default()
    }
}

/// How long transactions of each acquirer took here and at their issuers.
pub(super) struct AcquirerTimes(Vec<AcquirerLevels>);

impl AcquirerTimes {
    pub(super) fn new(acquirers: usize) -> Self {
        Self(vec![AcquirerLevels::default(); acquirers])
    }

    #[inline]
    pub(super) fn record_switch(&mut self, acquirer: AcquirerId, ns: u64) {
        if let Some(times) = self.0.get_mut(usize::from(acquirer.0)) {
            times.switch.record(ns);
        }
    }

    #[inline]
    pub(super) fn record_issuer(&mut self, acquirer: AcquirerId, (bucket, ns): (usize, u64)) {
        if let Some(times) = self.0.get_mut(usize::from(acquirer.0)) {
            times.issuer.record_in(bucket, ns, 1);
        }
    }
}

impl Shard {
    /// Copies counters, times and levels for other threads. False when a reader held some of them just
    /// now: they are as they were.
    pub fn publish(&self, published: &Published) -> bool {
        let gauges = Gauges {
            velocity_lines: self.velocity.lines() as u64,
            velocity_counting: self.velocity.occupancy() as u64,
            owed: self.saf.len() as u64,
            owed_since_min: self.saf.oldest_min().map_or(0, u64::from),
        };
        let issuers = (0..self.legs.len() as u8).chain([outcome::NO_ISSUER]);
        for issuer in issuers.map(IssuerId) {
            published.store_owed(issuer, self.saf.counts(issuer));
        }
        published.store_links(self.legs.link_gauges());
        published.store(&self.counters, &self.times, &gauges)
            & published.store_levels(|levels| self.write_levels(levels))
            & published.store_parked(self.saf.parked_changes(), || self.parked())
    }

    /// Writes down how everything is. Allocates nothing.
    pub(super) fn write_levels(&self, levels: &mut Levels) {
        let duplicates = &self.duplicates;
        for (level, value) in [
            (Level::Pending, self.pending.len()),
            (Level::PendingRoom, self.pending.capacity()),
            (Level::Cards, self.velocity.occupied()),
            (Level::CardsCounting, self.velocity.occupancy()),
            (Level::CardsRoom, self.velocity.lines()),
            (Level::Answers, duplicates.entries()),
            (Level::AnswersEvicted, duplicates.evictions() as usize),
            (Level::Originals, duplicates.originals()),
            (Level::OriginalsEvicted, duplicates.original_evictions() as usize),
            (Level::Holds, self.preauthorizations.open_count()),
            (Level::HoldsRoom, self.preauthorizations.capacity()),
            (Level::Owed, self.saf.len()),
            (Level::OwedRoom, self.saf.capacity()),
            (Level::Epoch, self.epoch as usize),
        ] {
            levels.set(level, value);
        }
        levels.codes.copy_from(&self.codes);
        levels.totals.copy_from(&self.totals);
        // There is room for all that may be.
        levels.acquirers.clone_from(&self.acquirer_times.0);
        for (place, levels) in (0..).zip(&mut levels.issuers) {
            let issuer = IssuerId(place);
            let Some((in_flight, in_flight_max)) = self.legs.window(issuer) else { break };
            *levels = IssuerLevels {
                in_flight: u64::from(in_flight),
                in_flight_max: u64::from(in_flight_max),
                owed: u64::from(self.saf.counts(issuer).owed),
                is_up: !self.legs.is_down(issuer),
                times: self.issuer_times.of(issuer),
            };
        }
    }
}

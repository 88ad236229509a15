//! One counter of entities: its limit, what is used and lent of it, and the part of its window that is
//! now.
//!
//! Not here: whose transaction it is, and who is asked.

use super::rows::Rows;
use super::terms::Terms;
use super::{Entity, Share, Tally};
use crate::config::{VelocityConfig, VelocityCounter, VelocityScope};
use crate::shard::velocity::window::{Part, Parts};

/// A limit, divided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) limit: u8,
    pub(super) count: Terms,
    pub(super) amount: Terms,
}

impl Judged {
    /// The limit of a counter, by its place, divided among so many shards.
    pub(super) fn of(config: &VelocityConfig, place: usize, shards: usize) -> Option<Self> {
        let mut limits = config.limits.iter().enumerate();
        let (limit, of) = limits.find(|(_, limit)| limit.scope_counter == Some(place))?;
        Some(Self {
            // Fewer than 64 limits.
            limit: limit as u8,
            count: Terms::new(of.count_max.map_or(u64::MAX, u64::from), shards),
            amount: Terms::new(of.amount_minor_max.unwrap_or(u64::MAX), shards),
        })
    }

    pub(super) fn limit(&self) -> Tally {
        Tally { count: self.count.limit(), amount_minor: self.amount.limit() }
    }

    pub(super) fn entitlement(&self) -> Tally {
        Tally { count: self.count.entitlement(), amount_minor: self.amount.entitlement() }
    }

    pub(super) fn pool(&self) -> Tally {
        Tally { count: self.count.pool(), amount_minor: self.amount.pool() }
    }
}

/// One counter, its limit, and what it counts.
pub(super) struct ScopeCounter {
    pub(super) scope: VelocityScope,
    parts: Parts,
    pub(super) now: Part,
    pub(super) judged: Option<Judged>,
    pub(super) shares: Rows<Share>,
    /// Of the entities that this shard owns: what is lent.
    pub(super) pools: Rows<Tally>,
    /// By row of `shares`: the part for which more is asked for and not answered, and the one for which
    /// the owner had nothing left; 0 is none.
    pub(super) asked: Vec<u32>,
    pub(super) dry: Vec<u32>,
}

impl ScopeCounter {
    pub(super) fn new(counter: &VelocityCounter, entities: usize) -> Self {
        let kept = counter.window.parts_counted();
        Self {
            scope: counter.scope,
            parts: Parts::of(counter.window),
            now: Part { number: 0, begins_ms: 0, ends_ms: 0 },
            judged: None,
            shares: Rows::new(entities, kept),
            pools: Rows::new(entities, kept),
            asked: vec![0; entities],
            dry: vec![0; entities],
        }
    }

    /// Among how many of all shards its limit is divided: the cards of an entity are on any of them, the
    /// card of a token is on one.
    pub(super) fn shards(&self, all: usize) -> usize {
        if self.scope == VelocityScope::Token { 1 } else { all }
    }

    /// Another limit: what was lent of one that is lower now is void as far as it is not used.
    pub(super) fn judge_by(&mut self, judged: Option<Judged>) {
        let before = core::mem::replace(&mut self.judged, judged);
        let is_lower = match (before, judged) {
            (Some(before), Some(after)) => !before.limit().less(after.limit()).is_zero(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if is_lower {
            self.end_leases();
        }
        self.dry.fill(0);
    }

    /// The part that a moment lies in, at most the one that is now.
    #[inline]
    pub(super) fn number(&self, at_ms: u64) -> u32 {
        if at_ms >= self.now.begins_ms {
            return self.now.number;
        }
        self.parts.part(at_ms).number.min(self.now.number)
    }

    #[inline]
    pub(super) fn advance(&mut self, wall_ms: u64) {
        if wall_ms >= self.now.ends_ms {
            let part = self.parts.part(wall_ms);
            if part.number >= self.now.number {
                self.now = part;
            }
        }
    }

    pub(super) fn share(&self, entity: Entity, number: u32) -> Share {
        let place = self.shares.find(entity);
        place.map_or_else(Share::default, |place| self.shares.part(place, number))
    }

    /// What would be used in the window of now above what was lent, and in all, with `units` more.
    #[inline]
    pub(super) fn with(&self, entity: Entity, units: Tally) -> (Tally, Tally) {
        let number = self.now.number;
        let Some(place) = self.shares.find(entity) else { return (units, units) };
        let mut sums = (Tally::default(), Tally::default());
        for (of, share) in self.shares.window(place, number) {
            let used = if of == number { share.used.plus(units) } else { share.used };
            sums = (sums.0.plus(used.less(share.leased)), sums.1.plus(used));
        }
        sums
    }

    /// The row of an entity, made where there is none; `None`: all rows count something.
    pub(super) fn row(&mut self, entity: Entity) -> Option<u32> {
        if let Some(row) = self.shares.find(entity) {
            return Some(row);
        }
        let row = self.shares.find_or_make(entity, self.now.number)?;
        // What was asked for was asked for another one.
        for of in [&mut self.asked, &mut self.dry] {
            of[row as usize] = 0;
        }
        Some(row)
    }

    /// What is lent and not used is void.
    pub(super) fn end_leases(&mut self) {
        for row in 0..self.shares.count() as u32 {
            if self.shares.entity(row).is_none() {
                continue;
            }
            let newest = self.shares.newest(row);
            for number in self.shares.numbers(newest) {
                let Share { used, leased } = self.shares.part(row, number);
                let share = Share { used, leased: leased.with(used, u64::min) };
                self.shares.set(row, number, share);
            }
        }
    }
}

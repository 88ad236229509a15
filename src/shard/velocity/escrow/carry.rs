//! Another number of shards, or other counters, at a restart: each shard of now reads what all shards
//! before had used, and takes an equal part of it; of tokens all, if it has the card, or nothing.
//!
//! Not here: which counter of now is which one before (`layout`).

use super::{Entity, Escrow, ScopeHold, Share, Tally};
use crate::config::VelocityScope;
use crate::shard::duplicate::DuplicateKey;

/// There are more entities than one counter here holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more terminals, merchants, acquirers or tokens count than a shard here holds: velocity.entities \
     must be larger"
)]
pub(in crate::shard) struct CarryError;

impl Escrow {
    /// What a shard before had used in one part.
    pub(in crate::shard) fn carry_used(
        &mut self,
        wall_ms: u64,
        (counter, entity): (usize, Entity),
        (number, used): (u32, Tally),
    ) -> Result<(), CarryError> {
        self.advance(wall_ms);
        self.is_carrying = true;
        let (id, shards) = (self.id, self.shards);
        let Some(of) = self.counters.get_mut(counter) else { return Ok(()) };
        if of.scope == VelocityScope::Token && entity.owner(shards) != id {
            return Ok(());
        }
        if number < *of.shares.numbers(of.now.number).start() || used.is_zero() {
            return Ok(());
        }
        let row = of.row(entity).ok_or(CarryError)?;
        let before = of.shares.part(row, number);
        of.shares.set(row, number, Share { used: before.used.plus(used), ..before });
        Ok(())
    }

    /// A request whose card is now this shard's; `counters` are those of now.
    pub(in crate::shard) fn carry_hold(
        &mut self,
        key: &DuplicateKey,
        hold: ScopeHold,
        counters: u8,
    ) {
        self.holds.set(key, ScopeHold { counters, ..hold });
    }

    /// All is read: every shard takes the same part of what was used, rounded up; the owner counts as
    /// lent what of those parts is above the entitlements.
    pub(in crate::shard) fn divide(&mut self) {
        if !core::mem::replace(&mut self.is_carrying, false) {
            return;
        }
        let (id, shards) = (self.id, self.shards);
        for counter in self.counters.iter_mut().filter(|it| it.scope != VelocityScope::Token) {
            let all = u64::MAX;
            let entitlement = counter
                .judged
                .map_or(Tally { count: all, amount_minor: all }, |judged| judged.entitlement());
            for row in 0..counter.shares.count() as u32 {
                let Some(entity) = counter.shares.entity(row) else { continue };
                let mut own = entitlement;
                let newest = counter.shares.newest(row);
                for number in counter.shares.numbers(newest).rev() {
                    let used = counter.shares.part(row, number).used;
                    if used.is_zero() {
                        continue;
                    }
                    let used = used.with(Tally::default(), |used, _| used.div_ceil(shards as u64));
                    let leased = used.less(own);
                    own = own.less(used);
                    counter.shares.set(row, number, Share { used, leased });
                    if entity.owner(shards) == id && !leased.is_zero() {
                        let lent =
                            leased.with(leased, |each, _| each.saturating_mul(shards as u64));
                        let place = counter.pools.find_or_make(entity, counter.now.number);
                        assert!(place.is_some(), "Invariant: there are as many pools as rows");
                        if let Some(place) = place {
                            counter.pools.set(place, number, lent);
                        }
                    }
                }
            }
        }
    }
}

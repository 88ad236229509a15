//! Limits of what many cards share: a terminal, a merchant, an acquirer (an *entity*). Its cards live on
//! many shards, and each decides by itself, at once: by escrow.
//!
//! **The scheme.** Of a limit L on N shards each shard may use E = L/(2N) in any window without asking
//! (its *entitlement*; all of L where N is 1). The rest, P = L - N*E, is the *pool* of the shard that owns
//! the entity, by the hash of its key. A shard that is low asks the owner ahead of need; the owner lends,
//! and both write down what was lent in which part of the window. What does not fit into entitlement and
//! leases is declined, although others may have room: *early*. The first transaction of an entity on a
//! shard is within E, or it may have to be tried again when the lease has come.
//!
//! **Why L is never passed.** A window is k parts (one, or a rolling one's sub-windows and one more, so
//! that any true window is within k). Of each part p a shard keeps what is used u(p) and what was lent to
//! it l(p) *for that part*; a lease ends with its part. A transaction is taken only if the sum over the
//! window's parts of max(0, u - l) stays at most E. The owner lends for part p only while nothing was lent
//! for a later one, and only if all that it lent for the parts of the window that ends with p stays at
//! most P: so of any k parts in a row it lent at most P. In any window a shard uses at most E + l, and all
//! together N*E + P = L. Nothing in this needs messages to be quick, in order, or to arrive: one that is
//! lost, or comes when its part has rolled out, wastes what it lent. Clocks may differ: a lease is bound
//! to the number of a part, and one that the owner's clock has passed is not lent for.
//!
//! **Crashes.** Every use, every return, and every lease is a record that says what a row *is* from then
//! on, so it may be applied twice. An owner's lease leaves it when its record is durable, so that no
//! other is made of the same units. What the borrower had not used when the process ended is void; the
//! owner still counts it.
//!
//! **Another number of shards** at a restart: every shard of now reads what all shards before had used,
//! takes an equal part (rounded up) as its own use, and what of that is above its entitlement counts as
//! lent to it by the owner, which reckons the same. The sum is as before, so the argument holds.
//!
//! **A lower limit** while the switch runs voids what is lent and not used. Until the windows that are
//! open end, each shard may use its entitlement of the new limit besides what was used before.
//!
//! What has happened already (advices, completions) is counted whatever the limit says; the shard then
//! asks its owner for what it used above its part.
//!
//! Entities are known by keyed digests of 128 bits. Two that collided would share a limit: declined early,
//! never passed. Not here: who talks to whom (`shard::scope_limits`), and cards.

mod carry;
mod counter;
mod entity;
mod holds;
mod lease;
mod places;
mod records;
mod rows;
mod terms;
#[cfg(test)]
mod tests;

pub(in crate::shard) use entity::Parties;
pub use entity::{Entity, ScopeHold, Share, Tally};
pub(in crate::shard) use lease::{Ask, Grant};
pub(in crate::shard) use records::{ScopeCursor, ScopePool, ScopeRow};

use super::conditions::Conditions;
use super::{LimitKind, VelocityTransaction};
use crate::config::{VelocityConfig, VelocityScope};
use crate::limits::{LEASE_ASKS_MAX, SHARDS_MAX};
use crate::shard::duplicate::DuplicateKey;
use crate::shard::{AcquirerId, CardKey, ShardId};
use core::hash::Hasher;
use counter::{Judged, ScopeCounter};
use holds::Holds;
use siphasher::sip128::{Hasher128, SipHasher13};
use terms::Terms;

/// What a transaction lacks at one counter of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Shortfall {
    pub(in crate::shard) ask: Ask,
    pub(in crate::shard) owner: ShardId,
    pub(in crate::shard) by: LimitKind,
    /// The limit, by its place in the configuration.
    pub(in crate::shard) limit: u8,
    /// Whether another shard may have what is lacking.
    pub(in crate::shard) is_early: bool,
}

/// All counters of entities that one shard keeps.
pub(in crate::shard) struct Escrow {
    id: ShardId,
    shards: usize,
    hasher: SipHasher13,
    counters: Vec<ScopeCounter>,
    conditions: Conditions,
    holds: Holds,
    /// Questions that each shard has not answered yet.
    asks: [u16; SHARDS_MAX],
    now_ms: u64,
    /// What shards of another layout used has been read, and not been divided.
    is_carrying: bool,
}

/// Memory that the counters of entities take in one shard.
#[must_use]
pub fn escrow_bytes(config: &VelocityConfig) -> usize {
    if config.scope_counters.is_empty() {
        return 0;
    }
    let rows = config.scope_counters.iter().map(|counter| {
        let kept = counter.window.parts_counted();
        config.entities * (rows::row_bytes::<Share>(kept) + rows::row_bytes::<Tally>(kept) + 8)
    });
    rows.sum::<usize>() + config.entity_transactions * holds::HOLD_BYTES
}

/// Of a limit on so many shards: what each may use without asking.
#[must_use]
pub fn entitlement(limit: u64, shards: usize) -> u64 {
    Terms::new(limit, shards).entitlement()
}

impl Escrow {
    /// `None` where nothing is counted but cards: it costs nothing then.
    pub(in crate::shard) fn new(
        config: &VelocityConfig,
        (id, shards): (ShardId, usize),
        digest_key: [u8; 16],
    ) -> Option<Box<Self>> {
        if config.scope_counters.is_empty() {
            return None;
        }
        let mut this = Self {
            id,
            shards,
            hasher: SipHasher13::new_with_key(&digest_key),
            counters: config
                .scope_counters
                .iter()
                .map(|counter| ScopeCounter::new(counter, config.entities))
                .collect(),
            conditions: conditions(config),
            holds: Holds::new(config.entity_transactions),
            asks: [0; SHARDS_MAX],
            now_ms: 0,
            is_carrying: false,
        };
        this.judge_by(config);
        Some(Box::new(this))
    }

    /// Limits and conditions are exchanged; what was lent of a limit that is lower now is void as far as
    /// it is not used.
    pub(in crate::shard) fn on_config(&mut self, config: &VelocityConfig) {
        self.conditions = conditions(config);
        self.judge_by(config);
    }

    fn judge_by(&mut self, config: &VelocityConfig) {
        for (place, counter) in self.counters.iter_mut().enumerate() {
            counter.judge_by(Judged::of(config, place, self.shards));
        }
    }

    /// What is lent and not used is void: the process that it was lent to has ended.
    pub(in crate::shard) fn end_leases(&mut self) {
        self.counters.iter_mut().for_each(ScopeCounter::end_leases);
    }

    #[inline]
    pub(in crate::shard) fn advance(&mut self, wall_ms: u64) {
        self.now_ms = self.now_ms.max(wall_ms);
        let now_ms = self.now_ms;
        self.counters.iter_mut().for_each(|counter| counter.advance(now_ms));
    }

    /// What is to be counted of a transaction.
    pub(in crate::shard) fn meant(
        &self,
        card: CardKey,
        t: &VelocityTransaction,
        parties: &Parties<'_>,
    ) -> ScopeHold {
        // As many bits as counters.
        let counters = self.conditions.meaning(t) as u8;
        if counters == 0 {
            return ScopeHold::default();
        }
        let counted = |scope| {
            let of = |(place, counter): (usize, &ScopeCounter)| {
                counters & 1 << place != 0 && counter.scope == scope
            };
            self.counters.iter().enumerate().any(of)
        };
        let mut entities = [Entity::default(); 3];
        let names = [
            (VelocityScope::Acquirer, &[][..]),
            (VelocityScope::Merchant, parties.merchant),
            (VelocityScope::Terminal, parties.terminal),
        ];
        for (entity, (scope, name)) in entities.iter_mut().zip(names) {
            if counted(scope) {
                *entity = self.entity(scope, parties.acquirer, name);
            }
        }
        ScopeHold {
            card,
            entities,
            at_ms: self.now_ms,
            amount_minor: t.amount_minor,
            counters,
            is_transaction: true,
            is_same_currency: true,
        }
    }

    fn entity(&self, scope: VelocityScope, acquirer: AcquirerId, name: &[u8]) -> Entity {
        let mut hasher = self.hasher;
        hasher.write(&[PURPOSE, scope as u8, acquirer.0]);
        hasher.write(name);
        Entity(hasher.finish128().as_u128().to_le_bytes())
    }

    /// What is counted here in the window of now.
    pub(in crate::shard) fn counted_of(&self, counter: usize, parties: &Parties<'_>) -> Tally {
        let Some(of) = self.counters.get(counter) else { return Tally::default() };
        let name = match of.scope {
            VelocityScope::Merchant => parties.merchant,
            VelocityScope::Terminal => parties.terminal,
            VelocityScope::Acquirer | VelocityScope::Card => &[],
        };
        of.with(self.entity(of.scope, parties.acquirer, name), Tally::default()).1
    }

    fn of(&self, counter: u8, hold: &ScopeHold) -> Option<(&ScopeCounter, Entity)> {
        let counter = self.counters.get(usize::from(counter))?;
        Some((counter, entity_of(counter.scope, hold)))
    }

    /// Whether all that is meant can be counted.
    pub(in crate::shard) fn make_room(&mut self, hold: &ScopeHold) -> bool {
        hold.each_counter().all(|place| {
            let Some(counter) = self.counters.get_mut(usize::from(place)) else { return true };
            let (entity, current) = (entity_of(counter.scope, hold), counter.now.number);
            let ScopeCounter { shares, asked, .. } = counter;
            let is_asking = |place: u32| asked.get(place as usize).is_some_and(|&of| of == current);
            shares.find(entity).is_some() || shares.make_room(current, is_asking)
        })
    }

    /// What a transaction lacks at one of its counters; `None`: it is within this shard's part.
    #[inline]
    pub(in crate::shard) fn shortfall(&self, place: u8, hold: &ScopeHold) -> Option<Shortfall> {
        let (counter, entity) = self.of(place, hold)?;
        let judged = counter.judged?;
        let (above, all) = counter.with(entity, hold.units());
        let lacking = above.less(judged.entitlement());
        // What is used here alone may be more than a limit that was lowered.
        let over = all.less(judged.limit());
        if lacking.is_zero() && over.is_zero() {
            return None;
        }
        let by =
            if lacking.plus(over).amount_minor > 0 { LimitKind::Amount } else { LimitKind::Count };
        Some(Shortfall {
            ask: Ask {
                counter: place,
                entity,
                number: counter.now.number,
                least: lacking,
                or_less: false,
            },
            owner: entity.owner(self.shards),
            by,
            limit: judged.limit,
            is_early: over.is_zero() && self.shards > 1,
        })
    }

    /// What is to be asked for before it is needed: when another transaction like this one would not
    /// fit, or a quarter of the entitlement is left; and what was used already above this shard's part.
    pub(in crate::shard) fn ahead(&self, place: u8, hold: &ScopeHold) -> Option<(ShardId, Ask)> {
        let (counter, entity) = self.of(place, hold)?;
        let judged = counter.judged.filter(|_| self.shards > 1)?;
        let owner = entity.owner(self.shards);
        let number = counter.now.number;
        let row = counter.shares.find(entity)?;
        if counter.dry.get(row as usize) == Some(&number) {
            return None;
        }
        let (above, _) = counter.with(entity, Tally::default());
        let entitlement = judged.entitlement();
        let over = above.less(entitlement);
        if !over.is_zero() {
            let ask = Ask { counter: place, entity, number, least: over, or_less: true };
            return Some((owner, ask));
        }
        if owner == self.id {
            return None;
        }
        let units = hold.units();
        let want = |above: u64, entitlement: u64, pool: u64, units: u64| {
            let left = entitlement.saturating_sub(above);
            let is_low = pool > 0 && (left < units || left < entitlement / 4);
            if is_low { units.max(1) } else { 0 }
        };
        let least = Tally {
            count: want(above.count, entitlement.count, judged.pool().count, units.count),
            amount_minor: want(
                above.amount_minor,
                entitlement.amount_minor,
                judged.pool().amount_minor,
                units.amount_minor,
            ),
        };
        let ask = Ask { counter: place, entity, number, least, or_less: false };
        if least.is_zero() { None } else { Some((owner, ask)) }
    }

    /// Whether a question may be sent; then it is noted as under way. One about the same is enough, and
    /// so many at once.
    pub(in crate::shard) fn begin_ask(&mut self, owner: ShardId, ask: &Ask) -> bool {
        let Some(counter) = self.counters.get_mut(usize::from(ask.counter)) else { return false };
        let Some(asks) = self.asks.get_mut(usize::from(owner.0)) else { return false };
        let nothing = owner == self.id || ask.least.is_zero() || *asks >= LEASE_ASKS_MAX as u16;
        if nothing {
            return false;
        }
        if let Some(row) = counter.row(ask.entity)
            && let Some(asked) = counter.asked.get_mut(row as usize)
            && *asked != ask.number
        {
            *asked = ask.number;
            *asks += 1;
            return true;
        }
        false
    }

    /// What the owner, this shard, may lend; and its pool's row afterwards, where that changes.
    pub(in crate::shard) fn lend(&mut self, wall_ms: u64, ask: &Ask) -> (Grant, Option<ScopePool>) {
        self.advance(wall_ms);
        let Ask { counter, entity, number, mut least, or_less } = *ask;
        let nothing = Tally::default();
        let mut grant = Grant { counter, entity, number, more: nothing, limit: nothing };
        let shards = self.shards;
        let Some(of) = self.counters.get_mut(usize::from(counter)) else { return (grant, None) };
        let (Some(judged), true) = (of.judged, entity.owner(shards) == self.id) else {
            return (grant, None);
        };
        grant.limit = judged.limit();
        let row = of.pools.find(entity);
        let is_past =
            number < of.now.number || row.is_some_and(|row| number < of.pools.newest(row));
        if is_past || row.is_none() && !of.pools.make_room(of.now.number, |_| false) {
            return (grant, None);
        }
        let lent = row.map_or(nothing, |row| {
            of.pools.window(row, number).fold(nothing, |sum, (_, lent)| sum.plus(lent))
        });
        let left = judged.pool().less(lent);
        if or_less {
            least = least.with(left, u64::min);
        }
        grant.more = Tally {
            count: judged.count.lend(left.count, least.count),
            amount_minor: judged.amount.lend(left.amount_minor, least.amount_minor),
        };
        if grant.more.is_zero() {
            return (grant, None);
        }
        let before = row.map_or(nothing, |row| of.pools.part(row, number));
        (grant, Some(ScopePool { counter, entity, number, leased: before.plus(grant.more) }))
    }

    /// The owner's answer came: this shard's row from now on, where it changes.
    pub(in crate::shard) fn granted(
        &mut self,
        from: ShardId,
        wall_ms: u64,
        grant: &Grant,
    ) -> Option<ScopeRow> {
        self.advance(wall_ms);
        let asks = self.asks.get_mut(usize::from(from.0))?;
        assert!(*asks > 0, "Invariant: a question is answered once");
        *asks -= 1;
        self.lent(grant)
    }

    /// The same of what was lent by this shard to itself.
    pub(in crate::shard) fn lent(&mut self, grant: &Grant) -> Option<ScopeRow> {
        let Grant { counter, entity, number, more, limit } = *grant;
        let of = self.counters.get_mut(usize::from(counter))?;
        let current = of.now.number;
        let row = of.row(entity)?;
        if let Some(asked) = of.asked.get_mut(row as usize).filter(|asked| **asked == number) {
            *asked = 0;
        }
        if more.is_zero() {
            if let Some(dry) = of.dry.get_mut(row as usize) {
                *dry = number;
            }
            return None;
        }
        if number != current || of.judged.map(|it| it.limit()) != Some(limit) {
            return None;
        }
        let before = of.shares.part(row, number);
        let share = Share { leased: before.leased.plus(more), ..before };
        Some(ScopeRow { counter, entity, number, share })
    }

    /// The row of a counter after `hold` is counted.
    pub(in crate::shard) fn counted(&self, place: u8, hold: &ScopeHold) -> Option<ScopeRow> {
        let (counter, entity) = self.of(place, hold)?;
        let number = counter.number(hold.at_ms);
        let before = counter.share(entity, number);
        let share = Share { used: before.used.plus(hold.units()), ..before };
        Some(ScopeRow { counter: place, entity, number, share })
    }

    /// The row of a counter after so much of `hold` is given back; `None` when that has rolled out.
    pub(in crate::shard) fn given_back(
        &self,
        place: u8,
        hold: &ScopeHold,
        less: Tally,
    ) -> Option<ScopeRow> {
        let (counter, entity) = self.of(place, hold)?;
        let number = counter.number(hold.at_ms);
        let before = counter.share(entity, number);
        let share = Share { used: before.used.less(less), ..before };
        (share != before).then_some(ScopeRow { counter: place, entity, number, share })
    }

    /// What is counted for a request.
    #[inline]
    pub(in crate::shard) fn hold(&self, key: &DuplicateKey) -> Option<ScopeHold> {
        self.holds.find(key).copied()
    }
}

/// Begins what is digested, so that an entity is never the key of a request.
const PURPOSE: u8 = 3;

fn conditions(config: &VelocityConfig) -> Conditions {
    Conditions::new((0..).zip(config.scope_counters.iter().map(|counter| &counter.when)))
}

fn entity_of(scope: VelocityScope, hold: &ScopeHold) -> Entity {
    let [acquirer, merchant, terminal] = hold.entities;
    match scope {
        VelocityScope::Merchant => merchant,
        VelocityScope::Terminal => terminal,
        VelocityScope::Acquirer | VelocityScope::Card => acquirer,
    }
}

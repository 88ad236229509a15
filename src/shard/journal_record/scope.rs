//! Records of what is counted of terminals, merchants, acquirers and tokens: written, read, and as an
//! operator reads them. An entity is shown by the last bytes of its digest.

use super::decode::{Reader, RecordError};
use super::{Kind, ScopeHold, ScopePool, ScopeRow, Writer};
use crate::shard::identity::CardKey;
use crate::shard::velocity::escrow::{Entity, Share, Tally};
use core::fmt;

const IS_TRANSACTION: u8 = 1;
const IS_SAME_CURRENCY: u8 = 2;
/// A token follows. It comes last and only where one is counted: records of before have none.
const HAS_TOKEN: u8 = 4;

impl ScopeRow {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        head(writer, (self.counter, self.entity, self.number));
        tally(writer, self.share.used);
        tally(writer, self.share.leased);
        Kind::ScopeRow
    }
}

impl ScopePool {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        head(writer, (self.counter, self.entity, self.number));
        tally(writer, self.leased);
        Kind::ScopePool
    }
}

impl ScopeHold {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) -> Kind {
        writer.put(self.card.0);
        let [shared @ .., token] = &self.entities;
        shared.iter().for_each(|entity| writer.put(entity.0));
        writer.put(self.at_ms.to_le_bytes());
        writer.put(self.amount_minor.to_le_bytes());
        let transaction = if self.is_transaction { IS_TRANSACTION } else { 0 };
        let currency = if self.is_same_currency { IS_SAME_CURRENCY } else { 0 };
        let has_token = *token != Entity::default();
        let more = if has_token { HAS_TOKEN } else { 0 };
        writer.put([self.counters, transaction | currency | more]);
        if has_token {
            writer.put(token.0);
        }
        Kind::ScopeHeld
    }
}

fn head(writer: &mut Writer<'_>, (counter, entity, number): (u8, Entity, u32)) {
    writer.put([counter]);
    writer.put(entity.0);
    writer.put(number.to_le_bytes());
}

fn tally(writer: &mut Writer<'_>, tally: Tally) {
    writer.put(tally.count.to_le_bytes());
    writer.put(tally.amount_minor.to_le_bytes());
}

impl Reader<'_> {
    fn head(&mut self) -> Result<(u8, Entity, u32), RecordError> {
        let [counter] = self.take()?;
        Ok((counter, Entity(self.take()?), u32::from_le_bytes(self.take()?)))
    }

    fn tally(&mut self) -> Result<Tally, RecordError> {
        Ok(Tally { count: self.number()?, amount_minor: self.number()? })
    }

    pub(super) fn scope_row(&mut self) -> Result<ScopeRow, RecordError> {
        let (counter, entity, number) = self.head()?;
        let share = Share { used: self.tally()?, leased: self.tally()? };
        Ok(ScopeRow { counter, entity, number, share })
    }

    pub(super) fn scope_pool(&mut self) -> Result<ScopePool, RecordError> {
        let (counter, entity, number) = self.head()?;
        Ok(ScopePool { counter, entity, number, leased: self.tally()? })
    }

    pub(super) fn scope_hold(&mut self) -> Result<ScopeHold, RecordError> {
        let card = CardKey(self.take()?);
        let [a, b, c] = [Entity(self.take()?), Entity(self.take()?), Entity(self.take()?)];
        let (at_ms, amount_minor) = (self.number()?, self.number()?);
        let [counters, flags] = self.take()?;
        let has_token = flags & HAS_TOKEN != 0;
        let token = if has_token { Entity(self.take()?) } else { Entity::default() };
        let entities = [a, b, c, token];
        Ok(ScopeHold {
            card,
            entities,
            at_ms,
            amount_minor,
            counters,
            is_transaction: flags & IS_TRANSACTION != 0,
            is_same_currency: flags & IS_SAME_CURRENCY != 0,
        })
    }
}

/// The last bytes of an entity's digest; the first of a token's are of its card.
struct Shown(Entity);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., a, b, c] = self.0.0;
        write!(f, "entity #{a:02x}{b:02x}{c:02x}")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.amount_minor, self.count)
    }
}

impl fmt::Display for ScopeRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counter, entity, number, share } = self;
        let (entity, Share { used, leased }) = (Shown(*entity), share);
        write!(
            f,
            "scope-row      counter {counter} {entity} part {number}: {used} used, {leased} lent"
        )
    }
}

impl fmt::Display for ScopePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counter, entity, number, leased } = self;
        let entity = Shown(*entity);
        write!(f, "scope-pool     counter {counter} {entity} part {number}: {leased} lent")
    }
}

impl fmt::Display for ScopeHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters: Vec<String> =
            self.each_counter().map(|counter| counter.to_string()).collect();
        write!(f, "{} counted by counters {}", self.amount_minor, counters.join(" "))
    }
}

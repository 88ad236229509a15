//! Limits: what is allowed of what counters count. They can be exchanged while the switch runs;
//! counters cannot.

use super::conditions::Conditions;
use super::counters::{Counted, Counters};
use super::{LimitKind, Refusal, VelocityTransaction};
use crate::config::{VelocityConfig, VelocityLimit};
use crate::limits::{
    VELOCITY_AMOUNT_MINOR_MAX, VELOCITY_COUNT_MAX, VELOCITY_COUNTERS_MAX, VELOCITY_LIMITS_MAX,
};
use tapswitch_protocol::ResponseCode;

/// The limits' bits come after those of the counters.
const LIMITS_SHIFT: u32 = VELOCITY_COUNTERS_MAX as u32 + 1;
const COUNTERS_MASK: u64 = (1 << VELOCITY_COUNTERS_MAX) - 1;

/// One limit.
struct Limit {
    name: Box<str>,
    counter: Option<u8>,
    /// `u64::MAX` where there is none.
    amount_minor_max: u64,
    count_max: u64,
    code: Option<ResponseCode>,
}

/// All limits, and the conditions of counters and limits.
pub(super) struct Limits {
    limits: Vec<Limit>,
    /// Those of cards and of single transactions, as a mask; others are judged elsewhere.
    own: u64,
    /// Counters and limits of what the switch approves itself only, by their bits.
    stand_in: u64,
    conditions: Conditions,
}

/// The counters and limits that mean a transaction.
#[derive(Clone, Copy)]
pub(super) struct Meant(u64);

impl Meant {
    /// The counters, as a mask.
    #[inline]
    pub(super) fn counters(self) -> u8 {
        // Seven bits are left.
        (self.0 & COUNTERS_MASK) as u8
    }

    /// Whether this limit means it.
    pub(super) fn has_limit(self, limit: u8) -> bool {
        self.0 >> LIMITS_SHIFT >> limit & 1 != 0
    }
}

impl Limits {
    pub(super) fn new(config: &VelocityConfig) -> Self {
        assert!(
            config.limits.len() <= VELOCITY_LIMITS_MAX,
            "Invariant: limits are within their number"
        );
        let counters = config.counters.iter().map(|counter| &counter.when);
        let limits = config.limits.iter().map(|limit| &limit.when);
        let all = || (0..).zip(counters.clone()).chain((LIMITS_SHIFT..).zip(limits.clone()));
        let conditions = Conditions::new(all());
        let stand_in = all().filter(|(_, when)| when.stand_in);
        let stand_in = stand_in.fold(0, |mask, (bit, _)| mask | 1 << bit);
        let own =
            config.limits.iter().enumerate().filter(|(_, limit)| limit.scope_counter.is_none());
        let own = own.fold(0, |mask, (place, _)| mask | 1 << place);
        Self { limits: config.limits.iter().map(Limit::new).collect(), own, stand_in, conditions }
    }

    pub(super) fn len(&self) -> usize {
        self.limits.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.limits.iter().map(|limit| &*limit.name)
    }

    pub(super) fn name_and_code(&self, index: u8) -> Option<(&str, Option<ResponseCode>)> {
        let limit = self.limits.get(usize::from(index))?;
        Some((&limit.name, limit.code))
    }

    #[inline]
    pub(super) fn meant(&self, t: &VelocityTransaction) -> Meant {
        Meant(self.conditions.meaning(t) & !self.stand_in)
    }

    /// The same of what the switch approves itself.
    pub(super) fn meant_standing_in(&self, t: &VelocityTransaction) -> Meant {
        Meant(self.conditions.meaning(t))
    }

    /// The first limit that a transaction of this amount would pass; `words` are those of its card.
    #[inline]
    pub(super) fn judge(
        &self,
        counters: &Counters,
        words: &[u64],
        meant: Meant,
        amount_minor: u64,
    ) -> Result<(), Refusal> {
        let mut left = meant.0 >> LIMITS_SHIFT & self.own;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(limit) = self.limits.get(index) else { break };
            // Fewer than 64 limits.
            let refused = |by| Err(Refusal::Limit { limit: index as u8, by });
            let (count, sum) = match limit.counter {
                None => (0, 0),
                // A limit judges what its counter counts.
                Some(counter) if meant.0 & 1 << counter == 0 => continue,
                Some(counter) => match counters.counted(words, usize::from(counter)) {
                    Counted::Sum { count, amount_minor } => (count, amount_minor),
                    Counted::Stuck if limit.amount_minor_max < u64::MAX => {
                        return refused(LimitKind::Amount);
                    }
                    Counted::Stuck => return refused(LimitKind::Count),
                },
            };
            // The differences cannot wrap even for an amount of 64 bits, nor where a limit was
            // lowered below what is counted already.
            if amount_minor > limit.amount_minor_max.saturating_sub(sum) {
                return refused(LimitKind::Amount);
            }
            if count >= limit.count_max {
                return refused(LimitKind::Count);
            }
        }
        Ok(())
    }
}

impl Limit {
    fn new(limit: &VelocityLimit) -> Self {
        let amount_minor_max = limit.amount_minor_max.unwrap_or(u64::MAX);
        let count_max = limit.count_max.map_or(u64::MAX, u64::from);
        assert!(
            limit.amount_minor_max.is_none_or(|max| max <= VELOCITY_AMOUNT_MINOR_MAX),
            "Invariant: amounts fit 48 bits"
        );
        assert!(
            limit.scope_counter.is_some()
                || limit.count_max.is_none_or(|max| u64::from(max) <= VELOCITY_COUNT_MAX),
            "Invariant: counts fit 16 bits"
        );
        Self {
            name: limit.name.as_str().into(),
            // At most seven counters.
            counter: limit.counter.map(|counter| counter as u8),
            amount_minor_max,
            count_max,
            code: limit.code,
        }
    }
}

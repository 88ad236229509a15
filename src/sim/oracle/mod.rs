//! What must hold, known from outside: from what acquirers sent and got, what issuers have in their
//! books, and which answers and forwards a shard decided at which time. Nothing here knows how a shard
//! is made. The invariants are numbered as in README, "The simulator".

mod epochs;
mod limits;
mod order;
mod scopes;
mod secrets;

pub(super) use epochs::{Epochs, Rules};
pub(super) use limits::{Forwarded, Limits};
pub(super) use order::Order;
pub(super) use scopes::{Bounds, Scopes};
pub(super) use secrets::SecretsWatch;

use super::wire::Seen;

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// The transaction; 0: none in particular.
    pub number: u32,
    /// Its card, by its number in the world.
    pub card: Option<u32>,
    /// Simulated time.
    pub at_ns: u64,
    /// What was seen.
    pub text: String,
}

/// All that is checked.
pub(super) struct Oracle {
    pub(super) limits: Limits,
    pub(super) epochs: Epochs,
    pub(super) order: Order,
    pub(super) secrets: SecretsWatch,
    /// For each request the process that forwarded it last, and under which trace number and DE 7.
    forwarded_by: Vec<(u32, (u32, u32))>,
    violation: Option<Violation>,
}

impl Oracle {
    pub(super) fn new(limits: Limits, epochs: Epochs, secrets: SecretsWatch) -> Self {
        let order = Order::default();
        Self { limits, epochs, order, secrets, forwarded_by: Vec::new(), violation: None }
    }

    /// The first violation counts.
    pub(super) fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(super) fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// A request is forwarded by this process. Tells whether it was forwarded by it before.
    pub(super) fn on_forwarded(
        &mut self,
        (number, as_numbers): (u32, (u32, u32)),
        life: u32,
    ) -> bool {
        let number = number as usize;
        if number >= self.forwarded_by.len() {
            self.forwarded_by.resize(number + 1_024, (0, (0, 0)));
        }
        core::mem::replace(&mut self.forwarded_by[number], (life, as_numbers)).0 == life
    }

    /// What is wrong with DE 90 of a reversal: the process that forwarded the original knows by which
    /// numbers its issuer knows it.
    pub(super) fn names_another(&self, reversal: &Seen, life: u32) -> Option<String> {
        let (by, as_numbers) = *self.forwarded_by.get(reversal.reference as usize)?;
        let named = reversal.original.filter(|named| by == life && *named != as_numbers)?;
        Some(format!("DE 90 of its reversal names {named:?}, it was forwarded as {as_numbers:?}"))
    }

    /// The process is gone; of each shard's journal so much is left.
    pub(super) fn on_crash(&mut self, left: impl Iterator<Item = u64>) {
        self.epochs.on_crash(left);
        self.limits.on_crash();
        self.order.on_crash();
    }
}

//! Which counters count a transaction, and of whom.
//!
//! Not here: how much of it is allowed.

use super::{Entity, Escrow, Parties, ScopeCounter, ScopeHold, Tally};
use crate::config::VelocityScope;
use crate::shard::CardKey;
use crate::shard::velocity::VelocityTransaction;
use core::hash::Hasher;
use siphasher::sip128::Hasher128;

/// Begins what is digested, so that an entity is never the key of a request.
const PURPOSE: u8 = 3;

impl Escrow {
    /// Whether tokens are counted at all.
    pub(in crate::shard) fn counts_tokens(&self) -> bool {
        self.tokens != 0
    }

    /// Whether a counter of tokens means such transactions: only then somebody needs to know the token.
    pub(in crate::shard) fn means_tokens(&self, t: &VelocityTransaction) -> bool {
        // As many bits as counters.
        self.tokens != 0 && self.conditions.meaning(t) as u8 & self.tokens != 0
    }

    /// What is to be counted of a transaction.
    pub(in crate::shard) fn meant(
        &self,
        card: CardKey,
        t: &VelocityTransaction,
        parties: &Parties<'_>,
    ) -> ScopeHold {
        let mut counters = self.conditions.meaning(t) as u8;
        if parties.token.is_none() {
            counters &= !self.tokens;
        }
        if counters == 0 {
            return ScopeHold::default();
        }
        let counted = |scope| {
            let of = |(place, counter): (usize, &ScopeCounter)| {
                counters & 1 << place != 0 && counter.scope == scope
            };
            self.counters.iter().enumerate().any(of)
        };
        let names = [
            (VelocityScope::Acquirer, &[][..]),
            (VelocityScope::Merchant, parties.merchant),
            (VelocityScope::Terminal, parties.terminal),
        ];
        let mut entities = [Entity::default(); 4];
        for (entity, (scope, name)) in entities.iter_mut().zip(names) {
            if counted(scope) {
                let digest = self.digest(scope, &[&[parties.acquirer.0], name]);
                *entity = Entity(digest.to_le_bytes());
            }
        }
        if let Some(token) = parties.token
            && counted(VelocityScope::Token)
        {
            let parts = [&card.0[..], &token.number().to_le_bytes()];
            let digest = self.digest(VelocityScope::Token, &parts);
            let [.., last] = &mut entities;
            *last = Entity::of_token(card, digest);
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

    /// What is counted here in the window of now; of tokens nothing, which nobody names so.
    pub(in crate::shard) fn counted_of(&self, counter: usize, parties: &Parties<'_>) -> Tally {
        let Some(of) = self.counters.get(counter) else { return Tally::default() };
        let name = match of.scope {
            VelocityScope::Merchant => parties.merchant,
            VelocityScope::Terminal => parties.terminal,
            VelocityScope::Acquirer | VelocityScope::Card => &[],
            VelocityScope::Token => return Tally::default(),
        };
        let digest = self.digest(of.scope, &[&[parties.acquirer.0], name]);
        of.with(Entity(digest.to_le_bytes()), Tally::default()).1
    }

    fn digest(&self, scope: VelocityScope, parts: &[&[u8]]) -> u128 {
        let mut hasher = self.hasher;
        hasher.write(&[PURPOSE, scope as u8]);
        parts.iter().for_each(|part| hasher.write(part));
        hasher.finish128().as_u128()
    }
}

pub(super) fn entity_of(scope: VelocityScope, hold: &ScopeHold) -> Entity {
    let [acquirer, merchant, terminal, token] = hold.entities;
    match scope {
        VelocityScope::Merchant => merchant,
        VelocityScope::Terminal => terminal,
        VelocityScope::Token => token,
        VelocityScope::Acquirer | VelocityScope::Card => acquirer,
    }
}

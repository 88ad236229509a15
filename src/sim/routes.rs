//! Which issuer a message may go to: that of the card, or its second route, which only new requests go
//! by and only while the first cannot be reached. What was asked of one is nobody else's: it is never
//! asked of both, and what follows it (reversals, voids, completions) goes where it went.
//!
//! Not here: what an issuer makes of a message (`issuer`), and whether the books agree (`ending`).

use super::book::Kind;
use super::oracle::Rules;
use super::plan::NS_PER_S;
use super::wire::{Seen, issuer_of};
use super::world::World;
use crate::shard::Now;

/// A link that has been there for so long has been signed on.
const STEADY_NS: u64 = 2 * NS_PER_S;

/// Where each transaction went.
#[derive(Default)]
pub(super) struct Routes {
    /// The issuer that was asked, by number of the transaction.
    asked: Vec<Option<u8>>,
}

impl Routes {
    fn asked(&mut self, number: u32) -> &mut Option<u8> {
        let number = number as usize;
        if number >= self.asked.len() {
            self.asked.resize(number + 1_024, None);
        }
        &mut self.asked[number]
    }
}

impl World {
    /// Whether messages of a card may be an issuer's at all.
    pub(super) fn may_have(&self, issuer: u8, card: u32) -> bool {
        self.oracle.epochs.any(|rules| self.is_way(*rules, issuer, card))
    }

    /// Whether by these rules a card's new requests go to an issuer.
    fn is_way(&self, rules: Rules, issuer: u8, card: u32) -> bool {
        let first = rules.routes[issuer_of(card)];
        issuer == first || self.plan.failover[usize::from(first)] == Some(issuer)
    }

    /// Whether an issuer that was asked has approved it.
    pub(super) fn is_vouched(&self, number: u32) -> bool {
        self.issuers.all(number).any(|entry| entry.is_vouched)
    }

    /// What is wrong with the issuer that a shard sends a message to.
    pub(super) fn wrong_route(
        &mut self,
        (shard, now): (usize, Now),
        issuer: u8,
        seen: &Seen,
    ) -> Option<(&'static str, String)> {
        let (number, class) = (seen.reference, seen.class());
        let (kind, related) = self.book.get(number).map(|it| (it.kind, it.related))?;
        if !self.may_have(issuer, seen.card) {
            let text = format!("{:04} goes to issuer {issuer}, whose it is not", seen.mti);
            return Some(("I-7", text));
        }
        let before = *self.routes.asked(number);
        if class == 42 {
            // Where nothing of it is known it may be told to both.
            return None;
        }
        let original = match kind {
            Kind::Completion | Kind::Void => *self.routes.asked(related),
            _ => None,
        };
        if let Some(asked) = original.filter(|asked| *asked != issuer) {
            let text = format!("{kind:?} goes to issuer {issuer}, its original went to {asked}");
            return Some(("I-7", text));
        }
        if !matches!(class, 10 | 20) {
            return None;
        }
        *self.routes.asked(number) = Some(issuer);
        if let Some(asked) = before.filter(|asked| *asked != issuer) {
            return Some(("I-1", format!("forwarded to issuer {asked}, and to {issuer} too")));
        }
        let rules = self.oracle.epochs.rules(shard);
        let first = rules.routes[issuer_of(seen.card)];
        if original.is_none() && !self.is_way(rules, issuer, seen.card) {
            let was = self.oracle.epochs.was(shard, |older| self.is_way(*older, issuer, seen.card));
            let text = format!("goes to issuer {issuer}, shard {shard} goes by {rules:?}");
            return Some((if was { "I-19" } else { "I-7" }, text));
        }
        if issuer != first && original.is_none() {
            self.tally.failed_over += 1;
            if self.is_there_for_sure(now, first, shard) {
                let text = format!("goes by issuer {issuer}, and issuer {first} is there");
                return Some(("I-7", text));
            }
        }
        None
    }

    /// Whether a shard must know that it can reach an issuer: nothing that this world does to links and
    /// sessions could be in its way.
    fn is_there_for_sure(&self, now: Now, issuer: u8, shard: usize) -> bool {
        let trouble = &self.plan.trouble;
        let is_calm = trouble.management_lost == 0
            && trouble.management_refused == 0
            && trouble.sign_off_every_ms == 0
            && trouble.brown_out_every_ms == 0
            && self.plan.sessions[usize::from(issuer)].breaker_timeouts == 0;
        let is_linked = self.plan.linked[usize::from(issuer)];
        let since_ns = now.mono_ns.saturating_sub(STEADY_NS);
        !is_linked || is_calm && self.links.is_up_since(issuer, shard, since_ns)
    }
}

//! Stand-in in worlds: which issuers have agreed to it, what a switch approved so, whether the rule
//! allowed it, and what the issuer's books make of the advice.
//!
//! Not here: limits of all transactions, which hold for these too (`oracle::limits`).

use super::book::{Kind, View};
use super::issuer::Standing;
use super::oracle::Forwarded;
use super::plan::ISSUERS;
use super::random::Stream;
use super::wire::{Seen, issuer_of};
use super::world::World;
use crate::shard::Now;
use std::collections::BTreeMap;

/// The mark in DE 44 of such an approval.
pub(super) const MARK: &str = "STAND-IN";
const DAY_MS: u64 = 86_400_000;

/// The rule of a world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Which issuers' cards it means.
    pub(super) issuers: [bool; ISSUERS],
    pub(super) amount_max: u64,
    /// Of a card and day (UTC).
    pub(super) count_max: u64,
    pub(super) after_time_out: bool,
    pub(super) window_full: bool,
}

impl Rule {
    /// One world in three has one.
    pub(super) fn draw(draw: &mut Stream) -> Option<Self> {
        let is_there = draw.below(3) == 0;
        let rule = Self {
            issuers: [draw.below(2) == 0, true, draw.below(2) == 0],
            amount_max: draw.between(500, 10_000),
            count_max: draw.between(1, 8),
            after_time_out: draw.below(2) == 0,
            window_full: draw.below(2) == 0,
        };
        is_there.then_some(rule)
    }
}

/// A purchase that a switch approved by itself.
struct Approved {
    /// The process that did it last.
    life: u32,
    /// Its issuer has the advice.
    is_told: bool,
    /// When it was approved is known.
    is_seen: bool,
}

/// All of them.
#[derive(Default)]
pub(super) struct StoodIn {
    approved: BTreeMap<u32, Approved>,
    /// By card and day.
    of_card: BTreeMap<(u32, u64), Vec<u32>>,
}

impl StoodIn {
    pub(super) fn has(&self, number: u32) -> bool {
        self.approved.contains_key(&number)
    }
}

impl World {
    /// A shard approves a purchase by itself, or answers again that it has.
    pub(super) fn on_stood_in(&mut self, (shard, now): (usize, Now), number: u32) {
        let entry = self.book.at(number);
        let (life, is_told) = (self.switch.life, entry.view != View::Waiting);
        let before = self.stood_in.approved.get(&number).map(|it| it.life);
        if before == Some(life) || before.is_some() && is_told {
            return;
        }
        if let Some(text) = self.broken_rule(now, number) {
            return self.fail("I-4", number, text);
        }
        self.count_stood_in((shard, now), number, before.is_none());
    }

    /// Judged only if this is when it was approved.
    fn count_stood_in(&mut self, (shard, now): (usize, Now), number: u32, is_now: bool) {
        let entry = self.book.at(number);
        let (acquirer, card, amount) = (entry.acquirer, entry.card, entry.amount);
        let life = self.switch.life;
        let is_first = !self.stood_in.has(number);
        let approved = Approved { life, is_told: false, is_seen: is_now };
        self.stood_in.approved.entry(number).or_insert(approved).life = life;
        if is_first {
            self.tally.stood_in += 1;
            let day = now.wall_ms / DAY_MS;
            self.stood_in.of_card.entry((card, day)).or_default().push(number);
        }
        if is_now {
            self.oracle.order.on_accepted(number, card);
        }
        // What a process before had approved, and nobody was told of, may be answered again: that was
        // judged then.
        let issuer = issuer_of(card) as u8;
        let forwarded = Forwarded {
            number,
            acquirer,
            card,
            amount,
            is_limited: is_now,
            is_advice: true,
            issuer,
        };
        if let Some((invariant, text)) = self.oracle.limits.on_stood_in(now, shard, &forwarded) {
            self.fail(invariant, number, text);
        }
    }

    /// Whether something of this card may have been approved so that nobody has seen: its answer waits
    /// for a connection.
    pub(super) fn may_have_stood_in_unseen(&self, card: u32) -> bool {
        let is_open = |number: u32| {
            let entry = self.book.at(number);
            let waits = matches!(entry.view, View::Waiting | View::Reversing)
                || self.stood_in.approved.get(&number).is_some_and(|it| !it.is_seen);
            entry.card == card && entry.kind == Kind::Purchase && waits
        };
        let has_rule = self.plan.stand_in.is_some_and(|rule| rule.issuers[issuer_of(card)]);
        has_rule && (1..self.book.len()).any(is_open)
    }

    /// How the approval is beyond the rule.
    fn broken_rule(&self, now: Now, number: u32) -> Option<String> {
        let entry = self.book.at(number);
        let rule = self.plan.stand_in.filter(|rule| rule.issuers[issuer_of(entry.card)]);
        let Some(rule) = rule else { return Some("stood in for, which no rule means".to_owned()) };
        if entry.amount > rule.amount_max {
            return Some(format!("stood in for with {}: {rule:?}", entry.amount));
        }
        let day = (entry.card, now.wall_ms / DAY_MS);
        let others = self.stood_in.of_card.get(&day).map_or(&[][..], Vec::as_slice);
        // What may have been taken back may count no more.
        let stands = |other: &&u32| {
            let of = self.book.at(**other);
            **other != number && of.view == View::Approved && of.undone_by == 0
        };
        let standing = others.iter().filter(stands).count() as u64;
        (standing >= rule.count_max).then(|| format!("stood in for after {standing}: {rule:?}"))
    }

    /// The issuer is told that it has approved a purchase.
    pub(super) fn on_stand_in_advice(&mut self, issuer: u8, seen: &Seen) {
        let number = seen.reference;
        if !self.stood_in.has(number) {
            // Its acquirer has no connection, and the answer waits for one: nobody has seen it yet.
            let (card, now) = (self.book.at(number).card, self.clock.now(self.now_ns));
            let shard = self.shard_of_card[card as usize].unwrap_or_default();
            self.count_stood_in((usize::from(shard), now), number, false);
        }
        let Some(approved) = self.stood_in.approved.get_mut(&number) else { return };
        if core::mem::replace(&mut approved.is_told, true) {
            return;
        }
        let entry = self.issuers.entry(issuer, number);
        if entry.standing == Standing::Held {
            let text = "its issuer holds it already, and is told to hold it".to_owned();
            return self.fail("I-3", number, text);
        }
        entry.standing = Standing::Held;
        entry.amount = seen.amount;
    }
}

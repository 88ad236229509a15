//! Limits of cards, counted naively: every transaction with its time, and two sums over them. What
//! *must* count (forwarded and not answered, or approved and told, and not taken back) may never be
//! above a limit when another one is let through. What *may* count must be above it when one is
//! declined for it.
//!
//! Between the two is what nobody outside can know: whether an answer that was lost with a connection
//! or a process still counts.

use super::scopes::Scopes;
use crate::shard::Now;
use crate::sim::plan::{ISSUER_WAIT_MS, Limit, NS_PER_MS, Window};
use std::collections::BTreeMap;

/// What is known of whether a transaction counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// Forwarded: counts until its issuer's time is over.
    UnderWay,
    /// Approved, and its acquirer knows.
    Counts,
    Unknown,
}

/// One transaction in the counters of its card.
#[derive(Clone, Copy)]
struct Counted {
    number: u32,
    wall_ms: u64,
    due_ns: u64,
    certainty: Certainty,
    amount_least: u64,
    amount_most: u64,
    may_count: bool,
}

/// A request or advice that a shard lets through.
pub(in crate::sim) struct Forwarded {
    pub(in crate::sim) number: u32,
    pub(in crate::sim) acquirer: u8,
    pub(in crate::sim) card: u32,
    pub(in crate::sim) amount: u64,
    pub(in crate::sim) is_limited: bool,
    pub(in crate::sim) is_advice: bool,
    pub(in crate::sim) issuer: u8,
}

/// Which invariant does not hold, and what was seen.
pub(in crate::sim) type Broken = (&'static str, String);
/// Judged by a configuration that is not in force any more.
const OLDER: &str = "I-19";

/// All cards.
pub(in crate::sim) struct Limits {
    counters: Vec<Window>,
    /// All configurations there were.
    sets: Vec<Vec<Limit>>,
    in_force: Vec<usize>,
    cards: Vec<Vec<Counted>>,
    card_of: BTreeMap<u32, u32>,
    /// Issuer and shard of what is under way.
    under_way: BTreeMap<u32, (u8, usize)>,
    /// What many cards share.
    pub(in crate::sim) scopes: Scopes,
}

impl Limits {
    pub(in crate::sim) fn new(
        (counters, limits): (Vec<Window>, Vec<Limit>),
        scopes: Scopes,
        cards: u64,
        shards: usize,
    ) -> Self {
        Self {
            counters,
            sets: vec![limits],
            in_force: vec![0; shards],
            cards: vec![Vec::new(); cards as usize],
            card_of: BTreeMap::new(),
            under_way: BTreeMap::new(),
            scopes,
        }
    }

    /// Another configuration, and its place.
    pub(in crate::sim) fn add_set(&mut self, limits: Vec<Limit>) -> usize {
        self.sets.push(limits);
        self.sets.len() - 1
    }

    /// A shard judges by this configuration from now on.
    pub(in crate::sim) fn on_limits(&mut self, shard: usize, set: usize) {
        self.in_force[shard] = set;
    }

    /// A new process judges by the newest.
    pub(in crate::sim) fn on_start(&mut self) {
        self.in_force.fill(self.sets.len() - 1);
    }

    /// A shard lets this through. Says so if a limit is passed for sure.
    pub(in crate::sim) fn on_let_through(
        &mut self,
        now: Now,
        shard: usize,
        forwarded: &Forwarded,
    ) -> Option<Broken> {
        let Forwarded { number, card, amount, is_limited, is_advice, issuer, .. } = *forwarded;
        let passed_shared = self.scopes.on_let_through(now, forwarded);
        let set = self.in_force[shard];
        let passed = if is_limited { self.passed(now, (set, card), amount) } else { None };
        let is_older = passed.is_some()
            && (0..set).any(|older| self.passed(now, (older, card), amount).is_none());
        let is_again = self.card_of.insert(number, card).is_some();
        if is_again {
            // By another process, which may know of the first time or not.
            self.each(number, |counted| counted.certainty = Certainty::Unknown);
        }
        let is_sure = is_limited && !is_again;
        let certainty = if is_sure { Certainty::UnderWay } else { Certainty::Unknown };
        let counted = Counted {
            number,
            wall_ms: now.wall_ms,
            due_ns: now.mono_ns + ISSUER_WAIT_MS * NS_PER_MS,
            certainty,
            // What a completion counts for depends on what became of its hold.
            amount_least: if is_limited || is_advice { amount } else { 0 },
            amount_most: amount,
            may_count: true,
        };
        let entries = &mut self.cards[card as usize];
        if entries.len() >= 64 && entries.len().is_power_of_two() {
            entries.retain(|it| it.may_count || it.certainty != Certainty::Unknown);
        }
        if is_limited || is_advice || amount > 0 {
            entries.push(counted);
        }
        self.under_way.insert(number, (issuer, shard));
        let passed = passed.map(|(what, sums)| format!("let through above {what}: {sums}"));
        passed.or(passed_shared).map(|text| (if is_older { OLDER } else { "I-12" }, text))
    }

    /// A shard approves it by itself; what was counted for its forward is given back.
    pub(in crate::sim) fn on_stood_in(
        &mut self,
        now: Now,
        shard: usize,
        approved: &Forwarded,
    ) -> Option<Broken> {
        self.on_reversed(approved.number);
        let passed = self.on_let_through(now, shard, approved);
        self.on_issuer_answer(approved.number);
        passed
    }

    /// The limit that this passes for sure.
    fn passed(&self, now: Now, (set, card): (usize, u32), amount: u64) -> Option<(String, String)> {
        self.sets[set].iter().find_map(|limit| {
            let (count, sum) = limit
                .counter
                .map_or((0, 0), |counter| self.sums(now, (card, self.counters[counter]), true));
            let over = above(limit, count + 1, sum + amount);
            over.then(|| {
                (format!("{limit:?}"), format!("{count} and {sum} count for sure, {amount} more"))
            })
        })
    }

    /// A shard declines for a limit. Says so if none can be passed.
    pub(in crate::sim) fn on_declined(
        &self,
        now: Now,
        (shard, acquirer, card): (usize, u8, u32),
        amount: u64,
    ) -> Option<Broken> {
        let may = |limit: &Limit| {
            let (count, sum) = limit
                .counter
                .map_or((0, 0), |counter| self.sums(now, (card, self.counters[counter]), false));
            above(limit, count + 1, sum + amount)
        };
        let set = self.in_force[shard];
        let is_justified = self.sets[set].iter().any(may)
            || self.scopes.may_decline(now, (acquirer, card), amount);
        (!is_justified).then(|| {
            let most = self.counters.iter().map(|window| self.sums(now, (card, *window), false));
            let most: Vec<_> = most.collect();
            let limits = &self.sets[set];
            let is_older = self.sets[..set].iter().flatten().any(may);
            let text = format!(
                "{amount} was declined; at most {most:?} count in {:?}, limits are {limits:?}",
                self.counters
            );
            (if is_older { OLDER } else { "I-10" }, text)
        })
    }

    /// Count and sum of a counter: the least that they can be, or the most.
    fn sums(&self, now: Now, (card, window): (u32, Window), least: bool) -> (u64, u64) {
        let is_within = |counted: &&Counted| match window {
            Window::Fixed { window_s } => {
                counted.wall_ms / (window_s * 1_000) == now.wall_ms / (window_s * 1_000)
            }
            Window::Day => counted.wall_ms / 86_400_000 == now.wall_ms / 86_400_000,
            Window::Rolling { window_s, sub_windows } => {
                let part_ms = if least { 0 } else { window_s * 1_000 / sub_windows };
                counted.wall_ms + window_s * 1_000 + part_ms > now.wall_ms
            }
        };
        let counts = |counted: &&Counted| match (least, counted.certainty) {
            (false, _) => counted.may_count,
            (true, Certainty::UnderWay) => now.mono_ns < counted.due_ns,
            (true, Certainty::Counts) => true,
            (true, Certainty::Unknown) => false,
        };
        let all = self.cards[card as usize].iter().filter(is_within).filter(counts);
        all.fold((0, 0), |(count, sum), counted| {
            let amount = if least { counted.amount_least } else { counted.amount_most };
            (count + 1, sum + amount)
        })
    }

    fn each(&mut self, number: u32, change: impl Fn(&mut Counted)) {
        let Some(card) = self.card_of.get(&number) else { return };
        let entries = self.cards[*card as usize].iter_mut().rev();
        entries.filter(|counted| counted.number == number).for_each(change);
    }

    /// An answer to it went into its shard: what it made of it is not known yet.
    pub(in crate::sim) fn on_issuer_answer(&mut self, number: u32) {
        self.under_way.remove(&number);
        self.scopes.on_issuer_answer(number);
        self.each(number, |counted| {
            if counted.certainty == Certainty::UnderWay {
                counted.certainty = Certainty::Unknown;
            }
        });
    }

    /// An issuer's link of a shard is lost.
    pub(in crate::sim) fn on_link_down(&mut self, issuer: u8, shard: usize) {
        let lost = self.under_way.iter().filter(|(_, whose)| **whose == (issuer, shard));
        let lost: Vec<u32> = lost.map(|(number, _)| *number).collect();
        lost.into_iter().for_each(|number| self.on_issuer_answer(number));
    }

    /// The process is gone.
    pub(in crate::sim) fn on_crash(&mut self) {
        let lost: Vec<u32> = self.under_way.keys().copied().collect();
        lost.into_iter().for_each(|number| self.on_issuer_answer(number));
    }

    /// Its acquirer has the approval.
    pub(in crate::sim) fn on_received(&mut self, number: u32) {
        self.scopes.on_received(number);
        let Some(card) = self.card_of.get(&number) else { return };
        let mut entries = self.cards[*card as usize].iter_mut().filter(|it| it.number == number);
        // Counted by two processes: by which of them counts is not known.
        if let (Some(only), None) = (entries.next(), entries.next())
            && only.amount_least > 0
        {
            only.certainty = Certainty::Counts;
        }
    }

    /// A non-approving answer was decided, or a reversal acknowledged: it counts no more.
    pub(in crate::sim) fn on_reversed(&mut self, number: u32) {
        self.under_way.remove(&number);
        self.scopes.on_reversed(number);
        self.each(number, |counted| {
            counted.certainty = Certainty::Unknown;
            counted.may_count = false;
        });
    }

    /// Its acquirer takes it back, or all but `left`: when that takes effect is not known.
    pub(in crate::sim) fn on_taken_back(&mut self, number: u32, left: Option<u64>) {
        self.scopes.on_taken_back(number, left);
        self.each(number, |counted| match left {
            None => counted.certainty = Certainty::Unknown,
            Some(left) => counted.amount_least = counted.amount_least.min(left),
        });
    }

    /// Whether it still counts cannot be told from outside.
    pub(in crate::sim) fn on_uncertain(&mut self, number: u32) {
        self.on_taken_back(number, None);
    }

    /// A hold is completed by this amount: it counts that, in its own window.
    pub(in crate::sim) fn on_completed(&mut self, hold: u32, amount: u64) {
        self.scopes.on_completed(hold, amount);
        self.each(hold, |counted| {
            counted.amount_least = counted.amount_least.min(amount);
            counted.amount_most = counted.amount_most.max(amount);
        });
    }
}

fn above(limit: &Limit, count: u64, sum: u64) -> bool {
    limit.count_max.is_some_and(|max| count > max && limit.counter.is_some())
        || limit.amount_max.is_some_and(|max| sum > max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(number: u32, amount: u64) -> Forwarded {
        Forwarded {
            number,
            acquirer: 0,
            card: 0,
            amount,
            is_limited: true,
            is_advice: false,
            issuer: 0,
        }
    }

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * NS_PER_MS, wall_ms: 1_000_000 + ms }
    }

    fn limits(window: Window) -> Limits {
        let limit = Limit { counter: Some(0), count_max: Some(2), amount_max: Some(100) };
        Limits::new((vec![window], vec![limit]), Scopes::new(Vec::new(), 1), 1, 1)
    }

    #[test]
    fn what_is_under_way_counts_until_it_is_answered_or_too_old() {
        let mut limits = limits(Window::Rolling { window_s: 10, sub_windows: 2 });
        assert_eq!(limits.on_let_through(at(0), 0, &forwarded(1, 60)), None);
        assert!(limits.passed(at(1), (0, 0), 41).is_some());
        assert!(limits.passed(at(ISSUER_WAIT_MS), (0, 0), 41).is_none(), "its time is over");
        assert!(limits.on_declined(at(1), (0, 0, 0), 41).is_none());
        assert!(limits.on_declined(at(1), (0, 0, 0), 40).is_some(), "not justified");
        limits.on_received(1);
        assert!(limits.passed(at(9_999), (0, 0), 41).is_some());
        assert!(limits.passed(at(10_000), (0, 0), 41).is_none());
        assert!(
            limits.on_declined(at(14_999), (0, 0, 0), 41).is_none(),
            "rounded against the card"
        );
        assert!(limits.on_declined(at(15_000), (0, 0, 0), 41).is_some());
        limits.on_reversed(1);
        assert!(limits.on_declined(at(1), (0, 0, 0), 41).is_some());
    }
}

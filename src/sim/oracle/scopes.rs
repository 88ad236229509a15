//! Limits of merchants, terminals and acquirers, over all shards: every transaction with its time, added
//! up by the parts of windows. As for cards (`limits`), what *must* count may never be above a limit when
//! another request is let through, whichever shard does so; and what the shards say that they have
//! counted lies between what must count and what *may*.
//!
//! Advices and completions have happened whatever the limits say: they are counted, and held against
//! nobody. A shard may decline early, but not as long as all that may count is within the part of the
//! limit that it may use without asking.

use super::limits::{Certainty, Forwarded};
use crate::shard::Now;
use crate::sim::plan::{ISSUER_WAIT_MS, MERCHANTS, NS_PER_MS, Party, Scope, Window};
use std::collections::{BTreeMap, VecDeque};

/// Transactions and money.
type Sum = [u64; 2];

/// What is added up of one merchant, terminal or acquirer in one part of a window.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Requests that limits judge, of those that count for sure.
    judged: Sum,
    least: Sum,
    most: Sum,
}

/// One transaction that was let through.
#[derive(Clone, Copy)]
struct Counted {
    wall_ms: u64,
    acquirer: u8,
    card: u32,
    is_limited: bool,
    certainty: Certainty,
    amount_least: u64,
    amount_most: u64,
    may_count: bool,
}

/// What shards together have counted of a merchant, terminal or acquirer, at least and at most.
pub(in crate::sim) struct Bounds {
    pub(in crate::sim) scope: usize,
    pub(in crate::sim) acquirer: u8,
    /// One of the merchant's.
    pub(in crate::sim) card: u32,
    pub(in crate::sim) least: Sum,
    pub(in crate::sim) most: Sum,
}

/// All limits of what many cards share.
pub(in crate::sim) struct Scopes {
    scopes: Vec<Scope>,
    shards: u64,
    all: Vec<Counted>,
    /// The places of a transaction: a process after a crash may let it through again.
    of: BTreeMap<u32, Vec<usize>>,
    /// By limit, acquirer, merchant and part.
    sums: BTreeMap<(usize, u8, u32, u64), Sums>,
    /// Since when there are so many shards: what was used before is divided among them and rounded up, so
    /// that they may count more than there is, and decline earlier, in windows that began before.
    since_ms: u64,
    /// When requests are too old to be under way for sure.
    due: VecDeque<(u64, usize)>,
}

impl Scopes {
    pub(in crate::sim) fn new(scopes: Vec<Scope>, shards: usize) -> Self {
        Self {
            scopes,
            shards: shards as u64,
            all: Vec::new(),
            of: BTreeMap::new(),
            sums: BTreeMap::new(),
            since_ms: 0,
            due: VecDeque::new(),
        }
    }

    /// There are so many shards from now on.
    pub(in crate::sim) fn on_layout(&mut self, now: Now, shards: usize) {
        self.shards = shards as u64;
        self.since_ms = self.since_ms.max(now.wall_ms);
    }

    /// Whether the windows of now began after the shards were what they are.
    fn is_exact(&self, now: Now, scope: &Scope) -> bool {
        let (length_ms, kept) = parts(scope.window);
        self.since_ms == 0
            || (now.wall_ms / length_ms).saturating_sub(kept) * length_ms > self.since_ms
    }

    /// A shard lets this through. Says so if a limit is passed for sure.
    pub(super) fn on_let_through(&mut self, now: Now, forwarded: &Forwarded) -> Option<String> {
        let Forwarded { number, acquirer, card, amount, is_limited, is_advice, .. } = *forwarded;
        if self.scopes.is_empty() || !(is_limited || is_advice || amount > 0) {
            return None;
        }
        self.expire(now);
        let passed = if is_limited { self.passed(now, (acquirer, card), amount) } else { None };
        let is_again = self.of.contains_key(&number);
        if is_again {
            self.each(number, |counted| counted.certainty = Certainty::Unknown);
        }
        let is_sure = is_limited && !is_again;
        let place = self.all.len();
        self.all.push(Counted {
            wall_ms: now.wall_ms,
            acquirer,
            card,
            is_limited,
            certainty: if is_sure { Certainty::UnderWay } else { Certainty::Unknown },
            amount_least: if is_limited || is_advice { amount } else { 0 },
            amount_most: amount,
            may_count: true,
        });
        self.of.entry(number).or_default().push(place);
        self.due.push_back((now.mono_ns + ISSUER_WAIT_MS * NS_PER_MS, place));
        self.add(place, true);
        passed
    }

    /// The limit that this passes for sure.
    fn passed(&self, now: Now, (acquirer, card): (u8, u32), amount: u64) -> Option<String> {
        self.scopes.iter().enumerate().find_map(|(place, scope)| {
            // Parts that are wholly within the window that ends now.
            let [count, sum] = self.sum(now, (place, acquirer, card), 0, |sums| sums.judged);
            let over = scope.count_max.is_some_and(|max| count + 1 > max)
                || scope.amount_max.is_some_and(|max| sum + amount > max);
            over.then(|| {
                format!(
                    "let through above {scope:?} over all shards: {count} and {sum} count for sure, \
                     {amount} more"
                )
            })
        })
    }

    /// Whether a decline may be for one of these limits.
    pub(super) fn may_decline(&self, now: Now, (acquirer, card): (u8, u32), amount: u64) -> bool {
        // One shard has all of a limit; of several each may use half of its part without asking.
        let part = |max: u64| if self.shards == 1 { max } else { max / (2 * self.shards) };
        self.scopes.iter().enumerate().any(|(place, scope)| {
            let [count, sum] = self.sum(now, (place, acquirer, card), 1, |sums| sums.most);
            !self.is_exact(now, scope)
                || scope.count_max.is_some_and(|max| count + 1 > part(max))
                || scope.amount_max.is_some_and(|max| sum + amount > part(max))
        })
    }

    /// What of a part the windows of now have; with `more` parts before those that are wholly within.
    fn sum(
        &self,
        now: Now,
        (place, acquirer, card): (usize, u8, u32),
        more: u64,
        of: impl Fn(&Sums) -> Sum,
    ) -> Sum {
        let scope = self.scopes[place];
        let (length_ms, kept) = parts(scope.window);
        let last = now.wall_ms / length_ms;
        let more = if matches!(scope.window, Window::Rolling { .. }) { more } else { 0 };
        let merchant = merchant_of(scope.party, card);
        let from = (place, acquirer, merchant, (last + 1).saturating_sub(kept + more));
        let to = (place, acquirer, merchant, last);
        self.sums.range(from..=to).fold([0; 2], |[count, sum], (_, sums)| {
            let [more_count, more_sum] = of(sums);
            [count + more_count, sum + more_sum]
        })
    }

    /// For everybody that anything was counted for, what shards must have counted in the window of now.
    pub(in crate::sim) fn bounds(&mut self, now: Now) -> Vec<Bounds> {
        self.expire(now);
        let mut whose: Vec<_> = self
            .sums
            .keys()
            .map(|(scope, acquirer, merchant, _)| (*scope, *acquirer, *merchant))
            .collect();
        whose.dedup();
        let bounds = |(scope, acquirer, card)| Bounds {
            scope,
            acquirer,
            card,
            least: self.sum(now, (scope, acquirer, card), 1, |sums| sums.least),
            most: match self.is_exact(now, &self.scopes[scope]) {
                true => self.sum(now, (scope, acquirer, card), 1, |sums| sums.most),
                false => [u64::MAX; 2],
            },
        };
        whose.into_iter().map(bounds).collect()
    }

    fn expire(&mut self, now: Now) {
        while let Some(&(due_ns, place)) = self.due.front()
            && due_ns <= now.mono_ns
        {
            self.due.pop_front();
            if self.all[place].certainty == Certainty::UnderWay {
                self.change(place, |counted| counted.certainty = Certainty::Unknown);
            }
        }
    }

    fn each(&mut self, number: u32, change: impl Fn(&mut Counted)) {
        for place in self.of.get(&number).cloned().unwrap_or_default() {
            self.change(place, &change);
        }
    }

    fn change(&mut self, place: usize, change: impl Fn(&mut Counted)) {
        self.add(place, false);
        change(&mut self.all[place]);
        self.add(place, true);
    }

    /// Adds a transaction to all sums that it is in, or takes it out of them.
    fn add(&mut self, place: usize, into: bool) {
        let counted = self.all[place];
        let is_sure = counted.certainty != Certainty::Unknown;
        for (scope, of) in self.scopes.iter().enumerate() {
            let part = counted.wall_ms / parts(of.window).0;
            let key = (scope, counted.acquirer, merchant_of(of.party, counted.card), part);
            let sums = self.sums.entry(key).or_default();
            let change = |sum: &mut Sum, counts: bool, amount: u64| {
                if counts {
                    for (sum, by) in sum.iter_mut().zip([1, amount]) {
                        *sum = if into { *sum + by } else { *sum - by };
                    }
                }
            };
            change(&mut sums.judged, is_sure && counted.is_limited, counted.amount_least);
            change(&mut sums.least, is_sure, counted.amount_least);
            change(&mut sums.most, counted.may_count, counted.amount_most);
        }
    }

    /// As in `Limits`: an answer to it went into its shard.
    pub(super) fn on_issuer_answer(&mut self, number: u32) {
        self.each(number, |counted| {
            if counted.certainty == Certainty::UnderWay {
                counted.certainty = Certainty::Unknown;
            }
        });
    }

    pub(super) fn on_received(&mut self, number: u32) {
        if let Some(&[only]) = self.of.get(&number).map(Vec::as_slice)
            && self.all[only].amount_least > 0
            && self.all[only].may_count
        {
            self.change(only, |counted| counted.certainty = Certainty::Counts);
        }
    }

    pub(super) fn on_reversed(&mut self, number: u32) {
        self.each(number, |counted| {
            counted.certainty = Certainty::Unknown;
            counted.may_count = false;
        });
    }

    pub(super) fn on_taken_back(&mut self, number: u32, left: Option<u64>) {
        self.each(number, |counted| match left {
            None => counted.certainty = Certainty::Unknown,
            Some(left) => counted.amount_least = counted.amount_least.min(left),
        });
    }

    pub(super) fn on_completed(&mut self, hold: u32, amount: u64) {
        self.each(hold, |counted| {
            counted.amount_least = counted.amount_least.min(amount);
            counted.amount_most = counted.amount_most.max(amount);
        });
    }
}

/// Milliseconds of a part, and how many of them make the window.
fn parts(window: Window) -> (u64, u64) {
    match window {
        Window::Fixed { window_s } => (window_s * 1_000, 1),
        Window::Rolling { window_s, sub_windows } => (window_s * 1_000 / sub_windows, sub_windows),
        Window::Day => (86_400_000, 1),
    }
}

fn merchant_of(party: Party, card: u32) -> u32 {
    match party {
        Party::Merchant => (u64::from(card) % MERCHANTS) as u32,
        Party::Terminal | Party::Acquirer => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * NS_PER_MS, wall_ms: 1_000_000 + ms }
    }

    fn let_through(scopes: &mut Scopes, ms: u64, number: u32, amount: u64) -> Option<String> {
        let forwarded = Forwarded {
            number,
            acquirer: 0,
            card: number,
            amount,
            is_limited: true,
            is_advice: false,
            issuer: 0,
        };
        scopes.on_let_through(at(ms), &forwarded)
    }

    #[test]
    fn cards_share_a_limit_and_what_is_reversed_counts_no_more() {
        let window = Window::Fixed { window_s: 10 };
        let (count_max, amount_max) = (Some(3), Some(100));
        let scope = Scope { party: Party::Acquirer, window, count_max, amount_max };
        let mut scopes = Scopes::new(vec![scope], 1);
        assert!(let_through(&mut scopes, 0, 1, 60).is_none());
        assert!(!scopes.may_decline(at(1), (0, 2), 40) && scopes.may_decline(at(1), (0, 2), 41));
        assert!(let_through(&mut scopes, 2, 2, 41).is_some(), "two cards of one acquirer");
        scopes.on_reversed(2);
        scopes.on_received(1);
        let bounds = scopes.bounds(at(ISSUER_WAIT_MS));
        assert_eq!((bounds[0].least, bounds[0].most), ([1, 60], [1, 60]));
        scopes.on_taken_back(1, None);
        let bounds = scopes.bounds(at(ISSUER_WAIT_MS));
        assert_eq!((bounds[0].least, bounds[0].most), ([0, 0], [1, 60]));
        assert_eq!(scopes.bounds(at(10_000))[0].most, [0, 0], "another window");
    }

    #[test]
    fn of_several_shards_one_declines_early_but_not_within_its_part() {
        let window = Window::Rolling { window_s: 10, sub_windows: 2 };
        let scope = Scope { party: Party::Merchant, window, count_max: None, amount_max: Some(80) };
        let mut scopes = Scopes::new(vec![scope], 2);
        assert!(let_through(&mut scopes, 0, 7, 15).is_none());
        assert!(!scopes.may_decline(at(1), (0, 14), 5) && scopes.may_decline(at(1), (0, 14), 6));
        assert!(!scopes.may_decline(at(1), (0, 15), 20), "another merchant");
    }
}

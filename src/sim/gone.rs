//! An acquirer that goes away for good: its connections end while its requests are under way, and nobody
//! ever asks for their answers, repeats them or takes them back. What its issuer has approved must not
//! stand if the switch knows that nobody got the approval.
//!
//! What the switch cannot know is left out: an answer that was written on a connection before that was
//! seen to be broken, and what a process that ended about then knew only by itself (README, "Worth
//! knowing").

use super::book::{Kind, View};
use super::events::Event;
use super::options::FaultKind;
use super::plan::{ANSWER_WITHIN_MS, NS_PER_MS, NS_PER_US};
use super::world::World;
use crate::shard::ConnectionId;
use std::collections::BTreeMap;

/// Purchases that are under way when it leaves.
const LAST_REQUESTS: u64 = 40;
/// A process that ends so long before or after loses what only it knew.
const FORGOTTEN_NS: u64 = 3 * ANSWER_WITHIN_MS * NS_PER_MS;

/// What is known of it.
#[derive(Default)]
pub(super) struct Gone {
    /// Since when it is gone.
    since_ns: Option<u64>,
    /// Copies of each answer that were written on a connection, and did not come back.
    copies: BTreeMap<u32, i32>,
    /// When processes ended.
    ends_ns: Vec<u64>,
}

impl Gone {
    /// A process ends, and leaves something unfinished.
    pub(super) fn on_end(&mut self, now_ns: u64) {
        self.ends_ns.push(now_ns);
    }

    fn is_forgotten(&self) -> bool {
        let since_ns = self.since_ns.unwrap_or_default();
        self.ends_ns.iter().any(|end_ns| end_ns.abs_diff(since_ns) < FORGOTTEN_NS)
    }
}

impl World {
    pub(super) fn is_gone(&self, acquirer: u8) -> bool {
        self.gone.since_ns.is_some() && self.plan.leaves.is_some_and(|(who, _)| who == acquirer)
    }

    /// It sends its last requests and leaves before most of them are answered.
    pub(super) fn leave_when_due(&mut self) {
        let Some((who, _)) = self.plan.leaves.filter(|(_, at)| *at == self.begun) else { return };
        self.tally.faults[FaultKind::Gone as usize] += 1;
        for _ in 0..LAST_REQUESTS {
            let card = self.streams.gone.below(self.plan.cards) as u32;
            let amount = self.streams.gone.between(1, 5_000);
            let number = self.begin_of(who, (Kind::Purchase, card, amount), 0);
            self.send(number, false);
        }
        let stays_ns = self.streams.gone.between(300, 15_000) * NS_PER_US;
        self.events.at(self.now_ns + stays_ns, Event::Gone);
    }

    pub(super) fn on_gone(&mut self) {
        let Some((who, _)) = self.plan.leaves else { return };
        self.trace.tell(self.now_ns, 0, || format!("acquirer {who} is gone"));
        self.gone.since_ns = Some(self.now_ns);
        for line in self.lines[usize::from(who)].clone().into_iter().flatten() {
            self.break_connection(line);
        }
    }

    /// An answer to it is written on a connection, or comes back from one that is closed.
    pub(super) fn count_copy(&mut self, connection: ConnectionId, frame: &[u8], is_written: bool) {
        let is_its = self.plan.leaves.is_some_and(|(who, _)| who == connection.acquirer.0);
        if !is_its {
            return;
        }
        if let Some(seen) = self.wire.read_frame(frame)
            && let Some(number) = self.book.of_stan(seen.stan)
        {
            *self.gone.copies.entry(number).or_default() += if is_written { 1 } else { -1 };
        }
    }

    /// Of a transaction of an acquirer that is gone, and does not know how it ended: whether its issuer
    /// holds money for it although nobody can have got its answer. `None`: it does know.
    pub(super) fn stands_with_nobody(&self, number: u32, holds: bool) -> Option<bool> {
        let entry = self.book.at(number);
        let is_settled = |number: u32| {
            let of = self.book.get(number);
            of.is_none_or(|of| !matches!(of.view, View::Waiting | View::Reversing))
        };
        let (undone_by, related) = (entry.undone_by, entry.related);
        if is_settled(number) && is_settled(undone_by) && is_settled(related) {
            return None;
        }
        let is_request = entry.view == View::Waiting && undone_by == 0 && !entry.kind.is_stored();
        let copies = self.gone.copies.get(&number).copied().unwrap_or_default();
        Some(is_request && holds && copies <= 0 && !self.gone.is_forgotten())
    }
}

//! Answers that wait for their time, with the buffers they are written in.
//!
//! A bounded heap, ordered by time and then by arrival. It never allocates after it is made: a
//! waiting answer holds one of the ring's buffers, and there are no more of them than places here.

use super::ring::BankMessage;
use crate::limits::BANK_RING_SLOTS;
use core::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

struct Waiting {
    due_ns: u64,
    arrival: u64,
    message: BankMessage,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due_ns, self.arrival).cmp(&(other.due_ns, other.arrival))
    }
}

/// Waiting answers of one shard's banks.
pub(super) struct Delayed {
    heap: BinaryHeap<Reverse<Waiting>>,
    arrivals: u64,
}

impl Delayed {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(BANK_RING_SLOTS), arrivals: 0 }
    }

    /// Keeps an answer until `due_ns`.
    pub(super) fn push(&mut self, due_ns: u64, message: BankMessage) {
        assert!(
            self.heap.len() < BANK_RING_SLOTS,
            "Invariant: never more answers wait than there are buffers"
        );
        self.arrivals += 1;
        self.heap.push(Reverse(Waiting { due_ns, arrival: self.arrivals, message }));
    }

    /// The oldest answer whose time has come.
    #[inline]
    pub(super) fn pop_due(&mut self, mono_ns: u64) -> Option<BankMessage> {
        if self.next_due_ns()? > mono_ns {
            return None;
        }
        self.heap.pop().map(|Reverse(waiting)| waiting.message)
    }

    /// When the next one is due.
    #[inline]
    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(waiting)| waiting.due_ns)
    }

    /// How many wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::BufferPool;
    use crate::shard::{AcquirerId, IssuerId};

    #[test]
    fn answers_leave_by_time_and_then_by_arrival() {
        let mut pool = BufferPool::new(4);
        let mut delayed = Delayed::new();
        for (due_ns, issuer) in [(30, 0), (10, 1), (30, 2), (20, 3)] {
            let message = pool.take(IssuerId(issuer), AcquirerId(0), b"0210").unwrap();
            delayed.push(due_ns, message);
        }
        assert_eq!(delayed.next_due_ns(), Some(10));
        assert!(delayed.pop_due(9).is_none());
        let mut order = Vec::new();
        while let Some(message) = delayed.pop_due(30) {
            order.push(message.issuer.0);
            pool.give(message);
        }
        assert_eq!(order, [1, 3, 0, 2]);
        assert_eq!((delayed.len(), pool.out()), (0, 0));
    }
}

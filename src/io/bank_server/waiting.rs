//! Answers of banks that wait for their time: whole frames, by moment and then by arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Answers that may wait; while so many do, banks read nothing more.
const WAITING_MAX: usize = 65_536;

/// Which connection an answer goes to: a slot, and which of its tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tenant {
    pub(super) slot: u16,
    pub(super) number: u64,
}

/// Due, arrival, whose, frame.
type Waiting = (u64, u64, Tenant, Vec<u8>);

/// Waiting answers.
#[derive(Default)]
pub(super) struct WaitingAnswers {
    heap: BinaryHeap<Reverse<Waiting>>,
    arrivals: u64,
}

impl WaitingAnswers {
    pub(super) fn push(&mut self, due_ns: u64, tenant: Tenant, frame: &[u8]) {
        self.arrivals += 1;
        self.heap.push(Reverse((due_ns, self.arrivals, tenant, frame.to_vec())));
    }

    /// The oldest answer whose time has come.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(Tenant, Vec<u8>)> {
        if self.next_due_ns()? > now_ns {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, tenant, frame))| (tenant, frame))
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((due_ns, ..))| *due_ns)
    }

    pub(super) fn is_full(&self) -> bool {
        self.heap.len() >= WAITING_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_by_time_and_then_by_arrival() {
        let mut waiting = WaitingAnswers::default();
        let tenant = |slot| Tenant { slot, number: 1 };
        for (due_ns, slot) in [(30, 0), (10, 1), (30, 2), (20, 3)] {
            waiting.push(due_ns, tenant(slot), b"0210");
        }
        assert_eq!(waiting.next_due_ns(), Some(10));
        assert!(waiting.pop_due(9).is_none());
        let order: Vec<u16> =
            std::iter::from_fn(|| waiting.pop_due(30).map(|(tenant, _)| tenant.slot)).collect();
        assert_eq!(order, [1, 3, 0, 2]);
        assert!(!waiting.is_full());
    }
}

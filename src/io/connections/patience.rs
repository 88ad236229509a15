//! When a connection's time is over: a list by due moment, at most a few places for each connection.

use super::Connections;
use super::entry::{Life, NS_PER_MS};
use crate::io::decider::ConnectionFault;
use std::cmp::Reverse;

impl Connections {
    /// Puts a connection on the watch list if it is not there for an earlier moment.
    pub(super) fn watch(&mut self, slot: u16) {
        let timeouts = self.timeouts;
        let Some(entry) = self.entry(slot) else { return };
        let Some(due_ns) = entry.due_ns(&timeouts) else { return };
        if due_ns < entry.watched_ns {
            entry.watched_ns = due_ns;
            let generation = entry.id.generation;
            self.watch.push(Reverse((due_ns, slot, generation)));
        }
    }

    /// When a connection's patience may be over.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.watch.peek().map(|&Reverse((due_ns, _, _))| due_ns)
    }

    /// Ends connections whose time is over.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        while let Some(&Reverse((due_ns, slot, generation))) = self.watch.peek() {
            if due_ns > now_ns {
                return;
            }
            self.watch.pop();
            let timeouts = self.timeouts;
            let Some(entry) = self.entry(slot) else { continue };
            if entry.id.generation != generation || entry.watched_ns != due_ns {
                continue;
            }
            entry.watched_ns = u64::MAX;
            if entry.due_ns(&timeouts).is_some_and(|due_ns| due_ns <= now_ns) {
                self.give_up(slot, now_ns);
            }
            self.watch(slot);
        }
    }

    fn give_up(&mut self, slot: u16, now_ns: u64) {
        let Some(entry) = self.entry(slot) else { return };
        let is_over = |since: Option<u64>, ms: u64| {
            since.is_some_and(|since_ns| since_ns + ms * NS_PER_MS <= now_ns)
        };
        let (id, life) = (entry.id, entry.life);
        let slow_since_ns = entry.slow_since_ns;
        if is_over(slow_since_ns, self.timeouts.slow_consumer_ms) {
            self.faults.push((id, ConnectionFault::SlowConsumer));
            self.kill(slot);
            return;
        }
        match life {
            Life::Open => {
                self.faults.push((id, ConnectionFault::FrameTimeout));
                self.finish(slot, now_ns);
            }
            Life::HalfClosed => self.finish(slot, now_ns),
            Life::Finishing => self.kill(slot),
            Life::Dead => {}
        }
    }
}

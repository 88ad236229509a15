//! A thread of simulated banks: polls the rings of the shards it serves, and sleeps on one eventfd
//! while all of them are empty and no answer is due.

use super::clock::Clock;
use super::wake::Wake;
use crate::bank::{BankRing, BankSet};
use crate::config::Idle;
use crate::shard::ShardId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Messages of one shard handled before the next shard's turn.
const BUDGET: usize = 256;

/// The banks of one shard, and how to reach it.
pub(crate) struct ServedShard {
    pub(crate) shard: ShardId,
    pub(crate) ring: Arc<BankRing>,
    pub(crate) shard_wake: Arc<Wake>,
    pub(crate) banks: BankSet,
}

/// What a bank thread needs.
pub(crate) struct BankThread {
    pub(crate) served: Vec<ServedShard>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) clock: Clock,
    pub(crate) idle: Idle,
}

impl BankThread {
    /// Serves until told to stop, then hands the banks back.
    pub(crate) fn run(mut self) -> Vec<(ShardId, BankSet)> {
        loop {
            if self.poll() > 0 {
                continue;
            }
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            match self.idle {
                Idle::Park => self.sleep(),
                Idle::Spin => std::hint::spin_loop(),
            }
        }
        self.served.into_iter().map(|served| (served.shard, served.banks)).collect()
    }

    fn poll(&mut self) -> usize {
        let now = self.clock.now();
        let mut handled = 0;
        for served in &mut self.served {
            let count = served.banks.poll(now, &served.ring, BUDGET);
            if count > 0 && served.ring.from_bank.must_wake() {
                served.shard_wake.signal();
            }
            handled += count;
        }
        handled
    }

    fn sleep(&mut self) {
        // Not `all`: every lane must hear of the sleep, or of its end.
        let busy = self.served.iter().filter(|served| !served.ring.to_bank.may_sleep()).count();
        if busy == 0 {
            let now_ns = self.clock.now().mono_ns;
            let due_ns = self.served.iter().filter_map(|served| served.banks.next_due_ns()).min();
            // `stop` is followed by a signal, which ends this sleep or the next one.
            self.wake.sleep(due_ns.map(|due_ns| due_ns.saturating_sub(now_ns)));
        }
        for served in &self.served {
            served.ring.to_bank.on_wake();
        }
    }
}

//! Orders about parked messages and tokens: decided between two batches, told when they are on the disk.

use super::Driver;
use crate::io::decider::Decider;
use crate::io::shard_orders::{ShardOrder, ShardOutcome};
use crate::shard::Now;
use std::sync::mpsc::Sender;

/// An outcome, told once the journal has so much.
pub(super) struct Decided {
    lsn: u64,
    outcome: ShardOutcome,
    reply: Sender<ShardOutcome>,
}

impl<D: Decider> Driver<D> {
    /// Before anything of this cycle is decided.
    pub(super) fn take_orders(&mut self, now: Now) {
        let shard = usize::from(self.ports.shard.0);
        while self.may_take_inputs()
            && let Some(asked) = self.ports.orders.take(shard)
        {
            let outcome = match &asked.order {
                ShardOrder::Parked(number, order) => ShardOutcome::Parked(
                    self.decider.on_parked_order(now, *number, order, &mut self.outbox),
                ),
                ShardOrder::Wallet(request) => ShardOutcome::Wallet(
                    self.decider.on_wallet_request(now, request, &mut self.outbox),
                ),
            };
            self.settle(now);
            let lsn = self.ports.journal.as_ref().map_or(0, |port| port.journal.last_lsn());
            self.decided.push(Decided { lsn, outcome, reply: asked.reply });
            self.unpublished = true;
        }
    }

    /// Tells what may be told.
    pub(super) fn tell_orders(&mut self) {
        if self.decided.is_empty() {
            return;
        }
        let journal = self.ports.journal.as_ref();
        let released_lsn = journal.map_or(u64::MAX, |port| port.journal.release_lsn());
        self.decided.retain(|decided| {
            let may_be_told = decided.lsn <= released_lsn;
            if may_be_told {
                // Whoever asked may be gone.
                let _ = decided.reply.send(decided.outcome.clone());
            }
            !may_be_told
        });
    }
}

//! What a running switch tells, and is told.

use super::Switch;
use crate::io::counters::{AcceptCounters, IoCounters};
use crate::io::decider::Decider;
use crate::io::engine::EngineReport;
use crate::io::journal::{CommitPath, Space};
use crate::io::recover::RecoveryReport;
use crate::io::shard_orders::{ShardOrder, ShardOutcome};
use crate::io::snapshot_call::SnapshotCaller;
use crate::shard::Configured;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

impl<D: Decider> Switch<D> {
    /// Where the acquirers' listeners are, by acquirer.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// Which engine is used, and why.
    #[must_use]
    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// What each shard's decider published last, by shard.
    pub fn published(&self) -> impl Iterator<Item = &Arc<D::Published>> {
        self.shards.iter().map(|shard| &shard.published)
    }

    /// What each shard's kernel side counts, by shard.
    pub fn counters(&self) -> impl Iterator<Item = &Arc<IoCounters>> {
        self.shards.iter().map(|shard| &shard.counters)
    }

    /// What each shard found in the data directory; nothing without one.
    #[must_use]
    pub fn recovered(&self) -> &[RecoveryReport] {
        self.journals.as_ref().map_or(&[], |journals| &journals.reports)
    }

    /// Whether the journal's disk takes more; `None` without a journal.
    #[must_use]
    pub fn journal_space(&self) -> Option<Space> {
        self.journals.as_ref().map(|journals| journals.stock.space())
    }

    /// How commits reach the disk; `None` without a journal.
    #[must_use]
    pub fn commit_path(&self) -> Option<CommitPath> {
        self.journals.as_ref().map(|journals| journals.stock.commit_path())
    }

    /// Offers another configuration to every shard, one that `Config::allows` beside that of the
    /// start. Returns the number that it will be known by.
    pub fn configure(&self, configured: Configured) -> u64 {
        let epoch = self.controls.offers.offer(configured, |names| {
            if let Some(outcomes) = &self.controls.outcomes {
                outcomes.name_limits(names);
            }
        });
        self.controls.wakes.iter().for_each(|wake| wake.signal());
        epoch
    }

    /// Hands an order to a shard. What comes of it is told when it is as durable as an answer; `None`:
    /// there is no such shard, or it has too much to do.
    #[must_use]
    pub fn order(&self, shard: usize, order: ShardOrder) -> Option<Receiver<ShardOutcome>> {
        self.controls.orders.ask(shard, order, &self.controls.wakes)
    }

    /// For whoever wants a snapshot of every shard now.
    #[must_use]
    pub fn snapshot_caller(&self) -> SnapshotCaller {
        SnapshotCaller::new(&self.controls.snapshot_call, &self.controls.wakes)
    }

    /// The wall clock is right as it is, also when it has jumped further than is followed.
    pub fn accept_clock(&self) {
        self.controls.step_guard.accept();
    }

    /// Whether a jump of the wall clock is not followed.
    #[must_use]
    pub fn is_clock_held(&self) -> bool {
        self.controls.step_guard.is_holding()
    }

    /// Number of the configuration that every shard judges by, or a later one.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.controls.offers.taken_by_all()
    }

    /// What the acceptor counts.
    #[must_use]
    pub fn accept_counters(&self) -> &AcceptCounters {
        &self.accept_counters
    }
}

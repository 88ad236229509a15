//! What is left of a shard's journal when the switch stops.
//!
//! Not here: how it is shown.

use super::error::{JournalError, Trying};
use super::shard_journal::{JournalCounters, time_us_histogram};
use hdrhistogram::Histogram;
use std::path::Path;

/// What a shard counts of its snapshots.
#[derive(Clone, Debug)]
pub struct SnapshotCounters {
    /// Those that a restart can use.
    pub written: u64,
    /// Those that were begun and are worth nothing.
    pub given_up: u64,
    /// The steps between two batches, in microseconds: so long nothing else was done.
    pub step_us: Histogram<u64>,
}

impl SnapshotCounters {
    pub(crate) fn new() -> Result<Self, JournalError> {
        let step_us = time_us_histogram().trying("count the snapshots of", Path::new("journal"))?;
        Ok(Self { written: 0, given_up: 0, step_us })
    }
}

/// A shard's journal, or those of several shards.
#[derive(Clone, Debug)]
pub struct JournalReport {
    /// Of commits.
    pub commits: JournalCounters,
    /// Of snapshots.
    pub snapshots: SnapshotCounters,
    /// LSN of the last record that survives a crash; of several shards the highest.
    pub durable_lsn: u64,
}

impl JournalReport {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.durable_lsn = self.durable_lsn.max(other.durable_lsn);
        let (commits, snapshots) = (&mut self.commits, &mut self.snapshots);
        commits.commits += other.commits.commits;
        commits.records += other.commits.records;
        commits.bytes += other.commits.bytes;
        commits.stalls += other.commits.stalls;
        snapshots.written += other.snapshots.written;
        snapshots.given_up += other.snapshots.given_up;
        // The same bounds everywhere, so adding cannot fail.
        let _ = commits.commit_us.add(&other.commits.commit_us);
        let _ = snapshots.step_us.add(&other.snapshots.step_us);
    }
}

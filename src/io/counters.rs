//! What the kernel side counts, by shard: readable from any thread, each written by one.

use super::pulse::{Pulse, StallLevels};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counters of one shard's connections.
#[derive(Debug, Default)]
pub struct IoCounters {
    /// Connections that this shard has now, those on their way from the acceptor included.
    pub connections: AtomicUsize,
    /// Connections ever placed on this shard.
    pub connections_placed: AtomicU64,
    /// Bytes of buffers that connections hold.
    pub buffer_bytes: AtomicUsize,
    /// Answers whose connection was gone.
    pub undeliverable: AtomicU64,
    /// Duty cycles that had something to do.
    pub cycles: AtomicU64,
    /// Messages from other shards.
    pub mesh_messages: AtomicU64,
    /// Other threads that were asleep and were woken.
    pub wakes: AtomicU64,
    /// Snapshots that were begun and are not there.
    pub snapshots_given_up: AtomicU64,
    /// What the shard's journal says of itself; all 0 without one.
    pub journal: JournalLevels,
    /// What the watchdog says of the shard.
    pub stalls: StallLevels,
    /// What the shard does now.
    pub(crate) pulse: Pulse,
}

/// How far a shard's journal is.
#[derive(Debug, Default)]
pub struct JournalLevels {
    /// Number of the last record made.
    pub last_lsn: AtomicU64,
    /// Number of the last record that is on the disk.
    pub durable_lsn: AtomicU64,
    /// Groups of records made durable.
    pub commits: AtomicU64,
    /// Bytes of them.
    pub bytes: AtomicU64,
    /// Commits that took more than 10 ms.
    pub stalls: AtomicU64,
    /// Snapshots that a restart can use, written by this process.
    pub snapshots: AtomicU64,
    /// UTC milliseconds at which the newest of them was complete; 0 before the first.
    pub snapshot_wall_ms: AtomicU64,
}

/// Counters of the acceptor.
#[derive(Debug, Default)]
pub struct AcceptCounters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed at once because every shard was full.
    pub refused_full: AtomicU64,
    /// Times that no file descriptor or memory was left.
    pub exhausted: AtomicU64,
    /// Connections closed at once because their address is not named as a peer's.
    pub denied: AtomicU64,
    /// Connections closed at once because their address connects too often.
    pub too_often: AtomicU64,
}

/// Adds to a counter that only this thread writes.
#[inline]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

//! What the kernel side counts, by shard: readable from any thread, each written by one.

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
}

/// Adds to a counter that only this thread writes.
#[inline]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

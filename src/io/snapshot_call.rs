//! A snapshot of every shard that somebody asks for, beside those that are due: a process that takes
//! over then has little to read after it.
//!
//! Not here: taking it (`driver::journal`).

use super::wake::Wake;
use crossbeam_utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the shards of one switch are asked for.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCall {
    /// Number of the last call.
    called: AtomicU64,
    /// By shard, the last call after which it began a snapshot, and ended that.
    served: Vec<CachePadded<AtomicU64>>,
}

impl SnapshotCall {
    pub(crate) fn new(shards: usize) -> Self {
        let served = (0..shards).map(|_| CachePadded::new(AtomicU64::new(0))).collect();
        Self { called: AtomicU64::new(0), served }
    }

    /// Number of the last call; 0: there was none.
    #[inline]
    pub(crate) fn called(&self) -> u64 {
        self.called.load(Ordering::Acquire)
    }

    /// A shard has done what it can.
    pub(crate) fn serve(&self, shard: usize, call: u64) {
        if let Some(served) = self.served.get(shard) {
            served.store(call, Ordering::Release);
        }
    }
}

/// Asks the shards for it, from another thread.
#[derive(Clone, Debug, Default)]
pub struct SnapshotCaller {
    call: Arc<SnapshotCall>,
    wakes: Vec<Arc<Wake>>,
}

impl SnapshotCaller {
    pub(crate) fn new(call: &Arc<SnapshotCall>, wakes: &[Arc<Wake>]) -> Self {
        Self { call: Arc::clone(call), wakes: wakes.to_vec() }
    }

    /// Every shard is to begin a snapshot. Tells the number of this call.
    #[must_use]
    pub fn call(&self) -> u64 {
        let number = self.call.called.fetch_add(1, Ordering::AcqRel) + 1;
        self.wakes.iter().for_each(|wake| wake.signal());
        number
    }

    /// Whether every shard's is on the disk, or was given up.
    #[must_use]
    pub fn is_served(&self, number: u64) -> bool {
        self.call.served.iter().all(|served| served.load(Ordering::Acquire) >= number)
    }
}

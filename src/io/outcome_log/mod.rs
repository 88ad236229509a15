//! The outcome log: what shards note of every transaction, in files for `tapswitch find`.
//!
//! ```text
//!   shard's buffer ─▶ port: fills a block ─▶ full blocks ─▶ thread: checks, writes, deletes the oldest
//!                              ▲                                   │
//!                              └────────── free blocks ◀───────────┘
//! ```
//!
//! Blocks are made at the start and go round. A shard never waits for the disk: without a free block
//! its own buffer fills, and then it drops entries and counts them.
//!
//! Nothing is synced: after a loss of power the last seconds may be missing, and this log decides
//! nothing. Not here: what an entry says (`shard::outcome`).

mod file;
mod read;

pub use file::Names;
pub use read::{OutcomeFile, ReadError, paths};

use super::wake::Wake;
use crate::config::{Config, OutcomesConfig};
use crate::limits::{OUTCOME_BLOCK_BYTES, OUTCOME_BLOCKS};
use crate::shard::outcome::OUTCOME_BYTES;
use crossbeam_queue::ArrayQueue;
use file::Files;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Blocks between one shard and the thread.
#[derive(Debug)]
struct Lane {
    full: ArrayQueue<Vec<u8>>,
    free: ArrayQueue<Vec<u8>>,
}

impl Lane {
    fn new() -> Self {
        let lane =
            Self { full: ArrayQueue::new(OUTCOME_BLOCKS), free: ArrayQueue::new(OUTCOME_BLOCKS) };
        for _ in 1..OUTCOME_BLOCKS {
            // One less than fit: the port holds one.
            let _ = lane.free.push(Vec::with_capacity(OUTCOME_BLOCK_BYTES));
        }
        lane
    }
}

/// A shard's end.
#[derive(Debug)]
pub(crate) struct OutcomePort {
    lane: Arc<Lane>,
    wake: Arc<Wake>,
    block: Vec<u8>,
}

impl OutcomePort {
    /// Takes what `take` has, which puts whole entries where there is room; hands full blocks over,
    /// and with `all` the last one too.
    pub(crate) fn fill(&mut self, mut take: impl FnMut(&mut Vec<u8>), all: bool) {
        loop {
            take(&mut self.block);
            let is_full = self.block.len() + OUTCOME_BYTES > self.block.capacity();
            if !is_full && (self.block.is_empty() || !all) {
                return;
            }
            let Some(free) = self.lane.free.pop() else { return };
            let block = core::mem::replace(&mut self.block, free);
            // As many blocks as fit go round.
            let _ = self.lane.full.push(block);
            self.wake.wake();
        }
    }
}

/// How the thread is told to end.
#[derive(Clone, Debug)]
pub(crate) struct OutcomeStop {
    wake: Arc<Wake>,
    stop: Arc<AtomicBool>,
    /// Names of limits, where they have changed; set before the first entry that needs them.
    limits: Arc<Mutex<Option<Vec<String>>>>,
}

impl OutcomeStop {
    /// After this the thread writes what it was handed, and ends.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
    }

    /// Entries from now on may name limits by these numbers.
    pub(crate) fn name_limits(&self, names: &[String]) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Some(names.to_vec());
    }

    fn renamed(&self) -> Option<Vec<String>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The thread that writes.
pub(crate) struct OutcomeThread {
    lanes: Vec<Arc<Lane>>,
    control: OutcomeStop,
    files: Files,
    unwritten: u64,
}

impl OutcomeThread {
    /// Makes the folder and the first file.
    ///
    /// # Errors
    /// They cannot be made.
    pub(crate) fn new(config: &Config, outcomes: &OutcomesConfig) -> io::Result<Self> {
        Ok(Self {
            lanes: (0..config.switch.shards).map(|_| Arc::new(Lane::new())).collect(),
            control: OutcomeStop {
                wake: Wake::new()?,
                stop: Arc::default(),
                limits: Arc::default(),
            },
            files: Files::open(&outcomes.dir, outcomes.bytes_max, &Names::of(config))?,
            unwritten: 0,
        })
    }

    /// Each shard's end, in their order.
    pub(crate) fn ports(&self) -> impl Iterator<Item = OutcomePort> {
        self.lanes.iter().map(|lane| OutcomePort {
            lane: Arc::clone(lane),
            wake: Arc::clone(&self.control.wake),
            block: Vec::with_capacity(OUTCOME_BLOCK_BYTES),
        })
    }

    pub(crate) fn stop_handle(&self) -> OutcomeStop {
        self.control.clone()
    }

    /// Writes until told to stop. Returns how many entries could not be written.
    pub(crate) fn run(mut self) -> u64 {
        loop {
            // Asked before the lanes are looked at: what came before the stop is written.
            let is_last = self.control.stop.load(Ordering::Acquire);
            if self.write_all() > 0 {
                continue;
            }
            if is_last {
                return self.unwritten;
            }
            self.control.wake.announce_sleep();
            if self.lanes.iter().all(|lane| lane.full.is_empty()) {
                self.control.wake.sleep(None);
            }
            self.control.wake.on_wake();
        }
    }

    fn write_all(&mut self) -> usize {
        let mut blocks = 0;
        for lane in &self.lanes {
            while let Some(mut block) = lane.full.pop() {
                if let Some(names) = self.control.renamed() {
                    self.files.name_limits(names);
                }
                if self.files.append(&mut block).is_err() {
                    self.unwritten += (block.len() / OUTCOME_BYTES) as u64;
                }
                block.clear();
                // There is room for every block that goes round.
                let _ = lane.free.push(block);
                blocks += 1;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests;

//! The graceful stop, as the shards agree on it.
//!
//! ```text
//!   Serving ──▶ Draining ──────────────────────────────────────▶ Closing ──▶ Done
//!               new requests are refused,    every shard is quiet   each connection     every shard
//!               everything is answered       (or time is over)      writes out, ends    has closed
//!                        └──▶ LastAnswers ──────────▶│
//!                 3/4 of the time is over: reads under way
//!                 are answered, nothing is read on
//! ```
//!
//! Where another process takes over, nothing is read on after half a second: its connections are closed
//! and made again there, which is better than to be refused for long. What is owed is left to it.
//!
//! A shard is quiet when nothing is in flight on it, every answer is written and nothing has
//! arrived for a while. Shards close only when all are quiet, and leave only when all have closed:
//! until then each still serves the requests that others sent it.

use crossbeam_utils::CachePadded;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What the shards of one switch share about its stop.
#[derive(Debug)]
pub(crate) struct Stopping {
    asked: AtomicBool,
    handing_over: AtomicBool,
    parting: AtomicBool,
    quiet: Vec<CachePadded<AtomicBool>>,
    closed: AtomicUsize,
}

impl Stopping {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            asked: AtomicBool::new(false),
            handing_over: AtomicBool::new(false),
            parting: AtomicBool::new(false),
            quiet: (0..shards).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
            closed: AtomicUsize::new(0),
        }
    }

    /// The switch is to stop. Signal every shard afterwards.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// When it stops, another process goes on: whoever connects and what is owed waits for that. Before
    /// [`Stopping::ask`].
    pub(crate) fn hand_over(&self) {
        self.handing_over.store(true, Ordering::Release);
    }

    /// That process is given what shards have in memory. Before [`Stopping::ask`].
    pub(crate) fn part(&self) {
        self.parting.store(true, Ordering::Release);
    }

    pub(crate) fn is_parting(&self) -> bool {
        self.parting.load(Ordering::Acquire)
    }

    pub(crate) fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Acquire)
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// A shard tells whether it is quiet. What it sent to others before is visible to whoever
    /// sees that it is.
    pub(crate) fn set_quiet(&self, shard: usize, quiet: bool) {
        if let Some(flag) = self.quiet.get(shard) {
            flag.store(quiet, Ordering::Release);
        }
    }

    pub(crate) fn all_quiet(&self) -> bool {
        self.quiet.iter().all(|quiet| quiet.load(Ordering::Acquire))
    }

    /// A shard has no connection any more, and is quiet for good.
    pub(crate) fn on_closed(&self) {
        self.closed.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn all_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) >= self.quiet.len()
    }
}

/// How far a shard is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No stop is asked for.
    Serving,
    /// Everything is still answered, new requests with a refusal.
    Draining,
    /// Nothing is read on; what is owed is still answered.
    LastAnswers,
    /// Connections are ending; what is left then is ended for them.
    Closing {
        /// Monotonic nanoseconds.
        until_ns: u64,
    },
    /// No connection is left; other shards may still need this one.
    Closed,
    /// Over.
    Done,
}

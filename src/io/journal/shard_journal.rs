//! A shard's journal while the switch runs: records go in, and an LSN says how far they are
//! durable.
//!
//! One commit is in flight and the next group forms meanwhile, so the batches are as large as the
//! disk makes them, without a timer. The driver calls [`ShardJournal::pump`] once a cycle, waits
//! with [`ShardJournal::poll_progress`], and holds back what depends on a record until
//! [`ShardJournal::release_lsn`] reaches it. After start nothing is allocated.
//!
//! Not here: what records say; what is held back.

use super::device::{CommitDevice, Done, Job, PoolDevice, Slot, UringDevice, write_commits};
use super::error::{JournalError, Trying, fail_stop};
use super::groups::{Groups, Position, ReadySegment};
use super::recovery::Resume;
use super::stock::{Prepared, Space, StockPort, open_current};
use crate::config::{Durability, JournalConfig};
use crate::io::engine::Engine;
use hdrhistogram::Histogram;
use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::task::spawn_local;

const NS_PER_MS: u64 = 1_000_000;
/// So much longer is a commit waited for that is found to have taken too long.
const LATE_NS: u64 = 200 * NS_PER_MS;
/// Longest time that the histogram tells from longer ones: a minute.
const TIME_US_MAX: u64 = 60_000_000;
/// A commit that takes longer than this is counted as a stall.
pub const STALL_NS: u64 = 10 * NS_PER_MS;

/// What a journal counts.
#[derive(Clone, Debug)]
pub struct JournalCounters {
    /// Groups made durable.
    pub commits: u64,
    /// Records made durable.
    pub records: u64,
    /// Bytes of records made durable.
    pub bytes: u64,
    /// Commits that took longer than [`STALL_NS`].
    pub stalls: u64,
    /// From a commit's start until the driver knew of its end, in microseconds.
    pub commit_us: Histogram<u64>,
}

/// A commit in flight.
#[derive(Clone, Copy)]
struct InFlight {
    since_ns: u64,
    first_undurable_lsn: u64,
}

/// One shard's journal.
pub struct ShardJournal {
    groups: Groups,
    slot: Rc<Slot>,
    stock: StockPort,
    in_flight: Option<InFlight>,
    /// Since when a commit is known to have taken too long.
    late_since_ns: Option<u64>,
    durability: Durability,
    /// When the last commit started.
    started_ns: u64,
    stall_max_ns: u64,
    reserve_bytes: u64,
    segment_bytes: u64,
    counters: JournalCounters,
}

impl ShardJournal {
    /// Goes on where a recovery ended. Must be made inside the engine's runtime.
    ///
    /// # Errors
    /// The segment in use cannot be opened.
    pub fn new(
        engine: Engine,
        config: &JournalConfig,
        resume: &Resume,
        stock: StockPort,
    ) -> Result<Self, JournalError> {
        let file = match resume.start.position {
            Some(Position { segment, .. }) => Some(open_current(&resume.folder, segment)?),
            None => None,
        };
        match engine {
            Engine::TokioUring => {
                Self::with_device(config, resume, stock, (UringDevice::default(), file))
            }
            Engine::Tokio => {
                Self::with_device(config, resume, stock, (PoolDevice::default(), file))
            }
        }
    }

    pub(super) fn with_device<D: CommitDevice + 'static>(
        config: &JournalConfig,
        resume: &Resume,
        stock: StockPort,
        (mut device, file): (D, Option<File>),
    ) -> Result<Self, JournalError> {
        if let Some(file) = file {
            device.switch(file);
        }
        let slot = Rc::new(Slot::default());
        let folder = resume.folder.clone();
        drop(spawn_local(write_commits(Rc::clone(&slot), device, folder)));
        let commit_us = time_us_histogram().trying("count the commits of", Path::new("journal"))?;
        Ok(Self {
            groups: Groups::new(&resume.start, config.buffer_bytes()),
            slot,
            stock,
            in_flight: None,
            late_since_ns: None,
            durability: config.durability,
            started_ns: 0,
            stall_max_ns: config.stall_max_ms * NS_PER_MS,
            reserve_bytes: config.undurable_bytes_max as u64,
            segment_bytes: config.segment_bytes,
            counters: JournalCounters { commits: 0, records: 0, bytes: 0, stalls: 0, commit_us },
        })
    }

    /// Whether records of so many bytes can be appended now. If not, the input that would cause
    /// them must wait; a commit's end makes room.
    #[inline]
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.groups.has_room(bytes, || self.stock.ready() > 0)
    }

    /// Appends `count` whole records and returns the LSN of the last. The bytes of one call become
    /// durable together or not at all.
    #[inline]
    pub fn append(&mut self, records: &[u8], count: u32) -> u64 {
        self.groups.append(records, count)
    }

    /// Takes note of a commit that ended, and starts the next if there is something to commit.
    /// Tells whether the durable LSN moved.
    pub fn pump(&mut self, now_ns: u64) -> bool {
        let durable = self.slot.take_done().map(|done| self.on_done(done, now_ns)).is_some();
        if self.in_flight.is_none() && self.may_start(now_ns) {
            self.start_commit(now_ns);
        }
        self.groups.assert_in_order();
        durable
    }

    fn on_done(&mut self, done: Done, now_ns: u64) {
        let Some(InFlight { since_ns, first_undurable_lsn }) = self.in_flight.take() else {
            unreachable!("Invariant: only what is in flight ends");
        };
        let bytes = self.groups.on_durable(done.group, done.header);
        let took_ns = now_ns.saturating_sub(since_ns);
        let counters = &mut self.counters;
        counters.commits += 1;
        counters.bytes += bytes as u64;
        counters.records += self.groups.durable_lsn() + 1 - first_undurable_lsn;
        counters.stalls += u64::from(took_ns > STALL_NS);
        counters.commit_us.saturating_record(took_ns / 1_000);
    }

    fn may_start(&self, now_ns: u64) -> bool {
        match self.durability {
            Durability::Strict | Durability::Off => true,
            Durability::Relaxed { ms } => now_ns >= self.started_ns + ms * NS_PER_MS,
        }
    }

    fn start_commit(&mut self, now_ns: u64) {
        let first_undurable_lsn = self.groups.durable_lsn() + 1;
        let mut file = None;
        let stock = &self.stock;
        let commit = self.groups.seal(|| {
            let Prepared { number, bytes, file: prepared } = stock.take()?;
            file = Some(prepared);
            Some(ReadySegment { number, bytes })
        });
        if let Some(commit) = commit {
            self.slot.hand(Job { commit, file });
            self.in_flight = Some(InFlight { since_ns: now_ns, first_undurable_lsn });
            self.started_ns = now_ns;
        }
    }

    /// Ready when a commit has ended that [`ShardJournal::pump`] does not know of; wakes the task
    /// of `context` when one does.
    pub fn poll_progress(&self, context: &Context<'_>) -> Poll<()> {
        self.slot.poll_done(context)
    }

    /// When [`ShardJournal::pump`] and [`ShardJournal::check_stall`] want to be called although
    /// nothing happens.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        match (self.in_flight, self.durability) {
            (Some(in_flight), _) => Some(match self.late_since_ns {
                Some(late_since_ns) => late_since_ns + LATE_NS,
                None => in_flight.since_ns + self.stall_max_ns,
            }),
            (None, Durability::Relaxed { ms }) if self.groups.has_waiting() => {
                Some(self.started_ns + ms * NS_PER_MS)
            }
            (None, _) => None,
        }
    }

    /// After [`ShardJournal::pump`]: ends the process when the disk has not answered for too long: those
    /// who wait get no answer here, and another instance may serve them. An answer that came while
    /// the whole process stood still is found by the runtime's next turns: they have a while.
    pub fn check_stall(&mut self, now_ns: u64) {
        let since_ns = self.in_flight.map(|in_flight| in_flight.since_ns);
        let is_late = since_ns.is_some_and(|since_ns| now_ns >= since_ns + self.stall_max_ns);
        if !is_late {
            self.late_since_ns = None;
        } else if now_ns >= *self.late_since_ns.get_or_insert(now_ns) + LATE_NS {
            let ms = self.stall_max_ns / NS_PER_MS;
            fail_stop(&format!("the journal's disk has not answered for {ms} ms (stall_max_ms)"));
        }
    }

    /// LSN of the last record appended.
    #[inline]
    #[must_use]
    pub fn last_lsn(&self) -> u64 {
        self.groups.last_lsn()
    }

    /// LSN of the last record on its way to the disk, or there.
    #[must_use]
    pub fn written_lsn(&self) -> u64 {
        self.groups.written_lsn()
    }

    /// LSN of the last record that survives a crash.
    #[inline]
    #[must_use]
    pub fn durable_lsn(&self) -> u64 {
        self.groups.durable_lsn()
    }

    /// What depends on records up to here may leave: durable ones, or all where durability is
    /// relaxed.
    #[inline]
    #[must_use]
    pub fn release_lsn(&self) -> u64 {
        match self.durability {
            Durability::Strict => self.groups.durable_lsn(),
            Durability::Relaxed { .. } | Durability::Off => self.groups.last_lsn(),
        }
    }

    /// Bytes of records that a crash would lose.
    #[must_use]
    pub fn undurable_bytes(&self) -> usize {
        self.groups.undurable_bytes()
    }

    /// Whether everything appended is durable.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && !self.groups.has_waiting()
    }

    /// Whether the disk takes more. [`Space::Refuse`]: nothing new may be accepted; what was
    /// accepted still finds its place.
    #[must_use]
    pub fn space(&self) -> Space {
        let ready_bytes = self.stock.ready() as u64 * self.segment_bytes;
        match self.stock.space() {
            _ if self.groups.segment_room() + ready_bytes < self.reserve_bytes => Space::Refuse,
            space => space,
        }
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &JournalCounters {
        &self.counters
    }
}

impl Drop for ShardJournal {
    fn drop(&mut self) {
        self.slot.close();
    }
}

/// Of times in microseconds. Allocates all that it will ever need.
pub(crate) fn time_us_histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, TIME_US_MAX, 3).map_err(io::Error::other)
}

//! The driver's side of the journal: records are appended before what waits for them, what may leave
//! leaves, and snapshots are taken in steps between batches.

use super::actions::perform;
use super::{Driver, NS_PER_MS};
use crate::config::JournalConfig;
use crate::io::counters::add;
use crate::io::decider::Decider;
use crate::io::engine;
use crate::io::held::Held;
use crate::io::journal::{
    JournalError, JournalReport, ShardJournal, SnapshotCounters, SnapshotEnd, SnapshotMark,
    SnapshotWriter, Space,
};
use crate::io::parting::Parting;
use crate::io::pulse::Phase;
use crate::limits::{OUTBOX_RECORD_BYTES, READ_RECORD_BYTES};
use crate::shard::snapshot::SnapshotStep;
use crate::shard::{Now, Outbox};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a snapshot that are made between two batches: mostly less than a tenth of a millisecond.
const SNAPSHOT_STEP_BYTES: usize = 32_768;
/// How often a snapshot looks whether its writer has a buffer again.
const SNAPSHOT_TICK_NS: u64 = NS_PER_MS;
/// While messages come, a step is followed by so many times as long for them.
const SNAPSHOT_REST_TIMES: u64 = 14;
/// A shard without messages for so long takes its steps one after the other.
const SNAPSHOT_QUIET_NS: u64 = 2 * NS_PER_MS;

/// A shard's journal, and what waits for it.
pub(crate) struct JournalPort {
    pub(crate) journal: ShardJournal,
    held: Held,
    snapshots: Snapshots,
    was_full: bool,
    /// Nothing new is taken, whatever room there is.
    is_safe: bool,
}

/// Snapshots of one shard.
struct Snapshots {
    writer: SnapshotWriter,
    /// Made and not handed to the writer yet.
    bytes: Vec<u8>,
    pushed: usize,
    state: SnapshotState,
    every_ns: u64,
    every_bytes: u64,
    began_ns: u64,
    /// When the next step is due, while one is under way.
    step_due_ns: u64,
    /// When the last messages came.
    busy_ns: u64,
    began_bytes: u64,
    began_lsn: u64,
    /// The last call that one was begun after.
    called: u64,
    counters: SnapshotCounters,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SnapshotState {
    Idle,
    Taking,
    /// All is made; the writer has some of it still.
    Taken,
    Finishing,
}

impl JournalPort {
    pub(crate) fn new(
        journal: ShardJournal,
        writer: SnapshotWriter,
        config: &JournalConfig,
        now: Now,
    ) -> Result<Self, JournalError> {
        let snapshots = Snapshots {
            writer,
            bytes: Vec::with_capacity(4 * SNAPSHOT_STEP_BYTES),
            pushed: 0,
            state: SnapshotState::Idle,
            every_ns: config.snapshot_every_s * 1_000 * NS_PER_MS,
            every_bytes: config.snapshot_every_bytes,
            began_ns: now.mono_ns,
            step_due_ns: now.mono_ns,
            busy_ns: now.mono_ns,
            began_bytes: 0,
            began_lsn: journal.last_lsn(),
            called: 0,
            counters: SnapshotCounters::new()?,
        };
        Ok(Self {
            journal,
            held: Held::default(),
            snapshots,
            was_full: false,
            is_safe: config.is_safe,
        })
    }

    /// Appends what the outbox recorded. Tells whether what waits for records must be held.
    pub(super) fn append(&mut self, outbox: &mut Outbox) -> bool {
        let (records, count) = outbox.records();
        if count > 0 {
            let lsn = self.journal.append(records, count);
            outbox.on_appended(lsn);
        }
        self.journal.release_lsn() < self.journal.last_lsn()
    }

    pub(super) fn hold(&mut self, place: usize, outbox: &Outbox) {
        let lsns = (self.journal.last_lsn(), self.journal.written_lsn());
        if let Some(action) = outbox.actions().get(place) {
            self.held.push(lsns, action, outbox);
        }
    }

    /// What was counted since the start.
    pub(super) fn report(&self) -> JournalReport {
        let commits = self.journal.counters().clone();
        let durable_lsn = self.journal.durable_lsn();
        JournalReport { commits, snapshots: self.snapshots.counters.clone(), durable_lsn }
    }

    /// Whether all that was recorded is durable and nothing waits for it.
    pub(super) fn is_quiet(&self) -> bool {
        self.journal.is_idle() && self.held.is_empty()
    }

    pub(super) fn next_due_ns(&self) -> Option<u64> {
        let snapshot = match self.snapshots.state {
            SnapshotState::Idle if self.snapshots.began_lsn < self.journal.last_lsn() => {
                Some(self.snapshots.began_ns + self.snapshots.every_ns)
            }
            SnapshotState::Idle => None,
            _ => Some(self.snapshots.step_due_ns),
        };
        [self.journal.next_due_ns(), snapshot].into_iter().flatten().min()
    }
}

impl<D: Decider> Driver<D> {
    /// Whether the journal takes what some more inputs may cause.
    #[inline]
    pub(super) fn may_take_inputs(&self) -> bool {
        let journal = self.ports.journal.as_ref();
        journal.is_none_or(|port| port.journal.has_room(2 * OUTBOX_RECORD_BYTES))
    }

    /// Whether it takes what a batch of reads may cause.
    #[inline]
    pub(super) fn may_take_reads(&self) -> bool {
        let journal = self.ports.journal.as_ref();
        journal.is_none_or(|port| port.journal.has_room(READ_RECORD_BYTES))
    }

    /// Lets leave what is durable, and starts the next commit.
    pub(super) fn run_journal(&mut self, now: Now) {
        let Some(port) = &mut self.ports.journal else { return };
        port.journal.pump(now.mono_ns);
        port.journal.check_stall(now.mono_ns);
        let is_full = port.is_safe || port.journal.space() == Space::Refuse;
        if is_full != port.was_full {
            port.was_full = is_full;
            self.decider.on_journal_full(is_full);
        }
        self.release(now);
    }

    fn release(&mut self, now: Now) {
        let mut released = false;
        while let Some(port) = &mut self.ports.journal
            && let Some(batch) = port.held.release(port.journal.release_lsn())
        {
            for action in batch.actions() {
                perform(&mut self.ports, &mut self.returned, now, action, |at| batch.bytes(at));
            }
            if let Some(port) = &mut self.ports.journal {
                port.held.give_back(batch);
            }
            released = true;
        }
        if released {
            self.settle(now);
        }
    }

    /// After a restart: finishes what the process before left, before anything new is taken.
    pub(super) async fn finish_recovery(&mut self) {
        if self.ports.journal.is_none() {
            return;
        }
        loop {
            self.ports.counters.pulse.turn(Phase::Recovering);
            let now = self.ports.clock.now();
            if self.may_take_inputs() {
                let more = self.decider.on_recovered(now, &mut self.outbox);
                self.settle(now);
                if !more {
                    break;
                }
            }
            self.run_journal(now);
            engine::turn(self.ports.engine).await;
        }
        let now = self.ports.clock.now();
        self.run_journal(now);
    }

    /// At the end: what was recorded last becomes durable too.
    pub(super) async fn finish_journal(&mut self) {
        while self.ports.journal.as_ref().is_some_and(|port| !port.is_quiet()) {
            self.ports.counters.pulse.turn(Phase::Leaving);
            let now = self.ports.clock.now();
            self.run_journal(now);
            engine::turn(self.ports.engine).await;
        }
    }

    /// At the very end: what the process that takes over is given in memory. Only what is wholly durable
    /// can be gone on with; whoever gets nothing reads it from the disk.
    pub(super) fn part(&mut self) -> Option<Parting> {
        let port = self.ports.journal.as_ref()?;
        let lsn = port.journal.last_lsn();
        if !self.ports.stopping.is_parting()
            || !port.is_quiet()
            || port.journal.durable_lsn() != lsn
        {
            return None;
        }
        let now = self.ports.clock.now();
        Parting::of(&mut self.decider, (self.ports.shard.0, lsn), now).ok().flatten()
    }

    /// Tells others how far the journal is.
    pub(super) fn publish_journal(&mut self, now: Now) {
        let Some(port) = &self.ports.journal else { return };
        let levels = &self.ports.counters.journal;
        let set = |level: &AtomicU64, value| level.store(value, Ordering::Relaxed);
        // In this order: nobody sees more durable than made.
        set(&levels.last_lsn, port.journal.last_lsn());
        set(&levels.durable_lsn, port.journal.durable_lsn());
        let commits = port.journal.counters();
        set(&levels.commits, commits.commits);
        set(&levels.bytes, commits.bytes);
        set(&levels.stalls, commits.stalls);
        let written = port.snapshots.counters.written;
        if written > levels.snapshots.load(Ordering::Relaxed) {
            set(&levels.snapshot_wall_ms, now.wall_ms);
            set(&levels.snapshots, written);
        }
    }

    /// One step of a snapshot, or the beginning of one, when it is due; `inputs` is what came in this
    /// cycle. Tells whether another can follow at once.
    pub(super) fn go_on_snapshot(&mut self, now: Now, inputs: usize) -> bool {
        let more = self.step_snapshot(now, inputs);
        let Some(port) = &self.ports.journal else { return more };
        let called = port.snapshots.called;
        if port.snapshots.state != SnapshotState::Idle {
            return more;
        }
        // One was begun after this call and has ended, or there was nothing to begin it for.
        self.ports.snapshot_call.serve(usize::from(self.ports.shard.0), called);
        // A call that came while one was under way: another begins.
        more || self.ports.snapshot_call.called() > called
    }

    fn step_snapshot(&mut self, now: Now, inputs: usize) -> bool {
        let call = self.ports.snapshot_call.called();
        let Some(port) = &mut self.ports.journal else { return false };
        if inputs > 0 {
            port.snapshots.busy_ns = now.mono_ns;
        }
        match port.snapshots.state {
            SnapshotState::Taking | SnapshotState::Taken | SnapshotState::Finishing
                if now.mono_ns < port.snapshots.step_due_ns =>
            {
                false
            }
            SnapshotState::Idle => {
                if port.is_snapshot_due(now, call) {
                    let since_ns = self.ports.clock.now().mono_ns;
                    let replay_from_lsn = self.decider.replay_from_lsn(port.journal.last_lsn());
                    let mark = SnapshotMark { lsn: port.journal.last_lsn(), replay_from_lsn };
                    let header = self.decider.snapshot_begin(now);
                    port.begin_snapshot(now, mark, &header);
                    if port.snapshots.state == SnapshotState::Idle {
                        self.decider.snapshot_abandon();
                    }
                    self.count_step(since_ns);
                }
                false
            }
            SnapshotState::Taking | SnapshotState::Taken => {
                if port.snapshots.writer.take_end() == Some(SnapshotEnd::NoRoom) {
                    port.give_up_snapshot();
                    add(&self.ports.counters.snapshots_given_up, 1);
                    self.decider.snapshot_abandon();
                    return false;
                }
                let since_ns = self.ports.clock.now().mono_ns;
                if port.snapshots.push() {
                    let more = self.make_snapshot_step();
                    let at_once = self.count_step(since_ns);
                    more && at_once
                } else {
                    self.wait_for_snapshot(now)
                }
            }
            SnapshotState::Finishing => {
                if let Some(end) = port.snapshots.writer.take_end() {
                    let counters = &mut port.snapshots.counters;
                    match end {
                        SnapshotEnd::Complete => counters.written += 1,
                        SnapshotEnd::NoRoom => counters.given_up += 1,
                    }
                    port.snapshots.state = SnapshotState::Idle;
                    if end == SnapshotEnd::NoRoom {
                        add(&self.ports.counters.snapshots_given_up, 1);
                    }
                    return false;
                }
                self.wait_for_snapshot(now)
            }
        }
    }

    /// The next bytes, when all before them are with the writer.
    fn make_snapshot_step(&mut self) -> bool {
        let Some(port) = &mut self.ports.journal else { return false };
        let snapshots = &mut port.snapshots;
        if snapshots.state == SnapshotState::Taken {
            if snapshots.writer.finish(port.journal.durable_lsn()) {
                snapshots.state = SnapshotState::Finishing;
            }
            return false;
        }
        match self.decider.snapshot_next(&mut snapshots.bytes, SNAPSHOT_STEP_BYTES) {
            SnapshotStep::More => {}
            SnapshotStep::Done => snapshots.state = SnapshotState::Taken,
            SnapshotStep::Abandoned => {
                snapshots.writer.abandon();
                port.give_up_snapshot();
                add(&self.ports.counters.snapshots_given_up, 1);
                self.decider.snapshot_abandon();
                return false;
            }
        }
        true
    }

    /// The time since then was a snapshot's alone. Tells whether another step may follow at once, or
    /// messages have their turn first.
    fn count_step(&mut self, since_ns: u64) -> bool {
        let now_ns = self.ports.clock.now().mono_ns;
        let is_behind = self.decider.snapshot_is_behind();
        let Some(port) = &mut self.ports.journal else { return false };
        let took_ns = now_ns.saturating_sub(since_ns);
        let snapshots = &mut port.snapshots;
        snapshots.counters.step_us.saturating_record(took_ns.div_ceil(1_000));
        let is_quiet = now_ns >= snapshots.busy_ns + SNAPSHOT_QUIET_NS;
        let at_once = is_quiet || is_behind;
        let rest_ns = if at_once { 0 } else { SNAPSHOT_REST_TIMES * took_ns };
        snapshots.step_due_ns = now_ns + rest_ns;
        at_once
    }

    fn wait_for_snapshot(&mut self, now: Now) -> bool {
        if let Some(port) = &mut self.ports.journal {
            port.snapshots.step_due_ns = now.mono_ns + SNAPSHOT_TICK_NS;
        }
        false
    }
}

impl JournalPort {
    /// Of what nothing was recorded since the last one, none is due; whoever calls for it has it then.
    fn is_snapshot_due(&mut self, now: Now, call: u64) -> bool {
        let is_called = std::mem::replace(&mut self.snapshots.called, call) < call;
        let snapshots = &self.snapshots;
        let bytes = self.journal.counters().bytes;
        self.journal.last_lsn() > snapshots.began_lsn
            && (is_called
                || now.mono_ns >= snapshots.began_ns + snapshots.every_ns
                || bytes >= snapshots.began_bytes + snapshots.every_bytes)
    }

    fn begin_snapshot(&mut self, now: Now, mark: SnapshotMark, header: &[u8]) {
        let bytes = self.journal.counters().bytes;
        let snapshots = &mut self.snapshots;
        // Whatever comes of it, the next is due as long after it.
        (snapshots.began_ns, snapshots.began_bytes) = (now.mono_ns, bytes);
        snapshots.step_due_ns = now.mono_ns;
        if snapshots.writer.begin(mark, header) {
            snapshots.began_lsn = mark.lsn;
            snapshots.bytes.clear();
            snapshots.pushed = 0;
            snapshots.state = SnapshotState::Taking;
        }
    }

    fn give_up_snapshot(&mut self) {
        self.snapshots.counters.given_up += 1;
        self.snapshots.bytes.clear();
        self.snapshots.pushed = 0;
        self.snapshots.state = SnapshotState::Idle;
    }
}

impl Snapshots {
    /// Hands on what is made. Tells whether the writer took all of it.
    fn push(&mut self) -> bool {
        while self.pushed < self.bytes.len() {
            let room = self.writer.room();
            if room == 0 {
                return false;
            }
            let end = (self.pushed + room).min(self.bytes.len());
            self.writer.push(self.bytes.get(self.pushed..end).unwrap_or_default());
            self.pushed = end;
        }
        self.bytes.clear();
        self.pushed = 0;
        true
    }
}

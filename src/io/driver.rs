//! One shard's duty cycle: what has arrived goes in, the clock is read once, what the shard wants
//! done is done, and then the runtime parks, which is when the engine submits.
//!
//! ```text
//!   mesh rings ──▶ issuers' answers ──▶ deadlines ──▶ reads: split, stage, decide, at most
//!        ▲                                                BATCH_BYTES_MAX of them
//!        │                                                   │
//!   sleep or turn ◀── give read buffers back ◀── own banks ◀─┘
//! ```
//!
//! Rings come before reads, so what is owed is finished before new work is taken. The outbox is
//! emptied before the shard could run out of room, and always before waiting. Every cycle ends
//! with the kernel's turn: a cycle that went on without it would starve the engine.
//!
//! Not here: what is decided; connections' lives (`connections`); the stop's rules (`stopping`).

use super::alarm::Alarm;
use super::bank_port::BankPort;
use super::clock::Clock;
use super::connections::Connections;
use super::counters::{IoCounters, add};
use super::decider::{ConnectionFault, Decider};
use super::engine::{self, Engine, Stream};
use super::listener::Placed;
use super::mesh::MeshPorts;
use super::read_buffer::ReadBuffer;
use super::returned::{Came, Returned};
use super::stopping::{Stage, Stopping};
use super::wake::{Wake, WakeListener};
use crate::bank::BankSet;
use crate::config::Idle;
use crate::limits::{FRAME_BYTES_MAX, READ_BYTES_BUSY, STAGED_MAX};
use crate::shard::{Action, ConnectionId, MeshMessage, Now, Outbox, ShardId};
use crossbeam_queue::ArrayQueue;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tapswitch_protocol::{FrameError, FrameStep, Framing};

/// Bytes read that are decided before their answers are handed to the kernel: enough to make a
/// batch of it, not so much that the first answers wait for the last.
const BATCH_BYTES_MAX: usize = 4 * READ_BYTES_BUSY;
/// Connections whose reads are decided in one batch, for the same reason.
const BATCH_READS_MAX: usize = 512;
/// Rounds of banks and the shard answering each other in one cycle.
const BANK_ROUNDS_MAX: usize = 4;
const NS_PER_MS: u64 = 1_000_000;
/// How often counters are copied to where others read them.
const PUBLISH_NS: u64 = 100_000_000;
/// How often a stopping shard looks whether all is done.
const STOP_TICK_NS: u64 = 2_000_000;

/// What a shard's thread is given.
pub(crate) struct ShardPorts<P> {
    pub(crate) shard: ShardId,
    pub(crate) clock: Clock,
    pub(crate) connections: Connections,
    pub(crate) counters: Arc<IoCounters>,
    pub(crate) mesh: MeshPorts,
    pub(crate) wakes: Vec<Arc<Wake>>,
    pub(crate) bank: BankPort,
    pub(crate) placed: Arc<ArrayQueue<Placed>>,
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) published: Arc<P>,
    pub(crate) engine: Engine,
    pub(crate) idle: Idle,
    pub(crate) drain_ns: u64,
}

/// What is left of a shard.
pub(crate) struct ShardEnd<R> {
    pub(crate) report: R,
    pub(crate) banks: Option<BankSet>,
}

/// A read on its way through a batch.
struct BatchRead {
    connection: ConnectionId,
    framing: Framing,
    buffer: ReadBuffer,
    consumed: usize,
    lost: Option<FrameError>,
}

/// A staged request: where its bytes are.
struct StagedFrame<S> {
    staged: S,
    read: usize,
    header: Range<usize>,
    body: Range<usize>,
}

/// One shard, driven.
pub(crate) struct Driver<D: Decider> {
    decider: D,
    ports: ShardPorts<D::Published>,
    outbox: Outbox,
    returned: Returned,
    alarm: Alarm,
    wake: WakeListener,
    visits: Vec<u16>,
    visited: usize,
    batch: Vec<BatchRead>,
    staged: Vec<StagedFrame<D::Staged>>,
    stage: Stage,
    stop_since_ns: u64,
    /// When the last cycle began, or ended if it had something to do.
    cycled_ns: u64,
    last_read_ns: u64,
    published_ns: u64,
    unpublished: bool,
}

impl<D: Decider> Driver<D> {
    /// Must be made inside the engine's runtime.
    pub(crate) fn new(decider: D, ports: ShardPorts<D::Published>) -> io::Result<Self> {
        let own = usize::from(ports.shard.0);
        let wake = ports.wakes.get(own).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self {
            wake: WakeListener::new(Arc::clone(wake))?,
            alarm: Alarm::new()?,
            decider,
            ports,
            outbox: Outbox::new(),
            returned: Returned::default(),
            visits: Vec::new(),
            visited: 0,
            batch: Vec::with_capacity(BATCH_READS_MAX),
            staged: Vec::with_capacity(STAGED_MAX),
            stage: Stage::Serving,
            stop_since_ns: 0,
            cycled_ns: 0,
            last_read_ns: 0,
            published_ns: 0,
            unpublished: false,
        })
    }

    /// Serves until the switch stops.
    pub(crate) async fn run(mut self) -> ShardEnd<D::Report> {
        loop {
            let more = self.cycle();
            if self.stage == Stage::Done {
                break;
            }
            if more || self.ports.idle == Idle::Spin {
                engine::turn(self.ports.engine).await;
            } else {
                self.sleep().await;
            }
        }
        self.decider.publish(&self.ports.published);
        ShardEnd { report: self.decider.into_report(), banks: self.ports.bank.into_banks() }
    }

    /// One duty cycle. Tells whether more is to be done at once.
    fn cycle(&mut self) -> bool {
        let now = self.ports.clock.now();
        self.take_connections();
        let mut inputs = self.take_mesh(now);
        inputs += self.take_issuer_responses(now);
        self.expire(now);
        let visits = self.take_reads(now);
        inputs += self.decide_batch(now);
        self.settle(now);
        inputs += self.run_banks(now);
        self.give_back(now);
        self.settle(now);
        self.cycled_ns = now.mono_ns;
        if inputs > 0 {
            add(&self.ports.counters.cycles, 1);
            let end = self.ports.clock.now();
            self.decider.on_batch_end(end);
            self.cycled_ns = end.mono_ns;
            self.unpublished = true;
        }
        let buffer_bytes = self.ports.connections.buffer_bytes();
        self.ports.counters.buffer_bytes.store(buffer_bytes, Ordering::Relaxed);
        self.publish(now);
        self.go_on_stopping(now, inputs + visits);
        self.visited < self.visits.len()
    }

    fn take_connections(&mut self) {
        while let Some(placed) = self.ports.placed.pop() {
            let opened = Stream::from_std(self.ports.engine, placed.stream)
                .ok()
                .and_then(|stream| self.ports.connections.open(stream, placed.acquirer));
            match opened {
                Some(id) => self.decider.on_connection_open(id),
                None => {
                    self.ports.counters.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn take_mesh(&mut self, now: Now) -> usize {
        let mut taken = 0;
        for peer in 0..self.ports.mesh.from.len() {
            while self.ports.mesh.from.get_mut(peer).is_some_and(|(_, ring)| !ring.is_empty()) {
                self.make_room(now);
                let Some((from, ring)) = self.ports.mesh.from.get_mut(peer) else { break };
                let Some(message) = ring.front() else { break };
                self.decider.on_mesh(now, *from, message, &mut self.outbox);
                ring.release();
                taken += 1;
            }
        }
        add(&self.ports.counters.mesh_messages, taken as u64);
        self.settle(now);
        taken
    }

    fn take_issuer_responses(&mut self, now: Now) -> usize {
        let mut taken = 0;
        while let Some(message) = self.ports.bank.receive() {
            self.make_room(now);
            let (issuer, acquirer) = (message.issuer, message.acquirer);
            let body = message.bytes();
            self.decider.on_issuer_response(now, issuer, acquirer, body, &mut self.outbox);
            self.ports.bank.give(message);
            taken += 1;
        }
        self.settle(now);
        taken
    }

    fn expire(&mut self, now: Now) {
        if self.decider.next_deadline().is_some_and(|due_ns| due_ns <= now.mono_ns) {
            while self.decider.on_deadline(now, &mut self.outbox) {
                self.act(now);
            }
        }
        self.ports.connections.expire(now.mono_ns);
        self.settle(now);
    }

    /// Collects the next batch of reads. Tells how many connections it looked at.
    fn take_reads(&mut self, now: Now) -> usize {
        if self.visited == self.visits.len() {
            self.visited = 0;
            self.ports.connections.visits().take(&mut self.visits);
        }
        let before = self.visited;
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX
            && self.batch.len() < BATCH_READS_MAX
            && let Some(&slot) = self.visits.get(self.visited)
        {
            self.visited += 1;
            let read = self.ports.connections.visit(slot, now.mono_ns, &mut self.returned);
            if let Some((connection, framing, buffer)) = read {
                bytes += buffer.filled().len();
                self.last_read_ns = now.mono_ns;
                self.batch.push(BatchRead { connection, framing, buffer, consumed: 0, lost: None });
            }
        }
        self.visited - before
    }

    /// Splits the batch into frames, stages them, and decides them in groups. Tells how many.
    fn decide_batch(&mut self, now: Now) -> usize {
        let mut decided = 0;
        for index in 0..self.batch.len() {
            while self.stage_next(index) {
                if self.staged.len() == STAGED_MAX {
                    decided += self.decide_staged(now);
                }
            }
        }
        decided + self.decide_staged(now)
    }

    /// Stages the next frame of a read; `false` when it has no whole frame left.
    #[inline]
    fn stage_next(&mut self, index: usize) -> bool {
        let Some(read) = self.batch.get_mut(index) else { return false };
        let rest = read.buffer.filled().get(read.consumed..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        match read.framing.next(rest, FRAME_BYTES_MAX) {
            Ok(FrameStep::Message { header, body, bytes }) => {
                let staged = self.decider.stage(read.connection, body);
                let end = read.consumed + bytes;
                let body_at = end - body.len();
                self.staged.push(StagedFrame {
                    staged,
                    read: index,
                    header: body_at - header.len()..body_at,
                    body: body_at..end,
                });
                read.consumed = end;
                self.ports.connections.on_request(read.connection.slot);
                true
            }
            Ok(FrameStep::Probe { bytes }) => {
                read.consumed += bytes;
                true
            }
            Ok(FrameStep::Unusable { reason, bytes }) => {
                read.consumed += bytes;
                self.decider.on_fault(read.connection, ConnectionFault::Header(reason));
                true
            }
            Ok(FrameStep::Incomplete { .. }) => false,
            Err(lost) => {
                read.lost = Some(lost);
                false
            }
        }
    }

    fn decide_staged(&mut self, now: Now) -> usize {
        let decided = self.staged.len();
        for index in 0..decided {
            self.make_room(now);
            let Some(frame) = self.staged.get(index) else { break };
            let Some(read) = self.batch.get(frame.read) else { break };
            let bytes = read.buffer.filled();
            let header = bytes.get(frame.header.clone()).unwrap_or_default();
            let body = bytes.get(frame.body.clone()).unwrap_or_default();
            self.decider.on_request(now, frame.staged, header, body, &mut self.outbox);
        }
        self.staged.clear();
        decided
    }

    /// Lets the banks answer that live here, and the shard act on it, in the same cycle.
    fn run_banks(&mut self, now: Now) -> usize {
        let mut responses = 0;
        for _ in 0..BANK_ROUNDS_MAX {
            if self.ports.bank.poll(now) == 0 {
                break;
            }
            responses += self.take_issuer_responses(now);
        }
        responses
    }

    fn give_back(&mut self, now: Now) {
        for read in self.batch.drain(..) {
            let BatchRead { connection, buffer, consumed, lost, .. } = read;
            match lost {
                None => {
                    self.ports.connections.after_batch(connection, buffer, consumed, now.mono_ns);
                }
                Some(error) => {
                    self.decider.on_fault(connection, ConnectionFault::Framing(error));
                    self.ports.connections.on_framing_lost(connection, buffer, now.mono_ns);
                }
            }
        }
    }

    #[inline]
    fn make_room(&mut self, now: Now) {
        if !self.outbox.has_room() {
            self.act(now);
        }
    }

    /// Does everything that is to be done, and what follows from it.
    fn settle(&mut self, now: Now) {
        loop {
            self.act(now);
            if let Some((id, fault)) = self.ports.connections.pop_fault() {
                self.decider.on_fault(id, fault);
            } else if let Some(id) = self.ports.connections.pop_closed() {
                self.decider.on_connection_closed(now, id, &mut self.outbox);
            } else if let Some((came, range)) = self.returned.pop() {
                self.take_back(now, came, &range);
            } else {
                break;
            }
        }
        self.send_mesh();
        if self.ports.bank.wake() {
            add(&self.ports.counters.wakes, 1);
        }
    }

    fn take_back(&mut self, now: Now, came: Came, range: &Range<usize>) {
        let Self { decider, returned, outbox, ports, .. } = self;
        let bytes = returned.bytes(range);
        match came {
            Came::Undeliverable(connection) => {
                add(&ports.counters.undeliverable, 1);
                decider.on_undeliverable(now, connection, bytes, outbox);
            }
            Came::ForwardRefused(issuer, acquirer) => {
                decider.on_forward_refused(now, issuer, acquirer, bytes, outbox);
            }
        }
    }

    /// Does what the outbox says.
    fn act(&mut self, now: Now) {
        let Self { outbox, ports, returned, .. } = self;
        for action in outbox.actions() {
            match action {
                Action::Respond { connection, bytes } => {
                    let frame = outbox.bytes(bytes);
                    if !ports.connections.respond(*connection, frame, now.mono_ns) {
                        returned.push(Came::Undeliverable(*connection), frame);
                    }
                }
                Action::NoAnswer { connection } => {
                    ports.connections.on_no_answer(*connection, now.mono_ns);
                }
                Action::Forward { issuer, acquirer, bytes } => {
                    let body = outbox.bytes(bytes);
                    if !ports.bank.forward(*issuer, *acquirer, body) {
                        returned.push(Came::ForwardRefused(*issuer, *acquirer), body);
                    }
                }
                Action::Mesh { to, kind, connection, header_bytes, bytes } => {
                    let ring = ports.mesh.to.get_mut(usize::from(to.0)).and_then(Option::as_mut);
                    assert!(ring.is_some(), "Invariant: messages go to other shards that exist");
                    if let Some(ring) = ring {
                        ring.push(MeshMessage {
                            kind: *kind,
                            connection: *connection,
                            header_bytes: *header_bytes,
                            bytes: outbox.bytes(bytes),
                        });
                    }
                }
            }
        }
        outbox.clear();
    }

    /// Shows other shards what was sent to them, and wakes those that sleep.
    fn send_mesh(&mut self) {
        for (to, wake) in self.ports.mesh.to.iter_mut().zip(&self.ports.wakes) {
            if to.as_mut().is_some_and(super::mesh::MeshSender::publish) && wake.wake() {
                add(&self.ports.counters.wakes, 1);
            }
        }
    }

    fn publish(&mut self, now: Now) {
        if self.unpublished && now.mono_ns >= self.published_ns + PUBLISH_NS {
            self.decider.publish(&self.ports.published);
            self.published_ns = now.mono_ns;
            self.unpublished = false;
        }
    }

    /// When the driver must look again if nothing happens.
    fn next_due_ns(&self) -> Option<u64> {
        let publish_ns = self.unpublished.then_some(self.published_ns + PUBLISH_NS);
        [
            self.decider.next_deadline(),
            self.ports.bank.next_due_ns(),
            self.ports.connections.next_due_ns(),
            publish_ns,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Waits for the kernel, another thread, or the next due moment.
    async fn sleep(&mut self) {
        let now_ns = self.cycled_ns;
        let tick_ns = (self.stage != Stage::Serving).then_some(now_ns + STOP_TICK_NS);
        if let Some(due_ns) = self.next_due_ns().into_iter().chain(tick_ns).min() {
            self.alarm.arm(now_ns, due_ns);
        }
        self.wake.wake().announce_sleep();
        if self.may_sleep() {
            let Self { alarm, wake, ports, .. } = self;
            let visits = ports.connections.visits();
            poll_fn(|context| {
                let signalled = wake.poll_signalled(context).is_ready();
                let fired = alarm.poll_fired(context).is_ready();
                if signalled || fired || !visits.is_empty() {
                    return Poll::Ready(());
                }
                visits.wait(context.waker());
                Poll::Pending
            })
            .await;
        } else {
            engine::turn(self.ports.engine).await;
        }
        self.wake.wake().on_wake();
        self.ports.bank.on_wake();
    }

    /// After the sleep was announced: whether nobody has left anything.
    fn may_sleep(&mut self) -> bool {
        let rings_are_empty = self.ports.mesh.from.iter_mut().all(|(_, ring)| ring.is_empty());
        // Asked last and always: it announces the sleep to the banks.
        let banks_are_done = self.ports.bank.may_sleep();
        rings_are_empty && banks_are_done && self.ports.placed.is_empty()
    }

    /// The stop, one step at most: see `stopping`.
    fn go_on_stopping(&mut self, now: Now, inputs: usize) {
        let now_ns = now.mono_ns;
        let linger_ns = self.ports.connections.timeouts().linger_ms * NS_PER_MS;
        let over_ns = self.stop_since_ns + self.ports.drain_ns;
        match self.stage {
            Stage::Serving => {
                if self.ports.stopping.is_asked() {
                    self.decider.on_drain();
                    (self.stop_since_ns, self.last_read_ns) = (now_ns, now_ns);
                    self.stage = Stage::Draining;
                }
            }
            Stage::Draining => {
                if self.all_shards_are_quiet(now_ns, inputs) {
                    self.close(now_ns);
                } else if now_ns >= self.stop_since_ns + self.ports.drain_ns / 4 * 3 {
                    self.ports.connections.stop_reading();
                    self.stage = Stage::LastAnswers;
                }
            }
            Stage::LastAnswers => {
                if now_ns >= over_ns || self.all_shards_are_quiet(now_ns, inputs) {
                    self.close(now_ns);
                }
            }
            Stage::Closing { until_ns } => {
                if self.ports.connections.is_empty() && self.ports.placed.is_empty() {
                    self.ports.stopping.set_quiet(usize::from(self.ports.shard.0), true);
                    self.ports.stopping.on_closed();
                    self.stage = Stage::Closed;
                } else if now_ns >= until_ns {
                    self.ports.connections.kill_all();
                }
            }
            Stage::Closed => {
                if self.ports.stopping.all_closed() || now_ns >= over_ns + 3 * linger_ns {
                    self.stage = Stage::Done;
                }
            }
            Stage::Done => {}
        }
    }

    fn close(&mut self, now_ns: u64) {
        let linger_ns = self.ports.connections.timeouts().linger_ms * NS_PER_MS;
        self.ports.connections.finish_all(now_ns);
        self.stage = Stage::Closing { until_ns: now_ns + linger_ns };
    }

    /// Whether this shard is quiet, and every other one.
    fn all_shards_are_quiet(&mut self, now_ns: u64, inputs: usize) -> bool {
        let quiet_ns = self.ports.connections.timeouts().quiet_ms * NS_PER_MS;
        let quiet = inputs == 0
            && now_ns >= self.last_read_ns + quiet_ns
            && self.decider.in_flight() == 0
            && self.ports.connections.nothing_to_tell()
            && self.ports.connections.all_written();
        self.ports.stopping.set_quiet(usize::from(self.ports.shard.0), quiet);
        // Whoever is quiet has sent everything before it said so: look at the rings once more.
        quiet
            && self.ports.stopping.all_quiet()
            && self.ports.mesh.from.iter_mut().all(|(_, ring)| ring.is_empty())
    }
}

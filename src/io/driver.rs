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
//! with the kernel's turn: a cycle that went on without it would starve the engine. Reads that are
//! not taken in a cycle (the journal has no room, too much was refused) are taken in a later one.
//!
//! Not here: what is decided; connections' lives (`connections`); the stop's rules (`stopping`).

mod actions;
mod batch;
mod journal;
mod links;
mod orders;
mod refusing;
mod stop;
mod turns;

use super::alarm::Alarm;
use super::bank_port::BankPort;
use super::clock::Clock;
use super::config_offer::Offers;
use super::connections::Connections;
use super::counters::{IoCounters, add};
use super::decider::Decider;
use super::engine::{self, Engine, Stream};
use super::issuer_links::IssuerLinks;
use super::journal::JournalReport;
use super::listener::{Guest, Placed};
use super::mesh::MeshPorts;
use super::outcome_log::OutcomePort;
use super::parting::Parting;
use super::pulse::Phase;
use super::returned::Returned;
use super::shard_orders::ShardOrders;
use super::snapshot_call::SnapshotCall;
use super::stopping::{Stage, Stopping};
use super::wake::{Wake, WakeListener};
use crate::bank::BankSet;
use crate::config::Idle;
use crate::limits::STAGED_MAX;
use crate::shard::{LinkId, Now, Outbox, ShardId};
use batch::{BATCH_READS_MAX, BatchRead, StagedFrame};
use crossbeam_queue::ArrayQueue;
pub(crate) use journal::JournalPort;
use orders::Decided;
use refusing::Refusing;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use turns::Turns;

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
    pub(crate) links: IssuerLinks,
    pub(crate) journal: Option<JournalPort>,
    pub(crate) placed: Arc<ArrayQueue<Placed>>,
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) snapshot_call: Arc<SnapshotCall>,
    pub(crate) offers: Arc<Offers>,
    pub(crate) orders: Arc<ShardOrders>,
    pub(crate) published: Arc<P>,
    pub(crate) engine: Engine,
    pub(crate) idle: Idle,
    pub(crate) drain_ns: u64,
    pub(crate) outcomes: Option<OutcomePort>,
}

/// What is left of a shard.
pub(crate) struct ShardEnd<R> {
    pub(crate) report: R,
    pub(crate) banks: Option<BankSet>,
    pub(crate) journal: Option<JournalReport>,
    /// For the process that takes over.
    pub(crate) parting: Option<Parting>,
}

/// One shard, driven.
pub(crate) struct Driver<D: Decider> {
    decider: D,
    ports: ShardPorts<D::Published>,
    outbox: Outbox,
    returned: Returned,
    alarm: Alarm,
    wake: WakeListener,
    /// Connections on which something happened since the last cycle.
    visits: Vec<u16>,
    /// Those that are still to be looked at.
    turns: Turns,
    refusing: Refusing,
    /// Answers of this shard's own banks in the last cycle.
    from_banks: usize,
    batch: Vec<BatchRead>,
    staged: Vec<StagedFrame<D::Staged>>,
    stage: Stage,
    /// The lost link that is being dealt with.
    losing: Option<LinkId>,
    stop_since_ns: u64,
    /// When the last cycle began, or ended if it had something to do.
    cycled_ns: u64,
    last_read_ns: u64,
    published_ns: u64,
    unpublished: bool,
    /// Operators' orders that are not on the disk yet.
    decided: Vec<Decided>,
}

impl<D: Decider> Driver<D> {
    /// Must be made inside the engine's runtime.
    pub(crate) fn new(decider: D, ports: ShardPorts<D::Published>) -> io::Result<Self> {
        let own = usize::from(ports.shard.0);
        let wake = ports.wakes.get(own).ok_or(io::ErrorKind::InvalidInput)?;
        let outbox = match &ports.journal {
            Some(_) => Outbox::journaling(),
            None => Outbox::new(),
        };
        let turns = Turns::new(ports.connections.acquirers());
        Ok(Self {
            wake: WakeListener::new(Arc::clone(wake))?,
            alarm: Alarm::new()?,
            decider,
            ports,
            outbox,
            returned: Returned::default(),
            visits: Vec::new(),
            turns,
            refusing: Refusing::new(),
            from_banks: 0,
            batch: Vec::with_capacity(BATCH_READS_MAX),
            staged: Vec::with_capacity(STAGED_MAX),
            stage: Stage::Serving,
            losing: None,
            stop_since_ns: 0,
            cycled_ns: 0,
            last_read_ns: 0,
            published_ns: 0,
            // How it is at the start too.
            unpublished: true,
            decided: Vec::new(),
        })
    }

    /// Serves until the switch stops.
    pub(crate) async fn run(mut self) -> ShardEnd<D::Report> {
        self.finish_recovery().await;
        loop {
            let more = self.cycle();
            if self.stage == Stage::Done {
                break;
            }
            if more || self.ports.idle == Idle::Spin {
                self.enter(Phase::Engine);
                engine::turn(self.ports.engine).await;
            } else {
                self.sleep().await;
            }
        }
        self.finish_journal().await;
        self.enter(Phase::Away);
        self.ports.links.end().await;
        self.decider.publish(&self.ports.published);
        self.decider.on_batch_end(self.ports.clock.now());
        self.hand_outcomes_over(true);
        let journal = self.ports.journal.as_ref().map(JournalPort::report);
        let parting = self.part();
        let banks = self.ports.bank.into_banks();
        ShardEnd { report: self.decider.into_report(), banks, journal, parting }
    }

    /// One duty cycle. Tells whether more is to be done at once.
    fn cycle(&mut self) -> bool {
        self.ports.counters.pulse.turn(Phase::Journal);
        let mut now = self.ports.clock.now();
        self.run_journal(now);
        self.enter(Phase::Inputs);
        self.take_config(now);
        self.take_orders(now);
        self.take_connections(now);
        let mut inputs = self.take_mesh(now);
        inputs += self.take_issuer_responses(now);
        inputs += self.take_links(now);
        self.expire(now);
        self.enter(Phase::Reading);
        self.take_visits(now);
        let may_read =
            self.refusing.may_read(now.mono_ns, inputs + self.from_banks) && self.may_take_reads();
        let visits = if may_read { self.take_reads(now) } else { 0 };
        // A read that brings no message may still have been counted.
        self.unpublished |= visits > 0;
        self.enter(Phase::Deciding);
        inputs += self.decide_batch(now);
        self.enter(Phase::Writing);
        self.settle(now);
        if inputs > 0 {
            // What the banks spend in this cycle is not the switch's time.
            let decided = self.ports.clock.now();
            self.decider.on_batch_end(decided);
            self.refusing.spend(self.decider.shed(), inputs, decided.mono_ns - now.mono_ns);
        }
        self.enter(Phase::Banks);
        self.from_banks = self.run_banks(&mut now);
        inputs += self.from_banks;
        self.enter(Phase::Writing);
        self.give_back(now);
        self.settle(now);
        self.enter(Phase::Snapshot);
        let snapshots = self.go_on_snapshot(now, inputs);
        // What this cycle recorded is on its way to the disk before the runtime parks.
        self.enter(Phase::Journal);
        self.run_journal(now);
        self.tell_orders();
        self.cycled_ns = now.mono_ns;
        if inputs > 0 {
            add(&self.ports.counters.cycles, 1);
            let end = self.ports.clock.now();
            self.decider.on_batch_end(end);
            self.cycled_ns = end.mono_ns;
            self.unpublished = true;
            self.hand_outcomes_over(false);
        }
        let buffer_bytes = self.ports.connections.buffer_bytes();
        self.ports.counters.buffer_bytes.store(buffer_bytes, Ordering::Relaxed);
        self.publish_journal(now);
        self.publish(now);
        self.go_on_stopping(now, inputs + visits);
        snapshots || !self.turns.is_empty()
    }

    /// Tells the watchdog what follows.
    #[inline]
    fn enter(&self, phase: Phase) {
        self.ports.counters.pulse.enter(phase);
    }

    /// Another configuration, before anything of this cycle is decided.
    fn take_config(&mut self, now: Now) {
        if self.may_take_inputs()
            && let Some(offer) = self.ports.offers.take(usize::from(self.ports.shard.0))
        {
            self.decider.on_config(now, &offer, &mut self.outbox);
            self.unpublished = true;
            self.settle(now);
        }
    }

    fn take_connections(&mut self, now: Now) {
        while let Some(placed) = self.ports.placed.pop() {
            let acquirer = match placed.guest {
                Guest::Acquirer(acquirer) => acquirer,
                Guest::Issuer(issuer) => {
                    self.ports.links.take(issuer, placed.stream, now.mono_ns);
                    continue;
                }
            };
            let opened = Stream::from_std(self.ports.engine, placed.stream)
                .ok()
                .and_then(|stream| self.ports.connections.open(stream, acquirer));
            match opened {
                Some(id) => {
                    if let Some(gone) = self.decider.on_connection_open(id) {
                        self.ports.connections.drain(gone, now.mono_ns);
                    }
                }
                None => {
                    self.ports.counters.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn take_mesh(&mut self, now: Now) -> usize {
        let mut taken = 0;
        for peer in 0..self.ports.mesh.from.len() {
            while self.may_take_inputs()
                && self.ports.mesh.from.get_mut(peer).is_some_and(|(_, ring)| !ring.is_empty())
            {
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
        while self.may_take_inputs()
            && let Some(message) = self.ports.bank.receive()
        {
            self.make_room(now);
            let (link, acquirer) = (message.issuer.into(), message.acquirer);
            let body = message.bytes();
            self.decider.on_issuer_response(now, link, acquirer, body, &mut self.outbox);
            self.ports.bank.give(message);
            taken += 1;
        }
        self.settle(now);
        taken
    }

    fn expire(&mut self, now: Now) {
        if self.decider.next_deadline().is_some_and(|due_ns| due_ns <= now.mono_ns) {
            while self.may_take_inputs() && self.decider.on_deadline(now, &mut self.outbox) {
                self.act(now);
            }
            self.unpublished = true;
        }
        self.ports.connections.expire(now.mono_ns);
        self.settle(now);
    }

    /// Lets the banks answer that live here, and the shard act on it, in the same cycle.
    fn run_banks(&mut self, now: &mut Now) -> usize {
        let mut responses = 0;
        for _ in 0..BANK_ROUNDS_MAX {
            if self.ports.bank.poll(*now) == 0 {
                break;
            }
            // Their time is over; the switch's goes on.
            *now = self.ports.clock.now();
            responses += self.take_issuer_responses(*now);
        }
        responses
    }

    fn publish(&mut self, now: Now) {
        if self.unpublished && now.mono_ns >= self.published_ns + PUBLISH_NS {
            // What a reader held just now is tried again after the same while.
            self.unpublished = !self.decider.publish(&self.ports.published);
            self.published_ns = now.mono_ns;
            self.hand_outcomes_over(true);
        }
    }

    /// To the outcome log, if there is one; `all` of them, or only full blocks.
    fn hand_outcomes_over(&mut self, all: bool) {
        let Self { decider, ports, .. } = self;
        if let Some(port) = &mut ports.outcomes {
            port.fill(|block| decider.take_outcomes(block), all);
        }
    }

    /// When the driver must look again if nothing happens.
    fn next_due_ns(&self) -> Option<u64> {
        let publish_ns = self.unpublished.then_some(self.published_ns + PUBLISH_NS);
        [
            self.decider.next_deadline(),
            self.ports.bank.next_due_ns(),
            self.ports.links.next_due_ns(),
            self.ports.journal.as_ref().and_then(JournalPort::next_due_ns),
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
            self.enter(Phase::Away);
            let Self { alarm, wake, ports, .. } = self;
            let (visits, links) = (ports.connections.visits(), ports.links.visits());
            let journal = &ports.journal;
            poll_fn(|context| {
                let signalled = wake.poll_signalled(context).is_ready();
                let fired = alarm.poll_fired(context).is_ready();
                let committed = journal
                    .as_ref()
                    .is_some_and(|port| port.journal.poll_progress(context).is_ready());
                if signalled || fired || committed || !visits.is_empty() || !links.is_empty() {
                    return Poll::Ready(());
                }
                visits.wait(context.waker());
                links.wait(context.waker());
                Poll::Pending
            })
            .await;
        } else {
            self.enter(Phase::Engine);
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
}

//! The banks' thread: connections are taken and read, each request is decided, its answer leaves at
//! once, at its time, or never.
//!
//! A connection with too many answers unread is not read on; nor is any while too many answers wait
//! for their time.

use super::Control;
use super::accepting::{Accepted, BankListener, accept_loop};
use super::waiting::{Tenant, WaitingAnswers};
use crate::bank::{BankSet, Disposition, SessionTotals, Statement};
use crate::io::alarm::Alarm;
use crate::io::buffer_pool::BufferPool;
use crate::io::clock::Clock;
use crate::io::duplex::{Connection, WriteStage};
use crate::io::engine::{self, Engine, Stream};
use crate::io::read_buffer::ReadBuffer;
use crate::io::visits::Visits;
use crate::io::wake::WakeListener;
use crate::limits::{FRAME_BYTES_MAX, OUTPUT_BYTES_MAX};
use crate::shard::Now;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tapswitch_protocol::{FieldTable, FrameStep};
use tokio::task::{JoinHandle, spawn_local};

/// Connections that are served at one time: some switches' shards. More are closed at once.
const TENANTS_MAX: usize = 4_096;
/// The slot under which accepting visits: no connection's.
const ACCEPTED: u16 = u16::MAX;
/// Turns of the engine in which connections may write what they have when the banks stop.
const LAST_TURNS_MAX: usize = 1_000;

const _: () = assert!(TENANTS_MAX < ACCEPTED as usize);

/// A connection that is served.
struct Served {
    connection: Rc<Connection>,
    /// Which bank's, by its listener's place.
    place: usize,
    tenant: Tenant,
    /// What was read and must wait.
    parked: Option<ReadBuffer>,
    signed_on: bool,
}

/// The thread's state.
pub(super) struct Desk {
    engine: Engine,
    banks: BankSet,
    listeners: Vec<Rc<BankListener>>,
    control: Arc<Control>,
    clock: Clock,
    alarm: Alarm,
    wake: WakeListener,
    visits: Rc<Visits>,
    pool: Rc<BufferPool>,
    accepted: Rc<Accepted>,
    served: Vec<Option<Served>>,
    tenants: u64,
    waiting: WaitingAnswers,
    visited: Vec<u16>,
    frame: Box<[u8; FRAME_BYTES_MAX]>,
    /// By listener.
    sessions: Vec<SessionTotals>,
}

impl Desk {
    /// Must be made inside the engine's runtime.
    pub(super) fn new(
        engine: Engine,
        banks: BankSet,
        listeners: Vec<BankListener>,
        control: Arc<Control>,
    ) -> io::Result<Self> {
        let sessions = listeners.iter().map(|listener| SessionTotals::new(&listener.name));
        Ok(Self {
            engine,
            banks,
            sessions: sessions.collect(),
            listeners: listeners.into_iter().map(Rc::new).collect(),
            clock: Clock::new(),
            alarm: Alarm::new()?,
            wake: WakeListener::new(Arc::clone(&control.wake))?,
            control,
            visits: Rc::default(),
            pool: Rc::default(),
            accepted: Rc::default(),
            served: Vec::new(),
            tenants: 0,
            waiting: WaitingAnswers::default(),
            visited: Vec::new(),
            frame: Box::new([0; FRAME_BYTES_MAX]),
        })
    }

    /// Serves until told to stop.
    pub(super) async fn run(mut self) -> Statement {
        let accepting = self.accept();
        while !self.control.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            while let Some(asker) = self.control.asked.pop() {
                // Whoever asked may be gone.
                let _ = asker.send(self.statement());
            }
            self.take_accepted();
            self.send_due(now);
            self.take_reads(now);
            if self.visits.is_empty() {
                self.sleep(now).await;
            } else {
                engine::turn(self.engine).await;
            }
        }
        accepting.iter().for_each(JoinHandle::abort);
        self.end().await;
        self.statement()
    }

    fn statement(&self) -> Statement {
        Statement { sessions: self.sessions.clone(), ..self.banks.statement() }
    }

    fn accept(&self) -> Vec<JoinHandle<()>> {
        let start = |(place, listener): (usize, &Rc<BankListener>)| {
            let visits = (Rc::clone(&self.visits), ACCEPTED);
            let accepted = Rc::clone(&self.accepted);
            spawn_local(accept_loop(Rc::clone(listener), place, accepted, visits))
        };
        self.listeners.iter().enumerate().map(start).collect()
    }

    fn take_accepted(&mut self) {
        loop {
            let Some((place, stream)) = self.accepted.borrow_mut().pop_front() else { return };
            let free = self.served.iter().position(Option::is_none);
            let slot = free.unwrap_or(self.served.len());
            let Ok(stream) = Stream::from_std(self.engine, stream) else { continue };
            if slot >= TENANTS_MAX {
                continue;
            }
            if free.is_none() {
                self.served.push(None);
            }
            self.tenants += 1;
            // Below TENANTS_MAX.
            let tenant = Tenant { slot: slot as u16, number: self.tenants };
            let connection = Connection::spawn(tenant.slot, stream, &self.visits, &self.pool);
            self.served[slot] =
                Some(Served { connection, place, tenant, parked: None, signed_on: false });
        }
    }

    /// Sends the answers whose time has come.
    fn send_due(&mut self, now: Now) {
        while let Some((tenant, frame)) = self.waiting.pop_due(now.mono_ns) {
            let served = self.served.get(usize::from(tenant.slot)).and_then(Option::as_ref);
            if let Some(served) = served.filter(|served| served.tenant == tenant) {
                served.connection.append(&frame);
            }
        }
    }

    /// Answers what was read on the connections that visited, and on those that had to wait.
    fn take_reads(&mut self, now: Now) {
        let mut visited = std::mem::take(&mut self.visited);
        self.visits.take(&mut visited);
        for &slot in &visited {
            self.visit(slot, now);
        }
        self.visited = visited;
        for slot in 0..self.served.len() {
            let parked = self.served[slot].as_mut().and_then(|served| served.parked.take());
            if let Some(buffer) = parked {
                self.take_read(slot, buffer, now);
            }
        }
    }

    fn visit(&mut self, slot: u16, now: Now) {
        let slot = usize::from(slot);
        let Some(Some(served)) = self.served.get_mut(slot) else { return };
        let connection = Rc::clone(&served.connection);
        connection.visited();
        if connection.read_end().is_some() || connection.write_stage() == WriteStage::Failed {
            // A switch that ends its half has ended: nobody reads answers any more.
            if let Some(buffer) = served.parked.take() {
                buffer.give(&self.pool);
            }
            connection.abort();
        }
        if let Some(buffer) = connection.take_filled() {
            self.take_read(slot, buffer, now);
        }
        if connection.has_ended() {
            self.release(slot);
        }
    }

    fn release(&mut self, slot: usize) {
        let Some(served) = self.served.get_mut(slot).and_then(Option::take) else { return };
        for (buffer, _) in served.connection.take_unwritten().into_iter().flatten() {
            self.pool.give_after_writing(buffer);
        }
        if let Some(buffer) = served.parked {
            buffer.give(&self.pool);
        }
    }

    /// Answers the whole frames of a buffer, and gives it back or keeps it for later.
    fn take_read(&mut self, slot: usize, mut buffer: ReadBuffer, now: Now) {
        let Some(Some(served)) = self.served.get(slot) else { return };
        let (connection, tenant) = (Rc::clone(&served.connection), served.tenant);
        let Some(listener) = self.listeners.get(served.place).map(Rc::clone) else { return };
        let framing = listener.link.framing;
        let mut consumed = 0;
        let intact = loop {
            if self.waiting.is_full() || connection.waiting() > OUTPUT_BYTES_MAX {
                connection.visit_below(OUTPUT_BYTES_MAX / 2);
                buffer.consume(consumed);
                if let Some(Some(served)) = self.served.get_mut(slot) {
                    served.parked = Some(buffer);
                }
                return;
            }
            let rest = buffer.filled().get(consumed..).unwrap_or_default();
            if rest.is_empty() {
                break true;
            }
            match framing.next(rest, FRAME_BYTES_MAX) {
                Ok(FrameStep::Message { header, body, bytes }) => {
                    consumed += bytes;
                    self.note(slot, &listener, body);
                    self.answer(now, (&listener, tenant), (header, body), &connection);
                }
                Ok(FrameStep::Probe { bytes } | FrameStep::Unusable { bytes, .. }) => {
                    consumed += bytes;
                }
                Ok(FrameStep::Incomplete { .. }) => break true,
                Err(_) => break false,
            }
        };
        if intact && connection.write_stage() == WriteStage::Open {
            buffer.consume(consumed);
            connection.give(buffer);
        } else {
            buffer.give(&self.pool);
            connection.abort();
        }
    }

    /// Counts what the switch says about its session, and what comes without one.
    fn note(&mut self, slot: usize, listener: &BankListener, body: &[u8]) {
        let Some(Some(served)) = self.served.get_mut(slot) else { return };
        let Some(totals) = self.sessions.get_mut(served.place) else { return };
        if !body.starts_with(b"08") {
            totals.without_sign_on += u64::from(!served.signed_on);
            return;
        }
        let mut table = FieldTable::default();
        let view = listener.link.dialect.parse(body, &mut table);
        match view.ok().and_then(|view| view.number(70)) {
            Some(1) => {
                totals.sign_ons += 1;
                served.signed_on = true;
            }
            Some(2) => {
                totals.sign_offs += 1;
                served.signed_on = false;
            }
            Some(301) => totals.echoes += 1,
            Some(_) | None => {}
        }
    }

    fn answer(
        &mut self,
        now: Now,
        (listener, tenant): (&BankListener, Tenant),
        (header, body): (&[u8], &[u8]),
        connection: &Connection,
    ) {
        let (framing, dialect) = (listener.link.framing, listener.link.dialect);
        let whose = (listener.issuer, dialect);
        let (disposition, answer) = self.banks.answer_bytes(now, whose, body);
        let out = &mut self.frame[..];
        let written = framing.begin_response(header, out).and_then(|body_at| {
            let bytes = body_at + answer.len();
            out.get_mut(body_at..bytes)?.copy_from_slice(answer);
            framing.finish(out, bytes);
            out.get(..bytes)
        });
        // An answer that fits no frame is none.
        let Some(frame) = written else { return };
        match disposition {
            Disposition::Silent => {}
            Disposition::At { due_ns } if due_ns > now.mono_ns => {
                self.waiting.push(due_ns, tenant, frame);
            }
            Disposition::Now | Disposition::At { .. } => {
                connection.append(frame);
            }
        }
    }

    /// Waits for connections, the next answer's time, or whoever wants something.
    async fn sleep(&mut self, now: Now) {
        if let Some(due_ns) = self.waiting.next_due_ns() {
            self.alarm.arm(now.mono_ns, due_ns);
        }
        let Self { alarm, wake, visits, .. } = self;
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
    }

    /// Connections write what they have and end; what is left after a while is cut off.
    async fn end(&mut self) {
        for turn in 0..2 * LAST_TURNS_MAX {
            for slot in 0..self.served.len() {
                let Some(served) = &mut self.served[slot] else { continue };
                let connection = Rc::clone(&served.connection);
                if let Some(buffer) = served.parked.take().or_else(|| connection.take_filled()) {
                    buffer.give(&self.pool);
                    connection.stop_reading();
                }
                connection.visited();
                if turn < LAST_TURNS_MAX && connection.waiting() > 0 {
                    connection.finish();
                } else {
                    connection.abort();
                }
                if connection.has_ended() {
                    self.release(slot);
                }
            }
            if self.served.iter().all(Option::is_none) {
                return;
            }
            engine::turn(self.engine).await;
        }
    }
}

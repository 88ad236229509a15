//! The banks' thread: connections are taken and read, each request is decided, its answer leaves at
//! once, at its time, or never.
//!
//! A connection with too many answers unread is not read on; nor is any while too many answers wait
//! for their time.
//!
//! Not here: what a link consists of and how it ends (`served`), the bank's own connections (`call`).

use super::accepting::{Accepted, Site, accept_loop};
use super::call::Call;
use super::served::Served;
use super::session::{Heard, hear, say};
use super::waiting::{Tenant, WaitingAnswers};
use super::{Control, Role};
use crate::bank::{BankSet, Disposition, SessionOrder, SessionTotals, Statement};
use crate::io::alarm::Alarm;
use crate::io::buffer_pool::BufferPool;
use crate::io::clock::Clock;
use crate::io::duplex::Connection;
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
use tapswitch_protocol::{FrameStep, Stan};
use tokio::task::{JoinHandle, spawn_local};

/// Connections that are served at one time: some switches' shards. More are closed at once.
const TENANTS_MAX: usize = 4_096;
/// Six digits.
const STAN_MAX: u32 = 999_999;
/// The slot under which accepting visits: no connection's.
const ACCEPTED: u16 = u16::MAX;
/// Turns of the engine in which connections may write what they have when the banks stop.
const LAST_TURNS_MAX: usize = 1_000;

const _: () = assert!(TENANTS_MAX < ACCEPTED as usize);

/// The thread's state.
pub(super) struct Desk {
    engine: Engine,
    banks: BankSet,
    sites: Vec<Rc<Site>>,
    control: Arc<Control>,
    clock: Clock,
    alarm: Alarm,
    wake: WakeListener,
    visits: Rc<Visits>,
    pool: Rc<BufferPool>,
    accepted: Rc<Accepted>,
    served: Vec<Option<Served>>,
    tenants: u64,
    /// DE 11 of the banks' own messages.
    last_stan: u32,
    waiting: WaitingAnswers,
    visited: Vec<u16>,
    frame: Box<[u8; FRAME_BYTES_MAX]>,
    /// By site.
    sessions: Vec<SessionTotals>,
}

impl Desk {
    /// Must be made inside the engine's runtime.
    pub(super) fn new(
        engine: Engine,
        banks: BankSet,
        sites: Vec<Site>,
        control: Arc<Control>,
    ) -> io::Result<Self> {
        let sessions = sites.iter().map(|site| SessionTotals::new(&site.name));
        Ok(Self {
            engine,
            banks,
            sessions: sessions.collect(),
            sites: sites.into_iter().map(Rc::new).collect(),
            clock: Clock::new(),
            alarm: Alarm::new()?,
            wake: WakeListener::new(Arc::clone(&control.wake))?,
            control,
            visits: Rc::default(),
            pool: Rc::default(),
            accepted: Rc::default(),
            served: Vec::new(),
            tenants: 0,
            last_stan: 0,
            waiting: WaitingAnswers::default(),
            visited: Vec::new(),
            frame: Box::new([0; FRAME_BYTES_MAX]),
        })
    }

    /// Serves until told to stop.
    pub(super) async fn run(mut self) -> Statement {
        let accepting = self.accept();
        self.begin_calls();
        while !self.control.stop.load(Ordering::Acquire) {
            let now = self.clock.now();
            while let Some(asker) = self.control.asked.pop() {
                // Whoever asked may be gone.
                let _ = asker.send(self.statement());
            }
            self.take_accepted();
            self.call(now);
            self.send_due(now);
            self.take_reads(now);
            if self.visits.is_empty() {
                self.sleep(now).await;
            } else {
                engine::turn(self.engine).await;
            }
        }
        accepting.iter().for_each(JoinHandle::abort);
        let now = self.clock.now();
        self.end(now).await;
        self.statement()
    }

    fn statement(&self) -> Statement {
        Statement { sessions: self.sessions.clone(), ..self.banks.statement() }
    }

    fn accept(&self) -> Vec<JoinHandle<()>> {
        let start = |(place, site): (usize, &Rc<Site>)| {
            let visits = (Rc::clone(&self.visits), ACCEPTED);
            let accepted = Rc::clone(&self.accepted);
            spawn_local(accept_loop(Rc::clone(site), place, accepted, visits))
        };
        self.sites.iter().enumerate().map(start).collect()
    }

    /// A free place, as a new tenant's; `None`: there are enough.
    fn place(&mut self) -> Option<Tenant> {
        let free = self.served.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.served.len());
        if slot >= TENANTS_MAX {
            return None;
        }
        if free.is_none() {
            self.served.push(None);
        }
        // Below TENANTS_MAX.
        Some(self.tenant(slot as u16))
    }

    fn tenant(&mut self, slot: u16) -> Tenant {
        self.tenants += 1;
        Tenant { slot, number: self.tenants }
    }

    fn put(&mut self, served: Served) {
        let slot = usize::from(served.tenant.slot);
        if let Some(place) = self.served.get_mut(slot) {
            *place = Some(served);
        }
    }

    /// Every connection that a bank makes by itself has its place for good.
    fn begin_calls(&mut self) {
        for (place, site) in self.sites.clone().into_iter().enumerate() {
            let Some(address) = site.link.listen else { continue };
            for _ in 0..site.calls {
                let Some(tenant) = self.place() else { return };
                let call = Call::new(address, spread(tenant.number));
                self.put(Served::new((Rc::clone(&site), place), tenant, Some(call)));
            }
        }
    }

    fn take_accepted(&mut self) {
        loop {
            let Some((place, stream)) = self.accepted.borrow_mut().pop_front() else { return };
            let Some(site) = self.sites.get(place).map(Rc::clone) else { continue };
            let Ok(stream) = Stream::from_std(self.engine, stream) else { continue };
            let Some(tenant) = self.place() else { continue };
            let connection = Connection::spawn(tenant.slot, stream, &self.visits, &self.pool);
            let call = match site.role {
                Role::Pairs(address) => Some(Call::new(address, spread(tenant.number))),
                Role::Listens | Role::Connects => None,
            };
            let mut served = Served::new((site, place), tenant, call);
            served.accept(connection);
            self.put(served);
        }
    }

    /// Makes the connections that are wanted; where one is made, the bank signs on.
    fn call(&mut self, now: Now) {
        for slot in 0..self.served.len() {
            let Some(Some(served)) = self.served.get_mut(slot) else { continue };
            let Some(call) = &mut served.call else { continue };
            // Below TENANTS_MAX.
            let visits = (slot as u16, &self.visits);
            let Some(stream) = call.look(now.mono_ns, visits) else { continue };
            match Stream::from_std(self.engine, stream) {
                Ok(stream) => {
                    let made = Connection::spawn(slot as u16, stream, &self.visits, &self.pool);
                    served.join(made);
                    // What came by the other line meanwhile is looked at now.
                    self.visits.push(slot as u16);
                    self.say(slot, SessionOrder::SignOn, now);
                }
                Err(_) => call.lost(now.mono_ns),
            }
        }
    }

    /// The bank's own sign-on or sign-off, where its link wants one and it has connected.
    fn say(&mut self, slot: usize, order: SessionOrder, now: Now) {
        let number = if self.last_stan < STAN_MAX { self.last_stan + 1 } else { 1 };
        self.last_stan = number;
        let Some(Some(served)) = self.served.get_mut(slot) else { return };
        if !served.site.link.sign_on || served.site.role == Role::Listens {
            return;
        }
        let Some(lines) = served.serving().cloned() else { return };
        let numbers = (now, Stan(number));
        let frame = say(&served.site, &mut served.session, numbers, order, &mut self.frame);
        if let Some(frame) = frame {
            lines.out().append(frame);
        }
    }

    /// Sends the answers whose time has come.
    fn send_due(&mut self, now: Now) {
        while let Some((tenant, frame)) = self.waiting.pop_due(now.mono_ns) {
            let served = self.served.get(usize::from(tenant.slot)).and_then(Option::as_ref);
            let served = served.filter(|served| served.tenant == tenant);
            if let Some(lines) = served.and_then(Served::serving) {
                lines.out().append(&frame);
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
        if let Some(buffer) = served.visit(&self.pool) {
            self.take_read(slot, buffer, now);
        }
        self.release_ended(slot, now);
    }

    /// A link that has ended leaves its place, or is made again there.
    fn release_ended(&mut self, slot: usize, now: Now) {
        let Some(Some(served)) = self.served.get_mut(slot) else { return };
        if !served.has_ended(&self.pool) {
            return;
        }
        // Below TENANTS_MAX.
        let tenant = self.tenant(slot as u16);
        let Some(place) = self.served.get_mut(slot) else { return };
        if !place.as_mut().is_some_and(|served| served.begin_anew(now.mono_ns, tenant)) {
            *place = None;
        }
    }

    /// Answers the whole frames of a buffer, and gives it back or keeps it for later.
    fn take_read(&mut self, slot: usize, mut buffer: ReadBuffer, now: Now) {
        let Some(Some(served)) = self.served.get(slot) else { return };
        let (site, tenant) = (Rc::clone(&served.site), served.tenant);
        let Some(lines) = served.serving().cloned() else { return buffer.give(&self.pool) };
        let framing = site.link.framing;
        let mut consumed = 0;
        let intact = loop {
            if self.waiting.is_full() || lines.out().waiting() > OUTPUT_BYTES_MAX {
                lines.out().visit_below(OUTPUT_BYTES_MAX / 2);
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
                    match self.hear(slot, body) {
                        Heard::Request => {
                            self.answer(now, (&site, tenant), (header, body), lines.out());
                        }
                        Heard::Answer => {}
                        Heard::Told { stan, is_granted } => {
                            self.on_session_answer(&site, stan, is_granted);
                        }
                    }
                }
                Ok(FrameStep::Probe { bytes } | FrameStep::Unusable { bytes, .. }) => {
                    consumed += bytes;
                }
                Ok(FrameStep::Incomplete { .. }) => break true,
                Err(_) => break false,
            }
        };
        if intact && !lines.is_broken() {
            buffer.consume(consumed);
            lines.reader().give(buffer);
            return;
        }
        buffer.give(&self.pool);
        if let Some(Some(served)) = self.served.get_mut(slot) {
            served.close(&self.pool);
        }
    }

    fn hear(&mut self, slot: usize, body: &[u8]) -> Heard {
        let Some(Some(served)) = self.served.get_mut(slot) else { return Heard::Answer };
        let Some(totals) = self.sessions.get_mut(served.place) else { return Heard::Answer };
        hear(&served.site, (&mut served.session, totals), body)
    }

    /// The switch answers a bank's sign-on. Of pairs it may come by another one than was asked on.
    fn on_session_answer(&mut self, site: &Rc<Site>, stan: Stan, is_granted: bool) {
        let mut links = self.served.iter_mut().flatten();
        let is_asked = |it: &&mut Served| Rc::ptr_eq(&it.site, site) && it.session.asked(stan);
        let Some(served) = links.find(is_asked) else { return };
        served.session.on_answer();
        if !is_granted {
            served.close(&self.pool);
        } else if let Some(totals) = self.sessions.get_mut(served.place) {
            totals.granted += 1;
        }
    }

    fn answer(
        &mut self,
        now: Now,
        (site, tenant): (&Site, Tenant),
        (header, body): (&[u8], &[u8]),
        connection: &Connection,
    ) {
        let (framing, dialect) = (site.link.framing, site.link.dialect);
        let whose = (site.issuer, dialect);
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
        let calls = self.served.iter().flatten().filter_map(|it| it.call.as_ref()?.due_ns());
        if let Some(due_ns) = calls.chain(self.waiting.next_due_ns()).min() {
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
    async fn end(&mut self, now: Now) {
        for slot in 0..self.served.len() {
            self.say(slot, SessionOrder::SignOff, now);
        }
        for turn in 0..2 * LAST_TURNS_MAX {
            for place in &mut self.served {
                let Some(served) = place else { continue };
                if served.end(turn < LAST_TURNS_MAX, &self.pool) {
                    *place = None;
                }
            }
            if self.served.iter().all(Option::is_none) {
                return;
            }
            engine::turn(self.engine).await;
        }
    }
}

/// Differs from call to call, and from one bank process to the next.
fn spread(number: u64) -> u64 {
    u64::from(std::process::id()) << 32 | number
}

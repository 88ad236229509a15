//! The one thread of a run: sends what is due, reads what has come, waits for whichever is next.
//!
//! A full window makes a request late, never left out: its clock starts when it was due. While the
//! next request is further away than the precision of a sleep the thread sleeps; the rest of the
//! time it polls, giving way to whoever else wants the core.

use crate::clock::{Clock, SECOND_NS, StampClock};
use crate::connection::{Connection, Flush};
use crate::exchange::{Asking, Exchange};
use crate::message::FRAME_BYTES_MAX;
use crate::plan::{LoadPlan, Rate};
use crate::poll::Poll;
use crate::progress::Progress;
use crate::report::{LoadReport, Sending};
use crate::run::LoadError;
use crate::schedule::Schedule;
use crate::transaction::stream_seed;
use crate::verify::Problem;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use tapswitch_protocol::{FrameStep, Framing};

/// One read takes at most this.
const READ_BYTES: usize = 256 * 1_024;
/// Requests made before what has come is looked at.
const BATCH_MAX: usize = 256;
/// A sleep ends this much before the next request is due: waking takes time.
const SPIN_NS: u64 = 50_000;
/// Between two looks at the run.
const PUBLISH_NS: u64 = SECOND_NS / 2;

/// When requests are due.
enum Pace {
    Open { schedule: Box<Schedule>, start_ns: u64 },
    Closed { end_ns: u64 },
}

impl Pace {
    /// When the next request is due; `None` when there are no more.
    #[inline]
    fn next_ns(&self, now_ns: u64) -> Option<u64> {
        match self {
            Self::Open { schedule, start_ns } => schedule.next_ns().map(|next| start_ns + next),
            Self::Closed { end_ns } => (now_ns < *end_ns).then_some(now_ns),
        }
    }

    #[inline]
    fn advance(&mut self) {
        match self {
            Self::Open { schedule, .. } => schedule.advance(),
            Self::Closed { .. } => {}
        }
    }

    /// Requests that were due before `now_ns` and were not sent.
    fn overdue(self, now_ns: u64) -> u64 {
        match self {
            Self::Open { schedule, start_ns } => schedule.overdue(now_ns - start_ns),
            Self::Closed { .. } => 0,
        }
    }
}

/// Until when no more requests are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// What has come was looked at: a batch is full.
    Read,
    /// The next one is due, if there is one.
    Due,
    /// There is a place in the window, or a trace number.
    Free,
}

/// The state of a run.
pub(crate) struct Worker<'a> {
    plan: &'a LoadPlan,
    progress: &'a Progress,
    framing: Framing,
    clock: Clock,
    stamps: StampClock,
    exchange: Exchange,
    poll: Poll,
    connections: Vec<Option<Connection>>,
    connections_lost: u64,
    /// Places of the window, each as the connection it is on, in the order of becoming free.
    turns: VecDeque<u32>,
    /// Connections with requests to write.
    unflushed: Vec<u32>,
    buffer: Vec<u8>,
    published_ns: u64,
}

impl<'a> Worker<'a> {
    /// Connects.
    pub(crate) fn connect(plan: &'a LoadPlan, progress: &'a Progress) -> Result<Self, LoadError> {
        let clock = Clock::start();
        let mut stamps = StampClock::new(clock);
        let exchange = Exchange::new(plan, stamps.at(0))?;
        let poll = Poll::new().map_err(LoadError::Poll)?;
        let mut connections = Vec::new();
        for number in 0..plan.connections {
            let connection = Connection::open(plan.target)
                .map_err(|source| LoadError::Connect { target: plan.target, number, source })?;
            poll.add(&connection, number).map_err(LoadError::Poll)?;
            connections.push(Some(connection));
        }
        // Connections take turns, so that the first requests spread over all.
        let turns = (0..plan.in_flight).flat_map(|_| 0..plan.connections).collect();
        Ok(Self {
            plan,
            progress,
            framing: plan.framing,
            clock,
            stamps,
            exchange,
            poll,
            connections,
            connections_lost: 0,
            turns,
            unflushed: Vec::new(),
            buffer: vec![0; READ_BYTES],
            published_ns: 0,
        })
    }

    /// Signs every connection on, and waits for the responses.
    pub(crate) fn sign_on(&mut self) -> Result<(), LoadError> {
        for number in 0..self.plan.connections {
            let now_ns = self.clock.now_ns();
            let asking = Asking { connection: number, intended_ns: now_ns, now_ns };
            let stamp = self.stamps.at(now_ns);
            let connection = self.connections.get_mut(number as usize).and_then(Option::as_mut);
            if let Some(connection) = connection
                && let Some(place) = self.exchange.ask_sign_on(asking, stamp, connection.out())
            {
                connection.put(place);
                self.unflushed.push(number);
                self.take_turn(number);
            }
        }
        while self.exchange.in_flight() > 0 {
            self.flush();
            self.poll_sockets(SECOND_NS / 10)?;
            self.expire();
        }
        let connections = u64::from(self.plan.connections);
        let tally = self.exchange.tally();
        if tally.approved != connections || tally.wrong > 0 || self.connections_lost > 0 {
            let codes = tally.codes.iter().map(|(code, _)| code.to_string()).collect();
            return Err(LoadError::SignOn { approved: tally.approved, connections, codes });
        }
        self.exchange.restart_tally(self.plan);
        Ok(())
    }

    /// Takes one place of this connection out of the window.
    fn take_turn(&mut self, connection: u32) {
        if let Some(place) = self.turns.iter().position(|turn| *turn == connection) {
            self.turns.remove(place);
        }
    }

    /// Sends until the time is over or `stop` is set, then waits for what is still in flight.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> Result<LoadReport, LoadError> {
        let start_ns = self.clock.now_ns();
        // Checked to be at most a day.
        let length_ns = (self.plan.seconds * SECOND_NS as f64) as u64;
        let mut pace = match self.plan.rate {
            Rate::PerSecond(rate) => {
                let seed = stream_seed(self.plan.seed, b"times");
                let schedule = Schedule::new(rate, self.plan.arrivals, length_ns, seed);
                Pace::Open { schedule: Box::new(schedule), start_ns }
            }
            Rate::Max => Pace::Closed { end_ns: start_ns + length_ns },
        };
        self.published_ns = start_ns;
        let ended_ns = loop {
            let now_ns = self.clock.now_ns();
            let until = self.send_due(&mut pace, now_ns);
            self.flush();
            let is_over = now_ns >= start_ns + length_ns && until != Until::Read;
            let has_connection = self.connections_lost < u64::from(self.plan.connections);
            if is_over || !has_connection || stop.load(Ordering::Relaxed) {
                break now_ns;
            }
            let timeout_ns = self.timeout(&pace, until, start_ns + length_ns);
            self.step(timeout_ns, start_ns)?;
        };
        let sending = Sending {
            sending_s: (ended_ns - start_ns) as f64 / SECOND_NS as f64,
            answered_while_sending: self.exchange.tally().answered,
            unsent: pace.overdue(ended_ns),
            connections_lost: 0,
        };
        while self.exchange.in_flight() > 0 {
            self.step(PUBLISH_NS / 5, start_ns)?;
        }
        self.publish(self.clock.now_ns(), start_ns);
        let sending = Sending { connections_lost: self.connections_lost, ..sending };
        Ok(LoadReport::new(self.plan, &sending, self.exchange.into_tally()))
    }

    /// Waits at most so long, and does what has come up.
    fn step(&mut self, timeout_ns: u64, start_ns: u64) -> Result<(), LoadError> {
        if self.poll_sockets(timeout_ns)? == 0 && timeout_ns == 0 {
            rustix::thread::sched_yield();
        }
        let now_ns = self.expire();
        if now_ns >= self.published_ns + PUBLISH_NS {
            self.publish(now_ns, start_ns);
        }
        Ok(())
    }

    /// Makes the requests that are due, as many as a batch and the window hold.
    #[inline]
    fn send_due(&mut self, pace: &mut Pace, now_ns: u64) -> Until {
        let stamp = self.stamps.at(now_ns);
        for _ in 0..BATCH_MAX {
            let due_ns = pace.next_ns(now_ns).filter(|due_ns| *due_ns <= now_ns);
            let Some(intended_ns) = due_ns else { return Until::Due };
            let (number, connection) = loop {
                let Some(number) = self.turns.pop_front() else { return Until::Free };
                // A lost connection's places are gone.
                if let Some(Some(connection)) = self.connections.get_mut(number as usize) {
                    break (number, connection);
                }
            };
            let is_first = connection.is_clean();
            let asking = Asking { connection: number, intended_ns, now_ns };
            let Some(place) = self.exchange.ask(asking, stamp, connection.out()) else {
                self.turns.push_front(number);
                return Until::Free;
            };
            connection.put(place);
            if is_first {
                self.unflushed.push(number);
            }
            pace.advance();
        }
        Until::Read
    }

    /// How long to wait for sockets: nothing while more can be sent, to the next event otherwise.
    fn timeout(&self, pace: &Pace, until: Until, end_ns: u64) -> u64 {
        let now_ns = self.clock.now_ns();
        let next_ns = match until {
            Until::Read => return 0,
            Until::Due => pace.next_ns(now_ns),
            Until::Free => None,
        };
        let away = |ns: u64| ns.saturating_sub(now_ns);
        let other_ns = away(end_ns).min(away(self.published_ns + PUBLISH_NS));
        let other_ns =
            self.exchange.next_deadline_ns().map_or(other_ns, |ns| other_ns.min(away(ns)));
        next_ns.map_or(other_ns, |ns| away(ns).saturating_sub(SPIN_NS).min(other_ns))
    }

    /// Writes what waits.
    fn flush(&mut self) {
        while let Some(number) = self.unflushed.pop() {
            self.flush_connection(number, false);
        }
    }

    fn flush_connection(&mut self, number: u32, was_blocked: bool) {
        let Self { connections, exchange, clock, poll, .. } = self;
        let Some(Some(connection)) = connections.get_mut(number as usize) else { return };
        let now_ns = clock.now_ns();
        let flushed = connection.flush(|place| exchange.on_written(place, now_ns));
        let is_blocked = match flushed {
            Ok(flush) => flush == Flush::Blocked,
            Err(_) => return self.lose(number),
        };
        if is_blocked != was_blocked && poll.want_room(&*connection, number, is_blocked).is_err() {
            self.lose(number);
        }
    }

    /// Waits for sockets, reads and writes those that are ready; tells how many were.
    fn poll_sockets(&mut self, timeout_ns: u64) -> Result<usize, LoadError> {
        let count = self.poll.wait(timeout_ns).map_err(LoadError::Poll)?;
        for place in 0..count {
            let Some(ready) = self.poll.ready(place) else { continue };
            if ready.writable {
                self.flush_connection(ready.number, true);
            }
            if ready.readable {
                self.read(ready.number);
            }
        }
        Ok(count)
    }

    fn read(&mut self, number: u32) {
        let Self { connections, exchange, clock, buffer, turns, .. } = self;
        let Some(Some(connection)) = connections.get_mut(number as usize) else { return };
        let bytes = match connection.read(buffer) {
            Ok(Some(count)) => buffer.get(..count).unwrap_or_default(),
            Ok(None) => return,
            Err(_) => return self.lose(number),
        };
        let now_ns = clock.now_ns();
        let mut rest = bytes;
        loop {
            let taken = match self.framing.next(rest, FRAME_BYTES_MAX) {
                Ok(FrameStep::Message { body, bytes, .. }) => {
                    turns.extend(exchange.on_message(now_ns, number, body));
                    bytes
                }
                Ok(FrameStep::Probe { bytes }) => bytes,
                Ok(FrameStep::Unusable { reason, bytes }) => {
                    exchange.on_bad_frame(Problem::BadHeader, &format!("{reason:?}"));
                    bytes
                }
                Ok(FrameStep::Incomplete { .. }) => break,
                Err(error) => {
                    exchange.on_bad_frame(Problem::FramingLost, &error.to_string());
                    return self.lose(number);
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        connection.keep(rest);
    }

    /// Gives a connection up.
    fn lose(&mut self, number: u32) {
        let connection = self.connections.get_mut(number as usize).and_then(Option::take);
        if connection.is_some() {
            self.connections_lost += 1;
            self.exchange.on_connection_lost(number);
        }
    }

    /// Gives up requests whose deadline has passed; tells the time.
    fn expire(&mut self) -> u64 {
        let now_ns = self.clock.now_ns();
        let turns = &mut self.turns;
        self.exchange.expire(now_ns, |connection| turns.push_back(connection));
        now_ns
    }

    fn publish(&mut self, now_ns: u64, start_ns: u64) {
        let half_ns = now_ns - self.published_ns;
        self.published_ns = now_ns;
        let in_flight = self.exchange.in_flight() as u64;
        let tally = self.exchange.tally();
        self.progress.update(|snapshot| {
            snapshot.elapsed_s = (now_ns - start_ns) as f64 / SECOND_NS as f64;
            snapshot.in_flight = in_flight;
            tally.publish(half_ns, snapshot);
        });
    }
}

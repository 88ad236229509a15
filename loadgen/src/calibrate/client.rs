//! The client of the bare echo: a closed loop over the sockets of a run.

use super::{CalibrateError, CalibratePlan, frame};
use crate::clock::{Clock, SECOND_NS};
use crate::connection::{Connection, Flush};
use crate::poll::Poll;
use crate::run::{LoadError, pin};
use crate::tally::latency_histogram;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::net::SocketAddr;
use tapswitch_protocol::{FrameStep, Framing};

const READ_BYTES: usize = 256 * 1_024;

/// What the client saw.
pub(super) struct Echoed {
    pub(super) messages: u64,
    pub(super) seconds: f64,
    pub(super) service: Histogram<u64>,
}

/// One connection, and what it has asked.
struct Asker {
    connection: Connection,
    /// Requests sent together, and when; responses come in their order.
    asked: VecDeque<(u32, u64)>,
    is_blocked: bool,
}

impl Asker {
    fn ask(&mut self, request: &[u8], count: u32, now_ns: u64) {
        for _ in 0..count {
            self.connection.out().extend_from_slice(request);
        }
        self.asked.push_back((count, now_ns));
    }

    fn flush(&mut self, poll: &Poll, number: u32) -> Result<(), CalibrateError> {
        let is_blocked = self.connection.flush(|_| {})? == Flush::Blocked;
        if is_blocked != self.is_blocked {
            poll.want_room(&self.connection, number, is_blocked)?;
            self.is_blocked = is_blocked;
        }
        Ok(())
    }

    /// Counts the whole frames in `bytes` and keeps what follows them.
    fn count(&mut self, bytes: &[u8], response_bytes: u16) -> Result<u32, CalibrateError> {
        let (mut rest, mut count) = (bytes, 0);
        loop {
            match Framing::Be2.next(rest, usize::from(response_bytes)) {
                Ok(FrameStep::Message { bytes, .. }) => {
                    rest = rest.get(bytes..).unwrap_or_default();
                    count += 1;
                }
                Ok(FrameStep::Incomplete { .. }) => break,
                Ok(FrameStep::Probe { .. } | FrameStep::Unusable { .. }) | Err(_) => {
                    return Err(CalibrateError::Framing);
                }
            }
        }
        self.connection.keep(rest);
        Ok(count)
    }

    /// Records the latency of the next `count` responses.
    fn settle(&mut self, mut count: u32, now_ns: u64, service: &mut Histogram<u64>) {
        while count > 0
            && let Some((left, asked_ns)) = self.asked.front_mut()
        {
            let settled = count.min(*left);
            let latency_ns = now_ns.saturating_sub(*asked_ns);
            service.saturating_record_n(latency_ns, u64::from(settled));
            *left -= settled;
            count -= settled;
            if *left == 0 {
                self.asked.pop_front();
            }
        }
    }
}

/// Asks for the plan's time, then waits for what is in flight.
pub(super) fn run(target: SocketAddr, plan: &CalibratePlan) -> Result<Echoed, CalibrateError> {
    let _pinned = pin(plan.client_core)?;
    let mut poll = Poll::new()?;
    let request = frame(plan.request_bytes);
    let mut askers = Vec::new();
    for number in 0..plan.connections {
        let connection = Connection::open(target).map_err(|source| LoadError::Connect {
            target,
            number,
            source,
        })?;
        poll.add(&connection, number)?;
        askers.push(Asker { connection, asked: VecDeque::new(), is_blocked: false });
    }
    let clock = Clock::start();
    let mut service = latency_histogram(3);
    let mut in_flight = 0u64;
    for (number, asker) in (0..).zip(&mut askers) {
        asker.ask(&request, plan.in_flight, clock.now_ns());
        asker.flush(&poll, number)?;
        in_flight += u64::from(plan.in_flight);
    }
    let mut buffer = vec![0; READ_BYTES];
    // Checked to be at most an hour.
    let end_ns = (plan.seconds * SECOND_NS as f64) as u64;
    let (mut messages, mut now_ns) = (0, 0);
    while in_flight > 0 {
        for place in 0..poll.wait(SECOND_NS)? {
            let Some(ready) = poll.ready(place) else { continue };
            let Some(asker) = askers.get_mut(ready.number as usize) else { continue };
            if ready.readable
                && let Some(bytes) = asker.connection.read(&mut buffer)?
            {
                now_ns = clock.now_ns();
                let bytes = buffer.get(..bytes).unwrap_or_default();
                let count = asker.count(bytes, plan.response_bytes)?;
                asker.settle(count, now_ns, &mut service);
                messages += u64::from(count);
                if now_ns < end_ns {
                    asker.ask(&request, count, now_ns);
                } else {
                    in_flight -= u64::from(count);
                }
            }
            asker.flush(&poll, ready.number)?;
        }
    }
    let seconds = now_ns as f64 / SECOND_NS as f64;
    Ok(Echoed { messages, seconds, service })
}

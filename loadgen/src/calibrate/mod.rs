//! What a bare echo takes on this machine: the ceiling beside which a switch's figures are read.
//!
//! The server has the shape of a fast switch without the switch: one thread, the same engine, big
//! reads, frames counted but not looked into, all answers of a read appended to one output buffer,
//! one write in flight while the next buffer grows. The client is the event loop of a run, asking as
//! fast as it is answered.

mod client;
mod server;

use crate::run::LoadError;
use crate::tally::microseconds;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::thread::Builder;
use tapswitch_protocol::Framing;

/// What moves the server's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `tokio-uring`.
    Uring,
    /// Plain `tokio` (epoll).
    Tokio,
}

impl Engine {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uring => "tokio-uring",
            Self::Tokio => "tokio",
        }
    }
}

/// A calibration.
#[derive(Clone, Debug)]
pub struct CalibratePlan {
    /// Connections.
    pub connections: u32,
    /// Unanswered requests that a connection has.
    pub in_flight: u32,
    /// How long.
    pub seconds: f64,
    /// Bytes of a request's frame.
    pub request_bytes: u16,
    /// Bytes of a response's frame.
    pub response_bytes: u16,
    /// Core to pin the server to.
    pub server_core: Option<usize>,
    /// Core to pin the calling thread to.
    pub client_core: Option<usize>,
    /// What the server runs on; `Uring` gives way to `Tokio` where the kernel refuses a ring.
    pub engine: Engine,
}

impl Default for CalibratePlan {
    fn default() -> Self {
        Self {
            connections: 16,
            in_flight: 64,
            seconds: 3.0,
            // A phone tap and its approval in CUPS, with MAC.
            request_bytes: 473,
            response_bytes: 327,
            server_core: None,
            client_core: None,
            engine: Engine::Uring,
        }
    }
}

/// What a bare echo takes.
#[derive(Clone, Debug)]
pub struct CalibrateReport {
    /// What the server ran on.
    pub engine: Engine,
    /// Requests answered.
    pub messages: u64,
    /// In how long.
    pub seconds: f64,
    /// CPU time of the server's thread.
    pub server_cpu_ns: u64,
    /// Nanoseconds from a request's write to its response.
    pub service: Histogram<u64>,
}

/// Why a calibration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// Not at least 1, or more than can be told apart, or frames too small for their length.
    #[error("connections, in flight and seconds are above 0, and frames at least 3 bytes")]
    Plan,
    /// As in a run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Server or client met an error.
    #[error("the echo failed: {0}")]
    Echo(#[from] io::Error),
    /// A response was not a frame of the size asked for.
    #[error("the echo lost its framing")]
    Framing,
}

/// Measures; the client runs on the calling thread, the server on one of its own.
///
/// # Errors
/// See [`CalibrateError`].
pub fn calibrate(plan: &CalibratePlan) -> Result<CalibrateReport, CalibrateError> {
    let is_good = plan.connections > 0
        && plan.in_flight > 0
        && plan.seconds > 0.0
        && plan.seconds <= 3_600.0
        && plan.request_bytes > 2
        && plan.response_bytes > 2;
    if !is_good {
        return Err(CalibrateError::Plan);
    }
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let target = listener.local_addr()?;
    std::thread::scope(|scope| {
        let serving = Builder::new()
            .name("echo".to_owned())
            .spawn_scoped(scope, || server::serve(listener, plan))?;
        let echoed = client::run(target, plan);
        // The client has closed its connections, or never opened them all; either ends the server.
        if echoed.is_err() {
            server::release(target, plan.connections);
        }
        let served = serving.join().unwrap_or_else(|_| Err(io::Error::other("server panicked")));
        // If the server failed, the client could not but fail too.
        let served = served?;
        let echoed = echoed?;
        Ok(CalibrateReport {
            engine: served.engine,
            messages: echoed.messages,
            seconds: echoed.seconds,
            server_cpu_ns: served.cpu_ns,
            service: echoed.service,
        })
    })
}

/// A frame of this many bytes: its length, then filling.
fn frame(bytes: u16) -> Vec<u8> {
    let mut frame = vec![b'0'; usize::from(bytes)];
    Framing::Be2.finish(&mut frame, usize::from(bytes));
    frame
}

impl CalibrateReport {
    /// Messages a second.
    #[must_use]
    pub fn messages_per_s(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// CPU time of the server's thread a message.
    #[must_use]
    pub fn server_cpu_ns_per_message(&self) -> f64 {
        self.server_cpu_ns as f64 / self.messages.max(1) as f64
    }

    /// The report as a JSON object.
    #[must_use]
    pub fn to_json(&self, plan: &CalibratePlan) -> Value {
        json!({
            "engine": self.engine.name(),
            "connections": plan.connections,
            "in_flight": plan.in_flight,
            "request_bytes": plan.request_bytes,
            "response_bytes": plan.response_bytes,
            "seconds": self.seconds,
            "messages": self.messages,
            "messages_per_s": self.messages_per_s().round(),
            "server_cpu_ns_per_message": self.server_cpu_ns_per_message().round(),
            "p50_us": microseconds(&self.service, 0.5),
            "p99_us": microseconds(&self.service, 0.99),
        })
    }

    /// Writes the report as text.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, plan: &CalibratePlan, out: &mut impl fmt::Write) -> fmt::Result {
        let CalibratePlan { connections, in_flight, request_bytes, response_bytes, .. } = plan;
        let engine = self.engine.name();
        writeln!(out, "bare echo on {engine}: {connections} connections, {in_flight} in flight")?;
        writeln!(out, "frames        {request_bytes} bytes in, {response_bytes} bytes out")?;
        let rate = crate::report::thousands(self.messages_per_s().round() as u64);
        writeln!(out, "messages      {rate} a second")?;
        let cpu_ns = self.server_cpu_ns_per_message();
        writeln!(out, "server CPU    {cpu_ns:.0} ns a message")?;
        let [p50, p99] = [0.5, 0.99].map(|quantile| microseconds(&self.service, quantile));
        writeln!(out, "latency       p50 {p50} us, p99 {p99} us (closed loop)")
    }
}

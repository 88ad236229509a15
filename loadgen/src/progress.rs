//! How a run is going, for another thread to look at.

use crate::report::IssuerTotals;
use std::sync::Mutex;
use tapswitch_protocol::ResponseCode;

/// A look at a run. Counts are of the whole run, rate and latencies of its last second.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Seconds since the first request was due.
    pub elapsed_s: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests that have had their response.
    pub answered: u64,
    /// Of these, approved.
    pub approved: u64,
    /// Of these, declined.
    pub declined: u64,
    /// Requests whose deadline has passed, or whose connection is lost.
    pub unanswered: u64,
    /// Responses with something wrong.
    pub wrong: u64,
    /// Requests that wait.
    pub in_flight: u64,
    /// Responses a second.
    pub answered_per_s: f64,
    /// Median latency from the intended time of sending.
    pub p50_us: f64,
    /// 99 % were not slower.
    pub p99_us: f64,
    /// 99.9 % were not slower.
    pub p999_us: f64,
    /// Responses by DE 39.
    pub by_code: Vec<(ResponseCode, u64)>,
    /// Outcomes by issuer.
    pub per_issuer: Vec<IssuerTotals>,
}

/// Where a run leaves its latest [`Snapshot`], twice a second. Looking never makes the run wait: it
/// leaves out a snapshot that would have to.
#[derive(Debug, Default)]
pub struct Progress {
    latest: Mutex<Snapshot>,
}

impl Progress {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The latest look.
    #[must_use]
    pub fn latest(&self) -> Snapshot {
        match self.latest.lock() {
            Ok(snapshot) => snapshot.clone(),
            // The run's thread has panicked; what it left is still true.
            Err(poisoned) => poisoned.into_inner().clone(),
        }
    }

    /// Lets `write` change the latest look, unless somebody is looking.
    pub(crate) fn update(&self, write: impl FnOnce(&mut Snapshot)) {
        if let Ok(mut snapshot) = self.latest.try_lock() {
            write(&mut snapshot);
        }
    }
}

//! Running a plan.

use crate::affinity::Pinned;
use crate::exchange::ExchangeError;
use crate::plan::{LoadPlan, PlanError};
use crate::progress::Progress;
use crate::punctual::Punctual;
use crate::report::LoadReport;
use crate::worker::Worker;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use tapswitch_protocol::error::WriteError;

/// Why a plan was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan is impossible.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A request cannot be written in the plan's dialect.
    #[error("a request cannot be written in this dialect: {0}")]
    Write(#[from] WriteError),
    /// The switch is not there, or does not take so many connections.
    #[error("connection {number} to {target} failed: {source}")]
    Connect {
        /// Where to.
        target: SocketAddr,
        /// Which one, from 0.
        number: u32,
        /// What the system says.
        source: io::Error,
    },
    /// The switch refused a sign-on, or did not answer it.
    #[error("{approved} of {connections} connections signed on; answers: {codes:?}")]
    SignOn {
        /// Sign-ons approved.
        approved: u64,
        /// Connections.
        connections: u64,
        /// DE 39 of the answers.
        codes: Vec<String>,
    },
    /// The thread cannot be kept on that core.
    #[error("cannot pin to core {core}: {source}")]
    Pin {
        /// Which core.
        core: usize,
        /// What the system says.
        source: io::Error,
    },
    /// Waiting for sockets failed.
    #[error("waiting for sockets failed: {0}")]
    Poll(io::Error),
}

impl From<ExchangeError> for LoadError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::Plan(error) => Self::Plan(error),
            ExchangeError::Write(error) => Self::Write(error),
        }
    }
}

/// Runs a plan on the calling thread, which is pinned meanwhile if the plan says so. Returns when
/// the plan's time is over, or `stop` is set, and every request has its response or has been given
/// up; `progress` can be looked at from other threads.
///
/// # Errors
/// See [`LoadError`]. What goes wrong after the connections are made is not an error but part of
/// the report.
pub fn run(
    plan: &LoadPlan,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<LoadReport, LoadError> {
    let _pinned = pin(plan.pin_core)?;
    let _punctual = Punctual::new();
    let mut worker = Worker::connect(plan, progress)?;
    if plan.sign_on {
        worker.sign_on()?;
    }
    worker.run(stop)
}

/// Pins the calling thread, if it is to be.
pub(crate) fn pin(core: Option<usize>) -> Result<Option<Pinned>, LoadError> {
    let Some(core) = core else { return Ok(None) };
    Pinned::to(core).map(Some).map_err(|source| LoadError::Pin { core, source })
}

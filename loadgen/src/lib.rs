//! Load for ISO 8583 switches: what acquirers ask, at a rate that does not wait for answers, with
//! every response verified.
//!
//! [`run()`] carries out a [`LoadPlan`] over real sockets on the calling thread and gives a
//! [`LoadReport`]; a [`Progress`] can be looked at meanwhile. Latency is counted from when a request
//! was due, not from when it could be sent.
//!
//! Not here: the switch, its banks, and any knowledge of how they decide.

mod affinity;
mod clock;
mod connection;
mod decimal;
mod exchange;
mod in_flight;
mod merchants;
mod message;
mod numbers;
mod permutation;
mod poll;
mod punctual;
mod schedule;
mod stamp;
mod tally;
mod template;
mod transaction;
mod worker;

pub mod calibrate;
pub mod cards;
pub mod iin;
pub mod mix;
pub mod overload;
pub mod plan;
pub mod progress;
pub mod report;
pub mod run;
pub mod verify;

pub use calibrate::{CalibrateError, CalibratePlan, CalibrateReport, Engine, calibrate};
pub use iin::{IinTable, IinTableError};
pub use mix::Mix;
pub use overload::{OverloadPlan, OverloadReport};
pub use plan::{Arrivals, InstitutionId, LoadDialect, LoadPlan, PlanError, Rate};
pub use progress::{Progress, Snapshot};
pub use report::{IssuerTotals, LoadReport, SwitchLatency};
pub use run::{LoadError, run};
pub use verify::Problem;

//! What a run counted and how it ended.

use super::options::{FaultKind, Options};
use super::oracle::Violation;
use std::collections::BTreeMap;
use std::fmt;

/// Counts of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Things that happened.
    pub events: u64,
    /// Faults, by [`FaultKind`].
    pub faults: [u64; FaultKind::ALL.len()],
    /// Answers that acquirers got, by DE 39.
    pub answers: BTreeMap<[u8; 2], u64>,
    /// Snapshots that were written.
    pub snapshots: u64,
    /// Records that disks lied about.
    pub lied: u64,
    /// Purchases that switches approved by themselves.
    pub stood_in: u64,
    /// Requests that went by an issuer's second route.
    pub failed_over: u64,
    /// Transactions by how they ended for their acquirers.
    pub approved: u64,
    /// See `approved`.
    pub declined: u64,
    /// See `approved`.
    pub reversed: u64,
    quiet_ns: u64,
}

impl Tally {
    pub(super) fn answer(&mut self, code: [u8; 2]) {
        *self.answers.entry(code).or_default() += 1;
    }

    /// More time without faults; returns all of it.
    pub(super) fn quiet_ns(&mut self, more_ns: u64) -> u64 {
        self.quiet_ns += more_ns;
        self.quiet_ns
    }
}

/// A run's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What was run.
    pub options: Options,
    /// How long the world lived.
    pub simulated_ns: u64,
    /// Of everything that happened: the same seed makes the same.
    pub hash: u64,
    /// What was counted.
    pub tally: Tally,
    /// What did not hold.
    pub violation: Option<Violation>,
    /// What happened to the traced transaction.
    pub lines: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options, tally, .. } = self;
        let seconds = self.simulated_ns as f64 / 1e9;
        write!(
            f,
            "seed {} transactions {} simulated {seconds:.1} s",
            options.seed, options.transactions
        )?;
        write!(f, " approved {} declined {}", tally.approved, tally.declined)?;
        write!(f, " reversed {} stood-in {}", tally.reversed, tally.stood_in)?;
        write!(f, " failed-over {} snapshots {}", tally.failed_over, tally.snapshots)?;
        f.write_str(" faults")?;
        for (kind, count) in FaultKind::ALL.iter().zip(tally.faults) {
            write!(f, " {}:{count}", kind.name())?;
        }
        f.write_str(" answers")?;
        for (code, count) in &tally.answers {
            write!(f, " {}:{count}", String::from_utf8_lossy(code))?;
        }
        write!(f, " hash {:016x}", self.hash)?;
        let Some(violation) = &self.violation else { return Ok(()) };
        let at = violation.at_ns as f64 / 1e9;
        write!(f, "\nVIOLATION {} transaction {}", violation.invariant, violation.number)?;
        write!(f, " at {at:.6} s: {}", violation.text)?;
        write!(f, "\nagain: cargo run --release --bin sim -- {options} --trace")
    }
}

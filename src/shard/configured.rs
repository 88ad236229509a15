//! Another configuration while the shard serves: limits, conditions and codes. Counters, and all that
//! is sized at the start, are as they were.
//!
//! Not here: reading and checking it (`config`), and when it comes (the driver, between two batches).

use super::journal_record::Change;
use super::{Now, Outbox, Shard};
use crate::config::VelocityConfig;

/// What transactions are judged by.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    /// Its number; they only grow, also over restarts.
    pub epoch: u64,
    /// Limits, conditions and codes.
    pub velocity: VelocityConfig,
    /// For each limit the number by which the outcome log knows its name: a name keeps its number
    /// when limits before it come or go.
    pub limit_numbers: Vec<u8>,
}

impl Shard {
    /// From here on transactions are judged by this; what is under way stays as it was judged, and
    /// all that was counted stays counted. The number is recorded, so that every decision between
    /// two such records can be traced to its configuration.
    ///
    /// # Panics
    /// Its counters are others than this shard's, which whoever offers it has to exclude.
    pub fn on_config(&mut self, now: Now, configured: &Configured, outbox: &mut Outbox) {
        let taken = self.velocity.on_config(&configured.velocity);
        assert!(taken.is_ok(), "Invariant: counters change with a restart only");
        if let Some(escrow) = &mut self.escrow {
            escrow.on_config(&configured.velocity);
        }
        self.limit_numbers.clone_from(&configured.limit_numbers);
        self.commit(now, Change::Configured { epoch: configured.epoch }, outbox);
    }

    /// Number of the configuration that transactions are judged by; 0 before the first.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// By which number the outcome log knows a limit.
    pub(super) fn limit_number(&self, limit: u8) -> u8 {
        self.limit_numbers.get(usize::from(limit)).copied().unwrap_or(limit)
    }
}

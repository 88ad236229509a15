//! Another configuration while the shard serves: limits, conditions, codes and requestors; acquirers'
//! timers and codes; issuers' windows; whose cards are whose. Counters, and all that is sized at the
//! start, are as they were. What is under way ends by the configuration that it came under.
//!
//! Not here: reading and checking it (`config`), and when it comes (the driver, between two batches).

use super::journal_record::Change;
use super::requestors::Requestors;
use super::routing::Routing;
use super::stand_in::StandIn;
use super::{Now, Outbox, Shard};
use crate::config::{AcquirerConfig, Config, IinRow, RequestorConfig, VelocityConfig};
use std::rc::Rc;

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
    /// Token requestors whose payments by code have a level.
    pub requestors: Vec<RequestorConfig>,
    /// Acquirer profiles, as many as at the start and in the same dialects; empty: as they were.
    pub acquirers: Vec<AcquirerConfig>,
    /// Requests that may be under way at each issuer; empty: as many as before.
    pub in_flight_max: Vec<u32>,
    /// Whose cards are whose, among the issuers of the start; empty: as before.
    pub iins: Vec<IinRow>,
}

impl Configured {
    /// What a configuration says of it; it has no number yet.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            epoch: 0,
            velocity: config.velocity.clone(),
            limit_numbers: Vec::new(),
            requestors: config.requestors.clone(),
            acquirers: config.acquirers.clone(),
            in_flight_max: config.issuers.iter().map(|issuer| issuer.in_flight_max).collect(),
            iins: config.iins.clone(),
        }
    }
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
        self.stand_in = StandIn::new(&configured.velocity);
        self.requestors = Requestors::new(&configured.requestors);
        self.wallet.on_config(&configured.requestors);
        self.limit_numbers.clone_from(&configured.limit_numbers);
        if !configured.acquirers.is_empty() {
            assert_eq!(
                self.profiles.len(),
                configured.acquirers.len(),
                "Invariant: acquirers come and go with a restart only"
            );
            self.profiles = configured.acquirers.iter().cloned().map(Rc::new).collect();
        }
        self.legs.set_windows(&configured.in_flight_max);
        if !configured.iins.is_empty() {
            self.routing = Routing::new(&configured.iins);
        }
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

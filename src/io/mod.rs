//! The kernel: sockets, clock, threads. The only place with system calls and `async`.
//!
//! [`Switch::start`] binds the listeners, starts a pinned thread for each shard (its runtime, its
//! decider, its connections), the banks' threads if they have any, and one acceptor.
//! [`Switch::stop`] ends all of that with every request answered.
//!
//! ```text
//!   acceptor ── places ──▶ shard 0 ◀── mesh rings ──▶ shard 1 …      one thread and core each
//!                             ▲                          ▲
//!                             └──── bank rings ──────────┴──▶ bank threads (or the shard itself)
//! ```
//!
//! Not here: what is decided (`shard`), signals and screens (`cli`).

mod affinity;
mod alarm;
mod bank_port;
mod bank_server;
mod bank_thread;
mod buffer_pool;
pub mod carry;
pub mod clock;
mod config_offer;
mod connections;
pub mod core_dumps;
pub mod counters;
pub mod cryptogram_keys;
pub mod decider;
mod dial;
mod doorkeeper;
mod driver;
mod duplex;
mod durable;
pub mod engine;
mod error;
pub mod hand_over;
mod held;
mod issuer_connection;
mod issuer_links;
pub mod journal;
pub mod keys;
mod lines;
mod listener;
mod mesh;
pub mod outcome_log;
mod parting;
mod pulse;
mod random;
mod read_buffer;
pub mod recover;
mod returned;
mod shard_decider;
mod shard_orders;
mod snapshot_call;
mod start;
mod stopping;
mod visits;
mod wake;
mod watchdog;
mod watched_fd;

#[cfg(test)]
mod tests;

pub use affinity::{allowed_cores, pin_to_core};
pub use bank_server::{BankServer, Role as BankRole, ServedBank};
pub use clock::Clock;
pub use connections::IoTimeouts;
pub use counters::{AcceptCounters, IoCounters, JournalLevels};
pub use decider::{ConnectionFault, Decider};
pub use engine::{Engine, EngineReason, EngineReport};
pub use error::{StartError, StopError};
pub use parting::Parting;
pub use pulse::{Phase as ShardPhase, StallLevels};
// What the simulator drives shards by, too.
pub(crate) use held::Held;
pub(crate) use returned::{Came, Returned};
pub use shard_decider::ShardReport;
pub use shard_orders::{ShardOrder, ShardOutcome};
pub use snapshot_call::SnapshotCaller;
pub use start::{Listeners, Listening, Stopped, Switch, SwitchView};

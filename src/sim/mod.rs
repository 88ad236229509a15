//! The deterministic simulator: the shipped shards in an invented world.
//!
//! ```text
//!   acquirers ◀─ streams of bytes that are cut and break ─▶ driver ─▶ shards ◀─▶ issuers with books
//!       │                                                     │ ▲                    │
//!       │                                        disks that stall and lose          │
//!       └────────────▶ oracle: do both ledgers agree, was a limit passed? ◀─────────┘
//! ```
//!
//! A seed draws the world (`plan`), and one stream of numbers per concern all that happens in it. Time
//! is virtual; a run is one heap of events. Faults stop when the last transaction has begun; then
//! everything must be settled within the time that the switch promises. `switch` and `driver` are the
//! only modules that call a shard; the oracle sees acquirers' and issuers' sides and decisions as they
//! leave. The rule of what waits for the disk is the shipped one (`io::held`).
//!
//! Not here: sockets, threads, files (tests of `io`, and `end_to_end`).

mod acquirer;
mod book;
mod clock;
mod configuration;
mod disk;
mod drain;
mod driver;
mod ending;
mod events;
mod gone;
mod issuer;
mod judge;
mod links;
mod network;
mod options;
mod oracle;
mod plan;
mod random;
mod report;
mod routes;
pub mod script;
mod stand_in;
mod switch;
mod tokens;
mod trace;
mod trouble;
mod wire;
mod world;

#[cfg(test)]
mod tests;

pub use options::{FaultKind, Faults, Options};
pub use oracle::Violation;
pub use report::{Report, Tally};

/// Runs one world to its end, or to the first violation.
#[must_use]
pub fn run(options: &Options) -> Report {
    world::World::new(options).run()
}

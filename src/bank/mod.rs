//! Simulated issuing banks.
//!
//! Pure: no clock, no threads, no sockets. `src/io` owns a [`BankRing`] for each shard, polls a
//! [`BankSet`] at its other end, and carries time in. A bank decodes each request, keeps accounts
//! and a ledger, and encodes its answer, all through `tapswitch_protocol`.
//!
//! Not here: the deterministic simulator's issuers, the switch's own decisions.

pub mod bank_set;
mod delayed;
pub mod ring;

pub use bank_set::{BankSet, Disposition};
pub use ring::{BankMessage, BankRing, BufferPool, Lane, SendRefused};

//! tapswitch: an ISO 8583 authorization switch.
//!
//! `cli` is the command line. `config` is what an operator edits, checked and typed. `shard`
//! decides, by values: bytes and time in, actions out. `io` is the kernel: sockets, clock, threads.
//! `bank` is the simulated issuers. `sim` runs the same shards in an invented world. Arrows point one way: protocol ← shard ← io.

pub mod bank;
pub mod cli;
pub mod config;
pub mod io;
pub mod limits;
pub mod memory;
pub mod shard;
pub mod sim;

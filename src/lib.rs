//! tapswitch: an ISO 8583 authorization switch.
//!
//! `cli` is the command line. `config` is what an operator edits, checked and typed. `shard`
//! decides, by values: bytes and time in, actions out. `io` is the kernel: sockets, clock, threads.
//! `bank` is the simulated issuers. `sim` runs the same shards in an invented world. `admin` is the
//! operators' port. Arrows point one way: protocol ← shard ← io ← admin.

pub mod admin;
pub mod bank;
pub mod cli;
pub mod config;
pub mod io;
pub mod limits;
pub mod memory;
mod named_list;
pub mod shard;
pub mod sim;

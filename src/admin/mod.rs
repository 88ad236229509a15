//! The operators' port: a Unix socket and, if wanted, HTTP on loopback, served by one thread of its own.
//!
//! It reads what shards publish and never makes one wait: shards write to atomics, and into blocks
//! that they skip while a reader copies them. What changes the switch (reload, drain, take-over) is an order to
//! the thread that runs it.
//!
//! ```text
//!   shards ──publish──▶ SwitchView ◀──reads── port (/metrics /readyz /status.json) ◀── operators
//!                                               │ orders                               tapswitch ctl
//!                        thread of `run` ◀──────┘
//! ```
//!
//! Not here: what an order does (`cli`), and what is published (`shard::levels`, `io::counters`).

pub mod audit;
mod board;
mod caller;
pub mod client;
mod metrics;
mod notable;
mod order;
mod parked_routes;
mod parked_status;
mod port;
mod process;
mod routes;
mod socket;
pub mod status;
mod token;
pub mod totals;
mod wallet_routes;

#[cfg(test)]
mod tests;

pub use board::{Board, Phase};
pub use notable::{Notable, Notables};
pub use order::{
    DrainReport, Order, OrderKind, Orders, ParkedKind, ParkedReport, ReloadOutcome, ReloadReport,
    Reply, TakeOverReport,
};
pub use parked_status::ParkedStatus;
pub use port::{Port, PortError, PortListeners, PortSettings};
pub use routes::Refusal;
pub(crate) use socket::{SocketFile, listen as listen_at_socket};
pub use token::{TokenError, read_text as read_token};
pub use wallet_routes::{ShownToken, WalletAsk, WalletKind, WalletReport, WalletStatus};

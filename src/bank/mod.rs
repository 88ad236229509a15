//! Simulated issuing banks.
//!
//! Pure: no clock, no threads, no sockets. `src/io` owns a [`BankRing`] for each shard, polls a
//! [`BankSet`] at its other end, and carries time in. A bank decodes each request, keeps accounts
//! and a ledger, and encodes its answer, all through `tapswitch_protocol`.
//!
//! Not here: the deterministic simulator's issuers, the switch's own decisions.

mod accounts;
pub mod bank_set;
mod behaviour;
mod books;
mod delayed;
mod fund;
mod issuing_bank;
pub mod ledger;
mod loan;
mod movements;
mod pan_key;
mod products;
mod recent;
mod reference;
mod request;
mod response;
pub mod ring;
pub mod session;
mod stage;
pub mod statement;
#[cfg(test)]
mod tests;
mod till;

pub use bank_set::{BankSet, Disposition};
pub use books::{Books, LedgerAccount, Sides};
pub use ledger::{Flows, Ledger, LedgerError, LedgerSum, Tally};
pub use loan::Instalment;
pub use ring::{BankMessage, BankRing, BufferPool, Lane, SendRefused};
pub use session::{SessionOrder, write_session};
pub use statement::{BankTotals, SessionTotals, Statement, StatementEntry};

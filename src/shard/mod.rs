//! Decisions.

pub mod action;
pub mod identity;

pub use action::{Action, CloseReason, MeshKind, Outbox};
pub use identity::{AcquirerId, CardKey, ConnectionId, IssuerId, Now, ShardId};

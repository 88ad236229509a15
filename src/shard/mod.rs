//! Decisions.

pub mod action;
pub mod card_cipher;
pub mod deadlines;
pub mod duplicate;
pub mod identity;
pub mod routing;
pub mod velocity;

pub use action::{Action, CloseReason, MeshKind, Outbox};
pub use identity::{AcquirerId, CardKey, ConnectionId, IssuerId, Now, ShardId};

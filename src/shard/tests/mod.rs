//! The shard on its own: scripts as tables, every state transition, inputs that must not hurt.

mod fixture;
mod hostile;
mod limits;
mod mesh;
pub(crate) mod no_allocation;
mod script;
mod transitions;

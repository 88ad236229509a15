//! The shard on its own: scripts as tables, every state transition, inputs that must not hurt.

mod fixture;
mod forgotten;
mod hostile;
mod mesh;
pub(crate) mod no_allocation;
mod outcomes;
mod script;
mod transitions;

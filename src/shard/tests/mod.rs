//! The shard on its own: scripts as tables, every state transition, inputs that must not hurt.

mod acquirer_session;
mod configured;
mod field_list;
pub(in crate::shard) mod fixture;
mod forgotten;
mod hostile;
mod layouts;
mod levels;
mod limits;
mod link;
pub(super) mod links;
mod mesh;
mod money;
pub(crate) mod no_allocation;
mod outcomes;
mod overload;
mod parked;
mod restart;
mod reversals;
mod scopes;
mod script;
mod settlement;
mod snapshot;
mod stand_in;
mod stand_in_causes;
mod store_and_forward;
mod transitions;

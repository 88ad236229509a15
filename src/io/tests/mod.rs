//! The kernel side alone, over real sockets on 127.0.0.1, on both engines.

mod echo;
mod endings;
mod framing;
mod rate;
mod rig;
mod shards;
mod starting;
mod stopping;
mod whole_switch;

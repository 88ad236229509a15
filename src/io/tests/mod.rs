//! The kernel side alone, over real sockets on 127.0.0.1, on both engines.

mod bank_server;
mod echo;
mod endings;
mod framing;
mod issuer_links;
mod link_roles;
mod passing;
mod rate;
mod rig;
mod shards;
mod stalls;
mod starting;
mod stopping;
mod whole_switch;

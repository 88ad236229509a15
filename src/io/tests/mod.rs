//! The kernel side alone, over real sockets on 127.0.0.1, on both engines.

mod echo;
mod framing;
mod rig;

//! The kernel: sockets, clock, threads.

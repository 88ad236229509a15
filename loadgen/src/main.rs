//! `loadgen`: load for ISO 8583 switches, from the command line.

fn main() {}

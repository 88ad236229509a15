//! `loadgen`: load for ISO 8583 switches, from the command line.
//!
//! Exit codes: 0 every request had its one right response; 1 something was unanswered or wrong;
//! 2 the arguments are wrong; 3 the switch could not be reached.

mod cli;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load for ISO 8583 switches: open loop, every response verified.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask a switch, at a rate that does not wait for its answers.
    Run(cli::run::Arguments),
    /// Ask more and more of a switch than it can carry: what is it good for then?
    Overload(cli::overload::Arguments),
    /// Measure a bare echo on this machine, to read other figures by.
    Calibrate(cli::calibrate::Arguments),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => cli::run::run(&arguments),
        Command::Overload(arguments) => cli::overload::run(&arguments),
        Command::Calibrate(arguments) => cli::calibrate::run(&arguments),
    }
}

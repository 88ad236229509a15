//! The command line: one file per command.
//!
//! Commands write to the streams they are given and return what went wrong; this file turns that
//! into a message and an exit code: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration; of data
//! directories 65 damaged or foreign, 73 in use, 74 unreadable; of running switches 69 nobody answers,
//! 75 needs a restart, 77 not allowed.
//! Not here: anything that a command does.

mod alarms;
pub mod audit;
pub mod bank;
pub mod check;
pub mod ctl;
pub mod decode;
pub mod demo;
pub mod find;
mod hand_over;
pub mod journal;
mod journal_counters;
mod journal_state;
pub mod key;
mod live_screen;
mod memory_screen;
mod operators;
mod parked;
mod quantity;
mod reload;
pub mod run;
mod switch;
mod take_over;
mod wallet;

use crate::config::ConfigError;
use crate::io::journal::JournalError;
use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// An ISO 8583 authorization switch: routes card requests to issuing banks within velocity limits.
#[derive(Debug, Parser)]
#[command(name = "tapswitch", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file: name every mistake, or sum up what it means
    Check(check::CheckArgs),
    /// Run the switch until SIGTERM or SIGINT
    Run(run::RunArgs),
    /// Serve the simulated banks that a configuration reaches over TCP
    Bank(bank::BankArgs),
    /// Run switch, banks and load together: a live screen, then a report
    Demo(demo::DemoArgs),
    /// Show the fields of one message, card data masked
    Decode(decode::DecodeArgs),
    /// Show from the outcome log what happened to a transaction, and why
    Find(find::FindArgs),
    /// Make a card key
    Key(key::KeyArgs),
    /// Look at a data directory: journal, snapshots, damage
    Journal(journal::JournalArgs),
    /// Ask a running switch, or tell it to reload or drain
    Ctl(ctl::CtlArgs),
    /// Look at an audit file
    Audit(audit::AuditArgs),
}

/// Where a command reads and writes.
pub struct Streams<'s> {
    /// Standard input.
    pub input: &'s mut dyn Read,
    /// Standard output: what was asked for.
    pub output: &'s mut dyn Write,
    /// Standard error: what went wrong.
    pub problems: &'s mut dyn Write,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A data directory cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Standard input or output failed.
    #[error("standard input or output: {0}")]
    Stream(#[from] io::Error),
    /// Something that this process must not touch, in one sentence, and the exit code for it.
    #[error("{what}")]
    Refused {
        /// After sysexits.
        exit_code: u8,
        /// Why.
        what: String,
    },
    /// Anything else, in one sentence.
    #[error("{0}")]
    Failed(String),
}

impl CommandError {
    /// The exit code: 78 is `EX_CONFIG` of sysexits.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 78,
            Self::Refused { exit_code, .. } => *exit_code,
            Self::Journal(error) => error.exit_code(),
            Self::Stream(_) | Self::Failed(_) => 1,
        }
    }
}

/// Runs the command of this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut streams = Streams {
        input: &mut io::stdin().lock(),
        output: &mut io::stdout().lock(),
        problems: &mut io::stderr().lock(),
    };
    ExitCode::from(execute(std::env::args_os(), &mut streams))
}

/// Runs one command line (the program's name first) and returns its exit code.
pub fn execute(arguments: impl IntoIterator<Item = OsString>, streams: &mut Streams<'_>) -> u8 {
    let done = match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(&cli.command, streams),
        Err(usage) => return show_usage(&usage, streams),
    };
    match done.and_then(|()| Ok(streams.output.flush()?)) {
        Ok(()) => 0,
        // Whoever read our output has seen enough, as in `tapswitch check FILE | head -1`.
        Err(CommandError::Stream(error)) if error.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(error) => {
            // When standard error is gone too, the exit code still says it.
            let _ = writeln!(streams.problems, "{error}");
            error.exit_code()
        }
    }
}

fn dispatch(command: &Command, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    match command {
        Command::Check(args) => check::run(args, streams),
        Command::Run(args) => run::run(args, streams),
        Command::Bank(args) => bank::run(args, streams),
        Command::Demo(args) => demo::run(args, streams),
        Command::Decode(args) => decode::run(args, streams),
        Command::Find(args) => find::run(args, streams),
        Command::Key(args) => key::run(args, streams),
        Command::Journal(args) => journal::run(args, streams),
        Command::Ctl(args) => ctl::run(args, streams),
        Command::Audit(args) => audit::run(args, streams),
    }
}

/// Help and version are what was asked for; the rest is wrong usage.
fn show_usage(usage: &clap::Error, streams: &mut Streams<'_>) -> u8 {
    let (stream, code) = match usage.use_stderr() {
        true => (&mut *streams.problems, 2),
        false => (&mut *streams.output, 0),
    };
    match write!(stream, "{}", usage.render()).and_then(|()| stream.flush()) {
        Ok(()) => code,
        Err(_) => code.max(1),
    }
}

#[cfg(test)]
mod tests;

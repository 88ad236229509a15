//! `tapswitch run`: the switch until it is told to stop.

use super::switch::{Remains, load, refused_connections, start, write_first_screen};
use super::{CommandError, Streams};
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// What `run` can be told.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Configuration file; without it the shipped one, which needs nothing
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Stop gracefully after this many seconds
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
}

/// Runs the switch until SIGTERM or SIGINT, then stops it with every request answered.
///
/// # Errors
/// It does not start, or it stopped with something wrong.
pub fn run(args: &RunArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let config = Arc::new(load(args.config.as_deref())?);
    // Asked for before anything is started: a signal is never lost.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let started = start(&config)?;
    write_first_screen(streams.output, &started, &config)?;
    let switch = started.switch;
    let is_journaled = switch.commit_path().is_some();
    let why = wait(&mut signals, args.seconds.map(Duration::from_secs));
    writeln!(streams.output, "stopping    {why}; requests on their way are answered first")?;
    for sentence in refused_connections(&switch) {
        writeln!(streams.output, "refused     {sentence}")?;
    }
    let stopped = switch.stop().map_err(|error| CommandError::Failed(error.to_string()))?;
    let remains = Remains::of(stopped);
    remains.write_counters(streams.output)?;
    let mut problems = remains.broken_books();
    let mut left = remains.in_flight;
    if is_journaled && remains.owed > 0 {
        let owed = remains.owed;
        writeln!(streams.output, "kept        {owed} messages owed: the next start sends them")?;
        left -= owed;
    }
    if left > 0 {
        problems.push(format!("{left} requests or messages owed were not finished in drain_ms"));
    }
    if remains.outcomes_unwritten > 0 {
        let lost = remains.outcomes_unwritten;
        problems.push(format!("{lost} entries of the outcome log could not be written"));
    }
    if problems.is_empty() {
        writeln!(streams.output, "stopped     nothing left in flight, the banks' books balance")?;
        Ok(())
    } else {
        Err(CommandError::Failed(problems.join("\n")))
    }
}

/// Waits for a signal, or so long. Tells which it was.
fn wait(signals: &mut Signals, at_most: Option<Duration>) -> &'static str {
    let handle = signals.handle();
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        scope.spawn(move || {
            for signal in signals.forever() {
                // The receiver may be gone already.
                let _ = sender.send(signal);
            }
        });
        let signal = match at_most {
            Some(time) => receiver.recv_timeout(time).ok(),
            None => receiver.recv().ok(),
        };
        handle.close();
        match signal {
            Some(SIGTERM) => "SIGTERM",
            Some(_) => "SIGINT",
            None => "the time is over",
        }
    })
}

//! `tapswitch run`: the switch until it is told to stop, and what its operator is told meanwhile.

use super::alarms::Alarms;
use super::reload::Reload;
use super::switch::{Remains, load, refused_connections, start, write_first_screen};
use super::{CommandError, Streams};
use crate::io::{Clock, Switch};
use crate::shard::Shard;
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
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

/// Between two looks at what may be alarming.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at shards that are about to take another configuration.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Runs the switch until SIGTERM or SIGINT, then stops it with every request answered. SIGHUP reads
/// the configuration again.
///
/// # Errors
/// It does not start, or it stopped with something wrong.
pub fn run(args: &RunArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let config = Arc::new(load(args.config.as_deref())?);
    // Asked for before anything is started: a signal is never lost.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let started = start(&config)?;
    write_first_screen(streams.output, &started, &config)?;
    let switch = started.switch;
    let is_journaled = switch.commit_path().is_some();
    let mut alarms = Alarms::new(&switch, &config.issuers);
    let watched = Watched { args, switch: &switch, reload: Reload::new(config, &switch) };
    let why = watched.until_told(&mut signals, &mut alarms, streams);
    writeln!(streams.output, "stopping    {why}; requests on their way are answered first")?;
    for sentence in refused_connections(&switch) {
        writeln!(streams.output, "refused     {sentence}")?;
    }
    let stopped = switch.stop().map_err(|error| CommandError::Failed(error.to_string()))?;
    let remains = Remains::of(stopped);
    remains.write_counters(streams.output)?;
    alarms.write_counters(streams.output)?;
    report_end(&remains, is_journaled, streams)
}

/// What is left, and whether that is all right.
fn report_end(
    remains: &Remains,
    is_journaled: bool,
    streams: &mut Streams<'_>,
) -> Result<(), CommandError> {
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

/// A switch that runs, as this thread watches it.
struct Watched<'r> {
    args: &'r RunArgs,
    switch: &'r Switch<Shard>,
    reload: Reload,
}

impl Watched<'_> {
    /// Looks after the switch until it is to stop. Tells why it is.
    fn until_told(
        mut self,
        signals: &mut Signals,
        alarms: &mut Alarms,
        streams: &mut Streams<'_>,
    ) -> &'static str {
        let handle = signals.handle();
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            scope.spawn(move || {
                for signal in signals.forever() {
                    // The receiver may be gone already.
                    let _ = sender.send(signal);
                }
            });
            let told = self.look_after(&receiver, alarms, streams);
            handle.close();
            told
        })
    }

    fn look_after(
        &mut self,
        signals: &Receiver<i32>,
        alarms: &mut Alarms,
        streams: &mut Streams<'_>,
    ) -> &'static str {
        let mut clock = Clock::new();
        let until = self.args.seconds.map(Duration::from_secs);
        let mut alarms_at = Duration::ZERO;
        loop {
            let now = Duration::from_nanos(clock.now().mono_ns);
            if until.is_some_and(|until| now >= until) {
                return "the time is over";
            }
            if now >= alarms_at {
                // Whoever read this is gone: no reason to stop serving. So below.
                let _ = alarms.look(self.switch, streams.problems);
                alarms_at = now + LOOK_EVERY;
            }
            let _ = self.reload.look(self.switch, streams);
            let next = if self.reload.is_under_way() { now + LOOK_AGAIN } else { alarms_at };
            let wait = until.map_or(next, |until| until.min(next)).saturating_sub(now);
            match signals.recv_timeout(wait) {
                Ok(SIGHUP) => {
                    let file = self.args.config.as_deref();
                    let _ = self.reload.read(file, self.switch, streams);
                }
                Ok(SIGTERM) => return "SIGTERM",
                Ok(_) => return "SIGINT",
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "no signal can come any more",
            }
        }
    }
}

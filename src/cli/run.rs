//! `tapswitch run`: the switch until it is told to stop, and what its operator is told meanwhile.

use super::alarms::Alarms;
use super::operators::{Operators, Told, audit, audit_own};
use super::parked::ParkedDesk;
use super::reload::{By, Reload};
use super::switch::{Remains, load, refused_connections, start, write_first_screen};
use super::{CommandError, Streams};
use crate::admin::audit::{AuditEvent, AuditResult};
use crate::admin::{DrainReport, Order, OrderKind, Reply};
use crate::io::{Clock, Switch};
use crate::shard::{Counter, Shard};
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// What `run` can be told.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Configuration file; without it the shipped one, which needs nothing
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Send what is owed to issuers, answer new transactions `overload`: after a crash loop
    #[arg(long)]
    pub safe: bool,
    /// Stop gracefully after this many seconds
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
}

/// Between two looks at what may be alarming.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at shards that are about to take another configuration.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Runs the switch until SIGTERM or SIGINT, or an operator's `drain`, then stops it with every request
/// answered. SIGHUP and `reload` read the configuration again.
///
/// # Errors
/// It does not start, or it stopped with something wrong.
pub fn run(args: &RunArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let mut config = load(args.config.as_deref())?;
    config.journal.is_safe = args.safe;
    let config = Arc::new(config);
    // Asked for before anything is started: a signal is never lost.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mut operators = Operators::start(&config)?;
    if let Some(damage) = operators.audit_damage() {
        writeln!(streams.problems, "ALARM audit{{damaged}} {damage}")?;
        let wall_ms = operators.board.now().wall_ms;
        operators.board.notables.add(wall_ms, "audit{damaged}", 1, damage);
    }
    let mut started = match start(&config) {
        Ok(started) => started,
        Err(error) => {
            audit_own(&operators.board, "start", error.to_string(), AuditResult::Failed);
            return Err(error);
        }
    };
    started.operators = Some(operators.sentence(&config.admin));
    operators.on_started(&started.switch);
    write_first_screen(streams.output, &started, &config)?;
    let switch = started.switch;
    let detail = format!("version {}, epoch {}", env!("CARGO_PKG_VERSION"), switch.epoch());
    audit_own(&operators.board, "start", detail, AuditResult::Done);
    let mut alarms = Alarms::new(&switch, &config.issuers);
    let board = Arc::clone(&operators.board);
    let parked = ParkedDesk::new(Arc::clone(&board));
    let reload = Reload::new(Arc::clone(&config), args.config.clone(), &switch, board);
    let watched = Watched { args, switch: &switch, reload, parked, operators: &mut operators };
    let stop = watched.until_told(&mut signals, &mut alarms, streams);
    operators.on_draining();
    let why = &stop.why;
    writeln!(streams.output, "stopping    {why}; requests on their way are answered first")?;
    streams.output.flush()?;
    for sentence in refused_connections(&switch) {
        writeln!(streams.output, "refused     {sentence}")?;
    }
    let ended = end(switch, &alarms, streams);
    stop.report(&operators, &ended);
    ended.map(|_| ())
}

/// What is left of a switch that stopped in order.
struct End {
    answered: u64,
    owed: usize,
}

fn end(
    switch: Switch<Shard>,
    alarms: &Alarms,
    streams: &mut Streams<'_>,
) -> Result<End, CommandError> {
    let is_journaled = switch.commit_path().is_some();
    let stopped = switch.stop().map_err(|error| CommandError::Failed(error.to_string()))?;
    let remains = Remains::of(stopped);
    remains.write_counters(streams.output)?;
    alarms.write_counters(streams.output)?;
    report_end(&remains, is_journaled, streams)?;
    let kinds = [Counter::AnsweredByIssuer, Counter::AnsweredBySwitch, Counter::Replayed];
    let answered = kinds.into_iter().map(|counter| remains.count(counter)).sum();
    Ok(End { answered, owed: remains.owed })
}

/// Why the switch is to stop.
struct Stop {
    why: String,
    /// The operator who said so, and waits.
    order: Option<Order>,
}

impl Stop {
    fn new(why: &str) -> Self {
        Self { why: why.to_owned(), order: None }
    }

    fn by(order: Order) -> Self {
        let why = format!("drain by {} ({})", order.who, order.from);
        Self { why, order: Some(order) }
    }

    /// Tells how it ended: the audit file, and whoever waits.
    fn report(self, operators: &Operators, ended: &Result<End, CommandError>) {
        operators.on_stopped();
        let report = match ended {
            Ok(end) => DrainReport {
                is_clean: true,
                exit_code: 0,
                problems: Vec::new(),
                answered: end.answered,
                owed: end.owed as u64,
            },
            Err(error) => DrainReport {
                is_clean: false,
                exit_code: error.exit_code(),
                problems: error.to_string().lines().map(str::to_owned).collect(),
                answered: 0,
                owed: 0,
            },
        };
        let result = if report.is_clean { AuditResult::Done } else { AuditResult::Failed };
        let mut detail = report.problems.join("; ");
        if let Some(order) = &self.order {
            let Order { who, from, .. } = order;
            let detail = detail.clone();
            audit(&operators.board, &AuditEvent { who, from, what: "drain", detail, result });
        }
        detail.insert_str(0, &format!("{} ", self.why));
        audit_own(&operators.board, "stop", detail.trim_end().to_owned(), result);
        if let Some(order) = self.order {
            // He may be gone.
            let _ = order.reply.send(Reply::Drain(report));
        }
    }
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
    parked: ParkedDesk,
    operators: &'r mut Operators,
}

impl Watched<'_> {
    /// Looks after the switch until it is to stop. Tells why it is.
    fn until_told(
        mut self,
        signals: &mut Signals,
        alarms: &mut Alarms,
        streams: &mut Streams<'_>,
    ) -> Stop {
        let handle = signals.handle();
        std::thread::scope(|scope| {
            let sender = self.operators.sender();
            scope.spawn(move || {
                for signal in signals.forever() {
                    // The receiver may be gone already.
                    let _ = sender.send(Told::Signal(signal));
                }
            });
            let stop = self.look_after(alarms, streams);
            let _ = self.reload.stop(streams);
            self.parked.stop();
            handle.close();
            stop
        })
    }

    fn look_after(&mut self, alarms: &mut Alarms, streams: &mut Streams<'_>) -> Stop {
        let mut clock = Clock::new();
        let until = self.args.seconds.map(Duration::from_secs);
        let mut alarms_at = Duration::ZERO;
        loop {
            let now = Duration::from_nanos(clock.now().mono_ns);
            if until.is_some_and(|until| now >= until) {
                return Stop::new("the time is over");
            }
            if now >= alarms_at {
                // Whoever read this is gone: no reason to stop serving. So below.
                let notables = &self.operators.board.notables;
                let _ = alarms.look(self.switch, notables, streams.problems);
                self.operators.look(self.switch);
                alarms_at = now + LOOK_EVERY;
            }
            let _ = self.reload.look(self.switch, streams);
            self.parked.look();
            let is_waited_for = self.reload.is_under_way() || self.parked.is_under_way();
            let next = if is_waited_for { now + LOOK_AGAIN } else { alarms_at };
            let wait = until.map_or(next, |until| until.min(next)).saturating_sub(now);
            let reload = match self.operators.told.recv_timeout(wait) {
                Ok(Told::Signal(SIGHUP)) => By::Signal,
                Ok(Told::Signal(SIGTERM)) => return Stop::new("SIGTERM"),
                Ok(Told::Signal(_)) => return Stop::new("SIGINT"),
                Ok(Told::Order(order)) => match order.kind {
                    OrderKind::Reload => By::Order(order),
                    OrderKind::Drain => return Stop::by(order),
                    OrderKind::Parked(_) => {
                        self.parked.take(order, self.switch);
                        continue;
                    }
                },
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Stop::new("no signal can come any more");
                }
            };
            let _ = self.reload.read(reload, self.switch, streams);
        }
    }
}

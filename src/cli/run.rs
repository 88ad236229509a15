//! `tapswitch run`: the switch until it is told to stop, and what its operator is told meanwhile.

use super::alarms::Alarms;
use super::hand_over::running::{
    HandOver, Succession, Successor, Visit, VisitOutcome, Visitors, await_successor,
};
use super::hand_over::{FromSuccessor, LetGo};
use super::operators::{Operators, Told, audit, audit_own};
use super::parked::ParkedDesk;
use super::reload::{By, Reload};
use super::switch::{
    Remains, Started, in_kept_order, load, refused_connections, start, write_first_screen,
};
use super::take_over::{Inheritance, take_over};
use super::wallet::WalletDesk;
use super::{CommandError, Streams};
use crate::admin::audit::{AuditEvent, AuditResult};
use crate::admin::{DrainReport, Order, OrderKind, Phase, Reply};
use crate::config::Config;
use crate::io::clock::moment;
use crate::io::{Clock, Parting, Switch};
use crate::shard::{Counter, Shard};
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::Scope;
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
    /// Take over from the switch that runs on the same data directory, no connection refused; by the
    /// configured operators' socket, or this one
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    #[arg(conflicts_with = "safe")]
    pub take_over: Option<Option<PathBuf>>,
    /// Stop gracefully after this many seconds
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
}

/// Between two looks at what may be alarming.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at shards that are about to take another configuration.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Runs the switch until SIGTERM or SIGINT, an operator's `drain`, or until another process has taken
/// over, then stops it with every request answered. SIGHUP and `reload` read the configuration again.
///
/// # Errors
/// It does not start, or it stopped with something wrong.
pub fn run(args: &RunArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let mut config = in_kept_order(load(args.config.as_deref())?)?;
    config.journal.is_safe = args.safe;
    let mut config = Arc::new(config);
    // Signals end this process as long as another one serves.
    let mut inheritance = match &args.take_over {
        Some(socket) => take_over(&config, socket.as_deref(), streams.output)?,
        None => Inheritance::default(),
    };
    loop {
        match serve(args, &config, inheritance, streams)? {
            Served::Stopped => return Ok(()),
            Served::GivenBack(given_back) => (config, inheritance) = *given_back,
        }
    }
}

/// How serving ended.
enum Served {
    /// For good.
    Stopped,
    /// Whoever took over could not: the configuration that was in force, and what to go on with.
    GivenBack(Box<(Arc<Config>, Inheritance)>),
}

fn serve(
    args: &RunArgs,
    config: &Arc<Config>,
    inheritance: Inheritance,
    streams: &mut Streams<'_>,
) -> Result<Served, CommandError> {
    let Inheritance { listeners, port, before, partings, told, alarm } = inheritance;
    // Asked for before anything is started: a signal is never lost.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let mut operators = Operators::start(config, port)?;
    // Whoever goes on where another process stopped serves, whether or not anybody reads this.
    let is_inherited = before.is_some() || alarm.is_some();
    let shown = |written: std::io::Result<()>| if is_inherited { Ok(()) } else { written };
    shown(tell_alarms(&operators, alarm.map(|text| ("take_over{failed}", text)), streams))?;
    let mut started = match start(config, listeners, partings) {
        Ok(started) => started,
        Err(error) => {
            audit_own(&operators.board, "start", error.to_string(), AuditResult::Failed);
            return Err(error);
        }
    };
    started.told = told;
    started.operators = Some(operators.sentence(&config.admin));
    operators.on_started(&started.switch);
    if let Some((_, let_go)) = &before {
        let lost = held_to(let_go, &mut started);
        shown(tell_alarms(&operators, lost.map(|text| ("journal{lost}", text)), streams))?;
    }
    shown(write_first_screen(streams.output, &started, config))?;
    let Started { switch, listeners, terms, told, wallet_keys, .. } = started;
    let mut detail = format!("version {}, epoch {}", env!("CARGO_PKG_VERSION"), switch.epoch());
    told.iter().for_each(|line| detail += &format!("; {line}"));
    audit_own(&operators.board, "start", detail, AuditResult::Done);
    let mut alarms = Alarms::new(&switch, &config.issuers);
    let board = Arc::clone(&operators.board);
    let parked = ParkedDesk::new(Arc::clone(&board));
    let wallet = WalletDesk::new(Arc::clone(&board), wallet_keys);
    let reload = Reload::new(Arc::clone(config), args.config.clone(), &switch, board);
    let (port, snapshots) = (operators.listeners()?, switch.snapshot_caller());
    let hand_over = HandOver { terms, listeners, port, snapshots };
    if let Some((channel, _)) = before {
        // The process before may be gone: nothing depends on it any more.
        let _ = channel.send(&FromSuccessor::Serving, None);
    }
    let (switch_ref, operators_ref) = (&switch, &mut operators);
    let watched = Watched {
        args,
        switch: switch_ref,
        reload,
        parked,
        wallet,
        operators: operators_ref,
        hand_over: &hand_over,
        visitors: Visitors::default(),
    };
    let stop = watched.until_told(&mut signals, &mut alarms, streams);
    operators.on_draining();
    // Whoever read this is gone: no reason to leave requests, or a successor, without an end.
    let _ = tell_stopping(&stop.why, &switch, streams.output);
    // Nobody waits at sockets that nobody will listen at.
    let hand_over = stop.successor.is_some().then_some(hand_over);
    let takes_tables = stop.successor.as_ref().map(|it| it.takes_tables);
    let (left, ended) = end(switch, takes_tables, &alarms, streams);
    let successor = stop.report(&operators, &ended);
    match (successor, hand_over) {
        (Some(mut successor), Some(hand_over)) => {
            let in_force = operators.board.config();
            let told = let_go((&mut successor, left), operators, streams.output)?;
            conclude((told, successor.pid), ended, (in_force, hand_over), streams)
        }
        _ => ended.map(|_| Served::Stopped),
    }
}

/// What an operator must know of at the start.
fn tell_alarms(
    operators: &Operators,
    other: Option<(&'static str, String)>,
    streams: &mut Streams<'_>,
) -> std::io::Result<()> {
    let wall_ms = operators.board.now().wall_ms;
    let damage = operators.audit_damage().map(|damage| ("audit{damaged}", damage));
    let damage = damage.filter(|_| operators.board.phase() == Phase::Starting);
    for (name, text) in damage.into_iter().chain(other) {
        writeln!(streams.problems, "{} ALARM {name} {text}", moment(wall_ms))?;
        operators.board.notables.add(wall_ms, name, 1, text);
    }
    Ok(())
}

/// Says where the shards go on, and tells what the process before said to be durable and is not here.
fn held_to(let_go: &LetGo, started: &mut Started) -> Option<String> {
    let mut lost = Vec::new();
    let found = started.switch.recovered().iter().map(|report| report.last_lsn);
    for (shard, (durable, found)) in let_go.durable_lsns.iter().zip(found).enumerate() {
        started.told.push(format!("shard {shard} goes on after LSN {found}"));
        if found < *durable {
            let what =
                format!("shard {shard}: LSN {durable} was durable, {found} is the last here");
            lost.push(what);
        }
    }
    (!lost.is_empty()).then(|| lost.join("; "))
}

fn tell_stopping(
    why: &str,
    switch: &Switch<Shard>,
    out: &mut dyn std::io::Write,
) -> std::io::Result<()> {
    writeln!(out, "stopping    {why}; requests on their way are answered first")?;
    out.flush()?;
    for sentence in refused_connections(switch) {
        writeln!(out, "refused     {sentence}")?;
    }
    Ok(())
}

/// Lets go of everything, and waits for the successor to serve.
fn let_go(
    (successor, left): (&mut Successor, Left),
    operators: Operators,
    out: &mut dyn std::io::Write,
) -> Result<Succession, CommandError> {
    // Audit file and sockets are the successor's from now on; the data directory is already.
    operators.leave();
    let Left { durable_lsns, owed, partings } = left;
    for (shard, lsn) in durable_lsns.iter().enumerate() {
        let _ = writeln!(out, "let go      shard {shard}: durable up to LSN {lsn}");
    }
    let _ = out.flush();
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION").to_owned());
    let told = (LetGo { pid, version, durable_lsns, owed }, partings);
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    Ok(await_successor(successor, told, || signals.pending().next().is_some())?)
}

/// Ends when another process serves. If it does not, this one goes on.
fn conclude(
    (succession, pid): (Succession, i32),
    ended: Result<End, CommandError>,
    (config, hand_over): (Arc<Config>, HandOver),
    streams: &mut Streams<'_>,
) -> Result<Served, CommandError> {
    match succession {
        Succession::Serves => {
            let _ = writeln!(streams.output, "handed over to pid {pid}, which serves");
            ended.map(|_| Served::Stopped)
        }
        Succession::LivesOn(why) => {
            let what = format!("pid {pid} took over and neither serves nor ends: {why}");
            Err(CommandError::Failed(what))
        }
        Succession::NotAwaited => {
            writeln!(streams.output, "ended       as told; pid {pid} takes over")?;
            ended.map(|_| Served::Stopped)
        }
        Succession::Failed(why) => {
            if let Err(error) = ended {
                let _ = writeln!(streams.problems, "{error}");
            }
            let line = format!("pid {pid} did not come to serve ({why}): this process does again");
            let _ = writeln!(streams.output, "take-over   {line}");
            let inheritance = Inheritance {
                listeners: Some(hand_over.listeners),
                port: hand_over.port,
                told: vec![line.clone()],
                alarm: Some(line),
                ..Inheritance::default()
            };
            Ok(Served::GivenBack(Box::new((config, inheritance))))
        }
    }
}

/// What a switch leaves to the next process on its data directory.
#[derive(Default)]
struct Left {
    /// By shard.
    durable_lsns: Vec<u64>,
    /// Messages to issuers.
    owed: u64,
    /// What shards have in memory, for a successor that takes it.
    partings: Vec<Parting>,
}

/// What is left of a switch that stopped in order.
struct End {
    answered: u64,
    owed: usize,
}

/// `takes_tables`: there is a successor, and whether it is passed the tables of cards.
fn end(
    switch: Switch<Shard>,
    takes_tables: Option<bool>,
    alarms: &Alarms,
    streams: &mut Streams<'_>,
) -> (Left, Result<End, CommandError>) {
    let is_journaled = switch.commit_path().is_some();
    let stopped = match takes_tables {
        Some(takes_tables) => switch.hand_over(takes_tables),
        None => switch.stop(),
    };
    let mut stopped = match stopped {
        Ok(stopped) => stopped,
        Err(error) => return (Left::default(), Err(CommandError::Failed(error.to_string()))),
    };
    let durable_lsns = stopped.journals.iter().map(|journal| journal.durable_lsn).collect();
    let partings = std::mem::take(&mut stopped.partings);
    let remains = Remains::of(stopped);
    let left = Left { durable_lsns, owed: remains.owed as u64, partings };
    (left, tell_end(&remains, is_journaled, alarms, streams))
}

fn tell_end(
    remains: &Remains,
    is_journaled: bool,
    alarms: &Alarms,
    streams: &mut Streams<'_>,
) -> Result<End, CommandError> {
    remains.write_counters(streams.output)?;
    alarms.write_counters(streams.output)?;
    report_end(remains, is_journaled, streams)?;
    let kinds = [Counter::AnsweredByIssuer, Counter::AnsweredBySwitch, Counter::Replayed];
    let answered = kinds.into_iter().map(|counter| remains.count(counter)).sum();
    Ok(End { answered, owed: remains.owed })
}

/// Why the switch is to stop.
struct Stop {
    why: String,
    /// The operator who said so, and waits.
    order: Option<Order>,
    /// The process that takes over, and waits.
    successor: Option<Successor>,
}

impl Stop {
    fn new(why: &str) -> Self {
        Self { why: why.to_owned(), order: None, successor: None }
    }

    fn for_successor(successor: Successor) -> Self {
        let Successor { who, from, .. } = &successor;
        let why = format!("take-over by {who} ({from})");
        Self { why, order: None, successor: Some(successor) }
    }

    fn by(order: Order) -> Self {
        let why = format!("drain by {} ({})", order.who, order.from);
        Self { why, order: Some(order), successor: None }
    }

    /// Tells how it ended: the audit file, and whoever waits. Who takes over is given back.
    fn report(self, operators: &Operators, ended: &Result<End, CommandError>) -> Option<Successor> {
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
        if let Some(Successor { who, from, pid, .. }) = &self.successor {
            let detail = format!("pid {pid} {detail}").trim_end().to_owned();
            audit(&operators.board, &AuditEvent { who, from, what: "take-over", detail, result });
        }
        detail.insert_str(0, &format!("{} ", self.why));
        audit_own(&operators.board, "stop", detail.trim_end().to_owned(), result);
        if let Some(order) = self.order {
            // He may be gone.
            let _ = order.reply.send(Reply::Drain(report));
        }
        self.successor
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
    wallet: WalletDesk,
    operators: &'r mut Operators,
    hand_over: &'r HandOver,
    visitors: Visitors,
}

impl<'r> Watched<'r> {
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
            let stop = self.look_after(alarms, scope, streams);
            let _ = self.reload.stop(streams);
            self.parked.stop();
            self.wallet.stop();
            self.visitors.end();
            handle.close();
            stop
        })
    }

    fn look_after<'s>(
        &mut self,
        alarms: &mut Alarms,
        scope: &'s Scope<'s, '_>,
        streams: &mut Streams<'_>,
    ) -> Stop
    where
        'r: 's,
    {
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
            self.wallet.look(self.switch, self.reload.requestors());
            let is_waited_for = self.reload.is_under_way()
                || self.parked.is_under_way()
                || self.wallet.is_under_way();
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
                    OrderKind::Wallet(_) => {
                        let switch = (self.switch, self.reload.requestors());
                        self.wallet.take(order, switch);
                        continue;
                    }
                    OrderKind::TakeOver => {
                        let sender = self.operators.sender();
                        self.visitors.open(order, self.hand_over, (scope, sender));
                        continue;
                    }
                },
                Ok(Told::Visit(Visit { who, from, outcome: VisitOutcome::Prepared(it) })) => {
                    self.visitors.close();
                    return Stop::for_successor(Successor::new((who, from), it));
                }
                Ok(Told::Visit(Visit { who, from, outcome: VisitOutcome::Over(why) })) => {
                    let _ = self.on_visit_over(&who, &from, why, streams);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => {
                    return Stop::new("no signal can come any more");
                }
            };
            let _ = self.reload.read(reload, self.switch, streams);
        }
    }
    /// Somebody wanted to take over, and did not.
    fn on_visit_over(
        &self,
        who: &str,
        from: &str,
        why: String,
        streams: &mut Streams<'_>,
    ) -> std::io::Result<()> {
        let board = &self.operators.board;
        writeln!(streams.output, "take-over   {who} ({from}): {why}")?;
        streams.output.flush()?;
        board.notables.add(board.now().wall_ms, "take_over{given_up}", 1, why.clone());
        let result = AuditResult::Failed;
        audit(board, &AuditEvent { who, from, what: "take-over", detail: why, result });
        Ok(())
    }
}

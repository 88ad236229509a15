//! `loadgen run`: carries out a plan, with a line of progress, and shows the report.

use super::{NOT_CLEAN, NOT_REACHED, USAGE, allow_connections, fail, show};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::Duration;
use tapswitch_loadgen::report::thousands;
use tapswitch_loadgen::{
    Arrivals, InstitutionId, LoadDialect, LoadError, LoadPlan, LoadReport, Progress, Rate,
    Snapshot, run as run_plan,
};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to ask, whom, how fast.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Address of the switch, host:port.
    #[arg(long, value_parser = parse_target)]
    target: SocketAddr,
    /// Dialect: cups or iso87-ascii.
    #[arg(long, default_value = "cups", value_parser = parse_dialect)]
    dialect: LoadDialect,
    /// How long to ask.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second, or max: a closed loop, whose latencies are not response times.
    #[arg(long, default_value = "10000", value_parser = parse_rate)]
    rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Unanswered requests that a connection may have.
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// Fixes cards, kinds of transactions, amounts and arrivals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How arrivals are spread: constant or poisson.
    #[arg(long, default_value = "poisson", value_parser = parse_arrivals)]
    arrivals: Arrivals,
    /// Cards, up to 10^9.
    #[arg(long, default_value_t = 10_000_000)]
    cards: u64,
    /// Exponent of Zipf's law of how often a card is used; 0 is uniform.
    #[arg(long, default_value_t = 0.7)]
    zipf: f64,
    /// Acquiring and forwarding institution, DE 32 and 33: at most 11 digits.
    #[arg(long, default_value = "03330000", value_parser = parse_institution)]
    acquirer: InstitutionId,
    /// Keep the sending thread on this core.
    #[arg(long)]
    pin_core: Option<usize>,
    /// Sign every connection on first.
    #[arg(long)]
    sign_on: bool,
    /// How long to wait for an answer, in milliseconds.
    #[arg(long, default_value_t = 15_000)]
    answer_deadline_ms: u64,
    /// Write the report as JSON to this file, or - for standard output.
    #[arg(long)]
    json: Option<String>,
}

fn parse_target(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the host has no address".to_owned())
}

fn parse_dialect(text: &str) -> Result<LoadDialect, &'static str> {
    LoadDialect::named(text).ok_or("the dialects are cups and iso87-ascii")
}

fn parse_rate(text: &str) -> Result<Rate, &'static str> {
    match text {
        "max" => Ok(Rate::Max),
        number => number.parse().map(Rate::PerSecond).map_err(|_| "the rate is a number or max"),
    }
}

fn parse_arrivals(text: &str) -> Result<Arrivals, &'static str> {
    match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err("arrivals are constant or poisson"),
    }
}

fn parse_institution(text: &str) -> Result<InstitutionId, &'static str> {
    InstitutionId::parse(text).ok_or("an institution is 1 to 11 digits")
}

impl Arguments {
    fn plan(&self) -> LoadPlan {
        LoadPlan {
            connections: self.connections,
            in_flight: self.in_flight,
            rate: self.rate,
            arrivals: self.arrivals,
            seconds: self.seconds,
            seed: self.seed,
            zipf_s: self.zipf,
            cards: self.cards,
            acquirer: self.acquirer,
            forwarder: self.acquirer,
            pin_core: self.pin_core,
            sign_on: self.sign_on,
            answer_deadline: Duration::from_millis(self.answer_deadline_ms),
            ..LoadPlan::new(self.target, self.dialect)
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    allow_connections();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
            return fail(&error, USAGE);
        }
    }
    let report = match watched(&arguments.plan(), &stop) {
        Ok(report) => report,
        Err(error) => return fail(&error, exit_code(&error)),
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = report.write_text(&mut text);
    if let Err(error) = show(&text, &report.to_json(), arguments.json.as_deref()) {
        return fail(&error, USAGE);
    }
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(NOT_CLEAN) }
}

const fn exit_code(error: &LoadError) -> u8 {
    match error {
        LoadError::Plan(_) | LoadError::Write(_) | LoadError::Pin { .. } => USAGE,
        LoadError::Connect { .. } | LoadError::SignOn { .. } | LoadError::Poll(_) => NOT_REACHED,
    }
}

/// Runs the plan on a thread of its own and shows on standard error how it goes.
fn watched(plan: &LoadPlan, stop: &AtomicBool) -> Result<LoadReport, LoadError> {
    let progress = Progress::new();
    let watcher = std::thread::current();
    std::thread::scope(|scope| {
        let work = || {
            let report = run_plan(plan, &progress, stop);
            watcher.unpark();
            report
        };
        let worker = Builder::new().name("loadgen".to_owned()).spawn_scoped(scope, work);
        let worker = worker.map_err(LoadError::Poll)?;
        let line = Line::new();
        loop {
            std::thread::park_timeout(LOOK_EVERY);
            if worker.is_finished() {
                break;
            }
            line.show(&progress.latest());
        }
        line.end();
        worker.join().unwrap_or_else(|_| Err(LoadError::Poll(io::Error::other("worker panicked"))))
    })
}

/// The line of progress: one that is written over on a terminal, one after another elsewhere.
struct Line {
    bar: Option<ProgressBar>,
}

impl Line {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            match ProgressStyle::with_template("{spinner} {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self { bar }
    }

    fn show(&self, look: &Snapshot) {
        let rate = thousands(look.answered_per_s.round() as u64);
        let text = format!(
            "{:6.1} s  {rate:>9}/s  p50 {:.0} us  p99 {:.0} us  p99.9 {:.0} us  answered {}  \
             approved {}  declined {}  in flight {}  unanswered {}  wrong {}",
            look.elapsed_s,
            look.p50_us,
            look.p99_us,
            look.p999_us,
            thousands(look.answered),
            thousands(look.approved),
            thousands(look.declined),
            look.in_flight,
            look.unanswered,
            look.wrong,
        );
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            // Progress that cannot be shown is not worth stopping for.
            None => {
                let _ = writeln!(io::stderr(), "{text}");
            }
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

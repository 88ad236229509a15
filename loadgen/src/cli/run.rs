//! `loadgen run`: carries out a plan, with a line of progress, and shows the report.

use super::asking::Asking;
use super::{NOT_CLEAN, NOT_REACHED, USAGE, allow_connections, fail, show};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::Duration;
use tapswitch_loadgen::report::thousands;
use tapswitch_loadgen::{
    LoadError, LoadPlan, LoadReport, Progress, Rate, Snapshot, run as run_plan,
};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What to ask, whom, how fast.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    asking: Asking,
    /// How long to ask.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Requests a second, or max: a closed loop, whose latencies are not response times.
    #[arg(long, default_value = "10000", value_parser = parse_rate)]
    rate: Rate,
    /// Write the report as JSON to this file, or - for standard output.
    #[arg(long)]
    json: Option<String>,
}

fn parse_rate(text: &str) -> Result<Rate, &'static str> {
    match text {
        "max" => Ok(Rate::Max),
        number => number.parse().map(Rate::PerSecond).map_err(|_| "the rate is a number or max"),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    allow_connections();
    let stop = match stop_flag() {
        Ok(stop) => stop,
        Err(error) => return fail(&error, USAGE),
    };
    let plan = match arguments.asking.plan() {
        Ok(plan) => LoadPlan { rate: arguments.rate, seconds: arguments.seconds, ..plan },
        Err(error) => return fail(&error, USAGE),
    };
    let report = match watched(&plan, &stop) {
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

/// Set by SIGINT and SIGTERM.
pub(crate) fn stop_flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

pub(crate) const fn exit_code(error: &LoadError) -> u8 {
    match error {
        LoadError::Plan(_) | LoadError::Write(_) | LoadError::Pin { .. } => USAGE,
        LoadError::Connect { .. } | LoadError::SignOn { .. } | LoadError::Poll(_) => NOT_REACHED,
    }
}

/// Runs the plan on a thread of its own and shows on standard error how it goes.
pub(crate) fn watched(plan: &LoadPlan, stop: &AtomicBool) -> Result<LoadReport, LoadError> {
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

//! `loadgen overload`: the same load at multiples of a rate, and whether the goodput holds.

use super::asking::Asking;
use super::run::{exit_code, stop_flag, watched};
use super::{NOT_CLEAN, USAGE, allow_connections, fail, show};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use tapswitch_loadgen::{LoadPlan, OverloadPlan, OverloadReport};

/// What to ask for, and what to demand.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    asking: Asking,
    /// Requests a second that the target should carry.
    #[arg(long, default_value_t = 20_000.0)]
    capacity: f64,
    /// Multiples of the capacity, asked for one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,2,5,10")]
    factors: Vec<f64>,
    /// How long each is asked for.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Goodput of every step, in percent of the best step at no higher load, and of the capacity.
    #[arg(long, default_value_t = 90.0)]
    goodput_percent: f64,
    /// 99 % of the refusals come within this, in milliseconds; left out: whenever.
    #[arg(long)]
    shed_p99_ms: Option<f64>,
    /// Write the report as JSON to this file, or - for standard output.
    #[arg(long)]
    json: Option<String>,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    allow_connections();
    let stop = match stop_flag() {
        Ok(stop) => stop,
        Err(error) => return fail(&error, USAGE),
    };
    let load = match arguments.asking.plan() {
        Ok(load) => LoadPlan { seconds: arguments.seconds, ..load },
        Err(error) => return fail(&error, USAGE),
    };
    let plan = OverloadPlan {
        load,
        capacity_per_s: arguments.capacity,
        factors: arguments.factors.clone(),
        goodput_percent_min: arguments.goodput_percent,
        shed_p99_ms_max: arguments.shed_p99_ms,
    };
    let mut steps = Vec::new();
    for (factor, load) in plan.steps() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match watched(&load, &stop) {
            Ok(report) => steps.push((factor, report)),
            Err(error) => return fail(&error, exit_code(&error)),
        }
    }
    let report = OverloadReport::new(plan, steps);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = report.write_text(&mut text);
    if let Err(error) = show(&text, &report.to_json(), arguments.json.as_deref()) {
        return fail(&error, USAGE);
    }
    if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_CLEAN) }
}

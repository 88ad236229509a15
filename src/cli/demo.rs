//! `tapswitch demo`: the switch, its banks, and load over real sockets on free ports; a live screen,
//! then a report that says what was asked, what was achieved, and whether every request was
//! answered exactly once and the books agree.

use super::live_screen::LiveScreen;
use super::switch::{BankBooks, Remains, SwitchNow, load, start, write_first_screen};
use super::{CommandError, Streams, quantity};
use crate::bank::LedgerAccount;
use crate::config::Config;
use crate::io::{Switch, allowed_cores};
use crate::shard::{Counter, Shard};
use clap::Args;
use core::str::FromStr;
use hdrhistogram::Histogram;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use tapswitch_loadgen::{
    LoadDialect, LoadError, LoadPlan, LoadReport, Progress, Rate, SwitchLatency,
};

/// What `demo` can be told.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// How long requests are sent
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Requests a second; `max` sends as soon as there is room (closed loop)
    #[arg(long, value_name = "R|max", default_value = "20000")]
    pub rate: AskedRate,
    /// Write the report as JSON to this file; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Connections to the switch
    #[arg(long, value_name = "C", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8_192))]
    pub connections: u32,
    /// Unanswered requests that a connection may have
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Configuration file; listeners move to free ports. Without it the shipped one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the load speaks; the configuration must have an acquirer of this dialect
    #[arg(long, value_name = "D", default_value = "cups", value_parser = ["cups", "iso87-ascii"])]
    pub dialect: String,
    /// Fixes cards, amounts and arrivals
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// How fast the load is asked to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AskedRate {
    /// Open loop: so many requests a second, however fast they are answered.
    PerSecond(f64),
    /// Closed loop: as soon as there is room.
    Max,
}

/// Most requests a second that can be asked for.
const RATE_MAX: f64 = 1e7;

impl FromStr for AskedRate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(Self::PerSecond(rate)),
            _ => Err("a rate is a number above 0 and at most 10000000, or `max`"),
        }
    }
}

/// How often the live screen is drawn.
const FRAME: Duration = Duration::from_millis(500);

/// Runs the demonstration.
///
/// # Errors
/// It does not start, or something was unanswered, wrong, or does not add up.
pub fn run(args: &DemoArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let mut config = load(args.config.as_deref())?;
    if let Some(linked) = config.issuers.iter().find(|issuer| issuer.link.is_some()) {
        let name = &linked.name;
        let why = "demo compares the banks' books and runs all of them itself";
        return Err(CommandError::Failed(format!("issuer {name} has `connect`: {why}")));
    }
    for acquirer in &mut config.acquirers {
        acquirer.listen.set_port(0);
    }
    let config = Arc::new(config);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let started = start(&config, None, Vec::new())?;
    // The JSON object may be all that standard output is to hold.
    let quiet = args.json.as_deref() == Some(Path::new("-"));
    if !quiet {
        write_first_screen(streams.output, &started, &config)?;
    }
    let switch = started.switch;
    let target = target(&config, switch.local_addrs(), &args.dialect)?;
    let plan = plan(args, &config, target);
    let mut report = drive(&plan, &switch, &stop)?;
    let stopped = switch.stop().map_err(|error| CommandError::Failed(error.to_string()))?;
    let remains = Remains::of(stopped);
    report.bank_answered = Some(remains.count(Counter::AnsweredByIssuer));
    report.switch_latency = Some(latency(&remains.switch_time_ns));
    let problems = problems(&report, &remains);
    if !quiet {
        write_report(streams.output, &report, &remains)?;
    }
    if let Some(path) = &args.json {
        write_json(path, &report, &problems, streams)?;
    }
    if problems.is_empty() {
        if !quiet {
            writeln!(
                streams.output,
                "verdict   every request was answered exactly once, every answer"
            )?;
            writeln!(
                streams.output,
                "          was verified, and the banks' books agree with the load's"
            )?;
        }
        Ok(())
    } else {
        Err(CommandError::Failed(problems.join("\n")))
    }
}

/// The listener that speaks the asked dialect.
fn target(
    config: &Config,
    addresses: &[SocketAddr],
    dialect: &str,
) -> Result<SocketAddr, CommandError> {
    let place = config.acquirers.iter().position(|acquirer| acquirer.dialect.name() == dialect);
    place.and_then(|place| addresses.get(place)).copied().ok_or_else(|| {
        CommandError::Failed(format!("the configuration has no acquirer with dialect {dialect}"))
    })
}

fn plan(args: &DemoArgs, config: &Config, target: SocketAddr) -> LoadPlan {
    let dialect = match args.dialect.as_str() {
        "iso87-ascii" => LoadDialect::Iso87Ascii,
        _ => LoadDialect::Cups,
    };
    let mut plan = LoadPlan::new(target, dialect);
    plan.connections = args.connections;
    plan.in_flight = args.in_flight;
    plan.rate = match args.rate {
        AskedRate::PerSecond(rate) => Rate::PerSecond(rate),
        AskedRate::Max => Rate::Max,
    };
    plan.seconds = args.seconds as f64;
    plan.seed = args.seed;
    // Where the shards are pinned, the load takes a core that none of them has.
    let taken = [&config.switch.cores[..], &config.bank.cores[..]].concat();
    if !taken.is_empty() {
        let cores = allowed_cores().unwrap_or_default();
        plan.pin_core = cores.into_iter().find(|core| !taken.contains(core));
    }
    plan
}

/// Runs the load, and shows how it goes.
fn drive(
    plan: &LoadPlan,
    switch: &Switch<Shard>,
    stop: &AtomicBool,
) -> Result<LoadReport, CommandError> {
    let progress = Progress::new();
    let ran: Option<Result<LoadReport, LoadError>> = std::thread::scope(|scope| {
        let (done, ended) = channel();
        let progress = &progress;
        scope.spawn(move || {
            // The receiver waits for as long as the scope lives.
            let _ = done.send(tapswitch_loadgen::run(plan, progress, stop));
        });
        let mut screen = LiveScreen::new(plan.seconds);
        loop {
            match ended.recv_timeout(FRAME) {
                Err(RecvTimeoutError::Timeout) => {
                    screen.draw(&progress.latest(), &SwitchNow::of(switch));
                }
                Ok(ran) => return Some(ran),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    });
    let ran = ran.ok_or_else(|| CommandError::Failed("the load's thread ended".into()))?;
    ran.map_err(|error| CommandError::Failed(error.to_string()))
}

fn latency(times_ns: &Histogram<u64>) -> SwitchLatency {
    let us = |quantile| times_ns.value_at_quantile(quantile) as f64 / 1_000.0;
    SwitchLatency { p50_us: us(0.5), p99_us: us(0.99) }
}

/// Everything that is not as it must be, each in a sentence.
fn problems(report: &LoadReport, remains: &Remains) -> Vec<String> {
    let mut problems = remains.broken_books();
    if !report.is_clean() {
        problems.push(format!(
            "{} requests unanswered, {} answered wrongly, {} connections lost",
            report.unanswered, report.wrong, report.connections_lost
        ));
    }
    if remains.in_flight > 0 {
        problems.push(format!("{} left in flight when the switch stopped", remains.in_flight));
    }
    problems.extend(remains.banks.iter().filter_map(|bank| {
        let (owed, expected) = (bank.ledger.owed_minor(), expected_minor(report, &bank.name));
        (owed != expected).then(|| {
            let name = &bank.name;
            format!("{name} owes acquirers {owed}, the answers say {expected} (minor units)")
        })
    }));
    problems.extend(remains.banks.iter().filter_map(|bank| {
        let (booked, expected) = (booked_minor(bank), expected_minor(report, &bank.name));
        (booked != expected).then(|| {
            let name = &bank.name;
            format!("{name} was debited {booked}, the answers say {expected} (minor units)")
        })
    }));
    problems
}

/// By how much a bank's accounts went down.
fn booked_minor(bank: &BankBooks) -> i128 {
    bank.ledger.debited_minor()
}

/// By how much they should have, by the answers that the load got.
fn expected_minor(report: &LoadReport, name: &str) -> i128 {
    let totals = report.per_issuer.iter().find(|totals| totals.issuer == name);
    totals.map_or(0, |totals| totals.net_debit_minor())
}

fn write_report(
    out: &mut dyn Write,
    report: &LoadReport,
    remains: &Remains,
) -> Result<(), CommandError> {
    let mut text = String::new();
    report.write_text(&mut text).map_err(|error| CommandError::Failed(error.to_string()))?;
    writeln!(out, "\n{text}")?;
    writeln!(
        out,
        "bank        accounts      approved        held  declined  debited by books, load"
    )?;
    for bank in &remains.banks {
        let flows = &bank.ledger.flows;
        let declined = report
            .per_issuer
            .iter()
            .find(|totals| totals.issuer == bank.name)
            .map_or(0, |totals| totals.declined_count);
        let agree = booked_minor(bank) == expected_minor(report, &bank.name);
        writeln!(
            out,
            "{:<9} {:>10} {:>13} {:>11} {:>9}  {:>16}  {}",
            bank.name,
            quantity::grouped(bank.ledger.accounts),
            quantity::grouped(flows.approved.count),
            quantity::grouped(flows.holds.count),
            quantity::grouped(declined),
            signed_amount(booked_minor(bank)),
            if agree { "agree" } else { "DIFFER" },
        )?;
    }
    writeln!(out)?;
    write_trial_balance(out, &remains.banks)?;
    writeln!(out)?;
    remains.write_counters(out)?;
    writeln!(out)?;
    Ok(())
}

/// Both sides of every ledger account, over all banks.
fn write_trial_balance(out: &mut dyn Write, banks: &[BankBooks]) -> std::io::Result<()> {
    let mut row = |name: &str, debit: i128, credit: i128| {
        writeln!(out, "{name:<19} {:>18} {:>18}", signed_amount(debit), signed_amount(credit))
    };
    let mut total = (0, 0);
    for account in LedgerAccount::ALL {
        let sides = banks.iter().map(|bank| bank.ledger.books.sides(account));
        let (debit, credit) = sides.fold((0, 0), |(debit, credit), sides| {
            (debit + sides.debit_minor, credit + sides.credit_minor)
        });
        row(account.name(), debit, credit)?;
        total = (total.0 + debit, total.1 + credit);
    }
    row("debits, credits", total.0, total.1)
}

fn signed_amount(minor: i128) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let minor = u64::try_from(minor.unsigned_abs()).unwrap_or(u64::MAX);
    format!("{sign}{}", quantity::amount(minor))
}

fn write_json(
    path: &Path,
    report: &LoadReport,
    problems: &[String],
    streams: &mut Streams<'_>,
) -> Result<(), CommandError> {
    let mut object = report.to_json();
    if let Some(object) = object.as_object_mut() {
        object.insert("verdict_problems".into(), problems.into());
    }
    let text = format!("{object:#}\n");
    if path == Path::new("-") {
        streams.output.write_all(text.as_bytes())?;
        return Ok(());
    }
    std::fs::write(path, text)
        .map_err(|error| CommandError::Failed(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn rates_are_numbers_or_max() {
        assert_eq!("max".parse(), Ok(AskedRate::Max));
        assert_eq!("1500.5".parse(), Ok(AskedRate::PerSecond(1_500.5)));
        for wrong in ["0", "-1", "NaN", "inf", "1e8", "fast", ""] {
            assert!(wrong.parse::<AskedRate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_argument_is_read() {
        let words = "demo --seconds 3 --rate max --json - --connections 2 --in-flight 5 \
                     --config a.toml --dialect iso87-ascii --seed 7";
        let Line { demo } = Line::try_parse_from(words.split_whitespace()).ok().unwrap();
        assert_eq!((demo.seconds, demo.rate, demo.seed), (3, AskedRate::Max, 7));
        assert_eq!((demo.connections, demo.in_flight), (2, 5));
        assert_eq!(demo.dialect, "iso87-ascii");
        assert_eq!(demo.json, Some(PathBuf::from("-")));
        assert_eq!(demo.config, Some(PathBuf::from("a.toml")));
        assert!(Line::try_parse_from(["demo", "--dialect", "unionpay-pos"]).is_err());
        assert!(Line::try_parse_from(["demo", "--in-flight", "0"]).is_err());
    }
}

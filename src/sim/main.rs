//! `sim`: runs simulated worlds from the command line. See [`tapswitch::sim`].
//!
//! With the system's allocator: it hands out fresh zeroed pages untouched, and every restart of a
//! simulated switch asks for large tables of which it touches little.

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;
use tapswitch::io::Clock;
use tapswitch::sim::{Faults, Options, Report, run};

/// The shipped shards in an invented world; exits with 1 when an invariant does not hold.
#[derive(Parser)]
#[command(name = "sim")]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds, from the first on.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Transactions of each run.
    #[arg(long, default_value_t = 50_000)]
    transactions: u32,
    /// none, light, all, or some of
    /// network,issuer,link,disk,crash,clock,reload,acquirer,malformed,shared,layout,stop,stand-in,
    /// failover,gone,rules.
    #[arg(long, default_value = "all")]
    faults: Faults,
    /// Disks lose what they had called durable: a run must then find what that does.
    #[arg(long)]
    lying_disk: bool,
    /// After a violation: tell what happened to its transaction.
    #[arg(long)]
    trace: bool,
    /// Only say what did not hold.
    #[arg(long)]
    quiet: bool,
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut clock = Clock::new();
    let (mut failed, mut audited) = (0, 0);
    let began_ns = clock.now().mono_ns;
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let Arguments { transactions, faults, lying_disk, .. } = arguments;
        let options = Options { faults, lying_disk, ..Options::new(seed, transactions) };
        say_when_it_panics(&options);
        let since_ns = clock.now().mono_ns;
        let report = run(&options);
        let took_ns = clock.now().mono_ns - since_ns;
        audited += u64::from(transactions);
        let is_wrong =
            report.violation.is_some() != lying_disk || report.tally.lied == 0 && lying_disk;
        failed += u64::from(report.violation.is_some());
        if !arguments.quiet || is_wrong {
            println!("{report} ({:.0} tx/s)", per_second(u64::from(transactions), took_ns));
        }
        if arguments.trace {
            tell(&report);
        }
    }
    let took_ns = clock.now().mono_ns - began_ns;
    let seconds = Duration::from_nanos(took_ns).as_secs_f64();
    let rate = per_second(audited, took_ns);
    println!(
        "{} seeds, {audited} transactions in {seconds:.1} s ({rate:.0} audited a second), {failed} with a violation",
        arguments.seeds
    );
    // With lying disks a violation is what is wanted.
    if (failed == 0) != arguments.lying_disk { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A broken invariant that the product itself asserts is one that did not hold, as any other.
#[expect(clippy::print_stdout, reason = "the program's output")]
fn say_when_it_panics(options: &Options) {
    let options = options.to_string();
    std::panic::set_hook(Box::new(move |info| {
        let what = info.payload_as_str().unwrap_or_default();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        println!("VIOLATION assertion {what} ({place})");
        println!("again: cargo run --release --bin sim -- {options}");
        std::process::exit(1);
    }));
}

fn per_second(count: u64, ns: u64) -> f64 {
    count as f64 * 1e9 / ns.max(1) as f64
}

/// Runs it again, watching the transaction that failed.
#[expect(clippy::print_stdout, reason = "the program's output")]
fn tell(report: &Report) {
    let Some(violation) = &report.violation else { return };
    let traced = Some(violation.number);
    // Of limits the other transactions of the card tell more.
    let traced_card =
        violation.card.filter(|_| matches!(violation.invariant, "I-6" | "I-10" | "I-12"));
    let again = run(&Options { traced, traced_card, ..report.options.clone() });
    for line in &again.lines {
        println!("{line}");
    }
}

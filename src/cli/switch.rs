//! A switch as `run` and `demo` start and stop it: first screen, final books. Not here: what either
//! does in between.

use super::{CommandError, memory_screen, quantity};
use crate::bank::{BankSet, Ledger};
use crate::config::{Config, ConfigError};
use crate::io::core_dumps::forbid_core_dumps;
use crate::io::random::fresh_secrets;
use crate::io::{IoTimeouts, ShardReport, Stopped, Switch};
use crate::shard::{Counter, Counters, Shard};
use hdrhistogram::Histogram;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The configuration of a file, or the shipped one.
pub(super) fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    match file {
        Some(path) => Config::from_file(path),
        None => Ok(Config::embedded()),
    }
}

/// Starts the switch and its banks.
pub(super) fn start(config: &Arc<Config>) -> Result<Switch<Shard>, CommandError> {
    forbid_core_dumps()
        .map_err(|error| CommandError::Failed(format!("cannot forbid core dumps: {error}")))?;
    let secrets = fresh_secrets().map_err(|error| {
        CommandError::Failed(format!("no random keys from the kernel: {error}"))
    })?;
    let shared = Arc::clone(config);
    let started = memory_screen::while_shown(|| {
        Switch::start(Arc::clone(config), IoTimeouts::default(), move |id| {
            Shard::new(id, &shared, &secrets)
        })
    });
    started.map_err(|error| CommandError::Failed(error.to_string()))
}

/// What was started, where, and what it does not do.
pub(super) fn write_first_screen(
    out: &mut dyn Write,
    switch: &Switch<Shard>,
    config: &Config,
) -> std::io::Result<()> {
    writeln!(out, "tapswitch {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "engine      {}", switch.engine())?;
    let shards = config.switch.shards;
    let pinned = match config.switch.cores.as_slice() {
        [] => "not pinned".to_owned(),
        cores => format!("cores {cores:?}"),
    };
    writeln!(out, "shards      {shards}, {pinned}")?;
    for (acquirer, address) in config.acquirers.iter().zip(switch.local_addrs()) {
        writeln!(out, "acquirers   {address} {} ({})", acquirer.name, acquirer.dialect.name())?;
    }
    let (issuers, iins) = (config.issuers.len(), config.iins.len());
    writeln!(out, "issuers     {issuers} simulated banks in process, {iins} IIN prefixes")?;
    let lines = config.velocity.lines;
    writeln!(
        out,
        "velocity    {} limits on {} counters, room for {} cards in {}",
        config.velocity.limits.len(),
        config.velocity.counters.len(),
        quantity::grouped(lines as u64),
        quantity::bytes((lines * config.velocity.line_bytes()) as u64),
    )?;
    writeln!(out, "durability  off: limits, repeats and reversals owed end with this process")?;
    out.flush()
}

/// All shards as they last published themselves.
pub(super) struct SwitchNow {
    /// Their counters.
    pub(super) counters: Counters,
    /// Their switch times, in nanoseconds.
    pub(super) switch_time_ns: Histogram<u64>,
}

impl SwitchNow {
    pub(super) fn of(switch: &Switch<Shard>) -> Self {
        let mut now = Self {
            counters: Counters::default(),
            switch_time_ns: crate::shard::SwitchTime::default().histogram().clone(),
        };
        for published in switch.published() {
            now.counters.merge(&published.counters());
            // The same bounds everywhere, so adding cannot fail.
            let _ = now.switch_time_ns.add(published.switch_times_ns());
        }
        now
    }
}

/// Connections that were not served, each reason in a sentence.
pub(super) fn refused_connections(switch: &Switch<Shard>) -> Vec<String> {
    let counters = switch.accept_counters();
    let full = counters.refused_full.load(Ordering::Relaxed);
    let exhausted = counters.exhausted.load(Ordering::Relaxed);
    let mut refused = Vec::new();
    if full > 0 {
        refused.push(format!("{full} connections refused: every shard had all it can hold"));
    }
    if exhausted > 0 {
        refused.push(format!("{exhausted} times no file descriptor or memory for a connection"));
    }
    refused
}

/// One bank's books at the end, over all shards.
pub(super) struct BankBooks {
    /// The bank.
    pub(super) name: String,
    /// Its books.
    pub(super) ledger: Ledger,
}

/// What is left of a switch.
pub(super) struct Remains {
    /// All shards' counters.
    pub(super) counters: Counters,
    /// All shards' switch times, in nanoseconds.
    pub(super) switch_time_ns: Histogram<u64>,
    /// Requests not answered and messages owed: 0 unless the stop ran out of time.
    pub(super) in_flight: usize,
    /// Answers no longer remembered because newer ones took their place.
    duplicate_evictions: u64,
    /// Cards that took a line of the velocity table.
    cards: usize,
    /// Every bank's books.
    pub(super) banks: Vec<BankBooks>,
}

impl Remains {
    pub(super) fn of(stopped: Stopped<ShardReport>) -> Self {
        let mut counters = Counters::default();
        let (mut in_flight, mut duplicate_evictions, mut cards) = (0, 0, 0);
        let mut times: Option<Histogram<u64>> = None;
        for report in &stopped.reports {
            counters.merge(&report.counters);
            in_flight += report.in_flight;
            duplicate_evictions += report.duplicate_evictions;
            cards += report.cards;
            let histogram = report.switch_time.histogram();
            match &mut times {
                None => times = Some(histogram.clone()),
                // The same bounds everywhere, so adding cannot fail.
                Some(times) => drop(times.add(histogram)),
            }
        }
        let switch_time_ns =
            times.unwrap_or_else(|| crate::shard::SwitchTime::default().histogram().clone());
        let banks = merge_books(&stopped.banks);
        Self { counters, switch_time_ns, in_flight, duplicate_evictions, cards, banks }
    }

    /// Banks whose books do not balance, each in a sentence.
    pub(super) fn broken_books(&self) -> Vec<String> {
        let broken = |bank: &BankBooks| {
            let error = bank.ledger.check().err()?;
            Some(format!("the books of {} do not balance: {error}", bank.name))
        };
        self.banks.iter().filter_map(broken).collect()
    }

    /// Counters that are not zero.
    pub(super) fn write_counters(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for (counter, value) in self.counters.iter().filter(|(_, value)| *value > 0) {
            let (name, value) = (counter.name(), quantity::grouped(value));
            writeln!(out, "{name:<28} {value:>15}  {}", counter.meaning())?;
        }
        let mut row = |name: &str, value: u64, meaning: &str| {
            writeln!(out, "{name:<28} {:>15}  {meaning}", quantity::grouped(value))
        };
        row("velocity{lines}", self.cards as u64, "cards that took a line of the velocity table")?;
        row("duplicate{evicted}", self.duplicate_evictions, "answers forgotten for newer ones")
    }

    /// The count of one counter.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters.value(counter)
    }
}

fn merge_books(banks: &[BankSet]) -> Vec<BankBooks> {
    let mut books: Vec<BankBooks> = Vec::new();
    for (name, ledger) in banks.iter().flat_map(BankSet::ledgers) {
        match books.iter_mut().find(|bank| bank.name == name) {
            Some(bank) => bank.ledger.merge(&ledger),
            None => books.push(BankBooks { name, ledger }),
        }
    }
    books
}

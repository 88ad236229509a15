//! `tapswitch bank`: the simulated banks as a process of their own, until they are told to stop. Each is the
//! other end of its issuer's link in the switch's file: it listens where the switch has `connect`,
//! connects where the switch has `listen`, and is the other half of the pair where it has both.

use super::switch::load;
use super::{CommandError, Streams, quantity};
use crate::bank::{BankTotals, Statement};
use crate::config::Config;
use crate::io::core_dumps::forbid_core_dumps;
use crate::io::{BankRole, BankServer};
use crate::shard::IssuerId;
use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::fs::{File, rename};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What `bank` can be told.
#[derive(Clone, Debug, Args)]
pub struct BankArgs {
    /// The switch's configuration file: its issuers that have `connect` (the bank listens there), `listen`
    /// (the bank connects there, as often as all shards wait for it), or both (a pair: requests come by the
    /// switch's connection, answers go by the bank's)
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only this issuer's bank; may be given several times
    #[arg(long, value_name = "NAME")]
    pub issuer: Vec<String>,
    /// Write what the banks did to this file at the end, and whenever SIGUSR1 asks for it
    #[arg(long, value_name = "FILE.json")]
    pub ledger: Option<PathBuf>,
}

/// Serves the banks until SIGTERM or SIGINT.
pub(super) fn run(args: &BankArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let config = Arc::new(load(Some(&args.config))?);
    let issuers = issuers_of(args, &config)?;
    // Asked for before anything is started: a signal is never lost.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
    forbid_core_dumps()
        .map_err(|error| CommandError::Failed(format!("cannot forbid core dumps: {error}")))?;
    let server = BankServer::start(&config, &issuers)
        .map_err(|error| CommandError::Failed(error.to_string()))?;
    write_first_screen(streams.output, &server)?;
    for signal in signals.forever() {
        if signal != SIGUSR1 {
            break;
        }
        if let Some(statement) = server.statement() {
            write_ledger(args.ledger.as_deref(), &statement)?;
            writeln!(streams.output, "asked       {}", sum_up(&statement))?;
            streams.output.flush()?;
        }
    }
    let stopped = server.stop().map_err(|error| CommandError::Failed(error.to_string()))?;
    write_ledger(args.ledger.as_deref(), &stopped)?;
    finish(streams.output, &stopped)
}

/// The issuers that are named, or all that are reached over TCP.
fn issuers_of(args: &BankArgs, config: &Config) -> Result<Vec<IssuerId>, CommandError> {
    let linked = (0..).map(IssuerId).zip(&config.issuers).filter(|(_, it)| {
        it.link.as_ref().is_some_and(|link| link.connect.is_some() || link.listen.is_some())
    });
    let linked: Vec<(IssuerId, &str)> = linked.map(|(id, it)| (id, it.name.as_str())).collect();
    let names: Vec<&str> = linked.iter().map(|&(_, name)| name).collect();
    if let Some(unknown) = args.issuer.iter().find(|name| !names.contains(&name.as_str())) {
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let message = format!(
            "issuer `{unknown}` has neither `connect` nor `listen`; those that have: {known}"
        );
        return Err(CommandError::Failed(message));
    }
    if linked.is_empty() {
        let message =
            "no issuer has `connect` or `listen`: write one into [issuer.NAME]".to_owned();
        return Err(CommandError::Failed(message));
    }
    let is_wanted = |name: &str| args.issuer.is_empty() || args.issuer.iter().any(|it| it == name);
    Ok(linked.into_iter().filter(|(_, name)| is_wanted(name)).map(|(id, _)| id).collect())
}

fn write_first_screen(out: &mut dyn Write, server: &BankServer) -> io::Result<()> {
    writeln!(out, "tapswitch {} banks", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "engine      {}", server.engine())?;
    for bank in server.served() {
        write!(out, "bank        {} {} ({})", bank.address, bank.name, bank.dialect)?;
        match bank.role {
            BankRole::Listens => writeln!(out)?,
            BankRole::Connects => writeln!(out, ", connects there")?,
            BankRole::Pairs(answers) => writeln!(out, ", answers go to {answers}")?,
        }
    }
    writeln!(out, "serving     until SIGTERM; SIGUSR1 writes the ledger")?;
    out.flush()
}

/// Writes the file as a whole or not at all: a reader never sees half of it.
fn write_ledger(file: Option<&Path>, statement: &Statement) -> Result<(), CommandError> {
    let Some(file) = file else { return Ok(()) };
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let written = File::create(&partial).and_then(|created| {
        let mut out = BufWriter::new(created);
        serde_json::to_writer_pretty(&mut out, statement)?;
        out.write_all(b"\n")?;
        out.flush()?;
        rename(&partial, file)
    });
    written.map_err(|error| {
        CommandError::Failed(format!("{}: the ledger cannot be written: {error}", file.display()))
    })
}

fn sum_up(statement: &Statement) -> String {
    let standing = statement.transactions.iter().filter(|entry| entry.state == "standing").count();
    format!(
        "{} transactions, of which {} stand",
        quantity::grouped(statement.transactions.len() as u64),
        quantity::grouped(standing as u64),
    )
}

/// The books, and whether they balance.
fn finish(out: &mut dyn Write, statement: &Statement) -> Result<(), CommandError> {
    writeln!(out, "did         {}", sum_up(statement))?;
    for bank in statement.banks.iter().filter(|bank| bank.accounts > 0 || bank.repeats > 0) {
        writeln!(out, "books       {}", row(bank))?;
    }
    let broken: Vec<String> = statement
        .banks
        .iter()
        .filter_map(|bank| {
            let imbalance = bank.imbalance.as_ref()?;
            Some(format!("the books of {} do not balance: {imbalance}", bank.name))
        })
        .collect();
    if !broken.is_empty() {
        return Err(CommandError::Failed(broken.join("\n")));
    }
    writeln!(out, "stopped     the banks' books balance")?;
    Ok(())
}

fn row(bank: &BankTotals) -> String {
    format!(
        "{}: {} accounts, {} debits, {} given back, {} holds, {} ended, {} repeats, {} reversals \
         of nothing known",
        bank.name,
        quantity::grouped(bank.accounts),
        quantity::grouped(bank.approved.count),
        quantity::grouped(bank.reversed.count),
        quantity::grouped(bank.holds.count),
        quantity::grouped(bank.holds_ended.count),
        quantity::grouped(bank.repeats),
        quantity::grouped(bank.reversals_unmatched),
    )
}

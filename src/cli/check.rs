//! `tapswitch check FILE`: every mistake of a configuration, or what it means.

mod journal;
mod requestors;
mod stand_in;
mod velocity;

use super::quantity::{bytes, grouped};
use super::{CommandError, Streams};
use crate::config::{
    AcquirerConfig, AdminConfig, EngineChoice, Host, Idle, IssuerConfig, IssuerLinkConfig, Loaded,
    SwitchConfig,
};
use crate::shard::IssuerId;
use crate::shard::preauthorization::HOLD_BYTES;
use clap::Args;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use tapswitch_protocol::Framing;

/// What `check` can be told.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    /// The configuration file
    pub file: PathBuf,
}

/// Bytes that a waiting request takes, its kept fields included: most fit the middle slot size.
const PENDING_BYTES: u64 = 512;
/// Bytes of an account; its bank's table is at most half full.
const ACCOUNT_BYTES: u64 = 2 * 32;

/// Checks a file and sums it up.
pub(super) fn run(args: &CheckArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let host = Host::here();
    let loaded = Loaded::from_file(&args.file, &host)?;
    for warning in &loaded.warnings {
        writeln!(streams.problems, "warning: {warning}")?;
    }
    let doubts = journal::doubts(&loaded.config);
    for doubt in &doubts {
        writeln!(streams.problems, "warning: {}: {doubt}", args.file.display())?;
    }
    let out = &mut *streams.output;
    match loaded.warnings.len() + doubts.len() {
        0 => writeln!(out, "{}: no problems", args.file.display())?,
        1 => writeln!(out, "{}: no problems, 1 warning", args.file.display())?,
        count => writeln!(out, "{}: no problems, {count} warnings", args.file.display())?,
    }
    for acquirer in &loaded.config.acquirers {
        show_acquirer(out, acquirer)?;
    }
    show_switch(out, &loaded.config.switch, &host)?;
    show_issuers(out, &loaded)?;
    velocity::show(out, &loaded.config)?;
    requestors::show(out, &loaded.config)?;
    stand_in::show(out, &loaded.config)?;
    journal::show(out, &loaded.config)?;
    show_memory(out, &loaded)?;
    show_repeats(out, &loaded)?;
    show_operators(out, &loaded.config.admin)
}

fn show_acquirer(out: &mut dyn Write, acquirer: &AcquirerConfig) -> io::Result<()> {
    let framing = framing_name(acquirer.framing);
    let sign_on = if acquirer.sign_on_required { "required" } else { "not required" };
    writeln!(
        out,
        "acquirer  {} at {}: dialect {}, framing {framing}, sign-on {sign_on}",
        acquirer.name,
        acquirer.listen,
        acquirer.dialect.name(),
    )?;
    let session = &acquirer.session;
    if session.echo_idle_ms != 0 {
        let (idle_ms, misses) = (session.echo_idle_ms, session.echo_misses);
        writeln!(out, "          echoes after {idle_ms} ms idle, closed after {misses} missed")?;
    }
    if session.connections_max != 0 {
        let further = if session.takeover { "takes the oldest's place" } else { "is refused" };
        let most = session.connections_max;
        writeln!(
            out,
            "          at most {most} connections, on one shard; a further one {further}"
        )?;
    }
    writeln!(
        out,
        "          answers within {} ms, of which issuers have {}; transit {} and {}",
        grouped(acquirer.answer_within_ms),
        grouped(acquirer.answer_within_ms - acquirer.answer_margin_ms),
        grouped(acquirer.transit_answer_within_ms),
        grouped(acquirer.transit_answer_within_ms - acquirer.transit_answer_margin_ms),
    )?;
    let key: Vec<String> = acquirer.duplicate_key.into_iter().map(|de| de.to_string()).collect();
    writeln!(out, "          a transaction is named by DE {}", key.join(" "))
}

fn show_switch(out: &mut dyn Write, switch: &SwitchConfig, host: &Host) -> io::Result<()> {
    let engine = match switch.engine {
        EngineChoice::Auto => "io_uring, or epoll where that is refused",
        EngineChoice::TokioUring => "io_uring",
        EngineChoice::Tokio => "epoll",
    };
    let idle = match switch.idle {
        Idle::Park => "sleep when idle",
        Idle::Spin => "spin when idle",
    };
    let pinned = match switch.cores.as_slice() {
        [] => "not pinned".to_owned(),
        cores => format!("pinned to cores {cores:?}"),
    };
    let (shards, cores) = (switch.shards, host.cores.len());
    writeln!(out, "shards    {shards} on {cores} cores, {pinned}, {idle}; {engine}")?;
    match switch.cutoff {
        Some(cutoff) => writeln!(
            out,
            "cut-off   {cutoff}: a settlement date ends there; answers without DE 15 state it"
        ),
        None => writeln!(
            out,
            "cut-off   midnight UTC: a settlement date ends there; answers state none of their own"
        ),
    }
}

fn show_issuers(out: &mut dyn Write, loaded: &Loaded) -> io::Result<()> {
    let config = &loaded.config;
    writeln!(
        out,
        "issuers   {}, {} IIN prefixes",
        config.issuers.len(),
        grouped(config.iins.len() as u64)
    )?;
    let shown: Vec<String> = config
        .issuers
        .iter()
        .enumerate()
        .map(|(place, issuer)| {
            let own = config.iins.iter().filter(|row| usize::from(row.issuer.0) == place);
            format!("{} {}", issuer.name, own.count())
        })
        .collect();
    for line in shown.chunks(7) {
        writeln!(out, "          {}", line.join(", "))?;
    }
    show_rates(out, &config.issuers)?;
    for issuer in &config.issuers {
        if let Some(link) = &issuer.link {
            let (name, dialect) = (&issuer.name, link.dialect.name());
            let framing = framing_name(link.framing);
            writeln!(out, "          {name} at {link}: dialect {dialect}, framing {framing}")?;
            writeln!(out, "            {}", session_of(link))?;
            if let Some(second) = issuer.failover.and_then(|it| config.issuers.get(place(it))) {
                writeln!(out, "            then by {}", second.name)?;
            }
        }
    }
    Ok(())
}

/// How fast issuers are told what they are owed; those with a rate of their own by name.
fn show_rates(out: &mut dyn Write, issuers: &[IssuerConfig]) -> io::Result<()> {
    let mut rates: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for issuer in issuers {
        rates.entry(issuer.saf_rate).or_default().push(&issuer.name);
    }
    let usual = rates.values().map(Vec::len).max();
    let shown: Vec<String> = rates
        .iter()
        .map(|(&rate, names)| {
            let rate = grouped(u64::from(rate));
            if Some(names.len()) == usual { rate } else { format!("{rate} to {}", names.join(" ")) }
        })
        .collect();
    let shown = shown.join(", ");
    writeln!(out, "          messages owed a second after an outage: {shown}")
}

fn place(issuer: IssuerId) -> usize {
    usize::from(issuer.0)
}

fn session_of(link: &IssuerLinkConfig) -> String {
    let sign_on = if link.sign_on { "after sign-on" } else { "without sign-on" };
    let breaker = match link.breaker_timeouts {
        0 => String::new(),
        timeouts => format!(", given up after {timeouts} time-outs in a row"),
    };
    let totals = if link.reconciles { ", totals after each cut-off" } else { "" };
    format!(
        "{} connections a shard, {sign_on}, {} echoes missed after {} ms idle{breaker}{totals}",
        link.connections, link.echo_misses, link.echo_idle_ms
    )
}

const fn framing_name(framing: Framing) -> &'static str {
    match framing {
        Framing::Cups => "cups",
        Framing::Be2 => "be2",
        Framing::Be2Tpdu => "be2-tpdu",
    }
}

fn show_memory(out: &mut dyn Write, loaded: &Loaded) -> io::Result<()> {
    let (config, shards) = (&loaded.config, loaded.config.switch.shards as u64);
    let lines = config.velocity.lines as u64;
    let pending = config.switch.pending_max as u64;
    let banks = config.issuers.iter().filter(|issuer| issuer.link.is_none()).count() as u64;
    let accounts = config.bank.accounts_max as u64 * banks;
    let velocity_bytes = lines * config.velocity.line_bytes() as u64;
    let duplicate_bytes = config.switch.duplicates_bytes as u64 * shards;
    let original_bytes = config.switch.originals_bytes as u64 * shards;
    let pending_bytes = pending * PENDING_BYTES * shards;
    let account_bytes = accounts * ACCOUNT_BYTES * shards;
    let holds = config.switch.preauthorizations_max as u64;
    let rows = [
        (velocity_bytes, format!("velocity, {} cards", grouped(lines))),
        (
            duplicate_bytes,
            format!("answers for repeats, {shards} x {}", bytes(duplicate_bytes / shards)),
        ),
        (
            config.velocity.scope_bytes() as u64 * shards,
            format!(
                "terminals, merchants, acquirers, tokens, {shards} x {} counters x {}",
                config.velocity.scope_counters.len(),
                grouped(config.velocity.entities as u64)
            ),
        ),
        (
            original_bytes,
            format!("originals for reversals, {shards} x {}", bytes(original_bytes / shards)),
        ),
        (
            pending_bytes,
            format!("requests at issuers (about), {shards} x {} at most", grouped(pending)),
        ),
        (
            holds * HOLD_BYTES as u64 * shards,
            format!("open pre-authorizations, {shards} x {}", grouped(holds)),
        ),
        (
            journal::buffer_bytes(config),
            format!("records on their way to the disk, {shards} x 2 buffers"),
        ),
        (account_bytes, format!("bank accounts, {shards} x {} at most", grouped(accounts))),
    ];
    let all: u64 = rows.iter().map(|(size, _)| size).sum();
    writeln!(out, "memory    {} when everything is in use:", bytes(all))?;
    for (size, owner) in rows.iter().filter(|(size, _)| *size > 0) {
        writeln!(out, "          {:>10}  {owner}", bytes(*size))?;
    }
    Ok(())
}

fn show_operators(out: &mut dyn Write, admin: &AdminConfig) -> Result<(), CommandError> {
    let socket = admin.socket.as_ref().map(|path| path.display().to_string());
    let http = admin.http.map(|address| match admin.token_file {
        Some(_) => format!("http://{address}, changes with a token"),
        None => format!("http://{address}, read only"),
    });
    let audit = admin.audit_file.as_ref().map(|path| format!("audit in {}", path.display()));
    let shown: Vec<String> = [socket, http, audit].into_iter().flatten().collect();
    let shown = if shown.is_empty() { "no port".to_owned() } else { shown.join("; ") };
    Ok(writeln!(out, "operators {shown}")?)
}

fn show_repeats(out: &mut dyn Write, loaded: &Loaded) -> io::Result<()> {
    let capacity = &loaded.capacity;
    writeln!(
        out,
        "repeats   about {} answers a shard: {:.1} s at {} a second; acquirers repeat for {} s",
        grouped(capacity.duplicates_max),
        capacity.duplicates_cover_ms as f64 / 1e3,
        grouped(capacity.peak_per_second),
        grouped(capacity.retry_window_s),
    )?;
    writeln!(
        out,
        "reversals {} originals a shard: {:.1} s at {} a second",
        grouped(capacity.originals_max),
        capacity.originals_cover_ms as f64 / 1e3,
        grouped(capacity.peak_per_second),
    )?;
    let config = &loaded.config;
    if config.velocity.scope_counters.is_empty() {
        return Ok(());
    }
    let transactions = config.velocity.entity_transactions as u64;
    let covered = (transactions * config.switch.shards as u64) as f64;
    writeln!(
        out,
        "          {} transactions a shard can be given back to terminals, merchants, acquirers and \
         tokens: {:.1} s",
        grouped(transactions),
        covered / capacity.peak_per_second as f64,
    )
}

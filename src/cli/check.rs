//! `tapswitch check FILE`: every mistake of a configuration, or what it means.

use super::quantity::{amount, bytes, duration_s, grouped};
use super::{CommandError, Streams};
use crate::config::{
    AcquirerConfig, EngineChoice, Host, Idle, Loaded, SwitchConfig, TransactionKind,
    VelocityCondition, VelocityConfig, VelocityCounter, VelocityLimit, VelocityWindow,
};
use crate::limits::CARD_KEY_BYTES;
use clap::Args;
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
    let out = &mut *streams.output;
    match loaded.warnings.len() {
        0 => writeln!(out, "{}: no problems", args.file.display())?,
        1 => writeln!(out, "{}: no problems, 1 warning", args.file.display())?,
        count => writeln!(out, "{}: no problems, {count} warnings", args.file.display())?,
    }
    for acquirer in &loaded.config.acquirers {
        show_acquirer(out, acquirer)?;
    }
    show_switch(out, &loaded.config.switch, &host)?;
    show_issuers(out, &loaded)?;
    show_velocity(out, &loaded.config.velocity)?;
    show_memory(out, &loaded)?;
    show_repeats(out, &loaded)?;
    Ok(())
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
    writeln!(out, "shards    {shards} on {cores} cores, {pinned}, {idle}; {engine}")
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
    for issuer in &config.issuers {
        if let Some(link) = &issuer.link {
            let (name, dialect) = (&issuer.name, link.dialect.name());
            let framing = framing_name(link.framing);
            let at = link.address;
            writeln!(out, "          {name} at {at}: dialect {dialect}, framing {framing}")?;
        }
    }
    Ok(())
}

const fn framing_name(framing: Framing) -> &'static str {
    match framing {
        Framing::Cups => "cups",
        Framing::Be2 => "be2",
        Framing::Be2Tpdu => "be2-tpdu",
    }
}

fn show_velocity(out: &mut dyn Write, velocity: &VelocityConfig) -> io::Result<()> {
    let line_bytes = velocity.line_bytes();
    writeln!(
        out,
        "velocity  {} counters in {} of the {} words of a card's line of {line_bytes} bytes, {} \
         limits",
        velocity.counters.len(),
        velocity.words_used(),
        (line_bytes - CARD_KEY_BYTES) / 8,
        velocity.limits.len(),
    )?;
    for counter in &velocity.counters {
        writeln!(out, "          counter {}", describe_counter(counter))?;
    }
    for limit in &velocity.limits {
        writeln!(out, "          limit {}", describe_limit(limit, velocity))?;
    }
    Ok(())
}

fn describe_counter(counter: &VelocityCounter) -> String {
    let zone = |minutes: i32| {
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    };
    let window = match counter.window {
        VelocityWindow::Day { zone_offset_minutes } => {
            format!("a day ({})", zone(zone_offset_minutes))
        }
        VelocityWindow::Month { zone_offset_minutes } => {
            format!("a month ({})", zone(zone_offset_minutes))
        }
        VelocityWindow::Fixed { window_s } => format!("{} (fixed)", duration_s(window_s.into())),
        VelocityWindow::Rolling { window_s, sub_windows } => {
            let parts = if sub_windows == 1 { "part" } else { "parts" };
            format!("{} (rolling in {sub_windows} {parts})", duration_s(window_s.into()))
        }
    };
    let reset = if counter.resets_on_pin { ", set back by PIN" } else { "" };
    format!("{}: per card and {window}{reset}, {}", counter.name, describe_when(&counter.when))
}

fn describe_limit(limit: &VelocityLimit, velocity: &VelocityConfig) -> String {
    let count = limit.count_max.map(|count| format!("{} transactions", grouped(count.into())));
    let sum = limit.amount_minor_max.map(|minor| format!("amount {}", amount(minor)));
    let most: Vec<String> = [count, sum].into_iter().flatten().collect();
    let of = limit.counter.and_then(|place| velocity.counters.get(place));
    let by = of.map_or_else(|| "a transaction".to_owned(), |counter| counter.name.clone());
    let code = limit.code.map_or_else(String::new, |code| format!(", answered {code}"));
    format!("{}: {} by {by}{code}, {}", limit.name, most.join(" and "), describe_when(&limit.when))
}

fn describe_when(when: &VelocityCondition) -> String {
    let mut of = Vec::new();
    let mut list = |name: &str, values: Vec<String>| {
        if !values.is_empty() {
            of.push(format!("{name} {}", values.join(" ")));
        }
    };
    let kinds = TransactionKind::NAMES.iter();
    let kinds = kinds.filter(|(_, kind)| when.transaction_kinds.contains(kind));
    list("kind", kinds.map(|(name, _)| (*name).to_owned()).collect());
    list("type", when.transaction_types.iter().map(|of| format!("{of:02}")).collect());
    list("MCC", when.mccs.iter().map(|mcc| format!("{mcc:04}")).collect());
    list("entry mode", when.entry_modes.iter().map(|mode| format!("{mode:02}")).collect());
    list("PIN", when.pin.iter().map(|pin| format!("{pin:?}").to_lowercase()).collect());
    let iin = |&(from, to): &(u32, u32)| format!("{from:09}-{to:09}");
    list("IIN", when.iins.iter().map(iin).collect());
    list("currency", when.currencies.iter().map(|code| format!("{code:03}")).collect());
    list("QR code", when.qr_code.iter().map(|code| format!("{code:?}").to_lowercase()).collect());
    list("QR level", when.qr_levels.iter().map(|level| format!("{level:?}")).collect());
    if of.is_empty() {
        return "of all transactions".to_owned();
    }
    format!("of {}", of.join(" and "))
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
    let rows = [
        (velocity_bytes, format!("velocity, {} cards", grouped(lines))),
        (
            duplicate_bytes,
            format!("answers for repeats, {shards} x {}", bytes(duplicate_bytes / shards)),
        ),
        (
            original_bytes,
            format!("originals for reversals, {shards} x {}", bytes(original_bytes / shards)),
        ),
        (
            pending_bytes,
            format!("requests at issuers (about), {shards} x {} at most", grouped(pending)),
        ),
        (account_bytes, format!("bank accounts, {shards} x {} at most", grouped(accounts))),
    ];
    let all: u64 = rows.iter().map(|(size, _)| size).sum();
    writeln!(out, "memory    {} when everything is in use:", bytes(all))?;
    for (size, owner) in rows {
        writeln!(out, "          {:>10}  {owner}", bytes(size))?;
    }
    Ok(())
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
    )
}

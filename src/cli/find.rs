//! `tapswitch find DIR --rrn R | --stan S`: what happened to a transaction, step by step, from the
//! outcome log.
//!
//! Steps belong together when acquirer, reference number and card agree (without a reference number:
//! trace number and DE 7), so a reversal stands with its original. The log is read twice: for what is
//! asked, and for all that belongs to it. Not here: the log's files (`io::outcome_log`).

use super::quantity::{amount, grouped};
use super::{CommandError, Streams};
use crate::io::clock::moment;
use crate::io::outcome_log::{Names, OutcomeFile, paths};
use crate::shard::outcome::{NO_ISSUER, Outcome};
use clap::Args;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use tapswitch_protocol::ResponseCode;

/// What `find` can be told.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["rrn", "stan"]))]
pub struct FindArgs {
    /// The folder of the outcome log: `dir` in the configuration
    pub dir: PathBuf,
    /// Retrieval reference number, DE 37
    #[arg(long, value_name = "R")]
    pub rrn: Option<String>,
    /// System trace audit number, DE 11, of a transaction or of the original that it names
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=999_999))]
    pub stan: Option<u32>,
    /// Only this acquirer's
    #[arg(long, value_name = "A")]
    pub acquirer: Option<String>,
    /// Print a list of transactions as JSON
    #[arg(long)]
    pub json: bool,
}

/// What steps of one transaction have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    acquirer: String,
    rrn: String,
    /// Of one without a reference number.
    numbers: (u32, u32),
    card: String,
}

/// One transaction.
#[derive(Debug, Serialize)]
struct Transaction {
    acquirer: String,
    rrn: String,
    card: String,
    terminal: String,
    merchant: String,
    amount_minor: u64,
    currency: u16,
    steps: Vec<Step>,
}

/// What happened once.
#[derive(Debug, Serialize)]
struct Step {
    wall_ms: u64,
    mti: String,
    stan: u32,
    what: String,
    meaning: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<IssuerLeg>,
    switch_before_ns: u32,
    switch_after_ns: u32,
    shard: u8,
}

/// What was exchanged with an issuer.
#[derive(Debug, Serialize)]
struct IssuerLeg {
    name: String,
    stan: u32,
    transmission_time: u32,
    time_ns: u64,
}

/// Shows every transaction that is asked for.
pub(super) fn run(args: &FindArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let mut keys = BTreeSet::new();
    let searched = for_each(args, |names, outcome| {
        if is_asked(args, outcome) {
            keys.insert(Key::of(names, outcome));
        }
    })?;
    if searched.damaged > 0 {
        let damaged = grouped(searched.damaged);
        writeln!(streams.problems, "warning: {damaged} damaged entries were passed over")?;
    }
    if keys.is_empty() {
        return Err(CommandError::Failed(nothing_found(args, &searched)));
    }
    let mut found: BTreeMap<Key, Transaction> = BTreeMap::new();
    for_each(args, |names, outcome| {
        let key = Key::of(names, outcome);
        if keys.contains(&key) {
            let transaction =
                found.entry(key.clone()).or_insert_with(|| Transaction::of(key, outcome));
            transaction.add(names, outcome);
        }
    })?;
    let mut found: Vec<Transaction> = found.into_values().collect();
    for transaction in &mut found {
        // Shards and files take turns; what one shard wrote is in order.
        transaction.steps.sort_by_key(|step| step.wall_ms);
    }
    found.sort_by_key(|transaction| transaction.steps.first().map(|step| step.wall_ms));
    if args.json {
        serde_json::to_writer_pretty(&mut *streams.output, &found).map_err(io::Error::from)?;
        writeln!(streams.output)?;
        return Ok(());
    }
    for (place, transaction) in found.iter().enumerate() {
        if place > 0 {
            writeln!(streams.output)?;
        }
        transaction.show(streams.output)?;
    }
    Ok(())
}

/// What was looked through.
struct Searched {
    files: usize,
    entries: u64,
    damaged: u64,
    span_ms: Option<(u64, u64)>,
}

/// Visits every entry of the acquirer asked for.
fn for_each(
    args: &FindArgs,
    mut visit: impl FnMut(&Names, &Outcome),
) -> Result<Searched, CommandError> {
    let failed = |error: crate::io::outcome_log::ReadError| CommandError::Failed(error.to_string());
    let mut searched = Searched { files: 0, entries: 0, damaged: 0, span_ms: None };
    for path in paths(&args.dir).map_err(failed)? {
        let Some(mut file) = OutcomeFile::open(&path).map_err(failed)? else { continue };
        searched.files += 1;
        let names = file.names().clone();
        while let Some(outcome) = file.next_outcome().map_err(failed)? {
            searched.entries += 1;
            let (first, last) = searched.span_ms.unwrap_or((outcome.wall_ms, outcome.wall_ms));
            searched.span_ms = Some((first.min(outcome.wall_ms), last.max(outcome.wall_ms)));
            let acquirer = name(&names.acquirers, outcome.acquirer);
            if args.acquirer.as_ref().is_none_or(|wanted| *wanted == acquirer) {
                visit(&names, &outcome);
            }
        }
        searched.damaged += file.damaged();
    }
    Ok(searched)
}

fn is_asked(args: &FindArgs, outcome: &Outcome) -> bool {
    let rrn = |wanted: &String| text(&outcome.rrn) == wanted.trim();
    args.rrn.as_ref().is_some_and(rrn)
        || args.stan.is_some_and(|stan| outcome.stan == stan || outcome.original_stan == stan)
}

fn nothing_found(args: &FindArgs, searched: &Searched) -> String {
    let mut asked = match (&args.rrn, args.stan) {
        (Some(rrn), _) => format!("RRN {}", printable(rrn.trim().as_bytes())),
        (None, stan) => format!("STAN {:06}", stan.unwrap_or_default()),
    };
    if let Some(acquirer) = &args.acquirer {
        asked += &format!(" of acquirer {}", printable(acquirer.as_bytes()));
    }
    let (entries, files) = (grouped(searched.entries), searched.files);
    let span = searched.span_ms.map_or_else(String::new, |(first, last)| {
        format!(", {} to {}", moment(first), moment(last))
    });
    format!("nothing found for {asked}: {entries} entries in {files} files{span}")
}

impl Key {
    fn of(names: &Names, outcome: &Outcome) -> Self {
        let rrn = text(&outcome.rrn);
        Self {
            acquirer: name(&names.acquirers, outcome.acquirer),
            numbers: match rrn.is_empty() {
                true => (outcome.stan, outcome.transmission_time),
                false => (0, 0),
            },
            rrn,
            card: outcome.card.to_string(),
        }
    }
}

impl Transaction {
    fn of(key: Key, outcome: &Outcome) -> Self {
        Self {
            acquirer: key.acquirer,
            rrn: key.rrn,
            card: key.card,
            terminal: text(&outcome.terminal),
            merchant: text(&outcome.merchant),
            amount_minor: outcome.amount_minor,
            currency: outcome.currency,
            steps: Vec::new(),
        }
    }

    fn add(&mut self, names: &Names, outcome: &Outcome) {
        let of_number = names.what.get(usize::from(outcome.what)).cloned();
        let (what, meaning) = of_number.unwrap_or_default();
        let is_limit = what.contains("limit") || what.contains("standin");
        let detail = Some(outcome.detail).filter(|detail| *detail > 0);
        let leg = IssuerLeg {
            name: name(&names.issuers, outcome.issuer),
            stan: outcome.issuer_stan,
            transmission_time: outcome.issuer_transmission_time,
            time_ns: outcome.issuer_ns,
        };
        self.steps.push(Step {
            wall_ms: outcome.wall_ms,
            mti: format!("{:04}", outcome.mti),
            stan: outcome.stan,
            what,
            meaning,
            code: Some(text(&outcome.code)).filter(|code| !code.is_empty()),
            limit: detail.filter(|_| is_limit).map(|limit| name(&names.limits, limit - 1)),
            field: detail.filter(|_| !is_limit),
            issuer: (outcome.issuer != NO_ISSUER).then_some(leg),
            switch_before_ns: outcome.before_ns,
            switch_after_ns: outcome.after_ns,
            shard: outcome.shard,
        });
    }

    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { acquirer, card, rrn, terminal, merchant, currency, .. } = self;
        let rrn = if rrn.is_empty() { "none" } else { rrn };
        let amount = amount(self.amount_minor);
        writeln!(out, "{card}  {amount} in {currency:03}  acquirer {acquirer}, RRN {rrn}")?;
        writeln!(out, "terminal {terminal}, merchant {merchant}")?;
        self.steps.iter().try_for_each(|step| step.show(out))
    }
}

impl Step {
    fn show(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { mti, stan, what, meaning, .. } = self;
        let stan = if *stan == 0 { String::new() } else { format!(" {stan:06}") };
        writeln!(out, "  {}  {mti}{stan}  {what}: {meaning}", moment(self.wall_ms))?;
        let mut parts = Vec::new();
        if let Some(limit) = &self.limit {
            parts.push(format!("limit `{limit}`"));
        }
        if let Some(field) = self.field {
            parts.push(format!("DE {field}"));
        }
        if let Some(code) = &self.code {
            let known = ResponseCode::from_wire(code.as_bytes());
            parts.push(format!("code {code} ({})", known.map_or("other", ResponseCode::meaning)));
        }
        if let Some(leg) = &self.issuer {
            let IssuerLeg { name, stan, transmission_time, time_ns } = leg;
            let took = if *time_ns == 0 { String::new() } else { format!(", {}", time(*time_ns)) };
            parts.push(format!(
                "issuer {name} (DE 11 {stan:06}, DE 7 {transmission_time:010}{took})"
            ));
        }
        let (before, after) = (u64::from(self.switch_before_ns), u64::from(self.switch_after_ns));
        if self.code.is_some() {
            parts.push(match before {
                0 => format!("switch {}", time(after)),
                _ => format!("switch {} before, {} after", time(before), time(after)),
            });
        }
        match parts.is_empty() {
            true => Ok(()),
            false => writeln!(out, "      {}", parts.join("; ")),
        }
    }
}

/// The name with this number; of a number without one, the number.
fn name(names: &[String], number: u8) -> String {
    names.get(usize::from(number)).cloned().unwrap_or_else(|| format!("#{number}"))
}

/// What a peer wrote, without what a terminal would obey.
fn printable(bytes: &[u8]) -> String {
    let shown = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
    bytes.iter().map(shown).collect()
}

/// A field without the zeros that fill it up, and without spaces around it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    printable(bytes.get(..end).unwrap_or_default()).trim().to_owned()
}

/// A length of time in the unit that suits it.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{:.1} µs", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.2} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_wrote_cannot_move_the_cursor() {
        assert_eq!(text(b"AB\x1B[2J\0\0"), "AB.[2J");
        assert_eq!(text(b"  A1  \0"), "A1");
        assert_eq!(text(&[0; 12]), "");
    }
}

//! A switch's parts as tables: words to the left, numbers to the right.

use super::Shown;
use crate::admin::status::{ShardStatus, Status};
use crate::cli::quantity::{amount, bytes, duration_s, grouped};
use crate::io::clock::moment;
use crate::shard::levels::Level;
use std::io::{Result, Write};

/// Shows one part.
pub(super) fn show(out: &mut dyn Write, what: Shown, status: &Status) -> Result<()> {
    match what {
        Shown::Issuers => issuers(out, status),
        Shown::Links => links(out, status),
        Shown::Shards => shards(out, status),
        Shown::Pending => pending(out, status),
        Shown::Totals => totals(out, status),
        Shown::LastErrors => last_errors(out, status),
        Shown::Parked => super::parked::show(out, status),
        Shown::Config => {
            for (key, value) in &status.config {
                writeln!(out, "{key} = {value}")?;
            }
            Ok(())
        }
    }
}

/// Cells under their headings. A heading that begins with `>` has numbers under it.
pub(super) struct Table {
    headings: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let titles = self.headings.iter().map(|it| it.trim_start_matches('>').to_owned());
        let titles: Vec<String> = titles.collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&titles]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..titles.len()).map(width).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let cells = row.iter().zip(&widths).zip(&self.headings);
            let line = cells.map(|((cell, width), heading)| match heading.starts_with('>') {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            writeln!(out, "{}", line.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn time(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 1_000 => format!("{us} us"),
        Some(us) if us < 1_000_000 => format!("{} ms", us / 1_000),
        Some(us) => format!("{} s", us / 1_000_000),
    }
}

fn issuers(out: &mut dyn Write, status: &Status) -> Result<()> {
    let mut table = Table::new(&[
        "issuer",
        "at",
        ">shards",
        ">in flight",
        ">of",
        ">owed",
        ">answered",
        ">p50",
        ">p99",
        ">iins",
    ]);
    let shards = status.shards.len();
    for issuer in &status.issuers {
        table.rows.push(vec![
            issuer.name.clone(),
            issuer.address.clone().unwrap_or_else(|| "in process".to_owned()),
            format!("{}/{shards}", issuer.shards_up),
            grouped(issuer.in_flight),
            grouped(issuer.in_flight_max),
            grouped(issuer.owed),
            grouped(issuer.answered),
            time(issuer.p50_us),
            time(issuer.p99_us),
            grouped(issuer.iins),
        ]);
    }
    table.write(out)
}

fn links(out: &mut dyn Write, status: &Status) -> Result<()> {
    if status.links.is_empty() {
        return writeln!(out, "no links: the banks of all issuers are in this process");
    }
    let mut table =
        Table::new(&["issuer", ">shard", "at", "dialect", "state", ">in flight", ">owed"]);
    for link in &status.links {
        table.rows.push(vec![
            link.issuer.clone(),
            link.shard.to_string(),
            link.address.clone(),
            link.dialect.clone(),
            if link.is_up { "up" } else { "down" }.to_owned(),
            grouped(link.in_flight),
            grouped(link.owed),
        ]);
    }
    table.write(out)
}

fn level(shard: &ShardStatus, level: Level) -> u64 {
    shard.levels.get(level.name()).copied().unwrap_or_default()
}

fn shards(out: &mut dyn Write, status: &Status) -> Result<()> {
    let (phase, engine) = (status.phase.name(), &status.engine);
    let ready = status.not_ready.as_deref().unwrap_or("ready");
    writeln!(out, "{phase}, {ready}; epoch {}; {engine}", status.epoch)?;
    let mut table = Table::new(&[
        ">shard",
        ">connections",
        ">received",
        ">by issuers",
        ">by itself",
        ">repeats",
        ">cards",
        ">lines",
        ">lsn",
        ">durable",
        ">snapshot",
    ]);
    for shard in &status.shards {
        let count = |name: &str| grouped(shard.counters.get(name).copied().unwrap_or_default());
        let journal = shard.journal.as_ref();
        let of_journal = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
        let age = journal.and_then(|journal| journal.snapshot_age_s);
        table.rows.push(vec![
            shard.shard.to_string(),
            grouped(shard.connections),
            count("received"),
            count("answered{issuer}"),
            count("answered{switch}"),
            count("duplicate{replayed}"),
            grouped(level(shard, Level::CardsCounting)),
            grouped(level(shard, Level::CardsRoom)),
            of_journal(journal.map(|journal| journal.last_lsn)),
            of_journal(journal.map(|journal| journal.durable_lsn)),
            age.map_or_else(|| "-".to_owned(), |age| format!("{age} s ago")),
        ]);
    }
    table.write(out)?;
    let memory = bytes(status.process.resident_bytes);
    let files = status.process.open_files;
    writeln!(out, "process {}: {memory}, {files} files open", status.process.pid)
}

fn pending(out: &mut dyn Write, status: &Status) -> Result<()> {
    let mut table = Table::new(&["what", ">shard", ">now", ">room", "since"]);
    for shard in &status.shards {
        let mut row = |what: &str, now, room, since: Option<u64>| {
            table.rows.push(vec![
                what.to_owned(),
                shard.shard.to_string(),
                grouped(level(shard, now)),
                grouped(level(shard, room)),
                since.map(moment).unwrap_or_default(),
            ]);
        };
        row("requests at issuers", Level::Pending, Level::PendingRoom, None);
        row("owed to issuers", Level::Owed, Level::OwedRoom, shard.owed_since_ms);
        row("open pre-authorizations", Level::Holds, Level::HoldsRoom, None);
    }
    table.write(out)
}

fn totals(out: &mut dyn Write, status: &Status) -> Result<()> {
    let totals = &status.totals;
    let left = duration_s(totals.ends_ms.saturating_sub(status.wall_ms).div_ceil(60_000) * 60);
    writeln!(out, "settlement date {}, cut-off {}, {left} left", totals.date, totals.cutoff)?;
    let mut table = Table::new(&[
        "date",
        "of",
        "name",
        ">debits",
        ">CNY",
        ">reversed",
        ">CNY",
        ">credits",
        ">CNY",
        ">reversed",
        ">CNY",
        ">transfers",
        ">other",
        ">net CNY",
    ]);
    for row in totals.rows.iter().filter(|row| row.is_current || !row.is_empty()) {
        let net = row.net_minor();
        let sign = if net < 0 { "-" } else { "" };
        let mut cells = vec![row.date.clone(), row.of.name().to_owned(), row.name.clone()];
        for tally in [row.debits, row.debits_reversed, row.credits, row.credits_reversed] {
            cells.extend([grouped(tally.count), amount(tally.amount_minor)]);
        }
        let transfers = row.transfers.count.saturating_sub(row.transfers_reversed.count);
        cells.push(grouped(transfers));
        cells.push(grouped(row.inquiries.saturating_add(row.authorizations)));
        let net = u64::try_from(net.unsigned_abs()).unwrap_or(u64::MAX);
        cells.push(format!("{sign}{}", amount(net)));
        table.rows.push(cells);
    }
    table.write(out)?;
    writeln!(out, "other: balance inquiries and pre-authorizations; --json has all of it apart")
}

fn last_errors(out: &mut dyn Write, status: &Status) -> Result<()> {
    if status.last_errors.is_empty() {
        return writeln!(out, "none since the start");
    }
    let mut table = Table::new(&["first", "last", ">times", "name", "what"]);
    for notable in &status.last_errors {
        table.rows.push(vec![
            moment(notable.wall_ms),
            moment(notable.last_ms),
            grouped(notable.times),
            notable.name.clone(),
            notable.text.clone(),
        ]);
    }
    table.write(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", ">count", "why"]);
        for (name, count) in [("a", "1"), ("longer", "123,456")] {
            table.rows.push(vec![name.to_owned(), count.to_owned(), String::new()]);
        }
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "name      count  why\na             1\nlonger  123,456\n");
    }
}

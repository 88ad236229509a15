//! Counters and limits as tables.

mod scopes;

use crate::cli::quantity::{amount, duration_s, grouped};
use crate::config::{
    Config, TransactionKind, VelocityCondition, VelocityCounter, VelocityLimit, VelocityWindow,
};
use crate::limits::CARD_KEY_BYTES;
use crate::memory::{self, TableMemory};
use std::io::{self, Write};

pub(super) fn show(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let velocity = &config.velocity;
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
    writeln!(out, "          table {}", table(velocity.table, memory::shared_has_huge_pages()))?;
    let counters = velocity.counters.iter().map(counter_row);
    show_table(out, ["counter", "per card and", "set back", "counts"], counters.collect())?;
    scopes::show(out, config)?;
    let limits = velocity.limits.iter().map(|limit| limit_row(limit, config));
    show_table(out, ["limit", "at most", "of", "code", "judges"], limits.collect())
}

/// Where the lines are, and what that means for an upgrade.
fn table(table: TableMemory, has_huge_pages: bool) -> &'static str {
    match (table, has_huge_pages) {
        (TableMemory::Private, false) => {
            "private: a process that takes over makes its own and reads the cards from the disk; shared \
             memory has no huge pages here (shmem_enabled) and would be slower"
        }
        (TableMemory::Private, true) => {
            "private: a process that takes over makes its own and reads the cards from the disk; \
             `table = \"shared\"` would be passed to it, and shared memory has huge pages here"
        }
        (TableMemory::Shared, true) => {
            "shared: a process that takes over is given it, as it is; it has huge pages here"
        }
        (TableMemory::Shared, false) => {
            "shared: a process that takes over is given it, as it is; shared memory has no huge pages \
             here (shmem_enabled): each card costs more than in a private table"
        }
    }
}

/// Columns as wide as what is in them.
fn show_table<const N: usize>(
    out: &mut dyn Write,
    titles: [&str; N],
    rows: Vec<[String; N]>,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<[String; N]> = std::iter::once(titles.map(str::to_owned)).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells.map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "          {}", line.join("  ").trim_end())?;
    }
    Ok(())
}

fn counter_row(counter: &VelocityCounter) -> [String; 4] {
    let reset = if counter.resets_on_pin { "by PIN" } else { "" };
    [counter.name.clone(), window(counter), reset.to_owned(), describe_when(&counter.when)]
}

fn window(counter: &VelocityCounter) -> String {
    let zone = |minutes: i32| {
        let sign = if minutes < 0 { '-' } else { '+' };
        format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    };
    match counter.window {
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
    }
}

fn limit_row(limit: &VelocityLimit, config: &Config) -> [String; 5] {
    let count = limit.count_max.map(|count| format!("{} transactions", grouped(count.into())));
    let sum = limit.amount_minor_max.map(amount);
    let most: Vec<String> = [sum, count].into_iter().flatten().collect();
    let counters = (&config.velocity.counters, &config.velocity.scope_counters);
    let of = limit.counter.and_then(|place| counters.0.get(place));
    let of = of.or_else(|| limit.scope_counter.and_then(|place| counters.1.get(place)));
    let of = of.map_or_else(|| "a transaction".to_owned(), |counter| counter.name.clone());
    let (name, when) = (limit.name.clone(), describe_when(&limit.when));
    [name, most.join(" and "), of, codes(limit, config), when]
}

/// Its own code, or those of the acquirers for what it limits.
fn codes(limit: &VelocityLimit, config: &Config) -> String {
    let mut codes = Vec::from_iter(limit.code);
    if codes.is_empty() {
        for acquirer in &config.acquirers {
            codes.extend(limit.amount_minor_max.map(|_| acquirer.codes.amount_limit));
            codes.extend(limit.count_max.map(|_| acquirer.codes.count_limit));
        }
    }
    let mut codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    codes.sort_unstable();
    codes.dedup();
    codes.join("/")
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
        let all = if when.stand_in { "approvals by stand-in" } else { "all transactions" };
        return all.to_owned();
    }
    if when.stand_in {
        of.push("by stand-in".to_owned());
    }
    of.join(" and ")
}

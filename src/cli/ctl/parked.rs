//! `tapswitch ctl show parked`, `release-parked` and `drop-parked`: messages that issuers refuse.

use super::tables::Table;
use super::{At, PATIENCE, json};
use crate::admin::ParkedReport;
use crate::admin::status::Status;
use crate::cli::quantity::grouped;
use crate::cli::{CommandError, Streams};
use crate::io::clock::moment;
use std::io::{Result, Write};

/// All that is parked, a row each.
pub(super) fn show(out: &mut dyn Write, status: &Status) -> Result<()> {
    if status.parked.is_empty() {
        return writeln!(out, "nothing is parked");
    }
    let mut table = Table::new(&[
        "message", "issuer", "acquirer", "mti", "card", ">minor", "rrn", "stan", "code", "since",
    ]);
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for message in &status.parked {
        table.rows.push(vec![
            message.message.clone(),
            or_dash(&message.issuer),
            message.acquirer.clone(),
            message.mti.clone(),
            or_dash(&message.card),
            message.amount_minor.map_or_else(|| "-".to_owned(), grouped),
            or_dash(&message.rrn),
            or_dash(&message.stan),
            message.code.clone(),
            moment(message.since_ms),
        ]);
    }
    table.write(out)?;
    if status.parked.iter().any(|message| message.issuer.is_none()) {
        writeln!(out, "without issuer: names neither card nor known original; it cannot be sent")?;
    }
    Ok(())
}

/// Tells the switch what becomes of a message: with a note it is dropped.
pub(super) fn order(
    at: &At,
    (message, note): (&str, Option<&str>),
    is_json: bool,
    streams: &mut Streams<'_>,
) -> std::result::Result<(), CommandError> {
    let what = if note.is_some() { "drop" } else { "release" };
    // It is part of a path.
    if !message.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        let what = format!("`{message}` is no message: SHARD-NUMBER, as in 0-17");
        return Err(CommandError::Refused { exit_code: 2, what });
    }
    let path = format!("/parked/{message}/{what}");
    let answer = at.tell(&path, note.unwrap_or_default(), PATIENCE)?;
    let report: ParkedReport = at.read(&answer)?;
    if is_json {
        json(&mut *streams.output, &report)?;
    }
    if !report.is_done {
        return Err(CommandError::Failed(report.said));
    }
    if !is_json {
        writeln!(streams.output, "{}", report.said)?;
    }
    Ok(())
}

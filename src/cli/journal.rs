//! `tapswitch journal inspect|verify DIR`: what a data directory holds, and whether all of it is as
//! it was written. Read only, also beside a running switch.
//!
//! Not here: what records mean (`shard::journal_record`).

use super::quantity::{bytes, grouped};
use super::{CommandError, Streams, journal_state};
use crate::io::clock::moment;
use crate::io::journal::{
    DirectoryReport, FORMAT_VERSION, Group, Inspection, ShardSummary, SnapshotSummary, inspect,
};
use crate::shard::journal_record::read_records;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `journal` can be told.
#[derive(Clone, Debug, Args)]
pub struct JournalArgs {
    /// What to do with it
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What can be done with a data directory.
#[derive(Clone, Debug, Subcommand)]
pub enum JournalCommand {
    /// Show segments, records, snapshots, a torn tail, damage
    Inspect(InspectArgs),
    /// The same, read every byte of every snapshot, and take every record apart
    Verify(VerifyArgs),
}

/// Which one, and how closely.
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// The data directory
    pub folder: PathBuf,
    /// Print every record of the journal, a line each; cards as short digests
    #[arg(long)]
    pub records: bool,
}

/// Which one, and against what.
#[derive(Clone, Debug, Args)]
pub struct VerifyArgs {
    /// The data directory
    pub folder: PathBuf,
    /// Rebuild the state from each snapshot by itself and compare: with the configuration of the
    /// switch, which must not run meanwhile; takes the memory and time of a start for each
    #[arg(long, value_name = "CONFIG")]
    pub state: Option<PathBuf>,
}

/// Shows a data directory.
pub(super) fn run(args: &JournalArgs, streams: &mut Streams<'_>) -> Result<(), CommandError> {
    let (folder, inspection, records) = match &args.command {
        JournalCommand::Inspect(InspectArgs { folder, records: false }) => {
            (folder, Inspection::Quick, Records::Counted)
        }
        JournalCommand::Inspect(InspectArgs { folder, records: true }) => {
            (folder, Inspection::Quick, Records::Printed)
        }
        JournalCommand::Verify(args) => (&args.folder, Inspection::Whole, Records::Read),
    };
    let mut reading = Reading { records, written: Ok(()), unreadable: None };
    let mut each = |shard, group: &Group<'_>| reading.take(shard, group, &mut *streams.output);
    let report = inspect(folder, inspection, &mut each)?;
    reading.written?;
    show(streams.output, folder, &report)?;
    if let Some(damage) = report.into_damage() {
        return Err(damage.into());
    }
    if let Some(what) = reading.unreadable {
        return Err(CommandError::Refused { exit_code: 65, what });
    }
    match &args.command {
        JournalCommand::Verify(VerifyArgs { folder, state: Some(config) }) => {
            journal_state::verify(folder, config, streams.output)
        }
        JournalCommand::Verify(_) | JournalCommand::Inspect(_) => Ok(()),
    }
}

/// What is done with records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Records {
    /// They are not looked into.
    Counted,
    /// Each is taken apart.
    Read,
    /// And printed.
    Printed,
}

/// Records being taken apart.
struct Reading {
    records: Records,
    /// How printing went.
    written: io::Result<()>,
    /// The first record that cannot be taken apart.
    unreadable: Option<String>,
}

impl Reading {
    fn take(&mut self, shard: u32, group: &Group<'_>, out: &mut dyn Write) {
        if self.records == Records::Counted {
            return;
        }
        let mut lsn = group.first_lsn;
        let read = read_records(group.records, |record| {
            if self.records == Records::Printed && self.written.is_ok() {
                let at = moment(record.wall_ms);
                self.written = writeln!(out, "shard {shard} {lsn:>12}  {at}  {record}");
            }
            lsn += 1;
        });
        let problem = match read {
            Ok(count) if count == u64::from(group.count) => return,
            Ok(count) => format!("{count} records where {} should be", group.count),
            Err(error) => error.to_string(),
        };
        let what = || format!("shard {shard}: record {lsn}: {problem}");
        self.unreadable.get_or_insert_with(what);
    }
}

fn show(out: &mut dyn Write, folder: &Path, report: &DirectoryReport) -> io::Result<()> {
    let id = u128::from_be_bytes(report.identity.directory);
    writeln!(out, "directory {}: format {FORMAT_VERSION}, id {id:032x}", folder.display())?;
    if report.in_use {
        writeln!(out, "          in use: what a running process writes meanwhile is not shown")?;
    }
    if report.generation > 1 {
        writeln!(out, "          generation {}: the layout was changed", report.generation)?;
    }
    for carried in &report.carried {
        match &carried.bytes {
            Ok(read) => writeln!(out, "carried   from the layout before; {} read", bytes(*read))?,
            Err(damage) => writeln!(out, "carried   DAMAGED   {damage}")?,
        }
    }
    report.shards.iter().try_for_each(|shard| show_shard(out, shard))
}

fn show_shard(out: &mut dyn Write, shard: &ShardSummary) -> io::Result<()> {
    let records = match shard.last_lsn {
        0 => "no records".to_owned(),
        last => format!("records {} to {}", grouped(shard.first_lsn), grouped(last)),
    };
    writeln!(
        out,
        "shard {:<3} {records}, {} in {} groups; {} segments, {} more lie ready",
        shard.shard,
        bytes(shard.record_bytes),
        grouped(shard.groups),
        shard.segments,
        shard.ready,
    )?;
    if shard.torn_bytes > 0 {
        let torn = bytes(shard.torn_bytes);
        writeln!(out, "          torn tail: {torn} of an interrupted commit; the next start cuts")?;
    }
    if let Some(damage) = &shard.damage {
        writeln!(out, "          DAMAGED   {damage}")?;
    }
    shard.snapshots.iter().try_for_each(|snapshot| show_snapshot(out, snapshot))
}

fn show_snapshot(out: &mut dyn Write, snapshot: &SnapshotSummary) -> io::Result<()> {
    let lsn = grouped(snapshot.lsn);
    match (&snapshot.mark, &snapshot.bytes) {
        (Some(mark), Ok(read)) => {
            let (from, read) = (grouped(mark.replay_from_lsn), bytes(*read));
            writeln!(out, "          snapshot at {lsn}, replay from {from}; {read} read")
        }
        (_, Err(damage)) => writeln!(out, "          DAMAGED   snapshot at {lsn}: {damage}"),
        (None, Ok(_)) => writeln!(out, "          snapshot at {lsn}"),
    }
}

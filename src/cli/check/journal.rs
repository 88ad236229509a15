//! What outlives the process, what a crash loses, and what of it is doubtful on this machine.

use crate::cli::quantity::{bytes, duration_s};
use crate::config::{Config, Durability, JournalConfig};
use crate::io::journal::SEGMENTS_AHEAD;
use std::io::{self, Write};

pub(super) fn show(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let JournalConfig { data_dir, durability, segment_bytes, .. } = &config.journal;
    let Some(folder) = data_dir else {
        let lost = "a restart forgets limits, repeats, originals and what is owed to issuers";
        return writeln!(out, "journal   off, for there is no journal.data_dir: {lost}");
    };
    let (name, lost) = match durability {
        Durability::Strict => ("strict", "nothing that an acquirer was told".to_owned()),
        Durability::Relaxed { ms } => ("relaxed", format!("up to {ms} ms of what was answered")),
        Durability::Off => ("off", "everything".to_owned()),
    };
    writeln!(out, "journal   {name}, a crash loses {lost}")?;
    writeln!(out, "          in {}", folder.display())?;
    let shards = config.switch.shards as u64;
    let ahead = SEGMENTS_AHEAD as u64;
    writeln!(
        out,
        "          {} of the disk before the first record: {shards} x {ahead} segments of {}",
        bytes(shards * ahead * segment_bytes),
        bytes(*segment_bytes),
    )?;
    let journal = &config.journal;
    writeln!(
        out,
        "          a snapshot every {} or {} of records, two of them kept",
        duration_s(journal.snapshot_every_s),
        bytes(journal.snapshot_every_bytes),
    )?;
    writeln!(
        out,
        "          alarm below {} % of the disk free, new transactions refused below {} %; a stall \
         of {} ms ends the process",
        journal.alarm_free_percent, journal.refuse_free_percent, journal.stall_max_ms,
    )
}

/// Memory of all shards' buffers; none without a journal.
pub(super) fn buffer_bytes(config: &Config) -> u64 {
    let shards = config.switch.shards as u64;
    let of_shard = 2 * config.journal.buffer_bytes() as u64;
    config.journal.data_dir.as_ref().map_or(0, |_| of_shard * shards)
}

/// What may not be as meant, here and now; a checked configuration all the same.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let Some(folder) = &config.journal.data_dir else { return Vec::new() };
    let mut doubts = Vec::new();
    if !folder.is_dir() {
        doubts.push(format!(
            "journal.data_dir: {} is not there; the first start makes it, and a later one that does \
             not find it has forgotten everything",
            folder.display()
        ));
    }
    match &config.keys.card_key_file {
        None => doubts.push(
            "keys.card_key_file: a data directory needs a card key that lasts; without this key it \
             has to be a credential of the service"
                .to_owned(),
        ),
        Some(file) if !file.is_file() => doubts.push(format!(
            "keys.card_key_file: {} is not there; `tapswitch key new` makes one",
            file.display()
        )),
        Some(_) => {}
    }
    doubts
}

//! From what is written to what the switch runs by: ranges, references, and what must fit together.
//!
//! Every section is checked even when an earlier one is wrong, so that all problems show at once.
//! A value that is wrong is replaced by some legal one to go on; the result is then thrown away.

mod acquirers;
mod bank;
mod codes;
mod section;
mod velocity;

use super::default::{IINS_CN, read_text};
use super::file::{RawFile, RawSwitch};
use super::host::Host;
use super::iins::{self, IinTable};
use super::problem::Problems;
use super::{Capacity, Config, EngineChoice, Idle, IssuerConfig, SwitchConfig};
use crate::limits::{PENDING_MAX, SHARDS_MAX, STANS};
use section::Section;
use std::path::Path;
pub(super) use velocity::words_used;

/// Bytes that one remembered answer takes, on average: its key, its request's fingerprint, what
/// the answer adds, and its share of a table that is not quite full.
pub(super) const DUPLICATE_ENTRY_BYTES: u64 = 112;
/// Most bytes of duplicate memory of one shard.
const DUPLICATES_BYTES_MAX: i64 = 1 << 36;
/// Highest core number that is taken for a number and not for a slip of the pen.
const CORE_MAX: i64 = 1_023;
/// Longest graceful stop.
const DRAIN_MS_MAX: i64 = 600_000;
/// Requests a second that are taken for a number and not for a slip of the pen.
const PEAK_PER_SECOND_MAX: i64 = 100_000_000;

/// The configuration that `raw` means. It is worth nothing when `problems` has errors afterwards.
pub(super) fn check(
    raw: &RawFile,
    problems: &mut Problems<'_>,
    host: &Host,
    folder: &Path,
) -> Option<(Config, Capacity)> {
    let iins = iin_table(&raw.switch, problems, folder);
    let switch = switch(&raw.switch, problems, host);
    let codes = codes::check(&raw.codes, problems);
    let acquirers = acquirers::check(&raw.acquirers, &codes, problems);
    let velocity = velocity::check(raw, problems);
    let capacity = capacity(raw, &switch, problems);
    let names = iins.as_ref().map_or(&[][..], |table| table.issuers.as_slice());
    let bank = bank::check(raw, names, problems, host);
    let issuers = issuers(raw, names, &switch, problems);
    let iins = iins?.rows;
    Some((Config { switch, acquirers, issuers, iins, velocity, bank }, capacity))
}

fn iin_table(raw: &RawSwitch, problems: &mut Problems<'_>, folder: &Path) -> Option<IinTable> {
    let parsed = match &raw.iin_file {
        None => iins::parse("iins_cn.csv (shipped)", IINS_CN),
        Some(file) => {
            let path = folder.join(&file.value);
            match read_text(&path) {
                Ok(text) => iins::parse(&path.display().to_string(), &text),
                Err(reason) => {
                    let message = format!("{} {reason}", path.display());
                    let cause = "the path is relative to the folder of the configuration file";
                    problems.error(file.at, "switch.iin_file", message, cause);
                    return None;
                }
            }
        }
    };
    match parsed {
        Ok(table) => Some(table),
        Err(wrong) => {
            wrong.into_iter().for_each(|problem| problems.push(problem));
            None
        }
    }
}

fn switch(raw: &RawSwitch, problems: &mut Problems<'_>, host: &Host) -> SwitchConfig {
    let mut section = Section::new(problems, "switch", None);
    let shards = match section.number("shards", &raw.shards, 0..=SHARDS_MAX as i64) {
        0 => host.shards_automatic(),
        shards => shards,
    };
    let cores: Vec<usize> = section.numbers("cores", &raw.cores, 0..=CORE_MAX);
    let at = raw.cores.as_ref().and_then(|cores| cores.at);
    warn_of_cores(&mut section, "cores", at, &cores, host);
    if !cores.is_empty() && cores.len() < shards {
        let message = format!("{shards} shards share {} cores", cores.len());
        section.warning(at, "cores", message, "a shard wants a core of its own");
    }
    let engines = [
        ("auto", EngineChoice::Auto),
        ("tokio-uring", EngineChoice::TokioUring),
        ("tokio", EngineChoice::Tokio),
    ];
    SwitchConfig {
        shards,
        cores,
        idle: section
            .word("idle", &raw.idle, &[("park", Idle::Park), ("spin", Idle::Spin)])
            .unwrap_or(Idle::Park),
        engine: section.word("engine", &raw.engine, &engines).unwrap_or(EngineChoice::Auto),
        pending_max: section.number("pending_max", &raw.pending_max, 1..=PENDING_MAX as i64),
        duplicates_bytes: section.number(
            "duplicates_bytes",
            &raw.duplicates_bytes,
            1 << 20..=DUPLICATES_BYTES_MAX,
        ),
        drain_ms: section.number("drain_ms", &raw.drain_ms, 0..=DRAIN_MS_MAX),
    }
}

/// Warns of cores that this process cannot be pinned to.
fn warn_of_cores(
    section: &mut Section<'_, '_>,
    key: &str,
    at: Option<usize>,
    cores: &[usize],
    host: &Host,
) {
    for core in cores.iter().filter(|core| !host.cores.contains(core)) {
        let (message, have) = (format!("core {core} is not there"), &host.cores);
        section.warning(at, key, message, format!("this process may use cores {have:?}"));
    }
}

/// Remembered answers must last as long as acquirers repeat requests (design: a repeat gets the
/// same answer, not a second debit).
fn capacity(raw: &RawFile, switch: &SwitchConfig, problems: &mut Problems<'_>) -> Capacity {
    let mut section = Section::new(problems, "switch", None);
    let peak_per_second: u64 =
        section.number("peak_per_second", &raw.switch.peak_per_second, 1..=PEAK_PER_SECOND_MAX);
    let longest = raw
        .acquirers
        .iter()
        .rev()
        .filter_map(|acquirer| Some((acquirer, acquirer.section.retry_window_s.as_ref()?)))
        .max_by_key(|(_, window)| window.value);
    let window_s = longest.map_or(0, |(_, window)| u64::try_from(window.value).unwrap_or_default());
    let capacity = Capacity {
        peak_per_second,
        retry_window_s: window_s,
        duplicates_max: switch.duplicates_bytes as u64 / DUPLICATE_ENTRY_BYTES,
        duplicates_cover_ms: covered_ms(switch, peak_per_second),
    };
    let in_range = acquirers::RETRY_WINDOW_S.contains(&i64::try_from(window_s).unwrap_or(i64::MAX));
    if let Some((acquirer, window)) = longest
        && in_range
        && capacity.duplicates_cover_ms < window_s.saturating_mul(1_000)
    {
        let per_shard = peak_per_second.div_ceil(switch.shards as u64);
        let needed = per_shard.saturating_mul(window_s).saturating_mul(DUPLICATE_ENTRY_BYTES);
        let message = format!(
            "{} bytes remember about {} answers, {:.1} s at {per_shard} a second and shard; \
             acquirer {} repeats for {window_s} s",
            switch.duplicates_bytes,
            capacity.duplicates_max,
            capacity.duplicates_cover_ms as f64 / 1e3,
            acquirer.name,
        );
        let cause = format!("needs {needed} bytes, or peak_per_second is set too high");
        let own = |found: &Option<super::file::Found<i64>>| found.as_ref().and_then(|it| it.at);
        let raw = &raw.switch;
        let at = own(&raw.duplicates_bytes).or(own(&raw.peak_per_second)).or(window.at);
        section.error(at, "duplicates_bytes", message, cause);
    }
    capacity
}

fn covered_ms(switch: &SwitchConfig, peak_per_second: u64) -> u64 {
    let answers = (switch.duplicates_bytes as u64 / DUPLICATE_ENTRY_BYTES)
        .saturating_mul(switch.shards as u64);
    answers.saturating_mul(1_000).checked_div(peak_per_second).unwrap_or_default()
}

fn issuers(
    raw: &RawFile,
    names: &[String],
    switch: &SwitchConfig,
    problems: &mut Problems<'_>,
) -> Vec<IssuerConfig> {
    // Each shard owns a part of an issuer's trace numbers.
    let in_flight_max = i64::from(STANS - 1) / switch.shards as i64;
    let mut section = Section::new(problems, "switch", None);
    let default: u32 =
        section.number("issuer_in_flight_max", &raw.switch.issuer_in_flight_max, 1..=in_flight_max);
    let own = |name: &str, problems: &mut Problems<'_>| {
        let named = raw.issuers.iter().find(|named| named.name == name)?;
        let mut section = Section::new(problems, format!("issuer.{name}"), named.at);
        let (issuer, _) = &named.section;
        section.number_if_any("in_flight_max", &issuer.in_flight_max, 1..=in_flight_max)
    };
    names
        .iter()
        .map(|name| IssuerConfig {
            name: name.clone(),
            in_flight_max: own(name, problems).unwrap_or(default),
        })
        .collect()
}

//! From what is written to what the switch runs by: ranges, references, and what must fit together.
//!
//! Every section is checked even when an earlier one is wrong, so that all problems show at once.
//! A value that is wrong is replaced by some legal one to go on; the result is then thrown away.

mod acquirers;
mod admin;
mod bank;
mod codes;
mod issuers;
mod journal;
mod keys;
mod outcomes;
mod requestors;
mod section;
mod stand_in;
mod velocity;
mod velocity_scope;
mod velocity_when;
mod wallet;

use super::default::{IINS_CN, read_text};
use super::file::{Found, RawFile, RawSwitch};
use super::host::Host;
use super::iins::{self, IinTable};
use super::problem::{Problems, quoted};
use super::{Capacity, Config, CutOff, EngineChoice, Idle, SwitchConfig};
use crate::limits::{
    DUPLICATES_BYTES_MAX, ORIGINALS_BYTES_MIN, PENDING_MAX, PREAUTHORIZATIONS_MAX, SHARDS_MAX,
};
use crate::shard::duplicate::DuplicateMemory;
pub(super) use admin::check as check_admin;
use section::Section;
use std::path::Path;

/// Highest core number that is taken for a number and not for a slip of the pen.
const CORE_MAX: i64 = 1_023;
/// Longest graceful stop.
const DRAIN_MS_MAX: i64 = 600_000;
const CLOCK_STEP_S: core::ops::RangeInclusive<i64> = 0..=31 * 86_400;
const STALL_ABORT_MS: core::ops::RangeInclusive<i64> = 0..=600_000;
/// Whoever looks at alarms learns of a stall before the process ends.
const STALL_ABORT_MS_MIN: u64 = 2_000;
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
    let rows = iins.as_ref().map_or(&[][..], |table| table.rows.as_slice());
    let requestors = requestors::check(&raw.requestors, (&velocity, rows, folder), problems);
    let wallet = wallet::check(&raw.wallet, problems);
    let capacity = capacity(raw, &switch, problems);
    let names = iins.as_ref().map_or(&[][..], |table| table.issuers.as_slice());
    let names = issuers::names(raw, names, problems);
    let bank = bank::check(raw, &names, problems, host);
    let issuers = issuers::check(raw, &names, (&switch, &acquirers), problems);
    let keys = keys::check(&raw.keys, folder);
    let journal = journal::check(&raw.journal, problems, folder);
    let outcomes = outcomes::check(&raw.outcomes, problems, folder);
    let admin = admin::check(&raw.admin, problems, folder);
    let iins = iins?.rows;
    let config = Config {
        switch,
        acquirers,
        issuers,
        iins,
        velocity,
        requestors,
        wallet,
        bank,
        journal,
        keys,
        outcomes,
        admin,
    };
    Some((config, capacity))
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
            1 << 20..=DUPLICATES_BYTES_MAX as i64,
        ),
        preauthorizations_max: section.number(
            "preauthorizations_max",
            &raw.preauthorizations_max,
            1..=PREAUTHORIZATIONS_MAX as i64,
        ),
        originals_bytes: section.number(
            "originals_bytes",
            &raw.originals_bytes,
            ORIGINALS_BYTES_MIN as i64..=DUPLICATES_BYTES_MAX as i64,
        ),
        drain_ms: section.number("drain_ms", &raw.drain_ms, 0..=DRAIN_MS_MAX),
        clock_step_max_ms: 1_000
            * section.number::<u64>("clock_step_max_s", &raw.clock_step_max_s, CLOCK_STEP_S),
        stall_abort_ms: stall_abort(raw, &mut section),
        cutoff: cutoff(raw, &mut section),
    }
}

/// When a shard that has stalled ends the process: after the alarm, or never.
fn stall_abort(raw: &RawSwitch, section: &mut Section<'_, '_>) -> u64 {
    let (key, found) = ("stall_abort_ms", &raw.stall_abort_ms);
    let stall_abort_ms = section.number(key, found, STALL_ABORT_MS);
    if (1..STALL_ABORT_MS_MIN).contains(&stall_abort_ms) {
        let message = format!("{stall_abort_ms} is below {STALL_ABORT_MS_MIN}");
        let cause = "seconds written where milliseconds are meant; 0 is never";
        section.error(found.as_ref().and_then(|found| found.at), key, message, cause);
    }
    stall_abort_ms
}

/// When a settlement date ends; an empty time is none.
fn cutoff(raw: &RawSwitch, section: &mut Section<'_, '_>) -> Option<CutOff> {
    let key = "cutoff_zone_offset_minutes";
    let zone = &raw.cutoff_zone_offset_minutes;
    let zone_offset_minutes = section.number(key, zone, -720..=840);
    let found = raw.cutoff.as_ref().filter(|found| !found.value.is_empty())?;
    let minute = minute_of_day(&found.value);
    if minute.is_none() {
        let message = format!("`{}` is no time of day", quoted(&found.value));
        section.error(found.at, "cutoff", message, "as in \"23:00\", from 00:00 to 23:59");
    }
    Some(CutOff { minute: minute?, zone_offset_minutes })
}

/// `23:00` as minutes after midnight.
fn minute_of_day(text: &str) -> Option<u32> {
    let two = |digits: &str| {
        let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { digits.parse::<u32>().ok() } else { None }
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (two(hour)?, two(minute)?);
    (hour < 24 && minute < 60).then_some(60 * hour + minute)
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

/// Remembered answers must last as long as acquirers repeat requests: a repeat gets the same answer
/// again, not a second debit.
fn capacity(raw: &RawFile, switch: &SwitchConfig, problems: &mut Problems<'_>) -> Capacity {
    let mut section = Section::new(problems, "switch", None);
    let peak_per_second: u64 =
        section.number("peak_per_second", &raw.switch.peak_per_second, 1..=PEAK_PER_SECOND_MAX);
    let windows = raw.acquirers.iter().rev().filter_map(|named| {
        let window = named.section.retry_window_s.as_ref()?;
        // What is out of range is complained of with its acquirer.
        let in_range = acquirers::RETRY_WINDOW_S.contains(&window.value);
        in_range.then_some((window.value.unsigned_abs(), named.name.as_str(), window.at))
    });
    let (retry_window_s, acquirer, window_at) =
        windows.max_by_key(|(window_s, ..)| *window_s).unwrap_or_default();
    let in_flight_bytes = DuplicateMemory::bytes_min(switch.pending_max) as u64;
    let shards = switch.shards as u64;
    let (bytes, pending_max) = (switch.duplicates_bytes, switch.pending_max);
    let duplicates_max = if bytes as u64 > in_flight_bytes {
        DuplicateMemory::seconds_covered(bytes, pending_max, 1.0) as u64
    } else {
        0
    };
    let originals_max = DuplicateMemory::originals_in(switch.originals_bytes);
    let cover_ms = |entries: u64| entries * shards * 1_000 / peak_per_second.max(1);
    let capacity = Capacity {
        peak_per_second,
        retry_window_s,
        duplicates_max,
        duplicates_cover_ms: cover_ms(duplicates_max),
        originals_max,
        originals_cover_ms: cover_ms(originals_max),
    };
    if duplicates_max == 0 || capacity.duplicates_cover_ms < retry_window_s * 1_000 {
        let per_shard = peak_per_second.div_ceil(shards);
        let needed = DuplicateMemory::bytes_for(per_shard * retry_window_s, pending_max);
        let message = format!(
            "{} bytes remember about {duplicates_max} answers, {:.1} s at {per_shard} a second and \
             shard; acquirer {} repeats for {retry_window_s} s",
            switch.duplicates_bytes,
            capacity.duplicates_cover_ms as f64 / 1e3,
            quoted(acquirer),
        );
        let cause = format!("needs about {needed} bytes, or peak_per_second is set too high");
        let own = |found: &Option<Found<i64>>| found.as_ref().and_then(|found| found.at);
        let at = own(&raw.switch.duplicates_bytes).or(own(&raw.switch.peak_per_second));
        let at = at.or(window_at).or(own(&raw.switch.pending_max));
        section.error(at, "duplicates_bytes", message, cause);
    }
    check_originals(&mut section, &raw.switch, &capacity, switch);
    capacity
}

/// An original that is forgotten before its answer is one that a reversal does not find, although
/// the switch still knows of it.
fn check_originals(
    section: &mut Section<'_, '_>,
    raw: &RawSwitch,
    capacity: &Capacity,
    switch: &SwitchConfig,
) {
    if capacity.originals_cover_ms >= capacity.retry_window_s * 1_000 {
        return;
    }
    let per_shard = capacity.peak_per_second.div_ceil(switch.shards as u64);
    let needed = DuplicateMemory::originals_bytes_for(per_shard * capacity.retry_window_s);
    let message = format!(
        "{} bytes remember {} originals, {:.1} s at {per_shard} a second and shard; acquirers \
         repeat for {} s, and reverse later",
        switch.originals_bytes,
        capacity.originals_max,
        capacity.originals_cover_ms as f64 / 1e3,
        capacity.retry_window_s,
    );
    let cause = format!("needs about {needed} bytes, or peak_per_second is set too high");
    let own = |found: &Option<Found<i64>>| found.as_ref().and_then(|found| found.at);
    let at = own(&raw.originals_bytes).or(own(&raw.peak_per_second));
    section.error(at, "originals_bytes", message, cause);
}

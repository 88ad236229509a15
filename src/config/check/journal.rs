//! The journal: where it is, what answers wait for, and how much may wait.

use super::section::Section;
use crate::config::file::{Found, RawJournal};
use crate::config::problem::Problems;
use crate::config::{Durability, JournalConfig};
use crate::limits::{
    JOURNAL_SEGMENT_BYTES_MAX, JOURNAL_SEGMENT_BYTES_MIN, JOURNAL_UNDURABLE_BYTES_MIN,
};
use core::ops::RangeInclusive;
use std::path::Path;

/// Between two commits of relaxed durability.
const RELAXED_MS: RangeInclusive<i64> = 1..=10_000;
/// Longest stall that is waited for, beyond any acquirer's patience.
const STALL_MS: RangeInclusive<i64> = 100..=600_000;
const SNAPSHOT_S: RangeInclusive<i64> = 1..=86_400;
const SNAPSHOT_BYTES: RangeInclusive<i64> = 1 << 20..=1 << 40;
const FREE_PERCENT: RangeInclusive<i64> = 0..=90;
const CRASHES: RangeInclusive<i64> = 0..=1_000;

/// What `durability` can say.
#[derive(Clone, Copy)]
enum Word {
    Strict,
    Relaxed,
    Off,
}

pub(super) fn check(raw: &RawJournal, problems: &mut Problems<'_>, folder: &Path) -> JournalConfig {
    let mut section = Section::new(problems, "journal", None);
    let words = [("strict", Word::Strict), ("relaxed", Word::Relaxed), ("off", Word::Off)];
    let word = section.word("durability", &raw.durability, &words).unwrap_or(Word::Strict);
    let relaxed_ms = section.number("relaxed_ms", &raw.relaxed_ms, RELAXED_MS);
    let data_dir = raw.data_dir.as_ref().map(|found| folder.join(&found.value));
    let durability = match (word, &data_dir) {
        (Word::Off, _) | (_, None) => Durability::Off,
        (Word::Strict, Some(_)) => Durability::Strict,
        (Word::Relaxed, Some(_)) => Durability::Relaxed { ms: relaxed_ms },
    };
    warn_of_no_effect(&mut section, raw, word);
    let segment_bytes = section.number("segment_bytes", &raw.segment_bytes, SEGMENT_BYTES);
    let undurable_bytes_max =
        section.number("undurable_bytes_max", &raw.undurable_bytes_max, UNDURABLE_BYTES);
    check_sizes(&mut section, raw, segment_bytes, undurable_bytes_max);
    let alarm = section.number("alarm_free_percent", &raw.alarm_free_percent, FREE_PERCENT);
    let refuse = section.number("refuse_free_percent", &raw.refuse_free_percent, FREE_PERCENT);
    if refuse > alarm {
        let message = format!("{refuse} is above alarm_free_percent {alarm}");
        let at = at(&raw.refuse_free_percent).or(at(&raw.alarm_free_percent));
        section.error(at, "refuse_free_percent", message, "the alarm comes before the refusal");
    }
    JournalConfig {
        data_dir: data_dir.filter(|_| durability != Durability::Off),
        durability,
        segment_bytes,
        snapshot_every_s: section.number("snapshot_every_s", &raw.snapshot_every_s, SNAPSHOT_S),
        snapshot_every_bytes: section.number(
            "snapshot_every_bytes",
            &raw.snapshot_every_bytes,
            SNAPSHOT_BYTES,
        ),
        stall_max_ms: section.number("stall_max_ms", &raw.stall_max_ms, STALL_MS),
        undurable_bytes_max,
        alarm_free_percent: alarm,
        refuse_free_percent: refuse,
        crashes_max: section.number("crashes_max", &raw.crashes_max, CRASHES),
        is_safe: false,
    }
}

const SEGMENT_BYTES: RangeInclusive<i64> =
    JOURNAL_SEGMENT_BYTES_MIN as i64..=JOURNAL_SEGMENT_BYTES_MAX as i64;
const UNDURABLE_BYTES: RangeInclusive<i64> =
    JOURNAL_UNDURABLE_BYTES_MIN as i64..=JOURNAL_SEGMENT_BYTES_MAX as i64;

fn at<T>(found: &Option<Found<T>>) -> Option<usize> {
    found.as_ref().and_then(|found| found.at)
}

fn warn_of_no_effect(section: &mut Section<'_, '_>, raw: &RawJournal, word: Word) {
    let said_at = at(&raw.durability);
    match (word, &raw.data_dir) {
        (Word::Off, Some(dir)) => {
            let cause = "with durability \"off\" nothing is kept; leave one of the two out";
            section.warning(dir.at, "data_dir", "has no effect", cause);
        }
        // "strict" is what the shipped file says: it takes effect with the directory.
        (Word::Relaxed, None) => {
            let cause = "without data_dir nothing is kept; set one";
            section.warning(said_at, "durability", "has no effect", cause);
        }
        (Word::Strict | Word::Relaxed | Word::Off, _) => {}
    }
}

/// Segments are whole blocks, and one takes all that may wait.
fn check_sizes(section: &mut Section<'_, '_>, raw: &RawJournal, segment: u64, undurable: usize) {
    if !segment.is_multiple_of(JOURNAL_SEGMENT_BYTES_MIN) {
        let message = format!("{segment} is not a multiple of 8 MiB");
        let cause = format!("the next is {}", segment.next_multiple_of(JOURNAL_SEGMENT_BYTES_MIN));
        section.error(at(&raw.segment_bytes), "segment_bytes", message, cause);
    }
    if undurable as u64 > segment {
        let message = format!("{undurable} is above segment_bytes {segment}");
        let place = at(&raw.undurable_bytes_max).or(at(&raw.segment_bytes));
        let cause = "what waits for the disk must find its place in one segment";
        section.error(place, "undurable_bytes_max", message, cause);
    }
}

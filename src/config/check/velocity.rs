//! Counters and limits per card: each by itself, whether limits name counters that are there, and
//! whether all counters fit into one line of the table.

use super::section::Section;
use super::velocity_when::condition;
use super::{stand_in, velocity_scope};
use crate::config::file::{Found, Named, RawCounter, RawFile, RawLimit, RawWhen};
use crate::config::problem::{Problems, nearest_cause, quoted};
use crate::config::{VelocityConfig, VelocityCounter, VelocityLimit, VelocityWindow};
use crate::limits::{
    SCOPE_COUNT_MAX, VELOCITY_AMOUNT_MINOR_MAX, VELOCITY_COUNT_MAX, VELOCITY_COUNTERS_MAX,
    VELOCITY_GROUP_LINES, VELOCITY_LIMITS_MAX, VELOCITY_RESETTABLE_AMOUNT_MINOR_MAX,
    VELOCITY_WINDOW_S_MAX, VELOCITY_WORDS_MAX,
};
use crate::memory::TableMemory;
use crate::shard::velocity::words_needed;
use tapswitch_protocol::ResponseCode;

/// Lines of the table, all shards together.
const LINES_MIN: i64 = 1 << 10;
const LINES_MAX: i64 = 1 << 30;
/// Most parts of a rolling window that one line could hold, were it the only counter.
const SUB_WINDOWS_MAX: i64 = VELOCITY_WORDS_MAX as i64 - 2;
/// Zones of the earth.
const ZONE_OFFSET_MINUTES_MAX: i64 = 14 * 60;

pub(super) fn check(raw: &RawFile, problems: &mut Problems<'_>) -> VelocityConfig {
    let mut section = Section::new(problems, "velocity", None);
    let lines: usize = section.number("lines", &raw.velocity.lines, LINES_MIN..=LINES_MAX);
    if !lines.is_multiple_of(VELOCITY_GROUP_LINES) {
        let at = raw.velocity.lines.as_ref().and_then(|found| found.at);
        let message = format!("{lines} is not a multiple of {VELOCITY_GROUP_LINES}");
        let below = lines - lines % VELOCITY_GROUP_LINES;
        let cause = format!("the nearest are {below} and {}", below + VELOCITY_GROUP_LINES);
        section.error(at, "lines", message, cause);
    }
    let kinds = [("private", TableMemory::Private), ("shared", TableMemory::Shared)];
    let table = section.word("table", &raw.velocity.table, &kinds).unwrap_or_default();
    let raw_counters = raw.counters.as_deref().unwrap_or_default();
    let mut counters: Vec<VelocityCounter> = Vec::with_capacity(raw_counters.len());
    for named in raw_counters {
        let counter = counter(named, problems);
        refuse_twin(
            (named.name.as_str(), named.at, &named.section.0.name),
            counters.iter().any(|other| other.name == counter.name && !counter.name.is_empty()),
            ("counter", &counter.name),
            problems,
        );
        refuse_second_reset(named, &counters, &counter, problems);
        counters.push(counter);
    }
    refuse_crowd(raw_counters, &counters, problems);
    velocity_scope::check_counters(raw_counters, &counters, problems);
    let raw_limits = raw.limits.as_deref().unwrap_or_default();
    let mut limits: Vec<VelocityLimit> = Vec::with_capacity(raw_limits.len());
    for named in raw_limits {
        let limit = limit(named, &counters, problems);
        refuse_twin(
            (named.name.as_str(), named.at, &named.section.0.name),
            limits.iter().any(|other| other.name == limit.name && !limit.name.is_empty()),
            ("limit", &limit.name),
            problems,
        );
        limits.push(limit);
    }
    if let Some(named) = raw_limits.get(VELOCITY_LIMITS_MAX) {
        let message = format!("there are {} limits, at most {VELOCITY_LIMITS_MAX}", limits.len());
        let mut section = Section::new(problems, named.name.as_str(), named.at);
        section.error(None, "", message, "limits that differ in conditions only can share one");
    }
    let stand_in = stand_in::check(raw, &counters, &mut limits, problems);
    warn_of_unused(raw_counters, &limits, problems);
    velocity_scope::check_limits(raw_limits, (&counters, &limits), problems);
    let (entities, entity_transactions) = velocity_scope::sizes(raw, &counters, problems);
    let (counters, scope_counters, limits) = velocity_scope::apart(counters, limits);
    VelocityConfig {
        lines,
        counters,
        scope_counters,
        entities,
        entity_transactions,
        limits,
        stand_in,
        table,
    }
}

/// Names are unique among counters, and among limits.
fn refuse_twin(
    (path, at, name): (&str, Option<usize>, &Option<Found<String>>),
    is_twin: bool,
    (what, own): (&str, &str),
    problems: &mut Problems<'_>,
) {
    if is_twin {
        let name_at = name.as_ref().and_then(|name| name.at);
        let message = format!("`{own}` is the name of an earlier {what}");
        let cause = format!("a copied {what} that kept its name");
        Section::new(problems, path, at).error(name_at, "name", message, cause);
    }
}

/// A reservation remembers one generation, so one counter can be set back.
fn refuse_second_reset(
    named: &Named<(RawCounter, RawWhen)>,
    earlier: &[VelocityCounter],
    counter: &VelocityCounter,
    problems: &mut Problems<'_>,
) {
    if counter.resets_on_pin
        && let Some(first) = earlier.iter().find(|other| other.resets_on_pin)
    {
        let at = named.section.0.resets_on.as_ref().and_then(|found| found.at);
        let message = format!("`{}` is set back by PIN already", first.name);
        let cause = "one counter can be; several limits can judge it";
        Section::new(problems, named.name.as_str(), named.at).error(
            at,
            "resets_on",
            message,
            cause,
        );
    }
}

/// Names the first counter for which a card's line has no room.
fn refuse_crowd(
    raw: &[Named<(RawCounter, RawWhen)>],
    counters: &[VelocityCounter],
    problems: &mut Problems<'_>,
) {
    let of_cards = |count: usize| -> Vec<VelocityCounter> {
        let some = counters.iter().take(count);
        some.filter(|counter| velocity_scope::is_of_cards(counter)).cloned().collect()
    };
    let fitting = (0..=counters.len())
        .rev()
        .find(|&count| {
            let some = of_cards(count);
            some.len() <= VELOCITY_COUNTERS_MAX && words_needed(&some) <= VELOCITY_WORDS_MAX
        })
        .unwrap_or_default();
    let Some(named) = raw.get(fitting) else { return };
    let message = format!(
        "the counters need {} words of a card's line, which has {VELOCITY_WORDS_MAX} and serves at \
         most {VELOCITY_COUNTERS_MAX} counters; the first {fitting} fit",
        words_needed(&of_cards(counters.len())),
    );
    let cause = "a window takes 1 word, a rolling one of k parts k + 1, every two different shapes \
                 of windows 1 more; several limits can judge one counter";
    Section::new(problems, named.name.as_str(), named.at).error(None, "", message, cause);
}

fn warn_of_unused(
    raw: &[Named<(RawCounter, RawWhen)>],
    limits: &[VelocityLimit],
    problems: &mut Problems<'_>,
) {
    for (place, named) in raw.iter().enumerate() {
        let is_used = limits.iter().any(|limit| limit.counter == Some(place));
        // What is inherited stays silent.
        if !is_used && named.at.is_some() {
            let mut section = Section::new(problems, named.name.as_str(), named.at);
            let cause = "limits of a file of yours replace all shipped ones; or a limit is missing";
            section.warning(None, "", "counts, but no limit judges it", cause);
        }
    }
}

fn counter(named: &Named<(RawCounter, RawWhen)>, problems: &mut Problems<'_>) -> VelocityCounter {
    let (raw, when) = &named.section;
    let mut section = Section::new(problems, named.name.as_str(), named.at);
    let name = name(&mut section, &raw.name);
    let scope = velocity_scope::scope(&mut section, &raw.scope);
    let window = window(&mut section, raw);
    let resets_on_pin = match &raw.resets_on {
        None => false,
        found => section.word("resets_on", found, &[("pin", true)]).unwrap_or_default(),
    };
    VelocityCounter { name, scope, window, resets_on_pin, when: condition(&mut section, when) }
}

fn window(section: &mut Section<'_, '_>, raw: &RawCounter) -> VelocityWindow {
    let range = -ZONE_OFFSET_MINUTES_MAX..=ZONE_OFFSET_MINUTES_MAX;
    // Midnight of the limits is China's, unless the file says otherwise.
    let zone_offset_minutes = section
        .number_if_any("zone_offset_minutes", &raw.zone_offset_minutes, range)
        .unwrap_or(8 * 60);
    let day = VelocityWindow::Day { zone_offset_minutes };
    let month = VelocityWindow::Month { zone_offset_minutes };
    let at = |found: &Option<Found<i64>>| found.as_ref().and_then(|found| found.at);
    if let Some(calendar) = &raw.window {
        for (key, found) in [("window_s", &raw.window_s), ("sub_windows", &raw.sub_windows)] {
            if found.is_some() {
                let message =
                    format!("cannot stand beside window = \"{}\"", quoted(&calendar.value));
                section.error(at(found), key, message, "a calendar's window has its own length");
            }
        }
        return section
            .word("window", &raw.window, &[("day", day), ("month", month)])
            .unwrap_or(day);
    }
    if raw.window_s.is_none() {
        section.error(None, "window", "is missing", "\"day\", \"month\", or window_s in seconds");
        return day;
    }
    if raw.zone_offset_minutes.is_some() {
        let message = "has no effect on window_s";
        section.error(
            at(&raw.zone_offset_minutes),
            "zone_offset_minutes",
            message,
            "window = \"day\"?",
        );
    }
    let window_s = section.number("window_s", &raw.window_s, 1..=i64::from(VELOCITY_WINDOW_S_MAX));
    let sub_windows: u8 =
        section.number_if_any("sub_windows", &raw.sub_windows, 0..=SUB_WINDOWS_MAX).unwrap_or(0);
    if sub_windows == 0 {
        return VelocityWindow::Fixed { window_s };
    }
    if !window_s.is_multiple_of(u32::from(sub_windows)) {
        let message = format!("{window_s} s do not divide into {sub_windows} equal parts");
        section.error(at(&raw.sub_windows), "sub_windows", message, "parts are whole seconds");
    }
    VelocityWindow::Rolling { window_s, sub_windows }
}

fn limit(
    named: &Named<(RawLimit, RawWhen)>,
    counters: &[VelocityCounter],
    problems: &mut Problems<'_>,
) -> VelocityLimit {
    let (raw, when) = &named.section;
    let mut section = Section::new(problems, named.name.as_str(), named.at);
    let name = name(&mut section, &raw.name);
    let counter = counter_of(&mut section, &raw.counter, counters);
    let judged = counter.and_then(|place| counters.get(place));
    let amount_max = match judged {
        Some(counter) if counter.resets_on_pin => VELOCITY_RESETTABLE_AMOUNT_MINOR_MAX,
        _ => VELOCITY_AMOUNT_MINOR_MAX,
    };
    let count_max = match judged {
        Some(counter) if !velocity_scope::is_of_cards(counter) => SCOPE_COUNT_MAX,
        _ => VELOCITY_COUNT_MAX,
    };
    let counts = 1..=count_max as i64;
    let amounts = 1..=amount_max as i64;
    let limit = VelocityLimit {
        name,
        counter,
        scope_counter: None,
        count_max: section.number_if_any("count_max", &raw.count_max, counts),
        amount_minor_max: section.number_if_any("amount_minor_max", &raw.amount_minor_max, amounts),
        when: condition(&mut section, when),
        code: raw.code.as_ref().and_then(|found| code(&mut section, found)),
    };
    if raw.count_max.is_none() && raw.amount_minor_max.is_none() {
        let cause = "count_max or amount_minor_max is forgotten";
        section.error(None, "", "limits nothing", cause);
    }
    let at = raw.count_max.as_ref().and_then(|found| found.at);
    if raw.count_max.is_some() && raw.counter.is_none() {
        section.error(at, "count_max", "needs a counter", "counter = NAME is forgotten");
    }
    if raw.count_max.is_some() && judged.is_some_and(|counter| counter.resets_on_pin) {
        let cause = "a counter with resets_on sums amounts only";
        section.error(at, "count_max", "its counter does not count transactions", cause);
    }
    limit
}

pub(super) fn counter_of(
    section: &mut Section<'_, '_>,
    found: &Option<Found<String>>,
    counters: &[VelocityCounter],
) -> Option<usize> {
    let Found { value, at } = found.as_ref()?;
    let place = counters.iter().position(|counter| counter.name == *value);
    if place.is_none() {
        let names: Vec<&str> = counters.iter().map(|counter| counter.name.as_str()).collect();
        let message = format!("there is no counter `{}`", quoted(value));
        section.error(*at, "counter", message, nearest_cause(value, &names));
    }
    place
}

fn code(section: &mut Section<'_, '_>, found: &Found<String>) -> Option<ResponseCode> {
    let code = ResponseCode::from_wire(found.value.as_bytes());
    match code {
        Some(code) if code.is_approval() => {
            let cause = "a request that the switch refuses must not be answered as approved";
            section.error(found.at, "code", format!("{code} is an approval"), cause);
        }
        Some(_) => {}
        None => {
            let message = format!("`{}` is not a response code", quoted(&found.value));
            section.error(
                found.at,
                "code",
                message,
                "DE 39 is two letters or digits, as in \"61\"",
            );
        }
    }
    code
}

pub(super) fn name(section: &mut Section<'_, '_>, found: &Option<Found<String>>) -> String {
    let Some(found) = section.required("name", found) else { return String::new() };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=32).contains(&found.value.len()) || !found.value.bytes().all(legal) {
        let message = format!("`{}` cannot be used as a name", quoted(&found.value));
        section.error(found.at, "name", message, "1 to 32 letters, digits, - and _");
    }
    found.value.clone()
}

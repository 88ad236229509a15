//! Limits per card: each rule by itself, and whether all fit into one line of the table.

use super::section::Section;
use crate::config::file::{Found, Named, RawFile, RawRule};
use crate::config::problem::{Problems, quoted};
use crate::config::{VelocityCondition, VelocityConfig, VelocityRule};
use crate::limits::{
    VELOCITY_AMOUNT_MINOR_MAX, VELOCITY_COUNT_MAX, VELOCITY_RULES_MAX, VELOCITY_WORDS,
};
use crate::shard::velocity::words_needed;

/// Lines of the table, all shards together; at most 64 GiB of them.
const LINES_MIN: i64 = 1 << 10;
const LINES_MAX: i64 = 1 << 30;
/// Longest window: a leap year.
const WINDOW_S_MAX: i64 = 366 * 86_400;
/// Most parts of a rolling window that one line could hold, were it the only rule.
const SUB_WINDOWS_MAX: i64 = VELOCITY_WORDS as i64 - 2;

pub(super) fn check(raw: &RawFile, problems: &mut Problems<'_>) -> VelocityConfig {
    let mut section = Section::new(problems, "velocity", None);
    let lines = section.power_of_two("lines", &raw.velocity.lines, LINES_MIN..=LINES_MAX);
    let raw_rules = raw.rules.as_deref().unwrap_or_default();
    let mut rules: Vec<VelocityRule> = Vec::with_capacity(raw_rules.len());
    for named in raw_rules {
        let rule = rule(named, problems);
        if !rule.name.is_empty() && rules.iter().any(|other| other.name == rule.name) {
            let at = named.section.name.as_ref().and_then(|name| name.at);
            let mut section = Section::new(problems, named.name.as_str(), named.at);
            let message = format!("`{}` is the name of an earlier rule", rule.name);
            section.error(at, "name", message, "a copied rule that kept its name");
        }
        rules.push(rule);
    }
    refuse_crowd(raw_rules, &rules, problems);
    VelocityConfig { lines, rules }
}

/// Names the first rule for which a card's line has no room.
fn refuse_crowd(raw: &[Named<RawRule>], rules: &[VelocityRule], problems: &mut Problems<'_>) {
    let fitting = (0..=rules.len())
        .rev()
        .find(|&count| {
            let some = rules.get(..count).unwrap_or_default();
            count <= VELOCITY_RULES_MAX && words_needed(some) <= VELOCITY_WORDS
        })
        .unwrap_or_default();
    let Some(named) = raw.get(fitting) else { return };
    let message = format!(
        "the rules need {} words of a card's line, which has {VELOCITY_WORDS} and serves at most \
         {VELOCITY_RULES_MAX} rules; the first {fitting} fit",
        words_needed(rules),
    );
    let cause = "a calendar window takes 1 word, a rolling one of k parts k + 1, every two rules \
                 1 more; use fewer rules, or sub_windows = 0";
    Section::new(problems, named.name.as_str(), named.at).error(None, "", message, cause);
}

fn rule(named: &Named<RawRule>, problems: &mut Problems<'_>) -> VelocityRule {
    let raw = &named.section;
    let mut section = Section::new(problems, named.name.as_str(), named.at);
    let name = name(&mut section, &raw.name);
    let count_max = VELOCITY_COUNT_MAX as i64;
    let amount_max = VELOCITY_AMOUNT_MINOR_MAX as i64;
    let rule = VelocityRule {
        name,
        when: VelocityCondition {
            mccs: section.numbers("mccs", &raw.mccs, 0..=9_999),
            entry_modes: section.numbers("entry_modes", &raw.entry_modes, 0..=99),
            transaction_types: section.numbers("transaction_types", &raw.transaction_types, 0..=99),
        },
        count_max: section.number_if_any("count_max", &raw.count_max, 1..=count_max),
        amount_minor_max: section.number_if_any(
            "amount_minor_max",
            &raw.amount_minor_max,
            1..=amount_max,
        ),
        window_s: section.number("window_s", &raw.window_s, 1..=WINDOW_S_MAX),
        sub_windows: section
            .number_if_any("sub_windows", &raw.sub_windows, 0..=SUB_WINDOWS_MAX)
            .unwrap_or(0),
    };
    if raw.count_max.is_none() && raw.amount_minor_max.is_none() {
        let cause = "count_max or amount_minor_max is forgotten";
        section.error(None, "", "limits nothing", cause);
    }
    let parts = u32::from(rule.sub_windows);
    if parts > 0 && !rule.window_s.is_multiple_of(parts) {
        let at = raw.sub_windows.as_ref().and_then(|parts| parts.at);
        let message = format!("{} s do not divide into {parts} equal parts", rule.window_s);
        section.error(at, "sub_windows", message, "parts are whole seconds");
    }
    rule
}

fn name(section: &mut Section<'_, '_>, found: &Option<Found<String>>) -> String {
    let Some(found) = section.required("name", found) else { return String::new() };
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=32).contains(&found.value.len()) || !found.value.bytes().all(legal) {
        let message = format!("`{}` cannot be used as a name", quoted(&found.value));
        section.error(found.at, "name", message, "1 to 32 letters, digits, - and _");
    }
    found.value.clone()
}

//! Stand-in rules: each becomes a limit of its name, of a single transaction, and where it has a
//! counter another one of what a card has been approved so in the counter's window.

use super::section::Section;
use super::velocity::{counter_of, name};
use super::velocity_scope::is_of_cards;
use super::velocity_when::condition;
use crate::config::file::{Found, Named, RawFile, RawStandIn, RawWhen};
use crate::config::problem::{Problems, quoted};
use crate::config::{
    StandInReasons, StandInRule, TransactionKind, VelocityCondition, VelocityCounter, VelocityLimit,
};
use crate::limits::{VELOCITY_AMOUNT_MINOR_MAX, VELOCITY_COUNT_MAX, VELOCITY_LIMITS_MAX};

/// What the limit of a rule's sums is called after the rule.
const SUMS: &str = "-sums";
/// Elements of free text in all dialects, for reasons and marks.
const TEXT_FIELDS: [i64; 7] = [44, 48, 57, 60, 61, 62, 63];
/// Where an advice says why, unless the file says otherwise: UnionPay's DE 60.1.
const REASON_FIELD: u8 = 60;
/// Longest mark: DE 44 has 25 characters.
const MARK_MAX: usize = 25;

/// The rules; their limits are added to `limits`.
pub(super) fn check(
    raw: &RawFile,
    counters: &[VelocityCounter],
    limits: &mut Vec<VelocityLimit>,
    problems: &mut Problems<'_>,
) -> Vec<StandInRule> {
    let mut rules = Vec::new();
    for named in raw.stand_in.as_deref().unwrap_or_default() {
        let mut section = Section::new(problems, named.name.as_str(), named.at);
        let rule = rule(&mut section, named);
        let sums = format!("{}{SUMS}", rule.name);
        let twin = limits.iter().find(|it| it.name == rule.name || it.name == sums);
        if let Some(twin) = twin.filter(|_| !rule.name.is_empty()) {
            let at = named.section.0.name.as_ref().and_then(|found| found.at);
            let message = format!("`{}` is the name of a limit or an earlier rule", twin.name);
            section.error(at, "name", message, "a rule is known by the name of its limit");
        }
        let when = meant(&mut section, &named.section.1);
        limits_of(&mut section, (named, &rule.name), (counters, when), limits);
        if limits.len() > VELOCITY_LIMITS_MAX {
            let message = format!("there are more than {VELOCITY_LIMITS_MAX} limits with it");
            section.error(None, "", message, "a rule is one limit, with a counter two");
        }
        rules.push(rule);
    }
    rules
}

fn rule(section: &mut Section<'_, '_>, named: &Named<(RawStandIn, RawWhen)>) -> StandInRule {
    let (raw, _) = &named.section;
    let usual = StandInReasons::default();
    let is = |found: &Option<Found<bool>>| found.as_ref().is_some_and(|found| found.value);
    StandInRule {
        name: name(section, &raw.name),
        window_full: is(&raw.window_full),
        after_time_out: is(&raw.after_time_out),
        reasons: StandInReasons {
            unreachable: reason(section, "reason_unreachable", &raw.reason_unreachable)
                .unwrap_or(usual.unreachable),
            signed_off: reason(section, "reason_signed_off", &raw.reason_signed_off)
                .unwrap_or(usual.signed_off),
            time_out: reason(section, "reason_time_out", &raw.reason_time_out)
                .unwrap_or(usual.time_out),
        },
        reason_field: text_field(section, "reason_field", &raw.reason_field)
            .unwrap_or(REASON_FIELD),
        mark: mark(section, raw),
    }
}

/// Four digits.
fn reason(
    section: &mut Section<'_, '_>,
    key: &str,
    found: &Option<Found<String>>,
) -> Option<[u8; 4]> {
    let Found { value, at } = found.as_ref()?;
    let digits: Option<[u8; 4]> = value.as_bytes().try_into().ok();
    let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_digit));
    if digits.is_none() {
        let message = format!("`{}` is not a reason code", quoted(value));
        section.error(*at, key, message, "four digits in quotes, as in \"9011\"");
    }
    digits
}

fn text_field(section: &mut Section<'_, '_>, key: &str, found: &Option<Found<i64>>) -> Option<u8> {
    let Found { value, at } = found.as_ref()?;
    if !TEXT_FIELDS.contains(value) {
        let message = format!("DE {value} cannot be used for it");
        let cause = format!("it must be one of {TEXT_FIELDS:?}, which hold free text");
        section.error(*at, key, message, cause);
    }
    u8::try_from(*value).ok()
}

fn mark(section: &mut Section<'_, '_>, raw: &RawStandIn) -> Option<(u8, String)> {
    let field = text_field(section, "mark_field", &raw.mark_field);
    match (field, &raw.mark_text) {
        (Some(field), Some(text)) => {
            let is_plain = text.value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if !(1..=MARK_MAX).contains(&text.value.len()) || !is_plain {
                let message = format!("`{}` cannot be used as a mark", quoted(&text.value));
                let cause = format!("1 to {MARK_MAX} plain characters");
                section.error(text.at, "mark_text", message, cause);
            }
            Some((field, text.value.clone()))
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let at = raw.mark_field.as_ref().and_then(|found| found.at);
            let at = at.or(raw.mark_text.as_ref().and_then(|found| found.at));
            let cause = "the one says where in the answer, the other what";
            section.error(at, "", "mark_field and mark_text belong together", cause);
            None
        }
    }
}

/// Which transactions a rule means: purchases without PIN of the IINs whose issuers agreed.
fn meant(section: &mut Section<'_, '_>, raw: &RawWhen) -> VelocityCondition {
    let at = |found: &Option<Found<Vec<String>>>| found.as_ref().and_then(|found| found.at);
    if raw.iins.is_none() {
        let cause = "an issuer must have agreed; iins = [\"622848\"] names whose cards";
        section.error(None, "iins", "is missing", cause);
    }
    let is_purchases =
        |kinds: &Found<Vec<String>>| kinds.value.iter().all(|kind| kind == "purchase");
    if raw.transaction_kinds.as_ref().is_some_and(|kinds| !is_purchases(kinds)) {
        let cause = "cash, transfers and pre-authorizations are for their issuer to decide";
        let at = at(&raw.transaction_kinds);
        section.error(at, "transaction_kinds", "stand-in is for purchases only", cause);
    }
    let pin_at = raw.pin.as_ref().and_then(|found| found.at);
    if raw.pin.as_ref().is_some_and(|pin| pin.value != "absent") {
        let cause = "the switch cannot check a PIN";
        section.error(pin_at, "pin", "stand-in is for transactions without PIN only", cause);
    }
    if let Some(stand_in) = &raw.stand_in {
        let cause = "it is for counters and limits, where it says which of all they mean";
        section.error(stand_in.at, "stand_in", "has no effect in a stand-in rule", cause);
    }
    VelocityCondition {
        transaction_kinds: vec![TransactionKind::Purchase],
        stand_in: true,
        ..condition(section, raw)
    }
}

fn limits_of(
    section: &mut Section<'_, '_>,
    (named, name): (&Named<(RawStandIn, RawWhen)>, &str),
    (counters, when): (&[VelocityCounter], VelocityCondition),
    limits: &mut Vec<VelocityLimit>,
) {
    let (raw, _) = &named.section;
    let amounts = 1..=VELOCITY_AMOUNT_MINOR_MAX as i64;
    let counter = counter_of(section, &raw.counter, counters);
    let count_max =
        section.number_if_any("count_max", &raw.count_max, 1..=VELOCITY_COUNT_MAX as i64);
    let sum_max = section.number_if_any("sum_minor_max", &raw.sum_minor_max, amounts.clone());
    let of_one = VelocityLimit {
        name: name.to_owned(),
        counter: None,
        scope_counter: None,
        count_max: None,
        amount_minor_max: Some(section.number("amount_minor_max", &raw.amount_minor_max, amounts)),
        when,
        code: None,
    };
    let at = raw.counter.as_ref().and_then(|found| found.at);
    let judged = counter.and_then(|place| counters.get(place));
    if let Some(judged) = judged
        && (!judged.when.stand_in || judged.resets_on_pin || !is_of_cards(judged))
    {
        let message = format!("`{}` does not count stand-in only", judged.name);
        let cause = "its own counter has scope = \"card\" and stand_in = true";
        section.error(at, "counter", message, cause);
    }
    let has_sums = count_max.is_some() || sum_max.is_some();
    match (raw.counter.is_some(), has_sums) {
        (true, false) => {
            let cause = "count_max or sum_minor_max is forgotten";
            section.error(at, "counter", "limits nothing", cause);
        }
        (false, true) => {
            let cause = "counter = NAME of a counter with stand_in = true is forgotten";
            section.error(None, "count_max", "needs a counter", cause);
        }
        (false, false) => {
            let cause = "with counter, count_max and sum_minor_max it ends";
            section.warning(None, "", "a card is approved any number of times", cause);
        }
        (true, true) => {}
    }
    let sums = has_sums.then(|| VelocityLimit {
        name: format!("{name}{SUMS}"),
        counter,
        count_max,
        amount_minor_max: sum_max,
        ..of_one.clone()
    });
    limits.push(of_one);
    limits.extend(sums);
}

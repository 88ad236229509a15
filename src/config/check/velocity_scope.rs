//! Counters of terminals, merchants, acquirers and tokens, and their limits: what they cannot have, and
//! apart from those of cards in the end.

use super::section::Section;
use crate::config::file::{Found, Named, RawCounter, RawFile, RawLimit, RawWhen};
use crate::config::problem::Problems;
use crate::config::{VelocityCondition, VelocityCounter, VelocityLimit, VelocityScope};
use crate::limits::{ENTITIES_MAX, ENTITY_TRANSACTIONS_MAX, SCOPE_COUNTERS_MAX};

/// Entities, and transactions that can be given back.
const ENTITIES_MIN: i64 = 16;
const TRANSACTIONS_MIN: i64 = 64;

const SCOPES: [(&str, VelocityScope); 5] = [
    ("card", VelocityScope::Card),
    ("terminal", VelocityScope::Terminal),
    ("merchant", VelocityScope::Merchant),
    ("acquirer", VelocityScope::Acquirer),
    ("token", VelocityScope::Token),
];

/// Whose transactions are counted together; of cards where nothing is said.
pub(super) fn scope(section: &mut Section<'_, '_>, found: &Option<Found<String>>) -> VelocityScope {
    let said = found.as_ref().and_then(|_| section.word("scope", found, &SCOPES));
    said.unwrap_or(VelocityScope::Card)
}

pub(super) fn is_of_cards(counter: &VelocityCounter) -> bool {
    counter.scope == VelocityScope::Card
}

/// How many entities, and how many transactions, a shard keeps.
pub(super) fn sizes(
    raw: &RawFile,
    counters: &[VelocityCounter],
    problems: &mut Problems<'_>,
) -> (usize, usize) {
    let mut section = Section::new(problems, "velocity", None);
    let velocity = &raw.velocity;
    let entities =
        section.number("entities", &velocity.entities, ENTITIES_MIN..=ENTITIES_MAX as i64);
    let found = &velocity.entity_transactions;
    let range = TRANSACTIONS_MIN..=ENTITY_TRANSACTIONS_MAX as i64;
    let transactions: usize = section.number("entity_transactions", found, range);
    let pending_max = raw.switch.pending_max.as_ref().map_or(0, |found| found.value);
    if transactions < usize::try_from(pending_max).unwrap_or_default()
        && !counters.iter().all(is_of_cards)
    {
        let at = found.as_ref().and_then(|found| found.at);
        let message = format!("{transactions} is less than switch.pending_max, {pending_max}");
        let cause = "what is under way must be known until it is answered, or it stays counted";
        section.error(at, "entity_transactions", message, cause);
    }
    (entities, transactions)
}

/// Names the first counter too many, and those that a PIN would set back.
pub(super) fn check_counters(
    raw: &[Named<(RawCounter, RawWhen)>],
    counters: &[VelocityCounter],
    problems: &mut Problems<'_>,
) {
    let shared = || raw.iter().zip(counters).filter(|(_, counter)| !is_of_cards(counter));
    if let Some((named, _)) = shared().nth(SCOPE_COUNTERS_MAX) {
        let message = format!(
            "{} counters of terminals, merchants, acquirers and tokens, at most {SCOPE_COUNTERS_MAX}",
            shared().count()
        );
        let cause = "a limit can be by count and by amount at once";
        Section::new(problems, named.name.as_str(), named.at).error(None, "", message, cause);
    }
    for (named, _) in shared().filter(|(_, counter)| counter.when.stand_in) {
        let at = named.section.1.stand_in.as_ref().and_then(|found| found.at);
        let (message, cause) = ("is for counters of cards only", "scope = \"card\"");
        Section::new(problems, named.name.as_str(), named.at).error(at, "stand_in", message, cause);
    }
    for (named, _) in shared().filter(|(_, counter)| counter.resets_on_pin) {
        let at = named.section.0.resets_on.as_ref().and_then(|found| found.at);
        let cause = "a PIN proves who holds one card; scope = \"card\" is what it can set back";
        let message = "is for counters of cards only";
        Section::new(problems, named.name.as_str(), named.at).error(
            at,
            "resets_on",
            message,
            cause,
        );
    }
}

/// A limit of entities has all its counter counts: parts of it are lent, and what were counted without
/// being judged would be nobody's part.
pub(super) fn check_limits(
    raw: &[Named<(RawLimit, RawWhen)>],
    (counters, limits): (&[VelocityCounter], &[VelocityLimit]),
    problems: &mut Problems<'_>,
) {
    for (place, (named, limit)) in raw.iter().zip(limits).enumerate() {
        let judged = limit.counter.and_then(|counter| counters.get(counter));
        let Some(counter) = judged.filter(|counter| !is_of_cards(counter)) else { continue };
        let mut section = Section::new(problems, named.name.as_str(), named.at);
        if limit.when != VelocityCondition::default() {
            let message = format!("conditions belong to its counter, `{}`", counter.name);
            let cause =
                "a limit of a terminal, merchant, acquirer or token judges all that is counted";
            section.error(None, "", message, cause);
        }
        let earlier = limits.iter().take(place).find(|other| other.counter == limit.counter);
        if let Some(earlier) = earlier {
            let at = named.section.0.counter.as_ref().and_then(|found| found.at);
            let message = format!("`{}` is judged by `{}` already", counter.name, earlier.name);
            let cause = "a counter of terminals, merchants, acquirers or tokens has one limit, by \
                         count and by amount; write another counter";
            section.error(at, "counter", message, cause);
        }
    }
}

/// Counters of cards and of entities, and limits that name them by their places there.
pub(super) fn apart(
    counters: Vec<VelocityCounter>,
    mut limits: Vec<VelocityLimit>,
) -> (Vec<VelocityCounter>, Vec<VelocityCounter>, Vec<VelocityLimit>) {
    let place = |of: usize| {
        let counter = counters.get(of)?;
        let before = counters.iter().take(of);
        let is_card = is_of_cards(counter);
        Some((is_card, before.filter(|other| is_of_cards(other) == is_card).count()))
    };
    for limit in &mut limits {
        let judged = limit.counter.take().and_then(place);
        match judged {
            Some((true, place)) => limit.counter = Some(place),
            Some((false, place)) => limit.scope_counter = Some(place),
            None => {}
        }
    }
    let (cards, shared) = counters.into_iter().partition(is_of_cards);
    (cards, shared, limits)
}

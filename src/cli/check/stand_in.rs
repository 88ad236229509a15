//! Stand-in rules in words.

use crate::cli::quantity::{amount, grouped};
use crate::config::{Config, StandInRule, VelocityLimit};
use std::io::{self, Write};

pub(super) fn show(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let rules = &config.velocity.stand_in;
    if rules.is_empty() {
        return writeln!(out, "stand-in  none: an issuer that cannot be reached is 91");
    }
    writeln!(
        out,
        "stand-in  {} rules: purchases without PIN, within the limits of these names too",
        rules.len()
    )?;
    rules.iter().try_for_each(|rule| show_rule(out, config, rule))
}

fn show_rule(out: &mut dyn Write, config: &Config, rule: &StandInRule) -> io::Result<()> {
    let named = |name: String| config.velocity.limits.iter().find(move |it| it.name == name);
    let at_once = named(rule.name.clone()).and_then(|limit| limit.amount_minor_max);
    let at_once = at_once.map_or_else(String::new, |max| format!("{} at once", amount(max)));
    let sums = named(format!("{}-sums", rule.name)).map_or_else(
        || "any number of times".to_owned(),
        |limit| format!("{} of {}", most(limit), counter(config, limit)),
    );
    let mut when = vec!["no link, signed off, or not asked after time-outs"];
    when.extend(rule.window_full.then_some("window full"));
    when.extend(rule.after_time_out.then_some("not answered in time: reversed, then approved"));
    writeln!(out, "          {}: {at_once}, {sums}; when {}", rule.name, when.join("; "))?;
    let reasons = &rule.reasons;
    let mark = rule.mark.as_ref().map_or_else(
        || "answers are not marked".to_owned(),
        |(field, text)| format!("answers have \"{text}\" in DE {field}"),
    );
    writeln!(
        out,
        "            issuers get 0220 with {} (no link, window), {} (signed off) or {} (time-out) in \
         DE {}; {mark}",
        reasons.unreachable.escape_ascii(),
        reasons.signed_off.escape_ascii(),
        reasons.time_out.escape_ascii(),
        rule.reason_field,
    )
}

fn most(limit: &VelocityLimit) -> String {
    let count = limit.count_max.map(|count| format!("{} times", grouped(count.into())));
    let sum = limit.amount_minor_max.map(amount);
    [count, sum].into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn counter<'c>(config: &'c Config, limit: &VelocityLimit) -> &'c str {
    let counter = limit.counter.and_then(|place| config.velocity.counters.get(place));
    counter.map_or("?", |counter| counter.name.as_str())
}

//! Counters of terminals, merchants, acquirers and tokens, and what escrow means for their limits.

use super::{describe_when, show_table, window};
use crate::cli::quantity::{amount, grouped};
use crate::config::{Config, VelocityCounter, VelocityLimit, VelocityScope};
use crate::shard::velocity::escrow::entitlement;
use std::io::{self, Write};

pub(super) fn show(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let counters = &config.velocity.scope_counters;
    if counters.is_empty() {
        return Ok(());
    }
    show_table(out, ["counter", "per", "in", "counts"], counters.iter().map(row).collect())?;
    if counters.iter().any(|counter| counter.scope == VelocityScope::Token) {
        writeln!(
            out,
            "          limits of tokens are exact: a token is counted where its card is"
        )?;
    }
    if counters.iter().any(|counter| counter.scope != VelocityScope::Token) {
        show_escrow(out, config)?;
    }
    Ok(())
}

fn show_escrow(out: &mut dyn Write, config: &Config) -> io::Result<()> {
    let (velocity, shards) = (&config.velocity, config.switch.shards);
    let of_tokens = velocity.scope_counters.iter().any(|it| it.scope == VelocityScope::Token);
    let these = if of_tokens { "the others" } else { "these" };
    if shards == 1 {
        return writeln!(out, "          limits of {these} are by escrow: exact with one shard");
    }
    writeln!(
        out,
        "          limits of {these} are by escrow: never passed, and may decline early with {shards} \
         shards"
    )?;
    let is_shared = |limit: &&VelocityLimit| {
        let counter = limit.scope_counter.and_then(|place| velocity.scope_counters.get(place));
        counter.is_some_and(|counter| counter.scope != VelocityScope::Token)
    };
    for limit in velocity.limits.iter().filter(is_shared) {
        writeln!(out, "          {}: {}", limit.name, shares(limit, shards))?;
    }
    Ok(())
}

fn row(counter: &VelocityCounter) -> [String; 4] {
    let per = match counter.scope {
        VelocityScope::Card => "card",
        VelocityScope::Terminal => "terminal",
        VelocityScope::Merchant => "merchant",
        VelocityScope::Acquirer => "acquirer",
        VelocityScope::Token => "token",
    };
    [counter.name.clone(), per.to_owned(), window(counter), describe_when(&counter.when)]
}

fn shares(limit: &VelocityLimit, shards: usize) -> String {
    let sum = limit.amount_minor_max.map(|max| amount(entitlement(max, shards)));
    let count = limit.count_max.map(|max| entitlement(max.into(), shards));
    let count_text = count.map(|count| format!("{} transactions", grouped(count)));
    let each: Vec<String> = sum.into_iter().chain(count_text).collect();
    let warning = if count == Some(0) {
        "; fewer transactions than shards: first ones are declined until their lease has come"
    } else {
        ""
    };
    format!("each shard uses {} without asking{warning}", each.join(" and "))
}

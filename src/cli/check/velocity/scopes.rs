//! Counters of terminals, merchants and acquirers, and what escrow means for their limits.

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
    let shards = config.switch.shards;
    if shards == 1 {
        return writeln!(out, "          limits of these are by escrow: exact with one shard");
    }
    writeln!(
        out,
        "          limits of these are by escrow: never passed, and may decline early with {shards} \
         shards"
    )?;
    for limit in config.velocity.limits.iter().filter(|limit| limit.scope_counter.is_some()) {
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

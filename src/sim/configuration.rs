//! The configuration of a world's switch: a text as an operator writes it, read and checked as any
//! other, with small tables so that a switch starts in milliseconds.

use super::oracle::Rules;
use super::plan::{ANSWER_MARGIN_MS, ANSWER_WITHIN_MS, ISSUERS, Limit, Party, Plan, Window};
use super::stand_in::{MARK, Rule};
use crate::config::{Config, IinRow};
use crate::shard::IssuerId;
use std::fmt::Write as _;

/// What the switch of this world runs by, with these limits.
pub(super) fn configuration(plan: &Plan, limits: &[Limit], rules: Rules) -> Config {
    // Which banks these are does not matter: the first three of the shipped table.
    let names: Vec<String> = {
        let shipped = Config::embedded();
        shipped.issuers.iter().take(ISSUERS).map(|issuer| issuer.name.clone()).collect()
    };
    let text = text(plan, limits, rules, &names);
    let mut config = match Config::parse("simulated.toml", &text) {
        Ok(config) => config,
        Err(error) => unreachable!("Invariant: the simulator writes legal configurations: {error}"),
    };
    // The other banks' trace numbers would take megabytes that a restart has to write.
    config.issuers.truncate(ISSUERS);
    config.bank.behaviour.truncate(ISSUERS);
    let row = |issuer: usize| {
        let row = first_row(&config.iins, issuer);
        IinRow { issuer: IssuerId(rules.routes[issuer]), ..row }
    };
    config.iins = (0..ISSUERS).map(row).collect();
    config
}

fn first_row(rows: &[IinRow], issuer: usize) -> IinRow {
    let is_first = |row: &&IinRow| row.issuer == IssuerId(issuer as u8) && row.digits == 6;
    *rows.iter().find(is_first).expect("Invariant: every shipped issuer has a prefix of six digits")
}

fn text(plan: &Plan, limits: &[Limit], rules: Rules, names: &[String]) -> String {
    let mut text = String::new();
    let dialect = if plan.is_cups { "cups" } else { "iso87-ascii" };
    let _ = write!(
        text,
        "[switch]\nshards = {}\npending_max = {}\nduplicates_bytes = 8_388_608\n\
         preauthorizations_max = 16_384\noriginals_bytes = 8_388_608\npeak_per_second = 1_000\n",
        plan.shards, plan.pending_max
    );
    for acquirer in 0..plan.acquirers {
        let _ = write!(
            text,
            "[acquirer.a{acquirer}]\nlisten = \"127.0.0.1:0\"\ndialect = \"{dialect}\"\n\
             answer_within_ms = {ANSWER_WITHIN_MS}\nanswer_margin_ms = {ANSWER_MARGIN_MS}\n\
             transit_mccs = []\n",
        );
    }
    for (issuer, name) in names.iter().enumerate() {
        let _ = writeln!(text, "[issuer.{name}]\nintent_first = {}", plan.intent_first[issuer]);
        if plan.linked[issuer] {
            let port = 9_101 + issuer;
            let _ = writeln!(text, "connect = \"127.0.0.1:{port}\"\ndialect = \"{dialect}\"");
            let session = &plan.sessions[issuer];
            let _ = writeln!(
                text,
                "connections = {}\nsign_on = {}\necho_idle_ms = {}\necho_misses = {}\n\
                 breaker_timeouts = {}",
                session.connections,
                session.sign_on,
                session.echo_idle_ms,
                session.echo_misses,
                session.breaker_timeouts
            );
            if let Some(second) = plan.failover[issuer] {
                let _ = writeln!(text, "failover = \"{}\"", names[usize::from(second)]);
            }
        }
    }
    if plan.tokens_each > 0 {
        super::tokens::write_requestor(&mut text);
    }
    text.push_str("[velocity]\nlines = 65_536\n");
    if !plan.scopes.is_empty() {
        text.push_str("entities = 1_024\nentity_transactions = 65_536\n");
    }
    for (counter, window) in plan.counters.iter().enumerate() {
        counter_text(&mut text, (&format!("c{counter}"), "card"), *window);
    }
    if plan.stand_in.is_some() {
        text.push_str(
            "[[velocity.counter]]\nname = \"stood_in\"\nscope = \"card\"\nwindow = \"day\"\n\
             zone_offset_minutes = 0\nstand_in = true\n",
        );
    }
    for (number, limit) in limits.iter().enumerate() {
        let counter = limit.counter.map(|counter| format!("c{counter}"));
        let most = (limit.count_max, limit.amount_max);
        limit_text(&mut text, (&format!("l{number}"), counter.as_deref()), most, rules);
    }
    scopes_text(&mut text, plan, rules);
    if let Some(rule) = &plan.stand_in {
        write_rule(&mut text, rule);
    }
    text
}

fn scopes_text(text: &mut String, plan: &Plan, rules: Rules) {
    for (number, scope) in plan.scopes.iter().enumerate() {
        let party = match scope.party {
            Party::Merchant => "merchant",
            Party::Terminal => "terminal",
            Party::Acquirer => "acquirer",
        };
        let name = format!("s{number}");
        counter_text(text, (&name, party), scope.window);
        let most = (scope.count_max, scope.amount_max);
        limit_text(text, (&name, Some(&name)), most, rules);
    }
}

fn write_rule(text: &mut String, rule: &Rule) {
    let shipped = Config::embedded();
    let meant = (0..ISSUERS).filter(|issuer| rule.issuers[*issuer]);
    let iins: Vec<String> =
        meant.map(|issuer| format!("\"{}\"", first_row(&shipped.iins, issuer).prefix)).collect();
    let Rule { amount_max, count_max, after_time_out, window_full, .. } = rule;
    let _ = writeln!(
        text,
        "[[stand_in]]\nname = \"floor\"\niins = [{}]\namount_minor_max = {amount_max}\n\
         counter = \"stood_in\"\ncount_max = {count_max}\nafter_time_out = {after_time_out}\n\
         window_full = {window_full}\nmark_field = 44\nmark_text = \"{MARK}\"",
        iins.join(", "),
    );
}

fn counter_text(text: &mut String, (name, scope): (&str, &str), window: Window) {
    let _ = writeln!(text, "[[velocity.counter]]\nname = \"{name}\"\nscope = \"{scope}\"");
    let _ = match window {
        Window::Fixed { window_s } => writeln!(text, "window_s = {window_s}"),
        Window::Rolling { window_s, sub_windows } => {
            writeln!(text, "window_s = {window_s}\nsub_windows = {sub_windows}")
        }
        Window::Day => writeln!(text, "window = \"day\"\nzone_offset_minutes = 0"),
    };
}

fn limit_text(
    text: &mut String,
    (name, counter): (&str, Option<&str>),
    (count_max, amount_max): (Option<u64>, Option<u64>),
    rules: Rules,
) {
    let _ = writeln!(text, "[[velocity.limit]]\nname = \"{name}\"");
    if let Some(code) = rules.code {
        let _ = writeln!(text, "code = \"{}\"", String::from_utf8_lossy(&code));
    }
    if let Some(counter) = counter {
        let _ = writeln!(text, "counter = \"{counter}\"");
    }
    if let Some(count_max) = count_max {
        let _ = writeln!(text, "count_max = {count_max}");
    }
    if let Some(amount_max) = amount_max {
        let _ = writeln!(text, "amount_minor_max = {amount_max}");
    }
}

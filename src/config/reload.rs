//! What a running switch can take over of a configuration that was read again, and what needs a
//! restart.
//!
//! Every part is taken apart by its fields: a key that is added and not compared does not compile.

use super::{
    AcquirerConfig, BankConfig, BankProducts, Config, IssuerConfig, IssuerLinkConfig,
    RequestorConfig, SwitchConfig,
};
use super::{VelocityConfig, VelocityCounter};
use crate::shard::IssuerId;
use std::fmt;

/// Compares fields, first to last, and notes those that differ.
macro_rules! compare {
    ($found:expr, $old:expr, $new:expr, $path:expr, $type:ident { $($field:ident),* } $(, $by:ident $value:expr)*) => {{
        let $type { $($field,)* $($by: _,)* } = $old;
        $(
            if *$field != $new.$field {
                $found.key($path, stringify!($field));
            }
        )*
        $(
            let value = $value;
            if value($old) != value($new) {
                $found.key($path, stringify!($by));
            }
        )*
    }};
}

/// Changes that a running switch cannot take over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeedsRestart {
    /// The keys, sections or counters that differ; at least one.
    pub keys: Vec<String>,
}

impl fmt::Display for NeedsRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let have = if self.keys.len() == 1 {
            "has changed, which needs"
        } else {
            "have changed, which need"
        };
        write!(f, "{} {have} a restart", self.keys.join(", "))
    }
}

impl std::error::Error for NeedsRestart {}

impl NeedsRestart {
    fn key(&mut self, section: &str, key: &str) {
        self.keys.push(format!("{section}.{key}"));
    }

    fn whole(&mut self, is_same: bool, what: &str) {
        if !is_same {
            self.keys.push(what.to_owned());
        }
    }
}

impl Config {
    /// Whether a switch that runs by this can go on by `new`: all is the same but velocity limits,
    /// the conditions of counters and limits, requestors; acquirers' timers and codes; issuers' windows;
    /// and whose cards are whose.
    ///
    /// # Errors
    /// Every difference that needs a restart.
    pub fn allows(&self, new: &Self) -> Result<(), NeedsRestart> {
        let Self {
            switch,
            acquirers,
            issuers,
            // Rows are free among the issuers that there are.
            iins: _,
            velocity,
            // Levels, ranges and domains are free; keys are read at the start.
            requestors,
            wallet,
            bank,
            journal,
            keys,
            outcomes,
            admin,
        } = self;
        let mut found = NeedsRestart::default();
        compare_switch(&mut found, switch, &new.switch);
        named(&mut found, "acquirer", (acquirers, &new.acquirers), |it| &it.name, compare_acquirer);
        named(&mut found, "issuer", (issuers, &new.issuers), |it| &it.name, compare_issuer);
        compare_velocity(&mut found, velocity, &new.velocity);
        compare_bank(&mut found, bank, &new.bank);
        found.whole(*journal == new.journal, "[journal]");
        found.whole(*wallet == new.wallet, "[wallet]");
        let keys_of = |requestors: &[RequestorConfig]| -> Vec<_> {
            let keys = requestors.iter().map(|it| (it.id, it.cryptogram.clone()));
            let mut keys: Vec<_> = keys.filter(|(_, cryptogram)| cryptogram.is_some()).collect();
            keys.sort_unstable_by_key(|(id, _)| *id);
            keys
        };
        let is_same = keys_of(requestors) == keys_of(&new.requestors);
        found.whole(is_same, "cryptogram_key_file and what goes with it");
        found.whole(*keys == new.keys, "[keys]");
        found.whole(*outcomes == new.outcomes, "[outcomes]");
        found.whole(*admin == new.admin, "[admin]");
        if found.keys.is_empty() { Ok(()) } else { Err(found) }
    }
}

impl Config {
    /// The same with its issuers in the order of another one's, which their numbers follow from: they
    /// stand in the order in which the table of IINs names them, and there a row may have moved. Issuers
    /// of its own come last.
    #[must_use]
    pub fn in_the_order_of(self, other: &Self) -> Self {
        let names: Vec<String> = other.issuers.iter().map(|issuer| issuer.name.clone()).collect();
        self.in_order(&names, &[])
    }

    /// The same with its issuers and acquirers in this order, as far as they are in it; others of its
    /// own come last.
    #[must_use]
    pub fn in_order(mut self, issuers: &[String], acquirers: &[String]) -> Self {
        self.acquirers.sort_by_key(|acquirer| {
            acquirers.iter().position(|name| *name == acquirer.name).unwrap_or(usize::MAX)
        });
        let place_in = |name: &str| issuers.iter().position(|issuer| issuer == name);
        let mut order: Vec<usize> = (0..self.issuers.len()).collect();
        order.sort_by_key(|&own| {
            let name = self.issuers.get(own).map_or("", |issuer| issuer.name.as_str());
            (place_in(name).unwrap_or(usize::MAX), own)
        });
        let ordered = order.iter().filter_map(|&own| self.issuers.get(own).cloned());
        let ordered: Vec<IssuerConfig> = ordered.collect();
        let behaviour = order.iter().filter_map(|&own| self.bank.behaviour.get(own).cloned());
        let behaviour = behaviour.collect();
        for row in &mut self.iins {
            let own = usize::from(row.issuer.0);
            let place = order.iter().position(|&it| it == own);
            // There are as many places as before, which fit a byte.
            row.issuer = place.and_then(|it| u8::try_from(it).ok()).map_or(row.issuer, IssuerId);
        }
        (self.issuers, self.bank.behaviour) = (ordered, behaviour);
        self
    }
}

/// The same names in the same order, and the same of each.
fn named<T>(
    found: &mut NeedsRestart,
    section: &str,
    (old, new): (&[T], &[T]),
    name: impl Fn(&T) -> &String,
    compare: impl Fn(&mut NeedsRestart, &T, &T),
) {
    for place in 0..old.len().max(new.len()) {
        match (old.get(place), new.get(place)) {
            (Some(old), Some(new)) if name(old) == name(new) => compare(found, old, new),
            (old, new) => {
                let first = new.or(old).map(&name).cloned().unwrap_or_default();
                return found.keys.push(format!("[{section}.{first}]"));
            }
        }
    }
}

fn compare_switch(found: &mut NeedsRestart, old: &SwitchConfig, new: &SwitchConfig) {
    compare!(
        found,
        old,
        new,
        "switch",
        SwitchConfig {
            shards,
            cores,
            idle,
            engine,
            pending_max,
            duplicates_bytes,
            preauthorizations_max,
            originals_bytes,
            drain_ms,
            clock_step_max_ms,
            stall_abort_ms,
            cutoff
        }
    );
}

fn compare_acquirer(found: &mut NeedsRestart, old: &AcquirerConfig, new: &AcquirerConfig) {
    let path = format!("acquirer.{}", old.name);
    compare!(found, old, new, &path, AcquirerConfig {
        name, listen, framing, sign_on_required, session, qr_code, duplicate_key
    }, dialect |it: &AcquirerConfig| it.dialect.name(),
        answer_within_ms |_| (), answer_margin_ms |_| (), transit_answer_within_ms |_| (),
        transit_answer_margin_ms |_| (), transit_mccs |_| (), codes |_| ());
}

fn compare_issuer(found: &mut NeedsRestart, old: &IssuerConfig, new: &IssuerConfig) {
    let path = format!("issuer.{}", old.name);
    let connect = |it: &IssuerConfig| it.link.as_ref().map(|link| (link.connect, link.listen));
    if connect(old) != connect(new) {
        return found.key(&path, "connect");
    }
    compare!(
        found,
        old,
        new,
        &path,
        IssuerConfig { name, intent_first, saf_rate, failover },
        in_flight_max | _ | (),
        link | _ | (),
        marks_repeats | _ | ()
    );
    if old.marks_repeats != new.marks_repeats {
        found.key(&path, "repeat_mti");
    }
    let (Some(old), Some(new)) = (&old.link, &new.link) else { return };
    compare!(found, old, new, &path, IssuerLinkConfig {
            connect, listen, peers, probe_idle_ms, framing, connections, sign_on, echo_idle_ms, echo_misses,
            breaker_timeouts
        },
        dialect |it: &IssuerLinkConfig| it.dialect.name(),
        reconciles | _ | ());
    if old.reconciles != new.reconciles {
        found.key(&path, "reconcile");
    }
}

/// Limits are free; a counter is a place in every card's line, and only what it counts is free.
fn compare_velocity(found: &mut NeedsRestart, old: &VelocityConfig, new: &VelocityConfig) {
    let VelocityConfig {
        lines,
        counters,
        scope_counters,
        entities,
        entity_transactions,
        limits: _,
        stand_in: _,
        table,
    } = old;
    if *lines != new.lines {
        found.key("velocity", "lines");
    }
    if *table != new.table {
        found.key("velocity", "table");
    }
    if *entities != new.entities {
        found.key("velocity", "entities");
    }
    if *entity_transactions != new.entity_transactions {
        found.key("velocity", "entity_transactions");
    }
    compare_counters(found, counters, &new.counters);
    compare_counters(found, scope_counters, &new.scope_counters);
}

fn compare_counters(
    found: &mut NeedsRestart,
    counters: &[VelocityCounter],
    others: &[VelocityCounter],
) {
    for place in 0..counters.len().max(others.len()) {
        let pair = (counters.get(place), others.get(place));
        if let (Some(old), Some(new)) = pair
            && is_same_counter(old, new)
        {
            continue;
        }
        let is_old = |new: &VelocityCounter| counters.iter().any(|old| old.name == new.name);
        let name = match pair {
            (Some(old), Some(new)) if is_old(new) => &old.name,
            (_, Some(counter)) | (Some(counter), None) => &counter.name,
            (None, None) => break,
        };
        return found.keys.push(format!("counter `{name}`"));
    }
}

fn is_same_counter(old: &VelocityCounter, new: &VelocityCounter) -> bool {
    let VelocityCounter { name, scope, window, resets_on_pin, when: _ } = old;
    *name == new.name
        && *scope == new.scope
        && *window == new.window
        && *resets_on_pin == new.resets_on_pin
}

fn compare_bank(found: &mut NeedsRestart, old: &BankConfig, new: &BankConfig) {
    compare!(
        found,
        old,
        new,
        "bank",
        BankConfig {
            threads,
            cores,
            seed,
            accounts_max,
            balance_minor,
            credit_line_minor,
            behaviour
        },
        products | _ | ()
    );
    compare!(
        found,
        &old.products,
        &new.products,
        "bank",
        BankProducts {
            fund_share_ppm,
            fund_nav,
            fund_nav_daily_gain,
            fund_redemption_day_minor_max,
            loan_share_ppm,
            loan_line_minor,
            loan_instalments
        }
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("switch.toml", text).unwrap()
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let refused = config("").allows(&config(text)).unwrap_err();
        assert_eq!(refused.keys, [expected]);
    }

    #[test]
    fn what_is_sized_or_opened_at_the_start_needs_a_restart() {
        refused("[switch]\ndrain_ms = 1_234", "switch.drain_ms");
        refused("[switch]\npending_max = 1_024", "switch.pending_max");
        refused("[velocity]\nlines = 1_024", "velocity.lines");
        refused("[bank]\nseed = 9", "bank.seed");
        refused("[bank]\nfund_nav = 9_000", "bank.fund_nav");
        refused("[issuer.ICBC]\nconnect = \"127.0.0.1:9101\"", "issuer.ICBC.connect");
        refused("[issuer.ICBC]\nintent_first = true", "issuer.ICBC.intent_first");
        refused("[journal]\ndata_dir = \"data\"", "[journal]");
        refused("[outcomes]\ndir = \"log\"", "[outcomes]");
        refused("[admin]\nsocket = \"operators\"", "[admin]");
        let acquirer = "[acquirer.cups]\nlisten = \"127.0.0.1:8583\"\ndialect = \"cups\"\n";
        refused(acquirer, "[acquirer.iso87-ascii]");
    }

    #[test]
    fn limits_conditions_and_codes_are_free_and_counters_are_not() {
        let old = config("");
        let mut new = old.clone();
        assert_eq!(old.allows(&new), Ok(()));
        new.velocity.limits.reverse();
        new.velocity.limits.truncate(3);
        new.velocity.limits[0].amount_minor_max = Some(1);
        new.velocity.limits[1].code = Some(tapswitch_protocol::ResponseCode::NOT_PERMITTED);
        new.velocity.counters[0].when.mccs = vec![5_411];
        assert_eq!(old.allows(&new), Ok(()));
        new.velocity.counters[1].resets_on_pin ^= true;
        let name = new.velocity.counters[1].name.clone();
        assert_eq!(old.allows(&new).unwrap_err().keys, [format!("counter `{name}`")]);
        let mut fewer = old.clone();
        let gone = fewer.velocity.counters.pop().unwrap().name;
        let refused = old.allows(&fewer).unwrap_err();
        let text = format!("counter `{gone}` has changed, which needs a restart");
        assert_eq!(refused.to_string(), text);
        assert!(fewer.allows(&old).is_err());
    }

    #[test]
    fn timers_codes_windows_and_rows_are_free() {
        let old = config("");
        let allowed = |text: &str| old.allows(&config(text).in_the_order_of(&old));
        let acquirers = "[acquirer.cups]\nanswer_within_ms = 9_000\nanswer_margin_ms = 1_500\n\
                         transit_mccs = [4111]\n[acquirer.iso87-ascii]\ndialect = \"iso87-ascii\"\n";
        assert_eq!(allowed(acquirers), Ok(()));
        assert_eq!(allowed("[codes.cups]\ntime_out = \"91\""), Ok(()));
        assert_eq!(allowed("[issuer.ICBC]\nin_flight_max = 7"), Ok(()));
        let named =
            allowed(&format!("{acquirers}sign_on_required = true\n[journal]\nrelaxed_ms = 7"));
        assert_eq!(named.unwrap_err().keys, ["acquirer.iso87-ascii.sign_on_required"]);
    }

    #[test]
    fn issuers_keep_their_numbers_when_the_table_names_them_in_another_order() {
        let mut old = config("");
        old.issuers.truncate(3);
        old.bank.behaviour.truncate(3);
        old.iins.retain(|row| row.issuer.0 < 3);
        let [a, b, c] = [0, 1, 2].map(|place| old.issuers[place].name.clone());
        let mut new = old.clone();
        // C A B: what was 2 is 0 now.
        new.issuers.rotate_right(1);
        new.bank.behaviour.rotate_right(1);
        new.iins.iter_mut().for_each(|row| row.issuer.0 = (row.issuer.0 + 1) % 3);
        new.issuers[0].in_flight_max = 7;
        assert!(old.allows(&new).is_err());
        let new = new.in_the_order_of(&old);
        assert_eq!(old.allows(&new), Ok(()));
        let names: Vec<&String> = new.issuers.iter().map(|issuer| &issuer.name).collect();
        assert_eq!(names, [&a, &b, &c]);
        assert_eq!((&new.iins, new.issuers[2].in_flight_max), (&old.iins, 7));
        let mut other = new.clone();
        other.issuers[1].name = "OTHER".to_owned();
        let other = other.in_the_order_of(&old);
        assert_eq!(other.issuers[2].name, "OTHER");
        assert!(old.allows(&other).unwrap_err().keys[0].contains("issuer."));
    }

    #[test]
    fn issuers_and_acquirers_take_the_order_that_is_kept() {
        let config = Config::embedded();
        let mut issuers: Vec<String> = config.issuers.iter().map(|it| it.name.clone()).collect();
        let mut acquirers: Vec<String> =
            config.acquirers.iter().map(|it| it.name.clone()).collect();
        issuers.reverse();
        acquirers.reverse();
        let ordered = config.clone().in_order(&issuers[..3], &acquirers);
        let names: Vec<&String> = ordered.issuers.iter().map(|it| &it.name).collect();
        assert_eq!(names[..3], [&issuers[0], &issuers[1], &issuers[2]]);
        assert_eq!(names[3], &config.issuers[0].name, "others come after them");
        assert_eq!(names.len(), issuers.len());
        assert!(ordered.acquirers.iter().map(|it| &it.name).eq(&acquirers));
        for (row, before) in ordered.iins.iter().zip(&config.iins) {
            let name = &ordered.issuers[usize::from(row.issuer.0)].name;
            assert_eq!(*name, config.issuers[usize::from(before.issuer.0)].name);
        }
    }
}

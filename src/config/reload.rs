//! What a running switch can take over of a configuration that was read again, and what needs a
//! restart.
//!
//! Every part is taken apart by its fields: a key that is added and not compared does not compile.

use super::{AcquirerConfig, BankConfig, Config, IssuerConfig, IssuerLinkConfig, SwitchConfig};
use super::{VelocityConfig, VelocityCounter};

/// Compares fields, first to last, and names the first that differs.
macro_rules! compare {
    ($old:expr, $new:expr, $path:expr, $type:ident { $($field:ident),* } $(, $by:ident $value:expr)*) => {{
        let $type { $($field,)* $($by: _,)* } = $old;
        $(
            if *$field != $new.$field {
                return Err(NeedsRestart::key($path, stringify!($field)));
            }
        )*
        $(
            let value = $value;
            if value($old) != value($new) {
                return Err(NeedsRestart::key($path, stringify!($by)));
            }
        )*
    }};
}

/// A change that a running switch cannot take over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has changed, which needs a restart")]
pub struct NeedsRestart {
    /// The first key or counter that differs.
    pub what: String,
}

impl NeedsRestart {
    fn key(section: &str, key: &str) -> Self {
        Self { what: format!("{section}.{key}") }
    }
}

impl Config {
    /// Whether a switch that runs by this can go on by `new`: all is the same but velocity limits,
    /// the conditions of counters and limits, and limits' codes.
    ///
    /// # Errors
    /// The first difference that needs a restart.
    pub fn allows(&self, new: &Self) -> Result<(), NeedsRestart> {
        let Self { switch, acquirers, issuers, iins, velocity, bank, journal, keys, outcomes } =
            self;
        compare_switch(switch, &new.switch)?;
        named("acquirer", acquirers, &new.acquirers, |it| &it.name, compare_acquirer)?;
        named("issuer", issuers, &new.issuers, |it| &it.name, compare_issuer)?;
        let section = |same: bool, name: &str| match same {
            true => Ok(()),
            false => Err(NeedsRestart { what: name.to_owned() }),
        };
        section(*iins == new.iins, "the table of IINs (switch.iin_file)")?;
        compare_velocity(velocity, &new.velocity)?;
        compare_bank(bank, &new.bank)?;
        section(*journal == new.journal, "[journal]")?;
        section(*keys == new.keys, "[keys]")?;
        section(*outcomes == new.outcomes, "[outcomes]")
    }
}

/// The same names in the same order, and the same of each.
fn named<T>(
    section: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    compare: impl Fn(&T, &T) -> Result<(), NeedsRestart>,
) -> Result<(), NeedsRestart> {
    for place in 0..old.len().max(new.len()) {
        match (old.get(place), new.get(place)) {
            (Some(old), Some(new)) if name(old) == name(new) => compare(old, new)?,
            (old, new) => {
                let first = new.or(old).map(&name).cloned().unwrap_or_default();
                return Err(NeedsRestart { what: format!("[{section}.{first}]") });
            }
        }
    }
    Ok(())
}

fn compare_switch(old: &SwitchConfig, new: &SwitchConfig) -> Result<(), NeedsRestart> {
    compare!(
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
            drain_ms
        }
    );
    Ok(())
}

fn compare_acquirer(old: &AcquirerConfig, new: &AcquirerConfig) -> Result<(), NeedsRestart> {
    let path = format!("acquirer.{}", old.name);
    compare!(old, new, &path, AcquirerConfig {
        name, listen, framing, sign_on_required, session, answer_within_ms, answer_margin_ms,
        transit_answer_within_ms, transit_answer_margin_ms, transit_mccs, qr_code, duplicate_key,
        codes
    }, dialect |it: &AcquirerConfig| it.dialect.name());
    Ok(())
}

fn compare_issuer(old: &IssuerConfig, new: &IssuerConfig) -> Result<(), NeedsRestart> {
    let path = format!("issuer.{}", old.name);
    let connect = |it: &IssuerConfig| it.link.as_ref().map(|link| (link.connect, link.listen));
    if connect(old) != connect(new) {
        return Err(NeedsRestart::key(&path, "connect"));
    }
    compare!(
        old,
        new,
        &path,
        IssuerConfig { name, in_flight_max, intent_first, failover },
        link | _ | ()
    );
    let (Some(old), Some(new)) = (&old.link, &new.link) else { return Ok(()) };
    compare!(old, new, &path, IssuerLinkConfig {
            connect, listen, probe_idle_ms, framing, connections, sign_on, echo_idle_ms, echo_misses, breaker_timeouts
        },
        dialect |it: &IssuerLinkConfig| it.dialect.name());
    Ok(())
}

/// Limits are free; a counter is a place in every card's line, and only what it counts is free.
fn compare_velocity(old: &VelocityConfig, new: &VelocityConfig) -> Result<(), NeedsRestart> {
    let VelocityConfig { lines, counters, limits: _ } = old;
    if *lines != new.lines {
        return Err(NeedsRestart::key("velocity", "lines"));
    }
    for place in 0..counters.len().max(new.counters.len()) {
        let pair = (counters.get(place), new.counters.get(place));
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
        return Err(NeedsRestart { what: format!("counter `{name}`") });
    }
    Ok(())
}

fn is_same_counter(old: &VelocityCounter, new: &VelocityCounter) -> bool {
    let VelocityCounter { name, scope, window, resets_on_pin, when: _ } = old;
    *name == new.name
        && *scope == new.scope
        && *window == new.window
        && *resets_on_pin == new.resets_on_pin
}

fn compare_bank(old: &BankConfig, new: &BankConfig) -> Result<(), NeedsRestart> {
    compare!(
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
        }
    );
    Ok(())
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
        assert_eq!(refused.what, expected);
    }

    #[test]
    fn what_is_sized_or_opened_at_the_start_needs_a_restart() {
        refused("[switch]\ndrain_ms = 1_234", "switch.drain_ms");
        refused("[switch]\npending_max = 1_024", "switch.pending_max");
        refused("[velocity]\nlines = 1_024", "velocity.lines");
        refused("[bank]\nseed = 9", "bank.seed");
        refused("[issuer.ICBC]\nconnect = \"127.0.0.1:9101\"", "issuer.ICBC.connect");
        refused("[issuer.ICBC]\nin_flight_max = 7", "issuer.ICBC.in_flight_max");
        refused("[journal]\ndata_dir = \"data\"", "[journal]");
        refused("[outcomes]\ndir = \"log\"", "[outcomes]");
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
        assert_eq!(old.allows(&new).unwrap_err().what, format!("counter `{name}`"));
        let mut fewer = old.clone();
        let gone = fewer.velocity.counters.pop().unwrap().name;
        let refused = old.allows(&fewer).unwrap_err();
        let text = format!("counter `{gone}` has changed, which needs a restart");
        assert_eq!(refused.to_string(), text);
        assert!(fewer.allows(&old).is_err());
    }
}

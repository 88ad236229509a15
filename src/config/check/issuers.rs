//! Issuers: their windows, and where those are that are reached over TCP.

use super::acquirers::SERVED;
use super::section::Section;
use crate::config::file::{Found, RawFile, RawIssuer};
use crate::config::problem::{Problems, nearest_cause, quoted};
use crate::config::{AcquirerConfig, IssuerConfig, IssuerLinkConfig, SwitchConfig};
use crate::limits::{ISSUERS_MAX, LINKS_MAX, SAF_RATE_MAX, STANS};
use crate::shard::IssuerId;
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use tapswitch_protocol::{Dialect, Framing};

/// How long a link may be idle before an echo.
const ECHO_IDLE_MS: RangeInclusive<i64> = 100..=600_000;
/// Echoes that may be missed.
const ECHO_MISSES: RangeInclusive<i64> = 1..=100;
/// Time-outs in a row; 0: any number.
const BREAKER_TIMEOUTS: RangeInclusive<i64> = 0..=1_000_000;

/// The issuers of the IIN table, then those that are only some issuer's second route.
pub(super) fn names(
    raw: &RawFile,
    of_table: &[String],
    problems: &mut Problems<'_>,
) -> Vec<String> {
    let mut names = of_table.to_vec();
    if names.is_empty() {
        return names;
    }
    for named in &raw.issuers {
        let is_route = raw.issuers.iter().any(|other| {
            let failover = other.section.0.failover.as_ref();
            failover.is_some_and(|failover| failover.value == named.name)
        });
        let own = &named.section.0;
        let is_linked = own.connect.is_some() || own.listen.is_some();
        if is_route && is_linked && !names.contains(&named.name) {
            names.push(named.name.clone());
        }
    }
    if names.len() > ISSUERS_MAX {
        let message = format!("there are {} issuers; at most {ISSUERS_MAX}", names.len());
        problems.error(None, "issuer", message, "second routes count as issuers");
        names.truncate(ISSUERS_MAX);
    }
    names
}

/// Issuers in the order of `names`.
pub(super) fn check(
    raw: &RawFile,
    names: &[String],
    (switch, acquirers): (&SwitchConfig, &[AcquirerConfig]),
    problems: &mut Problems<'_>,
) -> Vec<IssuerConfig> {
    // Each shard owns a part of an issuer's trace numbers.
    let in_flight_max = i64::from(STANS - 1) / switch.shards as i64;
    let mut section = Section::new(problems, "switch", None);
    let default: u32 =
        section.number("issuer_in_flight_max", &raw.switch.issuer_in_flight_max, 1..=in_flight_max);
    let saf_rates = 1..=i64::from(SAF_RATE_MAX);
    let saf_rate: u32 = section.number("saf_rate", &raw.switch.saf_rate, saf_rates.clone());
    let mut taken: Vec<(SocketAddr, &str)> = Vec::new();
    let mut checked = Vec::with_capacity(names.len());
    for name in names {
        let mut issuer = IssuerConfig {
            name: name.clone(),
            in_flight_max: default,
            intent_first: false,
            saf_rate,
            marks_repeats: None,
            link: None,
            failover: None,
        };
        if let Some(named) = raw.issuers.iter().find(|named| named.name == *name) {
            let mut section = Section::new(problems, format!("issuer.{name}"), named.at);
            let (own, _) = &named.section;
            let window =
                section.number_if_any("in_flight_max", &own.in_flight_max, 1..=in_flight_max);
            issuer.in_flight_max = window.unwrap_or(default);
            issuer.intent_first = own.intent_first.as_ref().is_some_and(|found| found.value);
            let rate = section.number_if_any("saf_rate", &own.saf_rate, saf_rates.clone());
            issuer.saf_rate = rate.unwrap_or(saf_rate);
            if own.repeat_mti.is_some() {
                let words = [("unchanged", false), ("marked", true)];
                issuer.marks_repeats = section.word("repeat_mti", &own.repeat_mti, &words);
            }
            issuer.link = link(&mut section, own);
            issuer.failover = failover(&mut section, own, (name, names));
            if let Some(link) = &issuer.link {
                let at = own.connect.as_ref().or(own.listen.as_ref()).and_then(|found| found.at);
                let both = [("connect", link.connect), ("listen", link.listen)];
                for (key, address) in both.into_iter().filter_map(|(key, it)| Some((key, it?))) {
                    refuse_shared(&mut section, (key, address, at), &taken);
                    taken.push((address, name));
                }
                warn_of_other_dialects(&mut section, (link, at), acquirers);
            }
        }
        checked.push(issuer);
    }
    checked
}

fn link(section: &mut Section<'_, '_>, raw: &RawIssuer) -> Option<IssuerLinkConfig> {
    if raw.connect.is_none() && raw.listen.is_none() {
        warn_without_connect(section, raw);
        return None;
    }
    let mut place = |key: &str, found: &Option<Found<String>>| {
        found.as_ref().map(|found| address(section, key, found))
    };
    let (connect, listen) = (place("connect", &raw.connect), place("listen", &raw.listen));
    let dialects = SERVED.map(|name| (name, Dialect::built_in(name)));
    let dialect = match &raw.dialect {
        Some(_) => section.word("dialect", &raw.dialect, &dialects)?,
        None => Some(Dialect::cups()),
    }?;
    let framings = [("cups", Framing::Cups), ("be2", Framing::Be2), ("be2-tpdu", Framing::Be2Tpdu)];
    let framing = match &raw.framing {
        Some(_) => section.word("framing", &raw.framing, &framings)?,
        None if dialect.name() == Dialect::cups().name() => Framing::Cups,
        None => Framing::Be2,
    };
    let (connect, listen) = (connect.map_or(Some(None), |it| it.map(Some))?, listen);
    let listen = listen.map_or(Some(None), |it| it.map(Some))?;
    let usual = IssuerLinkConfig::new(connect.or(listen)?, dialect, framing);
    let probe_idle_ms =
        section.number_if_any("probe_idle_ms", &raw.probe_idle_ms, 0..=600_000).unwrap_or_default();
    if probe_idle_ms != 0 && framing != Framing::Cups {
        let at = raw.probe_idle_ms.as_ref().and_then(|found| found.at);
        let message = "this framing has no idle probe";
        section.error(at, "probe_idle_ms", message, "only framing \"cups\" has one");
    }
    let connections = section.number_if_any("connections", &raw.connections, 1..=LINKS_MAX as i64);
    let echo_idle_ms = section.number_if_any("echo_idle_ms", &raw.echo_idle_ms, ECHO_IDLE_MS);
    let echo_misses = section.number_if_any("echo_misses", &raw.echo_misses, ECHO_MISSES);
    let timeouts = &raw.breaker_timeouts;
    let breaker_timeouts = section.number_if_any("breaker_timeouts", timeouts, BREAKER_TIMEOUTS);
    Some(IssuerLinkConfig {
        connect,
        listen,
        peers: section.peers("peers", &raw.peers),
        probe_idle_ms,
        connections: connections.unwrap_or(usual.connections),
        sign_on: raw.sign_on.as_ref().map_or(usual.sign_on, |found| found.value),
        echo_idle_ms: echo_idle_ms.unwrap_or(usual.echo_idle_ms),
        echo_misses: echo_misses.unwrap_or(usual.echo_misses),
        breaker_timeouts: breaker_timeouts.unwrap_or(usual.breaker_timeouts),
        reconciles: raw.reconcile.as_ref().map_or(usual.reconciles, |found| found.value),
        ..usual
    })
}

/// Keys of a link that is not there.
fn warn_without_connect(section: &mut Section<'_, '_>, raw: &RawIssuer) {
    fn at<T>(found: &Option<Found<T>>) -> Option<Option<usize>> {
        found.as_ref().map(|found| found.at)
    }
    let keys = [
        ("dialect", at(&raw.dialect)),
        ("framing", at(&raw.framing)),
        ("connections", at(&raw.connections)),
        ("sign_on", at(&raw.sign_on)),
        ("echo_idle_ms", at(&raw.echo_idle_ms)),
        ("echo_misses", at(&raw.echo_misses)),
        ("breaker_timeouts", at(&raw.breaker_timeouts)),
        ("reconcile", at(&raw.reconcile)),
        ("failover", at(&raw.failover)),
        ("probe_idle_ms", at(&raw.probe_idle_ms)),
    ];
    for (key, at) in keys.into_iter().filter_map(|(key, at)| Some((key, at?))) {
        let cause = "the bank lives in this process, speaks as each acquirer does, and is always \
                     there";
        section.warning(at, key, "has no effect without connect", cause);
    }
}

/// The second route, by its name.
fn failover(
    section: &mut Section<'_, '_>,
    raw: &RawIssuer,
    (own, names): (&str, &[String]),
) -> Option<IssuerId> {
    let found = raw.failover.as_ref().filter(|_| raw.connect.is_some() || raw.listen.is_some())?;
    let place = names.iter().position(|name| *name == found.value);
    if found.value == own {
        let cause = "a second route is another issuer, or a section of its own with `connect`";
        section.error(found.at, "failover", "is the issuer itself", cause);
        return None;
    }
    if place.is_none() {
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let near = nearest_cause(&found.value, &known);
        let cause = match near.starts_with("did") {
            true => near,
            false => format!("write [issuer.{}] with `connect`", quoted(&found.value)),
        };
        let message = format!("`{}` is no issuer", quoted(&found.value));
        section.error(found.at, "failover", message, cause);
    }
    // At most ISSUERS_MAX.
    place.map(|place| IssuerId(place as u8))
}

fn address(section: &mut Section<'_, '_>, key: &str, found: &Found<String>) -> Option<SocketAddr> {
    let Ok(address) = found.value.parse::<SocketAddr>() else {
        let message = format!("`{}` is not an IP address and port", quoted(&found.value));
        section.error(found.at, key, message, "as in 127.0.0.1:9101 or [::1]:9101");
        return None;
    };
    if address.port() == 0 || (address.ip().is_unspecified() && key == "connect") {
        let message = format!("nothing can be reached at {address}");
        section.error(found.at, key, message, "name the address that the bank listens at");
        return None;
    }
    Some(address)
}

/// The connection says which bank is meant: messages do not.
fn refuse_shared(
    section: &mut Section<'_, '_>,
    (key, address, at): (&str, SocketAddr, Option<usize>),
    taken: &[(SocketAddr, &str)],
) {
    if let Some((_, other)) = taken.iter().find(|(other, _)| *other == address) {
        let message = format!("{address} is where issuer.{} is", quoted(other));
        section.error(at, key, message, "two banks on one port; give each its own");
    }
}

fn warn_of_other_dialects(
    section: &mut Section<'_, '_>,
    (link, at): (&IssuerLinkConfig, Option<usize>),
    acquirers: &[AcquirerConfig],
) {
    let others = acquirers.iter().filter(|acquirer| acquirer.dialect.name() != link.dialect.name());
    let others: Vec<String> = others.map(|acquirer| quoted(&acquirer.name)).collect();
    if !others.is_empty() {
        let spoken = link.dialect.name();
        let message = format!(
            "the link speaks {spoken}, acquirers {} do not: their requests for this issuer are \
             answered `issuer_unavailable`",
            others.join(", "),
        );
        section.warning(at, "connect", message, "messages are not translated between dialects");
    }
}

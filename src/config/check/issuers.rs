//! Issuers: their windows, and where those are that are reached over TCP.

use super::acquirers::SERVED;
use super::section::Section;
use crate::config::file::{Found, RawFile, RawIssuer};
use crate::config::problem::{Problems, quoted};
use crate::config::{AcquirerConfig, IssuerConfig, IssuerLinkConfig, SwitchConfig};
use crate::limits::{SAF_RATE_MAX, STANS};
use core::net::SocketAddr;
use tapswitch_protocol::{Dialect, Framing};

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
            if let (Some(link), Some(connect)) = (&issuer.link, &own.connect) {
                refuse_shared(&mut section, (link, connect.at), &taken);
                warn_of_other_dialects(&mut section, (link, connect.at), acquirers);
                taken.push((link.address, name));
            }
        }
        checked.push(issuer);
    }
    checked
}

fn link(section: &mut Section<'_, '_>, raw: &RawIssuer) -> Option<IssuerLinkConfig> {
    let Some(connect) = &raw.connect else {
        for (key, found) in [("dialect", &raw.dialect), ("framing", &raw.framing)] {
            if let Some(found) = found {
                let cause = "the bank lives in this process and speaks as each acquirer does";
                section.warning(found.at, key, "has no effect without connect", cause);
            }
        }
        return None;
    };
    let address = address(section, connect);
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
    Some(IssuerLinkConfig { address: address?, dialect, framing })
}

fn address(section: &mut Section<'_, '_>, connect: &Found<String>) -> Option<SocketAddr> {
    let Ok(address) = connect.value.parse::<SocketAddr>() else {
        let message = format!("`{}` is not an IP address and port", quoted(&connect.value));
        section.error(connect.at, "connect", message, "as in 127.0.0.1:9101 or [::1]:9101");
        return None;
    };
    if address.port() == 0 || address.ip().is_unspecified() {
        let message = format!("nothing can be reached at {address}");
        section.error(connect.at, "connect", message, "name the address that the bank listens at");
        return None;
    }
    Some(address)
}

/// The connection says which bank is meant: messages do not.
fn refuse_shared(
    section: &mut Section<'_, '_>,
    (link, at): (&IssuerLinkConfig, Option<usize>),
    taken: &[(SocketAddr, &str)],
) {
    if let Some((address, other)) = taken.iter().find(|(address, _)| *address == link.address) {
        let message = format!("{address} is where issuer.{} is", quoted(other));
        section.error(at, "connect", message, "two banks on one port; give each its own");
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

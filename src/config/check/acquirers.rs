//! Acquirer profiles: addresses, dialects, deadlines, and what names a transaction.

use super::section::Section;
use crate::config::file::{Found, Named, RawAcquirer};
use crate::config::problem::{Problems, quoted};
use crate::config::{AcquirerConfig, AcquirerSession, OwnCodes, QrCodeField};
use crate::limits::{ACQUIRERS_MAX, CONNECTIONS_MAX};
use core::net::SocketAddr;
use core::ops::RangeInclusive;
use tapswitch_protocol::{Dialect, FieldSet, Framing};

/// Time that an acquirer grants.
const ANSWER_MS: RangeInclusive<i64> = 100..=600_000;
/// Time kept back for the way back.
const MARGIN_MS: RangeInclusive<i64> = 1..=600_000;
/// Connections of an acquirer; 0: any number.
const CONNECTIONS: RangeInclusive<i64> = 0..=CONNECTIONS_MAX as i64;
/// Connections a second from one address; 0: any number.
const CONNECTS: RangeInclusive<i64> = 0..=1_000_000;
/// Shortest idle time before an echo.
const ECHO_IDLE_MS_MIN: u64 = 100;
/// How long an acquirer may repeat a request.
pub(super) const RETRY_WINDOW_S: RangeInclusive<i64> = 1..=86_400;
/// Dialects of acquirers; others can be decoded only.
pub(super) const SERVED: [&str; 2] = ["cups", "iso87-ascii"];
/// What may name a transaction: neither the card nor anything sensitive, which is never kept.
const NEVER_IN_KEY: FieldSet = FieldSet::of(&[2, 35, 36, 45, 52, 55, 64, 128]);

pub(super) fn check(
    raw: &[Named<RawAcquirer>],
    codes: &[(String, OwnCodes)],
    problems: &mut Problems<'_>,
) -> Vec<AcquirerConfig> {
    if raw.len() > ACQUIRERS_MAX {
        let at = raw.get(ACQUIRERS_MAX).and_then(|named| named.at);
        let message = format!("{} acquirers, at most {ACQUIRERS_MAX} are served", raw.len());
        problems.error(at, "acquirer", message, "");
    }
    let checked: Vec<AcquirerConfig> =
        raw.iter().filter_map(|named| acquirer(named, codes, problems)).collect();
    refuse_shared_addresses(raw, problems);
    checked
}

fn acquirer(
    named: &Named<RawAcquirer>,
    codes: &[(String, OwnCodes)],
    problems: &mut Problems<'_>,
) -> Option<AcquirerConfig> {
    let raw = &named.section;
    let path = format!("acquirer.{}", quoted(&named.name));
    let mut section = Section::new(problems, path, named.at);
    check_name(&mut section, &named.name);
    let listen = listen(&mut section, &raw.listen);
    let dialect = dialect(&mut section, &raw.dialect);
    let framings = [("cups", Framing::Cups), ("be2", Framing::Be2), ("be2-tpdu", Framing::Be2Tpdu)];
    let framing = section.word("framing", &raw.framing, &framings);
    let sign_on_required = section.required("sign_on_required", &raw.sign_on_required);
    let sign_on_required = sign_on_required.is_some_and(|found| found.value);
    let session = session(&mut section, raw);
    let (answer_within_ms, answer_margin_ms) = deadline(
        &mut section,
        ("answer_within_ms", &raw.answer_within_ms),
        ("answer_margin_ms", &raw.answer_margin_ms),
    );
    let (transit_answer_within_ms, transit_answer_margin_ms) = deadline(
        &mut section,
        ("transit_answer_within_ms", &raw.transit_answer_within_ms),
        ("transit_answer_margin_ms", &raw.transit_answer_margin_ms),
    );
    let transit_mccs = section.numbers("transit_mccs", &raw.transit_mccs, 0..=9_999);
    let qr_code = qr_code(&mut section, raw, dialect);
    check_retry_window(&mut section, &raw.retry_window_s, answer_within_ms);
    let duplicate_key = duplicate_key(&mut section, &raw.duplicate_key, dialect);
    let tables: Vec<(&str, OwnCodes)> =
        codes.iter().map(|(name, table)| (name.as_str(), *table)).collect();
    let codes = section.word("codes", &raw.codes, &tables);
    Some(AcquirerConfig {
        name: named.name.clone(),
        listen: listen?,
        dialect: dialect?,
        framing: framing?,
        sign_on_required,
        session,
        answer_within_ms,
        answer_margin_ms,
        transit_answer_within_ms,
        transit_answer_margin_ms,
        transit_mccs,
        qr_code,
        duplicate_key,
        codes: codes?,
    })
}

/// Echoes to its connections, and how many it may have.
fn session(section: &mut Section<'_, '_>, raw: &RawAcquirer) -> AcquirerSession {
    let session = AcquirerSession {
        echo_idle_ms: section.number("echo_idle_ms", &raw.echo_idle_ms, 0..=600_000),
        echo_misses: section.number("echo_misses", &raw.echo_misses, 1..=100),
        connections_max: section.number("connections_max", &raw.connections_max, CONNECTIONS),
        takeover: section.required("takeover", &raw.takeover).is_some_and(|found| found.value),
        peers: section.peers("peers", &raw.peers),
        connects_per_second: section
            .number_if_any("connects_per_second", &raw.connects_per_second, CONNECTS)
            .unwrap_or_default(),
    };
    if (1..ECHO_IDLE_MS_MIN).contains(&session.echo_idle_ms) {
        let at = raw.echo_idle_ms.as_ref().and_then(|found| found.at);
        let message = format!("{} is below {ECHO_IDLE_MS_MIN}", session.echo_idle_ms);
        let cause = "seconds written where milliseconds are meant; 0 is never";
        section.error(at, "echo_idle_ms", message, cause);
    }
    session
}

/// Where requests say whether a code was static or dynamic; data element 0 is nowhere.
fn qr_code(
    section: &mut Section<'_, '_>,
    raw: &RawAcquirer,
    dialect: Option<&'static Dialect>,
) -> Option<QrCodeField> {
    let field: u8 = section.number("qr_code_de", &raw.qr_code_de, 0..=128);
    let at: usize = section.number("qr_code_at", &raw.qr_code_at, 0..=998);
    let text = |found: &Option<Found<String>>| {
        found.as_ref().map(|found| found.value.clone()).unwrap_or_default()
    };
    let (is_static, is_dynamic) = (text(&raw.qr_code_static), text(&raw.qr_code_dynamic));
    if field == 0 {
        return None;
    }
    let place = raw.qr_code_de.as_ref().and_then(|found| found.at);
    if dialect.is_some_and(|dialect| dialect.spec(field).is_none()) || NEVER_IN_KEY.has(field) {
        let message = format!("DE {field} cannot say it");
        let cause = "not an element of the dialect, or one with card data";
        section.error(place, "qr_code_de", message, cause);
    } else if is_static.is_empty() || is_dynamic.is_empty() || is_static == is_dynamic {
        let message =
            format!("`{}` and `{}` cannot be told apart", quoted(&is_static), quoted(&is_dynamic));
        let cause = "qr_code_static and qr_code_dynamic say what stands there for either";
        section.error(place, "qr_code_de", message, cause);
    }
    Some(QrCodeField { field, at, is_static, is_dynamic })
}

pub(super) fn check_name(section: &mut Section<'_, '_>, name: &str) {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !(1..=32).contains(&name.len()) || !name.bytes().all(legal) {
        section.error(None, "", "cannot be used as a name", "1 to 32 letters, digits, - and _");
    }
}

fn listen(section: &mut Section<'_, '_>, found: &Option<Found<String>>) -> Option<SocketAddr> {
    let found = section.required("listen", found)?;
    let address = found.value.parse().ok();
    if address.is_none() {
        let message = format!("`{}` is not an IP address and port", quoted(&found.value));
        section.error(found.at, "listen", message, "as in 127.0.0.1:8583 or [::1]:8583");
    }
    address
}

fn dialect(
    section: &mut Section<'_, '_>,
    found: &Option<Found<String>>,
) -> Option<&'static Dialect> {
    if let Some(Found { value, at }) = found
        && Dialect::BUILT_IN.contains(&value.as_str())
        && !SERVED.contains(&value.as_str())
    {
        let message = format!("`{value}` is not served; known are {}", SERVED.join(", "));
        section.error(*at, "dialect", message, "this dialect can be decoded only");
        return None;
    }
    let name = section.word("dialect", found, &SERVED.map(|name| (name, name)))?;
    Dialect::built_in(name)
}

/// A deadline and what is kept of it for the way back.
fn deadline(
    section: &mut Section<'_, '_>,
    (within_key, within): (&str, &Option<Found<i64>>),
    (margin_key, margin): (&str, &Option<Found<i64>>),
) -> (u64, u64) {
    let within_ms: u64 = section.number(within_key, within, ANSWER_MS);
    let margin_ms: u64 = section.number(margin_key, margin, MARGIN_MS);
    let legal = |found: &Option<Found<i64>>, range: RangeInclusive<i64>| {
        found.as_ref().is_some_and(|found| range.contains(&found.value))
    };
    if margin_ms >= within_ms && legal(within, ANSWER_MS) && legal(margin, MARGIN_MS) {
        let own = |found: &Option<Found<i64>>| found.as_ref().and_then(|found| found.at);
        let (at, key) = match own(margin) {
            Some(at) => (Some(at), margin_key),
            None => (own(within), within_key),
        };
        let message = format!("{margin_key} {margin_ms} is not below {within_key} {within_ms}");
        section.error(at, key, message, "the issuer would have no time to answer");
    }
    (within_ms, margin_ms)
}

/// A memory shorter than the answer itself could never recognise a repeat.
fn check_retry_window(
    section: &mut Section<'_, '_>,
    found: &Option<Found<i64>>,
    answer_within_ms: u64,
) {
    let window_s: u64 = section.number("retry_window_s", found, RETRY_WINDOW_S);
    if let Some(Found { value, at }) = found
        && RETRY_WINDOW_S.contains(value)
        && window_s * 1_000 < answer_within_ms
    {
        let message = format!("{window_s} s are less than answer_within_ms {answer_within_ms}");
        section.error(*at, "retry_window_s", message, "an acquirer repeats after it has waited");
    }
}

fn duplicate_key(
    section: &mut Section<'_, '_>,
    found: &Option<Found<Vec<i64>>>,
    dialect: Option<&Dialect>,
) -> FieldSet {
    let key = "duplicate_key";
    let Some(list) = section.required(key, found) else { return FieldSet::EMPTY };
    let at = list.at;
    let fields: Vec<u8> = section.numbers(key, found, 2..=128);
    let set = fields.iter().fold(FieldSet::EMPTY, |set, &field| set.with(field));
    for field in set.and(NEVER_IN_KEY) {
        let cause = "card data are never kept; the card is compared by itself";
        section.error(at, key, format!("DE {field} cannot name a transaction"), cause);
    }
    let unknown = |field: &u8| dialect.is_some_and(|dialect| dialect.spec(*field).is_none());
    for field in set.into_iter().filter(unknown) {
        section.error(at, key, format!("DE {field} is not in the dialect"), "");
    }
    if !set.has(11) {
        let cause = "without the trace number all requests of a terminal look alike";
        section.error(at, key, "DE 11 is missing", cause);
    }
    set
}

/// Two listeners cannot share a port unless their addresses differ. Port 0 is any free port.
fn refuse_shared_addresses(raw: &[Named<RawAcquirer>], problems: &mut Problems<'_>) {
    let mut taken: Vec<(&str, SocketAddr)> = Vec::with_capacity(raw.len());
    for named in raw {
        let Some(found) = &named.section.listen else { continue };
        let Ok(address) = found.value.parse::<SocketAddr>() else { continue };
        let clashes = |other: &SocketAddr| {
            let all = address.ip().is_unspecified() || other.ip().is_unspecified();
            address.port() == other.port() && (all || address.ip() == other.ip())
        };
        if address.port() != 0
            && let Some((other, _)) = taken.iter().find(|(_, other)| clashes(other))
        {
            let path = format!("acquirer.{}", quoted(&named.name));
            let message = format!("{address} is taken by acquirer.{}", quoted(other));
            let cause = "two listeners on one port; give each its own";
            Section::new(problems, path, named.at).error(found.at, "listen", message, cause);
        }
        taken.push((&named.name, address));
    }
}

//! Token requestors: identifications, and levels that some limit has to know.

use super::acquirers::check_name;
use super::section::Section;
use super::velocity_when;
use crate::config::file::{Found, Named, RawRequestor};
use crate::config::problem::{Problems, quoted};
use crate::config::{CryptogramConfig, IinRow, QrLevel, RequestorConfig, VelocityConfig};
use crate::limits::REQUESTORS_MAX;
use std::path::Path;
use tapswitch_protocol::TokenRequestor;
use tapswitch_protocol::emv::{Algorithm, DataList};
use tapswitch_protocol::token::REQUESTOR_DIGITS_MAX;

/// Digits that begin the tokens of a requestor.
const TOKEN_PREFIX_DIGITS: core::ops::RangeInclusive<usize> = 6..=12;

pub(super) fn check(
    raw: &[Named<RawRequestor>],
    (velocity, rows, folder): (&VelocityConfig, &[IinRow], &Path),
    problems: &mut Problems<'_>,
) -> Vec<RequestorConfig> {
    if let Some(named) = raw.get(REQUESTORS_MAX) {
        let message = format!("{} requestors, at most {REQUESTORS_MAX} are known", raw.len());
        let cause = "those of level C need no section: it is that of all others";
        problems.error(named.at, "requestor", message, cause);
    }
    let mut checked: Vec<RequestorConfig> = Vec::with_capacity(raw.len());
    for named in raw {
        let path = format!("requestor.{}", quoted(&named.name));
        let mut section = Section::new(problems, path, named.at);
        if let Some(mut requestor) = requestor(named, &checked, &mut section) {
            requestor.cryptogram = cryptogram(&named.section, folder, &mut section);
            warn_of_unlimited(named, &requestor, velocity, &mut section);
            check_prefixes(named, (&requestor, &checked), rows, &mut section);
            checked.push(requestor);
        }
    }
    checked
}

fn requestor(
    named: &Named<RawRequestor>,
    earlier: &[RequestorConfig],
    section: &mut Section<'_, '_>,
) -> Option<RequestorConfig> {
    let Named { name, section: raw, .. } = named;
    check_name(section, name);
    let levels = [("A", QrLevel::A), ("B", QrLevel::B), ("C", QrLevel::C)];
    let said = raw.qr_level.as_ref().and_then(|_| section.word("qr_level", &raw.qr_level, &levels));
    let qr_level = said.unwrap_or_default();
    let Found { value, at } = section.required("id", &raw.id)?;
    let id = TokenRequestor::from_digits(value.as_bytes());
    let Some(id) = id.filter(|_| value.len() == REQUESTOR_DIGITS_MAX) else {
        let message = format!("`{}` is no token requestor ID", quoted(value));
        section.error(*at, "id", message, "11 digits, those in front too, as in \"00012345678\"");
        return None;
    };
    if let Some(first) = earlier.iter().find(|other| other.id == id) {
        let message = format!("{id} is requestor `{}` already", first.name);
        section.error(*at, "id", message, "a copied section that kept its id");
    }
    let entry_modes = velocity_when::entry_modes(section, &raw.entry_modes);
    Some(RequestorConfig {
        qr_level,
        token_prefixes: raw.token_prefixes.as_ref().map_or_else(Vec::new, |it| it.value.clone()),
        is_on: raw.on.as_ref().is_none_or(|found| found.value),
        entry_modes: entry_modes.into_iter().map(u16::from).collect(),
        mccs: section.numbers("mccs", &raw.mccs, 0..=9_999),
        merchants: raw.merchants.as_ref().map_or_else(Vec::new, |it| it.value.clone()),
        ..RequestorConfig::new(name, id)
    })
}

/// What cryptograms are verified with. The file is read at the start.
fn cryptogram(
    raw: &RawRequestor,
    folder: &Path,
    section: &mut Section<'_, '_>,
) -> Option<CryptogramConfig> {
    let algorithms = [("3des", Algorithm::TripleDes), ("sm4", Algorithm::Sm4)];
    let said = raw.cryptogram_algorithm.as_ref();
    let algorithm = said
        .and_then(|_| section.word("cryptogram_algorithm", &raw.cryptogram_algorithm, &algorithms));
    let list = raw.cryptogram_data.as_ref();
    let data = list.map(|found| match found.value.as_str() {
        "long" => Ok(DataList::LONG),
        "short" => Ok(DataList::SHORT),
        text => DataList::parse(text).map_err(|error| (found.at, error.to_string())),
    });
    let data = match data {
        None => DataList::LONG,
        Some(Ok(data)) => data,
        Some(Err((at, why))) => {
            let cause = "long, short, or tags as in \"9F02 9F37 9F36 CVR\"";
            section.error(at, "cryptogram_data", why, cause);
            DataList::LONG
        }
    };
    let Some(file) = &raw.cryptogram_key_file else {
        if let Some(at) = said.map(|it| it.at).or(list.map(|it| it.at)) {
            let cause = "cryptograms are verified where cryptogram_key_file names a key";
            section.error(at, "cryptogram_key_file", "is missing", cause);
        }
        return None;
    };
    let key_file = folder.join(&file.value);
    Some(CryptogramConfig { key_file, algorithm: algorithm.unwrap_or(Algorithm::TripleDes), data })
}

/// A number is a token of one requestor, or a card of one bank.
fn check_prefixes(
    named: &Named<RawRequestor>,
    (requestor, earlier): (&RequestorConfig, &[RequestorConfig]),
    rows: &[IinRow],
    section: &mut Section<'_, '_>,
) {
    let at = named.section.token_prefixes.as_ref().and_then(|found| found.at);
    let overlap = |one: &str, other: &str| one.starts_with(other) || other.starts_with(one);
    for (place, prefix) in requestor.token_prefixes.iter().enumerate() {
        let is_prefix = TOKEN_PREFIX_DIGITS.contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_digit())
            && !prefix.starts_with('0');
        if !is_prefix {
            let message = format!("`{}` begins no tokens", quoted(prefix));
            section.error(at, "token_prefixes", message, "6 to 12 digits, the first not 0");
            continue;
        }
        let own = requestor.token_prefixes.iter().take(place).find(|it| overlap(it, prefix));
        let mut all =
            earlier.iter().flat_map(|of| of.token_prefixes.iter().map(move |it| (of, it)));
        if let Some(twice) = own {
            let message = format!("{prefix} and {twice} begin the same tokens");
            section.error(at, "token_prefixes", message, "one of them is enough");
        } else if let Some((of, other)) = all.find(|(_, other)| overlap(other, prefix)) {
            let message = format!("{prefix} begins tokens of requestor `{}`: {other}", of.name);
            section.error(at, "token_prefixes", message, "a token is of one requestor");
        }
        let iin =
            |row: &IinRow| format!("{:0digits$}", row.prefix, digits = usize::from(row.digits));
        if let Some(row) = rows.iter().find(|row| overlap(&iin(row), prefix)) {
            let message = format!("{prefix} begins cards of an issuer: IIN {}", iin(row));
            let cause = "tokens have ranges of their own, in which no bank has cards";
            section.error(at, "token_prefixes", message, cause);
        }
    }
}

/// What is agreed with customers at level A nobody ships.
fn warn_of_unlimited(
    named: &Named<RawRequestor>,
    requestor: &RequestorConfig,
    velocity: &VelocityConfig,
    section: &mut Section<'_, '_>,
) {
    let knows =
        |level: QrLevel| velocity.limits.iter().any(|it| it.when.qr_levels.contains(&level));
    if requestor.qr_level == QrLevel::A && !knows(QrLevel::A) {
        let at = named.section.qr_level.as_ref().and_then(|found| found.at);
        let cause = "bank and customer agree on one: add a limit with qr_levels = [\"A\"]";
        section.warning(at, "qr_level", "no limit is for level A", cause);
    }
}

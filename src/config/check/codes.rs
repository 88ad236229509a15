//! Tables of the switch's own answers.

use super::section::Section;
use crate::config::OwnCodes;
use crate::config::file::{Found, Named, RawCodes};
use crate::config::problem::{Problems, quoted};
use tapswitch_protocol::ResponseCode;

/// Every table of the file and of the default, by name.
pub(super) fn check(
    raw: &[Named<RawCodes>],
    problems: &mut Problems<'_>,
) -> Vec<(String, OwnCodes)> {
    raw.iter().map(|named| (named.name.clone(), table(named, problems))).collect()
}

fn table(named: &Named<RawCodes>, problems: &mut Problems<'_>) -> OwnCodes {
    let path = format!("codes.{}", quoted(&named.name));
    let mut section = Section::new(problems, path, named.at);
    let raw = &named.section;
    let mut code = |key: &str, found: &Option<Found<String>>| code(&mut section, key, found);
    OwnCodes {
        unknown_mti: code("unknown_mti", &raw.unknown_mti),
        format: code("format", &raw.format),
        no_route: code("no_route", &raw.no_route),
        issuer_unavailable: code("issuer_unavailable", &raw.issuer_unavailable),
        time_out: code("time_out", &raw.time_out),
        overload: code("overload", &raw.overload),
        mis_echoed: code("mis_echoed", &raw.mis_echoed),
        duplicate: code("duplicate", &raw.duplicate),
        amount_limit: code("amount_limit", &raw.amount_limit),
        count_limit: code("count_limit", &raw.count_limit),
        not_signed_on: code("not_signed_on", &raw.not_signed_on),
        invalid_card: code("invalid_card", &raw.invalid_card),
        invalid_amount: code("invalid_amount", &raw.invalid_amount),
        original_not_found: code("original_not_found", &raw.original_not_found),
    }
}

fn code(section: &mut Section<'_, '_>, key: &str, found: &Option<Found<String>>) -> ResponseCode {
    let fallback = ResponseCode::SYSTEM_MALFUNCTION;
    let Some(Found { value, at }) = section.required(key, found) else { return fallback };
    match ResponseCode::from_wire(value.as_bytes()) {
        Some(code) if code.is_approval() => {
            let cause = "a request that the switch refuses must not be answered as approved";
            section.error(*at, key, format!("{code} is an approval"), cause);
            fallback
        }
        Some(code) => code,
        None => {
            let message = format!("`{}` is not a response code", quoted(value));
            section.error(*at, key, message, "DE 39 is two letters or digits, as in \"96\"");
            fallback
        }
    }
}

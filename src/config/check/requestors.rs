//! Token requestors: identifications, and levels that some limit has to know.

use super::acquirers::check_name;
use super::section::Section;
use crate::config::file::{Found, Named, RawRequestor};
use crate::config::problem::{Problems, quoted};
use crate::config::{QrLevel, RequestorConfig, VelocityConfig};
use crate::limits::REQUESTORS_MAX;
use tapswitch_protocol::TokenRequestor;
use tapswitch_protocol::token::REQUESTOR_DIGITS_MAX;

pub(super) fn check(
    raw: &[Named<RawRequestor>],
    velocity: &VelocityConfig,
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
        if let Some(requestor) = requestor(named, &checked, &mut section) {
            warn_of_unlimited(named, &requestor, velocity, &mut section);
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
    Some(RequestorConfig { name: name.clone(), id, qr_level })
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

//! The simulated banks: accounts, and how each bank behaves.

use super::section::Section;
use super::warn_of_cores;
use crate::config::file::{Layer, RawBank, RawBehaviour, RawFile};
use crate::config::host::Host;
use crate::config::problem::{Problems, nearest_cause, quoted};
use crate::config::{BankBehaviour, BankConfig, BankProducts};
use crate::limits::INSTALMENTS_MAX;
use core::ops::RangeInclusive;

/// Rates are parts of this.
const PPM: RangeInclusive<i64> = 0..=1_000_000;
/// Longest delay.
const DELAY_US: RangeInclusive<i64> = 0..=60_000_000;
/// Latest answer.
const LATE_MS: RangeInclusive<i64> = 0..=600_000;
/// Accounts of one bank on one shard.
const ACCOUNTS: RangeInclusive<i64> = 16..=1 << 26;
/// Amounts that DE 54 can express.
const AMOUNT_MINOR: RangeInclusive<i64> = 0..=999_999_999_999;
/// Value of a fund's unit, in ten-thousandths.
const NAV: RangeInclusive<i64> = 1_000..=1_000_000;
/// What it gains a day.
const NAV_DAILY_GAIN: RangeInclusive<i64> = 0..=1_000;
/// Instalments of a loan, as many as the books have due months for.
const INSTALMENTS: RangeInclusive<i64> = 1..=INSTALMENTS_MAX as i64;
/// Threads of their own.
const THREADS: RangeInclusive<i64> = 0..=64;

pub(super) fn check(
    raw: &RawFile,
    names: &[String],
    problems: &mut Problems<'_>,
    host: &Host,
) -> BankConfig {
    let bank = &raw.bank;
    let mut section = Section::new(problems, "bank", None);
    let cores: Vec<usize> = section.numbers("cores", &bank.cores, 0..=super::CORE_MAX);
    let at = bank.cores.as_ref().and_then(|cores| cores.at);
    warn_of_cores(&mut section, "cores", at, &cores, host);
    let threads = section.number("threads", &bank.threads, THREADS);
    if threads == 0 && !cores.is_empty() {
        let cause = "the banks run on the shards' threads; set threads, or leave cores empty";
        section.warning(at, "cores", "has no effect while threads is 0", cause);
    }
    let config = BankConfig {
        threads,
        cores,
        seed: section.number("seed", &bank.seed, 0..=i64::MAX),
        accounts_max: section.power_of_two("accounts_max", &bank.accounts_max, ACCOUNTS),
        balance_minor: section.span("balance_minor", &bank.balance_minor, AMOUNT_MINOR),
        credit_line_minor: section.span("credit_line_minor", &bank.credit_line_minor, AMOUNT_MINOR),
        products: products(&mut section, bank),
        behaviour: Vec::new(),
    };
    let errors_before = section.problems.error_count();
    let common = behaviour(&mut section, &raw.behaviour);
    // What is wrong with what issuers share is said once.
    let common_is_right = section.problems.error_count() == errors_before;
    refuse_unknown_issuers(raw, names, problems);
    let behaviour = match common_is_right {
        true => names.iter().map(|name| own_behaviour(raw, name, &common, problems)).collect(),
        false => Vec::new(),
    };
    BankConfig { behaviour, ..config }
}

/// Funds and loans.
fn products(section: &mut Section<'_, '_>, bank: &RawBank) -> BankProducts {
    BankProducts {
        fund_share_ppm: section.number("fund_share_ppm", &bank.fund_share_ppm, PPM),
        fund_nav: section.number("fund_nav", &bank.fund_nav, NAV),
        fund_nav_daily_gain: section.number(
            "fund_nav_daily_gain",
            &bank.fund_nav_daily_gain,
            NAV_DAILY_GAIN,
        ),
        fund_redemption_day_minor_max: section.number(
            "fund_redemption_day_minor_max",
            &bank.fund_redemption_day_minor_max,
            AMOUNT_MINOR,
        ),
        loan_share_ppm: section.number("loan_share_ppm", &bank.loan_share_ppm, PPM),
        loan_line_minor: section.span("loan_line_minor", &bank.loan_line_minor, AMOUNT_MINOR),
        loan_instalments: section.span("loan_instalments", &bank.loan_instalments, INSTALMENTS),
    }
}

/// What an issuer's section says, and for the rest what `[bank]` says.
fn own_behaviour(
    raw: &RawFile,
    name: &str,
    common: &BankBehaviour,
    problems: &mut Problems<'_>,
) -> BankBehaviour {
    let Some(named) = raw.issuers.iter().find(|named| named.name == name) else {
        return common.clone();
    };
    let mut section = Section::new(problems, format!("issuer.{name}"), named.at);
    let (_, own) = &named.section;
    behaviour(&mut section, &own.clone().over(&raw.behaviour.clone().inherited()))
}

fn behaviour(section: &mut Section<'_, '_>, raw: &RawBehaviour) -> BankBehaviour {
    let behaviour = BankBehaviour {
        delay_median_us: section.number("delay_median_us", &raw.delay_median_us, DELAY_US),
        delay_p99_us: section.number("delay_p99_us", &raw.delay_p99_us, DELAY_US),
        insufficient_funds_ppm: section.number(
            "insufficient_funds_ppm",
            &raw.insufficient_funds_ppm,
            PPM,
        ),
        expired_ppm: section.number("expired_ppm", &raw.expired_ppm, PPM),
        wrong_pin_ppm: section.number("wrong_pin_ppm", &raw.wrong_pin_ppm, PPM),
        do_not_honor_ppm: section.number("do_not_honor_ppm", &raw.do_not_honor_ppm, PPM),
        unknown_card_ppm: section.number("unknown_card_ppm", &raw.unknown_card_ppm, PPM),
        silence_ppm: section.number("silence_ppm", &raw.silence_ppm, PPM),
        late_ppm: section.number("late_ppm", &raw.late_ppm, PPM),
        late_ms: section.number("late_ms", &raw.late_ms, LATE_MS),
    };
    check_delay(section, raw, &behaviour);
    check_rates(section, raw, &behaviour);
    behaviour
}

/// A log-normal delay has a median above 0, and its 99th percentile is not below that.
fn check_delay(section: &mut Section<'_, '_>, raw: &RawBehaviour, behaviour: &BankBehaviour) {
    let (median_us, p99_us) = (behaviour.delay_median_us, behaviour.delay_p99_us);
    let at = [&raw.delay_p99_us, &raw.delay_median_us]
        .into_iter()
        .find_map(|found| found.as_ref().and_then(|found| found.at));
    if p99_us < median_us {
        let message = format!("{p99_us} is below delay_median_us {median_us}");
        section.error(at, "delay_p99_us", message, "median and 99th percentile are swapped");
    } else if median_us == 0 && p99_us > 0 {
        let message = format!("is {p99_us} with a median of 0");
        section.error(at, "delay_p99_us", message, "for no delay at all set both to 0");
    }
}

/// What happens to a request is one draw: the rates share a million.
fn check_rates(section: &mut Section<'_, '_>, raw: &RawBehaviour, behaviour: &BankBehaviour) {
    let rates = [
        (&raw.insufficient_funds_ppm, behaviour.insufficient_funds_ppm),
        (&raw.expired_ppm, behaviour.expired_ppm),
        (&raw.wrong_pin_ppm, behaviour.wrong_pin_ppm),
        (&raw.do_not_honor_ppm, behaviour.do_not_honor_ppm),
        (&raw.unknown_card_ppm, behaviour.unknown_card_ppm),
        (&raw.silence_ppm, behaviour.silence_ppm),
        (&raw.late_ppm, behaviour.late_ppm),
    ];
    let sum: u64 = rates.iter().map(|(_, rate)| u64::from(*rate)).sum();
    if sum > 1_000_000 {
        let at = rates.iter().find_map(|(found, _)| found.as_ref().and_then(|found| found.at));
        let message = format!("the rates add up to {sum} parts of a million");
        section.error(at, "", message, "a rate is parts of a million: 1 % is 10_000");
    }
}

fn refuse_unknown_issuers(raw: &RawFile, names: &[String], problems: &mut Problems<'_>) {
    if names.is_empty() {
        // The table itself is wrong, and that is said.
        return;
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    for named in raw.issuers.iter().filter(|named| !names.contains(&named.name)) {
        let key = format!("issuer.{}", quoted(&named.name));
        let cause = nearest_cause(&named.name, &known);
        problems.error(named.at, &key, "is not in the IIN table", cause);
    }
}

//! A configuration as keys and values, for operators who want to see what is in force, and what
//! differs between two: one line for each key, values as they would be written.
//!
//! Not here: whether a running switch can take over a difference (`reload`).

use super::{
    AcquirerConfig, BankBehaviour, BankConfig, Config, Durability, EngineChoice, Idle,
    IssuerConfig, JournalConfig, OwnCodes, PinPresence, QrCode, StandInReasons, StandInRule,
    SwitchConfig, TransactionKind, VelocityCondition, VelocityConfig, VelocityWindow,
};
use crate::memory::TableMemory;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::path::PathBuf;
use tapswitch_protocol::Framing;

/// One key that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Section and key.
    pub key: String,
    /// Its value before; none: it was not there.
    pub old: Option<String>,
    /// Its value now; none: it is not there any more.
    pub new: Option<String>,
}

impl Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(f, "{}: {} -> {}", self.key, text(&self.old), text(&self.new))
    }
}

impl Config {
    /// Every key and its value, in the order of the sections.
    #[must_use]
    pub fn listing(&self) -> Vec<(String, String)> {
        let mut list = Listing::default();
        list.switch(&self.switch);
        self.acquirers.iter().for_each(|acquirer| list.acquirer(acquirer));
        list.velocity(&self.velocity);
        for requestor in &self.requestors {
            let section = format!("requestor.{}", requestor.name);
            list.put(&section, "id", requestor.id);
            list.put(&section, "qr_level", format!("{:?}", requestor.qr_level));
            if requestor.token_prefixes.is_empty() {
                continue;
            }
            list.put(&section, "token_prefixes", format!("{:?}", requestor.token_prefixes));
            list.put(&section, "on", requestor.is_on);
            list.put(&section, "entry_modes", format!("{:?}", requestor.entry_modes));
            list.put(&section, "mccs", format!("{:?}", requestor.mccs));
            list.put(&section, "merchants", format!("{:?}", requestor.merchants));
            if let Some(cryptogram) = &requestor.cryptogram {
                list.put(&section, "cryptogram_key_file", cryptogram.key_file.display());
                list.put(&section, "cryptogram_algorithm", format!("{:?}", cryptogram.algorithm));
                list.put(&section, "cryptogram_data", cryptogram.data);
            }
        }
        for (issuer, behaviour) in self.issuers.iter().zip(&self.bank.behaviour) {
            let second = issuer.failover.and_then(|id| self.issuers.get(usize::from(id.0)));
            list.issuer(issuer, behaviour, second.map(|it| it.name.as_str()));
        }
        for row in &self.iins {
            let issuer = self.issuers.get(usize::from(row.issuer.0));
            let issuer = issuer.map_or("?", |issuer| issuer.name.as_str());
            let digits = usize::from(row.digits);
            let key = format!("iin.{:0digits$}", row.prefix);
            list.put(
                &key,
                "",
                format!("{issuer} {:?} {}", row.kind, row.pan_digits).to_lowercase(),
            );
        }
        list.bank(&self.bank);
        list.journal(&self.journal);
        list.put("wallet", "tokens", self.wallet.tokens);
        list.put("wallet", "par_giver", self.wallet.par_giver.escape_ascii());
        list.put("keys", "card_key_file", path(&self.keys.card_key_file));
        let outcomes = self.outcomes.as_ref();
        list.put("outcomes", "dir", path(&outcomes.map(|it| it.dir.clone())));
        let bytes_max = outcomes.map_or_else(none, |it| it.bytes_max.to_string());
        list.put("outcomes", "bytes_max", bytes_max);
        list.put("admin", "socket", path(&self.admin.socket));
        list.put("admin", "http", optional(self.admin.http));
        list.put("admin", "token_file", path(&self.admin.token_file));
        list.put("admin", "audit_file", path(&self.admin.audit_file));
        list.0
    }

    /// What differs in `new`, in the order of its keys; what is gone comes last.
    #[must_use]
    pub fn differences(&self, new: &Self) -> Vec<Difference> {
        let mut before: BTreeMap<String, String> = self.listing().into_iter().collect();
        let mut differences = Vec::new();
        for (key, value) in new.listing() {
            let old = before.remove(&key);
            if old.as_ref() != Some(&value) {
                differences.push(Difference { key, old, new: Some(value) });
            }
        }
        let gone = before.into_iter();
        differences.extend(gone.map(|(key, old)| Difference { key, old: Some(old), new: None }));
        differences
    }
}

#[derive(Default)]
struct Listing(Vec<(String, String)>);

fn none() -> String {
    "(none)".to_owned()
}

fn optional<T: Display>(value: Option<T>) -> String {
    value.map_or_else(none, |value| value.to_string())
}

fn path(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(none, |path| path.display().to_string())
}

const fn repeat_mti(marks_repeats: Option<bool>) -> &'static str {
    match marks_repeats {
        None => "as its dialect has it",
        Some(true) => "marked",
        Some(false) => "unchanged",
    }
}

fn listed<T: Debug>(values: &[T]) -> String {
    format!("{values:?}")
}

const fn framing(framing: Framing) -> &'static str {
    match framing {
        Framing::Cups => "cups",
        Framing::Be2 => "be2",
        Framing::Be2Tpdu => "be2-tpdu",
    }
}

impl Listing {
    fn put(&mut self, section: &str, key: &str, value: impl Display) {
        let key = if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") };
        self.0.push((key, value.to_string()));
    }

    fn switch(&mut self, it: &SwitchConfig) {
        let mut put = |key: &str, value: String| self.put("switch", key, value);
        put("shards", it.shards.to_string());
        put("cores", listed(&it.cores));
        let idle = match it.idle {
            Idle::Park => "park",
            Idle::Spin => "spin",
        };
        put("idle", idle.to_owned());
        let engine = match it.engine {
            EngineChoice::Auto => "auto",
            EngineChoice::TokioUring => "tokio-uring",
            EngineChoice::Tokio => "tokio",
        };
        put("engine", engine.to_owned());
        put("pending_max", it.pending_max.to_string());
        put("duplicates_bytes", it.duplicates_bytes.to_string());
        put("preauthorizations_max", it.preauthorizations_max.to_string());
        put("originals_bytes", it.originals_bytes.to_string());
        put("drain_ms", it.drain_ms.to_string());
        put("clock_step_max_s", (it.clock_step_max_ms / 1_000).to_string());
        put("stall_abort_ms", it.stall_abort_ms.to_string());
        if let Some(cutoff) = it.cutoff {
            put("cutoff", format!("{:02}:{:02}", cutoff.minute / 60, cutoff.minute % 60));
            put("cutoff_zone_offset_minutes", cutoff.zone_offset_minutes.to_string());
        }
    }

    fn acquirer(&mut self, it: &AcquirerConfig) {
        let section = format!("acquirer.{}", it.name);
        let mut put = |key: &str, value: String| self.put(&section, key, value);
        put("listen", it.listen.to_string());
        put("dialect", it.dialect.name().to_owned());
        put("framing", framing(it.framing).to_owned());
        put("sign_on_required", it.sign_on_required.to_string());
        put("echo_idle_ms", it.session.echo_idle_ms.to_string());
        put("echo_misses", it.session.echo_misses.to_string());
        put("connections_max", it.session.connections_max.to_string());
        put("takeover", it.session.takeover.to_string());
        put("peers", it.session.peers.to_string());
        put("connects_per_second", it.session.connects_per_second.to_string());
        put("answer_within_ms", it.answer_within_ms.to_string());
        put("answer_margin_ms", it.answer_margin_ms.to_string());
        put("transit_answer_within_ms", it.transit_answer_within_ms.to_string());
        put("transit_answer_margin_ms", it.transit_answer_margin_ms.to_string());
        put("transit_mccs", listed(&it.transit_mccs));
        let qr_code = it.qr_code.as_ref().map_or_else(none, |it| {
            format!("DE {} from {}: {} or {}", it.field, it.at, it.is_static, it.is_dynamic)
        });
        put("qr_code", qr_code);
        let key: Vec<u8> = it.duplicate_key.into_iter().collect();
        put("duplicate_key", listed(&key));
        self.codes(&section, &it.codes);
    }

    fn codes(&mut self, section: &str, it: &OwnCodes) {
        for (key, code) in [
            ("unknown_mti", it.unknown_mti),
            ("format", it.format),
            ("no_route", it.no_route),
            ("issuer_unavailable", it.issuer_unavailable),
            ("time_out", it.time_out),
            ("overload", it.overload),
            ("mis_echoed", it.mis_echoed),
            ("duplicate", it.duplicate),
            ("amount_limit", it.amount_limit),
            ("count_limit", it.count_limit),
            ("not_signed_on", it.not_signed_on),
            ("invalid_card", it.invalid_card),
            ("invalid_amount", it.invalid_amount),
            ("original_not_found", it.original_not_found),
        ] {
            self.put(section, &format!("codes.{key}"), code);
        }
    }

    fn velocity(&mut self, it: &VelocityConfig) {
        self.put("velocity", "lines", it.lines);
        let table = match it.table {
            TableMemory::Private => "private",
            TableMemory::Shared => "shared",
        };
        self.put("velocity", "table", table);
        self.put("velocity", "entities", it.entities);
        self.put("velocity", "entity_transactions", it.entity_transactions);
        for counter in it.counters.iter().chain(&it.scope_counters) {
            let section = format!("velocity.counter.{}", counter.name);
            self.put(&section, "scope", format!("{:?}", counter.scope).to_lowercase());
            self.put(&section, "window", window(counter.window));
            self.put(&section, "resets_on", if counter.resets_on_pin { "pin" } else { "(none)" });
            self.put(&section, "when", when(&counter.when));
        }
        let order: Vec<&str> = it.limits.iter().map(|limit| limit.name.as_str()).collect();
        self.put("velocity", "limits", order.join(", "));
        for limit in &it.limits {
            let section = format!("velocity.limit.{}", limit.name);
            let of_card = limit.counter.and_then(|place| it.counters.get(place));
            let of_scope = limit.scope_counter.and_then(|place| it.scope_counters.get(place));
            let counter = of_card.or(of_scope);
            self.put(&section, "counter", optional(counter.map(|counter| &counter.name)));
            self.put(&section, "count_max", optional(limit.count_max));
            self.put(&section, "amount_minor_max", optional(limit.amount_minor_max));
            self.put(&section, "code", optional(limit.code));
            self.put(&section, "when", when(&limit.when));
        }
        it.stand_in.iter().for_each(|rule| self.stand_in(rule));
    }

    /// Its conditions and amounts are those of its limits.
    fn stand_in(&mut self, it: &StandInRule) {
        let section = format!("stand_in.{}", it.name);
        self.put(&section, "window_full", it.window_full);
        self.put(&section, "after_time_out", it.after_time_out);
        self.put(&section, "reason_field", it.reason_field);
        let StandInReasons { unreachable, signed_off, time_out } = &it.reasons;
        for (key, digits) in [
            ("reason_unreachable", unreachable),
            ("reason_signed_off", signed_off),
            ("reason_time_out", time_out),
        ] {
            self.put(&section, key, digits.escape_ascii());
        }
        let mark = it.mark.as_ref().map(|(field, text)| format!("DE {field}: {text}"));
        self.put(&section, "mark", optional(mark));
    }

    fn issuer(&mut self, it: &IssuerConfig, behaviour: &BankBehaviour, second: Option<&str>) {
        let section = format!("issuer.{}", it.name);
        self.put(&section, "in_flight_max", it.in_flight_max);
        self.put(&section, "intent_first", it.intent_first);
        self.put(&section, "saf_rate", it.saf_rate);
        self.put(&section, "repeat_mti", repeat_mti(it.marks_repeats));
        self.put(&section, "failover", optional(second));
        match &it.link {
            Some(link) => {
                self.put(&section, "connect", optional(link.connect));
                self.put(&section, "listen", optional(link.listen));
                self.put(&section, "peers", link.peers);
                self.put(&section, "probe_idle_ms", link.probe_idle_ms);
                self.put(&section, "connections", link.connections);
                self.put(&section, "sign_on", link.sign_on);
                self.put(&section, "echo_idle_ms", link.echo_idle_ms);
                self.put(&section, "echo_misses", link.echo_misses);
                self.put(&section, "breaker_timeouts", link.breaker_timeouts);
                self.put(&section, "reconcile", link.reconciles);
                self.put(&section, "dialect", link.dialect.name());
                self.put(&section, "framing", framing(link.framing));
            }
            None => self.put(&section, "bank", bank_behaviour(behaviour)),
        }
    }

    fn bank(&mut self, it: &BankConfig) {
        self.put("bank", "threads", it.threads);
        self.put("bank", "cores", listed(&it.cores));
        self.put("bank", "seed", it.seed);
        self.put("bank", "accounts_max", it.accounts_max);
        self.put("bank", "balance_minor", format!("{:?}", it.balance_minor));
        self.put("bank", "credit_line_minor", format!("{:?}", it.credit_line_minor));
        let products = &it.products;
        self.put("bank", "fund_share_ppm", products.fund_share_ppm);
        self.put("bank", "fund_nav", products.fund_nav);
        self.put("bank", "fund_nav_daily_gain", products.fund_nav_daily_gain);
        let redemption = products.fund_redemption_day_minor_max;
        self.put("bank", "fund_redemption_day_minor_max", redemption);
        self.put("bank", "loan_share_ppm", products.loan_share_ppm);
        self.put("bank", "loan_line_minor", format!("{:?}", products.loan_line_minor));
        self.put("bank", "loan_instalments", format!("{:?}", products.loan_instalments));
    }

    fn journal(&mut self, it: &JournalConfig) {
        let mut put = |key: &str, value: String| self.put("journal", key, value);
        put("data_dir", path(&it.data_dir));
        let durability = match it.durability {
            Durability::Strict => "strict".to_owned(),
            Durability::Relaxed { ms } => format!("relaxed, every {ms} ms"),
            Durability::Off => "off".to_owned(),
        };
        put("durability", durability);
        put("segment_bytes", it.segment_bytes.to_string());
        put("snapshot_every_s", it.snapshot_every_s.to_string());
        put("snapshot_every_bytes", it.snapshot_every_bytes.to_string());
        put("stall_max_ms", it.stall_max_ms.to_string());
        put("undurable_bytes_max", it.undurable_bytes_max.to_string());
        put("alarm_free_percent", it.alarm_free_percent.to_string());
        put("refuse_free_percent", it.refuse_free_percent.to_string());
        put("crashes_max", it.crashes_max.to_string());
    }
}

fn bank_behaviour(it: &BankBehaviour) -> String {
    format!(
        "in this process: delay {} to {} us, ppm of 51 {}, 54 {}, 55 {}, 05 {}, 14 {}, silent {}, \
         late {} by {} ms",
        it.delay_median_us,
        it.delay_p99_us,
        it.insufficient_funds_ppm,
        it.expired_ppm,
        it.wrong_pin_ppm,
        it.do_not_honor_ppm,
        it.unknown_card_ppm,
        it.silence_ppm,
        it.late_ppm,
        it.late_ms,
    )
}

fn window(window: VelocityWindow) -> String {
    match window {
        VelocityWindow::Day { zone_offset_minutes: east } => {
            format!("day, {east} minutes east of UTC")
        }
        VelocityWindow::Month { zone_offset_minutes: east } => {
            format!("month, {east} minutes east of UTC")
        }
        VelocityWindow::Fixed { window_s } => format!("{window_s} s"),
        VelocityWindow::Rolling { window_s, sub_windows } => {
            format!("{window_s} s, rolling in {sub_windows} parts")
        }
    }
}

/// What a condition asks for; what takes all is left out.
fn when(it: &VelocityCondition) -> String {
    let mut parts: Vec<String> = Vec::new();
    let kind = |kind: &TransactionKind| {
        let named = TransactionKind::NAMES.iter().find(|(_, it)| it == kind);
        named.map_or("?", |(name, _)| name)
    };
    if !it.transaction_kinds.is_empty() {
        let kinds: Vec<&str> = it.transaction_kinds.iter().map(kind).collect();
        parts.push(format!("transaction_kinds {}", kinds.join(" ")));
    }
    let mut list = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            parts.push(format!("{key} {}", values.join(" ")));
        }
    };
    list("transaction_types", it.transaction_types.iter().map(|it| format!("{it:02}")).collect());
    list("mccs", it.mccs.iter().map(|it| format!("{it:04}")).collect());
    list("entry_modes", it.entry_modes.iter().map(|it| format!("{it:02}")).collect());
    list("iins", it.iins.iter().map(|(from, to)| format!("{from:09}-{to:09}")).collect());
    list("currencies", it.currencies.iter().map(|it| format!("{it:03}")).collect());
    list("qr_levels", it.qr_levels.iter().map(|it| format!("{it:?}")).collect());
    let pin = it.pin.map(|pin| match pin {
        PinPresence::Present => "present",
        PinPresence::Absent => "absent",
    });
    list("pin", pin.iter().map(|it| (*it).to_owned()).collect());
    let qr_code = it.qr_code.map(|code| match code {
        QrCode::Static => "static",
        QrCode::Dynamic => "dynamic",
    });
    list("qr_code", qr_code.iter().map(|it| (*it).to_owned()).collect());
    if it.stand_in {
        parts.push("stand_in".to_owned());
    }
    if parts.is_empty() { "all".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("switch.toml", text).unwrap()
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        let differences = config(old).differences(&config(new));
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_key_is_listed_once() {
        let listing = config("[issuer.ICBC]\nconnect = \"127.0.0.1:9101\"").listing();
        let mut keys: Vec<&String> = listing.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), listing.len());
        let value = |key: &str| {
            let found = listing.iter().find(|(listed, _)| listed == key);
            found.unwrap_or_else(|| panic!("{key}")).1.as_str()
        };
        assert_eq!(value("acquirer.cups.answer_within_ms"), "10000");
        assert_eq!(value("acquirer.cups.codes.no_route"), "15");
        assert_eq!(value("issuer.ICBC.connect"), "127.0.0.1:9101");
        assert_eq!(value("velocity.limit.qr_static.when"), "qr_code static");
        assert_eq!(value("velocity.counter.cash_day.when"), "transaction_kinds cash");
        assert!(value("iin.622848").starts_with("abc debit"), "{}", value("iin.622848"));
        assert_eq!(value("admin.socket"), "(none)");
    }

    #[test]
    fn differences_are_named_with_both_values() {
        assert!(told("", "").is_empty());
        let acquirer = "[acquirer.cups]\nanswer_within_ms = ";
        assert_eq!(
            told(&format!("{acquirer}9_000"), &format!("{acquirer}8_000")),
            ["acquirer.cups.answer_within_ms: 9000 -> 8000"]
        );
        let limit =
            |name: &str| format!("[[velocity.limit]]\nname = \"{name}\"\namount_minor_max = 7");
        let differences = told(&limit("a"), &limit("b"));
        assert_eq!(differences[0], "velocity.limits: a -> b");
        assert!(differences.contains(&"velocity.limit.b.amount_minor_max: (none) -> 7".to_owned()));
        assert!(differences.contains(&"velocity.limit.a.amount_minor_max: 7 -> (none)".to_owned()));
        let code = "[codes.cups]\ntime_out = \"91\"";
        assert_eq!(told("", code), ["acquirer.cups.codes.time_out: 98 -> 91"]);
    }
}

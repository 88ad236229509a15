//! The TOML file as it is written: sections and keys with their places, types checked, values not.
//!
//! Every key is read on its own, so that one mistake does not hide the next. A missing key is
//! filled in from the shipped default (`over`), so that defaults stand in one commented file only.
//! Not here: whether values make sense (`check`).

mod kinds;
mod sections;

use super::problem::{Problems, nearest_cause, quoted};
pub(super) use kinds::Word;
use kinds::{Kind, kind_of};
use sections::{read_list, read_named, table_at};
use toml::de::DeTable;

/// A value and the byte offset of its key; no offset when it comes from the shipped default.
#[derive(Clone, Debug)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: Option<usize>,
}

/// Values that can stand over others.
pub(super) trait Layer {
    /// This section, with what it does not say taken from `default`.
    fn over(self, default: &Self) -> Self;
    /// This section as values without places: those would be places of another file.
    fn inherited(self) -> Self;
}

/// Declares a section's keys once: the struct, the list of names, reading, and filling in.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $kind:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(in crate::config) struct $name {
            $(pub(in crate::config) $key: Option<Found<$kind>>,)*
        }

        impl $name {
            pub(in crate::config) const KEYS: &'static [&'static str] = &[$(stringify!($key),)*];

            pub(super) fn read(problems: &mut Problems<'_>, path: &str, table: &DeTable<'_>) -> Self {
                Self { $($key: read_key(problems, path, table, stringify!($key)),)* }
            }
        }

        impl Layer for $name {
            fn over(self, default: &Self) -> Self {
                Self { $($key: self.$key.or_else(|| default.$key.clone()),)* }
            }

            fn inherited(self) -> Self {
                Self { $($key: self.$key.map(|found| Found { at: None, ..found }),)* }
            }
        }
    };
}

mod requestor;
mod stand_in;
pub(super) use requestor::RawRequestor;
pub(super) use stand_in::RawStandIn;

section! {
    /// `[switch]`.
    RawSwitch {
        shards: i64,
        cores: Vec<i64>,
        engine: String,
        idle: String,
        pending_max: i64,
        duplicates_bytes: i64,
        preauthorizations_max: i64,
        originals_bytes: i64,
        peak_per_second: i64,
        issuer_in_flight_max: i64,
        saf_rate: i64,
        drain_ms: i64,
        clock_step_max_s: i64,
        stall_abort_ms: i64,
        cutoff: String,
        cutoff_zone_offset_minutes: i64,
        iin_file: String,
    }
}

section! {
    /// `[acquirer.NAME]`.
    RawAcquirer {
        listen: String,
        dialect: String,
        framing: String,
        sign_on_required: bool,
        echo_idle_ms: i64,
        echo_misses: i64,
        connections_max: i64,
        takeover: bool,
        peers: Vec<String>,
        connects_per_second: i64,
        answer_within_ms: i64,
        answer_margin_ms: i64,
        transit_answer_within_ms: i64,
        transit_answer_margin_ms: i64,
        transit_mccs: Vec<i64>,
        qr_code_de: i64,
        qr_code_at: i64,
        qr_code_static: String,
        qr_code_dynamic: String,
        duplicate_key: Vec<i64>,
        retry_window_s: i64,
        codes: String,
    }
}

section! {
    /// `[codes.NAME]`.
    RawCodes {
        unknown_mti: String,
        format: String,
        no_route: String,
        issuer_unavailable: String,
        time_out: String,
        overload: String,
        mis_echoed: String,
        duplicate: String,
        amount_limit: String,
        count_limit: String,
        not_signed_on: String,
        invalid_card: String,
        invalid_amount: String,
        original_not_found: String,
    }
}

section! {
    /// `[velocity]`, its counters and limits apart.
    RawVelocity {
        lines: i64,
        table: String,
        entities: i64,
        entity_transactions: i64,
    }
}

section! {
    /// `[[velocity.counter]]`, without its conditions.
    RawCounter {
        name: String,
        scope: String,
        window: String,
        zone_offset_minutes: i64,
        window_s: i64,
        sub_windows: i64,
        resets_on: String,
    }
}

section! {
    /// `[[velocity.limit]]`, without its conditions.
    RawLimit {
        name: String,
        counter: String,
        count_max: i64,
        amount_minor_max: i64,
        code: String,
    }
}

section! {
    /// The conditions of a counter or a limit.
    RawWhen {
        transaction_kinds: Vec<String>,
        transaction_types: Vec<i64>,
        mccs: Vec<i64>,
        entry_modes: Vec<Word>,
        pin: String,
        iins: Vec<String>,
        currencies: Vec<i64>,
        qr_code: String,
        qr_levels: Vec<String>,
        stand_in: bool,
    }
}

section! {
    /// `[bank]`, what is not behaviour.
    RawBank {
        threads: i64,
        cores: Vec<i64>,
        seed: i64,
        accounts_max: i64,
        balance_minor: Vec<i64>,
        credit_line_minor: Vec<i64>,
        fund_share_ppm: i64,
        fund_nav: i64,
        fund_nav_daily_gain: i64,
        fund_redemption_day_minor_max: i64,
        loan_share_ppm: i64,
        loan_line_minor: Vec<i64>,
        loan_instalments: Vec<i64>,
    }
}

section! {
    /// `[journal]`.
    RawJournal {
        data_dir: String,
        durability: String,
        relaxed_ms: i64,
        segment_bytes: i64,
        snapshot_every_s: i64,
        snapshot_every_bytes: i64,
        stall_max_ms: i64,
        undurable_bytes_max: i64,
        alarm_free_percent: i64,
        refuse_free_percent: i64,
        crashes_max: i64,
    }
}

section! {
    /// The behaviour part of `[bank]` and of `[issuer.NAME]`.
    RawBehaviour {
        delay_median_us: i64,
        delay_p99_us: i64,
        insufficient_funds_ppm: i64,
        expired_ppm: i64,
        wrong_pin_ppm: i64,
        do_not_honor_ppm: i64,
        unknown_card_ppm: i64,
        silence_ppm: i64,
        late_ppm: i64,
        late_ms: i64,
    }
}

section! {
    /// `[issuer.NAME]`, what is not behaviour.
    RawIssuer {
        in_flight_max: i64,
        intent_first: bool,
        saf_rate: i64,
        repeat_mti: String,
        connect: String,
        listen: String,
        peers: Vec<String>,
        probe_idle_ms: i64,
        dialect: String,
        framing: String,
        connections: i64,
        sign_on: bool,
        echo_idle_ms: i64,
        echo_misses: i64,
        breaker_timeouts: i64,
        reconcile: bool,
        failover: String,
    }
}

section! {
    /// `[wallet]`.
    RawWallet {
        tokens: i64,
        par_giver: String,
    }
}

section! {
    /// `[keys]`.
    RawKeys {
        card_key_file: String,
    }
}

section! {
    /// `[outcomes]`.
    RawOutcomes {
        dir: String,
        bytes_max: i64,
    }
}

section! {
    /// `[admin]`.
    RawAdmin {
        socket: String,
        http: String,
        http_beyond_loopback: bool,
        token_file: String,
        audit_file: String,
    }
}

/// A section that has a name of the operator's choice.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub(super) name: String,
    /// Byte offset of the name; `None` when it comes from the shipped default.
    pub(super) at: Option<usize>,
    pub(super) section: T,
}

/// A whole file.
#[derive(Clone, Debug, Default)]
pub(super) struct RawFile {
    pub(super) switch: RawSwitch,
    pub(super) acquirers: Vec<Named<RawAcquirer>>,
    pub(super) codes: Vec<Named<RawCodes>>,
    pub(super) velocity: RawVelocity,
    /// `None`: the file says nothing of counters.
    pub(super) counters: Option<Vec<Named<(RawCounter, RawWhen)>>>,
    /// `None`: the file says nothing of limits.
    pub(super) limits: Option<Vec<Named<(RawLimit, RawWhen)>>>,
    pub(super) stand_in: Option<Vec<Named<(RawStandIn, RawWhen)>>>,
    pub(super) requestors: Vec<Named<RawRequestor>>,
    pub(super) bank: RawBank,
    pub(super) behaviour: RawBehaviour,
    pub(super) issuers: Vec<Named<(RawIssuer, RawBehaviour)>>,
    pub(super) wallet: RawWallet,
    pub(super) keys: RawKeys,
    pub(super) journal: RawJournal,
    pub(super) outcomes: RawOutcomes,
    pub(super) admin: RawAdmin,
}

/// Sections of a file.
pub(super) const SECTIONS: &[&str] = &[
    "switch",
    "acquirer",
    "codes",
    "velocity",
    "bank",
    "issuer",
    "journal",
    "keys",
    "outcomes",
    "admin",
    "stand_in",
    "requestor",
    "wallet",
];
/// Keys of `[velocity]` that hold tables.
const VELOCITY_TABLES: &[&str] = &["counter", "limit"];

impl RawFile {
    /// Reads a file. When it is not TOML, only that is said.
    pub(super) fn read(problems: &mut Problems<'_>, text: &str) -> Self {
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            let at = error.span().map_or(0, |span| span.start);
            problems.error(Some(at), "", quoted_lines(error.message()), "this is not valid TOML");
        }
        if !syntax.is_empty() {
            return Self::default();
        }
        let root = document.get_ref();
        refuse_unknown(problems, "", root, &[SECTIONS]);
        let mut file = Self::default();
        if let Some((table, _)) = table_at(problems, "", root, "switch") {
            refuse_unknown(problems, "switch", table, &[RawSwitch::KEYS]);
            file.switch = RawSwitch::read(problems, "switch", table);
        }
        if let Some((table, _)) = table_at(problems, "", root, "bank") {
            refuse_unknown(problems, "bank", table, &[RawBank::KEYS, RawBehaviour::KEYS]);
            file.bank = RawBank::read(problems, "bank", table);
            file.behaviour = RawBehaviour::read(problems, "bank", table);
        }
        file.read_plain(problems, root);
        if let Some((table, _)) = table_at(problems, "", root, "velocity") {
            refuse_unknown(problems, "velocity", table, &[RawVelocity::KEYS, VELOCITY_TABLES]);
            file.velocity = RawVelocity::read(problems, "velocity", table);
            file.counters =
                read_list(problems, ("velocity", table), "counter", |problems, path, table| {
                    refuse_unknown(problems, path, table, &[RawCounter::KEYS, RawWhen::KEYS]);
                    let counter = RawCounter::read(problems, path, table);
                    (counter, RawWhen::read(problems, path, table))
                });
            file.limits =
                read_list(problems, ("velocity", table), "limit", |problems, path, table| {
                    refuse_unknown(problems, path, table, &[RawLimit::KEYS, RawWhen::KEYS]);
                    let limit = RawLimit::read(problems, path, table);
                    (limit, RawWhen::read(problems, path, table))
                });
        }
        file.stand_in = stand_in::read(problems, root);
        file.requestors = requestor::read(problems, root);
        file.acquirers = read_named(problems, root, "acquirer", |problems, path, table| {
            refuse_unknown(problems, path, table, &[RawAcquirer::KEYS]);
            RawAcquirer::read(problems, path, table)
        });
        file.codes = read_named(problems, root, "codes", |problems, path, table| {
            refuse_unknown(problems, path, table, &[RawCodes::KEYS]);
            RawCodes::read(problems, path, table)
        });
        file.issuers = read_named(problems, root, "issuer", |problems, path, table| {
            refuse_unknown(problems, path, table, &[RawIssuer::KEYS, RawBehaviour::KEYS]);
            let issuer = RawIssuer::read(problems, path, table);
            (issuer, RawBehaviour::read(problems, path, table))
        });
        file
    }

    /// Sections that hold nothing but keys.
    fn read_plain(&mut self, problems: &mut Problems<'_>, root: &DeTable<'_>) {
        if let Some((table, _)) = table_at(problems, "", root, "outcomes") {
            refuse_unknown(problems, "outcomes", table, &[RawOutcomes::KEYS]);
            self.outcomes = RawOutcomes::read(problems, "outcomes", table);
        }
        if let Some((table, _)) = table_at(problems, "", root, "admin") {
            refuse_unknown(problems, "admin", table, &[RawAdmin::KEYS]);
            self.admin = RawAdmin::read(problems, "admin", table);
        }
        if let Some((table, _)) = table_at(problems, "", root, "wallet") {
            refuse_unknown(problems, "wallet", table, &[RawWallet::KEYS]);
            self.wallet = RawWallet::read(problems, "wallet", table);
        }
        if let Some((table, _)) = table_at(problems, "", root, "keys") {
            refuse_unknown(problems, "keys", table, &[RawKeys::KEYS]);
            self.keys = RawKeys::read(problems, "keys", table);
        }
        if let Some((table, _)) = table_at(problems, "", root, "journal") {
            refuse_unknown(problems, "journal", table, &[RawJournal::KEYS]);
            self.journal = RawJournal::read(problems, "journal", table);
        }
    }

    /// This file, with what it does not say taken from `default`. Acquirers, counters and limits are
    /// lists: a file that has any replaces all of them; an acquirer takes what it does not say from
    /// the default's acquirer of its name or else of its dialect. Limits judge counters by name, so
    /// a file with counters of its own takes over no limits.
    pub(super) fn over(self, default: Self) -> Self {
        let limits = match &self.counters {
            Some(_) => Some(self.limits.unwrap_or_default()),
            None => self.limits.or(default.limits),
        };
        Self {
            switch: self.switch.over(&default.switch),
            acquirers: acquirers_over(self.acquirers, default.acquirers),
            codes: codes_over(self.codes, default.codes),
            velocity: self.velocity.over(&default.velocity),
            counters: self.counters.or(default.counters),
            limits,
            stand_in: self.stand_in.or(default.stand_in),
            requestors: self.requestors,
            bank: self.bank.over(&default.bank),
            behaviour: self.behaviour.over(&default.behaviour),
            issuers: self.issuers,
            wallet: self.wallet.over(&default.wallet),
            keys: self.keys.over(&default.keys),
            journal: self.journal.over(&default.journal),
            outcomes: self.outcomes.over(&default.outcomes),
            admin: self.admin.over(&default.admin),
        }
    }

    /// This file as what others are filled in from.
    pub(super) fn inherited(self) -> Self {
        Self {
            switch: self.switch.inherited(),
            acquirers: inherit(self.acquirers, RawAcquirer::inherited),
            codes: inherit(self.codes, RawCodes::inherited),
            velocity: self.velocity.inherited(),
            counters: self.counters.map(|counters| {
                inherit(counters, |(counter, when)| (counter.inherited(), when.inherited()))
            }),
            limits: self.limits.map(|limits| {
                inherit(limits, |(limit, when)| (limit.inherited(), when.inherited()))
            }),
            stand_in: self
                .stand_in
                .map(|rules| inherit(rules, |(rule, when)| (rule.inherited(), when.inherited()))),
            requestors: inherit(self.requestors, RawRequestor::inherited),
            bank: self.bank.inherited(),
            behaviour: self.behaviour.inherited(),
            issuers: inherit(self.issuers, |(issuer, behaviour)| {
                (issuer.inherited(), behaviour.inherited())
            }),
            wallet: self.wallet.inherited(),
            keys: self.keys.inherited(),
            journal: self.journal.inherited(),
            outcomes: self.outcomes.inherited(),
            admin: self.admin.inherited(),
        }
    }
}

fn inherit<T>(sections: Vec<Named<T>>, strip: impl Fn(T) -> T) -> Vec<Named<T>> {
    sections
        .into_iter()
        .map(|named| Named { at: None, section: strip(named.section), name: named.name })
        .collect()
}

fn acquirers_over(
    own: Vec<Named<RawAcquirer>>,
    default: Vec<Named<RawAcquirer>>,
) -> Vec<Named<RawAcquirer>> {
    if own.is_empty() {
        return default;
    }
    own.into_iter()
        .map(|named| {
            let base = acquirer_base(&named, &default);
            Named { section: named.section.over(&base), ..named }
        })
        .collect()
}

/// What an acquirer takes over. One whose dialect is missing or unknown takes some default's other
/// keys, so that only the dialect is complained of.
fn acquirer_base(named: &Named<RawAcquirer>, default: &[Named<RawAcquirer>]) -> RawAcquirer {
    let dialect_of = |section: &RawAcquirer| section.dialect.as_ref().map(|it| it.value.clone());
    let dialect = dialect_of(&named.section);
    let same_dialect = default.iter().find(|base| dialect == dialect_of(&base.section));
    let same_name = default.iter().find(|base| named.name == base.name);
    match (same_name, same_dialect) {
        (Some(base), None) => base.section.clone(),
        (Some(base), Some(_)) if dialect == dialect_of(&base.section) => base.section.clone(),
        // Two listeners cannot share the default's address.
        (_, Some(base)) => RawAcquirer { listen: None, ..base.section.clone() },
        (None, None) => {
            let base = default.first().map(|base| base.section.clone()).unwrap_or_default();
            RawAcquirer { listen: None, dialect: None, ..base }
        }
    }
}

fn codes_over(own: Vec<Named<RawCodes>>, default: Vec<Named<RawCodes>>) -> Vec<Named<RawCodes>> {
    let (changed, mut unmentioned): (Vec<_>, Vec<_>) =
        default.into_iter().partition(|base| own.iter().any(|named| named.name == base.name));
    let over = |named: Named<RawCodes>| match changed.iter().find(|it| it.name == named.name) {
        Some(base) => Named { section: named.section.over(&base.section), ..named },
        None => named,
    };
    unmentioned.extend(own.into_iter().map(over));
    unmentioned
}

fn read_key<T: Kind>(
    problems: &mut Problems<'_>,
    path: &str,
    table: &DeTable<'_>,
    key: &str,
) -> Option<Found<T>> {
    let (name, value) = table.get_key_value(key)?;
    let at = Some(name.span().start);
    let read = T::read(value.get_ref());
    if read.is_none() {
        let message = format!("must be {}, not {}", T::WANTED, kind_of(value.get_ref()));
        problems.error(at, &join(path, key), message, "");
    }
    read.map(|value| Found { value, at })
}

fn join(path: &str, key: &str) -> String {
    let key = quoted(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn refuse_unknown(
    problems: &mut Problems<'_>,
    path: &str,
    table: &DeTable<'_>,
    known: &[&[&'static str]],
) {
    for name in table.keys() {
        let key: &str = name.get_ref();
        if !known.iter().any(|names| names.contains(&key)) {
            let cause = nearest_cause(key, &known.concat());
            let what = if path.is_empty() { "unknown section" } else { "unknown key" };
            problems.error(Some(name.span().start), &join(path, key), what, cause);
        }
    }
}

/// A parser's message in one line.
fn quoted_lines(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

//! A switch as `run` and `demo` start and stop it: first screen, final books. Not here: what either
//! does in between.

use super::hand_over::Terms;
use super::{CommandError, journal_counters, memory_screen, quantity};
use crate::bank::{BankSet, Ledger};
use crate::config::{Config, ConfigError, Durability};
use crate::io::carry::carry_over;
use crate::io::core_dumps::forbid_core_dumps;
use crate::io::journal::{CommitPath, DataDirectory, JournalReport};
use crate::io::keys::{self, KeyOrigin, KeySources};
use crate::io::recover::{Kept, RecoveryReport};
use crate::io::{
    Clock, IoTimeouts, Listeners, Parting, ShardReport, StartError, Stopped, Switch,
    cryptogram_keys,
};
use crate::shard::recovery::Recovered;
use crate::shard::state_layout::StateLayout;
use crate::shard::wallet::WalletKeys;
use crate::shard::{Counter, Counters, Secrets, Shard};
use hdrhistogram::Histogram;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The configuration of a file, or the shipped one.
pub(super) fn load(file: Option<&Path>) -> Result<Config, ConfigError> {
    match file {
        Some(path) => Config::from_file(path),
        None => Ok(Config::embedded()),
    }
}

/// A configuration with issuers and acquirers in the order that the data directory knows them in: what is
/// kept there names them by place.
pub(super) fn in_kept_order(config: Config) -> Result<Config, CommandError> {
    let journal = &config.journal;
    let folder = journal.data_dir.as_ref().filter(|_| journal.durability != Durability::Off);
    let Some(folder) = folder else { return Ok(config) };
    let kept = DataDirectory::peek_layout(folder);
    let kept = kept.map_err(|error| refused(error.exit_code(), &error))?;
    let Some(kept) = kept else { return Ok(config) };
    let kept = StateLayout::from_bytes(&kept)
        .map_err(|what| refused(65, &format!("{}: {what}", folder.display())))?;
    Ok(config.in_order(&kept.issuers, &kept.acquirers))
}

/// Starts the switch and its banks, with what a process before left: on the disk, and in memory if it
/// handed over.
pub(super) fn start(
    config: &Arc<Config>,
    listeners: Option<Listeners>,
    partings: Vec<Parting>,
) -> Result<Started, CommandError> {
    forbid_core_dumps()
        .map_err(|error| CommandError::Failed(format!("cannot forbid core dumps: {error}")))?;
    let keys::Keys { mut secrets, origin } = load_keys(config)?;
    secrets.cryptograms =
        cryptogram_keys::load(&config.requestors).map_err(|error| refused(78, &error))?;
    let key_check = secrets.key_check();
    let wallet_keys = WalletKeys::new(&secrets, config.switch.shards);
    let directory = open_directory(config, &origin, &secrets)?;
    let (directory, carried) = directory.unzip();
    let failed = |error: StartError| CommandError::Refused {
        exit_code: error.exit_code(),
        what: error.to_string(),
    };
    let listeners = match listeners {
        Some(listeners) => listeners,
        None => Listeners::open(config, &mut Vec::new()).map_err(failed)?,
    };
    let terms = Terms::of(config, key_check);
    let shared = Arc::clone(config);
    let (config, timeouts) = (Arc::clone(config), IoTimeouts::default());
    let started = memory_screen::while_shown(|| {
        let kept = directory.map(|directory| Kept { directory, partings });
        Switch::start_on(config, timeouts, (kept, &listeners), move |id, passed| {
            Shard::with_table(id, &shared, &secrets, passed)
        })
    });
    let switch = started.map_err(failed)?;
    let carried = carried.unwrap_or_default();
    let (told, operators) = (Vec::new(), None);
    let key_origin = origin;
    Ok(Started {
        switch,
        listeners,
        terms,
        key_origin,
        key_check,
        wallet_keys,
        carried,
        told,
        operators,
    })
}

/// The card key that a configuration names, or one for this process.
pub(super) fn load_keys(config: &Config) -> Result<keys::Keys, CommandError> {
    let sources = KeySources {
        file: config.keys.card_key_file.clone(),
        credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
    };
    keys::load(&sources).map_err(|error| refused(78, &error))
}

/// The data directory, where there is one and something is to be kept. Cards are in it by their keys, so
/// the card key must outlive this process.
fn open_directory(
    config: &Config,
    origin: &KeyOrigin,
    secrets: &Secrets,
) -> Result<Option<(DataDirectory, Vec<String>)>, CommandError> {
    let journal = &config.journal;
    let folder = journal.data_dir.as_ref().filter(|_| journal.durability != Durability::Off);
    let Some(folder) = folder else {
        if journal.is_safe {
            let what = "--safe is for a switch on a data directory, and there is none";
            return Err(refused(78, &what));
        }
        return Ok(None);
    };
    if *origin == KeyOrigin::Random {
        let what = "a data directory needs a card key that lasts: `tapswitch key new FILE` makes one, \
                    [keys] card_key_file names it";
        return Err(CommandError::Refused { exit_code: 78, what: what.to_owned() });
    }
    let [a, b, c, d] = secrets.key_check();
    let wanted = StateLayout::of(config);
    let (shards, layout) = (u32::try_from(wanted.shards).unwrap_or_default(), wanted.to_bytes());
    let opened = DataDirectory::open(folder, shards, [a, b, c, d, 0, 0, 0, 0], &layout);
    let mut directory = opened.map_err(|error| refused(error.exit_code(), &error))?;
    let crashes_max = if journal.is_safe { 0 } else { journal.crashes_max };
    let noted = directory.note_start(Clock::new().now().wall_ms, crashes_max);
    noted.map_err(|error| refused(error.exit_code(), &error))?;
    let before = StateLayout::from_bytes(directory.layout())
        .map_err(|what| refused(65, &format!("{}: {what}", directory.folder().display())))?;
    if before == wanted {
        return Ok(Some((directory, Vec::new())));
    }
    if let Some(who) = before.displaced_in(&wanted) {
        let what = format!(
            "{}: {who} has messages, totals and answers kept here, and the configuration does not have it \
             any more: keep its section or its rows in iin_file, even if nobody uses them",
            directory.folder().display()
        );
        return Err(refused(78, &what));
    }
    let before_config = before.config(config);
    let carried = memory_screen::while_shown(|| {
        carry_over(&directory, (shards, &layout), |id| Shard::new(id, &before_config, secrets))
    });
    let (next, reports) = carried.map_err(|error| refused(error.exit_code(), &error))?;
    let mut told = before.changes_to(&wanted);
    for (shard, report) in reports.iter().enumerate() {
        let lost =
            report.rejected.iter().map(|what| format!("ALARM: shard {shard} before: {what}"));
        told.extend(lost);
    }
    let under_way: usize = reports.iter().map(|report| report.recovered.in_flight).sum();
    told.push(format!("{under_way} requests were under way (reversed)"));
    Ok(Some((next, told)))
}

pub(super) fn refused(exit_code: u8, what: &impl ToString) -> CommandError {
    CommandError::Refused { exit_code, what: what.to_string() }
}

/// A switch that runs, and which keys it has.
pub(super) struct Started {
    pub(super) switch: Switch<Shard>,
    /// Where it listens.
    pub(super) listeners: Listeners,
    /// What it could hand over.
    pub(super) terms: Terms,
    key_origin: KeyOrigin,
    key_check: [u8; 4],
    /// Where tokens are.
    pub(super) wallet_keys: WalletKeys,
    /// What became of what another layout left, in sentences.
    carried: Vec<String>,
    /// How it came from the process before, in sentences.
    pub(super) told: Vec<String>,
    /// Where operators reach it, in a sentence; none: nothing is said of it.
    pub(super) operators: Option<String>,
}

impl Started {
    fn keys(&self) -> String {
        let [a, b, c, d] = self.key_check;
        match &self.key_origin {
            KeyOrigin::File(path) | KeyOrigin::Credential(path) => {
                format!("of {}, check {a:02x}{b:02x}{c:02x}{d:02x}", path.display())
            }
            KeyOrigin::Random => "random: they end with this process".to_owned(),
        }
    }
}

/// What was started, where, and what it does not do.
pub(super) fn write_first_screen(
    out: &mut dyn Write,
    started: &Started,
    config: &Config,
) -> std::io::Result<()> {
    let switch = &started.switch;
    writeln!(out, "tapswitch {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "engine      {}", switch.engine())?;
    let shards = config.switch.shards;
    let pinned = match config.switch.cores.as_slice() {
        [] => "not pinned".to_owned(),
        cores => format!("cores {cores:?}"),
    };
    writeln!(out, "shards      {shards}, {pinned}")?;
    for (acquirer, address) in config.acquirers.iter().zip(switch.local_addrs()) {
        writeln!(out, "acquirers   {address} {} ({})", acquirer.name, acquirer.dialect.name())?;
    }
    write_issuers(out, config)?;
    let lines = config.velocity.lines;
    writeln!(
        out,
        "velocity    {} limits on {} counters, room for {} cards in {}",
        config.velocity.limits.len(),
        config.velocity.counters.len(),
        quantity::grouped(lines as u64),
        quantity::bytes((lines * config.velocity.line_bytes()) as u64),
    )?;
    let scopes = config.velocity.scope_counters.len();
    if scopes > 0 {
        let each = quantity::grouped(config.velocity.entities as u64);
        writeln!(
            out,
            "            {scopes} counters of terminals, merchants, acquirers or tokens, {each} rows each \
             a shard"
        )?;
    }
    writeln!(out, "keys        {}", started.keys())?;
    for line in &started.told {
        writeln!(out, "taken over  {line}")?;
    }
    for line in &started.carried {
        writeln!(out, "carried     {line}")?;
    }
    match &config.outcomes {
        Some(log) => {
            let (dir, most) = (log.dir.display(), quantity::bytes(log.bytes_max));
            writeln!(out, "outcomes    in {dir}, {most} at most: tapswitch find {dir} --rrn …")?;
        }
        None => writeln!(out, "outcomes    not logged: name a folder in [outcomes]")?,
    }
    if config.journal.is_safe {
        writeln!(
            out,
            "safe        new transactions are answered `overload`; what is owed is sent"
        )?;
    }
    if let Some(operators) = &started.operators {
        writeln!(out, "operators   {operators}")?;
    }
    write_durability(out, &started.switch, config)?;
    out.flush()
}

/// What outlives this process, and what was found of the process before.
fn write_durability(
    out: &mut dyn Write,
    switch: &Switch<Shard>,
    config: &Config,
) -> std::io::Result<()> {
    let (Some(path), Some(folder)) = (switch.commit_path(), &config.journal.data_dir) else {
        let off = "off: limits, repeats and reversals owed end with this process";
        return writeln!(out, "durability  {off}");
    };
    let durability = match config.journal.durability {
        Durability::Strict => "strict".to_owned(),
        Durability::Relaxed { ms } => format!("relaxed: a crash loses up to {ms} ms"),
        Durability::Off => "off".to_owned(),
    };
    let path = match path {
        CommitPath::Direct => "",
        CommitPath::Buffered => ", through the page cache (no direct I/O here: slower)",
    };
    writeln!(out, "durability  {durability}, journal in {}{path}", folder.display())?;
    for (shard, report) in switch.recovered().iter().enumerate() {
        let Recovered { in_flight, owed, epoch, .. } = report.recovered;
        let source = source_of(report);
        writeln!(
            out,
            "recovered   shard {shard}: {source}, {in_flight} requests under way (reversed), {owed} \
             messages owed; configuration epoch {epoch}",
        )?;
        if let Some(why) = &report.not_passed {
            writeln!(
                out,
                "ALARM       shard {shard}: {why}; its cards were read from the disk instead"
            )?;
        }
        if report.torn_bytes > 0 {
            let torn = quantity::bytes(report.torn_bytes);
            writeln!(
                out,
                "recovered   shard {shard}: journal_torn{{{torn}}}: a commit was cut short"
            )?;
        }
        for rejected in &report.rejected {
            writeln!(
                out,
                "ALARM       shard {shard}: {rejected}; the snapshot before it was used"
            )?;
        }
    }
    Ok(())
}

/// Of what a shard was made.
fn source_of(report: &RecoveryReport) -> String {
    let snapshot = quantity::bytes(report.snapshot_bytes);
    let (snapshot_s, replay_s) = (report.snapshot_ms as f64 / 1e3, report.replay_ms as f64 / 1e3);
    if report.is_passed {
        return format!("the table of cards as it was, {snapshot} besides ({snapshot_s:.1} s)");
    }
    let records = quantity::grouped(report.recovered.records);
    format!(
        "{records} records ({replay_s:.1} s) after a snapshot of {snapshot} ({snapshot_s:.1} s)"
    )
}

fn write_issuers(out: &mut dyn Write, config: &Config) -> std::io::Result<()> {
    let linked = config.issuers.iter().filter_map(|it| Some((&it.name, it.link.as_ref()?)));
    let here = config.issuers.len() - linked.clone().count();
    let iins = config.iins.len();
    writeln!(out, "issuers     {here} simulated banks in process, {iins} IIN prefixes")?;
    for (name, link) in linked {
        writeln!(out, "issuer      {link} {name} ({})", link.dialect.name())?;
    }
    Ok(())
}

/// All shards as they last published themselves.
pub(super) struct SwitchNow {
    /// Their counters.
    pub(super) counters: Counters,
    /// Their switch times, in nanoseconds.
    pub(super) switch_time_ns: Histogram<u64>,
}

impl SwitchNow {
    pub(super) fn of(switch: &Switch<Shard>) -> Self {
        let mut now = Self {
            counters: Counters::default(),
            switch_time_ns: crate::shard::SwitchTime::default().histogram().clone(),
        };
        for published in switch.published() {
            now.counters.merge(&published.counters());
            // The same bounds everywhere, so adding cannot fail.
            let _ = now.switch_time_ns.add(published.switch_times_ns());
        }
        now
    }
}

/// Connections that were not served, each reason in a sentence.
pub(super) fn refused_connections(switch: &Switch<Shard>) -> Vec<String> {
    let counters = switch.accept_counters();
    let full = counters.refused_full.load(Ordering::Relaxed);
    let exhausted = counters.exhausted.load(Ordering::Relaxed);
    let mut refused = Vec::new();
    if full > 0 {
        refused.push(format!("{full} connections refused: every shard had all it can hold"));
    }
    if exhausted > 0 {
        refused.push(format!("{exhausted} times no file descriptor or memory for a connection"));
    }
    for (counter, why) in [
        (&counters.denied, "connections of addresses that `peers` does not name"),
        (&counters.too_often, "connections beyond connects_per_second"),
    ] {
        let count = counter.load(Ordering::Relaxed);
        if count > 0 {
            refused.push(format!("{count} {why}"));
        }
    }
    refused
}

/// One bank's books at the end, over all shards.
pub(super) struct BankBooks {
    /// The bank.
    pub(super) name: String,
    /// Its books.
    pub(super) ledger: Ledger,
}

/// What is left of a switch.
pub(super) struct Remains {
    /// All shards' counters.
    pub(super) counters: Counters,
    /// All shards' switch times, in nanoseconds.
    pub(super) switch_time_ns: Histogram<u64>,
    /// Requests not answered and messages owed: 0 unless the stop ran out of time.
    pub(super) in_flight: usize,
    /// Of these, messages owed to issuers.
    pub(super) owed: usize,
    /// Answers no longer remembered because newer ones took their place.
    duplicate_evictions: u64,
    /// Originals no longer remembered because newer ones took their place.
    original_evictions: u64,
    /// All shards' journals, if there are any.
    journal: Option<JournalReport>,
    /// Cards that took a line of the velocity table.
    cards: usize,
    /// Entries of the outcome log that could not be written.
    pub(super) outcomes_unwritten: u64,
    /// Every bank's books.
    pub(super) banks: Vec<BankBooks>,
}

impl Remains {
    pub(super) fn of(stopped: Stopped<ShardReport>) -> Self {
        let mut counters = Counters::default();
        let (mut in_flight, mut owed, mut cards) = (0, 0, 0);
        let (mut duplicate_evictions, mut original_evictions) = (0, 0);
        let mut times: Option<Histogram<u64>> = None;
        for report in &stopped.reports {
            counters.merge(&report.counters);
            in_flight += report.in_flight;
            owed += report.owed;
            duplicate_evictions += report.duplicate_evictions;
            original_evictions += report.original_evictions;
            cards += report.cards;
            let histogram = report.switch_time.histogram();
            match &mut times {
                None => times = Some(histogram.clone()),
                // The same bounds everywhere, so adding cannot fail.
                Some(times) => drop(times.add(histogram)),
            }
        }
        let switch_time_ns =
            times.unwrap_or_else(|| crate::shard::SwitchTime::default().histogram().clone());
        let banks = merge_books(&stopped.banks);
        Self {
            counters,
            switch_time_ns,
            in_flight,
            owed,
            duplicate_evictions,
            original_evictions,
            journal: merge_journals(&stopped.journals),
            cards,
            outcomes_unwritten: stopped.outcomes_unwritten,
            banks,
        }
    }

    /// Banks whose books do not balance, each in a sentence.
    pub(super) fn broken_books(&self) -> Vec<String> {
        let broken = |bank: &BankBooks| {
            let error = bank.ledger.check().err()?;
            Some(format!("the books of {} do not balance: {error}", bank.name))
        };
        self.banks.iter().filter_map(broken).collect()
    }

    /// Counters that are not zero.
    pub(super) fn write_counters(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for (counter, value) in self.counters.iter().filter(|(_, value)| *value > 0) {
            let (name, value) = (counter.name(), quantity::grouped(value));
            writeln!(out, "{name:<28} {value:>15}  {}", counter.meaning())?;
        }
        let mut row = |name: &str, value: u64, meaning: &str| {
            writeln!(out, "{name:<28} {:>15}  {meaning}", quantity::grouped(value))
        };
        row("velocity{lines}", self.cards as u64, "cards that took a line of the velocity table")?;
        row("duplicate{evicted}", self.duplicate_evictions, "answers forgotten for newer ones")?;
        row("original{evicted}", self.original_evictions, "originals forgotten for newer ones")?;
        match &self.journal {
            Some(journal) => journal_counters::write(out, journal),
            None => Ok(()),
        }
    }

    /// The count of one counter.
    pub(super) fn count(&self, counter: Counter) -> u64 {
        self.counters.value(counter)
    }
}

fn merge_journals(journals: &[JournalReport]) -> Option<JournalReport> {
    let (first, others) = journals.split_first()?;
    let mut all = first.clone();
    others.iter().for_each(|other| all.merge(other));
    Some(all)
}

fn merge_books(banks: &[BankSet]) -> Vec<BankBooks> {
    let mut books: Vec<BankBooks> = Vec::new();
    for (name, ledger) in banks.iter().flat_map(BankSet::ledgers) {
        match books.iter_mut().find(|bank| bank.name == name) {
            Some(bank) => bank.ledger.merge(&ledger),
            None => books.push(BankBooks { name, ledger }),
        }
    }
    books
}

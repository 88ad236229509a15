//! `/status.json`: all that `tapswitch ctl show` prints, under a versioned schema. Fields are added
//! within a version; one that changes its meaning or goes makes another.

use super::board::{Board, Phase};
use super::notable::Notable;
use super::parked_status::{ParkedStatus, parked};
use super::process::ProcessFacts;
use super::totals::TotalsStatus;
use crate::config::{Config, IssuerConfig, IssuerLinkConfig};
use crate::io::{IoCounters, SwitchView};
use crate::shard::levels::{AcquirerLevels, Level, Levels};
use crate::shard::time_buckets::TimeBuckets;
use crate::shard::totals::Totals;
use crate::shard::{AcquirerId, Counters, IssuerId, Published, Shard, SwitchTime};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Version of [`Status`].
pub const SCHEMA: u32 = 1;

/// A switch at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this layout.
    pub schema: u32,
    /// Of the switch.
    pub version: String,
    /// How far it is.
    pub phase: Phase,
    /// Why no requests should be sent to it; none: they may.
    pub not_ready: Option<String>,
    /// UTC milliseconds of this answer.
    pub wall_ms: u64,
    /// Since it was started.
    pub uptime_s: u64,
    /// Its process.
    pub process: ProcessFacts,
    /// How bytes come and go; empty while it starts.
    pub engine: String,
    /// Number of the configuration that every shard judges by.
    pub epoch: u64,
    /// Its acquirers' listeners.
    pub acquirers: Vec<AcquirerStatus>,
    /// Its issuers.
    pub issuers: Vec<IssuerStatus>,
    /// Its links to issuers, one of each shard.
    pub links: Vec<LinkStatus>,
    /// Its shards.
    pub shards: Vec<ShardStatus>,
    /// What is counted for reconciliation, over all shards.
    #[serde(default)]
    pub totals: TotalsStatus,
    /// All shards' counters that are not 0, by name.
    pub counters: BTreeMap<String, u64>,
    /// Answers by code.
    pub codes: BTreeMap<String, u64>,
    /// The time that the switch itself took, in microseconds.
    pub switch_time_us: Quantiles,
    /// Alarms and other things that an operator should know of, the oldest first.
    pub last_errors: Vec<Notable>,
    /// Messages owed that wait for an operator.
    #[serde(default)]
    pub parked: Vec<ParkedStatus>,
    /// The configuration in force: keys and values.
    pub config: Vec<(String, String)>,
}

/// Where an acquirer connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcquirerStatus {
    /// Its name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// How it speaks.
    pub dialect: String,
    /// The switch's own part of its transactions.
    #[serde(default)]
    pub switch_time: TimesStatus,
    /// Its issuers' part, of answers in time.
    #[serde(default)]
    pub issuer_time: TimesStatus,
}

/// Times, to the bounds of buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesStatus {
    /// How many there were.
    pub count: u64,
    /// Half of them were at most so long; none: longer than the last bound, or there were none.
    pub p50_us: Option<u64>,
    /// The same of 99 in a hundred.
    pub p99_us: Option<u64>,
}

impl TimesStatus {
    fn of(times: &TimeBuckets) -> Self {
        let (p50_us, p99_us) = (times.quantile_us(0.5), times.quantile_us(0.99));
        Self { count: times.count(), p50_us, p99_us }
    }
}

/// An issuer, over all shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerStatus {
    /// Its name.
    pub name: String,
    /// Where it is; none: its simulated bank lives in this process.
    pub address: Option<String>,
    /// Shards that reach it.
    pub shards_up: u64,
    /// Requests under way at it.
    pub in_flight: u64,
    /// How many may be.
    pub in_flight_max: u64,
    /// Reversals and advices owed to it.
    pub owed: u64,
    /// Answers that it gave in time.
    pub answered: u64,
    /// Half of its answers took at most so long, to the bound of a bucket; none: longer than the last
    /// bound, or no answers.
    pub p50_us: Option<u64>,
    /// The same of 99 in a hundred.
    pub p99_us: Option<u64>,
    /// Prefixes that are its own.
    pub iins: u64,
}

/// One shard's link to an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Whose it is.
    pub issuer: String,
    /// The shard.
    pub shard: u64,
    /// Where it leads.
    pub address: String,
    /// How it is spoken on.
    pub dialect: String,
    /// Whether it is made.
    pub is_up: bool,
    /// Requests under way on it.
    pub in_flight: u64,
    /// Messages that this shard owes to the issuer.
    pub owed: u64,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u64,
    /// Connections of acquirers.
    pub connections: u64,
    /// Bytes of their buffers.
    pub buffer_bytes: u64,
    /// Levels of its tables, by name.
    pub levels: BTreeMap<String, u64>,
    /// Its counters that are not 0, by name.
    pub counters: BTreeMap<String, u64>,
    /// Since when the oldest message is owed, in UTC milliseconds; none: nothing is owed.
    pub owed_since_ms: Option<u64>,
    /// Its journal; none: it keeps nothing.
    pub journal: Option<JournalStatus>,
}

/// A shard's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStatus {
    /// Number of the last record made.
    pub last_lsn: u64,
    /// Number of the last record on the disk.
    pub durable_lsn: u64,
    /// Groups of records made durable.
    pub commits: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Commits of more than 10 ms.
    pub stalls: u64,
    /// Snapshots written by this process.
    pub snapshots: u64,
    /// Age of the newest of them; none: none yet.
    pub snapshot_age_s: Option<u64>,
}

/// Times, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many.
    pub count: u64,
    /// Half took at most so long.
    pub p50: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// 999 in a thousand.
    pub p999: f64,
}

/// What all shards published, copied once.
pub(super) struct Copied {
    pub(super) shards: Vec<ShardSeen>,
    pub(super) counters: Counters,
    pub(super) switch_time_ns: Histogram<u64>,
}

/// One shard, copied.
pub(super) struct ShardSeen {
    pub(super) counters: Counters,
    pub(super) levels: Box<Levels>,
    pub(super) owed_since_ms: Option<u64>,
}

impl Copied {
    pub(super) fn of(view: &SwitchView<Shard>) -> Self {
        let mut all = Self {
            shards: Vec::new(),
            counters: Counters::default(),
            switch_time_ns: SwitchTime::default().histogram().clone(),
        };
        for (_, published) in view.shards() {
            let counters = published.counters();
            all.counters.merge(&counters);
            // The same bounds everywhere, so adding cannot fail.
            let _ = all.switch_time_ns.add(published.switch_times_ns());
            let owed_since_ms = owed_since_ms(published);
            let levels = published.levels();
            all.shards.push(ShardSeen { counters, levels, owed_since_ms });
        }
        all
    }

    /// Totals of each shard.
    pub(super) fn totals(&self) -> impl Iterator<Item = &Totals> + Clone {
        self.shards.iter().map(|shard| &shard.levels.totals)
    }

    /// How long an acquirer's transactions took, over all shards.
    pub(super) fn acquirer_times(&self, acquirer: AcquirerId) -> AcquirerLevels {
        let mut times = AcquirerLevels::default();
        self.shards.iter().for_each(|shard| times.merge(&shard.levels.acquirer(acquirer)));
        times
    }

    /// An issuer's answers, over all shards.
    pub(super) fn issuer_times(&self, issuer: IssuerId) -> TimeBuckets {
        let mut times = TimeBuckets::default();
        self.shards.iter().for_each(|shard| times.merge(&shard.levels.issuer(issuer).times));
        times
    }
}

fn owed_since_ms(published: &Published) -> Option<u64> {
    let gauges = published.gauges();
    (gauges.owed > 0).then_some(gauges.owed_since_min * 60_000)
}

impl Status {
    /// The switch as it is now.
    #[must_use]
    pub fn of(board: &Board) -> Self {
        let config = board.config();
        let now = board.now();
        let mut status = Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            phase: board.phase(),
            not_ready: board.not_ready().map(str::to_owned),
            wall_ms: now.wall_ms,
            uptime_s: now.mono_ns.saturating_sub(board.started().mono_ns) / 1_000_000_000,
            process: ProcessFacts::now(),
            engine: String::new(),
            epoch: 0,
            acquirers: Vec::new(),
            issuers: Vec::new(),
            links: Vec::new(),
            shards: Vec::new(),
            totals: TotalsStatus::default(),
            counters: BTreeMap::new(),
            codes: BTreeMap::new(),
            switch_time_us: Quantiles::default(),
            last_errors: board.notables.last(),
            parked: Vec::new(),
            config: config.listing(),
        };
        if let Some(view) = board.view() {
            status.see(view, &config, now.wall_ms);
        }
        status
    }

    fn see(&mut self, view: &SwitchView<Shard>, config: &Config, wall_ms: u64) {
        let all = Copied::of(view);
        view.engine().clone_into(&mut self.engine);
        self.epoch = view.epoch();
        let listening = config.acquirers.iter().zip(view.local_addrs());
        self.acquirers = listening
            .zip((0..).map(AcquirerId))
            .map(|((acquirer, address), id)| {
                let times = all.acquirer_times(id);
                AcquirerStatus {
                    name: acquirer.name.clone(),
                    address: address.to_string(),
                    dialect: acquirer.dialect.name().to_owned(),
                    switch_time: TimesStatus::of(&times.switch),
                    issuer_time: TimesStatus::of(&times.issuer),
                }
            })
            .collect();
        for (place, issuer) in (0..).zip(&config.issuers) {
            self.issuers.push(issuer_status((IssuerId(place), issuer), config, &all));
            self.links.extend(links((IssuerId(place), issuer), &all));
        }
        let is_journaled = view.journal_space().is_some();
        for (place, ((io, _), shard)) in view.shards().zip(&all.shards).enumerate() {
            let journal = is_journaled.then(|| journal_status(io, wall_ms));
            self.shards.push(shard_status(place as u64, io, shard, journal));
        }
        self.totals = TotalsStatus::of(config, all.totals(), wall_ms);
        self.parked = parked(view, config);
        self.counters = by_name(&all.counters);
        for shard in &all.shards {
            for (code, count) in shard.levels.codes.iter() {
                *self.codes.entry(code).or_default() += count;
            }
        }
        let times = &all.switch_time_ns;
        let us = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        self.switch_time_us =
            Quantiles { count: times.len(), p50: us(0.5), p99: us(0.99), p999: us(0.999) };
    }
}

fn by_name(counters: &Counters) -> BTreeMap<String, u64> {
    let counted = counters.iter().filter(|(_, count)| *count > 0);
    counted.map(|(counter, count)| (counter.name().to_owned(), count)).collect()
}

/// Where a link is made to, or where it is waited for.
fn address(link: &IssuerLinkConfig) -> String {
    let made = link.connect.map(|address| address.to_string());
    let awaited = link.listen.map(|address| format!("listens at {address}"));
    let both: Vec<String> = made.into_iter().chain(awaited).collect();
    both.join(", ")
}

fn issuer_status(
    (id, issuer): (IssuerId, &IssuerConfig),
    config: &Config,
    all: &Copied,
) -> IssuerStatus {
    let mut status = IssuerStatus {
        name: issuer.name.clone(),
        address: issuer.link.as_ref().map(address),
        shards_up: 0,
        in_flight: 0,
        in_flight_max: 0,
        owed: 0,
        answered: 0,
        p50_us: None,
        p99_us: None,
        iins: config.iins.iter().filter(|row| row.issuer == id).count() as u64,
    };
    for shard in &all.shards {
        let levels = shard.levels.issuer(id);
        status.shards_up += u64::from(levels.is_up);
        status.in_flight += levels.in_flight;
        status.in_flight_max += levels.in_flight_max;
        status.owed += levels.owed;
    }
    let times = all.issuer_times(id);
    status.answered = times.count();
    (status.p50_us, status.p99_us) = (times.quantile_us(0.5), times.quantile_us(0.99));
    status
}

fn links<'a>(
    (id, issuer): (IssuerId, &'a IssuerConfig),
    all: &'a Copied,
) -> impl Iterator<Item = LinkStatus> + 'a {
    let shards = (0..).zip(&all.shards);
    issuer.link.iter().flat_map(move |link| {
        shards.clone().map(move |(place, shard)| {
            let levels = shard.levels.issuer(id);
            LinkStatus {
                issuer: issuer.name.clone(),
                shard: place,
                address: address(link),
                dialect: link.dialect.name().to_owned(),
                is_up: levels.is_up,
                in_flight: levels.in_flight,
                owed: levels.owed,
            }
        })
    })
}

fn shard_status(
    shard: u64,
    io: &IoCounters,
    seen: &ShardSeen,
    journal: Option<JournalStatus>,
) -> ShardStatus {
    let levels = Level::ALL.iter();
    ShardStatus {
        shard,
        connections: io.connections.load(Ordering::Relaxed) as u64,
        buffer_bytes: io.buffer_bytes.load(Ordering::Relaxed) as u64,
        levels: levels.map(|&it| (it.name().to_owned(), seen.levels.value(it))).collect(),
        counters: by_name(&seen.counters),
        owed_since_ms: seen.owed_since_ms,
        journal,
    }
}

fn journal_status(io: &IoCounters, wall_ms: u64) -> JournalStatus {
    let read = |level: &AtomicU64| level.load(Ordering::Relaxed);
    let journal = &io.journal;
    let snapshot_wall_ms = Some(read(&journal.snapshot_wall_ms)).filter(|&at| at > 0);
    // Read first: nobody sees more durable than made.
    let durable_lsn = read(&journal.durable_lsn);
    JournalStatus {
        last_lsn: read(&journal.last_lsn).max(durable_lsn),
        durable_lsn,
        commits: read(&journal.commits),
        bytes: read(&journal.bytes),
        stalls: read(&journal.stalls),
        snapshots: read(&journal.snapshots),
        snapshot_age_s: snapshot_wall_ms.map(|at| wall_ms.saturating_sub(at) / 1_000),
    }
}

//! `/metrics`: what shards publish, in OpenMetrics text, added up when it is asked for.
//!
//! Names follow from the code: a counter `what{why}` is `tapswitch_what_total{why="why"}`, a level is
//! `tapswitch_level{shard="0"}`. Switch time and issuers' time are histograms of their own.

use super::board::Board;
use super::process::ProcessFacts;
use super::status::Copied;
use super::totals::{PartyKind, TotalsStatus};
use crate::io::journal::Space;
use crate::io::{IoCounters, SwitchView};
use crate::shard::levels::{AcquirerLevels, Level};
use crate::shard::time_buckets::TimeBuckets;
use crate::shard::{AcquirerId, Counter, IssuerId, Shard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the text is, for HTTP.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The switch's metrics as text.
pub(super) fn text(board: &Arc<Board>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(Arc::clone(board))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

struct Scrape(Arc<Board>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let board = &self.0;
        let mut out = Out(encoder);
        write_process(&mut out, board)?;
        let Some(view) = board.view() else { return Ok(()) };
        let all = Copied::of(view);
        write_counters(&mut out, &all)?;
        write_levels(&mut out, &all)?;
        write_io(&mut out, view)?;
        if view.journal_space().is_some() {
            write_journal(&mut out, view, board.now().wall_ms)?;
        }
        write_issuers(&mut out, board, &all)?;
        write_acquirers(&mut out, board, &all)?;
        write_totals(&mut out, board, &all)?;
        write_switch_time(&mut out, &all)
    }
}

/// Values of a family: a label's value, and the number.
type Labelled<'a> = (&'a str, u64);

struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'a>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = Labelled<'a>>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (of, value) in values {
            let labels = [(label, of)];
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<'a>(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        values: impl IntoIterator<Item = Labelled<'a>>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (of, value) in values {
            family.encode_family(&[(label, of)])?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

fn write_process(out: &mut Out<'_>, board: &Board) -> fmt::Result {
    let facts = ProcessFacts::now();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    let mut family = out.family("tapswitch_build", "this program", MetricType::Info)?;
    family.encode_info(&version)?;
    out.gauge("process_resident_memory_bytes", "memory taken up", facts.resident_bytes)?;
    out.gauge("process_open_fds", "files and sockets open", facts.open_files)?;
    out.gauge("process_max_fds", "files and sockets that may be open", facts.open_files_max)?;
    let started_s = board.started().wall_ms / 1_000;
    out.gauge("process_start_time_seconds", "since 1970 UTC", started_s)?;
    let is_ready = u64::from(board.not_ready().is_none());
    out.gauge("tapswitch_ready", "1: requests may be sent here, as /readyz says", is_ready)?;
    let times = board.notables.times();
    let times = times.iter().map(|(name, times)| (name.as_str(), *times));
    out.counters(("tapswitch_notable", "alarms and other things worth knowing"), "name", times)
}

/// The parts of `what{why}`.
fn what_and_why(name: &str) -> (&str, Option<&str>) {
    match name.split_once('{') {
        Some((what, why)) => (what, Some(why.trim_end_matches('}'))),
        None => (name, None),
    }
}

/// A family for each `what`, in the order in which they are declared.
fn write_counters(out: &mut Out<'_>, all: &Copied) -> fmt::Result {
    let mut written: Vec<&str> = Vec::new();
    for counter in Counter::ALL {
        let (what, why) = what_and_why(counter.name());
        if written.contains(&what) {
            continue;
        }
        written.push(what);
        let name = format!("tapswitch_{what}");
        let same = Counter::ALL.iter().filter(|it| what_and_why(it.name()).0 == what);
        if why.is_none() {
            out.counter(&name, counter.meaning(), all.counters.value(*counter))?;
            continue;
        }
        let part = |it: &&Counter| {
            let why = what_and_why(it.name()).1.unwrap_or_default();
            format!("{why}: {}", it.meaning())
        };
        let help = same.clone().map(|it| part(&it)).collect::<Vec<_>>().join("; ");
        let values = same.map(|&it| {
            let why = what_and_why(it.name()).1.unwrap_or_default();
            (why, all.counters.value(it))
        });
        out.counters((&name, &help), "why", values)?;
    }
    let mut codes = std::collections::BTreeMap::<String, u64>::new();
    for (code, count) in all.shards.iter().flat_map(|shard| shard.levels.codes.iter()) {
        *codes.entry(code).or_default() += count;
    }
    let codes = codes.iter().map(|(code, count)| (code.as_str(), *count));
    out.counters(("tapswitch_answers_by_code", "answers by DE 39"), "code", codes)
}

fn shard_names(count: usize) -> Vec<String> {
    (0..count).map(|shard| shard.to_string()).collect()
}

fn write_levels(out: &mut Out<'_>, all: &Copied) -> fmt::Result {
    let names = shard_names(all.shards.len());
    for &level in Level::ALL {
        let name = format!("tapswitch_{}", level.name());
        let values = all.shards.iter().map(|shard| shard.levels.value(level));
        let values = names.iter().map(String::as_str).zip(values);
        match level {
            Level::AnswersEvicted | Level::OriginalsEvicted => {
                out.counters((&name, level.meaning()), "shard", values)?;
            }
            _ => out.gauges((&name, level.meaning()), "shard", values)?,
        }
    }
    let since = all.shards.iter().filter_map(|shard| shard.owed_since_ms).min().unwrap_or(0);
    let help = "since when the oldest message is owed to an issuer, since 1970 UTC; 0: none is";
    out.gauge("tapswitch_saf_oldest_seconds", help, since / 1_000)
}

fn write_io(out: &mut Out<'_>, view: &SwitchView<Shard>) -> fmt::Result {
    let names = shard_names(view.shards().len());
    let of = |read: fn(&IoCounters) -> u64| {
        let values: Vec<u64> = view.shards().map(|(io, _)| read(io)).collect();
        names.iter().map(String::as_str).zip(values)
    };
    let size = |level: &std::sync::atomic::AtomicUsize| level.load(Ordering::Relaxed) as u64;
    let help = "connections of acquirers";
    let connections = view.shards().map(|(io, _)| size(&io.connections)).collect::<Vec<_>>();
    let connections = names.iter().map(String::as_str).zip(connections);
    out.gauges(("tapswitch_connections", help), "shard", connections)?;
    let bytes = view.shards().map(|(io, _)| size(&io.buffer_bytes)).collect::<Vec<_>>();
    let bytes = names.iter().map(String::as_str).zip(bytes);
    out.gauges(("tapswitch_buffer_bytes", "buffers of connections"), "shard", bytes)?;
    let placed = of(|io| io.connections_placed.load(Ordering::Relaxed));
    out.counters(("tapswitch_connections_placed", "connections taken"), "shard", placed)?;
    let gone = of(|io| io.undeliverable.load(Ordering::Relaxed));
    let help = "answers whose connection was gone when they were written";
    out.counters(("tapswitch_connection_gone", help), "shard", gone)?;
    let cycles = of(|io| io.cycles.load(Ordering::Relaxed));
    out.counters(("tapswitch_cycles", "duty cycles with something to do"), "shard", cycles)?;
    let wakes = of(|io| io.wakes.load(Ordering::Relaxed));
    out.counters(("tapswitch_wakes", "other threads woken"), "shard", wakes)?;
    let stalls = of(|io| io.stalls.stalls.load(Ordering::Relaxed));
    let help = "times that it did not come back for a second";
    out.counters(("tapswitch_shard_stalls", help), "shard", stalls)?;
    let accept = view.accept_counters();
    let accepted = accept.accepted.load(Ordering::Relaxed);
    out.counter("tapswitch_accepted", "connections accepted", accepted)?;
    let refused = [
        ("full", accept.refused_full.load(Ordering::Relaxed)),
        ("exhausted", accept.exhausted.load(Ordering::Relaxed)),
        ("denied", accept.denied.load(Ordering::Relaxed)),
        ("too_often", accept.too_often.load(Ordering::Relaxed)),
    ];
    let help = "full: connections closed because every shard was full; exhausted: times that no \
                file descriptor or memory was left; denied: of no peer; too_often: beyond \
                connects_per_second";
    out.counters(("tapswitch_accept_refused", help), "why", refused)
}

fn write_journal(out: &mut Out<'_>, view: &SwitchView<Shard>, wall_ms: u64) -> fmt::Result {
    let names = shard_names(view.shards().len());
    let read = |level: &AtomicU64| level.load(Ordering::Relaxed);
    let of = |read: &dyn Fn(&IoCounters) -> u64| {
        let values: Vec<u64> = view.shards().map(|(io, _)| read(io)).collect();
        names.iter().map(String::as_str).zip(values)
    };
    // Read first: nobody sees more durable than made.
    let durable = of(&|io| read(&io.journal.durable_lsn));
    let last = of(&|io| read(&io.journal.last_lsn));
    out.gauges(("tapswitch_journal_last_lsn", "the last record made"), "shard", last)?;
    let help = "the last record on the disk";
    out.gauges(("tapswitch_journal_durable_lsn", help), "shard", durable)?;
    let commits = of(&|io| read(&io.journal.commits));
    out.counters(("tapswitch_journal_commits", "groups made durable"), "shard", commits)?;
    let bytes = of(&|io| read(&io.journal.bytes));
    out.counters(("tapswitch_journal_bytes", "bytes of them"), "shard", bytes)?;
    let stalls = of(&|io| read(&io.journal.stalls));
    out.counters(("tapswitch_journal_stalls", "commits above 10 ms"), "shard", stalls)?;
    let snapshots = of(&|io| read(&io.journal.snapshots));
    out.counters(("tapswitch_snapshots", "snapshots written"), "shard", snapshots)?;
    let given_up = of(&|io| read(&io.snapshots_given_up));
    let help = "snapshots begun and given up";
    out.counters(("tapswitch_snapshots_given_up", help), "shard", given_up)?;
    let ages: Vec<Labelled<'_>> = of(&|io| read(&io.journal.snapshot_wall_ms))
        .filter(|(_, at)| *at > 0)
        .map(|(shard, at)| (shard, wall_ms.saturating_sub(at) / 1_000))
        .collect();
    let help = "age of the newest snapshot of this process";
    out.gauges(("tapswitch_snapshot_age_seconds", help), "shard", ages)?;
    let space = match view.journal_space() {
        Some(Space::Ok) | None => 0,
        Some(Space::Low) => 1,
        Some(Space::Refuse) => 2,
    };
    let help = "0: the disk has room; 1: less than alarm_free_percent; 2: new requests are refused";
    out.gauge("tapswitch_journal_space", help, space)
}

fn write_issuers(out: &mut Out<'_>, board: &Board, all: &Copied) -> fmt::Result {
    let config = board.config();
    let issuers: Vec<(IssuerId, &str)> =
        (0..).map(IssuerId).zip(config.issuers.iter().map(|it| it.name.as_str())).collect();
    let sum = |id: IssuerId, read: fn(&crate::shard::levels::IssuerLevels) -> u64| {
        all.shards.iter().map(|shard| read(&shard.levels.issuer(id))).sum::<u64>()
    };
    let of = |read: fn(&crate::shard::levels::IssuerLevels) -> u64| {
        issuers.iter().map(move |&(id, name)| (name, sum(id, read)))
    };
    let in_flight = of(|it| it.in_flight);
    out.gauges(("tapswitch_issuer_in_flight", "requests under way at it"), "issuer", in_flight)?;
    let max = of(|it| it.in_flight_max);
    out.gauges(("tapswitch_issuer_in_flight_max", "how many may be"), "issuer", max)?;
    let owed = of(|it| it.owed);
    out.gauges(("tapswitch_issuer_owed", "reversals and advices owed to it"), "issuer", owed)?;
    let up = of(|it| u64::from(it.is_up));
    out.gauges(("tapswitch_issuer_links_up", "shards that reach it"), "issuer", up)?;
    let help = "from the end of the switch's part to the issuer's answer, of answers in time";
    let mut family = out.family("tapswitch_issuer_time_seconds", help, MetricType::Histogram)?;
    for (id, name) in issuers {
        let label = [("issuer", name)];
        let mut of_issuer = family.encode_family(&label)?;
        encode_times(&mut of_issuer, &all.issuer_times(id))?;
    }
    Ok(())
}

/// Times of each acquirer that the configuration names, which are never more than a few dozen.
fn write_acquirers(out: &mut Out<'_>, board: &Board, all: &Copied) -> fmt::Result {
    let config = board.config();
    let names = config.acquirers.iter().map(|it| it.name.as_str());
    let times = (0..).map(AcquirerId).map(|id| all.acquirer_times(id));
    let acquirers: Vec<(&str, AcquirerLevels)> = names.zip(times).collect();
    let mut write = |name: &str, help: &str, read: fn(&AcquirerLevels) -> &TimeBuckets| {
        let mut family = out.family(name, help, MetricType::Histogram)?;
        acquirers.iter().try_for_each(|(acquirer, times)| {
            encode_times(&mut family.encode_family(&[("acquirer", *acquirer)])?, read(times))
        })
    };
    let help = "the switch's own part of an acquirer's transactions";
    write("tapswitch_acquirer_switch_time_seconds", help, |times| &times.switch)?;
    let help = "its issuers' part of an acquirer's transactions, of answers in time";
    write("tapswitch_acquirer_issuer_time_seconds", help, |times| &times.issuer)
}

/// Totals of the current date, of everybody whom the configuration names.
fn write_totals(out: &mut Out<'_>, board: &Board, all: &Copied) -> fmt::Result {
    let status = TotalsStatus::of(&board.config(), all.totals(), board.now().wall_ms);
    let help = "the current settlement date as a number, year, month and day";
    out.gauge("tapswitch_settlement_date", help, status.date_number)?;
    let current = || status.rows.iter().filter(|row| row.is_current);
    for (kind, whose) in [(PartyKind::Acquirer, "acquirer"), (PartyKind::Issuer, "issuer")] {
        let name = format!("tapswitch_{whose}_day_count");
        let help = "transactions of the current settlement date, as 0500 and 0520 count them";
        let mut family = out.family(&name, help, MetricType::Gauge)?;
        for row in current().filter(|row| row.of == kind) {
            for (sort, count, _) in row.sorts() {
                let labels = [(whose, row.name.as_str()), ("sort", sort)];
                family.encode_family(&labels)?.encode_gauge(&count)?;
            }
        }
        let name = format!("tapswitch_{whose}_day_amount_minor");
        let help = "their amounts, in the smallest unit of CNY";
        let mut family = out.family(&name, help, MetricType::Gauge)?;
        for row in current().filter(|row| row.of == kind) {
            for (sort, _, amount) in row.sorts() {
                let Some(amount) = amount else { continue };
                let labels = [(whose, row.name.as_str()), ("sort", sort)];
                family.encode_family(&labels)?.encode_gauge(&amount)?;
            }
        }
    }
    Ok(())
}

/// The same buckets as issuers' times, and exact quantiles beside them.
fn write_switch_time(out: &mut Out<'_>, all: &Copied) -> fmt::Result {
    let mut times = TimeBuckets::default();
    for step in all.switch_time_ns.iter_recorded() {
        times.record_many(step.value_iterated_to(), step.count_at_value());
    }
    let help = "the switch's own part of transactions, issuers' time excluded";
    let mut family = out.family("tapswitch_switch_time_seconds", help, MetricType::Histogram)?;
    encode_times(&mut family, &times)?;
    let help = "the switch's own part: quantiles since the start, within 1 %";
    let mut family =
        out.family("tapswitch_switch_time_quantile_seconds", help, MetricType::Gauge)?;
    for (name, quantile) in [("0.5", 0.5), ("0.99", 0.99), ("0.999", 0.999)] {
        let seconds = all.switch_time_ns.value_at_quantile(quantile) as f64 / 1e9;
        family.encode_family(&[("quantile", name)])?.encode_gauge(&seconds)?;
    }
    Ok(())
}

fn encode_times(encoder: &mut MetricEncoder<'_>, times: &TimeBuckets) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = times
        .iter()
        .map(|(bound_us, count)| (bound_us.map_or(f64::INFINITY, |us| us as f64 / 1e6), count))
        .collect();
    let sum_s = times.sum_ns() as f64 / 1e9;
    encoder.encode_histogram::<NoLabelSet>(sum_s, times.count(), &buckets, None)
}

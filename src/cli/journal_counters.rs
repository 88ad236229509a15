//! What the journal and its snapshots cost, as rows of the counters at a switch's end.
//!
//! Not here: counting (`io::journal`).

use super::quantity::grouped;
use crate::io::journal::JournalReport;
use hdrhistogram::Histogram;
use std::io::{Result, Write};

/// One row each.
pub(super) fn write(out: &mut dyn Write, report: &JournalReport) -> Result<()> {
    let JournalReport { commits, snapshots, durable_lsn: _ } = report;
    let mut row = |name: &str, value: String, meaning: &str| {
        writeln!(out, "{name:<28} {value:>15}  {meaning}")
    };
    row("journal{commits}", grouped(commits.commits), "groups of records made durable")?;
    row("journal{records}", grouped(commits.records), "records made durable")?;
    let per_commit = commits.records as f64 / commits.commits.max(1) as f64;
    row("journal{group}", format!("{per_commit:.1}"), "records a commit, on average")?;
    row("journal{bytes}", grouped(commits.bytes), "bytes of them")?;
    let meaning = "microseconds of a commit: p50, p99, p99.9, longest";
    row("journal{commit_us}", times(&commits.commit_us), meaning)?;
    row("journal{stalls}", grouped(commits.stalls), "commits of more than 10 ms")?;
    row("snapshot{written}", grouped(snapshots.written), "snapshots that a restart can use")?;
    row("snapshot{given_up}", grouped(snapshots.given_up), "snapshots begun and given up")?;
    let meaning = "microseconds of a step, which nothing else is done in: p50, p99, p99.9, longest";
    row("snapshot{step_us}", times(&snapshots.step_us), meaning)
}

fn times(us: &Histogram<u64>) -> String {
    let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| us.value_at_quantile(quantile));
    format!("{p50} {p99} {p999} {}", us.max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::journal::{JournalCounters, SnapshotCounters};

    fn report(commit_us: &[u64], records: u64) -> JournalReport {
        let mut counters = JournalCounters {
            commits: commit_us.len() as u64,
            records,
            bytes: 100 * records,
            stalls: 0,
            commit_us: SnapshotCounters::new().unwrap().step_us,
        };
        commit_us.iter().for_each(|&us| counters.commit_us.record(us).unwrap());
        counters.stalls = commit_us.iter().filter(|&&us| us > 10_000).count() as u64;
        let mut snapshots = SnapshotCounters::new().unwrap();
        (snapshots.written, snapshots.given_up) = (1, 2);
        snapshots.step_us.record(7).unwrap();
        JournalReport { commits: counters, snapshots, durable_lsn: records }
    }

    #[test]
    fn shards_are_shown_as_one() {
        let mut all = report(&[60, 70], 1_000);
        all.merge(&report(&[80, 20_000], 300));
        let mut out = Vec::new();
        write(&mut out, &all).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let value = |name: &str| {
            let row = shown.lines().find(|row| row.starts_with(name)).unwrap();
            row[28..44].trim().to_owned()
        };
        assert_eq!(value("journal{commits}"), "4");
        assert_eq!(value("journal{records}"), "1,300");
        assert_eq!(value("journal{group}"), "325.0");
        assert_eq!(value("journal{stalls}"), "1");
        assert_eq!(value("snapshot{written}"), "2");
        assert_eq!(value("snapshot{given_up}"), "4");
        assert!(value("snapshot{step_us}").ends_with("7 7 7 7"));
        // The histogram keeps three digits.
        assert!(shown.contains("70 20015 20015 20015"), "{shown}");
    }
}

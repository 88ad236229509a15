//! The live screen of `demo`, on standard error: redrawn in place on a terminal, a line at a time
//! anywhere else.

use super::quantity::grouped;
use super::switch::SwitchNow;
use crate::shard::Counter;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use tapswitch_loadgen::Snapshot;

/// Issuers of a row.
const ISSUERS_PER_ROW: usize = 4;
/// Rows of issuers: 20 banks.
const ISSUER_ROWS: usize = 5;

/// Where a run is watched.
pub(super) struct LiveScreen {
    seconds: f64,
    lines: Option<Vec<ProgressBar>>,
    drawn: u64,
}

impl LiveScreen {
    pub(super) fn new(seconds: f64) -> Self {
        let lines = stderr().is_terminal().then(|| {
            let screen = MultiProgress::new();
            let style = ProgressStyle::with_template("{msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let line = || screen.add(ProgressBar::new(0).with_style(style.clone()));
            (0..4 + ISSUER_ROWS).map(|_| line()).collect()
        });
        Self { seconds, lines, drawn: 0 }
    }

    /// Shows how far the run is.
    pub(super) fn draw(&mut self, now: &Snapshot, switch: &SwitchNow) {
        let first = format!(
            "{:>5.1} of {} s  {:>9} a second  p50 {:>8.0} us  p99 {:>8.0} us  p99.9 {:>8.0} us",
            now.elapsed_s,
            self.seconds,
            grouped(now.answered_per_s.round() as u64),
            now.p50_us,
            now.p99_us,
            now.p999_us,
        );
        match &self.lines {
            Some(lines) => {
                let fixed = [first, totals(now), codes(now), inside(switch)];
                let texts = fixed.into_iter().chain(issuers(now));
                for (line, text) in lines.iter().zip(texts) {
                    line.set_message(text);
                }
            }
            None => {
                // Every second, so that a log stays readable.
                if self.drawn.is_multiple_of(2) {
                    // When standard error is gone, the report still comes.
                    let _ = writeln!(
                        stderr(),
                        "{first}  unanswered {} wrong {}",
                        now.unanswered,
                        now.wrong
                    );
                }
                self.drawn += 1;
            }
        }
    }
}

impl Drop for LiveScreen {
    fn drop(&mut self) {
        for line in self.lines.iter().flatten() {
            line.finish();
        }
    }
}

fn totals(now: &Snapshot) -> String {
    format!(
        "sent {}  answered {}  approved {}  declined {}  in flight {}  unanswered {}  wrong {}",
        grouped(now.sent),
        grouped(now.answered),
        grouped(now.approved),
        grouped(now.declined),
        grouped(now.in_flight),
        grouped(now.unanswered),
        grouped(now.wrong),
    )
}

fn codes(now: &Snapshot) -> String {
    let codes = now.by_code.iter().map(|(code, count)| format!("{code}: {}", grouped(*count)));
    format!("by code   {}", codes.collect::<Vec<_>>().join("  "))
}

/// What the switch itself counts.
fn inside(switch: &SwitchNow) -> String {
    let limits = [Counter::RefusedAmountLimit, Counter::RefusedCountLimit];
    let limits: u64 = limits.into_iter().map(|counter| switch.counters.value(counter)).sum();
    let count = |counter| grouped(switch.counters.value(counter));
    let us = |quantile| switch.switch_time_ns.value_at_quantile(quantile) as f64 / 1_000.0;
    format!(
        "switch    p50 {:.0} us  p99 {:.0} us  answered by banks {}  by itself {}  over limits {}  \
         timed out {}  owed to banks {}",
        us(0.5),
        us(0.99),
        count(Counter::AnsweredByIssuer),
        count(Counter::AnsweredBySwitch),
        grouped(limits),
        count(Counter::TimedOut),
        count(Counter::OwedPushed),
    )
}

/// Answers by bank, in rows.
fn issuers(now: &Snapshot) -> impl Iterator<Item = String> + '_ {
    now.per_issuer.chunks(ISSUERS_PER_ROW).take(ISSUER_ROWS).map(|row| {
        let cells = row
            .iter()
            .map(|totals| format!("{:<8} {:>10}", totals.issuer, grouped(totals.answered_count())));
        format!("          {}", cells.collect::<Vec<_>>().join("   "))
    })
}

//! SIGHUP, or an operator's order: the configuration file is read again, and a running switch takes
//! over what it can.
//!
//! Not here: what it can take over (`config::reload`), and how shards do it (`io`).

use super::Streams;
use super::operators::audit;
use super::switch::load;
use crate::admin::audit::{AuditEvent, AuditResult};
use crate::admin::{Board, Order, ReloadOutcome, ReloadReport, Reply};
use crate::config::{Config, ConfigError, Difference, RequestorConfig};
use crate::io::Switch;
use crate::shard::{Configured, Shard};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Differences that are shown; of a new table of IINs there may be thousands.
const DIFFERENCES_SHOWN: usize = 50;

/// Who wants a reload.
pub(super) enum By {
    /// Whoever sent SIGHUP.
    Signal,
    /// An operator, who waits.
    Order(Order),
}

/// The configuration in force, and the one that is on its way to the shards.
pub(super) struct Reload {
    config: Arc<Config>,
    file: Option<PathBuf>,
    board: Arc<Board>,
    /// Number of the one that every shard has.
    epoch: u64,
    /// Number of the one that was offered last.
    offered: u64,
    /// Those who wait until every shard has one, and its number.
    waiting: Vec<(u64, By, ReloadReport)>,
}

impl Reload {
    /// Of a switch that was started with this.
    pub(super) fn new(
        config: Arc<Config>,
        file: Option<PathBuf>,
        switch: &Switch<Shard>,
        board: Arc<Board>,
    ) -> Self {
        let epoch = switch.epoch();
        Self { config, file, board, epoch, offered: epoch, waiting: Vec::new() }
    }

    /// Token requestors as every shard knows them, or soon will.
    pub(super) fn requestors(&self) -> &[RequestorConfig] {
        &self.config.requestors
    }

    /// Whether shards have not all taken what was offered.
    pub(super) fn is_under_way(&self) -> bool {
        self.epoch < self.offered
    }

    /// Reads the file again and offers what it says. What is wrong with it is told, and the
    /// configuration before stays.
    pub(super) fn read(
        &mut self,
        by: By,
        switch: &Switch<Shard>,
        streams: &mut Streams<'_>,
    ) -> io::Result<()> {
        // Whoever asks for a new configuration has looked at the machine's clock too.
        switch.accept_clock();
        let stays = self.offered.max(self.epoch);
        let refused = |outcome, said: String| ReloadReport {
            outcome,
            epoch: stays,
            said: format!("epoch {stays} stays: {said}"),
            differences: Vec::new(),
            problems: Vec::new(),
            needs_restart: Vec::new(),
        };
        let Some(file) = &self.file else {
            let said = "there is no file to read again".to_owned();
            return self.end(by, refused(ReloadOutcome::NoFile, said), streams);
        };
        let config = match load(Some(file)) {
            Ok(config) => {
                let mut config = config.in_the_order_of(&self.config);
                config.journal.is_safe = self.config.journal.is_safe;
                config
            }
            Err(error) => {
                writeln!(streams.problems, "{error}")?;
                let said = format!("{} in {}", counted(&error), file.display());
                let problems = error.problems.iter().map(ToString::to_string).collect();
                let report = refused(ReloadOutcome::Mistakes, said);
                return self.end(by, ReloadReport { problems, ..report }, streams);
            }
        };
        let differences = self.config.differences(&config);
        if let Err(needed) = self.config.allows(&config) {
            let report = refused(ReloadOutcome::NeedsRestart, needed.to_string());
            let needs_restart = needed.keys;
            return self.end(by, ReloadReport { differences, needs_restart, ..report }, streams);
        }
        self.offered = switch.configure(Configured::of(&config));
        self.config = Arc::new(config);
        let report = refused(ReloadOutcome::Stopped, "the switch stops".to_owned());
        self.waiting.push((self.offered, by, ReloadReport { differences, ..report }));
        Ok(())
    }

    /// Tells it once every shard has taken what was offered.
    pub(super) fn look(
        &mut self,
        switch: &Switch<Shard>,
        streams: &mut Streams<'_>,
    ) -> io::Result<()> {
        let epoch = switch.epoch();
        self.epoch = self.epoch.max(epoch);
        self.offered = self.offered.max(self.epoch);
        let (taken, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(offered, ..)| *offered <= self.epoch);
        self.waiting = waiting;
        let taken: Vec<_> = taken;
        if !taken.is_empty() {
            self.board.set_config(Arc::clone(&self.config));
        }
        for (_, by, report) in taken {
            let limits = self.config.velocity.limits.len();
            let said = format!("epoch {epoch}: every shard judges by {limits} limits");
            let outcome = ReloadOutcome::Taken;
            self.end(by, ReloadReport { outcome, epoch, said, ..report }, streams)?;
        }
        Ok(())
    }

    /// The switch stops: nobody is left waiting.
    pub(super) fn stop(&mut self, streams: &mut Streams<'_>) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        waiting.into_iter().try_for_each(|(_, by, report)| self.end(by, report, streams))
    }

    /// Tells what came of it: on the screen, to whoever waits, and in the audit file.
    fn end(&self, by: By, report: ReloadReport, streams: &mut Streams<'_>) -> io::Result<()> {
        let (who, from) = match &by {
            By::Signal => ("whoever sent SIGHUP".to_owned(), "signal".to_owned()),
            By::Order(order) => (order.who.clone(), order.from.clone()),
        };
        let result = match report.outcome {
            ReloadOutcome::Taken => AuditResult::Done,
            _ => AuditResult::Failed,
        };
        let detail = detail(&report);
        let event = AuditEvent { who: &who, from: &from, what: "reload", detail, result };
        audit(&self.board, &event);
        if result == AuditResult::Failed {
            let wall_ms = self.board.now().wall_ms;
            self.board.notables.add(wall_ms, "reload{refused}", 1, report.said.clone());
        }
        let told = show(&report, streams);
        if let By::Order(order) = by {
            // He may be gone.
            let _ = order.reply.send(Reply::Reload(report));
        }
        told
    }
}

fn counted(error: &ConfigError) -> String {
    match error.problems.len() + error.unlisted {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    }
}

/// What is written down of a reload.
fn detail(report: &ReloadReport) -> String {
    let differences = report.differences.iter().map(Difference::to_string);
    let parts = std::iter::once(report.said.clone());
    parts.chain(differences).chain(report.problems.iter().cloned()).collect::<Vec<_>>().join("; ")
}

fn show(report: &ReloadReport, streams: &mut Streams<'_>) -> io::Result<()> {
    let out = &mut *streams.output;
    if report.outcome == ReloadOutcome::Taken {
        for difference in report.differences.iter().take(DIFFERENCES_SHOWN) {
            writeln!(out, "changed     {difference}")?;
        }
        if let Some(more) = report.differences.len().checked_sub(DIFFERENCES_SHOWN + 1) {
            writeln!(out, "changed     and {} more", more + 1)?;
        }
    }
    writeln!(out, "reload      {}", report.said)?;
    out.flush()
}

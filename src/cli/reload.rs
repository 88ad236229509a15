//! SIGHUP: the configuration file is read again, and a running switch takes over what it can.
//!
//! Not here: what it can take over (`config::reload`), and how shards do it (`io`).

use super::Streams;
use super::switch::load;
use crate::config::Config;
use crate::io::Switch;
use crate::shard::Shard;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The configuration in force, and the one that is on its way to the shards.
pub(super) struct Reload {
    config: Arc<Config>,
    /// Number of the one that every shard has.
    epoch: u64,
    /// Number of the one that was offered last.
    offered: u64,
}

impl Reload {
    /// Of a switch that was started with this.
    pub(super) fn new(config: Arc<Config>, switch: &Switch<Shard>) -> Self {
        let epoch = switch.epoch();
        Self { config, epoch, offered: epoch }
    }

    /// Whether shards have not all taken what was offered.
    pub(super) fn is_under_way(&self) -> bool {
        self.epoch < self.offered
    }

    /// Reads the file again and offers what it says. What is wrong with it is told, and the
    /// configuration before stays.
    pub(super) fn read(
        &mut self,
        file: Option<&Path>,
        switch: &Switch<Shard>,
        streams: &mut Streams<'_>,
    ) -> io::Result<()> {
        // Whoever asks for a new configuration has looked at the machine's clock too.
        switch.accept_clock();
        let stays = format!("epoch {} stays", self.offered.max(self.epoch));
        let Some(file) = file else {
            return say(streams, format_args!("{stays}: there is no file to read again"));
        };
        let config = match load(Some(file)) {
            Ok(mut config) => {
                config.journal.is_safe = self.config.journal.is_safe;
                config
            }
            Err(error) => {
                writeln!(streams.problems, "{error}")?;
                let count = error.problems.len() + error.unlisted;
                let problems = if count == 1 { "problem" } else { "problems" };
                let name = file.display();
                return say(streams, format_args!("{stays}: {count} {problems} in {name}"));
            }
        };
        if let Err(needed) = self.config.allows(&config) {
            return say(streams, format_args!("{stays}: {needed}"));
        }
        self.offered = switch.configure(config.velocity.clone());
        self.config = Arc::new(config);
        Ok(())
    }

    /// Tells it once every shard has taken what was offered.
    pub(super) fn look(
        &mut self,
        switch: &Switch<Shard>,
        streams: &mut Streams<'_>,
    ) -> io::Result<()> {
        let epoch = switch.epoch();
        if self.is_under_way() && epoch >= self.offered {
            let limits = self.config.velocity.limits.len();
            say(streams, format_args!("epoch {epoch}: every shard judges by {limits} limits"))?;
        }
        self.epoch = self.epoch.max(epoch);
        self.offered = self.offered.max(self.epoch);
        Ok(())
    }
}

fn say(streams: &mut Streams<'_>, what: std::fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(streams.output, "reload      {what}")?;
    streams.output.flush()
}

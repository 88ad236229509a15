//! How state is laid out that outlives a process: over how many shards, in lines of which counters.
//! A restart with another layout takes over what both know.
//!
//! Not here: taking it over (`snapshot`), files.

use super::lines_of;
use super::velocity::{self, Layout, LayoutCounter};
use crate::config::{Config, VelocityConfig};
use crate::memory::TableMemory;
use serde::{Deserialize, Serialize};

/// Shards, and each one's velocity table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateLayout {
    /// How many shards.
    pub shards: usize,
    /// What each one's velocity table looks like.
    pub velocity: Layout,
    /// Names of issuers, by their places: records name them by place. None: an older version kept it.
    #[serde(default)]
    pub issuers: Vec<String>,
    /// The same of acquirers.
    #[serde(default)]
    pub acquirers: Vec<String>,
}

impl StateLayout {
    /// What a configuration asks for.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let shards = config.switch.shards.max(1);
        let lines = lines_of(config.velocity.lines, shards);
        Self {
            shards,
            velocity: Layout::new(lines, &config.velocity),
            issuers: config.issuers.iter().map(|issuer| issuer.name.clone()).collect(),
            acquirers: config.acquirers.iter().map(|acquirer| acquirer.name.clone()).collect(),
        }
    }

    /// Who is not at the place that he has in this state: `to` cannot go on with it. Whoever is new has
    /// a place behind all others.
    #[must_use]
    pub fn displaced_in(&self, to: &Self) -> Option<String> {
        let kinds =
            [("issuer", &self.issuers, &to.issuers), ("acquirer", &self.acquirers, &to.acquirers)];
        kinds.into_iter().find_map(|(kind, kept, to)| {
            let mut places = kept.iter().zip(to.iter().map(Some).chain(core::iter::repeat(None)));
            let (name, _) = places.find(|(kept, to)| *to != Some(kept))?;
            Some(format!("{kind} {name}"))
        })
    }

    /// Makes the memory of all cards before the shards that take it.
    pub fn make_tables_ready(&self, config: &VelocityConfig) {
        let line_words = config.line_bytes() / size_of::<u64>();
        velocity::make_ready(self.shards, (self.velocity.lines, line_words), config.table);
    }

    /// As a data directory keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What a data directory kept.
    ///
    /// # Errors
    /// It cannot be read, in a sentence.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let layout: Self = serde_json::from_slice(bytes)
            .map_err(|error| format!("its layout cannot be read: {error}"))?;
        if layout.shards == 0 || layout.shards > crate::limits::SHARDS_MAX {
            return Err(format!("its layout has {} shards", layout.shards));
        }
        Ok(layout)
    }

    /// The configuration of shards of this layout, which go on with what they have and judge nothing.
    #[must_use]
    pub fn config(&self, of: &Config) -> Config {
        let mut config = of.clone();
        config.switch.shards = self.shards;
        config.velocity = VelocityConfig {
            lines: self.velocity.lines * self.shards,
            counters: self.velocity.counters.iter().map(LayoutCounter::laid_out).collect(),
            scope_counters: self
                .velocity
                .scope_counters
                .iter()
                .map(LayoutCounter::laid_out)
                .collect(),
            entities: self.velocity.entities,
            entity_transactions: of.velocity.entity_transactions,
            limits: Vec::new(),
            stand_in: Vec::new(),
            table: TableMemory::Private,
        };
        config
    }

    /// What becomes of this layout's state under another one, in short sentences.
    #[must_use]
    pub fn changes_to(&self, to: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.shards != to.shards {
            changes.push(format!("shards: {} before, {} now", self.shards, to.shards));
        }
        if self.velocity.lines != to.velocity.lines {
            let (before, now) = (self.velocity.lines, to.velocity.lines);
            changes.push(format!("lines of each shard's table: {before} before, {now} now"));
        }
        if self.velocity.entities != to.velocity.entities {
            let (before, now) = (self.velocity.entities, to.velocity.entities);
            changes.push(format!("entities of each counter: {before} before, {now} now"));
        }
        let named = |layout: &Self, name: &str| {
            layout.velocity.all().find(|counter| counter.name == name).cloned()
        };
        for counter in to.velocity.all() {
            let name = &counter.name;
            match named(self, name) {
                None => changes.push(format!("counter {name} is new and begins empty")),
                Some(before) if before != *counter => {
                    changes.push(format!("counter {name} counts otherwise and begins empty"));
                }
                Some(_) => changes.push(format!("counter {name} is carried over")),
            }
        }
        let kinds =
            [("issuer", &self.issuers, &to.issuers), ("acquirer", &self.acquirers, &to.acquirers)];
        for (kind, before, now) in kinds {
            let new = now.iter().filter(|name| !before.is_empty() && !before.contains(name));
            changes.extend(new.map(|name| format!("{kind} {name} is new")));
            let gone = before.iter().filter(|name| !now.contains(name));
            changes.extend(gone.map(|name| format!("{kind} {name} is gone")));
        }
        for LayoutCounter { name, .. } in self.velocity.all() {
            if named(to, name).is_none() {
                changes.push(format!("counter {name} is gone and left behind"));
            }
        }
        changes
    }
}

//! What the thread that runs the switch tells the operators' port: how far it is, what to look at, and
//! the configuration in force. Shards never see it.

use super::audit::Audit;
use super::notable::Notables;
use crate::config::Config;
use crate::io::journal::Space;
use crate::io::{Clock, SwitchView};
use crate::shard::{Now, Shard};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// How far the switch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Phase {
    /// It reads what the process before left, and makes its tables.
    Starting,
    /// It takes requests.
    Serving,
    /// It takes no more, and finishes what it took.
    Draining,
    /// Nothing is left of it but its report.
    Stopped,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Starting, Self::Serving, Self::Draining, Self::Stopped];

    /// As it is called in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// What operators may know.
pub struct Board {
    phase: AtomicU8,
    view: OnceLock<SwitchView<Shard>>,
    config: Mutex<Arc<Config>>,
    clock: Clock,
    started: Now,
    /// The last things worth knowing.
    pub notables: Notables,
    /// The audit file, if there is one.
    pub audit: Option<Audit>,
}

impl Board {
    /// Of a switch that is about to start by this.
    #[must_use]
    pub fn new(config: Arc<Config>, audit: Option<Audit>) -> Self {
        let clock = Clock::new();
        let started = clock.read();
        Self {
            phase: AtomicU8::new(Phase::Starting as u8),
            view: OnceLock::new(),
            config: Mutex::new(config),
            clock,
            started,
            notables: Notables::default(),
            audit,
        }
    }

    /// What the machine's clocks say.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.read()
    }

    /// When this process began to start the switch.
    #[must_use]
    pub fn started(&self) -> Now {
        self.started
    }

    /// It is started: this is what can be seen of it.
    pub fn set_serving(&self, view: SwitchView<Shard>) {
        // Only the thread that started it calls this, once.
        let _ = self.view.set(view);
        self.set_phase(Phase::Serving);
    }

    /// It has come so far.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let phase = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(phase).copied().unwrap_or(Phase::Stopped)
    }

    /// What can be seen of it; nothing before it is started.
    #[must_use]
    pub fn view(&self) -> Option<&SwitchView<Shard>> {
        self.view.get()
    }

    fn locked_config(&self) -> MutexGuard<'_, Arc<Config>> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.locked_config())
    }

    /// Another configuration is in force.
    pub fn set_config(&self, config: Arc<Config>) {
        *self.locked_config() = config;
    }

    /// Why requests should not be sent here now; `None`: they may.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        match self.phase() {
            Phase::Starting => {
                return Some(
                    "starting: what the process before left is being read, tables are made",
                );
            }
            Phase::Draining => return Some("draining: new requests are refused"),
            Phase::Stopped => return Some("stopped"),
            Phase::Serving => {}
        }
        let Some(view) = self.view() else { return Some("starting: no shard is there yet") };
        if view.epoch() == 0 {
            return Some("recovering: what was under way is being finished");
        }
        if view.journal_space() == Some(Space::Refuse) {
            return Some("the journal's disk is nearly full: new transactions are refused");
        }
        None
    }
}

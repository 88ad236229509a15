//! The operators' port as `run` has it: started before the switch, told how far that is, and the audit
//! file with what happened to it.
//!
//! Not here: the port itself (`admin`).

use super::CommandError;
use super::hand_over::running::Visit;
use crate::admin::audit::{Audit, AuditError, AuditEvent, AuditResult};
use crate::admin::{Board, Order, Phase, Port, PortListeners, PortSettings};
use crate::config::{AdminConfig, Config};
use crate::io::Switch;
use crate::shard::{Counter, Shard};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What the thread that runs the switch is told.
pub(super) enum Told {
    /// A signal came.
    Signal(i32),
    /// An operator wants something.
    Order(Order),
    /// A process wanted to take over: how far that came.
    Visit(Visit),
}

/// Counters that somebody should know of when they grow.
const WATCHED: [Counter; 21] = [
    Counter::FrameZero,
    Counter::FrameTooLong,
    Counter::FrameNotDigits,
    Counter::FrameTimeout,
    Counter::SlowConsumer,
    Counter::DroppedUnreadable,
    Counter::DroppedResponseMti,
    Counter::DroppedHeader,
    Counter::DroppedRejected,
    Counter::DroppedRepeat,
    Counter::MisEchoed,
    Counter::Unmatched,
    Counter::LinkDown,
    Counter::TimedOut,
    Counter::UndeliverableLost,
    Counter::RefusedNoStan,
    Counter::RefusedPendingFull,
    Counter::RefusedHoldsFull,
    Counter::RefusedSafFull,
    Counter::RefusedNoCredit,
    Counter::OutcomeDropped,
];

/// The board, the port if there is one, and what comes from it.
pub(super) struct Operators {
    pub(super) board: Arc<Board>,
    port: Option<Port>,
    sender: Sender<Told>,
    pub(super) told: Receiver<Told>,
    counted: [u64; WATCHED.len()],
    /// Connections denied, and those too many, when it was looked last.
    denied: [u64; 2],
}

impl Operators {
    /// Opens the audit file and the port, as far as they are wanted.
    pub(super) fn start(
        config: &Arc<Config>,
        inherited: PortListeners,
    ) -> Result<Self, CommandError> {
        let admin = &config.admin;
        let audit = admin.audit_file.as_deref().map(Audit::open).transpose();
        let audit = audit.map_err(|error| CommandError::Refused {
            exit_code: match error {
                AuditError::InUse { .. } => 73,
                AuditError::File { .. } | AuditError::Exposed { .. } => 74,
            },
            what: error.to_string(),
        })?;
        let board = Arc::new(Board::new(Arc::clone(config), audit));
        let (sender, told) = channel();
        let port = match admin.is_on() {
            false => None,
            true => {
                let orders = sender.clone();
                let orders = Box::new(move |order| orders.send(Told::Order(order)).is_ok());
                let board = Arc::clone(&board);
                let port = Port::start(PortSettings { admin, board, orders, inherited });
                Some(port.map_err(|error| CommandError::Refused {
                    exit_code: error.exit_code(),
                    what: error.to_string(),
                })?)
            }
        };
        Ok(Self { board, port, sender, told, counted: [0; WATCHED.len()], denied: [0; 2] })
    }

    /// Where they reach the switch, in a sentence.
    pub(super) fn sentence(&self, admin: &AdminConfig) -> String {
        let Some(port) = &self.port else {
            return "no port: name a socket in [admin]".to_owned();
        };
        let socket = port.socket().map(|path| path.display().to_string());
        let http = port.http().map(|address| match admin.token_file {
            Some(_) => format!("http://{address} (changes with the token)"),
            None => format!("http://{address} (read only)"),
        });
        let audit = admin.audit_file.as_ref().map(|path| format!("audit in {}", path.display()));
        [socket, http, audit].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// For a thread that waits for signals.
    pub(super) fn sender(&self) -> Sender<Told> {
        self.sender.clone()
    }

    /// Lines of the audit file that do not fit, in a sentence.
    pub(super) fn audit_damage(&self) -> Option<String> {
        let audit = self.board.audit.as_ref()?;
        let unfit = audit.damage()?;
        let path = audit.path().display();
        Some(format!("audit file {path}: line {} {}", unfit.line, unfit.why))
    }

    /// The switch runs.
    pub(super) fn on_started(&self, switch: &Switch<Shard>) {
        self.board.set_serving(switch.view());
    }

    /// Looks for counters that somebody should know of.
    pub(super) fn look(&mut self, switch: &Switch<Shard>) {
        let wall_ms = self.board.now().wall_ms;
        self.look_at_the_door(switch, wall_ms);
        let counters: Vec<_> = switch.published().map(|published| published.counters()).collect();
        for (counter, before) in WATCHED.into_iter().zip(&mut self.counted) {
            let now: u64 = counters.iter().map(|counters| counters.value(counter)).sum();
            let more = now.saturating_sub(std::mem::replace(before, now));
            if more > 0 {
                let text = counter.meaning().to_owned();
                self.board.notables.add(wall_ms, counter.name(), more, text);
            }
        }
    }

    /// Looks for peers that are none, and those that connect too often.
    fn look_at_the_door(&mut self, switch: &Switch<Shard>, wall_ms: u64) {
        let counters = switch.accept_counters();
        let seen = [
            (
                "accept{denied}",
                &counters.denied,
                "closed: of an address that `peers` does not name",
            ),
            ("accept{too_often}", &counters.too_often, "closed: beyond connects_per_second"),
        ];
        for ((name, counter, text), before) in seen.into_iter().zip(&mut self.denied) {
            let now = counter.load(Ordering::Relaxed);
            let more = now.saturating_sub(std::mem::replace(before, now));
            if more > 0 {
                self.board.notables.add(wall_ms, name, more, text.to_owned());
            }
        }
    }

    /// The switch takes no more.
    pub(super) fn on_draining(&self) {
        self.board.set_phase(Phase::Draining);
    }

    /// It has ended.
    pub(super) fn on_stopped(&self) {
        self.board.set_phase(Phase::Stopped);
    }

    /// What it listens at, for another process.
    pub(super) fn listeners(&self) -> std::io::Result<PortListeners> {
        self.port.as_ref().map_or_else(|| Ok(PortListeners::default()), Port::listeners)
    }

    /// Ends, but the socket's file stays for another process. The audit file is let go of.
    pub(super) fn leave(self) {
        if let Some(port) = self.port {
            port.leave();
        }
    }
}

/// Adds to the audit file, if there is one. A failure is an alarm; what was done is done.
pub(super) fn audit(board: &Board, event: &AuditEvent<'_>) {
    let Some(audit) = &board.audit else { return };
    let wall_ms = board.now().wall_ms;
    if let Err(error) = audit.add(wall_ms, event) {
        let text = format!("{}: {error}", audit.path().display());
        board.notables.add(wall_ms, "audit{unwritten}", 1, text);
    }
}

/// What this process did by itself, or at a signal.
pub(super) fn audit_own(board: &Board, what: &str, detail: String, result: AuditResult) {
    let from = format!("pid {}", std::process::id());
    let who = format!("uid {}", rustix::process::geteuid().as_raw());
    audit(board, &AuditEvent { who: &who, from: &from, what, detail, result });
}

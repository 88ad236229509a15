//! Operators' orders about parked messages, as the thread that runs the switch has them: handed to the
//! shard, told and written down when it has decided.
//!
//! Not here: the port (`admin`), the shard's part (`shard::parked`).

use super::operators::audit;
use crate::admin::audit::{AuditEvent, AuditResult};
use crate::admin::{Board, Order, OrderKind, ParkedReport, Reply};
use crate::io::{ShardOrder, ShardOutcome, Switch};
use crate::shard::Shard;
use crate::shard::parked::{ParkedOrder, ParkedOutcome};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

/// Orders that shards have not answered.
pub(super) struct ParkedDesk {
    board: Arc<Board>,
    waiting: Vec<(Order, Receiver<ShardOutcome>)>,
}

impl ParkedDesk {
    pub(super) const fn new(board: Arc<Board>) -> Self {
        Self { board, waiting: Vec::new() }
    }

    /// Whether somebody waits.
    pub(super) const fn is_under_way(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands an order on.
    pub(super) fn take(&mut self, order: Order, switch: &Switch<Shard>) {
        let OrderKind::Parked(parked) = order.kind else { return };
        match switch.order(parked.shard, ShardOrder::Parked(parked.number, parked.order)) {
            Some(outcome) => self.waiting.push((order, outcome)),
            None => self.end(order, None, "there is no such shard, or it has too much to do"),
        }
    }

    /// Tells what shards have decided.
    pub(super) fn look(&mut self) {
        for (order, outcome) in std::mem::take(&mut self.waiting) {
            match outcome.try_recv() {
                Ok(ShardOutcome::Parked(outcome)) => self.end(order, Some(outcome), ""),
                Err(TryRecvError::Empty) => self.waiting.push((order, outcome)),
                Ok(ShardOutcome::Wallet(_)) | Err(TryRecvError::Disconnected) => {
                    self.end(order, None, "the switch stopped");
                }
            }
        }
    }

    /// The switch stops: nobody is left waiting.
    pub(super) fn stop(&mut self) {
        for (order, outcome) in std::mem::take(&mut self.waiting) {
            let why = "the switch stops: it may have been done; see what is parked after the start";
            let outcome = match outcome.try_recv() {
                Ok(ShardOutcome::Parked(outcome)) => Some(outcome),
                _ => None,
            };
            self.end(order, outcome, why);
        }
    }

    fn end(&self, order: Order, outcome: Option<ParkedOutcome>, why: &str) {
        let OrderKind::Parked(parked) = order.kind else { return };
        let name = format!("message {}-{}", parked.shard, parked.number);
        let said = match outcome {
            None => format!("{name}: {why}"),
            Some(ParkedOutcome::Released) => format!("{name} is owed again, and sent"),
            Some(ParkedOutcome::Dropped) => format!("{name} is dropped"),
            Some(ParkedOutcome::NotParked) => format!("{name} is not parked"),
            Some(ParkedOutcome::NoIssuer) => format!(
                "{name} names neither card nor known original: no issuer can be told of it; clear it \
                 with its acquirer, then drop it"
            ),
        };
        let is_done = matches!(outcome, Some(ParkedOutcome::Released | ParkedOutcome::Dropped));
        let detail = match parked.order {
            ParkedOrder::Release => said.clone(),
            ParkedOrder::Drop(note) => format!("{said}; note: {}", note.as_str()),
        };
        let result = if is_done { AuditResult::Done } else { AuditResult::Failed };
        let (who, from) = (order.who.as_str(), order.from.as_str());
        audit(&self.board, &AuditEvent { who, from, what: order.kind.name(), detail, result });
        // He may be gone.
        let _ = order.reply.send(Reply::Parked(ParkedReport { is_done, said }));
    }
}

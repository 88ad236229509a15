//! All issuers' banks for one shard, and their end of the ring.

use super::delayed::Delayed;
use super::ring::{BankMessage, BankRing};
use crate::config::Config;
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::Now;
use tapswitch_protocol::{Addition, Dialect, FieldTable, ResponseCode, respond};

/// When an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// At once.
    Now,
    /// At this moment.
    At {
        /// Monotonic nanoseconds.
        due_ns: u64,
    },
    /// Never: the request was processed and the answer is lost. The message is empty.
    Silent,
}

/// All issuers' banks for one shard.
pub struct BankSet {
    dialects: Vec<&'static Dialect>,
    delayed: Delayed,
    table: FieldTable,
    response: Box<[u8; FRAME_BYTES_MAX]>,
}

impl BankSet {
    /// The banks of a configuration's issuers, nothing touched yet. One for each shard.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            dialects: config.acquirers.iter().map(|acquirer| acquirer.dialect).collect(),
            delayed: Delayed::new(),
            table: FieldTable::default(),
            response: Box::new([0; FRAME_BYTES_MAX]),
        }
    }

    /// Answers what is on the ring and sends what is due, at most `budget` messages. Returns how
    /// many: fewer than `budget` means that nothing is left to do before [`BankSet::next_due_ns`].
    /// Afterwards ask `ring.from_bank.must_wake()`.
    pub fn poll(&mut self, now: Now, ring: &BankRing, budget: usize) -> usize {
        let mut handled = 0;
        while handled < budget
            && let Some(message) = self.delayed.pop_due(now.mono_ns)
        {
            send_back(ring, message);
            handled += 1;
        }
        while handled < budget
            && let Some(mut message) = ring.to_bank.receive()
        {
            match self.answer(now, &mut message) {
                Disposition::At { due_ns } if due_ns > now.mono_ns => {
                    self.delayed.push(due_ns, message);
                }
                Disposition::At { .. } | Disposition::Now | Disposition::Silent => {
                    send_back(ring, message);
                }
            }
            handled += 1;
        }
        handled
    }

    /// When the next waiting answer is due.
    #[inline]
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.delayed.next_due_ns()
    }

    /// Answers that wait for their time.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.delayed.len()
    }

    /// Processes a request and writes the answer over it.
    pub fn answer(&mut self, _now: Now, message: &mut BankMessage) -> Disposition {
        let Some(&dialect) = self.dialects.get(usize::from(message.acquirer.0)) else {
            message.replace(&[]);
            return Disposition::Silent;
        };
        let code = match dialect.parse(message.bytes(), &mut self.table) {
            Ok(_) => ResponseCode::INVALID_TRANSACTION,
            Err(_) => ResponseCode::FORMAT_ERROR,
        };
        let written = self.table.view(dialect, message.bytes()).and_then(|view| {
            let additions = [Addition { field: 39, value: code.bytes() }];
            let mti = view.mti().response()?;
            respond(&view, mti, dialect.echo, &additions, self.response.as_mut_slice()).ok()
        });
        message.replace(written.and_then(|bytes| self.response.get(..bytes)).unwrap_or_default());
        if message.is_silence() { Disposition::Silent } else { Disposition::Now }
    }
}

/// Gives a buffer back to the shard, with an answer or without.
#[inline]
fn send_back(ring: &BankRing, message: BankMessage) {
    let sent = ring.from_bank.send(message);
    assert!(sent.is_ok(), "Invariant: every message out has a slot on the way back");
}

//! One shard's part of the graceful stop: see `stopping`.

use super::{Driver, JournalPort, NS_PER_MS};
use crate::io::decider::Decider;
use crate::io::stopping::Stage;
use crate::shard::Now;

/// So long acquirers that send on although they were signed off are answered, before their connections
/// are closed for a process that will serve them.
const REFUSING_BEFORE_HAND_OVER_NS: u64 = 500 * NS_PER_MS;

impl<D: Decider> Driver<D> {
    /// One step at most.
    pub(super) fn go_on_stopping(&mut self, now: Now, inputs: usize) {
        let now_ns = now.mono_ns;
        let linger_ns = self.ports.connections.timeouts().linger_ms * NS_PER_MS;
        let over_ns = self.stop_since_ns + self.ports.drain_ns;
        match self.stage {
            Stage::Serving => {
                if self.ports.stopping.is_asked() {
                    self.decider.on_drain();
                    (self.stop_since_ns, self.last_read_ns) = (now_ns, now_ns);
                    self.stage = Stage::Draining;
                }
            }
            Stage::Draining => {
                if self.all_shards_are_quiet(now_ns, inputs) {
                    self.close(now_ns);
                } else if now_ns >= self.stop_since_ns + self.refusing_ns() {
                    self.ports.connections.stop_reading();
                    self.stage = Stage::LastAnswers;
                }
            }
            Stage::LastAnswers => {
                if now_ns >= over_ns || self.all_shards_are_quiet(now_ns, inputs) {
                    self.close(now_ns);
                }
            }
            Stage::Closing { until_ns } => {
                if self.ports.connections.is_empty() && self.ports.placed.is_empty() {
                    self.ports.stopping.set_quiet(usize::from(self.ports.shard.0), true);
                    self.ports.stopping.on_closed();
                    self.stage = Stage::Closed;
                } else if now_ns >= until_ns {
                    self.ports.connections.kill_all();
                }
            }
            Stage::Closed => {
                if self.ports.stopping.all_closed() || now_ns >= over_ns + 3 * linger_ns {
                    self.leave(now);
                    self.stage = Stage::Done;
                }
            }
            Stage::Done => {}
        }
    }

    /// So long new requests are refused; then nothing is read on.
    fn refusing_ns(&self) -> u64 {
        let most_ns = self.ports.drain_ns / 4 * 3;
        match self.ports.stopping.is_handing_over() {
            true => most_ns.min(REFUSING_BEFORE_HAND_OVER_NS),
            false => most_ns,
        }
    }

    /// Requests and messages that this process has to finish. What is owed to issuers is in the journal:
    /// another process goes on with that.
    fn unfinished(&self) -> usize {
        let left = match self.ports.stopping.is_handing_over() {
            true => self.decider.owed(),
            false => 0,
        };
        self.decider.in_flight().saturating_sub(left)
    }

    /// Nothing goes to issuers any more: they are told so before their links are closed.
    fn leave(&mut self, now: Now) {
        while self.decider.on_leaving(now, &mut self.outbox) {
            self.act(now);
        }
        self.act(now);
    }

    pub(super) fn close(&mut self, now_ns: u64) {
        let linger_ns = self.ports.connections.timeouts().linger_ms * NS_PER_MS;
        self.ports.connections.finish_all(now_ns);
        self.stage = Stage::Closing { until_ns: now_ns + linger_ns };
    }

    /// Whether this shard is quiet, and every other one.
    pub(super) fn all_shards_are_quiet(&mut self, now_ns: u64, inputs: usize) -> bool {
        let quiet_ns = self.ports.connections.timeouts().quiet_ms * NS_PER_MS;
        let quiet = inputs == 0
            && now_ns >= self.last_read_ns + quiet_ns
            && self.unfinished() == 0
            && self.ports.journal.as_ref().is_none_or(JournalPort::is_quiet)
            && self.ports.connections.nothing_to_tell()
            && self.ports.connections.all_written();
        self.ports.stopping.set_quiet(usize::from(self.ports.shard.0), quiet);
        // Whoever is quiet has sent everything before it said so: look at the rings once more.
        quiet
            && self.ports.stopping.all_quiet()
            && self.ports.mesh.from.iter_mut().all(|(_, ring)| ring.is_empty())
    }
}

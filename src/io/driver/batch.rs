//! A batch of reads: collected, split into frames, staged and decided in groups, given back.

use super::Driver;
use crate::io::decider::{ConnectionFault, Decider};
use crate::io::read_buffer::ReadBuffer;
use crate::limits::{FRAME_BYTES_MAX, READ_BYTES_BUSY, STAGED_MAX};
use crate::shard::{ConnectionId, Now};
use std::ops::Range;
use tapswitch_protocol::{FrameError, FrameStep, Framing};

/// Bytes read that are decided before their answers are handed to the kernel: enough to make a
/// batch of it, not so much that the first answers wait for the last.
const BATCH_BYTES_MAX: usize = 4 * READ_BYTES_BUSY;
/// Connections whose reads are decided in one batch, for the same reason.
pub(super) const BATCH_READS_MAX: usize = 512;

/// A read on its way through a batch.
pub(super) struct BatchRead {
    connection: ConnectionId,
    framing: Framing,
    buffer: ReadBuffer,
    consumed: usize,
    lost: Option<FrameError>,
    /// When the driver first saw it.
    arrived_ns: u64,
}

/// A staged request: where its bytes are.
pub(super) struct StagedFrame<S> {
    staged: S,
    read: usize,
    header: Range<usize>,
    body: Range<usize>,
}

impl<D: Decider> Driver<D> {
    /// Puts the connections on which something happened in their order, whether they are looked at in
    /// this cycle or not: what they brought waits from now on.
    pub(super) fn take_visits(&mut self, now: Now) {
        self.ports.connections.visits().take(&mut self.visits);
        for &slot in &self.visits {
            self.turns.add(self.ports.connections.acquirer_of(slot), slot, now.mono_ns);
        }
    }

    /// Collects the next batch of reads. Tells how many connections it looked at.
    pub(super) fn take_reads(&mut self, now: Now) -> usize {
        let (mut visited, mut bytes) = (0, 0);
        while bytes < BATCH_BYTES_MAX
            && self.batch.len() < BATCH_READS_MAX
            && let Some((slot, arrived_ns)) = self.turns.next()
        {
            visited += 1;
            let read = self.ports.connections.visit(slot, now.mono_ns, &mut self.returned);
            if let Some((connection, framing, buffer)) = read {
                bytes += buffer.filled().len();
                self.turns.spend(buffer.filled().len());
                self.last_read_ns = now.mono_ns;
                self.batch.push(BatchRead {
                    connection,
                    framing,
                    buffer,
                    consumed: 0,
                    lost: None,
                    arrived_ns,
                });
            }
        }
        visited
    }

    /// Splits the batch into frames, stages them, and decides them in groups. Tells how many.
    pub(super) fn decide_batch(&mut self, now: Now) -> usize {
        let mut decided = 0;
        for index in 0..self.batch.len() {
            while self.stage_next(index) {
                if self.staged.len() == STAGED_MAX {
                    decided += self.decide_staged(now);
                }
            }
        }
        decided + self.decide_staged(now)
    }

    /// Stages the next frame of a read; `false` when it has no whole frame left.
    #[inline]
    pub(super) fn stage_next(&mut self, index: usize) -> bool {
        let Some(read) = self.batch.get_mut(index) else { return false };
        let rest = read.buffer.filled().get(read.consumed..).unwrap_or_default();
        if rest.is_empty() {
            return false;
        }
        match read.framing.next(rest, FRAME_BYTES_MAX) {
            Ok(FrameStep::Message { header, body, bytes }) => {
                let staged = self.decider.stage(read.connection, body);
                let end = read.consumed + bytes;
                let body_at = end - body.len();
                self.staged.push(StagedFrame {
                    staged,
                    read: index,
                    header: body_at - header.len()..body_at,
                    body: body_at..end,
                });
                read.consumed = end;
                self.ports.connections.on_request(read.connection.slot);
                true
            }
            Ok(FrameStep::Probe { bytes }) => {
                read.consumed += bytes;
                true
            }
            Ok(FrameStep::Unusable { reason, bytes }) => {
                read.consumed += bytes;
                self.decider.on_fault(read.connection, ConnectionFault::Header(reason));
                true
            }
            Ok(FrameStep::Incomplete { .. }) => false,
            Err(lost) => {
                read.lost = Some(lost);
                false
            }
        }
    }

    pub(super) fn decide_staged(&mut self, now: Now) -> usize {
        let decided = self.staged.len();
        for index in 0..decided {
            self.make_room(now);
            let Some(frame) = self.staged.get(index) else { break };
            let Some(read) = self.batch.get(frame.read) else { break };
            let bytes = read.buffer.filled();
            let header = bytes.get(frame.header.clone()).unwrap_or_default();
            let body = bytes.get(frame.body.clone()).unwrap_or_default();
            self.decider.on_arrival(read.arrived_ns);
            self.decider.on_request(now, frame.staged, header, body, &mut self.outbox);
        }
        self.staged.clear();
        decided
    }

    pub(super) fn give_back(&mut self, now: Now) {
        for read in self.batch.drain(..) {
            let BatchRead { connection, buffer, consumed, lost, .. } = read;
            match lost {
                None => {
                    self.ports.connections.after_batch(connection, buffer, consumed, now.mono_ns);
                }
                Some(error) => {
                    self.decider.on_fault(connection, ConnectionFault::Framing(error));
                    self.ports.connections.on_framing_lost(connection, buffer, now.mono_ns);
                }
            }
        }
    }
}

//! What outlives a process, as the kernel side asks for it: records to replay, a snapshot in pieces.
//!
//! A decider that keeps nothing leaves everything as it is here. Not here: files (`journal`).

use crate::shard::recovery::Recovered;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::velocity::PassedTable;
use crate::shard::{Now, Outbox};

/// A decider's durable half.
pub trait Durable {
    /// Before anything is loaded or replayed; the decider is new.
    fn begin_recovery(&mut self) {}

    /// A snapshot is put back; this is what it says of itself.
    ///
    /// # Errors
    /// It cannot be used: why.
    fn load_begin(&mut self, header: &[u8]) -> Result<(), String> {
        let _ = header;
        Ok(())
    }

    /// The next bytes of the snapshot, cut anywhere.
    ///
    /// # Errors
    /// They cannot be used: why.
    fn load(&mut self, bytes: &[u8]) -> Result<(), String> {
        let _ = bytes;
        Ok(())
    }

    /// The snapshot is put back.
    ///
    /// # Errors
    /// It was not whole.
    fn load_end(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Records in their order, of which the first `known` are in the snapshot.
    ///
    /// # Errors
    /// One cannot be read: why.
    fn replay(&mut self, records: &[u8], known: u64) -> Result<(), String> {
        let _ = (records, known);
        Ok(())
    }

    /// What was found, once all is replayed.
    fn recovered(&self) -> Recovered {
        Recovered::default()
    }

    /// Finishes what was under way when the process before ended; `true`: call again.
    fn on_recovered(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        let _ = (now, outbox);
        false
    }

    /// The disk takes no more for now: nothing new may be accepted.
    fn on_journal_full(&mut self, is_full: bool) {
        let _ = is_full;
    }

    /// Cuts a snapshot here; returns what it says of itself.
    fn snapshot_begin(&mut self, now: Now) -> Vec<u8> {
        let _ = now;
        Vec::new()
    }

    /// The same, for deciders of another layout, each of which takes over its own part.
    fn carry_begin(&mut self, now: Now) -> Vec<u8> {
        self.snapshot_begin(now)
    }

    /// Begins to hand all over to another process but the cards' lines, which that is passed as they are;
    /// what it says of itself. `None`: nobody can be passed them.
    fn part_begin(&mut self, now: Now) -> Option<Vec<u8>> {
        let _ = now;
        None
    }

    /// After the last piece: the cards' lines. The decider is of no use any more.
    fn part_end(&mut self) -> Option<PassedTable> {
        None
    }

    /// Whether another one of the same shard, recovered otherwise, knows the same of all money.
    fn knows_as(&self, other: &mut Self) -> bool
    where
        Self: Sized,
    {
        let _ = other;
        true
    }

    /// The first record that is needed beside a snapshot cut now, after `last_lsn`.
    fn replay_from_lsn(&self, last_lsn: u64) -> u64 {
        last_lsn + 1
    }

    /// Adds about so many bytes of the snapshot.
    fn snapshot_next(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> SnapshotStep {
        let _ = (out, bytes_max);
        SnapshotStep::Done
    }

    /// Whether the snapshot must be hurried on lest it be given up.
    fn snapshot_is_behind(&self) -> bool {
        false
    }

    /// The snapshot is given up.
    fn snapshot_abandon(&mut self) {}
}

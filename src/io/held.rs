//! What waits for the journal: answers and messages that may leave only when the records before them
//! are durable. Released in order, a batch for each commit.
//!
//! Not here: which action waits (the shard says so), what durable means (`journal`).

use crate::shard::{Action, Outbox};
use std::collections::VecDeque;
use std::ops::Range;

/// Actions that wait for one commit, their bytes beside them.
#[derive(Default)]
pub(crate) struct HeldBatch {
    first_lsn: u64,
    last_lsn: u64,
    actions: Vec<Action>,
    arena: Vec<u8>,
}

impl HeldBatch {
    /// The actions, in order; their ranges are places in [`HeldBatch::bytes`].
    pub(crate) fn actions(&self) -> &[Action] {
        &self.actions
    }

    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.arena.get(range.clone()).unwrap_or_default()
    }

    /// Messages to issuers carry card numbers: they do not stay.
    fn clear(&mut self) {
        self.actions.clear();
        self.arena.fill(0);
        self.arena.clear();
    }
}

/// All that waits, oldest first.
#[derive(Default)]
pub(crate) struct Held {
    batches: VecDeque<HeldBatch>,
    spare: Vec<HeldBatch>,
    /// What left last waited for this record.
    released_lsn: u64,
}

impl Held {
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Holds an action until `lsn` is durable; records up to `written_lsn` are on their way already.
    pub(crate) fn push(
        &mut self,
        (lsn, written_lsn): (u64, u64),
        action: &Action,
        outbox: &Outbox,
    ) {
        let before = self.batches.back().map_or(self.released_lsn, |batch| batch.last_lsn);
        assert!(before <= lsn, "Invariant: what waits for records comes in their order");
        let joins = self
            .batches
            .back()
            .is_some_and(|batch| batch.last_lsn == lsn || batch.first_lsn > written_lsn);
        if !joins {
            let mut batch = self.spare.pop().unwrap_or_default();
            batch.first_lsn = lsn;
            self.batches.push_back(batch);
        }
        let Some(batch) = self.batches.back_mut() else { return };
        batch.last_lsn = lsn;
        let mut keep = |range: &Range<usize>| {
            let start = batch.arena.len();
            batch.arena.extend_from_slice(outbox.bytes(range));
            start..batch.arena.len()
        };
        let kept = match action {
            Action::Respond { connection, bytes } => {
                Action::Respond { connection: *connection, bytes: keep(bytes) }
            }
            Action::NoAnswer { connection } => Action::NoAnswer { connection: *connection },
            Action::Forward { issuer, link, acquirer, bytes } => Action::Forward {
                issuer: *issuer,
                link: *link,
                acquirer: *acquirer,
                bytes: keep(bytes),
            },
            Action::Tell { connection, bytes } => {
                Action::Tell { connection: *connection, bytes: keep(bytes) }
            }
            Action::CloseConnection { connection } => {
                Action::CloseConnection { connection: *connection }
            }
            Action::Manage { link, bytes } => Action::Manage { link: *link, bytes: keep(bytes) },
            Action::CloseLink { link } => Action::CloseLink { link: *link },
            Action::Mesh { to, kind, connection, header_bytes, bytes } => Action::Mesh {
                to: *to,
                kind: *kind,
                connection: *connection,
                header_bytes: *header_bytes,
                bytes: keep(bytes),
            },
        };
        batch.actions.push(kept);
    }

    /// The oldest batch, if all that it waits for may be relied on.
    pub(crate) fn release(&mut self, release_lsn: u64) -> Option<HeldBatch> {
        let is_ready = self.batches.front().is_some_and(|batch| batch.last_lsn <= release_lsn);
        let batch = if is_ready { self.batches.pop_front() } else { None }?;
        // I-18: released LSN <= durable LSN, and neither goes back.
        assert!(
            self.released_lsn <= batch.last_lsn && batch.first_lsn <= batch.last_lsn,
            "Invariant: what waits for records leaves in their order"
        );
        self.released_lsn = batch.last_lsn;
        Some(batch)
    }

    /// A released batch is done.
    pub(crate) fn give_back(&mut self, mut batch: HeldBatch) {
        batch.clear();
        self.spare.push(batch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ConnectionId;

    fn hold(held: &mut Held, lsn: u64, written_lsn: u64, slot: u16) {
        let connection = ConnectionId { slot, ..ConnectionId::default() };
        held.push((lsn, written_lsn), &Action::NoAnswer { connection }, &Outbox::new());
    }

    fn slots(held: &mut Held, release_lsn: u64) -> Vec<u16> {
        let mut slots = Vec::new();
        while let Some(batch) = held.release(release_lsn) {
            slots.extend(batch.actions().iter().map(|action| match action {
                Action::NoAnswer { connection } => connection.slot,
                _ => unreachable!("only these were held"),
            }));
            held.give_back(batch);
        }
        slots
    }

    #[test]
    fn nothing_leaves_before_its_record_and_all_in_order() {
        let mut held = Held::default();
        hold(&mut held, 1, 0, 1);
        hold(&mut held, 2, 0, 2);
        assert_eq!(slots(&mut held, 1), [0_u16; 0], "one commit makes both durable");
        // The commit of 1 and 2 is under way: what comes now waits for the next.
        hold(&mut held, 2, 2, 3);
        hold(&mut held, 3, 2, 4);
        hold(&mut held, 5, 2, 5);
        assert_eq!(slots(&mut held, 2), [1, 2, 3]);
        assert_eq!(slots(&mut held, 4), [0_u16; 0]);
        assert_eq!(slots(&mut held, 5), [4, 5]);
        assert!(held.is_empty());
    }

    #[test]
    #[should_panic(expected = "Invariant: what waits for records comes in their order")]
    fn what_would_wait_for_a_record_that_has_left_stops_the_process() {
        let mut held = Held::default();
        hold(&mut held, 5, 0, 1);
        assert_eq!(slots(&mut held, 5), [1]);
        hold(&mut held, 4, 4, 2);
    }
}

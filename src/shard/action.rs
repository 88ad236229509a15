//! What a shard wants done: actions in a bounded outbox, their bytes in one arena beside them.

use super::identity::{AcquirerId, ConnectionId, IssuerId, LinkId, ShardId};
use super::journal_record::{RECORD_BYTES_MAX, Record};
use crate::limits::{
    ACTIONS_PER_INPUT_MAX, FRAME_BYTES_MAX, OUTBOX_ACTIONS_MAX, OUTBOX_BYTES_MAX,
    OUTBOX_RECORD_BYTES, RECORDS_PER_INPUT_MAX,
};
use core::ops::Range;

/// What a message between shards is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshKind {
    /// A request for a card of the other shard: header, then message. Holds one credit.
    Request,
    /// A request that was paid with a token of the other shard: header, then message. Holds one credit.
    TokenAsk,
    /// The same again, with what its shard says of the token. Gives the credit back.
    Translated,
    /// A request that was paid with a token, for a card of the other shard: what is known of the token,
    /// header, message. Holds one credit.
    TokenRequest,
    /// The answer to such a request: a whole frame for `connection`. Gives the credit back.
    Response,
    /// No answer for this transmission (a repeat was absorbed, a message dropped, an undeliverable
    /// answer dealt with). Gives the credit back.
    Credit,
    /// An answer whose connection is gone: the frame comes back, the credit is held on.
    Undeliverable,
    /// A reversal that names no card, whose original the other shard does not know: header, then
    /// message. Gives the credit back.
    NotHere,
    /// An approval that waits on the shard of its card (at the place that `header_bytes` says): for any
    /// connection of its acquirer. Holds one credit.
    Offer,
    /// It was given to one. Gives the credit back.
    OfferTaken,
    /// There is none. Gives the credit back.
    OfferRefused,
    /// A question for a larger part of a limit that the other shard owns. One is answered by one
    /// [`MeshKind::LeaseGrant`]; so many may be under way (`limits::LEASE_ASKS_MAX`).
    LeaseAsk,
    /// The answer to it.
    LeaseGrant,
    /// What acquirer's transactions of a settlement date come to, so far: the shards asked before, header,
    /// message. Holds one credit.
    TotalsAsk,
    /// The same, with the other shard's. Gives the credit back.
    TotalsTold,
    /// An issuer's answer that came on a link of a shard that had not asked: one byte that names the
    /// issuer, then the message. Holds one credit.
    IssuerMessage,
    /// An issuer has signed off or on: the issuer, which of both, and the shard that was told first.
    /// Holds one credit.
    SignedOff,
    /// A settlement date has begun for an issuer: the issuer, the shard that was told first, the day.
    /// Holds one credit.
    IssuerDate,
    /// Gives the credit of one of the three above back.
    Returned,
}

/// One thing to do. Ranges are places in [`Outbox::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write this frame to a connection of this shard. When the connection is gone, give the same
    /// bytes to `Shard::on_undeliverable`.
    Respond {
        /// Where to.
        connection: ConnectionId,
        /// The frame.
        bytes: Range<usize>,
    },
    /// One message of a connection of this shard gets no answer: nobody waits for one any more.
    NoAnswer {
        /// Whose.
        connection: ConnectionId,
    },
    /// Write this frame of the switch's own making to a connection, if it is still there.
    Tell {
        /// Where to.
        connection: ConnectionId,
        /// The frame.
        bytes: Range<usize>,
    },
    /// Close a connection once what it has is written.
    CloseConnection {
        /// Which.
        connection: ConnectionId,
    },
    /// Hand this message (no frame) to an issuer.
    Forward {
        /// Where to.
        issuer: IssuerId,
        /// On which of its links.
        link: u8,
        /// Whose dialect the message is in.
        acquirer: AcquirerId,
        /// The message.
        bytes: Range<usize>,
    },
    /// Write this network-management message (no frame) to an issuer's link, if it is still there.
    Manage {
        /// Which.
        link: LinkId,
        /// The message.
        bytes: Range<usize>,
    },
    /// Close an issuer's link; its loss is then told as any other.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// Push onto the ring to another shard; a slot is sure to be free.
    Mesh {
        /// Which shard.
        to: ShardId,
        /// What it is.
        kind: MeshKind,
        /// The acquirer connection that it is about.
        connection: ConnectionId,
        /// How many of the bytes are the frame's header (requests only).
        header_bytes: u8,
        /// Header and message, or a frame.
        bytes: Range<usize>,
    },
}

/// Actions in the order they must be done. The driver empties it before it waits, and before it
/// gives the shard a further input when [`Outbox::has_room`] says no.
#[derive(Debug)]
pub struct Outbox {
    actions: Vec<Action>,
    /// For each action, whether it waits for the records.
    gated: Vec<bool>,
    arena: Vec<u8>,
    used: usize,
    /// Whether records are kept at all.
    journaling: bool,
    records: Vec<u8>,
    record_bytes: usize,
    record_count: u32,
    /// The journal's number of the last record that was taken out.
    taken_lsn: u64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            actions: Vec::with_capacity(OUTBOX_ACTIONS_MAX),
            gated: Vec::with_capacity(OUTBOX_ACTIONS_MAX),
            arena: vec![0; OUTBOX_BYTES_MAX],
            used: 0,
            journaling: false,
            records: Vec::new(),
            record_bytes: 0,
            record_count: 0,
            taken_lsn: 0,
        }
    }
}

impl Outbox {
    /// An empty outbox; allocates all it will ever use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether one more input's actions fit for sure.
    #[inline]
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.actions.len() + ACTIONS_PER_INPUT_MAX <= OUTBOX_ACTIONS_MAX
            && self.used + ACTIONS_PER_INPUT_MAX * FRAME_BYTES_MAX <= OUTBOX_BYTES_MAX
            && self.record_bytes + RECORDS_PER_INPUT_MAX * RECORD_BYTES_MAX <= OUTBOX_RECORD_BYTES
    }

    /// An outbox that also collects records, for a journal.
    #[must_use]
    pub fn journaling() -> Self {
        let records = vec![0; OUTBOX_RECORD_BYTES];
        Self { journaling: true, records, ..Self::default() }
    }

    /// What is to be written to the journal before the actions that wait for it, and how many
    /// records that is.
    #[inline]
    #[must_use]
    pub fn records(&self) -> (&[u8], u32) {
        (self.records.get(..self.record_bytes).unwrap_or_default(), self.record_count)
    }

    /// The journal's number of the newest record here; 0 without a journal.
    #[inline]
    pub(crate) fn last_lsn(&self) -> u64 {
        if self.journaling { self.taken_lsn + u64::from(self.record_count) } else { 0 }
    }

    /// The records here were appended; the last of them has this number.
    #[inline]
    pub fn on_appended(&mut self, lsn: u64) {
        self.taken_lsn = lsn;
        self.record_bytes = 0;
        self.record_count = 0;
    }

    /// Whether this action (by its place in [`Outbox::actions`]) waits until every record so far is
    /// durable.
    #[inline]
    #[must_use]
    pub fn is_gated(&self, place: usize) -> bool {
        self.gated.get(place).copied().unwrap_or_default()
    }

    /// Adds a record, if there is a journal.
    #[inline]
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        if self.journaling {
            let room = self.records.get_mut(self.record_bytes..).unwrap_or_default();
            self.record_bytes += record.encode(room);
            self.record_count += 1;
        }
    }

    /// What is to be done.
    #[inline]
    #[must_use]
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The bytes of an action.
    #[inline]
    #[must_use]
    pub fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.arena.get(range.clone()).unwrap_or_default()
    }

    /// Forgets all actions once they are done, and the bytes with them: forwards carry tracks and
    /// PIN blocks, which die with the batch.
    #[inline]
    pub fn clear(&mut self) {
        self.actions.clear();
        self.gated.clear();
        self.record_bytes = 0;
        self.record_count = 0;
        if let Some(used) = self.arena.get_mut(..self.used) {
            used.fill(0);
        }
        self.used = 0;
    }

    /// Room for one frame or message, to be written and then claimed with [`Outbox::claim`].
    #[inline]
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let end = (self.used + FRAME_BYTES_MAX).min(self.arena.len());
        self.arena.get_mut(self.used..end).unwrap_or_default()
    }

    /// Takes the first `bytes` of the room.
    #[inline]
    pub(crate) fn claim(&mut self, bytes: usize) -> Range<usize> {
        let range = self.used..self.used + bytes;
        self.used = range.end;
        range
    }

    /// Adds an action.
    #[inline]
    pub(crate) fn push(&mut self, action: Action) {
        assert!(
            self.actions.len() < OUTBOX_ACTIONS_MAX,
            "Invariant: the driver drains the outbox before it is full"
        );
        self.actions.push(action);
        self.gated.push(false);
    }

    /// Adds an action that waits until every record so far is durable.
    #[inline]
    pub(crate) fn push_gated(&mut self, action: Action) {
        self.push(action);
        if let Some(gated) = self.gated.last_mut() {
            *gated = true;
        }
    }
}

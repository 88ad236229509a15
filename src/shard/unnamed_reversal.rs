//! A reversal that names no card (neither DE 2 nor DE 35): its original may be on any shard. The shard
//! that took it looks first, then asks the others one after another. When none knows the original an
//! advice is accepted all the same, as every reversal is, and kept for an operator: no issuer can be
//! told of it.

use super::delivery::copy_in;
use super::field_list::StoredFields;
use super::intake::StagedRequest;
use super::journal_record::{Change, OwedMessage};
use super::outcome::NO_ISSUER;
use super::own_answer::Reason;
use super::{
    Action, CardKey, Counter, Incoming, IssuerId, MACS_AND_NUMBERS, MeshKind, MeshMessage, Now,
    Outbox, Shard, ShardId,
};
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::PanError;

impl Shard {
    /// Whether it is such a reversal.
    pub(super) fn is_unnamed(staged: &StagedRequest) -> bool {
        matches!(staged.pan, Err(PanError::Missing))
    }

    #[cold]
    pub(super) fn reverse_unnamed(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let of_original = self.original_key(incoming);
        let is_known = self.duplicates.lookup(&staged.key).is_some()
            || of_original.is_some_and(|key| self.duplicates.lookup(&key).is_some());
        if is_known {
            return self.reverse(now, incoming, staged, outbox);
        }
        if incoming.connection.shard != self.id {
            self.push_unnamed(incoming, (incoming.connection.shard, MeshKind::NotHere), outbox);
            return Ok(());
        }
        self.counters.add(Counter::ReversalUnnamed);
        self.ask_for_original(now, incoming, staged, (0, outbox))
    }

    /// Asks the first shard from `first` on; after the last one it is decided here.
    fn ask_for_original(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (first, outbox): (u8, &mut Outbox),
    ) -> Result<(), Reason> {
        let mut others = (first..self.shards as u8).map(ShardId).filter(|&shard| shard != self.id);
        let Some(to) = others.next() else { return self.reverse(now, incoming, staged, outbox) };
        if !self.credits.take(to) {
            return Err(Reason::NoCredit);
        }
        self.push_unnamed(incoming, (to, MeshKind::Request), outbox);
        Ok(())
    }

    fn push_unnamed(
        &self,
        incoming: &Incoming<'_>,
        (to, kind): (ShardId, MeshKind),
        outbox: &mut Outbox,
    ) {
        // As in every request; a reversal is never too late.
        let arrival = self.arrived_ns.to_le_bytes();
        let arrival = if kind == MeshKind::Request { &arrival[..] } else { &[] };
        let from = copy_in(arrival, outbox).start;
        copy_in(incoming.header, outbox);
        let message_at = copy_in(incoming.view.bytes(), outbox);
        outbox.push(Action::Mesh {
            to,
            kind,
            connection: incoming.connection,
            // At most 46.
            header_bytes: incoming.header.len() as u8,
            bytes: from..message_at.end,
        });
    }

    /// A shard that was asked does not know its original: the next one is.
    pub(super) fn on_not_here(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        let split = message.bytes.split_at_checked(usize::from(message.header_bytes));
        let Some((header, body)) = split else { return };
        let place = self.stage(message.connection, body);
        let Some(staged) = self.staged.take(place) else { return };
        if let Some(profile) = self.profile(message.connection)
            && let Some(view) = staged.table.view(profile.dialect, body)
        {
            let connection = message.connection;
            let incoming = Incoming { view, header, connection, profile: &profile };
            let asked = self.ask_for_original(now, &incoming, &staged, (from.0 + 1, outbox));
            if let Err(reason) = asked {
                self.answer_own(now, &incoming, reason, outbox);
            }
        }
        self.staged.give(place, staged);
    }

    /// An accepted reversal of which no issuer can be told is kept for an operator.
    pub(super) fn keep_unnamed(&mut self, now: Now, incoming: &Incoming<'_>, outbox: &mut Outbox) {
        let Some(id) = self.saf.next_id().filter(|_| self.saf.has_room_to_park()) else {
            return self.counters.add(Counter::ReversalUnkept);
        };
        let fields = incoming.profile.dialect.kept.minus(MACS_AND_NUMBERS);
        let mut list = [0; FRAME_BYTES_MAX];
        let written = StoredFields::of(&incoming.view, fields).write(&mut list);
        let Some(list) = written.and_then(|bytes| list.get(..bytes)) else { return };
        let message = OwedMessage {
            id,
            acquirer: incoming.connection.acquirer,
            issuer: IssuerId(NO_ISSUER),
            card: CardKey([0; 16]),
            mti: incoming.view.mti().without_repeat(),
            sent: None,
            fields: StoredFields::Listed(list),
        };
        self.commit(now, Change::Owed(message), outbox);
        let code = incoming.profile.codes.original_not_found;
        self.commit(now, Change::OwedParked { id, code }, outbox);
        // What is parked with it is nobody's turn.
        self.next_owed = None;
        self.counters.add(Counter::OwedParked);
    }
}

//! Partial reversals (DE 95): of the original only so much stands. What is approved is made less at
//! once; what is in flight, when its approval comes: the acquirer has said how much of it stands,
//! whatever the issuer says. A request that is not approved has nothing to be made less, and is undone
//! whole as ever.
//!
//! Not durable while the request is in flight: a process that ends then reverses the request whole.

use super::authorization::Reply;
use super::duplicate::{DuplicateKey, OriginalRecord};
use super::intake::StagedRequest;
use super::journal_record::{Change, Undone};
use super::kept::KeptRef;
use super::own_answer::Reason;
use super::{ConnectionId, Counter, Incoming, MACS_AND_NUMBERS, Now, Outbox, Shard};
use crate::limits::{EARLY_REDUCTIONS_MAX, FRAME_BYTES_MAX};
use tapswitch_protocol::{AmountMinor, FieldTable, MessageView, respond};

/// A partial reversal that came before the approval of its original.
struct Early {
    original: DuplicateKey,
    left: AmountMinor,
    /// Whose it is.
    connection: ConnectionId,
    /// The message.
    kept: KeptRef,
}

/// The few that there are.
pub(super) struct EarlyReductions(Vec<Early>);

impl EarlyReductions {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(EARLY_REDUCTIONS_MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, original: &DuplicateKey) -> Option<Early> {
        let place = self.0.iter().position(|early| early.original == *original)?;
        Some(self.0.swap_remove(place))
    }
}

impl Shard {
    /// A partial reversal of what stands. It can be reversed whole later.
    pub(super) fn reduce(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (key, original, left): (&DuplicateKey, &OriginalRecord, AmountMinor),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        if left.0 >= original.amount_minor {
            return Err(Reason::InvalidAmount);
        }
        // A void is reversed whole or not at all, as it takes back all or nothing.
        if original.voids.is_some() {
            return Err(Reason::OriginalAmount);
        }
        // Room first: nothing is undone that cannot be owed.
        if !self.saf.has_room(self.pending.len() + 1) {
            return Err(Reason::SafFull);
        }
        let owed = self.make_less(now, incoming, (key, original, left), outbox)?;
        self.acknowledge(now, incoming, staged, (Reply::Accept, Counter::Reduced), outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }

    /// So much is taken back, and the issuer is owed the message.
    fn make_less(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (key, original, left): (&DuplicateKey, &OriginalRecord, AmountMinor),
        outbox: &mut Outbox,
    ) -> Result<Option<u32>, Reason> {
        let less = original.amount_minor.saturating_sub(left.0);
        // What was reserved in another currency stays whole: against the card.
        let same = original.reservation.amount_minor() == original.amount_minor;
        let undone = Undone {
            key: *key,
            card: original.card,
            reservation: original.reservation,
            response_code: original.response_code,
            amount_minor: left.0,
            less_minor: if same { less } else { 0 },
            entry: original.taken_back(incoming.connection.acquirer, less),
        };
        self.commit(now, Change::Undone(undone), outbox);
        self.counters.add(Counter::Reduced);
        let whose = (original.issuer, original.card);
        self.store_message(now, incoming, whose, Some(original), outbox)
    }

    /// A partial reversal of what is in flight: accepted, and kept until the issuer answers.
    pub(super) fn reduce_early(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (key, place, left): (&DuplicateKey, u32, AmountMinor),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let asked = self.pending.get(place).map(|request| request.amount);
        if asked.is_none_or(|asked| left >= asked) {
            return Err(Reason::InvalidAmount);
        }
        if self.pending.get(place).is_some_and(|request| request.void_of.is_some()) {
            return Err(Reason::OriginalAmount);
        }
        let reductions = &self.reductions.0;
        let is_known = reductions.iter().any(|early| early.original == *key);
        // Its sender asks again, when the original has been answered.
        if is_known || reductions.len() >= EARLY_REDUCTIONS_MAX {
            return Err(Reason::OriginalNotFound);
        }
        let (view, fields) = (&incoming.view, incoming.profile.dialect.kept);
        let out = &mut self.scratch.bytes[..];
        let message = respond(view, view.mti(), fields.minus(MACS_AND_NUMBERS).with(11), &[], out);
        let message = message.ok().and_then(|bytes| self.scratch.bytes.get(..bytes));
        let kept = message.and_then(|message| self.kept.store(&[], message));
        let early = Early {
            original: *key,
            left,
            connection: incoming.connection,
            kept: kept.ok_or(Reason::PendingFull)?,
        };
        self.reductions.0.push(early);
        let what = Counter::ReducedInFlight;
        self.counters.add(what);
        self.acknowledge(now, incoming, staged, (Reply::Accept, what), outbox);
        Ok(())
    }

    /// The original of a partial reversal was approved: it is made less now.
    #[cold]
    pub(super) fn apply_early(&mut self, now: Now, key: &DuplicateKey, outbox: &mut Outbox) {
        let Some(early) = self.reductions.take(key) else { return };
        let (mut copy, mut table) = ([0; FRAME_BYTES_MAX], FieldTable::default());
        let message = self.kept.get(early.kept);
        let Some(room) = copy.get_mut(..message.len()) else { return };
        room.copy_from_slice(message);
        self.kept.free(early.kept);
        let Some(profile) = self.profile(early.connection) else { return };
        let Ok(view) = profile.dialect.parse(room, &mut table) else { return };
        let connection = early.connection;
        let incoming = Incoming { view, header: &[], connection, profile: &profile };
        // A part that is less than what stands, however much was approved.
        let original = self.original(key).filter(|it| early.left.0 < it.amount_minor);
        if let Some(original) = original
            && let Ok(Some(place)) =
                self.make_less(now, &incoming, (key, &original, early.left), outbox)
        {
            self.send_owed(now, place, outbox);
        }
    }

    /// The original of a partial reversal has come to nothing.
    #[cold]
    pub(super) fn drop_early(&mut self, key: &DuplicateKey) {
        if let Some(early) = self.reductions.take(key) {
            self.kept.free(early.kept);
        }
    }
}

/// DE 95: what of the original stands, in its first twelve digits; absent: nothing.
pub(super) fn replacement_amount(view: &MessageView<'_>) -> Option<AmountMinor> {
    let digits = view.raw(95)?.get(..12)?;
    core::str::from_utf8(digits).ok()?.parse().ok().map(AmountMinor)
}

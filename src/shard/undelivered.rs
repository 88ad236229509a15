//! Answers that find their connection gone. Another connection of the acquirer on this shard gets
//! them; an approval is brought to the shard of its card, and waits there until its request's time is
//! over for any connection of that acquirer on any shard, which are asked in turn. Then it is taken
//! back: a reversal is owed. A repeat of its request that is answered meanwhile ends the wait.
//!
//! A second copy of an approval, for a repeat, is not taken back, nor is the first one once there is a
//! second: the acquirer may have got the other, and reverses what it never got an answer to.
//!
//! Only a few wait at a time; what is more is taken back at once. Not durable: after a crash an
//! approval that nobody got stands until its acquirer repeats or reverses it, as one that was lost on
//! its way does.

use super::authorization::{Event, step};
use super::delivery::copy_in;
use super::duplicate::{DuplicateKey, OriginalRecord, OriginalState};
use super::kept::KeptRef;
use super::outcomes::Note;
use super::reversal_reason::ReversalReason;
use super::{Action, ConnectionId, Counter, Incoming, MeshKind, Now, Outbox, Shard, ShardId};
use crate::config::AcquirerConfig;
use crate::limits::{FRAME_BYTES_MAX, UNDELIVERED_MAX};
use tapswitch_protocol::{FrameStep, MessageView, Pan, ResponseCode};

/// Between two rounds over the shards.
const ROUND_NS: u64 = 100_000_000;

/// An approval that waits.
struct Entry {
    /// Where it was to go.
    connection: ConnectionId,
    key: DuplicateKey,
    frame: KeptRef,
    until_ns: u64,
    /// Which shard is asked next.
    ask: u8,
    /// A shard has been asked and has not answered.
    is_offered: bool,
    /// Nobody needs it any more.
    is_over: bool,
    /// Not this shard's to keep: shards from `ask` up to this one get it, one after another.
    errand_end: Option<u8>,
}

/// Those that wait, at fixed places.
pub(super) struct Undelivered {
    entries: Vec<Option<Entry>>,
    waiting: usize,
}

impl Undelivered {
    pub(super) fn new() -> Self {
        Self { entries: (0..UNDELIVERED_MAX).map(|_| None).collect(), waiting: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.waiting
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut Entry> {
        self.entries.get_mut(place as usize).and_then(Option::as_mut)
    }
}

/// Who knows what an answer was to.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// The shard that gave the answer.
    Of(ShardId),
    /// The shard of the card, if the answer names one; else whoever knows it.
    Unknown,
    /// This shard, if any: another one says so, or asks all.
    Here,
}

impl Shard {
    /// An answer whose connection is gone: another connection of its acquirer gets it; without one,
    /// an approval waits where its card lives, and is taken back in the end.
    pub fn on_undeliverable(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: &[u8],
        outbox: &mut Outbox,
    ) {
        self.redeliver(now, (connection, Home::Unknown), frame, outbox);
    }

    pub(super) fn redeliver(
        &mut self,
        now: Now,
        (connection, home): (ConnectionId, Home),
        frame: &[u8],
        outbox: &mut Outbox,
    ) {
        // All shards are asked for the home of an answer that names no card, or a token: the others must not
        // hand it on as well.
        if matches!(home, Home::Here) && !self.is_home_of(connection, frame) {
            return;
        }
        if self.give_to_sibling(connection, frame, outbox) {
            return;
        }
        self.with_answer(connection, frame, |shard, incoming| {
            shard.bring_home(now, incoming, (frame, home), outbox);
        });
    }

    /// Whether an answer that another shard brings here is about a card of this one, or about something
    /// that is remembered here.
    fn is_home_of(&mut self, connection: ConnectionId, frame: &[u8]) -> bool {
        let mut is_home = false;
        self.with_answer(connection, frame, |shard, incoming| {
            is_home = shard.named_card(&incoming.view).is_some()
                || shard.original(&shard.answered_key(incoming)).is_some();
        });
        is_home
    }

    /// The card that an answer names; a token does not say on which shard its card is.
    fn named_card(&self, view: &MessageView<'_>) -> Option<Pan> {
        view.pan().ok().filter(|pan| self.wallet.token_of(pan).is_none())
    }

    fn give_to_sibling(&mut self, of: ConnectionId, frame: &[u8], outbox: &mut Outbox) -> bool {
        let Some(sibling) = self.connections.sibling(of) else { return false };
        self.counters.add(Counter::Redelivered);
        let bytes = copy_in(frame, outbox);
        // It may not have left before: then its record is of this very moment.
        outbox.push_gated(Action::Respond { connection: sibling, bytes });
        true
    }

    /// Reads an answer of our own.
    fn with_answer(
        &mut self,
        connection: ConnectionId,
        frame: &[u8],
        what: impl FnOnce(&mut Self, &Incoming<'_>),
    ) {
        let Some(profile) = self.profile(connection) else { return };
        let Ok(FrameStep::Message { header, body, .. }) = profile.framing.next(frame, frame.len())
        else {
            return;
        };
        let mut table = self.scratch.issuer.take().unwrap_or_default();
        if let Ok(view) = profile.dialect.parse(body, &mut table) {
            what(self, &Incoming { view, header, connection, profile: &profile });
        }
        self.scratch.issuer = Some(table);
    }

    /// `incoming` is our own response, which nobody got.
    fn bring_home(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (frame, home): (&[u8], Home),
        outbox: &mut Outbox,
    ) {
        let view = &incoming.view;
        let approved = view.response_code().is_some_and(ResponseCode::is_approval);
        let moves_money = view.processing_code().is_some_and(|code| !code.moves_no_money());
        let is_request = matches!(view.mti().number() / 10 % 100, 11 | 21);
        if !(approved && moves_money && is_request) {
            self.note(now, incoming, Note::only(Counter::UndeliverableOther));
            return self.counters.add(Counter::UndeliverableOther);
        }
        let card = self.named_card(view);
        let owner = match (card, home) {
            (_, Home::Here) => self.id,
            (Some(pan), _) => super::placement::owner(self.cipher.key(&pan), self.shards),
            (None, Home::Of(shard)) => shard,
            (None, Home::Unknown) => self.id,
        };
        if owner != self.id {
            return self.send_home(now, incoming, (frame, owner), outbox);
        }
        let key = self.answered_key(incoming);
        if let Some(original) = self.original(&key) {
            return self.wait_or_take_back(now, incoming, (frame, key, &original), outbox);
        }
        match (card, home) {
            // All shards were asked, and another one knows it.
            (None, Home::Here) => {}
            (None, Home::Unknown) if self.shards > 1 => {
                // At most 64 shards.
                self.keep_errand(now, incoming, (frame, 0, self.shards as u8));
            }
            _ => {
                self.note(now, incoming, Note::only(Counter::UndeliverableLost));
                self.counters.add(Counter::UndeliverableLost);
            }
        }
    }

    fn send_home(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (frame, to): (&[u8], ShardId),
        outbox: &mut Outbox,
    ) {
        if !self.push_home(incoming.connection, (frame, to), outbox) {
            self.keep_errand(now, incoming, (frame, to.0, to.0 + 1));
        }
    }

    /// False: there is no credit for it now.
    fn push_home(
        &mut self,
        connection: ConnectionId,
        (frame, to): (&[u8], ShardId),
        outbox: &mut Outbox,
    ) -> bool {
        if !self.credits.take_reserved(to) {
            return false;
        }
        let (kind, bytes) = (MeshKind::Undeliverable, copy_in(frame, outbox));
        outbox.push(Action::Mesh { to, kind, connection, header_bytes: 0, bytes });
        true
    }

    /// It is brought to these shards one after another, as credits allow.
    fn keep_errand(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (frame, ask, end): (&[u8], u8, u8),
    ) {
        let until_ns = now.mono_ns + incoming.profile.answer_within_ms * 1_000_000;
        let entry = Entry {
            connection: incoming.connection,
            // Nobody answers its request again here.
            key: DuplicateKey([0; 16]),
            frame: KeptRef::NONE,
            until_ns,
            ask,
            is_offered: false,
            is_over: false,
            errand_end: Some(end),
        };
        if !self.keep_entry(now, frame, entry) {
            self.note(now, incoming, Note::only(Counter::UndeliverableLost));
            self.counters.add(Counter::UndeliverableLost);
        }
    }

    /// False: there is no room.
    fn keep_entry(&mut self, now: Now, frame: &[u8], entry: Entry) -> bool {
        let Some(place) = self.undelivered.entries.iter().position(Option::is_none) else {
            return false;
        };
        let Some(frame) = self.kept.store(frame, &[]) else { return false };
        if let Some(empty) = self.undelivered.entries.get_mut(place) {
            *empty = Some(Entry { frame, ..entry });
            self.undelivered.waiting += 1;
        }
        self.deadlines.set(self.undelivered_timer(place as u32), now.mono_ns);
        true
    }

    /// Under which the request of an answer is remembered.
    fn answered_key(&self, incoming: &Incoming<'_>) -> DuplicateKey {
        let view = &incoming.view;
        let class = (view.mti().number() / 100 % 10) as u8;
        let fields = incoming.profile.duplicate_key;
        self.hasher.key(incoming.connection.acquirer, class, fields, view)
    }

    fn wait_or_take_back(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (frame, key, original): (&[u8], DuplicateKey, &OriginalRecord),
        outbox: &mut Outbox,
    ) {
        if self.duplicates.is_answered_again(&key) {
            self.note(now, incoming, Note::only(Counter::UndeliverableOther));
            return self.counters.add(Counter::UndeliverableOther);
        }
        let left_ms = self.left_ms(now, &incoming.view, (incoming.profile, original));
        let stands = original.state == OriginalState::Approved;
        let entry = Entry {
            connection: incoming.connection,
            key,
            frame: KeptRef::NONE,
            until_ns: now.mono_ns + left_ms * 1_000_000,
            ask: 0,
            is_offered: false,
            is_over: false,
            errand_end: None,
        };
        let may_wait = left_ms > 0 && stands && !self.draining;
        if !(may_wait && self.keep_entry(now, frame, entry)) {
            return self.take_back(now, incoming, (&key, original), outbox);
        }
        self.counters.add(Counter::UndeliverableWaits);
        self.note(now, incoming, Note::only(Counter::UndeliverableWaits));
    }

    /// What is left of the time in which the acquirer wants its answer: the forward was made in the
    /// second that the issuer knows.
    fn left_ms(
        &mut self,
        now: Now,
        view: &MessageView<'_>,
        (profile, original): (&AcquirerConfig, &OriginalRecord),
    ) -> u64 {
        const DAY_S: u64 = 86_400;
        let second = |time: u32| {
            let (hour, minute) = (time / 10_000 % 100, time / 100 % 100);
            u64::from((hour * 60 + minute) * 60 + time % 100)
        };
        let is_transit = view.number(18).is_some_and(|mcc| {
            u16::try_from(mcc).is_ok_and(|mcc| profile.transit_mccs.contains(&mcc))
        });
        let within_ms =
            if is_transit { profile.transit_answer_within_ms } else { profile.answer_within_ms };
        let sent = second(original.issuer_transmission_time);
        let age_s = (second(self.legs.transmission_time(now).0) + DAY_S - sent) % DAY_S;
        within_ms.saturating_sub(age_s * 1_000 + now.wall_ms % 1_000)
    }

    fn undelivered_timer(&self, place: u32) -> u32 {
        self.first_owed_timer() + self.saf.capacity() as u32 + place
    }

    /// It is time to look for a connection again, or to give up.
    pub(super) fn on_undelivered_due(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let Some(entry) = self.undelivered.get_mut(place).filter(|entry| !entry.is_offered) else {
            return;
        };
        let (connection, key, kept) = (entry.connection, entry.key, entry.frame);
        let (is_over, errand_end) = (entry.is_over, entry.errand_end);
        let mut copy = [0; FRAME_BYTES_MAX];
        let frame = self.kept.get(kept);
        let Some(bytes) = copy.get_mut(..frame.len()) else { return self.end_wait(place) };
        bytes.copy_from_slice(frame);
        let frame = &*bytes;
        if let Some(end) = errand_end {
            return self.run_errand(now, (place, end), (connection, frame), outbox);
        }
        let original = self.original(&key).filter(|it| it.state == OriginalState::Approved);
        let is_over = is_over || self.duplicates.is_answered_again(&key);
        let Some(original) = original.filter(|_| !is_over) else { return self.end_wait(place) };
        if self.give_to_sibling(connection, frame, outbox) {
            return self.end_wait(place);
        }
        let is_late = self.undelivered.get_mut(place).is_none_or(|it| now.mono_ns >= it.until_ns);
        if is_late || self.draining {
            self.end_wait(place);
            return self.with_answer(connection, frame, |shard, incoming| {
                shard.take_back(now, incoming, (&key, &original), outbox);
            });
        }
        self.offer(now, place, (connection, frame), outbox);
    }

    /// Offers it to the next shard, if that is another one and there is a credit.
    fn offer(
        &mut self,
        now: Now,
        place: u32,
        (connection, frame): (ConnectionId, &[u8]),
        outbox: &mut Outbox,
    ) {
        let ask = self.undelivered.get_mut(place).map_or(0, |entry| entry.ask);
        let to = ShardId(ask);
        if to == self.id || usize::from(ask) >= self.shards || !self.credits.take_reserved(to) {
            return self.ask_next(now, place);
        }
        // Fewer than 256 wait.
        let (kind, header_bytes) = (MeshKind::Offer, place as u8);
        let bytes = copy_in(frame, outbox);
        // An answer leaves this shard when its record is durable, whichever shard hands it out.
        outbox.push_gated(Action::Mesh { to, kind, connection, header_bytes, bytes });
        if let Some(entry) = self.undelivered.get_mut(place) {
            entry.is_offered = true;
        }
    }

    /// On to the next shard: at once, or after a pause when all were asked.
    fn ask_next(&mut self, now: Now, place: u32) {
        let shards = self.shards;
        let Some(entry) = self.undelivered.get_mut(place) else { return };
        entry.ask += 1;
        let is_round_over = usize::from(entry.ask) >= shards;
        if is_round_over {
            entry.ask = 0;
        }
        let wait_ns = if is_round_over && !entry.is_over { ROUND_NS } else { 0 };
        let at_ns = (now.mono_ns + wait_ns).min(entry.until_ns);
        self.deadlines.set(self.undelivered_timer(place), at_ns);
    }

    /// The next shard of an errand gets it.
    fn run_errand(
        &mut self,
        now: Now,
        (place, end): (u32, u8),
        (connection, frame): (ConnectionId, &[u8]),
        outbox: &mut Outbox,
    ) {
        let Some(entry) = self.undelivered.get_mut(place) else { return };
        let (ask, is_late) = (entry.ask, now.mono_ns >= entry.until_ns);
        if ask >= end {
            return self.end_wait(place);
        }
        let to = ShardId(ask);
        let is_done = to == self.id || self.push_home(connection, (frame, to), outbox);
        if !is_done && is_late {
            self.counters.add(Counter::UndeliverableLost);
            return self.end_wait(place);
        }
        if let Some(entry) = self.undelivered.get_mut(place)
            && is_done
        {
            entry.ask += 1;
        }
        let wait_ns = if is_done { 0 } else { ROUND_NS };
        self.deadlines.set(self.undelivered_timer(place), now.mono_ns + wait_ns);
    }

    /// Another shard has an approval for an acquirer, which may have a connection here.
    pub(super) fn on_offer(
        &mut self,
        from: ShardId,
        (connection, place): (ConnectionId, u8),
        frame: &[u8],
        outbox: &mut Outbox,
    ) {
        let is_taken = self.give_to_sibling(connection, frame, outbox);
        let kind = if is_taken { MeshKind::OfferTaken } else { MeshKind::OfferRefused };
        outbox.push(Action::Mesh { to: from, kind, connection, header_bytes: place, bytes: 0..0 });
    }

    /// The other shard's answer to an offer.
    pub(super) fn on_offered(&mut self, now: Now, place: u8, is_taken: bool) {
        let place = u32::from(place);
        let Some(entry) = self.undelivered.get_mut(place) else { return };
        entry.is_offered = false;
        entry.is_over |= is_taken;
        self.ask_next(now, place);
    }

    /// The request is answered again: its first answer need not arrive any more. Whether that one is
    /// still here, and with nobody else.
    #[cold]
    pub(super) fn answered_elsewhere(&mut self, key: &DuplicateKey) -> bool {
        let mut is_here = false;
        let waiting = self.undelivered.entries.iter_mut().flatten();
        for entry in waiting.filter(|entry| entry.key == *key) {
            is_here |= !entry.is_over && !entry.is_offered;
            entry.is_over = true;
        }
        is_here
    }

    fn end_wait(&mut self, place: u32) {
        let entry = self.undelivered.entries.get_mut(place as usize).and_then(Option::take);
        if let Some(entry) = entry {
            self.undelivered.waiting -= 1;
            self.kept.free(entry.frame);
            self.deadlines.cancel(self.undelivered_timer(place));
        }
    }

    /// Nobody got it: the issuer is owed a reversal.
    fn take_back(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (key, original): (&DuplicateKey, &OriginalRecord),
        outbox: &mut Outbox,
    ) {
        if step(original.state.into(), Event::Undeliverable).owe_reversal {
            self.counters.add(Counter::Undeliverable);
            self.note(now, incoming, Note::only(Counter::Undeliverable));
            let whose = (key, incoming.connection.acquirer);
            self.undo_original(now, whose, original, incoming.profile.codes.time_out, outbox);
            let reason = ReversalReason::Undeliverable;
            self.owe_reversal_of(now, incoming, (original, reason), outbox);
        }
    }
}

//! What the shard owes its issuers: reversals of its own making, reversals and advices of acquirers
//! handed on. First recorded, then sent, again and again until acknowledged. Kept without the card's
//! number: DE 2 is written anew, from the card's key, each time it is sent.

use super::delivery::LegNumbers;
use super::duplicate::OriginalRecord;
use super::field_list::{self, StoredFields};
use super::forward::original_mti;
use super::journal_record::{Change, OwedId, OwedMessage};
use super::own_answer::Reason;
use super::pending::PendingRequest;
use super::reversal_reason::ReversalReason;
use super::{
    Action, CardKey, Counter, Incoming, IssuerId, MACS_AND_NUMBERS, Now, Outbox, Shard,
    original_data, saf,
};
use crate::config::AcquirerConfig;
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::{
    Dialect, FieldSet, FieldTable, MessageView, Mti, MtiClass, Stan, TransmissionTime, WireField,
};

/// What a reversal repeats of its original (UnionPay's field list for 0420, public code), as far as
/// it is kept; DE 2 comes from the card's key, DE 7 and 11 are the switch's.
pub(super) const REVERSAL: FieldSet =
    FieldSet::of(&[3, 4, 12, 13, 18, 19, 22, 23, 25, 32, 33, 37, 38, 41, 42, 43, 49, 53, 60, 100]);
/// Wait before another look while the issuer's link is down.
const LINK_DOWN_MS: u64 = 30_000;
/// Wait before another try when no trace number is free.
const NO_STAN_MS: u64 = 1_000;

impl Shard {
    /// Timers of what is owed follow those of pending requests.
    pub(super) fn owed_place(&self, timer: u32) -> Option<u32> {
        timer.checked_sub(self.first_owed_timer())
    }

    pub(super) fn first_owed_timer(&self) -> u32 {
        u32::try_from(self.pending.capacity()).unwrap_or(u32::MAX)
    }

    /// Stores our own 0420 for a request that was forwarded. Room was kept for it.
    pub(super) fn store_reversal(
        &mut self,
        now: Now,
        request: &PendingRequest,
        (profile, reason): (&AcquirerConfig, ReversalReason),
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let mut table = FieldTable::default();
        let mut kept = [0; FRAME_BYTES_MAX];
        let message = self.kept.get(request.kept).get(usize::from(request.header_bytes)..)?;
        let message = copied(message, &mut kept)?;
        let view = profile.dialect.parse(message, &mut table).ok()?;
        let de90 = original_data::write(request.mti, request.stan, request.sent, &view);
        let whose = (request.issuer, request.origin.acquirer, request.card);
        let message = (Mti::REVERSAL_ADVICE, &view, REVERSAL);
        self.store_owed(now, whose, message, Written::by_switch(&de90, reason), outbox)
    }

    /// Stores the reversal of an approval that was answered, made from our answer's fields.
    pub(super) fn owe_reversal_of(
        &mut self,
        now: Now,
        answer: &Incoming<'_>,
        (original, reason): (&OriginalRecord, ReversalReason),
        outbox: &mut Outbox,
    ) {
        let request_mti = Mti::from_number(answer.view.mti().number() - 10);
        let mti = request_mti.unwrap_or(Mti::FINANCIAL_REQUEST);
        let numbers =
            (Stan(original.issuer_stan), TransmissionTime(original.issuer_transmission_time));
        let de90 = original_data::write(mti, numbers.0, numbers.1, &answer.view);
        let whose = (original.issuer, answer.connection.acquirer, original.card);
        let message = (Mti::REVERSAL_ADVICE, &answer.view, REVERSAL);
        let written = Written::by_switch(&de90, reason);
        if let Some(place) = self.store_owed(now, whose, message, written, outbox) {
            self.send_owed(now, place, outbox);
        }
    }

    /// Stores an acquirer's own reversal or advice for the issuer; DE 90 names the original by its
    /// issuer-leg numbers where they are known. Returns what to send once the answer has left.
    pub(super) fn store_message(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (issuer, card): (IssuerId, CardKey),
        original: Option<&OriginalRecord>,
        outbox: &mut Outbox,
    ) -> Result<Option<u32>, Reason> {
        if !self.saf.has_room(self.pending.len()) {
            return Err(Reason::SafFull);
        }
        let view = &incoming.view;
        let de90 = original.map(|record| {
            let numbers =
                (Stan(record.issuer_stan), TransmissionTime(record.issuer_transmission_time));
            original_data::write(original_mti(incoming), numbers.0, numbers.1, view)
        });
        // Issuers are told of reversals by advice, whatever the acquirer sent: it may be repeated.
        let mti = match view.mti().class() {
            MtiClass::Reversal => Mti::REVERSAL_ADVICE,
            _ => view.mti().without_repeat(),
        };
        let fields = incoming.profile.dialect.kept.minus(MACS_AND_NUMBERS);
        let whose = (issuer, incoming.connection.acquirer, card);
        let written = Written { de90: de90.as_ref(), reason: None, chip: None };
        Ok(self.store_owed(now, whose, (mti, view, fields), written, outbox))
    }

    /// Stores a notice for the issuer, with what of its chip data may be kept, ready for the wire.
    pub(super) fn store_notice(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (issuer, card): (IssuerId, CardKey),
        (original, chip): (Option<&OriginalRecord>, Option<&[u8]>),
        outbox: &mut Outbox,
    ) -> Result<Option<u32>, Reason> {
        if !self.saf.has_room(self.pending.len()) {
            return Err(Reason::SafFull);
        }
        let view = &incoming.view;
        let de90 = original.map(|record| {
            let numbers =
                (Stan(record.issuer_stan), TransmissionTime(record.issuer_transmission_time));
            original_data::write(original_mti(incoming), numbers.0, numbers.1, view)
        });
        let fields = incoming.profile.dialect.kept.minus(MACS_AND_NUMBERS).with(39).with(70);
        let whose = (issuer, incoming.connection.acquirer, card);
        let written = Written { de90: de90.as_ref(), reason: None, chip };
        Ok(self.store_owed(
            now,
            whose,
            (view.mti().without_repeat(), view, fields),
            written,
            outbox,
        ))
    }

    pub(super) fn store_owed(
        &mut self,
        now: Now,
        (issuer, acquirer, card): (IssuerId, super::AcquirerId, CardKey),
        (mti, view, fields): (Mti, &MessageView<'_>, FieldSet),
        Written { de90, reason, chip }: Written<'_>,
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let id = self.saf.next_id();
        let id = id.expect("Invariant: room is kept for every message that can be owed");
        let mut list = [0; FRAME_BYTES_MAX];
        let picked = if de90.is_some() { fields.without(90) } else { fields };
        let mut bytes = StoredFields::of(view, picked).write(&mut list)?;
        if let Some(wire) = de90 {
            bytes += field_list::write_field(WireField { field: 90, wire }, &mut list[bytes..])?;
        }
        if let Some(wire) = chip {
            bytes += field_list::write_field(WireField { field: 55, wire }, &mut list[bytes..])?;
        }
        let profile = self.profiles.get(usize::from(acquirer.0));
        if let (Some(reason), Some(profile)) = (reason, profile) {
            reason.write(profile.dialect, &mut list[..bytes]);
        }
        let fields = StoredFields::Listed(&list[..bytes]);
        // Taken now, so that a reversal of an advice can name it before it has been sent.
        let stan = self.legs.take_owed_stan(now, issuer, id.place);
        let sent = stan.map(|stan| (stan, self.legs.transmission_time(now)));
        let message = OwedMessage { id, acquirer, issuer, card, mti, sent, fields };
        let pushed = self.commit(now, Change::Owed(message), outbox);
        self.counters.add(Counter::OwedPushed);
        pushed.and_then(|(place, is_oldest)| is_oldest.then_some(place))
    }

    /// Sends an entry for the first time, with the numbers that it has or gets now, and keeps.
    pub(super) fn send_owed(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let Some(owed) = self.saf.get_mut(place) else { return };
        if owed.sent.is_some() {
            return self.transmit(now, place, outbox);
        }
        let (issuer, number) = (owed.issuer, owed.number);
        let Some(stan) = self.legs.take_owed_stan(now, issuer, place) else {
            let timer = self.first_owed_timer() + place;
            return self.deadlines.set(timer, now.mono_ns + NO_STAN_MS * 1_000_000);
        };
        let time = self.legs.transmission_time(now);
        let id = OwedId { number, place };
        self.commit(now, Change::OwedSent { id, stan, time }, outbox);
        self.transmit(now, place, outbox);
    }

    /// After a restart: an entry that was sent before keeps its numbers unless another has them.
    pub(super) fn resume_owed(&mut self, place: u32) {
        let Some(owed) = self.saf.get_mut(place) else { return };
        let issuer = owed.issuer;
        if let Some((stan, _)) = owed.sent
            && !self.legs.retake_stan(issuer, stan, place)
            && let Some(owed) = self.saf.get_mut(place)
        {
            owed.sent = None;
        } else if let Some(owed) = self.saf.get_mut(place)
            && owed.sent.is_some()
        {
            // It may have been sent: then this is a repeat.
            owed.tries = 1;
        }
    }

    /// An issuer can be told again what it is owed, at its pace.
    pub(super) fn catch_up(&mut self, now: Now, issuer: IssuerId) {
        let first_timer = self.first_owed_timer();
        let Self { saf, deadlines, .. } = self;
        saf.catch_up(issuer, now.mono_ns, |place, at_ns| deadlines.set(first_timer + place, at_ns));
        if self.legs.reconciles(issuer) {
            self.look_at_totals(now);
        }
    }

    /// The entry before it is done: it is sent, or waits for its turn after an outage.
    pub(super) fn send_next(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let at_ns = self.saf.turn_ns(place, now.mono_ns);
        if at_ns > now.mono_ns {
            let timer = self.first_owed_timer() + place;
            return self.deadlines.set(timer, at_ns);
        }
        self.send_owed(now, place, outbox);
    }

    /// The resend timer of an entry is over.
    pub(super) fn resend(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        self.send_owed(now, place, outbox);
    }

    /// Sends the stored message, the same each time (a repeat may say so in its MTI), and arms the
    /// timer of the next try.
    fn transmit(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let timer = self.first_owed_timer() + place;
        let Some(owed) = self.saf.get_mut(place) else { return };
        if self.legs.is_down(owed.issuer) {
            // Not a try: when the link is made again, it is told at once what is owed.
            return self.deadlines.set(timer, now.mono_ns + LINK_DOWN_MS * 1_000_000);
        }
        if owed.tries > 0 {
            self.counters.add(Counter::OwedResent);
        }
        owed.tries += 1;
        let [low, _] = owed.card.words();
        let wait_ms = saf::resend_after_ms(owed.tries, low);
        let (issuer, acquirer, mti, card) = (owed.issuer, owed.acquirer, owed.mti, owed.card);
        let is_repeat = owed.tries > 1;
        let Some((stan, time)) = owed.sent else { return };
        let list = self.kept.get(owed.fields);
        self.deadlines.set(timer, now.mono_ns + wait_ms * 1_000_000);
        let Some(profile) = self.profiles.get(usize::from(acquirer.0)) else { return };
        let marks = self.saf.marks_repeats(issuer);
        let marks = marks.unwrap_or_else(|| profile.dialect.name() != Dialect::cups().name());
        let mti = if is_repeat && marks { mti.repeated() } else { mti };
        let numbers = LegNumbers::new(time.0, stan.0);
        let own = [numbers.time(), numbers.stan()];
        let pan = self.cipher.pan(&card);
        let pan = pan.as_ref().map(tapswitch_protocol::Pan::digits);
        let room = outbox.room();
        let parts = (list, &own[..]);
        if let Some(bytes) = field_list::write_message(profile.dialect, mti, parts, pan, room) {
            let bytes = outbox.claim(bytes);
            let link = self.legs.link_for(issuer, stan).number;
            outbox.push_gated(Action::Forward { issuer, link, acquirer, bytes });
        }
    }
}

/// What of a stored message the switch writes itself.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// Which message it is about, by its issuer-leg numbers.
    de90: Option<&'a [u8; original_data::DIGITS]>,
    /// Why, in a reversal of its own.
    reason: Option<ReversalReason>,
    /// DE 55 of a notice.
    chip: Option<&'a [u8]>,
}

impl<'a> Written<'a> {
    /// Nothing.
    pub(super) const NONE: Self = Self { de90: None, reason: None, chip: None };

    /// A reversal of the switch's own.
    pub(super) const fn by_switch(
        de90: &'a [u8; original_data::DIGITS],
        reason: ReversalReason,
    ) -> Self {
        Self { de90: Some(de90), reason: Some(reason), chip: None }
    }
}

/// A copy that borrows nothing of the shard.
fn copied<'a>(bytes: &[u8], room: &'a mut [u8; FRAME_BYTES_MAX]) -> Option<&'a [u8]> {
    let room = room.get_mut(..bytes.len())?;
    room.copy_from_slice(bytes);
    Some(room)
}

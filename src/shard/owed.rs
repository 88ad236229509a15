//! What the shard owes its issuers: reversals of its own making, reversals and advices of acquirers
//! handed on. First stored, then sent, again and again until acknowledged.

use super::delivery::{LegNumbers, copy_in, patch_numbers};
use super::duplicate::OriginalRecord;
use super::forward::original_mti;
use super::issuer_link::Waiting;
use super::kept::KeptRef;
use super::own_answer::Reason;
use super::pending::PendingRequest;
use super::{Action, CardKey, Counter, Incoming, IssuerId, Now, Outbox, Shard, original_data, saf};
use crate::config::AcquirerConfig;
use tapswitch_protocol::pan::PAN_DIGITS_MAX;
use tapswitch_protocol::{
    FieldSet, FieldTable, MessageView, Mti, MtiClass, Pan, Stan, TransmissionTime, WireField, relay,
};

/// What a reversal repeats of its original (UnionPay's field list for 0420, public code), as far as
/// it is kept.
const REVERSAL: FieldSet = FieldSet::of(&[
    2, 3, 4, 7, 11, 12, 13, 18, 19, 22, 23, 25, 32, 33, 37, 38, 41, 42, 43, 49, 53, 60, 100,
]);
/// Placeholders until the message is first sent.
const NO_TIME: WireField<'static> = WireField { field: 7, wire: b"0000000000" };
const NO_STAN: WireField<'static> = WireField { field: 11, wire: b"000000" };
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
        request: &PendingRequest,
        profile: &AcquirerConfig,
    ) -> Option<u32> {
        let mut table = FieldTable::default();
        let kept = self.kept.get(request.kept);
        let (_, message) = kept.split_at_checked(usize::from(request.header_bytes))?;
        let view = profile.dialect.parse(message, &mut table).ok()?;
        let de90 = original_data::write(request.mti, request.stan, request.sent, &view);
        let out = &mut self.scratch.bytes[..];
        let bytes = write_reversal(&view, None, &de90, out)?;
        let message = self.kept.store(&[], self.scratch.bytes.get(..bytes)?)?;
        self.store_owed(request.issuer, (request.origin.acquirer, request.card), message)
    }

    /// Stores the reversal of an approval that was answered, made from our answer's fields.
    pub(super) fn owe_reversal_of(
        &mut self,
        now: Now,
        answer: &Incoming<'_>,
        original: &OriginalRecord,
        outbox: &mut Outbox,
    ) {
        let request_mti = Mti::from_number(answer.view.mti().number() - 10);
        let mti = request_mti.unwrap_or(Mti::FINANCIAL_REQUEST);
        let numbers =
            (Stan(original.issuer_stan), TransmissionTime(original.issuer_transmission_time));
        let de90 = original_data::write(mti, numbers.0, numbers.1, &answer.view);
        let pan = if answer.view.has(2) { None } else { self.cipher.pan(&original.card) };
        let out = &mut self.scratch.bytes[..];
        let Some(bytes) = write_reversal(&answer.view, pan.as_ref(), &de90, out) else { return };
        let Some(message) = self.kept.store(&[], &self.scratch.bytes[..bytes]) else { return };
        let whose = (answer.connection.acquirer, original.card);
        if let Some(place) = self.store_owed(original.issuer, whose, message) {
            self.send_owed(now, place, outbox);
        }
    }

    /// Stores an acquirer's own reversal or advice for the issuer; DE 90 names the original by its
    /// issuer-leg numbers where they are known. Returns what to send once the answer has left.
    pub(super) fn store_message(
        &mut self,
        incoming: &Incoming<'_>,
        (issuer, card): (IssuerId, CardKey),
        original: Option<&OriginalRecord>,
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
        let de90 = de90.as_ref().map(|digits| WireField { field: 90, wire: digits });
        let all = [NO_TIME, NO_STAN, de90.unwrap_or(NO_STAN)];
        let own = if de90.is_some() { &all[..] } else { &all[..2] };
        let fields = incoming.profile.dialect.kept;
        // Issuers are told of reversals by advice, whatever the acquirer sent: it may be repeated.
        let mti = match view.mti().class() {
            MtiClass::Reversal => Mti::REVERSAL_ADVICE,
            _ => view.mti().without_repeat(),
        };
        let out = &mut self.scratch.bytes[..];
        let bytes = relay(mti, (view, fields), (view, FieldSet::EMPTY), own, out)
            .map_err(|_| Reason::Format(0))?;
        let bytes = self.scratch.bytes.get(..bytes).unwrap_or_default();
        let message = self.kept.store(&[], bytes).ok_or(Reason::SafFull)?;
        Ok(self.store_owed(issuer, (incoming.connection.acquirer, card), message))
    }

    fn store_owed(
        &mut self,
        issuer: IssuerId,
        (acquirer, card): (super::AcquirerId, CardKey),
        message: KeptRef,
    ) -> Option<u32> {
        let pushed = self.saf.push(issuer, acquirer, card, message);
        assert!(pushed.is_some(), "Invariant: room is kept for every reversal that can be owed");
        self.counters.add(Counter::OwedPushed);
        pushed.and_then(|(place, is_oldest)| is_oldest.then_some(place))
    }

    /// Sends an entry for the first time: takes its number, writes it into the stored message.
    pub(super) fn send_owed(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let Some(owed) = self.saf.get_mut(place) else { return };
        let (issuer, acquirer, message) = (owed.issuer, owed.acquirer, owed.message);
        let Some(stan) = self.legs.take_stan(now, issuer, Waiting::Owed(place)) else {
            let timer = self.first_owed_timer() + place;
            return self.deadlines.set(timer, now.mono_ns + NO_STAN_MS * 1_000_000);
        };
        let time = self.legs.transmission_time(now);
        if let Some(owed) = self.saf.get_mut(place) {
            owed.sent = Some((stan, time));
        }
        if let Some(profile) = self.profiles.get(usize::from(acquirer.0)) {
            let mut table = self.scratch.kept.take().unwrap_or_default();
            let bytes = self.kept.get(message);
            let copy = self.scratch.bytes.get_mut(..bytes.len()).unwrap_or_default();
            copy.copy_from_slice(bytes);
            if let Ok(view) = profile.dialect.parse(bytes, &mut table) {
                patch_numbers(&view, &LegNumbers::new(time.0, stan.0), copy);
            }
            self.scratch.kept = Some(table);
            let bytes = self.kept.get(message).len();
            self.kept.patch(message, self.scratch.bytes.get(..bytes).unwrap_or_default());
        }
        self.transmit(now, place, outbox);
    }

    /// The resend timer of an entry is over.
    pub(super) fn resend(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        match self.saf.get_mut(place).map(|owed| owed.sent) {
            Some(Some(_)) => self.transmit(now, place, outbox),
            Some(None) => self.send_owed(now, place, outbox),
            None => {}
        }
    }

    /// Sends the stored message as it is and arms the timer of the next try.
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
        let (issuer, acquirer) = (owed.issuer, owed.acquirer);
        let bytes = copy_in(self.kept.get(owed.message), outbox);
        self.deadlines.set(timer, now.mono_ns + wait_ms * 1_000_000);
        outbox.push(Action::Forward { issuer, acquirer, bytes });
    }

    /// The issuer has it: 0430 or 0230, whatever its code; the next of the card may go.
    pub(super) fn on_acknowledgement(
        &mut self,
        now: Now,
        (issuer, stan): (IssuerId, Stan),
        place: u32,
        answer: &MessageView<'_>,
        outbox: &mut Outbox,
    ) {
        let sent = self.saf.get_mut(place).and_then(|owed| owed.sent);
        if sent.map(|(_, time)| time) != answer.transmission_time() {
            return self.counters.add(Counter::Unmatched);
        }
        let Some((owed, next)) = self.saf.remove(place) else { return };
        self.deadlines.cancel(self.first_owed_timer() + place);
        self.legs.release_stan(issuer, stan);
        self.kept.free(owed.message);
        self.counters.add(Counter::OwedDone);
        if let Some(next) = next {
            self.send_owed(now, next, outbox);
        }
    }
}

/// A 0420 with what it repeats of `view`, this DE 90, and this DE 2 where `view` has none.
fn write_reversal(
    view: &MessageView<'_>,
    pan: Option<&Pan>,
    de90: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    // DE 2 with its two-digit length, as every dialect that is served writes it.
    let mut de2 = [0; 2 + PAN_DIGITS_MAX];
    let mut de2_bytes = 0;
    if let Some(digits) = pan.map(Pan::digits) {
        de2_bytes = 2 + digits.len();
        de2[..2]
            .copy_from_slice(&[b'0' + (digits.len() / 10) as u8, b'0' + (digits.len() % 10) as u8]);
        de2.get_mut(2..de2_bytes)?.copy_from_slice(digits);
    }
    let de2 = WireField { field: 2, wire: de2.get(..de2_bytes)? };
    let all = [de2, NO_TIME, NO_STAN, WireField { field: 90, wire: de90 }];
    let own = if pan.is_some() { &all[..] } else { &all[1..] };
    relay(Mti::REVERSAL_ADVICE, (view, REVERSAL), (view, FieldSet::EMPTY), own, out).ok()
}

//! The issuer's side: its answers, and the silence after which its time is over.

use super::authorization::{Event, Hold, State, Step, step};
use super::delivery::{Gate, write_frame};
use super::duplicate::{OriginalKey, OriginalRecord, OriginalState};
use super::issuer_link::Waiting;
use super::journal_record::{Answered, Change, Settlement};
use super::outcomes::Note;
use super::pending::PendingRequest;
use super::remembered::Additions;
use super::reversal_reason::ReversalReason;
use super::time_buckets::bucket_of;
use super::totals::{Entry, Sort};
use super::{AcquirerId, Counter, IssuerId, LinkId, Now, Outbox, Shard};
use crate::config::AcquirerConfig;
use crate::limits::FRAME_BYTES_MAX;
use std::rc::Rc;
use tapswitch_protocol::{
    AmountMinor, Dialect, FieldSet, FieldTable, MessageView, MtiClass, ProcessingCode,
    ResponseCode, WireField, relay,
};

impl Shard {
    /// A message from an issuer, in the dialect of this acquirer: the one whose request it answers,
    /// or another that speaks the same.
    #[inline]
    pub fn on_issuer_response(
        &mut self,
        now: Now,
        link: impl Into<LinkId>,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        let link = link.into();
        self.batch_began_ns = now.mono_ns;
        self.keep_date(now, outbox);
        let Some(profile) = self.profiles.get(usize::from(acquirer.0)).cloned() else { return };
        let mut table = self.scratch.issuer.take().unwrap_or_default();
        let error = profile.dialect.parse(body, &mut table).err();
        if let Some(view) = table.view(profile.dialect, body) {
            if !self.take_from_link(now, link, (&view, error.is_none()), outbox) {
                let whose = (link.issuer, acquirer);
                self.match_answer(now, whose, (&view, error.is_none()), outbox);
            }
        } else {
            self.counters.add(Counter::Unmatched);
        }
        self.scratch.issuer = Some(table);
    }

    fn match_answer(
        &mut self,
        now: Now,
        (issuer, acquirer): (IssuerId, AcquirerId),
        (view, is_well_formed): (&MessageView<'_>, bool),
        outbox: &mut Outbox,
    ) {
        let Some(stan) = view.stan().filter(|_| !view.mti().expects_response()) else {
            return self.counters.add(Counter::Unmatched);
        };
        match self.legs.waiting(issuer, stan) {
            Some(Waiting::Request(place)) => {
                let sent = self.pending.get(place).map(|request| request.sent);
                if is_well_formed && sent != view.transmission_time() {
                    // The number is in use again: this answers an earlier request.
                    self.note_late(now, (issuer, acquirer), view);
                    return self.counters.add(Counter::Late);
                }
                self.on_answer(now, place, (view, is_well_formed), outbox);
            }
            Some(Waiting::Owed(place)) if is_well_formed => {
                self.on_acknowledgement(now, (issuer, acquirer, stan), place, view, outbox);
            }
            Some(Waiting::Owed(_)) => self.counters.add(Counter::Unmatched),
            None if self.legs.is_quarantined(issuer, stan) => {
                self.note_late(now, (issuer, acquirer), view);
                self.counters.add(Counter::Late);
            }
            None => self.count_unmatched(issuer, stan, view),
        }
    }

    /// The answer to the request at `place`.
    fn on_answer(
        &mut self,
        now: Now,
        place: u32,
        (answer, is_well_formed): (&MessageView<'_>, bool),
        outbox: &mut Outbox,
    ) {
        let Some(request) = self.pending.remove(place) else { return };
        // Of several acquirers with one dialect the request's own is answered.
        let profile = Rc::clone(&request.profile);
        // Remembered at the end, when what was fetched for its request is long gone.
        self.duplicates.prefetch(&request.key);
        self.deadlines.cancel(place);
        self.legs.release_stan(request.issuer, request.stan);
        self.on_voice(request.issuer);
        let mut table = self.scratch.kept.take().unwrap_or_default();
        let kept = self.kept.get(request.kept);
        let parsed = kept
            .split_at_checked(usize::from(request.header_bytes))
            // It was read and judged as a request; what is kept of that is as it was.
            .and_then(|(_, message)| profile.dialect.parse_again(message, &mut table).ok())
            .map(|kept| {
                let is_card = || self.is_card_of(&request, &kept, answer);
                let code =
                    if is_well_formed { judge(&request, (&kept, answer), is_card) } else { None };
                let is_partial = code == Some(ResponseCode::PARTIAL_APPROVAL);
                let is_void = request.void_of.is_some();
                (code, is_partial && (is_void || !takes_partial_approvals(&kept)))
            });
        let (code, is_unwanted) = parsed.unwrap_or_default();
        if is_unwanted {
            self.refuse_partial(now, request, outbox);
            self.scratch.kept = Some(table);
            return;
        }
        let event = match code {
            Some(code) if code.is_approval() => Event::IssuerApproves,
            Some(_) => Event::IssuerDeclines,
            None => Event::IssuerGarbles,
        };
        let step = step(State::InFlight, event);
        match code {
            Some(code) => {
                let judged = Judged { request, code, answer, table: &table };
                self.relay_answer(now, judged, step, &profile, outbox);
            }
            None => {
                self.counters.add(Counter::MisEchoed);
                let end = Ending::of(step, profile.codes.mis_echoed, Counter::MisEchoed);
                self.end_unanswered(now, request, end, outbox);
            }
        }
        self.scratch.kept = Some(table);
    }

    /// Whether an answer is about the card of its request, if it names one.
    fn is_card_of(
        &self,
        request: &PendingRequest,
        kept: &MessageView<'_>,
        answer: &MessageView<'_>,
    ) -> bool {
        if !answer.has(2) {
            return true;
        }
        if request.is_token {
            // What is kept has the token.
            return answer.pan().is_ok_and(|pan| self.cipher.key(&pan) == request.card);
        }
        answer.raw(2) == kept.raw(2)
    }

    /// A part was approved, which the acquirer did not say that it can do: it is told that there are
    /// not enough funds, and the issuer that the part is not wanted.
    #[cold]
    fn refuse_partial(&mut self, now: Now, request: PendingRequest, outbox: &mut Outbox) {
        self.counters.add(Counter::PartialRefused);
        let step = step(State::InFlight, Event::IssuerGarbles);
        let end = Ending::of(step, ResponseCode::INSUFFICIENT_FUNDS, Counter::PartialRefused);
        self.end_unanswered(now, request, end, outbox);
    }

    /// Sends the issuer's answer on, and remembers it.
    fn relay_answer(
        &mut self,
        now: Now,
        judged: Judged<'_>,
        step: Step,
        profile: &AcquirerConfig,
        outbox: &mut Outbox,
    ) {
        let Judged { mut request, code, answer, table } = judged;
        let dialect = profile.dialect;
        let adds = additions_of(profile, code);
        let kept = self.kept.get(request.kept);
        let (header, message) =
            kept.split_at_checked(usize::from(request.header_bytes)).unwrap_or_default();
        let view = table.view(dialect, message);
        let date = view.as_ref().filter(|_| !answer.has(15)).and_then(|it| self.date_beside(it));
        let date = date.copied();
        let own = date.as_ref().map(|date| WireField { field: 15, wire: date });
        let own = own.as_slice();
        let frame = view.as_ref().and_then(|view| {
            let echo = if request.pan_from_track { dialect.echo.without(2) } else { dialect.echo };
            write_frame(profile, header, outbox, |out| {
                let mti = request.mti.response()?;
                relay(mti, (view, echo), (answer, adds), own, out).ok()
            })
        });
        if let Some(view) = &view {
            let note = Note::answered(Counter::AnsweredByIssuer, code);
            if !self.outcomes.note_request(now, &request, view, note) {
                self.counters.add(Counter::OutcomeDropped);
            }
        }
        let mut additions = Additions::of(answer, adds);
        if let Some(date) = &date {
            additions.is_cut |= additions.add(15, date).is_none();
        }
        if additions.is_cut {
            self.counters.add(Counter::AnswerCut);
        }
        let settlement = settlement(&request, step, (code, answer.amount()));
        if step.next == State::Approved {
            self.counters.add(Counter::Approved);
            if code == ResponseCode::PARTIAL_APPROVAL {
                request.amount = answer.amount().unwrap_or(request.amount);
            }
        }
        self.remember_answer(now, &request, (step.next, code, settlement), &additions, outbox);
        if step.next == State::Approved {
            if let Some(original) = request.void_of {
                let acquirer = request.origin.acquirer;
                self.undo_voided(now, (original, acquirer, request.card), outbox);
            }
            self.settle_approved_hold(now, &request, (profile, table, answer), outbox);
        }
        self.kept.free(request.kept);
        self.counters.add(Counter::AnsweredByIssuer);
        self.codes.add(code);
        let since_ns = now.mono_ns.saturating_sub(request.arrived_ns);
        let took_ns = since_ns.saturating_sub(request.before_ns);
        let bucket = bucket_of(took_ns);
        self.issuer_times.record(request.issuer, (bucket, took_ns));
        self.acquirer_times.record_issuer(request.acquirer, (bucket, took_ns));
        self.times.answered(now.mono_ns, request.before_ns, request.acquirer);
        // A decline changes nothing that could be lost.
        let gate = if step.next == State::Approved { Gate::Durable } else { Gate::Open };
        self.deliver(now, request.origin, frame, gate, outbox);
        if !self.reductions.is_empty() {
            match step.next {
                State::Approved => self.apply_early(now, &request.key, outbox),
                _ => self.drop_early(&request.key),
            }
        }
    }

    fn settle_approved_hold(
        &mut self,
        now: Now,
        request: &PendingRequest,
        (profile, table, answer): (&AcquirerConfig, &FieldTable, &MessageView<'_>),
        outbox: &mut Outbox,
    ) {
        if request.completes.is_none() && !request.opens_hold {
            return;
        }
        let mut copy = [0; FRAME_BYTES_MAX];
        let kept = self.kept.get(request.kept).get(usize::from(request.header_bytes)..);
        let kept = kept.unwrap_or_default();
        let Some(message) = copy.get_mut(..kept.len()) else { return };
        message.copy_from_slice(kept);
        if let Some(kept) = table.view(profile.dialect, message) {
            self.settle_hold(now, request, (&kept, answer), outbox);
        }
    }

    fn remember_answer(
        &mut self,
        now: Now,
        request: &PendingRequest,
        (state, code, settlement): (State, ResponseCode, Settlement),
        additions: &Additions,
        outbox: &mut Outbox,
    ) {
        let mut original = record_of(request, state, code);
        if let Some(key) = original.voids.filter(|key| *key != OriginalKey::UNKNOWN) {
            // What is undone already does not stand again with this one's reversal.
            let voided = self.duplicates.original_by(key).map(|stored| stored.record().state);
            original.voids = original.voids.filter(|_| voided == Some(OriginalState::Approved));
        }
        let (key, fingerprint, answer) = (request.key, request.fingerprint, additions.bytes());
        let (original, entry) = (&original, entry_of(request, state));
        let answered = Answered { key, fingerprint, original, settlement, entry, answer };
        self.commit(now, Change::Answered(answered), outbox);
    }

    /// Deadlines that are over. Call again while it returns true: the outbox is full.
    pub fn on_deadline(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.keep_date(now, outbox);
        while outbox.has_room() {
            let Some(id) = self.deadlines.pop_due(now.mono_ns) else { return false };
            if let Some(link) = self.link_of_timer(id) {
                self.on_link_timer(now, link, outbox);
                continue;
            }
            if self.totals_timer() == Some(id) {
                self.on_totals_timer(now, outbox);
                continue;
            }
            if let Some(slot) = self.connection_of_timer(id) {
                self.on_connection_timer(now, slot, outbox);
                continue;
            }
            match self.owed_place(id) {
                Some(place) if place as usize >= self.saf.capacity() => {
                    let place = place - self.saf.capacity() as u32;
                    self.on_undelivered_due(now, place, outbox);
                }
                Some(place) => self.resend(now, place, outbox),
                None => self.on_time_out(now, id, outbox),
            }
        }
        true
    }

    fn on_time_out(&mut self, now: Now, place: u32, outbox: &mut Outbox) {
        let Some(request) = self.pending.remove(place) else { return };
        self.counters.add(Counter::TimedOut);
        self.legs.quarantine_stan(now, request.issuer, request.stan);
        self.on_silence(now, request.issuer);
        let profile = Rc::clone(&request.profile);
        let step = step(State::InFlight, Event::Deadline);
        let end = Ending::of(step, profile.codes.time_out, Counter::TimedOut);
        self.end_unanswered(now, request, end, outbox);
    }

    /// A forward could not be handed over: nothing reached the issuer, so nothing is owed; unless a
    /// process that ended may have forwarded the same request.
    pub fn on_forward_refused(
        &mut self,
        now: Now,
        issuer: IssuerId,
        acquirer: AcquirerId,
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        let Some(profile) = self.profiles.get(usize::from(acquirer.0)).cloned() else { return };
        let mut table = self.scratch.issuer.take().unwrap_or_default();
        let parsed = profile.dialect.parse(body, &mut table).ok();
        let stan = parsed.and_then(|view| view.stan());
        self.scratch.issuer = Some(table);
        let waiting = stan.and_then(|stan| self.legs.waiting(issuer, stan));
        // What is owed is sent again by its timer.
        let Some(Waiting::Request(place)) = waiting else { return };
        let Some(request) = self.pending.remove(place) else { return };
        self.deadlines.cancel(place);
        let is_lost = self.is_kept_lost(now, &request);
        if is_lost {
            self.counters.add(Counter::LostReversed);
            // Its reversal names it by this number.
            self.legs.quarantine_stan(now, issuer, request.stan);
        } else {
            self.legs.release_stan(issuer, request.stan);
        }
        self.counters.add(match self.legs.is_down(issuer) {
            true => Counter::RefusedIssuerDown,
            false => Counter::RefusedIssuerWindow,
        });
        let code = profile.codes.issuer_unavailable;
        let what = Counter::RefusedIssuerWindow;
        let end = Ending { state: State::Declined, code, owe_reversal: is_lost, what };
        self.end_unanswered(now, request, end, outbox);
    }

    /// [`Shard::may_be_lost`], of a request of which only the kept part is left.
    fn is_kept_lost(&self, now: Now, request: &PendingRequest) -> bool {
        let mut table = FieldTable::default();
        let kept = self.kept.get(request.kept);
        let message = kept.get(usize::from(request.header_bytes)..).unwrap_or_default();
        let view = request.profile.dialect.parse(message, &mut table).ok();
        let made = view.and_then(|view| view.transmission_time());
        !request.processing.moves_no_money() && self.may_be_lost(now, request.mti, made)
    }

    /// The request in flight at `place` is answered 98/91 because its acquirer reverses it; what the
    /// issuer is owed is the acquirer's own message. Returns what is known of it.
    pub(super) fn end_reversed(
        &mut self,
        now: Now,
        place: u32,
        outbox: &mut Outbox,
    ) -> Option<OriginalRecord> {
        let request = self.pending.remove(place)?;
        self.deadlines.cancel(place);
        self.legs.quarantine_stan(now, request.issuer, request.stan);
        let key = request.key;
        let code = request.profile.codes.time_out;
        let what = Counter::ReversedInFlight;
        let end = Ending { state: State::Reversed, code, owe_reversal: false, what };
        self.end_unanswered(now, request, end, outbox);
        self.original(&key)
    }

    /// Ends a request that its issuer did not answer properly: the reversal is owed first, then the
    /// answer leaves, then the reversal.
    pub(super) fn end_unanswered(
        &mut self,
        now: Now,
        request: PendingRequest,
        end: Ending,
        outbox: &mut Outbox,
    ) {
        let profile = Rc::clone(&request.profile);
        if !self.reductions.is_empty() {
            self.drop_early(&request.key);
        }
        let settlement = released(&request);
        let outcome = (end.state, end.code, settlement);
        self.remember_answer(now, &request, outcome, &Additions::none(), outbox);
        let owe = end.owe_reversal && !request.processing.moves_no_money();
        let why = (&*profile, end.reason());
        let owed = if owe { self.store_reversal(now, &request, why, outbox) } else { None };
        if self.stand_in_after(now, &request, end, outbox) {
            self.note_kept(now, &request, &profile, Note::only(end.what));
            self.kept.free(request.kept);
            if let Some(place) = owed {
                self.send_owed(now, place, outbox);
            }
            return;
        }
        let frame = self.write_kept_answer(&request, &profile, end.code, outbox);
        self.note_kept(now, &request, &profile, Note::answered(end.what, end.code));
        self.kept.free(request.kept);
        self.counters.add(Counter::AnsweredBySwitch);
        self.codes.add(end.code);
        self.times.answered(now.mono_ns, request.before_ns, request.acquirer);
        self.deliver(now, request.origin, frame, Gate::Durable, outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
    }

    /// Our own answer to a request of which only the kept part is left.
    fn write_kept_answer(
        &mut self,
        request: &PendingRequest,
        profile: &AcquirerConfig,
        code: ResponseCode,
        outbox: &mut Outbox,
    ) -> Option<core::ops::Range<usize>> {
        let mut table = FieldTable::default();
        let kept = self.kept.get(request.kept);
        let (header, message) = kept.split_at_checked(usize::from(request.header_bytes))?;
        let view = profile.dialect.parse(message, &mut table).ok()?;
        let echo = profile.dialect.echo;
        let echo = if request.pan_from_track { echo.without(2) } else { echo };
        let own = [WireField { field: 39, wire: code.bytes() }];
        write_frame(profile, header, outbox, |out| {
            relay(request.mti.response()?, (&view, echo), (&view, FieldSet::EMPTY), &own, out).ok()
        })
    }
}

/// How a request ends without its issuer's answer.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    state: State,
    code: ResponseCode,
    owe_reversal: bool,
    /// What it is counted as.
    what: Counter,
}

impl Ending {
    pub(super) const fn of(step: Step, code: ResponseCode, what: Counter) -> Self {
        Self { state: step.next, code, owe_reversal: step.owe_reversal, what }
    }

    /// Whether the issuer said nothing.
    pub(super) const fn is_silence(self) -> bool {
        matches!(self.what, Counter::TimedOut | Counter::LinkLost)
    }

    /// Whether it never reached its issuer.
    pub(super) const fn is_not_sent(self) -> bool {
        matches!(self.what, Counter::RefusedIssuerWindow)
    }

    /// Why it is reversed, if it is.
    const fn reason(self) -> ReversalReason {
        match self.what {
            Counter::MisEchoed => ReversalReason::Malfunction,
            Counter::PartialRefused => ReversalReason::CannotComplete,
            _ => ReversalReason::NoAnswer,
        }
    }
}

/// What is remembered of a request that has been answered.
fn record_of(request: &PendingRequest, state: State, code: ResponseCode) -> OriginalRecord {
    OriginalRecord {
        state: match state {
            State::Approved => OriginalState::Approved,
            State::Reversed => OriginalState::Reversed,
            State::Unknown | State::InFlight | State::Declined => OriginalState::Declined,
        },
        response_code: *code.bytes(),
        issuer: request.issuer,
        card: request.card,
        amount_minor: request.amount.0,
        issuer_stan: request.stan.0,
        issuer_transmission_time: request.sent.0,
        reservation: request.reservation,
        sort: Entry::sort_of_original(entry_of(request, state).as_ref()),
        voids: voids_of(request, state),
    }
}

/// What an approved void takes back. Not of a cancellation: too little is left of a hold to open it again.
fn voids_of(request: &PendingRequest, state: State) -> Option<OriginalKey> {
    let is_void = request.processing.transaction_type() == ProcessingCode::REFUND_OR_VOID;
    if state != State::Approved || !is_void || request.mti.class() != MtiClass::Financial {
        return None;
    }
    match &request.void_of {
        Some(key) => Some(OriginalKey::of(key)),
        None => (request.sort != Sort::None).then_some(OriginalKey::UNKNOWN),
    }
}

/// What an answered request adds to the totals. A void of a known original adds nothing by itself: that
/// its original is undone does.
fn entry_of(request: &PendingRequest, state: State) -> Option<Entry> {
    if state != State::Approved || request.sort == Sort::None || request.void_of.is_some() {
        return None;
    }
    Some(Entry {
        acquirer: request.origin.acquirer,
        issuer: request.issuer,
        sort: request.sort,
        is_reversal: request.processing.transaction_type() == ProcessingCode::REFUND_OR_VOID,
        amount_minor: request.amount.0,
    })
}

/// What becomes of the limits with the issuer's answer. Of a partial approval the rest is taken
/// back; what was reserved in another currency stays whole: against the card.
fn settlement(
    request: &PendingRequest,
    step: Step,
    (code, amount): (ResponseCode, Option<AmountMinor>),
) -> Settlement {
    if step.hold == Hold::Release {
        return released(request);
    }
    if step.next != State::Approved || (request.reservation.is_empty() && !request.pin) {
        return Settlement::None;
    }
    let reserved = request.reservation.amount_minor();
    let partial = code == ResponseCode::PARTIAL_APPROVAL && reserved == request.amount.0;
    let approved = amount.filter(|_| partial).map_or(reserved, |amount| amount.0);
    Settlement::Post { amount_minor: approved, pin: request.pin }
}

fn released(request: &PendingRequest) -> Settlement {
    if request.reservation.is_empty() { Settlement::None } else { Settlement::Release }
}

/// A request, the answer to it, and the offsets of its kept message.
struct Judged<'a> {
    request: PendingRequest,
    code: ResponseCode,
    answer: &'a MessageView<'a>,
    table: &'a FieldTable,
}

/// What of the issuer's answer goes into ours: DE 4 only when it approves a part.
fn additions_of(profile: &AcquirerConfig, code: ResponseCode) -> FieldSet {
    let adds = profile.dialect.issuer_adds.with(39);
    if code == ResponseCode::PARTIAL_APPROVAL { adds.with(4) } else { adds.without(4) }
}

/// Whether the acquirer can take a part of what it asked for: UnionPay's DE 60.3.4. Where no message
/// can say so, none can.
#[cold]
fn takes_partial_approvals(request: &MessageView<'_>) -> bool {
    const PLACE: usize = 21;
    let has_place = request.dialect().name() == Dialect::cups().name();
    has_place && request.raw(60).and_then(|de60| de60.get(PLACE)) == Some(&b'1')
}

/// The code of an answer that fits its request; `None` when it does not: another type, card,
/// processing code, reference number, a larger amount, or no code.
fn judge(
    request: &PendingRequest,
    (kept, answer): (&MessageView<'_>, &MessageView<'_>),
    is_card: impl FnOnce() -> bool,
) -> Option<ResponseCode> {
    if request.mti.response() != Some(answer.mti()) {
        return None;
    }
    let code = answer.response_code()?;
    let differs = |field: u8| answer.has(field) && answer.raw(field) != kept.raw(field);
    if !is_card() || differs(3) || differs(37) {
        return None;
    }
    let partial = code == ResponseCode::PARTIAL_APPROVAL;
    match answer.amount() {
        Some(amount) if amount == request.amount => Some(code),
        Some(amount) if partial && amount < request.amount => Some(code),
        Some(_) => None,
        None if partial => None,
        None => Some(code),
    }
}

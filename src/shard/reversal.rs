//! Reversals by acquirers (0400, 0420): accepted, recorded, owed to the issuer. An original is
//! undone once, whatever is sent how often. Not here: partial reversals (`partial_reversal`), and those
//! that name no card (`unnamed_reversal`).

use super::authorization::{Event, Hold, Reply, State, step};
use super::delivery::Gate;
use super::duplicate::{DuplicateKey, OriginalRecord, OriginalState, Remembered};
use super::forward::Recalled;
use super::intake::{self, StagedRequest};
use super::journal_record::{Answered, Change, Settlement, Undone};
use super::outcomes::Note;
use super::owed::{REVERSAL, Written};
use super::own_answer::Reason;
use super::partial_reversal::replacement_amount;
use super::remembered::declined;
use super::reversal_reason::ReversalReason;
use super::{AcquirerId, CardKey, Counter, Incoming, IssuerId, Now, Outbox, Shard, original_data};
use tapswitch_protocol::{AmountMinor, Function, Mti, PanError, ResponseCode, TransmissionTime};

impl Shard {
    /// 0400 and 0420.
    pub(super) fn reverse(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        // A reversal may name its card by its original only.
        if !matches!(staged.pan, Err(PanError::Missing)) {
            intake::check_pan(staged.pan)?;
        }
        intake::check_transaction(&incoming.view, incoming.profile)?;
        if let Recalled::Done = self.recall(now, incoming, staged, outbox)? {
            return Ok(());
        }
        let key = self.original_key(incoming);
        let (state, pending, known) = match key.as_ref().and_then(|key| self.duplicates.lookup(key))
        {
            None => (State::Unknown, None, None),
            Some(Remembered::InFlight { pending, .. }) => (State::InFlight, Some(pending), None),
            Some(Remembered::Answered(answered)) => match (answered.state, answered.original) {
                // Its answer is remembered, but not any more what there is to undo.
                (OriginalState::Approved, None) => (State::Unknown, None, None),
                (state, original) => (state.into(), None, original),
            },
        };
        if let (Some(left), Some(key)) = (replacement_amount(&incoming.view), &key)
            && left != AmountMinor(0)
        {
            if let Some(place) = pending {
                return self.reduce_early(now, incoming, staged, (key, place, left), outbox);
            }
            let known = known.filter(|known| known.state == OriginalState::Approved);
            let original = known.ok_or(Reason::OriginalNotFound)?;
            return self.reduce(now, incoming, staged, (key, &original, left), outbox);
        }
        if let (Some(key), Some(original)) = (&key, &known)
            && original.is_voided()
        {
            return self.reverse_voided(now, incoming, staged, (key, original), outbox);
        }
        let step = step(state, Event::Reversal);
        // Room first: nothing is undone that cannot be owed.
        if step.owe_reversal && !self.saf.has_room(self.pending.len() + 2) {
            return Err(Reason::SafFull);
        }
        let original = match pending {
            Some(place) => self.end_reversed(now, place, outbox),
            None => known,
        };
        let what = reversal_counter(state);
        self.counters.add(what);
        if state == State::Unknown {
            self.look_for_foreign(now, incoming, staged);
        }
        if step.hold == Hold::Release
            && let (Some(key), Some(original)) = (&key, &original)
        {
            let whose = (key, incoming.connection.acquirer);
            self.undo_original(now, whose, original, incoming.profile.codes.time_out, outbox);
        }
        let owed = if step.owe_reversal {
            self.owe_reversal_to(now, incoming, staged, (original.as_ref(), key), outbox)?
        } else {
            [None; 2]
        };
        let is_advice = incoming.view.mti().function() == Function::Advice;
        if state == State::Unknown && is_advice && Self::is_unnamed(staged) {
            self.keep_unnamed(now, incoming, outbox);
        }
        self.acknowledge(now, incoming, staged, (step.reply, what), outbox);
        self.send_all_owed(now, owed, outbox);
        Ok(())
    }

    /// A reversal of nothing that its acquirer sent, but another one did, with the same card: it changes
    /// nothing there, and an operator is told.
    #[cold]
    fn look_for_foreign(&mut self, now: Now, incoming: &Incoming<'_>, staged: &StagedRequest) {
        let own = incoming.connection.acquirer;
        let is_foreign = self.profiles.iter().zip(0..).any(|(profile, id)| {
            let of = (AcquirerId(id), profile.duplicate_key);
            let key = self.original_key_of(incoming, of).filter(|_| AcquirerId(id) != own);
            let original = key.and_then(|key| self.original(&key));
            original.is_some_and(|original| original.card == staged.card)
        });
        if is_foreign {
            self.counters.add(Counter::ReversalForeign);
            self.note(now, incoming, Note::only(Counter::ReversalForeign));
        }
    }

    /// Stores the reversal for the issuer. One of an unknown original goes where its card is routed, by
    /// both routes if there are two, and its original, should it come after all, is refused.
    fn owe_reversal_to(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (original, key): (Option<&OriginalRecord>, Option<DuplicateKey>),
        outbox: &mut Outbox,
    ) -> Result<[Option<u32>; 2], Reason> {
        if let Some(original) = original {
            let whose = (original.issuer, original.card);
            return Ok([self.store_message(now, incoming, whose, Some(original), outbox)?, None]);
        }
        let Some(routes) = self.routes_of_card(incoming, staged) else { return Ok([None; 2]) };
        let issuer = routes.first;
        if let Some(key) = key {
            let code = incoming.profile.codes.issuer_unavailable;
            let record = OriginalRecord {
                state: OriginalState::Reversed,
                issuer,
                ..declined(staged.card, code)
            };
            self.commit_own(now, (key, staged.fingerprint), &record, &[], outbox);
        }
        let first = self.store_message(now, incoming, (issuer, staged.card), None, outbox)?;
        let Some(second) = routes.second else { return Ok([first, None]) };
        Ok([first, self.store_message(now, incoming, (second, staged.card), None, outbox)?])
    }

    /// Answers a reversal, and remembers the answer.
    pub(super) fn acknowledge(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (reply, what): (Reply, Counter),
        outbox: &mut Outbox,
    ) {
        let is_request = incoming.view.mti().function() == Function::Request;
        let code = if reply == Reply::UnknownOriginal && is_request {
            incoming.profile.codes.original_not_found
        } else {
            ResponseCode::APPROVED
        };
        self.remember_own(now, incoming, staged, code, outbox);
        self.note(now, incoming, Note::answered(what, code));
        self.answer_code(now, incoming, (code, None), Gate::Durable, outbox);
    }

    /// Remembers an answer of our own, with which nothing is counted.
    pub(super) fn remember_own(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        code: ResponseCode,
        outbox: &mut Outbox,
    ) {
        let record = declined(staged.card, code);
        let additions = self.own_additions(incoming);
        let named = (staged.key, staged.fingerprint);
        self.commit_own(now, named, &record, additions.bytes(), outbox);
    }

    pub(super) fn commit_own(
        &mut self,
        now: Now,
        (key, fingerprint): (DuplicateKey, u64),
        original: &OriginalRecord,
        answer: &[u8],
        outbox: &mut Outbox,
    ) {
        let settlement = Settlement::None;
        let answered = Answered { key, fingerprint, original, settlement, entry: None, answer };
        self.commit(now, Change::Answered(answered), outbox);
    }

    /// A request that a process which ended may have forwarded, and that is declined now: its
    /// reversal is owed under the request's own numbers, which is all that is known of it.
    pub(super) fn owe_lost(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (issuer, acquirer, card): (IssuerId, AcquirerId, CardKey),
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let view = &incoming.view;
        let numbers = (view.stan()?, view.transmission_time().unwrap_or(TransmissionTime(0)));
        let de90 = original_data::write(view.mti().without_repeat(), numbers.0, numbers.1, view);
        let message = (Mti::REVERSAL_ADVICE, view, REVERSAL);
        let written = Written::by_switch(&de90, ReversalReason::NoAnswer);
        self.store_owed(now, (issuer, acquirer, card), message, written, outbox)
    }

    /// Undoes an approval in the switch: its reservation, and what a repeat of it is answered.
    pub(super) fn undo_original(
        &mut self,
        now: Now,
        (key, acquirer): (&DuplicateKey, AcquirerId),
        original: &OriginalRecord,
        code: ResponseCode,
        outbox: &mut Outbox,
    ) {
        let undone = Undone {
            key: *key,
            card: original.card,
            reservation: original.reservation,
            response_code: *code.bytes(),
            amount_minor: 0,
            less_minor: original.reservation.amount_minor(),
            entry: original.taken_back(acquirer, original.amount_minor),
        };
        self.commit(now, Change::Undone(undone), outbox);
        if let Some(voided) = original.voids {
            self.reinstate(now, (voided, acquirer), original, outbox);
        }
    }
}

/// What a reversal of an original in this state is counted as.
const fn reversal_counter(state: State) -> Counter {
    match state {
        State::Unknown => Counter::OriginalUnknown,
        State::InFlight => Counter::ReversedInFlight,
        State::Approved => Counter::Reversed,
        State::Declined | State::Reversed => Counter::ReversalRepeated,
    }
}

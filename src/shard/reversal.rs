//! Reversals by acquirers (0400, 0420) and advices (0120, 0220): accepted, stored, owed to the
//! issuer. An original is undone once, whatever is sent how often.

use super::authorization::{Event, Hold, Reply, State, step};
use super::duplicate::{DuplicateKey, OriginalRecord, OriginalState, Remembered};
use super::forward::Recalled;
use super::intake::{self, StagedRequest};
use super::outcomes::Note;
use super::own_answer::Reason;
use super::remembered::declined;
use super::velocity::Reservation;
use super::{CardKey, Counter, Incoming, IssuerId, Now, Outbox, Shard};
use tapswitch_protocol::{Function, PanError, ResponseCode};

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
        let step = step(state, Event::Reversal);
        // Room first: nothing is undone that cannot be owed.
        if step.owe_reversal && !self.saf.has_room(self.pending.len() + 1) {
            return Err(Reason::SafFull);
        }
        let original = match pending {
            Some(place) => self.end_reversed(now, place, outbox),
            None => known,
        };
        let what = reversal_counter(state);
        self.counters.add(what);
        if step.hold == Hold::Release
            && let (Some(key), Some(original)) = (&key, &original)
        {
            self.undo_original(key, original, incoming.profile.codes.time_out);
        }
        let owed = if step.owe_reversal {
            self.owe_reversal_to(incoming, staged, original.as_ref(), key)?
        } else {
            None
        };
        self.acknowledge(now, incoming, staged, (step.reply, what), outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }

    /// Stores the reversal for the issuer. One of an unknown original goes where its card is routed,
    /// and its original, should it come after all, is refused.
    fn owe_reversal_to(
        &mut self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        original: Option<&OriginalRecord>,
        key: Option<DuplicateKey>,
    ) -> Result<Option<u32>, Reason> {
        if let Some(original) = original {
            let whose = (original.issuer, original.card);
            return self.store_message(incoming, whose, Some(original));
        }
        let routed = staged.pan.ok().and_then(|pan| self.routing.route(&pan));
        let Some((issuer, _)) = routed else { return Ok(None) };
        if let Some(key) = key {
            let code = incoming.profile.codes.issuer_unavailable;
            let record = OriginalRecord {
                state: OriginalState::Reversed,
                issuer,
                ..declined(staged.card, code)
            };
            self.duplicates.remember(&key, staged.fingerprint, &record, &[]);
        }
        self.store_message(incoming, (issuer, staged.card), None)
    }

    /// Answers a reversal, and remembers the answer.
    fn acknowledge(
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
        self.remember_own(staged, code);
        self.note(now, incoming, Note::answered(what, code));
        self.answer_code(now, incoming, code, None, outbox);
    }

    fn remember_own(&mut self, staged: &StagedRequest, code: ResponseCode) {
        let record = declined(staged.card, code);
        self.duplicates.remember(&staged.key, staged.fingerprint, &record, &[]);
    }

    /// Undoes an approval in the switch: its reservation, and what a repeat of it is answered.
    pub(super) fn undo_original(
        &mut self,
        key: &DuplicateKey,
        original: &OriginalRecord,
        code: ResponseCode,
    ) {
        self.velocity.release(original.card, &original.reservation);
        if let Some(mut stored) = self.duplicates.original_mut(key) {
            stored.set_record(&OriginalRecord {
                state: OriginalState::Reversed,
                response_code: *code.bytes(),
                reservation: Reservation::default(),
                ..original.clone()
            });
        }
    }

    /// 0120 and 0220: what has happened is accepted once it is stored, and owed to the issuer.
    pub(super) fn accept_advice(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let pan = intake::check_pan(staged.pan)?;
        intake::check_transaction(&incoming.view, incoming.profile)?;
        if let Recalled::Done = self.recall(now, incoming, staged, outbox)? {
            return Ok(());
        }
        let (issuer, _) = self.routing.route(&pan).ok_or(Reason::NoRoute)?;
        let owed = self.store_advice(incoming, (issuer, staged.card))?;
        self.remember_own(staged, ResponseCode::APPROVED);
        let note = Note::answered(Counter::AnsweredBySwitch, ResponseCode::APPROVED);
        self.note(now, incoming, note);
        self.answer_approved(now, incoming, outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }

    fn store_advice(
        &mut self,
        incoming: &Incoming<'_>,
        whose: (IssuerId, CardKey),
    ) -> Result<Option<u32>, Reason> {
        let original = self.original_of(incoming).map(|(_, record)| record);
        self.store_message(incoming, whose, original.as_ref())
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

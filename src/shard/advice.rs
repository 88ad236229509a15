//! Advices (0120, 0220): what has happened already. Accepted once it is recorded, counted against the
//! card whatever its limits say, owed to the issuer.

use super::delivery::Gate;
use super::duplicate::{OriginalRecord, OriginalState};
use super::forward::Recalled;
use super::intake::{self, StagedRequest, Transaction};
use super::journal_record::{Answered, Change, Settlement};
use super::outcomes::Note;
use super::own_answer::Reason;
use super::totals::{Entry, Sort};
use super::velocity::Reservation;
use super::{Counter, Incoming, IssuerId, Now, Outbox, Shard};
use tapswitch_protocol::ResponseCode;

impl Shard {
    /// 0120 and 0220.
    pub(super) fn accept_advice(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let pan = intake::check_pan(staged.pan)?;
        let transaction = intake::check_transaction(&incoming.view, incoming.profile)?;
        if let Recalled::Done = self.recall(now, incoming, staged, outbox)? {
            return Ok(());
        }
        let (first, _) = self.routing.route(&pan).ok_or(Reason::NoRoute)?;
        let original = self.own_original(incoming, staged);
        let holder = self.holder(now, (incoming, staged), original.as_ref());
        let issuer = holder.unwrap_or(first);
        if !self.legs.speaks(issuer, incoming.profile.dialect) {
            return Err(Reason::IssuerDown);
        }
        let mti = incoming.view.mti();
        let (reservation, completes) = if transaction.is_completion(mti) {
            match self.judge_completion(now, incoming, staged, &transaction) {
                // It has happened, however much it is.
                Err(Reason::InvalidAmount | Reason::Currency) => {
                    (self.count_advice(now, incoming, staged, &transaction)?, None)
                }
                judged => judged?,
            }
        } else {
            (self.count_advice(now, incoming, staged, &transaction)?, None)
        };
        let scopes = self.count_scopes(now, incoming, (staged, &transaction), completes)?;
        let original = original.as_ref().map(|(_, record)| record);
        let whose = (issuer, staged.card);
        let stored = self.store_message(now, incoming, whose, original, outbox)?;
        let asked = (&transaction, issuer, reservation);
        let (record, entry) = self.approved_here(incoming, staged, asked);
        self.hold_scopes(now, staged.key, &scopes, outbox);
        self.remember_advice(now, (incoming, staged), (&record, entry, transaction.pin), outbox);
        if let Some(hold) = completes {
            let by = (staged.key, transaction.amount.0);
            self.complete_hold(now, (hold, staged.card), by, outbox);
        }
        let note = Note::answered(Counter::AnsweredBySwitch, ResponseCode::APPROVED);
        self.note(now, incoming, note);
        self.answer_approved(now, incoming, Gate::Durable, outbox);
        if let Some(place) = stored {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }

    /// What is remembered of an approval that the switch gave by itself, and what it adds to the totals. Its
    /// issuer knows it by the advice that is owed, which is the newest message.
    pub(super) fn approved_here(
        &self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (transaction, issuer, reservation): (&Transaction, IssuerId, Reservation),
    ) -> (OriginalRecord, Entry) {
        let sent = self.saf.newest().and_then(|owed| owed.sent);
        let (stan, time) = sent.map_or((0, 0), |(stan, time)| (stan.0, time.0));
        let record = OriginalRecord {
            state: OriginalState::Approved,
            response_code: *ResponseCode::APPROVED.bytes(),
            issuer,
            card: staged.card,
            amount_minor: transaction.amount.0,
            issuer_stan: stan,
            issuer_transmission_time: time,
            reservation,
            sort: transaction.sort(&incoming.view).of_original(),
            voids: None,
        };
        let entry = Entry {
            acquirer: incoming.connection.acquirer,
            issuer,
            sort: transaction.sort(&incoming.view),
            is_reversal: false,
            amount_minor: transaction.amount.0,
        };
        (record, entry)
    }

    /// What it counts for. Above a limit it is counted all the same, and that is told.
    fn count_advice(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        transaction: &Transaction,
    ) -> Result<Reservation, Reason> {
        let counted = match self.velocity_transaction(incoming, staged, transaction) {
            Ok(Some(counted)) => counted,
            Ok(None) => return Ok(Reservation::default()),
            Err(Reason::Currency) => {
                // An amount in a currency that no limit is in: it has happened, and is not added.
                self.counters.add(Counter::AdviceUncounted);
                return Ok(Reservation::default());
            }
            Err(reason) => return Err(reason),
        };
        let judged = self.velocity.judge_advice(now.wall_ms, staged.card, &counted);
        let (reservation, passed) = judged.map_err(|_| Reason::VelocityFull)?;
        if passed.is_some() {
            self.counters.add(Counter::AdviceOverLimit);
        }
        Ok(reservation)
    }

    fn remember_advice(
        &mut self,
        now: Now,
        (incoming, staged): (&Incoming<'_>, &StagedRequest),
        (original, entry, pin): (&OriginalRecord, Entry, bool),
        outbox: &mut Outbox,
    ) {
        let amount_minor = original.reservation.amount_minor();
        let settlement = if original.reservation.is_empty() && !pin {
            Settlement::None
        } else {
            Settlement::Count { amount_minor, pin }
        };
        let (key, fingerprint) = (staged.key, staged.fingerprint);
        let additions = self.own_additions(incoming);
        let answer = additions.bytes();
        let entry = Some(entry).filter(|entry| entry.sort != Sort::None);
        let answered = Answered { key, fingerprint, original, settlement, entry, answer };
        self.commit(now, Change::Answered(answered), outbox);
    }
}

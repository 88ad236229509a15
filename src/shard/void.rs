//! Voids (processing code 20 of 0100 and 0200): what they take back, and that it stands again when
//! the void itself is undone. A void takes back the whole of what stands and names that amount; a
//! part is taken back by a partial reversal or a refund.
//!
//! Not here: refunds, which are advices (`advice`).

use super::AcquirerId;
use super::authorization::Reply;
use super::completion::OF_ONE_NAME_MAX;
use super::duplicate::{DuplicateKey, OriginalKey, OriginalRecord, OriginalState};
use super::intake::StagedRequest;
use super::journal_record::{Change, Reinstated, Undone};
use super::own_answer::Reason;
use super::partial_reversal::replacement_amount;
use super::preauthorization::Hold;
use super::totals::{Entry, Sort};
use super::velocity::Reservation;
use super::{CardKey, Counter, Incoming, Now, Outbox, Shard};
use tapswitch_protocol::{AmountMinor, ResponseCode};

impl Shard {
    /// A void was approved: its original is undone, once; a hold with all its increases.
    #[cold]
    pub(super) fn undo_voided(
        &mut self,
        now: Now,
        (key, acquirer, card): (DuplicateKey, AcquirerId, CardKey),
        outbox: &mut Outbox,
    ) {
        for _ in 0..OF_ONE_NAME_MAX {
            let Some(hold) = self.preauthorizations.sibling(card, &key).copied() else { break };
            self.undo_one(now, (&hold.key, acquirer, Some(&hold)), outbox);
        }
        let hold = self.preauthorizations.of_key(card, &key).copied();
        let hold = hold.filter(|hold| hold.key == key);
        self.undo_one(now, (&key, acquirer, hold.as_ref()), outbox);
    }

    /// A void is undone: its original, which the issuer debits again, stands again.
    #[cold]
    pub(super) fn reinstate(
        &mut self,
        now: Now,
        (key, acquirer): (OriginalKey, AcquirerId),
        void: &OriginalRecord,
        outbox: &mut Outbox,
    ) {
        let original = self.duplicates.original_by(key).map(|stored| stored.record());
        let (reservation, sort, amount_minor, issuer) = match original {
            // Its own issuer: the void may have gone by another route.
            Some(it) if it.is_voided() => (it.reservation, it.sort, it.amount_minor, it.issuer),
            Some(_) => return,
            // Of one that was never known here, or is forgotten, the void said what it took back.
            None => (Reservation::default(), Sort::Debit, void.amount_minor, void.issuer),
        };
        self.counters.add(Counter::Reinstated);
        let entry = Entry { acquirer, issuer, sort, is_reversal: false, amount_minor };
        let reinstated = Reinstated { key, card: void.card, reservation, entry };
        self.commit(now, Change::Reinstated(reinstated), outbox);
    }

    /// What a void took back is reversed itself: nothing is to be taken back any more, but its issuer is
    /// told, so that a reversal of the void does not make it stand again, there or here.
    #[cold]
    pub(super) fn reverse_voided(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (key, original): (&DuplicateKey, &OriginalRecord),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let whose = (original.issuer, original.card);
        let owed = self.store_message(now, incoming, whose, Some(original), outbox)?;
        let undone = Undone {
            key: *key,
            card: original.card,
            reservation: Reservation::default(),
            response_code: *incoming.profile.codes.time_out.bytes(),
            amount_minor: 0,
            less_minor: 0,
            entry: None,
        };
        self.commit(now, Change::Undone(undone), outbox);
        let what = Counter::ReversalRepeated;
        self.counters.add(what);
        self.acknowledge(now, incoming, staged, (Reply::Accept, what), outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
        Ok(())
    }

    /// A void takes back all that stands of its original and says so: a part of it, or more, is refused.
    /// What is not known here, or does not stand, is its issuer's to judge.
    ///
    /// # Errors
    /// It names another amount.
    pub(super) fn check_voided(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (amount, original, key): (AmountMinor, Option<&OriginalRecord>, &DuplicateKey),
    ) -> Result<(), Reason> {
        if replacement_amount(&incoming.view).is_some_and(|left| left != AmountMinor(0)) {
            return Err(Reason::OriginalAmount);
        }
        let hold = self.preauthorizations.of_key(staged.card, key).copied();
        let hold = hold.filter(|hold| hold.key == *key && hold.completed_by.is_none());
        let with_increases =
            hold.map(|hold| self.preauthorizations.held_minor(&hold.name, now.wall_ms));
        let alone = match original {
            Some(original) if original.state != OriginalState::Approved => return Ok(()),
            Some(original) => Some(original.amount_minor),
            None => hold.map(|hold| hold.amount_minor),
        };
        let stands = [alone, with_increases];
        let is_whole = stands.contains(&Some(amount.0)) || stands == [None, None];
        if is_whole { Ok(()) } else { Err(Reason::OriginalAmount) }
    }

    /// An original that may be forgotten, while its hold is open.
    fn undo_one(
        &mut self,
        now: Now,
        (key, acquirer, hold): (&DuplicateKey, AcquirerId, Option<&Hold>),
        outbox: &mut Outbox,
    ) {
        if let Some(original) = self.original(key) {
            if original.state == OriginalState::Approved {
                let code = ResponseCode::new(original.response_code);
                self.undo_original(now, (key, acquirer), &original, code, outbox);
            }
        } else if let Some(hold) = hold.filter(|hold| hold.completed_by.is_none()) {
            let undone = Undone {
                key: *key,
                card: hold.name.card,
                reservation: hold.reservation,
                response_code: *ResponseCode::APPROVED.bytes(),
                amount_minor: 0,
                less_minor: hold.reservation.amount_minor(),
                entry: None,
            };
            self.commit(now, Change::Undone(undone), outbox);
        }
    }
}

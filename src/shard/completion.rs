//! Holds, their increases, completions and cancellations. An increase (DE 25 60) is a hold under the
//! name of the first; both are completed and cancelled together. A completion is matched to its pre-authorization by card, DE 38 and
//! DE 42. Matched, only what it is above the hold counts anew; unmatched (opened elsewhere, or over) it
//! counts whole. Either way it is not declined for a limit: the hold has passed them, or another
//! switch has.

use super::duplicate::DuplicateKey;
use super::intake::{StagedRequest, Transaction};
use super::journal_record::Change;
use super::own_answer::Reason;
use super::pending::PendingRequest;
use super::preauthorization::{Hold, HoldName, takes};
use super::velocity::{Reservation, VelocityTransaction};
use super::{CardKey, Counter, Incoming, Now, Outbox, Shard};
use tapswitch_protocol::{MessageView, MtiClass};

/// DE 25 of a pre-authorization that adds to an earlier one.
const INCREASE: u64 = 60;
/// A hold and its increases that are completed or cancelled at once; there are a few at most.
pub(super) const OF_ONE_NAME_MAX: usize = 16;

impl Shard {
    /// What a completion counts for, and the hold that it completes.
    ///
    /// # Errors
    /// It is more than its hold allows.
    pub(super) fn judge_completion(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        transaction: &Transaction,
    ) -> Result<(Reservation, Option<DuplicateKey>), Reason> {
        let name = hold_name(&incoming.view, staged.card, None);
        let hold = name.and_then(|name| self.preauthorizations.find(&name, now.wall_ms)).copied();
        let counted = self.velocity_transaction(incoming, staged, transaction)?;
        let Some(counted) = counted else { return Ok((Reservation::default(), None)) };
        let Some(hold) = hold else {
            self.counters.add(Counter::CompletionUnmatched);
            return Ok((self.count_whole(now, staged, &counted)?, None));
        };
        let held_minor = self.preauthorizations.held_minor(&hold.name, now.wall_ms);
        if !takes(held_minor, transaction.amount.0) {
            return Err(Reason::InvalidAmount);
        }
        let above = transaction.amount.0.saturating_sub(held_minor);
        if above == 0 || hold.reservation.is_empty() {
            return Ok((Reservation::default(), Some(hold.key)));
        }
        let more = self.velocity.more(now.wall_ms, staged.card, &hold.reservation, above);
        Ok((more.map_err(|_| Reason::VelocityFull)?, Some(hold.key)))
    }

    fn count_whole(
        &mut self,
        now: Now,
        staged: &StagedRequest,
        counted: &VelocityTransaction,
    ) -> Result<Reservation, Reason> {
        let judged = self.velocity.judge_advice(now.wall_ms, staged.card, counted);
        let (reservation, passed) = judged.map_err(|_| Reason::VelocityFull)?;
        if passed.is_some() {
            self.counters.add(Counter::AdviceOverLimit);
        }
        Ok(reservation)
    }

    /// An approval of a pre-authorization opens a hold, one of a completion closes it.
    pub(super) fn settle_hold(
        &mut self,
        now: Now,
        request: &PendingRequest,
        (kept, answer): (&MessageView<'_>, &MessageView<'_>),
        outbox: &mut Outbox,
    ) {
        if let Some(hold) = request.completes {
            return self.complete_hold(
                now,
                (hold, request.card),
                (request.key, request.amount.0),
                outbox,
            );
        }
        let opens = request.opens_hold;
        // An increase belongs to the hold that it names.
        let increases = kept.number(25) == Some(INCREASE) && kept.has(38);
        let approval = if increases { None } else { answer.raw(38) };
        let Some(name) = hold_name(kept, request.card, approval).filter(|_| opens) else {
            return;
        };
        let reservation = self.original(&request.key).map(|original| original.reservation);
        let hold = Hold {
            key: request.key,
            name,
            amount_minor: request.amount.0,
            reservation: reservation.unwrap_or_default(),
            opened_ms: now.wall_ms,
            issuer: Some(request.issuer),
            completed_by: None,
        };
        self.commit(now, Change::HoldOpened(hold), outbox);
    }

    /// The hold and its increases are completed by `by`, with this amount: what is left of them is
    /// taken back.
    pub(super) fn complete_hold(
        &mut self,
        now: Now,
        (key, card): (DuplicateKey, CardKey),
        (by, amount_minor): (DuplicateKey, u64),
        outbox: &mut Outbox,
    ) {
        let mut left = amount_minor;
        for _ in 0..OF_ONE_NAME_MAX {
            let Some(hold) = self.preauthorizations.sibling(card, &key).copied() else { break };
            left = self.complete_one(now, (&hold, left), by, outbox);
        }
        let hold = self.preauthorizations.of_key(card, &key).copied();
        if let Some(hold) = hold {
            self.complete_one(now, (&hold, left), by, outbox);
        }
    }

    /// Returns what is more than this one held.
    fn complete_one(
        &mut self,
        now: Now,
        (hold, amount_minor): (&Hold, u64),
        by: DuplicateKey,
        outbox: &mut Outbox,
    ) -> u64 {
        // What was reserved in another currency stays whole: against the card.
        let same = hold.reservation.amount_minor() == hold.amount_minor;
        let less = hold.amount_minor.saturating_sub(amount_minor);
        let less_minor = if same { less } else { 0 };
        let (key, card) = (hold.key, hold.name.card);
        let reservation = hold.reservation;
        self.commit(now, Change::HoldCompleted { key, card, by, reservation, less_minor }, outbox);
        self.complete_scopes(now, (key, less), outbox);
        amount_minor.saturating_sub(hold.amount_minor)
    }

    /// The hold that a cancellation means, which names it as a completion does.
    pub(super) fn hold_to_cancel(
        &self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
    ) -> Option<DuplicateKey> {
        let is_authorization = incoming.view.mti().class() == MtiClass::Authorization;
        let name = hold_name(&incoming.view, staged.card, None).filter(|_| is_authorization)?;
        self.preauthorizations.find(&name, now.wall_ms).map(|hold| hold.key)
    }
}

/// What a completion calls its hold, or an approved pre-authorization is called; `None` without DE
/// 38 or 42.
pub(super) fn hold_name(
    view: &MessageView<'_>,
    card: CardKey,
    approval: Option<&[u8]>,
) -> Option<HoldName> {
    let approval = *approval.or_else(|| view.raw(38))?.first_chunk()?;
    Some(HoldName { card, approval, merchant: *view.raw(42)?.first_chunk()? })
}

//! Issuers with a second route. What an issuer has is asked of nobody else: a void, a completion, an
//! increase or an advice about an original that is remembered, or about an open hold, goes to the issuer
//! that has it, whether that can be reached or not. And what a process that ended may have forwarded by
//! either route is not forwarded anew: it is declined, and owed a reversal by both.
//!
//! Not here: which of the two a new request goes by (`link_state`).

use super::completion::hold_name;
use super::duplicate::{DuplicateKey, OriginalRecord, OriginalState};
use super::intake::{StagedRequest, Transaction};
use super::own_answer::Reason;
use super::{CardKey, Incoming, IssuerId, Now, Outbox, Shard};

/// An original of DE 90 that is remembered, with its key.
pub(super) type Known = (DuplicateKey, OriginalRecord);

/// Issuers that may have been asked; the second is there only where nobody knows which.
#[derive(Clone, Copy)]
pub(super) struct Routes {
    pub(super) first: IssuerId,
    pub(super) second: Option<IssuerId>,
}

impl Shard {
    /// The original that DE 90 names, if this card did it: what another one did is nothing that this one
    /// can take back.
    #[inline]
    pub(super) fn own_original(
        &self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
    ) -> Option<Known> {
        if !incoming.view.has(90) {
            return None;
        }
        self.original_of(incoming).filter(|(_, record)| record.card == staged.card)
    }

    /// The issuer that has what a message is about; `None`: it is about nothing that was forwarded from
    /// here.
    #[inline]
    pub(super) fn holder(
        &self,
        now: Now,
        (incoming, staged): (&Incoming<'_>, &StagedRequest),
        original: Option<&Known>,
    ) -> Option<IssuerId> {
        match original {
            Some((_, record)) => {
                // A decline may be the switch's own, which names no issuer.
                (record.state != OriginalState::Declined).then_some(record.issuer)
            }
            None if incoming.view.has(38) => self.holder_of_hold(now, incoming, staged),
            None => None,
        }
    }

    #[cold]
    fn holder_of_hold(
        &self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
    ) -> Option<IssuerId> {
        let name = hold_name(&incoming.view, staged.card, None)?;
        self.preauthorizations.find(&name, now.wall_ms)?.issuer
    }

    /// Where a message may have gone that nobody here remembers: to the issuer of what it is about, or
    /// by either route of its card.
    #[cold]
    pub(super) fn routes_of_lost(
        &self,
        now: Now,
        (incoming, staged): (&Incoming<'_>, &StagedRequest),
    ) -> Option<Routes> {
        let original = self.own_original(incoming, staged);
        if let Some(first) = self.holder(now, (incoming, staged), original.as_ref()) {
            return Some(Routes { first, second: None });
        }
        self.routes_of_card(incoming, staged)
    }

    /// Both routes of a card, as far as they speak this dialect: who cannot be told was not asked.
    pub(super) fn routes_of_card(
        &self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
    ) -> Option<Routes> {
        let (first, _) = staged.pan.ok().and_then(|pan| self.routing.route(&pan))?;
        let dialect = incoming.profile.dialect;
        let second = self.legs.failover(first).filter(|it| self.legs.speaks(*it, dialect));
        if self.legs.speaks(first, dialect) {
            Some(Routes { first, second })
        } else {
            second.map(|first| Routes { first, second: None })
        }
    }

    /// A request that a process which ended may have forwarded by the other route is not forwarded by
    /// this one: two issuers would hold the money.
    #[inline]
    pub(super) fn check_other_route(
        &self,
        now: Now,
        incoming: &Incoming<'_>,
        (first, transaction): (IssuerId, &Transaction),
    ) -> Result<(), Reason> {
        let view = &incoming.view;
        let is_safe = self.legs.failover(first).is_none()
            || transaction.processing.moves_no_money()
            || !self.may_be_lost(now, view.mti(), view.transmission_time());
        if is_safe { Ok(()) } else { Err(Reason::OtherRoute) }
    }

    /// Owes the reversal of a lost request wherever it may have gone. Room was asked for. Returns what to
    /// send once the answer has left.
    pub(super) fn owe_lost_to(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (routes, card): (Routes, CardKey),
        outbox: &mut Outbox,
    ) -> [Option<u32>; 2] {
        let acquirer = incoming.connection.acquirer;
        [Some(routes.first), routes.second]
            .map(|issuer| self.owe_lost(now, incoming, (issuer?, acquirer, card), outbox))
    }

    pub(super) fn send_all_owed(&mut self, now: Now, owed: [Option<u32>; 2], outbox: &mut Outbox) {
        for place in owed.into_iter().flatten() {
            self.send_owed(now, place, outbox);
        }
    }
}

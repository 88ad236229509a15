//! Limits of terminals, merchants, acquirers and tokens on the way of a message: judged after those of
//! its card, counted with its forward, given back with whatever undoes it, and what shards ask of each
//! other.
//!
//! Not here: why no limit is passed, and what is counted (`velocity::escrow`).

use super::delivery::{Gate, copy_in};
use super::duplicate::{DuplicateKey, OriginalState};
use super::intake::{StagedRequest, Transaction};
use super::journal_record::Change;
use super::own_answer::Reason;
use super::requestors::token_data;
use super::velocity::VelocityTransaction;
use super::velocity::escrow::{Ask, Grant, Parties, ScopeHold, Shortfall, Tally};
use super::{
    AcquirerId, Action, ConnectionId, Counter, Incoming, MeshKind, Now, Outbox, Shard, ShardId,
};

/// What becomes of what is counted for a request.
#[derive(Clone, Copy)]
pub(super) enum Due {
    /// All of it is given back.
    Whole,
    /// So much of its amount is left.
    Left(u64),
}

impl Shard {
    /// What this shard counts in the window of now for an acquirer, its merchant, or its terminal, in
    /// one of the counters of these.
    pub fn counted_of(
        &mut self,
        now: Now,
        counter: usize,
        (acquirer, merchant, terminal): (AcquirerId, &[u8], &[u8]),
    ) -> Tally {
        let Some(escrow) = &mut self.escrow else { return Tally::default() };
        escrow.advance(now.wall_ms);
        escrow.counted_of(counter, &Parties { acquirer, merchant, terminal, token: None })
    }

    /// What a new request is to be counted as, if it is within the limits. Counts nothing.
    pub(super) fn judge_scopes(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (staged, transaction): (&StagedRequest, &Transaction),
        outbox: &mut Outbox,
    ) -> Result<ScopeHold, Reason> {
        if self.escrow.is_none() {
            return Ok(ScopeHold::default());
        }
        let counted = self.velocity_transaction(incoming, staged, transaction)?;
        let hold = self.meant_scopes(now, incoming, (staged, transaction), counted)?;
        for counter in hold.each_counter() {
            let short = self.escrow.as_ref().and_then(|escrow| escrow.shortfall(counter, &hold));
            let Some(short) = short else { continue };
            if !self.lend_to_self(now, &short, outbox) {
                return Err(self.decline_for_scope(&short, outbox));
            }
        }
        Ok(hold)
    }

    /// What an advice or a completion counts: it has happened, whatever the limits say.
    pub(super) fn count_scopes(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (staged, transaction): (&StagedRequest, &Transaction),
        completes: Option<DuplicateKey>,
    ) -> Result<ScopeHold, Reason> {
        if self.escrow.is_none() {
            return Ok(ScopeHold::default());
        }
        if let Some(key) = completes {
            return self.count_above(now, staged, (key, transaction.amount.0));
        }
        let counted = match self.velocity_transaction(incoming, staged, transaction) {
            // In a currency that no limit is in it is not added.
            Err(Reason::Currency) => None,
            counted => counted?,
        };
        let hold = self.meant_scopes(now, incoming, (staged, transaction), counted)?;
        let passes = |counter| {
            self.escrow.as_ref().is_some_and(|escrow| escrow.shortfall(counter, &hold).is_some())
        };
        if hold.each_counter().any(passes) {
            self.counters.add(Counter::AdviceOverLimit);
        }
        Ok(hold)
    }

    /// A completion counts by what it is above its hold, as no transaction more.
    fn count_above(
        &mut self,
        now: Now,
        staged: &StagedRequest,
        (key, amount_minor): (DuplicateKey, u64),
    ) -> Result<ScopeHold, Reason> {
        let opened = self.preauthorizations.of_key(staged.card, &key).map(|hold| hold.amount_minor);
        let above = amount_minor.saturating_sub(opened.unwrap_or(amount_minor));
        let Some(escrow) = &mut self.escrow else { return Ok(ScopeHold::default()) };
        let Some(hold) = escrow.hold(&key).filter(|_| above > 0) else {
            return Ok(ScopeHold::default());
        };
        escrow.advance(now.wall_ms);
        let hold = ScopeHold {
            at_ms: now.wall_ms,
            amount_minor: above,
            is_transaction: false,
            is_same_currency: false,
            ..hold
        };
        if escrow.make_room(&hold) { Ok(hold) } else { Err(Reason::EntitiesFull) }
    }

    fn meant_scopes(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (staged, transaction): (&StagedRequest, &Transaction),
        counted: Option<VelocityTransaction>,
    ) -> Result<ScopeHold, Reason> {
        let (Some(escrow), Some(counted)) = (&mut self.escrow, counted) else {
            return Ok(ScopeHold::default());
        };
        escrow.advance(now.wall_ms);
        let token =
            if escrow.means_tokens(&counted) { token_data(incoming, staged)?.token } else { None };
        let parties = Parties {
            acquirer: incoming.connection.acquirer,
            merchant: incoming.view.raw(42).unwrap_or_default(),
            terminal: incoming.view.raw(41).unwrap_or_default(),
            token,
        };
        let hold = escrow.meant(staged.card, &counted, &parties);
        if !escrow.make_room(&hold) {
            return Err(Reason::EntitiesFull);
        }
        let is_same_currency = counted.amount_minor == transaction.amount.0;
        Ok(ScopeHold { is_same_currency, ..hold })
    }

    /// Lends to this shard what it lacks, where it is the owner and has it.
    fn lend_to_self(&mut self, now: Now, short: &Shortfall, outbox: &mut Outbox) -> bool {
        let is_here = short.owner == self.id && short.is_early;
        is_here && self.lend_here(now, &short.ask, outbox)
    }

    /// This shard is owner and borrower.
    fn lend_here(&mut self, now: Now, ask: &Ask, outbox: &mut Outbox) -> bool {
        let Some(escrow) = &mut self.escrow else { return false };
        let (grant, pool) = escrow.lend(now.wall_ms, ask);
        let Some(pool) = pool.filter(|_| grant.satisfies(ask)) else { return false };
        self.commit(now, Change::ScopePool(pool), outbox);
        let row = self.escrow.as_mut().and_then(|escrow| escrow.lent(&grant));
        if let Some(row) = row {
            self.commit(now, Change::ScopeRow(row), outbox);
        }
        row.is_some()
    }

    /// The code and name of the limit; the owner is asked for what is lacking, for the next one.
    fn decline_for_scope(&mut self, short: &Shortfall, outbox: &mut Outbox) -> Reason {
        if short.is_early {
            self.counters.add(Counter::DeclinedEarly);
            self.ask_for_lease(short.owner, &short.ask, outbox);
        }
        self.velocity.count_refusal(short.limit);
        self.reason_of_limit(short.limit, short.by)
    }

    /// Counts what was judged.
    pub(super) fn hold_scopes(
        &mut self,
        now: Now,
        key: DuplicateKey,
        hold: &ScopeHold,
        outbox: &mut Outbox,
    ) {
        if hold.is_empty() {
            return;
        }
        for counter in hold.each_counter() {
            let row = self.escrow.as_ref().and_then(|escrow| escrow.counted(counter, hold));
            if let Some(row) = row {
                self.commit(now, Change::ScopeRow(row), outbox);
            }
        }
        self.commit(now, Change::ScopeHeld { key, hold: *hold }, outbox);
        // One question is enough: the next transaction asks for the next counter.
        for counter in hold.each_counter() {
            let ahead = self.escrow.as_ref().and_then(|escrow| escrow.ahead(counter, hold));
            let Some((owner, ask)) = ahead else { continue };
            if owner == self.id {
                self.lend_here(now, &ask, outbox);
            } else if self.ask_for_lease(owner, &ask, outbox) {
                break;
            }
        }
    }

    /// What a change means for what is counted of its request; asked before the change is applied.
    pub(super) fn scope_due(&mut self, change: &Change<'_>) -> Option<(DuplicateKey, Due)> {
        let escrow = self.escrow.as_ref()?;
        let (key, left) = match change {
            Change::Answered(answered) => match answered.original.state {
                OriginalState::Approved => (answered.key, answered.original.amount_minor),
                OriginalState::Declined | OriginalState::Reversed => (answered.key, 0),
            },
            Change::Undone(undone) => (undone.key, undone.amount_minor),
            _ => return None,
        };
        let hold = escrow.hold(&key)?;
        if let Change::Undone(undone) = change {
            // Its completion stands for it, and is undone by itself.
            let opened = self.preauthorizations.of_key(undone.card, &key);
            if opened.is_some_and(|it| it.key == key && it.completed_by.is_some()) {
                return None;
            }
        }
        match left {
            0 => Some((key, Due::Whole)),
            left if hold.is_same_currency && left < hold.amount_minor => {
                Some((key, Due::Left(left)))
            }
            _ => None,
        }
    }

    /// A hold is completed by less: what is left of it is not counted any more.
    pub(super) fn complete_scopes(
        &mut self,
        now: Now,
        (key, less_minor): (DuplicateKey, u64),
        outbox: &mut Outbox,
    ) {
        let hold = self.escrow.as_ref().and_then(|escrow| escrow.hold(&key));
        if let Some(hold) = hold.filter(|hold| hold.is_same_currency && less_minor > 0) {
            let left = hold.amount_minor.saturating_sub(less_minor);
            self.give_back_scopes(now, (key, Due::Left(left)), outbox);
        }
    }

    /// Gives back what is counted for a request, in the part of the window in which it was counted.
    pub(super) fn give_back_scopes(
        &mut self,
        now: Now,
        (key, due): (DuplicateKey, Due),
        outbox: &mut Outbox,
    ) {
        let Some(escrow) = &mut self.escrow else { return };
        let Some(hold) = escrow.hold(&key) else { return };
        escrow.advance(now.wall_ms);
        let (count, left) = match due {
            Due::Whole => (u64::from(hold.is_transaction), ScopeHold::default()),
            Due::Left(amount_minor) => (0, ScopeHold { amount_minor, ..hold }),
        };
        let less =
            Tally { count, amount_minor: hold.amount_minor.saturating_sub(left.amount_minor) };
        self.commit(now, Change::ScopeHeld { key, hold: left }, outbox);
        for counter in hold.each_counter() {
            let escrow = self.escrow.as_ref();
            let row = escrow.and_then(|escrow| escrow.given_back(counter, &hold, less));
            if let Some(row) = row {
                self.commit(now, Change::ScopeRow(row), outbox);
            }
        }
    }

    /// Asks the owner for more, unless it is being asked already.
    fn ask_for_lease(&mut self, owner: ShardId, ask: &Ask, outbox: &mut Outbox) -> bool {
        let begun = self.escrow.as_mut().is_some_and(|escrow| escrow.begin_ask(owner, ask));
        if begun {
            self.counters.add(Counter::LeaseAsked);
            let bytes = copy_in(&ask.to_bytes(), outbox);
            outbox.push(lease_message(owner, MeshKind::LeaseAsk, bytes));
        }
        begun
    }

    /// Another shard asks for a larger part of a limit that this one owns.
    pub(super) fn on_lease_ask(
        &mut self,
        now: Now,
        from: ShardId,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let Some(ask) = Ask::from_bytes(bytes) else { return };
        let Some(escrow) = &mut self.escrow else { return };
        let (grant, pool) = escrow.lend(now.wall_ms, &ask);
        if let Some(pool) = pool {
            self.counters.add(Counter::LeaseGranted);
            self.commit(now, Change::ScopePool(pool), outbox);
        }
        let bytes = copy_in(&grant.to_bytes(), outbox);
        // Lent once: a process that forgot it would lend it again.
        Gate::Durable.push(lease_message(from, MeshKind::LeaseGrant, bytes), outbox);
    }

    /// The owner has answered.
    pub(super) fn on_lease_grant(
        &mut self,
        now: Now,
        from: ShardId,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let Some(grant) = Grant::from_bytes(bytes) else { return };
        let escrow = self.escrow.as_mut();
        let row = escrow.and_then(|escrow| escrow.granted(from, now.wall_ms, &grant));
        if let Some(row) = row {
            self.commit(now, Change::ScopeRow(row), outbox);
        }
    }
}

fn lease_message(to: ShardId, kind: MeshKind, bytes: core::ops::Range<usize>) -> Action {
    Action::Mesh { to, kind, connection: ConnectionId::default(), header_bytes: 0, bytes }
}

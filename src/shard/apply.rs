//! The one place where durable state changes: a record is made, written, and applied; at a restart
//! it is read and applied by the same function.
//!
//! Not here: deciding, and what must not outlive the process (requests in flight, timers, numbers).

use super::journal_record::{
    Answered, Change, Forwarded, OwedId, OwedMessage, Record, Reinstated, Settlement, Undone,
};
use super::recovery::InFlight;
use super::saf::Owed;
use super::totals::Entry;
use super::velocity::Reservation;
use super::{Now, Outbox, Shard};
use crate::shard::CardKey;
use crate::shard::duplicate::{DuplicateKey, OriginalRecord, OriginalState};

const MS_PER_MINUTE: u64 = 60_000;

/// A message that became owed: its place, and whether it is to be sent now.
pub(super) type Pushed = (u32, bool);

impl Shard {
    /// Writes a change to the journal, if there is one, and applies it.
    #[inline]
    pub(super) fn commit(
        &mut self,
        now: Now,
        change: Change<'_>,
        outbox: &mut Outbox,
    ) -> Option<Pushed> {
        self.keep_date(now, outbox);
        let due = if self.escrow.is_some() { self.scope_due(&change) } else { None };
        let record = Record { wall_ms: now.wall_ms, change };
        outbox.record(&record);
        let pushed = self.apply(&record);
        // After it: a crash between the two leaves it counted, never forgotten.
        if let Some(due) = due {
            self.give_back_scopes(now, due, outbox);
        }
        pushed
    }

    /// Changes durable state. Nothing else does.
    pub fn apply(&mut self, record: &Record<'_>) -> Option<Pushed> {
        let wall_ms = record.wall_ms;
        match &record.change {
            Change::Forwarded(forwarded) => self.apply_forwarded(wall_ms, forwarded),
            Change::Answered(answered) => self.apply_answered(wall_ms, answered),
            Change::Undone(undone) => self.apply_undone(wall_ms, undone),
            Change::Reinstated(reinstated) => self.apply_reinstated(wall_ms, reinstated),
            Change::Owed(owed) => return self.apply_owed(wall_ms, owed),
            Change::OwedSent { id, stan, time } => {
                if let Some(place) = self.saf.find(*id)
                    && let Some(owed) = self.saf.get_mut(place)
                {
                    owed.sent = Some((*stan, *time));
                }
            }
            Change::OwedDone { id } => self.apply_owed_done(*id),
            Change::OwedParked { id, code } => {
                if let Some(place) = self.saf.find(*id) {
                    self.next_owed = self.saf.park(place, *code);
                }
            }
            Change::OwedReleased { id } => {
                let place = self.saf.find(*id)?;
                return self.saf.release(place).map(|is_oldest| (place, is_oldest));
            }
            Change::OwedDropped { id, .. } => self.apply_owed_done(*id),
            Change::HoldOpened(hold) => self.preauthorizations.open(wall_ms, *hold),
            Change::HoldCompleted { key, card, by, reservation, less_minor } => {
                let less = (reservation, *less_minor);
                self.apply_hold_completed(wall_ms, (*key, *card), *by, less);
            }
            Change::Started => self.started_wall_ms = Some(wall_ms),
            Change::Configured { epoch } => self.epoch = *epoch,
            Change::SettlementDay { day } => self.apply_settlement_day(*day),
            Change::IssuerDay { issuer, day } => self.totals.begin_of(*issuer, *day),
            Change::Token(entry) => {
                let put = self.wallet.apply(wall_ms, entry);
                assert!(put, "Invariant: room was asked for");
            }
            Change::TokenUsed { token, counter, seen } => {
                self.wallet.apply_used(*token, (*counter, *seen));
            }
            Change::WalletRequest(done) => self.wallet.apply_request(*done),
            Change::IssuerTold { issuer, day } => self.totals.tell(*issuer, *day),
            Change::ScopeRow(_) | Change::ScopePool(_) | Change::ScopeHeld { .. } => {
                self.apply_scope(wall_ms, &record.change);
            }
        }
        None
    }

    fn apply_scope(&mut self, wall_ms: u64, change: &Change<'_>) {
        let Some(escrow) = &mut self.escrow else { return };
        match change {
            Change::ScopeRow(row) => escrow.apply_row(wall_ms, row),
            Change::ScopePool(pool) => escrow.apply_pool(wall_ms, pool),
            Change::ScopeHeld { key, hold } => escrow.apply_hold(key, *hold),
            _ => {}
        }
    }

    #[inline]
    fn apply_forwarded(&mut self, wall_ms: u64, forwarded: &Forwarded<'_>) {
        let held = self.velocity.hold(wall_ms, forwarded.card, &forwarded.reservation);
        assert!(held, "Invariant: what was judged, or counted before, has a line");
        if let Some(recovering) = &mut self.recovering {
            recovering.forwarded(InFlight::of(forwarded));
        }
    }

    #[inline]
    fn apply_answered(&mut self, wall_ms: u64, answered: &Answered<'_>) {
        let (card, before) = (answered.original.card, answered.original.reservation);
        let reservation = match answered.settlement {
            Settlement::None => before,
            Settlement::Release => {
                self.velocity.release(wall_ms, card, &before);
                Reservation::default()
            }
            Settlement::Post { amount_minor, pin } => {
                self.velocity.post(wall_ms, card, &before, amount_minor, pin)
            }
            Settlement::Count { amount_minor, pin } => {
                let held = self.velocity.hold(wall_ms, card, &before);
                assert!(held, "Invariant: what was judged, or counted before, has a line");
                self.velocity.post(wall_ms, card, &before, amount_minor, pin)
            }
        };
        let sort = Entry::sort_of_original(answered.entry.as_ref());
        let original = OriginalRecord { reservation, sort, ..answered.original.clone() };
        let Answered { key, fingerprint, answer, .. } = *answered;
        if let Some(entry) = &answered.entry {
            self.totals.enter(entry);
        }
        self.duplicates.remember(&key, fingerprint, &original, answer);
        if let Some(recovering) = &mut self.recovering {
            recovering.answered(&key);
        }
    }

    fn apply_undone(&mut self, wall_ms: u64, undone: &Undone) {
        let Undone { key, card, reservation, response_code, amount_minor, less_minor, entry } =
            *undone;
        if let Some(entry) = &entry {
            self.totals.enter(entry);
        }
        let is_whole = amount_minor == 0;
        let left = if is_whole {
            self.velocity.release(wall_ms, card, &reservation);
            Reservation::default()
        } else {
            self.velocity.release_part(wall_ms, card, &reservation, less_minor)
        };
        if is_whole {
            self.undo_hold(card, &key);
        } else if let Some(hold) = self.preauthorizations.of_key(card, &key)
            && hold.key == key
            && hold.completed_by.is_none()
        {
            // A completion finds what is left of it.
            (hold.amount_minor, hold.reservation) = (amount_minor, left);
        }
        // It may have been forgotten meanwhile; what it counted is taken back all the same.
        if let Some(mut stored) = self.duplicates.original_mut(&key) {
            let before = stored.record();
            let state = if is_whole { OriginalState::Reversed } else { before.state };
            let amount_minor = if is_whole { before.amount_minor } else { amount_minor };
            // What was counted stays known: a void that is undone makes it stand again.
            let reservation = if is_whole { reservation } else { left };
            let after =
                OriginalRecord { state, response_code, amount_minor, reservation, ..before };
            stored.set_record(&after);
        }
    }

    /// It is counted again, in the windows in which it was counted, as far as they are open.
    fn apply_reinstated(&mut self, wall_ms: u64, reinstated: &Reinstated) {
        let Reinstated { key, card, reservation, entry } = reinstated;
        self.totals.enter(entry);
        let pending = reservation.unposted();
        let held = self.velocity.hold(wall_ms, *card, &pending);
        let reservation = match held {
            true => self.velocity.post(wall_ms, *card, &pending, pending.amount_minor(), false),
            false => Reservation::default(),
        };
        if let Some(mut stored) = self.duplicates.original_by(*key) {
            let state = OriginalState::Approved;
            let after = OriginalRecord { state, reservation, ..stored.record() };
            stored.set_record(&after);
        }
    }

    /// The completion stands for the hold from now on: what is left counted is undone with it, and no
    /// more with the request that opened the hold.
    fn apply_hold_completed(
        &mut self,
        wall_ms: u64,
        (key, card): (DuplicateKey, CardKey),
        by: DuplicateKey,
        (before, less_minor): (&Reservation, u64),
    ) {
        let left = self.velocity.release_part(wall_ms, card, before, less_minor);
        if let Some(hold) = self.preauthorizations.of_key(card, &key) {
            hold.completed_by = Some(by);
            hold.reservation = left;
        }
        self.keep_counted(&key, Reservation::default());
    }

    /// Holds that a completion completed are open again when it is undone; a hold that is undone is gone.
    fn undo_hold(&mut self, card: CardKey, key: &DuplicateKey) {
        while let Some(hold) = self.preauthorizations.completed_by(card, key) {
            hold.completed_by = None;
            let (opened, reservation) = (hold.key, hold.reservation);
            self.keep_counted(&opened, reservation);
        }
        self.preauthorizations.close(card, key);
    }

    /// What is counted for an answered request, from now on.
    fn keep_counted(&mut self, key: &DuplicateKey, reservation: Reservation) {
        if let Some(mut stored) = self.duplicates.original_mut(key) {
            let record = OriginalRecord { reservation, ..stored.record() };
            stored.set_record(&record);
        }
    }

    fn apply_owed(&mut self, wall_ms: u64, message: &OwedMessage<'_>) -> Option<Pushed> {
        let OwedMessage { id, acquirer, issuer, card, mti, sent, fields } = message;
        if self.recovering.is_some() && self.saf.find(*id).is_some() {
            // A snapshot had it already.
            return None;
        }
        let bytes = fields.write(&mut self.scratch.bytes[..])?;
        let list = self.kept.store(&[], self.scratch.bytes.get(..bytes)?);
        let list = list.expect("Invariant: there is a slot for every message that can be owed");
        let mut owed = Owed::new(id.number, (*issuer, *acquirer), *card, *mti, list);
        owed.sent = *sent;
        owed.since_min = u32::try_from(wall_ms / MS_PER_MINUTE).unwrap_or(u32::MAX);
        self.saf.push(id.place, owed)
    }

    /// The next of the card is sent by whoever is serving; a restart sends what is oldest.
    fn apply_owed_done(&mut self, id: OwedId) {
        let Some(place) = self.saf.find(id) else { return };
        if let Some((owed, next)) = self.saf.remove(place) {
            self.kept.free(owed.fields);
            self.next_owed = next;
        }
    }
}

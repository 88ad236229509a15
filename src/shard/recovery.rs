//! A restart: records are applied again, then what was under way when the process ended is
//! finished. Requests that were forwarded and not answered are reversed at their issuers, once, and
//! their repeats are answered as time-outs are; messages owed are sent again.
//!
//! Not here: files, and the order of snapshot and journal (`io::journal`).

use super::action::Outbox;
use super::duplicate::{DuplicateKey, OriginalRecord, OriginalState};
use super::field_list;
use super::identity::{AcquirerId, CardKey, IssuerId};
use super::journal_record::decode::{decode, skim};
use super::journal_record::{Answered, Change, Forwarded, RecordError, Settlement};
use super::owed::{REVERSAL, Written};
use super::reversal_reason::ReversalReason;
use super::totals::Sort;
use super::velocity::Reservation;
use super::{Counter, Now, Shard, original_data};
use std::collections::BTreeMap;
use tapswitch_protocol::{Dialect, FieldTable, Mti, Stan, TransmissionTime};

/// How long after a restart a request may still be one that was lost with the process: acquirers
/// repeat for less.
const LOST_MS: u64 = 24 * 3_600_000;

/// Records whose memory is on its way while those before them are applied.
const RECORDS_AHEAD: usize = 16;

/// What is known while a shard recovers.
#[derive(Default)]
pub(super) struct Recovering {
    in_flight: BTreeMap<DuplicateKey, InFlight>,
    /// The latest record's time: a clock behind it starts there.
    wall_ms: u64,
    records: u64,
    /// What was owed has the numbers again that it had.
    resumed: bool,
    /// Issuers that have announced their cut-off, and their dates: of these the other shards are told.
    ahead: Vec<(IssuerId, u32)>,
}

/// A request that was forwarded, as its record said.
pub(super) struct InFlight {
    key: DuplicateKey,
    fingerprint: u64,
    card: CardKey,
    acquirer: AcquirerId,
    issuer: IssuerId,
    mti: Mti,
    stan: Stan,
    sent: TransmissionTime,
    amount_minor: u64,
    reservation: Reservation,
    moves_money: bool,
    fields: Box<[u8]>,
}

impl InFlight {
    pub(super) fn of(forwarded: &Forwarded<'_>) -> Self {
        let mut list = [0; super::FRAME_BYTES_MAX];
        let bytes = forwarded.fields.write(&mut list).unwrap_or_default();
        Self {
            key: forwarded.key,
            fingerprint: forwarded.fingerprint,
            card: forwarded.card,
            acquirer: forwarded.acquirer,
            issuer: forwarded.issuer,
            mti: forwarded.mti,
            stan: forwarded.stan,
            sent: forwarded.sent,
            amount_minor: forwarded.amount_minor,
            reservation: forwarded.reservation,
            moves_money: forwarded.moves_money,
            fields: list.get(..bytes).unwrap_or_default().into(),
        }
    }
}

impl Recovering {
    pub(super) fn forwarded(&mut self, request: InFlight) {
        self.in_flight.insert(request.key, request);
    }

    pub(super) fn answered(&mut self, key: &DuplicateKey) {
        self.in_flight.remove(key);
    }

    fn learn(&mut self, change: &Change<'_>) {
        match change {
            Change::Forwarded(forwarded) => self.forwarded(InFlight::of(forwarded)),
            Change::Answered(answered) => self.answered(&answered.key),
            _ => {}
        }
    }

    /// A snapshot that was loaded says when it was taken.
    pub(super) fn on_snapshot(&mut self, wall_ms: u64) {
        self.wall_ms = self.wall_ms.max(wall_ms);
    }
}

/// What a restart found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records applied.
    pub records: u64,
    /// Requests that were under way: a reversal is owed for each that may hold money.
    pub in_flight: usize,
    /// Messages owed to issuers, without those.
    pub owed: usize,
    /// UTC milliseconds of the latest record; a clock behind it starts there.
    pub wall_ms: u64,
    /// Number of the configuration that was in force.
    pub epoch: u64,
}

impl Shard {
    /// Before the first record is replayed.
    pub fn begin_recovery(&mut self) {
        self.recovering = Some(Box::default());
        self.saf.begin_recovery();
    }

    /// Applies the records of a journal, in their order. The first `known` of them are in the
    /// snapshot that was loaded: of those only is learnt which requests were under way.
    ///
    /// # Errors
    /// One cannot be read; the shard is then of no use.
    pub fn replay(&mut self, mut bytes: &[u8], mut known: u64) -> Result<(), RecordError> {
        self.divide_scopes();
        let mut ahead = bytes;
        (0..RECORDS_AHEAD).for_each(|_| self.fetch_next(&mut ahead));
        while !bytes.is_empty() {
            self.fetch_next(&mut ahead);
            let decoded = decode(&mut bytes)?;
            let record = decoded.record();
            if let Some(recovering) = &mut self.recovering {
                recovering.wall_ms = recovering.wall_ms.max(record.wall_ms);
                recovering.records += 1;
                if known > 0 {
                    known -= 1;
                    recovering.learn(&record.change);
                    continue;
                }
            }
            self.expect_room(&record.change)?;
            self.apply(&record);
        }
        Ok(())
    }

    /// Tables may be smaller than those of the process before: what does not fit is never dropped.
    pub(super) fn expect_room(&self, change: &Change<'_>) -> Result<(), RecordError> {
        let what = match change {
            Change::HoldOpened(_) if !self.preauthorizations.has_room(0) => {
                "more pre-authorizations are open than a shard here holds: preauthorizations_max \
                 must be larger"
            }
            Change::Owed(_) if self.saf.next_id().is_none() => {
                "more messages are owed to issuers than a shard here holds: more shards, or a larger \
                 pending_max, have room for them"
            }
            Change::Token(entry) if !self.wallet.has_room(entry) => {
                "there are more tokens than a shard here holds: [wallet] tokens must be larger"
            }
            _ => return Ok(()),
        };
        Err(RecordError::NoRoom(what))
    }

    /// Asks the processor to fetch what the first record of `ahead` will change: most of the time
    /// of a replay would be spent waiting for it.
    #[inline]
    fn fetch_next(&self, ahead: &mut &[u8]) {
        if let Some((key, card)) = skim(ahead) {
            self.velocity.prefetch(card);
            self.duplicates.prefetch(&key);
        }
    }

    /// What shards of another layout left of limits of terminals, merchants and acquirers is read: each
    /// of now takes its part of it.
    fn divide_scopes(&mut self) {
        if let Some(escrow) = &mut self.escrow {
            escrow.divide();
        }
    }

    /// A digest of all that outlives a process. The same records make the same.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        (self.money_hash() ^ self.duplicates.state_hash()).wrapping_mul(HASH_STEP).rotate_left(23)
    }

    /// The same without remembered answers and originals, of which the oldest are forgotten: what
    /// limits, open pre-authorizations and debts to issuers come to.
    #[must_use]
    pub fn money_hash(&self) -> u64 {
        let owed = self.saf.within(0..self.saf.taken_below()).fold(0u64, |hash, (_, owed)| {
            hash.wrapping_add(
                (owed.number << 2
                    | u64::from(owed.sent.is_some()) << 1
                    | u64::from(owed.parked.is_some()))
                .wrapping_mul(HASH_STEP),
            )
        });
        let all = 0..self.preauthorizations.taken_below();
        let holds = self.preauthorizations.within(all).fold(0u64, |hash, hold| {
            let [low, high] = CardKey(hold.key.0).words();
            let done = u64::from(hold.completed_by.is_some());
            hash.wrapping_add(
                (low ^ high ^ hold.reservation.amount_minor() ^ done).wrapping_mul(HASH_STEP),
            )
        });
        let scopes = self.escrow.as_ref().map_or(0, |escrow| escrow.state_hash());
        let totals = self.totals.state_hash();
        let parts = [self.velocity.state_hash(), scopes, owed, holds, self.epoch, totals];
        parts
            .into_iter()
            .fold(0, |hash, part| (hash ^ part).wrapping_mul(HASH_STEP).rotate_left(23))
    }

    /// Whether another one of this shard, recovered otherwise, knows the same of all money. It is taken to
    /// the time of this one, whose windows may have gone on without a record.
    #[must_use]
    pub fn knows_as(&self, other: &mut Self) -> bool {
        self.velocity.assert_invariants();
        other.velocity.advance(self.velocity.now_ms());
        self.money_hash() == other.money_hash()
    }

    /// All records are applied. Then [`Shard::on_recovered`] is called until it returns false.
    pub fn recovered(&self) -> Recovered {
        let recovering = self.recovering.as_deref();
        Recovered {
            records: recovering.map_or(0, |recovering| recovering.records),
            in_flight: recovering.map_or(0, |recovering| recovering.in_flight.len()),
            owed: self.saf.len(),
            wall_ms: recovering.map_or(0, |recovering| recovering.wall_ms),
            epoch: self.epoch,
        }
    }

    /// Finishes what was under way, as far as the outbox has room. True: call again.
    pub fn on_recovered(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        self.resume_all(now);
        while outbox.has_room() {
            let next = self.recovering.as_mut().and_then(|it| it.in_flight.pop_first());
            if let Some((_, request)) = next {
                self.end_interrupted(now, &request, outbox);
                continue;
            }
            let ahead = self.recovering.as_mut().and_then(|it| it.ahead.pop());
            if let Some(date) = ahead {
                // The process before may have ended before the next shard was told.
                self.begin_date_of(now, date, self.id, outbox);
                continue;
            }
            if self.recovering.take().is_some() {
                self.saf.end_recovery();
                self.commit(now, Change::Started, outbox);
                self.resend_all(now);
            }
            return false;
        }
        true
    }

    /// A request was forwarded and nothing is known of its answer, which nobody got.
    fn end_interrupted(&mut self, now: Now, request: &InFlight, outbox: &mut Outbox) {
        self.counters.add(Counter::Interrupted);
        let profile = self.profiles.get(usize::from(request.acquirer.0));
        let Some(profile) = profile.map(std::rc::Rc::clone) else { return };
        let original = OriginalRecord {
            state: OriginalState::Reversed,
            response_code: *profile.codes.time_out.bytes(),
            issuer: request.issuer,
            card: request.card,
            amount_minor: request.amount_minor,
            issuer_stan: request.stan.0,
            issuer_transmission_time: request.sent.0,
            reservation: request.reservation,
            sort: Sort::None,
            voids: None,
        };
        let settlement =
            if original.reservation.is_empty() { Settlement::None } else { Settlement::Release };
        let (key, fingerprint) = (request.key, request.fingerprint);
        let (original, entry) = (&original, None);
        let answered = Answered { key, fingerprint, original, settlement, entry, answer: &[] };
        self.commit(now, Change::Answered(answered), outbox);
        if request.moves_money {
            // Sent with all the rest that is owed, once everything is recorded.
            let _ = self.owe_interrupted(now, request, profile.dialect, outbox);
        }
    }

    /// The reversal is made from what the record kept of the request, put together again.
    fn owe_interrupted(
        &mut self,
        now: Now,
        request: &InFlight,
        dialect: &Dialect,
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let (mut message, mut table) = ([0; super::FRAME_BYTES_MAX], FieldTable::default());
        let parts = (&request.fields[..], &[][..]);
        let bytes = field_list::write_message(dialect, request.mti, parts, None, &mut message)?;
        let view = dialect.parse(message.get(..bytes)?, &mut table).ok()?;
        let de90 = original_data::write(request.mti, request.stan, request.sent, &view);
        let whose = (request.issuer, request.acquirer, request.card);
        let message = (Mti::REVERSAL_ADVICE, &view, REVERSAL);
        let written = Written::by_switch(&de90, ReversalReason::NoAnswer);
        self.store_owed(now, whose, message, written, outbox)
    }

    /// Everything owed takes its numbers again, before any is given out: also what waits behind another
    /// message of its card, which is acknowledged under them later.
    fn resume_all(&mut self, now: Now) {
        let first = self.recovering.as_mut().map(|it| !core::mem::replace(&mut it.resumed, true));
        if first != Some(true) {
            return;
        }
        if let Some(recovering) = &mut self.recovering {
            recovering.ahead = self.totals.ahead().collect();
        }
        self.divide_scopes();
        if let Some(escrow) = &mut self.escrow {
            escrow.end_leases();
        }
        self.legs.begin_at(now.wall_ms, self.epoch);
        let owed = self.saf.within(0..self.saf.taken_below());
        let owed = owed.filter(|(_, owed)| owed.parked.is_none());
        let owed: Vec<u32> = owed.map(|(place, _)| place).collect();
        owed.into_iter().for_each(|place| self.resume_owed(place));
    }

    /// Arms the timers of the oldest message of each card, at the pace of each issuer: none is flooded.
    fn resend_all(&mut self, now: Now) {
        for issuer in 0..self.legs.len() {
            self.catch_up(now, IssuerId(issuer as u8));
        }
    }

    /// Whether a request may have been forwarded by a process that ended: it repeats itself, or was
    /// made before the restart, and its time is not over. What is lost is then owed a reversal
    /// before the request may be declined here.
    pub(super) fn may_be_lost(&self, now: Now, mti: Mti, made: Option<TransmissionTime>) -> bool {
        let Some(started) = self.started_wall_ms else { return false };
        if now.wall_ms.saturating_sub(started) > LOST_MS {
            return false;
        }
        mti != mti.without_repeat()
            || made.is_some_and(|made| precedes(made, self.legs.transmission_time_at(started)))
    }
}

/// Whether a DE 7, which has no year, is before another one: in December all of January is later.
fn precedes(made: TransmissionTime, other: TransmissionTime) -> bool {
    const MONTH: u32 = 100_000_000;
    match (made.0 / MONTH, other.0 / MONTH) {
        (12, 1) => true,
        (1, 12) => false,
        _ => made <= other,
    }
}

/// An odd number without a pattern.
const HASH_STEP: u64 = 0x9E37_79B9_7F4A_7C15;

//! A new request: seen before? which issuer, is there room, is it within the card's limits? Then it
//! is remembered under a number of ours and forwarded.

use super::authorization::{Event, Reply, State, step};
use super::delivery::{Gate, LegNumbers, patch_numbers};
use super::duplicate::{DuplicateKey, OriginalRecord, Remembered};
use super::field_list::StoredFields;
use super::intake::{self, StagedRequest, Transaction};
use super::journal_record::{Change, Forwarded};
use super::original_data::{self, OriginalDataElements};
use super::outcomes::Note;
use super::owed::REVERSAL;
use super::own_answer::Reason;
use super::pending::PendingRequest;
use super::remembered::Additions;
use super::velocity::escrow::ScopeHold;
use super::velocity::{LimitKind, QrPayment, Refusal, Reservation, VelocityTransaction};
use super::wallet::TokenLeg;
use super::{AcquirerId, Action, Counter, Incoming, IssuerId, Now, Outbox, Shard};
use crate::config::{AcquirerConfig, QrCode, TransactionKind};
use crate::limits::VELOCITY_IIN_DIGITS;
use core::ops::Range;
use tapswitch_protocol::{
    Addition, CurrencyCode, FieldSet, MessageView, Mti, Pan, ResponseCode, Stan, TransmissionTime,
    WireField, relay, respond,
};

/// What is known of a request that is about to be forwarded.
struct Launch<'a> {
    transaction: Transaction,
    pan: &'a Pan,
    issuer: IssuerId,
    reservation: Reservation,
    /// What it counts at its terminal, merchant and acquirer, and for its token.
    scopes: ScopeHold,
    /// The hold that it completes.
    completes: Option<DuplicateKey>,
    /// The original that it takes back.
    voids: Option<DuplicateKey>,
    /// What DE 90 names, if it is remembered.
    original: Option<(DuplicateKey, OriginalRecord)>,
}

/// Whether the message was dealt with, or is to be decided.
pub(super) enum Recalled {
    /// Answered, absorbed or refused.
    Done,
    /// Not seen before.
    New,
}

/// First two digits of DE 22 of a QR or bar code.
const ENTRY_MODE_QR_CODE: u8 = 3;

/// MACs are made for one link: they never leave it.
pub(super) const MACS: FieldSet = FieldSet::of(&[64, 128]);

impl Shard {
    /// 0100 and 0200.
    pub(super) fn authorize(
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
        let decided = self.approach(now, incoming, staged, (&pan, transaction), outbox);
        match decided {
            Err(reason) => self.decline(now, incoming, staged, (reason, transaction), outbox),
            Ok(()) => Ok(()),
        }
    }

    /// A repeat of what was declined here gets the same decline. What may have been forwarded by a
    /// process that ended is owed a reversal first: the acquirer, told of a decline, sends none.
    fn decline(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (reason, transaction): (Reason, Transaction),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let code = reason.code(&incoming.profile.codes);
        let view = &incoming.view;
        let lost = !transaction.processing.moves_no_money()
            && self.may_be_lost(now, view.mti(), view.transmission_time())
            && self.saf.has_room(self.pending.len() + 1);
        let routes = if lost { self.routes_of_lost(now, (incoming, staged)) } else { None };
        self.remember_own(now, incoming, staged, code, outbox);
        let Some(routes) = routes else { return Err(reason) };
        self.counters.add(Counter::LostReversed);
        let owed = self.owe_lost_to(now, incoming, (routes, staged.card), outbox);
        self.counters.add(reason.counter());
        let note = Note { detail: reason.detail(), ..Note::answered(reason.counter(), code) };
        self.note(now, incoming, note);
        self.answer_code(now, incoming, (code, reason.field().as_ref()), Gate::Durable, outbox);
        self.send_all_owed(now, owed, outbox);
        Ok(())
    }

    /// Answers what was seen before.
    pub(super) fn recall(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) -> Result<Recalled, Reason> {
        let (state, same, pending, again) = match self.duplicates.lookup(&staged.key) {
            None => return Ok(Recalled::New),
            Some(Remembered::InFlight { pending, fingerprint }) => {
                (State::InFlight, fingerprint == staged.fingerprint, Some(pending), None)
            }
            Some(Remembered::Answered(answered)) => {
                let mut additions = Additions::none();
                additions.restore(answered.answer);
                let code = ResponseCode::new(answered.response_code);
                // Of an original whose answer is forgotten the card is left to compare.
                let same = match (answered.fingerprint, &answered.original) {
                    (Some(fingerprint), _) => fingerprint == staged.fingerprint,
                    (None, original) => {
                        original.as_ref().is_some_and(|original| original.card == staged.card)
                    }
                };
                (answered.state.into(), same, None, Some((code, additions)))
            }
        };
        let event = if same { Event::Request } else { Event::Conflict };
        match (step(state, event).reply, pending, again) {
            (Reply::Absorb, Some(place), _) => {
                self.note(now, incoming, Note::only(Counter::Absorbed));
                self.absorb(incoming, place, outbox);
            }
            (Reply::Replay, _, Some((code, additions))) => {
                self.answer_again(now, incoming, (&staged.key, code, &additions), outbox);
            }
            _ => return Err(Reason::Conflict),
        }
        Ok(Recalled::Done)
    }

    /// The answer in flight goes to this transmission instead of the one before.
    fn absorb(&mut self, incoming: &Incoming<'_>, place: u32, outbox: &mut Outbox) {
        self.counters.add(Counter::Absorbed);
        let Some(request) = self.pending.get_mut(place) else { return };
        let before = core::mem::replace(&mut request.origin, incoming.connection);
        if incoming.header.len() == usize::from(request.header_bytes) {
            self.kept.patch(request.kept, incoming.header);
        }
        self.answer_nothing(before, outbox);
    }

    /// Routing, the issuer's room, velocity.
    fn approach(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        (pan, transaction): (&Pan, Transaction),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        if self.draining {
            return Err(Reason::Draining);
        }
        let (first, _) = self.routing.route(pan).ok_or(Reason::NoRoute)?;
        self.check_in_time(now, incoming)?;
        let acquirer = incoming.connection.acquirer;
        let original = self.own_original(incoming, staged);
        let holder = self.holder(now, (incoming, staged), original.as_ref());
        if holder.is_none() && !transaction.is_void() {
            staged.check_token()?;
        }
        if holder.is_none() {
            self.check_other_route(now, incoming, (first, &transaction))?;
        }
        let issuer = match self.choose_route(now, (first, holder), incoming.profile.dialect) {
            Ok(issuer) => issuer,
            Err(reason) => {
                if reason == Reason::IssuerWindow {
                    self.legs.on_asked_in_vain(holder.unwrap_or(first), acquirer, now);
                }
                let refused = (transaction, first, reason);
                return self.stand_in_or(now, (incoming, staged), refused, outbox);
            }
        };
        self.check_share(now, issuer, acquirer)?;
        if !self.saf.has_room(self.pending.len()) {
            return Err(Reason::SafFull);
        }
        let (reservation, completes) = if transaction.is_completion(incoming.view.mti()) {
            self.judge_completion(now, incoming, staged, &transaction)?
        } else {
            (self.judge(now, incoming, staged, &transaction)?, None)
        };
        let asked = (staged, &transaction);
        let scopes = if transaction.is_completion(incoming.view.mti()) {
            self.count_scopes(now, incoming, asked, completes)?
        } else {
            self.judge_scopes(now, incoming, asked, outbox)?
        };
        let opens = transaction.opens_hold(incoming.view.mti());
        if opens && !self.preauthorizations.has_room(self.pending.len()) {
            return Err(Reason::HoldsFull);
        }
        let voids = match &original {
            _ if !transaction.is_void() => None,
            Some((key, _)) => Some(*key),
            None => self.hold_to_cancel(now, incoming, staged),
        };
        if let Some(key) = &voids {
            let record = original.as_ref().map(|(_, record)| record);
            self.check_voided(now, incoming, staged, (transaction.amount, record, key))?;
        }
        let launch =
            Launch { transaction, pan, issuer, reservation, scopes, original, completes, voids };
        self.launch(now, incoming, staged, launch, outbox)
    }

    fn judge(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        transaction: &Transaction,
    ) -> Result<Reservation, Reason> {
        let counted = self.velocity_transaction(incoming, staged, transaction)?;
        let Some(counted) = counted else { return Ok(Reservation::default()) };
        let judged = self.velocity.judge(now.wall_ms, staged.card, &counted);
        judged.map_err(|refusal| self.reason_of(refusal))
    }

    fn reason_of(&self, refusal: Refusal) -> Reason {
        match refusal {
            Refusal::Limit { limit, by } => self.reason_of_limit(limit, by),
            Refusal::TableFull => Reason::VelocityFull,
        }
    }

    pub(super) fn reason_of_limit(&self, limit: u8, by: LimitKind) -> Reason {
        let code = self.velocity.limit(limit).and_then(|(_, code)| code);
        let limit = self.limit_number(limit);
        match by {
            LimitKind::Amount => Reason::AmountLimit { limit, code },
            LimitKind::Count => Reason::CountLimit { limit, code },
        }
    }

    /// What the limits need to know of a transaction; `None` when they do not count it.
    pub(super) fn velocity_transaction(
        &self,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        transaction: &Transaction,
    ) -> Result<Option<VelocityTransaction>, Reason> {
        if !transaction.counts() {
            return Ok(None);
        }
        let mut counted = velocity_transaction(incoming, transaction, staged)?;
        if let Some(qr) = &mut counted.qr {
            qr.level = self.qr_level(incoming, staged)?;
        }
        Ok(Some(counted))
    }

    /// Takes a number, keeps what is needed, writes the message for the issuer.
    fn launch(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        launch: Launch<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let Launch { transaction, pan, issuer, reservation, scopes, original, completes, voids } =
            launch;
        let place = self.pending.next_place().ok_or(Reason::PendingFull)?;
        // It is there: the request was read by it.
        let profile = self.profile(incoming.connection).ok_or(Reason::PendingFull)?;
        let acquirer = incoming.connection.acquirer;
        let stan = self.legs.take_stan(now, issuer, (place, acquirer)).ok_or(Reason::NoStan)?;
        let sent = self.legs.transmission_time(now);
        let record = original.as_ref().map(|(_, record)| record);
        let Some(bytes) = write_forward((incoming, staged), (sent, stan), record, outbox) else {
            self.legs.release_stan(issuer, stan);
            return Err(Reason::Format(0));
        };
        let kept = self.keep(incoming, pan);
        let begun = kept.is_some() && self.duplicates.begin(&staged.key, staged.fingerprint, place);
        let (Some(kept), true) = (kept, begun) else {
            kept.into_iter().for_each(|kept| self.kept.free(kept));
            self.legs.release_stan(issuer, stan);
            return Err(Reason::PendingFull);
        };
        let forwarded = Forwarded {
            key: staged.key,
            fingerprint: staged.fingerprint,
            card: staged.card,
            acquirer,
            issuer,
            mti: incoming.view.mti().without_repeat(),
            stan,
            sent,
            amount_minor: transaction.amount.0,
            reservation,
            moves_money: !transaction.processing.moves_no_money(),
            fields: StoredFields::of(&incoming.view, REVERSAL),
        };
        // Counted first: a crash between the two records leaves too much counted, not too little.
        self.hold_scopes(now, staged.key, &scopes, outbox);
        self.commit(now, Change::Forwarded(forwarded), outbox);
        self.pending.insert(
            outbox.last_lsn(),
            PendingRequest {
                origin: incoming.connection,
                acquirer: incoming.connection.acquirer,
                profile,
                mti: incoming.view.mti(),
                issuer,
                stan,
                sent,
                key: staged.key,
                fingerprint: staged.fingerprint,
                card: staged.card,
                amount: transaction.amount,
                processing: transaction.processing,
                sort: transaction.sort(&incoming.view),
                reservation,
                pin: transaction.pin,
                token_data: self.kept_token_data(incoming),
                opens_hold: transaction.opens_hold(incoming.view.mti()),
                completes,
                void_of: voids,
                kept,
                header_bytes: incoming.header.len() as u8,
                pan_from_track: !incoming.view.has(2),
                is_token: staged.tap.is_some(),
                arrived_ns: now.mono_ns,
                before_ns: 0,
            },
        );
        self.wait_for_answer(now, place, issuer_wait_ms(incoming.profile, transaction.mcc));
        let gate = if self.legs.is_intent_first(issuer) { Gate::Durable } else { Gate::Open };
        let link = self.legs.link_for(issuer, stan).number;
        gate.push(Action::Forward { issuer, link, acquirer, bytes }, outbox);
        Ok(())
    }

    /// The issuer has so long for a request that is about to leave.
    fn wait_for_answer(&mut self, now: Now, place: u32, wait_ms: u64) {
        self.deadlines.set(place, now.mono_ns + wait_ms * 1_000_000);
        if self.forwarded.len() < super::FORWARDED_PER_BATCH_MAX {
            self.forwarded.push(place);
        }
    }

    /// Keeps header and the dialect's kept fields; DE 2 too where only the track names the card,
    /// because a reversal has no track.
    pub(super) fn keep(
        &mut self,
        incoming: &Incoming<'_>,
        pan: &Pan,
    ) -> Option<super::kept::KeptRef> {
        let view = &incoming.view;
        let pan_addition = [Addition { field: 2, value: pan.digits() }];
        let additions = if view.has(2) { &[][..] } else { &pan_addition[..] };
        let out = &mut self.scratch.bytes[..];
        let bytes =
            respond(view, view.mti(), incoming.profile.dialect.kept, additions, out).ok()?;
        self.kept.store(incoming.header, self.scratch.bytes.get(..bytes)?)
    }

    /// What is remembered of an answered request that moved money, or may have.
    pub(super) fn original(&self, key: &DuplicateKey) -> Option<OriginalRecord> {
        match self.duplicates.lookup(key)? {
            Remembered::InFlight { .. } => None,
            Remembered::Answered(answered) => answered.original,
        }
    }

    /// The original that DE 90 names, if it is remembered.
    pub(super) fn original_of(
        &self,
        incoming: &Incoming<'_>,
    ) -> Option<(DuplicateKey, OriginalRecord)> {
        let key = self.original_key(incoming)?;
        self.original(&key).map(|record| (key, record))
    }

    /// The key of the original: its numbers are in DE 90, the rest is repeated in the message.
    pub(super) fn original_key(&self, incoming: &Incoming<'_>) -> Option<DuplicateKey> {
        let of = (incoming.connection.acquirer, incoming.profile.duplicate_key);
        self.original_key_of(incoming, of)
    }

    /// The same, as if another acquirer had sent it.
    pub(super) fn original_key_of(
        &self,
        incoming: &Incoming<'_>,
        (acquirer, fields): (AcquirerId, FieldSet),
    ) -> Option<DuplicateKey> {
        let view = &incoming.view;
        let original = OriginalDataElements::read(view)?;
        let class = (original.mti.number() / 100 % 10) as u8;
        let mut parts: [(u8, &[u8]); 16] = [(0, &[]); 16];
        let mut count = 0;
        for field in fields {
            let part = match field {
                7 => Some(original.time),
                11 => Some(original.stan),
                _ => view.raw(field),
            };
            if let (Some(part), Some(slot)) = (part, parts.get_mut(count)) {
                *slot = (field, part);
                count += 1;
            }
        }
        Some(self.hasher.key_of_parts(acquirer, class, parts.get(..count)?))
    }
}

/// How long the issuer has.
pub(super) fn issuer_wait_ms(profile: &AcquirerConfig, mcc: u16) -> u64 {
    if profile.transit_mccs.contains(&mcc) {
        profile.transit_answer_within_ms.saturating_sub(profile.transit_answer_margin_ms)
    } else {
        profile.answer_within_ms.saturating_sub(profile.answer_margin_ms)
    }
}

/// What counters and limits need to know of a transaction.
fn velocity_transaction(
    incoming: &Incoming<'_>,
    transaction: &Transaction,
    staged: &StagedRequest,
) -> Result<VelocityTransaction, Reason> {
    let view = &incoming.view;
    let transaction_type = transaction.processing.transaction_type();
    let iin = staged.pan.as_ref().map_or(0, |pan| {
        let first = pan.digits().iter().take(VELOCITY_IIN_DIGITS);
        first.fold(0, |iin, digit| iin * 10 + u32::from(digit & 0x0F))
    });
    Ok(VelocityTransaction {
        amount_minor: limited_amount(view, transaction)?,
        iin,
        currency: view.currency().map_or(0, |currency| currency.0),
        mcc: transaction.mcc,
        entry_mode: transaction.entry_mode,
        transaction_type,
        kind: TransactionKind::of(transaction_type),
        pin_present: transaction.pin,
        qr: (transaction.entry_mode == ENTRY_MODE_QR_CODE)
            .then(|| QrPayment { code: qr_code(view, incoming.profile), ..QrPayment::default() }),
    })
}

/// Whether a code was static or dynamic, where the acquirer's profile says how it is told.
fn qr_code(view: &MessageView<'_>, profile: &AcquirerConfig) -> Option<QrCode> {
    let told = profile.qr_code.as_ref()?;
    let value = view.raw(told.field)?.get(told.at..)?;
    if value.starts_with(told.is_static.as_bytes()) {
        Some(QrCode::Static)
    } else if value.starts_with(told.is_dynamic.as_bytes()) {
        Some(QrCode::Dynamic)
    } else {
        None
    }
}

/// The amount in the currency of the limits, CNY: DE 4, or DE 6 where the card is billed in it. Sums
/// of different currencies are never added.
fn limited_amount(view: &MessageView<'_>, transaction: &Transaction) -> Result<u64, Reason> {
    if !view.has(49) || view.currency() == Some(CurrencyCode::CNY) {
        return Ok(transaction.amount.0);
    }
    let billed = view.number(51) == Some(u64::from(CurrencyCode::CNY.0));
    view.number(6).filter(|_| billed).ok_or(Reason::Currency)
}

/// The message for the issuer: our DE 7 and 11, no MAC, DE 90 by the issuer leg's numbers; all else
/// bit for bit.
fn write_forward(
    (incoming, staged): (&Incoming<'_>, &StagedRequest),
    (time, stan): (TransmissionTime, Stan),
    original: Option<&OriginalRecord>,
    outbox: &mut Outbox,
) -> Option<Range<usize>> {
    let view = &incoming.view;
    let leg = TokenLeg::of(staged, view);
    let numbers = LegNumbers::new(time.0, stan.0);
    let room = outbox.room();
    let has_mac = !view.present().and(MACS).is_empty();
    if !has_mac && original.is_none() && leg.is_none() {
        let bytes = view.bytes().len();
        let out = room.get_mut(..bytes)?;
        out.copy_from_slice(view.bytes());
        if patch_numbers(view, &numbers, out) {
            return Some(outbox.claim(bytes));
        }
    }
    let de90 = original.map(|record| {
        let (stan, time) =
            (Stan(record.issuer_stan), TransmissionTime(record.issuer_transmission_time));
        original_data::write(original_mti(incoming), stan, time, view)
    });
    if let Some(leg) = leg {
        let mut own = [(7, numbers.time().wire), (11, numbers.stan().wire), (90, &[][..])]
            .map(|(field, value)| Addition { field, value });
        let mut count = 2;
        if let (Some(de90), Some(last)) = (&de90, own.last_mut()) {
            last.value = de90;
            count = 3;
        }
        let message = (view, view.mti().without_repeat(), view.present().minus(MACS));
        let bytes = leg.write(message, own.get(..count).unwrap_or_default(), room)?;
        return Some(outbox.claim(bytes));
    }
    let mut own = [numbers.time(), numbers.stan(), WireField { field: 90, wire: &[] }];
    let mut count = 2;
    if let (Some(de90), Some(last)) = (&de90, own.last_mut()) {
        last.wire = de90;
        count = 3;
    }
    let all = view.present().minus(MACS);
    let nothing = (view, FieldSet::EMPTY);
    let bytes =
        relay(view.mti().without_repeat(), (view, all), nothing, &own[..count], room).ok()?;
    Some(outbox.claim(bytes))
}

/// The MTI that DE 90 states.
pub(super) fn original_mti(incoming: &Incoming<'_>) -> Mti {
    OriginalDataElements::read(&incoming.view)
        .map_or(Mti::FINANCIAL_REQUEST, |original| original.mti)
}

//! Stand-in: where a request would be answered 91 because its issuer cannot be reached, a rule of the
//! configuration may let the switch approve it, within limits that count such approvals by
//! themselves. The issuer is owed an advice, which with the approval is recorded before the answer
//! leaves. A request that was forwarded is reversed first: its reversal goes before the advice.
//!
//! Never: what came with a PIN, which cannot be checked; anything but a plain purchase (0200); what a
//! process before may have forwarded.
//!
//! Not here: how much is allowed (limits of the rule's name, in `velocity`).

use super::delivery::{Gate, write_frame};
use super::intake::{self, StagedRequest, Transaction};
use super::issuer_answer::Ending;
use super::journal_record::{Answered, Change, OwedId, Settlement};
use super::outcomes::Note;
use super::owed::Written;
use super::own_answer::Reason;
use super::pending::PendingRequest;
use super::remembered::Additions;
use super::velocity::{Refusal, Reservation};
use super::{Counter, Incoming, IssuerId, MACS_AND_NUMBERS, Now, Outbox, Shard, ShardId};
use crate::config::{AcquirerConfig, StandInRule, VelocityConfig};
use crate::limits::FRAME_BYTES_MAX;
use std::rc::Rc;
use tapswitch_protocol::{
    Addition, FieldSet, FieldTable, MessageView, Mti, PanError, ProcessingCode, ResponseCode,
    respond,
};

/// DE 25 of what is about an earlier pre-authorization: completion, increase.
const OF_A_HOLD: [u8; 2] = [6, 60];
/// First character of the approval codes that the switch gives.
const APPROVAL_PREFIX: u8 = b'S';
/// Longest DE 60 and its like that a reason is written into.
const REASON_BYTES_MAX: usize = 100;

/// The rules in force.
#[derive(Default)]
pub(super) struct StandIn {
    rules: Vec<Rc<Rule>>,
}

struct Rule {
    config: StandInRule,
    /// The place of the limit that says what the rule means.
    limit: u8,
}

impl StandIn {
    pub(super) fn new(config: &VelocityConfig) -> Self {
        let rules = config.stand_in.iter().filter_map(|rule| {
            let place = config.limits.iter().position(|limit| limit.name == rule.name)?;
            let limit = u8::try_from(place).ok()?;
            Some(Rc::new(Rule { config: rule.clone(), limit }))
        });
        Self { rules: rules.collect() }
    }

    /// Whether there is no rule.
    pub(super) fn is_off(&self) -> bool {
        self.rules.is_empty()
    }
}

/// Why the issuer does not decide.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    Unreachable,
    SignedOff,
    /// It is not asked, because it did not answer.
    NotAsked,
    WindowFull,
    /// It was asked.
    TimeOut,
}

impl Cause {
    const fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::IssuerDown => Some(Self::Unreachable),
            Reason::IssuerSignedOff => Some(Self::SignedOff),
            Reason::CircuitOpen => Some(Self::NotAsked),
            Reason::IssuerWindow => Some(Self::WindowFull),
            _ => None,
        }
    }

    const fn is_meant(self, rule: &StandInRule) -> bool {
        match self {
            Self::Unreachable | Self::SignedOff | Self::NotAsked => true,
            Self::WindowFull => rule.window_full,
            Self::TimeOut => rule.after_time_out,
        }
    }

    const fn reason(self, rule: &StandInRule) -> &[u8; 4] {
        match self {
            Self::Unreachable | Self::WindowFull => &rule.reasons.unreachable,
            Self::SignedOff => &rule.reasons.signed_off,
            Self::NotAsked | Self::TimeOut => &rule.reasons.time_out,
        }
    }
}

/// A request that its issuer does not decide.
#[derive(Clone, Copy)]
struct Asked<'a> {
    incoming: &'a Incoming<'a>,
    staged: &'a StagedRequest,
    transaction: Transaction,
    issuer: IssuerId,
    cause: Cause,
    /// What of it goes into the answer.
    echo: FieldSet,
}

/// The approval: what the acquirer and the issuer are told.
struct Papers {
    approval: [u8; 6],
    answer: [u8; FRAME_BYTES_MAX],
    answer_bytes: usize,
    advice: [u8; FRAME_BYTES_MAX],
    advice_bytes: usize,
}

impl Shard {
    /// A request that finds no way to its issuer, `reason`: approved here, or refused with it.
    pub(super) fn stand_in_or(
        &mut self,
        now: Now,
        (incoming, staged): (&Incoming<'_>, &StagedRequest),
        (transaction, issuer, reason): (Transaction, IssuerId, Reason),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let cause = Cause::of(reason).filter(|_| !self.stand_in.rules.is_empty());
        let Some(cause) = cause else { return Err(reason) };
        let echo = incoming.profile.dialect.echo;
        let asked = Asked { incoming, staged, transaction, issuer, cause, echo };
        if self.stand_in(now, asked, outbox) { Ok(()) } else { Err(reason) }
    }

    /// A request that was forwarded and not answered, its reversal owed, or that could not be handed
    /// over: approved here? It has ended already; only an approval changes that.
    pub(super) fn stand_in_after(
        &mut self,
        now: Now,
        request: &PendingRequest,
        end: Ending,
        outbox: &mut Outbox,
    ) -> bool {
        let cause = match () {
            () if self.stand_in.rules.is_empty() => return false,
            () if end.is_silence() => Cause::TimeOut,
            // Often the first to meet a link that is just being lost.
            () if end.is_not_sent() => Cause::Unreachable,
            () => return false,
        };
        let profile: Rc<AcquirerConfig> = Rc::clone(&request.profile);
        let mut copy = [0; FRAME_BYTES_MAX];
        let kept = self.kept.get(request.kept);
        let Some(all) = copy.get_mut(..kept.len()) else { return false };
        all.copy_from_slice(kept);
        let split = all.split_at_checked(usize::from(request.header_bytes));
        let Some((header, message)) = split else { return false };
        let mut table = FieldTable::default();
        let Ok(view) = profile.dialect.parse(message, &mut table) else { return false };
        let Ok(mut transaction) = intake::check_transaction(&view, &profile) else { return false };
        // DE 52 is not kept.
        transaction.pin |= request.pin;
        let staged = StagedRequest {
            table: FieldTable::default(),
            connection: request.origin,
            error: None,
            // Of a token the card's.
            pan: self.cipher.pan(&request.card).ok_or(PanError::Missing),
            card: request.card,
            owner: self.id,
            key: request.key,
            fingerprint: request.fingerprint,
            token_data: Some(request.token_data),
            tap: None,
        };
        let echo = profile.dialect.echo;
        let echo = if request.pan_from_track { echo.without(2) } else { echo };
        let incoming = Incoming { view, header, connection: request.origin, profile: &profile };
        let issuer = request.issuer;
        let asked =
            Asked { incoming: &incoming, staged: &staged, transaction, issuer, cause, echo };
        self.stand_in(now, asked, outbox)
    }

    /// Approves it, if a rule means it and all limits allow it.
    #[cold]
    fn stand_in(&mut self, now: Now, asked: Asked<'_>, outbox: &mut Outbox) -> bool {
        let Asked { incoming, staged, transaction, issuer, cause, .. } = asked;
        let view = &incoming.view;
        let is_possible = is_plain_purchase(view, &transaction)
            && !has_pin(view, &transaction)
            && !self.may_be_lost(now, view.mti(), view.transmission_time())
            && self.legs.speaks(issuer, incoming.profile.dialect);
        if !is_possible {
            return false;
        }
        let counted = self.velocity_transaction(incoming, staged, &transaction);
        let Ok(Some(counted)) = counted else { return false };
        let Self { stand_in, velocity, .. } = &*self;
        let meant = stand_in
            .rules
            .iter()
            .find(|rule| cause.is_meant(&rule.config) && velocity.stands_in(&counted, rule.limit));
        let Some(rule) = meant.cloned() else { return false };
        let judged = self.velocity.judge_stand_in(now.wall_ms, staged.card, &counted);
        let reservation = match judged {
            Ok(reservation) if self.saf.has_room(self.pending.len()) => reservation,
            Ok(_) => return self.refuse_stand_in(now, incoming, rule.limit),
            Err(Refusal::Limit { limit, .. }) => {
                return self.refuse_stand_in(now, incoming, limit);
            }
            Err(Refusal::TableFull) => return self.refuse_stand_in(now, incoming, rule.limit),
        };
        let papers = self.saf.next_id().and_then(|id| write_papers(self.id, id, &asked, &rule));
        let Some(papers) = papers else {
            return self.refuse_stand_in(now, incoming, rule.limit);
        };
        // Last: it may lend from other shards' parts of a limit.
        let Ok(scopes) = self.judge_scopes(now, incoming, (staged, &transaction), outbox) else {
            return self.refuse_stand_in(now, incoming, rule.limit);
        };
        self.hold_scopes(now, staged.key, &scopes, outbox);
        self.approve_standing_in(now, asked, (&rule, reservation, &papers), outbox);
        true
    }

    /// Told with the limit that refused, or of what is full with the rule's.
    fn refuse_stand_in(&mut self, now: Now, incoming: &Incoming<'_>, limit: u8) -> bool {
        self.counters.add(Counter::StandInDeclined);
        let detail = self.limit_number(limit).saturating_add(1);
        self.note(now, incoming, Note { detail, ..Note::only(Counter::StandInDeclined) });
        false
    }

    /// The advice is owed, the approval recorded, then the answer leaves, then the advice.
    fn approve_standing_in(
        &mut self,
        now: Now,
        asked: Asked<'_>,
        (rule, reservation, papers): (&Rule, Reservation, &Papers),
        outbox: &mut Outbox,
    ) {
        let Asked { incoming, staged, transaction, issuer, .. } = asked;
        let owed = self.owe_stand_in_advice(now, asked, papers, outbox);
        let approved = (&transaction, issuer, reservation);
        let (original, entry) = self.approved_here(incoming, staged, approved);
        let settlement = if reservation.is_empty() {
            Settlement::None
        } else {
            Settlement::Count { amount_minor: reservation.amount_minor(), pin: false }
        };
        let answer = papers.answer.get(..papers.answer_bytes).unwrap_or_default();
        let additions = additions_of(incoming.profile, rule, answer);
        let (key, fingerprint) = (staged.key, staged.fingerprint);
        let answered = Answered {
            key,
            fingerprint,
            original: &original,
            settlement,
            answer: additions.bytes(),
            entry: Some(entry),
        };
        self.commit(now, Change::Answered(answered), outbox);
        self.counters.add(Counter::StandInApproved);
        self.counters.add(Counter::AnsweredBySwitch);
        self.codes.add(ResponseCode::APPROVED);
        let detail = self.limit_number(rule.limit).saturating_add(1);
        let note = Note::answered(Counter::StandInApproved, ResponseCode::APPROVED);
        self.note(now, incoming, Note { detail, ..note });
        self.times.answered(now.mono_ns, 0, incoming.connection.acquirer);
        let frame = write_frame(incoming.profile, incoming.header, outbox, |out| {
            out.get_mut(..answer.len())?.copy_from_slice(answer);
            Some(answer.len())
        });
        self.deliver(now, incoming.connection, frame, Gate::Durable, outbox);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
    }

    fn owe_stand_in_advice(
        &mut self,
        now: Now,
        asked: Asked<'_>,
        papers: &Papers,
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let dialect = asked.incoming.profile.dialect;
        let mut table = FieldTable::default();
        let advice = papers.advice.get(..papers.advice_bytes)?;
        let view = dialect.parse(advice, &mut table).ok()?;
        let whose = (asked.issuer, asked.incoming.connection.acquirer, asked.staged.card);
        let fields = view.present().minus(MACS_AND_NUMBERS);
        self.store_owed(now, whose, (view.mti(), &view, fields), Written::NONE, outbox)
    }
}

/// A purchase of its own, over and done with its answer. With cash back is not one.
fn is_plain_purchase(view: &MessageView<'_>, transaction: &Transaction) -> bool {
    view.mti().without_repeat() == Mti::FINANCIAL_REQUEST
        && transaction.processing.transaction_type() == ProcessingCode::PURCHASE
        && !OF_A_HOLD.contains(&transaction.condition)
        && !view.has(38)
        && !view.has(90)
}

/// A PIN came with it, or it says that one was entered: DE 22, 26, 52, or SM4's in DE 63.
fn has_pin(view: &MessageView<'_>, transaction: &Transaction) -> bool {
    let sm4 = view.raw(63).unwrap_or_default().windows(2).any(|usage| usage == b"SM");
    transaction.pin || view.has(26) || sm4
}

/// Both messages, before anything is changed: `None` when one cannot be written.
fn write_papers(shard: ShardId, id: OwedId, asked: &Asked<'_>, rule: &Rule) -> Option<Papers> {
    let mut papers = Papers {
        approval: approval_code(shard, id),
        answer: [0; FRAME_BYTES_MAX],
        answer_bytes: 0,
        advice: [0; FRAME_BYTES_MAX],
        advice_bytes: 0,
    };
    let (view, dialect) = (&asked.incoming.view, asked.incoming.profile.dialect);
    let code = Addition { field: 39, value: ResponseCode::APPROVED.bytes() };
    let approval = Addition { field: 38, value: &papers.approval };
    let mark = rule.config.mark.as_ref().filter(|(field, _)| dialect.spec(*field).is_some());
    let (mark_field, mark_text) = mark.map_or((0, ""), |(field, text)| (*field, text.as_str()));
    let all = [approval, code, Addition { field: mark_field, value: mark_text.as_bytes() }];
    let told = if mark.is_some() { &all[..] } else { &all[..2] };
    let mti = view.mti().response()?;
    papers.answer_bytes = respond(view, mti, asked.echo, told, &mut papers.answer).ok()?;
    let mut why = [0; REASON_BYTES_MAX];
    let field = rule.config.reason_field;
    let why = reason_in(view.raw(field), asked.cause.reason(&rule.config), &mut why)?;
    let told = [approval, code, Addition { field, value: why }];
    let told = if dialect.spec(field).is_some() { &told[..] } else { &told[..2] };
    let kept = dialect.kept;
    papers.advice_bytes =
        respond(view, Mti::FINANCIAL_ADVICE, kept, told, &mut papers.advice).ok()?;
    Some(papers)
}

/// The element with the reason as its first four characters.
fn reason_in<'o>(
    element: Option<&[u8]>,
    reason: &[u8; 4],
    out: &'o mut [u8; REASON_BYTES_MAX],
) -> Option<&'o [u8]> {
    let element = element.unwrap_or_default();
    let bytes = element.len().max(reason.len());
    let out = out.get_mut(..bytes)?;
    out.get_mut(..element.len())?.copy_from_slice(element);
    out.get_mut(..reason.len())?.copy_from_slice(reason);
    Some(out)
}

/// DE 38, another one for each: the shard, and the number of the advice, which counts on after a
/// restart.
fn approval_code(shard: ShardId, id: OwedId) -> [u8; 6] {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digit = |number: u64| DIGITS.get((number % 36) as usize).copied().unwrap_or(b'0');
    let mut code = [APPROVAL_PREFIX; 6];
    let mut number = id.number;
    for place in code.iter_mut().skip(2).rev() {
        *place = digit(number);
        number /= 36;
    }
    code[1] = digit(u64::from(shard.0));
    code
}

/// What a repeat is answered besides the request's own fields.
fn additions_of(profile: &AcquirerConfig, rule: &Rule, answer: &[u8]) -> Additions {
    let mut table = FieldTable::default();
    let set = FieldSet::of(&[38]);
    let set = rule.config.mark.as_ref().map_or(set, |(field, _)| set.with(*field));
    match profile.dialect.parse(answer, &mut table) {
        Ok(view) => Additions::of(&view, set),
        Err(_) => Additions::none(),
    }
}

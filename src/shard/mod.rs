//! Decisions. A [`Shard`] is a plain struct: bytes and time in, [`Action`] values out. It knows no
//! clock, no sockets, no threads and no randomness of its own; the same inputs make the same
//! actions.
//!
//! Inputs are the `on_*` methods. `now` never goes back. The driver stages a batch (at most
//! `limits::STAGED_MAX` messages ahead), decides each message, and empties the outbox completely
//! before it waits, and whenever [`Outbox::has_room`] says no. [`Shard::next_deadline`] says when
//! [`Shard::on_deadline`] is due at the latest.
//!
//! The path of a request:
//!
//! ```text
//! stage ─▶ intake ─▶ placement ─▶ duplicate ─▶ routing ─▶ issuer_link ─▶ velocity ─▶ pending ─▶ issuer
//! issuer ─▶ pending ─▶ authorization ─▶ relay ─▶ acquirer
//! ```

mod acknowledgement;
mod acquirer_session;
pub mod action;
mod advice;
pub mod answer_codes;
mod apply;
pub mod authorization;
pub mod card_cipher;
mod completion;
mod configured;
mod connections;
pub mod counters;
pub mod deadlines;
mod delivery;
pub mod duplicate;
mod fair_share;
mod field_list;
mod forward;
pub mod identity;
mod intake;
mod issuer_answer;
mod issuer_link;
mod issuer_reconciliation;
pub mod journal_record;
mod kept;
pub mod levels;
mod link_management;
mod link_state;
mod links;
mod mesh_input;
mod network_management;
mod notice;
mod original_data;
pub mod outcome;
mod outcomes;
mod owed;
mod owed_age;
mod own_answer;
pub mod parked;
mod partial_reversal;
mod pending;
mod placement;
pub mod preauthorization;
mod reconciliation;
pub mod recovery;
mod remembered;
mod requestors;
mod reversal;
mod reversal_reason;
pub mod routing;
mod saf;
mod scope_limits;
mod second_route;
mod secrets;
pub mod settlement_day;
mod shedding;
pub mod snapshot;
mod stand_in;
pub mod state_layout;
mod switch_time;
pub mod time_buckets;
pub mod totals;
mod undelivered;
mod unnamed_reversal;
pub mod velocity;
mod void;
pub mod wallet;

#[cfg(test)]
pub(crate) mod tests;

pub use action::{Action, MeshKind, Outbox};
pub use configured::Configured;
pub use counters::{Counter, Counters, Gauges, LinkGauges, Published};
pub use identity::{AcquirerId, CardKey, ConnectionId, IssuerId, LinkId, Now, ShardId};
pub use intake::Staged;
pub use saf::OwedCounts;
pub use secrets::{CryptogramKeys, Secrets};
pub use switch_time::SwitchTime;

use crate::config::{AcquirerConfig, Config};
use crate::limits::{
    EARLY_REDUCTIONS_MAX, FRAME_BYTES_MAX, SAF_MAX, UNDELIVERED_MAX, VELOCITY_GROUP_LINES,
};
use answer_codes::AnswerCodes;
use card_cipher::CardCipher;
use connections::{Connections, Session};
use deadlines::Deadlines;
use delivery::Gate;
use duplicate::{DuplicateHasher, DuplicateMemory, DuplicateRoom};
use intake::{Kind, StagedRequest, StagedRequests};
use issuer_link::IssuerLegs;
use kept::Kept;
use levels::{AcquirerTimes, IssuerTimes};
use outcomes::Outcomes;
use own_answer::Reason;
use partial_reversal::EarlyReductions;
use pending::Pending;
use placement::Credits;
use preauthorization::Preauthorizations;
use recovery::Recovering;
use requestors::Requestors;
use routing::Routing;
use saf::Saf;
use settlement_day::SettlementDay;
use stand_in::StandIn;
use std::rc::Rc;
use tapswitch_protocol::{FieldSet, FieldTable, FrameError, MessageView, PanError};
use totals::Totals;
use undelivered::Undelivered;
use velocity::escrow::Escrow;
use velocity::{PassedTable, Velocity};
use wallet::{Tap, Wallet};

/// One shard: its cards, its connections, its part of every issuer's trace numbers.
pub struct Shard {
    id: ShardId,
    shards: usize,
    profiles: Vec<Rc<AcquirerConfig>>,
    cipher: CardCipher,
    hasher: DuplicateHasher,
    staged: StagedRequests,
    connections: Connections,
    credits: Credits,
    duplicates: DuplicateMemory,
    routing: Routing,
    legs: IssuerLegs,
    velocity: Velocity,
    /// Limits of terminals, merchants, acquirers and tokens, where there are any.
    escrow: Option<Box<Escrow>>,
    requestors: Requestors,
    wallet: Wallet,
    pending: Pending,
    deadlines: Deadlines,
    preauthorizations: Preauthorizations,
    saf: Saf,
    undelivered: Undelivered,
    reductions: EarlyReductions,
    kept: Kept,
    scratch: Scratch,
    counters: Counters,
    outcomes: Outcomes,
    times: SwitchTime,
    issuer_times: IssuerTimes,
    acquirer_times: AcquirerTimes,
    codes: AnswerCodes,
    forwarded: Vec<u32>,
    batch_began_ns: u64,
    /// When what is being decided came; the end of time: just now.
    arrived_ns: u64,
    /// Messages refused for want of room.
    shed: u64,
    draining: bool,
    journal_full: bool,
    /// While records are replayed.
    recovering: Option<Box<Recovering>>,
    /// While a snapshot is put back.
    loading: Option<snapshot::Loading>,
    /// While a snapshot is taken.
    taking: Option<snapshot::Taking>,
    /// When the switch last started on a journal.
    started_wall_ms: Option<u64>,
    /// Number of the configuration that transactions are judged by; 0 before the first.
    epoch: u64,
    /// By which number the outcome log knows each limit.
    limit_numbers: Vec<u8>,
    /// The message that may go now that the one before it is done.
    next_owed: Option<u32>,
    stand_in: StandIn,
    totals: Totals,
    settlement_day: SettlementDay,
    /// Whose totals of which date are being added up for the issuer.
    adding_up: Option<(IssuerId, u32)>,
}

/// MACs, and the elements that the switch writes anew on the issuer leg.
const MACS_AND_NUMBERS: FieldSet = FieldSet::of(&[7, 11, 64, 128]);

/// Tables and bytes that are used within one call. A table is taken out while it is in use; a call
/// within a call (an answer that turns out undeliverable) finds none and makes its own.
struct Scratch {
    kept: Option<Box<FieldTable>>,
    issuer: Option<Box<FieldTable>>,
    bytes: Box<[u8; FRAME_BYTES_MAX]>,
}

/// A message being decided: its fields, and where its answer goes.
struct Incoming<'a> {
    view: MessageView<'a>,
    header: &'a [u8],
    connection: ConnectionId,
    profile: &'a AcquirerConfig,
}

/// A message from another shard, as the ring carries it.
#[derive(Clone, Copy)]
pub struct MeshMessage<'a> {
    /// What it is.
    pub kind: MeshKind,
    /// The acquirer connection that it is about.
    pub connection: ConnectionId,
    /// How many of the bytes are the frame's header (requests only).
    pub header_bytes: u8,
    /// Header and message, or a frame.
    pub bytes: &'a [u8],
}

/// Forwards whose time is recorded per batch; further ones of a larger batch are not.
const FORWARDED_PER_BATCH_MAX: usize = 4_096;

impl Shard {
    /// A shard of `config.switch.shards`; allocates all that it will ever use.
    #[must_use]
    pub fn new(id: ShardId, config: &Config, secrets: &Secrets) -> Self {
        Self::with_table(id, config, secrets, None)
    }

    /// The same, with the cards' lines that a process before passed, if they fit.
    #[must_use]
    pub fn with_table(
        id: ShardId,
        config: &Config,
        secrets: &Secrets,
        passed: Option<PassedTable>,
    ) -> Self {
        let shards = config.switch.shards.max(1);
        let pending_max = config.switch.pending_max;
        let saf_max = SAF_MAX + pending_max;
        Self {
            id,
            shards,
            profiles: config.acquirers.iter().cloned().map(Rc::new).collect(),
            cipher: CardCipher::new(&secrets.card_key),
            hasher: DuplicateHasher::new(secrets.digest_key),
            staged: StagedRequests::new(),
            connections: Connections::new(),
            credits: Credits::new(),
            duplicates: DuplicateMemory::new(DuplicateRoom {
                answers_bytes: config.switch.duplicates_bytes,
                originals_bytes: config.switch.originals_bytes,
                pending_max,
            }),
            routing: Routing::new(&config.iins),
            legs: IssuerLegs::new(&config.issuers, config.acquirers.len(), (id, shards)),
            velocity: Velocity::with_table(
                &config.velocity,
                lines_of(config.velocity.lines, shards),
                passed,
            ),
            escrow: Escrow::new(&config.velocity, (id, shards), secrets.digest_key),
            requestors: Requestors::new(&config.requestors),
            wallet: Wallet::new(config, secrets),
            pending: Pending::new(pending_max, config.acquirers.len()),
            deadlines: Deadlines::new(
                pending_max + saf_max + UNDELIVERED_MAX + acquirer_session::SESSION_TIMERS,
            ),
            preauthorizations: Preauthorizations::new(config.switch.preauthorizations_max),
            saf: Saf::new(saf_max, &config.issuers, shards),
            undelivered: Undelivered::new(),
            reductions: EarlyReductions::new(),
            kept: Kept::new(pending_max + saf_max + UNDELIVERED_MAX + EARLY_REDUCTIONS_MAX),
            scratch: Scratch {
                kept: Some(Box::default()),
                issuer: Some(Box::default()),
                bytes: Box::new([0; FRAME_BYTES_MAX]),
            },
            counters: Counters::default(),
            outcomes: Outcomes::new(id, config.outcomes.is_some()),
            times: SwitchTime::default(),
            issuer_times: IssuerTimes::new(config.issuers.len()),
            acquirer_times: AcquirerTimes::new(config.acquirers.len()),
            codes: AnswerCodes::default(),
            forwarded: Vec::with_capacity(FORWARDED_PER_BATCH_MAX),
            batch_began_ns: 0,
            arrived_ns: u64::MAX,
            shed: 0,
            draining: false,
            journal_full: false,
            recovering: None,
            loading: None,
            taking: None,
            started_wall_ms: None,
            epoch: 0,
            limit_numbers: Vec::new(),
            next_owed: None,
            stand_in: StandIn::new(&config.velocity),
            totals: Totals::new(),
            settlement_day: SettlementDay::new(config.switch.cutoff),
            adding_up: None,
        }
    }

    /// A connection is gone. What it still waits for goes to another connection of its acquirer, or
    /// is reversed when its answer comes.
    pub fn on_connection_closed(&mut self, connection: ConnectionId) {
        self.forget_connection(connection);
    }

    /// A connection's framing was lost, or it was given up.
    pub fn on_frame_error(&mut self, error: FrameError) {
        self.counters.add(match error {
            FrameError::Zero => Counter::FrameZero,
            FrameError::TooLong => Counter::FrameTooLong,
            FrameError::NotDigits => Counter::FrameNotDigits,
        });
    }

    /// Something that only I/O sees and only the shard counts.
    pub fn on_counted(&mut self, counter: Counter) {
        self.counters.add(counter);
    }

    /// Reads one message and hashes what names it; decides nothing. At most `STAGED_MAX` messages
    /// are staged ahead of their decision.
    #[inline]
    pub fn stage(&mut self, connection: ConnectionId, body: &[u8]) -> Staged {
        let (staged, slot) = self.staged.next();
        let profile = self.profiles.get(usize::from(connection.acquirer.0));
        let (Some(slot), Some(profile)) = (slot, profile) else { return staged };
        slot.connection = connection;
        slot.error = profile.dialect.parse(body, &mut slot.table).err();
        slot.pan = Err(PanError::Missing);
        slot.card = CardKey([0; 16]);
        let Some(view) = slot.table.view(profile.dialect, body) else { return staged };
        slot.pan = view.pan();
        slot.owner = self.id;
        slot.tap = None;
        if let Ok(pan) = &slot.pan {
            if let Some(token) = self.wallet.token_of(pan) {
                slot.tap = Some(Tap { token, translated: None });
                self.wallet.prefetch(token);
                return staged;
            }
            slot.card = self.cipher.key(pan);
            slot.owner = placement::owner(slot.card, self.shards);
            if slot.owner != self.id {
                return staged;
            }
            self.velocity.prefetch(slot.card);
        }
        let class = (view.mti().number() / 100 % 10) as u8;
        let acquirer = connection.acquirer;
        slot.key = self.hasher.key(acquirer, class, profile.duplicate_key, &view);
        let card = slot.pan.is_ok().then_some(&slot.card);
        slot.fingerprint = self.hasher.fingerprint(card, &view);
        self.duplicates.prefetch(&slot.key);
        staged
    }

    /// The line of the next message's card may have come by now; if it is another's, there is time to
    /// fetch where else the card may be.
    #[inline]
    fn look_ahead(&mut self, staged: Staged) {
        let next = self.staged.after(staged);
        let is_here = |next: &&StagedRequest| next.owner == self.id && next.tap.is_none();
        if let Some(card) = next.filter(is_here).map(|next| next.card) {
            self.velocity.prefetch_again(card);
        }
    }

    /// Decides a message that a connection of this shard brought.
    #[inline]
    pub fn on_request(
        &mut self,
        now: Now,
        staged: Staged,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        self.batch_began_ns = now.mono_ns;
        self.counters.add(Counter::Received);
        self.keep_date(now, outbox);
        let Some(request) = self.staged.take(staged) else { return };
        self.look_ahead(staged);
        if let Some(profile) = self.profile(request.connection) {
            self.intake(now, &request, &profile, (header, body), outbox);
        }
        self.staged.give(staged, request);
    }

    #[inline]
    fn profile(&self, connection: ConnectionId) -> Option<Rc<AcquirerConfig>> {
        self.profiles.get(usize::from(connection.acquirer.0)).map(Rc::clone)
    }

    /// Whether it can be answered at all, is well-formed, and is allowed on this connection now.
    fn intake(
        &mut self,
        now: Now,
        staged: &StagedRequest,
        profile: &AcquirerConfig,
        (header, body): (&[u8], &[u8]),
        outbox: &mut Outbox,
    ) {
        let view = staged.table.view(profile.dialect, body);
        let Some(view) = view.filter(|view| view.stan().is_some()) else {
            return self.drop_message(staged.connection, Counter::DroppedUnreadable, outbox);
        };
        let incoming = Incoming { view, header, connection: staged.connection, profile };
        if profile.session.echo_idle_ms != 0 {
            self.connections.on_heard(staged.connection, now.mono_ns);
        }
        if !incoming.view.mti().expects_response() {
            return self.take_acquirer_answer(&incoming, outbox);
        }
        let Some(kind) = Kind::of(incoming.view.mti()) else {
            return self.answer_own(now, &incoming, Reason::UnknownMti, outbox);
        };
        if let Some(error) = staged.error {
            return self.answer_own(now, &incoming, Reason::Format(error.field), outbox);
        }
        if kind == Kind::NetworkManagement {
            return self.manage_network(now, &incoming, outbox);
        }
        if !self.is_signed_on(&incoming) {
            return self.answer_own(now, &incoming, Reason::NotSignedOn, outbox);
        }
        if kind == Kind::Reconciliation {
            if let Err(reason) = self.reconcile(now, &incoming, outbox) {
                self.answer_own(now, &incoming, reason, outbox);
            }
            return;
        }
        if let Some(tap) = staged.tap {
            self.take_tap(now, (kind, tap), &incoming, outbox);
        } else if staged.owner == self.id {
            self.decide(now, kind, &incoming, staged, outbox);
        } else {
            self.hand_over(now, &incoming, (staged.owner, (MeshKind::Request, None)), outbox);
        }
    }

    /// Decides a well-formed message about a card of this shard.
    fn decide(
        &mut self,
        now: Now,
        kind: Kind,
        incoming: &Incoming<'_>,
        staged: &StagedRequest,
        outbox: &mut Outbox,
    ) {
        // Nothing could be recorded: not even a decline is remembered.
        if self.journal_full && self.duplicates.lookup(&staged.key).is_none() {
            return self.answer_own(now, incoming, Reason::JournalFull, outbox);
        }
        let decided = match kind {
            Kind::Request => self.authorize(now, incoming, staged, outbox),
            Kind::Advice => self.accept_advice(now, incoming, staged, outbox),
            Kind::Notice => self.accept_notice(now, incoming, staged, outbox),
            Kind::Reversal if Self::is_unnamed(staged) => {
                self.reverse_unnamed(now, incoming, staged, outbox)
            }
            Kind::Reversal => self.reverse(now, incoming, staged, outbox),
            Kind::NetworkManagement | Kind::Reconciliation => Ok(()),
        };
        if let Err(reason) = decided {
            self.answer_own(now, incoming, reason, outbox);
        }
    }

    /// Sign-on is asked where the connection is; a request from another shard has passed there.
    fn is_signed_on(&self, incoming: &Incoming<'_>) -> bool {
        if incoming.connection.shard != self.id {
            return true;
        }
        match self.connections.session(incoming.connection) {
            Some(Session::SignedOn) => true,
            Some(Session::SignedOff) => false,
            Some(Session::Fresh) | None => !incoming.profile.sign_on_required,
        }
    }

    fn manage_network(&mut self, now: Now, incoming: &Incoming<'_>, outbox: &mut Outbox) {
        match network_management::order(&incoming.view) {
            Ok(order) => {
                if let Some(session) = network_management::session(order) {
                    self.connections.set_session(incoming.connection, session);
                }
                if order == network_management::Order::SignOn {
                    self.on_acquirer_signed_on(now, incoming);
                }
                self.counters.add(Counter::NetworkManagement);
                self.answer_approved(now, incoming, Gate::Open, outbox);
            }
            Err(reason) => self.answer_own(now, incoming, reason, outbox),
        }
    }

    /// The batch is over: everything it made has been handed on.
    pub fn on_batch_end(&mut self, now: Now) {
        self.arrived_ns = u64::MAX;
        for place in self.forwarded.drain(..) {
            if let Some(request) = self.pending.get_mut(place)
                && request.arrived_ns == self.batch_began_ns
            {
                request.before_ns = now.mono_ns.saturating_sub(request.arrived_ns);
            }
        }
        self.times.end_batch(now.mono_ns, &mut self.acquirer_times);
        self.velocity.on_batch_end(now.wall_ms);
        self.counters.add_more(Counter::VelocityAudited, self.velocity.take_audited());
        self.outcomes.end_batch(now.mono_ns);
    }

    /// Keeps a second book on one card of so many, in a world of few cards. Before anything is counted.
    pub fn audit_one_of(&mut self, cards: u64) {
        self.velocity.audit_one_of(cards);
    }

    /// The journal's disk is nearly full: new requests are answered "overload", and what may not be
    /// shed stays with its sender; what is under way is finished.
    pub fn on_journal_full(&mut self, is_full: bool) {
        self.journal_full = is_full;
    }

    /// The switch is stopping: new requests are answered "issuer unavailable", and acquirers that have
    /// signed on are told by a sign-off, with the next [`Shard::on_deadline`].
    pub fn on_drain(&mut self) {
        self.draining = true;
        self.sign_off_acquirers();
    }

    /// Requests not answered yet, here or on other shards, answers that nobody got yet, and messages
    /// owed to issuers.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len() + self.saf.len() + self.undelivered.len() + self.credits.out()
    }

    /// Messages owed to issuers.
    #[must_use]
    pub fn owed(&self) -> usize {
        self.saf.len()
    }

    /// Messages owed to one issuer, and those that it refuses and that wait for an operator.
    #[must_use]
    pub fn owed_to(&self, issuer: IssuerId) -> OwedCounts {
        self.saf.counts(issuer)
    }

    /// When [`Shard::on_deadline`] is due at the latest, in monotonic nanoseconds.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.next_deadline()
    }

    /// What it counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Cards that take a line of the velocity table.
    #[must_use]
    pub fn cards(&self) -> usize {
        self.velocity.occupied()
    }

    /// Answers no longer remembered because newer ones took their place.
    #[must_use]
    pub fn duplicate_evictions(&self) -> u64 {
        self.duplicates.evictions()
    }

    /// Originals no longer remembered because newer ones took their place.
    #[must_use]
    pub fn original_evictions(&self) -> u64 {
        self.duplicates.original_evictions()
    }

    /// The time that the switch added to transactions.
    #[must_use]
    pub fn switch_time(&self) -> &SwitchTime {
        &self.times
    }
}

/// A shard's share of the velocity lines, in whole groups.
fn lines_of(lines: usize, shards: usize) -> usize {
    lines.div_ceil(shards).next_multiple_of(VELOCITY_GROUP_LINES)
}

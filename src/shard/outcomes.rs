//! Entries for the outcome log, on their way out of the shard: a buffer of fixed size that the
//! driver empties. When it is full, further entries are dropped and counted; no transaction waits
//! for one. Without an outcome log there is no buffer, and nothing is made.
//!
//! An entry is closed when its batch ends: only then it is known how long the switch took.

use super::outcome::{CardMask, NO_ISSUER, OUTCOME_BYTES, Outcome};
use super::pending::PendingRequest;
use super::{AcquirerId, Counter, Incoming, IssuerId, Now, Shard, ShardId, original_data};
use crate::config::AcquirerConfig;
use crate::limits::OUTCOMES_MAX;
use tapswitch_protocol::{FieldTable, MessageView, ResponseCode};

/// What happened, and what the acquirer was told.
#[derive(Clone, Copy)]
pub(super) struct Note {
    pub(super) what: Counter,
    /// The limit or the data element, from 1.
    pub(super) detail: u8,
    pub(super) code: Option<ResponseCode>,
}

impl Note {
    /// Answered with this code.
    pub(super) const fn answered(what: Counter, code: ResponseCode) -> Self {
        Self { what, detail: 0, code: Some(code) }
    }

    /// Not answered, or told in another entry how.
    pub(super) const fn only(what: Counter) -> Self {
        Self { what, detail: 0, code: None }
    }
}

/// The buffer.
pub(super) struct Outcomes {
    shard: ShardId,
    entries: Box<[[u8; OUTCOME_BYTES]]>,
    /// When each open entry's part of the switch's time began.
    began_ns: Box<[u64]>,
    used: usize,
    closed: usize,
}

impl Outcomes {
    pub(super) fn new(shard: ShardId, is_on: bool) -> Self {
        let count = if is_on { OUTCOMES_MAX } else { 0 };
        Self {
            shard,
            entries: vec![[0; OUTCOME_BYTES]; count].into_boxed_slice(),
            began_ns: vec![0; count].into_boxed_slice(),
            used: 0,
            closed: 0,
        }
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        !self.entries.is_empty()
    }

    /// What a message says of itself, and what happened to it.
    fn of_message(
        &self,
        now: Now,
        acquirer: AcquirerId,
        view: &MessageView<'_>,
        note: Note,
    ) -> Outcome {
        let original = original_data::OriginalDataElements::read(view);
        Outcome {
            wall_ms: now.wall_ms,
            amount_minor: view.amount().map_or(0, |amount| amount.0),
            rrn: text(view, 37),
            terminal: text(view, 41),
            merchant: text(view, 42),
            card: view.pan().as_ref().map(CardMask::of).unwrap_or_default(),
            what: note.what as u8,
            detail: note.detail,
            code: note.code.map_or([0; 2], |code| *code.bytes()),
            stan: view.stan().map_or(0, |stan| stan.0),
            original_stan: original.map_or(0, |original| number(original.stan)),
            transmission_time: view.transmission_time().map_or(0, |time| time.0),
            mti: view.mti().number(),
            currency: view.currency().map_or(0, |currency| currency.0),
            acquirer: acquirer.0,
            issuer: NO_ISSUER,
            shard: self.shard.0,
            issuer_ns: 0,
            before_ns: 0,
            after_ns: 0,
            issuer_stan: 0,
            issuer_transmission_time: 0,
        }
    }

    /// The end of a request that was forwarded. False: there was no room for it.
    #[inline]
    pub(super) fn note_request(
        &mut self,
        now: Now,
        request: &PendingRequest,
        view: &MessageView<'_>,
        note: Note,
    ) -> bool {
        if !self.is_on() {
            return true;
        }
        let spent_ns = now.mono_ns.saturating_sub(request.arrived_ns);
        let outcome = Outcome {
            issuer: request.issuer.0,
            issuer_stan: request.stan.0,
            issuer_transmission_time: request.sent.0,
            before_ns: short(request.before_ns),
            issuer_ns: spent_ns.saturating_sub(request.before_ns),
            ..self.of_message(now, request.origin.acquirer, view, note)
        };
        self.push(now, &outcome)
    }

    /// Adds an entry. False: there was no room for it.
    fn push(&mut self, now: Now, outcome: &Outcome) -> bool {
        let (Some(entry), Some(began_ns)) =
            (self.entries.get_mut(self.used), self.began_ns.get_mut(self.used))
        else {
            return false;
        };
        outcome.encode(entry);
        *began_ns = now.mono_ns;
        self.used += 1;
        true
    }

    /// The batch is over: its entries are closed.
    #[inline]
    pub(super) fn end_batch(&mut self, end_ns: u64) {
        let open = self.closed..self.used;
        let entries = self.entries.get_mut(open.clone()).unwrap_or_default();
        for (entry, began_ns) in entries.iter_mut().zip(self.began_ns.get(open).unwrap_or_default())
        {
            Outcome::set_after_ns(entry, short(end_ns.saturating_sub(*began_ns)));
        }
        self.closed = self.used;
    }

    /// Moves closed entries to `out`, the oldest first, as many as it has room for.
    pub(super) fn take(&mut self, out: &mut Vec<u8>) {
        let room = (out.capacity() - out.len()) / OUTCOME_BYTES;
        let taken = room.min(self.closed);
        for entry in self.entries.iter().take(taken) {
            out.extend_from_slice(entry);
        }
        if taken > 0 {
            self.entries.copy_within(taken..self.used, 0);
            self.began_ns.copy_within(taken..self.used, 0);
            self.used -= taken;
            self.closed -= taken;
        }
    }
}

impl Shard {
    /// Notes what happened to a message that has not been forwarded.
    #[inline]
    pub(super) fn note(&mut self, now: Now, incoming: &Incoming<'_>, note: Note) {
        if self.outcomes.is_on() {
            self.note_message(now, incoming.connection.acquirer, &incoming.view, note);
        }
    }

    fn note_message(&mut self, now: Now, acquirer: AcquirerId, view: &MessageView<'_>, note: Note) {
        let outcome = self.outcomes.of_message(now, acquirer, view, note);
        if !self.outcomes.push(now, &outcome) {
            self.counters.add(Counter::OutcomeDropped);
        }
    }

    /// Notes the end of a request of which only the kept part is left.
    pub(super) fn note_kept(
        &mut self,
        now: Now,
        request: &PendingRequest,
        profile: &AcquirerConfig,
        note: Note,
    ) {
        if !self.outcomes.is_on() {
            return;
        }
        let mut table = FieldTable::default();
        let split = self.kept.get(request.kept).split_at_checked(usize::from(request.header_bytes));
        let view = split.and_then(|(_, kept)| profile.dialect.parse(kept, &mut table).ok());
        let noted = view.is_some_and(|view| self.outcomes.note_request(now, request, &view, note));
        if !noted {
            self.counters.add(Counter::OutcomeDropped);
        }
    }

    /// Notes an issuer's answer that came too late to be told.
    pub(super) fn note_late(
        &mut self,
        now: Now,
        (issuer, acquirer): (IssuerId, AcquirerId),
        answer: &MessageView<'_>,
    ) {
        let note = Note { code: answer.response_code(), ..Note::only(Counter::Late) };
        self.note_of_issuer(now, (issuer, acquirer), answer, note);
    }

    /// Notes what an issuer said that no acquirer is told.
    pub(super) fn note_of_issuer(
        &mut self,
        now: Now,
        (issuer, acquirer): (IssuerId, AcquirerId),
        answer: &MessageView<'_>,
        note: Note,
    ) {
        if !self.outcomes.is_on() {
            return;
        }
        let of_answer = self.outcomes.of_message(now, acquirer, answer, note);
        // Its DE 11 and DE 7 are those of the issuer leg.
        let outcome = Outcome {
            issuer: issuer.0,
            issuer_stan: of_answer.stan,
            issuer_transmission_time: of_answer.transmission_time,
            stan: 0,
            transmission_time: 0,
            ..of_answer
        };
        if !self.outcomes.push(now, &outcome) {
            self.counters.add(Counter::OutcomeDropped);
        }
    }

    /// Moves entries of the outcome log to `out`, as many as it has room for.
    pub fn take_outcomes(&mut self, out: &mut Vec<u8>) {
        self.outcomes.take(out);
    }
}

/// Characters of a field, filled up with zeros; a longer field is cut.
#[inline]
fn text<const N: usize>(view: &MessageView<'_>, field: u8) -> [u8; N] {
    let mut out = [0; N];
    let raw = view.raw(field).unwrap_or_default();
    let count = raw.len().min(N);
    if let (Some(out), Some(raw)) = (out.get_mut(..count), raw.get(..count)) {
        out.copy_from_slice(raw);
    }
    out
}

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number: u32, digit| {
        number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
    })
}

fn short(ns: u64) -> u32 {
    u32::try_from(ns).unwrap_or(u32::MAX)
}

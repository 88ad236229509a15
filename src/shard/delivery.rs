//! Answers on their way to acquirers: the switch's own, and whole frames to connections here or on
//! other shards. Not here: what becomes of those that find their connection gone (`undelivered`).

use super::duplicate::DuplicateKey;
use super::outcomes::Note;
use super::own_answer::Reason;
use super::remembered::{Additions, Decoded};
use super::{Action, ConnectionId, Counter, Incoming, MeshKind, Now, Outbox, Shard};
use crate::config::AcquirerConfig;
use crate::limits::FRAME_BYTES_MAX;
use core::ops::Range;
use tapswitch_protocol::{
    Addition, FieldSet, MessageView, ResponseCode, WireField, relay, respond,
};

impl Shard {
    /// A message that nothing can be answered to.
    pub(super) fn drop_message(
        &mut self,
        connection: ConnectionId,
        counter: Counter,
        outbox: &mut Outbox,
    ) {
        self.counters.add(counter);
        self.answer_nothing(connection, outbox);
    }

    /// No answer goes to this transmission: its connection is not to wait for one. One from another
    /// shard gives its credit back.
    pub(super) fn answer_nothing(&self, connection: ConnectionId, outbox: &mut Outbox) {
        outbox.push(if connection.shard == self.id {
            Action::NoAnswer { connection }
        } else {
            let (to, kind) = (connection.shard, MeshKind::Credit);
            Action::Mesh { to, kind, connection, header_bytes: 0, bytes: 0..0 }
        });
    }

    /// Refuses a request.
    pub(super) fn answer_own(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        reason: Reason,
        outbox: &mut Outbox,
    ) {
        self.counters.add(reason.counter());
        self.shed += u64::from(reason.is_shed());
        let code = reason.code(&incoming.profile.codes);
        let note = Note { detail: reason.detail(), ..Note::answered(reason.counter(), code) };
        self.note(now, incoming, note);
        self.answer_code(now, incoming, (code, reason.field().as_ref()), Gate::Open, outbox);
    }

    /// Answers 00.
    pub(super) fn answer_approved(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        gate: Gate,
        outbox: &mut Outbox,
    ) {
        self.answer_code(now, incoming, (ResponseCode::APPROVED, None), gate, outbox);
    }

    /// Answers with this code; `field` is what DE 44 names.
    pub(super) fn answer_code(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (code, field): (ResponseCode, Option<&[u8; 3]>),
        gate: Gate,
        outbox: &mut Outbox,
    ) {
        self.codes.add(code);
        let dialect = incoming.profile.dialect;
        let code = Addition { field: 39, value: code.bytes() };
        let field = field.filter(|_| dialect.spec(44).is_some());
        let view = &incoming.view;
        let date = self.date_to_state(incoming).copied();
        let date = Addition { field: 15, value: date.as_ref().map_or(&[], |date| date) };
        let field = Addition { field: 44, value: field.map_or(&[], |field| field) };
        let all = [date, code, field];
        // Those that there is nothing to say in are at the ends.
        let from = usize::from(date.value.is_empty());
        let until = if field.value.is_empty() { 2 } else { 3 };
        let additions = all.get(from..until).unwrap_or_default();
        let frame = write_frame(incoming.profile, incoming.header, outbox, |out| {
            respond(view, view.mti().response()?, dialect.echo, additions, out).ok()
        });
        self.counters.add(Counter::AnsweredBySwitch);
        self.times.answered(now.mono_ns, 0, incoming.connection.acquirer);
        self.deliver(now, incoming.connection, frame, gate, outbox);
    }

    /// The remembered answer, around the repeat's own bytes.
    pub(super) fn answer_again(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (key, code, additions): (&DuplicateKey, ResponseCode, &Additions),
        outbox: &mut Outbox,
    ) {
        let decoded = Decoded::new(&code, additions.bytes());
        let view = &incoming.view;
        let echo = incoming.profile.dialect.echo;
        let frame = write_frame(incoming.profile, incoming.header, outbox, |out| {
            let nothing = (view, FieldSet::EMPTY);
            relay(view.mti().response()?, (view, echo), nothing, decoded.fields(), out).ok()
        });
        self.counters.add(Counter::Replayed);
        // What is known to have reached nobody goes out instead of the former copy; else it is one more.
        if self.undelivered.len() == 0 || !self.answered_elsewhere(key) {
            self.duplicates.mark_answered_again(key);
        }
        self.codes.add(code);
        self.note(now, incoming, Note::answered(Counter::Replayed, code));
        self.times.answered(now.mono_ns, 0, incoming.connection.acquirer);
        self.deliver(now, incoming.connection, frame, Gate::Durable, outbox);
    }

    /// Hands a frame to its connection, here or on another shard.
    pub(super) fn deliver(
        &mut self,
        now: Now,
        connection: ConnectionId,
        frame: Option<Range<usize>>,
        gate: Gate,
        outbox: &mut Outbox,
    ) {
        // A response is never longer than the slots: every field of it came from a frame or is short.
        let Some(bytes) = frame else {
            return self.drop_message(connection, Counter::UndeliverableLost, outbox);
        };
        if connection.shard != self.id {
            let (to, kind) = (connection.shard, MeshKind::Response);
            gate.push(Action::Mesh { to, kind, connection, header_bytes: 0, bytes }, outbox);
        } else if self.connections.is_open(connection) {
            gate.push(Action::Respond { connection, bytes }, outbox);
        } else {
            // Copied, because taking it back writes to the outbox.
            let mut copy = [0; FRAME_BYTES_MAX];
            let frame = outbox.bytes(&bytes);
            if let Some(copy) = copy.get_mut(..frame.len()) {
                copy.copy_from_slice(frame);
                self.on_undeliverable(now, connection, copy, outbox);
            }
        }
    }
}

/// When an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// At once: nothing was forwarded, or the issuer declined; or a request leaves while its record is
    /// written.
    Open,
    /// When all that is recorded until now is durable.
    Durable,
}

impl Gate {
    pub(super) fn push(self, action: Action, outbox: &mut Outbox) {
        match self {
            Self::Open => outbox.push(action),
            Self::Durable => outbox.push_gated(action),
        }
    }
}

/// Writes a response frame into the outbox's room; `None` when the message cannot be written.
pub(super) fn write_frame(
    profile: &AcquirerConfig,
    header: &[u8],
    outbox: &mut Outbox,
    message: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<Range<usize>> {
    let room = outbox.room();
    let body_at = profile.framing.begin_response(header, room)?;
    let bytes = body_at + message(room.get_mut(body_at..)?)?;
    profile.framing.finish(room, bytes);
    Some(outbox.claim(bytes))
}

/// Copies bytes into the outbox.
pub(super) fn copy_in(bytes: &[u8], outbox: &mut Outbox) -> Range<usize> {
    let room = outbox.room();
    let count = bytes.len().min(room.len());
    if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
        room.copy_from_slice(bytes);
    }
    outbox.claim(count)
}

/// The two fields that the switch writes on the issuer leg, ready for the wire.
pub(super) struct LegNumbers {
    time: [u8; 10],
    stan: [u8; 6],
}

impl LegNumbers {
    pub(super) fn new(time: u32, stan: u32) -> Self {
        let mut numbers = Self { time: [0; 10], stan: [0; 6] };
        let write = |mut number: u32, out: &mut [u8]| {
            for digit in out.iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        write(time, &mut numbers.time);
        write(stan, &mut numbers.stan);
        numbers
    }

    pub(super) const fn time(&self) -> WireField<'_> {
        WireField { field: 7, wire: &self.time }
    }

    pub(super) const fn stan(&self) -> WireField<'_> {
        WireField { field: 11, wire: &self.stan }
    }
}

/// The bytes of a message with DE 7 and 11 replaced; both must be there.
pub(super) fn patch_numbers(view: &MessageView<'_>, numbers: &LegNumbers, out: &mut [u8]) -> bool {
    let (Some(time), Some(stan)) = (view.range(7), view.range(11)) else { return false };
    match (out.get_mut(time.clone()), time.len()) {
        (Some(place), 10) => place.copy_from_slice(&numbers.time),
        _ => return false,
    }
    match (out.get_mut(stan.clone()), stan.len()) {
        (Some(place), 6) => place.copy_from_slice(&numbers.stan),
        _ => return false,
    }
    true
}

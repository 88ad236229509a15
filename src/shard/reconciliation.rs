//! Reconciliation (0500, 0520): an acquirer states its totals of a settlement date, and is told
//! whether the switch has the same. Its transactions are counted on the shards of their cards: the
//! shard that took the message asks the others one after another and adds up what they say.
//!
//! The answer has the switch's own totals. DE 66 is 1 (in balance, DE 39 00), 2 (out of balance, 95), or
//! 3 (no totals of that date are kept, 95). Only totals that the message states are compared; fees are
//! not, since the switch knows none. A repeat is answered anew: a date that is not over yet may have
//! more by then.
//!
//! Not here: what is counted (`totals`).

use super::delivery::{Gate, copy_in, write_frame};
use super::intake::StagedRequest;
use super::outcomes::Note;
use super::own_answer::Reason;
use super::settlement_day::digits_of;
use super::totals::{Party, SUMS_BYTES, Sums};
use super::{Action, Counter, Incoming, MeshKind, MeshMessage, Now, Outbox, Shard, ShardId};
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::{Addition, FieldSet, MessageView, ResponseCode, respond};

/// What can be stated and is compared.
const COMPARED: FieldSet = FieldSet::of(&[74, 75, 76, 77, 78, 79, 80, 81, 86, 87, 88, 89, 97]);
/// Told beside the dialect's echoed elements.
const ALSO_ECHOED: FieldSet = FieldSet::of(&[99]);
/// Whether the date is known, the date, the sums.
const GATHERED_BYTES: usize = 5 + SUMS_BYTES;

/// What the shards asked so far have.
#[derive(Clone, Copy)]
struct Gathered {
    is_known: bool,
    /// DE 15.
    date: [u8; 4],
    sums: Sums,
}

impl Gathered {
    fn encode(&self) -> [u8; GATHERED_BYTES] {
        let mut out = [0; GATHERED_BYTES];
        out[0] = u8::from(self.is_known);
        out[1..5].copy_from_slice(&self.date);
        out[5..].copy_from_slice(&self.sums.encode());
        out
    }

    fn decode(bytes: &[u8; GATHERED_BYTES]) -> Option<Self> {
        let (&[is_known, a, b, c, d], sums) = bytes.split_first_chunk()?;
        let sums = Sums::decode(sums.first_chunk()?);
        Some(Self { is_known: is_known != 0, date: [a, b, c, d], sums })
    }
}

impl Shard {
    /// 0500 and 0520.
    #[cold]
    pub(super) fn reconcile(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let view = &incoming.view;
        let date = match view.raw(15) {
            Some(date) => *date.first_chunk().ok_or(Reason::Format(15))?,
            None => digits_of(self.totals.day()),
        };
        if view.present().and(COMPARED) == FieldSet::EMPTY {
            return Err(Reason::Format(74));
        }
        let mut gathered = Gathered { is_known: false, date, sums: Sums::default() };
        self.gather(Party::Acquirer(incoming.connection.acquirer), &mut gathered);
        self.ask_for_totals(now, incoming, (0, gathered), outbox)
    }

    /// Adds what this shard has.
    fn gather(&self, party: Party, gathered: &mut Gathered) {
        let day = self.totals.days().find(|&day| digits_of(day) == gathered.date);
        if let Some(sums) = day.and_then(|day| self.totals.of(day, party)) {
            gathered.is_known = true;
            gathered.sums.add(sums);
        }
    }

    /// Asks the first other shard from `first` on; after the last one it is answered.
    fn ask_for_totals(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        (first, gathered): (u8, Gathered),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        // At most SHARDS_MAX.
        let mut others = (first..self.shards as u8).map(ShardId).filter(|&shard| shard != self.id);
        let Some(to) = others.next() else {
            self.answer_totals(now, incoming, &gathered, outbox);
            return Ok(());
        };
        let (header, message) = (incoming.header, incoming.view.bytes());
        if GATHERED_BYTES + header.len() + message.len() > FRAME_BYTES_MAX {
            return Err(Reason::Format(0));
        }
        if !self.credits.take(to) {
            return Err(Reason::NoCredit);
        }
        let gathered_at = copy_in(&gathered.encode(), outbox);
        copy_in(header, outbox);
        let message_at = copy_in(message, outbox);
        outbox.push(Action::Mesh {
            to,
            kind: MeshKind::TotalsAsk,
            connection: incoming.connection,
            // At most 46.
            header_bytes: header.len() as u8,
            bytes: gathered_at.start..message_at.end,
        });
        Ok(())
    }

    /// Another shard asks what is counted here; all that it sent goes back with it.
    pub(super) fn on_totals_ask(
        &mut self,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        let split = message.bytes.split_first_chunk();
        let gathered = split.and_then(|(bytes, rest)| Some((Gathered::decode(bytes)?, rest)));
        let Some((mut gathered, rest)) = gathered else { return };
        self.gather(Party::Acquirer(message.connection.acquirer), &mut gathered);
        let gathered_at = copy_in(&gathered.encode(), outbox);
        let rest_at = copy_in(rest, outbox);
        outbox.push(Action::Mesh {
            to: from,
            kind: MeshKind::TotalsTold,
            connection: message.connection,
            header_bytes: message.header_bytes,
            bytes: gathered_at.start..rest_at.end,
        });
    }

    /// What another shard has is in: the next one is asked.
    pub(super) fn on_totals_told(
        &mut self,
        now: Now,
        from: ShardId,
        message: MeshMessage<'_>,
        outbox: &mut Outbox,
    ) {
        let Some((gathered, rest)) = message.bytes.split_first_chunk() else { return };
        let Some(gathered) = Gathered::decode(gathered) else { return };
        let split = rest.split_at_checked(usize::from(message.header_bytes));
        let Some((header, body)) = split else { return };
        let place = self.stage(message.connection, body);
        let Some(staged) = self.staged.take(place) else { return };
        self.go_on_reconciling(now, (&staged, header, body), (from, gathered), outbox);
        self.staged.give(place, staged);
    }

    fn go_on_reconciling(
        &mut self,
        now: Now,
        (staged, header, body): (&StagedRequest, &[u8], &[u8]),
        (from, gathered): (ShardId, Gathered),
        outbox: &mut Outbox,
    ) {
        let connection = staged.connection;
        let Some(profile) = self.profile(connection) else { return };
        let Some(view) = staged.table.view(profile.dialect, body) else { return };
        let incoming = Incoming { view, header, connection, profile: &profile };
        let asked = self.ask_for_totals(now, &incoming, (from.0 + 1, gathered), outbox);
        if let Err(reason) = asked {
            self.answer_own(now, &incoming, reason, outbox);
        }
    }

    fn answer_totals(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        gathered: &Gathered,
        outbox: &mut Outbox,
    ) {
        let stated = Stated::of(&gathered.sums);
        let (what, code, settlement) = if !gathered.is_known {
            (Counter::ReconciledUnknown, ResponseCode::RECONCILE_ERROR, b"3")
        } else if stated.agrees(&incoming.view) {
            (Counter::Reconciled, ResponseCode::APPROVED, b"1")
        } else {
            (Counter::ReconciledOut, ResponseCode::RECONCILE_ERROR, b"2")
        };
        let dialect = incoming.profile.dialect;
        let first = [
            Addition { field: 15, value: &gathered.date },
            Addition { field: 39, value: code.bytes() },
            Addition { field: 66, value: settlement },
        ];
        let own = stated.fields.each_ref().map(|(field, value)| Addition { field: *field, value });
        let mut all = [Addition { field: 0, value: &[] }; FIELDS_MAX];
        let mut used = 0;
        let own = own.iter().filter(|_| gathered.is_known);
        for addition in first.iter().chain(own).filter(|it| dialect.spec(it.field).is_some()) {
            if let Some(place) = all.get_mut(used) {
                // Numbers are as long as the standard has them: their last digits.
                let value = addition.value;
                let skip = if addition.field >= 74 { stated.skip(addition.field) } else { 0 };
                let value = value.get(skip..).unwrap_or(value);
                *place = Addition { field: addition.field, value };
                used += 1;
            }
        }
        let all = all.get(..used).unwrap_or_default();
        let view = &incoming.view;
        let echo = dialect.echo.or(ALSO_ECHOED);
        let frame = write_frame(incoming.profile, incoming.header, outbox, |out| {
            respond(view, view.mti().response()?, echo, all, out).ok()
        });
        self.codes.add(code);
        self.counters.add(what);
        self.counters.add(Counter::AnsweredBySwitch);
        self.note(now, incoming, Note::answered(what, code));
        self.times.answered(now.mono_ns, 0);
        // What it tells of has been recorded, and is not to be forgotten by a crash.
        self.deliver(now, incoming.connection, frame, Gate::Durable, outbox);
    }
}

const OWN_FIELDS: usize = 13;
const FIELDS_MAX: usize = OWN_FIELDS + 3;
/// Sign and sixteen digits.
const VALUE_BYTES: usize = 17;

/// The totals as the message has them: numbers of ten digits, amounts of sixteen, right-aligned in
/// seventeen characters; the net amount has its sign before it.
struct Stated {
    fields: [(u8, [u8; VALUE_BYTES]); OWN_FIELDS],
}

impl Stated {
    fn of(sums: &Sums) -> Self {
        let net = sums.net_minor();
        let fields = [
            (74, u128::from(sums.credits.count)),
            (75, u128::from(sums.credits_reversed.count)),
            (76, u128::from(sums.debits.count)),
            (77, u128::from(sums.debits_reversed.count)),
            (78, u128::from(sums.transfers.count)),
            (79, u128::from(sums.transfers_reversed.count)),
            (80, u128::from(sums.inquiries)),
            (81, u128::from(sums.authorizations)),
            (86, u128::from(sums.credits.amount_minor)),
            (87, u128::from(sums.credits_reversed.amount_minor)),
            (88, u128::from(sums.debits.amount_minor)),
            (89, u128::from(sums.debits_reversed.amount_minor)),
            (97, net.unsigned_abs()),
        ];
        let mut stated = Self { fields: fields.map(|(field, value)| (field, digits(value))) };
        if let Some((_, value)) = stated.fields.last_mut() {
            value[0] = if net > 0 { b'D' } else { b'C' };
        }
        stated
    }

    /// How many of the seventeen characters are not part of a field.
    const fn skip(&self, field: u8) -> usize {
        match field {
            97 => 0,
            86..=89 => 1,
            _ => VALUE_BYTES - 10,
        }
    }

    /// Whether all that a message states is so. The sign of nothing does not matter.
    fn agrees(&self, view: &MessageView<'_>) -> bool {
        self.fields.iter().all(|(field, value)| {
            let Some(other) = view.raw(*field) else { return true };
            let own = value.get(self.skip(*field)..).unwrap_or_default();
            let is_nothing = |it: &[u8]| it.iter().skip(1).all(|&digit| digit == b'0');
            own == other || (*field == 97 && is_nothing(own) && is_nothing(other))
        })
    }
}

fn digits(mut value: u128) -> [u8; VALUE_BYTES] {
    let mut out = [b'0'; VALUE_BYTES];
    for place in out.iter_mut().rev() {
        *place = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out
}

//! Reconciliation (0500, 0520; issuers send 0502 and 0522 too): an acquirer or an issuer states its
//! totals of a settlement date, and is told whether the switch has the same. Transactions are counted
//! on the shards of their cards: the shard that took the message asks the others one after another and
//! adds up what they say.
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
use super::{
    Action, ConnectionId, Counter, Incoming, IssuerId, LinkId, MeshKind, MeshMessage, Now, Outbox,
    Shard, ShardId,
};
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::{Addition, FieldSet, FieldTable, MessageView, ResponseCode, respond};

/// What can be stated and is compared.
const COMPARED: FieldSet = FieldSet::of(&[74, 75, 76, 77, 78, 79, 80, 81, 86, 87, 88, 89, 97]);
/// Told beside the dialect's echoed elements.
const ALSO_ECHOED: FieldSet = FieldSet::of(&[99]);
/// Whether the date is known, the date, whose link it is, the sums.
const GATHERED_BYTES: usize = 8 + SUMS_BYTES;

/// What the shards asked so far have.
#[derive(Clone, Copy)]
pub(super) struct Gathered {
    is_known: bool,
    /// DE 15.
    pub(super) date: [u8; 4],
    /// Where an issuer is answered; none: an acquirer is.
    link: Option<LinkId>,
    /// Nobody asked: the switch tells the issuer.
    is_own: bool,
    pub(super) sums: Sums,
}

impl Gathered {
    fn new(date: [u8; 4], link: Option<LinkId>) -> Self {
        Self { is_known: false, date, link, is_own: false, sums: Sums::default() }
    }

    /// For an issuer that is to be told.
    pub(super) fn own(date: [u8; 4], issuer: IssuerId) -> Self {
        Self { is_own: true, ..Self::new(date, Some(LinkId { issuer, number: 0 })) }
    }

    fn encode(&self) -> [u8; GATHERED_BYTES] {
        let mut out = [0; GATHERED_BYTES];
        out[0] = u8::from(self.is_known);
        out[1..5].copy_from_slice(&self.date);
        if let Some(LinkId { issuer, number }) = self.link {
            out[5..8].copy_from_slice(&[1 + u8::from(self.is_own), issuer.0, number]);
        }
        out[8..].copy_from_slice(&self.sums.encode());
        out
    }

    fn decode(bytes: &[u8; GATHERED_BYTES]) -> Option<Self> {
        let (&[is_known, a, b, c, d, of_issuer, issuer, number], sums) =
            bytes.split_first_chunk()?;
        let link = (of_issuer != 0).then_some(LinkId { issuer: IssuerId(issuer), number });
        let sums = Sums::decode(sums.first_chunk()?);
        let is_own = of_issuer == 2;
        Some(Self { is_known: is_known != 0, date: [a, b, c, d], link, is_own, sums })
    }

    /// Whose totals they are.
    fn party(&self, connection: ConnectionId) -> Party {
        self.link.map_or(Party::Acquirer(connection.acquirer), |link| Party::Issuer(link.issuer))
    }
}

/// Who states its totals, in which message.
enum Stating<'a> {
    Acquirer(&'a Incoming<'a>),
    Issuer(&'a MessageView<'a>),
}

impl<'a> Stating<'a> {
    fn view(&self) -> &MessageView<'a> {
        match self {
            Self::Acquirer(incoming) => &incoming.view,
            Self::Issuer(view) => view,
        }
    }

    fn header(&self) -> &[u8] {
        match self {
            Self::Acquirer(incoming) => incoming.header,
            Self::Issuer(_) => &[],
        }
    }

    fn connection(&self) -> ConnectionId {
        match self {
            Self::Acquirer(incoming) => incoming.connection,
            Self::Issuer(_) => ConnectionId::default(),
        }
    }
}

impl Shard {
    /// 0500 and 0520 of an acquirer.
    #[cold]
    pub(super) fn reconcile(
        &mut self,
        now: Now,
        incoming: &Incoming<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        self.begin_reconciling(now, &Stating::Acquirer(incoming), None, outbox)
    }

    /// The same of an issuer, on its link.
    #[cold]
    pub(super) fn reconcile_issuer(
        &mut self,
        now: Now,
        link: LinkId,
        (view, is_well_formed): (&MessageView<'_>, bool),
        outbox: &mut Outbox,
    ) {
        let begun = match is_well_formed && view.stan().is_some() {
            true => self.begin_reconciling(now, &Stating::Issuer(view), Some(link), outbox),
            false => Err(Reason::Format(0)),
        };
        if let Err(reason) = begun {
            self.refuse_totals(link, view, reason, outbox);
        }
    }

    fn begin_reconciling(
        &mut self,
        now: Now,
        stating: &Stating<'_>,
        link: Option<LinkId>,
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        let view = stating.view();
        let date = match view.raw(15) {
            Some(date) => *date.first_chunk().ok_or(Reason::Format(15))?,
            None => digits_of(self.day_of(link)),
        };
        if view.present().and(COMPARED) == FieldSet::EMPTY {
            return Err(Reason::Format(74));
        }
        let mut gathered = Gathered::new(date, link);
        self.gather(stating.connection(), &mut gathered);
        self.ask_for_totals(now, stating, (0, gathered), outbox)
    }

    /// The current date of an issuer, or of an acquirer.
    fn day_of(&self, link: Option<LinkId>) -> u32 {
        link.map_or(self.totals.day(), |link| self.totals.day_of(link.issuer))
    }

    /// Adds what this shard has.
    pub(super) fn gather(&self, connection: ConnectionId, gathered: &mut Gathered) {
        let party = gathered.party(connection);
        // Only others may be ahead of its date.
        let newest = self.day_of(gathered.link);
        let mut days = self.totals.days().filter(|&day| day <= newest);
        let day = days.find(|&day| digits_of(day) == gathered.date);
        if let Some(sums) = day.and_then(|day| self.totals.of(day, party)) {
            gathered.is_known = true;
            gathered.sums.add(sums);
        }
    }

    /// Asks the first other shard from `first` on; after the last one it is answered.
    fn ask_for_totals(
        &mut self,
        now: Now,
        stating: &Stating<'_>,
        (first, gathered): (u8, Gathered),
        outbox: &mut Outbox,
    ) -> Result<(), Reason> {
        // At most SHARDS_MAX.
        let mut others = (first..self.shards as u8).map(ShardId).filter(|&shard| shard != self.id);
        let Some(to) = others.next() else {
            self.answer_totals(now, stating, &gathered, outbox);
            return Ok(());
        };
        let (header, message) = (stating.header(), stating.view().bytes());
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
            connection: stating.connection(),
            // At most 46.
            header_bytes: header.len() as u8,
            bytes: gathered_at.start..message_at.end,
        });
        Ok(())
    }

    /// The same for what the switch tells an issuer by itself.
    pub(super) fn add_up(
        &mut self,
        now: Now,
        (first, gathered): (u8, Gathered),
        outbox: &mut Outbox,
    ) {
        let mut others = (first..self.shards as u8).map(ShardId).filter(|&shard| shard != self.id);
        let Some(to) = others.next() else { return self.owe_totals(now, &gathered, outbox) };
        if !self.credits.take(to) {
            // It is asked again soon.
            self.adding_up = None;
            return;
        }
        let bytes = copy_in(&gathered.encode(), outbox);
        let (kind, connection) = (MeshKind::TotalsAsk, ConnectionId::default());
        outbox.push(Action::Mesh { to, kind, connection, header_bytes: 0, bytes });
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
        self.gather(message.connection, &mut gathered);
        let gathered_at = copy_in(&gathered.encode(), outbox);
        let rest_at = copy_in(rest, outbox);
        // What it counts is as durable as an answer.
        outbox.push_gated(Action::Mesh {
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
        if gathered.is_own {
            return self.add_up(now, (from.0 + 1, gathered), outbox);
        }
        if let Some(link) = gathered.link {
            return self.go_on_with_issuer(now, (link, body), (from, gathered), outbox);
        }
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
        let stating = Stating::Acquirer(&incoming);
        let asked = self.ask_for_totals(now, &stating, (from.0 + 1, gathered), outbox);
        if let Err(reason) = asked {
            self.answer_own(now, &incoming, reason, outbox);
        }
    }

    fn go_on_with_issuer(
        &mut self,
        now: Now,
        (link, body): (LinkId, &[u8]),
        (from, gathered): (ShardId, Gathered),
        outbox: &mut Outbox,
    ) {
        let Some(dialect) = self.legs.dialect(link.issuer) else { return };
        let mut table = FieldTable::default();
        let Ok(view) = dialect.parse(body, &mut table) else { return };
        let stating = Stating::Issuer(&view);
        if let Err(reason) = self.ask_for_totals(now, &stating, (from.0 + 1, gathered), outbox) {
            self.refuse_totals(link, &view, reason, outbox);
        }
    }

    /// What an issuer stated cannot be looked at.
    fn refuse_totals(
        &mut self,
        link: LinkId,
        view: &MessageView<'_>,
        reason: Reason,
        outbox: &mut Outbox,
    ) {
        self.counters.add(Counter::IssuerTotalsRefused);
        let code = match reason {
            Reason::Format(_) => ResponseCode::FORMAT_ERROR,
            _ => ResponseCode::SYSTEM_MALFUNCTION,
        };
        self.answer_on_link(link, view, &[Addition { field: 39, value: code.bytes() }], outbox);
    }

    /// Answers an issuer on its link, once what the answer tells of cannot be forgotten.
    fn answer_on_link(
        &mut self,
        link: LinkId,
        view: &MessageView<'_>,
        additions: &[Addition<'_>],
        outbox: &mut Outbox,
    ) {
        let echo = view.dialect().echo.or(ALSO_ECHOED);
        let written = view
            .mti()
            .response()
            .and_then(|mti| respond(view, mti, echo, additions, outbox.room()).ok());
        let Some(bytes) = written else { return self.counters.add(Counter::Unmatched) };
        let bytes = outbox.claim(bytes);
        outbox.push_gated(Action::Manage { link, bytes });
    }

    fn answer_totals(
        &mut self,
        now: Now,
        stating: &Stating<'_>,
        gathered: &Gathered,
        outbox: &mut Outbox,
    ) {
        let stated = Stated::of(&gathered.sums);
        let balance = match gathered.is_known {
            false => Balance::UnknownDate,
            true if stated.agrees(stating.view()) => Balance::In,
            true => Balance::Out,
        };
        let code = balance.code();
        let dialect = stating.view().dialect();
        let first = [
            Addition { field: 15, value: &gathered.date },
            Addition { field: 39, value: code.bytes() },
            Addition { field: 66, value: balance.digit() },
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
        let what = balance.counter(gathered.link.is_some());
        self.counters.add(what);
        let incoming = match (stating, gathered.link) {
            (Stating::Acquirer(incoming), _) => incoming,
            (Stating::Issuer(view), Some(link)) => {
                return self.answer_on_link(link, view, all, outbox);
            }
            (Stating::Issuer(_), None) => return,
        };
        let view = &incoming.view;
        let echo = dialect.echo.or(ALSO_ECHOED);
        let frame = write_frame(incoming.profile, incoming.header, outbox, |out| {
            respond(view, view.mti().response()?, echo, all, out).ok()
        });
        self.codes.add(code);
        self.counters.add(Counter::AnsweredBySwitch);
        self.note(now, incoming, Note::answered(what, code));
        self.times.answered(now.mono_ns, 0, incoming.connection.acquirer);
        // What it tells of has been recorded, and is not to be forgotten by a crash.
        self.deliver(now, incoming.connection, frame, Gate::Durable, outbox);
    }
}

/// What becomes of stated totals.
#[derive(Clone, Copy)]
enum Balance {
    In,
    Out,
    /// No totals of that date are kept.
    UnknownDate,
}

impl Balance {
    const fn code(self) -> ResponseCode {
        match self {
            Self::In => ResponseCode::APPROVED,
            Self::Out | Self::UnknownDate => ResponseCode::RECONCILE_ERROR,
        }
    }

    /// DE 66.
    const fn digit(self) -> &'static [u8; 1] {
        match self {
            Self::In => b"1",
            Self::Out => b"2",
            Self::UnknownDate => b"3",
        }
    }

    const fn counter(self, of_issuer: bool) -> Counter {
        match (self, of_issuer) {
            (Self::In, false) => Counter::Reconciled,
            (Self::Out, false) => Counter::ReconciledOut,
            (Self::UnknownDate, false) => Counter::ReconciledUnknown,
            (Self::In, true) => Counter::IssuerTotalsIn,
            (Self::Out, true) => Counter::IssuerTotalsOut,
            (Self::UnknownDate, true) => Counter::IssuerTotalsUnknown,
        }
    }
}

const OWN_FIELDS: usize = 13;
const FIELDS_MAX: usize = OWN_FIELDS + 3;
/// Sign and sixteen digits.
const VALUE_BYTES: usize = 17;

/// The totals as the message has them: numbers of ten digits, amounts of sixteen, right-aligned in
/// seventeen characters; the net amount has its sign before it.
pub(super) struct Stated {
    pub(super) fields: [(u8, [u8; VALUE_BYTES]); OWN_FIELDS],
}

impl Stated {
    pub(super) fn of(sums: &Sums) -> Self {
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
    pub(super) const fn skip(&self, field: u8) -> usize {
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

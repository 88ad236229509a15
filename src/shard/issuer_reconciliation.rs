//! The switch's own reconciliation with issuers that want it (`reconcile` of their links): a minute
//! after each cut-off the first shard adds up all shards' totals of the date that is over, and the
//! issuer is owed them as 0520, once for each date. It answers 0530: DE 66 is 1 in balance, 2 not.
//!
//! The minute is for what was under way at the cut-off, and for shards to which nothing came since. The
//! message is owed like a reversal: recorded, sent again until answered, parked if refused.
//!
//! Not here: issuers that state their totals by themselves (`reconciliation`).

use super::journal_record::Change;
use super::link_management::SWITCH_INSTITUTION;
use super::owed::Written;
use super::reconciliation::{Gathered, Stated};
use super::settlement_day::digits_of;
use super::{CardKey, ConnectionId, Counter, IssuerId, Now, Outbox, Shard, ShardId};
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::{
    Dialect, FieldSet, FieldTable, MessageView, MessageWriter, Mti, ResponseCode,
};

/// How long after the cut-off.
const AFTER_MS: u64 = 60_000;
/// Between two issuers, or two tries.
const AGAIN_MS: u64 = 1_000;
/// Longest time without a look: the wall clock may be set.
const LOOK_MS_MAX: u64 = 300_000;
/// 0520.
const TOTALS_ADVICE: u16 = 520;
/// DE 50: CNY.
const CURRENCY: &[u8] = b"156";
/// What the message has besides its numbers.
const TOLD: FieldSet =
    FieldSet::of(&[15, 33, 50, 74, 75, 76, 77, 78, 79, 80, 81, 86, 87, 88, 89, 97, 99]);

impl Shard {
    /// An issuer that wants totals can be told: there may be some that it has not got.
    pub(super) fn look_at_totals(&mut self, now: Now) {
        self.look_at_totals_in(now, AGAIN_MS);
    }

    fn look_at_totals_in(&mut self, now: Now, after_ms: u64) {
        if let Some(timer) = self.totals_timer().filter(|_| self.id == ShardId(0)) {
            let at_ns = now.mono_ns + after_ms.min(LOOK_MS_MAX) * 1_000_000;
            self.deadlines.set(timer, at_ns);
        }
    }

    /// It is time to look.
    pub(super) fn on_totals_timer(&mut self, now: Now, outbox: &mut Outbox) {
        let (begun_ms, ends_ms) = self.settlement_day.bounds_ms();
        let settled_ms = begun_ms + AFTER_MS;
        if now.wall_ms < settled_ms {
            return self.look_at_totals_in(now, settled_ms - now.wall_ms);
        }
        let Some((issuer, day)) = self.next_untold() else {
            return self.look_at_totals_in(now, (ends_ms + AFTER_MS).saturating_sub(now.wall_ms));
        };
        self.look_at_totals_in(now, AGAIN_MS);
        if self.adding_up.is_none() && !self.draining {
            self.adding_up = Some((issuer, day));
            let mut gathered = Gathered::own(digits_of(day), issuer);
            self.gather(ConnectionId::default(), &mut gathered);
            self.add_up(now, (0, gathered), outbox);
        }
    }

    /// The oldest date that is over, of an issuer that was not told of it.
    fn next_untold(&self) -> Option<(IssuerId, u32)> {
        let (totals, current) = (&self.totals, self.totals.day());
        let issuers = (0..self.legs.len() as u8).map(IssuerId);
        let mut wanting =
            issuers.filter(|it| self.legs.reconciles(*it) && self.speaker(*it).is_some());
        wanting.find_map(|issuer| {
            let is_due = |day: &u32| *day < current && *day > totals.told(issuer);
            totals.days().filter(is_due).last().map(|day| (issuer, day))
        })
    }

    /// All shards have said theirs: the issuer is owed the sum.
    pub(super) fn owe_totals(&mut self, now: Now, gathered: &Gathered, outbox: &mut Outbox) {
        let Some((issuer, day)) = self.adding_up.take() else { return };
        // Without room there is another try soon.
        let has_room = self.saf.has_room(self.pending.len());
        let Some(acquirer) = self.speaker(issuer).filter(|_| has_room) else { return };
        let Some(dialect) = self.legs.dialect(issuer) else { return };
        let (mut message, mut table) = ([0; FRAME_BYTES_MAX], FieldTable::default());
        let written = write_totals(dialect, gathered, &mut message);
        let message = written.and_then(|bytes| message.get(..bytes));
        let view = message.and_then(|message| dialect.parse(message, &mut table).ok());
        let (Some(view), Some(mti)) = (view, Mti::from_number(TOTALS_ADVICE)) else {
            // Its dialect has no room for them: the others are told all the same.
            self.commit(now, Change::IssuerTold { issuer, day }, outbox);
            return;
        };
        let whose = (issuer, acquirer, self.no_card(issuer));
        let owed = self.store_owed(now, whose, (mti, &view, TOLD), Written::NONE, outbox);
        self.commit(now, Change::IssuerTold { issuer, day }, outbox);
        self.counters.add(Counter::TotalsTold);
        if let Some(place) = owed {
            self.send_owed(now, place, outbox);
        }
    }

    /// A key that is no card's, for the order in which an issuer's totals are sent: the second half
    /// says in which lane they wait, the first that this shard is where they belong.
    fn no_card(&self, issuer: IssuerId) -> CardKey {
        let lane = issuer.0;
        let key = |salt: u8| CardKey([lane, salt, 0, 0, 0, 0, 0, 0, lane, 0, 0, 0, 0, 0, 0, 0]);
        let mut keys = (0..=u8::MAX).map(key);
        keys.find(|key| self.cipher.pan(key).is_none()).unwrap_or(CardKey([0; 16]))
    }

    /// What an issuer says to the switch's totals; `None`: it did not look at them.
    pub(super) fn balance_of(answer: &MessageView<'_>) -> Option<Counter> {
        let code = answer.response_code()?;
        match answer.raw(66) {
            Some(b"2") => Some(Counter::TotalsToldOut),
            _ if code == ResponseCode::RECONCILE_ERROR => Some(Counter::TotalsToldOut),
            Some(b"1") | None if code.is_approval() => Some(Counter::TotalsToldIn),
            _ => None,
        }
    }
}

/// The message without DE 7 and 11, which it gets when it is sent.
fn write_totals(dialect: &Dialect, gathered: &Gathered, out: &mut [u8]) -> Option<usize> {
    let stated = Stated::of(&gathered.sums);
    let mut writer = MessageWriter::new(dialect, Mti::from_number(TOTALS_ADVICE)?, out).ok()?;
    let has = |field: u8| dialect.spec(field).is_some();
    let first: [(u8, &[u8]); 3] = [(15, &gathered.date), (33, SWITCH_INSTITUTION), (50, CURRENCY)];
    for (field, value) in first.into_iter().filter(|(field, _)| has(*field)) {
        writer.put(field, value).ok()?;
    }
    for (field, value) in stated.fields.iter().filter(|(field, _)| has(*field)) {
        writer.put(*field, value.get(stated.skip(*field)..)?).ok()?;
    }
    if has(99) {
        writer.put(99, SWITCH_INSTITUTION).ok()?;
    }
    writer.finish().ok()
}

//! Settlement dates: which one is current. A date ends by the clock, at the configured time of day;
//! that it began is recorded, so that a replay counts everything on the date on which it happened.
//! A date never goes back.
//!
//! An issuer may announce its cut-off (network management 201, 202) with its new date in DE 15: then
//! it is a date ahead until the switch's own cut-off comes. A date that is behind, or further ahead,
//! is refused. Every shard is told, one by the next, and again after a restart.
//!
//! Not here: what is counted on it (`totals`).

use super::delivery::copy_in;
use super::issuer_link::date_of;
use super::journal_record::Change;
use super::remembered::Additions;
use super::totals::Totals;
use super::{
    Action, ConnectionId, Counter, Incoming, IssuerId, MeshKind, Now, Outbox, Shard, ShardId,
};
use crate::config::CutOff;
use tapswitch_protocol::{MessageView, MtiClass, ResponseCode};

const DAY_S: u64 = 86_400;

/// The current date, and until when it is.
pub(super) struct SettlementDay {
    cutoff: Option<CutOff>,
    /// The clock's date is another one from here on.
    ends_ms: u64,
    /// MMDD of the current date.
    digits: [u8; 4],
}

impl SettlementDay {
    pub(super) const fn new(cutoff: Option<CutOff>) -> Self {
        Self { cutoff, ends_ms: 0, digits: *b"0000" }
    }

    /// By how many seconds dates are ahead of UTC's.
    fn ahead_s(&self) -> i64 {
        let Some(cutoff) = self.cutoff else { return 0 };
        let minutes = (24 * 60 - i64::from(cutoff.minute)) % (24 * 60);
        60 * (minutes + i64::from(cutoff.zone_offset_minutes))
    }

    /// When the current date began and ends, in UTC milliseconds.
    pub(super) const fn bounds_ms(&self) -> (u64, u64) {
        (self.ends_ms.saturating_sub(DAY_S * 1_000), self.ends_ms)
    }

    /// Days since 1970 of the date that the clock says; remembers how long that is so.
    fn by_clock(&mut self, wall_ms: u64) -> u32 {
        let ahead_s = self.ahead_s();
        let day = (wall_ms / 1_000).saturating_add_signed(ahead_s) / DAY_S;
        self.ends_ms = ((day + 1) * DAY_S).saturating_add_signed(-ahead_s) * 1_000;
        u32::try_from(day).unwrap_or(u32::MAX)
    }
}

/// Which settlement date it is by the clock: days since 1970, and when it ends in UTC milliseconds.
#[must_use]
pub fn day_at(cutoff: Option<CutOff>, wall_ms: u64) -> (u32, u64) {
    let mut settlement_day = SettlementDay::new(cutoff);
    (settlement_day.by_clock(wall_ms), settlement_day.ends_ms)
}

/// MMDD of a day since 1970, as DE 15 has it.
pub(super) fn digits_of(day: u32) -> [u8; 4] {
    let date = date_of(u64::from(day));
    [1_000, 100, 10, 1].map(|unit| b'0' + (date / unit % 10) as u8)
}

impl Shard {
    /// A new date begins, if it is time.
    #[inline]
    pub(super) fn keep_date(&mut self, now: Now, outbox: &mut Outbox) {
        if now.wall_ms >= self.settlement_day.ends_ms {
            self.begin_date(now, outbox);
        }
    }

    #[cold]
    fn begin_date(&mut self, now: Now, outbox: &mut Outbox) {
        let day = self.settlement_day.by_clock(now.wall_ms);
        if day > self.totals.day() {
            self.commit(now, Change::SettlementDay { day }, outbox);
        }
    }

    /// What is counted for reconciliation.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The only place where the current date changes.
    pub(super) fn apply_settlement_day(&mut self, day: u32) {
        self.totals.begin(day);
        self.settlement_day.digits = digits_of(self.totals.day());
    }

    /// An issuer's 201 or 202: from here on its transactions count on the date in DE 15.
    #[cold]
    pub(super) fn cut_off(
        &mut self,
        now: Now,
        issuer: IssuerId,
        view: &MessageView<'_>,
        outbox: &mut Outbox,
    ) -> ResponseCode {
        let current = self.totals.day();
        let day = match view.raw(15) {
            Some(date) => [current, current + 1].into_iter().find(|&day| digits_of(day) == date),
            None => {
                self.counters.add(Counter::IssuerCutOffRefused);
                return ResponseCode::FORMAT_ERROR;
            }
        };
        let Some(day) = day.filter(|&day| day >= self.totals.day_of(issuer)) else {
            self.counters.add(Counter::IssuerCutOffRefused);
            return ResponseCode::INVALID_TRANSACTION;
        };
        if day > self.totals.day_of(issuer) {
            self.counters.add(Counter::IssuerCutOff);
        }
        self.begin_date_of(now, (issuer, day), self.id, outbox);
        ResponseCode::APPROVED
    }

    /// An issuer's date begins: here, then on the next shard, until all know.
    pub(super) fn begin_date_of(
        &mut self,
        now: Now,
        (issuer, day): (IssuerId, u32),
        first: ShardId,
        outbox: &mut Outbox,
    ) {
        if day > self.totals.day_of(issuer) {
            self.commit(now, Change::IssuerDay { issuer, day }, outbox);
        }
        // Below SHARDS_MAX.
        let next = ShardId(((usize::from(self.id.0) + 1) % self.shards) as u8);
        if next == first || next == self.id || !self.credits.take_reserved(next) {
            return;
        }
        self.credits.count_notice();
        let whose = copy_in(&[issuer.0, first.0], outbox);
        let day = copy_in(&day.to_le_bytes(), outbox);
        outbox.push(Action::Mesh {
            to: next,
            kind: MeshKind::IssuerDate,
            connection: ConnectionId::default(),
            header_bytes: 0,
            bytes: whose.start..day.end,
        });
    }

    /// DE 15 of an answer by the switch to a transaction that has none; `None`: it gets none.
    #[inline]
    pub(super) fn date_to_state(&self, incoming: &Incoming<'_>) -> Option<&[u8; 4]> {
        let is_management = incoming.view.mti().class() == MtiClass::NetworkManagement;
        self.date_beside(&incoming.view).filter(|_| !is_management)
    }

    /// The same to a request that is or was under way.
    #[inline]
    pub(super) fn date_beside(&self, request: &MessageView<'_>) -> Option<&[u8; 4]> {
        self.settlement_day.cutoff?;
        let takes = request.dialect().issuer_adds.has(15) && !request.has(15);
        takes.then_some(&self.settlement_day.digits)
    }

    /// What is remembered of the switch's own answer: the date that it states.
    pub(super) fn own_additions(&self, incoming: &Incoming<'_>) -> Additions {
        let mut additions = Additions::none();
        if let Some(date) = self.date_to_state(incoming) {
            // It is the first one.
            let _ = additions.add(15, date);
        }
        additions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22 12:00:00 UTC.
    const NOON_MS: u64 = 1_795_348_800_000;
    const HOUR_MS: u64 = 3_600_000;

    fn date(cutoff: Option<CutOff>, wall_ms: u64) -> (String, u64) {
        let mut day = SettlementDay::new(cutoff);
        let digits = digits_of(day.by_clock(wall_ms));
        (String::from_utf8(digits.to_vec()).unwrap(), day.ends_ms)
    }

    #[test]
    fn a_date_ends_at_its_cut_off() {
        let at = |minute, zone_offset_minutes| Some(CutOff { minute, zone_offset_minutes });
        assert_eq!(date(None, NOON_MS), ("1122".into(), NOON_MS + 12 * HOUR_MS));
        assert_eq!(date(at(0, 0), NOON_MS), ("1122".into(), NOON_MS + 12 * HOUR_MS));
        // 20:00 in China; the date ends at 23:00 there.
        assert_eq!(date(at(23 * 60, 480), NOON_MS), ("1122".into(), NOON_MS + 3 * HOUR_MS));
        assert_eq!(date(at(23 * 60, 480), NOON_MS + 3 * HOUR_MS - 1).0, "1122");
        let next = NOON_MS + 27 * HOUR_MS;
        assert_eq!(date(at(23 * 60, 480), NOON_MS + 3 * HOUR_MS), ("1123".into(), next));
        // West of UTC, and over the end of a year.
        assert_eq!(
            date(at(60, -60), NOON_MS + 14 * HOUR_MS),
            ("1124".into(), NOON_MS + 38 * HOUR_MS)
        );
        assert_eq!(date(None, NOON_MS + 39 * 24 * HOUR_MS + 12 * HOUR_MS).0, "0101");
    }
}

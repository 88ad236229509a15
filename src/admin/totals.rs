//! Totals for reconciliation as operators see them: those of all shards added, by settlement date,
//! with the names of acquirers and issuers, and which date is the current one.
//!
//! Not here: what is counted (`shard::totals`), and what acquirers and issuers are answered
//! (`shard::reconciliation`).

use crate::config::Config;
use crate::io::clock::moment;
use crate::shard::settlement_day::day_at;
use crate::shard::totals::{Party, Sums, Tally, Totals};
use crate::shard::{AcquirerId, IssuerId};
use serde::{Deserialize, Serialize};

const MS_PER_DAY: u64 = 86_400_000;

/// Totals of all shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsStatus {
    /// The current settlement date of the switch, as in 2026-11-22; empty while it starts.
    pub date: String,
    /// The same as a number, as in 20261122.
    pub date_number: u64,
    /// At what time of day a date ends, and in which zone.
    pub cutoff: String,
    /// When the current one ends, in UTC milliseconds.
    pub ends_ms: u64,
    /// Every date that is kept, the newest first; of each all acquirers, then all issuers.
    pub rows: Vec<TotalsRow>,
}

/// Whose totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartyKind {
    /// An acquirer's.
    Acquirer,
    /// An issuer's.
    Issuer,
}

impl PartyKind {
    /// As it is called in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acquirer => "acquirer",
            Self::Issuer => "issuer",
        }
    }
}

/// How many, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// How much, in the smallest unit of CNY.
    pub amount_minor: u64,
}

impl From<Tally> for Counted {
    fn from(tally: Tally) -> Self {
        Self { count: tally.count, amount_minor: tally.amount_minor }
    }
}

/// One acquirer or issuer on one date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TotalsRow {
    /// The settlement date.
    pub date: String,
    /// Whether what happens now counts on it; an issuer may be a date ahead of the others.
    pub is_current: bool,
    /// What it is.
    pub of: PartyKind,
    /// Its name.
    pub name: String,
    /// Money given to cards.
    pub credits: Counted,
    /// And taken back.
    pub credits_reversed: Counted,
    /// Money taken from cards.
    pub debits: Counted,
    /// And given back.
    pub debits_reversed: Counted,
    /// Money moved between accounts.
    pub transfers: Counted,
    /// And moved back.
    pub transfers_reversed: Counted,
    /// Balance inquiries answered.
    pub inquiries: u64,
    /// Pre-authorizations approved.
    pub authorizations: u64,
}

impl TotalsRow {
    fn of((day, current): (u32, u32), (of, name): (PartyKind, &str), sums: &Sums) -> Self {
        Self {
            date: date_of(day),
            is_current: day == current,
            of,
            name: name.to_owned(),
            credits: sums.credits.into(),
            credits_reversed: sums.credits_reversed.into(),
            debits: sums.debits.into(),
            debits_reversed: sums.debits_reversed.into(),
            transfers: sums.transfers.into(),
            transfers_reversed: sums.transfers_reversed.into(),
            inquiries: sums.inquiries,
            authorizations: sums.authorizations,
        }
    }

    /// Every sort by name, with its number and, where it has one, its amount.
    #[must_use]
    pub fn sorts(&self) -> [(&'static str, u64, Option<u64>); 8] {
        let of = |name, counted: Counted| (name, counted.count, Some(counted.amount_minor));
        [
            of("credits", self.credits),
            of("credits_reversed", self.credits_reversed),
            of("debits", self.debits),
            of("debits_reversed", self.debits_reversed),
            of("transfers", self.transfers),
            of("transfers_reversed", self.transfers_reversed),
            ("inquiries", self.inquiries, None),
            ("authorizations", self.authorizations, None),
        ]
    }

    /// What cards were debited more than credited; negative: credited more.
    #[must_use]
    pub fn net_minor(&self) -> i128 {
        let amount = |counted: Counted| i128::from(counted.amount_minor);
        amount(self.debits) + amount(self.credits_reversed)
            - amount(self.credits)
            - amount(self.debits_reversed)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorts().iter().all(|(_, count, _)| *count == 0)
    }
}

impl TotalsStatus {
    /// Those of these shards at a moment. A shard to which nothing has come since the cut-off has not
    /// begun the date that the clock says.
    pub(super) fn of<'t>(
        config: &Config,
        shards: impl Iterator<Item = &'t Totals> + Clone,
        wall_ms: u64,
    ) -> Self {
        let cutoff = config.switch.cutoff;
        let (by_clock, ends_ms) = day_at(cutoff, wall_ms);
        let mut days: Vec<u32> = shards.clone().flat_map(Totals::days).chain([by_clock]).collect();
        days.sort_unstable_by(|a, b| b.cmp(a));
        days.dedup();
        let current = shards.clone().map(Totals::day).fold(by_clock, u32::max);
        let current_of =
            |issuer| shards.clone().map(|it| it.day_of(issuer)).fold(current, u32::max);
        let sum = |day: u32, party: Party| {
            let mut sums = Sums::default();
            shards.clone().filter_map(|it| it.of(day, party)).for_each(|it| sums.add(it));
            sums
        };
        let mut rows = Vec::new();
        for &day in &days {
            for (id, acquirer) in (0..).map(AcquirerId).zip(&config.acquirers) {
                let whose = (PartyKind::Acquirer, acquirer.name.as_str());
                rows.push(TotalsRow::of((day, current), whose, &sum(day, Party::Acquirer(id))));
            }
            for (id, issuer) in (0..).map(IssuerId).zip(&config.issuers) {
                let whose = (PartyKind::Issuer, issuer.name.as_str());
                let sums = sum(day, Party::Issuer(id));
                rows.push(TotalsRow::of((day, current_of(id)), whose, &sums));
            }
        }
        let date = date_of(current);
        Self {
            date_number: date.replace('-', "").parse().unwrap_or_default(),
            date,
            cutoff: cutoff.map_or_else(|| "midnight UTC".to_owned(), |it| it.to_string()),
            ends_ms,
            rows,
        }
    }
}

/// A day since 1970 as a person reads it.
fn date_of(day: u32) -> String {
    let mut text = moment(u64::from(day) * MS_PER_DAY);
    text.truncate("2026-11-22".len());
    text
}

//! A shard's durable state in pieces, taken while it serves.
//!
//! Velocity counters are cut at one record: what changes before its turn is copied first. Answers,
//! originals, holds and messages owed are read a little later than the cut: they are keyed and
//! absolute, so the records after the cut set them right. Requests in flight are not part of it: the
//! journal is read from the oldest of them on.
//!
//! Bytes of a piece: what it is (1), its length (4), contents. Not here: putting it back (`load`), files and checksums.

mod load;

pub(super) use load::Loading;

use super::duplicate::{Cursor, ORIGINAL_BYTES, ScanEntry};
use super::field_list::StoredFields;
use super::identity::CardKey;
use super::journal_record::{Change, OwedId, OwedMessage, RECORD_BYTES_MAX, Record};
use super::totals::Totals;
use super::velocity::escrow::ScopeCursor;
use super::velocity::{Layout, PassedTable, SnapshotGivenUp};
use super::{Now, Shard};
use serde::{Deserialize, Serialize};

const VELOCITY: u8 = 1;
const RECORD: u8 = 2;
const ANSWER: u8 = 3;
const ORIGINAL: u8 = 4;
/// An answer with its card before it.
const ANSWER_OF_CARD: u8 = 5;
/// Totals of one settlement date and party.
const TOTALS: u8 = 6;
/// What a piece is, and its length.
const HEAD_BYTES: usize = 5;
/// Entries of small tables looked at in one step.
const PLACES_PER_STEP: usize = 512;

/// How a snapshot is getting on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStep {
    /// More is to come.
    More,
    /// That was all.
    Done,
    /// More changed at once than could be kept apart: this one is worth nothing.
    Abandoned,
}

/// What a snapshot says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// Of this layout of pieces.
    version: u32,
    shard: u8,
    shards: usize,
    /// UTC milliseconds of the cut.
    wall_ms: u64,
    /// UTC milliseconds of the last transaction before it, of which the velocity lines are.
    #[serde(default)]
    velocity_ms: u64,
    started_wall_ms: Option<u64>,
    /// Number of the configuration in force.
    #[serde(default)]
    epoch: u64,
    /// Lines of the velocity table.
    lines: usize,
    velocity: Layout,
    /// Whether shards of another layout carry it on.
    carried: bool,
    /// Whether the cards' lines are not in it, because a process that takes over is passed them.
    #[serde(default)]
    apart: bool,
}

/// Of what a snapshot says, and how.
pub const VERSION: u32 = 2;

/// How far a snapshot is.
pub(super) struct Taking {
    part: Part,
    answers: Cursor,
    /// Messages owed from here on became so after the cut.
    owed_below: u64,
    wall_ms: u64,
    /// Whether shards of another layout carry it on: then answers go with their cards.
    carried: bool,
    /// As they are at the cut.
    totals: Option<Totals>,
}

/// For whom it is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A restart.
    Snapshot,
    /// Shards of another layout.
    Carried,
    /// A process that is passed the cards' lines.
    Parting,
}

enum Part {
    Velocity,
    Answers,
    Holds(usize),
    Owed(u32),
    Scopes(ScopeCursor),
    Tokens(usize),
    TokenOrders(usize),
}

impl Shard {
    /// Cuts here: everything recorded until now will be in it, nothing later. Returns what it says of
    /// itself.
    pub fn snapshot_begin(&mut self, now: Now) -> Vec<u8> {
        self.begin(now, Purpose::Snapshot)
    }

    /// Begins to hand over to another process that is passed the cards' lines as they are: the rest
    /// follows, and [`Shard::part_end`] ends it. `None`: nobody can be passed the lines.
    pub fn part_begin(&mut self, now: Now) -> Option<Vec<u8>> {
        self.velocity.is_shared().then(|| self.begin(now, Purpose::Parting))
    }

    /// The cards' lines, after all else. The shard is of no use any more.
    pub fn part_end(&mut self) -> Option<PassedTable> {
        self.velocity.pass()
    }

    /// The same for shards of another layout, each of which takes over its own cards.
    pub fn carry_begin(&mut self, now: Now) -> Vec<u8> {
        self.begin(now, Purpose::Carried)
    }

    fn begin(&mut self, now: Now, purpose: Purpose) -> Vec<u8> {
        let (carried, apart) = (purpose == Purpose::Carried, purpose == Purpose::Parting);
        match apart {
            true => self.velocity.snapshot_abandon(),
            false => self.velocity.snapshot_begin(),
        }
        self.taking = Some(Taking {
            part: if apart { Part::Answers } else { Part::Velocity },
            answers: self.duplicates.scan_begin(),
            owed_below: self.saf.next_number(),
            wall_ms: now.wall_ms,
            carried,
            totals: Some(self.totals.clone()),
        });
        let header = Header {
            version: VERSION,
            shard: self.id.0,
            shards: self.shards,
            wall_ms: now.wall_ms,
            velocity_ms: self.velocity.now_ms(),
            started_wall_ms: self.started_wall_ms,
            epoch: self.epoch,
            lines: self.velocity.lines(),
            velocity: self.velocity.layout().clone(),
            carried,
            apart,
        };
        serde_json::to_vec(&header).unwrap_or_default()
    }

    /// From which record on the journal is needed beside a snapshot that is begun now, when its last
    /// record is `last_lsn`.
    #[must_use]
    pub fn replay_from_lsn(&self, last_lsn: u64) -> u64 {
        self.pending.oldest_lsn().unwrap_or(last_lsn + 1).min(last_lsn + 1)
    }

    /// Adds about `bytes_max` bytes of pieces to `out`.
    pub fn snapshot_next(&mut self, out: &mut Vec<u8>, bytes_max: usize) -> SnapshotStep {
        let Some(mut taking) = self.taking.take() else { return SnapshotStep::Done };
        let step = self.take_part(&mut taking, out, bytes_max);
        if step == SnapshotStep::More {
            self.taking = Some(taking);
        }
        step
    }

    /// Whether so much changes under the snapshot that it is given up unless it is hurried on.
    #[must_use]
    pub fn snapshot_is_behind(&self) -> bool {
        self.velocity.snapshot_is_behind()
    }

    /// The snapshot is given up.
    pub fn snapshot_abandon(&mut self) {
        self.taking = None;
        self.velocity.snapshot_abandon();
    }

    fn take_part(
        &mut self,
        taking: &mut Taking,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> SnapshotStep {
        if let Some(totals) = taking.totals.take() {
            add_totals(out, taking.wall_ms, &totals);
        }
        match &mut taking.part {
            Part::Velocity => {
                let at = begin(out, VELOCITY);
                let step = self.velocity.snapshot_next(out, bytes_max);
                end(out, at);
                match step {
                    Ok(true) => {}
                    Ok(false) => taking.part = Part::Answers,
                    Err(SnapshotGivenUp) => return SnapshotStep::Abandoned,
                }
            }
            Part::Answers => {
                let duplicates = &self.duplicates;
                let mut visit = |entry: ScanEntry<'_>| {
                    let card = match &entry {
                        ScanEntry::Answer(stored) if taking.carried => {
                            duplicates.card_of(&stored.key)
                        }
                        ScanEntry::Answer(_) | ScanEntry::Original(..) => None,
                    };
                    add_entry(out, card, &entry);
                };
                if !duplicates.scan_next(&mut taking.answers, bytes_max, &mut visit) {
                    taking.part = Part::Holds(0);
                }
            }
            Part::Holds(place) => {
                let until = *place + PLACES_PER_STEP;
                for hold in self.preauthorizations.within(*place..until) {
                    add_record(out, taking.wall_ms, Change::HoldOpened(*hold));
                }
                *place = until;
                if until >= self.preauthorizations.taken_below() {
                    taking.part = Part::Owed(0);
                }
            }
            Part::Owed(place) => {
                let (first, until) = (*place, *place + PLACES_PER_STEP as u32);
                *place = until;
                self.add_owed(out, (first, until), taking);
                if until >= self.saf.taken_below() {
                    taking.part = Part::Scopes(ScopeCursor::default());
                }
            }
            Part::Scopes(cursor) => {
                let wall_ms = taking.wall_ms;
                let visit = |change: Change<'_>| add_record(out, wall_ms, change);
                let places = PLACES_PER_STEP as u32;
                let more = self.escrow.as_ref().is_some_and(|it| it.scan(cursor, places, visit));
                if !more {
                    taking.part = Part::Tokens(0);
                }
            }
            Part::Tokens(_) | Part::TokenOrders(_) => return self.take_tokens(taking, out),
        }
        SnapshotStep::More
    }

    /// Tokens, and orders about them that were done.
    fn take_tokens(&self, taking: &mut Taking, out: &mut Vec<u8>) -> SnapshotStep {
        let wall_ms = taking.wall_ms;
        match &mut taking.part {
            Part::Tokens(place) => {
                let until = *place + PLACES_PER_STEP;
                match self.wallet.within(*place..until) {
                    Some(tokens) => {
                        tokens.for_each(|token| add_record(out, wall_ms, Change::Token(token)));
                        *place = until;
                    }
                    None => taking.part = Part::TokenOrders(0),
                }
                SnapshotStep::More
            }
            Part::TokenOrders(place) => {
                let mut added = 0;
                for order in self.wallet.requests(*place).take(PLACES_PER_STEP) {
                    add_record(out, wall_ms, Change::WalletRequest(order));
                    added += 1;
                }
                *place += added;
                if added < PLACES_PER_STEP { SnapshotStep::Done } else { SnapshotStep::More }
            }
            _ => SnapshotStep::More,
        }
    }

    fn add_owed(&self, out: &mut Vec<u8>, (first, until): (u32, u32), taking: &Taking) {
        for (place, owed) in self.saf.within(first..until) {
            if owed.number >= taking.owed_below {
                continue;
            }
            let id = OwedId { number: owed.number, place };
            let message = OwedMessage {
                id,
                acquirer: owed.acquirer,
                issuer: owed.issuer,
                card: owed.card,
                mti: owed.mti,
                sent: owed.sent,
                fields: StoredFields::Listed(self.kept.get(owed.fields)),
            };
            add_record(out, taking.wall_ms, Change::Owed(message));
            if let Some(code) = owed.parked {
                add_record(out, taking.wall_ms, Change::OwedParked { id, code });
            }
        }
    }
}

/// Begins a piece; its length is written at its end.
fn begin(out: &mut Vec<u8>, what: u8) -> usize {
    out.push(what);
    out.extend_from_slice(&[0; 4]);
    out.len()
}

fn end(out: &mut [u8], at: usize) {
    let bytes = (out.len() - at) as u32;
    if let Some(length) = out.get_mut(at - 4..at) {
        length.copy_from_slice(&bytes.to_le_bytes());
    }
}

/// First which date is current, who is ahead of it and who was told: a row of a date says nothing of that.
fn add_totals(out: &mut Vec<u8>, wall_ms: u64, totals: &Totals) {
    let day = totals.day();
    if day != 0 {
        add_record(out, wall_ms, Change::SettlementDay { day });
    }
    for (issuer, day) in totals.ahead() {
        add_record(out, wall_ms, Change::IssuerDay { issuer, day });
    }
    for (issuer, day) in totals.all_told() {
        add_record(out, wall_ms, Change::IssuerTold { issuer, day });
    }
    for row in totals.rows() {
        let at = begin(out, TOTALS);
        out.extend_from_slice(&row);
        end(out, at);
    }
}

fn add_record(out: &mut Vec<u8>, wall_ms: u64, change: Change<'_>) {
    let mut bytes = [0; RECORD_BYTES_MAX];
    let count = Record { wall_ms, change }.encode(&mut bytes);
    let at = begin(out, RECORD);
    out.extend_from_slice(bytes.get(..count).unwrap_or_default());
    end(out, at);
}

fn add_entry(out: &mut Vec<u8>, card: Option<CardKey>, entry: &ScanEntry<'_>) {
    match entry {
        ScanEntry::Answer(stored) => {
            let at = begin(out, if card.is_some() { ANSWER_OF_CARD } else { ANSWER });
            if let Some(card) = card {
                out.extend_from_slice(&card.0);
            }
            out.extend_from_slice(&stored.key.0);
            out.extend_from_slice(&stored.fingerprint.to_le_bytes());
            let [a, b] = stored.response_code;
            out.extend_from_slice(&[stored.state as u8, a, b]);
            out.extend_from_slice(stored.answer);
            end(out, at);
        }
        ScanEntry::Original(key, record) => {
            let mut bytes = [0; ORIGINAL_BYTES];
            record.encode(&mut bytes);
            let at = begin(out, ORIGINAL);
            out.extend_from_slice(&key.0);
            out.extend_from_slice(&bytes);
            end(out, at);
        }
    }
}

//! A shard's durable state in pieces, taken while it serves, and put back at a restart.
//!
//! Velocity counters are cut at one record: what changes before its turn is copied first. Answers,
//! originals, holds and messages owed are read a little later than the cut: they are keyed and
//! absolute, so the records after the cut set them right. Requests in flight are not part of it: the
//! journal is read from the oldest of them on.
//!
//! Bytes of a piece: what it is (1), its length (4), contents. Not here: files and checksums.

use super::duplicate::{Cursor, DuplicateKey, OriginalKey, ScanEntry, StoredAnswer};
use super::duplicate::{ORIGINAL_BYTES, OriginalRecord, OriginalState};
use super::field_list::StoredFields;
use super::identity::CardKey;
use super::journal_record::decode::decode;
use super::journal_record::{Change, OwedId, OwedMessage, RECORD_BYTES_MAX, Record};
use super::velocity::{Layout, SnapshotGivenUp};
use super::{Now, Shard};
use crate::shard::placement;
use serde::{Deserialize, Serialize};

const VELOCITY: u8 = 1;
const RECORD: u8 = 2;
const ANSWER: u8 = 3;
const ORIGINAL: u8 = 4;
/// What a piece is, and its length.
const HEAD_BYTES: usize = 5;
/// Entries of small tables looked at in one step.
const PLACES_PER_STEP: usize = 2_048;

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
    started_wall_ms: Option<u64>,
    /// Lines of the velocity table.
    lines: usize,
    velocity: Layout,
}

const VERSION: u32 = 1;

/// How far a snapshot is.
pub(super) struct Taking {
    part: Part,
    answers: Cursor,
    /// Messages owed from here on became so after the cut.
    owed_below: u64,
    wall_ms: u64,
}

enum Part {
    Velocity,
    Answers,
    Holds(usize),
    Owed(u32),
}

/// What is known while a snapshot is put back.
pub(super) struct Loading {
    /// A piece that is not whole yet.
    rest: Vec<u8>,
    /// When it was taken.
    wall_ms: u64,
    /// The layout to carry over from, where it is another one.
    from: Option<Layout>,
    owed: Vec<Vec<u8>>,
}

impl Loading {
    /// Adds to the piece that is not whole what it still needs; returns what follows that.
    fn complete<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        // First its head, which tells how long it is.
        for _ in 0..2 {
            if self.rest.is_empty() {
                return bytes;
            }
            let wanted = match self.rest.first_chunk() {
                Some(&[_, a, b, c, d]) => HEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize,
                None => HEAD_BYTES,
            };
            let missing = wanted.saturating_sub(self.rest.len()).min(bytes.len());
            let (some, others) = bytes.split_at(missing);
            self.rest.extend_from_slice(some);
            bytes = others;
        }
        bytes
    }
}

impl Shard {
    /// Cuts here: everything recorded until now will be in it, nothing later. Returns what it says of
    /// itself.
    pub fn snapshot_begin(&mut self, now: Now) -> Vec<u8> {
        self.velocity.snapshot_begin();
        self.taking = Some(Taking {
            part: Part::Velocity,
            answers: self.duplicates.scan_begin(),
            owed_below: self.saf.next_number(),
            wall_ms: now.wall_ms,
        });
        let header = Header {
            version: VERSION,
            shard: self.id.0,
            shards: self.shards,
            wall_ms: now.wall_ms,
            started_wall_ms: self.started_wall_ms,
            lines: self.velocity.lines(),
            velocity: self.velocity.layout().clone(),
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
                let mut visit = |entry: ScanEntry<'_>| add_entry(out, &entry);
                if !self.duplicates.scan_next(&mut taking.answers, bytes_max, &mut visit) {
                    taking.part = Part::Holds(0);
                }
            }
            Part::Holds(place) => {
                let until = *place + PLACES_PER_STEP;
                let holds = self.preauthorizations.from(*place);
                for (_, hold) in holds.take_while(|(place, _)| *place < until) {
                    add_record(out, taking.wall_ms, Change::HoldOpened(*hold));
                }
                *place = until;
                if until >= self.preauthorizations.capacity() {
                    taking.part = Part::Owed(0);
                }
            }
            Part::Owed(place) => {
                let (first, until) = (*place, *place + PLACES_PER_STEP as u32);
                *place = until;
                self.add_owed(out, (first, until), taking);
                if until as usize >= self.saf.capacity() {
                    return SnapshotStep::Done;
                }
            }
        }
        SnapshotStep::More
    }

    fn add_owed(&self, out: &mut Vec<u8>, (first, until): (u32, u32), taking: &Taking) {
        for (place, owed) in self.saf.from(first).take_while(|(place, _)| *place < until) {
            if owed.number >= taking.owed_below {
                continue;
            }
            let message = OwedMessage {
                id: OwedId { number: owed.number, place },
                acquirer: owed.acquirer,
                issuer: owed.issuer,
                card: owed.card,
                mti: owed.mti,
                sent: owed.sent,
                fields: StoredFields::Listed(self.kept.get(owed.fields)),
            };
            add_record(out, taking.wall_ms, Change::Owed(message));
        }
    }

    /// Begins to put a snapshot back into this shard, which is new.
    ///
    /// # Errors
    /// It is of another version, or cannot be read.
    pub fn load_begin(&mut self, header: &[u8]) -> Result<(), String> {
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| format!("its header cannot be read: {error}"))?;
        if header.version != VERSION {
            return Err(format!(
                "it is of version {}, this program reads {VERSION}",
                header.version
            ));
        }
        let same = header.shards == self.shards
            && header.lines == self.velocity.lines()
            && header.velocity == *self.velocity.layout();
        if let Some(recovering) = &mut self.recovering {
            recovering.on_snapshot(header.wall_ms);
        }
        self.started_wall_ms = header.started_wall_ms;
        let from = (!same).then_some(header.velocity);
        self.loading =
            Some(Loading { rest: Vec::new(), wall_ms: header.wall_ms, from, owed: Vec::new() });
        Ok(())
    }

    /// The next bytes of it, cut anywhere.
    ///
    /// # Errors
    /// They cannot be read, or do not fit this shard.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(mut loading) = self.loading.take() else { return Ok(()) };
        // Only the piece that was cut is put together; the others are read where they are.
        let mut bytes = loading.complete(bytes);
        if let Some((what, piece)) = split_piece(&loading.rest) {
            let piece = piece.to_vec();
            loading.rest.clear();
            self.load_or_keep(&mut loading, what, &piece)?;
        }
        if loading.rest.is_empty() {
            while let Some((what, piece)) = split_piece(bytes) {
                bytes = bytes.get(HEAD_BYTES + piece.len()..).unwrap_or_default();
                self.load_or_keep(&mut loading, what, piece)?;
            }
            loading.rest.extend_from_slice(bytes);
        }
        self.loading = Some(loading);
        Ok(())
    }

    fn load_or_keep(
        &mut self,
        loading: &mut Loading,
        what: u8,
        piece: &[u8],
    ) -> Result<(), String> {
        if what == RECORD && is_owed(piece) {
            loading.owed.push(piece.to_vec());
            return Ok(());
        }
        self.load_piece(what, piece, (loading.wall_ms, loading.from.as_ref()))
    }

    /// That was all of it.
    ///
    /// # Errors
    /// It ends within a piece.
    pub fn load_end(&mut self) -> Result<(), String> {
        let Some(loading) = self.loading.take() else { return Ok(()) };
        if !loading.rest.is_empty() {
            return Err("it ends within a piece".into());
        }
        // Messages of a card are sent in the order in which they became owed.
        let mut owed = loading.owed;
        owed.sort_by_key(|record| owed_number(record));
        for record in owed {
            self.load_piece(RECORD, &record, (0, None))?;
        }
        Ok(())
    }

    fn load_piece(
        &mut self,
        what: u8,
        mut piece: &[u8],
        (wall_ms, from): (u64, Option<&Layout>),
    ) -> Result<(), String> {
        match (what, from) {
            (VELOCITY, None) => {
                self.velocity.snapshot_load(piece).map_err(|error| error.to_string())
            }
            (VELOCITY, Some(from)) => {
                let (id, shards) = (self.id, self.shards);
                let keep = |card: CardKey| placement::owner(card, shards) == id;
                let imported = self.velocity.snapshot_import(wall_ms, from, piece, keep);
                imported.map_err(|error| error.to_string())
            }
            (RECORD, _) => {
                let decoded = decode(&mut piece).map_err(|error| error.to_string())?;
                self.apply(&decoded.record());
                Ok(())
            }
            (ANSWER, _) => self.load_answer(piece).ok_or_else(|| "an answer is cut".into()),
            (ORIGINAL, _) => self.load_original(piece).ok_or_else(|| "an original is cut".into()),
            _ => Err(format!("a piece of unknown kind {what}")),
        }
    }

    fn load_answer(&mut self, piece: &[u8]) -> Option<()> {
        let (key, rest) = piece.split_first_chunk()?;
        let (fingerprint, rest) = rest.split_first_chunk()?;
        let (&[state, a, b], answer) = rest.split_first_chunk()?;
        self.duplicates.restore_answer(&StoredAnswer {
            key: DuplicateKey(*key),
            fingerprint: u64::from_le_bytes(*fingerprint),
            state: OriginalState::from_number(state)?,
            response_code: [a, b],
            answer,
        });
        Some(())
    }

    fn load_original(&mut self, piece: &[u8]) -> Option<()> {
        let (key, rest) = piece.split_first_chunk()?;
        let record = OriginalRecord::decode(rest.first_chunk::<ORIGINAL_BYTES>()?);
        self.duplicates.restore_original(OriginalKey(*key), &record);
        Some(())
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

fn split_piece(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[what, a, b, c, d], rest) = bytes.split_first_chunk()?;
    Some((what, rest.get(..u32::from_le_bytes([a, b, c, d]) as usize)?))
}

fn add_record(out: &mut Vec<u8>, wall_ms: u64, change: Change<'_>) {
    let mut bytes = [0; RECORD_BYTES_MAX];
    let count = Record { wall_ms, change }.encode(&mut bytes);
    let at = begin(out, RECORD);
    out.extend_from_slice(bytes.get(..count).unwrap_or_default());
    end(out, at);
}

fn add_entry(out: &mut Vec<u8>, entry: &ScanEntry<'_>) {
    match entry {
        ScanEntry::Answer(stored) => {
            let at = begin(out, ANSWER);
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

/// Whether an encoded record says that a message is owed.
fn is_owed(record: &[u8]) -> bool {
    owed_number(record).is_some()
}

fn owed_number(mut record: &[u8]) -> Option<u64> {
    match decode(&mut record).ok()?.record().change {
        Change::Owed(message) => Some(message.id.number),
        _ => None,
    }
}

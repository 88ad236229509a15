//! A snapshot is put back into a new shard: its own as it was, or what the shards of another layout
//! left. Of those it takes over its own cards, counters that it knows by name and shape, and gives
//! messages owed new places among its own.
//!
//! Not here: how a snapshot is taken.

use super::{ANSWER, ANSWER_OF_CARD, HEAD_BYTES, Header, ORIGINAL, RECORD, TOTALS};
use super::{VELOCITY, VERSION};
use crate::shard::duplicate::{DuplicateKey, ORIGINAL_BYTES, OriginalKey, OriginalRecord};
use crate::shard::duplicate::{OriginalState, StoredAnswer};
use crate::shard::identity::CardKey;
use crate::shard::journal_record::decode::decode;
use crate::shard::journal_record::{Change, OwedId, Record};
use crate::shard::preauthorization::Hold;
use crate::shard::totals::ROW_BYTES;
use crate::shard::velocity::{Layout, Translation};
use crate::shard::{Shard, ShardId, placement};

/// What is known while a snapshot is put back.
pub(in crate::shard) struct Loading {
    /// A piece that is not whole yet.
    rest: Vec<u8>,
    /// When it was taken.
    wall_ms: u64,
    /// Where it comes from, unless it is the shard's own.
    from: Option<Origin>,
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

/// Another layout.
struct Origin {
    layout: Layout,
    translation: Translation,
    /// For each of its counters of terminals, merchants, acquirers and tokens the place of ours.
    scopes: Vec<Option<usize>>,
}

impl Origin {
    /// The mask of our counters for one of its.
    fn scope_counters(&self, counters: u8) -> u8 {
        let places = self.scopes.iter().enumerate().filter(|(bit, _)| counters & 1 << bit != 0);
        places.filter_map(|(_, place)| *place).fold(0, |mask, place| mask | 1 << place)
    }
}

impl Shard {
    /// Begins to put a snapshot back into this shard, which is new; or the next one, when several
    /// shards of another layout left one each.
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
        let same = !header.carried
            && header.shards == self.shards
            && header.lines == self.velocity.lines()
            && header.velocity == *self.velocity.layout();
        let is_own = same && header.shard == self.id.0;
        if header.apart != self.velocity.is_passed() || header.apart && !is_own {
            return Err("its cards' lines are not those that are here".to_owned());
        }
        if let Some(recovering) = &mut self.recovering {
            recovering.on_snapshot(header.wall_ms);
        }
        // Its lines are of windows that were open then; perhaps no record follows.
        self.velocity.advance(header.velocity_ms);
        self.started_wall_ms = self.started_wall_ms.max(header.started_wall_ms);
        self.epoch = self.epoch.max(header.epoch);
        let from = (!same).then(|| Origin {
            translation: self.velocity.translation(&header.velocity),
            scopes: header.velocity.scope_places(self.velocity.layout()),
            layout: header.velocity,
        });
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
    /// It ends within a piece, or more is owed than there is room for.
    pub fn load_end(&mut self) -> Result<(), String> {
        let Some(loading) = self.loading.take() else { return Ok(()) };
        if !loading.rest.is_empty() {
            return Err("it ends within a piece".into());
        }
        // Messages of a card are sent in the order in which they became owed.
        let mut owed = loading.owed;
        owed.sort_by_key(|record| owed_order(record));
        let mut renamed = None;
        for record in owed {
            self.load_owed(&record, loading.from.is_some(), &mut renamed)?;
        }
        Ok(())
    }

    /// A message owed, or that it is parked. Shards of another layout give it a new number: `renamed`
    /// says of the last one which.
    fn load_owed(
        &mut self,
        mut record: &[u8],
        is_foreign: bool,
        renamed: &mut Option<(u64, OwedId)>,
    ) -> Result<(), String> {
        let decoded = decode(&mut record).map_err(|error| error.to_string())?;
        let mut record = decoded.record();
        match &mut record.change {
            Change::Owed(message) if is_foreign => {
                if !self.is_own(message.card) {
                    return Ok(());
                }
                let id = self.saf.next_id().unwrap_or(message.id);
                *renamed = Some((message.id.number, id));
                message.id = id;
            }
            Change::OwedParked { id, .. } if is_foreign => match *renamed {
                Some((number, new)) if number == id.number => *id = new,
                _ => return Ok(()),
            },
            _ => {}
        }
        self.expect_room(&record.change).map_err(|error| error.to_string())?;
        self.apply(&record);
        Ok(())
    }

    fn load_piece(
        &mut self,
        what: u8,
        piece: &[u8],
        (wall_ms, from): (u64, Option<&Origin>),
    ) -> Result<(), String> {
        match (what, from) {
            (VELOCITY, None) => {
                self.velocity.snapshot_load(piece).map_err(|error| error.to_string())
            }
            (VELOCITY, Some(from)) => {
                let (id, shards) = (self.id, self.shards);
                let keep = |card: CardKey| placement::owner(card, shards) == id;
                let imported = self.velocity.snapshot_import(wall_ms, &from.layout, piece, keep);
                imported.map_err(|error| error.to_string())
            }
            (RECORD, _) => self.load_record(piece, from),
            (ANSWER, _) => self.load_answer(piece).ok_or_else(|| "an answer is cut".into()),
            (ANSWER_OF_CARD, _) => {
                let (card, answer) = piece.split_first_chunk().ok_or("an answer is cut")?;
                if !self.is_own(CardKey(*card)) {
                    return Ok(());
                }
                self.load_answer(answer).ok_or_else(|| "an answer is cut".into())
            }
            (ORIGINAL, _) => {
                self.load_original(piece, from).ok_or_else(|| "an original is cut".into())
            }
            (TOTALS, _) => {
                let row = piece.try_into().map_err(|_| "a total is cut")?;
                self.load_total(row, from.is_some()).ok_or_else(|| "a total cannot be".into())
            }
            _ => Err(format!("a piece of unknown kind {what}")),
        }
    }

    /// Totals belong to no card: of those of another layout the first shard takes all. The date is
    /// every shard's.
    fn load_total(&mut self, row: &[u8; ROW_BYTES], is_foreign: bool) -> Option<()> {
        let day = u32::from_le_bytes(*row.first_chunk()?);
        if self.totals.ahead().all(|(_, ahead)| ahead != day) {
            self.apply_settlement_day(day);
        }
        if is_foreign && self.id != ShardId(0) {
            return Some(());
        }
        self.totals.restore(row)
    }

    fn is_own(&self, card: CardKey) -> bool {
        placement::owner(card, self.shards) == self.id
    }

    fn load_record(&mut self, mut record: &[u8], from: Option<&Origin>) -> Result<(), String> {
        let decoded = decode(&mut record).map_err(|error| error.to_string())?;
        let record = decoded.record();
        let expect_room = |change| self.expect_room(change).map_err(|error| error.to_string());
        let Some(from) = from else {
            expect_room(&record.change)?;
            self.apply(&record);
            return Ok(());
        };
        match record.change {
            Change::HoldOpened(hold) if self.is_own(hold.name.card) => {
                expect_room(&record.change)?;
                let reservation = from.translation.reservation(&hold.reservation);
                let hold = Hold { reservation, ..hold };
                self.apply(&Record { change: Change::HoldOpened(hold), ..record });
            }
            Change::Token(entry) if self.wallet.owner(entry.token, self.shards) == self.id => {
                expect_room(&record.change)?;
                self.apply(&record);
            }
            Change::WalletRequest([.., token])
                if self.wallet.owner(token, self.shards) == self.id =>
            {
                self.apply(&record);
            }
            Change::SettlementDay { .. } | Change::IssuerDay { .. } | Change::IssuerTold { .. } => {
                self.apply(&record);
            }
            Change::ScopeRow(row) => {
                let place = from.scopes.get(usize::from(row.counter)).copied().flatten();
                if let (Some(place), Some(escrow)) = (place, &mut self.escrow) {
                    let used = (row.number, row.share.used);
                    let carried = escrow.carry_used(record.wall_ms, (place, row.entity), used);
                    carried.map_err(|error| error.to_string())?;
                }
            }
            Change::ScopeHeld { key, hold } if self.is_own(hold.card) => {
                let counters = from.scope_counters(hold.counters);
                if let Some(escrow) = &mut self.escrow {
                    escrow.carry_hold(&key, hold, counters);
                }
            }
            _ => {}
        }
        Ok(())
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

    fn load_original(&mut self, piece: &[u8], from: Option<&Origin>) -> Option<()> {
        let (key, rest) = piece.split_first_chunk()?;
        let mut record = OriginalRecord::decode(rest.first_chunk::<ORIGINAL_BYTES>()?);
        if let Some(from) = from {
            if !self.is_own(record.card) {
                return Some(());
            }
            record.reservation = from.translation.reservation(&record.reservation);
        }
        self.duplicates.restore_original(OriginalKey(*key), &record);
        Some(())
    }
}

fn split_piece(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[what, a, b, c, d], rest) = bytes.split_first_chunk()?;
    Some((what, rest.get(..u32::from_le_bytes([a, b, c, d]) as usize)?))
}

/// Whether an encoded record is about a message that is owed.
fn is_owed(record: &[u8]) -> bool {
    owed_order(record).is_some()
}

/// First that it is owed, then that it is parked.
fn owed_order(mut record: &[u8]) -> Option<(u64, bool)> {
    match decode(&mut record).ok()?.record().change {
        Change::Owed(message) => Some((message.id.number, false)),
        Change::OwedParked { id, .. } => Some((id.number, true)),
        _ => None,
    }
}

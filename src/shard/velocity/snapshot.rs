//! The table as bytes: written in pieces while it goes on changing, read back into a table of the same
//! layout as it was, or card by card into another one.

use super::Velocity;
use super::audit::Audit;
use super::capture::{SnapshotGivenUp, read_piece};
use super::counters::Counters;
use super::layout::{Layout, Translation};
use crate::limits::VELOCITY_WORDS_MAX;
use crate::shard::CardKey;

/// Words of the card key at the head of a line.
const KEY_WORDS: usize = 2;

/// Why bytes of a snapshot were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// They are not whole pieces of such a table.
    #[error("not whole pieces of a velocity table of this layout")]
    Damaged,
    /// A card that counts found no line.
    #[error("no line is left for a card of the snapshot: the table is too small")]
    Full,
}

impl Velocity {
    /// Cuts here: what [`Velocity::snapshot_next`] writes is the table as it is now. A snapshot that
    /// is under way is given up.
    pub fn snapshot_begin(&mut self) {
        self.table.snapshot_abandon();
        self.table.snapshot_begin();
    }

    /// Appends at most about `bytes_max` bytes of whole pieces; false when these were the last.
    /// Empty lines are left out.
    ///
    /// # Errors
    /// More has changed meanwhile than could be kept as it was: what was written is worth nothing.
    /// So without a snapshot under way.
    pub fn snapshot_next(
        &mut self,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) -> Result<bool, SnapshotGivenUp> {
        self.table.snapshot_next(out, bytes_max)
    }

    /// Whether a snapshot must be hurried on: a good part of what can be kept as it was is in use.
    #[must_use]
    pub fn snapshot_is_behind(&self) -> bool {
        self.table.snapshot_is_behind()
    }

    /// Gives the snapshot up that is under way.
    pub fn snapshot_abandon(&mut self) {
        self.table.snapshot_abandon();
    }

    /// UTC milliseconds of the last transaction that was counted or judged.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.counters.now_ms()
    }

    /// Time is at least this from now on.
    pub fn advance(&mut self, wall_ms: u64) {
        self.counters.advance(wall_ms);
    }

    /// Puts pieces of a snapshot of the same layout and lines where they were.
    ///
    /// # Errors
    /// [`LoadError::Damaged`]; the table is then worth nothing.
    pub fn snapshot_load(&mut self, pieces: &[u8]) -> Result<(), LoadError> {
        let Self { counters, table, audit, .. } = self;
        let begin = |key, words: &[u64]| begin_audit(audit, counters, key, words);
        if table.load(pieces, begin) { Ok(()) } else { Err(LoadError::Damaged) }
    }

    /// Takes the cards that `keep` names over from a snapshot of another layout, or of another number
    /// of lines or shards: what counters of the same name and shape count. Time is at least `wall_ms`:
    /// what has rolled out by then is left behind.
    ///
    /// # Errors
    /// [`LoadError::Damaged`] or [`LoadError::Full`]; the table is then worth nothing.
    pub fn snapshot_import(
        &mut self,
        wall_ms: u64,
        from: &Layout,
        pieces: &[u8],
        keep: impl Fn(CardKey) -> bool,
    ) -> Result<(), LoadError> {
        self.counters.advance(wall_ms);
        let translation = Translation::new(from, &self.layout);
        let line_words = from.line_words();
        let mut pieces = pieces;
        while !pieces.is_empty() {
            let piece = read_piece(&mut pieces, line_words).ok_or(LoadError::Damaged)?;
            let mut taken = Ok(());
            piece.lines(|_, bytes| {
                let mut line = [0; KEY_WORDS + VELOCITY_WORDS_MAX];
                for (word, bytes) in line.iter_mut().zip(bytes.as_chunks().0) {
                    *word = u64::from_le_bytes(*bytes);
                }
                let line = &line[..line_words];
                if taken.is_ok() {
                    taken = self.import(&translation, line, &keep);
                }
            });
            taken?;
        }
        Ok(())
    }

    fn import(
        &mut self,
        translation: &Translation,
        line: &[u64],
        keep: impl Fn(CardKey) -> bool,
    ) -> Result<(), LoadError> {
        let (key, words) = line.split_at(KEY_WORDS);
        let (Some(low), Some(high)) = (key.first(), key.last()) else {
            return Err(LoadError::Damaged);
        };
        let card = CardKey((u128::from(*low) | u128::from(*high) << 64).to_le_bytes());
        if !keep(card) {
            return Ok(());
        }
        let Self { counters, table, audit, .. } = self;
        let mut here = [0; VELOCITY_WORDS_MAX];
        let here = &mut here[..table.line_words() - KEY_WORDS];
        if !translation.words(counters, words, here) {
            return Err(LoadError::Damaged);
        }
        if counters.is_over(here) {
            return Ok(());
        }
        if table.find(card).is_some() {
            return Err(LoadError::Damaged);
        }
        let place = table.claim(card, |words| counters.is_over(words)).ok_or(LoadError::Full)?;
        table.words_mut(place).copy_from_slice(here);
        begin_audit(audit, counters, card.words(), here);
        Ok(())
    }
}

/// What a snapshot says of a card, or a line that another process passed, is where its second book
/// begins. Lines of a time that has not come
/// (snapshots once did not say of which time they are) can be no beginning: then there is no book.
#[inline]
pub(super) fn begin_audit(audit: &mut Audit, counters: &Counters, key: [u64; 2], words: &[u64]) {
    if !audit.has(key) {
        return;
    }
    if !counters.has_come(words) {
        audit.end();
    } else if !counters.is_over(words) {
        let words = counters.rolled(words);
        let sums = |counter, age| counters.sums(&words, counter, age);
        audit.begin(counters.now_ms(), key, sums);
    }
}

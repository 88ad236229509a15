//! Lines and second books side by side: a book is told what became of its card's line, and both must
//! say the same.
//!
//! Not here: the book (`audit`), and when a line changes.

use super::Velocity;
use super::audit::{Audit, Difference};
use super::snapshot::begin_audit;
use crate::limits::VELOCITY_WORDS_MAX;
use crate::shard::CardKey;

impl Velocity {
    /// The second book of a card is told what became of its line, and must say the same.
    #[cold]
    pub(super) fn audited(&mut self, card: CardKey, tell: impl FnOnce(&mut Audit, u64, [u64; 2])) {
        let Self { counters, table, audit, .. } = self;
        if table.is_passed() && !audit.knows(card.words()) {
            // Nobody has read its line yet: of all of them that would take seconds.
            if let Some(place) = table.find(card) {
                begin_audit(audit, counters, card.words(), table.words(place));
            }
            return;
        }
        tell(audit, counters.now_ms(), card.words());
        self.assert_audited(card);
    }

    pub(super) fn assert_audited(&mut self, card: CardKey) {
        // A limit that is not what it seems is worth less than a restart.
        if let Err(difference) = self.compare(card) {
            panic!("Invariant: {difference}");
        }
    }

    /// Whether a card's line says what its second book says, if it has one.
    pub(super) fn compare(&mut self, card: CardKey) -> Result<(), Difference> {
        let Self { counters, table, audit, .. } = self;
        if !audit.has(card.words()) {
            return Ok(());
        }
        let words = table
            .find(card)
            .map_or([0; VELOCITY_WORDS_MAX], |place| counters.rolled(table.words(place)));
        let sums = |counter, age| counters.sums(&words, counter, age);
        audit.compare(counters.now_ms(), card.words(), sums)
    }

    /// Draws one card of so many for the second book, in a world of few cards. Before anything is
    /// counted.
    pub fn audit_one_of(&mut self, cards: u64) {
        self.audit.draw_one_of(cards);
    }

    /// Lines that were compared with a second book since this was asked last.
    pub fn take_audited(&mut self) -> u64 {
        self.audit.take_audited()
    }
}

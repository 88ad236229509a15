//! By which a transaction is known again when it comes under other trace numbers: a switch that died
//! may forward it a second time, and hand on a reversal under its acquirer's numbers.
//!
//! Not here: what follows from it (`issuing_bank`), and where it is kept (`recent`).

use super::pan_key::PanKey;
use super::recent::Recent;
use tapswitch_protocol::{MessageView, MtiClass};

/// What names a transaction besides its card, whoever sends it: all of it stays as it is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reference {
    /// DE 37, or what stands for it.
    pub(super) rrn: [u8; 12],
    /// DE 41.
    pub(super) terminal: [u8; 8],
    /// DE 42.
    pub(super) merchant: [u8; 15],
    /// DE 3, in digits.
    pub(super) processing: [u8; 6],
    /// Authorization or financial; `None` where a reversal does not say.
    pub(super) class: Option<MtiClass>,
}

impl Reference {
    /// The reference of a message of this class, or whose original is of it.
    #[inline]
    pub(super) fn read(view: &MessageView<'_>, rrn: [u8; 12], class: Option<MtiClass>) -> Self {
        Self {
            rrn,
            terminal: characters(view, 41),
            merchant: characters(view, 42),
            processing: characters(view, 3),
            class,
        }
    }

    /// Whether both name the same transaction. A class that is not said is any.
    pub(super) fn names(&self, other: &Self) -> bool {
        let any = self.class.is_none() || other.class.is_none();
        *self == Self { class: if any { self.class } else { other.class }, ..*other }
    }

    /// Bits for the table's places.
    #[inline]
    pub(super) fn hash(&self, card_hash: u64) -> u64 {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        self.rrn.iter().fold(card_hash, step).wrapping_mul(0xD6E8_FEB8_6659_FD93)
    }
}

/// The characters of a field; zeros where it is absent or longer.
fn characters<const N: usize>(view: &MessageView<'_>, field: u8) -> [u8; N] {
    let (mut text, mut scratch) = ([0; N], [0; 64]);
    if let Some(found) = view.text(field, &mut scratch)
        && let Some(out) = text.get_mut(..found.len())
    {
        out.copy_from_slice(found);
    }
    text
}

/// References of the rows of a ring, by place, chained from the newest to the oldest as the rows are.
pub(super) struct References {
    entries: Vec<Entry>,
    heads: Box<[u32]>,
    shift: u32,
}

#[derive(Clone, Copy, Default)]
struct Entry {
    reference: Reference,
    older: u32,
}

impl References {
    /// For a ring of so many rows, a power of two.
    pub(super) fn new(rows_max: usize) -> Self {
        let heads = rows_max.max(2);
        Self {
            entries: Vec::new(),
            heads: vec![0; heads].into_boxed_slice(),
            shift: 64 - heads.trailing_zeros(),
        }
    }

    /// The row at `place`, which is known as `number`, has this reference.
    pub(super) fn set(
        &mut self,
        (place, number): (usize, u32),
        reference: &Reference,
        card_hash: u64,
    ) {
        let at = (reference.hash(card_hash) >> self.shift) as usize;
        let older = self.heads.get_mut(at).map_or(0, |head| core::mem::replace(head, number));
        if self.entries.len() <= place {
            self.entries.resize(place + 1, Entry::default());
        }
        if let Some(entry) = self.entries.get_mut(place) {
            *entry = Entry { reference: *reference, older };
        }
    }

    /// The newest row that may have this reference.
    pub(super) fn head(&self, reference: &Reference, card_hash: u64) -> u32 {
        let at = (reference.hash(card_hash) >> self.shift) as usize;
        self.heads.get(at).copied().unwrap_or(0)
    }

    /// The row before the one at `place` that may have its reference.
    pub(super) fn older(&self, place: usize) -> u32 {
        self.entries.get(place).map_or(0, |entry| entry.older)
    }

    /// The reference of the row at `place`.
    pub(super) fn get(&self, place: usize) -> Option<&Reference> {
        self.entries.get(place).map(|entry| &entry.reference)
    }

    /// Whether the row at `place` is the one that is named, of this card.
    pub(super) fn is(
        &self,
        (place, row): (usize, &Recent),
        pan: PanKey,
        reference: &Reference,
    ) -> bool {
        row.key.pan == pan && self.get(place).is_some_and(|own| own.names(reference))
    }
}

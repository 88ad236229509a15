//! What names a request, and what it asks: two keyed digests of its contents.
//!
//! The key of a request is drawn from the acquirer, the class of its MTI and the data elements that
//! its acquirer's profile lists; the card is not in it. Whether a repeat asks the same as the first
//! is told by the fingerprint: account, processing code, amount. Both are keyed (SipHash), so that
//! no peer can make two requests collide.
//!
//! Not here: which data elements a profile lists.

use crate::shard::{AcquirerId, CardKey};
use core::hash::Hasher;
use siphasher::sip128::{Hasher128, SipHasher13};
use tapswitch_protocol::{FieldSet, MessageView};

/// Names one request of one acquirer. 128 bits: two different requests never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DuplicateKey(pub [u8; 16]);

impl DuplicateKey {
    /// The part that the index keeps beside a place.
    #[inline]
    pub(super) fn hash(&self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Begins what is digested, so that a key is never a fingerprint.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Purpose {
    Key = 1,
    Fingerprint = 2,
}

/// Packed fields longer than this are unpacked on a slower path.
const TEXT_CHARACTERS: usize = 64;
/// Longest field of any dialect.
const TEXT_CHARACTERS_MAX: usize = 999;

/// Makes keys and fingerprints under one secret key of the process.
pub struct DuplicateHasher {
    keyed: SipHasher13,
}

impl DuplicateHasher {
    /// With the process's key.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self { keyed: SipHasher13::new_with_key(&key) }
    }

    /// The key of a message: of those of `fields` that it has. `class` stands for the class of its
    /// MTI, in any numbering that the caller keeps to.
    #[inline]
    #[must_use]
    pub fn key(
        &self,
        acquirer: AcquirerId,
        class: u8,
        fields: FieldSet,
        view: &MessageView<'_>,
    ) -> DuplicateKey {
        let mut parts = self.begin(acquirer, class);
        let mut scratch = [0; TEXT_CHARACTERS];
        for field in fields.and(view.present()) {
            match view.text(field, &mut scratch) {
                // Unpacked digits that fill the scratch may be cut short.
                Some(text) if text.len() < TEXT_CHARACTERS => parts.add(field, text),
                Some(_) => add_long(&mut parts, field, view),
                None => {}
            }
        }
        parts.finish()
    }

    /// The key of a message of which only these contents are known (field and characters, in
    /// ascending order): the original that a reversal names.
    #[must_use]
    pub fn key_of_parts(
        &self,
        acquirer: AcquirerId,
        class: u8,
        contents: &[(u8, &[u8])],
    ) -> DuplicateKey {
        let mut parts = self.begin(acquirer, class);
        for (field, text) in contents {
            parts.add(*field, text);
        }
        parts.finish()
    }

    /// What a request asks: card (`None` where it names none), processing code and amount.
    #[inline]
    #[must_use]
    pub fn fingerprint(&self, card: Option<&CardKey>, view: &MessageView<'_>) -> u64 {
        let mut bytes = [0; 29];
        bytes[0] = Purpose::Fingerprint as u8;
        if let Some(card) = card {
            bytes[1..17].copy_from_slice(&card.0);
        }
        // Numbers that are missing are all ones, which no field can spell.
        let processing_code = view.processing_code().map_or(u32::MAX, |code| code.0);
        bytes[17..21].copy_from_slice(&processing_code.to_le_bytes());
        let amount = view.amount().map_or(u64::MAX, |amount| amount.0);
        bytes[21..].copy_from_slice(&amount.to_le_bytes());
        self.keyed.hash(&bytes).as_u64().0
    }

    #[inline]
    fn begin(&self, AcquirerId(acquirer): AcquirerId, class: u8) -> Parts {
        let mut parts = Parts(self.keyed);
        parts.0.write_u64(u64::from_le_bytes([Purpose::Key as u8, acquirer, class, 0, 0, 0, 0, 0]));
        parts
    }
}

#[cold]
fn add_long(parts: &mut Parts, field: u8, view: &MessageView<'_>) {
    let mut scratch = [0; TEXT_CHARACTERS_MAX];
    if let Some(text) = view.text(field, &mut scratch) {
        parts.add(field, text);
    }
}

/// Field contents on their way into a digest, as words: field and length, then the content in
/// eights, the last filled up with zeros. No two lists of contents make the same words.
struct Parts(SipHasher13);

impl Parts {
    #[inline]
    fn add(&mut self, field: u8, text: &[u8]) {
        self.0.write_u64(u64::from(field) | (text.len() as u64) << 8);
        let (eights, rest) = text.as_chunks();
        for eight in eights {
            self.0.write_u64(u64::from_le_bytes(*eight));
        }
        if !rest.is_empty() {
            let last = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.0.write_u64(last);
        }
    }

    #[inline]
    fn finish(self) -> DuplicateKey {
        DuplicateKey(self.0.finish128().as_u128().to_le_bytes())
    }
}

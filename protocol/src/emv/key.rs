//! Keys by what they are for: an issuer's master key, a card's, a session's. Each overwrites itself when
//! it is dropped, and none can be printed.

use super::cipher::{Cipher, KeyBytes};
use super::{Algorithm, Derivation, KEY_BYTES, Padding, SessionMethod, derivation};
use crate::chip::PanSequence;
use crate::pan::Pan;
use core::fmt;

/// The weak keys of DES, without their parity bits: enciphering twice with one gives back the clear text.
const WEAK_DES: [[u8; 8]; 4] = [
    [0x00; 8],
    [0xFE; 8],
    [0x1E, 0x1E, 0x1E, 0x1E, 0x0E, 0x0E, 0x0E, 0x0E],
    [0xE0, 0xE0, 0xE0, 0xE0, 0xF0, 0xF0, 0xF0, 0xF0],
];

/// Why bytes are no master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImkError {
    /// Not 16 bytes.
    Length,
    /// The halves of a triple DES key are the same: it would be single DES.
    HalvesAreEqual,
    /// A half of a triple DES key is a weak key of DES, or all bytes of an SM4 key are the same.
    Weak,
}

impl fmt::Display for ImkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a key has 16 bytes",
            Self::HalvesAreEqual => "both halves of the key are the same, which is single DES",
            Self::Weak => "the key is a weak one, or a placeholder",
        })
    }
}

impl std::error::Error for ImkError {}

/// An issuer's master key for cryptograms (IMK-AC): all keys of its cards come from it.
pub struct Imk(Cipher);

impl Imk {
    /// From 16 bytes. Parity bits of triple DES keys are ignored. The caller overwrites its own copy.
    ///
    /// # Errors
    /// [`ImkError`]
    pub fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, ImkError> {
        let key: &[u8; KEY_BYTES] = key.try_into().map_err(|_| ImkError::Length)?;
        match algorithm {
            Algorithm::TripleDes => check_triple_des(key)?,
            Algorithm::Sm4 if key.iter().all(|byte| Some(byte) == key.first()) => {
                return Err(ImkError::Weak);
            }
            Algorithm::Sm4 => {}
        }
        Ok(Self(Cipher::new(algorithm, key)))
    }

    /// What the key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    /// The first three bytes of enciphered zeros: by them people see that a key is the one they mean.
    #[must_use]
    pub fn check_value(&self) -> [u8; 3] {
        check_value(&self.0)
    }

    /// The key of a card (EMV Book 2, A1.4).
    #[must_use]
    pub fn card_key(&self, derivation: Derivation, pan: &Pan, sequence: PanSequence) -> CardKey {
        let key = self.card_key_bytes(derivation, pan, sequence);
        CardKey::new(self.algorithm(), &key)
    }

    pub(super) fn card_key_bytes(
        &self,
        derivation: Derivation,
        pan: &Pan,
        sequence: PanSequence,
    ) -> KeyBytes {
        let block = derivation::block(derivation, pan, sequence);
        self.0.diversify(block, block.map(|byte| !byte))
    }
}

impl fmt::Debug for Imk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Imk(hidden)")
    }
}

fn check_triple_des(key: &[u8; KEY_BYTES]) -> Result<(), ImkError> {
    let key = zeroize::Zeroizing::new(key.map(|byte| byte & 0xFE));
    let (halves, _) = key.as_chunks::<8>();
    if halves.iter().any(|half| WEAK_DES.contains(half)) {
        return Err(ImkError::Weak);
    }
    match halves {
        [left, right] if left == right => Err(ImkError::HalvesAreEqual),
        _ => Ok(()),
    }
}

fn check_value(cipher: &Cipher) -> [u8; 3] {
    let [a, b, c, ..] = cipher.encipher_eight([0; 8]);
    [a, b, c]
}

/// The key of one card (UDK, ICC master key).
pub struct CardKey(pub(super) Cipher);

impl CardKey {
    /// A key that is known itself, as a simulated card knows it.
    #[must_use]
    pub fn new(algorithm: Algorithm, key: &[u8; KEY_BYTES]) -> Self {
        Self(Cipher::new(algorithm, key))
    }

    /// The key of the transaction with this counter; the card's own where the method is to use none.
    #[must_use]
    pub fn session_key(self, method: SessionMethod, counter: u16) -> SessionKey {
        match self.session_key_bytes(method, counter) {
            Some(key) => self.session_of(&key),
            None => SessionKey(self.0),
        }
    }

    pub(super) fn session_of(&self, key: &KeyBytes) -> SessionKey {
        SessionKey(Cipher::new(self.0.algorithm(), key))
    }

    /// `None` when the card's key itself is the session's. By SM4 no common session key is defined;
    /// [`super::Verifier`] refuses it.
    pub(super) fn session_key_bytes(
        &self,
        method: SessionMethod,
        counter: u16,
    ) -> Option<KeyBytes> {
        match method {
            SessionMethod::None => None,
            SessionMethod::Pboc => {
                let block = |counter: u16| u64::from(counter).to_be_bytes();
                Some(self.0.diversify(block(counter), block(!counter)))
            }
            SessionMethod::Csk => {
                Some(self.common_session_key_bytes((u64::from(counter) << 48).to_be_bytes()))
            }
        }
    }

    /// EMV's common session key for any diversification value (EMV Book 2, A1.3.1): its third byte is
    /// replaced by F0 for the left half and by 0F for the right one.
    pub(super) fn common_session_key_bytes(&self, [a, b, _, rest @ ..]: [u8; 8]) -> KeyBytes {
        let [d, e, f, g, h] = rest;
        self.0.diversify([a, b, 0xF0, d, e, f, g, h], [a, b, 0x0F, d, e, f, g, h])
    }
}

impl fmt::Debug for CardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardKey(hidden)")
    }
}

/// The key of one transaction of one card.
pub struct SessionKey(pub(super) Cipher);

impl SessionKey {
    /// The cryptogram of these data.
    #[must_use]
    pub fn cryptogram(&self, data: &[u8], padding: Padding) -> [u8; 8] {
        self.0.authenticate(data, padding)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(hidden)")
    }
}

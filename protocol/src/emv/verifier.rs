//! One call for one request: is its cryptogram that of the card, and what is the card answered?

use super::data_list::DataList;
use super::key::{CardKey, Imk, SessionKey};
use super::{Algorithm, ArpcKey, Derivation, Padding, Responder, SessionMethod};
use crate::chip::{ChipData, ObjectError, PanSequence};
use crate::pan::Pan;
use core::fmt;
use subtle::ConstantTimeEq;

/// How the cards of an issuer make their cryptograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// The cipher of all keys.
    pub algorithm: Algorithm,
    /// From master key to card's key.
    pub derivation: Derivation,
    /// From card's key to session key.
    pub session: SessionMethod,
    /// What the cryptogram covers.
    pub data: DataList,
    /// How that is filled up.
    pub padding: Padding,
    /// What the answer is made with.
    pub arpc_key: ArpcKey,
}

impl Scheme {
    /// UnionPay's cards, version 01. Version 17 is the same with [`DataList::SHORT`].
    #[must_use]
    pub const fn union_pay(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            derivation: Derivation::A,
            session: SessionMethod::Pboc,
            data: DataList::LONG,
            padding: Padding::Marked,
            arpc_key: ArpcKey::Session,
        }
    }

    /// Visa's cards, cryptogram version 10.
    pub const VISA_10: Self = Self {
        algorithm: Algorithm::TripleDes,
        derivation: Derivation::A,
        session: SessionMethod::None,
        data: DataList::LONG,
        padding: Padding::Zeros,
        arpc_key: ArpcKey::Card,
    };

    /// Visa's cards, cryptogram version 18.
    pub const VISA_18: Self = Self {
        session: SessionMethod::Csk,
        data: DataList::WITH_ISSUER_DATA,
        padding: Padding::Marked,
        arpc_key: ArpcKey::Session,
        ..Self::VISA_10
    };
}

/// Why a scheme and a key make no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemeError {
    /// The master key is for the other cipher.
    Algorithm,
    /// A common session key is defined for triple DES only.
    CommonSessionKey,
}

impl fmt::Display for SchemeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Algorithm => "the master key is for another cipher than the scheme",
            Self::CommonSessionKey => "a common session key is defined for triple DES only",
        })
    }
}

impl std::error::Error for SchemeError {}

/// Verifies the cryptograms of an issuer's cards. Made once; it holds the master key.
pub struct Verifier {
    scheme: Scheme,
    imk: Imk,
}

impl Verifier {
    /// Of a scheme and the issuer's master key.
    ///
    /// # Errors
    /// [`SchemeError`]
    pub fn new(scheme: Scheme, imk: Imk) -> Result<Self, SchemeError> {
        if scheme.algorithm != imk.algorithm() {
            return Err(SchemeError::Algorithm);
        }
        if scheme.session == SessionMethod::Csk && scheme.algorithm != Algorithm::TripleDes {
            return Err(SchemeError::CommonSessionKey);
        }
        Ok(Self { scheme, imk })
    }

    /// How its cards do it.
    #[must_use]
    pub const fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Whether 9F26 is the cryptogram of this card over the objects of the scheme's list.
    ///
    /// `pan` is the number that the card itself knows: a token's where a phone paid. The result must be
    /// asked [`Cryptogram::is_verified`]; a cryptogram that is wrong is no error.
    ///
    /// # Errors
    /// [`ObjectError`] when 9F26, 9F36 or an object of the list is missing or of a wrong length, or 9F10
    /// has no card verification results that are asked for.
    pub fn verify(
        &self,
        pan: &Pan,
        sequence: PanSequence,
        chip: &ChipData<'_>,
    ) -> Result<Cryptogram, ObjectError> {
        let received = chip.cryptogram()?;
        let (expected, keys) = self.expect(pan, sequence, chip)?;
        let is_verified = expected.ct_eq(&received).into();
        Ok(Cryptogram { is_verified, responder: keys.responder(received) })
    }

    /// The cryptogram that this card would make, as a simulated card needs it; 9F26 is not read.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn cryptogram(
        &self,
        pan: &Pan,
        sequence: PanSequence,
        chip: &ChipData<'_>,
    ) -> Result<[u8; 8], ObjectError> {
        self.expect(pan, sequence, chip).map(|(cryptogram, _)| cryptogram)
    }

    /// What answers a cryptogram that was verified before, when only card, counter (9F36) and
    /// cryptogram were kept. It does not know whether the cryptogram was right: ask for none that was
    /// not.
    #[must_use]
    pub fn responder(
        &self,
        pan: &Pan,
        sequence: PanSequence,
        counter: u16,
        cryptogram: [u8; 8],
    ) -> Responder {
        self.keys(pan, sequence, counter).responder(cryptogram)
    }

    fn expect(
        &self,
        pan: &Pan,
        sequence: PanSequence,
        chip: &ChipData<'_>,
    ) -> Result<([u8; 8], Keys), ObjectError> {
        let counter = chip.transaction_counter()?;
        let data = self.scheme.data.collect(chip)?;
        let keys = self.keys(pan, sequence, counter);
        Ok((keys.session.cryptogram(data.as_bytes(), self.scheme.padding), keys))
    }

    fn keys(&self, pan: &Pan, sequence: PanSequence, counter: u16) -> Keys {
        let Scheme { derivation, session, arpc_key, .. } = self.scheme;
        let card = self.imk.card_key(derivation, pan, sequence);
        match card.session_key_bytes(session, counter) {
            Some(key) if arpc_key == ArpcKey::Card => {
                Keys { session: card.session_of(&key), card: Some(card) }
            }
            Some(key) => Keys { session: card.session_of(&key), card: None },
            None => Keys { session: card.session_key(session, counter), card: None },
        }
    }
}

/// It prints how its cards do it, not the key.
impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// The keys of one transaction.
struct Keys {
    session: SessionKey,
    /// Where the answer is made with it and it is not the session's.
    card: Option<CardKey>,
}

impl Keys {
    fn responder(self, cryptogram: [u8; 8]) -> Responder {
        let key = self.card.map_or(self.session.0, |card| card.0);
        Responder { cryptogram, key }
    }
}

/// A cryptogram that could be computed, and whether it was the right one.
#[must_use = "a cryptogram may be wrong"]
#[derive(Debug)]
pub struct Cryptogram {
    is_verified: bool,
    responder: Responder,
}

impl Cryptogram {
    /// Whether the card made it over these data.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.is_verified
    }

    /// What answers it: tag 91. `None` for a wrong one: an issuer proves itself to its own card only,
    /// and whoever sends cryptograms of his choice must not be told what its key makes of them.
    #[must_use]
    pub const fn responder(&self) -> Option<&Responder> {
        if self.is_verified { Some(&self.responder) } else { None }
    }
}

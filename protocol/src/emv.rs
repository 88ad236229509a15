//! Cryptograms of chip cards: whether a card itself asked (ARQC), and what proves the issuer's answer
//! to it (ARPC).
//!
//! A [`Verifier`] is made once of a [`Scheme`] (how an issuer's cards do it) and of the issuer's master
//! key ([`Imk`]); [`Verifier::verify`] then does all for one request: derives the card's key from PAN and
//! sequence number, a session key from the transaction counter, collects the objects of a [`DataList`]
//! from DE 55, computes the cryptogram and compares it in constant time. The [`Cryptogram`] that it
//! returns says whether it was right, and makes the value of tag 91. Nothing is allocated, and no key or
//! account number can be printed or is in an error.
//!
//! Which key is derived from which, and which bytes are enciphered, is of EMV Book 2 (chapter 8, annexes
//! A1.3 and A1.4) and, for UnionPay's cards, of public descriptions and published examples (PBOC 3.0);
//! the members-only specifications were not used. `tests/vectors/emv.json` holds the examples.
//!
//! | who | derivation | session key | data | padding | ARPC |
//! | --- | --- | --- | --- | --- | --- |
//! | UnionPay, 3DES and SM4 | A | [`SessionMethod::Pboc`] | [`DataList::LONG`] or [`DataList::SHORT`] | `80 00…` | 1, session key |
//! | EMV common session key | A or B | [`SessionMethod::Csk`] | the issuer's | `80 00…` | 1 or 2 |
//! | Visa version 10 | A | [`SessionMethod::None`] | [`DataList::LONG`] | zeros | 1, card's key |
//! | Visa version 18 | A | [`SessionMethod::Csk`] | [`DataList::WITH_ISSUER_DATA`] | `80 00…` | 2 |
//!
//! The ciphers are software of tables: their time may tell something to who shares the processor's
//! caches. Only the comparison is of constant time.
//!
//! Not here: reading DE 55 ([`crate::chip`]), which scheme and key are a card's, whether the counter
//! grew, what to answer, where keys come from, PINs, MACs of messages.

mod answer;
mod cipher;
mod data_list;
mod derivation;
mod key;
mod verifier;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use answer::{IssuerAuthentication, PROPRIETARY_BYTES_MAX, Responder};
pub use data_list::{DataList, DataListError, DataListReason};
pub use key::{CardKey, Imk, ImkError, SessionKey};
pub use verifier::{Cryptogram, Scheme, SchemeError, Verifier};

/// Bytes of every key here: two-key triple DES, and SM4.
pub const KEY_BYTES: usize = 16;

/// The block cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Triple DES with two keys; blocks of 8 bytes.
    TripleDes,
    /// SM4 (GB/T 32907); blocks of 16 bytes.
    Sm4,
}

/// How a card's key comes from the master key (EMV Book 2, A1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derivation {
    /// From the last 16 digits of PAN and sequence number.
    A,
    /// From 16 digits of their SHA-1 where the PAN has more than 16 digits; else as option A.
    B,
}

/// How a session key comes from a card's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMethod {
    /// None: the card's key itself is used.
    None,
    /// PBOC and UnionPay: the counter, and its complement.
    Pboc,
    /// EMV's common session key (EMV Book 2, A1.3.1); triple DES only.
    Csk,
}

/// How data are filled up to whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// A byte `80`, always, then zeros (ISO/IEC 9797-1, method 2).
    Marked,
    /// Zeros, none if the data are whole blocks (ISO/IEC 9797-1, method 1).
    Zeros,
}

/// Which key an ARPC is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpcKey {
    /// That of the cryptogram.
    Session,
    /// The card's own, whatever the cryptogram is made with.
    Card,
}

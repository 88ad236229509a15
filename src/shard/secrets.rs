//! The keys that shards of one process share. All that is written down follows from the card key, so that
//! what one process wrote another with the same card key understands.
//!
//! Not here: where the card key comes from.

use aes::Aes256;
use aes::cipher::{BlockEncrypt, KeyInit};
use std::sync::Arc;
use tapswitch_protocol::TokenRequestor;
use tapswitch_protocol::emv::Verifier;
use zeroize::Zeroize;

/// Keys of this process; shards of one process share them. Overwritten when dropped.
#[derive(Clone)]
pub struct Secrets {
    /// AES-256 key under which PANs become card keys.
    pub card_key: [u8; 32],
    /// Key of the duplicate memory's digests.
    pub digest_key: [u8; 16],
    /// AES-256 key under which card keys become payment account references.
    pub par_key: [u8; 32],
    /// What cryptograms of tokens are verified with.
    pub cryptograms: CryptogramKeys,
}

/// For each requestor that has one, what the cryptograms of its tokens are verified with.
#[derive(Clone, Default)]
pub struct CryptogramKeys(Vec<(TokenRequestor, Arc<Verifier>)>);

impl CryptogramKeys {
    /// Another requestor's.
    pub fn add(&mut self, requestor: TokenRequestor, verifier: Arc<Verifier>) {
        self.0.push((requestor, verifier));
    }

    /// A requestor's.
    #[must_use]
    pub fn get(&self, requestor: TokenRequestor) -> Option<&Verifier> {
        self.0.iter().find(|(id, _)| *id == requestor).map(|(_, verifier)| &**verifier)
    }
}

/// Blocks whose encipherment is derived from a card key. No packed PAN begins with F, so none is a
/// card's key.
const DIGEST_BLOCK: [u8; 16] = *b"\xFFtapswitchdigest";
const PAR_BLOCKS: [[u8; 16]; 2] = [*b"\xFFtapswitch par 0", *b"\xFFtapswitch par 1"];
const CHECK_BLOCK: [u8; 16] = *b"\xFFtapswitch check";

impl Secrets {
    /// Everything that follows from a card key.
    #[must_use]
    pub fn of_card_key(card_key: [u8; 32]) -> Self {
        let digest_key = encipher(&card_key, DIGEST_BLOCK);
        let [first, second] = PAR_BLOCKS.map(|block| encipher(&card_key, block));
        let mut par_key = [0; 32];
        par_key[..16].copy_from_slice(&first);
        par_key[16..].copy_from_slice(&second);
        Self { card_key, digest_key, par_key, cryptograms: CryptogramKeys::default() }
    }

    /// Tells whether two processes have the same card key, and nothing else of it: four bytes of a
    /// block of AES.
    #[must_use]
    pub fn key_check(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = encipher(&self.card_key, CHECK_BLOCK);
        [a, b, c, d]
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.card_key.zeroize();
        self.digest_key.zeroize();
        self.par_key.zeroize();
    }
}

fn encipher(key: &[u8; 32], block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    Aes256::new(key.into()).encrypt_block(&mut block);
    block.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_keys_follow_from_the_card_key() {
        let (one, again) = (Secrets::of_card_key([1; 32]), Secrets::of_card_key([1; 32]));
        assert_eq!(one.digest_key, again.digest_key);
        assert_eq!(one.key_check(), again.key_check());
        let mut other = [1; 32];
        other[31] ^= 1;
        let other = Secrets::of_card_key(other);
        assert_ne!(one.digest_key, other.digest_key);
        assert_ne!(one.key_check(), other.key_check());
        assert_ne!(one.par_key, other.par_key);
        assert_ne!(one.par_key[..16], one.par_key[16..]);
        assert_ne!(one.digest_key[..4], one.key_check());
    }
}

//! Card keys: what stands for a PAN in memory.
//!
//! A card key is the PAN, packed, enciphered with AES-256 under a key of the process: different
//! cards have different keys, nobody without the process's key can choose cards whose keys collide,
//! and whoever holds it can find the PAN again.
//!
//! Not here: where the process's key comes from.

use crate::shard::CardKey;
use aes::Aes256;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use tapswitch_protocol::Pan;

/// Makes card keys. It has no `Debug`: it holds the process's key.
pub struct CardCipher(Aes256);

impl CardCipher {
    /// With the process's key.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Aes256::new(key.into()))
    }

    /// The key of a card.
    #[inline]
    #[must_use]
    pub fn key(&self, pan: &Pan) -> CardKey {
        self.encipher(pan.packed())
    }

    /// The card that a key stands for; `None` for what is no card's key.
    #[must_use]
    pub fn pan(&self, key: &CardKey) -> Option<Pan> {
        let mut block = key.0.into();
        self.0.decrypt_block(&mut block);
        Pan::from_packed(&block.into()).ok()
    }

    #[inline]
    fn encipher(&self, block: [u8; 16]) -> CardKey {
        let mut block = block.into();
        self.0.encrypt_block(&mut block);
        CardKey(block.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 00 01 02 … in order, as the published vectors have it.
    fn counting<const N: usize>(step: u8) -> [u8; N] {
        core::array::from_fn(|place| place as u8 * step)
    }

    #[test]
    fn a_block_is_enciphered_as_fips_197_has_it() {
        // FIPS 197, appendix C.3: AES-256 of 00112233…EEFF under 00 01 … 1F.
        let cipher = CardCipher::new(&counting(1));
        let expected = [
            0x8E, 0xA2, 0xB7, 0xCA, 0x51, 0x67, 0x45, 0xBF, 0xEA, 0xFC, 0x49, 0x90, 0x4B, 0x49,
            0x60, 0x89,
        ];
        assert_eq!(cipher.encipher(counting(0x11)).0, expected);
    }

    #[test]
    fn a_card_key_is_the_packed_pan_enciphered() {
        let cipher = CardCipher::new(&[3; 32]);
        let pan = Pan::from_digits(b"6216261000000000018").ok().unwrap();
        let mut packed = [0; 16];
        packed[..10].copy_from_slice(b"\x62\x16\x26\x10\x00\x00\x00\x00\x01\x8F");
        assert_eq!(cipher.key(&pan).0, cipher.encipher(packed).0);
        assert_ne!(cipher.key(&pan).0, CardCipher::new(&[4; 32]).key(&pan).0);
    }

    proptest! {
        #[test]
        fn different_cards_have_different_keys(a in "[0-9]{12,19}", b in "[0-9]{12,19}") {
            let cipher = CardCipher::new(&[3; 32]);
            let key = |digits: &str| {
                cipher.key(&Pan::from_digits(digits.as_bytes()).ok().unwrap()).0
            };
            prop_assert_eq!(key(&a) == key(&b), a == b);
            let again = cipher.pan(&CardKey(key(&a))).unwrap();
            prop_assert_eq!(again.digits(), a.as_bytes());
            // A card whose digits begin another's.
            prop_assert_eq!(key(&a) == key(&a[..12]), a.len() == 12);
        }
    }
}

//! Which payment account reference an account has: four characters say who gave it, 25 are the card's key,
//! enciphered once more under a key of its own, as digits to the base 36. Nothing is stored of it: whoever
//! has the key finds the card again.
//!
//! Not here: references that others gave out, and how messages carry one (`tapswitch_protocol::par`).

use crate::config::WalletConfig;
use crate::shard::identity::CardKey;
use aes::Aes256;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use tapswitch_protocol::Par;
use tapswitch_protocol::par::PAR_BYTES;

const WHOSE_BYTES: usize = 4;
const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Makes them. It has no `Debug`: it holds a key.
pub(super) struct ParCipher {
    cipher: Aes256,
    whose: [u8; WHOSE_BYTES],
}

impl ParCipher {
    /// With the key of this process.
    pub(super) fn new(key: &[u8; 32], config: &WalletConfig) -> Self {
        Self { cipher: Aes256::new(key.into()), whose: config.par_giver }
    }

    /// Of an account.
    pub(super) fn par(&self, card: CardKey) -> Par {
        let mut block = card.0.into();
        self.cipher.encrypt_block(&mut block);
        let mut number = u128::from_be_bytes(block.into());
        let mut par = [b'0'; PAR_BYTES];
        let (whose, which) = par.split_at_mut(WHOSE_BYTES);
        whose.copy_from_slice(&self.whose);
        for place in which.iter_mut().rev() {
            let digit = DIGITS.get((number % 36) as usize);
            *place = digit.copied().unwrap_or_default();
            number /= 36;
        }
        Par::from_ascii(&par).expect("Invariant: it is of digits and capital letters")
    }

    /// Whose account a reference names; `None` for what this switch never gave out.
    pub(super) fn card(&self, par: &Par) -> Option<CardKey> {
        let which = par.as_bytes().strip_prefix(&self.whose[..])?;
        let number = which.iter().try_fold(0u128, |number, byte| {
            let digit = DIGITS.iter().position(|digit| digit == byte)?;
            number.checked_mul(36)?.checked_add(digit as u128)
        })?;
        let mut block = number.to_be_bytes().into();
        self.cipher.decrypt_block(&mut block);
        Some(CardKey(block.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cipher(key: u8) -> ParCipher {
        ParCipher::new(&[key; 32], &WalletConfig { tokens: 0, par_giver: *b"1A00" })
    }

    proptest! {
        #[test]
        fn a_reference_names_one_account(card in any::<[u8; 16]>(), other in any::<[u8; 16]>()) {
            let (card, other) = (CardKey(card), CardKey(other));
            let par = cipher(1).par(card);
            prop_assert!(cipher(1).card(&par) == Some(card));
            prop_assert_eq!(cipher(1).par(other) == par, other == card);
            prop_assert!(cipher(2).par(card) != par);
            prop_assert!(par.as_bytes().starts_with(b"1A00"));
        }
    }

    #[test]
    fn what_is_none_names_nobody() {
        let above = Par::from_ascii(format!("1A00{}", "Z".repeat(25)).as_bytes()).unwrap();
        assert!(cipher(1).card(&above).is_none(), "above 2^128");
        let of_others = Par::from_ascii(format!("5040{}", "0".repeat(25)).as_bytes()).unwrap();
        assert!(cipher(1).card(&of_others).is_none());
    }
}

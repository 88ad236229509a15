//! What whoever orders something of a token has to know before: its number, and which shard has it.
//!
//! A new token's number follows from the identification of the order that makes it, so that the same order
//! comes to the same shard again and finds what it has done.

use super::{WalletOrder, WalletRequest, hash};
use crate::shard::{Secrets, placement};
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Digits of a new token.
const TOKEN_DIGITS: u32 = 19;
/// What is hashed first, so that a digest of one kind is none of another.
const OF_NUMBERS: u8 = 1;
const OF_CONTENTS: u8 = 2;
const OF_IDENTIFICATIONS: u8 = 3;

/// Places tokens, and makes their numbers. It has no `Debug`: it holds a key.
#[derive(Clone)]
pub struct WalletKeys {
    key: [u8; 16],
    shards: usize,
}

impl WalletKeys {
    /// Of a process with so many shards.
    #[must_use]
    pub fn new(secrets: &Secrets, shards: usize) -> Self {
        Self { key: secrets.digest_key, shards: shards.max(1) }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Where a token is.
    #[must_use]
    pub fn shard_of(&self, token: u64) -> usize {
        usize::from(placement::spread(hash(&self.key, token), self.shards).0)
    }

    /// An order of somebody who calls it `id`; `contents` is all that it says.
    #[must_use]
    pub fn request(&self, id: &str, contents: &[u8], order: WalletOrder) -> WalletRequest {
        WalletRequest {
            id: self.digest(OF_IDENTIFICATIONS, &[id.as_bytes()]),
            contents: self.digest(OF_CONTENTS, &[contents]),
            order,
        }
    }

    /// The number of the token that an order makes: its first digits, digits that follow from the
    /// identification and how often a number was taken, and a check digit (ISO/IEC 7812, Luhn).
    #[must_use]
    pub fn number(&self, prefix: &str, id: &str, tries: u8) -> u64 {
        let digest = self.digest(OF_NUMBERS, &[id.as_bytes(), &[tries], prefix.as_bytes()]);
        let first = super::number_of(prefix.as_bytes());
        let free = TOKEN_DIGITS.saturating_sub(1).saturating_sub(prefix.len() as u32);
        let scale = 10u64.pow(free);
        let number = first * scale + digest % scale;
        number * 10 + check_digit(number)
    }

    fn digest(&self, of: u8, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&[of]);
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish()
    }
}

/// What makes the sum of all digits, every second one doubled, a multiple of ten.
fn check_digit(mut number: u64) -> u64 {
    let (mut sum, mut is_doubled) = (0, true);
    while number > 0 {
        let digit = number % 10 * if is_doubled { 2 } else { 1 };
        sum += digit / 10 + digit % 10;
        is_doubled = !is_doubled;
        number /= 10;
    }
    (10 - sum % 10) % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_first_digits_and_a_check_digit() {
        // ISO/IEC 7812-1, annex B.
        assert_eq!(check_digit(7_992_739_871), 3);
        let keys = WalletKeys::new(&Secrets::of_card_key([1; 32]), 3);
        let number = keys.number("62888801", "order-1", 0);
        let text = number.to_string();
        assert!(text.starts_with("62888801") && text.len() == 19, "{text}");
        assert_eq!(number % 10, check_digit(number / 10));
        assert_eq!(number, keys.number("62888801", "order-1", 0), "the same again");
        assert_ne!(number, keys.number("62888801", "order-1", 1));
        assert_ne!(number, keys.number("62888801", "order-2", 0));
        assert!(keys.shard_of(number) < 3);
    }
}

//! The two block ciphers in the three ways that cryptograms need them: making a key of two blocks,
//! authenticating data, enciphering eight bytes.

use super::{Algorithm, KEY_BYTES, Padding};
use des::Des;
use sm4::Sm4;
use sm4::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use zeroize::Zeroizing;

/// Key bytes that are overwritten when they are dropped.
pub(super) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// A cipher with its key, which is overwritten when it is dropped. It has no `Debug`.
pub(super) enum Cipher {
    /// Encipher with the first, decipher with the second, encipher with the first.
    TripleDes(Des, Des),
    Sm4(Sm4),
}

impl Cipher {
    pub(super) fn new(algorithm: Algorithm, key: &[u8; KEY_BYTES]) -> Self {
        match algorithm {
            Algorithm::TripleDes => {
                let [a, b, c, d, e, f, g, h, rest @ ..] = key;
                let left = Zeroizing::new([*a, *b, *c, *d, *e, *f, *g, *h]);
                Self::TripleDes(Des::new((&*left).into()), Des::new(rest.into()))
            }
            Algorithm::Sm4 => Self::Sm4(Sm4::new(key.into())),
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::TripleDes(..) => Algorithm::TripleDes,
            Self::Sm4(_) => Algorithm::Sm4,
        }
    }

    /// The key that these two blocks make: enciphered one by one, or as one of 16 bytes by SM4.
    pub(super) fn diversify(&self, left: [u8; 8], right: [u8; 8]) -> KeyBytes {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (out, byte) in key.iter_mut().zip(left.iter().chain(&right)) {
            *out = *byte;
        }
        match self {
            Self::TripleDes(first, second) => {
                let (halves, _) = key.as_chunks_mut::<8>();
                halves.iter_mut().for_each(|half| encipher(first, second, half));
            }
            Self::Sm4(sm4) => sm4.encrypt_block((&mut *key).into()),
        }
        key
    }

    /// Eight bytes enciphered. SM4 takes eight zero bytes behind them and gives the left half.
    pub(super) fn encipher_eight(&self, mut block: [u8; 8]) -> [u8; 8] {
        match self {
            Self::TripleDes(first, second) => encipher(first, second, &mut block),
            Self::Sm4(_) => return left_half(*self.diversify(block, [0; 8])),
        }
        block
    }

    /// The authentication code of data, left 8 bytes: ISO/IEC 9797-1 algorithm 3 by triple DES, CBC-MAC
    /// (algorithm 1) by SM4.
    pub(super) fn authenticate(&self, data: &[u8], padding: Padding) -> [u8; 8] {
        match self {
            Self::TripleDes(first, second) => {
                let mut chain = [0; 8];
                for_each_block(data, padding, |block| {
                    add(&mut chain, block);
                    first.encrypt_block((&mut chain).into());
                });
                second.decrypt_block((&mut chain).into());
                first.encrypt_block((&mut chain).into());
                chain
            }
            Self::Sm4(sm4) => {
                let mut chain = [0; 16];
                for_each_block(data, padding, |block| {
                    add(&mut chain, block);
                    sm4.encrypt_block((&mut chain).into());
                });
                left_half(chain)
            }
        }
    }
}

fn encipher(first: &Des, second: &Des, block: &mut [u8; 8]) {
    first.encrypt_block(block.into());
    second.decrypt_block(block.into());
    first.encrypt_block(block.into());
}

fn add<const BYTES: usize>(chain: &mut [u8; BYTES], block: &[u8; BYTES]) {
    chain.iter_mut().zip(block).for_each(|(out, byte)| *out ^= byte);
}

const fn left_half(block: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = block;
    [a, b, c, d, e, f, g, h]
}

/// Calls `each` with every block of the data, filled up at the end.
fn for_each_block<const BYTES: usize>(
    data: &[u8],
    padding: Padding,
    mut each: impl FnMut(&[u8; BYTES]),
) {
    let (whole, rest) = data.as_chunks::<BYTES>();
    whole.iter().for_each(&mut each);
    if rest.is_empty() && padding == Padding::Zeros && !whole.is_empty() {
        return;
    }
    let mark = match padding {
        Padding::Marked => 0x80,
        Padding::Zeros => 0,
    };
    let mut last = [0; BYTES];
    last.iter_mut().zip(rest.iter().chain(&[mark])).for_each(|(out, byte)| *out = *byte);
    each(&last);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(data: &[u8], padding: Padding) -> Vec<[u8; 4]> {
        let mut blocks = Vec::new();
        for_each_block(data, padding, |block| blocks.push(*block));
        blocks
    }

    #[test]
    fn data_are_filled_up_to_whole_blocks() {
        assert_eq!(blocks(b"abc", Padding::Marked), [*b"abc\x80"]);
        assert_eq!(blocks(b"abcd", Padding::Marked), [*b"abcd", *b"\x80\0\0\0"]);
        assert_eq!(blocks(b"", Padding::Marked), [*b"\x80\0\0\0"]);
        assert_eq!(blocks(b"abcde", Padding::Zeros), [*b"abcd", *b"e\0\0\0"]);
        assert_eq!(blocks(b"abcd", Padding::Zeros), [*b"abcd"]);
        assert_eq!(blocks(b"", Padding::Zeros), [[0; 4]]);
    }

    /// The example of GB/T 32907 (GM/T 0002), annex A.
    #[test]
    fn sm4_is_the_standard_s() {
        let key = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes();
        let (left, right) = (0x0123_4567_89AB_CDEF_u64, 0xFEDC_BA98_7654_3210_u64);
        let out =
            Cipher::new(Algorithm::Sm4, &key).diversify(left.to_be_bytes(), right.to_be_bytes());
        assert_eq!(u128::from_be_bytes(*out), 0x681E_DF34_D206_965E_86B3_E94F_536E_4246);
    }
}

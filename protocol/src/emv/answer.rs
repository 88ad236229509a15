//! What proves to a card that its issuer answered: issuer authentication data, tag 91.

use super::Padding;
use super::cipher::Cipher;

/// Most bytes of an issuer's own data in method 2.
pub const PROPRIETARY_BYTES_MAX: usize = 8;
/// Most bytes of tag 91.
const BYTES_MAX: usize = 16;

/// The value of tag 91. It is no secret: it goes to the card as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuerAuthentication {
    bytes: [u8; BYTES_MAX],
    count: u8,
}

impl IssuerAuthentication {
    fn of(parts: [&[u8]; 3]) -> Self {
        let mut bytes = [0; BYTES_MAX];
        let mut count = 0;
        for (out, byte) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
            *out = *byte;
            count += 1;
        }
        Self { bytes, count }
    }

    /// 10 bytes by method 1, 8 to 16 by method 2.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.count)).unwrap_or_default()
    }
}

/// Makes what a card is answered to its cryptogram. It holds a key, overwritten when it is dropped.
pub struct Responder {
    pub(super) cryptogram: [u8; 8],
    pub(super) key: Cipher,
}

impl Responder {
    /// Method 1 (EMV Book 2, 8.2.1): eight bytes of ARPC, then the answer code, two characters as in DE
    /// 39 and tag 8A. By SM4 the left half of the cipher's block, which is an assumption: no example is
    /// published.
    #[must_use]
    pub fn method_1(&self, code: [u8; 2]) -> IssuerAuthentication {
        let mut block = self.cryptogram;
        block.iter_mut().zip(code).for_each(|(out, byte)| *out ^= byte);
        IssuerAuthentication::of([&self.key.encipher_eight(block), &code, &[]])
    }

    /// Method 2 (EMV Book 2, 8.2.2): four bytes of ARPC, the card status update, the issuer's own data,
    /// which may be none. `None` when those are more than eight bytes.
    #[must_use]
    pub fn method_2(&self, status: [u8; 4], proprietary: &[u8]) -> Option<IssuerAuthentication> {
        if proprietary.len() > PROPRIETARY_BYTES_MAX {
            return None;
        }
        let mut data = [0; 8 + 4 + PROPRIETARY_BYTES_MAX];
        let parts = self.cryptogram.iter().chain(&status).chain(proprietary);
        data.iter_mut().zip(parts).for_each(|(out, byte)| *out = *byte);
        let data = data.get(..12 + proprietary.len()).unwrap_or_default();
        let [a, b, c, d, ..] = self.key.authenticate(data, Padding::Marked);
        Some(IssuerAuthentication::of([&[a, b, c, d], &status, proprietary]))
    }
}

impl core::fmt::Debug for Responder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Responder(hidden)")
    }
}

//! The token that lets somebody change something over HTTP: a file that only its owner may read. Kept
//! as a digest, compared in a time that does not depend on what is given.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Characters of a token.
const CHARS: core::ops::RangeInclusive<usize> = 16..=256;
/// What is longer is another file by mistake.
const FILE_BYTES_MAX: u64 = 1_024;
/// Bits of a file's mode that let others than its owner at it.
const OTHERS: u32 = 0o077;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token {}: {source}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others may read or change the file.
    #[error("the token {0} can be read or changed by others (mode {mode:03o}): chmod 600 {0}", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no token.
    #[error("{} is no token: one line of 16 to 256 characters without blanks", .path.display())]
    NotAToken {
        /// Which file.
        path: PathBuf,
    },
}

/// The token of a port.
pub(super) struct Token([u8; 32]);

impl Token {
    pub(super) fn read(path: &Path) -> Result<Self, TokenError> {
        Ok(Self::of(read_text(path)?.as_bytes()))
    }

    pub(super) fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Whether this is it.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.ct_eq(&given).into()
    }
}

/// The token in a file.
///
/// # Errors
/// See [`TokenError`].
pub fn read_text(path: &Path) -> Result<Zeroizing<String>, TokenError> {
    let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(TokenError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
    let token = text.trim();
    if !CHARS.contains(&token.len()) || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenError::NotAToken { path: path.to_owned() });
    }
    Ok(Zeroizing::new(token.to_owned()))
}

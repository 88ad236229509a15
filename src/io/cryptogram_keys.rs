//! Keys that cryptograms of tokens are verified with, one for each requestor that has one: 16 bytes, or 32
//! hexadecimal digits, in a file that only its owner may read.
//!
//! Not here: which scheme its tokens follow (`config`), verifying (`tapswitch_protocol::emv`).

use crate::config::{CryptogramConfig, RequestorConfig};
use crate::shard::CryptogramKeys;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tapswitch_protocol::emv::{Imk, ImkError, Scheme, SchemeError, Verifier};
use zeroize::Zeroizing;

const KEY_BYTES: usize = 16;
/// What is longer is another file by mistake.
const FILE_BYTES_MAX: u64 = 128;
/// Bits of a file's mode that let others than its owner at it.
const OTHERS: u32 = 0o077;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum CryptogramKeyError {
    /// The file cannot be read.
    #[error("cannot read the cryptogram key {}: {source}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others than its owner may read or change the file.
    #[error(
        "the cryptogram key {0} can be read or changed by others (mode {mode:03o}): chmod 600 {0}",
        .path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not a key.
    #[error("{} is no cryptogram key: it must hold 32 hexadecimal digits, or 16 bytes", .0.display())]
    NotAKey(PathBuf),
    /// It is a key that nobody should use.
    #[error("the cryptogram key {}: {why}", .path.display())]
    Bad {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: ImkError,
    },
    /// It does not go with its scheme.
    #[error("the cryptogram key {}: {why}", .path.display())]
    Scheme {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        why: SchemeError,
    },
}

/// The keys of all requestors that have one.
///
/// # Errors
/// See [`CryptogramKeyError`].
pub fn load(requestors: &[RequestorConfig]) -> Result<CryptogramKeys, CryptogramKeyError> {
    let mut keys = CryptogramKeys::default();
    for requestor in requestors {
        if let Some(config) = &requestor.cryptogram {
            keys.add(requestor.id, Arc::new(verifier(config)?));
        }
    }
    Ok(keys)
}

fn verifier(config: &CryptogramConfig) -> Result<Verifier, CryptogramKeyError> {
    let path = config.key_file.clone();
    let key = read(&path)?;
    let imk = Imk::new(config.algorithm, &*key);
    let imk = imk.map_err(|why| CryptogramKeyError::Bad { path: path.clone(), why })?;
    let scheme = Scheme { data: config.data, ..Scheme::union_pay(config.algorithm) };
    Verifier::new(scheme, imk).map_err(|why| CryptogramKeyError::Scheme { path, why })
}

fn read(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, CryptogramKeyError> {
    let unreadable = |source| CryptogramKeyError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(CryptogramKeyError::Exposed { path: path.to_owned(), mode });
    }
    // Enough for any read: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * FILE_BYTES_MAX as usize));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    super::keys::parse(&bytes).ok_or_else(|| CryptogramKeyError::NotAKey(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, remove_file, set_permissions, write};
    use tapswitch_protocol::TokenRequestor;
    use tapswitch_protocol::emv::{Algorithm, DataList};

    /// A file of this mode and contents, and what is said of it.
    fn loaded(name: &str, contents: &[u8], mode: u32) -> Result<CryptogramKeys, String> {
        let name = format!("tapswitch-imk-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        write(&path, contents).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let mut requestor =
            RequestorConfig::new("a", TokenRequestor::from_digits(b"00000000001").unwrap());
        let config = CryptogramConfig {
            key_file: path.clone(),
            algorithm: Algorithm::TripleDes,
            data: DataList::LONG,
        };
        requestor.cryptogram = Some(config);
        let loaded = load(&[requestor]).map_err(|error| error.to_string());
        remove_file(&path).unwrap();
        loaded
    }

    #[test]
    fn a_key_is_taken_from_its_owner_only() {
        let digits = b"0123456789ABCDEFFEDCBA9876543210\n";
        assert!(loaded("digits", digits, 0o600).is_ok());
        assert!(loaded("bytes", &digits[..16], 0o400).is_ok());
        let exposed = loaded("exposed", digits, 0o640).err().unwrap();
        assert!(exposed.contains("mode 640") && exposed.contains("chmod 600"), "{exposed}");
        for (name, contents) in
            [("short", &digits[..30]), ("text", b"a key, surely"), ("none", b"")]
        {
            let said = loaded(name, contents, 0o600).err().unwrap();
            assert!(said.contains("32 hexadecimal digits"), "{said}");
        }
        let equal = loaded("equal", b"0123456789ABCDEF0123456789ABCDEF", 0o600).err().unwrap();
        assert!(equal.contains("halves"), "{equal}");
    }
}

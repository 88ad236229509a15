//! The card key: from a file, from a credential that the service manager hands over, or drawn at
//! random for this process. Never from the configuration, which more people read.
//!
//! Not here: what follows from it (`shard::Secrets`).

use super::random::fill;
use crate::shard::Secrets;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Name of the card key among the credentials of a service.
pub const CREDENTIAL: &str = "tapswitch.card_key";

const KEY_BYTES: usize = 32;
/// What is longer is another file by mistake: 64 digits and some white space.
const FILE_BYTES_MAX: u64 = 256;
/// Bits of a file's mode that let others than its owner at it.
const OTHERS: u32 = 0o077;

/// Where a card key may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySources {
    /// A file that the configuration names; asked first.
    pub file: Option<PathBuf>,
    /// The folder of this service's credentials (`$CREDENTIALS_DIRECTORY`), which may have none.
    pub credentials: Option<PathBuf>,
}

/// Where a card key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// A file that the configuration names.
    File(PathBuf),
    /// A credential of the service.
    Credential(PathBuf),
    /// The kernel's random bytes: it ends with this process.
    Random,
}

/// The keys of this process.
pub struct Keys {
    /// The keys.
    pub secrets: Secrets,
    /// Where they came from.
    pub origin: KeyOrigin,
}

impl Keys {
    /// Whether a later process can have the same keys: without that nothing may be written that
    /// only they understand.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.origin != KeyOrigin::Random
    }
}

/// Why there is no card key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("cannot read the card key {}: {source}; `tapswitch key new FILE` makes one", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Others than its owner may read or change the file.
    #[error(
        "the card key {0} can be read or changed by others (mode {mode:03o}): chmod 600 {0}",
        .path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not a key.
    #[error(
        "{} is not a card key: it must hold 64 hexadecimal digits, or 32 bytes; `tapswitch key new \
         FILE` makes one",
        .path.display()
    )]
    NotAKey {
        /// Which file.
        path: PathBuf,
    },
    /// The file is there already.
    #[error("{} is there already; a key that is overwritten is lost, and all it enciphered", .path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("cannot write the card key {}: {source}", .path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel gives no random bytes.
    #[error("no random bytes from the kernel: {0}")]
    NoRandom(io::Error),
}

/// The keys of this process: of the file, else of the credential, else random.
///
/// # Errors
/// See [`KeyError`]. A file or credential that is there but cannot be used is never passed over.
pub fn load(sources: &KeySources) -> Result<Keys, KeyError> {
    if let Some(path) = &sources.file {
        let secrets = read_key(path, Guard::Mode)?;
        return Ok(Keys { secrets, origin: KeyOrigin::File(path.clone()) });
    }
    if let Some(path) = sources.credentials.as_ref().map(|folder| folder.join(CREDENTIAL))
        && path.exists()
    {
        let secrets = read_key(&path, Guard::ServiceManager)?;
        return Ok(Keys { secrets, origin: KeyOrigin::Credential(path) });
    }
    Ok(Keys { secrets: random()?, origin: KeyOrigin::Random })
}

/// Makes a new card key, in a file that only its owner may read.
///
/// # Errors
/// The file is there already, or cannot be written.
pub fn create(path: &Path) -> Result<Secrets, KeyError> {
    let secrets = random()?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in secrets.card_key {
        for digit in [byte >> 4, byte & 0xF] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
    }
    text.push('\n');
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => Ok(secrets),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(KeyError::Unwritable { path: path.to_owned(), source }),
    }
}

fn random() -> Result<Secrets, KeyError> {
    let mut card_key = Zeroizing::new([0; KEY_BYTES]);
    fill(&mut *card_key).map_err(KeyError::NoRandom)?;
    Ok(Secrets::of_card_key(*card_key))
}

/// What keeps others from a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// Its own mode.
    Mode,
    /// The folder that the service manager made. Modes of its files show an access list's mask,
    /// and say nothing.
    ServiceManager,
}

fn read_key(path: &Path, guard: Guard) -> Result<Secrets, KeyError> {
    let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mode = metadata.permissions().mode() & 0o777;
    if guard == Guard::Mode && mode & OTHERS != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    // Enough for any read: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * FILE_BYTES_MAX as usize));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let not_a_key = || KeyError::NotAKey { path: path.to_owned() };
    let mut card_key: Zeroizing<[u8; KEY_BYTES]> = parse(&bytes).ok_or_else(not_a_key)?;
    // Zeros, or one byte throughout, is a placeholder.
    if card_key.iter().all(|byte| *byte == card_key[0]) {
        card_key.zeroize();
        return Err(not_a_key());
    }
    Ok(Secrets::of_card_key(*card_key))
}

/// Bytes as they are, or as hexadecimal digits with white space around them.
pub(super) fn parse<const BYTES: usize>(bytes: &[u8]) -> Option<Zeroizing<[u8; BYTES]>> {
    if let Ok(raw) = bytes.try_into() {
        return Some(Zeroizing::new(raw));
    }
    let digits = bytes.trim_ascii();
    if digits.len() != 2 * BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; BYTES]);
    for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |place: usize| char::from(pair[place]).to_digit(16);
        // Below 256.
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir_all, remove_dir_all, set_permissions, write};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("tapswitch-keys-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            // What a killed process of this number has left.
            let _ = remove_dir_all(&path);
            create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, contents: &[u8], mode: u32) -> PathBuf {
            let path = self.0.join(name);
            write(&path, contents).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = remove_dir_all(&self.0);
        }
    }

    fn of_file(path: &Path) -> Result<Keys, KeyError> {
        load(&KeySources { file: Some(path.to_owned()), credentials: None })
    }

    #[test]
    fn a_new_key_is_read_again_by_its_owner_alone() {
        let folder = Folder::new("new");
        let path = folder.0.join("card.key");
        let made = create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = of_file(&path).unwrap();
        assert_eq!(read.secrets.card_key, made.card_key);
        assert!(read.is_durable() && read.origin == KeyOrigin::File(path.clone()));
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(create(&path), Err(KeyError::Exists { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        let other = create(&folder.0.join("other.key")).unwrap();
        assert_ne!(other.card_key, made.card_key);
    }

    #[test]
    fn hexadecimal_digits_and_bytes_are_the_same_key() {
        let folder = Folder::new("forms");
        let key: [u8; 32] = core::array::from_fn(|place| place as u8 * 7);
        let digits: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
        let text = format!("  {digits}\r\n");
        for (name, contents) in [("raw", &key[..]), ("hex", text.as_bytes())] {
            let path = folder.file(name, contents, 0o400);
            assert_eq!(of_file(&path).unwrap().secrets.card_key, key, "{name}");
        }
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_command_that_helps() {
        let folder = Folder::new("mode");
        for mode in [0o640, 0o604, 0o660, 0o620] {
            let path = folder.file("card.key", &[b'5'; 64], mode);
            let Err(error) = of_file(&path) else { panic!("{mode:o} is refused") };
            let (text, path) = (error.to_string(), path.display());
            assert!(text.contains(&format!("chmod 600 {path}")), "{text}");
            assert!(text.contains(&format!("mode {mode:o}")), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let folder = Folder::new("not-a-key");
        let mut almost = [b'a'; 64];
        almost[63] = b'g';
        for contents in [&b""[..], &[b'1'; 31], &[0; 32], &[b'0'; 64], &almost, &[b'1'; 5_000]] {
            let path = folder.file("card.key", contents, 0o600);
            let Err(error) = of_file(&path) else { panic!("{} bytes", contents.len()) };
            assert!(matches!(error, KeyError::NotAKey { .. }));
            assert!(!error.to_string().contains("aaaa"));
        }
        let missing = of_file(&folder.0.join("none"));
        assert!(matches!(missing, Err(KeyError::Unreadable { .. })));
    }

    #[test]
    fn a_credential_is_second_and_random_bytes_are_last() {
        let folder = Folder::new("credential");
        let sources = KeySources { file: None, credentials: Some(folder.0.clone()) };
        let random = load(&sources).unwrap();
        assert!(!random.is_durable() && random.origin == KeyOrigin::Random);
        assert_ne!(random.secrets.card_key, load(&sources).unwrap().secrets.card_key);
        let path = folder.file(CREDENTIAL, b"0123456789abcdef0123456789abcdef", 0o440);
        let keys = load(&sources).unwrap();
        assert!(keys.is_durable() && keys.origin == KeyOrigin::Credential(path));
        let file = folder.file("card.key", b"ffffffffffffffff0000000000000000", 0o600);
        let both = KeySources { file: Some(file.clone()), ..sources.clone() };
        assert!(load(&both).unwrap().origin == KeyOrigin::File(file));
        folder.file(CREDENTIAL, b"short", 0o440);
        assert!(load(&sources).is_err(), "what is there is not passed over");
    }
}

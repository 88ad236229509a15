//! Where a configuration comes from: a file, or the one that is shipped inside the program.

use super::check;
use super::file::RawFile;
use super::host::Host;
use super::problem::{ConfigError, Problem, Problems};
use super::{Capacity, Config};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

/// The shipped configuration: what `run` uses without a file, and what every file is filled in
/// from. It documents every key.
pub const DEFAULT_TOML: &str = include_str!("../../tuning/profiles/default.toml");
/// The shipped IIN table.
pub(super) const IINS_CN: &str = include_str!("../../tuning/profiles/iins_cn.csv");
/// How the shipped configuration is called in problems.
const DEFAULT_NAME: &str = "default.toml (shipped)";

/// Bytes of a configuration file or IIN table; what is longer is another file by mistake.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// A checked configuration with what only its reader needs.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the switch runs by.
    pub config: Config,
    /// What works, but probably not as meant.
    pub warnings: Vec<Problem>,
    /// What it is laid out for.
    pub capacity: Capacity,
}

impl Loaded {
    /// Reads and checks a text. `name` is its path: problems show it, and `iin_file` is relative to
    /// its folder.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(name: &str, text: &str, host: &Host) -> Result<Self, ConfigError> {
        let mut problems = Problems::new(name, text);
        let raw = RawFile::read(&mut problems, text).over(shipped());
        let folder = Path::new(name).parent().unwrap_or(Path::new(""));
        let checked = check::check(&raw, &mut problems, host, folder);
        let (config, capacity) = match checked {
            Some(checked) if problems.error_count() == 0 => checked,
            _ => return Err(problems.into_error()),
        };
        Ok(Self { config, capacity, warnings: problems.into_warnings() })
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn from_file(path: &Path, host: &Host) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        match read_text(path) {
            Ok(text) => Self::parse(&name, &text, host),
            Err(reason) => Err(ConfigError::unreadable(&name, reason)),
        }
    }

    /// The shipped configuration, which needs nothing: no file, and no network beyond loopback.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "the shipped text is read by a test; a bad one is our own bug"
    )]
    pub fn embedded(host: &Host) -> Self {
        match Self::parse(DEFAULT_NAME, DEFAULT_TOML, host) {
            Ok(loaded) => loaded,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Config {
    /// The shipped configuration on this machine. See [`Loaded::embedded`].
    #[must_use]
    pub fn embedded() -> Self {
        Loaded::embedded(&Host::here()).config
    }

    /// A text, on this machine. See [`Loaded::parse`].
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        Loaded::parse(name, text, &Host::here()).map(|loaded| loaded.config)
    }

    /// A file, on this machine. See [`Loaded::from_file`].
    ///
    /// # Errors
    /// All that is wrong with it, or why it cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        Loaded::from_file(path, &Host::here()).map(|loaded| loaded.config)
    }
}

/// The shipped file as what others are filled in from.
fn shipped() -> RawFile {
    static SHIPPED: LazyLock<RawFile> = LazyLock::new(|| {
        let mut problems = Problems::new(DEFAULT_NAME, DEFAULT_TOML);
        RawFile::read(&mut problems, DEFAULT_TOML).inherited()
    });
    SHIPPED.clone()
}

/// The text of a file of bounded length.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let read = || {
        let mut text = String::new();
        let file = File::open(path)?;
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map(|_| text)
    };
    match read() {
        Ok(text) if text.len() as u64 > FILE_BYTES_MAX => {
            Err(format!("is longer than {FILE_BYTES_MAX} bytes"))
        }
        Ok(text) => Ok(text),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

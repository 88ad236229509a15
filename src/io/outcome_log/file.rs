//! The files of an outcome log: `outcomes/NUMBER.log`, numbered in the order in which they were
//! begun. Each starts with the names that its entries refer to by number, so it explains itself when
//! the configuration has changed; then come entries of 128 bytes, each with a check at its end.
//!
//! ```text
//!   magic 16 │ bytes of the header 8 │ names as JSON, filled up with spaces │ entry │ entry │ …
//! ```

use crate::config::Config;
use crate::limits::OUTCOME_LOG_FILES;
use crate::shard::Counter;
use crate::shard::outcome::{OUTCOME_BODY_BYTES, OUTCOME_BYTES};
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::hash::Hasher;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) const MAGIC: [u8; 16] = *b"tapswitch.log 1\n";
/// Magic and length.
pub(super) const PREAMBLE_BYTES: usize = 24;
/// Digits of a file's number.
const NUMBER_DIGITS: usize = 20;

/// What the numbers in entries mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Acquirers, by number.
    pub acquirers: Vec<String>,
    /// Issuers, by number.
    pub issuers: Vec<String>,
    /// Limits, by number; entries count from 1.
    pub limits: Vec<String>,
    /// What can happen, by number: name and meaning.
    pub what: Vec<(String, String)>,
}

impl Names {
    /// Of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let what = |counter: &Counter| (counter.name().to_owned(), counter.meaning().to_owned());
        Self {
            acquirers: config.acquirers.iter().map(|acquirer| acquirer.name.clone()).collect(),
            issuers: config.issuers.iter().map(|issuer| issuer.name.clone()).collect(),
            limits: config.velocity.limits.iter().map(|limit| limit.name.clone()).collect(),
            what: Counter::ALL.iter().map(what).collect(),
        }
    }

    /// The start of a file.
    fn header(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let bytes = (PREAMBLE_BYTES + json.len() + 1).next_multiple_of(OUTCOME_BYTES);
        let mut header = Vec::with_capacity(bytes);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&(bytes as u64).to_le_bytes());
        header.extend_from_slice(&json);
        header.resize(bytes - 1, b' ');
        header.push(b'\n');
        Ok(header)
    }
}

/// The check of an entry: tells a torn one, and one that the disk changed.
pub(super) fn check(body: &[u8]) -> [u8; 4] {
    let mut hasher = SipHasher13::new();
    hasher.write(body);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    [a, b, c, d]
}

/// The folder of a log's files.
pub(super) fn folder(dir: &Path) -> PathBuf {
    dir.join("outcomes")
}

/// Numbers and paths of the files, in order.
pub(super) fn numbered(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == NUMBER_DIGITS);
        if let Some(Ok(number)) = digits.map(str::parse) {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The file being written, and its place among the others.
pub(super) struct Files {
    folder: PathBuf,
    bytes_max: u64,
    names: Names,
    next: u64,
    current: Option<(File, u64)>,
}

impl Files {
    /// A new file after those that are there.
    pub(super) fn open(dir: &Path, bytes_max: u64, names: &Names) -> io::Result<Self> {
        let folder = folder(dir);
        // Cards are masked, and yet nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let last = numbered(&folder)?.last().map_or(0, |(number, _)| *number);
        let names = names.clone();
        let mut files = Self { folder, bytes_max, names, next: last + 1, current: None };
        files.begin()?;
        Ok(files)
    }

    /// Limits have other names from now on: what comes goes to a new file.
    pub(super) fn name_limits(&mut self, limits: Vec<String>) {
        if self.names.limits != limits {
            self.names.limits = limits;
            self.current = None;
        }
    }

    /// Fills in the checks of a block of entries and writes it. A block that cannot be written is
    /// lost, and the next one goes to a new file: this one may end in half an entry.
    pub(super) fn append(&mut self, block: &mut [u8]) -> io::Result<()> {
        for entry in block.as_chunks_mut::<OUTCOME_BYTES>().0 {
            let (body, end) = entry.split_at_mut(OUTCOME_BODY_BYTES);
            end.copy_from_slice(&check(body));
        }
        let bytes = block.len() as u64;
        let has_room = |written: u64| written + bytes <= self.bytes_max / OUTCOME_LOG_FILES;
        if !self.current.as_ref().is_some_and(|(_, written)| has_room(*written)) {
            self.begin()?;
        }
        let Some((file, written)) = &mut self.current else { return Ok(()) };
        match file.write_all(block) {
            Ok(()) => {
                *written += bytes;
                Ok(())
            }
            Err(error) => {
                self.current = None;
                Err(error)
            }
        }
    }

    /// Begins the next file, for which the oldest ones make room.
    fn begin(&mut self) -> io::Result<()> {
        self.current = None;
        let room = self.bytes_max - self.bytes_max / OUTCOME_LOG_FILES;
        let mut files = Vec::new();
        for (_, path) in numbered(&self.folder)? {
            let bytes = path.metadata()?.len();
            files.push((path, bytes));
        }
        let mut all: u64 = files.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in files {
            if all <= room {
                break;
            }
            remove_file(path)?;
            all -= bytes;
        }
        let path = self.folder.join(format!("{:0NUMBER_DIGITS$}.log", self.next));
        // Even when it cannot be used: a new try takes a new name.
        self.next += 1;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let header = self.names.header()?;
        file.write_all(&header)?;
        self.current = Some((file, header.len() as u64));
        Ok(())
    }
}

//! Reading an outcome log, while it is written or later.

use super::file::{MAGIC, Names, PREAMBLE_BYTES, check, folder, numbered};
use crate::shard::outcome::{OUTCOME_BODY_BYTES, OUTCOME_BYTES, Outcome};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Bytes of a header; what is longer is another file.
const HEADER_BYTES_MAX: u64 = 1 << 20;
/// Read at once.
const BUFFER_BYTES: usize = 1 << 18;

/// Why a file of an outcome log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel says so.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It does not begin as such a file does.
    #[error("{} is not a file of an outcome log", .path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
}

/// The files of the outcome log in `dir`, the oldest first.
///
/// # Errors
/// There is no such log.
pub fn paths(dir: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let path = folder(dir);
    match numbered(&path) {
        Ok(files) => Ok(files.into_iter().map(|(_, path)| path).collect()),
        Err(source) => Err(ReadError::Io { path, source }),
    }
}

/// One file, from its first entry on.
pub struct OutcomeFile {
    names: Names,
    reader: BufReader<File>,
    path: PathBuf,
    damaged: u64,
}

impl OutcomeFile {
    /// Opens a file; `None` when it has been deleted meanwhile, or is only just being begun.
    ///
    /// # Errors
    /// It cannot be read, or is another file.
    pub fn open(path: &Path) -> Result<Option<Self>, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let foreign = || ReadError::Foreign { path: path.to_owned() };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
        let Some(preamble) = read_whole::<PREAMBLE_BYTES>(&mut reader).map_err(io)? else {
            return Ok(None);
        };
        let (magic, length) = preamble.split_at(MAGIC.len());
        let length = length.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        let json_bytes = length.checked_sub(PREAMBLE_BYTES as u64);
        let json_bytes = json_bytes.filter(|bytes| *bytes <= HEADER_BYTES_MAX);
        let Some(json_bytes) = json_bytes.filter(|_| magic == MAGIC) else {
            return Err(foreign());
        };
        let mut json = Vec::new();
        (&mut reader).take(json_bytes).read_to_end(&mut json).map_err(io)?;
        if (json.len() as u64) < json_bytes {
            return Ok(None);
        }
        let names = serde_json::from_slice(&json).map_err(|_| foreign())?;
        Ok(Some(Self { names, reader, path: path.to_owned(), damaged: 0 }))
    }

    /// What the numbers of its entries mean.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The next entry that is whole.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn next_outcome(&mut self) -> Result<Option<Outcome>, ReadError> {
        let io = |source| ReadError::Io { path: self.path.clone(), source };
        while let Some(entry) = read_whole::<OUTCOME_BYTES>(&mut self.reader).map_err(io)? {
            let (body, end) = entry.split_at(OUTCOME_BODY_BYTES);
            if end == check(body) {
                return Ok(Some(Outcome::decode(&entry)));
            }
            self.damaged += 1;
        }
        Ok(None)
    }

    /// Entries that were passed over because they are not what was written.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

/// So many bytes; `None` when there are fewer left: a torn end.
fn read_whole<const N: usize>(reader: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

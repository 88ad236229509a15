//! The audit file: who changed what, when, from where, and what came of it; refused attempts too. Lines
//! are only ever added. Each begins with a digest (SHA-256) of itself and of the digest before it, so
//! that a line that is changed, removed or put in between shows at [`verify`].
//!
//! What a chain cannot show is that lines are missing at the end: keep the last digest elsewhere now
//! and then. Not here: who may do what (`caller`).

use crate::io::clock::moment;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;
/// Longest line that is looked at as a line.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Characters of one entry's detail.
const DETAIL_CHARS_MAX: usize = 16_384;
/// Refused attempts that are written down in a second; further ones are counted.
const REFUSED_PER_S_MAX: u32 = 10;
/// Bits of a file's mode that let others than its owner write it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

type Chained = [u8; 32];

/// Why the audit file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// It cannot be opened, read or written.
    #[error("the audit file {}: {source}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another process writes it.
    #[error("the audit file {} is another running switch's", .path.display())]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// Others may change it.
    #[error("the audit file {0} can be changed by others (mode {mode:03o}): chmod 600 {0}", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditResult {
    /// It was done.
    Done,
    /// It was tried and not done: the reason stands in the detail.
    Failed,
    /// It was not allowed.
    Refused,
}

/// Something that was done, or tried.
#[derive(Clone, Debug)]
pub struct AuditEvent<'e> {
    /// Who did it.
    pub who: &'e str,
    /// From where.
    pub from: &'e str,
    /// What: start, stop, reload, drain, take-over.
    pub what: &'e str,
    /// More of it: what changed from what to what.
    pub detail: String,
    /// How it ended.
    pub result: AuditResult,
}

/// A line behind its digest.
#[derive(Serialize)]
struct Line<'e> {
    number: u64,
    at: String,
    who: &'e str,
    from: &'e str,
    what: &'e str,
    detail: &'e str,
    result: AuditResult,
    /// Refused attempts of the same second that are not written down.
    #[serde(skip_serializing_if = "is_zero")]
    omitted: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An audit file, open for more.
pub struct Audit {
    path: PathBuf,
    end: Mutex<End>,
    damage: Option<Unfit>,
}

/// Where the file ends.
struct End {
    file: File,
    number: u64,
    digest: Chained,
    /// Second, attempts written in it, attempts left out since.
    refused: (u64, u32, u64),
}

impl Audit {
    /// Opens it for adding, or makes it. What is in it is read once: what does not fit is kept, and
    /// told by [`Audit::damage`].
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let wrong = |source| AuditError::File { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path);
        let mut file = file.map_err(wrong)?;
        let mode = file.metadata().map_err(wrong)?.permissions().mode() & 0o777;
        if mode & WRITABLE_BY_OTHERS != 0 {
            return Err(AuditError::Exposed { path: path.to_owned(), mode });
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(wrong(source)),
        }
        file.seek(SeekFrom::Start(0)).map_err(wrong)?;
        let chain = Chain::read(&file).map_err(wrong)?;
        if chain.is_torn {
            file.write_all(b"\n").map_err(wrong)?;
        }
        let end = End { file, number: chain.lines, digest: chain.digest, refused: (0, 0, 0) };
        Ok(Self { path: path.to_owned(), end: Mutex::new(end), damage: chain.unfit })
    }

    /// The first line that did not fit when the file was opened.
    #[must_use]
    pub fn damage(&self) -> Option<&Unfit> {
        self.damage.as_ref()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; it is on the disk afterwards. Of many refused attempts in one second only the
    /// first are written down, and how many were not.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn add(&self, wall_ms: u64, event: &AuditEvent<'_>) -> io::Result<()> {
        let mut end = self.end();
        if event.result == AuditResult::Refused && !end.may_write_refused(wall_ms / 1_000) {
            return Ok(());
        }
        end.add(wall_ms, event)
    }
}

impl End {
    fn may_write_refused(&mut self, second: u64) -> bool {
        let (of_second, written, omitted) = &mut self.refused;
        if *of_second != second {
            (*of_second, *written) = (second, 0);
        }
        *written += 1;
        let may = *written <= REFUSED_PER_S_MAX;
        *omitted += u64::from(!may);
        may
    }

    fn add(&mut self, wall_ms: u64, event: &AuditEvent<'_>) -> io::Result<()> {
        let detail = cut(&event.detail);
        let line = Line {
            number: self.number + 1,
            at: moment(wall_ms),
            who: event.who,
            from: event.from,
            what: event.what,
            detail: &detail,
            result: event.result,
            omitted: self.refused.2,
        };
        let text = serde_json::to_string(&line).map_err(io::Error::other)?;
        let digest = chained(&self.digest, text.as_bytes());
        self.file.write_all(format!("{} {text}\n", hexadecimal(&digest)).as_bytes())?;
        self.file.sync_data()?;
        self.number += 1;
        self.digest = digest;
        self.refused.2 = 0;
        Ok(())
    }
}

fn cut(detail: &str) -> String {
    match detail.char_indices().nth(DETAIL_CHARS_MAX) {
        None => detail.to_owned(),
        Some((at, _)) => format!("{} (cut)", detail.get(..at).unwrap_or_default()),
    }
}

fn chained(before: &Chained, text: &[u8]) -> Chained {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(text);
    hasher.finalize().into()
}

fn hexadecimal(digest: &Chained) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A line that does not fit those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Which, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: &'static str,
}

/// What a file was found to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its lines.
    pub lines: u64,
    /// Digest of the last one, in hexadecimal digits.
    pub digest: String,
    /// The first line that does not fit.
    pub unfit: Option<Unfit>,
}

/// Reads an audit file and holds every line to the one before it.
///
/// # Errors
/// It cannot be read.
pub fn verify(path: &Path) -> Result<Verified, AuditError> {
    let wrong = |source| AuditError::File { path: path.to_owned(), source };
    let chain = Chain::read(&File::open(path).map_err(wrong)?).map_err(wrong)?;
    Ok(Verified { lines: chain.lines, digest: hexadecimal(&chain.digest), unfit: chain.unfit })
}

/// A file's lines, followed.
#[derive(Default)]
struct Chain {
    lines: u64,
    digest: Chained,
    unfit: Option<Unfit>,
    is_torn: bool,
}

impl Chain {
    fn read(file: &File) -> io::Result<Self> {
        let mut chain = Self::default();
        let mut reader = BufReader::new(file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let taken = io::Read::take(&mut reader, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if taken == 0 {
                return Ok(chain);
            }
            chain.lines += 1;
            chain.is_torn = line.pop_if(|last| *last == b'\n').is_none();
            chain.follow(&line);
        }
    }

    /// Takes one more line. One that does not fit is followed all the same, by the digest that it
    /// states: what comes after it is held to that.
    fn follow(&mut self, line: &[u8]) {
        let mut misfit = |why| {
            self.unfit.get_or_insert(Unfit { line: self.lines, why });
        };
        let Some((stated, text)) = parts(line) else {
            misfit("is no line of an audit file, or cut short");
            return;
        };
        if self.is_torn {
            misfit("is cut short");
        } else if chained(&self.digest, text) != stated {
            misfit("was changed, or lines before it were changed, removed or added");
        }
        self.digest = stated;
    }
}

/// The digest that a line states, and what it is of.
fn parts(line: &[u8]) -> Option<(Chained, &[u8])> {
    let (digits, rest) = line.split_at_checked(DIGEST_DIGITS)?;
    let text = rest.strip_prefix(b" ")?;
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some((digest, text))
}

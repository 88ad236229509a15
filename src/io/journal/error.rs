//! Why a data directory cannot be used, each in one sentence that names the file.

use std::io;
use std::path::PathBuf;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has it.
    #[error("{} is in use by another process; a data directory serves one", .folder.display())]
    Locked {
        /// The data directory.
        folder: PathBuf,
    },
    /// Processes on it died, one after the other, shortly before.
    #[error(
        "{}: {crashes} starts within a minute ended in a crash; look at what they said, then start \
         with --safe (only what is owed is sent, new transactions are answered `overload`), or wait \
         a minute", .folder.display()
    )]
    CrashLoop {
        /// The data directory.
        folder: PathBuf,
        /// How many.
        crashes: usize,
    },
    /// A file was not written by this installation, format version, shard or card key.
    #[error("{} is not of this data directory: {what}", .file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What differs.
        what: String,
    },
    /// Something that was durable is not there any more, or not as it was written.
    #[error("{}: damage at offset {offset}: {what}", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The file system refuses.
    #[error("cannot {doing} {}: {source}", .file.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        file: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl JournalError {
    /// The process's exit code for it, after sysexits: 65 data error, 73 cannot create, 74 I/O, 75
    /// try again later.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Foreign { .. } | Self::Damaged { .. } => 65,
            Self::Locked { .. } => 73,
            Self::Io { .. } => 74,
            Self::CrashLoop { .. } => 75,
        }
    }
}

/// Names an I/O error: what was tried, and with which file.
pub(super) trait Trying<T> {
    fn trying(self, doing: &'static str, file: &std::path::Path) -> Result<T, JournalError>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, doing: &'static str, file: &std::path::Path) -> Result<T, JournalError> {
        self.map_err(|source| JournalError::Io { doing, file: file.to_owned(), source })
    }
}

/// Ends the process at once: going on would answer for what is not recorded. Nothing is retried,
/// because after a failed write or fsync nobody knows what the disk holds.
pub(super) fn fail_stop(what: &str) -> ! {
    #[expect(clippy::print_stderr, reason = "the last words of a process that aborts")]
    {
        eprintln!("tapswitch: {what}; stopping at once, so that nothing unrecorded is answered");
    }
    std::process::abort()
}

//! A guard against crash loops: a process that dies of what it reads, and is started again for ever
//! by its supervisor, must not go on asking acquirers and issuers for patience.
//!
//! Each start is noted in the data directory until it ends in order. When there were too many of late,
//! the next is refused and says so; a human decides. Not here: what a safe start leaves out.

use super::error::{JournalError, Trying};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const STARTS_NAME: &str = "starts";
const NEW_NAME: &str = "starts.new";
/// Starts longer ago than this do not count.
const WINDOW_MS: u64 = 60_000;

/// A start that has not ended in order yet. Dropping it is ending in order.
pub(super) struct StartNote {
    file: PathBuf,
}

impl StartNote {
    /// Notes a start. `crashes_max`: so many may have failed of late; 0: any number.
    pub(super) fn new(root: &Path, now_ms: u64, crashes_max: u64) -> Result<Self, JournalError> {
        let file = root.join(STARTS_NAME);
        let mut starts = read(&file)?;
        // A clock that was set back must not lock the switch out.
        starts.retain(|&at_ms| at_ms <= now_ms && at_ms + WINDOW_MS > now_ms);
        if crashes_max > 0 && starts.len() as u64 >= crashes_max {
            let crashes = starts.len();
            return Err(JournalError::CrashLoop { folder: root.to_owned(), crashes });
        }
        starts.push(now_ms);
        let lines: String = starts.iter().map(|at_ms| format!("{at_ms}\n")).collect();
        let new = root.join(NEW_NAME);
        fs::write(&new, lines).trying("write", &new)?;
        fs::rename(&new, &file).trying("rename", &new)?;
        Ok(Self { file })
    }
}

impl Drop for StartNote {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What is left of it is a crash that was none: at worst the operator is asked.
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// A line that is no number is no start: this file decides about nothing but patience.
fn read(file: &Path) -> Result<Vec<u64>, JournalError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).trying("read", file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::journal::tests::TempFolder;

    const NOW_MS: u64 = 1_767_225_600_000;

    /// A process that dies: its note stays.
    fn crash(root: &Path, now_ms: u64) -> Result<(), JournalError> {
        StartNote::new(root, now_ms, 5).map(std::mem::forget)
    }

    #[test]
    fn the_sixth_start_within_a_minute_of_five_crashes_is_refused() {
        let folder = TempFolder::new("crash-loop");
        let root = folder.path();
        (0..5).for_each(|n| crash(root, NOW_MS + n * 10_000).unwrap());
        let refused = crash(root, NOW_MS + 50_000).unwrap_err();
        assert!(matches!(refused, JournalError::CrashLoop { crashes: 5, .. }), "{refused}");
        assert_eq!(refused.exit_code(), 75);
        // A refusal is no crash; the first is out of the window a minute after it.
        crash(root, NOW_MS + 60_000).unwrap();
        assert!(crash(root, NOW_MS + 60_001).is_err());
        assert!(StartNote::new(root, NOW_MS + 60_001, 0).is_ok(), "without a guard");
    }

    #[test]
    fn an_orderly_end_forgives_all_before_it() {
        let folder = TempFolder::new("orderly-end");
        let root = folder.path();
        (0..4).for_each(|n| crash(root, NOW_MS + n).unwrap());
        drop(StartNote::new(root, NOW_MS + 10, 5).unwrap());
        (0..5).for_each(|n| crash(root, NOW_MS + 20 + n).unwrap());
        assert!(crash(root, NOW_MS + 30).is_err());
    }
}

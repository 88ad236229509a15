//! What an operator says of the journal, checked and typed.

use std::path::PathBuf;

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// Where it is; `None`: nothing outlives the process.
    pub data_dir: Option<PathBuf>,
    /// What an answer waits for.
    pub durability: Durability,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// A snapshot is begun so long after the last.
    pub snapshot_every_s: u64,
    /// Or when so many bytes of records came after it.
    pub snapshot_every_bytes: u64,
    /// A disk that does not answer for so long ends the process.
    pub stall_max_ms: u64,
    /// Bytes of records, per shard, that may wait for the disk.
    pub undurable_bytes_max: usize,
    /// Less free room than this is an alarm; 0: never.
    pub alarm_free_percent: u64,
    /// Less than this refuses new transactions; 0: never.
    pub refuse_free_percent: u64,
    /// After so many starts within a minute that died the next is refused; 0: never.
    pub crashes_max: u64,
    /// What is owed is sent, new transactions are refused. Said for one start, not in a file.
    pub is_safe: bool,
}

/// What an answer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Its record is on the disk.
    Strict,
    /// Nothing: records reach the disk so many milliseconds later, and a crash loses those.
    Relaxed {
        /// Commits start at most this often.
        ms: u64,
    },
    /// Nothing, and nothing is kept.
    Off,
}

impl JournalConfig {
    /// Bytes of each of a shard's two buffers: records form a group in one while the other is
    /// written.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        self.undurable_bytes_max / 2
    }
}

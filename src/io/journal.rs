//! The journal: what a shard must not forget, on the disk before anybody is told.
//!
//! ```text
//!   start    DataDirectory ──▶ Recovery: snapshot ──▶ groups after it ──▶ Resume (tail cut)
//!   running  append ──▶ group forms ──▶ commit (one in flight) ──▶ durable LSN
//!                        segments lie ready (SegmentStock) · snapshots in the background
//! ```
//!
//! Blocks in, durable LSN out: a replicated log could stand behind the same calls. An error of the
//! disk ends the process, it is never retried. A torn tail is cut; damage before it refuses to
//! start, with file and offset.
//!
//! Not here: what records and snapshots mean (`shard`), what waits for a durable LSN (the driver).

mod aligned;
mod device;
mod directory;
mod disk;
mod error;
mod generation;
mod group_reader;
mod groups;
mod inspect;
mod layout;
mod recovery;
mod report;
mod retention;
mod shard_journal;
mod snapshot;
mod snapshot_thread;
mod starts;
mod stock;
mod survey;
#[cfg(test)]
mod tests;

pub(crate) use aligned::AlignedBuffer;
pub use directory::DataDirectory;
pub use disk::CommitPath;
pub use error::JournalError;
pub use group_reader::{Group, GroupReader};
pub use inspect::{DirectoryReport, Inspection, ShardSummary, SnapshotSummary, inspect};
pub use layout::{BLOCK_BYTES, FORMAT_VERSION, Identity, SnapshotMark, Stamp};
pub use recovery::{Recovery, Resume};
pub use report::{JournalReport, SnapshotCounters};
pub use shard_journal::{JournalCounters, STALL_NS, ShardJournal};
pub(crate) use snapshot::Chunk;
pub use snapshot::{CHUNK_PAYLOAD_BYTES, SnapshotReader};
pub use snapshot_thread::{SnapshotEnd, SnapshotThread, SnapshotWriter};
pub use stock::{SEGMENTS_AHEAD, SegmentStock, Space, SpaceWatch, StockPort};

//! What a shard that has ended leaves in memory for the process that takes over: the lines of its cards
//! as they are, and all the rest in a file without a name. Both are as of one record, the last that is
//! durable; with any other journal they are worth nothing, and a crash leaves neither.
//!
//! Not here: passing them on (`cli::hand_over`), going on with them (`recover`).

use super::decider::Decider;
use super::durable::Durable;
use crate::memory::unnamed_file;
use crate::shard::Now;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::velocity::PassedTable;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// Bytes that are made, written or read at once.
const STEP_BYTES: usize = 1 << 20;
/// Longest header.
const HEADER_BYTES_MAX: u32 = 16 << 20;

/// What one shard leaves.
#[derive(Debug)]
pub struct Parting {
    /// Which.
    pub shard: u8,
    /// LSN of its last record, which is durable.
    pub lsn: u64,
    /// From here on records say which requests were under way.
    pub replay_from_lsn: u64,
    /// The lines of its cards.
    pub table: PassedTable,
    /// Everything else.
    pub rest: File,
}

impl Parting {
    /// Of a shard whose last record is `lsn`, and which does nothing any more. `None`: nobody can be
    /// given its lines.
    pub(crate) fn of<D: Decider>(
        decider: &mut D,
        (shard, lsn): (u8, u64),
        now: Now,
    ) -> io::Result<Option<Self>> {
        decider.snapshot_abandon();
        let replay_from_lsn = decider.replay_from_lsn(lsn);
        let Some(header) = decider.part_begin(now) else { return Ok(None) };
        let mut rest = File::from(unnamed_file(c"tapswitch-rest")?);
        write_rest(decider, &header, &mut rest)?;
        let table = decider.part_end();
        Ok(table.map(|table| Self { shard, lsn, replay_from_lsn, table, rest }))
    }
}

fn write_rest<D: Durable>(decider: &mut D, header: &[u8], rest: &mut File) -> io::Result<()> {
    let header_bytes = u32::try_from(header.len()).map_err(io::Error::other)?;
    rest.write_all(&header_bytes.to_le_bytes())?;
    rest.write_all(header)?;
    let mut bytes = Vec::with_capacity(2 * STEP_BYTES);
    loop {
        let step = decider.snapshot_next(&mut bytes, STEP_BYTES / 2);
        if step != SnapshotStep::More || bytes.len() >= STEP_BYTES {
            rest.write_all(&bytes)?;
            bytes.clear();
        }
        match step {
            SnapshotStep::More => {}
            SnapshotStep::Done => return Ok(()),
            SnapshotStep::Abandoned => return Err(io::Error::other("the rest was given up")),
        }
    }
}

/// Puts the rest into a decider that has the lines already. Tells how many bytes it was.
pub(crate) fn load_rest<D: Durable>(decider: &mut D, rest: &mut File) -> Result<u64, String> {
    let broken = |error: io::Error| format!("what was left in memory cannot be read: {error}");
    // Both processes have one place in it.
    rest.rewind().map_err(broken)?;
    let mut header_bytes = [0; 4];
    rest.read_exact(&mut header_bytes).map_err(broken)?;
    let header_bytes = u32::from_le_bytes(header_bytes).min(HEADER_BYTES_MAX);
    let mut header = vec![0; header_bytes as usize];
    rest.read_exact(&mut header).map_err(broken)?;
    decider.load_begin(&header)?;
    let mut bytes = vec![0; STEP_BYTES];
    let mut all = 0;
    loop {
        let read = match rest.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error)),
        };
        decider.load(bytes.get(..read).unwrap_or_default())?;
        all += read as u64;
    }
    decider.load_end()?;
    Ok(all)
}

//! Another layout at a restart: what the shards of the layout before left is read by such shards,
//! finished as after any end of a process, and written down for the shards of now, each of which
//! takes over its own cards.
//!
//! ```text
//!   generation-0001 ─▶ old shards, one after the other ─▶ generation-0002/carried ─▶ new shards
//! ```
//!
//! The generation before counts until all shards of now know what they knew: a crash at any moment
//! leaves one or the other. One table is in memory at a time.
//!
//! Not here: what a layout is (the caller), files (`journal`).

use super::clock::Clock;
use super::decider::Decider;
use super::journal::DataDirectory;
use super::recover::{RecoveredShard, RecoveryError, RecoveryReport, recover};
use crate::shard::snapshot::SnapshotStep;
use crate::shard::{Outbox, ShardId};

/// Bytes of a snapshot that are made and written at once.
const STEP_BYTES: usize = 1 << 20;

/// Carries what `directory` holds over to a next generation for so many `shards` of another
/// `layout`, and returns that, with what was found. `decider` makes the shards of the layout before.
///
/// # Errors
/// What they left cannot be read, or the next generation cannot be written: the one before is as it
/// was.
pub fn carry_over<D: Decider>(
    directory: &DataDirectory,
    (shards, layout): (u32, &[u8]),
    decider: impl Fn(ShardId) -> D,
) -> Result<(DataDirectory, Vec<RecoveryReport>), RecoveryError> {
    let next = directory.next_generation(shards, layout)?;
    let mut clock = Clock::new();
    let mut reports = Vec::new();
    for shard in 0..directory.identity().shards {
        // At most SHARDS_MAX, which fits a byte.
        let id = ShardId(shard as u8);
        let found = recover(|| decider(id), directory, id)?;
        let RecoveredShard { mut decider, report, .. } = found;
        clock.not_before(report.recovered.wall_ms);
        finish(&mut decider, &mut clock);
        write(&mut decider, &next, (shard, &mut clock))?;
        reports.push(report);
    }
    Ok((next, reports))
}

/// Finishes what was under way. What is then owed is written down with the rest, and sent by the
/// shards of now.
fn finish<D: Decider>(decider: &mut D, clock: &mut Clock) {
    let mut outbox = Outbox::new();
    while decider.on_recovered(clock.now(), &mut outbox) {
        outbox.clear();
    }
}

fn write<D: Decider>(
    decider: &mut D,
    next: &DataDirectory,
    (shard, clock): (u32, &mut Clock),
) -> Result<(), RecoveryError> {
    let mut file = next.begin_carried(shard)?;
    file.header(&decider.carry_begin(clock.now()))?;
    let mut bytes = Vec::with_capacity(2 * STEP_BYTES);
    loop {
        let step = decider.snapshot_next(&mut bytes, STEP_BYTES / 2);
        let is_last = step != SnapshotStep::More;
        assert!(step != SnapshotStep::Abandoned, "Invariant: nothing changes meanwhile");
        if is_last || bytes.len() >= STEP_BYTES / 2 {
            file.append(&bytes)?;
            bytes.clear();
        }
        if is_last {
            break;
        }
    }
    Ok(file.finish()?)
}

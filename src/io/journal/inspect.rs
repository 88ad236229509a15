//! A data directory as an operator looks at it: read only, also while a process writes to it.
//!
//! Not here: how it is printed (`cli`); what records say.

use super::directory::{CARRIED, is_in_use};
use super::disk::{Disk, KernelDisk};
use super::error::{JournalError, Trying};
use super::generation::{Generation, current};
use super::group_reader::{Group, GroupReader};
use super::layout::{
    Identity, SNAPSHOT_ENDING, SnapshotMark, carried_folder, number_of, shard_folder,
};
use super::snapshot::SnapshotReader;
use std::path::Path;
use std::sync::Arc;

/// How closely to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inspection {
    /// Groups, and the beginnings of snapshots.
    Quick,
    /// Every chunk of the snapshots too.
    Whole,
}

/// What is in a data directory.
#[derive(Debug)]
pub struct DirectoryReport {
    /// What it says of itself.
    pub identity: Identity,
    /// Whether a process writes to it: then the last group may be torn because it is being written.
    pub in_use: bool,
    /// Counts the layouts that it has had.
    pub generation: u64,
    /// What the shards of the layout before left, by shard, as long as it is needed.
    pub carried: Vec<SnapshotSummary>,
    /// By shard.
    pub shards: Vec<ShardSummary>,
}

impl DirectoryReport {
    /// The first damage, without the rest.
    #[must_use]
    pub fn into_damage(self) -> Option<JournalError> {
        let carried = self.carried.into_iter().filter_map(|it| it.bytes.err());
        let (mut journals, mut snapshots) = (Vec::new(), carried.collect::<Vec<_>>());
        for shard in self.shards {
            journals.extend(shard.damage);
            snapshots.extend(shard.snapshots.into_iter().filter_map(|it| it.bytes.err()));
        }
        journals.into_iter().chain(snapshots).next()
    }
}

/// What a shard has.
#[derive(Debug)]
pub struct ShardSummary {
    /// Which shard.
    pub shard: u32,
    /// Segments that were begun.
    pub segments: usize,
    /// Segments that lie ready.
    pub ready: usize,
    /// LSN of the first record that is there; 0 when there is none.
    pub first_lsn: u64,
    /// LSN of the last; 0 when there is none.
    pub last_lsn: u64,
    /// Groups.
    pub groups: u64,
    /// Bytes of records.
    pub record_bytes: u64,
    /// Bytes of a commit that a crash interrupted: the next start cuts them.
    pub torn_bytes: u64,
    /// Why not all of it can be read.
    pub damage: Option<JournalError>,
    /// Oldest first.
    pub snapshots: Vec<SnapshotSummary>,
}

/// A snapshot.
#[derive(Debug)]
pub struct SnapshotSummary {
    /// The LSN that it is named by.
    pub lsn: u64,
    /// What its header says, if that is valid.
    pub mark: Option<SnapshotMark>,
    /// Bytes that were read, or what is wrong.
    pub bytes: Result<u64, JournalError>,
}

/// Looks at a directory, and shows `each` group of records with its shard.
///
/// # Errors
/// It is no data directory, or cannot be read. Damage is part of the report.
pub fn inspect(
    root: &Path,
    inspection: Inspection,
    each: &mut dyn FnMut(u32, &Group<'_>),
) -> Result<DirectoryReport, JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(KernelDisk);
    let Some(generation) = current(&*disk, root)? else {
        let what = "it has no identity: this is no data directory".to_owned();
        return Err(JournalError::Foreign { file: root.to_owned(), what });
    };
    let in_use = is_in_use(root)?;
    let carried = look_at_carried(&*disk, &generation, inspection)?;
    let Generation { folder, identity, number, .. } = generation;
    let shards = (0..identity.shards)
        .map(|shard| look_at(&disk, &folder, (&identity, shard), (inspection, in_use), each));
    let shards = shards.collect::<Result<_, _>>()?;
    Ok(DirectoryReport { identity, in_use, generation: number, carried, shards })
}

fn look_at_carried(
    disk: &dyn Disk,
    generation: &Generation,
    inspection: Inspection,
) -> Result<Vec<SnapshotSummary>, JournalError> {
    let root = &generation.folder;
    let names = disk.list(root).trying("list", root)?;
    let shards = (0..generation.carried).filter(|&shard| names.contains(&carried_folder(shard)));
    let look = |shard| {
        let (folder, stamp) = (root.join(carried_folder(shard)), generation.identity.stamp(shard));
        let opened = SnapshotReader::open(disk, &folder, &stamp, CARRIED.lsn);
        let mark = opened.as_ref().ok().map(SnapshotReader::mark);
        let bytes = opened.and_then(|reader| read(reader, inspection));
        SnapshotSummary { lsn: CARRIED.lsn, mark, bytes }
    };
    Ok(shards.map(look).collect())
}

fn look_at(
    disk: &Arc<dyn Disk>,
    root: &Path,
    (identity, shard): (&Identity, u32),
    (inspection, in_use): (Inspection, bool),
    each: &mut dyn FnMut(u32, &Group<'_>),
) -> Result<ShardSummary, JournalError> {
    let (folder, stamp) = (root.join(shard_folder(shard)), identity.stamp(shard));
    let names = disk.list(&folder).trying("list", &folder)?;
    let mut lsns: Vec<u64> =
        names.iter().filter_map(|name| number_of(name, SNAPSHOT_ENDING)).collect();
    lsns.sort_unstable();
    let snapshot = |lsn| {
        let opened = SnapshotReader::open(&**disk, &folder, &stamp, lsn);
        let mark = opened.as_ref().ok().map(SnapshotReader::mark);
        SnapshotSummary { lsn, mark, bytes: opened.and_then(|reader| read(reader, inspection)) }
    };
    let mut summary = ShardSummary::new(shard);
    summary.snapshots = lsns.into_iter().map(snapshot).collect();
    let groups = || GroupReader::new(Arc::clone(disk), &folder, stamp, None);
    summary.damage = groups().and_then(|groups| summary.add_groups(groups, each)).err();
    // Beside a running process a block may be written between two reads: what is damaged stays so.
    for _ in 0..LOOKS_BESIDE_WRITER {
        if !in_use || summary.damage.is_none() {
            break;
        }
        let mut again = ShardSummary::new(shard);
        let looked = groups().and_then(|groups| again.add_groups(groups, &mut |_, _| {}));
        summary.damage = looked.err();
    }
    Ok(summary)
}

/// How often damage is looked at again in a directory that is in use.
const LOOKS_BESIDE_WRITER: u32 = 5;

impl ShardSummary {
    const fn new(shard: u32) -> Self {
        Self {
            shard,
            segments: 0,
            ready: 0,
            first_lsn: 0,
            last_lsn: 0,
            groups: 0,
            record_bytes: 0,
            torn_bytes: 0,
            damage: None,
            snapshots: Vec::new(),
        }
    }

    fn add_groups(
        &mut self,
        mut groups: GroupReader,
        each: &mut dyn FnMut(u32, &Group<'_>),
    ) -> Result<(), JournalError> {
        self.segments = groups.segments().iter().filter(|it| it.header.is_some()).count();
        self.ready = groups.segments().len() - self.segments;
        while let Some(group) = groups.next()? {
            if self.groups == 0 {
                self.first_lsn = group.first_lsn;
            }
            self.groups += 1;
            self.record_bytes += group.records.len() as u64;
            self.last_lsn = group.first_lsn + u64::from(group.count) - 1;
            each(self.shard, &group);
        }
        self.torn_bytes = groups.torn_bytes();
        Ok(())
    }
}

fn read(mut snapshot: SnapshotReader, inspection: Inspection) -> Result<u64, JournalError> {
    match inspection {
        Inspection::Quick => {}
        Inspection::Whole => while snapshot.next_chunk()?.is_some() {},
    }
    Ok(snapshot.bytes_read())
}

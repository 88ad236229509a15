//! Generations of a data directory: all that was written under one layout lies in a folder of its
//! own. Another layout begins the next one and leaves the one before it as it is; the new one counts
//! from the moment when its identity is durable, which is written last.
//!
//! ```text
//!   generation-0001   identity, shards                      the layout until now
//!   generation-0002   carried, shards, … then identity      from here on this one counts
//! ```
//!
//! Not here: what is carried from one to the next.

use super::aligned::AlignedBuffer;
use super::directory::IDENTITY_NAME;
use super::disk::{Access, Disk, read_full, write_full};
use super::error::{JournalError, Trying};
use super::layout::{
    BLOCK_BYTES, Identity, NotOurs, UNFINISHED_ENDING, generation_folder, generation_number,
};
use crc32c::crc32c;
use std::path::{Path, PathBuf};

/// What a generation says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Generation {
    pub(super) folder: PathBuf,
    pub(super) number: u64,
    pub(super) identity: Identity,
    /// What its maker said of the layout; only the maker knows what it means.
    pub(super) layout: Vec<u8>,
    /// How many shards of the generation before left something.
    pub(super) carried: u32,
}

/// Check of all that follows; how many shards left something, length of the layout.
const LAYOUT_HEAD_BYTES: usize = 12;

/// The numbers of all generations of a directory, oldest first.
pub(super) fn numbers(disk: &dyn Disk, root: &Path) -> Result<Vec<u64>, JournalError> {
    let names = disk.list(root).trying("list", root)?;
    // A directory of its own shape: what is in it is not ours to write beside.
    let older = |name: &&String| **name == IDENTITY_NAME || name.starts_with("shard-");
    if let Some(name) = names.iter().find(older) {
        let what = "it lies outside of any generation: another program's".to_owned();
        return Err(JournalError::Foreign { file: root.join(name), what });
    }
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| generation_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The generation that counts: the newest with an identity. `None`: there is none yet.
pub(super) fn current(disk: &dyn Disk, root: &Path) -> Result<Option<Generation>, JournalError> {
    let numbers = numbers(disk, root)?;
    for &number in numbers.iter().rev() {
        let folder = root.join(generation_folder(number));
        let names = disk.list(&folder).trying("list", &folder)?;
        if names.iter().any(|name| name == IDENTITY_NAME) {
            return read(disk, folder, number).map(Some);
        }
    }
    // The first one is made with its identity before anything else.
    let Some(&number) = numbers.last() else { return Ok(None) };
    let folder = root.join(generation_folder(number));
    let names = disk.list(&folder).trying("list", &folder)?;
    let is_used = |name: &&String| name.starts_with("shard-") || name.starts_with("carried-");
    match names.iter().find(is_used) {
        Some(name) => {
            let what = format!("there is {name}, but no {IDENTITY_NAME} beside it");
            Err(JournalError::Foreign { file: folder.join(name), what })
        }
        None => Ok(None),
    }
}

fn read(disk: &dyn Disk, folder: PathBuf, number: u64) -> Result<Generation, JournalError> {
    let path = folder.join(IDENTITY_NAME);
    let file = disk.open(&path, Access::Read).trying("open", &path)?;
    // What is read now must be durable: what is before it may be deleted.
    file.sync().trying("sync", &path)?;
    let bytes = file.length().trying("ask the length of", &path)?;
    let mut block = vec![0; BLOCK_BYTES];
    read_full(&*file, &mut block, 0).trying("read", &path)?;
    let damaged = |offset: u64, what: &str| JournalError::Damaged {
        file: path.clone(),
        offset,
        what: what.to_owned(),
    };
    let identity = match Identity::read(&block) {
        Ok(identity) => identity,
        Err(NotOurs::Foreign(what)) => return Err(JournalError::Foreign { file: path, what }),
        Err(NotOurs::Invalid) => {
            return Err(damaged(0, "it is not an identity, or a damaged one"));
        }
    };
    let after = bytes.saturating_sub(BLOCK_BYTES as u64);
    let mut rest = vec![0; usize::try_from(after).unwrap_or(usize::MAX).min(1 << 20)];
    let read = read_full(&*file, &mut rest, BLOCK_BYTES as u64).trying("read", &path)?;
    let layout = rest.get(..read).and_then(layout_of);
    let (carried, layout) =
        layout.ok_or_else(|| damaged(BLOCK_BYTES as u64, "its layout is damaged"))?;
    Ok(Generation { number, identity, layout: layout.to_vec(), carried, folder })
}

fn layout_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (check, checked) = bytes.split_first_chunk()?;
    let (carried, rest) = checked.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let layout = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let checked = checked.get(..LAYOUT_HEAD_BYTES - 4 + layout.len())?;
    let is_whole = crc32c(checked) == u32::from_le_bytes(*check);
    is_whole.then_some((u32::from_le_bytes(*carried), layout))
}

impl Generation {
    /// Makes its folder, empty whatever was there: it did not count.
    pub(super) fn begin(&self, disk: &dyn Disk, root: &Path) -> Result<(), JournalError> {
        if disk.list(&self.folder).is_ok() {
            disk.remove_folder(&self.folder).trying("remove", &self.folder)?;
        }
        disk.create_folder(&self.folder).trying("create", &self.folder)?;
        disk.sync_folder(root).trying("sync", root)
    }

    /// From here on it is the one that counts.
    pub(super) fn write(&self, disk: &dyn Disk) -> Result<(), JournalError> {
        let laid_out = LAYOUT_HEAD_BYTES + self.layout.len();
        let mut bytes = AlignedBuffer::new(BLOCK_BYTES + laid_out.next_multiple_of(BLOCK_BYTES));
        let (block, rest) = bytes.split_at_mut(BLOCK_BYTES);
        self.identity.write(block);
        rest.fill(0);
        rest[4..8].copy_from_slice(&self.carried.to_le_bytes());
        rest[8..LAYOUT_HEAD_BYTES].copy_from_slice(&(self.layout.len() as u32).to_le_bytes());
        rest[LAYOUT_HEAD_BYTES..laid_out].copy_from_slice(&self.layout);
        let check = crc32c(&rest[4..laid_out]);
        rest[..4].copy_from_slice(&check.to_le_bytes());
        let path = self.folder.join(IDENTITY_NAME);
        let unfinished = self.folder.join(format!("{IDENTITY_NAME}{UNFINISHED_ENDING}"));
        let written = disk.create(&unfinished).and_then(|file| {
            write_full(&*file, &bytes, 0)?;
            file.sync()?;
            disk.rename(&unfinished, &path)?;
            disk.sync_folder(&self.folder)
        });
        written.trying("write", &path)
    }
}

/// Deletes every generation but one.
pub(super) fn remove_others(disk: &dyn Disk, root: &Path, number: u64) -> Result<(), JournalError> {
    for other in numbers(disk, root)?.into_iter().filter(|&other| other != number) {
        let folder = root.join(generation_folder(other));
        disk.remove_folder(&folder).trying("remove", &folder)?;
    }
    disk.sync_folder(root).trying("sync", root)
}

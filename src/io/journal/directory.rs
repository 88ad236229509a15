//! The data directory as a whole: whose it is, and that one process at a time writes to it.
//!
//! Not here: what is in it (`recovery`, `snapshot`).

use super::aligned::AlignedBuffer;
use super::disk::{Access, Disk, KernelDisk, read_full, write_full};
use super::error::{JournalError, Trying};
use super::layout::{BLOCK_BYTES, Identity, NotOurs, UNFINISHED_ENDING, shard_folder};
use super::recovery::Recovery;
use crate::io::random::fill;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK_NAME: &str = "lock";
const IDENTITY_NAME: &str = "identity";

/// A data directory that this process alone writes to, until it is dropped.
pub struct DataDirectory {
    folder: PathBuf,
    identity: Identity,
    disk: Arc<dyn Disk>,
    _lock: File,
}

impl DataDirectory {
    /// Takes a directory, and makes it if it is not there or empty. `key_check` tells one card key
    /// from another without giving it away.
    ///
    /// # Errors
    /// Another process has it, it was made for something else, or the file system refuses.
    pub fn open(folder: &Path, shards: u32, key_check: [u8; 8]) -> Result<Self, JournalError> {
        let disk: Arc<dyn Disk> = Arc::new(KernelDisk);
        disk.create_folder(folder).trying("create", folder)?;
        let lock = take_lock(folder)?;
        let wanted = Identity { directory: [0; 16], key_check, shards };
        let identity = match read_identity(&*disk, folder)? {
            Some(found) => accept(found, wanted, folder)?,
            None => make(&*disk, folder, wanted)?,
        };
        Ok(Self { folder: folder.to_owned(), identity, disk, _lock: lock })
    }

    /// What the directory says of itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What a shard left in it. The shard's folder is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be read, or holds another directory's files.
    pub fn recover(&self, shard: u32) -> Result<Recovery, JournalError> {
        let folder = self.folder.join(shard_folder(shard));
        self.disk.create_folder(&folder).trying("create", &folder)?;
        self.disk.sync_folder(&self.folder).trying("sync", &self.folder)?;
        Recovery::new(Arc::clone(&self.disk), folder, self.identity.stamp(shard))
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

fn take_lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join(LOCK_NAME);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let lock = options.open(&path).trying("open", &path)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(JournalError::Locked { folder: folder.to_owned() }),
        Err(error) => Err(error.into()).trying("lock", &path),
    }
}

/// Whether a process writes to the directory now. It is not kept from doing so afterwards.
pub(super) fn is_in_use(folder: &Path) -> Result<bool, JournalError> {
    let path = folder.join(LOCK_NAME);
    let lock = File::open(&path).trying("open", &path)?;
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()).trying("lock", &path),
    }
}

/// What a directory says of itself; `None` when it says nothing.
pub(super) fn read_identity(
    disk: &dyn Disk,
    folder: &Path,
) -> Result<Option<Identity>, JournalError> {
    let path = folder.join(IDENTITY_NAME);
    let names = disk.list(folder).trying("list", folder)?;
    if !names.iter().any(|name| name == IDENTITY_NAME) {
        // It is made before anything else: without it, shards' folders are not ours to write to.
        return match names.into_iter().find(|name| name.starts_with("shard-")) {
            Some(shard) => {
                let what = format!("there is {shard}, but no {IDENTITY_NAME} beside it");
                Err(JournalError::Foreign { file: folder.join(shard), what })
            }
            None => Ok(None),
        };
    }
    let file = disk.open(&path, Access::Read).trying("open", &path)?;
    let mut block = vec![0; BLOCK_BYTES];
    read_full(&*file, &mut block, 0).trying("read", &path)?;
    match Identity::read(&block) {
        Ok(identity) => Ok(Some(identity)),
        Err(NotOurs::Foreign(what)) => Err(JournalError::Foreign { file: path, what }),
        Err(NotOurs::Invalid) => {
            let what = "it is not an identity, or a damaged one".to_owned();
            Err(JournalError::Damaged { file: path, offset: 0, what })
        }
    }
}

fn accept(found: Identity, wanted: Identity, folder: &Path) -> Result<Identity, JournalError> {
    let what = if found.key_check != wanted.key_check {
        "made with another card key".to_owned()
    } else if found.shards != wanted.shards {
        format!("laid out for {} shards, not for {}", found.shards, wanted.shards)
    } else {
        return Ok(found);
    };
    Err(JournalError::Foreign { file: folder.join(IDENTITY_NAME), what })
}

fn make(disk: &dyn Disk, folder: &Path, wanted: Identity) -> Result<Identity, JournalError> {
    let mut identity = wanted;
    fill(&mut identity.directory).trying("draw an id for", folder)?;
    let mut block = AlignedBuffer::new(BLOCK_BYTES);
    identity.write(&mut block);
    let path = folder.join(IDENTITY_NAME);
    let unfinished = folder.join(format!("{IDENTITY_NAME}{UNFINISHED_ENDING}"));
    let written = disk.create(&unfinished).and_then(|file| {
        write_full(&*file, &block, 0)?;
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_folder(folder)
    });
    written.trying("write", &path)?;
    // The directory itself may be as new as what is in it.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    disk.sync_folder(parent).trying("sync", parent)?;
    Ok(identity)
}

//! The data directory as a whole: whose it is, that one process at a time writes to it, and which
//! of its generations counts.
//!
//! Not here: what is in a generation (`recovery`, `snapshot`); what another layout means.

use super::disk::{Disk, KernelDisk};
use super::error::{JournalError, Trying};
use super::generation::{Generation, current, remove_others};
use super::layout::{Identity, SnapshotMark, carried_folder, generation_folder, shard_folder};
use super::recovery::Recovery;
use super::snapshot::{SnapshotFile, SnapshotReader};
use super::starts::StartNote;
use crate::io::random::fill;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK_NAME: &str = "lock";
pub(super) const IDENTITY_NAME: &str = "identity";
/// The mark of what is carried over: nothing of this generation's journal is in it.
pub(super) const CARRIED: SnapshotMark = SnapshotMark { lsn: 0, replay_from_lsn: 1 };

/// A data directory that this process alone writes to, until it is dropped.
pub struct DataDirectory {
    root: PathBuf,
    generation: Generation,
    /// Whether the generation counts already.
    is_complete: bool,
    disk: Arc<dyn Disk>,
    lock: Arc<File>,
    start: Option<Arc<StartNote>>,
}

impl DataDirectory {
    /// Takes a directory, and makes it if it is not there or empty. `key_check` tells one card key
    /// from another without giving it away. `shards` and `layout`, which means something to the
    /// caller only, are those of a new directory; of another one see [`DataDirectory::identity`] and
    /// [`DataDirectory::layout`].
    ///
    /// # Errors
    /// Another process has it, it was made for something else, or the file system refuses.
    pub fn open(
        root: &Path,
        shards: u32,
        key_check: [u8; 8],
        layout: &[u8],
    ) -> Result<Self, JournalError> {
        Self::open_on(Arc::new(KernelDisk), root, (shards, layout), key_check)
    }

    /// What the maker of a directory said of its layout, without taking it; `None`: there is none yet.
    ///
    /// # Errors
    /// It was made for something else, or the file system refuses.
    pub fn peek_layout(root: &Path) -> Result<Option<Vec<u8>>, JournalError> {
        if !root.exists() {
            return Ok(None);
        }
        Ok(current(&KernelDisk, root)?.map(|generation| generation.layout))
    }

    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        root: &Path,
        (shards, layout): (u32, &[u8]),
        key_check: [u8; 8],
    ) -> Result<Self, JournalError> {
        disk.create_folder(root).trying("create", root)?;
        let lock = Arc::new(take_lock(root)?);
        let generation = match current(&*disk, root)? {
            Some(found) => {
                accept(&found, key_check)?;
                // Its name must be durable before the one before it is deleted.
                disk.sync_folder(&found.folder).trying("sync", &found.folder)?;
                remove_others(&*disk, root, found.number)?;
                found
            }
            None => make_first(&*disk, root, (shards, layout), key_check)?,
        };
        Ok(Self { root: root.to_owned(), generation, is_complete: true, disk, lock, start: None })
    }

    /// Notes that a process starts on it now, until this and the generations after it are dropped.
    ///
    /// # Errors
    /// So many starts within a minute died (0: any number may), or the file system refuses.
    pub fn note_start(&mut self, now_ms: u64, crashes_max: u64) -> Result<(), JournalError> {
        self.start = Some(Arc::new(StartNote::new(&self.root, now_ms, crashes_max)?));
        Ok(())
    }

    /// What its generation says of itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.generation.identity
    }

    /// What the maker of its generation said of the layout.
    #[must_use]
    pub fn layout(&self) -> &[u8] {
        &self.generation.layout
    }

    /// Begins the next generation, for another layout. It counts from `complete` on;
    /// until then the one before it is what a restart finds.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn next_generation(&self, shards: u32, layout: &[u8]) -> Result<Self, JournalError> {
        let number = self.generation.number + 1;
        let key_check = self.generation.identity.key_check;
        let mut generation = new_generation(&self.root, number, (shards, layout), key_check)?;
        generation.carried = self.generation.identity.shards;
        generation.begin(&*self.disk, &self.root)?;
        let (root, disk) = (self.root.clone(), Arc::clone(&self.disk));
        let (lock, start) = (Arc::clone(&self.lock), self.start.clone());
        Ok(Self { root, generation, is_complete: false, disk, lock, start })
    }

    /// Begins to write what a shard of the generation before left, for all shards of this one.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn begin_carried(&self, shard: u32) -> Result<CarriedWriter, JournalError> {
        let folder = self.folder().join(carried_folder(shard));
        self.disk.create_folder(&folder).trying("create", &folder)?;
        self.disk.sync_folder(self.folder()).trying("sync", self.folder())?;
        let stamp = self.generation.identity.stamp(shard);
        let file = SnapshotFile::create(&*self.disk, &folder, &stamp, CARRIED);
        let file = file.trying("write what is carried over in", &folder)?;
        Ok(CarriedWriter { file, disk: Arc::clone(&self.disk), folder })
    }

    /// What the shards of the generation before left, by shard; nothing when there was none. A shard
    /// asks for it that has no snapshot of its own.
    ///
    /// # Errors
    /// It is damaged, not there any more, or cannot be read.
    pub(crate) fn carried(&self) -> Result<Vec<SnapshotReader>, JournalError> {
        let open = |shard: u32| {
            let folder = self.folder().join(carried_folder(shard));
            let stamp = self.generation.identity.stamp(shard);
            SnapshotReader::open(&*self.disk, &folder, &stamp, CARRIED.lsn)
        };
        (0..self.generation.carried).map(open).collect()
    }

    /// All shards know what they knew: from here on a generation that was begun is the one that
    /// counts, and the one before it is deleted.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn complete(&self) -> Result<(), JournalError> {
        if self.is_complete {
            return Ok(());
        }
        self.generation.write(&*self.disk)?;
        remove_others(&*self.disk, &self.root, self.generation.number)
    }

    /// Every shard has two snapshots of its own: what was carried over is not needed any more.
    ///
    /// # Errors
    /// The file system refuses.
    pub(crate) fn remove_carried(&self) -> Result<(), JournalError> {
        let names = self.disk.list(self.folder()).trying("list", self.folder())?;
        let carried = (0..self.generation.carried).map(carried_folder);
        for name in carried.filter(|name| names.contains(name)) {
            let folder = self.folder().join(name);
            self.disk.remove_folder(&folder).trying("remove", &folder)?;
        }
        Ok(())
    }

    /// What a shard left in it. The shard's folder is made if it is not there.
    ///
    /// # Errors
    /// The folder cannot be read, or holds another directory's files.
    pub fn recover(&self, shard: u32) -> Result<Recovery, JournalError> {
        let folder = self.folder().join(shard_folder(shard));
        self.disk.create_folder(&folder).trying("create", &folder)?;
        self.disk.sync_folder(self.folder()).trying("sync", self.folder())?;
        Recovery::new(Arc::clone(&self.disk), folder, self.generation.identity.stamp(shard))
    }

    /// Where its generation is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.generation.folder
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

/// What a shard of another layout left, being written.
pub(crate) struct CarriedWriter {
    file: SnapshotFile,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
}

impl CarriedWriter {
    /// What it says of itself; before everything else.
    pub(crate) fn header(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.file.append_header(bytes).trying("write what is carried over in", &self.folder)
    }

    /// The next bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), JournalError> {
        self.file.append_data(bytes).trying("write what is carried over in", &self.folder)
    }

    /// Makes it durable.
    pub(crate) fn finish(self) -> Result<(), JournalError> {
        let Self { file, disk, folder } = self;
        file.finish(&*disk).trying("write what is carried over in", &folder)?;
        Ok(())
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

fn accept(found: &Generation, key_check: [u8; 8]) -> Result<(), JournalError> {
    if found.identity.key_check == key_check {
        return Ok(());
    }
    let what = "made with another card key".to_owned();
    Err(JournalError::Foreign { file: found.folder.join(IDENTITY_NAME), what })
}

fn new_generation(
    root: &Path,
    number: u64,
    (shards, layout): (u32, &[u8]),
    key_check: [u8; 8],
) -> Result<Generation, JournalError> {
    let mut identity = Identity { directory: [0; 16], key_check, shards };
    fill(&mut identity.directory).trying("draw an id for", root)?;
    let folder = root.join(generation_folder(number));
    Ok(Generation { folder, number, identity, layout: layout.to_vec(), carried: 0 })
}

fn make_first(
    disk: &dyn Disk,
    root: &Path,
    wanted: (u32, &[u8]),
    key_check: [u8; 8],
) -> Result<Generation, JournalError> {
    let generation = new_generation(root, 1, wanted, key_check)?;
    generation.begin(disk, root)?;
    generation.write(disk)?;
    // The directory itself may be as new as what is in it.
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    disk.sync_folder(parent).trying("sync", parent)?;
    Ok(generation)
}

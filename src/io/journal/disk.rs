//! The file system as recovery, snapshots and the preparation of segments use it: a seam, so that
//! tests can put a disk underneath that fails, tears writes and loses what was not made durable.
//!
//! Not here: group commits, which go through the engine (`device`).

use rustix::fs::{OFlags, statvfs};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Data reaches the disk before a write returns; metadata need not. rustix's flag of that name is
/// another one (`O_SYNC`) in its plain Linux form, which would write the inode each time.
const O_DSYNC: i32 = 0o10_000;

/// Room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) free_bytes: u64,
    pub(crate) total_bytes: u64,
}

/// A file system.
pub(crate) trait Disk: Send + Sync {
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// Names of what is in a folder, in no order.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// A new, empty file for aligned writes; one that is there is emptied.
    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>>;
    fn open(&self, file: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, file: &Path) -> io::Result<()>;
    /// A folder and all that is in it.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes what was created, renamed and removed in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    fn room(&self, folder: &Path) -> io::Result<Room>;
}

/// What an open file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    /// Once, from its beginning to its end, in aligned blocks: past the page cache.
    ReadOnce,
    ReadWrite,
}

/// An open file. Positions and lengths of writes are whole blocks.
pub(crate) trait DiskFile: Send {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize>;
    /// Makes contents and length durable.
    fn sync(&self) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
}

/// Reads until `into` is full or the file ends. Tells how many bytes.
pub(super) fn read_full(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of it. A disk that takes less is full, or broken.
pub(super) fn write_full(file: &dyn DiskFile, from: &[u8], offset: u64) -> io::Result<()> {
    loop {
        return match file.write_at(from, offset) {
            Ok(bytes) if bytes == from.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// The kernel's file system.
pub(crate) struct KernelDisk;

impl Disk for KernelDisk {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        // Limits and debts of cards are nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // Names that are not UTF-8 are none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, file: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let (file, _) = open_direct(&mut options, 0, file)?;
        Ok(Box::new(file))
    }

    fn open(&self, file: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if access == Access::ReadOnce {
            let (file, _) = open_direct(OpenOptions::new().read(true), 0, file)?;
            return Ok(Box::new(file));
        }
        let write = access == Access::ReadWrite;
        Ok(Box::new(OpenOptions::new().read(true).write(write).open(file)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, file: &Path) -> io::Result<()> {
        fs::remove_file(file)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir_all(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn room(&self, folder: &Path) -> io::Result<Room> {
        let stat = statvfs(folder)?;
        Ok(Room {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

impl DiskFile for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, offset)
    }

    fn write_at(&self, from: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, from, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// How group commits reach the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitPath {
    /// Past the page cache.
    Direct,
    /// Through it, because the file system refuses direct I/O; slower.
    Buffered,
}

/// Opens a segment so that a write returns when its data are durable.
pub(super) fn open_for_commits(file: &Path) -> io::Result<(File, CommitPath)> {
    open_direct(OpenOptions::new().write(true), O_DSYNC, file)
}

fn open_direct(
    options: &mut OpenOptions,
    flags: i32,
    file: &Path,
) -> io::Result<(File, CommitPath)> {
    // O_DIRECT is bit 14 or 16 of the flags, depending on the processor.
    let direct = OFlags::DIRECT.bits() as i32;
    match options.custom_flags(flags | direct).open(file) {
        Ok(file) => Ok((file, CommitPath::Direct)),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Ok((options.custom_flags(flags).open(file)?, CommitPath::Buffered))
        }
        Err(error) => Err(error),
    }
}

//! The container of a shard's snapshots: chunks with checks, written beside the journal and read
//! back as a stream. What is in them is the caller's.
//!
//! A snapshot is worth nothing until it is renamed to its LSN, which happens after it is durable;
//! only then are the snapshots and segments deleted that are not needed with it.
//!
//! Not here: who writes when (`snapshot_thread`).

use super::aligned::AlignedBuffer;
use super::disk::{Access, Disk, DiskFile, write_full};
use super::error::{JournalError, Trying};
use super::layout::{
    BLOCK_BYTES, CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkHeader, ChunkKind, NotOurs, SNAPSHOT_ENDING,
    SnapshotMark, Stamp, UNFINISHED_ENDING, file_name,
};
use std::io;
use std::mem;
use std::path::{Path, PathBuf};

/// Bytes of the caller's that a chunk takes at most.
pub const CHUNK_PAYLOAD_BYTES: usize = CHUNK_BYTES - CHUNK_HEADER_BYTES;

/// A snapshot being written.
pub(super) struct SnapshotFile {
    file: Box<dyn DiskFile>,
    folder: PathBuf,
    mark: SnapshotMark,
    offset: u64,
    check: u32,
}

impl SnapshotFile {
    pub(super) fn create(
        disk: &dyn Disk,
        folder: &Path,
        stamp: &Stamp,
        mark: SnapshotMark,
    ) -> io::Result<Self> {
        let file = disk.create(&folder.join(unfinished_name(mark.lsn)))?;
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        mark.write(stamp, &mut block);
        write_full(&*file, &block, 0)?;
        let folder = folder.to_owned();
        Ok(Self { file, folder, mark, offset: BLOCK_BYTES as u64, check: 0 })
    }

    /// Writes a chunk whose payload stands in `chunk`, behind room for its header.
    pub(super) fn append(
        &mut self,
        kind: ChunkKind,
        chunk: &mut AlignedBuffer,
        payload_bytes: usize,
    ) -> io::Result<()> {
        let header = ChunkHeader { kind, payload_bytes: payload_bytes as u32 };
        let bytes = header.padded_bytes();
        chunk[CHUNK_HEADER_BYTES + payload_bytes..bytes].fill(0);
        self.check = header.write(self.check, chunk);
        write_full(&*self.file, &chunk[..bytes], self.offset)?;
        self.offset += bytes as u64;
        Ok(())
    }

    /// What the caller says of the whole: before everything else.
    pub(super) fn append_header(&mut self, payload: &[u8]) -> io::Result<()> {
        self.append_copied(ChunkKind::Header, payload)
    }

    /// The next part, of any length.
    pub(super) fn append_data(&mut self, payload: &[u8]) -> io::Result<()> {
        let mut parts = payload.chunks(CHUNK_PAYLOAD_BYTES);
        parts.try_for_each(|part| self.append_copied(ChunkKind::Data, part))
    }

    fn append_copied(&mut self, kind: ChunkKind, payload: &[u8]) -> io::Result<()> {
        let bytes = (CHUNK_HEADER_BYTES + payload.len()).next_multiple_of(BLOCK_BYTES);
        let mut chunk = AlignedBuffer::new(bytes);
        chunk[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + payload.len()].copy_from_slice(payload);
        self.append(kind, &mut chunk, payload.len())
    }

    /// Completes it: from here on a restart uses it.
    pub(super) fn finish(mut self, disk: &dyn Disk) -> io::Result<SnapshotMark> {
        let mut end = AlignedBuffer::new(BLOCK_BYTES);
        self.append(ChunkKind::End, &mut end, 0)?;
        self.file.sync()?;
        let name = file_name(self.mark.lsn, SNAPSHOT_ENDING);
        disk.rename(&self.folder.join(unfinished_name(self.mark.lsn)), &self.folder.join(name))?;
        disk.sync_folder(&self.folder)?;
        Ok(self.mark)
    }

    /// Gives it up.
    pub(super) fn abandon(self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&self.folder.join(unfinished_name(self.mark.lsn)))
    }
}

fn unfinished_name(lsn: u64) -> String {
    file_name(lsn, &format!("{SNAPSHOT_ENDING}{UNFINISHED_ENDING}"))
}

/// A snapshot being read, chunk by chunk. A damaged one is an error at the damaged chunk: what came
/// before it must be thrown away.
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    mark: SnapshotMark,
    header: Vec<u8>,
    chunk: AlignedBuffer,
    offset: u64,
    check: u32,
    complete: bool,
}

impl SnapshotReader {
    pub(super) fn open(
        disk: &dyn Disk,
        folder: &Path,
        stamp: &Stamp,
        lsn: u64,
    ) -> Result<Self, JournalError> {
        let path = folder.join(file_name(lsn, SNAPSHOT_ENDING));
        let file = disk.open(&path, Access::ReadOnce).trying("open", &path)?;
        // What was read must be durable: the page cache may hold more than the disk.
        file.sync().trying("sync", &path)?;
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        read_blocks(&*file, &mut block, 0).trying("read", &path)?;
        let mark = match SnapshotMark::read(stamp, &block) {
            Ok(mark) => mark,
            Err(NotOurs::Foreign(what)) => return Err(JournalError::Foreign { file: path, what }),
            Err(NotOurs::Invalid) => return Err(damaged(&path, 0, "its header is not valid")),
        };
        if mark.lsn != lsn {
            return Err(damaged(&path, 0, "its header names another LSN than its name"));
        }
        let mut reader = Self {
            file,
            path,
            mark,
            header: Vec::new(),
            chunk: AlignedBuffer::new(CHUNK_BYTES),
            offset: BLOCK_BYTES as u64,
            check: 0,
            complete: false,
        };
        match reader.read_chunk()? {
            (ChunkKind::Header, bytes) => reader.header = reader.payload(bytes).to_vec(),
            (ChunkKind::Data | ChunkKind::End, _) => return Err(reader.wrong_order()),
        }
        Ok(reader)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Up to where it reaches.
    #[must_use]
    pub fn mark(&self) -> SnapshotMark {
        self.mark
    }

    /// What its writer said of the whole.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.offset
    }

    /// The next part; `None` after the last.
    ///
    /// # Errors
    /// It is damaged or incomplete, or cannot be read.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, JournalError> {
        if self.complete {
            return Ok(None);
        }
        match self.read_chunk()? {
            (ChunkKind::Data, bytes) => Ok(Some(self.payload(bytes))),
            (ChunkKind::End, _) => {
                self.complete = true;
                Ok(None)
            }
            (ChunkKind::Header, _) => Err(self.wrong_order()),
        }
    }

    /// As [`SnapshotReader::next_chunk`], for another thread than the one that reads: the chunk is
    /// given away, and `spare` is where the next one goes.
    pub(crate) fn take_chunk(
        &mut self,
        spare: AlignedBuffer,
    ) -> Result<Option<Chunk>, JournalError> {
        assert_eq!(spare.len(), self.chunk.len(), "Invariant: all chunks have the same room");
        let Some(bytes) = self.next_chunk()?.map(<[u8]>::len) else { return Ok(None) };
        Ok(Some(Chunk { buffer: mem::replace(&mut self.chunk, spare), bytes }))
    }

    fn payload(&self, bytes: usize) -> &[u8] {
        &self.chunk[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + bytes]
    }

    fn wrong_order(&self) -> JournalError {
        damaged(&self.path, self.offset, "a chunk stands where another must")
    }

    fn read_chunk(&mut self) -> Result<(ChunkKind, usize), JournalError> {
        let read = read_blocks(&*self.file, &mut self.chunk, self.offset);
        let read = read.trying("read", &self.path)?;
        let found = self.chunk.get(..read).and_then(|chunk| {
            let header = ChunkHeader::read(self.check, chunk.get(..CHUNK_HEADER_BYTES)?)?;
            Some((header, header.check_of(chunk)?))
        });
        let Some((header, check)) = found else {
            return Err(damaged(&self.path, self.offset, "a chunk is not as it was written"));
        };
        self.check = check;
        self.offset += header.padded_bytes() as u64;
        Ok((header.kind, header.payload_bytes as usize))
    }
}

/// A chunk that was given away.
pub(crate) struct Chunk {
    buffer: AlignedBuffer,
    bytes: usize,
}

impl Chunk {
    /// Room for the next one to be read.
    pub(crate) fn spare() -> AlignedBuffer {
        AlignedBuffer::new(CHUNK_BYTES)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.buffer[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + self.bytes]
    }

    pub(crate) fn into_spare(self) -> AlignedBuffer {
        self.buffer
    }
}

/// Reads until `into` is full or the file ends; past the page cache nothing can be read behind an
/// end that is no block's.
fn read_blocks(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() && done.is_multiple_of(BLOCK_BYTES) {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(bytes) => done += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn damaged(path: &Path, offset: u64, what: &str) -> JournalError {
    JournalError::Damaged { file: path.to_owned(), offset, what: what.to_owned() }
}

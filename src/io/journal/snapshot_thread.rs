//! Snapshots while the switch runs: a shard fills buffers between its events, one thread for all
//! shards writes them out.
//!
//! The number of buffers is fixed. A shard that finds none free skips its turn and goes on
//! deciding. A disk without room gives the snapshot up, the ones before it stay; any other error
//! ends the process.
//!
//! Not here: what is in a snapshot, and when one begins.

use super::aligned::AlignedBuffer;
use super::directory::DataDirectory;
use super::disk::Disk;
use super::error::{JournalError, Trying, fail_stop};
use super::layout::{CHUNK_BYTES, CHUNK_HEADER_BYTES, ChunkKind, SnapshotMark, Stamp};
use super::recovery::Resume;
use super::retention::retain;
use super::snapshot::{CHUNK_PAYLOAD_BYTES, SnapshotFile};
use super::stock::is_full;
use crate::io::wake::Wake;
use crossbeam_queue::ArrayQueue;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{Builder, JoinHandle};

/// Buffers of each shard: one is filled while the others are written.
const BUFFERS_PER_SHARD: usize = 3;
/// A shard's jobs at most: its buffers, and its last word.
const JOBS_PER_SHARD: usize = BUFFERS_PER_SHARD + 1;

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotEnd {
    /// A restart uses it.
    Complete,
    /// The disk had no room for it.
    NoRoom,
}

const NO_NEWS: u8 = 0;
const COMPLETE: u8 = 1;
const NO_ROOM: u8 = 2;

/// What a shard hands over.
struct Job {
    shard: usize,
    what: What,
}

enum What {
    Begin(SnapshotMark, AlignedBuffer, usize),
    Chunk(AlignedBuffer, usize),
    Finish,
    Abandon,
}

struct Shared {
    jobs: ArrayQueue<Job>,
    free: Vec<ArrayQueue<AlignedBuffer>>,
    ends: Vec<AtomicU8>,
    wake: Arc<Wake>,
    stop: AtomicBool,
}

/// The thread that writes snapshots. Dropping it ends it; a snapshot that is not finished is given
/// up then.
pub struct SnapshotThread {
    shared: Arc<Shared>,
    /// What each shard was recovered from.
    complete_lsns: Vec<Option<u64>>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    /// Starts it for all shards, by shard.
    ///
    /// # Errors
    /// The kernel gives no thread or file descriptor.
    pub fn start(directory: &DataDirectory, resumes: &[Resume]) -> Result<Self, JournalError> {
        Self::start_on(Arc::clone(directory.disk()), resumes)
    }

    pub(super) fn start_on(disk: Arc<dyn Disk>, resumes: &[Resume]) -> Result<Self, JournalError> {
        let shards = resumes.len();
        let buffers = || {
            let free = ArrayQueue::new(BUFFERS_PER_SHARD);
            (0..BUFFERS_PER_SHARD).for_each(|_| drop(free.push(AlignedBuffer::new(CHUNK_BYTES))));
            free
        };
        let root = resumes.first().map_or(Path::new("."), |resume| resume.folder.as_path());
        let shared = Arc::new(Shared {
            jobs: ArrayQueue::new((shards * JOBS_PER_SHARD).max(1)),
            free: (0..shards).map(|_| buffers()).collect(),
            ends: (0..shards).map(|_| AtomicU8::new(NO_NEWS)).collect(),
            wake: Wake::new().trying("wait for", root)?,
            stop: AtomicBool::new(false),
        });
        let lines = resumes.iter().map(|resume| Line {
            folder: resume.folder.clone(),
            stamp: resume.start.stamp,
            newest: resume.snapshot,
            file: None,
        });
        let scribe = Scribe { shared: Arc::clone(&shared), disk, lines: lines.collect() };
        let thread = Builder::new().name("journal-snapshots".into()).spawn(move || scribe.run());
        let thread = Some(thread.trying("start the thread that writes snapshots in", root)?);
        let complete_lsns = resumes.iter().map(|resume| resume.snapshot.map(|mark| mark.lsn));
        Ok(Self { shared, complete_lsns: complete_lsns.collect(), thread })
    }

    /// A shard's end, by its place in what was given to [`SnapshotThread::start`].
    #[must_use]
    pub fn writer(&self, shard: usize) -> SnapshotWriter {
        assert!(shard < self.shared.free.len(), "Invariant: a shard of this thread");
        let shared = Arc::clone(&self.shared);
        let complete_lsn = self.complete_lsns[shard];
        SnapshotWriter { shared, shard, mark: None, complete_lsn, filling: None, filled: 0 }
    }
}

impl Drop for SnapshotThread {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.signal();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// A shard's end: one snapshot at a time.
pub struct SnapshotWriter {
    shared: Arc<Shared>,
    shard: usize,
    /// Of the snapshot that is written.
    mark: Option<SnapshotMark>,
    /// LSN of the last complete one.
    complete_lsn: Option<u64>,
    filling: Option<AlignedBuffer>,
    filled: usize,
}

impl SnapshotWriter {
    /// Begins one; `false` when the last is not over yet, no buffer is free, or nothing came after
    /// the last complete one: it would take that one's place, and two are kept. `header` is what the
    /// caller wants to know before the first chunk when it is read back.
    #[must_use]
    pub fn begin(&mut self, mark: SnapshotMark, header: &[u8]) -> bool {
        assert!(header.len() <= CHUNK_PAYLOAD_BYTES, "Invariant: a header fits a chunk");
        if self.mark.is_some() || self.complete_lsn.is_some_and(|lsn| mark.lsn <= lsn) {
            return false;
        }
        let Some(mut buffer) = self.shared.free[self.shard].pop() else { return false };
        buffer[CHUNK_HEADER_BYTES..CHUNK_HEADER_BYTES + header.len()].copy_from_slice(header);
        self.shared.ends[self.shard].store(NO_NEWS, Ordering::Relaxed);
        self.mark = Some(mark);
        self.hand(What::Begin(mark, buffer, header.len()));
        true
    }

    /// How many bytes [`SnapshotWriter::push`] takes now; 0 when no buffer is free.
    #[must_use]
    pub fn room(&mut self) -> usize {
        if self.filling.is_none() {
            self.filling = self.shared.free[self.shard].pop();
        }
        if self.filling.is_some() { CHUNK_PAYLOAD_BYTES - self.filled } else { 0 }
    }

    /// Adds bytes, at most [`SnapshotWriter::room`].
    pub fn push(&mut self, bytes: &[u8]) {
        let from = CHUNK_HEADER_BYTES + self.filled;
        let place = self.filling.as_mut().and_then(|it| it.get_mut(from..from + bytes.len()));
        place.expect("Invariant: the caller asked for room").copy_from_slice(bytes);
        self.filled += bytes.len();
        if self.filled == CHUNK_PAYLOAD_BYTES {
            self.hand_chunk();
        }
    }

    /// All is pushed: completes it. `false` while the journal is not durable up to its LSN; a
    /// snapshot must never know more than the journal.
    #[must_use]
    pub fn finish(&mut self, durable_lsn: u64) -> bool {
        match self.mark {
            Some(mark) if mark.lsn <= durable_lsn => {
                if self.filled > 0 {
                    self.hand_chunk();
                }
                self.hand(What::Finish);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Gives it up.
    pub fn abandon(&mut self) {
        self.filled = 0;
        self.hand(What::Abandon);
        self.mark = None;
    }

    /// What became of the snapshot that was begun last; told once. Until then none can begin. Told
    /// [`SnapshotEnd::NoRoom`] before the end, the caller need not go on.
    pub fn take_end(&mut self) -> Option<SnapshotEnd> {
        let end = match self.shared.ends[self.shard].swap(NO_NEWS, Ordering::Acquire) {
            COMPLETE => {
                self.complete_lsn = self.mark.map(|mark| mark.lsn);
                SnapshotEnd::Complete
            }
            NO_ROOM => SnapshotEnd::NoRoom,
            _ => return None,
        };
        (self.mark, self.filled) = (None, 0);
        Some(end)
    }

    /// Of the snapshot that is written now.
    #[must_use]
    pub fn writing(&self) -> Option<SnapshotMark> {
        self.mark
    }

    fn hand_chunk(&mut self) {
        if let Some(buffer) = self.filling.take() {
            let bytes = std::mem::take(&mut self.filled);
            self.hand(What::Chunk(buffer, bytes));
        }
    }

    fn hand(&self, what: What) {
        let handed = self.shared.jobs.push(Job { shard: self.shard, what });
        assert!(handed.is_ok(), "Invariant: there are no more jobs than buffers and last words");
        self.shared.wake.wake();
    }
}

/// A shard's snapshots on the thread's side.
struct Line {
    folder: PathBuf,
    stamp: Stamp,
    /// The newest good one.
    newest: Option<SnapshotMark>,
    /// The one being written, unless it was given up.
    file: Option<SnapshotFile>,
}

struct Scribe {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    lines: Vec<Line>,
}

impl Scribe {
    fn run(mut self) {
        loop {
            while let Some(job) = self.shared.jobs.pop() {
                self.work(job);
            }
            if self.shared.stop.load(Ordering::Acquire) {
                break;
            }
            self.shared.wake.announce_sleep();
            if self.shared.jobs.is_empty() && !self.shared.stop.load(Ordering::Acquire) {
                self.shared.wake.sleep(None);
            }
            self.shared.wake.on_wake();
        }
        for line in &mut self.lines {
            if let Some(file) = line.file.take() {
                // A restart would remove it too.
                let _ = file.abandon(&*self.disk);
            }
        }
    }

    fn work(&mut self, Job { shard, what }: Job) {
        let disk = &*self.disk;
        let line = &mut self.lines[shard];
        let (worked, buffer) = match what {
            What::Begin(mark, buffer, bytes) => {
                let (result, buffer) = line.begin(disk, mark, buffer, bytes);
                (result.map(|()| None), Some(buffer))
            }
            What::Chunk(mut buffer, bytes) => {
                let result = match &mut line.file {
                    Some(file) => file.append(ChunkKind::Data, &mut buffer, bytes),
                    None => Ok(()),
                };
                (result.map(|()| None), Some(buffer))
            }
            What::Finish => (line.finish(disk), None),
            What::Abandon => (line.abandon(disk).map(|()| None), None),
        };
        if let Some(buffer) = buffer {
            let returned = self.shared.free[shard].push(buffer).is_ok();
            assert!(returned, "Invariant: a buffer has its place");
        }
        match worked {
            Ok(Some(end)) => self.shared.ends[shard].store(end, Ordering::Release),
            Ok(None) => {}
            Err(error) if is_full(&error) => {
                // What was written of it is room that others need; failing here changes nothing.
                let _ = self.lines[shard].abandon(disk);
                self.shared.ends[shard].store(NO_ROOM, Ordering::Release);
            }
            Err(error) => {
                let folder = self.lines[shard].folder.display();
                fail_stop(&format!("cannot write a snapshot in {folder}: {error}"));
            }
        }
    }
}

impl Line {
    fn begin(
        &mut self,
        disk: &dyn Disk,
        mark: SnapshotMark,
        mut buffer: AlignedBuffer,
        bytes: usize,
    ) -> (io::Result<()>, AlignedBuffer) {
        let created = SnapshotFile::create(disk, &self.folder, &self.stamp, mark);
        let result = created.and_then(|mut file| {
            let appended = file.append(ChunkKind::Header, &mut buffer, bytes);
            self.file = Some(file);
            appended
        });
        (result, buffer)
    }

    fn finish(&mut self, disk: &dyn Disk) -> io::Result<Option<u8>> {
        // None: given up, which was told.
        let Some(file) = self.file.take() else { return Ok(None) };
        let before = self.newest;
        let newest = file.finish(disk)?;
        self.newest = Some(newest);
        retain(disk, &self.folder, &self.stamp, newest, before)?;
        Ok(Some(COMPLETE))
    }

    fn abandon(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.file.take().map_or(Ok(()), |file| file.abandon(disk))
    }
}

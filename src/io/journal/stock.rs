//! Segments prepared ahead, and the room of the file system: one thread for all shards.
//!
//! A segment is written full of zeros, so that a commit changes data only, never the file system's
//! own tables: on a fresh file a commit takes up to ten times as long and can stall.
//!
//! Not here: what goes into segments.

use super::aligned::AlignedBuffer;
use super::disk::{CommitPath, Disk, KernelDisk, Room, open_for_commits, write_full};
use super::error::{JournalError, Trying, fail_stop};
use super::layout::UNFINISHED_ENDING;
use super::recovery::Resume;
use super::survey::segment_path;
use crate::config::JournalConfig;
use crate::io::wake::Wake;
use crossbeam_queue::ArrayQueue;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::{Builder, JoinHandle};

/// Segments that lie ready for each shard.
pub const SEGMENTS_AHEAD: usize = 2;
/// Zeros written at once: small enough not to keep commits waiting for long.
const ZERO_BYTES: usize = 256 << 10;
/// How often the file system's room is looked at.
const LOOK_NS: u64 = 1_000_000_000;

/// What the disk still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Enough.
    Ok,
    /// Below `alarm_free_percent`: somebody should look.
    Low,
    /// Below `refuse_free_percent`, or no segment lies ready: nothing new may be accepted.
    Refuse,
}

impl Space {
    fn from_u8(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Low,
            _ => Self::Refuse,
        }
    }

    /// By the file system's room alone.
    pub(super) fn of(room: Room, alarm_percent: u64, refuse_percent: u64) -> Self {
        let parts = |percent: u64| room.free_bytes / percent.max(1) < room.total_bytes / 100;
        if refuse_percent > 0 && parts(refuse_percent) {
            Self::Refuse
        } else if alarm_percent > 0 && parts(alarm_percent) {
            Self::Low
        } else {
            Self::Ok
        }
    }
}

/// A segment that lies ready.
pub(super) struct Prepared {
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) file: File,
}

/// What shards and the thread share.
struct Shared {
    ready: Vec<ArrayQueue<Prepared>>,
    space: AtomicU8,
    buffered: AtomicBool,
    wake: Arc<Wake>,
    stop: AtomicBool,
}

/// One shard's end.
#[derive(Clone)]
pub struct StockPort {
    shared: Arc<Shared>,
    shard: usize,
}

impl StockPort {
    /// How many segments lie ready.
    pub(super) fn ready(&self) -> usize {
        self.queue().len()
    }

    pub(super) fn take(&self) -> Option<Prepared> {
        let prepared = self.queue().pop();
        self.shared.wake.signal();
        prepared
    }

    /// What the file system still takes.
    pub(super) fn space(&self) -> Space {
        Space::from_u8(self.shared.space.load(Ordering::Relaxed))
    }

    fn queue(&self) -> &ArrayQueue<Prepared> {
        &self.shared.ready[self.shard]
    }
}

/// Tells any thread what the journal's file system still takes.
#[derive(Clone)]
pub struct SpaceWatch(Arc<Shared>);

impl SpaceWatch {
    /// What it still takes, as of the last look.
    #[must_use]
    pub fn space(&self) -> Space {
        Space::from_u8(self.0.space.load(Ordering::Relaxed))
    }
}

/// The thread that prepares segments. Dropping it ends it.
pub struct SegmentStock {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A shard's folder, and the number of the segment that is prepared next.
struct Line {
    folder: PathBuf,
    next: u64,
}

/// How segments are made.
#[derive(Clone, Copy)]
struct Recipe {
    bytes: u64,
    alarm_percent: u64,
    refuse_percent: u64,
}

impl SegmentStock {
    /// Prepares the first segments of every shard, by shard, and then keeps them coming.
    ///
    /// # Errors
    /// The file system refuses, or has no room for the first ones.
    pub fn start(config: &JournalConfig, resumes: &[Resume]) -> Result<Self, JournalError> {
        let recipe = Recipe {
            bytes: config.segment_bytes,
            alarm_percent: config.alarm_free_percent,
            refuse_percent: config.refuse_free_percent,
        };
        let root = resumes.first().map_or(Path::new("."), |resume| resume.folder.as_path());
        let shared = Arc::new(Shared {
            ready: resumes.iter().map(|_| ArrayQueue::new(SEGMENTS_AHEAD)).collect(),
            space: AtomicU8::new(0),
            buffered: AtomicBool::new(false),
            wake: Wake::new().trying("wait for", root)?,
            stop: AtomicBool::new(false),
        });
        let lines: Vec<Line> = resumes
            .iter()
            .map(|resume| Line { folder: resume.folder.clone(), next: resume.next_segment })
            .collect();
        let mut stocker = Stocker {
            shared: Arc::clone(&shared),
            lines,
            recipe,
            disk: KernelDisk,
            zeros: AlignedBuffer::new(ZERO_BYTES),
        };
        // The first ones before anything is accepted.
        stocker.fill_up()?;
        let thread = Builder::new().name("journal-segments".into()).spawn(move || stocker.run());
        let thread = Some(thread.trying("start the thread that prepares segments in", root)?);
        Ok(Self { shared, thread })
    }

    /// A shard's end, by its place in what was given to [`SegmentStock::start`].
    #[must_use]
    pub fn port(&self, shard: usize) -> StockPort {
        assert!(shard < self.shared.ready.len(), "Invariant: a shard of this stock");
        StockPort { shared: Arc::clone(&self.shared), shard }
    }

    /// How commits reach the disk.
    #[must_use]
    pub fn commit_path(&self) -> CommitPath {
        match self.shared.buffered.load(Ordering::Relaxed) {
            true => CommitPath::Buffered,
            false => CommitPath::Direct,
        }
    }

    /// What the file system still takes.
    #[must_use]
    pub fn space(&self) -> Space {
        Space::from_u8(self.shared.space.load(Ordering::Relaxed))
    }

    /// The same for another thread, also beyond this value's life.
    #[must_use]
    pub fn space_watch(&self) -> SpaceWatch {
        SpaceWatch(Arc::clone(&self.shared))
    }
}

impl Drop for SegmentStock {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.signal();
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

struct Stocker {
    shared: Arc<Shared>,
    lines: Vec<Line>,
    recipe: Recipe,
    disk: KernelDisk,
    zeros: AlignedBuffer,
}

impl Stocker {
    fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            match self.fill_up() {
                Ok(()) => {}
                Err(JournalError::Io { source, .. }) if is_full(&source) => {
                    self.shared.space.store(Space::Refuse as u8, Ordering::Relaxed);
                }
                Err(error) => fail_stop(&error.to_string()),
            }
            self.shared.wake.sleep(Some(LOOK_NS));
        }
    }

    /// Prepares what is missing, a segment for each shard in turn, while there is room.
    fn fill_up(&mut self) -> Result<(), JournalError> {
        loop {
            let mut prepared = false;
            for shard in 0..self.lines.len() {
                if self.look_at_room()? == Space::Refuse || self.shared.stop.load(Ordering::Acquire)
                {
                    return Ok(());
                }
                if self.shared.ready[shard].len() < SEGMENTS_AHEAD {
                    self.prepare_for(shard)?;
                    prepared = true;
                }
            }
            if !prepared {
                return Ok(());
            }
        }
    }

    fn look_at_room(&self) -> Result<Space, JournalError> {
        let Some(line) = self.lines.first() else { return Ok(Space::Ok) };
        let room = self.disk.room(&line.folder).trying("ask the room of", &line.folder)?;
        let space = Space::of(room, self.recipe.alarm_percent, self.recipe.refuse_percent);
        self.shared.space.store(space as u8, Ordering::Relaxed);
        Ok(space)
    }

    fn prepare_for(&mut self, shard: usize) -> Result<(), JournalError> {
        let Line { folder, next } = &mut self.lines[shard];
        let path = segment_path(folder, *next);
        prepare(&self.disk, folder, *next, self.recipe.bytes, &self.zeros)
            .trying("prepare", &path)?;
        let (file, how) = open_for_commits(&path).trying("open", &path)?;
        self.shared.buffered.store(how == CommitPath::Buffered, Ordering::Relaxed);
        let ready = Prepared { number: *next, bytes: self.recipe.bytes, file };
        *next += 1;
        let pushed = self.shared.ready[shard].push(ready).is_ok();
        assert!(pushed, "Invariant: only this thread fills the queue");
        Ok(())
    }
}

/// Whether the disk has no room: that is refused work, not a broken disk.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Makes a segment of zeros, durable under its name.
pub(super) fn prepare(
    disk: &dyn Disk,
    folder: &Path,
    number: u64,
    bytes: u64,
    zeros: &AlignedBuffer,
) -> io::Result<()> {
    let path = segment_path(folder, number);
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED_ENDING);
    let unfinished = PathBuf::from(unfinished);
    let written = disk.create(&unfinished).and_then(|file| {
        let mut offset = 0;
        while offset < bytes {
            let part = (bytes - offset).min(zeros.len() as u64);
            write_full(&*file, &zeros[..part as usize], offset)?;
            offset += part;
        }
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_folder(folder)
    });
    if written.as_ref().is_err_and(is_full) {
        // What was written of it is room that somebody else may need more.
        let _ = disk.remove(&unfinished);
    }
    written
}

/// Opens the segment in use to go on in it.
pub(super) fn open_current(folder: &Path, number: u64) -> Result<File, JournalError> {
    let path = segment_path(folder, number);
    Ok(open_for_commits(&path).trying("open", &path)?.0)
}

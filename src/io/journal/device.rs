//! How group commits reach the disk: one task per shard that writes what it is handed, one after
//! the other, through whichever engine runs the thread.
//!
//! A write that fails, or moves fewer bytes than it was given, ends the process: nobody knows what
//! the disk holds then. Not here: what is written, and when (`shard_journal`).

use super::aligned::AlignedBuffer;
use super::error::fail_stop;
use super::groups::Commit;
use super::survey::segment_path;
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio_uring::buf::BoundedBuf;

/// A file that commits go to.
pub(super) trait CommitDevice {
    /// From the next write on, another file.
    fn switch(&mut self, file: File);
    /// Writes the first `bytes` bytes; they are durable when it returns.
    async fn write(
        &mut self,
        buffer: AlignedBuffer,
        bytes: usize,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer);
}

/// io_uring.
#[derive(Default)]
pub(super) struct UringDevice(Option<tokio_uring::fs::File>);

impl CommitDevice for UringDevice {
    fn switch(&mut self, file: File) {
        self.0 = Some(tokio_uring::fs::File::from_std(file));
    }

    async fn write(
        &mut self,
        buffer: AlignedBuffer,
        bytes: usize,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let Some(file) = &self.0 else { return (Err(io::ErrorKind::NotFound.into()), buffer) };
        let (vector, start) = buffer.into_parts();
        let part = vector.slice(start..start + bytes);
        let (result, part) = file.write_at(part, offset).submit().await;
        (result, AlignedBuffer::from_parts(part.into_inner(), start))
    }
}

/// A thread of the runtime's pool, where io_uring is refused.
#[derive(Default)]
pub(super) struct PoolDevice(Option<Arc<File>>);

impl CommitDevice for PoolDevice {
    fn switch(&mut self, file: File) {
        self.0 = Some(Arc::new(file));
    }

    async fn write(
        &mut self,
        buffer: AlignedBuffer,
        bytes: usize,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let Some(file) = self.0.clone() else {
            return (Err(io::ErrorKind::NotFound.into()), buffer);
        };
        let written = tokio::task::spawn_blocking(move || {
            let result = loop {
                match file.write_at(&buffer[..bytes], offset) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            (result, buffer)
        });
        match written.await {
            Ok(done) => done,
            Err(_) => fail_stop("the thread that writes the journal panicked"),
        }
    }
}

/// What the task is handed.
pub(super) struct Job {
    pub(super) commit: Commit,
    /// The file of the segment that begins.
    pub(super) file: Option<File>,
}

/// What it hands back.
pub(super) struct Done {
    pub(super) group: AlignedBuffer,
    pub(super) header: Option<AlignedBuffer>,
}

/// Between a shard's journal and its task; one thread.
#[derive(Default)]
pub(super) struct Slot {
    job: RefCell<Option<Job>>,
    done: RefCell<Option<Done>>,
    task: Cell<Option<Waker>>,
    driver: Cell<Option<Waker>>,
    closed: Cell<bool>,
}

impl Slot {
    pub(super) fn hand(&self, job: Job) {
        *self.job.borrow_mut() = Some(job);
        wake(&self.task);
    }

    pub(super) fn take_done(&self) -> Option<Done> {
        self.done.borrow_mut().take()
    }

    /// Ready when something is to be taken.
    pub(super) fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        if self.done.borrow().is_some() {
            return Poll::Ready(());
        }
        self.driver.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// The task ends when it has nothing to do.
    pub(super) fn close(&self) {
        self.closed.set(true);
        wake(&self.task);
    }

    fn poll_job(&self, context: &Context<'_>) -> Poll<Option<Job>> {
        if let Some(job) = self.job.borrow_mut().take() {
            return Poll::Ready(Some(job));
        }
        if self.closed.get() {
            return Poll::Ready(None);
        }
        self.task.set(Some(context.waker().clone()));
        Poll::Pending
    }

    fn complete(&self, done: Done) {
        *self.done.borrow_mut() = Some(done);
        wake(&self.driver);
    }
}

fn wake(waker: &Cell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The task: writes what it is handed until the slot is closed.
pub(super) async fn write_commits<D: CommitDevice>(
    slot: std::rc::Rc<Slot>,
    mut device: D,
    folder: PathBuf,
) {
    while let Some(Job { commit, file }) = poll_fn(|context| slot.poll_job(context)).await {
        let Commit { header, group, bytes, segment, offset } = commit;
        if let Some(file) = file {
            device.switch(file);
        }
        let header = match header {
            // The group is durable only in a segment whose header is.
            Some(block) => {
                let length = block.len();
                let (result, block) = device.write(block, length, 0).await;
                require(result, length, (&folder, segment, 0));
                Some(block)
            }
            None => None,
        };
        let (result, group) = device.write(group, bytes, offset).await;
        require(result, bytes, (&folder, segment, offset));
        slot.complete(Done { group, header });
    }
}

fn require(
    result: io::Result<usize>,
    bytes: usize,
    (folder, segment, offset): (&std::path::Path, u64, u64),
) {
    let said = match result {
        Ok(written) if written == bytes => return,
        Ok(written) => format!("only {written} of {bytes} bytes were written"),
        Err(error) => error.to_string(),
    };
    let path = segment_path(folder, segment);
    fail_stop(&format!("journal {}, offset {offset}: {said}", path.display()));
}

//! tokio-uring 0.5.
//!
//! Of the ring's flags, COOP_TASKRUN and SINGLE_ISSUER are used where the kernel knows them.
//! DEFER_TASKRUN would hang: the runtime waits in epoll on the ring's descriptor and never enters
//! the ring to run deferred work.

use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use tokio_uring::buf::BoundedBuf;

/// Submissions held before the kernel is entered: more only cost one more system call.
const SUBMISSIONS: u32 = 1_024;
/// Completions held: a read and a write of most of a shard's connections. More are kept by the
/// kernel in a list, at a cost.
const COMPLETIONS: u32 = 8_192;

/// Ring set-ups in order of preference: kernels before 6.0 refuse the flags of the first.
const FLAG_SETS: [Flags; 2] = [Flags::OneTask, Flags::Plain];

#[derive(Clone, Copy)]
enum Flags {
    OneTask,
    Plain,
}

fn ring(flags: Flags) -> io_uring::Builder {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(COMPLETIONS);
    match flags {
        Flags::OneTask => {
            ring.setup_coop_taskrun().setup_single_issuer();
        }
        Flags::Plain => {}
    }
    ring
}

/// The first set of flags that the kernel takes.
fn granted() -> io::Result<Flags> {
    let mut refused = io::Error::from(io::ErrorKind::Unsupported);
    for flags in FLAG_SETS {
        match ring(flags).build(SUBMISSIONS) {
            // Without it (before Linux 5.7) every waiting read would hold a kernel thread.
            Ok(ring) if !ring.params().is_feature_fast_poll() => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            Ok(_) => return Ok(flags),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

pub(super) fn probe() -> io::Result<()> {
    granted().map(|_| ())
}

pub(super) fn run_thread<F: Future>(future: F) -> io::Result<F::Output> {
    let mut builder = tokio_uring::builder();
    builder.entries(SUBMISSIONS).uring_builder(&ring(granted()?));
    Ok(tokio_uring::Runtime::new(&builder)?.block_on(future))
}

/// One no-op on the ring: the runtime parks, which is when it submits, and wakes at once.
pub(super) async fn turn() {
    let done = tokio_uring::no_op().await;
    assert!(done.is_ok(), "Invariant: the kernel completes a no-op");
}

pub(crate) struct Stream(tokio_uring::net::TcpStream);

impl Stream {
    pub(super) fn from_std(stream: TcpStream) -> io::Result<Self> {
        // With O_NONBLOCK the ring would answer EAGAIN instead of waiting.
        stream.set_nonblocking(false)?;
        Ok(Self(tokio_uring::net::TcpStream::from_std(stream)))
    }

    pub(super) async fn read(&self, buffer: BytesMut, at: usize) -> (io::Result<usize>, BytesMut) {
        let (result, part) = self.0.read(buffer.slice(at..)).await;
        (result, part.into_inner())
    }

    pub(super) async fn write(
        &self,
        buffer: BytesMut,
        part: Range<usize>,
    ) -> (io::Result<usize>, BytesMut) {
        let (result, part) = self.0.write(buffer.slice(part)).submit().await;
        (result, part.into_inner())
    }

    pub(super) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.shutdown(how)
    }
}

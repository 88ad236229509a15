//! The two I/O engines behind one small seam: a stream that reads and writes owned buffers, a
//! thread that runs one future to its end, and "let the kernel have its turn".
//!
//! tokio-uring is the engine; plain tokio (epoll) stands in where io_uring is refused, as Docker's
//! default seccomp profile does. Both run `spawn_local` tasks on one thread and both can watch
//! file descriptors with `AsyncFd`, so everything else of `io` is written once.
//!
//! A read in flight is never cancelled: with completion I/O its bytes would be lost. End it by
//! `Stream::shutdown` and await it.

mod plain;
mod uring;

use crate::config::EngineChoice;
use bytes::BytesMut;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::thread::Builder;

/// Which engine is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// io_uring through tokio-uring.
    TokioUring,
    /// epoll through tokio.
    Tokio,
}

/// Which engine is used, and why.
#[derive(Debug)]
pub struct EngineReport {
    /// The engine.
    pub engine: Engine,
    /// Why it is that one.
    pub reason: EngineReason,
}

/// Why an engine is used.
#[derive(Debug)]
pub enum EngineReason {
    /// The configuration names it.
    Configured,
    /// The kernel grants io_uring.
    Available,
    /// The kernel refuses io_uring with this error.
    Refused(io::Error),
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.engine {
            Engine::TokioUring => "tokio-uring (io_uring)",
            Engine::Tokio => "tokio (epoll)",
        })?;
        match &self.reason {
            EngineReason::Configured => f.write_str(", as configured"),
            EngineReason::Available => Ok(()),
            EngineReason::Refused(error) => write!(f, ", because io_uring is refused: {error}"),
        }
    }
}

/// Decides which engine to use; `probe` tries to set up io_uring.
///
/// # Errors
/// io_uring is demanded and refused.
pub fn choose(
    choice: EngineChoice,
    probe: impl FnOnce() -> io::Result<()>,
) -> io::Result<EngineReport> {
    match choice {
        EngineChoice::Tokio => {
            Ok(EngineReport { engine: Engine::Tokio, reason: EngineReason::Configured })
        }
        EngineChoice::TokioUring => probe().map(|()| EngineReport {
            engine: Engine::TokioUring,
            reason: EngineReason::Configured,
        }),
        EngineChoice::Auto => Ok(match probe() {
            Ok(()) => EngineReport { engine: Engine::TokioUring, reason: EngineReason::Available },
            Err(error) => {
                EngineReport { engine: Engine::Tokio, reason: EngineReason::Refused(error) }
            }
        }),
    }
}

/// Tries to set up io_uring as the engine would, on a thread of its own: the kernel takes a ring
/// down a little later and interrupts system calls of the thread that made it.
///
/// # Errors
/// What the kernel answered.
pub fn probe_io_uring() -> io::Result<()> {
    std::thread::scope(|scope| {
        let probe = Builder::new().name("probe".into()).spawn_scoped(scope, uring::probe)?;
        probe.join().unwrap_or_else(|_| Err(io::ErrorKind::Unsupported.into()))
    })
}

/// Runs a future to its end on this thread, with an engine's runtime. Tasks are spawned with
/// `tokio::task::spawn_local`.
///
/// # Errors
/// The runtime cannot be set up.
pub(crate) fn run_thread<F: Future>(engine: Engine, future: F) -> io::Result<F::Output> {
    match engine {
        Engine::TokioUring => uring::run_thread(future),
        Engine::Tokio => plain::run_thread(future),
    }
}

/// Lets every other task run and the kernel take what they submitted, then goes on at once.
/// A `yield_now` would not do: tokio-uring submits only when its runtime parks.
pub(crate) async fn turn(engine: Engine) {
    match engine {
        Engine::TokioUring => uring::turn().await,
        Engine::Tokio => tokio::task::yield_now().await,
    }
}

/// A TCP connection. One task reads, one writes; anyone may shut it down.
pub(crate) enum Stream {
    Uring(uring::Stream),
    Plain(plain::Stream),
}

impl Stream {
    /// Must be called inside the engine's runtime.
    pub(crate) fn from_std(engine: Engine, stream: TcpStream) -> io::Result<Self> {
        match engine {
            Engine::TokioUring => uring::Stream::from_std(stream).map(Self::Uring),
            Engine::Tokio => plain::Stream::from_std(stream).map(Self::Plain),
        }
    }

    /// Reads into `buffer` from place `at` to its end: how many bytes, 0 at the peer's end.
    pub(crate) async fn read(&self, buffer: BytesMut, at: usize) -> (io::Result<usize>, BytesMut) {
        match self {
            Self::Uring(stream) => stream.read(buffer, at).await,
            Self::Plain(stream) => stream.read(buffer, at).await,
        }
    }

    /// Writes that part of `buffer`, or less: how many bytes.
    pub(crate) async fn write(
        &self,
        buffer: BytesMut,
        part: Range<usize>,
    ) -> (io::Result<usize>, BytesMut) {
        match self {
            Self::Uring(stream) => stream.write(buffer, part).await,
            Self::Plain(stream) => stream.write(buffer, part).await,
        }
    }

    /// Ends one or both directions; operations in flight on them complete.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Uring(stream) => stream.shutdown(how),
            Self::Plain(stream) => stream.shutdown(how),
        }
    }
}

//! The server of the bare echo, on either engine.

use super::{CalibratePlan, Engine, frame};
use crate::affinity::Pinned;
use rustix::time::{ClockId, clock_gettime};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use tapswitch_protocol::{FrameStep, Framing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

const READ_BYTES: usize = 64 * 1_024;
/// A read and a write of 512 connections before the ring must be submitted.
const RING_ENTRIES: u32 = 1_024;

/// What the server spent.
pub(super) struct Served {
    pub(super) engine: Engine,
    pub(super) cpu_ns: u64,
}

/// Serves the plan's number of connections to their end, on the calling thread.
pub(super) fn serve(listener: TcpListener, plan: &CalibratePlan) -> io::Result<Served> {
    let _pinned = plan.server_core.map(Pinned::to).transpose()?;
    let ring = match plan.engine {
        Engine::Uring => {
            tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES)).ok()
        }
        Engine::Tokio => None,
    };
    let before_ns = thread_cpu_ns();
    let engine = match ring {
        Some(ring) => {
            ring.block_on(serve_uring(listener, plan))?;
            Engine::Uring
        }
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let local = tokio::task::LocalSet::new();
            runtime.block_on(local.run_until(serve_tokio(listener, plan)))?;
            Engine::Tokio
        }
    };
    Ok(Served { engine, cpu_ns: thread_cpu_ns() - before_ns })
}

/// Lets a server end whose client has failed: it waits for no more connections than the plan's.
pub(super) fn release(target: SocketAddr, connections: u32) {
    for _ in 0..connections {
        // Refused when the server has ended.
        if TcpStream::connect(target).is_err() {
            return;
        }
    }
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * crate::clock::SECOND_NS
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Answers that wait for the write in flight to end. The client's window bounds them.
struct Outbox {
    response: Vec<u8>,
    bytes: RefCell<Vec<u8>>,
    is_closed: RefCell<bool>,
    changed: Notify,
}

impl Outbox {
    fn new(response_bytes: u16) -> Rc<Self> {
        Rc::new(Self {
            response: frame(response_bytes),
            bytes: RefCell::new(Vec::new()),
            is_closed: RefCell::new(false),
            changed: Notify::new(),
        })
    }

    /// Appends an answer to every whole frame in `bytes`; gives how many bytes they were.
    fn answer(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut at = 0;
        let mut out = self.bytes.borrow_mut();
        loop {
            match Framing::Be2.next(bytes.get(at..).unwrap_or_default(), usize::from(u16::MAX)) {
                Ok(FrameStep::Message { bytes, .. }) => {
                    out.extend_from_slice(&self.response);
                    at += bytes;
                }
                Ok(FrameStep::Incomplete { .. }) => break,
                Ok(FrameStep::Probe { .. } | FrameStep::Unusable { .. }) | Err(_) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        if at > 0 {
            self.changed.notify_one();
        }
        Ok(at)
    }

    fn close(&self) {
        *self.is_closed.borrow_mut() = true;
        self.changed.notify_one();
    }

    /// The answers to write next, in exchange for an empty buffer; `None` at the end.
    async fn next(&self, empty: Vec<u8>) -> Option<Vec<u8>> {
        while self.bytes.borrow().is_empty() {
            if *self.is_closed.borrow() {
                return None;
            }
            self.changed.notified().await;
        }
        Some(self.bytes.replace(empty))
    }
}

async fn serve_uring(listener: TcpListener, plan: &CalibratePlan) -> io::Result<()> {
    let listener = tokio_uring::net::TcpListener::from_std(listener);
    let accept = async || {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (stream, outbox) = (Rc::new(stream), Outbox::new(plan.response_bytes));
        let writer = write_uring(Rc::clone(&stream), Rc::clone(&outbox));
        Ok((read_uring(stream, outbox), writer))
    };
    serve_all(plan.connections, accept).await
}

/// Accepts all connections, and waits for the end of each.
async fn serve_all<R, W>(
    connections: u32,
    accept: impl AsyncFn() -> io::Result<(R, W)>,
) -> io::Result<()>
where
    R: Future<Output = io::Result<()>> + 'static,
    W: Future<Output = io::Result<()>> + 'static,
{
    let mut tasks = Vec::new();
    for _ in 0..connections {
        let (reader, writer) = accept().await?;
        tasks.push(tokio::task::spawn_local(reader));
        tasks.push(tokio::task::spawn_local(writer));
    }
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

async fn read_uring(stream: Rc<tokio_uring::net::TcpStream>, outbox: Rc<Outbox>) -> io::Result<()> {
    use tokio_uring::buf::BoundedBuf;
    let (mut buffer, mut kept) = (vec![0; READ_BYTES], 0);
    loop {
        let (count, slice) = stream.read(buffer.slice(kept..)).await;
        buffer = slice.into_inner();
        let count = count.unwrap_or(0);
        if count == 0 {
            outbox.close();
            return Ok(());
        }
        let end = kept + count;
        let at = outbox.answer(buffer.get(..end).unwrap_or_default())?;
        buffer.copy_within(at..end, 0);
        kept = end - at;
    }
}

async fn write_uring(
    stream: Rc<tokio_uring::net::TcpStream>,
    outbox: Rc<Outbox>,
) -> io::Result<()> {
    let mut empty = Vec::new();
    while let Some(bytes) = outbox.next(empty).await {
        let (written, mut bytes) = stream.write_all(bytes).await;
        written?;
        bytes.clear();
        empty = bytes;
    }
    Ok(())
}

async fn serve_tokio(listener: TcpListener, plan: &CalibratePlan) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let accept = async || {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let outbox = Outbox::new(plan.response_bytes);
        let writer = write_tokio(writer, Rc::clone(&outbox));
        Ok((read_tokio(reader, outbox), writer))
    };
    serve_all(plan.connections, accept).await
}

async fn read_tokio(
    mut stream: tokio::net::tcp::OwnedReadHalf,
    outbox: Rc<Outbox>,
) -> io::Result<()> {
    let (mut buffer, mut kept) = (vec![0; READ_BYTES], 0);
    loop {
        let free = buffer.get_mut(kept..).unwrap_or_default();
        let count = stream.read(free).await.unwrap_or(0);
        if count == 0 {
            outbox.close();
            return Ok(());
        }
        let end = kept + count;
        let at = outbox.answer(buffer.get(..end).unwrap_or_default())?;
        buffer.copy_within(at..end, 0);
        kept = end - at;
    }
}

async fn write_tokio(
    mut stream: tokio::net::tcp::OwnedWriteHalf,
    outbox: Rc<Outbox>,
) -> io::Result<()> {
    let mut empty = Vec::new();
    while let Some(mut bytes) = outbox.next(empty).await {
        stream.write_all(&bytes).await?;
        bytes.clear();
        empty = bytes;
    }
    Ok(())
}

//! One TCP connection, an acquirer's or an issuer's: a task that reads, a task that writes, and what
//! they share with the driver.
//!
//! ```text
//!              Filled                             append
//!   reader ─────────────▶ driver (frames, answers) ───────▶ growing buffer ──▶ writer
//!      ▲                    │                                                    │
//!      └────── Given ◀──────┘            one write in flight, the next one grows meanwhile
//! ```
//!
//! The reader holds its buffer only while the kernel reads into it; while the driver has it, the
//! connection is not read: that is all the back pressure there is. A read is never cancelled: a
//! connection is ended by [`Connection::abort`], which shuts the socket down so that operations in
//! flight complete.
//!
//! Not here: frames, what becomes of a connection (`connections`, `issuer_connection`), what is
//! answered (`shard`).

use super::buffer_pool::{BufferPool, Size};
use super::engine::Stream;
use super::read_buffer::ReadBuffer;
use super::visits::Visits;
use crate::limits::READ_BYTES_IDLE;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Why a connection is read no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The peer has sent everything.
    PeerEnded,
    /// The connection is broken.
    Failed,
    /// The driver wants no more.
    Stopped,
}

/// Where the read buffer is.
enum Inbound {
    /// With the kernel.
    Reading,
    /// Bytes wait for the driver.
    Filled(ReadBuffer),
    /// With the driver.
    Held,
    /// Waits for the reader.
    Given(ReadBuffer),
    /// The reader is to end when it looks next.
    Stopped,
    /// The reader has ended.
    Ended(ReadEnd),
}

/// How the writer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteStage {
    /// It writes what comes.
    Open,
    /// It writes what there is, then ends the stream.
    Finishing,
    /// It has written everything and ended the stream.
    Ended,
    /// The connection is broken; something may be left unwritten.
    Failed,
}

struct Outbound {
    growing: Option<BytesMut>,
    size: Size,
    /// Bytes with the kernel.
    in_flight: usize,
    stage: WriteStage,
    writer: Option<Waker>,
    /// Visit the driver once no more than this waits.
    visit_below: Option<usize>,
    /// What the kernel did not take of the last buffer: the buffer, and how much it took.
    broken_off: Option<(BytesMut, usize)>,
}

/// One connection's shared state. Its tasks and the driver run on the same thread.
pub(crate) struct Connection {
    slot: u16,
    stream: Stream,
    visits: Rc<Visits>,
    pool: Rc<BufferPool>,
    queued: Cell<bool>,
    inbound: RefCell<(Inbound, Option<Waker>)>,
    outbound: RefCell<Outbound>,
}

impl Connection {
    /// Starts its two tasks. They visit the driver under `slot`.
    pub(crate) fn spawn(
        slot: u16,
        stream: Stream,
        visits: &Rc<Visits>,
        pool: &Rc<BufferPool>,
    ) -> Rc<Self> {
        let connection = Rc::new(Self {
            slot,
            stream,
            visits: Rc::clone(visits),
            pool: Rc::clone(pool),
            queued: Cell::new(false),
            inbound: RefCell::new((Inbound::Reading, None)),
            outbound: RefCell::new(Outbound {
                growing: None,
                size: Size::Idle,
                in_flight: 0,
                stage: WriteStage::Open,
                writer: None,
                visit_below: None,
                broken_off: None,
            }),
        });
        tokio::task::spawn_local(read_loop(Rc::clone(&connection)));
        tokio::task::spawn_local(write_loop(Rc::clone(&connection)));
        connection
    }

    /// Puts itself on the driver's list, once.
    fn visit(&self) {
        if !self.queued.replace(true) {
            self.visits.push(self.slot);
        }
    }

    /// Driver: the visit takes place; what happens from here on is another one's matter.
    pub(crate) fn visited(&self) {
        self.queued.set(false);
    }

    /// Driver: the bytes read, if any wait. Give the buffer back with [`Connection::give`].
    pub(crate) fn take_filled(&self) -> Option<ReadBuffer> {
        let inbound = &mut self.inbound.borrow_mut().0;
        match mem::replace(inbound, Inbound::Held) {
            Inbound::Filled(buffer) => Some(buffer),
            other => {
                *inbound = other;
                None
            }
        }
    }

    /// Driver: read on, into this buffer.
    pub(crate) fn give(&self, mut buffer: ReadBuffer) {
        buffer.fit(&self.pool);
        self.wake_reader(Inbound::Given(buffer));
    }

    /// Driver: read no more. A read in flight still completes, and is then [`Inbound::Filled`].
    pub(crate) fn stop_reading(&self) {
        let held = matches!(self.inbound.borrow().0, Inbound::Held | Inbound::Given(_));
        if held {
            self.wake_reader(Inbound::Stopped);
        }
    }

    fn wake_reader(&self, state: Inbound) {
        let mut inbound = self.inbound.borrow_mut();
        let waker = inbound.1.take();
        let before = mem::replace(&mut inbound.0, state);
        drop(inbound);
        if let Inbound::Given(buffer) = before {
            buffer.give(&self.pool);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it is read no more, once the reader has ended.
    pub(crate) fn read_end(&self) -> Option<ReadEnd> {
        match self.inbound.borrow().0 {
            Inbound::Ended(end) => Some(end),
            Inbound::Reading
            | Inbound::Filled(_)
            | Inbound::Held
            | Inbound::Given(_)
            | Inbound::Stopped => None,
        }
    }

    /// Driver: sends these bytes after all that were appended before. Tells how many now wait.
    #[inline]
    pub(crate) fn append(&self, bytes: &[u8]) -> usize {
        let mut outbound = self.outbound.borrow_mut();
        let outbound = &mut *outbound;
        let size = outbound.size;
        let buffer = outbound.growing.get_or_insert_with(|| self.pool.take_for_writing(size));
        if buffer.len() + bytes.len() > buffer.capacity() {
            // What waits is bounded by not reading on. It never grows in place: the place it left
            // would keep what was in it.
            outbound.size = Size::Busy;
            let mut larger = self.pool.take_larger(buffer.capacity(), buffer.len() + bytes.len());
            larger.extend_from_slice(buffer);
            self.pool.give_after_writing(mem::replace(buffer, larger));
        }
        buffer.extend_from_slice(bytes);
        let waiting = outbound.in_flight + buffer.len();
        if let Some(writer) = outbound.writer.take() {
            writer.wake();
        }
        waiting
    }

    /// Bytes of answers that the kernel has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        let outbound = self.outbound.borrow();
        outbound.in_flight + outbound.growing.as_ref().map_or(0, BytesMut::len)
    }

    /// Driver: wants a visit once no more than so many bytes wait.
    pub(crate) fn visit_below(&self, bytes: usize) {
        self.outbound.borrow_mut().visit_below = Some(bytes);
    }

    pub(crate) fn write_stage(&self) -> WriteStage {
        self.outbound.borrow().stage
    }

    /// Driver: write what there is, then end the stream; nothing is appended any more.
    pub(crate) fn finish(&self) {
        let mut outbound = self.outbound.borrow_mut();
        if outbound.stage == WriteStage::Open {
            outbound.stage = WriteStage::Finishing;
        }
        if let Some(writer) = outbound.writer.take() {
            writer.wake();
        }
    }

    /// Driver: ends both directions now. Both tasks end, at the latest when their operation in
    /// flight completes, which this makes happen.
    pub(crate) fn abort(&self) {
        // It fails when the peer has reset the connection, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.stop_reading();
        self.finish();
    }

    /// Whether both tasks have ended. Nothing happens on this connection any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.read_end().is_some()
            && matches!(self.write_stage(), WriteStage::Ended | WriteStage::Failed)
    }

    /// Takes what was never written, buffer by buffer in order, with how much of it was: each
    /// buffer begins with a whole frame.
    pub(crate) fn take_unwritten(&self) -> [Option<(BytesMut, usize)>; 2] {
        let mut outbound = self.outbound.borrow_mut();
        let growing = outbound.growing.take().map(|buffer| (buffer, 0));
        [outbound.broken_off.take(), growing]
    }

    /// Reader: bytes wait for the driver.
    fn hand_over(&self, buffer: ReadBuffer) {
        self.inbound.borrow_mut().0 = Inbound::Filled(buffer);
        self.visit();
    }

    /// Reader: the next buffer, or `None` when it is to end.
    async fn given(&self) -> Option<ReadBuffer> {
        poll_fn(|context| {
            let mut inbound = self.inbound.borrow_mut();
            match mem::replace(&mut inbound.0, Inbound::Reading) {
                Inbound::Given(buffer) => Poll::Ready(Some(buffer)),
                Inbound::Stopped => Poll::Ready(None),
                other => {
                    inbound.0 = other;
                    inbound.1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn end_reading(&self, end: ReadEnd) {
        self.inbound.borrow_mut().0 = Inbound::Ended(end);
        self.visit();
    }

    /// Writer: the next buffer, or `None` when all is written and no more comes.
    async fn next_output(&self) -> Option<BytesMut> {
        poll_fn(|context| {
            let mut outbound = self.outbound.borrow_mut();
            if let Some(buffer) = outbound.growing.take() {
                outbound.in_flight = buffer.len();
                return Poll::Ready(Some(buffer));
            }
            if outbound.stage != WriteStage::Open {
                return Poll::Ready(None);
            }
            outbound.writer = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Writer: the kernel took so many bytes.
    fn wrote(&self, bytes: usize) {
        let mut outbound = self.outbound.borrow_mut();
        outbound.in_flight -= bytes;
        let Some(below) = outbound.visit_below else { return };
        if outbound.in_flight + outbound.growing.as_ref().map_or(0, BytesMut::len) <= below {
            outbound.visit_below = None;
            drop(outbound);
            self.visit();
        }
    }

    /// Writer: a whole buffer is written.
    fn written(&self, buffer: BytesMut) {
        if buffer.len() <= READ_BYTES_IDLE {
            self.outbound.borrow_mut().size = Size::Idle;
        }
        self.pool.give_after_writing(buffer);
    }

    fn end_writing(&self, stage: WriteStage, broken_off: Option<(BytesMut, usize)>) {
        let mut outbound = self.outbound.borrow_mut();
        outbound.in_flight = 0;
        outbound.stage = stage;
        outbound.broken_off = broken_off;
        drop(outbound);
        self.visit();
    }
}

async fn read_loop(connection: Rc<Connection>) {
    let mut buffer = ReadBuffer::new(&connection.pool);
    let end = loop {
        let (bytes, at) = buffer.take();
        let (result, bytes) = connection.stream.read(bytes, at).await;
        let read = *result.as_ref().unwrap_or(&0);
        buffer.put(bytes, read);
        match result {
            Ok(0) => break ReadEnd::PeerEnded,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break ReadEnd::Failed,
        }
        connection.hand_over(buffer);
        match connection.given().await {
            Some(given) => buffer = given,
            None => return connection.end_reading(ReadEnd::Stopped),
        }
    };
    // A frame begun and never ended.
    buffer.give(&connection.pool);
    connection.end_reading(end);
}

async fn write_loop(connection: Rc<Connection>) {
    while let Some(mut buffer) = connection.next_output().await {
        let mut written = 0;
        while written < buffer.len() {
            let part = written..buffer.len();
            let (result, bytes) = connection.stream.write(buffer, part).await;
            buffer = bytes;
            match result {
                Ok(bytes) if bytes > 0 => {
                    written += bytes;
                    connection.wrote(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    return connection.end_writing(WriteStage::Failed, Some((buffer, written)));
                }
            }
        }
        connection.written(buffer);
    }
    let _ = connection.stream.shutdown(Shutdown::Write);
    connection.end_writing(WriteStage::Ended, None);
}

//! One non-blocking connection: bytes that wait to be written, and the start of a frame whose rest
//! has not come yet.
//!
//! Not here: what the bytes mean.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    /// Bytes of `out` that are gone.
    written: usize,
    /// Requests put into `out` since the last write.
    unwritten: Vec<u32>,
    /// Start of a frame.
    tail: Vec<u8>,
}

/// What a flush did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Nothing is left to write.
    Done,
    /// The socket takes no more for now.
    Blocked,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, out: Vec::new(), written: 0, unwritten: Vec::new(), tail: Vec::new() })
    }

    /// Where the next request's bytes go.
    #[inline]
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Notes that the request in `place` was put into [`Connection::out`].
    #[inline]
    pub(crate) fn put(&mut self, place: u32) {
        self.unwritten.push(place);
    }

    /// Whether the next request would be the first since the last write.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes what waits. `on_written` is told the requests that were handed to the socket.
    pub(crate) fn flush(&mut self, mut on_written: impl FnMut(u32)) -> io::Result<Flush> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.written += count;
                    self.unwritten.drain(..).for_each(&mut on_written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.out.drain(..self.written);
                    self.written = 0;
                    return Ok(Flush::Blocked);
                }
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(Flush::Done)
    }

    /// Reads once into `buffer`, behind the start of a frame that was kept; gives how many bytes are
    /// in `buffer`, `None` when nothing has come.
    ///
    /// # Errors
    /// Those of the socket; [`io::ErrorKind::UnexpectedEof`] when the other side has closed.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let kept = self.tail.len();
        let (head, free) = buffer.split_at_mut_checked(kept).ok_or(io::ErrorKind::OutOfMemory)?;
        match self.stream.read(free) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                head.copy_from_slice(&self.tail);
                self.tail.clear();
                Ok(Some(kept + count))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps the start of a frame for the next read.
    pub(crate) fn keep(&mut self, tail: &[u8]) {
        self.tail.extend_from_slice(tail);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

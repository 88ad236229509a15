//! The line between a running switch and the process that is to take its place: messages as lines of
//! JSON over a Unix socket, each with an open descriptor if need be (`SCM_RIGHTS`).
//!
//! Not here: what is said, and what it means (`cli::hand_over`).

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown,
    sockopt::socket_peercred,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Longest message.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Read at once.
const READ_BYTES: usize = 4_096;
/// Descriptors that one read may bring. Each message brings one at most.
const PASSED_MAX: usize = 4;

/// Why nothing came, or nothing could be said.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The other process is gone.
    #[error("the other process has ended")]
    Gone,
    /// Nothing came in the time that was given.
    #[error("the other process says nothing")]
    Silent,
    /// The kernel refuses.
    #[error("{0}")]
    Kernel(io::Error),
    /// What came is no such message.
    #[error("the other process speaks otherwise ({0}): likely cause: another version")]
    NotUnderstood(String),
}

impl From<io::Error> for HandOverError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Self::Gone,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::Kernel(error),
        }
    }
}

/// One end of the line.
pub struct Channel {
    stream: UnixStream,
    read: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    /// Over a connection of a Unix socket.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, read: Vec::new(), descriptors: VecDeque::new() }
    }

    /// User and number of the other process, as the kernel knows them.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn peer(&self) -> io::Result<(u32, i32)> {
        let peer = socket_peercred(&self.stream)?;
        Ok((peer.uid.as_raw(), peer.pid.as_raw_nonzero().get()))
    }

    /// How long [`Channel::receive`] waits; for ever without.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wait_at_most(&self, patience: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(patience)
    }

    /// What ends the line, from any thread.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn breaker(&self) -> io::Result<Breaker> {
        Breaker::of(&self.stream)
    }

    /// Sends a message, and a descriptor with it.
    ///
    /// # Errors
    /// The other process is gone, or the kernel refuses.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        passed: Option<BorrowedFd<'_>>,
    ) -> Result<(), HandOverError> {
        let text = serde_json::to_string(message);
        let mut text = text.map_err(|error| HandOverError::NotUnderstood(error.to_string()))?;
        text.push('\n');
        let mut bytes = text.as_bytes();
        if let Some(passed) = passed {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let passed = [passed];
            assert!(
                control.push(SendAncillaryMessage::ScmRights(&passed)),
                "Invariant: there is room for one descriptor"
            );
            let sent = loop {
                let parts = [IoSlice::new(bytes)];
                match sendmsg(&self.stream, &parts, &mut control, SendFlags::NOSIGNAL) {
                    Err(Errno::INTR) => {}
                    sent => break sent.map_err(io::Error::from)?,
                }
            };
            // The descriptor went with the first byte.
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok((&self.stream).write_all(bytes)?)
    }

    /// The next message. Descriptors that came with it can be taken afterwards.
    ///
    /// # Errors
    /// There is none: see [`HandOverError`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<T, HandOverError> {
        loop {
            if let Some(end) = self.read.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map_err(|error| HandOverError::NotUnderstood(error.to_string()));
            }
            if self.read.len() > MESSAGE_BYTES_MAX {
                return Err(HandOverError::NotUnderstood("a line without end".to_owned()));
            }
            self.read_more()?;
        }
    }

    fn read_more(&mut self) -> Result<(), HandOverError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut chunk = [0; READ_BYTES];
        let mut parts = [IoSliceMut::new(&mut chunk)];
        // Nothing that is started later inherits what was passed.
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = match recvmsg(&self.stream, &mut parts, &mut control, flags) {
            Err(Errno::INTR) => return Ok(()),
            received => received.map_err(io::Error::from)?,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                self.descriptors.extend(passed);
            }
        }
        if received.bytes == 0 {
            return Err(HandOverError::Gone);
        }
        self.read.extend_from_slice(chunk.get(..received.bytes).unwrap_or_default());
        Ok(())
    }

    /// The oldest descriptor that came and was not taken.
    pub fn take_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }
}

/// Ends a line, whoever waits at it.
pub struct Breaker(OwnedFd);

impl Breaker {
    /// Of a socket: a line's, or one that is listened at.
    ///
    /// # Errors
    /// No descriptor is free.
    pub fn of(socket: impl AsFd) -> io::Result<Self> {
        Ok(Self(socket.as_fd().try_clone_to_owned()?))
    }

    /// Both ends find the other gone.
    pub fn cut(&self) {
        // It may be over already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn line() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    #[test]
    fn messages_and_descriptors_come_in_their_order() {
        let (here, mut there) = line();
        let listeners: Vec<_> =
            (0..20).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        for (number, listener) in listeners.iter().enumerate() {
            // Some longer than a read, some without a descriptor between those that have one.
            let text = "x".repeat(number * 700);
            here.send(&(number, text), Some(listener.as_fd())).unwrap();
            here.send(&(1_000 + number, ""), None).unwrap();
        }
        let addresses: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap()).collect();
        drop(listeners);
        for (number, address) in addresses.into_iter().enumerate() {
            let (told, text): (usize, String) = there.receive().unwrap();
            assert_eq!((told, text.len()), (number, number * 700));
            let listener = TcpListener::from(there.take_descriptor().unwrap());
            assert_eq!(listener.local_addr().unwrap(), address);
            // It never stopped listening.
            TcpStream::connect(address).unwrap();
            let (told, _): (usize, String) = there.receive().unwrap();
            assert_eq!(told, 1_000 + number);
        }
        assert!(there.take_descriptor().is_none());
    }

    #[test]
    fn an_end_is_told_from_silence_and_from_nonsense() {
        let (here, mut there) = line();
        there.wait_at_most(Some(Duration::from_millis(1))).unwrap();
        assert!(matches!(there.receive::<u32>(), Err(HandOverError::Silent)));
        (&here.stream).write_all(b"4").unwrap();
        assert!(matches!(there.receive::<u32>(), Err(HandOverError::Silent)));
        (&here.stream).write_all(b"2\nno number\n").unwrap();
        assert_eq!(there.receive::<u32>().unwrap(), 42, "a part that came before is kept");
        assert!(matches!(there.receive::<u32>(), Err(HandOverError::NotUnderstood(_))));
        here.breaker().unwrap().cut();
        assert!(matches!(there.receive::<u32>(), Err(HandOverError::Gone)));
        assert!(matches!(here.send(&1, None), Err(HandOverError::Gone)));
    }

    #[test]
    fn a_line_without_end_is_not_read_for_ever() {
        let (here, mut there) = line();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let chunk = [b'1'; 65_536];
                for _ in 0..=MESSAGE_BYTES_MAX / chunk.len() + 1 {
                    // The reader is gone before the last.
                    let _ = (&here.stream).write_all(&chunk);
                }
            });
            assert!(matches!(there.receive::<u32>(), Err(HandOverError::NotUnderstood(_))));
            drop(there);
        });
    }

    #[test]
    fn the_kernel_says_who_is_at_the_other_end() {
        let (here, _there) = line();
        let own = rustix::process::geteuid().as_raw();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(here.peer().unwrap(), (own, pid));
    }
}

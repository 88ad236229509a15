//! An acquirer's side of one TCP connection, blocking and with patience.

use crate::message::{Message, Speech};
use crate::process::{PATIENCE, Switch};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;
use tapswitch_protocol::FrameStep;

const FRAME_BYTES_MAX: usize = 4_096;

/// A connection.
pub(crate) struct Client {
    stream: TcpStream,
    speech: Speech,
    read: Vec<u8>,
}

impl Client {
    /// Connects to the listener of a switch that speaks so.
    pub(crate) fn of(switch: &Switch, speech: Speech) -> Self {
        Self::connect(switch.address(speech.name()), speech)
    }

    pub(crate) fn connect(address: SocketAddr, speech: Speech) -> Self {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE).unwrap(), speech)
    }

    /// Over a connection that is made.
    pub(crate) fn over(stream: TcpStream, speech: Speech) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, speech, read: Vec::new() }
    }

    /// No wait for an answer is longer from now on: what is promised to an acquirer, not what a busy
    /// machine may take.
    pub(crate) fn within_ms(self, ms: u64) -> Self {
        self.stream.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        self
    }

    /// Closes as a machine does that has forgotten the connection: not with an end, but with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Everything that still comes when nothing more is sent.
    pub(crate) fn rest(mut self) -> Vec<Message> {
        // It may have been cut.
        let _ = self.stream.shutdown(Shutdown::Write);
        std::iter::from_fn(|| self.next_answer()).collect()
    }

    /// How many bytes still come, frames or not.
    pub(crate) fn bytes_to_the_end(mut self) -> usize {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        self.read.len() + bytes.len()
    }

    /// Writes bytes, and nothing more; the switch may have cut the connection meanwhile.
    pub(crate) fn send_what_is_taken(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Waits until the switch ends the connection, in order or by a reset.
    pub(crate) fn wait_for_any_end(mut self) {
        let mut chunk = [0; 65_536];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("no end: {error}"),
            }
        }
    }

    pub(crate) fn speech(&self) -> Speech {
        self.speech
    }

    /// The same connection for another thread, which reads all that comes from now on.
    pub(crate) fn reader(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), speech: self.speech, read: Vec::new() }
    }

    /// Writes bytes, at once.
    pub(crate) fn send(&self, bytes: &[u8]) {
        (&self.stream).write_all(bytes).unwrap();
    }

    /// Nothing more is sent.
    pub(crate) fn end(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next whole frame; `None` when the switch has ended the stream, which it does only after
    /// a whole frame.
    pub(crate) fn frame(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.speech.framing.next(&self.read, FRAME_BYTES_MAX).unwrap() {
                FrameStep::Message { bytes, .. } => {
                    return Some(self.read.drain(..bytes).collect());
                }
                FrameStep::Incomplete { .. } => {}
                FrameStep::Probe { .. } | FrameStep::Unusable { .. } => {
                    panic!("the switch sends whole messages only")
                }
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.read.is_empty(), "the last answer is whole");
                    return None;
                }
                Ok(bytes) => self.read.extend_from_slice(&chunk[..bytes]),
                // The process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// The next answer; `None` when the switch has ended the stream.
    pub(crate) fn next_answer(&mut self) -> Option<Message> {
        self.frame().map(|frame| Message::from_frame(self.speech, &frame))
    }

    /// The next answer, which must come.
    pub(crate) fn answer(&mut self) -> Message {
        self.next_answer().expect("an answer")
    }

    /// So many answers.
    pub(crate) fn answers(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.answer()).collect()
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, request: &Message) -> Message {
        self.send(&request.frame());
        self.answer()
    }
}

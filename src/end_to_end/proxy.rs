//! What stands between two ends of a test's connections, a switch and a bank or an acquirer and a
//! switch: passes whole frames on, and holds, cuts, resets, refuses or adds what a test wants. What
//! becomes of each frame can be scripted, either way (`proxy_script.rs`).
//!
//! "Near" is who connects to it, "far" is whom it connects to.

use crate::message::Speech;
use crate::process::PATIENCE;
use crate::proxy_script::{Script, Step};
use rustix::thread::{Timespec, nanosleep};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;
use tapswitch_protocol::FrameStep;

const FRAME_BYTES_MAX: usize = 4_096;

/// One of the two ways that frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From who connects to whom the proxy connects to.
    There,
    /// Answers.
    Back,
}

/// What happens to the frames of one way, on all connections.
#[derive(Default)]
struct Passage {
    /// They wait.
    holds: AtomicBool,
    script: Mutex<Option<Script>>,
}

struct Shared {
    /// Near end, far end, in the order in which they were made.
    pairs: Mutex<Vec<(TcpStream, TcpStream)>>,
    passages: [Passage; 2],
    /// New connections are closed at once.
    refuses: AtomicBool,
    ended: AtomicBool,
    speech: Speech,
}

impl Shared {
    fn passage(&self, way: Way) -> &Passage {
        &self.passages[way as usize]
    }

    /// Waits while frames of this way are held.
    fn wait(&self, way: Way) {
        while self.passage(way).holds.load(Ordering::SeqCst) {
            pause(Duration::from_millis(1));
        }
    }
}

/// A proxy in front of one port.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of a bank that speaks as issuers do in these tests.
    pub(crate) fn before(bank_port: u16) -> Self {
        Self::speaking(Speech::cups(), bank_port)
    }

    pub(crate) fn speaking(speech: Speech, far_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            pairs: Mutex::default(),
            passages: Default::default(),
            refuses: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            speech,
        });
        let accepting = Arc::clone(&shared);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                if !accepting.refuses.load(Ordering::SeqCst) {
                    pass(&accepting, stream, far_port);
                }
            }
        };
        Builder::new().spawn(accept).unwrap();
        Self { port, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Answers wait until they are let go.
    pub(crate) fn hold(&self, holds: bool) {
        self.hold_way(Way::Back, holds);
    }

    /// Frames of a way wait until they are let go; nothing more is read meanwhile.
    pub(crate) fn hold_way(&self, way: Way, holds: bool) {
        self.shared.passage(way).holds.store(holds, Ordering::SeqCst);
    }

    /// What becomes of the frames of a way from now on.
    pub(crate) fn script(&self, way: Way, script: Script) {
        *self.shared.passage(way).script.lock().unwrap() = Some(script);
    }

    /// They pass as they are again.
    pub(crate) fn unscript(&self, way: Way) {
        *self.shared.passage(way).script.lock().unwrap() = None;
    }

    /// New connections are closed at once.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// How many connections were ever made.
    pub(crate) fn made(&self) -> usize {
        self.shared.pairs.lock().unwrap().len()
    }

    /// Cuts the connection that was made at this place.
    pub(crate) fn cut(&self, place: usize) {
        let (near, far) = &self.shared.pairs.lock().unwrap()[place];
        for stream in [near, far] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Says something to the near end of a connection in the far one's name.
    pub(crate) fn say(&self, place: usize, frame: &[u8]) {
        let (near, _) = &self.shared.pairs.lock().unwrap()[place];
        { near }.write_all(frame).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        for way in [Way::There, Way::Back] {
            self.hold_way(way, false);
        }
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address());
        for place in 0..self.made() {
            self.cut(place);
        }
    }
}

fn pass(shared: &Arc<Shared>, near: TcpStream, far_port: u16) {
    let Ok(far) = TcpStream::connect(("127.0.0.1", far_port)) else { return };
    for stream in [&near, &far] {
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    let there = [&near, &far].map(|stream| stream.try_clone().unwrap());
    let back = [&far, &near].map(|stream| stream.try_clone().unwrap());
    shared.pairs.lock().unwrap().push((near, far));
    for (way, ends) in [(Way::There, there), (Way::Back, back)] {
        let shared = Arc::clone(shared);
        Builder::new().spawn(move || pump(&shared, way, ends)).unwrap();
    }
}

/// One way, until either end is gone. An end that only says nothing more still gets its answers.
fn pump(shared: &Shared, way: Way, [mut from, mut to]: [TcpStream; 2]) {
    let (mut read, mut chunk) = (Vec::new(), [0; 65_536]);
    while let Ok(count @ 1..) = from.read(&mut chunk) {
        read.extend_from_slice(&chunk[..count]);
        shared.wait(way);
        while let Some(frame) = take_frame(shared.speech, &mut read) {
            let steps = match shared.passage(way).script.lock().unwrap().as_mut() {
                Some(script) => script(frame),
                None => vec![Step::Write(frame)],
            };
            for step in steps {
                if !take(step, &mut to) {
                    return end_both(&to, &from);
                }
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// The next whole frame of what was read, or what is none.
fn take_frame(speech: Speech, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let bytes = match speech.framing.next(read, FRAME_BYTES_MAX) {
        Ok(FrameStep::Incomplete { .. }) => return None,
        Ok(
            FrameStep::Message { bytes, .. }
            | FrameStep::Probe { bytes }
            | FrameStep::Unusable { bytes, .. },
        ) => bytes,
        Err(_) => read.len(),
    };
    Some(read.drain(..bytes).collect())
}

/// Whether the connection lives.
fn take(step: Step, to: &mut TcpStream) -> bool {
    match step {
        Step::Write(bytes) => to.write_all(&bytes).is_ok(),
        Step::Pause(time) => {
            pause(time);
            true
        }
        Step::HalfClose => to.shutdown(Shutdown::Write).is_ok(),
        Step::Cut => false,
    }
}

fn end_both(to: &TcpStream, from: &TcpStream) {
    for stream in [to, from] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Nothing happens for a while.
pub(crate) fn pause(time: Duration) {
    let nanoseconds = time.subsec_nanos().into();
    let seconds = time.as_secs().cast_signed();
    let _ = nanosleep(&Timespec { tv_sec: seconds, tv_nsec: nanoseconds });
}

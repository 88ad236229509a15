//! What stands between the switch and a bank in its tests: passes bytes on, and holds, cuts, refuses
//! or adds what a test wants.

use rustix::thread::{Timespec, nanosleep};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Builder;

struct Shared {
    /// Switch's end, bank's end, in the order in which they were made.
    pairs: Mutex<Vec<(TcpStream, TcpStream)>>,
    /// Banks' answers wait.
    holds: AtomicBool,
    /// New connections are closed at once.
    refuses: AtomicBool,
    ended: AtomicBool,
}

/// A proxy in front of one bank.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    pub(crate) fn before(bank_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            pairs: Mutex::default(),
            holds: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                if !accepting.refuses.load(Ordering::SeqCst) {
                    pass(&accepting, stream, bank_port);
                }
            }
        };
        Builder::new().spawn(accept).unwrap();
        Self { port, shared }
    }

    /// Banks' answers wait until they are let go.
    pub(crate) fn hold(&self, holds: bool) {
        self.shared.holds.store(holds, Ordering::SeqCst);
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
        let (switch, bank) = &self.shared.pairs.lock().unwrap()[place];
        for stream in [switch, bank] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Says something to the switch in the bank's name.
    pub(crate) fn say(&self, place: usize, frame: &[u8]) {
        let (switch, _) = &self.shared.pairs.lock().unwrap()[place];
        { switch }.write_all(frame).unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.hold(false);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port)));
        for place in 0..self.made() {
            self.cut(place);
        }
    }
}

fn pass(shared: &Arc<Shared>, switch: TcpStream, bank_port: u16) {
    let Ok(bank) = TcpStream::connect(("127.0.0.1", bank_port)) else { return };
    let ends = [&switch, &bank].map(|stream| {
        stream.set_nodelay(true).unwrap();
        stream.try_clone().unwrap()
    });
    let back = [&bank, &switch].map(|stream| stream.try_clone().unwrap());
    shared.pairs.lock().unwrap().push((switch, bank));
    let holding = Arc::clone(shared);
    Builder::new().spawn(move || pump(ends, || {})).unwrap();
    let wait = move || {
        while holding.holds.load(Ordering::SeqCst) {
            let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
        }
    };
    Builder::new().spawn(move || pump(back, wait)).unwrap();
}

/// One way, until either end is gone.
fn pump([mut from, mut to]: [TcpStream; 2], wait: impl Fn()) {
    let mut bytes = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        wait();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

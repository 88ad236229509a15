//! Waiting for sockets: level-triggered epoll with a timeout in nanoseconds.

use crate::clock::SECOND_NS;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Events taken at a time.
const EVENTS_MAX: usize = 256;

const MILLISECOND_NS: u64 = 1_000_000;

/// `epoll_pwait` counts milliseconds, and `epoll_pwait2` is refused by some sandboxes; shorter
/// waits than this are `ppoll` on the epoll itself, which counts nanoseconds, for one call more.
const EXACT_BELOW_NS: u64 = 20 * MILLISECOND_NS;

/// Sockets that are waited for, by number.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
}

fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / SECOND_NS).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND_NS).unwrap_or(0),
    }
}

/// What can be done with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    /// Its number.
    pub(crate) number: u32,
    /// Something to read, or an end or error that a read will tell.
    pub(crate) readable: bool,
    /// Room to write.
    pub(crate) writable: bool,
}

impl Poll {
    /// Nothing to wait for yet.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS_MAX) })
    }

    /// Waits for something to read on a socket.
    pub(crate) fn add(&self, socket: impl AsFd, number: u32) -> io::Result<()> {
        let data = EventData::new_u64(u64::from(number));
        Ok(epoll::add(&self.epoll, socket, data, EventFlags::IN)?)
    }

    /// Waits for room to write as well, or no longer.
    pub(crate) fn want_room(&self, socket: impl AsFd, number: u32, want: bool) -> io::Result<()> {
        let data = EventData::new_u64(u64::from(number));
        let flags = if want { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, socket, data, flags)?)
    }

    /// Waits at most `timeout_ns`; tells how many sockets are ready.
    pub(crate) fn wait(&mut self, timeout_ns: u64) -> io::Result<usize> {
        let rest_ns = match timeout_ns {
            0 => 0,
            1..EXACT_BELOW_NS => {
                let mut epoll = [PollFd::new(&self.epoll, PollFlags::IN)];
                match poll(&mut epoll, Some(&timespec(timeout_ns))) {
                    Ok(0) => return Ok(self.none()),
                    Ok(_) | Err(Errno::INTR) => 0,
                    Err(error) => return Err(error.into()),
                }
            }
            // Rounded down, so that the last part is waited for exactly.
            _ => timeout_ns - timeout_ns % MILLISECOND_NS,
        };
        self.events.clear();
        let timeout = timespec(rest_ns);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
    }

    fn none(&mut self) -> usize {
        self.events.clear();
        0
    }

    /// The socket in this place of the last wait.
    pub(crate) fn ready(&self, place: usize) -> Option<Ready> {
        let event = self.events.get(place)?;
        let flags = event.flags;
        Some(Ready {
            // It was put in as a u32.
            number: event.data.u64() as u32,
            readable: flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR),
            writable: flags.contains(EventFlags::OUT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn sockets_are_told_by_number_however_long_the_wait() {
        let mut poll = Poll::new().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        poll.add(&far, 7).unwrap();
        for timeout_ns in [0, 1_000, 300_000] {
            assert_eq!(poll.wait(timeout_ns).unwrap(), 0);
            assert_eq!(poll.ready(0), None);
        }
        near.write_all(b"x").unwrap();
        for timeout_ns in [0, 300_000, SECOND_NS] {
            assert_eq!(poll.wait(timeout_ns).unwrap(), 1);
            let expected = Ready { number: 7, readable: true, writable: false };
            assert_eq!(poll.ready(0), Some(expected));
        }
        poll.want_room(&far, 7, true).unwrap();
        assert_eq!(poll.wait(0).unwrap(), 1);
        assert!(poll.ready(0).unwrap().writable);
    }
}

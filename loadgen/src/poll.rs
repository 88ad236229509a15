//! Waiting for sockets: level-triggered epoll with a timeout in nanoseconds.

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Events taken at a time.
const EVENTS_MAX: usize = 256;

/// Sockets that are waited for, by number.
pub(crate) struct Poll {
    epoll: OwnedFd,
    events: Vec<Event>,
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
        let second_ns = crate::clock::SECOND_NS;
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout_ns / second_ns).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(timeout_ns % second_ns).unwrap_or(0),
        };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(self.events.len()),
            Err(error) => Err(error.into()),
        }
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

//! Listening and accepting: one thread for all listeners, which places each connection on the
//! shard that has the fewest.
//!
//! Few long-lived connections hash badly over shards, so they are placed, not hashed. When no file
//! descriptor or memory is left, accepting pauses; connections that exist live on.
//!
//! Not here: reading and writing (`duplex`).

use super::clock::Clock;
use super::counters::{AcceptCounters, IoCounters};
use super::doorkeeper::{Denied, Doorkeeper};
use super::start::Listeners;
use super::stopping::Stopping;
use super::wake::Wake;
use crate::limits::{CONNECTIONS_MAX, ISSUERS_MAX};
use crate::shard::{AcquirerId, IssuerId};
use crossbeam_queue::ArrayQueue;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Connections that the kernel may hold until they are accepted.
const BACKLOG: i32 = 1_024;
/// Connections on their way to one shard.
pub(crate) const PLACED_MAX: usize = 256;
/// Connections taken from one listener before the next one has its turn.
const ACCEPTS_MAX: u32 = 64;
/// How long accepting pauses when no file descriptor or memory is left.
const EXHAUSTED_PAUSE_MS: i64 = 100;
/// How long accepting pauses when no shard can be given more for now: a few of a shard's cycles.
const BUSY_PAUSE_MS: i64 = 2;
/// Pauses of a stop for connections that shards could not be given yet.
const LAST_PAUSES_MAX: usize = 100;

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// An acquirer's.
    Acquirer(AcquirerId),
    /// An issuer's that connects by itself.
    Issuer(IssuerId),
}

/// A connection on its way to its shard.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) stream: TcpStream,
    pub(crate) guest: Guest,
}

/// How many links of one shard wait for their issuer to connect, by issuer.
#[derive(Debug)]
pub(crate) struct LinkPlaces([AtomicU32; ISSUERS_MAX]);

impl Default for LinkPlaces {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }
}

impl LinkPlaces {
    fn free(&self, issuer: IssuerId) -> u32 {
        self.0.get(usize::from(issuer.0)).map_or(0, |free| free.load(Ordering::Relaxed))
    }

    /// One more link waits.
    pub(crate) fn offer(&self, issuer: IssuerId) {
        if let Some(free) = self.0.get(usize::from(issuer.0)) {
            free.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Only the acceptor takes places.
    fn take(&self, issuer: IssuerId) {
        if let Some(free) = self.0.get(usize::from(issuer.0)) {
            free.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Opens a listener. Port 0 takes any free port.
///
/// # Errors
/// The address is taken or not this machine's.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    // A port whose old connections still fade away can be taken again at once.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Where connections can be placed.
pub(crate) struct ShardDoor {
    pub(crate) placed: Arc<ArrayQueue<Placed>>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) counters: Arc<IoCounters>,
    pub(crate) places: Arc<LinkPlaces>,
}

/// The acceptor's thread.
pub(crate) struct Acceptor {
    pub(crate) listeners: Listeners,
    /// By acquirer: whether all its connections live on one shard, which can then count them.
    pub(crate) on_one_shard: Vec<bool>,
    pub(crate) doors: Vec<ShardDoor>,
    pub(crate) wake: Arc<Wake>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) stopping: Arc<Stopping>,
    pub(crate) counters: Arc<AcceptCounters>,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) clock: Clock,
}

/// How a round of accepting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// No connection waits.
    Done,
    /// The shards must take what they were given first: the kernel keeps the rest meanwhile.
    Busy,
    /// There is nothing to accept with.
    Exhausted,
}

impl Round {
    const fn pause_ms(self) -> Option<i64> {
        match self {
            Self::Done => None,
            Self::Busy => Some(BUSY_PAUSE_MS),
            Self::Exhausted => Some(EXHAUSTED_PAUSE_MS),
        }
    }
}

/// What to do after an accept failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterError {
    /// No connection waits: look at the next listener.
    NextListener,
    /// That connection is gone already: take the next one.
    NextConnection,
    /// Nothing is left to accept with: pause.
    Pause,
}

impl AfterError {
    fn of(error: &io::Error) -> Self {
        match Errno::from_io_error(error) {
            Some(Errno::AGAIN) => Self::NextListener,
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Self::Pause,
            // Errors of the connection, not of the listener: accept(2).
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => Self::NextConnection,
            _ => Self::Pause,
        }
    }
}

impl Acceptor {
    /// Accepts until told to stop. What the kernel has accepted by then is placed still, unless another
    /// process listens on: then it waits for that.
    pub(crate) fn run(mut self) {
        let mut round = Round::Done;
        while !self.stop.load(Ordering::Acquire) {
            self.wait(round);
            round = self.accept_all();
        }
        if self.stopping.is_handing_over() {
            return;
        }
        for _ in 0..LAST_PAUSES_MAX {
            if self.accept_all() != Round::Busy {
                break;
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: BUSY_PAUSE_MS * 1_000_000 };
            let _ = poll(&mut [], Some(&pause));
        }
    }

    /// Waits for a connection or the stop; after a round that was broken off, for a while or the
    /// stop.
    fn wait(&self, round: Round) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        let pause = round.pause_ms().map(|ms| Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 });
        if pause.is_none() {
            let listeners = self.listeners.guests();
            fds.extend(listeners.map(|(_, listener)| PollFd::new(listener, PollFlags::IN)));
        }
        // Interrupted is as good as ready: accepting does not block.
        let _ = poll(&mut fds, pause.as_ref());
    }

    /// Takes every connection that waits and can be placed.
    fn accept_all(&mut self) -> Round {
        let listeners = self.listeners.clone();
        for (guest, listener) in listeners.guests() {
            // Who knocks all the time keeps neither others waiting nor a stop.
            for _ in 0..ACCEPTS_MAX {
                if self.doors.iter().all(|door| door.placed.is_full()) {
                    return Round::Busy;
                }
                match listener.accept() {
                    Ok((stream, from)) => match guest {
                        _ if !self.may_come_in(guest, from) => {}
                        Guest::Acquirer(acquirer) => self.place(stream, acquirer),
                        Guest::Issuer(issuer) => self.place_issuer(stream, issuer),
                    },
                    Err(error) => match AfterError::of(&error) {
                        AfterError::NextListener => break,
                        AfterError::NextConnection => {}
                        AfterError::Pause => {
                            self.counters.exhausted.fetch_add(1, Ordering::Relaxed);
                            return Round::Exhausted;
                        }
                    },
                }
            }
        }
        Round::Done
    }

    /// Whether a connection is taken at all; nothing of it is read otherwise.
    fn may_come_in(&mut self, guest: Guest, from: SocketAddr) -> bool {
        let counted = match self.doorkeeper.admit(guest, from.ip(), self.clock.now().mono_ns) {
            Ok(()) => return true,
            Err(Denied::NotAPeer) => &self.counters.denied,
            Err(Denied::TooOften) => &self.counters.too_often,
        };
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        counted.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// Gives an issuer's connection to the shard that has most links waiting for one; closes it when
    /// none has any.
    fn place_issuer(&self, stream: TcpStream, issuer: IssuerId) {
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let doors = self.doors.iter().filter(|door| !door.placed.is_full());
        let door = doors.max_by_key(|door| door.places.free(issuer));
        let Some(door) = door.filter(|door| door.places.free(issuer) > 0) else {
            self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
            return;
        };
        door.places.take(issuer);
        if door.placed.push(Placed { stream, guest: Guest::Issuer(issuer) }).is_err() {
            door.places.offer(issuer);
        }
        door.wake.wake();
    }

    /// Gives a connection to the shard with the fewest, or to its acquirer's; closes it when all are
    /// full.
    fn place(&self, stream: TcpStream, acquirer: AcquirerId) {
        self.counters.accepted.fetch_add(1, Ordering::Relaxed);
        // Refused only for a connection that is gone already, which the shard will notice.
        let _ = SockRef::from(&stream).set_tcp_nodelay(true);
        let acquirer_place = usize::from(acquirer.0);
        let is_on_one = self.on_one_shard.get(acquirer_place).copied().unwrap_or_default();
        let only = is_on_one.then(|| acquirer_place % self.doors.len().max(1));
        let least = self
            .doors
            .iter()
            .enumerate()
            .filter(|(place, door)| !door.placed.is_full() && only.is_none_or(|it| it == *place))
            .map(|(_, door)| door)
            .min_by_key(|door| door.counters.connections.load(Ordering::Relaxed));
        let door = least
            .filter(|door| door.counters.connections.load(Ordering::Relaxed) < CONNECTIONS_MAX);
        let Some(door) = door else {
            self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
            return;
        };
        door.counters.connections.fetch_add(1, Ordering::Relaxed);
        if door.placed.push(Placed { stream, guest: Guest::Acquirer(acquirer) }).is_err() {
            door.counters.connections.fetch_sub(1, Ordering::Relaxed);
            self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
            return;
        }
        door.counters.connections_placed.fetch_add(1, Ordering::Relaxed);
        door.wake.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acceptor(shards: usize) -> (Acceptor, SocketAddr) {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let doors = (0..shards).map(|_| ShardDoor {
            placed: Arc::new(ArrayQueue::new(PLACED_MAX)),
            wake: Wake::new().unwrap(),
            counters: Arc::default(),
            places: Arc::default(),
        });
        let acceptor = Acceptor {
            listeners: Listeners::of(Guest::Acquirer(AcquirerId(0)), listener),
            on_one_shard: vec![false],
            doors: doors.collect(),
            wake: Wake::new().unwrap(),
            stop: Arc::default(),
            stopping: Arc::new(Stopping::new(shards)),
            counters: Arc::default(),
            doorkeeper: Doorkeeper::default(),
            clock: Clock::new(),
        };
        (acceptor, address)
    }

    #[test]
    fn connections_are_spread_evenly_and_make_up_for_those_that_ended() {
        let (acceptor, address) = acceptor(3);
        let clients: Vec<_> = (0..7).map(|_| TcpStream::connect(address).unwrap()).collect();
        acceptor.stop.store(true, Ordering::Release);
        let doors: Vec<_> = acceptor.doors.iter().map(|door| Arc::clone(&door.counters)).collect();
        let load = |counters: &Arc<IoCounters>| counters.connections.load(Ordering::Relaxed);
        doors[1].connections.store(4, Ordering::Relaxed);
        acceptor.run();
        assert_eq!(doors.iter().map(load).sum::<usize>(), 4 + clients.len());
        assert!(doors.iter().map(load).all(|count| (3..=4).contains(&count)));
    }

    #[test]
    fn who_knocks_during_a_hand_over_is_left_to_the_next() {
        let (acceptor, address) = acceptor(1);
        let listeners = acceptor.listeners.clone();
        acceptor.stopping.hand_over();
        acceptor.stop.store(true, Ordering::Release);
        let client = TcpStream::connect(address).unwrap();
        let counters = Arc::clone(&acceptor.counters);
        acceptor.run();
        assert_eq!(counters.accepted.load(Ordering::Relaxed), 0);
        for (_, listener) in listeners.guests() {
            let (_, from) = listener.accept().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
    }

    #[test]
    fn an_acquirer_whose_connections_are_counted_has_one_shard() {
        let (mut acceptor, address) = acceptor(3);
        acceptor.on_one_shard = vec![true];
        let clients: Vec<_> = (0..7).map(|_| TcpStream::connect(address).unwrap()).collect();
        acceptor.stop.store(true, Ordering::Release);
        let doors: Vec<_> = acceptor.doors.iter().map(|door| Arc::clone(&door.counters)).collect();
        acceptor.run();
        let loads = doors.iter().map(|it| it.connections.load(Ordering::Relaxed));
        assert_eq!(loads.collect::<Vec<_>>(), [clients.len(), 0, 0]);
    }

    /// More connections at once than shards can be given wait with the kernel; none is refused.
    #[test]
    fn a_burst_is_placed_as_the_shards_take_it() {
        const BURST: usize = 2 * PLACED_MAX + 10;
        let (acceptor, address) = acceptor(1);
        let (stop, wake) = (Arc::clone(&acceptor.stop), Arc::clone(&acceptor.wake));
        let counters = Arc::clone(&acceptor.counters);
        let placed = Arc::clone(&acceptor.doors[0].placed);
        let clients: Vec<_> = (0..BURST).map(|_| TcpStream::connect(address).unwrap()).collect();
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| acceptor.run());
            let mut taken = Vec::new();
            // A shard that looks in every millisecond, for ten seconds at most.
            for _ in 0..10_000 {
                taken.extend(placed.pop());
                if taken.len() == BURST {
                    break;
                }
                if placed.is_empty() {
                    let pause = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                    let _ = poll(&mut [], Some(&pause));
                }
            }
            stop.store(true, Ordering::Release);
            wake.signal();
            taken.len()
        });
        assert_eq!((taken, counters.refused_full.load(Ordering::Relaxed)), (BURST, 0));
        drop(clients);
    }

    #[test]
    fn a_connection_is_closed_when_every_shard_is_full() {
        let (acceptor, address) = acceptor(1);
        acceptor.doors[0].counters.connections.store(CONNECTIONS_MAX, Ordering::Relaxed);
        acceptor.stop.store(true, Ordering::Release);
        let mut client = TcpStream::connect(address).unwrap();
        let counters = Arc::clone(&acceptor.counters);
        acceptor.run();
        assert_eq!(io::Read::read(&mut client, &mut [0]).unwrap(), 0);
        assert_eq!(counters.refused_full.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn exhaustion_pauses_and_a_lost_connection_does_not() {
        let after = |errno: Errno| AfterError::of(&io::Error::from(errno));
        assert_eq!(after(Errno::AGAIN), AfterError::NextListener);
        assert_eq!(after(Errno::MFILE), AfterError::Pause);
        assert_eq!(after(Errno::NFILE), AfterError::Pause);
        assert_eq!(after(Errno::CONNABORTED), AfterError::NextConnection);
        assert_eq!(after(Errno::INVAL), AfterError::Pause, "unknown: do not spin");
    }

    #[test]
    fn a_taken_port_is_refused() {
        let first = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = listen(first.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}

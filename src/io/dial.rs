//! Connecting to a peer, and connecting again: each wait is twice the one before, up to a bound, and
//! spread, so that neither the shards of a switch nor the connections of a bank knock at one moment.
//!
//! Not here: what a connection carries (`issuer_connection`, `bank_server`).

use super::watched_fd::watch;
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub(crate) const NS_PER_MS: u64 = 1_000_000;
/// First wait before connecting again; doubled each time.
const RETRY_MS_MIN: u64 = 100;
/// Longest wait before connecting again.
const RETRY_MS_MAX: u64 = 10_000;
/// How long a connection may take to be made.
pub(crate) const CONNECT_MS_MAX: u64 = 3_000;
/// A link that held this long was a good one: after it the waits begin anew.
const SETTLED_MS: u64 = 10_000;
/// How long sent bytes may stay unacknowledged, or an idle peer silent, before the kernel gives up.
const SILENT_PEER: Duration = Duration::from_secs(10);
const PROBE_EVERY: Duration = Duration::from_secs(3);
const PROBES: u32 = 3;

/// The waits of one connection that is to be there always.
pub(crate) struct Retries {
    /// Tries in a row that failed, or made a connection that did not hold.
    failures: u32,
    /// State of the draws that spread waits.
    spread: u64,
}

impl Retries {
    /// `spread` should differ from connection to connection.
    pub(crate) const fn new(spread: u64) -> Self {
        Self { failures: 0, spread }
    }

    /// It is to be made anew: when.
    pub(crate) fn next_ns(&mut self, now_ns: u64) -> u64 {
        let wait_ms = retry_after_ms(self.failures, draw(&mut self.spread));
        self.failures = self.failures.saturating_add(1);
        now_ns + wait_ms * NS_PER_MS
    }

    /// It was there since then, and is lost: after one that held the waits begin anew.
    pub(crate) fn lost(&mut self, since_ns: u64, now_ns: u64) {
        if now_ns >= since_ns + SETTLED_MS * NS_PER_MS {
            self.failures = 0;
        }
    }
}

/// How long to wait after so many failures: doubling, capped, spread by ±20 % so that nobody
/// knocks together with others.
fn retry_after_ms(failures: u32, spread: u64) -> u64 {
    let wait = (RETRY_MS_MIN << failures.min(16)).min(RETRY_MS_MAX);
    wait * 4 / 5 + spread % (wait * 2 / 5 + 1)
}

/// SplitMix64.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ *state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

/// Connects without blocking the thread.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let watched = watch(OwnedFd::from(socket))?;
    watched.writable().await?.retain_ready();
    let socket = Socket::from(watched.into_inner());
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // Trying a free port of this machine can connect a socket to itself, and so take the port away
    // from the bank that is to listen there.
    if socket.local_addr()?.as_socket() == Some(address) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    watch_over(SockRef::from(&socket))?;
    Ok(socket.into())
}

/// No waiting for more to send, and peers that are gone are noticed.
pub(crate) fn watch_over(socket: SockRef<'_>) -> io::Result<()> {
    let socket = &*socket;
    socket.set_tcp_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENT_PEER)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    let silent_ms = u32::try_from(SILENT_PEER.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(socket, silent_ms)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_are_spread() {
        let mut spread = 7;
        for (failures, from, to) in
            [(0, 80, 120), (1, 160, 240), (3, 640, 960), (90, 8_000, 12_000)]
        {
            let waits: Vec<u64> =
                (0..1_000).map(|_| retry_after_ms(failures, draw(&mut spread))).collect();
            assert!(waits.iter().all(|wait| (from..=to).contains(wait)), "{failures}");
            let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
            assert!(most - least > (to - from) * 9 / 10, "{failures}: {least} to {most}");
        }
    }

    #[test]
    fn two_links_do_not_knock_together() {
        let waits = |mut spread: u64| -> Vec<u64> {
            (0..6).map(|failures| retry_after_ms(failures, draw(&mut spread))).collect()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_connection_that_held_is_made_again_soon() {
        let mut retries = Retries::new(3);
        for _ in 0..20 {
            retries.next_ns(0);
        }
        retries.lost(0, SETTLED_MS * NS_PER_MS - 1);
        assert!(retries.next_ns(0) >= 8_000 * NS_PER_MS);
        retries.lost(0, SETTLED_MS * NS_PER_MS);
        assert!(retries.next_ns(0) <= 120 * NS_PER_MS);
    }
}

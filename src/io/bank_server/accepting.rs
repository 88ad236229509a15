//! Where a bank is: what it listens at, whom it calls, and how it speaks; and accepting, a task for each
//! listener.

use super::{Opening, Role};
use crate::config::IssuerLinkConfig;
use crate::io::visits::Visits;
use crate::io::watched_fd::watch;
use crate::shard::IssuerId;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::io::unix::AsyncFd;

/// One bank, or one route to it.
pub(super) struct Site {
    pub(super) issuer: IssuerId,
    pub(super) name: String,
    pub(super) link: IssuerLinkConfig,
    pub(super) role: Role,
    /// Connections that it makes by itself.
    pub(super) calls: usize,
    /// `None`: it only calls.
    socket: Option<AsyncFd<OwnedFd>>,
}

impl Site {
    /// Must be called inside the runtime.
    pub(super) fn new(opening: Opening) -> io::Result<Self> {
        let Opening { issuer, name, link, role, calls, listener } = opening;
        let socket = listener.map(|listener| watch(listener.into())).transpose()?;
        Ok(Self { issuer, name, link, role, calls, socket })
    }
}

/// Connections that the desk is to take: the place of their listener, and the connection.
pub(super) type Accepted = RefCell<VecDeque<(usize, TcpStream)>>;

/// Accepts for as long as it runs. Visits the desk under `slot`.
pub(super) async fn accept_loop(
    site: Rc<Site>,
    place: usize,
    accepted: Rc<Accepted>,
    (visits, slot): (Rc<Visits>, u16),
) {
    let Some(socket) = &site.socket else { return };
    // The runtime's end is the only error.
    while let Ok(mut ready) = socket.readable().await {
        match accept_with(socket.get_ref(), SocketFlags::CLOEXEC) {
            Ok(fd) => {
                let stream = TcpStream::from(fd);
                // It fails when the peer is gone already, which its reads will tell.
                let _ = stream.set_nodelay(true);
                accepted.borrow_mut().push_back((place, stream));
                visits.push(slot);
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            // Nobody waits; or nothing is left to accept with, and the next knock tries again.
            Err(_) => ready.clear_ready(),
        }
    }
}

//! The acquirer connections of this shard: whether open, whether signed on, and, of those that are,
//! when they were last heard and what they were asked.

use super::identity::{AcquirerId, ConnectionId};
use crate::limits::CONNECTIONS_MAX;
use tapswitch_protocol::Stan;

/// Longest header of a frame.
const HEADER_BYTES_MAX: usize = 46;

/// Where a connection's session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Session {
    /// Nothing said yet: enough where the profile needs no sign-on.
    Fresh,
    /// Signed on.
    SignedOn,
    /// Signed off: no transactions until the next sign-on.
    SignedOff,
}

#[derive(Clone, Copy)]
struct Entry {
    id: ConnectionId,
    open: bool,
    /// Another has taken its place: it is being closed.
    leaving: bool,
    session: Session,
    /// Which of all that were ever opened it is.
    number: u64,
}

/// A peer that has signed on.
#[derive(Clone, Copy)]
struct Peer {
    /// The header of its sign-on, which is answered as that is.
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: u8,
    heard_ns: u64,
    /// Our 0800 that waits for its answer, and since when.
    asked: Option<(Stan, u64)>,
    /// Echoes in a row that were not answered.
    misses: u32,
}

impl Peer {
    const UNKNOWN: Self = Self {
        header: [0; HEADER_BYTES_MAX],
        header_bytes: 0,
        heard_ns: 0,
        asked: None,
        misses: 0,
    };
}

/// How it stands with a peer that may be asked for an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It was heard of lately.
    NotYet {
        /// Look again then.
        until_ns: u64,
    },
    /// Nothing has come for long.
    Idle,
    /// It has not answered our echo.
    Missed {
        /// So many in a row.
        misses: u32,
    },
}

/// Fixed table by slot.
pub(super) struct Connections {
    entries: Vec<Entry>,
    peers: Vec<Peer>,
    open: usize,
    /// Connections ever opened.
    opened: u64,
    /// The number of our last 0800.
    last_stan: u32,
}

impl Connections {
    pub(super) fn new() -> Self {
        let closed = Entry {
            id: ConnectionId::default(),
            open: false,
            leaving: false,
            session: Session::Fresh,
            number: 0,
        };
        Self {
            entries: vec![closed; CONNECTIONS_MAX],
            peers: vec![Peer::UNKNOWN; CONNECTIONS_MAX],
            open: 0,
            opened: 0,
            last_stan: 0,
        }
    }

    pub(super) fn open(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entries.get_mut(usize::from(id.slot)) {
            self.open += usize::from(!entry.open);
            self.opened += 1;
            let number = self.opened;
            *entry = Entry { id, open: true, leaving: false, session: Session::Fresh, number };
        }
        if let Some(peer) = self.peers.get_mut(usize::from(id.slot)) {
            *peer = Peer::UNKNOWN;
        }
    }

    /// How many connections an acquirer has here, and the one that was opened first.
    pub(super) fn of_acquirer(&self, acquirer: AcquirerId) -> (usize, Option<ConnectionId>) {
        let is_its = |entry: &&Entry| entry.open && !entry.leaving && entry.id.acquirer == acquirer;
        let its = || self.entries.iter().filter(is_its);
        (its().count(), its().min_by_key(|entry| entry.number).map(|entry| entry.id))
    }

    /// Another connection takes its place.
    pub(super) fn set_leaving(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.leaving = true;
        }
    }

    /// The connection in a slot, if it has signed on.
    pub(super) fn signed_on(&self, slot: u16) -> Option<ConnectionId> {
        let entry = self.entries.get(usize::from(slot))?;
        let is_signed_on = entry.open && !entry.leaving && entry.session == Session::SignedOn;
        is_signed_on.then_some(entry.id)
    }

    fn peer_mut(&mut self, id: ConnectionId) -> Option<&mut Peer> {
        self.entry(id)?;
        self.peers.get_mut(usize::from(id.slot))
    }

    /// The header that the peer is to be answered with.
    pub(super) fn keep_header(&mut self, id: ConnectionId, header: &[u8]) {
        if let Some(peer) = self.peer_mut(id)
            && let Some(kept) = peer.header.get_mut(..header.len())
        {
            kept.copy_from_slice(header);
            // At most HEADER_BYTES_MAX.
            peer.header_bytes = header.len() as u8;
        }
    }

    /// The header of the peer's sign-on.
    pub(super) fn header(&self, id: ConnectionId) -> &[u8] {
        let peer = self.peers.get(usize::from(id.slot));
        peer.and_then(|peer| peer.header.get(..usize::from(peer.header_bytes))).unwrap_or_default()
    }

    /// Something came on this connection.
    #[inline]
    pub(super) fn on_heard(&mut self, id: ConnectionId, now_ns: u64) {
        if let Some(peer) = self.peer_mut(id) {
            peer.heard_ns = now_ns;
        }
    }

    /// Whether the peer is to be asked for an echo.
    pub(super) fn echo_due(&mut self, id: ConnectionId, now_ns: u64, idle_ns: u64) -> Asked {
        let Some(peer) = self.peer_mut(id) else { return Asked::NotYet { until_ns: u64::MAX } };
        if let Some((_, asked_ns)) = peer.asked
            && peer.heard_ns < asked_ns
        {
            peer.misses += 1;
            return Asked::Missed { misses: peer.misses };
        }
        peer.misses = 0;
        let until_ns = peer.heard_ns + idle_ns;
        if now_ns < until_ns {
            peer.asked = None;
            return Asked::NotYet { until_ns };
        }
        Asked::Idle
    }

    /// Our 0800 leaves; its number.
    pub(super) fn ask(&mut self, id: ConnectionId, now_ns: u64) -> Stan {
        self.last_stan = self.last_stan % 999_999 + 1;
        let stan = Stan(self.last_stan);
        if let Some(peer) = self.peer_mut(id) {
            peer.asked = Some((stan, now_ns));
        }
        stan
    }

    /// An answer came. Tells whether it was asked for.
    pub(super) fn on_answer(&mut self, id: ConnectionId, stan: Stan) -> bool {
        let peer = self.peer_mut(id);
        peer.is_some_and(|peer| peer.asked.take_if(|(asked, _)| *asked == stan).is_some())
    }

    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entry_mut(id) {
            entry.open = false;
            self.open -= 1;
        }
    }

    fn entry_mut(&mut self, id: ConnectionId) -> Option<&mut Entry> {
        self.entries.get_mut(usize::from(id.slot)).filter(|entry| entry.open && entry.id == id)
    }

    #[inline]
    fn entry(&self, id: ConnectionId) -> Option<&Entry> {
        self.entries.get(usize::from(id.slot)).filter(|entry| entry.open && entry.id == id)
    }

    #[inline]
    pub(super) fn is_open(&self, id: ConnectionId) -> bool {
        self.entry(id).is_some()
    }

    #[inline]
    pub(super) fn session(&self, id: ConnectionId) -> Option<Session> {
        self.entry(id).map(|entry| entry.session)
    }

    pub(super) fn set_session(&mut self, id: ConnectionId, session: Session) {
        if let Some(entry) = self.entry_mut(id) {
            entry.session = session;
        }
    }

    /// Another open connection of the same acquirer.
    pub(super) fn sibling(&self, of: ConnectionId) -> Option<ConnectionId> {
        if self.open == 0 {
            return None;
        }
        let is_sibling =
            |entry: &&Entry| entry.open && entry.id.acquirer == of.acquirer && entry.id != of;
        self.entries.iter().find(is_sibling).map(|entry| entry.id)
    }
}

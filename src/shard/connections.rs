//! The acquirer connections of this shard: whether open, and whether signed on.

use super::identity::ConnectionId;
use crate::limits::CONNECTIONS_MAX;

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
    session: Session,
}

/// Fixed table by slot.
pub(super) struct Connections {
    entries: Vec<Entry>,
    open: usize,
}

impl Connections {
    pub(super) fn new() -> Self {
        let closed = Entry { id: ConnectionId::default(), open: false, session: Session::Fresh };
        Self { entries: vec![closed; CONNECTIONS_MAX], open: 0 }
    }

    pub(super) fn open(&mut self, id: ConnectionId) {
        if let Some(entry) = self.entries.get_mut(usize::from(id.slot)) {
            self.open += usize::from(!entry.open);
            *entry = Entry { id, open: true, session: Session::Fresh };
        }
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

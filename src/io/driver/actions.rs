//! Doing what the shard wants done, and telling it what could not be.

use super::{Driver, ShardPorts};
use crate::io::counters::add;
use crate::io::decider::Decider;
use crate::io::mesh::MeshSender;
use crate::io::returned::{Came, Returned};
use crate::shard::{Action, LinkId, MeshMessage, Now};
use std::ops::Range;

impl<D: Decider> Driver<D> {
    #[inline]
    pub(super) fn make_room(&mut self, now: Now) {
        if !self.outbox.has_room() {
            self.act(now);
        }
    }

    /// Does everything that is to be done, and what follows from it.
    pub(super) fn settle(&mut self, now: Now) {
        loop {
            self.act(now);
            if let Some((id, fault)) = self.ports.connections.pop_fault() {
                self.decider.on_fault(id, fault);
            } else if let Some(id) = self.ports.connections.pop_closed() {
                self.decider.on_connection_closed(now, id, &mut self.outbox);
            } else if let Some((came, range)) = self.returned.pop() {
                self.take_back(now, came, &range);
            } else {
                break;
            }
        }
        self.send_mesh();
        if self.ports.bank.wake() {
            add(&self.ports.counters.wakes, 1);
        }
    }

    pub(super) fn take_back(&mut self, now: Now, came: Came, range: &Range<usize>) {
        let Self { decider, returned, outbox, ports, .. } = self;
        let bytes = returned.bytes(range);
        match came {
            Came::Undeliverable(connection) => {
                add(&ports.counters.undeliverable, 1);
                decider.on_undeliverable(now, connection, bytes, outbox);
            }
            Came::ForwardRefused(issuer, acquirer) => {
                decider.on_forward_refused(now, issuer, acquirer, bytes, outbox);
            }
        }
    }

    /// Records what the outbox recorded, and does what it says; what waits for records is held.
    pub(super) fn act(&mut self, now: Now) {
        let Self { outbox, ports, returned, .. } = self;
        let holds = match &mut ports.journal {
            Some(journal) => journal.append(outbox),
            None => false,
        };
        for (place, action) in outbox.actions().iter().enumerate() {
            if holds
                && outbox.is_gated(place)
                && let Some(journal) = &mut ports.journal
            {
                journal.hold(place, outbox);
            } else {
                perform(ports, returned, now, action, |range| outbox.bytes(range));
            }
        }
        outbox.clear();
    }

    /// Shows other shards what was sent to them, and wakes those that sleep.
    pub(super) fn send_mesh(&mut self) {
        for (to, wake) in self.ports.mesh.to.iter_mut().zip(&self.ports.wakes) {
            if to.as_mut().is_some_and(MeshSender::publish) && wake.wake() {
                add(&self.ports.counters.wakes, 1);
            }
        }
    }
}

/// Does one thing.
pub(super) fn perform<'b, P>(
    ports: &mut ShardPorts<P>,
    returned: &mut Returned,
    now: Now,
    action: &Action,
    bytes_of: impl Fn(&Range<usize>) -> &'b [u8],
) {
    match action {
        Action::Respond { connection, bytes } => {
            let frame = bytes_of(bytes);
            if !ports.connections.respond(*connection, frame, now.mono_ns) {
                returned.push(Came::Undeliverable(*connection), frame);
            }
        }
        Action::NoAnswer { connection } => {
            ports.connections.on_no_answer(*connection, now.mono_ns);
        }
        Action::Tell { connection, bytes } => {
            ports.connections.tell(*connection, bytes_of(bytes), now.mono_ns);
        }
        Action::CloseConnection { connection } => {
            ports.connections.close(*connection, now.mono_ns);
        }
        Action::Manage { link, bytes } => ports.links.manage(*link, bytes_of(bytes)),
        Action::CloseLink { link } => ports.links.close(*link, now.mono_ns),
        Action::Forward { issuer, link, acquirer, bytes } => {
            let body = bytes_of(bytes);
            let link = LinkId { issuer: *issuer, number: *link };
            let sent = match ports.links.forward(link, *acquirer, body) {
                Some(sent) => sent,
                None => ports.bank.forward(*issuer, *acquirer, body),
            };
            if !sent {
                returned.push(Came::ForwardRefused(*issuer, *acquirer), body);
            }
        }
        Action::Mesh { to, kind, connection, header_bytes, bytes } => {
            let ring = ports.mesh.to.get_mut(usize::from(to.0)).and_then(Option::as_mut);
            assert!(ring.is_some(), "Invariant: messages go to other shards that exist");
            if let Some(ring) = ring {
                ring.push(MeshMessage {
                    kind: *kind,
                    connection: *connection,
                    header_bytes: *header_bytes,
                    bytes: bytes_of(bytes),
                });
            }
        }
    }
}

//! A decider that echoes: a request's answer is its own bytes, so that a client can check both.
//!
//! The first byte of a request says how it is treated:
//!
//! * `e`: answered at once (so is everything that is not below).
//! * `l`: answered later, after the echo's delay.
//! * `n`: never answered, like a message that the shard drops.
//! * `m`: answered by the next shard, over the mesh.
//! * `s`: answered once the shard is released; until then it spins, and does nothing else.

use crate::io::durable::Durable;
use crate::io::{ConnectionFault, Decider};
use crate::limits::MESH_CREDITS;
use crate::shard::tests::no_allocation::allocations;
use crate::shard::{
    AcquirerId, Action, ConnectionId, IssuerId, LinkId, MeshKind, MeshMessage, Now, Outbox, ShardId,
};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tapswitch_protocol::Framing;

/// Requests after which buffers have their size and lists their room.
pub(super) const WARM_UP: u64 = 4_000;

/// What an echo has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) requests: u64,
    /// Requests taken after the stop began.
    pub(super) while_draining: u64,
    pub(super) crossed: u64,
    pub(super) answers: u64,
    pub(super) faults: Vec<ConnectionFault>,
    pub(super) undeliverable: Vec<Vec<u8>>,
    pub(super) batch_max: u64,
    pub(super) in_flight: usize,
    /// Allocations of the shard's thread, whoever's, after [`WARM_UP`] requests and before the
    /// first connection closed.
    pub(super) allocated: u64,
}

/// How an echo behaves.
#[derive(Clone, Debug)]
pub(super) struct EchoRules {
    pub(super) shards: u8,
    /// By acquirer.
    pub(super) framings: Vec<Framing>,
    pub(super) delay_ms: u64,
    /// Set as soon as the first of them knows that the switch stops.
    pub(super) draining: Arc<AtomicBool>,
    /// Ends the spinning.
    pub(super) released: Arc<AtomicBool>,
}

#[derive(Clone, Copy)]
pub(super) struct StagedEcho {
    connection: ConnectionId,
    sum: u64,
}

pub(super) struct Echo {
    shard: ShardId,
    rules: EchoRules,
    seen: Seen,
    batch: u64,
    allocated_before: Option<u64>,
    draining: bool,
    later: VecDeque<(u64, ConnectionId, Vec<u8>)>,
    credits_out: usize,
}

impl Echo {
    pub(super) fn new(shard: ShardId, rules: EchoRules) -> Self {
        Self {
            shard,
            rules,
            seen: Seen::default(),
            batch: 0,
            allocated_before: None,
            draining: false,
            later: VecDeque::new(),
            credits_out: 0,
        }
    }

    /// Writes a response frame.
    fn frame(
        &self,
        acquirer: AcquirerId,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    ) -> Range<usize> {
        let framing = self.rules.framings[usize::from(acquirer.0)];
        let room = outbox.room();
        let at = framing.begin_response(header, room).unwrap();
        let bytes = at + body.len();
        room[at..bytes].copy_from_slice(body);
        framing.finish(room, bytes);
        outbox.claim(bytes)
    }

    fn respond(
        &mut self,
        connection: ConnectionId,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        let bytes = self.frame(connection.acquirer, header, body, outbox);
        self.seen.answers += 1;
        outbox.push(Action::Respond { connection, bytes });
    }

    fn cross(&mut self, connection: ConnectionId, header: &[u8], body: &[u8], outbox: &mut Outbox) {
        self.credits_out += 1;
        self.seen.crossed += 1;
        let bytes = copy(&[header, body].concat(), outbox);
        outbox.push(Action::Mesh {
            to: ShardId((self.shard.0 + 1) % self.rules.shards),
            kind: MeshKind::Request,
            connection,
            header_bytes: header.len() as u8,
            bytes,
        });
    }
}

fn copy(bytes: &[u8], outbox: &mut Outbox) -> Range<usize> {
    outbox.room()[..bytes.len()].copy_from_slice(bytes);
    outbox.claim(bytes.len())
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|&byte| u64::from(byte)).sum()
}

impl Durable for Echo {}

impl Decider for Echo {
    type Staged = StagedEcho;
    type Published = AtomicU64;
    type Report = Seen;

    fn on_connection_open(&mut self, connection: ConnectionId) -> Option<ConnectionId> {
        assert_eq!(connection.shard, self.shard);
        self.seen.opened += 1;
        None
    }

    fn on_connection_closed(&mut self, _: Now, _: ConnectionId, _: &mut Outbox) {
        self.seen.closed += 1;
    }

    fn stage(&mut self, connection: ConnectionId, body: &[u8]) -> StagedEcho {
        StagedEcho { connection, sum: sum(body) }
    }

    fn on_request(
        &mut self,
        now: Now,
        staged: StagedEcho,
        header: &[u8],
        body: &[u8],
        outbox: &mut Outbox,
    ) {
        assert!(outbox.has_room(), "the driver empties the outbox in time");
        assert_eq!(staged.sum, sum(body), "the bytes decided are those staged");
        self.seen.requests += 1;
        self.seen.while_draining += u64::from(self.draining);
        self.batch += 1;
        let can_cross = self.rules.shards > 1 && self.credits_out < MESH_CREDITS;
        match body.first() {
            Some(b'n') => {}
            Some(b's') => {
                while !self.rules.released.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                }
                self.respond(staged.connection, header, body, outbox);
            }
            Some(b'l') => {
                let due_ns = now.mono_ns + self.rules.delay_ms * 1_000_000;
                let bytes = [header, body].concat();
                self.later.push_back((due_ns, staged.connection, bytes));
            }
            Some(b'm') if can_cross => self.cross(staged.connection, header, body, outbox),
            _ => self.respond(staged.connection, header, body, outbox),
        }
    }

    fn on_fault(&mut self, _: ConnectionId, fault: ConnectionFault) {
        self.seen.faults.push(fault);
    }

    fn on_mesh(&mut self, _: Now, from: ShardId, message: MeshMessage<'_>, outbox: &mut Outbox) {
        assert!(outbox.has_room(), "the driver empties the outbox in time");
        let connection = message.connection;
        match message.kind {
            MeshKind::Request => {
                let (header, body) = message.bytes.split_at(usize::from(message.header_bytes));
                let bytes = self.frame(connection.acquirer, header, body, outbox);
                outbox.push(Action::Mesh {
                    to: from,
                    kind: MeshKind::Response,
                    connection,
                    header_bytes: 0,
                    bytes,
                });
            }
            MeshKind::Response => {
                self.credits_out -= 1;
                self.seen.answers += 1;
                let bytes = copy(message.bytes, outbox);
                outbox.push(Action::Respond { connection, bytes });
            }
            _ => unreachable!("an echo sends nothing else"),
        }
    }

    fn on_issuer_response(&mut self, _: Now, _: LinkId, _: AcquirerId, _: &[u8], _: &mut Outbox) {
        unreachable!("an echo forwards nothing");
    }

    fn on_undeliverable(&mut self, _: Now, _: ConnectionId, frame: &[u8], _: &mut Outbox) {
        self.seen.undeliverable.push(frame.to_vec());
    }

    fn on_forward_refused(&mut self, _: Now, _: IssuerId, _: AcquirerId, _: &[u8], _: &mut Outbox) {
        unreachable!("an echo forwards nothing");
    }

    fn on_issuer_down(&mut self, _: Now, _: LinkId, _: &mut Outbox) -> bool {
        unreachable!("an echo has no issuers' links");
    }

    fn on_issuer_up(&mut self, _: Now, _: LinkId) {
        unreachable!("an echo has no issuers' links");
    }

    fn on_leaving(&mut self, _: Now, _: &mut Outbox) -> bool {
        false
    }

    fn on_deadline(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        while self.next_deadline().is_some_and(|due_ns| due_ns <= now.mono_ns) {
            if !outbox.has_room() {
                return true;
            }
            let (_, connection, bytes) = self.later.pop_front().unwrap();
            let framing = self.rules.framings[usize::from(connection.acquirer.0)];
            let (header, body) = bytes.split_at(framing.header_bytes());
            self.respond(connection, header, body, outbox);
        }
        false
    }

    fn next_deadline(&self) -> Option<u64> {
        self.later.front().map(|&(due_ns, _, _)| due_ns)
    }

    fn take_outcomes(&mut self, _: &mut Vec<u8>) {}

    fn on_batch_end(&mut self, _: Now) {
        if self.seen.requests > WARM_UP && self.seen.closed == 0 {
            let made = allocations();
            self.seen.allocated = made - *self.allocated_before.get_or_insert(made);
        }
        self.seen.batch_max = self.seen.batch_max.max(self.batch);
        self.batch = 0;
    }

    fn on_drain(&mut self) {
        self.draining = true;
        self.rules.draining.store(true, Ordering::Release);
    }

    fn in_flight(&self) -> usize {
        self.later.len() + self.credits_out
    }

    fn publish(&self, published: &AtomicU64) -> bool {
        published.store(self.seen.requests, Ordering::Relaxed);
        true
    }

    fn into_report(self) -> Seen {
        Seen { in_flight: self.in_flight(), ..self.seen }
    }
}

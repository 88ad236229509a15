//! A shard's connections: their slots, and what becomes of each.
//!
//! ```text
//!             peer ends, answers owed             all answered, or time over
//!   ┌──────┐ ─────────────────────────▶ ┌────────────┐ ───┐
//!   │ Open │                            │ HalfClosed │    │
//!   └──┬───┘ ─────────────────────────────────────────▶ ┌─▼─────────┐ both tasks
//!      │      peer ends, nothing owed · framing lost ·  │ Finishing │──────────▶ slot free
//!      │      frame not ended in time · the switch stops└─┬─────────┘
//!      │                                                  │ peer lingers
//!      └───────────────────────────────────────────────▶ ┌▼─────┐ both tasks
//!          broken · answers not read (from any state)     │ Dead │──────────▶ slot free
//!                                                         └──────┘
//! ```
//!
//! Open and half-closed connections are delivered to. A finishing one writes what it has, then
//! ends its stream, and discards what still comes until the peer ends too: closing with unread
//! bytes would reset the connection and could destroy answers under way.
//!
//! Not here: the tasks (`duplex`), frames (`driver`).

mod entry;
mod patience;

pub use entry::IoTimeouts;

use super::buffer_pool::BufferPool;
use super::counters::IoCounters;
use super::decider::ConnectionFault;
use super::duplex::{Connection, ReadEnd, WriteStage};
use super::engine::Stream;
use super::read_buffer::ReadBuffer;
use super::returned::{Came, Returned};
use super::visits::Visits;
use crate::config::Config;
use crate::limits::{CONNECTIONS_MAX, OUTPUT_BYTES_MAX};
use crate::shard::{AcquirerId, ConnectionId, ShardId};
use entry::{Entry, Life, NS_PER_MS, unwritten_frames};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tapswitch_protocol::Framing;

// A slot's number is 16 bits.
const _: () = assert!(CONNECTIONS_MAX <= 1 << 16);

#[derive(Default)]
struct Slot {
    generation: u32,
    entry: Option<Entry>,
}

struct AcquirerIo {
    framing: Framing,
    answer_within_ns: u64,
}

/// The connections of one shard.
pub(crate) struct Connections {
    shard: ShardId,
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// (due, slot, generation), at most a few for each connection.
    watch: BinaryHeap<Reverse<(u64, u16, u32)>>,
    visits: Rc<Visits>,
    pool: Rc<BufferPool>,
    acquirers: Vec<AcquirerIo>,
    timeouts: IoTimeouts,
    counters: Arc<IoCounters>,
    reading_stopped: bool,
    /// No longer delivered to; the shard is to be told.
    closed: Vec<ConnectionId>,
    /// What connections did wrong; the shard is to be told.
    faults: Vec<(ConnectionId, ConnectionFault)>,
}

impl Connections {
    pub(crate) fn new(
        shard: ShardId,
        config: &Config,
        timeouts: IoTimeouts,
        counters: Arc<IoCounters>,
    ) -> Self {
        let acquirers = config.acquirers.iter().map(|acquirer| AcquirerIo {
            framing: acquirer.framing,
            answer_within_ns: acquirer.answer_within_ms.max(acquirer.transit_answer_within_ms)
                * NS_PER_MS,
        });
        Self {
            shard,
            slots: Vec::new(),
            free: Vec::new(),
            watch: BinaryHeap::new(),
            visits: Rc::default(),
            pool: Rc::default(),
            acquirers: acquirers.collect(),
            timeouts,
            counters,
            reading_stopped: false,
            closed: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn visits(&self) -> &Rc<Visits> {
        &self.visits
    }

    /// How many acquirers there are.
    pub(crate) fn acquirers(&self) -> usize {
        self.acquirers.len()
    }

    /// Whose connection this is; the first's when it has ended.
    pub(crate) fn acquirer_of(&self, slot: u16) -> AcquirerId {
        let entry = self.slots.get(usize::from(slot)).and_then(|place| place.entry.as_ref());
        entry.map_or(AcquirerId(0), |entry| entry.acquirer)
    }

    pub(crate) fn pool(&self) -> &Rc<BufferPool> {
        &self.pool
    }

    /// Bytes of buffers that connections hold.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.pool.out_bytes()
    }

    pub(crate) fn timeouts(&self) -> &IoTimeouts {
        &self.timeouts
    }

    /// Takes a connection in; `None` when all slots are taken, which the acceptor prevents.
    pub(crate) fn open(&mut self, stream: Stream, acquirer: AcquirerId) -> Option<ConnectionId> {
        let framing = self.acquirers.get(usize::from(acquirer.0))?.framing;
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < CONNECTIONS_MAX => {
                self.slots.push(Slot::default());
                // At most CONNECTIONS_MAX, which is asserted to fit.
                (self.slots.len() - 1) as u16
            }
            None => return None,
        };
        let place = self.slots.get_mut(usize::from(slot))?;
        let generation = place.generation;
        let id = ConnectionId { shard: self.shard, acquirer, slot, generation };
        place.entry = Some(Entry {
            id,
            acquirer,
            framing,
            connection: Connection::spawn(slot, stream, &self.visits, &self.pool),
            life: Life::Open,
            owed: 0,
            partial_since_ns: None,
            slow_since_ns: None,
            give_up_ns: None,
            parked: None,
            watched_ns: u64::MAX,
        });
        Some(id)
    }

    fn entry(&mut self, slot: u16) -> Option<&mut Entry> {
        self.slots.get_mut(usize::from(slot))?.entry.as_mut()
    }

    /// Looks at a connection on which something happened. Answers bytes that were read.
    pub(crate) fn visit(
        &mut self,
        slot: u16,
        now_ns: u64,
        returned: &mut Returned,
    ) -> Option<(ConnectionId, Framing, ReadBuffer)> {
        let entry = self.entry(slot)?;
        let connection = Rc::clone(&entry.connection);
        connection.visited();
        if connection.write_stage() == WriteStage::Failed
            || connection.read_end() == Some(ReadEnd::Failed)
        {
            self.kill(slot);
        }
        self.resume(slot);
        if let Some(buffer) = connection.take_filled() {
            let entry = self.entry(slot)?;
            match entry.life {
                Life::Open => return Some((entry.id, entry.framing, buffer)),
                Life::HalfClosed | Life::Finishing => self.discard(slot, buffer),
                Life::Dead => {
                    buffer.give(&self.pool);
                    connection.stop_reading();
                }
            }
        }
        if connection.read_end() == Some(ReadEnd::PeerEnded) {
            self.on_peer_ended(slot, now_ns);
        }
        if connection.has_ended() {
            self.release(slot, returned);
        }
        None
    }

    /// Reads on when enough of what waited has been written.
    fn resume(&mut self, slot: u16) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.slow_since_ns.is_none() {
            return;
        }
        if entry.connection.waiting() > OUTPUT_BYTES_MAX / 2 {
            entry.connection.visit_below(OUTPUT_BYTES_MAX / 2);
            return;
        }
        entry.slow_since_ns = None;
        if let Some(buffer) = entry.parked.take() {
            self.give_back(slot, buffer);
        }
    }

    /// Finishing: what still comes is not read, only taken.
    fn discard(&mut self, slot: u16, mut buffer: ReadBuffer) {
        let Some(entry) = self.entry(slot) else { return };
        buffer.consume(buffer.filled().len());
        entry.connection.give(buffer);
    }

    fn on_peer_ended(&mut self, slot: u16, now_ns: u64) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.life != Life::Open {
            return;
        }
        entry.partial_since_ns = None;
        if entry.owed == 0 {
            self.finish(slot, now_ns);
            return;
        }
        entry.life = Life::HalfClosed;
        let acquirer = usize::from(entry.acquirer.0);
        let within_ns = self.acquirers.get(acquirer).map_or(0, |io| io.answer_within_ns);
        if let Some(entry) = self.entry(slot) {
            entry.give_up_ns = Some(now_ns + within_ns);
        }
        self.watch(slot);
    }

    /// Gives a buffer back after its batch: `consumed` bytes of it were whole frames.
    pub(crate) fn after_batch(
        &mut self,
        id: ConnectionId,
        mut buffer: ReadBuffer,
        consumed: usize,
        now_ns: u64,
    ) {
        buffer.consume(consumed);
        let Some(entry) = self.entry(id.slot) else { return };
        assert!(entry.id == id, "Invariant: a slot is not reused while the driver has its buffer");
        if buffer.filled().is_empty() {
            entry.partial_since_ns = None;
        } else if consumed > 0 || entry.partial_since_ns.is_none() {
            entry.partial_since_ns = Some(now_ns);
        }
        self.give_back(id.slot, buffer);
        self.watch(id.slot);
    }

    /// Lets a connection be read, or keeps its buffer while it must not be.
    fn give_back(&mut self, slot: u16, buffer: ReadBuffer) {
        let stopped = self.reading_stopped;
        let Some(entry) = self.entry(slot) else { return };
        match entry.life {
            Life::Open if stopped || entry.slow_since_ns.is_some() => {
                entry.parked = Some(buffer);
            }
            Life::Open => entry.connection.give(buffer),
            Life::HalfClosed | Life::Finishing => self.discard(slot, buffer),
            Life::Dead => {
                let connection = Rc::clone(&entry.connection);
                buffer.give(&self.pool);
                connection.stop_reading();
            }
        }
    }

    /// A request of this connection goes to the shard.
    #[inline]
    pub(crate) fn on_request(&mut self, slot: u16) {
        if let Some(entry) = self.entry(slot) {
            entry.owed += 1;
        }
    }

    /// Sends a frame; `false` when its connection is gone.
    #[inline]
    pub(crate) fn respond(&mut self, id: ConnectionId, frame: &[u8], now_ns: u64) -> bool {
        debug_assert_eq!(id.shard, self.shard, "answers of others go through the mesh");
        let Some(entry) = self.entry(id.slot) else { return false };
        if entry.id != id || !entry.is_delivered_to() {
            return false;
        }
        let waiting = entry.connection.append(frame);
        entry.owed = entry.owed.saturating_sub(1);
        if waiting > OUTPUT_BYTES_MAX && entry.slow_since_ns.is_none() {
            entry.slow_since_ns = Some(now_ns);
            entry.connection.visit_below(OUTPUT_BYTES_MAX / 2);
            self.watch(id.slot);
        } else if entry.life == Life::HalfClosed && entry.owed == 0 {
            self.finish(id.slot, now_ns);
        }
        true
    }

    /// Sends a frame that answers nothing.
    pub(crate) fn tell(&mut self, id: ConnectionId, frame: &[u8], now_ns: u64) {
        let Some(entry) = self.entry(id.slot).filter(|entry| entry.id == id) else { return };
        // That it is not owed an answer more.
        entry.owed += 1;
        self.respond(id, frame, now_ns);
    }

    /// The shard wants it no more: what it has is written, then it is closed.
    pub(crate) fn close(&mut self, id: ConnectionId, now_ns: u64) {
        if self.entry(id.slot).is_some_and(|entry| entry.id == id) {
            self.finish(id.slot, now_ns);
        }
    }

    /// Another connection has taken its place: it is read no more, gets its answers, and is closed.
    pub(crate) fn drain(&mut self, id: ConnectionId, now_ns: u64) {
        let Some(entry) = self.entry(id.slot).filter(|entry| entry.id == id) else { return };
        let parked = if entry.life == Life::Open { entry.parked.take() } else { None };
        self.on_peer_ended(id.slot, now_ns);
        if let Some(buffer) = parked {
            self.discard(id.slot, buffer);
        }
    }

    /// One of its requests is never answered.
    pub(crate) fn on_no_answer(&mut self, id: ConnectionId, now_ns: u64) {
        let Some(entry) = self.entry(id.slot).filter(|entry| entry.id == id) else { return };
        entry.owed = entry.owed.saturating_sub(1);
        if entry.life == Life::HalfClosed && entry.owed == 0 {
            self.finish(id.slot, now_ns);
        }
    }

    /// Framing is lost: what was answered is written, then the connection is closed.
    pub(crate) fn on_framing_lost(&mut self, id: ConnectionId, buffer: ReadBuffer, now_ns: u64) {
        self.finish(id.slot, now_ns);
        self.give_back(id.slot, buffer);
    }

    fn finish(&mut self, slot: u16, now_ns: u64) {
        let linger_ns = self.timeouts.linger_ms * NS_PER_MS;
        let Some(entry) = self.entry(slot) else { return };
        if !entry.is_delivered_to() {
            return;
        }
        entry.life = Life::Finishing;
        entry.connection.finish();
        entry.partial_since_ns = None;
        entry.slow_since_ns = None;
        entry.give_up_ns = Some(now_ns + linger_ns);
        let (id, parked) = (entry.id, entry.parked.take());
        self.closed.push(id);
        if let Some(buffer) = parked {
            self.discard(slot, buffer);
        }
        self.watch(slot);
    }

    /// Ends a connection now, whatever it has.
    fn kill(&mut self, slot: u16) {
        let Some(entry) = self.entry(slot) else { return };
        if entry.life == Life::Dead {
            return;
        }
        let was_delivered_to = entry.is_delivered_to();
        entry.life = Life::Dead;
        entry.partial_since_ns = None;
        entry.slow_since_ns = None;
        entry.give_up_ns = None;
        let (id, parked) = (entry.id, entry.parked.take());
        entry.connection.abort();
        if was_delivered_to {
            self.closed.push(id);
        }
        if let Some(buffer) = parked {
            buffer.give(&self.pool);
        }
    }

    /// Both tasks have ended: frames never written come back, the slot is free.
    fn release(&mut self, slot: u16, returned: &mut Returned) {
        self.kill(slot);
        let Some(place) = self.slots.get_mut(usize::from(slot)) else { return };
        let Some(entry) = place.entry.take() else { return };
        place.generation = place.generation.wrapping_add(1);
        self.free.push(slot);
        self.counters.connections.fetch_sub(1, Ordering::Relaxed);
        for (buffer, written) in entry.connection.take_unwritten().into_iter().flatten() {
            for frame in unwritten_frames(entry.framing, &buffer, written) {
                returned.push(Came::Undeliverable(entry.id), frame);
            }
            self.pool.give_after_writing(buffer);
        }
    }

    /// A connection that the shard is to be told is closed.
    pub(crate) fn pop_closed(&mut self) -> Option<ConnectionId> {
        self.closed.pop()
    }

    /// A fault that the shard is to be told of.
    pub(crate) fn pop_fault(&mut self) -> Option<(ConnectionId, ConnectionFault)> {
        self.faults.pop()
    }

    /// Whether nothing is to be told to the shard.
    pub(crate) fn nothing_to_tell(&self) -> bool {
        self.closed.is_empty() && self.faults.is_empty()
    }

    /// Stop: connections are not read on; reads under way still complete and are answered.
    pub(crate) fn stop_reading(&mut self) {
        self.reading_stopped = true;
    }

    /// Stop: every connection writes what it has and ends its stream.
    pub(crate) fn finish_all(&mut self, now_ns: u64) {
        for slot in 0..self.slots.len() {
            self.finish(slot as u16, now_ns);
        }
    }

    /// Stop: ends what is left.
    pub(crate) fn kill_all(&mut self) {
        for slot in 0..self.slots.len() {
            self.kill(slot as u16);
        }
    }

    /// Whether the kernel has taken every answer.
    pub(crate) fn all_written(&self) -> bool {
        let entries = self.slots.iter().filter_map(|slot| slot.entry.as_ref());
        entries.filter(|entry| entry.is_delivered_to()).all(|entry| entry.connection.waiting() == 0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }
}

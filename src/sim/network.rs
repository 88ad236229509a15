//! Connections of acquirers as streams of bytes: cut anywhere, late, in order; one write of the switch
//! after the other; half-closed, broken, or not read for a while.
//!
//! The rules of the switch's side are those of `io::connections`, with smaller numbers. Not here: what
//! the bytes say.

use super::events::Event;
use super::options::FaultKind;
use super::plan::{NS_PER_MS, NS_PER_US};
use super::world::World;
use crate::io::Came;
use crate::limits::FRAME_BYTES_MAX as FRAME_MAX;
use crate::shard::{AcquirerId, ConnectionId, ShardId};
use std::collections::VecDeque;
use tapswitch_protocol::FrameStep;

/// Bytes that an acquirer's side holds while it does not read.
const WINDOW_BYTES: usize = 8_192;
/// Bytes of answers above which a connection that is not read is given up.
const OUTPUT_BYTES_MAX: usize = 16_384;
/// How long they may wait.
const SLOW_NS: u64 = 1_000 * NS_PER_MS;

/// How a connection stands at the switch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// The acquirer sends no more and waits for its answers.
    HalfClosed,
    Closed,
}

/// One connection of an acquirer.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    place: u8,
    pub(super) life: Life,
    /// Whether the acquirer uses it.
    pub(super) is_used: bool,
    broken: bool,
    up: VecDeque<Vec<u8>>,
    up_last_ns: u64,
    pub(super) readable: Vec<u8>,
    pub(super) is_ready: bool,
    ended: bool,
    unwritten: Vec<u8>,
    is_dirty: bool,
    down: VecDeque<Vec<u8>>,
    down_last_ns: u64,
    in_window: usize,
    received: Vec<u8>,
    paused: bool,
    impatient: bool,
    /// Requests taken that are not answered.
    pub(super) owed: u32,
}

/// All connections there ever were, and the slots of each shard.
#[derive(Default)]
pub(super) struct Network {
    pub(super) connections: Vec<Connection>,
    slots: Vec<Vec<(u32, Option<u32>)>>,
    dirty: Vec<Vec<u32>>,
}

impl Network {
    pub(super) fn new(shards: usize) -> Self {
        let slots = vec![Vec::new(); shards];
        Self { connections: Vec::new(), slots, dirty: vec![Vec::new(); shards] }
    }

    fn at(&mut self, connection: u32) -> &mut Connection {
        &mut self.connections[connection as usize]
    }

    fn open(&mut self, (acquirer, place): (u8, u8), shard: usize) -> u32 {
        let slots = &mut self.slots[shard];
        let slot = slots.iter().position(|(_, used)| used.is_none()).unwrap_or(slots.len());
        if slot == slots.len() {
            slots.push((0, None));
        }
        let number = self.connections.len() as u32;
        let (generation, used) = &mut slots[slot];
        *used = Some(number);
        let id = ConnectionId {
            shard: ShardId(shard as u8),
            acquirer: AcquirerId(acquirer),
            slot: slot as u16,
            generation: *generation,
        };
        self.connections.push(Connection {
            id,
            place,
            life: Life::Open,
            is_used: true,
            broken: false,
            up: VecDeque::new(),
            up_last_ns: 0,
            readable: Vec::new(),
            is_ready: false,
            ended: false,
            unwritten: Vec::new(),
            is_dirty: false,
            down: VecDeque::new(),
            down_last_ns: 0,
            in_window: 0,
            received: Vec::new(),
            paused: false,
            impatient: false,
            owed: 0,
        });
        number
    }

    /// The connection that has this slot now.
    pub(super) fn of_id(&self, id: ConnectionId) -> Option<u32> {
        let slots = self.slots.get(usize::from(id.shard.0))?;
        let number = slots.get(usize::from(id.slot))?.1?;
        (self.connections[number as usize].id == id).then_some(number)
    }

    /// Appends a frame to a connection's output; `false` when the connection is gone.
    pub(super) fn respond(&mut self, id: ConnectionId, frame: &[u8]) -> bool {
        let Some(number) = self.of_id(id) else { return false };
        let connection = self.at(number);
        if connection.life == Life::Closed {
            return false;
        }
        connection.unwritten.extend_from_slice(frame);
        connection.owed = connection.owed.saturating_sub(1);
        if !core::mem::replace(&mut connection.is_dirty, true) {
            self.dirty[usize::from(id.shard.0)].push(number);
        }
        true
    }

    /// Whether every answer has been written.
    pub(super) fn is_written(&self) -> bool {
        let mut open = self.connections.iter().filter(|it| it.life != Life::Closed);
        open.all(|connection| connection.unwritten.is_empty())
    }

    /// One of its requests gets no answer.
    pub(super) fn no_answer(&mut self, id: ConnectionId) {
        if let Some(number) = self.of_id(id) {
            let connection = self.at(number);
            connection.owed = connection.owed.saturating_sub(1);
            if !core::mem::replace(&mut connection.is_dirty, true) {
                self.dirty[usize::from(id.shard.0)].push(number);
            }
        }
    }

    /// The slot is free. Returns the frames that were never written.
    fn release(&mut self, connection: u32) -> Vec<u8> {
        let Connection { id, .. } = *self.at(connection);
        let (generation, used) = &mut self.slots[usize::from(id.shard.0)][usize::from(id.slot)];
        *generation += 1;
        *used = None;
        let connection = self.at(connection);
        connection.life = Life::Closed;
        connection.readable.clear();
        core::mem::take(&mut connection.unwritten)
    }

    /// The process is gone, and with it everything on its side.
    pub(super) fn crash(&mut self) -> Vec<u32> {
        let open: Vec<u32> = (0..self.connections.len() as u32)
            .filter(|number| self.connections[*number as usize].life != Life::Closed)
            .collect();
        for number in &open {
            self.release(*number);
            let connection = self.at(*number);
            connection.broken = true;
            connection.up.clear();
            connection.down.clear();
        }
        for slots in &mut self.slots {
            slots.clear();
        }
        self.dirty.iter_mut().for_each(Vec::clear);
        open
    }
}

impl World {
    /// An acquirer's connection is made, if the switch is there.
    pub(super) fn connect(&mut self, acquirer: u8, place: u8) {
        if self.is_gone(acquirer) {
            return;
        }
        if !self.switch.is_up() {
            let wait_ns = self.streams.network.between(50, 500) * NS_PER_MS;
            return self.events.at(self.now_ns + wait_ns, Event::Connect { acquirer, place });
        }
        let shard = self.streams.network.below(self.plan.shards as u64) as usize;
        let number = self.network.open((acquirer, place), shard);
        self.lines[usize::from(acquirer)][usize::from(place)] = Some(number);
        let id = self.network.connections[number as usize].id;
        self.switch.unit(shard).opened.push(id);
        self.wake(shard);
    }

    /// An acquirer writes a frame. Returns whether the connection took it.
    pub(super) fn write_to_switch(&mut self, number: u32, frame: &[u8]) -> bool {
        if !self.network.at(number).is_used {
            return false;
        }
        let (split, delay) = (self.plan.trouble.split, self.plan.trouble.delay);
        let cut = match self.strikes(FaultKind::Network, split) {
            true => self.streams.network.below(frame.len() as u64) as usize,
            false => 0,
        };
        for part in [&frame[..cut], &frame[cut..]] {
            if part.is_empty() {
                continue;
            }
            let mut delay_ns = self.streams.network.between(20, 200) * NS_PER_US;
            if self.strikes(FaultKind::Network, delay) {
                delay_ns += self.streams.network.between(1, 300) * NS_PER_MS;
            }
            let connection = self.network.at(number);
            connection.up_last_ns = connection.up_last_ns.max(self.now_ns + delay_ns);
            connection.up.push_back(part.to_vec());
            let at_ns = connection.up_last_ns;
            self.events.at(at_ns, Event::ToSwitch { connection: number });
        }
        self.break_sometimes(number);
        true
    }

    /// The network or the acquirer does something to the connection that was just written on.
    fn break_sometimes(&mut self, number: u32) {
        let (reset, half_close) = (self.plan.trouble.reset, self.plan.trouble.half_close);
        let slow_reader = self.plan.trouble.slow_reader;
        if self.strikes(FaultKind::Network, reset) {
            self.break_connection(number);
        } else if self.strikes(FaultKind::Network, half_close) {
            let connection = self.network.at(number);
            connection.is_used = false;
            let at_ns = connection.up_last_ns;
            self.events.at(at_ns, Event::EndToSwitch { connection: number, broken: false });
            self.connect_again(number);
        } else if self.strikes(FaultKind::Network, slow_reader) {
            self.network.at(number).paused = true;
            let pause_ns = self.streams.network.between(10, 3_000) * NS_PER_MS;
            self.events.at(self.now_ns + pause_ns, Event::ReadOn { connection: number });
        }
    }

    /// Both sides lose it: the acquirer now, the switch when it notices.
    pub(super) fn break_connection(&mut self, number: u32) {
        let notice_ns = self.now_ns + self.streams.network.between(10, 20_000) * NS_PER_US;
        let connection = self.network.at(number);
        connection.is_used = false;
        connection.broken = true;
        connection.down.clear();
        connection.received.clear();
        connection.up.clear();
        self.events.at(notice_ns, Event::EndToSwitch { connection: number, broken: true });
        self.connect_again(number);
    }

    fn connect_again(&mut self, number: u32) {
        let connection = self.network.at(number);
        let (acquirer, place) = (connection.id.acquirer.0, connection.place);
        let current = &mut self.lines[usize::from(acquirer)][usize::from(place)];
        if *current == Some(number) {
            *current = None;
            let wait_ns = self.streams.network.between(1, 400) * NS_PER_MS;
            self.events.at(self.now_ns + wait_ns, Event::Connect { acquirer, place });
        }
    }

    pub(super) fn on_bytes_to_switch(&mut self, number: u32) {
        let connection = self.network.at(number);
        let Some(bytes) = connection.up.pop_front() else { return };
        if connection.life != Life::Open {
            return;
        }
        connection.readable.extend_from_slice(&bytes);
        self.visit(number);
    }

    pub(super) fn on_end_to_switch(&mut self, number: u32, broken: bool) {
        let connection = self.network.at(number);
        if connection.life == Life::Closed {
            return;
        }
        if broken {
            self.close(number);
        } else {
            connection.ended = true;
            self.visit(number);
        }
    }

    /// The shard is to look at a connection.
    fn visit(&mut self, number: u32) {
        let connection = self.network.at(number);
        let shard = usize::from(connection.id.shard.0);
        if !core::mem::replace(&mut connection.is_ready, true) {
            self.switch.unit(shard).ready.push_back(number);
        }
        self.wake(shard);
    }

    /// After the frames of a connection were taken: whether its stream is over.
    pub(super) fn after_reading(&mut self, number: u32) {
        let connection = self.network.at(number);
        if connection.ended && connection.life == Life::Open {
            connection.life = Life::HalfClosed;
            self.finish_half_closed(number);
        }
    }

    fn finish_half_closed(&mut self, number: u32) {
        let connection = self.network.at(number);
        let is_done = connection.owed == 0 && connection.unwritten.is_empty();
        if connection.life == Life::HalfClosed && is_done {
            self.close(number);
        }
    }

    /// The switch gives a connection up. What it has not written goes back to the shard.
    pub(super) fn close(&mut self, number: u32) {
        let id = self.network.at(number).id;
        let unwritten = self.network.release(number);
        let shard = usize::from(id.shard.0);
        let notice_ns = self.now_ns + self.streams.network.between(10, 500) * NS_PER_US;
        let at_ns = self.network.at(number).down_last_ns.max(notice_ns);
        self.events.at(at_ns, Event::EndToAcquirer { connection: number });
        self.switch.unit(shard).closed.push(id);
        let mut rest = &unwritten[..];
        while let Ok(FrameStep::Message { bytes, .. }) = self.wire.framing().next(rest, FRAME_MAX) {
            self.switch.unit(shard).returned.push(Came::Undeliverable(id), &rest[..bytes]);
            self.count_copy(id, &rest[..bytes], false);
            rest = &rest[bytes..];
        }
        self.wake(shard);
    }

    pub(super) fn on_end_to_acquirer(&mut self, number: u32) {
        self.network.at(number).is_used = false;
        self.connect_again(number);
    }

    /// At the end of a duty cycle: the next write of each connection that has something to write.
    pub(super) fn write_to_acquirers(&mut self, shard: usize) {
        for number in core::mem::take(&mut self.network.dirty[shard]) {
            self.network.at(number).is_dirty = false;
            self.write_on(number);
            self.finish_half_closed(number);
        }
    }

    fn write_on(&mut self, number: u32) {
        let delay = self.plan.trouble.delay;
        let connection = self.network.at(number);
        let room = WINDOW_BYTES.saturating_sub(connection.in_window);
        let bytes = connection.unwritten.len().min(room);
        if connection.life == Life::Closed || bytes == 0 {
            if connection.unwritten.len() > OUTPUT_BYTES_MAX && !connection.impatient {
                connection.impatient = true;
                let at_ns = self.now_ns + SLOW_NS;
                self.events.at(at_ns, Event::Patience { connection: number });
            }
            return;
        }
        let part: Vec<u8> = connection.unwritten.drain(..bytes).collect();
        connection.in_window += bytes;
        let is_delivered = !connection.broken;
        let mut delay_ns = self.streams.network.between(20, 200) * NS_PER_US;
        if self.strikes(FaultKind::Network, delay) {
            delay_ns += self.streams.network.between(1, 300) * NS_PER_MS;
        }
        let connection = self.network.at(number);
        if is_delivered {
            connection.down_last_ns = connection.down_last_ns.max(self.now_ns + delay_ns);
            connection.down.push_back(part);
            let at_ns = connection.down_last_ns;
            self.events.at(at_ns, Event::ToAcquirer { connection: number });
        }
    }

    pub(super) fn on_bytes_to_acquirer(&mut self, number: u32) {
        let connection = self.network.at(number);
        let Some(bytes) = connection.down.pop_front() else { return };
        connection.received.extend_from_slice(&bytes);
        if !connection.paused {
            self.read_at_acquirer(number);
        }
    }

    /// An acquirer that did not read for a while reads on.
    pub(super) fn on_read_on(&mut self, number: u32) {
        self.network.at(number).paused = false;
        self.read_at_acquirer(number);
    }

    fn read_at_acquirer(&mut self, number: u32) {
        let framing = self.wire.framing();
        let received = core::mem::take(&mut self.network.at(number).received);
        let mut rest = &received[..];
        while let Ok(FrameStep::Message { bytes, .. }) = framing.next(rest, FRAME_MAX) {
            self.on_answer(number, &rest[..bytes]);
            rest = &rest[bytes..];
        }
        let taken = received.len() - rest.len();
        let connection = self.network.at(number);
        connection.received.extend_from_slice(rest);
        connection.in_window = connection.in_window.saturating_sub(taken);
        if connection.life != Life::Closed && !connection.unwritten.is_empty() {
            self.write_on(number);
            self.finish_half_closed(number);
        }
    }

    /// Answers have waited long enough for a reader.
    pub(super) fn on_patience(&mut self, number: u32) {
        let connection = self.network.at(number);
        connection.impatient = false;
        let waits = connection.unwritten.len() > OUTPUT_BYTES_MAX;
        if waits && connection.life != Life::Closed {
            self.close(number);
        }
    }
}

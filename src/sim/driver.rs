//! A shard's duty cycle, in the order of the shipped driver (`io::driver`): what is durable leaves,
//! messages of other shards and issuers go in, deadlines are looked at, frames are staged and decided
//! in groups, and then the next commit begins.
//!
//! What the shard decides is shown to the oracle before anything is done with it.

use super::disk::Snapshot;
use super::events::Event;
use super::options::FaultKind;
use super::plan::{NS_PER_MS, NS_PER_US};
use super::switch::{Crossing, FromIssuer, SnapshotState};
use super::world::World;
use crate::io::Came;
use crate::limits::{FRAME_BYTES_MAX, MESH_SLOTS, STAGED_MAX};
use crate::shard::snapshot::SnapshotStep;
use crate::shard::{Action, ConnectionId, MeshKind, Now, ShardId, Staged};
use std::ops::Range;
use tapswitch_protocol::FrameStep;

/// A frame that is staged: whose, where in its connection's bytes, and the shard's word for it.
struct StagedFrame {
    staged: Staged,
    read: usize,
    header: Range<usize>,
    body: Range<usize>,
}

/// Bytes of a connection on their way through a batch.
struct Read {
    connection: u32,
    id: ConnectionId,
    bytes: Vec<u8>,
    consumed: usize,
    lost: bool,
}

impl World {
    /// Something came for a shard: it looks soon.
    pub(super) fn wake(&mut self, shard: usize) {
        let delay_ns = match self.streams.schedule.below(200) {
            0 => self.streams.schedule.between(1, 15) * NS_PER_MS,
            _ => self.streams.schedule.between(1, 60) * NS_PER_US,
        };
        self.wake_at(shard, self.now_ns + delay_ns);
    }

    fn wake_at(&mut self, shard: usize, at_ns: u64) {
        let life = self.switch.life;
        let Some(unit) = self.switch.units.get_mut(shard) else { return };
        if at_ns < unit.wakes_ns {
            unit.wakes_ns = at_ns;
            self.events.at(at_ns, Event::Cycle { shard: shard as u8, life });
        }
    }

    pub(super) fn on_cycle(&mut self, shard: usize, life: u32) {
        let now_ns = self.now_ns;
        if life != self.switch.life || !self.switch.is_up() {
            return;
        }
        let unit = self.switch.unit(shard);
        if unit.wakes_ns != now_ns && unit.alarm_ns != now_ns {
            return;
        }
        unit.wakes_ns = if unit.wakes_ns == now_ns { u64::MAX } else { unit.wakes_ns };
        unit.alarm_ns = if unit.alarm_ns == now_ns { u64::MAX } else { unit.alarm_ns };
        let now = self.clock.now(now_ns);
        self.cycle(shard, now);
        let unit = self.switch.unit(shard);
        let due_ns = unit.shard.next_deadline().unwrap_or(u64::MAX).max(now_ns + 1);
        if due_ns < unit.alarm_ns {
            unit.alarm_ns = due_ns;
            self.events.at(due_ns, Event::Cycle { shard: shard as u8, life });
        }
        if self.switch.unit(shard).has_more(now) {
            self.wake(shard);
        }
    }

    fn cycle(&mut self, shard: usize, now: Now) {
        self.release(shard, now);
        self.take_config(shard, now);
        for id in core::mem::take(&mut self.switch.unit(shard).opened) {
            self.switch.unit(shard).shard.on_connection_open(id);
        }
        self.take_mesh(shard, now);
        self.take_issuers(shard, now);
        self.expire(shard, now);
        let mut reads = self.take_reads(shard);
        self.decide_reads(shard, now, &mut reads);
        self.give_back(shard, reads);
        self.settle(shard, now);
        self.write_to_acquirers(shard);
        self.settle(shard, now);
        self.go_on_snapshot(shard, now);
        self.commit(shard);
        self.switch.unit(shard).shard.on_batch_end(now);
    }

    fn take_config(&mut self, shard: usize, now: Now) {
        let Some((configured, limits)) = self.switch.unit(shard).offer.take() else { return };
        let before = self.switch.disks[shard].last_lsn();
        let (unit, outbox) = self.switch.unit(shard).parts();
        unit.on_config(now, &configured, outbox);
        self.oracle.limits.on_limits(shard, limits);
        let (records, count) = outbox.records();
        let lsn = before + u64::from(count);
        let taken = (limits, configured.epoch);
        if let Some(text) = self.oracle.epochs.on_taken(shard, taken, (records, lsn)) {
            return self.fail("I-19", 0, text);
        }
        self.act(shard, now, false);
    }

    fn take_mesh(&mut self, shard: usize, now: Now) {
        for peer in 0..self.plan.shards {
            loop {
                let ring = &mut self.switch.unit(shard).mesh[peer];
                let is_visible = ring.front().is_some_and(|it| it.visible_ns <= now.mono_ns);
                let Some(crossing) = ring.pop_front_if(|_| is_visible) else { break };
                // An issuer's answer is decided here; an acquirer's was decided there.
                let is_answer = !matches!(
                    crossing.kind,
                    MeshKind::Request
                        | MeshKind::TokenAsk
                        | MeshKind::Translated
                        | MeshKind::TokenRequest
                        | MeshKind::IssuerMessage
                        | MeshKind::SignedOff
                );
                let (unit, outbox) = self.switch.unit(shard).parts();
                unit.on_mesh(now, crossing.from, crossing.message(), outbox);
                self.act(shard, now, is_answer);
            }
        }
        self.settle(shard, now);
    }

    fn take_issuers(&mut self, shard: usize, now: Now) {
        while self.finish_loss(shard, now)
            && let Some(input) = self.switch.unit(shard).issuers.pop_front()
        {
            match input {
                FromIssuer::Answer(link, message) => {
                    if let Some(number) = self.answered(link.issuer.0, &message) {
                        self.oracle.limits.on_issuer_answer(number);
                    }
                    self.make_room(shard, now);
                    let acquirer = self.any_acquirer();
                    let (unit, outbox) = self.switch.unit(shard).parts();
                    unit.on_issuer_response(now, link, acquirer, &message, outbox);
                }
                FromIssuer::Down(link) => {
                    self.oracle.limits.on_link_down(link.issuer.0, shard);
                    self.switch.unit(shard).losing = Some(link);
                }
                FromIssuer::Up(link) => self.switch.unit(shard).shard.on_issuer_up(now, link),
            }
        }
        self.settle(shard, now);
    }

    fn finish_loss(&mut self, shard: usize, now: Now) -> bool {
        while let Some(link) = self.switch.unit(shard).losing {
            let (unit, outbox) = self.switch.unit(shard).parts();
            if !unit.on_issuer_down(now, link, outbox) {
                self.switch.unit(shard).losing = None;
            }
            self.act(shard, now, false);
        }
        true
    }

    fn expire(&mut self, shard: usize, now: Now) {
        loop {
            let (unit, outbox) = self.switch.unit(shard).parts();
            let is_due = unit.next_deadline().is_some_and(|due_ns| due_ns <= now.mono_ns);
            let more = is_due && unit.on_deadline(now, outbox);
            self.act(shard, now, false);
            if !more {
                break;
            }
        }
        self.settle(shard, now);
    }

    fn take_reads(&mut self, shard: usize) -> Vec<Read> {
        let mut reads = Vec::new();
        if self.switch.stop.is_some_and(|stop| stop.is_deaf) {
            // They stay marked, and are not looked at again.
            self.switch.unit(shard).ready.clear();
        }
        while (reads.len() as u64) < self.plan.reads_max
            && let Some(connection) = self.switch.unit(shard).ready.pop_front()
        {
            let entry = &mut self.network.connections[connection as usize];
            entry.is_ready = false;
            let bytes = core::mem::take(&mut entry.readable);
            reads.push(Read { connection, id: entry.id, bytes, consumed: 0, lost: false });
        }
        reads
    }

    /// Splits what was read into frames, stages them, and decides them in groups.
    fn decide_reads(&mut self, shard: usize, now: Now, reads: &mut [Read]) {
        let group = (self.plan.batch_max as usize).min(STAGED_MAX);
        let mut staged = Vec::with_capacity(group);
        let framing = self.wire.framing();
        for place in 0..reads.len() {
            loop {
                let read = &mut reads[place];
                let (header, body) =
                    match framing.next(&read.bytes[read.consumed..], FRAME_BYTES_MAX) {
                        Ok(FrameStep::Message { header, body, bytes }) => {
                            let end = read.consumed + bytes;
                            let body_at = end - body.len();
                            read.consumed = end;
                            (body_at - header.len()..body_at, body_at..end)
                        }
                        Ok(FrameStep::Probe { bytes } | FrameStep::Unusable { bytes, .. }) => {
                            read.consumed += bytes;
                            continue;
                        }
                        Ok(FrameStep::Incomplete { .. }) => break,
                        Err(_) => {
                            read.lost = true;
                            break;
                        }
                    };
                self.network.connections[read.connection as usize].owed += 1;
                let unit = self.switch.unit(shard);
                let word = unit.shard.stage(read.id, &read.bytes[body.clone()]);
                staged.push(StagedFrame { staged: word, read: place, header, body });
                if staged.len() == group {
                    self.decide_staged(shard, now, (&staged, reads));
                    staged.clear();
                }
            }
        }
        self.decide_staged(shard, now, (&staged, reads));
    }

    fn decide_staged(
        &mut self,
        shard: usize,
        now: Now,
        (staged, reads): (&[StagedFrame], &[Read]),
    ) {
        for frame in staged {
            self.make_room(shard, now);
            let bytes = &reads[frame.read].bytes;
            let (header, body) = (&bytes[frame.header.clone()], &bytes[frame.body.clone()]);
            let (unit, outbox) = self.switch.unit(shard).parts();
            unit.on_request(now, frame.staged, header, body, outbox);
        }
    }

    fn give_back(&mut self, shard: usize, reads: Vec<Read>) {
        for mut read in reads {
            if read.lost {
                self.close(read.connection);
                continue;
            }
            let entry = &mut self.network.connections[read.connection as usize];
            read.bytes.drain(..read.consumed);
            read.bytes.append(&mut entry.readable);
            entry.readable = read.bytes;
            self.after_reading(read.connection);
        }
        let _ = shard;
    }

    fn make_room(&mut self, shard: usize, now: Now) {
        let (_, outbox) = self.switch.unit(shard).parts();
        if !outbox.has_room() {
            self.act(shard, now, false);
        }
    }

    /// Does everything that is to be done, and what follows from it.
    fn settle(&mut self, shard: usize, now: Now) {
        let mut relays = false;
        loop {
            self.act(shard, now, relays);
            relays = false;
            let unit = self.switch.unit(shard);
            if let Some(id) = unit.closed.pop() {
                unit.shard.on_connection_closed(id);
            } else if let Some((came, range)) = unit.returned.pop() {
                let bytes = unit.returned.bytes(&range).to_vec();
                // An answer that comes back has been decided before.
                relays = matches!(came, Came::Undeliverable(_));
                let (unit, outbox) = unit.parts();
                match came {
                    Came::Undeliverable(id) => unit.on_undeliverable(now, id, &bytes, outbox),
                    Came::ForwardRefused(issuer, acquirer) => {
                        unit.on_forward_refused(now, issuer, acquirer, &bytes, outbox);
                    }
                }
            } else {
                break;
            }
        }
    }

    /// Records what the outbox recorded and does what it says; what waits for records is held.
    /// `relays`: its answers were another shard's decisions.
    pub(super) fn act(&mut self, shard: usize, now: Now, relays: bool) {
        let Some(mut outbox) = self.switch.unit(shard).outbox.take() else { return };
        let disk = &mut self.switch.disks[shard];
        let (records, count) = outbox.records();
        if count > 0 {
            let lsn = disk.append(records, count);
            outbox.on_appended(lsn);
        }
        let holds = disk.durable_lsn() < disk.last_lsn();
        let lsns = (disk.last_lsn(), disk.written_lsn());
        for (place, action) in outbox.actions().iter().enumerate() {
            let waits = holds && outbox.is_gated(place);
            self.on_decided(shard, now, (action, relays, holds && !waits), |range| {
                outbox.bytes(range)
            });
            if waits {
                let unit = self.switch.unit(shard);
                unit.held.push(lsns, action, &outbox);
                unit.held_lsns.push_back(lsns.0);
            } else {
                self.perform(shard, action, |range| outbox.bytes(range));
            }
        }
        outbox.clear();
        self.switch.unit(shard).outbox = Some(outbox);
    }

    /// Lets leave what is durable.
    fn release(&mut self, shard: usize, now: Now) {
        let durable_lsn = self.switch.disks[shard].durable_lsn();
        let mut released = false;
        while let Some(batch) = self.switch.unit(shard).held.release(durable_lsn) {
            for action in batch.actions() {
                let waited_for = self.switch.unit(shard).held_lsns.pop_front();
                if waited_for.is_none_or(|lsn| lsn > durable_lsn) {
                    self.fail("I-5", 0, "an answer left before its record was durable".to_owned());
                }
                self.perform(shard, action, |range| batch.bytes(range));
            }
            self.switch.unit(shard).held.give_back(batch);
            released = true;
        }
        if released {
            self.settle(shard, now);
        }
        self.commit(shard);
    }

    fn perform<'b>(
        &mut self,
        shard: usize,
        action: &Action,
        bytes_of: impl Fn(&Range<usize>) -> &'b [u8],
    ) {
        match action {
            Action::Respond { connection, bytes } => {
                let frame = bytes_of(bytes);
                if self.network.respond(*connection, frame) {
                    self.count_copy(*connection, frame, true);
                } else {
                    let came = Came::Undeliverable(*connection);
                    self.switch.unit(shard).returned.push(came, frame);
                }
            }
            Action::NoAnswer { connection } => self.network.no_answer(*connection),
            // Acquirers need no sign-on.
            Action::Tell { .. } | Action::CloseConnection { .. } => {}
            Action::Manage { link, bytes } => {
                // What cannot be sent is as good as not answered.
                self.send_to_issuer(shard, (link.issuer.0, link.number), bytes_of(bytes));
            }
            Action::CloseLink { link } => {
                self.lose_link(link.issuer.0, shard as u8, link.number);
            }
            Action::Forward { issuer, link, acquirer, bytes } => {
                let message = bytes_of(bytes);
                if !self.forward(shard, (issuer.0, *link), message) {
                    let came = Came::ForwardRefused(*issuer, *acquirer);
                    self.switch.unit(shard).returned.push(came, message);
                }
            }
            Action::Mesh { to, kind, connection, header_bytes, bytes } => {
                let delay_ns = match self.streams.schedule.below(100) {
                    0 => self.streams.schedule.between(1, 5) * NS_PER_MS,
                    _ => self.streams.schedule.between(1, 20) * NS_PER_US,
                };
                let visible_ns = self.now_ns + delay_ns;
                let crossing = Crossing {
                    visible_ns,
                    from: ShardId(shard as u8),
                    kind: *kind,
                    connection: *connection,
                    header_bytes: *header_bytes,
                    bytes: bytes_of(bytes).to_vec(),
                };
                let ring = &mut self.switch.unit(usize::from(to.0)).mesh[shard];
                ring.push_back(crossing);
                if ring.len() > MESH_SLOTS {
                    self.fail("I-16", 0, format!("shard {shard} has no slot to shard {}", to.0));
                }
                self.wake_at(usize::from(to.0), visible_ns);
            }
        }
    }

    /// The next commit of a shard, if the one before is done.
    fn commit(&mut self, shard: usize) {
        let Some(records) = self.switch.disks[shard].commit() else { return };
        if let Some(text) = self.oracle.secrets.found_in(records) {
            self.fail("I-22", 0, text);
        }
        let (slow, stall) = (self.plan.trouble.slow_commit, self.plan.trouble.stall);
        let mut delay_ns = self.streams.disk.between(50, 200) * NS_PER_US;
        if self.strikes(FaultKind::Disk, slow) {
            delay_ns += self.streams.disk.between(1, 20) * NS_PER_MS;
        }
        if self.strikes(FaultKind::Disk, stall) {
            delay_ns += self.streams.disk.between(100, 2_000) * NS_PER_MS;
        }
        let life = self.switch.life;
        self.events.at(self.now_ns + delay_ns, Event::Committed { shard: shard as u8, life });
    }

    pub(super) fn on_committed(&mut self, shard: usize, life: u32) {
        if life == self.switch.life && self.switch.is_up() {
            self.switch.disks[shard].on_committed();
            self.wake(shard);
        }
    }

    /// One step of a snapshot, or the beginning of one.
    fn go_on_snapshot(&mut self, shard: usize, now: Now) {
        let step_bytes = self.streams.disk.between(1, 32_768) as usize;
        let every_ns = self.plan.snapshot_every_ms * NS_PER_MS;
        let disk = &mut self.switch.disks[shard];
        let unit = &mut self.switch.units[shard];
        match unit.taking {
            SnapshotState::Idle if now.mono_ns >= unit.snapshot_ns + every_ns => {
                unit.snapshot_ns = now.mono_ns;
                let lsn = disk.last_lsn();
                let replay_from_lsn = unit.shard.replay_from_lsn(lsn);
                let header = unit.shard.snapshot_begin(now);
                disk.writing = Some(Snapshot { lsn, replay_from_lsn, header, bytes: Vec::new() });
                unit.taking = SnapshotState::Taking;
            }
            SnapshotState::Idle | SnapshotState::Writing => return,
            SnapshotState::Taking => {
                let Some(snapshot) = &mut disk.writing else { return };
                match unit.shard.snapshot_next(&mut snapshot.bytes, step_bytes) {
                    SnapshotStep::More => {}
                    SnapshotStep::Done => unit.taking = SnapshotState::Taken,
                    SnapshotStep::Abandoned => {
                        unit.shard.snapshot_abandon();
                        unit.taking = SnapshotState::Idle;
                        disk.writing = None;
                    }
                }
            }
            SnapshotState::Taken => {
                let lsn = disk.writing.as_ref().map_or(0, |snapshot| snapshot.lsn);
                if disk.durable_lsn() >= lsn {
                    unit.taking = SnapshotState::Writing;
                    let delay_ns = self.streams.disk.between(100, 20_000) * NS_PER_US;
                    let life = self.switch.life;
                    let event = Event::SnapshotWritten { shard: shard as u8, life };
                    self.events.at(self.now_ns + delay_ns, event);
                }
            }
        }
        self.wake(shard);
    }

    pub(super) fn on_snapshot_written(&mut self, shard: usize, life: u32) {
        if life == self.switch.life && self.switch.is_up() {
            self.switch.disks[shard].on_snapshot_written();
            self.switch.unit(shard).taking = SnapshotState::Idle;
            self.tally.snapshots += 1;
        }
    }

    /// After a start: every shard finishes what the process before left, before anything new.
    pub(super) fn finish_recovery(&mut self) {
        let now = self.clock.now(self.now_ns);
        for shard in 0..self.plan.shards {
            loop {
                let (unit, outbox) = self.switch.unit(shard).parts();
                let more = unit.on_recovered(now, outbox);
                self.act(shard, now, false);
                if !more {
                    break;
                }
            }
            self.switch.unit(shard).snapshot_ns = now.mono_ns;
            self.wake(shard);
        }
    }
}

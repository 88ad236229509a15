//! The switch under test: shipped shards, what stands around each of them in a process, and the disks
//! that outlive it.
//!
//! This module and `driver` are the only ones that know how a shard is called.

use super::disk::{Disk, Snapshot};
use super::drain::Stop;
use super::random::Stream;
use super::tokens::{self, Token};
use super::wire;
use crate::config::Config;
use crate::io::{Held, Returned};
use crate::shard::{
    AcquirerId, Configured, ConnectionId, LinkId, MeshKind, MeshMessage, Now, Outbox, Secrets,
    Shard, ShardId,
};
use std::collections::VecDeque;

/// An input from an issuer's side.
pub(super) enum FromIssuer {
    Answer(LinkId, Vec<u8>),
    Down(LinkId),
    Up(LinkId),
}

/// A message on its way between two shards.
pub(super) struct Crossing {
    pub(super) visible_ns: u64,
    pub(super) from: ShardId,
    pub(super) kind: MeshKind,
    pub(super) connection: ConnectionId,
    pub(super) header_bytes: u8,
    pub(super) bytes: Vec<u8>,
}

impl Crossing {
    pub(super) fn message(&self) -> MeshMessage<'_> {
        MeshMessage {
            kind: self.kind,
            connection: self.connection,
            header_bytes: self.header_bytes,
            bytes: &self.bytes,
        }
    }
}

/// How a shard's snapshot is getting on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SnapshotState {
    Idle,
    Taking,
    /// All is made; the journal is not durable up to its cut.
    Taken,
    Writing,
}

/// One shard and what it works with.
pub(super) struct Unit {
    pub(super) shard: Shard,
    pub(super) outbox: Option<Outbox>,
    pub(super) held: Held,
    /// For each action held the record that it waits for: what `held` must keep to.
    pub(super) held_lsns: VecDeque<u64>,
    pub(super) returned: Returned,
    pub(super) opened: Vec<ConnectionId>,
    pub(super) closed: Vec<ConnectionId>,
    pub(super) ready: VecDeque<u32>,
    pub(super) issuers: VecDeque<FromIssuer>,
    pub(super) losing: Option<LinkId>,
    /// From each other shard.
    pub(super) mesh: Vec<VecDeque<Crossing>>,
    pub(super) offer: Option<(Configured, usize)>,
    pub(super) taking: SnapshotState,
    pub(super) snapshot_ns: u64,
    /// When its next duty cycle is due because something came, and because a time is over.
    pub(super) wakes_ns: u64,
    pub(super) alarm_ns: u64,
}

/// All shards of one process, and their disks.
pub(super) struct Switch {
    pub(super) units: Vec<Unit>,
    pub(super) disks: Vec<Disk>,
    /// What the shards of the layout before left, one after the other.
    carried: Vec<Snapshot>,
    pub(super) config: Config,
    secrets: Secrets,
    /// Counts the processes.
    pub(super) life: u32,
    pub(super) epoch: u64,
    /// A stop under way, and whether the last one had finished everything.
    pub(super) stop: Option<Stop>,
    pub(super) is_finished: bool,
}

/// What the shards found when they started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Found {
    pub(super) wall_ms: u64,
    pub(super) records: u64,
    pub(super) in_flight: usize,
    pub(super) owed: usize,
}

impl Switch {
    /// No process runs yet.
    pub(super) fn new(config: Config, tokens: &[Token]) -> Self {
        let shards = config.switch.shards;
        let secrets = Secrets::of_card_key([7; 32]);
        let disk = |shard| Disk::holding(&tokens::records(tokens, &secrets, (shard, shards)));
        Self {
            units: Vec::new(),
            disks: (0..shards).map(disk).collect(),
            carried: Vec::new(),
            config,
            secrets,
            life: 0,
            epoch: 0,
            stop: None,
            is_finished: false,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !self.units.is_empty()
    }

    pub(super) fn unit(&mut self, shard: usize) -> &mut Unit {
        &mut self.units[shard]
    }

    /// A process starts: every shard reads what its disk has.
    ///
    /// # Errors
    /// A shard cannot use it: why.
    pub(super) fn start(&mut self, draw: &mut Stream) -> Result<Found, String> {
        self.life += 1;
        let mut found = Found::default();
        for number in 0..self.config.switch.shards {
            let shard = self.recover(number, draw)?;
            let recovered = shard.recovered();
            found.wall_ms = found.wall_ms.max(recovered.wall_ms);
            found.records += recovered.records;
            found.in_flight += recovered.in_flight;
            found.owed += recovered.owed;
            self.epoch = self.epoch.max(recovered.epoch);
            self.units.push(Unit::new(shard, self.config.switch.shards));
        }
        self.epoch += 1;
        Ok(found)
    }

    /// A shard that knows what is on its disk.
    pub(super) fn recover(&self, number: usize, draw: &mut Stream) -> Result<Shard, String> {
        let mut shard = Shard::new(ShardId(number as u8), &self.config, &self.secrets);
        // I-11: there are few cards here.
        shard.audit_one_of(1);
        let disk = &self.disks[number];
        shard.begin_recovery();
        let (mut from_lsn, mut known_lsn) = (1, 0);
        if let Some(snapshot) = disk.snapshots.last() {
            load(&mut shard, snapshot, draw)?;
            (from_lsn, known_lsn) = (snapshot.replay_from_lsn, snapshot.lsn);
        } else {
            for snapshot in &self.carried {
                load(&mut shard, snapshot, draw)?;
            }
        }
        for group in disk.groups_from(from_lsn) {
            let known = (known_lsn + 1).saturating_sub(group.first_lsn).min(group.count);
            shard.replay(&group.records, known).map_err(|error| error.to_string())?;
        }
        Ok(shard)
    }

    /// The next process has other shards, with disks of their own, which begin with what those before
    /// left.
    pub(super) fn change_layout(&mut self, shards: usize, carried: Vec<Snapshot>) {
        self.carried = carried;
        self.disks = (0..shards).map(|_| Disk::default()).collect();
        self.config.switch.shards = shards;
    }

    /// The process ends here and now. Returns how many records the disks had lied about.
    pub(super) fn crash(&mut self, draw: &mut Stream, lies: bool) -> u64 {
        self.units.clear();
        self.stop = None;
        self.disks.iter_mut().map(|disk| disk.crash(draw, lies)).sum()
    }

    /// Transactions and money that all shards count in the window of now for a merchant, terminal or
    /// acquirer.
    pub(super) fn counted(
        &mut self,
        now: Now,
        counter: usize,
        (acquirer, card): (u8, u32),
    ) -> [u64; 2] {
        let merchant = wire::merchant(card);
        let whose = (AcquirerId(acquirer), &merchant[..], &wire::TERMINAL[..]);
        let shards = self.units.iter_mut().map(|unit| &mut unit.shard);
        shards.fold([0; 2], |[count, amount], shard| {
            let counted = shard.counted_of(now, counter, whose);
            [count + counted.count, amount + counted.amount_minor]
        })
    }

    /// Requests under way, without messages owed.
    pub(super) fn unanswered(&self) -> usize {
        let shards = self.units.iter().map(|unit| &unit.shard);
        shards.map(|shard| shard.in_flight().saturating_sub(shard.owed())).sum()
    }

    /// Requests under way and messages owed.
    pub(super) fn in_flight(&self) -> usize {
        self.units.iter().map(|unit| unit.shard.in_flight()).sum()
    }

    /// Every shard is to judge by these limits from its next duty cycle on.
    pub(super) fn offer(&mut self, config: &Config, number: usize) {
        for unit in &mut self.units {
            let configured = Configured {
                epoch: self.epoch,
                limit_numbers: (0..config.velocity.limits.len() as u8).collect(),
                ..Configured::of(config)
            };
            unit.offer = Some((configured, number));
        }
    }
}

/// Puts a snapshot back, in pieces cut anywhere.
fn load(shard: &mut Shard, snapshot: &Snapshot, draw: &mut Stream) -> Result<(), String> {
    shard.load_begin(&snapshot.header)?;
    let mut rest = &snapshot.bytes[..];
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + draw.below(65_536) as usize).min(rest.len()));
        shard.load(piece)?;
        rest = after;
    }
    shard.load_end()
}

impl Unit {
    fn new(shard: Shard, shards: usize) -> Self {
        Self {
            shard,
            outbox: Some(Outbox::journaling()),
            held: Held::default(),
            held_lsns: VecDeque::new(),
            returned: Returned::default(),
            opened: Vec::new(),
            closed: Vec::new(),
            ready: VecDeque::new(),
            issuers: VecDeque::new(),
            losing: None,
            mesh: (0..shards).map(|_| VecDeque::new()).collect(),
            offer: None,
            taking: SnapshotState::Idle,
            snapshot_ns: 0,
            wakes_ns: u64::MAX,
            alarm_ns: u64::MAX,
        }
    }

    /// Its outbox, which is always there between two calls.
    pub(super) fn parts(&mut self) -> (&mut Shard, &mut Outbox) {
        let outbox = self.outbox.as_mut();
        (&mut self.shard, outbox.expect("Invariant: an outbox is put back after it was emptied"))
    }

    /// Whether nothing is left for it to take or to hand on; what is read is not looked at.
    pub(super) fn is_finished(&self) -> bool {
        self.held.is_empty()
            && self.opened.is_empty()
            && self.closed.is_empty()
            && self.issuers.is_empty()
            && self.losing.is_none()
            && self.mesh.iter().all(VecDeque::is_empty)
    }

    /// Whether it must look again at once.
    pub(super) fn has_more(&self, now: Now) -> bool {
        let visible = |ring: &VecDeque<Crossing>| {
            ring.front().is_some_and(|crossing| crossing.visible_ns <= now.mono_ns)
        };
        !self.ready.is_empty() || !self.issuers.is_empty() || self.mesh.iter().any(visible)
    }
}

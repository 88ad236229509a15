//! What goes wrong by itself: crashes and restarts, links, brown-outs, the clock, other limits.

use super::configuration::configuration;
use super::disk::Snapshot;
use super::events::Event;
use super::options::FaultKind;
use super::plan::{ISSUERS, NS_PER_MS, SHARDS};
use super::world::World;
use crate::shard::snapshot::SnapshotStep;
use crate::shard::{Now, Outbox, Shard};

/// Snapshots of a restart are put back in pieces cut anywhere.
impl World {
    /// The first of each.
    pub(super) fn arrange_troubles(&mut self) {
        let trouble = self.plan.trouble.clone();
        self.arrange(trouble.crash_every_ms, Event::Crash);
        self.arrange(trouble.clock_step_every_ms, Event::ClockStep);
        self.arrange(trouble.reload_every_ms, Event::Reload);
        self.arrange(trouble.link_flap_every_ms, Event::Flap);
        self.arrange(trouble.brown_out_every_ms, Event::BrownOut);
        self.arrange(trouble.sign_off_every_ms, Event::SignOff);
        self.arrange_drain();
    }

    fn arrange(&mut self, every_ms: u64, event: Event) {
        if every_ms > 0 && !self.is_quiet {
            let wait_ns = self.streams.trouble.exponential(every_ms * NS_PER_MS);
            self.events.at(self.now_ns + wait_ns, event);
        }
    }

    fn begins(&mut self, kind: FaultKind) -> bool {
        if !self.is_quiet {
            self.tally.faults[kind as usize] += 1;
        }
        !self.is_quiet
    }

    /// The process dies, with everything that was in its memory or on its connections.
    pub(super) fn on_crash(&mut self) {
        self.arrange(self.plan.trouble.crash_every_ms, Event::Crash);
        if !self.switch.is_up() || !self.begins(FaultKind::Crash) {
            return;
        }
        self.trace.tell(self.now_ns, 0, || "the switch dies".to_owned());
        self.gone.on_end(self.now_ns);
        for connection in self.network.crash() {
            let notice_ns = self.streams.network.between(1, 20) * NS_PER_MS;
            self.events.at(self.now_ns + notice_ns, Event::EndToAcquirer { connection });
        }
        let lies = self.options.lying_disk;
        self.tally.lied += self.switch.crash(&mut self.streams.disk, lies);
        self.oracle.on_crash(self.switch.disks.iter().map(super::disk::Disk::last_lsn));
        self.lose_all_links();
        let away_ns = self.streams.trouble.between(10, 2_000) * NS_PER_MS;
        self.events.at(self.now_ns + away_ns, Event::Start);
    }

    /// A process starts, perhaps with another number of shards.
    pub(super) fn on_start(&mut self) {
        if self.streams.layout.happens(self.plan.other_shards) {
            let shards = self.streams.layout.between(1, SHARDS as u64) as usize;
            if shards != self.plan.shards
                && let Err(text) = self.change_layout(shards)
            {
                return self.fail("I-13", 0, text);
            }
        }
        self.start_switch();
    }

    /// What the shards before knew is carried over, as `io::carry` does it.
    fn change_layout(&mut self, shards: usize) -> Result<(), String> {
        let (mut carried, mut in_flight) = (Vec::new(), 0);
        for shard in 0..self.plan.shards {
            let mut old = self.switch.recover(shard, &mut self.streams.layout)?;
            self.clock.restart(old.recovered().wall_ms);
            in_flight += old.recovered().in_flight;
            carried.push(carry(self.clock.now(self.now_ns), &mut old));
        }
        self.check_stop(in_flight);
        let now = self.clock.now(self.now_ns);
        self.trace.tell(self.now_ns, 0, || format!("{shards} shards from now on"));
        self.trace.add(self.now_ns, shards as u64);
        self.tally.faults[FaultKind::Layout as usize] += 1;
        self.plan.shards = shards;
        self.switch.change_layout(shards, carried);
        self.shard_of_card.fill(None);
        self.oracle.limits.scopes.on_layout(now, shards);
        self.oracle.epochs.on_layout();
        Ok(())
    }

    /// A process starts on what the disks have.
    pub(super) fn start_switch(&mut self) {
        let found = match self.switch.start(&mut self.streams.disk) {
            Ok(found) => found,
            Err(text) => return self.fail("I-13", 0, text),
        };
        self.trace.tell(self.now_ns, 0, || format!("the switch starts: {found:?}"));
        self.check_stop(found.in_flight);
        self.trace.add(self.now_ns, found.records ^ found.wall_ms);
        self.clock.restart(found.wall_ms);
        self.oracle.limits.on_start();
        for shard in 0..self.plan.shards {
            let epoch = self.switch.unit(shard).shard.epoch();
            if let Some(text) = self.oracle.epochs.on_recovered(shard, epoch) {
                return self.fail("I-19", 0, text);
            }
        }
        let config = self.switch.config.clone();
        self.switch.offer(&config, self.limits);
        self.finish_recovery();
        self.make_all_links();
    }

    /// One link fails.
    pub(super) fn on_flap(&mut self) {
        self.arrange(self.plan.trouble.link_flap_every_ms, Event::Flap);
        let issuer = self.streams.trouble.below(ISSUERS as u64);
        let shard = self.streams.trouble.below(self.plan.shards as u64);
        if self.plan.linked[issuer as usize] && self.begins(FaultKind::Link) {
            let links = u64::from(self.plan.sessions[issuer as usize].connections);
            let link = self.streams.link.below(links);
            self.lose_link(issuer as u8, shard as u8, link as u8);
        }
    }

    /// One issuer signs off, and on again later.
    pub(super) fn on_sign_off(&mut self) {
        self.arrange(self.plan.trouble.sign_off_every_ms, Event::SignOff);
        let issuer = self.streams.trouble.below(ISSUERS as u64);
        if self.plan.linked[issuer as usize] && self.begins(FaultKind::Link) {
            self.on_leave(issuer as u8);
        }
    }

    /// One issuer hardly answers for a while.
    pub(super) fn on_brown_out(&mut self) {
        self.arrange(self.plan.trouble.brown_out_every_ms, Event::BrownOut);
        if self.begins(FaultKind::Issuer) {
            let issuer = self.streams.trouble.below(ISSUERS as u64) as u8;
            self.issuers.is_brown[usize::from(issuer)] = true;
            let wait_ns = self.streams.trouble.exponential(2_000 * NS_PER_MS);
            self.events.at(self.now_ns + wait_ns, Event::Recovered { issuer });
        }
    }

    /// The wall clock of the switch's machine is set.
    pub(super) fn on_clock_step(&mut self) {
        self.arrange(self.plan.trouble.clock_step_every_ms, Event::ClockStep);
        if self.begins(FaultKind::Clock) {
            let step_ms = self.streams.clock.between(1, 20_000).cast_signed();
            let step_ms = if self.streams.clock.below(2) == 0 { step_ms } else { -step_ms };
            self.clock.step(step_ms);
            self.trace.tell(self.now_ns, 0, || format!("the clock steps by {step_ms} ms"));
        }
    }

    /// Other limits, while the switch serves.
    pub(super) fn on_reload(&mut self) {
        self.arrange(self.plan.trouble.reload_every_ms, Event::Reload);
        if self.switch.is_up() && self.begins(FaultKind::Reload) {
            let limits = self.plan.redraw_limits(&mut self.streams.trouble);
            let before = self.oracle.epochs.newest();
            let rules = self.plan.redraw_rules(&mut self.streams.rules, before);
            self.tally.faults[FaultKind::Rules as usize] += u64::from(rules != before);
            self.trace.tell(self.now_ns, 0, || format!("other limits: {limits:?}, {rules:?}"));
            let config = configuration(&self.plan, &limits, rules);
            self.oracle.epochs.add(rules);
            self.limits = self.oracle.limits.add_set(limits);
            self.switch.epoch += 1;
            self.switch.offer(&config, self.limits);
            self.switch.config = config;
        }
    }
}

/// A shard of the layout before finishes what was under way, and is written down for those of now.
fn carry(now: Now, shard: &mut Shard) -> Snapshot {
    let mut outbox = Outbox::new();
    while shard.on_recovered(now, &mut outbox) {
        outbox.clear();
    }
    let header = shard.carry_begin(now);
    let mut bytes = Vec::new();
    while shard.snapshot_next(&mut bytes, CARRIED_BYTES) == SnapshotStep::More {}
    Snapshot { lsn: 0, replay_from_lsn: 1, header, bytes }
}

/// Bytes that are made at once.
const CARRIED_BYTES: usize = 65_536;

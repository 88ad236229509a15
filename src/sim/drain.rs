//! An orderly stop, as `io::stopping` has it: new requests are refused, what is under way is answered,
//! then nothing is read on, connections end with their last answers, and the process is gone until the
//! next one starts. What is owed to issuers is on the disk: as at a hand-over, nobody waits for it, which
//! among issuers that lose acknowledgements would be for ever.
//!
//! Not here: what a shard refuses while it stops.

use super::events::Event;
use super::network::Life;
use super::options::FaultKind;
use super::plan::NS_PER_MS;
use super::world::World;
use crate::shard::ShardId;

/// How often it is looked whether everything is finished.
const LOOK_NS: u64 = 10 * NS_PER_MS;

/// A stop under way.
#[derive(Clone, Copy)]
pub(super) struct Stop {
    /// From when on nothing is read any more, and when whatever is left is left.
    deaf_ns: u64,
    over_ns: u64,
    pub(super) is_deaf: bool,
}

impl World {
    /// When the next stop is asked for.
    pub(super) fn arrange_drain(&mut self) {
        let every_ms = self.plan.drain_every_ms;
        if every_ms > 0 && !self.is_quiet {
            let wait_ns = self.streams.drain.exponential(every_ms * NS_PER_MS);
            self.events.at(self.now_ns + wait_ns, Event::Drain);
        }
    }

    pub(super) fn on_drain(&mut self) {
        self.arrange_drain();
        if self.is_quiet || !self.switch.is_up() || self.switch.stop.is_some() {
            return;
        }
        self.tally.faults[FaultKind::Stop as usize] += 1;
        self.trace.tell(self.now_ns, 0, || "the switch is to stop".to_owned());
        // Every other one is too short for issuers that do not answer.
        let (least_ms, most_ms) = self.streams.drain.pick(&[(50, 1_500), (1_500, 12_000)]);
        let drain_ns = self.streams.drain.between(least_ms, most_ms) * NS_PER_MS;
        let (deaf_ns, over_ns) = (self.now_ns + drain_ns / 4 * 3, self.now_ns + drain_ns);
        self.switch.stop = Some(Stop { deaf_ns, over_ns, is_deaf: false });
        for shard in 0..self.plan.shards {
            self.switch.unit(shard).shard.on_drain();
            self.wake(shard);
        }
        self.look_at_stop();
    }

    fn look_at_stop(&mut self) {
        let life = self.switch.life;
        self.events.at(self.now_ns + LOOK_NS, Event::Stopping { life });
    }

    pub(super) fn on_stopping(&mut self, life: u32) {
        let Some(stop) = self.switch.stop.filter(|_| life == self.switch.life) else { return };
        let is_deaf = self.now_ns >= stop.deaf_ns;
        self.switch.stop = Some(Stop { is_deaf, ..stop });
        let is_finished = is_deaf && self.is_finished();
        if is_finished || self.now_ns >= stop.over_ns {
            self.stop_in_order(is_finished);
        } else {
            self.look_at_stop();
        }
    }

    /// Whether shards, rings, disks and connections have nothing left to do but what is owed.
    fn is_finished(&self) -> bool {
        let units_are = self.switch.units.iter().all(super::switch::Unit::is_finished);
        units_are
            && self.switch.unanswered() == 0
            && self.switch.disks.iter().all(super::disk::Disk::is_idle)
            && self.network.is_written()
    }

    fn stop_in_order(&mut self, is_finished: bool) {
        self.trace.tell(self.now_ns, 0, || format!("the switch stops, finished: {is_finished}"));
        self.trace.add(self.now_ns, u64::from(is_finished));
        if !is_finished {
            self.gone.on_end(self.now_ns);
        }
        let now = self.clock.now(self.now_ns);
        for shard in 0..self.plan.shards {
            loop {
                let (unit, outbox) = self.switch.unit(shard).parts();
                let more = unit.on_leaving(now, outbox);
                self.act(shard, now, false);
                if !more {
                    break;
                }
            }
        }
        let all = 0..self.network.connections.len() as u32;
        let open = all.filter(|it| self.network.connections[*it as usize].life != Life::Closed);
        for connection in open.collect::<Vec<_>>() {
            self.close(connection);
        }
        self.network.crash();
        self.switch.crash(&mut self.streams.drain, false);
        self.switch.is_finished = is_finished;
        self.oracle.on_crash(self.switch.disks.iter().map(super::disk::Disk::last_lsn));
        self.lose_all_links();
        let away_ns = self.streams.drain.between(10, 1_000) * NS_PER_MS;
        self.events.at(self.now_ns + away_ns, Event::Start);
    }

    /// A process that had finished left nothing that was under way to the next one.
    pub(super) fn check_stop(&mut self, in_flight: usize) {
        let was_finished = core::mem::take(&mut self.switch.is_finished);
        if was_finished && in_flight > 0 {
            let text = format!("an orderly stop had finished, and left {in_flight} under way");
            self.fail("I-24", 0, text);
        }
    }

    /// A shard that was told to stop takes nothing new.
    pub(super) fn check_taken(&mut self, number: u32, shard: usize) {
        if self.switch.stop.is_some() {
            let shard = ShardId(shard as u8);
            self.fail("I-24", number, format!("forwarded by {shard:?}, which is to stop"));
        }
    }
}

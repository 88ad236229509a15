//! The world: everything in it, its time, and the order in which things happen.
//!
//! First the safety phase, in which things go wrong; then faults stop, and in the liveness phase
//! everything must come to its end within a stated time.

use super::book::Book;
use super::clock::Clock;
use super::configuration::configuration;
use super::events::{Event, Events};
use super::gone::Gone;
use super::issuer::Issuers;
use super::links::Links;
use super::network::Network;
use super::options::{FaultKind, Options};
use super::oracle::{Epochs, Limits, Oracle, Rules, Scopes, SecretsWatch};
use super::plan::{ISSUER_WAIT_MS, NS_PER_MS, NS_PER_S, Plan, SHARDS};
use super::random::Streams;
use super::report::{Report, Tally};
use super::routes::Routes;
use super::stand_in::StoodIn;
use super::switch::Switch;
use super::tokens::token_records;
use super::trace::Trace;
use super::wire::Wire;
use crate::shard::AcquirerId;
use std::collections::BTreeMap;

/// Longest wait between two tries of what is owed, with its spread.
const RESEND_MS_MAX: u64 = 360_000;
/// I-24: so long after the last fault everything is settled.
const SETTLED_WITHIN_NS: u64 = (ISSUER_WAIT_MS + RESEND_MS_MAX + 60_000) * NS_PER_MS;
/// How often what shards have counted of merchants, terminals and acquirers is looked at.
const AUDIT_NS: u64 = 300 * NS_PER_MS;
/// How often it is looked whether all is settled.
const LOOK_NS: u64 = NS_PER_S;

/// Everything.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) plan: Plan,
    pub(super) now_ns: u64,
    pub(super) clock: Clock,
    pub(super) events: Events,
    pub(super) streams: Streams,
    pub(super) network: Network,
    /// The connections that each acquirer uses now.
    pub(super) lines: Vec<Vec<Option<u32>>>,
    pub(super) book: Book,
    /// Messages sent under another's key, by that one's number.
    pub(super) conflicting: BTreeMap<u32, u16>,
    pub(super) issuers: Issuers,
    pub(super) links: Links,
    pub(super) routes: Routes,
    pub(super) gone: Gone,
    pub(super) stood_in: StoodIn,
    pub(super) switch: Switch,
    pub(super) wire: Wire,
    pub(super) oracle: Oracle,
    /// The code that a shard answered first, and by which process it was answered last.
    pub(super) decided: BTreeMap<u32, [u8; 2]>,
    pub(super) decided_by: BTreeMap<u32, u32>,
    pub(super) shard_of_card: Vec<Option<u8>>,
    pub(super) tally: Tally,
    pub(super) trace: Trace,
    /// Transactions begun.
    pub(super) begun: u32,
    /// Which of the oracle's limits are the newest.
    pub(super) limits: usize,
    /// Faults have stopped.
    pub(super) is_quiet: bool,
    quiet_ns: u64,
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let plan = Plan::draw(options);
        let config = configuration(&plan, &plan.limits, Rules::default());
        let wire = Wire::new(&config, plan.tokens_each);
        let rules = (plan.counters.clone(), plan.limits.clone());
        let scopes = Scopes::new(plan.scopes.clone(), plan.shards);
        let limits = Limits::new(rules, scopes, plan.cards.max(plan.hot_cards), SHARDS);
        Self {
            now_ns: NS_PER_S,
            clock: Clock::new(plan.begin_wall_ms),
            events: Events::default(),
            streams: Streams::new(options.seed),
            network: Network::new(SHARDS),
            lines: vec![vec![None; plan.connections]; plan.acquirers],
            book: Book::new(),
            conflicting: BTreeMap::new(),
            issuers: Issuers::default(),
            links: Links::new(SHARDS),
            routes: Routes::default(),
            gone: Gone::default(),
            stood_in: StoodIn::default(),
            switch: Switch::new(config, &token_records(&plan, &wire)),
            oracle: Oracle::new(limits, Epochs::new(SHARDS), SecretsWatch::new(wire.beginnings())),
            decided: BTreeMap::new(),
            decided_by: BTreeMap::new(),
            shard_of_card: vec![None; plan.cards.max(plan.hot_cards) as usize],
            tally: Tally::default(),
            trace: Trace::new(options.traced),
            begun: 0,
            limits: 0,
            is_quiet: false,
            quiet_ns: 0,
            wire,
            options: options.clone(),
            plan,
        }
    }

    /// The whole run.
    pub(super) fn run(mut self) -> Report {
        self.set_up();
        while self.oracle.violation().is_none() {
            let Some((at_ns, event)) = self.events.next() else { break };
            self.now_ns = at_ns;
            self.trace.add(at_ns, event.digest());
            self.tally.events += 1;
            self.happen(event);
            if !self.is_quiet && self.begun == self.options.transactions {
                self.become_quiet();
            }
            if self.is_quiet && self.is_over() {
                break;
            }
        }
        if self.oracle.violation().is_none() {
            self.check_the_end();
        }
        let violation = self.oracle.violation().cloned();
        Report {
            options: self.options.clone(),
            simulated_ns: self.now_ns,
            hash: self.trace.hash(),
            tally: self.tally,
            violation,
            lines: self.trace.into_lines(),
        }
    }

    fn set_up(&mut self) {
        self.trace.tell(self.now_ns, 0, || format!("{:?}", self.plan));
        self.start_switch();
        for acquirer in 0..self.plan.acquirers as u8 {
            for place in 0..self.plan.connections as u8 {
                self.connect(acquirer, place);
            }
        }
        self.events.at(self.now_ns + 5 * NS_PER_MS, Event::Arrival);
        self.arrange_troubles();
        if !self.plan.scopes.is_empty() {
            self.events.at(self.now_ns + AUDIT_NS, Event::Audit);
        }
    }

    /// I-10 of limits that many cards share: what shards have counted is what has happened.
    fn on_audit(&mut self) {
        self.events.at(self.now_ns + AUDIT_NS, Event::Audit);
        if self.switch.is_up() {
            self.check_scopes();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival => self.on_arrival(),
            Event::Look { number, round } => self.on_look(number, round),
            Event::FollowUp { number } => self.on_follow_up(number),
            Event::ToSwitch { connection } => self.on_bytes_to_switch(connection),
            Event::EndToSwitch { connection, broken } => self.on_end_to_switch(connection, broken),
            Event::ToAcquirer { connection } => self.on_bytes_to_acquirer(connection),
            Event::EndToAcquirer { connection } => self.on_end_to_acquirer(connection),
            Event::ReadOn { connection } => self.on_read_on(connection),
            Event::Patience { connection } => self.on_patience(connection),
            Event::Connect { acquirer, place } => self.connect(acquirer, place),
            Event::Cycle { shard, life } => self.on_cycle(usize::from(shard), life),
            Event::Committed { shard, life } => self.on_committed(usize::from(shard), life),
            Event::SnapshotWritten { shard, life } => {
                self.on_snapshot_written(usize::from(shard), life);
            }
            Event::ToIssuer { line, message } => self.on_to_issuer(line, &message),
            Event::FromIssuer { line, message } => self.on_from_issuer(line, message),
            Event::LinkUp { line, process } => self.make_link(line, process),
            Event::SignOff => self.on_sign_off(),
            Event::Return { issuer } => self.on_return(issuer),
            Event::Say { issuer } => self.say(issuer),
            Event::Flap => self.on_flap(),
            Event::BrownOut => self.on_brown_out(),
            Event::Recovered { issuer } => self.issuers.is_brown[usize::from(issuer)] = false,
            Event::Crash => self.on_crash(),
            Event::Start => self.on_start(),
            Event::ClockStep => self.on_clock_step(),
            Event::Reload => self.on_reload(),
            Event::Audit => self.on_audit(),
            Event::Gone => self.on_gone(),
            Event::Drain => self.on_drain(),
            Event::Stopping { life } => self.on_stopping(life),
        }
    }

    /// Whether a fault of this rate strikes now.
    pub(super) fn strikes(&mut self, kind: FaultKind, ppm: u32) -> bool {
        let draw = match kind {
            FaultKind::Network => &mut self.streams.network,
            FaultKind::Disk => &mut self.streams.disk,
            FaultKind::Issuer | FaultKind::Link | FaultKind::StandIn | FaultKind::Failover => {
                &mut self.streams.issuer
            }
            FaultKind::Acquirer | FaultKind::Malformed | FaultKind::Token => {
                &mut self.streams.acquirer
            }
            FaultKind::Crash | FaultKind::Clock | FaultKind::Reload => &mut self.streams.trouble,
            FaultKind::Rules => &mut self.streams.rules,
            FaultKind::Gone => &mut self.streams.gone,
            FaultKind::Shared | FaultKind::Layout => &mut self.streams.layout,
            FaultKind::Stop => &mut self.streams.drain,
        };
        let strikes = draw.happens(ppm) && !self.is_quiet;
        self.tally.faults[kind as usize] += u64::from(strikes);
        strikes
    }

    /// Of several acquirers with one dialect a link's answer may name any.
    pub(super) fn any_acquirer(&mut self) -> AcquirerId {
        AcquirerId(self.streams.issuer.below(self.plan.acquirers as u64) as u8)
    }

    fn become_quiet(&mut self) {
        self.is_quiet = true;
        self.quiet_ns = self.now_ns;
        self.issuers.is_brown.fill(false);
        self.events.at(self.now_ns + LOOK_NS, Event::Arrival);
        self.trace.tell(self.now_ns, 0, || "faults stop".to_owned());
    }

    /// Whether everything has come to its end. Looked at about every second.
    fn is_over(&mut self) -> bool {
        if self.now_ns < self.quiet_ns + LOOK_NS {
            return false;
        }
        self.quiet_ns += LOOK_NS;
        let waiting = self.first_unsettled();
        if waiting.is_none() && self.switch.is_up() && self.switch.in_flight() == 0 {
            return self.switch.disks.iter().all(super::disk::Disk::is_idle);
        }
        let quiet_ns = self.tally.quiet_ns(LOOK_NS);
        if quiet_ns > SETTLED_WITHIN_NS {
            let in_flight = self.switch.in_flight();
            let number = waiting.unwrap_or_default();
            let text = format!(
                "not settled {} s after the last fault; shards have {in_flight} under way or owed",
                quiet_ns / NS_PER_S
            );
            self.fail("I-24", number, text);
        }
        false
    }
}

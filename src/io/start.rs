//! Starting and stopping the threads of a switch. The only place that spawns threads.

mod listeners;
mod running;
mod view;

pub use listeners::{Listeners, Listening};
pub use view::SwitchView;

use super::affinity::{allowed_cores, pin_to_core};
use super::bank_port::{BankPort, Banks};
use super::bank_thread::{BankThread, ServedShard};
use super::clock::{Clock, StepGuard};
use super::config_offer::Offers;
use super::connections::{Connections, IoTimeouts};
use super::counters::{AcceptCounters, IoCounters};
use super::decider::Decider;
use super::doorkeeper::Doorkeeper;
use super::driver::{Driver, JournalPort, ShardEnd, ShardPorts};
use super::engine::{Engine, EngineReport, choose, probe_io_uring, run_thread};
use super::error::{StartError, StopError};
use super::issuer_links::IssuerLinks;
use super::journal::{JournalReport, ShardJournal};
use super::listener::{Acceptor, LinkPlaces, PLACED_MAX, Placed, ShardDoor};
use super::mesh::{MeshPorts, mesh};
use super::outcome_log::{OutcomePort, OutcomeStop, OutcomeThread};
use super::parting::Parting;
use super::pulse::Phase;
use super::recover::{JournalParts, Journals, Kept, RecoveryDoor, RecoveryHall};
use super::shard_orders::ShardOrders;
use super::snapshot_call::SnapshotCall;
use super::stopping::Stopping;
use super::wake::Wake;
use super::watchdog::Watchdog;
use crate::bank::{BankRing, BankSet};
use crate::config::Config;
use crate::limits::SHARDS_MAX;
use crate::shard::velocity::PassedTable;
use crate::shard::{Configured, ShardId};
use crossbeam_queue::ArrayQueue;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use tokio::task::spawn_local;

/// Stack of a shard's thread: batches live on the heap.
const STACK_BYTES: usize = 2 << 20;

/// What is left of a switch that was stopped.
pub struct Stopped<R> {
    /// What each shard reports, by shard.
    pub reports: Vec<R>,
    /// Each shard's banks, by shard.
    pub banks: Vec<BankSet>,
    /// Each shard's journal, by shard; nothing without one.
    pub journals: Vec<JournalReport>,
    /// Entries of the outcome log that could not be written.
    pub outcomes_unwritten: u64,
    /// What shards left in memory for the process that takes over.
    pub partings: Vec<Parting>,
}

/// A running switch. Dropping it stops it without waiting.
pub struct Switch<D: Decider> {
    engine: EngineReport,
    local_addrs: Vec<SocketAddr>,
    shards: Vec<RunningShard<D>>,
    bank_threads: Vec<JoinHandle<Vec<(ShardId, BankSet)>>>,
    acceptor: Option<JoinHandle<()>>,
    outcomes: Option<JoinHandle<u64>>,
    accept_counters: Arc<AcceptCounters>,
    controls: Controls,
    journals: Option<Journals>,
    watchdog: Option<Watchdog>,
}

/// How a thread tells that it is ready, or why it is not.
type Ready = Sender<Result<(), StartError>>;

struct RunningShard<D: Decider> {
    thread: JoinHandle<Option<ShardEnd<D::Report>>>,
    counters: Arc<IoCounters>,
    published: Arc<D::Published>,
}

/// How the threads are told to stop.
#[derive(Clone)]
struct Controls {
    stopping: Arc<Stopping>,
    snapshot_call: Arc<SnapshotCall>,
    offers: Arc<Offers>,
    orders: Arc<ShardOrders>,
    wakes: Vec<Arc<Wake>>,
    acceptor_stop: Arc<AtomicBool>,
    acceptor_wake: Arc<Wake>,
    banks_stop: Arc<AtomicBool>,
    bank_wakes: Vec<Arc<Wake>>,
    outcomes: Option<OutcomeStop>,
    step_guard: Arc<StepGuard>,
}

impl Controls {
    fn new(config: &Config) -> io::Result<Self> {
        let wakes = |count: usize| (0..count).map(|_| Wake::new()).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            stopping: Arc::new(Stopping::new(config.switch.shards)),
            snapshot_call: Arc::new(SnapshotCall::new(config.switch.shards)),
            offers: Arc::new(Offers::new(config.switch.shards, Configured::of(config))),
            orders: Arc::new(ShardOrders::new(config.switch.shards)),
            wakes: wakes(config.switch.shards)?,
            acceptor_stop: Arc::default(),
            acceptor_wake: Wake::new()?,
            banks_stop: Arc::default(),
            bank_wakes: wakes(config.bank.threads.min(config.switch.shards))?,
            outcomes: None,
            step_guard: Arc::new(StepGuard::new(config.switch.clock_step_max_ms)),
        })
    }

    fn stop_accepting(&self) {
        self.acceptor_stop.store(true, Ordering::Release);
        self.acceptor_wake.signal();
    }

    fn stop_shards(&self) {
        self.stopping.ask();
        self.wakes.iter().for_each(|wake| wake.signal());
    }

    fn stop_outcomes(&self) {
        if let Some(outcomes) = &self.outcomes {
            outcomes.stop();
        }
    }

    fn stop_banks(&self) {
        self.banks_stop.store(true, Ordering::Release);
        self.bank_wakes.iter().for_each(|wake| wake.signal());
    }
}

impl<D: Decider + 'static> Switch<D> {
    /// Starts a switch that keeps nothing: `decider` is called once on each shard's own thread.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start<F>(
        config: Arc<Config>,
        timeouts: IoTimeouts,
        decider: F,
    ) -> Result<Self, StartError>
    where
        F: Fn(ShardId) -> D + Send + Sync + 'static,
    {
        let listeners = Listeners::open(&config, &mut Vec::new())?;
        Self::start_on(config, timeouts, (None, &listeners), move |shard, _| decider(shard))
    }

    /// Starts a switch that listens there, on a data directory if there is one: its shards first learn
    /// what they knew. `decider` is called on each shard's own thread, again for each snapshot that
    /// turns out damaged; with the cards' lines, where a process before passed them.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start_on<F>(
        config: Arc<Config>,
        timeouts: IoTimeouts,
        (kept, listeners): (Option<Kept>, &Listeners),
        decider: F,
    ) -> Result<Self, StartError>
    where
        F: Fn(ShardId, Option<PassedTable>) -> D + Send + Sync + 'static,
    {
        let shards = config.switch.shards;
        assert!((1..=SHARDS_MAX).contains(&shards), "Invariant: a checked configuration");
        raise_descriptor_limit();
        let local_addrs = listeners.of_acquirers()?;
        let engine = choose(config.switch.engine, probe_io_uring).map_err(StartError::Engine)?;
        let controls = Controls::new(&config).map_err(|source| no_thread("the switch", source))?;
        let mut switch = Self {
            engine,
            local_addrs,
            shards: Vec::with_capacity(shards),
            bank_threads: Vec::new(),
            acceptor: None,
            outcomes: None,
            accept_counters: Arc::default(),
            controls,
            journals: None,
            watchdog: None,
        };
        // Dropping the switch on an error stops what was started.
        let started = (Arc::new(decider), listeners.clone());
        switch.start_threads(config, timeouts, kept, started)?;
        Ok(switch)
    }

    fn start_threads<F>(
        &mut self,
        config: Arc<Config>,
        timeouts: IoTimeouts,
        kept: Option<Kept>,
        (decider, listeners): (Arc<F>, Listeners),
    ) -> Result<(), StartError>
    where
        F: Fn(ShardId, Option<PassedTable>) -> D + Send + Sync + 'static,
    {
        let clock = Clock::guarded(Arc::clone(&self.controls.step_guard));
        let shards = config.switch.shards;
        let (hall, mut recovery_doors) = match kept {
            Some(kept) => {
                let (hall, doors) = RecoveryHall::new(kept, shards);
                (Some(hall), doors.into_iter().map(Some).collect())
            }
            None => {
                self.controls.offers.begin_after(0);
                (None, (0..shards).map(|_| None).collect::<Vec<_>>())
            }
        };
        let rings: Vec<_> = (0..config.switch.shards).map(|_| Arc::new(BankRing::new())).collect();
        let mut doors = Vec::new();
        let mut ports = self.start_outcomes(&config)?.into_iter();
        let (ready, started) = channel();
        for (index, mesh) in mesh(config.switch.shards).into_iter().enumerate() {
            let ring = Arc::clone(&rings[index]);
            let seed = ShardSeed {
                // At most SHARDS_MAX, which fits a byte.
                shard: ShardId(index as u8),
                config: Arc::clone(&config),
                timeouts,
                clock: clock.clone(),
                counters: Arc::default(),
                published: Arc::default(),
                placed: Arc::new(ArrayQueue::new(PLACED_MAX)),
                places: Arc::default(),
                mesh,
                ring,
                engine: self.engine.engine,
                outcomes: ports.next(),
                controls: self.controls.clone(),
                recovery: recovery_doors.get_mut(index).and_then(Option::take),
            };
            doors.push(seed.door());
            self.start_shard(seed, Arc::clone(&decider), ready.clone())?;
        }
        self.start_banks(&config, &clock, &rings, &ready)?;
        self.start_watchdog(&config)?;
        drop(ready);
        if let Some(hall) = hall {
            let journals = hall.open(&config.journal, &self.controls.offers);
            self.journals = journals.map_err(|error| StartError::Recovery(error.into()))?;
        }
        await_all(&started, self.shards.len() + self.bank_threads.len())?;
        let counted = config.acquirers.iter().map(|it| it.session.connections_max != 0);
        self.start_acceptor(listeners, counted.collect(), (doors, Doorkeeper::new(&config)))
    }

    /// Shards that have not begun to serve yet are not blamed.
    fn start_watchdog(&mut self, config: &Config) -> Result<(), StartError> {
        let shards = self.counters().map(Arc::clone).collect();
        let started = Watchdog::start(shards, config.switch.stall_abort_ms);
        self.watchdog = Some(started.map_err(|source| no_thread("watchdog", source))?);
        Ok(())
    }

    /// The outcome log's thread, if it is wanted; gives each shard's end of it.
    fn start_outcomes(&mut self, config: &Config) -> Result<Vec<OutcomePort>, StartError> {
        let Some(wanted) = &config.outcomes else { return Ok(Vec::new()) };
        let thread = OutcomeThread::new(config, wanted)
            .map_err(|source| StartError::OutcomeLog { dir: wanted.dir.clone(), source })?;
        let ports = thread.ports().collect();
        self.controls.outcomes = Some(thread.stop_handle());
        let spawned = Builder::new().name("outcomes".into()).spawn(move || thread.run());
        self.outcomes = Some(spawned.map_err(|source| no_thread("outcomes", source))?);
        Ok(ports)
    }

    fn start_shard<F>(
        &mut self,
        seed: ShardSeed<D>,
        decider: Arc<F>,
        ready: Ready,
    ) -> Result<(), StartError>
    where
        F: Fn(ShardId, Option<PassedTable>) -> D + Send + Sync + 'static,
    {
        let name = format!("shard-{}", seed.shard.0);
        let (counters, published) = (Arc::clone(&seed.counters), Arc::clone(&seed.published));
        let thread = Builder::new()
            .name(name.clone())
            .stack_size(STACK_BYTES)
            .spawn(move || seed.run(&*decider, ready))
            .map_err(|source| no_thread(&name, source))?;
        self.shards.push(RunningShard { thread, counters, published });
        Ok(())
    }

    fn start_banks(
        &mut self,
        config: &Arc<Config>,
        clock: &Clock,
        rings: &[Arc<BankRing>],
        ready: &Ready,
    ) -> Result<(), StartError> {
        let threads = self.controls.bank_wakes.len();
        for index in 0..threads {
            let name = format!("bank-{index}");
            let core = in_turn(&config.bank.cores, index);
            let served = (index..rings.len()).step_by(threads);
            let ports: Vec<_> = served
                .map(|shard| {
                    let wake = Arc::clone(&self.controls.wakes[shard]);
                    (ShardId(shard as u8), Arc::clone(&rings[shard]), wake)
                })
                .collect();
            let (config, ready) = (Arc::clone(config), ready.clone());
            let wake = Arc::clone(&self.controls.bank_wakes[index]);
            let (stop, clock) = (Arc::clone(&self.controls.banks_stop), clock.clone());
            let thread_name = name.clone();
            let body = move || {
                if let Err(error) = pin(&thread_name, core) {
                    let _ = ready.send(Err(error));
                    return Vec::new();
                }
                let served = ports.into_iter().map(|(shard, ring, shard_wake)| ServedShard {
                    shard,
                    ring,
                    shard_wake,
                    banks: BankSet::new(&config),
                });
                let served = served.collect();
                let _ = ready.send(Ok(()));
                drop(ready);
                BankThread { served, wake, stop, clock, idle: config.switch.idle }.run()
            };
            let spawned = Builder::new().name(name.clone()).spawn(body);
            self.bank_threads.push(spawned.map_err(|source| no_thread(&name, source))?);
        }
        Ok(())
    }

    fn start_acceptor(
        &mut self,
        listeners: Listeners,
        on_one_shard: Vec<bool>,
        (doors, doorkeeper): (Vec<ShardDoor>, Doorkeeper),
    ) -> Result<(), StartError> {
        let acceptor = Acceptor {
            listeners,
            on_one_shard,
            doors,
            wake: Arc::clone(&self.controls.acceptor_wake),
            stop: Arc::clone(&self.controls.acceptor_stop),
            stopping: Arc::clone(&self.controls.stopping),
            counters: Arc::clone(&self.accept_counters),
            doorkeeper,
            clock: Clock::new(),
        };
        let spawned = Builder::new().name("acceptor".into()).spawn(move || acceptor.run());
        self.acceptor = Some(spawned.map_err(|source| no_thread("acceptor", source))?);
        Ok(())
    }

    /// Stops, for another process that listens on: who connects from now on waits for that, and is
    /// not refused. Messages owed are left to it. What is the data directory's is let go. With `parts`
    /// that process is given what shards have in memory, where it can be.
    ///
    /// # Errors
    /// A thread has panicked.
    pub fn hand_over(self, parts: bool) -> Result<Stopped<D::Report>, StopError> {
        self.controls.stopping.hand_over();
        if parts {
            self.controls.stopping.part();
        }
        self.stop()
    }

    /// Stops: accepts no more, answers everything, closes, ends the threads. Takes about
    /// `drain_ms` at most.
    ///
    /// # Errors
    /// A thread has panicked.
    pub fn stop(mut self) -> Result<Stopped<D::Report>, StopError> {
        self.controls.stop_accepting();
        if let Some(acceptor) = self.acceptor.take() {
            join("acceptor", acceptor)?;
        }
        self.controls.stop_shards();
        let mut ends = Vec::with_capacity(self.shards.len());
        for (index, shard) in std::mem::take(&mut self.shards).into_iter().enumerate() {
            ends.extend(join(&format!("shard-{index}"), shard.thread)?);
        }
        self.controls.stop_banks();
        let mut banks = Vec::new();
        for (index, thread) in std::mem::take(&mut self.bank_threads).into_iter().enumerate() {
            banks.extend(join(&format!("bank-{index}"), thread)?);
        }
        self.controls.stop_outcomes();
        let outcomes_unwritten = match self.outcomes.take() {
            Some(thread) => join("outcomes", thread)?,
            None => 0,
        };
        let (mut reports, mut journals) = (Vec::with_capacity(ends.len()), Vec::new());
        let mut partings = Vec::new();
        for (index, end) in ends.into_iter().enumerate() {
            reports.push(end.report);
            journals.extend(end.journal);
            partings.extend(end.parting);
            // At most SHARDS_MAX, which fits a byte.
            banks.extend(end.banks.map(|own| (ShardId(index as u8), own)));
        }
        banks.sort_by_key(|&(shard, _)| shard);
        let banks = banks.into_iter().map(|(_, banks)| banks).collect();
        Ok(Stopped { reports, banks, journals, outcomes_unwritten, partings })
    }
}

impl<D: Decider> Drop for Switch<D> {
    fn drop(&mut self) {
        self.controls.stop_accepting();
        self.controls.stop_shards();
        self.controls.stop_banks();
        self.controls.stop_outcomes();
    }
}

/// What a shard's thread makes its driver of.
struct ShardSeed<D: Decider> {
    shard: ShardId,
    config: Arc<Config>,
    timeouts: IoTimeouts,
    clock: Clock,
    counters: Arc<IoCounters>,
    published: Arc<D::Published>,
    placed: Arc<ArrayQueue<Placed>>,
    places: Arc<LinkPlaces>,
    mesh: MeshPorts,
    ring: Arc<BankRing>,
    engine: Engine,
    outcomes: Option<OutcomePort>,
    controls: Controls,
    recovery: Option<RecoveryDoor>,
}

impl<D: Decider + 'static> ShardSeed<D> {
    fn door(&self) -> ShardDoor {
        ShardDoor {
            placed: Arc::clone(&self.placed),
            wake: Arc::clone(&self.controls.wakes[usize::from(self.shard.0)]),
            counters: Arc::clone(&self.counters),
            places: Arc::clone(&self.places),
        }
    }

    /// The whole life of a shard's thread; `None` when it could not start, which was told.
    fn run(
        mut self,
        decider: &impl Fn(ShardId, Option<PassedTable>) -> D,
        ready: Ready,
    ) -> Option<ShardEnd<D::Report>> {
        let index = usize::from(self.shard.0);
        let name = format!("shard-{index}");
        let (stopping, counters) =
            (Arc::clone(&self.controls.stopping), Arc::clone(&self.counters));
        let _leave = Leave { stopping, counters, index };
        if let Err(error) = pin(&name, in_turn(&self.config.switch.cores, index)) {
            let _ = ready.send(Err(error));
            return None;
        }
        // Told once, by whoever comes first: the driver, or a runtime that cannot be made.
        let ready = Cell::new(Some(ready));
        let tell = |outcome| {
            if let Some(ready) = ready.take() {
                let _ = ready.send(outcome);
            }
        };
        let engine = self.engine;
        let make = |passed| decider(self.shard, passed);
        let (decider, parts) = match self.recovery.take().map(|door| door.pass(self.shard, make)) {
            None => (decider(self.shard, None), None),
            Some(Ok(Some((decider, parts)))) => (decider, Some(parts)),
            // Another shard could not, and has told why.
            Some(Ok(None)) => return None,
            Some(Err(error)) => {
                tell(Err(StartError::Recovery(error)));
                return None;
            }
        };
        if let Some(parts) = &parts {
            self.clock.not_before(parts.wall_ms);
        }
        let ran = run_thread(engine, async {
            let driver = Driver::new(decider, self.into_ports(parts)?)?;
            tell(Ok(()));
            // A task like its connections': it then runs after all that are ready, and what they
            // have read becomes one batch. The runtime polls the outermost future more often.
            match spawn_local(driver.run()).await {
                Ok(end) => Ok(end),
                Err(panicked) => resume_unwind(panicked.into_panic()),
            }
        });
        ran.and_then(|end| end).map_err(|source| tell(Err(no_thread(&name, source)))).ok()
    }

    fn into_ports(mut self, parts: Option<JournalParts>) -> io::Result<ShardPorts<D::Published>> {
        let index = usize::from(self.shard.0);
        let banks = match self.controls.bank_wakes.len() {
            0 => Banks::Inline(Box::new(BankSet::new(&self.config))),
            threads => Banks::Thread(Arc::clone(&self.controls.bank_wakes[index % threads])),
        };
        let counters = Arc::clone(&self.counters);
        let connections = Connections::new(self.shard, &self.config, self.timeouts, counters);
        let links = IssuerLinks::new(
            &self.config,
            self.shard,
            (self.engine, &self.places),
            connections.pool(),
        );
        let journal = parts.map(|parts| self.open_journal(parts)).transpose()?;
        Ok(ShardPorts {
            shard: self.shard,
            journal,
            clock: self.clock,
            connections,
            links,
            counters: self.counters,
            mesh: self.mesh,
            wakes: self.controls.wakes,
            bank: BankPort::new(self.ring, banks),
            placed: self.placed,
            stopping: self.controls.stopping,
            snapshot_call: self.controls.snapshot_call,
            offers: self.controls.offers,
            orders: self.controls.orders,
            published: self.published,
            engine: self.engine,
            idle: self.config.switch.idle,
            drain_ns: self.config.switch.drain_ms * 1_000_000,
            outcomes: self.outcomes,
        })
    }

    fn open_journal(&mut self, parts: JournalParts) -> io::Result<JournalPort> {
        let config = &self.config.journal;
        let journal = ShardJournal::new(self.engine, config, &parts.resume, parts.stock);
        let journal = journal.map_err(io::Error::other)?;
        let port = JournalPort::new(journal, parts.writer, config, self.clock.now());
        port.map_err(io::Error::other)
    }
}

/// A shard that ends is not waited for. One that panics must not keep the others from stopping. (A
/// release build aborts.)
struct Leave {
    stopping: Arc<Stopping>,
    counters: Arc<IoCounters>,
    index: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.counters.pulse.enter(Phase::Away);
        if std::thread::panicking() {
            self.stopping.set_quiet(self.index, true);
            self.stopping.on_closed();
        }
    }
}

/// Lets this process have as many connections as it is allowed at all: the limit that applies
/// without asking is often 1,024. A refusal leaves fewer; accepting then pauses when they are out.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// The core of the thread with this number: cores are given out in turn.
fn in_turn(cores: &[usize], index: usize) -> Option<usize> {
    cores.get(index.checked_rem(cores.len())?).copied()
}

fn pin(thread: &str, core: Option<usize>) -> Result<(), StartError> {
    let Some(core) = core else { return Ok(()) };
    pin_to_core(core).map_err(|source| StartError::Core {
        thread: thread.to_owned(),
        core,
        allowed: allowed_cores().unwrap_or_default(),
        source,
    })
}

fn no_thread(thread: &str, source: io::Error) -> StartError {
    StartError::Thread { thread: thread.to_owned(), source }
}

/// Waits until so many threads are ready.
fn await_all(started: &Receiver<Result<(), StartError>>, threads: usize) -> Result<(), StartError> {
    (0..threads).try_for_each(|_| started.recv().unwrap_or(Err(StartError::Ended)))
}

fn join<T>(thread: &str, handle: JoinHandle<T>) -> Result<T, StopError> {
    handle.join().map_err(|_| StopError::Panicked { thread: thread.to_owned() })
}

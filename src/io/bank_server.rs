//! The simulated banks as a process of their own: TCP listeners, and one thread that owns every
//! account, so that all connections of all switches find the same money and the same memory.
//!
//! ```text
//!   switch shard 0 ──▶ connection ─┐
//!   switch shard 1 ──▶ connection ─┼─▶ desk (one thread): banks, answers that wait for their time
//!   another switch ──▶ connection ─┘
//! ```
//!
//! Connections come and go; accounts, books and the memory of transactions live as long as the
//! process. An answer whose connection is gone is lost: the switch repeats or reverses.
//!
//! A bank is the other end of its link: where the switch connects it listens, where the switch listens
//! it connects, as often as the switch waits for it; of a pair it takes the connection that brings
//! requests and makes the one for their answers. What it makes it makes again, after pauses that grow.
//!
//! Not here: what a bank decides (`bank`), signals and files (`cli`), the desk's cycle (`desk`).

mod accepting;
mod call;
mod desk;
mod served;
mod session;
mod waiting;

use super::engine::{EngineReport, choose, probe_io_uring, run_thread};
use super::error::{StartError, StopError};
use super::listener::listen;
use super::start::raise_descriptor_limit;
use super::wake::Wake;
use crate::bank::{BankSet, Statement};
use crate::config::{Config, IssuerLinkConfig};
use crate::shard::IssuerId;
use accepting::Site;
use crossbeam_queue::ArrayQueue;
use desk::Desk;
use std::net::{SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};
use tokio::task::spawn_local;

/// Statements asked for and not made yet.
const ASKED_MAX: usize = 16;

/// Accounts of one bank at most: what the configuration allows for one shard.
const ACCOUNTS_MAX: usize = 1 << 26;

/// Banks being served. Dropping it stops them without waiting.
pub struct BankServer {
    engine: EngineReport,
    served: Vec<ServedBank>,
    control: Arc<Control>,
    thread: Option<JoinHandle<Option<Statement>>>,
}

/// Who makes the connections between a switch and a bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The switch: the bank listens.
    Listens,
    /// The bank: the switch listens.
    Connects,
    /// Both: requests come by the switch's connections, answers go by the bank's, to there.
    Pairs(SocketAddr),
}

/// One bank and where it is met.
#[derive(Clone, Debug)]
pub struct ServedBank {
    /// Its short name.
    pub name: String,
    /// Where it listens; where it connects to if it does not.
    pub address: SocketAddr,
    /// Who makes the connections.
    pub role: Role,
    /// How it speaks.
    pub dialect: &'static str,
}

/// What the desk's thread is told.
struct Control {
    wake: Arc<Wake>,
    stop: AtomicBool,
    asked: ArrayQueue<Sender<Statement>>,
}

/// One bank before it is served.
struct Opening {
    /// Whose accounts it has: a second route's are those of the first.
    issuer: IssuerId,
    name: String,
    link: IssuerLinkConfig,
    role: Role,
    /// Connections that it makes by itself: what all shards of its switch wait for.
    calls: usize,
    /// `None`: it only connects.
    listener: Option<TcpListener>,
}

impl BankServer {
    /// Serves the banks of these issuers; each must have a link in the configuration.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then.
    pub fn start(config: &Arc<Config>, issuers: &[IssuerId]) -> Result<Self, StartError> {
        raise_descriptor_limit();
        let engine = choose(config.switch.engine, probe_io_uring).map_err(StartError::Engine)?;
        let no_thread = |source| StartError::Thread { thread: "the banks".to_owned(), source };
        let opened: Vec<(Opening, ServedBank)> =
            issuers.iter().filter_map(|&issuer| open(config, issuer)).collect::<Result<_, _>>()?;
        let (openings, served): (Vec<Opening>, Vec<ServedBank>) = opened.into_iter().unzip();
        let control = Arc::new(Control {
            wake: Wake::new().map_err(no_thread)?,
            stop: AtomicBool::new(false),
            asked: ArrayQueue::new(ASKED_MAX),
        });
        let (ready, started) = channel();
        let (shared, desk_config, kind) = (Arc::clone(&control), Arc::clone(config), engine.engine);
        let thread = Builder::new().name("banks".into()).spawn(move || {
            let banks = banks_of(&desk_config, &openings);
            let told = ready.clone();
            let ran = run_thread(kind, async {
                let sites: Vec<_> =
                    openings.into_iter().map(Site::new).collect::<Result<_, _>>()?;
                let desk = Desk::new(kind, banks, sites, shared)?;
                let _ = told.send(Ok(()));
                match spawn_local(desk.run()).await {
                    Ok(statement) => Ok(statement),
                    Err(panicked) => resume_unwind(panicked.into_panic()),
                }
            });
            ran.and_then(|end| end).map_err(|error| ready.send(Err(error))).ok()
        });
        let server = Self { engine, served, control, thread: Some(thread.map_err(no_thread)?) };
        match started.recv() {
            Ok(Ok(())) => Ok(server),
            Ok(Err(source)) => Err(no_thread(source)),
            Err(_) => Err(StartError::Ended),
        }
    }

    /// Which engine is used, and why.
    #[must_use]
    pub fn engine(&self) -> &EngineReport {
        &self.engine
    }

    /// The banks, and where they are met.
    #[must_use]
    pub fn served(&self) -> &[ServedBank] {
        &self.served
    }

    /// What the banks have done so far; they go on. `None` when they have ended.
    #[must_use]
    pub fn statement(&self) -> Option<Statement> {
        let (sender, receiver) = channel();
        self.control.asked.push(sender).ok()?;
        self.control.wake.signal();
        receiver.recv().ok()
    }

    /// Ends every connection once it has written what it has, and tells what the banks did.
    ///
    /// # Errors
    /// The thread has panicked.
    pub fn stop(mut self) -> Result<Statement, StopError> {
        self.tell_to_stop();
        let statement = self.thread.take().and_then(|thread| thread.join().ok()).flatten();
        statement.ok_or(StopError::Panicked { thread: "banks".to_owned() })
    }

    fn tell_to_stop(&self) {
        self.control.stop.store(true, Ordering::Release);
        self.control.wake.signal();
    }
}

impl Drop for BankServer {
    fn drop(&mut self) {
        self.tell_to_stop();
    }
}

/// Banks that have the accounts of all shards: the configuration says how many one shard's have.
fn banks_of(config: &Config, openings: &[Opening]) -> BankSet {
    let mut config = config.clone();
    let shards = config.switch.shards.next_power_of_two();
    config.bank.accounts_max = (config.bank.accounts_max * shards).min(ACCOUNTS_MAX);
    let mut banks = BankSet::serving(&config, Vec::new(), |issuer, _| {
        openings.iter().any(|opening| opening.issuer == issuer)
    });
    banks.keep_statement();
    banks
}

/// `None` for an issuer that is not reached over TCP.
fn open(config: &Config, issuer: IssuerId) -> Option<Result<(Opening, ServedBank), StartError>> {
    let bank = config.issuers.get(usize::from(issuer.0))?;
    let link = bank.link.clone()?;
    let (role, address) = match (link.connect, link.listen) {
        (Some(connect), None) => (Role::Listens, connect),
        (Some(connect), Some(listen)) => (Role::Pairs(listen), connect),
        (None, Some(listen)) => (Role::Connects, listen),
        (None, None) => return None,
    };
    let opened = match role {
        Role::Connects => Ok((address, None)),
        Role::Listens | Role::Pairs(_) => listen(address)
            .and_then(|listener| Ok((listener.local_addr()?, Some(listener))))
            .map_err(|source| StartError::ListenBank {
                address,
                issuer: bank.name.clone(),
                source,
            }),
    };
    let calls = match role {
        Role::Connects => usize::from(link.connections) * config.switch.shards,
        Role::Listens | Role::Pairs(_) => 0,
    };
    let (issuer, name, dialect) = (config.books_of(issuer), bank.name.clone(), link.dialect.name());
    Some(opened.map(|(address, listener)| {
        let served = ServedBank { name: name.clone(), address, role, dialect };
        (Opening { issuer, name, link, role, calls, listener }, served)
    }))
}

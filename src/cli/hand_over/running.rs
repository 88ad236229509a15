//! The side of the running switch: a socket for one successor, what it is passed, and the wait until it
//! serves.
//!
//! Not here: stopping the switch in between (`run`).

use super::{FromRunning, FromSuccessor, LetGo, Passed, TableIs, Terms};
use crate::admin::{Order, PortListeners, Reply, SocketFile, TakeOverReport, listen_at_socket};
use crate::cli::operators::Told;
use crate::io::hand_over::{Breaker, Channel, HandOverError};
use crate::io::{Listeners, Parting, SnapshotCaller};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

/// Behind the operators' socket's name: the one for a successor.
const DOOR_ENDING: &str = ".new";
/// Whoever was shown the door comes through it in this time.
const KNOCK_WITHIN: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// A successor that has closed its line ends in this time.
const END_WITHIN: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };
/// Between two looks whether snapshots are taken.
const SNAPSHOT_LOOK: Duration = Duration::from_millis(20);
/// So many, ten minutes; then the successor reads more records.
const SNAPSHOT_LOOKS_MAX: u32 = 30_000;
/// Between two looks for signals.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a running switch can hand over.
pub(in crate::cli) struct HandOver {
    /// Of this process.
    pub(in crate::cli) terms: Terms,
    /// Acquirers' and issuers'.
    pub(in crate::cli) listeners: Listeners,
    /// Operators'.
    pub(in crate::cli) port: PortListeners,
    /// Makes what the successor has to read short.
    pub(in crate::cli) snapshots: SnapshotCaller,
}

/// Who wants to take over, and how far that came.
pub(in crate::cli) struct Visit {
    /// As in the audit file.
    pub(in crate::cli) who: String,
    pub(in crate::cli) from: String,
    pub(in crate::cli) outcome: VisitOutcome,
}

/// How far it came.
pub(in crate::cli) enum VisitOutcome {
    /// It is ready, and waits.
    Prepared(Prepared),
    /// Not to the end: why, in a sentence.
    Over(String),
}

/// A line to a process that is ready to take over.
pub(in crate::cli) struct Prepared {
    channel: Channel,
    /// Whether it is passed the tables of cards.
    takes_tables: bool,
}

/// The one successor that there can be at a time.
#[derive(Default)]
pub(in crate::cli) struct Visitors(Arc<Mutex<Visiting>>);

#[derive(Default)]
enum Visiting {
    #[default]
    Nobody,
    Somebody(Breaker),
    /// Nobody is let in any more.
    Over,
}

impl Visitors {
    fn now(&self) -> MutexGuard<'_, Visiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is there is sent away, and nobody comes any more.
    pub(in crate::cli) fn end(&self) {
        if let Visiting::Somebody(breaker) = std::mem::replace(&mut *self.now(), Visiting::Over) {
            breaker.cut();
        }
    }

    /// Who is there stays, and nobody else comes.
    pub(in crate::cli) fn close(&self) {
        *self.now() = Visiting::Over;
    }

    /// Who was there has gone: another may come.
    fn forget(&self) {
        let mut now = self.now();
        if matches!(*now, Visiting::Somebody(_)) {
            *now = Visiting::Nobody;
        }
    }

    /// Goes on waiting for the same one at another socket; `false`: nobody is let in any more.
    fn goes_on(&self, breaker: Breaker) -> bool {
        let mut now = self.now();
        let is_awaited = matches!(*now, Visiting::Somebody(_));
        if is_awaited {
            *now = Visiting::Somebody(breaker);
        }
        is_awaited
    }

    /// Opens a door for whoever gave this order, and answers him. What becomes of it is told to
    /// `sender`.
    pub(in crate::cli) fn open<'s>(
        &self,
        order: Order,
        hand_over: &'s HandOver,
        (scope, sender): (&'s Scope<'s, '_>, Sender<Told>),
    ) {
        let Order { who, from, reply, .. } = order;
        let opened = self.open_door(hand_over);
        let (door, report) = match opened {
            Ok(door) => {
                let said = "say your terms there".to_owned();
                let report = TakeOverReport { socket: Some(door.path.clone()), said };
                (Some(door), report)
            }
            Err(said) => (None, TakeOverReport { socket: None, said }),
        };
        let refused = door.is_none().then(|| report.said.clone());
        // He may be gone: then nobody comes through the door, until another order.
        let _ = reply.send(Reply::TakeOver(report));
        let visitors = Self(Arc::clone(&self.0));
        scope.spawn(move || {
            let outcome = match (refused, door) {
                (None, Some(door)) => {
                    visitors.receive(door, hand_over).inspect_err(|_| visitors.forget())
                }
                (refused, _) => Err(refused.unwrap_or_default()),
            };
            let outcome = match outcome {
                Ok(prepared) => VisitOutcome::Prepared(prepared),
                Err(why) => VisitOutcome::Over(why),
            };
            // Nobody listens at the end.
            let _ = sender.send(Told::Visit(Visit { who, from, outcome }));
        });
    }

    fn open_door(&self, hand_over: &HandOver) -> Result<Door, String> {
        let mut now = self.now();
        match &*now {
            Visiting::Nobody => {}
            Visiting::Somebody(_) => return Err("another process is about to take over".to_owned()),
            Visiting::Over => return Err("the switch stops".to_owned()),
        }
        let Some((path, _)) = &hand_over.port.socket else {
            return Err("there is no operators' socket to do it at".to_owned());
        };
        let mut name = path.as_os_str().to_owned();
        name.push(DOOR_ENDING);
        let path = PathBuf::from(name);
        let (listener, file) = listen_at_socket(&path).map_err(|error| error.to_string())?;
        let breaker = Breaker::of(&listener).map_err(|error| error.to_string())?;
        *now = Visiting::Somebody(breaker);
        Ok(Door { listener, _file: file, path })
    }

    /// From the first word to Prepared.
    fn receive(&self, door: Door, hand_over: &HandOver) -> Result<Prepared, String> {
        let stream = door.knock().map_err(|error| format!("nobody came: {error}"))?;
        drop(door);
        let mut channel = Channel::new(stream);
        let breaker = channel.breaker().map_err(|error| error.to_string())?;
        if !self.goes_on(breaker) {
            return Err("the switch stops".to_owned());
        }
        let own_uid = rustix::process::geteuid().as_raw();
        let (uid, pid) = channel.peer().map_err(|error| error.to_string())?;
        if uid != 0 && uid != own_uid {
            return Err(format!("uid {uid} may not take over"));
        }
        let takes_tables = converse(&mut channel, hand_over).map_err(|error| match error {
            Broken::Refused(why) => why,
            Broken::Line(error) => format!("pid {pid}: {error}; this switch serves on"),
        })?;
        Ok(Prepared { channel, takes_tables })
    }
}

/// Where one successor comes in.
struct Door {
    listener: UnixListener,
    /// Goes away with it.
    _file: SocketFile,
    path: PathBuf,
}

impl Door {
    /// Whoever comes, in time.
    fn knock(&self) -> io::Result<UnixStream> {
        if !await_readable(&self.listener, &KNOCK_WITHIN)? {
            return Err(ErrorKind::TimedOut.into());
        }
        Ok(self.listener.accept()?.0)
    }
}

/// Whether it becomes readable in time; a signal begins the time anew.
fn await_readable(fd: impl AsFd, within: &Timespec) -> io::Result<bool> {
    loop {
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(within)) {
            Err(Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

/// Why a successor does not take over.
enum Broken {
    /// It does not fit.
    Refused(String),
    /// It is gone, or speaks otherwise.
    Line(HandOverError),
}

impl From<HandOverError> for Broken {
    fn from(error: HandOverError) -> Self {
        Self::Line(error)
    }
}

/// Tells whether it is passed the tables of cards.
fn converse(channel: &mut Channel, hand_over: &HandOver) -> Result<bool, Broken> {
    let FromSuccessor::Terms(terms) = channel.receive()? else { return Err(unexpected()) };
    let misfits = hand_over.terms.misfits(&terms);
    if !misfits.is_empty() {
        let why = hand_over.terms.refusal(&misfits);
        channel.send(&FromRunning::Refused(why.clone()), None)?;
        return Err(Broken::Refused(why));
    }
    for listening in hand_over.listeners.each() {
        let (name, configured) = (listening.name.clone(), listening.configured);
        let passed = FromRunning::Passed(Passed::Listener { name, configured });
        channel.send(&passed, Some(listening.socket.as_fd()))?;
    }
    if let Some((path, socket)) = &hand_over.port.socket {
        let passed = FromRunning::Passed(Passed::OperatorsSocket(path.clone()));
        channel.send(&passed, Some(socket.as_fd()))?;
    }
    if let Some((address, socket)) = &hand_over.port.http {
        let passed = FromRunning::Passed(Passed::OperatorsHttp(*address));
        channel.send(&passed, Some(socket.as_fd()))?;
    }
    let takes_tables = hand_over.terms.passes_tables_to(&terms);
    if takes_tables {
        channel.send(&FromRunning::TablesFollow, None)?;
    }
    channel.send(&FromRunning::AllPassed, None)?;
    // However long it makes its tables: nothing waits for it.
    match channel.receive()? {
        FromSuccessor::Prepared => take_snapshots(channel, &hand_over.snapshots)?,
        FromSuccessor::Terms(_) | FromSuccessor::Serving => return Err(unexpected()),
    }
    Ok(takes_tables)
}

/// Has snapshots taken while this switch serves on, so that the successor has few records to read
/// while nobody serves. Waits for them as long as is reasonable, and as long as there is a successor.
fn take_snapshots(channel: &mut Channel, snapshots: &SnapshotCaller) -> Result<(), HandOverError> {
    let call = snapshots.call();
    channel.wait_at_most(Some(SNAPSHOT_LOOK)).map_err(HandOverError::Kernel)?;
    for _ in 0..SNAPSHOT_LOOKS_MAX {
        if snapshots.is_served(call) {
            break;
        }
        match channel.receive::<FromSuccessor>() {
            Err(HandOverError::Silent) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(out_of_turn()),
        }
    }
    Ok(())
}

fn unexpected() -> Broken {
    Broken::Line(out_of_turn())
}

fn out_of_turn() -> HandOverError {
    HandOverError::NotUnderstood("out of turn".to_owned())
}

/// A process that is ready to take over.
pub(in crate::cli) struct Successor {
    channel: Channel,
    /// Whether it is passed the tables of cards.
    pub(in crate::cli) takes_tables: bool,
    /// Its number.
    pub(in crate::cli) pid: i32,
    /// Tells its end; `None`: it has ended already.
    end: Option<OwnedFd>,
    /// As in the audit file.
    pub(in crate::cli) who: String,
    pub(in crate::cli) from: String,
}

impl Successor {
    /// At the other end of this line.
    pub(in crate::cli) fn new((who, from): (String, String), prepared: Prepared) -> Self {
        let Prepared { channel, takes_tables } = prepared;
        let pid = channel.peer().map_or(0, |(_, pid)| pid);
        let end = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { channel, takes_tables, pid, end, who, from }
    }

    /// Waits until it has ended: what it had open is free then. False when it lives on.
    fn await_end(&self) -> bool {
        let Some(end) = &self.end else { return true };
        await_readable(end, &END_WITHIN).unwrap_or(false)
    }
}

/// How it went on with the successor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Succession {
    /// It serves.
    Serves,
    /// It died, or could not: why, in a sentence.
    Failed(String),
    /// It is there still, and neither serves nor speaks: why, in a sentence.
    LivesOn(String),
    /// This process is to end meanwhile, whatever becomes of it.
    NotAwaited,
}

/// Passes what a shard has left in memory.
fn pass(channel: &Channel, parting: &Parting) -> Result<(), HandOverError> {
    let Parting { shard, lsn, replay_from_lsn, table, rest } = parting;
    let told = TableIs {
        shard: *shard,
        lsn: *lsn,
        replay_from_lsn: *replay_from_lsn,
        words: table.words.words(),
        occupied: table.occupied,
    };
    channel.send(&FromRunning::Passed(Passed::Table(told)), Some(table.words.as_fd()))?;
    channel.send(&FromRunning::Passed(Passed::Rest), Some(rest.as_fd()))
}

/// Says how this process has let go, and waits until the successor serves. `is_to_end` is asked now and then.
pub(in crate::cli) fn await_successor(
    successor: &mut Successor,
    (let_go, partings): (LetGo, Vec<Parting>),
    mut is_to_end: impl FnMut() -> bool,
) -> io::Result<Succession> {
    let channel = &mut successor.channel;
    channel.wait_at_most(Some(LOOK_EVERY))?;
    let passed = partings.iter().try_for_each(|parting| pass(channel, parting));
    // This process has them no longer: if it must start again, it does so on the disk.
    drop(partings);
    let mut said = passed.and_then(|()| channel.send(&FromRunning::LetGo(let_go), None));
    while matches!(said, Ok(()) | Err(HandOverError::Silent)) {
        if is_to_end() {
            return Ok(Succession::NotAwaited);
        }
        said = match channel.receive() {
            Ok(FromSuccessor::Serving) => return Ok(Succession::Serves),
            Ok(FromSuccessor::Terms(_) | FromSuccessor::Prepared) => Err(out_of_turn()),
            Err(error) => Err(error),
        };
    }
    let why = said.err().map(|error| error.to_string()).unwrap_or_default();
    Ok(match successor.await_end() {
        true => Succession::Failed(why),
        false => Succession::LivesOn(why),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::OrderKind;
    use crate::config::{Config, Durability};
    use std::net::TcpStream;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};
    use tokio::sync::oneshot;

    /// A folder of its own; it goes away with this value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("tapswitch-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn config(folder: &Path) -> Config {
        let mut config = Config::embedded();
        config.journal.durability = Durability::Strict;
        config.journal.data_dir = Some(folder.to_owned());
        for acquirer in &mut config.acquirers {
            acquirer.listen = "127.0.0.1:0".parse().unwrap();
        }
        config
    }

    fn running(folder: &Path) -> HandOver {
        let config = config(folder);
        let listeners = Listeners::open(&config, &mut Vec::new()).unwrap();
        let path = folder.join("operators");
        let socket = UnixListener::bind(&path).unwrap();
        let port = PortListeners { socket: Some((path, socket)), http: None };
        let (terms, snapshots) = (Terms::of(&config, [0; 4]), SnapshotCaller::default());
        HandOver { terms, listeners, port, snapshots }
    }

    /// Orders a take-over; tells what was answered.
    fn order<'s>(
        visitors: &Visitors,
        hand_over: &'s HandOver,
        to: (&'s Scope<'s, '_>, &Sender<Told>),
    ) -> TakeOverReport {
        let (reply, answer) = oneshot::channel();
        let (who, from) = ("uid 0".to_owned(), "socket, pid 7".to_owned());
        let order = Order { kind: OrderKind::TakeOver, who, from, reply };
        visitors.open(order, hand_over, (to.0, to.1.clone()));
        match answer.blocking_recv().unwrap() {
            Reply::TakeOver(report) => report,
            other => panic!("{other:?}"),
        }
    }

    fn through(report: &TakeOverReport) -> Channel {
        Channel::new(UnixStream::connect(report.socket.as_ref().unwrap()).unwrap())
    }

    fn over(told: &Receiver<Told>) -> String {
        match told.recv().unwrap() {
            Told::Visit(Visit { outcome: VisitOutcome::Over(why), .. }) => why,
            _ => panic!("it goes on"),
        }
    }

    fn prepared(told: &Receiver<Told>) -> Prepared {
        match told.recv().unwrap() {
            Told::Visit(Visit { outcome: VisitOutcome::Prepared(prepared), .. }) => prepared,
            _ => panic!("it does not go on"),
        }
    }

    /// Says terms, takes what is passed, says that it is prepared. Tells how many sockets came.
    fn prepare(line: &mut Channel, terms: Terms) -> usize {
        line.send(&FromSuccessor::Terms(Box::new(terms)), None).unwrap();
        let mut came = 0;
        while let FromRunning::Passed(what) = line.receive().unwrap() {
            let socket = line.take_descriptor().unwrap();
            if let Passed::Listener { .. } = what {
                let listener = std::net::TcpListener::from(socket);
                TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            }
            came += 1;
        }
        line.send(&FromSuccessor::Prepared, None).unwrap();
        came
    }

    #[test]
    fn one_successor_at_a_time_gets_all_sockets_and_the_last_word() {
        let folder = Folder::new("successor");
        let hand_over = running(&folder.0);
        let (sender, told) = channel();
        let visitors = Visitors::default();
        std::thread::scope(|scope| {
            let to = (scope, &sender);
            let admitted = order(&visitors, &hand_over, to);
            let refused = order(&visitors, &hand_over, to);
            assert_eq!(refused.socket, None);
            assert_eq!(over(&told), "another process is about to take over");
            let mut line = through(&admitted);
            let came = prepare(&mut line, hand_over.terms.clone());
            assert_eq!(came, hand_over.listeners.each().len() + 1);
            let mut successor = Successor::new(("a".into(), "b".into()), prepared(&told));
            visitors.close();
            assert!(!admitted.socket.unwrap().exists(), "the door is closed");
            let said = LetGo { pid: 1, version: "0".to_owned(), durable_lsns: vec![7, 8], owed: 2 };
            let expected = said.clone();
            scope.spawn(move || {
                let FromRunning::LetGo(said) = line.receive().unwrap() else {
                    panic!("it lets go")
                };
                assert_eq!(said, expected);
                line.send(&FromSuccessor::Serving, None).unwrap();
            });
            assert_eq!(
                await_successor(&mut successor, (said, Vec::new()), || false).unwrap(),
                Succession::Serves
            );
        });
    }

    #[test]
    fn who_does_not_fit_or_goes_away_makes_room_for_another() {
        let folder = Folder::new("misfits");
        let hand_over = running(&folder.0);
        let (sender, told) = channel();
        let visitors = Visitors::default();
        std::thread::scope(|scope| {
            let to = (scope, &sender);
            let mut line = through(&order(&visitors, &hand_over, to));
            let terms = Terms::of(&config(&folder.0), [9; 4]);
            line.send(&FromSuccessor::Terms(Box::new(terms)), None).unwrap();
            let FromRunning::Refused(why) = line.receive().unwrap() else { panic!("refused") };
            assert!(why.starts_with("it has another card key; the running switch "), "{why}");
            assert_eq!(over(&told), why);

            drop(through(&order(&visitors, &hand_over, to)));
            assert!(over(&told).contains("has ended; this switch serves on"));
            let line = through(&order(&visitors, &hand_over, to));
            line.send(&FromSuccessor::Serving, None).unwrap();
            assert!(over(&told).contains("speaks otherwise"));
            let line = through(&order(&visitors, &hand_over, to));
            line.send(&"anything", None).unwrap();
            assert!(over(&told).contains("speaks otherwise"));
            let mut line = through(&order(&visitors, &hand_over, to));
            assert!(prepare(&mut line, hand_over.terms.clone()) > 0);
            drop(prepared(&told));
        });
    }

    /// Whoever has been shown the door, or is half through, is not waited for.
    #[test]
    fn a_switch_that_stops_waits_for_nobody() {
        let folder = Folder::new("stopping");
        let hand_over = running(&folder.0);
        let (sender, told) = channel();
        std::thread::scope(|scope| {
            let to = (scope, &sender);
            let visitors = Visitors::default();
            order(&visitors, &hand_over, to);
            visitors.end();
            assert!(over(&told).starts_with("nobody came"));
            assert_eq!(order(&visitors, &hand_over, to).said, "the switch stops");
            assert_eq!(over(&told), "the switch stops");

            let visitors = Visitors::default();
            let mut line = through(&order(&visitors, &hand_over, to));
            let terms = hand_over.terms.clone();
            line.send(&FromSuccessor::Terms(Box::new(terms)), None).unwrap();
            while !matches!(line.receive().unwrap(), FromRunning::AllPassed) {}
            visitors.end();
            assert!(over(&told).contains("has ended"));
            assert!(matches!(line.receive::<FromRunning>(), Err(HandOverError::Gone)));
        });
    }

    #[test]
    fn a_successor_is_awaited_only_as_long_as_this_process_may_live() {
        let (here, there) = UnixStream::pair().unwrap();
        let prepared = Prepared { channel: Channel::new(here), takes_tables: false };
        let mut successor = Successor::new(("a".into(), "b".into()), prepared);
        let said = LetGo { pid: 1, version: "0".to_owned(), durable_lsns: Vec::new(), owed: 0 };
        let mut looks = 0;
        let is_to_end = || {
            looks += 1;
            looks == 3
        };
        let awaited =
            await_successor(&mut successor, (said.clone(), Vec::new()), is_to_end).unwrap();
        assert_eq!(awaited, Succession::NotAwaited);
        // One that has ended already.
        successor.end = None;
        drop(there);
        let failed = await_successor(&mut successor, (said, Vec::new()), || false).unwrap();
        assert_eq!(failed, Succession::Failed("the other process has ended".to_owned()));
    }
}

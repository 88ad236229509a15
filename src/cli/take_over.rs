//! The side of the successor, `tapswitch run --take-over`: everything that can be made ready is, before
//! the running switch is asked to let go; what is wrong then leaves that as it was.
//!
//! Not here: what is said (`hand_over`), the start itself (`switch`).

use super::hand_over::{FromRunning, FromSuccessor, LetGo, Passed, TableIs, Terms};
use super::quantity::bytes;
use super::switch::{load_keys, refused};
use super::{CommandError, memory_screen};
use crate::admin::client::{Ask, AskError, Place, ask};
use crate::admin::{PortListeners, Refusal, TakeOverReport};
use crate::config::Config;
use crate::io::hand_over::{Channel, HandOverError};
use crate::io::{Clock, Listeners, Listening, Parting};
use crate::memory::SharedWords;
use crate::shard::state_layout::StateLayout;
use crate::shard::velocity::PassedTable;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Patience with anything but the running switch's last answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// What must be left of the machine's memory beside two sets of tables.
const MEMORY_SPARE_BYTES: u64 = 256 << 20;

/// What a process before has left to this one, or nothing.
#[derive(Default)]
pub(super) struct Inheritance {
    /// Its sockets, and those that it did not have.
    pub(super) listeners: Option<Listeners>,
    /// Its operators' sockets.
    pub(super) port: PortListeners,
    /// The line to it, and how it let go.
    pub(super) before: Option<(Channel, LetGo)>,
    /// What its shards left in memory.
    pub(super) partings: Vec<Parting>,
    /// Sentences of the first screen.
    pub(super) told: Vec<String>,
    /// What an operator must know of how it came here.
    pub(super) alarm: Option<String>,
}

/// Asks the switch that runs at this socket to let go, and returns when it has.
///
/// # Errors
/// It serves on, unless it says that it has ended.
pub(super) fn take_over(
    config: &Config,
    socket: Option<&Path>,
    out: &mut dyn Write,
) -> Result<Inheritance, CommandError> {
    let Some(socket) = socket.or(config.admin.socket.as_deref()) else {
        let what = "--take-over needs the running switch's socket: [admin] socket, or \
                    --take-over=SOCKET";
        return Err(refused(2, &what));
    };
    let terms = Terms::of(config, load_keys(config)?.secrets.key_check());
    let mut channel = admitted(socket)?;
    let failed = |error: HandOverError| {
        let what = format!("not taken over: {error}; see what the running switch says");
        CommandError::Failed(what)
    };
    channel.send(&FromSuccessor::Terms(Box::new(terms)), None).map_err(failed)?;
    let mut passed = Vec::new();
    let mut port = PortListeners::default();
    let mut tables_follow = false;
    loop {
        match channel.receive().map_err(failed)? {
            FromRunning::Refused(why) => {
                return Err(refused(75, &format!("not taken over: {why}")));
            }
            FromRunning::Passed(what) => keep(what, &mut channel, (&mut passed, &mut port))?,
            FromRunning::TablesFollow => tables_follow = true,
            FromRunning::AllPassed => break,
            FromRunning::LetGo(_) => {
                return Err(failed(HandOverError::NotUnderstood("out of turn".to_owned())));
            }
        }
    }
    let of_before = passed.len();
    let opened = Listeners::open(config, &mut passed);
    let listeners = opened.map_err(|error| refused(error.exit_code(), &error))?;
    let mut told = vec![sentence(of_before, &listeners, &passed)];
    match tables_follow {
        true => told.push("the running switch will pass its tables of cards".to_owned()),
        false => make_tables(config, &mut told),
    }
    for line in &told {
        writeln!(out, "take-over   {line}")?;
    }
    writeln!(
        out,
        "take-over   ready: the running switch takes snapshots, then finishes what is under way"
    )?;
    out.flush()?;
    let mut clock = Clock::new();
    let since_ns = clock.now().mono_ns;
    channel.send(&FromSuccessor::Prepared, None).map_err(failed)?;
    channel.wait_at_most(None)?;
    let mut partings = Vec::new();
    let let_go = await_let_go(&mut channel, &mut partings)?;
    let took_s = (clock.now().mono_ns - since_ns) as f64 / 1e9;
    let LetGo { pid, version, owed, .. } = &let_go;
    let line =
        format!("pid {pid} (version {version}) let go after {took_s:.1} s; {owed} messages owed");
    told = vec![line];
    let before = Some((channel, let_go));
    let listeners = Some(listeners);
    Ok(Inheritance { listeners, port, before, partings, told, alarm: None })
}

/// However long the running switch has to finish. What it leaves in memory comes first.
fn await_let_go(channel: &mut Channel, partings: &mut Vec<Parting>) -> Result<LetGo, CommandError> {
    let mut table = None;
    loop {
        match channel.receive() {
            Ok(FromRunning::LetGo(let_go)) => return Ok(let_go),
            Ok(FromRunning::Passed(Passed::Table(told))) => {
                table = Some((told, descriptor(channel)?));
            }
            Ok(FromRunning::Passed(Passed::Rest)) => {
                let rest = descriptor(channel)?;
                // Without its table it is of no use.
                partings.extend(table.take().and_then(|table| parting(table, rest)));
            }
            Ok(_) => {
                let what = "not taken over: the other process speaks out of turn";
                return Err(CommandError::Failed(what.to_owned()));
            }
            Err(error) => {
                let what = format!(
                    "not taken over: {error}: if no switch runs, start without --take-over"
                );
                return Err(CommandError::Failed(what));
            }
        }
    }
}

/// What a shard left; none: it is not what was said, and all is read from the disk.
fn parting((told, table): (TableIs, OwnedFd), rest: OwnedFd) -> Option<Parting> {
    let TableIs { shard, lsn, replay_from_lsn, words, occupied } = told;
    let words = SharedWords::of(table, words).ok()?;
    let table = PassedTable { words, occupied };
    Some(Parting { shard, lsn, replay_from_lsn, table, rest: File::from(rest) })
}

/// One that came with its message.
fn descriptor(channel: &mut Channel) -> Result<OwnedFd, CommandError> {
    channel.take_descriptor().ok_or_else(|| {
        let what =
            "not taken over: a descriptor did not come: likely cause: too many open files here";
        CommandError::Failed(what.to_owned())
    })
}

/// A line to the running switch.
fn admitted(socket: &Path) -> Result<Channel, CommandError> {
    let place = Place::Socket(socket.to_owned());
    let asked =
        Ask { place: &place, path: "/take-over", is_order: true, token: None, patience: PATIENCE };
    let answer = ask(&asked).map_err(|error| match error {
        AskError::NobodyThere { .. } => {
            let what = format!("{error}; without --take-over this is an ordinary start");
            refused(69, &what)
        }
        AskError::BrokenOff { .. } | AskError::TooLate { .. } => {
            CommandError::Failed(error.to_string())
        }
    })?;
    if let Ok(Refusal { error }) = serde_json::from_slice(&answer.body) {
        let exit_code = if answer.status == 403 { 77 } else { 1 };
        return Err(refused(exit_code, &format!("not taken over: {error}")));
    }
    let Ok(TakeOverReport { socket: door, said }) = serde_json::from_slice(&answer.body) else {
        let what = format!(
            "not taken over: {place} does not know how to hand over (status {}): likely cause: an \
             older version; it needs a cold start: `tapswitch ctl drain`, then `tapswitch run`",
            answer.status
        );
        return Err(refused(75, &what));
    };
    let Some(door) = door else {
        return Err(refused(75, &format!("not taken over: {said}; the running switch serves on")));
    };
    let stream = UnixStream::connect(&door).map_err(|error| {
        CommandError::Failed(format!("not taken over: {}: {error}", door.display()))
    })?;
    let channel = Channel::new(stream);
    channel.wait_at_most(Some(PATIENCE))?;
    Ok(channel)
}

/// A socket that came with its message.
fn keep(
    what: Passed,
    channel: &mut Channel,
    (listeners, port): (&mut Vec<Listening>, &mut PortListeners),
) -> Result<(), CommandError> {
    let descriptor = descriptor(channel)?;
    match what {
        Passed::Listener { name, configured } => {
            listeners.push(Listening { name, configured, socket: descriptor.into() });
        }
        Passed::OperatorsSocket(path) => port.socket = Some((path, descriptor.into())),
        Passed::OperatorsHttp(address) => port.http = Some((address, descriptor.into())),
        Passed::Table(_) | Passed::Rest => {
            let what = "not taken over: the other process speaks out of turn";
            return Err(CommandError::Failed(what.to_owned()));
        }
    }
    Ok(())
}

/// What became of the sockets.
fn sentence(of_before: usize, listeners: &Listeners, left: &[Listening]) -> String {
    let taken = of_before - left.len();
    let opened = listeners.each().len() - taken;
    let mut sentence = format!("listeners: {taken} taken over, {opened} opened");
    for listening in left {
        sentence += &format!(", {} {} given up", listening.name, listening.configured);
    }
    sentence
}

/// Makes the cards' tables beforehand if the machine has the memory for those of both processes.
fn make_tables(config: &Config, told: &mut Vec<String>) {
    let velocity = &config.velocity;
    let needed = (velocity.lines * velocity.line_bytes()) as u64;
    let available = available_bytes();
    if available.is_some_and(|available| available < needed + MEMORY_SPARE_BYTES) {
        let (available, needed) = (bytes(available.unwrap_or_default()), bytes(needed));
        told.push(format!(
            "{available} of memory are free, a second table of cards needs {needed}: it is made when the \
             running switch has let go"
        ));
        return;
    }
    memory_screen::while_shown(|| StateLayout::of(config).make_tables_ready(velocity));
}

/// Memory that can be had without anybody losing any; `None`: the kernel does not tell.
fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1_024)
}

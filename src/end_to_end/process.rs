//! The binary as a child process: its output as it comes, its end, and the folder with its files.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{
    Pid, PidfdFlags, Resource, Rlimit, Signal, WaitId, WaitIdOptions, getrlimit, kill_process,
    pidfd_open, prlimit, waitid,
};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// No wait is longer: a hang becomes a failure. A machine that stands still for a while does not.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A folder of its own for a test; it goes away with this value.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
            let name = format!("tapswitch-end-to-end-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A process of this number was killed and has left it.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{}: {error}", path.display()),
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running command. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    ended: OwnedFd,
    output: ChildStdout,
    /// What was printed so far.
    printed: Vec<u8>,
    /// How much of it was given out by lines.
    read: usize,
    folder: Rc<Folder>,
}

/// The file of a command's folder that takes its standard error.
const PROBLEMS: &str = "standard-error";

impl Running {
    /// Starts `tapswitch` with these arguments; its standard error goes to a file of the folder.
    pub(crate) fn start<A: AsRef<OsStr>>(folder: Folder, arguments: &[A]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tapswitch"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path(PROBLEMS)).unwrap())
            .spawn()
            .unwrap();
        let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let output = child.stdout.take().unwrap();
        Self { child, ended, output, printed: Vec::new(), read: 0, folder: Rc::new(folder) }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line; `None` at the end of the output.
    fn line(&mut self) -> Option<String> {
        loop {
            let rest = &self.printed[self.read..];
            if let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8(rest[..end].to_vec()).unwrap();
                self.read += end + 1;
                return Some(line);
            }
            if !self.read_on() {
                return None;
            }
        }
    }

    /// The lines of a first screen, to the one that begins so.
    fn screen(&mut self, last: &str) -> Vec<String> {
        let mut screen = Vec::new();
        while !screen.last().is_some_and(|line: &String| line.starts_with(last)) {
            match self.line() {
                Some(line) => screen.push(line),
                None => panic!("it ended before it had started: {}", self.problems()),
            }
        }
        screen
    }

    /// Waits for more output; `false` at its end.
    fn read_on(&mut self) -> bool {
        await_readable(&self.output, "output");
        let mut chunk = [0; 16_384];
        let count = self.output.read(&mut chunk).unwrap();
        self.printed.extend_from_slice(&chunk[..count]);
        count > 0
    }

    /// Its standard error so far.
    fn problems(&self) -> String {
        std::fs::read_to_string(self.folder.path(PROBLEMS)).unwrap()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        while self.read_on() {}
        await_readable(&self.ended, "the end");
        Ended {
            code: self.child.wait().unwrap().code(),
            output: String::from_utf8(std::mem::take(&mut self.printed)).unwrap(),
            problems: self.problems(),
            folder: Rc::clone(&self.folder),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn await_readable(fd: impl AsFd, what: &str) {
    let time = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&time)).unwrap();
    assert!(ready > 0, "waited in vain for {what} of the process");
}

/// What is left of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: killed by a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) output: String,
    /// Standard error.
    pub(crate) problems: String,
    folder: Rc<Folder>,
}

impl Ended {
    /// A file that it left in its folder.
    pub(crate) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path(name)).unwrap()
    }

    /// A counter of the final table; those that are 0 are not in it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let line = self.output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let count = line.and_then(|rest| rest.split_whitespace().next());
        count.map_or(0, |count| count.replace(',', "").parse().unwrap())
    }
}

/// Runs a command to its end.
pub(crate) fn run<A: AsRef<OsStr>>(folder: Folder, arguments: &[A]) -> Ended {
    Running::start(folder, arguments).end()
}

/// Makes a card key in a folder.
pub(crate) fn new_card_key(folder: &Folder) -> PathBuf {
    let key = folder.path("card.key");
    let made = run(Folder::new(), &["key", "new", key.to_str().unwrap()]);
    assert_eq!((made.code, made.problems.as_str()), (Some(0), ""));
    key
}

/// A configuration for tests: the shipped one on free ports, with prompt banks that never fail to
/// answer, and what a test adds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Setup<'t> {
    /// Tables of the shipped sizes, which take a while to make; otherwise small ones.
    pub(crate) shipped_tables: bool,
    /// Lines of `[switch]`.
    pub(crate) switch: &'t str,
    /// Lines of each acquirer. When they do not say within what time it is answered, that is long.
    pub(crate) acquirer: &'t str,
    /// Lines of `[bank]` that say how banks behave, instead of "at once and always".
    pub(crate) behaviour: Option<&'t str>,
    /// Further lines of `[bank]`.
    pub(crate) bank: &'t str,
    /// Sections of issuers.
    pub(crate) issuers: &'t str,
}

/// No request runs out of time while the machine stands still, at its issuer or before it gets there (for
/// half of the margin), and a stop has time for all of them.
const UNHURRIED: &str = "answer_within_ms = 30_000\nanswer_margin_ms = 14_000\n\
    transit_answer_within_ms = 30_000\ntransit_answer_margin_ms = 14_000\n";
const UNHURRIED_STOP: &str = "drain_ms = 40_000\n";

/// Banks that answer at once, and always.
const PROMPT: &str = "delay_median_us = 0\ndelay_p99_us = 0\nsilence_ppm = 0\nlate_ppm = 0";

/// Banks that decline nothing by chance.
pub(crate) const GENEROUS: &str = "insufficient_funds_ppm = 0\nexpired_ppm = 0\n\
    wrong_pin_ppm = 0\ndo_not_honor_ppm = 0\nunknown_card_ppm = 0";

impl Setup<'_> {
    pub(crate) fn text(&self) -> String {
        let [switch, bank, velocity] = match self.shipped_tables {
            true => [""; 3],
            false => [
                "pending_max = 16_384\nduplicates_bytes = 8_388_608\noriginals_bytes = 4_194_304\n\
                 peak_per_second = 500",
                "accounts_max = 16_384",
                "[velocity]\nlines = 65_536",
            ],
        };
        let mut text = format!("[switch]\n{switch}\n{UNHURRIED_STOP}{}\n", self.switch);
        let says_when = self.acquirer.lines().any(|line| line.starts_with("answer_within_ms"));
        let unhurried = if says_when { "" } else { UNHURRIED };
        for dialect in ["cups", "iso87-ascii"] {
            let listen = "listen = \"127.0.0.1:0\"";
            let own = format!("{unhurried}{}", self.acquirer);
            text += &format!("[acquirer.{dialect}]\n{listen}\ndialect = \"{dialect}\"\n{own}\n");
        }
        let behaviour = self.behaviour.unwrap_or(PROMPT);
        text += &format!("[bank]\n{bank}\n{behaviour}\n{}\n{velocity}\n", self.bank);
        text + self.issuers
    }

    /// Starts `tapswitch run`, and waits until it listens.
    pub(crate) fn run(&self) -> Switch {
        let folder = Folder::new();
        let file = folder.file("switch.toml", &self.text());
        Switch::start(folder, &file)
    }
}

/// A running switch.
pub(crate) struct Switch {
    running: Running,
    screen: Vec<String>,
}

impl Switch {
    pub(crate) fn start(folder: Folder, file: &Path) -> Self {
        Self::start_with(folder, file, &[])
    }

    /// With further arguments.
    pub(crate) fn start_with(folder: Folder, file: &Path, more: &[&str]) -> Self {
        let mut arguments = vec![OsStr::new("run"), OsStr::new("--config"), file.as_os_str()];
        arguments.extend(more.iter().map(OsStr::new));
        let mut running = Running::start(folder, &arguments);
        let screen = running.screen("durability ");
        Self { running, screen }
    }

    /// Where the acquirer that speaks this dialect connects, the first; or the one that is shown so:
    /// `name (dialect)`.
    pub(crate) fn address(&self, dialect: &str) -> SocketAddr {
        let mut acquirers = self.screen.iter().filter_map(|line| line.strip_prefix("acquirers   "));
        let shown =
            if dialect.ends_with(')') { format!(" {dialect}") } else { format!("({dialect})") };
        let of_dialect = |line: &&str| line.ends_with(&shown);
        let line = acquirers.find(of_dialect).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// What stands on the first screen behind this word.
    pub(crate) fn said(&self, word: &str) -> &str {
        let line = self.screen.iter().find_map(|line| line.strip_prefix(word));
        line.unwrap().trim()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// What it says next after this word, behind its first screen.
    pub(crate) fn says(&mut self, word: &str) -> String {
        loop {
            let line = self.running.line().expect("it goes on");
            if let Some(said) = line.strip_prefix(word) {
                return said.trim().to_owned();
            }
        }
    }

    /// Tells it to read its configuration again, and waits for what it says of that.
    pub(crate) fn reload(&mut self) -> String {
        self.signal(Signal::HUP);
        loop {
            let line = self.running.line().expect("it goes on");
            if let Some(said) = line.strip_prefix("reload ") {
                return said.trim().to_owned();
            }
        }
    }

    /// Its standard error so far.
    pub(crate) fn problems(&self) -> String {
        self.running.problems()
    }

    /// Memory that it takes up now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.running.id()));
        let status = status.unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1_024
    }

    /// File descriptors that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.running.id())).unwrap().count()
    }

    /// From now on it may have so many more than it has: told is how many that are.
    pub(crate) fn limit_descriptors(&self, more: usize) -> usize {
        let now = self.descriptors();
        let pid = Pid::from_child(&self.running.child);
        let limit = Rlimit { current: Some((now + more) as u64), ..getrlimit(Resource::Nofile) };
        prlimit(Some(pid), Resource::Nofile, limit).unwrap();
        now
    }

    /// Waits for its end.
    pub(crate) fn end(self) -> Ended {
        self.running.end()
    }

    /// Stops it, and holds it to a stop without loss.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.end();
        ended.assert_clean();
        ended
    }
}

/// The file in the banks' folder that they write what they did to.
pub(crate) const LEDGER: &str = "ledger.json";

/// Running banks of their own.
pub(crate) struct Banks(Running);

impl Banks {
    /// Starts `tapswitch bank` with this configuration, and waits until it listens.
    pub(crate) fn start(text: &str) -> Self {
        let folder = Folder::new();
        let file = folder.file("switch.toml", text);
        let ledger = folder.path(LEDGER);
        let (bank, config) = (OsStr::new("bank"), OsStr::new("--config"));
        let ledger_argument = [OsStr::new("--ledger"), ledger.as_os_str()];
        let arguments = [&[bank, config, file.as_os_str()][..], &ledger_argument].concat();
        let mut running = Running::start(folder, &arguments);
        running.screen("serving ");
        Self(running)
    }

    /// What they have done so far, by SIGUSR1.
    pub(crate) fn ask_ledger(&mut self) -> serde_json::Value {
        self.0.signal(Signal::USR1);
        while !self.0.line().expect("they go on").starts_with("asked ") {}
        let text = std::fs::read_to_string(self.0.folder.path(LEDGER)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Holds them in the middle of whatever they do: none of their threads runs any more.
    pub(crate) fn freeze(&self) {
        self.0.signal(Signal::STOP);
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        let pid = Pid::from_child(&self.0.child);
        assert!(waitid(WaitId::Pid(pid), stopped).unwrap().is_some_and(|status| status.stopped()));
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.0.signal(Signal::CONT);
    }

    /// Kills them: nothing is written any more.
    pub(crate) fn kill(self) {
        self.0.signal(Signal::KILL);
        assert_eq!(self.0.end().code, None);
    }

    /// Stops them, and takes what they did. Their books must balance.
    pub(crate) fn stop(self) -> serde_json::Value {
        self.0.signal(Signal::TERM);
        let ended = self.0.end();
        assert_eq!((ended.code, ended.problems.as_str()), (Some(0), ""), "{}", ended.output);
        let last = ended.output.lines().last().unwrap_or_default();
        assert_eq!(last, "stopped     the banks' books balance");
        serde_json::from_str(&ended.file(LEDGER)).unwrap()
    }
}

/// So many ports of 127.0.0.1 that nobody listens at, below those that the kernel gives out to
/// connections: nothing else takes one between two listeners of a test. Other processes with tests that
/// run at the same time keep away from them too: each holds its own at another address.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static HELD: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());
    let first = std::process::id() % 97 * 100;
    std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000)
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|&port| match TcpListener::bind(("127.77.77.77", port)) {
            Ok(held) => {
                HELD.lock().unwrap().push(held);
                TcpListener::bind(("127.0.0.1", port)).is_ok()
            }
            Err(_) => false,
        })
        .take(count)
        .collect()
}

impl Ended {
    /// It stopped in order: everything answered, the books balance. How long a link of an issuer was
    /// down, and so whether that was told, is a matter of how fast the machine is.
    pub(crate) fn assert_clean(&self) {
        let is_of_link = |line: &str| line.contains(" ALARM link{down} ");
        let is_quiet = self.problems.lines().all(is_of_link);
        assert!(self.code == Some(0) && is_quiet, "{:?} {}", self.code, self.problems);
        let last = self.output.lines().last().unwrap_or_default();
        assert_eq!(last, "stopped     nothing left in flight, the banks' books balance");
    }
}

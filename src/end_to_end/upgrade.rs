//! A new process takes over from the one that serves: nobody is refused a connection, nothing is
//! forgotten; what cannot be handed over is refused before anything is changed.

use crate::banks::{standing, until_approved};
use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{
    Banks, Ended, Folder, GENEROUS, PATIENCE, Running, Setup, Switch, free_ports, new_card_key, run,
};
use crate::proxy::pause;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longer than the test, whenever it begins: two approvals of a card.
const TWICE: &str = "[[velocity.counter]]\nname = \"twice\"\nwindow_s = 2_678_400\n\
    sub_windows = 2\n[[velocity.limit]]\nname = \"twice\"\ncounter = \"twice\"\ncount_max = 2\n";

/// A bank of its own, and all that one switch leaves to the next.
struct World {
    folder: Folder,
    banks: Banks,
    text: String,
}

impl World {
    fn new() -> Self {
        Self::of("private", TWICE)
    }

    /// With the table of cards in such memory.
    fn of(table: &str, counters: &str) -> Self {
        let folder = Folder::new();
        new_card_key(&folder);
        let issuers = format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\n", free_ports(1)[0]);
        let lines = format!(
            "{issuers}{counters}[keys]\ncard_key_file = \"card.key\"\n\
             [journal]\ndata_dir = \"data\"\nsegment_bytes = 8_388_608\n\
             undurable_bytes_max = 8_388_608\nstall_max_ms = 60_000\nalarm_free_percent = 0\n\
             refuse_free_percent = 0\n\
             crashes_max = 0\n[admin]\nsocket = \"operators\"\naudit_file = \"audit.log\"\n",
        );
        let switch = "shards = 2";
        let setup = Setup { switch, bank: GENEROUS, issuers: &lines, ..Setup::default() };
        let (lines, told) = ("lines = 65_536", format!("lines = 65_536\ntable = \"{table}\""));
        let text = setup.text().replace(lines, &told);
        assert!(text.contains(&told));
        folder.file("switch.toml", &text);
        Self { folder, banks: Banks::start(&setup.text()), text }
    }

    fn file(&self) -> PathBuf {
        self.folder.path("switch.toml")
    }

    fn start(&self, more: &[&str]) -> Switch {
        Switch::start_with(Folder::new(), &self.file(), more)
    }

    /// Runs a successor with another configuration, which does not come to serve.
    fn fails(&self, text: &str) -> Ended {
        let file = self.folder.file("other.toml", text);
        run(Folder::new(), &["run", "--take-over", "--config", file.to_str().unwrap()])
    }

    fn audit(&self, part: &str) -> usize {
        let text = std::fs::read_to_string(self.folder.path("audit.log")).unwrap();
        text.lines().filter(|line| line.contains(part)).count()
    }

    /// Ends all. What was approved stands at the bank, and nothing besides but what may have been.
    fn end(self, switch: Switch, approved: &BTreeSet<String>, unknown: &BTreeSet<String>) -> Ended {
        switch.signal(Signal::TERM);
        let ended = switch.end();
        assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.problems);
        let standing: BTreeSet<String> = standing(&self.banks.stop()).into_keys().collect();
        let lost: Vec<_> = approved.difference(&standing).collect();
        assert!(lost.is_empty(), "approved, and do not stand: {lost:?}");
        let more: Vec<_> =
            standing.difference(approved).filter(|it| !unknown.contains(*it)).collect();
        assert!(more.is_empty(), "stand, and were never approved: {more:?}");
        ended
    }
}

fn purchase(card: u32, number: u32) -> Message {
    Message::purchase(Speech::cups(), card, number)
}

/// What acquirers know: by reference number, what was approved, and what was not answered.
#[derive(Default)]
struct Told {
    approved: BTreeSet<String>,
    unanswered: BTreeSet<String>,
    answered: usize,
    /// Connections that were closed before an answer.
    closed: usize,
}

impl Told {
    fn note(&mut self, request: &Message, answer: Option<&Message>) {
        let rrn = request.text(37);
        match answer {
            None => {
                self.closed += 1;
                self.unanswered.insert(rrn);
            }
            Some(answer) => {
                self.answered += 1;
                assert_eq!(answer.text(37), rrn, "the answer is this request's");
                if answer.text(39) == "00" {
                    self.approved.insert(rrn);
                }
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.approved.extend(other.approved);
        self.unanswered.extend(other.unanswered);
        self.answered += other.answered;
        self.closed += other.closed;
    }
}

/// An answer, or the end of the connection, by whatever way.
fn answer_or_end(stream: &mut TcpStream) -> Option<Message> {
    let speech = Speech::cups();
    let mut read = Vec::new();
    loop {
        if let Ok(tapswitch_protocol::FrameStep::Message { bytes, .. }) =
            speech.framing.next(&read, 4_096)
        {
            return Some(Message::from_frame(speech, &read[..bytes]));
        }
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk) {
            Ok(bytes @ 1..) => read.extend_from_slice(&chunk[..bytes]),
            Ok(0) => return None,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let kind = error.kind();
                assert_eq!(
                    kind,
                    std::io::ErrorKind::ConnectionReset,
                    "an answer or an end: {error}"
                );
                return None;
            }
        }
    }
}

fn connected(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Asks on ever new connections, each once, until it is told to stop.
fn knock(address: SocketAddr, from: u32, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    for number in from.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let request = purchase(number, number);
        let mut stream = connected(address);
        // It may be closed already by a switch that ends.
        let _ = stream.write_all(&request.frame());
        told.note(&request, answer_or_end(&mut stream).as_ref());
        pause(Duration::from_millis(2));
    }
    told
}

/// Asks on one connection as long as there is one, then on the next.
fn talk(address: SocketAddr, from: u32, stop: &AtomicBool) -> Told {
    let mut told = Told::default();
    let mut stream = connected(address);
    for number in from.. {
        if stop.load(Ordering::Acquire) {
            break;
        }
        let request = purchase(number, number);
        let _ = stream.write_all(&request.frame());
        let answer = answer_or_end(&mut stream);
        told.note(&request, answer.as_ref());
        if answer.is_none() {
            stream = connected(address);
        }
    }
    told
}

/// A card's two purchases, and their answers.
fn two_purchases(client: &mut Client, card: u32) -> Vec<(Message, Message)> {
    let asked = [purchase(card, card), purchase(card, card + 1)];
    asked.into_iter().map(|request| (request.clone(), client.ask(&request))).collect()
}

/// Repeats get what was answered, byte for byte; a third purchase passes the limit.
fn is_remembered(address: SocketAddr, known: &[(Message, Message)], number: u32) {
    let mut client = Client::connect(address, Speech::cups());
    for (request, answer) in known {
        assert_eq!(answer.text(39), "00");
        assert_eq!(client.ask(request).body, answer.body, "the same answer again");
    }
    let card: u32 = known[0].0.text(11).parse().unwrap();
    assert_eq!(client.ask(&purchase(card, number)).text(39), "65", "two are counted");
}

/// Every shard of the new process goes on with the table of cards that the one before had in memory.
fn has_the_cards_of_the_one_before(switch: &mut Switch) {
    for shard in 0..2 {
        let source = switch.says(&format!("recovered   shard {shard}: "));
        assert!(source.starts_with("the table of cards as it was, "), "{source}");
    }
}

/// G6: two upgrades in a row under load.
#[test]
fn a_new_process_takes_over_and_nobody_is_refused() {
    two_upgrades_under_load(World::new(), |switch| {
        let source = switch.says("recovered   shard 0: ");
        assert!(source.contains(" records ("), "{source}");
    });
}

/// The same where the tables of cards are passed in memory. (A debug build of the successor compares
/// them with what the disk makes.)
#[test]
fn a_new_process_that_is_passed_the_cards_takes_over_and_nobody_is_refused() {
    two_upgrades_under_load(World::of("shared", TWICE), has_the_cards_of_the_one_before);
}

fn two_upgrades_under_load(world: World, has_taken_over: impl Fn(&mut Switch)) {
    let mut switch = world.start(&[]);
    let address = switch.address("cups");
    let mut client = Client::of(&switch, Speech::cups());
    let mut told = Told::default();
    let mut number = 100_000;
    let mut up = |client: &mut Client, told: &mut Told| {
        let (_, next) = until_approved(client, number);
        // All of these were answered; which ones were approved does not matter.
        told.unanswered.extend((number..next).map(|it| purchase(it, it).text(37)));
        number = next;
    };
    up(&mut client, &mut told);
    let known = two_purchases(&mut client, 50);
    known.iter().for_each(|(request, answer)| told.note(request, Some(answer)));

    for round in 1..=2 {
        let stop = AtomicBool::new(false);
        let load = round * 200_000;
        let (old, new, of_load) = std::thread::scope(|scope| {
            let knocking = scope.spawn(|| knock(address, load, &stop));
            let talking = scope.spawn(|| talk(address, load + 50_000, &stop));
            // Both are well under way.
            up(&mut client, &mut told);
            let new = world.start(&["--take-over"]);
            let old = std::mem::replace(&mut switch, new);
            // Answered by the new one, until its links are up.
            client = Client::connect(address, Speech::cups());
            up(&mut client, &mut told);
            stop.store(true, Ordering::Release);
            let mut of_load = knocking.join().unwrap();
            of_load.add(talking.join().unwrap());
            (old, switch.address("cups"), of_load)
        });
        assert_eq!(new, address, "the same socket");
        has_taken_over(&mut switch);
        assert!(of_load.answered > 10, "{} answered", of_load.answered);
        told.add(of_load);
        let old = old.end();
        assert_eq!(old.code, Some(0), "{}{}", old.output, old.problems);
        let last = old.output.lines().last().unwrap_or_default();
        assert!(last.starts_with("handed over to pid "), "{}", old.output);
        // One of each shard, so that the new process has little to read.
        assert!(old.counter("snapshot{written}") >= 2, "{}", old.output);
        // It goes on after the last durable record of the one before.
        for shard in 0..2 {
            let prefix = format!("let go      shard {shard}: durable up to LSN ");
            let lsn = old.output.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
            let goes_on = format!("taken over  shard {shard} goes on after LSN ");
            assert_eq!(switch.said(&goes_on), lsn);
        }
        is_remembered(address, &known, 90 + round);
    }
    assert_eq!(world.audit("\"what\":\"take-over\""), 2);
    let Told { approved, unanswered, .. } = told;
    drop(client);
    world.end(switch, &approved, &unanswered);
}

/// Approvals of a card that the limit of [`MANY`] allows.
const MANY_MAX: usize = 400;
/// Longer than the test, whenever it begins.
const MANY: &str = "[[velocity.counter]]\nname = \"many\"\nwindow_s = 2_678_400\n\
    sub_windows = 2\n[[velocity.limit]]\nname = \"many\"\ncounter = \"many\"\ncount_max = 400\n";
/// Cards that pay again and again: the one of a number is its remainder.
const REGULARS: u32 = 8;
/// Purchases of one client before and during the upgrade: fewer than the limits of all allow.
const SPENT: u32 = 1_000;

fn regular(number: u32) -> Message {
    purchase(10 + number % REGULARS, number)
}

/// Pays with all regulars in turn, on one connection as long as there is one.
fn spend(address: SocketAddr, from: u32) -> Told {
    let mut told = Told::default();
    let mut stream = connected(address);
    for number in from..from + SPENT {
        let request = regular(number);
        let _ = stream.write_all(&request.frame());
        let answer = answer_or_end(&mut stream);
        told.note(&request, answer.as_ref());
        if answer.is_none() {
            stream = connected(address);
        }
        pause(Duration::from_millis(2));
    }
    told
}

/// Pays with every regular until its limit refuses.
fn spend_all(client: &mut Client, from: u32, told: &mut Told) {
    for card in 0..REGULARS {
        let numbers = (from + card..).step_by(REGULARS as usize);
        let codes = numbers.map(|number| {
            let request = regular(number);
            let answer = client.ask(&request);
            told.note(&request, Some(&answer));
            answer.text(39)
        });
        let last = codes.take_while(|code| code != "65").last();
        assert_eq!(last.as_deref(), Some("00"), "something was left");
    }
}

/// Before, during and after an upgrade exactly as many purchases of a card stand as its limit allows.
#[test]
fn limits_are_met_exactly_over_upgrades() {
    for table in ["private", "shared"] {
        let world = World::of(table, MANY);
        let old = world.start(&[]);
        let address = old.address("cups");
        let (_, next) = until_approved(&mut Client::of(&old, Speech::cups()), 100_000);
        let (mut new, mut told) = std::thread::scope(|scope| {
            let clients = [200_000, 300_000].map(|from| scope.spawn(move || spend(address, from)));
            pause(Duration::from_millis(300));
            let new = world.start(&["--take-over"]);
            let mut told = Told::default();
            clients.into_iter().for_each(|client| told.add(client.join().unwrap()));
            (new, told)
        });
        assert_eq!(old.end().code, Some(0));
        if table == "shared" {
            has_the_cards_of_the_one_before(&mut new);
        }
        let mut client = Client::connect(address, Speech::cups());
        let (_, end) = until_approved(&mut client, next);
        assert!(told.approved.len() > 100, "{}", told.approved.len());
        spend_all(&mut client, 400_000, &mut told);
        drop(client);
        new.signal(Signal::TERM);
        assert_eq!(new.end().code, Some(0));
        let standing = standing(&world.banks.stop());
        let numbers = standing.keys().map(|rrn| rrn[4..].parse::<u32>().unwrap());
        let mut counted = [0; REGULARS as usize];
        for number in numbers.filter(|number| !(100_000..end).contains(number)) {
            counted[(number % REGULARS) as usize] += 1;
        }
        assert_eq!(counted, [MANY_MAX; REGULARS as usize], "{table}");
        let lost: Vec<_> = told.approved.iter().filter(|it| !standing.contains_key(*it)).collect();
        assert!(lost.is_empty(), "approved, and do not stand: {lost:?}");
    }
}

#[test]
fn another_layout_is_refused_beforehand_and_the_running_switch_serves_on() {
    let world = World::new();
    let switch = world.start(&[]);
    let mut client = Client::of(&switch, Speech::cups());
    let (_, next) = until_approved(&mut client, 100_000);
    let known = two_purchases(&mut client, 50);
    let more = TWICE.replace("\"twice\"", "\"thrice\"");
    for (text, why) in [
        (world.text.replace("shards = 2", "shards = 1"), "shards: 2 before, 1 now"),
        (format!("{}{more}", world.text), "counter thrice is new and begins empty"),
        (world.text.replace("\"data\"", "\"elsewhere\""), "data directory: "),
    ] {
        let refused = world.fails(&text);
        assert_eq!(refused.code, Some(75), "{}", refused.problems);
        for part in [why, "serves on", "tapswitch ctl drain", "cold start"] {
            assert!(refused.problems.contains(part), "{part}: {}", refused.problems);
        }
    }
    assert!(!world.folder.path("elsewhere").exists());
    // The same connection, the same process.
    let (_, next) = until_approved(&mut client, next);
    is_remembered(switch.address("cups"), &known, 91);
    // Nobody is there.
    let nobody = world.fails(&world.text.replace("\"operators\"", "\"nowhere\""));
    assert_eq!(nobody.code, Some(69), "{}", nobody.problems);
    assert_eq!(world.audit("\"what\":\"take-over\""), 3);
    drop(client);
    let all = (0..next).map(|it| purchase(it, it).text(37)).collect();
    let ended = world.end(switch, &BTreeSet::new(), &all);
    assert_eq!(ended.output.matches("\ntake-over   ").count(), 3, "{}", ended.output);
}

/// A successor that cannot go on, before the running switch has let go and after it.
#[test]
fn a_successor_that_fails_changes_nothing() {
    failing_successors(World::new());
}

/// The tables that were passed to it end with it: the old process reads its cards from the disk.
#[test]
fn a_successor_that_was_passed_the_cards_and_fails_changes_nothing() {
    failing_successors(World::of("shared", TWICE));
}

fn failing_successors(world: World) {
    let mut switch = world.start(&[]);
    let address = switch.address("cups");
    let mut client = Client::of(&switch, Speech::cups());
    let (_, next) = until_approved(&mut client, 100_000);
    let known = two_purchases(&mut client, 50);

    // Before: an address that is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address_taken = format!("listen = \"{}\"", taken.local_addr().unwrap());
    let failed = world.fails(&world.text.replacen("listen = \"127.0.0.1:0\"", &address_taken, 1));
    assert_eq!(failed.code, Some(1), "{}", failed.problems);
    assert!(failed.problems.contains("the port is busy"), "{}", failed.problems);
    // The same connection: nothing was closed.
    assert_eq!(client.ask(&purchase(next, next)).text(39), "00");

    // After: an audit file that it may not use.
    let exposed = world.folder.file("exposed.log", "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(&exposed, mode).unwrap();
    let failed = world.fails(&world.text.replace("\"audit.log\"", "\"exposed.log\""));
    assert_eq!(failed.code, Some(74), "{}", failed.problems);
    // It has started again where it had stopped, at the same sockets.
    let mut client = Client::connect(address, Speech::cups());
    let (_, next) = until_approved(&mut client, next + 1);
    is_remembered(address, &known, 92);
    assert!(switch.problems().contains(" ALARM take_over{failed} "), "{}", switch.problems());

    // And the next one succeeds.
    drop(client);
    let new = world.start(&["--take-over"]);
    let old = std::mem::replace(&mut switch, new).end();
    assert_eq!(old.code, Some(0), "{}{}", old.output, old.problems);
    is_remembered(address, &known, 93);
    let all = (0..next).map(|it| purchase(it, it).text(37)).collect();
    world.end(switch, &BTreeSet::new(), &all);
}

/// A successor is killed at any moment: whoever has the sockets then serves on.
#[test]
fn a_successor_that_is_killed_leaves_somebody_who_serves() {
    killed_successors(World::new());
}

#[test]
fn a_successor_that_was_passed_the_cards_and_is_killed_leaves_somebody_who_serves() {
    killed_successors(World::of("shared", TWICE));
}

fn killed_successors(world: World) {
    let mut switch = world.start(&[]);
    let mut address = switch.address("cups");
    let mut client = Client::of(&switch, Speech::cups());
    let (_, mut next) = until_approved(&mut client, 100_000);
    let known = two_purchases(&mut client, 50);
    drop(client);
    let file = world.file();
    for (round, delay_ms) in (0..).zip([0, 20, 60, 120, 250, 400, 700]) {
        let arguments = ["run", "--take-over", "--config", file.to_str().unwrap()];
        let successor = Running::start(Folder::new(), &arguments);
        pause(Duration::from_millis(delay_ms));
        successor.signal(Signal::KILL);
        drop(successor);
        // One that had come to serve was killed as any switch is.
        if !serves(address, &mut next) {
            let ended = switch.end();
            assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.problems);
            assert!(ended.output.contains("\nhanded over to pid "), "{}", ended.output);
            switch = world.start(&[]);
            address = switch.address("cups");
        }
        let mut client = Client::connect(address, Speech::cups());
        next = until_approved(&mut client, next).1;
        is_remembered(address, &known, 80 + round);
    }
    let all = (0..next).map(|it| purchase(it, it).text(37)).collect();
    world.end(switch, &BTreeSet::new(), &all);
}

/// Whether somebody answers there; not: nobody listens any more.
fn serves(address: SocketAddr, next: &mut u32) -> bool {
    loop {
        let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else { return false };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        *next += 1;
        let _ = stream.write_all(&purchase(*next, *next).frame());
        if answer_or_end(&mut stream).is_some_and(|answer| answer.text(39) == "00") {
            return true;
        }
        pause(Duration::from_millis(10));
    }
}

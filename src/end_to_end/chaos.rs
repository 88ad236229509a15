//! The switch is killed, again and again, at random moments under load, and started again on what
//! it left. Banks live in a process of their own and keep their own ledger, acquirers keep theirs;
//! in the end the two are compared.
//!
//! Some switches die before they have finished with what the one before them left.
//!
//! `TAPSWITCH_CHAOS_KILLS` says how often, `TAPSWITCH_CHAOS_SEED` fixes the draws. A run is not
//! replayed by its seed: the kernel's timing is not drawn.

mod acquirer;
mod compare;

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Banks, Ended, Folder, Running, Setup, Switch, free_ports, new_card_key, run};
use acquirer::{Acquirer, Draws, NUMBERS, Stage, purchase};
use compare::{Discrepancy, Fate, Told, compare, compare_counters, standing};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Acquirers, a connection each.
const ACQUIRERS: u32 = 4;
/// Answers between the start of a switch and its death, at least and at most.
const ANSWERS: (u64, u64) = (50, 400);
/// One life in so many lasts so much longer: long enough for a snapshot, which is taken each second.
const LONG_ONE_IN: u64 = 4;
const LONG_TIMES: u64 = 6;
/// Approvals that a card's limit lets through.
const LIMIT: u32 = 20;
/// Cards whose limits are tried out at the end, from the first: the ones used most are among them.
const CARDS_TRIED: u32 = 24;
/// Looks at the number of answers while waiting for it to grow.
const LOOK: Duration = Duration::from_millis(2);
const LOOKS_MAX: u32 = 30_000;
/// This life does not end before a snapshot was taken.
const FIRST_WITH_SNAPSHOT: u64 = 2;
/// One life in so many ends at most so long after its process began.
const EARLY_ONE_IN: u64 = 6;
const EARLY_US: u64 = 150_000;

/// A bank that takes its time (so requests are in flight at any moment), declines some, and leaves
/// some unanswered; a switch that does not wait long for it.
const BEHAVIOUR: &str = "delay_median_us = 25_000\ndelay_p99_us = 60_000\n\
    silence_ppm = 4_000\nlate_ppm = 4_000\nlate_ms = 2_500";
const DECLINES: &str = "insufficient_funds_ppm = 20_000\nexpired_ppm = 0\nwrong_pin_ppm = 0\n\
    do_not_honor_ppm = 20_000\nunknown_card_ppm = 0";
const PATIENCE_OF_ACQUIRERS: &str = "answer_within_ms = 2_000\nanswer_margin_ms = 500";

/// What a run found.
struct Outcome {
    told: Vec<Told>,
    discrepancies: Vec<Discrepancy>,
    kills: u64,
    seed: u64,
    /// Requests that were under way at a death, as the lives after it said.
    interrupted: u64,
    /// Lives that began with a snapshot.
    from_snapshot: u64,
    /// How the last life ended.
    last: Ended,
}

impl Outcome {
    /// What happened, for the test's output.
    fn sum_up(&self) -> String {
        let count =
            |wanted: fn(&Fate) -> bool| self.told.iter().filter(|line| wanted(&line.fate)).count();
        let first: Vec<String> =
            self.discrepancies.iter().take(20).map(ToString::to_string).collect();
        format!(
            "seed {}, {} kills, {} transactions: {} approved, {} refused, {} reversed, {} \
             unresolved; {} were under way at a death; {} lives began with a snapshot; {} \
             discrepancies: {}",
            self.seed,
            self.kills,
            self.told.len(),
            count(|fate| *fate == Fate::Approved),
            count(|fate| matches!(fate, Fate::Refused(_))),
            count(|fate| *fate == Fate::Reversed),
            count(|fate| *fate == Fate::Unresolved),
            self.interrupted,
            self.from_snapshot,
            self.discrepancies.len(),
            first.join(", "),
        )
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The configuration of every life of the switch, and of the banks: `more` are further sections.
fn configuration(switch_lines: &str, more: &str) -> (String, SocketAddr) {
    let ports = free_ports(2);
    // However many run out of time while the machine stands still, the bank is asked on.
    let issuer =
        format!("[issuer.CMBC]\nconnect = \"127.0.0.1:{}\"\nbreaker_timeouts = 0\n", ports[0]);
    let counter = "[[velocity.counter]]\nname = \"chaos\"\nscope = \"card\"\n\
        window_s = 2_678_400\n";
    let rule = format!(
        "{counter}[[velocity.limit]]\nname = \"chaos\"\ncounter = \"chaos\"\n\
         count_max = {LIMIT}\n"
    );
    let setup = Setup {
        switch: switch_lines,
        acquirer: PATIENCE_OF_ACQUIRERS,
        behaviour: Some(BEHAVIOUR),
        bank: DECLINES,
        issuers: &format!("{rule}{issuer}{more}"),
        ..Setup::default()
    };
    let address = SocketAddr::from(([127, 0, 0, 1], ports[1]));
    let listen = address.to_string();
    // The acquirers find every life of the switch at the same place.
    (setup.text().replacen("127.0.0.1:0", &listen, 1), address)
}

fn start(text: &str) -> Switch {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text);
    Switch::start(folder, &file)
}

/// A card key and a data directory, in a folder of their own: their lines of a configuration.
fn durable(folder: &Folder) -> String {
    let (key, data) = (new_card_key(folder), folder.path("data"));
    format!(
        "[keys]\ncard_key_file = \"{}\"\n[journal]\ndata_dir = \"{}\"\n\
         segment_bytes = 8_388_608\nundurable_bytes_max = 8_388_608\n\
         stall_max_ms = 60_000\nsnapshot_every_s = 1\n\
         alarm_free_percent = 0\nrefuse_free_percent = 0\ncrashes_max = 0\n",
        key.display(),
        data.display(),
    )
}

/// Starts a switch, which dies whatever it is doing: reading what the one before left, finishing it,
/// or taking its first requests.
fn die_early(text: &str, draws: &mut Draws) -> Ended {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text);
    let arguments = [OsStr::new("run"), OsStr::new("--config"), file.as_os_str()];
    let running = Running::start(folder, &arguments);
    pause(Duration::from_micros(draws.below(EARLY_US)));
    running.signal(Signal::KILL);
    running.end()
}

/// Starts a switch, which dies under load.
fn die_under_load(
    text: &str,
    (stage, life): (&Stage, u64),
    draws: &mut Draws,
    data: Option<&Path>,
) -> Ended {
    let switch = start(text);
    stage.set_life(life);
    await_answers(stage, draws);
    if let Some(data) = data.filter(|_| life == FIRST_WITH_SNAPSHOT) {
        await_snapshot(data);
    }
    stage.set_life(0);
    switch.signal(Signal::KILL);
    switch.end()
}

/// Requests that a life found under way, of all shards.
fn interrupted(ended: &Ended) -> u64 {
    let lines = ended.output.lines().filter(|line| line.starts_with("recovered "));
    let counts = lines.filter_map(|line| {
        let before = line.split_once(" requests under way")?.0;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

fn began_with_snapshot(ended: &Ended) -> bool {
    let recovered = ended.output.lines().filter(|line| line.starts_with("recovered "));
    recovered
        .filter_map(|line| line.split_once("after a snapshot of "))
        .any(|(_, rest)| !rest.starts_with("0 B"))
}

/// Runs `kills` lives of the switch and a last one, and compares the ledgers.
fn chaos(switch_lines: &str, more: &str, kills: u64, data: Option<&Path>) -> Outcome {
    let seed = setting("TAPSWITCH_CHAOS_SEED", 1);
    let (text, address) = configuration(switch_lines, more);
    let banks = Banks::start(&text);
    let stage = Stage::default();
    let cards = u32::try_from(64 * kills.max(1)).unwrap();
    let (mut told, mut under_way, mut from_snapshot) = (Vec::new(), 0, 0);
    let mut last = None;
    std::thread::scope(|scope| {
        let acquirers: Vec<_> = (0..ACQUIRERS)
            .map(|number| {
                let seed = seed << 8 | u64::from(number);
                let acquirer = Acquirer { number, address, cards, seed };
                let stage = &stage;
                scope.spawn(move || acquirer.run(stage))
            })
            .collect();
        let mut draws = Draws(!seed);
        for life in 1..=kills {
            let ended = match draws.below(EARLY_ONE_IN) {
                0 if life != FIRST_WITH_SNAPSHOT => die_early(&text, &mut draws),
                _ => die_under_load(&text, (&stage, life), &mut draws, data),
            };
            assert_eq!((ended.code, ended.problems.as_str()), (None, ""), "{}", ended.output);
            under_way += interrupted(&ended);
            from_snapshot += u64::from(began_with_snapshot(&ended));
        }
        last = Some(start(&text));
        stage.set_life(kills + 1);
        await_answers(&stage, &mut draws);
        stage.last_call.store(true, Ordering::Release);
        for acquirer in acquirers {
            told.extend(acquirer.join().unwrap());
        }
    });
    let exhausted = exhaust(address, &mut told);
    // Everything owed is delivered before it ends.
    let last = last.unwrap().stop();
    let kept = last.output.lines().find(|line| line.starts_with("kept "));
    assert_eq!(kept, None, "nothing is owed any more");
    if let Some(data) = data {
        let state = verify_state(&text, data);
        println!("{state}");
        assert!(state.contains("the same by every way"), "{state}");
    }
    let ledger = banks.stop();
    let mut discrepancies = compare(&told, &standing(&ledger));
    discrepancies.extend(compare_counters(&told, &exhausted, LIMIT));
    let interrupted = under_way + interrupted(&last);
    from_snapshot += u64::from(began_with_snapshot(&last));
    let outcome = Outcome { told, discrepancies, kills, seed, interrupted, from_snapshot, last };
    println!("{}", outcome.sum_up());
    outcome
}

/// Nobody ever sends: it is a clock that the lints let pass with its reason.
fn pause(time: Duration) {
    let (_sender, receiver) = channel::<()>();
    assert_eq!(receiver.recv_timeout(time), Err(RecvTimeoutError::Timeout));
}

/// What every way from the files to the state leads to.
fn verify_state(text: &str, data: &Path) -> String {
    let folder = Folder::new();
    let file = folder.file("switch.toml", text);
    let (file, data) = (file.to_str().unwrap(), data.to_str().unwrap());
    let ended = run(folder, &["journal", "verify", "--state", file, data]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.output, ended.problems);
    let lines = ended.output.lines().filter(|line| line.starts_with("state "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Waits until a snapshot lies there that the next life begins with.
fn await_snapshot(data: &Path) {
    let is_snapshot = |path: &Path| path.extension().is_some_and(|ending| ending == "snapshot");
    let shards = || std::fs::read_dir(data.join("generation-0001")).unwrap();
    let files = || shards().filter_map(|shard| std::fs::read_dir(shard.unwrap().path()).ok());
    let is_there = || files().flatten().any(|file| is_snapshot(&file.unwrap().path()));
    let mut looks = 0;
    while !is_there() {
        pause(LOOK);
        looks += 1;
        assert!(looks < LOOKS_MAX, "snapshots are taken");
    }
}

/// Waits until so many further answers have come as is drawn, and then some moments more.
fn await_answers(stage: &Stage, draws: &mut Draws) {
    let (least, most) = ANSWERS;
    let times = if draws.below(LONG_ONE_IN) == 0 { LONG_TIMES } else { 1 };
    let more = times * (least + draws.below(most - least));
    let wanted = stage.answers.load(Ordering::Acquire) + more;
    let mut looks = 0;
    while stage.answers.load(Ordering::Acquire) < wanted {
        pause(LOOK);
        looks += 1;
        assert!(looks < LOOKS_MAX, "the switch answers");
    }
    pause(Duration::from_micros(draws.below(20_000)));
}

/// Buys with each of the cards, in rounds, until its limit answers: then its counter has said how
/// many it had let through.
fn exhaust(address: SocketAddr, told: &mut Vec<Told>) -> Vec<u32> {
    let mut client = Client::connect(address, Speech::cups());
    let mut numbers = ACQUIRERS * NUMBERS..;
    let mut left: Vec<u32> = (0..CARDS_TRIED).collect();
    while !left.is_empty() {
        let asked: Vec<(u32, Message)> = left
            .iter()
            .zip(&mut numbers)
            .map(|(&card, number)| (card, purchase(card, number, 100)))
            .collect();
        asked.iter().for_each(|(_, request)| client.send(&request.frame()));
        for answer in client.answers(asked.len()) {
            let (rrn, code) = (answer.text(37), answer.text(39));
            let (card, _) = asked.iter().find(|(_, request)| request.text(37) == rrn).unwrap();
            if code == "65" {
                left.retain(|other| other != card);
            }
            let fate = match code.as_str() {
                "00" => Fate::Approved,
                _ => Fate::Refused(code.clone()),
            };
            told.push(Told { rrn, card: *card, amount_minor: 100, fate, answers: vec![code] });
        }
    }
    (0..CARDS_TRIED).collect()
}

/// Kills in the negative: enough to be found out.
const KILLS_WITHOUT_JOURNAL: u64 = 3;
/// Kills of each of the two ways to run, unless told otherwise: ten in an ordinary run of the tests.
const KILLS: u64 = 5;

/// A switch that keeps nothing forgets what it let through: the comparison must find it. This is what
/// shows that the comparison of a switch that does keep everything means something. What was forwarded
/// before it died and is again, the banks know again; that is theirs.
#[test]
fn a_switch_that_keeps_nothing_is_found_out() {
    let outcome = chaos("shards = 1", "", KILLS_WITHOUT_JOURNAL, None);
    let is_wrong = |it: &&Discrepancy| matches!(it, Discrepancy::CounterWrong(..));
    let wrong = outcome.discrepancies.iter().filter(is_wrong).count();
    assert!(wrong > 0, "limits begin anew");
    assert_eq!(outcome.interrupted, 0, "nothing is known of what was under way");
}

/// Without a death there is nothing to find, whatever the bank does.
#[test]
fn a_switch_that_lives_keeps_every_promise() {
    for shards in ["shards = 1", "shards = 2\nengine = \"tokio\""] {
        let outcome = chaos(shards, "", 0, None);
        assert_eq!(outcome.discrepancies, [], "{}", outcome.sum_up());
    }
}

/// Killed again and again, it forgets no approval, holds nothing twice and counts every card right.
fn die_and_keep_every_promise(switch_lines: &str) {
    let folder = Folder::new();
    let kills = setting("TAPSWITCH_CHAOS_KILLS", KILLS);
    let outcome = chaos(switch_lines, &durable(&folder), kills, Some(&folder.path("data")));
    assert_eq!(outcome.discrepancies, [], "{}", outcome.sum_up());
    assert!(outcome.interrupted > 0, "something was under way: {}", outcome.last.output);
    assert!(outcome.from_snapshot > 0, "snapshots were used: {}", outcome.last.output);
    let owed = outcome.last.counter("restart{lost}") + outcome.last.counter("restart{interrupted}");
    println!("the last restart owed {owed} reversals\n{}", outcome.last.output);
}

#[test]
fn a_switch_that_dies_keeps_every_promise_with_io_uring() {
    // Where io_uring is refused this is the other engine again.
    die_and_keep_every_promise("shards = 1\nengine = \"auto\"");
}

#[test]
fn a_switch_that_dies_keeps_every_promise_with_epoll_and_two_shards() {
    die_and_keep_every_promise("shards = 2\nengine = \"tokio\"");
}

//! The operators' port: what it shows is what happened, from its start to the drain that it is told.
//!
//! Not here: who may change what (`admin_changes`).

use crate::client::Client;
use crate::message::{Message, Speech};
use crate::process::{Ended, Folder, GENEROUS, Running, Setup, Switch, run};
use rustix::process::Signal;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use tapswitch::admin::client::{Answer, Ask, Place, ask};

/// Banks that take so long that whatever was just sent is in flight.
const SLOW: &str =
    "delay_median_us = 7_000_000\ndelay_p99_us = 7_000_000\nsilence_ppm = 0\nlate_ppm = 0";

/// A running switch with its socket, and where its files are.
pub(crate) struct Operated {
    pub(crate) switch: Switch,
    pub(crate) place: Place,
    pub(crate) file: PathBuf,
    pub(crate) audit: PathBuf,
    pub(crate) text: String,
}

impl Operated {
    /// With these lines of `[admin]` besides socket and audit file, and what follows it.
    pub(crate) fn start(setup: &Setup<'_>, admin: &str, more: &str) -> Self {
        let folder = Folder::new();
        let (socket, audit) = (folder.path("operators"), folder.path("audit.log"));
        let admin =
            format!("[admin]\nsocket = \"operators\"\naudit_file = \"audit.log\"\n{admin}\n");
        let text = setup.text() + &admin;
        let file = folder.file("switch.toml", &format!("{text}{more}"));
        let switch = Switch::start(folder, &file);
        await_ready(&Place::Socket(socket.clone()));
        Self { switch, place: Place::Socket(socket), file, audit, text }
    }

    fn get(&self, path: &str) -> Answer {
        get(&self.place, path)
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.get("/status.json").body).unwrap()
    }

    /// The value of a metric with its labels, as it is written.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics").body).unwrap();
        value_of(&text, name)
    }

    pub(crate) fn ctl(&self, arguments: &[&str]) -> Ended {
        let config = self.file.to_str().unwrap();
        run(Folder::new(), &[&["ctl", "--config", config], arguments].concat())
    }

    /// Waits until a metric is so.
    pub(crate) fn await_metric(&self, name: &str, wanted: u64) {
        let mut last = 0;
        for _ in 0..1_000 {
            last = self.metric(name);
            if last == wanted {
                return;
            }
            pause();
        }
        panic!("{name} is {last}, not {wanted}");
    }

    /// Waits until all of these are as wanted (name, shown, wanted) in one text of metrics: that one.
    fn settle(&self, shown: impl Fn(&str) -> Vec<(&'static str, u64, u64)>) -> String {
        let mut last = Vec::new();
        for _ in 0..1_000 {
            let text = String::from_utf8(self.get("/metrics").body).unwrap();
            last = shown(&text);
            last.retain(|(_, shown, wanted)| shown != wanted);
            if last.is_empty() {
                return text;
            }
            pause();
        }
        panic!("shown and wanted: {last:?}");
    }
}

/// What shards publish is there within a tenth of a second; this waits for some of it.
fn pause() {
    let time = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    rustix::event::poll(&mut [], Some(&time)).unwrap();
}

/// It listens before its shards have begun.
pub(crate) fn await_ready(place: &Place) {
    let is_ready = (0..1_000).any(|_| {
        let is_ready = get(place, "/readyz").status == 200;
        if !is_ready {
            pause();
        }
        is_ready
    });
    assert!(is_ready, "{:?}", get(place, "/readyz"));
}

fn get(place: &Place, path: &str) -> Answer {
    let patience = crate::process::PATIENCE;
    ask(&Ask { place, path, is_order: false, token: None, patience }).unwrap()
}

fn shown_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn value_of(text: &str, name: &str) -> u64 {
    shown_of(text, name).unwrap_or_else(|| panic!("{name} in {text}"))
}

fn purchases(client: &Client, from: u32, count: u32) -> Vec<u8> {
    let numbers = from..from + count;
    numbers.flat_map(|number| Message::purchase(client.speech(), number, number).frame()).collect()
}

/// How many times a family of times has counted, over all that it is told by.
fn timed(text: &str, of: &str) -> u64 {
    let name = format!("tapswitch_{of}_time_seconds_count{{");
    let lines = text.lines().filter(|line| line.starts_with(&name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn assert_is_timed(status: &serde_json::Value) {
    let acquirers = status["acquirers"].as_array().unwrap();
    let asked = acquirers.iter().find(|acquirer| acquirer["name"] == "cups").unwrap();
    assert_eq!(asked["switch_time"]["count"], 203);
    assert!(asked["switch_time"]["p50_us"].as_u64().is_some_and(|us| us > 0), "{asked}");
    assert!(asked["issuer_time"]["count"].as_u64() > Some(100), "{asked}");
}

#[test]
fn what_is_shown_is_what_happened() {
    let setup = Setup { switch: "shards = 2", bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let mut client = Client::of(&operated.switch, Speech::cups());
    client.send(&purchases(&client, 1, 200));
    let codes: Vec<String> = client.answers(200).iter().map(|it| it.text(39)).collect();
    let approved = codes.iter().filter(|code| *code == "00").count() as u64;
    // A repeat, an unknown card, an echo test, and a response that no answer is due to.
    let first = Message::purchase(client.speech(), 1, 1);
    assert_eq!(client.ask(&first).text(39), codes[0]);
    let unknown = Message::purchase(client.speech(), 900, 900).with(2, "9999990000000000");
    assert_eq!(client.ask(&unknown).text(39), "15");
    let answer = client.ask(&Message::echo_test(client.speech(), 901));
    client.send(&answer.frame());
    let received = 204;
    let approvals = codes.iter().chain([&codes[0]]).filter(|code| *code == "00").count() as u64;
    // Shards publish one by one: each of these is so soon, and none of them before the others.
    let text = operated.settle(|text| {
        // A code that nobody was answered yet is not shown.
        let value = |name: &str| shown_of(text, name).unwrap_or_default();
        let sum = |names: &[&str]| names.iter().map(|name| value(name)).sum::<u64>();
        let answers = sum(&[
            "tapswitch_answered_total{why=\"issuer\"}",
            "tapswitch_answered_total{why=\"switch\"}",
            "tapswitch_duplicate_total{why=\"replayed\"}",
        ]);
        let dropped = ["unreadable", "response_mti", "header", "rejected"]
            .map(|why| value(&format!("tapswitch_dropped_total{{why=\"{why}\"}}")));
        let by_issuers = timed(text, "issuer");
        let remembered = sum(&[
            "tapswitch_duplicate_answers{shard=\"0\"}",
            "tapswitch_duplicate_answers{shard=\"1\"}",
        ]);
        vec![
            ("received", value("tapswitch_received_total"), received),
            ("answers", answers, 203),
            ("dropped", dropped.iter().sum(), 1),
            ("responses dropped", value("tapswitch_dropped_total{why=\"response_mti\"}"), 1),
            ("approved", value("tapswitch_approved_total"), approved),
            ("code 15", value("tapswitch_answers_by_code_total{code=\"15\"}"), 1),
            ("code 00", value("tapswitch_answers_by_code_total{code=\"00\"}"), approvals + 1),
            ("by issuers", by_issuers, value("tapswitch_answered_total{why=\"issuer\"}")),
            ("timed", value("tapswitch_switch_time_seconds_count"), answers),
            ("of acquirers", timed(text, "acquirer_switch"), answers),
            ("of their issuers", timed(text, "acquirer_issuer"), by_issuers),
            (
                "of the one that asked",
                value("tapswitch_acquirer_switch_time_seconds_count{acquirer=\"cups\"}"),
                answers,
            ),
            ("remembered", remembered.min(200), 200),
            ("epoch", value("tapswitch_config_epoch{shard=\"1\"}"), 1),
        ]
    });
    let value = |name: &str| value_of(&text, name);
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE tapswitch_received counter"));
    assert!(value("process_resident_memory_bytes") > 1 << 20);
    let status = operated.status();
    assert_eq!((&status["schema"], &status["phase"]), (&1.into(), &"serving".into()));
    assert_eq!(status["counters"]["received"], received);
    assert_eq!(status["shards"].as_array().unwrap().len(), 2);
    assert_is_timed(&status);
    assert_eq!(operated.get("/healthz").status, 200);
    assert_eq!(operated.get("/readyz").status, 200);
    assert_eq!(operated.get("/nothing").status, 404);
    drop(client);
    let ended = operated.switch.stop();
    assert_eq!(ended.counter("received"), received);
}

#[test]
fn ctl_shows_tables_and_json() {
    let setup = Setup { bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    for (what, parts) in [
        ("issuers", &["issuer ", "in process", "ICBC"][..]),
        ("links", &["no links"]),
        ("shards", &["serving, ready", "received", "epoch 1"]),
        ("pending", &["requests at issuers", "open pre-authorizations"]),
        ("totals", &["settlement date ", "cut-off midnight UTC", "net CNY", "issuer    ICBC"]),
        ("last-errors", &["none since the start"]),
        ("config", &["acquirer.cups.answer_within_ms = 30000", "iin."]),
    ] {
        let shown = operated.ctl(&["show", what]);
        assert_eq!((shown.code, shown.problems.as_str()), (Some(0), ""), "{what}");
        for part in parts {
            assert!(shown.output.contains(part), "{what}: {part}: {}", shown.output);
        }
        let shown = operated.ctl(&["show", what, "--json"]);
        let json: serde_json::Value = serde_json::from_str(&shown.output).unwrap();
        assert!(json.is_array() || json.is_object(), "{what}");
    }
    // What peers do wrong is remembered.
    let speech = Speech::cups();
    let mut client = Client::of(&operated.switch, speech);
    client.send(b"abcd");
    assert!(client.frame().is_none());
    let mut shown = operated.ctl(&["show", "last-errors"]);
    for _ in 0..100 {
        if shown.output.contains("frame_bad{not_digits}") {
            break;
        }
        pause();
        shown = operated.ctl(&["show", "last-errors"]);
    }
    assert!(shown.output.contains("frame_bad{not_digits}"), "{}", shown.output);
    operated.switch.stop();
}

#[test]
fn a_port_scraped_hard_changes_no_answer() {
    let setup = Setup { switch: "shards = 2", bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "http = \"127.0.0.1:0\"", "");
    let said = operated.switch.said("operators").to_owned();
    let address = said.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    let places = [operated.place.clone(), Place::Http(address.parse().unwrap())];
    let is_over = AtomicBool::new(false);
    let scraped = std::thread::scope(|scope| {
        let scrapers: Vec<_> = places
            .iter()
            .map(|place| {
                scope.spawn(|| {
                    let mut times = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        for path in ["/metrics", "/status.json"] {
                            assert_eq!(get(place, path).status, 200);
                        }
                        times += 1;
                    }
                    times
                })
            })
            .collect();
        let mut clients =
            [Speech::cups(), Speech::iso87()].map(|speech| Client::of(&operated.switch, speech));
        for round in 0..20 {
            for client in &clients {
                client.send(&purchases(client, 1 + round * 100, 100));
            }
            for client in &mut clients {
                let mut numbers: Vec<u32> =
                    client.answers(100).iter().map(Message::number).collect();
                numbers.sort_unstable();
                assert_eq!(numbers, (1 + round * 100..101 + round * 100).collect::<Vec<_>>());
            }
        }
        is_over.store(true, Ordering::Relaxed);
        scrapers.into_iter().map(|scraper| scraper.join().unwrap()).collect::<Vec<u32>>()
    });
    assert!(scraped.iter().all(|times| *times > 0), "{scraped:?}");
    operated.await_metric("tapswitch_received_total", 4_000);
    let ended = operated.switch.stop();
    assert_eq!(ended.counter("received"), 4_000);
    let answered = ["answered{issuer}", "answered{switch}"].map(|name| ended.counter(name));
    assert_eq!(answered.iter().sum::<u64>(), 4_000);
}

#[test]
fn it_is_ready_from_the_start_to_the_drain_and_a_drain_loses_nothing() {
    let setup = Setup { behaviour: Some(SLOW), bank: GENEROUS, ..Setup::default() };
    let operated = Operated::start(&setup, "", "");
    let mut client = Client::of(&operated.switch, Speech::cups());
    client.send(&purchases(&client, 1, 100));
    let echo_test = Message::echo_test(client.speech(), 999);
    assert_eq!(client.ask(&echo_test).number(), 999);
    assert_eq!(operated.get("/readyz").status, 200);
    let config = operated.file.to_str().unwrap();
    let drain = Running::start(Folder::new(), &["ctl", "--config", config, "drain"]);
    let mut answer = operated.get("/readyz");
    for _ in 0..1_000 {
        if answer.status != 200 {
            break;
        }
        pause();
        answer = operated.get("/readyz");
    }
    let why = String::from_utf8(answer.body).unwrap();
    assert_eq!((answer.status, why.as_str()), (503, "draining: new requests are refused\n"));
    assert_eq!(operated.get("/healthz").status, 200, "the process answers");
    let again = operated.ctl(&["drain"]);
    assert_eq!(again.code, Some(1), "{}", again.output);
    assert!(again.problems.contains("takes no orders now"), "{}", again.problems);
    let mut numbers: Vec<u32> = client.answers(100).iter().map(Message::number).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=100).collect::<Vec<_>>());
    assert!(client.next_answer().is_none());
    let drained = drain.end();
    assert_eq!((drained.code, drained.problems.as_str()), (Some(0), ""), "{}", drained.output);
    assert!(drained.output.contains("nothing left in flight; 101 answers"), "{}", drained.output);
    let (place, audit) = (operated.place.clone(), operated.audit.clone());
    let ended = operated.switch.end();
    ended.assert_clean();
    assert!(ended.output.contains("stopping    drain by uid "), "{}", ended.output);
    let Place::Socket(socket) = place else { panic!("a socket") };
    assert!(!socket.exists(), "it is cleared away");
    let text = std::fs::read_to_string(&audit).unwrap();
    let events: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line[65..]).unwrap())
        .map(|line| {
            format!("{} {}", line["what"].as_str().unwrap(), line["result"].as_str().unwrap())
        })
        .collect();
    assert_eq!(events, ["start done", "drain done", "stop done"]);
}

#[test]
fn a_socket_left_by_a_killed_switch_is_taken_over_and_a_live_one_is_not() {
    let setup = Setup::default();
    let operated = Operated::start(&setup, "", "");
    let (file, place) = (operated.file.clone(), operated.place.clone());
    let arguments = ["run", "--config", file.to_str().unwrap()];
    // The audit file is asked for first, and is another running switch's.
    let second = run(Folder::new(), &arguments);
    assert_eq!(second.code, Some(73), "{}", second.problems);
    assert!(second.problems.contains("another running switch's"), "{}", second.problems);
    let text = std::fs::read_to_string(&file).unwrap().replace("audit.log", "other.log");
    std::fs::write(&file, &text).unwrap();
    let second = run(Folder::new(), &arguments);
    assert_eq!(second.code, Some(73), "{}", second.problems);
    assert!(second.problems.contains("somebody answers there"), "{}", second.problems);
    assert_eq!(get(&place, "/healthz").status, 200, "the first one is as it was");
    operated.switch.signal(Signal::KILL);
    // Its folder goes away with it, so its files are looked at before.
    let Place::Socket(socket) = &place else { panic!("a socket") };
    let ended = operated.switch.end();
    assert!(socket.exists(), "nobody cleared it away");
    let gone = run(Folder::new(), &["ctl", "--socket", socket.to_str().unwrap(), "show", "shards"]);
    assert_eq!(gone.code, Some(69), "{}", gone.problems);
    assert!(gone.problems.contains("nobody answers"), "{}", gone.problems);
    let switch = Switch::start(Folder::new(), &file);
    await_ready(&place);
    switch.stop();
    drop(ended);
}

#[test]
fn a_socket_that_is_taken_or_a_token_that_others_see_refuses_the_start() {
    let folder = Folder::new();
    let start = |folder: &Folder, admin: &str| {
        let text = Setup::default().text() + "[admin]\n" + admin;
        let file = folder.file("switch.toml", &text);
        run(Folder::new(), &["run", "--config", file.to_str().unwrap()])
    };
    let _other = UnixListener::bind(folder.path("taken")).unwrap();
    let refused = start(&folder, "socket = \"taken\"");
    assert_eq!(refused.code, Some(73), "{}", refused.problems);
    let token = folder.file("token", "a-token-of-operators");
    std::fs::set_permissions(&token, Permissions::from_mode(0o644)).unwrap();
    let refused = start(&folder, "http = \"127.0.0.1:0\"\ntoken_file = \"token\"");
    assert_eq!(refused.code, Some(78), "{}", refused.problems);
    assert!(refused.problems.contains("chmod 600"), "{}", refused.problems);
    let audit = folder.file("audit.log", "");
    std::fs::set_permissions(&audit, Permissions::from_mode(0o666)).unwrap();
    let refused = start(&folder, "audit_file = \"audit.log\"");
    assert_eq!(refused.code, Some(74), "{}", refused.problems);
}

#[test]
fn while_it_starts_it_says_so() {
    let folder = Folder::new();
    let place = Place::Socket(folder.path("operators"));
    // Tables that take a while to make.
    let setup = Setup { shipped_tables: true, ..Setup::default() };
    let text = setup.text() + "[admin]\nsocket = \"operators\"\n";
    let file = folder.file("switch.toml", &text);
    let switch = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut said = Vec::new();
            for _ in 0..3_000 {
                let patience = crate::process::PATIENCE;
                let asked =
                    Ask { place: &place, path: "/readyz", is_order: false, token: None, patience };
                match ask(&asked) {
                    // It does not listen yet.
                    Err(_) => pause(),
                    Ok(answer) if answer.status == 200 => return said,
                    Ok(answer) => {
                        let text = String::from_utf8(answer.body).unwrap();
                        said.push((answer.status, text));
                        pause();
                    }
                }
            }
            panic!("it is never ready: {said:?}");
        });
        let switch = Switch::start(folder, &file);
        for (status, why) in watch.join().unwrap() {
            assert_eq!(status, 503);
            assert!(why.starts_with("starting") || why.starts_with("recovering"), "{why}");
        }
        switch
    });
    switch.stop();
}

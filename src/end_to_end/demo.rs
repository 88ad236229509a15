//! `tapswitch demo` as a user runs it: switch, banks and load in one process, held to its own
//! report. What is asked is little, so that a busy machine manages it too; how fast it is, is not
//! the matter here.

use crate::process::{Ended, Folder, Running, Setup};
use serde_json::Value;
use tapswitch::io::engine::probe_io_uring;

/// Keys that every report has.
const KEYS: [&str; 15] = [
    "asked_per_s",
    "achieved_per_s",
    "loop",
    "sent",
    "answered",
    "approved",
    "declined",
    "unanswered",
    "wrong",
    "bank_answered",
    "p50_us",
    "p99_us",
    "p999_us",
    "switch_p50_us",
    "switch_p99_us",
];

const SECONDS: u64 = 2;
const RATE: u64 = 3_000;

/// What a demonstration said, and the object that it wrote.
struct Shown {
    ended: Ended,
    object: Value,
}

fn demo(setup: &Setup<'_>, more: &[&str]) -> Ended {
    let folder = Folder::new();
    let file = folder.file("switch.toml", &setup.text());
    let object = folder.path("demo.json");
    let (seconds, rate) = (SECONDS.to_string(), RATE.to_string());
    let mut arguments = vec!["demo", "--seconds", &seconds, "--rate", &rate];
    arguments.extend(["--config", file.to_str().unwrap(), "--json", object.to_str().unwrap()]);
    arguments.extend(more);
    Running::start(folder, &arguments).end()
}

/// Runs a demonstration that must go well.
fn show(setup: &Setup<'_>, more: &[&str]) -> Shown {
    let ended = demo(setup, more);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.output, ended.problems);
    let object = serde_json::from_str(&ended.file("demo.json")).unwrap();
    let shown = Shown { ended, object };
    shown.check();
    shown
}

impl Shown {
    fn count(&self, key: &str) -> u64 {
        self.object[key].as_u64().unwrap_or_else(|| panic!("{key}: {:#}", self.object))
    }

    /// Every request was answered exactly once and rightly, and the books agree.
    fn check(&self) {
        for key in KEYS {
            let value = &self.object[key];
            assert!(value.is_number() || key == "loop" && value == "open", "{key}: {value}");
        }
        assert_eq!(self.object["asked_per_s"], RATE as f64);
        let [sent, answered] = ["sent", "answered"].map(|key| self.count(key));
        assert_eq!((answered, self.count("unanswered"), self.count("wrong")), (sent, 0, 0));
        assert_eq!(self.count("approved") + self.count("declined"), answered);
        // Arrivals are drawn: their number is within ten standard deviations of what was asked.
        let scheduled = sent + self.count("unsent");
        let asked = SECONDS * RATE;
        assert!(scheduled.abs_diff(asked) < 10 * asked.isqrt(), "{scheduled} of {asked}");
        let counted = ["received", "duplicate{conflict}", "refused{draining}"]
            .map(|counter| self.ended.counter(counter));
        assert_eq!(counted, [sent, 0, 0], "{}", self.ended.output);
        let by = ["answered{issuer}", "answered{switch}"].map(|by| self.ended.counter(by));
        assert_eq!((by[0], by[0] + by[1]), (self.count("bank_answered"), answered));
        let last = "and the banks' books agree with the load's\n";
        assert!(self.ended.output.ends_with(last), "{}", self.ended.output);
        let banks = self.ended.output.lines().filter(|line| line.ends_with("  agree"));
        assert_eq!(banks.count(), 20, "{}", self.ended.output);
    }

    /// The shipped rules and declines let nine of ten pass, and most answers are the banks'.
    fn check_mix(&self) {
        let answered = self.count("answered") as f64;
        let approved = self.count("approved") as f64 / answered;
        // 90 to 96 %, of a sample: four standard errors.
        let error = 4.0 * (0.96 * 0.04 / answered).sqrt();
        assert!((0.90 - error..=0.96 + error).contains(&approved), "{approved}");
        let by_banks = self.count("bank_answered") as f64 / answered;
        assert!(by_banks > 0.85, "{by_banks}");
    }
}

#[test]
fn on_epoll_every_request_is_answered_once() {
    let setup = Setup { switch: "engine = \"tokio\"", ..Setup::default() };
    let shown = show(&setup, &[]);
    assert!(shown.ended.output.contains("engine      tokio (epoll), as configured"));
    shown.check_mix();
}

/// Where the kernel refuses io_uring, a configuration that demands it is refused with the way out.
#[test]
fn on_io_uring_every_request_is_answered_once() {
    let setup = Setup { switch: "engine = \"tokio-uring\"", ..Setup::default() };
    if probe_io_uring().is_err() {
        let ended = demo(&setup, &[]);
        assert_eq!(ended.code, Some(1));
        assert!(ended.problems.contains("choose engine \"auto\""), "{}", ended.problems);
        return;
    }
    let shown = show(&setup, &[]);
    assert!(shown.ended.output.contains("engine      tokio-uring (io_uring), as configured"));
    shown.check_mix();
}

#[test]
fn on_two_shards_many_requests_cross_and_all_are_answered_once() {
    let shown = show(&Setup { switch: "shards = 2", ..Setup::default() }, &[]);
    let counter = |name| shown.ended.counter(name);
    let (crossed, received) = (counter("mesh{out}"), counter("received"));
    assert!(crossed * 10 >= received * 4, "{crossed} of {received} crossed");
    assert_eq!(counter("mesh{in}"), crossed);
}

#[test]
fn banks_on_a_thread_of_their_own_answer_every_request_once() {
    show(&Setup { bank: "threads = 1", ..Setup::default() }, &[]).check_mix();
}

#[test]
fn in_the_1987_dialect_every_request_is_answered_once() {
    let shown = show(&Setup::default(), &["--dialect", "iso87-ascii"]);
    assert_eq!(shown.object["plan"]["dialect"], "iso87-ascii");
    shown.check_mix();
}

/// A closed loop has no rate that was asked for; `-` makes the object all that is printed.
#[test]
fn as_fast_as_it_goes_and_the_object_on_standard_output() {
    let folder = Folder::new();
    let file = folder.file("switch.toml", &Setup::default().text());
    let file = file.to_str().unwrap();
    let words = ["demo", "--seconds", "1", "--rate", "max", "--json", "-", "--config", file];
    let ended = Running::start(folder, &words).end();
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.output, ended.problems);
    let object: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!((&object["loop"], &object["asked_per_s"]), (&"closed".into(), &Value::Null));
    assert_eq!((&object["unanswered"], &object["wrong"]), (&0.into(), &0.into()));
    assert_eq!(object["answered"], object["sent"]);
    assert!(object["answered"].as_u64().unwrap() > 0);
}

/// What a bank answers late or never is answered by the switch and taken back at the bank.
#[test]
fn requests_that_time_out_are_answered_reversed_and_leave_the_books_right() {
    let setup = Setup {
        switch: "shards = 2",
        acquirer: "answer_within_ms = 1_500\nanswer_margin_ms = 500\n\
                   transit_answer_within_ms = 1_500\ntransit_answer_margin_ms = 500",
        behaviour: Some(
            "delay_median_us = 0\ndelay_p99_us = 0\nsilence_ppm = 10_000\n\
             late_ppm = 10_000\nlate_ms = 1_300",
        ),
        ..Setup::default()
    };
    let shown = show(&setup, &[]);
    let counter = |name| shown.ended.counter(name);
    let timed_out = counter("issuer{time_out}");
    assert!(timed_out > 0);
    let answered_98 = shown.object["by_code"]["98"].as_u64().unwrap();
    assert!(answered_98 >= timed_out, "{answered_98} of {timed_out}");
    assert!(counter("issuer{late}") > 0, "late answers are counted, and reach nobody");
    assert!(counter("saf{owed}") > 0);
    assert_eq!(counter("saf{done}"), counter("saf{owed}"), "all that was owed was acknowledged");
}

//! The binary: what it prints, what it writes, how it exits.

use crate::responder;
use serde_json::Value;
use std::process::{Command, Output};
use tapswitch_loadgen::LoadDialect;

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_clean_run_writes_its_object_and_exits_with_0() {
    let target = responder::start(LoadDialect::Iso87Ascii, 2, |_, _, _| {}).to_string();
    let arguments = ["run", "--target", &target, "--dialect", "iso87-ascii", "--connections", "2"];
    let pace = ["--rate", "1000", "--arrivals", "constant", "--seconds", "0.7", "--json", "-"];
    let output = loadgen(&[&arguments[..], &pace].concat());
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{object:#}");
    assert_eq!(object["loop"], "open");
    assert_eq!(object["asked_per_s"], 1_000.0);
    assert_eq!(object["answered"], object["sent"]);
    assert_eq!(object["by_code"]["00"], object["answered"]);
    assert_eq!(object["per_issuer"].as_array().unwrap().len(), 20);
    let shown = text(&output.stderr);
    assert!(shown.contains(" in flight "), "a line of progress: {shown}");
    assert!(shown.contains("approved"), "the table of codes: {shown}");
}

#[test]
fn a_run_with_a_fault_exits_with_1() {
    let target = responder::start(LoadDialect::Cups, 1, |number, _, answer| {
        answer.times = if number == 5 { 2 } else { 1 };
    });
    let target = target.to_string();
    let arguments = ["run", "--target", &target, "--connections", "1", "--rate", "max"];
    let output = loadgen(&[&arguments[..], &["--seconds", "0.1"]].concat());
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("duplicate"), "{shown}");
    assert!(shown.contains("closed loop: not response time"), "{shown}");
}

#[test]
fn mistakes_exit_with_2_and_nobody_there_with_3() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    drop(listener);
    let run = |more: &[&str]| loadgen(&[&["run", "--target", &target][..], more].concat());
    for wrong in [
        &["--rate", "fast"][..],
        &["--dialect", "ebcdic"],
        &["--seconds", "0"],
        &["--connections", "0"],
        &["--cards", "2000000000"],
        &["--acquirer", "123456789012"],
    ] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(!output.stderr.is_empty());
    }
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains(&target), "{}", text(&output.stderr));
}

#[test]
fn a_bare_echo_is_measured_on_both_engines() {
    for engine in ["uring", "tokio"] {
        let arguments = ["calibrate", "--connections", "3", "--in-flight", "5", "--json", "-"];
        let output = loadgen(&[&arguments[..], &["--seconds", "0.2", "--engine", engine]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        for figure in ["messages_per_s", "server_cpu_ns_per_message", "p50_us", "p99_us"] {
            assert!(object[figure].as_f64().unwrap() > 0.0, "{figure}: {object:#}");
        }
        // A refused ring gives way to tokio.
        assert!(object["engine"] == "tokio" || engine == "uring", "{object:#}");
    }
    let output = loadgen(&["calibrate", "--in-flight", "0"]);
    assert_eq!(output.status.code(), Some(2));
}

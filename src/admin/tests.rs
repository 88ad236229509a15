//! Files of the port: sockets left over, tokens, the audit file and what is done to it.

use super::audit::{Audit, AuditError, AuditEvent, AuditResult, verify};
use super::socket::{SocketError, listen};
use super::token::{Token, TokenError};
use super::{Board, Phase};
use crate::config::Config;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder of its own; it goes away with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("tapswitch-admin-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a killed process of this number has left.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_socket_is_its_owners_and_goes_away() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let (listener, file) = listen(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    assert!(UnixStream::connect(&path).is_ok());
    drop((listener, file));
    assert!(!path.exists());
}

#[test]
fn a_socket_that_somebody_answers_at_is_left_alone_and_a_stale_one_is_not() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let (listener, file) = listen(&path).unwrap();
    assert!(matches!(listen(&path), Err(SocketError::InUse { .. })));
    assert!(UnixStream::connect(&path).is_ok(), "it is as it was");
    // A process that was killed leaves its file.
    drop(listener);
    let (listener, own) = listen(&path).unwrap();
    drop(file);
    assert!(path.exists(), "the file of before is not ours any more");
    drop((listener, own));
    std::fs::write(&path, "notes").unwrap();
    assert!(matches!(listen(&path), Err(SocketError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    let nowhere = listen(&folder.path("no/such/folder"));
    assert!(matches!(nowhere, Err(SocketError::Refused { .. })));
}

#[test]
fn a_token_is_for_its_owners_eyes_only() {
    let folder = Folder::new();
    let path = folder.path("token");
    assert!(matches!(Token::read(&path), Err(TokenError::Unreadable { .. })));
    std::fs::write(&path, "0123456789abcdef\n").unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620] {
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert!(matches!(Token::read(&path), Err(TokenError::Exposed { .. })), "{mode:o}");
    }
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let token = Token::read(&path).unwrap();
    assert!(token.is(b"0123456789abcdef") && !token.is(b"0123456789abcdef\n"));
    for wrong in ["", "0123456789abcde", "0123456789 abcdef", &"x".repeat(257)] {
        std::fs::write(&path, wrong).unwrap();
        assert!(matches!(Token::read(&path), Err(TokenError::NotAToken { .. })), "{wrong}");
    }
}

fn event(what: &str, result: AuditResult) -> AuditEvent<'_> {
    AuditEvent { who: "uid 0", from: "socket, pid 7", what, detail: "a: 1 -> 2".into(), result }
}

/// An audit file of so many lines.
fn written(folder: &Folder, lines: u64) -> PathBuf {
    let path = folder.path("audit.log");
    let audit = Audit::open(&path).unwrap();
    for line in 0..lines {
        audit.add(line * 1_000, &event("reload", AuditResult::Done)).unwrap();
    }
    path
}

#[test]
fn every_event_is_a_line_of_the_chain_over_restarts() {
    let folder = Folder::new();
    let path = written(&folder, 3);
    assert_eq!(mode(&path), 0o600);
    let audit = Audit::open(&path).unwrap();
    assert!(audit.damage().is_none());
    assert!(matches!(Audit::open(&path), Err(AuditError::InUse { .. })));
    audit.add(1_795_348_800_001, &event("drain", AuditResult::Failed)).unwrap();
    let verified = verify(&path).unwrap();
    assert_eq!((verified.lines, &verified.unfit), (4, &None));
    let text = std::fs::read_to_string(&path).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with(&verified.digest), "{last}");
    let expected = "{\"number\":4,\"at\":\"2026-11-22 12:00:00.001\",\"who\":\"uid 0\",\
                    \"from\":\"socket, pid 7\",\"what\":\"drain\",\"detail\":\"a: 1 -> 2\",\
                    \"result\":\"failed\"}";
    assert_eq!(&last[65..], expected);
}

#[test]
fn the_first_line_that_does_not_fit_is_named_whatever_was_done() {
    let folder = Folder::new();
    let path = written(&folder, 6);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let unfit = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        verify(&path).unwrap().unfit.map(|unfit| unfit.line)
    };
    assert_eq!(unfit(text.as_bytes()), None);
    // Any one byte of any line.
    for (number, line) in (1..).zip(&lines) {
        let start: usize = lines[..number - 1].iter().map(|line| line.len()).sum();
        for at in (start..start + line.len() - 1).step_by(7) {
            let mut damaged = text.clone().into_bytes();
            damaged[at] ^= 1;
            let first = unfit(&damaged).expect("it shows");
            assert_eq!(first, number as u64, "byte {at}");
        }
    }
    let without = |gone: usize| {
        let kept = lines.iter().enumerate().filter(|(place, _)| *place != gone);
        kept.map(|(_, line)| *line).collect::<String>()
    };
    assert_eq!(unfit(without(0).as_bytes()), Some(1));
    assert_eq!(unfit(without(3).as_bytes()), Some(4));
    let swapped = [lines[0], lines[2], lines[1], lines[3]].concat();
    assert_eq!(unfit(swapped.as_bytes()), Some(2));
    let put_in = [lines[0], lines[0], lines[1]].concat();
    assert_eq!(unfit(put_in.as_bytes()), Some(2));
    assert_eq!(unfit(&text.as_bytes()[..text.len() - 9]), Some(6), "cut short");
    assert_eq!(unfit(b"notes\n"), Some(1));
}

#[test]
fn a_damaged_file_is_told_of_and_goes_on() {
    let folder = Folder::new();
    let path = written(&folder, 3);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("1 -> 2", "1 -> 3", 1).trim_end()).unwrap();
    let audit = Audit::open(&path).unwrap();
    assert_eq!(audit.damage().unwrap().line, 1);
    audit.add(9_000, &event("start", AuditResult::Done)).unwrap();
    let verified = verify(&path).unwrap();
    assert_eq!((verified.lines, verified.unfit.unwrap().line), (4, 1));
}

#[test]
fn others_may_not_write_it_and_a_flood_of_refusals_is_counted() {
    let folder = Folder::new();
    let path = written(&folder, 0);
    set_permissions(&path, Permissions::from_mode(0o622)).unwrap();
    assert!(matches!(Audit::open(&path), Err(AuditError::Exposed { .. })));
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let audit = Audit::open(&path).unwrap();
    for _ in 0..500 {
        audit.add(5_000, &event("drain", AuditResult::Refused)).unwrap();
    }
    audit.add(6_000, &event("drain", AuditResult::Refused)).unwrap();
    let verified = verify(&path).unwrap();
    assert_eq!((verified.lines, verified.unfit), (11, None));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.lines().last().unwrap().contains("\"omitted\":490"), "{text}");
}

#[test]
fn requests_are_for_a_switch_that_serves_only() {
    let board = Board::new(Arc::new(Config::embedded()), None);
    for (phase, why) in [
        (Phase::Starting, "starting: what the process before left"),
        // Its shards are not there.
        (Phase::Serving, "starting: no shard"),
        (Phase::Draining, "draining: new requests are refused"),
        (Phase::Stopped, "stopped"),
    ] {
        board.set_phase(phase);
        assert_eq!(board.phase(), phase);
        assert!(board.not_ready().unwrap().starts_with(why), "{why}");
    }
}

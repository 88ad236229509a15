//! Files of a log that grows, ends torn, or meets a slow disk.

use super::file::{check, numbered};
use super::*;
use crate::config::Config;
use crate::limits::{OUTCOME_LOG_BYTES_MIN, OUTCOMES_MAX};
use crate::shard::outcome::Outcome;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tapswitch-outcomes-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn config(&self) -> Config {
        let mut config = Config::embedded();
        config.switch.shards = 1;
        let (dir, bytes_max) = (self.0.clone(), OUTCOME_LOG_BYTES_MIN);
        config.outcomes = Some(OutcomesConfig { dir, bytes_max });
        config
    }

    fn thread(&self) -> OutcomeThread {
        let config = self.config();
        OutcomeThread::new(&config, config.outcomes.as_ref().unwrap()).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(stan: u32) -> [u8; OUTCOME_BYTES] {
    let mut entry = [0; OUTCOME_BYTES];
    let outcome = Outcome { stan, ..Outcome::decode(&entry) };
    outcome.encode(&mut entry);
    entry
}

/// Trace numbers in the log, and how many entries are damaged.
fn stans(dir: &Path) -> (Vec<u32>, u64) {
    let (mut stans, mut damaged) = (Vec::new(), 0);
    for path in paths(dir).unwrap() {
        let Some(mut file) = OutcomeFile::open(&path).unwrap() else { continue };
        assert_eq!(file.names(), &Names::of(&Config::embedded()));
        while let Some(outcome) = file.next_outcome().unwrap() {
            stans.push(outcome.stan);
        }
        damaged += file.damaged();
    }
    (stans, damaged)
}

/// Puts entries with these trace numbers into the port, as a shard would.
fn put(port: &mut OutcomePort, stans: core::ops::Range<u32>, all: bool) -> u32 {
    let mut next = stans.start;
    let take = |block: &mut Vec<u8>| {
        while next < stans.end && block.len() + OUTCOME_BYTES <= block.capacity() {
            block.extend_from_slice(&entry(next));
            next += 1;
        }
    };
    port.fill(take, all);
    next
}

#[test]
fn what_ports_are_given_is_in_the_files_in_order() {
    let folder = Folder::new("order");
    let thread = folder.thread();
    let mut port = thread.ports().next().unwrap();
    let stop = thread.stop_handle();
    assert_eq!(put(&mut port, 0..900, false), 900, "a block and a part of one");
    assert_eq!(put(&mut port, 900..901, true), 901);
    stop.stop();
    assert_eq!(thread.run(), 0);
    assert_eq!(stans(&folder.0), ((0..901).collect(), 0));
    let files = paths(&folder.0).unwrap();
    let [file] = &files[..] else { panic!("one file") };
    assert!(file.ends_with("outcomes/00000000000000000001.log"), "{}", file.display());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let dir = folder.0.join("outcomes").metadata().unwrap();
    assert_eq!(dir.permissions().mode() & 0o777, 0o700);
    // The names are readable as they stand.
    let text = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&text[..8_192]);
    assert!(text.contains("\"refused{amount_limit}\"") && text.contains("\"ICBC\""));
}

#[test]
fn a_slow_disk_stops_the_port_and_nobody_else() {
    let folder = Folder::new("slow");
    let thread = folder.thread();
    let mut port = thread.ports().next().unwrap();
    let per_block = (OUTCOME_BLOCK_BYTES / OUTCOME_BYTES) as u32;
    let all_blocks = per_block * OUTCOME_BLOCKS as u32;
    // Nobody writes: the port takes what its blocks hold, and returns.
    let taken = put(&mut port, 0..2 * all_blocks, true);
    assert_eq!(taken, all_blocks);
    assert_eq!(put(&mut port, taken..taken + 1, true), taken, "there is no room for one more");
    thread.stop_handle().stop();
    assert_eq!(thread.run(), 0);
    let written = all_blocks - per_block;
    let (kept, _) = stans(&folder.0);
    assert_eq!(kept.last(), Some(&(written - 1)), "all blocks but the one that the port holds");
    assert!(kept.is_sorted() && kept.len() > OUTCOMES_MAX / 2);
}

#[test]
fn the_oldest_files_make_room() {
    let folder = Folder::new("room");
    for first in (0..60_000).step_by(10_000) {
        let thread = folder.thread();
        let mut port = thread.ports().next().unwrap();
        put(&mut port, first..first + 10_000, true);
        thread.stop_handle().stop();
        assert_eq!(thread.run(), 0);
        let files = numbered(&folder.0.join("outcomes")).unwrap();
        let bytes: u64 = files.iter().map(|(_, path)| path.metadata().unwrap().len()).sum();
        assert!(bytes <= OUTCOME_LOG_BYTES_MIN, "{bytes}");
    }
    let (kept, damaged) = stans(&folder.0);
    assert_eq!((kept.last(), damaged), (Some(&59_999), 0));
    assert!(kept.windows(2).all(|pair| pair[1] == pair[0] + 1), "what is left is the newest");
    assert!(kept.len() > 4_000, "{}", kept.len());
}

#[test]
fn a_torn_end_and_a_damaged_entry_are_passed_over() {
    let folder = Folder::new("torn");
    let thread = folder.thread();
    let mut port = thread.ports().next().unwrap();
    put(&mut port, 0..10, true);
    thread.stop_handle().stop();
    thread.run();
    let path = paths(&folder.0).unwrap().remove(0);
    let bytes = path.metadata().unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(bytes - 3 * OUTCOME_BYTES as u64 + 70)).unwrap();
    file.write_all(b"!").unwrap();
    file.set_len(bytes - 1).unwrap();
    assert_eq!(stans(&folder.0), (vec![0, 1, 2, 3, 4, 5, 6, 8], 1));
    file.set_len(100).unwrap();
    assert_eq!(stans(&folder.0), (vec![], 0), "a header that is not whole yet");
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"something else that is long enough").unwrap();
    assert!(matches!(OutcomeFile::open(&path), Err(ReadError::Foreign { .. })));
    assert!(OutcomeFile::open(&folder.0.join("none")).unwrap().is_none());
    assert!(matches!(paths(&folder.0.join("none")), Err(ReadError::Io { .. })));
    assert_ne!(check(&[0; 124]), [0; 4], "an entry of zeros is damaged");
}

#[test]
fn a_folder_that_is_gone_loses_entries_and_says_how_many() {
    let folder = Folder::new("gone");
    let thread = folder.thread();
    let mut port = thread.ports().next().unwrap();
    std::fs::remove_dir_all(&folder.0).unwrap();
    // More than one file holds, so a new one is wanted.
    put(&mut port, 0..4_096, true);
    thread.stop_handle().stop();
    assert!(thread.run() >= 3_000);
}

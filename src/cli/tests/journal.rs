//! A data directory as `journal inspect` and `journal verify` show it.

use super::{Folder, say};
use crate::config::Config;
use crate::io::engine::{Engine, run_thread};
use crate::io::journal::{
    DataDirectory, SegmentStock, ShardJournal, SnapshotEnd, SnapshotMark, SnapshotThread,
};
use crate::shard::journal_record::{Change, RECORD_BYTES_MAX, Record};
use std::future::poll_fn;
use std::path::Path;

/// So many records.
fn records(count: u64) -> Vec<u8> {
    let mut all = Vec::new();
    for epoch in 1..=count {
        let mut bytes = [0; RECORD_BYTES_MAX];
        let record = Record { wall_ms: 1_795_348_800_000, change: Change::Configured { epoch } };
        let count = record.encode(&mut bytes);
        all.extend_from_slice(&bytes[..count]);
    }
    all
}

/// Two commits, of 6 records and of `more`, which are said to be 316, and a snapshot after the first
/// record.
fn fill(folder: &Path, more: &[u8]) {
    let directory = DataDirectory::open(folder, 1, [1; 8], b"layout").unwrap();
    let recovery = directory.recover(0).unwrap();
    let groups = recovery.groups(1).unwrap();
    let resumes = [recovery.resume(groups).unwrap()];
    let mut config = Config::embedded().journal;
    (config.segment_bytes, config.undurable_bytes_max) = (1 << 20, 1 << 20);
    (config.alarm_free_percent, config.refuse_free_percent) = (0, 0);
    let stock = SegmentStock::start(&config, &resumes).unwrap();
    let snapshots = SnapshotThread::start(&directory, &resumes).unwrap();
    let mut writer = snapshots.writer(0);
    run_thread(Engine::Tokio, async {
        let port = stock.port(0);
        let mut journal = ShardJournal::new(Engine::Tokio, &config, &resumes[0], port).unwrap();
        for (records, count) in [(&records(6)[..], 6), (more, 316)] {
            journal.append(records, count);
            journal.pump(0);
            poll_fn(|context| journal.poll_progress(context)).await;
            assert!(journal.pump(0));
        }
        assert!(writer.begin(SnapshotMark { lsn: 1, replay_from_lsn: 2 }, b"header"));
        assert!(writer.room() > 6_000);
        writer.push(&[9; 6_000]);
        assert!(writer.finish(journal.durable_lsn()));
    })
    .unwrap();
    loop {
        match writer.take_end() {
            Some(end) => break assert_eq!(end, SnapshotEnd::Complete),
            None => std::thread::yield_now(),
        }
    }
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_data_directory_is_shown_and_its_damage_is_code_65() {
    let folder = Folder::new("journal");
    let data = folder.0.join("data");
    fill(&data, &records(316));
    let path = data.display().to_string();
    let said = say(&["journal", "inspect", &path], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    assert!(said.output.starts_with(&format!("directory {path}: format 1, id ")));
    let wanted = "shard 0   records 1 to 322, 6.0 KiB in 2 groups; 1 segments, 2 more lie ready\n";
    assert!(said.output.contains(wanted), "{}", said.output);
    let wanted = "          snapshot at 1, replay from 2; 8 KiB read\n";
    assert!(said.output.contains(wanted), "{}", said.output);
    let verified = say(&["journal", "verify", &path], "");
    assert!(verified.output.contains("replay from 2; 20 KiB read\n"), "{}", verified.output);
    // The last group: a crash may have torn it.
    let segment = data.join("generation-0001/shard-00/00000000000000000001.journal");
    flip(&segment, 8_192 + 100);
    let said = say(&["journal", "inspect", &path], "");
    assert_eq!(said.code, 0);
    assert!(said.output.contains("torn tail: 8 KiB of"), "{}", said.output);
    flip(&segment, 8_192 + 100);
    flip(&segment, 4_096 + 100);
    for command in ["inspect", "verify"] {
        let said = say(&["journal", command, &path], "");
        assert_eq!(said.code, 65);
        let wanted = "00000000000000000001.journal: damage at offset 4096: record 1 is not";
        assert!(said.problems.contains(wanted), "{}", said.problems);
        assert!(said.output.contains("DAMAGED"), "{}", said.output);
    }
    flip(&segment, 4_096 + 100);
    flip(&data.join("generation-0001/shard-00/00000000000000000001.snapshot"), 8_192 + 3_000);
    assert_eq!(say(&["journal", "inspect", &path], "").code, 0);
    let said = say(&["journal", "verify", &path], "");
    assert_eq!(said.code, 65);
    assert!(said.output.contains("DAMAGED   snapshot at 1"), "{}", said.output);
}

#[test]
fn records_are_printed_and_taken_apart() {
    let folder = Folder::new("journal-records");
    let data = folder.0.join("data");
    fill(&data, &records(316));
    let path = data.display().to_string();
    let said = say(&["journal", "inspect", "--records", &path], "");
    assert_eq!((said.code, said.problems.as_str()), (0, ""));
    let lines: Vec<&str> = said.output.lines().collect();
    let first = "shard 0            1  2026-11-22 12:00:00.000  configured     epoch 1";
    let last = "shard 0          322  2026-11-22 12:00:00.000  configured     epoch 316";
    assert_eq!((lines[0], lines[321]), (first, last));
    assert!(lines[322].starts_with("directory "), "{}", lines[322]);

    // Sound on the disk, and yet no records of this version.
    let mut foreign = records(316);
    foreign[19 + 2] = 99;
    let data = folder.0.join("foreign");
    fill(&data, &foreign);
    let path = data.display().to_string();
    assert_eq!(say(&["journal", "inspect", &path], "").code, 0, "not looked into");
    for arguments in
        [&["journal", "verify", &path][..], &["journal", "inspect", "--records", &path]]
    {
        let said = say(arguments, "");
        assert_eq!(said.code, 65);
        let wanted = "shard 0: record 8: a record of unknown kind 99";
        assert!(said.problems.starts_with(wanted), "{}", said.problems);
    }
}

#[test]
fn other_directories_are_refused() {
    let folder = Folder::new("no-journal");
    let path = folder.0.display().to_string();
    let said = say(&["journal", "inspect", &path], "");
    assert_eq!(said.code, 65);
    assert!(said.problems.contains("this is no data directory"), "{}", said.problems);
    let said = say(&["journal", "verify", &format!("{path}/none")], "");
    assert_eq!(said.code, 74);
    assert!(said.problems.contains("cannot list"), "{}", said.problems);
}

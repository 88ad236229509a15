//! Real files and threads, on both engines: what is told durable is found again; one process at a
//! time; segments lie ready; snapshots are written while records come.

use super::*;
use crate::config::{Config, Durability, JournalConfig};
use crate::io::engine::{Engine, probe_io_uring, run_thread};
use crate::io::journal::disk::Room;
use crate::io::journal::{
    DataDirectory, Inspection, SEGMENTS_AHEAD, SegmentStock, ShardJournal, SnapshotEnd,
    SnapshotMark, SnapshotThread, SnapshotWriter, Space, inspect,
};
use std::future::poll_fn;

const KEY_CHECK: [u8; 8] = [3; 8];

pub(super) fn engines() -> impl Iterator<Item = Engine> {
    let uring = probe_io_uring().is_ok().then_some(Engine::TokioUring);
    uring.into_iter().chain([Engine::Tokio])
}

pub(super) fn config() -> JournalConfig {
    JournalConfig {
        durability: Durability::Strict,
        segment_bytes: 1 << 20,
        undurable_bytes_max: 256 << 10,
        alarm_free_percent: 0,
        refuse_free_percent: 0,
        ..Config::embedded().journal
    }
}

pub(super) fn open(folder: &Path) -> (DataDirectory, [Resume; 1], Vec<u8>) {
    let directory = DataDirectory::open(folder, 1, KEY_CHECK, b"layout").unwrap();
    let recovery = directory.recover(0).unwrap();
    let mut groups = recovery.groups(1).unwrap();
    let records = read_all(&mut groups).unwrap();
    let resume = recovery.resume(groups).unwrap();
    (directory, [resume], records)
}

/// Waits as the driver does, until the commit in flight has ended.
async fn end_of_commit(journal: &mut ShardJournal) {
    poll_fn(|context| journal.poll_progress(context)).await;
    assert!(journal.pump(0));
}

async fn settle(journal: &mut ShardJournal) {
    while !journal.is_idle() {
        end_of_commit(journal).await;
    }
}

#[test]
fn what_is_durable_is_found_again_on_both_engines() {
    for engine in engines() {
        let temp = TempFolder::new(&format!("again-{engine:?}"));
        let mut all = Vec::new();
        for start in 0..3_u8 {
            let (_directory, resumes, records) = open(temp.path());
            assert_eq!(records, all, "{engine:?}, start {start}");
            assert_eq!(resumes[0].torn_bytes(), 0);
            let stock = SegmentStock::start(&config(), &resumes).unwrap();
            run_thread(engine, async {
                let mut journal =
                    ShardJournal::new(engine, &config(), &resumes[0], stock.port(0)).unwrap();
                let first = journal.last_lsn();
                for round in 0..40_u8 {
                    let records = vec![round ^ start; 3_000 * usize::from(round % 20 + 1)];
                    while !journal.has_room(records.len()) {
                        journal.pump(0);
                        end_of_commit(&mut journal).await;
                    }
                    assert_eq!(journal.append(&records, 2), first + 2 * (u64::from(round) + 1));
                    all.extend_from_slice(&records);
                    journal.pump(0);
                    assert!(journal.durable_lsn() <= journal.written_lsn());
                    assert!(journal.written_lsn() <= journal.last_lsn());
                }
                settle(&mut journal).await;
                assert_eq!(journal.durable_lsn(), first + 80);
                assert_eq!((journal.undurable_bytes(), journal.release_lsn()), (0, first + 80));
                assert_eq!(journal.counters().records, 80);
                assert_eq!(journal.counters().commits, journal.counters().commit_us.len());
            })
            .unwrap();
        }
    }
}

#[test]
fn relaxed_commits_start_at_their_time_and_release_at_once() {
    let temp = TempFolder::new("relaxed");
    let (_directory, resumes, _) = open(temp.path());
    let config = JournalConfig { durability: Durability::Relaxed { ms: 10 }, ..config() };
    let stock = SegmentStock::start(&config, &resumes).unwrap();
    run_thread(Engine::Tokio, async {
        let mut journal =
            ShardJournal::new(Engine::Tokio, &config, &resumes[0], stock.port(0)).unwrap();
        journal.append(&[1; 100], 1);
        assert!(!journal.pump(9_999_999) && journal.written_lsn() == 0);
        assert_eq!(journal.next_due_ns(), Some(10_000_000));
        assert_eq!((journal.release_lsn(), journal.durable_lsn()), (1, 0));
        journal.pump(10_000_000);
        assert_eq!(journal.written_lsn(), 1);
        poll_fn(|context| journal.poll_progress(context)).await;
        journal.append(&[2; 100], 1);
        assert!(journal.pump(19_999_999));
        assert_eq!((journal.durable_lsn(), journal.written_lsn()), (1, 1));
        assert_eq!(journal.next_due_ns(), Some(20_000_000));
        journal.pump(20_000_000);
        assert_eq!(journal.next_due_ns(), Some(20_000_000 + 5_000_000_000));
        poll_fn(|context| journal.poll_progress(context)).await;
        journal.pump(31_000_000);
        assert_eq!((journal.durable_lsn(), journal.counters().stalls), (2, 1));
        assert!(journal.is_idle() && journal.next_due_ns().is_none());
    })
    .unwrap();
}

/// Row F10, and other directories than the one that was asked for.
#[test]
fn a_directory_is_taken_once_and_by_its_own() {
    let temp = TempFolder::new("taken");
    let (directory, ..) = open(temp.path());
    let again = DataDirectory::open(temp.path(), 1, KEY_CHECK, b"layout").err().unwrap();
    assert!(matches!(again, JournalError::Locked { .. }));
    assert_eq!(again.exit_code(), 73);
    let report = inspect(temp.path(), Inspection::Whole, &mut |_, _| {}).unwrap();
    assert!(report.in_use && report.into_damage().is_none());
    let identity = *directory.identity();
    drop(directory);
    let error = DataDirectory::open(temp.path(), 1, [4; 8], b"layout").err().unwrap();
    assert!(error.to_string().contains("another card key"), "{error}");
    let other = DataDirectory::open(temp.path(), 2, KEY_CHECK, b"other").unwrap();
    assert!(*other.identity() == identity && other.layout() == b"layout", "as it was made");
    drop(other);
    assert_eq!(*open(temp.path()).0.identity(), identity);
    let path = temp.path().join("generation-0001/identity");
    std::fs::remove_file(&path).unwrap();
    let error = DataDirectory::open(temp.path(), 1, KEY_CHECK, b"layout").err().unwrap();
    assert!(matches!(error, JournalError::Foreign { .. }), "{error}");
    std::fs::write(&path, [0; 4_096]).unwrap();
    let error = DataDirectory::open(temp.path(), 1, KEY_CHECK, b"layout").err().unwrap();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
}

/// Row F4: what was accepted has its place; nothing new is accepted when no segment lies ready.
#[test]
fn without_a_ready_segment_nothing_new_is_accepted() {
    let temp = TempFolder::new("full");
    let (_directory, resumes, _) = open(temp.path());
    let stock = SegmentStock::start(&config(), &resumes).unwrap();
    let port = stock.port(0);
    assert_eq!((port.ready(), stock.space()), (SEGMENTS_AHEAD, Space::Ok));
    // The file system has no room any more: the thread prepares no segment.
    drop(stock);
    run_thread(Engine::Tokio, async {
        let mut journal =
            ShardJournal::new(Engine::Tokio, &config(), &resumes[0], port.clone()).unwrap();
        let record = [5; 50_000];
        let mut accepted = 0;
        while journal.space() != Space::Refuse {
            assert!(journal.has_room(record.len()));
            accepted = journal.append(&record, 1);
            journal.pump(0);
            end_of_commit(&mut journal).await;
        }
        assert_eq!(port.ready(), 0);
        // What is owed for what was accepted still finds room.
        assert!(journal.has_room(record.len()));
        accepted = accepted.max(journal.append(&record, 1));
        settle_strictly(&mut journal).await;
        assert_eq!(journal.durable_lsn(), accepted);
        while journal.has_room(record.len()) {
            accepted = journal.append(&record, 1);
            settle_strictly(&mut journal).await;
        }
        assert_eq!(journal.durable_lsn(), accepted, "what was accepted is there to the last");
    })
    .unwrap();
}

async fn settle_strictly(journal: &mut ShardJournal) {
    journal.pump(0);
    settle(journal).await;
}

#[test]
fn room_is_judged_by_its_share() {
    let room = |free_bytes| Room { free_bytes, total_bytes: 1_000_000 };
    for (free, space) in [
        (100_000, Space::Ok),
        (99_999, Space::Low),
        (20_000, Space::Low),
        (19_999, Space::Refuse),
        (0, Space::Refuse),
    ] {
        assert_eq!(Space::of(room(free), 10, 2), space, "{free}");
    }
    assert_eq!(Space::of(room(0), 0, 0), Space::Ok);
}

fn push_all(writer: &mut SnapshotWriter, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let part = writer.room().min(bytes.len());
        match part {
            // The driver would go on deciding.
            0 => std::thread::yield_now(),
            _ => writer.push(&bytes[..part]),
        }
        bytes = &bytes[part..];
    }
}

fn end_of_snapshot(writer: &mut SnapshotWriter) -> SnapshotEnd {
    loop {
        match writer.take_end() {
            Some(end) => return end,
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn snapshots_are_written_by_their_thread_and_read_back() {
    let temp = TempFolder::new("snapshots");
    let (directory, resumes, _) = open(temp.path());
    let thread = SnapshotThread::start(&directory, &resumes).unwrap();
    let mut writer = thread.writer(0);
    let contents: Vec<u8> = (0..5_000_000_u32).map(|at| (at / 7) as u8).collect();
    let mark = SnapshotMark { lsn: 0, replay_from_lsn: 1 };
    assert!(writer.begin(mark, b"a header") && !writer.begin(mark, b"another"));
    push_all(&mut writer, &contents[..1_000]);
    writer.abandon();
    while !writer.begin(mark, b"header") {
        std::thread::yield_now();
    }
    push_all(&mut writer, &contents);
    assert!(writer.finish(0));
    assert_eq!(end_of_snapshot(&mut writer), SnapshotEnd::Complete);
    assert!(!writer.begin(mark, b"again"), "nothing came after it");
    let later = SnapshotMark { lsn: 1, replay_from_lsn: 1 };
    assert!(writer.begin(later, b"beyond"));
    assert!(!writer.finish(0), "the journal is not durable that far");
    // Ends before it is finished: given up.
    drop(thread);
    drop(directory);
    let directory = DataDirectory::open(temp.path(), 1, KEY_CHECK, b"layout").unwrap();
    let mut recovery = directory.recover(0).unwrap();
    let mut reader = recovery.next_snapshot().unwrap().unwrap();
    assert_eq!((reader.mark(), reader.header()), (mark, &b"header"[..]));
    let mut read = Vec::new();
    while let Some(chunk) = reader.next_chunk().unwrap() {
        read.extend_from_slice(chunk);
    }
    assert!(read == contents);
    assert!(recovery.next_snapshot().unwrap().is_none());
}

#[test]
fn a_disk_without_room_gives_a_snapshot_up() {
    let disk = Arc::new(TestDisk::new());
    let (resume, _) = recover(&disk).unwrap();
    let dyn_disk = Arc::clone(&disk) as Arc<dyn Disk>;
    let thread = SnapshotThread::start_on(dyn_disk, &[resume]).unwrap();
    let mut writer = thread.writer(0);
    let mark = SnapshotMark { lsn: 0, replay_from_lsn: 1 };
    // Creation, first block, header, then the first chunk.
    disk.fail_at(disk.calls() + 4, io::ErrorKind::StorageFull);
    assert!(writer.begin(mark, b"header"));
    push_all(&mut writer, &[1; 3_000_000]);
    assert_eq!(end_of_snapshot(&mut writer), SnapshotEnd::NoRoom);
    assert_eq!(disk.list(&folder()).unwrap(), [""; 0]);
    while !writer.begin(mark, b"header") {
        std::thread::yield_now();
    }
    assert!(writer.finish(0));
    assert_eq!(end_of_snapshot(&mut writer), SnapshotEnd::Complete);
    assert_eq!(disk.list(&folder()).unwrap(), ["00000000000000000000.snapshot"]);
}

/// What a look from outside sees while records are written is never taken for damage.
#[test]
fn a_look_beside_a_running_writer_sees_a_prefix() {
    let temp = TempFolder::new("beside");
    let (_directory, resumes, _) = open(temp.path());
    let stock = SegmentStock::start(&config(), &resumes).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            run_thread(Engine::Tokio, async {
                let mut journal =
                    ShardJournal::new(Engine::Tokio, &config(), &resumes[0], stock.port(0))
                        .unwrap();
                // A bounded number: a look reads all there is, and would never catch up.
                while journal.last_lsn() < LOOKED_AT {
                    // Without room the next segment is on its way.
                    if journal.has_room(20_000) {
                        journal.append(&[6; 20_000], 1);
                        settle_strictly(&mut journal).await;
                    } else {
                        std::thread::yield_now();
                    }
                }
                journal.durable_lsn()
            })
        });
        let mut seen = 0;
        while seen < LOOKED_AT && !writer.is_finished() {
            let report = inspect(temp.path(), Inspection::Quick, &mut |_, _| {}).unwrap();
            assert!(report.shards[0].damage.is_none(), "{:?}", report.shards[0].damage);
            assert!(report.shards[0].last_lsn >= seen);
            seen = report.shards[0].last_lsn;
        }
        assert!(writer.join().unwrap().unwrap() >= seen);
    });
}

/// Records that are written beside the looks.
const LOOKED_AT: u64 = 500;

//! Rows F3 and F5: an error of the disk, a short write or too long a stall ends the process at
//! once, and nothing that was gated is released. Each in a process of its own.

use super::live::{config, open};
use super::*;
use crate::io::engine::{Engine, run_thread};
use crate::io::journal::device::CommitDevice;
use crate::io::journal::{SegmentStock, ShardJournal, SnapshotMark, SnapshotThread};
use std::fs::File;
use std::future::{pending, poll_fn};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

/// What the child is told by.
const FAULT: &str = "TAPSWITCH_TEST_FAULT";
const SIGABRT: i32 = 6;

struct FaultyDevice(String);

impl CommitDevice for FaultyDevice {
    fn switch(&mut self, _: File) {}

    async fn write(
        &mut self,
        buffer: AlignedBuffer,
        bytes: usize,
        offset: u64,
    ) -> (io::Result<usize>, AlignedBuffer) {
        let result = match self.0.as_str() {
            // The segment's header arrives, its first group does not.
            _ if offset == 0 => Ok(bytes),
            "error" => Err(rustix::io::Errno::IO.into()),
            "short" => Ok(bytes - 512),
            _ => pending().await,
        };
        (result, buffer)
    }
}

/// What the process does that is to end.
fn meet(fault: &str) {
    let temp = TempFolder::new(&format!("fault-{fault}"));
    if fault == "fsync" {
        return meet_fsync();
    }
    let (_directory, resumes, _) = open(temp.path());
    let stock = SegmentStock::start(&config(), &resumes).unwrap();
    run_thread(Engine::Tokio, async {
        let device = (FaultyDevice(fault.to_owned()), None);
        let mut journal =
            ShardJournal::with_device(&config(), &resumes[0], stock.port(0), device).unwrap();
        journal.append(&[1; 1_000], 1);
        journal.pump(1);
        if fault == "stall" {
            // Not a moment before its time, nor after.
            let late_ns = config().stall_max_ms * 1_000_000 + 1;
            journal.check_stall(late_ns - 2);
            // The process may have stood still itself: it looks again after a while.
            [late_ns, late_ns + 1].into_iter().for_each(|now_ns| journal.check_stall(now_ns));
            println!("waited");
            journal.check_stall(late_ns + 1_000_000_000);
        }
        poll_fn(|context| journal.poll_progress(context)).await;
        journal.pump(2);
        println!("RELEASED {}", journal.release_lsn());
    })
    .unwrap();
}

fn meet_fsync() {
    let disk = Arc::new(TestDisk::new());
    let (resume, _) = recover(&disk).unwrap();
    let thread = SnapshotThread::start_on(Arc::clone(&disk) as Arc<dyn Disk>, &[resume]).unwrap();
    let mut writer = thread.writer(0);
    // Creation, first block, header, end, then the fsync.
    disk.fail_at(disk.calls() + 5, io::ErrorKind::Other);
    assert!(writer.begin(SnapshotMark { lsn: 0, replay_from_lsn: 1 }, b""));
    assert!(writer.finish(0));
    while writer.take_end().is_none() {
        std::thread::yield_now();
    }
    println!("RELEASED");
}

#[test]
fn a_fault_of_the_disk_ends_the_process_before_anything_is_released() {
    if let Ok(fault) = std::env::var(FAULT) {
        return meet(&fault);
    }
    let name = std::thread::current().name().unwrap().to_owned();
    for (fault, said) in [
        ("error", "offset 4096: Input/output error"),
        ("short", "only 3584 of 4096 bytes were written"),
        ("stall", "the journal's disk has not answered for 5000 ms"),
        ("fsync", "cannot write a snapshot in /d/shard-00"),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(FAULT, fault);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = child.id();
        let output = child.wait_with_output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.signal(), Some(SIGABRT), "{fault}: {out} {err}");
        assert!(err.contains(said), "{fault}: {err}");
        assert!(!out.contains("RELEASED"), "{fault}: {out}");
        assert_eq!(out.contains("waited"), fault == "stall");
        // It had no time to clear away; those of other runs of this test are theirs.
        std::fs::remove_dir_all(TempFolder::of(&format!("fault-{fault}"), id)).unwrap();
    }
}

//! Row G3: a shard that does not come back is told of, and ends the process when it stays away.

use super::rig::{ENGINES, PATIENCE, Rig, Setup, be2, message};
use crate::io::{IoCounters, ShardPhase};
use rustix::thread::{Timespec, nanosleep};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the child is told by.
const FAULT: &str = "TAPSWITCH_TEST_STALL";
const SIGABRT: i32 = 6;

fn stalls(counters: &IoCounters) -> u64 {
    counters.stalls.stalls.load(Ordering::Relaxed)
}

/// Waits until some shard has stalled: which.
fn stalled(rig: &Rig) -> usize {
    for _ in 0..PATIENCE.as_millis() / 20 {
        if let Some(shard) = rig.switch.counters().position(|it| stalls(it) > 0) {
            return shard;
        }
        let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 });
    }
    panic!("nobody has noticed");
}

/// Two shards, of which one spins: the other one answers all the while.
#[test]
fn a_shard_that_spins_is_told_of_and_the_other_serves_on() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.shards = 2;
        let rig = setup.start_with(|config| config.switch.stall_abort_ms = 0);
        let mut clients = [rig.client(), rig.client()];
        for (number, client) in (0..).zip(&mut clients) {
            client.send(&be2(&message(b'e', number, 60)));
            assert_eq!(client.answer().unwrap(), message(b'e', number, 60));
        }
        let [spinning, other] = &mut clients;
        spinning.send(&be2(&message(b's', 7, 60)));
        let shard = stalled(&rig);
        for number in 0..100 {
            other.send(&be2(&message(b'e', number, 60)));
            assert_eq!(other.answer().unwrap(), message(b'e', number, 60));
        }
        let counters: Vec<Arc<IoCounters>> = rig.switch.counters().map(Arc::clone).collect();
        let levels = &counters[shard].stalls;
        assert!(levels.stalled_ms.load(Ordering::Relaxed) >= 1_000);
        assert_eq!(levels.phase(), ShardPhase::Deciding);
        rig.released.store(true, Ordering::Release);
        assert_eq!(spinning.answer().unwrap(), message(b's', 7, 60));
        drop(clients);
        let seen = rig.stop();
        assert_eq!((seen[shard].requests, seen[1 - shard].requests), (2, 101));
    }
}

#[test]
fn a_shard_that_stays_away_ends_the_process() {
    if std::env::var(FAULT).is_ok() {
        let rig = Setup::on(ENGINES[1]).start_with(|it| it.switch.stall_abort_ms = 2_000);
        let mut client = rig.client();
        client.send(&be2(&message(b's', 7, 60)));
        // There is none.
        client.answer();
        return;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env(FAULT, "1");
    let child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
    let expected = "shard 0 has not come back for 2000 ms (stall_abort_ms), last seen deciding";
    assert!(said.contains(expected), "{said}");
}

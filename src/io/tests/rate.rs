//! A measurement to be run by hand; as a test it only asserts that every message is answered.
//!
//! `RATE_MS=3000 cargo test --release --lib io::tests::rate -- --nocapture`

use super::echo::WARM_UP;
use super::rig::{Client, ENGINES, Setup, be2, message};
use crate::config::EngineChoice;
use crate::io::allowed_cores;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use tapswitch_protocol::Framing;

/// Runs of which one must allocate nothing.
const TRIES: usize = 3;

/// Sends a window on every connection, then reads every answer, again and again.
fn rounds(clients: &mut [Client], in_flight: usize, bytes: usize, time: Duration) -> (u64, f64) {
    let window: Vec<_> =
        (0..in_flight as u32).flat_map(|number| be2(&message(b'e', number, bytes))).collect();
    let mut answers = vec![0; window.len()];
    let mut answered = 0;
    let began = now();
    loop {
        for client in &mut *clients {
            client.stream.write_all(&window).unwrap();
        }
        for client in &mut *clients {
            client.stream.read_exact(&mut answers).unwrap();
            assert!(answers == window, "an echo is its request");
        }
        answered += (clients.len() * in_flight) as u64;
        let elapsed = now() - began;
        if elapsed >= time {
            return (answered, elapsed.as_secs_f64());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}

/// Time that this process's thread of this name has had on a core: what counts when the machine
/// is shared. With other switches in the process it is the sum of theirs.
fn cpu_ns(thread: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |task: std::path::PathBuf| -> Option<u64> {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
        (name.trim_end() == thread).then_some(times.split(' ').next()?.parse().ok()?)
    };
    tasks.flatten().filter_map(|task| of(task.path())).sum()
}

/// What serving has allocated after the first few thousand requests.
fn allocated(engine: EngineChoice) -> u64 {
    let rig = Setup::on(engine).start();
    let mut clients: Vec<_> = (0..8).map(|_| rig.client()).collect();
    let mut answered = 0;
    while answered < 3 * WARM_UP {
        answered += rounds(&mut clients, 32, 254, Duration::ZERO).0;
    }
    drop(clients);
    let seen = rig.stop();
    assert_eq!(seen[0].answers, answered);
    seen[0].allocated
}

#[test]
fn a_shard_thread_that_serves_allocates_nothing() {
    for engine in ENGINES {
        // A shard that was not let run for a while finds more waiting than ever before, once, and
        // makes room for it: what serving allocates, it allocates each time.
        let counts: Vec<u64> = (0..TRIES).map(|_| allocated(engine)).collect();
        assert!(counts.contains(&0), "{engine:?}: {counts:?}");
    }
}

#[test]
fn echo_rate() {
    let ms = std::env::var("RATE_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(50);
    let cores = allowed_cores().unwrap();
    for engine in ENGINES {
        for (connections, in_flight) in [(16, 64), (16, 16), (256, 1)] {
            let mut setup = Setup::on(engine);
            setup.cores = vec![cores[0]];
            let rig = setup.start();
            let mut clients: Vec<_> =
                (0..connections).map(|_| Client::connect(rig.be2(), Framing::Be2)).collect();
            let (answered, seconds) = std::thread::scope(|scope| {
                let run = || {
                    crate::io::pin_to_core(cores[cores.len() - 1]).unwrap();
                    rounds(&mut clients, in_flight, 254, Duration::from_millis(ms))
                };
                scope.spawn(run).join().unwrap()
            });
            let cpu_ns = cpu_ns("shard-0");
            drop(clients);
            let seen = rig.stop();
            println!(
                "{engine:?} {connections} x {in_flight}: {:.0} messages/s, {:.0} ns of CPU each, \
                 batches of up to {}",
                answered as f64 / seconds,
                cpu_ns as f64 / answered as f64,
                seen[0].batch_max
            );
            assert_eq!((seen[0].requests, seen[0].answers), (answered, answered));
        }
    }
}

//! The graceful stop.

use super::rig::{Client, ENGINES, Setup, be2, message};
use crate::config::EngineChoice;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tapswitch_protocol::Framing;

/// A client that goes on, in windows of ten, until a while after the stop has begun. How many answers it
/// has had; the switch may end the stream before, when it has heard nothing of it for long enough.
fn go_on(address: SocketAddr, client: usize, draining: &AtomicBool, answered: &AtomicU32) {
    let mut stream = Client::connect(address, Framing::Be2);
    let mut rounds_left = 20;
    while rounds_left > 0 {
        rounds_left -= u32::from(draining.load(Ordering::Acquire));
        let kinds = (0..10).map(|number| b"elm"[(client + number) % 3]);
        let window: Vec<u8> =
            (0..).zip(kinds).flat_map(|(number, kind)| be2(&message(kind, number, 200))).collect();
        if stream.stream.write_all(&window).is_err() {
            break;
        }
        for _ in 0..10 {
            if stream.answer().is_none() {
                return;
            }
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert_eq!(stream.answer(), None, "then the switch ends the stream");
}

/// Load goes on while the switch stops; clients end it themselves. Nothing that was taken is left
/// unanswered.
#[test]
fn a_stop_under_load_leaves_no_request_unanswered() {
    let mut while_draining = 0;
    for engine in ENGINES {
        for shards in [1, 2] {
            let mut setup = Setup::on(engine);
            setup.shards = shards;
            setup.timeouts.quiet_ms = 700;
            let rig = setup.start();
            let (address, draining) = (rig.be2(), Arc::clone(&rig.draining));
            let answered = AtomicU32::new(0);
            let seen = std::thread::scope(|scope| {
                for client in 0..4 {
                    let (draining, answered) = (&draining, &answered);
                    scope.spawn(move || go_on(address, client, draining, answered));
                }
                while answered.load(Ordering::Relaxed) < 400 {
                    std::thread::yield_now();
                }
                rig.stop()
            });
            let requests: u64 = seen.iter().map(|shard| shard.requests).sum();
            let answers: u64 = seen.iter().map(|shard| shard.answers).sum();
            assert_eq!(requests, answers);
            assert_eq!(answers, u64::from(answered.load(Ordering::Relaxed)));
            for shard in seen {
                while_draining += shard.while_draining;
                assert_eq!((shard.in_flight, shard.undeliverable.len()), (0, 0));
            }
        }
    }
    assert!(while_draining > 0, "the load went on");
}

/// Clients never end: the stop's time runs out, and still every request that was taken is
/// answered before the streams end.
#[test]
fn a_stop_whose_time_runs_out_answers_what_was_taken() {
    for engine in ENGINES {
        // When even the last part of the time is over, nothing is promised any more: a machine that
        // stood still for so long gets more of it.
        let in_time = (0..6).any(|attempt| stop_in_time(engine, 1_000 << attempt));
        assert!(in_time, "{engine:?}: what is in flight is waited for, and then it stops");
    }
}

/// Whether the stop ended before all of its time was over.
fn stop_in_time(engine: EngineChoice, drain_ms: u64) -> bool {
    let rig = Setup { drain_ms, ..Setup::on(engine) }.start();
    let address = rig.be2();
    let answered = AtomicU32::new(0);
    let (seen, took) = std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut stream = Client::connect(address, Framing::Be2);
                let frame = be2(&message(b'l', 1, 200));
                loop {
                    // Once the switch has closed, a write may fail: nobody took it.
                    if stream.stream.write_all(&frame).is_err() || stream.answer().is_none() {
                        break;
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while answered.load(Ordering::Relaxed) < 9 {
            std::thread::yield_now();
        }
        let began = now();
        (rig.stop(), began.elapsed())
    });
    assert!(seen[0].requests >= seen[0].answers);
    if took >= Duration::from_millis(drain_ms) {
        return false;
    }
    assert_eq!(seen[0].requests, seen[0].answers);
    assert_eq!(seen[0].answers, u64::from(answered.load(Ordering::Relaxed)));
    assert_eq!((seen[0].in_flight, seen[0].undeliverable.len()), (0, 0));
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether a stop's time was over is asked of the clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn an_idle_switch_stops_and_frees_its_ports() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.shards = 2;
        // This client does not end its stream.
        setup.timeouts.linger_ms = 200;
        let rig = setup.start();
        let address = rig.be2();
        let idle = rig.client();
        let seen = rig.stop();
        assert_eq!(seen.len(), 2);
        drop(idle);
        std::net::TcpListener::bind(address).expect("the port is free again");
    }
}

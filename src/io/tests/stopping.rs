//! The graceful stop.

use super::rig::{Client, ENGINES, Setup, be2, message};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tapswitch_protocol::Framing;

/// Load goes on while the switch stops; clients end it themselves. Nothing is left unanswered.
#[test]
fn a_stop_under_load_leaves_no_request_unanswered() {
    for engine in ENGINES {
        for shards in [1, 2] {
            let mut setup = Setup::on(engine);
            setup.shards = shards;
            // Longer than a client of this test may be kept from running.
            setup.timeouts.quiet_ms = 700;
            let rig = setup.start();
            let address = rig.be2();
            let (stopping, answered) = (AtomicBool::new(false), AtomicU32::new(0));
            let seen = std::thread::scope(|scope| {
                for client in 0..4_u32 {
                    let (stopping, answered) = (&stopping, &answered);
                    scope.spawn(move || {
                        let mut stream = Client::connect(address, Framing::Be2);
                        // Goes on for a while after the stop has begun, in windows of ten.
                        let mut rounds_left = 20;
                        while rounds_left > 0 {
                            rounds_left -= u32::from(stopping.load(Ordering::Relaxed));
                            for number in 0..10 {
                                let kind = b"elm"[(client as usize + number as usize) % 3];
                                stream.send(&be2(&message(kind, number, 200)));
                            }
                            for _ in 0..10 {
                                stream.answer().expect("an answer to each request");
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        assert_eq!(stream.answer(), None, "then the switch ends the stream");
                    });
                }
                while answered.load(Ordering::Relaxed) < 400 {
                    std::thread::yield_now();
                }
                stopping.store(true, Ordering::Relaxed);
                rig.stop()
            });
            let requests: u64 = seen.iter().map(|shard| shard.requests).sum();
            let answers: u64 = seen.iter().map(|shard| shard.answers).sum();
            assert_eq!(requests, answers);
            assert_eq!(answers, u64::from(answered.load(Ordering::Relaxed)));
            assert!(seen.iter().any(|shard| shard.while_draining > 0), "the load went on");
            for shard in seen {
                assert_eq!((shard.in_flight, shard.undeliverable.len()), (0, 0));
            }
        }
    }
}

/// Clients never end: the stop's time runs out, and still every request that was taken is
/// answered before the streams end.
#[test]
fn a_stop_whose_time_runs_out_answers_what_was_taken() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.drain_ms = 400;
        let rig = setup.start();
        let address = rig.be2();
        let answered = AtomicU32::new(0);
        let seen = std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut stream = Client::connect(address, Framing::Be2);
                    let frame = be2(&message(b'l', 1, 200));
                    loop {
                        // Once the switch has closed, a write may fail: nobody took it.
                        if std::io::Write::write_all(&mut stream.stream, &frame).is_err() {
                            break;
                        }
                        if stream.answer().is_none() {
                            break;
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            while answered.load(Ordering::Relaxed) < 9 {
                std::thread::yield_now();
            }
            rig.stop()
        });
        assert_eq!(seen[0].requests, seen[0].answers);
        assert_eq!(seen[0].answers, u64::from(answered.load(Ordering::Relaxed)));
        assert_eq!((seen[0].in_flight, seen[0].undeliverable.len()), (0, 0));
    }
}

#[test]
fn an_idle_switch_stops_and_frees_its_ports() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.shards = 2;
        let rig = setup.start();
        let address = rig.be2();
        let idle = rig.client();
        let seen = rig.stop();
        assert_eq!(seen.len(), 2);
        drop(idle);
        std::net::TcpListener::bind(address).expect("the port is free again");
    }
}

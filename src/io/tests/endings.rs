//! How connections end: half-closed, reset, not read.

use super::rig::{ENGINES, Rig, Setup, be2, message};
use crate::io::ConnectionFault;
use crate::limits::OUTPUT_BYTES_MAX;
use socket2::SockRef;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Waits until every connection is gone, so that nothing is left to a test's timing.
fn await_no_connections(rig: &Rig) {
    while rig.switch.counters().any(|shard| shard.connections.load(Ordering::Relaxed) > 0) {
        std::thread::yield_now();
    }
}

#[test]
fn answers_still_go_to_a_peer_that_has_ended_its_stream() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        for number in 0..100 {
            let kind = if number % 2 == 0 { b'l' } else { b'e' };
            client.send(&be2(&message(kind, number, 64)));
        }
        client.end();
        let mut answers: Vec<_> = std::iter::from_fn(|| client.answer()).collect();
        answers.sort_by_key(|answer| answer[1..5].to_vec());
        let expected = (0..100_u32).map(|number| {
            let kind = if number % 2 == 0 { b'l' } else { b'e' };
            message(kind, number, 64)
        });
        assert_eq!(answers, expected.collect::<Vec<_>>());
        await_no_connections(&rig);
        let seen = rig.stop();
        assert_eq!((seen[0].answers, seen[0].closed), (100, 1));
        assert!(seen[0].undeliverable.is_empty());
    }
}

#[test]
fn a_peer_that_ends_its_stream_with_nothing_owed_is_closed_at_once() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        client.end();
        assert_eq!(client.answer(), None);
        await_no_connections(&rig);
        assert_eq!(rig.stop()[0].closed, 1);
    }
}

/// A message that gets no answer must not hold a half-closed connection for ever.
#[test]
fn a_half_closed_connection_is_given_up_after_the_time_for_answers() {
    for engine in ENGINES {
        let setup = Setup::on(engine);
        let rig = setup.start_with(|config| {
            for acquirer in &mut config.acquirers {
                acquirer.answer_within_ms = 60;
                acquirer.transit_answer_within_ms = 60;
            }
        });
        let mut client = rig.client();
        client.send(&be2(b"no answer"));
        client.end();
        assert_eq!(client.answer(), None);
        await_no_connections(&rig);
        assert_eq!(rig.stop()[0].requests, 1);
    }
}

/// The answer comes after the peer has gone: it goes back to the shard, byte for byte.
#[test]
fn an_answer_without_a_connection_goes_back_to_the_shard() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        client.send(&be2(&message(b'e', 1, 64)));
        client.answer().unwrap();
        client.send(&be2(&message(b'l', 2, 64)));
        // Closing with bytes unread, or with no time to linger, resets the connection.
        SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(client);
        await_no_connections(&rig);
        let seen = rig.stop();
        assert_eq!(seen[0].closed, 1);
        // The reset can overtake the request: then it was never read.
        let lost = seen[0].requests as usize - 1;
        let expected = vec![be2(&message(b'l', 2, 64)); lost];
        assert_eq!(seen[0].undeliverable, expected);
    }
}

/// Sends until the switch has ended the connection, and reads nothing. How many bytes could be sent.
fn send_until_cut(mut stream: &TcpStream, bytes_max: usize) -> usize {
    let frame = be2(&message(b'e', 1, 1_000));
    let mut sent = 0;
    while sent < bytes_max {
        match stream.write(&frame[sent % frame.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let kinds = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
                assert!(kinds.contains(&error.kind()), "{error}");
                return sent;
            }
        }
    }
    panic!("the switch took {sent} bytes from a peer that does not read");
}

#[test]
fn a_peer_that_does_not_read_is_not_read_and_then_closed_and_others_are_served() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.timeouts.slow_consumer_ms = 1_000;
        let rig = setup.start();
        let slow = rig.client();
        // Small buffers of the kernel on this side; the switch's own are bounded by the kernel.
        SockRef::from(&slow.stream).set_recv_buffer_size(4_096).unwrap();
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send_until_cut(&slow.stream, 64 << 20));
            let mut other = rig.client();
            for number in 0..50 {
                other.send(&be2(&message(b'e', number, 64)));
                assert_eq!(other.answer().unwrap(), message(b'e', number, 64));
            }
            sending.join().unwrap()
        });
        await_no_connections(&rig);
        drop(slow);
        let seen = rig.stop();
        assert_eq!(seen[0].faults, [ConnectionFault::SlowConsumer]);
        let taken = seen[0].requests as usize * 1_002;
        assert!(taken <= sent + 50 * 66, "{taken} of {sent}");
        // What could not be written comes back, at most what may wait and one read's answers.
        let back: usize = seen[0].undeliverable.iter().map(Vec::len).sum();
        assert!(back > OUTPUT_BYTES_MAX / 2, "{back} bytes came back");
        assert!(back < 2 * OUTPUT_BYTES_MAX, "{back} bytes waited");
        assert!(seen[0].undeliverable.iter().all(|frame| *frame == be2(&message(b'e', 1, 1_000))));
    }
}

#[test]
fn a_peer_that_reads_again_in_time_gets_every_answer() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.timeouts.slow_consumer_ms = 60_000;
        let rig = setup.start();
        let mut slow = rig.client();
        let reader = slow.stream.try_clone().unwrap();
        let frame = be2(&message(b'e', 1, 1_000));
        // More than the kernel's buffers of both sides hold.
        SockRef::from(&reader).set_recv_buffer_size(65_536).unwrap();
        let count = 64 * OUTPUT_BYTES_MAX / frame.len();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..count {
                    (&reader).write_all(&frame).unwrap();
                }
            });
            // Reads nothing until the switch has stopped reading: its published count stands still.
            let published =
                || rig.switch.published().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
            let mut last = (0, 0);
            while last.1 < 4 {
                std::thread::park_timeout(Duration::from_millis(120));
                let now = published();
                last = if now > 0 && now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            }
            assert!(last.0 < count as u64, "the switch has stopped reading");
            for _ in 0..count {
                assert_eq!(slow.answer().unwrap(), message(b'e', 1, 1_000));
            }
        });
        drop((slow, reader));
        let seen = rig.stop();
        assert!(seen[0].faults.is_empty());
        assert_eq!(seen[0].answers, count as u64);
    }
}

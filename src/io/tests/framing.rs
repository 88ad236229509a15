//! Bytes in any portions; frames that are none.

use super::rig::{Client, ENGINES, Setup, be2, frame, message};
use crate::io::ConnectionFault;
use crate::limits::FRAME_BYTES_MAX;
use tapswitch_protocol::frame::HeaderProblem;
use tapswitch_protocol::{FrameError, Framing};

#[test]
fn a_message_split_at_any_byte_is_one_message() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = Client::connect(rig.cups(), Framing::Cups);
        let whole = frame(Framing::Cups, &message(b'e', 1, 120));
        for split in 1..whole.len() {
            let (first, second) = whole.split_at(split);
            client.send(first);
            client.send(second);
            assert_eq!(client.answer().unwrap(), message(b'e', 1, 120), "split at {split}");
        }
        drop(client);
        let seen = rig.stop();
        assert_eq!(seen[0].requests as usize, whole.len() - 1);
        assert_eq!(seen[0].answers, seen[0].requests);
        assert!(seen[0].faults.is_empty() && seen[0].undeliverable.is_empty());
    }
}

/// Byte by byte, so that every read ends inside a frame.
#[test]
fn messages_that_come_byte_by_byte_are_whole_messages() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        for number in 0..3 {
            for byte in be2(&message(b'e', number, 40)) {
                client.send(&[byte]);
            }
            assert_eq!(client.answer().unwrap(), message(b'e', number, 40));
        }
        drop(client);
        assert_eq!(rig.stop()[0].requests, 3);
    }
}

#[test]
fn a_thousand_messages_in_one_write_are_answered_in_order_and_the_torn_one_is_not() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        let mut bytes = Vec::new();
        for number in 0..1_000 {
            bytes.extend_from_slice(&be2(&message(b'e', number, 300)));
        }
        let torn = be2(&message(b'e', 1_000, 300));
        bytes.extend_from_slice(&torn[..torn.len() - 1]);
        client.send(&bytes);
        for number in 0..1_000 {
            assert_eq!(client.answer().unwrap(), message(b'e', number, 300));
        }
        client.end();
        assert_eq!(client.answer(), None, "the torn one is no request");
        let seen = rig.stop();
        assert_eq!((seen[0].requests, seen[0].answers), (1_000, 1_000));
        assert!(seen[0].batch_max > 1, "what comes together is decided together");
    }
}

#[test]
fn the_longest_frame_is_taken() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = rig.client();
        let longest = message(b'e', 7, FRAME_BYTES_MAX - 2);
        client.send(&be2(&longest));
        assert_eq!(client.answer().unwrap(), longest);
        drop(client);
        rig.stop();
    }
}

/// What was answered before is still written; nothing after is taken; the connection ends.
#[test]
fn lost_framing_closes_the_connection_after_its_answers() {
    let cases: [(Framing, &[u8], FrameError); 3] = [
        (Framing::Be2, &[0, 0], FrameError::Zero),
        (Framing::Be2, &[0xFF, 0xFF], FrameError::TooLong),
        (Framing::Cups, b"02a4", FrameError::NotDigits),
    ];
    for engine in ENGINES {
        for (framing, bad, error) in cases {
            let rig = Setup::on(engine).start();
            let address = if framing == Framing::Cups { rig.cups() } else { rig.be2() };
            let mut client = Client::connect(address, framing);
            let good = frame(framing, &message(b'e', 1, 200));
            client.send(&[&good, &good, bad, &good].concat());
            assert_eq!(client.answers(2), vec![message(b'e', 1, 200); 2]);
            assert_eq!(client.answer(), None, "{error:?}");
            // Another connection goes on.
            let mut other = Client::connect(address, framing);
            other.send(&good);
            assert_eq!(other.answers(1).len(), 1);
            drop((client, other));
            let seen = rig.stop();
            assert_eq!(seen[0].faults, [ConnectionFault::Framing(error)]);
            assert_eq!((seen[0].requests, seen[0].opened, seen[0].closed), (3, 2, 2));
        }
    }
}

#[test]
fn probes_and_unusable_headers_are_skipped() {
    for engine in ENGINES {
        let rig = Setup::on(engine).start();
        let mut client = Client::connect(rig.cups(), Framing::Cups);
        let good = frame(Framing::Cups, &message(b'e', 1, 60));
        let mut malformed = good.clone();
        malformed[4] = 45;
        let mut rejected = good.clone();
        rejected[4 + 45] = b'7';
        client.send(&[b"0000", &good[..], b"0000", &malformed, &rejected, &good, b"0000"].concat());
        assert_eq!(client.answers(2), vec![message(b'e', 1, 60); 2]);
        client.end();
        assert_eq!(client.answer(), None);
        let seen = rig.stop();
        let expected = [HeaderProblem::Malformed, HeaderProblem::Rejected];
        assert_eq!(seen[0].faults, expected.map(ConnectionFault::Header));
        assert_eq!(seen[0].requests, 2);
    }
}

/// Answers do not wait for a frame that never ends, and the connection does not live on with it.
#[test]
fn a_frame_that_is_not_ended_in_time_closes_the_connection() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.timeouts.frame_timeout_ms = 60;
        let rig = setup.start();
        let mut client = rig.client();
        let good = be2(&message(b'e', 1, 50));
        client.send(&[&good, &good[..20]].concat());
        assert_eq!(client.answers(1), [message(b'e', 1, 50)]);
        assert_eq!(client.answer(), None);
        drop(client);
        let seen = rig.stop();
        assert_eq!(seen[0].faults, [ConnectionFault::FrameTimeout]);
        assert_eq!((seen[0].opened, seen[0].closed), (1, 1));
    }
}

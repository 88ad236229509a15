//! Several shards: placement, the mesh, idling; many connections.

use super::rig::{Client, ENGINES, Setup, be2, message};
use crate::config::Idle;
use crate::io::IoCounters;
use crate::limits::{MESH_CREDITS, READ_BYTES_IDLE};
use std::sync::atomic::{AtomicUsize, Ordering};
use tapswitch_protocol::Framing;

/// Requests of one connection that cannot all be on the other shard at once.
const MORE_THAN_CREDITS: u32 = 3 * MESH_CREDITS as u32;

/// Every second request is answered by the other shard, as far as there are credits.
#[test]
fn requests_that_cross_shards_are_answered_once_each() {
    for engine in ENGINES {
        for (idle, count) in [(Idle::Park, 400), (Idle::Spin, 400), (Idle::Park, MORE_THAN_CREDITS)]
        {
            let mut setup = Setup::on(engine);
            (setup.shards, setup.idle) = (2, idle);
            let rig = setup.start();
            let mut clients: Vec<_> = (0..4).map(|_| rig.client()).collect();
            for client in &mut clients {
                let mut bytes = Vec::new();
                for number in 0..count {
                    let kind = if number % 2 == 0 { b'm' } else { b'e' };
                    bytes.extend_from_slice(&be2(&message(kind, number, 60)));
                }
                client.send(&bytes);
            }
            for client in &mut clients {
                let mut answers = client.answers(count as usize);
                answers.sort_by_key(|answer| answer[1..5].to_vec());
                for (number, answer) in (0..count).zip(answers) {
                    let kind = if number % 2 == 0 { b'm' } else { b'e' };
                    assert_eq!(answer, message(kind, number, 60));
                }
            }
            drop(clients);
            let seen = rig.stop();
            let sum = |of: fn(&super::echo::Seen) -> u64| seen.iter().map(of).sum::<u64>();
            assert_eq!(sum(|shard| shard.opened), 4);
            assert!(seen.iter().all(|shard| shard.opened == 2), "placed evenly");
            assert_eq!(sum(|shard| shard.requests), 4 * u64::from(count));
            if count < MORE_THAN_CREDITS {
                assert_eq!(sum(|shard| shard.crossed) * 2, sum(|shard| shard.requests));
            }
        }
    }
}

/// A spinning shard must let the engine submit: one that only yields would never answer.
#[test]
fn a_spinning_shard_answers() {
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.idle = Idle::Spin;
        let rig = setup.start();
        let mut client = rig.client();
        for number in 0..200 {
            client.send(&be2(&message(b'e', number, 60)));
            assert_eq!(client.answer().unwrap(), message(b'e', number, 60));
        }
        drop(client);
        assert_eq!(rig.stop()[0].answers, 200);
    }
}

/// A thousand connections drip a frame that never ends; others are served meanwhile, and the
/// thousand cost a small buffer each.
#[test]
fn a_thousand_dripping_connections_cost_little_and_hold_up_nobody() {
    const DRIPPING: usize = 1_000;
    for engine in ENGINES {
        let mut setup = Setup::on(engine);
        setup.shards = 2;
        setup.timeouts.frame_timeout_ms = 60_000;
        let rig = setup.start();
        let frame = be2(&message(b'e', 9, 300));
        let mut clients: Vec<_> =
            (0..DRIPPING).map(|_| Client::connect(rig.be2(), Framing::Be2)).collect();
        let mut other = rig.client();
        for (round, byte) in frame[..5].iter().enumerate() {
            for (index, client) in clients.iter_mut().enumerate() {
                client.send(&[*byte]);
                if index % 50 == 0 {
                    let number = (round * DRIPPING + index) as u32;
                    other.send(&be2(&message(b'e', number, 60)));
                    assert_eq!(other.answer().unwrap(), message(b'e', number, 60));
                }
            }
        }
        let sum = |of: fn(&IoCounters) -> &AtomicUsize| -> usize {
            rig.switch.counters().map(|shard| of(shard).load(Ordering::Relaxed)).sum()
        };
        // A small buffer each to read into; the other one may have one to write from too.
        let buffer_bytes = sum(|shard| &shard.buffer_bytes);
        assert!(buffer_bytes <= (DRIPPING + 2) * READ_BYTES_IDLE, "{buffer_bytes} bytes");
        assert_eq!(sum(|shard| &shard.connections), DRIPPING + 1);
        // None is lost: each ends its frame and is answered.
        for client in &mut clients {
            client.send(&frame[5..]);
        }
        for client in &mut clients {
            assert_eq!(client.answer().unwrap(), message(b'e', 9, 300));
        }
        drop((clients, other));
        rig.stop();
    }
}

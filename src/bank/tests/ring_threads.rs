//! Two threads on one ring: nothing is lost, nothing comes twice, nobody sleeps through a message.

use crate::bank::{BankMessage, BankRing, BufferPool, Lane};
use crate::shard::{AcquirerId, IssuerId};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Messages of a run. Sleeping and waking costs some 10 µs each.
const MESSAGES: u32 = 40_000;
/// A sleeper that nobody woke for this long was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// What an eventfd does: any number of wakes before a sleep count as one.
fn bell() -> (SyncSender<()>, Receiver<()>) {
    sync_channel(1)
}

/// Sleeps as `io` does, until there may be something on `lane`.
fn sleep_unless_busy(lane: &Lane, bell: &Receiver<()>, sleeps: &mut u32) {
    if lane.may_sleep() {
        *sleeps += 1;
        bell.recv_timeout(FORGOTTEN).expect("no wake-up is lost");
        lane.on_wake();
    }
}

/// Rings when the protocol says so; a bell that rings already is enough.
fn wake_if_asleep(lane: &Lane, bell: &SyncSender<()>) {
    if lane.must_wake() {
        let _already = bell.try_send(());
    }
}

fn number(message: &BankMessage) -> u32 {
    u32::from_le_bytes(message.bytes().try_into().unwrap())
}

/// The bank's end: sends every message back, until all have come.
fn echo(ring: &BankRing, own: &Receiver<()>, shard: &SyncSender<()>) -> u32 {
    let (mut received, mut sleeps) = (0, 0);
    while received < MESSAGES {
        while let Some(message) = ring.to_bank.receive() {
            assert_eq!(number(&message), received, "in order");
            received += 1;
            ring.from_bank.send(message).expect("the way back never fills");
        }
        wake_if_asleep(&ring.from_bank, shard);
        if received < MESSAGES {
            sleep_unless_busy(&ring.to_bank, own, &mut sleeps);
        }
    }
    sleeps
}

/// The shard's end: sends in bursts of one to `burst_max`, and waits when it has no buffer or has
/// sent a burst.
fn drive(
    ring: &BankRing,
    mut pool: BufferPool,
    burst_max: u32,
    own: &Receiver<()>,
    bank: &SyncSender<()>,
) -> u32 {
    let (mut sent, mut back, mut sleeps) = (0u32, 0, 0);
    while back < MESSAGES {
        let burst = 1 + sent.wrapping_mul(2_654_435_761) % burst_max;
        for _ in 0..burst.min(MESSAGES - sent) {
            let bytes = sent.to_le_bytes();
            if ring.try_send(&mut pool, IssuerId(0), AcquirerId(0), &bytes).is_err() {
                break;
            }
            sent += 1;
        }
        wake_if_asleep(&ring.to_bank, bank);
        while let Some(message) = ring.from_bank.receive() {
            assert_eq!(number(&message), back, "in order");
            back += 1;
            pool.give(message);
        }
        if back < sent {
            sleep_unless_busy(&ring.from_bank, own, &mut sleeps);
        }
    }
    assert_eq!(pool.out(), 0);
    sleeps
}

fn hammer(buffers: usize, burst_max: u32) {
    let ring = BankRing::new();
    let (wake_bank, bank_bell) = bell();
    let (wake_shard, shard_bell) = bell();
    let (bank_sleeps, shard_sleeps) = std::thread::scope(|scope| {
        let bank = scope.spawn({
            let ring = &ring;
            move || echo(ring, &bank_bell, &wake_shard)
        });
        let sleeps = drive(&ring, BufferPool::new(buffers), burst_max, &shard_bell, &wake_bank);
        (bank.join().unwrap(), sleeps)
    });
    assert!(ring.to_bank.is_empty() && ring.from_bank.is_empty());
    assert!(bank_sleeps + shard_sleeps > 0, "nobody ever slept: the test tests nothing");
}

#[test]
fn one_message_at_a_time() {
    hammer(1, 1);
}

#[test]
fn small_bursts() {
    hammer(8, 4);
}

#[test]
fn more_than_the_buffers() {
    hammer(64, 200);
}

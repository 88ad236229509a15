//! What operators decide about parked messages, on its way to the shard that has them, and back when it
//! is on the disk.
//!
//! Not here: what a message's shard does (`shard::parked`), who may decide (`admin`).

use super::wake::Wake;
use crate::shard::parked::{ParkedOrder, ParkedOutcome};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Orders that wait for one shard: operators are few.
const WAITING_MAX: usize = 64;

/// One of them.
#[derive(Debug)]
pub(crate) struct AskedOrder {
    /// Of the message, on its shard.
    pub(crate) number: u64,
    pub(crate) order: ParkedOrder,
    /// Whoever waits may be gone.
    pub(crate) reply: Sender<ParkedOutcome>,
}

/// Those that shards have not taken.
#[derive(Debug)]
pub(crate) struct ParkedOrders(Vec<ArrayQueue<AskedOrder>>);

impl ParkedOrders {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| ArrayQueue::new(WAITING_MAX)).collect())
    }

    /// Asks a shard, which is woken. The outcome comes when it is as durable as an answer; `None`: there
    /// is no such shard, or it has too much to do.
    pub(crate) fn ask(
        &self,
        shard: usize,
        (number, order): (u64, ParkedOrder),
        wakes: &[Arc<Wake>],
    ) -> Option<Receiver<ParkedOutcome>> {
        let (reply, outcome) = channel();
        self.0.get(shard)?.push(AskedOrder { number, order, reply }).ok()?;
        wakes.get(shard)?.signal();
        Some(outcome)
    }

    /// For a shard: the oldest for it.
    #[inline]
    pub(crate) fn take(&self, shard: usize) -> Option<AskedOrder> {
        self.0.get(shard).and_then(ArrayQueue::pop)
    }
}

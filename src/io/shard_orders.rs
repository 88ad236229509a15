//! What operators and wallets order of a shard, on its way there, and back when it is on the disk.
//!
//! Not here: what a shard does (`shard::parked`, `shard::wallet`), who may order it (`admin`).

use super::wake::Wake;
use crate::shard::parked::{ParkedOrder, ParkedOutcome};
use crate::shard::wallet::{WalletOutcome, WalletRequest};
use crossbeam_queue::ArrayQueue;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Orders that wait for one shard: operators are few, and a wallet that is told to wait asks again.
const WAITING_MAX: usize = 256;

/// What is ordered.
#[derive(Clone, Copy)]
pub enum ShardOrder {
    /// What becomes of a parked message, by its number on its shard.
    Parked(u64, ParkedOrder),
    /// What becomes of a token.
    Wallet(WalletRequest),
}

/// What came of it.
#[derive(Clone, PartialEq, Eq)]
pub enum ShardOutcome {
    /// Of a parked message.
    Parked(ParkedOutcome),
    /// Of a token.
    Wallet(WalletOutcome),
}

/// One of them.
pub(crate) struct AskedOrder {
    pub(crate) order: ShardOrder,
    /// Whoever waits may be gone.
    pub(crate) reply: Sender<ShardOutcome>,
}

/// Those that shards have not taken.
pub(crate) struct ShardOrders(Vec<ArrayQueue<AskedOrder>>);

impl ShardOrders {
    pub(crate) fn new(shards: usize) -> Self {
        Self((0..shards).map(|_| ArrayQueue::new(WAITING_MAX)).collect())
    }

    /// Asks a shard, which is woken. The outcome comes when it is as durable as an answer; `None`: there
    /// is no such shard, or it has too much to do.
    pub(crate) fn ask(
        &self,
        shard: usize,
        order: ShardOrder,
        wakes: &[Arc<Wake>],
    ) -> Option<Receiver<ShardOutcome>> {
        let (reply, outcome) = channel();
        self.0.get(shard)?.push(AskedOrder { order, reply }).ok()?;
        wakes.get(shard)?.signal();
        Some(outcome)
    }

    /// For a shard: the oldest for it.
    #[inline]
    pub(crate) fn take(&self, shard: usize) -> Option<AskedOrder> {
        self.0.get(shard).and_then(ArrayQueue::pop)
    }
}

//! The ring between a shard and its banks, and the pool of the buffers that travel on it.
//!
//! Both ways are bounded lock-free queues. A message is a pooled buffer: the shard takes it from
//! its pool and sends it; the bank writes its answer over the request and sends the buffer back,
//! silence included (an empty message), so the pool stays with the shard. Every message holds one
//! of at most [`BANK_RING_SLOTS`] buffers and each way has that many slots, so a bank can always
//! send back: the buffer is the credit.
//!
//! Waking is edge-triggered. A receiver that has nothing to do calls [`Lane::may_sleep`], which
//! announces the sleep and then looks once more; only on `true` does it sleep. A sender calls
//! [`Lane::must_wake`] after the last message of a batch and, only on `true`, wakes the receiver
//! (an eventfd write, made by `io`). Once awake, the receiver calls [`Lane::on_wake`]. The fences
//! in both methods order "message, then flag" against "flag, then look", so that at least one
//! side sees the other: no wake-up is lost. At most one wake is asked for each announced sleep.
//!
//! The queue is `crossbeam_queue::ArrayQueue`, chosen in `benches/handoff.rs` beside `rtrb` and
//! `std::sync::mpsc`: `rtrb` is faster by 40 ns a transaction, below a hundredth of what one costs,
//! and its ends cannot be shared by reference.
//!
//! Not here: eventfds, threads, what a bank answers.

use crate::limits::{BANK_RING_SLOTS, FRAME_BYTES_MAX};
use crate::shard::{AcquirerId, IssuerId};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering, fence};
use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

type Buffer = Box<[u8; FRAME_BYTES_MAX]>;

/// A message on its way to a bank or back. An empty one is a bank's silence.
pub struct BankMessage {
    /// Whose bank.
    pub issuer: IssuerId,
    /// Whose dialect the bytes are in.
    pub acquirer: AcquirerId,
    len: u16,
    buffer: Buffer,
}

// `len` is 16 bits.
const _: () = assert!(FRAME_BYTES_MAX <= u16::MAX as usize);

impl fmt::Debug for BankMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Contents are never printed: they hold PANs.
        f.debug_struct("BankMessage")
            .field("issuer", &self.issuer)
            .field("acquirer", &self.acquirer)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl BankMessage {
    /// The message's bytes; empty for silence.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Whether this is a bank's silence: nothing but the buffer comes back.
    #[inline]
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        self.len == 0
    }

    /// Puts `bytes` in place of what is there. What the old contents had beyond them is zeroed:
    /// a PIN block does not outlive its request.
    #[inline]
    pub(super) fn replace(&mut self, bytes: &[u8]) {
        let (old, new) = (usize::from(self.len), bytes.len().min(FRAME_BYTES_MAX));
        if let (Some(out), Some(bytes)) = (self.buffer.get_mut(..new), bytes.get(..new)) {
            out.copy_from_slice(bytes);
        }
        if let Some(rest) = self.buffer.get_mut(new..old) {
            rest.fill(0);
        }
        // At most FRAME_BYTES_MAX, which is asserted to fit.
        self.len = new as u16;
    }
}

/// Buffers of a shard, last in first out so that those in use stay in the cache.
pub struct BufferPool {
    free: Vec<Buffer>,
    total: usize,
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufferPool({} of {} free)", self.free.len(), self.total)
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(BANK_RING_SLOTS)
    }
}

impl BufferPool {
    /// Allocates `buffers`, and never again.
    ///
    /// # Panics
    /// On more buffers than a ring has slots: the way back could then fill.
    #[must_use]
    pub fn new(buffers: usize) -> Self {
        assert!(
            buffers <= BANK_RING_SLOTS,
            "Invariant: never more messages out than the way back has slots"
        );
        let free = (0..buffers).map(|_| Box::new([0; FRAME_BYTES_MAX])).collect();
        Self { free, total: buffers }
    }

    /// How many messages can be sent now.
    #[inline]
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// How many messages are out.
    #[inline]
    #[must_use]
    pub fn out(&self) -> usize {
        self.total - self.free.len()
    }

    /// A message with these contents; `None` when no buffer is free or they are too long.
    #[inline]
    #[must_use]
    pub fn take(
        &mut self,
        issuer: IssuerId,
        acquirer: AcquirerId,
        bytes: &[u8],
    ) -> Option<BankMessage> {
        if bytes.len() > FRAME_BYTES_MAX {
            return None;
        }
        let mut message = BankMessage { issuer, acquirer, len: 0, buffer: self.free.pop()? };
        message.buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
        // Checked above.
        message.len = bytes.len() as u16;
        Some(message)
    }

    /// Takes a message's buffer back, its contents zeroed.
    #[inline]
    pub fn give(&mut self, mut message: BankMessage) {
        message.replace(&[]);
        assert!(
            self.free.len() < self.total,
            "Invariant: a buffer returns to the pool that it was taken from"
        );
        self.free.push(message.buffer);
    }
}

/// One way of a ring: one sender, one receiver. See the module's text for the waking protocol.
pub struct Lane {
    queue: ArrayQueue<BankMessage>,
    receiver_asleep: CachePadded<AtomicBool>,
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lane({} waiting)", self.queue.len())
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            queue: ArrayQueue::new(BANK_RING_SLOTS),
            receiver_asleep: CachePadded::new(AtomicBool::new(false)),
        }
    }
}

impl Lane {
    /// Sends a message. After the last one of a batch, ask [`Lane::must_wake`].
    ///
    /// # Errors
    /// The message itself when all slots are taken, which credits rule out.
    #[inline]
    pub fn send(&self, message: BankMessage) -> Result<(), BankMessage> {
        self.queue.push(message)
    }

    /// The oldest message.
    #[inline]
    #[must_use]
    pub fn receive(&self) -> Option<BankMessage> {
        self.queue.pop()
    }

    /// Messages waiting, about.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none is waiting.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sender's side, after a batch: whether the receiver sleeps and must be woken. Answers `true`
    /// once for each sleep.
    #[inline]
    #[must_use = "a receiver that is not woken sleeps on"]
    pub fn must_wake(&self) -> bool {
        // Pairs with the fence in `may_sleep`: messages sent before this are visible to a receiver
        // whose announcement is not.
        fence(Ordering::SeqCst);
        self.receiver_asleep.load(Ordering::Relaxed)
            && self.receiver_asleep.swap(false, Ordering::Relaxed)
    }

    /// Receiver's side, before it sleeps: announces the sleep and looks once more. On `false`
    /// there are messages and the announcement is withdrawn.
    #[inline]
    #[must_use = "sleeping without leave loses wake-ups"]
    pub fn may_sleep(&self) -> bool {
        self.receiver_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may = self.queue.is_empty();
        if !may {
            self.on_wake();
        }
        may
    }

    /// Receiver's side, once awake for whatever reason: no wake-up is wanted any more. A sender
    /// that saw the announcement may still make one; it must be harmless.
    #[inline]
    pub fn on_wake(&self) {
        self.receiver_asleep.store(false, Ordering::Relaxed);
    }
}

/// Both ways between one shard and its banks. Shared by two threads, or by one that is both.
#[derive(Debug, Default)]
pub struct BankRing {
    /// Requests.
    pub to_bank: Lane,
    /// Answers, and the buffers of requests that get none.
    pub from_bank: Lane,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRefused {
    /// Every buffer is out.
    NoCredit,
    /// Longer than a buffer.
    TooLong,
}

impl BankRing {
    /// Empty lanes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies a message into a buffer of `pool` and sends it to a bank. After the last one of a
    /// batch, ask `to_bank.must_wake()`.
    ///
    /// # Errors
    /// Nothing was sent: see [`SendRefused`].
    #[inline]
    pub fn try_send(
        &self,
        pool: &mut BufferPool,
        issuer: IssuerId,
        acquirer: AcquirerId,
        bytes: &[u8],
    ) -> Result<(), SendRefused> {
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(SendRefused::TooLong);
        }
        let message = pool.take(issuer, acquirer, bytes).ok_or(SendRefused::NoCredit)?;
        self.to_bank.send(message).map_err(|message| {
            pool.give(message);
            SendRefused::NoCredit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_clean(buffer: &[u8]) -> bool {
        buffer.iter().all(|&byte| byte == 0)
    }

    #[test]
    fn contents_do_not_outlive_their_message() {
        let mut pool = BufferPool::new(1);
        let mut message = pool.take(IssuerId(3), AcquirerId(4), &[9; FRAME_BYTES_MAX]).unwrap();
        message.replace(b"0210");
        assert_eq!(message.bytes(), b"0210");
        assert!(is_clean(&message.buffer[4..]));
        message.replace(b"0210 and more");
        assert_eq!(message.bytes(), b"0210 and more");
        assert!(!format!("{message:?}").contains("0210"));
        pool.give(message);
        let message = pool.take(IssuerId(0), AcquirerId(0), b"").unwrap();
        assert!(message.is_silence() && is_clean(&message.buffer[..]));
    }

    #[test]
    fn a_message_needs_a_buffer() {
        let ring = BankRing::new();
        let mut pool = BufferPool::new(2);
        let mut send = |bytes: &[u8]| {
            let sent = ring.try_send(&mut pool, IssuerId(1), AcquirerId(0), bytes);
            (sent, pool.available(), pool.out())
        };
        assert_eq!(send(&[0; FRAME_BYTES_MAX + 1]), (Err(SendRefused::TooLong), 2, 0));
        assert_eq!(send(b"0200"), (Ok(()), 1, 1));
        assert_eq!(send(&[7; FRAME_BYTES_MAX]), (Ok(()), 0, 2));
        assert_eq!(send(b"0200"), (Err(SendRefused::NoCredit), 0, 2));
        let message = ring.to_bank.receive().unwrap();
        assert_eq!(message.bytes(), b"0200");
        pool.give(message);
        let sent = ring.try_send(&mut pool, IssuerId(2), AcquirerId(0), b"0420");
        assert_eq!((sent, ring.to_bank.len()), (Ok(()), 2));
    }

    #[test]
    fn both_ways_hold_every_buffer() {
        let ring = BankRing::new();
        let mut pool = BufferPool::default();
        while ring.try_send(&mut pool, IssuerId(0), AcquirerId(0), b"0200").is_ok() {}
        assert_eq!(pool.out(), BANK_RING_SLOTS);
        while let Some(message) = ring.to_bank.receive() {
            assert!(ring.from_bank.send(message).is_ok());
        }
        while let Some(message) = ring.from_bank.receive() {
            pool.give(message);
        }
        assert_eq!(pool.out(), 0);
    }

    #[test]
    fn a_wake_is_asked_for_once_a_sleep() {
        let lane = Lane::default();
        let mut pool = BufferPool::new(2);
        let mut send = || lane.send(pool.take(IssuerId(0), AcquirerId(0), b"0200").unwrap());
        send().unwrap();
        assert!(!lane.must_wake(), "nobody sleeps");
        assert!(!lane.may_sleep(), "there is a message");
        assert!(!lane.must_wake(), "the announcement was withdrawn");
        assert!(lane.receive().is_some());
        assert!(lane.may_sleep());
        send().unwrap();
        assert!(lane.must_wake());
        assert!(!lane.must_wake(), "it was asked already");
        lane.on_wake();
        assert!(lane.receive().is_some() && lane.is_empty());
    }
}

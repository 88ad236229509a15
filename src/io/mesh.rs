//! Rings between shards: one for each (from, to) pair, one producer, one consumer, lock-free, the
//! message's bytes inline in its slot.
//!
//! A push always finds room: a shard sends a request only with a credit, each credit stands for at
//! most one message under way in either direction, questions for leases and their answers are bounded
//! likewise, and a ring has slots for those of both ends (`limits::MESH_SLOTS`). A full ring is therefore a broken invariant and asserted.
//! Messages become visible in batches ([`MeshSender::publish`]); the consumer wipes a slot before
//! it gives it back, because requests carry track data and PIN blocks.
//!
//! Not here: waking the consumer (`wake`), who may send what (`shard`).
//!
//! ```text
//!            head                      tail
//!             │ consumer reads          │ producer writes
//!   ┌────┬────▼────┬─────────┬─────────▼────┬────┐    0 <= tail - head <= slots
//!   │free│ message │ message │ free         │free│    both only grow; place = position % slots
//!   └────┴─────────┴─────────┴──────────────┴────┘
//! ```

use crate::limits::{MESH_BYTES_MAX, MESH_SLOTS, SHARDS_MAX};
use crate::shard::{ConnectionId, MeshKind, MeshMessage, ShardId};
use crossbeam_utils::CachePadded;
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::addr_of_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const _: () = assert!(MESH_BYTES_MAX <= u16::MAX as usize);

/// What stands before a message's bytes.
#[derive(Clone, Copy)]
struct SlotHead {
    connection: ConnectionId,
    kind: MeshKind,
    header_bytes: u8,
    len: u16,
}

#[repr(C, align(64))]
struct SlotContent {
    head: SlotHead,
    bytes: [u8; MESH_BYTES_MAX],
}

struct Slot(UnsafeCell<MaybeUninit<SlotContent>>);

struct Ring {
    slots: Box<[Slot]>,
    /// Messages ever published. Only the producer stores it.
    tail: CachePadded<AtomicUsize>,
    /// Messages ever given back. Only the consumer stores it.
    head: CachePadded<AtomicUsize>,
}

// SAFETY: a slot is touched by the producer only while its position is in [tail, head + slots) and
// by the consumer only while it is in [head, tail). The ranges are disjoint, each side moves only
// its own end, and moves it with Release after its last access to the slot; the other side reads
// that end with Acquire before its first. There is one producer and one consumer because neither
// handle can be cloned and both take `&mut self`.
unsafe impl Sync for Ring {}

impl Ring {
    fn new(slots: usize) -> Arc<Self> {
        // Not written here: the pages of a ring are first touched, and so placed, by its producer.
        let slots = Box::<[Slot]>::new_uninit_slice(slots);
        // SAFETY: a `Slot` is an `UnsafeCell` of a `MaybeUninit`: it has no invalid contents.
        let slots = unsafe { slots.assume_init() };
        Arc::new(Self {
            slots,
            tail: CachePadded::new(AtomicUsize::new(0)),
            head: CachePadded::new(AtomicUsize::new(0)),
        })
    }

    /// The slot at a place.
    fn slot(&self, place: usize) -> *mut SlotContent {
        self.slots[place].0.get().cast()
    }

    /// The place after this one.
    fn next(&self, place: usize) -> usize {
        if place + 1 == self.slots.len() { 0 } else { place + 1 }
    }
}

/// A ring of `slots` slots.
fn ring(slots: usize) -> (MeshSender, MeshReceiver) {
    let ring = Ring::new(slots);
    (
        MeshSender { ring: Arc::clone(&ring), tail: 0, place: 0, published: 0, head_seen: 0 },
        MeshReceiver { ring, head: 0, place: 0, tail_seen: 0 },
    )
}

/// The producer's end.
pub(crate) struct MeshSender {
    ring: Arc<Ring>,
    /// Messages ever written.
    tail: usize,
    /// Where the next one goes: `tail % slots`.
    place: usize,
    /// Messages ever published: `published <= tail`.
    published: usize,
    /// The consumer's head when last looked at: a lower bound.
    head_seen: usize,
}

impl fmt::Debug for MeshSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshSender({} sent)", self.tail)
    }
}

impl MeshSender {
    /// Writes a message; the consumer sees it after [`MeshSender::publish`].
    #[inline]
    pub(crate) fn push(&mut self, message: MeshMessage<'_>) {
        let slots = self.ring.slots.len();
        if self.tail - self.head_seen == slots {
            self.head_seen = self.ring.head.load(Ordering::Acquire);
        }
        assert!(
            self.tail - self.head_seen < slots,
            "Invariant: credits keep a slot free on the ring to another shard"
        );
        assert!(
            message.bytes.len() <= MESH_BYTES_MAX,
            "Invariant: a message between shards is a frame and its time at most"
        );
        let slot = self.ring.slot(self.place);
        // SAFETY: `tail` is not published and `tail - head < slots`, so this slot is the
        // producer's alone (see `Ring`); its pointer is valid for as long as `ring` lives. `bytes`
        // has room, as asserted, and does not overlap with a slot that nobody else can borrow.
        unsafe {
            addr_of_mut!((*slot).head).write(SlotHead {
                connection: message.connection,
                kind: message.kind,
                header_bytes: message.header_bytes,
                // At most MESH_BYTES_MAX, which fits.
                len: message.bytes.len() as u16,
            });
            addr_of_mut!((*slot).bytes)
                .cast::<u8>()
                .copy_from_nonoverlapping(message.bytes.as_ptr(), message.bytes.len());
        }
        self.tail += 1;
        self.place = self.ring.next(self.place);
    }

    /// Makes what was pushed visible. Tells whether there was anything: wake the consumer then.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        let news = self.published != self.tail;
        if news {
            self.ring.tail.store(self.tail, Ordering::Release);
            self.published = self.tail;
        }
        news
    }
}

/// The consumer's end.
pub(crate) struct MeshReceiver {
    ring: Arc<Ring>,
    /// Messages ever given back.
    head: usize,
    /// Where the oldest one is: `head % slots`.
    place: usize,
    /// The producer's tail when last looked at: a lower bound.
    tail_seen: usize,
}

impl fmt::Debug for MeshReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshReceiver({} received)", self.head)
    }
}

impl MeshReceiver {
    /// Whether nothing waits. Afterwards every message published before is seen by `front`.
    #[inline]
    pub(crate) fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.ring.tail.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }

    /// The oldest message; [`MeshReceiver::release`] it when it is dealt with.
    #[inline]
    pub(crate) fn front(&mut self) -> Option<MeshMessage<'_>> {
        if self.is_empty() {
            return None;
        }
        let slot = self.ring.slot(self.place);
        // SAFETY: `head < tail`, so this slot holds a published message and is the consumer's
        // alone (see `Ring`) until `release`, which needs the borrow that the message holds. The
        // producer wrote `head` and the first `len` bytes.
        let (head, bytes) = unsafe {
            let head = addr_of_mut!((*slot).head).read();
            let bytes = addr_of_mut!((*slot).bytes).cast::<u8>();
            (head, std::slice::from_raw_parts(bytes, usize::from(head.len)))
        };
        Some(MeshMessage {
            kind: head.kind,
            connection: head.connection,
            header_bytes: head.header_bytes,
            bytes,
        })
    }

    /// Wipes the oldest message and gives its slot back.
    #[inline]
    pub(crate) fn release(&mut self) {
        assert!(self.head != self.tail_seen, "Invariant: only a message that was seen is released");
        let slot = self.ring.slot(self.place);
        // SAFETY: as in `front`; no message borrows the slot, since this takes `&mut self`.
        unsafe {
            let len = usize::from(addr_of_mut!((*slot).head.len).read());
            addr_of_mut!((*slot).bytes).cast::<u8>().write_bytes(0, len);
        }
        self.head += 1;
        self.place = self.ring.next(self.place);
        self.ring.head.store(self.head, Ordering::Release);
    }
}

/// One shard's ends of its rings.
#[derive(Debug)]
pub(crate) struct MeshPorts {
    /// What other shards send, by shard; none from itself.
    pub(crate) from: Vec<(ShardId, MeshReceiver)>,
    /// Where to send, by shard; none to itself.
    pub(crate) to: Vec<Option<MeshSender>>,
}

/// The rings between so many shards, by shard.
pub(crate) fn mesh(shards: usize) -> Vec<MeshPorts> {
    assert!(shards <= SHARDS_MAX, "Invariant: a shard's number fits a byte");
    let mut ports: Vec<_> = (0..shards)
        .map(|_| MeshPorts { from: Vec::new(), to: (0..shards).map(|_| None).collect() })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|&to| to != from) {
            let (sender, receiver) = ring(MESH_SLOTS);
            ports[from].to[to] = Some(sender);
            // At most SHARDS_MAX, which is asserted above.
            ports[to].from.push((ShardId(from as u8), receiver));
        }
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(slot: u16, bytes: &[u8]) -> MeshMessage<'_> {
        MeshMessage {
            kind: MeshKind::Request,
            connection: ConnectionId { slot, generation: 7, ..ConnectionId::default() },
            header_bytes: 46,
            bytes,
        }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent_once_published() {
        let (mut sender, mut receiver) = ring(4);
        sender.push(message(9, b"0200"));
        assert!(receiver.front().is_none(), "not published yet");
        assert!(sender.publish());
        assert!(!sender.publish(), "nothing new");
        let seen = receiver.front().unwrap();
        assert_eq!((seen.kind, seen.header_bytes), (MeshKind::Request, 46));
        assert_eq!((seen.connection.slot, seen.connection.generation), (9, 7));
        assert_eq!(seen.bytes, b"0200");
        receiver.release();
        assert!(receiver.is_empty());
    }

    #[test]
    fn a_released_slot_keeps_no_byte_of_its_message() {
        let (mut sender, mut receiver) = ring(1);
        sender.push(message(0, b"6228480000000000000=2512"));
        sender.publish();
        let place = receiver.front().unwrap().bytes.as_ptr_range();
        receiver.release();
        let after = receiver.ring.slot(0);
        // SAFETY: nothing is published, and the one slot's bytes were written above.
        let bytes =
            unsafe { std::slice::from_raw_parts(addr_of_mut!((*after).bytes).cast::<u8>(), 24) };
        assert_eq!(bytes.as_ptr(), place.start);
        assert_eq!(bytes, [0; 24]);
    }

    #[test]
    #[should_panic(expected = "credits keep a slot free")]
    fn a_push_without_a_free_slot_is_a_broken_invariant() {
        let (mut sender, _receiver) = ring(2);
        for _ in 0..3 {
            sender.push(message(0, b""));
        }
    }

    #[test]
    fn every_pair_of_shards_has_a_ring_each_way() {
        let mut ports = mesh(3);
        for from in 0..3_u8 {
            for to in (0..3_u8).filter(|&to| to != from) {
                let sender = ports[usize::from(from)].to[usize::from(to)].as_mut().unwrap();
                sender.push(message(u16::from(from), &[to]));
                sender.publish();
            }
        }
        for to in 0..3_u8 {
            assert!(ports[usize::from(to)].to[usize::from(to)].is_none());
            for (from, receiver) in &mut ports[usize::from(to)].from {
                let seen = receiver.front().unwrap();
                assert_eq!((seen.connection.slot, seen.bytes), (u16::from(from.0), &[to][..]));
                receiver.release();
                assert!(receiver.is_empty());
            }
        }
    }

    /// Two threads, a small ring that wraps many times, batches of changing size, every byte
    /// checked at the other end.
    #[test]
    fn two_threads_exchange_every_message_in_order() {
        let messages: u32 = if cfg!(miri) { 300 } else { 100_000 };
        let (mut sender, mut receiver) = ring(7);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut bytes = [0; 96];
                for number in 0..messages {
                    let len = (number % 97) as usize;
                    bytes[..len].fill(number as u8);
                    while sender.tail - sender.ring.head.load(Ordering::Acquire) == 7 {
                        sender.publish();
                        std::thread::yield_now();
                    }
                    sender.push(message((number % 60_000) as u16, &bytes[..len]));
                    if number % 5 == 4 {
                        sender.publish();
                    }
                }
                sender.publish();
            });
            for number in 0..messages {
                let seen = loop {
                    if !receiver.is_empty() {
                        break receiver.front().unwrap();
                    }
                    std::thread::yield_now();
                };
                assert_eq!(u32::from(seen.connection.slot), number % 60_000);
                assert_eq!(seen.bytes.len(), (number % 97) as usize);
                assert!(seen.bytes.iter().all(|&byte| byte == number as u8));
                receiver.release();
            }
            assert!(receiver.is_empty());
        });
    }
}

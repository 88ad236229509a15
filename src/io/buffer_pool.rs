//! Buffers of a shard's connections, last in first out so that those in use stay in the cache.
//!
//! A buffer is a `BytesMut` of one of two capacities. It moves as a whole into an operation of the
//! kernel and back; it is never split, frozen or shared. Read buffers are initialized to their
//! full length and stay so; write buffers are empty when taken, and wiped when given back. The pool bounds what it keeps,
//! not what is out: that is bounded by the connections (one read buffer each, and at most
//! `OUTPUT_BYTES_MAX` of answers before a connection stops being read).
//!
//! Not here: buffers of banks (they belong to `bank::ring`) and of the mesh.

use crate::limits::{READ_BYTES_BUSY, READ_BYTES_IDLE};
use bytes::BytesMut;
use std::cell::{Cell, RefCell};

/// Small buffers kept for reuse: 4 MiB.
const IDLE_KEPT_MAX: usize = 1_024;
/// Large buffers kept for reuse: 16 MiB.
const BUSY_KEPT_MAX: usize = 256;

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A connection with little to say.
    Idle,
    /// A connection that fills what it is given.
    Busy,
}

impl Size {
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Idle => READ_BYTES_IDLE,
            Self::Busy => READ_BYTES_BUSY,
        }
    }
}

/// A shard's free buffers.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    read: Kept,
    write: Kept,
    /// Bytes of buffers that are out; one that outgrew the large size counts as large.
    out_bytes: Cell<usize>,
}

#[derive(Debug, Default)]
struct Kept {
    idle: RefCell<Vec<BytesMut>>,
    busy: RefCell<Vec<BytesMut>>,
}

impl Kept {
    fn take(&self, size: Size) -> Option<BytesMut> {
        match size {
            Size::Idle => self.idle.borrow_mut().pop(),
            Size::Busy => self.busy.borrow_mut().pop(),
        }
    }

    fn give(&self, buffer: BytesMut) {
        // A write buffer that outgrew both sizes goes back to the allocator.
        let (list, kept_max) = match buffer.capacity() {
            READ_BYTES_IDLE => (&self.idle, IDLE_KEPT_MAX),
            READ_BYTES_BUSY => (&self.busy, BUSY_KEPT_MAX),
            _ => return,
        };
        let mut list = list.borrow_mut();
        if list.len() < kept_max {
            list.push(buffer);
        }
    }
}

impl BufferPool {
    /// A buffer to read into: its length is its capacity.
    pub(crate) fn take_for_reading(&self, size: Size) -> BytesMut {
        self.out_bytes.set(self.out_bytes.get() + size.bytes());
        self.read.take(size).unwrap_or_else(|| BytesMut::zeroed(size.bytes()))
    }

    /// Takes a read buffer back. What its owner read must be wiped.
    pub(crate) fn give_after_reading(&self, buffer: BytesMut) {
        debug_assert_eq!(buffer.len(), buffer.capacity(), "a read buffer keeps its length");
        self.count_back(&buffer);
        self.read.give(buffer);
    }

    /// An empty buffer to write from.
    pub(crate) fn take_for_writing(&self, size: Size) -> BytesMut {
        self.out_bytes.set(self.out_bytes.get() + size.bytes());
        self.write.take(size).unwrap_or_else(|| BytesMut::with_capacity(size.bytes()))
    }

    /// An empty buffer to write from, of more than `bytes` and at least `bytes_min`: a large one, or
    /// beyond that one that is not kept.
    pub(crate) fn take_larger(&self, bytes: usize, bytes_min: usize) -> BytesMut {
        if bytes < Size::Busy.bytes() && bytes_min <= Size::Busy.bytes() {
            return self.take_for_writing(Size::Busy);
        }
        self.out_bytes.set(self.out_bytes.get() + Size::Busy.bytes());
        BytesMut::with_capacity(bytes_min.max(2 * bytes))
    }

    /// Takes a write buffer back, and wipes it: requests to issuers hold PIN blocks and tracks.
    pub(crate) fn give_after_writing(&self, mut buffer: BytesMut) {
        buffer.fill(0);
        buffer.clear();
        self.count_back(&buffer);
        self.write.give(buffer);
    }

    fn count_back(&self, buffer: &BytesMut) {
        let bytes = buffer.capacity().min(READ_BYTES_BUSY);
        assert!(self.out_bytes.get() >= bytes, "Invariant: a buffer given back was taken");
        self.out_bytes.set(self.out_bytes.get() - bytes);
    }

    /// Bytes of buffers that connections hold.
    pub(crate) fn out_bytes(&self) -> usize {
        self.out_bytes.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buffer_used_last_is_used_next() {
        let pool = BufferPool::default();
        let (a, b) = (pool.take_for_reading(Size::Busy), pool.take_for_reading(Size::Busy));
        assert_eq!((a.len(), a.capacity()), (READ_BYTES_BUSY, READ_BYTES_BUSY));
        assert_eq!(pool.out_bytes(), 2 * READ_BYTES_BUSY);
        let last = b.as_ptr();
        pool.give_after_reading(a);
        pool.give_after_reading(b);
        assert_eq!(pool.take_for_reading(Size::Busy).as_ptr(), last);
        assert_eq!(pool.take_for_reading(Size::Idle).len(), READ_BYTES_IDLE);
    }

    #[test]
    fn write_buffers_come_empty_and_outgrown_ones_are_not_kept() {
        let pool = BufferPool::default();
        let mut buffer = pool.take_for_writing(Size::Idle);
        buffer.extend_from_slice(b"0210");
        let place = buffer.as_ptr();
        pool.give_after_writing(buffer);
        let buffer = pool.take_for_writing(Size::Idle);
        assert_eq!((buffer.len(), buffer.as_ptr()), (0, place));
        pool.give_after_writing(buffer);
        let mut outgrown = pool.take_for_writing(Size::Busy);
        outgrown.resize(READ_BYTES_BUSY + 1, 0);
        pool.give_after_writing(outgrown);
        assert_eq!(pool.out_bytes(), 0);
        assert_eq!(pool.take_for_writing(Size::Idle).capacity(), READ_BYTES_IDLE);
        assert_eq!(pool.take_for_writing(Size::Busy).capacity(), READ_BYTES_BUSY);
    }
}

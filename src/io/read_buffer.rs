//! What a connection reads into, and when it grows and shrinks.
//!
//! A buffer starts with the bytes of a frame not whole yet, if any; the kernel appends. Batching is
//! what pays, so a connection that fills its buffer twice in a row gets a large one; one that reads
//! little for long goes back to a small one. Bytes that were consumed are wiped: they hold PIN
//! blocks and tracks.
//!
//! ```text
//!   ┌──────────────┬──────────────┬────────────────┐
//!   │ consumed: 0  │ rest         │ zeroes         │   consume() moves the rest to the front
//!   └──────────────┴──────────────┴────────────────┘   and leaves zeroes behind it
//!   0            consumed       filled          capacity
//! ```

use super::buffer_pool::{BufferPool, Size};
use crate::limits::{FRAME_BYTES_MAX, READ_BYTES_IDLE};
use bytes::BytesMut;

/// Reads in a row that fill a small buffer before it is exchanged for a large one.
const FULL_READS: u8 = 2;
/// Reads in a row that would have gone into a small buffer before a large one is given up.
const SMALL_READS: u8 = 64;

// An incomplete frame always leaves room to read.
const _: () = assert!(READ_BYTES_IDLE > FRAME_BYTES_MAX);

/// A read buffer and how well it is used.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    bytes: BytesMut,
    filled: usize,
    size: Size,
    full_reads: u8,
    small_reads: u8,
}

impl ReadBuffer {
    /// An empty small one.
    pub(crate) fn new(pool: &BufferPool) -> Self {
        Self {
            bytes: pool.take_for_reading(Size::Idle),
            filled: 0,
            size: Size::Idle,
            full_reads: 0,
            small_reads: 0,
        }
    }

    /// Gives it up; what it holds is wiped.
    pub(crate) fn give(mut self, pool: &BufferPool) {
        self.consume(self.filled);
        pool.give_after_reading(self.bytes);
    }

    /// The bytes for the kernel, and where it is to append. Ended by [`ReadBuffer::put`].
    pub(crate) fn take(&mut self) -> (BytesMut, usize) {
        (std::mem::take(&mut self.bytes), self.filled)
    }

    /// The bytes back from the kernel, which appended `read` of them.
    pub(crate) fn put(&mut self, bytes: BytesMut, read: usize) {
        let room = bytes.len() - self.filled;
        assert!(read <= room, "Invariant: the kernel stays inside the buffer");
        self.bytes = bytes;
        self.filled += read;
        self.full_reads = if read == room { self.full_reads.saturating_add(1) } else { 0 };
        let small = read < READ_BYTES_IDLE / 2;
        self.small_reads = if small { self.small_reads.saturating_add(1) } else { 0 };
    }

    /// What was read and not consumed.
    #[inline]
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Forgets the first `consumed` bytes.
    pub(crate) fn consume(&mut self, consumed: usize) {
        assert!(consumed <= self.filled, "Invariant: only what was read is consumed");
        let rest = self.filled - consumed;
        if consumed > 0 {
            self.bytes.copy_within(consumed..self.filled, 0);
            self.bytes[rest..self.filled].fill(0);
        }
        self.filled = rest;
    }

    /// Exchanges it for the size that it deserves. Only a frame that is not whole may be in it.
    pub(crate) fn fit(&mut self, pool: &BufferPool) {
        let size = match self.size {
            Size::Idle if self.full_reads >= FULL_READS => Size::Busy,
            Size::Busy if self.small_reads >= SMALL_READS => Size::Idle,
            Size::Idle | Size::Busy => return,
        };
        assert!(
            self.filled < FRAME_BYTES_MAX,
            "Invariant: whole frames are consumed before a buffer is exchanged"
        );
        let mut bytes = pool.take_for_reading(size);
        bytes[..self.filled].copy_from_slice(&self.bytes[..self.filled]);
        self.bytes[..self.filled].fill(0);
        pool.give_after_reading(std::mem::replace(&mut self.bytes, bytes));
        (self.size, self.full_reads, self.small_reads) = (size, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::READ_BYTES_BUSY;

    /// What a kernel would do.
    fn read(buffer: &mut ReadBuffer, byte: u8, count: usize) {
        let (mut bytes, at) = buffer.take();
        bytes[at..at + count].fill(byte);
        buffer.put(bytes, count);
    }

    #[test]
    fn consumed_bytes_are_wiped_and_the_rest_moves_to_the_front() {
        let pool = BufferPool::default();
        let mut buffer = ReadBuffer::new(&pool);
        read(&mut buffer, 7, 100);
        read(&mut buffer, 9, 20);
        buffer.consume(0);
        assert_eq!(buffer.filled().len(), 120);
        buffer.consume(110);
        assert_eq!(buffer.filled(), [9; 10]);
        assert!(buffer.bytes[10..].iter().all(|&byte| byte == 0), "nothing else is left");
        let place = buffer.bytes.as_ptr();
        buffer.give(&pool);
        let again = pool.take_for_reading(Size::Idle);
        assert_eq!(again.as_ptr(), place);
        assert!(again.iter().all(|&byte| byte == 0), "a buffer given up holds nothing");
    }

    #[test]
    fn two_full_reads_grow_it_and_many_small_ones_shrink_it() {
        let pool = BufferPool::default();
        let mut buffer = ReadBuffer::new(&pool);
        read(&mut buffer, 1, READ_BYTES_IDLE);
        buffer.consume(READ_BYTES_IDLE - 30);
        buffer.fit(&pool);
        assert_eq!(buffer.bytes.len(), READ_BYTES_IDLE, "one full read is no sign yet");
        read(&mut buffer, 2, READ_BYTES_IDLE - 30);
        buffer.consume(READ_BYTES_IDLE - 40);
        buffer.fit(&pool);
        assert_eq!(buffer.bytes.len(), READ_BYTES_BUSY);
        assert_eq!(buffer.filled(), [2; 40], "the frame begun is kept");
        for _ in 0..SMALL_READS {
            assert_eq!(buffer.bytes.len(), READ_BYTES_BUSY);
            read(&mut buffer, 3, 10);
            buffer.consume(10);
            buffer.fit(&pool);
        }
        assert_eq!(buffer.bytes.len(), READ_BYTES_IDLE);
        assert_eq!(buffer.filled().len(), 40);
    }
}

//! Memory at addresses that direct I/O takes: a vector, used from its first aligned byte on.
//!
//! A vector of fixed length never moves its bytes, so no unsafe code is needed: the ring gets a
//! slice of the vector and gives it back.

use super::layout::BLOCK_BYTES;
use std::ops::{Deref, DerefMut};

/// Zeroed bytes that start at a multiple of [`BLOCK_BYTES`].
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    /// Never grown or shrunk: that could move it.
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` bytes, rounded up to whole blocks.
    pub(crate) fn new(length: usize) -> Self {
        let length = length.next_multiple_of(BLOCK_BYTES);
        let bytes = vec![0; length + BLOCK_BYTES];
        let start = bytes.as_ptr().align_offset(BLOCK_BYTES);
        assert!(start <= BLOCK_BYTES, "Invariant: a byte address can be aligned");
        Self { bytes, start, length }
    }

    /// Takes it apart: the vector, and where the aligned bytes start in it.
    pub(super) fn into_parts(self) -> (Vec<u8>, usize) {
        (self.bytes, self.start)
    }

    /// The other way: what [`AlignedBuffer::into_parts`] gave.
    pub(super) fn from_parts(bytes: Vec<u8>, start: usize) -> Self {
        let length = bytes.len() - BLOCK_BYTES;
        debug_assert_eq!(bytes.as_ptr().align_offset(BLOCK_BYTES), start);
        Self { bytes, start, length }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_blocks_at_aligned_addresses_also_after_a_journey() {
        for length in [1, 4_096, 5_000, 1 << 20] {
            let mut buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.len(), length.next_multiple_of(BLOCK_BYTES));
            assert_eq!(buffer.as_ptr().align_offset(BLOCK_BYTES), 0);
            buffer[length - 1] = 7;
            let (bytes, start) = buffer.into_parts();
            let buffer = AlignedBuffer::from_parts(bytes, start);
            assert_eq!((buffer[length - 1], buffer.len() % BLOCK_BYTES), (7, 0));
        }
    }
}

//! What could not be done and goes back to the shard: answers without a connection, forwards
//! without a place. Their bytes are copied, because the outbox they came from is emptied first.

use crate::shard::{AcquirerId, ConnectionId, IssuerId};
use std::collections::VecDeque;
use std::ops::Range;

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A frame whose connection is gone.
    Undeliverable(ConnectionId),
    /// A message for an issuer.
    ForwardRefused(IssuerId, AcquirerId),
}

/// First in, first out.
#[derive(Debug, Default)]
pub(crate) struct Returned {
    items: VecDeque<(Came, Range<usize>)>,
    bytes: Vec<u8>,
}

impl Returned {
    /// Adds one.
    pub(crate) fn push(&mut self, came: Came, bytes: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.items.push_back((came, at..self.bytes.len()));
    }

    /// The oldest; its bytes are [`Returned::bytes`] until something is pushed again.
    pub(crate) fn pop(&mut self) -> Option<(Came, Range<usize>)> {
        let item = self.items.pop_front();
        if item.is_none() && !self.bytes.is_empty() {
            // Messages for issuers hold PIN blocks.
            self.bytes.fill(0);
            self.bytes.clear();
        }
        item
    }

    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_back_in_order_with_their_bytes_which_are_wiped_at_the_end() {
        let mut returned = Returned::default();
        let gone = Came::Undeliverable(ConnectionId::default());
        let refused = Came::ForwardRefused(IssuerId(3), AcquirerId(1));
        returned.push(gone, b"0210");
        returned.push(refused, b"0200");
        let (came, range) = returned.pop().unwrap();
        assert_eq!((came, returned.bytes(&range)), (gone, &b"0210"[..]));
        let (came, range) = returned.pop().unwrap();
        assert_eq!((came, returned.bytes(&range)), (refused, &b"0200"[..]));
        assert!(returned.pop().is_none());
        assert!(returned.bytes.is_empty());
    }
}

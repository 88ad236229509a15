//! One connection as the driver sees it, and how long it is waited for.

use crate::io::duplex::Connection;
use crate::io::read_buffer::ReadBuffer;
use crate::limits::FRAME_BYTES_MAX;
use crate::shard::{AcquirerId, ConnectionId};
use std::rc::Rc;
use tapswitch_protocol::{FrameStep, Framing};

pub(super) const NS_PER_MS: u64 = 1_000_000;

/// How long the kernel side waits for peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoTimeouts {
    /// A frame must be whole this long after its first byte.
    pub frame_timeout_ms: u64,
    /// A connection may have more answers waiting than it may for this long.
    pub slow_consumer_ms: u64,
    /// How long a peer may take to end its stream after the switch has ended its own.
    pub linger_ms: u64,
    /// A graceful stop goes on when nothing has arrived for this long.
    pub quiet_ms: u64,
}

impl Default for IoTimeouts {
    fn default() -> Self {
        Self { frame_timeout_ms: 10_000, slow_consumer_ms: 5_000, linger_ms: 1_000, quiet_ms: 100 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    HalfClosed,
    Finishing,
    Dead,
}

pub(super) struct Entry {
    pub(super) id: ConnectionId,
    pub(super) acquirer: AcquirerId,
    pub(super) framing: Framing,
    pub(super) connection: Rc<Connection>,
    pub(super) life: Life,
    /// Requests taken that an answer is still to come to: what a half-closed connection waits for.
    pub(super) owed: u32,
    /// Since when a frame is incomplete.
    pub(super) partial_since_ns: Option<u64>,
    /// Since when too many bytes wait to be written.
    pub(super) slow_since_ns: Option<u64>,
    /// When a half-closed or finishing connection is given up.
    pub(super) give_up_ns: Option<u64>,
    /// The read buffer of a connection that is not read now.
    pub(super) parked: Option<ReadBuffer>,
    /// The earliest entry of the watch list that stands for this connection.
    pub(super) watched_ns: u64,
}

impl Entry {
    pub(super) fn is_delivered_to(&self) -> bool {
        match self.life {
            Life::Open | Life::HalfClosed => true,
            Life::Finishing | Life::Dead => false,
        }
    }

    /// When something must be done about it unless something happens.
    pub(super) fn due_ns(&self, timeouts: &IoTimeouts) -> Option<u64> {
        let partial = self.partial_since_ns.map(|at| at + timeouts.frame_timeout_ms * NS_PER_MS);
        let slow = self.slow_since_ns.map(|at| at + timeouts.slow_consumer_ms * NS_PER_MS);
        [partial, slow, self.give_up_ns].into_iter().flatten().min()
    }
}

/// The frames of an output buffer of which only `written` bytes reached the kernel: those not
/// wholly written.
pub(super) fn unwritten_frames(
    framing: Framing,
    buffer: &[u8],
    written: usize,
) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = buffer.get(at..)?;
        let bytes = match framing.next(rest, FRAME_BYTES_MAX) {
            Ok(
                FrameStep::Message { bytes, .. }
                | FrameStep::Unusable { bytes, .. }
                | FrameStep::Probe { bytes },
            ) => bytes,
            // The shard's own frames are whole; this is the buffer's end.
            Ok(FrameStep::Incomplete { .. }) | Err(_) => return None,
        };
        at += bytes;
        Some((at, rest.get(..bytes)?))
    })
    .filter_map(move |(end, frame)| (end > written).then_some(frame))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_not_wholly_written_come_back() {
        let mut buffer = Vec::new();
        for body in [&b"one"[..], b"two-", b"three"] {
            buffer.extend_from_slice(&(body.len() as u16).to_be_bytes());
            buffer.extend_from_slice(body);
        }
        let left = |written| -> Vec<&[u8]> {
            unwritten_frames(Framing::Be2, &buffer, written).map(|frame| &frame[2..]).collect()
        };
        assert_eq!(left(0), [&b"one"[..], b"two-", b"three"]);
        assert_eq!(left(4), [&b"one"[..], b"two-", b"three"], "one byte of the first is missing");
        assert_eq!(left(5), [&b"two-"[..], b"three"]);
        assert_eq!(left(17), [&b"three"[..]]);
        assert!(left(18).is_empty());
    }
}

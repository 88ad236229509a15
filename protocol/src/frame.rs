//! Framing: finding whole messages in a byte stream and putting a message into a frame.
//!
//! Nothing is buffered here: the caller holds the bytes and asks for the next step.

use crate::digits;
use crate::header::{self, CUPS_HEADER_BYTES, TPDU_HEADER_BYTES};
use core::fmt;

/// How messages are told apart on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Four ASCII digits counting what follows, then the 46-byte CUPS header. `0000` is an idle
    /// probe: taken at any time, never answered.
    Cups,
    /// Two bytes, big-endian, counting what follows.
    Be2,
    /// Two bytes, big-endian, then TPDU (5 bytes) and a 6-byte header.
    Be2Tpdu,
}

/// What stands at the start of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameStep<'a> {
    /// A whole frame of `bytes` bytes.
    Message {
        /// The header between length and message; empty for [`Framing::Be2`].
        header: &'a [u8],
        /// The message.
        body: &'a [u8],
        /// Bytes of the frame, prefix included.
        bytes: usize,
    },
    /// An idle probe of `bytes` bytes; nothing to do.
    Probe {
        /// Bytes to skip.
        bytes: usize,
    },
    /// A whole frame whose header cannot be used, or that the network sends back as undeliverable.
    /// The framing is intact: skip it and count it.
    Unusable {
        /// Why.
        reason: HeaderProblem,
        /// Bytes to skip.
        bytes: usize,
    },
    /// More bytes are needed: at least this many in all, prefix included.
    Incomplete {
        /// Bytes from the start of the frame.
        bytes_needed: usize,
    },
}

/// Why a well-framed message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderProblem {
    /// Not a header of this framing: too short, or a wrong stated length.
    Malformed,
    /// The CUPS reject code is not 00000.
    Rejected,
}

/// Framing is lost; the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Length 0 where that is not a probe.
    Zero,
    /// Longer than allowed.
    TooLong,
    /// The length is not four ASCII digits.
    NotDigits,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "frame length is 0",
            Self::TooLong => "frame length is above the maximum",
            Self::NotDigits => "frame length is not four digits",
        })
    }
}

impl std::error::Error for FrameError {}

impl Framing {
    /// The framing of this name: `cups`, `be2` or `be2-tpdu`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "cups" => Some(Self::Cups),
            "be2" => Some(Self::Be2),
            "be2-tpdu" => Some(Self::Be2Tpdu),
            _ => None,
        }
    }

    /// Bytes of the length prefix.
    #[inline]
    #[must_use]
    pub const fn prefix_bytes(self) -> usize {
        match self {
            Self::Cups => 4,
            Self::Be2 | Self::Be2Tpdu => 2,
        }
    }

    /// Bytes of the header between length and message.
    #[inline]
    #[must_use]
    pub const fn header_bytes(self) -> usize {
        match self {
            Self::Cups => CUPS_HEADER_BYTES,
            Self::Be2 => 0,
            Self::Be2Tpdu => TPDU_HEADER_BYTES,
        }
    }

    /// What stands at the start of `bytes`; frames longer than `frame_bytes_max` (prefix included)
    /// are refused before any of their body is waited for.
    ///
    /// # Errors
    /// [`FrameError`] when framing is lost.
    #[inline]
    pub fn next<'a>(
        self,
        bytes: &'a [u8],
        frame_bytes_max: usize,
    ) -> Result<FrameStep<'a>, FrameError> {
        let prefix = self.prefix_bytes();
        let Some(length) = self.read_length(bytes)? else {
            return Ok(FrameStep::Incomplete { bytes_needed: prefix });
        };
        if length == 0 {
            return match self {
                Self::Cups => Ok(FrameStep::Probe { bytes: prefix }),
                Self::Be2 | Self::Be2Tpdu => Err(FrameError::Zero),
            };
        }
        let frame_bytes = prefix + length;
        if frame_bytes > frame_bytes_max {
            return Err(FrameError::TooLong);
        }
        let Some(content) = bytes.get(prefix..frame_bytes) else {
            return Ok(FrameStep::Incomplete { bytes_needed: frame_bytes });
        };
        Ok(self.split(content, frame_bytes))
    }

    #[inline]
    fn read_length(self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        match self {
            Self::Cups => {
                // Non-digits are refused as soon as they are seen.
                let seen = bytes.get(..4).unwrap_or(bytes);
                if !digits::all_digits(seen) {
                    return Err(FrameError::NotDigits);
                }
                if seen.len() < 4 {
                    return Ok(None);
                }
                Ok(digits::parse_u64(seen).and_then(|length| usize::try_from(length).ok()))
            }
            Self::Be2 | Self::Be2Tpdu => {
                Ok(bytes.first_chunk().map(|&length| usize::from(u16::from_be_bytes(length))))
            }
        }
    }

    #[inline]
    fn split(self, content: &[u8], bytes: usize) -> FrameStep<'_> {
        let Some((header, body)) = content.split_at_checked(self.header_bytes()) else {
            return FrameStep::Unusable { reason: HeaderProblem::Malformed, bytes };
        };
        if self == Self::Cups {
            let reason = match header::CupsHeader::new(header) {
                None => Some(HeaderProblem::Malformed),
                Some(header) if header.is_rejected() => Some(HeaderProblem::Rejected),
                Some(_) => None,
            };
            if let Some(reason) = reason {
                return FrameStep::Unusable { reason, bytes };
            }
        }
        FrameStep::Message { header, body, bytes }
    }

    /// Begins a frame at the start of `out`: leaves room for the length, writes the header of the
    /// response to a request that had `request_header`. Returns where the message goes.
    #[inline]
    #[must_use]
    pub fn begin_response(self, request_header: &[u8], out: &mut [u8]) -> Option<usize> {
        let body_at = self.begin(request_header, out)?;
        let header = out.get_mut(self.prefix_bytes()..body_at)?;
        match self {
            Self::Cups => header::swap_cups(header),
            Self::Be2 => {}
            Self::Be2Tpdu => header::swap_tpdu(header),
        }
        Some(body_at)
    }

    /// Begins a frame with this header as it is. Returns where the message goes; `None` when there
    /// is no room or the header has not this framing's length.
    #[inline]
    #[must_use]
    pub fn begin(self, header: &[u8], out: &mut [u8]) -> Option<usize> {
        if header.len() != self.header_bytes() {
            return None;
        }
        let body_at = self.prefix_bytes() + self.header_bytes();
        out.get_mut(self.prefix_bytes()..body_at)?.copy_from_slice(header);
        Some(body_at)
    }

    /// Ends a frame of `bytes` bytes (prefix included) at the start of `out`: writes its length,
    /// and the total length inside a CUPS header. A prefix holds at most 9,999 (65,535); the
    /// caller's buffer bounds frames well below that.
    #[inline]
    pub fn finish(self, out: &mut [u8], bytes: usize) {
        let length = bytes.saturating_sub(self.prefix_bytes());
        match self {
            Self::Cups => {
                let mut text = [0; 4];
                digits::write_u64(length as u64, &mut text);
                if let Some(prefix) = out.first_chunk_mut::<4>() {
                    *prefix = text;
                }
                if let Some(total) = out.get_mut(6..10) {
                    total.copy_from_slice(&text);
                }
            }
            Self::Be2 | Self::Be2Tpdu => {
                if let (Some(prefix), Ok(length)) =
                    (out.first_chunk_mut::<2>(), u16::try_from(length))
                {
                    *prefix = length.to_be_bytes();
                }
            }
        }
    }
}

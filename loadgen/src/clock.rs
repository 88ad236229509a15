//! The clock: the one place of this crate that reads time.
//!
//! Everything else is told the time as nanoseconds since the clock was started, and as a
//! [`Stamp`] for the time fields of messages.

use crate::stamp::Stamp;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds in a second.
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A monotonic clock that knows when, in wall time, it was started. A step of the wall clock during
/// a run is not followed: times of messages never go back.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    origin_unix_ns: u64,
}

impl Clock {
    /// Starts at 0.
    #[expect(clippy::disallowed_methods, reason = "this is the place where time is read")]
    pub(crate) fn start() -> Self {
        let origin_unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let origin_unix_ns = u64::try_from(origin_unix.as_nanos()).unwrap_or(u64::MAX / 2);
        Self { origin: Instant::now(), origin_unix_ns }
    }

    /// Nanoseconds since the start.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        // 584 years fit.
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Seconds since 1970 at `mono_ns` of this clock.
    pub(crate) fn unix_s(&self, mono_ns: u64) -> u64 {
        self.origin_unix_ns.saturating_add(mono_ns) / SECOND_NS
    }
}

/// The time fields of messages, made anew once a second.
pub(crate) struct StampClock {
    clock: Clock,
    stamp: Stamp,
    /// When the stamp must be made anew.
    until_ns: u64,
}

impl StampClock {
    /// For times of `clock`.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, stamp: Stamp::at(clock.unix_s(0)), until_ns: 0 }
    }

    /// The stamp at `mono_ns`, which never goes back.
    #[inline]
    pub(crate) fn at(&mut self, mono_ns: u64) -> &Stamp {
        if mono_ns >= self.until_ns {
            let unix_s = self.clock.unix_s(mono_ns);
            self.stamp = Stamp::at(unix_s);
            self.until_ns = ((unix_s + 1) * SECOND_NS).saturating_sub(self.clock.origin_unix_ns);
        }
        &self.stamp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_changes_with_the_second() {
        let clock = Clock { origin_unix_ns: 10 * SECOND_NS + 400_000_000, ..Clock::start() };
        let mut stamps = StampClock::new(clock);
        assert_eq!(stamps.at(0).unix_s, 10);
        assert_eq!(stamps.at(599_999_999).unix_s, 10);
        assert_eq!(stamps.at(600_000_000).unix_s, 11);
        assert_eq!(stamps.at(5_600_000_000).unix_s, 16);
    }
}

//! The only place that reads time. Everything else is told [`Now`].
//!
//! Both parts are clamped, so they never go back on one clock. Copies of a clock share its origin:
//! monotonic times of two threads compare. Not here: waiting (see `alarm`).

use crate::shard::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads time for one thread.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    last: Now,
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "the switch's clock")]
    fn default() -> Self {
        Self { origin: Instant::now(), last: Now::default() }
    }
}

impl Clock {
    /// A clock whose monotonic time starts here.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The moment, never before the one told last.
    #[expect(clippy::disallowed_methods, reason = "the switch's clock")]
    #[inline]
    pub fn now(&mut self) -> Now {
        let mono = Instant::now().saturating_duration_since(self.origin);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.clamp(Now { mono_ns: mono.as_nanos() as u64, wall_ms: wall.as_millis() as u64 })
    }

    /// Wall time does not begin before this: windows never roll back over a restart.
    pub fn not_before(&mut self, wall_ms: u64) {
        self.last.wall_ms = self.last.wall_ms.max(wall_ms);
    }

    fn clamp(&mut self, read: Now) -> Now {
        self.last = Now {
            mono_ns: read.mono_ns.max(self.last.mono_ns),
            wall_ms: read.wall_ms.max(self.last.wall_ms),
        };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_part_goes_back() {
        let mut clock = Clock::new();
        let first = clock.clamp(Now { mono_ns: 10, wall_ms: 1_000 });
        assert_eq!(first, Now { mono_ns: 10, wall_ms: 1_000 });
        let stepped_back = clock.clamp(Now { mono_ns: 9, wall_ms: 400 });
        assert_eq!(stepped_back, first);
        let on = clock.clamp(Now { mono_ns: 11, wall_ms: 400 });
        assert_eq!(on, Now { mono_ns: 11, wall_ms: 1_000 });
    }

    #[test]
    fn copies_share_the_origin() {
        let mut clock = Clock::new();
        let mut copy = clock.clone();
        let (a, b, c) = (clock.now(), copy.now(), clock.now());
        assert!(a.mono_ns <= b.mono_ns && b.mono_ns <= c.mono_ns);
        assert!(a.wall_ms > 1_600_000_000_000, "the wall clock is UTC since 1970");
    }
}

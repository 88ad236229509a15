//! Virtual time: a monotonic part that the events move, and a wall clock that may be set.

use super::plan::NS_PER_MS;
use crate::shard::Now;

/// The clocks of the world and what the switch makes of them.
pub(super) struct Clock {
    begin_wall_ms: u64,
    offset_ms: i64,
    /// What a process has been told last: neither part goes back.
    last: Now,
}

impl Clock {
    pub(super) fn new(begin_wall_ms: u64) -> Self {
        Self { begin_wall_ms, offset_ms: 0, last: Now::default() }
    }

    /// True time, which acquirers and issuers keep.
    pub(super) fn true_ms(&self, at_ns: u64) -> u64 {
        self.begin_wall_ms + at_ns / NS_PER_MS
    }

    /// The wall clock of the switch's machine is set by this much.
    pub(super) fn step(&mut self, by_ms: i64) {
        self.offset_ms += by_ms;
    }

    /// What the switch is told.
    pub(super) fn now(&mut self, at_ns: u64) -> Now {
        let wall_ms = self.true_ms(at_ns).saturating_add_signed(self.offset_ms);
        self.last =
            Now { mono_ns: at_ns.max(self.last.mono_ns), wall_ms: wall_ms.max(self.last.wall_ms) };
        self.last
    }

    /// A new process, which has read records up to this wall time.
    pub(super) fn restart(&mut self, not_before_ms: u64) {
        self.last.wall_ms = not_before_ms;
    }
}

/// MMDDhhmmss.
pub(super) fn transmission_time(wall_ms: u64) -> u32 {
    let second = wall_ms / 1_000;
    let (mut days, in_day) = (second / 86_400, second % 86_400);
    let mut year = 1_970;
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let in_year = if is_leap { 366 } else { 365 };
        if days < in_year {
            break;
        }
        days -= in_year;
        year += 1;
    }
    let february = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    ((((month * 100 + days + 1) * 100 + hour) * 100 + minute) * 100 + second) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil_and_time_never_goes_back() {
        assert_eq!(transmission_time(0), 101_000_000);
        assert_eq!(transmission_time(951_782_400_000), 229_000_000);
        assert_eq!(transmission_time(1_700_000_000_000), 1_114_221_320);
        let mut clock = Clock::new(1_000_000);
        assert_eq!(clock.now(5_000_000).wall_ms, 1_000_005);
        clock.step(-1_000);
        assert_eq!(clock.now(6_000_000).wall_ms, 1_000_005);
        clock.step(5_000);
        assert_eq!(clock.now(6_000_000).wall_ms, 1_004_006);
        clock.restart(0);
        clock.step(-4_000);
        assert_eq!(clock.now(6_000_000).wall_ms, 1_000_006);
    }
}

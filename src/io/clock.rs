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
    #[inline]
    pub fn now(&mut self) -> Now {
        let read = self.read();
        self.clamp(read)
    }

    /// What the machine's clocks say, the wall clock's steps included: for watching them only.
    #[expect(clippy::disallowed_methods, reason = "the switch's clock")]
    #[inline]
    #[must_use]
    pub fn read(&self) -> Now {
        let mono = Instant::now().saturating_duration_since(self.origin);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Now { mono_ns: mono.as_nanos() as u64, wall_ms: wall.as_millis() as u64 }
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

/// Notices steps of the wall clock: jumps against the monotonic one. What adjusts it slowly is none.
#[derive(Clone, Debug, Default)]
pub struct StepWatch {
    /// Milliseconds by which the wall clock was ahead of the monotonic one.
    ahead_ms: Option<i64>,
}

impl StepWatch {
    /// How many milliseconds the wall clock has jumped since the last look, if so many that windows
    /// of limits may be wrong for a while. Look about every second.
    pub fn step_ms(&mut self, read: Now) -> Option<i64> {
        let ahead_ms = read.wall_ms.cast_signed() - (read.mono_ns / 1_000_000).cast_signed();
        let before_ms = self.ahead_ms.replace(ahead_ms)?;
        Some(ahead_ms - before_ms).filter(|step| step.unsigned_abs() > STEP_MS)
    }
}

/// A step that is worth an alarm.
const STEP_MS: u64 = 5_000;

/// A moment in UTC.
#[must_use]
pub fn moment(wall_ms: u64) -> String {
    let seconds = wall_ms / 1_000;
    // Days to civil date: years run from 1 March, so that the leap day ends one (era of 400 years).
    let shifted = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let ms = wall_ms % 1_000;
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_civil() {
        for (wall_ms, expected) in [
            (0, "1970-01-01 00:00:00.000"),
            (951_782_399_999, "2000-02-28 23:59:59.999"),
            (951_782_400_000, "2000-02-29 00:00:00.000"),
            (1_795_348_800_001, "2026-11-22 12:00:00.001"),
            (4_107_542_400_000, "2100-03-01 00:00:00.000"),
        ] {
            assert_eq!(moment(wall_ms), expected);
        }
    }

    #[test]
    fn steps_are_noticed_once_and_drift_is_none() {
        let mut watch = StepWatch::default();
        let at = |s: u64, wall_ms: u64| Now { mono_ns: s * 1_000_000_000, wall_ms };
        assert_eq!(watch.step_ms(at(10, 1_000_000)), None, "nothing to compare with");
        assert_eq!(watch.step_ms(at(11, 1_001_000)), None);
        assert_eq!(watch.step_ms(at(12, 1_006_900)), None, "4.9 s");
        assert_eq!(watch.step_ms(at(13, 1_002_900)), None, "and back");
        assert_eq!(watch.step_ms(at(14, 4_603_900)), Some(3_600_000));
        assert_eq!(watch.step_ms(at(15, 4_604_900)), None, "once");
        assert_eq!(watch.step_ms(at(16, 1_005_900)), Some(-3_600_000));
        for second in 17..3_600 {
            // Slewed by half a thousandth: 1.8 s in all, and never a step.
            assert_eq!(watch.step_ms(at(second, 1_005_900 + (second - 16) * 1_001)), None);
        }
    }

    /// Windows stand still while a clock that was set back catches up, and go on then.
    #[test]
    fn a_clock_that_is_behind_the_journal_starts_at_the_journals_time() {
        let mut clock = Clock::new();
        clock.not_before(7_200_000);
        assert_eq!(clock.clamp(Now { mono_ns: 1, wall_ms: 3_600_000 }).wall_ms, 7_200_000);
        assert_eq!(clock.clamp(Now { mono_ns: 2, wall_ms: 7_200_001 }).wall_ms, 7_200_001);
    }

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

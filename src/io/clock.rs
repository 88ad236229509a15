//! The only place that reads time. Everything else is told [`Now`].
//!
//! Both parts are clamped, so they never go back on one clock. Copies of a clock share its origin:
//! monotonic times of two threads compare. A wall clock that jumps ahead further than is believed is
//! not followed until it is right again or a human accepts it: windows of limits would be emptied.
//!
//! Not here: waiting (see `alarm`).

use crate::shard::Now;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far the clocks of a process follow jumps of the wall clock.
#[derive(Debug, Default)]
pub struct StepGuard {
    /// The longest jump that is believed, in milliseconds; 0: any.
    step_max_ms: u64,
    /// How often a jump was accepted.
    accepted: AtomicU64,
    is_holding: AtomicBool,
}

impl StepGuard {
    /// Believes jumps of so many milliseconds; 0: any.
    #[must_use]
    pub fn new(step_max_ms: u64) -> Self {
        Self { step_max_ms, ..Self::default() }
    }

    /// A human says that the wall clock is right as it is.
    pub fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a jump is not followed now.
    pub fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::Relaxed)
    }
}

/// Reads time for one thread.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Instant,
    last: Now,
    guard: Arc<StepGuard>,
    /// Whether `last` was read.
    has_read: bool,
    /// The last moment before a jump that is not followed; wall time goes on from it.
    held_at: Option<Now>,
    accepted: u64,
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "the switch's clock")]
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            last: Now::default(),
            guard: Arc::default(),
            has_read: false,
            held_at: None,
            accepted: 0,
        }
    }
}

impl Clock {
    /// A clock whose monotonic time starts here.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that follows jumps of the wall clock only as far as `guard` says. The first reading is
    /// believed.
    #[must_use]
    pub fn guarded(guard: Arc<StepGuard>) -> Self {
        let accepted = guard.accepted.load(Ordering::Relaxed);
        Self { guard, accepted, ..Self::default() }
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
        let mono_ns = read.mono_ns.max(self.last.mono_ns);
        let wall_ms = match self.guard.step_max_ms {
            0 => read.wall_ms,
            step_max_ms => self.believed_ms(mono_ns, read.wall_ms, step_max_ms),
        };
        self.last = Now { mono_ns, wall_ms: wall_ms.max(self.last.wall_ms) };
        self.has_read = true;
        self.last
    }

    /// The wall time that is believed: as read, or as it would be without the jump.
    fn believed_ms(&mut self, mono_ns: u64, read_ms: u64, step_max_ms: u64) -> u64 {
        let from = self.held_at.unwrap_or(self.last);
        let expected_ms = from.wall_ms + (mono_ns - from.mono_ns) / NS_PER_MS;
        let is_jump = self.has_read && read_ms > expected_ms + step_max_ms;
        if !is_jump && self.held_at.is_none() {
            return read_ms;
        }
        let accepted = self.guard.accepted.load(Ordering::Relaxed);
        if !is_jump || accepted != self.accepted {
            self.accepted = accepted;
            self.held_at = None;
            self.guard.is_holding.store(false, Ordering::Relaxed);
            return read_ms;
        }
        self.held_at = Some(from);
        self.guard.is_holding.store(true, Ordering::Relaxed);
        expected_ms
    }
}

const NS_PER_MS: u64 = 1_000_000;

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

    fn at(s: u64, wall_s: u64) -> Now {
        Now { mono_ns: s * 1_000_000_000, wall_ms: wall_s * 1_000 }
    }

    /// Row E5: a jump beyond what is believed is held until the clock is right again.
    #[test]
    fn a_long_jump_is_not_followed() {
        let guard = Arc::new(StepGuard::new(3_600_000));
        let mut clock = Clock::guarded(Arc::clone(&guard));
        clock.not_before(1_000);
        assert_eq!(clock.clamp(at(10, 1_000_000)).wall_ms, 1_000_000_000, "the first is believed");
        assert_eq!(clock.clamp(at(11, 1_003_601)).wall_ms, 1_003_601_000, "an hour is");
        assert!(!guard.is_holding());
        assert_eq!(clock.clamp(at(12, 1_010_000)).wall_ms, 1_003_602_000, "more is not");
        assert!(guard.is_holding());
        for ms in 1..2_000 {
            // Fractions of milliseconds are not lost while it is held.
            let now = Now { mono_ns: 12_000_000_000 + ms * 500_000, wall_ms: 1_010_000_000 };
            assert_eq!(clock.clamp(now).wall_ms, 1_003_602_000 + ms / 2);
        }
        assert_eq!(clock.clamp(at(20, 1_003_610)).wall_ms, 1_003_610_000, "it is right again");
        assert!(!guard.is_holding());
        // A long sleep is no jump.
        assert_eq!(clock.clamp(at(20_020, 1_023_610)).wall_ms, 1_023_610_000);
        // Set back and right again: none either.
        assert_eq!(clock.clamp(at(20_021, 1_000_000)).wall_ms, 1_023_610_000);
        assert_eq!(clock.clamp(at(20_022, 1_023_612)).wall_ms, 1_023_612_000);
        assert!(!guard.is_holding());
    }

    #[test]
    fn a_jump_is_followed_once_a_human_accepts_it() {
        let guard = Arc::new(StepGuard::new(60_000));
        let mut clocks = [Clock::guarded(Arc::clone(&guard)), Clock::guarded(Arc::clone(&guard))];
        for clock in &mut clocks {
            clock.clamp(at(10, 1_000));
            assert_eq!(clock.clamp(at(11, 9_000)).wall_ms, 1_001_000);
        }
        guard.accept();
        for clock in &mut clocks {
            assert_eq!(clock.clamp(at(12, 9_001)).wall_ms, 9_001_000);
        }
        assert!(!guard.is_holding());
        assert_eq!(clocks[0].clamp(at(13, 99_000)).wall_ms, 9_002_000, "that one, not the next");
    }

    /// Without a bound every jump is followed, as it always was.
    #[test]
    fn no_guard_follows_everything() {
        let mut clock = Clock::new();
        clock.clamp(at(10, 1_000));
        assert_eq!(clock.clamp(at(11, 9_000_000)).wall_ms, 9_000_000_000);
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

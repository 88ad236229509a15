//! Windows as numbers: which part of a window a moment lies in, and when that part begins and ends.

use crate::config::VelocityWindow;
use crate::limits::VELOCITY_SUB_WINDOW_MS_MIN;

const DAY_MS: u64 = 86_400_000;

/// A row of parts of time, numbered from 1970 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parts {
    /// Of equal length, the first beginning `offset_ms` before 1970.
    Equal { length_ms: u64, offset_ms: i64 },
    /// Months, in a zone so far east of UTC.
    Months { offset_ms: i64 },
}

/// One part: its number, and from when to when it lasts (the end is not in it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) begins_ms: u64,
    pub(super) ends_ms: u64,
}

impl Parts {
    pub(super) fn of(window: VelocityWindow) -> Self {
        let offset = |minutes: i32| i64::from(minutes) * 60_000;
        let equal = |length_ms: u64| {
            assert!(
                length_ms >= VELOCITY_SUB_WINDOW_MS_MIN,
                "Invariant: parts are not shorter than their limit"
            );
            Self::Equal { length_ms, offset_ms: 0 }
        };
        match window {
            VelocityWindow::Day { zone_offset_minutes } => {
                Self::Equal { length_ms: DAY_MS, offset_ms: offset(zone_offset_minutes) }
            }
            VelocityWindow::Month { zone_offset_minutes } => {
                Self::Months { offset_ms: offset(zone_offset_minutes) }
            }
            VelocityWindow::Fixed { window_s } => equal(u64::from(window_s) * 1_000),
            // Rounded up, so that all parts together are never shorter than the window.
            VelocityWindow::Rolling { window_s, sub_windows } => {
                equal((u64::from(window_s) * 1_000).div_ceil(u64::from(sub_windows.max(1))))
            }
        }
    }

    /// The part that `wall_ms` lies in. What would be before 1970 counts as 1970's first.
    pub(super) fn part(self, wall_ms: u64) -> Part {
        match self {
            Self::Equal { length_ms, offset_ms } => {
                let number = local(wall_ms, offset_ms) / length_ms;
                Part {
                    number: narrow(number),
                    begins_ms: utc(number * length_ms, offset_ms),
                    ends_ms: utc((number + 1).saturating_mul(length_ms), offset_ms),
                }
            }
            Self::Months { offset_ms } => {
                let month = month_of_day(local(wall_ms, offset_ms) / DAY_MS);
                Part {
                    number: narrow(month),
                    begins_ms: utc(first_day(month) * DAY_MS, offset_ms),
                    ends_ms: utc(first_day(month + 1) * DAY_MS, offset_ms),
                }
            }
        }
    }
}

fn local(wall_ms: u64, offset_ms: i64) -> u64 {
    wall_ms.saturating_add_signed(offset_ms)
}

fn utc(local_ms: u64, offset_ms: i64) -> u64 {
    local_ms.saturating_add_signed(-offset_ms)
}

/// When numbers no longer fit, windows stop rolling: against the card, never for it.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Months since January 1970 of a day since the first of them (proleptic Gregorian calendar, years
/// beginning in March so that the leap day is the last).
pub(in crate::shard) fn month_of_day(day: u64) -> u64 {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    // March of year 0 is month 2 of it.
    (era * 400 + year_of_era) * 12 + march_month + 2 - 1_970 * 12
}

/// The day since 1970 on which a month since 1970 begins.
fn first_day(month: u64) -> u64 {
    let march_based = month + 1_970 * 12 - 2;
    let (year, march_month) = (march_based / 12, march_based % 12);
    let of_year = (153 * march_month + 2) / 5;
    let (era, year_of_era) = (year / 400, year % 400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar() {
        // Day by day through 800 years, leap years and centuries among them.
        let lengths = |year: u64| {
            let leap =
                year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
            [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        };
        let mut day = 0;
        for (month, length) in (1_970..2_770).flat_map(lengths).enumerate() {
            assert_eq!(first_day(month as u64), day);
            for _ in 0..length {
                assert_eq!(month_of_day(day), month as u64, "day {day}");
                day += 1;
            }
        }
    }

    #[test]
    fn midnight_is_the_zones() {
        let day = Parts::of(VelocityWindow::Day { zone_offset_minutes: 480 });
        // 2026-01-01 00:00 in Beijing is 16:00 UTC of the day before.
        let midnight_ms = 1_767_225_600_000 - 8 * 3_600_000;
        let part = day.part(midnight_ms);
        assert_eq!((part.begins_ms, part.ends_ms), (midnight_ms, midnight_ms + DAY_MS));
        assert_eq!(day.part(midnight_ms - 1).number + 1, part.number);
        assert_eq!(day.part(midnight_ms - 1).ends_ms, midnight_ms);
        let month = Parts::of(VelocityWindow::Month { zone_offset_minutes: 480 });
        assert_eq!(month.part(midnight_ms).begins_ms, midnight_ms);
        assert_eq!(month.part(midnight_ms).number, 56 * 12);
        assert_eq!(month.part(midnight_ms - 1).number, 56 * 12 - 1);
        let west = Parts::of(VelocityWindow::Month { zone_offset_minutes: -480 });
        assert_eq!(west.part(0), west.part(1));
        assert_eq!(west.part(0).ends_ms, 31 * DAY_MS + 8 * 3_600_000);
    }
}

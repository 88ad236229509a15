//! One second as the time fields of a message: DE 7 in UTC, DE 12 and 13 in China Standard Time.
//!
//! Not here: reading the time (see `clock`).

use crate::decimal;

/// China Standard Time is UTC + 8 hours all year.
const LOCAL_OFFSET_S: u64 = 8 * 3600;

/// The time fields of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Seconds since 1970.
    pub(crate) unix_s: u64,
    /// DE 7, MMDDhhmmss in UTC.
    pub(crate) transmission: [u8; 10],
    /// DE 12, hhmmss.
    pub(crate) local_time: [u8; 6],
    /// DE 13, MMDD.
    pub(crate) local_date: [u8; 4],
    /// Local year, for expiry dates.
    pub(crate) local_year: u64,
}

/// A second of the calendar.
struct Civil {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl Civil {
    /// The proleptic Gregorian date of a Unix second (years counted from March, as leap days then
    /// fall on the end of a year).
    fn at(unix_s: u64) -> Self {
        let days = unix_s / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            second_of_day: unix_s % 86_400,
        }
    }

    fn month_and_day(&self) -> u64 {
        self.month * 100 + self.day
    }

    fn hour_minute_second(&self) -> u64 {
        let second = self.second_of_day;
        second / 3_600 * 10_000 + second / 60 % 60 * 100 + second % 60
    }
}

impl Stamp {
    /// The stamp of a Unix second.
    pub(crate) fn at(unix_s: u64) -> Self {
        let utc = Civil::at(unix_s);
        let local = Civil::at(unix_s + LOCAL_OFFSET_S);
        Self {
            unix_s,
            transmission: decimal::text(utc.month_and_day() * 1_000_000 + utc.hour_minute_second()),
            local_time: decimal::text(local.hour_minute_second()),
            local_date: decimal::text(local.month_and_day()),
            local_year: local.year,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_seconds() {
        let cases = [
            (0, b"0101000000", b"080000", b"0101", 1970),
            // 2000-02-29T23:59:59Z, a leap day in a year divisible by 400.
            (951_868_799, b"0229235959", b"075959", b"0301", 2000),
            // 2024-12-31T16:00:00Z: the year has turned in Beijing.
            (1_735_660_800, b"1231160000", b"000000", b"0101", 2025),
        ];
        for (unix_s, transmission, local_time, local_date, year) in cases {
            let stamp = Stamp::at(unix_s);
            assert_eq!(&stamp.transmission, transmission);
            assert_eq!(&stamp.local_time, local_time);
            assert_eq!(&stamp.local_date, local_date);
            assert_eq!(stamp.local_year, year);
        }
    }
}

//! The Gregorian calendar, both ways: days since 1970-01-01 and (year, month, day). Years are counted from March, so that
//! the leap day is a year's last, in eras of 400 years, which all have the same number of days.

const ERA_DAYS: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// Days since 1970-01-01 of a date, `month` 1 to 12. A day beyond the month's end counts into the next.
pub fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let month = (month - 1).rem_euclid(12);
    let year = if month < 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    // March is 0; its first day has 0 days before it, April's 31, May's 61: 153 days in each five months.
    let day_of_year = (153 * ((month + 10) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH
}

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01.
pub fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = (month + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_and_there_and_back() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((1900, 3, 1), -25_508),
            ((2038, 1, 19), 24_855),
        ] {
            assert_eq!(date_from_days(days), date);
            assert_eq!(days_from_date(date.0, date.1, date.2), days);
        }
        let mut last = date_from_days(-800_000);
        for days in -799_999..800_000 {
            let (year, month, day) = date_from_days(days);
            assert_eq!(days_from_date(year, month, day), days);
            assert!((year, month, day) > last && (1..=12).contains(&month) && (1..=31).contains(&day));
            last = (year, month, day);
        }
    }
}

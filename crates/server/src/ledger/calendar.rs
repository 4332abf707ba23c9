//! Months. Pure.

use time::{Date, Month, OffsetDateTime, Time};

/// The calendar month in UTC that `at` lies in, as `2026-11`.
pub(crate) fn month_of(at: i64) -> String {
    let date = moment(at).date();
    format!("{:04}-{:02}", date.year(), u8::from(date.month()))
}

/// When the month after the one that `at` lies in begins.
pub(crate) fn month_end(at: i64) -> i64 {
    let date = moment(at).date();
    let (year, month) = match date.month() {
        Month::December => (date.year() + 1, Month::January),
        month => (date.year(), month.next()),
    };
    first_of(year, month).unwrap_or(at)
}

/// The month before the one that `at` lies in, as `2026-10`.
pub(crate) fn month_before(at: i64) -> String {
    let date = moment(at).date();
    let first = first_of(date.year(), date.month()).unwrap_or(at);
    month_of(first - 1)
}

fn first_of(year: i32, month: Month) -> Option<i64> {
    let date = Date::from_calendar_date(year, month, 1).ok()?;
    let moment = OffsetDateTime::new_utc(date, Time::MIDNIGHT);
    Some(moment.unix_timestamp() * 1_000)
}

/// Times before 1970 and after 9998 are not times of ours; they are moved into that span.
fn moment(at: i64) -> OffsetDateTime {
    let at = at.clamp(0, 253_370_764_799_999);
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-12-31T23:59:59.999Z
    const LAST_MS: i64 = 1_798_761_599_999;

    #[test]
    fn a_month_ends_where_the_next_begins() {
        assert_eq!(month_of(LAST_MS), "2026-12");
        assert_eq!(month_of(LAST_MS + 1), "2027-01");
        assert_eq!(month_end(LAST_MS), LAST_MS + 1);
        assert_eq!(month_of(month_end(LAST_MS + 1)), "2027-02");
        assert_eq!(month_before(LAST_MS), "2026-11");
        assert_eq!(month_before(LAST_MS + 1), "2026-12");
    }

    #[test]
    fn strange_times_do_not_fail() {
        for at in [i64::MIN, i64::MAX] {
            assert!(month_end(at) > 0);
        }
    }
}

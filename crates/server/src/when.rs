//! Times as text: RFC 3339 in UTC with milliseconds, inside milliseconds since the epoch.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// `2026-11-24T04:26:26.123Z`. Times outside the years 0 to 9999 are shown as their nearest end.
pub fn rfc3339(ms: i64) -> String {
    // The range that four digits of a year can hold.
    let ms = ms.clamp(-62_167_219_200_000, 253_402_300_799_999);
    let moment =
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (moment.date(), moment.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// Reads a time with any offset; parts below a millisecond are cut.
pub fn parse(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_763_958_386_123, "2025-11-24T04:26:26.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(parse("2025-11-24T05:26:26.1239+01:00"), Some(1_763_958_386_123));
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59.999Z");
        for bad in ["", "2025-11-24", "yesterday", "2025-02-30T00:00:00Z", "2025-11-24T04:26:26", "1763958386123"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

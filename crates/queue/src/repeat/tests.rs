use chrono::NaiveDateTime;

use super::*;
use crate::options::Dedup;

const S: Duration = Duration::from_secs(1);

fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A time in UTC.
fn utc(text: &str) -> Timestamp {
    ms(NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_millis())
}

fn every(every: Duration) -> Repeat {
    Repeat::named("r", Schedule::Every(every), "n", &1).unwrap()
}

fn cron(pattern: &str, tz: &str) -> Repeat {
    Repeat::named("r", Schedule::cron_in(pattern, tz), "n", &1).unwrap()
}

/// The runs after a time, as times in UTC.
fn runs(repeat: &Repeat, after: &str, most: usize) -> Vec<String> {
    repeat.check().unwrap();
    let mut slot = utc(after);
    let next = || {
        slot = repeat.next(slot, slot)?;
        DateTime::from_timestamp_millis(slot.millis()).map(|time| time.format("%F %T").to_string())
    };
    std::iter::from_fn(next).take(most).collect()
}

#[test]
fn every_begins_now_or_with_its_start() {
    let now = ms(10_500);
    assert_eq!(every(S).first(now), Some(now));
    assert_eq!(Repeat { start: Some(ms(20_100)), ..every(S) }.first(now), Some(ms(20_100)));
    assert_eq!(Repeat { start: Some(ms(100)), ..every(S) }.first(now), Some(now));
}

#[test]
fn every_keeps_its_offset_and_leaves_out_what_was_missed() {
    let repeat = every(S);
    for (now, next) in [(0, 1_250), (1_249, 1_250), (1_250, 1_250), (1_251, 2_250), (9_249, 9_250), (9_250, 10_250)] {
        assert_eq!(repeat.next(ms(250), ms(now)), Some(ms(next)), "{now}");
    }
    assert_eq!(repeat.next(ms(i64::MAX - 5), ms(i64::MAX)), Some(ms(i64::MAX)));
}

#[test]
fn a_pattern_is_due_strictly_after_the_given_time() {
    let repeat = cron("*/5 * * * *", "UTC");
    for (now, next) in [("12:00:00", "12:05:00"), ("12:04:59", "12:05:00"), ("12:05:00", "12:10:00")] {
        assert_eq!(repeat.first(utc(&format!("2026-01-01 {now}"))), Some(utc(&format!("2026-01-01 {next}"))));
    }
    let late = Timestamp::from_millis(utc("2026-01-01 12:04:59").millis() + 999);
    assert_eq!(repeat.first(late), Some(utc("2026-01-01 12:05:00")));
    assert_eq!(repeat.next(utc("2026-01-01 12:05:00"), late), Some(utc("2026-01-01 12:10:00")));
    let seconds = cron("*/20 * * * * *", "UTC");
    assert_eq!(runs(&seconds, "2026-01-01 00:00:00", 2), ["2026-01-01 00:00:20", "2026-01-01 00:00:40"]);
    let now = utc("2026-01-01 12:00:07");
    assert_eq!(Repeat { immediately: true, ..cron("0 0 * * *", "UTC") }.first(now), Some(now));
    let start = Some(utc("2026-03-01 00:00:00"));
    assert_eq!(Repeat { start, ..cron("0 0 * * *", "UTC") }.first(now), start);
}

#[test]
fn a_pattern_is_read_in_its_zone() {
    assert_eq!(runs(&cron("0 9 * * *", "Asia/Tokyo"), "2026-01-01 00:00:00", 1), ["2026-01-02 00:00:00"]);
    assert_eq!(runs(&cron("0 9 * * *", "UTC"), "2026-01-01 00:00:00", 1), ["2026-01-01 09:00:00"]);
}

#[test]
fn an_hour_that_is_left_out_costs_no_run() {
    // Berlin goes from 02:00 to 03:00 on 29 March 2026, New York on 8 March.
    let berlin = runs(&cron("30 2 * * *", "Europe/Berlin"), "2026-03-28 00:00:00", 3);
    assert_eq!(berlin, ["2026-03-28 01:30:00", "2026-03-29 01:00:00", "2026-03-30 00:30:00"]);
    let york = runs(&cron("30 2 * * *", "America/New_York"), "2026-03-07 06:00:00", 3);
    assert_eq!(york, ["2026-03-07 07:30:00", "2026-03-08 07:00:00", "2026-03-09 06:30:00"]);
    let often = runs(&cron("*/30 * * * *", "Europe/Berlin"), "2026-03-29 00:00:00", 3);
    assert_eq!(often, ["2026-03-29 00:30:00", "2026-03-29 01:00:00", "2026-03-29 01:30:00"]);
}

#[test]
fn an_hour_that_comes_twice_runs_a_named_time_once() {
    // Berlin goes from 03:00 to 02:00 on 25 October 2026, New York from 02:00 to 01:00 on 1 November.
    let berlin = runs(&cron("30 2 * * *", "Europe/Berlin"), "2026-10-24 12:00:00", 2);
    assert_eq!(berlin, ["2026-10-25 00:30:00", "2026-10-26 01:30:00"]);
    let york = runs(&cron("30 1 * * *", "America/New_York"), "2026-10-31 12:00:00", 2);
    assert_eq!(york, ["2026-11-01 05:30:00", "2026-11-02 06:30:00"]);
    let often = runs(&cron("*/30 * * * *", "Europe/Berlin"), "2026-10-25 00:00:00", 4);
    assert_eq!(often, ["2026-10-25 00:30:00", "2026-10-25 01:00:00", "2026-10-25 01:30:00", "2026-10-25 02:00:00"]);
}

#[test]
fn the_29th_of_february_comes_in_leap_years() {
    assert_eq!(
        runs(&cron("0 0 29 2 *", "UTC"), "2026-01-01 00:00:00", 2),
        ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]
    );
    assert_eq!(runs(&cron("0 0 29 2 *", "UTC"), "2096-03-01 00:00:00", 1), ["2104-02-29 00:00:00"]);
    assert_eq!(cron("0 0 30 2 *", "UTC").first(ms(0)), None);
}

#[test]
fn nothing_is_due_after_the_end() {
    let repeat = Repeat { end: Some(ms(3_000)), ..every(S) };
    assert_eq!(repeat.first(ms(3_000)), Some(ms(3_000)));
    assert_eq!(repeat.first(ms(3_001)), None);
    assert_eq!(repeat.next(ms(2_000), ms(2_000)), Some(ms(3_000)));
    assert_eq!(repeat.next(ms(2_001), ms(2_001)), None);
}

/// A list of hours follows the clock, unlike a single one.
#[test]
fn lists_skip_what_is_left_out_and_repeat_what_comes_twice() {
    let twice = cron("30 2,14 * * *", "Europe/Berlin");
    let spring = runs(&twice, "2026-03-28 14:00:00", 1);
    assert_eq!(spring, ["2026-03-29 12:30:00"]);
    let autumn = runs(&twice, "2026-10-24 20:00:00", 3);
    assert_eq!(autumn, ["2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-25 13:30:00"]);
}

#[test]
fn what_no_store_may_hold_is_refused() {
    let with = |options| Repeat { options, ..every(S) };
    let misfire = |misfire| Repeat { misfire, ..every(S) };
    let dedup = JobOptions { deduplication: Some(Dedup::simple("d")), ..JobOptions::default() };
    let bad = [
        every(Duration::from_millis(999)),
        every(MAX_DELAY + S),
        every(S + Duration::from_micros(1)),
        Repeat { id: "".into(), ..every(S) },
        Repeat { id: "x".repeat(256).into(), ..every(S) },
        Repeat { id: "a\n".into(), ..every(S) },
        Repeat { name: "".into(), ..every(S) },
        Repeat { limit: Some(0), ..every(S) },
        Repeat { immediately: true, start: Some(ms(1)), ..cron("* * * * *", "UTC") },
        cron("", "UTC"),
        cron("61 * * * *", "UTC"),
        cron("* * * *", "UTC"),
        cron(", * * * *", "UTC"),
        cron("1,,2 * * * *", "UTC"),
        cron("0 0 0 1 1 * 2027", "UTC"),
        cron(&format!("{} * * * *", "1,".repeat(200) + "1"), "UTC"),
        cron("* * * * *", "Europe/Nowhere"),
        cron("/5 * * * *", "UTC"),
        cron("5/0 * * * *", "UTC"),
        cron("5/15 0 0 1 1 * 2027", "UTC"),
        misfire(Misfire::Skip { after: Duration::from_millis(999) }),
        misfire(Misfire::Skip { after: MAX_DELAY + S }),
        misfire(Misfire::Skip { after: S + Duration::from_micros(1) }),
        with(JobOptions { delay: S, ..JobOptions::default() }),
        with(dedup),
        with(JobOptions { start_before: Some(ms(1)), ..JobOptions::default() }),
        with(JobOptions { priority: u32::MAX, ..JobOptions::default() }),
    ];
    for repeat in bad {
        assert!(repeat.check().is_err(), "{repeat:?}");
    }
    assert!(Repeat { id: "a:b:1".into(), ..every(S) }.check().is_ok());
}

#[test]
fn a_definition_is_read_back_as_it_was_stored() {
    let options = JobOptions { attempts: 3, ..JobOptions::default() };
    let repeat = Repeat { options, limit: Some(3), end: Some(ms(9)), ..cron("0 0 * * *", "Europe/Berlin") };
    let text = serde_json::to_string(&repeat).unwrap();
    let read: Repeat = serde_json::from_str(&text).unwrap();
    assert_eq!(Repeat { data: repeat.data.clone(), ..read }, repeat);
}

#[test]
fn policies_are_stored_only_when_they_are_not_the_defaults() {
    let text = serde_json::to_string(&every(S)).unwrap();
    assert!(!text.contains("misfire") && !text.contains("overlap"), "{text}");
    for misfire in [Misfire::One, Misfire::Skip { after: S }, Misfire::All] {
        let repeat = Repeat { misfire, overlap: Overlap::Skip, ..every(S) };
        let read: Repeat = serde_json::from_str(&serde_json::to_string(&repeat).unwrap()).unwrap();
        assert_eq!((read.misfire, read.overlap), (misfire, Overlap::Skip));
    }
    let text = serde_json::to_string(&Misfire::Skip { after: S }).unwrap();
    assert_eq!(text, r#"{"skip":{"after":1000}}"#);
}

#[test]
fn all_goes_from_slot_to_slot_and_no_further_back_than_a_year() {
    let day = 24 * 3_600_000;
    for repeat in [every(Duration::from_secs(24 * 3_600)), cron("0 0 * * *", "UTC")] {
        let all = Repeat { misfire: Misfire::All, ..repeat };
        assert_eq!(all.next(ms(0), ms(300 * day)), Some(ms(day)));
        assert_eq!(all.next(ms(299 * day), ms(300 * day + 5)), Some(ms(300 * day)));
        assert_eq!(all.next(ms(300 * day), ms(300 * day + 5)), Some(ms(301 * day)));
        assert_eq!(all.next(ms(0), ms(400 * day + 5)), Some(ms(36 * day)));
        let ended = Repeat { end: Some(ms(3 * day)), ..all };
        assert_eq!(
            (ended.next(ms(2 * day), ms(9 * day)), ended.next(ms(3 * day), ms(9 * day))),
            (Some(ms(3 * day)), None)
        );
    }
}

#[test]
fn slots_between_two_are_counted() {
    let hour = 3_600_000;
    for repeat in [every(Duration::from_secs(3_600)), cron("0 * * * *", "UTC")] {
        let between = |slot, until| repeat.between(ms(slot), ms(until)).map(|(a, b, n)| (a.millis(), b.millis(), n));
        assert_eq!(between(0, hour), None);
        assert_eq!(between(5 * hour, 0), None);
        assert_eq!(between(0, hour + 1), Some((hour, hour, 1)));
        assert_eq!(between(0, 5 * hour), Some((hour, 4 * hour, 4)));
    }
}

/// Beyond the bound the count stands still, and the last slot is still the last one.
#[test]
fn the_count_of_a_pattern_is_bounded() {
    let last = |pattern, until| cron(pattern, "Europe/Berlin").between(utc("2026-01-01 00:00:00"), utc(until));
    let hours = last("0 * * * *", "2026-02-11 17:00:00");
    assert_eq!(hours, Some((utc("2026-01-01 01:00:00"), utc("2026-02-11 16:00:00"), 1_000)));
    let hours = last("0 * * * *", "2031-07-31 17:30:00");
    assert_eq!(hours, Some((utc("2026-01-01 01:00:00"), utc("2031-07-31 17:00:00"), MAX_COUNTED)));
    let bursts = last("* * 2 1 1 *", "2029-06-01 00:00:00");
    assert_eq!(bursts, Some((utc("2026-01-01 01:00:00"), utc("2029-01-01 01:59:59"), MAX_COUNTED)));
}

#[test]
fn what_is_left_out_is_skipped_when_a_policy_asks_for_it_and_else_missed() {
    let (slot, next, now) = (ms(0), Some(ms(5_000)), ms(4_500));
    let tick = |fate| Some(Tick { fate, first: ms(1_000), last: ms(4_000), count: 4, at: now });
    assert_eq!(every(S).left_out(slot, next, now), tick(Fate::Missed));
    assert_eq!(Repeat { misfire: Misfire::All, ..every(S) }.left_out(slot, next, now), tick(Fate::Missed));
    let skip = Repeat { misfire: Misfire::Skip { after: S }, ..every(S) };
    assert_eq!(skip.left_out(slot, next, now), tick(Fate::Skipped));
    assert_eq!(Repeat { overlap: Overlap::Skip, ..every(S) }.left_out(slot, next, now), tick(Fate::Skipped));
    // Nothing follows: up to the end, which is the last slot that may be one.
    let ended = Repeat { end: Some(ms(4_000)), ..every(S) };
    assert_eq!(ended.left_out(slot, None, ms(99_000)).map(|left| (left.last, left.count)), Some((ms(4_000), 4)));
    assert_eq!(ended.left_out(ms(4_000), None, ms(99_000)), None);
}

#[test]
fn steps_from_a_value_and_the_week_of_one_day_are_read() {
    let minutes = runs(&cron("50/5 0 * * *", "UTC"), "2026-01-01 00:00:00", 3);
    assert_eq!(minutes, ["2026-01-01 00:50:00", "2026-01-01 00:55:00", "2026-01-02 00:50:00"]);
    let days = runs(&cron("0 0 * * fri/2", "UTC"), "2026-01-01 00:00:00", 3);
    assert_eq!(days, ["2026-01-02 00:00:00", "2026-01-04 00:00:00", "2026-01-09 00:00:00"]);
    let sundays = runs(&cron("0 0 * * sun-SUN", "UTC"), "2026-01-01 00:00:00", 2);
    assert_eq!(sundays, ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]);
    let weekend = runs(&cron("0 0 * * fri-sun", "UTC"), "2026-01-05 00:00:00", 3);
    assert_eq!(weekend, ["2026-01-09 00:00:00", "2026-01-10 00:00:00", "2026-01-11 00:00:00"]);
}

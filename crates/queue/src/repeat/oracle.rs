//! Next times beside those of cron-parser, which BullMQ's schedulers go by: `oracle.tsv`, made by `scripts/cron-oracle`.
//! They may differ in the hours in which a zone changes its offset, in five known ways, and nowhere else; docs/states.md
//! explains them too.

use std::collections::BTreeMap;

use chrono::{NaiveDateTime, Offset, TimeZone};

use super::*;

/// How the two differ, and in how many lines.
const KNOWN: [(Class, usize); 5] = [
    (Class::FixedInGap, 7),
    (Class::OthersInGap, 6),
    (Class::OthersTwice, 4),
    (Class::HalfHourGap, 1),
    (Class::HalfHourTwice, 1),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// A time of one hour and one minute is left out by the zone: here it runs at the moment of the change, there as much
    /// later as the change is wide.
    FixedInGap,
    /// One of several times (a list, a range, steps) is left out by the zone: here it is left out, there it runs as much later
    /// as the change is wide.
    OthersInGap,
    /// One of several times comes twice: here it runs twice, there once.
    OthersTwice,
    /// The zone leaves out half an hour: there the other half is left out too, or times run that the pattern does not name.
    HalfHourGap,
    /// Half an hour comes twice: there a fixed time runs twice, here once.
    HalfHourTwice,
}

struct Line<'a> {
    text: &'a str,
    pattern: &'a str,
    zone: &'a str,
    start: Timestamp,
    next: Vec<Timestamp>,
}

fn lines() -> impl Iterator<Item = Line<'static>> {
    include_str!("oracle.tsv").lines().filter(|line| !line.starts_with('#')).map(|text| {
        let mut cells = text.split('\t');
        let (pattern, zone) = (cells.next().unwrap(), cells.next().unwrap());
        let mut times = cells.map(utc);
        Line { text, pattern, zone, start: times.next().unwrap(), next: times.collect() }
    })
}

fn utc(text: &str) -> Timestamp {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").unwrap();
    Timestamp::from_millis(time.and_utc().timestamp_millis())
}

/// How far a zone is ahead of UTC, in seconds.
fn offset(zone: &str, at: Timestamp) -> i32 {
    let time = DateTime::from_timestamp_millis(at.millis()).unwrap().naive_utc();
    zone.parse::<Tz>().unwrap().offset_from_utc_datetime(&time).fix().local_minus_utc()
}

fn classify(line: &Line<'_>, ours: &[Timestamp]) -> Option<Class> {
    let (ours, theirs) = ours.iter().zip(&line.next).find(|(ours, theirs)| ours != theirs)?;
    let first = *ours.min(theirs);
    let offset = |at| offset(line.zone, at);
    let wide = offset(first) - offset(first.minus(Duration::from_secs(3 * 3_600)));
    let at_the_change = offset(first.minus(Duration::from_millis(1))) != offset(first);
    match wide {
        3_600 if at_the_change && first == *ours => Some(Class::FixedInGap),
        3_600 if first == *theirs => Some(Class::OthersInGap),
        -3_600 if first == *ours => Some(Class::OthersTwice),
        1_800 => Some(Class::HalfHourGap),
        -1_800 if first == *theirs => Some(Class::HalfHourTwice),
        _ => None,
    }
}

#[test]
fn next_times_are_those_of_cron_parser_but_for_known_differences() {
    let mut found: BTreeMap<Class, Vec<&str>> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut count = 0;
    for line in lines() {
        count += 1;
        let repeat = Repeat::named("r", Schedule::cron_in(line.pattern, line.zone), "n", &1).unwrap();
        let next = |slot: &Timestamp| repeat.next(*slot, *slot);
        let ours: Vec<Timestamp> = std::iter::successors(next(&line.start), next).take(line.next.len()).collect();
        let known = classify(&line, &ours);
        match known.filter(|_| repeat.check().is_ok()) {
            _ if ours == line.next => {}
            Some(class) => found.entry(class).or_default().push(line.text),
            None => unknown.push((line.text, ours)),
        }
    }
    assert_eq!((count, unknown), (2_000, Vec::new()));
    let counts: Vec<(Class, usize)> = found.iter().map(|(class, lines)| (*class, lines.len())).collect();
    assert_eq!(counts, KNOWN, "{found:#?}");
}

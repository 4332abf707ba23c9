//! DATE and TIME, with their ISO 8601 values.

use super::cursor::Cursor;
use super::{EntityType, Found};

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A day that exists, or a month of a year, or a day of every year ("--05-17").
pub(super) fn date(cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '/' | '.' | ':')) {
        return None;
    }
    if cursor.peek()?.is_ascii_digit() {
        year_first(cursor).or_else(|| day_then_month(cursor)).or_else(|| numeric(cursor))
    } else {
        month_first(cursor)
    }
}

/// The name's month, 1 to 12: whole, or the first three letters (four of "Sept") with or without a
/// full stop.
pub(super) fn month(word: &str) -> Option<u32> {
    let word = word.to_ascii_lowercase();
    let fits = |name: &&str| {
        word == **name || word.len() == 3 && name.starts_with(&word) || word == "sept" && name.starts_with("sept")
    };
    MONTHS.iter().position(fits).map(|index| index as u32 + 1)
}

fn eat_month(cursor: &mut Cursor<'_>) -> Option<u32> {
    if !cursor.peek()?.is_ascii_alphabetic() {
        return None;
    }
    let word = cursor.letters();
    let capital = word.starts_with(|c: char| c.is_ascii_uppercase());
    let month = month(word).filter(|_| capital)?;
    if word.len() < 5 {
        cursor.eat(|c| c == '.');
    }
    Some(month)
}

/// "2024-03-05", "2024/03/05".
fn year_first(mut cursor: Cursor<'_>) -> Option<Found> {
    let year = year(cursor.digits(4, 4)?)?;
    let separator = cursor.eat(|c| matches!(c, '-' | '/'))?;
    let month = cursor.digits(2, 2)?.parse().ok()?;
    cursor.eat(|c| c == separator)?;
    let day = cursor.digits(2, 2)?.parse().ok()?;
    let time_follows = cursor.rest().starts_with('T');
    let ends = time_follows || cursor.at_word_end() && cursor.peek() != Some(separator);
    if ends { whole(cursor, year, month, day, 0.99) } else { None }
}

/// "5 March 2024", "5th of March, 2024", "5 Mar".
fn day_then_month(mut cursor: Cursor<'_>) -> Option<Found> {
    let day = day(&mut cursor)?;
    if !cursor.eat_space() {
        cursor.eat(|c| c == '-')?;
    }
    cursor.eat_str("of ");
    let month = eat_month(&mut cursor).filter(|_| cursor.at_word_end())?;
    let short = cursor;
    cursor.eat(|c| c == ',');
    let separated = cursor.eat_space() || cursor.eat(|c| c == '-').is_some();
    let year = cursor.digits(4, 4).and_then(year).filter(|_| separated && cursor.at_word_end());
    match year {
        Some(year) => whole(cursor, year, month, day, 0.97),
        None => yearless(short, month, day),
    }
}

/// "March 5, 2024", "Mar. 5th 2024", "March 5", "March 2024".
fn month_first(mut cursor: Cursor<'_>) -> Option<Found> {
    let month = eat_month(&mut cursor)?;
    if !cursor.eat_space() {
        return None;
    }
    let mut as_year = cursor;
    if let Some(year) = as_year.digits(4, 4).and_then(year).filter(|_| as_year.at_word_end()) {
        return Some(as_year.found(EntityType::Date, 0.9, Some(format!("{year:04}-{month:02}"))));
    }
    let day = day(&mut cursor)?;
    let short = cursor;
    cursor.eat(|c| c == ',');
    let spaced = cursor.eat_space();
    let year = cursor.digits(4, 4).and_then(year).filter(|_| spaced && cursor.at_word_end());
    match year {
        Some(year) => whole(cursor, year, month, day, 0.97),
        None if short.at_word_end() => yearless(short, month, day),
        None => None,
    }
}

/// "3/25/2024", "25/3/2024", "25.3.2024". With slashes and both readings possible, the month is taken
/// to stand first, with less confidence.
fn numeric(mut cursor: Cursor<'_>) -> Option<Found> {
    let first: u32 = cursor.digits(1, 2)?.parse().ok()?;
    let separator = cursor.eat(|c| matches!(c, '/' | '.'))?;
    let second: u32 = cursor.digits(1, 2)?.parse().ok()?;
    cursor.eat(|c| c == separator)?;
    let year = year(cursor.digits(4, 4)?)?;
    if !cursor.at_word_end() || cursor.peek() == Some(separator) && separator == '/' {
        return None;
    }
    match (separator, first > 12, second > 12) {
        ('.', _, _) | (_, true, _) => whole(cursor, year, second, first, 0.9),
        (_, false, true) => whole(cursor, year, first, second, 0.9),
        (_, false, false) => whole(cursor, year, first, second, 0.6),
    }
}

fn day(cursor: &mut Cursor<'_>) -> Option<u32> {
    let day = cursor.digits(1, 2)?.parse().ok()?;
    let _ = ["st", "nd", "rd", "th"].into_iter().any(|ending| cursor.eat_str(ending));
    Some(day)
}

fn year(digits: &str) -> Option<u32> {
    digits.parse().ok().filter(|year| (1000..3000).contains(year))
}

fn whole(cursor: Cursor<'_>, year: u32, month: u32, day: u32, confidence: f64) -> Option<Found> {
    let exists = (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
    let value = format!("{year:04}-{month:02}-{day:02}");
    exists.then(|| cursor.found(EntityType::Date, confidence, Some(value)))
}

fn yearless(cursor: Cursor<'_>, month: u32, day: u32) -> Option<Found> {
    let exists = (1..=days(2000, month)).contains(&day);
    exists.then(|| cursor.found(EntityType::Date, 0.75, Some(format!("--{month:02}-{day:02}"))))
}

fn days(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// "14:05", "14:05:09.5Z", "2:05 pm", "5 p.m.", "T10:00+02:00" after a date.
pub(super) fn time(mut cursor: Cursor<'_>) -> Option<Found> {
    let before = cursor.before();
    let glued = before.is_some_and(|c| c.is_alphanumeric() || matches!(c, ':' | '.' | ',' | '/' | '$'));
    if glued && before != Some('T') {
        return None;
    }
    let hour: u32 = cursor.digits(1, 2)?.parse().ok()?;
    let Some((minute, second)) = minutes(&mut cursor) else {
        let half = half_of_day(&mut cursor)?;
        let value = format!("{:02}:00", on_24_hours(hour, half)?);
        return Some(cursor.found(EntityType::Time, 0.9, Some(value)));
    };
    let half = half_of_day(&mut cursor);
    let zone = if half.is_none() { zone(&mut cursor) } else { String::new() };
    let ends = cursor.at_word_end() && !matches!(cursor.peek(), Some(':'));
    let hour = match half {
        Some(half) => on_24_hours(hour, half)?,
        None => Some(hour).filter(|hour| *hour < 24)?,
    };
    let confidence = if half.is_some() || !second.is_empty() { 0.95 } else { 0.8 };
    let value = format!("{hour:02}:{minute:02}{second}{zone}");
    ends.then(|| cursor.found(EntityType::Time, confidence, Some(value)))
}

/// Minutes, and the seconds as they go into the value (":09.5" or nothing).
fn minutes(cursor: &mut Cursor<'_>) -> Option<(u32, String)> {
    let mut ahead = *cursor;
    ahead.eat(|c| c == ':')?;
    let minute = ahead.digits(2, 2)?.parse().ok().filter(|minute| *minute < 60)?;
    *cursor = ahead;
    let mut second = String::new();
    if ahead.eat(|c| c == ':').is_some() {
        let digits = ahead.digits(2, 2).filter(|digits| *digits < "60")?;
        second = format!(":{digits}");
        *cursor = ahead;
        if ahead.eat(|c| c == '.').is_some()
            && let Some(fraction) = ahead.digits(1, 9)
        {
            second = format!("{second}.{fraction}");
            *cursor = ahead;
        }
    }
    Some((minute, second))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Half {
    Morning,
    Afternoon,
}

/// "am", "PM", "p.m.", with or without a space before it.
fn half_of_day(cursor: &mut Cursor<'_>) -> Option<Half> {
    let mut ahead = *cursor;
    ahead.eat_space();
    let half = match ahead.next()?.to_ascii_lowercase() {
        'a' => Half::Morning,
        'p' => Half::Afternoon,
        _ => return None,
    };
    let dotted = ahead.eat(|c| c == '.').is_some();
    ahead.eat(|c| matches!(c, 'm' | 'M'))?;
    if dotted {
        ahead.eat(|c| c == '.');
    }
    if !ahead.at_word_end() {
        return None;
    }
    *cursor = ahead;
    Some(half)
}

fn on_24_hours(hour: u32, half: Half) -> Option<u32> {
    let hour = Some(hour).filter(|hour| (1..=12).contains(hour))? % 12;
    Some(if half == Half::Afternoon { hour + 12 } else { hour })
}

/// "Z" or "+02:00", as they go into the value.
fn zone(cursor: &mut Cursor<'_>) -> String {
    let mut ahead = *cursor;
    let zone = offset(&mut ahead).filter(|_| ahead.at_word_end());
    if zone.is_some() {
        *cursor = ahead;
    }
    zone.unwrap_or_default()
}

fn offset(cursor: &mut Cursor<'_>) -> Option<String> {
    if cursor.eat(|c| c == 'Z').is_some() {
        return Some("Z".to_owned());
    }
    let sign = cursor.eat(|c| matches!(c, '+' | '-'))?;
    let hours = cursor.digits(2, 2).filter(|hours| *hours <= "14")?;
    cursor.eat(|c| c == ':')?;
    let minutes = cursor.digits(2, 2).filter(|minutes| *minutes < "60")?;
    Some(format!("{sign}{hours}:{minutes}"))
}

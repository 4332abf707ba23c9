//! Numbers with a form of their own: IBAN, CARD, IP, PHONE.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::cursor::Cursor;
use super::{EntityType, Found};

/// The length of an IBAN by country (ISO 13616 registry).
const IBAN_LENGTHS: &[(usize, &str)] = &[
    (15, "NO"),
    (16, "BE"),
    (18, "DK FI FK FO GL NL SD"),
    (19, "MK SI"),
    (20, "AT BA EE KZ LT LU MN XK"),
    (21, "CH CR HR LI LV"),
    (22, "BG BH DE GB GE IE ME RS VA"),
    (23, "AE GI IL IQ OM SO TL"),
    (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
    (25, "LY PT ST"),
    (26, "IS TR"),
    (27, "BI DJ FR GR IT MC MR SM"),
    (28, "AL AZ BY CY DO GT HU LB NI PL SV"),
    (29, "BR EG PS QA UA"),
    (30, "JO KW MU YE"),
    (31, "MT SC"),
    (32, "LC"),
    (33, "RU"),
];

pub(super) fn iban(mut cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(char::is_alphanumeric) {
        return None;
    }
    let country = cursor.run(2, |c| c.is_ascii_uppercase());
    let listed = |codes: &str| country.len() == 2 && codes.split(' ').any(|code| code == country);
    let (length, _) = IBAN_LENGTHS.iter().find(|(_, codes)| listed(codes))?;
    let mut compact = country.to_owned();
    while compact.len() < *length {
        cursor.eat(|c| c == ' ' && compact.len().is_multiple_of(4));
        compact.push(cursor.eat(|c| c.is_ascii_digit() || c.is_ascii_uppercase())?);
    }
    let valid = cursor.at_word_end() && iban_remainder(&compact) == 1;
    valid.then(|| cursor.found(EntityType::Iban, 0.99, Some(compact)))
}

/// The number that the code spells, first four signs moved to the end, modulo 97.
fn iban_remainder(compact: &str) -> u32 {
    let (head, tail) = compact.split_at(4);
    let values = tail.chars().chain(head.chars()).filter_map(|c| c.to_digit(36));
    values.fold(0, |sum, value| {
        let shift = if value < 10 { 10 } else { 100 };
        (sum * shift + value) % 97
    })
}

pub(super) fn card(mut cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')) {
        return None;
    }
    let mut digits = String::new();
    while digits.len() < 19 {
        let mut ahead = cursor;
        if !digits.is_empty() {
            ahead.eat(|c| matches!(c, ' ' | '-'));
        }
        let Some(digit) = ahead.eat(|c| c.is_ascii_digit()) else {
            break;
        };
        digits.push(digit);
        cursor = ahead;
    }
    if !cursor.at_word_end() || !is_card_range(&digits) || !luhn(&digits) {
        return None;
    }
    let value = format!("{}{}", "*".repeat(digits.len() - 4), &digits[digits.len() - 4..]);
    let mut found = cursor.found(EntityType::Card, 0.95, Some(value));
    found.shown = Some(masked(cursor.read(), digits.len() - 4));
    Some(found)
}

/// The first `hidden` digits as stars, separators kept.
fn masked(text: &str, hidden: usize) -> String {
    let mut left = hidden;
    let sign = |c: char| {
        if c.is_ascii_digit() && left > 0 {
            left -= 1;
            '*'
        } else {
            c
        }
    };
    text.chars().map(sign).collect()
}

/// The issuers' ranges and lengths (Visa, Mastercard, American Express, Diners, Discover, JCB).
fn is_card_range(digits: &str) -> bool {
    let prefix: u32 = digits.get(..4).and_then(|prefix| prefix.parse().ok()).unwrap_or(0);
    match digits.len() {
        13 | 19 => matches!(prefix, 4000..=4999),
        14 => matches!(prefix, 3000..=3059 | 3600..=3699 | 3800..=3999),
        15 => matches!(prefix, 3400..=3499 | 3700..=3799),
        16 => matches!(
            prefix,
            2221..=2720 | 3528..=3589 | 4000..=4999 | 5100..=5599 | 6011 | 6440..=6599
        ),
        _ => false,
    }
}

fn luhn(digits: &str) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let values = digits.chars().rev().filter_map(|c| c.to_digit(10)).enumerate();
    let sum: u32 = values.map(|(place, digit)| if place % 2 == 1 { doubled(digit) } else { digit }).sum();
    sum.is_multiple_of(10)
}

pub(super) fn ip(mut cursor: Cursor<'_>) -> Option<Found> {
    let glued = cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | ':'));
    if glued || !cursor.peek()?.is_ascii_hexdigit() && cursor.peek() != Some(':') {
        return None;
    }
    let run = cursor.run(46, |c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'));
    let address = run.trim_end_matches('.');
    if address.contains("::") || address.matches(':').count() >= 2 {
        let address = if address.ends_with("::") { address } else { address.trim_end_matches(':') };
        let parsed: Ipv6Addr = address.parse().ok().filter(|_| address.len() > 2)?;
        return address_found(cursor, run, address, parsed.to_string());
    }
    // "10.0.0.1:8080" is an address and a port.
    let address = address.split(':').next().unwrap_or_default();
    let parsed: Ipv4Addr = address.parse().ok()?;
    address_found(cursor, run, address, parsed.to_string())
}

fn address_found(cursor: Cursor<'_>, run: &str, address: &str, value: String) -> Option<Found> {
    let whole = run.len() > address.len() || cursor.at_word_end();
    let mut found = cursor.found(EntityType::Ip, 0.95, Some(value));
    found.end = found.start + address.len();
    (whole && run.len() < 46).then_some(found)
}

/// International numbers with "+", and North American ones with their separators.
pub(super) fn phone(cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '+' | '.' | '-' | '/' | '$')) {
        return None;
    }
    if cursor.peek() == Some('+') { international(cursor) } else { north_american(cursor) }
}

fn international(mut cursor: Cursor<'_>) -> Option<Found> {
    cursor.next();
    let mut digits = String::new();
    let mut end = cursor;
    while let Some(digit) = cursor.eat(|c| c.is_ascii_digit()) {
        digits.push(digit);
        end = cursor;
        cursor.run(3, |c| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'));
        if digits.len() > 15 {
            return None;
        }
    }
    let fits = match digits.as_bytes().first()? {
        b'0' => false,
        b'1' => digits.len() == 11,
        _ => (8..=15).contains(&digits.len()),
    };
    let valid = fits && end.at_word_end();
    valid.then(|| end.found(EntityType::Phone, 0.95, Some(format!("+{digits}"))))
}

fn north_american(mut cursor: Cursor<'_>) -> Option<Found> {
    let separator = |c| matches!(c, '-' | '.' | ' ');
    if cursor.peek() == Some('1') {
        cursor.next();
        cursor.eat(separator)?;
    }
    let bracket = cursor.eat(|c| c == '(').is_some();
    let area = cursor.digits(3, 3)?;
    if bracket {
        cursor.eat(|c| c == ')')?;
        cursor.eat(separator);
    } else {
        cursor.eat(separator)?;
    }
    let exchange = cursor.digits(3, 3)?;
    cursor.eat(separator)?;
    let line = cursor.digits(4, 4)?;
    let begins_high = |digits: &str| digits.as_bytes().first().is_some_and(|b| *b >= b'2');
    let dashed = cursor.peek() == Some('-');
    if !begins_high(area) || !begins_high(exchange) || !cursor.at_word_end() || dashed {
        return None;
    }
    Some(cursor.found(EntityType::Phone, 0.85, Some(format!("+1{area}{exchange}{line}"))))
}

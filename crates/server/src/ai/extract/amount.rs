//! MONEY and PERCENT, and the numbers inside them.

use super::cursor::Cursor;
use super::{EntityType, Found};

/// Signs that stand before or after an amount. Longer ones first.
const SIGNS: &[(&str, &str)] = &[
    ("US$", "USD"),
    ("CA$", "CAD"),
    ("AU$", "AUD"),
    ("NZ$", "NZD"),
    ("HK$", "HKD"),
    ("R$", "BRL"),
    ("C$", "CAD"),
    ("A$", "AUD"),
    ("$", "USD"),
    ("€", "EUR"),
    ("£", "GBP"),
    ("¥", "JPY"),
    ("₹", "INR"),
    ("₽", "RUB"),
    ("₩", "KRW"),
    ("₺", "TRY"),
    ("₪", "ILS"),
    ("₫", "VND"),
    ("₴", "UAH"),
];

const CODES: &str = "USD EUR GBP JPY CHF CAD AUD NZD CNY INR BRL MXN SEK NOK DKK PLN CZK HUF RUB TRY \
                     ZAR KRW SGD HKD ILS THB IDR MYR PHP VND AED SAR UAH";

const MAX_DIGITS: usize = 18;

/// Characters beyond ASCII with which an amount can begin.
pub(super) fn begins(c: char) -> bool {
    !c.is_ascii() && (c == '−' || SIGNS.iter().any(|(sign, _)| sign.starts_with(c)))
}

pub(super) fn money(mut cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | ',' | '$')) {
        return None;
    }
    let mut before = cursor;
    if let Some(currency) = sign(&mut before).or_else(|| code(&mut before)) {
        before.eat_space();
        return amount_of(before, currency);
    }
    cursor.eat(|c| matches!(c, '-' | '−'));
    let number = number(&mut cursor)?;
    let factor = magnitude(&mut cursor);
    let mut after = cursor;
    let spaced = after.eat_space();
    let sign = sign(&mut after);
    let (currency, cents) = match sign.or_else(|| code(&mut after)) {
        Some(currency) => (currency, false),
        None if spaced => word(&mut after)?,
        None => return None,
    };
    let value = number.shifted(factor - if cents { 2 } else { 0 });
    let ends = sign.is_some() || after.at_word_end();
    ends.then(|| after.found(EntityType::Money, 0.9, Some(format!("{value} {currency}"))))
}

fn amount_of(mut cursor: Cursor<'_>, currency: &str) -> Option<Found> {
    cursor.eat(|c| matches!(c, '-' | '−'));
    let number = number(&mut cursor)?;
    let factor = magnitude(&mut cursor);
    let value = format!("{} {currency}", number.shifted(factor));
    cursor.at_word_end().then(|| cursor.found(EntityType::Money, 0.95, Some(value)))
}

pub(super) fn percent(mut cursor: Cursor<'_>) -> Option<Found> {
    if cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | ',' | '%')) {
        return None;
    }
    let minus = cursor.eat(|c| matches!(c, '-' | '−' | '+')).is_some_and(|c| c != '+');
    let number = number(&mut cursor)?;
    cursor.eat_space();
    let marked = cursor.eat(|c| matches!(c, '%' | '％')).is_some();
    if !marked {
        let words = ["percent", "per cent", "pct"];
        let spelled = words.into_iter().any(|word| cursor.eat_str(word));
        if !spelled || !cursor.at_word_end() {
            return None;
        }
    }
    let value = format!("{}{}", if minus { "-" } else { "" }, number.shifted(0));
    Some(cursor.found(EntityType::Percent, 0.97, Some(value)))
}

fn sign(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    SIGNS.iter().find(|(sign, _)| cursor.eat_str(sign)).map(|(_, currency)| *currency)
}

fn code(cursor: &mut Cursor<'_>) -> Option<&'static str> {
    let mut ahead = *cursor;
    let letters = ahead.letters();
    let code = CODES.split(' ').find(|code| *code == letters)?;
    *cursor = ahead;
    Some(code)
}

/// A currency in words, and whether it means its hundredth.
fn word(cursor: &mut Cursor<'_>) -> Option<(&'static str, bool)> {
    match cursor.letters().to_ascii_lowercase().as_str() {
        "dollar" | "dollars" | "bucks" => Some(("USD", false)),
        "cent" | "cents" => Some(("USD", true)),
        "euro" | "euros" => Some(("EUR", false)),
        "pounds" => Some(("GBP", false)),
        "yen" => Some(("JPY", false)),
        "rupees" => Some(("INR", false)),
        "francs" => Some(("CHF", false)),
        _ => None,
    }
}

/// The power of ten of a following "k", "million", … Reads nothing when there is none.
fn magnitude(cursor: &mut Cursor<'_>) -> i32 {
    let mut ahead = *cursor;
    let spaced = ahead.eat_space();
    let letters = ahead.letters();
    let power = match (spaced, letters) {
        (_, "thousand") | (false, "k" | "K") => 3,
        (_, "million" | "mn" | "mln") | (false, "m" | "M") => 6,
        (_, "billion" | "bn" | "bln") | (false, "b" | "B") => 9,
        (_, "trillion" | "tn") | (false, "T") => 12,
        _ => 0,
    };
    if power > 0 && ahead.at_word_end() {
        *cursor = ahead;
        return power;
    }
    0
}

/// A decimal number, exactly.
#[derive(Debug, PartialEq)]
struct Number {
    /// All digits, without separators.
    digits: String,
    /// How many of them stand after the point.
    fraction: usize,
}

impl Number {
    /// Times ten to the `power`, as plain digits: "1500000", "0.05".
    fn shifted(&self, power: i32) -> String {
        let fraction = self.fraction as i32 - power;
        let mut digits = self.digits.clone();
        if fraction <= 0 {
            digits.push_str(&"0".repeat(fraction.unsigned_abs() as usize));
        }
        let fraction = fraction.max(0) as usize;
        while digits.len() <= fraction {
            digits.insert(0, '0');
        }
        let (whole, part) = digits.split_at(digits.len() - fraction);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
    }
}

/// Digits with thousands separators and a fraction, in English or continental writing: of one
/// separator alone, three digits after it make it a thousands separator (except after "0").
fn number(cursor: &mut Cursor<'_>) -> Option<Number> {
    let mut groups = vec![cursor.digits(1, MAX_DIGITS)?];
    let mut separators = Vec::new();
    while separators.len() < 6 {
        let mut ahead = *cursor;
        let separator = ahead.eat(|c| matches!(c, ',' | '.' | '\'' | ' ' | '\u{A0}' | '\u{202F}'));
        let group = ahead.digits(1, MAX_DIGITS);
        let Some((separator, group)) = separator.zip(group) else {
            break;
        };
        let spaced = !matches!(separator, ',' | '.');
        if spaced && (group.len() != 3 || groups[groups.len() - 1].len() > 3) {
            break;
        }
        separators.push(separator);
        groups.push(group);
        *cursor = ahead;
    }
    let fraction = fraction_of(&groups, &separators)?;
    let digits = groups.concat();
    (digits.len() <= MAX_DIGITS).then_some(Number { digits, fraction })
}

/// How many digits are the fraction; `None` when the groups make no number ("1.2.3").
fn fraction_of(groups: &[&str], separators: &[char]) -> Option<usize> {
    let Some((last, earlier)) = separators.split_last() else {
        return Some(0);
    };
    let tail = groups.last()?.len();
    let thousands =
        |groups: &[&str]| groups.len() < 2 || groups[0].len() <= 3 && groups[1..].iter().all(|group| group.len() == 3);
    let same = |separator: char| earlier.iter().all(|other| *other == separator);
    let zero = groups[0] == "0";
    let last_is_point = matches!(last, ',' | '.')
        && !earlier.contains(last)
        && (tail != 3 || zero || !earlier.is_empty() || groups[0].len() > 3);
    if last_is_point {
        let whole = &groups[..groups.len() - 1];
        let uniform = earlier.first().is_none_or(|first| same(*first));
        return (uniform && thousands(whole)).then_some(tail);
    }
    (same(*last) && thousands(groups)).then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_both_writings() {
        let cases = [
            ("1,234,567.89", Some("1234567.89")),
            ("1.234.567,89", Some("1234567.89")),
            ("1 234 567", Some("1234567")),
            ("1,234", Some("1234")),
            ("12,50", Some("12.50")),
            ("0.125", Some("0.125")),
            ("1234.567", Some("1234.567")),
            ("007", Some("7")),
            ("1.2.3", None),
            ("1,23,4.5", None),
            ("1234567890123456789", None),
        ];
        for (text, expected) in cases {
            let number = number(&mut Cursor::new(text, 0)).map(|number| number.shifted(0));
            assert_eq!(number.as_deref(), expected, "{text}");
        }
        let half = Number { digits: "15".to_owned(), fraction: 1 };
        assert_eq!((half.shifted(6), half.shifted(-2)), ("1500000".to_owned(), "0.015".to_owned()));
    }
}

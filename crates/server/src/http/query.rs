//! Query strings, read strictly: every parameter is known, given once, and of the right form.

use crate::problem::{Fault, Problem};

/// Longer names are shown cut.
const SHOWN: usize = 80;

/// The parameters of one request that nobody has asked for yet.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    /// What has been found wrong so far.
    pub faults: Vec<Fault>,
}

impl Query {
    /// Splits and decodes a query string. Faults of the encoding are told by [`Query::finish`].
    pub(super) fn parse(raw: Option<&str>) -> Query {
        let mut query = Query { pairs: Vec::new(), faults: Vec::new() };
        for part in raw.unwrap_or("").split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) if name.contains('\0') || value.contains('\0') => {
                    query.fault(&name, "The character U+0000 is not allowed.");
                }
                (Some(name), Some(value)) => query.pairs.push((name, value)),
                (name, _) => {
                    let name = name.unwrap_or_else(|| name_of(part));
                    query.fault(&name, "The percent-encoding is not valid UTF-8.");
                }
            }
        }
        query
    }

    /// Takes a parameter; given twice it is a fault.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let mut found = None;
        while let Some(at) = self.pairs.iter().position(|(key, _)| key == name) {
            let (_, value) = self.pairs.remove(at);
            if found.is_some() {
                self.fault(name, &format!("{name} may be given once."));
                break;
            }
            found = Some(value);
        }
        self.pairs.retain(|(key, _)| key != name);
        found
    }

    /// Takes a whole number in this range.
    pub(super) fn whole(&mut self, name: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.take(name)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        if number.is_none() {
            self.fault(name, &format!("{name} must be a whole number from {} to {}.", range.start(), range.end()));
        }
        number
    }

    /// Takes one of a few words.
    pub(super) fn choice<T>(&mut self, name: &str, read: impl Fn(&str) -> Option<T>, expected: &str) -> Option<T> {
        let text = self.take(name)?;
        let value = read(&text);
        if value.is_none() {
            self.fault(name, &format!("{name} must be {expected}."));
        }
        value
    }

    /// Takes a time in RFC 3339.
    pub(super) fn time(&mut self, name: &str) -> Option<i64> {
        let expected = "a time like 2026-11-24T04:26:26.123Z (write + as %2B)";
        self.choice(name, crate::when::parse, expected)
    }

    /// Takes all parameters whose name begins with `head`, without that head.
    pub(super) fn take_all(&mut self, head: &str) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(key, _)| key.starts_with(head));
        self.pairs = rest;
        taken.into_iter().map(|(key, value)| (key[head.len()..].to_owned(), value)).collect()
    }

    /// Notes a fault of a parameter.
    pub(super) fn fault(&mut self, name: &str, message: &str) {
        let name: String = name.chars().take(SHOWN).collect();
        self.faults.push(Fault::parameter(name, message));
    }

    /// Refuses when something was wrong or is unknown.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(&name, "This parameter is not known here.");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::invalid(self.faults)) }
    }
}

/// Decodes `%XX` and `+`; None when that is not valid or not UTF-8.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn name_of(part: &str) -> String {
    part.split('=').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Place;

    fn faults(query: Query) -> Vec<String> {
        let problem = query.finish().unwrap_err();
        let names = problem.faults().iter().map(|fault| match &fault.place {
            Place::Parameter(name) => name.clone(),
            Place::Pointer(pointer) => panic!("{pointer}"),
        });
        names.collect()
    }

    #[test]
    fn good_parameters_are_decoded() {
        let mut query = Query::parse(Some("limit=10&metadata.a%20b=x+y%C3%A9&&createdAfter=1970-01-01T00:00:00.001Z"));
        assert_eq!(query.whole("limit", 1..=100), Some(10));
        assert_eq!(query.take_all("metadata."), [("a b".to_owned(), "x yé".to_owned())]);
        assert_eq!(query.time("createdAfter"), Some(1));
        assert_eq!(query.take("absent"), None);
        assert!(query.finish().is_ok());
        assert!(Query::parse(None).finish().is_ok());
    }

    #[test]
    fn bad_parameters_are_named() {
        for limit in ["-1", "ten", "0", "101", "", "+1", "1.0", "%31%30%30%30", "99999999999999999999999"] {
            let raw = format!("limit={limit}");
            let mut query = Query::parse(Some(&raw));
            assert_eq!(query.whole("limit", 1..=100), None, "{limit}");
            assert_eq!(faults(query), ["limit"], "{limit}");
        }
        assert_eq!(faults(Query::parse(Some("a=1&b"))), ["a", "b"]);
        assert_eq!(faults(Query::parse(Some("a=%ff&b=%zz&%f=1&c=%00"))), ["a", "b", "%f", "c"]);
        let mut query = Query::parse(Some("a=1&a=2&a=3"));
        assert_eq!(query.take("a").as_deref(), Some("1"));
        assert_eq!(faults(query), ["a"]);
    }
}

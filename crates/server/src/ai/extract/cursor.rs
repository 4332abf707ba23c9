//! A place in a text from which a rule reads on. Copied freely; reading moves only the copy.

use super::{EntityType, Found};

#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    start: usize,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str, start: usize) -> Self {
        Cursor { text, start, at: start }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The character before the place where the cursor began.
    pub(super) fn before(&self) -> Option<char> {
        self.text[..self.start].chars().next_back()
    }

    /// What has been read.
    pub(super) fn read(&self) -> &'a str {
        &self.text[self.start..self.at]
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let c = self.peek().filter(|c| wanted(*c))?;
        self.at += c.len_utf8();
        Some(c)
    }

    pub(super) fn eat_str(&mut self, wanted: &str) -> bool {
        let eaten = self.rest().starts_with(wanted);
        if eaten {
            self.at += wanted.len();
        }
        eaten
    }

    /// One space or no-break space.
    pub(super) fn eat_space(&mut self) -> bool {
        self.eat(|c| matches!(c, ' ' | '\u{A0}' | '\u{202F}')).is_some()
    }

    /// At most `most` characters of a kind.
    pub(super) fn run(&mut self, most: usize, wanted: impl Fn(char) -> bool) -> &'a str {
        let from = self.at;
        for _ in 0..most {
            if self.eat(&wanted).is_none() {
                break;
            }
        }
        &self.text[from..self.at]
    }

    /// Between `least` and `most` digits, all that stand here.
    pub(super) fn digits(&mut self, least: usize, most: usize) -> Option<&'a str> {
        let digits = self.run(most, |c| c.is_ascii_digit());
        let all = !self.peek().is_some_and(|c| c.is_ascii_digit());
        (all && digits.len() >= least).then_some(digits)
    }

    /// The ASCII letters that stand here, if they are few.
    pub(super) fn letters(&mut self) -> &'a str {
        self.run(12, |c| c.is_ascii_alphabetic())
    }

    /// No word goes on here.
    pub(super) fn at_word_end(&self) -> bool {
        !self.peek().is_some_and(char::is_alphanumeric)
    }

    pub(super) fn found(&self, kind: EntityType, confidence: f64, value: Option<String>) -> Found {
        Found { kind, start: self.start, end: self.at, confidence, value, shown: None }
    }
}

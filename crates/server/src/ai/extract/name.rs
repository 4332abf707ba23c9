//! NAME: capitalised words that may name somebody or something. A guess by form, and marked as one.

use super::moment::month;
use super::{EntityType, Found};

const MAX_WORDS: usize = 6;
const SEVERAL_WORDS: f64 = 0.5;
const ONE_WORD: f64 = 0.3;

/// Small words that stand inside names ("Bank of England", "Ludwig van Beethoven").
const LINKS: &[&str] = &["of", "de", "del", "la", "van", "von", "der", "den", "da", "di", "du", "bin", "al"];

/// Words that begin a sentence far more often than a name, or are capitalised without naming anything.
const PLAIN: &[&str] = &[
    "A",
    "About",
    "After",
    "All",
    "Also",
    "Although",
    "An",
    "And",
    "Any",
    "Are",
    "As",
    "At",
    "Because",
    "Before",
    "But",
    "By",
    "Call",
    "Can",
    "Contact",
    "Could",
    "Dear",
    "Did",
    "Do",
    "Does",
    "Each",
    "Email",
    "Even",
    "Every",
    "For",
    "From",
    "Had",
    "Has",
    "Have",
    "He",
    "Hello",
    "Her",
    "Here",
    "Hi",
    "His",
    "How",
    "However",
    "I",
    "If",
    "In",
    "Into",
    "Is",
    "It",
    "Its",
    "Just",
    "Many",
    "Meanwhile",
    "More",
    "Most",
    "My",
    "No",
    "Not",
    "Now",
    "Of",
    "On",
    "Once",
    "One",
    "Only",
    "Or",
    "Other",
    "Our",
    "Please",
    "She",
    "Since",
    "So",
    "Some",
    "Such",
    "Thanks",
    "That",
    "The",
    "Their",
    "Then",
    "There",
    "These",
    "They",
    "This",
    "Those",
    "Though",
    "Three",
    "To",
    "Today",
    "Tomorrow",
    "Two",
    "Under",
    "Until",
    "Was",
    "We",
    "Were",
    "What",
    "When",
    "Where",
    "Which",
    "While",
    "Who",
    "Why",
    "Will",
    "With",
    "Without",
    "Yes",
    "Yesterday",
    "Yet",
    "You",
    "Your",
    "OK",
    "AM",
    "PM",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// All runs of capitalised words. A single word counts only inside a sentence.
pub(super) fn names(text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut run: Vec<Word<'_>> = Vec::new();
    let words = Words { text, at: 0 };
    for word in words {
        let goes_on = run.last().is_some_and(|last| last.touches(&word, text)) && run.len() < MAX_WORDS;
        if !goes_on {
            found.extend(name_of(&run, text));
            run.clear();
        }
        if word.is_capitalised() || (!run.is_empty() && LINKS.contains(&word.text)) {
            run.push(word);
        } else {
            found.extend(name_of(&run, text));
            run.clear();
        }
    }
    found.extend(name_of(&run, text));
    found
}

#[derive(Debug, Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    start: usize,
    begins_sentence: bool,
}

impl Word<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is_capitalised(&self) -> bool {
        self.text.starts_with(char::is_uppercase)
    }

    /// A word of one letter, as in "J. Smith".
    fn is_initial(&self) -> bool {
        self.text.chars().nth(1).is_none()
    }

    /// Only one space stands between, after a full stop where the first is an initial.
    fn touches(&self, next: &Word<'_>, text: &str) -> bool {
        match &text[self.end()..next.start] {
            " " => true,
            ". " => self.is_initial(),
            _ => false,
        }
    }
}

/// The words of a text: letters, with digits, apostrophes and hyphens inside them.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let rest = &self.text[self.at..];
        let skipped = rest.find(char::is_alphanumeric)?;
        let gap = &rest[..skipped];
        let ends_sentence = |c| matches!(c, '.' | '!' | '?' | ':' | '\n' | '"' | '“' | '•' | '…');
        let begins_sentence = self.at == 0 || gap.contains(ends_sentence);
        let body = &rest[skipped..];
        let inner = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-');
        let length = body.find(|c| !inner(c)).unwrap_or(body.len());
        let text = body[..length].trim_end_matches(|c: char| !c.is_alphanumeric());
        let start = self.at + skipped;
        self.at = start + length;
        Some(Word { text, start, begins_sentence })
    }
}

fn name_of(run: &[Word<'_>], text: &str) -> Option<Found> {
    let plain = |word: &&Word<'_>| PLAIN.contains(&word.text) || month(word.text).is_some();
    let from = run.iter().take_while(plain).count();
    let link = |word: &&Word<'_>| LINKS.contains(&word.text) || plain(word);
    let to = run.len() - run[from..].iter().rev().take_while(link).count();
    let (first, last) = (run[from..to].first()?, run[from..to].last()?);
    let single = to - from == 1;
    if single && (first.begins_sentence || first.is_initial()) {
        return None;
    }
    let end = last.end() - possessive(last.text);
    let confidence = if single { ONE_WORD } else { SEVERAL_WORDS };
    let value = text[first.start..end].to_owned();
    Some(Found { kind: EntityType::Name, start: first.start, end, confidence, value: Some(value), shown: None })
}

/// The length of "'s" at the end of a word.
fn possessive(word: &str) -> usize {
    ["'s", "’s"].into_iter().find(|ending| word.ends_with(ending)).map_or(0, str::len)
}

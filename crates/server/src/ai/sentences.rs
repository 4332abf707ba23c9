//! Where sentences begin and end.
//!
//! A rule of thumb for running text: an end mark, closing signs, white space, and something that can
//! begin a sentence. Ends at blank lines, and at line ends that are not just a wrapped line. Linear.

use std::ops::Range;

/// Lines at least this long may have been wrapped in the middle of a sentence.
const WRAPPED_FROM: usize = 50;

const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "al", "fig", "no", "vol", "pp",
    "ed", "eds", "inc", "ltd", "co", "corp", "gen", "sen", "rep", "gov", "col", "capt", "lt", "sgt", "rev", "hon",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "approx", "dept", "est",
    "min", "max", "a.m", "p.m",
];

/// The byte ranges of the sentences, in order, without white space around them; none is empty.
pub(super) fn split(text: &str) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut start = 0;
    let mut line_start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let mut end = at + c.len_utf8();
        let ends = if is_wide_end(c) {
            end = skip_closing(text, end);
            true
        } else if is_end(c) {
            end = skip_closing(text, end);
            ends_here(text, start, at, end)
        } else if c == '\n' {
            let wrapped = at - line_start >= WRAPPED_FROM && goes_on(&text[end..]);
            line_start = end;
            !wrapped
        } else {
            false
        };
        if ends {
            push(text, start..end, &mut sentences);
            start = end;
            while chars.next_if(|(next, _)| *next < end).is_some() {}
        }
    }
    push(text, start..text.len(), &mut sentences);
    sentences
}

fn push(text: &str, range: Range<usize>, sentences: &mut Vec<Range<usize>>) {
    let piece = &text[range.clone()];
    let lead = piece.len() - piece.trim_start().len();
    let trimmed = piece.trim();
    // Pieces of mere signs ("---", "* * *") belong to no sentence.
    if trimmed.chars().any(|c| c.is_alphanumeric() || !c.is_ascii()) {
        let start = range.start + lead;
        sentences.push(start..start + trimmed.len());
    }
}

fn is_end(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '؟' | '۔' | '।' | '։' | '።')
}

/// End marks of scripts that put no space after them.
fn is_wide_end(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

/// After further end marks and closing quotes or brackets, of which there are few.
fn skip_closing(text: &str, end: usize) -> usize {
    let closing =
        |c: &char| is_end(*c) || is_wide_end(*c) || matches!(c, '"' | '\'' | '”' | '’' | '»' | ')' | ']' | '」' | '』');
    end + text[end..].chars().take_while(closing).map(char::len_utf8).sum::<usize>()
}

fn ends_here(text: &str, start: usize, mark: usize, end: usize) -> bool {
    let Some(after) = text[end..].chars().next() else {
        return true;
    };
    if !after.is_whitespace() {
        return false;
    }
    let full_stop_only = end == mark + 1 && text[mark..].starts_with('.');
    if full_stop_only && is_abbreviation(last_word(&text[start..mark])) {
        return false;
    }
    // The look ahead is short: what follows more white space than this is a new sentence.
    let next = text[end..].chars().take(8).find(|c| !c.is_whitespace());
    next.is_none_or(|c| !c.is_lowercase())
}

fn last_word(text: &str) -> &str {
    let tail = &text[text.ceil_char_boundary(text.len().saturating_sub(16))..];
    let begin = tail.rfind(|c: char| c.is_whitespace() || matches!(c, '(' | '"' | '“'));
    begin.map_or(tail, |at| tail[at..].trim_start_matches(|c: char| !c.is_alphanumeric()))
}

/// A known one, or one capital letter as in "J. Smith" or "U.S".
fn is_abbreviation(word: &str) -> bool {
    let last = word.rsplit('.').next().unwrap_or_default();
    let mut letters = last.chars();
    let initial = letters.next().is_some_and(char::is_uppercase) && letters.next().is_none();
    initial && word != "I" || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Whether the text after a line's end can be the same sentence going on.
fn goes_on(rest: &str) -> bool {
    let next = rest.chars().take(80).find(|c| *c != ' ' && *c != '\t' && *c != '\r');
    next.is_some_and(|c| c.is_alphanumeric() || matches!(c, '"' | '(' | '“' | '\'' | '$' | '€' | '£'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        split(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        let text = "Dr. J. Smith paid $3.50 in the U.S. on Jan. 5. \"Really?\" she asked. (Yes!) Fine... ok";
        let expected =
            ["Dr. J. Smith paid $3.50 in the U.S. on Jan. 5.", "\"Really?\" she asked.", "(Yes!)", "Fine... ok"];
        assert_eq!(sentences(text), expected);
        assert_eq!(sentences("你好。我很好！再见"), ["你好。", "我很好！", "再见"]);
        assert_eq!(sentences("Title\n\nOne line\n- item\n---\n"), ["Title", "One line", "- item"]);
        let wrapped = "This line was wrapped by a program at seventy or so\nsigns. Next one.";
        assert_eq!(sentences(wrapped).len(), 2);
        assert!(sentences(" \n . ! ").is_empty());
    }
}

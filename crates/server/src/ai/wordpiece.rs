//! WordPiece: a text as the token ids that the embedding model was trained on.
//!
//! Lower case, no accents, split at white space, punctuation and CJK characters, then the longest
//! known pieces from the left (BERT, uncased). Checked against golden ids of the reference tokenizer.
//! Names of special tokens in a text ("[CLS]") are plain characters here: a text cannot speak to the
//! model in its own signs. Linear in the text: a word beyond 100 characters is unknown as a whole.

mod categories;

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use categories::{is_invisible, is_nonspacing_mark, is_punctuation};

const MAX_WORD_CHARS: usize = 100;

/// A vocabulary without one of the signs that the model needs.
#[derive(Debug, thiserror::Error)]
#[error("the vocabulary lacks {0}")]
pub(super) struct IncompleteVocabulary(&'static str);

/// Splits texts into ids.
pub(super) struct WordPiece {
    /// Pieces that begin a word, and (without their "##") those that go on.
    beginnings: HashMap<&'static str, i32>,
    continuations: HashMap<&'static str, i32>,
    unknown: i32,
    /// Stands before every sequence.
    pub(super) cls: i32,
    /// Stands after every sequence.
    pub(super) sep: i32,
}

impl WordPiece {
    /// `vocabulary`: one piece a line; the line's number, from 0, is its id.
    pub(super) fn new(vocabulary: &'static str) -> Result<Self, IncompleteVocabulary> {
        let mut beginnings = HashMap::new();
        let mut continuations = HashMap::new();
        for (id, piece) in (0..).zip(vocabulary.lines()) {
            match piece.strip_prefix("##") {
                Some(rest) if !rest.is_empty() => continuations.insert(rest, id),
                _ => beginnings.insert(piece, id),
            };
        }
        let sign = |name| beginnings.get(name).copied().ok_or(IncompleteVocabulary(name));
        let (unknown, cls, sep) = (sign("[UNK]")?, sign("[CLS]")?, sign("[SEP]")?);
        Ok(WordPiece { beginnings, continuations, unknown, cls, sep })
    }

    /// The ids of a text, without signs around them.
    pub(super) fn ids(&self, text: &str) -> Vec<i32> {
        let mut ids = Vec::new();
        let mut word = String::new();
        for c in simplified(text) {
            if c.is_whitespace() {
                self.close(&mut word, &mut ids);
            } else if stands_alone(c) {
                self.close(&mut word, &mut ids);
                word.push(c);
                self.close(&mut word, &mut ids);
            } else {
                word.push(c);
            }
        }
        self.close(&mut word, &mut ids);
        ids
    }

    fn close(&self, word: &mut String, ids: &mut Vec<i32>) {
        if !word.is_empty() {
            let before = ids.len();
            if word.chars().nth(MAX_WORD_CHARS).is_some() || !self.pieces(word, ids) {
                ids.truncate(before);
                ids.push(self.unknown);
            }
            word.clear();
        }
    }

    /// False when some part of the word is in no piece.
    fn pieces(&self, word: &str, ids: &mut Vec<i32>) -> bool {
        let mut rest = word;
        while !rest.is_empty() {
            let known = if rest.len() == word.len() { &self.beginnings } else { &self.continuations };
            let ends = rest.char_indices().rev().map(|(start, c)| start + c.len_utf8());
            let longest = ends.into_iter().find_map(|end| known.get(&rest[..end]).map(|id| (end, *id)));
            let Some((end, id)) = longest else {
                return false;
            };
            ids.push(id);
            rest = &rest[end..];
        }
        true
    }
}

fn simplified(text: &str) -> impl Iterator<Item = char> {
    let cleaned = text.chars().filter_map(|c| match c {
        '\u{FFFD}' => None,
        c if c.is_whitespace() && !is_invisible(c) => Some(' '),
        '\t' | '\n' | '\r' => Some(' '),
        c if is_invisible(c) => None,
        c => Some(c),
    });
    cleaned.nfd().filter(|c| !is_nonspacing_mark(*c)).flat_map(char::to_lowercase)
}

fn stands_alone(c: char) -> bool {
    c.is_ascii_punctuation() || (!c.is_ascii() && (is_cjk(c) || is_punctuation(c)))
}

fn is_cjk(c: char) -> bool {
    matches!(u32::from(c),
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x2A6DF
        | 0x2A700..=0x2CEAF | 0x2F800..=0x2FA1F)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/wordpiece.jsonl");

    #[test]
    fn every_golden_text_has_the_reference_s_ids() {
        let vocabulary = include_str!("../../../../assets/minilm/vocab.txt");
        let tokenizer = WordPiece::new(vocabulary).unwrap();
        let mut wrong = Vec::new();
        for line in GOLDEN.lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["text"].as_str().unwrap();
            let ours = tokenizer.ids(text);
            if serde_json::json!(ours) != case["ids"] {
                wrong.push(format!("{text:?}: {ours:?} instead of {}", case["ids"]));
            }
        }
        assert_eq!(GOLDEN.lines().count(), 106);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

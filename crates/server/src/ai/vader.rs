//! VADER: the rules of Hutto and Gilbert (2014) over their rated lexicon, as a library of one function.
//!
//! Written from the paper and from what is publicly known of the reference package, and checked against that package's
//! answers (`tests/golden/vader.tsv`, test below); where the two differ the reference's behaviour is kept, quirks
//! included. Linear in the text (n log n in the number of rated words of a text with "but").

mod words;

use std::collections::{BTreeSet, HashMap};

use tokio_util::sync::CancellationToken;

use super::{AiFailure, checkpoint};

const CAPITALS: f64 = 0.733;
const NEGATION: f64 = -0.74;
const EXCLAMATION: f64 = 0.292;
const QUESTION: f64 = 0.18;
const MANY_QUESTIONS: f64 = 0.96;
const ALPHA: f64 = 15.0;
/// What a booster counts for at one, two and three words before the rated word.
const FADING: [f64; 3] = [1.0, 0.95, 0.9];

/// What the rules say about a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Score {
    /// The sum of all ratings, brought into −1 to 1.
    pub(super) compound: f64,
    /// The sum of the ratings' sizes, emphasis included: how much feeling there is, whichever way.
    pub(super) magnitude: f64,
}

/// Rates a text.
pub(super) fn score(text: &str, cancel: &CancellationToken) -> Result<Score, AiFailure> {
    let text = spelled_out(text);
    checkpoint(cancel)?;
    let words = Words::read(text.trim());
    checkpoint(cancel)?;
    let mut ratings: Vec<f64> = (0..words.lower.len()).map(|index| words.rate(index)).collect();
    words.shift_at_but(&mut ratings);
    Ok(total(&ratings, emphasis(&text)))
}

/// The text with its emoji replaced by the words that stand for them.
fn spelled_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut after_space = true;
    for c in text.chars() {
        match words::emoji(c) {
            Some(description) => {
                if !after_space {
                    out.push(' ');
                }
                out.push_str(description);
                after_space = false;
            }
            None => {
                out.push(c);
                after_space = c == ' ';
            }
        }
    }
    out
}

fn emphasis(text: &str) -> f64 {
    let exclamations = text.bytes().filter(|b| *b == b'!').count().min(4) as f64;
    let questions = match text.bytes().filter(|b| *b == b'?').count() {
        0 | 1 => 0.0,
        few @ (2 | 3) => few as f64 * QUESTION,
        _ => MANY_QUESTIONS,
    };
    exclamations * EXCLAMATION + questions
}

fn total(ratings: &[f64], emphasis: f64) -> Score {
    let mut sum: f64 = ratings.iter().sum();
    let mut magnitude: f64 = ratings.iter().map(|rating| rating.abs()).sum();
    if sum != 0.0 {
        sum += emphasis.copysign(sum);
        magnitude += emphasis;
    }
    let compound = (sum / (sum * sum + ALPHA).sqrt()).clamp(-1.0, 1.0);
    Score { compound: rounded(compound), magnitude: rounded(magnitude) }
}

fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

/// A text as the rules see it.
struct Words {
    lower: Vec<String>,
    /// Written in capitals in a text where not everything is.
    shouted: Vec<bool>,
}

impl Words {
    fn read(text: &str) -> Self {
        let words: Vec<&str> = text.split_whitespace().map(bare).collect();
        let capitals: Vec<bool> = words.iter().map(|word| in_capitals(word)).collect();
        let mixed = capitals.contains(&true) && capitals.contains(&false);
        Words {
            lower: words.iter().map(|word| word.to_lowercase()).collect(),
            shouted: capitals.into_iter().map(|capital| capital && mixed).collect(),
        }
    }

    /// The word `back` places before `index`, or "".
    fn before(&self, index: usize, back: usize) -> &str {
        index.checked_sub(back).map_or("", |at| &self.lower[at])
    }

    fn after(&self, index: usize) -> &str {
        self.lower.get(index + 1).map_or("", String::as_str)
    }

    /// The rating of one word with everything that stands around it; 0 for a word without one.
    fn rate(&self, index: usize) -> f64 {
        let word = self.lower[index].as_str();
        let kind_of = word == "kind" && self.after(index) == "of";
        if kind_of || words::booster(word).is_some() {
            return 0.0;
        }
        let Some(listed) = words::rating(word) else {
            return 0.0;
        };
        let mut rating = self.with_no(index, listed);
        if self.shouted[index] {
            rating += CAPITALS.copysign(if rating > 0.0 { 1.0 } else { -1.0 });
        }
        for back in 1..=3 {
            if back > index || words::rating(self.before(index, back)).is_some() {
                continue;
            }
            rating += self.boost(index - back, rating) * FADING[back - 1];
            rating = self.negated(index, back, rating);
            if back == 3 {
                rating = self.with_phrases(index, rating);
            }
        }
        self.with_least(index, rating)
    }

    /// "no" has a rating of its own, except before a rated word, which it turns round instead.
    fn with_no(&self, index: usize, listed: f64) -> f64 {
        let before = |back| self.before(index, back);
        let follows_no =
            before(1) == "no" || before(2) == "no" || (before(3) == "no" && matches!(before(1), "or" | "nor"));
        if follows_no {
            listed * NEGATION
        } else if self.lower[index] == "no" && words::rating(self.after(index)).is_some() {
            0.0
        } else {
            listed
        }
    }

    fn boost(&self, at: usize, rating: f64) -> f64 {
        let Some(boost) = words::booster(&self.lower[at]) else {
            return 0.0;
        };
        let sign = if rating < 0.0 { -1.0 } else { 1.0 };
        let capitals = match self.shouted[at] {
            true if rating > 0.0 => CAPITALS,
            true => -CAPITALS,
            false => 0.0,
        };
        boost * sign + capitals
    }

    fn negated(&self, index: usize, back: usize, rating: f64) -> f64 {
        let negation = self.before(index, back);
        let between = |wanted: &str| (1..back).any(|b| self.before(index, b) == wanted);
        let straight = |b| matches!(self.before(index, b), "so" | "this");
        // "never so good". Three words back the reference asks for "never" only where the "so" is not
        // next to the rated word.
        let praised = match back {
            1 => false,
            2 => negation == "never" && straight(1),
            _ => (negation == "never" && straight(2)) || straight(1),
        };
        if praised {
            rating * 1.25
        } else if negation == "without" && between("doubt") {
            rating
        } else if words::negates(negation) {
            rating * NEGATION
        } else {
            rating
        }
    }

    /// Phrases whose rating is not that of their words.
    fn with_phrases(&self, index: usize, rating: f64) -> f64 {
        let [three, two, one] = [3, 2, 1].map(|back| self.before(index, back));
        let word = self.lower[index].as_str();
        let ending = [
            format!("{one} {word}"),
            format!("{two} {one} {word}"),
            format!("{two} {one}"),
            format!("{three} {two} {one}"),
            format!("{three} {two}"),
        ];
        let mut rating = ending.iter().find_map(|p| words::phrase(p)).unwrap_or(rating);
        let next = self.after(index);
        let beginning = [format!("{word} {next}"), format!("{word} {next} {}", self.after(index + 1))];
        for phrase in beginning {
            rating = words::phrase(&phrase).unwrap_or(rating);
        }
        let boosters = [format!("{three} {two} {one}"), format!("{three} {two}"), format!("{two} {one}")];
        rating + boosters.iter().filter_map(|p| words::booster(p)).sum::<f64>()
    }

    fn with_least(&self, index: usize, rating: f64) -> f64 {
        let least = self.before(index, 1) == "least" && words::rating("least").is_none();
        if least && !matches!(self.before(index, 2), "at" | "very") { rating * NEGATION } else { rating }
    }

    /// What stands before the first "but" counts half, what stands after it half as much again.
    ///
    /// The reference finds a rating's place by its value, so of equal ratings the first is changed
    /// each time. That is kept, without its quadratic search.
    fn shift_at_but(&self, ratings: &mut [f64]) {
        let Some(but) = self.lower.iter().position(|word| word == "but") else {
            return;
        };
        let mut places: HashMap<u64, BTreeSet<usize>> = HashMap::new();
        for (place, rating) in ratings.iter().enumerate().filter(|(_, rating)| **rating != 0.0) {
            places.entry(rating.to_bits()).or_default().insert(place);
        }
        for turn in 0..ratings.len() {
            let value = ratings[turn];
            let equal = places.get_mut(&value.to_bits());
            let Some(first) = equal.and_then(BTreeSet::pop_first) else {
                continue;
            };
            let changed = match first.cmp(&but) {
                std::cmp::Ordering::Less => value * 0.5,
                std::cmp::Ordering::Equal => value,
                std::cmp::Ordering::Greater => value * 1.5,
            };
            ratings[first] = changed;
            places.entry(changed.to_bits()).or_default().insert(first);
        }
    }
}

/// A word without the punctuation around it; emoticons, which would be left with nothing, stay whole.
fn bare(word: &str) -> &str {
    let inner = word.trim_matches(|c: char| c.is_ascii_punctuation());
    if inner.chars().nth(2).is_none() { word } else { inner }
}

/// As Python's `isupper`: some letter has case and none is other than upper case.
fn in_capitals(word: &str) -> bool {
    let mut upper = false;
    for c in word.chars() {
        if c.is_lowercase() || is_title_case(c) {
            return false;
        }
        upper |= c.is_uppercase();
    }
    upper
}

/// Digraphs such as "ǅ" change under both mappings.
fn is_title_case(c: char) -> bool {
    !c.is_ascii() && !c.is_uppercase() && c.to_lowercase().next() != Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../../tests/golden/vader.tsv");

    #[test]
    fn every_golden_text_scores_as_in_the_reference() {
        let cancel = CancellationToken::new();
        let mut texts = 0;
        for line in GOLDEN.lines() {
            let (expected, text) = line.split_once('\t').unwrap();
            let expected: f64 = expected.parse().unwrap();
            let ours = score(text, &cancel).unwrap().compound;
            assert!((ours - expected).abs() < 1e-3, "{ours} instead of {expected}: {text}");
            texts += 1;
        }
        assert_eq!(texts, 520);
    }

    #[test]
    fn a_canceled_text_is_not_scored() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        assert_eq!(score("good", &cancel).unwrap_err().code, "canceled");
    }
}

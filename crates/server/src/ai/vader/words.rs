//! The tables that the rules of VADER look words up in: the lexicon and emoji files as published, and
//! the short word lists of the method.

use std::collections::HashMap;
use std::sync::LazyLock;

static LEXICON_FILE: &str = include_str!("../../../../../assets/vader/vader_lexicon.txt");
static EMOJI_FILE: &str = include_str!("../../../../../assets/vader/emoji_utf8_lexicon.txt");

static LEXICON: LazyLock<HashMap<&str, f64>> = LazyLock::new(|| {
    LEXICON_FILE
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            Some((columns.next()?, columns.next()?.parse().ok()?))
        })
        .collect()
});

/// One-character emoji only: longer sequences are read character by character, as the method does.
static EMOJI: LazyLock<HashMap<char, &str>> = LazyLock::new(|| {
    EMOJI_FILE
        .lines()
        .filter_map(|line| {
            let (emoji, words) = line.split_once('\t')?;
            let mut chars = emoji.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => Some((only, words)),
                _ => None,
            }
        })
        .collect()
});

/// The mean rating of a lower-case word or emoticon, −4 to 4.
pub(super) fn rating(word: &str) -> Option<f64> {
    LEXICON.get(word).copied()
}

/// The words that stand for an emoji.
pub(super) fn emoji(c: char) -> Option<&'static str> {
    if c.is_ascii() { None } else { EMOJI.get(&c).copied() }
}

const MORE: f64 = 0.293;
const LESS: f64 = -0.293;

/// By how much a word strengthens (or weakens) the rated word after it.
pub(super) fn booster(word: &str) -> Option<f64> {
    match word {
        "absolutely" | "amazingly" | "awfully" | "completely" | "considerable" | "considerably" | "decidedly"
        | "deeply" | "effing" | "enormous" | "enormously" | "entirely" | "especially" | "exceptional"
        | "exceptionally" | "extreme" | "extremely" | "fabulously" | "flippin" | "flipping" | "frackin"
        | "fracking" | "frickin" | "fricking" | "friggin" | "frigging" | "fuckin" | "fucking" | "fuggin"
        | "fugging" | "fully" | "greatly" | "hella" | "highly" | "hugely" | "incredible" | "incredibly"
        | "intensely" | "major" | "majorly" | "more" | "most" | "particularly" | "purely" | "quite" | "really"
        | "remarkably" | "so" | "substantially" | "thoroughly" | "total" | "totally" | "tremendous"
        | "tremendously" | "uber" | "unbelievably" | "unusually" | "utter" | "utterly" | "very" => Some(MORE),
        "almost" | "barely" | "hardly" | "just enough" | "kind of" | "kind-of" | "kinda" | "kindof" | "less"
        | "little" | "marginal" | "marginally" | "occasional" | "occasionally" | "partly" | "scarce" | "scarcely"
        | "slight" | "slightly" | "somewhat" | "sort of" | "sort-of" | "sorta" | "sortof" => Some(LESS),
        _ => None,
    }
}

/// Whether a lower-case word turns what follows into its contrary.
pub(super) fn negates(word: &str) -> bool {
    word.contains("n't")
        || matches!(
            word,
            "aint"
                | "arent"
                | "cannot"
                | "cant"
                | "couldnt"
                | "darent"
                | "despite"
                | "didnt"
                | "doesnt"
                | "dont"
                | "hadnt"
                | "hasnt"
                | "havent"
                | "isnt"
                | "mightnt"
                | "mustnt"
                | "neednt"
                | "neither"
                | "never"
                | "none"
                | "nope"
                | "nor"
                | "not"
                | "nothing"
                | "nowhere"
                | "oughtnt"
                | "rarely"
                | "seldom"
                | "shant"
                | "shouldnt"
                | "uh-uh"
                | "uhuh"
                | "wasnt"
                | "werent"
                | "without"
                | "wont"
                | "wouldnt"
        )
}

/// The fixed rating of a phrase.
pub(super) fn phrase(words: &str) -> Option<f64> {
    match words {
        "the shit" => Some(3.0),
        "the bomb" => Some(3.0),
        "bad ass" => Some(1.5),
        "badass" => Some(1.5),
        "bus stop" => Some(0.0),
        "yeah right" => Some(-2.0),
        "kiss of death" => Some(-1.5),
        "to die for" => Some(3.0),
        "beating heart" => Some(3.5),
        _ => None,
    }
}

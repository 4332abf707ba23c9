//! Which language a text is in, as a BCP 47 tag.

use whatlang::{Detector, Lang};

/// Enough for a decision; a longer text is judged by its beginning.
const READ_BYTES: usize = 8 * 1024;

/// Said of a text whose language cannot be told (BCP 47's own word for it).
pub(super) const UNDETERMINED: &str = "und";

/// A language and whether it is more than a guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Guess {
    pub(super) tag: &'static str,
    pub(super) reliable: bool,
}

/// The text's language, or [`UNDETERMINED`].
pub(super) fn detect(text: &str) -> &'static str {
    guess(text).map_or(UNDETERMINED, |guess| guess.tag)
}

/// The text's language: by its small words where they are plain, else by its letters.
///
/// Letter statistics are weak on a line or two, where one "the" says more.
pub(super) fn guess(text: &str) -> Option<Guess> {
    let text = beginning(text);
    if let Some(tag) = by_small_words(text) {
        return Some(Guess { tag, reliable: true });
    }
    let info = Detector::new().detect(text)?;
    Some(Guess { tag: tag(info.lang()), reliable: info.is_reliable() })
}

/// The most likely of `tags` by letters alone; tags that are not known here are passed over.
pub(super) fn likeliest_of(text: &str, tags: &[String]) -> Option<&'static str> {
    let wanted = |lang: &Lang| tags.iter().any(|other| other == tag(*lang));
    let known: Vec<Lang> = Lang::all().iter().copied().filter(wanted).collect();
    Detector::with_allowlist(known).detect_lang(beginning(text)).map(tag)
}

/// The shortest tag for a two- or three-letter language code: "eng" is "en". A code that has none, or
/// is not known here, stays as it is.
pub(super) fn shortest(code: &str) -> String {
    let code = code.to_ascii_lowercase();
    let lang = Lang::all().iter().find(|lang| lang.code() == code);
    let more = MORE_CODES.iter().find(|(long, _)| *long == code);
    lang.map(|lang| tag(*lang)).or(more.map(|(_, short)| *short)).map_or(code, str::to_owned)
}

/// Languages that can be translated though not detected.
const MORE_CODES: &[(&str, &str)] = &[
    ("arg", "an"),
    ("bre", "br"),
    ("eus", "eu"),
    ("fao", "fo"),
    ("gla", "gd"),
    ("gle", "ga"),
    ("glg", "gl"),
    ("hbs", "sh"),
    ("isl", "is"),
    ("kaz", "kk"),
    ("mlt", "mt"),
    ("msa", "ms"),
    ("nno", "nn"),
    ("oci", "oc"),
    ("sme", "se"),
    ("srd", "sc"),
    ("tat", "tt"),
];

const SMALL_WORDS: &[(&str, &str)] = &[
    ("en", " the and of to is are was you that this with for how what have it be from at my your we they "),
    ("es", " el los las una y es está que por para con como qué muy pero mi su del al lo cuando hola "),
    ("fr", " le les des une et est dans que qui pour avec vous nous sur pas ce cette au du je il elle "),
    ("de", " der die das und ist nicht ein eine mit für auf ich sie wir zu den dem von wie auch es "),
    ("it", " il gli una e è che di per con sono non della del nel ma come anche più questo mi ciao "),
    ("pt", " o os as uma e é que para com não em do da dos das no na mas como você eu muito "),
    ("nl", " de het een en is van niet ik je dat die op te met voor zijn maar ook wat hoe "),
    ("ca", " el els les una i és que amb per no del al però com molt aquest aquesta són "),
];

/// The language whose small words are clearly ahead: at least twice as many as of any other.
fn by_small_words(text: &str) -> Option<&'static str> {
    let mut counts = [0usize; SMALL_WORDS.len()];
    for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
        let word = format!(" {} ", word.to_lowercase());
        for ((_, small), count) in SMALL_WORDS.iter().zip(&mut counts) {
            *count += usize::from(small.contains(&word));
        }
    }
    let (best, most) = counts.iter().enumerate().max_by_key(|(_, count)| **count)?;
    let next = counts.iter().enumerate().filter(|(place, _)| *place != best).map(|(_, n)| *n).max()?;
    (*most > 0 && *most >= 2 * next).then(|| SMALL_WORDS[best].0)
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(READ_BYTES)]
}

fn tag(lang: Lang) -> &'static str {
    match lang {
        Lang::Afr => "af",
        Lang::Aka => "ak",
        Lang::Amh => "am",
        Lang::Ara => "ar",
        Lang::Aze => "az",
        Lang::Bel => "be",
        Lang::Ben => "bn",
        Lang::Bul => "bg",
        Lang::Cat => "ca",
        Lang::Ces => "cs",
        Lang::Cmn => "zh",
        Lang::Cym => "cy",
        Lang::Dan => "da",
        Lang::Deu => "de",
        Lang::Ell => "el",
        Lang::Eng => "en",
        Lang::Epo => "eo",
        Lang::Est => "et",
        Lang::Fin => "fi",
        Lang::Fra => "fr",
        Lang::Guj => "gu",
        Lang::Heb => "he",
        Lang::Hin => "hi",
        Lang::Hrv => "hr",
        Lang::Hun => "hu",
        Lang::Hye => "hy",
        Lang::Ind => "id",
        Lang::Ita => "it",
        Lang::Jav => "jv",
        Lang::Jpn => "ja",
        Lang::Kan => "kn",
        Lang::Kat => "ka",
        Lang::Khm => "km",
        Lang::Kor => "ko",
        Lang::Lat => "la",
        Lang::Lav => "lv",
        Lang::Lit => "lt",
        Lang::Mal => "ml",
        Lang::Mar => "mr",
        Lang::Mkd => "mk",
        Lang::Mya => "my",
        Lang::Nep => "ne",
        Lang::Nld => "nl",
        Lang::Nob => "nb",
        Lang::Ori => "or",
        Lang::Pan => "pa",
        Lang::Pes => "fa",
        Lang::Pol => "pl",
        Lang::Por => "pt",
        Lang::Ron => "ro",
        Lang::Rus => "ru",
        Lang::Sin => "si",
        Lang::Slk => "sk",
        Lang::Slv => "sl",
        Lang::Sna => "sn",
        Lang::Spa => "es",
        Lang::Srp => "sr",
        Lang::Swe => "sv",
        Lang::Tam => "ta",
        Lang::Tel => "te",
        Lang::Tgl => "tl",
        Lang::Tha => "th",
        Lang::Tuk => "tk",
        Lang::Tur => "tr",
        Lang::Ukr => "uk",
        Lang::Urd => "ur",
        Lang::Uzb => "uz",
        Lang::Vie => "vi",
        Lang::Yid => "yi",
        Lang::Zul => "zu",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_have_their_shortest_tag() {
        assert_eq!(detect("The weather is lovely today and we are going to the park."), "en");
        assert_eq!(detect("El tiempo es muy bueno hoy y vamos a ir al parque."), "es");
        assert_eq!(detect("今天天气很好，我们去公园。"), "zh");
        assert_eq!(detect("12345 !!! 😀"), UNDETERMINED);
        assert_eq!(detect("Hello, how are you today?"), "en");
        assert_eq!(detect("¿Dónde está la biblioteca?"), "es");
        let tags = ["en".to_owned(), "de".to_owned(), "xx".to_owned()];
        assert_eq!(likeliest_of("Straßenbahnhaltestelle", &tags), Some("de"));
        assert_eq!(shortest("ENG") + &shortest("glg") + &shortest("xx"), "englxx");
    }
}

//! TRANSLATE: Apertium, an external program, where it is installed. Never a pretended translation.
//!
//! Which language pair to use is decided here from what the program offers; the program itself is run
//! in `translate/program.rs`.

mod program;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{AiConfig, AiFailure, Draft, TranslateInput, language};
use program::{Program, ProgramError};

/// A language pair as the program names it ("spa-eng_US") and as BCP 47 tags.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    mode: String,
    from: String,
    to: String,
    region: Option<String>,
}

impl Pair {
    /// `None` for modes that are no pair.
    fn read(mode: &str) -> Option<Self> {
        let (from, to) = mode.split_once('-').filter(|(_, to)| !to.contains('-'))?;
        let (to, region) = match to.split_once('_') {
            Some((to, region)) => (to, Some(region.to_owned())),
            None => (to, None),
        };
        let from = from.split('_').next().unwrap_or(from);
        let (from, to) = (language::shortest(from), language::shortest(to));
        Some(Pair { mode: mode.to_owned(), from, to, region })
    }

    fn target(&self) -> String {
        match &self.region {
            Some(region) => format!("{}-{region}", self.to),
            None => self.to.clone(),
        }
    }
}

/// What is to be translated, and how.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pair: Pair,
    text: String,
}

/// Chooses the pair, detecting the text's language where the caller did not say it.
pub(super) fn plan(input: TranslateInput, pairs: &[Pair]) -> Result<Plan, AiFailure> {
    let (to, region) = parts(&input.to);
    let from = match &input.from {
        Some(tag) => parts(tag).0,
        None => detected(&input.text, &to, pairs)?,
    };
    if from == to {
        let message = format!("The text is in the target language already (\"{to}\").");
        return Err(AiFailure::fatal("same-language", message));
    }
    let fitting = || pairs.iter().filter(|pair| pair.from == from && pair.to == to);
    let same_region = |pair: &&Pair| {
        pair.region.as_deref().map(str::to_ascii_lowercase) == region.as_deref().map(str::to_ascii_lowercase)
    };
    let pair = fitting()
        .find(same_region)
        .or_else(|| fitting().find(|pair| pair.region.is_none()))
        .or_else(|| fitting().next())
        .ok_or_else(|| no_pair(&from, &to, pairs))?;
    Ok(Plan { pair: pair.clone(), text: input.text })
}

/// The language and the region of a tag: "pt-BR" is ("pt", "BR").
fn parts(tag: &str) -> (String, Option<String>) {
    let mut parts = tag.split('-');
    let language = language::shortest(parts.next().unwrap_or_default());
    let region = parts.find(|part| part.len() == 2).map(str::to_owned);
    (language, region)
}

/// A guess that no pair can use is believed only when it is a sure one.
fn detected(text: &str, to: &str, pairs: &[Pair]) -> Result<String, AiFailure> {
    let sources: Vec<String> = pairs.iter().filter(|pair| pair.to == to).map(|pair| pair.from.clone()).collect();
    let guess = language::guess(text);
    if let Some(guess) = guess {
        let usable = sources.iter().any(|source| source == guess.tag);
        if guess.reliable || usable {
            return Ok(guess.tag.to_owned());
        }
    }
    let likeliest = language::likeliest_of(text, &sources).or(guess.map(|guess| guess.tag));
    likeliest.map(str::to_owned).ok_or_else(|| {
        let message = "The text's language cannot be told; name it in `from`.";
        AiFailure::fatal("language-undetermined", message)
    })
}

fn no_pair(from: &str, to: &str, pairs: &[Pair]) -> AiFailure {
    const SHOWN: usize = 40;
    let known: Vec<&str> = pairs.iter().take(SHOWN).map(|pair| pair.mode.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!(
        "Apertium has no language pair from \"{from}\" to \"{to}\" here. Installed: {known}. \
         More come with packages such as `apertium-eng-spa` (`apt-cache search apertium-`)."
    );
    AiFailure::fatal("translation-unavailable", message)
}

/// The installed program, with its limits.
pub(super) struct Translator {
    program: Program,
}

impl Translator {
    pub(super) fn new(config: &AiConfig) -> Self {
        Translator { program: Program::new(config) }
    }

    /// The pairs that are installed now. Asked for each job, so that a new one needs no restart.
    pub(super) async fn pairs(&self, cancel: &CancellationToken) -> Result<Vec<Pair>, AiFailure> {
        let list = self.program.run(&["-l"], String::new(), cancel).await.map_err(failure)?;
        Ok(list.split_whitespace().filter_map(Pair::read).collect())
    }

    pub(super) async fn run(&self, plan: Plan, cancel: &CancellationToken) -> Result<Draft, AiFailure> {
        // Plain text in and out: the program's own deformatter protects what its stream format
        // reserves. `-u`: words that it does not know stay as they are, without a mark.
        let options = ["-u", "-f", "txt", &plan.pair.mode];
        let translation = self.program.run(&options, plan.text, cancel).await.map_err(failure)?;
        Ok(Draft {
            output: json!({
                "translation": translation,
                "sourceLanguage": plan.pair.from,
                "targetLanguage": plan.pair.target(),
                "method": "apertium",
            }),
            written: vec![translation],
            model: format!("apertium-{}", plan.pair.mode),
        })
    }
}

fn failure(error: ProgramError) -> AiFailure {
    match error {
        ProgramError::Missing => AiFailure::fatal(
            "translation-unavailable",
            "Translation needs Apertium, which is not installed here, so there is no language pair. \
             To enable it: `apt-get install apertium apertium-eng-spa` (one package for each pair of \
             languages), then send the job again.",
        ),
        ProgramError::Canceled => AiFailure::canceled(),
        ProgramError::TimedOut(limit) => AiFailure::passing(
            "translation-timeout",
            format!("The translation took more than {} s and was stopped.", limit.as_secs()),
        ),
        ProgramError::TooLong => {
            AiFailure::fatal("translation-failed", "The translation program wrote far more than a translation can be.")
        }
        error => {
            tracing::warn!(error = &error as &dyn std::error::Error, "apertium failed");
            AiFailure::passing("translation-failed", "The translation program failed.")
        }
    }
}

#[cfg(test)]
mod tests;

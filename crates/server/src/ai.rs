//! Text jobs, done inside this process and without a network: the local provider.
//!
//! One front ([`Ai`]) for five processors. It checks an input ([`check`]), runs it on its own bounded
//! threads and answers output and usage, or a failure that says whether another try can help.
//! This room knows nothing of queues, databases or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod pool;
mod tokens;

mod classify;
mod embed;
mod extract;
mod input;
mod language;
mod sentences;
mod sentiment;
mod summarize;
mod translate;
mod vader;
mod wordpiece;

pub use check::{Fault, MAX_TEXT_CHARS, check};
pub use input::{
    Categories, ClassifyInput, EntityType, ExtractInput, Input, SentimentInput, SummarizeInput, TranslateInput,
};

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use pool::{Pool, PoolError};

/// The kinds of text job. The stored and printed names are those of [`JobType::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobType {
    /// Shorten a text by choosing its most telling sentences.
    Summarize,
    /// Choose the label that fits a text.
    Classify,
    /// Say whether a text is positive, negative or neutral.
    Sentiment,
    /// Put a text into another language.
    Translate,
    /// Find addresses, dates, amounts and names in a text.
    Extract,
}

impl JobType {
    /// Every kind, in the order of the documents.
    pub const ALL: [JobType; 5] =
        [JobType::Summarize, JobType::Classify, JobType::Sentiment, JobType::Translate, JobType::Extract];

    /// The name on the wire and in the database, e.g. `SUMMARIZE`.
    pub fn as_str(self) -> &'static str {
        match self {
            JobType::Summarize => "SUMMARIZE",
            JobType::Classify => "CLASSIFY",
            JobType::Sentiment => "SENTIMENT",
            JobType::Translate => "TRANSLATE",
            JobType::Extract => "EXTRACT",
        }
    }
}

impl std::fmt::Display for JobType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the exact upper-case name of a job type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the job type must be one of SUMMARIZE, CLASSIFY, SENTIMENT, TRANSLATE, EXTRACT")]
pub struct UnknownJobType;

impl std::str::FromStr for JobType {
    type Err = UnknownJobType;

    fn from_str(name: &str) -> Result<Self, UnknownJobType> {
        JobType::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(UnknownJobType)
    }
}

/// How the local provider is set up.
#[derive(Debug, Clone)]
pub struct AiConfig {
    /// Threads that compute; at least one is started.
    pub threads: usize,
    /// Tasks that may wait for a thread. Callers beyond that wait in [`Ai::run`], without a place.
    pub queue: usize,
    /// The translation program; `None` looks for `apertium` on `PATH`.
    pub apertium: Option<PathBuf>,
    /// Translation programs that may run at the same time.
    pub translations: usize,
    /// How long one translation may take before its program is killed.
    pub translation_timeout: Duration,
}

impl Default for AiConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        AiConfig {
            threads: cores.clamp(1, 8),
            queue: 64,
            apertium: None,
            translations: 2,
            translation_timeout: Duration::from_secs(60),
        }
    }
}

/// What a job gave and what it used.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The output object of the job type.
    pub output: Value,
    /// What the run used.
    pub usage: Usage,
}

/// The figures that are billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// Tokens (o200k) of the input's texts.
    pub input_tokens: u64,
    /// Tokens (o200k) of the output's texts.
    pub output_tokens: u64,
    /// Who did the work: `local`.
    pub provider: String,
    /// What did the work.
    pub model: String,
    /// Price in millionths of the currency unit: 0 for the local provider.
    pub cost_micros: i64,
}

/// Why a job gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AiFailure {
    /// Stable, for programs: `invalid-input`, `canceled`, `translation-unavailable`, …
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Whether the same job may go well on another try.
    pub retryable: bool,
}

impl AiFailure {
    /// A failure that another try cannot cure.
    fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        AiFailure { code, message: message.into(), retryable: false }
    }

    /// A failure that another try may cure.
    fn passing(code: &'static str, message: impl Into<String>) -> Self {
        AiFailure { code, message: message.into(), retryable: true }
    }

    fn canceled() -> Self {
        AiFailure::passing("canceled", "The job was told to stop before it had an answer.")
    }
}

/// What a processor hands back: the output object and the texts in it that count as written tokens.
struct Draft {
    output: Value,
    written: Vec<String>,
    model: String,
}

/// The processors. Cheap to clone: clones share threads, model and limits. The threads end when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Ai {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    classifier: Arc<OnceLock<classify::Loaded>>,
    threads: usize,
    translator: translate::Translator,
}

impl Ai {
    /// Starts the threads. The model is loaded by the first job that needs it.
    pub fn new(config: AiConfig) -> Self {
        let shared = Shared {
            pool: Pool::new(config.threads, config.queue),
            classifier: Arc::default(),
            threads: config.threads,
            translator: translate::Translator::new(&config),
        };
        Ai { shared: Arc::new(shared) }
    }

    /// Does one job. `cancel` is looked at between stages: the future ends at once, the thread at its
    /// next stage. A panic inside a processor is a retryable failure with the code `processor-panic`.
    pub async fn run(&self, job: JobType, input: &Value, cancel: &CancellationToken) -> Result<Answer, AiFailure> {
        let input = typed(job, input)?;
        if let Input::Translate(input) = input {
            return self.translate(input, cancel).await;
        }
        let classifier = self.shared.classifier.clone();
        let threads = self.shared.threads;
        let token = cancel.clone();
        self.compute(cancel, move || {
            let draft = match &input {
                Input::Summarize(input) => summarize::run(input, &token),
                Input::Classify(input) => classify::run(input, &classifier, threads, &token),
                Input::Sentiment(input) => sentiment::run(input, &token),
                Input::Extract(input) => extract::run(input, &token),
                Input::Translate(_) => {
                    Err(AiFailure::fatal("invalid-input", "A translation does not run on the computing threads."))
                }
            }?;
            answer(input.texts(), draft, &token)
        })
        .await
    }

    /// Translation waits for another program; only its own computing goes to the threads.
    async fn translate(&self, input: TranslateInput, cancel: &CancellationToken) -> Result<Answer, AiFailure> {
        let text = input.text.clone();
        let pairs = self.shared.translator.pairs(cancel).await?;
        let plan = self.compute(cancel, move || translate::plan(input, &pairs)).await?;
        let draft = self.shared.translator.run(plan, cancel).await?;
        let token = cancel.clone();
        self.compute(cancel, move || answer(vec![&text], draft, &token)).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        cancel: &CancellationToken,
        work: impl FnOnce() -> Result<T, AiFailure> + Send + 'static,
    ) -> Result<T, AiFailure> {
        if cancel.is_cancelled() {
            return Err(AiFailure::canceled());
        }
        let done = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(AiFailure::canceled()),
            done = self.shared.pool.run(work) => done,
        };
        match done {
            Ok(result) => result,
            // What it said is the panic hook's to tell: it may quote the text.
            Err(PoolError::Panicked(_)) => {
                tracing::error!("a text processor panicked");
                Err(AiFailure::passing("processor-panic", "The processor failed inside."))
            }
            Err(PoolError::Closed) => {
                Err(AiFailure::passing("processor-stopped", "The processors' threads have stopped."))
            }
        }
    }
}

/// Stored inputs are checked again: what runs is never less strict than what was accepted.
fn typed(job: JobType, input: &Value) -> Result<Input, AiFailure> {
    let Value::Object(fields) = input else {
        return Err(AiFailure::fatal("invalid-input", "The input must be a JSON object."));
    };
    check(job, fields).map_err(|faults| {
        let first = faults.first().map_or(String::new(), |fault| format!("{}: {}", fault.pointer, fault.message));
        AiFailure::fatal("invalid-input", first)
    })
}

fn answer(texts: Vec<&str>, draft: Draft, token: &CancellationToken) -> Result<Answer, AiFailure> {
    let input_tokens = tokens::count(texts.into_iter(), token)?;
    let output_tokens = tokens::count(draft.written.iter().map(String::as_str), token)?;
    let usage = Usage { input_tokens, output_tokens, provider: "local".to_owned(), model: draft.model, cost_micros: 0 };
    Ok(Answer { output: draft.output, usage })
}

/// Between two stages of a processor.
fn checkpoint(cancel: &CancellationToken) -> Result<(), AiFailure> {
    if cancel.is_cancelled() { Err(AiFailure::canceled()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;

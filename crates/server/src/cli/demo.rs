//! `demo`: everything once, with nothing to set up. A server on a free port with a temporary data
//! directory, one job of each type over HTTP, each change of status, a table of results.

use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::client::{As, Client};
use super::output::{Stop, plain};
use super::table::{table, wrap};
use super::{Context, input, logs, serve};
use crate::ai::JobType;
use crate::app;
use crate::config::{self, Config, LogFormat, Logging, Settings};

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// All five jobs together; loading the model on a slow machine takes most of it.
const ENDED_WITHIN: Duration = Duration::from_secs(180);
/// TYPE, STATUS, RESULT, TOKENS, TIME: 96 columns with the spaces between.
const WIDTHS: [usize; 5] = [9, 9, 56, 6, 8];
/// Longer results are cut in the table; the job object has them whole.
const SHOWN_CHARS: usize = 330;

/// Flags of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// A text of yours for all five jobs, instead of the built-in ones
    #[arg(long, value_name = "FILE")]
    text: Option<String>,
}

/// A job of the demo and what has been seen of it.
struct Shown {
    kind: JobType,
    id: String,
    seen: Vec<String>,
    job: Value,
}

/// `launchkit demo`
pub(super) async fn demo(context: &Context, args: &DemoArgs) -> Result<(), Stop> {
    let filter = context.settings.get("RUST_LOG").unwrap_or("error").to_owned();
    logs::init(&Logging { format: LogFormat::Text, filter, file: None })?;
    let text = args.text.as_deref().map(input::read).transpose()?;
    let dir =
        tempfile::tempdir().map_err(|error| Stop::Failed(format!("cannot make a temporary directory: {error}")))?;
    let config = private_config(dir.path())?;
    let stop = CancellationToken::new();
    let (ready, started) = oneshot::channel();
    let server = tokio::spawn(app::serve(config, stop.clone(), ready));
    let shown = match started.await {
        Ok(started) => play(context, &started, text.as_deref()).await,
        // The reason is what the server ends with.
        Err(_) => Ok(Vec::new()),
    };
    stop.cancel();
    let served = server.await.map_err(|error| Stop::Failed(format!("the server went down: {error}")))?;
    served.map_err(serve::stopped)?;
    conclude(context, &shown?)
}

/// Settings of nobody but the demo: the user's own environment must not send it to a shared store.
fn private_config(dir: &std::path::Path) -> Result<Config, Stop> {
    let flags = [
        ("LAUNCHKIT_DATA_DIR", Some(dir.join("data").display().to_string())),
        ("HOST", Some("127.0.0.1".to_owned())),
        ("PORT", Some("0".to_owned())),
        ("SHUTDOWN_GRACE", Some("5s".to_owned())),
    ];
    let settings = Settings::load(&flags, [], dir).map_err(|error| Stop::Failed(error.to_string()))?;
    Ok(Config::from_settings(&settings)?)
}

async fn play(context: &Context, started: &app::Started, text: Option<&str>) -> Result<Vec<Shown>, Stop> {
    let Some(first) = &started.first_key else {
        return Err(Stop::Failed("the fresh server made no API key".to_owned()));
    };
    let api_key: SecretString = first.key.clone();
    let client = Client::new(config::Client { url: started.url.clone(), api_key: Some(api_key), token: None })?;
    context
        .out
        .say(&format!("Server on {} with a temporary data directory. Sending one job of each type.\n", started.url));
    let mut jobs = Vec::new();
    for kind in JobType::ALL {
        let path = format!("/v1/jobs/{}", kind.as_str().to_ascii_lowercase());
        let job = client.post(&path, Some(&body(kind, text)), As::Caller).await?;
        let mut shown = Shown { kind, id: plain(&job["id"]), seen: Vec::new(), job };
        shown.tell(context);
        jobs.push(shown);
    }
    match tokio::time::timeout(ENDED_WITHIN, follow(context, &client, &mut jobs)).await {
        Ok(followed) => followed?,
        Err(_) => context.out.say(&format!("\nNot all jobs have ended within {} seconds.", ENDED_WITHIN.as_secs())),
    }
    Ok(jobs)
}

async fn follow(context: &Context, client: &Client, jobs: &mut [Shown]) -> Result<(), Stop> {
    while jobs.iter().any(|job| !job.ended()) {
        tokio::time::sleep(LOOK_EVERY).await;
        for shown in jobs.iter_mut().filter(|job| !job.ended()) {
            shown.job = client.get(&format!("/v1/jobs/{}", shown.id), As::Caller).await?;
            shown.tell(context);
        }
    }
    Ok(())
}

impl Shown {
    fn ended(&self) -> bool {
        matches!(self.job["status"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELED"))
    }

    fn succeeded(&self) -> bool {
        self.job["status"] == "SUCCEEDED"
    }

    /// Translation needs a program that may not be there; the service says so and does not pretend.
    fn lacks_translation(&self) -> bool {
        self.kind == JobType::Translate && self.job["error"]["code"] == "translation-unavailable"
    }

    /// Prints the changes since the last look. A job may begin and end between two looks: that it
    /// was PROCESSING is then known from its `startedAt`.
    fn tell(&mut self, context: &Context) {
        let mut changes = vec![plain(&self.job["status"])];
        if self.ended() && self.job["startedAt"].is_string() {
            changes.insert(0, "PROCESSING".to_owned());
        }
        for change in changes {
            if self.seen.contains(&change) {
                continue;
            }
            let when = match change.as_str() {
                "QUEUED" => String::new(),
                "PROCESSING" => since(&self.job, "startedAt"),
                _ => since(&self.job, "completedAt"),
            };
            context.out.say(format!("{:<10} {}  {change:<10} {when}", self.kind.as_str(), self.id).trim_end());
            self.seen.push(change);
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            self.kind.as_str().to_owned(),
            plain(&self.job["status"]),
            cut(&result(&self.job)),
            plain(&self.job["tokenUsed"]),
            since(&self.job, "completedAt").trim_start_matches('+').to_owned(),
        ]
    }
}

fn conclude(context: &Context, jobs: &[Shown]) -> Result<(), Stop> {
    let rows: Vec<Vec<String>> = jobs.iter().map(Shown::row).collect();
    let objects: Vec<&Value> = jobs.iter().map(|shown| &shown.job).collect();
    let untranslated = jobs.iter().any(Shown::lacks_translation);
    let good = !jobs.is_empty() && jobs.iter().all(|job| job.succeeded() || job.lacks_translation());
    context.out.show(&json!({"jobs": objects, "translationAvailable": !untranslated}), |_| {
        let results = table(&["TYPE", "STATUS", "RESULT", "TOKENS", "TIME"], &WIDTHS, &rows);
        format!("\n{results}\n{}", closing(untranslated, good))
    });
    if good { Ok(()) } else { Err(Stop::Failed("not every job of the demo succeeded".to_owned())) }
}

fn closing(untranslated: bool, good: bool) -> String {
    let mut text = String::new();
    if untranslated {
        text.push_str(
            "\nTRANSLATE failed because Apertium is not installed on this machine. Everything else works\n\
             without it. To enable it on Debian: apt install apertium apertium-eng-spa\n",
        );
    }
    if good {
        // As it was called, so that the lines work when they are copied.
        let program = std::env::args().next().unwrap_or_else(|| "launchkit".to_owned());
        text.push_str(&format!(
            "\nHow to go on:\n\
             \x20 {program} serve\n\
             \x20     a server on http://localhost:3001; its first start shows an API key\n\
             \x20 ./test-queue.sh YOUR_API_KEY\n\
             \x20     sends jobs to that server with curl\n\
             \x20 echo 'Call me at +1 202 555 0143.' | {program} run EXTRACT\n\
             \x20     one job without a server\n\
             \x20 {program} --help\n"
        ));
    }
    text
}

fn body(kind: JobType, text: Option<&str>) -> Value {
    let own = match kind {
        JobType::Summarize => include_str!("../../demo/summarize.txt"),
        JobType::Classify => include_str!("../../demo/classify.txt"),
        JobType::Sentiment => include_str!("../../demo/sentiment.txt"),
        JobType::Translate => include_str!("../../demo/translate.txt"),
        JobType::Extract => include_str!("../../demo/extract.txt"),
    };
    let mut body = json!({"text": text.unwrap_or(own.trim_end())});
    if kind == JobType::Translate {
        body["to"] = json!("es");
    }
    body
}

/// What a job's output says, in a line.
fn result(job: &Value) -> String {
    let output = &job["output"];
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    match job["type"].as_str() {
        _ if !job["error"].is_null() => plain(&job["error"]["message"]),
        Some("SUMMARIZE") => plain(&output["summary"]),
        Some("CLASSIFY") => {
            format!("{} (confidence {:.2})", plain(&output["classification"]), number(&output["confidence"]))
        }
        Some("SENTIMENT") => format!("{} (score {:+.2})", plain(&output["sentiment"]), number(&output["score"])),
        Some("TRANSLATE") => format!("{}: {}", plain(&output["targetLanguage"]), plain(&output["translation"])),
        Some("EXTRACT") => {
            let entities = output["entities"].as_array().into_iter().flatten();
            let found = entities.map(|entity| format!("{} {}", plain(&entity["type"]), plain(&entity["text"])));
            found.collect::<Vec<_>>().join("; ")
        }
        _ => String::new(),
    }
}

fn cut(text: &str) -> String {
    let whole = wrap(text, usize::MAX).concat();
    if whole.chars().count() <= SHOWN_CHARS {
        whole
    } else {
        whole.chars().take(SHOWN_CHARS).chain("…".chars()).collect()
    }
}

/// `+0.25 s` after the job was created.
fn since(job: &Value, field: &str) -> String {
    let moment = |name: &str| job[name].as_str().and_then(crate::when::parse);
    match (moment("createdAt"), moment(field)) {
        (Some(created), Some(at)) => format!("+{:.2} s", (at - created) as f64 / 1_000.0),
        _ => String::new(),
    }
}

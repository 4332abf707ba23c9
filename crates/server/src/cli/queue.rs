//! `queue`: figures and orders for the queues of a server, with `LAUNCHKIT_TOKEN`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::Context;
use super::client::{As, Client};
use super::output::{Stop, plain};
use super::table::fitted;

#[derive(Debug, Subcommand)]
pub(super) enum QueueCommand {
    /// Print the figures of one queue, or of both
    Metrics {
        /// The queue; both when not given
        #[arg(value_enum)]
        queue: Option<Name>,
    },
    /// Give out no more jobs
    Pause(Which),
    /// Give out jobs again
    Resume(Which),
    /// Remove finished jobs from the queue; the database keeps its own history
    Clean(CleanArgs),
    /// Print how many jobs may start, or change it
    Limits(LimitsArgs),
    /// Queue failed jobs again, oldest first, in bounded steps
    RetryFailed(RetryArgs),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Name {
    AiJobs,
    Webhooks,
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The queue
    #[arg(value_enum, default_value = "ai-jobs")]
    queue: Name,
}

#[derive(Debug, Args)]
pub(super) struct CleanArgs {
    #[command(flatten)]
    which: Which,
    /// completed or failed; both when not given
    #[arg(long)]
    state: Option<String>,
    /// Only jobs that finished at least so many milliseconds ago
    #[arg(long, value_name = "MS")]
    grace: Option<u64>,
    /// Remove so many of each at most
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct LimitsArgs {
    #[command(flatten)]
    which: Which,
    /// At most so many active jobs over all workers; none lifts it
    #[arg(long, value_name = "N|none")]
    concurrency: Option<String>,
    /// At most so many starts in the time of --per; none lifts it
    #[arg(long, value_name = "N|none")]
    rate: Option<String>,
    /// The time of a rate
    #[arg(long, value_name = "MS")]
    per: Option<u64>,
    /// Start nothing for so long; none lifts it
    #[arg(long, value_name = "MS|none")]
    hold: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    which: Which,
    /// Only jobs of this type
    #[arg(long = "type")]
    kind: Option<String>,
    /// Only jobs whose error contains this text
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only jobs that failed at this time or later, as 2026-11-24T04:26:26Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

impl Name {
    fn text(self) -> &'static str {
        match self {
            Name::AiJobs => "ai-jobs",
            Name::Webhooks => "webhooks",
        }
    }
}

/// `launchkit queue …`
pub(super) async fn queue(context: &Context, command: QueueCommand) -> Result<(), Stop> {
    let client = Client::from_context(context)?;
    let order = |verb: &str, which: &Which| format!("/v1/admin/queue/{verb}?queue={}", which.queue.text());
    let path = match command {
        QueueCommand::Metrics { queue: None } => {
            let all = client.get("/v1/admin/queue/metrics/all", As::Operator).await?;
            context.out.show(&all, |all| metrics_text(&[&all["aiJobs"], &all["webhooks"]]));
            return Ok(());
        }
        QueueCommand::Metrics { queue: Some(name) } => {
            let one = client.get(&format!("/v1/admin/queue/metrics?queue={}", name.text()), As::Operator).await?;
            context.out.show(&one, |one| metrics_text(&[one]));
            return Ok(());
        }
        QueueCommand::Pause(which) => order("pause", &which),
        QueueCommand::Resume(which) => order("resume", &which),
        QueueCommand::Clean(args) => {
            let pairs = [("state", args.state), ("grace", number(args.grace)), ("limit", number(args.limit))];
            with(order("clean", &args.which), pairs)
        }
        QueueCommand::Limits(args) => {
            let path = order("limits", &args.which);
            let rate = [("rate", args.rate), ("per", number(args.per))];
            let pairs = [("concurrency", args.concurrency), ("hold", args.hold)].into_iter().chain(rate);
            let asked = with(path.clone(), pairs);
            let limits = if asked == path {
                client.get(&path, As::Operator).await?
            } else {
                client.post(&asked, None, As::Operator).await?["limits"].take()
            };
            context.out.show(&limits, limits_text);
            return Ok(());
        }
        QueueCommand::RetryFailed(args) => return retry_failed(context, &client, args).await,
    };
    let answer = client.post(&path, None, As::Operator).await?;
    context.out.show(&answer, answer_text);
    Ok(())
}

/// Goes on until no failed job is left that had failed when it began.
async fn retry_failed(context: &Context, client: &Client, args: RetryArgs) -> Result<(), Stop> {
    let path = format!("/v1/admin/queue/retry-failed?queue={}", args.which.queue.text());
    let dry = args.dry_run.then(|| "true".to_owned());
    let kind = args.kind.map(|kind| kind.to_ascii_uppercase());
    let path = with(path, [("type", kind), ("error", args.error), ("since", args.since), ("dry", dry)]);
    let mut sums = [0; 4];
    let mut cursor: Option<String> = None;
    loop {
        let step = with(path.clone(), [("cursor", cursor.take())]);
        let done = client.post(&step, None, As::Operator).await?["failed"].take();
        for (sum, name) in sums.iter_mut().zip(COUNTS) {
            *sum += done[name].as_u64().unwrap_or_default();
        }
        cursor = done["nextCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
        context.out.say(&format!("{} failed jobs looked at, {} chosen, {} queued again", sums[0], sums[1], sums[2]));
    }
    let counts = COUNTS.into_iter().zip(sums).map(|(name, sum)| (name.to_owned(), sum.into()));
    let mut answer: serde_json::Map<String, Value> = counts.collect();
    answer.insert("dry".to_owned(), args.dry_run.into());
    context.out.show(&Value::Object(answer), |answer| {
        let [scanned, chosen, retried, over_quota] = COUNTS.map(|name| plain(&answer[name]));
        let dry = if args.dry_run { " (dry run)" } else { "" };
        format!(
            "{scanned} failed jobs looked at, {chosen} chosen, {retried} queued again, {over_quota} over quota{dry}"
        )
    });
    Ok(())
}

/// The figures of a step.
const COUNTS: [&str; 4] = ["scanned", "chosen", "retried", "overQuota"];

fn number(n: Option<u64>) -> Option<String> {
    n.map(|n| n.to_string())
}

/// A path with the parameters that are given.
fn with<'a>(path: String, pairs: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    pairs.into_iter().fold(path, |path, (name, value)| match value {
        Some(value) => format!("{path}&{name}={}", super::client::encode(&value)),
        None => path,
    })
}

fn limits_text(limits: &Value) -> String {
    let or_none = |value: &Value| if value.is_null() { "none".to_owned() } else { plain(value) };
    let rate = match &limits["rate"] {
        Value::Null => "none".to_owned(),
        rate => format!("{} in {} ms", plain(&rate["max"]), plain(&rate["per"])),
    };
    let lines = [("queue", plain(&limits["queue"])), ("concurrency", or_none(&limits["concurrency"])), ("rate", rate)];
    let lines = lines.into_iter().chain([("limited until", or_none(&limits["limitedUntil"]))]);
    lines.map(|(name, value)| format!("{name:<14} {value}")).collect::<Vec<_>>().join("\n")
}

fn metrics_text(queues: &[&Value]) -> String {
    let names = ["queue", "waiting", "active", "completed", "failed", "delayed", "total", "paused", "workers"];
    let rows: Vec<Vec<String>> = queues.iter().map(|queue| names.map(|name| plain(&queue[name])).to_vec()).collect();
    let head = ["QUEUE", "WAITING", "ACTIVE", "COMPLETED", "FAILED", "DELAYED", "TOTAL", "PAUSED", "WORKERS"];
    fitted(&head, &rows)
}

fn answer_text(answer: &Value) -> String {
    let mut text = plain(&answer["message"]);
    if let Some(removed) = answer["removed"].as_object() {
        let parts = removed.iter().map(|(state, count)| format!("{} {state}", plain(count)));
        text.push_str(&format!(": removed {}", parts.collect::<Vec<_>>().join(", ")));
    }
    text
}

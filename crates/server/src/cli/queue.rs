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
        QueueCommand::Clean(args) => clean_path(&order("clean", &args.which), &args),
    };
    let answer = client.post(&path, None, As::Operator).await?;
    context.out.show(&answer, answer_text);
    Ok(())
}

fn clean_path(order: &str, args: &CleanArgs) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let pairs = [("state", args.state.clone()), ("grace", number(args.grace)), ("limit", number(args.limit))];
    pairs.into_iter().fold(order.to_owned(), |path, (name, value)| match value {
        Some(value) => format!("{path}&{name}={}", super::client::encode(&value)),
        None => path,
    })
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

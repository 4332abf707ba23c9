//! `jobs`: submit, read and follow jobs on a server, with `LAUNCHKIT_API_KEY`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Context;
use super::client::{As, Client, encode};
use super::input::JobArgs;
use super::output::{Stop, plain};
use super::table::fitted;

/// A watched job is looked at so soon, and then less and less often.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// Submit a job and print it
    Submit(SubmitArgs),
    /// Print one job
    Get {
        /// The job's id
        id: String,
    },
    /// Print a page of jobs, newest first
    List(ListArgs),
    /// Follow a job until it has ended
    Watch {
        /// The job's id
        id: String,
    },
    /// Say why a job is not running now
    Explain {
        /// The job's id
        id: String,
    },
    /// Cancel a job
    Cancel {
        /// The job's id
        id: String,
    },
    /// Queue a failed or canceled job again
    Retry {
        /// The job's id
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,
    /// 1 is the most urgent, 0 is none
    #[arg(long, value_name = "N")]
    priority: Option<u64>,
    /// Not before so many milliseconds have passed
    #[arg(long, value_name = "MS")]
    delay: Option<u64>,
    /// Tries, 1 to 10
    #[arg(long, value_name = "N")]
    attempts: Option<u64>,
    /// A label of yours; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    metadata: Vec<(String, String)>,
    /// Follow the job until it has ended
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Jobs on the page, 1 to 100
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Jobs to pass over
    #[arg(long, value_name = "N")]
    offset: Option<u64>,
    /// The nextCursor of the page before
    #[arg(long)]
    cursor: Option<String>,
    /// Only this status
    #[arg(long)]
    status: Option<String>,
    /// Only this type
    #[arg(long = "type")]
    kind: Option<String>,
}

/// `launchkit jobs …`
pub(super) async fn jobs(context: &Context, command: JobsCommand) -> Result<(), Stop> {
    let client = Client::from_context(context)?;
    let one = |id: &str, verb: &str| format!("/v1/jobs/{}{verb}", encode(id));
    let job = match command {
        JobsCommand::Submit(args) => {
            let job = client.post("/v1/jobs", Some(&body(&args)?), As::Caller).await?;
            if args.watch {
                return watch(context, &client, &plain(&job["id"])).await;
            }
            job
        }
        JobsCommand::Watch { id } => return watch(context, &client, &id).await,
        JobsCommand::List(args) => {
            let page = client.get(&format!("/v1/jobs{}", query(&args)), As::Caller).await?;
            context.out.show(&page, list_text);
            return Ok(());
        }
        JobsCommand::Explain { id } => {
            let explained = client.get(&one(&id, "/explain"), As::Caller).await?;
            context.out.show(&explained, explained_text);
            return Ok(());
        }
        JobsCommand::Get { id } => client.get(&one(&id, ""), As::Caller).await?,
        JobsCommand::Cancel { id } => client.post(&one(&id, "/cancel"), None, As::Caller).await?,
        JobsCommand::Retry { id } => client.post(&one(&id, "/retry"), None, As::Caller).await?,
    };
    context.out.show(&job, job_text);
    Ok(())
}

/// Prints each change of status as it is seen. Fails when the job did not succeed.
async fn watch(context: &Context, client: &Client, id: &str) -> Result<(), Stop> {
    let mut seen = String::new();
    let mut pause = FIRST_LOOK;
    loop {
        let job = client.get(&format!("/v1/jobs/{}", encode(id)), As::Caller).await?;
        let status = status_text(&job);
        if status != seen {
            context.out.say(&format!("{} {status}", plain(&job["id"])));
            seen = status;
            pause = FIRST_LOOK;
        }
        if let "SUCCEEDED" | "FAILED" | "CANCELED" = plain(&job["status"]).as_str() {
            context.out.show(&job, job_text);
            return if job["status"] == "SUCCEEDED" { Ok(()) } else { Err(Stop::Told) };
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LAST_LOOK);
    }
}

fn status_text(job: &Value) -> String {
    let (status, attempts) = (plain(&job["status"]), job["attempts"].as_i64().unwrap_or(0));
    match (status.as_str(), attempts) {
        ("QUEUED", 1..) => format!("QUEUED again after attempt {attempts}: {}", plain(&job["error"]["message"])),
        ("PROCESSING", 2..) => format!("PROCESSING, attempt {attempts}"),
        _ => status,
    }
}

fn body(args: &SubmitArgs) -> Result<Value, Stop> {
    let mut options = Map::new();
    for (name, value) in [("priority", args.priority), ("delay", args.delay), ("attempts", args.attempts)] {
        if let Some(value) = value {
            options.insert(name.to_owned(), json!(value));
        }
    }
    if !args.metadata.is_empty() {
        let labels: Map<String, Value> = args.metadata.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        options.insert("metadata".to_owned(), Value::Object(labels));
    }
    Ok(json!({"type": args.job.kind.as_str(), "input": args.job.input()?, "options": options}))
}

fn query(args: &ListArgs) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let pairs = [
        ("limit", number(args.limit)),
        ("offset", number(args.offset)),
        ("cursor", args.cursor.clone()),
        ("status", args.status.as_ref().map(|s| s.to_ascii_uppercase())),
        ("type", args.kind.as_ref().map(|s| s.to_ascii_uppercase())),
    ];
    let parts = pairs.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(&value?))));
    let text = parts.collect::<Vec<_>>().join("&");
    if text.is_empty() { text } else { format!("?{text}") }
}

fn list_text(page: &Value) -> String {
    let cells = |job: &Value| ["id", "type", "status", "attempts", "createdAt"].map(|name| plain(&job[name])).to_vec();
    let rows: Vec<Vec<String>> = page["jobs"].as_array().into_iter().flatten().map(cells).collect();
    let mut text = fitted(&["ID", "TYPE", "STATUS", "ATTEMPTS", "CREATED"], &rows);
    if let Some(cursor) = page["nextCursor"].as_str() {
        text.push_str(&format!("\nMore with: --cursor {cursor}"));
    }
    text
}

/// A line for each reason, the deciding one first.
fn explained_text(explained: &Value) -> String {
    let line = |reason: &Value| {
        let time = |name: &str| reason[name].as_str().map_or_else(String::new, |at| format!(", {name} {at}"));
        format!("{} ({}{}{})", plain(&reason["message"]), plain(&reason["code"]), time("since"), time("until"))
    };
    let reasons = explained["reasons"].as_array().into_iter().flatten().map(line);
    std::iter::once(plain(&explained["state"])).chain(reasons).collect::<Vec<_>>().join("\n")
}

fn job_text(job: &Value) -> String {
    let mut lines = Vec::new();
    let names = [
        "id",
        "type",
        "status",
        "attempts",
        "tokenUsed",
        "costCents",
        "createdAt",
        "startedAt",
        "completedAt",
        "nextAttemptAt",
    ];
    for name in names.into_iter().filter(|name| !job[name].is_null()) {
        lines.push(format!("{name:<14} {}", plain(&job[name])));
    }
    if !job["error"].is_null() {
        lines.push(format!("{:<14} {} ({})", "error", plain(&job["error"]["message"]), plain(&job["error"]["code"])));
    }
    if !job["output"].is_null() {
        lines.push(format!("{:<14} {}", "output", serde_json::to_string_pretty(&job["output"]).unwrap_or_default()));
    }
    lines.join("\n")
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

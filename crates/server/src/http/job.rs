//! The job object as callers see it.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::ledger::{Answer, JobRow, ListPage};
use crate::when::rfc3339;

/// Where a job is.
pub(super) fn path(id: &str) -> String {
    format!("/v1/jobs/{id}")
}

/// The job object, JSON text.
pub(super) fn render(row: &JobRow) -> String {
    to_text(&object(row))
}

/// The answer to the create request that made this one job.
pub(super) fn created(rows: &[JobRow]) -> Answer {
    match rows {
        [row] => accepted(row),
        _ => Answer { status: 202, location: None, body: to_text(&rows.iter().map(object).collect::<Vec<_>>()) },
    }
}

/// 202 with the job as it is now.
pub(super) fn accepted(row: &JobRow) -> Answer {
    Answer { status: 202, location: Some(path(&row.id)), body: render(row) }
}

/// The answer to a list request; `offset` is null where a cursor was given.
pub(super) fn list(page: &ListPage, limit: usize, offset: Option<usize>) -> String {
    to_text(&List {
        jobs: page.jobs.iter().map(object).collect(),
        total: page.total,
        limit,
        offset,
        next_cursor: page.next_cursor.as_deref(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    jobs: Vec<Object<'a>>,
    total: Option<i64>,
    limit: usize,
    offset: Option<usize>,
    next_cursor: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    job_type: &'a str,
    status: &'static str,
    input: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
    error: Option<Failure<'a>>,
    token_used: i64,
    cost_cents: i64,
    usage: Option<Usage<'a>>,
    attempts: i64,
    max_attempts: i64,
    progress: i64,
    priority: i64,
    metadata: Option<&'a RawValue>,
    created_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    next_attempt_at: Option<String>,
    links: Links,
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
    retryable: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Usage<'a> {
    input_tokens: i64,
    output_tokens: i64,
    provider: &'a str,
    model: &'a str,
    cost_micros: i64,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    itself: String,
    cancel: String,
}

fn object(row: &JobRow) -> Object<'_> {
    let usage = row.usage.as_ref();
    let itself = path(&row.id);
    Object {
        id: &row.id,
        job_type: &row.job_type,
        status: row.state.as_str(),
        input: raw(&row.input),
        output: row.output.as_deref().and_then(raw),
        error: row.error.as_ref().map(|error| Failure {
            code: &error.code,
            message: &error.message,
            retryable: error.retryable,
        }),
        token_used: usage.map_or(0, |usage| usage.input_tokens.saturating_add(usage.output_tokens)),
        cost_cents: usage.map_or(0, |usage| usage.cost_micros.div_euclid(10_000)),
        usage: usage.map(|usage| Usage {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            provider: &usage.provider,
            model: &usage.model,
            cost_micros: usage.cost_micros,
        }),
        attempts: row.attempts,
        max_attempts: row.max_attempts,
        progress: row.progress,
        priority: row.priority,
        metadata: raw(&row.metadata),
        created_at: rfc3339(row.created_at),
        started_at: row.started_at.map(rfc3339),
        completed_at: row.completed_at.map(rfc3339),
        next_attempt_at: row.next_attempt_at.map(rfc3339),
        links: Links { cancel: format!("{itself}/cancel"), itself },
    }
}

/// Stored JSON text goes out as it is. What cannot be read is shown as null rather than breaking
/// the whole answer.
fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str::<&RawValue>(text).ok()
}

/// Serializing plain strings and numbers to memory does not fail.
fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

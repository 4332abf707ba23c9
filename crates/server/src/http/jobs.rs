//! `/v1/jobs`: create, read, list, cancel, retry, with an API key.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use launchkit_queue::JobId;
use serde_json::{Map, Value};

use super::json::{Fields, parse_object};
use super::once::{self, Asked, Once, claimed};
use super::options::Options;
use super::query::{Query, decode};
use super::{Api, body, explain, job, ledger_problem};
use crate::ai::{self, JobType};
use crate::auth::{Caller, Scope};
use crate::failpoint::{self, Point};
use crate::ledger::{
    Answer, By, Canceled, Create, Created, Filter, Idempotency, JobRow, JobState, NewJob, Page, Quota, Retried,
    queue_id,
};
use crate::problem::{Code, Fault, Problem};

const MOST_ON_A_PAGE: u64 = 100;
const ON_A_PAGE: usize = 50;
const MOST_OFFSET: u64 = 10_000;
const MOST_METADATA_FILTERS: usize = 2;
/// How long a queue is waited for that need not be told.
const COURTESY: std::time::Duration = std::time::Duration::from_secs(1);

/// `POST /v1/jobs/summarize` and its four siblings: the body is the input, with an optional `options`.
pub(super) async fn create(State(api): State<Arc<Api>>, request: Request, kind: JobType) -> Result<Response, Problem> {
    let (caller, parts, bytes) = received(&api, request).await?;
    let mut input = parse_object(&bytes)?;
    let options = input.remove("options");
    accept(&api, &caller, &parts, &bytes, Wanted { kind, input, input_at: "", options }).await
}

/// `POST /v1/jobs`: `{"type", "input", "options"}`.
pub(super) async fn create_any(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (caller, parts, bytes) = received(&api, request).await?;
    let mut fields = Fields::new("", parse_object(&bytes)?);
    let kind = fields.take("type").and_then(|kind| kind.as_str()?.parse::<JobType>().ok());
    if kind.is_none() {
        fields.fault("type", "type must be one of SUMMARIZE, CLASSIFY, SENTIMENT, TRANSLATE, EXTRACT.");
    }
    let input = match fields.take("input") {
        Some(Value::Object(input)) => Some(input),
        _ => {
            fields.fault("input", "input must be an object.");
            None
        }
    };
    let options = fields.take("options");
    let faults = fields.finish();
    match (kind, input) {
        (Some(kind), Some(input)) if faults.is_empty() => {
            accept(&api, &caller, &parts, &bytes, Wanted { kind, input, input_at: "/input", options }).await
        }
        _ => Err(Problem::invalid(faults)),
    }
}

/// `GET /v1/jobs/{jobId}`
pub(super) async fn read(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    Ok(json(job::render(&row_of(&api, &request.into_parts().0).await?)))
}

/// `GET /v1/jobs/{jobId}/explain`
pub(super) async fn explain(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let row = row_of(&api, &request.into_parts().0).await?;
    Ok(json(explain::explanation(&api, &row).await?))
}

/// The row that a reading route is about.
async fn row_of(api: &Api, parts: &Parts) -> Result<JobRow, Problem> {
    let caller = api.auth.caller(&parts.headers, Scope::JobsRead, api.now()).await?;
    let id = job_id(&parts.uri)?;
    Query::parse(parts.uri.query()).finish()?;
    let row = api.ledger.get(&caller.org, &id).await.map_err(|error| ledger_problem(&error))?;
    row.ok_or_else(no_such_job)
}

/// `GET /v1/jobs`
pub(super) async fn list(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let caller = api.auth.caller(request.headers(), Scope::JobsRead, api.now()).await?;
    let mut query = Query::parse(request.uri().query());
    let limit = query.whole("limit", 1..=MOST_ON_A_PAGE).map_or(ON_A_PAGE, |n| n as usize);
    let offset = query.whole("offset", 0..=MOST_OFFSET).map(|n| n as usize);
    let cursor = query.choice("cursor", |text| is_id(text).then(|| text.to_owned()), "the nextCursor of another page");
    if cursor.is_some() && offset.is_some() {
        query.fault("offset", "Give cursor or offset, not both.");
    }
    let filter = filter(&mut query);
    query.finish()?;
    let offset = if cursor.is_some() { None } else { Some(offset.unwrap_or(0)) };
    let page = cursor.map_or(Page::Offset(offset.unwrap_or(0)), Page::After);
    let page = api.ledger.list(&caller.org, &filter, &page, limit).await.map_err(|error| ledger_problem(&error))?;
    Ok(json(job::list(&page, limit, offset)))
}

/// `POST /v1/jobs/{jobId}/cancel`
pub(super) async fn cancel(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (asker, once, id) = about_a_job(&api, request).await?;
    let doer = api.clone();
    claimed(&api, once, async move { cancel_now(&doer, &asker, &id).await }).await
}

/// `POST /v1/jobs/{jobId}/retry`
pub(super) async fn retry(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Problem> {
    let (asker, once, id) = about_a_job(&api, request).await?;
    let doer = api.clone();
    claimed(&api, once, async move { retry_now(&doer, &asker, &id).await }).await
}

/// A create request, taken apart and not yet checked.
struct Wanted {
    kind: JobType,
    input: Map<String, Value>,
    /// The pointer of the input in the body.
    input_at: &'static str,
    options: Option<Value>,
}

/// Authenticates first, so that strangers cannot make us read megabytes.
async fn received(api: &Api, request: Request) -> Result<(Caller, Parts, Bytes), Problem> {
    let caller = api.auth.caller(request.headers(), Scope::JobsWrite, api.now()).await?;
    let (parts, stream) = request.into_parts();
    Query::parse(parts.uri.query()).finish()?;
    body::must_be_json(&parts.headers)?;
    let bytes = body::read(&parts.headers, stream).await?;
    Ok((caller, parts, bytes))
}

async fn accept(api: &Api, caller: &Caller, parts: &Parts, bytes: &[u8], wanted: Wanted) -> Result<Response, Problem> {
    let job = check(wanted, &parts.headers, api.now())?;
    let asked = Asked { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: bytes };
    let once = Once::read(&caller.org, &asked)?;
    let idempotency = once.map(|once| Idempotency {
        scope: once.scope,
        key: once.key,
        fingerprint: once.fingerprint,
        render: job::created,
    });
    let create = Create { org: caller.org.clone(), jobs: vec![job], idempotency };
    let created = once::while_in_progress(|| async {
        match api.creates.create(create.clone()).await? {
            Created::InProgress => Ok(None),
            other => Ok(Some(other)),
        }
    });
    match created.await? {
        Created::Created(rows) => Ok(once::first(job::created(&rows))),
        Created::Replay(answer) => Ok(once::again(answer)),
        Created::Mismatch => Err(once::mismatch()),
        Created::QuotaExceeded { quota, limit, resets_at } => Err(quota_exceeded(quota, limit, resets_at)),
        Created::UnknownOrg | Created::InProgress => {
            tracing::error!(org = caller.org, "a key belongs to an organisation that does not exist");
            Err(Problem::internal())
        }
    }
}

/// Checks input and options and answers the row to make, or every fault at once.
fn check(wanted: Wanted, headers: &HeaderMap, now: i64) -> Result<NewJob, Problem> {
    let mut faults = Vec::new();
    if let Err(found) = ai::check(wanted.kind, &wanted.input) {
        faults.extend(
            found.into_iter().map(|fault| Fault::at(format!("{}{}", wanted.input_at, fault.pointer), fault.message)),
        );
    }
    let options = match wanted.options {
        None => Ok(Options::default()),
        Some(Value::Object(map)) => Options::read("/options", map, now),
        Some(_) => Err(vec![Fault::at("/options", "options must be an object.")]),
    };
    let options = options.unwrap_or_else(|found| {
        faults.extend(found);
        Options::default()
    });
    if options.webhook_url.is_some() {
        let message = "Webhooks are not sent by this version: leave webhookUrl out.";
        faults.push(Fault::at("/options/webhookUrl", message));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let reserve_tokens = estimate(&wanted.input);
    Ok(NewJob {
        job_type: wanted.kind.as_str().to_owned(),
        input: Value::Object(wanted.input).to_string(),
        priority: options.priority,
        max_attempts: options.attempts,
        metadata: Value::from_iter(options.metadata).to_string(),
        run_at: options.run_at,
        timeout: options.timeout,
        start_before: options.start_before,
        webhook_url: options.webhook_url,
        provider: options.provider,
        traceparent: traceparent(headers),
        reserve_tokens,
    })
}

/// Tokens to hold until the job has ended: a token has about four bytes of text, and the answer may
/// be as long as the input. What was really used is settled at the end.
fn estimate(input: &Map<String, Value>) -> i64 {
    let text = input.get("text").and_then(Value::as_str).map_or(0, str::len);
    64 + 2 * (text as i64 / 4)
}

/// W3C trace context, version 00; anything else is not carried on.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let hex = |c: char| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c);
    (lengths == [2, 32, 16, 2] && text.starts_with("00-") && text.chars().all(hex)).then(|| text.to_owned())
}

fn filter(query: &mut Query) -> Filter {
    let status = "one of QUEUED, PROCESSING, SUCCEEDED, FAILED, CANCELED";
    let kind = "one of SUMMARIZE, CLASSIFY, SENTIMENT, TRANSLATE, EXTRACT";
    let metadata = query.take_all("metadata.");
    if metadata.len() > MOST_METADATA_FILTERS {
        query.fault("metadata", "At most two metadata filters may be given.");
    }
    Filter {
        state: query.choice("status", JobState::parse, status),
        job_type: query.choice("type", |name| name.parse::<JobType>().ok(), kind).map(|kind| kind.as_str().to_owned()),
        created_after: query.time("createdAfter"),
        created_before: query.time("createdBefore"),
        metadata,
    }
}

/// Who changes a job, and from where.
struct Asker {
    caller: Caller,
    from: String,
}

impl Asker {
    fn by(&self) -> By<'_> {
        By { who: &self.caller.key_id, from: &self.from }
    }
}

/// For the routes that act on one job and need no body.
async fn about_a_job(api: &Api, request: Request) -> Result<(Asker, Option<Once>, String), Problem> {
    let caller = api.auth.caller(request.headers(), Scope::JobsWrite, api.now()).await?;
    let from = super::address(&request);
    let (parts, stream) = request.into_parts();
    let id = job_id(&parts.uri)?;
    Query::parse(parts.uri.query()).finish()?;
    let bytes = body::read(&parts.headers, stream).await?;
    body::must_be_empty(&parts.headers, &bytes)?;
    let asked = Asked { method: &parts.method, uri: &parts.uri, headers: &parts.headers, body: &bytes };
    let once = Once::read(&caller.org, &asked)?;
    Ok((Asker { caller, from }, once, id))
}

async fn cancel_now(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Problem> {
    let canceled = api.ledger.cancel(&asker.caller.org, id, asker.by(), api.now()).await;
    let canceled = canceled.map_err(|error| ledger_problem(&error))?;
    failpoint::pass(Point::Canceled);
    match canceled {
        Canceled::Canceled(row) => {
            leave_queue(api, &row).await;
            Ok(Answer { status: 200, location: None, body: job::render(&row) })
        }
        Canceled::Told(row) => {
            tell_holder(api, &row).await;
            Ok(job::accepted(&row))
        }
        Canceled::Finished(row) => {
            let detail = format!("The job is {} already.", row.state.as_str());
            Err(Problem::new(Code::JobAlreadyFinished, detail))
        }
        Canceled::NotFound => Err(no_such_job()),
    }
}

async fn retry_now(api: &Api, asker: &Asker, id: &str) -> Result<Answer, Problem> {
    let retried = api.ledger.retry(&asker.caller.org, id, asker.by(), api.now()).await;
    let retried = retried.map_err(|error| ledger_problem(&error))?;
    failpoint::pass(Point::Retried);
    match retried {
        Retried::Retried(row) => {
            api.wake.notify_one();
            Ok(job::accepted(&row))
        }
        Retried::NotFinished(row) => {
            let detail = format!("The job is {}; only FAILED and CANCELED jobs can be retried.", row.state.as_str());
            Err(Problem::new(Code::JobNotFinished, detail))
        }
        Retried::Erased => {
            Err(Problem::new(Code::JobNotFinished, "The job's texts were erased; there is nothing to run."))
        }
        Retried::QuotaExceeded { quota, limit, resets_at } => Err(quota_exceeded(quota, limit, resets_at)),
        Retried::NotFound => Err(no_such_job()),
    }
}

/// A courtesy: the row is canceled whatever the queue does, and a worker that takes the job skips it.
async fn leave_queue(api: &Api, row: &JobRow) {
    if let Ok(id) = JobId::parse(&queue_id(&row.id, row.generation)) {
        courtesy(&row.id, "a canceled job was not taken out of the queue", api.ai_jobs.remove(&id)).await;
    }
}

/// A courtesy, too: `work::tell_canceled` reads it from the row, should this be cut off.
async fn tell_holder(api: &Api, row: &JobRow) {
    if let Ok(id) = JobId::parse(&queue_id(&row.id, row.generation)) {
        courtesy(&row.id, "the holder of a job was not told through the queue", api.ai_jobs.cancel(&id)).await;
    }
}

/// A queue that does not answer holds no caller up: what is asked of it is not needed.
async fn courtesy<T, E: std::fmt::Display>(job: &str, missed: &str, asked: impl Future<Output = Result<T, E>>) {
    match tokio::time::timeout(COURTESY, asked).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(job, %error, "{missed}"),
        Err(_) => tracing::debug!(job, "{missed}: no answer"),
    }
}

fn quota_exceeded(quota: Quota, limit: i64, resets_at: i64) -> Problem {
    let what = match quota {
        Quota::Jobs => "jobs",
        Quota::Tokens => "tokens",
    };
    let until = crate::when::rfc3339(resets_at);
    Problem::new(
        Code::QuotaExceeded,
        format!("The plan allows {limit} {what} a month; the next month begins at {until}."),
    )
}

/// The third segment of the path, decoded.
fn job_id(uri: &Uri) -> Result<String, Problem> {
    let raw = uri.path().split('/').nth(3).unwrap_or_default();
    // A plus sign is itself in a path.
    let bad = || Problem::invalid(vec![Fault::parameter("jobId", "The percent-encoding is not valid UTF-8.")]);
    let id = decode(&raw.replace('+', "%2B")).ok_or_else(bad)?;
    // For what cannot be an id the database need not be asked.
    if is_id(&id) { Ok(id) } else { Err(no_such_job()) }
}

/// The form of an id: `c` and 24 digits and small letters.
fn is_id(text: &str) -> bool {
    text.len() == 25 && text.starts_with('c') && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
}

fn no_such_job() -> Problem {
    Problem::new(Code::JobNotFound, "There is no such job.")
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_carried() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_str(text).unwrap());
            traceparent(&headers)
        };
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in [
            "",
            "00",
            &good.replace("00-", "01-"),
            &good.to_uppercase(),
            &good[..good.len() - 1],
            &good.replace('c', "g"),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn job_ids_in_paths() {
        let id = |path: &str| job_id(&path.parse().unwrap()).map_err(|problem| problem.code());
        let good = "cmwu82b440000phdy0i8xxbwl";
        assert_eq!(id(&format!("/v1/jobs/{good}/cancel")).as_deref(), Ok(good));
        assert_eq!(id(&format!("/v1/jobs/%63{}", &good[1..])).as_deref(), Ok(good));
        assert_eq!(id("/v1/jobs/%zz"), Err(Code::InvalidInput));
        assert_eq!(id("/v1/jobs/%ff"), Err(Code::InvalidInput));
        for other in ["%00", "cabc", "a%20b", &good.to_uppercase(), &format!("{good}0"), &format!("{}+", &good[1..])] {
            assert_eq!(id(&format!("/v1/jobs/{other}")), Err(Code::JobNotFound), "{other}");
        }
    }
}

//! Step 1 of the protocol: many create requests in one commit. Each is admitted or refused as a whole, by itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::calendar::month_of;
use super::db::Tx;
use super::idempotency::{self, Entry};
use super::periods::{self, Held, Hold};
use super::settle::chunks;
use super::sql::{Arg, Sql};
use super::{Answer, Claim, Idempotency, JobRow, JobState, Ledger, LedgerError};

/// A job to make; checked by the caller.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// `SUMMARIZE`, …
    pub job_type: String,
    /// The input object, JSON text.
    pub input: String,
    /// 0 none, then 1 is the most urgent.
    pub priority: i64,
    /// Tries it may have; taken as 1–20.
    pub max_attempts: i64,
    /// A string map, JSON text; `{}` for none.
    pub metadata: String,
    /// Not to be started before.
    pub run_at: Option<i64>,
    /// Time for one try, in ms.
    pub timeout: Option<i64>,
    /// FAILED as `expired` when not started by then.
    pub start_before: Option<i64>,
    /// One extra endpoint for this job alone.
    pub webhook_url: Option<String>,
    /// The provider asked for.
    pub provider: Option<String>,
    /// W3C trace context of the request.
    pub traceparent: Option<String>,
    /// Tokens to hold until it ends.
    pub reserve_tokens: i64,
}

/// One create request: all of its jobs or none.
#[derive(Debug, Clone)]
pub struct Create {
    /// Whose.
    pub org: String,
    /// 1–1,000 jobs.
    pub jobs: Vec<NewJob>,
    /// The caller's key, if it sent one.
    pub idempotency: Option<Idempotency>,
}

/// Which limit a create ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Jobs a month.
    Jobs,
    /// Tokens a month.
    Tokens,
}

/// What became of one create request.
#[derive(Debug, Clone)]
pub enum Created {
    /// The jobs, in the order given.
    Created(Vec<JobRow>),
    /// The same request was answered before: nothing was made.
    Replay(Answer),
    /// Another request has this idempotency key.
    Mismatch,
    /// The same request is being worked on.
    InProgress,
    /// The plan's limit would be passed.
    QuotaExceeded {
        /// Which one.
        quota: Quota,
        /// The limit.
        limit: i64,
        /// When the next period begins.
        resets_at: i64,
    },
    /// There is no such organisation.
    UnknownOrg,
}

/// Requests in one commit, at most.
const MOST_REQUESTS: usize = 256;
/// Jobs in one commit, at most.
const MOST_JOBS: usize = 2_000;
/// Tries of one job, at most: the waits double.
const MOST_ATTEMPTS: i64 = 20;
/// Inputs above this many bytes stand in a table of their own, so that the row stays small to rewrite.
const INLINE: usize = 1_024;
/// Large inputs in one statement.
const LARGE_ROWS: usize = 50;

/// A request on its way.
struct Planned {
    org: String,
    rows: Vec<JobRow>,
    /// Tokens held for each row.
    held: Vec<i64>,
    idempotency: Option<(Idempotency, Answer)>,
    /// Set as soon as it is decided; what is undecided at the end is created.
    outcome: Option<Created>,
    /// The request earlier in this call that has the same idempotency key.
    same_as: Option<usize>,
}

impl Ledger {
    /// Makes the jobs of many requests in one commit; answers in the order given. At most 256 requests and 2,000 jobs in all.
    pub async fn create(&self, requests: Vec<Create>, now: i64) -> Result<Vec<Created>, LedgerError> {
        LedgerError::bound(requests.len(), MOST_REQUESTS)?;
        let jobs = requests.iter().map(|request| request.jobs.len()).sum();
        LedgerError::bound(jobs, MOST_JOBS)?;
        let mut planned: Vec<Planned> = requests.into_iter().map(|request| self.plan(request, now)).collect();
        mark_same(&mut planned);
        let mut tx = self.db().write().await?;
        take_keys(&mut tx, &mut planned, now).await?;
        admit(&mut tx, &mut planned, now).await?;
        insert(&mut tx, &planned, now).await?;
        tx.commit().await?;
        Ok(answers(planned))
    }

    fn plan(&self, request: Create, now: i64) -> Planned {
        let org = request.org;
        let held = request.jobs.iter().map(|job| job.reserve_tokens.max(0)).collect();
        let rows: Vec<JobRow> = request.jobs.into_iter().map(|job| self.new_row(&org, job, now)).collect();
        let idempotency = request.idempotency.map(|idempotency| {
            let answer = (idempotency.render)(&rows);
            (idempotency, answer)
        });
        Planned { org, rows, held, idempotency, outcome: None, same_as: None }
    }

    fn new_row(&self, org: &str, job: NewJob, now: i64) -> JobRow {
        JobRow {
            id: self.new_id(now),
            org: org.to_owned(),
            job_type: job.job_type,
            state: JobState::Queued,
            generation: 1,
            run: 0,
            input: job.input,
            output: None,
            error: None,
            usage: None,
            attempts: 0,
            max_attempts: job.max_attempts.clamp(1, MOST_ATTEMPTS),
            progress: 0,
            priority: job.priority,
            metadata: job.metadata,
            run_at: job.run_at,
            timeout: job.timeout,
            start_before: job.start_before,
            webhook_url: job.webhook_url,
            provider: job.provider,
            traceparent: job.traceparent,
            created_at: now,
            started_at: None,
            completed_at: None,
            next_attempt_at: None,
            cancel_at: None,
        }
    }
}

impl Planned {
    fn is_open(&self) -> bool {
        self.outcome.is_none() && self.same_as.is_none()
    }
}

fn mark_same(planned: &mut [Planned]) {
    let mut first: HashMap<(String, String), usize> = HashMap::new();
    for (at, request) in planned.iter_mut().enumerate() {
        if let Some((key, _)) = &request.idempotency {
            let key = (key.scope.clone(), key.key.clone());
            match first.get(&key) {
                Some(earlier) => request.same_as = Some(*earlier),
                None => drop(first.insert(key, at)),
            }
        }
    }
}

/// Stores the answers of requests with keys; a request whose key is taken gets its outcome.
async fn take_keys(tx: &mut Tx<'_>, planned: &mut [Planned], now: i64) -> Result<(), LedgerError> {
    let entries: Vec<Entry<'_>> = planned
        .iter()
        .filter(|request| request.is_open())
        .filter_map(|request| request.idempotency.as_ref())
        .map(|(key, answer)| Entry {
            scope: &key.scope,
            key: &key.key,
            fingerprint: &key.fingerprint,
            answer: Some(answer),
        })
        .collect();
    if entries.is_empty() {
        return Ok(());
    }
    let taken: HashSet<(String, String)> = idempotency::take(tx, entries, now).await?.into_iter().collect();
    for request in planned.iter_mut().filter(|request| request.is_open()) {
        let Some((key, _)) = &request.idempotency else {
            continue;
        };
        if taken.contains(&(key.scope.clone(), key.key.clone())) {
            continue;
        }
        let found = idempotency::look(tx, &key.scope, &key.key, &key.fingerprint).await?;
        request.outcome = Some(match found {
            Claim::Replay(answer) => Created::Replay(answer),
            Claim::Mismatch => Created::Mismatch,
            Claim::InProgress | Claim::Fresh => Created::InProgress,
        });
    }
    Ok(())
}

/// Reserves, for all requests of an organisation at once; only when that fails, one by one in their order.
async fn admit(tx: &mut Tx<'_>, planned: &mut [Planned], now: i64) -> Result<(), LedgerError> {
    let mut by_org: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, request) in planned.iter().enumerate() {
        if request.is_open() && !request.rows.is_empty() {
            by_org.entry(request.org.clone()).or_default().push(at);
        }
    }
    for (org, members) in by_org {
        let all = hold(&org, planned, &members);
        if let Held::Yes = periods::reserve(tx, &all, now).await? {
            continue;
        }
        for at in members {
            let one = hold(&org, planned, &[at]);
            let refusal = match periods::reserve(tx, &one, now).await? {
                Held::Yes => continue,
                Held::NoOrg => Created::UnknownOrg,
                Held::Over { quota, limit, resets_at } => Created::QuotaExceeded { quota, limit, resets_at },
            };
            planned[at].outcome = Some(refusal);
            // A refused request is not stored.
            if let Some((key, _)) = &planned[at].idempotency {
                idempotency::drop_entry(tx, &key.scope, &key.key, &key.fingerprint).await?;
            }
        }
    }
    Ok(())
}

fn hold<'a>(org: &'a str, planned: &[Planned], members: &[usize]) -> Hold<'a> {
    let jobs = members.iter().map(|at| planned[*at].rows.len() as i64).sum();
    let tokens =
        members.iter().flat_map(|at| &planned[*at].held).fold(0_i64, |sum, tokens| sum.saturating_add(*tokens));
    Hold {
        org,
        jobs,
        // Far above any limit, and far from overflowing when something is added to it.
        tokens: tokens.min(i64::MAX / 4),
        created: jobs,
    }
}

async fn insert(tx: &mut Tx<'_>, planned: &[Planned], now: i64) -> Result<(), LedgerError> {
    let period = month_of(now);
    let mut rows: Vec<Vec<Arg>> = Vec::new();
    let mut large: Vec<Vec<Arg>> = Vec::new();
    for request in planned.iter().filter(|request| request.is_open()) {
        for (job, held) in request.rows.iter().zip(&request.held) {
            let inline = job.input.len() <= INLINE;
            if !inline {
                large.push(vec![(&job.id).into(), (&job.input).into()]);
            }
            rows.push(vec![
                (&job.id).into(),
                (&job.org).into(),
                (&job.job_type).into(),
                (*held).into(),
                job.max_attempts.into(),
                job.priority.into(),
                job.run_at.into(),
                job.timeout.into(),
                job.start_before.into(),
                job.provider.clone().into(),
                job.webhook_url.clone().into(),
                job.traceparent.clone().into(),
                (&job.metadata).into(),
                Arg::Text(inline.then(|| job.input.clone())),
            ]);
        }
    }
    for rows in chunks(rows) {
        let sql = Sql::batch(
            "create.jobs",
            "WITH {v} INSERT INTO jobs (id, org, job_type, reserved, max_attempts, priority, run_at, timeout,
                start_before, provider_wish, webhook_url, traceparent, metadata, input,
                state, gen, run, made, attempts, queued_gen, lost, progress, period, created_at, updated_at)
             SELECT k_id, k_org, k_job_type, k_reserved, k_max_attempts, k_priority, k_run_at, k_timeout,
                k_start_before, k_provider, k_webhook_url, k_traceparent, k_metadata, k_input,
                'QUEUED', 1, 0, 0, 0, 0, 0, 0, ?, ?, ? FROM v WHERE k_id IS NOT NULL",
            &[
                "k_id",
                "k_org",
                "k_job_type",
                "k_reserved",
                "k_max_attempts",
                "k_priority",
                "k_run_at",
                "k_timeout",
                "k_start_before",
                "k_provider",
                "k_webhook_url",
                "k_traceparent",
                "k_metadata",
                "k_input",
            ],
            rows,
        );
        tx.run(sql.bind(period.as_str()).bind(now).bind(now)).await?;
    }
    while !large.is_empty() {
        let rows = large.split_off(large.len().saturating_sub(LARGE_ROWS));
        let sql = Sql::batch(
            "create.inputs",
            "WITH {v} INSERT INTO job_inputs (job, input) SELECT k_job, k_input FROM v WHERE k_job IS NOT NULL",
            &["k_job", "k_input"],
            rows,
        );
        tx.run(sql).await?;
    }
    Ok(())
}

fn answers(planned: Vec<Planned>) -> Vec<Created> {
    // What a later request in the same call with the same key is told.
    let told: Vec<Option<Created>> = planned
        .iter()
        .map(|request| {
            let first = &planned[request.same_as?];
            let (key, _) = request.idempotency.as_ref()?;
            let (first_key, answer) = first.idempotency.as_ref()?;
            Some(if key.fingerprint != first_key.fingerprint {
                match first.outcome {
                    // The key is free after all; the caller's next try will have it.
                    Some(Created::QuotaExceeded { .. } | Created::UnknownOrg) => Created::InProgress,
                    _ => Created::Mismatch,
                }
            } else {
                first.outcome.clone().unwrap_or_else(|| Created::Replay(answer.clone()))
            })
        })
        .collect();
    planned
        .into_iter()
        .zip(told)
        .map(|(request, told)| told.or(request.outcome).unwrap_or(Created::Created(request.rows)))
        .collect()
}

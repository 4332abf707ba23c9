//! The protocol, case by case, each on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::OnceLock;

use launchkit_testkit::postgres::{Durability, Postgres};

use super::db::Row;
use super::sql::Sql;
use super::*;

/// Runs each named case on both databases.
macro_rules! both {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            use super::super::Fixture;

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn sqlite() {
                super::$name(Fixture::sqlite().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn postgres() {
                super::$name(Fixture::postgres().await).await;
            }
        })*
    };
}

mod access;
mod begin;
mod create;
mod end;
mod events;
mod list;
mod open;
mod reconcile;
mod statements;
mod users;

/// 2026-11-15T12:00:00Z
/// Who asks in these tests.
const BY: By<'static> = By { who: "key", from: "127.0.0.1" };
const NOW: i64 = 1_794_744_000_000;
const HOUR: i64 = 3_600_000;

/// A fresh database with one organisation.
struct Fixture {
    ledger: Ledger,
    org: String,
    url: DatabaseUrl,
    _directory: Option<tempfile::TempDir>,
}

impl Fixture {
    async fn sqlite() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(directory.path().join("ledger.db"));
        Fixture::open(url, Some(directory)).await
    }

    async fn postgres() -> Fixture {
        Fixture::open(postgres_url(), None).await
    }

    async fn open(url: DatabaseUrl, directory: Option<tempfile::TempDir>) -> Fixture {
        let ledger = Ledger::open(&url, OpenOptions::default(), NOW).await.unwrap();
        let org = ledger.ensure_default_org(NOW).await.unwrap().id;
        Fixture { ledger, org, url, _directory: directory }
    }

    /// Another process's handle to the same database.
    async fn other_node(&self) -> Ledger {
        Ledger::open(&self.url, OpenOptions::default(), NOW).await.unwrap()
    }

    async fn limited_org(&self, jobs: Option<i64>, tokens: Option<i64>) -> String {
        let plan = Plan { name: "test".to_owned(), jobs_limit: jobs, tokens_limit: tokens };
        self.ledger.create_org("Test", &plan, NOW).await.unwrap().id
    }

    async fn job(&self) -> JobRow {
        self.job_of(new_job()).await
    }

    async fn job_of(&self, job: NewJob) -> JobRow {
        let created = self.create(&self.org, vec![job]).await;
        created_rows(created).remove(0)
    }

    async fn create(&self, org: &str, jobs: Vec<NewJob>) -> Created {
        let request = Create { org: org.to_owned(), jobs, idempotency: None };
        let mut answers = self.ledger.create(vec![request], NOW).await.unwrap();
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    async fn get(&self, job: &JobRow) -> JobRow {
        self.ledger.get(&job.org, &job.id).await.unwrap().unwrap()
    }

    async fn begin_one(&self, start: Start, now: i64) -> Begun {
        let mut begun = self.ledger.begin(Kind::Job, &[start], "worker", now).await.unwrap();
        assert_eq!(begun.len(), 1);
        begun.remove(0)
    }

    /// Begins a run that must be possible.
    async fn run(&self, job: &JobRow, now: i64) -> Run {
        let job = self.get(job).await;
        let start = Start { id: job.id, generation: job.generation, made: 0 };
        match self.begin_one(start, now).await {
            Begun::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    async fn end_one(&self, run: &Run, what: What, now: i64) -> Ended {
        let finish = finish(run, what);
        let mut ended = self.ledger.end(Kind::Job, vec![finish], now).await.unwrap();
        assert_eq!(ended.len(), 1);
        ended.remove(0)
    }

    /// Creates, runs and ends a job.
    async fn ended(&self, what: What) -> JobRow {
        let job = self.job().await;
        let run = self.run(&job, NOW).await;
        self.end_one(&run, what, NOW + 1).await;
        self.get(&job).await
    }

    async fn period(&self, org: &str) -> PeriodRow {
        self.ledger.period(org, NOW).await.unwrap()
    }

    async fn sql(&self, text: &'static str) -> Vec<Row> {
        self.ledger.db().once(Sql::new("test", text)).await.unwrap()
    }

    async fn number(&self, text: &'static str) -> i64 {
        self.sql(text).await.remove(0).int().unwrap()
    }
}

/// The process's one server; it stops when the process ends.
fn postgres_url() -> DatabaseUrl {
    static SERVER: OnceLock<Postgres> = OnceLock::new();
    let server = SERVER.get_or_init(|| match Postgres::start(Durability::None) {
        Ok(server) => server,
        Err(why) => panic!("{why}"),
    });
    DatabaseUrl::parse(&server.database().unwrap()).unwrap()
}

/// A job as a request makes it.
pub(crate) fn new_job() -> NewJob {
    NewJob {
        job_type: "SUMMARIZE".to_owned(),
        input: r#"{"text":"Some text."}"#.to_owned(),
        priority: 0,
        max_attempts: 3,
        metadata: "{}".to_owned(),
        run_at: None,
        timeout: None,
        start_before: None,
        webhook_url: None,
        provider: None,
        traceparent: None,
        reserve_tokens: 100,
    }
}

fn created_rows(created: Created) -> Vec<JobRow> {
    match created {
        Created::Created(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn start(job: &JobRow, made: i64) -> Start {
    Start { id: job.id.clone(), generation: job.generation, made }
}

fn finish(run: &Run, what: What) -> Finish {
    Finish { id: run.id.clone(), generation: run.generation, run: run.run, what }
}

fn usage() -> Usage {
    Usage {
        input_tokens: 30,
        output_tokens: 15,
        provider: "local".to_owned(),
        model: "lexrank".to_owned(),
        cost_micros: 12_345,
    }
}

fn succeeded() -> What {
    What::Succeeded { output: r#"{"summary":"Text."}"#.to_owned(), usage: Some(usage()) }
}

fn error(retryable: bool) -> JobError {
    JobError { code: "provider-error".to_owned(), message: "It did not answer.".to_owned(), retryable }
}

fn failed() -> What {
    What::Failed { error: error(true), usage: None, retry_at: None }
}

fn failed_for_good() -> What {
    What::Failed { error: error(false), usage: None, retry_at: None }
}

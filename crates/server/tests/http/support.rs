//! A service for one test: its own database file, its own queues, no socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use launchkit::ai::JobType;
use launchkit::auth::{Auth, Grant, Role, Tokens};
use launchkit::config::Jwt;
use launchkit::http::create::creates;
use launchkit::http::{Api, router};
use launchkit::ledger::{
    Begun, DatabaseUrl, Ended, Filter, Finish, KeyMode, Kind, Ledger, NewKey, OpenOptions, Page, Run, Start, Usage,
    What,
};
use launchkit::work::{Owner, Skew};
use launchkit_queue::{Clock, Queue, Store};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

pub(crate) const SECRET: &str = "a-secret-of-the-tests-that-is-long-enough";
pub(crate) const ALL: &[&str] = &["jobs:read", "jobs:write", "usage:read", "webhooks:write"];

/// The service and a key of its first organisation.
pub(crate) struct App {
    pub(crate) router: Router,
    pub(crate) ledger: Ledger,
    pub(crate) ai_jobs: Queue,
    pub(crate) webhooks: Queue,
    pub(crate) clock: Clock,
    pub(crate) healthy: Arc<AtomicBool>,
    pub(crate) store: Store,
    pub(crate) owner: Arc<Owner>,
    pub(crate) skew: Arc<Skew>,
    pub(crate) org: String,
    pub(crate) key: String,
    dir: tempfile::TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl App {
    pub(crate) async fn new() -> App {
        App::with_backlog(100_000).await
    }

    /// A service that accepts nothing more when so many jobs wait for the queue; nobody carries them there.
    pub(crate) async fn with_backlog(most: u32) -> App {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let store = Store::memory();
        let url = DatabaseUrl::Sqlite(dir.path().join("launchkit.db"));
        let ledger = Ledger::open(&url, OpenOptions::default(), clock.now().millis()).await.unwrap();
        let org = ledger.ensure_default_org(clock.now().millis()).await.unwrap().id;
        let wake = Arc::new(Notify::new());
        let (creates, creator) = creates(ledger.clone(), clock.clone(), wake.clone());
        tokio::spawn(creator.most_backlog(most).run());
        let healthy = Arc::new(AtomicBool::new(true));
        let pulse = healthy.clone();
        let owner = Arc::new(Owner::new(&store, ledger.deployment_id()));
        let skew = Arc::new(Skew::default());
        let api = Api {
            ledger: ledger.clone(),
            store: store.clone(),
            ai_jobs: Queue::new(&store, "ai-jobs").unwrap(),
            webhooks: Queue::new(&store, "webhooks").unwrap(),
            clock: clock.clone(),
            auth: Auth::new(ledger.clone(), tokens()),
            creates,
            wake,
            owner: owner.clone(),
            skew: skew.clone(),
            pulse: Arc::new(move || match pulse.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err("The loop of ai-jobs does not turn.".to_owned()),
            }),
        };
        let (ai_jobs, webhooks) = (api.ai_jobs.clone(), api.webhooks.clone());
        let router = router(Arc::new(api));
        let key = String::new();
        let mut app = App { router, ledger, ai_jobs, webhooks, clock, healthy, store, owner, skew, org, key, dir };
        app.key = app.new_key(&app.org.clone(), ALL).await.1;
        app
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().millis()
    }

    /// Id and text of a new key.
    pub(crate) async fn new_key(&self, org: &str, scopes: &[&str]) -> (String, String) {
        self.key_until(org, scopes, None).await
    }

    pub(crate) async fn key_until(&self, org: &str, scopes: &[&str], expires_at: Option<i64>) -> (String, String) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let key = NewKey { org: org.to_owned(), name: "test".to_owned(), mode: KeyMode::Live, scopes, expires_at };
        let (row, text) = self.ledger.create_key(&key, self.now()).await.unwrap().unwrap();
        (row.id, text)
    }

    pub(crate) fn token(&self, role: Role) -> String {
        token(role, None, self.now() + 60_000)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Reply { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    /// A request with the app's own key.
    pub(crate) async fn call(&self, method: Method, path: &str, body: impl Into<Body>) -> Reply {
        self.send(request(method, path, &self.key, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call(Method::GET, path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.call(Method::POST, path, body.to_string()).await
    }

    /// A request with an operator's token.
    pub(crate) async fn order(&self, method: Method, path: &str) -> Reply {
        self.send(request(method, path, &self.token(Role::Operator), "")).await
    }

    /// The id of a new SENTIMENT job.
    pub(crate) async fn job(&self) -> String {
        let reply = self.post("/v1/jobs/sentiment", &json!({"text": "A fine day."})).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// How many jobs the app's organisation has.
    pub(crate) async fn jobs(&self) -> i64 {
        let page = self.ledger.list(&self.org, &Filter::default(), &Page::Offset(0), 1).await.unwrap();
        page.total.unwrap()
    }

    /// Who did what to what, read from the audit table itself, oldest first.
    pub(crate) async fn audit(&self) -> Vec<(String, String, String)> {
        let pool = self.rows().await;
        sqlx::query_as("SELECT who, what, target FROM audit ORDER BY id").fetch_all(&pool).await.unwrap()
    }

    /// What the service made of the request with this idempotency key.
    pub(crate) async fn fingerprint(&self, key: &str) -> String {
        let sql = sqlx::query_scalar("SELECT fingerprint FROM idempotency WHERE key = $1").bind(key);
        sql.fetch_one(&self.rows().await).await.unwrap()
    }

    /// The database's own tables, for what no call of the service tells.
    async fn rows(&self) -> sqlx::sqlite::SqlitePool {
        let url = format!("sqlite://{}", self.dir.path().join("launchkit.db").display());
        sqlx::sqlite::SqlitePool::connect(&url).await.unwrap()
    }

    /// Begins a run as a worker would.
    pub(crate) async fn begin(&self, id: &str) -> Run {
        let start = Start { id: id.to_owned(), generation: 1, made: 0 };
        match self.ledger.begin(Kind::Job, &[start], "holder", self.now()).await.unwrap().remove(0) {
            Begun::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    /// Ends a run as a worker would.
    pub(crate) async fn end(&self, run: &Run, what: What) {
        let finish = Finish { id: run.id.clone(), generation: run.generation, run: run.run, what };
        let ended = self.ledger.end(Kind::Job, vec![finish], self.now()).await.unwrap();
        assert!(matches!(ended[0], Ended::Applied(_)), "{ended:?}");
    }

    /// Takes a job through a run that succeeds.
    pub(crate) async fn succeed(&self, id: &str) {
        let run = self.begin(id).await;
        let usage = Usage {
            input_tokens: 30,
            output_tokens: 15,
            provider: "local".to_owned(),
            model: "vader".to_owned(),
            cost_micros: 12_345,
        };
        let output = json!({"sentiment": "positive", "score": 0.5, "magnitude": 0.5}).to_string();
        self.end(&run, What::Succeeded { output, usage: Some(usage) }).await;
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Asserts a problem document of this status and code, whole and consistent, and answers it.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["code"], code, "{document}");
        assert_eq!(document["type"], format!("/problems/{code}"));
        assert_eq!(document["status"], status);
        assert_eq!(document["requestId"].as_str(), self.header("x-request-id"));
        for name in ["title", "detail"] {
            assert!(document[name].as_str().is_some_and(|text| text.len() > 5), "{name}: {document}");
        }
        assert!(document["retryable"].is_boolean());
        document
    }
}

pub(crate) fn request(method: Method, path: &str, bearer: &str, body: impl Into<Body>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
    if !bearer.is_empty() {
        builder = builder.header("authorization", format!("Bearer {bearer}"));
    }
    builder.body(body.into()).unwrap()
}

pub(crate) fn tokens() -> Tokens {
    Tokens::new(&Jwt { secret: SecretString::from(SECRET), issuer: None, audience: None })
}

pub(crate) fn token(role: Role, org: Option<&str>, until: i64) -> String {
    let grant = Grant { subject: "ops".to_owned(), role, org: org.map(str::to_owned) };
    tokens().make(&grant, until - 60_000, until).unwrap().expose_secret().to_owned()
}

/// The route that creates this type of job.
pub(crate) fn route(kind: JobType) -> String {
    format!("/v1/jobs/{}", kind.as_str().to_ascii_lowercase())
}

//! A newer program has been at the database: what it has added is in nobody's way, and this one works on.

use launchkit_testkit::postgres::{Durability, Postgres};
use launchkit_testkit::tell;

use super::support::{Books, Home, Load, Server, Stores};

/// Tables that a newer version gives a column each.
const TABLES: [&str; 8] = ["orgs", "api_keys", "periods", "jobs", "usage", "idempotency", "events", "deliveries"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_program_works_on_an_expanded_schema_on_sqlite() {
    works_on_an_expanded_schema(&Home::new(Stores::default()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_program_works_on_an_expanded_schema_on_postgres() {
    let postgres = Postgres::start(Durability::None).expect("a private PostgreSQL server");
    let stores = Stores { postgres: Some(postgres.database().expect("a fresh database")), redis: None };
    works_on_an_expanded_schema(&Home::new(stores).await).await;
}

/// As in a rolling upgrade: the schema is expanded while the older program runs, and it is started again on it.
async fn works_on_an_expanded_schema(home: &Home) {
    let (load, clients) = Load::begin(home);
    let server = Server::start(home).await;
    load.open(&server.url);
    load.work_in_flight().await;
    for table in TABLES {
        home.execute(&format!("ALTER TABLE {table} ADD COLUMN newer TEXT DEFAULT 'x'")).await;
    }
    home.execute(
        "CREATE TABLE newer (id TEXT PRIMARY KEY); INSERT INTO schema_version (version, oldest) VALUES (2, 1)",
    )
    .await;
    load.open(&server.url);
    load.work_in_flight().await;
    server.stop().await;
    let server = Server::start(home).await;
    load.open(&server.url);
    load.work_in_flight().await;
    let ends = load.end(clients, home, &server.url).await;
    server.stop().await;
    tell(&format!("the schema expanded under load: {} accepted, {ends:?}", load.accepted().len()));
    Books::read(home).await.assert_balanced();
}

//! How fast the service takes jobs: `cargo bench --profile demo -p launchkit --bench http` (or `make bench`).
//!
//! The real binary with its defaults on embedded files, 64 keep-alive connections over loopback, each with one request
//! under way: `POST /v1/jobs/extract` with a short text. The client shares the machine's cores with the server. A create
//! counts when its 202 has been read, that is after its commit.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 64;
const EACH: usize = 500;
const RUNS: usize = 3;

#[tokio::main]
async fn main() {
    // `cargo test --benches` asks whether it runs at all.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let launchkit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launchkit"));
        command.args(arguments).current_dir(folder.path()).env_clear().env("PORT", "0").env("RUST_LOG", "warn");
        command
    };
    let made = launchkit(&["keys", "create", "--json"]).output().unwrap();
    let key = serde_json::from_slice::<Value>(&made.stdout).unwrap()["key"].as_str().unwrap().to_owned();
    let mut server = launchkit(&["serve"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(tokio::process::ChildStdout::from_std(server.stdout.take().unwrap()).unwrap()).lines();
    let line = out.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("Listening on http://").unwrap().to_owned();
    println!("resident memory of the idle server, model not loaded: {} MB", rss(server.id()));
    let mut rates = Vec::new();
    for _ in 0..RUNS {
        let (rate, mut waits) = creates(&address, &key).await;
        waits.sort_by(f64::total_cmp);
        let at = |share: f64| waits[(waits.len() as f64 * share) as usize];
        println!(
            "{rate:.0} creates/s; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            at(0.5),
            at(0.99),
            waits[waits.len() - 1]
        );
        rates.push(rate);
        let begun = Instant::now();
        until_worked(&address, &key).await;
        println!("  backlog worked off after {:.1} s more", begun.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("median of {RUNS}: {:.0} creates/s at {CONNECTIONS} connections", rates[RUNS / 2]);
    println!("resident memory afterwards: {} MB", rss(server.id()));
    server.kill().unwrap();
    server.wait().unwrap();
}

async fn creates(address: &str, key: &str) -> (f64, Vec<f64>) {
    let body = r#"{"text":"Ada Byrne (ada@example.com) paid $1,250.00 on 3 March 2026; call +1 202 555 0143."}"#;
    let request = format!(
        "POST /v1/jobs/extract HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, request) = (address.to_owned(), request.clone());
        tasks.spawn(async move {
            let stream = TcpStream::connect(&address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            let mut waits = Vec::with_capacity(EACH);
            for _ in 0..EACH {
                let sent = Instant::now();
                stream.write_all(request.as_bytes()).await.unwrap();
                let (status, _) = answer(&mut stream).await;
                assert_eq!(status, 202);
                waits.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            waits
        });
    }
    let waits: Vec<f64> = tasks.join_all().await.into_iter().flatten().collect();
    (waits.len() as f64 / begun.elapsed().as_secs_f64(), waits)
}

/// Status and body of one answer.
async fn answer(stream: &mut BufReader<TcpStream>) -> (u16, Vec<u8>) {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (status, body)
}

/// Asks for the oldest job that is queued until there is none.
async fn until_worked(address: &str, key: &str) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    for status in ["QUEUED", "PROCESSING"] {
        let request = format!(
            "GET /v1/jobs?status={status}&limit=1 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\n\r\n"
        );
        loop {
            stream.write_all(request.as_bytes()).await.unwrap();
            let (status, body) = answer(&mut stream).await;
            assert_eq!(status, 200);
            let page: Value = serde_json::from_slice(&body).unwrap();
            if page["jobs"].as_array().unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn rss(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

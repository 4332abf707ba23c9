//! A Redis of a test's own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Value};
use tempfile::TempDir;

use super::super::super::RedisOptions;

/// A running server; it ends with its handle.
pub(in super::super::super) struct Server {
    pub(in super::super::super) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    child: Child,
}

impl Server {
    pub(in super::super::super) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let child = launch(port, &folder, &arguments);
        Self { port, folder, arguments, child }
    }

    pub(in super::super::super) fn stop(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    pub(in super::super::super) fn again(&mut self) {
        self.child = launch(self.port, &self.folder, &self.arguments);
    }

    pub(in super::super::super) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
    }

    pub(in super::super::super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Options with short time limits.
    pub(in super::super::super) fn options(&self) -> RedisOptions {
        quick(&self.url())
    }

    pub(in super::super::super) async fn admin(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("a URL");
        client.get_multiplexed_async_connection().await.expect("it listens")
    }

    /// What one command answers, asked on a connection of its own.
    pub(in super::super::super) async fn ask(&self, words: &[&str]) -> Value {
        self.admin().await.send_packed_command(&cmd(words)).await.expect("it answers")
    }

    /// Asks until the answer is as wanted.
    pub(in super::super::super) async fn until(&self, words: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let mut admin = self.admin().await;
        let mut last = String::new();
        for _ in 0..600 {
            let value = admin.send_packed_command(&cmd(words)).await.expect("it answers");
            let text = match &value {
                Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                value => format!("{value:?}"),
            };
            if wanted(&text) {
                return text;
            }
            last = text;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{words:?} never answered as wanted, but {last}");
    }

    /// Waits until so many clients block.
    pub(in super::super::super) async fn blocked(&self, clients: usize) {
        let wanted = format!("blocked_clients:{clients}\r\n");
        self.until(&["INFO", "clients"], |text| text.contains(&wanted)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(in super::super::super) fn cmd(words: &[&str]) -> Cmd {
    let mut cmd = Cmd::new();
    cmd.arg(words);
    cmd
}

pub(in super::super::super) fn quick(url: &str) -> RedisOptions {
    let mut options = RedisOptions::parse(url).expect("a URL").answer_within(Duration::from_millis(600));
    options.times.pause = Duration::from_millis(200);
    options.times.patience = Duration::from_millis(400);
    options.times.block = Duration::from_millis(400);
    options.times.slack = Duration::from_millis(300);
    options.times.linger = Duration::from_millis(50);
    options
}

pub(in super::super::super) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn launch(port: u16, folder: &TempDir, arguments: &[String]) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"])
        .arg("--dir")
        .arg(folder.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("Ready to accept connections")), "redis-server starts");
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// A sentinel that watches one master, by the name `main`, and gives it up soon.
pub(in super::super::super) fn sentinel(master: u16) -> Server {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let file = folder.path().join("sentinel.conf");
    let text = format!(
        "port {port}\ndir {}\nsentinel monitor main 127.0.0.1 {master} 1\nsentinel down-after-milliseconds main 300\n\
         sentinel failover-timeout main 1000\n",
        folder.path().display()
    );
    std::fs::write(&file, text).expect("a file");
    let mut child = Command::new("redis-server")
        .arg(&file)
        .arg("--sentinel")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("+monitor master")), "the sentinel starts");
    std::thread::spawn(move || lines.for_each(drop));
    Server { port, folder, arguments: Vec::new(), child }
}

/// A cluster of one node.
pub(in super::super::super) async fn cluster() -> Server {
    let server = Server::start(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
    server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    server.until(&["CLUSTER", "INFO"], |text| text.contains("cluster_state:ok")).await;
    server
}

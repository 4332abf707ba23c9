//! Runs the binary in a directory of its own, with an environment of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use launchkit_testkit::redis::{Kind, RedisServer};
use serde_json::Value;

/// Where the queue of a test is.
#[derive(Clone, Copy)]
pub(crate) enum On {
    Embedded,
    Redis,
}

/// Makes two tests of each function: with the embedded queue, and on Redis.
macro_rules! on_each_store {
    ($($name:ident)*) => {
        mod with_embedded {
            $(#[test] fn $name() { super::$name($crate::support::On::Embedded); })*
        }
        mod with_redis {
            $(#[test] fn $name() { super::$name($crate::support::On::Redis); })*
        }
    };
}
pub(crate) use on_each_store;

/// A directory that commands run in; nothing of the tester's environment reaches them.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    redis: Option<RedisServer>,
}

/// A finished command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place::on(On::Embedded)
    }

    /// A place whose commands find `REDIS_URL` in their environment, when the queue is to be there.
    pub(crate) fn on(store: On) -> Place {
        let start = || RedisServer::start(Kind::Redis).unwrap_or_else(|why| panic!("{why}"));
        Place { dir: tempfile::tempdir().unwrap(), redis: matches!(store, On::Redis).then(start) }
    }

    /// A place with this server.
    pub(crate) fn with(redis: RedisServer) -> Place {
        Place { dir: tempfile::tempdir().unwrap(), redis: Some(redis) }
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("the queue is on Redis")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A command of the binary, with this environment and nothing else.
    pub(crate) fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_launchkit"));
        command.args(arguments).current_dir(self.dir.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.redis.as_ref().map(|redis| ("REDIS_URL", redis.url())));
        command.envs(environment.iter().copied());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        ran(self.command(arguments, environment).output().unwrap())
    }

    /// Runs with this text on standard input.
    pub(crate) fn feed(&self, arguments: &[&str], text: &str) -> Ran {
        let mut command = self.command(arguments, &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        ran(child.wait_with_output().unwrap())
    }

    /// Starts a server on a free port and waits for its line.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> Server {
        self.begin("serve", environment).ready()
    }

    /// Starts `serve` or `worker`, and waits for nothing.
    pub(crate) fn begin(&self, command: &str, environment: &[(&str, &str)]) -> Server {
        let log = self.path("server.log");
        let _ = std::fs::remove_file(&log);
        let mut command = self.command(&[command], environment);
        command.env("PORT", "0").env("LOG_FILE", &log).stdout(Stdio::piped());
        command.stderr(std::fs::File::create(self.path("stderr.log")).unwrap());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Server { url: String::new(), child, out, log, data: self.path("launchkit-data") }
    }
}

/// A server or worker; killed when dropped.
pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) log: PathBuf,
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    data: PathBuf,
}

impl Server {
    /// Waits for the line that tells where it listens.
    pub(crate) fn ready(mut self) -> Server {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        let said = || std::fs::read_to_string(self.log.with_file_name("stderr.log")).unwrap_or_default();
        let url = line.trim_end().strip_prefix("Listening on ").unwrap_or_else(|| panic!("{line:?}\n{}", said()));
        self.url = url.to_owned();
        self
    }

    /// Waits until it has logged this.
    pub(crate) fn says(&self, part: &str) {
        until(part, || std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(part)).then_some(()));
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Sends it this signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }

    /// The key that the first start has written.
    pub(crate) fn first_key(&self) -> String {
        let file = self.data.join("first-api-key");
        assert_eq!(mode(&file), 0o600);
        std::fs::read_to_string(file).unwrap().trim_end().to_owned()
    }

    /// Asks the server to stop; answers its exit code and what else stood on its standard output.
    pub(crate) fn stop(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Asks until there is an answer, for at most a minute.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The results and details of `doctor`'s checks of a name.
pub(crate) fn found(ran: &Ran, name: &str) -> Vec<(String, String)> {
    let report = ran.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["name"] == name);
    checks.map(|check| (text(&check["result"]), text(&check["detail"]))).collect()
}

pub(crate) fn assert_found(ran: &Ran, name: &str, result: &str, part: &str) {
    let found = found(ran, name);
    let fits = |(was, detail): &(String, String)| was == result && detail.contains(part);
    assert!(found.iter().any(fits), "{name} {result} {part:?}: {found:?}");
}

pub(crate) fn assert_does_a_job(place: &Place, server: &Server) {
    let environment = [("LAUNCHKIT_URL", server.url.as_str()), ("LAUNCHKIT_API_KEY", &server.first_key())];
    let done = place.run(&["jobs", "submit", "sentiment", "--text", "I love it", "--watch", "--json"], &environment);
    assert_eq!((done.code, &done.json()["status"]), (0, &"SUCCEEDED".into()), "{done:?}");
}

/// The answer of `/readyz` once it has this status.
pub(crate) fn ready(server: &Server, status: u16) -> Value {
    until(&format!("/readyz with {status}"), || {
        let mut line = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
        line.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        head.starts_with(&format!("HTTP/1.1 {status}")).then(|| serde_json::from_str(body).unwrap())
    })
}

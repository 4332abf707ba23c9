//! One process of a server, and the watcher that ends it when the tests' process is gone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use super::clock::Clock;
use super::{Kind, RedisError, failed};

/// A port that was free may be taken before the server has it.
pub(super) const PORTS_TRIED: u32 = 10;
/// Ports of servers lie below those that the kernel hands to connections, so that nobody takes one between a kill and a
/// restart; a cluster's second port is 10,000 higher.
const PORTS: std::ops::Range<u16> = 10_000..22_000;

/// What a server says when it accepts connections, and what a sentinel says.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];
const LINES_KEPT: usize = 20;

/// Ends the server ($1) and removes its directory ($2) when standard input ends without a word.
const WATCHER: &str = r#"read -r _ && exit; kill -KILL "$1"; rm -rf "$2""#;

/// A process. It is killed when dropped.
pub(super) struct Process {
    server: Child,
    watcher: Child,
    log: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts a server; answers when it accepts connections, or with what it said instead.
    pub(super) fn start(
        binary: &Path,
        arguments: &[OsString],
        home: &Path,
        clock: Option<&Clock>,
    ) -> Result<Self, RedisError> {
        let step = "starting the server";
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(home).env("LC_ALL", "C.UTF-8");
        if let Some(clock) = clock {
            clock.give_to(&mut command);
        }
        let mut server =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed(step))?;
        let watcher = Command::new("/bin/sh")
            .args(["-c", WATCHER, "redis-watcher", &server.id().to_string()])
            .arg(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let watcher = match watcher {
            Ok(watcher) => watcher,
            Err(why) => {
                // It has just been started and nobody knows it yet.
                let _ = server.kill();
                let _ = server.wait();
                return Err(failed(step)(why));
            }
        };
        let (output, errors) = (server.stdout.take(), server.stderr.take());
        let mut process = Self { server, watcher, log: None };
        match output.ok_or_else(|| "it has no standard output".to_owned()).and_then(await_ready) {
            Ok(log) => {
                process.log = Some(log);
                Ok(process)
            }
            Err(mut why) => {
                // It has ended, or is about to.
                let _ = process.server.kill();
                if let Some(mut errors) = errors {
                    let _ = errors.read_to_string(&mut why);
                }
                Err(RedisError::Failed { step, why })
            }
        }
    }

    /// Stops it in its tracks.
    pub(super) fn freeze(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.server), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What fails here has ended already.
        let _ = self.server.kill();
        if let Some(mut line) = self.watcher.stdin.take() {
            let _ = line.write_all(b"gone\n");
        }
        let _ = self.watcher.wait();
        let _ = self.server.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

/// Reads the server's log until it is ready; the rest is read and thrown away, so that the pipe never fills.
fn await_ready(pipe: ChildStdout) -> Result<JoinHandle<()>, String> {
    let mut lines = BufReader::new(pipe).lines();
    let mut last = VecDeque::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if READY.iter().any(|ready| line.contains(ready)) {
            return Ok(std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)));
        }
        if last.len() == LINES_KEPT {
            last.pop_front();
        }
        last.push_back(line);
    }
    Err(last.into_iter().collect::<Vec<_>>().join("\n"))
}

/// Whether a server did not start because its port was not free.
pub(super) fn was_taken(why: &str) -> bool {
    why.contains("in use") || why.contains("Failed listening")
}

/// The server's program.
pub(super) fn find(kind: Kind) -> Result<PathBuf, RedisError> {
    match kind {
        Kind::Redis => in_path("redis-server").ok_or(RedisError::NoRedis),
        Kind::Valkey => {
            let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/valkey/valkey-server");
            if fetched.is_file() { Ok(fetched) } else { in_path("valkey-server").ok_or(RedisError::NoValkey) }
        }
    }
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|program| program.is_file())
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> io::Result<u16> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORTS_TRIED {
        // Random, so that processes that start servers at the same time rarely meet.
        let drawn = RandomState::new().build_hasher().finish() % u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(drawn).unwrap_or_default();
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(why) => last = why,
        }
    }
    Err(last)
}

//! Private Redis and Valkey servers for tests: own directory, free port, gone when the test process is.
//!
//! The package's own daemon is not touched. A server that is not installed is a failure that says how to install it, never a
//! skip.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use launchkit_queue::Timestamp;
use tempfile::TempDir;

mod ask;
mod clock;
mod clocked;
mod cluster;
mod harness;
mod process;
mod sentinel;
mod tls;

use clock::Clock;
pub use clocked::Clocked;
pub use cluster::Cluster;
pub use harness::{RedisHarness, ValkeyHarness};
use process::Process;
pub use sentinel::SentinelFleet;
pub use tls::Papers;

/// How often other processes are looked at.
const LOOKS: Duration = Duration::from_millis(20);

/// Whose server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's `redis-server`, found under PATH.
    Redis,
    /// The Valkey server that `scripts/setup test` fetched into `target/peers/valkey`.
    Valkey,
}

impl Kind {
    /// Its name in failures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Valkey => "valkey",
        }
    }
}

/// Why no server could be had, or what it did not do.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// Redis is not on this machine.
    #[error("no redis-server found under PATH: apt-get install redis-server (`make test` does it)")]
    NoRedis,
    /// Valkey is not on this machine.
    #[error(
        "no valkey-server found in target/peers/valkey or under PATH: scripts/setup test fetches it (`make test` does it)"
    )]
    NoValkey,
    /// A step failed.
    #[error("Redis: {step} failed: {why}")]
    Failed {
        /// Which step.
        step: &'static str,
        /// What was said.
        why: String,
    },
}

/// A server to be started.
pub struct RedisSetup {
    kind: Kind,
    settings: Vec<OsString>,
    config: Option<String>,
    clocked: bool,
    papers: Option<Papers>,
}

impl RedisSetup {
    /// A server that keeps nothing on its disk and runs on the machine's clock.
    pub fn new(kind: Kind) -> Self {
        let settings = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(OsString::from).to_vec();
        Self { kind, settings, config: None, clocked: false, papers: None }
    }

    /// Further settings, as on the command line: `["--maxmemory", "10mb"]`. The last of a name holds.
    pub fn with(mut self, settings: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.settings.extend(settings.into_iter().map(Into::into));
        self
    }

    /// It writes every command to its log, and syncs that before it answers: a restart finds what was answered.
    pub fn durable(self) -> Self {
        self.with(["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Its clock stands where [`RedisServer::set_clock`] puts it.
    pub fn clocked(mut self) -> Self {
        self.clocked = true;
        self
    }

    /// It speaks nothing but TLS, to clients that show a certificate of [`RedisServer::papers`].
    pub fn encrypted(mut self) -> Result<Self, RedisError> {
        self.papers = Some(Papers::make()?);
        Ok(self)
    }

    /// It is a sentinel with this configuration, which it rewrites itself.
    fn sentinel(mut self, config: String) -> Self {
        self.settings.clear();
        self.config = Some(config);
        self
    }

    /// Starts it; answers when it accepts connections.
    pub fn start(self) -> Result<RedisServer, RedisError> {
        let binary = process::find(self.kind)?;
        let home =
            tempfile::Builder::new().prefix("launchkit-redis-").tempdir().map_err(failed("making a directory"))?;
        let clock = self.clocked.then(|| Clock::make(home.path())).transpose()?;
        let mut server = RedisServer {
            kind: self.kind,
            binary,
            home,
            port: 0,
            settings: self.settings,
            config: self.config,
            clock,
            papers: self.papers,
            process: Mutex::new(None),
        };
        let mut tries = process::PORTS_TRIED;
        loop {
            server.port = process::free_port().map_err(failed("finding a port"))?;
            tries -= 1;
            match server.run() {
                Ok(process) => {
                    *server.process() = Some(process);
                    return Ok(server);
                }
                // Somebody was faster.
                Err(RedisError::Failed { why, .. }) if tries > 0 && process::was_taken(&why) => {}
                Err(why) => return Err(why),
            }
        }
    }
}

/// A server. It stops when this is dropped, and also when the process ends without dropping it (a `static`, a kill): a
/// watcher beside it sees the end of a pipe that only this process holds.
pub struct RedisServer {
    kind: Kind,
    binary: PathBuf,
    home: TempDir,
    port: u16,
    settings: Vec<OsString>,
    config: Option<String>,
    clock: Option<Clock>,
    papers: Option<Papers>,
    /// `None` after [`RedisServer::kill`].
    process: Mutex<Option<Process>>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on its disk.
    pub fn start(kind: Kind) -> Result<Self, RedisError> {
        RedisSetup::new(kind).start()
    }

    /// Starts a server whose clock stands where [`set_clock`](Self::set_clock) puts it; until then it is the machine's.
    ///
    /// Commands that block with a time-out do not time out by themselves while it stands, since the server counts their time
    /// by the same clock: they do when the clock is put beyond their time. Clients need a watch of their own.
    pub fn start_clocked(kind: Kind) -> Result<Self, RedisError> {
        RedisSetup::new(kind).clocked().start()
    }

    /// Whose server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients find it.
    pub fn url(&self) -> String {
        format!("redis{}://127.0.0.1:{}/", if self.papers.is_some() { "s" } else { "" }, self.port)
    }

    /// What its clients need, when it is encrypted.
    pub fn papers(&self) -> Option<&Papers> {
        self.papers.as_ref()
    }

    /// Puts its clock to `now`, where it stays until the next call; backwards as well. `Timestamp::from_millis(0)` gives it
    /// the machine's clock back. Fails on a server that was not started with a clock.
    pub fn set_clock(&self, now: Timestamp) -> Result<(), RedisError> {
        match &self.clock {
            Some(clock) => clock.set(now),
            None => Err(RedisError::Failed { step: "setting the clock", why: "it has the machine's clock".to_owned() }),
        }
    }

    /// Ends it as a crash does (SIGKILL); answers when it is gone.
    pub fn kill(&self) {
        drop(self.process().take());
    }

    /// Starts it again on the same port and directory, after ending it as a crash does when it still runs.
    pub fn restart(&self) -> Result<(), RedisError> {
        let mut process = self.process();
        drop(process.take());
        *process = Some(self.run()?);
        Ok(())
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open, nothing is answered.
    pub fn freeze(&self) -> Result<(), RedisError> {
        self.running("freezing it", Process::freeze)
    }

    /// Lets it go on after [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<(), RedisError> {
        self.running("thawing it", Process::thaw)
    }

    /// Runs one command on a connection of its own. The answer as text: nothing for nil, a line for each element.
    pub fn command(&self, words: &[&str]) -> Result<String, RedisError> {
        ask::ask(&self.url(), words)
    }

    fn running(&self, step: &'static str, act: impl Fn(&Process) -> io::Result<()>) -> Result<(), RedisError> {
        match &*self.process() {
            Some(process) => act(process).map_err(failed(step)),
            None => Err(RedisError::Failed { step, why: "it does not run".to_owned() }),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> Result<Process, RedisError> {
        let mut arguments = Vec::new();
        if let Some(config) = &self.config {
            let file = self.home.path().join("sentinel.conf");
            if !file.exists() {
                std::fs::write(&file, config).map_err(failed("writing the configuration"))?;
            }
            arguments.extend([file.into_os_string(), "--sentinel".into(), "--bind".into(), "127.0.0.1".into()]);
        }
        arguments.extend(["--port".into(), self.port.to_string().into(), "--dir".into(), self.home.path().into()]);
        arguments.extend(self.settings.iter().cloned());
        if let Some(papers) = &self.papers {
            arguments.extend(papers.lay(self.home.path(), self.port)?);
        }
        Process::start(&self.binary, &arguments, self.home.path(), self.clock.as_ref())
    }
}

/// Looks again and again until something holds in other processes, which tell nobody when it does.
fn until(step: &'static str, at_most: Duration, mut holds: impl FnMut() -> bool) -> Result<(), RedisError> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > at_most {
            return Err(RedisError::Failed { step, why: format!("not so after {at_most:?}") });
        }
        std::thread::sleep(LOOKS);
    }
    Ok(())
}

fn failed(step: &'static str) -> impl Fn(io::Error) -> RedisError {
    move |why| RedisError::Failed { step, why: why.to_string() }
}

#[cfg(test)]
mod tests;

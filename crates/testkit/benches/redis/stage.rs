//! Where it is measured: a Redis with a core of its own, and what is asked of it meanwhile.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use launchkit_testkit::redis::{Kind, RedisServer, RedisSetup};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};

use crate::meter::Reading;

/// Between two looks at what is left.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(100);
/// No backlog takes longer.
const PATIENCE: Duration = Duration::from_secs(50);
/// The unrelated key.
const KEY: &str = "unrelated";

/// Which cores whose processes have.
pub(crate) struct Cores {
    pub(crate) redis: String,
    pub(crate) clients: String,
    pub(crate) client_count: usize,
    /// Whether this program runs when it wants to, however busy the clients keep their core.
    pub(crate) prompt: bool,
}

impl Cores {
    /// The first core that we may use is for Redis, the others are for clients; this program, and so what it starts, goes
    /// there.
    pub(crate) fn divide() -> Result<Self, String> {
        let status = std::fs::read_to_string("/proc/self/status").map_err(|why| why.to_string())?;
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
        let cores: Vec<String> = list.trim().split(',').flat_map(range).map(|core| core.to_string()).collect();
        let [redis, clients @ ..] = cores.as_slice() else { return Err("no core".to_owned()) };
        if clients.is_empty() {
            return Err("one core only: Redis and its clients would measure each other".to_owned());
        }
        let clients = clients.join(",");
        let own = std::process::id().to_string();
        run("taskset", &["-a", "-c", "-p", &clients, &own])?;
        // First in the line for its core, not so its children. It needs a privilege.
        let prompt = run("chrt", &["--reset-on-fork", "--fifo", "--all-tasks", "--pid", "1", &own]).is_ok();
        Ok(Self { redis: redis.clone(), clients, client_count: cores.len() - 1, prompt })
    }
}

/// `0-3` as numbers, or `5`.
fn range(text: &str) -> std::ops::RangeInclusive<u32> {
    let number = |text: &str| text.parse().unwrap_or_default();
    match text.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(text)..=number(text),
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match ran {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} {arguments:?}: {status}")),
        Err(why) => Err(format!("{program}: {why} (apt-get install util-linux)")),
    }
}

/// What is left in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) waiting: u32,
    pub(crate) active: u32,
    pub(crate) delayed: u32,
    pub(crate) prioritized: u32,
    pub(crate) failed: u32,
    pub(crate) completed: u32,
}

/// A server.
pub(crate) struct Stage {
    server: RedisServer,
    pid: u32,
    redis: MultiplexedConnection,
    queues: u32,
}

impl Stage {
    pub(crate) async fn set(kind: Kind, log: bool, cores: &Cores) -> Result<Self, String> {
        let mut setup = RedisSetup::new(kind);
        if log {
            let log = ["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];
            setup = setup.with(log);
        }
        let server = setup.start().map_err(|why| why.to_string())?;
        let info = server.command(&["INFO", "server"]).map_err(|why| why.to_string())?;
        let pid = field(&info, "process_id").and_then(|pid| pid.parse().ok()).ok_or("Redis has no process id")?;
        run("taskset", &["-a", "-c", "-p", &cores.redis, &format!("{pid}")])?;
        let client = redis::Client::open(server.url()).map_err(said)?;
        // The library gives up after half a second unless told otherwise; a script for many jobs on a busy machine is no fault.
        let patient = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let redis = client.get_multiplexed_async_connection_with_config(&patient).await.map_err(said)?;
        Ok(Self { server, pid, redis, queues: 0 })
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    pub(crate) fn read(&self, clients: &[u32]) -> Reading {
        Reading::take(self.pid, clients)
    }

    /// Server and version.
    pub(crate) async fn version(&mut self) -> Result<String, String> {
        let info: String = redis::cmd("INFO").arg("server").query_async(&mut self.redis).await.map_err(said)?;
        let version = field(&info, "valkey_version").map(|version| format!("Valkey {version}"));
        Ok(version
            .or_else(|| field(&info, "redis_version").map(|version| format!("Redis {version}")))
            .unwrap_or_default())
    }

    /// Empties it; answers the name of a queue that nobody has used, so that a worker which is still on its way out does not
    /// hear of the next one's jobs.
    pub(crate) async fn clear(&mut self) -> Result<String, String> {
        let mut commands = redis::pipe();
        commands.cmd("FLUSHALL").arg("SYNC").ignore().cmd("SET").arg(KEY).arg("x".repeat(100)).ignore();
        commands.query_async::<()>(&mut self.redis).await.map_err(said)?;
        self.queues += 1;
        Ok(format!("bench-{}", self.queues))
    }

    /// Its own count of commands begins anew.
    pub(crate) async fn count_commands(&mut self) -> Result<(), String> {
        redis::cmd("CONFIG").arg("RESETSTAT").query_async::<()>(&mut self.redis).await.map_err(said)
    }

    /// Commands since then: calls, and microseconds in them.
    pub(crate) async fn commands(&mut self) -> Result<Value, String> {
        let info: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.redis).await.map_err(said)?;
        let mut commands = serde_json::Map::new();
        for line in info.lines() {
            let Some((name, facts)) = line.trim().strip_prefix("cmdstat_").and_then(|line| line.split_once(':')) else {
                continue;
            };
            let fact = |name: &str| facts.split(',').find_map(|fact| fact.strip_prefix(name)?.parse::<u64>().ok());
            commands.insert(name.to_owned(), json!([fact("calls="), fact("usec=")]));
        }
        Ok(commands.into())
    }

    /// Data and options of a job, as they are stored.
    pub(crate) async fn stored(&mut self, queue: &str, id: u32) -> Result<(String, Value), String> {
        let mut command = redis::cmd("HMGET");
        command.arg(format!("bull:{queue}:{id}")).arg("data").arg("opts");
        let (data, options): (String, String) = command.query_async(&mut self.redis).await.map_err(said)?;
        Ok((data, serde_json::from_str(&options).map_err(|why| why.to_string())?))
    }

    /// Keys are BullMQ's, whoever made them.
    pub(crate) async fn left(&mut self, queue: &str) -> Result<Left, String> {
        let mut commands = redis::pipe();
        for (count, key) in [
            ("LLEN", "wait"),
            ("LLEN", "active"),
            ("ZCARD", "delayed"),
            ("ZCARD", "prioritized"),
            ("ZCARD", "failed"),
            ("ZCARD", "completed"),
        ] {
            commands.cmd(count).arg(format!("bull:{queue}:{key}"));
        }
        let [waiting, active, delayed, prioritized, failed, completed]: [u32; 6] =
            commands.query_async(&mut self.redis).await.map_err(said)?;
        Ok(Left { waiting, active, delayed, prioritized, failed, completed })
    }

    /// Looks until nothing is left to do: the last completion is stored. Looks are few, since Redis pays for them: the next
    /// one comes when a quarter of the time is over that the rest should take, and each `last` when nothing waits any more.
    /// With `gets`, times an unrelated GET each millisecond meanwhile.
    pub(crate) async fn worked_off(
        &mut self,
        queue: &str,
        last: Duration,
        mut gets: Option<&mut Vec<u64>>,
    ) -> Result<Left, String> {
        let begun = Instant::now();
        let first = self.left(queue).await?;
        let mut next = begun + SHORTEST;
        loop {
            match &mut gets {
                Some(gets) => gets.push(self.get().await?),
                None => tokio::time::sleep_until(next.into()).await,
            }
            if Instant::now() < next {
                tokio::time::sleep(SHORTEST).await;
                continue;
            }
            let left = self.left(queue).await?;
            if (left.waiting, left.active, left.delayed, left.prioritized) == (0, 0, 0, 0) {
                return Ok(left);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("not worked off within {PATIENCE:?}: {left:?}"));
            }
            let gone = f64::from(first.waiting.saturating_sub(left.waiting).max(1));
            let rest = begun.elapsed().mul_f64(f64::from(left.waiting) / gone);
            let pause = if left.waiting == 0 { last } else { (rest / 4).clamp(SHORTEST, LONGEST) };
            next = Instant::now() + pause;
        }
    }

    /// GETs of a server that does nothing else.
    pub(crate) async fn quiet_gets(&mut self, time: Duration) -> Result<Vec<u64>, String> {
        let mut gets = Vec::new();
        let begun = Instant::now();
        while begun.elapsed() < time {
            gets.push(self.get().await?);
            tokio::time::sleep(SHORTEST).await;
        }
        Ok(gets)
    }

    /// Microseconds of one GET.
    async fn get(&mut self) -> Result<u64, String> {
        let begun = Instant::now();
        let value: String = redis::cmd("GET").arg(KEY).query_async(&mut self.redis).await.map_err(said)?;
        let took = begun.elapsed();
        if value.len() == 100 { Ok(took.as_micros() as u64) } else { Err(format!("GET answered {value:?}")) }
    }
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':'))
}

fn said(why: redis::RedisError) -> String {
    format!("Redis: {why}")
}

//! What an operator wants to know of the server behind a store, and of who else uses its queues. Read when asked for,
//! never on the way of a job.

use std::collections::HashMap;

use ::redis::{Cmd, Value};

use super::Redis;
use super::keys::visible;
use super::link::{Own, field, plain_text, server_name};
use super::reply::{int, list, text, texts};
use crate::error::StoreError;
use crate::job::QueueName;
use crate::time::Timestamp;

mod lacks;

pub use lacks::RedisLack;

/// Connections that are listed for one queue.
const MOST_LINES: usize = 100;

/// What a Redis or Valkey server says of itself, and who uses the queues. What it does not tell this user is `None`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisReport {
    /// Name and version: `Redis 7.0.15`.
    pub server: String,
    /// `standalone`, `sentinel` or `cluster`.
    pub mode: Option<String>,
    /// Whether it takes writes, and who copies them.
    pub role: Option<RedisRole>,
    /// Its memory.
    pub memory: Option<RedisMemory>,
    /// What it keeps on its disk.
    pub disk: Option<RedisDisk>,
    /// Its clock when it answered.
    pub time: Option<Timestamp>,
    /// How many milliseconds its clock is ahead of this machine's, negative when it is behind; by half the time of an
    /// answer this may be wrong.
    pub ahead: Option<i64>,
    /// The deployment that has claimed the prefix, if one has.
    pub deployment: Option<String>,
    /// The queues that were asked about.
    pub queues: Vec<RedisQueue>,
    /// What the server refuses to this user, needed things first.
    pub lacks: Vec<RedisLack>,
}

/// The part that a server plays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisRole {
    /// It takes writes.
    Primary {
        /// How many servers copy them.
        replicas: u64,
    },
    /// It copies another one and takes no writes.
    Replica {
        /// Host and port of the other one.
        of: String,
        /// Whether it is connected to it.
        linked: bool,
    },
}

/// The memory of a server, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisMemory {
    /// What is in use.
    pub used: u64,
    /// The bound, `maxmemory`; 0 for none.
    pub most: u64,
    /// What happens at the bound, `maxmemory-policy`.
    pub policy: String,
    /// Keys that it has thrown away for want of memory since it started.
    pub evicted: u64,
}

impl RedisMemory {
    /// Whether it may throw keys of a queue away when it is full.
    pub fn evicts(&self) -> bool {
        self.policy != "noeviction"
    }
}

/// What a server keeps on its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisDisk {
    /// Whether it writes a log of every change (`appendonly`).
    pub log: bool,
    /// When that log is synced (`appendfsync`): `always`, `everysec`, `no`; unknown where `CONFIG` is refused.
    pub sync: Option<String>,
    /// When snapshots are made (`save`); empty for never, unknown where `CONFIG` is refused.
    pub snapshots: Option<String>,
    /// When the last snapshot was made, or when the server started.
    pub last_snapshot: Option<Timestamp>,
    /// Whether the last write to either failed.
    pub failing: bool,
}

/// One queue, as other programs see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisQueue {
    /// Its name.
    pub name: QueueName,
    /// The library that a producer of another fleet noted in the queue's settings: `bullmq:6.7.0`.
    pub library: Option<String>,
    /// Connections that wait for this queue's jobs, up to 100 of them, those of other programs first. None when it cannot be
    /// read which workers are ours.
    pub lines: Vec<RedisLine>,
}

/// A connection that waits for a queue's jobs, as `CLIENT LIST` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisLine {
    /// The worker's name, where its fleet gives names.
    pub worker: Option<String>,
    /// From where it is connected.
    pub address: String,
    /// Whether a worker of this library has registered under that name.
    pub ours: bool,
}

impl Redis {
    /// The server's clock.
    pub(crate) async fn server_time(&self) -> Result<Timestamp, StoreError> {
        let answer = list(self.link.send(&::redis::cmd("TIME")).await?)?;
        let mut parts = answer.into_iter().map(int);
        let (seconds, micros) = (parts.next().transpose()?, parts.next().transpose()?);
        Ok(Timestamp::from_millis(seconds.unwrap_or(0) * 1_000 + micros.unwrap_or(0) / 1_000))
    }

    /// How much memory the server has, and what it does without; `None` where it does not say.
    pub(crate) async fn memory(&self) -> Result<Option<RedisMemory>, StoreError> {
        let mut cmd = ::redis::cmd("INFO");
        cmd.arg("memory");
        match self.link.send(&cmd).await {
            Ok(answer) => Ok(memory(&Info::read(&answer))),
            Err(trouble) if refused(&trouble.why) => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Everything but the clocks. `now` tells which workers live.
    pub(crate) async fn report(&self, queues: &[QueueName], now: Timestamp) -> Result<RedisReport, StoreError> {
        self.open_still()?;
        // A line to the very server that holds the queues, also in a cluster.
        let deployment = self.keys.deployment();
        let mut line = Line { own: self.link.own(&deployment, &self.keys.look()).await?, redis: self };
        let info = line.info().await?;
        let (sync, snapshots) = (line.config("appendfsync").await?, line.config("save").await?);
        let mut get = ::redis::cmd("GET");
        get.arg(&deployment);
        let deployment = line.told(&get).await?.map(text).transpose()?.filter(|owner| !owner.is_empty());
        let clients = line.clients().await?;
        let mut known = Vec::with_capacity(queues.len());
        for name in queues {
            known.push(self.queue(&mut line, name, &clients, now).await?);
        }
        Ok(RedisReport {
            server: server_name(&info.0).unwrap_or_else(|| "unknown".to_owned()),
            mode: info.text("redis_mode"),
            role: role(&info),
            memory: memory(&info),
            disk: disk(&info, sync, snapshots),
            time: None,
            ahead: None,
            deployment,
            queues: known,
            lacks: line.lacks().await?,
        })
    }

    async fn queue(
        &self,
        line: &mut Line<'_>,
        name: &QueueName,
        clients: &str,
        now: Timestamp,
    ) -> Result<RedisQueue, StoreError> {
        let mut meta = ::redis::cmd("HMGET");
        meta.arg(format!("{}meta", self.keys.base(name))).arg("version").arg("library");
        let noted = line.told(&meta).await?.map(texts).transpose()?.unwrap_or_default();
        let lines = match self.look(name, now).await {
            Ok(info) => {
                let ours: Vec<String> = info.workers.iter().map(|worker| visible(&worker.name)).collect();
                lines(clients, &self.keys.lines(name), &ours)
            }
            // Whoever reads the queue itself is told why.
            Err(_) => Vec::new(),
        };
        Ok(RedisQueue {
            name: name.clone(),
            library: noted.iter().find(|text| !text.is_empty()).map(|text| (**text).to_owned()),
            lines,
        })
    }
}

/// The connection that a report is read on.
struct Line<'a> {
    own: Own,
    redis: &'a Redis,
}

impl Line<'_> {
    async fn ask(&mut self, cmd: &Cmd) -> Result<Value, StoreError> {
        Ok(self.own.ask(cmd, self.redis.link.times().answer).await?)
    }

    /// The answer, or `None` when this user may not ask.
    async fn told(&mut self, cmd: &Cmd) -> Result<Option<Value>, StoreError> {
        match self.ask(cmd).await {
            Ok(answer) => Ok(Some(answer)),
            Err(why) if refused(&why) => Ok(None),
            Err(why) => Err(why),
        }
    }

    async fn info(&mut self) -> Result<Info, StoreError> {
        let answer = self.told(&::redis::cmd("INFO")).await?;
        Ok(answer.as_ref().map_or_else(|| Info(String::new()), Info::read))
    }

    async fn config(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        let mut cmd = ::redis::cmd("CONFIG");
        cmd.arg("GET").arg(name);
        let Some(answer) = self.told(&cmd).await? else { return Ok(None) };
        let found: Result<HashMap<String, String>, _> = ::redis::from_redis_value(answer);
        Ok(found.ok().and_then(|mut found| found.remove(name)))
    }

    async fn clients(&mut self) -> Result<String, StoreError> {
        let mut cmd = ::redis::cmd("CLIENT");
        cmd.arg("LIST");
        Ok(self.told(&cmd).await?.as_ref().map(plain_text).unwrap_or_default())
    }
}

/// What a server answers to `INFO`.
struct Info(String);

impl Info {
    fn read(answer: &Value) -> Self {
        Self(plain_text(answer))
    }

    fn text(&self, name: &str) -> Option<String> {
        field(&self.0, name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Option<u64> {
        field(&self.0, name)?.parse().ok()
    }
}

fn role(info: &Info) -> Option<RedisRole> {
    if info.text("role")? == "master" {
        return Some(RedisRole::Primary { replicas: info.number("connected_slaves").unwrap_or(0) });
    }
    let part = |name| info.text(name).unwrap_or_default();
    Some(RedisRole::Replica {
        of: format!("{}:{}", part("master_host"), part("master_port")),
        linked: part("master_link_status") == "up",
    })
}

fn memory(info: &Info) -> Option<RedisMemory> {
    Some(RedisMemory {
        used: info.number("used_memory")?,
        most: info.number("maxmemory").unwrap_or(0),
        policy: info.text("maxmemory_policy")?,
        evicted: info.number("evicted_keys").unwrap_or(0),
    })
}

fn disk(info: &Info, sync: Option<String>, snapshots: Option<String>) -> Option<RedisDisk> {
    let log = info.number("aof_enabled")? == 1;
    let failed = |name| info.text(name).is_some_and(|status| status != "ok");
    let seconds = info.number("rdb_last_save_time").and_then(|seconds| i64::try_from(seconds).ok());
    Some(RedisDisk {
        log,
        sync: sync.filter(|_| log),
        snapshots,
        last_snapshot: seconds.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1_000))),
        failing: failed("rdb_last_bgsave_status") || (log && failed("aof_last_write_status")),
    })
}

/// The connections that wait for one queue's jobs. `base` is what their names begin with.
fn lines(clients: &str, base: &str, ours: &[String]) -> Vec<RedisLine> {
    let named = clients.lines().filter_map(|line| {
        let part = |name: &str| line.split(' ').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let rest = part("name")?.strip_prefix(base)?;
        let worker = match rest {
            "" => None,
            rest => Some(rest.strip_prefix(":w:")?.to_owned()),
        };
        let ours = worker.as_ref().is_some_and(|worker| ours.contains(worker));
        Some(RedisLine { worker, address: part("addr").unwrap_or_default().to_owned(), ours })
    });
    let mut found: Vec<RedisLine> = named.collect();
    // What is to be seen must not stand behind a hundred workers of ours.
    found.sort_by_key(|line| line.ours);
    found.truncate(MOST_LINES);
    found
}

/// What the server says when it refuses something to this user.
fn refusal(why: &StoreError) -> Option<&str> {
    let StoreError::Refused(why) = why else { return None };
    why.split_once("NOPERM").map(|(_, said)| said).or_else(|| why.contains("unknown command").then_some(why))
}

fn refused(why: &StoreError) -> bool {
    refusal(why).is_some()
}

#[cfg(test)]
mod tests {
    use super::super::link::tests::server::{Server, cmd};
    use super::*;

    /// A line that is called like a worker's, before a user that may read which workers are ours, and one that may not.
    #[tokio::test]
    async fn nobody_is_called_somebody_elses_where_ours_cannot_be_read() {
        let server = Server::start(&[]);
        server.ask(&["ACL", "SETUSER", "few", "on", ">pw", "~*", "+@all", "-evalsha"]).await;
        let mut worker = server.admin().await;
        worker.send_packed_command(&cmd(&["CLIENT", "SETNAME", "bull:YQ==:w:box-7"])).await.unwrap();
        let name = QueueName::new("a").unwrap();
        for (options, seen) in [(server.options(), 1), (server.options().user("few").password("pw"), 0)] {
            let redis = Redis::open(&options).await.unwrap();
            let report = redis.report(std::slice::from_ref(&name), Timestamp::from_millis(0)).await.unwrap();
            assert_eq!(report.queues[0].lines.iter().filter(|line| !line.ours).count(), seen, "{:?}", report.queues);
        }
    }

    #[test]
    fn connections_of_a_queue_are_told_apart() {
        let clients = "id=3 addr=127.0.0.1:5000 laddr=127.0.0.1:1 fd=8 name=bull:YQ==:w:box-7 age=1\n\
                       id=4 addr=127.0.0.1:5001 fd=8 name=bull:YQ== age=1\n\
                       id=5 addr=127.0.0.1:5002 fd=8 name=bull:YQ==:w:node age=1\n\
                       id=6 addr=127.0.0.1:5003 fd=8 name=bull:YQ==:qe age=1\n\
                       id=7 addr=127.0.0.1:5004 fd=8 name=bull:YWI=:w:box-7 age=1\n\
                       id=8 addr=127.0.0.1:5005 fd=8 name= age=1\n";
        let found = lines(clients, "bull:YQ==", &["box-7".to_owned()]);
        let seen: Vec<(&str, Option<&str>, bool)> =
            found.iter().map(|line| (&line.address[10..], line.worker.as_deref(), line.ours)).collect();
        assert_eq!(seen, [("5001", None, false), ("5002", Some("node"), false), ("5000", Some("box-7"), true)]);
        let crowd = "addr=127.0.0.1:6000 name=bull:YQ==:w:box-7\n".repeat(MOST_LINES) + clients;
        let found = lines(&crowd, "bull:YQ==", &["box-7".to_owned()]);
        assert_eq!((found.len(), found.iter().filter(|line| !line.ours).count()), (MOST_LINES, 2));
    }

    #[test]
    fn what_a_server_says_is_read() {
        let info = Info(
            "role:slave\r\nmaster_host:a\r\nmaster_port:7\r\nmaster_link_status:down\r\nused_memory:5\r\n\
             maxmemory:9\r\nmaxmemory_policy:allkeys-lru\r\nevicted_keys:2\r\naof_enabled:1\r\n\
             aof_last_write_status:err\r\nrdb_last_bgsave_status:ok\r\nrdb_last_save_time:3\r\n"
                .to_owned(),
        );
        assert_eq!(role(&info), Some(RedisRole::Replica { of: "a:7".into(), linked: false }));
        let memory = memory(&info).unwrap();
        assert_eq!((memory.used, memory.most, memory.evicted, memory.evicts()), (5, 9, 2, true));
        let disk = disk(&info, Some("everysec".into()), Some(String::new())).unwrap();
        assert!(disk.log && disk.failing && disk.sync.as_deref() == Some("everysec"));
        assert_eq!(disk.last_snapshot, Some(Timestamp::from_millis(3_000)));
        let nothing = Info(String::new());
        assert!(role(&nothing).is_none() && super::memory(&nothing).is_none());
        assert!(super::disk(&nothing, None, None).is_none());
    }
}

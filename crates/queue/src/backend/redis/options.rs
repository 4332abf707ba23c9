//! How to reach Redis, and under which prefix.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo};

/// How to reach Redis or Valkey.
///
/// | URL | what it names |
/// |---|---|
/// | `redis://user:password@host:6379/0` | one server; `rediss://` for TLS |
/// | `unix:///run/redis.sock?db=0&user=u&pass=p` | one server's socket; also `redis+unix://` |
/// | `redis-sentinel://user:password@host1:26379,host2:26379/master-name/0` | the master that sentinels name; `rediss-sentinel://` for TLS; `?sentinel_user=u&sentinel_password=p` for the sentinels themselves |
/// | `redis-cluster://user:password@host1:7000,host2:7001` | a cluster, found by some of its nodes; `rediss-cluster://` for TLS |
///
/// User names and passwords in URLs are percent-encoded. They are never shown.
///
/// ```
/// use launchkit_queue::backend::redis::RedisOptions;
///
/// let options = RedisOptions::parse("redis://:secret@localhost:6379/1")?.prefix("shop");
/// assert!(!format!("{options:?}").contains("secret"));
///
/// let options = RedisOptions::parse("redis-cluster://a:7000,b:7000")?.prefix("{shop}");
/// # let _ = options;
/// # Ok::<(), launchkit_queue::backend::redis::BadRedisUrl>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) site: Site,
    pub(super) login: RedisConnectionInfo,
    pub(super) sentinel_login: RedisConnectionInfo,
    pub(super) prefix: String,
    pub(super) times: Times,
}

/// Who is asked for a connection.
#[derive(Clone)]
pub(super) enum Site {
    One(ConnectionAddr),
    Sentinel { nodes: Vec<ConnectionAddr>, master: String },
    Cluster(Vec<ConnectionAddr>),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// An answer.
    pub(super) answer: Duration,
    /// A new connection, until it is ready.
    pub(super) connect: Duration,
    /// What a call waits for a connection that is being made.
    pub(super) patience: Duration,
    /// The longest pause between two attempts to connect.
    pub(super) pause: Duration,
    /// One blocking read, in the server.
    pub(super) block: Duration,
    /// What a blocking read may take longer than that.
    pub(super) slack: Duration,
    /// A blocking line stays for the next waiter.
    pub(super) linger: Duration,
    /// The same, when a worker is known to live.
    pub(super) linger_named: Duration,
}

const TIMES: Times = Times {
    answer: Duration::from_secs(10),
    connect: Duration::from_secs(5),
    patience: Duration::from_secs(1),
    pause: Duration::from_secs(5),
    block: Duration::from_secs(5),
    slack: Duration::from_secs(1),
    linger: Duration::from_secs(5),
    linger_named: Duration::from_secs(60),
};

/// A text that does not say how to reach Redis. The text itself is not shown, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad Redis URL: {0}")]
pub struct BadRedisUrl(String);

impl RedisOptions {
    /// Reads a URL; see the table above.
    pub fn parse(url: &str) -> Result<Self, BadRedisUrl> {
        let url = url.trim();
        let Some((scheme, rest)) = url.split_once(':') else { return Err(bad("it has no scheme, such as redis://")) };
        let tls = scheme.starts_with("rediss");
        match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" | "valkey+unix" => one(url),
            "redis-sentinel" | "rediss-sentinel" => sentinel(&Parts::of(rest, tls)?),
            "redis-cluster" | "rediss-cluster" => cluster(&Parts::of(rest, tls)?),
            _ => Err(bad("its scheme is not redis, rediss, unix, redis-sentinel or redis-cluster")),
        }
    }

    /// What all keys begin with; `bull` unless told otherwise, as in BullMQ. In a cluster it holds a hash tag: `{bull}`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The user's name; without one Redis takes `default`.
    #[must_use]
    pub fn user(mut self, user: impl AsRef<str>) -> Self {
        self.login = self.login.set_username(user);
        self
    }

    /// The password.
    #[must_use]
    pub fn password(mut self, password: impl AsRef<str>) -> Self {
        self.login = self.login.set_password(password);
        self
    }

    /// The number of the database. A cluster has only 0.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        self.login = self.login.set_db(number.into());
        self
    }

    /// The user's name at the sentinels.
    #[must_use]
    pub fn sentinel_user(mut self, user: impl AsRef<str>) -> Self {
        self.sentinel_login = self.sentinel_login.set_username(user);
        self
    }

    /// The password at the sentinels.
    #[must_use]
    pub fn sentinel_password(mut self, password: impl AsRef<str>) -> Self {
        self.sentinel_login = self.sentinel_login.set_password(password);
        self
    }

    /// How long an answer may take before the connection is given up; 10 s unless told otherwise.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.times.answer = limit.max(Duration::from_millis(1));
        self.times.connect = TIMES.connect.min(self.times.answer);
        self
    }

    /// Whether these options can work at all.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.prefix.is_empty() {
            return Err("the prefix of Redis keys is empty");
        }
        if matches!(self.site, Site::Cluster(_)) {
            if !tagged(&self.prefix) {
                return Err("in a Redis cluster the prefix must hold a hash tag, such as {bull}");
            }
            if self.login.db() != 0 {
                return Err("a Redis cluster has no database but 0");
            }
        }
        Ok(())
    }

    fn at(site: Site, login: RedisConnectionInfo, sentinel_login: RedisConnectionInfo) -> Self {
        let login = login.set_protocol(ProtocolVersion::RESP3);
        Self { site, login, sentinel_login, prefix: "bull".to_owned(), times: TIMES }
    }
}

impl FromStr for RedisOptions {
    type Err = BadRedisUrl;

    fn from_str(url: &str) -> Result<Self, BadRedisUrl> {
        Self::parse(url)
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("site", &format_args!("{}", self.site))
            .field("user", &self.login.username())
            .field("password", &self.login.password().map(|_| "…"))
            .field("database", &self.login.db())
            .field("prefix", &self.prefix)
            .field("answer_within", &self.times.answer)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[ConnectionAddr]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match self {
            Site::One(address) => write!(f, "{address}"),
            Site::Sentinel { nodes, master } => write!(f, "{master} by sentinels {}", list(nodes)),
            Site::Cluster(nodes) => write!(f, "cluster {}", list(nodes)),
        }
    }
}

/// A URL with several hosts, taken apart.
struct Parts<'a> {
    tls: bool,
    login: &'a str,
    hosts: Vec<&'a str>,
    path: Vec<&'a str>,
    query: Vec<(&'a str, &'a str)>,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str, tls: bool) -> Result<Self, BadRedisUrl> {
        let rest = rest.strip_prefix("//").ok_or_else(|| bad("its scheme is not followed by //"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let hosts: Vec<&str> = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        if hosts.is_empty() {
            return Err(bad("it names no host"));
        }
        let path = path.split('/').filter(|part| !part.is_empty()).collect();
        let query = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        Ok(Self { tls, login, hosts, path, query })
    }

    /// The addresses of all hosts, and the login at them.
    fn nodes(&self, port: u16, database: &str) -> Result<(Vec<ConnectionAddr>, RedisConnectionInfo), BadRedisUrl> {
        let mut login = RedisConnectionInfo::default();
        let mut nodes = Vec::with_capacity(self.hosts.len());
        for host in &self.hosts {
            let scheme = if self.tls { "rediss" } else { "redis" };
            let port = if has_port(host) { String::new() } else { format!(":{port}") };
            let (address, found) = single(&format!("{scheme}://{}@{host}{port}/{database}", self.login))?;
            nodes.push(address);
            login = found;
        }
        Ok((nodes, login))
    }

    fn asked(&self, name: &str) -> &'a str {
        self.query.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }
}

fn one(url: &str) -> Result<RedisOptions, BadRedisUrl> {
    let (address, login) = single(url)?;
    Ok(RedisOptions::at(Site::One(address), login, RedisConnectionInfo::default()))
}

fn sentinel(parts: &Parts<'_>) -> Result<RedisOptions, BadRedisUrl> {
    let (master, database) = match parts.path[..] {
        [master] => (master, "0"),
        [master, database] => (master, database),
        _ => return Err(bad("a sentinel's path is /master-name or /master-name/database")),
    };
    let (nodes, login) = parts.nodes(26379, database)?;
    let (user, password) = (parts.asked("sentinel_user"), parts.asked("sentinel_password"));
    let (_, sentinel_login) = single(&format!("redis://{user}:{password}@sentinel"))?;
    let sentinel_login = if password.is_empty() { RedisConnectionInfo::default() } else { sentinel_login };
    Ok(RedisOptions::at(Site::Sentinel { nodes, master: master.to_owned() }, login, sentinel_login))
}

fn cluster(parts: &Parts<'_>) -> Result<RedisOptions, BadRedisUrl> {
    let database = match parts.path[..] {
        [] => "0",
        [database] => database,
        _ => return Err(bad("a cluster has no path")),
    };
    let (nodes, login) = parts.nodes(6379, database)?;
    Ok(RedisOptions::at(Site::Cluster(nodes), login, RedisConnectionInfo::default()))
}

/// What the driver makes of a URL of one server.
fn single(url: &str) -> Result<(ConnectionAddr, RedisConnectionInfo), BadRedisUrl> {
    // The driver's `detail` may quote the URL, its description does not.
    let info = url.into_connection_info().map_err(|_| bad("its host, port, database or encoding cannot be read"))?;
    if info.redis_settings().db() < 0 {
        return Err(bad("a database's number is not negative"));
    }
    Ok((info.addr().clone(), info.redis_settings().clone()))
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether the prefix decides alone in which slot keys lie.
fn tagged(prefix: &str) -> bool {
    let inside = prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(tag, _)| !tag.is_empty())
}

fn bad(why: &str) -> BadRedisUrl {
    BadRedisUrl(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> RedisOptions {
        RedisOptions::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn urls_of_all_kinds_are_read() {
        let one = parsed("redis://me:p%40ss@box:7000/3");
        assert_eq!(one.site.to_string(), "box:7000");
        assert_eq!((one.login.username(), one.login.password(), one.login.db()), (Some("me"), Some("p@ss"), 3));
        assert!(matches!(parsed("rediss://box").site, Site::One(ConnectionAddr::TcpTls { port: 6379, .. })));
        for url in ["unix:/run/redis.sock", "unix:///run/redis.sock?pass=x", "redis+unix:///run/redis.sock"] {
            assert_eq!(parsed(url).site.to_string(), "/run/redis.sock");
        }

        let guarded = parsed("redis-sentinel://me:pw@s1:1,s2,[::1]/main/2?sentinel_user=watch&sentinel_password=a%20b");
        assert_eq!(guarded.site.to_string(), "main by sentinels s1:1,s2:26379,::1:26379");
        assert_eq!((guarded.login.username(), guarded.login.db()), (Some("me"), 2));
        assert_eq!(guarded.sentinel_login.username(), Some("watch"));
        assert_eq!(guarded.sentinel_login.password(), Some("a b"));
        assert_eq!(parsed("redis-sentinel://s1/main").sentinel_login.password(), None);

        let many = parsed("rediss-cluster://:pw@a:7000,b:7001");
        assert_eq!(many.site.to_string(), "cluster a:7000,b:7001");
        assert_eq!(many.login.password(), Some("pw"));
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        let urls = [
            "hunter2",
            "http://:hunter2@box",
            "redis://:hunter2@box:port",
            "redis://:hunter2@box/one",
            "redis://:hunter2@box/-1",
            "redis-sentinel://:hunter2@box",
            "redis-sentinel://:hunter2@/main",
            "redis-cluster://:hunter2@a:7000,b:x/0",
        ];
        for url in urls {
            let error = RedisOptions::parse(url).expect_err(url);
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "redis-sentinel://me:hunter2@box/main?sentinel_password=hunter3";
        let shown = format!("{:?}", parsed(url).password("hunter4").sentinel_password("hunter5"));
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn a_cluster_wants_a_hash_tag() {
        let cluster = parsed("redis-cluster://a:7000");
        for prefix in ["bull", "bull{}", "}{", "{bull"] {
            assert!(cluster.clone().prefix(prefix).check().is_err(), "{prefix}");
        }
        for prefix in ["{bull}", "a{b}c"] {
            assert!(cluster.clone().prefix(prefix).check().is_ok(), "{prefix}");
        }
        assert!(cluster.prefix("{bull}").database(1).check().is_err());
        assert!(parsed("redis://a").prefix("").check().is_err());
        assert!(parsed("redis://a").check().is_ok());
    }
}

//! URLs of one server, of sentinels and of clusters.

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};

use super::{RedisOptions, Site};

/// A text that does not say how to reach Redis. The text itself is not shown, as it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad Redis URL: {0}")]
pub struct BadRedisUrl(String);

/// What a URL says.
pub(super) fn read(url: &str) -> Result<RedisOptions, BadRedisUrl> {
    let Some((scheme, rest)) = url.split_once(':') else { return Err(bad("it has no scheme, such as redis://")) };
    let tls = scheme.starts_with("rediss");
    match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" | "unix" | "redis+unix" | "valkey+unix" => one(url),
        "redis-sentinel" | "rediss-sentinel" => sentinel(&Parts::of(rest, tls)?),
        "redis-cluster" | "rediss-cluster" => cluster(&Parts::of(rest, tls)?),
        _ => Err(bad("its scheme is not redis, rediss, unix, redis-sentinel or redis-cluster")),
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
}

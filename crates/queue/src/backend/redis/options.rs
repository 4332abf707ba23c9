//! How to reach Redis, and under which prefix.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use redis::{ClientTlsConfig, ConnectionAddr, ProtocolVersion, RedisConnectionInfo, TlsCertificates};

pub use self::url::BadRedisUrl;

mod url;

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
/// use launchkit_queue::RedisOptions;
///
/// let options = RedisOptions::parse("redis://:secret@localhost:6379/1")?.prefix("shop");
/// assert!(!format!("{options:?}").contains("secret"));
///
/// let options = RedisOptions::parse("redis-cluster://a:7000,b:7000")?.prefix("{shop}");
/// # let _ = options;
/// # Ok::<(), launchkit_queue::BadRedisUrl>(())
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    pub(super) site: Site,
    pub(super) login: RedisConnectionInfo,
    pub(super) sentinel_login: RedisConnectionInfo,
    pub(super) certificates: Option<TlsCertificates>,
    pub(super) prefix: String,
    pub(super) times: Times,
}

/// Who is asked for a connection.
#[derive(Clone, PartialEq)]
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

/// Options that cannot work, whatever the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRedisOptions {
    /// Keys need a beginning.
    #[error("the prefix of Redis keys is empty")]
    NoPrefix,
    /// Without a hash tag the keys of one queue lie on several nodes.
    #[error("in a Redis cluster the prefix must hold a hash tag, such as {{bull}}")]
    NoHashTag,
    /// Certificates without TLS do nothing.
    #[error("certificates are given, but the connection is not encrypted: use rediss://")]
    NotEncrypted,
    /// Clusters have no others.
    #[error("a Redis cluster has no database but 0")]
    ClusterDatabase,
}

impl RedisOptions {
    /// Reads a URL; see the table above.
    pub fn parse(url: &str) -> Result<Self, BadRedisUrl> {
        url::read(url.trim())
    }

    /// One server by its name or address, without TLS.
    pub fn server(host: &str, port: u16) -> Self {
        let address = ConnectionAddr::Tcp(host.to_owned(), port);
        Self::at(Site::One(address), RedisConnectionInfo::default(), RedisConnectionInfo::default())
    }

    /// What all keys begin with; `bull` unless told otherwise, as in BullMQ. In a cluster it holds a hash tag, and is
    /// `{bull}` unless told otherwise.
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

    /// The authorities, as certificates in PEM, by which an encrypted server is judged instead of the public ones: those of a
    /// company, or of a provider that signs its own.
    #[must_use]
    pub fn root_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.certificates_mut().root_cert = Some(pem.into());
        self
    }

    /// The certificate and its key, both in PEM, by which an encrypted server knows this client: servers ask for it unless they
    /// are told not to (`tls-auth-clients`).
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        let own = ClientTlsConfig { client_cert: certificate.into(), client_key: key.into() };
        self.certificates_mut().client_tls = Some(own);
        self
    }

    /// How long an answer may take before the connection is given up; 10 s unless told otherwise.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.times.answer = limit.max(Duration::from_millis(1));
        self.times.connect = TIMES.connect.min(self.times.answer);
        self
    }

    /// Where they lead, for people: hosts and ports, without a login.
    pub fn address(&self) -> String {
        self.site.to_string()
    }

    /// Whether they hold a user name or a password.
    pub fn has_login(&self) -> bool {
        self.login.username().is_some() || self.login.password().is_some()
    }

    /// What all keys begin with.
    pub fn key_prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether these options can work at all. Opening a store asks this first.
    pub fn check(&self) -> Result<(), BadRedisOptions> {
        if self.prefix.is_empty() {
            return Err(BadRedisOptions::NoPrefix);
        }
        if self.certificates.is_some() && !self.site.is_encrypted() {
            return Err(BadRedisOptions::NotEncrypted);
        }
        if matches!(self.site, Site::Cluster(_)) {
            if !tagged(&self.prefix) {
                return Err(BadRedisOptions::NoHashTag);
            }
            if self.login.db() != 0 {
                return Err(BadRedisOptions::ClusterDatabase);
            }
        }
        Ok(())
    }

    fn at(site: Site, login: RedisConnectionInfo, sentinel_login: RedisConnectionInfo) -> Self {
        let login = login.set_protocol(ProtocolVersion::RESP3);
        let prefix = if matches!(site, Site::Cluster(_)) { "{bull}" } else { "bull" };
        Self { site, login, sentinel_login, certificates: None, prefix: prefix.to_owned(), times: TIMES }
    }

    fn certificates_mut(&mut self) -> &mut TlsCertificates {
        self.certificates.get_or_insert(TlsCertificates { client_tls: None, root_cert: None })
    }
}

/// Whether both lead to the same keys with the same logins.
impl PartialEq for RedisOptions {
    fn eq(&self, other: &Self) -> bool {
        let login = |login: &RedisConnectionInfo| {
            (login.username().map(str::to_owned), login.password().map(str::to_owned), login.db())
        };
        self.site == other.site
            && self.prefix == other.prefix
            && login(&self.login) == login(&other.login)
            && login(&self.sentinel_login) == login(&other.sentinel_login)
    }
}

impl FromStr for RedisOptions {
    type Err = BadRedisUrl;

    fn from_str(url: &str) -> Result<Self, BadRedisUrl> {
        Self::parse(url)
    }
}

impl Site {
    pub(super) fn is_encrypted(&self) -> bool {
        let nodes = match self {
            Site::One(address) => std::slice::from_ref(address),
            Site::Sentinel { nodes, .. } | Site::Cluster(nodes) => nodes,
        };
        nodes.iter().any(|address| matches!(address, ConnectionAddr::TcpTls { .. }))
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

/// Whether the prefix decides alone in which slot keys lie.
fn tagged(prefix: &str) -> bool {
    let inside = prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    inside.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> RedisOptions {
        RedisOptions::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn passwords_are_not_shown() {
        let url = "redis-sentinel://me:hunter2@box/main?sentinel_password=hunter3";
        let options = parsed(url).password("hunter4").sentinel_password("hunter5").client_certificate("c", "hunter6");
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn options_are_equal_when_they_lead_to_the_same_keys() {
        let url = parsed("redis://me:pw@box:7000/2");
        assert_eq!(url, RedisOptions::server("box", 7000).user("me").password("pw").database(2));
        assert!(url.has_login() && !parsed("redis://box").has_login());
        for other in [url.clone().password("else"), url.clone().database(3), url.clone().prefix("shop")] {
            assert!(url != other);
        }
        assert!(url != RedisOptions::server("box", 7001).user("me").password("pw").database(2));
        assert_eq!(RedisOptions::server("::1", 7).address(), parsed("redis://[::1]:7").address());
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
        assert_eq!(cluster.key_prefix(), "{bull}");
        assert!(cluster.clone().check().is_ok() && cluster.database(1).check().is_err());
        assert!(parsed("redis://a").prefix("").check().is_err());
        assert!(parsed("redis://a").check().is_ok());
    }

    #[test]
    fn certificates_want_an_encrypted_connection() {
        assert!(parsed("redis://a").root_certificates("c").check().is_err());
        assert!(parsed("rediss://a").root_certificates("c").check().is_ok());
        assert!(parsed("rediss-sentinel://a/main").client_certificate("c", "k").check().is_ok());
    }
}

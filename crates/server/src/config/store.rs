//! Where the queue is: in a file of this machine, or on Redis. Nothing is guessed: what looks like a wish for Redis and says
//! too little, or contradicts `LAUNCHKIT_STORE`, is refused by name.

use std::fs::File;
use std::io::Read;

use launchkit_queue::{BadRedisOptions, RedisOptions};

use super::read::{number, refused};
use super::{BadConfig, Settings};

#[cfg(test)]
mod tests;

/// Where the queue is.
#[derive(Debug, Clone)]
pub enum QueueStore {
    /// A file in the data directory, for processes of one machine.
    Embedded,
    /// Redis or Valkey. Printing the options shows no password.
    Redis(Box<RedisOptions>),
}

/// Everything that says something about Redis.
const ALL: [&str; 10] = [
    "REDIS_URL",
    "REDIS_HOST",
    "REDIS_PORT",
    "REDIS_USERNAME",
    "REDIS_PASSWORD",
    "REDIS_DB",
    "REDIS_PREFIX",
    "REDIS_TLS_CA",
    "REDIS_TLS_CERT",
    "REDIS_TLS_KEY",
];
/// What `REDIS_URL` says as well.
const PARTS: [&str; 5] = ["REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB"];
/// The longest prefix: it stands before every key.
const LONGEST_PREFIX: usize = 100;
/// Larger files are no certificates.
const LARGEST_PEM: u64 = 1 << 20;

/// Decides where the queue is.
pub fn queue_store(settings: &Settings) -> Result<QueueStore, BadConfig> {
    let wish = settings.get("LAUNCHKIT_STORE");
    let named = settings.get("REDIS_URL").is_some() || settings.get("REDIS_HOST").is_some();
    match (wish, wished(settings)) {
        (Some("embedded"), Some(variable)) => Err(refused(settings, variable, BOTH.to_owned())),
        (Some("embedded"), None) => Ok(QueueStore::Embedded),
        (None | Some("redis"), _) if named => options(settings).map(|options| QueueStore::Redis(Box::new(options))),
        (Some("redis"), _) => Err(BadConfig::Missing {
            variable: "REDIS_URL",
            why: "LAUNCHKIT_STORE=redis, and neither REDIS_URL nor REDIS_HOST says where Redis is",
        }),
        (Some(_), _) => Err(refused(settings, "LAUNCHKIT_STORE", "expected embedded or redis".to_owned())),
        (None, Some(variable)) => Err(refused(settings, variable, ALONE.to_owned())),
        (None, None) if is_kubernetes(settings) => Err(refused(settings, "REDIS_PORT", KUBERNETES.to_owned())),
        (None, None) => Ok(QueueStore::Embedded),
    }
}

/// What is allowed and may surprise.
pub fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    let redis = matches!(queue_store(settings), Ok(QueueStore::Redis(_)));
    let idle = idle(settings);
    if redis && !idle.is_empty() {
        notes.push(format!("REDIS_URL is set and wins; without effect: {}", idle.join(", ")));
    }
    if settings.get("QUEUE_PREFIX").is_some() && !redis {
        notes.push("QUEUE_PREFIX has no effect on the embedded queue".to_owned());
    }
    let file = settings.get("DATABASE_URL").is_none_or(|url| url.starts_with("sqlite:"));
    if redis && file {
        notes.push(
            "the queue is on Redis and the database is a file: only processes of this machine can share them. For \
             several machines set DATABASE_URL=postgres://…"
                .to_owned(),
        );
    }
    notes
}

const KUBERNETES: &str = "this is what Kubernetes sets for a service that is called redis. Set REDIS_URL, which wins over \
                          it, or LAUNCHKIT_STORE=embedded";
const BOTH: &str = "LAUNCHKIT_STORE=embedded, and this is about Redis: unset one of the two, so that no node works on a \
                    private file by mistake";
const ALONE: &str = "it says nothing without REDIS_URL or REDIS_HOST, and jobs are not put into a private file while you \
                     expect them in Redis. Set one of the two, or unset this";

/// A variable by which somebody means Redis. What Kubernetes sets by itself is nobody's wish.
fn wished(settings: &Settings) -> Option<&'static str> {
    let set = |variable: &&str| settings.get(variable).is_some();
    ALL.into_iter().filter(set).find(|variable| *variable != "REDIS_PORT" || !is_kubernetes(settings))
}

fn is_kubernetes(settings: &Settings) -> bool {
    settings.get("REDIS_PORT").is_some_and(|port| port.starts_with("tcp://"))
}

/// What has no effect beside `REDIS_URL`.
fn idle(settings: &Settings) -> Vec<&'static str> {
    let Some(url) = settings.get("REDIS_URL") else { return Vec::new() };
    let login = RedisOptions::parse(url).is_ok_and(|url| takes_login(settings, &url));
    let parts = PARTS.into_iter().filter(|part| settings.get(part).is_some());
    let parts = parts.filter(|part| *part != "REDIS_PORT" || !is_kubernetes(settings));
    parts.filter(|part| !(login && matches!(*part, "REDIS_USERNAME" | "REDIS_PASSWORD"))).collect()
}

/// Whether a URL is completed by the login that is said apart. One that belongs to `REDIS_HOST` is sent nowhere else.
fn takes_login(settings: &Settings, url: &RedisOptions) -> bool {
    !url.has_login() && settings.get("REDIS_HOST").is_none()
}

fn options(settings: &Settings) -> Result<RedisOptions, BadConfig> {
    let mut options = match settings.get("REDIS_URL") {
        Some(url) => {
            let url = RedisOptions::parse(url).map_err(|why| refused(settings, "REDIS_URL", why.to_string()))?;
            if takes_login(settings, &url) { with_login(settings, url)? } else { url }
        }
        None => {
            let database = number(settings, "REDIS_DB", 0, 0..=i32::MAX as u64)? as u32;
            with_login(settings, RedisOptions::server(host(settings)?, port(settings)?))?.database(database)
        }
    };
    options = with_certificates(settings, options)?;
    if let Some(prefix) = prefix(settings)? {
        options = options.prefix(prefix);
    }
    match options.check() {
        Ok(()) => Ok(options),
        Err(why @ BadRedisOptions::NoHashTag) => Err(refused(settings, prefix_variable(settings), why.to_string())),
        Err(why @ BadRedisOptions::NotEncrypted) => Err(refused(settings, tls_variable(settings), why.to_string())),
        Err(why) => Err(refused(settings, "REDIS_URL", why.to_string())),
    }
}

fn with_login(settings: &Settings, mut options: RedisOptions) -> Result<RedisOptions, BadConfig> {
    let (user, password) = (settings.get("REDIS_USERNAME"), settings.get("REDIS_PASSWORD"));
    if user.is_some() && password.is_none() {
        return Err(BadConfig::Missing { variable: "REDIS_PASSWORD", why: "REDIS_USERNAME is set" });
    }
    if let Some(user) = user {
        options = options.user(user);
    }
    if let Some(password) = password {
        options = options.password(password);
    }
    Ok(options)
}

fn with_certificates(settings: &Settings, mut options: RedisOptions) -> Result<RedisOptions, BadConfig> {
    if let Some(authorities) = pem(settings, "REDIS_TLS_CA")? {
        options = options.root_certificates(authorities);
    }
    match (pem(settings, "REDIS_TLS_CERT")?, pem(settings, "REDIS_TLS_KEY")?) {
        (Some(certificate), Some(key)) => Ok(options.client_certificate(certificate, key)),
        (None, None) => Ok(options),
        (Some(_), None) => Err(BadConfig::Missing { variable: "REDIS_TLS_KEY", why: "REDIS_TLS_CERT is set" }),
        (None, Some(_)) => Err(BadConfig::Missing { variable: "REDIS_TLS_CERT", why: "REDIS_TLS_KEY is set" }),
    }
}

/// What is in the PEM file that a variable names.
fn pem(settings: &Settings, variable: &'static str) -> Result<Option<Vec<u8>>, BadConfig> {
    let Some(path) = settings.get(variable) else { return Ok(None) };
    let bad = |why: String| refused(settings, variable, format!("cannot use the file {path}: {why}"));
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_PEM + 1).read_to_end(&mut text));
    read.map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > LARGEST_PEM {
        return Err(bad(format!("more than {LARGEST_PEM} bytes are no certificate")));
    }
    if !text.windows(10).any(|part| part == b"-----BEGIN") {
        return Err(bad("expected PEM, which begins with -----BEGIN".to_owned()));
    }
    Ok(Some(text))
}

fn tls_variable(settings: &Settings) -> &'static str {
    let set = |variable: &&str| settings.get(variable).is_some();
    ["REDIS_TLS_CA", "REDIS_TLS_CERT"].into_iter().find(set).unwrap_or("REDIS_TLS_KEY")
}

fn host(settings: &Settings) -> Result<&str, BadConfig> {
    let host = settings.get("REDIS_HOST").unwrap_or("localhost");
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bad = |what: &str| Err(refused(settings, "REDIS_HOST", what.to_owned()));
    // Not shown: it may be a URL with a password.
    if host.contains("://") || host.contains(['/', '@', ' ', ',']) {
        return bad("expected a name or an address alone; URLs, sockets and lists of hosts go into REDIS_URL");
    }
    match bare.parse::<std::net::Ipv6Addr>() {
        Err(_) if bare.contains(':') => bad("expected a name or an address alone; the port goes into REDIS_PORT"),
        _ => Ok(bare),
    }
}

fn port(settings: &Settings) -> Result<u16, BadConfig> {
    if is_kubernetes(settings) {
        return Err(refused(settings, "REDIS_PORT", KUBERNETES.to_owned()));
    }
    Ok(number(settings, "REDIS_PORT", 6379, 1..=65_535)? as u16)
}

/// The prefix; `REDIS_PREFIX` is another name of the variable.
fn prefix(settings: &Settings) -> Result<Option<&str>, BadConfig> {
    let prefix = match (settings.get("QUEUE_PREFIX"), settings.get("REDIS_PREFIX")) {
        (Some(one), Some(other)) if one != other => {
            return Err(refused(
                settings,
                "QUEUE_PREFIX",
                "REDIS_PREFIX says another one: unset one of the two".to_owned(),
            ));
        }
        (one, other) => one.or(other),
    };
    let fit = |prefix: &str| prefix.len() <= LONGEST_PREFIX && !prefix.contains(|c: char| c.is_control() || c == ' ');
    match prefix {
        Some(prefix) if !fit(prefix) => {
            let what = format!("expected at most {LONGEST_PREFIX} bytes without spaces");
            Err(refused(settings, prefix_variable(settings), what))
        }
        prefix => Ok(prefix),
    }
}

fn prefix_variable(settings: &Settings) -> &'static str {
    if settings.get("QUEUE_PREFIX").is_some() { "QUEUE_PREFIX" } else { "REDIS_PREFIX" }
}

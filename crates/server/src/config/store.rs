//! Where the queue is: in a file of this machine, or on Redis. Nothing is guessed: what looks like a wish for Redis and says
//! too little, or two things, is refused by name.

use launchkit_queue::{BadRedisOptions, RedisOptions};

use super::read::{number, refused};
use super::{BadConfig, Settings};

/// Where the queue is.
#[derive(Debug, Clone)]
pub enum QueueStore {
    /// A file in the data directory, for processes of one machine.
    Embedded,
    /// Redis or Valkey. Printing the options shows no password.
    Redis(RedisOptions),
}

/// Everything that says something about Redis.
const ALL: [&str; 7] =
    ["REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB", "REDIS_PREFIX"];
/// The longest prefix: it stands before every key.
const LONGEST_PREFIX: usize = 100;

/// Decides where the queue is.
pub fn queue_store(settings: &Settings) -> Result<QueueStore, BadConfig> {
    let wish = settings.get("LAUNCHKIT_STORE");
    match wish {
        Some("embedded") => return Ok(QueueStore::Embedded),
        None | Some("redis") => {}
        Some(_) => return Err(refused(settings, "LAUNCHKIT_STORE", "expected embedded or redis".to_owned())),
    }
    if settings.get("REDIS_URL").is_some() || settings.get("REDIS_HOST").is_some() {
        return options(settings).map(QueueStore::Redis);
    }
    if wish.is_some() {
        return Err(BadConfig::Missing {
            variable: "REDIS_URL",
            why: "LAUNCHKIT_STORE=redis, and neither REDIS_URL nor REDIS_HOST says where Redis is",
        });
    }
    match given(settings) {
        Some("REDIS_PORT") if is_kubernetes(settings) => Err(refused(settings, "REDIS_PORT", KUBERNETES.to_owned())),
        Some(variable) => Err(refused(
            settings,
            variable,
            "it says nothing without REDIS_URL or REDIS_HOST, and jobs are not put into a private file while you expect \
             them in Redis. Set one of the two, or LAUNCHKIT_STORE=embedded"
                .to_owned(),
        )),
        None => Ok(QueueStore::Embedded),
    }
}

/// What is allowed and may surprise.
pub fn notes(settings: &Settings) -> Vec<String> {
    let mut notes = Vec::new();
    let embedded = settings.get("LAUNCHKIT_STORE") == Some("embedded");
    if let Some(variable) = given(settings).filter(|_| embedded) {
        notes.push(format!(
            "LAUNCHKIT_STORE=embedded: the queue is a file of this machine, and {variable} has no effect"
        ));
    }
    let redis = matches!(queue_store(settings), Ok(QueueStore::Redis(_)));
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

fn given(settings: &Settings) -> Option<&'static str> {
    ALL.into_iter().find(|variable| settings.get(variable).is_some())
}

fn is_kubernetes(settings: &Settings) -> bool {
    settings.get("REDIS_PORT").is_some_and(|port| port.starts_with("tcp://"))
}

fn options(settings: &Settings) -> Result<RedisOptions, BadConfig> {
    let mut options = match settings.get("REDIS_URL") {
        Some(url) => {
            let options = RedisOptions::parse(url).map_err(|why| refused(settings, "REDIS_URL", why.to_string()))?;
            agree_on_place(settings, &options)?;
            options
        }
        None => RedisOptions::server(host(settings)?, port(settings)?),
    };
    options = with_login(settings, options)?;
    if let Some(prefix) = prefix(settings)? {
        options = options.prefix(prefix);
    }
    match options.check() {
        Ok(()) => Ok(options),
        Err(why @ BadRedisOptions::NoHashTag) => Err(refused(settings, prefix_variable(settings), why.to_string())),
        Err(why) => Err(refused(settings, "REDIS_URL", why.to_string())),
    }
}

/// The address is said once, or twice alike. What Kubernetes sets by itself is nobody's wish.
fn agree_on_place(settings: &Settings, url: &RedisOptions) -> Result<(), BadConfig> {
    let apart = |variable, said: &str| {
        let what = format!("REDIS_URL leads to {} and this to {said}: unset one of the two", url.address());
        Err(refused(settings, variable, what))
    };
    let url_port = url.address().rsplit_once(':').map_or_else(String::new, |(_, port)| port.to_owned());
    if settings.get("REDIS_HOST").is_some() {
        // With a host alone the port is not said.
        let port = if settings.get("REDIS_PORT").is_none() || is_kubernetes(settings) {
            url_port.parse().unwrap_or(0)
        } else {
            port(settings)?
        };
        let said = RedisOptions::server(host(settings)?, port).address();
        return if said == url.address() { Ok(()) } else { apart("REDIS_HOST", &said) };
    }
    match settings.get("REDIS_PORT") {
        Some(_) if !is_kubernetes(settings) && port(settings)?.to_string() != url_port => {
            apart("REDIS_PORT", &format!("port {}", port(settings)?))
        }
        _ => Ok(()),
    }
}

/// Adds what `REDIS_URL` leaves out of the login.
fn with_login(settings: &Settings, mut options: RedisOptions) -> Result<RedisOptions, BadConfig> {
    let url = options.clone();
    let (user, password) = (settings.get("REDIS_USERNAME"), settings.get("REDIS_PASSWORD"));
    for (variable, value) in [("REDIS_USERNAME", user), ("REDIS_PASSWORD", password)] {
        let Some(value) = value else { continue };
        let said = if variable == "REDIS_USERNAME" { url.clone().user(value) } else { url.clone().password(value) };
        if url.has_login() && said != url {
            let what = "REDIS_URL holds another login: say it in one of the two places";
            return Err(refused(settings, variable, what.to_owned()));
        }
        options = if variable == "REDIS_USERNAME" { options.user(value) } else { options.password(value) };
    }
    if user.is_some() && password.is_none() && !url.has_login() {
        return Err(BadConfig::Missing { variable: "REDIS_PASSWORD", why: "REDIS_USERNAME is set" });
    }
    if settings.get("REDIS_DB").is_some() {
        let database = number(settings, "REDIS_DB", 0, 0..=i32::MAX as u64)? as u32;
        let said = options.clone().database(database);
        if settings.get("REDIS_URL").is_some() && said != options {
            let what = format!("REDIS_URL names another database: write it there, as …/{database}");
            return Err(refused(settings, "REDIS_DB", what));
        }
        options = said;
    }
    Ok(options)
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

/// The prefix; `QUEUE_PREFIX` is another name of the variable.
fn prefix(settings: &Settings) -> Result<Option<&str>, BadConfig> {
    let prefix = match (settings.get("REDIS_PREFIX"), settings.get("QUEUE_PREFIX")) {
        (Some(one), Some(other)) if one != other => {
            return Err(refused(
                settings,
                "REDIS_PREFIX",
                "QUEUE_PREFIX says another one: unset one of the two".to_owned(),
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
    if settings.get("REDIS_PREFIX").is_some() { "REDIS_PREFIX" } else { "QUEUE_PREFIX" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&'static str, &str)]) -> Settings {
        let dir = tempfile::tempdir().unwrap();
        let flags: Vec<_> = pairs.iter().map(|(name, value)| (*name, Some((*value).to_owned()))).collect();
        Settings::load(&flags, [], dir.path()).unwrap()
    }

    fn redis(pairs: &[(&'static str, &str)]) -> RedisOptions {
        match queue_store(&settings(pairs)) {
            Ok(QueueStore::Redis(options)) => options,
            other => panic!("{pairs:?}: {other:?}"),
        }
    }

    #[test]
    fn redis_is_named_by_a_url_or_by_parts() {
        let whole = redis(&[("REDIS_URL", "redis://me:hunter2@box:7000/3"), ("REDIS_PREFIX", "shop")]);
        let parts = redis(&[
            ("REDIS_HOST", "box"),
            ("REDIS_PORT", "7000"),
            ("REDIS_USERNAME", "me"),
            ("REDIS_PASSWORD", "hunter2"),
            ("REDIS_DB", "3"),
            ("QUEUE_PREFIX", "shop"),
        ]);
        assert_eq!(whole, parts);
        assert!(!format!("{whole:?}").contains("hunter2"));
        assert_eq!(redis(&[("REDIS_HOST", "localhost")]).address(), "localhost:6379");
        assert_eq!(redis(&[("REDIS_HOST", "[::1]")]).address(), redis(&[("REDIS_HOST", "::1")]).address());
        assert_eq!(redis(&[("REDIS_URL", "unix:///run/redis.sock")]).address(), "/run/redis.sock");
        assert_eq!(redis(&[("REDIS_URL", "redis-cluster://a:1,b:2")]).key_prefix(), "{bull}");
        // The mission document's own lines, and what empty means.
        let empty = [("REDIS_HOST", "localhost"), ("REDIS_PORT", "6379"), ("REDIS_PASSWORD", ""), ("REDIS_URL", "")];
        assert!(!redis(&empty).has_login() && redis(&empty).key_prefix() == "bull");
        assert!(matches!(queue_store(&settings(&[("REDIS_URL", "")])), Ok(QueueStore::Embedded)));
    }

    #[test]
    fn what_is_said_twice_must_be_said_alike() {
        let url = ("REDIS_URL", "redis://localhost:6379");
        for alike in [
            &[url, ("REDIS_HOST", "localhost")][..],
            &[url, ("REDIS_HOST", "localhost"), ("REDIS_PORT", "6379")],
            &[url, ("REDIS_PORT", "6379"), ("REDIS_DB", "0")],
            // Kubernetes' own variable is no wish.
            &[url, ("REDIS_PORT", "tcp://10.0.0.1:6379")],
        ] {
            assert_eq!(redis(alike), RedisOptions::server("localhost", 6379), "{alike:?}");
        }
        let added = redis(&[url, ("REDIS_PASSWORD", "hunter2")]);
        assert_eq!(added, RedisOptions::server("localhost", 6379).password("hunter2"));
        redis(&[("REDIS_URL", "redis://:hunter2@a"), ("REDIS_PASSWORD", "hunter2")]);
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name_and_shows_no_password() {
        let url = ("REDIS_URL", "redis://:hunter2@a:1");
        for (pairs, parts) in [
            (&[url, ("REDIS_HOST", "b")][..], &["REDIS_HOST (from flag)", "a:1", "b:1"][..]),
            (&[url, ("REDIS_HOST", "a"), ("REDIS_PORT", "2")], &["REDIS_HOST", "a:2"]),
            (&[url, ("REDIS_PORT", "2")], &["REDIS_PORT", "port 2"]),
            (&[url, ("REDIS_PASSWORD", "hunter3")], &["REDIS_PASSWORD", "another login"]),
            (&[url, ("REDIS_USERNAME", "me")], &["REDIS_USERNAME", "another login"]),
            (&[url, ("REDIS_DB", "2")], &["REDIS_DB", "…/2"]),
            (&[("REDIS_URL", "http://:hunter2@a")], &["REDIS_URL", "scheme"]),
            (&[("REDIS_PORT", "6379")], &["REDIS_PORT", "LAUNCHKIT_STORE=embedded"]),
            (&[("REDIS_PASSWORD", "hunter2")], &["REDIS_PASSWORD", "REDIS_HOST"]),
            (&[("REDIS_PORT", "tcp://10.0.0.1:6379")], &["REDIS_PORT", "Kubernetes"]),
            (&[("REDIS_HOST", "a"), ("REDIS_PORT", "tcp://10.0.0.1:6379")], &["REDIS_PORT", "Kubernetes"]),
            (&[("REDIS_HOST", "redis://:hunter2@a")], &["REDIS_HOST", "REDIS_URL"]),
            (&[("REDIS_HOST", "a:1")], &["REDIS_HOST", "REDIS_PORT"]),
            (&[("REDIS_HOST", "a"), ("REDIS_PORT", "0")], &["REDIS_PORT", "65535"]),
            (&[("REDIS_HOST", "a"), ("REDIS_DB", "-1")], &["REDIS_DB"]),
            (&[("REDIS_HOST", "a"), ("REDIS_USERNAME", "me")], &["REDIS_PASSWORD must be set"]),
            (&[("LAUNCHKIT_STORE", "redis")], &["REDIS_URL must be set", "REDIS_HOST"]),
            (&[("LAUNCHKIT_STORE", "disk")], &["expected embedded or redis"]),
            (&[url, ("REDIS_PREFIX", "a"), ("QUEUE_PREFIX", "b")], &["REDIS_PREFIX", "QUEUE_PREFIX"]),
            (&[url, ("REDIS_PREFIX", "a b")], &["REDIS_PREFIX", "spaces"]),
            (&[("REDIS_URL", "redis-cluster://a"), ("QUEUE_PREFIX", "x")], &["QUEUE_PREFIX", "{bull}"]),
            (&[("REDIS_URL", "redis-cluster://a/2")], &["REDIS_URL", "database"]),
        ] {
            let message = queue_store(&settings(pairs)).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{pairs:?}: {message}");
            assert!(!message.contains("hunter"), "{message}");
        }
    }

    #[test]
    fn an_explicit_wish_for_the_file_is_heard_and_noted() {
        let both = settings(&[("LAUNCHKIT_STORE", "embedded"), ("REDIS_URL", "redis://a")]);
        assert!(matches!(queue_store(&both), Ok(QueueStore::Embedded)));
        assert!(notes(&both)[0].contains("REDIS_URL has no effect"), "{:?}", notes(&both));
        assert!(notes(&settings(&[("REDIS_URL", "redis://a")]))[0].contains("only processes of this machine"));
        let shared = [("REDIS_URL", "redis://a"), ("DATABASE_URL", "postgres://b/c")];
        assert_eq!((notes(&settings(&shared)), notes(&settings(&[]))), (Vec::new(), Vec::new()));
    }
}

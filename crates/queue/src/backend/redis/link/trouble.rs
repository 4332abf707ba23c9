//! What can go wrong with a command, translated once: what the caller can do, and whether it may have been carried out.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::{Failed, Happened, StoreError};

/// The longest text of a server that is passed on.
const LONGEST: usize = 300;

const WITHHELD: &str = "Redis refuses this to the user: its ACL lacks a command or a key";

/// A command that failed.
#[derive(Debug)]
pub(in super::super) struct Trouble {
    pub(in super::super) why: StoreError,
    /// Whether it may have been carried out all the same.
    pub(in super::super) happened: Happened,
}

impl Trouble {
    /// A command that was not carried out.
    pub(in super::super) fn before(why: StoreError) -> Self {
        Self { why, happened: Happened::No }
    }

    /// Something that went wrong after it was carried out.
    pub(in super::super) fn after(why: StoreError) -> Self {
        Self { why, happened: Happened::Unknown }
    }

    /// Hands the input of a write back.
    pub(in super::super) fn back<T: std::fmt::Debug>(self, input: T) -> Failed<T> {
        Failed { why: self.why, happened: self.happened, input: Box::new(input) }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        trouble.why
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io if error.is_connection_refusal() => no(format!("no connection to Redis: {error}")),
            ErrorKind::Io if error.is_timeout() => unknown(format!("Redis does not answer: {error}")),
            ErrorKind::Io | ErrorKind::Parse => unknown(format!("the connection to Redis broke: {error}")),
            ErrorKind::UnexpectedReturnType => {
                Self { why: StoreError::Damaged(text(&error)), happened: Happened::Unknown }
            }
            ErrorKind::AuthenticationFailed => no("Redis refuses the user name or the password".to_owned()),
            ErrorKind::RESP3NotSupported => no("this server is older than Redis 6.2: use a newer one".to_owned()),
            ErrorKind::MasterNameNotFoundBySentinel => {
                no("the sentinels know no reachable master of this name".to_owned())
            }
            ErrorKind::Client | ErrorKind::InvalidClientConfig | ErrorKind::ClusterConnectionNotFound => {
                no(format!("no connection to Redis: {error}"))
            }
            _ => said(&error),
        }
    }
}

/// What an error that the server answered means.
fn said(error: &RedisError) -> Trouble {
    let detail = error.detail().unwrap_or_default();
    let advice = match error.code().unwrap_or_default() {
        // A script that runs too long: it ends, or an operator ends it.
        "BUSY" => return Trouble::before(StoreError::Busy),
        "LOADING" => "Redis is loading its data",
        "NOSCRIPT" => "Redis forgot a script while it was being called",
        "READONLY" => "this server is a replica: writes need its master",
        "MASTERDOWN" => "this server is a replica whose master is down",
        "OOM" => "maxmemory is reached: give Redis more memory, or remove jobs",
        "MISCONF" => "Redis cannot save to its disk, and takes no writes",
        "NOREPLICAS" => "Redis has too few replicas to take writes",
        "NOAUTH" => "Redis wants a password",
        "WRONGPASS" => "Redis refuses the user name or the password",
        "NOPERM" => WITHHELD,
        "CLUSTERDOWN" => "the Redis cluster is down",
        "TRYAGAIN" | "MOVED" | "ASK" => "the Redis cluster is moving this queue's slot",
        "CROSSSLOT" => "keys of one call lie in different slots: the prefix needs a hash tag",
        "WRONGTYPE" => return damaged(error),
        _ if detail.starts_with("DB index") => "Redis has no database of this number",
        _ if detail.contains("user executing the script can't") => {
            return unknown(format!("{WITHHELD} ({})", text(error)));
        }
        _ if misspelt(detail) => return no(text(error)),
        // A script's own failure does not undo what it did.
        _ if of_script(detail) => return damaged(error),
        _ => return unknown(text(error)),
    };
    no(format!("{advice} ({})", text(error)))
}

fn no(why: String) -> Trouble {
    Trouble::before(StoreError::Unavailable(why))
}

fn unknown(why: String) -> Trouble {
    Trouble { why: StoreError::Unavailable(why), happened: Happened::Unknown }
}

fn damaged(error: &RedisError) -> Trouble {
    Trouble { why: StoreError::Damaged(text(error)), happened: Happened::Unknown }
}

/// The server did not understand the command itself.
fn misspelt(detail: &str) -> bool {
    let begins = |with: &str| detail.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    !of_script(detail) && ["unknown command", "unknown subcommand", "wrong number of"].into_iter().any(begins)
}

fn of_script(detail: &str) -> bool {
    ["script: ", "user_script", "running script"].iter().any(|sign| detail.contains(sign))
}

/// The server's words, without the arguments of a command that it quotes.
fn text(error: &RedisError) -> String {
    let mut text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    };
    if let Some(at) = text.find(", with args") {
        text.truncate(at);
    }
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}

/// Whether the server does not know a script.
pub(super) fn is_no_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether another server has the keys; nothing was carried out.
pub(super) fn is_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::Moved)
}

/// Whether a connection has become useless: it broke, or leads to a server that is no master.
pub(super) fn ends_line(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Trouble {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error is a value");
        Trouble::from(value.extract_error().expect_err(line))
    }

    #[test]
    fn what_was_certainly_not_carried_out_says_so() {
        let lines = [
            "NOSCRIPT No matching script.",
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica. script: abc, on @user_script:1.",
            "OOM command not allowed when used memory > 'maxmemory'. script: abc, on @user_script:1.",
            "BUSY Redis is busy running a script.",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM User u has no permissions to run the 'evalsha' command",
            "CLUSTERDOWN The cluster is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "MASTERDOWN Link with MASTER is down",
            "ERR unknown command 'FOO', with args beginning with: 'secret' ",
            "ERR wrong number of arguments for 'get' command",
        ];
        for line in lines {
            let trouble = of(line);
            assert_eq!(trouble.happened, Happened::No, "{line}: {trouble:?}");
            assert!(!trouble.why.to_string().contains("secret"), "{trouble:?}");
        }
        assert!(matches!(of("BUSY Redis is busy running a script.").why, StoreError::Busy));
    }

    #[test]
    fn what_may_have_been_carried_out_says_so() {
        let lines = [
            "ERR user_script:3: attempt to compare nil with number script: abc, on @user_script:3.",
            "ERR Error running script (call to f_abc): @user_script:1: Unknown Redis command",
            "ERR wrong number of arguments for 'get' command script: abc, on @user_script:1.",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR The user executing the script can't run this command or subcommand script: abc, on @user_script:45.",
            "ERR something new",
        ];
        for line in lines {
            assert_eq!(of(line).happened, Happened::Unknown, "{line}");
        }
        let late = RedisError::from(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer"));
        assert_eq!(Trouble::from(late).happened, Happened::Unknown);
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(Trouble::from(refused).happened, Happened::No);
    }
}

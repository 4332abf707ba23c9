//! What can go wrong with a command, translated once: what the caller can do, and whether it may have been carried out.

use std::error::Error;
use std::io;
use std::sync::Arc;

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
            ErrorKind::Io | ErrorKind::Client if is_mistrust(&error) => {
                refused(format!("no encrypted connection to Redis: {error}"))
            }
            ErrorKind::Io if error.is_connection_refusal() => no(format!("no connection to Redis: {error}")),
            ErrorKind::Io if error.is_timeout() => unknown(format!("Redis does not answer: {error}")),
            ErrorKind::Io | ErrorKind::Parse => unknown(format!("the connection to Redis broke: {error}")),
            ErrorKind::UnexpectedReturnType => {
                Self { why: StoreError::Damaged(text(&error)), happened: Happened::Unknown }
            }
            ErrorKind::AuthenticationFailed => refused("Redis refuses the user name or the password".to_owned()),
            ErrorKind::RESP3NotSupported => refused("this server is older than Redis 6.2: use a newer one".to_owned()),
            ErrorKind::MasterNameNotFoundBySentinel => {
                no("the sentinels do not answer, or know no reachable master of this name".to_owned())
            }
            ErrorKind::InvalidClientConfig => refused(error.to_string()),
            ErrorKind::Client | ErrorKind::ClusterConnectionNotFound => no(format!("no connection to Redis: {error}")),
            _ => said(&error),
        }
    }
}

/// What an error that the server answered means.
fn said(error: &RedisError) -> Trouble {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    if let Some(advice) = needs_other_settings(code, detail) {
        return refused(format!("{advice} ({})", text(error)));
    }
    let advice = match code {
        // A script that runs too long: it ends, or an operator ends it.
        "BUSY" => return Trouble::before(StoreError::Busy),
        "LOADING" => "Redis is loading its data",
        "NOSCRIPT" => "Redis forgot a script while it was being called",
        "READONLY" => "this server is a replica: writes need its master",
        "MASTERDOWN" => "this server is a replica whose master is down",
        "OOM" => "maxmemory is reached: give Redis more memory, or remove jobs",
        "MISCONF" => "Redis cannot save to its disk, and takes no writes",
        "NOREPLICAS" => "Redis has too few replicas to take writes",
        "CLUSTERDOWN" => "the Redis cluster is down",
        "TRYAGAIN" | "MOVED" | "ASK" => "the Redis cluster is moving this queue's slot",
        "WRONGTYPE" => return damaged(error),
        _ if detail.contains("user executing the script can't") => {
            return Trouble::after(StoreError::Refused(format!("{WITHHELD} ({})", text(error))));
        }
        _ if misspelt(detail) => return refused(text(error)),
        // A script's own failure does not undo what it did.
        _ if of_script(detail) => return damaged(error),
        _ => return unknown(text(error)),
    };
    no(format!("{advice} ({})", text(error)))
}

/// What no repetition cures: another login, other rights, another address.
fn needs_other_settings(code: &str, detail: &str) -> Option<&'static str> {
    match code {
        "NOAUTH" => Some("Redis wants a password"),
        "WRONGPASS" => Some("Redis refuses the user name or the password"),
        "NOPERM" => Some(WITHHELD),
        "CROSSSLOT" => Some("keys of one call lie in different slots: the prefix needs a hash tag"),
        _ if detail.starts_with("DB index") => Some("Redis has no database of this number"),
        _ => None,
    }
}

/// Whether one side does not take the other's certificate.
pub(super) fn is_mistrust(error: &RedisError) -> bool {
    use rustls::AlertDescription as Alert;
    let Some(cause) = error.source().and_then(|cause| cause.downcast_ref::<Arc<dyn Error + Send + Sync>>()) else {
        return false;
    };
    let cause: &(dyn Error + 'static) = match cause.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(inner)) => inner,
        Some(None) => return false,
        None => &**cause,
    };
    let Some(cause) = cause.downcast_ref::<rustls::Error>() else { return false };
    match cause {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::CertificateRequired | Alert::BadCertificate | Alert::UnknownCA | Alert::CertificateUnknown
        ),
        _ => false,
    }
}

fn no(why: String) -> Trouble {
    Trouble::before(StoreError::Unavailable(why))
}

fn refused(why: String) -> Trouble {
    Trouble::before(StoreError::Refused(why))
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

/// Whether the node that has the keys could not be reached.
pub(super) fn no_node(error: &RedisError) -> bool {
    ends_line(error) || error.kind() == ErrorKind::ClusterConnectionNotFound
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
    fn what_passes_and_what_needs_other_settings_are_told_apart() {
        for line in [
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM User u has no permissions to run the 'evalsha' command",
            "CROSSSLOT Keys in request don't hash to the same slot",
            "ERR DB index is out of range",
            "ERR unknown command 'EVALSHA', with args beginning with: 'x' ",
            "ERR The user executing the script can't run this command or subcommand script: abc, on @user_script:45.",
        ] {
            assert!(matches!(of(line).why, StoreError::Refused(_)), "{line}: {:?}", of(line));
        }
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "READONLY You can't write against a read only replica.",
            "CLUSTERDOWN The cluster is down",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(of(line).why, StoreError::Unavailable(_)), "{line}: {:?}", of(line));
        }
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

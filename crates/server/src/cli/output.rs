//! What commands print and how they end.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::BadConfig;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    /// It was tried and did not work: exit code 1.
    #[error("{0}")]
    Failed(String),
    /// It was asked for in a way that cannot work: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// A server or store cannot be reached: exit code 3.
    #[error("{0}")]
    Unreachable(String),
    /// Everything has been said already: exit code 1.
    #[error("")]
    Told,
}

impl Stop {
    fn code(&self) -> u8 {
        match self {
            Stop::Failed(_) | Stop::Told => 1,
            Stop::Usage(_) => 2,
            Stop::Unreachable(_) => 3,
        }
    }
}

impl From<BadConfig> for Stop {
    fn from(error: BadConfig) -> Stop {
        match error {
            BadConfig::Secret { .. } => Stop::Failed(error.to_string()),
            _ => Stop::Usage(error.to_string()),
        }
    }
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    json: bool,
}

impl Out {
    /// Results as JSON or for people.
    pub(super) fn new(json: bool) -> Out {
        Out { json }
    }

    /// Prints the result: as one JSON document, or as what `text` makes of it.
    pub(super) fn show<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) {
        let line = if self.json { serde_json::to_string_pretty(value).unwrap_or_default() } else { text(value) };
        print(&line);
    }

    /// Prints a line for people only.
    pub(super) fn say(self, line: &str) {
        if !self.json {
            print(line);
        }
    }

    /// Tells why the command stopped, and answers its exit code.
    pub(super) fn stop(self, stop: &Stop) -> ExitCode {
        if !matches!(stop, Stop::Told) {
            note(&format!("launchkit: {stop}"));
            if self.json {
                print(&json!({"error": {"message": stop.to_string(), "exitCode": stop.code()}}).to_string());
            }
        }
        ExitCode::from(stop.code())
    }
}

/// A message on standard error.
pub(super) fn note(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A line on standard output. A reader that has gone (`launchkit … | head -1`) is no failure.
fn print(line: &str) {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            note(&format!("launchkit: cannot write the result: {error}"))
        }
        _ => {}
    }
}

/// A value as a short text: strings as they are, the rest as JSON, nothing for null.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

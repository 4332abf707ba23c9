//! Who is calling, and may they: API keys for the jobs API, JWTs for administration.
//!
//! Refusals are alike for unknown, wrong, expired and revoked credentials, and no credential is ever
//! logged. Times are milliseconds and come as arguments.

pub mod first;
pub mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderMap, header};

use crate::ledger::{KeyRow, Ledger, LedgerError, parse_key, verify_key};
use crate::problem::{Code, Problem};

pub use token::{Grant, Operator, Role, Tokens};

/// How long a key's row may be believed without asking the database: half of the second within
/// which a revocation must hold everywhere.
const BELIEVED_MS: i64 = 500;
/// Rows that are remembered at most.
const REMEMBERED: usize = 1_024;
/// How often a key's use is noted at most.
const NOTED_MS: i64 = 60_000;

/// What an API key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read jobs.
    JobsRead,
    /// Create, cancel and retry jobs.
    JobsWrite,
    /// Read the usage.
    UsageRead,
    /// Change webhooks.
    WebhooksWrite,
}

impl Scope {
    /// Every scope: what a key gets when nothing else is said.
    pub const ALL: [Scope; 4] = [Scope::JobsRead, Scope::JobsWrite, Scope::UsageRead, Scope::WebhooksWrite];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Scope::JobsRead => "jobs:read",
            Scope::JobsWrite => "jobs:write",
            Scope::UsageRead => "usage:read",
            Scope::WebhooksWrite => "webhooks:write",
        }
    }
}

/// An authenticated caller of the jobs API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose jobs.
    pub org: String,
    /// The key's id, for the audit.
    pub key_id: String,
}

/// Checks credentials. Remembers keys for half a second, so that a busy caller does not cost a read each time.
pub struct Auth {
    ledger: Ledger,
    tokens: Tokens,
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Clone)]
struct Seen {
    row: Arc<KeyRow>,
    /// When the read of the row began.
    at: i64,
}

impl Auth {
    /// Checks keys against this ledger and tokens with these rules.
    pub fn new(ledger: Ledger, tokens: Tokens) -> Auth {
        Auth { ledger, tokens, seen: Mutex::new(HashMap::new()) }
    }

    /// The caller behind an API key that has this scope.
    pub async fn caller(&self, headers: &HeaderMap, scope: Scope, now: i64) -> Result<Caller, Problem> {
        let text = credential(headers)?;
        let unknown = || Problem::unauthenticated("The API key is not valid.");
        let key = parse_key(&text).ok_or_else(unknown)?;
        let row = self.row(key.prefix, now).await.map_err(|error| refusal(&error))?.ok_or_else(unknown)?;
        let good = verify_key(&row, &key) && row.is_usable(now);
        if !good {
            return Err(unknown());
        }
        if !row.scopes.iter().any(|has| has == scope.name()) {
            return Err(Problem::new(Code::Forbidden, format!("The API key lacks the scope {}.", scope.name())));
        }
        self.note_use(&row, now).await;
        Ok(Caller { org: row.org.clone(), key_id: row.id.clone() })
    }

    /// The operator behind a token of at least this role. Tokens that are limited to one
    /// organisation do not reach what all share.
    pub fn operator(&self, headers: &HeaderMap, role: Role, now: i64) -> Result<Operator, Problem> {
        let text = credential(headers)?;
        let operator = self.tokens.check(&text, now).map_err(|error| {
            tracing::debug!(reason = %error, "token refused");
            Problem::unauthenticated("The token is not valid.")
        })?;
        if operator.org.is_some() {
            return Err(Problem::new(
                Code::Forbidden,
                "The token is limited to one organisation; the queues are shared by all.",
            ));
        }
        if operator.role.is_none_or(|has| has < role) {
            return Err(Problem::new(Code::Forbidden, format!("This needs the role {} or higher.", role.name())));
        }
        Ok(operator)
    }

    async fn row(&self, prefix: &str, now: i64) -> Result<Option<Arc<KeyRow>>, LedgerError> {
        if let Some(seen) = self.seen().get(prefix).filter(|seen| fresh(seen, now)) {
            return Ok(Some(seen.row.clone()));
        }
        let Some(row) = self.ledger.find_key(prefix).await?.map(Arc::new) else { return Ok(None) };
        let mut seen = self.seen();
        if seen.len() >= REMEMBERED {
            seen.retain(|_, seen| fresh(seen, now));
        }
        if seen.len() < REMEMBERED {
            seen.insert(prefix.to_owned(), Seen { row: row.clone(), at: now });
        }
        Ok(Some(row))
    }

    /// A failure to note the use must not refuse a good key.
    async fn note_use(&self, row: &KeyRow, now: i64) {
        if row.last_used_at.is_some_and(|at| now - at < NOTED_MS) {
            return;
        }
        // The remembered row is marked first, so that a burst writes once and not once a request.
        let prefix = row.prefix.clone();
        let marked = KeyRow { last_used_at: Some(now), ..row.clone() };
        if let Some(seen) = self.seen().get_mut(&prefix) {
            seen.row = Arc::new(marked);
        }
        if let Err(error) = self.ledger.touch_key(row, now).await {
            tracing::warn!(%error, "the use of an API key was not noted");
        }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// A clock that was set back makes a row stale, too.
fn fresh(seen: &Seen, now: i64) -> bool {
    (0..BELIEVED_MS).contains(&(now - seen.at))
}

/// The one credential of a request, from `Authorization: Bearer` or `X-API-Key`.
fn credential(headers: &HeaderMap) -> Result<String, Problem> {
    let mut found: Option<&str> = None;
    let given = headers.get_all(header::AUTHORIZATION).iter().map(|value| (true, value));
    let given = given.chain(headers.get_all("x-api-key").iter().map(|value| (false, value)));
    for (bearer, value) in given {
        let text = value.to_str().ok().and_then(|text| if bearer { token_of(text) } else { Some(text.trim()) });
        let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
            Problem::unauthenticated("The credential cannot be read; send it as Authorization: Bearer ….")
        })?;
        if found.is_some_and(|other| other != text) {
            return Err(Problem::unauthenticated("Two different credentials were sent; send one."));
        }
        found = Some(text);
    }
    found.map(str::to_owned).ok_or_else(|| Problem::unauthenticated("Send a credential as Authorization: Bearer …."))
}

fn token_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn refusal(error: &LedgerError) -> Problem {
    crate::http::ledger_problem(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, axum::http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn one_credential_from_either_header() {
        for pairs in [
            &[("authorization", "Bearer abc")][..],
            &[("authorization", "bearer  abc ")],
            &[("x-api-key", "abc")],
            &[("authorization", "Bearer abc"), ("x-api-key", "abc")],
        ] {
            assert_eq!(credential(&headers(pairs)).unwrap(), "abc", "{pairs:?}");
        }
    }

    #[test]
    fn none_two_or_unreadable_credentials_are_refused() {
        for pairs in [
            &[][..],
            &[("authorization", "Basic abc")],
            &[("authorization", "abc")],
            &[("authorization", "Bearer ")],
            &[("x-api-key", "")],
            &[("x-api-key", "é")],
            &[("authorization", "Bearer abc"), ("x-api-key", "abd")],
            &[("authorization", "Bearer abc"), ("authorization", "Bearer abd")],
            &[("authorization", "Basic abc"), ("x-api-key", "abc")],
        ] {
            assert_eq!(credential(&headers(pairs)).unwrap_err().code(), Code::Unauthenticated, "{pairs:?}");
        }
    }
}

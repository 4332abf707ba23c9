//! API keys: `lk_live_<prefix>_<secret>` (or `lk_test_…`). Only a SHA-256 of the secret is stored, which is enough because
//! the secret has 256 random bits; the prefix is public and finds the row.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::db::Row;
use super::hooks::{read_list, write_list};
use super::id::random;
use super::sql::Sql;
use super::{Ledger, LedgerError};

/// The two families of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyMode {
    /// `lk_live_…`
    Live,
    /// `lk_test_…`
    Test,
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose.
    pub org: String,
    /// What its owner calls it.
    pub name: String,
    /// Live or test.
    pub mode: KeyMode,
    /// `jobs:read`, `jobs:write`, …; checked by the caller.
    pub scopes: Vec<String>,
    /// When it stops working.
    pub expires_at: Option<i64>,
}

/// A key as stored; the secret cannot be had back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key's id.
    pub id: String,
    /// Whose.
    pub org: String,
    /// What its owner calls it.
    pub name: String,
    /// Live or test.
    pub mode: KeyMode,
    /// The public part.
    pub prefix: String,
    /// Lower-case hexadecimal SHA-256 of the secret.
    pub hash: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: i64,
    /// When it stops working.
    pub expires_at: Option<i64>,
    /// When it was last used, exact to a minute.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

/// A presented key taken apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParsedKey<'a> {
    /// Live or test.
    pub mode: KeyMode,
    /// The public part: find the row by it.
    pub prefix: &'a str,
    /// The secret part: give it to [`verify_key`].
    pub secret: &'a str,
}

const PREFIX_LENGTH: usize = 12;
/// 52 characters of base 36 carry 268 bits.
const SECRET_LENGTH: usize = 52;
const MINUTE: i64 = 60_000;
const COLUMNS: &str = "id, org, name, mode, prefix, hash, scopes, created_at, expires_at, last_used_at, revoked_at";

/// Takes a presented key apart; `None` when it has not the form of one.
pub fn parse_key(text: &str) -> Option<ParsedKey<'_>> {
    let rest = text.strip_prefix("lk_")?;
    let (mode, rest) = rest.split_once('_')?;
    let mode = KeyMode::parse(mode)?;
    let (prefix, secret) = rest.split_once('_')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let formed = prefix.len() == PREFIX_LENGTH && secret.len() == SECRET_LENGTH;
    (formed && plain(prefix) && plain(secret)).then_some(ParsedKey { mode, prefix, secret })
}

/// Whether the presented secret and mode are the row's, in time that does not depend on where they differ. Revocation and
/// expiry are the caller's to look at ([`KeyRow::is_usable`]).
pub fn verify_key(row: &KeyRow, presented: &ParsedKey<'_>) -> bool {
    let hash = hash_of(presented.secret);
    let same: bool = hash.as_bytes().ct_eq(row.hash.as_bytes()).into();
    same & (row.mode == presented.mode)
}

fn hash_of(secret: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(secret.as_bytes());
    let mut text = String::with_capacity(64);
    for byte in digest {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl KeyMode {
    fn as_str(self) -> &'static str {
        match self {
            KeyMode::Live => "live",
            KeyMode::Test => "test",
        }
    }

    fn parse(word: &str) -> Option<KeyMode> {
        match word {
            "live" => Some(KeyMode::Live),
            "test" => Some(KeyMode::Test),
            _ => None,
        }
    }
}

impl KeyRow {
    /// Whether it is neither revoked nor expired at `now`.
    pub fn is_usable(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| at > now)
    }
}

/// The secret part never reaches a log.
impl std::fmt::Debug for ParsedKey<'_> {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "lk_{}_{}_…", self.mode.as_str(), self.prefix)
    }
}

fn read_key(mut row: Row) -> Result<KeyRow, LedgerError> {
    Ok(KeyRow {
        id: row.text()?,
        org: row.text()?,
        name: row.text()?,
        mode: {
            let word = row.text()?;
            KeyMode::parse(&word).ok_or_else(|| LedgerError::Unreadable(format!("the key mode {word:?}")))?
        },
        prefix: row.text()?,
        hash: row.text()?,
        scopes: read_list(&row.text()?)?,
        created_at: row.int()?,
        expires_at: row.opt_int()?,
        last_used_at: row.opt_int()?,
        revoked_at: row.opt_int()?,
    })
}

impl Ledger {
    /// Makes a key. The second value is the whole key, shown this once; `None` when the organisation does not exist.
    pub async fn create_key(&self, key: &NewKey, now: i64) -> Result<Option<(KeyRow, String)>, LedgerError> {
        let (mut prefix, mut secret) = (String::new(), String::new());
        random(&mut prefix, PREFIX_LENGTH);
        random(&mut secret, SECRET_LENGTH);
        let row = KeyRow {
            id: self.new_id(now),
            org: key.org.clone(),
            name: key.name.clone(),
            mode: key.mode,
            hash: hash_of(&secret),
            scopes: key.scopes.clone(),
            created_at: now,
            expires_at: key.expires_at,
            last_used_at: None,
            revoked_at: None,
            prefix,
        };
        let sql = Sql::new(
            "keys.insert",
            "INSERT INTO api_keys (id, org, name, mode, prefix, hash, scopes, created_at, expires_at)
             SELECT $1, o.id, $3, $4, $5, $6, $7, $8, $9 FROM orgs o WHERE o.id = $2",
        );
        let sql = sql
            .bind(&row.id)
            .bind(&row.org)
            .bind(&row.name)
            .bind(row.mode.as_str())
            .bind(&row.prefix)
            .bind(&row.hash)
            .bind(write_list(&row.scopes)?)
            .bind(now)
            .bind(row.expires_at);
        if self.db().run(sql).await? == 0 {
            return Ok(None);
        }
        let whole = format!("lk_{}_{}_{secret}", row.mode.as_str(), row.prefix);
        Ok(Some((row, whole)))
    }

    /// The key with this public prefix, revoked and expired ones too.
    pub async fn find_key(&self, prefix: &str) -> Result<Option<KeyRow>, LedgerError> {
        let text = format!("SELECT {COLUMNS} FROM api_keys WHERE prefix = $1");
        let sql = Sql::built("keys.find", text);
        self.db().row(sql.bind(prefix)).await?.map(read_key).transpose()
    }

    /// An organisation's keys, newest first, at most 1,000.
    pub async fn list_keys(&self, org: &str) -> Result<Vec<KeyRow>, LedgerError> {
        let text = format!("SELECT {COLUMNS} FROM api_keys WHERE org = $1 ORDER BY id DESC LIMIT 1000");
        let rows = self.db().rows(Sql::built("keys.list", text).bind(org)).await?;
        rows.into_iter().map(read_key).collect()
    }

    /// Revokes a key. Answers whether the organisation has it; revoking twice keeps the first time.
    pub async fn revoke_key(&self, org: &str, id: &str, now: i64) -> Result<bool, LedgerError> {
        let sql = Sql::new(
            "keys.revoke",
            "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE id = $1 AND org = $2",
        );
        Ok(self.db().run(sql.bind(id).bind(org).bind(now)).await? > 0)
    }

    /// Notes a use. Call it with a row just read: it writes only when the row's `last_used_at` is a minute old.
    pub async fn touch_key(&self, key: &KeyRow, now: i64) -> Result<(), LedgerError> {
        if key.last_used_at.is_some_and(|at| now - at < MINUTE) {
            return Ok(());
        }
        let sql = Sql::new(
            "keys.touch",
            "UPDATE api_keys SET last_used_at = $2
             WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)",
        );
        self.db().run(sql.bind(&key.id).bind(now).bind(now - MINUTE)).await?;
        Ok(())
    }
}

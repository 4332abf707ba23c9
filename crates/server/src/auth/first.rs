//! The first key of a fresh deployment: made once, shown on a terminal or kept in a private file.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Scope;
use crate::config::secrets;
use crate::ledger::{KeyMode, Ledger, LedgerError, NewKey};

/// The key of a deployment that had none.
#[derive(Debug)]
pub struct FirstKey {
    /// The whole key.
    pub key: SecretString,
    /// The organisation that it belongs to.
    pub org: String,
}

/// Makes the default organisation and, when it has never had a key, its first one.
pub async fn first_key(ledger: &Ledger, now: i64) -> Result<Option<FirstKey>, LedgerError> {
    let org = ledger.ensure_default_org(now).await?.id;
    if !ledger.list_keys(&org).await?.is_empty() {
        return Ok(None);
    }
    let key = NewKey {
        org: org.clone(),
        name: "first key".to_owned(),
        mode: KeyMode::Live,
        scopes: Scope::ALL.iter().map(|scope| scope.name().to_owned()).collect(),
        expires_at: None,
    };
    let made = ledger.create_key(&key, now).await?;
    Ok(made.map(|(_, text)| FirstKey { key: SecretString::from(text), org }))
}

/// Keeps the key in a file of the data directory that only the owner may read, and answers where. The file of an earlier
/// deployment is replaced: its key is not this database's.
pub fn keep(first: &FirstKey, data_dir: &Path) -> std::io::Result<PathBuf> {
    let path = data_dir.join("first-api-key");
    secrets::replace(&path, first.key.expose_secret())?;
    Ok(path)
}

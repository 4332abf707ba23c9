//! Copies of a deployment: what it keeps in files, taken while it runs, and put back.
//!
//! The queue is copied before the database. The database is the record: what it says and the older queue does not know, it
//! carries into the queue again; what the queue still holds although it has ended is passed over. With the older database, the
//! queue would hold jobs that were accepted and that nobody knows any more.
//!
//! Configuration (the environment, `.env`, `launchkit.toml`) is no part of a copy.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::config::secrets::private_directory;
use crate::when::rfc3339;

mod files;

use files::{Draft, absolute, at, beside, copy_file, folder_of, make, sync};

/// What the file is called that says what a copy has.
const MANIFEST: &str = "backup.json";
/// The version of copies; others are refused.
const FORMAT: u32 = 1;
/// The queue's file, in copies and in the data directory.
const QUEUE: &str = "queue.db";
/// The database's file in copies; where it stands otherwise is configured.
const DATABASE: &str = "launchkit.db";
/// Secrets that were made at the first start, as far as they are there; others are kept where they are configured.
const SECRETS: [&str; 2] = ["jwt-secret", "secret-key"];
/// What SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// A larger manifest is none.
const LARGEST_MANIFEST: u64 = 1 << 20;

/// Where a deployment keeps its files.
#[derive(Debug, Clone)]
pub struct Places {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The database's file.
    pub database: PathBuf,
    /// Whether the queue is in the data directory, too. One on Redis is not copied: it is built again from the database.
    pub queue: bool,
}

/// What a copy has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// The version of copies.
    pub format: u32,
    /// The program that made it.
    pub version: String,
    /// The deployment that it is of.
    pub deployment: String,
    /// When it was begun.
    pub taken: String,
    /// Its files.
    pub files: Vec<Kept>,
}

/// One file of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Kept {
    /// Its name in the copy.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its content's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Why a copy was not made, or not put back. What was begun is taken back; a process that is killed leaves files with `.partial-`
/// in their names.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already; it is not written over.
    #[error("{0} is there already, and is not written over: name another place, or move it away")]
    Exists(PathBuf),
    /// There is nothing to copy.
    #[error("there is no deployment to copy: {0} does not exist")]
    Nothing(PathBuf),
    /// It is no copy, or one that this version does not know.
    #[error("{0} is no backup that this version can read: {1}")]
    Unknown(PathBuf, String),
    /// A file of a copy is not what was copied.
    #[error("{0} is damaged: {1}")]
    Damaged(PathBuf, String),
    /// A file cannot be read or written.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: io::Error,
    },
    /// A database cannot be read or written.
    #[error("{path}: {why}")]
    Database {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        why: sqlx::Error,
    },
}

/// Copies a deployment, running or not, into a directory that is not there yet. Databases are copied as of one moment each,
/// and checked; writers are not held up.
pub async fn take(places: &Places, into: &Path, now: i64) -> Result<Manifest, BackupError> {
    let into = &absolute(into)?;
    if into.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(into.to_owned()));
    }
    if !places.database.exists() {
        return Err(BackupError::Nothing(places.database.clone()));
    }
    let draft = Draft::folder(into)?;
    let mut files = Vec::new();
    if places.queue && places.data_dir.join(QUEUE).exists() {
        copy_database(&places.data_dir.join(QUEUE), &draft.path().join(QUEUE)).await?;
        files.push(kept(&draft.path().join(QUEUE), QUEUE)?);
    }
    let database = draft.path().join(DATABASE);
    copy_database(&places.database, &database).await?;
    files.push(kept(&database, DATABASE)?);
    for name in SECRETS {
        let from = places.data_dir.join(name);
        if from.exists() {
            copy_file(&from, &draft.path().join(name))?;
            files.push(kept(&draft.path().join(name), name)?);
        }
    }
    let deployment = deployment(&database).await?;
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { format: FORMAT, version, deployment, taken: rfc3339(now), files };
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| io::Error::other(error.to_string()));
    let path = draft.path().join(MANIFEST);
    text.and_then(|text| make(&path)?.write_all(text.as_bytes())).and_then(|()| sync(&path)).map_err(at(&path))?;
    draft.rename(into)?;
    Ok(manifest)
}

/// Puts a copy back where no deployment is, and nothing of one. Everything is checked before anything is put in place, the
/// database last; nothing may be started there meanwhile.
pub async fn restore(places: &Places, from: &Path) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    let database = absolute(&places.database)?;
    let data_dir = absolute(&places.data_dir)?;
    let target = |name: &str| if name == DATABASE { database.clone() } else { data_dir.join(name) };
    for name in [QUEUE, DATABASE].into_iter().chain(SECRETS) {
        let endings = if is_database(name) { &BESIDE[..] } else { &[] };
        let path = target(name);
        let others = endings.iter().map(|ending| beside(&path, ending));
        if let Some(there) = others.chain([path.clone()]).find(|path| path.symlink_metadata().is_ok()) {
            return Err(BackupError::Exists(there));
        }
    }
    for folder in [&*data_dir, folder_of(&database)] {
        private_directory(folder).map_err(at(folder))?;
    }
    let mut drafts = Vec::new();
    for file in manifest.files.iter().filter(|file| places.queue || file.name != QUEUE) {
        let path = target(&file.name);
        let draft = Draft::file(&path, &from.join(&file.name))?;
        check(draft.path(), file).await?;
        drafts.push((draft, path));
    }
    drafts.sort_by_key(|(_, path)| *path == database);
    let mut put = Vec::new();
    for (draft, path) in drafts {
        put.push(draft.link(&path)?);
    }
    put.into_iter().for_each(Draft::leave);
    Ok(manifest)
}

fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let unknown = |why: String| BackupError::Unknown(from.to_owned(), why);
    let file = File::open(&path).map_err(|why| unknown(format!("{MANIFEST}: {why}")))?;
    let mut text = String::new();
    file.take(LARGEST_MANIFEST).read_to_string(&mut text).map_err(at(&path))?;
    let manifest: Manifest = serde_json::from_str(&text).map_err(|why| unknown(format!("{MANIFEST}: {why}")))?;
    if manifest.format != FORMAT {
        return Err(unknown(format!("its format is {}, known is {FORMAT}", manifest.format)));
    }
    let mut names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !is_database(name) && !SECRETS.contains(name)) {
        return Err(unknown(format!("it has a file {name:?}")));
    }
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) || !names.contains(&DATABASE) {
        return Err(unknown("it does not have each file once, and the database".to_owned()));
    }
    Ok(manifest)
}

fn is_database(name: &str) -> bool {
    name == DATABASE || name == QUEUE
}

/// Whether a file is what was copied.
async fn check(path: &Path, file: &Kept) -> Result<(), BackupError> {
    let found = kept(path, &file.name)?;
    if found != *file {
        let (name, bytes) = (PathBuf::from(&file.name), found.bytes);
        let why = format!("{bytes} bytes with the SHA-256 {}, not {} with {}", found.sha256, file.bytes, file.sha256);
        return Err(BackupError::Damaged(name, why));
    }
    if is_database(&file.name) { check_database(path).await } else { Ok(()) }
}

fn kept(path: &Path, name: &str) -> Result<Kept, BackupError> {
    let digest = || {
        let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), 0_u64);
        let mut part = vec![0; 1 << 16];
        loop {
            match file.read(&mut part)? {
                0 => return Ok((bytes, hash.finalize())),
                read => {
                    hash.update(&part[..read]);
                    bytes += read as u64;
                }
            }
        }
    };
    let (bytes, hash) = digest().map_err(at(path))?;
    let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Kept { name: name.to_owned(), bytes, sha256 })
}

async fn open(path: &Path) -> Result<SqliteConnection, BackupError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(10));
    options.disable_statement_logging().connect().await.map_err(of(path))
}

/// Copies a database as it is at one moment, and checks the copy.
async fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let name = to.to_str().ok_or_else(|| BackupError::Unknown(to.to_owned(), "its name is no UTF-8".to_owned()))?;
    // A file that is there keeps its mode: only the owner may read it.
    make(to).map_err(at(to))?;
    let mut database = open(from).await?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(name).execute(&mut database).await;
    copied.map_err(of(from))?;
    database.close().await.map_err(of(from))?;
    check_database(to).await?;
    sync(to).map_err(at(to))
}

async fn check_database(path: &Path) -> Result<(), BackupError> {
    let mut database = open(path).await?;
    let said: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut database).await.map_err(of(path))?;
    database.close().await.map_err(of(path))?;
    if said == ["ok"] { Ok(()) } else { Err(BackupError::Damaged(path.to_owned(), said.join("; "))) }
}

async fn deployment(database: &Path) -> Result<String, BackupError> {
    let mut open = open(database).await?;
    let asked = "SELECT value FROM meta WHERE name = 'deployment'";
    let id = sqlx::query_scalar(asked).fetch_one(&mut open).await.map_err(of(database))?;
    open.close().await.map_err(of(database))?;
    Ok(id)
}

fn of(path: &Path) -> impl FnOnce(sqlx::Error) -> BackupError + use<> {
    let path = path.to_owned();
    |why| BackupError::Database { path, why }
}

//! Opening the file: settings that are read back, and the schema, brought up to date in one transaction.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::fault::Fault;

/// A step of the schema; the file remembers how many it has. Once released, a step stays as it is.
struct Step {
    text: &'static str,
    /// Programs that know this many steps still run on what it makes: it only adds.
    oldest: usize,
}

const STEPS: [Step; 1] = [Step { text: include_str!("migrations/1.sql"), oldest: 1 }];
/// Marks the file as ours ("LkQu").
const APPLICATION_ID: i32 = 0x4c6b_5175;
/// How long to wait for another process's write.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The connection that writes. Creates and migrates the file.
pub(super) fn writer(path: &Path) -> Result<Connection, Fault> {
    refuse_network(path)?;
    let mut conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    conn.set_prepared_statement_cache_capacity(128);
    set(&conn, "journal_mode", "wal")?;
    // Our own checkpoints run beside the writer, not inside a commit.
    set(&conn, "wal_autocheckpoint", "0")?;
    set(&conn, "synchronous", "2")?;
    conn.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    conn.pragma_update(None, "cache_size", -32 * 1024)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    migrate(&mut conn)?;
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY)?;
    set(&conn, "query_only", "1")?;
    conn.pragma_update(None, "cache_size", -4 * 1024)?;
    Ok(conn)
}

/// A connection that only moves finished pages from the log into the file.
pub(super) fn checkpointer(path: &Path) -> Result<Connection, Fault> {
    let conn = Connection::open(path)?;
    conn.busy_timeout(BUSY)?;
    set(&conn, "wal_autocheckpoint", "0")?;
    Ok(conn)
}

/// Sets a pragma and reads it back: a misspelt or refused one would otherwise pass in silence.
fn set(conn: &Connection, name: &'static str, value: &str) -> Result<(), Fault> {
    conn.pragma_update(None, name, value)?;
    let now = conn.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))?;
    let now = match now {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => format!("{other:?}"),
    };
    if now == value { Ok(()) } else { Err(Fault::Setting { name, wanted: value.to_owned(), got: now }) }
}

/// File systems whose locks do not hold between hosts, by the numbers of statfs(2): NFS, SMB (two), CIFS, AFS, Ceph, 9P.
#[cfg(target_os = "linux")]
const NETWORK: [u32; 7] = [0x6969, 0x517b, 0xfe53_4d42, 0xff53_4d42, 0x5346_414f, 0x00c3_6400, 0x0102_1997];

#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Result<(), Fault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::statfs(folder) {
        Ok(stat) if NETWORK.contains(&(stat.f_type as u32)) => Err(Fault::Network(path.display().to_string())),
        // What cannot be asked is left to SQLite to complain about.
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &Path) -> Result<(), Fault> {
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), Fault> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let owner: i32 = tx.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: usize = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let foreign = owner != APPLICATION_ID && (owner != 0 || version != 0 || has_tables(&tx)?);
    if foreign {
        return Err(Fault::Foreign);
    }
    if version > STEPS.len() {
        let oldest = tx.query_row("SELECT value FROM meta WHERE key = 'oldest'", [], |row| row.get::<_, String>(0));
        let oldest = oldest.optional()?.and_then(|text| text.parse().ok());
        // A later version's: it has said whether this one may go on.
        return match oldest.is_some_and(|oldest: usize| oldest <= STEPS.len()) {
            true => Ok(()),
            false => Err(Fault::Newer { found: version, known: STEPS.len() }),
        };
    }
    if version == STEPS.len() {
        return Ok(());
    }
    for step in &STEPS[version..] {
        tx.execute_batch(step.text)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", STEPS.len() as i64)?;
    let oldest = STEPS.iter().map(|step| step.oldest).max().unwrap_or_default();
    tx.execute(
        "INSERT INTO meta (key, value) VALUES ('oldest', ?1) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [oldest.to_string()],
    )?;
    tx.commit()?;
    Ok(())
}

fn has_tables(conn: &Connection) -> Result<bool, Fault> {
    Ok(conn.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?)
}

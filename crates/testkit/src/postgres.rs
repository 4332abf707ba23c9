//! A private PostgreSQL server for tests: own directory, free port, random password, gone when the test process is.
//!
//! The package's own daemon and clusters are not touched. A server that is not installed is a failure that says how to
//! install it, never a skip.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// Whether commits reach the disk before they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As in production.
    Fsync,
    /// Faster, for tests whose subject it is not.
    None,
}

/// Why no server could be had.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// It is not on this machine.
    #[error("no PostgreSQL server found under PATH or /usr/lib/postgresql: apt-get install postgresql")]
    NotInstalled,
    /// A step failed.
    #[error("PostgreSQL: {step} failed: {why}")]
    Failed {
        /// Which step.
        step: &'static str,
        /// What was said.
        why: String,
    },
}

/// A running server. It stops when this is dropped, and also when the process ends without dropping it (a `static`, a kill):
/// a watcher beside it sees the end of a pipe that only this process holds.
pub struct Postgres {
    binaries: PathBuf,
    port: u16,
    password: String,
    runner: Child,
    log: Option<JoinHandle<()>>,
    databases: AtomicU32,
}

/// Starts `postgres` ($1 is its directory of binaries, $2 its data, the rest its settings) and stops it when standard input
/// ends; a background command has no standard input of its own, hence the third descriptor.
const RUNNER: &str = r#"
binaries=$1; home=$2; shift 2
exec 3<&0
"$binaries/postgres" -D "$home/data" "$@" 3<&- &
server=$!
( read -r _; kill -INT "$server" ) <&3 2>/dev/null &
watcher=$!
wait "$server"
kill "$watcher" 2>/dev/null
wait "$server" 2>/dev/null
rm -rf "$home"
"#;

const READY: &str = "database system is ready to accept connections";
/// A port that was free may be taken before the server has it.
const PORTS_TRIED: u32 = 5;

impl Postgres {
    /// Makes a cluster and starts its server; answers when it accepts connections.
    pub fn start(durability: Durability) -> Result<Postgres, PostgresError> {
        let binaries = find_binaries().ok_or(PostgresError::NotInstalled)?;
        let mut last = PostgresError::NotInstalled;
        for _ in 0..PORTS_TRIED {
            let port = free_port().map_err(failed("finding a port"))?;
            let home = Home::make()?;
            let password = password()?;
            home.initdb(&binaries, &password)?;
            match home.run(&binaries, port, durability) {
                Ok((runner, log)) => {
                    return Ok(Postgres {
                        binaries,
                        port,
                        password,
                        runner,
                        log: Some(log),
                        databases: AtomicU32::new(0),
                    });
                }
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// Makes an empty database and answers its `DATABASE_URL`.
    pub fn database(&self) -> Result<String, PostgresError> {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(self.binaries.join("createdb"));
        command
            .args(["--host=127.0.0.1", "--username=postgres", "--no-password"])
            .arg(format!("--port={}", self.port))
            .arg(&name)
            .env("PGPASSWORD", &self.password)
            .current_dir("/");
        run(command, "createdb")?;
        Ok(format!("postgres://postgres:{}@127.0.0.1:{}/{name}", self.password, self.port))
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.runner.stdin.take());
        // A failure to wait leaves nothing to do: the runner stops the server by itself.
        let _ = self.runner.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

/// The cluster's directory, owned by the user that the server runs as; PostgreSQL refuses to run as root.
struct Home {
    path: PathBuf,
    user: Option<(u32, u32)>,
}

impl Home {
    fn make() -> Result<Home, PostgresError> {
        let step = "making a directory";
        let path = tempfile::Builder::new().prefix("launchkit-postgres-").tempdir().map_err(failed(step))?.keep();
        let owner = fs::metadata(&path).map_err(failed(step))?.uid();
        let user = if owner == 0 {
            let user = unprivileged().ok_or_else(|| PostgresError::Failed {
                step,
                why: "no user postgres or nobody to run it as".to_owned(),
            })?;
            chown(&path, Some(user.0), Some(user.1)).map_err(failed(step))?;
            Some(user)
        } else {
            None
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed(step))?;
        Ok(Home { path, user })
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
            .current_dir("/")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("PGDATA")
            .env_remove("PGPORT")
            .env_remove("PGHOST");
        command
    }

    fn initdb(&self, binaries: &Path, password: &str) -> Result<(), PostgresError> {
        let file = self.path.join("password");
        fs::write(&file, password).map_err(failed("writing the password"))?;
        if let Some((uid, gid)) = self.user {
            chown(&file, Some(uid), Some(gid)).map_err(failed("writing the password"))?;
        }
        let mut command = self.command(&binaries.join("initdb"));
        command
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
            .arg(format!("--pwfile={}", file.display()))
            .arg(format!("--pgdata={}", self.path.join("data").display()));
        run(command, "initdb")
    }

    fn run(
        &self,
        binaries: &Path,
        port: u16,
        durability: Durability,
    ) -> Result<(Child, JoinHandle<()>), PostgresError> {
        let sync = match durability {
            Durability::Fsync => "on",
            Durability::None => "off",
        };
        let mut command = self.command(Path::new("/bin/sh"));
        command.args(["-c", RUNNER, "postgres-runner"]).arg(binaries).arg(&self.path).arg("-p").arg(port.to_string());
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=300",
            &format!("fsync={sync}"),
            &format!("synchronous_commit={sync}"),
        ] {
            command.arg("-c").arg(setting);
        }
        let mut runner = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed("starting the server"))?;
        let log = match runner.stderr.take() {
            Some(pipe) => await_ready(pipe),
            None => Err("it has no standard error".to_owned()),
        };
        match log {
            Ok(log) => Ok((runner, log)),
            Err(why) => {
                drop(runner.stdin.take());
                let _ = runner.wait();
                Err(PostgresError::Failed { step: "starting the server", why })
            }
        }
    }
}

/// Reads the server's log until it is ready; the rest is read and thrown away, so that the pipe never fills.
fn await_ready(pipe: ChildStderr) -> Result<JoinHandle<()>, String> {
    let mut lines = BufReader::new(pipe).lines();
    let mut last = VecDeque::new();
    for line in lines.by_ref().map_while(Result::ok) {
        if line.contains(READY) {
            return Ok(std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop)));
        }
        if last.len() == 20 {
            last.pop_front();
        }
        last.push_back(line);
    }
    Err(last.into_iter().collect::<Vec<_>>().join("\n"))
}

fn run(mut command: Command, step: &'static str) -> Result<(), PostgresError> {
    let output = command.stdin(Stdio::null()).output().map_err(failed(step))?;
    if output.status.success() {
        return Ok(());
    }
    Err(PostgresError::Failed { step, why: String::from_utf8_lossy(&output.stderr).into_owned() })
}

fn failed(step: &'static str) -> impl Fn(std::io::Error) -> PostgresError {
    move |why| PostgresError::Failed { step, why: why.to_string() }
}

/// The directory with `initdb`, `postgres` and `createdb`: behind a `postgres` under PATH, else Debian's newest.
fn find_binaries() -> Option<PathBuf> {
    let complete =
        |directory: &Path| ["initdb", "postgres", "createdb"].iter().all(|name| directory.join(name).is_file());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let behind = std::env::split_paths(&path)
        .filter_map(|directory| fs::canonicalize(directory.join("postgres")).ok())
        .filter_map(|binary| binary.parent().map(Path::to_owned))
        .find(|directory| complete(directory));
    behind.or_else(|| {
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .ok()?
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let version = entry.file_name().to_str()?.parse().ok()?;
                Some((version, entry.path().join("bin")))
            })
            .filter(|(_, directory)| complete(directory))
            .collect();
        versions.sort();
        versions.pop().map(|(_, directory)| directory)
    })
}

/// User and group ids of an account that may run the server.
fn unprivileged() -> Option<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    ["postgres", "nobody"].iter().find_map(|wanted| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next() != Some(wanted) {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some((uid, gid))
        })
    })
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// 128 random bits, from the kernel.
fn password() -> Result<String, PostgresError> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(failed("making a password"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_makes_databases_and_is_gone_when_dropped() {
        let server = Postgres::start(Durability::None).unwrap();
        let (one, other) = (server.database().unwrap(), server.database().unwrap());
        assert_ne!(one, other);
        let port = server.port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        drop(server);
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}

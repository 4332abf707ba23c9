//! What a disk and a process can do to a SQLite store: it is killed, its disk is full, read-only for a while, or fails to sync, and
//! every acknowledgement is traced to the `fdatasync` before it. The store is held by a process of its own, `src/bin/disk.rs`; what it acknowledged is kept here.
//! `DISK_KILLS` says how often it is killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use launchkit_queue::backend::sqlite::Sqlite;
use launchkit_queue::backend::{Backend, MAX_READ};
use launchkit_queue::{JobId, QueueName};
use launchkit_testkit::{invariants, tell, wish};

/// Kills, unless told otherwise.
const KILLS: u64 = 30;

struct Process {
    child: Child,
    orders: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Runs the program, through other ones if any are named.
    fn start(through: &[&str], file: &Path) -> Self {
        let mut line: Vec<String> = through.iter().map(|word| (*word).to_owned()).collect();
        line.extend([env!("CARGO_BIN_EXE_disk").to_owned(), file.display().to_string()]);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{} (make test installs it): {why}", line[0]));
        let (orders, out) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, orders, said: BufReader::new(out).lines() }
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.next().expect("an answer")
    }

    fn next(&mut self) -> Option<String> {
        self.said.next().transpose().unwrap()
    }

    /// Lets it end by itself.
    fn finish(self) {
        let Self { mut child, orders, .. } = self;
        drop(orders);
        assert!(child.wait().unwrap().success());
    }
}

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    added: BTreeSet<String>,
    ended: BTreeSet<String>,
}

impl Acknowledged {
    fn note(&mut self, said: &str) {
        let (what, id) = said.split_once(' ').unwrap();
        let ids = match what {
            "added" => &mut self.added,
            "ended" => &mut self.ended,
            _ => panic!("{said}"),
        };
        assert!(ids.insert(id.to_owned()), "{said} again");
    }

    /// Opens the file: it is whole, and has everything that was acknowledged, and nothing twice.
    async fn check(&self, file: &Path) {
        let store = Sqlite::open(file).await.unwrap();
        let queue = QueueName::new("disk").unwrap();
        let ids: Vec<JobId> = self.added.iter().map(|id| JobId::parse(id).unwrap()).collect();
        let mut found = Vec::new();
        for page in ids.chunks(MAX_READ as usize) {
            found.extend(store.get(&queue, page).await.unwrap());
        }
        for (id, record) in ids.iter().zip(found) {
            let record = record.unwrap_or_else(|| panic!("{id} was added and is not there"));
            let ended = self.ended.contains(id.as_str());
            assert!(!ended || record.state.is_final(), "{id} had ended and is {}", record.state);
        }
        invariants::check(&store).await;
        store.close().await;
        let whole: String = rusqlite_check(file);
        assert_eq!(whole, "ok");
    }
}

fn rusqlite_check(file: &Path) -> String {
    let open = rusqlite::Connection::open(file).unwrap();
    open.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queue.db");
    (folder, file)
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let (_folder, file) = file();
    let kills = wish("DISK_KILLS").unwrap_or(KILLS);
    let mut acknowledged = Acknowledged::default();
    for round in 0..kills {
        let mut process = Process::start(&[], &file);
        writeln!(process.orders, "work").unwrap();
        // A round counts when something was added and ended in it; how much more is different each time.
        for _ in 0..2 + round % 17 {
            acknowledged.note(&process.next().expect("it works"));
        }
        process.child.kill().unwrap();
        // What it had said before it died.
        while let Some(said) = process.next() {
            acknowledged.note(&said);
        }
        process.child.wait().unwrap();
        if round % 10 == 9 || round + 1 == kills {
            acknowledged.check(&file).await;
        }
    }
    let (added, ended) = (acknowledged.added.len(), acknowledged.ended.len());
    tell(&format!("a process with a file killed {kills} times: {added} jobs added, {ended} ended, none lost"));
}

/// A killed process loses nothing of the page cache; only a trace tells whether an answer would outlive a loss of power.
#[test]
fn every_acknowledgement_follows_the_fdatasync_of_its_frames() {
    let (folder, file) = file();
    let trace = folder.path().join("trace");
    let calls = "--trace=openat,pwrite64,write,fdatasync,fsync";
    let mut process = Process::start(&["strace", "-f", "-s", "16", "-o", trace.to_str().unwrap(), calls], &file);
    for _ in 0..20 {
        assert!(process.order("add 3000").starts_with("added"));
        assert!(process.order("end").starts_with("ended"));
    }
    process.finish();
    let seen = follow(&std::fs::read_to_string(trace).unwrap());
    assert_eq!(seen.acknowledged, 40, "each acknowledgement is in the trace");
    assert!(seen.frames >= 40 && seen.syncs >= 40, "{seen:?}");
    assert_eq!(seen.unsafe_lines, [""; 0], "acknowledged before the disk had it");
}

#[derive(Debug, Default)]
struct Seen {
    acknowledged: usize,
    frames: usize,
    syncs: usize,
    unsafe_lines: Vec<String>,
}

/// Goes through a trace. Calls of several threads may be told in two parts; a sync counts when it has come back.
fn follow(trace: &str) -> Seen {
    let (mut seen, mut log, mut dirty) = (Seen::default(), String::new(), false);
    let mut syncing: BTreeSet<&str> = BTreeSet::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(char::is_whitespace).unwrap();
        let call = call.trim_start();
        let of_log = |name: &str| !log.is_empty() && call.starts_with(&format!("{name}({log}"));
        if call.starts_with("openat(") && call.contains("queue.db-wal\"") && call.contains(" = ") {
            let descriptor = call.rsplit(" = ").next().unwrap();
            // The writer's connection opens it first; the readers' write nothing.
            if log.is_empty() {
                log = descriptor.to_owned();
            }
        } else if of_log("pwrite64") {
            (seen.frames, dirty) = (seen.frames + 1, true);
        } else if of_log("fdatasync") || of_log("fsync") {
            if call.contains("unfinished") {
                syncing.insert(thread);
            } else {
                (seen.syncs, dirty) = (seen.syncs + 1, false);
            }
        } else if call.contains("sync resumed") && syncing.remove(thread) {
            (seen.syncs, dirty) = (seen.syncs + 1, false);
        } else if call.starts_with("write(1, \"added") || call.starts_with("write(1, \"ended") {
            seen.acknowledged += 1;
            if dirty {
                seen.unsafe_lines.push(line.to_owned());
            }
        }
    }
    seen
}

#[tokio::test]
async fn a_full_disk_refuses_and_is_gone_on_from_without_a_restart() {
    let (_folder, file) = file();
    // No file of it may be longer than 2 MB, of which it hears by an error instead of a signal.
    let full = ["bash", "-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$0\" \"$@\""];
    let mut process = Process::start(&full, &file);
    let mut acknowledged = Acknowledged::default();
    let why = loop {
        let said = process.order("add 20000");
        match said.strip_prefix("refused ") {
            Some(why) => break why.to_owned(),
            None => acknowledged.note(&said),
        }
    };
    assert!(why.starts_with("Unavailable"), "{why}");
    assert!(acknowledged.added.len() > 20, "it was not full at once");
    let again = process.order("add 20000");
    assert!(again.starts_with("refused Unavailable"), "it stays full: {again}");
    let pid = process.child.id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().expect("prlimit");
    assert!(raised.success());
    for order in ["add 20000", "end", "add 100", "end"] {
        acknowledged.note(&process.order(order));
    }
    process.finish();
    acknowledged.check(&file).await;
}

/// A file system that has met an error turns read-only; here the kernel's answers are given by strace, to some calls in a row.
#[tokio::test]
async fn a_read_only_disk_refuses_and_is_gone_on_from_without_a_restart() {
    // Opening takes fewer writes than that.
    let refused = ill("pwrite64:error=EROFS:when=100..120").await;
    assert!(refused.len() > 1, "it stays read-only for a while: {refused:?}");
}

/// What was not synced is not acknowledged, and the next sync counts for itself alone.
#[tokio::test]
async fn a_sync_that_fails_refuses_and_is_gone_on_from_without_a_restart() {
    let refused = ill("fdatasync:error=EIO:when=15").await;
    assert_eq!(refused.len(), 1, "{refused:?}");
}

/// Adds and ends jobs while some calls of the process are answered with an error; what was refused, and why.
async fn ill(calls: &str) -> Vec<String> {
    let (_folder, file) = file();
    let (name, inject) = (calls.split(':').next().unwrap(), format!("--inject={calls}"));
    let mut process =
        Process::start(&["strace", "-f", "-qq", "-o", "/dev/null", &format!("--trace={name}"), &inject], &file);
    let (mut acknowledged, mut refused) = (Acknowledged::default(), Vec::new());
    for _ in 0..60 {
        let said = process.order("add 100");
        match said.strip_prefix("refused ") {
            Some(why) => refused.push(why.to_owned()),
            None => acknowledged.note(&said),
        }
    }
    assert!(refused.iter().all(|why| why.starts_with("Unavailable")), "{refused:?}");
    let added = acknowledged.added.len();
    assert!(added > 20, "it goes on: {added} added, {refused:?}");
    for _ in 0..added {
        acknowledged.note(&process.order("end"));
    }
    process.finish();
    acknowledged.check(&file).await;
    refused
}

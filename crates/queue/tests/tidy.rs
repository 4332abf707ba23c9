//! Rules about the source itself: which rooms may know which, where time comes from, how long a file may be, and that
//! cases, their list and the document agree. It reads text, not syntax; what it cannot see is left to reviewers.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// No file is longer.
const LONGEST: usize = 500;
/// Longer files are shown, so that somebody looks at them.
const LONG: usize = 300;

/// Rooms that may read a clock, and why.
const CLOCKS: [(&str, &str); 1] = [("crates/queue/src/clock.rs", "the one room that does")];

/// What a clock read looks like, in Rust and in SQL.
const CLOCK_READS: [&str; 7] =
    ["SystemTime::now", "Instant::now", "Utc::now", "now_utc", "CURRENT_TIMESTAMP", "unixepoch(", "'now'"];

/// Floor 0: plain words.
const WORDS: [&str; 9] = ["job", "state", "options", "exit", "backoff", "event", "time", "error", "repeat"];
/// What plain words may not know.
const DRIVERS: [&str; 4] = ["tokio", "rusqlite", "notify", "async_trait"];
/// Floor 2.
const STORES: [&str; 3] = ["memory", "sqlite", "redis"];

/// One file: its path from the root of the repository, and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn no_room_knows_what_stands_above_it() {
    expect_none(sources("crates/queue/src").iter().flat_map(arrows).collect());
}

#[test]
fn no_doer_names_a_store() {
    let mut faults: Vec<String> = sources("crates/queue/src").iter().flat_map(named_stores).collect();
    faults.extend(sources("crates/server/src").iter().flat_map(named_stores));
    expect_none(faults);
}

#[test]
fn time_is_read_in_one_room() {
    let sources = [sources("crates/queue/src"), sources("crates/server/src"), sources("crates/server/migrations")];
    let reads: Vec<(String, String)> = sources.iter().flatten().flat_map(clock_reads).collect();
    let allowed = |path: &str| CLOCKS.iter().any(|(room, _)| *room == path);
    expect_none(
        reads.iter().filter(|(path, _)| !allowed(path)).map(|(path, what)| format!("{path}: {what}")).collect(),
    );
    let idle = CLOCKS.iter().filter(|(room, _)| reads.iter().all(|(path, _)| path != room));
    expect_none(idle.map(|(room, _)| format!("{room} is allowed to read a clock and does not")).collect());
}

#[test]
fn every_select_is_biased() {
    let sources = [sources("crates/queue/src"), sources("crates/server/src")];
    expect_none(sources.iter().flatten().flat_map(unbiased).collect());
}

#[test]
fn no_file_is_too_long() {
    let mut lengths: Vec<(usize, String)> =
        sources("crates").into_iter().map(|source| (source.text.lines().count(), source.path)).collect();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    for (lines, path) in lengths.iter().filter(|(lines, _)| *lines > LONG) {
        println!("{lines:4} {path}");
    }
    let beyond = lengths.iter().filter(|(lines, _)| *lines > LONGEST);
    expect_none(beyond.map(|(lines, path)| format!("{path} has {lines} lines")).collect());
}

#[test]
fn every_case_stands_in_the_list() {
    expect_same(&written(), "written", &listed(), "listed in the macro `conformance!`");
}

#[test]
fn the_list_is_the_documents() {
    expect_same(&listed(), "listed in the macro `conformance!`", &documented(), "named in docs/states.md");
}

/// The third column of the table beside BullMQ names cases by their last word.
#[test]
fn the_table_beside_bullmq_cites_cases_that_exist() {
    let cases: BTreeSet<String> = listed().iter().filter_map(|case| case.rsplit("::").next()).map(Into::into).collect();
    let text = read(&root().join("docs/bullmq.md"));
    let cells = text.lines().filter_map(|line| line.strip_prefix('|')?.split('|').nth(2));
    let cited: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(cited.len() > 100, "the column is found: {}", cited.len());
    expect_none(cited.into_iter().filter(|case| !cases.contains(*case)).map(Into::into).collect());
}

/// The rules are only worth something if they can fail.
#[test]
fn planted_faults_are_found() {
    let at = |path: &str, text: &str| Source { path: format!("crates/queue/src/{path}"), text: text.to_owned() };
    let nested =
        "use crate::{error::*, job::{self, JobId as Id}, backend::{Add, verbs::{End, Next}}, time::Timestamp};";
    let found: Vec<String> = paths(nested, &[]).iter().map(|path| path.join("::")).collect();
    let all = [
        "error",
        "job",
        "job::JobId",
        "backend::Add",
        "backend::verbs::End",
        "backend::verbs::Next",
        "time::Timestamp",
    ];
    assert_eq!(found, all);
    let bad = [
        at("job.rs", "use crate::backend::Add;"),
        at("job.rs", "use tokio::sync::Notify;"),
        at("backend/verbs.rs", "use super::memory::Memory;"),
        at("backend/memory/lane.rs", "use crate::{\n    clock::Clock,\n    job::JobId,\n};"),
        at("backend/memory/lane.rs", "use super::super::sqlite::Sqlite;"),
        at("backend/sqlite/turn.rs", "fn f(now: crate::clock::Clock) {}"),
        at("backend/sqlite/turn.rs", "use crate::JobId;"),
    ];
    for source in &bad {
        assert_eq!(arrows(source).len(), 1, "{}: {}", source.path, source.text);
    }
    let good = [
        at(
            "job.rs",
            "use crate::{error::BadId, time::Timestamp}; // crate::worker\n#[cfg(test)]\nmod tests { use crate::worker; }",
        ),
        at("backend/memory.rs", "mod lane;\nuse super::*;\nuse lane::Lane;"),
        at(
            "backend/sqlite/turn.rs",
            "use super::fault::Fault;\nuse crate::backend::*;\nuse crate::exit::{Failure, Outcome};",
        ),
        at("worker/pump.rs", "use super::held::Held;\nuse crate::backend::{self, Turn};\npub(crate) fn f() {}"),
    ];
    for source in &good {
        assert_eq!(arrows(source), [] as [String; 0], "{}: {}", source.path, source.text);
    }
    assert_eq!(named_stores(&at("queue.rs", "use crate::backend::{Add, sqlite::Sqlite};")).len(), 1);
    assert_eq!(named_stores(&at("store.rs", "use crate::backend::sqlite::Sqlite;")).len(), 0);
    let server = |text: &str| Source { path: "crates/server/src/app.rs".to_owned(), text: text.to_owned() };
    assert_eq!(named_stores(&server("use launchkit_queue::backend::redis::RedisOptions;")).len(), 1);
    assert_eq!(named_stores(&server("use launchkit_queue::RedisOptions;")).len(), 0);
    assert_eq!(clock_reads(&at("worker.rs", "let now = Instant::now();")).len(), 1);
    assert_eq!(unbiased(&at("worker.rs", "tokio::select! {\n  x = y => {}\n}")).len(), 1);
    assert_eq!(unbiased(&at("worker.rs", "tokio::select! {\n  biased;\n  x = y => {}\n}")).len(), 0);
}

/// Paths of one file that lead up, or from one store into another.
fn arrows(source: &Source) -> Vec<String> {
    let Some(room) = room(source) else { return Vec::new() };
    let code = code(source);
    let own = floor(&room);
    let mut faults: Vec<String> = paths(&code, &room)
        .into_iter()
        .filter(|path| floor(path) > own || (own == 2 && floor(path) == 2 && path[1] != room[1]))
        .map(|path| format!("{} (floor {own}) uses {} (floor {})", source.path, path.join("::"), floor(&path)))
        .collect();
    if own == 0 {
        let known = DRIVERS.iter().filter(|driver| code.contains(&format!("{driver}::")));
        faults.extend(known.map(|driver| format!("{} (floor 0) uses {driver}", source.path)));
    }
    faults
}

/// Stores that a doer names.
fn named_stores(source: &Source) -> Vec<String> {
    let code = code(source);
    if !source.path.starts_with("crates/queue/") {
        let named = STORES.iter().filter(|store| code.contains(&format!("backend::{store}")));
        return named.map(|store| format!("{} names the store {store}", source.path)).collect();
    }
    match room(source) {
        Some(room) if floor(&room) == 3 && room != ["store"] => {
            let named = paths(&code, &room).into_iter().filter(|path| floor(path) == 2);
            named.map(|path| format!("{} names the store {}", source.path, path[1])).collect()
        }
        _ => Vec::new(),
    }
}

/// Clock reads of one file, with its path.
fn clock_reads(source: &Source) -> Vec<(String, String)> {
    let code = code(source);
    let found = CLOCK_READS.iter().filter(|read| code.contains(**read));
    found.map(|read| (source.path.clone(), (*read).to_owned())).collect()
}

/// `select!`s that do not say in which order they look.
fn unbiased(source: &Source) -> Vec<String> {
    let code = code(source);
    let bodies = code.split("select!").skip(1);
    let open = bodies.filter(|body| {
        let inside = body.trim_start().strip_prefix('{').map(str::trim_start);
        !inside.is_some_and(|inside| inside.starts_with("biased;"))
    });
    open.map(|_| format!("{}: a select! without `biased`", source.path)).collect()
}

/// The floor on which a path of the library stands.
fn floor(path: &[String]) -> u8 {
    match path.first().map(String::as_str) {
        Some(first) if WORDS.contains(&first) => 0,
        Some("backend") if path.get(1).is_some_and(|second| STORES.contains(&second.as_str())) => 2,
        Some("backend") => 1,
        _ => 3,
    }
}

/// The module that a file of the library is; `None` for its root, which names everything.
fn room(source: &Source) -> Option<Vec<String>> {
    let inside = source.path.strip_prefix("crates/queue/src/")?.strip_suffix(".rs")?;
    (inside != "lib").then(|| inside.split('/').map(str::to_owned).collect())
}

/// Every path that begins with `crate::` or `super::`, from the root of the library.
fn paths(code: &str, room: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        unfold(&code[at + "crate::".len()..], &[], &mut found);
    }
    for (at, _) in code.match_indices("super::") {
        // The first of several carries the others along.
        if !code[..at].ends_with("super::") {
            unfold(&code[at..], room, &mut found);
        }
    }
    found
}

/// Reads one path, or one `{}` of paths, and answers what follows it.
fn unfold<'a>(text: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut inside) = text.strip_prefix('{') {
        loop {
            inside = unfold(inside, before, found).trim_start();
            match inside.strip_prefix(',').map(str::trim_start) {
                Some(more) if !more.starts_with('}') => inside = more,
                more => return more.unwrap_or(inside).strip_prefix('}').unwrap_or_default(),
            }
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let mut path = before.to_vec();
    match word {
        "super" => drop(path.pop()),
        "self" | "" => {}
        word => path.push(word.to_owned()),
    }
    if let Some(more) = rest.strip_prefix("::") {
        return unfold(more, &path, found);
    }
    found.push(path);
    match rest.strip_prefix(" as ") {
        Some(renamed) => renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'),
        None => rest.trim_start_matches('*'),
    }
}

/// A file's text without comments and without its tests, which stand at its end.
fn code(source: &Source) -> String {
    let tests = source.path.ends_with("/tests.rs") || source.path.contains("/tests/");
    if tests {
        return String::new();
    }
    let before_tests = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = before_tests.lines().map(|line| line.split("// ").next().unwrap_or_default());
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Cases as `family::name`, by the files of the test kit.
fn written() -> BTreeSet<String> {
    let folder = "crates/testkit/src/conformance/";
    let mut cases = BTreeSet::new();
    for source in sources(folder) {
        let inside = source.path.strip_prefix(folder).unwrap();
        let family = inside.split(['/', '.']).next().unwrap();
        let names = source.text.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        let names = names.filter_map(|line| line.split_once(['(', '<'])).map(|(name, _)| name);
        cases.extend(names.map(|name| format!("{family}::{name}")));
    }
    cases
}

/// Cases as `family::name`, by the list in the macro.
fn listed() -> BTreeSet<String> {
    let text = read(&root().join("crates/testkit/src/conformance.rs"));
    let lists =
        text.split("$crate::$consumer! { $harness;").skip(1).map(|list| list.split_once('}').expect("it ends").0);
    let mut cases = BTreeSet::new();
    for family in lists.flat_map(|list| list.split(';')).filter(|family| !family.trim().is_empty()) {
        let (family, names) = family.split_once(':').expect("a family has names");
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            assert!(cases.insert(format!("{}::{name}", family.trim())), "{name} is listed twice");
        }
    }
    cases
}

/// Cases as `family::name`, by the document.
fn documented() -> BTreeSet<String> {
    let text = read(&root().join("docs/states.md"));
    let (_, list) = text.split_once("\n## Conformance cases").expect("the document lists the cases");
    let (mut family, mut cases) = ("", BTreeSet::new());
    for line in list.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            family = heading.split(' ').next().unwrap();
        } else if let Some((number, rest)) = line.split_once(". `")
            && number.parse::<u32>().is_ok()
        {
            let (name, _) = rest.split_once('`').expect("a name ends");
            assert!(cases.insert(format!("{family}::{name}")), "{name} is named twice");
        }
    }
    cases
}

/// Every Rust and SQL file below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let root = root();
    let mut files = Vec::new();
    walk(&root.join(folder), &mut files);
    assert!(!files.is_empty(), "{folder} holds sources");
    let path = |file: &Path| file.strip_prefix(&root).unwrap().to_str().expect("a readable path").to_owned();
    files.iter().map(|file| Source { path: path(file), text: read(file) }).collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "sql") {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/queue is two below").to_owned()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expect_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

fn expect_same(a: &BTreeSet<String>, in_a: &str, b: &BTreeSet<String>, in_b: &str) {
    let mut faults: Vec<String> = a.difference(b).map(|case| format!("{case} is {in_a}, not {in_b}")).collect();
    faults.extend(b.difference(a).map(|case| format!("{case} is {in_b}, not {in_a}")));
    expect_none(faults);
}

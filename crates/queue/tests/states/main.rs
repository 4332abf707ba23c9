//! Every act on a job in every state: what is answered, where the job is then, and what is told. The table stands in
//! `docs/states.md`, and each store is held to it. `STATES=write` writes what the store in memory does.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use launchkit_testkit::{Harness, MemoryHarness, RedisHarness, SqliteHarness, ValkeyHarness};

mod acts;
mod scene;

use acts::{Act, Seen};
use scene::{Scene, Start};

const BEGIN: &str = "<!-- the table of crates/queue/tests/states begins -->\n```text\n";
const END: &str = "```\n<!-- and ends -->";

#[tokio::test]
async fn the_store_in_memory_moves_as_written() {
    let made = table::<MemoryHarness>().await;
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/states.md");
    let text = std::fs::read_to_string(&path).expect("docs/states.md");
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (written, after) = rest.split_once(END).expect("its end");
    if std::env::var_os("STATES").is_some_and(|what| what == "write") {
        std::fs::write(&path, format!("{before}{BEGIN}{made}{END}{after}")).expect("it is written");
    } else {
        assert_eq!(made, written, "STATES=write writes this table");
    }
}

#[tokio::test]
async fn sqlite_makes_the_same_moves() {
    assert_eq!(table::<SqliteHarness>().await, table::<MemoryHarness>().await);
}

#[tokio::test]
async fn redis_makes_the_same_moves() {
    assert_eq!(table::<RedisHarness>().await, table::<MemoryHarness>().await);
}

#[tokio::test]
async fn valkey_makes_the_same_moves() {
    assert_eq!(table::<ValkeyHarness>().await, table::<MemoryHarness>().await);
}

/// A paragraph for each act: a line for each state from which it moves the job or tells anything, and one for the others.
async fn table<H: Harness>() -> String {
    let harness = H::fresh().await;
    let mut text = String::new();
    for act in Act::ALL {
        let mut idle: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        if !text.is_empty() {
            text.push('\n');
        }
        writeln!(text, "{}", act.name()).unwrap();
        for start in Start::ALL {
            let scene = Scene::set(&harness, start, act.name()).await;
            let before = scene.place().await;
            let newest = scene.q.newest().await;
            let answer = act.perform(&scene).await;
            let seen = Seen { answer, place: scene.place().await, told: scene.told(newest).await };
            if seen.place == before && seen.told.is_empty() {
                idle.entry(seen.answer).or_default().push(start.name());
            } else {
                let line = format!("  {:<17} -> {:<17} {:<18} {}", start.name(), seen.place, seen.answer, seen.told);
                writeln!(text, "{}", line.trim_end()).unwrap();
            }
        }
        for (answer, states) in idle {
            writeln!(text, "  nothing: {answer} ({})", states.join(", ")).unwrap();
        }
    }
    text
}

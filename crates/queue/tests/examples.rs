//! Every program in `examples/` runs to its end: what it shows it also asserts.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use launchkit_testkit::redis::{Kind, RedisServer};

/// The programs by name.
fn programs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = std::fs::read_dir(folder).expect("a folder of examples");
    let files =
        files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|is| is == "rs"));
    let mut names: Vec<String> =
        files.map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Where cargo puts them: beside the folder of this test.
fn built(name: &str) -> PathBuf {
    let myself = std::env::current_exe().expect("a path");
    let folder = myself.parent().and_then(Path::parent).expect("target/PROFILE");
    folder.join("examples").join(name)
}

#[test]
fn every_example_runs() {
    let names = programs();
    assert!(names.len() >= 11, "{names:?}");
    let server = RedisServer::start(Kind::Redis).expect("a server for those that want one");
    for name in names {
        let program = built(&name);
        assert!(
            program.exists(),
            "{} is not built: run `cargo build -p launchkit-queue --examples` first",
            program.display()
        );
        let begun = Instant::now();
        let ran = Command::new(&program).env("REDIS_URL", server.url()).output().expect("it starts");
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(ran.status.success(), "{name}: {}\n{out}\n{err}", ran.status);
        println!("{name}: {:.1} s, {} lines", begun.elapsed().as_secs_f64(), out.lines().count());
    }
}

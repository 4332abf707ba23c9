//! The clock of a test's server: cases give every verb its `now` and jump through time, while Redis expires keys, counts
//! time-outs and numbers stream entries by its own clock. So that clock is a file of ours (`clock.c` says how).

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use launchkit_queue::Timestamp;

use super::{RedisError, failed};

const SOURCE: &str = include_str!("clock.c");

/// A clock that stands where it is put.
pub(super) struct Clock {
    file: File,
    path: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// A clock in a server's directory; the machine's until it is set.
    pub(super) fn make(home: &Path) -> Result<Self, RedisError> {
        let step = "making a clock";
        let library = library()?.to_owned();
        let path = home.join("clock");
        let file = File::create_new(&path).map_err(failed(step))?;
        file.write_all_at(&0_u64.to_le_bytes(), 0).map_err(failed(step))?;
        Ok(Self { file, path, library })
    }

    /// Puts it to `now`; the machine's clock at zero and before.
    pub(super) fn set(&self, now: Timestamp) -> Result<(), RedisError> {
        let millis = u64::try_from(now.millis()).unwrap_or_default();
        self.file.write_all_at(&millis.to_le_bytes(), 0).map_err(failed("setting the clock"))?;
        if cfg!(not(target_arch = "x86_64")) {
            // Valkey looks at it after a millisecond there: what `clock.c` says about ticks cannot be kept from it.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Makes a program tell the time by it.
    pub(super) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("LAUNCHKIT_CLOCK", &self.path);
    }
}

/// The library, compiled once and kept beside the tests' program.
fn library() -> Result<&'static Path, RedisError> {
    static LIBRARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match LIBRARY.get_or_init(|| compile().map_err(|why| why.to_string())) {
        Ok(path) => Ok(path),
        Err(why) => Err(RedisError::Failed { step: "compiling the clock", why: why.clone() }),
    }
}

/// Other test processes may do the same at the same time: whoever is last replaces the file by an equal one.
fn compile() -> io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut hash = DefaultHasher::new();
    SOURCE.hash(&mut hash);
    let library = folder.join(format!("launchkit-clock-{:016x}.so", hash.finish()));
    if library.is_file() {
        return Ok(library);
    }
    let work = tempfile::Builder::new().prefix("launchkit-clock-").tempdir_in(folder)?;
    let (source, made) = (work.path().join("clock.c"), work.path().join("clock.so"));
    fs::write(&source, SOURCE)?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-o"])
        .args([&made, &source])
        .arg("-ldl")
        .stdin(Stdio::null())
        .output()
        .map_err(|why| io::Error::other(format!("cc (apt-get install gcc libc6-dev): {why}")))?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::rename(&made, &library)?;
    Ok(library)
}

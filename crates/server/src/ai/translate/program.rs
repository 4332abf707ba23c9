//! Runs the translation program: a bounded number at once, each for a bounded time, text in through
//! standard input (never a command line, never a shell), gone with everything that it started when
//! the job is canceled.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::ai::AiConfig;

/// What is read of a translation: 200,000 characters, each of four bytes, grown to the fourfold.
const MAX_OUTPUT_BYTES: u64 = 4 * 4 * 200_000;
/// What is kept of the program's complaints.
const MAX_COMPLAINT_BYTES: u64 = 4 * 1024;
/// The only variables of ours that the program sees. Secrets live in the others.
const PASSED_ON: &[&str] = &["PATH", "HOME", "LD_LIBRARY_PATH", "APERTIUM_PATH", "APERTIUM_DATADIR"];

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    /// There is no such program.
    #[error("the program is not installed")]
    Missing,
    /// The job was told to stop.
    #[error("canceled")]
    Canceled,
    /// It was killed at its limit.
    #[error("not done within {0:?}")]
    TimedOut(Duration),
    /// It wrote beyond any measure.
    #[error("too much output")]
    TooLong,
    /// It could not be started, fed or read.
    #[error("the program cannot be run")]
    Io(#[from] io::Error),
    /// It said so itself; with the beginning of its complaint.
    #[error("the program ended with {0}: {1}")]
    Failed(ExitStatus, String),
    /// It wrote something that is no text.
    #[error("the output is not UTF-8")]
    NotText,
}

pub(super) struct Program {
    path: PathBuf,
    places: Arc<Semaphore>,
    limit: Duration,
}

impl Program {
    pub(super) fn new(config: &AiConfig) -> Self {
        Program {
            path: config.apertium.clone().unwrap_or_else(|| PathBuf::from("apertium")),
            places: Arc::new(Semaphore::new(config.translations.max(1))),
            limit: config.translation_timeout,
        }
    }

    /// Runs it with `input` on its standard input and answers what it wrote. The time that it waits
    /// for a place does not count.
    ///
    /// The work is a task of its own, which outlives a dropped future just long enough to kill what
    /// was started.
    pub(super) async fn run(
        &self,
        options: &[&str],
        input: String,
        cancel: &CancellationToken,
    ) -> Result<String, ProgramError> {
        let acquired = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ProgramError::Canceled),
            place = self.places.clone().acquire_owned() => place,
        };
        let place = acquired.map_err(|_| ProgramError::Canceled)?;
        let stop = cancel.child_token();
        let _stop_when_dropped = stop.clone().drop_guard();
        let child = self.start(options)?;
        let limit = self.limit;
        let task = tokio::spawn(async move {
            let _place = place;
            attend(child, input, limit, stop).await
        });
        task.await.unwrap_or(Err(ProgramError::Canceled))
    }

    fn start(&self, options: &[&str]) -> Result<Child, ProgramError> {
        let passed_on = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = Command::new(&self.path)
            .args(options)
            .env_clear()
            .envs(passed_on)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group: the program is a script that starts a pipeline of others.
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        child.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ProgramError::Missing,
            _ => ProgramError::Io(error),
        })
    }
}

async fn attend(
    mut child: Child,
    input: String,
    limit: Duration,
    stop: CancellationToken,
) -> Result<String, ProgramError> {
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => Err(ProgramError::Canceled),
        () = tokio::time::sleep(limit) => Err(ProgramError::TimedOut(limit)),
        outcome = converse(&mut child, input) => outcome,
    };
    // Not waited for yet, so the number still is this group's.
    if outcome.is_err() {
        kill_group(&mut child).await;
    }
    let (output, complaint) = outcome?;
    let status = child.wait().await?;
    if !status.success() {
        return Err(ProgramError::Failed(status, complaint));
    }
    String::from_utf8(output).map_err(|_| ProgramError::NotText)
}

/// Feeds the program and reads what it says, until it closes its output.
async fn converse(child: &mut Child, input: String) -> Result<(Vec<u8>, String), ProgramError> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A program that reads no further says why on another channel.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        Ok(())
    };
    let complaint = async { read_beginning(stderr).await.map_err(ProgramError::Io) };
    let ((), output, complaint) = tokio::try_join!(feed, read_all(stdout), complaint)?;
    Ok((output, String::from_utf8_lossy(&complaint).into_owned()))
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, ProgramError> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(MAX_OUTPUT_BYTES + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MAX_OUTPUT_BYTES { Err(ProgramError::TooLong) } else { Ok(bytes) }
}

/// What goes beyond the beginning is read and dropped, so that the program never hangs on a full pipe.
async fn read_beginning(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(MAX_COMPLAINT_BYTES).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

/// The standard library ends one process only; the group is ended by the shell's own `kill`. The
/// number is ours, no part of the text.
async fn kill_group(child: &mut Child) {
    if let Some(leader) = child.id() {
        let kill = Command::new("/bin/sh")
            .args(["-c", "kill -s KILL -- \"-$0\"", &leader.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await;
        if !kill.as_ref().is_ok_and(ExitStatus::success) {
            tracing::warn!(?kill, "the translation program's children could not be ended");
        }
    }
    if let Err(error) = child.kill().await {
        tracing::warn!(%error, "the translation program could not be ended");
    }
}

//! What jobs do.

use std::time::Duration;

use launchkit_queue::{Active, Exit, JobKind};
use launchkit_testkit::Dice;
use serde::{Deserialize, Serialize};

/// What a job does in each of its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    /// It works so many milliseconds and is done.
    Work(u64),
    /// It fails in so many attempts first.
    Fail(u32),
    /// It always fails.
    Never,
    /// It panics in its first attempt.
    Panic,
    /// It gives up.
    GiveUp,
    /// It is put off so many times first, by a second each.
    PutOff(u32),
    /// In its first run it works for longer than a lock holds, and hears no cancel.
    Deaf(u64),
    /// It works until it is canceled, at most so many milliseconds.
    Listen(u64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job(pub(crate) Act);

impl JobKind for Job {
    const NAME: &'static str = "job";
    /// Which start it was that completed it.
    type Output = u32;
}

impl Act {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        match dice.roll(16) {
            0..=5 => Act::Work(dice.roll(400)),
            6 => Act::Work(dice.roll(9_000)),
            7 | 8 => Act::Fail(1 + dice.number(3)),
            9 => Act::Never,
            10 => Act::Panic,
            11 => Act::GiveUp,
            12 | 13 => Act::PutOff(1 + dice.number(3)),
            14 => Act::Deaf(2_000 + dice.roll(15_000)),
            _ => Act::Listen(1_000 + dice.roll(20_000)),
        }
    }

    /// Whether no run of it can complete.
    pub(crate) fn is_hopeless(self) -> bool {
        matches!(self, Act::Never | Act::GiveUp)
    }

    pub(crate) async fn play(self, job: &Active<Job>) -> Result<u32, Exit> {
        let sleep = |millis| tokio::time::sleep(Duration::from_millis(millis));
        let fail = || Err(Exit::Fail("as written".into()));
        match self {
            Act::Work(millis) => sleep(millis).await,
            Act::Fail(times) => {
                sleep(10).await;
                if job.attempt() <= times {
                    return fail();
                }
            }
            Act::Never => return fail(),
            // As a panic, without its message on standard error.
            Act::Panic if job.attempt() == 1 => std::panic::resume_unwind(Box::new("as written")),
            Act::Panic => {}
            Act::GiveUp => return Err(Exit::give_up("as written")),
            Act::PutOff(times) if job.started() <= times => return Err(Exit::Later(Duration::from_secs(1))),
            Act::PutOff(_) => {}
            Act::Deaf(millis) if job.started() == 1 => sleep(millis).await,
            Act::Deaf(_) => {}
            Act::Listen(millis) => {
                tokio::select! {
                    biased;
                    _ = job.canceled() => return fail(),
                    _ = sleep(millis) => {}
                }
            }
        }
        Ok(job.started())
    }
}

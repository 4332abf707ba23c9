//! What may be done to a job.

use launchkit_queue::backend::*;
use launchkit_queue::{Keep, Outcome, State};
use launchkit_testkit::given::*;

use crate::scene::{DUE, NOW, Scene, Start};

/// What an act has shown.
pub(crate) struct Seen {
    pub(crate) answer: String,
    pub(crate) place: String,
    pub(crate) told: String,
}

/// One act; those of a run carry the lock of the scene.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    Add,
    Take,
    FallDue,
    End(End),
    EndForgotten,
    Beat,
    Rescue,
    Edit(Change),
    Sweep(SweepWhat),
    ChildDone,
    ChildFailed,
    Obliterate,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Done,
    Dead,
    RetryNow,
    RetryLater,
    PutOff,
    Back,
    SlowDown,
    AwaitChildren,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Promote,
    Retry,
    Remove,
    Cancel,
    Data,
    Progress,
    Log,
    Detach,
}

impl Act {
    pub(crate) const ALL: [Act; 30] = [
        Act::Add,
        Act::Take,
        Act::FallDue,
        Act::End(End::Done),
        Act::EndForgotten,
        Act::End(End::Dead),
        Act::End(End::RetryNow),
        Act::End(End::RetryLater),
        Act::End(End::PutOff),
        Act::End(End::Back),
        Act::End(End::SlowDown),
        Act::End(End::AwaitChildren),
        Act::Beat,
        Act::Rescue,
        Act::ChildDone,
        Act::ChildFailed,
        Act::Edit(Change::Promote),
        Act::Edit(Change::Retry),
        Act::Edit(Change::Remove),
        Act::Edit(Change::Cancel),
        Act::Edit(Change::Data),
        Act::Edit(Change::Progress),
        Act::Edit(Change::Log),
        Act::Edit(Change::Detach),
        Act::Sweep(SweepWhat::Clean(State::Completed, NOW)),
        Act::Sweep(SweepWhat::DrainWaiting),
        Act::Sweep(SweepWhat::DrainDelayed),
        Act::Sweep(SweepWhat::RetryFailed(NOW)),
        Act::Sweep(SweepWhat::PromoteDelayed),
        Act::Obliterate,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Act::Add => "add a job with its id",
            Act::Take => "take",
            Act::FallDue => "a minute passes, and somebody looks",
            Act::End(End::Done) => "end: Done",
            Act::End(End::Dead) => "end: Dead",
            Act::End(End::RetryNow) => "end: Retry, now",
            Act::End(End::RetryLater) => "end: Retry, later",
            Act::End(End::PutOff) => "end: Later",
            Act::End(End::Back) => "end: Back",
            Act::End(End::SlowDown) => "end: SlowDown",
            Act::End(End::AwaitChildren) => "end: AwaitChildren",
            Act::EndForgotten => "end: Done, nothing kept",
            Act::Beat => "beat",
            Act::Rescue => "rescue",
            Act::Edit(Change::Promote) => "edit: Promote",
            Act::Edit(Change::Retry) => "edit: Retry",
            Act::Edit(Change::Remove) => "edit: Remove",
            Act::Edit(Change::Cancel) => "edit: Cancel",
            Act::Edit(Change::Data) => "edit: Data",
            Act::Edit(Change::Progress) => "edit: Progress",
            Act::Edit(Change::Log) => "edit: Log",
            Act::Edit(Change::Detach) => "edit: Detach",
            Act::Sweep(SweepWhat::Clean(..)) => "sweep: Clean what has completed",
            Act::Sweep(SweepWhat::DrainWaiting) => "sweep: DrainWaiting",
            Act::Sweep(SweepWhat::DrainDelayed) => "sweep: DrainDelayed",
            Act::Sweep(SweepWhat::RetryFailed(_)) => "sweep: RetryFailed",
            Act::Sweep(_) => "sweep: PromoteDelayed",
            Act::ChildDone => "its only child completes",
            Act::ChildFailed => "its only child fails",
            Act::Obliterate => "obliterate the paused queue",
        }
    }

    /// Does it; what is answered.
    pub(crate) async fn perform(self, scene: &Scene) -> String {
        let (q, lock) = (&scene.q, &scene.lock);
        match self {
            Act::Add => match q.add(vec![named("j", plain())], NOW).await[0] {
                Added::New(_) => "New".to_owned(),
                Added::Existing(_) => "Existing".to_owned(),
                Added::Deduplicated(_) => "Deduplicated".to_owned(),
            },
            Act::Take => held(&q.turn(Vec::new(), Some(q.wish(1)), NOW).await),
            Act::FallDue => held(&q.turn(Vec::new(), Some(q.wish(0)), at(DUE)).await),
            Act::End(how) => format!("{:?}", q.end(lock, outcome(how), NOW).await),
            Act::EndForgotten => format!("{:?}", q.end_keeping(lock, done(), Keep::NONE, NOW).await),
            Act::Beat => if q.beat(vec![lock.clone()], NOW).await.lost.is_empty() { "Kept" } else { "Lost" }.to_owned(),
            Act::Rescue => format!("{} rescued", q.rescue(3, NOW).await.jobs.len()),
            Act::Edit(change) => format!("{:?}", q.edit(edit(change), NOW).await),
            Act::Sweep(what) => format!("{} done", q.sweep(what, 10, NOW).await.done.len()),
            Act::ChildDone => end_child(scene, done()).await,
            Act::ChildFailed => end_child(scene, dead()).await,
            Act::Obliterate => {
                q.backend.control(&q.queue, Control::Pause, NOW).await.expect("a pause");
                format!("{:?}", q.backend.obliterate(&q.queue, HeldJobs::Refuse, 10, NOW).await.expect("an answer"))
            }
        }
    }
}

fn held(turned: &Turned) -> String {
    let next = match turned.next {
        Next::At(_) => "At".to_owned(),
        next => format!("{next:?}"),
    };
    format!("{} held, {next}", turned.held.len())
}

async fn end_child(scene: &Scene, outcome: Outcome) -> String {
    if scene.start != Start::WaitingChildren {
        return "has none".to_owned();
    }
    let child = scene.children.one(NOW).await;
    format!("{:?}", scene.children.end(&child.lock, outcome, NOW).await)
}

fn outcome(how: End) -> Outcome {
    match how {
        End::Done => done(),
        End::Dead => dead(),
        End::RetryNow => retry(NOW),
        End::RetryLater => retry(at(DUE)),
        End::PutOff => Outcome::Later(at(DUE)),
        End::Back => Outcome::Back,
        End::SlowDown => Outcome::SlowDown(at(DUE)),
        End::AwaitChildren => Outcome::AwaitChildren,
    }
}

fn edit(change: Change) -> Edit {
    let j = id("j");
    match change {
        Change::Promote => Edit::Promote(j),
        Change::Retry => Edit::Retry(j, Made::Keep),
        Change::Remove => Edit::Remove(j),
        Change::Cancel => Edit::Cancel(j),
        Change::Data => Edit::Data(j, json("1")),
        Change::Progress => Edit::Progress(j, json("50")),
        Change::Log => Edit::Log(j, vec!["a line".into()]),
        Change::Detach => Edit::Detach(j),
    }
}

//! What must hold when a run is over.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use launchkit_queue::backend::{Backend, MAX_READ};
use launchkit_queue::{Event, FailureKind, JobId, JobOptions, Position, Record, State};

use super::scene::{MAX_STALLED, Scene, Seen};
use super::script::Act;

pub(crate) async fn check(scene: &Scene, jobs: &BTreeMap<String, (Act, JobOptions)>, seen: &mut Seen) {
    let ends = read_events(scene, seen).await;
    for (id, (act, options)) in jobs {
        let found = scene.queue.get(&JobId::parse(id.as_str()).expect("an id")).await.expect("a healthy store");
        let Some(record) = found else {
            seen.wrong.push(format!("{id} was acknowledged and is not there"));
            continue;
        };
        let times = ends.get(id).copied().unwrap_or_default();
        if times != 1 {
            seen.wrong.push(format!("{id} ended {times} times"));
        }
        let begun =
            scene.book.lock().unwrap_or_else(PoisonError::into_inner).begun.get(id).copied().unwrap_or_default();
        seen.wrong.extend(
            flaws(&record, *act, options, begun).into_iter().map(|flaw| format!("{flaw}: {act:?} {record:#?}")),
        );
        seen.lost += begun.saturating_sub(u64::from(record.made) + u64::from(put_off(*act)));
    }
}

fn put_off(act: Act) -> u32 {
    if let Act::PutOff(times) = act { times } else { 0 }
}

/// What is wrong with a job that has ended.
fn flaws(record: &Record, act: Act, options: &JobOptions, begun: u64) -> Vec<&'static str> {
    let mut flaws = Vec::new();
    let mut must = |holds: bool, what| {
        if !holds {
            flaws.push(what);
        }
    };
    let stalled_out = record.failure.as_ref().is_some_and(|why| why.kind == FailureKind::Stalled);
    must(record.state.is_final(), "it has ended");
    must(begun <= u64::from(record.started), "no run is begun that the store did not hand out");
    must(record.made <= options.attempts.max(1), "no attempt more than allowed");
    let again = u64::from(record.made + put_off(act) + record.stalls.min(MAX_STALLED));
    must(begun <= again, "it is run again only after a stall, a failure, or when it was put off");
    must(stalled_out || record.stalls <= MAX_STALLED, "who stalls too often runs no more");
    must(stalled_out == (record.stalls > MAX_STALLED), "who stalls too often is failed for that");
    if record.state == State::Completed {
        let ended_by = record.result.as_ref().and_then(|result| serde_json::from_str::<u32>(result.as_str()).ok());
        must(!act.is_hopeless(), "what cannot complete does not");
        must(begun > 0, "what completed has run");
        must(ended_by == Some(record.started), "the run that was started last ended it");
    } else if !stalled_out {
        match act {
            Act::Work(_) | Act::Deaf(_) | Act::PutOff(_) => must(false, "what cannot fail does not"),
            Act::Never => must(record.made == options.attempts.max(1), "every attempt is made"),
            _ => must(record.made > 0, "what failed was tried"),
        }
    }
    flaws
}

/// Reads all events; answers how often each job ended.
async fn read_events(scene: &Scene, seen: &mut Seen) -> BTreeMap<String, u64> {
    let (mut ends, mut after) = (BTreeMap::<String, u64>::new(), Position::START);
    loop {
        let page = scene.faulty.events(scene.queue.name(), after, MAX_READ).await.expect("a healthy store");
        for (position, event) in &page.events {
            seen.told.push(format!("{event:?}"));
            match event {
                Event::Completed { id, .. } | Event::Failed { id, .. } => *ends.entry(id.to_string()).or_default() += 1,
                Event::Stalled { id } => {
                    seen.rescues += 1;
                    if *position > scene.well {
                        seen.wrong.push(format!("{id} stalled although all was well"));
                    }
                }
                _ => {}
            }
        }
        if page.events.is_empty() {
            return ends;
        }
        after = page.next;
    }
}

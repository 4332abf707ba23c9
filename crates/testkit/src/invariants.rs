//! What holds in every store at every moment between two verbs.

use std::collections::HashSet;

use launchkit_queue::backend::{Backend, List, MAX_READ};
use launchkit_queue::{QueueName, Record, State};

/// Checks every queue of a store: each job is in exactly one state, counts equal lists, and fields fit the state.
pub async fn check(backend: &dyn Backend) {
    for queue in backend.queues().await.expect("queues can be listed") {
        check_queue(backend, &queue).await;
    }
}

/// Every job of a queue in a state, in the order of its list.
pub async fn all(backend: &dyn Backend, queue: &QueueName, state: State) -> Vec<Record> {
    let (mut jobs, mut after) = (Vec::new(), None);
    loop {
        let page = backend.list(queue, &List { state, after, most: MAX_READ }).await.expect("a page can be read");
        jobs.extend(page.jobs);
        after = page.next;
        if after.is_none() {
            return jobs;
        }
    }
}

async fn check_queue(backend: &dyn Backend, queue: &QueueName) {
    let counts = backend.counts(queue).await.expect("counts can be read");
    let mut seen = HashSet::new();
    for state in State::ALL {
        let jobs = all(backend, queue, state).await;
        assert_eq!(jobs.len() as u64, counts.of(state), "{queue}: count of {state} equals its list");
        for job in jobs {
            assert!(seen.insert(job.id.clone()), "{queue}: {} is in one state only", job.id);
            check_job(&job, state);
            if state == State::WaitingChildren {
                let children = backend.children(queue, &job.id, 0, 1).await.expect("children can be read");
                assert!(children.pending > 0, "{queue}: {} waits for somebody", job.id);
            }
        }
    }
    assert_eq!(seen.len() as u64, counts.total(), "{queue}: the total is the sum");
}

fn check_job(job: &Record, state: State) {
    let id = &job.id;
    assert_eq!(job.state, state, "{id} says the state of its list");
    assert_eq!(job.finished_on.is_some(), state.is_final(), "{id} has an end exactly when it has ended");
    assert_eq!(job.due.is_some(), state == State::Delayed, "{id} has a due time exactly when it is delayed");
    assert!(job.started >= job.made, "{id} was started as often as it ended");
    assert!(job.since >= job.timestamp, "{id} entered its state after it was added");
    if state == State::Active {
        assert!(job.processed_on.is_some() && job.processed_by.is_some(), "{id} says who runs it since when");
        assert!(job.started > 0, "{id} was started");
    }
}

//! What holds in every store at every moment between two verbs.

use std::collections::{HashMap, HashSet};

use launchkit_queue::backend::{Backend, GroupInfo, GroupsWanted, List, MAX_READ};
use launchkit_queue::{Group, QueueName, Record, State, Timestamp};

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
    let mut groups: HashMap<Group, (u64, u64)> = HashMap::new();
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
            if let Some(group) = job.options.group.clone().filter(|_| state.is_ready() || state == State::Active) {
                let (waiting, active) = groups.entry(group).or_default();
                *(if state == State::Active { active } else { waiting }) += 1;
            }
        }
    }
    assert_eq!(seen.len() as u64, counts.total(), "{queue}: the total is the sum");
    check_groups(backend, queue, groups).await;
}

/// Each group counts the jobs that it has, given as waiting and active, and has its first one in the order of takes when it
/// may start something, and only then.
async fn check_groups(backend: &dyn Backend, queue: &QueueName, mut jobs: HashMap<Group, (u64, u64)>) {
    let (mut after, mut found) = (None, 0);
    loop {
        let page = backend.groups(queue, &GroupsWanted::After(after), MAX_READ).await.expect("groups can be read");
        after = page.last().map(|group| group.id.clone());
        for group in &page {
            let counted = jobs.remove(&group.id).unwrap_or_default();
            assert_eq!((group.waiting, group.active), counted, "{queue}: jobs of the group {}", group.id);
            check_turn(queue, group);
        }
        found += page.len() as u64;
        if after.is_none() {
            break;
        }
    }
    assert!(jobs.is_empty(), "{queue}: every group with jobs is there: {jobs:?}");
    let told = backend.info(queue, Timestamp::default()).await.expect("info").groups;
    assert_eq!(told, found, "{queue}: groups are counted");
}

fn check_turn(queue: &QueueName, group: &GroupInfo) {
    let shut = group.paused || group.limits.is_full(group.active);
    // Windows and holds end with time, which nobody tells here.
    let timed = group.limits.rate.is_some() || group.limits.until > Timestamp::default();
    if shut || group.waiting == 0 {
        assert!(!group.in_turn, "{queue}: the group {} has no turn", group.id);
    } else if !timed {
        assert!(group.in_turn, "{queue}: the group {} has its turn", group.id);
    }
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

//! Steps 2 to 4: dispatching and beginning.

use super::*;

both![
    what_is_not_dispatched_is_found_oldest_first,
    noting_a_dispatch_is_guarded_by_the_generation,
    beginning_makes_a_run_and_shows_it,
    of_two_begins_the_later_run_holds_the_fence,
    concurrent_begins_give_each_its_own_run,
    the_same_row_twice_in_one_call_is_begun_once,
    a_row_that_has_ended_is_mirrored,
    an_ending_that_the_queue_does_not_know_yet_is_mirrored_not_adopted,
    a_dead_job_that_was_put_back_by_hand_becomes_a_new_generation,
    a_canceled_job_that_was_put_back_by_hand_becomes_a_new_generation,
    putting_back_by_hand_does_not_pass_the_quota,
    another_generation_is_superseded,
    an_unknown_row_is_unknown,
    a_run_that_was_told_to_stop_and_died_ends_as_canceled,
    a_job_past_its_deadline_fails_as_expired,
    the_deadline_is_for_the_first_start_only,
];

impl Fixture {
    async fn waiting(&self) -> Vec<Undispatched> {
        self.ledger.undispatched(Kind::Job, 500).await.unwrap()
    }
}

async fn what_is_not_dispatched_is_found_oldest_first(f: Fixture) {
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 5]).await);
    let waiting = f.waiting().await;
    let ids: Vec<&str> = waiting.iter().map(|row| row.id.as_str()).collect();
    let made: Vec<&str> = jobs.iter().map(|job| job.id.as_str()).collect();
    assert_eq!(ids, made);
    assert_eq!(f.ledger.undispatched(Kind::Job, 2).await.unwrap(), waiting[..2]);
    assert_eq!(f.ledger.backlog(Kind::Job, 100).await.unwrap(), 5);
    assert_eq!(f.ledger.backlog(Kind::Job, 3).await.unwrap(), 3);
    let noted: Vec<(String, i64)> = waiting[..2].iter().map(|row| (row.id.clone(), row.generation)).collect();
    f.ledger.dispatched(Kind::Job, &noted, NOW).await.unwrap();
    assert_eq!(f.waiting().await, waiting[2..]);
    // What a worker has begun is in the queue, whether or not anybody noted it.
    f.run(&jobs[4], NOW).await;
    assert_eq!(f.waiting().await, waiting[2..4]);
}

async fn noting_a_dispatch_is_guarded_by_the_generation(f: Fixture) {
    let job = f.ended(failed_for_good()).await;
    assert!(matches!(f.ledger.retry(&f.org, &job.id, BY, NOW).await.unwrap(), Retried::Retried(_)));
    f.ledger.dispatched(Kind::Job, &[(job.id.clone(), 1)], NOW).await.unwrap();
    let waiting = f.waiting().await;
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].id.as_str(), waiting[0].generation), (job.id.as_str(), 2));
    f.ledger.dispatched(Kind::Job, &[(job.id, 2)], NOW).await.unwrap();
    assert!(f.waiting().await.is_empty());
}

async fn beginning_makes_a_run_and_shows_it(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW + 5).await;
    assert_eq!((run.run, run.attempt, run.max_attempts), (1, 1, 3));
    assert_eq!(run.org, f.org);
    let shown = f.get(&job).await;
    assert_eq!(shown.state, JobState::Processing);
    assert_eq!((shown.attempts, shown.started_at), (1, Some(NOW + 5)));
}

async fn of_two_begins_the_later_run_holds_the_fence(f: Fixture) {
    let job = f.job().await;
    let first = f.run(&job, NOW).await;
    let second = f.run(&job, NOW).await;
    assert_eq!((first.run, second.run), (1, 2));
    assert_eq!(second.attempt, 1, "a rescue is not a try");
    assert_eq!(f.end_one(&first, succeeded(), NOW).await, Ended::Stale);
    assert_eq!(f.get(&job).await.state, JobState::Processing);
    assert_eq!(f.end_one(&second, succeeded(), NOW).await, Ended::Applied(Decision::Done));
}

async fn concurrent_begins_give_each_its_own_run(f: Fixture) {
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 50]).await);
    let other = f.other_node().await;
    let starts: Vec<Start> = jobs.iter().map(|job| start(job, 0)).collect();
    let backwards: Vec<Start> = starts.iter().rev().cloned().collect();
    let mut tasks = Vec::new();
    for at in 0..8 {
        let (ledger, starts) =
            if at % 2 == 0 { (f.ledger.clone(), starts.clone()) } else { (other.clone(), backwards.clone()) };
        tasks.push(tokio::spawn(async move { ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap() }));
    }
    let mut seen = std::collections::HashSet::new();
    let mut last = Vec::new();
    for task in tasks {
        for begun in task.await.unwrap() {
            let Begun::Run(run) = begun else {
                panic!("{begun:?}");
            };
            assert!(seen.insert((run.id.clone(), run.run)), "two hold one run");
            last.push(run);
        }
    }
    assert_eq!(seen.len(), 8 * 50);
    let ends: Vec<Finish> = last.iter().map(|run| finish(run, succeeded())).collect();
    let mut applied = 0;
    for ends in ends.chunks(100) {
        let ended = f.ledger.end(Kind::Job, ends.to_vec(), NOW).await.unwrap();
        applied += ended.iter().filter(|end| **end != Ended::Stale).count();
    }
    assert_eq!(applied, 50);
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 50);
}

async fn the_same_row_twice_in_one_call_is_begun_once(f: Fixture) {
    let job = f.job().await;
    let starts = [start(&job, 0), start(&job, 0)];
    let begun = f.ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap();
    assert!(matches!(&begun[0], Begun::Run(run) if run.run == 1));
    assert_eq!(begun[1], Begun::Superseded);
    assert_eq!(f.get(&job).await.run, 1);
}

async fn a_row_that_has_ended_is_mirrored(f: Fixture) {
    let done = f.ended(succeeded()).await;
    for made in [0, 1] {
        assert_eq!(
            f.begin_one(start(&done, made), NOW).await,
            Begun::Skip(Mirror { state: JobState::Succeeded, error: None })
        );
    }
    assert_eq!(f.get(&done).await, done);
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 1);
}

async fn an_ending_that_the_queue_does_not_know_yet_is_mirrored_not_adopted(f: Fixture) {
    // The worker died between the database and the queue: the queue has counted one try less.
    let dead = f.ended(failed_for_good()).await;
    assert_eq!(
        f.begin_one(start(&dead, 0), NOW).await,
        Begun::Skip(Mirror { state: JobState::Failed, error: Some(error(false)) })
    );
    assert_eq!(f.get(&dead).await, dead);
    // The same for a job that was canceled while it waited.
    let job = f.job().await;
    f.ledger.cancel(&f.org, &job.id, BY, NOW).await.unwrap();
    let begun = f.begin_one(start(&job, 0), NOW).await;
    assert!(matches!(begun, Begun::Skip(mirror) if mirror.state == JobState::Canceled));
}

async fn put_back_by_hand(f: &Fixture, ended: JobRow) {
    let before = f.period(&f.org).await;
    assert_eq!(f.begin_one(start(&ended, 1), NOW).await, Begun::Adopted { generation: 2 });
    let job = f.get(&ended).await;
    assert_eq!((job.state, job.generation, job.attempts), (JobState::Queued, 2, 0));
    assert_eq!(job.completed_at, None);
    assert_eq!(f.waiting().await.len(), 1);
    let after = f.period(&f.org).await;
    assert_eq!(after.reserved_jobs, before.reserved_jobs + 1);
    assert_eq!(after.created, before.created);
    // The queue job that was put back is another life now.
    assert_eq!(f.begin_one(start(&ended, 1), NOW).await, Begun::Superseded);
    assert_eq!(f.run(&job, NOW).await.generation, 2);
}

async fn a_dead_job_that_was_put_back_by_hand_becomes_a_new_generation(f: Fixture) {
    let dead = f.ended(failed_for_good()).await;
    put_back_by_hand(&f, dead).await;
}

async fn a_canceled_job_that_was_put_back_by_hand_becomes_a_new_generation(f: Fixture) {
    let job = f.job().await;
    f.ledger.cancel(&f.org, &job.id, BY, NOW).await.unwrap();
    put_back_by_hand(&f, job).await;
}

async fn putting_back_by_hand_does_not_pass_the_quota(f: Fixture) {
    let org = f.limited_org(Some(1), None).await;
    let job = created_rows(f.create(&org, vec![new_job()]).await).remove(0);
    let run = f.run(&job, NOW).await;
    f.end_one(&run, failed_for_good(), NOW).await;
    created_rows(f.create(&org, vec![new_job()]).await);
    let begun = f.begin_one(start(&job, 1), NOW).await;
    assert!(matches!(begun, Begun::Skip(mirror) if mirror.state == JobState::Failed));
    assert_eq!(f.get(&job).await.generation, 1);
}

async fn another_generation_is_superseded(f: Fixture) {
    let job = f.ended(failed_for_good()).await;
    f.ledger.retry(&f.org, &job.id, BY, NOW).await.unwrap();
    assert_eq!(f.begin_one(start(&job, 0), NOW).await, Begun::Superseded);
    let newer = Start { id: job.id.clone(), generation: 9, made: 0 };
    assert_eq!(f.begin_one(newer, NOW).await, Begun::Superseded);
}

async fn an_unknown_row_is_unknown(f: Fixture) {
    let known = f.job().await;
    let mut unknown = start(&known, 0);
    unknown.id = "c0000000000000000000000000".to_owned();
    let starts = [unknown, start(&known, 0)];
    let begun = f.ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap();
    assert_eq!(begun[0], Begun::Unknown);
    assert!(matches!(begun[1], Begun::Run(_)), "the others stand");
}

async fn a_run_that_was_told_to_stop_and_died_ends_as_canceled(f: Fixture) {
    let job = f.job().await;
    let dead = f.run(&job, NOW).await;
    let told = f.ledger.cancel(&f.org, &job.id, BY, NOW).await.unwrap();
    assert!(matches!(told, Canceled::Told(_)));
    let begun = f.begin_one(start(&job, 0), NOW + 1).await;
    assert!(matches!(begun, Begun::Skip(mirror) if mirror.state == JobState::Canceled));
    // It was not dead after all: too late.
    assert_eq!(f.end_one(&dead, succeeded(), NOW).await, Ended::Stale);
    let job = f.get(&job).await;
    assert_eq!((job.state, job.completed_at), (JobState::Canceled, Some(NOW + 1)));
    assert_eq!(f.ledger.events(&f.org, &job.id).await.unwrap().len(), 1);
    assert_eq!(f.period(&f.org).await.reserved_jobs, 0);
}

async fn a_job_past_its_deadline_fails_as_expired(f: Fixture) {
    let mut new = new_job();
    new.start_before = Some(NOW + 10);
    let job = f.job_of(new).await;
    let begun = f.begin_one(start(&job, 0), NOW + 11).await;
    let Begun::Skip(mirror) = begun else {
        panic!("{begun:?}");
    };
    assert_eq!(mirror.state, JobState::Failed);
    let job = f.get(&job).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.error, mirror.error);
    assert_eq!(job.error.unwrap().code, "expired");
    assert_eq!(job.attempts, 0);
    let events = f.ledger.events(&f.org, &job.id).await.unwrap();
    assert_eq!(events[0].event_type, "job.failed");
    assert_eq!(f.period(&f.org).await.reserved_tokens, 0);
}

async fn the_deadline_is_for_the_first_start_only(f: Fixture) {
    let mut new = new_job();
    new.start_before = Some(NOW + 10);
    let job = f.job_of(new).await;
    let run = f.run(&job, NOW + 10).await;
    f.end_one(&run, failed(), NOW + 20).await;
    assert_eq!(f.run(&job, NOW + 3_000).await.attempt, 2);
    // Nor does it end a new life that the queue begins for a job that it had lost.
    let job = f.get(&job).await;
    let stale = f.ledger.stale(Kind::Job, NOW + HOUR, None).await.unwrap().rows;
    f.ledger.relive(Kind::Job, &stale, NOW + HOUR).await.unwrap();
    let waiting = f.ledger.undispatched(Kind::Job, 10).await.unwrap();
    assert_eq!((waiting[0].id.as_str(), waiting[0].generation, waiting[0].start_before), (job.id.as_str(), 2, None));
}

//! Steps 8 and 9: canceling, retrying, erasing; and that no call reaches another organisation's job.

use super::*;

both![
    a_queued_job_is_canceled_at_once,
    a_running_job_is_told_and_its_holder_finds_it,
    an_ending_after_a_cancel_request_that_is_no_success_is_canceled,
    a_success_after_a_cancel_request_stands,
    a_finished_job_cannot_be_canceled,
    a_waiting_retry_can_be_canceled,
    cancel_and_end_at_once_leave_one_ending,
    cancel_and_begin_at_once_leave_one_truth,
    a_retry_is_a_new_generation_from_zero,
    a_retried_job_may_start_after_its_old_deadline,
    only_what_failed_or_was_canceled_can_be_retried,
    a_retry_is_held_to_the_quota,
    concurrent_retries_make_one_generation,
    erasing_takes_the_texts_and_keeps_the_bill,
    an_erased_job_cannot_be_retried,
    another_organisation_sees_and_changes_nothing,
];

impl Fixture {
    async fn cancel(&self, job: &JobRow) -> Canceled {
        self.ledger.cancel(&job.org, &job.id, BY, NOW + 3).await.unwrap()
    }

    async fn retry(&self, job: &JobRow) -> Retried {
        self.ledger.retry(&job.org, &job.id, BY, NOW + 9).await.unwrap()
    }
}

async fn a_queued_job_is_canceled_at_once(f: Fixture) {
    let job = f.job().await;
    let Canceled::Canceled(row) = f.cancel(&job).await else {
        panic!("not canceled");
    };
    assert_eq!(*row, f.get(&job).await);
    assert_eq!((row.state, row.completed_at), (JobState::Canceled, Some(NOW + 3)));
    assert_eq!(row.attempts, 0);
    assert!(f.ledger.undispatched(Kind::Job, 10).await.unwrap().is_empty());
    let events = f.ledger.events(&f.org, &job.id).await.unwrap();
    assert_eq!(events[0].event_type, "job.canceled");
    let period = f.period(&f.org).await;
    assert_eq!((period.reserved_jobs, period.reserved_tokens, period.used_jobs), (0, 0, 0));
}

async fn a_running_job_is_told_and_its_holder_finds_it(f: Fixture) {
    let (job, other) = (f.job().await, f.job().await);
    let run = f.run(&job, NOW).await;
    f.run(&other, NOW).await;
    let Canceled::Told(row) = f.cancel(&job).await else {
        panic!("not told");
    };
    assert_eq!((row.state, row.cancel_at), (JobState::Processing, Some(NOW + 3)));
    let told = f.ledger.told_to_stop("worker").await.unwrap();
    assert_eq!(told, [(job.id.clone(), 1, run.run)]);
    assert!(f.ledger.told_to_stop("another").await.unwrap().is_empty());
    // Asking again keeps the first time.
    let again = f.ledger.cancel(&f.org, &job.id, BY, NOW + 50).await.unwrap();
    assert!(matches!(again, Canceled::Told(row) if row.cancel_at == Some(NOW + 3)));
    assert_eq!(f.end_one(&run, What::Canceled, NOW + 60).await, Ended::Applied(Decision::Canceled));
    assert!(f.ledger.told_to_stop("worker").await.unwrap().is_empty());
    let row = f.get(&job).await;
    assert_eq!((row.state, row.attempts), (JobState::Canceled, 1));
}

async fn an_ending_after_a_cancel_request_that_is_no_success_is_canceled(f: Fixture) {
    for what in [failed(), failed_for_good(), What::GiveBack { until: None }] {
        let job = f.job().await;
        let run = f.run(&job, NOW).await;
        f.cancel(&job).await;
        assert_eq!(f.end_one(&run, what.clone(), NOW).await, Ended::Applied(Decision::Canceled), "{what:?}");
        let row = f.get(&job).await;
        assert_eq!((row.state, row.next_attempt_at), (JobState::Canceled, None));
        assert_eq!(row.completed_at, Some(NOW));
    }
    assert_eq!(f.period(&f.org).await.reserved_jobs, 0);
}

async fn a_success_after_a_cancel_request_stands(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW).await;
    f.cancel(&job).await;
    assert_eq!(f.end_one(&run, succeeded(), NOW).await, Ended::Applied(Decision::Done));
    assert_eq!(f.get(&job).await.state, JobState::Succeeded);
    assert_eq!(f.period(&f.org).await.used_jobs, 1);
}

async fn a_finished_job_cannot_be_canceled(f: Fixture) {
    for what in [succeeded(), failed_for_good(), What::Canceled] {
        let job = f.ended(what).await;
        assert_eq!(f.cancel(&job).await, Canceled::Finished(Box::new(job.clone())));
        assert_eq!(f.get(&job).await, job);
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 3);
}

async fn a_waiting_retry_can_be_canceled(f: Fixture) {
    let job = f.ended(failed()).await;
    assert!(matches!(f.cancel(&job).await, Canceled::Canceled(row) if row.attempts == 1));
    // The queue has counted one try; the mirror will make it two, as the row says.
    assert!(matches!(f.begin_one(start(&job, 1), NOW).await, Begun::Skip(_)));
}

async fn cancel_and_end_at_once_leave_one_ending(f: Fixture) {
    let other = f.other_node().await;
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40 {
        let job = f.job().await;
        let run = f.run(&job, NOW).await;
        let end = async {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            f.end_one(&run, succeeded(), NOW).await
        };
        let (canceled, ended) = tokio::join!(other.cancel(&f.org, &job.id, BY, NOW), end);
        assert_eq!(ended, Ended::Applied(Decision::Done));
        let row = f.get(&job).await;
        assert_eq!(row.state, JobState::Succeeded);
        match canceled.unwrap() {
            Canceled::Told(_) => assert!(row.cancel_at.is_some()),
            Canceled::Finished(_) => assert!(row.cancel_at.is_none()),
            other => panic!("{other:?}"),
        }
        seen.insert(row.cancel_at.is_some());
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 40);
    assert_eq!(f.period(&f.org).await.used_jobs, 40);
}

async fn cancel_and_begin_at_once_leave_one_truth(f: Fixture) {
    let other = f.other_node().await;
    for _ in 0..40 {
        let job = f.job().await;
        let (canceled, begun) = tokio::join!(other.cancel(&f.org, &job.id, BY, NOW), f.begin_one(start(&job, 0), NOW));
        let state = f.get(&job).await.state;
        match (canceled.unwrap(), begun) {
            (Canceled::Canceled(_), Begun::Skip(_)) => assert_eq!(state, JobState::Canceled),
            (Canceled::Told(_), Begun::Run(_)) => assert_eq!(state, JobState::Processing),
            other => panic!("{other:?}"),
        }
    }
}

async fn a_retry_is_a_new_generation_from_zero(f: Fixture) {
    for what in [failed_for_good(), What::Canceled] {
        let job = f.ended(what).await;
        let before = f.period(&f.org).await;
        let Retried::Retried(row) = f.retry(&job).await else {
            panic!("not retried");
        };
        assert_eq!(*row, f.get(&job).await);
        assert_eq!((row.state, row.generation, row.attempts), (JobState::Queued, 2, 0));
        assert_eq!((&row.error, row.completed_at, row.started_at), (&None, None, None));
        assert_eq!(row.cancel_at, None);
        let after = f.period(&f.org).await;
        assert_eq!(after.reserved_jobs, before.reserved_jobs + 1);
        assert_eq!(after.reserved_tokens, before.reserved_tokens + 100);
        assert_eq!(after.created, before.created);
        assert_eq!(f.begin_one(start(&job, 0), NOW).await, Begun::Superseded);
        // The run never restarts, so that no old worker can end the new life.
        let run = f.run(&job, NOW).await;
        assert_eq!((run.generation, run.run, run.attempt), (2, 2, 1));
        f.end_one(&run, succeeded(), NOW).await;
        let events = f.ledger.events(&f.org, &job.id).await.unwrap();
        assert_eq!(events.len(), 2, "one for each ending");
    }
    assert_eq!(f.period(&f.org).await.reserved_jobs, 0);
}

async fn a_retried_job_may_start_after_its_old_deadline(f: Fixture) {
    let mut new = new_job();
    new.start_before = Some(NOW);
    let job = f.job_of(new).await;
    assert!(matches!(f.begin_one(start(&job, 0), NOW + 1).await, Begun::Skip(_)));
    assert!(matches!(f.retry(&job).await, Retried::Retried(_)));
    assert_eq!(f.run(&job, NOW + HOUR).await.attempt, 1);
}

async fn only_what_failed_or_was_canceled_can_be_retried(f: Fixture) {
    let running = f.job().await;
    f.run(&running, NOW).await;
    for job in [f.job().await, running, f.ended(succeeded()).await, f.ended(failed()).await] {
        let before = f.get(&job).await;
        assert_eq!(f.retry(&job).await, Retried::NotFinished(Box::new(before.clone())));
        assert_eq!(f.get(&job).await, before);
    }
    assert_eq!(f.period(&f.org).await.reserved_jobs, 3);
}

async fn a_retry_is_held_to_the_quota(f: Fixture) {
    let org = f.limited_org(Some(1), None).await;
    let job = created_rows(f.create(&org, vec![new_job()]).await).remove(0);
    assert!(matches!(f.cancel(&job).await, Canceled::Canceled(_)));
    created_rows(f.create(&org, vec![new_job()]).await);
    let before = f.get(&job).await;
    assert!(matches!(f.retry(&job).await, Retried::QuotaExceeded { quota: Quota::Jobs, limit: 1, .. }));
    assert_eq!(f.get(&job).await, before);
}

async fn concurrent_retries_make_one_generation(f: Fixture) {
    let job = f.ended(failed_for_good()).await;
    let other = f.other_node().await;
    let mut tasks = Vec::new();
    for at in 0..10 {
        let ledger = if at % 2 == 0 { &f.ledger } else { &other }.clone();
        let (org, id) = (f.org.clone(), job.id.clone());
        tasks.push(tokio::spawn(async move { ledger.retry(&org, &id, BY, NOW).await.unwrap() }));
    }
    let mut retried = 0;
    for task in tasks {
        if matches!(task.await.unwrap(), Retried::Retried(_)) {
            retried += 1;
        }
    }
    assert_eq!((retried, f.get(&job).await.generation), (1, 2));
    assert_eq!(f.period(&f.org).await.reserved_jobs, 1);
}

async fn erasing_takes_the_texts_and_keeps_the_bill(f: Fixture) {
    let mut long = new_job();
    long.input = format!("{:?}", "x".repeat(5_000));
    for new in [new_job(), long] {
        let job = f.job_of(new).await;
        let (org, id) = (job.org.as_str(), job.id.as_str());
        let early = f.ledger.erase(org, id, NOW).await.unwrap();
        assert_eq!(early, Erased::NotFinished);
        assert_eq!(f.get(&job).await, job);
        let run = f.run(&job, NOW).await;
        f.end_one(&run, succeeded(), NOW).await;
        for _ in 0..2 {
            assert_eq!(f.ledger.erase(org, id, NOW).await.unwrap(), Erased::Erased);
        }
        let row = f.get(&job).await;
        assert_eq!((row.input.as_str(), &row.output), ("null", &None));
        assert_eq!(row.usage, Some(usage()));
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM job_inputs").await, 0);
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 2);
}

async fn an_erased_job_cannot_be_retried(f: Fixture) {
    let job = f.ended(failed_for_good()).await;
    f.ledger.erase(&f.org, &job.id, NOW).await.unwrap();
    assert_eq!(f.retry(&job).await, Retried::Erased);
    // Nor put back by hand in the queue.
    assert!(matches!(f.begin_one(start(&job, 1), NOW).await, Begun::Skip(_)));
    assert_eq!(f.period(&f.org).await.reserved_jobs, 0);
}

async fn another_organisation_sees_and_changes_nothing(f: Fixture) {
    let other = f.limited_org(None, None).await;
    let queued = f.job().await;
    let done = f.ended(succeeded()).await;
    let dead = f.ended(failed_for_good()).await;
    let l = &f.ledger;
    for job in [&queued, &done, &dead] {
        let before = f.get(job).await;
        let id = job.id.as_str();
        assert_eq!(l.get(&other, id).await.unwrap(), None);
        assert_eq!(l.cancel(&other, id, BY, NOW).await.unwrap(), Canceled::NotFound);
        assert_eq!(l.retry(&other, id, BY, NOW).await.unwrap(), Retried::NotFound);
        assert_eq!(l.erase(&other, id, NOW).await.unwrap(), Erased::NotFound);
        assert!(l.events(&other, id).await.unwrap().is_empty());
        assert_eq!(f.get(job).await, before);
    }
    for id in ["", "x", "c", "'; DROP TABLE jobs; --", &"c".repeat(25)] {
        assert_eq!(l.get(&f.org, id).await.unwrap(), None);
        assert_eq!(l.cancel(&f.org, id, BY, NOW).await.unwrap(), Canceled::NotFound);
        assert_eq!(l.retry(&f.org, id, BY, NOW).await.unwrap(), Retried::NotFound);
        assert_eq!(l.erase(&f.org, id, NOW).await.unwrap(), Erased::NotFound);
    }
    let page = l.list(&other, &Filter::default(), &Page::Offset(0), 100).await;
    let page = page.unwrap();
    assert!(page.jobs.is_empty());
    assert_eq!(page.total, Some(0));
    // A cursor is a position, not a key to the organisation that it came from.
    let page = l.list(&other, &Filter::default(), &Page::After("d".to_owned()), 100).await;
    assert!(page.unwrap().jobs.is_empty());
    let event = l.events(&f.org, &done.id).await.unwrap().remove(0);
    assert!(l.deliveries(&other, &event.id).await.unwrap().is_empty());
    assert!(l.list_endpoints(&other).await.unwrap().is_empty());
    assert_eq!(f.period(&other).await.created, 0);
}

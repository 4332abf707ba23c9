//! Steps 5 and 6: ending and billing.

use super::*;

both![
    success_is_stored_and_billed_once,
    a_repeated_end_answers_the_same_and_bills_once,
    the_same_end_twice_in_one_call_is_billed_once,
    a_stale_run_ends_nothing_and_bills_nothing,
    a_job_is_tried_three_times_two_and_four_seconds_apart,
    an_error_that_is_not_retryable_ends_at_once,
    the_caller_may_say_when_the_next_try_is,
    usage_of_a_failed_try_is_billed_without_a_job,
    giving_back_counts_nothing,
    a_batch_with_each_kind_of_ending_decides_each_by_itself,
    the_reservation_goes_back_to_the_month_it_came_from,
    progress_is_guarded_by_the_run,
];

async fn success_is_stored_and_billed_once(f: Fixture) {
    let job = f.ended(succeeded()).await;
    assert_eq!(job.state, JobState::Succeeded);
    assert_eq!(job.output.as_deref(), Some(r#"{"summary":"Text."}"#));
    assert_eq!(job.usage, Some(usage()));
    assert_eq!((job.attempts, job.progress), (1, 100));
    assert_eq!((job.error, job.completed_at), (None, Some(NOW + 1)));
    let period = f.period(&f.org).await;
    assert_eq!((period.reserved_jobs, period.reserved_tokens), (0, 0));
    assert_eq!((period.used_jobs, period.used_tokens), (1, 45));
}

async fn a_repeated_end_answers_the_same_and_bills_once(f: Fixture) {
    for what in [succeeded(), failed(), failed_for_good(), What::GiveBack { until: Some(NOW + 7) }] {
        let before = f.period(&f.org).await;
        let job = f.job().await;
        let run = f.run(&job, NOW).await;
        let first = f.end_one(&run, what.clone(), NOW).await;
        let after = f.period(&f.org).await;
        let ended = f.get(&job).await;
        assert_eq!(f.end_one(&run, what.clone(), NOW).await, first, "{what:?}");
        assert_eq!(f.get(&job).await, ended);
        assert_eq!(f.period(&f.org).await, after);
        assert!(after.used_jobs - before.used_jobs <= 1);
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 1);
}

async fn the_same_end_twice_in_one_call_is_billed_once(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW).await;
    let ends = vec![finish(&run, succeeded()), finish(&run, failed_for_good())];
    let ended = f.ledger.end(Kind::Job, ends, NOW).await.unwrap();
    // The first counts; the second is told what the row is.
    assert_eq!(ended, [Ended::Applied(Decision::Done), Ended::Applied(Decision::Done)]);
    assert_eq!(f.period(&f.org).await.used_jobs, 1);
}

async fn a_stale_run_ends_nothing_and_bills_nothing(f: Fixture) {
    let job = f.job().await;
    let stale = f.run(&job, NOW).await;
    let current = f.run(&job, NOW).await;
    let row = f.get(&job).await;
    for what in [succeeded(), failed(), failed_for_good(), What::GiveBack { until: None }, What::Canceled] {
        assert_eq!(f.end_one(&stale, what.clone(), NOW).await, Ended::Stale, "{what:?}");
    }
    // Nor does one of another generation, or of a job that does not exist.
    let mut foreign = finish(&current, succeeded());
    foreign.generation = 2;
    let mut unknown = finish(&current, succeeded());
    unknown.id = "c0000000000000000000000000".to_owned();
    let ended = f.ledger.end(Kind::Job, vec![foreign, unknown], NOW).await.unwrap();
    assert_eq!(ended, [Ended::Stale, Ended::Stale]);
    assert_eq!(f.get(&job).await, row);
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 0);
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 0);
    assert_eq!(f.period(&f.org).await.reserved_jobs, 1);
}

async fn a_job_is_tried_three_times_two_and_four_seconds_apart(f: Fixture) {
    let job = f.job().await;
    let mut now = NOW;
    for (tried, wait) in [(1, 2_000), (2, 4_000)] {
        let run = f.run(&job, now).await;
        assert_eq!(run.attempt, tried);
        now += 100;
        let at = now + wait;
        assert_eq!(f.end_one(&run, failed(), now).await, Ended::Applied(Decision::Retry { at }));
        let row = f.get(&job).await;
        assert_eq!((row.state, row.attempts), (JobState::Queued, tried));
        assert_eq!(row.next_attempt_at, Some(at));
        assert_eq!(row.error, Some(error(true)));
        assert_eq!(row.completed_at, None);
        now = at;
    }
    let run = f.run(&job, now).await;
    assert_eq!(f.get(&job).await.next_attempt_at, None);
    assert_eq!(f.end_one(&run, failed(), now).await, Ended::Applied(Decision::Dead));
    let row = f.get(&job).await;
    assert_eq!((row.state, row.attempts), (JobState::Failed, 3));
    assert_eq!((row.next_attempt_at, row.completed_at), (None, Some(now)));
    let period = f.period(&f.org).await;
    assert_eq!((period.used_jobs, period.reserved_jobs), (0, 0));
}

async fn an_error_that_is_not_retryable_ends_at_once(f: Fixture) {
    let job = f.ended(failed_for_good()).await;
    assert_eq!((job.state, job.attempts), (JobState::Failed, 1));
    assert_eq!(job.error, Some(error(false)));
}

async fn the_caller_may_say_when_the_next_try_is(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW).await;
    let what = What::Failed { error: error(true), usage: None, retry_at: Some(NOW + 300_000) };
    assert_eq!(f.end_one(&run, what, NOW).await, Ended::Applied(Decision::Retry { at: NOW + 300_000 }));
    assert_eq!(f.get(&job).await.next_attempt_at, Some(NOW + 300_000));
}

async fn usage_of_a_failed_try_is_billed_without_a_job(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW).await;
    let what = What::Failed { error: error(true), usage: Some(usage()), retry_at: None };
    f.end_one(&run, what, NOW).await;
    let period = f.period(&f.org).await;
    assert_eq!((period.used_tokens, period.used_jobs), (45, 0));
    assert_eq!((period.reserved_jobs, period.reserved_tokens), (1, 100));
    let run = f.run(&job, NOW).await;
    f.end_one(&run, succeeded(), NOW).await;
    let period = f.period(&f.org).await;
    assert_eq!((period.used_tokens, period.used_jobs), (90, 1));
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 2);
}

async fn giving_back_counts_nothing(f: Fixture) {
    let job = f.job().await;
    for until in [None, Some(NOW + 500)] {
        let run = f.run(&job, NOW).await;
        assert_eq!(run.attempt, 1);
        assert_eq!(f.end_one(&run, What::GiveBack { until }, NOW).await, Ended::Applied(Decision::GivenBack { until }));
        let row = f.get(&job).await;
        assert_eq!((row.state, row.attempts), (JobState::Queued, 0));
        assert_eq!(row.next_attempt_at, until);
    }
    assert_eq!(f.period(&f.org).await.reserved_jobs, 1);
    // The queue's count did not move either: the mirror after a later ending must still agree with it.
    assert_eq!(f.number("SELECT made FROM jobs").await, 0);
}

async fn a_batch_with_each_kind_of_ending_decides_each_by_itself(f: Fixture) {
    let whats = [
        (succeeded(), Decision::Done),
        (failed(), Decision::Retry { at: NOW + 2_000 }),
        (failed_for_good(), Decision::Dead),
        (What::GiveBack { until: Some(NOW) }, Decision::GivenBack { until: Some(NOW) }),
        (What::Canceled, Decision::Canceled),
    ];
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 60]).await);
    let starts: Vec<Start> = jobs.iter().map(|job| start(job, 0)).collect();
    let begun = f.ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap();
    let mut ends = Vec::new();
    let mut wanted = Vec::new();
    for (at, begun) in begun.into_iter().enumerate().rev() {
        let Begun::Run(run) = begun else {
            panic!("{begun:?}");
        };
        assert_eq!(run.id, jobs[at].id, "answers come in the order given");
        let (what, decision) = whats[at % whats.len()].clone();
        ends.push(finish(&run, what));
        wanted.push(Ended::Applied(decision));
    }
    assert_eq!(f.ledger.end(Kind::Job, ends, NOW).await.unwrap(), wanted);
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 36);
    let period = f.period(&f.org).await;
    assert_eq!((period.used_jobs, period.reserved_jobs), (12, 24));
    let made = "SELECT COUNT(*) FROM jobs WHERE made = 1";
    assert_eq!(f.number(made).await, 48);
}

async fn the_reservation_goes_back_to_the_month_it_came_from(f: Fixture) {
    let job = f.job().await;
    let next_month = NOW + 30 * 24 * HOUR;
    let run = f.run(&job, next_month).await;
    f.end_one(&run, succeeded(), next_month).await;
    let period = f.period(&f.org).await;
    assert_eq!((period.reserved_jobs, period.used_jobs, period.used_tokens), (0, 1, 45));
    let next = f.ledger.period(&f.org, next_month).await.unwrap();
    assert_eq!((next.reserved_jobs, next.used_jobs, next.created), (0, 0, 0));
}

async fn progress_is_guarded_by_the_run(f: Fixture) {
    let job = f.job().await;
    let run = f.run(&job, NOW).await;
    let note = |run: i64, progress: i64| (job.id.clone(), 1, run, progress);
    let l = &f.ledger;
    l.progress(Kind::Job, &[note(run.run, 40)]).await.unwrap();
    assert_eq!(f.get(&job).await.progress, 40);
    l.progress(Kind::Job, &[note(run.run + 1, 90)]).await.unwrap();
    assert_eq!(f.get(&job).await.progress, 40);
    f.end_one(&run, failed_for_good(), NOW).await;
    l.progress(Kind::Job, &[note(run.run, 90)]).await.unwrap();
    assert_eq!(f.get(&job).await.progress, 40);
}

//! Steps 10 and 11: leases, lost rows, counters.

use super::*;

both![
    a_lease_has_one_holder_until_it_runs_out,
    of_many_who_want_a_lease_one_gets_it,
    only_old_open_dispatched_rows_are_stale,
    the_walk_over_open_rows_is_in_pages,
    a_lost_row_gets_a_new_life_and_keeps_its_tries,
    a_waiting_retry_keeps_its_time_in_its_new_life,
    a_row_that_moved_since_it_was_read_is_left_alone,
    a_row_that_is_lost_again_and_again_fails,
    a_lost_row_that_was_told_to_stop_is_canceled,
    two_reconcilers_relive_a_row_once,
    right_counters_are_left_alone,
    wrong_counters_are_repaired_and_counted,
    counters_are_repaired_under_load,
];

impl Fixture {
    async fn dispatched(&self, job: &JobRow) -> OpenRow {
        let job = self.get(job).await;
        self.ledger.dispatched(Kind::Job, &[(job.id.clone(), job.generation)], NOW).await.unwrap();
        self.open_row(&job).await.unwrap()
    }

    async fn open_row(&self, job: &JobRow) -> Option<OpenRow> {
        self.stale(NOW + HOUR).await.into_iter().find(|row| row.id == job.id)
    }

    async fn stale(&self, untouched_since: i64) -> Vec<OpenRow> {
        let page = self.ledger.stale(Kind::Job, untouched_since, None).await.unwrap();
        assert_eq!(page.next, None);
        page.rows
    }

    async fn relive(&self, row: &OpenRow, now: i64) -> Relived {
        let rows = std::slice::from_ref(row);
        let mut answers = self.ledger.relive(Kind::Job, rows, now).await.unwrap();
        answers.remove(0)
    }
}

async fn a_lease_has_one_holder_until_it_runs_out(f: Fixture) {
    let l = &f.ledger;
    assert!(l.lease("reconcile", "a", 100, NOW).await.unwrap());
    assert!(!l.lease("reconcile", "b", 100, NOW + 99).await.unwrap());
    assert!(l.lease("other", "b", 100, NOW).await.unwrap());
    assert!(l.lease("reconcile", "a", 100, NOW + 99).await.unwrap());
    assert!(!l.lease("reconcile", "b", 100, NOW + 198).await.unwrap());
    assert!(l.lease("reconcile", "b", 100, NOW + 199).await.unwrap());
    assert!(!l.lease("reconcile", "a", 100, NOW + 200).await.unwrap());
}

async fn of_many_who_want_a_lease_one_gets_it(f: Fixture) {
    let other = f.other_node().await;
    for round in 0..5 {
        let mut tasks = Vec::new();
        for at in 0..8 {
            let ledger = if at % 2 == 0 { &f.ledger } else { &other }.clone();
            tasks.push(tokio::spawn(async move {
                let now = NOW + round * 1_000;
                ledger.lease("reconcile", &format!("node {at}"), 1_000, now).await
            }));
        }
        let mut holders = 0;
        for task in tasks {
            holders += u32::from(task.await.unwrap().unwrap());
        }
        assert_eq!(holders, 1, "round {round}");
    }
}

async fn only_old_open_dispatched_rows_are_stale(f: Fixture) {
    let job = f.job().await;
    f.ended(succeeded()).await;
    f.ended(failed_for_good()).await;
    assert!(f.stale(NOW + HOUR).await.is_empty(), "the dispatcher's business");
    let row = f.dispatched(&job).await;
    assert_eq!((row.state, row.generation, row.lost), (JobState::Queued, 1, 0));
    assert!(f.stale(NOW).await.is_empty(), "just touched");
    f.run(&job, NOW + 5).await;
    assert!(f.stale(NOW + 5).await.is_empty());
    let row = &f.stale(NOW + 6).await[0];
    assert_eq!((row.state, row.run), (JobState::Processing, 1));
}

async fn the_walk_over_open_rows_is_in_pages(f: Fixture) {
    let other = f.limited_org(None, None).await;
    for org in [&f.org, &other] {
        for _ in 0..2 {
            let jobs = created_rows(f.create(org, vec![new_job(); 350]).await);
            let noted: Vec<(String, i64)> = jobs.iter().map(|job| (job.id.clone(), 1)).collect();
            f.ledger.dispatched(Kind::Job, &noted, NOW).await.unwrap();
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let page = f.ledger.stale(Kind::Job, NOW + 1, after.as_ref()).await.unwrap();
        pages += 1;
        for row in page.rows {
            assert!(seen.insert(row.id), "seen twice");
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((pages, seen.len()), (3, 1_400));
}

async fn a_lost_row_gets_a_new_life_and_keeps_its_tries(f: Fixture) {
    let job = f.ended(failed()).await;
    let lost_run = f.run(&job, NOW).await;
    let row = f.open_row(&job).await.unwrap();
    assert_eq!(f.relive(&row, NOW + 9).await, Relived::Queued { generation: 2 });
    let now = f.get(&job).await;
    assert_eq!((now.state, now.attempts), (JobState::Queued, 1));
    // The run that was lost after all comes back too late.
    assert_eq!(f.end_one(&lost_run, succeeded(), NOW).await, Ended::Stale);
    let waiting = f.ledger.undispatched(Kind::Job, 10).await.unwrap();
    assert_eq!((waiting.len(), waiting[0].generation), (1, 2));
    let run = f.run(&job, NOW).await;
    assert_eq!(run.attempt, 2);
    f.end_one(&run, failed(), NOW).await;
    let run = f.run(&job, NOW).await;
    assert_eq!(
        f.end_one(&run, failed(), NOW).await,
        Ended::Applied(Decision::Dead),
        "three tries in all, whatever was lost between"
    );
}

async fn a_waiting_retry_keeps_its_time_in_its_new_life(f: Fixture) {
    let job = f.ended(failed()).await;
    let row = f.open_row(&job).await.unwrap();
    f.relive(&row, NOW + 9).await;
    let waiting = f.ledger.undispatched(Kind::Job, 10).await.unwrap();
    assert_eq!(waiting[0].run_at, job.next_attempt_at);
    assert!(job.next_attempt_at.is_some());
}

async fn a_row_that_moved_since_it_was_read_is_left_alone(f: Fixture) {
    let read = f.job().await;
    let row = f.dispatched(&read).await;
    let others = [
        OpenRow { run: row.run + 1, ..row.clone() },
        OpenRow { generation: 2, ..row.clone() },
        OpenRow { state: JobState::Processing, ..row.clone() },
        OpenRow { updated_at: row.updated_at - 1, ..row.clone() },
    ];
    for other in &others {
        assert_eq!(f.relive(other, NOW).await, Relived::Moved, "{other:?}");
    }
    let run = f.run(&read, NOW + 1).await;
    assert_eq!(f.relive(&row, NOW).await, Relived::Moved);
    f.end_one(&run, succeeded(), NOW).await;
    assert_eq!(f.relive(&row, NOW).await, Relived::Moved);
    let job = f.get(&read).await;
    assert_eq!((job.state, job.generation), (JobState::Succeeded, 1));
}

async fn a_row_that_is_lost_again_and_again_fails(f: Fixture) {
    let job = f.job().await;
    for life in 1..=3 {
        let row = f.dispatched(&job).await;
        let generation = life + 1;
        assert_eq!(f.relive(&row, NOW).await, Relived::Queued { generation });
    }
    let row = f.dispatched(&job).await;
    assert_eq!(row.lost, 3);
    assert_eq!(f.relive(&row, NOW + 7).await, Relived::Lost);
    let now = f.get(&job).await;
    assert_eq!((now.state, now.completed_at), (JobState::Failed, Some(NOW + 7)));
    assert_eq!(now.error.unwrap().code, "lost");
    assert_eq!(f.ledger.events(&f.org, &job.id).await.unwrap().len(), 1);
    assert_eq!(f.period(&f.org).await.reserved_jobs, 0);
    // A user's retry starts the count anew.
    assert!(matches!(f.ledger.retry(&f.org, &job.id, BY, NOW).await.unwrap(), Retried::Retried(_)));
    let row = f.dispatched(&job).await;
    assert_eq!(row.lost, 0);
}

async fn a_lost_row_that_was_told_to_stop_is_canceled(f: Fixture) {
    let job = f.job().await;
    f.run(&job, NOW).await;
    f.ledger.cancel(&f.org, &job.id, BY, NOW + 1).await.unwrap();
    let row = f.open_row(&job).await.unwrap();
    assert_eq!(f.relive(&row, NOW).await, Relived::Canceled);
    assert_eq!(f.get(&job).await.state, JobState::Canceled);
}

async fn two_reconcilers_relive_a_row_once(f: Fixture) {
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 100]).await);
    let noted: Vec<(String, i64)> = jobs.iter().map(|job| (job.id.clone(), 1)).collect();
    f.ledger.dispatched(Kind::Job, &noted, NOW).await.unwrap();
    let rows = f.stale(NOW + 1).await;
    let backwards: Vec<OpenRow> = rows.iter().rev().cloned().collect();
    let other = f.other_node().await;
    let (one, two) =
        tokio::join!(f.ledger.relive(Kind::Job, &rows, NOW + 1), other.relive(Kind::Job, &backwards, NOW + 1));
    let queued = [one.unwrap(), two.unwrap()]
        .concat()
        .into_iter()
        .filter(|relived| *relived == Relived::Queued { generation: 2 })
        .count();
    assert_eq!(queued, 100);
    assert_eq!(f.number("SELECT COUNT(*) FROM jobs WHERE gen = 2").await, 100);
}

async fn right_counters_are_left_alone(f: Fixture) {
    let limited = f.limited_org(Some(100), None).await;
    created_rows(f.create(&limited, vec![new_job(); 7]).await);
    f.ended(succeeded()).await;
    f.ended(failed()).await;
    f.ended(What::Canceled).await;
    let before = f.period(&f.org).await;
    let repairs = f.ledger.repair_counters(NOW).await.unwrap();
    assert_eq!((repairs.compared, repairs.repaired), (2, 0));
    assert_eq!(f.period(&f.org).await, before);
}

async fn wrong_counters_are_repaired_and_counted(f: Fixture) {
    f.job().await;
    f.ended(succeeded()).await;
    let right = f.period(&f.org).await;
    let wrong = "UPDATE periods SET reserved_jobs = reserved_jobs + 5, reserved_tokens = 0,
        used_jobs = 77, used_tokens = used_tokens - 3 RETURNING org";
    f.sql(wrong).await;
    assert_ne!(f.period(&f.org).await, right);
    let repairs = f.ledger.repair_counters(NOW).await.unwrap();
    assert_eq!((repairs.compared, repairs.repaired), (1, 1));
    assert_eq!(f.period(&f.org).await, right);
    assert_eq!(f.number("SELECT repairs FROM periods").await, 1);
    // Also a month later, but not after two.
    f.sql(wrong).await;
    let repairs = f.ledger.repair_counters(NOW + 30 * 24 * HOUR).await.unwrap();
    assert_eq!(repairs.repaired, 1);
    assert_eq!(f.period(&f.org).await, right);
    let repairs = f.ledger.repair_counters(NOW + 60 * 24 * HOUR).await.unwrap();
    assert_eq!(repairs.compared, 0);
}

async fn counters_are_repaired_under_load(f: Fixture) {
    f.job().await;
    f.sql("UPDATE periods SET reserved_jobs = 50, used_jobs = 50 RETURNING org").await;
    let other = f.other_node().await;
    let load = async {
        for _ in 0..30 {
            f.ended(succeeded()).await;
        }
    };
    let repair = async {
        let mut repaired = 0;
        for _ in 0..30 {
            repaired += other.repair_counters(NOW).await.unwrap().repaired;
        }
        repaired
    };
    let ((), repaired) = tokio::join!(load, repair);
    assert_eq!(repaired, 1, "wrong once, repaired once");
    let period = f.period(&f.org).await;
    assert_eq!((period.reserved_jobs, period.used_jobs), (1, 30));
}

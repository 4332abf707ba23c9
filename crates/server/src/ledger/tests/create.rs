//! Step 1: creating, idempotency keys, quotas.

use super::*;

both![
    a_created_job_reads_back_as_it_was_given,
    a_group_answers_in_the_order_given,
    a_request_that_is_refused_does_not_hurt_the_others,
    the_same_request_is_replayed_and_another_is_a_mismatch,
    the_same_key_twice_in_one_group_makes_one_job,
    concurrent_creates_with_one_key_make_one_job,
    a_refused_create_leaves_its_key_free,
    an_expired_key_is_free_again,
    a_claim_is_in_progress_until_it_is_settled_or_released,
    a_dead_nodes_claim_is_taken_over,
    purging_removes_what_has_expired_and_nothing_else,
    concurrent_creates_never_pass_the_jobs_limit,
    concurrent_creates_never_pass_the_tokens_limit,
    a_bulk_that_does_not_fit_creates_nothing,
    the_limit_opens_again_in_the_next_month,
    too_much_in_one_call_changes_nothing,
];

fn keyed(org: &str, key: &str, fingerprint: &str) -> Create {
    Create {
        org: org.to_owned(),
        jobs: vec![new_job()],
        idempotency: Some(Idempotency {
            scope: org.to_owned(),
            key: key.to_owned(),
            fingerprint: fingerprint.to_owned(),
            render: |rows| Answer {
                status: 202,
                location: Some(format!("/v1/jobs/{}", rows[0].id)),
                body: rows[0].id.clone(),
            },
        }),
    }
}

impl Fixture {
    async fn create_keyed(&self, key: &str, fingerprint: &str, now: i64) -> Created {
        let request = keyed(&self.org, key, fingerprint);
        self.ledger.create(vec![request], now).await.unwrap().remove(0)
    }

    async fn jobs(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM jobs").await
    }
}

fn replayed_id(created: Created) -> String {
    match created {
        Created::Replay(answer) => {
            assert_eq!(answer.status, 202);
            assert_eq!(answer.location, Some(format!("/v1/jobs/{}", answer.body)));
            answer.body
        }
        other => panic!("{other:?}"),
    }
}

async fn a_created_job_reads_back_as_it_was_given(f: Fixture) {
    let long = format!(r#"{{"text":"{}"}}"#, "ä€😀".repeat(10_000));
    for input in [new_job().input, long] {
        let given = NewJob {
            job_type: "TRANSLATE".to_owned(),
            input,
            priority: 7,
            max_attempts: 5,
            metadata: r#"{"a":"b"}"#.to_owned(),
            run_at: Some(NOW + 5_000),
            timeout: Some(30_000),
            start_before: Some(NOW + 60_000),
            webhook_url: Some("https://example.org/hook".to_owned()),
            provider: Some("local".to_owned()),
            traceparent: Some("00-1-2-01".to_owned()),
            reserve_tokens: 100,
        };
        let job = f.job_of(given.clone()).await;
        assert_eq!(f.get(&job).await, job);
        assert_eq!(job.state, JobState::Queued);
        assert_eq!((job.generation, job.run, job.attempts), (1, 0, 0));
        assert_eq!(job.input, given.input);
        assert_eq!(job.webhook_url, given.webhook_url);
        assert_eq!((job.created_at, job.started_at), (NOW, None));
        let run = f.run(&job, NOW).await;
        let Work::Job(work) = run.work else {
            panic!("{run:?}");
        };
        assert_eq!(work.input, given.input);
        assert_eq!(work.timeout, given.timeout);
    }
}

async fn a_group_answers_in_the_order_given(f: Fixture) {
    let other = f.limited_org(None, None).await;
    let request =
        |org: &str, count: usize| Create { org: org.to_owned(), jobs: vec![new_job(); count], idempotency: None };
    let counts = [3, 1, 600, 2, 0, 5];
    let requests = counts
        .iter()
        .enumerate()
        .map(|(at, count)| request(if at % 2 == 0 { &f.org } else { &other }, *count))
        .collect();
    let answers = f.ledger.create(requests, NOW).await.unwrap();
    for (at, (answer, count)) in answers.into_iter().zip(counts).enumerate() {
        let rows = created_rows(answer);
        assert_eq!(rows.len(), count, "request {at}");
        assert!(rows.is_sorted_by(|one, next| one.id < next.id));
        for row in &rows {
            assert_eq!(row.org, if at % 2 == 0 { f.org.clone() } else { other.clone() });
        }
        if let Some(last) = rows.last() {
            assert_eq!(&f.get(last).await, last);
        }
    }
    assert_eq!(f.period(&f.org).await.created, 603);
    assert_eq!(f.period(&other).await.reserved_tokens, 800);
}

async fn a_request_that_is_refused_does_not_hurt_the_others(f: Fixture) {
    let small = f.limited_org(Some(2), None).await;
    let request =
        |org: &str, count: usize| Create { org: org.to_owned(), jobs: vec![new_job(); count], idempotency: None };
    let requests =
        vec![request(&small, 1), request("nobody", 1), request(&small, 2), request(&f.org, 1), request(&small, 1)];
    let answers = f.ledger.create(requests, NOW).await.unwrap();
    assert!(matches!(answers[0], Created::Created(_)));
    assert!(matches!(answers[1], Created::UnknownOrg));
    assert!(matches!(answers[2], Created::QuotaExceeded { quota: Quota::Jobs, limit: 2, .. }));
    assert!(matches!(answers[3], Created::Created(_)));
    assert!(matches!(answers[4], Created::Created(_)));
    assert_eq!(f.jobs().await, 3);
    assert_eq!(f.period(&small).await.reserved_jobs, 2);
}

async fn the_same_request_is_replayed_and_another_is_a_mismatch(f: Fixture) {
    let first = created_rows(f.create_keyed("k", "one", NOW).await);
    assert_eq!(replayed_id(f.create_keyed("k", "one", NOW + HOUR).await), first[0].id);
    assert!(matches!(f.create_keyed("k", "two", NOW).await, Created::Mismatch));
    // Another organisation's key of the same name is another key.
    let other = f.limited_org(None, None).await;
    let answers = f.ledger.create(vec![keyed(&other, "k", "two")], NOW).await;
    assert!(matches!(answers.unwrap()[0], Created::Created(_)));
    assert_eq!(f.jobs().await, 2);
    assert_eq!(f.period(&f.org).await.reserved_jobs, 1);
}

async fn the_same_key_twice_in_one_group_makes_one_job(f: Fixture) {
    let requests = vec![
        keyed(&f.org, "k", "one"),
        keyed(&f.org, "k", "one"),
        keyed(&f.org, "k", "two"),
        keyed(&f.org, "l", "two"),
    ];
    let mut answers = f.ledger.create(requests, NOW).await.unwrap();
    assert!(matches!(answers.remove(3), Created::Created(_)));
    assert!(matches!(answers.remove(2), Created::Mismatch));
    let replayed = replayed_id(answers.remove(1));
    assert_eq!(created_rows(answers.remove(0))[0].id, replayed);
    assert_eq!(f.jobs().await, 2);
}

async fn concurrent_creates_with_one_key_make_one_job(f: Fixture) {
    let other = f.other_node().await;
    let mut tasks = Vec::new();
    for at in 0..20 {
        let ledger = if at % 2 == 0 { &f.ledger } else { &other }.clone();
        let request = keyed(&f.org, "k", "one");
        tasks.push(tokio::spawn(async move { ledger.create(vec![request], NOW).await.unwrap().remove(0) }));
    }
    let mut ids = std::collections::BTreeSet::new();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Created::Created(rows) => {
                created += 1;
                ids.insert(rows[0].id.clone());
            }
            other => drop(ids.insert(replayed_id(other))),
        }
    }
    assert_eq!((created, ids.len(), f.jobs().await), (1, 1, 1));
}

async fn a_refused_create_leaves_its_key_free(f: Fixture) {
    let org = f.limited_org(Some(0), None).await;
    let refused = f.ledger.create(vec![keyed(&org, "k", "one")], NOW).await;
    assert!(matches!(refused.unwrap()[0], Created::QuotaExceeded { .. }));
    let plan = Plan { jobs_limit: Some(1), ..Plan::default() };
    assert!(f.ledger.set_plan(&org, &plan).await.unwrap());
    let again = f.ledger.create(vec![keyed(&org, "k", "two")], NOW).await;
    assert!(matches!(again.unwrap()[0], Created::Created(_)));
}

async fn an_expired_key_is_free_again(f: Fixture) {
    let day = 24 * HOUR;
    let first = created_rows(f.create_keyed("k", "one", NOW).await);
    assert_eq!(replayed_id(f.create_keyed("k", "one", NOW + day - 1).await), first[0].id);
    let second = created_rows(f.create_keyed("k", "two", NOW + day).await);
    assert_eq!(replayed_id(f.create_keyed("k", "two", NOW + day).await), second[0].id);
}

async fn a_claim_is_in_progress_until_it_is_settled_or_released(f: Fixture) {
    let l = &f.ledger;
    assert_eq!(l.claim("s", "k", "one", NOW).await.unwrap(), Claim::Fresh);
    assert_eq!(l.claim("s", "k", "one", NOW).await.unwrap(), Claim::InProgress);
    assert_eq!(l.claim("s", "k", "two", NOW).await.unwrap(), Claim::Mismatch);
    assert!(matches!(f.ledger.create(vec![keyed("s", "k", "one")], NOW).await.unwrap()[0], Created::InProgress));
    l.release_claim("s", "k", "one").await.unwrap();
    assert_eq!(l.claim("s", "k", "two", NOW).await.unwrap(), Claim::Fresh);
    let answer = Answer { status: 201, location: None, body: "{}".to_owned() };
    l.settle_claim("s", "k", "two", &answer, NOW).await.unwrap();
    // What is settled stays: a late release or a second answer changes nothing.
    l.release_claim("s", "k", "two").await.unwrap();
    let late = Answer { status: 500, ..answer.clone() };
    l.settle_claim("s", "k", "two", &late, NOW).await.unwrap();
    assert_eq!(l.claim("s", "k", "two", NOW + HOUR).await.unwrap(), Claim::Replay(answer));
}

async fn a_dead_nodes_claim_is_taken_over(f: Fixture) {
    let l = &f.ledger;
    assert_eq!(l.claim("s", "k", "one", NOW).await.unwrap(), Claim::Fresh);
    let later = NOW + 59_999;
    assert_eq!(l.claim("s", "k", "one", later).await.unwrap(), Claim::InProgress);
    assert_eq!(l.claim("s", "k", "one", later + 1).await.unwrap(), Claim::Fresh);
}

async fn purging_removes_what_has_expired_and_nothing_else(f: Fixture) {
    created_rows(f.create_keyed("old", "one", NOW - 25 * HOUR).await);
    let kept = created_rows(f.create_keyed("new", "one", NOW).await);
    assert_eq!(f.ledger.purge_idempotency(NOW).await.unwrap(), 1);
    assert_eq!(f.ledger.purge_idempotency(NOW).await.unwrap(), 0);
    assert_eq!(replayed_id(f.create_keyed("new", "one", NOW).await), kept[0].id);
}

/// 20 tasks on two nodes, each creating one job until it is refused; answers how many were accepted.
async fn flood(f: &Fixture, org: &str) -> i64 {
    let other = f.other_node().await;
    let mut tasks = Vec::new();
    for at in 0..20 {
        let ledger = if at % 2 == 0 { &f.ledger } else { &other }.clone();
        let org = org.to_owned();
        tasks.push(tokio::spawn(async move {
            let mut accepted = 0;
            loop {
                let request = Create { org: org.clone(), jobs: vec![new_job()], idempotency: None };
                match ledger.create(vec![request], NOW).await.unwrap().remove(0) {
                    Created::Created(_) => accepted += 1,
                    Created::QuotaExceeded { .. } => return accepted,
                    other => panic!("{other:?}"),
                }
            }
        }));
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.unwrap();
    }
    accepted
}

async fn concurrent_creates_never_pass_the_jobs_limit(f: Fixture) {
    let org = f.limited_org(Some(33), None).await;
    assert_eq!(flood(&f, &org).await, 33);
    assert_eq!(f.jobs().await, 33);
    let period = f.period(&org).await;
    assert_eq!((period.reserved_jobs, period.used_jobs), (33, 0));
}

async fn concurrent_creates_never_pass_the_tokens_limit(f: Fixture) {
    // 100 tokens each: the 25th job would pass it.
    let org = f.limited_org(None, Some(2_450)).await;
    assert_eq!(flood(&f, &org).await, 24);
    assert_eq!(f.period(&org).await.reserved_tokens, 2_400);
    match f.create(&org, vec![new_job()]).await {
        Created::QuotaExceeded { quota: Quota::Tokens, limit: 2_450, resets_at } => {
            assert_eq!(crate::when::rfc3339(resets_at), "2026-12-01T00:00:00.000Z")
        }
        other => panic!("{other:?}"),
    }
}

async fn a_bulk_that_does_not_fit_creates_nothing(f: Fixture) {
    let org = f.limited_org(Some(10), None).await;
    let refused = f.create(&org, vec![new_job(); 11]).await;
    assert!(matches!(refused, Created::QuotaExceeded { .. }));
    assert_eq!(f.jobs().await, 0);
    assert_eq!(f.period(&org).await.reserved_jobs, 0);
    created_rows(f.create(&org, vec![new_job(); 10]).await);
}

async fn the_limit_opens_again_in_the_next_month(f: Fixture) {
    let org = f.limited_org(Some(1), None).await;
    created_rows(f.create(&org, vec![new_job()]).await);
    let Created::QuotaExceeded { resets_at, .. } = f.create(&org, vec![new_job()]).await else {
        panic!("not refused");
    };
    for (at, fits) in [(resets_at - 1, false), (resets_at, true)] {
        let request = Create { org: org.clone(), jobs: vec![new_job()], idempotency: None };
        let answer = f.ledger.create(vec![request], at).await.unwrap().remove(0);
        assert_eq!(matches!(answer, Created::Created(_)), fits, "{answer:?}");
    }
}

async fn too_much_in_one_call_changes_nothing(f: Fixture) {
    let request = Create { org: f.org.clone(), jobs: vec![new_job(); 1_000], idempotency: None };
    let answer = f.ledger.create(vec![request; 3], NOW).await;
    assert!(matches!(answer, Err(LedgerError::TooMany { given: 3_000, most: 2_000 })));
    assert_eq!(f.jobs().await, 0);
}

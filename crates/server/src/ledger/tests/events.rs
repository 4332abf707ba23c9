//! Event and delivery rows: exactly where a job has ended; and deliveries through the same protocol.

use super::*;

both![
    an_event_is_there_if_and_only_if_the_job_has_ended,
    each_endpoint_that_wants_the_event_gets_one_delivery,
    a_crowd_of_deliveries_is_written_whole,
    deliveries_of_other_organisations_are_not_made,
    an_organisation_has_a_hundred_endpoints_at_most,
    a_delivery_is_dispatched_begun_and_ended_like_a_job,
    a_lost_delivery_gets_a_new_life,
    a_dead_delivery_that_was_put_back_by_hand_becomes_a_new_generation,
];

impl Fixture {
    async fn endpoint(&self, org: &str, events: &[&str], policy: Policy) -> Endpoint {
        let endpoint = NewEndpoint {
            org: org.to_owned(),
            url: "https://example.org/hook".to_owned(),
            events: events.iter().map(|event| (*event).to_owned()).collect(),
            description: "A test's".to_owned(),
            policy,
            secret: "encrypted".to_owned(),
        };
        self.ledger.create_endpoint(&endpoint, NOW).await.unwrap().unwrap()
    }

    async fn events_of(&self, job: &JobRow) -> Vec<EventRow> {
        self.ledger.events(&job.org, &job.id).await.unwrap()
    }

    async fn delivery(&self) -> DeliveryRow {
        self.endpoint(&self.org, &[], Policy::Short).await;
        let job = self.ended(succeeded()).await;
        let event = self.events_of(&job).await.remove(0);
        let mut deliveries = self.ledger.deliveries(&self.org, &event.id).await.unwrap();
        assert_eq!(deliveries.len(), 1);
        deliveries.remove(0)
    }

    async fn begin_delivery(&self, id: &str, generation: i64, made: i64) -> Begun {
        let start = Start { id: id.to_owned(), generation, made };
        let begun = self.ledger.begin(Kind::Delivery, &[start], "w", NOW).await;
        begun.unwrap().remove(0)
    }

    async fn run_delivery(&self, id: &str) -> Run {
        match self.begin_delivery(id, 1, 0).await {
            Begun::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    async fn end_delivery(&self, run: &Run, what: What) -> Ended {
        let ends = vec![finish(run, what)];
        self.ledger.end(Kind::Delivery, ends, NOW).await.unwrap().remove(0)
    }
}

async fn an_event_is_there_if_and_only_if_the_job_has_ended(f: Fixture) {
    f.endpoint(&f.org, &[], Policy::Long).await;
    let cases = [
        (succeeded(), Some("job.completed")),
        (failed(), None),
        (failed_for_good(), Some("job.failed")),
        (What::GiveBack { until: None }, None),
        (What::Canceled, Some("job.canceled")),
    ];
    for (what, wanted) in cases {
        let job = f.ended(what.clone()).await;
        let events = f.events_of(&job).await;
        let types: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, wanted.into_iter().collect::<Vec<_>>(), "{what:?}");
        for event in events {
            let deliveries = f.ledger.deliveries(&f.org, &event.id).await.unwrap();
            assert_eq!(deliveries.len(), 1);
            let data: serde_json::Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(data["jobId"], job.id.as_str());
            assert_eq!(data["status"], job.state.as_str());
            let done = job.state == JobState::Succeeded;
            assert_eq!(data["tokenUsed"], if done { 45 } else { 0 });
            assert_eq!(data["costCents"], i64::from(done));
            assert!(!event.data.contains("Some text"), "events are thin");
        }
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 3);
    assert_eq!(f.number("SELECT COUNT(*) FROM deliveries").await, 3);
}

async fn each_endpoint_that_wants_the_event_gets_one_delivery(f: Fixture) {
    let all = f.endpoint(&f.org, &[], Policy::Long).await;
    let failures = f.endpoint(&f.org, &["job.failed"], Policy::Short).await;
    let disabled = f.endpoint(&f.org, &[], Policy::Long).await;
    let off = Sql::new("test", "UPDATE endpoints SET enabled = 0 WHERE id = $1");
    f.ledger.db().run(off.bind(&disabled.id)).await.unwrap();
    let mut new = new_job();
    new.webhook_url = Some("https://example.org/own".to_owned());
    let cases = [(succeeded(), vec![&all]), (failed_for_good(), vec![&all, &failures])];
    for (what, wanted) in cases {
        let job = f.job_of(new.clone()).await;
        let run = f.run(&job, NOW).await;
        f.end_one(&run, what, NOW).await;
        let event = f.events_of(&job).await.remove(0);
        let deliveries = f.ledger.deliveries(&f.org, &event.id).await.unwrap();
        let mut found: Vec<(Option<&str>, Option<&str>, i64)> =
            deliveries.iter().map(|row| (row.endpoint.as_deref(), row.url.as_deref(), row.max_attempts)).collect();
        let own = found.pop();
        assert_eq!(own, Some((None, Some("https://example.org/own"), 10)));
        let wanted: Vec<_> =
            wanted.iter().map(|endpoint| (Some(endpoint.id.as_str()), None, endpoint.policy.tries())).collect();
        assert_eq!(found, wanted);
    }
}

async fn a_crowd_of_deliveries_is_written_whole(f: Fixture) {
    for _ in 0..12 {
        f.endpoint(&f.org, &[], Policy::Long).await;
    }
    let jobs = created_rows(f.create(&f.org, vec![new_job(); 100]).await);
    let starts: Vec<Start> = jobs.iter().map(|job| start(job, 0)).collect();
    let begun = f.ledger.begin(Kind::Job, &starts, "w", NOW).await.unwrap();
    let ends = begun
        .iter()
        .map(|begun| match begun {
            Begun::Run(run) => finish(run, succeeded()),
            other => panic!("{other:?}"),
        })
        .collect();
    f.ledger.end(Kind::Job, ends, NOW).await.unwrap();
    assert_eq!(f.number("SELECT COUNT(*) FROM deliveries").await, 1_200);
    let events = "SELECT COUNT(DISTINCT event) FROM deliveries";
    assert_eq!(f.number(events).await, 100);
}

async fn deliveries_of_other_organisations_are_not_made(f: Fixture) {
    let other = f.limited_org(None, None).await;
    f.endpoint(&other, &[], Policy::Long).await;
    f.ended(succeeded()).await;
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 1);
    assert_eq!(f.number("SELECT COUNT(*) FROM deliveries").await, 0);
}

async fn an_organisation_has_a_hundred_endpoints_at_most(f: Fixture) {
    let made = f.endpoint(&f.org, &["job.failed"], Policy::Short).await;
    for _ in 1..100 {
        f.endpoint(&f.org, &[], Policy::Long).await;
    }
    let one_more = NewEndpoint {
        org: f.org.clone(),
        url: made.url.clone(),
        events: Vec::new(),
        description: String::new(),
        policy: Policy::Long,
        secret: String::new(),
    };
    assert!(matches!(f.ledger.create_endpoint(&one_more, NOW).await, Err(LedgerError::TooMany { most: 100, .. })));
    let listed = f.ledger.list_endpoints(&f.org).await.unwrap();
    assert_eq!((listed.len(), &listed[0]), (100, &made));
    let nowhere = NewEndpoint { org: "nobody".to_owned(), ..one_more };
    assert_eq!(f.ledger.create_endpoint(&nowhere, NOW).await.unwrap(), None);
}

async fn a_delivery_is_dispatched_begun_and_ended_like_a_job(f: Fixture) {
    let delivery = f.delivery().await;
    let waiting = f.ledger.undispatched(Kind::Delivery, 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].id.as_str(), waiting[0].job_type.as_str()), (delivery.id.as_str(), "job.completed"));
    assert_eq!(f.ledger.backlog(Kind::Delivery, 10).await.unwrap(), 1);
    f.ledger.dispatched(Kind::Delivery, &[(delivery.id.clone(), 1)], NOW).await.unwrap();
    assert_eq!(f.ledger.backlog(Kind::Delivery, 10).await.unwrap(), 0);
    let stale = f.run_delivery(&delivery.id).await;
    let run = f.run_delivery(&delivery.id).await;
    let Work::Delivery(work) = &run.work else {
        panic!("{run:?}");
    };
    assert_eq!(work.event, delivery.event);
    assert_eq!(work.endpoint, delivery.endpoint);
    assert!(work.data.contains("SUCCEEDED") && work.at == NOW + 1, "{work:?}");
    assert_eq!(f.end_delivery(&stale, succeeded()).await, Ended::Stale);
    let note = [(delivery.id.clone(), 1, run.run, 50)];
    f.ledger.progress(Kind::Delivery, &note).await.unwrap();
    // Its schedule is the sender's, not the row's.
    let what = What::Failed { error: error(true), usage: None, retry_at: Some(NOW + 5_000) };
    assert_eq!(f.end_delivery(&run, what.clone()).await, Ended::Applied(Decision::Retry { at: NOW + 5_000 }));
    let run = f.run_delivery(&delivery.id).await;
    assert_eq!((run.attempt, run.max_attempts), (2, 5));
    let answer = f.end_delivery(&run, succeeded()).await;
    assert_eq!(answer, Ended::Applied(Decision::Done));
    assert_eq!(f.end_delivery(&run, succeeded()).await, answer);
    let begun = f.begin_delivery(&delivery.id, 1, 1).await;
    assert!(matches!(begun, Begun::Skip(mirror) if mirror.state == JobState::Succeeded));
    // A delivery is not billed and tells nobody.
    assert_eq!(f.number("SELECT COUNT(*) FROM usage").await, 1);
    assert_eq!(f.number("SELECT COUNT(*) FROM events").await, 1);
}

async fn a_lost_delivery_gets_a_new_life(f: Fixture) {
    let delivery = f.delivery().await;
    for life in 0..4 {
        f.ledger.dispatched(Kind::Delivery, &[(delivery.id.clone(), life + 1)], NOW + life).await.unwrap();
        let page = f.ledger.stale(Kind::Delivery, NOW + HOUR, None).await.unwrap();
        assert_eq!(page.rows.len(), 1);
        let relived = f.ledger.relive(Kind::Delivery, &page.rows, NOW + life).await.unwrap();
        let wanted = if life < 3 { Relived::Queued { generation: life + 2 } } else { Relived::Lost };
        assert_eq!(relived, [wanted]);
    }
    let rows = f.ledger.deliveries(&f.org, &delivery.event).await.unwrap();
    assert_eq!(rows[0].state, JobState::Failed);
}

async fn a_dead_delivery_that_was_put_back_by_hand_becomes_a_new_generation(f: Fixture) {
    let delivery = f.delivery().await;
    let run = f.run_delivery(&delivery.id).await;
    assert_eq!(f.end_delivery(&run, failed_for_good()).await, Ended::Applied(Decision::Dead));
    let mirrored = f.begin_delivery(&delivery.id, 1, 0).await;
    assert!(matches!(mirrored, Begun::Skip(_)));
    let adopted = f.begin_delivery(&delivery.id, 1, 1).await;
    assert_eq!(adopted, Begun::Adopted { generation: 2 });
    let run = f.begin_delivery(&delivery.id, 2, 0).await;
    assert!(matches!(run, Begun::Run(run) if run.attempt == 1));
}

//! Lists: order, paging, filters, the total.

use super::*;

both![
    newest_come_first_and_pages_meet_without_gap_or_overlap,
    the_total_is_of_all_jobs_and_only_without_a_filter,
    filters_narrow_by_state_type_time_and_metadata,
    a_filtered_page_is_cut_at_the_window_and_goes_on_from_its_cursor,
    limits_and_offsets_are_bounded,
];

impl Fixture {
    async fn list(&self, filter: &Filter, page: Page, limit: usize) -> ListPage {
        self.ledger.list(&self.org, filter, &page, limit).await.unwrap()
    }

    async fn all(&self, filter: &Filter) -> Vec<String> {
        let page = self.list(filter, Page::Offset(0), 100).await;
        ids(&page)
    }

    async fn create_at(&self, jobs: Vec<NewJob>, now: i64) -> Vec<JobRow> {
        let request = Create { org: self.org.clone(), jobs, idempotency: None };
        created_rows(self.ledger.create(vec![request], now).await.unwrap().remove(0))
    }
}

fn ids(page: &ListPage) -> Vec<String> {
    page.jobs.iter().map(|job| job.id.clone()).collect()
}

async fn newest_come_first_and_pages_meet_without_gap_or_overlap(f: Fixture) {
    let mut made: Vec<String> = Vec::new();
    for at in 0..5 {
        let rows = f.create_at(vec![new_job(); 5], NOW + at).await;
        made.extend(rows.into_iter().map(|row| row.id));
    }
    made.reverse();
    let none = Filter::default();
    assert_eq!(f.all(&none).await, made);
    let page = f.list(&none, Page::Offset(3), 4).await;
    assert_eq!(ids(&page), made[3..7]);
    // By cursor, while jobs arrive.
    let mut walked = Vec::new();
    let mut page = f.list(&none, Page::Offset(0), 10).await;
    loop {
        walked.extend(ids(&page));
        f.create_at(vec![new_job()], NOW + 100).await;
        let Some(cursor) = page.next_cursor else {
            break;
        };
        page = f.list(&none, Page::After(cursor), 10).await;
    }
    assert_eq!(walked, made);
    let last = f.list(&none, Page::Offset(28), 10).await;
    assert!(last.jobs.is_empty() && last.next_cursor.is_none());
}

async fn the_total_is_of_all_jobs_and_only_without_a_filter(f: Fixture) {
    f.create_at(vec![new_job(); 3], NOW).await;
    f.create_at(vec![new_job(); 2], NOW + 40 * 24 * HOUR).await;
    f.ended(succeeded()).await;
    let none = Filter::default();
    assert_eq!(f.list(&none, Page::Offset(0), 1).await.total, Some(6));
    let some = Filter { state: Some(JobState::Queued), ..Filter::default() };
    assert_eq!(f.list(&some, Page::Offset(0), 1).await.total, None);
}

async fn filters_narrow_by_state_type_time_and_metadata(f: Fixture) {
    let mut made = Vec::new();
    for what in [succeeded(), failed(), failed_for_good(), What::Canceled] {
        made.push(f.ended(what).await);
    }
    let running = f.job().await;
    f.run(&running, NOW).await;
    made.push(f.get(&running).await);
    for job in &made {
        let filter = Filter { state: Some(job.state), ..Filter::default() };
        assert_eq!(f.all(&filter).await, [job.id.as_str()], "{:?}", job.state);
    }
    let mut special = new_job();
    special.job_type = "EXTRACT".to_owned();
    special.metadata = r#"{"a":"1","b:\"":"x","c":"1"}"#.to_owned();
    let special = f.create_at(vec![special], NOW + 10).await.remove(0);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let fitting = [
        Filter { job_type: Some("EXTRACT".to_owned()), ..Filter::default() },
        Filter { created_after: Some(NOW + 10), ..Filter::default() },
        Filter {
            metadata: vec![pair("a", "1"), pair("b:\"", "x")],
            created_before: Some(NOW + 11),
            ..Filter::default()
        },
    ];
    for filter in &fitting {
        assert_eq!(f.all(filter).await, [special.id.as_str()], "{filter:?}");
    }
    let empty = [
        Filter { metadata: vec![pair("a", "1"), pair("c", "2")], ..Filter::default() },
        Filter { metadata: vec![pair("d", "")], ..Filter::default() },
        Filter { job_type: Some("EXTRACT".to_owned()), created_before: Some(NOW + 10), ..Filter::default() },
        Filter { created_after: Some(i64::MAX), created_before: Some(i64::MIN), ..Filter::default() },
    ];
    for filter in &empty {
        assert!(f.all(filter).await.is_empty(), "{filter:?}");
    }
    let before = Filter { created_before: Some(NOW + 10), ..Filter::default() };
    assert_eq!(f.all(&before).await.len(), 5);
}

async fn a_filtered_page_is_cut_at_the_window_and_goes_on_from_its_cursor(f: Fixture) {
    let mut wanted = new_job();
    wanted.job_type = "EXTRACT".to_owned();
    let wanted = f.create_at(vec![wanted], NOW).await.remove(0);
    for _ in 0..6 {
        f.create_at(vec![new_job(); 2_000], NOW + 1).await;
    }
    let filter = Filter { job_type: Some("EXTRACT".to_owned()), ..Filter::default() };
    let page = f.list(&filter, Page::Offset(0), 10).await;
    assert!(page.jobs.is_empty(), "10,000 rows are looked at");
    let cursor = page.next_cursor.unwrap();
    let page = f.list(&filter, Page::After(cursor), 10).await;
    assert_eq!(ids(&page), [wanted.id]);
    assert_eq!(page.next_cursor, None);
    // Without a filter an offset is not cut.
    let page = f.list(&Filter::default(), Page::Offset(9_990), 100).await;
    assert_eq!(page.jobs.len(), 100);
}

async fn limits_and_offsets_are_bounded(f: Fixture) {
    let none = Filter::default();
    for (page, limit) in [(Page::Offset(10_001), 10), (Page::Offset(0), 101)] {
        let answer = f.ledger.list(&f.org, &none, &page, limit).await;
        assert!(matches!(answer, Err(LedgerError::TooMany { .. })));
    }
}

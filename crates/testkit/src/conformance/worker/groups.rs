//! Groups as workers feel them.

use std::num::NonZeroU32;
use std::sync::Mutex;

use super::*;
use crate::given::*;

fn of(group: &str) -> JobOptions {
    JobOptions { group: Some(group.into()), ..plain() }
}

/// The same job is the group's first again, as the same attempt; the other group goes on meanwhile.
pub async fn a_handler_can_slow_its_group_down(h: &impl Harness) {
    let b = Bench::on(h);
    b.add("a1", 1, of("a")).await;
    b.add("a2", 2, of("a")).await;
    b.add("b1", 3, of("b")).await;
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (noted, clock) = (runs.clone(), b.clock.clone());
    let worker = b.worker().concurrency(1).on::<Text>(move |job: Active<Text>| {
        noted.lock().expect("runs").push((job.data().n, job.attempt(), clock.now()));
        async move {
            if job.started() == 1 && job.data().n == 1 {
                Err(Exit::SlowDownGroup(Duration::from_millis(400)))
            } else {
                Ok(0)
            }
        }
    });
    let (_, report) = during(worker, b.until_ended(3)).await;
    assert_eq!((report.done, report.returned), (3, 1));
    let runs = runs.lock().expect("runs");
    assert_eq!(runs.iter().map(|(n, attempt, _)| (*n, *attempt)).collect::<Vec<_>>(), [(1, 1), (3, 1), (1, 1), (2, 1)]);
    assert!(runs[2].2.since(runs[0].2) >= Duration::from_millis(400), "{runs:?}");
}

/// Nothing rings at the end of a window: whoever is idle has to know when it is.
pub async fn an_idle_worker_starts_a_group_when_its_window_is_over(h: &impl Harness) {
    let b = Bench::on(h);
    let rate = Rate { max: NonZeroU32::MIN, per: Duration::from_millis(300) };
    let defaults = GroupDefaults { concurrency: None, rate: Some(rate) };
    b.queue.groups().set_defaults(defaults).await.expect("defaults");
    b.add_many(3, &of("a")).await;
    let worker = b.worker().concurrency(4).on::<Text>(async |_: Active<Text>| Ok(0));
    let (_, report) = during(worker, b.until_ended(3)).await;
    assert_eq!(report.done, 3);
    let mut starts = Vec::new();
    for n in 0..3 {
        starts.push(b.given.get(&format!("a{n}")).await.processed_on.expect("it was started"));
    }
    for pair in starts.windows(2) {
        let gap = pair[1].since(pair[0]);
        assert!(gap >= rate.per && gap < Duration::from_secs(3), "{starts:?}");
    }
}

/// However many workers there are, and whatever becomes of the jobs: no slot is lost.
pub async fn a_groups_cap_holds_over_all_workers(h: &impl Harness) {
    let b = Bench::on(h);
    let defaults = GroupDefaults { concurrency: NonZeroU32::new(2), rate: None };
    b.queue.groups().set_defaults(defaults).await.expect("defaults");
    let options = |n: u32| JobOptions { attempts: 2, ..of(["a", "b", "c"][n as usize % 3]) };
    for n in 0..60 {
        b.add(&format!("j{n}"), n, options(n)).await;
    }
    let running = Arc::new(Mutex::new([0_u32; 3]));
    let worker = || {
        let running = running.clone();
        b.worker().concurrency(8).on::<Text>(move |job: Active<Text>| {
            let running = running.clone();
            async move {
                let group = job.data().n as usize % 3;
                let now = {
                    let mut all = running.lock().expect("running");
                    all[group] += 1;
                    all[group]
                };
                tokio::task::yield_now().await;
                running.lock().expect("running")[group] -= 1;
                match (now, job.data().n % 7, job.attempt()) {
                    (3.., ..) => Err(Exit::give_up("more than two of one group at once")),
                    (_, 0, 1) => Err("once more".into()),
                    _ => Ok(0),
                }
            }
        })
    };
    let (((), second), first) = during(worker(), during(worker(), b.until_ended(60))).await;
    assert_eq!((first.done + second.done, first.dead + second.dead), (60, 0));
    assert_eq!(b.queue.groups().count().await.expect("count"), 0, "all slots were given back");
}

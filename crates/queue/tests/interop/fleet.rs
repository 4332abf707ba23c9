//! A mixed fleet on one queue: four producers, workers of four kinds that are killed and started anew, jobs of every kind.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use launchkit_queue::{Position, Told};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::cell::RUNTIME;
use crate::look::Look;
use crate::ours::Ours;
use crate::side::{Side, Who};

const QUEUE: &str = "fleet";
const JOBS: usize = 5_000;
const FLOWS: usize = 100;
const BULK: usize = 200;
/// The job that is added when all is done.
const LAST: &str = "last";
/// What the whole may take.
const BOUND: Duration = Duration::from_secs(240);
/// A worker dies whenever so many more jobs have ended.
const DEATHS: [Who; 8] =
    [Who::Node, Who::Ours, Who::Official, Who::Python, Who::Node, Who::Ours, Who::Official, Who::Python];
const FLEET: [Who; 4] = [Who::Ours, Who::Node, Who::Python, Who::Official];

/// A job by its number, and whether it is to fail for good.
fn job(n: usize) -> (Value, bool) {
    let id = format!("j{n}");
    let slow = 1 + n % 4;
    let (data, mut opts) = match n % 10 {
        0 => (json!({ "slow": slow }), json!({ "priority": 1 + n % 50 })),
        1 => (json!({ "slow": slow }), json!({ "delay": 1 + n % 3_000 })),
        2 => (
            json!({ "slow": slow, "fail": 1 }),
            json!({ "attempts": 3, "backoff": { "type": "exponential", "delay": 40 } }),
        ),
        3 if n % 20 == 3 => (json!({ "fail": 9 }), json!({ "attempts": 2 })),
        3 => (json!({ "gone": "useless" }), json!({ "attempts": 4 })),
        4 => (json!({ "slow": slow, "fail": 2 }), json!({ "attempts": 3, "priority": 7 })),
        5 => (json!({ "slow": slow }), json!({ "lifo": true })),
        6 => (json!({ "slow": 30 }), json!({})),
        _ => (json!({ "slow": slow }), json!({})),
    };
    opts["jobId"] = json!(id);
    (json!({ "name": "job", "data": data, "opts": opts }), n % 10 == 3)
}

/// A parent of two, in the same queue; of every third, a child fails.
fn flow(n: usize) -> Value {
    let child = |k: usize| {
        let fails = n.is_multiple_of(3) && k == 0;
        let data = if fails { json!({ "gone": "child" }) } else { json!({ "slow": 2 }) };
        let opts = json!({ "jobId": format!("c{n}-{k}"), "ignoreDependencyOnFailure": true });
        json!({ "name": "child", "queueName": QUEUE, "data": data, "opts": opts })
    };
    json!({
        "name": "parent", "queueName": QUEUE, "data": { "children": true }, "opts": { "jobId": format!("p{n}") },
        "children": [child(0), child(1)],
    })
}

/// Each final event of the queue, by the job's id, told live, so that a trimmed log hides none; up to the job [`LAST`].
async fn follow(ours: &Ours, ended: watch::Sender<usize>) -> BTreeMap<String, Vec<String>> {
    let mut events = ours.queue(QUEUE).events(Position::START);
    let mut finals: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        match events.next().await.expect("events") {
            Told::Event(_, event) if matches!(event.name(), "completed" | "failed") => {
                let id = event.job().expect("a job").to_string();
                finals.entry(id).or_default().push(event.name().to_owned());
                ended.send_replace(finals.len());
            }
            Told::Event(_, event) if event.job().is_some_and(|id| id.as_str() == LAST) => return finals,
            Told::Event(..) => {}
            Told::Gap(at) => panic!("events before {at} are lost"),
        }
    }
}

/// One producer's share.
async fn produce(side: &Side, share: usize) {
    let jobs: Vec<Value> = (0..JOBS - 3 * FLOWS).filter(|n| n % FLEET.len() == share).map(|n| job(n).0).collect();
    for bulk in jobs.chunks(BULK) {
        side.bulk(QUEUE, bulk.to_vec()).await;
    }
    for n in (0..FLOWS).filter(|n| n % FLEET.len() == share) {
        side.flow(flow(n)).await;
    }
}

async fn employ(who: Who, number: usize) -> Side {
    let side = Side::mortal(who).await;
    let options = json!({ "concurrency": 8, "lockDuration": 2_000, "stalledInterval": 500, "maxStalledCount": 100 });
    side.work(QUEUE, &format!("{}-{number}", who.name()), options).await;
    side
}

#[test]
fn five_thousand_jobs_end_once_each() {
    RUNTIME.block_on(async { timeout(BOUND, run()).await.expect("the fleet ends in time") });
}

async fn run() {
    let ours = Ours::open().await;
    let look = Look::at(QUEUE).await;
    let (tell, mut ended) = watch::channel(0);
    let begun = Instant::now();
    let working = async {
        let producing = async {
            let sides = [
                Side::of(FLEET[0]).await,
                Side::of(FLEET[1]).await,
                Side::of(FLEET[2]).await,
                Side::of(FLEET[3]).await,
            ];
            tokio::join!(produce(&sides[0], 0), produce(&sides[1], 1), produce(&sides[2], 2), produce(&sides[3], 3));
        };
        let dying = async {
            let mut fleet = Vec::new();
            for (number, who) in FLEET.into_iter().enumerate() {
                fleet.push(employ(who, number).await);
            }
            for (death, who) in DEATHS.into_iter().enumerate() {
                let due = (death + 1) * JOBS / (DEATHS.len() + 2);
                ended.wait_for(|ended| *ended >= due).await.expect("it is followed");
                println!("{:?}: {} have ended, and {} dies", begun.elapsed(), due, who.name());
                let at = fleet.iter().position(|side| side.who == who).expect("there is one of each");
                fleet.swap_remove(at).kill(QUEUE).await;
                fleet.push(employ(who, FLEET.len() + death).await);
            }
            println!("{:?}: the last death is behind us", begun.elapsed());
            ended.wait_for(|ended| *ended == JOBS).await.expect("it is followed");
            println!("{:?}: all have ended", begun.elapsed());
            for side in fleet {
                side.forget(QUEUE).await;
            }
        };
        tokio::join!(producing, dying);
        // Nobody works any more: what is told before this is all there is.
        let queue = ours.queue(QUEUE);
        let last = queue.add_named("last", ()).id(LAST).await.expect("added");
        queue.remove(last.id()).await.expect("removed");
    };
    let (finals, ()) = tokio::join!(follow(&ours, tell), working);
    check(&look, &finals).await;
}

async fn check(look: &Look, finals: &BTreeMap<String, Vec<String>>) {
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    for n in 0..JOBS - 3 * FLOWS {
        expected.insert(format!("j{n}"), if job(n).1 { "failed" } else { "completed" });
    }
    for n in 0..FLOWS {
        expected.insert(format!("p{n}"), "completed");
        expected.insert(format!("c{n}-0"), if n.is_multiple_of(3) { "failed" } else { "completed" });
        expected.insert(format!("c{n}-1"), "completed");
    }
    let wrong: Vec<_> = expected
        .iter()
        .filter(|(id, end)| finals.get(*id).is_none_or(|ends| ends[..] != [(**end).to_owned()]))
        .map(|(id, end)| format!("{id}: {end}, but {:?}", finals.get(id)))
        .collect();
    assert!(wrong.is_empty(), "{} of {JOBS} did not end as they should, once: {wrong:#?}", wrong.len());
    assert_eq!(finals.len(), JOBS);
    for (set, end) in [("completed", "completed"), ("failed", "failed")] {
        let kept: BTreeSet<String> = look.ask(&["ZRANGE", &look.key(set), "0", "-1"]).await;
        let meant: BTreeSet<String> = expected.iter().filter(|(_, of)| **of == end).map(|(id, _)| id.clone()).collect();
        assert_eq!(kept.len(), meant.len(), "{set}");
        assert_eq!(kept, meant, "{set}");
    }
    assert_eq!(look.leftovers().await, Vec::<String>::new(), "left over");
    let stalls = rescued(look).await;
    println!("{JOBS} jobs, {} deaths, {stalls} jobs rescued", DEATHS.len());
    assert!(stalls > 0, "no death hit a job: this shows nothing");
}

/// How many jobs were found stalled.
async fn rescued(look: &Look) -> usize {
    let mut stalls = 0;
    for id in look.jobs().await {
        stalls += usize::from(look.hash(&id).await.contains_key("stc"));
    }
    stalls
}

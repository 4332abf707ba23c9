//! Rescues, drains and removals, of more than one step looks at.

use super::*;

/// Of very many active jobs the younger ones are looked at, too.
#[tokio::test]
async fn a_stalled_job_behind_thousands_of_older_ones_is_rescued() {
    let (server, q) = case().await;
    q.waiting(&["one", "two", "three"], at(0)).await;
    assert_eq!(q.take(3, at(1)).await.len(), 3);
    let older = "for n = 1, 12000 do
      redis.call('RPUSH', 'bull:q:active', 'old' .. n)
      redis.call('SET', 'bull:q:old' .. n .. ':lock', 't')
    end";
    server.command(&["EVAL", older, "0"]).expect("older ones");
    ask(&server, "DEL bull:q:one:lock bull:q:three:lock bull:q:old6000:lock");
    assert_eq!(q.rescue(9, at(2)).await, Rescued { jobs: ["old6000", "one", "three"].map(id).into(), more: false });
    assert_eq!(
        (ask(&server, "LLEN bull:q:active"), ask(&server, "LINDEX bull:q:active 0")),
        ("12000".into(), "two".into())
    );
    assert_eq!(q.take_ids(9, at(3)).await, ["one", "three"]);
    let step = Rescue { queue: q.queue.clone(), max_stalled: 9, most: 1 };
    ask(&server, "DEL bull:q:one:lock bull:q:three:lock bull:q:two:lock");
    let mut rescued = Vec::new();
    for more in [true, true, true, false] {
        let step = q.backend.rescue(step.clone(), at(4)).await.expect("a rescue");
        assert_eq!(step.more, more);
        rescued.extend(step.jobs);
    }
    assert_eq!(rescued, ["two", "one", "three"].map(id));
}

/// A count that is no number counts as none; what is no job at all stays, and keeps nobody else.
#[tokio::test]
async fn a_job_that_cannot_be_rescued_keeps_no_other() {
    let (server, q) = case().await;
    q.waiting(&["a", "b", "c"], at(0)).await;
    assert_eq!(q.take(3, at(1)).await.len(), 3);
    ask(&server, "DEL bull:q:a:lock bull:q:b:lock bull:q:c:lock bull:q:b");
    ask(&server, "HSET bull:q:a stc many priority nan");
    ask(&server, "HSET bull:q:c stc 4");
    ask(&server, "SET bull:q:b text");
    assert_eq!(q.rescue(9, at(2)).await.jobs, ["a", "c"].map(id));
    assert_eq!(ask(&server, "LRANGE bull:q:active 0 -1"), "b");
    assert_eq!((ask(&server, "HGET bull:q:a stc"), ask(&server, "HGET bull:q:c stc")), ("1".into(), "5".into()));
    let mut taken = q.take_ids(9, at(3)).await;
    taken.sort();
    assert_eq!(taken, ["a", "c"]);
    // What cannot be put where it belongs stays where it is, and no stall is counted.
    q.add(vec![named("p", priority(5))], at(4)).await;
    assert_eq!(q.take_ids(1, at(4)).await, ["p"]);
    ask(&server, "SET bull:q:prioritized text");
    ask(&server, "DEL bull:q:c:lock bull:q:p:lock");
    assert_eq!(q.rescue(9, at(5)).await.jobs, [id("c")]);
    ask(&server, "DEL bull:q:prioritized");
    assert_eq!(q.rescue(9, at(6)).await.jobs, [id("p")]);
    assert_eq!((q.get("p").await.stalls, q.take_ids(9, at(7)).await.join(" ")), (1, "c p".into()));
}

/// More of them than a drain looks at in one step: it passes over them, once.
#[tokio::test]
async fn a_drain_ends_whatever_ids_have_no_job() {
    let (server, q) = case().await;
    let gone = "for n = 1, 1500 do redis.call('RPUSH', 'bull:q:wait', 'gone' .. n) end";
    server.command(&["EVAL", gone, "0"]).expect("ids");
    q.waiting(&["a", "b"], at(0)).await;
    let store = Store::redis(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    let queue = Queue::new(&store, "q").expect("a name");
    let drained = tokio::time::timeout(Duration::from_secs(30), async { queue.admin().drain().await });
    assert_eq!(drained.await.expect("it ends").expect("drained"), 2);
    assert_eq!(ask(&server, "LLEN bull:q:wait"), "1500");
}

/// Where it goes on is told by a job, not by a number: workers that take meanwhile make it pass over nothing.
#[tokio::test]
async fn a_drain_by_choice_meets_every_job_while_workers_take() {
    let (_server, q) = case().await;
    for from in [0, 1_000, 2_000] {
        let named = |n: i32| NewJob { name: if n % 3 == 0 { "drop" } else { "keep" }.into(), ..job(plain()) };
        q.add((from..from + 1_000).map(named).collect(), at(0)).await;
    }
    let pick = Pick { name: Some("drop".into()), ..Pick::default() };
    let (mut after, mut dropped, mut taken, mut steps) = (None, 0, 0, 0);
    loop {
        let sweep = Sweep { pick: pick.clone(), after, ..Sweep::all(q.queue.clone(), SweepWhat::DrainWaiting, 100) };
        let swept = q.backend.sweep(sweep, at(1)).await.expect("a step");
        dropped += swept.done.len();
        after = swept.next;
        if after.is_none() {
            break;
        }
        steps += 1;
        // Less than it has passed at first; later the job behind which it stood is taken, too.
        let held = q.take(if steps < 8 { 20 } else { 120 }, at(1)).await;
        taken += held.len();
        assert!(held.iter().all(|held| &*held.name == "keep") || steps > 8, "{steps}");
        dropped += held.iter().filter(|held| &*held.name == "drop").count();
    }
    let left = q.counts().await.waiting as usize;
    assert_eq!((dropped, steps < 60), (1_000, true), "{taken} taken, {left} left, {steps} steps");
    while let [held, ..] = &q.take(1_000, at(2)).await[..] {
        assert_eq!(&*held.name, "keep");
    }
}

/// More than it looks through for its place.
#[tokio::test]
async fn a_drain_by_choice_that_has_lost_its_place_begins_anew() {
    let (_server, q) = case().await;
    for from in (0..14_000).step_by(1_000) {
        let named = |n: i32| NewJob { name: if n % 100 == 0 { "drop" } else { "keep" }.into(), ..job(plain()) };
        q.add((from..from + 1_000).map(named).collect(), at(0)).await;
    }
    let pick = Pick { name: Some("drop".into()), ..Pick::default() };
    let (mut after, mut dropped) = (None, Vec::new());
    for step in 1.. {
        let sweep = Sweep { pick: pick.clone(), after, ..Sweep::all(q.queue.clone(), SweepWhat::DrainWaiting, 1_000) };
        let swept = q.backend.sweep(sweep, at(1)).await.expect("a step");
        dropped.push(swept.done.len());
        after = swept.next;
        if after.is_none() {
            break;
        }
        for _ in 0..if step == 8 { 6 } else { 0 } {
            assert_eq!(q.take(1_000, at(1)).await.len(), 1_000);
        }
    }
    // Two steps of those that it has seen, then what it has not.
    assert_eq!((dropped.iter().sum::<usize>(), dropped.len(), dropped[8]), (140, 8 + 8, 0));
}

/// Its time is over while the queue is paused: who waits for work is called.
#[tokio::test]
async fn resuming_calls_for_groups_whose_jobs_are_parked() {
    let (server, q) = case().await;
    q.add(vec![named("a1", of("a"))], at(0)).await;
    q.backend.group(&q.queue, &"a".into(), GroupControl::HoldUntil(at(100)), at(1)).await.expect("a hold");
    q.backend.control(&q.queue, Control::Pause, at(2)).await.expect("a pause");
    assert_eq!(ask(&server, "EXISTS bull:q:marker bull:q:prioritized bull:q:wait"), "0");
    q.backend.control(&q.queue, Control::Resume, at(200)).await.expect("a resume");
    assert_eq!(ask(&server, "ZRANGE bull:q:marker 0 -1"), "0");
    assert_eq!(q.take_ids(9, at(201)).await, ["a1"]);
}

/// The record of a family whose parent somebody else has removed.
#[tokio::test]
async fn a_removed_queue_leaves_no_record_of_a_family() {
    let (server, q) = case().await;
    let kids = QueueName::new("kids").expect("a name");
    let node = |queue: &QueueName, id: &str, parent| Node { queue: queue.clone(), job: named(id, plain()), parent };
    let under = || Some(Under { parent: Parent::Node(0), on_failure: launchkit_queue::ChildFailure::Ignore });
    for n in 0..5 {
        let nodes = vec![node(&q.queue, &format!("top{n}"), None), node(&kids, &format!("kid{n}"), under())];
        q.backend.add_flow(AddFlow { nodes }, at(0)).await.expect("a flow");
    }
    for n in 0..5 {
        ask(&server, &format!("DEL bull:q:top{n} bull:q:top{n}:dependencies"));
    }
    ask(&server, "DEL bull:q:waiting-children");
    let records = |server: &RedisServer| ask(server, "KEYS bull::lk:q:kids:*").lines().count();
    assert_eq!(records(&server), 5);
    q.backend.control(&q.queue, Control::Pause, at(1)).await.expect("a pause");
    let mut steps = 0;
    while let Obliterated::More(_) =
        q.backend.obliterate(&q.queue, launchkit_queue::HeldJobs::Refuse, 2, at(2)).await.expect("a step")
    {
        steps += 1;
        assert!(steps < 10, "steps");
    }
    assert!(steps > 0);
    assert_eq!((records(&server), ask(&server, "KEYS bull::lk:q:*")), (0, "bull::lk:q:family".into()));
}

/// What turns of few jobs saw is put aside, of 63 calls at the most, and lost neither there nor when it is added up.
#[tokio::test]
async fn what_minutes_saw_is_put_aside_in_bounds() {
    let (server, q) = case().await;
    q.add((0..100).map(|_| job(plain())).collect(), at(0)).await;
    for _ in 0..100 {
        let lock = q.one(at(1)).await.lock;
        q.settle(&lock, done(), at(2)).await;
        let aside: usize = ask(&server, "LLEN bull::lk:q:lately").parse().expect("a length");
        assert!(aside < 64, "{aside}");
    }
    let minutes = q.backend.metrics(&q.queue, None, 9).await.expect("minutes");
    assert_eq!(minutes.iter().map(|minute| minute.completed).sum::<u64>(), 100);
    assert_eq!(ask(&server, "EXISTS bull::lk:q:lately"), "0");
}

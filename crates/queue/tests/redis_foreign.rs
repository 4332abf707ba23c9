//! What other clients may leave under the keys of a queue, and what a script must bear.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, FailureKind, JobOptions, Outcome, Queue, QueueName, State, Store};
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

/// Between the scores of two priorities.
const CLASS: f64 = 4_294_967_296.0;

fn ask(server: &RedisServer, command: &str) -> String {
    server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer").trim().to_owned()
}

/// What a client without a check of priorities adds.
fn adds(server: &RedisServer, id: &str, priority: i64, opts: &str) {
    let hash = format!("HSET bull:q:{id} name other data 1 opts {opts} timestamp {T0} delay 0 priority {priority}");
    ask(server, &hash);
    ask(server, &format!("ZADD bull:q:prioritized {} {id}", priority as f64 * CLASS + 1.0));
}

async fn next_of(q: &Given, now: launchkit_queue::Timestamp) -> (Vec<String>, Next) {
    let turned = q.turn(Vec::new(), Some(q.wish(9)), now).await;
    (ids(&turned.held), turned.next)
}

fn of(group: &str) -> JobOptions {
    JobOptions { group: Some(group.into()), ..plain() }
}

async fn case() -> (RedisServer, Given) {
    let server = RedisServer::start(Kind::Redis).expect("a server");
    let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
    (server, Given::over(Arc::new(store), QueueName::new("q").expect("a name")))
}

/// What is kept for after an owner's end is stored as far as it can be read; the end itself stands, and so do the others.
#[tokio::test]
async fn a_kept_job_with_unreadable_options_harms_no_end() {
    let (server, q) = case().await;
    let options = JobOptions { deduplication: Some(Dedup::keep_last("d")), ..plain() };
    q.add(vec![named("owner", options), named("other", plain())], at(0)).await;
    let held = q.take(2, at(1)).await;
    server.command(&["HSET", "bull:q:dn:d", "name", "n", "data", "1", "opts", "{", "jid", "last"]).expect("kept");
    let ends = held.iter().map(|held| verdict(&held.lock, done())).collect();
    assert_eq!(q.turn(ends, None, at(2)).await.ends, [End::Applied, End::Applied]);
    assert_eq!(q.list(State::Completed).await.len(), 2);
    let last = q.one(at(3)).await;
    let kind = last.failed_already.map(|failure| failure.kind);
    assert_eq!((last.lock.id.as_str(), kind), ("last", Some(FailureKind::Damaged)));
}

/// Another client's drain leaves ids without a job: the pump must not ask for them again and again.
#[tokio::test]
async fn ids_without_a_job_are_no_reason_to_look_again_at_once() {
    let (server, q) = case().await;
    server.command(&["RPUSH", "bull:q:wait", "gone-1", "gone-2"]).expect("ids");
    let looked = q.turn(Vec::new(), Some(q.wish(1)), at(5)).await;
    assert!(looked.held.is_empty() && looked.next == Next::Empty, "{looked:?}");
    assert_eq!(server.command(&["EXISTS", "bull:q:marker", "bull:q:gone-1"]).expect("an answer").trim(), "0");
    // One with a record behind them is found, if later.
    q.waiting(&["j"], at(6)).await;
    let mut found = Vec::new();
    for now in [7, 1_007, 2_007] {
        found.extend(q.take_ids(1, at(now)).await);
    }
    assert_eq!(found, ["j"]);
}

/// Nor do they stand in the way of jobs with a priority.
#[tokio::test]
async fn an_id_without_a_job_keeps_no_job_with_a_priority_waiting() {
    let (server, q) = case().await;
    server.command(&["RPUSH", "bull:q:wait", "gone"]).expect("an id");
    q.add(vec![named("last", JobOptions { priority: 7, ..plain() })], at(0)).await;
    assert_eq!(q.take_ids(1, at(1)).await, ["last"]);
}

/// Nor those behind them in the list, however small the take.
#[tokio::test]
async fn ids_without_a_job_are_passed_over_in_one_take() {
    let (server, q) = case().await;
    q.waiting(&["j"], at(0)).await;
    for n in 0..5 {
        server.command(&["RPUSH", "bull:q:wait", &format!("gone-{n}")]).expect("an id");
    }
    assert_eq!(q.take_ids(1, at(1)).await, ["j"]);
    assert_eq!(ask(&server, "LLEN bull:q:wait"), "5");
}

/// What lies under a job's key and is none, and children that are none.
#[tokio::test]
async fn an_end_that_cannot_be_written_keeps_no_other_of_its_call() {
    let (server, q) = case().await;
    let names: Vec<String> = (0..10).map(|n| format!("j{n}")).collect();
    q.waiting(&names.iter().map(String::as_str).collect::<Vec<_>>(), at(0)).await;
    let held = q.take(10, at(1)).await;
    ask(&server, "DEL bull:q:j4");
    ask(&server, "SET bull:q:j4 text");
    ask(&server, "SET bull:q:j9:dependencies text");
    let ends = held.iter().enumerate().map(|(n, held)| {
        let outcome = [(0, Outcome::Back), (9, Outcome::AwaitChildren)].into_iter().find(|(of, _)| *of == n);
        verdict(&held.lock, outcome.map_or_else(done, |(_, outcome)| outcome))
    });
    let ends: Vec<Verdict> = ends.collect();
    let mut expected = [End::Applied; 10];
    (expected[4], expected[9]) = (End::Gone, End::LockLost);
    assert_eq!(q.turn(ends.clone(), None, at(2)).await.ends, expected);
    // The same call again, as when its answer was lost.
    expected.iter_mut().filter(|end| **end == End::Applied).for_each(|end| *end = End::AlreadyApplied);
    assert_eq!(q.turn(ends, None, at(3)).await.ends, expected);
    assert_eq!(ask(&server, "LRANGE bull:q:wait 0 -1"), "j0");
    assert_eq!(
        (ask(&server, "LRANGE bull:q:active 0 -1"), ask(&server, "EXISTS bull:q:j9:lock")),
        ("j9".into(), "1".into())
    );
    assert_eq!(q.list(State::Completed).await.len(), 7);
}

/// It stays active until somebody mends the group.
#[tokio::test]
async fn a_job_of_a_damaged_group_is_no_reason_to_rescue_no_other() {
    let (server, q) = case().await;
    q.add(vec![named("before", plain()), named("g", of("a")), named("behind", plain())], at(0)).await;
    assert_eq!(q.take(3, at(1)).await.len(), 3);
    server.command(&["HSET", "bull::lk:q:groups", "a", "\u{92}"]).expect("damaged");
    ask(&server, "DEL bull:q:before:lock bull:q:g:lock bull:q:behind:lock");
    assert_eq!(q.rescue(9, at(2)).await.jobs.len(), 2);
    assert_eq!(ask(&server, "LRANGE bull:q:active 0 -1"), "g");
    assert_eq!(ask(&server, "LRANGE bull:q:wait 0 -1"), "behind\nbefore");
}

/// Another client's worker that fails a canceled job takes away "defa" alone.
#[tokio::test]
async fn a_cancel_that_another_worker_has_carried_out_is_over() {
    let (server, q) = case().await;
    q.waiting(&["j"], at(0)).await;
    assert_eq!(q.edit(Edit::Cancel(id("j")), at(1)).await, Edited::Done);
    ask(&server, "HDEL bull:q:j defa");
    let held = q.one(at(2)).await;
    assert!(held.failed_already.is_none());
    assert!(q.beat(vec![held.lock.clone()], at(3)).await.cancel.is_empty());
    q.settle(&held.lock, dead(), at(4)).await;
    assert_eq!(q.edit(Edit::Retry(id("j"), Made::Keep), at(5)).await, Edited::Done);
    assert_eq!(ask(&server, "HEXISTS bull:q:j lk:c"), "0");
}

#[tokio::test]
async fn a_concurrency_that_is_no_number_limits_nothing() {
    let (server, q) = case().await;
    ask(&server, "HSET bull:q:meta concurrency many");
    q.add(vec![job(plain())], at(0)).await;
    assert_eq!(ask(&server, "ZRANGE bull:q:marker 0 -1"), "0");
    assert_eq!(q.take_ids(1, at(1)).await, ["1"]);
}

/// A service whose prefix another program used before is known by its worker's first sign of life.
#[tokio::test]
async fn a_queue_that_others_filled_first_is_listed_by_its_workers_beat() {
    let (server, q) = case().await;
    server.command(&["SET", "bull:q:id", "5"]).expect("a counter");
    q.add(vec![job(plain())], at(0)).await;
    q.beat(Vec::new(), at(1)).await;
    assert_eq!(q.backend.queues().await.expect("queues"), std::slice::from_ref(&q.queue));
}

/// More than one call of a script's could take.
#[tokio::test]
async fn of_very_many_log_lines_the_last_thousand_are_kept() {
    let (_server, q) = case().await;
    q.waiting(&["j"], at(0)).await;
    let lines = (0..20_000).map(|n| n.to_string().into()).collect();
    assert_eq!(q.edit(Edit::Log(id("j"), lines), at(1)).await, Edited::Done);
    let (kept, total) = q.lines("j").await;
    assert_eq!(
        (kept.first().map(String::as_str), kept.last().map(String::as_str), total),
        (Some("19000"), Some("19999"), 1_000)
    );
}

/// Ends of one call are taken off the active list together. Those before and behind them stay, those without a lock too, and
/// one that another client has taken off is lost.
#[tokio::test]
async fn what_ends_together_leaves_the_others_active_in_their_order() {
    let (server, q) = case().await;
    let names: Vec<String> = (0..24).map(|n| format!("j{n}")).collect();
    q.waiting(&names.iter().map(String::as_str).collect::<Vec<_>>(), at(0)).await;
    let held = q.take(24, at(1)).await;
    let ask = |command: &str| server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer");
    ask("DEL bull:q:j4:lock");
    ask("LREM bull:q:active 1 j6");
    // The sixteen oldest are looked at together; j20 to j22 are younger.
    let ending = [2, 4, 5, 6, 7, 8, 20, 21, 22];
    let ends = ending.iter().map(|&n: &usize| verdict(&held[n].lock, done())).collect();
    let ended = q.turn(ends, None, at(2)).await.ends;
    let lost = |n: usize| [4, 6].contains(&n);
    let expected: Vec<End> = ending.iter().map(|&n| if lost(n) { End::LockLost } else { End::Applied }).collect();
    assert_eq!(ended, expected);
    let stay = (0..24).rev().filter(|n| *n == 4 || !ending.contains(n)).map(|n| format!("j{n}"));
    assert_eq!(
        ask("LRANGE bull:q:active 0 -1").lines().map(str::to_owned).collect::<Vec<_>>(),
        stay.collect::<Vec<_>>()
    );
    assert_eq!(q.list(State::Completed).await.len(), 7);
}

/// Below 0 it comes before the others, beyond ours behind them; pages and sweeps meet each once.
#[tokio::test]
async fn a_job_with_any_priority_is_listed_swept_and_run() {
    let (server, q) = case().await;
    q.add(vec![named("p", priority(5)), named("w", plain())], at(0)).await;
    adds(&server, "first", -3_000_000_000, "{}");
    adds(&server, "below", -1, "{}");
    adds(&server, "far", 4_194_304, "{}");
    adds(&server, "last", 1 << 31, "{}");
    assert_eq!(q.list(State::Prioritized).await, ["first", "below", "p", "far", "last"]);
    let mut met = Vec::new();
    for group in [false, true] {
        if group {
            // From now on the last ones stand in the place of heads, whatever they are.
            q.add(vec![named("a1", of("a")), named("a2", of("a"))], at(1)).await;
            assert_eq!(q.list(State::Prioritized).await, ["first", "below", "p", "a1", "a2"]);
        }
        for most in [1, 2, 9] {
            let (mut after, mut all) = (None, Vec::new());
            loop {
                let step = Sweep { after, dry: true, ..Sweep::all(q.queue.clone(), SweepWhat::DrainWaiting, most) };
                let swept = q.backend.sweep(step, at(2)).await.expect("a step");
                all.extend(swept.done.iter().map(ToString::to_string));
                after = swept.next;
                if after.is_none() {
                    break;
                }
                assert!(all.len() < 20, "{all:?}");
            }
            met.push(all.join(" "));
        }
    }
    let (without, with) = ("w first below p far last".to_owned(), "a2 w first below p a1".to_owned());
    assert_eq!(met, [vec![without; 3], vec![with; 3]].concat());
    assert_eq!(q.edit(Edit::Remove(id("a2")), at(3)).await, Edited::Done);
    assert_eq!(q.edit(Edit::Remove(id("a1")), at(3)).await, Edited::Done);
    assert_eq!(q.take_ids(9, at(4)).await, ["w", "first", "below", "p", "far", "last"]);
}

/// It stands among the heads of groups and is none: workers do not spin for it, and the next rescue puts it where it is taken.
#[tokio::test]
async fn what_stands_among_the_heads_and_is_none_runs_after_a_rescue() {
    let (server, q) = case().await;
    q.add(vec![named("a1", of("a")), named("b1", of("b")), named("b2", of("b"))], at(0)).await;
    adds(&server, "far", 5_000_000, "{}");
    adds(&server, "last", 1 << 31, "{}");
    adds(&server, "mine", 4_194_304, r#"{"gr":"a"}"#);
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(1)).await;
    assert_eq!(ids(&turned.held), ["a1", "b1", "b2"]);
    assert_eq!(next_of(&q, at(1)).await, (vec![], Next::Empty));
    ask(&server, "DEL bull:q:marker");
    q.rescue(9, at(2)).await;
    assert_eq!(ask(&server, "ZRANGE bull:q:marker 0 -1"), "0");
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(3)).await;
    assert_eq!((ids(&turned.held), turned.next), (vec!["far".into(), "last".into(), "mine".into()], Next::Empty));
    // One that is given back stands behind all priorities at once.
    let ends = turned.held.iter().map(|held| verdict(&held.lock, launchkit_queue::Outcome::Back)).collect();
    q.turn(ends, None, at(4)).await;
    let again = q.turn(Vec::new(), Some(q.wish(9)), at(5)).await;
    assert_eq!((again.held.len(), again.next), (3, Next::Empty));
    // One whose removal is asked for where it stands astray.
    q.add(vec![named("b3", of("b"))], at(6)).await;
    adds(&server, "gone", 5_000_000, "{}");
    assert_eq!(q.edit(Edit::Remove(id("gone")), at(7)).await, Edited::Done);
    assert_eq!(ask(&server, "ZRANGE bull:q:prioritized 0 -1"), "b3");
}

/// More of them than one look goes through, behind very many heads.
#[tokio::test]
async fn however_many_heads_there_are_what_is_none_is_found() {
    let (server, q) = case().await;
    q.add((0..900).map(|n| named(&format!("j{n}"), of(&format!("g{n}")))).collect(), at(0)).await;
    for n in 0..700 {
        adds(&server, &format!("far{n}"), 5_000_000, "{}");
    }
    let mut looks = 0;
    while ask(&server, "ZCOUNT bull:q:prioritized 18014398509481984 +inf") != "900" {
        looks += 1;
        assert!(looks < 6, "looks");
        q.rescue(9, at(looks)).await;
    }
    assert_eq!((looks, ask(&server, "EXISTS bull::lk:q:astray")), (4, "0".into()));
    let taken = q.take_ids(1_000, at(9)).await;
    assert_eq!((&*taken[0], &*taken[699], &*taken[700]), ("far0", "far99", "j0"));
}

/// Entries in the order of heads that no record knows, of another time, or missing.
#[tokio::test]
async fn an_order_of_heads_that_is_wrong_is_set_right() {
    let (server, q) = case().await;
    q.add(vec![named("a1", of("a")), named("a2", of("a")), named("b1", of("b"))], at(0)).await;
    let heads = ask(&server, "ZRANGE bull::lk:q:heads 0 -1");
    let (a, b) = heads.split_once('\n').expect("two heads");
    for wrong in ["1 0000077none", "2 0000099a", "3 odd"] {
        ask(&server, &format!("ZADD bull::lk:q:heads {wrong}"));
    }
    ask(&server, &format!("ZADD bull::lk:q:heads 5 {b}"));
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(q.one(at(1)).await.lock.id.to_string());
    }
    taken.sort();
    assert_eq!(taken, ["a1", "a2", "b1"]);
    assert_eq!(next_of(&q, at(1)).await, (vec![], Next::Empty));
    assert_eq!(ask(&server, "EXISTS bull::lk:q:heads bull:q:prioritized bull:q:delayed"), "0");
    // So are those that say when a group is to be looked at.
    q.add(vec![named("d1", of("d")), named("d2", of("d"))], at(1)).await;
    q.backend.group(&q.queue, &"d".into(), GroupControl::HoldUntil(at(500)), at(1)).await.expect("a hold");
    let due = ask(&server, "ZRANGE bull::lk:q:due 0 -1");
    ask(&server, &format!("ZADD bull::lk:q:due 0 {due}"));
    for n in 1..=300 {
        ask(&server, &format!("ZADD bull::lk:q:due 1 {n:07}a"));
    }
    assert_eq!([next_of(&q, at(2)).await.1, next_of(&q, at(2)).await.1], [Next::More, Next::Limited(at(500))]);
    assert_eq!(q.take_ids(9, at(501)).await, ["d1", "d2"]);
    // One that is not in it at all is not taken, and no reason to spin; and one of a score of its own is.
    q.add(vec![named("a3", of("a")), named("b3", of("b"))], at(502)).await;
    ask(&server, &format!("ZREM bull::lk:q:heads {a}"));
    ask(&server, "ZADD bull::lk:q:heads 7 0000055c");
    assert_eq!(q.take_ids(9, at(503)).await, ["b3"]);
    assert_eq!(next_of(&q, at(503)).await, (vec![], Next::Empty));
    q.rescue(9, at(504)).await;
    assert_eq!(ask(&server, "ZRANGE bull::lk:q:heads 0 -1"), a);
    assert_eq!(q.take_ids(9, at(505)).await, ["a3"]);
}

/// Ids of a group whose jobs are gone: one take bears so many, and asks for more as long as it gets on.
#[tokio::test]
async fn a_take_goes_through_so_many_ids_of_a_group_without_a_job() {
    let (server, q) = case().await;
    for from in [0, 1_000, 2_000] {
        q.add((from..from + 1_000).map(|n| named(&format!("j{n}"), of("a"))).collect(), at(0)).await;
    }
    let gone = "for n = 0, 2999 do redis.call('DEL', 'bull:q:j' .. n) end";
    server.command(&["EVAL", gone, "0"]).expect("their jobs are gone");
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(1)).await;
    assert_eq!((turned.held.len(), turned.next), (0, Next::More));
    assert_eq!(ask(&server, "ZCARD bull:q:delayed"), "1999", "the next of them is the head");
    assert_eq!(ask(&server, "LLEN bull:q:wait"), "1000", "they are kept where all such ids are");
    for (ms, left) in [(2, 999), (3, 0)] {
        let turned = q.turn(Vec::new(), Some(q.wish(9)), at(ms)).await;
        assert_eq!((turned.held.len(), turned.next), (0, Next::More));
        assert_eq!(ask(&server, "ZCARD bull:q:delayed"), left.to_string());
    }
    let turned = q.turn(Vec::new(), Some(q.wish(9)), at(4)).await;
    assert_eq!((turned.held.len(), turned.next), (0, Next::At(at(1_004))));
}

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

//! What is and is not under the key of a job, and what ends, beats and takes make of it.

use super::*;

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

/// What lies under a waiting job's key and is no record takes neither the ends nor the other jobs of its turn with it.
#[tokio::test]
async fn a_record_of_another_type_keeps_neither_ends_nor_other_jobs() {
    let (server, q) = case().await;
    for (round, write) in ["SET bull:q:b text", "SADD bull:q:b member"].into_iter().enumerate() {
        let from = 10 * round as i64;
        q.waiting(&["held"], at(from)).await;
        let held = q.one(at(from + 1)).await;
        q.waiting(&["a", "b", "c"], at(from + 2)).await;
        ask(&server, "UNLINK bull:q:b");
        ask(&server, write);
        let turned = q.turn(vec![verdict(&held.lock, done())], Some(q.wish(3)), at(from + 3)).await;
        assert_eq!(
            (turned.ends.clone(), ids(&turned.held)),
            (vec![End::Applied], vec!["a".to_owned(), "c".to_owned()])
        );
        q.turn(turned.held.iter().map(|held| verdict(&held.lock, done())).collect(), None, at(from + 4)).await;
        for id in ["held", "a", "b", "c"] {
            ask(&server, &format!("UNLINK bull:q:{id}"));
        }
        ask(&server, "DEL bull:q:completed bull:q:wait");
    }
}

/// An id that stands in `wait` and is active is ended, and not handed out as what it was before.
#[tokio::test]
async fn an_id_that_ends_and_waits_is_read_after_its_end() {
    let (server, q) = case().await;
    q.waiting(&["j"], at(0)).await;
    let held = q.one(at(1)).await;
    ask(&server, "RPUSH bull:q:wait j");
    let turned = q.turn(vec![verdict(&held.lock, done())], Some(q.wish(1)), at(2)).await;
    assert_eq!(turned.ends, [End::Applied]);
    assert_eq!((turned.held[0].made, turned.held[0].started), (1, 2));
}

/// A list, set or stream of the queue's that is of another type: an end is refused, by plain turns and by whole ones, and is made
/// when that has been mended.
#[tokio::test]
async fn a_list_of_another_type_refuses_ends_and_loses_none() {
    for (key, outcome) in ["events", "active", "completed", "failed", "stalled"]
        .into_iter()
        .flat_map(|key| [(key, done()), (key, dead())])
    {
        let (server, q) = case().await;
        q.waiting(&["a", "b"], at(0)).await;
        let ends: Vec<Verdict> =
            q.take(2, at(1)).await.iter().map(|held| verdict(&held.lock, outcome.clone())).collect();
        let turn = |ends| Turn { queue: q.queue.clone(), worker: "worker-1".into(), ends, take: Some(q.wish(1)) };
        ask(&server, &format!("COPY bull:q:{key} aside"));
        ask(&server, &format!("SET bull:q:{key} text"));
        let refused = q.backend.turn(turn(ends.clone()), at(2)).await;
        let refused = refused.map_or(true, |turned| turned.ends == [End::LockLost; 2]);
        ask(&server, &format!("DEL bull:q:{key}"));
        if ask(&server, "EXISTS aside") == "1" {
            ask(&server, &format!("RENAME aside bull:q:{key}"));
        }
        // Where nothing of that type was needed, they have ended.
        let ends = q.backend.turn(turn(ends), at(3)).await.expect("mended").ends;
        let expected = if refused { End::Applied } else { End::AlreadyApplied };
        assert_eq!((ends, q.counts().await.active), (vec![expected; 2], 0), "{key}, {outcome:?}");
    }
}

/// An id that waits and stands among those that completed long ago is not taken from under its taker by retention.
#[tokio::test]
async fn an_id_that_waits_and_has_completed_keeps_its_record() {
    let (server, q) = case().await;
    q.waiting(&["a", "b"], at(0)).await;
    let held = q.one(at(1)).await;
    ask(&server, "ZADD bull:q:completed 1 b");
    let newest = Verdict { keep: Keep::newest(1), ..verdict(&held.lock, done()) };
    let turned = q.turn(vec![newest], Some(q.wish(1)), at(2)).await;
    assert_eq!((turned.ends, ids(&turned.held)), (vec![End::Applied], vec!["b".to_owned()]));
    assert_eq!(q.get("b").await.name.as_ref(), "text");
    q.settle(&turned.held[0].lock, done(), at(3)).await;
}

//! What stands among the heads of groups, and behind all priorities.

use super::*;

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

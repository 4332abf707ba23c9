#![allow(missing_docs)]
use std::sync::Arc; use std::time::Duration;
use launchkit_queue::backend::*;
use launchkit_testkit::RedisHarness as H;
use launchkit_queue::*;
use launchkit_testkit::given::*;
use launchkit_testkit::Harness;
struct Rng(u64);
impl Rng { fn n(&mut self, n: u64) -> u64 { self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); (self.0 >> 33) % n } }
fn def(r: &mut Rng, id: &str) -> Repeat {
    let schedule = match r.n(3) { 0 => Schedule::Every(Duration::from_secs(1)), 1 => Schedule::Every(Duration::from_secs(2)), _ => Schedule::cron("* * * * * *") };
    let options = JobOptions { priority: if r.n(3) == 0 { 2 } else { 0 }, lifo: r.n(3) == 0, attempts: 2, ..JobOptions::default() };
    Repeat { limit: (r.n(3) == 0).then_some(3), end: (r.n(6) == 0).then(|| at(20_000)), overlap: if r.n(3) == 0 { Overlap::Skip } else { Overlap::Allow },
        misfire: match r.n(3) { 0 => Misfire::One, 1 => Misfire::All, _ => Misfire::Skip { after: Duration::from_secs(1) } }, options,
        ..Repeat::named(id, schedule, "text", &r.n(2)).unwrap() }
}
#[tokio::test]
async fn as_in_memory() {
    let mut kinds = std::collections::BTreeMap::new();
    for seed in 1000..2200u64 {
        let h = H::fresh().await; let m = launchkit_testkit::MemoryHarness::fresh().await;
        let (q, p) = (Given::on(&h), Given::on(&m));
        let mut r = Rng(seed * 7919 + 1);
        let mut now = 0i64; let mut held: Vec<(Held, Held)> = Vec::new();
        let ids: Vec<Arc<str>> = ["a", "b:c", "d"].map(Into::into).to_vec();
        let mut trace = Vec::new();
        for _ in 0..60 {
            now += r.n(900) as i64;
            let id = ids[r.n(3) as usize].clone();
            let known = p.backend.repeats(&p.queue, &Repeats::Ids(vec![id.clone()]), 1).await.unwrap().found.pop();
            let slot = known.as_ref().and_then(|k| k.slot).unwrap_or(at(now));
            let job = JobId::of_iteration(&id, slot);
            let edit = match r.n(12) {
                0..=2 => { let d = def(&mut r, &id); let first = d.first(at(now)).unwrap_or(at(now)); let first = if r.n(8) == 0 { slot } else { first }; Some(Edit::Schedule(Put { repeat: Arc::new(d), first })) }
                3 if r.n(3) == 0 => Some(Edit::Unschedule(id.clone())),
                3..=6 => { let next = known.as_ref().and_then(|k| k.repeat.next(slot, at(now))); let slot = if r.n(8) == 0 { at(now) } else { slot };
                    let fate = Fate::ALL[r.n(4) as usize];
                    Some(Edit::Advance(Advance { id: id.clone(), slot, next, tick: Tick::one(fate, slot, at(now)), left: (r.n(3) == 0).then(|| Tick { fate, first: slot.plus(Duration::from_millis(1)), last: slot.plus(Duration::from_millis(3)), count: 2, at: at(now) }) })) }
                7 => Some(Edit::Promote(job)),
                8 => Some(Edit::Remove(job)),
                9 => Some(Edit::Retry(job, if r.n(2) == 0 { Made::Keep } else { Made::Reset })),
                10 => { let (a, b) = (q.take(2, at(now)).await, p.take(2, at(now)).await);
                    let show = |h: &[Held]| h.iter().map(|h| format!("{:?}", (&h.lock.id, &h.data, &h.options, h.started, &h.failed_already))).collect::<Vec<_>>();
                    trace.push(format!("{now} take {:?}", show(&b))); assert_eq!(show(&a), show(&b), "seed {seed} {trace:#?}"); held.extend(a.into_iter().zip(b)); None }
                _ => { if !held.is_empty() { let (a, b) = held.remove(r.n(held.len() as u64) as usize);
                    let outcome = match r.n(3) { 0 => Outcome::Done(Payload::null()), 1 => Outcome::Dead(boom()), _ => Outcome::Retry { at: at(now + 500), failure: boom() } };
                    let keep = if r.n(3) == 0 { Keep::NONE } else { Keep::ALL };
                    let (x, y) = (q.end_keeping(&a.lock, outcome.clone(), keep, at(now)).await, p.end_keeping(&b.lock, outcome.clone(), keep, at(now)).await);
                    trace.push(format!("{now} end {:?} {outcome:?} {y:?}", b.lock.id)); assert_eq!(x, y, "seed {seed} {trace:#?}"); } None }
            };
            if let Some(edit) = edit {
                let (x, y) = (q.edit(edit.clone(), at(now)).await, p.edit(edit.clone(), at(now)).await);
                trace.push(format!("{now} {edit:?} -> {y:?}"));
                *kinds.entry(format!("{:.8} {:.5}", format!("{edit:?}"), format!("{y:?}"))).or_insert(0) += 1;
                assert_eq!(x, y, "seed {seed} {trace:#?}");
            }
            for wanted in [Repeats::Ids(ids.clone()), Repeats::After(None), Repeats::Stuck { before: at(now), after: None }] {
                let (x, y) = (q.backend.repeats(&q.queue, &wanted, 10).await.unwrap(), p.backend.repeats(&p.queue, &wanted, 10).await.unwrap());
                assert_eq!(x.found, y.found, "seed {seed} {wanted:?} {trace:#?}");
            }
            for id in &ids { assert_eq!(q.backend.ticks(&q.queue, id, 100).await.unwrap(), p.backend.ticks(&p.queue, id, 100).await.unwrap(), "seed {seed} {trace:#?}"); }
        }
        let events = |all: Vec<(Position, Event)>| all.into_iter().map(|(_, e)| format!("{e:?}").replace("Prioritized", "Waiting")).collect::<Vec<_>>();
        assert_eq!(q.counts().await, p.counts().await, "seed {seed}");
        for state in State::ALL { let (mut x, mut y) = (q.list(state).await, p.list(state).await); if state.is_final() { x.sort(); y.sort(); } assert_eq!(x, y, "seed {seed} {state} {trace:#?}"); }
        let (x, y) = (events(q.events_after(Position::START).await), events(p.events_after(Position::START).await));
        let (mut xs, mut ys) = (x.clone(), y.clone()); xs.sort(); ys.sort();
        assert_eq!(xs, ys, "seed {seed}");
    }
    println!("{kinds:#?}");
}
#[tokio::test]
async fn a_cursor_goes_on_among_equal_slots() {
    let h = H::fresh().await; let q = Given::on(&h);
    let ids: Vec<String> = (0..57).map(|n| format!("r{:02}", n)).chain(["é".into(), "z:1".into(), "Z".into(), "_".into()]).collect();
    for id in &ids { q.edit(Edit::Schedule(Put { repeat: Arc::new(Repeat::named(id.as_str(), Schedule::Every(Duration::from_secs(1)), "n", &1).unwrap()), first: at(5) }), at(0)).await; q.edit(Edit::Remove(JobId::of_iteration(id, at(5))), at(1)).await; }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = q.backend.repeats(&q.queue, &Repeats::Stuck { before: at(6), after: after.clone() }, 7).await.unwrap();
        seen.extend(page.found.iter().map(|one| one.repeat.id.to_string()));
        // What was found is moved on, as a mender does; the cursor's own one is gone then.
        for one in &page.found { q.edit(Edit::Advance(Advance { id: one.repeat.id.clone(), slot: at(5), next: Some(at(9_000)), tick: Tick::one(Fate::Missed, at(5), at(6)), left: None }), at(6)).await; }
        after = page.next; if after.is_none() { break; }
    }
    let mut all = ids.clone(); all.sort(); assert_eq!(seen, all);
}
#[tokio::test]
async fn many_hands_on_one_scheduler() {
    let h = H::fresh().await; let q = Given::on(&h);
    let other = h.another().await.unwrap();
    let q2 = Given::over(other, q.queue.clone());
    let d = |n: i32| Arc::new(Repeat::named("r", Schedule::Every(Duration::from_secs(1)), "n", &n).unwrap());
    let mut set = tokio::task::JoinSet::new();
    for n in 0..12 { let q = if n % 2 == 0 { q.clone() } else { q2.clone() }; let d = d(n); set.spawn(async move { q.edit(Edit::Schedule(Put { repeat: d, first: at(1_000) }), at(0)).await }); }
    let all = set.join_all().await; println!("{all:?}");
    assert!(all.iter().all(|one| *one == Edited::Due(at(1_000))));
    assert_eq!(q.counts().await.total(), 1);
}

//! Workers that vanish, stores that fail: a flow of three levels over three queues, with one fault at each point of its life.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::faulty::{Fault, Faulty, Verb};

/// Rounds of all queues; a life without faults takes less than ten.
const ROUNDS: i64 = 40;

/// What comes of one call under a fault.
enum Answer<O> {
    Got(O),
    /// Asked again, it was answered.
    Lost,
    /// Whoever asked is gone.
    Dropped,
}

/// The store, with a fault at the `k`-th call of a verb.
struct Life {
    faulty: Arc<Faulty>,
    verb: Verb,
    k: usize,
    fault: Fault,
    calls: usize,
}

impl Life {
    fn over(backend: Arc<dyn Backend>, verb: Verb, k: usize, fault: Fault) -> Self {
        let faulty = Faulty::over(backend);
        faulty.plan(verb, (0..=k).map(move |n| (n == k).then_some(fault)));
        Self { faulty, verb, k, fault, calls: 0 }
    }

    /// Makes a call. One that hangs is looked at once, then whoever made it is gone.
    async fn call<O, E>(&mut self, verb: Verb, call: impl Future<Output = Result<O, E>>) -> Answer<O> {
        let hit = verb == self.verb && self.calls == self.k;
        self.calls += usize::from(verb == self.verb);
        if hit && self.fault == Fault::Hang {
            let mut call = std::pin::pin!(call);
            let looked = std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_pending()));
            assert!(looked.await, "it hangs");
            return Answer::Dropped;
        }
        call.await.map_or(Answer::Lost, Answer::Got)
    }
}

fn tree(queues: &[Given; 3]) -> Vec<Node> {
    let [x, y, z] = queues;
    let (wait, ignore) = (ChildFailure::Wait, ChildFailure::Ignore);
    let nodes =
        vec![top(x, "root", plain()), under(y, "left", 0, wait), under(z, "l1", 1, wait), under(z, "l2", 1, ignore)];
    let right = [under(y, "right", 0, wait), under(z, "r1", 4, wait)];
    nodes.into_iter().chain(right).collect()
}

/// What a handler answers: `l2` fails; `left` adds a child at its first run and waits.
async fn handled(life: &mut Life, q: &Given, z: &Given, held: &Held, now: Timestamp) -> Option<Outcome> {
    let text = held.lock.id.as_str();
    if text != "left" {
        return Some(if text == "l2" { dead() } else { Outcome::Done(json(&format!("\"{text}\""))) });
    }
    let page = q.backend.children(&q.queue, &held.lock.id, 0, 9).await.expect("children");
    if page.children.len() > 2 {
        return Some(Outcome::Done(json("\"left\"")));
    }
    let nodes = vec![beneath(z, "l3", (q, "left"), ChildFailure::Wait)];
    for _ in 0..2 {
        let add = AddFlow { nodes: nodes.clone() };
        match life.call(Verb::Add, life.faulty.clone().add_flow(add, now)).await {
            Answer::Got(_) => return Some(Outcome::AwaitChildren),
            Answer::Lost => {}
            Answer::Dropped => return None,
        }
    }
    panic!("only one call fails");
}

/// A worker that takes one job, runs it and ends it; it may vanish on the way.
async fn work(life: &mut Life, q: &Given, z: &Given, now: Timestamp) {
    let mut turn = Turn { queue: q.queue.clone(), worker: "w".into(), ends: Vec::new(), take: Some(q.wish(1)) };
    for _ in 0..3 {
        let turned = match life.call(Verb::Turn, life.faulty.clone().turn(turn.clone(), now)).await {
            Answer::Got(turned) => turned,
            Answer::Lost => {
                turn.take.iter_mut().for_each(|take| take.mode = TakeMode::Resume);
                continue;
            }
            Answer::Dropped => return,
        };
        let Some(held) = turned.held.into_iter().next() else { return };
        let Some(outcome) = handled(life, q, z, &held, now).await else { return };
        turn = Turn { ends: vec![verdict(&held.lock, outcome)], take: None, ..turn };
    }
}

/// Adds the tree and works on all queues until the root has ended; answers how often the faulty verb was called.
async fn live(h: &impl Harness, verb: Verb, k: usize, fault: Fault) -> usize {
    let name = format!("{verb:?}-{fault:?}-{k}");
    let mut life = Life::over(h.backend(), verb, k, fault);
    let queues = ["x", "y", "z"].map(|level| Given::queue(h, &format!("{name}-{level}")));
    let [x, y, z] = &queues;
    for _ in 0..2 {
        let add = AddFlow { nodes: tree(&queues) };
        if let Answer::Got(added) = life.call(Verb::Add, life.faulty.clone().add_flow(add, T0)).await {
            assert!(matches!(added, Flowed::Added(_)), "{name}");
            break;
        }
    }
    let note = EditAll { queue: z.queue.clone(), edits: vec![Edit::Retry(id("l2"), Made::Keep)] };
    let mut retried = false;
    for round in 0..ROUNDS {
        // A lock's time passes with each round, so that whatever a vanished worker held is found.
        let now = at(round * 31_000);
        for q in [z, y, x] {
            q.rescue(9, now).await;
            for _ in 0..4 {
                work(&mut life, q, z, now).await;
            }
        }
        if !retried && z.find("l2").await.is_some_and(|job| job.state == State::Failed) {
            retried = match life.call(Verb::Edit, life.faulty.clone().edit(note.clone(), now)).await {
                Answer::Got(edited) => edited[0] == Edited::Done,
                Answer::Lost | Answer::Dropped => z.get("l2").await.state != State::Failed,
            };
        }
        if x.get("root").await.state.is_final() && z.counts().await.waiting == 0 {
            break;
        }
    }
    expect_whole(&name, &queues).await;
    life.calls
}

/// Nothing is stuck, every job has ended once (the retried one twice), and every parent knows everything.
async fn expect_whole(name: &str, queues: &[Given; 3]) {
    let [x, y, z] = queues;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for q in queues {
        let counts = q.counts().await;
        assert_eq!(counts.completed + counts.failed, counts.total(), "{name}: {counts:?}");
        for event in
            q.events().await.iter().filter(|event| event.starts_with("completed:") || event.starts_with("failed:"))
        {
            *ends.entry(event.split(':').nth(1).expect("an id").to_owned()).or_default() += 1;
        }
    }
    let once = ["l1", "l3", "left", "r1", "right", "root"].map(|text| (text.to_owned(), 1));
    let expected: BTreeMap<_, _> = once.into_iter().chain([("l2".to_owned(), 2)]).collect();
    assert_eq!(ends, expected, "{name}");
    let left = ["l1 Completed \"l1\"", "l2 Ignored boom", "l3 Completed \"l3\""].map(String::from).to_vec();
    assert_eq!(known(y, "left").await, (left, 0), "{name}");
    assert_eq!(known(y, "right").await, (vec!["r1 Completed \"r1\"".into()], 0), "{name}");
    let root = ["left Completed \"left\"", "right Completed \"right\""].map(String::from).to_vec();
    assert_eq!(known(x, "root").await, (root, 0), "{name}");
    assert_eq!(z.counts().await.failed, 1, "{name}");
}

/// Each turn, add and edit of its life in turn is not carried out, loses its answer, or hangs until its worker is gone.
pub async fn a_flow_outlives_every_fault_of_its_workers(h: &impl Harness) {
    for verb in [Verb::Turn, Verb::Add, Verb::Edit] {
        for fault in [Fault::Before, Fault::After, Fault::Hang] {
            let mut k = 0;
            // The last one is never reached.
            while live(h, verb, k, fault).await > k {
                k += 1;
            }
            let least = if verb == Verb::Turn { 14 } else { 1 };
            assert!(k >= least, "{verb:?}: {k} calls were hit");
        }
    }
}

//! The commands of each verb at a thousand and at a hundred thousand stored jobs in each state.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::*;
use launchkit_testkit::given::*;

use super::Work;

const FEW: u64 = 1_000;
const MANY: u64 = 100_000;
/// Jobs in one call.
const BATCH: usize = 100;
/// Commands for each plain job that ends while another one is taken, in turns of a hundred.
const BUDGET: u64 = 8;
/// Commands of the turn itself.
const TURN: u64 = 20;

/// What was counted, verb by verb.
struct Counts<'a> {
    work: &'a Work,
    round: &'static str,
    counts: Vec<(String, u64)>,
}

impl Counts<'_> {
    async fn of<T, E: std::fmt::Debug>(&mut self, verb: &str, doing: impl Future<Output = Result<T, E>>) -> T {
        let (done, commands) = self.work.commands(doing).await;
        self.counts.push((verb.to_owned(), commands.iter().map(|(_, calls)| calls).sum()));
        done.unwrap_or_else(|error| panic!("{verb}: {error:?}"))
    }

    fn backend(&self) -> Arc<dyn Backend> {
        self.work.q.backend.clone()
    }

    fn queue(&self) -> QueueName {
        self.work.q.queue.clone()
    }

    /// A job's name in this round.
    fn name(&self, text: &str) -> String {
        format!("{text}-{}", self.round)
    }

    async fn add(&mut self, verb: &str, jobs: Vec<NewJob>) {
        let (backend, add, now) = (self.backend(), Add { queue: self.queue(), jobs }, self.work.now());
        self.of(verb, async move { backend.add(add, now).await }).await;
    }

    async fn turn(&mut self, verb: &str, ends: Vec<Verdict>, most: usize) -> Vec<Lock> {
        let take = Some(self.work.q.wish(most));
        let turn = Turn { queue: self.queue(), worker: "worker-1".into(), ends, take };
        let (backend, now) = (self.backend(), self.work.now());
        let turned = self.of(verb, async move { backend.turn(turn, now).await }).await;
        assert!(turned.ends.iter().all(|end| *end == End::Applied) && turned.held.len() == most, "{verb}: {turned:?}");
        turned.held.into_iter().map(|held| held.lock).collect()
    }

    async fn edit(&mut self, verb: &str, edits: Vec<Edit>) {
        let (backend, all, now) = (self.backend(), EditAll { queue: self.queue(), edits }, self.work.now());
        let edited = self.of(verb, async move { backend.edit(all, now).await }).await;
        assert!(edited.iter().all(|edited| matches!(edited, Edited::Done | Edited::Due(_))), "{verb}: {edited:?}");
    }

    async fn sweep(&mut self, verb: &str, what: SweepWhat) {
        let sweep = Sweep::all(self.queue(), what, BATCH as u32);
        let (backend, now) = (self.backend(), self.work.now());
        let swept = self.of(verb, async move { backend.sweep(sweep, now).await }).await;
        assert_eq!(swept.done.len(), BATCH, "{verb}");
    }
}

#[tokio::test]
async fn no_verb_does_more_when_more_is_stored() {
    let work = Work::new().await;
    let filled = templates(&work).await;
    fill(&work, filled, 1..=FEW);
    let few = counted(&work, "few").await;
    fill(&work, filled, FEW + 1..=MANY);
    let many = counted(&work, "many").await;
    println!("{:<45} {:>9} {:>9}", "commands of", FEW, MANY);
    let mut grown = Vec::new();
    for ((verb, few), (_, many)) in few.iter().zip(&many) {
        println!("{verb:<45} {few:>9} {many:>9}");
        if few.abs_diff(*many) > few.div_ceil(10) {
            grown.push(format!("{verb}: {few} and {many}"));
        }
    }
    assert!(grown.is_empty(), "{grown:#?}");
    let (_, turn) = many.iter().find(|(verb, _)| verb == "turn: 100 end well, 100 are taken").expect("it was counted");
    println!("{} commands for each job that ends and is replaced", *turn as f64 / BATCH as f64);
    assert!(*turn <= BUDGET * BATCH as u64 + TURN, "{turn} commands in a turn of {BATCH}");
}

/// One job in each state, and when.
async fn templates(work: &Work) -> Timestamp {
    let now = work.now();
    work.q.finish("c", plain(), done(), now).await;
    work.q.finish("f", plain(), dead(), now).await;
    work.q.add(vec![named("p", priority(5)), named("d", delay(3_600_000)), named("w", plain())], now).await;
    let node = |text: &str, parent| Node { queue: work.q.queue.clone(), job: named(text, plain()), parent };
    let under = Under { parent: Parent::Node(0), on_failure: ChildFailure::Wait };
    let nodes = vec![node("wc", None), node("child", Some(under))];
    work.q.backend.add_flow(AddFlow { nodes }, now).await.expect("a flow");
    now
}

fn fill(work: &Work, now: Timestamp, numbers: std::ops::RangeInclusive<u64>) {
    let (past, due) = (now.millis() - 1_000_000, now.millis() + 3_600_000);
    let places = [
        ("wait", "w", 0),
        ("prioritized", "p", 5 << 32),
        ("delayed", "d", due * 4_096),
        ("completed", "c", past),
        ("failed", "f", past),
        ("waiting-children", "wc", past),
    ];
    for (place, like, score) in places {
        work.fill(place, like, score, numbers.clone());
    }
}

async fn counted(work: &Work, round: &'static str) -> Vec<(String, u64)> {
    let mut c = Counts { work, round, counts: Vec::new() };
    adds(&mut c).await;
    turns(&mut c).await;
    edits(&mut c).await;
    schedulers(&mut c).await;
    reads(&mut c).await;
    sweeps(&mut c).await;
    c.counts
}

async fn adds(c: &mut Counts<'_>) {
    c.add("add 100", (0..BATCH).map(|_| job(plain())).collect()).await;
    c.add("add: delayed", vec![job(delay(7_200_000))]).await;
    c.add("add: prioritized", vec![job(priority(5))]).await;
    c.add("add: known already", vec![named("w", plain())]).await;
    let dedup = || JobOptions { deduplication: Some(Dedup::simple(c.name("dedup"))), ..plain() };
    let (first, second) = (job(dedup()), job(dedup()));
    c.add("add: owns a deduplication id", vec![first]).await;
    c.add("add: deduplicated", vec![second]).await;
    let node = |text: String, parent| Node { queue: c.queue(), job: named(&text, plain()), parent };
    let under = || Some(Under { parent: Parent::Node(0), on_failure: ChildFailure::Ignore });
    let nodes = vec![node(c.name("top"), None), node(c.name("one"), under()), node(c.name("two"), under())];
    let (backend, now) = (c.backend(), c.work.now());
    c.of("add_flow of 3", async move { backend.add_flow(AddFlow { nodes }, now).await }).await;
}

async fn turns(c: &mut Counts<'_>) {
    let now = c.work.now();
    let all = |locks: &[Lock], outcome: fn() -> Outcome| locks.iter().map(|lock| verdict(lock, outcome())).collect();
    let locks = c.turn("turn: 100 are taken", Vec::new(), BATCH).await;
    let beat = Beat { queue: c.queue(), worker: worker("w1"), locks: locks.clone(), lock_for: LOCK };
    let backend = c.backend();
    c.of("beat for 100", async move { backend.beat(beat, now).await }).await;
    let rescue = Rescue { queue: c.queue(), max_stalled: 1, most: MAX_READ };
    let backend = c.backend();
    c.of("rescue: nobody stalled", async move { backend.rescue(rescue, now).await }).await;
    let held = locks[0].id.clone();
    c.edit(
        "edit: progress and a log line",
        vec![Edit::Progress(held.clone(), json("1")), Edit::Log(held, vec!["line".into()])],
    )
    .await;
    let locks = c.turn("turn: 100 end well, 100 are taken", all(&locks, done), BATCH).await;
    let locks = c.turn("turn: 100 fail, 100 are taken", all(&locks, dead), BATCH).await;
    let later = c.work.now().plus(Duration::from_secs(7_200));
    let ends = locks.iter().map(|lock| verdict(lock, retry(later))).collect();
    let locks = c.turn("turn: 100 are to be retried", ends, 3).await;
    let ends = vec![verdict(&locks[0], Outcome::Back), verdict(&locks[1], Outcome::AwaitChildren)];
    c.turn("turn: given back, put off", ends, 0).await;
    let keep = Keep { count: Some(10), age: None };
    let kept = Verdict { keep, ..verdict(&locks[2], done()) };
    c.turn("turn: ends and evicts", vec![kept], 0).await;
}

async fn edits(c: &mut Counts<'_>) {
    // The newest and the oldest of both rounds, and one from deep inside.
    let (from, deep) = if c.round == "few" { (500, 700) } else { (5_000, 50_000) };
    let one = |place: &str, n: u64| id(&format!("{place}-{n}"));
    c.edit("edit: promote", vec![Edit::Promote(one("delayed", from))]).await;
    c.edit("edit: retry", vec![Edit::Retry(one("failed", from), Made::Reset)]).await;
    c.edit("edit: new data", vec![Edit::Data(one("wait", deep), json("1"))]).await;
    c.edit("edit: cancel", vec![Edit::Cancel(one("wait", deep))]).await;
    c.edit("edit: cancel a parent", vec![Edit::Cancel(one("waiting-children", from))]).await;
    c.edit("edit: remove a delayed job", vec![Edit::Remove(one("delayed", from + 1))]).await;
    c.edit("edit: remove a finished job", vec![Edit::Remove(one("completed", from))]).await;
    c.edit("edit: remove a parent", vec![Edit::Remove(one("waiting-children", from + 1))]).await;
    c.edit("edit: remove a waiting job", vec![Edit::Remove(one("wait", deep))]).await;
}

async fn schedulers(c: &mut Counts<'_>) {
    let now = c.work.now();
    let every = Schedule::Every(Duration::from_secs(3_600));
    let repeat = Arc::new(Repeat::named(c.name("s"), every, "tick", &1).expect("JSON"));
    let first = now.plus(Duration::from_secs(60));
    c.edit("edit: schedule", vec![Edit::Schedule(Put { repeat: repeat.clone(), first })]).await;
    let next = Some(first.plus(Duration::from_secs(3_600)));
    let tick = Tick::one(Fate::Run, first, now);
    let step = Advance { id: repeat.id.clone(), slot: first, next, tick, left: None };
    c.edit("edit: advance", vec![Edit::Advance(step)]).await;
    let (backend, queue) = (c.backend(), c.queue());
    c.of("repeats", async move { backend.repeats(&queue, &Repeats::After(None), 100).await }).await;
    c.edit("edit: unschedule", vec![Edit::Unschedule(repeat.id.clone())]).await;
    let budget = Budget::new(&c.name("b"), NonZeroU32::new(10).expect("not 0"), Duration::from_secs(1)).expect("one");
    let backend = c.backend();
    c.of("spend", async move { backend.spend(vec![budget.want(1)], now).await }).await;
    for what in [Control::Pause, Control::Resume, Control::ClearRate] {
        let (backend, queue) = (c.backend(), c.queue());
        c.of(&format!("control: {what:?}"), async move { backend.control(&queue, what, now).await }).await;
    }
}

async fn reads(c: &mut Counts<'_>) {
    let (backend, queue, now) = (c.backend(), c.queue(), c.work.now());
    let ids: Vec<JobId> = (200..300).map(|n| id(&format!("wait-{n}"))).collect();
    c.of("get 100", backend.get(&queue, &ids)).await;
    for state in State::ALL {
        let list = List { state, after: None, most: 100 };
        if state != State::Active {
            c.of(&format!("list 100 {state}"), backend.list(&queue, &list)).await;
        }
    }
    c.of("counts", backend.counts(&queue)).await;
    c.of("info", backend.info(&queue, now)).await;
    c.of("events", backend.events(&queue, Position::START, 100)).await;
    // Whoever reads first adds up what turns have put aside: 63 entries at the most.
    backend.metrics(&queue, None, 100).await.expect("minutes");
    c.of("metrics", backend.metrics(&queue, None, 100)).await;
    c.of("logs", backend.logs(&queue, &ids[0], 0, 100)).await;
    c.of("children", backend.children(&queue, &id("wc"), 0, 100)).await;
    for place in ["wait", "prioritized", "delayed", "failed", "waiting-children"] {
        c.of(&format!("facts of a job in {place}"), backend.facts(&queue, &id(&format!("{place}-900")), now)).await;
    }
    c.of("queues", backend.queues()).await;
    c.of("ticks", backend.ticks(&queue, "s", 100)).await;
}

async fn sweeps(c: &mut Counts<'_>) {
    let now = c.work.now();
    c.sweep("sweep: clean 100", SweepWhat::Clean(State::Completed, now)).await;
    c.sweep("sweep: retry 100", SweepWhat::RetryFailed(now)).await;
    c.sweep("sweep: promote 100", SweepWhat::PromoteDelayed).await;
    c.sweep("sweep: drain 100 delayed", SweepWhat::DrainDelayed).await;
    c.sweep("sweep: drain 100 waiting", SweepWhat::DrainWaiting).await;
}

//! Groups on Redis as other clients of the same keys see them, and as they leave them; and what they cost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::num::NonZeroU32;
use std::sync::Arc;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{Dedup, JobOptions, Keep, QueueName, Rate, State, Timestamp};
use launchkit_testkit::Dice;
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

/// The score of a job that a BullMQ client puts among the prioritized ones with the lowest priority.
const LOWEST: &str = "9007199254740993";

struct Case {
    server: RedisServer,
    q: Given,
}

impl Case {
    async fn new() -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
        let q = Given::over(Arc::new(store), QueueName::new("q").expect("a name"));
        Self { server, q }
    }

    fn ask(&self, command: &str) -> String {
        self.server.command(&command.split(' ').collect::<Vec<_>>()).expect("an answer")
    }

    /// Adds `<group>1`, `<group>2`, … to a group.
    async fn fill(&self, group: &str, count: u32, now: Timestamp) {
        self.q.add((1..=count).map(|n| named(&format!("{group}{n}"), of(group))).collect(), now).await;
    }

    async fn order(&self, group: &str, what: GroupControl, now: Timestamp) {
        self.q.backend.group(&self.q.queue, &group.into(), what, now).await.expect("an order to a group");
    }

    async fn cap(&self, group: &str, most: u32, now: Timestamp) {
        let settings = GroupSettings { concurrency: NonZeroU32::new(most), ..GroupSettings::default() };
        self.order(group, GroupControl::Set(settings), now).await;
    }

    async fn group(&self, group: &str) -> Option<GroupInfo> {
        let wanted = GroupsWanted::Ids(vec![group.into()]);
        self.q.backend.groups(&self.q.queue, &wanted, 1).await.expect("groups").pop()
    }

    async fn next_of(&self, most: usize, now: Timestamp) -> (Vec<String>, Next) {
        let turned = self.q.turn(Vec::new(), Some(self.q.wish(most)), now).await;
        (ids(&turned.held), turned.next)
    }

    /// What a BullMQ worker does to start a job; `None` when it finds none.
    fn takes(&self, now: i64) -> Option<String> {
        let popped = match self.ask("RPOPLPUSH bull:q:wait bull:q:active") {
            id if !id.is_empty() => id,
            _ => {
                let id = self.ask("ZPOPMIN bull:q:prioritized").lines().next()?.to_owned();
                self.ask(&format!("LPUSH bull:q:active {id}"));
                id
            }
        };
        self.ask(&format!("SET bull:q:{popped}:lock other:0 PX 30000"));
        self.ask(&format!("HSET bull:q:{popped} processedOn {} pb other", at(now).millis()));
        self.ask(&format!("HINCRBY bull:q:{popped} ats 1"));
        Some(popped)
    }

    /// It lets go of a job.
    fn drops(&self, id: &str) {
        self.ask(&format!("DEL bull:q:{id}:lock"));
        self.ask(&format!("LREM bull:q:active -1 {id}"));
    }

    /// It ends a job well.
    fn completes(&self, id: &str, now: i64) {
        self.drops(id);
        let now = at(now).millis();
        self.ask(&format!("ZADD bull:q:completed {now} {id}"));
        self.ask(&format!("HSET bull:q:{id} finishedOn {now} returnvalue 1"));
        self.ask(&format!("HINCRBY bull:q:{id} atm 1"));
    }

    /// Commands that the server has run, those in scripts included.
    fn commands(&self) -> u64 {
        let stats = self.ask("INFO commandstats");
        let own = ["info", "client", "hello", "select"];
        let calls = stats.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
        let calls = calls.filter(|line| !own.iter().any(|own| line.starts_with(own)));
        calls.filter_map(|line| line.split_once("calls=")?.1.split_once(',')?.0.parse::<u64>().ok()).sum()
    }
}

fn of(group: &str) -> JobOptions {
    JobOptions { group: Some(group.into()), ..plain() }
}

/// The first of each group where others take from, the rest where they look for jobs and take none; no verb of delayed jobs
/// means these.
#[tokio::test]
async fn the_jobs_of_groups_lie_where_other_clients_find_jobs() {
    let case = Case::new().await;
    case.fill("a", 3, T0).await;
    case.q.add(vec![named("d", delay(500)), named("p", priority(2_097_151))], T0).await;
    assert_eq!(case.ask("ZRANGE bull:q:prioritized 0 -1"), "p\na1");
    assert_eq!(case.ask("ZRANGE bull:q:delayed 0 -1"), "d\na2\na3");
    assert_eq!(case.ask("HMGET bull:q:a2 priority delay lk:g"), "2097152\n0\na");
    assert!(case.ask("HGET bull:q:a2 opts").contains(r#""priority":2097152"#));
    let far: f64 = case.ask("ZSCORE bull:q:delayed a2").parse().expect("a score");
    // A BullMQ client reads milliseconds from it, which must be a plain number to it.
    assert!(far / 4096.0 < 9_007_199_254_740_992.0 && far / 4096.0 > 1e15, "{far}");
    let counts = case.q.counts().await;
    assert_eq!((counts.delayed, counts.prioritized), (1, 4));
    assert_eq!((case.q.list(State::Delayed).await, case.q.list(State::Prioritized).await.len()), (vec!["d".into()], 4));
    for what in [SweepWhat::PromoteDelayed, SweepWhat::DrainDelayed] {
        assert_eq!(case.q.sweep(what, 100, at(1)).await.scanned, u32::from(what == SweepWhat::PromoteDelayed));
    }
    assert_eq!(case.q.edit(Edit::Promote(id("a2")), at(1)).await, Edited::WrongState(State::Prioritized));
    assert_eq!(case.q.get("a2").await.options.priority, 0);
    assert_eq!(case.next_of(9, at(2)).await.0, ["d", "p", "a1", "a2", "a3"]);
}

/// The line goes on with our next take, in its order, and what the other holds counts in its group until it has ended.
#[tokio::test]
async fn a_head_that_another_worker_takes_strands_no_line() {
    let case = Case::new().await;
    case.fill("a", 4, T0).await;
    case.fill("b", 1, T0).await;
    assert_eq!((case.takes(1), case.takes(1), case.takes(1)), (Some("a1".into()), Some("b1".into()), None));
    assert_eq!(case.next_of(1, at(2)).await, (vec!["a2".into()], Next::More));
    let (a, b) = (case.group("a").await.unwrap(), case.group("b").await);
    assert_eq!((a.active, a.waiting, a.in_turn, b.map(|b| b.active)), (2, 2, true, Some(1)));
    case.completes("a1", 3);
    case.completes("b1", 3);
    assert_eq!(case.next_of(9, at(1_500)).await, (vec!["a3".into(), "a4".into()], Next::Empty));
    assert_eq!((case.group("a").await.unwrap().active, case.group("b").await), (3, None));
    let counts = case.q.counts().await;
    assert_eq!((counts.active, counts.completed, counts.total()), (3, 2, 5));
}

/// A cap and a rate hold for all workers; ours come back to look, since nobody tells of another's end.
#[tokio::test]
async fn what_another_worker_starts_counts_against_cap_and_rate() {
    let case = Case::new().await;
    case.fill("a", 3, T0).await;
    case.cap("a", 1, T0).await;
    assert_eq!(case.takes(1).as_deref(), Some("a1"));
    assert_eq!(case.next_of(9, at(2)).await, (vec![], Next::Limited(at(1_002))));
    assert_eq!(case.takes(3), None, "its group is full");
    case.completes("a1", 500);
    assert_eq!(case.next_of(9, at(1_002)).await, (vec!["a2".into()], Next::Full));
    let rate = Some(Rate { max: NonZeroU32::MIN, per: std::time::Duration::from_secs(60) });
    case.fill("r", 2, at(2_000)).await;
    case.order("r", GroupControl::Set(GroupSettings { rate, ..GroupSettings::default() }), at(2_000)).await;
    assert_eq!(case.takes(2_001).as_deref(), Some("r1"));
    case.completes("r1", 2_002);
    assert_eq!(case.next_of(9, at(2_003)).await, (vec![], Next::Limited(at(62_003))));
}

/// By hand, with its record: the rescue alone brings in the next, and calls for it.
#[tokio::test]
async fn a_head_that_another_client_removes_is_replaced_by_the_next_rescue() {
    let case = Case::new().await;
    case.fill("a", 3, T0).await;
    case.ask("ZREM bull:q:prioritized a1");
    case.ask("DEL bull:q:a1");
    case.ask("DEL bull:q:marker");
    assert_eq!(case.q.list(State::Prioritized).await, ["a2", "a3"]);
    case.q.rescue(1, at(1)).await;
    assert_eq!(case.ask("ZRANGE bull:q:prioritized 0 -1"), "a2");
    assert_eq!(case.ask("ZRANGE bull:q:marker 0 -1"), "0");
    assert_eq!(case.group("a").await.unwrap().waiting, 2);
}

/// A retry, a promotion and a stall of another's, each by the job's priority or before everything: they are in their group
/// again before anybody of ours takes them.
#[tokio::test]
async fn what_other_workers_put_back_returns_to_its_group() {
    let case = Case::new().await;
    case.fill("a", 4, T0).await;
    case.cap("a", 2, T0).await;
    let retried = case.takes(1).unwrap();
    case.drops(&retried);
    case.ask(&format!("ZADD bull:q:prioritized {LOWEST} {retried}"));
    case.ask("ZREM bull:q:delayed a4");
    case.ask(&format!("ZADD bull:q:prioritized {LOWEST} a4"));
    let held = case.q.take(9, at(2)).await;
    assert_eq!(ids(&held), ["a2", "a3"], "the others are behind them, and two at once");
    assert_eq!(case.ask("ZRANGE bull:q:delayed 0 -1"), "a1\na4");
    case.drops("a2");
    case.ask("RPUSH bull:q:wait a2");
    assert_eq!(case.next_of(9, at(3)).await, (vec!["a2".into()], Next::Full), "in front, in the slot that it had");
    case.q.settle(&held[1].lock, done(), at(4)).await;
    assert_eq!(case.q.take_ids(9, at(5)).await, ["a1"]);
}

/// Our worker dies, another's stalled check puts the job back, and another's worker ends it: nobody tells us.
#[tokio::test]
async fn a_slot_of_a_job_that_ended_elsewhere_is_free_after_a_rescue() {
    let case = Case::new().await;
    case.fill("a", 2, T0).await;
    case.cap("a", 1, T0).await;
    assert_eq!(case.q.one(at(1)).await.lock.id, id("a1"));
    case.completes("a1", 2);
    assert_eq!(case.next_of(9, at(40_000)).await, (vec![], Next::Full));
    case.q.rescue(1, at(40_001)).await;
    assert_eq!(case.q.take_ids(9, at(40_002)).await, ["a2"]);
}

/// Its scripts know neither our records nor what lies in them.
#[tokio::test]
async fn after_another_client_has_obliterated_a_queue_its_groups_begin_anew() {
    let case = Case::new().await;
    case.fill("a", 3, T0).await;
    case.fill("b", 3, T0).await;
    case.cap("b", 1, T0).await;
    assert_eq!(case.q.take_ids(1, at(1)).await, ["a1"]);
    for key in case.ask("KEYS bull:q:*").lines() {
        case.ask(&format!("DEL {key}"));
    }
    case.q.add(vec![named("a9", of("a")), named("c1", of("c"))], at(2)).await;
    let mut taken = case.q.take_ids(9, at(3)).await;
    taken.sort();
    assert_eq!(taken, ["a9", "c1"]);
    for n in 0..9 {
        case.q.rescue(1, at(60_000 + n)).await;
    }
    let groups = case.q.backend.groups(&case.q.queue, &GroupsWanted::After(None), 9).await.unwrap();
    let stands: Vec<_> = groups.iter().map(|group| (group.id.as_str(), group.waiting, group.active)).collect();
    assert_eq!(stands, [("a", 0, 1), ("b", 0, 0), ("c", 0, 1)], "b has a setting of its own");
}

/// A job that another's worker adds for a finished owner, or for the next slot of a scheduler, has the options of ours.
#[tokio::test]
async fn jobs_that_other_workers_make_of_our_options_join_their_group() {
    let case = Case::new().await;
    let kept = JobOptions { deduplication: Some(Dedup::keep_last("d")), ..of("a") };
    case.q.add(vec![named("a1", kept.clone())], T0).await;
    let opts = case.ask("HGET bull:q:a1 opts");
    assert_eq!(case.takes(1).as_deref(), Some("a1"));
    case.completes("a1", 2);
    let fields = ["HSET", "bull:q:a2", "name", "n", "data", "1", "opts", &opts, "priority", "2097152", "delay", "0"];
    case.server.command(&[&fields[..], &["timestamp", "1700000000002"]].concat()).unwrap();
    case.ask(&format!("ZADD bull:q:prioritized {LOWEST} a2"));
    case.order("a", GroupControl::Pause, at(3)).await;
    assert_eq!(case.next_of(9, at(4)).await, (vec![], Next::Full));
    assert_eq!(case.group("a").await.unwrap().waiting, 1);
    case.order("a", GroupControl::Resume, at(5)).await;
    assert_eq!(case.q.take_ids(9, at(5)).await, ["a2"]);
}

/// Every number is taken: an order is refused, and jobs come after all priorities, without turns.
#[tokio::test]
async fn beyond_a_million_groups_orders_are_refused_and_jobs_run_all_the_same() {
    let case = Case::new().await;
    case.fill("a", 2, T0).await;
    case.ask("SETBIT zeros 1048575 0");
    case.ask("BITOP NOT bull::lk:q:numbers zeros");
    let refused = case.q.backend.group(&case.q.queue, &"b".into(), GroupControl::Pause, T0).await;
    assert!(matches!(refused, Err(launchkit_queue::StoreError::OutOfBounds(_))), "{refused:?}");
    case.fill("c", 2, T0).await;
    let held = case.q.take(9, at(1)).await;
    assert_eq!(ids(&held), ["c1", "c2", "a1", "a2"]);
    case.q.turn(held.iter().map(|held| verdict(&held.lock, done())).collect(), None, at(2)).await;
    assert_eq!((case.q.counts().await.completed, case.group("a").await, case.group("c").await), (4, None, None));
}

/// Settings alone stay, and what tells of minutes.
#[tokio::test]
async fn groups_whose_jobs_are_gone_leave_no_key_behind() {
    let case = Case::new().await;
    case.order("p", GroupControl::Pause, T0).await;
    for round in 0..3 {
        for group in ["a", "b", "c"] {
            case.fill(group, 4, at(round * 100)).await;
        }
        let held = case.q.take(4, at(round * 100 + 1)).await;
        let end = |held: &Held, outcome, keep| Verdict { keep, ..verdict(&held.lock, outcome) };
        let ends = vec![
            end(&held[0], done(), Keep::NONE),
            end(&held[1], dead(), Keep::NONE),
            end(&held[2], retry(at(round * 100 + 50)), Keep::ALL),
            end(&held[3], launchkit_queue::Outcome::Back, Keep::ALL),
        ];
        case.q.turn(ends, None, at(round * 100 + 2)).await;
        assert_eq!(case.q.sweep(SweepWhat::DrainDelayed, 100, at(round * 100 + 3)).await.done.len(), 1);
        assert_eq!(case.q.sweep(SweepWhat::DrainWaiting, 100, at(round * 100 + 3)).await.done.len(), 9);
    }
    let own = |case: &Case| {
        let keys = case.ask("KEYS bull::lk:q:*");
        let mut keys: Vec<_> = keys.lines().filter(|key| !is_of_minutes(key)).map(str::to_owned).collect();
        keys.sort();
        keys
    };
    assert_eq!(own(&case), ["bull::lk:q:groups", "bull::lk:q:names", "bull::lk:q:numbers"], "the paused one");
    case.order("p", GroupControl::Resume, at(900)).await;
    assert_eq!((own(&case), case.ask("HGET bull:q:meta lk:groups")), (vec![], String::new()));
}

/// Whether a key keeps what minutes saw.
fn is_of_minutes(key: &str) -> bool {
    ["minute", "minutes", "lately"].iter().any(|name| key.ends_with(&format!(":{name}")))
}

/// Commands of an add, a take and an end of one job without a group, in scripts and around them: as many as before there were
/// groups, and few more beside them.
#[tokio::test]
async fn a_job_without_a_group_costs_no_more_than_without_groups() {
    let case = Case::new().await;
    let costs = async |from: i64| {
        let before = case.commands();
        case.q.add(vec![job(plain())], at(from)).await;
        let added = case.commands();
        let held = case.q.one(at(from + 1)).await;
        let taken = case.commands();
        case.q.settle(&held.lock, done(), at(from + 2)).await;
        [added - before, taken - added, case.commands() - taken]
    };
    // Twice: the first of a script loads it, and the first plain turn that is refused shows what comes.
    let (_, plain) = (costs(0).await, costs(10).await);
    assert_eq!(plain, [8, 14, 21], "add, take, end");
    case.fill("a", 3, at(20)).await;
    case.order("a", GroupControl::Pause, at(20)).await;
    let (_, beside) = (costs(30).await, costs(40).await);
    assert_eq!(beside[0], plain[0]);
    assert!(
        beside.iter().zip(plain).all(|(beside, plain)| *beside <= plain + 4),
        "where groups might come: {beside:?}"
    );
}

fn one_of<'a>(dice: &mut Dice, all: &'a [String]) -> Option<&'a str> {
    if all.is_empty() { None } else { Some(dice.one(all).as_str()) }
}

impl Case {
    fn lines(&self, command: &str) -> Vec<String> {
        self.ask(command).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Where a BullMQ client puts a job that is ready again.
    fn puts_back(&self, id: &str) {
        match self.ask(&format!("HGET bull:q:{id} priority")).as_str() {
            "2097152" => self.ask(&format!("ZADD bull:q:prioritized {LOWEST} {id}")),
            _ => self.ask(&format!("LPUSH bull:q:wait {id}")),
        };
    }

    /// Something that another client might do at any time.
    fn meddles(&self, dice: &mut Dice, foreign: &mut Vec<String>, now: i64) {
        match dice.size(11) {
            0..=2 => foreign.extend(self.takes(now)),
            3 | 4 if !foreign.is_empty() => {
                let id = foreign.swap_remove(dice.size(foreign.len()));
                match dice.size(3) {
                    0 => self.completes(&id, now),
                    1 => {
                        self.drops(&id);
                        self.puts_back(&id);
                    }
                    _ => {
                        self.drops(&id);
                        self.ask(&format!("DEL bull:q:{id}"));
                    }
                }
            }
            5 => {
                // The lock of one of ours runs out, and it is found stalled.
                let ours: Vec<_> = self.lines("LRANGE bull:q:active 0 -1");
                let ours: Vec<_> = ours.into_iter().filter(|id| !foreign.contains(id)).collect();
                if let Some(id) = one_of(dice, &ours) {
                    self.drops(id);
                    self.ask(&format!("RPUSH bull:q:wait {id}"));
                }
            }
            6 => {
                if let Some(id) = one_of(dice, &self.lines("ZRANGE bull:q:delayed 0 -1")) {
                    self.ask(&format!("ZREM bull:q:delayed {id}"));
                    self.puts_back(id);
                }
            }
            7 => {
                // A priority beyond all of ours stands among the heads.
                let id = format!("far{now}");
                let opts = [r#"{"gr":"a"}"#, "{}"][dice.size(2)];
                self.ask(&format!(
                    "HSET bull:q:{id} name n data 1 opts {opts} timestamp {T0} delay 0 priority 5000000"
                ));
                self.ask(&format!("ZADD bull:q:prioritized {} {id}", 5_000_000_u64 << 32));
            }
            8 | 9 => {
                // What the order of heads and that of times say is wrong.
                let (key, group) = (["heads", "heads", "due", "over"][dice.size(4)], ["a", "b", "c"][dice.size(3)]);
                let score = match self.lines("ZRANGE bull::lk:q:heads 0 0 WITHSCORES").pop() {
                    Some(score) if dice.size(2) == 0 => score,
                    _ => dice.size(9_000_000).to_string(),
                };
                self.ask(&format!("ZADD bull::lk:q:{key} {score} {:07}{group}", 1 + dice.size(4)));
            }
            _ => {
                if let Some(id) = one_of(dice, &self.lines("ZRANGE bull:q:prioritized 0 -1")) {
                    self.ask(&format!("ZREM bull:q:prioritized {id}"));
                    self.ask(&format!("DEL bull:q:{id}"));
                }
            }
        }
    }

    async fn works(&self, dice: &mut Dice, held: &mut Vec<Lock>, n: &mut u32, now: i64) {
        let group = ["a", "b", "c"][dice.size(3)];
        match dice.size(8) {
            0 | 1 => {
                let wait = if dice.size(4) == 0 { delay(1 + dice.size(300) as u64) } else { plain() };
                let group = (dice.size(5) > 0).then(|| group.into());
                let options = JobOptions { lifo: dice.size(5) == 0, group, ..wait };
                let jobs = (0..3).map(|k| named(&format!("j{}", *n + k), options.clone())).collect();
                *n += 3;
                self.q.add(jobs, at(now)).await;
            }
            2..=4 => {
                let outcomes = [done(), dead(), retry(at(now + 40)), launchkit_queue::Outcome::Back];
                let many = dice.size(3).min(held.len());
                let ends = held.drain(..many).map(|lock| verdict(&lock, outcomes[dice.size(4)].clone())).collect();
                held.extend(
                    self.q.turn(ends, Some(self.q.wish(dice.size(4))), at(now)).await.held.into_iter().map(|h| h.lock),
                );
            }
            5 => self.cap(group, dice.size(3) as u32, at(now)).await,
            6 => {
                let orders = [GroupControl::Pause, GroupControl::Resume, GroupControl::HoldUntil(at(now + 100))];
                self.order(group, orders[dice.size(3)], at(now)).await;
            }
            _ => {
                self.q.rescue(9, at(now)).await;
            }
        }
    }
}

/// Random histories, half of them by another client. When it has gone and nothing is set any more, every job that is there has
/// ended, no record of a group is left, and no take has asked for more without end.
#[tokio::test]
async fn whatever_other_clients_do_strands_no_job() {
    for seed in 1..=12 {
        let case = Case::new().await;
        let (mut dice, mut foreign, mut held, mut n, mut now) = (Dice::new(seed), Vec::new(), Vec::new(), 0, 0);
        for _ in 0..150 {
            now += dice.size(60) as i64;
            case.works(&mut dice, &mut held, &mut n, now).await;
            case.meddles(&mut dice, &mut foreign, now);
        }
        for group in ["a", "b", "c"] {
            case.cap(group, 0, at(now)).await;
            case.order(group, GroupControl::Resume, at(now)).await;
            case.order(group, GroupControl::ClearRate, at(now)).await;
        }
        foreign.iter().for_each(|id| case.completes(id, now));
        for round in 0.. {
            let counts = case.q.counts().await;
            let groups = case.lines("ZRANGE bull::lk:q:names 0 -1");
            if groups.is_empty() && counts.completed + counts.failed == counts.total() {
                break;
            }
            assert!(round < 100, "seed {seed}: {counts:?} {groups:?}");
            now += 31_000;
            case.q.rescue(999, at(now)).await;
            let mut ends = held.drain(..).map(|lock: Lock| verdict(&lock, done())).collect();
            for look in 0.. {
                let turned = case.q.turn(std::mem::take(&mut ends), Some(case.q.wish(50)), at(now)).await;
                held.extend(turned.held.into_iter().map(|held| held.lock));
                if turned.next != Next::More {
                    break;
                }
                assert!(look < 50, "seed {seed}: takes ask for more without end");
            }
        }
        let own = case.lines("KEYS bull::lk:q:*");
        assert!(own.iter().all(|key| is_of_minutes(key)), "seed {seed}: {own:?}");
    }
}

//! What the Redis store costs its server, counted in commands: no verb does more at a hundred thousand stored jobs in each state
//! than at a thousand, and no script walks what grows, but where that is said.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::sync::Arc;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{Clock, QueueName};
use launchkit_testkit::Given;
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

mod counted;

/// A server and a queue on it.
pub(crate) struct Work {
    pub(crate) server: RedisServer,
    pub(crate) q: Given,
    clock: Clock,
}

/// Copies of a job in a place, as if they had been added like it.
const FILL: &str = "
    local b, place, from, to, score = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
    local hash = redis.call('HGETALL', b .. ARGV[6])
    for n = from, to do
      local id = place .. '-' .. n
      redis.call('HSET', b .. id, unpack(hash))
      if place == 'wait' then
        redis.call('LPUSH', b .. place, id)
      else
        redis.call('ZADD', b .. place, score + n, id)
      end
      if place == 'waiting-children' then
        redis.call('SADD', b .. id .. ':dependencies', b .. 'nobody')
      end
    end";

/// Copies made in one script.
const AT_ONCE: u64 = 5_000;

impl Work {
    pub(crate) async fn new() -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
        let q = Given::over(Arc::new(store), QueueName::new("q").expect("a name"));
        Self { server, q, clock: Clock::system() }
    }

    pub(crate) fn now(&self) -> launchkit_queue::Timestamp {
        self.clock.now()
    }

    pub(crate) fn ask(&self, words: &[&str]) -> String {
        self.server.command(words).expect("an answer")
    }

    /// Copies of a job of these numbers.
    pub(crate) fn fill(&self, place: &str, like: &str, score: i64, numbers: std::ops::RangeInclusive<u64>) {
        let mut from = *numbers.start();
        while from <= *numbers.end() {
            let to = (from + AT_ONCE - 1).min(*numbers.end());
            let [from_text, to_text, score] = [from.to_string(), to.to_string(), score.to_string()];
            self.ask(&["EVAL", FILL, "0", "bull:q:", place, &from_text, &to_text, &score, like]);
            from = to + 1;
        }
    }

    /// How often the server ran each command meanwhile, those within scripts included.
    pub(crate) async fn commands<T>(&self, doing: impl Future<Output = T>) -> (T, Vec<(String, u64)>) {
        self.ask(&["CONFIG", "RESETSTAT"]);
        let done = doing.await;
        let told = self.ask(&["INFO", "commandstats"]);
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let own = ["info", "config", "client", "hello", "ping", "command"].iter().any(|own| name.starts_with(own));
            (!own).then(|| (name.to_owned(), rest.split(',').next().unwrap().parse().expect("a number")))
        };
        (done, told.lines().filter_map(line).collect())
    }
}

pub(crate) fn calls(commands: &[(String, u64)], name: &str) -> u64 {
    commands.iter().filter(|(command, _)| command == name).map(|(_, calls)| calls).sum()
}

/// In one call a list is walked once, so that others have their turn between two walks: a million ids take 20 to 60 ms.
#[tokio::test]
async fn removing_from_deep_inside_a_list_walks_it_once_in_a_script() {
    let work = Work::new().await;
    let now = work.now();
    work.q.waiting(&["w"], now).await;
    work.fill("wait", "w", 0, 1..=20_000);
    let deep = (1..=5).map(|n| Edit::Remove(id(&format!("wait-{}", n * 3_000))));
    let edits = deep.chain([Edit::Remove(id("wait-19999")), Edit::Remove(id("w"))]).collect();
    let all = EditAll { queue: work.q.queue.clone(), edits };
    let (edited, commands) = work.commands(work.q.backend.edit(all, now)).await;
    assert_eq!(edited.expect("removed"), [Edited::Done; 7]);
    assert!(calls(&commands, "evalsha") >= 5 && calls(&commands, "lrem") == 7, "{commands:?}");
    assert_eq!(work.q.counts().await.waiting, 20_001 - 7);
    assert_eq!(work.q.take_ids(2, now).await, ["wait-1", "wait-2"]);
}

/// However many leave it: the ones that stay are passed over once.
#[tokio::test]
async fn a_drain_walks_what_it_has_passed_once_in_a_step() {
    let work = Work::new().await;
    let now = work.now();
    work.q.waiting(&["w"], now).await;
    work.fill("wait", "w", 0, 1..=5_000);
    work.q.add((0..500).map(|_| NewJob { name: "other".into(), ..job(plain()) }).collect(), now).await;
    let pick = Pick { name: Some("other".into()), ..Pick::default() };
    let (mut after, mut done) = (None, 0);
    loop {
        let sweep =
            Sweep { pick: pick.clone(), after, ..Sweep::all(work.q.queue.clone(), SweepWhat::DrainWaiting, 1_000) };
        let (swept, commands) = work.commands(work.q.backend.sweep(sweep, now)).await;
        let swept = swept.expect("a step");
        assert!(calls(&commands, "lrem") <= 1, "{commands:?}");
        done += swept.done.len();
        after = swept.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((done, work.q.counts().await.waiting), (500, 5_001));
    assert_eq!(work.q.take_ids(2, now).await, ["w", "wait-1"]);
}

/// It is cut at the first event of a call, and within long calls; and Redis cuts whole nodes of 100 alone.
#[tokio::test]
async fn the_stream_of_events_stays_near_its_bound() {
    let work = Work::new().await;
    let now = work.now();
    work.ask(&["HSET", "bull:q:meta", "opts.maxLenEvents", "100"]);
    let (mut longest, mut told) = (0, 0);
    for _ in 0..30 {
        told += 4 * work.q.add((0..100).map(|_| job(plain())).collect(), now).await.len();
        let held = work.q.take(100, now).await;
        let ends = held.iter().map(|held| verdict(&held.lock, done())).collect();
        assert_eq!(work.q.turn(ends, None, now).await.ends.len(), 100);
        let length = work.ask(&["XLEN", "bull:q:events"]).parse::<u64>().expect("a number");
        longest = length.max(longest);
    }
    assert!(told > 10_000 && (100..=100 + 500 + 100).contains(&longest), "{longest} of {told}");
}

/// What a job leaves may be much: the server frees it beside its work.
#[tokio::test]
async fn a_removed_job_with_very_many_children_is_freed_beside_the_servers_work() {
    let work = Work::new().await;
    let now = work.now();
    work.q.waiting(&["w"], now).await;
    let kids = "for n = 1, 5000 do redis.call('SADD', 'bull:q:w:dependencies', 'bull:q:kid-' .. n) end";
    work.ask(&["EVAL", kids, "0"]);
    let all = EditAll { queue: work.q.queue.clone(), edits: vec![Edit::Remove(id("w"))] };
    let (edited, commands) = work.commands(work.q.backend.edit(all, now)).await;
    assert_eq!(edited.expect("removed"), [Edited::Done]);
    assert!(calls(&commands, "unlink") == 1 && calls(&commands, "del") == 0, "{commands:?}");
}

/// Commands that may take as long as what they read.
const WALKERS: [&str; 16] = [
    "LREM",
    "LPOS",
    "SMEMBERS",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "'KEYS'",
    "'SORT'",
    "LINSERT",
    "LRANGE",
    "ZRANGE",
    "ZREVRANGE",
    "ZREMRANGE",
    "XRANGE",
    "XREVRANGE",
    "SUNION",
];
/// What bounds one where it stands.
const BOUNDS: [&str; 5] = ["'LIMIT'", "'MAXLEN'", "'COUNT'", ", 0, 0", ", '0', '0'"];
/// The others: a part of the line, and why it is no harm.
const KNOWN: &[(&str, &str, &str)] = &[
    ("control", "call('LRANGE', apart, 0, STEP - 1)", "one step"),
    ("edit", "call('LREM', b .. list, from, id)", "near the end from which it is looked for"),
    ("groups", "call('LPOS', l.b .. 'active', id)", "active: as many as run"),
    ("groups", "call('LREM', b .. place, -1, id)", "active: as many as run"),
    ("heads", "call('LPOS', l.b .. 'active', id)", "active: as many as run"),
    ("heads", "call('ZRANGE', l.own .. 'heads', read, read + many - 1", "as many as are taken"),
    ("heads", "call('ZRANGE', l.own .. 'heads', 0, 99)", "a hundred"),
    ("heads", "call('ZRANGE', l.b .. 'prioritized', from + at, from + at + LOOKED - 1)", "one step of 500"),
    ("kids", "some('SMEMBERS', 'SSCAN', 1", "at most 10,000 children, else a scan"),
    ("kids", "some('HKEYS', 'HSCAN', 2, key .. ':processed'", "at most 10,000 children, else a scan"),
    ("kids", "some('HKEYS', 'HSCAN', 2, key .. ':failed'", "at most 10,000 children, else a scan"),
    ("kids", "call('ZRANGE', key .. ':unsuccessful', 0, MOST - 1)", "at most 10,000 children"),
    ("kids", "call('ZRANGE', kids, 0, -1)", "our record of one family: at most 10,000 children"),
    ("places", "call('LRANGE', B .. 'active', 0, 4999)", "the newest 5,000"),
    ("leftovers", "call('ZRANGE', B .. 'repeat', 0, tonumber(ARGV[2]) - 1)", "one page"),
    (
        "places",
        "call('LRANGE', b .. list, -(from + count), -(from + 1))",
        "one page, or where a sweep looks for its place: 6,000",
    ),
    (
        "places",
        "call('LREM', b .. 'wait', -1, id)",
        "one walk in a script: see the head of edit; a scheduler's ready job",
    ),
    ("places", "call('LREM', b .. 'paused', -1, id)", "the same list where BullMQ 5 has set it apart"),
    ("places", "call('LPOS', b .. 'active', id, 'RANK', -1)", "active: as many as run"),
    ("list", "call('LRANGE', B .. place, -(skip + count), -(skip + 1))", "one page, or 1,000 on each side"),
    ("list", "call('HGETALL', B .. id)", "one job's fields"),
    ("obliterate", "call('ZRANGE', B .. place, 0, budget - 1)", "one step"),
    ("obliterate", "call('LRANGE', B .. place, -budget, -1)", "one step"),
    ("obliterate", "call('ZRANGE', B .. 'repeat', 0, budget - 1)", "one step"),
    ("records", "call('HGETALL', B .. id)", "one job's fields"),
    ("repeat", "call('HGETALL', B .. 'repeat:' .. sid)", "one scheduler's fields"),
    ("repeat_put", "call('ZREMRANGEBYRANK', kept, 0, -101)", "as many as were added beyond 100"),
    ("repeat_stuck", "call('ZRANGE', set, middle, middle)", "one"),
    ("repeat_stuck", "call('ZRANGE', set, from, from + most - 1", "one page"),
    ("rescue", "call('LRANGE', B .. 'active', -(skip + STEP), -(skip + 1))", "one page of 5,000"),
    ("rescue", "call('LREM', B .. 'active', -#rescued, GONE)", "one walk over active: as many as run"),
    ("sweep", "call('LREM', B .. list, -count, GONE)", "one walk over what the sweep has passed"),
    ("jobs", "call('LREM', B .. 'active', '-1', id)", "active: as many as run"),
    (
        "jobs",
        "call('LRANGE', B .. 'active', -math.min(2 * count, MOST)",
        "two for each job that ends, 1,000 at the most",
    ),
    ("jobs", "call('ZRANGE', set, '0', last)", "two for each job that ends"),
    ("jobs", "call('ZREMRANGEBYRANK', set, '0', last)", "the same two"),
    ("turn_plain", "redis.pcall('LRANGE', wait, -most - 1, '-1')", "one more than are taken"),
    (
        "turn_plain",
        "call('LRANGE', active, math.max(-2 * ends, -1000), '-1')",
        "two for each job that ends, 1,000 at the most",
    ),
    ("turn_plain", "call('LREM', active, '-1', id)", "active: as many as run"),
    ("turn_plain", "call('ZRANGE', completed, '0', last)", "two for each job that ends"),
    ("turn_plain", "call('ZREMRANGEBYRANK', completed, '0', last)", "the same two"),
    ("minute", "call('LRANGE', O .. 'lately', 0, -1)", "64 entries"),
    ("flow", "call('SRANDMEMBER', places.own_of(b) .. 'families', 2)", "two"),
    ("minute", "call('LTRIM', key .. ':data', 0, KEPT - 1)", "two weeks of minutes"),
    ("edit", "call('LTRIM', key .. ':logs', -keep, -1)", "1,000 lines and what was just added"),
];

#[test]
fn no_script_walks_what_grows_unless_it_is_known_why() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/backend/redis/scripts");
    let mut scripts: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the scripts") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        scripts.push((name, std::fs::read_to_string(&path).expect("a script")));
    }
    let known = |script: &str, line: &str| KNOWN.iter().any(|(of, part, _)| *of == script && line.contains(part));
    let mut walks = Vec::new();
    for (script, text) in &scripts {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
        let walking = lines.filter(|line| WALKERS.iter().any(|command| line.contains(command)));
        let unbounded = walking.filter(|line| !BOUNDS.iter().any(|bound| line.contains(bound)));
        walks
            .extend(unbounded.filter(|line| !known(script, line)).map(|line| format!("{script}.lua: {}", line.trim())));
    }
    assert!(scripts.len() > 20 && walks.is_empty(), "{walks:#?}");
    for (of, part, _) in KNOWN {
        let there = scripts.iter().any(|(script, text)| script == of && text.contains(part));
        assert!(there, "{of}.lua does so no more: {part}");
    }
}

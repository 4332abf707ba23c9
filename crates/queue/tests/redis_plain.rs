//! A plain turn has a script of its own, which says again what the whole one does. Random histories go over two queues: one that
//! takes plain turns, and one that takes none, since it has a limit (a million jobs at once) that nothing ever reaches. Answers and keys are the same.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{JobOptions, Keep, Outcome, QueueName, Timestamp};
use launchkit_testkit::Dice;
use launchkit_testkit::given::*;
use launchkit_testkit::redis::{Kind, RedisServer};

const SEEDS: u64 = 24;
const STEPS: usize = 40;

/// Every key with its value, but for what tells that there is a limit, when a lock ends, and what minutes put aside.
const DUMP: &str = "
local out, keys = {}, redis.call('KEYS', '*')
table.sort(keys)
for _, key in ipairs(keys) do
  local of, v = redis.call('TYPE', key).ok, nil
  if of == 'string' then v = { redis.call('GET', key) }
  elseif of == 'list' then v = redis.call('LRANGE', key, 0, -1)
  elseif of == 'set' then v = redis.call('SMEMBERS', key) table.sort(v)
  elseif of == 'zset' then v = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif of == 'hash' then
    v = {}
    local h = redis.call('HGETALL', key)
    for n = 1, #h, 2 do if h[n] ~= 'concurrency' then v[#v + 1] = h[n] .. '=' .. h[n + 1] end end
    table.sort(v)
  else
    v = {}
    for _, entry in ipairs(redis.call('XRANGE', key, '-', '+')) do v[#v + 1] = table.concat(entry[2], ' ') end
  end
  if not (key:find(':lately$') or key:find(':minutes$')) then out[#out + 1] = key .. ' ' .. table.concat(v, ' | ') end
end
return out";

/// A queue, its server, the jobs that are held, and those that the last turn has ended.
struct Side {
    server: RedisServer,
    q: Given,
    held: Vec<Lock>,
    ended: Vec<Lock>,
}

impl Side {
    async fn new(limit: Option<NonZeroU32>) -> Self {
        let server = RedisServer::start(Kind::Redis).expect("a server");
        let side = Self { q: Self::open(&server).await, server, held: Vec::new(), ended: Vec::new() };
        side.q.backend.control(&side.q.queue, Control::Concurrency(limit), T0).await.expect("a limit");
        side
    }

    async fn open(server: &RedisServer) -> Given {
        let store = Redis::open(&RedisOptions::parse(&server.url()).expect("a URL")).await.expect("a store");
        Given::over(Arc::new(store), QueueName::new("q").expect("a name"))
    }

    fn dump(&self) -> String {
        self.server.command(&["EVAL", DUMP, "0"]).expect("a dump")
    }

    /// Commands that the server has run, those in scripts included.
    fn commands(&self) -> u64 {
        let stats = self.server.command(&["INFO", "commandstats"]).expect("counts");
        let calls =
            stats.lines().filter_map(|line| line.split_once("calls=")?.1.split_once(',')?.0.parse::<u64>().ok());
        calls.sum()
    }

    async fn go(&mut self, step: &Step, now: Timestamp) -> String {
        match step {
            Step::Add(jobs) => format!("{:?}", self.q.add(jobs.clone(), now).await),
            Step::Turn { ends, keep, most } => {
                let verdict =
                    |lock: &Lock| Verdict { keep: *keep, ran: Some(Duration::from_millis(3)), ..verdict(lock, done()) };
                self.ended = self.held.drain(..self.held.len().min(*ends)).collect();
                let ends = self.ended.iter().map(verdict).collect();
                let turned = self.q.turn(ends, Some(self.q.wish(*most)), now).await;
                self.held.extend(turned.held.iter().map(|held| held.lock.clone()));
                format!("{turned:?}")
            }
            Step::Fail => {
                let ends = self.held.drain(..self.held.len().min(1));
                let failed = |lock: Lock| verdict(&lock, Outcome::Retry { at: now, failure: boom() });
                let turned = self.q.turn(ends.map(failed).collect(), None, now).await;
                format!("{turned:?}")
            }
            Step::Again(keep) => {
                let verdict = |lock: &Lock| Verdict { keep: *keep, ..verdict(lock, done()) };
                format!("{:?}", self.q.turn(self.ended.iter().map(verdict).collect(), Some(self.q.wish(1)), now).await)
            }
            Step::Stall => {
                self.meddle(&["DEL", "bull:q:ID:lock"]);
                self.meddle(&["SADD", "bull:q:stalled", "ID"]);
                format!("{:?}", self.q.rescue(3, now).await)
            }
            Step::Meddle(command) => self.meddle(command),
        }
    }

    /// A command about a job that is held.
    fn meddle(&self, command: &[&str]) -> String {
        let Some(lock) = self.held.last() else { return String::new() };
        let command: Vec<String> = command.iter().map(|part| part.replace("ID", lock.id.as_str())).collect();
        self.server.command(&command.iter().map(String::as_str).collect::<Vec<_>>()).expect("a command")
    }
}

/// What others do to a job that runs, and to its queue.
const MEDDLING: [&[&str]; 9] = [
    &["DEL", "bull:q:ID:lock"],
    &["SADD", "bull:q:stalled", "ID"],
    &["RPUSH", "bull:q:ID:logs", "a line"],
    &["SADD", "bull:q:ID:dependencies", "a child"],
    &["HSET", "bull:q:ID:processed", "a child", "1"],
    &["HSET", "bull:q:ID:failed", "a child", "no"],
    &["ZADD", "bull:q:ID:unsuccessful", "0", "a child"],
    &["INCR", "bull:q:pc"],
    &["HSET", "bull:q:ID", "atm", "7"],
];

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<NewJob>),
    Turn { ends: usize, keep: Keep, most: usize },
    Fail,
    Again(Keep),
    Stall,
    Meddle(&'static [&'static str]),
}

impl Step {
    /// Some histories have nothing but plain jobs.
    fn draw(dice: &mut Dice, only_plain: bool) -> Self {
        match dice.size(17) {
            12 => Step::Again(Keep { count: *dice.one(&[None, Some(2)]), age: None }),
            13 => Step::Stall,
            14..=16 => Step::Meddle(MEDDLING[dice.size(MEDDLING.len())]),
            0..=4 => Step::Add((0..*dice.one(&[1, 1, 3, 9])).map(|_| job(options(dice, only_plain))).collect()),
            5 if !only_plain => Step::Fail,
            _ => {
                let keep =
                    Keep { count: *dice.one(&[None, Some(0), Some(2), Some(9)]), age: *dice.one(&[None, Some(LOCK)]) };
                Step::Turn { ends: *dice.one(&[0, 1, 1, 3, 12, 40]), keep, most: *dice.one(&[1, 1, 2, 9, 20]) }
            }
        }
    }
}

fn options(dice: &mut Dice, only_plain: bool) -> JobOptions {
    if only_plain {
        return plain();
    }
    let delay = Duration::from_millis(*dice.one(&[0, 0, 0, 0, 0, 2_000]));
    JobOptions { delay, priority: *dice.one(&[0, 0, 0, 0, 5]), ..plain() }
}

#[tokio::test]
async fn plain_turns_leave_what_whole_ones_leave() {
    let (mut spared, mut alike) = (0, 0);
    for seed in 0..SEEDS {
        let only_plain = seed % 3 != 0;
        let mut dice = Dice::new(seed);
        let (mut plain, mut whole) = (Side::new(None).await, Side::new(NonZeroU32::new(1_000_000)).await);
        let mut now = T0;
        for number in 0..STEPS {
            now = now.plus(Duration::from_millis(*dice.one(&[0, 1, 30, 900, 61_000])));
            let step = Step::draw(&mut dice, only_plain);
            let (one, other) = (plain.go(&step, now).await, whole.go(&step, now).await);
            assert_eq!(one, other, "seed {seed}, step {number}: {step:?}");
            let (one, other) = (plain.dump(), whole.dump());
            assert_eq!(one, other, "seed {seed}, step {number}: {step:?}");
            alike += 1;
        }
        let minutes = async |side: &Side| side.q.backend.metrics(&side.q.queue, None, 100).await.expect("minutes");
        assert_eq!(minutes(&plain).await, minutes(&whole).await, "seed {seed}");
        spared += whole.commands().saturating_sub(plain.commands());
    }
    assert!(spared > alike, "plain turns were taken: {spared} commands spared in {alike} steps");
}

//! The life as ours lives it, by the verbs of the seam: each step does what a worker or a caller of ours does.

use std::collections::HashMap;
use std::sync::Arc;

use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::backend::*;
use launchkit_queue::{
    ChildFailure, Failure, FailureKind, Fate, JobId, JobOptions, Outcome, Payload, QueueName, Ran, Repeat, Schedule,
    State, Tick, Timestamp, decide,
};
use launchkit_testkit::given::{Given, LOCK};
use launchkit_testkit::redis::RedisServer;
use serde_json::{Map, Value, json};

/// A store, and the jobs that are held.
pub(crate) struct Ours {
    store: Arc<Redis>,
    held: HashMap<String, Held>,
    tokens: u64,
}

impl Ours {
    pub(crate) async fn on(server: &RedisServer) -> Self {
        let options = RedisOptions::parse(&server.url()).expect("a URL");
        let store = Arc::new(Redis::open(&options).await.expect("a store"));
        Self { store, held: HashMap::new(), tokens: 0 }
    }

    /// One step, and what is answered: an id, several, or nothing.
    pub(crate) async fn step(&mut self, what: &str, step: &Value, now: Timestamp) -> Value {
        let queue = QueueName::new(text(&step["queue"])).expect("a name");
        let q = Given::over(self.store.clone(), queue.clone());
        let after = |name: &str| now.plus(millis(&step[name]));
        match what {
            "add" => json!(q.add(vec![new_job(step)], now).await[0].id().as_str()),
            "bulk" => {
                let jobs = step["jobs"].as_array().expect("jobs").iter().map(new_job).collect();
                json!(q.add(jobs, now).await.iter().map(|added| added.id().as_str()).collect::<Vec<_>>())
            }
            "flow" => self.flow(&step["tree"], now).await,
            "unschedule" => json!(q.edit(Edit::Unschedule(text(&step["id"]).into()), now).await == Edited::Done),
            "take" => self.take(&q, now).await,
            "done" => self.end(&q, step, now, |_| Outcome::Done(payload(&step["value"]))).await,
            "fail" => self.end(&q, step, now, |held| failed(held, step, now)).await,
            "later" => self.end(&q, step, now, |_| Outcome::Later(after("wait"))).await,
            "back" => self.end(&q, step, now, |_| Outcome::Back).await,
            "slow" => self.end(&q, step, now, |_| Outcome::SlowDown(after("wait"))).await,
            "children" => self.end(&q, step, now, |_| Outcome::AwaitChildren).await,
            "extend" => {
                q.beat(vec![self.held[text(&step["job"])].lock.clone()], now).await;
                Value::Null
            }
            "look" => {
                q.rescue(1, now).await;
                Value::Null
            }
            "schedule" => self.schedule(&q, step, now).await,
            "retryAll" | "promoteAll" | "clean" | "drain" => {
                let what = match what {
                    "retryAll" => SweepWhat::RetryFailed(now),
                    "promoteAll" => SweepWhat::PromoteDelayed,
                    "clean" => SweepWhat::Clean(state(text(&step["state"])), now.minus(millis(&step["grace"]))),
                    _ if step["delayed"] == true => SweepWhat::DrainDelayed,
                    _ => SweepWhat::DrainWaiting,
                };
                let done = q.sweep(what, MAX_READ, now).await.done.len();
                if matches!(what, SweepWhat::Clean(..)) { json!(done) } else { Value::Null }
            }
            "nothing" => Value::Null,
            _ => match (edit(what, step), control(what, step, now)) {
                (Some(edit), _) => {
                    q.edit(edit, now).await;
                    Value::Null
                }
                (None, Some(order)) => {
                    self.store.control(&queue, order, now).await.expect("an order is carried out");
                    Value::Null
                }
                (None, None) => panic!("nobody knows the step {what}"),
            },
        }
    }

    async fn take(&mut self, q: &Given, now: Timestamp) -> Value {
        let token = Token::new(format!("life:{}", self.tokens));
        self.tokens += 1;
        let take = Take { token, mode: TakeMode::Fresh, most: 1, lock_for: LOCK, rate: None };
        let Some(held) = q.turn(Vec::new(), Some(take), now).await.held.pop() else { return Value::Null };
        let id = held.lock.id.to_string();
        if let Some((scheduler, slot)) = held.lock.id.iteration() {
            self.advance(q, scheduler, slot, now).await;
        }
        self.held.insert(id.clone(), held);
        json!(id)
    }

    async fn end(&mut self, q: &Given, step: &Value, now: Timestamp, outcome: impl Fn(&Held) -> Outcome) -> Value {
        let Some(held) = self.held.remove(text(&step["job"])) else { return json!("it is not held") };
        let outcome = outcome(&held);
        let keep = match &outcome {
            Outcome::Done(_) => held.options.keep_completed,
            _ => held.options.keep_failed,
        };
        let ends = vec![Verdict { lock: held.lock, outcome, keep, ran: None }];
        assert_eq!(q.turn(ends, None, now).await.ends, [End::Applied], "{step}");
        Value::Null
    }

    async fn flow(&self, tree: &Value, now: Timestamp) -> Value {
        let (mut nodes, mut open) = (Vec::new(), vec![(tree, None)]);
        while let Some((tree, parent)) = open.pop() {
            let on_failure = POLICIES.iter().find(|(name, _)| tree["opts"][*name] == true);
            let on_failure = on_failure.map_or(ChildFailure::Wait, |(_, policy)| *policy);
            let queue = QueueName::new(text(&tree["queue"])).expect("a name");
            let parent = parent.map(|parent| Under { parent: Parent::Node(parent), on_failure });
            nodes.push(Node { queue, job: new_job(tree), parent });
            let children = tree["children"].as_array().into_iter().flatten().rev();
            open.extend(children.map(|child| (child, Some(nodes.len() - 1))));
        }
        match self.store.add_flow(AddFlow { nodes }, now).await.expect("a flow is added") {
            Flowed::Added(_) => Value::Null,
            Flowed::Refused(refused) => panic!("{refused:?}"),
        }
    }

    /// As [`launchkit_queue::Queue::schedule`] does it.
    async fn schedule(&self, q: &Given, step: &Value, now: Timestamp) -> Value {
        let (repeat, template) = (&step["repeat"], &step["template"]);
        let schedule = match repeat["every"].as_u64() {
            Some(_) => Schedule::Every(millis(&repeat["every"])),
            None => Schedule::cron_in(text(&repeat["pattern"]), text(&repeat["tz"])),
        };
        let plain = Repeat::named(text(&step["id"]), schedule, text(&template["name"]), &()).expect("JSON");
        let data = if template["data"].is_null() { json!({}) } else { template["data"].clone() };
        let options = options(&template["opts"]);
        let repeat = Repeat { limit: repeat["limit"].as_u64(), data: payload(&data), options, ..plain };
        let first = repeat.first(now).expect("it has times");
        let put = Edit::Schedule(Put { repeat: Arc::new(repeat), first });
        assert!(matches!(q.edit(put, now).await, Edited::Due(_)), "{step}");
        Value::Null
    }

    /// As a worker does it when it has taken a scheduler's job.
    async fn advance(&self, q: &Given, id: &str, slot: Timestamp, now: Timestamp) {
        let wanted = Repeats::Ids(vec![id.into()]);
        let found = self.store.repeats(&q.queue, &wanted, 1).await.expect("a read").found.pop();
        let Some(one) = found.filter(|one| one.slot == Some(slot)) else { return };
        let more = one.repeat.limit.is_none_or(|limit| one.count < limit);
        let next = one.repeat.next(slot, now).filter(|_| more);
        let tick = Tick::one(Fate::Run, slot, now);
        q.edit(Edit::Advance(Advance { id: id.into(), slot, next, tick, left: None }), now).await;
    }
}

const POLICIES: [(&str, ChildFailure); 4] = [
    ("failParentOnFailure", ChildFailure::FailParent),
    ("continueParentOnFailure", ChildFailure::ContinueParent),
    ("ignoreDependencyOnFailure", ChildFailure::Ignore),
    ("removeDependencyOnFailure", ChildFailure::Remove),
];

/// What BullMQ's public options are called where they are stored, which is what ours are read from.
const STORED: [(&str, &str); 2] = [("deduplication", "de"), ("keepLogs", "kl")];

fn options(public: &Value) -> JobOptions {
    let mut stored = public.as_object().cloned().unwrap_or_default();
    for (name, short) in STORED {
        if let Some(value) = stored.remove(name) {
            stored.insert(short.into(), value);
        }
    }
    let keep = |value: &Value| match value {
        Value::Bool(true) => json!({ "count": 0 }),
        Value::Number(count) => json!({ "count": count }),
        Value::Object(_) => value.clone(),
        _ => json!({}),
    };
    for name in ["removeOnComplete", "removeOnFail"] {
        if let Some(value) = stored.get_mut(name) {
            *value = keep(value);
        }
    }
    if let Some(wait) = stored.get("backoff").filter(|wait| wait.is_number()).cloned() {
        stored.insert("backoff".into(), json!({ "type": "fixed", "delay": wait }));
    }
    let known: Map<String, Value> = stored
        .into_iter()
        .filter(|(name, _)| name != "jobId" && POLICIES.iter().all(|(policy, _)| name != policy))
        .collect();
    serde_json::from_value(Value::Object(known)).expect("options of ours")
}

fn new_job(step: &Value) -> NewJob {
    let id = step["opts"]["jobId"].as_str().map(|id| JobId::custom(id).expect("an id"));
    let data = step.get("data").cloned().unwrap_or(json!({ "n": 1 }));
    let data = if data.is_null() { json!({ "n": 1 }) } else { data };
    NewJob {
        id,
        name: step["name"].as_str().unwrap_or("text").into(),
        data: payload(&data),
        options: Arc::new(options(&step["opts"])),
    }
}

fn failed(held: &Held, step: &Value, now: Timestamp) -> Outcome {
    let kind = if step["final"] == true { FailureKind::GaveUp } else { FailureKind::Error };
    let told = held.failed_already.clone();
    assert_eq!(told.is_some(), step["told"] == true, "{step}: whether it was to be failed without a run");
    let failure = told.unwrap_or_else(|| Failure::new(kind, text(&step["error"])));
    decide(Ran::Failed(failure), held.made, &held.options, now, 0.5)
}

fn edit(what: &str, step: &Value) -> Option<Edit> {
    let job = || JobId::parse(text(&step["job"])).expect("an id");
    Some(match what {
        "progress" => Edit::Progress(job(), payload(&step["value"])),
        "data" => Edit::Data(job(), payload(&step["value"])),
        "log" => Edit::Log(job(), vec![text(&step["line"]).into()]),
        "promote" => Edit::Promote(job()),
        "retry" => Edit::Retry(job(), if step["reset"] == true { Made::Reset } else { Made::Keep }),
        "remove" => Edit::Remove(job()),
        "detach" => Edit::Detach(job()),
        "free" => Edit::FreeDedup(text(&step["id"]).into()),
        _ => return None,
    })
}

fn control(what: &str, step: &Value, now: Timestamp) -> Option<Control> {
    let number =
        |name: &str| step[name].as_u64().and_then(|n| u32::try_from(n).ok()).and_then(std::num::NonZeroU32::new);
    Some(match what {
        "pause" => Control::Pause,
        "resume" => Control::Resume,
        "slots" => Control::Concurrency(number("most")),
        "rate" => Control::Rate(number("max").map(|max| Rate { max, per: millis(&step["duration"]) })),
        "hold" => Control::HoldUntil(now.plus(millis(&step["wait"]))),
        "clear" => Control::ClearRate,
        _ => return None,
    })
}

fn payload(value: &Value) -> Payload {
    Payload::from_json(value.to_string()).expect("JSON")
}

fn state(name: &str) -> State {
    State::ALL.into_iter().find(|state| state.name() == name).expect("a state")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn millis(value: &Value) -> std::time::Duration {
    std::time::Duration::from_millis(value.as_u64().unwrap_or_else(|| panic!("{value} is no time")))
}

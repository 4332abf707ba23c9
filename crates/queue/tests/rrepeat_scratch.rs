#![allow(missing_docs)]
use std::sync::Arc; use std::time::Duration;
use async_trait::async_trait;
use launchkit_queue::backend::*; use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_queue::{Counts, Failed, Group, JobId, Position, QueueName, Record, StoreError, Tick, Timestamp};
use launchkit_testkit::redis::{Kind, RedisServer};
pub struct Clocked { inner: Arc<dyn Backend>, server: Arc<RedisServer> }
impl Clocked { fn turn_to(&self, now: Timestamp) { if now.millis() > 0 { self.server.set_clock(now).unwrap() } } }
#[async_trait]
impl Backend for Clocked {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> { self.turn_to(now); self.inner.add(add, now).await }
    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> { self.turn_to(now); self.inner.add_flow(flow, now).await }
    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> { self.turn_to(now); self.inner.turn(turn, now).await }
    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> { self.turn_to(now); self.inner.beat(beat, now).await }
    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> { self.turn_to(now); self.inner.rescue(rescue, now).await }
    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> { self.inner.wait(queue, at_most).await }
    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> { self.inner.wait_events(queue, after, at_most).await }
    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> { self.turn_to(now); self.inner.edit(edit, now).await }
    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> { self.turn_to(now); self.inner.sweep(sweep, now).await }
    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> { self.turn_to(now); self.inner.spend(spends, now).await }
    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> { self.turn_to(now); self.inner.control(queue, what, now).await }
    async fn group(&self, queue: &QueueName, group: &Group, what: GroupControl, now: Timestamp) -> Result<(), StoreError> { self.turn_to(now); self.inner.group(queue, group, what, now).await }
    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> { self.inner.groups(queue, wanted, most).await }
    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> { self.inner.get(queue, ids).await }
    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> { self.inner.list(queue, list).await }
    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> { self.inner.counts(queue).await }
    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> { self.inner.logs(queue, id, skip, most).await }
    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> { self.inner.children(queue, id, after, most).await }
    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> { self.inner.events(queue, after, most).await }
    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> { self.turn_to(now); self.inner.info(queue, now).await }
    async fn metrics(&self, queue: &QueueName, before: Option<Timestamp>, most: u32) -> Result<Vec<Minute>, StoreError> { self.inner.metrics(queue, before, most).await }
    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> { self.inner.repeats(queue, wanted, most).await }
    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> { self.inner.ticks(queue, id, most).await }
    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> { self.turn_to(now); self.inner.facts(queue, id, now).await }
    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> { self.inner.queues().await }
    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> { self.inner.claim(deployment).await }
    fn promises(&self) -> Promises { self.inner.promises() }
    async fn close(&self)  { self.inner.close().await }
}
pub struct H { store: Arc<dyn Backend>, server: Arc<RedisServer> }
async fn open(server: &Arc<RedisServer>) -> Arc<dyn Backend> {
    let inner: Arc<dyn Backend> = Arc::new(Redis::open(&RedisOptions::new(server.url())).await.unwrap());
    Arc::new(Clocked { inner, server: server.clone() })
}
impl launchkit_testkit::Harness for H {
    const NAME: &'static str = "redis";
    async fn fresh() -> Self { let server = Arc::new(RedisServer::start_clocked(Kind::Redis).unwrap()); server.set_clock(launchkit_testkit::given::T0).unwrap(); H { store: open(&server).await, server } }
    fn backend(&self) -> Arc<dyn Backend> { self.store.clone() }
    async fn another(&self) -> Option<Arc<dyn Backend>> { Some(open(&self.server).await) }
    async fn reopen(self) -> Option<Self> { self.store.close().await; Some(H { store: open(&self.server).await, server: self.server }) }
}
mod redis { launchkit_testkit::conformance!(crate::H); }
mod peer {
    use super::*;
    use launchkit_queue::*;
    fn node(server: &RedisServer, args: &[&str]) -> String {
        let out = std::process::Command::new("node").current_dir("/tmp/rrepeat-node").arg("run.mjs").arg(server.port().to_string()).args(args).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        println!("--- node {args:?}\n{text}"); text
    }
    async fn ours(queue: &Queue, ms: u64) -> Vec<String> {
        let ran = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = ran.clone();
        let worker = Worker::builder(queue).on_rest(move |job| { let seen = seen.clone(); async move { seen.lock().unwrap().push(job.id().to_string()); Ok(Payload::null()) } });
        worker.build().unwrap().run_until(tokio::time::sleep(Duration::from_millis(ms))).await;
        let ran = ran.lock().unwrap().clone(); println!("--- ours ran {ran:#?}"); ran
    }
    async fn dump(server: &RedisServer, queue: &Queue) {
        for one in queue.schedules(None, 100).await.unwrap() { println!("ours sees {} slot {:?} count {} {:?}", one.repeat.id, one.slot, one.count, one.repeat.schedule); 
            println!("{}", server.command(&["HGETALL", &format!("bull:cases:repeat:{}", one.repeat.id)]).unwrap().replace('\n', " | ")); 
            if let Some(slot) = one.slot { println!("job: {}", server.command(&["HGETALL", &format!("bull:cases:repeat:{}:{slot}", one.repeat.id)]).unwrap().replace('\n', " | ")); } 
            println!("ticks {:?}", queue.ticks(&one.repeat.id, 10).await.unwrap().iter().map(|t| (t.fate, t.first.millis() % 100000, t.count)).collect::<Vec<_>>()); }
    }
    async fn set() -> (RedisServer, Queue) {
        let server = RedisServer::start(Kind::Redis).unwrap();
        let store: Arc<dyn Backend> = Arc::new(Redis::open(&RedisOptions::new(server.url())).await.unwrap());
        let queue = Queue::new(&Store::over(store, Clock::system()), "cases").unwrap();
        (server, queue)
    }
    #[tokio::test]
    async fn ours_on_node() {
        let (server, queue) = set().await;
        let every = Repeat { limit: Some(6), options: JobOptions { attempts: 2, backoff: Backoff::fixed(Duration::from_millis(700)), ..JobOptions::default() }, ..Repeat::named("mine", Schedule::Every(Duration::from_secs(1)), "tick", &7).unwrap() };
        queue.schedule(every.clone()).await.unwrap();
        queue.schedule(Repeat { misfire: Misfire::Skip { after: Duration::from_secs(1) }, ..Repeat::named("cron:a", Schedule::cron_in("* * * * * *", "Europe/Berlin"), "cron", &serde_json::json!({})).unwrap() }).await.unwrap();
        dump(&server, &queue).await;
        node(&server, &["show"]);
        node(&server, &["work", "2500"]);
        dump(&server, &queue).await;
        ours(&queue, 2000).await;
        dump(&server, &queue).await;
        node(&server, &["work", "3500"]);
        dump(&server, &queue).await;
        queue.schedule(Repeat { limit: Some(8), ..every }).await.unwrap();
        node(&server, &["work", "3500"]);
        dump(&server, &queue).await;
        node(&server, &["remove", "mine"]);
        assert!(queue.unschedule("cron:a").await.unwrap());
        println!("left {:?}", server.command(&["KEYS", "*repeat*"]));
        println!("left {:?}", server.command(&["KEYS", "*ticks*"]));
    }
    #[tokio::test]
    async fn theirs_on_ours() {
        let (server, queue) = set().await;
        node(&server, &["upsert", r#"["theirs",{"every":1000,"limit":6},{"name":"n","data":{"a":1},"opts":{"attempts":3,"backoff":700,"removeOnComplete":true,"kl":3}}]"#]);
        node(&server, &["upsert", r#"["pat",{"pattern":"*/1 * * * * *"},{}]"#]);
        dump(&server, &queue).await;
        ours(&queue, 2500).await;
        dump(&server, &queue).await;
        node(&server, &["work", "2000"]);
        dump(&server, &queue).await;
        node(&server, &["upsert", r#"["theirs",{"every":1000,"limit":3},{"name":"n2"}]"#]);
        dump(&server, &queue).await;
        ours(&queue, 4500).await;
        dump(&server, &queue).await;
        node(&server, &["upsert", r#"["theirs",{"every":2000},{"name":"n3"}]"#]);
        dump(&server, &queue).await;
    }
}

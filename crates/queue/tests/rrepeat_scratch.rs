#![allow(missing_docs)]
use std::sync::Arc; use std::time::Duration;
use launchkit_queue::backend::*; use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_testkit::redis::{Kind, RedisServer};
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
        let store: Arc<dyn Backend> = Arc::new(Redis::open(&RedisOptions::parse(&server.url()).unwrap()).await.unwrap());
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

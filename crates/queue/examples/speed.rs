use launchkit_queue::*;
use std::sync::Arc;
use std::time::{Duration, Instant};
#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir_in("/work").unwrap();
    let mem = std::env::args().nth(1).as_deref() == Some("memory");
    let store = if mem { Store::memory() } else { Store::sqlite(dir.path().join("q.db")).await.unwrap() };
    let queue = Queue::new(&store, "bench").unwrap();
    let data = serde_json::json!({"jobId":"clx0123456789012345678901","orgId":"org_1","type":"SUMMARIZE","input":{"text":"x".repeat(100)}});
    let opts = Arc::new(JobOptions {
        attempts: 3,
        backoff: Backoff::exponential(Duration::from_secs(2)),
        keep_completed: Keep::younger(Duration::from_secs(3600)),
        ..Default::default()
    });
    let n = 50_000;
    let t = Instant::now();
    for _ in 0..n / 1000 {
        let jobs = (0..1000).map(|_| Planned::named("text", &data).options(opts.clone())).collect();
        queue.add_all(jobs).await.unwrap();
    }
    println!("bulk add {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let t = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (queue, data, opts) = (queue.clone(), data.clone(), opts.clone());
        set.spawn(async move {
            for _ in 0..n / 64 {
                queue.add_all(vec![Planned::named("text", &data).options(opts.clone())]).await.unwrap();
            }
        });
    }
    while set.join_next().await.is_some() {}
    println!("single add {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    for c in [100, 10, 1] {
        let total = queue.counts().await.unwrap().waiting;
        let goal = if c == 100 { 0 } else { total.saturating_sub(if c == 10 { 50_000 } else { 10_000 }) };
        let _ = goal;
        let (tx, rx) = tokio::sync::oneshot::channel::<()>();
        let q2 = queue.clone();
        let t = Instant::now();
        let before = queue.counts().await.unwrap().completed;
        let limit = match c {
            100 => 50_000,
            10 => 30_000,
            _ => 5_000,
        };
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                let c = q2.counts().await.unwrap();
                if c.completed - before >= limit || (c.waiting + c.active == 0) {
                    break;
                }
            }
            let _ = tx.send(());
        });
        let w = Worker::builder(&queue).concurrency(c).on_rest(|_| async { Ok(Payload::null()) }).build().unwrap();
        let report = w.run_until(async { rx.await.unwrap_or(()) }).await;
        let done = queue.counts().await.unwrap().completed - before;
        println!("c={c} {:.0}/s {report:?}", done as f64 / t.elapsed().as_secs_f64());
        let data = data.clone();
        let jobs: Vec<_> = (0..10_000).map(|_| Planned::named("text", &data).options(opts.clone())).collect();
        queue.add_all(jobs).await.unwrap();
    }
    let c = queue.counts().await.unwrap();
    println!("{c:?}");
    store.close().await;
}

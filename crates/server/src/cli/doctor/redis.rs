//! What `doctor` finds on Redis: each fact that decides whether jobs are safe and worked on, and what to do about it.

use launchkit_queue::backend::List;
use launchkit_queue::{
    Queue, QueueName, RedisDisk, RedisLack, RedisMemory, RedisOptions, RedisQueue, RedisReport, RedisRole, State,
    Store, StoreError,
};

use super::{Check, bad, good, note};
use crate::app::queue::{FOREIGN, foreign};
use crate::app::{AI_JOBS, WEBHOOKS};

/// Clocks further apart than this are worth a look, and than that are wrong, in ms.
const APART: (i64, i64) = (1_000, 30_000);
/// Of the memory's bound, in percent: above this it is nearly used up.
const NEARLY_FULL: u64 = 90;
/// Things that are named in one line.
const NAMED: usize = 5;

/// What is found; `deployment` is the database's, where it could be read.
pub(super) async fn checks(options: &RedisOptions, deployment: Option<&str>) -> Vec<Check> {
    let store = match Store::redis(options).await {
        Ok(store) => store,
        Err(error @ (StoreError::Unavailable(_) | StoreError::Busy)) => {
            let detail =
                format!("{error}. serve would wait for it. Is it running, is the address right? Try redis-cli ping");
            return vec![bad("redis", detail)];
        }
        Err(error) => return vec![bad("redis", format!("{error}. serve would not start"))],
    };
    let found = found(&store, options, deployment).await;
    store.close().await;
    found.unwrap_or_else(|error| vec![bad("redis", format!("{} does not answer: {error}", options.address()))])
}

async fn found(store: &Store, options: &RedisOptions, deployment: Option<&str>) -> Result<Vec<Check>, StoreError> {
    let names: Vec<QueueName> = [AI_JOBS, WEBHOOKS].into_iter().filter_map(|name| QueueName::new(name).ok()).collect();
    let Some(report) = store.redis_report(&names).await? else { return Ok(Vec::new()) };
    let mut checks = server(&report, options, deployment);
    checks.extend(filled(store).await);
    for known in &report.queues {
        let Ok(queue) = Queue::new(store, known.name.as_str()) else { continue };
        match queue_checks(&queue, known).await {
            Ok(found) => checks.extend(found),
            Err(error) => checks.push(bad("queue", format!("{} cannot be read: {error}", known.name))),
        }
    }
    Ok(checks)
}

/// Whether `serve` would be refused because of whose jobs are there.
async fn filled(store: &Store) -> Option<Check> {
    match foreign(store).await {
        Ok(None) => None,
        Ok(Some(queue)) => {
            Some(bad("queue", format!("{queue} {FOREIGN}: serve will not start. Set another QUEUE_PREFIX")))
        }
        Err(error) => Some(bad("queue", format!("whether another program filled it cannot be seen: {error}"))),
    }
}

fn server(report: &RedisReport, options: &RedisOptions, deployment: Option<&str>) -> Vec<Check> {
    let mode = report.mode.as_deref().unwrap_or("mode unknown");
    let mut checks = vec![good("redis", format!("{} at {}, {mode}", report.server, options.address()))];
    checks.push(owner(report, options, deployment));
    match &report.memory {
        Some(memory) => checks.extend(memory_checks(memory)),
        None => {
            checks.push(note("redis memory", "INFO is refused to this user: see that maxmemory-policy is noeviction"))
        }
    }
    checks.push(match &report.disk {
        Some(disk) => persistence(disk),
        None => note("redis persistence", "INFO is refused to this user: see that appendonly is yes"),
    });
    checks.extend(report.role.as_ref().map(role));
    checks.push(clock(report.ahead));
    checks.extend(lacks(&report.lacks));
    checks
}

fn owner(report: &RedisReport, options: &RedisOptions, deployment: Option<&str>) -> Check {
    let prefix = options.key_prefix();
    let unseen = report.lacks.iter().any(|lack| matches!(&*lack.command, "keys" | "get"));
    match (report.deployment.as_deref(), deployment) {
        (None, _) if unseen => note("redis prefix", format!("{prefix}; this user may not read whose it is")),
        (None, _) => good("redis prefix", format!("{prefix}, which no deployment has claimed yet")),
        (Some(owner), Some(ours)) if owner != ours => bad(
            "redis prefix",
            format!(
                "{prefix} belongs to another deployment than the database: serve will not start, and one that runs leaves \
                 it alone. Use the database that belongs to it, or set another QUEUE_PREFIX"
            ),
        ),
        (Some(_), Some(_)) => good("redis prefix", format!("{prefix}, claimed by this deployment")),
        (Some(_), None) => {
            note("redis prefix", format!("{prefix}, claimed by a deployment; the database was not asked by which"))
        }
    }
}

fn memory_checks(memory: &RedisMemory) -> Vec<Check> {
    let policy = if memory.evicts() {
        bad(
            "redis policy",
            format!(
                "maxmemory-policy is {}: Redis may throw jobs away when it is full. Set it to noeviction (CONFIG SET \
                 maxmemory-policy noeviction, and in redis.conf)",
                memory.policy
            ),
        )
    } else {
        good("redis policy", "maxmemory-policy is noeviction: when Redis is full it refuses writes and keeps jobs")
    };
    let used = bytes(memory.used);
    let room = match memory.most {
        0 => note(
            "redis memory",
            format!(
                "{used} used and no maxmemory: it grows until the system ends it. Set one, below the machine's memory"
            ),
        ),
        most if memory.used >= most / 100 * NEARLY_FULL => bad(
            "redis memory",
            format!("{used} of {} used: at the bound no job is added. Raise maxmemory, or clean old jobs", bytes(most)),
        ),
        most => good("redis memory", format!("{used} of {} used", bytes(most))),
    };
    let mut checks = vec![policy, room];
    if memory.evicted > 0 {
        let detail = format!("{} keys were thrown away since it started: jobs may be among them", memory.evicted);
        checks.push(if memory.evicts() { bad("redis evictions", detail) } else { note("redis evictions", detail) });
    }
    checks
}

fn persistence(disk: &RedisDisk) -> Check {
    const NAME: &str = "redis persistence";
    if disk.failing {
        return bad(
            NAME,
            "the last write to its disk failed: look at its log and its disk, before it restarts and forgets",
        );
    }
    let rebuilt = "the database brings accepted jobs back; pauses, limits and the queue's history would be gone";
    match (disk.log, disk.sync.as_deref(), disk.snapshots.as_deref()) {
        (true, Some("always"), _) => good(NAME, "append-only file, synced at each write: a crash loses nothing"),
        (true, Some("no"), _) => note(
            NAME,
            format!(
                "append-only file, synced when the system likes (appendfsync no): a power cut may lose half a minute; {rebuilt}. Set appendfsync everysec"
            ),
        ),
        (true, Some(_), _) => {
            good(NAME, format!("append-only file, synced each second: a power cut may lose a second; {rebuilt}"))
        }
        (true, None, _) => good(NAME, "append-only file (how often it is synced is not told to this user)"),
        (false, _, Some("")) => {
            note(NAME, format!("nothing is kept on disk: a restart empties the queue; {rebuilt}. Set appendonly yes"))
        }
        (false, _, _) => note(
            NAME,
            format!("snapshots only: a restart loses what came after the last one; {rebuilt}. Set appendonly yes"),
        ),
    }
}

fn role(role: &RedisRole) -> Check {
    match role {
        RedisRole::Replica { of, .. } => bad(
            "redis role",
            format!(
                "this server is a replica of {of} and takes no writes: name the primary, or its sentinels (redis-sentinel://…)"
            ),
        ),
        RedisRole::Primary { replicas: 0 } => good("redis role", "primary without replicas"),
        RedisRole::Primary { replicas } => good(
            "redis role",
            format!(
                "primary with {replicas} replicas; they lag, so a failover may lose what came last, which the database brings back"
            ),
        ),
        _ => note("redis role", "unknown"),
    }
}

fn clock(ahead: Option<i64>) -> Check {
    const NAME: &str = "redis clock";
    match ahead {
        None => note(NAME, "TIME is refused to this user: not compared"),
        Some(ms) if ms.abs() < APART.0 => good(NAME, format!("{ms} ms from this machine's")),
        Some(ms) => {
            let detail =
                format!("{ms} ms from this machine's: delays and retries follow the machines' clocks. Run NTP on both");
            if ms.abs() > APART.1 { bad(NAME, detail) } else { note(NAME, detail) }
        }
    }
}

fn lacks(lacks: &[RedisLack]) -> Vec<Check> {
    let named = |needed: bool| -> Vec<&str> {
        lacks.iter().filter(|lack| lack.needed == needed).map(|lack| lack.command.as_str()).collect()
    };
    let rule = "the rule in deploy/redis.conf allows what is needed";
    let (needed, wanted) = (named(true), named(false));
    let mut checks = Vec::new();
    if needed.contains(&"keys") {
        checks.push(bad("redis rights", format!("this user may not touch the keys of the prefix; {rule}")));
    } else if !needed.is_empty() {
        checks.push(bad("redis rights", format!("this user may not: {}; {rule}", needed.join(", "))));
    } else {
        checks.push(good("redis rights", "this user may do all that is needed"));
    }
    if !wanted.is_empty() {
        let detail = format!("this user may not: {}; jobs run all the same, less is seen; {rule}", wanted.join(", "));
        checks.push(note("redis rights", detail));
    }
    checks
}

async fn queue_checks(queue: &Queue, known: &RedisQueue) -> Result<Vec<Check>, StoreError> {
    let info = queue.info().await?;
    let name = &known.name;
    let counts = &info.counts;
    let ready = counts.waiting + counts.prioritized;
    let figures = format!(
        "{name}: {ready} waiting, {} active, {} delayed, {} failed",
        counts.active, counts.delayed, counts.failed
    );
    let mut checks = vec![match (info.paused, info.workers.len()) {
        (true, _) => note("queue", format!("{figures}; paused: it gives out no jobs until launchkit queue resume")),
        (false, 0) if ready + counts.active > 0 => {
            note("queue", format!("{figures}; no worker is alive: start launchkit serve or launchkit worker"))
        }
        (false, workers) => good("queue", format!("{figures}; {workers} workers alive")),
    }];
    checks.extend(fleet(known));
    if let Some(failed) = last_failed(queue).await? {
        checks.push(failed);
    }
    Ok(checks)
}

/// Who else is there.
fn fleet(known: &RedisQueue) -> Option<Check> {
    let others: Vec<String> = known
        .lines
        .iter()
        .filter(|line| !line.ours)
        .take(NAMED)
        .map(|line| format!("{} from {}", line.worker.as_deref().unwrap_or("one without a name"), line.address))
        .collect();
    let name = &known.name;
    match (others.is_empty(), &known.library) {
        (true, None) => None,
        (true, Some(library)) => {
            Some(note("queue", format!("{name}: {library} has opened it, and has no workers there")))
        }
        (false, library) => Some(bad(
            "queue",
            format!(
                "{name}: workers of another program{} wait for its jobs ({}): they would take ours and cannot do them. Stop \
                 them, or set another QUEUE_PREFIX",
                library.as_ref().map(|library| format!(" ({library})")).unwrap_or_default(),
                others.join(", ")
            ),
        )),
    }
}

async fn last_failed(queue: &Queue) -> Result<Option<Check>, StoreError> {
    let page = queue.list(&List { state: State::Failed, after: None, most: 1 }).await?;
    let Some(job) = page.jobs.into_iter().next() else { return Ok(None) };
    let why = job.failure.as_ref().map_or("", |failure| &failure.message);
    let when = job.finished_on.map(|at| crate::when::rfc3339(at.millis())).unwrap_or_default();
    let advice = "launchkit jobs get shows it, launchkit queue retry-failed tries failed ones again";
    let detail = format!("{}: {} failed last, {when}: {why} ({advice})", queue.name(), job.id);
    Ok(Some(note("queue", detail)))
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes / 1_024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

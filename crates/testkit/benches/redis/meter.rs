//! Processor time, as the kernel counts it.

use std::path::Path;
use std::time::{Duration, Instant};

/// What was used until a moment.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    at: Instant,
    /// Redis's main thread, which runs all commands.
    redis: Duration,
    /// All of Redis: threads that write the log or free memory too.
    redis_all: Duration,
    clients: Duration,
    /// This program.
    own: Duration,
    /// Everything on this machine, in steps of 10 ms.
    machine: Duration,
}

/// What was used between two moments, in seconds of a core.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) seconds: f64,
    pub(crate) redis: f64,
    pub(crate) background: f64,
    pub(crate) clients: f64,
    /// What had nothing to do with it.
    pub(crate) others: f64,
}

impl Reading {
    pub(crate) fn take(redis: u32, clients: &[u32]) -> Self {
        Self {
            redis: thread(Path::new(&format!("/proc/{redis}/task/{redis}"))),
            redis_all: process(redis),
            clients: clients.iter().map(|pid| process(*pid)).sum(),
            own: process(std::process::id()),
            machine: machine(),
            at: Instant::now(),
        }
    }

    /// What was used since an earlier reading.
    pub(crate) fn since(&self, earlier: &Self) -> Used {
        let between = |read: fn(&Self) -> Duration| read(self).saturating_sub(read(earlier)).as_secs_f64();
        let (redis, redis_all) = (between(|r| r.redis), between(|r| r.redis_all));
        let (clients, own) = (between(|r| r.clients), between(|r| r.own));
        let others = (between(|r| r.machine) - redis_all - clients - own).max(0.0);
        let background = (redis_all - redis).max(0.0);
        Used { seconds: (self.at - earlier.at).as_secs_f64(), redis, background, clients, others }
    }
}

/// All threads of a process that live. Those of the clients and of Redis stay as long as they are measured.
fn process(pid: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.map(|task| thread(&task.path())).sum()
}

/// The first number of `schedstat`: nanoseconds on a processor. Zero for a thread that has ended.
fn thread(task: &Path) -> Duration {
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// The first line of `/proc/stat`, without idle and waiting for disks.
fn machine() -> Duration {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).take(8).map(|word| word.parse::<u64>().unwrap_or_default());
    let busy = ticks.enumerate().filter(|(column, _)| ![3, 4].contains(column)).map(|(_, ticks)| ticks).sum::<u64>();
    Duration::from_millis(busy * 10)
}

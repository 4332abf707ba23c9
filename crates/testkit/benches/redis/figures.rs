//! A measurement, and what is said of several.

use serde::Serialize;
use serde_json::Value;

use crate::meter::Used;
use crate::plan::{Part, Who};

/// What was measured; the rows of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Singly,
    Bulk,
    Work { slots: u32, handler: u32 },
    Offer { slots: u32, rate: u32 },
}

/// One measurement of one client.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    pub(crate) part: Part,
    pub(crate) what: What,
    pub(crate) who: Who,
    pub(crate) run: usize,
    pub(crate) processes: usize,
    pub(crate) jobs: u32,
    pub(crate) seconds: f64,
    pub(crate) jobs_per_second: f64,
    /// Redis's main thread, per job.
    pub(crate) redis_us: f64,
    /// Redis's other threads, per job.
    pub(crate) redis_background_us: f64,
    pub(crate) client_us: f64,
    pub(crate) redis_cores: f64,
    pub(crate) client_cores: f64,
    /// What had nothing to do with it.
    pub(crate) others_cores: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) get: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_call: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from_answer: Option<Spread>,
    /// Redis's own count of its commands: calls, and microseconds in them.
    pub(crate) commands: Value,
}

impl Record {
    pub(crate) fn new(part: Part, what: What, who: Who, jobs: u32, used: Used) -> Self {
        let each = |seconds: f64| seconds * 1e6 / f64::from(jobs);
        Self {
            part,
            what,
            who,
            run: 0,
            processes: 0,
            jobs,
            seconds: used.seconds,
            jobs_per_second: f64::from(jobs) / used.seconds,
            redis_us: each(used.redis),
            redis_background_us: each(used.background),
            client_us: each(used.clients),
            redis_cores: used.redis / used.seconds,
            client_cores: used.clients / used.seconds,
            others_cores: used.others / used.seconds,
            get: None,
            from_call: None,
            from_answer: None,
            commands: Value::Null,
        }
    }
}

/// Some waits, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) count: usize,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

impl Spread {
    /// Nothing of no waits.
    pub(crate) fn of(mut waits: Vec<u64>) -> Option<Self> {
        waits.sort_unstable();
        let at = |hundredths: usize| waits[(waits.len() * hundredths / 100).min(waits.len() - 1)];
        let max = *waits.last()?;
        Some(Self { count: waits.len(), p50: at(50), p99: at(99), max })
    }
}

/// Median and range of several runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Runs {
    pub(crate) count: usize,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Runs {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (least, most) = (*figures.first()?, *figures.last()?);
        Some(Self { count: figures.len(), median: figures[figures.len() / 2], least, most })
    }
}

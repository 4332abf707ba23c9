//! What is measured, with how many jobs, how often.

use launchkit_testkit::redis::Kind;
use serde::Serialize;

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Who {
    Ours,
    Official,
    Node,
}

impl Who {
    pub(crate) const ALL: [Who; 3] = [Who::Ours, Who::Official, Who::Node];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Who::Ours => "ours",
            Who::Official => "official",
            Who::Node => "node",
        }
    }
}

/// A table of the report; its measurements share server and client processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Adds, and the backlog at concurrency 100 with a handler that does nothing.
    Main,
    /// Every other concurrency and handler.
    Work,
    /// A command that has nothing to do with it, on the same server.
    Get,
    /// From the add to the handler, at a fixed number of jobs per second.
    Latency,
    /// The main cells with the server's log written every second.
    Aof,
}

impl Part {
    const ALL: [(Part, &'static str); 5] = [
        (Part::Main, "main"),
        (Part::Work, "work"),
        (Part::Get, "get"),
        (Part::Latency, "latency"),
        (Part::Aof, "aof"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(part, _)| *part == self).map_or("", |(_, name)| name)
    }
}

/// How jobs are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// One by one, from 64 tasks.
    Singly,
    /// A thousand per call, one call after the other.
    Bulk,
}

pub(crate) const TASKS: u32 = 64;
pub(crate) const BULK: u32 = 1_000;

/// A backlog is added, then worked to its last job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) how: How,
    pub(crate) jobs: u32,
    pub(crate) slots: u32,
    /// What a handler takes, in ms.
    pub(crate) handler: u32,
    /// Whether an unrelated GET is timed meanwhile.
    pub(crate) get: bool,
}

/// Jobs are added at a steady rate while a worker works.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) slots: u32,
    /// Jobs per second.
    pub(crate) rate: u32,
    pub(crate) jobs: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    Cell(Cell),
    Offer(Offer),
}

/// One part: tasks with the number of their runs.
pub(crate) struct Section {
    pub(crate) part: Part,
    pub(crate) who: Vec<Who>,
    pub(crate) tasks: Vec<(Task, usize)>,
}

pub(crate) const SLOTS: [u32; 4] = [1, 10, 100, 500];
pub(crate) const HANDLERS: [u32; 4] = [0, 1, 10, 100];
/// Concurrency and jobs per second.
pub(crate) const OFFERS: [(u32, u32); 4] = [(1, 50), (100, 50), (100, 1_000), (100, 5_000)];
/// The backlog of the main cell.
pub(crate) const BACKLOG: u32 = 50_000;
const SINGLES: u32 = 30_000;

impl Cell {
    const MAIN: Cell = Cell { how: How::Bulk, jobs: BACKLOG, slots: 100, handler: 0, get: false };

    /// What a row of the report is called.
    pub(crate) fn name(slots: u32, handler: u32) -> String {
        format!("concurrency {slots}, {handler} ms")
    }
}

/// What the environment asks for.
pub(crate) struct Settings {
    pub(crate) parts: Vec<Part>,
    pub(crate) who: Vec<Who>,
    pub(crate) scale: f64,
    pub(crate) runs: usize,
    pub(crate) nodes: Option<usize>,
    pub(crate) server: Kind,
}

impl Settings {
    pub(crate) fn from_environment() -> Result<Self, String> {
        let scale = number("BENCH_SCALE", 0.01..=1.0)?.unwrap_or(1.0);
        let runs = number("BENCH_RUNS", 1.0..=5.0)?.unwrap_or(5.0) as usize;
        let nodes = number("BENCH_NODES", 1.0..=16.0)?.map(|nodes| nodes as usize);
        let server = match variable("BENCH_SERVER").as_deref() {
            None | Some("redis") => Kind::Redis,
            Some("valkey") => Kind::Valkey,
            Some(other) => return Err(format!("BENCH_SERVER={other}: redis or valkey")),
        };
        let parts = some_of("BENCH_PARTS", &Part::ALL)?;
        let who = some_of("BENCH_PEERS", &Who::ALL.map(|who| (who, who.name())))?;
        Ok(Self { parts, who, scale, runs, nodes, server })
    }

    /// Whether the figures are those of the record.
    pub(crate) fn is_whole(&self) -> bool {
        self.scale == 1.0 && self.runs >= 5 && self.parts.len() == Part::ALL.len() && self.who.len() == Who::ALL.len()
    }

    pub(crate) fn sections(&self) -> Vec<Section> {
        self.parts.iter().map(|part| self.section(*part)).collect()
    }

    pub(crate) fn scaled(&self, jobs: u32) -> u32 {
        (f64::from(jobs) * self.scale).ceil().max(10.0) as u32
    }

    fn section(&self, part: Part) -> Section {
        let main = Cell { jobs: self.scaled(BACKLOG), ..Cell::MAIN };
        let singly = Cell { how: How::Singly, jobs: self.scaled(SINGLES), ..Cell::MAIN };
        let tasks = match part {
            Part::Main => vec![(Task::Cell(singly), 5), (Task::Cell(main), 5)],
            Part::Work => self.matrix(),
            Part::Get => vec![(Task::Cell(Cell { get: true, ..main }), 3)],
            Part::Latency => OFFERS.iter().map(|(slots, rate)| (self.offer(*slots, *rate), 3)).collect(),
            Part::Aof => vec![(Task::Cell(singly), 3), (Task::Cell(main), 3)],
        };
        let tasks = tasks.into_iter().map(|(task, runs)| (task, runs.min(self.runs))).collect();
        let who = self.who.iter().copied().filter(|who| part != Part::Aof || *who != Who::Node).collect();
        Section { part, who, tasks }
    }

    /// Every concurrency and handler but the main cell. Where the handler sets the pace, one run says it.
    fn matrix(&self) -> Vec<(Task, usize)> {
        let mut tasks = Vec::new();
        for slots in SLOTS {
            for handler in HANDLERS {
                if (slots, handler) != (Cell::MAIN.slots, Cell::MAIN.handler) {
                    let jobs = self.scaled(jobs(slots, handler));
                    let runs = match handler {
                        0 => 5,
                        1 => 3,
                        _ => 1,
                    };
                    tasks.push((Task::Cell(Cell { jobs, slots, handler, ..Cell::MAIN }), runs));
                }
            }
        }
        tasks
    }

    fn offer(&self, slots: u32, rate: u32) -> Task {
        let seconds = if rate < 100 { 5 } else { 2 };
        Task::Offer(Offer { slots, rate, jobs: self.scaled(rate * seconds) })
    }
}

/// As many as take a second or two.
fn jobs(slots: u32, handler: u32) -> u32 {
    let each = if handler == 0 { 0.25 } else { f64::from(handler) + 0.75 };
    let per_second = (f64::from(slots) * 1e3 / each).min(15_000.0);
    ((1.5 * per_second) as u32).max(20)
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn number(name: &str, possible: std::ops::RangeInclusive<f64>) -> Result<Option<f64>, String> {
    let Some(text) = variable(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if possible.contains(&number) => Ok(Some(number)),
        _ => Err(format!("{name}={text}: a number from {} to {}", possible.start(), possible.end())),
    }
}

/// A list of names, in our own order.
fn some_of<T: Copy + PartialEq>(name: &str, known: &[(T, &str)]) -> Result<Vec<T>, String> {
    let Some(text) = variable(name) else { return Ok(known.iter().map(|(value, _)| *value).collect()) };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(unknown) = words.iter().find(|word| known.iter().all(|(_, known)| known != *word)) {
        let known: Vec<&str> = known.iter().map(|(_, name)| *name).collect();
        return Err(format!("{name}: {unknown:?} is none of {}", known.join(", ")));
    }
    Ok(known.iter().filter(|(_, known)| words.contains(known)).map(|(value, _)| *value).collect())
}

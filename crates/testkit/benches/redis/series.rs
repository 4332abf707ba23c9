//! All measurements, one after the other, peers in turn; what goes wrong is noted and the rest goes on.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::{Record, Spread};
use crate::measure;
use crate::plan::{BACKLOG, Cell, How, Part, Section, Settings, Task, Who};
use crate::stage::{Cores, Stage};
use crate::team::{Team, root, versions};

/// Numbers of Node processes that are tried.
const SIZES: [usize; 4] = [1, 2, 3, 4];
/// One more process is worth it when it is that much faster.
const WORTH: f64 = 1.03;
/// Jobs of a warm-up.
const WARM: u32 = 5_000;

/// What came of it.
pub(crate) struct Series {
    begun: Instant,
    pub(crate) records: Vec<Record>,
    pub(crate) faults: Vec<String>,
    /// Node processes that were tried, with jobs per second and Redis's cores.
    pub(crate) sizes: Vec<(usize, f64, f64)>,
    pub(crate) nodes: usize,
    /// The unrelated GET while nobody works.
    pub(crate) quiet: Option<Spread>,
    pub(crate) cores: Option<Cores>,
    /// Facts about the machine and what runs on it.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Jobs that reached a handler once, each.
    pub(crate) delivered: u64,
    pub(crate) took: Duration,
}

pub(crate) async fn run(settings: &Settings) -> Series {
    let mut series = Series {
        begun: Instant::now(),
        records: Vec::new(),
        faults: Vec::new(),
        sizes: Vec::new(),
        nodes: 0,
        quiet: None,
        cores: None,
        facts: facts(),
        delivered: 0,
        took: Duration::ZERO,
    };
    if let Err(why) = series.go_through(settings).await {
        series.faults.push(why);
    }
    series.facts.push(("load average at the end", said("cut", &["-d ", "-f1-3", "/proc/loadavg"])));
    series.took = series.begun.elapsed();
    series
}

impl Series {
    /// Writes the raw figures; answers where.
    pub(crate) fn keep(&self) -> PathBuf {
        let folder = PathBuf::from("target/bench");
        std::fs::create_dir_all(root().join(&folder)).unwrap();
        let path = folder.join(format!("redis-{}.json", said("date", &["-u", "+%Y%m%d-%H%M%S"])));
        let facts: serde_json::Map<_, _> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let all = json!({ "facts": facts, "faults": self.faults, "nodes": self.sizes, "quiet": self.quiet,
                          "records": self.records });
        std::fs::write(root().join(&path), format!("{all:#}\n")).unwrap();
        path
    }

    pub(crate) fn fact(&self, name: &str) -> &str {
        self.facts.iter().find(|(known, _)| *known == name).map_or("?", |(_, value)| value)
    }

    async fn go_through(&mut self, settings: &Settings) -> Result<(), String> {
        self.cores = Some(Cores::divide()?);
        if settings.who.contains(&Who::Node) {
            self.nodes = match settings.nodes {
                Some(nodes) => nodes,
                None => self.enough_nodes(settings).await?,
            };
        }
        for section in settings.sections() {
            self.section(settings, &section).await?;
        }
        Ok(())
    }

    async fn stage(&self, settings: &Settings, log: bool) -> Result<Stage, String> {
        Stage::set(settings.server, log, self.cores.as_ref().ok_or("no cores")?).await
    }

    /// As many processes as saturate Redis, or as many as help.
    async fn enough_nodes(&mut self, settings: &Settings) -> Result<usize, String> {
        let mut stage = self.stage(settings, false).await?;
        let jobs = settings.scaled(BACKLOG / 3);
        let cell = Cell { how: How::Bulk, jobs, slots: 100, handler: 0, get: false };
        let mut best = (1, 0.0);
        for size in SIZES {
            let (rate, redis) = measure::try_size(&mut stage, Who::Node, size, &cell).await?;
            eprintln!("{size} Node processes: {rate:.0} jobs/s, Redis {redis:.2} of its core");
            self.sizes.push((size, rate, redis));
            if rate > best.1 * WORTH {
                best = (size, rate);
            }
        }
        Ok(best.0)
    }

    async fn section(&mut self, settings: &Settings, section: &Section) -> Result<(), String> {
        eprintln!("part {}", section.part.name());
        let mut stage = self.stage(settings, section.part == Part::Aof).await?;
        if self.facts.iter().all(|(name, _)| *name != "server") {
            self.facts.push(("server", stage.version().await?));
        }
        if section.part == Part::Get {
            stage.clear().await?;
            self.quiet = Spread::of(stage.quiet_gets(Duration::from_secs(1).mul_f64(settings.scale)).await?);
        }
        let mut teams = Vec::new();
        for who in &section.who {
            match self.team(settings, &mut stage, *who).await {
                Ok(team) => teams.push(Some(team)),
                Err(why) => self.note(section.part, *who, &why),
            }
        }
        for (task, runs) in &section.tasks {
            for run in 0..*runs {
                for place in &mut teams {
                    let Some(team) = place else { continue };
                    let Err(why) = self.measure(&mut stage, team, section.part, task, run).await else { continue };
                    let who = team.who;
                    self.note(section.part, who, &format!("{task:?}: {why}"));
                    // What it does now, nobody knows. One that cannot be started anew is left out of the rest of this part.
                    *place = match self.team(settings, &mut stage, who).await {
                        Ok(team) => Some(team),
                        Err(why) => {
                            self.note(section.part, who, &format!("starting it anew: {why}"));
                            None
                        }
                    };
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, part: Part, who: Who, why: &str) {
        let fault = format!("{}: {}: {why}", part.name(), who.name());
        eprintln!("{fault}");
        self.faults.push(fault);
    }

    async fn team(&self, settings: &Settings, stage: &mut Stage, who: Who) -> Result<Team, String> {
        let team = Team::start(who, if who == Who::Node { self.nodes } else { 1 })?;
        measure::warm_up(stage, &team, settings.scaled(WARM)).await?;
        Ok(team)
    }

    async fn measure(
        &mut self,
        stage: &mut Stage,
        team: &Team,
        part: Part,
        task: &Task,
        run: usize,
    ) -> Result<(), String> {
        let (records, jobs) = match task {
            Task::Cell(cell) => {
                let [added, worked] = measure::cell(stage, team, part, cell).await?;
                // Work is measured where jobs are added in bulk; what was added singly is worked to see that it is all there.
                (if cell.how == How::Singly { vec![added] } else { vec![added, worked] }, cell.jobs)
            }
            Task::Offer(offer) => (vec![measure::offer(stage, team, part, offer).await?], offer.jobs),
        };
        self.delivered += u64::from(jobs);
        for mut record in records {
            record.run = run;
            let (what, who, rate) = (record.what, record.who.name(), record.jobs_per_second);
            eprintln!(
                "{:4} s {who:<8} {what:?}: {rate:.0} jobs/s, Redis {:.1} us, client {:.1} us per job, others {:.2} cores",
                self.begun.elapsed().as_secs(),
                record.redis_us,
                record.client_us,
                record.others_cores
            );
            self.records.push(record);
        }
        Ok(())
    }
}

fn facts() -> Vec<(&'static str, String)> {
    let (official, node) = versions();
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    vec![
        ("date", said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("commit", said("git", &["describe", "--always", "--dirty"])),
        ("processor", processor.map(|(_, name)| name.to_owned()).unwrap_or_default()),
        ("kernel", said("uname", &["-sr"])),
        ("bullmq-official", official),
        ("BullMQ", node),
        ("Node", said("node", &["--version"])),
        ("load average at the start", said("cut", &["-d ", "-f1-3", "/proc/loadavg"])),
    ]
}

/// What a program says; nothing when it is not there.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

//! The report, in Markdown, ready for `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::path::Path;

use crate::figures::{Record, Runs, What};
use crate::plan::{Part, Settings, Who};
use crate::series::Series;

mod aims;
mod tables;

/// A core that is used this much has nothing left.
const SATURATED: f64 = 0.9;

pub(crate) fn markdown(settings: &Settings, series: &Series, raw: &Path) -> String {
    let book = Book { series };
    let mut text = String::new();
    head(&mut text, settings, series, raw);
    if !series.faults.is_empty() {
        text.push_str("\n**Faults**\n\n");
        series.faults.iter().for_each(|fault| line(&mut text, format!("* {fault}")));
    }
    for part in &settings.parts {
        match part {
            Part::Main => {
                line(&mut text, "\n### Adds, and the backlog\n".to_owned());
                tables::main(&mut text, &book, settings, Part::Main);
            }
            Part::Work => tables::matrix(&mut text, &book, settings),
            Part::Get => tables::get(&mut text, &book, settings),
            Part::Latency => tables::latency(&mut text, &book, settings),
            Part::Aof => {
                line(&mut text, "\n### With the log (AOF, everysec, no rewrite meanwhile)\n".to_owned());
                tables::main(&mut text, &book, settings, Part::Aof);
            }
        }
    }
    if settings.who.contains(&Who::Ours) {
        aims::table(&mut text, &book, settings);
    }
    text
}

/// Figures by row and client.
struct Book<'a> {
    series: &'a Series,
}

impl Book<'_> {
    fn records(&self, part: Part, what: What, who: Who) -> impl Iterator<Item = &Record> {
        self.series.records.iter().filter(move |record| (record.part, record.what, record.who) == (part, what, who))
    }

    fn runs(&self, part: Part, what: What, who: Who, figure: impl Fn(&Record) -> f64) -> Option<Runs> {
        Runs::of(self.records(part, what, who).map(figure))
    }

    fn rate(&self, part: Part, what: What, who: Who) -> Option<f64> {
        self.runs(part, what, who, |record| record.jobs_per_second).map(|runs| runs.median)
    }

    fn redis(&self, part: Part, what: What, who: Who) -> Option<f64> {
        self.runs(part, what, who, |record| record.redis_us).map(|runs| runs.median)
    }

    /// How many times as fast we are.
    fn times(&self, part: Part, what: What, who: Who) -> String {
        match (self.rate(part, what, Who::Ours), self.rate(part, what, who)) {
            (Some(ours), Some(theirs)) => format!("{:.2} ×", ours / theirs),
            _ => "–".to_owned(),
        }
    }

    /// Which side has nothing left.
    fn saturated(&self, part: Part, what: What, who: Who) -> &'static str {
        let clients = self.series.cores.as_ref().map_or(1, |cores| cores.client_count) as f64;
        let redis = self.runs(part, what, who, |record| record.redis_cores).map(|runs| runs.median >= SATURATED);
        let client =
            self.runs(part, what, who, |record| record.client_cores / clients).map(|runs| runs.median >= SATURATED);
        match (redis, client) {
            (Some(true), Some(true)) => "both",
            (Some(true), _) => "Redis",
            (_, Some(true)) => "client",
            (Some(_), _) => "neither",
            (None, _) => "–",
        }
    }
}

fn head(text: &mut String, settings: &Settings, series: &Series, raw: &Path) {
    line(text, "## The store on Redis beside BullMQ: `make bench-redis`\n".to_owned());
    if !settings.is_whole() || cfg!(debug_assertions) {
        let what = if cfg!(debug_assertions) { "unoptimised, or " } else { "" };
        let share = settings.scale;
        line(
            text,
            format!(
                "**Not for the record**: {what}some parts, peers or runs only, or a share ({share}) of the jobs.\n"
            ),
        );
    }
    line(text, where_it_ran(series));
    line(
        text,
        format!(
            "Every job: 172 bytes of JSON, 3 attempts, exponential backoff of 2 s, completed ones kept for an hour, 1,000 at \
             the most; 1,000 per call in bulk, 64 tasks singly. Clocks of backlogs begin with the worker and stop when the \
             last completion is stored, seen by looks a millisecond apart at the end. Processor time per job is from the \
             kernel: Redis's main thread (the looks included), the clients' processes. *Saturated*: at least {SATURATED} of \
             its core is used. Figures are medians, with the range of the runs in brackets; peers took turns run by run.\n"
        ),
    );
    line(text, what_came_of_it(series, raw));
}

fn where_it_ran(series: &Series) -> String {
    let cores = series.cores.as_ref();
    format!(
        "{}, commit {}: {}, {} cores, {}. {} on core {} alone (nothing kept on disk except where said), reached by TCP on \
         127.0.0.1; clients on core {}. Peers: `bullmq-official` {} (one process, as ours), BullMQ {} on Node {} ({}). Both \
         Rust clients come from one build.\n",
        series.fact("date"),
        series.fact("commit"),
        series.fact("processor"),
        cores.map_or(0, |cores| cores.client_count + 1),
        series.fact("kernel"),
        series.fact("server"),
        cores.map_or("?", |cores| &cores.redis),
        cores.map_or("?", |cores| &cores.clients),
        series.fact("bullmq-official"),
        series.fact("BullMQ"),
        series.fact("Node"),
        nodes(series)
    )
}

fn what_came_of_it(series: &Series, raw: &Path) -> String {
    let others = Runs::of(series.records.iter().map(|record| record.others_cores)).map_or_else(String::new, |others| {
        format!("; other programs used {:.2} cores at the median, {:.2} at the most", others.median, others.most)
    });
    format!(
        "{} jobs were worked and checked: each reached a handler exactly once; {} faults. {} s in all{others}; load average {} \
         before, {} after. Raw figures: `{}`.",
        thousands(series.delivered as f64),
        series.faults.len(),
        series.took.as_secs(),
        series.fact("load average at the start"),
        series.fact("load average at the end"),
        raw.display()
    )
}

fn nodes(series: &Series) -> String {
    if series.nodes == 0 {
        return "not measured".to_owned();
    }
    let tried: Vec<String> = series
        .sizes
        .iter()
        .map(|(size, rate, redis)| format!("{size}: {}/s, Redis {redis:.2}", thousands(*rate)))
        .collect();
    let tried = if tried.is_empty() { "only so many".to_owned() } else { tried.join("; ") };
    format!("{} process{}; tried {tried}", series.nodes, if series.nodes == 1 { "" } else { "es" })
}

fn line(text: &mut String, line: String) {
    let _ = writeln!(text, "{line}");
}

/// `12,345 [12,000–13,000]`; one run has no range.
fn ranged(runs: Runs) -> String {
    if runs.count == 1 {
        return thousands(runs.median);
    }
    format!("{} [{}–{}]", thousands(runs.median), thousands(runs.least), thousands(runs.most))
}

fn plain(runs: Option<Runs>, digits: usize) -> String {
    runs.map_or_else(|| "–".to_owned(), |runs| format!("{:.digits$}", runs.median))
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let head = digits.len() % 3;
    let mut text = digits[..head].to_owned();
    for (n, digit) in digits[head..].chars().enumerate() {
        if n % 3 == 0 && !text.is_empty() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

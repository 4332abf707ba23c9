//! The report, in Markdown, ready for `docs/benchmarks.md`.

use std::fmt::Write as _;
use std::path::Path;

use crate::figures::{Record, Runs, Spread, What};
use crate::plan::{BACKLOG, Cell, HANDLERS, OFFERS, Part, SLOTS, Settings, Who};
use crate::series::Series;

mod aims;

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
                main(&mut text, &book, settings, Part::Main);
            }
            Part::Work => matrix(&mut text, &book, settings),
            Part::Get => get(&mut text, &book, settings),
            Part::Latency => latency(&mut text, &book, settings),
            Part::Aof => {
                line(&mut text, "\n### With the log (AOF, everysec, no rewrite meanwhile)\n".to_owned());
                main(&mut text, &book, settings, Part::Aof);
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
    if !settings.is_whole() {
        line(
            text,
            format!(
                "**Not for the record**: a share of {} of the jobs, some parts, peers or runs only.\n",
                settings.scale
            ),
        );
    }
    let fact =
        |name: &str| series.facts.iter().find(|(known, _)| *known == name).map_or("?", |(_, value)| value.as_str());
    line(
        text,
        format!(
            "{}, commit {}: {}, {} cores, {}. {} on a core of its own (nothing kept on disk except where said), reached by TCP on \
         127.0.0.1; clients on the other core{}. Peers: `bullmq-official` {} (one process, as ours), BullMQ {} on Node {} ({}). \
         Rust in profile `demo` (opt-level 2, no LTO), both alike.",
            fact("date"),
            fact("commit"),
            fact("processor"),
            series.cores.as_ref().map_or(0, |cores| cores.client_count + 1),
            fact("kernel"),
            fact("server"),
            series.cores.as_ref().map_or_else(String::new, |cores| format!(" ({})", cores.clients)),
            fact("bullmq-official"),
            fact("BullMQ"),
            fact("Node"),
            nodes(series)
        ),
    );
    line(
        text,
        format!(
            "Every job: 172 bytes of JSON, 3 attempts, exponential backoff of 2 s, completed ones kept for an hour, 1,000 at the \
         most; 1,000 per call in bulk, 64 tasks singly. Clocks of backlogs begin with the worker and stop when the last \
         completion is stored, seen by a look each 5 ms (each 1 ms at the end). Processor time per job is from the kernel: \
         Redis's main thread (the looks included), the clients' processes. *Saturated*: at least {SATURATED} of its core is \
         used. Jobs/s and ratios are medians, with the range of the runs in brackets; peers took turns run by run."
        ),
    );
    let others = Runs::of(series.records.iter().map(|record| record.others_cores));
    let others = others.map_or_else(String::new, |others| {
        format!("{:.2} cores at the median, {:.2} at the most", others.median, others.most)
    });
    line(
        text,
        format!(
            "All {} jobs reached a handler exactly once, but for the faults below if there are any: {} faults. {} s in all; other \
         programs on this machine used {others}; load average {} before, {} after. Raw figures: `{}`.",
            thousands(series.delivered as f64),
            series.faults.len(),
            series.took.as_secs(),
            fact("load average at the start"),
            fact("load average at the end"),
            raw.display()
        ),
    );
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
    let tried = if tried.is_empty() { "not tried".to_owned() } else { tried.join("; ") };
    format!("{} process{}; tried {tried}", series.nodes, if series.nodes == 1 { "" } else { "es" })
}

fn main(text: &mut String, book: &Book<'_>, settings: &Settings, part: Part) {
    let rows = [
        ("added singly by 64 tasks".to_owned(), What::Singly),
        ("added in bulk of 1,000".to_owned(), What::Bulk),
        (
            format!("worked, concurrency 100, backlog of {}", thousands(settings.scaled(BACKLOG).into())),
            What::Work { slots: 100, handler: 0 },
        ),
    ];
    line(text, "| | client | jobs/s | Redis µs per job | client µs per job | Redis · client cores | saturated | ours is |\n|---|---|---|---|---|---|---|---|".to_owned());
    for (name, what) in rows {
        for who in &settings.who {
            let figure = |figure: fn(&Record) -> f64| book.runs(part, what, *who, figure);
            let Some(rate) = figure(|record| record.jobs_per_second) else { continue };
            let (redis, client) = (figure(|record| record.redis_us), figure(|record| record.client_us));
            let cores = (figure(|record| record.redis_cores), figure(|record| record.client_cores));
            line(
                text,
                format!(
                    "| {name} | {} | {} | {} | {} | {} · {} | {} | {} |",
                    who.name(),
                    ranged(rate),
                    plain(redis, 1),
                    plain(client, 1),
                    plain(cores.0, 2),
                    plain(cores.1, 2),
                    book.saturated(part, what, *who),
                    if *who == Who::Ours { "–".to_owned() } else { book.times(part, what, *who) }
                ),
            );
        }
    }
}

fn matrix(text: &mut String, book: &Book<'_>, settings: &Settings) {
    line(text, "\n### Every concurrency and handler\n".to_owned());
    line(text, "Jobs/s · Redis µs per job · client µs per job · saturated. Three runs with handlers of 0 and 1 ms, one with slower ones.\n".to_owned());
    let names: Vec<&str> = settings.who.iter().map(|who| who.name()).collect();
    line(text, format!("| concurrency, handler | {} | official: ours is | node: ours is |", names.join(" | ")));
    line(text, format!("|---|{}---|---|", "---|".repeat(names.len())));
    for slots in SLOTS {
        for handler in HANDLERS {
            let what = What::Work { slots, handler };
            let part = if (slots, handler) == (100, 0) { Part::Main } else { Part::Work };
            let cells: Vec<String> = settings.who.iter().map(|who| short(book, part, what, *who)).collect();
            line(
                text,
                format!(
                    "| {} | {} | {} | {} |",
                    Cell::name(slots, handler),
                    cells.join(" | "),
                    book.times(part, what, Who::Official),
                    book.times(part, what, Who::Node)
                ),
            );
        }
    }
}

fn short(book: &Book<'_>, part: Part, what: What, who: Who) -> String {
    let Some(rate) = book.runs(part, what, who, |record| record.jobs_per_second) else { return "–".to_owned() };
    let redis = book.runs(part, what, who, |record| record.redis_us);
    let client = book.runs(part, what, who, |record| record.client_us);
    format!("{} · {} · {} · {}", ranged(rate), plain(redis, 0), plain(client, 0), book.saturated(part, what, who))
}

fn latency(text: &mut String, book: &Book<'_>, settings: &Settings) {
    line(text, "\n### From the add to the handler\n".to_owned());
    line(text, "One process adds at a steady rate, whatever becomes of earlier adds, and works with a handler that does nothing. Milliseconds, medians of the runs' p50 and p99.\n".to_owned());
    line(text, "| offered | client | from the add's answer, p50 · p99 | from the add's call, p50 · p99 | Redis · client cores | Redis µs per job |\n|---|---|---|---|---|---|".to_owned());
    for (slots, rate) in OFFERS {
        let what = What::Offer { slots, rate };
        for who in &settings.who {
            let wait = |wait: fn(&Record) -> Option<Spread>| spread(book, Part::Latency, what, *who, wait);
            let cores = |figure: fn(&Record) -> f64| book.runs(Part::Latency, what, *who, figure);
            line(
                text,
                format!(
                    "| {}/s, concurrency {slots} | {} | {} | {} | {} · {} | {} |",
                    thousands(rate.into()),
                    who.name(),
                    wait(|record| record.from_answer),
                    wait(|record| record.from_call),
                    plain(cores(|record| record.redis_cores), 2),
                    plain(cores(|record| record.client_cores), 2),
                    plain(cores(|record| record.redis_us), 1)
                ),
            );
        }
    }
}

fn get(text: &mut String, book: &Book<'_>, settings: &Settings) {
    line(text, "\n### An unrelated GET on the same server\n".to_owned());
    let prompt = book.series.cores.as_ref().is_some_and(|cores| cores.prompt);
    line(
        text,
        format!(
            "One each millisecond while a backlog is worked at concurrency 100, handler of 0 ms; {}. Milliseconds.\n",
            if prompt {
                "it is sent from the clients' core, before whom it goes (SCHED_FIFO)"
            } else {
                "it is sent from the clients' core and waits for it like they do: a saturated client shows in it"
            }
        ),
    );
    line(text, "| meanwhile | p50 · p99 | jobs/s | saturated |\n|---|---|---|---|".to_owned());
    if let Some(quiet) = book.series.quiet {
        line(text, format!("| nothing | {:.2} · {:.2} | – | – |", quiet.p50 as f64 / 1e3, quiet.p99 as f64 / 1e3));
    }
    let what = What::Work { slots: 100, handler: 0 };
    for who in &settings.who {
        let rate = book.runs(Part::Get, what, *who, |record| record.jobs_per_second);
        line(
            text,
            format!(
                "| {} | {} | {} | {} |",
                who.name(),
                spread(book, Part::Get, what, *who, |record| record.get),
                rate.map_or_else(|| "–".to_owned(), ranged),
                book.saturated(Part::Get, what, *who)
            ),
        );
    }
}

/// p50 and p99 in ms, each the median of the runs.
fn spread(book: &Book<'_>, part: Part, what: What, who: Who, wait: impl Fn(&Record) -> Option<Spread>) -> String {
    let waits: Vec<Spread> = book.records(part, what, who).filter_map(wait).collect();
    let ms = |figure: fn(&Spread) -> u64| Runs::of(waits.iter().map(|wait| figure(wait) as f64 / 1e3));
    format!("{} · {}", plain(ms(|wait| wait.p50), 2), plain(ms(|wait| wait.p99), 2))
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

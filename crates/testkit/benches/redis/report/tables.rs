//! One table for each part.

use super::{Book, line, plain, ranged, thousands};
use crate::figures::{Record, Runs, Spread, What};
use crate::plan::{BACKLOG, Cell, HANDLERS, OFFERS, Part, SLOTS, Settings, Who};

pub(super) fn main(text: &mut String, book: &Book<'_>, settings: &Settings, part: Part) {
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

pub(super) fn matrix(text: &mut String, book: &Book<'_>, settings: &Settings) {
    line(text, "\n### Every concurrency and handler\n".to_owned());
    line(text, "Jobs/s · Redis µs per job · client µs per job · saturated. Five runs with a handler of 0 ms, three of 1 ms, one with slower ones.\n".to_owned());
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

pub(super) fn latency(text: &mut String, book: &Book<'_>, settings: &Settings) {
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

pub(super) fn get(text: &mut String, book: &Book<'_>, settings: &Settings) {
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

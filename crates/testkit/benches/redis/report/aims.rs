//! What was aimed at, and what was measured.

use super::{Book, line, thousands};
use crate::figures::What;
use crate::plan::{BACKLOG, Part, Settings, Who};

const MAIN: What = What::Work { slots: 100, handler: 0 };
const ALONE: What = What::Work { slots: 1, handler: 0 };
const QUIET: What = What::Offer { slots: 1, rate: 50 };

pub(super) fn table(text: &mut String, book: &Book<'_>, settings: &Settings) {
    line(text, "\n### Aims\n\n| aim | measured | held |\n|---|---|---|".to_owned());
    for who in settings.who.iter().copied().filter(|who| *who != Who::Ours) {
        let share = both(book.redis(Part::Main, MAIN, Who::Ours), book.redis(Part::Main, MAIN, who));
        let share = share.map(|(ours, theirs)| ours / theirs);
        row(
            text,
            format!("concurrency 100: at most 40 % of the Redis time per job of {}", who.name()),
            share.map(|share| (format!("{:.0} %", share * 100.0), share <= 0.4)),
        );
    }
    faster(text, book, settings, (Who::Official, MAIN, 2.5), "concurrency 100");
    faster(text, book, settings, (Who::Official, What::Bulk, 2.0), "added in bulk");
    for who in settings.who.iter().copied().filter(|who| *who != Who::Ours) {
        let rates = both(book.rate(Part::Work, ALONE, Who::Ours), book.rate(Part::Work, ALONE, who));
        row(
            text,
            format!("concurrency 1, 0 ms: no slower than {}", who.name()),
            rates
                .map(|(ours, theirs)| (format!("{} to {} jobs/s", thousands(ours), thousands(theirs)), ours >= theirs)),
        );
        let wait = |who| {
            let wait = book.runs(Part::Latency, QUIET, who, |record| {
                record.from_call.map_or(f64::NAN, |wait| wait.p50 as f64 / 1e3)
            });
            wait.map(|runs| runs.median)
        };
        row(
            text,
            format!("50 jobs/s, concurrency 1: in the handler no later than {}", who.name()),
            both(wait(Who::Ours), wait(who))
                .map(|(ours, theirs)| (format!("{ours:.2} to {theirs:.2} ms after the call, p50"), ours <= theirs)),
        );
    }
    let backlog = settings.scaled(BACKLOG);
    let worked = book.records(Part::Main, MAIN, Who::Ours).filter(|record| record.jobs == backlog).count();
    row(
        text,
        format!("a backlog of {} is worked to its last job", thousands(f64::from(BACKLOG))),
        (worked > 0).then(|| (format!("{worked} times, {} jobs each", thousands(backlog.into())), backlog == BACKLOG)),
    );
    let faults = book.series.faults.len();
    row(
        text,
        "every id delivered exactly once".to_owned(),
        Some((format!("{} deliveries, {faults} faults", thousands(book.series.delivered as f64)), faults == 0)),
    );
}

/// So many times as fast. When one side's Redis has time left, the times per job say what would be if it had not.
fn faster(text: &mut String, book: &Book<'_>, settings: &Settings, aim: (Who, What, f64), name: &str) {
    let (who, what, times) = aim;
    if !settings.who.contains(&who) {
        return;
    }
    let rates = both(book.rate(Part::Main, what, Who::Ours), book.rate(Part::Main, what, who));
    let redis = both(book.redis(Part::Main, what, Who::Ours), book.redis(Part::Main, what, who));
    let measured = both(rates, redis).map(|((ours, theirs), (our_redis, their_redis))| {
        let sides = (book.saturated(Part::Main, what, Who::Ours), book.saturated(Part::Main, what, who));
        let words = format!(
            "{:.2} × (saturated: {} with ours, {} with theirs; by Redis time per job {:.2} ×)",
            ours / theirs,
            sides.0,
            sides.1,
            their_redis / our_redis
        );
        (words, ours / theirs >= times)
    });
    row(text, format!("{name}: at least {times} × {}", who.name()), measured);
}

fn row(text: &mut String, aim: String, measured: Option<(String, bool)>) {
    let (measured, held) = match measured {
        Some((measured, held)) => (measured, if held { "yes" } else { "**no**" }),
        None => ("not measured".to_owned(), "–"),
    };
    line(text, format!("| {aim} | {measured} | {held} |"));
}

fn both<A, B>(a: Option<A>, b: Option<B>) -> Option<(A, B)> {
    a.zip(b)
}

//! Which class of intended differences one belongs to. The reasons stand in docs/bullmq.md under "Keys".

use crate::diff::Difference;

/// A class and what belongs to it.
type Class = (&'static str, fn(&Difference) -> bool);

/// The class; `None` for what nobody wants.
pub(crate) fn class(one: &Difference) -> Option<&'static str> {
    CLASSES.iter().find(|(_, holds)| holds(one)).map(|(name, _)| *name)
}

const CLASSES: &[Class] = &[
    ("own-keys", |d| d.shape.starts_with(":lk") && d.theirs.is_none()),
    ("own-fields", |d| d.theirs.is_none() && (d.part.starts_with("lk:") || d.part == "lk")),
    ("failure-kind", |d| d.part == "entry" && extends(d, " lk:kind=")),
    ("meta-version", |d| d.shape == "meta" && d.part == "version"),
    ("no-stacktrace", |d| d.part == "stacktrace" && d.ours.is_none()),
    ("options-by-default", |d| d.part.starts_with("opts.") && d.ours.is_none() && is_no(&d.theirs)),
    ("retention-as-an-object", |d| d.part.starts_with("opts.removeOn")),
    ("a-millisecond-less", |d| d.part == "ttl" && millis(&d.theirs) == millis(&d.ours).map(|ms| ms + 1)),
    ("looks-for-stalled-jobs", |d| d.shape.starts_with("stalled") && d.ours.is_none()),
    ("flow-ids", |d| d.part == "id without one given"),
    ("many-as-one-by-one", |d| {
        in_chapters(d, &["bulk-retry", "delays"]) && ["delay", "items", "value", "key"].contains(&&*d.part)
    }),
    ("two-evicted-at-a-time", |d| {
        d.chapter == "many-aged" && d.theirs.is_none() && ["<job>", "completed"].contains(&&*d.shape)
    }),
    ("told-only-once", |d| d.part == "entry" && d.ours.is_none() && ends(&d.theirs, &[" paused", " resumed"])),
    ("end-of-a-child-first", |d| {
        d.chapter == "flow-removed" && d.part == "entry" && ends_any(d, " waiting jobId=p prev=waiting-children")
    }),
    ("stalled-within-their-class", |d| d.chapter == "stalls-of-several"),
    ("no-wake-for-nothing", |d| d.shape == "marker" && d.part == "[0]" && d.ours.is_none()),
    ("counted-by-definition", |d| d.shape == "repeat:<id>" && d.part == "ic"),
    ("replaced-is-removed", |d| {
        d.chapter == "cron" && d.part == "entry" && d.theirs.is_none() && ends_any(d, " prev=delayed")
    }),
    ("offset-with-the-job", |d| d.part == "opts.repeat.offset" && d.theirs.is_none()),
];

fn in_chapters(d: &Difference, chapters: &[&str]) -> bool {
    chapters.contains(&&*d.chapter)
}

fn ends(value: &Option<String>, ends: &[&str]) -> bool {
    value.as_deref().is_some_and(|value| ends.iter().any(|end| value.ends_with(end)))
}

fn ends_any(d: &Difference, end: &str) -> bool {
    ends(&d.theirs, &[end]) || ends(&d.ours, &[end])
}

/// Whether ours is theirs with something of ours behind it.
fn extends(d: &Difference, more: &str) -> bool {
    let (Some(theirs), Some(ours)) = (&d.theirs, &d.ours) else { return false };
    ours.strip_prefix(theirs.as_str()).is_some_and(|rest| rest.starts_with(more))
}

fn is_no(value: &Option<String>) -> bool {
    matches!(value.as_deref(), Some("0" | "false"))
}

fn millis(value: &Option<String>) -> Option<u64> {
    value.as_deref()?.strip_suffix(" ms")?.parse().ok()
}

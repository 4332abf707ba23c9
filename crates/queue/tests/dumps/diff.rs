//! What two dumps differ in, part by part.

use std::collections::BTreeMap;

use crate::dump::{Dump, Key};

/// One difference. What one side lacks is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    /// The key, without what names its queue and its job.
    pub(crate) shape: String,
    /// A field, a member, an option; an entry of a stream; `key` for a whole one.
    pub(crate) part: String,
    pub(crate) theirs: Option<String>,
    pub(crate) ours: Option<String>,
    /// Chapter and key.
    pub(crate) chapter: String,
    pub(crate) key: String,
}

/// What is asked of a queue besides its jobs' keys.
const OF_QUEUES: [&str; 23] = [
    "wait",
    "paused",
    "active",
    "waiting-children",
    "delayed",
    "prioritized",
    "completed",
    "failed",
    "stalled",
    "stalled-check",
    "repeat",
    "limiter",
    "meta",
    "events",
    "pc",
    "marker",
    "id",
    "metrics:completed",
    "metrics:failed",
    "metrics:completed:data",
    "metrics:failed:data",
    "priority",
    "delay",
];

/// `bull:letters:7:logs` is `<job>:logs`; `bull:letters:wait` is `wait`; a key of ours is what it is for.
fn shape(key: &str) -> String {
    let Some(rest) = key.strip_prefix("bull:") else { return key.to_owned() };
    if let Some(own) = rest.strip_prefix(":lk:") {
        let what = own.split(':').nth(1).unwrap_or(own);
        return format!(":lk:{what}");
    }
    if rest.starts_with(':') {
        return rest.to_owned();
    }
    let Some((_, rest)) = rest.split_once(':') else { return rest.to_owned() };
    if OF_QUEUES.contains(&rest) {
        return rest.to_owned();
    }
    if rest.starts_with("de:") || rest.starts_with("dn:") {
        return format!("{}:<id>", &rest[..2]);
    }
    if let Some(scheduler) = rest.strip_prefix("repeat:") {
        let (id, what) = scheduler.split_once(':').unwrap_or((scheduler, ""));
        let what = what.split_once(':').map_or(String::new(), |(_, sub)| format!(":{sub}"));
        return if id == scheduler { "repeat:<id>".into() } else { format!("<job>{what}") };
    }
    rest.split_once(':').map_or("<job>".to_owned(), |(_, sub)| format!("<job>:{sub}"))
}

/// Every difference of a chapter.
pub(crate) fn differences(chapter: &str, theirs: &Dump, ours: &Dump) -> Vec<Difference> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<&String> = theirs.keys.keys().chain(ours.keys.keys()).collect();
    for name in names {
        let mut tell = |part: &str, theirs: Option<String>, ours: Option<String>| {
            let (shape, chapter, key) = (shape(name), chapter.to_owned(), name.clone());
            found.push(Difference { shape, part: part.to_owned(), theirs, ours, chapter, key });
        };
        match (theirs.keys.get(name), ours.keys.get(name)) {
            (Some(theirs), Some(ours)) => compare(theirs, ours, &mut tell),
            (theirs, ours) => tell("key", theirs.map(|key| key.kind.clone()), ours.map(|key| key.kind.clone())),
        }
    }
    if theirs.uuids > 0 || ours.uuids > 0 {
        let many = |uuids: usize| (uuids > 0).then(|| "a UUID".to_owned());
        let of = |uuids| many(uuids).or(Some("the next number".to_owned()));
        let (shape, part, key) = ("<job>".to_owned(), "id without one given".to_owned(), String::new());
        found.push(Difference {
            shape,
            part,
            theirs: of(theirs.uuids),
            ours: of(ours.uuids),
            chapter: chapter.to_owned(),
            key,
        });
    }
    found
}

fn compare(theirs: &Key, ours: &Key, tell: &mut impl FnMut(&str, Option<String>, Option<String>)) {
    if theirs.kind != ours.kind {
        return tell("type", Some(theirs.kind.clone()), Some(ours.kind.clone()));
    }
    let parts: std::collections::BTreeSet<&String> = theirs.parts.keys().chain(ours.parts.keys()).collect();
    for part in parts {
        let (theirs, ours) = (theirs.parts.get(part), ours.parts.get(part));
        if theirs != ours {
            tell(part, theirs.cloned(), ours.cloned());
        }
    }
    for (theirs, ours) in unequal(&theirs.entries, &ours.entries) {
        tell("entry", theirs, ours);
    }
}

/// Entries that one sequence has and the other has not, in order (the longest common part stays); of two that stand in the
/// same place and tell of the same, one difference.
fn unequal(a: &[String], b: &[String]) -> Vec<(Option<String>, Option<String>)> {
    let mut longest = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match a[i] == b[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && j < b.len() && b[j].starts_with(&a[i]) {
            found.push((Some(a[i].clone()), Some(b[j].clone())));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            found.push((Some(a[i].clone()), None));
            i += 1;
        } else {
            found.push((None, Some(b[j].clone())));
            j += 1;
        }
    }
    found
}

/// The list as it is committed: by class, and within it each difference once, with the chapters and keys that show it.
pub(crate) fn listed(classed: &BTreeMap<&str, Vec<Difference>>) -> String {
    let mut text = String::new();
    for (class, differences) in classed {
        text.push_str(&format!("{class}\n"));
        let mut grouped: BTreeMap<String, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
        for one in differences {
            let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
            let line = match *class {
                // Their values are nobody else's business.
                "own-fields" => format!("{} {}", one.shape, one.part),
                "a-millisecond-less" => format!("{} {}: n ms | n - 1 ms", one.shape, one.part),
                _ => format!("{} {}: {} | {}", one.shape, one.part, side(&one.theirs), side(&one.ours)),
            };
            let key = one.key.strip_prefix("bull:").unwrap_or(&one.key);
            grouped.entry(line).or_default().entry(&one.chapter).or_default().push(key);
        }
        for (line, places) in grouped {
            text.push_str(&format!("  {line}\n"));
            for (chapter, keys) in places {
                text.push_str(&format!("      {chapter}: {}\n", keys.join(" ")));
            }
        }
    }
    text
}

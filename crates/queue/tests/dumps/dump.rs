//! Everything that lies on a server, key by key, as texts that two servers can be compared by.
//!
//! Both lives have the same times, so that a time needs no map but a shorter name: `T+5` is the fifth millisecond of a
//! chapter, `T+5#1` the second score of that millisecond among the delayed ones. Of ids only UUIDs are replaced, by the order
//! in which their jobs were added.

use std::collections::BTreeMap;

use launchkit_testkit::given::T0;
use redis::{Commands as _, Connection, RedisResult};
use serde_json::Value;

/// The times of a chapter lie within so many milliseconds.
const CHAPTER: i64 = 100_000_000;

/// One key: its parts by name, or a stream's entries in order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) parts: BTreeMap<String, String>,
    pub(crate) entries: Vec<String>,
}

/// All keys of a server, and how many UUIDs stand in them.
#[derive(Debug, Default)]
pub(crate) struct Dump {
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) uuids: usize,
}

/// Reads everything.
pub(crate) fn read(server: &mut Connection) -> RedisResult<Dump> {
    let mut raw = BTreeMap::new();
    let names: Vec<String> = server.keys("*")?;
    for name in names {
        let key = read_key(server, &name)?;
        raw.insert(name, key);
    }
    let uuids = uuids_in_order(&raw);
    let short = |text: &str| shorten(text, &uuids);
    let keys = raw.into_iter().map(|(name, key)| {
        let parts = key.parts.iter().map(|(part, value)| (short(part), short(value))).collect();
        let entries = key.entries.iter().map(|entry| short(entry)).collect();
        (short(&name), Key { kind: key.kind, parts, entries })
    });
    Ok(Dump { keys: keys.collect(), uuids: uuids.len() })
}

fn read_key(server: &mut Connection, name: &str) -> RedisResult<Key> {
    let kind: String = redis::cmd("TYPE").arg(name).query(server)?;
    let mut key = Key { kind, ..Key::default() };
    let parts = &mut key.parts;
    let left: i64 = server.pttl(name)?;
    if left >= 0 {
        parts.insert("ttl".into(), format!("{left} ms"));
    }
    match key.kind.as_str() {
        // Ours alone, and packed.
        _ if name.contains("::lk") => {}
        "string" => drop(parts.insert("value".into(), server.get(name)?)),
        "list" => {
            let items: Vec<String> = server.lrange(name, 0, -1)?;
            parts.insert("items".into(), items.join(" "));
        }
        "set" => {
            let members: Vec<String> = server.smembers(name)?;
            parts.extend(members.into_iter().map(|member| (format!("[{member}]"), "there".to_owned())));
        }
        "zset" => {
            let members: Vec<(String, String)> = server.zrange_withscores(name, 0, -1)?;
            parts.extend(members.into_iter().map(|(member, score)| (format!("[{member}]"), score)));
        }
        "hash" => {
            let fields: BTreeMap<String, String> = server.hgetall(name)?;
            for (field, value) in fields {
                match serde_json::from_str(&value) {
                    // What is written as JSON by a server's script or by a client has no order.
                    Ok(Value::Object(json)) if json.is_empty() && field == "opts" => {}
                    Ok(json @ Value::Object(_)) if field == "opts" || field == "parent" => {
                        flatten(&field, &json, parts)
                    }
                    // They name files.
                    Ok(Value::Array(traces)) if field == "stacktrace" => {
                        parts.insert(field, format!("traces: {}", traces.len()));
                    }
                    _ => drop(parts.insert(field, value)),
                }
            }
        }
        "stream" => {
            let entries: Vec<(String, Vec<String>)> = redis::cmd("XRANGE").arg(name).arg("-").arg("+").query(server)?;
            key.entries = entries.iter().map(|(id, fields)| entry(id, fields)).collect();
        }
        other => panic!("{name} is a {other}"),
    }
    Ok(key)
}

/// `T+5 waiting jobId=1 prev=active`: the sequence within a millisecond is the order.
fn entry(id: &str, fields: &[String]) -> String {
    let time = id.split('-').next().unwrap_or(id);
    let pairs = fields.chunks(2).map(|pair| match pair {
        [name, value] if name == "event" => value.clone(),
        pair => pair.join("="),
    });
    std::iter::once(time.to_owned()).chain(pairs).collect::<Vec<_>>().join(" ")
}

/// `opts.backoff.delay` and so on; an object without anything is `{}`.
fn flatten(at: &str, json: &Value, parts: &mut BTreeMap<String, String>) {
    match json {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(&format!("{at}.{name}"), value, parts);
            }
        }
        // Numbers are written in more than one form.
        Value::Number(number) => drop(parts.insert(at.into(), number.as_f64().expect("a number").to_string())),
        other => drop(parts.insert(at.into(), other.to_string())),
    }
}

/// The UUIDs among the ids, in the order of their jobs' first events.
fn uuids_in_order(keys: &BTreeMap<String, Key>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let entries = keys.values().flat_map(|key| &key.entries);
    for id in entries.flat_map(|entry| entry.split(' ')).filter_map(|word| word.strip_prefix("jobId=")) {
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        if parts == [8, 4, 4, 4, 12] && !found.iter().any(|known| known == id) {
            found.push(id.to_owned());
        }
    }
    found
}

fn shorten(text: &str, uuids: &[String]) -> String {
    let mut text = text.to_owned();
    for (n, uuid) in uuids.iter().enumerate() {
        text = text.replace(uuid, &(n + 1).to_string());
    }
    let (mut short, mut digits) = (String::new(), String::new());
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        short.push_str(&time(&digits).unwrap_or_else(|| digits.clone()));
        digits.clear();
        if c != '\0' {
            short.push(c);
        }
    }
    short
}

fn time(digits: &str) -> Option<String> {
    let number: i64 = digits.parse().ok()?;
    let within = |millis: i64| (0..CHAPTER).contains(&(millis - T0.millis()));
    if within(number) {
        return Some(format!("T+{}", number - T0.millis()));
    }
    let (millis, nth) = (number.div_euclid(4096), number.rem_euclid(4096));
    within(millis).then(|| format!("T+{}#{nth}", millis - T0.millis()))
}

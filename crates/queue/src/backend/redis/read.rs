//! The verbs that read.

use std::num::NonZeroU32;
use std::time::Duration;

use ::redis::Value;

use super::codec::{place, record, state, stored_failure};
use super::keys::Keys;
use super::reply::*;
use super::write::cursor_of;
use super::{Redis, groups};
use crate::backend::*;
use crate::error::StoreError;
use crate::event::{Event, Position};
use crate::job::{JobId, Payload, QueueName, Record};
use crate::state::{Counts, State};
use crate::time::Timestamp;

/// The count of a limiter that is held by hand, as BullMQ sets it.
const HELD: i64 = 9_007_199_254_740_991;

impl Redis {
    pub(super) async fn records(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut call = self.call(&self.scripts.records, queue, Timestamp::default());
        ids.iter().for_each(|id| {
            call.arg(id.as_str());
        });
        let found = list(self.link.call(call).await?)?;
        found.into_iter().map(|job| record(job, &self.keys)).collect()
    }

    pub(super) async fn page(&self, queue: &QueueName, wanted: &List) -> Result<Page, StoreError> {
        let mut call = self.call(&self.scripts.list, queue, Timestamp::default());
        call.arg(place(wanted.state));
        match wanted.after {
            Some(Cursor(a, b)) => call.arg(a).arg(b),
            None => call.arg("").arg(""),
        };
        call.arg(wanted.most);
        let [jobs, a, b] = parts(self.link.call(call).await?)?;
        let jobs = list(jobs)?.into_iter().filter_map(|job| record(job, &self.keys).transpose());
        Ok(Page { jobs: jobs.collect::<Result<_, _>>()?, next: cursor_of(a, b)? })
    }

    pub(super) async fn log_lines(
        &self,
        queue: &QueueName,
        id: &JobId,
        skip: u32,
        most: u32,
    ) -> Result<Logs, StoreError> {
        let key = format!("{}{id}:logs", self.keys.base(queue));
        let (mut lines, mut total) = (::redis::cmd("LRANGE"), ::redis::cmd("LLEN"));
        lines.arg(&key).arg(skip).arg(i64::from(skip) + i64::from(most) - 1);
        total.arg(&key);
        let (lines, total) = tokio::try_join!(self.link.send(&lines), self.link.send(&total))?;
        let lines = if most == 0 { Vec::new() } else { texts(lines)? };
        Ok(Logs { lines, total: u32::try_from(count(total)?).unwrap_or(u32::MAX) })
    }

    pub(super) async fn look(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        let mut call = self.call(&self.scripts.info, queue, now);
        call.arg(u64::try_from(WORKER_GONE.as_millis()).unwrap_or(u64::MAX));
        let reply = parts(self.link.call(call).await?)?;
        let [counts, paused, slots, max, per, used, left, began, oldest, workers, newest, groups, fair] = reply;
        let rate = match (maybe(max)?, maybe(per)?) {
            (Some(max), Some(per)) => Some(Rate {
                max: u32::try_from(max).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN),
                per: Duration::from_millis(u64::try_from(per).unwrap_or(1)),
            }),
            _ => None,
        };
        let end = now.plus(Duration::from_millis(u64::try_from(int(left)?.saturating_add(1)).unwrap_or(0)));
        let mut limits = Limits {
            concurrency: maybe(slots)?.and_then(|slots| u32::try_from(slots).ok()).and_then(NonZeroU32::new),
            rate,
            ..Limits::default()
        };
        match maybe(used)? {
            Some(used) if used >= HELD => limits.until = end,
            Some(used) => {
                limits.used = u32::try_from(used).unwrap_or(u32::MAX);
                // A window that another fleet began is as long as the queue's rate.
                let other = rate.map(|rate| end.minus(rate.per));
                limits.window_start = other.or(maybe(began)?.map(Timestamp::from_millis)).unwrap_or(now);
            }
            None => {}
        }
        let workers = texts(workers)?.iter().filter_map(|worker| serde_json::from_str(worker).ok()).collect();
        Ok(Info {
            counts: counts_of(counts)?,
            paused: int(paused)? == 1,
            limits,
            oldest_ready: maybe(oldest)?.map(Timestamp::from_millis),
            workers,
            newest_event: text(newest)?.parse().map_err(|_| odd())?,
            groups: count(groups)?,
            group_defaults: groups::defaults(&text(fair)?),
        })
    }

    pub(super) async fn stand(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        let mut call = self.call(&self.scripts.facts, queue, now);
        call.arg(id.as_str()).arg(MAX_AHEAD).arg(MAX_PENDING);
        let [left, ahead, pending, children, follows] = parts(self.link.call(call).await?)?;
        let job = self.records(queue, std::slice::from_ref(id)).await?.pop().flatten();
        let small = |value: Value| Ok::<_, StoreError>(u32::try_from(count(value)?).unwrap_or(u32::MAX));
        let left = u64::try_from(int(left)?).ok();
        let group = match job.as_ref().and_then(|job| job.options.group.clone()) {
            Some(group) => self.find_groups(queue, &GroupsWanted::Ids(vec![group]), 1).await?.pop(),
            None => None,
        };
        let (ahead, behind) = parts(ahead).and_then(|[ahead, behind]| Ok((small(ahead)?, int(behind)? == 1)))?;
        // Of those before it, its group's head stands elsewhere.
        let ahead = ahead + u32::from(behind && group.as_ref().is_some_and(|group| group.in_turn));
        Ok(Facts {
            lock_until: left.map(|left| now.plus(Duration::from_millis(left + 1))),
            ahead: ahead.min(MAX_AHEAD + 1),
            group,
            pending: small(pending)?,
            children: self.read_children(children)?.into_iter().filter_map(|(_, child)| child).collect(),
            follows: Some(text(follows)?).filter(|id| !id.is_empty()).map(JobId::stored),
            job,
            info: self.look(queue, now).await?,
        })
    }

    pub(super) async fn stream(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        let key = format!("{}events", self.keys.base(queue));
        let (mut found, mut first) = (::redis::cmd("XRANGE"), ::redis::cmd("XRANGE"));
        found.arg(&key).arg(format!("({after}")).arg("+").arg("COUNT").arg(most);
        first.arg(&key).arg("-").arg("+").arg("COUNT").arg(1);
        let (found, first) = tokio::try_join!(self.link.send(&found), self.link.send(&first))?;
        let first = list(first)?.into_iter().next().map(entry).transpose()?.map(|(position, _)| position);
        let mut events =
            Events { next: after, gap: first.is_some_and(|first| is_gap(after, first)), ..Events::default() };
        if most == 0 {
            return Ok(events);
        }
        for part in list(found)? {
            let (position, fields) = entry(part)?;
            events.next = position;
            events.events.extend(event(&fields, &self.keys).map(|event| (position, event)));
        }
        Ok(events)
    }

    pub(super) async fn minutes(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        let last = before.map_or("+inf".to_owned(), |before| format!("({}", before.millis().div_euclid(60_000)));
        let mut call = self.call(&self.scripts.minutes, queue, Timestamp::default());
        call.arg(last).arg(most);
        list(self.link.call(call).await?)?.into_iter().filter_map(|found| minute(found).transpose()).collect()
    }
}

/// Whether events after a position may have been cut off. A position that is not the beginning was an event's own: when the
/// first one kept is later, that one is gone, and perhaps others.
fn is_gap(after: Position, first: Position) -> bool {
    after != Position::START && after < first
}

fn minute(found: Value) -> Result<Option<Minute>, StoreError> {
    let [number, row] = parts(found)?;
    let number = text(number)?;
    let row: Vec<u64> = list(row)?.into_iter().map(count).collect::<Result<_, _>>()?;
    let (Ok(number), [completed, failed, times @ ..]) = (number.parse(), &*row) else { return Ok(None) };
    let histogram = |times: &[u64]| {
        let mut histogram = Histogram::default();
        let (counts, sum) = times.split_at(times.len() - 1);
        histogram.counts.copy_from_slice(counts);
        histogram.sum = sum[0];
        histogram
    };
    let each = BUCKETS.len() + 2;
    if times.len() != 2 * each {
        return Err(odd());
    }
    let (wait, run) = times.split_at(each);
    Ok(Some(Minute {
        completed: *completed,
        failed: *failed,
        wait: histogram(wait),
        run: histogram(run),
        ..Minute::of(number)
    }))
}

pub(super) fn counts_of(counts: Value) -> Result<Counts, StoreError> {
    let [waiting, prioritized, delayed, active, waiting_children, completed, failed] = parts(counts)?;
    Ok(Counts {
        waiting: count(waiting)?,
        prioritized: count(prioritized)?,
        delayed: count(delayed)?,
        active: count(active)?,
        waiting_children: count(waiting_children)?,
        completed: count(completed)?,
        failed: count(failed)?,
    })
}

type Fields = Vec<(String, String)>;

fn entry(entry: Value) -> Result<(Position, Fields), StoreError> {
    let [id, fields] = parts(entry)?;
    let mut flat = list(fields)?.into_iter();
    let mut fields = Vec::new();
    while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
        fields.push((text(name)?, text(value)?));
    }
    Ok((text(id)?.parse().map_err(|_| odd())?, fields))
}

/// An event by its fields; `None` for what BullMQ or others tell and we have no word for.
fn event(fields: &Fields, keys: &Keys) -> Option<Event> {
    let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let id = || field("jobId").map(JobId::stored);
    let prev = || field("prev").and_then(state);
    let result = |text: &str| Payload::stored(text);
    Some(match field("event")? {
        "added" => Event::Added { id: id()?, name: field("name")?.into() },
        "waiting" => Event::Waiting { id: id()?, prev: prev() },
        "delayed" => Event::Delayed { id: id()?, due: time(field("delay")?)? },
        "waiting-children" => Event::WaitingChildren { id: id()?, prev: prev() },
        "active" => Event::Active { id: id()?, prev: prev().unwrap_or(State::Waiting) },
        "completed" => Event::completed(id()?, &result(field("returnvalue")?)),
        "failed" => Event::Failed {
            id: id()?,
            failure: stored_failure(field("failedReason")?, field("lk:kind").unwrap_or(""), keys),
        },
        "retries-exhausted" => Event::RetriesExhausted { id: id()?, made: small(field("attemptsMade")?) },
        "stalled" => Event::Stalled { id: id()? },
        "progress" => Event::progress(id()?, &result(field("data")?)),
        "removed" => Event::Removed { id: id()?, prev: prev().unwrap_or(State::Waiting) },
        "duplicated" => Event::Duplicated { id: id()? },
        "deduplicated" => Event::Deduplicated {
            id: id()?,
            dedup: field("deduplicationId")?.into(),
            lost: JobId::stored(field("deduplicatedJobId")?),
        },
        "drained" => Event::Drained,
        "cleaned" => Event::Cleaned { count: number(field("count")?).and_then(|n| u64::try_from(n).ok())? },
        "paused" => Event::Paused,
        "resumed" => Event::Resumed,
        _ => return None,
    })
}

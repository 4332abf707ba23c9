//! One measurement of one client, with the check that every job reached a handler once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::figures::{Record, Spread, What};
use crate::plan::{BULK, Cell, How, Offer, Part, TASKS, Who};
use crate::stage::{Left, Stage};
use crate::team::Team;

/// How many completed jobs stay, by the options of every job.
const KEPT: u32 = 1_000;
/// What a job's data is long, in bytes.
const PAYLOAD: usize = 172;

/// A backlog added and worked to its last job: the adds, and the work.
pub(crate) async fn cell(stage: &mut Stage, team: &Team, part: Part, cell: &Cell) -> Result<[Record; 2], String> {
    // More processes than slots would leave some without any.
    let team = team.first(cell.slots as usize);
    let queue = stage.clear().await?;
    team.all("open", json!({ "url": stage.url(), "queue": queue })).await?;

    stage.count_commands().await?;
    let begun = stage.read(&team.pids);
    match cell.how {
        How::Singly => team.add("add", cell.jobs, ("tasks", team.shares(TASKS))).await?,
        How::Bulk => team.add("add_bulk", cell.jobs, ("size", vec![BULK; team.size()])).await?,
    }
    let used = stage.read(&team.pids).since(&begun);
    let what = if cell.how == How::Singly { What::Singly } else { What::Bulk };
    let mut added = Record::new(part, what, team.who, cell.jobs, used);
    added.commands = stage.commands().await?;
    let left = stage.left(&queue).await?;
    if left != (Left { waiting: cell.jobs, ..Left::default() }) {
        return Err(format!("{} jobs were added and {left:?} is there", cell.jobs));
    }

    let slots = team.shares(cell.slots);
    team.each("ready", |n| json!({ "slots": slots[n], "handler": cell.handler })).await?;
    let mut gets = Vec::new();
    stage.count_commands().await?;
    let begun = stage.read(&team.pids);
    team.all("go", Value::Null).await?;
    let left = stage.worked_off(&queue, last_looks(cell.handler), cell.get.then_some(&mut gets)).await?;
    let used = stage.read(&team.pids).since(&begun);
    let what = What::Work { slots: cell.slots, handler: cell.handler };
    let mut worked = Record::new(part, what, team.who, cell.jobs, used);
    worked.commands = stage.commands().await?;
    worked.get = Spread::of(gets);
    end(&team, cell.jobs, left).await?;
    for record in [&mut added, &mut worked] {
        record.processes = team.size();
    }
    Ok([added, worked])
}

/// Jobs offered at a steady rate to a worker that waits for them. One process adds and works, so that one clock tells.
pub(crate) async fn offer(stage: &mut Stage, team: &Team, part: Part, offer: &Offer) -> Result<Record, String> {
    let team = team.first(1);
    let queue = stage.clear().await?;
    team.all("open", json!({ "url": stage.url(), "queue": queue })).await?;
    team.all("ready", json!({ "slots": offer.slots, "handler": 0 })).await?;
    team.all("go", Value::Null).await?;

    stage.count_commands().await?;
    let begun = stage.read(&team.pids);
    team.all("offer", json!({ "rate": offer.rate, "jobs": offer.jobs })).await?;
    let left = stage.worked_off(&queue, last_looks(0), None).await?;
    let used = stage.read(&team.pids).since(&begun);
    let what = What::Offer { slots: offer.slots, rate: offer.rate };
    let mut record = Record::new(part, what, team.who, offer.jobs, used);
    record.commands = stage.commands().await?;
    let saw = end(&team, offer.jobs, left).await?;
    let waits = |name: &str| {
        let waits: Vec<u64> =
            saw.iter().flat_map(|saw| saw[name].as_array()).flatten().filter_map(Value::as_u64).collect();
        if waits.len() == offer.jobs as usize { Ok(Spread::of(waits)) } else { Err(format!("{} {name}", waits.len())) }
    };
    record.from_call = waits("fromCall")?;
    record.from_answer = waits("fromAnswer")?;
    record.processes = 1;
    Ok(record)
}

/// Lets a team work a little before it is measured, and looks at what it stores: the same payload and options as the others.
pub(crate) async fn warm_up(stage: &mut Stage, team: &Team, jobs: u32) -> Result<(), String> {
    let queue = stage.clear().await?;
    team.all("open", json!({ "url": stage.url(), "queue": queue })).await?;
    team.add("add_bulk", jobs, ("size", vec![BULK; team.size()])).await?;
    let (data, options) = stage.stored(&queue, 1).await?;
    let keep = &options["removeOnComplete"];
    let same = data.len() == PAYLOAD
        && options["attempts"] == 3
        && (&options["backoff"]["type"], &options["backoff"]["delay"]) == (&json!("exponential"), &json!(2_000))
        && (&keep["age"], &keep["count"]) == (&json!(3_600), &json!(KEPT));
    if !same {
        return Err(format!("its jobs differ from the others': {} bytes, options {options}", data.len()));
    }
    let slots = team.shares(100);
    team.each("ready", |n| json!({ "slots": slots[n], "handler": 0 })).await?;
    team.all("go", Value::Null).await?;
    let left = stage.worked_off(&queue, last_looks(0), None).await?;
    end(team, jobs, left).await.map(drop)
}

/// How many jobs a second so many processes work off, and how much of its core Redis needs for it.
pub(crate) async fn try_size(stage: &mut Stage, who: Who, size: usize, cell: &Cell) -> Result<(f64, f64), String> {
    let team = Team::start(who, size)?;
    warm_up(stage, &team, cell.jobs.min(5_000)).await?;
    let [_, worked] = self::cell(stage, &team, Part::Main, cell).await?;
    Ok((worked.jobs_per_second, worked.redis_cores))
}

/// At the end, often enough for an error of a few thousandths.
fn last_looks(handler: u32) -> Duration {
    Duration::from_millis(u64::from(handler / 20).max(1))
}

/// Stops the workers, and answers what they saw when that is right.
async fn end(team: &Team, jobs: u32, left: Left) -> Result<Vec<Value>, String> {
    let saw = team.all("stop", Value::Null).await?;
    team.all("close", Value::Null).await?;
    if (left.failed, left.completed) != (0, jobs.min(KEPT)) {
        return Err(format!("of {jobs} jobs {} failed, and {} completed ones are kept", left.failed, left.completed));
    }
    let ids = saw.iter().flat_map(|saw| saw["ids"].as_array()).flatten();
    exactly_once(jobs, ids.map(|id| id.as_u64().unwrap_or(u64::MAX)))?;
    Ok(saw)
}

/// Whether each number below `jobs` is there, once.
fn exactly_once(jobs: u32, ids: impl Iterator<Item = u64>) -> Result<(), String> {
    let mut seen = vec![false; jobs as usize];
    let (mut twice, mut strange) = (0, 0);
    for id in ids {
        match usize::try_from(id).ok().and_then(|id| seen.get_mut(id)) {
            Some(seen) if *seen => twice += 1,
            Some(seen) => *seen = true,
            None => strange += 1,
        }
    }
    let missing = seen.iter().filter(|seen| !**seen).count();
    if (missing, twice, strange) == (0, 0, 0) {
        return Ok(());
    }
    Err(format!(
        "of {jobs} jobs {missing} reached no handler, {twice} deliveries were repeated, {strange} were of no such job"
    ))
}

//! The verbs that write, each one script: what goes in as arguments, and what comes out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::Value;

use super::codec::{decode_options, doom, encode_options, kind_name, place, state};
use super::groups::{class, group_arg};
use super::keys::Keys;
use super::link::Trouble;
use super::reply::*;
use super::script::{Call, Script};
use super::{Redis, codec};
use crate::backend::*;
use crate::error::StoreError;
use crate::exit::{Failure, FailureKind, Outcome};
use crate::job::{JobId, Payload, QueueName};
use crate::options::{Group, JobOptions};
use crate::state::{Doom, State};
use crate::time::Timestamp;

/// Jobs that one script adds at the most: what it does takes the server's only thread.
pub(super) const ADD_STEP: usize = 1_000;

/// Steps of one order: those of a resume bring 5,000 jobs each back from where BullMQ 5 has put them.
const ORDER_STEPS: u32 = 10_000;

/// Pages of one rescue, of 5,000 active jobs each.
const RESCUE_PAGES: u32 = 1_000;

/// Why a queue of BullMQ 5 is not paused: its clients move all waiting jobs to a list of its own, and put that list in the
/// place of another one; what the other fleet had added there would be lost.
const OF_BULLMQ_5: StoreError = StoreError::Unsupported(
    "the queue was opened by BullMQ 5, whose resume overwrites jobs that others add meanwhile: pause it with a client of \
     BullMQ 5, or take those away first and then the field `version` of its `meta` (docs/from-bullmq.md)",
);

pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How long a key is to live. The server keeps it through the millisecond in which its time is over; here it is over then.
fn ttl(time: Duration) -> u64 {
    ms(time).clamp(2, 1 << 53) - 1
}

impl Redis {
    pub(super) async fn add_step(
        &self,
        queue: &QueueName,
        jobs: &[NewJob],
        now: Timestamp,
    ) -> Result<Vec<Added>, Trouble> {
        if jobs.iter().all(|job| is_plain(&job.options)) {
            let answers = self.link.call(self.add_call(queue, jobs, now, true)?).await?;
            if answers != Value::Nil {
                return all_added(answers);
            }
        }
        all_added(self.link.call(self.add_call(queue, jobs, now, false)?).await?)
    }

    fn add_call(&self, queue: &QueueName, jobs: &[NewJob], now: Timestamp, plain: bool) -> Result<Call<'_>, Trouble> {
        let script = if plain { &self.scripts.add_plain } else { &self.scripts.add };
        let mut call = self.call_shared(script, queue, now);
        call.arg(jobs.len()).arg(queue.as_str());
        let mut before: Option<(&Arc<JobOptions>, String)> = None;
        for job in jobs {
            let options = &job.options;
            let known = before.take().filter(|(known, _)| job.id.is_none() && Arc::ptr_eq(known, options));
            let text = match known {
                Some((_, text)) => text,
                None => encode_options(job, &[]).map_err(Trouble::before)?,
            };
            call.arg(job.id.as_ref().map_or("", |id| id.as_str())).arg(&*job.name).arg(job.data.as_str()).arg(&text);
            if !plain {
                call.arg(ms(options.delay)).arg(class(options)).arg(u8::from(options.lifo));
                add_dedup(&mut call, options);
                call.arg(group_arg(options));
            }
            before = job.id.is_none().then_some((options, text));
        }
        Ok(call)
    }

    pub(super) async fn turn_once(&self, turn: &Turn, now: Timestamp) -> Result<Turned, Trouble> {
        let token = turn.take.as_ref().map(|take| &take.token);
        let read = |reply: Value| turned(reply, token, &self.keys).map_err(Trouble::after);
        if is_plain_turn(turn) && self.plain_turns.are_worth_it(&turn.queue) {
            let reply = self.link.call(self.turn_call(&self.scripts.turn_plain, turn, now)).await?;
            if reply != Value::Nil {
                return read(reply);
            }
            self.plain_turns.refused(&turn.queue);
        }
        read(self.link.call(self.turn_call(&self.scripts.turn, turn, now)).await?)
    }

    fn turn_call<'a>(&self, script: &'a Script, turn: &Turn, now: Timestamp) -> Call<'a> {
        let mut call = self.call(script, &turn.queue, now);
        call.arg(&*turn.worker).arg(turn.ends.len());
        match &turn.take {
            Some(take) => {
                call.arg(take.token.as_str()).arg(take.most).arg(ttl(take.lock_for));
                call.arg(u8::from(take.mode == TakeMode::Resume));
                match take.rate {
                    Some(rate) => call.arg(rate.max.get()).arg(ms(rate.per)),
                    None => call.arg("").arg(""),
                };
            }
            None => {
                call.arg("").arg(0).arg(0).arg(0).arg("").arg("");
            }
        }
        call.arg(now.millis().div_euclid(60_000));
        add_ends(&mut call, &turn.ends, &self.keys);
        call
    }

    pub(super) async fn beat_once(&self, beat: &Beat, now: Timestamp) -> Result<Beaten, Trouble> {
        let worker = serde_json::to_string(&beat.worker)
            .map_err(|error| Trouble::before(StoreError::Damaged(error.to_string())))?;
        self.bells.called(&beat.queue, &beat.worker.name);
        let mut call = self.call_shared(&self.scripts.beat, &beat.queue, now);
        call.arg(&*beat.worker.id).arg(worker).arg(ttl(beat.lock_for)).arg(ms(WORKER_GONE)).arg(beat.queue.as_str());
        for lock in &beat.locks {
            call.arg(lock.id.as_str()).arg(lock.token.as_str());
        }
        let read = |reply: Value| {
            let [lost, cancel, paused] = parts(reply)?;
            Ok(Beaten { lost: ids(lost)?, cancel: ids(cancel)?, paused: int(paused)? == 1 })
        };
        read(self.link.call(call).await?).map_err(Trouble::after)
    }

    /// One sweep over the active jobs, a page in each script. What is rescued is answered also when a later page is not.
    pub(super) async fn rescue_once(&self, rescue: &Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        let most = rescue.most as usize;
        let (mut jobs, mut skip) = (Vec::new(), Some(0));
        for _ in 0..RESCUE_PAGES {
            let Some(from) = skip else { break };
            let mut call = self.call(&self.scripts.rescue, &rescue.queue, now);
            call.arg(most - jobs.len()).arg(rescue.max_stalled).arg(from);
            let page = async {
                let [found, next] = parts(self.link.call(call).await?)?;
                Ok::<_, StoreError>((ids(found)?, maybe(next)?))
            };
            match page.await {
                Ok((found, next)) => {
                    jobs.extend(found);
                    skip = next;
                }
                Err(why) if jobs.is_empty() => return Err(why),
                Err(_) => return Ok(Rescued { jobs, more: true }),
            }
            if jobs.len() >= most {
                break;
            }
        }
        let more = most > 0 && jobs.len() >= most;
        Ok(Rescued { jobs, more })
    }

    pub(super) async fn sweep_once(&self, sweep: &Sweep, now: Timestamp) -> Result<Swept, Trouble> {
        let (what, from, last) = match sweep.what {
            SweepWhat::Clean(state, before) => ("clean", place(state), before.millis().to_string()),
            SweepWhat::DrainWaiting => ("drain", "wait", "+inf".to_owned()),
            SweepWhat::DrainDelayed => ("drain", "delayed", "+inf".to_owned()),
            SweepWhat::RetryFailed(before) => ("retry", "failed", before.millis().to_string()),
            SweepWhat::PromoteDelayed => ("promote", "delayed", "+inf".to_owned()),
        };
        let mut call = self.call(&self.scripts.sweep, &sweep.queue, now);
        call.arg(what).arg(from).arg(last);
        match sweep.after {
            Some(Cursor(a, b)) => call.arg(a).arg(b),
            None => call.arg("").arg(0),
        };
        call.arg(sweep.most).arg(u8::from(sweep.dry));
        let pick = &sweep.pick;
        call.arg(pick.name.as_deref().unwrap_or("")).arg(pick.kind.map(kind_name).unwrap_or_default());
        call.arg(pick.error.as_deref().unwrap_or("")).arg(pick.since.map(|t| t.to_string()).unwrap_or_default());
        call.arg(pick.group.as_ref().map_or("", Group::as_str));
        let read = |reply: Value| {
            let [done, scanned, a, b] = parts(reply)?;
            let scanned = u32::try_from(int(scanned)?).unwrap_or(u32::MAX);
            Ok(Swept { done: ids(done)?, scanned, next: cursor_of(a, b)? })
        };
        read(self.link.call(call).await?).map_err(Trouble::after)
    }

    pub(super) async fn control_once(
        &self,
        queue: &QueueName,
        what: Control,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Control::GroupDefaults(defaults) = what {
            return self.set_group_defaults(queue, defaults, now).await;
        }
        for _ in 0..ORDER_STEPS {
            match text(self.link.call(self.order(queue, what, now)).await?)?.as_str() {
                "D" => return Ok(()),
                "M" => {}
                "O" => return Err(OF_BULLMQ_5),
                _ => return Err(odd()),
            }
        }
        Err(StoreError::Unavailable("others add to the list `paused` all the time".to_owned()))
    }

    fn order(&self, queue: &QueueName, what: Control, now: Timestamp) -> Call<'_> {
        let mut call = self.call_shared(&self.scripts.control, queue, now);
        call.arg(queue.as_str());
        match what {
            Control::Pause => call.arg("pause").arg("").arg(""),
            Control::Resume => call.arg("resume").arg("").arg(""),
            Control::Concurrency(most) => {
                call.arg("slots").arg(most.map(|most| most.to_string()).unwrap_or_default()).arg("")
            }
            Control::Rate(Some(rate)) => call.arg("rate").arg(rate.max.get()).arg(ms(rate.per)),
            Control::Rate(None) => call.arg("rate").arg("").arg(""),
            Control::HoldUntil(until) => call.arg("hold").arg(until.millis()).arg(""),
            Control::ClearRate => call.arg("clear").arg("").arg(""),
            // Carried out where groups are known: see above.
            Control::GroupDefaults(_) => &mut call,
        };
        call
    }

    /// Changes of jobs that stand next to each other, in one script; in several when they walk a long list, see there.
    pub(super) async fn edit_jobs(
        &self,
        queue: &QueueName,
        edits: &[Edit],
        now: Timestamp,
    ) -> Result<Vec<Edited>, Trouble> {
        let mut answers = Vec::with_capacity(edits.len());
        while answers.len() < edits.len() {
            let mut call = self.call(&self.scripts.edit, queue, now);
            for edit in &edits[answers.len()..] {
                add_edit(&mut call, edit);
            }
            let made = match self.link.call(call).await {
                Ok(made) => list(made).map_err(Trouble::after)?,
                Err(trouble) if answers.is_empty() => return Err(trouble),
                Err(trouble) => return Err(Trouble::after(trouble.why)),
            };
            if made.is_empty() || made.len() > edits.len() - answers.len() {
                return Err(Trouble::after(odd()));
            }
            for answer in made {
                answers.push(text(answer).and_then(|answer| edited(&answer)).map_err(Trouble::after)?);
            }
        }
        Ok(answers)
    }
}

/// Whether a turn may be one of jobs that ask for nothing but to be run; the script knows the rest.
fn is_plain_turn(turn: &Turn) -> bool {
    let taken = |take: &Take| take.most > 0 && take.mode != TakeMode::Resume && take.rate.is_none();
    let done = |end: &Verdict| matches!(end.outcome, Outcome::Done(_)) && end.keep.count != Some(0);
    turn.take.as_ref().is_some_and(taken) && turn.ends.iter().all(done) && turn.ends.chunk_by(alike).count() <= 1
}

/// Whether plain turns are tried. A queue that refuses one, because of what else there is to it, refuses the next ones, too.
#[derive(Debug, Default)]
pub(super) struct PlainTurns {
    /// How many more turns of a queue are not tried.
    passed_over: Mutex<BTreeMap<QueueName, u32>>,
}

impl PlainTurns {
    /// Turns that are not tried after one that was refused.
    const PASSED_OVER: u32 = 31;

    fn are_worth_it(&self, queue: &QueueName) -> bool {
        let mut all = self.all();
        let Some(left) = all.get_mut(queue) else { return true };
        *left -= 1;
        if *left == 0 {
            all.remove(queue);
        }
        false
    }

    fn refused(&self, queue: &QueueName) {
        self.all().insert(queue.clone(), Self::PASSED_OVER);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<QueueName, u32>> {
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a job asks for nothing but to be run.
fn is_plain(options: &JobOptions) -> bool {
    ms(options.delay) == 0 && class(options) == 0 && !options.lifo && options.deduplication.is_none()
}

fn all_added(answers: Value) -> Result<Vec<Added>, Trouble> {
    let answers = list(answers).map_err(Trouble::after)?;
    answers.into_iter().map(|answer| added(&text(answer)?)).collect::<Result<_, _>>().map_err(Trouble::after)
}

fn add_dedup(call: &mut Call<'_>, options: &JobOptions) {
    let Some(dedup) = &options.deduplication else {
        call.arg("").arg("").arg("");
        return;
    };
    call.arg(&*dedup.id).arg(dedup.ttl.map(|time| ms(time).to_string()).unwrap_or_default());
    let flags = [(dedup.extend, 'e'), (dedup.replace, 'r'), (dedup.keep_last_if_active, 'k'), (dedup.reschedule, 's')];
    call.arg(flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect::<String>());
}

pub(super) fn added(answer: &str) -> Result<Added, StoreError> {
    let kind: fn(JobId) -> Added = match answer.as_bytes().first() {
        Some(b'N') => Added::New,
        Some(b'E') => Added::Existing,
        Some(b'D') => Added::Deduplicated,
        _ => return Err(odd()),
    };
    Ok(kind(JobId::stored(&answer[1..])))
}

/// Says ends in runs of like ones: what they share, how many they are, then what each says for itself.
fn add_ends(call: &mut Call<'_>, ends: &[Verdict], keys: &Keys) {
    let text = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    for run in ends.chunk_by(alike) {
        let Verdict { lock, outcome, keep, .. } = &run[0];
        call.arg(run.len()).arg(lock.token.as_str());
        match outcome {
            Outcome::Done(_) => call.arg("c").arg("").arg(""),
            Outcome::Dead(why) => call.arg("f").arg("").arg(kind_name(why.kind)),
            Outcome::Retry { at, failure } => call.arg("r").arg(at.millis()).arg(kind_name(failure.kind)),
            Outcome::Later(at) => call.arg("l").arg(at.millis()).arg(""),
            Outcome::Back => call.arg("b").arg("").arg(""),
            Outcome::SlowDown(until) => call.arg("s").arg(until.millis()).arg(""),
            Outcome::SlowDownGroup(until) => call.arg("g").arg(until.millis()).arg(""),
            Outcome::AwaitChildren => call.arg("w").arg("").arg(""),
        };
        call.arg(text(keep.count)).arg(text(keep.age.map(ms)));
        for verdict in run {
            call.arg(verdict.lock.id.as_str());
            match &verdict.outcome {
                Outcome::Done(result) => call.arg(result.as_str()),
                Outcome::Dead(why) | Outcome::Retry { failure: why, .. } => match why.kind {
                    FailureKind::Child => call.arg(keys.stored_doom(&why.message)),
                    _ => call.arg(&*why.message),
                },
                _ => call.arg(""),
            };
            call.arg(text(verdict.ran.map(ms)));
        }
    }
}

/// Whether two ends differ in no more than the job, its text and how long it ran.
fn alike(one: &Verdict, other: &Verdict) -> bool {
    let same = match (&one.outcome, &other.outcome) {
        (Outcome::Done(_), Outcome::Done(_)) => true,
        (Outcome::Dead(one), Outcome::Dead(other)) => one.kind == other.kind,
        _ => false,
    };
    same && one.lock.token == other.lock.token && one.keep == other.keep
}

fn turned(reply: Value, token: Option<&Token>, keys: &Keys) -> Result<Turned, StoreError> {
    let [ends, held, next, at] = parts(reply)?;
    let ends = text(ends)?.bytes().map(end).collect::<Result<_, _>>()?;
    let mut known: Option<(String, Result<Arc<JobOptions>, String>)> = None;
    let mut jobs = Vec::new();
    for job in list(held)? {
        jobs.push(held_job(job, token.ok_or_else(odd)?, &mut known, keys)?);
    }
    let at = Timestamp::from_millis(int(at)?);
    let next = match text(next)?.as_str() {
        "M" => Next::More,
        "T" => Next::At(at),
        "L" => Next::Limited(at),
        "F" => Next::Full,
        "P" => Next::Paused,
        "E" => Next::Empty,
        _ => return Err(odd()),
    };
    Ok(Turned { ends, held: jobs, next })
}

fn end(code: u8) -> Result<End, StoreError> {
    match code {
        b'D' => Ok(End::Applied),
        b'A' => Ok(End::AlreadyApplied),
        b'L' => Ok(End::LockLost),
        b'G' => Ok(End::Gone),
        _ => Err(odd()),
    }
}

/// A job as its taker sees it. Options that follow each other are often the same text: `known` spares decoding them again.
fn held_job(
    job: Value,
    token: &Token,
    known: &mut Option<(String, Result<Arc<JobOptions>, String>)>,
    keys: &Keys,
) -> Result<Held, StoreError> {
    let [name, data, opts, timestamp, made, started, stalls, defa, canceled, processed, id] = parts(job)?;
    let (opts, defa, canceled) = (text(opts)?, text(defa)?, !text(canceled)?.is_empty());
    let options = match known {
        Some((text, options)) if *text == opts => options.clone(),
        _ => {
            let options = decode_options(&opts).map(Arc::new).map_err(|error| error.to_string());
            *known = Some((opts, options.clone()));
            options
        }
    };
    let id = JobId::stored(text(id)?);
    // Another writer's worker makes a scheduler's next job with the options of the one before it.
    let outdated = |at: &Timestamp| id.iteration().is_some_and(|(_, slot)| *at < slot);
    let started = small(&text(started)?);
    let processed_on = time(&text(processed)?).unwrap_or_default();
    let failed_already = match &options {
        Err(why) => Some(Failure::damaged(why)),
        Ok(_) if canceled || !defa.is_empty() => {
            Some(doom(if defa.is_empty() { codec::CANCELED } else { &defa }, canceled, keys))
        }
        Ok(options) => {
            let start_before = options.start_before.filter(|at| !outdated(at));
            let doom = Doom { start_before, started: started > 1, ..Doom::default() };
            doom.failure(processed_on)
        }
    };
    Ok(Held {
        lock: Lock { id, token: token.clone(), row: 0 },
        name: text(name)?.into(),
        data: Payload::stored(text(data)?),
        options: options.unwrap_or_default(),
        made: small(&text(made)?),
        started,
        stalls: small(&text(stalls)?),
        timestamp: time(&text(timestamp)?).unwrap_or_default(),
        failed_already,
    })
}

pub(super) fn cursor_of(a: Value, b: Value) -> Result<Option<Cursor>, StoreError> {
    let (a, b) = (text(a)?, text(b)?);
    Ok(match (number(&a), number(&b)) {
        (Some(a), Some(b)) => Some(Cursor(a, b)),
        _ => None,
    })
}

fn add_edit(call: &mut Call<'_>, edit: &Edit) {
    match edit {
        Edit::Progress(id, value) => call.arg("progress").arg(id.as_str()).arg(value.as_str()).arg(""),
        Edit::Data(id, data) => call.arg("data").arg(id.as_str()).arg(data.as_str()).arg(""),
        Edit::Log(id, lines) => {
            // Earlier ones would be dropped at once.
            let kept = &lines[lines.len().saturating_sub(MAX_LOGS as usize)..];
            call.arg("log").arg(id.as_str()).arg(kept.len()).arg("");
            for line in kept {
                call.arg(cut_line(line));
            }
            call
        }
        Edit::Promote(id) => call.arg("promote").arg(id.as_str()).arg("").arg(""),
        Edit::Retry(id, made) => call.arg("retry").arg(id.as_str()).arg(u8::from(*made == Made::Reset)).arg(""),
        Edit::Remove(id) => call.arg("remove").arg(id.as_str()).arg("").arg(""),
        Edit::Cancel(id) => call.arg("cancel").arg(id.as_str()).arg("").arg(""),
        Edit::FreeDedup(id) => call.arg("free").arg(&**id).arg("").arg(""),
        Edit::Detach(id) => call.arg("detach").arg(id.as_str()).arg("").arg(""),
        // Answered where schedulers are known: see `repeat`.
        Edit::Schedule(_) | Edit::Unschedule(_) | Edit::Advance(_) => call,
    };
}

fn edited(answer: &str) -> Result<Edited, StoreError> {
    Ok(match answer.as_bytes().first() {
        Some(b'D') => Edited::Done,
        Some(b'M') => Edited::Missing,
        Some(b'K') => Edited::Locked,
        Some(b'P') => Edited::NoParent,
        Some(b'W') => Edited::WrongState(state(&answer[1..]).unwrap_or(State::Waiting)),
        _ => return Err(odd()),
    })
}

//! One of the two stores: what it answers and what it holds, as text in which only what no store promises is left out.

use std::sync::Arc;

use launchkit_queue::backend::*;
use launchkit_queue::{Event, JobId, Position, QueueName, Record, State, Timestamp};
use launchkit_testkit::Given;
use launchkit_testkit::given::LOCK;
use launchkit_testkit::invariants::all;

use super::plan::{self, Step};

/// Locks and takes of the past that steps still name.
const REMEMBERED: usize = 8;
/// Steps of one sweep.
const SWEEPS: usize = 100;

#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) backend: Arc<dyn Backend>,
    queues: [Given; 2],
    locks: [Vec<Lock>; 2],
    takes: [Vec<Take>; 2],
    taken: u64,
    /// Whose tokens these are.
    client: usize,
    /// Whether its turns are two calls, which is wrong when others act between them.
    pub(crate) torn: bool,
    pub(crate) seed: u64,
}

impl Side {
    pub(crate) fn new(backend: Arc<dyn Backend>, seed: u64) -> Self {
        let queue =
            |name: &str| Given::over(backend.clone(), QueueName::new(&format!("{name}-{seed}")).expect("a name"));
        let queues = [queue("texts"), queue("reports")];
        Self {
            queues,
            backend,
            locks: Default::default(),
            takes: Default::default(),
            taken: 0,
            client: 0,
            torn: false,
            seed,
        }
    }

    /// Another client of the same store, who knows what this one knows.
    pub(crate) fn client(&self, client: usize) -> Self {
        Self { client, ..self.clone() }
    }

    pub(crate) fn queue(&self, number: usize) -> QueueName {
        self.queues[number].queue.clone()
    }

    /// The ids of all jobs of a queue.
    pub(crate) async fn ids(&self, queue: usize) -> Vec<JobId> {
        self.jobs(queue).await.into_iter().map(|job| job.id).collect()
    }

    /// The step from where the first scheduler of a queue stands.
    pub(crate) async fn advance(&self, queue: usize, now: Timestamp) -> Option<Edit> {
        let page = self.backend.repeats(&self.queue(queue), &Repeats::After(None), 1).await.expect("schedulers");
        let first = page.found.first()?;
        Some(plan::advance(&first.repeat, first.slot?, now))
    }

    /// Does a step; what it answers.
    pub(crate) async fn go(&mut self, step: &Step, now: Timestamp) -> String {
        match step.clone() {
            Step::Add(queue, jobs) => {
                let add = Add { queue: self.queue(queue), jobs };
                text(self.backend.add(add, now).await.map_err(|failed| failed.why))
            }
            Step::Flow(nodes) => {
                let node = |(queue, job, parent)| Node { queue: self.queue(queue), job, parent };
                let nodes = nodes.into_iter().map(node).collect();
                text(self.backend.add_flow(AddFlow { nodes }, now).await.map_err(|failed| failed.why))
            }
            Step::Turn { queue, ends, take } => {
                let verdict = |(lock, outcome, keep): (usize, _, _)| {
                    let locks = &self.locks[queue];
                    let lock = locks.get(lock % locks.len().max(1))?.clone();
                    Some(Verdict { lock, outcome, keep, ran: None })
                };
                let ends = ends.into_iter().filter_map(verdict).collect();
                let take = take.map(|(most, rate)| self.wish(queue, most, rate));
                self.turn(queue, ends, take, now).await
            }
            Step::Resume(queue, back) => {
                let takes = &self.takes[queue];
                let Some(take) = takes.iter().rev().nth(back).cloned() else { return String::new() };
                self.turn(queue, Vec::new(), Some(Take { mode: TakeMode::Resume, ..take }), now).await
            }
            Step::Beat(queue) => text(self.queues[queue].beat(self.locks[queue].clone(), now).await),
            Step::Rescue(queue, max_stalled) => {
                let rescue = Rescue { queue: self.queue(queue), max_stalled, most: MAX_READ };
                let mut rescued = self.backend.rescue(rescue, now).await.expect("a rescue");
                rescued.jobs.sort();
                text(rescued)
            }
            Step::Edit(queue, edits) => {
                let all = EditAll { queue: self.queue(queue), edits };
                text(self.backend.edit(all, now).await.map_err(|failed| failed.why))
            }
            Step::Sweep(queue, sweep) => self.sweep(queue, sweep, now).await,
            Step::Control(queue, what) => text(self.backend.control(&self.queue(queue), what, now).await),
            Step::Spend(spends) => text(self.backend.spend(spends, now).await),
            Step::Page(queue, state, most) => self.pages(queue, state, most).await,
        }
    }

    fn wish(&mut self, queue: usize, most: usize, rate: Option<Rate>) -> Take {
        self.taken += 1;
        let token = Token::new(format!("model{}:{}", self.client, self.taken));
        let take = Take { token, mode: TakeMode::Fresh, most, lock_for: LOCK, rate };
        remember(&mut self.takes[queue], take.clone());
        take
    }

    async fn turn(&mut self, queue: usize, ends: Vec<Verdict>, take: Option<Take>, now: Timestamp) -> String {
        let given = &self.queues[queue];
        let mut turned = if self.torn && take.is_some() {
            let ends = given.turn(ends, None, now).await.ends;
            Turned { ends, ..given.turn(Vec::new(), take, now).await }
        } else {
            given.turn(ends, take, now).await
        };
        for held in &mut turned.held {
            remember(&mut self.locks[queue], held.lock.clone());
            // Where a store finds it is its own affair.
            held.lock.row = 0;
        }
        text(turned)
    }

    /// All steps of a sweep; cursors are a store's own.
    async fn sweep(&self, queue: usize, sweep: Sweep, now: Timestamp) -> String {
        let (mut all, mut after) = (String::new(), None);
        for _ in 0..SWEEPS {
            let next = Sweep { queue: self.queue(queue), after, ..sweep.clone() };
            let swept = self.backend.sweep(next, now).await.expect("a sweep");
            all += &format!("{:?} of {}\n", swept.done, swept.scanned);
            after = swept.next;
            if after.is_none() {
                return all;
            }
        }
        panic!("no sweep takes so many steps: {all}");
    }

    async fn pages(&self, queue: usize, state: State, most: u32) -> String {
        let (mut jobs, mut after) = (Vec::new(), None);
        loop {
            let page = self.backend.list(&self.queue(queue), &List { state, after, most }).await.expect("a page");
            jobs.extend(page.jobs);
            after = page.next;
            if after.is_none() {
                return text(ordered(jobs));
            }
        }
    }

    async fn jobs(&self, queue: usize) -> Vec<Record> {
        let mut jobs = Vec::new();
        for state in State::ALL {
            jobs.extend(ordered(all(&*self.backend, &self.queue(queue), state).await));
        }
        jobs
    }

    /// Everything that it holds, part by part.
    pub(crate) async fn holds(&self, now: Timestamp) -> Vec<String> {
        let mut all = Vec::new();
        for number in 0..self.queues.len() {
            let (given, queue) = (&self.queues[number], self.queue(number));
            let jobs = self.jobs(number).await;
            all.push(text(&jobs));
            let events = given.events_after(Position::START).await;
            all.push(text(events.into_iter().map(|(_, event)| told(event)).collect::<Vec<_>>()));
            let mut info = self.backend.info(&queue, now).await.expect("info");
            info.newest_event = Position::START;
            info.limits = standing(info.limits, now);
            all.push(text(info));
            let mut minutes = self.backend.metrics(&queue, None, 100).await.expect("minutes");
            // One in which jobs were only put off is there, or not.
            minutes.retain(|minute| *minute != Minute { at: minute.at, ..Minute::default() });
            all.push(text(minutes));
            for job in &jobs {
                let logs = self.backend.logs(&queue, &job.id, 0, 100).await.expect("logs");
                let children = self.backend.children(&queue, &job.id, 0, 100).await.expect("children");
                let mut facts = self.backend.facts(&queue, &job.id, now).await.expect("facts");
                facts.info = Info::default();
                facts.lock_until = facts.lock_until.filter(|end| *end > now);
                all.push(format!("{logs:#?}\n{children:#?}\n{facts:#?}"));
            }
            let schedulers = self.backend.repeats(&queue, &Repeats::After(None), 100).await.expect("schedulers");
            for scheduler in &schedulers.found {
                all.push(text(self.backend.ticks(&queue, &scheduler.repeat.id, 100).await.expect("ticks")));
            }
            all.push(text(schedulers));
        }
        all
    }
}

/// Of jobs that entered a state in the same millisecond, stores may list either first, where they list by that time; no order
/// is promised of active ones.
fn ordered(mut jobs: Vec<Record>) -> Vec<Record> {
    let by_time = jobs.iter().all(|job| job.state.is_final() || job.state == State::WaitingChildren);
    if by_time {
        jobs.sort_by(|a, b| (b.since, &b.id).cmp(&(a.since, &a.id)));
    } else if jobs.iter().all(|job| job.state == State::Active) {
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
    }
    jobs
}

/// Without what is over, which stores forget when they like, and without the window that a hold covers.
fn standing(limits: Limits, now: Timestamp) -> Limits {
    let running = |rate: Rate| limits.until <= now && limits.window_start.plus(rate.per) > now;
    let live = limits.rate.is_some_and(running);
    let (used, window_start) = if live { (limits.used, limits.window_start) } else { Default::default() };
    let until = if limits.until > now { limits.until } else { Timestamp::default() };
    Limits { used, window_start, until, ..limits }
}

/// BullMQ's stream says of all jobs that they were taken from `waiting`.
fn told(event: Event) -> Event {
    match event {
        Event::Active { id, .. } => Event::Active { id, prev: State::Waiting },
        event => event,
    }
}

fn remember<T>(list: &mut Vec<T>, new: T) {
    if list.len() == REMEMBERED {
        list.remove(0);
    }
    list.push(new);
}

fn text(answer: impl std::fmt::Debug) -> String {
    format!("{answer:#?}")
}

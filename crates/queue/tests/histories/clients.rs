//! Clients that add, work, die, interfere and note what they are answered. They act at once; only the time goes on in steps
//! between them, by less than a lock's time or by more.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use launchkit_queue::backend::*;
use launchkit_queue::{JobId, JobOptions, Outcome, QueueName, State, Timestamp};
use launchkit_testkit::given::{LOCK, T0, boom, json, named, verdict};
use launchkit_testkit::{Dice, Given, invariants};

use super::notes::{Got, Note, Notes, Way, What};

pub(crate) const CLIENTS: u64 = 6;
/// Calls of each client before the time goes on.
const EACH: usize = 4;

/// How long a job that is put off waits.
const SOON: Duration = Duration::from_millis(20);

/// What all clients know.
struct World {
    given: Given,
    order: AtomicU64,
    jobs: Mutex<Vec<JobId>>,
    /// Locks that their holders have used up or given up.
    old: Mutex<Vec<Lock>>,
}

struct Client {
    world: Arc<World>,
    dice: Dice,
    name: u64,
    added: u64,
    held: Vec<Lock>,
    notes: Vec<Note>,
}

/// Lets clients work for that many rounds, then works off what they have left.
pub(crate) async fn work(backend: Arc<dyn Backend>, seed: u64, rounds: u64) -> Notes {
    let queue = QueueName::new("histories").expect("a name");
    let world = Arc::new(World {
        given: Given::over(backend, queue),
        order: AtomicU64::new(0),
        jobs: Mutex::default(),
        old: Mutex::default(),
    });
    let client = |name| Client {
        world: world.clone(),
        dice: Dice::new(seed * CLIENTS + name),
        name,
        added: 0,
        held: Vec::new(),
        notes: Vec::new(),
    };
    let (mut clients, mut dice, mut now): (Vec<Client>, _, _) =
        ((0..CLIENTS).map(client).collect(), Dice::new(seed), T0);
    for _ in 0..rounds {
        let tasks: Vec<_> = clients.drain(..).map(|client| tokio::spawn(client.round(now))).collect();
        for task in tasks {
            clients.push(task.await.expect("a client"));
        }
        now = now.plus(match dice.roll(6) {
            0 => LOCK + Duration::from_millis(1),
            1 => LOCK / 2,
            2 => SOON - Duration::from_millis(1),
            _ => Duration::from_millis(1 + dice.roll(40)),
        });
    }
    clients[0].work_off(now).await;
    let given = &world.given;
    let mut left = Vec::new();
    for state in State::ALL {
        left.extend(invariants::all(&*given.backend, &given.queue, state).await);
    }
    invariants::check(&*given.backend).await;
    let events =
        given.events_after(launchkit_queue::Position::START).await.into_iter().map(|(_, event)| event).collect();
    let notes = clients.into_iter().flat_map(|client| client.notes).collect();
    Notes { notes, left, counts: given.counts().await, events }
}

impl Client {
    async fn round(mut self, now: Timestamp) -> Self {
        for _ in 0..EACH {
            self.act(now).await;
        }
        self
    }

    async fn act(&mut self, now: Timestamp) {
        match self.dice.roll(20) {
            0..=4 => self.add(now).await,
            5..=12 => {
                let most = self.dice.size(4);
                let ends = self.ends(now);
                self.turn(ends, most, now).await;
            }
            13 => self.beat(now).await,
            14 | 15 => self.rescue(now).await,
            // It dies: what it held is left to others, and its late answers come yet.
            16 => self.world.old.lock().unwrap().append(&mut self.held),
            _ => self.edit(now).await,
        }
    }

    async fn add(&mut self, now: Timestamp) {
        let (mut jobs, mut noted) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.roll(3) {
            self.added += 1;
            let delay =
                if self.dice.once_in(5) { Duration::from_millis(1 + self.dice.roll(60)) } else { Duration::ZERO };
            let priority = if self.dice.once_in(3) { self.dice.number(3) } else { 0 };
            let options = JobOptions { priority, delay, attempts: 3, ..JobOptions::default() };
            let job = named(&format!("c{}-{}", self.name, self.added), options);
            noted.push((job.id.clone().expect("its own"), priority, now.plus(delay)));
            jobs.push(job);
        }
        let ids: Vec<JobId> = noted.iter().map(|(id, ..)| id.clone()).collect();
        let asked = self.tick();
        let added = self.world.given.add(jobs, now).await;
        self.note(asked, now, What::Added(noted));
        assert!(added.iter().all(|added| matches!(added, Added::New(_))), "{added:?}");
        self.world.jobs.lock().unwrap().extend(ids);
    }

    /// Ends of some jobs that it holds, and sometimes of one that it does not.
    fn ends(&mut self, now: Timestamp) -> Vec<(Lock, Way, Outcome)> {
        let most = self.dice.size(4).min(self.held.len());
        let mut locks: Vec<Lock> = self.held.drain(..most).collect();
        if self.dice.once_in(3) {
            let old = self.world.old.lock().unwrap();
            let strange = (!old.is_empty()).then(|| self.dice.one(&old).clone());
            locks.extend(strange.filter(|strange| locks.iter().all(|lock| lock.id != strange.id)));
        }
        let soon = now.plus(SOON);
        let mut end = |lock| match self.dice.roll(8) {
            0 | 1 => (lock, Way::Dead, Outcome::Dead(boom())),
            2 => (lock, Way::Retry, Outcome::Retry { at: now, failure: boom() }),
            3 => (lock, Way::Later(soon), Outcome::Later(soon)),
            4 => (lock, Way::Later(now), Outcome::Back),
            _ => (lock, Way::Done, Outcome::Done(json("1"))),
        };
        locks.into_iter().map(&mut end).collect()
    }

    async fn turn(&mut self, ends: Vec<(Lock, Way, Outcome)>, most: usize, now: Timestamp) {
        let take = self.world.given.wish(most);
        let token = take.token.clone();
        let verdicts = ends.iter().map(|(lock, _, outcome)| verdict(lock, outcome.clone())).collect();
        let asked = self.tick();
        let turned = self.world.given.turn(verdicts, (most > 0).then_some(take), now).await;
        let got = |held: &Held| Got {
            id: held.lock.id.clone(),
            started: held.started,
            doomed: held.failed_already.is_some(),
        };
        let noted = ends
            .iter()
            .zip(&turned.ends)
            .map(|((lock, way, _), end)| (lock.id.clone(), lock.token.clone(), *way, *end));
        let what = What::Turned { ends: noted.collect(), token, most, got: turned.held.iter().map(got).collect() };
        self.note(asked, now, what);
        let new: Vec<Lock> = turned.held.into_iter().map(|held| held.lock).collect();
        let gone = self.held.extract_if(.., |old| new.iter().any(|new| new.id == old.id));
        self.world.old.lock().unwrap().extend(gone.chain(ends.into_iter().map(|(lock, ..)| lock)));
        self.held.extend(new);
    }

    async fn beat(&mut self, now: Timestamp) {
        let locks = self.held.clone();
        let asked = self.tick();
        let beaten = self.world.given.beat(locks, now).await;
        let (lost, kept): (Vec<_>, Vec<_>) = self.held.drain(..).partition(|lock| beaten.lost.contains(&lock.id));
        let named = |locks: &[Lock]| locks.iter().map(|lock| (lock.id.clone(), lock.token.clone())).collect();
        let what = What::Beaten { kept: named(&kept), lost: named(&lost), canceled: beaten.cancel };
        self.note(asked, now, what);
        self.held = kept;
        self.world.old.lock().unwrap().extend(lost);
    }

    async fn rescue(&mut self, now: Timestamp) {
        let asked = self.tick();
        let rescued = self.world.given.rescue(u32::MAX, now).await;
        self.note(asked, now, What::Rescued(rescued.jobs));
    }

    async fn edit(&mut self, now: Timestamp) {
        let jobs = self.world.jobs.lock().unwrap().clone();
        if jobs.is_empty() {
            return;
        }
        let id = self.dice.one(&jobs).clone();
        let kind = self.dice.roll(3);
        let edit = match kind {
            0 => Edit::Cancel(id.clone()),
            1 => Edit::Retry(id.clone(), Made::Keep),
            _ => Edit::Remove(id.clone()),
        };
        let asked = self.tick();
        let edited = self.world.given.edit(edit, now).await;
        let what = match kind {
            0 => What::Canceled(id, edited),
            1 => What::Retried(id, edited),
            _ => What::Removed(id, edited),
        };
        self.note(asked, now, what);
    }

    /// Waits until nobody holds anything, and ends what is left.
    async fn work_off(&mut self, mut now: Timestamp) {
        self.held.clear();
        now = now.plus(LOCK * 2);
        self.rescue(now).await;
        loop {
            now = now.plus(Duration::from_millis(100));
            self.turn(Vec::new(), 20, now).await;
            if self.held.is_empty() {
                return;
            }
            let ends = self.held.drain(..).map(|lock| (lock, Way::Done, Outcome::Done(json("1")))).collect();
            self.turn(ends, 0, now).await;
        }
    }

    fn tick(&self) -> u64 {
        self.world.order.fetch_add(1, Ordering::SeqCst)
    }

    fn note(&mut self, asked: u64, now: Timestamp, what: What) {
        self.notes.push(Note { asked, answered: self.tick(), now, what });
    }
}

//! Owns every trip of a worker: when to go, with which ends, for how many jobs.
//!
//! With nothing under way the first end leaves at once; what comes during a trip is the next batch. There is no timer, so
//! a lone job never waits for a batch to fill. A take asks for exactly the free slots: that is all the back-pressure.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::active::Cause;
use super::trip::{self, Finished, Started, Trip};
use super::{Shared, runner};
use crate::backend::{MAX_TURN, Next};
use crate::error::StoreError;
use crate::exit::Outcome;
use crate::journal::Ending;
use crate::state::decide;
use crate::time::Timestamp;

/// Ends in one trip at the most.
const BATCH: usize = 100;
/// Trips under way at once at the most.
const TRIPS: usize = 2;
/// How long to wait for news before looking again all the same.
const LOOK: Duration = Duration::from_secs(5);
/// How long to wait for nothing after a wait that the store refused.
const DEAF: Duration = Duration::from_secs(1);
/// The longest wait for a delayed job before looking again.
const LONGEST_NAP: Duration = Duration::from_secs(10);
/// After the grace of a stop: how long handlers, journal and store may still take before the rest is left to rescue.
const LAST_CALL: Duration = Duration::from_secs(5);

type Wake = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

pub(super) struct Pump {
    shared: Arc<Shared>,
    /// Slots that no job fills and no trip has asked for.
    free: usize,
    pending: Vec<Finished>,
    ends: mpsc::Receiver<Option<Finished>>,
    ends_in: mpsc::Sender<Option<Finished>>,
    trips: JoinSet<(Trip, u64)>,
    runners: JoinSet<()>,
    /// How often there was a reason to look; a trip that began before the last one proves nothing.
    hints: u64,
    seen: u64,
    due: Option<Timestamp>,
    /// A store that refused to be waited for is left alone until this ends.
    rest: Pin<Box<Sleep>>,
    /// Our own rate forbids to start anything before `due`.
    slowed: bool,
    number: u64,
    /// Whether the grace of a stop is over: what arrives now is not begun any more.
    over: bool,
    stopping: CancellationToken,
    give_up: CancellationToken,
}

impl Pump {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let slots = shared.settings.slots;
        let (ends_in, ends) = mpsc::channel(slots);
        Self {
            shared,
            free: slots,
            pending: Vec::new(),
            ends,
            ends_in,
            trips: JoinSet::new(),
            runners: JoinSet::new(),
            hints: 1,
            seen: 0,
            due: None,
            rest: Box::pin(tokio::time::sleep(Duration::ZERO)),
            slowed: false,
            number: 0,
            over: false,
            stopping: CancellationToken::new(),
            give_up: CancellationToken::new(),
        }
    }

    /// Pumps until `stop`, then until everything that was held is settled or given back.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        let mut wake = self.wake();
        // Registered before the first look, so that work which comes during that look, from whatever process, calls.
        let mut listening = true;
        tokio::select! {
            biased;
            _ = &mut wake => wake = self.wake(),
            _ = std::future::ready(()) => {}
        }
        loop {
            self.collect();
            self.depart();
            let due = self.due.map(|at| at.since(self.now()).min(LONGEST_NAP));
            let idle = self.free > 0 && self.hints == self.seen;
            if (self.free == 0 || self.slowed) && listening {
                // A waiter that cannot act on its call must not stand in line: dropped, it hands the call on.
                wake = self.wake();
                listening = false;
            }
            listening |= idle && !self.slowed;
            tokio::select! {
                biased;
                _ = &mut stop => break,
                Some(ended) = self.ends.recv() => self.ended(ended),
                Some(trip) = self.trips.join_next() => self.arrived(trip),
                _ = nap(due), if due.is_some() && idle => { self.due = None; self.hints += 1; }
                _ = &mut self.rest, if !self.rest.is_elapsed() => {}
                woken = &mut wake, if idle && !self.slowed && self.rest.is_elapsed() => {
                    if woken.is_err() {
                        self.rest = Box::pin(tokio::time::sleep(DEAF));
                    }
                    wake = self.wake();
                    self.hints += 1;
                }
            }
        }
        drop(wake);
        self.wind_down().await;
    }

    /// Takes no more; lets the running jobs end; after the grace gives them back.
    async fn wind_down(mut self) {
        self.hints = self.seen;
        self.stopping.cancel();
        let slots = self.shared.settings.slots;
        let mut grace = pin!(tokio::time::sleep(self.shared.settings.grace));
        let mut last_call = pin!(tokio::time::sleep(self.shared.settings.grace.saturating_add(LAST_CALL)));
        loop {
            self.collect();
            self.leave(0);
            if self.free == slots && self.pending.is_empty() && self.trips.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                Some(ended) = self.ends.recv() => self.ended(ended),
                Some(trip) = self.trips.join_next() => self.arrived(trip),
                _ = &mut grace, if !self.over => { self.over = true; self.shared.held.cancel_all(Cause::Shutdown); }
                _ = &mut last_call => { self.give_up.cancel(); break; }
            }
        }
        tracing::warn!(queue = %self.shared.queue.name(), "stopped before everything was settled; the rest will be rescued");
        while self.trips.join_next().await.is_some() {}
    }

    /// Collects ends that are there already, without waiting.
    fn collect(&mut self) {
        while self.runners.try_join_next().is_some() {}
        while self.pending.len() < BATCH {
            match self.ends.try_recv() {
                Ok(ended) => self.ended(ended),
                Err(_) => return,
            }
        }
    }

    fn ended(&mut self, ended: Option<Finished>) {
        self.free += 1;
        match ended {
            Some(finished) => self.pending.push(finished),
            // A lost lock leaves nothing to settle, but a slot to fill.
            None => self.hints += 1,
        }
    }

    /// Goes when there is a reason: ends to tell, or free slots and a hint of work.
    fn depart(&mut self) {
        let hinted = self.hints != self.seen;
        if self.pending.is_empty() && !(hinted && self.free > 0) {
            return;
        }
        // A second trip is worth its overhead only when it carries a fair share.
        let small = self.pending.len() < BATCH.min(self.shared.settings.slots) / 2;
        if self.trips.is_empty() || !small {
            self.leave(self.free.min(MAX_TURN));
        }
    }

    fn leave(&mut self, asked: usize) {
        if self.trips.len() >= TRIPS || (self.pending.is_empty() && asked == 0) {
            return;
        }
        let ends = self.pending.split_off(self.pending.len().saturating_sub(MAX_TURN));
        self.free -= asked;
        self.number += 1;
        self.due = None;
        self.slowed = false;
        let (shared, number) = (self.shared.clone(), self.number);
        let (stopping, give_up) = (self.stopping.clone(), self.give_up.clone());
        let hints = self.hints;
        if asked > 0 {
            self.seen = hints;
        }
        self.trips.spawn(async move { (trip::go(shared, ends, asked, number, stopping, give_up).await, hints) });
    }

    fn arrived(&mut self, trip: Result<(Trip, u64), JoinError>) {
        let (trip, hints) = match trip {
            Ok(trip) => trip,
            // A trip does not panic and is not aborted while the pump lives; if it did, its jobs are rescued.
            Err(error) => {
                tracing::error!(%error, "a trip to the store broke off");
                return;
            }
        };
        self.free += trip.asked - trip.started.len() - trip.skipped.len();
        self.free += trip.skipped.len();
        self.pending.extend(trip.skipped);
        for started in trip.started {
            if self.over { self.give_back(started) } else { self.start(started) }
        }
        match trip.next {
            Next::More if trip.asked > 0 => self.hints += 1,
            Next::At(at) if self.hints == hints => self.due = Some(at),
            Next::Limited(at) if self.hints == hints => {
                self.due = Some(at);
                self.slowed = self.shared.info.rate.is_some();
            }
            // Whoever opens a slot of a full queue, or resumes a paused one, calls.
            Next::More | Next::At(_) | Next::Limited(_) | Next::Full | Next::Paused | Next::Empty => {}
        }
    }

    fn start(&mut self, started: Started) {
        let Started { held, run, carry } = started;
        let (shared, ends) = (self.shared.clone(), self.ends_in.clone());
        self.runners.spawn(async move {
            let ran = runner::run(&shared, &held, &run, carry.clone()).await;
            run.set_ending();
            let ended = match ran.filter(|_| !run.is_lost()) {
                Some(ran) => {
                    let now = shared.queue.clock().now();
                    let outcome = decide(ran, held.made, &held.options, now, shared.dice.draw());
                    let took = run.ran(now);
                    Some(Finished { run, ending: Ending { held, carry, outcome }, ran: took, journaled: false })
                }
                None => {
                    shared.held.remove(&run);
                    shared.tally.lost.fetch_add(1, Ordering::Relaxed);
                    None
                }
            };
            // One place per slot: there is always room. Without a receiver the worker is gone, and so are its locks soon.
            let _ = ends.send(ended).await;
        });
    }

    /// The journal has it as begun, so the journal hears that it was not.
    fn give_back(&mut self, started: Started) {
        let Started { held, run, carry } = started;
        run.set_ending();
        let ending = Ending { held, carry, outcome: Outcome::Back };
        self.ended(Some(Finished { run, ending, ran: None, journaled: false }));
    }

    fn now(&self) -> Timestamp {
        self.shared.queue.clock().now()
    }

    /// Waits for news. A store that does not answer is asked anew.
    fn wake(&self) -> Wake {
        let shared = self.shared.clone();
        Box::pin(async move {
            let wait = shared.queue.backend().wait(shared.queue.name(), LOOK);
            tokio::time::timeout(LOOK * 2, wait).await.unwrap_or(Ok(()))
        })
    }
}

async fn nap(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

//! The embedded store: one SQLite file, durable, shared by processes of one host.
//!
//! One thread writes (`scribe`), whatever waits at its desk (`writer`) goes into one transaction, and answers come after its
//! commit. Reads have connections of their own. Nothing that matters is kept in memory, so several processes can share the
//! file; when one has written, it touches `<file>-bell`, which the others watch.
//!
//! An add or an end is on the disk before it is answered. A take, a beat, progress and log lines may be undone by a power
//! failure: the job then waits again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use notify::RecommendedWatcher;
use rusqlite::params;

use super::*;
use crate::error::{Failed, StoreError};
use crate::event::Position;
use crate::job::{JobId, QueueName, Record};
use crate::options::Group;
use crate::repeat::Tick;
use crate::state::Counts;
use crate::time::Timestamp;

mod add;
mod beat;
mod checkpoint;
mod dedup;
mod edit;
mod fault;
mod flow;
mod groups;
mod lane;
mod minutes;
mod obliterate;
mod read;
mod repeat;
mod row;
mod schema;
mod scribe;
mod spend;
#[cfg(test)]
mod steps;
mod take;
mod ticks;
mod turn;
mod wake;
mod writer;

use fault::Fault;
use read::Readers;
use scribe::Tx;
use writer::{Sync, Ticket, Urgency, Writer};

/// A store in one SQLite file.
pub struct Sqlite {
    writer: Arc<Writer>,
    readers: Readers,
    _watcher: RecommendedWatcher,
}

impl Sqlite {
    /// Opens the file, creates it when it does not exist, and brings its schema up to date. Refuses files of other
    /// programs, of newer versions, and files on network file systems.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let path = path.to_owned();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(&path)).await;
        opened.map_err(|error| StoreError::Unavailable(error.to_string()))?.map_err(StoreError::from)
    }

    fn open_now(path: &Path) -> Result<Self, Fault> {
        let conn = schema::writer(path)?;
        let writer = Writer::start(path, conn)?;
        let desk = writer.desk().clone();
        let watcher =
            wake::listen(path, move || desk.heard()).map_err(|error| Fault::Thread(std::io::Error::other(error)))?;
        Ok(Self { writer: Arc::new(writer), readers: Readers::new(path), _watcher: watcher })
    }

    /// Queues a write; the input comes back without the time that travelled with it.
    async fn write<I, O>(
        &self,
        ticket: Ticket,
        input: I,
        now: Timestamp,
        run: fn(&mut Tx<'_>, &(I, Timestamp)) -> Result<O, Fault>,
    ) -> Result<O, Failed<I>>
    where
        I: Send + std::fmt::Debug + 'static,
        O: Send + 'static,
    {
        let written = self.writer.write(ticket, (input, now), run).await;
        written.map_err(|failed| {
            let (input, _) = *failed.input;
            Failed { why: failed.why, happened: failed.happened, input: Box::new(input) }
        })
    }
}

fn ticket(urgency: Urgency, sync: Sync, jobs: usize, bytes: usize) -> Ticket {
    Ticket { urgency, sync, jobs, bytes }
}

#[async_trait]
impl Backend for Sqlite {
    async fn add(&self, add: Add, now: Timestamp) -> Result<Vec<Added>, Failed<Add>> {
        if let Err(why) = add.check() {
            return Err(Failed::before(why, add));
        }
        let bytes = add.jobs.iter().map(|job| job.data.as_str().len()).sum();
        let ticket = ticket(Urgency::Second, Sync::Full, add.jobs.len(), bytes);
        self.write(ticket, add, now, add::add).await
    }

    async fn add_flow(&self, flow: AddFlow, now: Timestamp) -> Result<Flowed, Failed<AddFlow>> {
        if let Err(why) = flow.check() {
            return Err(Failed::before(why, flow));
        }
        let bytes = flow.nodes.iter().map(|node| node.job.data.as_str().len()).sum();
        let ticket = ticket(Urgency::Second, Sync::Full, flow.nodes.len(), bytes);
        self.write(ticket, flow, now, flow::add).await
    }

    async fn turn(&self, turn: Turn, now: Timestamp) -> Result<Turned, Failed<Turn>> {
        if let Err(why) = turn.check() {
            return Err(Failed::before(why, turn));
        }
        let sync = if turn.ends.is_empty() { Sync::Lazy } else { Sync::Full };
        let jobs = turn.ends.len() + turn.take.as_ref().map_or(0, |take| take.most);
        let bytes = turn.ends.iter().map(|end| match &end.outcome {
            crate::exit::Outcome::Done(result) => result.as_str().len(),
            _ => 0,
        });
        let ticket = ticket(Urgency::First, sync, jobs, bytes.sum());
        self.write(ticket, turn, now, turn::turn).await
    }

    async fn beat(&self, beat: Beat, now: Timestamp) -> Result<Beaten, Failed<Beat>> {
        if let Err(why) = beat.check() {
            return Err(Failed::before(why, beat));
        }
        let ticket = ticket(Urgency::First, Sync::Lazy, beat.locks.len(), 0);
        self.write(ticket, beat, now, beat::beat).await
    }

    async fn rescue(&self, rescue: Rescue, now: Timestamp) -> Result<Rescued, StoreError> {
        rescue.check()?;
        let queue = rescue.queue.clone();
        if !self.readers.read(move |conn| read::any_expired(conn, &queue, now)).await? {
            return Ok(Rescued::default());
        }
        let ticket = ticket(Urgency::First, Sync::Full, rescue.most as usize, 0);
        self.write(ticket, rescue, now, beat::rescue).await.map_err(|failed| failed.why)
    }

    async fn wait(&self, queue: &QueueName, at_most: Duration) -> Result<(), StoreError> {
        let desk = self.writer.desk();
        let bell = desk.bells.of(queue);
        if !desk.is_closed() {
            // Running out of time is as good an answer as being woken: both mean "look again".
            let _ = tokio::time::timeout(at_most, bell.work.notified()).await;
        }
        if desk.is_closed() {
            // Closing rings once; each waiter tells the next.
            bell.work.notify_one();
            return Err(StoreError::Closed);
        }
        Ok(())
    }

    async fn wait_events(&self, queue: &QueueName, after: Position, at_most: Duration) -> Result<(), StoreError> {
        let mut newest = self.writer.desk().bells.of(queue).events.subscribe();
        // The bell may be younger than the events: look once with it in hand.
        if self.info(queue, Timestamp::default()).await?.newest_event > after {
            return Ok(());
        }
        let desk = self.writer.desk();
        let news = newest.wait_for(|position| *position > after || desk.is_closed());
        let _ = tokio::time::timeout(at_most, news).await;
        if desk.is_closed() { Err(StoreError::Closed) } else { Ok(()) }
    }

    async fn edit(&self, edit: EditAll, now: Timestamp) -> Result<Vec<Edited>, Failed<EditAll>> {
        if let Err(why) = edit.check() {
            return Err(Failed::before(why, edit));
        }
        // A step of a scheduler that is undone, perhaps with the take before it, is made again by a rescuer.
        let lazy = |edit: &Edit| matches!(edit, Edit::Progress(..) | Edit::Log(..) | Edit::Advance(_));
        let lazy = edit.edits.iter().all(lazy);
        let sync = if lazy { Sync::Lazy } else { Sync::Full };
        let bytes = edit.edits.iter().map(|edit| match edit {
            Edit::Progress(_, value) | Edit::Data(_, value) => value.as_str().len(),
            Edit::Log(_, lines) => lines.iter().map(|line| line.len()).sum(),
            Edit::Schedule(put) => put.repeat.data.as_str().len(),
            _ => 0,
        });
        let ticket = ticket(Urgency::Second, sync, edit.edits.len(), bytes.sum());
        self.write(ticket, edit, now, edit::edit).await
    }

    async fn sweep(&self, sweep: Sweep, now: Timestamp) -> Result<Swept, Failed<Sweep>> {
        if let Err(why) = sweep.check() {
            return Err(Failed::before(why, sweep));
        }
        let ticket = ticket(Urgency::Second, Sync::Full, sweep.most as usize, 0);
        self.write(ticket, sweep, now, edit::sweep).await
    }

    async fn obliterate(
        &self,
        queue: &QueueName,
        held: HeldJobs,
        most: u32,
        now: Timestamp,
    ) -> Result<Obliterated, StoreError> {
        obliterate_step(most)?;
        let ticket = ticket(Urgency::Second, Sync::Full, most as usize, 0);
        let order = (queue.clone(), held, most, now);
        self.writer.write(ticket, order, obliterate::obliterate).await.map_err(|failed| failed.why)
    }

    async fn spend(&self, spends: Vec<Spend>, now: Timestamp) -> Result<Spent, StoreError> {
        super::spend::check(&spends)?;
        // Lost with the power, the time that this takes fills the budget again.
        let ticket = ticket(Urgency::First, Sync::Lazy, spends.len(), 0);
        self.write(ticket, spends, now, spend::spend).await.map_err(|failed| failed.why)
    }

    async fn control(&self, queue: &QueueName, what: Control, now: Timestamp) -> Result<(), StoreError> {
        what.check()?;
        let ticket = ticket(Urgency::First, Sync::Full, 1, 0);
        self.writer.write(ticket, (queue.clone(), what, now), edit::control).await.map_err(|failed| failed.why)
    }

    async fn group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        what.check(group)?;
        let ticket = ticket(Urgency::First, Sync::Full, 1, 0);
        let order = (queue.clone(), group.clone(), what, now);
        self.writer.write(ticket, order, groups::control).await.map_err(|failed| failed.why)
    }

    async fn groups(&self, queue: &QueueName, wanted: &GroupsWanted, most: u32) -> Result<Vec<GroupInfo>, StoreError> {
        wanted.check(most)?;
        let (queue, wanted) = (queue.clone(), wanted.clone());
        self.readers.read(move |conn| groups::list(conn, &queue, &wanted, most)).await
    }

    async fn get(&self, queue: &QueueName, ids: &[JobId]) -> Result<Vec<Option<Record>>, StoreError> {
        within(ids.len(), MAX_READ as usize, "more than 1,000 ids in one read")?;
        let (queue, ids) = (queue.clone(), ids.to_vec());
        self.readers.read(move |conn| read::get(conn, &queue, &ids)).await
    }

    async fn list(&self, queue: &QueueName, list: &List) -> Result<Page, StoreError> {
        list.check()?;
        let (queue, list) = (queue.clone(), list.clone());
        self.readers.read(move |conn| read::list(conn, &queue, &list)).await
    }

    async fn counts(&self, queue: &QueueName) -> Result<Counts, StoreError> {
        let queue = queue.clone();
        let lane = self.readers.read(move |conn| lane::Lane::find(conn, &queue)).await?;
        Ok(lane.map_or_else(Counts::default, |lane| lane.counts))
    }

    async fn logs(&self, queue: &QueueName, id: &JobId, skip: u32, most: u32) -> Result<Logs, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 log lines in one read")?;
        let (queue, id) = (queue.clone(), id.clone());
        self.readers.read(move |conn| read::logs(conn, &queue, &id, skip, most)).await
    }

    async fn children(&self, queue: &QueueName, id: &JobId, after: u64, most: u32) -> Result<Children, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 children in one read")?;
        let (queue, id) = (queue.clone(), id.clone());
        self.readers.read(move |conn| flow::children(conn, &queue, &id, after, most)).await
    }

    async fn events(&self, queue: &QueueName, after: Position, most: u32) -> Result<Events, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 events in one read")?;
        let queue = queue.clone();
        self.readers.read(move |conn| read::events(conn, &queue, after, most)).await
    }

    async fn info(&self, queue: &QueueName, now: Timestamp) -> Result<Info, StoreError> {
        let queue = queue.clone();
        self.readers.read(move |conn| read::info(conn, &queue, now)).await
    }

    async fn metrics(
        &self,
        queue: &QueueName,
        before: Option<Timestamp>,
        most: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 minutes in one read")?;
        let queue = queue.clone();
        self.readers.read(move |conn| minutes::list(conn, &queue, before, most)).await
    }

    async fn repeats(&self, queue: &QueueName, wanted: &Repeats, most: u32) -> Result<RepeatPage, StoreError> {
        wanted.check(most)?;
        let (queue, wanted) = (queue.clone(), wanted.clone());
        self.readers.read(move |conn| repeat::list(conn, &queue, &wanted, most)).await
    }

    async fn ticks(&self, queue: &QueueName, id: &str, most: u32) -> Result<Vec<Tick>, StoreError> {
        within(most as usize, MAX_READ as usize, "more than 1,000 ticks in one read")?;
        let (queue, id) = (queue.clone(), id.to_owned());
        self.readers.read(move |conn| ticks::list(conn, &queue, &id, most)).await
    }

    async fn facts(&self, queue: &QueueName, id: &JobId, now: Timestamp) -> Result<Facts, StoreError> {
        let (queue, id) = (queue.clone(), id.clone());
        self.readers.read(move |conn| read::facts(conn, &queue, &id, now)).await
    }

    async fn queues(&self) -> Result<Vec<QueueName>, StoreError> {
        self.readers.read(read::queues).await
    }

    async fn claim(&self, deployment: &str) -> Result<Arc<str>, StoreError> {
        let ticket = ticket(Urgency::First, Sync::Full, 1, 0);
        let claimed = self.writer.write(ticket, deployment.to_owned(), claim).await;
        claimed.map_err(|failed| failed.why)
    }

    fn promises(&self) -> Promises {
        Promises { durable: Durable::Power, shared: Shared::Host }
    }

    async fn close(&self) {
        self.readers.close();
        let writer = self.writer.clone();
        // Fails only when the runtime itself is going down, which closes the file too.
        let _ = tokio::task::spawn_blocking(move || writer.close()).await;
    }
}

fn claim(tx: &mut Tx<'_>, deployment: &String) -> Result<Arc<str>, Fault> {
    let conn = tx.conn;
    conn.prepare_cached("INSERT INTO meta (key, value) VALUES ('deployment', ?1) ON CONFLICT (key) DO NOTHING")?
        .execute(params![deployment])?;
    let owner: String =
        conn.prepare_cached("SELECT value FROM meta WHERE key = 'deployment'")?.query_row([], |row| row.get(0))?;
    Ok(owner.into())
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        self.writer.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::job::Payload;
    use crate::state::State;

    /// Another process holds the write lock: each verb learns so after one wait, not after one wait per verb before it.
    #[tokio::test]
    async fn verbs_that_find_the_file_locked_wait_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let store = Arc::new(Sqlite::open(&path).await.unwrap());
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let begun = Instant::now();
        let add = || async {
            let job = NewJob { id: None, name: "n".into(), data: Payload::null(), options: Arc::default() };
            let add = Add { queue: name(), jobs: vec![job] };
            let failed = store.add(add, Timestamp::default()).await.unwrap_err();
            assert_eq!(failed.happened, crate::error::Happened::No);
        };
        // The first may go alone; those that come meanwhile share the second transaction.
        tokio::join!(add(), add(), add(), add(), add(), add());
        assert!(begun.elapsed() < 3 * schema::BUSY, "{:?}", begun.elapsed());
        other.execute_batch("ROLLBACK").unwrap();
    }

    fn name() -> QueueName {
        QueueName::new("q").unwrap()
    }

    async fn add(store: &Sqlite, id: &str, data: &str) {
        let job = NewJob {
            id: Some(JobId::custom(id).unwrap()),
            name: "n".into(),
            data: Payload::from_json(data.to_owned()).unwrap(),
            options: Arc::default(),
        };
        store.add(Add { queue: name(), jobs: vec![job] }, Timestamp::default()).await.unwrap();
    }

    /// One record that nobody can read must not keep the others from being worked.
    #[tokio::test]
    async fn damaged_jobs_are_handed_out_to_be_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let store = Sqlite::open(&path).await.unwrap();
        let long = format!("\"{}\"", "x".repeat(2 * row::INLINE));
        for (id, data) in [("options", "1"), ("body", long.as_str()), ("good", "2")] {
            add(&store, id, data).await;
        }
        let vandal = rusqlite::Connection::open(&path).unwrap();
        vandal.execute_batch("UPDATE jobs SET opts = '{' WHERE id = 'options'; DELETE FROM bodies").unwrap();
        let take = Take {
            token: Token::new("t"),
            mode: TakeMode::Fresh,
            most: 9,
            lock_for: Duration::from_secs(30),
            rate: None,
        };
        let turn = Turn { queue: name(), worker: "w".into(), ends: Vec::new(), take: Some(take) };
        let held = store.turn(turn, Timestamp::default()).await.unwrap().held;
        let kinds: Vec<_> = held.iter().map(|held| held.failed_already.as_ref().map(|why| why.kind)).collect();
        let damaged = Some(crate::exit::FailureKind::Damaged);
        assert_eq!(kinds, [damaged, damaged, None]);
        let dead = |held: &Held| Verdict {
            lock: held.lock.clone(),
            outcome: crate::exit::Outcome::Dead(held.failed_already.clone().unwrap()),
            keep: crate::options::Keep::ALL,
            ran: None,
        };
        let ends = held[..2].iter().map(dead).collect();
        let turn = Turn { queue: name(), worker: "w".into(), ends, take: None };
        assert_eq!(store.turn(turn, Timestamp::default()).await.unwrap().ends, [End::Applied; 2]);
        assert_eq!(store.counts(&name()).await.unwrap().failed, 2);
        // Nor from being read.
        let ids = ["options", "body", "good"].map(|id| JobId::custom(id).unwrap());
        let states: Vec<_> =
            store.get(&name(), &ids).await.unwrap().into_iter().map(|record| record.unwrap().state).collect();
        assert_eq!(states, [State::Failed, State::Failed, State::Active]);
    }

    /// The verb that panics is answered, and so are those of its transaction and after it.
    #[tokio::test]
    async fn a_verb_that_panics_harms_only_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("queue.db")).await.unwrap();
        let ticket = ticket(Urgency::Second, Sync::Full, 1, 0);
        let panics = store.writer.write(ticket, (), |_, ()| -> Result<(), Fault> { panic!("as planned") });
        let (panicked, ()) = tokio::join!(panics, add(&store, "beside", "1"));
        assert!(matches!(panicked.unwrap_err().why, StoreError::Unavailable(_)));
        add(&store, "after", "2").await;
        assert_eq!(store.counts(&name()).await.unwrap().waiting, 2);
    }
}

//! No verb's work grows with what is stored: steps of SQLite's machine, counted at 1,000 and at 100,000 jobs per state.
//! A third more is allowed, since trees grow deeper; a walk over what is stored would be a hundred times as much.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::*;
use crate::event::Event;
use crate::exit::{Failure, FailureKind, Outcome};
use crate::job::{ChildFailure, Payload};
use crate::options::{Dedup, JobOptions, Keep};
use crate::repeat::{Fate, Repeat, Schedule, Tick};
use crate::state::State;

mod groups;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
/// Times before, at and after `NOW`, by the row's number.
const FILL: &str = "
    INSERT INTO queues (name, next_id, waiting, delayed, active, completed, failed)
    VALUES ('q', 10 * :n, :n, :n, :n, :n, :n);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n),
        p (place) AS (VALUES (0), (1), (2), (4), (5))
    INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since, token)
    SELECT 1, place || '-' || i, place,
        CASE place WHEN 0 THEN 0 WHEN 2 THEN 2000000 WHEN 1 THEN 1000000 + i ELSE i END,
        i, 'n', '1', '', 0, 0, 0, 0, CASE place WHEN 2 THEN 't' END
    FROM p, n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n / 10)
    INSERT INTO events (pos, n, packed) SELECT (1 << 40) | i, 1, ':drained' FROM n;
    UPDATE queues SET event_seq = :n / 10, events_kept = :n / 10;
    UPDATE jobs SET flags = 64, opts = '{\"de\":{\"id\":\"d-' || id || '\"}}' WHERE place IN (1, 2) AND k2 > 10;
    INSERT INTO dedups SELECT q, 'd-' || id, id, NULL FROM jobs WHERE flags = 64;
    INSERT INTO dedups SELECT q, 'over-' || id, id, k2 FROM jobs WHERE flags = 64;
    INSERT INTO lasts SELECT q, id, 'last-' || id, 'n', '1', '' FROM jobs WHERE flags = 64 AND place = 2;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n)
    INSERT INTO repeats (q, id, slot, made, def, data) SELECT 1, 'r-' || i, i, 1, replace(:def, 'r-0', 'r-' || i), '1' FROM n;
    INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since)
    SELECT 1, 'repeat:r-' || slot || ':' || slot, 1, 2000000, 0, 'n', '1', '', 0, 0, 0, 0 FROM repeats WHERE slot > 5;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100), r (r) AS (VALUES (2), (9), (10))
    INSERT INTO ticks (q, id, first, last, count, fate, at)
    SELECT 1, 'r-' || r, i - 1000, i - 1000, 1, 'run', 0 FROM n, r;
    INSERT INTO ticks (q, id, first, last, count, fate, at)
    SELECT 1, id, slot - 1000000, slot, 1, 'late', 0 FROM repeats WHERE slot > 10;
    UPDATE queues SET delayed = 2 * :n - 5;
    INSERT INTO queues (name, waiting_children) VALUES ('parents', :n);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n)
    INSERT INTO jobs (row, q, id, place, k1, k2, name, data, opts, priority, flags, created, since)
    SELECT 100000000 + i, 2, 'p-' || i, 3, i, i, 'n', '1', '', 0, 512, 0, 0 FROM n;
    INSERT INTO families (f, row, q, id, total, pending, last)
    SELECT k2, row, q, id, 3, 3, 3 FROM jobs WHERE q = 2;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)
    INSERT INTO jobs (row, q, id, place, k1, k2, name, data, opts, priority, flags, created, since, token)
    SELECT 200000000 + 10 * f + i, 1, 'c-' || f || '-' || i, CASE i WHEN 1 THEN 2 ELSE 0 END, CASE i WHEN 1 THEN 2000000 ELSE 9 END,
        f, 'n', '1', '', 9, 128, 0, 0, CASE i WHEN 1 THEN 't' END FROM families, n;
    INSERT INTO links SELECT row, k2, (row - 200000000) % 10, 0 FROM jobs WHERE flags = 128;
    INSERT INTO children SELECT f, n, 1, 'c-' || f || '-' || n, 1, 0, NULL FROM links;
    INSERT INTO families (q, id) SELECT 2, 'gone-' || f FROM families;
    INSERT INTO children SELECT f, 1, 1, 'x', 1, 0, NULL FROM families WHERE row IS NULL;
    UPDATE queues SET active = active + :n, prioritized = 2 * :n WHERE q = 1;";

fn filled(path: &Path, jobs: u64) -> Connection {
    let conn = schema::writer(path).unwrap();
    let drained = serde_json::to_string(&[Event::Drained]).unwrap();
    let hourly = serde_json::to_string(&repeat(0)).unwrap();
    let fill = FILL.replace(":n", &jobs.to_string()).replace(":drained", &drained);
    let fill = fill.replace(":def", &format!("'{hourly}'"));
    conn.execute_batch(&format!("BEGIN; {fill} COMMIT")).unwrap();
    conn
}

fn id(place: u32, number: u32) -> JobId {
    JobId::stored(format!("{place}-{number}"))
}

fn repeat(number: u32) -> Repeat {
    let hourly = Schedule::Every(Duration::from_secs(3_600));
    Repeat::named(format!("r-{number}"), hourly, "n", &1).unwrap()
}

fn held(number: u32) -> Lock {
    Lock { id: id(2, number), token: Token::new("t"), row: 0 }
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

/// What each verb costs on a file; every verb is rolled back.
struct Meter {
    conn: Connection,
    steps: Arc<AtomicU64>,
    costs: Vec<(String, u64)>,
}

impl Meter {
    fn over(conn: Connection) -> Self {
        let steps = Arc::new(AtomicU64::new(0));
        let counter = steps.clone();
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        conn.progress_handler(1, Some(count)).unwrap();
        Self { conn, steps, costs: Vec::new() }
    }

    fn write<I, O>(&mut self, what: &str, input: I, run: fn(&mut Tx<'_>, &(I, Timestamp)) -> Result<O, Fault>) -> O {
        self.read(what, |conn| {
            let mut options = row::OptionsCache::default();
            let mut tx = Tx { conn, options: &mut options, lanes: HashMap::new() };
            let output = run(&mut tx, &(input, NOW))?;
            for mut lane in tx.lanes.into_values() {
                lane.store(conn)?;
            }
            Ok(output)
        })
    }

    fn read<O>(&mut self, what: &str, read: impl FnOnce(&Connection) -> Result<O, Fault>) -> O {
        let before = self.steps.load(Ordering::Relaxed);
        let tx = self.conn.unchecked_transaction().unwrap();
        let output = read(&tx).unwrap();
        tx.rollback().unwrap();
        self.costs.push((what.to_owned(), self.steps.load(Ordering::Relaxed) - before));
        output
    }
}

fn costs(folder: &Path, jobs: u64) -> Vec<(String, u64)> {
    let mut meter = Meter::over(filled(&folder.join(format!("{jobs}.db")), jobs));
    let new = |n: u32| NewJob {
        id: (n == 0).then(|| id(0, 1)),
        name: "n".into(),
        data: Payload::null(),
        options: Arc::new(JobOptions { delay: Duration::from_millis(u64::from(n % 2)), ..JobOptions::default() }),
    };
    let added = meter.write("add", Add { queue: queue(), jobs: (0..10).map(new).collect() }, add::add);
    assert_eq!(added[0], Added::Existing(id(0, 1)));

    let dedup = |dedup: Dedup| NewJob {
        options: Arc::new(JobOptions { deduplication: Some(dedup), ..JobOptions::default() }),
        ..new(2)
    };
    let delayed = |n: u32| format!("d-1-{n}");
    let (active, ttl) = ("d-2-20", Duration::from_secs(1));
    let jobs = vec![
        dedup(Dedup::simple(delayed(20))),
        dedup(Dedup { reschedule: true, ..Dedup::simple(delayed(20)) }),
        dedup(Dedup { extend: true, ..Dedup::throttle(delayed(22), ttl) }),
        dedup(Dedup::keep_last(active)),
        dedup(Dedup::debounce(delayed(20), ttl)),
        dedup(Dedup::throttle("fresh", ttl)),
    ];
    let added = meter.write("add, deduplicated", Add { queue: queue(), jobs }, add::add);
    let lost = |id| Added::Deduplicated(id);
    assert_eq!(added[..4], [lost(id(1, 20)), lost(id(1, 20)), lost(id(1, 22)), lost(id(2, 20))]);
    assert!(matches!(added[4..], [Added::New(_), Added::New(_)]), "{added:?}");

    let take = |mode, token: &str| Take {
        token: Token::new(token),
        mode,
        most: 10,
        lock_for: Duration::from_secs(30),
        rate: None,
    };
    let turn = |ends, take| Turn { queue: queue(), worker: "w".into(), ends, take };
    let taken = meter.write("take", turn(Vec::new(), Some(take(TakeMode::Fresh, "new"))), turn::turn);
    assert_eq!(taken.held.len(), 10);
    let resumed = meter.write("resume", turn(Vec::new(), Some(take(TakeMode::Resume, "new"))), turn::turn);
    assert_eq!(resumed.held.len(), 10);
    // A repeated take walks the active jobs, whose number is bounded by the workers' slots.
    meter.costs.pop();
    let failure = || Failure::new(FailureKind::Error, "no");
    let outcomes = [
        ("done", Outcome::Done(Payload::null()), Keep::ALL),
        ("done, evicting by count", Outcome::Done(Payload::null()), Keep::newest(5)),
        ("done, evicting by age", Outcome::Done(Payload::null()), Keep::younger(Duration::from_secs(1))),
        ("done, kept not at all", Outcome::Done(Payload::null()), Keep::newest(0)),
        ("dead", Outcome::Dead(failure()), Keep::ALL),
        ("retry now", Outcome::Retry { at: NOW, failure: failure() }, Keep::ALL),
        ("retry later", Outcome::Retry { at: NOW.plus(Duration::from_secs(1)), failure: failure() }, Keep::ALL),
        ("back", Outcome::Back, Keep::ALL),
    ];
    for (what, outcome, keep) in outcomes {
        let verdict = |n| Verdict { lock: held(n), outcome: outcome.clone(), keep, ran: None };
        let ended = meter.write(what, turn((1..=10).map(verdict).collect(), None), turn::turn);
        assert_eq!(ended.ends, [End::Applied; 10], "{what}");
    }

    for keep in [Keep::ALL, Keep::NONE] {
        let verdict = |n| Verdict { lock: held(n), outcome: Outcome::Done(Payload::null()), keep, ran: None };
        let what = format!("done, with another to follow, {keep:?}");
        let ended = meter.write(&what, turn((11..=20).map(verdict).collect(), None), turn::turn);
        assert_eq!(ended.ends, [End::Applied; 10], "{what}");
    }

    let child = |number: u32| Lock { id: JobId::stored(format!("c-{number}-1")), ..held(0) };
    for (what, outcome, keep) in [
        ("child done", Outcome::Done(Payload::null()), Keep::ALL),
        ("child done, not kept", Outcome::Done(Payload::null()), Keep::NONE),
        ("child dead", Outcome::Dead(failure()), Keep::ALL),
        ("nobody waits for", Outcome::AwaitChildren, Keep::ALL),
    ] {
        let verdict = |n| Verdict { lock: child(n), outcome: outcome.clone(), keep, ran: None };
        let ended = meter.write(what, turn((1..=10).map(verdict).collect(), None), turn::turn);
        assert_eq!(ended.ends, [End::Applied; 10], "{what}");
    }
    let parents = QueueName::new("parents").unwrap();
    let under = |parent, on_failure| Some(Under { parent, on_failure });
    let node = |queue: &QueueName, parent| Node { queue: queue.clone(), job: new(2), parent };
    let nodes = vec![
        node(&parents, None),
        node(&queue(), under(Parent::Node(0), ChildFailure::Wait)),
        node(&queue(), under(Parent::Job(parents.clone(), JobId::stored("p-7")), ChildFailure::Ignore)),
    ];
    let added = meter.write("add a flow", AddFlow { nodes }, flow::add);
    assert!(matches!(added, Flowed::Added(added) if added.len() == 3));
    let part = |n: u32| JobId::stored(format!("c-9-{n}"));
    let edits = vec![Edit::Remove(part(2)), Edit::Detach(part(3)), Edit::Remove(JobId::stored("c-8-2"))];
    assert_eq!(meter.write("edit children", EditAll { queue: queue(), edits }, edit::edit), [Edited::Done; 3]);
    let edits = vec![Edit::Remove(JobId::stored("p-5"))];
    assert_eq!(meter.write("remove a parent", EditAll { queue: parents.clone(), edits }, edit::edit), [Edited::Done]);
    let page = meter.read("children", |conn| flow::children(conn, &parents, &JobId::stored("p-3"), 1, 10));
    assert_eq!((page.children.len(), page.pending), (2, 3));
    meter.read("facts of a parent", |conn| read::facts(conn, &parents, &JobId::stored("p-3"), NOW));

    let worker =
        WorkerInfo { id: "w".into(), name: "w".into(), slots: 1, started: NOW, version: "0".into(), rate: None };
    let lock_for = Duration::from_secs(30);
    let locks = (1..=10).map(held).collect();
    assert_eq!(meter.write("beat", Beat { queue: queue(), worker, locks, lock_for }, beat::beat).lost, []);
    let rescue = Rescue { queue: queue(), max_stalled: 1, most: 10 };
    assert_eq!(meter.write("rescue", rescue, beat::rescue).jobs, []);

    let edits = vec![
        Edit::Progress(id(2, 1), Payload::null()),
        Edit::Log(id(2, 1), vec!["line".into()]),
        Edit::Data(id(0, 2), Payload::null()),
        Edit::Promote(id(1, 1)),
        Edit::Retry(id(5, 1), Made::Keep),
        Edit::Remove(id(4, 1)),
        Edit::Cancel(id(0, 3)),
        Edit::FreeDedup(delayed(30).into()),
        Edit::Remove(id(1, 31)),
    ];
    let edited = meter.write("edit", EditAll { queue: queue(), edits }, edit::edit);
    assert_eq!(edited, [Edited::Done; 9]);
    let put = |number, first| Edit::Schedule(Put { repeat: Arc::new(repeat(number)), first });
    let other = Repeat { start: Some(NOW), ..repeat(8) };
    let later = NOW.plus(Duration::from_secs(9));
    let step = |number: u32| {
        Edit::Advance(Advance {
            id: format!("r-{number}").into(),
            slot: Timestamp::from_millis(number.into()),
            next: Some(later),
            tick: Tick::one(Fate::Run, Timestamp::from_millis(number.into()), NOW),
            left: Some(Tick { fate: Fate::Missed, first: NOW, last: NOW, count: 3, at: NOW }),
        })
    };
    let edits = vec![
        put(0, later),
        put(7, later),
        Edit::Schedule(Put { repeat: Arc::new(other), first: later }),
        Edit::Unschedule("r-9".into()),
        step(2),
        step(10),
    ];
    let edited = meter.write("schedulers", EditAll { queue: queue(), edits }, edit::edit);
    let due = Edited::Due(later);
    assert_eq!(edited, [due, Edited::Due(Timestamp::from_millis(7)), due, Edited::Done, due, due]);
    for what in [
        SweepWhat::Clean(State::Completed, NOW),
        SweepWhat::DrainWaiting,
        SweepWhat::DrainDelayed,
        SweepWhat::RetryFailed(NOW),
        SweepWhat::PromoteDelayed,
    ] {
        let swept = meter.write(&format!("{what:?}"), Sweep::all(queue(), what, 10), edit::sweep);
        assert_eq!(swept.done.len(), 10, "{what:?}");
    }

    for state in State::ALL {
        for after in [None, Some(Cursor(5, 5))] {
            let list = List { state, after, most: 10 };
            meter.read(&format!("list {state} {after:?}"), |conn| read::list(conn, &queue(), &list));
        }
    }
    meter.read("get", |conn| read::get(conn, &queue(), &[id(0, 1), id(5, 9), id(9, 9)]));
    for place in [0, 1, 2, 5] {
        meter.read(&format!("facts {place}"), |conn| read::facts(conn, &queue(), &id(place, 1), NOW));
    }
    meter.read("info", |conn| read::info(conn, &queue(), NOW));
    meter.read("expired", |conn| read::any_expired(conn, &queue(), NOW));
    meter.read("logs", |conn| read::logs(conn, &queue(), &id(0, 1), 0, 10));
    let events = meter.read("events", |conn| read::events(conn, &queue(), Position { seq: 9, index: 0 }, 10));
    assert_eq!(events.events.len(), 10);
    meter.read("metrics", |conn| minutes::list(conn, &queue(), None, 10));
    let wanted = [
        (Repeats::Ids(vec!["r-3".into(), "r-900".into()]), 2),
        (Repeats::After(Some("r-1".into())), 10),
        (Repeats::Stuck { before: NOW, after: None }, 5),
        (Repeats::Stuck { before: NOW, after: Some((Timestamp::from_millis(500), "r-500".into())) }, 0),
    ];
    for (wanted, found) in wanted {
        let page = meter.read(&format!("{wanted:?}"), |conn| super::repeat::list(conn, &queue(), &wanted, 10));
        assert_eq!(page.found.len(), found, "{wanted:?}");
    }
    let found = meter.read("ticks", |conn| ticks::list(conn, &queue(), "r-2", 1_000));
    assert_eq!(found.len(), 100);
    meter.read("queues", read::queues);
    meter.costs
}

#[test]
fn no_verb_works_more_when_more_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (few, many) = (costs(folder.path(), 1_000), costs(folder.path(), 100_000));
    let grown: Vec<_> = few.iter().zip(&many).filter(|((_, few), (_, many))| *many > few + few / 3).collect();
    assert!(grown.is_empty(), "steps at 1,000 and at 100,000 jobs per state: {grown:#?}");
    assert!(few.iter().any(|(_, steps)| *steps > 50), "the meter runs: {few:?}");
}

//! The same for groups: neither the number of jobs in a group nor that of groups makes a verb work more.

use super::super::groups;
use super::*;
use crate::options::Group;

/// `:g` groups, each with one active job, `:n` ready ones and one delayed, and as many again that wait for their windows; of
/// these the windows of five are over at `NOW`.
const FILL: &str = "
    INSERT INTO queues (name, next_id, prioritized, delayed, active, grouped)
    VALUES ('q', 10 * :n * :g, 2 * :g * :n, :g, :g, 1);
    INSERT INTO fairs (q, time, number, groups, behind, due)
    VALUES (1, 1000000, 2 * :g, 2 * :g, :g * (2 * :n - 1), 1000000);
    WITH RECURSIVE g (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 2 * :g)
    INSERT INTO groups (q, number, id, weight, paused, rate_max, rate_per, used, window_start, hold_until, last, waiting,
        active, head, idle, due)
    SELECT 1, i, 'g-' || i, 1, 0, iif(i > :g, 1, NULL), iif(i > :g, 1000000, NULL), i > :g,
        iif(i > :g + 5, 1000000, 0), 0, 2000000, :n, i <= :g, i <= :g, 0,
        iif(i > :g, iif(i > :g + 5, 2000000, 1000000), NULL)
    FROM g;
    WITH RECURSIVE n (j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM n WHERE j < :n)
    INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since)
    SELECT 1, number || '-' || j, 0, iif(head AND j = 1, 2097152, (1 << 32) + number),
        iif(head AND j = 1, (2000000 << 32) + number, j), 'n', '1', '{\"gr\":\"' || id || '\"}', 2097152,
        256 + (number << 16), 0, 0
    FROM groups, n;
    INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since, token)
    SELECT 1, number || '-active', 2, 2000000, number, 'n', '1', '{\"gr\":\"' || id || '\"}', 2097152,
        256 + (number << 16), 0, 0, 't'
    FROM groups WHERE head;
    INSERT INTO jobs (q, id, place, k1, k2, name, data, opts, priority, flags, created, since)
    SELECT 1, number || '-delayed', 1, 2000000, number, 'n', '1', '{\"gr\":\"' || id || '\"}', 2097152, 256, 0, 0
    FROM groups WHERE head;";

fn filled(path: &Path, groups: u32, jobs: u32) -> Connection {
    let conn = schema::writer(path).unwrap();
    let fill = FILL.replace(":g", &groups.to_string()).replace(":n", &jobs.to_string());
    conn.execute_batch(&format!("BEGIN; {fill} COMMIT")).unwrap();
    conn
}

fn id(group: u32, job: &str) -> JobId {
    JobId::stored(format!("{group}-{job}"))
}

fn of(group: &str) -> NewJob {
    let options = Arc::new(JobOptions { group: Some(group.into()), ..JobOptions::default() });
    NewJob { id: None, name: "n".into(), data: Payload::null(), options }
}

fn costs(folder: &Path, groups: u32, jobs: u32) -> Vec<(String, u64)> {
    let mut meter = Meter::over(filled(&folder.join(format!("{groups}-{jobs}.db")), groups, jobs));
    let (held, limited) = (1..=5, groups + 9);
    let add = |group: &str| Add { queue: queue(), jobs: vec![of(group)] };
    meter.write("add to a line", add("g-3"), add::add);
    meter.write("add to a new group", add("new"), add::add);
    let lifo = NewJob { options: Arc::new(JobOptions { lifo: true, ..(*of("g-3").options).clone() }), ..of("") };
    meter.write("add in front", Add { queue: queue(), jobs: vec![lifo] }, add::add);

    let turn = |ends, most| {
        let (token, mode, rate) = (Token::new("new"), TakeMode::Fresh, None);
        let take = (most > 0).then(|| Take { token, mode, most, lock_for: Duration::from_secs(30), rate });
        Turn { queue: queue(), worker: "w".into(), ends, take }
    };
    for most in [1, 5] {
        let taken = meter.write(&format!("take {most}"), turn(Vec::new(), most), turn::turn);
        assert_eq!(taken.held.len(), most);
    }
    let failure = || Failure::new(FailureKind::Error, "no");
    let outcomes = [
        ("done", Outcome::Done(Payload::null()), Keep::ALL),
        ("done, kept not at all", Outcome::Done(Payload::null()), Keep::NONE),
        ("dead", Outcome::Dead(failure()), Keep::ALL),
        ("retry now", Outcome::Retry { at: NOW, failure: failure() }, Keep::ALL),
        ("retry later", Outcome::Retry { at: NOW.plus(Duration::from_secs(1)), failure: failure() }, Keep::ALL),
        ("back", Outcome::Back, Keep::ALL),
        ("slow down the group", Outcome::SlowDownGroup(NOW.plus(Duration::from_secs(1))), Keep::ALL),
    ];
    for (what, outcome, keep) in outcomes {
        let lock = |n| Lock { id: id(n, "active"), token: Token::new("t"), row: 0 };
        let verdict = |n| Verdict { lock: lock(n), outcome: outcome.clone(), keep, ran: None };
        let ended = meter.write(what, turn(held.clone().map(verdict).collect(), 0), turn::turn);
        assert_eq!(ended.ends, [End::Applied; 5], "{what}");
    }
    let edits = vec![
        Edit::Remove(id(1, "1")),
        Edit::Remove(id(2, "5")),
        Edit::Promote(id(3, "delayed")),
        Edit::Promote(id(4, "delayed")),
    ];
    let edited = meter.write("edit", EditAll { queue: queue(), edits }, edit::edit);
    assert_eq!(edited, [Edited::Done; 4]);
    let drain = Sweep::all(queue(), SweepWhat::DrainWaiting, 10);
    assert_eq!(meter.write("drain", drain, edit::sweep).done.len(), 10);

    let settings = GroupSettings { weight: 7, ..GroupSettings::default() };
    for (what, group, order) in [
        ("pause", 1, GroupControl::Pause),
        ("weigh", 2, GroupControl::Set(settings)),
        ("clear", limited, GroupControl::ClearRate),
        ("lift", limited, GroupControl::Set(settings)),
    ] {
        let order = (queue(), Group::new(format!("g-{group}")), order);
        meter.write(what, order, |tx, ((queue, group, order), now)| {
            groups::control(tx, &(queue.clone(), group.clone(), *order, *now))
        });
    }
    for place in ["1", "5", "active", "delayed"] {
        let facts = meter.read(&format!("facts {place}"), |conn| read::facts(conn, &queue(), &id(1, place), NOW));
        assert!(facts.group.is_some());
    }
    for wanted in [GroupsWanted::Ids(vec!["g-3".into()]), GroupsWanted::After(Some("g-1".into()))] {
        let found = meter.read(&format!("{wanted:?}"), |conn| groups::list(conn, &queue(), &wanted, 5));
        assert!(!found.is_empty());
    }
    meter.read("info", |conn| read::info(conn, &queue(), NOW));
    meter.costs
}

#[test]
fn no_verb_works_more_for_larger_groups_or_for_more_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let few = costs(folder.path(), 10, 100);
    for (groups, jobs) in [(10, 10_000), (10_000, 10)] {
        let many = costs(folder.path(), groups, jobs);
        let grown: Vec<_> = few.iter().zip(&many).filter(|((_, few), (_, many))| *many > few + few / 3).collect();
        assert!(grown.is_empty(), "steps with 10 groups of 100 jobs, and {groups} of {jobs}: {grown:#?}");
    }
    assert!(few.iter().any(|(_, steps)| *steps > 50), "the meter runs: {few:?}");
}

/// What a job of a group costs more than one without, and what one without costs: exactly as much as before the queue had
/// any group.
#[test]
fn jobs_without_a_group_do_not_pay_for_groups() {
    let folder = tempfile::tempdir().unwrap();
    let mut steps = Vec::new();
    for grouped in [false, true] {
        let path = folder.path().join(format!("{grouped}.db"));
        let mut meter = if grouped {
            Meter::over(super::groups::filled(&path, 10, 10))
        } else {
            Meter::over(schema::writer(&path).unwrap())
        };
        let mut cost = |jobs: u32| {
            let mut added = Add { queue: queue(), jobs: Vec::new() };
            added.jobs = (0..jobs).map(|_| NewJob { options: Arc::default(), ..of("") }).collect();
            let take = Take {
                token: Token::new("new"),
                mode: TakeMode::Fresh,
                most: jobs as usize,
                lock_for: Duration::from_secs(30),
                rate: None,
            };
            let turn = Turn { queue: queue(), worker: "w".into(), ends: Vec::new(), take: Some(take) };
            meter.write("add and take", (added, turn), |tx, ((added, turn), now)| {
                add::add(tx, &(added.clone(), *now))?;
                let held = turn::turn(tx, &(turn.clone(), *now))?.held;
                let outcome = Outcome::Done(Payload::null());
                let ends = held.iter().map(|held| Verdict {
                    lock: held.lock.clone(),
                    outcome: outcome.clone(),
                    keep: Keep::ALL,
                    ran: None,
                });
                let ended = turn::turn(tx, &(Turn { ends: ends.collect(), take: None, ..turn.clone() }, *now))?;
                assert_eq!(ended.ends.len(), held.len());
                Ok(())
            });
            meter.costs.pop().unwrap().1
        };
        // Twice, so that nothing is prepared for the first time.
        let (small, large) = (cost(10).min(cost(10)), cost(110).min(cost(110)));
        steps.push(large - small);
    }
    assert_eq!(steps[0], steps[1], "steps of 100 jobs without a group, in a queue without and with groups");
}

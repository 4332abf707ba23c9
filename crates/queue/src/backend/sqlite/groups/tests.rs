//! What a file can hold that no verb writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::row::OptionsCache;
use super::super::scribe::Tx;
use super::super::{add, edit, read, schema, turn};
use super::*;
use crate::backend::{
    Add, Edit, EditAll, Edited, End, GroupSettings, GroupsWanted, NewJob, Next, Take, TakeMode, Token, Turn, Turned,
    Verdict,
};
use crate::exit::Outcome;
use crate::job::{JobId, Payload, QueueName};
use crate::options::{JobOptions, Keep};

const NOW: Timestamp = Timestamp::from_millis(1_000);

struct File {
    conn: Connection,
    _folder: tempfile::TempDir,
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { conn: schema::writer(&folder.path().join("queue.db")).unwrap(), _folder: folder }
    }

    fn run<I, O>(&self, input: I, verb: fn(&mut Tx<'_>, &I) -> Result<O, Fault>) -> O {
        let mut options = OptionsCache::default();
        let mut tx = Tx { conn: &self.conn, options: &mut options, lanes: HashMap::new() };
        let output = verb(&mut tx, &input).unwrap();
        for mut lane in tx.lanes.into_values() {
            lane.store(&self.conn).unwrap();
        }
        output
    }

    fn add(&self, id: &str, delay: u64) {
        let options =
            JobOptions { group: Some("a".into()), delay: Duration::from_millis(delay), ..JobOptions::default() };
        let (name, data, options) = ("n".into(), Payload::null(), Arc::new(options));
        let job = NewJob { id: Some(JobId::stored(id)), name, data, options };
        self.run((Add { queue: queue(), jobs: vec![job] }, NOW), add::add);
    }

    fn take(&self, ends: Vec<Verdict>) -> Turned {
        let (token, lock_for) = (Token::new("t"), Duration::from_secs(30));
        let take = Take { token, mode: TakeMode::Fresh, most: 9, lock_for, rate: None };
        self.run((Turn { queue: queue(), worker: "w".into(), ends, take: Some(take) }, NOW), turn::turn)
    }

    fn count(&self, table: &str) -> i64 {
        self.conn.query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }
}

/// A slot is found by the number in the job's flags, not by its options.
#[test]
fn damaged_options_cost_a_group_no_slot() {
    let file = File::new();
    let settings = GroupSettings { concurrency: std::num::NonZeroU32::new(1), ..GroupSettings::default() };
    file.run((queue(), Group::new("a"), GroupControl::Set(settings), NOW), control);
    for id in ["a1", "a2", "a3"] {
        file.add(id, 0);
    }
    file.add("late", 9_000);
    file.conn.execute_batch("UPDATE jobs SET opts = '{' WHERE id <> 'a2'").unwrap();
    let first = file.take(Vec::new());
    assert_eq!((first.held.len(), first.next), (1, Next::At(Timestamp::from_millis(10_000))));
    assert!(first.held[0].failed_already.is_some());
    let end = |held: &crate::backend::Held| {
        let outcome = Outcome::Dead(held.failed_already.clone().unwrap_or_else(|| crate::exit::Failure::damaged("no")));
        Verdict { lock: held.lock.clone(), outcome, keep: Keep::ALL, ran: None }
    };
    let second = file.take(vec![end(&first.held[0])]);
    assert_eq!((second.ends, second.held[0].lock.id.as_str()), (vec![End::Applied], "a2"));
    let third = file.take(vec![end(&second.held[0])]);
    assert_eq!(third.held[0].lock.id.as_str(), "a3");
    // One that is to join a group and names none joins none.
    let edits = vec![Edit::Promote(JobId::stored("late"))];
    assert_eq!(file.run((EditAll { queue: queue(), edits }, NOW), edit::edit), [Edited::Done]);
    let last = file.take(Vec::new());
    assert_eq!((last.held.len(), last.next), (1, Next::Empty));
    assert!(last.held[0].failed_already.is_some());
}

/// A count that is too high must not keep the other groups from their turns.
#[test]
fn a_miscounted_group_is_put_right() {
    let file = File::new();
    for id in ["a1", "a2", "a3"] {
        file.add(id, 0);
    }
    file.conn.execute_batch("DELETE FROM jobs WHERE id <> 'a1'").unwrap();
    let taken = file.take(Vec::new());
    assert_eq!(taken.held.len(), 1);
    let wanted = GroupsWanted::Ids(vec!["a".into()]);
    let group = list(&file.conn, &queue(), &wanted, 1).unwrap().pop().unwrap();
    assert_eq!((group.waiting, group.active, group.in_turn), (0, 1, false));
    let facts = read::facts(&file.conn, &queue(), &JobId::stored("a1"), NOW).unwrap();
    assert_eq!(facts.group, Some(group));
}

/// Ids of tenants that have left do not pile up, with and without windows to remember.
#[test]
fn rows_of_groups_that_are_gone_go() {
    let file = File::new();
    file.add("a1", 0);
    assert_eq!(file.count("groups"), 1);
    file.run((EditAll { queue: queue(), edits: vec![Edit::Remove(JobId::stored("a1"))] }, NOW), edit::edit);
    assert_eq!((file.count("groups"), file.count("fairs")), (0, 1));
    for n in 0..100 {
        let (now, until) = (Timestamp::from_millis(n * 1_000), Timestamp::from_millis(n * 1_000 + 5_000));
        file.run((queue(), Group::new(format!("g{n}")), GroupControl::HoldUntil(until), now), control);
    }
    assert_eq!(file.count("groups"), 5);
}

/// A row that is lost while its jobs run keeps none of them, nor those that end beside them.
#[test]
fn a_lost_row_of_a_group_holds_up_no_end() {
    let file = File::new();
    for id in ["1", "2"] {
        file.add(id, 0);
    }
    let held = file.take(Vec::new()).held;
    assert_eq!(held.len(), 2);
    file.conn.execute_batch("DELETE FROM groups").unwrap();
    let end =
        |held: &crate::backend::Held, outcome| Verdict { lock: held.lock.clone(), outcome, keep: Keep::ALL, ran: None };
    let ends = vec![end(&held[0], Outcome::Done(Payload::null())), end(&held[1], Outcome::Back)];
    let turned = file.take(ends);
    assert_eq!(turned.ends, [End::Applied; 2]);
    assert_eq!(turned.held.len(), 1, "given back, it is in its group again");
}

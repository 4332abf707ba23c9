//! The journal, and what handlers say while they run.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use launchkit_queue::backend::Held;
use tokio::sync::Barrier;

use super::*;
use crate::given::*;

/// A journal that notes what it hears and does as it is told.
struct Books {
    given: Given,
    notes: Mutex<Vec<String>>,
    /// Jobs per call.
    begins: Mutex<Vec<usize>>,
    ends: Mutex<Vec<usize>>,
    /// Outcomes for jobs that are not to run.
    skip: HashMap<&'static str, Outcome>,
    /// Outcomes for runs that are to end otherwise.
    change: HashMap<&'static str, Outcome>,
    /// How many calls of each kind still fail.
    refusals: Mutex<[u32; 2]>,
    /// A job whose ends are always refused.
    never: Option<&'static str>,
}

impl Books {
    fn new(b: &Bench) -> Self {
        Self {
            given: b.given.clone(),
            notes: Mutex::default(),
            begins: Mutex::default(),
            ends: Mutex::default(),
            skip: HashMap::new(),
            change: HashMap::new(),
            refusals: Mutex::default(),
            never: None,
        }
    }

    fn note(&self, note: String) {
        self.notes.lock().unwrap().push(note);
    }

    /// What was noted about a job, in order.
    fn about(&self, text: &str) -> Vec<String> {
        let notes = self.notes.lock().unwrap();
        notes.iter().filter_map(|note| note.strip_suffix(text)?.strip_suffix(' ').map(str::to_owned)).collect()
    }

    async fn heard(&self, what: &str, held: &Held) {
        let text = held.lock.id.as_str();
        let state = self.given.get(text).await.state;
        self.note(format!("{what} {state} {text}"));
    }

    fn refuse(&self, which: usize) -> Result<(), JournalError> {
        let left = &mut self.refusals.lock().unwrap()[which];
        if *left == 0 {
            return Ok(());
        }
        *left -= 1;
        Err(JournalError("as planned".into()))
    }
}

#[async_trait]
impl Journal for Books {
    async fn begin(&self, held: &[Held]) -> Result<Vec<Begin>, JournalError> {
        self.refuse(0)?;
        self.begins.lock().unwrap().push(held.len());
        let mut answers = Vec::new();
        for held in held {
            self.heard("begin", held).await;
            answers.push(match self.skip.get(held.lock.id.as_str()) {
                Some(outcome) => Begin::Skip(outcome.clone()),
                None => Begin::Run(Arc::new(held.lock.id.to_string())),
            });
        }
        Ok(answers)
    }

    async fn end(&self, endings: &mut [Ending]) -> Result<(), JournalError> {
        self.refuse(1)?;
        if endings.iter().any(|ending| Some(ending.held.lock.id.as_str()) == self.never) {
            return Err(JournalError("never".into()));
        }
        self.ends.lock().unwrap().push(endings.len());
        for ending in endings {
            let id = ending.held.lock.id.clone();
            assert_eq!(ending.carry.downcast_ref::<String>(), Some(&id.to_string()));
            self.heard("end", &ending.held).await;
            if let Some(outcome) = self.change.get(id.as_str()) {
                ending.outcome = outcome.clone();
            }
        }
        Ok(())
    }
}

/// Each word comes before the store's own step, for doomed jobs too; what it makes of an outcome is what the store gets.
pub async fn the_journal_hears_starts_before_runs_and_ends_before_the_store(h: &impl Harness) {
    let b = Bench::on(h);
    for text in ["good", "bad", "doomed", "changed"] {
        b.add(text, 0, tries(3)).await;
    }
    b.queue.cancel(&id("doomed")).await.expect("cancel");
    let change = HashMap::from([("bad", dead()), ("changed", Outcome::Done(json("8")))]);
    let books = Arc::new(Books { change, ..Books::new(&b) });
    let notes = books.clone();
    let worker = b.worker().concurrency(4).journal(books.clone()).on::<Text>(move |job: Active<Text>| {
        assert_eq!(job.carry::<String>().as_deref().map(String::as_str), Some(job.id().as_str()));
        notes.note(format!("run {}", job.id()));
        async move { if job.id().as_str() == "bad" { Err("bad".into()) } else { Ok(7) } }
    });
    let (_, report) = during(worker, b.until_ended(4)).await;
    for text in ["good", "bad", "changed"] {
        assert_eq!(books.about(text), ["begin active", "run", "end active"], "{text}");
    }
    assert_eq!(books.about("doomed"), ["begin active", "end active"]);
    assert_eq!((report.done, report.dead, report.retried), (2, 2, 0));
    assert_eq!(b.given.get("good").await.result, Some(json("7")));
    assert_eq!(b.given.get("changed").await.result, Some(json("8")));
    assert_eq!(b.given.get("bad").await.failure, Some(boom()));
}

/// One call for what was taken together, and fewer calls than jobs for what ended together.
pub async fn the_journal_is_called_in_batches(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(10, &plain()).await;
    let (books, all) = (Arc::new(Books::new(&b)), Arc::new(Barrier::new(10)));
    let worker = b.worker().concurrency(10).journal(books.clone()).on::<Text>(move |_: Active<Text>| {
        let all = all.clone();
        async move {
            all.wait().await;
            Ok(0)
        }
    });
    during(worker, b.until_ended(10)).await;
    assert_eq!(*books.begins.lock().unwrap(), [10]);
    let ends = books.ends.lock().unwrap().clone();
    assert!(ends.iter().sum::<usize>() == 10 && ends.len() < 10, "{ends:?}");
}

/// It does not run, ends as the journal says, and the journal is not asked again.
pub async fn a_job_that_the_journal_skips_ends_without_running(h: &impl Harness) {
    let b = Bench::on(h);
    for text in ["done", "dead", "later", "run"] {
        b.add(text, 0, tries(3)).await;
    }
    let later = b.clock.now().plus(Duration::from_secs(3600));
    let skip = HashMap::from([("done", done()), ("dead", dead()), ("later", Outcome::Later(later))]);
    let books = Arc::new(Books { skip, ..Books::new(&b) });
    let worker = b.worker().concurrency(2).journal(books.clone()).on::<Text>(async |job: Active<Text>| {
        assert_eq!(job.id().as_str(), "run");
        Ok(1)
    });
    let (_, report) = during(worker, b.until_ended(3)).await;
    assert_eq!((report.done, report.dead, report.returned), (2, 1, 1));
    for (text, state) in [("done", State::Completed), ("dead", State::Failed), ("later", State::Delayed)] {
        assert_eq!((b.given.get(text).await.state, books.about(text)), (state, vec!["begin active".to_owned()]));
    }
    assert_eq!(b.given.get("later").await.made, 0);
}

/// The first calls of both kinds are refused: each job runs and ends once all the same.
pub async fn a_journal_that_fails_for_a_while_loses_and_doubles_nothing(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(20, &tries(3)).await;
    let books = Arc::new(Books { refusals: Mutex::new([2, 2]), ..Books::new(&b) });
    let notes = books.clone();
    let worker = b.worker().concurrency(4).journal(books.clone()).on::<Text>(move |job: Active<Text>| {
        notes.note(format!("run {}", job.id()));
        async { Ok(0) }
    });
    let (_, report) = during(worker, b.until_ended(20)).await;
    assert_eq!((report.done, report.retried, report.lost), (20, 0, 0));
    assert_eq!(*books.refusals.lock().unwrap(), [0, 0]);
    for n in 0..20 {
        assert_eq!(books.about(&format!("a{n}")), ["begin active", "run", "end active"]);
    }
}

/// An end that is refused for ever holds up no other, also not the ones of its own batch; its job stays under its lock.
pub async fn an_end_that_the_journal_always_refuses_holds_up_no_other(h: &impl Harness) {
    let b = Bench::on(h);
    b.add_many(40, &tries(3)).await;
    let books = Arc::new(Books { never: Some("a5"), ..Books::new(&b) });
    let worker = b.worker().concurrency(4).lock_for(Duration::from_secs(2)).journal(books);
    let worker = worker.on::<Text>(async |_: Active<Text>| Ok(0));
    let (_, report) = during(worker, b.until_ended(39)).await;
    assert_eq!((report.done, report.retried, report.dead), (39, 0, 0));
    let refused = b.given.get("a5").await;
    assert!(!refused.state.is_final() && refused.made == 0, "{refused:?}");
}

/// All lines, the last progress, and nothing of it after `completed`.
pub async fn progress_and_log_lines_reach_the_store_before_the_end_does(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let worker = b.worker().on::<Text>(async |job: Active<Text>| {
        for percent in [10, 90] {
            job.log(format!("at {percent}"));
            job.progress(&percent)?;
            tokio::task::yield_now().await;
        }
        Ok(0)
    });
    let (answer, _) = during(worker, b.outcome(&id)).await;
    answer.expect("a result");
    assert_eq!(b.given.get("j").await.progress, Some(json("90")));
    assert_eq!(b.given.lines("j").await, (vec!["at 10".into(), "at 90".into()], 2));
    let events = b.given.events().await;
    assert_eq!(events[events.len() - 3..], ["progress:j", "completed:j", "drained"]);
}

/// What a handler says while it runs on is stored meanwhile.
pub async fn progress_of_a_running_job_can_be_read(h: &impl Harness) {
    let b = Bench::on(h);
    let id = b.add("j", 0, plain()).await;
    let (release, released) = oneshot::channel::<()>();
    let released = Mutex::new(Some(released));
    let worker = b.worker().on::<Text>(move |job: Active<Text>| {
        let released = released.lock().unwrap().take();
        async move {
            job.log("on my way");
            job.progress(&50)?;
            let _ = released.expect("one run").await;
            Ok(0)
        }
    });
    let work = async {
        b.until(1, |event| matches!(event, Event::Progress { .. })).await;
        let read = (b.given.get("j").await, b.given.lines("j").await);
        release.send(()).expect("the handler runs");
        b.outcome(&id).await.expect("a result");
        read
    };
    let ((job, (lines, _)), _) = during(worker, work).await;
    assert_eq!((job.state, job.progress, lines), (State::Active, Some(json("50")), vec!["on my way".to_owned()]));
}

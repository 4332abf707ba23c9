//! What must hold of all notes together.

use std::collections::BTreeMap;

use launchkit_queue::backend::{Edited, End, Token};
use launchkit_queue::{Event, JobId, State, Timestamp};
use launchkit_testkit::given::LOCK;

use super::notes::{Got, Note, Notes, Way, What};

/// A stream of events keeps the newest of them; a longer history is not compared with its events.
const EVENTS: usize = 9_000;

/// How much was looked at.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) calls: usize,
    pub(crate) jobs: usize,
    pub(crate) runs: usize,
    pub(crate) rescued: usize,
    pub(crate) refused: usize,
}

/// Everything about one job.
#[derive(Debug, Default)]
struct Life<'a> {
    added: Option<(&'a Note, usize, u32, Timestamp)>,
    runs: Vec<Run<'a>>,
    rescues: Vec<&'a Note>,
    canceled: Vec<&'a Note>,
    retried: Vec<&'a Note>,
    removed: Vec<&'a Note>,
}

/// One holder of a job, from the call that handed it out.
#[derive(Debug)]
struct Run<'a> {
    taken: &'a Note,
    /// Its place among what the call handed out.
    place: usize,
    got: &'a Got,
    ends: Vec<(&'a Note, Way, End)>,
    kept: Vec<&'a Note>,
    lost: Vec<&'a Note>,
}

impl Notes {
    pub(crate) fn check(&self) -> Checked {
        let lives = self.lives();
        let mut checked = Checked { calls: self.notes.len(), jobs: lives.len(), ..Checked::default() };
        for (id, life) in &lives {
            let (added, .., due) = life.added.unwrap_or_else(|| panic!("nobody added {id}: {life:#?}"));
            let after = |run: &Run<'_>| added.asked < run.taken.answered && due <= run.taken.now;
            assert!(life.runs.iter().all(after), "{id} ran before it was there: {life:#?}");
            life.has_one_holder(id);
            life.is_canceled_in_time(id);
            for run in &life.runs {
                run.ends_once(id, life);
                checked.refused += run.ends.iter().filter(|(_, _, end)| *end != End::Applied).count();
            }
            checked.runs += life.runs.len();
            checked.rescued += life.rescues.len();
        }
        self.is_all_there(&lives);
        first_added_is_first_taken(&lives);
        if self.events.len() < EVENTS {
            self.was_told(&lives);
        }
        checked
    }

    fn lives(&self) -> BTreeMap<&JobId, Life<'_>> {
        let mut lives: BTreeMap<&JobId, Life<'_>> = BTreeMap::new();
        // Who holds what is known before ends and beats are read, whoever noted them.
        for note in &self.notes {
            if let What::Turned { got, most, .. } = &note.what {
                assert!(got.len() <= *most, "more than was asked for: {note:#?}");
                for (place, got) in got.iter().enumerate() {
                    let run = Run { taken: note, place, got, ends: vec![], kept: vec![], lost: vec![] };
                    lives.entry(&got.id).or_default().runs.push(run);
                }
            }
        }
        for note in &self.notes {
            match &note.what {
                What::Added(jobs) => {
                    for (place, (id, priority, due)) in jobs.iter().enumerate() {
                        lives.entry(id).or_default().added = Some((note, place, *priority, *due));
                    }
                }
                What::Turned { ends, .. } => {
                    for (id, token, way, end) in ends {
                        run(&mut lives, id, token).ends.push((note, *way, *end));
                    }
                }
                What::Beaten { kept, lost, .. } => {
                    kept.iter().for_each(|(id, token)| run(&mut lives, id, token).kept.push(note));
                    lost.iter().for_each(|(id, token)| run(&mut lives, id, token).lost.push(note));
                }
                What::Rescued(ids) => ids.iter().for_each(|id| lives.entry(id).or_default().rescues.push(note)),
                What::Canceled(id, Edited::Done) => lives.entry(id).or_default().canceled.push(note),
                What::Retried(id, Edited::Done) => lives.entry(id).or_default().retried.push(note),
                What::Removed(id, Edited::Done) => lives.entry(id).or_default().removed.push(note),
                What::Canceled(..) | What::Retried(..) | What::Removed(..) => {}
            }
        }
        for life in lives.values_mut() {
            life.runs.sort_by_key(|run| run.got.started);
            life.rescues.sort_by_key(|note| note.asked);
        }
        lives
    }

    /// What was added is there, in one state, where nobody works any more, or was removed.
    fn is_all_there(&self, lives: &BTreeMap<&JobId, Life<'_>>) {
        let mut left: Vec<&JobId> = self.left.iter().map(|job| &job.id).collect();
        left.sort_unstable();
        let wanted: Vec<&JobId> = lives.iter().filter(|(_, life)| life.removed.is_empty()).map(|(id, _)| *id).collect();
        assert_eq!(left, wanted, "what is left, and what was added and not removed");
        for job in &self.left {
            let runs = &lives[&job.id].runs;
            let last = runs.last().and_then(Run::end).map(|(_, way)| way);
            let ended = if job.state == State::Completed { Way::Done } else { Way::Dead };
            assert!(job.state.is_final() && last == Some(ended), "{}: {job:#?}, {runs:#?}", job.id);
            let made = runs.iter().filter_map(Run::end).filter(|(_, way)| !matches!(way, Way::Later(_))).count();
            assert_eq!((job.started as usize, job.made as usize), (runs.len(), made), "{}: {runs:#?}", job.id);
        }
        let counted = |state: State| self.left.iter().filter(|job| job.state == state).count() as u64;
        for state in State::ALL {
            assert_eq!(self.counts.of(state), counted(state), "{state:?}");
        }
    }

    /// The events say the same.
    fn was_told(&self, lives: &BTreeMap<&JobId, Life<'_>>) {
        let told = |id: &JobId, name: &str| {
            let of = |event: &&Event| event.job() == Some(id) && event.name() == name;
            self.events.iter().filter(of).count()
        };
        for (id, life) in lives {
            let ended = |way| life.runs.iter().filter_map(Run::end).filter(|(_, ended)| *ended == way).count();
            let seen = ["added", "active", "stalled", "completed", "failed", "removed"].map(|name| told(id, name));
            let done = [1, life.runs.len(), life.rescues.len(), ended(Way::Done), ended(Way::Dead), life.removed.len()];
            assert_eq!(seen, done, "{id}: added, active, stalled, completed, failed, removed");
            let events = self.events.iter().filter(|event| event.job() == Some(id)).map(Event::name);
            let names: Vec<&str> = events.filter(|name| *name != "retries-exhausted").collect();
            let out_of_order = |pair: &[&str]| pair[1] == "active" && !["waiting", "stalled"].contains(&pair[0]);
            assert!(names[0] == "added" && !names.windows(2).any(out_of_order), "{id}: {names:?}");
        }
    }
}

fn run<'a, 'b>(lives: &'b mut BTreeMap<&'a JobId, Life<'a>>, id: &JobId, token: &Token) -> &'b mut Run<'a> {
    let of = |run: &&mut Run<'_>| matches!(&run.taken.what, What::Turned { token: taken, .. } if taken == token);
    let life = lives.get_mut(id).unwrap_or_else(|| panic!("nobody ever held {id}"));
    life.runs.iter_mut().find(of).unwrap_or_else(|| panic!("{id} was never held under {token:?}"))
}

impl Run<'_> {
    /// The end that was applied.
    fn end(&self) -> Option<(&Note, Way)> {
        self.ends.iter().find(|(_, _, end)| *end == End::Applied).map(|(note, way, _)| (*note, *way))
    }

    /// When its lock ends: as far as renewals are sure to have come before a call, or may have.
    fn until(&self, came: impl Fn(&Note) -> bool) -> Timestamp {
        let renewed = self.kept.iter().filter(|beat| came(beat)).map(|beat| beat.now);
        renewed.chain([self.taken.now]).max().unwrap_or_default().plus(LOCK)
    }

    /// At most one of its ends is applied, in the time of its lock; and one that comes in time is refused only with a reason.
    fn ends_once(&self, id: &JobId, life: &Life<'_>) {
        let applied = self.ends.iter().filter(|(_, _, end)| *end == End::Applied).count();
        assert!(applied <= 1, "a run of {id} ended {applied} times: {self:#?}");
        let ended = |before: &Note| self.end().is_some_and(|(end, _)| end.asked < before.answered);
        let removed = |before: &Note| life.removed.iter().any(|gone| gone.asked < before.answered);
        for (note, _, end) in &self.ends {
            let in_time = note.now < self.until(|beat| beat.answered < note.asked);
            let fair = match end {
                End::Applied => note.now < self.until(|beat| beat.asked < note.answered),
                End::AlreadyApplied => ended(note),
                End::LockLost => !in_time || ended(note) || removed(note),
                End::Gone => removed(note),
            };
            assert!(fair, "an end of {id} was answered {end:?}: {note:#?}\n{life:#?}");
        }
        for beat in &self.kept {
            let others = |other: &Note| other.asked < beat.answered && other.asked != beat.asked;
            assert!(beat.now < self.until(others), "a lock of {id} was kept after its time: {life:#?}");
        }
        for beat in &self.lost {
            let in_time = beat.now < self.until(|other| other.answered < beat.asked);
            assert!(!in_time || ended(beat) || removed(beat), "a lock of {id} was lost in its time: {life:#?}");
        }
    }
}

impl Life<'_> {
    /// Between two runs the first one's end was applied, or its lock had run out and it was rescued; and the last one ended
    /// for good, or the job was removed.
    fn has_one_holder(&self, id: &JobId) {
        let numbers: Vec<u32> = self.runs.iter().map(|run| run.got.started).collect();
        assert!(numbers.iter().copied().eq(1..=self.runs.len() as u32), "{id} ran {numbers:?} times: {self:#?}");
        let mut rescues = self.rescues.iter().peekable();
        let mut retries = self.retried.clone();
        for (index, run) in self.runs.iter().enumerate() {
            let next = self.runs.get(index + 1).map_or(u64::MAX, |next| next.taken.answered);
            let released = match run.end() {
                Some((end, Way::Retry)) => end.asked < next,
                Some((end, Way::Later(at))) => {
                    end.asked < next && self.runs.get(index + 1).is_none_or(|next| at <= next.taken.now)
                }
                Some((end, _)) => {
                    let again = retries.iter().position(|retry| retry.asked < next && retry.answered > end.asked);
                    again.map(|found| retries.remove(found)).is_some() || next == u64::MAX
                }
                None => {
                    let until = run.until(|_| true);
                    let fits =
                        |note: &&&Note| note.asked < next && note.answered > run.taken.asked && note.now >= until;
                    rescues.next_if(fits).is_some() || !self.removed.is_empty() && next == u64::MAX
                }
            };
            assert!(released, "{id} had two holders, or is held for ever, after run {}: {self:#?}", index + 1);
        }
        assert!(rescues.next().is_none(), "{id} was rescued from nobody: {self:#?}");
        assert!(self.removed.len() <= 1, "{id} was removed twice: {self:#?}");
    }

    /// Who takes it, or keeps it, after it was canceled is told so, and nobody else.
    fn is_canceled_in_time(&self, id: &JobId) {
        let told = |note: &Note, told: bool| {
            let may = self.canceled.iter().any(|cancel| cancel.asked < note.answered);
            let must = self.retried.is_empty() && self.canceled.iter().any(|cancel| cancel.answered < note.asked);
            assert!(if told { may } else { !must }, "{id}, canceled: {self:#?}");
        };
        for run in &self.runs {
            told(run.taken, run.got.doomed);
            for beat in &run.kept {
                told(beat, matches!(&beat.what, What::Beaten { canceled, .. } if canceled.contains(id)));
            }
        }
    }
}

/// Of two jobs that could be taken from the first, the one that is more urgent, or as urgent and was there first, is not taken
/// after the other.
fn first_added_is_first_taken(lives: &BTreeMap<&JobId, Life<'_>>) {
    let first = |(id, life): (&&JobId, &'_ Life<'_>)| {
        let (note, place, priority, due) = life.added?;
        let run = life.runs.first().filter(|_| due == note.now)?;
        let taken = (run.taken.asked, run.taken.answered, run.place);
        Some(((*id).clone(), (note.asked, note.answered, place), priority, taken))
    };
    let before = |a: &(u64, u64, usize), b: &(u64, u64, usize)| a.1 < b.0 || a.0 == b.0 && a.2 < b.2;
    let all: Vec<_> = lives.iter().filter_map(first).collect();
    for (one, added, urgency, taken) in &all {
        for (other, added_then, urgency_then, taken_then) in &all {
            let first = urgency < urgency_then && added.1 < taken_then.0
                || urgency == urgency_then && before(added, added_then);
            assert!(!(first && before(taken_then, taken)), "{other} was taken before {one}");
        }
    }
}

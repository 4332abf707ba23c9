//! What is known of the jobs that a flow names, and of those above them.

use std::collections::HashMap;

use super::*;

/// Jobs that one script looks at, and as many above them.
const LOOK: usize = 1_000;

type Name = (QueueName, JobId);

/// A job that was not looked at yet.
#[derive(Debug)]
pub(super) struct Unseen(pub(super) Name);

/// Jobs that were looked at.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<Name, (Option<Known>, String)>);

impl Seen {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn find(&self, queue: &QueueName, id: &JobId) -> Result<Option<Known>, Unseen> {
        let name = (queue.clone(), id.clone());
        match self.0.get(&name) {
            Some((known, _)) => Ok(known.clone()),
            None => Err(Unseen(name)),
        }
    }

    /// What is to be the same when the flow is carried out.
    pub(super) fn prints(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.0.iter().map(|(name, (_, print))| (name, print.as_str()))
    }
}

impl Redis {
    /// Looks at jobs, and at some of those that wait for them.
    pub(super) async fn look_at(&self, seen: &mut Seen, names: Vec<Name>) -> Result<(), StoreError> {
        for some in names.chunks(LOOK) {
            let mut call = self.call(&self.scripts.look, &some[0].0, Timestamp::default());
            call.arg(LOOK);
            for (queue, id) in some {
                call.arg(self.keys.base(queue)).arg(id.as_str());
            }
            for job in list(self.link.call(call).await?)? {
                self.saw(seen, job)?;
            }
        }
        // What cannot be found under the name asked for is not there.
        for name in names {
            seen.0.entry(name).or_default();
        }
        Ok(())
    }

    fn saw(&self, seen: &mut Seen, job: Value) -> Result<(), StoreError> {
        let [base, id, print, place, dedup, above, parent, children] = parts(job)?;
        let Some(queue) = self.keys.of_base(&text(base)?) else { return Ok(()) };
        let above = self.keys.of_base(&text(above)?);
        let parent = above.zip(Some(JobId::stored(text(parent)?)));
        let known = match super::super::codec::state(&text(place)?) {
            Some(state) => {
                let children = usize::try_from(count(children)?).unwrap_or(usize::MAX);
                Some(Known { state, dedup: int(dedup)? == 1, parent, children })
            }
            None => None,
        };
        seen.0.insert((queue, JobId::stored(text(id)?)), (known, text(print)?));
        Ok(())
    }
}

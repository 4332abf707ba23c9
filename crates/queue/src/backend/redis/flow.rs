//! Flows: planned here from what is known of the jobs that they name, and carried out by one script, which first sees whether
//! that still holds.

use std::collections::{BTreeSet, HashMap};

use ::redis::Value;

use super::Redis;
use super::codec::encode_options;
use super::groups::{class, group_arg};
use super::link::Trouble;
use super::reply::*;
use super::script::Call;
use super::write::{added, ms};
use crate::backend::flow::{Fate, Known, POLICIES, plan};
use crate::backend::*;
use crate::error::StoreError;
use crate::job::{ChildFailure, JobId, QueueName};
use crate::time::Timestamp;

mod children;
mod look;

use look::{Seen, Unseen};

/// How often a flow is planned anew when what it was planned from has changed.
const PLANS: usize = 10;
/// How often one plan may need to see more of what waits above it.
const LOOKS: usize = 200;

impl Redis {
    pub(super) async fn flow_planned(&self, flow: &AddFlow, now: Timestamp) -> Result<Flowed, Trouble> {
        for _ in 0..PLANS {
            let mut seen = Seen::default();
            self.look_at(&mut seen, named(flow)).await.map_err(Trouble::before)?;
            let fates = match self.planned(flow, &mut seen).await.map_err(Trouble::before)? {
                Ok(fates) => fates,
                Err(refused) => return Ok(Flowed::Refused(refused)),
            };
            if let Some(added) = self.carry_out(flow, &fates, &seen, now).await? {
                return Ok(Flowed::Added(added));
            }
        }
        Err(Trouble::before(StoreError::Busy))
    }

    async fn planned(&self, flow: &AddFlow, seen: &mut Seen) -> Result<Result<Vec<Fate>, Refused>, StoreError> {
        for _ in 0..LOOKS {
            match plan(flow, |queue, id| seen.find(queue, id)) {
                Ok(planned) => return Ok(planned),
                Err(Unseen(name)) => self.look_at(seen, vec![name]).await?,
            }
        }
        Err(StoreError::Busy)
    }

    /// Answers `None` when what was seen has changed.
    async fn carry_out(
        &self,
        flow: &AddFlow,
        fates: &[Fate],
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Option<Vec<Added>>, Trouble> {
        let queues: BTreeSet<&QueueName> = flow.nodes.iter().map(|node| &node.queue).collect();
        let Some(first) = queues.first() else { return Ok(Some(Vec::new())) };
        let bases: Vec<String> = queues.iter().map(|queue| self.keys.base(queue)).collect();
        let own = [self.keys.base(first), self.keys.own(first), self.keys.queues()];
        let keys: Vec<&str> = own.iter().chain(&bases).map(String::as_str).collect();
        let mut call = self.scripts.flow.call(&keys);
        call.arg(now.millis()).arg(MAX_CHILDREN).arg(seen.len());
        seen.prints().for_each(|((queue, id), print)| {
            call.arg(self.keys.base(queue)).arg(id.as_str()).arg(print);
        });
        call.arg(queues.len());
        queues.iter().for_each(|queue| {
            call.arg(queue.as_str());
        });
        let numbers: HashMap<&QueueName, usize> = queues.iter().copied().zip(1..).collect();
        for ((node, fate), is_parent) in flow.nodes.iter().zip(fates).zip(flow.parents()) {
            call.arg(numbers.get(&node.queue));
            add_job(&mut call, &node.job).map_err(Trouble::before)?;
            call.arg(u8::from(is_parent)).arg(match fate {
                Fate { exists: false, .. } => "n",
                Fate { link: true, .. } => "l",
                Fate { link: false, .. } => "e",
            });
            self.add_parent(&mut call, node.parent.as_ref());
        }
        match self.link.call(call).await? {
            Value::Int(_) => Ok(None),
            answers => added_all(answers).map(Some).map_err(Trouble::after),
        }
    }

    fn add_parent(&self, call: &mut Call<'_>, under: Option<&Under>) {
        match under.map(|under| &under.parent) {
            Some(Parent::Node(index)) => call.arg(index + 1).arg(""),
            Some(Parent::Job(queue, id)) => call.arg(self.keys.base(queue)).arg(id.as_str()),
            None => call.arg("").arg(""),
        };
        call.arg(under.map_or(0, |under| number(under.on_failure)));
    }
}

/// The stored jobs that a flow names, and those that may be there.
fn named(flow: &AddFlow) -> Vec<(QueueName, JobId)> {
    let mut names: Vec<(QueueName, JobId)> = Vec::new();
    for node in &flow.nodes {
        names.extend(node.job.id.iter().map(|id| (node.queue.clone(), id.clone())));
        if let Some(Under { parent: Parent::Job(queue, id), .. }) = &node.parent {
            names.push((queue.clone(), id.clone()));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn add_job(call: &mut Call<'_>, job: &NewJob) -> Result<(), StoreError> {
    let options = &job.options;
    call.arg(job.id.as_ref().map_or("", |id| id.as_str())).arg(&*job.name).arg(job.data.as_str());
    call.arg(encode_options(job, &[])?);
    call.arg(ms(options.delay)).arg(class(options)).arg(u8::from(options.lifo)).arg(group_arg(options));
    Ok(())
}

fn added_all(answers: Value) -> Result<Vec<Added>, StoreError> {
    list(answers)?.into_iter().map(|answer| added(&text(answer)?)).collect()
}

/// The number of a policy in a family's record.
fn number(on_failure: ChildFailure) -> usize {
    POLICIES.iter().position(|policy| *policy == on_failure).unwrap_or_default()
}

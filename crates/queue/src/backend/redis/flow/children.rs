//! What parents know of their children.

use super::super::codec;
use super::*;
use crate::job::Payload;

impl Redis {
    pub(in super::super) async fn children_page(
        &self,
        queue: &QueueName,
        id: &JobId,
        after: u64,
        most: u32,
    ) -> Result<Children, StoreError> {
        let mut call = self.call(&self.scripts.children, queue, Timestamp::default());
        call.arg(id.as_str()).arg(after).arg(most);
        let [pending, rows] = parts(self.link.call(call).await?)?;
        let rows = self.read_children(rows)?;
        let next = rows.last().filter(|_| rows.len() == most as usize).map(|(number, _)| *number);
        let children = rows.into_iter().filter_map(|(_, child)| child).collect();
        Ok(Children { children, pending: u32::try_from(count(pending)?).unwrap_or(u32::MAX), next })
    }

    /// Children as a script read them, with their numbers; `None` for one whose key names no job.
    pub(in super::super) fn read_children(&self, rows: Value) -> Result<Vec<(u64, Option<Child>)>, StoreError> {
        list(rows)?.into_iter().map(|row| self.read_child(row)).collect()
    }

    fn read_child(&self, row: Value) -> Result<(u64, Option<Child>), StoreError> {
        let [number, key, mark, value, policy, parent] = parts(row)?;
        let number = count(number)?;
        let Some((queue, id)) = self.keys.job(&text(key)?) else { return Ok((number, None)) };
        let on_failure = self.policy(&text(parent)?, int(policy)?);
        Ok((number, Some(self.child((number, queue, id), on_failure, (&text(mark)?, text(value)?)))))
    }

    /// A child's own word goes before its parent's record.
    fn policy(&self, parent: &str, number: i64) -> ChildFailure {
        let recorded = || usize::try_from(number).ok().and_then(|at| POLICIES.get(at).copied()).unwrap_or_default();
        codec::parent(parent, &self.keys).map_or_else(recorded, |parent| parent.on_failure)
    }

    fn child(
        &self,
        (number, queue, id): (u64, QueueName, JobId),
        on_failure: ChildFailure,
        (mark, value): (&str, String),
    ) -> Child {
        let state = match (mark, on_failure) {
            ("c", _) => ChildState::Completed,
            ("u", _) | ("f", ChildFailure::ContinueParent) => ChildState::Failed,
            ("f", _) => ChildState::Ignored,
            _ => ChildState::Pending,
        };
        let (mut result, mut reason) = (None, None);
        match mark {
            "c" => result = Some(value).filter(|value| value != "null").map(Payload::stored),
            "p" => {}
            _ => reason = Some(self.keys.doom(&value).unwrap_or(value).into()),
        }
        Child { number, queue, id, on_failure, state, result, reason }
    }
}

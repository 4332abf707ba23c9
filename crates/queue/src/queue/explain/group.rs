//! What keeps a job back because of its group.

use serde_json::json;

use super::{Reason, Why};
use crate::backend::{Facts, GroupInfo, GroupStatus};
use crate::job::Record;
use crate::time::Timestamp;

/// The group of a ready job gives out no jobs, is full, or is over its rate.
pub(super) fn shut(facts: &Facts, now: Timestamp) -> Option<Reason> {
    let group = facts.group.as_ref()?;
    let named = |code, message: String| Reason::new(code, message).with("group", group.id.as_str());
    match group.status(now) {
        GroupStatus::Open => None,
        GroupStatus::Paused => Some(named(Why::GroupPaused, format!("The group {} is paused.", group.id))),
        GroupStatus::Full => {
            let most = group.limits.concurrency?.get();
            let message = format!("{} jobs of the group {} are active, as many as may be.", group.active, group.id);
            let full = named(Why::GroupConcurrency, message);
            Some(full.with("active", group.active).with("concurrency", most))
        }
        GroupStatus::Limited(until) => Some(limited(group, until)),
    }
}

fn limited(group: &GroupInfo, until: Timestamp) -> Reason {
    let (message, details) = match group.limits.rate.filter(|_| group.limits.until < until) {
        Some(rate) => (
            format!(
                "{} jobs of the group {} have started within {:?}, as many as may.",
                group.limits.used, group.id, rate.per
            ),
            json!({"group": group.id.as_str(), "max": rate.max, "duration": rate.per.as_millis() as u64}),
        ),
        None => (
            format!("The group {} has been told to start nothing for a while.", group.id),
            json!({"group": group.id.as_str()}),
        ),
    };
    let details = details.as_object().cloned().unwrap_or_default();
    Reason { details, ..Reason::new(Why::GroupRateLimited, message).until(until) }
}

/// Adds to a job's place in its group with how many it shares the queue.
pub(super) fn beside(facts: &Facts, job: &Record, reason: Reason) -> Reason {
    match &job.options.group {
        Some(group) => reason.with("group", group.as_str()).with("groups", facts.info.groups.saturating_sub(1)),
        None => reason,
    }
}

/// What is taken before a job of a group: others of its group, and between them what takes turns with it.
pub(super) fn message(facts: &Facts, job: &Record, plain: String) -> String {
    let others = facts.info.groups.saturating_sub(1);
    match (&job.options.group, facts.ahead) {
        (Some(group), 0) if facts.group.is_some() => match others {
            0 => format!("It is next of the group {group}, the only one of the queue."),
            _ => format!("It is next of the group {group}, which takes turns with {others} others."),
        },
        (Some(group), _) => format!("{plain} These are of its group {group}, which takes turns with {others} others."),
        (None, _) => plain,
    }
}

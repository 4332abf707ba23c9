//! Groups: orders to them, and what is read of them. Whose turn it is decides `scripts/groups.lua`, by the rules of
//! `backend/groups/turns.rs`.

use std::num::NonZeroU32;

use ::redis::Value;

use super::Redis;
use super::reply::*;
use super::write::ms;
use crate::backend::groups::Standing;
use crate::backend::*;
use crate::error::StoreError;
use crate::job::QueueName;
use crate::options::{Group, JobOptions};
use crate::time::Timestamp;

/// The priority in a job's hash; that of a job of a group is BullMQ's lowest.
pub(super) fn class(options: &JobOptions) -> u32 {
    options.class()
}

/// The group of a new job as an argument.
pub(super) fn group_arg(options: &JobOptions) -> &str {
    options.group.as_ref().map_or("", Group::as_str)
}

/// What holds for groups without settings, in the text that is kept of all groups.
pub(super) fn defaults(text: &str) -> GroupDefaults {
    let mut words = text.split(' ').skip(2).map(|word| number(word).unwrap_or(0));
    let mut next = || words.next().unwrap_or(0);
    GroupDefaults { concurrency: limit(next()), rate: rate(next(), next()) }
}

impl Redis {
    pub(super) async fn order_group(
        &self,
        queue: &QueueName,
        group: &Group,
        what: GroupControl,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (what, numbers) = match what {
            GroupControl::Set(GroupSettings { weight, concurrency, rate }) => {
                let (max, per) = pair(rate);
                ("set", [u64::from(weight), most(concurrency), max, per])
            }
            GroupControl::Pause => ("pause", [0; 4]),
            GroupControl::Resume => ("resume", [0; 4]),
            GroupControl::HoldUntil(until) => ("hold", [u64::try_from(until.millis()).unwrap_or(0), 0, 0, 0]),
            GroupControl::ClearRate => ("clear", [0; 4]),
        };
        self.tell_groups(queue, group.as_str(), what, numbers, now).await
    }

    pub(super) async fn set_group_defaults(
        &self,
        queue: &QueueName,
        defaults: GroupDefaults,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (max, per) = pair(defaults.rate);
        self.tell_groups(queue, "", "defaults", [most(defaults.concurrency), max, per, 0], now).await
    }

    async fn tell_groups(
        &self,
        queue: &QueueName,
        group: &str,
        what: &str,
        numbers: [u64; 4],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut call = self.call_shared(&self.scripts.group, queue, now);
        call.arg(queue.as_str()).arg(group).arg(what).arg(&numbers);
        match int(self.link.call(call).await?)? {
            1 => Ok(()),
            _ => Err(StoreError::OutOfBounds("a queue has at most 1,048,576 groups at once")),
        }
    }

    pub(super) async fn find_groups(
        &self,
        queue: &QueueName,
        wanted: &GroupsWanted,
        most: u32,
    ) -> Result<Vec<GroupInfo>, StoreError> {
        let mut call = self.call(&self.scripts.group_list, queue, Timestamp::default());
        call.arg(most);
        match wanted {
            GroupsWanted::Ids(ids) => {
                call.arg(1);
                ids.iter().for_each(|id| {
                    call.arg(id.as_str());
                });
            }
            GroupsWanted::After(after) => {
                call.arg(0).arg(after.as_ref().map_or("", Group::as_str));
            }
        }
        let [fair, found] = parts(self.link.call(call).await?)?;
        let defaults = defaults(&text(fair)?);
        list(found)?.into_iter().map(|group| info(group, &defaults)).collect()
    }
}

fn most(limit: Option<NonZeroU32>) -> u64 {
    limit.map_or(0, |limit| u64::from(limit.get()))
}

fn pair(rate: Option<Rate>) -> (u64, u64) {
    rate.map_or((0, 0), |rate| (u64::from(rate.max.get()), ms(rate.per)))
}

fn limit(most: i64) -> Option<NonZeroU32> {
    u32::try_from(most).ok().and_then(NonZeroU32::new)
}

fn rate(max: i64, per: i64) -> Option<Rate> {
    let per = std::time::Duration::from_millis(u64::try_from(per).unwrap_or(0));
    limit(max).map(|max| Rate { max, per })
}

/// A group as a script read it.
fn info(read: Value, defaults: &GroupDefaults) -> Result<GroupInfo, StoreError> {
    let [id, numbers, waiting, in_turn] = parts(read)?;
    let numbers = list(numbers)?.into_iter().map(int).collect::<Result<Vec<_>, _>>()?;
    let [of, weight, paused, slots, max, per, used, began, until, last, active] = *numbers else { return Err(odd()) };
    let small = |number: i64| u32::try_from(number).unwrap_or(0);
    let standing = Standing {
        weight: small(weight),
        paused: paused == 1,
        limits: Limits {
            concurrency: limit(slots),
            rate: rate(max, per),
            used: small(used),
            window_start: Timestamp::from_millis(began),
            until: Timestamp::from_millis(until),
        },
        last,
        waiting: count(waiting)?,
        active: u64::try_from(active).unwrap_or(0),
        head: int(in_turn)? == 1,
        ..Standing::new(small(of))
    };
    Ok(standing.info(Group::new(text(id)?), defaults))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn defaults_are_read_from_what_is_kept_of_all_groups() {
        let some = GroupDefaults { concurrency: limit(2), rate: rate(5, 1_000) };
        assert_eq!(defaults("12000000 7 2 5 1000 0"), some);
        assert_eq!(some.rate.map(|rate| rate.per), Some(Duration::from_secs(1)));
        assert_eq!(defaults("12000000 7 0 0 0 1"), GroupDefaults::default());
        assert_eq!((defaults(""), defaults("x y z")), Default::default());
    }
}

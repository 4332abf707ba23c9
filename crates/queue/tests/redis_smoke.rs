//! A life of a queue on a cluster of three nodes, and under Sentinel: the cases that show that every verb's keys lie in one slot,
//! and that everything goes to the primary.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use launchkit_queue::backend::Backend;
use launchkit_queue::backend::redis::{Redis, RedisOptions};
use launchkit_testkit::Harness;
use launchkit_testkit::redis::{Cluster, Kind, RedisServer, SentinelFleet};

/// Where the servers are. They stay for all cases, and go when the process ends.
fn cluster() -> &'static str {
    static CLUSTER: OnceLock<(Cluster, String)> = OnceLock::new();
    let start = || {
        let cluster = Cluster::start(Kind::Redis).expect("a cluster");
        let url = format!("redis-cluster://{}", addresses(cluster.nodes()));
        (cluster, url)
    };
    &CLUSTER.get_or_init(start).1
}

fn fleet() -> &'static str {
    static FLEET: OnceLock<(SentinelFleet, String)> = OnceLock::new();
    let start = || {
        let fleet = SentinelFleet::start(Kind::Valkey).expect("a fleet");
        let url = format!("redis-sentinel://{}/{}", addresses(fleet.sentinels()), fleet.name());
        (fleet, url)
    };
    &FLEET.get_or_init(start).1
}

fn addresses(servers: &[RedisServer]) -> String {
    servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect::<Vec<_>>().join(",")
}

/// A store under a prefix of its own, which is a hash tag: the cases lie in different slots.
struct OnServers {
    store: Arc<Redis>,
    options: RedisOptions,
}

impl OnServers {
    async fn fresh(url: fn() -> &'static str) -> Self {
        static CASES: AtomicU32 = AtomicU32::new(0);
        let url = tokio::task::spawn_blocking(url).await.expect("no panic");
        let prefix = format!("{{case-{}}}", CASES.fetch_add(1, Ordering::Relaxed));
        let options = RedisOptions::parse(url).expect("a URL").prefix(prefix);
        Self { store: open(&options).await, options }
    }
}

async fn open(options: &RedisOptions) -> Arc<Redis> {
    Arc::new(Redis::open(options).await.expect("a store"))
}

macro_rules! harness {
    ($harness:ident, $at:ty, $name:literal, $url:path) => {
        pub(crate) struct $harness(OnServers);

        impl Harness for $harness {
            const NAME: &'static str = $name;

            async fn fresh() -> Self {
                Self(OnServers::fresh($url).await)
            }

            fn backend(&self) -> Arc<dyn Backend> {
                self.0.store.clone()
            }

            async fn another(&self) -> Option<Arc<dyn Backend>> {
                Some(open(&self.0.options).await)
            }

            async fn reopen(self) -> Option<Self> {
                self.0.store.close().await;
                Some(Self(OnServers { store: open(&self.0.options).await, options: self.0.options }))
            }
        }

        launchkit_testkit::cases! { $at;
            add: ten_thousand_jobs_are_added_in_order_in_one_go, a_duplicate_id_is_recognised_in_every_state;
            take: a_lower_number_runs_first_and_equals_by_age, a_delayed_job_is_taken_at_its_time_and_not_a_millisecond_before,
                an_add_wakes_a_waiter, resuming_a_take_returns_the_same_jobs_once_started;
            settle: one_turn_ends_jobs_and_takes_others, a_failed_attempt_with_tries_left_waits_for_its_backoff;
            edit: progress_is_replaced_and_told_in_any_state, log_lines_stay_in_order_and_the_oldest_go_beyond_the_limit,
                removing_takes_the_job_with_its_logs_and_progress;
            sweep: a_sweep_is_bounded_and_going_on_reaches_the_end;
            events: a_reader_is_woken_by_the_next_event, a_plain_job_tells_its_life_in_order;
            flow: a_tree_over_three_queues_runs_from_its_leaves_up, a_failed_child_fails_its_parent_and_that_its_own;
            dedup: the_last_job_of_a_running_owner_is_added_at_its_end;
            repeat: a_scheduler_makes_one_job_for_its_first_slot;
            spend: a_budget_is_shared_by_all_handles;
            read: queues_are_listed_once_used_and_not_by_being_read, the_first_claim_wins;
            worker: two_handles_on_one_store_hear_each_other, a_worker_runs_a_scheduler_to_its_limit;
        }
    };
}

mod in_a_cluster {
    use super::*;
    harness!(OnCluster, crate::in_a_cluster::OnCluster, "cluster", cluster);

    /// Its keys would lie in many slots, and no script could reach them all.
    #[tokio::test]
    async fn a_prefix_without_a_hash_tag_is_refused() {
        let url = tokio::task::spawn_blocking(cluster).await.expect("no panic");
        let refused =
            Redis::open(&RedisOptions::parse(url).expect("a URL").prefix("bull")).await.err().expect("refused");
        assert!(refused.to_string().contains("hash tag, such as {bull}"), "{refused}");
    }
}

mod under_sentinel {
    use super::*;
    harness!(OnFleet, crate::under_sentinel::OnFleet, "sentinel", fleet);
}

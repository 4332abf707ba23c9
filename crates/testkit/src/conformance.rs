//! The conformance cases, named as assertions; `docs/states.md` says what each shows. A case is a plain
//! `pub async fn name(h: &impl Harness)` in its family's file and stands once in the list below.

pub mod add;
pub mod locks;
pub mod rescue;
pub mod settle;
pub mod take;

/// Makes one test per case for a harness, which must be named by an absolute path.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        $crate::cases! { $harness;
            add:
                auto_ids_are_the_queues_decimal_counter,
                the_counter_also_counts_own_ids_and_duplicates,
                counters_of_two_queues_are_independent,
                a_job_is_stored_as_it_was_given,
                a_duplicate_id_changes_nothing_and_is_answered_as_existing,
                a_duplicate_id_is_recognised_in_every_state,
                an_id_given_twice_in_one_add_is_stored_once,
                a_removed_id_can_be_added_again,
                ten_thousand_jobs_are_added_in_order_in_one_go,
                an_add_beyond_the_bound_is_refused_whole_and_handed_back,
                unfit_ids_names_and_options_are_refused_and_nothing_is_added;
            take:
                jobs_without_priority_run_in_the_order_of_their_adding,
                lifo_jobs_run_newest_first_and_before_the_rest,
                a_job_with_priority_waits_behind_one_without,
                a_lower_number_runs_first_and_equals_by_age,
                lifo_has_no_effect_on_a_prioritized_job,
                a_delayed_job_is_taken_at_its_time_and_not_a_millisecond_before,
                the_delay_counts_from_the_adding,
                jobs_due_in_the_same_millisecond_run_in_the_order_of_their_adding,
                a_due_job_goes_behind_what_waits_already,
                promotion_ignores_lifo,
                a_due_job_keeps_its_priority,
                one_turn_promotes_at_most_two_hundred_due_jobs,
                a_take_never_exceeds_what_was_asked,
                next_tells_more_then_the_nearest_due_time_then_empty,
                a_take_marks_the_job_with_worker_start_and_count,
                a_held_job_carries_what_its_handler_needs,
                resuming_a_take_returns_the_same_jobs_once_started,
                resuming_a_take_that_never_happened_takes,
                resuming_returns_what_is_still_held,
                resuming_after_the_lock_has_ended_does_not_return_the_job,
                two_takers_never_hold_the_same_job,
                an_add_wakes_a_waiter,
                a_take_that_leaves_jobs_wakes_the_next_waiter,
                a_job_past_its_start_before_is_handed_out_as_expired,
                a_job_once_started_does_not_expire,
                a_turn_beyond_the_bound_is_refused_and_changes_nothing;
            settle:
                a_done_job_is_completed_with_its_result,
                a_dead_job_is_failed_with_its_failure,
                every_kind_of_failure_is_read_back,
                a_failed_attempt_with_tries_left_waits_for_its_backoff,
                a_retry_without_delay_goes_to_the_back,
                a_retry_without_delay_of_a_lifo_job_goes_to_the_front,
                a_retried_job_keeps_its_priority,
                an_earlier_failure_stays_readable_after_a_success,
                a_put_off_job_is_not_counted,
                a_given_back_job_goes_to_the_front_uncounted,
                a_given_back_job_keeps_its_priority,
                made_counts_ends_and_retries_and_nothing_else,
                started_counts_every_take,
                a_repeated_verdict_is_already_applied,
                a_repeated_turn_is_answered_the_same,
                repeating_the_end_of_a_job_that_was_not_kept_changes_nothing,
                a_verdict_of_an_earlier_run_never_touches_a_later_one,
                a_refused_verdict_changes_nothing,
                an_unknown_job_is_gone,
                one_refused_verdict_leaves_the_others_alone,
                the_first_of_two_verdicts_on_one_run_counts,
                one_turn_ends_jobs_and_takes_others,
                keeping_nothing_removes_the_job_and_still_tells,
                retention_by_count_keeps_the_newest,
                retention_by_age_removes_what_is_older,
                a_finish_evicts_at_most_two_oldest_first,
                nothing_is_evicted_before_a_finish,
                retention_of_one_final_state_leaves_the_other_alone;
            locks:
                a_beat_extends_the_lock,
                a_beat_reports_lost_and_foreign_locks,
                an_ended_lock_cannot_be_renewed_though_nobody_took_the_job,
                a_settle_counts_until_the_lock_ends_and_not_at_its_end,
                a_rescued_job_taken_by_another_voids_the_old_lock,
                a_beat_without_locks_registers_the_worker,
                a_silent_worker_is_no_longer_listed,
                a_beat_beyond_the_bound_is_refused;
            rescue:
                a_job_whose_lock_has_ended_is_ready_again_in_one_look,
                a_job_under_a_live_lock_is_not_rescued,
                a_stalled_job_keeps_its_priority_and_goes_to_the_front_of_its_class,
                jobs_rescued_together_come_back_in_the_order_they_were_taken,
                a_stall_is_counted_and_is_no_attempt,
                a_job_that_stalled_too_often_is_handed_out_as_failed,
                a_doomed_job_ends_through_an_ordinary_settle,
                a_doomed_job_stays_doomed_until_it_ends,
                a_rescue_is_bounded_and_says_that_there_is_more,
                a_rescue_beyond_the_bound_is_refused,
                the_vanished_worker_cannot_settle_after_the_rescue,
                a_rescue_works_while_paused;
        }
    };
}

/// Unfolds the list.
#[macro_export]
macro_rules! cases {
    ($harness:ty; $($family:ident: $($case:ident),+ $(,)?;)+) => {
        $(mod $family {
            $(#[tokio::test]
            async fn $case() {
                $crate::harness::run::<$harness>(async |h| $crate::conformance::$family::$case(h).await).await;
            })+
        })+
    };
}

//! The conformance cases, named as assertions; `docs/states.md` says what each shows. A case is a plain
//! `pub async fn name(h: &impl Harness)` in its family's file and stands once in the list below.

pub mod add;
pub mod control;
pub mod edit;
pub mod events;
pub mod read;
pub mod sweep;
pub mod worker;

/// Makes one test per case for a harness, which must be named by an absolute path.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        $crate::cases! { $harness;
            add: jobs_are_taken_in_the_order_they_were_added;
            edit: promoting_puts_a_delayed_job_behind_what_waits,
                promoting_any_other_state_is_refused,
                retrying_by_hand_forgets_the_end_and_keeps_the_priority,
                retrying_by_hand_resets_the_attempts_only_when_asked,
                retrying_an_unfinished_job_is_refused,
                stalls_outlive_a_retry_by_hand,
                removing_takes_the_job_with_its_logs_and_progress,
                removing_a_held_job_is_refused,
                removing_an_active_job_after_its_lock_has_ended_works,
                editing_an_unknown_job_answers_missing,
                canceling_a_waiting_job_fails_it_at_its_turn,
                canceling_a_held_job_is_told_by_the_beat,
                canceling_a_finished_job_is_refused,
                a_canceled_job_that_ends_well_is_completed,
                a_cancel_outlives_retry_and_rescue,
                progress_is_replaced_and_told_in_any_state,
                log_lines_stay_in_order_and_the_oldest_go_beyond_the_limit,
                a_long_log_line_is_cut_at_a_character,
                new_data_reaches_the_next_taker,
                edits_are_answered_in_order_and_a_refusal_leaves_the_others;
            sweep: clean_removes_what_ended_by_a_time_oldest_first,
                cleaning_an_unfinished_state_is_refused,
                drain_removes_ready_jobs_of_both_kinds_and_nothing_else,
                drain_of_delayed_jobs_removes_only_those,
                no_sweep_touches_an_active_job,
                retry_failed_takes_the_oldest_first_and_keeps_priorities_and_attempts,
                retry_failed_leaves_what_failed_after_its_time,
                promote_delayed_takes_the_next_due_first_and_keeps_priorities,
                a_sweep_is_bounded_and_going_on_reaches_the_end;
            events: a_plain_job_tells_its_life_in_order,
                a_delayed_job_tells_its_due_time_then_waiting,
                a_retried_attempt_tells_delayed_and_not_failed,
                retries_exhausted_is_told_only_when_no_try_is_left,
                a_rescue_tells_waiting_then_stalled,
                a_duplicate_tells_only_that,
                active_tells_the_class_the_job_came_from,
                removed_tells_where_the_job_was,
                drained_is_told_only_by_a_finish_that_leaves_nothing_ready_or_active,
                removing_the_last_job_is_not_draining,
                draining_and_evicting_are_silent,
                clean_tells_its_count_in_every_step,
                pausing_and_resuming_are_told_once_each,
                reading_on_from_a_position_misses_and_repeats_nothing,
                a_trimmed_position_answers_a_gap,
                a_reader_is_woken_by_the_next_event,
                a_long_value_stays_out_of_its_event_and_with_its_job,
                a_refused_verb_tells_nothing,
                events_of_one_queue_do_not_show_in_another;
            read: counts_agree_with_lists_in_every_state,
                waiting_jobs_are_listed_next_to_run_first,
                prioritized_jobs_are_listed_by_priority_then_age,
                delayed_jobs_are_listed_by_due_time,
                finished_jobs_are_listed_newest_first,
                pages_join_without_gap_or_repetition,
                pages_stay_whole_while_jobs_are_added,
                jobs_are_read_in_the_order_of_their_ids_with_none_for_unknown_ones,
                log_pages_join_and_tell_the_total,
                info_tells_pause_workers_newest_event_and_the_oldest_ready_job,
                queues_are_listed_once_used_and_not_by_being_read,
                the_first_claim_wins,
                what_was_answered_is_there_after_reopening,
                a_held_job_survives_reopening_held_or_ready;
            control: a_paused_queue_gives_out_nothing_and_says_so,
                a_paused_queue_accepts_jobs_and_counts_them_as_waiting,
                pausing_leaves_held_jobs_alone,
                delayed_jobs_become_ready_while_paused,
                resuming_gives_out_in_the_old_order_and_wakes_a_waiter,
                pausing_one_queue_leaves_another_alone,
                after_close_every_verb_answers_closed;
            worker: a_worker_completes_jobs_and_its_caller_reads_the_outcome,
                a_handler_that_fails_twice_succeeds_at_its_third_try,
                a_handler_that_always_fails_is_failed_after_its_last_try,
                giving_up_ends_the_job_though_tries_remain,
                a_panic_fails_the_attempt_and_not_the_worker,
                an_attempt_beyond_its_timeout_fails_as_timeout,
                asking_for_later_runs_the_job_again_uncounted,
                an_unknown_name_is_put_off_uncounted,
                an_undecodable_payload_is_given_up_with_a_reason,
                a_former_name_reaches_its_handler,
                no_more_handlers_run_at_once_than_there_are_slots,
                a_backlog_is_worked_to_its_very_last_job,
                a_delayed_job_starts_at_its_time_and_not_before,
                a_paused_queue_keeps_its_jobs_until_it_is_resumed,
                a_worker_told_to_stop_lets_running_jobs_end,
                after_the_grace_running_jobs_are_given_back_uncounted,
                an_error_because_of_a_stop_is_no_failed_attempt,
                a_dropped_worker_leaves_its_jobs_to_another,
                a_long_job_keeps_its_lock,
                a_lost_lock_stops_the_handler_and_drops_its_answer,
                a_canceled_handler_is_told_and_its_job_fails_as_canceled,
                a_doomed_job_is_failed_without_running,
                the_journal_hears_starts_before_runs_and_ends_before_the_store,
                the_journal_is_called_in_batches,
                a_job_that_the_journal_skips_ends_without_running,
                a_journal_that_fails_for_a_while_loses_and_doubles_nothing,
                progress_and_log_lines_reach_the_store_before_the_end_does,
                progress_of_a_running_job_can_be_read,
                two_workers_share_a_queue,
                a_thousand_jobs_are_handled_exactly_once_by_three_workers,
                two_handles_on_one_store_hear_each_other,
                lost_answers_run_no_job_twice,
                a_store_that_refuses_for_a_while_loses_and_doubles_nothing,
                a_worker_that_cannot_wait_still_finds_work,
                a_worker_whose_beats_fail_gives_its_handlers_up,
                a_worker_whose_beats_hang_gives_its_handlers_up;
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

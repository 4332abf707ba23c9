//! The conformance cases, named as assertions; `docs/states.md` says what each shows. A case is a plain
//! `pub async fn name(h: &impl Harness)` in its family's file and stands once in the list below.

pub mod add;
pub mod control;
pub mod dedup;
pub mod edit;
pub mod events;
pub mod explain;
pub mod limits;
pub mod locks;
pub mod metrics;
pub mod read;
pub mod rescue;
pub mod settle;
pub mod sweep;
pub mod take;
pub mod worker;

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
                an_add_before_anybody_waits_calls_the_first_who_does,
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
                large_results_are_settled_in_one_turn,
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
                a_sweep_is_bounded_and_going_on_reaches_the_end,
                a_choice_among_failed_jobs_is_by_name_kind_text_and_time,
                dead_letters_run_again_in_steps;
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
                a_value_that_no_reader_takes_stays_out_of_its_event,
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
            explain: an_unknown_job_is_not_in_the_queue,
                without_workers_that_is_the_reason,
                a_paused_queue_is_the_deciding_reason,
                a_ready_job_is_behind_those_that_are_taken_before_it,
                more_than_ten_thousand_ahead_are_not_counted,
                a_delayed_job_names_its_time,
                a_failed_attempt_waits_for_its_backoff,
                a_running_job_names_its_worker,
                an_expired_lock_is_a_lost_worker,
                a_finished_job_says_how_it_ended;
            limits: a_rate_lets_so_many_start_in_a_window,
                a_window_begins_with_its_first_start,
                workers_rates_are_counted_together,
                the_queues_rate_goes_before_a_workers,
                doomed_jobs_do_not_count_as_starts,
                slowing_down_gives_the_job_back_and_holds_the_queue,
                clearing_lifts_a_hold_and_wakes_a_waiter,
                delayed_jobs_become_ready_while_nothing_may_start,
                a_full_queue_starts_one_for_each_that_ends,
                an_end_that_makes_room_wakes_a_waiter,
                a_look_at_a_shut_queue_wakes_nobody,
                limits_of_one_queue_leave_another_alone,
                limits_are_there_after_reopening,
                a_limited_job_is_explained;
            metrics: ends_are_counted_in_their_minute,
                waits_are_counted_from_becoming_ready,
                run_times_are_counted_once,
                minutes_are_read_in_pages_newest_first,
                minutes_of_more_than_two_weeks_ago_go;
            control: a_paused_queue_gives_out_nothing_and_says_so,
                a_paused_queue_accepts_jobs_and_counts_them_as_waiting,
                pausing_leaves_held_jobs_alone,
                delayed_jobs_become_ready_while_paused,
                resuming_gives_out_in_the_old_order_and_wakes_a_waiter,
                pausing_one_queue_leaves_another_alone,
                after_close_every_verb_answers_closed,
                closing_ends_every_wait;
            dedup:
                a_simple_owner_keeps_others_away_until_its_end,
                a_duplicate_id_is_existing_before_it_is_deduplicated,
                a_throttle_lasts_its_time_whatever_became_of_the_owner,
                an_extending_job_starts_the_time_again,
                a_debounced_job_takes_the_place_of_a_delayed_owner,
                a_replacing_job_inherits_the_rest_of_the_time,
                a_replacing_job_is_dropped_in_silence_when_the_owner_is_not_delayed,
                a_rescheduling_job_gives_its_delay_to_a_delayed_owner,
                jobs_of_one_add_deduplicate_each_other,
                deduplication_ids_of_two_queues_are_independent,
                unfit_deduplication_is_refused_and_nothing_is_added,
                an_owner_gives_up_its_id_when_it_has_ended,
                an_owner_that_will_run_again_keeps_its_id,
                an_owner_gives_up_its_id_when_it_is_removed,
                eviction_leaves_the_id_owned,
                the_id_of_a_vanished_owner_goes_to_the_next_job,
                an_id_can_be_freed_by_hand,
                deduplication_survives_reopening,
                the_last_job_of_a_running_owner_is_added_at_its_end,
                of_several_kept_jobs_the_last_one_wins,
                a_kept_job_is_lost_only_with_its_owner_or_its_id,
                the_end_of_a_job_that_owns_nothing_frees_nothing,
                an_owner_that_keeps_a_job_owns_the_id_until_its_end;
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
                an_end_that_the_journal_always_refuses_holds_up_no_other,
                progress_and_log_lines_reach_the_store_before_the_end_does,
                progress_of_a_running_job_can_be_read,
                two_workers_share_a_queue,
                a_thousand_jobs_are_handled_exactly_once_by_three_workers,
                two_handles_on_one_store_hear_each_other,
                lost_answers_run_no_job_twice,
                a_store_that_refuses_for_a_while_loses_and_doubles_nothing,
                a_worker_that_cannot_wait_still_finds_work,
                a_worker_whose_beats_fail_gives_its_handlers_up,
                a_worker_whose_beats_hang_gives_its_handlers_up,
                a_panic_around_a_handler_fails_the_attempt_too,
                a_journal_that_panics_is_asked_again,
                a_worker_stops_though_a_rescue_hangs,
                the_longest_times_harm_no_worker,
                a_job_begun_after_the_grace_is_given_back,
                a_job_that_comes_back_to_its_worker_ends_the_old_run,
                a_fresh_lock_outlives_failing_beats,
                notes_that_hang_cost_no_lock,
                a_busy_worker_keeps_no_call_from_an_idle_one,
                no_end_overtakes_a_note_on_its_way,
                a_worker_starts_no_more_than_its_rate,
                a_handler_can_slow_its_queue_down,
                a_queues_concurrency_holds_over_all_workers,
                a_handlers_time_is_measured;
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

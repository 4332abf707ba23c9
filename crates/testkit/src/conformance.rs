//! The conformance cases, named as assertions; `docs/states.md` says what each shows. A case is a plain
//! `pub async fn name(h: &impl Harness)` in its family's file and stands once in the list below.

pub mod add;
pub mod control;
pub mod dedup;
pub mod edit;
pub mod events;
pub mod explain;
pub mod flow;
pub mod groups;
pub mod limits;
pub mod locks;
pub mod metrics;
pub mod obliterate;
pub mod read;
pub mod repeat;
pub mod rescue;
pub mod settle;
pub mod spend;
pub mod sweep;
pub mod take;
pub mod worker;

/// Makes one test per case for a harness, which must be named by an absolute path.
#[macro_export]
macro_rules! conformance {
    ($harness:ty) => {
        $crate::every_case! { cases $harness }
    };
}

/// A case under way.
pub type Running = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A case that is run by hand, with its name.
pub type Case = (&'static str, fn() -> Running);

/// All cases for a harness, as [`Case`]s.
#[macro_export]
macro_rules! case_list {
    ($harness:ty) => {
        $crate::every_case! { listed_cases $harness }
    };
}

/// Hands all cases to another macro.
#[macro_export]
#[doc(hidden)]
macro_rules! every_case {
    ($consumer:ident $harness:ty) => {
        $crate::$consumer! { $harness;
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
                retention_of_one_final_state_leaves_the_other_alone,
                retention_is_applied_when_all_ends_of_a_turn_are_through,
                each_rule_of_a_turn_counts_its_own_ends;
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
                a_rescue_works_while_paused,
                a_rescue_wakes_a_waiter,
                jobs_of_several_takes_come_back_in_the_order_they_were_taken;
            edit:
                promoting_puts_a_delayed_job_behind_what_waits,
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
            sweep:
                clean_removes_what_ended_by_a_time_oldest_first,
                cleaning_an_unfinished_state_is_refused,
                drain_removes_ready_jobs_of_both_kinds_and_nothing_else,
                drain_of_delayed_jobs_removes_only_those,
                no_sweep_touches_an_active_job,
                retry_failed_takes_the_oldest_first_and_keeps_priorities_and_attempts,
                retry_failed_leaves_what_failed_after_its_time,
                promote_delayed_takes_the_next_due_first_and_keeps_priorities,
                a_sweep_is_bounded_and_going_on_reaches_the_end,
                a_choice_among_failed_jobs_is_by_name_kind_text_and_time,
                dead_letters_run_again_in_steps,
                a_choice_among_failed_jobs_can_be_by_group;
            obliterate:
                a_removed_queue_leaves_nothing,
                a_queue_is_removed_in_bounded_steps,
                only_a_paused_queue_without_held_jobs_is_removed,
                a_reader_of_events_learns_that_the_queue_was_removed,
                parents_in_other_queues_go_on_when_a_queue_is_removed;
            events:
                a_plain_job_tells_its_life_in_order,
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
            read:
                counts_agree_with_lists_in_every_state,
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
            explain:
                an_unknown_job_is_not_in_the_queue,
                without_workers_that_is_the_reason,
                a_paused_queue_is_the_deciding_reason,
                a_ready_job_is_behind_those_that_are_taken_before_it,
                more_than_ten_thousand_ahead_are_not_counted,
                a_delayed_job_names_its_time,
                a_failed_attempt_waits_for_its_backoff,
                a_running_job_names_its_worker,
                an_expired_lock_is_a_lost_worker,
                a_finished_job_says_how_it_ended,
                a_kept_job_waits_for_the_owner_of_its_id;
            limits:
                a_rate_lets_so_many_start_in_a_window,
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
                a_limited_job_is_explained,
                a_window_is_as_long_as_the_rate_says_now,
                a_rate_of_no_time_or_of_ages_is_refused;
            metrics:
                ends_are_counted_in_their_minute,
                waits_are_counted_from_becoming_ready,
                run_times_are_counted_once,
                minutes_are_read_in_pages_newest_first,
                minutes_of_more_than_two_weeks_ago_go;
            control:
                a_paused_queue_gives_out_nothing_and_says_so,
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
                an_owner_that_keeps_a_job_owns_the_id_until_its_end,
                each_owner_keeps_a_last_job_of_its_own,
                another_job_under_an_owners_id_is_no_owner;
            repeat:
                a_scheduler_makes_one_job_for_its_first_slot,
                the_same_times_again_keep_the_slot_and_double_nothing,
                other_times_keep_no_old_slot,
                each_slot_leads_to_one_next_job,
                a_step_from_any_other_slot_changes_nothing,
                dropping_a_scheduler_takes_its_delayed_job_along,
                a_taken_job_outlives_a_new_definition,
                a_slot_in_which_a_job_stands_is_refused,
                a_scheduler_at_its_limit_or_end_rests,
                a_scheduler_without_a_live_job_is_found_and_moved_on,
                schedulers_are_read_in_pages_by_id,
                unfit_schedulers_are_refused,
                schedulers_are_there_after_reopening,
                a_job_beyond_its_tolerance_is_handed_out_as_expired,
                a_run_that_has_not_ended_holds_up_the_next_one,
                a_run_that_is_waited_for_does_not_stand_still,
                a_job_that_is_tried_again_outlives_put_and_drop,
                a_slot_is_noted_once_with_the_step_from_it,
                the_newest_hundred_ticks_are_kept_while_their_scheduler_is,
                a_slot_whose_job_is_gone_is_noted_when_it_is_put_again,
                ticks_are_there_after_reopening;
            spend:
                a_budget_gives_its_burst_and_fills_steadily,
                a_spend_is_granted_whole_or_not_at_all,
                what_was_really_used_is_made_up_for,
                a_budget_is_shared_by_all_handles,
                a_spend_out_of_bounds_is_refused,
                a_budget_is_there_after_reopening;
            flow:
                parents_wait_while_leaves_are_ready,
                the_last_child_releases_its_parent_in_front,
                a_parent_of_the_same_queue_is_taken_in_the_turn_of_its_last_child,
                a_parent_with_a_delay_is_delayed_from_its_release,
                a_release_wakes_a_waiter_of_the_parents_queue,
                a_tree_over_three_queues_runs_from_its_leaves_up,
                flows_are_there_after_reopening,
                a_failed_child_without_a_policy_is_named,
                a_failed_child_fails_its_parent_and_that_its_own,
                failing_a_parent_waits_for_nothing,
                a_parent_can_go_on_without_its_children,
                an_ignored_failure_counts_as_done,
                a_removed_failure_leaves_no_trace,
                an_attempt_that_will_be_tried_again_tells_no_parent,
                a_child_that_is_not_kept_counts_all_the_same,
                a_retried_child_is_pending_again,
                a_removed_child_is_waited_for_no_longer,
                a_failed_child_that_goes_releases_its_parent,
                results_outlive_their_children,
                a_detached_child_is_nobodys,
                children_of_a_removed_parent_run_on,
                a_tree_is_removed_unless_a_worker_holds_any_of_it,
                children_that_have_not_begun_are_removed,
                a_job_that_is_there_becomes_a_child,
                a_child_of_another_parent_is_refused_with_its_flow,
                a_flow_added_twice_is_there_once,
                a_parent_gets_more_children,
                children_of_an_ended_parent_are_refused,
                a_job_never_waits_for_itself,
                a_running_parent_waits_for_children_that_it_added,
                waiting_for_nothing_gives_the_job_back,
                a_running_parent_that_is_to_fail_waits_for_nothing,
                a_parent_may_end_before_its_children,
                a_handler_adds_children_and_sees_their_results,
                flows_out_of_bounds_are_refused_and_handed_back,
                a_parent_has_at_most_ten_thousand_children,
                children_are_read_in_pages,
                unfit_flows_are_refused_by_name,
                a_flow_outlives_every_fault_of_its_workers,
                a_canceled_parent_waits_for_nobody,
                a_flow_of_one_job_may_be_deduplicated,
                a_parent_takes_its_turn_in_its_group;
            groups:
                a_tenant_with_many_jobs_delays_another_by_one_turn,
                jobs_without_a_group_go_first,
                groups_take_turns_and_within_one_the_oldest_goes_first,
                a_weight_is_a_share_of_the_turns,
                a_group_that_was_away_has_no_claim_to_turns_missed,
                a_new_weight_holds_at_once,
                a_queues_own_limits_stand_above_its_groups,
                groups_of_two_queues_are_independent,
                resuming_a_take_of_groups_returns_the_same_jobs,
                a_paused_group_gives_out_nothing_and_the_others_go_on,
                no_more_of_a_group_are_active_than_its_cap,
                a_group_starts_no_more_than_its_rate,
                doomed_jobs_of_a_group_do_not_count_as_starts,
                defaults_hold_for_groups_without_settings,
                lifted_defaults_reach_every_group,
                a_hold_keeps_one_group_back_until_its_time,
                many_groups_whose_time_has_come_are_woken_in_steps,
                slowing_down_a_group_gives_the_job_back_and_holds_the_group,
                every_way_out_of_active_frees_the_groups_slot,
                a_vanished_worker_keeps_no_slot_of_a_group,
                a_given_back_job_goes_to_the_front_of_its_group,
                stalled_jobs_go_to_the_front_of_their_group,
                lifo_goes_to_the_front_of_the_group,
                retried_jobs_go_to_the_back_of_their_group,
                delayed_jobs_join_their_group_when_they_are_due,
                deduplicated_and_scheduled_jobs_have_groups,
                removing_a_head_brings_the_next,
                draining_reaches_every_job_of_every_group,
                a_group_without_jobs_or_settings_is_forgotten,
                a_group_is_remembered_while_its_window_or_hold_lasts,
                groups_are_read_in_pages_with_their_counts,
                unfit_groups_are_refused,
                groups_are_there_after_reopening,
                a_job_of_a_group_is_explained,
                any_history_of_groups_goes_as_specified;
            worker:
                a_worker_completes_jobs_and_its_caller_reads_the_outcome,
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
                an_idle_worker_starts_what_is_left_when_the_window_is_over,
                a_worker_slowed_by_its_own_rate_passes_calls_on,
                a_handlers_time_is_measured,
                a_worker_runs_a_scheduler_to_its_limit,
                lost_answers_and_two_workers_double_no_scheduled_job,
                a_worker_moves_on_a_scheduler_that_stands_still,
                a_step_that_the_store_refuses_is_made_up_for,
                each_misfire_policy_does_what_it_says_about_missed_slots,
                runs_that_must_not_overlap_wait_for_each_other,
                no_end_of_a_run_ends_a_schedule_without_overlap,
                a_worker_killed_at_any_call_leaves_every_schedule_going,
                a_worker_is_known_before_its_first_job,
                an_outcome_that_is_there_needs_no_time,
                a_step_that_hangs_holds_up_no_job_for_long,
                a_handler_can_slow_its_group_down,
                an_idle_worker_starts_a_group_when_its_window_is_over,
                a_groups_cap_holds_over_all_workers;
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

#[macro_export]
#[doc(hidden)]
macro_rules! listed_cases {
    ($harness:ty; $($family:ident: $($case:ident),+ $(,)?;)+) => {
        vec![$($((
            concat!(stringify!($family), "::", stringify!($case)),
            (|| Box::pin($crate::harness::run::<$harness>(async |h| $crate::conformance::$family::$case(h).await))) as fn() -> $crate::conformance::Running,
        )),+),+]
    };
}

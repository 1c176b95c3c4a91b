//! What was promised, in short, and the tests that fail without the code that keeps it.
//!
//! The names are those of test functions anywhere below `src` and `tests/it`, but for those that test what tests stand on.

use std::collections::BTreeSet;
use std::path::Path;

/// How many promises each part has.
const PARTS: &[(char, u32)] = &[('A', 9), ('B', 9), ('C', 5), ('D', 9), ('E', 10)];

struct Promise {
    id: &'static str,
    /// For the reader of the table.
    what: &'static str,
    tests: &'static [&'static str],
}

const fn promise(id: &'static str, what: &'static str, tests: &'static [&'static str]) -> Promise {
    Promise { id, what, tests }
}

const TABLE: &[Promise] = &[
    promise(
        "A1",
        "one answer for each id, whatever happens",
        &[
            "under_random_schedules_every_request_is_answered_once_and_nothing_is_left",
            "a_reset_a_close_or_a_stall_at_any_point_of_an_answer_is_one_error",
            "a_request_that_comes_on_the_way_out_is_answered_and_not_sent",
            "a_reinitialize_without_response_ends_in_errors",
            "events_that_mean_harm_are_one_answer_and_spoil_no_other",
            "an_event_id_that_no_header_can_carry_ends_in_one_error",
            "a_request_id_in_use_is_refused_and_free_again_after_its_answer",
        ],
    ),
    promise(
        "A2",
        "stdout holds whole lines of UTF-8 and nothing else",
        &[
            "bytes_that_are_no_utf_8_become_one_answer_in_utf_8",
            "an_answer_that_breaks_off_is_one_error",
            "a_reader_that_goes_with_its_input_leaves_nothing_behind",
        ],
    ),
    promise(
        "A3",
        "text passes as it is; 1 and \"1\" are two ids",
        &[
            "an_answer_reaches_the_client_byte_for_byte",
            "a_request_reaches_the_server_byte_for_byte",
            "newlines_between_tokens_become_spaces",
            "ids_of_every_kind_are_answered_under_their_own_spelling",
            "a_number_and_a_string_are_different_ids",
        ],
    ),
    promise(
        "A4",
        "depth and size do no harm",
        &[
            "nesting_of_any_depth_passes_or_is_refused_but_never_crashes",
            "large_messages_pass_both_ways",
            "a_message_beyond_the_limit_is_an_error_and_the_next_one_works",
            "endless_lines_and_bodies_end_at_the_limit_and_cost_no_more_than_it",
        ],
    ),
    promise(
        "A5",
        "a bad line is answered, an odd line is read",
        &[
            "a_bad_line_is_answered_and_the_next_one_works",
            "bytes_that_no_client_would_send_are_answered_and_the_next_line_works",
            "a_byte_order_mark_and_a_last_line_without_an_end_are_accepted",
            "every_line_end_a_bom_and_a_missing_end_are_accepted_in_any_chunks",
        ],
    ),
    promise(
        "A6",
        "a body that is not what it says is one error, or is taken where it is clear",
        &[
            "an_answer_that_is_no_message_is_one_error",
            "an_answer_without_or_with_an_odd_content_type_is_taken_if_it_is_one",
            "an_http_error_is_told_with_its_status_and_first_line",
            "a_json_rpc_error_in_an_http_error_passes_unchanged",
            "a_result_for_another_id_is_not_believed",
            "a_length_that_is_a_lie_is_one_answer_and_spoils_no_other",
        ],
    ),
    promise(
        "A7",
        "notifications are never answered, foreign ids never believed",
        &[
            "under_random_schedules_every_request_is_answered_once_and_nothing_is_left",
            "a_result_for_another_id_is_not_believed",
        ],
    ),
    promise(
        "A8",
        "batches; requests run side by side; cancellations pass",
        &[
            "batches_are_taken_apart_both_ways",
            "slow_calls_run_side_by_side",
            "a_cancellation_passes_a_slow_call",
        ],
    ),
    promise(
        "A9",
        "the server's own requests reach the client, and their answers the server",
        &[
            "requests_of_the_server_and_their_answers_pass_both_ways",
            "a_request_of_the_server_under_an_id_of_the_clients_confuses_neither",
            "a_server_request_on_the_standing_stream_is_not_lost_to_an_early_call",
            "answers_for_a_server_that_is_away_do_not_pile_up",
        ],
    ),
    promise(
        "B1",
        "nothing is done twice; what is safe is tried again",
        &[
            "a_call_that_may_have_been_made_is_not_made_again",
            "a_tool_call_is_repeated_only_when_the_server_says_it_did_nothing",
            "a_request_that_may_have_arrived_may_not",
            "a_reset_a_close_or_a_stall_at_any_point_of_an_answer_is_one_error",
            "a_connection_that_the_server_has_closed_after_an_answer_is_not_used_again",
        ],
    ),
    promise(
        "B2",
        "HTTP as it is written",
        &[
            "interim_answers_chunk_extensions_and_trailers_are_understood",
            "a_body_ended_by_the_connection_is_whole",
            "compressed_answers_are_read",
            "an_answer_that_breaks_the_rules_of_http_is_one_answer_and_spoils_no_other",
            "a_length_that_is_a_lie_is_one_answer_and_spoils_no_other",
            "a_compressed_answer_that_is_cut_or_damaged_is_one_error",
        ],
    ),
    promise(
        "B3",
        "each step has its limit, and the limit its name",
        &[
            "a_silent_server_is_told_by_the_limit_it_broke",
            "a_stream_that_opens_and_names_no_endpoint_keeps_nobody_waiting",
            "the_end_of_the_session_is_not_waited_for_once_its_answer_has_begun",
            "comments_without_end_cost_no_memory_and_the_answer_after_them_counts",
            "a_request_that_takes_too_long_is_answered_and_cancelled",
            "interim_answers_without_end_are_one_error_in_bounded_memory",
        ],
    ),
    promise(
        "B4",
        "event streams by the book, in any pieces",
        &[
            "every_line_end_separates_lines",
            "a_byte_order_mark_is_skipped_once",
            "comments_unknown_fields_and_an_unfinished_event_are_dropped",
            "ids_with_nul_and_retries_that_are_no_number_are_ignored",
            "invalid_utf_8_is_replaced_and_characters_survive_any_split",
            "an_event_stream_is_read_whatever_its_chunk_borders",
        ],
    ),
    promise(
        "B5",
        "broken streams are resumed, or end in one error",
        &[
            "a_stream_ended_before_the_answer_is_resumed_after_its_last_event",
            "a_stream_that_breaks_without_event_ids_is_one_error",
            "a_resumption_the_server_refuses_is_one_error",
            "the_standing_stream_is_opened_once_and_again_where_it_broke",
            "pauses_double_up_to_their_limit_and_stay_near_it",
        ],
    ),
    promise(
        "B6",
        "a lost session is renewed once for all",
        &[
            "a_session_lost_with_404_is_renewed_once_for_all_calls_that_met_it",
            "a_session_lost_with_a_400_that_is_not_about_the_request_is_renewed_too",
            "if_the_renewal_fails_each_call_gets_one_error_and_the_next_tries_afresh",
            "a_reinitialize_without_response_ends_in_errors",
            "a_404_of_the_old_session_that_comes_after_its_renewal_ends_no_other",
        ],
    ),
    promise(
        "B7",
        "busy and absent servers are waited for, within bounds",
        &[
            "a_busy_server_is_asked_again_when_it_says",
            "a_server_busy_for_long_is_told_at_once",
            "a_time_to_wait_beyond_any_clock_ends_nothing",
            "a_server_that_starts_late_is_waited_for",
            "without_a_server_the_client_is_told_and_the_process_stays",
        ],
    ),
    promise(
        "B8",
        "redirects stay at home, and so do credentials",
        &[
            "redirects_within_the_origin_are_followed_with_method_body_and_headers",
            "redirects_elsewhere_are_errors_and_nothing_is_sent_there",
            "other_redirects_are_errors_that_name_the_target",
            "a_cookie_goes_back_to_its_own_origin_and_path_only",
        ],
    ),
    promise(
        "B9",
        "what a peer sends without end costs bounded memory and time",
        &[
            "endless_headers_are_one_error",
            "cookies_in_any_number_do_not_end_what_a_server_takes",
            "endless_lines_and_bodies_end_at_the_limit_and_cost_no_more_than_it",
            "comments_without_end_cost_no_memory_and_the_answer_after_them_counts",
            "a_compressed_bomb_ends_at_the_limit_and_costs_no_more_than_it",
            "a_huge_document_is_not_read_to_its_end",
            "a_length_that_is_only_promised_takes_no_memory",
            "connections_that_come_and_go_leave_little_memory_behind",
        ],
    ),
    promise(
        "C1",
        "the end of stdin, a signal or a closed stdout ends it in order",
        &[
            "the_end_of_stdin_ends_the_process_in_every_phase",
            "signals_end_the_session_and_the_process",
            "a_closed_stdout_ends_the_process",
            "a_second_signal_is_obeyed_while_the_first_one_ends_the_session",
            "a_reader_that_goes_with_its_input_leaves_nothing_behind",
            "notifications_that_wait_for_one_another_cost_no_time_of_the_processor",
            "as_process_1_a_signal_ends_it_in_order_and_children_that_ended_do_not_matter",
            "a_full_disk_under_stdout_is_told_and_ends_the_session_in_order",
        ],
    ),
    promise(
        "C2",
        "a client that does not read stops the flow, not the process",
        &[
            "a_client_that_does_not_read_stops_the_flow_and_memory_stays_flat",
            "a_producer_waits_until_something_was_consumed",
            "requests_that_keep_coming_behind_a_blocked_reader_cost_little_and_are_all_answered",
        ],
    ),
    promise(
        "C3",
        "a panic becomes answers",
        &[
            "a_panic_in_a_worker_ends_its_exchange",
            "a_panic_of_the_bridge_answers_open_requests_and_ends_the_process",
            "a_reader_or_writer_that_panics_ends_the_bridge",
            "files_are_short_begin_with_what_they_are_and_do_not_panic",
        ],
    ),
    promise(
        "C4",
        "jumps of the clock and sleep are survived",
        &[
            "under_random_schedules_every_request_is_answered_once_and_nothing_is_left",
            "a_sign_in_is_over_after_ten_minutes_and_when_the_clock_jumped",
            "after_a_night_streams_are_open_again_tokens_refreshed_once_and_nobody_is_asked",
            "expired_tokens_that_npm_wrote_are_refreshed_without_a_browser",
        ],
    ),
    promise(
        "C5",
        "disks, homes and descriptors may be missing",
        &[
            "a_full_disk_under_the_log_file_stops_nothing",
            "without_a_home_a_session_works_and_says_nothing_on_stdout",
            "without_a_writable_home_the_session_works_and_says_so",
            "damaged_files_are_ignored_with_a_warning",
            "a_failed_write_leaves_the_old_file_and_nothing_else",
            "without_file_descriptors_each_request_is_answered_and_later_ones_work",
            "without_threads_each_request_is_answered_and_later_ones_work",
            "files_of_every_kind_that_are_empty_cut_or_zeroed_do_not_stop_a_sign_in",
            "what_given_up_sign_ins_have_left_is_swept_when_another_begins",
        ],
    ),
    promise(
        "D1",
        "challenges in every form, and none at all",
        &[
            "the_parameters_of_a_bearer_challenge_are_read_in_any_case_and_spacing",
            "the_bearer_challenge_is_found_among_others",
            "what_cannot_be_read_is_left_out_and_never_panics",
            "without_a_hint_the_path_form_is_looked_for_first",
        ],
    ),
    promise(
        "D2",
        "metadata in each place, in order, believed only if it is right",
        &[
            "the_places_are_those_of_the_specification_in_its_order",
            "metadata_of_another_resource_is_refused",
            "metadata_of_another_issuer_is_refused_with_both_names",
            "a_circle_of_redirects_ends",
            "metadata_is_asked_for_again_after_a_hiccup",
            "a_place_of_server_metadata_that_is_in_trouble_does_not_hide_the_next_one",
            "server_metadata_that_is_in_trouble_everywhere_is_told_and_nothing_is_guessed",
        ],
    ),
    promise(
        "D3",
        "tokens of every kind, the newest on disk before it is used",
        &[
            "the_life_of_a_token_may_be_written_in_any_way",
            "an_unknown_token_type_is_refused",
            "a_refresh_token_that_is_not_replaced_is_kept",
            "the_newest_token_is_on_disk_before_it_is_used",
            "a_refresh_killed_at_any_change_leaves_the_old_or_the_new_tokens_and_no_lease",
            "a_sign_in_killed_at_any_change_leaves_the_old_or_the_new_tokens_and_can_be_made_again",
            "a_first_sign_in_killed_after_its_code_was_redeemed_is_not_lost_to_tidying_up",
            "a_sign_out_killed_at_any_change_leaves_the_old_tokens_or_none",
        ],
    ),
    promise(
        "D4",
        "one refresh at a time, in all threads and processes",
        &[
            "ten_refused_requests_cause_one_refresh_and_get_ten_answers",
            "two_processes_refresh_once",
            "a_sibling_that_refreshed_is_believed",
            "of_many_at_once_one_does_the_work",
            "the_lease_is_renewed_before_each_request_for_tokens",
            "tries_end_before_a_lease_does",
            "what_is_valid_once_is_not_sent_again_if_its_response_was_lost",
            "logging_out_waits_for_a_refresh_that_is_under_way_and_revokes_what_it_got",
        ],
    ),
    promise(
        "D5",
        "only a dead grant asks a person; trouble costs no token",
        &[
            "a_dead_grant_leads_to_one_new_sign_in",
            "a_registration_that_was_forgotten_is_replaced_once",
            "a_token_endpoint_in_trouble_opens_no_browser_and_costs_no_token",
            "a_token_that_is_refused_at_once_ends_in_words_not_in_a_loop",
            "nothing_is_sent_again_while_a_person_signs_in",
        ],
    ),
    promise(
        "D6",
        "whatever the person does ends as they expect",
        &[
            "a_person_who_declines_gets_a_page_and_the_client_the_reason_at_once",
            "after_the_timeout_the_client_gets_the_address_and_the_sign_in_stays_open",
            "a_second_visit_to_a_finished_sign_in_is_answered_or_refused_but_harmless",
            "a_host_that_restarts_the_process_finds_the_same_sign_in_again",
        ],
    ),
    promise(
        "D7",
        "several instances, one window",
        &[
            "two_instances_open_one_window_and_are_both_signed_in",
            "instances_that_start_together_open_one_window",
            "when_the_leader_dies_another_takes_over_and_the_open_tab_still_works",
        ],
    ),
    promise(
        "D8",
        "without a browser here, from elsewhere",
        &[
            "without_a_browser_the_printed_address_works",
            "no_browser_means_that_none_is_opened",
            "without_a_browser_the_address_it_was_sent_to_is_pasted",
            "browser_is_honoured_without_a_display_and_over_ssh",
        ],
    ),
    promise(
        "D9",
        "more scope is asked for, but not for ever",
        &[
            "a_request_that_needs_more_scope_asks_for_the_union_and_is_repeated",
            "scope_that_is_never_enough_ends_in_words",
        ],
    ),
    promise(
        "E1",
        "state once and exactly, codes once, PKCE always",
        &[
            "a_wrong_or_missing_state_is_refused_and_changes_nothing",
            "a_callback_that_comes_twice_redeems_one_code",
            "a_person_signs_in_once_and_everything_after_carries_the_token",
            "the_challenge_is_that_of_the_standards_example",
            "a_code_whose_answer_was_lost_is_not_sent_again",
        ],
    ),
    promise(
        "E2",
        "what another issuer says is neither used nor shown",
        &[
            "an_answer_from_another_issuer_is_not_used",
            "an_error_from_another_issuer_is_not_shown",
            "nothing_of_a_foreign_response_is_shown",
        ],
    ),
    promise(
        "E3",
        "the listener of a sign-in: loopback only, known paths only, unharmed by floods",
        &[
            "the_listener_knows_its_paths_its_host_and_get_only",
            "the_listener_is_there_before_the_browser_and_accepts_no_code_after_the_sign_in",
            "a_listener_that_is_flooded_reset_and_stalled_still_completes_the_sign_in",
            "nothing_from_outside_becomes_markup",
            "responses_close_are_not_cached_and_send_no_referrer",
            "a_listener_that_ran_out_of_descriptors_completes_the_sign_in",
            "a_second_sign_in_gets_its_callback_over_connections_opened_before_the_first_one_ended",
        ],
    ),
    promise(
        "E4",
        "addresses from the network are parsed before they are used",
        &[
            "only_http_addresses_are_opened",
            "only_web_addresses_are_opened",
            "only_https_and_this_machine_are_believed_from_the_network",
            "endpoints_are_https_or_on_this_machine",
        ],
    ),
    promise(
        "E5",
        "nobody leads us into a private network",
        &[
            "addresses_that_only_the_inside_can_reach_are_not_asked",
            "a_redirect_of_metadata_into_the_network_is_not_followed",
            "no_server_may_refer_to_a_more_private_network_than_its_own",
            "the_address_that_was_checked_is_the_one_that_is_used",
            "where_the_server_was_found_counts_although_its_name_has_moved_since",
            "a_server_that_was_public_may_not_refer_to_private_networks_after_its_address_changed",
        ],
    ),
    promise(
        "E6",
        "tokens and headers go where they belong",
        &[
            "tokens_of_one_server_are_not_sent_to_another",
            "configured_headers_do_not_go_to_the_authorization_server",
            "another_issuer_means_another_registration_and_no_old_token",
            "a_redirect_of_metadata_is_followed_without_credentials",
            "a_token_endpoint_that_redirects_is_not_followed",
        ],
    ),
    promise(
        "E7",
        "secrets are in no log, no argument and no file of others",
        &[
            "secrets_reach_the_server_and_nothing_else",
            "a_sign_in_a_refresh_and_a_dead_grant_tell_no_secret",
            "files_and_directory_are_their_owners_alone",
            "a_link_in_the_place_of_a_file_leads_nowhere",
            "a_state_cannot_lead_out_of_the_directory",
            "failures_tell_no_secret_even_if_the_server_does",
        ],
    ),
    promise(
        "E8",
        "a bad certificate is refused with the reason, before anything is sent",
        &[
            "a_certificate_of_an_unknown_authority_is_refused_and_nothing_is_sent",
            "an_expired_certificate_and_one_for_another_host_are_refused_with_the_reason",
            "without_the_clients_certificate_a_server_that_wants_one_gets_nothing",
        ],
    ),
    promise(
        "E9",
        "plain http only here, or where it was allowed",
        &[
            "only_encrypted_addresses_and_this_machine_are_taken",
            "an_issuer_on_plain_http_elsewhere_is_refused",
            "redirects_elsewhere_are_errors_and_nothing_is_sent_there",
        ],
    ),
    promise(
        "E10",
        "text from the network is cleaned before a terminal sees it",
        &[
            "control_sequences_do_not_survive_cleaning",
            "text_from_the_authorization_server_becomes_no_markup_and_no_control_characters",
            "what_is_shown_holds_no_password_and_no_query",
        ],
    ),
];

#[test]
fn every_promise_has_its_tests_and_every_test_that_is_named_exists() {
    let expected: Vec<String> = PARTS
        .iter()
        .flat_map(|(part, count)| (1..=*count).map(move |number| format!("{part}{number}")))
        .collect();
    let ids: Vec<&str> = TABLE.iter().map(|promise| promise.id).collect();
    assert_eq!(ids, expected);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeSet::new();
    find_tests(&root.join("src"), &mut tests);
    find_tests(&root.join("tests/it"), &mut tests);
    for Promise {
        id,
        what,
        tests: named,
    } in TABLE
    {
        assert!(!what.is_empty() && !named.is_empty(), "{id} is empty");
        for name in *named {
            assert!(tests.contains(*name), "{id}: there is no test {name}");
        }
    }
}

/// The names of the test functions below a folder.
fn find_tests(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .is_some_and(|name| name == "sign_in_support.rs")
        {
            continue;
        }
        if path.is_dir() {
            find_tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for after in text.split("#[test]\n").skip(1) {
                let name = after
                    .split("fn ")
                    .nth(1)
                    .and_then(|rest| rest.split('(').next());
                found.extend(name.map(str::to_owned));
            }
        }
    }
}

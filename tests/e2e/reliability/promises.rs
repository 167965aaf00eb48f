//! The promises, and who tries to break each.

/// A promise with its tests.
pub(super) struct Promise {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    /// What is tried, the file, and the tests in it.
    pub(super) tests: &'static [(&'static str, &'static str, &'static [&'static str])],
}

pub(super) const PROMISES: [Promise; 7] = [
    Promise {
        title: "Accepted means durable",
        text: "An answer that something is accepted, by a node, a broker or a recipient, follows the commit, and the commit its fsync.",
        tests: &[
            (
                "`kill -9` of sender, broker and recipient at each of eight steps of a message's way: 24 tests",
                "tests/e2e/kills.rs",
                &[],
            ),
            (
                "what a power cut may leave of a node's database, at each of its syncs, and a disk that lets one sync pass",
                "node/src/writer/tests/images.rs",
                &[
                    "whatever_a_crash_leaves_of_a_nodes_database_has_all_that_was_answered_once_and_in_order",
                    "one_sync_that_a_disk_lets_pass_is_found_in_a_nodes_images_whichever_answer_rests_on_it",
                ],
            ),
            (
                "the same of a broker's database",
                "broker/src/accept/tests/images.rs",
                &[
                    "whatever_a_crash_leaves_of_a_brokers_database_it_goes_on_with_all_that_was_answered",
                    "one_sync_that_a_disk_lets_pass_is_found_in_a_brokers_images_whichever_answer_rests_on_it",
                ],
            ),
            (
                "a sync that fails",
                "tests/e2e/faults/sync.rs",
                &[
                    "a_send_whose_sync_fails_is_not_acknowledged_the_node_ends_and_a_new_start_goes_on_from_the_disk",
                    "a_message_that_comes_in_while_syncs_fail_has_no_receipt_until_it_is_on_the_disk",
                    "a_broker_whose_sync_fails_acknowledges_nothing_ends_and_all_mail_arrives_once_the_disk_is_well",
                ],
            ),
            (
                "a disk that is full or read-only",
                "tests/e2e/disk.rs",
                &[
                    "a_full_disk_refuses_sends_says_so_and_takes_them_again_once_there_is_room",
                    "a_disk_that_is_read_only_stops_the_node_with_what_is_wrong_and_it_goes_on_where_it_was",
                    "a_brokers_full_disk_ends_links_acknowledges_nothing_and_lets_mail_go_on_once_there_is_room",
                    "a_brokers_disk_that_is_read_only_refuses_its_start_with_what_is_wrong_and_it_goes_on_where_it_was",
                ],
            ),
            (
                "a broker's store that fails",
                "broker/tests/broker/restart.rs",
                &["a_store_that_fails_stops_the_broker_and_answers_nothing", "a_restart_keeps_everything"],
            ),
            (
                "a database server that goes away in the middle of a commit",
                "broker/tests/broker/postgres.rs",
                &["a_server_that_restarts_costs_the_links_and_nothing_else"],
            ),
            (
                "a write-ahead log that is damaged in its middle",
                "tests/e2e/damage.rs",
                &["a_log_of_the_database_that_is_damaged_in_the_middle_is_noticed_and_loses_no_mail"],
            ),
        ],
    },
    Promise {
        title: "At least once on the wire, exactly once in the inbox",
        text: "Every hop tries again until the next has committed, and looks the id up in the transaction that would store it.",
        tests: &[
            (
                "kills, restarts, cut, half open, silent, slow and split links, lost stores, by seed",
                "tests/e2e/prove.rs",
                &[
                    "twenty_kills_lose_repeat_and_reorder_nothing_and_leave_nothing_behind",
                    "five_hundred_seeded_schedules_lose_repeat_and_reorder_nothing",
                    "kills_by_the_thousand_lose_repeat_and_reorder_nothing",
                ],
            ),
            (
                "the judge is given something to find",
                "tests/e2e/prove.rs",
                &[
                    "a_message_that_no_app_of_the_run_has_sent_fails_it_with_the_seed_the_story_and_the_history",
                    "a_seed_repeats_its_faults_and_a_kept_history_is_judged_again",
                ],
            ),
            (
                "a model of outbox, link, broker and inbox in every state within bounds: crashes, loss, copies, a lost store, a set-back, new seals",
                "node/src/models/delivery/mod.rs",
                &[
                    "through_two_crashes_and_a_lost_store_each_accepted_message_arrives_once_and_in_order",
                    "a_store_that_is_set_back_loses_nothing_and_repeats_nothing",
                    "what_is_sealed_anew_for_a_store_that_is_set_back_arrives_once_and_in_order",
                    "what_is_refused_for_now_repeated_or_sealed_anew_arrives_once_and_in_order",
                    "a_message_whose_time_is_over_has_arrived_or_is_reported_and_nothing_waits_for_it",
                    "without_each_rule_of_delivery_the_model_finds_what_goes_wrong",
                ],
            ),
            (
                "kills and cut links in a random order while both sides send",
                "tests/e2e/storm.rs",
                &["nothing_is_lost_repeated_or_reordered_in_a_storm_of_faults"],
            ),
            (
                "one id, again and again, at once, and with another content",
                "tests/e2e/identity.rs",
                &[
                    "the_same_id_sent_fifty_times_at_once_is_one_message",
                    "a_repeated_send_answers_with_what_became_of_the_first",
                    "the_same_id_with_another_content_is_refused_whoever_comes_first",
                ],
            ),
            (
                "a broker that repeats and drops deliveries",
                "tests/e2e/hostile.rs",
                &["deliveries_that_are_repeated_or_lost_are_shown_once"],
            ),
            (
                "a message that both ends have forgotten but for its id",
                "tests/e2e/retention.rs",
                &["a_message_pruned_at_both_ends_is_a_duplicate_when_its_app_sends_it_again"],
            ),
            ("streams and polls while everything around them is killed", "tests/e2e/streams.rs", &[]),
            (
                "replays and lost settlements between the product and a second implementation",
                "tests/interop/test_exchange.py",
                &[
                    "test_a_replay_is_shown_once_there_and_receipted_each_time",
                    "test_what_comes_again_after_a_lost_settlement_is_shown_once_here",
                ],
            ),
            (
                "retries at the broker",
                "broker/tests/broker/accept.rs",
                &["a_retry_is_a_duplicate_of_the_first", "the_same_item_fifty_times_at_once_is_one_row"],
            ),
        ],
    },
    Promise {
        title: "End to end",
        text: "A sender keeps a message until the recipient's receipt or its expiry. A broker that loses its store, or is set back to an \
               older one, loses no mail.",
        tests: &[
            (
                "the broker's store deleted, and set back to a copy",
                "tests/e2e/loss.rs",
                &[
                    "a_broker_that_loses_its_whole_store_loses_no_mail",
                    "a_broker_that_is_set_back_to_an_older_copy_loses_no_mail",
                    "a_receipt_that_was_lost_with_the_store_is_given_again",
                ],
            ),
            (
                "a broker restored from its backup",
                "tests/e2e/broker.rs",
                &["a_broker_restored_from_a_backup_loses_no_mail"],
            ),
            (
                "ten thousand messages for somebody who is away",
                "tests/e2e/absence.rs",
                &["ten_thousand_messages_for_an_absent_node_arrive_in_order_when_it_comes"],
            ),
            (
                "receipts that come late, or are made up",
                "tests/e2e/receipts.rs",
                &[
                    "a_receipt_counts_after_the_sender_has_restarted",
                    "a_receipt_counts_after_its_session_has_ended",
                    "a_receipt_for_an_earlier_seal_counts_after_a_re_seal",
                    "a_receipt_that_the_broker_made_up_is_not_believed",
                    "what_has_its_time_while_the_brokers_answer_is_missing_may_have_arrived_and_says_so",
                ],
            ),
            (
                "a clock that is set",
                "tests/e2e/faults/clock.rs",
                &["a_clock_that_is_set_ends_no_message_and_has_nothing_forgotten"],
            ),
        ],
    },
    Promise {
        title: "Order",
        text: "Messages of one lane (sender, recipient, priority) are shown in the order in which their node accepted them; one that is \
               overdue by a minute is passed over, shown late and reported.",
        tests: &[
            (
                "a refusal in the middle of a batch, and a sender that is too fast",
                "tests/e2e/order.rs",
                &[
                    "a_refusal_in_the_middle_of_a_batch_lets_nothing_overtake",
                    "what_is_sent_too_fast_comes_later_once_and_in_order",
                ],
            ),
            (
                "a broker that turns deliveries around",
                "tests/e2e/hostile.rs",
                &[
                    "deliveries_that_are_turned_around_are_shown_in_their_order",
                    "a_member_who_lies_about_its_counters_disturbs_only_its_own_lane",
                ],
            ),
            (
                "any order of arrival, and one that never comes",
                "node/src/lane.rs",
                &[
                    "any_order_of_arrival_ends_with_everything_placed",
                    "an_overdue_message_is_passed_over_and_shown_late",
                ],
            ),
            (
                "new keys in the middle of a lane",
                "tests/e2e/copies.rs",
                &["accepting_a_host_loses_no_mail_keeps_its_order_and_kills_the_copy"],
            ),
        ],
    },
    Promise {
        title: "What the broker learns, and cannot do",
        text: "Who writes to whom and when, sizes in classes, and the membership log. It can delay and drop, which the sender sees. Everything \
               that it cannot do is in [security.md](security.md#the-broker), claim by claim, with the test of each.",
        tests: &[
            (
                "every file, log and frame is searched after a busy run",
                "tests/e2e/privacy.rs",
                &["plaintext_apps_and_ids_are_in_no_file_of_the_broker_and_bodies_in_no_file_of_a_node"],
            ),
            (
                "the same for topics, requests, leases, claims, state and files, in metrics too, and for keys, tokens and recovery words",
                "tests/e2e/privacy.rs",
                &["what_apps_do_together_leaves_no_name_value_or_secret_where_it_does_not_belong"],
            ),
            (
                "a second implementation, from the protocol's text alone, behind a relay that changes what passes",
                "tests/interop/test_exchange.py",
                &[
                    "test_what_the_broker_changes_is_refused_here_and_the_product_seals_it_anew",
                    "test_a_flipped_bit_is_refused_there_by_a_signed_nack_and_sealed_anew_it_arrives",
                    "test_a_forged_receipt_is_not_believed_there",
                    "test_a_forged_receipt_or_nack_is_not_believed_here",
                ],
            ),
            (
                "boxes changed, replayed and moved",
                "tests/e2e/tampering.rs",
                &[
                    "a_box_changed_by_its_last_bit_never_reaches_an_app",
                    "a_replayed_box_is_shown_once_and_vouches_for_nothing_else",
                    "a_box_moved_to_another_recipient_never_reaches_its_apps",
                ],
            ),
            (
                "a broker that lies about the log",
                "tests/e2e/forks.rs",
                &[
                    "two_logs_are_found_out_by_the_first_message_and_a_resume_ends_it",
                    "a_broker_that_shows_another_log_than_before_stops_that_mesh_alone_and_it_shows",
                ],
            ),
            (
                "refusals, logins and copies that a broker made up",
                "tests/e2e/hostile.rs",
                &[
                    "a_refusal_that_the_broker_made_up_is_not_believed",
                    "a_login_number_given_twice_is_not_taken_and_mail_goes_on",
                    "a_copy_that_the_broker_made_up_is_told_and_stops_nothing",
                ],
            ),
        ],
    },
    Promise {
        title: "One host owns a node",
        text: "A copied, cloned or rolled-back node is refused until a person says `waxwing node accept-host`; an honest one never is.",
        tests: &[
            (
                "another host, a wiped or edited record",
                "tests/e2e/host.rs",
                &[
                    "a_node_on_another_host_is_refused_touches_nothing_and_works_again_on_its_own",
                    "a_wiped_or_edited_host_record_is_refused",
                ],
            ),
            (
                "copies, snapshots, set-backs",
                "tests/e2e/copies.rs",
                &[
                    "a_copied_folder_on_the_same_machine_is_refused_and_the_mesh_is_told",
                    "a_snapshot_reverted_after_one_long_connection_is_refused_whether_it_sent_or_received",
                    "a_rolled_back_database_under_a_newer_identity_is_refused",
                    "of_two_live_copies_one_goes_on_and_the_other_is_refused",
                    "a_hundred_restarts_kills_and_cut_links_refuse_nobody",
                ],
            ),
            (
                "every interleaving within bounds, checked exhaustively",
                "protocol/tests/model/main.rs",
                &[
                    "an_honest_node_is_never_refused_whatever_is_lost_restarted_set_back_or_emptied",
                    "a_state_that_is_set_back_behind_what_it_has_shown_is_refused",
                    "without_each_rule_the_model_finds_what_goes_wrong",
                ],
            ),
        ],
    },
    Promise {
        title: "Nothing is silent",
        text: "Every refusal, expiry, drop and repair has a typed reason that reaches the sender or an operator.",
        tests: &[
            (
                "what no app may write, from a member",
                "tests/e2e/hostile.rs",
                &["what_no_app_may_write_is_refused_from_a_member_and_not_shown_with_something_left_out"],
            ),
            (
                "messages that do not arrive",
                "tests/e2e/operators.rs",
                &["a_message_that_does_not_arrive_is_found_given_up_or_sent_again"],
            ),
            (
                "a member that is thrown out, or blocked, with mail on its way",
                "tests/e2e/membership.rs",
                &[
                    "a_revoked_node_is_out_its_mail_goes_back_and_no_invite_lets_it_in_again",
                    "mail_of_a_blocked_member_ends_at_its_sender_and_allowed_again_it_arrives",
                ],
            ),
            (
                "a queue and an outbox that are full",
                "tests/e2e/retention.rs",
                &["an_outbox_that_fills_up_says_so_once_and_again_after_it_was_emptied"],
            ),
            (
                "what expires, at the broker",
                "broker/tests/broker/expiry.rs",
                &[
                    "what_ends_in_the_queue_becomes_a_notice",
                    "a_receipt_for_what_ended_under_way_still_reaches_its_sender",
                ],
            ),
            (
                "a link that is refused",
                "tests/e2e/ends.rs",
                &["a_refusal_stops_one_mesh_and_the_others_go_on_until_none_is_left"],
            ),
            (
                "a damaged database",
                "tests/e2e/damage.rs",
                &[
                    "an_outbox_with_a_damaged_page_is_repaired_and_the_messages_that_are_left_arrive_in_order",
                    "an_inbox_with_a_damaged_page_is_repaired_and_what_is_left_is_read_where_it_was",
                ],
            ),
            (
                "whatever is wrong with a node",
                "tests/e2e/doctor.rs",
                &[
                    "what_others_could_read_or_change_is_named_and_the_command_mends_it",
                    "a_broker_that_is_away_and_mail_that_has_waited_for_hours_are_named",
                ],
            ),
        ],
    },
];

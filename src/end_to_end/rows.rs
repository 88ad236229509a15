//! Which fault is tried where: the rows of the fault catalogue, connections (B), issuers (C), repeats
//! and reversals (D), the process (G), each with the tests that hold it, or with what is missing.
//!
//! Tests named here exist, or this module's own test fails.

/// A row a line: its name, the fault, and behind `:` tests by name, or behind `-` why there is none.
const ROWS: &str = "
B1 a reset right after the request : b1_d15_an_approval_that_nobody_fetches_is_reversed
    b1_an_approval_goes_to_another_connection_of_its_acquirer
    b1_d15_an_approval_waits_for_a_connection_of_its_acquirer
    b1_what_lay_in_a_dead_connection_is_found_wherever_its_card_lives
B2 half-closed with answers to come : b2_a_half_closed_connection_gets_its_answers
    a_connection_half_closed_gets_all_its_answers_and_then_the_end
B3 reconnected while the old connection is open : a_new_connection_takes_the_place_of_the_old_one
B4 a connection's place is another's : b4_an_answer_never_reaches_whoever_took_the_place_of_its_connection
B5 a peer that is not on a list, by address, there is no TLS yet : b5_who_is_no_peer_is_closed_unread
B6 a peer that never reads : b6_a_peer_that_never_reads_is_closed_and_what_it_did_not_get_is_reversed
    a_peer_that_does_not_read_is_not_read_and_then_closed_and_others_are_served
    a_peer_that_reads_again_in_time_gets_every_answer
B7 bytes one by one : b7_bytes_that_drip_are_whole_messages a_request_split_at_any_byte_is_one_request
B8 silence : a_connection_signs_on_and_is_cut_when_it_is_silent
    a_bank_that_hangs_misses_echoes_and_loses_its_link
B9 a request before the sign-on : a_connection_signs_on_and_is_cut_when_it_is_silent
    a_switch_signs_on_before_traffic_and_off_before_it_ends
B10 a sign-off with requests in flight : b10_an_acquirer_that_signs_off_gets_what_is_in_flight
    an_issuer_that_signs_off_is_asked_no_more_until_it_signs_on
B11 ten thousand connections a second from one address :
    b11_who_connects_too_often_is_closed_and_others_are_served
    a_second_s_worth_at_once_and_then_its_rate
B12 no descriptor left : b12_connections_wait_when_no_descriptor_is_left
C1 no link : row_6_the_issuers_link_is_down
    c1_an_issuer_without_a_link_is_refused_and_others_are_served
C2 a link dies with requests in flight : row_7_the_issuers_link_is_cut_with_one_in_flight
    a_connection_that_is_cut_takes_only_its_own_requests_with_it
    c2_a_link_that_is_cut_within_an_answer c2_a_link_that_is_half_closed
    banks_that_die_and_come_back_with_epoll_and_two_shards
C3 no answer : c3_an_answer_that_is_lost row_5_the_issuer_answers_too_late
C4 a late approval : c4_c5_a_late_answer_changes_nothing row_5_the_issuer_answers_too_late
C5 a late decline : c4_c5_a_late_answer_changes_nothing
C6 an answer twice : c6_every_answer_of_the_issuer_comes_twice
C7 an answer to no number : c7_an_answer_to_an_unknown_number_is_nobodys
C8 an answer for another card or more money : c8_c9_an_answer_that_does_not_fit_is_reversed
C9 an answer without a code : c8_c9_an_answer_that_does_not_fit_is_reversed
C10 answers in another order : c10_answers_in_any_order_and_any_portions
C11 garbage : c11_garbage_from_the_issuer
C12 an issuer that becomes slow : c12_a_slow_issuer_takes_no_more_than_its_window
    an_issuer_s_window_is_its_own
C13 an issuer that answers nothing : a_bank_that_answers_nothing_is_given_up_and_taken_back
C14 a link that flaps : c14_a_link_that_flaps
    c14_what_waited_for_another_of_its_card_keeps_to_the_rate_after_an_outage
C15 a part is approved : c15_a_part_is_approved_that_nobody_can_take
    c15_a_partial_approval_counts_in_part_where_the_acquirer_takes_it
C16 an answer by another link : c16_an_answer_comes_by_another_link_of_its_issuer
    an_answer_from_another_issuer_is_never_taken
C17 trace numbers run out, tried on the shard alone, a process has more than a test can use up : numbers_name_their_shard_and_skip_those_in_use_or_quarantine
C18 25 or 21 to a reversal : c18_c21_what_an_issuer_says_to_a_reversal
    c18_not_found_and_no_action_end_the_debt
C19 30 to a reversal three times : c19_an_operator_has_a_refused_reversal_sent_again
    c19_a_released_message_has_its_old_place_among_those_of_its_card
    c19_a_released_message_is_owed_after_a_restart c19_what_is_refused_three_times_is_parked_and_nothing_waits_for_it
    c19_what_is_parked_stays_so_over_a_restart
C20 the switch stands in : c20_what_is_approved_while_the_banks_are_dead_is_in_their_books_afterwards
    c20_an_issuer_that_has_signed_off c20_an_issuer_that_was_given_up_for_not_answering
    c20_in_the_other_dialect c20_what_no_rule_means_is_refused_as_ever
C21 96 to a reversal : c18_c21_what_an_issuer_says_to_a_reversal
    c21_a_repeat_says_so_where_the_link_has_it
D1 again in flight : row_1_the_same_again_while_the_first_is_in_flight
    a_request_repeated_in_flight_is_answered_once_where_it_was_repeated
D2 again afterwards : row_2_a_repeat_after_completion a_repeated_answer_is_the_same_bytes
D3 a repeat of what is not known : d3_a_repeat_of_what_is_not_known_is_forwarded
D4 that is declined here : d4_a_repeat_that_is_declined_here_is_reversed_at_the_issuer
    a_request_that_may_have_been_forwarded_and_lost_is_reversed_when_it_is_declined
D5 the same key with other contents : d5_the_same_key_with_other_contents_is_94
D6 a reversal of an approval : d6_d10_a_reversal_a_hundred_times
D7 a reversal of what is in flight : d7_d16_a_reversal_overtakes_the_approval
D8 a reversal of what is not known : d8_d9_a_reversal_comes_before_its_original
D9 its original afterwards : d8_d9_a_reversal_comes_before_its_original
D10 a reversal a hundred times : d6_d10_a_reversal_a_hundred_times
D11 a reversal of a decline : d11_a_reversal_of_what_was_declined
D12 a reversal of a part : a_partial_reversal_leaves_the_rest
    d7_d12_a_partial_reversal_in_flight_leaves_the_rest_of_what_is_approved
D13 another acquirer's reversal : d13_another_acquirer_reverses_what_is_not_its_own
    d13_a_reversal_of_another_acquirers_transaction_touches_nothing_and_is_told
D14 an answer lost on its way : d14_an_answer_torn_on_its_way_is_had_again
D15 an approval without a connection : b1_d15_an_approval_that_nobody_fetches_is_reversed
D16 a reversal races the answer : d16_a_reversal_races_the_approval
    d7_d16_a_reversal_overtakes_the_approval troubled_worlds_hold
D17 a reversal of what is forgotten : d17_a_reversal_of_what_is_forgotten_is_the_issuer_s_to_find
    a_reversal_whose_original_is_forgotten_is_handed_to_its_issuer
D18 an advice above the limit : d18_an_advice_above_the_limit
D19 an old message owed, in a process that is a few seconds old only what an operator does with it :
    d19_an_operator_drops_what_can_not_be_sent_and_says_why d19_an_old_message_is_still_sent
    d19_a_parked_message_is_dropped_with_a_note_that_the_journal_keeps
D20 repeats at once : d20_repeats_on_many_connections_at_once
    repeats_from_both_shards_are_one_transaction
G1 more load than can be served, figures of it are in tuning/results :
    a_flood_is_answered_once_and_leaves_the_other_acquirer_its_part
G2 a ring between shards is full : g2_shards_that_have_no_room_for_each_other_refuse_at_once_and_go_on
    without_a_credit_a_request_is_refused_at_once
G3 a shard that spins : a_shard_that_spins_is_told_of_and_the_other_serves_on
    a_shard_that_stays_away_ends_the_process a_process_that_stood_still_blames_none_of_its_shards
G4 a panic : a_switch_that_dies_keeps_every_promise_with_io_uring
    a_switch_that_dies_keeps_every_promise_with_epoll_and_two_shards
G5 SIGTERM : sigterm_with_hundreds_of_requests_in_flight_loses_none a_switch_that_stops_signs_off
    a_switch_signs_on_before_traffic_and_off_before_it_ends
G6 an upgrade : a_new_process_takes_over_and_nobody_is_refused
    another_layout_is_refused_beforehand_and_the_running_switch_serves_on
    a_successor_that_fails_changes_nothing a_successor_that_is_killed_leaves_somebody_who_serves
    a_new_process_that_is_passed_the_cards_takes_over_and_nobody_is_refused
    a_successor_that_was_passed_the_cards_and_fails_changes_nothing
    a_successor_that_was_passed_the_cards_and_is_killed_leaves_somebody_who_serves
    limits_are_met_exactly_over_upgrades what_is_passed_is_used_whole_or_not_at_all
";

/// Rows of each letter.
const COUNTS: [(char, usize); 4] = [('B', 12), ('C', 21), ('D', 20), ('G', 6)];

/// Name, and tests; none where something is missing.
fn rows() -> Vec<(String, Vec<String>)> {
    let mut rows: Vec<String> = Vec::new();
    for line in ROWS.lines().filter(|line| !line.is_empty()) {
        match rows.last_mut() {
            Some(row) if line.starts_with(' ') => row.push_str(line),
            _ => rows.push(line.to_owned()),
        }
    }
    let read = |row: String| {
        let (name, rest) = row.split_once(' ').expect("a name");
        let tests = rest.split_once(" : ").map_or("", |(_, tests)| tests);
        assert!(!tests.is_empty() || rest.contains(" - "), "{name}: tests or a reason");
        (name.to_owned(), tests.split_whitespace().map(str::to_owned).collect())
    };
    rows.into_iter().map(read).collect()
}

fn sources(folder: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_row_is_here_and_its_tests_exist() {
    let rows = rows();
    let expected = COUNTS
        .into_iter()
        .flat_map(|(letter, count)| (1..=count).map(move |number| format!("{letter}{number}")));
    assert!(rows.iter().map(|(name, _)| name.clone()).eq(expected), "{rows:?}");
    let mut source = String::new();
    sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut source);
    for (name, tests) in &rows {
        for test in tests {
            let head = format!("#[test]\n    fn {test}()").replace("\n    ", "\n");
            let indented = format!("#[test]\n    fn {test}()");
            let exists = source.contains(&head) || source.contains(&indented);
            assert!(exists, "{name}: there is no test {test}");
        }
    }
}

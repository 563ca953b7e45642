//! What every store promises, as claims; each store runs all of them.

mod accounts;
mod boards;
mod budgets;
mod challenges;
mod differential;
mod durable;
mod enrolment;
mod fixtures;
mod guarded;
mod model;
pub mod moved;
mod outbox;
mod parallel;
mod redis;
mod restarts;
mod thaws;

use std::sync::Arc;

use stepgate::stepup::challenge::Limits;
use stepgate::store::Store;
use stepgate::store::embedded::Embedded;

/// Makes an empty store.
pub type Make = fn(Limits) -> Arc<dyn Store>;

/// A place where a store is kept: each call opens it, once the one before is closed.
pub type Place = Box<dyn Fn(Limits) -> Arc<dyn Store>>;

/// Runs a claim on several threads, as the gateway does.
pub fn run<F: Future<Output = ()>>(claim: impl FnOnce() -> F) {
    runtime().block_on(claim());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// A fresh embedded store. Its file has no name any more once it is open, so nothing is left
/// behind.
fn embedded(limits: Limits) -> Arc<dyn Store> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Embedded::open(&folder.path().join("state.db"), limits).expect("opens");
    Arc::new(store.with_deadline_ms(20_000))
}

fn embedded_place() -> Place {
    let folder = tempfile::tempdir().expect("a folder");
    Box::new(move |limits| {
        let store = Embedded::open(&folder.path().join("state.db"), limits).expect("opens");
        Arc::new(store.with_deadline_ms(20_000))
    })
}

macro_rules! contract {
    ($store:ident: $make:expr, $place:expr) => {
        mod $store {
            use super::*;
            contract! { @tests $place;
                restarts {
                    attempts_that_were_sending_are_returned_once_and_stay_counted,
                    everything_that_was_answered_is_there_after_a_restart,
                    notes_are_there_after_a_restart,
                }
            }
            contract! { @tests $make;
                guarded {
                    a_grant_is_used_by_the_first_beginning_and_by_no_other,
                    a_grant_fits_only_its_account_credential_and_intent,
                    a_grant_stays_used_when_the_attempt_is_abandoned,
                    a_grant_is_void_at_its_expiry_and_not_a_moment_before,
                    totals_leave_out_the_own_reservation_and_hold_all_others,
                    what_is_refused_or_abandoned_is_given_back_once,
                    what_has_ended_does_not_change_again,
                    an_attempt_begins_once,
                    who_only_asks_is_told_the_same_and_changes_nothing,
                    counters_are_exact_decimals_and_forget_after_their_window,
                    an_address_is_known_once_the_exchange_accepted_it,
                    an_address_is_verified_by_the_owners_proof,
                    a_hold_that_begins_again_begins_anew_and_is_found_for_its_destination_only,
                    an_address_that_comes_back_begins_its_hold_anew,
                    a_hold_without_a_destination_belongs_to_its_intent,
                    the_open_challenge_is_shown_to_the_beginning,
                }
                challenges {
                    asking_again_returns_the_same_challenge,
                    an_approved_challenge_is_not_asked_anew,
                    a_fourth_open_challenge_voids_the_oldest,
                    five_attempts_are_compared_and_the_challenge_is_locked,
                    the_last_attempt_may_still_be_right,
                    what_is_voided_is_not_approved_by_its_last_attempt,
                    five_failures_block_the_account_across_challenges_and_credentials,
                    a_right_code_ends_the_row_of_failures,
                    a_hundred_failures_disable_the_factor_until_it_is_enrolled_again,
                    another_account_or_credential_finds_nothing,
                    an_expired_challenge_is_not_answered,
                    zero_attempts_means_none,
                    zero_open_challenges_means_none,
                    zero_failures_means_always_blocked,
                    a_step_is_accepted_once_per_account_and_none_before_it,
                    all_factors_of_all_rules_are_needed,
                    an_elevation_is_given_here_to_this_credential_and_ends,
                    a_challenge_that_only_elevates_is_used_at_once,
                    a_place_challenge_is_used_at_once,
                    a_rejected_challenge_is_dead,
                    not_me_can_freeze_the_account_at_once,
                    a_held_request_is_released_once_and_only_to_its_owner,
                    a_redeemed_challenge_holds_no_request,
                    what_a_passkey_was_asked_is_taken_by_one_attempt_with_a_passkey,
                    a_passkey_is_asked_anew_while_the_challenge_is_open_and_not_after,
                    a_challenge_cannot_come_with_anything_proven,
                }
                outbox {
                    a_code_is_accepted_once,
                    a_newer_code_replaces_the_older,
                    a_code_ends_before_its_challenge,
                    a_resend_gives_no_attempts_back,
                    three_codes_in_ten_minutes_and_ten_a_day_per_number,
                    no_code_is_sent_for_a_closed_or_blocked_challenge,
                    a_message_is_leased_once_and_comes_back,
                    a_message_tried_later_is_due_then,
                    messages_come_oldest_first,
                    a_message_whose_code_is_dead_is_dropped,
                    a_notice_goes_to_every_contact_and_stays_until_it_is_sent,
                    the_same_is_not_said_again_while_it_is_quiet,
                    an_account_is_told_so_often_a_day_and_others_do_not_count,
                    of_parallel_notices_of_one_thing_one_is_said,
                    a_notice_by_text_is_counted_with_the_codes_and_left_out_where_none_may_go,
                    a_notice_that_nothing_pays_for_was_not_said,
                    a_notice_goes_to_no_prefix_that_is_stopped_and_is_watched_nowhere,
                    what_is_urgent_goes_out_before_what_waits,
                }
                budgets {
                    a_budget_that_is_spent_says_which_and_for_how_long,
                    a_budget_of_nothing_lets_nothing_go,
                    what_one_budget_refuses_is_counted_in_none,
                    what_the_number_or_the_challenge_may_not_have_costs_no_budget,
                    subjects_and_scopes_have_budgets_of_their_own,
                    of_two_hundred_parallel_sends_exactly_the_budget_goes_out,
                    too_few_codes_that_come_back_stop_a_prefix_once_for_a_time,
                    enough_codes_that_come_back_stop_nothing,
                    a_code_that_came_back_counts_once_and_in_its_time,
                    a_stop_that_is_lifted_begins_afresh,
                }
                accounts {
                    nothing_is_shown_before_it_was_looked_up,
                    a_freeze_holds_at_the_next_glance_of_every_credential,
                    a_freeze_voids_challenges_grants_elevations_and_holds,
                    a_thaw_is_answered_once,
                    a_sighting_makes_the_place_known,
                    when_an_account_came_to_a_country_is_remembered_except_for_its_first,
                    sixty_four_places_are_remembered,
                    an_older_sighting_does_not_become_the_last,
                    replacing_a_factor_voids_what_is_open_and_is_remembered,
                    the_first_enrolment_is_no_change,
                    removing_a_factor_is_a_change,
                    a_number_that_is_gone_keeps_claims_waiting,
                    a_factor_is_renewed_from_what_it_was_and_nothing_else_changes,
                    account_names_are_exact_and_groups_never_mix,
                    the_card_shows_everything_but_secrets,
                    the_first_value_under_a_name_stays,
                    a_ping_is_answered,
                }
                thaws {
                    a_thaw_that_was_asked_for_takes_effect_by_time_alone,
                    whatever_freezes_again_ends_the_thaw_and_an_operator_overrides_it,
                    what_was_asked_or_given_under_a_freeze_is_void_when_it_ends,
                    what_was_told_before_the_last_thaw_freezes_nothing,
                    an_owner_changes_no_factor_of_a_frozen_account_and_an_operator_does,
                    a_thaw_that_was_asked_for_moves_along,
                }
                enrolment {
                    a_right_answer_enrols_the_factor_that_waited,
                    what_waits_is_compared_and_not_what_is_enrolled,
                    the_code_that_enrolled_is_no_code_any_more,
                    a_factor_of_the_owners_is_young_until_its_time,
                    an_enrolment_voids_what_was_asked_and_given_before,
                    an_answer_with_another_factor_enrols_nothing,
                    an_sms_enrols_by_the_code_that_was_sent_last,
                    recovery_codes_come_once_and_never_replace_others,
                    wrong_answers_to_an_enrolment_count_as_all_others_do,
                    a_disabled_factor_is_replaced_and_counts_anew,
                    a_frozen_account_enrols_nothing,
                    what_waits_is_gone_when_its_challenge_ends,
                    a_recovery_code_counts_once,
                    codes_that_are_used_up_are_no_factor,
                    open_challenges_are_listed_and_others_are_not,
                    the_owners_first_factor_is_a_change,
                    a_young_factor_and_its_codes_survive_a_move,
                    a_passkey_is_enrolled_in_place_of_what_it_was_made_from,
                    a_passkey_that_was_made_is_taken_once_and_by_nobody_else_s_challenge,
                    the_codes_that_come_with_a_second_passkey_are_young,
                    a_factor_is_replaced_or_taken_away_from_what_it_was,
                    of_parallel_passkeys_one_is_enrolled,
                    of_fifty_parallel_confirmations_one_enrols,
                    of_fifty_parallel_tries_a_recovery_code_counts_once,
                }
                parallel {
                    of_a_hundred_parallel_guesses_five_are_compared,
                    of_fifty_parallel_beginnings_one_gets_the_grant,
                    of_parallel_proofs_with_one_step_one_counts,
                    of_parallel_openings_one_is_new,
                    of_parallel_attempts_one_takes_what_the_passkey_was_asked,
                    parallel_beginnings_and_settlings_are_counted_exactly,
                    of_parallel_adoptions_all_get_the_first,
                    nobody_who_was_told_frozen_is_shown_otherwise,
                }
                boards {
                    a_note_is_read_until_its_time_and_taken_down_once,
                    boards_are_apart,
                    a_board_holds_so_many_and_what_is_over_makes_room,
                    of_parallel_takers_one_is_given_the_note,
                    a_suspension_moves_and_a_request_is_asked_for_anew,
                }
                moved {
                    everything_says_the_same_in_the_store_it_moved_to,
                    an_export_of_what_was_imported_is_the_same,
                    records_can_be_put_back_in_any_order_and_twice,
                    a_step_that_was_accepted_is_not_accepted_after_the_move,
                    what_was_asked_or_given_does_not_move,
                    a_frozen_account_arrives_frozen_and_is_thawed,
                    failures_in_a_row_are_carried_over,
                    a_factor_that_failed_too_often_arrives_disabled,
                    codes_that_were_sent_count_against_the_number_after_the_move,
                    a_hold_keeps_its_beginning_and_one_before_a_freeze_stays_unserved,
                    what_is_reserved_when_it_moves_stays_counted,
                    what_has_run_out_is_not_put_back,
                    an_account_that_is_replaced_has_nothing_open_any_more,
                    an_export_of_many_comes_in_parts_that_miss_nothing,
                    random_populations_arrive_as_they_were,
                }
                model {
                    random_sentences_agree_with_the_model,
                }
            }
        }
    };
    (@tests $make:expr; $($file:ident { $($claim:ident),* $(,)? })*) => {
        $(mod $file {
            use super::*;
            $(#[test]
            fn $claim() {
                run(|| super::super::$file::$claim($make));
            })*
        })*
    };
}

contract!(embedded_store: embedded, embedded_place());
contract!(redis_single: redis::single, redis::single_place());
contract!(redis_sentinel: redis::sentinel, redis::sentinel_place());
contract!(redis_cluster: redis::cluster, redis::cluster_place());

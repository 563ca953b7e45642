//! The model finds what it is there to find: a run in which all went well, and one violation at a time.

use crate::fault_check::*;

const ALICE: &str = "alice";

fn call(gateway: usize, sent: i64, status: u16) -> Call {
    let request = format!("r{gateway}-{sent}");
    let status = Some(status);
    let account = ALICE.to_owned();
    Call { gateway, account, sent, done: sent + 10, status, request, ..Call::default() }
}

fn asked(gateway: usize, sent: i64, status: u16, order: &str, challenge: Option<&str>) -> Asked {
    let challenge = challenge.map(str::to_owned);
    Asked { call: call(gateway, sent, status), order: order.to_owned(), challenge }
}

fn answered(sent: i64, status: u16, challenge: &str, step: Option<u64>) -> Answered {
    Answered { call: call(1, sent, status), challenge: challenge.to_owned(), step }
}

fn wrong(sent: i64, challenge: &str) -> Answered {
    let mut answer = answered(sent, 403, challenge, None);
    answer.call.error = "wrong_code".to_owned();
    answer
}

fn noted(at: i64, event: &str, request: &str, challenge: &str) -> Noted {
    Noted {
        at,
        event: event.to_owned(),
        account: ALICE.to_owned(),
        request: request.to_owned(),
        challenge: challenge.to_owned(),
        ..Noted::default()
    }
}

fn executed(at: i64, request: &str, order: &str) -> Executed {
    let (account, request) = (ALICE.to_owned(), request.to_owned());
    Executed { at, account, request, order: order.to_owned() }
}

fn fault(kind: Kind, from: i64, until: i64) -> Fault {
    Fault { kind, from, until }
}

/// Alice asks, answers, is let through; Redis is away for a while and comes back.
fn well() -> History {
    let mut refused = asked(2, 5_100, 503, "order-3", None);
    refused.call.retry_after = true;
    History {
        asked: vec![
            asked(0, 1_000, 401, "order-1", Some("c1")),
            asked(2, 1_200, 200, "order-1", None),
            asked(0, 40_000, 401, "order-2", Some("c2")),
            asked(1, 40_200, 200, "order-2", None),
            refused,
        ],
        answered: vec![
            wrong(1_050, "c1"),
            answered(1_100, 200, "c1", Some(7)),
            answered(40_100, 200, "c2", Some(8)),
        ],
        executed: vec![executed(1_205, "a", "order-1"), executed(40_205, "b", "order-2")],
        noted: vec![
            noted(1_105, "challenge_approved", "r1-1100", "c1"),
            noted(1_204, "intent", "a", "c1"),
            noted(40_204, "intent", "b", "c2"),
        ],
        plain: vec![
            Plain { call: call(0, 5_050, 200), write: false },
            Plain { call: call(0, 9_950, 423), write: true },
        ],
        frozen: vec![Frozen { account: ALICE.to_owned(), from: 7_000, until: 10_000 }],
        faults: vec![
            fault(Kind::StoreKilled, 5_000, 6_000),
            fault(Kind::GatewayKilled(1), 20_000, 22_000),
        ],
        recoveries: vec![Recovery { kind: Kind::StoreKilled, gateway: 0, took_ms: Some(40) }],
        chains: vec![Chain { gateway: 0, whole: true, said: "whole".to_owned() }],
    }
}

/// The rules that a changed history violates.
fn found(change: impl FnOnce(&mut History)) -> Vec<Rule> {
    let mut history = well();
    change(&mut history);
    let mut rules: Vec<Rule> = check(&history).violations.iter().map(|it| it.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn a_run_in_which_all_went_well_violates_nothing_and_every_rule_was_looked_at() {
    let findings = check(&well());
    assert!(findings.violations.is_empty(), "{:?}", findings.violations);
    for rule in Rule::ALL {
        assert!(findings.looked_at.get(&rule).is_some_and(|count| *count > 0), "{rule}");
    }
}

#[test]
fn an_action_without_an_approval_is_found() {
    assert_eq!(found(|it| drop(it.answered.pop())), [Rule::Approved], "no code at all");
    assert_eq!(found(|it| it.answered[2].step = None), [Rule::Approved], "a made-up code");
    assert_eq!(found(|it| it.answered[2].call.sent = 41_000), [Rule::Approved], "after it");
    assert_eq!(found(|it| it.answered[2].call.status = Some(403)), [Rule::Approved], "refused");
    let of_bob = |it: &mut History| it.answered[2].call.account = "bob".to_owned();
    assert_eq!(found(of_bob), [Rule::Approved], "somebody else's code");
    let other = |it: &mut History| it.executed[1].order = "order-9".to_owned();
    assert_eq!(found(other), [Rule::Approved], "for another order");
    let none = |it: &mut History| it.noted[2].challenge = String::new();
    assert_eq!(found(none), [Rule::Approved], "by no challenge");
}

#[test]
fn an_approval_whose_answer_was_lost_is_one() {
    assert_eq!(found(|it| it.answered[2].call.status = Some(504)), []);
    let lost = |it: &mut History| {
        it.answered[2].call.status = None;
        it.faults.push(fault(Kind::GatewayKilled(1), 40_105, 40_150));
    };
    assert_eq!(found(lost), []);
}

#[test]
fn an_action_executed_twice_is_found() {
    let same_request = |it: &mut History| it.executed.push(executed(40_300, "b", "order-2"));
    assert_eq!(found(same_request), [Rule::Once]);
    let same_approval = |it: &mut History| {
        it.executed.push(executed(40_300, "d", "order-2"));
        it.noted.push(noted(40_299, "intent", "d", "c2"));
    };
    assert_eq!(found(same_approval), [Rule::Once]);
}

#[test]
fn an_action_without_a_record_is_found() {
    assert_eq!(found(|it| drop(it.noted.pop())), [Rule::Recorded]);
}

#[test]
fn a_sixth_guess_in_a_row_is_found_and_a_failover_is_worth_five() {
    let guesses = |count: i64| {
        move |it: &mut History| it.answered.extend((0..count).map(|n| wrong(50_000 + n, "c9")))
    };
    assert_eq!(found(guesses(5)), []);
    assert_eq!(found(guesses(6)), [Rule::Guesses]);
    let failover = |it: &mut History| it.faults.push(fault(Kind::MasterKilled, 30_000, 31_000));
    let after = |count| {
        move |it: &mut History| {
            failover(it);
            guesses(count)(it);
        }
    };
    assert_eq!(found(after(10)), []);
    assert_eq!(found(after(11)), [Rule::Guesses]);
}

#[test]
fn guesses_that_only_a_log_knows_of_count_and_none_counts_twice() {
    let logged = |it: &mut History| {
        it.answered.extend((0..3).map(|n| wrong(50_000 + n, "c9")));
        for number in 0..3 {
            it.noted.push(noted(
                50_005,
                "attempt_failed",
                &format!("r1-{}", 50_000 + number),
                "c9",
            ));
        }
        it.noted.extend((0..2).map(|n| noted(50_100, "attempt_failed", &format!("x{n}"), "c9")));
    };
    assert_eq!(found(logged), []);
    let one_more = |it: &mut History| {
        logged(it);
        it.noted.push(noted(50_100, "challenge_locked", "x2", "c9"));
    };
    assert_eq!(found(one_more), [Rule::Guesses]);
}

#[test]
fn a_step_that_is_accepted_twice_is_found() {
    assert_eq!(found(|it| it.answered[2].step = Some(7)), [Rule::Steps]);
    let lost = |it: &mut History| {
        // Nobody was told, but it was used.
        it.answered[2].step = Some(7);
        it.answered[2].call.status = Some(503);
        it.answered[2].call.retry_after = true;
    };
    assert_eq!(found(lost), [Rule::Steps]);
    assert_eq!(found(|it| it.answered.push(answered(40_150, 200, "c2", Some(8)))), [], "once more");
}

#[test]
fn what_passes_while_frozen_is_found() {
    assert_eq!(found(|it| it.frozen[0].until = 41_000), [Rule::Frozen]);
    assert_eq!(found(|it| it.plain[1].call.status = Some(200)), [Rule::Frozen]);
    let at_once = |it: &mut History| {
        it.plain[1].call.status = Some(200);
        it.plain[1].call.sent = 8_900;
    };
    assert_eq!(found(at_once), [], "no view is so fresh");
}

#[test]
fn a_broken_chain_and_a_gateway_that_does_not_recover_are_found() {
    assert_eq!(found(|it| it.chains[0].whole = false), [Rule::Chains]);
    assert_eq!(found(|it| it.recoveries[0].took_ms = None), [Rule::Recovered]);
}

#[test]
fn an_ordinary_error_is_found_and_excused_only_at_a_killed_gateway() {
    assert_eq!(found(|it| it.plain[0].call.status = Some(503)), [Rule::Ordinary]);
    assert_eq!(found(|it| it.plain[0].call.status = None), [Rule::Ordinary]);
    let at = |gateway, sent| {
        move |it: &mut History| {
            it.plain[0].call = Call { status: None, ..call(gateway, sent, 0) };
        }
    };
    assert_eq!(found(at(1, 21_000)), []);
    assert_eq!(found(at(0, 21_000)), [Rule::Ordinary], "another gateway");
    assert_eq!(found(at(1, 22_001)), [Rule::Ordinary], "it was back");
}

#[test]
fn a_guarded_request_without_redis_that_is_not_refused_in_order_is_found() {
    assert_eq!(found(|it| it.asked[4].call.status = Some(401)), [Rule::Refused]);
    assert_eq!(found(|it| it.asked[4].call.status = None), [Rule::Refused]);
    assert_eq!(found(|it| it.asked[4].call.retry_after = false), [Rule::Refused]);
    let slow = |it: &mut History| {
        it.asked[4].call.done = it.asked[4].call.sent + REFUSED_WITHIN_MS + 1;
    };
    assert_eq!(found(slow), [Rule::Refused]);
    let early = |it: &mut History| {
        it.asked[4].call.status = Some(401);
        it.asked[4].call.sent = 4_990;
    };
    assert_eq!(found(early), [], "it began before");
}

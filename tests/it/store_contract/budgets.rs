//! Codes are counted against every budget before they are sent, and never one too many.

use std::sync::Arc;

use stepgate::stepup::budget::{Refusal, Scope, Stop, Why};
use stepgate::stepup::challenge::{Challenge, Limits};
use stepgate::store::{Charge, CodeQueued, NumberKey, Store};
use stepgate::types::{ChallengeId, UnixMs};
use tokio::task::JoinSet;

use super::Make;
use super::fixtures::*;

/// To a number of its own, for an account of its own: only budgets can be met.
async fn send(store: &Arc<dyn Store>, name: &str, charge: Charge, now: UnixMs) -> CodeQueued {
    let owner = account(name);
    let long = Challenge {
        account: owner.clone(),
        expires: after(60 * DAY),
        ..challenge(&format!("c-{name}"))
    };
    // The second time it is there already.
    drop(store.open_challenge(long, now).await);
    let charge = Charge { number: NumberKey(name.to_owned()), ..charge };
    let id = ChallengeId::new(format!("c-{name}"));
    let sent = code(&format!("m-{name}"), now);
    store.send_code(&id, &owner, charge, sent, vec![1], now).await.expect("answers")
}

fn patient() -> Limits {
    Limits { challenge_ms: 90 * DAY, ..Limits::default() }
}

fn meters(meters: &[(Scope, &str, u64, u32)]) -> Charge {
    let meters = meters.iter().map(|(scope, subject, ms, max)| meter(*scope, subject, *ms, *max));
    Charge { meters: meters.collect(), ..number("-") }
}

fn watched(subject: &str) -> Charge {
    Charge { watches: vec![watch(Scope::Prefix, subject)], ..number("-") }
}

fn is_sent(answer: &CodeQueued) -> bool {
    matches!(answer, CodeQueued::Queued(_))
}

fn refusal(answer: CodeQueued) -> Refusal {
    match answer {
        CodeQueued::OverBudget(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub async fn a_budget_that_is_spent_says_which_and_for_how_long(make: Make) {
    let store = make(patient());
    let charge = || meters(&[(Scope::Overall, "", DAY, 9), (Scope::Prefix, "+49", HOUR, 2)]);
    for name in ["a", "b"] {
        assert!(is_sent(&send(&store, name, charge(), NOW).await));
    }
    let refused = refusal(send(&store, "c", charge(), after(MINUTE)).await);
    assert_eq!((refused.scope, &*refused.subject), (Scope::Prefix, "+49"));
    assert_eq!(refused.why, Why::Spent);
    assert!((58 * MINUTE..=64 * MINUTE).contains(&refused.retry_after_ms), "{refused:?}");
    let there = after(MINUTE + refused.retry_after_ms);
    assert!(!is_sent(&send(&store, "d", charge(), UnixMs(there.0 - 1)).await));
    assert!(is_sent(&send(&store, "e", charge(), there).await));
}

pub async fn a_budget_of_nothing_lets_nothing_go(make: Make) {
    let store = make(patient());
    let refused = refusal(send(&store, "a", meters(&[(Scope::Range, "r", HOUR, 0)]), NOW).await);
    assert_eq!((refused.scope, refused.retry_after_ms), (Scope::Range, HOUR));
    assert_eq!(store.next_message(MINUTE, NOW).await.expect("answers"), None);
}

pub async fn what_one_budget_refuses_is_counted_in_none(make: Make) {
    let store = make(patient());
    let full = [(Scope::Overall, "", HOUR, 2), (Scope::Prefix, "+882", HOUR, 0)];
    for n in 0..5 {
        let refused = refusal(send(&store, &format!("x{n}"), meters(&full), NOW).await);
        assert_eq!(refused.scope, Scope::Prefix);
    }
    let free = || meters(&[(Scope::Overall, "", HOUR, 2), (Scope::Prefix, "+49", HOUR, 9)]);
    for name in ["a", "b"] {
        assert!(is_sent(&send(&store, name, free(), NOW).await));
    }
    assert_eq!(refusal(send(&store, "c", free(), NOW).await).scope, Scope::Overall);
}

pub async fn what_the_number_or_the_challenge_may_not_have_costs_no_budget(make: Make) {
    let store = make(Limits { sms_per_10min_max: 1, ..patient() });
    let charge = || meters(&[(Scope::Overall, "", HOUR, 2)]);
    assert!(is_sent(&send(&store, "a", charge(), NOW).await));
    for _ in 0..5 {
        let again = send(&store, "a", charge(), NOW).await;
        assert!(matches!(again, CodeQueued::Limited { .. }), "{again:?}");
    }
    let missing = ChallengeId::new("none");
    let sent = store.send_code(&missing, &alice(), charge(), code("m", NOW), vec![1], NOW).await;
    assert!(matches!(sent, Ok(CodeQueued::Missing)));
    assert!(is_sent(&send(&store, "b", charge(), NOW).await));
    assert!(!is_sent(&send(&store, "c", charge(), NOW).await));
}

pub async fn subjects_and_scopes_have_budgets_of_their_own(make: Make) {
    let store = make(patient());
    let one = |scope, subject: &str| meters(&[(scope, subject, HOUR, 1)]);
    for (n, (scope, subject)) in
        [(Scope::Prefix, "+4"), (Scope::Prefix, "+49"), (Scope::Range, "+49"), (Scope::Account, "")]
            .into_iter()
            .enumerate()
    {
        assert!(is_sent(&send(&store, &format!("a{n}"), one(scope, subject), NOW).await));
        assert!(!is_sent(&send(&store, &format!("b{n}"), one(scope, subject), NOW).await));
    }
}

pub async fn of_two_hundred_parallel_sends_exactly_the_budget_goes_out(make: Make) {
    let store = make(patient());
    let mut sends = JoinSet::new();
    for n in 0..200 {
        let store = Arc::clone(&store);
        sends.spawn(async move {
            let prefix = if n % 2 == 0 { "+49" } else { "+886" };
            let charge = meters(&[
                (Scope::Prefix, prefix, HOUR, 7),
                (Scope::Range, "203.0.113.0/24", DAY, 100),
                (Scope::Overall, "", HOUR, 11),
            ]);
            (prefix, send(&store, &format!("p{n}"), charge, NOW).await)
        });
    }
    let all = sends.join_all().await;
    let sent = |prefix: &str| all.iter().filter(|(to, it)| *to == prefix && is_sent(it)).count();
    assert!(sent("+49") <= 7 && sent("+886") <= 7, "{} {}", sent("+49"), sent("+886"));
    assert_eq!(sent("+49") + sent("+886"), 11);
    let mut messages = 0;
    while store.next_message(HOUR, NOW).await.expect("answers").is_some() {
        messages += 1;
    }
    assert_eq!(messages, 11);
}

pub async fn too_few_codes_that_come_back_stop_a_prefix_once_for_a_time(make: Make) {
    let store = make(patient());
    for n in 0..4 {
        assert!(is_sent(&send(&store, &format!("a{n}"), watched("+49"), NOW).await));
    }
    assert_eq!(store.code_verified("m-a0", NOW).await.expect("answers").as_deref(), Some("+49"));
    assert!(is_sent(&send(&store, "young", watched("+49"), after(5 * MINUTE - 1)).await));

    let late = after(11 * MINUTE);
    let first = refusal(send(&store, "b", watched("+49"), late).await);
    assert_eq!(first.why, Why::Stopping { sent: 4, verified: 1 });
    assert_eq!(
        (first.scope, &*first.subject, first.retry_after_ms),
        (Scope::Prefix, "+49", 2 * HOUR)
    );
    let second = refusal(send(&store, "c", watched("+49"), late).await);
    assert_eq!((second.why, second.retry_after_ms), (Why::Stopped, 2 * HOUR));
    assert!(is_sent(&send(&store, "other", watched("+886"), late).await), "others are not stopped");
    let until = late.plus_ms(2 * HOUR);
    let stop = Stop { scope: Scope::Prefix, subject: "+49".into(), until };
    assert_eq!(store.sms_stops(late).await.expect("answers"), [stop]);
    assert!(!is_sent(&send(&store, "d", watched("+49"), UnixMs(until.0 - 1)).await));
    assert!(
        is_sent(&send(&store, "e", watched("+49"), until).await),
        "what led to it is forgotten"
    );
    assert_eq!(store.sms_stops(until).await.expect("answers"), []);
}

pub async fn enough_codes_that_come_back_stop_nothing(make: Make) {
    let store = make(patient());
    for n in 0..4 {
        assert!(is_sent(&send(&store, &format!("a{n}"), watched("+49"), NOW).await));
    }
    for n in 0..2 {
        let mac = format!("m-a{n}");
        assert!(store.code_verified(&mac, after(MINUTE)).await.expect("answers").is_some());
    }
    assert!(is_sent(&send(&store, "b", watched("+49"), after(11 * MINUTE)).await));
}

pub async fn a_code_that_came_back_counts_once_and_in_its_time(make: Make) {
    let store = make(patient());
    for n in 0..4 {
        assert!(is_sent(&send(&store, &format!("a{n}"), watched("+49"), NOW).await));
    }
    let verified = async |mac: &str, at| store.code_verified(mac, at).await.expect("answers");
    assert!(verified("m-a0", NOW).await.is_some());
    assert_eq!(verified("m-a0", NOW).await, None, "once");
    assert_eq!(verified("m-a1", after(5 * MINUTE)).await, None, "it has run out");
    assert_eq!(verified("never sent", NOW).await, None);
    let refused = refusal(send(&store, "b", watched("+49"), after(11 * MINUTE)).await);
    assert_eq!(refused.why, Why::Stopping { sent: 4, verified: 1 });
}

pub async fn a_stop_that_is_lifted_begins_afresh(make: Make) {
    let store = make(patient());
    for n in 0..4 {
        assert!(is_sent(&send(&store, &format!("a{n}"), watched("+49"), NOW).await));
    }
    let late = after(11 * MINUTE);
    assert!(!is_sent(&send(&store, "b", watched("+49"), late).await));
    assert!(!store.lift_sms_stop("+886", late).await.expect("answers"));
    assert!(!store.lift_sms_stop("", late).await.expect("answers"));
    assert!(store.lift_sms_stop("+49", late).await.expect("answers"));
    assert!(!store.lift_sms_stop("+49", late).await.expect("answers"), "once");
    assert_eq!(store.sms_stops(late).await.expect("answers"), []);
    assert!(is_sent(&send(&store, "c", watched("+49"), late).await));
}

//! Beginnings, grants, counters, addresses and holds.

use stepgate::stepup::challenge::{Limits, State};
use stepgate::store::{Begin, Consult, Learn, Settled};
use stepgate::types::{ActionName, AttemptId};

use super::Make;
use super::fixtures::*;

pub async fn a_grant_is_used_by_the_first_beginning_and_by_no_other(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    let proof = begun(&store, begin("a"), after(1)).await.proof.expect("the grant");
    assert_eq!((proof.challenge.as_str(), proof.intent), ("c", intent(1)));
    assert_eq!(state(&store, "c", after(1)).await, State::Used);
    assert!(begun(&store, begin("b"), after(2)).await.proof.is_none());
}

pub async fn a_grant_fits_only_its_account_credential_and_intent(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    let others = [
        Begin { account: account("bob"), ..begin("a") },
        Begin { credential: session("t"), ..begin("b") },
        Begin { intent: intent(2), ..begin("c") },
    ];
    for other in others {
        assert!(begun(&store, other, after(1)).await.proof.is_none());
    }
    assert!(begun(&store, begin("d"), after(1)).await.proof.is_some());
}

pub async fn a_grant_stays_used_when_the_attempt_is_abandoned(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    assert!(begun(&store, begin("a"), NOW).await.proof.is_some());
    abandon(&store, "a", &[], NOW).await;
    assert!(begun(&store, begin("b"), NOW).await.proof.is_none());
}

pub async fn a_grant_is_void_at_its_expiry_and_not_a_moment_before(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    approve(&store, about(2, challenge("d")), 11, NOW).await;
    let end = 5 * MINUTE;
    assert!(begun(&store, begin("a"), after(end - 1)).await.proof.is_some());
    let late = Begin { intent: intent(2), ..begin("b") };
    assert!(begun(&store, late, after(end)).await.proof.is_none());
    assert_eq!(state(&store, "d", after(end)).await, State::Expired);
}

pub async fn totals_leave_out_the_own_reservation_and_hold_all_others(make: Make) {
    let store = make(Limits::default());
    assert_eq!(begun(&store, begin("a"), NOW).await.counters.0, []);
    let second = begun(&store, begin("b"), NOW).await.counters;
    assert_eq!(second.0.len(), 3);
    for (action, _, total) in second.0 {
        assert_eq!((&*action, total.count, total.usd), ("withdrawal", 1, Some(usd("10"))));
    }
    settle(&store, "a", Settled::Done, NOW).await;
    settle(&store, "b", Settled::Unknown, NOW).await;
    assert_eq!(withdrawals(&store, "24h", NOW).await, (2, Some("20".to_owned())));
    let other = Begin { action: ActionName::new("transfer"), usd: None, ..begin("c") };
    begun(&store, other, NOW).await;
    assert_eq!(withdrawals(&store, "24h", NOW).await, (2, Some("20".to_owned())));
    let of_bob = Begin { account: account("bob"), ..begin("d") };
    assert_eq!(begun(&store, of_bob, NOW).await.counters.0, []);
}

pub async fn what_is_refused_or_abandoned_is_given_back_once(make: Make) {
    let store = make(Limits::default());
    for id in ["a", "b", "c"] {
        begun(&store, begin(id), NOW).await;
    }
    for _ in 0..2 {
        settle(&store, "a", Settled::Refused, after(HOUR)).await;
        abandon(&store, "b", &[], after(HOUR)).await;
    }
    assert_eq!(withdrawals(&store, "24h", after(HOUR)).await, (1, Some("10".to_owned())));
}

pub async fn what_has_ended_does_not_change_again(make: Make) {
    let store = make(Limits::default());
    begun(&store, begin("a"), NOW).await;
    settle(&store, "a", Settled::Done, NOW).await;
    settle(&store, "a", Settled::Refused, NOW).await;
    abandon(&store, "a", &["hold"], NOW).await;
    settle(&store, "never begun", Settled::Refused, NOW).await;
    assert_eq!(withdrawals(&store, "1h", NOW).await, (1, Some("10".to_owned())));
    assert_eq!(begun(&store, begin("b"), NOW).await.holds, []);
}

pub async fn an_attempt_begins_once(make: Make) {
    let store = make(Limits::default());
    begun(&store, begin("a"), NOW).await;
    assert!(store.begin(begin("a"), NOW).await.is_err());
    assert_eq!(withdrawals(&store, "1h", NOW).await.0, 1);
}

pub async fn counters_are_exact_decimals_and_forget_after_their_window(make: Make) {
    let store = make(Limits::default());
    for (id, value) in [("a", "0.1"), ("b", "0.2"), ("c", "9007199254740993")] {
        begun(&store, Begin { usd: Some(usd(value)), ..begin(id) }, NOW).await;
        settle(&store, id, Settled::Done, NOW).await;
    }
    let sum = Some("9007199254740993.3".to_owned());
    let windows = [("1h", HOUR), ("24h", DAY), ("7d", 7 * DAY)];
    for (window, ms) in windows {
        assert_eq!(withdrawals(&store, window, after(ms - 1)).await, (3, sum.clone()));
    }
    begun(&store, Begin { usd: None, ..begin("d") }, NOW).await;
    assert_eq!(withdrawals(&store, "7d", NOW).await, (4, None));
    for (window, ms) in windows {
        // A store may count up to an hour too long, never too short.
        assert_eq!(withdrawals(&store, window, after(ms + HOUR)).await.0, 0);
    }
}

fn to(destination: &str, id: &str) -> Begin {
    Begin { destination: Some(destination.into()), ..begin(id) }
}

pub async fn an_address_is_known_once_the_exchange_accepted_it(make: Make) {
    let store = make(Limits::default());
    let unknown = begun(&store, to("x", "a"), NOW).await.address.expect("facts");
    assert_eq!((unknown.known, unknown.age_ms), (false, 0));
    let added = || Some(Learn::Added { destination: "x".into() });
    store
        .settle(AttemptId::new("a"), &alice(), Settled::Refused, added(), NOW)
        .await
        .expect("settles");
    assert!(!begun(&store, to("x", "b"), NOW).await.address.expect("facts").known);
    store
        .settle(AttemptId::new("b"), &alice(), Settled::Done, added(), NOW)
        .await
        .expect("settles");

    let known = begun(&store, to("x", "c"), after(HOUR)).await.address.expect("facts");
    assert_eq!((known.known, known.age_ms, known.idle_ms), (true, HOUR, HOUR));
    let used = Some(Learn::Used { destination: "x".into() });
    store
        .settle(AttemptId::new("c"), &alice(), Settled::Done, used, after(HOUR))
        .await
        .expect("settles");
    let paid = begun(&store, to("x", "d"), after(3 * HOUR)).await.address.expect("facts");
    assert_eq!((paid.age_ms, paid.idle_ms), (3 * HOUR, 2 * HOUR));

    let removed = Some(Learn::Removed { destination: "x".into() });
    store
        .settle(AttemptId::new("d"), &alice(), Settled::Done, removed, after(HOUR))
        .await
        .expect("settles");
    assert!(!begun(&store, to("x", "e"), after(HOUR)).await.address.expect("facts").known);
    assert!(begun(&store, begin("f"), NOW).await.address.is_none());
}

pub async fn an_address_is_verified_by_the_owners_proof(make: Make) {
    let store = make(Limits::default());
    let added = |name: &str| Some(Learn::Added { destination: name.into() });
    begun(&store, to("x", "a"), NOW).await;
    store
        .settle(AttemptId::new("a"), &alice(), Settled::Done, added("x"), NOW)
        .await
        .expect("settles");
    assert!(!begun(&store, to("x", "b"), NOW).await.address.expect("facts").verified);
    approve(&store, challenge("c"), 10, NOW).await;
    assert!(begun(&store, to("y", "d"), NOW).await.proof.is_some());
    store
        .settle(AttemptId::new("d"), &alice(), Settled::Done, added("y"), NOW)
        .await
        .expect("settles");
    assert!(begun(&store, to("y", "e"), NOW).await.address.expect("facts").verified);
}

pub async fn a_hold_that_begins_again_begins_anew_and_is_found_for_its_destination_only(
    make: Make,
) {
    let store = make(Limits::default());
    assert_eq!(begun(&store, to("x", "a"), NOW).await.holds, []);
    abandon(&store, "a", &["young"], NOW).await;
    begun(&store, to("x", "b"), after(HOUR)).await;
    abandon(&store, "b", &["large"], after(HOUR)).await;
    begun(&store, to("x", "f"), after(HOUR)).await;
    abandon(&store, "f", &["young"], after(2 * HOUR)).await;
    let holds = begun(&store, to("x", "c"), after(2 * HOUR)).await.holds;
    let found: Vec<_> = holds.iter().map(|hold| (hold.rule.as_str(), hold.since)).collect();
    assert_eq!(found, [("large", after(HOUR)), ("young", after(2 * HOUR))]);
    assert_eq!(begun(&store, to("y", "d"), after(HOUR)).await.holds, []);
    let of_bob = Begin { account: account("bob"), ..to("x", "e") };
    assert_eq!(begun(&store, of_bob, after(HOUR)).await.holds, []);
}

pub async fn an_address_that_comes_back_begins_its_hold_anew(make: Make) {
    let store = make(Limits::default());
    begun(&store, to("x", "a"), NOW).await;
    abandon(&store, "a", &["young"], NOW).await;
    begun(&store, to("x", "b"), NOW).await;
    let added = Some(Learn::Added { destination: "x".into() });
    store
        .settle(AttemptId::new("b"), &alice(), Settled::Done, added, after(DAY))
        .await
        .expect("settles");
    assert_eq!(begun(&store, to("x", "c"), after(DAY)).await.holds, []);
}

pub async fn a_hold_without_a_destination_belongs_to_its_intent(make: Make) {
    let store = make(Limits::default());
    begun(&store, begin("a"), NOW).await;
    abandon(&store, "a", &["slow"], NOW).await;
    assert_eq!(begun(&store, begin("b"), NOW).await.holds.len(), 1);
    let other = Begin { intent: intent(2), ..begin("c") };
    assert_eq!(begun(&store, other, NOW).await.holds, []);
}

pub async fn the_open_challenge_is_shown_to_the_beginning(make: Make) {
    use stepgate::stepup::challenge::{Challenge, Scope};
    let store = make(Limits::default());
    let place = Challenge { scope: Scope::Place("DE".into()), ..challenge("p") };
    open(&store, place, NOW).await;
    let id = |begun: stepgate::store::Begun| begun.open.map(|known| known.id.to_string());
    assert_eq!(id(begun(&store, begin("a"), NOW).await).as_deref(), Some("p"));
    open(&store, challenge("c"), NOW).await;
    assert_eq!(id(begun(&store, begin("b"), NOW).await).as_deref(), Some("c"));
    let foreign = Begin { credential: session("t"), ..begin("d") };
    assert_eq!(id(begun(&store, foreign, NOW).await), None);
    assert_eq!(id(begun(&store, begin("e"), after(5 * MINUTE)).await), None);
}

pub async fn who_only_asks_is_told_the_same_and_changes_nothing(make: Make) {
    let store = make(Limits::default());
    let to = |id: &str| Begin { destination: Some("BTC||x".into()), ..begin(id) };
    begun(&store, to("paid"), NOW).await;
    let used = Learn::Used { destination: "BTC||x".into() };
    store.settle(AttemptId::new("paid"), &alice(), Settled::Done, Some(used), NOW).await.unwrap();
    begun(&store, to("held"), after(1)).await;
    abandon(&store, "held", &["young"], after(1)).await;
    approve(&store, challenge("c"), 10, after(2)).await;
    let consult = || Consult {
        account: alice(),
        credential: session("s"),
        intent: intent(1),
        destination: Some("BTC||x".into()),
    };
    let first = store.consult(consult(), after(3)).await.unwrap();
    let again = store.consult(consult(), after(3)).await.unwrap();
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_eq!(first.address.map(|it| (it.known, it.age_ms)), Some((true, 3)));
    assert_eq!(first.holds.len(), 1);
    assert!(first.counters.0.iter().any(|(action, _, total)| {
        (&**action, total.count, total.usd) == ("withdrawal", 1, Some(usd("10")))
    }));
    let begun = begun(&store, to("last"), after(3)).await;
    assert!(begun.proof.is_some(), "the grant was not taken by asking");
    let said = (first.standing, first.counters, first.holds, format!("{:?}", first.address));
    let then = (begun.standing, begun.counters, begun.holds, format!("{:?}", begun.address));
    assert_eq!(said, then);
    let nowhere = Consult { destination: None, intent: intent(2), ..consult() };
    let nowhere = store.consult(nowhere, after(3)).await.unwrap();
    assert!(nowhere.address.is_none() && nowhere.holds.is_empty());
}

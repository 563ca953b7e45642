//! Standings, sightings, freezes and factors.

use std::sync::Arc;

use stepgate::locate::Sighting;
use stepgate::policy::verdict::Valid;
use stepgate::stepup::challenge::{Challenge, Limits, State};
use stepgate::store::{Arrivals, Begin, Enrolled, Opened, Standing, Store};
use stepgate::types::{AccountId, Credential, Factor};

use super::Make;
use super::fixtures::*;

async fn look(store: &Arc<dyn Store>, id: &AccountId, with: &Credential) -> Arc<Standing> {
    store.look(id, with, NOW).await.expect("answers")
}

pub async fn nothing_is_shown_before_it_was_looked_up(make: Make) {
    let store = make(Limits::default());
    assert!(store.glance(&alice(), &session("s"), NOW).is_none());
    assert_eq!(*look(&store, &alice(), &session("s")).await, Standing::default());
    assert!(store.glance(&alice(), &session("s"), NOW).is_some());
    assert!(store.glance(&alice(), &session("t"), NOW).is_none());
}

pub async fn a_freeze_holds_at_the_next_glance_of_every_credential(make: Make) {
    let store = make(Limits::default());
    for with in [session("s"), session("t")] {
        look(&store, &alice(), &with).await;
    }
    store.freeze(&alice(), "operator:eve".into(), NOW).await.expect("freezes");
    for with in [session("s"), session("t")] {
        let shown = store.glance(&alice(), &with, NOW);
        assert!(shown.is_none_or(|standing| standing.frozen.is_some()));
        assert!(look(&store, &alice(), &with).await.frozen.is_some());
    }
    store.freeze(&alice(), "owner".into(), after(1)).await.expect("freezes");
    let frozen = look(&store, &alice(), &session("s")).await.frozen.clone().expect("frozen");
    assert_eq!((&*frozen.by, frozen.since), ("operator:eve", NOW));
}

pub async fn a_freeze_voids_challenges_grants_elevations_and_holds(make: Make) {
    let store = make(Limits::default());
    let terms = vec![term("remote", either(), Some(Valid::Session)), term("large", either(), None)];
    approve(&store, Challenge { requirement: requirement(terms), ..challenge("c") }, 10, NOW).await;
    open(&store, about(2, challenge("d")), NOW).await;
    let held = Begin { intent: intent(3), ..begin("h") };
    begun(&store, held, NOW).await;
    abandon(&store, "h", &["slow"], NOW).await;
    assert_eq!(look(&store, &alice(), &session("s")).await.elevations.len(), 1);

    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    assert!(store.thaw(&alice(), NOW).await.expect("thaws"));
    assert_eq!(state(&store, "c", NOW).await, State::Expired);
    assert_eq!(state(&store, "d", NOW).await, State::Expired);
    assert_eq!(look(&store, &alice(), &session("s")).await.elevations, []);
    let begun = begun(&store, begin("a"), NOW).await;
    assert!(begun.proof.is_none() && begun.open.is_none());
    let again = Begin { intent: intent(3), ..begin("b") };
    assert_eq!(store.begin(again, NOW).await.expect("begins").holds, []);

    // A new elevation does not bring the old one back.
    let terms = vec![term("far", either(), Some(Valid::Session))];
    let asked = Challenge { requirement: requirement(terms), ..about(4, challenge("e")) };
    approve(&store, asked, 11, NOW).await;
    let elevations = look(&store, &alice(), &session("s")).await.elevations.clone();
    assert_eq!(elevations.len(), 1);
    assert_eq!(elevations[0].rule.as_str(), "far");
}

pub async fn a_thaw_is_answered_once(make: Make) {
    let store = make(Limits::default());
    assert!(!store.thaw(&alice(), NOW).await.expect("answers"));
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    look(&store, &alice(), &session("s")).await;
    assert!(store.thaw(&alice(), NOW).await.expect("answers"));
    assert!(!store.thaw(&alice(), NOW).await.expect("answers"));
    assert!(look(&store, &alice(), &session("s")).await.frozen.is_none());
}

pub async fn a_sighting_makes_the_place_known(make: Make) {
    let store = make(Limits::default());
    look(&store, &alice(), &session("s")).await;
    sight(&store, "DE", NOW).await;
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.countries, ["DE"].map(Arc::from));
    assert_eq!(standing.asns, [3320]);
    assert_eq!(standing.last, Some(seen("DE", NOW)));
    // Another session of the same account has been nowhere yet: the account's last place counts.
    assert_eq!(look(&store, &alice(), &session("t")).await.last, Some(seen("DE", NOW)));
    assert_eq!(*look(&store, &account("bob"), &session("s")).await, Standing::default());

    sight(&store, "DE", after(MINUTE - 1)).await;
    assert_eq!(look(&store, &alice(), &session("s")).await.last, Some(seen("DE", NOW)));
    sight(&store, "DE", after(MINUTE)).await;
    assert_eq!(look(&store, &alice(), &session("s")).await.last, Some(seen("DE", after(MINUTE))));
    sight(&store, "FR", after(MINUTE)).await;
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.countries, ["DE", "FR"].map(Arc::from));
}

pub async fn when_an_account_came_to_a_country_is_remembered_except_for_its_first(make: Make) {
    let store = make(Limits::default());
    sight(&store, "DE", NOW).await;
    assert_eq!(look(&store, &alice(), &session("s")).await.arrived, Arrivals::default());
    sight(&store, "FR", after(HOUR)).await;
    sight(&store, "US", after(2 * HOUR)).await;
    // Coming back does not make a country any younger, nor does a request that was overtaken make it older.
    for at in [after(3 * HOUR), after(MINUTE)] {
        for country in ["FR", "DE"] {
            sight(&store, country, at).await;
        }
    }
    let expected = [("FR".into(), after(HOUR)), ("US".into(), after(2 * HOUR))];
    assert_eq!(look(&store, &alice(), &session("s")).await.arrived, Arrivals::from(expected));
    assert_eq!(look(&store, &alice(), &session("t")).await.arrived.len(), 2);
    // A place without a country is none.
    let nowhere = Sighting { country: None, asn: None, ..seen("DE", after(4 * HOUR)) };
    assert!(store.sight(&alice(), &session("s"), nowhere));
    all_noted(&store).await;
    assert_eq!(look(&store, &alice(), &session("s")).await.arrived.len(), 2);
}

pub async fn sixty_four_places_are_remembered(make: Make) {
    let store = make(Limits::default());
    for n in 0..70u32 {
        let mut sighting = seen(&format!("C{n}"), after(u64::from(n)));
        sighting.asn = Some(n);
        assert!(store.sight(&alice(), &session("s"), sighting));
    }
    all_noted(&store).await;
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!((standing.countries.len(), &*standing.countries[0]), (64, "C6"));
    // What is forgotten has no day of arrival either.
    let expected = (6..70u64).map(|n| (format!("C{n}").into(), after(n))).collect();
    assert_eq!(standing.arrived, expected);
    assert_eq!(standing.asns, (6..70).collect::<Vec<u32>>());
}

pub async fn an_older_sighting_does_not_become_the_last(make: Make) {
    let store = make(Limits::default());
    sight(&store, "DE", after(HOUR)).await;
    sight(&store, "FR", NOW).await;
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.last, Some(seen("DE", after(HOUR))));
    assert_eq!(standing.countries.len(), 2);
}

pub async fn replacing_a_factor_voids_what_is_open_and_is_remembered(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    open(&store, about(2, challenge("d")), NOW).await;
    let replaced = Enrolled { secret: vec![9], since: after(1), ..totp() };
    store.enrol(&alice(), replaced.clone(), after(1)).await.expect("enrols");
    let begun = begun(&store, begin("a"), after(2)).await;
    assert!(begun.proof.is_none() && begun.open.is_none());
    assert_eq!(begun.standing.security_changed, Some(after(1)));
    assert_eq!(store.factors(&alice()).await.expect("answers"), [replaced]);
}

pub async fn the_first_enrolment_is_no_change(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    let sms = Enrolled { factor: Factor::Sms, ..totp() };
    store.enrol(&alice(), sms, NOW).await.expect("enrols");
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.security_changed, None);
    assert_eq!(standing.factors, [Factor::Totp, Factor::Sms].into_iter().collect());
    assert_eq!(state(&store, "c", NOW).await, State::Open);
}

pub async fn removing_a_factor_is_a_change(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    assert!(!store.disenrol(&alice(), Factor::Sms, NOW).await.expect("answers"));
    assert_eq!(look(&store, &alice(), &session("s")).await.security_changed, None);
    assert!(store.disenrol(&alice(), Factor::Totp, after(1)).await.expect("answers"));
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.security_changed, Some(after(1)));
    assert!(standing.factors.is_empty());
    assert_eq!(state(&store, "c", NOW).await, State::Expired);
    assert_eq!(store.factors(&alice()).await.expect("answers"), []);
}

pub async fn a_number_that_is_gone_keeps_claims_waiting(make: Make) {
    let store = make(Limits { factor_hold_ms: 2 * DAY, ..Limits::default() });
    let sms = Enrolled { factor: Factor::Sms, ..totp() };
    let waits = async || look(&store, &alice(), &session("s")).await.claims_count_from;
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    store.enrol(&alice(), sms.clone(), NOW).await.expect("enrols");
    assert!(store.disenrol(&alice(), Factor::Totp, after(1)).await.expect("answers"));
    assert_eq!(waits().await, None, "no number went");
    assert!(store.disenrol(&alice(), Factor::Sms, after(2)).await.expect("answers"));
    assert_eq!(waits().await, Some(after(2 * DAY + 2)));
    assert!(!store.disenrol(&alice(), Factor::Sms, after(3)).await.expect("answers"));
    assert_eq!(waits().await, Some(after(2 * DAY + 2)), "there was none to go");
    for at in [4, 5] {
        store.enrol(&alice(), sms.clone(), after(at)).await.expect("enrols");
    }
    assert_eq!(waits().await, Some(after(2 * DAY + 5)), "one took the place of another");
}

pub async fn a_factor_is_renewed_from_what_it_was_and_nothing_else_changes(make: Make) {
    let store = make(Limits::default());
    let passkeys = Enrolled { factor: Factor::Webauthn, secret: vec![0, 1], ..totp() };
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    store.enrol(&alice(), passkeys.clone(), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    let renew = async |who: &str, was: &[u8], secret: &[u8]| {
        let (was, secret) = (was.to_vec(), secret.to_vec());
        let renewed = store.renew_factor(&account(who), Factor::Webauthn, was, secret, after(1));
        renewed.await.expect("answers")
    };
    assert!(!renew("alice", &[9], &[2]).await, "it was something else");
    assert!(!renew("bob", &[0, 1], &[2]).await, "another account has none");
    assert!(renew("alice", &[0, 1], &[2, 0]).await);
    assert!(!renew("alice", &[0, 1], &[3]).await, "it is not that any more");
    let known = store.factors(&alice()).await.expect("answers");
    assert_eq!(known, [totp(), Enrolled { secret: vec![2, 0], ..passkeys }]);
    let standing = look(&store, &alice(), &session("s")).await;
    assert_eq!(standing.security_changed, None);
    assert_eq!(state(&store, "c", after(1)).await, State::Open);
}

pub async fn account_names_are_exact_and_groups_never_mix(make: Make) {
    let store = make(Limits::default());
    let frozen = AccountId::new("a", "b|c\0d/e");
    store.freeze(&frozen, "owner".into(), NOW).await.expect("freezes");
    begun(&store, Begin { account: frozen.clone(), ..begin("x") }, NOW).await;
    let others = [
        ("ab", "|c\0d/e"),
        ("a", "b|c\0d/E"),
        ("a", "b|c\0d/e "),
        ("a", "b|c\0d"),
        ("a", "b"),
        ("", "ab|c\0d/e"),
        ("A", "b|c\0d/e"),
        ("b|c\0d/e", "a"),
    ];
    for (n, (group, name)) in others.into_iter().enumerate() {
        let other = AccountId::new(group, name);
        let probe = Begin { account: other.clone(), ..begin(&format!("p{n}")) };
        let begun = begun(&store, probe, NOW).await;
        assert!(begun.standing.frozen.is_none() && begun.counters.0.is_empty(), "{other:?}");
    }
    assert!(look(&store, &frozen, &session("s")).await.frozen.is_some());
}

pub async fn the_card_shows_everything_but_secrets(make: Make) {
    use stepgate::store::{Learn, Settled};
    let store = make(Limits::default());
    store
        .enrol(&alice(), Enrolled { secret: b"SECRET".to_vec(), ..totp() }, NOW)
        .await
        .expect("enrols");
    sight(&store, "DE", NOW).await;
    open(&store, challenge("c"), NOW).await;
    for _ in 0..5 {
        spend(&store, "c", Factor::Totp, NOW).await;
    }
    begun(&store, begin("a"), NOW).await;
    let added = Some(Learn::Added { destination: "x".into() });
    let attempt = stepgate::types::AttemptId::new("a");
    store.settle(attempt, &alice(), Settled::Done, added, NOW).await.expect("settles");
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    let card = store.account(&alice(), NOW).await.expect("answers");
    assert_eq!((card.failures, card.blocked_until), (5, Some(after(15 * MINUTE))));
    assert_eq!((card.addresses, card.factors.len()), (1, 1));
    assert_eq!(card.countries, ["DE"].map(Arc::from));
    assert!(card.frozen.is_some() && card.last.is_some());
    let shown = serde_json::to_string(&card).expect("serialises");
    assert!(!shown.contains("SECRET") && !shown.contains("83,69,67"), "{shown}");
    let opened = store.open_challenge(about(2, challenge("d")), NOW).await.expect("answers");
    assert!(matches!(opened, Opened::Blocked { .. }));
}

pub async fn the_first_value_under_a_name_stays(make: Make) {
    let store = make(Limits::default());
    assert_eq!(store.adopt("key", vec![1]).await.expect("answers"), [1]);
    assert_eq!(store.adopt("key", vec![2]).await.expect("answers"), [1]);
    assert_eq!(store.adopt("other", vec![]).await.expect("answers"), [0u8; 0]);
    assert_eq!(store.adopt("other", vec![3]).await.expect("answers"), [0u8; 0]);
}

pub async fn a_ping_is_answered(make: Make) {
    make(Limits::default()).ping().await.expect("answers");
}

//! Attempts, proofs, approvals and what they leave behind.

use stepgate::policy::verdict::{FactorExpr, Valid};
use stepgate::stepup::challenge::{Challenge, Limits, Scope, State};
use stepgate::store::{Enrolled, Opened, PasskeyAsked, Proven, Spent};
use stepgate::types::{AccountId, ChallengeId, Credential, Factor, FactorSet};

use super::Make;
use super::fixtures::*;

pub async fn asking_again_returns_the_same_challenge(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    spend(&store, "c", Factor::Totp, NOW).await;
    let again = Challenge { expires: after(9 * MINUTE), ..challenge("d") };
    match store.open_challenge(again, after(MINUTE)).await.expect("answers") {
        Opened::Existing(known) => {
            assert_eq!(known.id.as_str(), "c");
            assert_eq!((known.attempts_left, known.expires), (4, after(5 * MINUTE)));
        }
        other => panic!("{other:?}"),
    }
    open(&store, about(2, challenge("e")), NOW).await;
    open(&store, Challenge { credential: session("t"), ..challenge("f") }, NOW).await;
    // Once it has expired the same question is a new one.
    open(&store, challenge("g"), after(5 * MINUTE)).await;
}

pub async fn an_approved_challenge_is_not_asked_anew(make: Make) {
    let store = make(Limits::default());
    approve(&store, challenge("c"), 10, NOW).await;
    let opened = store.open_challenge(challenge("d"), after(1)).await.expect("answers");
    assert!(matches!(opened, Opened::Existing(known) if known.state == State::Approved));
    begun(&store, begin("a"), after(2)).await;
    open(&store, challenge("d"), after(3)).await;
}

pub async fn a_fourth_open_challenge_voids_the_oldest(make: Make) {
    let store = make(Limits::default());
    approve(&store, about(9, challenge("approved")), 10, NOW).await;
    for (n, id) in [(1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        open(&store, about(n, challenge(id)), after(1)).await;
    }
    assert_eq!(state(&store, "a", after(2)).await, State::Expired);
    for id in ["b", "c", "d"] {
        assert_eq!(state(&store, id, after(2)).await, State::Open);
    }
    assert_eq!(state(&store, "approved", after(2)).await, State::Approved);
    assert!(matches!(spend(&store, "a", Factor::Totp, after(2)).await, Spent::Closed(_)));
}

pub async fn five_attempts_are_compared_and_the_challenge_is_locked(make: Make) {
    let store = make(Limits { failures_max: 50, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    for left in (0..5).rev() {
        match spend(&store, "c", Factor::Totp, NOW).await {
            Spent::Compare { left: told, .. } => assert_eq!(told, left),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(state(&store, "c", NOW).await, State::Locked);
    match spend(&store, "c", Factor::Totp, NOW).await {
        Spent::Closed(closed) => assert_eq!(closed.state, State::Locked),
        other => panic!("{other:?}"),
    }
}

pub async fn the_last_attempt_may_still_be_right(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    for _ in 0..5 {
        spend(&store, "c", Factor::Totp, NOW).await;
    }
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Approved(_)));
    assert_eq!(state(&store, "c", NOW).await, State::Approved);
    assert!(begun(&store, begin("a"), NOW).await.proof.is_some());
    // The block that the fifth failure in a row would have been is gone with it.
    assert_eq!(store.account(&alice(), NOW).await.expect("answers").blocked_until, None);
}

pub async fn five_failures_block_the_account_across_challenges_and_credentials(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    for _ in 0..3 {
        spend(&store, "c", Factor::Totp, NOW).await;
    }
    let there = session("t");
    open(&store, Challenge { credential: there.clone(), ..challenge("d") }, NOW).await;
    let (who, id) = (alice(), ChallengeId::new("d"));
    let spend_there =
        async || store.spend_attempt(&id, &who, &there, Factor::Sms, NOW).await.expect("answers");
    for _ in 0..2 {
        assert!(matches!(spend_there().await, Spent::Compare { .. }));
    }
    let until = after(15 * MINUTE);
    assert!(matches!(spend_there().await, Spent::Blocked { until: told } if told == until));
    let opened = store.open_challenge(about(7, challenge("e")), NOW).await.expect("answers");
    assert!(matches!(opened, Opened::Blocked { until: told } if told == until));

    let later = Challenge { expires: until.plus_ms(MINUTE), ..about(6, challenge("g")) };
    open(&store, later, until).await;
    for _ in 0..5 {
        assert!(matches!(spend(&store, "g", Factor::Totp, until).await, Spent::Compare { .. }));
    }
    match spend(&store, "g", Factor::Totp, until).await {
        Spent::Blocked { until: told } => assert_eq!(told, until.plus_ms(30 * MINUTE)),
        other => panic!("{other:?}"),
    }
}

pub async fn a_right_code_ends_the_row_of_failures(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    for round in 0..4u8 {
        let id = format!("c{round}");
        open(&store, about(round, challenge(&id)), NOW).await;
        for _ in 0..4 {
            let spent = spend(&store, &id, Factor::Totp, NOW).await;
            assert!(matches!(spent, Spent::Compare { .. }), "{spent:?}");
        }
        let proven = prove_totp(&store, &id, 10 + u64::from(round), NOW).await;
        assert!(matches!(proven, Proven::Approved(_)));
        assert_eq!(store.account(&alice(), NOW).await.expect("answers").failures, 0);
    }
}

pub async fn a_hundred_failures_disable_the_factor_until_it_is_enrolled_again(make: Make) {
    let store = make(Limits { attempts_max: 1000, failures_max: 1000, ..Limits::default() });
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, Challenge { attempts_left: 1000, ..challenge("c") }, NOW).await;
    for _ in 0..100 {
        assert!(matches!(spend(&store, "c", Factor::Totp, NOW).await, Spent::Compare { .. }));
    }
    assert!(matches!(spend(&store, "c", Factor::Totp, NOW).await, Spent::Blocked { .. }));
    assert!(matches!(spend(&store, "c", Factor::Sms, NOW).await, Spent::Compare { .. }));
    assert!(store.factors(&alice()).await.expect("answers")[0].disabled);
    let standing = store.look(&alice(), &session("s"), NOW).await.expect("answers");
    assert!(!standing.factors.contains(Factor::Totp));

    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    assert!(!store.factors(&alice()).await.expect("answers")[0].disabled);
}

pub async fn another_account_or_credential_finds_nothing(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    let id = ChallengeId::new("c");
    let api_key = Credential { kind: stepgate::types::CredentialKind::ApiKey, ..session("s") };
    for (who, with) in [(account("bob"), session("s")), (alice(), session("t")), (alice(), api_key)]
    {
        let spent = store.spend_attempt(&id, &who, &with, Factor::Totp, NOW).await;
        assert!(matches!(spent.expect("answers"), Spent::Missing));
    }
    assert!(matches!(spend(&store, "none", Factor::Totp, NOW).await, Spent::Missing));
    let found = store.challenge(&id, &alice(), NOW).await.expect("answers").expect("is there");
    assert_eq!(found.attempts_left, 5);
    assert_eq!(store.account(&account("bob"), NOW).await.expect("answers").failures, 0);
}

pub async fn an_expired_challenge_is_not_answered(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    let end = after(5 * MINUTE);
    assert!(matches!(
        spend(&store, "c", Factor::Totp, after(5 * MINUTE - 1)).await,
        Spent::Compare { .. }
    ));
    match spend(&store, "c", Factor::Totp, end).await {
        Spent::Closed(closed) => assert_eq!(closed.state, State::Expired),
        other => panic!("{other:?}"),
    }
    assert!(matches!(prove_totp(&store, "c", 10, end).await, Proven::Closed(_)));
    // What became of it is still answered a day later.
    assert_eq!(state(&store, "c", after(DAY)).await, State::Expired);
}

pub async fn zero_attempts_means_none(make: Make) {
    let store = make(Limits { attempts_max: 0, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    match spend(&store, "c", Factor::Totp, NOW).await {
        Spent::Closed(closed) => assert_eq!(closed.state, State::Locked),
        other => panic!("{other:?}"),
    }
}

pub async fn zero_open_challenges_means_none(make: Make) {
    let store = make(Limits { open_per_account_max: 0, ..Limits::default() });
    open(&store, challenge("c"), NOW).await;
    assert_eq!(state(&store, "c", NOW).await, State::Expired);
}

pub async fn zero_failures_means_always_blocked(make: Make) {
    let store = make(Limits { failures_max: 0, ..Limits::default() });
    let opened = store.open_challenge(challenge("c"), NOW).await.expect("answers");
    assert!(matches!(opened, Opened::Blocked { until } if until > NOW));
}

pub async fn a_step_is_accepted_once_per_account_and_none_before_it(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    for (n, id) in [(1, "c"), (2, "d")] {
        open(&store, about(n, challenge(id)), NOW).await;
        spend(&store, id, Factor::Totp, NOW).await;
    }
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Approved(_)));
    for step in [10, 9, 0] {
        assert!(matches!(prove_totp(&store, "d", step, NOW).await, Proven::Replayed));
    }
    let without_step =
        store.prove(&ChallengeId::new("d"), &alice(), Factor::Totp, None, None, NOW).await;
    assert!(matches!(without_step.expect("answers"), Proven::Replayed));
    assert_eq!(state(&store, "d", NOW).await, State::Open);
    assert!(matches!(prove_totp(&store, "d", 11, NOW).await, Proven::Approved(_)));
    assert_eq!(store.factors(&alice()).await.expect("answers")[0].last_step, Some(11));

    let at_enrolment = Enrolled { last_step: Some(20), ..totp() };
    store.enrol(&account("bob"), at_enrolment, NOW).await.expect("enrols");
    open(&store, Challenge { account: account("bob"), ..challenge("e") }, NOW).await;
    let bobs = async |account: &AccountId| {
        let (id, totp) = (ChallengeId::new("e"), Factor::Totp);
        store.prove(&id, account, totp, Some(20), None, NOW).await
    };
    assert!(matches!(bobs(&account("bob")).await, Ok(Proven::Replayed)));
    assert!(bobs(&alice()).await.is_err(), "it is nobody else's challenge");
}

pub async fn all_factors_of_all_rules_are_needed(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    let both = FactorExpr::All(vec![FactorExpr::One(Factor::Totp), FactorExpr::One(Factor::Sms)]);
    let terms = vec![term("large", both, None), term("far", either(), Some(Valid::Session))];
    open(&store, Challenge { requirement: requirement(terms), ..challenge("c") }, NOW).await;
    let id = ChallengeId::new("c");
    store.send_code(&id, &alice(), number("n"), code("m", NOW), vec![], NOW).await.expect("sends");
    spend(&store, "c", Factor::Totp, NOW).await;
    match prove_totp(&store, "c", 10, NOW).await {
        Proven::More(open) => {
            let missing: Vec<_> = open.factors_open().iter().collect();
            assert_eq!((open.state, missing), (State::Open, vec![Factor::Sms]));
        }
        other => panic!("{other:?}"),
    }
    assert!(begun(&store, begin("a"), NOW).await.proof.is_none());
    spend(&store, "c", Factor::Sms, NOW).await;
    assert!(matches!(prove_sms(&store, "c", "m", NOW).await, Proven::Approved(_)));
    let proof = begun(&store, begin("b"), NOW).await.proof.expect("the grant");
    assert!(proof.factors.contains(Factor::Totp) && proof.factors.contains(Factor::Sms));
    let standing = store.look(&alice(), &session("s"), NOW).await.expect("answers");
    assert_eq!(standing.elevations.len(), 1);
}

pub async fn an_elevation_is_given_here_to_this_credential_and_ends(make: Make) {
    let store = make(Limits::default());
    let terms = vec![
        term("remote", either(), Some(Valid::Session)),
        term("short", either(), Some(Valid::ForMs(MINUTE))),
        term("large", either(), None),
    ];
    let asked = Challenge { requirement: requirement(terms), ..challenge("c") };
    approve(&store, asked, 10, NOW).await;
    let rules = async |credential: &str, now| -> Vec<String> {
        let standing = store.look(&alice(), &session(credential), now).await.expect("answers");
        standing.elevations.iter().map(|known| known.rule.to_string()).collect()
    };
    assert_eq!(rules("s", NOW).await, ["remote", "short"]);
    assert_eq!(rules("t", NOW).await, [""; 0]);
    assert_eq!(rules("s", after(MINUTE)).await, ["remote"]);
    assert_eq!(rules("s", after(DAY)).await, [""; 0]);
    let standing = store.look(&alice(), &session("s"), NOW).await.expect("answers");
    let given = &standing.elevations[0];
    assert_eq!((&*given.place, given.until), ("DE", after(DAY)));
    assert_eq!(given.factors, [Factor::Totp].into_iter().collect::<FactorSet>());
    assert_eq!(state(&store, "c", NOW).await, State::Approved);
}

pub async fn a_challenge_that_only_elevates_is_used_at_once(make: Make) {
    let store = make(Limits::default());
    let terms = vec![term("remote", either(), Some(Valid::Session))];
    let asked = Challenge { requirement: requirement(terms), ..challenge("c") };
    approve(&store, asked, 10, NOW).await;
    assert_eq!(state(&store, "c", NOW).await, State::Used);
    assert!(begun(&store, begin("a"), NOW).await.proof.is_none());
}

pub async fn a_place_challenge_is_used_at_once(make: Make) {
    let store = make(Limits::default());
    approve(&store, Challenge { scope: Scope::Place("DE".into()), ..challenge("c") }, 10, NOW)
        .await;
    assert_eq!(state(&store, "c", NOW).await, State::Used);
}

pub async fn a_rejected_challenge_is_dead(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    let id = ChallengeId::new("c");
    let rejected =
        store.reject(&id, &alice(), false, NOW).await.expect("answers").expect("is there");
    assert_eq!(rejected.state, State::Rejected);
    assert!(matches!(spend(&store, "c", Factor::Totp, NOW).await, Spent::Closed(_)));
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Closed(_)));
    approve(&store, about(2, challenge("d")), 10, NOW).await;
    store.reject(&ChallengeId::new("d"), &alice(), false, NOW).await.expect("answers");
    let late = stepgate::store::Begin { intent: intent(2), ..begin("a") };
    assert!(begun(&store, late, NOW).await.proof.is_none());
    assert!(
        store.reject(&ChallengeId::new("x"), &alice(), true, NOW).await.expect("answers").is_none()
    );
}

pub async fn not_me_can_freeze_the_account_at_once(make: Make) {
    let store = make(Limits::default());
    store.look(&alice(), &session("s"), NOW).await.expect("answers");
    open(&store, challenge("c"), NOW).await;
    open(&store, about(2, challenge("d")), NOW).await;
    store.reject(&ChallengeId::new("c"), &alice(), true, after(1)).await.expect("answers");
    assert_eq!(state(&store, "c", after(1)).await, State::Rejected);
    assert_eq!(state(&store, "d", after(1)).await, State::Expired);
    let frozen = begun(&store, begin("a"), after(1)).await.standing.frozen.expect("frozen");
    assert_eq!((&*frozen.by, frozen.since), ("owner", after(1)));
    assert!(store.glance(&alice(), &session("s"), after(1)).is_none());
}

pub async fn a_held_request_is_released_once_and_only_to_its_owner(make: Make) {
    let store = make(Limits::default());
    let held = vec![0xa5; 64 * 1024];
    let terms = vec![term("remote", either(), Some(Valid::Session))];
    let asked =
        Challenge { requirement: requirement(terms), held: Some(held.clone()), ..challenge("c") };
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, asked, NOW).await;
    let id = ChallengeId::new("c");
    let take = async |who: &str, with: &str, at| {
        store.take_held(&id, &account(who), &session(with), at).await.expect("answers")
    };
    assert_eq!(take("alice", "s", NOW).await, None);
    spend(&store, "c", Factor::Totp, NOW).await;
    prove_totp(&store, "c", 10, NOW).await;
    assert_eq!(take("bob", "s", NOW).await, None);
    assert_eq!(take("alice", "t", NOW).await, None);
    assert_eq!(take("alice", "s", after(5 * MINUTE)).await, None);
    let found = store.challenge(&id, &alice(), NOW).await.expect("answers").expect("is there");
    assert_eq!(found.held.as_ref(), Some(&held));
    assert_eq!(take("alice", "s", NOW).await, Some(held));
    assert_eq!(take("alice", "s", NOW).await, None);
}

pub async fn a_redeemed_challenge_holds_no_request(make: Make) {
    let store = make(Limits::default());
    approve(&store, Challenge { held: Some(vec![1]), ..challenge("c") }, 10, NOW).await;
    begun(&store, begin("a"), NOW).await;
    let id = ChallengeId::new("c");
    assert_eq!(store.take_held(&id, &alice(), &session("s"), NOW).await.expect("answers"), None);
}

pub async fn what_a_passkey_was_asked_is_taken_by_one_attempt_with_a_passkey(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    let asked = ask(&store, "c", &[7, 0, 255], NOW).await;
    let PasskeyAsked::Asked(asked) = asked else { panic!("{asked:?}") };
    assert_eq!((asked.state, asked.attempts_left), (State::Open, 5));
    let taken = async |factor| match spend(&store, "c", factor, NOW).await {
        Spent::Compare { challenge, .. } => challenge.ceremony,
        other => panic!("{other:?}"),
    };
    let question = Some(vec![7, 0, 255]);
    assert_eq!(taken(Factor::Totp).await, question, "another factor leaves it");
    assert_eq!(taken(Factor::Webauthn).await, question);
    assert_eq!(taken(Factor::Webauthn).await, None);
    let found = store.challenge(&ChallengeId::new("c"), &alice(), NOW).await.expect("answers");
    assert_eq!(found.expect("is there").ceremony, None);
}

pub async fn a_passkey_is_asked_anew_while_the_challenge_is_open_and_not_after(make: Make) {
    let store = make(Limits::default());
    open(&store, Challenge { attempts_left: 4, ..challenge("c") }, NOW).await;
    ask(&store, "c", b"first", NOW).await;
    ask(&store, "c", b"second", NOW).await;
    let Spent::Compare { challenge: asked, left, .. } =
        spend(&store, "c", Factor::Webauthn, NOW).await
    else {
        panic!("is compared")
    };
    assert_eq!((asked.ceremony.as_deref(), left), (Some(&b"second"[..]), 3));
    let over = ask(&store, "c", b"third", after(5 * MINUTE)).await;
    assert!(matches!(&over, PasskeyAsked::Closed(known) if known.state == State::Expired));
    let missing = ask(&store, "nothing", b"x", NOW).await;
    assert!(matches!(missing, PasskeyAsked::Missing), "{missing:?}");
    let id = ChallengeId::new("c");
    let foreign = store.ask_passkey(&id, &account("bob"), vec![1], NOW).await.expect("answers");
    assert!(matches!(foreign, PasskeyAsked::Missing), "{foreign:?}");
    ask(&store, "c", b"fourth", NOW).await;
    store.reject(&id, &alice(), false, NOW).await.expect("answers");
    let found = store.challenge(&id, &alice(), NOW).await.expect("answers").expect("is there");
    assert_eq!(found.ceremony, None, "what has ended asks nothing");
    open(&store, about(2, challenge("d")), NOW).await;
    for _ in 0..4 {
        spend(&store, "d", Factor::Sms, NOW).await;
    }
    let blocked = ask(&store, "d", b"x", NOW).await;
    assert!(matches!(blocked, PasskeyAsked::Blocked { .. }), "{blocked:?}");
}

pub async fn a_challenge_cannot_come_with_anything_proven(make: Make) {
    let store = make(Limits::default());
    let crafted = Challenge {
        proven: [Factor::Totp].into_iter().collect(),
        state: State::Approved,
        attempts_left: 99,
        ceremony: Some(vec![1]),
        expires: after(DAY),
        ..challenge("c")
    };
    let opened = open(&store, crafted, NOW).await;
    assert_eq!((opened.state, opened.attempts_left), (State::Open, 5));
    assert_eq!((opened.proven, opened.expires), (FactorSet::default(), after(5 * MINUTE)));
    assert_eq!(opened.ceremony, None);
    assert!(begun(&store, begin("a"), NOW).await.proof.is_none());
    assert!(store.open_challenge(about(2, challenge("c")), NOW).await.is_err());
}

pub async fn what_is_voided_is_not_approved_by_its_last_attempt(make: Make) {
    let store = make(Limits::default());
    let terms = vec![term("remote", either(), Some(Valid::Session))];
    let asked = Challenge {
        requirement: requirement(terms),
        attempts_left: 1,
        held: Some(vec![1]),
        ..challenge("c")
    };
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, asked, NOW).await;
    assert!(matches!(spend(&store, "c", Factor::Totp, NOW).await, Spent::Compare { .. }));
    // Frozen between the last attempt and its comparison.
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Closed(_)));
    let begun = begun(&store, begin("a"), NOW).await;
    assert!(begun.proof.is_none() && begun.standing.elevations.is_empty());
    let (id, with) = (ChallengeId::new("c"), session("s"));
    assert_eq!(store.take_held(&id, &alice(), &with, NOW).await.expect("answers"), None);
}

//! Factors that wait to be enrolled, young ones, and recovery codes.

use std::sync::Arc;

use stepgate::policy::verdict::{FactorExpr, Valid};
use stepgate::stepup::challenge::{Challenge, Limits, Pending, State};
use stepgate::store::{CodeQueued, Enrolled, Opened, Proven, Spent, Standing, Store};
use stepgate::types::{ChallengeId, Factor, FactorSet};
use tokio::task::JoinSet;

use super::Make;
use super::fixtures::*;

async fn look_at(store: &Arc<dyn Store>, now: stepgate::types::UnixMs) -> Arc<Standing> {
    store.look(&alice(), &session("s"), now).await.expect("answers")
}

/// Whether ordinary traffic is shown what was read last. What changed a moment ago may be told once more.
async fn glanced(store: &Arc<dyn Store>, now: stepgate::types::UnixMs) -> bool {
    for _ in 0..1_000 {
        look_at(store, now).await;
        if store.glance(&alice(), &session("s"), now).is_some() {
            return true;
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    false
}

async fn factors(store: &Arc<dyn Store>) -> Vec<Enrolled> {
    store.factors(&alice()).await.expect("answers")
}

fn set<const N: usize>(factors: [Factor; N]) -> FactorSet {
    factors.into_iter().collect()
}

fn recovery(codes: &[&str]) -> Enrolled {
    let codes = codes.iter().map(|code| (*code).to_owned()).collect();
    Enrolled { factor: Factor::Recovery, secret: vec![], codes, ..totp() }
}

/// Asked for a recovery code about intent `n`.
fn by_recovery(n: u8, id: &str) -> Challenge {
    let terms = vec![term("large", FactorExpr::One(Factor::Recovery), None)];
    Challenge { requirement: requirement(terms), ..about(n, challenge(id)) }
}

async fn prove_recovery(store: &Arc<dyn Store>, id: &str, mac: &str) -> Proven {
    let (id, mac) = (ChallengeId::new(id), Some(mac.to_owned()));
    store.prove(&id, &alice(), Factor::Recovery, None, mac, NOW).await.expect("answers")
}

pub async fn a_right_answer_enrols_the_factor_that_waited(make: Make) {
    let store = make(Limits::default());
    let opened = open(&store, pending("c", Factor::Totp), NOW).await;
    assert_eq!(opened.pending.expect("waits").secret, [7, 0, 255]);
    spend(&store, "c", Factor::Totp, after(1)).await;
    match prove_totp(&store, "c", 10, after(2)).await {
        Proven::Approved(used) => {
            assert_eq!((used.state, used.pending), (State::Used, None));
            assert!(used.proven.contains(Factor::Totp));
        }
        other => panic!("{other:?}"),
    }
    let [codes, totp] = &factors(&store).await[..] else { panic!("two factors") };
    assert_eq!(
        (totp.factor, &totp.secret[..], &*totp.label),
        (Factor::Totp, &[7, 0, 255][..], "new")
    );
    assert_eq!(
        (totp.since, totp.usable_from, totp.last_step),
        (after(2), after(DAY + 2), Some(10))
    );
    assert_eq!(totp.language.as_deref(), Some("ja"));
    assert_eq!((codes.factor, codes.usable_from), (Factor::Recovery, after(DAY + 2)));
    assert_eq!(codes.codes, ["c1", "c2"]);
    let standing = look_at(&store, after(2)).await;
    assert_eq!(standing.security_changed, Some(after(2)));
    // It is enrolled once, and nothing is granted by it.
    assert!(matches!(prove_totp(&store, "c", 11, after(3)).await, Proven::Closed(_)));
    assert_eq!(state(&store, "c", after(3)).await, State::Used);
    assert!(begun(&store, begin("a"), after(3)).await.proof.is_none());
}

pub async fn what_waits_is_compared_and_not_what_is_enrolled(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, pending("c", Factor::Totp), NOW).await;
    match spend(&store, "c", Factor::Totp, NOW).await {
        Spent::Compare { enrolled: Some(enrolled), left, .. } => {
            assert_eq!(
                (&enrolled.secret[..], enrolled.last_step, left),
                (&[7, 0, 255][..], None, 4)
            );
        }
        other => panic!("{other:?}"),
    }
    // Another factor of the account's is nothing to compare with.
    let enrolled_sms = Enrolled { factor: Factor::Sms, ..totp() };
    store.enrol(&alice(), enrolled_sms, NOW).await.expect("enrols");
    match spend(&store, "c", Factor::Sms, NOW).await {
        Spent::Compare { enrolled, .. } => assert_eq!(enrolled, None),
        other => panic!("{other:?}"),
    }
}

pub async fn the_code_that_enrolled_is_no_code_any_more(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Totp), NOW).await;
    spend(&store, "c", Factor::Totp, NOW).await;
    prove_totp(&store, "c", 10, NOW).await;
    let later = after(DAY);
    let expires = later.plus_ms(5 * MINUTE);
    open(&store, Challenge { created: later, expires, ..challenge("d") }, later).await;
    for step in [10, 9] {
        assert!(matches!(prove_totp(&store, "d", step, later).await, Proven::Replayed));
    }
    assert!(matches!(prove_totp(&store, "d", 11, later).await, Proven::Approved(_)));
}

pub async fn a_factor_of_the_owners_is_young_until_its_time(make: Make) {
    let store = make(Limits { factor_hold_ms: 2 * DAY, ..Limits::default() });
    let sms = Enrolled { factor: Factor::Sms, ..totp() };
    store.enrol(&alice(), sms, NOW).await.expect("enrols");
    open(&store, pending("c", Factor::Totp), NOW).await;
    spend(&store, "c", Factor::Totp, NOW).await;
    prove_totp(&store, "c", 10, NOW).await;
    let ripe = after(2 * DAY);
    for now in [NOW, after(2 * DAY - 1)] {
        let standing = look_at(&store, now).await;
        assert_eq!(standing.factors, set([Factor::Sms]));
        assert_eq!(standing.young, set([Factor::Totp, Factor::Recovery]));
        let ripens: Vec<_> = standing.ripens.iter().map(|(_, at)| *at).collect();
        assert_eq!(ripens, [ripe, ripe]);
        assert!(glanced(&store, now).await, "what was read is shown as long as it holds");
    }
    assert!(store.glance(&alice(), &session("s"), ripe).is_none(), "what was read is out of date");
    let standing = look_at(&store, ripe).await;
    assert_eq!(standing.factors, set([Factor::Totp, Factor::Sms, Factor::Recovery]));
    assert_eq!((standing.young, standing.ripens.len()), (FactorSet::default(), 0));
}

pub async fn an_enrolment_voids_what_was_asked_and_given_before(make: Make) {
    let store = make(Limits::default());
    let terms = vec![term("remote", either(), Some(Valid::Session)), term("large", either(), None)];
    approve(&store, Challenge { requirement: requirement(terms), ..challenge("c") }, 10, NOW).await;
    open(&store, about(2, challenge("d")), NOW).await;
    let sms = Challenge { account: alice(), ..pending("e", Factor::Sms) };
    open(&store, sms, NOW).await;
    let id = ChallengeId::new("e");
    let sent = store.send_code(&id, &alice(), number("n"), code("m", NOW), vec![], NOW).await;
    assert!(matches!(sent.expect("answers"), CodeQueued::Queued(_)));
    assert!(matches!(prove_sms(&store, "e", "m", NOW).await, Proven::Approved(_)));
    assert_eq!(look_at(&store, NOW).await.elevations, []);
    assert_eq!(state(&store, "d", NOW).await, State::Expired);
    let begun = begun(&store, begin("a"), NOW).await;
    assert!(begun.proof.is_none() && begun.open.is_none());
}

pub async fn an_answer_with_another_factor_enrols_nothing(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    store.enrol(&alice(), recovery(&["r"]), NOW).await.expect("enrols");
    open(&store, pending("c", Factor::Sms), NOW).await;
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Replayed));
    assert!(matches!(prove_recovery(&store, "c", "r").await, Proven::Replayed));
    assert!(matches!(prove_sms(&store, "c", "m", NOW).await, Proven::Replayed));
    assert_eq!(factors(&store).await.len(), 2);
    assert_eq!(factors(&store).await[1].codes, ["r"]);
    assert_eq!(state(&store, "c", NOW).await, State::Open);
}

pub async fn an_sms_enrols_by_the_code_that_was_sent_last(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Sms), NOW).await;
    let id = ChallengeId::new("c");
    for mac in ["m1", "m2"] {
        let sent = store.send_code(&id, &alice(), number("n"), code(mac, NOW), vec![], NOW).await;
        assert!(matches!(sent.expect("answers"), CodeQueued::Queued(_)));
    }
    assert!(matches!(prove_sms(&store, "c", "m1", NOW).await, Proven::Replayed));
    assert!(matches!(prove_sms(&store, "c", "m2", after(5 * MINUTE)).await, Proven::Closed(_)));
    assert!(matches!(prove_sms(&store, "c", "m2", NOW).await, Proven::Approved(_)));
    assert_eq!(factors(&store).await.len(), 2);
}

pub async fn recovery_codes_come_once_and_never_replace_others(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), recovery(&["old"]), NOW).await.expect("enrols");
    open(&store, pending("c", Factor::Totp), NOW).await;
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Approved(_)));
    let codes: Vec<_> = factors(&store).await.into_iter().map(|known| known.codes).collect();
    assert_eq!(codes, [vec!["old".to_owned()], vec![]]);
    let none = pending("d", Factor::Sms).pending.map(|of| Pending { codes: vec![], ..of });
    store.disenrol(&alice(), Factor::Recovery, NOW).await.expect("answers");
    open(&store, Challenge { pending: none, ..pending("d", Factor::Sms) }, NOW).await;
    let id = ChallengeId::new("d");
    store.send_code(&id, &alice(), number("n"), code("m", NOW), vec![], NOW).await.expect("sends");
    assert!(matches!(prove_sms(&store, "d", "m", NOW).await, Proven::Approved(_)));
    assert!(factors(&store).await.iter().all(|known| known.factor != Factor::Recovery));
}

pub async fn wrong_answers_to_an_enrolment_count_as_all_others_do(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Totp), NOW).await;
    for left in [4, 3, 2, 1, 0] {
        match spend(&store, "c", Factor::Totp, NOW).await {
            Spent::Compare { left: told, .. } => assert_eq!(told, left),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(state(&store, "c", NOW).await, State::Locked);
    let card = store.account(&alice(), NOW).await.expect("answers");
    assert_eq!((card.failures, card.blocked_until), (5, Some(after(15 * MINUTE))));
    let opened = store.open_challenge(pending("d", Factor::Sms), NOW).await.expect("answers");
    assert!(matches!(opened, Opened::Blocked { .. }));
    assert_eq!(factors(&store).await, []);
}

pub async fn a_disabled_factor_is_replaced_and_counts_anew(make: Make) {
    let store = make(Limits { failures_disable: 3, ..Limits::default() });
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    for _ in 0..3 {
        spend(&store, "c", Factor::Totp, NOW).await;
    }
    assert!(factors(&store).await[0].disabled);
    open(&store, pending("d", Factor::Totp), NOW).await;
    let spent = spend(&store, "d", Factor::Totp, NOW).await;
    assert!(matches!(spent, Spent::Compare { enrolled: Some(_), .. }), "{spent:?}");
    assert!(matches!(prove_totp(&store, "d", 10, NOW).await, Proven::Approved(_)));
    let known = factors(&store).await;
    let known = known.iter().find(|known| known.factor == Factor::Totp).expect("enrolled");
    assert!(!known.disabled);
    assert_eq!(store.account(&alice(), NOW).await.expect("answers").failures, 0);
}

pub async fn a_frozen_account_enrols_nothing(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Totp), NOW).await;
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Closed(_)));
    // Nor one that was asked for by somebody who had not heard of it yet.
    open(&store, pending("d", Factor::Totp), NOW).await;
    assert!(matches!(prove_totp(&store, "d", 10, NOW).await, Proven::Closed(_)));
    assert_eq!(state(&store, "d", NOW).await, State::Expired);
    assert_eq!(factors(&store).await, []);
}

pub async fn what_waits_is_gone_when_its_challenge_ends(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Totp), NOW).await;
    let id = ChallengeId::new("c");
    let rejected = store.reject(&id, &alice(), false, NOW).await.expect("answers");
    assert_eq!(rejected.expect("is there").pending, None);
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Closed(_)));
    assert_eq!(factors(&store).await, []);
}

pub async fn a_recovery_code_counts_once(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), recovery(&["r1", "r2", "r3"]), NOW).await.expect("enrols");
    for (n, id) in [(1, "c"), (2, "d")] {
        open(&store, by_recovery(n, id), NOW).await;
        spend(&store, id, Factor::Recovery, NOW).await;
    }
    assert!(matches!(prove_recovery(&store, "c", "none").await, Proven::Replayed));
    let without = ChallengeId::new("c");
    let without = store.prove(&without, &alice(), Factor::Recovery, None, None, NOW).await;
    assert!(matches!(without.expect("answers"), Proven::Replayed));
    assert!(matches!(prove_recovery(&store, "c", "r2").await, Proven::Approved(_)));
    assert_eq!(factors(&store).await[0].codes, ["r1", "r3"]);
    assert!(matches!(prove_recovery(&store, "d", "r2").await, Proven::Replayed));
    assert!(matches!(prove_recovery(&store, "d", "r3").await, Proven::Approved(_)));
    assert!(begun(&store, begin("a"), NOW).await.proof.is_some());
}

pub async fn codes_that_are_used_up_are_no_factor(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), recovery(&["r"]), NOW).await.expect("enrols");
    assert_eq!(look_at(&store, NOW).await.factors, set([Factor::Recovery]));
    open(&store, by_recovery(1, "c"), NOW).await;
    assert!(matches!(prove_recovery(&store, "c", "r").await, Proven::Approved(_)));
    assert!(look_at(&store, NOW).await.factors.is_empty());
    let card = store.account(&alice(), NOW).await.expect("answers");
    assert_eq!(card.factors[0].codes_left, Some(0));
}

pub async fn open_challenges_are_listed_and_others_are_not(make: Make) {
    let store = make(Limits::default());
    let held = Challenge { held: Some(vec![1, 2]), ..challenge("c") };
    open(&store, held, NOW).await;
    open(&store, Challenge { credential: session("t"), ..about(2, challenge("d")) }, NOW).await;
    let listed = async |now| {
        let open = store.open_challenges(&alice(), now).await.expect("answers");
        assert!(open.iter().all(|challenge| challenge.held.is_none()));
        open.iter().map(|challenge| challenge.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(NOW).await, "c d");
    assert_eq!(store.open_challenges(&account("bob"), NOW).await.expect("answers"), []);
    assert_eq!(listed(after(5 * MINUTE)).await, "");
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    assert!(matches!(prove_totp(&store, "c", 10, NOW).await, Proven::Approved(_)));
    assert_eq!(listed(NOW).await, "d");
    for _ in 0..5 {
        let (id, with) = (ChallengeId::new("d"), session("t"));
        store.spend_attempt(&id, &alice(), &with, Factor::Totp, NOW).await.expect("answers");
    }
    assert_eq!(listed(NOW).await, "");
}

pub async fn the_owners_first_factor_is_a_change(make: Make) {
    let store = make(Limits::default());
    open(&store, challenge("c"), NOW).await;
    let own = Enrolled { since: after(1), usable_from: after(DAY), ..recovery(&["r"]) };
    store.enrol(&alice(), own.clone(), after(1)).await.expect("enrols");
    assert_eq!(look_at(&store, after(1)).await.security_changed, Some(after(1)));
    assert_eq!(state(&store, "c", after(1)).await, State::Expired);
    assert_eq!(factors(&store).await, [own]);
}

pub async fn a_young_factor_and_its_codes_survive_a_move(make: Make) {
    let from = make(Limits::default());
    open(&from, pending("c", Factor::Totp), NOW).await;
    prove_totp(&from, "c", 10, NOW).await;
    let to = make(Limits::default());
    let (mut kept, mut next) = (Vec::new(), None);
    loop {
        let part = from.export(next).await.expect("exports");
        kept.extend(part.kept);
        next = part.next;
        if next.is_none() {
            break;
        }
    }
    let written = serde_json::to_string(&kept).expect("serialises");
    to.import(serde_json::from_str(&written).expect("reads"), NOW).await.expect("imports");
    assert_eq!(factors(&to).await, factors(&from).await);
    assert_eq!(look_at(&to, NOW).await.young, set([Factor::Totp, Factor::Recovery]));
}

/// What is kept after a passkey was made: `old` of the oldest, and not ripe before `ripe`.
fn made(secret: &[u8], old: u64, ripe: u64) -> Enrolled {
    let (since, usable_from) = (after(old), after(ripe));
    Enrolled { factor: Factor::Webauthn, secret: secret.to_vec(), since, usable_from, ..totp() }
}

async fn enrol_made(
    store: &Arc<dyn Store>,
    id: &str,
    was: Option<&[u8]>,
    enrolled: Enrolled,
    now: stepgate::types::UnixMs,
) -> Proven {
    let was = was.map(<[u8]>::to_vec);
    let proven = store.enrol_made(&ChallengeId::new(id), &alice(), was, enrolled, now);
    proven.await.expect("answers")
}

pub async fn a_passkey_is_enrolled_in_place_of_what_it_was_made_from(make: Make) {
    let store = make(Limits::default());
    open(&store, pending("c", Factor::Webauthn), NOW).await;
    spend(&store, "c", Factor::Webauthn, NOW).await;
    match enrol_made(&store, "c", None, made(&[1, 0], 0, DAY), NOW).await {
        Proven::Approved(used) => {
            assert_eq!((used.state, used.pending), (State::Used, None));
            assert!(used.proven.contains(Factor::Webauthn));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(look_at(&store, NOW).await.security_changed, Some(NOW));
    assert_eq!(look_at(&store, NOW).await.young, set([Factor::Webauthn, Factor::Recovery]));
    // The second is made from the first, and not from anything else.
    let later = after(2 * DAY);
    let second = Challenge {
        created: later,
        expires: later.plus_ms(MINUTE),
        ..pending("d", Factor::Webauthn)
    };
    open(&store, second, later).await;
    let both = made(&[1, 0, 2], 0, DAY);
    for was in [None, Some(&[9][..]), Some(&[1][..]), Some(&[][..])] {
        let proven = enrol_made(&store, "d", was, both.clone(), later).await;
        assert!(matches!(proven, Proven::Replayed), "{was:?}: {proven:?}");
    }
    assert_eq!(state(&store, "d", later).await, State::Open);
    let proven = enrol_made(&store, "d", Some(&[1, 0]), both.clone(), later).await;
    assert!(matches!(proven, Proven::Approved(_)), "{proven:?}");
    let known = factors(&store).await;
    assert_eq!(known.iter().find(|it| it.factor == Factor::Webauthn), Some(&both));
    // The first one stays what it was: ripe.
    assert!(look_at(&store, later).await.factors.contains(Factor::Webauthn));
}

pub async fn a_passkey_that_was_made_is_taken_once_and_by_nobody_else_s_challenge(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    open(&store, challenge("a"), NOW).await;
    open(&store, pending("t", Factor::Totp), NOW).await;
    open(&store, pending("c", Factor::Webauthn), NOW).await;
    for id in ["a", "t"] {
        let proven = enrol_made(&store, id, None, made(&[1], 0, DAY), NOW).await;
        assert!(matches!(proven, Proven::Replayed), "{id}: {proven:?}");
    }
    // No code enrols what has to be made first.
    let id = ChallengeId::new("c");
    let proven = store.prove(&id, &alice(), Factor::Webauthn, None, None, NOW).await;
    assert!(matches!(proven.expect("answers"), Proven::Replayed));
    // Nor does a passkey that calls itself something else.
    let other = Enrolled { factor: Factor::Totp, ..made(&[1], 0, DAY) };
    assert!(matches!(enrol_made(&store, "c", None, other, NOW).await, Proven::Replayed));
    assert!(matches!(
        enrol_made(&store, "c", None, made(&[1], 0, DAY), NOW).await,
        Proven::Approved(_)
    ));
    for was in [None, Some(&[1][..])] {
        let again = enrol_made(&store, "c", was, made(&[2], 0, DAY), NOW).await;
        assert!(matches!(again, Proven::Closed(_)), "{again:?}");
    }
    assert_eq!(state(&store, "a", NOW).await, State::Expired, "what was asked before is void");
    store.freeze(&alice(), "owner".into(), NOW).await.expect("freezes");
    open(&store, pending("f", Factor::Webauthn), NOW).await;
    let frozen = enrol_made(&store, "f", Some(&[1]), made(&[3], 0, DAY), NOW).await;
    assert!(matches!(frozen, Proven::Closed(_)), "{frozen:?}");
    let late = enrol_made(&store, "f", Some(&[1]), made(&[3], 0, DAY), after(5 * MINUTE)).await;
    assert!(matches!(late, Proven::Closed(_)), "{late:?}");
}

pub async fn the_codes_that_come_with_a_second_passkey_are_young(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), made(&[1], 0, 0), NOW).await.expect("enrols");
    let later = after(2 * DAY);
    let second = Challenge {
        created: later,
        expires: later.plus_ms(MINUTE),
        ..pending("c", Factor::Webauthn)
    };
    open(&store, second, later).await;
    enrol_made(&store, "c", Some(&[1]), made(&[1, 2], 0, 0), later).await;
    let known = factors(&store).await;
    let codes = known.iter().find(|it| it.factor == Factor::Recovery).expect("came with it");
    assert_eq!((codes.since, codes.usable_from), (later, after(3 * DAY)));
    assert_eq!(codes.codes, ["c1", "c2"]);
    assert_eq!(codes.language.as_deref(), Some("ja"));
}

pub async fn a_factor_is_replaced_or_taken_away_from_what_it_was(make: Make) {
    let store = make(Limits::default());
    store.enrol(&alice(), totp(), NOW).await.expect("enrols");
    store.enrol(&alice(), made(&[1, 2], 0, 0), NOW).await.expect("enrols");
    open(&store, challenge("c"), NOW).await;
    let replace = async |was: &[u8], enrolled: Option<Enrolled>| {
        let was = was.to_vec();
        let replaced = store.replace_factor(&alice(), Factor::Webauthn, was, enrolled, after(1));
        replaced.await.expect("answers")
    };
    assert!(!replace(&[1], Some(made(&[2], 0, 0))).await, "it was something else");
    assert!(!replace(&[1], None).await);
    assert_eq!(state(&store, "c", NOW).await, State::Open, "nothing was done");
    assert!(replace(&[1, 2], Some(made(&[2], 0, 0))).await);
    assert_eq!(factors(&store).await, [totp(), made(&[2], 0, 0)]);
    assert_eq!(state(&store, "c", after(1)).await, State::Expired);
    assert_eq!(look_at(&store, after(1)).await.security_changed, Some(after(1)));
    assert!(replace(&[2], None).await);
    assert!(!replace(&[2], None).await);
    assert_eq!(factors(&store).await, [totp()]);
}

pub async fn of_parallel_passkeys_one_is_enrolled(make: Make) {
    let store = make(Limits { open_per_account_max: 20, ..Limits::default() });
    open(&store, pending("c", Factor::Webauthn), NOW).await;
    let mut tries = JoinSet::new();
    for n in 0..20 {
        let store = Arc::clone(&store);
        tries.spawn(async move { enrol_made(&store, "c", None, made(&[n], 0, DAY), NOW).await });
    }
    let all = tries.join_all().await;
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Approved(_))).count(), 1);
    let known = factors(&store).await;
    assert_eq!(known.iter().filter(|it| it.factor == Factor::Webauthn).count(), 1);
}

pub async fn of_fifty_parallel_confirmations_one_enrols(make: Make) {
    let store = make(Limits { open_per_account_max: 20, ..Limits::default() });
    open(&store, pending("c", Factor::Totp), NOW).await;
    let mut tries = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        tries.spawn(async move { prove_totp(&store, "c", 10, NOW).await });
    }
    let all = tries.join_all().await;
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Approved(_))).count(), 1);
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Closed(_))).count(), 49);
    assert_eq!(factors(&store).await.len(), 2);
}

pub async fn of_fifty_parallel_tries_a_recovery_code_counts_once(make: Make) {
    let store = make(Limits { open_per_account_max: 60, ..Limits::default() });
    store.enrol(&alice(), recovery(&["r", "other"]), NOW).await.expect("enrols");
    for n in 0..50 {
        open(&store, by_recovery(n, &format!("c{n}")), NOW).await;
    }
    let mut tries = JoinSet::new();
    for n in 0..50 {
        let store = Arc::clone(&store);
        tries.spawn(async move { prove_recovery(&store, &format!("c{n}"), "r").await });
    }
    let all = tries.join_all().await;
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Approved(_))).count(), 1);
    assert_eq!(all.iter().filter(|proven| matches!(proven, Proven::Replayed)).count(), 49);
    assert_eq!(factors(&store).await[0].codes, ["other"]);
}

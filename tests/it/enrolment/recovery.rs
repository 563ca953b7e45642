//! Recovery codes: shown once, each once, and only where they are asked for.

use super::*;
use crate::journeys::{WITHDRAW, withdrawal};

const BY_RECOVERY: &str = r#"version = 1

[[rule]]
id = "withdrawals"
on = "withdrawal"
require = "totp or recovery"
"#;

async fn codes(world: &World, client: &Client) -> Vec<String> {
    let given = approved(world, client, RECOVERY, "{}").await;
    assert_eq!(given.status, 200, "{}", given.text());
    let body = given.json();
    let codes = body["recovery_codes"].as_array().unwrap().iter();
    codes.map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_code_confirms_once_where_the_policy_names_it() {
    let world = World::with_policy(BY_RECOVERY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let codes = codes(&world, &alice).await;
    assert_eq!(codes.len(), 10);
    world.wait_s(86_400);
    let alice = world.session("alice", "s2").await;
    let body = withdrawal("5", "TA");
    let asked = alice.post_json(WITHDRAW, body.clone()).await;
    assert_eq!(asked.header("step-up-factors"), "totp recovery");
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let page = browser(&alice).get(&format!("{at}?with=recovery")).await;
    assert_eq!(hidden(&page, "factor"), "recovery");
    let typed = codes[3].to_uppercase().replace('-', " ");
    assert_eq!(answer(&alice, &at, "recovery", &typed).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, body.clone()).await.status, 200);

    let asked = alice.post_json(WITHDRAW, body).await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let again = answer(&alice, &at, "recovery", &codes[3]).await;
    assert_eq!((again.status.as_u16(), again.json()["error"].as_str()), (403, Some("wrong_code")));
    let left = alice.get(FACTORS).await.json();
    assert!(left.to_string().contains("\"codes_left\":9"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_code_in_parallel_confirms_one_of_many() {
    let world = World::with_policy(BY_RECOVERY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let codes = codes(&world, &alice).await;
    world.wait_s(86_400);
    let alice = world.session("alice", "s2").await;
    let mut tries = tokio::task::JoinSet::new();
    for n in 0..3 {
        let asked = alice.post_json(WITHDRAW, withdrawal("5", &format!("T{n}"))).await;
        let at = format!("/.stepgate/challenge/{}", asked.challenge());
        let (alice, code) = (alice.clone(), codes[0].clone());
        tries.spawn(async move { answer(&alice, &at, "recovery", &code).await.status.as_u16() });
    }
    let all = tries.join_all().await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 1, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessed_codes_count_like_all_others() {
    let world = World::with_policy(BY_RECOVERY).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    codes(&world, &alice).await;
    world.wait_s(86_400);
    let alice = world.session("alice", "s2").await;
    let asked = alice.post_json(WITHDRAW, withdrawal("5", "TA")).await;
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    let mut statuses = Vec::new();
    for guess in ["0000-0000-0000-0000", "x", "", "zzzz-zzzz-zzzz-zzzz", "123456", "000000"] {
        statuses.push(answer(&alice, &at, "recovery", guess).await.status.as_u16());
    }
    assert_eq!(statuses, [403, 403, 403, 403, 423, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_codes_replace_the_old_and_stand_beside_another_factor() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let old = codes(&world, &alice).await;
    world.wait_s(30);
    let new = codes(&world, &alice).await;
    assert!(new.iter().all(|code| !old.contains(code)));
    assert_eq!(words(&alice).await, ["totp", "recovery"]);
    let bob = world.session("bob", "s1").await;
    assert_eq!(bob.post_json(RECOVERY, "{}").await.status, 403, "codes alone recover nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_authenticator_is_replaced_with_a_recovery_code() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let codes = codes(&world, &alice).await;
    world.wait_s(86_400);
    let alice = world.session("alice", "s2").await;
    let asked = alice.post_json(TOTP, "{}").await;
    assert_eq!(asked.header("step-up-factors"), "totp recovery");
    let at = format!("/.stepgate/challenge/{}", asked.challenge());
    assert_eq!(answer(&alice, &at, "recovery", &codes[9]).await.status, 200);
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    let done = waiting.confirm(&world, &alice).await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.json()["recovery_codes"].is_null(), "the others still count");
}

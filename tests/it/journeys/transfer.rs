//! Contract to spot needs a code, spot to contract does not (INCIDENTS 3); the approval fits one request, once.

use super::{TO_SPOT, TRANSFER};
use crate::client::Client;
use crate::world::World;

async fn answer(client: &Client, challenge: &str, code: &str) -> crate::client::Answer {
    let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
    client.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_to_spot_is_challenged_and_passes_after_the_code() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;

    let asked = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(asked.status, 401);
    let challenge = asked.challenge();
    assert_eq!(asked.header("step-up-factors"), "totp");
    assert!(asked.all("www-authenticate").contains("StepUp challenge="));
    assert_eq!(asked.header("cache-control"), "no-store");
    assert_eq!(asked.json()["code"], "50114", "the exchange's own error body");
    assert!(asked.text().contains(&challenge), "the text names the challenge");
    assert!(world.exchange.seen_at(TRANSFER).is_empty(), "nothing was forwarded");

    let approved = answer(&alice, &challenge, &world.totp()).await;
    assert_eq!(approved.status, 200, "{}", approved.text());
    assert_eq!(approved.json()["state"], "approved");
    assert!(world.exchange.seen_at(TRANSFER).is_empty(), "the client repeats, we do not");

    let passed = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = world.exchange.seen_at(TRANSFER);
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, TO_SPOT);
    assert!(seen[0].headers.contains_key("stepgate-assertion"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_used_once_and_the_same_code_is_refused_the_second_time() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let code = world.totp();
    assert_eq!(answer(&alice, &challenge, &code).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200);

    let again = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(again.status, 401);
    let second = again.challenge();
    assert_ne!(second, challenge);
    let replayed = answer(&alice, &second, &code).await;
    assert_eq!(replayed.status, 403, "{}", replayed.text());
    world.wait_s(30);
    assert_eq!(answer(&alice, &second, &world.totp()).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_finds_no_approval_and_is_asked_anew() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(answer(&alice, &challenge, &world.totp()).await.status, 200);

    let other = alice.post_json(TRANSFER, TO_SPOT.replace("100", "101")).await;
    assert_eq!(other.status, 401);
    assert_ne!(other.challenge(), challenge);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 200, "the approved one still fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn spot_to_contract_passes_without_a_code() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let body = r#"{"ccy":"USDT","amt":"100","from":"6","to":"18","type":"0"}"#;
    assert_eq!(alice.post_json(TRANSFER, body).await.status, 200);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_type_that_the_pack_does_not_list_is_asked_about() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let body = TO_SPOT.replace(r#""from":"18""#, r#""from":"77""#);
    assert_eq!(alice.post_json(TRANSFER, body).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_open_challenge_is_found_again_by_the_same_action() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let first = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let reordered = r#"{ "amt":"100", "ccy":"USDT", "type":"0", "to":"6", "from":"18" }"#;
    assert_eq!(alice.post_json(TRANSFER, reordered).await.challenge(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_of_the_same_account_cannot_use_or_see_it() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let other = world.session("alice", "s2").await;
    let mallory = world.session("mallory", "s3").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    for stranger in [&other, &mallory] {
        let address = format!("/.stepgate/challenge/{challenge}");
        assert_eq!(stranger.get(&address).await.status, 404);
        assert_eq!(answer(stranger, &challenge, &world.totp()).await.status, 404);
    }
    assert_eq!(answer(&alice, &challenge, &world.totp()).await.status, 200);
    assert_eq!(other.post_json(TRANSFER, TO_SPOT).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_does_not_outlive_its_five_minutes() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(answer(&alice, &challenge, &world.totp()).await.status, 200);
    world.wait_s(301);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_challenge_answers_410() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    world.wait_s(301);
    assert_eq!(answer(&alice, &challenge, &world.totp()).await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_a_guarded_action_is_401_and_not_forwarded() {
    let world = World::start().await;
    let nobody = world.client();
    let answer = nobody.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("step-up-challenge"), "");
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_a_factor_can_look_but_not_act() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let refused = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(alice.get("/api/v5/account/balance").await.status, 200);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

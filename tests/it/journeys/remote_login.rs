//! A session from a country the account was never in reaches nothing but the challenge (INCIDENTS 1).

use super::{TO_SPOT, TRANSFER};
use crate::kit::FRANKFURT;
use crate::world::World;

const BALANCE: &str = "/api/v5/account/balance";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_germany_is_stopped_until_a_code_is_given() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    let before = world.exchange.seen().len();

    let token = world.kit.token("alice", "abroad", world.now().seconds());
    let abroad = world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"));
    let asked = abroad.get(BALANCE).await;
    assert_eq!(asked.status, 401);
    let challenge = asked.challenge();
    assert!(asked.all("www-authenticate").contains("insufficient_user_authentication"));
    assert_eq!(abroad.get("/anything/else").await.challenge(), challenge, "one question");
    assert_eq!(world.exchange.seen().len(), before, "nothing reached the exchange");

    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    let answer = format!("/.stepgate/challenge/{challenge}/answer");
    assert_eq!(abroad.post_json(&answer, body).await.status, 200);
    assert_eq!(abroad.get(BALANCE).await.status, 200);

    // The session is elevated, not the transfer.
    assert_eq!(abroad.post_json(TRANSFER, TO_SPOT).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_request_does_not_make_germany_a_known_place() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    for session in ["a", "b", "c"] {
        let token = world.kit.token("alice", session, world.now().seconds());
        let abroad =
            world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"));
        assert_eq!(abroad.get(BALANCE).await.status, 401);
        world.wait_s(120);
    }
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["countries"], serde_json::json!(["JP"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_elevation_belongs_to_its_session_and_place() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    let token = world.kit.token("alice", "abroad", world.now().seconds());
    let abroad = world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"));
    let challenge = abroad.get(BALANCE).await.challenge();
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    abroad.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await;
    assert_eq!(abroad.from("198.18.0.9").get(BALANCE).await.status, 401, "not in Moscow");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_login_ever_is_not_remote() {
    let world = World::start().await;
    let token = world.kit.token("newcomer", "first", world.now().seconds());
    let client = world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"));
    assert_eq!(client.get(BALANCE).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_or_unknown_address_asks_and_never_locks_out() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    let token = world.kit.token("alice", "lan", world.now().seconds());
    let lan = world.client().from("10.0.0.9").with("authorization", format!("Bearer {token}"));
    let challenge = lan.get(BALANCE).await.challenge();
    let body = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    lan.post_json(&format!("/.stepgate/challenge/{challenge}/answer"), body).await;
    assert_eq!(lan.get(BALANCE).await.status, 200);
}

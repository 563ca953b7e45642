//! An elevation is one session's, in one place, until a freeze; and it approves no transaction.

use super::{ORDER, TRANSFER, approve, guess, step, transfer};
use crate::client::Client;
use crate::kit::FRANKFURT;
use crate::world::{OKX, World};

const BALANCE: &str = "/api/v5/account/balance";
const TO_CONTRACT: &str = r#"{"ccy":"USDT","amt":"1","from":"6","to":"18","type":"0"}"#;

async fn abroad(world: &World, session: &str) -> Client {
    let token = world.kit.token("alice", session, world.now().seconds());
    world.client().from(FRANKFURT).with("authorization", format!("Bearer {token}"))
}

async fn world() -> World {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.session("alice", "home").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_confirmed_by_the_session_that_is_there() {
    let world = world().await;
    let there = abroad(&world, "abroad").await;
    let id = there.get(BALANCE).await.challenge();
    let other = abroad(&world, "other").await;
    assert_eq!(guess(&other, &id, "totp", &world.totp()).await.status, 404);
    approve(&world, &there, &id).await;
    assert_eq!(there.get(BALANCE).await.status, 200);
    assert_eq!(guess(&there, &id, "totp", &world.totp()).await.status, 409, "used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_place_lets_no_transaction_pass() {
    let world = world().await;
    let there = abroad(&world, "abroad").await;
    let id = there.get(BALANCE).await.challenge();
    approve(&world, &there, &id).await;
    assert_eq!(there.post_json(TRANSFER, transfer("1")).await.status, 401);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_request_that_only_elevates_passes_after_its_own_challenge() {
    let world = world().await;
    let there = abroad(&world, "abroad").await;
    let asked = there.post_json(TRANSFER, TO_CONTRACT).await;
    assert_eq!(asked.status, 401);
    approve(&world, &there, &asked.challenge()).await;
    assert_eq!(there.post_json(TRANSFER, TO_CONTRACT).await.status, 200);
    assert_eq!(there.post_json(TRANSFER, transfer("1")).await.status, 401);
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_ends_elevations_and_none_is_given_while_it_lasts() {
    let world = world().await;
    let there = abroad(&world, "abroad").await;
    let id = there.get(BALANCE).await.challenge();
    approve(&world, &there, &id).await;
    world.admin("POST", "/account/main/alice/freeze", ORDER).await;
    assert_eq!(there.post_json(TRANSFER, TO_CONTRACT).await.status, 423);
    // Whoever was there before the owner froze the account asks and answers again.
    let thief = abroad(&world, "thief").await.from("198.18.0.9");
    let asked = thief.get(BALANCE).await;
    if asked.status == 401 {
        world.wait_s(30);
        guess(&thief, &asked.challenge(), "totp", &world.totp()).await;
    }
    assert_eq!(world.admin("POST", "/account/main/alice/thaw", ORDER).await.status, 200);
    assert_eq!(thief.get(BALANCE).await.status, 401, "what was given while frozen is void");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_ordinary_traffic_is_not_forgotten_on_the_way() {
    let policy = r#"version = 1
[[rule]]
id = "every-time"
on = "ordinary"
require = "totp"
"#;
    let pack = OKX.replace(r#"write = "deny""#, r#"write = "allow""#);
    let world = World::with(policy, &pack, "").await;
    world.enrol_totp("alice").await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let alice = world.client().with("authorization", format!("Bearer {token}"));
    let asked = alice.get("/some/page").await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    assert!(world.exchange.seen().is_empty());
    approve(&world, &alice, &asked.challenge()).await;
    assert_eq!(alice.get("/other/page").await.status, 401, "another request");
    assert_eq!(alice.get("/some/page").await.status, 200);
    assert_eq!(alice.get("/some/page").await.status, 401, "once");
    assert_eq!(world.exchange.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_cannot_be_confirmed_by_releasing_or_rejecting() {
    let world = world().await;
    let there = abroad(&world, "abroad").await;
    let id = there.get(BALANCE).await.challenge();
    there.post_json(&step(&id, "release"), "{}").await;
    assert_eq!(there.get(BALANCE).await.status, 401);
    there.post_json(&step(&id, "reject"), "{}").await;
    assert_eq!(guess(&there, &id, "totp", &world.totp()).await.status, 409);
    assert_eq!(there.get(BALANCE).await.status, 401);
}

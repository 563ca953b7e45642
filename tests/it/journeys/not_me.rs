//! "This wasn't me": the owner rejects, and may freeze at once (INCIDENTS 7).

use super::{TO_SPOT, TRANSFER};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_challenge_is_dead() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}");
    assert_eq!(alice.post_json(&format!("{path}/reject"), "{}").await.status, 200);
    assert_eq!(alice.get(&path).await.json()["state"], "rejected");
    let code = format!(r#"{{"factor":"totp","code":"{}"}}"#, world.totp());
    assert_ne!(alice.post_json(&format!("{path}/answer"), code).await.status, 200);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn freezing_stops_every_write_of_the_account_and_thawing_ends_it() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let thief = world.session("alice", "s2").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    assert_eq!(alice.post_json(&path, r#"{"freeze":true}"#).await.status, 200);

    assert_eq!(thief.post_json(TRANSFER, TO_SPOT).await.status, 423);
    assert_eq!(thief.post_json("/api/v5/trade/order", "{}").await.status, 423);
    assert_eq!(thief.get("/api/v5/account/balance").await.status, 200, "looking is allowed");
    assert_eq!(
        world.admin("POST", "/account/main/alice/thaw", r#"{"by":"ops"}"#).await.status,
        200
    );
    assert_eq!(thief.post_json(TRANSFER, TO_SPOT).await.status, 401);
}

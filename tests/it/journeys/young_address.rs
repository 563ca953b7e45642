//! A withdrawal to a young address waits (INCIDENTS 13); the book is learnt from what the exchange accepted.

use super::{WITHDRAW, withdrawal};
use crate::exchange::Reply;
use crate::world::World;

const POLICY: &str = r#"version = 1

[[rule]]
id = "young-address"
on = "withdrawal"
when = "address.age < 24h"
hold = "24h"
why = "This address was added less than a day ago."
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_to_a_new_address_is_held_for_a_day_and_then_passes() {
    let world = World::with_policy(POLICY).await;
    let alice = world.session("alice", "s1").await;
    let body = withdrawal("5", "TNewAddress");
    let held = alice.post_json(WITHDRAW, body.clone()).await;
    assert_eq!(held.status, 403, "{}", held.text());
    assert_eq!(held.header("retry-after"), "86400");
    world.wait_s(43_200);
    let alice = world.session("alice", "s2").await;
    let still = alice.post_json(WITHDRAW, body.clone()).await;
    assert_eq!(still.header("retry-after"), "43200", "the wait does not start again");
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());
    world.wait_s(43_201);
    let alice = world.session("alice", "s3").await;
    assert_eq!(alice.post_json(WITHDRAW, body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_paid_to_is_known_and_ages() {
    let world = World::with_policy(&POLICY.replace("hold = \"24h\"", "hold = \"1s\"")).await;
    let alice = world.session("alice", "s1").await;
    let body = withdrawal("5", "TOldAddress");
    assert_eq!(alice.post_json(WITHDRAW, body.clone()).await.status, 403);
    world.wait_s(2);
    assert_eq!(alice.post_json(WITHDRAW, body.clone()).await.status, 200, "hold served");
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["addresses"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_the_exchange_refused_is_not_learnt() {
    let world = World::with_policy(&POLICY.replace("hold = \"24h\"", "hold = \"1s\"")).await;
    let alice = world.session("alice", "s1").await;
    let body = withdrawal("5", "TBadAddress");
    alice.post_json(WITHDRAW, body.clone()).await;
    world.wait_s(2);
    world.exchange.will(Reply::Answer(200, r#"{"code":"58207","msg":"no","data":[]}"#));
    assert_eq!(alice.post_json(WITHDRAW, body).await.status, 200, "its own refusal passes through");
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["addresses"], 0);
}

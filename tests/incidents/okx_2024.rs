//! OKX, June 2024 (INCIDENTS 13): entries of the address book expire, and new ones wait.

use super::{POLICY, approve};
use crate::journeys::{WITHDRAW, withdrawal};
use crate::world::{OKX, World};

const PRICES: (&str, &str) = ("prices.toml", "[usd]\nUSDT = \"1\"\n");

/// The shipped policy with a price for USDT that the hand-moved clock does not outlive.
async fn world() -> World {
    let year = "[prices]\nfile = \"prices.toml\"\nage_max_s = 315360000\n";
    let world = World::with_files(POLICY, OKX, year, &[PRICES]).await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", "+819012345678").await;
    world
}

/// Days pass, in which the account was seen.
async fn days(world: &World, days: i64) -> crate::client::Client {
    world.wait_s(days * 86_400 + 60);
    let session = format!("day-{}", world.now().0);
    let token = world.kit.token("alice", &session, world.now().seconds());
    world.client().with("authorization", format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_a_new_address_waits_out_a_day_and_then_needs_its_code() {
    let world = world().await;
    world.session("alice", "s").await;
    let alice = days(&world, 2).await;
    let held = alice.post_json(WITHDRAW, withdrawal("500", "TYoung")).await;
    assert_eq!(held.status, 403, "{}", held.text());
    assert!(held.text().contains("added less than a day ago"), "{}", held.text());
    assert!(!held.header("retry-after").is_empty());
    assert!(world.exchange.seen_at(WITHDRAW).is_empty());

    let alice = days(&world, 1).await;
    let asked = alice.post_json(WITHDRAW, withdrawal("500", "TYoung")).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    assert_eq!(approve(&world, &alice, &asked.challenge()).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("500", "TYoung")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_an_address_that_was_not_used_for_a_month_needs_both_factors_again() {
    let world = world().await;
    world.session("alice", "s").await;
    let alice = days(&world, 2).await;
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.status, 403);
    let alice = days(&world, 1).await;
    let challenge = alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.challenge();
    assert_eq!(approve(&world, &alice, &challenge).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.status, 200);

    // A week later one code is enough, a month later it is not.
    let alice = days(&world, 7).await;
    let challenge = alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.challenge();
    assert_eq!(approve(&world, &alice, &challenge).await.status, 200);
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.status, 200);
    let alice = days(&world, 31).await;
    let asked = alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await;
    assert_eq!(asked.status, 401);
    let proven = approve(&world, &alice, &asked.challenge()).await;
    assert_eq!(proven.json()["state"], "open", "the SMS is missing: {}", proven.text());
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("500", "TOld")).await.status, 401);
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 2);
}

//! A bot gives the code with the action itself.

use super::{TO_SPOT, TRANSFER};
use crate::client::Answer;
use crate::world::World;

async fn transfer_with(client: &crate::client::Client, code: &str) -> Answer {
    let headers = [("content-type", "application/json"), ("step-up-code", code)];
    client.send("POST", TRANSFER, &headers, TO_SPOT).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_code_passes_in_the_same_round_trip_and_never_reaches_the_exchange() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    assert_eq!(bot.get("/api/v5/account/balance").await.status, 200);
    let passed = transfer_with(&bot, &world.totp()).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = world.exchange.seen_at(TRANSFER);
    assert_eq!(seen.len(), 1);
    assert!(!seen[0].headers.contains_key("step-up-code"));
    let log = std::fs::read_to_string(world.dir().join("audit/stepgate.jsonl")).unwrap();
    assert!(!log.contains(&format!("\"{}\"", world.totp())), "codes never reach the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_code_does_not_pass_twice() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    let code = world.totp();
    assert_eq!(transfer_with(&bot, &code).await.status, 200);
    let replay = transfer_with(&bot, &code).await;
    assert_eq!(replay.status, 401, "{}", replay.text());
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_count_like_answers_to_the_challenge() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    for attempt in 1..=5 {
        let wrong = transfer_with(&bot, "000000").await;
        assert_eq!(wrong.status, 401);
        let said = if attempt < 5 { "wrong_code" } else { "locked" };
        assert_eq!(wrong.header("step-up-error"), said, "a typo is told from a code not read");
        assert_eq!(wrong.header("step-up-attempts-left"), (5 - attempt).to_string());
    }
    let blocked = transfer_with(&bot, &world.totp()).await;
    assert_eq!(blocked.status, 429, "{}", blocked.text());
    assert!(!blocked.header("retry-after").is_empty());
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_codes_in_one_request_are_refused() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let bot = world.client().with("ok-access-key", "key-alice");
    let code = world.totp();
    let headers = [
        ("content-type", "application/json"),
        ("step-up-code", code.as_str()),
        ("step-up-code", "111111"),
    ];
    assert_eq!(bot.send("POST", TRANSFER, &headers, TO_SPOT).await.status, 400);
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
}

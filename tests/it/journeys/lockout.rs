//! Guessing ends: per challenge, per account, in parallel, across challenges (RFC 4226 §7.3).

use super::{TO_SPOT, TRANSFER};
use crate::client::Client;
use crate::world::World;

async fn guess(client: &Client, challenge: &str, code: &str) -> u16 {
    let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    client.post_json(&path, body).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifth_wrong_code_locks_and_the_right_one_comes_too_late() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    for attempt in 1..=5 {
        let status = guess(&alice, &challenge, "000000").await;
        assert_eq!(status, if attempt < 5 { 403 } else { 423 }, "attempt {attempt}");
    }
    assert!([423, 429].contains(&guess(&alice, &challenge, &world.totp()).await));
    let blocked = alice.post_json(TRANSFER, TO_SPOT).await;
    assert_eq!(blocked.status, 429, "a new challenge does not reset the account's count");
    world.wait_s(901);
    assert_eq!(alice.post_json(TRANSFER, TO_SPOT).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_parallel_guesses_at_most_five_are_compared() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (alice, challenge) = (alice.clone(), challenge.clone());
        // None of them is right: the world's code is left out.
        let code = format!("{:06}", 700_000 + number);
        assert_ne!(code, world.totp());
        guesses.spawn(async move { guess(&alice, &challenge, &code).await });
    }
    let statuses = guesses.join_all().await;
    let compared = world
        .audit()
        .iter()
        .filter(|line| {
            let event = line["event"].as_str().unwrap();
            event == "attempt_failed" || event == "challenge_locked"
        })
        .count();
    assert!(compared <= 5, "{compared} were compared");
    assert!(!statuses.contains(&200));
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 4, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_code_costs_an_attempt() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    for code in ["12345", "abcdef", "+12345", "1234567"] {
        assert_eq!(guess(&alice, &challenge, code).await, 400);
    }
    let shown = alice.get(&format!("/.stepgate/challenge/{challenge}")).await.json();
    assert_eq!(shown["attempts_left"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_repeats_of_an_approved_action_reach_the_exchange_once() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    assert_eq!(guess(&alice, &challenge, &world.totp()).await, 200);
    let mut repeats = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let alice = alice.clone();
        repeats.spawn(async move { alice.post_json(TRANSFER, TO_SPOT).await.status.as_u16() });
    }
    let statuses = repeats.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(world.exchange.seen_at(TRANSFER).len(), 1);
}

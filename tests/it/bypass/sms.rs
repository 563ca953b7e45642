//! The phone: one code, one challenge, one number, and that is the enrolled one.

use std::time::Duration;

use serde_json::json;

use super::{TRANSFER, guess, step, transfer};
use crate::client::Client;
use crate::world::World;

const PHONE: &str = "+4915112345667";

pub(super) async fn sms(world: &World, count: usize) -> Vec<String> {
    for _ in 0..300 {
        let text = world.sms();
        let codes: Vec<String> = text
            .lines()
            .filter_map(|line| line.split(" #").nth(1))
            .map(|rest| rest.trim().chars().take(6).collect())
            .collect();
        if codes.len() >= count {
            return codes;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("SMS {count} never came: {}", world.sms());
}

fn claiming(world: &World, session: &str, phone: &str) -> Client {
    let claims = json!({ "phone_number": phone, "phone_number_verified": true });
    let token = world.kit.token_with("alice", session, world.now().seconds(), &claims);
    world.client().with("authorization", format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_worth_nothing_on_another_challenge() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    let alice = world.session("alice", "s1").await;
    let first = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let code = sms(&world, 1).await.remove(0);
    let second = alice.post_json(TRANSFER, transfer("9999")).await.challenge();
    sms(&world, 2).await;
    assert_eq!(guess(&alice, &second, "sms", &code).await.status, 403);
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["failures"], 1, "it counts against the account");
    assert_eq!(guess(&alice, &first, "sms", &code).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_gives_no_attempts_back_and_shows_no_number() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json(TRANSFER, transfer("1")).await;
    let id = asked.challenge();
    sms(&world, 1).await;
    guess(&alice, &id, "sms", "000000").await;
    guess(&alice, &id, "sms", "000000").await;
    let sent = alice.post_json(&step(&id, "send"), r#"{"factor":"sms"}"#).await;
    assert_eq!(sent.status, 202);
    let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await;
    assert_eq!(shown.json()["attempts_left"], 3);
    for text in [asked.text(), sent.text(), shown.text()] {
        assert!(!text.contains("15112345"), "{text}");
    }
    let old = sms(&world, 2).await.remove(0);
    if old != sms(&world, 2).await[1] {
        assert_eq!(guess(&alice, &id, "sms", &old).await.status, 403, "the old code is dead");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_number_does_not_come_in_force_by_taking_the_enrolled_one_away() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    world.session("alice", "s0").await;
    let alice = claiming(&world, "s1", "+4915187654321");
    let remove = "/.stepgate/factors/sms/remove";
    let id = alice.post_json(remove, "{}").await.challenge();
    let code = sms(&world, 1).await.remove(0);
    assert_eq!(guess(&alice, &id, "sms", &code).await.status, 200);
    assert_eq!(alice.post_json(remove, "{}").await.status, 200);
    for wait_s in [0, 86_000] {
        world.wait_s(wait_s);
        let alice = claiming(&world, "s2", "+4915187654321");
        let refused = alice.post_json(TRANSFER, transfer("1")).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(refused.header("step-up-challenge"), "");
        // Nor does nobody ask whoever has the session before a first factor is enrolled.
        let enrols = alice.post_json("/.stepgate/factors/totp", "{}").await;
        assert_eq!(enrols.status, 403, "{}", enrols.text());
        assert_eq!(enrols.header("step-up-challenge"), "");
    }
    assert_eq!(world.sms().matches(" #").count(), 1, "{}", world.sms());
    world.wait_s(401);
    let alice = claiming(&world, "s3", "+4915187654321");
    let asked = alice.post_json(TRANSFER, transfer("1")).await;
    assert_eq!((asked.status.as_u16(), asked.header("step-up-factors")), (401, "sms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_answered_once_for_a_tokens_number_does_not_go_on_with_one_of_his_own() {
    let world = World::start().await;
    world.session("alice", "s0").await;
    let alice = claiming(&world, "s1", PHONE);
    let add = "/.stepgate/factors/sms";
    let body = r#"{"number":"+4915187654321"}"#;
    let asked = alice.post_json(add, body).await;
    assert_eq!(asked.header("step-up-factors"), "sms", "{}", asked.text());
    let code = sms(&world, 1).await.remove(0);
    assert_eq!(guess(&alice, &asked.challenge(), "sms", &code).await.status, 200);
    let begun = alice.post_json(add, body).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    let waiting = begun.json()["challenge_id"].as_str().unwrap().to_owned();
    let code = sms(&world, 2).await.remove(1);
    let done = guess(&alice, &waiting, "sms", &code).await;
    assert_eq!(done.status, 200, "{}: {}", done.text(), world.sms());
    // Its owner hears of it at the number that was his until now.
    for _ in 0..400 {
        if world.sms().contains(PHONE) && world.sms().matches("not-me").count() >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = world.sms().lines().filter(|line| line.contains(PHONE)).count();
    assert!(told >= 2, "a code and a notice: {}", world.sms());
    let next = alice.post_json("/.stepgate/factors/totp", "{}").await;
    assert_eq!(next.status, 403, "{}", next.text());
    assert_eq!(next.header("step-up-challenge"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_number_does_not_replace_the_enrolled_one() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    world.session("alice", "s1").await;
    let thief = claiming(&world, "s2", "+15005550006");
    thief.post_json(TRANSFER, transfer("1")).await.challenge();
    sms(&world, 1).await;
    let text = world.sms();
    assert!(!text.contains("5005550006"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_even_when_the_enrolled_one_was_guessed_at_too_often() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    world.session("alice", "s1").await;
    for round in 0..20 {
        let token = world.kit.token("alice", "s1", world.now().seconds());
        let alice = world.client().with("authorization", format!("Bearer {token}"));
        let asked = alice.post_json(TRANSFER, transfer(&format!("{}", round + 1))).await;
        let id = asked.challenge();
        for _ in 0..5 {
            guess(&alice, &id, "sms", "000000").await;
        }
        world.wait_s(90_000);
    }
    let card = world.admin("GET", "/account/main/alice", "").await.json();
    assert_eq!(card["factors"][0]["disabled"], true, "{card}");
    // Of what its owner is told meanwhile, nothing is a code.
    let codes = || world.sms().lines().filter(|line| line.contains(" #")).count();
    let before = codes();
    let thief = claiming(&world, "s2", "+15005550006");
    let asked = thief.post_json(TRANSFER, transfer("1")).await;
    assert!([401, 403].contains(&asked.status.as_u16()), "{}", asked.text());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(codes(), before, "no code is sent to a number that only a token names");
    assert!(!world.sms().contains("5005550006"), "nor anything else");
}

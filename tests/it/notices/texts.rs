//! What arrives on the phone, and how often.

use super::{BALANCE, abroad, counted, until};
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{FRANKFURT, POLICY};
use crate::world::{OKX, World};

const PHONE: &str = "+4915112345667";

fn texts(world: &World) -> Vec<String> {
    let lines = world.sms();
    let text = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(line["text"].as_str()?.to_owned())
    };
    lines.lines().filter_map(text).filter(|text| text.contains("/not-me/")).collect()
}

async fn told(world: &World, count: usize) -> Vec<String> {
    until(&format!("{count} texts"), || texts(world).len() >= count).await;
    texts(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_from_germany_is_told_by_text_once_for_each_session() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    let first = abroad(&world, "s1").await;
    let text = told(&world, 1).await.pop().unwrap();
    assert!(text.starts_with("main: Neue Anmeldung, Frankfurt"), "{text}");
    assert!(text.contains("11-20 12:00 UTC"), "{text}");
    assert!(!text.contains('#'), "no code: {text}");
    for _ in 0..3 {
        assert_eq!(first.get(BALANCE).await.status, 401);
    }
    // To one number go three messages in ten minutes, codes and notices together.
    world.wait_s(660);
    abroad(&world, "s2").await;
    assert_eq!(told(&world, 2).await.len(), 2);
    counted(&world, "remote_login", "queued", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_codes_until_the_lock_are_told_once() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", PHONE).await;
    assert!(told(&world, 1).await[0].contains("Phone number added"));
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/answer");
    let wrong = r#"{"factor":"totp","code":"000000"}"#;
    for _ in 0..8 {
        alice.post_json(&path, wrong).await;
    }
    alice.post_json(TRANSFER, TO_SPOT).await;
    let text = told(&world, 2).await.pop().unwrap();
    assert!(text.starts_with("main: Too many wrong codes, "), "{text}");
    counted(&world, "locked", "queued", 1).await;
    assert_eq!(texts(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_and_its_end_are_told_whoever_ordered_them() {
    let world = World::start().await;
    world.enrol_phone("alice", PHONE).await;
    let order = r#"{"by":"ops","reason":"test"}"#;
    world.admin("POST", "/account/main/alice/freeze", order).await;
    assert!(told(&world, 1).await[0].starts_with("main: Account frozen, "));
    world.admin("POST", "/account/main/alice/thaw", order).await;
    assert!(told(&world, 2).await[1].starts_with("main: Freeze lifted, "));
    // Thawing what is not frozen says nothing.
    world.wait_s(120);
    world.admin("POST", "/account/main/alice/thaw", order).await;
    let alice = world.session("alice", "s1").await;
    let challenge = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let path = format!("/.stepgate/challenge/{challenge}/reject");
    alice.post_json(&path, r#"{"freeze":true}"#).await;
    assert!(told(&world, 3).await[2].starts_with("main: Account frozen, "));
    assert_eq!(texts(&world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_says_notify_is_told_with_its_action_and_without_the_destination() {
    let policy = format!(
        "{POLICY}\n[[rule]]\nid = \"told\"\non = \"withdrawal\"\nrequire = \"totp or sms\"\nnotify = true\n"
    );
    let world = World::with(&policy, OKX, "").await;
    world.enrol_phone("alice", PHONE).await;
    let alice = world.session("alice", "s1").await;
    let body = crate::journeys::withdrawal("5", "TAddressOfBob1");
    assert_eq!(alice.post_json(crate::journeys::WITHDRAW, body.clone()).await.status, 401);
    let text = told(&world, 1).await.pop().unwrap();
    assert!(text.starts_with("main: Withdrawal, Tokyo"), "{text}");
    assert!(!text.contains("TAddressOfBob1"), "{text}");
    alice.post_json(crate::journeys::WITHDRAW, body.clone()).await;
    alice.from(FRANKFURT).post_json(crate::journeys::WITHDRAW, body).await;
    counted(&world, "rule", "queued", 1).await;
}

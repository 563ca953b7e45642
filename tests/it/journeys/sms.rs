//! Bob has a phone: the code arrives by SMS, bound to one challenge, within the limits.

use super::{WITHDRAW, withdrawal};
use crate::world::World;
use std::time::Duration;

async fn last_code(world: &World, count: usize) -> String {
    for _ in 0..300 {
        let text = world.sms();
        let codes: Vec<&str> = text.lines().filter_map(|line| line.split(" #").nth(1)).collect();
        if codes.len() >= count {
            return codes[count - 1].trim().chars().take(6).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("SMS {count} never came; outbox: {}", world.sms());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_by_sms_lets_the_withdrawal_pass() {
    let world = World::start().await;
    world.enrol_phone("bob", "+4915112345667").await;
    let bob = world.session("bob", "s1").await;
    let body = withdrawal("5", "TAddressOfBob1");
    let asked = bob.post_json(WITHDRAW, body.clone()).await;
    assert_eq!(asked.header("step-up-factors"), "sms");
    let challenge = asked.challenge();
    // SMS is all he has, so it is sent at once; asking again sends nothing more.
    let code = last_code(&world, 1).await;
    assert_eq!(bob.post_json(WITHDRAW, body.clone()).await.challenge(), challenge);
    assert_eq!(world.sms().matches(" #").count(), 1);
    let text = world.sms();
    assert!(text.contains("5 USDT") && text.contains("TAddressOfBob1"), "{text}");
    assert!(text.contains("@exchange.example #"), "{text}");

    let answer = format!("/.stepgate/challenge/{challenge}/answer");
    let right = bob.post_json(&answer, format!(r#"{{"factor":"sms","code":"{code}"}}"#)).await;
    assert_eq!(right.status, 200, "{}", right.text());
    assert_eq!(bob.post_json(WITHDRAW, body).await.status, 200);
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_replaces_the_code_and_the_fourth_in_ten_minutes_is_refused() {
    let world = World::start().await;
    world.enrol_phone("bob", "+4915112345667").await;
    let bob = world.session("bob", "s1").await;
    let challenge = bob.post_json(WITHDRAW, withdrawal("5", "TAddressOfBob1")).await.challenge();
    let first = last_code(&world, 1).await;
    let send = format!("/.stepgate/challenge/{challenge}/send");
    for count in 2..=3 {
        assert_eq!(bob.post_json(&send, r#"{"factor":"sms"}"#).await.status, 202);
        last_code(&world, count).await;
    }
    let limited = bob.post_json(&send, r#"{"factor":"sms"}"#).await;
    assert_eq!(limited.status, 429);
    assert!(!limited.header("retry-after").is_empty());
    let third = last_code(&world, 3).await;
    let answer = format!("/.stepgate/challenge/{challenge}/answer");
    if first != third {
        let old = bob.post_json(&answer, format!(r#"{{"factor":"sms","code":"{first}"}}"#)).await;
        assert_eq!(old.status, 403);
    }
    let new = bob.post_json(&answer, format!(r#"{{"factor":"sms","code":"{third}"}}"#)).await;
    assert_eq!(new.status, 200, "{}", new.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_never_shows_the_number() {
    let world = World::start().await;
    world.enrol_phone("bob", "+4915112345667").await;
    let bob = world.session("bob", "s1").await;
    bob.post_json(WITHDRAW, withdrawal("5", "TAddressOfBob1")).await;
    last_code(&world, 1).await;
    let audit = format!("{:?}", world.audit());
    assert!(!audit.contains("15112345667"));
}

//! Races through the pages obey the numbers: attempts, codes that are sent, blocks.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn ten_wrong_codes_in_parallel_are_five_attempts_and_block_the_account() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (alice, path) = (alice.clone(), waiting.path.clone());
        tries.spawn(async move { answer(&alice, &path, "totp", "000000").await.status.as_u16() });
    }
    let all = tries.join_all().await;
    let wrong = all.iter().filter(|status| **status == 403).count();
    assert_eq!(wrong, 4, "the fifth locks: {all:?}");
    assert!(all.iter().all(|status| matches!(status, 403 | 423 | 429)), "{all:?}");
    assert_ne!(waiting.confirm(&world, &alice).await.status, 200);
    let blocked = alice.post_json(TOTP, "{}").await;
    assert_eq!(blocked.status, 429, "{}", blocked.text());
    assert!(!blocked.header("retry-after").is_empty());
    assert_eq!(words(&alice).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_parallel_confirmations_enrols() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(TOTP, "{}").await);
    let code = totp_with(&waiting.secret, world.now());
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (alice, path, code) = (alice.clone(), waiting.path.clone(), code.clone());
        tries.spawn(async move { answer(&alice, &path, "totp", &code).await.status.as_u16() });
    }
    let all = tries.join_all().await;
    assert_eq!(all.iter().filter(|status| **status == 200).count(), 1, "{all:?}");
    assert_eq!(words(&alice).await, ["recovery", "totp"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_codes_in_ten_minutes_go_to_a_number_that_is_enrolled() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    let waiting = Waiting::of(&alice.post_json(SMS, r#"{"number":"+4915112345678"}"#).await);
    sms_code(&world, 1).await;
    let send = format!("{}/send", waiting.path);
    for count in [2, 3] {
        assert_eq!(alice.post_json(&send, r#"{"factor":"sms"}"#).await.status, 202);
        sms_code(&world, count).await;
    }
    assert_eq!(alice.post_json(&send, r#"{"factor":"sms"}"#).await.status, 429);
    // The same number of another account is the same number.
    let bob = world.session("bob", "s1").await;
    Waiting::of(&bob.post_json(SMS, r#"{"number":"+4915112345678"}"#).await);
    assert_eq!(world.sms().matches(" #").count(), 3);
    let code = sms_code(&world, 3).await;
    assert_eq!(answer(&alice, &waiting.path, "sms", &code).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_number_is_sent_nothing() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    for number in ["", "4915112345678", "+49 (0)151", "+881612345678", "+4915112345678,+1"] {
        let body = json!({ "number": number }).to_string();
        let refused = alice.post_json(SMS, body).await;
        assert_eq!(refused.status, 403, "{number}: {}", refused.text());
    }
    assert_eq!(world.sms(), "");
}

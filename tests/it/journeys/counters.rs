//! Counters are reserved before the exchange answers, and given back when it refuses.

use super::{WITHDRAW, withdrawal};
use crate::exchange::Reply;
use crate::world::World;
use std::time::Duration;

const TWO_A_DAY: &str = r#"version = 1

[[rule]]
id = "two-a-day"
on = "withdrawal"
when = "counters.withdrawal.count_24h >= 2"
deny = true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_third_withdrawal_of_the_day_is_denied() {
    let world = World::with_policy(TWO_A_DAY).await;
    let alice = world.session("alice", "s1").await;
    for _ in 0..2 {
        assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 200);
    }
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 403);
    world.wait_s(86_400 + 600);
    let alice = world.session("alice", "s2").await;
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_exchange_refused_does_not_count() {
    let world = World::with_policy(TWO_A_DAY).await;
    let alice = world.session("alice", "s1").await;
    for _ in 0..4 {
        world.exchange.will(Reply::Answer(400, r#"{"code":"51000","msg":"bad","data":[]}"#));
        assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 400);
    }
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_withdrawals_cannot_slip_under_the_limit() {
    let world = World::with_policy(TWO_A_DAY).await;
    let alice = world.session("alice", "s1").await;
    for _ in 0..20 {
        world.exchange.will(Reply::After(Duration::from_millis(100)));
    }
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let alice = alice.clone();
        all.spawn(async move {
            alice.post_json(WITHDRAW, withdrawal("1", &format!("T{number}"))).await.status.as_u16()
        });
    }
    let passed = all.join_all().await.into_iter().filter(|status| *status == 200).count();
    assert!(passed <= 2, "{passed} passed");
    assert!(world.exchange.seen_at(WITHDRAW).len() <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_counts_and_says_that_the_outcome_is_unknown() {
    let world = World::with_policy(TWO_A_DAY).await;
    let alice = world.session("alice", "s1").await;
    for _ in 0..2 {
        world.exchange.will(Reply::Hangup);
        let gone = alice.post_json(WITHDRAW, withdrawal("1", "TA")).await;
        assert_eq!(gone.status, 504, "{}", gone.text());
        assert!(gone.text().contains("unknown"), "{}", gone.text());
    }
    assert_eq!(world.exchange.seen_at(WITHDRAW).len(), 2, "never sent twice");
    assert_eq!(alice.post_json(WITHDRAW, withdrawal("1", "TA")).await.status, 403);
}
